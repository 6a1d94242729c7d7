//! What a client can ask for.

use std::fmt;

use zabra::ids::Zxid;
use zabra::jute::{Acl, Create, CreateMode, CreateOp, MultiOp, Request, SetWatches};

/// The version that stands for any.
pub const ANY: i32 = -1;

/// A request that the leader decides.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Op {
    Create {
        path: String,
        data: String,
        mode: CreateMode,
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
        Op::Create { path: path.into(), data: data.into(), mode: CreateMode::Persistent }
    }

    pub fn set(path: impl Into<String>, data: impl Into<String>) -> Op {
        Op::Set { path: path.into(), data: data.into(), version: ANY }
    }

    /// A sequential create is answered without a `Stat`, every other with one, so that both kinds occur.
    fn is_create2(mode: CreateMode) -> bool {
        !mode.is_sequential()
    }

    /// As the protocol has it.
    pub fn with_request<T>(&self, act: impl FnOnce(&Request<'_>) -> T) -> T {
        match self {
            Op::Create { path, data, mode } => act(&Request::Create(create(path, data, *mode))),
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

fn create<'a>(path: &'a str, data: &'a str, mode: CreateMode) -> Create<'a> {
    let op = if Op::is_create2(mode) { CreateOp::Create2 } else { CreateOp::Create };
    Create { path, data: Some(data.as_bytes()), acl: Acl::open(), flags: mode as i32, op }
}

fn part(op: &Op) -> MultiOp<'_> {
    match op {
        Op::Create { path, data, mode } => MultiOp::Create(create(path, data, *mode)),
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
    /// the watches that the client had on an older connection
    Resume(Resume),
}

/// The lists of a `setWatches`.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Resume {
    pub data: Vec<String>,
    pub exist: Vec<String>,
    pub child: Vec<String>,
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
            Read::Resume(resume) => act(&Request::SetWatches(SetWatches {
                relative_zxid: resume.relative_zxid,
                data: borrowed(&resume.data),
                exist: borrowed(&resume.exist),
                child: borrowed(&resume.child),
                ..SetWatches::default()
            })),
        }
    }
}

/// Everything before the last slash.
pub fn parent_of(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some(("", _)) | None => "/",
        Some((parent, _)) => parent,
    }
}
