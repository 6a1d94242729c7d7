//! What clients asked for and were told, in the order in which it happened: all that may be said about an ensemble from
//! outside.

use std::collections::BTreeMap;

use bytes::Bytes;
use zabra::ids::{SessionId, Xid, Zxid};
use zabra::jute::{ErrorCode, Response};

use super::model::is_refused;
use super::op::Op;

/// A place in the order of everything that clients did and were told.
pub type Moment = u64;

/// The connections of all clients are numbered.
pub type ConnNumber = u32;

/// A request and what came of it.
#[derive(Clone, Debug)]
pub struct Entry {
    pub client: usize,
    pub conn: ConnNumber,
    pub session: SessionId,
    pub xid: Xid,
    pub op: Op,
    pub invoked: Moment,
    /// when, in simulated ms
    pub asked_ms: u64,
    /// the newest zxid that any client had been told of by then in the answer to a request
    pub floor: Zxid,
    pub outcome: Outcome,
    /// the transaction that it became, and the answer that it deserves: a refusal is a transaction, too
    pub decided: Option<(Zxid, Result<Response, ErrorCode>)>,
}

/// What a client knows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    Waiting,
    Told {
        returned: Moment,
        zxid: Zxid,
        result: Result<Response, ErrorCode>,
    },
    /// the connection was lost: it may happen, now or later, or never
    Lost,
}

/// A read behind a `sync`: it was true at some moment between the two.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seen {
    pub client: usize,
    pub path: String,
    /// version and content, if it is there
    pub state: Option<(i32, Bytes)>,
    pub invoked: Moment,
    pub returned: Moment,
}

#[derive(Default)]
pub struct History {
    pub entries: Vec<Entry>,
    pub seen: Vec<Seen>,
    by_request: BTreeMap<(SessionId, Xid), usize>,
    now: Moment,
    /// The newest zxid that a client was told of in the answer to a write, done or refused, or a `sync`.
    pub floor: Zxid,
    /// How many writes clients were told to be done.
    pub done: usize,
    /// How many were refused.
    pub refused: usize,
}

/// Who asks, and where.
#[derive(Clone, Copy, Debug)]
pub struct Asker {
    pub client: usize,
    pub conn: ConnNumber,
    pub session: SessionId,
    pub xid: Xid,
    /// when, in simulated ms
    pub now_ms: u64,
}

impl History {
    /// The next moment.
    pub fn tick(&mut self) -> Moment {
        self.now += 1;
        self.now
    }

    /// A client asks for something; the number of the entry.
    pub fn invoke(&mut self, asker: Asker, op: Op) -> usize {
        let Asker { client, conn, session, xid, now_ms: asked_ms } = asker;
        let (invoked, floor, outcome) = (self.tick(), self.floor, Outcome::Waiting);
        let id = self.entries.len();
        self.by_request.insert((session, xid), id);
        let decided = None;
        self.entries.push(Entry {
            client,
            conn,
            session,
            xid,
            op,
            invoked,
            asked_ms,
            floor,
            outcome,
            decided,
        });
        id
    }

    /// The request behind a transaction.
    pub fn request(&mut self, session: SessionId, xid: Xid) -> Option<&mut Entry> {
        let id = *self.by_request.get(&(session, xid))?;
        self.entries.get_mut(id)
    }

    /// A client is answered.
    pub fn told(&mut self, id: usize, zxid: Zxid, result: Result<Response, ErrorCode>) {
        let returned = self.tick();
        let entry = &mut self.entries[id];
        self.floor = self.floor.max(zxid);
        let is_done = result.is_ok() && !is_refused(&result);
        self.done += usize::from(is_done && entry.op.is_write());
        self.refused += usize::from(!is_done && result != Err(ErrorCode::SessionExpired));
        entry.outcome = Outcome::Told { returned, zxid, result };
    }

    /// A client will never be answered.
    pub fn lost(&mut self, ids: impl IntoIterator<Item = usize>) {
        for id in ids {
            self.entries[id].outcome = Outcome::Lost;
        }
    }
}
