//! What is enough of an ensemble. Every count of votes and acknowledgements asks here.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::ServerId;
use crate::mutants::{Mutant, has};

/// The servers that vote, and when some of them are enough: more than half.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Quorum {
    voters: BTreeSet<ServerId>,
}

impl Quorum {
    /// Of these voters.
    ///
    /// # Panics
    /// Without a voter there is no quorum.
    pub fn new(voters: BTreeSet<ServerId>) -> Quorum {
        assert!(!voters.is_empty(), "an ensemble has at least one voter");
        Quorum { voters }
    }

    /// All voters, in the order of their ids.
    pub fn voters(&self) -> impl Iterator<Item = ServerId> + '_ {
        self.voters.iter().copied()
    }

    /// How many voters there are.
    pub fn voter_count(&self) -> usize {
        self.voters.len()
    }

    /// True if the server votes.
    pub fn is_voter(&self, server: ServerId) -> bool {
        self.voters.contains(&server)
    }

    /// True if these servers are enough; those that do not vote are not counted, and nobody is counted twice.
    pub fn has(&self, servers: impl IntoIterator<Item = ServerId>) -> bool {
        let counted: BTreeSet<ServerId> =
            servers.into_iter().filter(|server| self.is_voter(*server)).collect();
        counted.len() > self.voters.len() / 2
    }

    /// The greatest value that a quorum has reached, if each listed server reached its value and no other server any.
    pub fn reached_by_quorum<T: Ord + Copy>(
        &self,
        values: impl IntoIterator<Item = (ServerId, T)>,
    ) -> Option<T> {
        let mut greatest: BTreeMap<ServerId, T> = BTreeMap::new();
        for (server, value) in values.into_iter().filter(|(server, _)| self.is_voter(*server)) {
            greatest.entry(server).and_modify(|known| *known = value.max(*known)).or_insert(value);
        }
        let mut reached: Vec<T> = greatest.into_values().collect();
        reached.sort_unstable_by(|a, b| b.cmp(a));
        let one_short = usize::from(has(Mutant::CommitOneShort) && self.voters.len() > 1);
        reached.get(self.voters.len() / 2 - one_short).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quorum(count: u8) -> Quorum {
        Quorum::new((1..=count).map(ServerId).collect())
    }

    #[test]
    fn more_than_half_of_the_voters_are_enough() {
        for (voters, needed) in [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3)] {
            let quorum = quorum(voters);
            assert!(quorum.has((1..=needed).map(ServerId)));
            assert!(!quorum.has((1..needed).map(ServerId)));
        }
    }

    #[test]
    fn strangers_and_repetitions_are_not_counted() {
        let quorum = quorum(3);
        assert!(!quorum.has([ServerId(1), ServerId(1), ServerId(9), ServerId(8)]));
        assert_eq!(quorum.reached_by_quorum([(ServerId(1), 5), (ServerId(9), 7), (ServerId(8), 7)]), None);
    }

    #[test]
    fn a_value_is_reached_when_a_quorum_is_at_least_there() {
        let quorum = quorum(5);
        let values =
            [5, 1, 3, 4].into_iter().enumerate().map(|(index, value)| (ServerId(index as u8 + 1), value));
        assert_eq!(quorum.reached_by_quorum(values), Some(3));
    }
}
