//! What a server tells about itself.

use std::collections::BTreeMap;

use super::Replica;
use crate::ids::{Epoch, ServerId, SessionId, Tick, Zxid};
use crate::session::Expiry;
use crate::tree::{Limit, Usage};
use crate::watch::Watches;
use crate::zab::{LearnerCounts, Role, Zab};

/// A server at one moment, for four-letter words and metrics.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Status {
    /// what it is
    pub role: Role,
    /// the only server of its ensemble
    pub standalone: bool,
    /// the newest epoch it promised
    pub accepted_epoch: Epoch,
    /// the newest transaction applied
    pub zxid: Zxid,
    /// the newest transaction in the log
    pub last_logged: Zxid,
    /// of the state at `zxid`
    pub digest: u64,
    /// znodes
    pub znodes: usize,
    /// bytes of paths and data, as ZooKeeper counts them
    pub data_bytes: u64,
    /// ephemeral znodes
    pub ephemerals: usize,
    /// open sessions of the ensemble
    pub sessions: usize,
    /// sessions that only this server knows
    pub local_sessions: usize,
    /// sessions of the ensemble that it ended for their silence
    pub sessions_expired: u64,
    /// how often its state was not that of its leader
    pub digest_mismatches: u64,
    /// there is no leader, and read-only clients are served
    pub read_only: bool,
    /// watches set on this server
    pub watches: usize,
    /// client connections of this server
    pub connections: usize,
    /// requests of clients of this server that are not answered
    pub outstanding: usize,
    /// requests under way whose clients are gone
    pub left_behind: usize,
    /// who learns from this leader
    pub learners: LearnerCounts,
    /// observers that this follower feeds
    pub fed_observers: usize,
    /// it is an observer
    pub observes: bool,
    /// its votes, promises and acknowledgements count
    pub may_vote: bool,
    /// voters that are heard and whose votes do not count: their disks are or were empty or damaged
    pub voters_without_vote: Vec<ServerId>,
    /// voters that are not heard
    pub voters_unheard: Vec<ServerId>,
    /// there can be a leader: without `voters_without_vote` the voters still make a quorum
    pub quorum_is_left: bool,
    /// how long there is no leader, ms; 0 while there is one
    pub looking_ms: u64,
}

/// More are not told of.
const NAMESPACES_MAX: usize = 1000;

/// The quotas of a child of the root and of all below it, added up as in ZooKeeper.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct NamespaceQuota {
    /// the child's name
    pub namespace: String,
    /// how many znodes are allowed; a quota without such a limit adds -1
    pub count_limit: i64,
    /// how many bytes of data are allowed; likewise
    pub bytes_limit: i64,
    /// how much there is
    pub usage: Usage,
}

impl Replica {
    /// The quotas, by the names of the root's children; of very many the first.
    pub fn quotas(&self) -> Vec<NamespaceQuota> {
        let tree = &self.state.tree;
        let mut quotas: BTreeMap<&str, NamespaceQuota> = BTreeMap::new();
        let number = |limit: Option<Limit>| limit.map_or(-1, |limit| limit.most() as i64);
        for (path, limits) in tree.quotas() {
            let namespace = path.split('/').nth(1).unwrap_or_default();
            let sum = quotas.entry(namespace).or_default();
            let usage = tree.usage(path);
            sum.count_limit = sum.count_limit.saturating_add(number(limits.count));
            sum.bytes_limit = sum.bytes_limit.saturating_add(number(limits.bytes));
            sum.usage.count += usage.count;
            sum.usage.bytes += usage.bytes;
        }
        let named = |(namespace, sum): (&str, NamespaceQuota)| NamespaceQuota {
            namespace: namespace.to_owned(),
            ..sum
        };
        quotas.into_iter().take(NAMESPACES_MAX).map(named).collect()
    }

    /// How things are.
    pub fn status(&self) -> Status {
        let (voters_without_vote, voters_unheard) = self.zab.missing_votes();
        Status {
            role: self.role,
            standalone: self.members.is_none() && self.config.zab.ensemble.is_alone(self.config.zab.id),
            accepted_epoch: self.zab.epoch_record().accepted_epoch,
            zxid: self.state.zxid(),
            last_logged: self.zab.last_logged(),
            digest: self.state.digest(),
            znodes: self.state.tree.len(),
            data_bytes: self.state.tree.approximate_data_size(),
            ephemerals: self.state.tree.ephemerals_count(),
            sessions: self.state.sessions.len(),
            local_sessions: self.local.len(),
            sessions_expired: self.sessions_expired,
            digest_mismatches: self.digest_mismatches,
            read_only: self.is_read_only(),
            watches: self.watches.counts().watches,
            connections: self.clients.len(),
            outstanding: self.clients.pending_count(),
            left_behind: self.clients.left_behind_count(),
            learners: self.zab.learner_counts(),
            fed_observers: self.zab.feeds(),
            observes: self.observes(),
            may_vote: self.zab.may_vote(),
            voters_without_vote,
            voters_unheard,
            quorum_is_left: self.zab.quorum_is_left(),
            looking_ms: if self.serves() { 0 } else { self.now.ms_since(self.looking_since) },
        }
    }

    /// True if the servers that are heard make a quorum with this one.
    pub fn hears_quorum(&self) -> bool {
        self.zab.hears_quorum()
    }

    /// The watches set on this server.
    pub fn watches(&self) -> &Watches {
        &self.watches
    }

    /// The replicated state.
    pub fn state(&self) -> &super::State {
        &self.state
    }

    /// When sessions expire, and what time it is; `None` unless this server leads.
    pub fn expiry(&self) -> Option<(&Expiry, Tick)> {
        self.leading.as_ref().map(|leading| (leading.expiry(), self.now))
    }

    /// When sessions expire that only this server knows, and what time it is.
    pub fn local_expiry(&self) -> (&Expiry, Tick) {
        (self.local.expiry(), self.now)
    }

    /// The digests of the newest states, oldest first.
    pub fn digests(&self) -> impl Iterator<Item = (Zxid, u64)> {
        self.digests.iter()
    }

    /// The atomic broadcast, for who wants to tell one state of it from another.
    pub fn broadcast(&self) -> &Zab {
        &self.zab
    }

    /// The session that is open on a connection.
    pub fn session_of(&self, conn: crate::ids::ConnId) -> Option<SessionId> {
        self.clients.get(conn)?.session.map(|session| session.id)
    }
}
