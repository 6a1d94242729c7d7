//! What a leader knows of one learner, and what it sends it next.

use super::core::Core;
use super::cursor::Cursor;
use super::io::{LinkId, Output};
use super::message::{HistorySummary, Message};
use super::sync_plan::{SyncPlan, sync_plan};
use crate::ids::{Epoch, ServerId, Tick, Zxid};
use crate::mutants::{Mutant, has};

/// How far the learner has come. It only goes forward.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Stage {
    /// connected; FOLLOWERINFO is to come
    Connected,
    /// FOLLOWERINFO came
    Introduced,
    /// LEADERINFO is sent; ACKEPOCH is to come
    Promising,
    /// ACKEPOCH came; synchronization is to begin
    Promised,
    /// history is being sent; NEWLEADER follows when the learner was sent everything through `target`
    Syncing {
        /// the end of the leader's log when it began
        target: Zxid,
    },
    /// NEWLEADER is sent; its ACK is to come
    SentNewLeader {
        /// what the learner has on its disk when it acknowledges
        target: Zxid,
    },
    /// the learner has the leader's history on its disk
    Synced,
    /// UPTODATE is sent
    Active,
}

/// One learner, for as long as its connection lasts.
#[derive(Debug)]
pub struct Learner {
    pub server: ServerId,
    pub link: LinkId,
    pub stage: Stage,
    /// False: nothing the learner says is counted (rule 4 of docs/zab.md).
    pub may_vote: bool,
    /// What the learner had promised when it came.
    pub accepted_epoch: Epoch,
    /// The epoch whose history the learner held when it came.
    pub current_epoch: Epoch,
    /// The learner promised the leader's epoch to this leader alone.
    pub promised: bool,
    pub history: HistorySummary,
    /// When something was last heard of it.
    pub heard: Tick,
    /// The newest ping it answered.
    pub pong: u64,
    /// What it was sent, what is in the snapshot that it was sent included, and what it has on its disk.
    pub cursor: Cursor,
    /// Everything through this zxid it may have written before it was told what is decided: it was sent it before
    /// UPTODATE, or not by the leader.
    pub sent_inactive: Zxid,
    /// A follower sends it what is proposed (rule 24 of docs/zab.md).
    pub is_fed: bool,
    /// The newest commit point it was told.
    pub told_committed: Zxid,
}

impl Learner {
    pub fn new(server: ServerId, link: LinkId, now: Tick) -> Learner {
        Learner {
            server,
            link,
            stage: Stage::Connected,
            may_vote: false,
            accepted_epoch: Epoch(0),
            current_epoch: Epoch(0),
            promised: false,
            history: HistorySummary::default(),
            heard: now,
            pong: 0,
            cursor: Cursor::new(Zxid::ZERO),
            sent_inactive: Zxid::ZERO,
            is_fed: false,
            told_committed: Zxid::ZERO,
        }
    }

    /// True if the learner has the leader's history, so that its acknowledgements count (rule 11 of docs/zab.md).
    pub fn counts(&self) -> bool {
        let is_synchronized = matches!(self.stage, Stage::Synced | Stage::Active)
            || has(Mutant::CountUnsynchronized) && matches!(self.stage, Stage::Syncing { .. });
        self.may_vote && is_synchronized
    }

    /// Begins the synchronization by the plan (rule 9 of docs/zab.md). Waits if a snapshot would be older than what the learner may
    /// have acknowledged.
    pub fn begin_sync(&mut self, core: &mut Core) {
        assert_eq!(self.stage, Stage::Promised, "a learner is synchronized once");
        let mut plan = sync_plan(&core.history, &self.history);
        if let SyncPlan::TruncThenDiff { through } = plan
            && has(Mutant::DiffWithoutTrunc)
        {
            plan = SyncPlan::Diff { after: through };
        }
        let (truncate_to, snapshot_zxid, sent) = match plan {
            SyncPlan::Diff { after } => (None, None, after),
            SyncPlan::Trunc { through } | SyncPlan::TruncThenDiff { through } => {
                (Some(through), None, through)
            }
            SyncPlan::Snap => {
                // A floor above everything is that of a server that distrusts its state: its log may hold anything.
                let hides = self.history.floor == Zxid(u64::MAX);
                let learner_last = self.history.epoch_ends.last().copied().unwrap_or(Zxid::ZERO);
                if (learner_last > core.delivered || hides) && core.delivered < core.history.last() {
                    return;
                }
                (None, Some(core.delivered), core.delivered)
            }
        };
        tracing::info!(server = %self.server, ?plan, "synchronizing a learner");
        core.send(self.link, Message::Sync { truncate_to, snapshot_zxid });
        if let Some(zxid) = snapshot_zxid {
            core.output(Output::SendSnapshot { link: self.link, zxid });
        }
        self.cursor = Cursor::new(sent);
        self.stage = Stage::Syncing { target: core.history.last() };
    }

    /// What follows this zxid is still to be sent to the learner. Up to date or not: one that is slow for a moment should
    /// not need a snapshot for it.
    pub fn wanted_after(&self) -> Option<Zxid> {
        self.is_sent_history().then_some(self.cursor.sent)
    }

    fn is_sent_history(&self) -> bool {
        matches!(
            self.stage,
            Stage::Syncing { .. } | Stage::SentNewLeader { .. } | Stage::Synced | Stage::Active
        )
    }

    /// Sends what the learner lacks, as far as its window allows, then NEWLEADER when it is due, then what is decided if
    /// it is news. False if the learner needs transactions that are no longer at hand.
    #[must_use]
    pub fn pump(&mut self, core: &mut Core, epoch: Epoch, ensemble_id: u64, decided: Zxid) -> bool {
        if !self.is_sent_history() {
            return true;
        }
        if self.is_fed {
            self.tell_decided(core, core.committed);
            return true;
        }
        if self.cursor.sent < core.history.before_recent() {
            return false;
        }
        if has(Mutant::ProposeToAckedOnly) && matches!(self.stage, Stage::SentNewLeader { .. }) {
            self.cursor.sent = core.history.last();
        }
        if let Stage::SentNewLeader { target } = self.stage
            && has(Mutant::ProposeTwice)
            && self.cursor.sent == target
        {
            self.cursor.sent = core.history.before_recent().max(Zxid::new(target.epoch(), 0));
        }
        self.send_proposals(core, decided);
        if let Stage::Syncing { target } = self.stage
            && self.cursor.sent >= target
        {
            core.send(self.link, Message::NewLeader { epoch, ensemble_id });
            self.stage = Stage::SentNewLeader { target };
        }
        if self.stage == Stage::Active {
            self.tell_decided(core, decided.min(self.cursor.sent));
        }
        true
    }

    fn tell_decided(&mut self, core: &mut Core, decided: Zxid) {
        if decided > self.told_committed {
            self.told_committed = decided;
            core.send(self.link, Message::Commit { through: decided });
        }
    }

    fn send_proposals(&mut self, core: &mut Core, decided: Zxid) {
        while let Some((previous, proposals)) = self.cursor.next_batch(core) {
            let committed = decided.min(self.cursor.sent);
            if self.stage == Stage::Active {
                self.told_committed = self.told_committed.max(committed);
            }
            core.send(self.link, Message::Proposals { previous, proposals, committed });
        }
    }

    /// The learner has everything through this zxid on its disk.
    pub fn on_ack(&mut self, through: Zxid) {
        self.cursor.skip(through);
        self.cursor.on_ack(through);
    }

    /// The learner is fed no longer, and has everything through `after` in its log: what follows is sent to it again.
    pub fn end_feed(&mut self, after: Zxid) {
        self.is_fed = false;
        self.cursor.skip(after);
        self.sent_inactive = self.sent_inactive.max(self.cursor.sent);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_learner_was_not_sent_is_kept_for_it_though_it_is_up_to_date() {
        let mut learner = Learner::new(ServerId(2), LinkId(1), Tick(0));
        learner.cursor = Cursor::new(Zxid(7));
        assert_eq!(learner.wanted_after(), None, "nothing is decided about it yet");
        for stage in [Stage::Syncing { target: Zxid(9) }, Stage::Synced, Stage::Active] {
            learner.stage = stage;
            assert_eq!(learner.wanted_after(), Some(Zxid(7)));
        }
    }
}
