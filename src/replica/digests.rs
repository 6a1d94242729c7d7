//! The digests of the newest states, to compare them with the leader's.

use std::collections::VecDeque;

use crate::ids::Zxid;

/// Transactions whose digests are remembered; more than are ever in flight.
const DIGESTS_MAX: usize = 16_384;

/// The digest after each of the newest transactions.
#[derive(Debug, Default)]
pub struct Digests {
    recent: VecDeque<(Zxid, u64)>,
    /// The last one that was compared: all transactions of a batch carry the same.
    compared: Option<(Zxid, u64)>,
}

/// Two servers that applied the same transactions and are not equal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mismatch {
    /// when they were found to differ
    pub zxid: Zxid,
    /// the own digest
    pub own: u64,
    /// the leader's
    pub leader: u64,
}

impl Digests {
    /// Notes the digest after `zxid`.
    pub fn push(&mut self, zxid: Zxid, digest: u64) {
        if self.recent.len() == DIGESTS_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back((zxid, digest));
    }

    /// The newest one.
    pub fn newest(&self) -> Option<(Zxid, u64)> {
        self.recent.back().copied()
    }

    /// Those that are remembered, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (Zxid, u64)> {
        self.recent.iter().copied()
    }

    /// Compares with what the leader has at `zxid`. What is not known here is not compared.
    pub fn compare(&mut self, zxid: Zxid, leader: u64) -> Result<(), Mismatch> {
        if self.compared == Some((zxid, leader)) {
            return Ok(());
        }
        let index = self.recent.partition_point(|(known, _)| *known < zxid);
        match self.recent.get(index) {
            Some((known, own)) if *known == zxid && *own != leader => {
                Err(Mismatch { zxid, own: *own, leader })
            }
            Some((known, _)) if *known == zxid => {
                self.compared = Some((zxid, leader));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The last state that was compared, and was the leader's.
    pub fn compared(&self) -> Option<Zxid> {
        self.compared.map(|(zxid, _)| zxid)
    }

    /// Begins anew with another state.
    pub fn clear(&mut self) {
        *self = Digests::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_digests_of_the_same_zxid_are_compared() {
        let mut digests = Digests::default();
        digests.push(Zxid(5), 50);
        digests.push(Zxid(7), 70);
        assert_eq!(digests.compare(Zxid(5), 50), Ok(()));
        assert_eq!(digests.compare(Zxid(5), 50), Ok(()));
        assert_eq!(digests.compare(Zxid(5), 51), Err(Mismatch { zxid: Zxid(5), own: 50, leader: 51 }));
        assert_eq!(digests.compare(Zxid(6), 1), Ok(()));
        assert_eq!(digests.compare(Zxid(8), 1), Ok(()));
        assert_eq!(digests.compare(Zxid(7), 71), Err(Mismatch { zxid: Zxid(7), own: 70, leader: 71 }));
    }
}
