//! PrimaryIntegrity: before a leader broadcasts, it has delivered everything of older leaders that anybody ever delivers.

use std::collections::BTreeMap;

use zabra::ids::{Epoch, ServerId, Zxid};

use super::{Verdict, unless};

pub const NAME: &str = "PrimaryIntegrity";

#[derive(Default)]
pub struct PrimaryIntegrity {
    /// what the leader of each epoch had delivered when it broadcast first
    began: BTreeMap<Epoch, (ServerId, Zxid)>,
    newest: Zxid,
}

impl PrimaryIntegrity {
    /// The leader of an epoch, which has delivered everything through `delivered`, broadcasts.
    pub fn broadcasts(&mut self, server: ServerId, epoch: Epoch, delivered: Zxid) -> Verdict {
        if self.began.contains_key(&epoch) {
            return Ok(());
        }
        self.began.insert(epoch, (server, delivered));
        let newest = self.newest;
        unless(newest.epoch() >= epoch || newest <= delivered, || {
            format!("server {server} broadcasts in epoch {epoch} and has not delivered {newest}")
        })
    }

    /// Somebody delivers this.
    pub fn delivered(&mut self, zxid: Zxid) -> Verdict {
        self.newest = self.newest.max(zxid);
        let later = self.began.range(Epoch(zxid.epoch().0 + 1)..).next();
        unless(later.is_none_or(|(_, (_, began))| zxid <= *began), || {
            format!("{zxid} is delivered, but the leader of a later epoch began without it: {later:?}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_that_began_without_something_is_found() {
        let zxid = |epoch, counter| Zxid::new(Epoch(epoch), counter);
        let mut primary = PrimaryIntegrity::default();
        assert_eq!(primary.broadcasts(ServerId(1), Epoch(1), Zxid::ZERO), Ok(()));
        assert_eq!(primary.delivered(zxid(1, 1)), Ok(()));
        assert_eq!(primary.broadcasts(ServerId(2), Epoch(2), zxid(1, 1)), Ok(()));
        assert_eq!(primary.delivered(zxid(2, 1)), Ok(()));
        assert_eq!(primary.delivered(zxid(1, 1)), Ok(()));
        primary.delivered(zxid(1, 2)).expect_err("the leader of epoch 2 has never seen it");
        let mut primary = PrimaryIntegrity::default();
        assert_eq!(primary.delivered(zxid(1, 2)), Ok(()));
        primary.broadcasts(ServerId(2), Epoch(2), zxid(1, 1)).expect_err("it lacks one");
    }
}
