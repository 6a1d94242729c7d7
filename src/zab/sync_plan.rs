//! How a learner's history becomes the leader's: one table (rule 9 of docs/zab.md).

use super::history::{History, common_point};
use super::message::HistorySummary;
use crate::ids::Zxid;
use crate::mutants::{Mutant, has};

/// What the leader tells a learner to do before NEWLEADER.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SyncPlan {
    /// take what follows `after`; may be nothing
    Diff {
        /// the end of the learner's log
        after: Zxid,
    },
    /// cut the log behind `through`; then both are equal
    Trunc {
        /// the end of the leader's log
        through: Zxid,
    },
    /// cut the log behind `through`, and take what follows
    TruncThenDiff {
        /// the newest common zxid
        through: Zxid,
    },
    /// take a snapshot, and what follows it
    Snap,
}

/// Where the newest common transaction lies, as far as it decides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Common {
    /// nothing is known to be common
    Unknown,
    /// it is older than the transactions that the leader has at hand
    OutOfReach,
    /// the leader has all that follows it at hand
    AtHand,
}

/// Decides it for a learner with this history.
pub fn sync_plan(leader: &History, learner: &HistorySummary) -> SyncPlan {
    let point = common_point(&leader.summary(), learner);
    let learner_end = learner.epoch_ends.last().copied().unwrap_or_default();
    if has(Mutant::DiffByRange) && (leader.before_recent()..leader.last()).contains(&learner_end) {
        return SyncPlan::Diff { after: learner_end };
    }
    let common = match point {
        None => Common::Unknown,
        Some(_) if has(Mutant::DiffFromUncovered) => Common::AtHand,
        Some(point) if point < leader.before_recent() => Common::OutOfReach,
        Some(_) => Common::AtHand,
    };
    let point = point.unwrap_or(Zxid::ZERO);
    let learner_last = learner.epoch_ends.last().copied().unwrap_or(learner.floor);
    let learner_has_more = learner_last > point;
    let leader_has_more = leader.last() > point;
    let can_be_cut = point >= learner.floor;
    match plan_kind(common, learner_has_more, leader_has_more, can_be_cut) {
        Kind::Diff => SyncPlan::Diff { after: point },
        Kind::Trunc => SyncPlan::Trunc { through: point },
        Kind::TruncThenDiff => SyncPlan::TruncThenDiff { through: point },
        Kind::Snap => SyncPlan::Snap,
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Diff,
    Trunc,
    TruncThenDiff,
    Snap,
}

/// The table itself; every combination of the facts stands in exactly one row.
fn plan_kind(common: Common, learner_has_more: bool, leader_has_more: bool, can_be_cut: bool) -> Kind {
    match (common, learner_has_more, leader_has_more, can_be_cut) {
        (Common::AtHand, false, true | false, true | false) => Kind::Diff,
        (Common::AtHand, true, false, true) => Kind::Trunc,
        (Common::AtHand, true, true, true) => Kind::TruncThenDiff,
        (Common::AtHand, true, true | false, false) => Kind::Snap,
        (Common::OutOfReach | Common::Unknown, true | false, true | false, true | false) => Kind::Snap,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Epoch;
    use crate::zab::message::Proposal;
    use bytes::Bytes;

    fn zxid(epoch: u32, counter: u32) -> Zxid {
        Zxid::new(Epoch(epoch), counter)
    }

    /// A leader with 1_1 to 1_5 and 3_1 to 3_4, of which it has those behind `before_recent` at hand.
    fn leader(before_recent: Zxid) -> History {
        let all = (1..=5).map(|counter| zxid(1, counter)).chain((1..=4).map(|counter| zxid(3, counter)));
        let recent = all
            .filter(|zxid| *zxid > before_recent)
            .map(|zxid| Proposal { zxid, txn: Bytes::new() })
            .collect();
        let summary = HistorySummary { epoch_ends: vec![zxid(1, 5), zxid(3, 4)], floor: Zxid::ZERO };
        History::new(summary, recent, before_recent, 1 << 20)
    }

    fn plan(before_recent: (u32, u32), learner_ends: &[(u32, u32)], learner_floor: (u32, u32)) -> SyncPlan {
        let learner = HistorySummary {
            epoch_ends: learner_ends.iter().map(|(epoch, counter)| zxid(*epoch, *counter)).collect(),
            floor: zxid(learner_floor.0, learner_floor.1),
        };
        sync_plan(&leader(zxid(before_recent.0, before_recent.1)), &learner)
    }

    #[test]
    fn a_learner_that_is_behind_takes_what_it_lacks() {
        assert_eq!(plan((0, 0), &[(1, 3)], (0, 0)), SyncPlan::Diff { after: zxid(1, 3) });
        assert_eq!(plan((0, 0), &[], (0, 0)), SyncPlan::Diff { after: Zxid::ZERO });
        assert_eq!(plan((1, 3), &[(1, 3)], (1, 3)), SyncPlan::Diff { after: zxid(1, 3) });
        assert_eq!(plan((1, 3), &[(1, 5), (3, 4)], (0, 0)), SyncPlan::Diff { after: zxid(3, 4) });
    }

    #[test]
    fn a_learner_with_more_is_cut() {
        assert_eq!(plan((0, 0), &[(1, 5), (3, 9)], (0, 0)), SyncPlan::Trunc { through: zxid(3, 4) });
        assert_eq!(plan((0, 0), &[(1, 7)], (0, 0)), SyncPlan::TruncThenDiff { through: zxid(1, 5) });
        assert_eq!(plan((0, 0), &[(1, 5), (2, 1)], (0, 0)), SyncPlan::TruncThenDiff { through: zxid(1, 5) });
    }

    #[test]
    fn a_learner_too_far_behind_or_with_a_snapshot_that_must_go_takes_a_snapshot() {
        assert_eq!(plan((1, 4), &[(1, 3)], (0, 0)), SyncPlan::Snap);
        assert_eq!(plan((1, 4), &[], (0, 0)), SyncPlan::Snap);
        assert_eq!(plan((0, 0), &[(1, 5), (2, 3)], (2, 1)), SyncPlan::Snap);
        assert_eq!(plan((0, 0), &[(2, 3)], (2, 1)), SyncPlan::Snap);
    }

    #[test]
    fn every_combination_of_facts_has_a_row_that_fits_it() {
        for common in [Common::Unknown, Common::OutOfReach, Common::AtHand] {
            for bits in 0..8 {
                let (learner_more, leader_more, cut) = (bits & 1 != 0, bits & 2 != 0, bits & 4 != 0);
                let kind = plan_kind(common, learner_more, leader_more, cut);
                let cuts = matches!(kind, Kind::Trunc | Kind::TruncThenDiff);
                assert!(!cuts || (cut && learner_more), "only what is too much, and can be cut, is cut");
                assert!(kind != Kind::Diff || !learner_more, "a learner with more must lose it");
                assert!(
                    common == Common::AtHand || kind == Kind::Snap,
                    "nothing is sent that is not at hand"
                );
            }
        }
    }
}
