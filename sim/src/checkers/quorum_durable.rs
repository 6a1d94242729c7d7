//! What is delivered is on the disks of a quorum of the servers that vote.

use std::collections::{BTreeMap, BTreeSet};

use zabra::ids::{ServerId, Zxid};

use super::{Verdict, unless};
use crate::configs::Quorums;

pub const NAME: &str = "durable on a quorum";

#[derive(Default)]
pub struct QuorumDurable {
    /// who ever had it on its disk while it could vote, and was not told to cut it
    holders: BTreeMap<Zxid, BTreeSet<ServerId>>,
    /// how far this was noted for each server
    noted: BTreeMap<ServerId, Zxid>,
    /// whose disks were lost, until they can vote again
    lost: BTreeSet<ServerId>,
}

impl QuorumDurable {
    /// How far it is known what is durable on a server that can vote.
    pub fn noted(&self, server: ServerId) -> Zxid {
        self.noted.get(&server).copied().unwrap_or_default()
    }

    /// These are durable on a server that can vote.
    pub fn durable(&mut self, server: ServerId, zxids: impl IntoIterator<Item = Zxid>, through: Zxid) {
        for zxid in zxids {
            self.holders.entry(zxid).or_default().insert(server);
        }
        self.noted.insert(server, through);
        self.lost.remove(&server);
    }

    /// The log of a server is cut behind this. What a lost disk had is not cut with it: the server gets a snapshot that
    /// may be older, and cannot vote before it has what follows as well.
    pub fn cut(&mut self, server: ServerId, through: Zxid) {
        if self.lost.contains(&server) {
            return;
        }
        for (_, holders) in self.holders.range_mut(Zxid(through.0 + 1)..) {
            holders.remove(&server);
        }
        let noted = self.noted.entry(server).or_default();
        *noted = through.min(*noted);
    }

    /// A server starts: what it has is looked at anew, for it may have ended before its log was cut.
    pub fn starts(&mut self, server: ServerId) {
        self.noted.remove(&server);
    }

    /// The disk of a server is lost. What it had was there; what comes begins anew.
    pub fn lost(&mut self, server: ServerId) {
        self.noted.remove(&server);
        self.lost.insert(server);
    }

    /// Somebody delivers it for the first time.
    pub fn delivered(&mut self, server: ServerId, zxid: Zxid, needed: &Quorums) -> Verdict {
        let holders = self.holders.get(&zxid).cloned().unwrap_or_default();
        unless(needed.is_quorum(holders.iter().copied()), || {
            format!("server {server} delivers {zxid}, which only {holders:?} have")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::{Roles, Shape};

    fn three() -> Quorums {
        Quorums(vec![Shape { servers: 3, roles: Roles::Equal }.members()])
    }

    #[test]
    fn what_a_minority_has_is_not_to_be_delivered() {
        let mut durable = QuorumDurable::default();
        durable.durable(ServerId(1), [Zxid(1), Zxid(2)], Zxid(2));
        durable.delivered(ServerId(1), Zxid(1), &three()).expect_err("one of three has it");
        durable.durable(ServerId(2), [Zxid(1), Zxid(2)], Zxid(2));
        assert_eq!(durable.delivered(ServerId(1), Zxid(1), &three()), Ok(()));
        durable.cut(ServerId(2), Zxid(1));
        durable.delivered(ServerId(1), Zxid(2), &three()).expect_err("it was cut");
    }

    #[test]
    fn what_a_lost_disk_had_was_there_until_the_server_votes_again() {
        let mut durable = QuorumDurable::default();
        for server in [1, 2] {
            durable.durable(ServerId(server), [Zxid(1), Zxid(2)], Zxid(2));
        }
        durable.lost(ServerId(2));
        durable.cut(ServerId(2), Zxid(1));
        assert_eq!(durable.delivered(ServerId(1), Zxid(2), &three()), Ok(()));
        durable.durable(ServerId(2), [Zxid(1), Zxid(2)], Zxid(2));
        durable.cut(ServerId(2), Zxid(1));
        durable.delivered(ServerId(1), Zxid(2), &three()).expect_err("it was cut");
    }
}
