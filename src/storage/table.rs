//! Every state that the folders of a server can be in, and what a start does about it. The only place that decides.

/// The epoch file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EpochFact {
    /// there is none
    Absent,
    /// it verifies
    Valid,
    /// it verifies, and says that the data was found damaged
    Condemned,
    /// it does not
    Damaged,
    /// a newer release wrote it
    Future,
}

/// The snapshots.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SnapshotFact {
    /// there is none
    None,
    /// the newest one verifies
    Newest,
    /// the newest one does not, an older one does
    Older,
    /// none of those there are does
    Damaged,
    /// a newer release wrote the newest one
    Future,
}

/// The log, as far as it lies behind the snapshot that would be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFact {
    /// there is no segment
    Absent,
    /// one segment, which was never written to
    Empty,
    /// every record verifies and continues the one before
    Whole,
    /// and the last segment ends in an unfinished group
    Torn,
    /// a record or a header that was durable once is not as it was
    Damaged,
    /// a segment does not continue the one before it
    Gap,
    /// a newer release wrote a segment
    Future,
}

/// Whether snapshot and log fit together. Without a snapshot that verifies, the log must begin before everything.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReachFact {
    /// the log begins with, or holds, the snapshot's transaction, and reaches to the newest snapshot of any kind, and to
    /// the end that the epoch file notes
    Joins,
    /// the log begins behind the snapshot
    StartsLater,
    /// the log ends before the newest snapshot, or before the end that the epoch file notes
    EndsEarlier,
    /// the log has transactions before and behind the snapshot's, but not that one
    PassesBy,
}

/// All facts that a start depends on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Facts {
    /// the epoch file
    pub epoch: EpochFact,
    /// the snapshots
    pub snapshot: SnapshotFact,
    /// the log
    pub log: LogFact,
    /// both together
    pub reach: ReachFact,
}

/// What the facts come to. The first seven start; the others are refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Case {
    /// nothing was ever stored here
    Fresh,
    /// all that was here was damaged, and is put aside
    Emptied,
    /// a snapshot and nothing else: somebody put it here to begin with
    Restored,
    /// all is well
    Clean,
    /// the last group of records was never finished, thus never acknowledged: it is cut off
    TornTail,
    /// newer snapshots are damaged, but an older one and the log give the same state
    OlderSnapshot,
    /// the snapshots are damaged, but the log gives the same state
    LogAlone,
    /// a newer release wrote this
    FutureVersion,
    /// an earlier start found the data damaged, and did not put aside all of it
    Condemned,
    /// the epoch file does not verify
    EpochDamaged,
    /// there is data but no epoch file
    EpochMissing,
    /// there is an epoch file but no log
    LogMissing,
    /// the log does not verify
    LogDamaged,
    /// a segment of the log is missing
    LogGap,
    /// the log does not reach back to the snapshot
    LogStartsLate,
    /// the log does not reach to the newest snapshot, or to the end that the epoch file notes
    LogEndsEarly,
    /// the log passes by the snapshot
    SnapshotNotInLog,
    /// no snapshot verifies, and the log does not reach back to the beginning
    SnapshotDamaged,
}

impl Case {
    /// True if the server can be started.
    pub fn starts(self) -> bool {
        match self {
            Case::Fresh
            | Case::Emptied
            | Case::Restored
            | Case::Clean
            | Case::TornTail
            | Case::OlderSnapshot
            | Case::LogAlone => true,
            Case::FutureVersion
            | Case::Condemned
            | Case::EpochDamaged
            | Case::EpochMissing
            | Case::LogMissing
            | Case::LogDamaged
            | Case::LogGap
            | Case::LogStartsLate
            | Case::LogEndsEarly
            | Case::SnapshotNotInLog
            | Case::SnapshotDamaged => false,
        }
    }

    /// True if something is damaged or unfinished, and the server starts without it.
    pub fn gets_by(self) -> bool {
        matches!(self, Case::TornTail | Case::OlderSnapshot | Case::LogAlone)
    }

    /// What the operator should do.
    pub fn remedy(self) -> &'static str {
        match self {
            Case::Fresh | Case::Emptied | Case::Restored | Case::Clean => "Nothing is to be done",
            Case::TornTail => "It was never acknowledged and is cut off",
            Case::OlderSnapshot | Case::LogAlone => {
                "The log makes up for it, so nothing is lost; but look after the disk: it does not keep what was written"
            }
            Case::FutureVersion => "Start the release that wrote it, or a newer one",
            Case::LogMissing => {
                "Look whether dataLogDir is the right folder and its disk is mounted. If the log is lost, so may be \
                 acknowledged writes: where other servers have them, move the contents of dataDir and dataLogDir away \
                 and start again, and this server gets everything from the leader; else restore a backup"
            }
            Case::Condemned
            | Case::EpochDamaged
            | Case::EpochMissing
            | Case::LogDamaged
            | Case::LogGap
            | Case::LogStartsLate
            | Case::LogEndsEarly
            | Case::SnapshotNotInLog
            | Case::SnapshotDamaged => "Nothing was changed. Going on could lose acknowledged writes",
        }
    }
}

/// Any snapshot but one of a newer release.
macro_rules! any_snapshot {
    () => {
        SnapshotFact::None | SnapshotFact::Newest | SnapshotFact::Older | SnapshotFact::Damaged
    };
}

/// Any log that this release can read.
macro_rules! any_log_read {
    () => {
        LogFact::Absent | LogFact::Empty | LogFact::Whole | LogFact::Torn | LogFact::Damaged | LogFact::Gap
    };
}

/// Any log.
macro_rules! any_log {
    () => {
        any_log_read!() | LogFact::Future
    };
}

/// Any relation: the row does not depend on it.
macro_rules! any_reach {
    () => {
        ReachFact::Joins | ReachFact::StartsLater | ReachFact::EndsEarlier | ReachFact::PassesBy
    };
}

/// The table. Rows further up win: what was written by a newer release, then what is damaged by itself, then what is
/// missing, then what does not fit together.
pub fn decide(facts: Facts) -> Case {
    use EpochFact as E;
    use LogFact as L;
    use ReachFact as R;
    use SnapshotFact as S;
    match (facts.epoch, facts.snapshot, facts.log, facts.reach) {
        (E::Future, any_snapshot!() | S::Future, any_log!(), any_reach!())
        | (E::Absent | E::Valid | E::Condemned | E::Damaged, S::Future, any_log!(), any_reach!())
        | (E::Absent | E::Valid | E::Condemned | E::Damaged, any_snapshot!(), L::Future, any_reach!()) => {
            Case::FutureVersion
        }

        (E::Condemned, S::None, L::Absent, any_reach!()) | (E::Condemned, S::None, L::Empty, R::Joins) => {
            Case::Emptied
        }
        (E::Condemned, any_snapshot!(), any_log_read!(), any_reach!()) => Case::Condemned,

        (E::Damaged, any_snapshot!(), any_log_read!(), any_reach!()) => Case::EpochDamaged,

        (E::Absent | E::Valid, any_snapshot!(), L::Damaged, any_reach!()) => Case::LogDamaged,
        (E::Absent | E::Valid, any_snapshot!(), L::Gap, any_reach!()) => Case::LogGap,

        (E::Valid, any_snapshot!(), L::Absent, any_reach!()) => Case::LogMissing,
        (E::Absent, S::None, L::Absent, any_reach!()) => Case::Fresh,
        (E::Absent, S::Newest, L::Absent, any_reach!()) => Case::Restored,
        (E::Absent, S::Older | S::Damaged, L::Absent, any_reach!()) => Case::SnapshotDamaged,

        (E::Absent, any_snapshot!(), L::Whole | L::Torn, any_reach!()) => Case::EpochMissing,
        (E::Absent, S::None, L::Empty, R::Joins) => Case::Fresh,
        (E::Absent, S::Newest, L::Empty, R::Joins) => Case::Restored,

        (E::Absent | E::Valid, S::Damaged, L::Empty, R::StartsLater | R::PassesBy)
        | (E::Valid, S::Damaged, L::Whole | L::Torn, R::StartsLater | R::PassesBy) => Case::SnapshotDamaged,
        (E::Absent | E::Valid, S::None | S::Newest | S::Older, L::Empty, R::StartsLater)
        | (E::Valid, S::None | S::Newest | S::Older, L::Whole | L::Torn, R::StartsLater) => {
            Case::LogStartsLate
        }
        (E::Absent | E::Valid, any_snapshot!(), L::Empty, R::EndsEarlier)
        | (E::Valid, any_snapshot!(), L::Whole | L::Torn, R::EndsEarlier) => Case::LogEndsEarly,
        (E::Absent | E::Valid, S::None | S::Newest | S::Older, L::Empty, R::PassesBy)
        | (E::Valid, S::None | S::Newest | S::Older, L::Whole | L::Torn, R::PassesBy) => {
            Case::SnapshotNotInLog
        }

        (E::Absent, S::Older | S::Damaged, L::Empty, R::Joins) => Case::SnapshotDamaged,
        (E::Valid, S::Damaged, L::Empty | L::Whole | L::Torn, R::Joins) => Case::LogAlone,
        (E::Valid, S::Older, L::Empty | L::Whole | L::Torn, R::Joins) => Case::OlderSnapshot,
        (E::Valid, S::None | S::Newest, L::Torn, R::Joins) => Case::TornTail,
        (E::Valid, S::None | S::Newest, L::Empty | L::Whole, R::Joins) => Case::Clean,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCHS: [EpochFact; 5] =
        [EpochFact::Absent, EpochFact::Valid, EpochFact::Condemned, EpochFact::Damaged, EpochFact::Future];
    const SNAPSHOTS: [SnapshotFact; 5] = [
        SnapshotFact::None,
        SnapshotFact::Newest,
        SnapshotFact::Older,
        SnapshotFact::Damaged,
        SnapshotFact::Future,
    ];
    const LOGS: [LogFact; 7] = [
        LogFact::Absent,
        LogFact::Empty,
        LogFact::Whole,
        LogFact::Torn,
        LogFact::Damaged,
        LogFact::Gap,
        LogFact::Future,
    ];
    const REACHES: [ReachFact; 4] =
        [ReachFact::Joins, ReachFact::StartsLater, ReachFact::EndsEarlier, ReachFact::PassesBy];

    fn all() -> impl Iterator<Item = Facts> {
        EPOCHS.into_iter().flat_map(|epoch| {
            SNAPSHOTS.into_iter().flat_map(move |snapshot| {
                LOGS.into_iter().flat_map(move |log| {
                    REACHES.into_iter().map(move |reach| Facts { epoch, snapshot, log, reach })
                })
            })
        })
    }

    #[test]
    fn a_server_starts_only_from_what_verifies_and_fits_together() {
        for facts in all().filter(|facts| facts.epoch != EpochFact::Condemned) {
            let case = decide(facts);
            let data = facts.log != LogFact::Absent || facts.snapshot != SnapshotFact::None;
            let readable = !matches!(facts.log, LogFact::Damaged | LogFact::Gap | LogFact::Future)
                && !matches!(facts.epoch, EpochFact::Damaged | EpochFact::Future)
                && facts.snapshot != SnapshotFact::Future;
            let joins = facts.log == LogFact::Absent || facts.reach == ReachFact::Joins;
            let log_kept = (facts.epoch == EpochFact::Valid) == (facts.log != LogFact::Absent)
                || matches!(facts.log, LogFact::Empty);
            if case.starts() {
                assert!(readable && joins && log_kept, "{facts:?} gives {case:?}");
            } else {
                let lone = facts.epoch == EpochFact::Absent
                    && matches!(facts.snapshot, SnapshotFact::Older | SnapshotFact::Damaged);
                assert!(data || facts.epoch != EpochFact::Absent, "{facts:?} gives {case:?}");
                assert!(!(readable && joins && log_kept) || lone, "{facts:?} gives {case:?}");
            }
        }
    }

    #[test]
    fn what_is_condemned_is_started_from_only_once_nothing_of_it_is_left() {
        for facts in all().filter(|facts| facts.epoch == EpochFact::Condemned) {
            let is_future = facts.snapshot == SnapshotFact::Future || facts.log == LogFact::Future;
            let is_left = facts.snapshot != SnapshotFact::None
                || !matches!(facts.log, LogFact::Absent | LogFact::Empty)
                || facts.log == LogFact::Empty && facts.reach != ReachFact::Joins;
            let expected = match (is_future, is_left) {
                (true, _) => Case::FutureVersion,
                (false, true) => Case::Condemned,
                (false, false) => Case::Emptied,
            };
            assert_eq!(decide(facts), expected, "{facts:?}");
        }
    }

    #[test]
    fn a_state_is_taken_for_empty_only_if_nothing_was_ever_stored() {
        for facts in all().filter(|facts| decide(*facts) == Case::Fresh) {
            assert_eq!(facts.epoch, EpochFact::Absent);
            assert_eq!(facts.snapshot, SnapshotFact::None);
            assert!(matches!(facts.log, LogFact::Absent | LogFact::Empty));
        }
    }

    #[test]
    fn every_case_is_the_answer_to_some_state() {
        let cases = [
            Case::Fresh,
            Case::Emptied,
            Case::Restored,
            Case::Clean,
            Case::TornTail,
            Case::OlderSnapshot,
            Case::LogAlone,
            Case::FutureVersion,
            Case::Condemned,
            Case::EpochDamaged,
            Case::EpochMissing,
            Case::LogMissing,
            Case::LogDamaged,
            Case::LogGap,
            Case::LogStartsLate,
            Case::LogEndsEarly,
            Case::SnapshotNotInLog,
            Case::SnapshotDamaged,
        ];
        for case in cases {
            assert!(all().any(|facts| decide(facts) == case), "{case:?}");
        }
    }
}
