//! Integrity: what is delivered was broadcast, as it is, by the one leader of its epoch; and a process delivers it once.

use std::collections::BTreeMap;

use zabra::ids::{Epoch, ServerId, Zxid};
use zabra::zab::Proposal;

use super::{Verdict, unless};

pub const NAME: &str = "Integrity";

#[derive(Default)]
pub struct Integrity {
    broadcast: BTreeMap<Zxid, (ServerId, Proposal)>,
}

impl Integrity {
    /// The leader of an epoch gives a new transaction to the disk and to its learners.
    pub fn broadcasts(&mut self, server: ServerId, epoch: Epoch, proposal: &Proposal) -> Verdict {
        let zxid = proposal.zxid;
        unless(zxid.epoch() == epoch, || format!("the leader of epoch {epoch} broadcasts {zxid}"))?;
        let older = self.broadcast.insert(zxid, (server, proposal.clone()));
        unless(older.is_none(), || format!("{zxid} was broadcast already: {older:?}"))
    }

    /// A server whose newest transaction is `before` delivers another.
    pub fn delivered(&self, server: ServerId, before: Zxid, proposal: &Proposal) -> Verdict {
        let zxid = proposal.zxid;
        unless(zxid > before, || format!("server {server} delivers {zxid} behind {before}"))?;
        let known = self.broadcast.get(&zxid).map(|(_, proposal)| proposal);
        unless(known == Some(proposal), || {
            format!("server {server} delivers {zxid}, which was broadcast as {known:?}")
        })
    }

    /// True if it is what the leader broadcast.
    pub fn is_broadcast(&self, proposal: &Proposal) -> bool {
        self.broadcast.get(&proposal.zxid).is_some_and(|(_, known)| known == proposal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_leader_broadcast_is_found() {
        let mut integrity = Integrity::default();
        let proposal =
            |counter, txn: &'static str| Proposal { zxid: Zxid::new(Epoch(1), counter), txn: txn.into() };
        assert_eq!(integrity.broadcasts(ServerId(1), Epoch(1), &proposal(1, "x")), Ok(()));
        assert_eq!(integrity.delivered(ServerId(2), Zxid::ZERO, &proposal(1, "x")), Ok(()));
        integrity.delivered(ServerId(2), proposal(1, "x").zxid, &proposal(1, "x")).expect_err("twice");
        integrity.delivered(ServerId(2), Zxid::ZERO, &proposal(1, "y")).expect_err("another one");
        integrity.delivered(ServerId(2), Zxid::ZERO, &proposal(2, "x")).expect_err("never broadcast");
        integrity.broadcasts(ServerId(2), Epoch(1), &proposal(1, "y")).expect_err("a second time");
        integrity.broadcasts(ServerId(1), Epoch(2), &proposal(2, "y")).expect_err("not of its epoch");
    }
}
