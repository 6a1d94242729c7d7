//! What happened in a run: a test of faults that never happened tests nothing.

use std::collections::BTreeMap;
use std::fmt;

use zabra::storage::testing::Failed;

use super::faults::Fault;

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
    "write failed",
    "sync failed",
    "change of names failed",
    "no room on the disk",
    "read failed",
    "start ended by a disk that failed",
    // the rows of the recovery table; a newer release, a restored backup and restored ones are none of a crash's doings
    "recovery: Fresh",
    "recovery: Clean",
    "recovery: TornTail",
    "recovery: OlderSnapshot",
    "recovery: LogAlone",
    "recovery: EpochDamaged",
    "recovery: EpochMissing",
    "recovery: LogMissing",
    "recovery: LogDamaged",
    "recovery: LogGap",
    "recovery: LogStartsLate",
    "recovery: LogEndsEarly",
    "recovery: LogEndsEarly, by the epoch file",
    "recovery: SnapshotDamaged",
    // processes and the network
    "process ended in the middle of a step",
    "messages lost with their connection",
    "message of a connection that was replaced",
    "a majority served while the others failed",
    "a majority without its disks stayed still",
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
    "outcome not known: it was refused",
    "outcome not known: it was not done",
    "refusal in the log",
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
        self.count_many(what, 1);
    }

    pub fn count_many(&mut self, what: &'static str, times: u64) {
        debug_assert!(expected().any(|it| it == what), "{what} is not in the list");
        if times > 0 {
            *self.counts.entry(what).or_default() += times;
        }
    }

    /// Something failed on a disk.
    pub fn disk(&mut self, failed: Failed) {
        self.count(match failed {
            Failed::Write => "write failed",
            Failed::Sync => "sync failed",
            Failed::Name => "change of names failed",
            Failed::Full => "no room on the disk",
            Failed::Read => "read failed",
        });
    }

    /// A server started: this is the damage that it found, and what else its operator was told.
    pub fn recovery(&mut self, is_new: bool, damage: Option<&str>, notes: &[String]) {
        let is_told = |words: &str| notes.iter().any(|note| note.contains(words));
        self.count(match damage {
            Some(damage) => row_of(damage),
            None if is_new => "recovery: Fresh",
            None if is_told("goes back to the snapshot") => "recovery: OlderSnapshot",
            None if is_told("goes without a snapshot") => "recovery: LogAlone",
            None if is_told("never acknowledged and is cut off") => "recovery: TornTail",
            None => "recovery: Clean",
        });
    }

    pub fn add(&mut self, other: &Coverage) {
        for (what, count) in &other.counts {
            *self.counts.entry(what).or_default() += count;
        }
    }

    /// What never happened.
    pub fn missing(&self) -> Vec<&'static str> {
        expected().filter(|what| !self.counts.contains_key(what)).collect()
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        expected().try_for_each(|what| {
            writeln!(f, "{:>9} {what}", self.counts.get(what).copied().unwrap_or_default())
        })
    }
}

/// What must have happened, and all kinds of faults.
fn expected() -> impl Iterator<Item = &'static str> {
    EXPECTED.iter().copied().chain(Fault::ALL.iter().map(|fault| fault.name()))
}

/// Which row of the recovery table speaks so.
fn row_of(damage: &str) -> &'static str {
    let words = [
        ("no epoch file", "recovery: EpochMissing"),
        ("data/epoch", "recovery: EpochDamaged"),
        ("no log, though", "recovery: LogMissing"),
        ("a segment that begins behind", "recovery: LogGap"),
        ("a log that begins behind", "recovery: LogStartsLate"),
        ("when the epoch file was written", "recovery: LogEndsEarly, by the epoch file"),
        ("a log that ends with", "recovery: LogEndsEarly"),
        ("data/snapshot", "recovery: SnapshotDamaged"),
    ];
    words.iter().find(|(words, _)| damage.contains(words)).map_or("recovery: LogDamaged", |(_, row)| row)
}
