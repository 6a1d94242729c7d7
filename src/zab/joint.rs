//! Which configurations of the ensemble count at the moment: the one in force, and those in the log that are not
//! delivered yet (rule 21 of docs/zab.md). Every count of votes and acknowledgements asks here.

use std::collections::{BTreeSet, VecDeque};

use super::quorum::{Ensemble, Member};
use crate::ids::{ServerId, Zxid};
use crate::mutants::{Mutant, has};

/// The configuration in force, and the undelivered ones of the log. What is to be decided needs a quorum of each.
#[derive(Clone, Debug)]
pub struct Joint {
    base: Ensemble,
    /// In the order of the log; the version of each is its zxid.
    pending: VecDeque<Ensemble>,
    /// Rises with every change.
    revision: u64,
}

impl Joint {
    /// Nothing but this one is known.
    pub fn new(base: Ensemble) -> Joint {
        Joint { base, pending: VecDeque::new(), revision: 0 }
    }

    /// That of the delivered state.
    pub fn base(&self) -> &Ensemble {
        &self.base
    }

    /// The one that is to be in force when all of the log is delivered.
    pub fn newest(&self) -> &Ensemble {
        self.pending.back().unwrap_or(&self.base)
    }

    /// True if the log holds a configuration that is not delivered.
    pub fn is_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// The zxids of those in the log that are not delivered, in order.
    pub fn pending(&self) -> impl Iterator<Item = Zxid> + '_ {
        self.pending.iter().map(|ensemble| Zxid(ensemble.version()))
    }

    /// Another number after every change.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The log was continued with a configuration.
    pub fn append(&mut self, ensemble: Ensemble) {
        self.revision += 1;
        if has(Mutant::BaseAtAppend) {
            self.base = ensemble;
            return;
        }
        self.pending.push_back(ensemble);
    }

    /// The log was cut.
    pub fn truncate(&mut self, through: Zxid) {
        if has(Mutant::CutConfigStays) {
            return;
        }
        let kept = self.pending.partition_point(|ensemble| ensemble.version() <= through.0);
        self.revision += u64::from(kept < self.pending.len());
        self.pending.truncate(kept);
    }

    /// Everything in the log through this zxid is delivered.
    pub fn deliver(&mut self, through: Zxid) {
        while self.pending.front().is_some_and(|ensemble| ensemble.version() <= through.0) {
            self.base = self.pending.pop_front().expect("looked at just now");
            self.revision += 1;
        }
    }

    /// A snapshot took the place of the log.
    pub fn install(&mut self, base: Ensemble) {
        self.revision += 1;
        self.base = base;
        self.pending.clear();
    }

    /// Those that a decision needs a quorum of.
    fn counted(&self) -> impl Iterator<Item = &Ensemble> {
        let new_alone = self.is_pending() && has(Mutant::NewQuorumAlone);
        let old_alone = has(Mutant::OldQuorumAlone);
        let base = (!new_alone).then_some(&self.base);
        base.into_iter().chain(self.pending.iter().filter(move |_| !old_alone))
    }

    /// True if these servers are a quorum of each configuration.
    pub fn is_quorum(&self, servers: impl IntoIterator<Item = ServerId>) -> bool {
        self.reached_by_quorum(servers.into_iter().map(|server| (server, ()))).is_some()
    }

    /// True if these servers are a quorum of any configuration: enough to be worth joining, not to decide anything.
    pub fn is_quorum_of_one(&self, servers: &[ServerId]) -> bool {
        self.all().any(|ensemble| ensemble.is_quorum(servers.iter().copied()))
    }

    /// The greatest value that a quorum of each configuration has reached, if each listed server reached its value and
    /// no other server any.
    pub fn reached_by_quorum<T: Ord + Copy>(
        &self,
        values: impl IntoIterator<Item = (ServerId, T)>,
    ) -> Option<T> {
        if self.pending.is_empty() {
            return self.base.reached_by_quorum(values);
        }
        let values: Vec<(ServerId, T)> = values.into_iter().collect();
        let reached = self.counted().map(|ensemble| ensemble.reached_by_quorum(values.iter().copied()));
        reached.min().flatten()
    }

    /// True if the server votes in any of them: what it says may be needed.
    pub fn is_voter(&self, server: ServerId) -> bool {
        self.all().any(|ensemble| ensemble.is_voter(server))
    }

    /// True if the server votes in each of them, and nobody else does in any.
    pub fn is_only_voter(&self, server: ServerId) -> bool {
        self.all().all(|ensemble| ensemble.is_only_voter(server))
    }

    /// True if the server is an observer in the newest.
    pub fn observes(&self, server: ServerId) -> bool {
        self.newest().observes(server)
    }

    /// The servers of all of them, in the order of their ids.
    pub fn members(&self) -> BTreeSet<ServerId> {
        self.all().flat_map(Ensemble::members).map(|(server, _): (ServerId, Member)| server).collect()
    }

    /// Who votes in any of them, in the order of their ids.
    pub fn voters(&self) -> BTreeSet<ServerId> {
        self.all().flat_map(Ensemble::voters).collect()
    }

    fn all(&self) -> impl Iterator<Item = &Ensemble> {
        std::iter::once(&self.base).chain(&self.pending)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn equals(version: u64, servers: &[u8]) -> Ensemble {
        Ensemble::of_equals(servers.iter().copied().map(ServerId)).with_version(Zxid(version))
    }

    fn is_quorum(joint: &Joint, servers: &[u8]) -> bool {
        joint.is_quorum(servers.iter().copied().map(ServerId))
    }

    #[test]
    fn until_it_is_delivered_a_configuration_counts_beside_the_one_in_force() {
        let mut joint = Joint::new(equals(0, &[1, 2, 3]));
        joint.append(equals(7, &[3, 4, 5]));
        assert!(is_quorum(&joint, &[2, 3, 4]) && !is_quorum(&joint, &[1, 2, 3]));
        assert!(!is_quorum(&joint, &[3, 4, 5]), "the old one is still in force");
        let reached =
            joint.reached_by_quorum([(1, 9), (2, 9), (3, 8), (4, 5)].map(|(id, v)| (ServerId(id), v)));
        assert_eq!(reached, Some(5));
        joint.deliver(Zxid(6));
        assert!(!is_quorum(&joint, &[3, 4, 5]));
        joint.deliver(Zxid(7));
        assert!(is_quorum(&joint, &[4, 5]) && !joint.is_pending());
        assert_eq!((joint.base().version(), joint.is_voter(ServerId(1))), (7, false));
    }

    #[test]
    fn what_is_cut_off_the_log_counts_no_longer() {
        let mut joint = Joint::new(equals(0, &[1, 2, 3]));
        joint.append(equals(7, &[1, 2, 3, 4]));
        joint.append(equals(9, &[4]));
        assert_eq!((joint.voters().len(), joint.newest().version()), (4, 9));
        joint.truncate(Zxid(8));
        assert_eq!(joint.pending().collect::<Vec<_>>(), [Zxid(7)]);
        joint.truncate(Zxid(6));
        assert!(is_quorum(&joint, &[1, 2]) && !joint.is_voter(ServerId(4)));
    }

    #[test]
    fn a_snapshot_brings_its_own() {
        let mut joint = Joint::new(equals(0, &[1]));
        joint.append(equals(7, &[1, 2]));
        let revision = joint.revision();
        joint.install(equals(9, &[2, 3]));
        assert!(is_quorum(&joint, &[2, 3]) && !is_quorum(&joint, &[1, 2]) && joint.revision() > revision);
        assert_eq!(joint.members(), [ServerId(2), ServerId(3)].into());
    }
}
