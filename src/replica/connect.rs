//! Clients come, are heard of, wait for a leader, and go.

use std::sync::Arc;

use bytes::Bytes;
use rand::Rng;

use super::Replica;
use super::clients::{Ask, Wanted};
use super::io::Output;
use super::leading::{OP_CONTINUE_SESSION, encode_session};
use crate::ids::{ConnId, SessionId};
use crate::jute::{ConnectRequest, OpCode};
use crate::session::{PASSWORD_BYTES, negotiate};
use crate::zab::Role;

impl Replica {
    /// A client's first frame. One that has seen more than this server is sent away: it would see time run backwards.
    pub(super) fn on_connect(&mut self, conn: ConnId, request: &ConnectRequest) {
        if request.last_zxid_seen > self.state.zxid() {
            tracing::info!(
                %conn, seen = %request.last_zxid_seen, here = %self.state.zxid(),
                "refusing a client that has seen more than this server"
            );
            return self
                .output(Output::CloseConn { conn, reason: "the client has seen more than this server" });
        }
        self.clients.insert(conn, self.now);
        let (kind, ask) =
            if request.session_id == SessionId(0) { self.new_session(request) } else { old_session(request) };
        self.clients.wait(conn, kind, ask);
    }

    fn new_session(&mut self, request: &ConnectRequest) -> (Wanted, Ask) {
        let (min, max) = (self.config.session_timeout_ms_min, self.config.session_timeout_ms_max);
        let timeout_ms = negotiate(request.timeout_ms, min, max);
        let mut password = [0; PASSWORD_BYTES];
        self.secrets.fill_bytes(&mut password);
        let ask = Ask {
            session_id: self.session_ids.next(&self.state.sessions),
            generation: 0,
            op: OpCode::CreateSession as i32,
            body: encode_session(timeout_ms, &password),
            auth: Arc::from([]),
        };
        (Wanted::NewSession { timeout_ms, password: Bytes::copy_from_slice(&password) }, ask)
    }

    pub(super) fn on_heard(&mut self, conns: &[ConnId]) {
        for conn in conns {
            let Some(session) = self.clients.get(*conn).and_then(|conn| conn.session) else { continue };
            match &mut self.leading {
                Some(leading) => leading.touch(session.id, self.now),
                None => {
                    self.touched.insert(session.id);
                }
            }
        }
    }

    pub(super) fn on_disconnected(&mut self, conn: ConnId) {
        self.clients.remove(conn);
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
            let timeout_ms =
                entry.session.map_or(self.config.session_timeout_ms_min, |session| session.timeout_ms);
            let patience_ms = self.config.park_ms_max.min(u64::from(timeout_ms) / 3);
            if self.now.ms_since(self.looking_since.max(entry.since)) > patience_ms {
                self.drop_conn(conn, "there is no leader; try another server");
            }
        }
    }
}

fn old_session(request: &ConnectRequest) -> (Wanted, Ask) {
    let ask = Ask {
        session_id: request.session_id,
        generation: 0,
        op: OP_CONTINUE_SESSION,
        body: request.password.clone(),
        auth: Arc::from([]),
    };
    (Wanted::OldSession { password: request.password.clone() }, ask)
}
