//! CommittedLogMonotonicity: what a server knows to be decided only grows while it runs; what it delivered is still in
//! its log when it starts again; and no learner is told of less than before.

use std::collections::BTreeMap;

use zabra::ids::{ServerId, Zxid};
use zabra::zab::LinkId;

use super::{Verdict, unless};

pub const NAME: &str = "CommittedLogMonotonicity";

#[derive(Default)]
pub struct CommittedLogMonotonicity {
    delivered: BTreeMap<ServerId, Zxid>,
    told: BTreeMap<LinkId, Zxid>,
}

impl CommittedLogMonotonicity {
    /// A server starts, with a log that ends here.
    pub fn starts(&mut self, server: ServerId, log_end: Zxid) -> Verdict {
        let before = self.delivered.remove(&server).unwrap_or_default();
        unless(log_end >= before, || {
            format!("server {server} delivered {before}, and starts with a log that ends at {log_end}")
        })
    }

    /// The disk of a server is lost, and everything that it knew.
    pub fn forgets(&mut self, server: ServerId) {
        self.delivered.remove(&server);
    }

    /// A server has delivered everything through here.
    pub fn is_at(&mut self, server: ServerId, zxid: Zxid) -> Verdict {
        let before = self.delivered.insert(server, zxid).unwrap_or_default();
        unless(zxid >= before, || format!("server {server} went back from {before} to {zxid}"))
    }

    /// A learner is told how far everything is decided.
    pub fn tells(&mut self, link: LinkId, committed: Zxid) -> Verdict {
        let before = self.told.insert(link, committed).unwrap_or_default();
        unless(committed >= before, || format!("a learner was told of {before}, and now of {committed}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn going_back_is_found() {
        let (server, mut log) = (ServerId(1), CommittedLogMonotonicity::default());
        assert_eq!(log.is_at(server, Zxid(3)), Ok(()));
        log.is_at(server, Zxid(2)).expect_err("it went back");
        assert_eq!(log.is_at(server, Zxid(5)), Ok(()));
        log.starts(server, Zxid(4)).expect_err("5 is lost");
        assert_eq!(log.is_at(server, Zxid(5)), Ok(()));
        log.forgets(server);
        assert_eq!(log.starts(server, Zxid::ZERO), Ok(()));
        assert_eq!(log.tells(LinkId(1), Zxid(3)), Ok(()));
        log.tells(LinkId(1), Zxid(2)).expect_err("less than before");
    }
}
