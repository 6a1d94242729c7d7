//! The operations that ClickHouse Keeper has beyond ZooKeeper's, as its clients send them. Its FilteredList is a
//! `getChildren`, its CreateIfNotExists a `create`; these are the others.

use bytes::{BufMut, BytesMut};

use super::writer::{put_stat, put_str};
use super::{DecodeError, OpCode, Reader, Stat};

wire_enum! {
    /// Which children a FilteredList is to give.
    pub enum ListFilter, "kind of children" {
        /// all
        All = 0,
        /// those that no session takes along
        Persistent = 1,
        /// those that go with a session
        Ephemeral = 2,
    }
}

/// What the leader has to decide, alone or in a multi.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeeperOp<'a> {
    /// CheckNotExists: fails with NODEEXISTS
    CheckNotExists {
        /// the znode
        path: &'a str,
        /// the version it must not have; -1 is any
        version: i32,
    },
    /// CheckStat: a check of more than the version
    CheckStat {
        /// the znode
        path: &'a str,
        /// the version it must have; -1 is any
        version: i32,
        /// what else it must have, each field by itself; -1 is any
        stat: Stat,
    },
    /// RemoveRecursive: deletes a znode and all below it
    RemoveRecursive {
        /// the znode
        path: &'a str,
        /// NOTEMPTY if there are more, the znode included
        znodes_max: u32,
    },
}

impl<'a> KeeperOp<'a> {
    /// The operation code it travels under.
    pub fn code(&self) -> OpCode {
        match self {
            KeeperOp::CheckNotExists { .. } => OpCode::CheckNotExists,
            KeeperOp::CheckStat { .. } => OpCode::CheckStat,
            KeeperOp::RemoveRecursive { .. } => OpCode::RemoveRecursive,
        }
    }

    /// The znode.
    pub fn path(&self) -> &'a str {
        match self {
            KeeperOp::CheckNotExists { path, .. }
            | KeeperOp::CheckStat { path, .. }
            | KeeperOp::RemoveRecursive { path, .. } => path,
        }
    }

    /// The same of another znode.
    pub fn with_path<'p>(&self, path: &'p str) -> KeeperOp<'p> {
        match *self {
            KeeperOp::CheckNotExists { version, .. } => KeeperOp::CheckNotExists { path, version },
            KeeperOp::CheckStat { version, stat, .. } => KeeperOp::CheckStat { path, version, stat },
            KeeperOp::RemoveRecursive { znodes_max, .. } => KeeperOp::RemoveRecursive { path, znodes_max },
        }
    }

    /// Reads what follows the header of an operation with this code.
    pub(super) fn decode(reader: &mut Reader<'a>, code: OpCode) -> Result<KeeperOp<'a>, DecodeError> {
        let (path, number) = (reader.str()?, reader.i32()?);
        match code {
            OpCode::CheckNotExists => Ok(KeeperOp::CheckNotExists { path, version: number }),
            OpCode::CheckStat => Ok(KeeperOp::CheckStat { path, version: number, stat: reader.stat()? }),
            OpCode::RemoveRecursive => Ok(KeeperOp::RemoveRecursive { path, znodes_max: number as u32 }),
            _ => Err(DecodeError::UnknownCode { what: "operation of ClickHouse Keeper", code: code as i32 }),
        }
    }

    /// Appends all but the header.
    pub(super) fn encode(&self, out: &mut BytesMut) {
        put_str(out, self.path());
        match self {
            KeeperOp::CheckNotExists { version, .. } => out.put_i32(*version),
            KeeperOp::CheckStat { version, stat, .. } => {
                out.put_i32(*version);
                put_stat(out, stat);
            }
            KeeperOp::RemoveRecursive { znodes_max, .. } => out.put_u32(*znodes_max),
        }
    }
}
