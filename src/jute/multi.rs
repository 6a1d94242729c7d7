//! The operations of a multi and their results. Each stands behind a header: its operation code, "done", an error
//! code. One that is "done" ends the list.

use bytes::{BufMut, BytesMut};

use super::writer::{put_bool, put_nullable_buffer, put_stat, put_str};
use super::{Create, DecodeError, ErrorCode, OpCode, Reader, Stat};

/// The operation code of a failed operation's result.
const OP_ERROR: i32 = -1;

/// One operation of a multi.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MultiOp<'a> {
    /// create, create2
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
    /// the multi failed: this operation's own code, 0 before the failing one, -2 after it
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
            MultiOp::Create(create) => create.op() as i32,
            MultiOp::Delete { .. } => OpCode::Delete as i32,
            MultiOp::SetData { .. } => OpCode::SetData as i32,
            MultiOp::Check { .. } => OpCode::Check as i32,
            MultiOp::Unimplemented { op } => *op,
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
            Ok(OpCode::Create) => MultiOp::Create(decode_create(reader, false)?),
            Ok(OpCode::Create2) => MultiOp::Create(decode_create(reader, true)?),
            Ok(OpCode::Delete) => MultiOp::Delete { path: reader.str()?, version: reader.i32()? },
            Ok(OpCode::SetData) => MultiOp::SetData {
                path: reader.str()?,
                data: reader.nullable_buffer()?,
                version: reader.i32()?,
            },
            Ok(OpCode::Check) => MultiOp::Check { path: reader.str()?, version: reader.i32()? },
            _ => {
                ops.push(MultiOp::Unimplemented { op: header.op });
                return Ok(ops);
            }
        };
        ops.push(op);
    }
}

/// On its own a null list is one that is refused as INVALIDACL; in a multi it cannot be read, in ZooKeeper too.
fn decode_create<'a>(reader: &mut Reader<'a>, with_stat: bool) -> Result<Create<'a>, DecodeError> {
    Ok(Create {
        path: reader.str()?,
        data: reader.nullable_buffer()?,
        acl: reader.nullable_acl()?.ok_or(DecodeError::Null)?,
        flags: reader.i32()?,
        with_stat,
    })
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
            MultiOp::Unimplemented { .. } => {}
        }
    }
    MultiHeader::END.encode(out);
}

/// Reads the results of a multi.
pub(super) fn decode_multi_results(reader: &mut Reader<'_>) -> Result<Vec<MultiResult>, DecodeError> {
    let mut results = Vec::new();
    loop {
        let header = MultiHeader::decode(reader)?;
        if header.done {
            return Ok(results);
        }
        results.push(if header.op == OP_ERROR {
            MultiResult::Error(ErrorCode::try_from(reader.i32()?)?)
        } else {
            match OpCode::try_from(header.op)? {
                OpCode::Create => MultiResult::Create { path: reader.str()?.to_owned() },
                OpCode::Create2 => {
                    MultiResult::Create2 { path: reader.str()?.to_owned(), stat: reader.stat()? }
                }
                OpCode::Delete => MultiResult::Delete,
                OpCode::SetData => MultiResult::SetData(reader.stat()?),
                OpCode::Check => MultiResult::Check,
                _ => return Err(DecodeError::UnknownCode { what: "multi result", code: header.op }),
            }
        });
    }
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
            MultiResult::Error(code) => {
                let err = *code as i32;
                MultiHeader { op: OP_ERROR, done: false, err }.encode(out);
                out.put_i32(err);
            }
        }
    }
    MultiHeader::END.encode(out);
}
