//! What a server's log holds, as far as the broadcast must know: where it ends in every epoch, and its newest part
//! itself, from which learners are synchronized.

use std::collections::VecDeque;

use super::message::{HistorySummary, Proposal};
use crate::ids::Zxid;
use crate::mutants::{Mutant, has};

/// How many epochs are remembered; a learner that has none of them in common gets a snapshot.
const EPOCH_ENDS_MAX: usize = 64;

/// How many times the usual memory is given for a learner that takes a snapshot while others write: without it a
/// snapshot would be followed by the next one for ever.
const WANTED_FACTOR: usize = 8;

/// The log of a server: everything appended, whether it is on disk yet or not.
#[derive(Debug)]
pub struct History {
    /// The newest part of the log, without a gap.
    recent: VecDeque<Proposal>,
    /// Bytes of memory that `recent` takes.
    recent_bytes: usize,
    recent_bytes_max: usize,
    /// The zxid before the first of `recent`.
    before_recent: Zxid,
    /// The last zxid of every epoch in the log, oldest first. Its last entry is the end of the log.
    epoch_ends: Vec<Zxid>,
    /// The log cannot be cut behind this: the zxid of the oldest snapshot it starts from.
    floor: Zxid,
}

impl History {
    /// From what recovery found. `recent` must be the end of the log that `summary` describes.
    pub fn new(
        summary: HistorySummary,
        recent: Vec<Proposal>,
        before_recent: Zxid,
        recent_bytes_max: usize,
    ) -> History {
        let mut previous = before_recent;
        for proposal in &recent {
            assert!(
                proposal.zxid.may_follow(previous),
                "{} may not follow {previous} in a log",
                proposal.zxid
            );
            previous = proposal.zxid;
        }
        let last = summary.epoch_ends.last().copied().unwrap_or(Zxid::ZERO);
        assert_eq!(previous, last, "the recent part is not the end of the log");
        let recent_bytes = recent.iter().map(Proposal::memory_bytes).sum();
        let mut history = History {
            recent: recent.into(),
            recent_bytes,
            recent_bytes_max,
            before_recent,
            epoch_ends: summary.epoch_ends,
            floor: summary.floor,
        };
        history.forget_old_epochs();
        history
    }

    /// The end of the log; zero if it is empty.
    pub fn last(&self) -> Zxid {
        self.epoch_ends.last().copied().unwrap_or(Zxid::ZERO)
    }

    /// The zxid before the oldest transaction that is still at hand.
    pub fn before_recent(&self) -> Zxid {
        self.before_recent
    }

    /// What another server must know of this history.
    pub fn summary(&self) -> HistorySummary {
        HistorySummary { epoch_ends: self.epoch_ends.clone(), floor: self.floor }
    }

    /// True if the history is known to hold the transaction: it can be cut there.
    pub fn holds(&self, zxid: Zxid) -> bool {
        zxid == self.floor
            || zxid > self.floor
                && zxid.counter() > 0
                && self.epoch_ends.iter().any(|end| end.epoch() == zxid.epoch() && zxid <= *end)
    }

    /// Adds a transaction to the end.
    ///
    /// # Panics
    /// If it may not stand there: a history never has a gap.
    pub fn push(&mut self, proposal: Proposal) {
        let last = self.last();
        assert!(proposal.zxid.may_follow(last), "{} may not follow {last} in a history", proposal.zxid);
        match self.epoch_ends.last_mut() {
            Some(end) if end.epoch() == proposal.zxid.epoch() => *end = proposal.zxid,
            _ => self.epoch_ends.push(proposal.zxid),
        }
        self.recent_bytes += proposal.memory_bytes();
        self.recent.push_back(proposal);
        if has(Mutant::HoleInRecent) && self.recent.len() == 7 {
            self.recent.remove(2);
        }
        self.forget_old_epochs();
    }

    /// Forgets old transactions until the bound is kept, none behind `delivered`. Those behind `wanted_after` are kept
    /// for a learner until there are [`WANTED_FACTOR`] times as many as otherwise.
    pub fn evict(&mut self, delivered: Zxid, wanted_after: Zxid) {
        while self.recent_bytes > self.recent_bytes_max {
            let far_too_many = self.recent_bytes > self.recent_bytes_max.saturating_mul(WANTED_FACTOR);
            let keep_after = if far_too_many { delivered } else { delivered.min(wanted_after) };
            match self.recent.front() {
                Some(oldest) if oldest.zxid <= keep_after => {
                    self.recent_bytes -= oldest.memory_bytes();
                    self.before_recent = oldest.zxid;
                    self.recent.pop_front();
                }
                _ => break,
            }
        }
    }

    /// The transactions in `after..=through` that are at hand; `after` must be in reach.
    pub fn range(&self, after: Zxid, through: Zxid) -> impl Iterator<Item = &Proposal> + '_ {
        assert!(
            after >= self.before_recent,
            "{after} is older than what is at hand ({})",
            self.before_recent
        );
        let first = self.recent.partition_point(|proposal| proposal.zxid <= after);
        self.recent.range(first..).take_while(move |proposal| proposal.zxid <= through)
    }

    /// Cuts the end behind `through`, which must be in the history.
    pub fn truncate(&mut self, through: Zxid) {
        assert!(
            through >= self.floor,
            "{through} is before {}, where the log can be cut at the earliest",
            self.floor
        );
        while self.recent.back().is_some_and(|newest| newest.zxid > through) {
            let newest = self.recent.pop_back().expect("there is one");
            self.recent_bytes -= newest.memory_bytes();
        }
        if self.recent.is_empty() {
            self.before_recent = through;
        }
        while self.epoch_ends.last().is_some_and(|end| end.epoch() > through.epoch()) {
            self.epoch_ends.pop();
        }
        match self.epoch_ends.last_mut() {
            Some(end) if end.epoch() == through.epoch() => {
                assert!(*end >= through, "cannot cut at {through}: the history ends at {end}");
                *end = through;
            }
            _ => assert_eq!(through, self.last(), "cannot cut at {through}: no such epoch in the history"),
        }
    }

    /// Begins anew behind a snapshot.
    pub fn reset(&mut self, zxid: Zxid) {
        self.recent.clear();
        self.recent_bytes = 0;
        self.before_recent = zxid;
        self.epoch_ends = if zxid == Zxid::ZERO { Vec::new() } else { vec![zxid] };
        self.floor = zxid;
    }

    fn forget_old_epochs(&mut self) {
        let excess = self.epoch_ends.len().saturating_sub(EPOCH_ENDS_MAX);
        self.epoch_ends.drain(..excess);
    }
}

/// The newest zxid that both histories hold. Within an epoch a history is a beginning of its leader's, so the shorter
/// of the two ends is common; and what stands before a common transaction is common as well. If they have no epoch in
/// common it is the beginning, as far as all of both is known; else `None`.
pub fn common_point(own: &HistorySummary, other: &HistorySummary) -> Option<Zxid> {
    for end in other.epoch_ends.iter().rev() {
        if let Some(own_end) = own.epoch_ends.iter().find(|own_end| own_end.epoch() == end.epoch()) {
            return Some((*own_end).min(*end));
        }
    }
    let is_all =
        |history: &HistorySummary| history.floor == Zxid::ZERO && history.epoch_ends.len() < EPOCH_ENDS_MAX;
    (is_all(own) && is_all(other)).then_some(Zxid::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Epoch;
    use bytes::Bytes;

    fn zxid(epoch: u32, counter: u32) -> Zxid {
        Zxid::new(Epoch(epoch), counter)
    }

    fn summary(ends: &[(u32, u32)], floor: (u32, u32)) -> HistorySummary {
        HistorySummary {
            epoch_ends: ends.iter().map(|(epoch, counter)| zxid(*epoch, *counter)).collect(),
            floor: zxid(floor.0, floor.1),
        }
    }

    fn history(ends: &[(u32, u32)]) -> History {
        let mut history = History::new(HistorySummary::default(), Vec::new(), Zxid::ZERO, 1 << 20);
        for (epoch, counter) in ends {
            for count in 1..=*counter {
                history.push(Proposal { zxid: zxid(*epoch, count), txn: Bytes::from_static(b"txn") });
            }
        }
        history
    }

    #[test]
    fn the_common_point_goes_by_presence_and_not_by_range() {
        // One server logged 1_74 alone; the others went on from 1_73 to epoch 2 (ZOOKEEPER-1154).
        let leader = summary(&[(1, 73), (2, 81)], (0, 0));
        assert_eq!(common_point(&leader, &summary(&[(1, 74)], (0, 0))), Some(zxid(1, 73)));
        // An epoch that the leader never saw is skipped.
        assert_eq!(
            common_point(&summary(&[(1, 5), (4, 1)], (0, 0)), &summary(&[(1, 9), (3, 2)], (0, 0))),
            Some(zxid(1, 5))
        );
        assert_eq!(common_point(&summary(&[(4, 1)], (2, 7)), &summary(&[(1, 9)], (0, 0))), None);
    }

    #[test]
    fn an_empty_history_has_its_beginning_in_common_with_one_that_reaches_back_to_it() {
        let empty = HistorySummary::default();
        assert_eq!(common_point(&summary(&[(1, 3)], (0, 0)), &empty), Some(Zxid::ZERO));
        assert_eq!(common_point(&summary(&[(1, 3)], (1, 1)), &empty), None);
        assert_eq!(common_point(&empty, &summary(&[(1, 3)], (1, 1))), None);
    }

    #[test]
    fn histories_without_a_common_epoch_have_the_beginning_in_common_if_all_of_them_is_known() {
        let other = summary(&[(1, 5)], (0, 0));
        assert_eq!(common_point(&summary(&[(2, 5)], (0, 0)), &other), Some(Zxid::ZERO));
        assert_eq!(common_point(&summary(&[(2, 5)], (2, 1)), &other), None);
        let many: Vec<(u32, u32)> = (2..).map(|epoch| (epoch, 1)).take(EPOCH_ENDS_MAX).collect();
        assert_eq!(common_point(&summary(&many, (0, 0)), &other), None, "older ones may be forgotten");
    }

    #[test]
    fn a_cut_history_ends_at_the_cut() {
        let mut history = history(&[(1, 3), (2, 2)]);
        history.truncate(zxid(1, 2));
        assert_eq!(history.last(), zxid(1, 2));
        history.push(Proposal { zxid: zxid(3, 1), txn: Bytes::new() });
        let zxids: Vec<Zxid> = history.range(zxid(1, 1), zxid(9, 0)).map(|proposal| proposal.zxid).collect();
        assert_eq!(zxids, [zxid(1, 2), zxid(3, 1)]);
    }

    #[test]
    #[should_panic(expected = "may not follow")]
    fn a_gap_is_refused() {
        history(&[(1, 3)]).push(Proposal { zxid: zxid(1, 5), txn: Bytes::new() });
    }

    #[test]
    fn what_may_still_be_needed_is_not_forgotten() {
        let mut history = history(&[(1, 100)]);
        history.recent_bytes_max = 10 * history.recent[0].memory_bytes();
        history.evict(zxid(1, 40), zxid(9, 0));
        assert_eq!(history.before_recent(), zxid(1, 40));
        history.evict(zxid(1, 100), zxid(1, 60));
        assert_eq!(history.before_recent(), zxid(1, 60));
        history.evict(zxid(1, 100), zxid(9, 0));
        assert_eq!(history.before_recent(), zxid(1, 90));
    }
}
