//! Clients come, are heard of, wait for a leader, and go.

use std::sync::Arc;

use bytes::Bytes;
use rand::Rng;

use super::Replica;
use super::clients::{Ask, OpenSession, SessionKind, Wanted};
use super::io::Output;
use super::leading::{OP_CONTINUE_SESSION, encode_session};
use super::local::{LocalSession, Standing};
use crate::ids::{ConnId, SessionId};
use crate::jute::{ConnectRequest, OpCode};
use crate::mutants::{Mutant, has};
use crate::session::{PASSWORD_BYTES, negotiate};
use crate::zab::Role;

impl Replica {
    /// A client's first frame. One that has seen more than this server is sent away: it would see time run backwards.
    pub(super) fn on_connect(&mut self, conn: ConnId, request: &ConnectRequest) {
        if request.last_zxid_seen.is_newer_than(self.state.zxid()) {
            tracing::info!(
                %conn, seen = %request.last_zxid_seen, here = %self.state.zxid(),
                "refusing a client that has seen more than this server"
            );
            return self
                .output(Output::CloseConn { conn, reason: "the client has seen more than this server" });
        }
        if self.only_leads() {
            return self.output(Output::CloseConn { conn, reason: ONLY_LEADS });
        }
        self.clients.insert(conn, self.now);
        if self.is_read_only() {
            return self.connect_read_only(conn, request);
        }
        if self.is_for_local(request.session_id) {
            self.local_connects.insert(conn, request.clone());
            return;
        }
        self.ask_for_session(conn, request);
    }

    fn new_session(&mut self, request: &ConnectRequest) -> (Wanted, Ask) {
        let (timeout_ms, password) = self.terms(request);
        let ask = Ask {
            session_id: self.session_ids.next(&self.state.sessions),
            generation: 0,
            op: OpCode::CreateSession as i32,
            body: encode_session(timeout_ms, &password),
            auth: Arc::from([]),
            standing: Standing::Global,
        };
        (Wanted::NewSession { timeout_ms, password }, ask)
    }

    /// The timeout and the password of a new session.
    fn terms(&mut self, request: &ConnectRequest) -> (u32, Bytes) {
        let (min, max) = (self.config.session_timeout_ms_min, self.config.session_timeout_ms_max);
        let mut password = [0; PASSWORD_BYTES];
        self.secrets.fill_bytes(&mut password);
        (negotiate(request.timeout_ms, min, max), Bytes::copy_from_slice(&password))
    }

    /// True if this server opens or has the session by itself.
    fn is_for_local(&self, session: SessionId) -> bool {
        let is_new = session == SessionId(0) || has(Mutant::LocalTakenElsewhere) && !self.is_global(session);
        is_new && self.config.local.enabled && self.leader_knows_local_sessions()
            || self.local.is_own(session)
    }

    fn is_global(&self, session: SessionId) -> bool {
        self.state.sessions.get(session).is_some()
    }

    /// Opens or continues the local sessions that were asked for. Not before this server serves.
    pub(super) fn open_local_sessions(&mut self) {
        for (conn, request) in std::mem::take(&mut self.local_connects) {
            if self.is_for_local(request.session_id) {
                self.connect_local(conn, &request, SessionKind::Local);
            } else {
                self.ask_for_session(conn, &request);
            }
        }
    }

    /// True of a leader that serves no clients (`leaderServes=no`). Who has nobody to lead serves.
    fn only_leads(&self) -> bool {
        !self.config.leader_serves && self.leading.is_some() && !self.zab.is_alone()
    }

    /// Sends the clients elsewhere if this server leads, and serves nobody meanwhile.
    pub(super) fn close_if_only_leading(&mut self) {
        if self.only_leads() {
            for conn in self.clients.all() {
                self.drop_conn(conn, ONLY_LEADS);
            }
        }
    }

    /// The leader is of a version without local sessions: nobody can have one here while it leads.
    pub(super) fn end_local_sessions(&mut self) {
        for conn in self.clients.all() {
            let session = self.clients.get(conn).and_then(|conn| conn.session);
            if session.is_some_and(|session| session.kind == SessionKind::Local) {
                self.drop_conn(conn, "the leader is of an older version, which knows no local sessions");
            }
        }
        self.local.clear();
    }

    fn ask_for_session(&mut self, conn: ConnId, request: &ConnectRequest) {
        let (kind, ask) =
            if request.session_id == SessionId(0) { self.new_session(request) } else { old_session(request) };
        self.clients.wait(conn, kind, ask);
    }

    fn connect_local(&mut self, conn: ConnId, request: &ConnectRequest, kind: SessionKind) {
        let (id, session) = match request.session_id {
            SessionId(0) => {
                let (timeout_ms, password) = self.terms(request);
                let id = self.session_ids.next(&self.state.sessions);
                let session = LocalSession { timeout_ms, password, upgrades: false };
                self.local.open(id, session.clone(), self.now);
                (id, session)
            }
            id => match self.local.get(id).filter(|session| session.password == request.password) {
                Some(session) => (id, session.clone()),
                None if has(Mutant::LocalTakenElsewhere) => {
                    let (timeout_ms, password) = (self.terms(request).0, request.password.clone());
                    let session = LocalSession { timeout_ms, password, upgrades: false };
                    self.local.open(id, session.clone(), self.now);
                    (id, session)
                }
                None => return self.tell_expired(conn),
            },
        };
        self.local.touch(id, self.now);
        let open = OpenSession { id, generation: 0, timeout_ms: session.timeout_ms, kind };
        self.open_session(conn, open, session.password);
    }

    /// True while this server has no leader for so long that it serves read-only clients.
    pub fn is_read_only(&self) -> bool {
        let after_ms = self.config.local.read_only_after_ms;
        self.role == Role::Looking
            && after_ms.is_some_and(|after_ms| self.now.ms_since(self.looking_since) > after_ms)
    }

    /// As in ZooKeeper: only a client that says so is served, and no session of the ensemble.
    fn connect_read_only(&mut self, conn: ConnId, request: &ConnectRequest) {
        let is_known = request.session_id == SessionId(0) || self.local.is_own(request.session_id);
        if request.read_only != Some(true) {
            self.drop_conn(conn, "this server is read-only, and the client is not");
        } else if !is_known {
            self.drop_conn(conn, "a session of the ensemble cannot continue on a read-only server");
        } else {
            self.connect_local(conn, request, SessionKind::ReadOnly);
        }
    }

    /// There is a leader again: read-only clients are sent to connect anew, and get sessions of the ensemble.
    pub(super) fn end_read_only(&mut self) {
        for conn in self.clients.all() {
            let session = self.clients.get(conn).and_then(|conn| conn.session);
            if let Some(session) = session.filter(|session| session.kind == SessionKind::ReadOnly) {
                self.local.remove(session.id);
                self.drop_conn(conn, "this server is not read-only any more");
            }
        }
    }

    /// Ends local sessions whose clients were silent for too long.
    pub(super) fn expire_local_sessions(&mut self) {
        for session in self.local.expire(self.now) {
            tracing::info!(%session, "a local session expired");
            if let Some(conn) = self.clients.conn_of(session) {
                self.drop_conn(conn, "the session has expired");
            }
        }
    }

    pub(super) fn on_heard(&mut self, conns: &[ConnId]) {
        for conn in conns {
            let Some(session) = self.clients.get(*conn).and_then(|conn| conn.session) else { continue };
            if session.kind != SessionKind::Global {
                self.local.touch(session.id, self.now);
            }
            match &mut self.leading {
                _ if self.local.is_own(session.id) => {}
                Some(leading) => leading.touch(session.id, self.now),
                None => {
                    self.touched.insert(session.id);
                }
            }
        }
    }

    pub(super) fn on_disconnected(&mut self, conn: ConnId) {
        self.clients.remove(conn);
        self.local_connects.remove(&conn);
        self.watches.remove_conn(conn);
    }

    /// While there is no leader requests are kept, but not for so long that the client could not save its session by
    /// going to another server.
    pub(super) fn close_parked(&mut self) {
        if self.role != Role::Looking {
            return;
        }
        for conn in self.clients.all() {
            let Some(entry) = self.clients.get(conn) else { continue };
            if entry.session.is_some_and(|session| session.kind == SessionKind::ReadOnly) {
                continue;
            }
            let timeout_ms =
                entry.session.map_or(self.config.session_timeout_ms_min, |session| session.timeout_ms);
            let patience_ms = self.config.park_ms_max.min(u64::from(timeout_ms) / 3);
            if self.now.ms_since(self.looking_since.max(entry.since)) > patience_ms {
                self.drop_conn(conn, "there is no leader; try another server");
            }
        }
    }
}

/// Why a leader closes connections of clients.
const ONLY_LEADS: &str = "this server leads, and has no clients meanwhile; try another one";

fn old_session(request: &ConnectRequest) -> (Wanted, Ask) {
    let ask = Ask {
        session_id: request.session_id,
        generation: 0,
        op: OP_CONTINUE_SESSION,
        body: request.password.clone(),
        auth: Arc::from([]),
        standing: Standing::Global,
    };
    (Wanted::OldSession { password: request.password.clone() }, ask)
}
