//! What happened in a run: a test of faults that never happened tests nothing.

use std::collections::BTreeMap;
use std::fmt;

use zabra::storage::testing::Failed;

use super::faults::Fault;

/// What must have happened at least once over the default seeds.
pub const EXPECTED: &[&str] = &[
    // the broadcast, by the rules of docs/zab.md
    "rule 1: a vote waited for the disk",
    "rule 2: a greater vote was taken",
    "rule 2: a server that was elected in vain abstained",
    "rule 3: a quorum decided",
    "rule 3: a leader was joined without an election",
    "rule 4: a server that may not vote was synchronized",
    "rule 4: a server took up its vote",
    "rule 5: a leader gave up for a newer promise",
    "rule 6: a promise had been given before",
    "rule 7: a leader gave up for one with more",
    "rule 8: a candidate had a quorum of promises",
    "rule 9: DIFF of nothing",
    "rule 9: DIFF",
    "rule 9: TRUNC",
    "rule 9: TRUNC and DIFF",
    "rule 9: SNAP",
    "rule 9: SNAP and DIFF",
    "rule 10: a follower acknowledged the history",
    "rule 11: an acknowledgement came before the one of NEWLEADER",
    "rule 12: a leader was established",
    "rule 12: a transaction went to a follower that had not acknowledged NEWLEADER",
    "rule 13: a start left a tail that may not be decided",
    "rule 14: what gathered went in one message",
    "rule 15: a follower was told of a commit before its own acknowledgement",
    "rule 16: a leader without quorum stepped down",
    "rule 17: a sync was confirmed by a quorum",
    "sync asked of a leader that was replaced",
    "rule 18: an epoch was used up",
    "rule 19: a leader with a silent disk stepped down",
    "rule 20: a leader left its place to another",
    "rule 20: a leader had nobody to leave its place to",
    "rule 20: whom the last leader named leads",
    "rule 21: the history got its first configuration",
    "rule 21: a configuration was cut off a log",
    "rule 22: a reconfiguration was answered",
    "rule 22: a reconfiguration was refused while another was under way",
    "rule 22: a reconfiguration was refused without a quorum of the new one",
    "rule 22: a leader left that is no voter any more",
    "rule 23: a configuration was known to be decided by what another told",
    "rule 23: a stranger was told",
    "rule 24: an observer was fed by a follower",
    "rule 24: a transaction went from a follower to an observer",
    "rule 24: a feed ended, and the leader went on",
    "rule 24: a follower that was late was left",
    "rule 24: a follower could not feed",
    // the kinds of ensembles
    "ensemble that is reconfigured",
    "reconfiguration",
    "reconfiguration: a server was added",
    "reconfiguration: a server was removed",
    "reconfiguration: a server changed its role",
    "reconfiguration: to other servers altogether",
    "reconfiguration: to one server alone",
    "reconfiguration to nobody refused",
    "reconfiguration for a session that is over",
    "an observer followed a leader",
    "an observer passed on what clients asked for",
    "ensemble with groups or weights",
    "ensemble with observers",
    // disks
    "recovery of a server with data",
    "snapshot written",
    "replaced state given away",
    "state taken over",
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
    "container create",
    "create with a time to live",
    "sequential create with a time to live",
    "container removed",
    "container removed that was never used",
    "znode removed when its time to live was over",
    "ephemeral removed with its session",
    "multi",
    "multi refused",
    "read",
    "multiRead",
    "multiRead with an error",
    "ephemerals told",
    "descendants counted",
    // watches
    "event",
    "watch set again",
    "event told late",
    "watch fired: created",
    "watch fired: data",
    "watch fired: deleted",
    "watch fired: children",
    "watches gone with their session",
    "persistent watch added",
    "recursive watch added",
    "event of a persistent watch",
    "event of a recursive watch",
    "event of a recursive watch above",
    "one event for several watches",
    "watch that stays set again",
    "watch found",
    "watches removed",
    "refused: no such watch",
    // sessions that one server knows
    "local session opened",
    "local session went on with its server",
    "local session that moved is over",
    "local session over with its server's process",
    "local session over with its connection",
    "local session expired",
    "local session closed",
    "local session became one of the ensemble",
    "upgrade for a request that was done",
    "upgrade for a request that was refused",
    "upgrade, and the connection was lost before the answer",
    "upgrade, and the request for it came to nothing",
    "request of a local session",
    "request behind the end of its session",
    "refused: an ephemeral of a local session",
    // quotas
    "beyond a soft quota",
    "refused: beyond a hard quota",
    "refused: beyond a hard quota of an older epoch",
    "figures of a quota read",
    // the operations of ClickHouse Keeper
    "createIfNotExists",
    "createIfNotExists refused",
    "checkNotExists",
    "checkNotExists refused",
    "checkStat",
    "checkStat refused",
    "removeRecursive",
    "removeRecursive refused",
    "multi with operations of ClickHouse Keeper",
    "filteredList of all",
    "filteredList of persistent ones",
    "filteredList of ephemerals",
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_must_be_reached() {
        let rules =
            include_str!("../../docs/zab.md").lines().filter_map(|line| line.strip_prefix("### Rule "));
        let numbers: Vec<&str> =
            rules.filter_map(|rule| rule.split_once(':')).map(|(number, _)| number).collect();
        assert!(numbers.len() > 15, "{numbers:?}");
        for number in numbers {
            let row = format!("rule {number}: ");
            assert!(EXPECTED.iter().any(|it| it.starts_with(&row)), "no row for rule {number}");
        }
    }
}
