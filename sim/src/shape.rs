//! The kinds of ensembles, and which of their servers are a quorum: counted here by other means than the servers do it.

use std::collections::{BTreeMap, BTreeSet};

use zabra::ids::ServerId;
use zabra::zab::Member;

/// What the servers of an ensemble are.
#[derive(Clone, Copy, Debug)]
pub enum Roles {
    /// all vote, and count the same
    Equal,
    /// the last so many observe
    Observers(u8),
    /// the group and the weight of each
    Groups(&'static [(u32, u32)]),
}

/// How many servers there are, and what they are.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub servers: u8,
    pub roles: Roles,
}

const fn equal(servers: u8) -> Shape {
    Shape { servers, roles: Roles::Equal }
}

const fn observed(servers: u8, observers: u8) -> Shape {
    Shape { servers, roles: Roles::Observers(observers) }
}

const fn grouped(shares: &'static [(u32, u32)]) -> Shape {
    Shape { servers: shares.len() as u8, roles: Roles::Groups(shares) }
}

/// Of which runs draw theirs, each as likely as it stands here often.
pub const DRAWN: &[Shape] = &[
    equal(1),
    equal(3),
    equal(3),
    equal(3),
    equal(3),
    equal(3),
    equal(3),
    equal(3),
    equal(5),
    equal(5),
    equal(5),
    equal(5),
    observed(2, 1),
    observed(4, 1),
    observed(4, 1),
    observed(5, 2),
    observed(6, 1),
    observed(6, 1),
    // Nothing goes without the first one.
    grouped(&[(0, 2), (0, 1), (0, 1)]),
    // Two of three groups, one of which is a single server.
    grouped(&[(1, 1), (1, 1), (2, 1), (2, 1), (3, 1)]),
    // The second group has no weight.
    grouped(&[(1, 2), (1, 1), (1, 1), (2, 0)]),
];

impl Shape {
    /// What a server is.
    pub fn member(self, id: ServerId) -> Member {
        match self.roles {
            Roles::Observers(observers) if id.0 > self.servers - observers => Member::Observer,
            Roles::Equal | Roles::Observers(_) => Member::EQUAL,
            Roles::Groups(shares) => {
                let (group, weight) = shares[usize::from(id.0) - 1];
                Member::Participant { group, weight }
            }
        }
    }

    /// Those that count for something.
    pub fn voters(self) -> impl Iterator<Item = ServerId> + Clone {
        let votes = move |id: &ServerId| matches!(self.member(*id), Member::Participant { weight: 1.., .. });
        (1..=self.servers).map(ServerId).filter(votes)
    }

    /// True if these are enough.
    #[cfg(test)]
    pub fn is_quorum(self, servers: impl IntoIterator<Item = ServerId>) -> bool {
        is_quorum(&self.members(), &servers.into_iter().collect())
    }

    /// All servers, and what they are.
    pub fn members(self) -> BTreeMap<ServerId, Member> {
        (1..=self.servers).map(ServerId).map(|id| (id, self.member(id))).collect()
    }
}

/// True if these servers are enough of an ensemble.
pub fn is_quorum(members: &BTreeMap<ServerId, Member>, servers: &BTreeSet<ServerId>) -> bool {
    let mut groups: BTreeMap<u32, (u32, u32)> = BTreeMap::new();
    for (id, member) in members {
        if let Member::Participant { group, weight: weight @ 1.. } = *member {
            let (have, all) = groups.entry(group).or_default();
            *all += weight;
            *have += if servers.contains(id) { weight } else { 0 };
        }
    }
    let won = groups.values().filter(|(have, all)| 2 * have > *all).count();
    2 * won > groups.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_of_the_weight_of_most_groups_is_enough() {
        let enough = |shape: Shape, ids: &[u8]| shape.is_quorum(ids.iter().map(|id| ServerId(*id)));
        assert!(enough(equal(3), &[1, 3]) && !enough(equal(3), &[2]));
        assert!(enough(observed(4, 1), &[1, 2]) && !enough(observed(4, 1), &[1, 4]));
        let groups = grouped(&[(1, 1), (1, 1), (2, 1), (2, 0)]);
        assert!(enough(groups, &[1, 2, 3]) && !enough(groups, &[1, 3, 4]) && !enough(groups, &[1, 2, 4]));
    }
}
