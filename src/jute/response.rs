//! Responses.

use bytes::{BufMut, Bytes, BytesMut};

use super::multi::{decode_multi_results, decode_read_results, encode_multi_results, encode_read_results};
use super::writer::{put_acl, put_count, put_nullable_buffer, put_stat, put_str, put_strs};
use super::{Acl, AuthId, DecodeError, MultiResult, OpCode, ReadResult, Reader, Stat};

/// The answer to a request that succeeded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Response {
    /// no record: delete, check, closeSession, auth, ping, all that is done to watches but addWatch
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
    /// getData, reconfig
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
    /// addWatch: a code of its own, always 0
    WatchAdded,
    /// multiRead: one result an operation
    MultiRead(Vec<ReadResult>),
    /// getEphemerals: whole paths
    Ephemerals(Vec<String>),
    /// getAllChildrenNumber
    AllChildrenNumber(i32),
    /// sasl; null where there is nothing to say
    Sasl {
        /// what the server's mechanism says
        token: Option<Bytes>,
    },
    /// whoAmI: schemes, and who the client is there
    WhoAmI(Vec<AuthId>),
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
        Response::WatchAdded => out.put_i32(0),
        Response::MultiRead(results) => encode_read_results(results, out),
        Response::Ephemerals(paths) => put_strs(out, paths),
        Response::AllChildrenNumber(number) => out.put_i32(*number),
        Response::Sasl { token } => put_nullable_buffer(out, token.as_deref()),
        Response::WhoAmI(users) => {
            put_count(out, users.len());
            for user in users {
                put_str(out, &user.scheme);
                put_str(out, &user.id);
            }
        }
    }
}

/// Reads the response to a request with `op` whose reply header tells no error. Data is copied, so that whoever keeps
/// it does not keep a whole read buffer alive.
pub fn decode_response(op: i32, body: &[u8]) -> Result<Response, DecodeError> {
    let mut reader = Reader::new(body);
    Ok(match OpCode::try_from(op)? {
        OpCode::Create | OpCode::CreateIfNotExists => Response::Create { path: reader.str()?.to_owned() },
        OpCode::Create2 | OpCode::CreateContainer | OpCode::CreateTtl => {
            Response::Create2 { path: reader.str()?.to_owned(), stat: reader.stat()? }
        }
        OpCode::SetData | OpCode::SetAcl | OpCode::Exists => Response::Stat(reader.stat()?),
        OpCode::Sync => Response::Sync { path: reader.nullable_str()?.map(str::to_owned) },
        OpCode::GetData | OpCode::Reconfig => Response::Data {
            data: reader.nullable_buffer()?.map(Bytes::copy_from_slice),
            stat: reader.stat()?,
        },
        OpCode::GetAcl => {
            Response::Acl { acl: reader.nullable_acl()?.unwrap_or_default(), stat: reader.stat()? }
        }
        OpCode::GetChildren => Response::Children { children: reader.names()?, stat: None },
        OpCode::GetChildren2 | OpCode::FilteredList => {
            Response::Children { children: reader.names()?, stat: Some(reader.stat()?) }
        }
        OpCode::Multi => Response::Multi(decode_multi_results(&mut reader)?),
        OpCode::AddWatch => {
            let _always_zero = reader.i32()?;
            Response::WatchAdded
        }
        OpCode::MultiRead => Response::MultiRead(decode_read_results(&mut reader)?),
        OpCode::GetEphemerals => Response::Ephemerals(reader.names()?),
        OpCode::GetAllChildrenNumber => Response::AllChildrenNumber(reader.i32()?),
        OpCode::Sasl => Response::Sasl { token: reader.nullable_buffer()?.map(Bytes::copy_from_slice) },
        OpCode::WhoAmI => Response::WhoAmI(reader.vector(8, |reader| {
            Ok(AuthId { scheme: reader.str()?.to_owned(), id: reader.str()?.to_owned() })
        })?),
        _ => Response::Empty,
    })
}
