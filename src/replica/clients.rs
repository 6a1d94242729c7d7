//! The clients connected to this server, and what they wait for.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use super::io::{Answer, ForwardedRequest};
use crate::ids::{ConnId, SessionId, Tick, Xid, Zxid};
use crate::jute::{AuthId, ErrorCode, OpCode, Response};

/// A client connection.
#[derive(Debug)]
pub struct Conn {
    /// Its session, once it is open on this connection.
    pub session: Option<OpenSession>,
    /// Who it has proved to be, as far as its watches need it: they are told only what it may read.
    pub identities: Arc<[AuthId]>,
    /// When the client connected.
    pub since: Tick,
    /// What it waits for, oldest first: numbers in `Clients::pending`.
    pub requests: VecDeque<u64>,
}

/// A session as the connection that holds it knows it.
#[derive(Clone, Copy, Debug)]
pub struct OpenSession {
    pub id: SessionId,
    pub generation: u64,
    pub timeout_ms: u32,
}

/// Something a client waits for.
#[derive(Debug)]
pub struct Pending {
    pub conn: ConnId,
    pub kind: Wanted,
    /// What the leader must decide.
    pub request: ForwardedRequest,
    /// The leader may have it. Whoever leads next must not get it again unless it is known that it came to nothing.
    pub sent: bool,
    /// The leader's answer, held back until the state has caught up with it.
    pub answer: Option<Answer>,
    /// How it ended, held back until everything before it on the same connection is answered.
    pub outcome: Option<Outcome>,
}

/// How a request ended.
#[derive(Debug)]
pub enum Outcome {
    /// as a transaction
    Applied {
        /// the transaction
        zxid: Zxid,
        /// in which generation of the session
        generation: u64,
        /// for the client; `None` for a new session, or if the transaction does not match the request
        response: Option<Response>,
    },
    /// without one
    Answered(Answer),
}

/// What is to be told in the end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Wanted {
    /// a new session with this timeout and password
    NewSession { timeout_ms: u32, password: Bytes },
    /// to go on with a session
    OldSession { password: Bytes },
    /// the answer to a request
    Reply { xid: Xid },
}

/// Requests that may be listed although nobody waits for them any more, beside as many as are waited for.
const LISTED_SLACK: usize = 1024;

/// All of them.
#[derive(Debug)]
pub struct Clients {
    conns: BTreeMap<ConnId, Conn>,
    by_session: BTreeMap<SessionId, ConnId>,
    pending: BTreeMap<u64, Pending>,
    /// Requests whose answer waits for the state, in the order of the answers.
    answered: VecDeque<u64>,
    /// Requests that no leader was given yet, oldest first.
    unsent: VecDeque<u64>,
    next_request_id: u64,
}

impl Clients {
    /// Requests are numbered from `first_request_id`, drawn by chance: no number may be that of an earlier process.
    pub fn new(first_request_id: u64) -> Clients {
        Clients {
            conns: BTreeMap::new(),
            by_session: BTreeMap::new(),
            pending: BTreeMap::new(),
            answered: VecDeque::new(),
            unsent: VecDeque::new(),
            next_request_id: first_request_id.max(1),
        }
    }

    /// How many connections there are.
    pub fn len(&self) -> usize {
        self.conns.len()
    }

    /// How many requests wait for their answer.
    pub fn pending_count(&self) -> usize {
        self.pending.len()
    }

    /// A new connection.
    pub fn insert(&mut self, conn: ConnId, now: Tick) {
        let identities = Arc::from([]);
        let requests = VecDeque::new();
        self.conns.insert(conn, Conn { session: None, identities, since: now, requests });
    }

    /// A connection, while it is there.
    pub fn get(&self, conn: ConnId) -> Option<&Conn> {
        self.conns.get(&conn)
    }

    /// Takes note of who the client has proved to be.
    pub fn identify(&mut self, conn: ConnId, identities: &Arc<[AuthId]>) {
        if let Some(conn) = self.conns.get_mut(&conn) {
            conn.identities = Arc::clone(identities);
        }
    }

    /// All connections, in the order of their numbers.
    pub fn all(&self) -> Vec<ConnId> {
        self.conns.keys().copied().collect()
    }

    /// The connection that holds a session here.
    pub fn conn_of(&self, session: SessionId) -> Option<ConnId> {
        self.by_session.get(&session).copied()
    }

    /// A session is open on a connection; the connection that held it before, if it was another.
    pub fn open_session(&mut self, conn: ConnId, session: OpenSession) -> Option<ConnId> {
        self.conns.get_mut(&conn)?.session = Some(session);
        self.by_session.insert(session.id, conn).filter(|older| *older != conn)
    }

    /// A connection is gone, and whatever it waited for concerns nobody.
    pub fn remove(&mut self, conn: ConnId) -> Option<Conn> {
        let removed = self.conns.remove(&conn)?;
        for request in &removed.requests {
            self.pending.remove(request);
        }
        self.forget_removed();
        if let Some(session) = removed.session
            && self.by_session.get(&session.id) == Some(&conn)
        {
            self.by_session.remove(&session.id);
        }
        Some(removed)
    }

    /// While there is no leader clients come, wait and go: what they asked for must not be listed for ever.
    fn forget_removed(&mut self) {
        let listed_max = 2 * self.pending.len() + LISTED_SLACK;
        for list in [&mut self.unsent, &mut self.answered] {
            if list.len() > listed_max {
                list.retain(|request| self.pending.contains_key(request));
            }
        }
    }

    /// A client wants something that the leader must decide.
    pub fn wait(&mut self, conn: ConnId, kind: Wanted, ask: Ask) {
        let Some(entry) = self.conns.get_mut(&conn) else { return };
        let request_id = self.next_request_id;
        self.next_request_id += 1;
        entry.requests.push_back(request_id);
        let request = ForwardedRequest {
            request_id,
            session_id: ask.session_id,
            generation: ask.generation,
            xid: if let Wanted::Reply { xid } = kind { xid } else { 0 },
            op: ask.op,
            body: ask.body,
            auth: ask.auth,
        };
        self.pending
            .insert(request_id, Pending { conn, kind, request, sent: false, answer: None, outcome: None });
        self.unsent.push_back(request_id);
    }

    /// Requests for a leader, in order; they count as sent.
    pub fn take_unsent(&mut self) -> Vec<ForwardedRequest> {
        let mut requests = Vec::with_capacity(self.unsent.len());
        while let Some(request_id) = self.unsent.pop_front() {
            if let Some(pending) = self.pending.get_mut(&request_id) {
                pending.sent = true;
                requests.push(pending.request.clone());
            }
        }
        requests
    }

    /// What waits for the end of a request, if it is this server's and still there.
    pub fn get_pending(&self, request_id: u64) -> Option<&Pending> {
        self.pending.get(&request_id)
    }

    /// A request came to its end. The connection it came on, whose outcomes may be told now.
    ///
    /// An older request of the same connection may still wait: a `sync` does, for its barrier. Any other was judged
    /// before this one; if its answer is not here it was lost with an older leader, and nobody knows the outcome: `Err`.
    pub fn finish(&mut self, request_id: u64, outcome: Outcome) -> Option<Result<ConnId, ConnId>> {
        let conn_id = self.pending.get(&request_id)?.conn;
        let conn = self.conns.get(&conn_id)?;
        let mut older = conn.requests.iter().take_while(|older| **older != request_id);
        let lost = older.any(|older| !self.pending[older].may_still_be_answered());
        self.pending.get_mut(&request_id)?.outcome = Some(outcome);
        Some(if lost { Err(conn_id) } else { Ok(conn_id) })
    }

    /// The oldest request of a connection, if it has come to its end.
    pub fn next_outcome(&mut self, conn: ConnId) -> Option<(Pending, Outcome)> {
        let requests = &mut self.conns.get_mut(&conn)?.requests;
        let oldest = requests.front()?;
        self.pending.get(oldest)?.outcome.as_ref()?;
        let mut pending = self.pending.remove(oldest)?;
        requests.pop_front();
        let outcome = pending.outcome.take()?;
        Some((pending, outcome))
    }

    /// The zxid that an answer carries which rests on `zxid`: not above that of a write behind it on the connection. A
    /// `sync` that an election left open is answered by the next leader, with a newer zxid than such a write has.
    pub fn zxid_to_tell(&self, conn: ConnId, zxid: Zxid) -> Zxid {
        let requests = self.conns.get(&conn).into_iter().flat_map(|conn| &conn.requests);
        let applied = requests.filter_map(|request| match self.pending.get(request)?.outcome {
            Some(Outcome::Applied { zxid, .. }) => Some(zxid),
            _ => None,
        });
        applied.min().map_or(zxid, |applied| applied.min(zxid))
    }

    /// The leader answered a request without a transaction. Of two answers the first counts.
    pub fn answer(&mut self, answer: Answer) {
        if let Some(pending) = self.pending.get_mut(&answer.request_id)
            && pending.outcome.is_none()
            && pending.answer.is_none()
        {
            self.answered.push_back(answer.request_id);
            pending.answer = Some(answer);
        }
    }

    /// Ends the next request whose answer the state has caught up with; the connection it came on, whose outcomes may
    /// be told now.
    pub fn next_answer(&mut self, applied: Zxid) -> Option<ConnId> {
        while let Some(request_id) = self.answered.front() {
            let Some(pending) = self.pending.get_mut(request_id) else {
                self.answered.pop_front();
                continue;
            };
            if pending.answer.as_ref().is_some_and(|answer| answer.after > applied) {
                return None;
            }
            self.answered.pop_front();
            if let Some(answer) = pending.answer.take() {
                pending.outcome = Some(Outcome::Answered(answer));
                return Some(pending.conn);
            }
        }
        None
    }

    /// The leader is gone. Answers that the state has not caught up with may rest on transactions that will never be.
    pub fn forget_answers(&mut self) {
        for request_id in self.answered.drain(..) {
            if let Some(pending) = self.pending.get_mut(&request_id) {
                pending.answer = None;
            }
        }
    }

    /// There is a leader again, and the state holds everything that older leaders decided. `logged` are the requests of
    /// this server that stand in the log and are not applied yet: they will come to an end by themselves. All others
    /// came to nothing, and are to be sent again; except that an answered one must not be judged anew behind a later
    /// one. The connections to close for that are returned.
    pub fn resend(&mut self, logged: &BTreeSet<u64>) -> Vec<ConnId> {
        let mut lost = Vec::new();
        self.unsent.clear();
        for (request_id, pending) in &mut self.pending {
            pending.sent = pending.outcome.is_some() || logged.contains(request_id);
            if !pending.sent {
                self.unsent.push_back(*request_id);
            }
        }
        for request_id in logged {
            let Some(pending) = self.pending.get(request_id) else { continue };
            let Some(conn) = self.conns.get(&pending.conn) else { continue };
            let mut older = conn.requests.iter().take_while(|older| *older != request_id);
            if older.any(|older| !logged.contains(older) && !self.pending[older].may_still_be_answered()) {
                lost.push(pending.conn);
            }
        }
        lost.dedup();
        lost
    }
}

impl Pending {
    /// True if a later request of the same connection may end before this one: it waits for a barrier, or has ended
    /// and waits for one that does.
    fn may_still_be_answered(&self) -> bool {
        self.outcome.is_some() || self.answer.is_some() || self.request.op == OpCode::Sync as i32
    }
}

/// What is asked of the leader.
#[derive(Debug)]
pub struct Ask {
    pub session_id: SessionId,
    pub generation: u64,
    pub op: i32,
    pub body: Bytes,
    pub auth: Arc<[AuthId]>,
}

/// The answer without a transaction that carries only a code.
pub fn bare_answer(request_id: u64, after: Zxid, error: ErrorCode) -> Answer {
    Answer { request_id, after, error, multi_errors: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_of_clients_that_are_gone_are_not_kept_while_there_is_no_leader() {
        let mut clients = Clients::new(1);
        let ask = || Ask {
            session_id: SessionId(1),
            generation: 1,
            op: OpCode::SetData as i32,
            body: Bytes::new(),
            auth: Arc::from([]),
        };
        for conn in (1..=10_000).map(ConnId) {
            clients.insert(conn, Tick(0));
            clients.wait(conn, Wanted::Reply { xid: 1 }, ask());
            if conn != ConnId(7) {
                clients.remove(conn);
            }
        }
        assert!(clients.unsent.len() <= LISTED_SLACK + 2, "{} are listed", clients.unsent.len());
        assert_eq!(clients.take_unsent().len(), 1);
    }
}
