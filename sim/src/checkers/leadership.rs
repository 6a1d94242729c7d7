//! Leadership: in an epoch one server leads at most.

use std::collections::BTreeMap;

use zabra::ids::{Epoch, ServerId};

use super::{Verdict, unless};

pub const NAME: &str = "Leadership";

#[derive(Default)]
pub struct Leadership {
    leaders: BTreeMap<Epoch, ServerId>,
}

impl Leadership {
    /// A server is established as leader.
    pub fn established(&mut self, server: ServerId, epoch: Epoch) -> Verdict {
        let known = *self.leaders.entry(epoch).or_insert(server);
        unless(known == server, || format!("servers {known} and {server} lead in epoch {epoch}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_leaders_of_an_epoch_are_found() {
        let mut leadership = Leadership::default();
        assert_eq!(leadership.established(ServerId(1), Epoch(1)), Ok(()));
        assert_eq!(leadership.established(ServerId(2), Epoch(2)), Ok(()));
        leadership.established(ServerId(2), Epoch(1)).expect_err("server 1 led in it");
    }
}
