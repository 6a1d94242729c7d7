//! Responses.

use bytes::{Bytes, BytesMut};

use super::multi::{decode_multi_results, encode_multi_results};
use super::writer::{put_acl, put_nullable_buffer, put_stat, put_str, put_strs};
use super::{Acl, DecodeError, MultiResult, OpCode, Reader, Stat};

/// The answer to a request that succeeded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Response {
    /// no record: delete, check, closeSession, auth, setWatches, ping
    Empty,
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
    /// setData, setACL, exists
    Stat(Stat),
    /// sync
    Sync {
        /// as the client sent it
        path: Option<String>,
    },
    /// getData
    Data {
        /// the content; null is not the same as empty
        data: Option<Bytes>,
        /// of the znode
        stat: Stat,
    },
    /// getACL
    Acl {
        /// the list
        acl: Vec<Acl>,
        /// of the znode
        stat: Stat,
    },
    /// getChildren, getChildren2
    Children {
        /// names without the parent's path
        children: Vec<String>,
        /// getChildren2: of the parent
        stat: Option<Stat>,
    },
    /// multi: one result an operation
    Multi(Vec<MultiResult>),
}

/// Appends the content of `response`, without a header.
pub fn encode_response(response: &Response, out: &mut BytesMut) {
    match response {
        Response::Empty => {}
        Response::Create { path } => put_str(out, path),
        Response::Sync { path } => put_nullable_buffer(out, path.as_deref().map(str::as_bytes)),
        Response::Create2 { path, stat } => {
            put_str(out, path);
            put_stat(out, stat);
        }
        Response::Stat(stat) => put_stat(out, stat),
        Response::Data { data, stat } => {
            put_nullable_buffer(out, data.as_deref());
            put_stat(out, stat);
        }
        Response::Acl { acl, stat } => {
            put_acl(out, acl);
            put_stat(out, stat);
        }
        Response::Children { children, stat } => {
            put_strs(out, children);
            if let Some(stat) = stat {
                put_stat(out, stat);
            }
        }
        Response::Multi(results) => encode_multi_results(results, out),
    }
}

/// Reads the response to a request with `op` whose reply header tells no error. Data is copied, so that whoever keeps
/// it does not keep a whole read buffer alive.
pub fn decode_response(op: i32, body: &[u8]) -> Result<Response, DecodeError> {
    let mut reader = Reader::new(body);
    Ok(match OpCode::try_from(op)? {
        OpCode::Create => Response::Create { path: reader.str()?.to_owned() },
        OpCode::Create2 | OpCode::CreateContainer | OpCode::CreateTtl => {
            Response::Create2 { path: reader.str()?.to_owned(), stat: reader.stat()? }
        }
        OpCode::SetData | OpCode::SetAcl | OpCode::Exists => Response::Stat(reader.stat()?),
        OpCode::Sync => Response::Sync { path: reader.nullable_str()?.map(str::to_owned) },
        OpCode::GetData => Response::Data {
            data: reader.nullable_buffer()?.map(Bytes::copy_from_slice),
            stat: reader.stat()?,
        },
        OpCode::GetAcl => {
            Response::Acl { acl: reader.nullable_acl()?.unwrap_or_default(), stat: reader.stat()? }
        }
        OpCode::GetChildren => Response::Children { children: names(&mut reader)?, stat: None },
        OpCode::GetChildren2 => {
            Response::Children { children: names(&mut reader)?, stat: Some(reader.stat()?) }
        }
        OpCode::Multi => Response::Multi(decode_multi_results(&mut reader)?),
        _ => Response::Empty,
    })
}

/// The names of a list of children.
fn names(reader: &mut Reader<'_>) -> Result<Vec<String>, DecodeError> {
    reader.vector(4, |reader| Ok(reader.str()?.to_owned()))
}
