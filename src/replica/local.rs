//! Sessions that only one server knows: local ones (`localSessionsEnabled`), and those of read-only clients.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::ids::{SessionId, Tick, Version};
use crate::jute::{CreateMode, MultiOp, Request, decode_request};
use crate::mutants::{Mutant, has};
use crate::session::Expiry;

/// Brought local sessions.
pub const LOCAL_SESSIONS: Version = Version(3);

/// Which sessions stay with the server that opened them.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct LocalConfig {
    /// new sessions are local: they cost no transaction, and cannot continue on another server
    pub enabled: bool,
    /// one that wants an ephemeral becomes global; otherwise it is refused that
    pub upgrading: bool,
    /// after so many ms without a leader read-only clients are served; `None`: never
    pub read_only_after_ms: Option<u64>,
}

/// In which way a request's session is known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Standing {
    /// to the whole ensemble
    Global,
    /// to the origin alone
    Local,
    /// to the origin alone, until this request makes it global: its timeout and password
    Upgrade(Bytes),
    /// to the ensemble, if an earlier request of the same connection made it global: the origin has not heard of it
    Upgraded,
}

/// One of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LocalSession {
    /// it expires when the client is not heard of for so long
    pub timeout_ms: u32,
    /// with which it continues on another connection to this server
    pub password: Bytes,
    /// A request of it wants it to be global. From then on the leader alone can say whether it lives: it may be global and
    /// over before this server hears of either.
    pub upgrades: bool,
}

/// All of them.
#[derive(Debug)]
pub struct LocalSessions {
    sessions: BTreeMap<SessionId, LocalSession>,
    expiry: Expiry,
}

impl LocalSessions {
    /// None yet. They expire up to `bucket_ms` after their timeouts.
    pub fn new(bucket_ms: u32) -> LocalSessions {
        LocalSessions { sessions: BTreeMap::new(), expiry: Expiry::new(bucket_ms) }
    }

    /// Opens one.
    pub fn open(&mut self, id: SessionId, session: LocalSession, now: Tick) {
        self.expiry.track(id, session.timeout_ms, now);
        self.sessions.insert(id, session);
    }

    /// One that is open.
    pub fn get(&self, id: SessionId) -> Option<&LocalSession> {
        self.sessions.get(&id)
    }

    /// Ends all of them.
    pub fn clear(&mut self) {
        let sessions = std::mem::take(&mut self.sessions);
        sessions.keys().for_each(|id| self.expiry.remove(*id));
    }

    /// It is asked of the leader to make one global.
    pub fn upgrade(&mut self, id: SessionId) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.upgrades = true;
        }
    }

    /// True if this server can say by itself that the session lives.
    pub fn is_own(&self, id: SessionId) -> bool {
        self.get(id).is_some_and(|session| !session.upgrades || has(Mutant::UpgradedGoesOn))
    }

    /// Its client was heard of.
    pub fn touch(&mut self, id: SessionId, now: Tick) {
        self.expiry.touch(id, now);
    }

    /// It is over, or known to the ensemble from now on.
    pub fn remove(&mut self, id: SessionId) {
        self.sessions.remove(&id);
        self.expiry.remove(id);
    }

    /// Ends those whose clients were silent for too long.
    pub fn expire(&mut self, now: Tick) -> Vec<SessionId> {
        let expired = self.expiry.expired(now);
        for id in &expired {
            self.sessions.remove(id);
        }
        expired
    }

    /// Gives every session a full timeout.
    pub fn renew_all(&mut self, now: Tick) {
        self.expiry.renew_all(now);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// When they expire.
    pub fn expiry(&self) -> &Expiry {
        &self.expiry
    }
}

/// True if a request makes an ephemeral, for which its session must be global.
pub fn wants_ephemeral(op: i32, body: &[u8]) -> bool {
    let is_ephemeral = |flags: i32| CreateMode::try_from(flags).is_ok_and(CreateMode::is_ephemeral);
    match decode_request(op, body) {
        Ok(Request::Create(create)) => is_ephemeral(create.flags),
        Ok(Request::Multi(ops)) => {
            ops.iter().any(|op| matches!(op, MultiOp::Create(create) if is_ephemeral(create.flags)))
        }
        _ => false,
    }
}
