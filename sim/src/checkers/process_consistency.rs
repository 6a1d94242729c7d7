//! ProcessConsistency: the log of a server that acknowledges NEWLEADER is a beginning of its leader's, or all of it.

use std::collections::BTreeMap;

use zabra::ids::{Epoch, ServerId, Zxid};
use zabra::zab::Proposal;

use super::{Verdict, unless};

pub const NAME: &str = "ProcessConsistency";

/// How much of the logs is compared, from their ends.
const COMPARED_MAX: usize = 64;

#[derive(Default)]
pub struct ProcessConsistency {
    leaders: BTreeMap<Epoch, ServerId>,
}

impl ProcessConsistency {
    /// A server sends NEWLEADER.
    pub fn leads(&mut self, server: ServerId, epoch: Epoch) {
        self.leaders.insert(epoch, server);
    }

    /// A server stopped, and what it has in its log may change.
    pub fn stops(&mut self, server: ServerId) {
        self.leaders.retain(|_, leader| *leader != server);
    }

    /// Who leads in an epoch, as long as it runs.
    pub fn leader(&self, epoch: Epoch) -> Option<ServerId> {
        self.leaders.get(&epoch).copied()
    }
}

/// A server acknowledges NEWLEADER with this log.
pub fn acknowledges(
    server: ServerId,
    own: &BTreeMap<Zxid, Proposal>,
    leader: &BTreeMap<Zxid, Proposal>,
) -> Verdict {
    // What is before the first of these, the leader has in a snapshot.
    let Some(first) = leader.keys().next() else { return Ok(()) };
    for (zxid, proposal) in own.iter().rev().take(COMPARED_MAX).take_while(|(zxid, _)| *zxid >= first) {
        unless(leader.get(zxid) == Some(proposal), || {
            format!("server {server} acknowledges NEWLEADER and holds {zxid}, which its leader does not")
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(zxids: impl IntoIterator<Item = (u64, &'static str)>) -> BTreeMap<Zxid, Proposal> {
        let proposal = |(zxid, txn): (u64, &'static str)| Proposal { zxid: Zxid(zxid), txn: txn.into() };
        zxids.into_iter().map(proposal).map(|proposal| (proposal.zxid, proposal)).collect()
    }

    #[test]
    fn a_log_that_is_not_its_leaders_is_found() {
        let leader = log([(3, "c"), (4, "d"), (5, "e")]);
        assert_eq!(acknowledges(ServerId(1), &log([(2, "b"), (3, "c"), (4, "d")]), &leader), Ok(()));
        acknowledges(ServerId(1), &log([(3, "c"), (6, "f")]), &leader).expect_err("6 is too much");
        acknowledges(ServerId(1), &log([(3, "x"), (4, "d")]), &leader).expect_err("3 is another one");
    }

    #[test]
    fn a_leader_that_stopped_is_not_compared_with() {
        let mut process = ProcessConsistency::default();
        process.leads(ServerId(1), Epoch(1));
        assert_eq!(process.leader(Epoch(1)), Some(ServerId(1)));
        process.stops(ServerId(1));
        assert_eq!(process.leader(Epoch(1)), None);
    }
}
