//! What a client can ask for.

use std::fmt;

use zabra::ids::Zxid;
use zabra::jute::{
    Acl, AddWatchMode, Create, CreateMode, CreateOp, KeeperOp, ListFilter, MultiOp, ReadOp, Reconfig,
    Request, SetWatches, Stat, WatcherType,
};

use super::configs::Change;

/// The version that stands for any.
pub const ANY: i32 = -1;

/// A request that the leader decides.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Op {
    Create {
        path: String,
        data: String,
        mode: CreateMode,
        /// of a mode that has a time to live
        ttl_ms: u64,
    },
    Delete {
        path: String,
        version: i32,
    },
    Set {
        path: String,
        data: String,
        version: i32,
    },
    Check {
        path: String,
        version: i32,
    },
    /// to the same list, so that only its version changes
    SetAcl {
        path: String,
        version: i32,
    },
    /// one that ClickHouse Keeper has beyond ZooKeeper
    Keeper(Keeper),
    Multi(Vec<Op>),
    /// other servers
    Reconfig(Change),
    Sync,
    Close,
}

/// The operations of ClickHouse Keeper that the leader decides.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Keeper {
    CreateIfNotExists { path: String, data: String, mode: CreateMode },
    CheckNotExists { path: String, version: i32 },
    CheckStat { path: String, version: i32, stat: Stat },
    RemoveRecursive { path: String, znodes_max: u32 },
}

impl Op {
    pub fn create(path: impl Into<String>, data: impl Into<String>) -> Op {
        Op::make(path, data, CreateMode::Persistent)
    }

    /// A znode of any kind that has no time to live.
    pub fn make(path: impl Into<String>, data: impl Into<String>, mode: CreateMode) -> Op {
        Op::Create { path: path.into(), data: data.into(), mode, ttl_ms: 0 }
    }

    pub fn set(path: impl Into<String>, data: impl Into<String>) -> Op {
        Op::Set { path: path.into(), data: data.into(), version: ANY }
    }

    /// A sequential create is answered without a `Stat` unless it is a createTTL, every other with one, so that both
    /// kinds occur.
    pub fn is_told_stat(mode: CreateMode) -> bool {
        !mode.is_sequential() || mode.has_ttl()
    }

    /// As the protocol has it.
    pub fn with_request<T>(&self, act: impl FnOnce(&Request<'_>) -> T) -> T {
        match self {
            Op::Create { path, data, mode, ttl_ms } => {
                act(&Request::Create(create(path, data, *mode, *ttl_ms)))
            }
            Op::Delete { path, version } => act(&Request::Delete { path, version: *version }),
            Op::Set { path, data, version } => {
                act(&Request::SetData { path, data: Some(data.as_bytes()), version: *version })
            }
            Op::Check { path, version } => act(&Request::Check { path, version: *version }),
            Op::SetAcl { path, version } => {
                act(&Request::SetAcl { path, acl: Acl::open(), version: *version })
            }
            Op::Keeper(Keeper::CreateIfNotExists { path, data, mode }) => {
                act(&Request::Create(create_if_not_exists(path, data, *mode)))
            }
            Op::Keeper(op) => act(&Request::Keeper(keeper(op))),
            Op::Multi(ops) => act(&Request::Multi(ops.iter().map(part).collect())),
            Op::Reconfig(change) => {
                let (joining, leaving) = (change.joining_text(), change.leaving_text());
                let members = change.all_text();
                act(&Request::Reconfig(Reconfig {
                    joining: Some(&joining),
                    leaving: Some(&leaving),
                    members: members.as_deref(),
                    version: -1,
                }))
            }
            Op::Sync => act(&Request::Sync { path: Some("/") }),
            Op::Close => act(&Request::CloseSession),
        }
    }

    /// Its session must be known to the ensemble.
    pub fn wants_ephemeral(&self) -> bool {
        match self {
            Op::Create { mode, .. } | Op::Keeper(Keeper::CreateIfNotExists { mode, .. }) => {
                mode.is_ephemeral()
            }
            Op::Multi(ops) => ops.iter().any(Op::wants_ephemeral),
            _ => false,
        }
    }

    /// It may become a transaction.
    pub fn is_write(&self) -> bool {
        *self != Op::Sync
    }
}

fn create<'a>(path: &'a str, data: &'a str, mode: CreateMode, ttl_ms: u64) -> Create<'a> {
    let op = match mode {
        CreateMode::Container => CreateOp::Container,
        _ if mode.has_ttl() => CreateOp::Ttl { ttl_ms: ttl_ms as i64 },
        _ if Op::is_told_stat(mode) => CreateOp::Create2,
        _ => CreateOp::Create,
    };
    Create { path, data: Some(data.as_bytes()), acl: Acl::open(), flags: mode as i32, op }
}

fn create_if_not_exists<'a>(path: &'a str, data: &'a str, mode: CreateMode) -> Create<'a> {
    let (data, acl) = (Some(data.as_bytes()), Acl::open());
    Create { path, data, acl, flags: mode as i32, op: CreateOp::IfNotExists }
}

fn keeper(op: &Keeper) -> KeeperOp<'_> {
    match op {
        Keeper::CreateIfNotExists { .. } => panic!("it is a create"),
        Keeper::CheckNotExists { path, version } => KeeperOp::CheckNotExists { path, version: *version },
        Keeper::CheckStat { path, version, stat } => {
            KeeperOp::CheckStat { path, version: *version, stat: *stat }
        }
        Keeper::RemoveRecursive { path, znodes_max } => {
            KeeperOp::RemoveRecursive { path, znodes_max: *znodes_max }
        }
    }
}

fn part(op: &Op) -> MultiOp<'_> {
    match op {
        Op::Create { path, data, mode, ttl_ms } => MultiOp::Create(create(path, data, *mode, *ttl_ms)),
        Op::Delete { path, version } => MultiOp::Delete { path, version: *version },
        Op::Set { path, data, version } => {
            MultiOp::SetData { path, data: Some(data.as_bytes()), version: *version }
        }
        Op::Check { path, version } => MultiOp::Check { path, version: *version },
        Op::Keeper(Keeper::CreateIfNotExists { path, data, mode }) => {
            MultiOp::Create(create_if_not_exists(path, data, *mode))
        }
        Op::Keeper(op) => MultiOp::Keeper(keeper(op)),
        Op::SetAcl { .. } | Op::Multi(_) | Op::Reconfig(_) | Op::Sync | Op::Close => {
            panic!("not in a multi: {op:?}")
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let if_version =
            |version: &i32| if *version == ANY { String::new() } else { format!(" if {version}") };
        match self {
            Op::Create { path, mode: CreateMode::Persistent, .. } => write!(f, "create {path}"),
            Op::Create { path, mode, ttl_ms, .. } if mode.has_ttl() => {
                write!(f, "create {path} {mode:?} of {ttl_ms} ms")
            }
            Op::Create { path, mode, .. } => write!(f, "create {path} {mode:?}"),
            Op::Delete { path, version } => write!(f, "delete {path}{}", if_version(version)),
            Op::Set { path, data, version } => write!(f, "set {path} to {data}{}", if_version(version)),
            Op::Check { path, version } => write!(f, "check {path}{}", if_version(version)),
            Op::SetAcl { path, version } => write!(f, "setAcl {path}{}", if_version(version)),
            Op::Keeper(op) => write!(f, "{op}"),
            Op::Multi(ops) => {
                let ops: Vec<String> = ops.iter().map(Op::to_string).collect();
                write!(f, "multi [{}]", ops.join(", "))
            }
            Op::Reconfig(change) => write!(f, "reconfig{change}"),
            Op::Sync => f.write_str("sync"),
            Op::Close => f.write_str("close"),
        }
    }
}

impl fmt::Display for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Keeper::CreateIfNotExists { path, mode, .. } => write!(f, "createIfNotExists {path} {mode:?}"),
            Keeper::CheckNotExists { path, version } => write!(f, "checkNotExists {path} of {version}"),
            Keeper::CheckStat { path, version, stat } => write!(f, "checkStat {path} {version} {stat:?}"),
            Keeper::RemoveRecursive { path, znodes_max } => {
                write!(f, "removeRecursive {path}, at most {znodes_max}")
            }
        }
    }
}

/// What any server answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Read {
    Data {
        path: String,
        watch: bool,
    },
    Exists {
        path: String,
        watch: bool,
    },
    Children {
        path: String,
        watch: bool,
    },
    /// the children that go with a session, or those that do not, or all
    Filtered {
        path: String,
        filter: ListFilter,
        watch: bool,
    },
    /// several, each for itself
    Many(Vec<Part>),
    /// those of the session that asks, if their paths begin so
    Ephemerals {
        prefix: Option<String>,
    },
    /// how many znodes there are below one
    Descendants {
        path: String,
    },
    /// a watch that stays
    AddWatch {
        path: String,
        is_recursive: bool,
    },
    CheckWatches {
        path: String,
        which: WatcherType,
    },
    RemoveWatches {
        path: String,
        which: WatcherType,
    },
    /// the watches that the client had on an older connection
    Resume(Resume),
}

/// One of several reads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Part {
    Data(String),
    Children(String),
}

/// The lists of a `setWatches2`.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Resume {
    pub data: Vec<String>,
    pub exist: Vec<String>,
    pub child: Vec<String>,
    pub persistent: Vec<String>,
    pub recursive: Vec<String>,
    /// what the client had seen when it connected again
    pub relative_zxid: Zxid,
}

impl Read {
    /// As the protocol has it.
    pub fn with_request<T>(&self, act: impl FnOnce(&Request<'_>) -> T) -> T {
        fn borrowed(paths: &[String]) -> Vec<&str> {
            paths.iter().map(String::as_str).collect()
        }
        match self {
            Read::Data { path, watch } => act(&Request::GetData { path, watch: *watch }),
            Read::Exists { path, watch } => act(&Request::Exists { path, watch: *watch }),
            Read::Children { path, watch } => {
                act(&Request::GetChildren { path, watch: *watch, with_stat: true })
            }
            Read::Filtered { path, filter, watch } => {
                act(&Request::FilteredList { path, filter: *filter, watch: *watch })
            }
            Read::Many(parts) => act(&Request::MultiRead(parts.iter().map(read_op).collect())),
            Read::Ephemerals { prefix } => act(&Request::GetEphemerals { prefix: prefix.as_deref() }),
            Read::Descendants { path } => act(&Request::GetAllChildrenNumber { path }),
            Read::AddWatch { path, is_recursive: true } => {
                act(&Request::AddWatch { path, mode: AddWatchMode::PersistentRecursive })
            }
            Read::AddWatch { path, is_recursive: false } => {
                act(&Request::AddWatch { path, mode: AddWatchMode::Persistent })
            }
            Read::CheckWatches { path, which } => act(&Request::CheckWatches { path, watches: *which }),
            Read::RemoveWatches { path, which } => act(&Request::RemoveWatches { path, watches: *which }),
            Read::Resume(resume) => act(&Request::SetWatches(SetWatches {
                relative_zxid: resume.relative_zxid,
                data: borrowed(&resume.data),
                exist: borrowed(&resume.exist),
                child: borrowed(&resume.child),
                persistent: borrowed(&resume.persistent),
                persistent_recursive: borrowed(&resume.recursive),
            })),
        }
    }
}

fn read_op(part: &Part) -> ReadOp<'_> {
    match part {
        Part::Data(path) => ReadOp::GetData { path },
        Part::Children(path) => ReadOp::GetChildren { path },
    }
}

/// Everything before the last slash.
pub fn parent_of(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some(("", _)) | None => "/",
        Some((parent, _)) => parent,
    }
}

/// True for a path and everything below it.
pub fn is_at_or_below(path: &str, of: &str) -> bool {
    path.strip_prefix(of).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
