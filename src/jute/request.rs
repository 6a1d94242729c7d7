//! Requests.

use bytes::{BufMut, BytesMut};

use super::multi::{ReadOp, decode_multi, decode_multi_read, encode_multi, encode_multi_read};
use super::writer::{put_acl, put_bool, put_buffer, put_nullable_buffer, put_str, put_strs};
use super::{
    Acl, AddWatchMode, DecodeError, KeeperOp, ListFilter, MultiOp, OpCode, Reader, WatcherType, frame,
};
use crate::ids::{Xid, Zxid};

/// What stands before every request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RequestHeader {
    /// given back in the reply
    pub xid: Xid,
    /// an [`OpCode`], if it is known
    pub op: i32,
}

impl RequestHeader {
    /// Its size on the wire.
    pub const WIRE_BYTES: usize = 8;

    /// Reads the header; the request follows.
    pub fn decode(reader: &mut Reader<'_>) -> Result<RequestHeader, DecodeError> {
        Ok(RequestHeader { xid: reader.i32()?, op: reader.i32()? })
    }

    /// Appends the header.
    pub fn encode(self, out: &mut BytesMut) {
        out.put_i32(self.xid);
        out.put_i32(self.op);
    }
}

/// A decoded request. Text and data point into the frame they came in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request<'a> {
    /// create, create2, createContainer, createTTL
    Create(Create<'a>),
    /// delete; version -1 is any
    Delete {
        /// the znode
        path: &'a str,
        /// the version it must have
        version: i32,
    },
    /// exists
    Exists {
        /// the znode
        path: &'a str,
        /// leave a watch
        watch: bool,
    },
    /// getData
    GetData {
        /// the znode
        path: &'a str,
        /// leave a watch
        watch: bool,
    },
    /// setData; version -1 is any
    SetData {
        /// the znode
        path: &'a str,
        /// the new content; null is not the same as empty
        data: Option<&'a [u8]>,
        /// the version it must have
        version: i32,
    },
    /// getACL
    GetAcl {
        /// the znode
        path: &'a str,
    },
    /// setACL; version -1 is any
    SetAcl {
        /// the znode
        path: &'a str,
        /// the new list
        acl: Vec<Acl>,
        /// the ACL version it must have
        version: i32,
    },
    /// getChildren, getChildren2
    GetChildren {
        /// the parent
        path: &'a str,
        /// leave a watch
        watch: bool,
        /// getChildren2: answer with the parent's Stat as well
        with_stat: bool,
    },
    /// sync
    Sync {
        /// given back in the answer; it may be null
        path: Option<&'a str>,
    },
    /// check: the version of a znode, in a multi
    Check {
        /// the znode
        path: &'a str,
        /// the version it must have; -1 is any
        version: i32,
    },
    /// multi: all or nothing
    Multi(Vec<MultiOp<'a>>),
    /// auth
    Auth {
        /// `digest`, `ip` ...
        scheme: &'a str,
        /// credentials
        auth: &'a [u8],
    },
    /// sasl
    Sasl {
        /// what the client's mechanism says
        token: &'a [u8],
    },
    /// setWatches, setWatches2
    SetWatches(SetWatches<'a>),
    /// addWatch
    AddWatch {
        /// the znode, which need not be there
        path: &'a str,
        /// what the watch is told
        mode: AddWatchMode,
    },
    /// reconfig: other servers
    Reconfig(Reconfig<'a>),
    /// checkWatches
    CheckWatches {
        /// the znode
        path: &'a str,
        /// which watches
        watches: WatcherType,
    },
    /// removeWatches
    RemoveWatches {
        /// the znode
        path: &'a str,
        /// which watches
        watches: WatcherType,
    },
    /// multiRead: every operation succeeds or fails by itself
    MultiRead(Vec<ReadOp<'a>>),
    /// getEphemerals: of the session that asks
    GetEphemerals {
        /// what their paths begin with; null, blank and `/` are any
        prefix: Option<&'a str>,
    },
    /// getAllChildrenNumber
    GetAllChildrenNumber {
        /// the znode whose descendants are counted
        path: &'a str,
    },
    /// whoAmI
    WhoAmI,
    /// FilteredList of ClickHouse Keeper: answered as getChildren2
    FilteredList {
        /// the parent
        path: &'a str,
        /// leave a watch
        watch: bool,
        /// which children
        filter: ListFilter,
    },
    /// a write, or a check, of ClickHouse Keeper
    Keeper(KeeperOp<'a>),
    /// ping
    Ping,
    /// closeSession
    CloseSession,
    /// an operation code that this server does not offer
    Unimplemented {
        /// as it came
        op: i32,
    },
}

/// The content of a create.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Create<'a> {
    /// the znode, or the beginning of its name if sequential
    pub path: &'a str,
    /// its content; null is not the same as empty
    pub data: Option<&'a [u8]>,
    /// who may do what with it
    pub acl: Vec<Acl>,
    /// the raw flags; not every number is a [`CreateMode`](super::CreateMode)
    pub flags: i32,
    /// which of the operations it is
    pub op: CreateOp,
}

/// How the servers of the ensemble are to change. Null is not the same as empty.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reconfig<'a> {
    /// `server.N=...` with commas between them
    pub joining: Option<&'a str>,
    /// ids with commas between them
    pub leaving: Option<&'a str>,
    /// all servers, as lines or with commas between them: the other two do not count then
    pub members: Option<&'a str>,
    /// the version that the configuration must have, which is a zxid; -1 is any
    pub version: i64,
}

impl<'a> Reconfig<'a> {
    /// Whatever version the configuration has.
    pub const ANY_VERSION: i64 = -1;

    fn decode(reader: &mut Reader<'a>) -> Result<Reconfig<'a>, DecodeError> {
        Ok(Reconfig {
            joining: reader.nullable_str()?,
            leaving: reader.nullable_str()?,
            members: reader.nullable_str()?,
            version: reader.i64()?,
        })
    }
}

/// Which operation makes a znode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CreateOp {
    /// create
    Create,
    /// create2: answered with the Stat as well
    Create2,
    /// createContainer: so is this, and it makes a container whatever the flags
    Container,
    /// CreateIfNotExists of ClickHouse Keeper: a znode that is there is as good as a new one
    IfNotExists,
    /// createTTL: the same for a time to live
    Ttl {
        /// ms
        ttl_ms: i64,
    },
}

/// The watches a client still has after it reconnected.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct SetWatches<'a> {
    /// the last zxid the client saw
    pub relative_zxid: Zxid,
    /// data watches on existing znodes
    pub data: Vec<&'a str>,
    /// watches for a znode to appear
    pub exist: Vec<&'a str>,
    /// child watches
    pub child: Vec<&'a str>,
    /// setWatches2: of `addWatch`
    pub persistent: Vec<&'a str>,
    /// setWatches2: of `addWatch`
    pub persistent_recursive: Vec<&'a str>,
}

impl Request<'_> {
    /// The operation code it travels under.
    pub fn op(&self) -> i32 {
        let op = match self {
            Request::Create(create) => create.op_code(),
            Request::Delete { .. } => OpCode::Delete,
            Request::Exists { .. } => OpCode::Exists,
            Request::GetData { .. } => OpCode::GetData,
            Request::SetData { .. } => OpCode::SetData,
            Request::GetAcl { .. } => OpCode::GetAcl,
            Request::SetAcl { .. } => OpCode::SetAcl,
            Request::GetChildren { with_stat: false, .. } => OpCode::GetChildren,
            Request::GetChildren { with_stat: true, .. } => OpCode::GetChildren2,
            Request::Sync { .. } => OpCode::Sync,
            Request::Check { .. } => OpCode::Check,
            Request::Multi(_) => OpCode::Multi,
            Request::Auth { .. } => OpCode::Auth,
            Request::Sasl { .. } => OpCode::Sasl,
            Request::SetWatches(watches) => watches.op(),
            Request::AddWatch { .. } => OpCode::AddWatch,
            Request::Reconfig(_) => OpCode::Reconfig,
            Request::CheckWatches { .. } => OpCode::CheckWatches,
            Request::RemoveWatches { .. } => OpCode::RemoveWatches,
            Request::MultiRead(_) => OpCode::MultiRead,
            Request::GetEphemerals { .. } => OpCode::GetEphemerals,
            Request::GetAllChildrenNumber { .. } => OpCode::GetAllChildrenNumber,
            Request::WhoAmI => OpCode::WhoAmI,
            Request::FilteredList { .. } => OpCode::FilteredList,
            Request::Keeper(op) => op.code(),
            Request::Ping => OpCode::Ping,
            Request::CloseSession => OpCode::CloseSession,
            Request::Unimplemented { op } => return *op,
        };
        op as i32
    }
}

impl<'a> Create<'a> {
    /// The operation code it travels under.
    pub(super) fn op_code(&self) -> OpCode {
        match self.op {
            CreateOp::Create => OpCode::Create,
            CreateOp::Create2 => OpCode::Create2,
            CreateOp::Container => OpCode::CreateContainer,
            CreateOp::IfNotExists => OpCode::CreateIfNotExists,
            CreateOp::Ttl { .. } => OpCode::CreateTtl,
        }
    }

    /// True if the Stat is in the answer.
    pub fn with_stat(&self) -> bool {
        !matches!(self.op, CreateOp::Create | CreateOp::IfNotExists)
    }

    /// Reads what follows the header of a create with this code. A null list is one that is refused as INVALIDACL; in a
    /// multi it cannot be read, in ZooKeeper too.
    pub(super) fn decode(
        reader: &mut Reader<'a>,
        code: OpCode,
        in_multi: bool,
    ) -> Result<Create<'a>, DecodeError> {
        let (path, data) = (reader.str()?, reader.nullable_buffer()?);
        let acl = match reader.nullable_acl()? {
            None if in_multi => return Err(DecodeError::Null),
            acl => acl.unwrap_or_default(),
        };
        let flags = reader.i32()?;
        let op = match code {
            OpCode::Create => CreateOp::Create,
            OpCode::Create2 => CreateOp::Create2,
            OpCode::CreateContainer => CreateOp::Container,
            OpCode::CreateIfNotExists => CreateOp::IfNotExists,
            OpCode::CreateTtl => CreateOp::Ttl { ttl_ms: reader.i64()? },
            _ => return Err(DecodeError::UnknownCode { what: "create", code: code as i32 }),
        };
        Ok(Create { path, data, acl, flags, op })
    }

    /// Appends all but the header.
    pub(super) fn encode(&self, out: &mut BytesMut) {
        put_str(out, self.path);
        put_nullable_buffer(out, self.data);
        put_acl(out, &self.acl);
        out.put_i32(self.flags);
        if let CreateOp::Ttl { ttl_ms } = self.op {
            out.put_i64(ttl_ms);
        }
    }
}

impl<'a> SetWatches<'a> {
    /// How many there are.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        let lists = [&self.data, &self.exist, &self.child, &self.persistent, &self.persistent_recursive];
        lists.into_iter().map(Vec::len).sum()
    }

    /// The older operation, as long as it can say everything.
    fn op(&self) -> OpCode {
        let is_old = self.persistent.is_empty() && self.persistent_recursive.is_empty();
        if is_old { OpCode::SetWatches } else { OpCode::SetWatches2 }
    }

    fn decode(reader: &mut Reader<'a>, op: OpCode) -> Result<SetWatches<'a>, DecodeError> {
        let mut watches = SetWatches {
            relative_zxid: reader.zxid()?,
            data: reader.strs()?,
            exist: reader.strs()?,
            child: reader.strs()?,
            ..SetWatches::default()
        };
        if op == OpCode::SetWatches2 {
            watches.persistent = reader.strs()?;
            watches.persistent_recursive = reader.strs()?;
        }
        Ok(watches)
    }

    fn encode(&self, out: &mut BytesMut) {
        out.put_u64(self.relative_zxid.0);
        put_strs(out, &self.data);
        put_strs(out, &self.exist);
        put_strs(out, &self.child);
        if self.op() == OpCode::SetWatches2 {
            put_strs(out, &self.persistent);
            put_strs(out, &self.persistent_recursive);
        }
    }
}

/// The path of an operation for which ZooKeeper validates it before anything else, so that null is as invalid as empty,
/// or not at all, so that a watch on it is as good as one on the empty path, which never fires. Elsewhere null is malformed.
fn nullable_path<'a>(reader: &mut Reader<'a>) -> Result<&'a str, DecodeError> {
    Ok(reader.nullable_str()?.unwrap_or_default())
}

/// Reads the request that follows a header with `op`. Bytes after it are passed over, as ZooKeeper does.
pub fn decode_request(op: i32, body: &[u8]) -> Result<Request<'_>, DecodeError> {
    let Ok(known) = OpCode::try_from(op) else {
        return Ok(Request::Unimplemented { op });
    };
    let mut reader = Reader::new(body);
    Ok(match known {
        OpCode::Create
        | OpCode::Create2
        | OpCode::CreateContainer
        | OpCode::CreateTtl
        | OpCode::CreateIfNotExists => Request::Create(Create::decode(&mut reader, known, false)?),
        OpCode::Delete => Request::Delete { path: reader.str()?, version: reader.i32()? },
        OpCode::Exists => Request::Exists { path: reader.str()?, watch: reader.bool()? },
        OpCode::GetData => Request::GetData { path: reader.str()?, watch: reader.bool()? },
        OpCode::SetData => Request::SetData {
            path: nullable_path(&mut reader)?,
            data: reader.nullable_buffer()?,
            version: reader.i32()?,
        },
        OpCode::GetAcl => Request::GetAcl { path: reader.str()? },
        OpCode::SetAcl => Request::SetAcl {
            path: nullable_path(&mut reader)?,
            acl: reader.nullable_acl()?.unwrap_or_default(),
            version: reader.i32()?,
        },
        OpCode::GetChildren => {
            Request::GetChildren { path: reader.str()?, watch: reader.bool()?, with_stat: false }
        }
        OpCode::GetChildren2 => {
            Request::GetChildren { path: reader.str()?, watch: reader.bool()?, with_stat: true }
        }
        OpCode::Sync => Request::Sync { path: reader.nullable_str()? },
        OpCode::Check => Request::Check { path: nullable_path(&mut reader)?, version: reader.i32()? },
        OpCode::Multi => Request::Multi(decode_multi(&mut reader)?),
        OpCode::Auth => {
            let _type = reader.i32()?;
            Request::Auth { scheme: reader.nullable_str()?.unwrap_or_default(), auth: reader.buffer()? }
        }
        OpCode::Sasl => Request::Sasl { token: reader.nullable_buffer()?.ok_or(DecodeError::Null)? },
        OpCode::SetWatches | OpCode::SetWatches2 => {
            Request::SetWatches(SetWatches::decode(&mut reader, known)?)
        }
        OpCode::AddWatch => {
            Request::AddWatch { path: nullable_path(&mut reader)?, mode: reader.i32()?.try_into()? }
        }
        OpCode::Reconfig => Request::Reconfig(Reconfig::decode(&mut reader)?),
        OpCode::CheckWatches => {
            Request::CheckWatches { path: nullable_path(&mut reader)?, watches: reader.i32()?.try_into()? }
        }
        OpCode::RemoveWatches => {
            Request::RemoveWatches { path: nullable_path(&mut reader)?, watches: reader.i32()?.try_into()? }
        }
        OpCode::MultiRead => Request::MultiRead(decode_multi_read(&mut reader)?),
        OpCode::GetEphemerals => Request::GetEphemerals { prefix: reader.nullable_str()? },
        OpCode::GetAllChildrenNumber => Request::GetAllChildrenNumber { path: reader.str()? },
        OpCode::WhoAmI => Request::WhoAmI,
        OpCode::FilteredList => {
            let (path, watch) = (reader.str()?, reader.bool()?);
            Request::FilteredList { path, watch, filter: i32::from(reader.u8()?).try_into()? }
        }
        OpCode::CheckNotExists | OpCode::CheckStat | OpCode::RemoveRecursive => {
            Request::Keeper(KeeperOp::decode(&mut reader, known)?)
        }
        OpCode::Ping => Request::Ping,
        OpCode::CloseSession => Request::CloseSession,
        _ => Request::Unimplemented { op },
    })
}

/// Appends the content of `request`, without a header.
pub fn encode_request(request: &Request<'_>, out: &mut BytesMut) {
    match request {
        Request::Create(create) => create.encode(out),
        Request::Delete { path, version } | Request::Check { path, version } => {
            put_str(out, path);
            out.put_i32(*version);
        }
        Request::Exists { path, watch }
        | Request::GetData { path, watch }
        | Request::GetChildren { path, watch, .. } => {
            put_str(out, path);
            put_bool(out, *watch);
        }
        Request::SetData { path, data, version } => {
            put_str(out, path);
            put_nullable_buffer(out, *data);
            out.put_i32(*version);
        }
        Request::GetAcl { path } => put_str(out, path),
        Request::Sync { path } => put_nullable_buffer(out, path.map(str::as_bytes)),
        Request::SetAcl { path, acl, version } => {
            put_str(out, path);
            put_acl(out, acl);
            out.put_i32(*version);
        }
        Request::Multi(ops) => encode_multi(ops, out),
        Request::Auth { scheme, auth } => {
            out.put_i32(0);
            put_str(out, scheme);
            put_buffer(out, auth);
        }
        Request::Sasl { token } => put_buffer(out, token),
        Request::SetWatches(watches) => watches.encode(out),
        Request::AddWatch { path, mode } => {
            put_str(out, path);
            out.put_i32(*mode as i32);
        }
        Request::Reconfig(Reconfig { joining, leaving, members, version }) => {
            for text in [joining, leaving, members] {
                put_nullable_buffer(out, text.map(str::as_bytes));
            }
            out.put_i64(*version);
        }
        Request::CheckWatches { path, watches } | Request::RemoveWatches { path, watches } => {
            put_str(out, path);
            out.put_i32(*watches as i32);
        }
        Request::MultiRead(ops) => encode_multi_read(ops, out),
        Request::GetEphemerals { prefix } => put_nullable_buffer(out, prefix.map(str::as_bytes)),
        Request::GetAllChildrenNumber { path } => put_str(out, path),
        Request::FilteredList { path, watch, filter } => {
            put_str(out, path);
            put_bool(out, *watch);
            out.put_u8(*filter as u8);
        }
        Request::Keeper(op) => op.encode(out),
        Request::WhoAmI | Request::Ping | Request::CloseSession | Request::Unimplemented { .. } => {}
    }
}

/// Appends the whole frame of a request: length, header, content.
pub fn encode_request_frame(xid: Xid, request: &Request<'_>, out: &mut BytesMut) {
    frame(out, |out| {
        RequestHeader { xid, op: request.op() }.encode(out);
        encode_request(request, out);
    });
}
