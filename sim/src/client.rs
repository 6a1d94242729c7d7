//! One client: its session, what it waits for, and what it knows.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use zabra::ids::{ConnId, ServerId, SessionId, Xid, Zxid};
use zabra::jute::{ConnectRequest, ErrorCode, Response, Stat};

use super::checkers::watches::{Watches, Watching};
use super::history::Moment;
use super::op::{Op, Read};

/// Longer than any test: no session of this timeout expires.
const LONG_TIMEOUT_MS: i32 = 60_000;

/// A request without an answer.
#[derive(Clone, Debug)]
pub struct Waiting {
    pub xid: Xid,
    /// its place in the history
    pub entry: usize,
    pub op: Op,
}

#[derive(Default)]
pub struct Client {
    pub index: usize,
    pub server: Option<ServerId>,
    pub conn: ConnId,
    pub session: SessionId,
    password: Bytes,
    pub last_zxid: Zxid,
    pub connected: bool,
    /// when it began to connect, ms
    pub connected_ms: u64,
    pub timeout_ms: i32,
    next_xid: Xid,
    pub outstanding: VecDeque<Waiting>,
    pub watches: Watches,
    /// Watches of an older connection are to be set again, as of this zxid.
    resume_at: Option<Zxid>,
    /// A `sync` was answered, and nothing since: when it was asked for, and what was known then.
    pub synced: Option<(Moment, Zxid)>,
    /// Does not show itself, so that its session may expire.
    pub is_silent: bool,
    pub knows: Knowledge,
}

/// What a client has seen of the tree, so that it can ask for things that make sense.
#[derive(Default)]
pub struct Knowledge {
    /// how many of the znodes that must be there are there
    pub ready: usize,
    pub next_value: u32,
    pub versions: BTreeMap<String, i32>,
    /// as they were when it saw them last
    pub stats: BTreeMap<String, Stat>,
    /// sequential znodes that it made
    pub numbered: Vec<String>,
    /// ephemerals of its session
    pub ephemerals: BTreeSet<String>,
    /// its place in the queue for the lock
    pub place: Option<String>,
    pub is_first: bool,
}

impl Client {
    pub fn new(index: usize) -> Client {
        Client { index, timeout_ms: LONG_TIMEOUT_MS, ..Client::default() }
    }

    pub fn own_path(&self) -> String {
        format!("/c{}", self.index)
    }

    /// Begins a connection.
    pub fn connect(&mut self, server: ServerId, conn: ConnId, now_ms: u64) -> ConnectRequest {
        (self.server, self.conn, self.connected_ms) = (Some(server), conn, now_ms);
        self.is_silent = false;
        ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: self.last_zxid,
            timeout_ms: self.timeout_ms,
            session_id: self.session,
            password: self.password.clone(),
            read_only: Some(false),
        }
    }

    /// The connection is gone; what was asked for may or may not happen. The places of that in the history.
    pub fn disconnect(&mut self) -> Vec<usize> {
        self.server = None;
        self.connected = false;
        self.synced = None;
        self.watches.lose();
        self.outstanding.drain(..).map(|waiting| waiting.entry).collect()
    }

    /// The session is gone, and everything that hangs on it.
    pub fn forget_session(&mut self) {
        self.session = SessionId(0);
        self.password = Bytes::new();
        self.watches.forget();
        self.resume_at = None;
        (self.knows.place, self.knows.is_first) = (None, false);
        self.knows.ephemerals.clear();
    }

    pub fn on_connected(&mut self, session: SessionId, password: Bytes) {
        if self.session == session {
            // What an older connection had no time for is still to do.
            self.resume_at.get_or_insert(self.last_zxid);
        }
        (self.session, self.password, self.connected) = (session, password, true);
    }

    /// The number of the next request.
    pub fn next_xid(&mut self) -> Xid {
        self.next_xid += 1;
        self.next_xid
    }

    /// The watches of an older connection, if it has yet to set them again.
    pub fn take_resume(&mut self) -> Option<Read> {
        let relative_zxid = self.resume_at.take().filter(|_| !self.watches.is_empty())?;
        Some(Read::Resume(self.watches.to_resume(relative_zxid)))
    }

    /// The next write into its own znode.
    pub fn next_write(&mut self) -> Op {
        let (path, value) = (self.own_path(), self.next_value());
        Op::set(path, value)
    }

    /// Nobody else ever writes this, and this client never again.
    pub fn next_value(&mut self) -> String {
        self.knows.next_value += 1;
        format!("{}.{}", self.index, self.knows.next_value)
    }

    /// A read left a watch, or took some away.
    pub fn note_watch(&mut self, read: &Read, result: &Result<Response, ErrorCode>) {
        match (read, result) {
            (Read::Data { path, watch: true } | Read::Exists { path, watch: true }, Ok(_)) => {
                self.watches.set(Watching::Data, path);
            }
            (Read::Exists { path, watch: true }, Err(_)) => self.watches.set(Watching::Absence, path),
            (Read::Children { path, watch: true } | Read::Filtered { path, watch: true, .. }, Ok(_)) => {
                self.watches.set(Watching::Children, path)
            }
            (Read::AddWatch { path, is_recursive: false }, Ok(_)) => {
                self.watches.set(Watching::Persistent, path);
            }
            (Read::AddWatch { path, is_recursive: true }, Ok(_)) => {
                self.watches.set(Watching::Recursive, path);
            }
            (Read::RemoveWatches { path, which }, Ok(_)) => self.watches.remove(path, *which),
            _ => {}
        }
    }
}
