//! PrefixConsistency: of what any two servers delivered, one is a beginning of the other.

use std::collections::BTreeMap;

use zabra::ids::{ServerId, Zxid};

use super::{Verdict, unless};

pub const NAME: &str = "PrefixConsistency";

#[derive(Default)]
pub struct PrefixConsistency {
    /// what follows a transaction in the one history
    next: BTreeMap<Zxid, Zxid>,
}

impl PrefixConsistency {
    /// A server delivers a transaction behind another.
    pub fn delivered(&mut self, server: ServerId, before: Zxid, zxid: Zxid) -> Verdict {
        let next = *self.next.entry(before).or_insert(zxid);
        unless(next == zxid, || {
            format!("behind {before} server {server} delivers {zxid}, another one {next}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histories_that_part_are_found() {
        let mut prefix = PrefixConsistency::default();
        for (server, before, zxid) in [(1, 0, 1), (1, 1, 2), (2, 0, 1), (2, 1, 2), (2, 2, 3)] {
            assert_eq!(prefix.delivered(ServerId(server), Zxid(before), Zxid(zxid)), Ok(()));
        }
        prefix.delivered(ServerId(3), Zxid(1), Zxid(3)).expect_err("2 is missing");
    }
}
