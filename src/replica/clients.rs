//! The clients connected to this server, and what they wait for.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::iter;
use std::sync::Arc;

use bytes::Bytes;

use super::io::{Answer, ForwardedRequest};
use super::local::Standing;
use crate::ids::{ConnId, SessionId, Tick, Xid, Zxid};
use crate::jute::AuthId;
use crate::mutants::{Mutant, has};

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
    pub kind: SessionKind,
}

/// Who knows a session, and what it may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SessionKind {
    /// the ensemble
    Global,
    /// this server
    Local,
    /// this server, while it has no leader; its client only reads
    ReadOnly,
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
    /// Requests that the leader may have and whose connections are gone, until they come to their end: whoever handed
    /// their bodies in sees by them what is still under way, and the audit log tells what became of them.
    left_behind: BTreeMap<u64, ForwardedRequest>,
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
            left_behind: BTreeMap::new(),
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

    /// How many requests are under way whose connections are gone.
    pub fn left_behind_count(&self) -> usize {
        self.left_behind.len()
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

    /// The ensemble knows the session of a connection from now on. To another leader what it waits for is that of any
    /// session.
    pub fn make_global(&mut self, conn: ConnId, generation: u64) {
        let Some(conn) = self.conns.get_mut(&conn) else { return };
        if let Some(session) = &mut conn.session {
            *session = OpenSession { generation, kind: SessionKind::Global, ..*session };
        }
        for request in &conn.requests {
            if let Some(pending) = self.pending.get_mut(request) {
                (pending.request.standing, pending.request.generation) = (Standing::Global, generation);
            }
        }
    }

    /// A connection is gone, and whatever it waited for concerns nobody; but what the leader may have goes on.
    pub fn remove(&mut self, conn: ConnId) -> Option<Conn> {
        let removed = self.conns.remove(&conn)?;
        for request in &removed.requests {
            if let Some(pending) = self.pending.remove(request)
                && pending.sent
                && pending.answer.is_none()
            {
                self.left_behind.insert(*request, pending.request);
            }
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
            standing: ask.standing,
        };
        self.pending.insert(request_id, Pending { conn, kind, request, sent: false, answer: None });
        self.unsent.push_back(request_id);
    }

    /// Requests for a leader, in order; they count as sent.
    pub fn take_unsent(&mut self) -> Vec<ForwardedRequest> {
        let mut requests = Vec::with_capacity(self.unsent.len());
        requests.extend(iter::from_fn(|| self.next_unsent()));
        requests
    }

    /// The oldest of them.
    pub fn next_unsent(&mut self) -> Option<ForwardedRequest> {
        while let Some(request_id) = self.unsent.pop_front() {
            if let Some(pending) = self.pending.get_mut(&request_id) {
                pending.sent = true;
                return Some(pending.request.clone());
            }
        }
        None
    }

    /// A request came to its end that nobody waits for any more.
    pub fn end_left_behind(&mut self, request_id: u64) -> Option<ForwardedRequest> {
        self.left_behind.remove(&request_id)
    }

    /// What waits for the end of a request, if it is this server's and still there.
    pub fn get_pending(&self, request_id: u64) -> Option<&Pending> {
        self.pending.get(&request_id)
    }

    /// A request came to its end: what waited for it, if it is this server's and still there. Requests of a connection
    /// are judged in their order, and end in it. If an older one still waits, its answer was lost with an older leader,
    /// and nobody knows its outcome: `Err`.
    pub fn take(&mut self, request_id: u64) -> Option<Result<Pending, ConnId>> {
        let pending = self.pending.get_mut(&request_id)?;
        let conn_id = pending.conn;
        // Whatever becomes of its connection, the leader has it no more.
        pending.sent = false;
        let requests = &mut self.conns.get_mut(&conn_id)?.requests;
        if requests.front() != Some(&request_id) {
            return Some(Err(conn_id));
        }
        requests.pop_front();
        self.pending.remove(&request_id).map(Ok)
    }

    /// The leader answered a request without a transaction. Of two answers the first counts.
    pub fn answer(&mut self, answer: Answer) {
        self.end_left_behind(answer.request_id);
        if let Some(pending) = self.pending.get_mut(&answer.request_id)
            && pending.answer.is_none()
        {
            self.answered.push_back(answer.request_id);
            pending.answer = Some(answer);
        }
    }

    /// Ends the next request whose answer the state has caught up with, as [`Clients::take`] does.
    pub fn next_answer(&mut self, applied: Zxid) -> Option<Result<(Pending, Answer), ConnId>> {
        while let Some(request_id) = self.answered.front().copied() {
            let answer = self.pending.get(&request_id).and_then(|pending| pending.answer.as_ref());
            if answer.is_some_and(|answer| answer.after > applied) && !has(Mutant::AnswerTooEarly) {
                return None;
            }
            self.answered.pop_front();
            let answer = self.pending.get_mut(&request_id).and_then(|pending| pending.answer.take());
            if let (Some(answer), Some(taken)) = (answer, self.take(request_id)) {
                return Some(taken.map(|pending| (pending, answer)));
            }
        }
        None
    }

    /// The leader is gone. Answers that the state has not caught up with may wait for transactions that will never be:
    /// who asked would be told no sooner than the next leader's first transaction, and it may have none for long.
    pub fn forget_answers(&mut self) {
        for request_id in self.answered.drain(..) {
            if let Some(pending) = self.pending.get_mut(&request_id) {
                pending.answer = None;
            }
        }
    }

    /// There is a leader again, and the state holds everything that older leaders decided. `logged` are the requests of
    /// this server that stand in the log and are not applied yet: they will come to an end by themselves. All others
    /// came to nothing, and are to be sent again; except one before another that is in the log, as it must not be judged
    /// anew behind that. The connections to close for that are returned.
    pub fn resend(&mut self, logged: &BTreeSet<u64>) -> Vec<ConnId> {
        let mut lost = Vec::new();
        self.left_behind.retain(|request_id, _| logged.contains(request_id));
        self.unsent.clear();
        for (request_id, pending) in &mut self.pending {
            pending.sent = logged.contains(request_id);
            if !pending.sent {
                self.unsent.push_back(*request_id);
            }
        }
        for request_id in logged {
            let Some(pending) = self.pending.get(request_id) else { continue };
            let Some(conn) = self.conns.get(&pending.conn) else { continue };
            let mut older = conn.requests.iter().take_while(|older| *older != request_id);
            if older.any(|older| !logged.contains(older)) {
                lost.push(pending.conn);
            }
        }
        lost.dedup();
        lost
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
    pub standing: Standing,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jute::OpCode;

    fn ask() -> Ask {
        let (op, auth) = (OpCode::SetData as i32, Arc::from([]));
        let standing = Standing::Global;
        Ask { session_id: SessionId(1), generation: 1, op, body: Bytes::new(), auth, standing }
    }

    fn synced(request_id: u64, after: u64) -> Answer {
        Answer { request_id, after: Zxid(after), moved: false }
    }

    #[test]
    fn a_request_that_ends_before_an_older_one_of_its_connection_is_not_told() {
        let mut clients = Clients::new(1);
        for conn in [ConnId(1), ConnId(2)] {
            clients.insert(conn, Tick(0));
        }
        for conn in [1, 2, 1, 1] {
            clients.wait(ConnId(conn), Wanted::Reply { xid: 1 }, ask());
        }
        let conn_of = |taken: Option<Result<Pending, ConnId>>| taken.map(|it| it.map(|it| it.conn));
        assert_eq!(conn_of(clients.take(2)), Some(Ok(ConnId(2))));
        assert_eq!(conn_of(clients.take(3)), Some(Err(ConnId(1))));
        clients.answer(synced(4, 5));
        assert!(clients.next_answer(Zxid(4)).is_none(), "the state has not caught up with it");
        assert_eq!(clients.next_answer(Zxid(5)).map(|it| it.err()), Some(Some(ConnId(1))));
        assert_eq!(conn_of(clients.take(1)), Some(Ok(ConnId(1))));
        assert_eq!(conn_of(clients.take(3)), Some(Ok(ConnId(1))));
        assert_eq!(conn_of(clients.take(3)), None);
    }

    #[test]
    fn an_answer_that_waits_for_what_never_comes_gives_way_to_the_next_leaders() {
        let mut clients = Clients::new(1);
        clients.insert(ConnId(1), Tick(0));
        clients.wait(ConnId(1), Wanted::Reply { xid: 1 }, ask());
        clients.take_unsent();
        clients.answer(synced(1, 9));
        clients.forget_answers();
        assert_eq!(clients.resend(&BTreeSet::new()), []);
        assert_eq!(clients.take_unsent().len(), 1, "nobody has answered it");
        clients.answer(synced(1, 3));
        let told = clients.next_answer(Zxid(3)).expect("the state has caught up").expect("it is the oldest");
        assert_eq!(told.1, synced(1, 3));
    }

    #[test]
    fn what_the_leader_may_have_is_kept_until_its_end_although_its_client_is_gone() {
        // A handle for each request, and which of them still has another one.
        let bodies: Vec<Arc<[u8]>> = (0..6).map(|_| Arc::from(*b"body")).collect();
        let kept = || bodies.iter().map(|body| Arc::strong_count(body) > 1).collect::<Vec<_>>();
        let mut clients = Clients::new(0);
        clients.insert(ConnId(1), Tick(0));
        for body in &bodies {
            if Arc::ptr_eq(body, &bodies[5]) {
                assert_eq!(clients.take_unsent().len(), 5);
                clients.answer(synced(1, 9));
            }
            let body = Bytes::from_owner(Arc::clone(body));
            clients.wait(ConnId(1), Wanted::Reply { xid: 1 }, Ask { body, ..ask() });
        }
        assert_eq!(kept(), [true; 6]);
        clients.remove(ConnId(1));
        assert_eq!(kept(), [false, true, true, true, true, false], "it is decided, or nobody got it");
        clients.end_left_behind(2);
        clients.answer(synced(3, 9));
        assert_eq!(kept(), [false, false, false, true, true, false]);
        assert_eq!(clients.resend(&BTreeSet::from([5])), [], "another leader has what is in the log");
        assert_eq!(kept(), [false, false, false, false, true, false]);
        clients.end_left_behind(5);
        assert_eq!(kept(), [false; 6]);
    }

    #[test]
    fn a_request_whose_end_closes_its_connection_is_not_left_behind() {
        let mut clients = Clients::new(1);
        clients.insert(ConnId(1), Tick(0));
        for _ in 1..=3 {
            clients.wait(ConnId(1), Wanted::Reply { xid: 1 }, ask());
        }
        clients.take_unsent();
        assert!(clients.take(2).is_some_and(|taken| taken.is_err()), "the first is not decided");
        clients.answer(synced(3, 1));
        assert!(clients.next_answer(Zxid(1)).is_some_and(|next| next.is_err()));
        clients.remove(ConnId(1));
        assert_eq!(clients.left_behind_count(), 1, "only the first is under way");
    }

    #[test]
    fn requests_of_clients_that_are_gone_are_not_kept_while_there_is_no_leader() {
        let mut clients = Clients::new(1);
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
