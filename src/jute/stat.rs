//! What is known of a znode beside its content.

use crate::ids::{SessionId, Zxid};

/// What `Stat` tells of a znode, field for field as on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Stat {
    /// the transaction that created the znode
    pub czxid: Zxid,
    /// the transaction that last set its data
    pub mzxid: Zxid,
    /// when it was created, wall clock of the leader, ms since 1970
    pub ctime_ms: i64,
    /// when its data was last set, likewise
    pub mtime_ms: i64,
    /// changes of the data
    pub version: i32,
    /// changes of the children: creations and deletions
    pub cversion: i32,
    /// changes of the ACL
    pub aversion: i32,
    /// the session of an ephemeral; 0 if it is none
    pub ephemeral_owner: SessionId,
    /// bytes of data
    pub data_length: i32,
    /// children
    pub num_children: i32,
    /// the transaction that last created or deleted a child
    pub pzxid: Zxid,
}

impl Stat {
    /// Its size on the wire.
    pub const WIRE_BYTES: usize = 6 * 8 + 5 * 4;
}
