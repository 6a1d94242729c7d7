//! What happened in a run: a test of faults that never happened tests nothing.

use std::collections::BTreeMap;
use std::fmt;

/// What must have happened at least once over the default seeds.
pub const EXPECTED: &[&str] = &[
    // zab
    "leader established",
    "epoch ended because its zxids were used up",
    "a leader without quorum stepped down",
    "DIFF of nothing",
    "DIFF",
    "TRUNC",
    "TRUNC and DIFF",
    "SNAP",
    "SNAP and DIFF",
    "synchronization of a server that may not vote",
    "promise given before",
    "a leader gave up for one with more",
    "a server that was elected in vain abstained",
    "a leader with a silent disk stepped down",
    // disks
    "recovery of a server with data",
    "recovery with a tail that may not be decided",
    "snapshot written",
    "replaced state given away",
    "failed disk",
    "damaged disk",
    // sessions and requests
    "session opened",
    "session moved",
    "session closed",
    "session expired",
    "client told that its session has expired",
    "client sent away: it has seen more",
    "request sent again",
    "connection closed: outcome lost",
    "connection closed: session elsewhere",
    "connection closed: no leader",
    "connection closed: state replaced",
    "outcome not known: it was done",
    "outcome not known: it was not done",
    "refused: the znode is there",
    "refused: no such znode",
    "refused: another version",
    "refused: not empty",
    "version as expected",
    "write under a lock",
    "lock handed over",
    "read behind a sync",
    "read from a server that is behind",
    "znode with a linear order",
    "sequential create",
    "ephemeral create",
    "ephemeral removed with its session",
    "multi",
    "multi refused",
    "sync",
    "read",
    // watches
    "event",
    "watch set again",
    "event told late",
    "watch fired: created",
    "watch fired: data",
    "watch fired: deleted",
    "watch fired: children",
    "watches gone with their session",
    // the digest
    "digest compared",
];

#[derive(Default)]
pub struct Coverage {
    counts: BTreeMap<&'static str, u64>,
}

impl Coverage {
    pub fn count(&mut self, what: &'static str) {
        debug_assert!(EXPECTED.contains(&what), "{what} is not in the list");
        *self.counts.entry(what).or_default() += 1;
    }

    pub fn add(&mut self, other: &Coverage) {
        for (what, count) in &other.counts {
            *self.counts.entry(what).or_default() += count;
        }
    }

    /// What never happened.
    pub fn missing(&self) -> Vec<&'static str> {
        EXPECTED.iter().copied().filter(|what| !self.counts.contains_key(what)).collect()
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        EXPECTED.iter().try_for_each(|what| {
            writeln!(f, "{:>9} {what}", self.counts.get(what).copied().unwrap_or_default())
        })
    }
}
