//! What is enough of an ensemble.

use std::collections::BTreeMap;

use crate::ids::{ServerId, Zxid};
use crate::mutants::{Mutant, has};

/// What a server is in its ensemble.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Member {
    /// takes part in elections, and counts for its weight in its group; with a weight of 0 for nothing, like an observer
    Participant {
        /// a number that its group has
        group: u32,
        /// how much it counts there
        weight: u32,
    },
    /// gets everything and serves clients, and counts for nothing
    Observer,
}

impl Member {
    /// One that counts as much as every other, in the only group.
    pub const EQUAL: Member = Member::Participant { group: 0, weight: 1 };
}

/// The servers, what each of them is, and so which of them are a quorum: those that have more than half of the weight in
/// more than half of the groups. With one group and equal weights that is a majority. Groups without weight do not count,
/// and who has no weight is no voter: what it has or promised bears on nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ensemble {
    version: u64,
    members: BTreeMap<ServerId, Member>,
    voters: BTreeMap<ServerId, Share>,
    /// the weight of each group that has any
    groups: Vec<u64>,
}

/// What a voter counts for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Share {
    /// the place in `Ensemble::groups`
    group: usize,
    weight: u32,
}

impl Ensemble {
    /// `version` tells one from the ensemble that it becomes.
    ///
    /// # Panics
    /// Without a voter there is no quorum.
    pub fn new(version: u64, members: BTreeMap<ServerId, Member>) -> Ensemble {
        let mut groups: BTreeMap<u32, u64> = BTreeMap::new();
        let mut shares = Vec::new();
        for (server, member) in &members {
            if let Member::Participant { group, weight: weight @ 1.. } = *member {
                *groups.entry(group).or_default() += u64::from(weight);
                shares.push((*server, group, weight));
            }
        }
        assert!(!shares.is_empty(), "an ensemble has at least one voter");
        let place = |group| groups.range(..group).count();
        let share = |(server, group, weight)| (server, Share { group: place(group), weight });
        let voters = shares.into_iter().map(share).collect();
        Ensemble { version, members, voters, groups: groups.into_values().collect() }
    }

    /// These servers, all with the same weight: more than half of them are a quorum.
    ///
    /// # Panics
    /// Without a server there is no quorum.
    pub fn of_equals(servers: impl IntoIterator<Item = ServerId>) -> Ensemble {
        Ensemble::new(0, servers.into_iter().map(|server| (server, Member::EQUAL)).collect())
    }

    /// The same servers, made by the transaction `version`.
    #[must_use]
    pub fn with_version(self, version: Zxid) -> Ensemble {
        Ensemble { version: version.0, ..self }
    }

    /// Which of several that followed one another this is: the zxid of the transaction that made it, or 0.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// All servers, in the order of their ids, and what they are.
    pub fn members(&self) -> impl Iterator<Item = (ServerId, Member)> + '_ {
        self.members.iter().map(|(server, member)| (*server, *member))
    }

    /// True if there is no other server in it.
    pub fn is_alone(&self, server: ServerId) -> bool {
        self.members.keys().all(|member| *member == server)
    }

    /// True if the server is an observer.
    pub fn observes(&self, server: ServerId) -> bool {
        self.members.get(&server) == Some(&Member::Observer)
    }

    /// All voters, in the order of their ids.
    pub fn voters(&self) -> impl Iterator<Item = ServerId> + '_ {
        self.voters.keys().copied()
    }

    /// True if the server votes.
    pub fn is_voter(&self, server: ServerId) -> bool {
        self.voters.contains_key(&server)
    }

    /// True if it votes, and nobody else does.
    pub fn is_only_voter(&self, server: ServerId) -> bool {
        self.voters.keys().eq([&server])
    }

    /// True if these servers are enough; those that do not vote are not counted, and nobody is counted twice.
    pub fn is_quorum(&self, servers: impl IntoIterator<Item = ServerId>) -> bool {
        self.reached_by_quorum(servers.into_iter().map(|server| (server, ()))).is_some()
    }

    /// The greatest value that a quorum has reached, if each listed server reached its value and no other server any.
    pub fn reached_by_quorum<T: Ord + Copy>(
        &self,
        values: impl IntoIterator<Item = (ServerId, T)>,
    ) -> Option<T> {
        let shared = |(server, value): (ServerId, T)| Some((value, server, *self.voters.get(&server)?));
        let mut reached: Vec<(T, ServerId, Share)> = values.into_iter().filter_map(shared).collect();
        reached.sort_unstable_by(|(a, ..), (b, ..)| b.cmp(a));
        let mut weights = vec![0; self.groups.len()];
        let mut groups_won = 0;
        for (index, (value, server, Share { group, weight })) in reached.iter().enumerate() {
            if reached[..index].iter().any(|(_, counted, _)| counted == server) {
                continue;
            }
            let half = self.groups[*group] / 2;
            let was_won = weights[*group] > half;
            weights[*group] += u64::from(*weight);
            groups_won += usize::from(!was_won && weights[*group] > half);
            if groups_won > self.groups.len() / 2 {
                let one_short = index > 0 && has(Mutant::CommitOneShort);
                return Some(if one_short { reached[index - 1].0 } else { *value });
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn equals(count: u8) -> Ensemble {
        Ensemble::of_equals((1..=count).map(ServerId))
    }

    fn grouped(shares: &[(u32, u32)]) -> Ensemble {
        let member = |(group, weight): &(u32, u32)| Member::Participant { group: *group, weight: *weight };
        Ensemble::new(0, (1..).map(ServerId).zip(shares.iter().map(member)).collect())
    }

    fn is_quorum(ensemble: &Ensemble, servers: &[u8]) -> bool {
        ensemble.is_quorum(servers.iter().copied().map(ServerId))
    }

    #[test]
    fn more_than_half_of_the_voters_are_enough() {
        for (voters, needed) in [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3)] {
            let ensemble = equals(voters);
            assert!(ensemble.is_quorum((1..=needed).map(ServerId)));
            assert!(!ensemble.is_quorum((1..needed).map(ServerId)));
        }
    }

    #[test]
    fn strangers_and_repetitions_are_not_counted() {
        let ensemble = equals(3);
        assert!(!ensemble.is_quorum([ServerId(1), ServerId(1), ServerId(9), ServerId(8)]));
        assert_eq!(ensemble.reached_by_quorum([(ServerId(1), 5), (ServerId(1), 4), (ServerId(9), 7)]), None);
    }

    #[test]
    fn a_value_is_reached_when_a_quorum_is_at_least_there() {
        let ensemble = equals(5);
        let values =
            [5, 1, 3, 4].into_iter().enumerate().map(|(index, value)| (ServerId(index as u8 + 1), value));
        assert_eq!(ensemble.reached_by_quorum(values), Some(3));
    }

    #[test]
    fn observers_are_members_and_count_for_nothing() {
        let mut members: BTreeMap<ServerId, Member> = equals(3).members().collect();
        members.insert(ServerId(4), Member::Observer);
        let ensemble = Ensemble::new(7, members);
        assert_eq!((ensemble.version(), ensemble.members().count(), ensemble.voters().count()), (7, 4, 3));
        assert!(ensemble.observes(ServerId(4)) && !ensemble.is_voter(ServerId(4)));
        assert!(is_quorum(&ensemble, &[1, 3]) && !is_quorum(&ensemble, &[1, 4]));
        let one = Ensemble::new(0, [(ServerId(1), Member::EQUAL), (ServerId(2), Member::Observer)].into());
        assert!(
            one.is_only_voter(ServerId(1)) && !one.is_only_voter(ServerId(2)) && !one.is_alone(ServerId(1))
        );
    }

    #[test]
    fn a_quorum_of_groups_has_most_of_the_weight_in_most_of_the_groups() {
        let three_groups = grouped(&[(1, 1), (1, 1), (1, 1), (2, 1), (2, 1), (2, 1), (3, 1), (3, 1), (3, 1)]);
        assert!(is_quorum(&three_groups, &[1, 2, 4, 5]), "as in ZooKeeper's handbook");
        assert!(!is_quorum(&three_groups, &[1, 2, 3, 4, 7]), "only one group is won");
        let weighted = grouped(&[(1, 3), (1, 1), (1, 1), (1, 1)]);
        assert!(
            is_quorum(&weighted, &[1, 4]) && !is_quorum(&weighted, &[1]) && !is_quorum(&weighted, &[2, 3, 4])
        );
    }

    #[test]
    fn without_weight_neither_a_server_nor_a_group_counts() {
        let ensemble = grouped(&[(1, 1), (2, 0), (3, 1), (3, 0)]);
        assert!(!ensemble.is_voter(ServerId(2)) && !ensemble.is_voter(ServerId(4)));
        assert!(!ensemble.observes(ServerId(4)), "it is a participant");
        assert!(is_quorum(&ensemble, &[1, 3]) && !is_quorum(&ensemble, &[1, 2, 4]));
    }

    /// Servers of up to three groups.
    fn ensembles() -> impl Strategy<Value = Ensemble> {
        let members = proptest::collection::vec((0..3_u32, 0..4_u32, any::<bool>()), 1..9);
        let has_voter = |members: &Vec<(u32, u32, bool)>| members.iter().any(|it| it.1 > 0 && !it.2);
        members.prop_filter("somebody votes", has_voter).prop_map(|members| {
            let member = |(group, weight, observes)| match observes {
                true => Member::Observer,
                false => Member::Participant { group, weight },
            };
            Ensemble::new(0, (1..).map(ServerId).zip(members.into_iter().map(member)).collect())
        })
    }

    fn chosen(ensemble: &Ensemble, bits: u16) -> Vec<ServerId> {
        ensemble.members().map(|(id, _)| id).filter(|id| bits & 1 << id.0 != 0).collect()
    }

    proptest! {
        #[test]
        fn two_quorums_have_a_voter_in_common(ensemble in ensembles(), one: u16, other: u16) {
            let (one, other) = (chosen(&ensemble, one), chosen(&ensemble, other));
            if ensemble.is_quorum(one.clone()) && ensemble.is_quorum(other.clone()) {
                prop_assert!(one.iter().any(|id| ensemble.is_voter(*id) && other.contains(id)));
            }
        }

        #[test]
        fn who_joins_a_quorum_does_no_harm_and_all_are_one(ensemble in ensembles(), some: u16, more: u16) {
            prop_assert!(ensemble.is_quorum(chosen(&ensemble, u16::MAX)));
            if ensemble.is_quorum(chosen(&ensemble, some)) {
                prop_assert!(ensemble.is_quorum(chosen(&ensemble, some | more)));
            }
        }

        #[test]
        fn a_value_is_reached_exactly_if_those_who_reached_it_are_a_quorum(
            ensemble in ensembles(),
            values in proptest::collection::vec(0..5_u8, 8),
        ) {
            let reached: Vec<(ServerId, u8)> = ensemble.members().map(|(id, _)| id).zip(values).collect();
            let at_least = |value| reached.iter().filter(move |it| it.1 >= value).map(|it| it.0);
            let greatest = (0..5).rev().find(|value| ensemble.is_quorum(at_least(*value)));
            prop_assert_eq!(ensemble.reached_by_quorum(reached.clone()), greatest);
        }
    }
}
