//! What a server tells about itself.

use super::Replica;
use crate::ids::{Epoch, ServerId, SessionId, Tick, Zxid};
use crate::session::Expiry;
use crate::watch::Watches;
use crate::zab::{Role, Zab};

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
    /// watches set on this server
    pub watches: usize,
    /// client connections of this server
    pub connections: usize,
    /// requests of clients of this server that are not answered
    pub outstanding: usize,
    /// requests under way whose clients are gone
    pub left_behind: usize,
    /// learners connected to this leader
    pub learners: usize,
    /// of these, those that are up to date
    pub synced_learners: usize,
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

impl Replica {
    /// How things are.
    pub fn status(&self) -> Status {
        let (learners, synced_learners) = self.zab.learner_counts();
        let (voters_without_vote, voters_unheard) = self.zab.missing_votes();
        Status {
            role: self.role,
            standalone: self.config.zab.voters.len() == 1,
            accepted_epoch: self.zab.epoch_record().accepted_epoch,
            zxid: self.state.zxid(),
            last_logged: self.zab.last_logged(),
            digest: self.state.digest(),
            znodes: self.state.tree.len(),
            data_bytes: self.state.tree.approximate_data_size(),
            ephemerals: self.state.tree.ephemerals_count(),
            sessions: self.state.sessions.len(),
            watches: self.watches.counts().watches,
            connections: self.clients.len(),
            outstanding: self.clients.pending_count(),
            left_behind: self.clients.left_behind_count(),
            learners,
            synced_learners,
            may_vote: self.zab.may_vote(),
            voters_without_vote,
            voters_unheard,
            quorum_is_left: self.zab.quorum_is_left(),
            looking_ms: if self.serves() { 0 } else { self.now.ms_since(self.looking_since) },
        }
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
