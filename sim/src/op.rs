//! What a client can ask for.

use std::fmt;

use zabra::ids::Zxid;
use zabra::jute::{
    Acl, AddWatchMode, Create, CreateMode, CreateOp, MultiOp, ReadOp, Request, SetWatches, WatcherType,
};

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
    Multi(Vec<Op>),
    Sync,
    Close,
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
            Op::Multi(ops) => act(&Request::Multi(ops.iter().map(part).collect())),
            Op::Sync => act(&Request::Sync { path: Some("/") }),
            Op::Close => act(&Request::CloseSession),
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

fn part(op: &Op) -> MultiOp<'_> {
    match op {
        Op::Create { path, data, mode, ttl_ms } => MultiOp::Create(create(path, data, *mode, *ttl_ms)),
        Op::Delete { path, version } => MultiOp::Delete { path, version: *version },
        Op::Set { path, data, version } => {
            MultiOp::SetData { path, data: Some(data.as_bytes()), version: *version }
        }
        Op::Check { path, version } => MultiOp::Check { path, version: *version },
        Op::SetAcl { .. } | Op::Multi(_) | Op::Sync | Op::Close => panic!("not in a multi: {op:?}"),
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
            Op::Multi(ops) => {
                let ops: Vec<String> = ops.iter().map(Op::to_string).collect();
                write!(f, "multi [{}]", ops.join(", "))
            }
            Op::Sync => f.write_str("sync"),
            Op::Close => f.write_str("close"),
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
