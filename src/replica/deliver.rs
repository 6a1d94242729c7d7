//! From a decided transaction to what clients are told.

use bytes::Bytes;

use super::Replica;
use super::clients::{OpenSession, Pending, SessionKind, Wanted};
use super::io::{Answer, ForwardedRequest, Output};
use super::local::Standing;
use super::reconfig;
use crate::ids::{ConnId, SessionId, Xid, Zxid};
use crate::jute::{
    ConnectResponse, Create, CreateOp, ErrorCode, MultiOp, MultiResult, Request, Response, WatchEvent,
    decode_request,
};
use crate::mutants::{Mutant, has};
use crate::session::PASSWORD_BYTES;
use crate::tree::{Change, OpResult};
use crate::txn::{ErrorTxn, Ops, Txn, txn::Body};
use crate::zab::Proposal;

impl Replica {
    /// Applies decided transactions, and tells whoever waits for them.
    pub(super) fn on_deliver(&mut self, proposals: Vec<Proposal>) {
        for Proposal { zxid, txn } in proposals {
            self.tell_answers();
            self.snapshots.txns += 1;
            self.snapshots.log_bytes += txn.len() as u64;
            if let Err(reason) = self.apply(zxid, txn) {
                tracing::error!(%zxid, reason, "this server is not what its leader took it for");
                return self.output(Output::Halt { reason });
            }
        }
        if let Some(leading) = &mut self.leading {
            leading.applied(self.state.zxid());
        }
        self.tell_answers();
    }

    fn apply(&mut self, zxid: Zxid, bytes: Bytes) -> Result<(), String> {
        let mut txn = Txn::from_bytes(bytes).map_err(|error| format!("transaction {zxid}: {error}"))?;
        if has(Mutant::EndByOwnClock) {
            self.keep_by_own_clock(&mut txn);
        }
        let applied = self.state.apply(zxid, &txn).map_err(|error| error.to_string())?;
        let mut late = Vec::new();
        for Change { kind, path, readers } in &applied.changes {
            let mut conns = self.watches.fire(*kind, path);
            // Whoever may not read the znode is told nothing about it (CVE-2024-23944).
            if !readers.are_everyone() {
                let identities = |conn| self.clients.get(conn).map(|conn| &conn.identities);
                let rules = &self.config.acl_rules;
                conns.retain(|&conn| identities(conn).is_some_and(|ids| readers.include(ids, rules)));
            }
            if !conns.is_empty() {
                if has(Mutant::EventBehindReply) {
                    let event = WatchEvent { kind: *kind, path: path.to_string(), zxid };
                    late.push(Output::Event { conns, event });
                    continue;
                }
                let event = WatchEvent { kind: *kind, path: path.to_string(), zxid };
                self.outputs.push(Output::Event { conns, event });
            }
        }
        self.digests.push(zxid, self.state.digest());
        self.compare_digest(Zxid(txn.digest_zxid), txn.digest);
        if self.config.audits {
            self.audit_session_end(&txn);
        }
        if let Some(Body::CreateSession(_)) = txn.body {
            self.on_session_opened(SessionId(txn.session_id), txn.generation);
        }
        if txn.request_id != 0 && txn.origin == u32::from(self.config.zab.id.0) {
            self.finish(zxid, &txn, &applied.results);
        }
        self.seen_by_leader = (zxid.epoch(), Zxid(txn.digest_zxid));
        self.tell_held();
        self.outputs.append(&mut late);
        if let Some(Body::CloseSession(_)) = txn.body {
            self.on_session_closed(SessionId(txn.session_id));
        }
        Ok(())
    }

    /// A bug that can be put back.
    fn keep_by_own_clock(&self, txn: &mut Txn) {
        let is_end = txn.session_id == 0 && matches!(txn.body, Some(Body::Ops(_)));
        if is_end && self.leading.is_none() && self.wall_ms < txn.time_ms {
            txn.body = Some(Body::Ops(Ops { ops: Vec::new() }));
        }
    }

    fn on_session_closed(&mut self, session: SessionId) {
        if let Some(leading) = &mut self.leading {
            leading.on_closed(session);
        }
        if let Some(conn) = self.clients.conn_of(session) {
            self.drop_conn(conn, "the session is closed");
        }
    }

    /// A request of this server came to its end as a transaction.
    fn finish(&mut self, zxid: Zxid, txn: &Txn, results: &[OpResult<'_>]) {
        let Some(pending) = self.clients.get_pending(txn.request_id) else {
            let request = self.clients.end_left_behind(txn.request_id);
            if let Some(request) = request.filter(|_| self.config.audits) {
                self.audit_left_behind(&request, txn, results);
            }
            return;
        };
        let (op, body) = (pending.request.op, &pending.request.body);
        let outcome = match (&txn.body, &pending.kind) {
            (Some(Body::Error(error)), _) => refusal(op, body, error),
            (_, Wanted::Reply { .. }) => response(op, body, txn, results).map(Ok),
            (Some(Body::CreateSession(_)), Wanted::NewSession { .. })
            | (Some(Body::Ops(_)), Wanted::OldSession { .. }) => Some(Ok(Response::Empty)),
            (_, Wanted::NewSession { .. } | Wanted::OldSession { .. }) => None,
        };
        if self.config.audits
            && let Some(outcome) = &outcome
        {
            let request = pending.request.clone();
            self.audit_request(&request, outcome);
        }
        match self.clients.take(txn.request_id) {
            Some(Ok(pending)) => match outcome {
                Some(outcome) if txn.reconfigures && !has(Mutant::UnsecuredAnswer) => {
                    self.hold(pending, zxid, txn.generation, outcome)
                }
                Some(outcome) => self.tell_applied(pending, zxid, txn.generation, outcome),
                None => self.drop_conn(pending.conn, "a transaction does not match its request"),
            },
            Some(Err(conn)) => self.drop_conn(conn, "the outcome of an earlier request is not known"),
            None => {}
        }
    }

    /// Whoever goes away before the answer has done it all the same.
    fn audit_left_behind(&mut self, request: &ForwardedRequest, txn: &Txn, results: &[OpResult<'_>]) {
        let outcome = match &txn.body {
            Some(Body::Error(error)) => refusal(request.op, &request.body, error),
            _ => response(request.op, &request.body, txn, results).map(Ok),
        };
        if let Some(outcome) = outcome {
            self.audit_request(request, &outcome);
        }
    }

    /// Tells the answers that the state has caught up with. Each carries the zxid it rests on, which is not above that of
    /// any later request: the zxids of a client never fall.
    pub(super) fn tell_answers(&mut self) {
        while let Some(next) = self.clients.next_answer(self.state.zxid()) {
            match next {
                Ok((pending, answer)) => self.tell_answer(pending, answer),
                Err(conn) => self.drop_conn(conn, "the outcome of an earlier request is not known"),
            }
        }
    }

    pub(super) fn tell_applied(
        &mut self,
        pending: Pending,
        zxid: Zxid,
        generation: u64,
        outcome: Result<Response, ErrorCode>,
    ) {
        let Pending { conn, kind, request, .. } = pending;
        match (kind, outcome) {
            (Wanted::Reply { xid }, outcome) => self.reply(conn, xid, zxid, outcome),
            (Wanted::OldSession { .. }, Err(ErrorCode::SessionExpired)) => {
                self.local.remove(request.session_id);
                self.tell_expired(conn);
            }
            (Wanted::OldSession { .. } | Wanted::NewSession { .. }, Err(_)) => {
                self.drop_conn(conn, "the session could not be opened");
            }
            (Wanted::NewSession { timeout_ms, password }, Ok(_)) => {
                self.open_session(conn, global(request.session_id, generation, timeout_ms), password);
            }
            (Wanted::OldSession { password }, Ok(_)) => {
                // A leader of an older release proposes this also behind the end of the session.
                match self.state.sessions.get(request.session_id).map(|session| session.timeout_ms) {
                    Some(timeout_ms) => {
                        self.open_session(conn, global(request.session_id, generation, timeout_ms), password);
                    }
                    None => self.tell_expired(conn),
                }
            }
        }
    }

    pub(super) fn open_session(&mut self, conn: ConnId, session: OpenSession, password: Bytes) {
        if let Some(older) = self.clients.open_session(conn, session) {
            self.drop_conn(older, "the session continues on another connection");
        }
        let response = ConnectResponse {
            timeout_ms: i32::try_from(session.timeout_ms).unwrap_or(i32::MAX),
            session_id: session.id,
            password,
            read_only: Some(session.kind == SessionKind::ReadOnly),
        };
        self.output(Output::Connected { conn, response });
    }

    /// The ensemble knows a session. If it was local here it is not any more, and the connection that holds it is the one
    /// that wanted this: none is given a session that is to become global.
    fn on_session_opened(&mut self, session: SessionId, generation: u64) {
        if self.local.get(session).is_none() {
            return;
        }
        self.local.remove(session);
        if let Some(conn) = self.clients.conn_of(session) {
            self.clients.make_global(conn, generation);
        }
    }

    pub(super) fn tell_expired(&mut self, conn: ConnId) {
        let password = Bytes::from_static(&[0; PASSWORD_BYTES]);
        let response =
            ConnectResponse { timeout_ms: 0, session_id: SessionId(0), password, read_only: Some(false) };
        self.output(Output::Connected { conn, response });
        self.drop_conn(conn, "the session has expired");
    }

    fn reply(&mut self, conn: ConnId, xid: Xid, zxid: Zxid, result: Result<Response, ErrorCode>) {
        self.output(Output::Reply { conn, xid, zxid, result });
    }

    fn tell_answer(&mut self, pending: Pending, answer: Answer) {
        let Pending { conn, kind, request, .. } = pending;
        match (kind, decode_request(request.op, &request.body)) {
            _ if answer.moved => self.drop_conn(conn, "the session continues elsewhere"),
            (Wanted::Reply { xid }, Ok(Request::Sync { path })) => {
                let path = path.map(str::to_owned);
                self.reply(conn, xid, answer.after, Ok(Response::Sync { path }));
            }
            (Wanted::Reply { xid }, Ok(Request::CloseSession)) if request.standing == Standing::Local => {
                self.reply(conn, xid, answer.after, Ok(Response::Empty));
                self.drop_conn(conn, "the session is closed");
            }
            _ => self.drop_conn(conn, "an answer does not match its request"),
        }
    }

    /// Closes a client's connection; its session lives on.
    pub(super) fn drop_conn(&mut self, conn: ConnId, reason: &'static str) {
        if self.clients.remove(conn).is_some() {
            self.local_connects.remove(&conn);
            self.watches.remove_conn(conn);
            self.output(Output::CloseConn { conn, reason });
        }
    }
}

/// A session that the ensemble knows.
fn global(id: SessionId, generation: u64, timeout_ms: u32) -> OpenSession {
    OpenSession { id, generation, timeout_ms, kind: SessionKind::Global }
}

/// What a client is answered whose request was refused. `None` if the two do not match.
fn refusal(op: i32, body: &[u8], error: &ErrorTxn) -> Option<Result<Response, ErrorCode>> {
    let code = ErrorCode::try_from(error.code).ok()?;
    let Some(failed_op) = error.failed_op else { return Some(Err(code)) };
    let Ok(Request::Multi(ops)) = decode_request(op, body) else { return None };
    let failed_op = failed_op as usize;
    let mut codes = vec![ErrorCode::Ok; ops.len()];
    *codes.get_mut(failed_op)? = code;
    codes[failed_op + 1..].fill(ErrorCode::RuntimeInconsistency);
    Some(Ok(Response::Multi(codes.into_iter().map(MultiResult::Error).collect())))
}

/// What a client is answered whose request became a transaction. `None` if the two do not match.
fn response(op: i32, body: &[u8], txn: &Txn, results: &[OpResult<'_>]) -> Option<Response> {
    let request = decode_request(op, body).ok()?;
    if let Request::Multi(ops) = &request {
        let results = ops.iter().zip(results).map(|(op, result)| multi_result(op, result));
        return (ops.len() == results.len()).then(|| results.collect::<Option<_>>())?.map(Response::Multi);
    }
    if request == Request::CloseSession {
        return Some(Response::Empty);
    }
    let [result] = results else { return None };
    Some(match (&request, result) {
        // CreateIfNotExists found one.
        (Request::Create(create), OpResult::Checked) => Response::Create { path: create.path.to_owned() },
        (Request::Keeper(_), OpResult::Checked | OpResult::Deleted) => Response::Empty,
        (Request::Create(create), OpResult::Created { path, stat }) => {
            let path = path.to_string();
            if create.with_stat() {
                Response::Create2 { path, stat: *stat }
            } else {
                Response::Create { path }
            }
        }
        (Request::Delete { .. }, OpResult::Deleted) | (Request::Check { .. }, OpResult::Checked) => {
            Response::Empty
        }
        (Request::Reconfig(_), OpResult::Set(stat)) => reconfig::answer(txn, *stat),
        (Request::SetData { .. }, OpResult::Set(stat)) | (Request::SetAcl { .. }, OpResult::AclSet(stat)) => {
            Response::Stat(*stat)
        }
        _ => return None,
    })
}

fn multi_result(op: &MultiOp<'_>, result: &OpResult<'_>) -> Option<MultiResult> {
    Some(match (op, result) {
        (MultiOp::Create(create), OpResult::Checked) => {
            MultiResult::CreateIfNotExists { path: create.path.to_owned() }
        }
        (MultiOp::Create(Create { op: CreateOp::IfNotExists, .. }), OpResult::Created { path, .. }) => {
            MultiResult::CreateIfNotExists { path: path.to_string() }
        }
        (MultiOp::Keeper(op), OpResult::Checked | OpResult::Deleted) => MultiResult::Keeper(op.code()),
        (MultiOp::Create(create), OpResult::Created { path, stat }) => {
            let path = path.to_string();
            if create.with_stat() {
                MultiResult::Create2 { path, stat: *stat }
            } else {
                MultiResult::Create { path }
            }
        }
        (MultiOp::Delete { .. }, OpResult::Deleted) => MultiResult::Delete,
        (MultiOp::SetData { .. }, OpResult::Set(stat)) => MultiResult::SetData(*stat),
        (MultiOp::Check { .. }, OpResult::Checked) => MultiResult::Check,
        _ => return None,
    })
}
