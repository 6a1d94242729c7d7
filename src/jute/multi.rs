//! The operations of a multi or multiRead and their results. Each stands behind a header: its operation code, "done", an error
//! code. One that is "done" ends the list.

use bytes::{BufMut, Bytes, BytesMut};

use super::writer::{put_bool, put_nullable_buffer, put_stat, put_str, put_strs};
use super::{Create, CreateMode, CreateOp, DecodeError, ErrorCode, KeeperOp, OpCode, Reader, Stat};

/// The operation code of a failed operation's result.
const OP_ERROR: i32 = -1;

/// One operation of a multi.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MultiOp<'a> {
    /// create, create2, createContainer, createTTL
    Create(Create<'a>),
    /// delete
    Delete {
        /// the znode
        path: &'a str,
        /// the version it must have; -1 is any
        version: i32,
    },
    /// setData
    SetData {
        /// the znode
        path: &'a str,
        /// the new content; null is not the same as empty
        data: Option<&'a [u8]>,
        /// the version it must have; -1 is any
        version: i32,
    },
    /// check
    Check {
        /// the znode
        path: &'a str,
        /// the version it must have; -1 is any
        version: i32,
    },
    /// of ClickHouse Keeper
    Keeper(KeeperOp<'a>),
    /// an operation code that is not allowed in a multi, or not offered
    Unimplemented {
        /// as it came
        op: i32,
    },
}

/// The result of one operation of a multi.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MultiResult {
    /// create
    Create {
        /// the path with its sequence number
        path: String,
    },
    /// create2
    Create2 {
        /// the path with its sequence number
        path: String,
        /// of the new znode
        stat: Stat,
    },
    /// delete
    Delete,
    /// setData
    SetData(Stat),
    /// check
    Check,
    /// CreateIfNotExists
    CreateIfNotExists {
        /// the path with its sequence number, if it was made
        path: String,
    },
    /// one of ClickHouse Keeper's other operations
    Keeper(OpCode),
    /// the multi failed: this operation's own code, 0 before the failing one, -2 after it
    Error(ErrorCode),
}

/// One operation of a multiRead. On the wire there is a flag for a watch; ZooKeeper passes it over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReadOp<'a> {
    /// getData
    GetData {
        /// the znode
        path: &'a str,
    },
    /// getChildren
    GetChildren {
        /// the parent
        path: &'a str,
    },
}

/// The result of one operation of a multiRead.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ReadResult {
    /// getData
    Data {
        /// the content; null is not the same as empty
        data: Option<Bytes>,
        /// of the znode
        stat: Stat,
    },
    /// getChildren: names without the parent's path
    Children(Vec<String>),
    /// this operation failed
    Error(ErrorCode),
}

/// What stands before every operation and result.
struct MultiHeader {
    op: i32,
    done: bool,
    err: i32,
}

impl MultiHeader {
    /// Ends the list.
    const END: MultiHeader = MultiHeader { op: -1, done: true, err: -1 };

    fn decode(reader: &mut Reader<'_>) -> Result<MultiHeader, DecodeError> {
        Ok(MultiHeader { op: reader.i32()?, done: reader.bool()?, err: reader.i32()? })
    }

    fn encode(&self, out: &mut BytesMut) {
        out.put_i32(self.op);
        put_bool(out, self.done);
        out.put_i32(self.err);
    }
}

impl MultiOp<'_> {
    /// The operation code it travels under.
    pub fn op(&self) -> i32 {
        match self {
            MultiOp::Create(create) => create.op_code() as i32,
            MultiOp::Delete { .. } => OpCode::Delete as i32,
            MultiOp::SetData { .. } => OpCode::SetData as i32,
            MultiOp::Check { .. } => OpCode::Check as i32,
            MultiOp::Keeper(op) => op.code() as i32,
            MultiOp::Unimplemented { op } => *op,
        }
    }
}

impl Create<'_> {
    /// What ZooKeeper makes of it in a multi, where the flags count for more than elsewhere: those of a container make one,
    /// and without those of a time to live it is not looked at.
    fn for_multi(mut self) -> Self {
        let mode = CreateMode::try_from(self.flags);
        self.op = match (self.op, mode) {
            (_, Ok(CreateMode::Container)) => CreateOp::Container,
            (CreateOp::Ttl { .. }, Ok(mode)) if !mode.has_ttl() => CreateOp::Create,
            (op, _) => op,
        };
        self
    }
}

impl ReadOp<'_> {
    fn code(&self) -> OpCode {
        match self {
            ReadOp::GetData { .. } => OpCode::GetData,
            ReadOp::GetChildren { .. } => OpCode::GetChildren,
        }
    }
}

impl ReadResult {
    /// Its size on the wire.
    pub fn wire_bytes(&self) -> usize {
        const HEADER_BYTES: usize = 9;
        HEADER_BYTES
            + match self {
                ReadResult::Data { data, .. } => 4 + data.as_ref().map_or(0, Bytes::len) + Stat::WIRE_BYTES,
                ReadResult::Children(names) => 4 + names.iter().map(|name| 4 + name.len()).sum::<usize>(),
                ReadResult::Error(_) => 4,
            }
    }
}

/// Reads the operations of a multi. The layout of an operation that is not offered may be unknown; the list ends with
/// the first such one, since it makes the multi fail whatever follows.
pub(super) fn decode_multi<'a>(reader: &mut Reader<'a>) -> Result<Vec<MultiOp<'a>>, DecodeError> {
    let mut ops = Vec::new();
    loop {
        let header = MultiHeader::decode(reader)?;
        if header.done {
            return Ok(ops);
        }
        let op = match OpCode::try_from(header.op) {
            Ok(
                code @ (OpCode::Create
                | OpCode::Create2
                | OpCode::CreateContainer
                | OpCode::CreateTtl
                | OpCode::CreateIfNotExists),
            ) => MultiOp::Create(Create::decode(reader, code, true)?.for_multi()),
            Ok(OpCode::Delete) => MultiOp::Delete { path: reader.str()?, version: reader.i32()? },
            Ok(OpCode::SetData) => MultiOp::SetData {
                path: reader.str()?,
                data: reader.nullable_buffer()?,
                version: reader.i32()?,
            },
            Ok(OpCode::Check) => MultiOp::Check { path: reader.str()?, version: reader.i32()? },
            Ok(code @ (OpCode::CheckNotExists | OpCode::CheckStat | OpCode::RemoveRecursive)) => {
                MultiOp::Keeper(KeeperOp::decode(reader, code)?)
            }
            _ => {
                ops.push(MultiOp::Unimplemented { op: header.op });
                return Ok(ops);
            }
        };
        ops.push(op);
    }
}

/// Appends the operations of a multi.
pub(super) fn encode_multi(ops: &[MultiOp<'_>], out: &mut BytesMut) {
    for op in ops {
        MultiHeader { op: op.op(), done: false, err: -1 }.encode(out);
        match op {
            MultiOp::Create(create) => create.encode(out),
            MultiOp::Delete { path, version } | MultiOp::Check { path, version } => {
                put_str(out, path);
                out.put_i32(*version);
            }
            MultiOp::SetData { path, data, version } => {
                put_str(out, path);
                put_nullable_buffer(out, *data);
                out.put_i32(*version);
            }
            MultiOp::Keeper(op) => op.encode(out),
            MultiOp::Unimplemented { .. } => {}
        }
    }
    MultiHeader::END.encode(out);
}

/// Reads the operations of a multiRead. Another operation in it is an error, as in ZooKeeper.
pub(super) fn decode_multi_read<'a>(reader: &mut Reader<'a>) -> Result<Vec<ReadOp<'a>>, DecodeError> {
    let mut ops = Vec::new();
    loop {
        let header = MultiHeader::decode(reader)?;
        if header.done {
            return Ok(ops);
        }
        let op = OpCode::try_from(header.op)?;
        let path = reader.str()?;
        let _watch = reader.bool()?;
        ops.push(match op {
            OpCode::GetData => ReadOp::GetData { path },
            OpCode::GetChildren => ReadOp::GetChildren { path },
            _ => return Err(DecodeError::UnknownCode { what: "operation of a multiRead", code: header.op }),
        });
    }
}

/// Appends the operations of a multiRead.
pub(super) fn encode_multi_read(ops: &[ReadOp<'_>], out: &mut BytesMut) {
    for op in ops {
        let (ReadOp::GetData { path } | ReadOp::GetChildren { path }) = op;
        MultiHeader { op: op.code() as i32, done: false, err: -1 }.encode(out);
        put_str(out, path);
        put_bool(out, false);
    }
    MultiHeader::END.encode(out);
}

/// Reads results up to the one that is "done": failed ones as `failed`, others by `one`, which knows no more than some
/// codes.
fn decode_results<'a, T>(
    reader: &mut Reader<'a>,
    failed: fn(ErrorCode) -> T,
    one: impl Fn(OpCode, &mut Reader<'a>) -> Result<Option<T>, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let mut results = Vec::new();
    loop {
        let header = MultiHeader::decode(reader)?;
        if header.done {
            return Ok(results);
        }
        results.push(if header.op == OP_ERROR {
            failed(ErrorCode::try_from(reader.i32()?)?)
        } else {
            let unknown = DecodeError::UnknownCode { what: "result", code: header.op };
            one(OpCode::try_from(header.op)?, reader)?.ok_or(unknown)?
        });
    }
}

/// Reads the results of a multiRead. Data is copied.
pub(super) fn decode_read_results(reader: &mut Reader<'_>) -> Result<Vec<ReadResult>, DecodeError> {
    decode_results(reader, ReadResult::Error, |op, reader| {
        Ok(Some(match op {
            OpCode::GetData => ReadResult::Data {
                data: reader.nullable_buffer()?.map(Bytes::copy_from_slice),
                stat: reader.stat()?,
            },
            OpCode::GetChildren => ReadResult::Children(reader.names()?),
            _ => return Ok(None),
        }))
    })
}

/// Appends the results of a multiRead.
pub(super) fn encode_read_results(results: &[ReadResult], out: &mut BytesMut) {
    for result in results {
        match result {
            ReadResult::Data { data, stat } => {
                MultiHeader { op: OpCode::GetData as i32, done: false, err: 0 }.encode(out);
                put_nullable_buffer(out, data.as_deref());
                put_stat(out, stat);
            }
            ReadResult::Children(names) => {
                MultiHeader { op: OpCode::GetChildren as i32, done: false, err: 0 }.encode(out);
                put_strs(out, names);
            }
            ReadResult::Error(code) => encode_failed(*code, out),
        }
    }
    MultiHeader::END.encode(out);
}

fn encode_failed(code: ErrorCode, out: &mut BytesMut) {
    let err = code as i32;
    MultiHeader { op: OP_ERROR, done: false, err }.encode(out);
    out.put_i32(err);
}

/// Reads the results of a multi.
pub(super) fn decode_multi_results(reader: &mut Reader<'_>) -> Result<Vec<MultiResult>, DecodeError> {
    decode_results(reader, MultiResult::Error, |op, reader| {
        Ok(Some(match op {
            OpCode::Create => MultiResult::Create { path: reader.str()?.to_owned() },
            OpCode::Create2 | OpCode::CreateContainer | OpCode::CreateTtl => {
                MultiResult::Create2 { path: reader.str()?.to_owned(), stat: reader.stat()? }
            }
            OpCode::Delete => MultiResult::Delete,
            OpCode::SetData => MultiResult::SetData(reader.stat()?),
            OpCode::Check => MultiResult::Check,
            OpCode::CreateIfNotExists => MultiResult::CreateIfNotExists { path: reader.str()?.to_owned() },
            OpCode::CheckNotExists | OpCode::CheckStat | OpCode::RemoveRecursive => MultiResult::Keeper(op),
            _ => return Ok(None),
        }))
    })
}

/// Appends the results of a multi.
pub(super) fn encode_multi_results(results: &[MultiResult], out: &mut BytesMut) {
    let header = |op: OpCode| MultiHeader { op: op as i32, done: false, err: 0 };
    for result in results {
        match result {
            MultiResult::Create { path } => {
                header(OpCode::Create).encode(out);
                put_str(out, path);
            }
            MultiResult::Create2 { path, stat } => {
                header(OpCode::Create2).encode(out);
                put_str(out, path);
                put_stat(out, stat);
            }
            MultiResult::Delete => header(OpCode::Delete).encode(out),
            MultiResult::SetData(stat) => {
                header(OpCode::SetData).encode(out);
                put_stat(out, stat);
            }
            MultiResult::Check => header(OpCode::Check).encode(out),
            MultiResult::CreateIfNotExists { path } => {
                header(OpCode::CreateIfNotExists).encode(out);
                put_str(out, path);
            }
            MultiResult::Keeper(op) => header(*op).encode(out),
            MultiResult::Error(code) => encode_failed(*code, out),
        }
    }
    MultiHeader::END.encode(out);
}
