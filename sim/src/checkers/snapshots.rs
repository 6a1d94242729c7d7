//! A snapshot is of exactly one zxid, and of the state that the transactions through it make; nothing undecided is in it.

use zabra::ids::{ServerId, Zxid};

use super::agreement::Agreement;
use super::digests::Digests;
use super::{Verdict, unless};

pub const NAME: &str = "snapshots";

/// A server writes or sends a snapshot.
pub fn made(server: ServerId, zxid: Zxid, digest: u64, digests: &Digests) -> Verdict {
    let known = digests.at(zxid);
    unless(known == Some(digest), || {
        format!("server {server} makes a snapshot of {zxid} with {digest:016x}, not {known:016x?}")
    })
}

/// A server starts from a snapshot.
pub fn started_from(server: ServerId, zxid: Zxid, decided: &Agreement) -> Verdict {
    unless(decided.holds(zxid), || {
        format!("server {server} starts from a snapshot of {zxid}, which was never decided")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_of_another_state_is_found() {
        let (mut digests, decided) = (Digests::default(), Agreement::default());
        assert_eq!(digests.is_in(ServerId(1), Zxid(1), 7), Ok(()));
        assert_eq!(made(ServerId(1), Zxid(1), 7, &digests), Ok(()));
        made(ServerId(1), Zxid(1), 8, &digests).expect_err("another state");
        made(ServerId(1), Zxid(2), 7, &digests).expect_err("nobody was there");
        assert_eq!(started_from(ServerId(1), Zxid::ZERO, &decided), Ok(()));
        started_from(ServerId(1), Zxid(1), &decided).expect_err("nobody delivered it");
    }
}
