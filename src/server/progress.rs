//! How far the server has come between two leaders, for its metrics.

use std::collections::VecDeque;
use std::time::Instant;

use super::client::ClientContext;
use crate::admin::{Count, Stats, Sum};
use crate::ids::{ServerId, Zxid};
use crate::zab::Role;

/// What is known of it.
#[derive(Debug)]
pub struct Progress {
    /// without a leader since; `None` while there is one
    looking_since: Option<Instant>,
    /// a leader is known since
    following_since: Option<Instant>,
    /// the newest transaction that was applied
    applied: Zxid,
    /// where each group of proposals of this leader ends that is not decided, and when it was made
    undecided: VecDeque<(Zxid, Instant)>,
    /// this server never votes
    observes: bool,
}

impl Progress {
    /// Of a server that has just started.
    pub fn begin(context: &ClientContext) -> Progress {
        if !context.settings.is_standalone() {
            context.stats.metrics.count(Count::Looking);
        }
        let applied = context.read().state().zxid();
        Progress {
            looking_since: Some(Instant::now()),
            following_since: None,
            applied,
            undecided: VecDeque::new(),
            observes: false,
        }
    }

    /// Whether this server never votes, by what is in force now.
    pub fn set_observes(&mut self, observes: bool) {
        self.observes = observes;
    }

    /// This server leads, and has proposed everything through `zxid`.
    pub fn proposed(&mut self, zxid: Zxid) {
        self.undecided.push_back((zxid, Instant::now()));
    }

    /// Everything through `zxid` is applied, in this role.
    pub fn applied(&mut self, stats: &Stats, role: Role, zxid: Zxid) {
        if zxid == self.applied {
            return;
        }
        let before = std::mem::replace(&mut self.applied, zxid);
        // What came with another leader's history was decided before.
        let (count, epoch) = match role {
            Role::Looking => return,
            Role::Leading { epoch } => (Count::Commit, epoch),
            Role::Following { epoch, .. } => (Count::LearnerCommit, epoch),
        };
        if zxid.epoch() != epoch {
            return;
        }
        let known = if before.epoch() == epoch { before.counter() } else { 0 };
        stats.metrics.add(count, u64::from(zxid.counter().saturating_sub(known)));
        let mut known = known;
        while let Some((end, began)) = self.undecided.front().copied().filter(|(end, _)| *end <= zxid) {
            self.undecided.pop_front();
            stats.metrics.quorum_acks.add(began.elapsed(), u64::from(end.counter().saturating_sub(known)));
            known = end.counter();
        }
    }

    /// A leader is known, or is left.
    pub fn follows(&mut self, stats: &Stats, leader: Option<ServerId>) {
        self.following_since = leader.map(|_| Instant::now());
        if let (Some(_), Some(since)) = (leader, self.looking_since) {
            stats.metrics.note_time(Sum::Election, since.elapsed());
        }
    }

    /// Clients are served in this role from now on, or not any more.
    pub fn became(&mut self, context: &ClientContext, role: Role) {
        let metrics = &context.stats.metrics;
        context.stats.set_leading(matches!(role, Role::Leading { .. }));
        self.undecided.clear();
        if role == Role::Looking {
            metrics.count(Count::Looking);
            self.looking_since = Some(Instant::now());
            return;
        }
        let Some(since) = self.looking_since.take().filter(|_| !context.settings.is_standalone()) else {
            return;
        };
        metrics.note_time(Sum::Unavailable, since.elapsed());
        if let Role::Leading { .. } = role {
            metrics.note_time(Sum::Election, since.elapsed());
            metrics.note_time(Sum::LeaderUnavailable, since.elapsed());
        }
        if let (Role::Following { .. }, Some(since)) = (role, self.following_since) {
            metrics.note_time(
                if self.observes { Sum::ObserverSync } else { Sum::FollowerSync },
                since.elapsed(),
            );
        }
    }
}
