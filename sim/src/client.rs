//! One client: what it asks for, and what it makes of the answers.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use zabra::ids::{ConnId, ServerId, SessionId, Xid, Zxid};
use zabra::jute::{
    Acl, ConnectRequest, Create, CreateMode, ErrorCode, EventKind, MultiOp, MultiResult, Request, Response,
    Stat, WatchEvent,
};

use super::coverage::Coverage;

/// Longer than any test: no session of this timeout expires.
const LONG_TIMEOUT_MS: i32 = 60_000;

/// What a client asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Asked {
    /// a znode that must be there before anything else
    Setup(String),
    /// a number, rising with every write, into the client's own znode
    Set(u32),
    /// the same together with another operation
    Multi(u32),
    /// the same with one that fails, so that nothing happens
    FailingMulti,
    /// a sequential znode with data that nobody else writes
    Sequential {
        data: String,
    },
    /// an ephemeral znode
    Ephemeral,
    /// something that is refused
    Refused,
    Sync,
    Close,
}

/// What a client reads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Read {
    Data(String),
    Exists(String),
    Children(String),
    /// the watches that it had on an older connection
    SetWatches {
        data: Vec<String>,
        exist: Vec<String>,
        child: Vec<String>,
        relative_zxid: Zxid,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Watching {
    Data,
    Absence,
    Children,
}

/// A client. It owns the znode `/c<index>`.
#[derive(Default)]
pub struct Client {
    pub index: usize,
    pub server: Option<ServerId>,
    pub conn: ConnId,
    pub session: SessionId,
    password: Bytes,
    pub last_zxid: Zxid,
    pub connected: bool,
    pub timeout_ms: i32,
    next_xid: Xid,
    /// Requests without an answer: number and what was asked.
    pub outstanding: VecDeque<(Xid, Asked)>,
    /// How much of what must be there is there.
    setup: usize,
    next_value: u32,
    /// The newest acknowledged write: its number and the version it made.
    acked: Option<(u32, i32)>,
    /// The numbers sent on each connection.
    pub sent: Vec<Vec<u32>>,
    /// Watches, with the zxid of the state that they were set on.
    watches: BTreeMap<(Watching, String), Zxid>,
    /// Watches of an older connection are to be set again, as of this zxid.
    resume_at: Option<Zxid>,
    /// Does not show itself, so that its session may expire.
    pub is_silent: bool,
    /// The ephemeral znode is there as long as the session is.
    ephemeral_created: bool,
    /// Sequential znodes that were acknowledged, with their data.
    pub sequential: Vec<(Zxid, String, String)>,
}

impl Client {
    pub fn new(index: usize) -> Client {
        Client { index, timeout_ms: LONG_TIMEOUT_MS, ..Client::default() }
    }

    pub fn own_path(&self) -> String {
        format!("/c{}", self.index)
    }

    pub fn ephemeral_path(&self) -> String {
        format!("/eph/c{}", self.index)
    }

    /// What must be there first.
    fn setup_paths(&self) -> [String; 3] {
        [self.own_path(), "/seq".to_string(), "/eph".to_string()]
    }

    /// Begins a connection.
    pub fn connect(&mut self, server: ServerId, conn: ConnId) -> ConnectRequest {
        (self.server, self.conn) = (Some(server), conn);
        self.sent.push(Vec::new());
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

    /// The connection is gone; what was asked for may or may not happen.
    pub fn disconnect(&mut self) {
        self.server = None;
        self.connected = false;
        self.outstanding.clear();
    }

    fn forget_session(&mut self) {
        self.session = SessionId(0);
        self.password = Bytes::new();
        self.watches.clear();
        self.resume_at = None;
        self.ephemeral_created = false;
    }

    /// What it asks for next, by chance. A new client first makes what it needs.
    pub fn next_request(&mut self, choice: u32) -> Asked {
        let value = self.next_value + 1;
        match choice % 100 {
            _ if self.setup < self.setup_paths().len() => {
                Asked::Setup(self.setup_paths()[self.setup].clone())
            }
            0..8 => Asked::Sync,
            8..16 => Asked::Sequential { data: format!("{}.{choice}.{}", self.index, self.next_xid) },
            16..22 if !self.ephemeral_created => Asked::Ephemeral,
            22..28 => Asked::Refused,
            28..36 => Asked::FailingMulti,
            36..46 => self.write(Asked::Multi(value)),
            46 => Asked::Close,
            _ => self.write(Asked::Set(value)),
        }
    }

    /// The next write into its own znode.
    pub fn next_write(&mut self) -> Asked {
        self.write(Asked::Set(self.next_value + 1))
    }

    fn write(&mut self, asked: Asked) -> Asked {
        self.next_value += 1;
        self.sent.last_mut().expect("a connected client has a connection").push(self.next_value);
        asked
    }

    /// What it reads next, if it may: nothing it asked for before waits.
    pub fn next_read(&mut self, choice: u32) -> Option<Read> {
        if !self.outstanding.is_empty() {
            return None;
        }
        if let Some(relative_zxid) = self.resume_at.take().filter(|_| !self.watches.is_empty()) {
            let paths = |kind| {
                let of_kind = self.watches.keys().filter(move |(watching, _)| *watching == kind);
                of_kind.map(|(_, path)| path.clone()).collect()
            };
            return Some(Read::SetWatches {
                data: paths(Watching::Data),
                exist: paths(Watching::Absence),
                child: paths(Watching::Children),
                relative_zxid,
            });
        }
        let other = choice / 4 % 4;
        Some(match choice % 4 {
            0 => Read::Data(format!("/c{other}")),
            1 => Read::Exists(format!("/eph/c{other}")),
            2 => Read::Children("/eph".to_string()),
            _ => Read::Exists(self.ephemeral_path()),
        })
    }

    /// Takes note that something was asked for; its number.
    pub fn ask(&mut self, asked: Asked) -> Xid {
        self.next_xid += 1;
        self.outstanding.push_back((self.next_xid, asked));
        self.next_xid
    }

    pub fn on_connected(&mut self, session: SessionId, password: Bytes) {
        assert!(self.session == SessionId(0) || self.session == session, "the same session goes on");
        if self.session == session {
            // What an older connection had no time for is still to do.
            self.resume_at.get_or_insert(self.last_zxid);
        }
        (self.session, self.password, self.connected) = (session, password, true);
    }

    /// The session is gone, and everything that hangs on it.
    pub fn on_expired(&mut self) {
        self.forget_session();
    }

    fn saw(&mut self, zxid: Zxid) {
        let seen = self.last_zxid;
        assert!(zxid >= seen, "client {} saw time run backwards, from {seen} to {zxid}", self.index);
        self.last_zxid = zxid;
    }

    /// An answer. The zxid of the write that it acknowledges, if it does.
    pub fn on_reply(
        &mut self,
        xid: Xid,
        zxid: Zxid,
        result: Result<Response, ErrorCode>,
        coverage: &mut Coverage,
    ) -> Option<Zxid> {
        let (expected, asked) = self.outstanding.pop_front().expect("an answer to something that was asked");
        assert_eq!(xid, expected, "answers come in the order of the requests");
        self.saw(zxid);
        match (asked, result) {
            (Asked::Setup(path), Ok(_) | Err(ErrorCode::NodeExists)) => {
                // It may have been asked for more than once.
                self.setup += usize::from(self.setup_paths().get(self.setup) == Some(&path));
            }
            // The session that owns it was another one of this client.
            (Asked::Ephemeral, Err(ErrorCode::NodeExists)) => {}
            (Asked::Ephemeral, Ok(_)) => {
                coverage.count("ephemeral create");
                self.ephemeral_created = true;
            }
            (Asked::Set(value), Ok(Response::Stat(stat))) => return self.on_written(value, stat, zxid),
            (Asked::Multi(value), Ok(Response::Multi(results))) => {
                coverage.count("multi");
                let [MultiResult::Check, MultiResult::SetData(stat)] = results[..] else {
                    panic!("a multi was answered with {results:?}");
                };
                return self.on_written(value, stat, zxid);
            }
            (Asked::FailingMulti, Ok(Response::Multi(results))) => {
                coverage.count("multi refused");
                assert!(results.iter().all(|result| matches!(result, MultiResult::Error(_))), "{results:?}");
            }
            (Asked::Sequential { data }, Ok(Response::Create { path })) => {
                coverage.count("sequential create");
                self.sequential.push((zxid, path, data));
            }
            (Asked::Refused, Err(ErrorCode::NoNode)) => coverage.count("request refused"),
            (Asked::Sync, Ok(Response::Sync { .. })) => coverage.count("sync"),
            (Asked::Close, Ok(_)) => self.forget_session(),
            (_, Err(ErrorCode::SessionExpired)) => {}
            (asked, result) => panic!("{asked:?} was answered with {result:?}"),
        }
        None
    }

    /// Of what was sent since the last acknowledged write, this one was applied, and of the others each at most once.
    fn on_written(&mut self, value: u32, stat: Stat, zxid: Zxid) -> Option<Zxid> {
        let (before, version) = self.acked.unwrap_or((0, 0));
        let (sent, applied) = ((value - before) as i32, stat.version - version);
        assert!((1..=sent).contains(&applied), "{sent} writes were sent, {applied} were applied");
        assert!(stat.mzxid <= zxid, "a write is answered when it is applied");
        self.acked = Some((value, stat.version));
        Some(stat.mzxid)
    }

    /// What it read, at this zxid: nothing that is watched changed without an event.
    pub fn on_read(&mut self, read: Read, zxid: Zxid, result: Result<Response, ErrorCode>) {
        self.saw(zxid);
        match (&read, &result) {
            (Read::Data(path), Ok(Response::Data { stat, .. })) => {
                self.check_watch(Watching::Data, path, stat.mzxid);
                self.check_watch(Watching::Absence, path, stat.czxid);
                self.watches.insert((Watching::Data, path.clone()), zxid);
            }
            (Read::Exists(path), Ok(Response::Stat(stat))) => {
                self.check_watch(Watching::Data, path, stat.mzxid);
                self.check_watch(Watching::Absence, path, stat.czxid);
                self.watches.insert((Watching::Data, path.clone()), zxid);
                if self.ephemeral_created && *path == self.ephemeral_path() {
                    assert_eq!(stat.ephemeral_owner, self.session, "whose ephemeral znode it is");
                }
            }
            (Read::Children(path), Ok(Response::Children { stat: Some(stat), .. })) => {
                self.check_watch(Watching::Children, path, stat.pzxid);
                self.watches.insert((Watching::Children, path.clone()), zxid);
            }
            (Read::Data(path) | Read::Exists(path) | Read::Children(path), Err(ErrorCode::NoNode)) => {
                self.check_watch(Watching::Data, path, Zxid(u64::MAX));
                self.check_watch(Watching::Children, path, Zxid(u64::MAX));
                let is_own = self.ephemeral_created && *path == self.ephemeral_path();
                assert!(!is_own, "an ephemeral znode went before its session");
                if matches!(read, Read::Exists(_)) {
                    self.watches.insert((Watching::Absence, path.clone()), zxid);
                }
            }
            (Read::SetWatches { .. }, Ok(_)) => {}
            _ => panic!("{read:?} was answered with {result:?}"),
        }
    }

    /// A change that the client sees was told before, if it is watched.
    fn check_watch(&self, watching: Watching, path: &str, changed: Zxid) {
        if let Some(set) = self.watches.get(&(watching, path.to_string())) {
            assert!(changed <= *set, "client {} saw {path} of {changed} before its event", self.index);
        }
    }

    /// A watch fired, once.
    pub fn on_event(&mut self, event: &WatchEvent) {
        let fired: &[Watching] = match event.kind {
            EventKind::NodeCreated => &[Watching::Absence],
            EventKind::NodeDataChanged => &[Watching::Data],
            EventKind::NodeDeleted => &[Watching::Data, Watching::Children],
            EventKind::NodeChildrenChanged => &[Watching::Children],
        };
        let count = self.watches.len();
        self.watches.retain(|(watching, path), _| !(fired.contains(watching) && *path == event.path));
        assert!(self.watches.len() < count, "client {} did not wait for {event:?}", self.index);
    }

    /// A request as the protocol has it.
    pub fn with_request<T>(&self, asked: &Asked, act: impl FnOnce(&Request<'_>) -> T) -> T {
        fn create<'a>(path: &'a str, data: &'a [u8], mode: CreateMode) -> Create<'a> {
            Create { path, data: Some(data), acl: Acl::open(), flags: mode as i32, with_stat: false }
        }
        let own = self.own_path();
        match asked {
            Asked::Setup(path) => act(&Request::Create(create(path, &[], CreateMode::Persistent))),
            Asked::Set(value) => {
                let data = value.to_string();
                act(&Request::SetData { path: &own, data: Some(data.as_bytes()), version: -1 })
            }
            Asked::Multi(value) => {
                let data = value.to_string();
                let check = MultiOp::Check { path: "/seq", version: 0 };
                let set = MultiOp::SetData { path: &own, data: Some(data.as_bytes()), version: -1 };
                act(&Request::Multi(vec![check, set]))
            }
            Asked::FailingMulti => {
                let set = MultiOp::SetData { path: &own, data: Some(b"never"), version: -1 };
                let check = MultiOp::Check { path: &own, version: i32::MAX };
                act(&Request::Multi(vec![set, check]))
            }
            Asked::Sequential { data } => {
                let mode = CreateMode::PersistentSequential;
                act(&Request::Create(create("/seq/n-", data.as_bytes(), mode)))
            }
            Asked::Ephemeral => {
                act(&Request::Create(create(&self.ephemeral_path(), &[], CreateMode::Ephemeral)))
            }
            Asked::Refused => act(&Request::Delete { path: "/seq/nothing", version: -1 }),
            Asked::Sync => act(&Request::Sync { path: Some("/") }),
            Asked::Close => act(&Request::CloseSession),
        }
    }
}

impl Read {
    /// A read as the protocol has it; every one leaves a watch.
    pub fn with_request<T>(&self, act: impl FnOnce(&Request<'_>) -> T) -> T {
        fn borrowed(paths: &[String]) -> Vec<&str> {
            paths.iter().map(String::as_str).collect()
        }
        match self {
            Read::Data(path) => act(&Request::GetData { path, watch: true }),
            Read::Exists(path) => act(&Request::Exists { path, watch: true }),
            Read::Children(path) => act(&Request::GetChildren { path, watch: true, with_stat: true }),
            Read::SetWatches { data, exist, child, relative_zxid } => {
                act(&Request::SetWatches(zabra::jute::SetWatches {
                    relative_zxid: *relative_zxid,
                    data: borrowed(data),
                    exist: borrowed(exist),
                    child: borrowed(child),
                }))
            }
        }
    }
}
