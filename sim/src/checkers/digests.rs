//! At equal zxids all servers have equal states, whether they came there live, by a restart, or by a snapshot.

use std::collections::BTreeMap;

use zabra::ids::{ServerId, Zxid};

use super::{Verdict, unless};

pub const NAME: &str = "digest";

#[derive(Default)]
pub struct Digests {
    known: BTreeMap<Zxid, u64>,
}

impl Digests {
    /// A server is in this state.
    pub fn is_in(&mut self, server: ServerId, zxid: Zxid, digest: u64) -> Verdict {
        let known = *self.known.entry(zxid).or_insert(digest);
        unless(known == digest, || {
            format!(
                "the state of server {server} at {zxid} is {digest:016x}, that of another one {known:016x}"
            )
        })
    }

    /// Of the state at a zxid, if a server was seen in it.
    pub fn at(&self, zxid: Zxid) -> Option<u64> {
        self.known.get(&zxid).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_states_at_one_zxid_are_found() {
        let mut digests = Digests::default();
        assert_eq!(digests.is_in(ServerId(1), Zxid(1), 7), Ok(()));
        assert_eq!(digests.is_in(ServerId(2), Zxid(1), 7), Ok(()));
        digests.is_in(ServerId(3), Zxid(1), 8).expect_err("another state");
    }
}
