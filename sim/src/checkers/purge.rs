//! What is left on a disk when old snapshots and logs were removed still makes the newest state.

use std::collections::BTreeMap;

use zabra::ids::{ServerId, Zxid};

use super::digests::Digests;
use super::{Verdict, unless};

pub const NAME: &str = "purge";

/// How many times this is tried for a server: a start from its disk takes long.
const TRIES_MAX: u32 = 4;

#[derive(Default)]
pub struct Purge {
    tries: BTreeMap<ServerId, u32>,
    /// A snapshot was written, so the next thing that the disk does is to remove older ones.
    due: BTreeMap<ServerId, bool>,
}

impl Purge {
    /// A server has written a snapshot.
    pub fn snapshot_written(&mut self, server: ServerId) {
        self.due.insert(server, true);
    }

    /// True if what a disk holds now is to be looked at.
    pub fn is_due(&mut self, server: ServerId) -> bool {
        let tries = self.tries.entry(server).or_default();
        let is_due = self.due.insert(server, false).unwrap_or_default() && *tries < TRIES_MAX;
        *tries += u32::from(is_due);
        is_due
    }
}

/// What a start from a disk makes: its state, and how far its log goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Recovery {
    pub zxid: Zxid,
    pub digest: u64,
    pub log_end: Zxid,
}

/// A server that was durable through `synced` would start like this.
pub fn would_start(
    server: ServerId,
    found: &Result<Recovery, String>,
    synced: Zxid,
    digests: &Digests,
) -> Verdict {
    let found =
        found.as_ref().map_err(|why| format!("the disk of server {server} is good for nothing: {why}"))?;
    let known = digests.at(found.zxid);
    unless(found.log_end >= synced && known.is_none_or(|known| known == found.digest), || {
        format!("server {server}, durable through {synced}, would start with {found:?}, not {known:016x?}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_from_which_too_much_was_removed_is_found() {
        let mut digests = Digests::default();
        assert_eq!(digests.is_in(ServerId(1), Zxid(3), 7), Ok(()));
        let start = |found| would_start(ServerId(1), &found, Zxid(4), &digests);
        let recovery = Recovery { zxid: Zxid(3), digest: 7, log_end: Zxid(4) };
        assert_eq!(start(Ok(recovery)), Ok(()));
        start(Ok(Recovery { log_end: Zxid(3), ..recovery })).expect_err("the end is gone");
        start(Ok(Recovery { digest: 8, ..recovery })).expect_err("another state");
        start(Err("no snapshot".to_string())).expect_err("nothing is left");
    }

    #[test]
    fn it_is_tried_behind_a_snapshot_and_not_for_ever() {
        let mut purge = Purge::default();
        assert!(!purge.is_due(ServerId(1)));
        for written in 0..10 {
            purge.snapshot_written(ServerId(1));
            assert_eq!(purge.is_due(ServerId(1)), written < TRIES_MAX);
        }
    }
}
