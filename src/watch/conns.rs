//! A set of connections, small in memory: nearly every watched path has one watcher.

use crate::ids::ConnId;

/// The connections that watch one path.
#[derive(Clone, Default, Debug)]
pub(super) enum Conns {
    /// nobody
    #[default]
    None,
    /// the usual case, without an allocation
    One(ConnId),
    /// two or more when it was made, sorted; boxed because three words in every entry would cost more
    #[allow(clippy::box_collection)]
    Many(Box<Vec<ConnId>>),
}

impl Conns {
    /// In the order of their ids.
    pub(super) fn as_slice(&self) -> &[ConnId] {
        match self {
            Conns::None => &[],
            Conns::One(conn) => std::slice::from_ref(conn),
            Conns::Many(conns) => conns,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }

    pub(super) fn contains(&self, conn: ConnId) -> bool {
        self.as_slice().binary_search(&conn).is_ok()
    }

    /// False if it is in already.
    pub(super) fn insert(&mut self, conn: ConnId) -> bool {
        let Err(position) = self.as_slice().binary_search(&conn) else {
            return false;
        };
        match self {
            Conns::None => *self = Conns::One(conn),
            Conns::One(other) => {
                let mut conns = vec![*other];
                conns.insert(position, conn);
                *self = Conns::Many(Box::new(conns));
            }
            Conns::Many(conns) => conns.insert(position, conn),
        }
        true
    }

    /// False if it is not in.
    pub(super) fn remove(&mut self, conn: ConnId) -> bool {
        let Ok(position) = self.as_slice().binary_search(&conn) else {
            return false;
        };
        match self {
            Conns::Many(conns) if conns.len() > 2 => {
                conns.remove(position);
                if conns.len() * 4 < conns.capacity() {
                    conns.shrink_to(conns.len() * 2);
                }
            }
            Conns::Many(conns) => *self = Conns::One(conns[1 - position]),
            Conns::One(_) | Conns::None => *self = Conns::None,
        }
        true
    }

    /// All of them, in the order of their ids.
    pub(super) fn into_vec(self) -> Vec<ConnId> {
        match self {
            Conns::None => Vec::new(),
            Conns::One(conn) => vec![conn],
            Conns::Many(conns) => *conns,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn two_words_are_enough() {
        assert_eq!(size_of::<Conns>(), 16);
    }

    #[test]
    fn it_is_a_set() {
        let mut conns = Conns::default();
        let mut model = BTreeSet::new();
        let mut random: u32 = 1;
        for _ in 0..3000 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let conn = ConnId((random >> 16) % 7);
            if random >> 31 == 0 {
                assert_eq!(conns.insert(conn), model.insert(conn));
            } else {
                assert_eq!(conns.remove(conn), model.remove(&conn));
            }
            assert!(conns.as_slice().iter().eq(&model));
            assert_eq!(conns.is_empty(), model.is_empty());
            assert_eq!(conns.contains(conn), model.contains(&conn));
        }
        assert!(conns.into_vec().iter().eq(&model));
    }
}
