//! A number for the whole content of a tree, equal on all servers after the same transaction.
//!
//! The digest is the sum, modulo 2^64, of two hashes for each znode, so that a change costs the hashes of what it
//! changed and no order matters. Both are XXH3-64 (seed 0) of these bytes, all numbers little endian:
//!
//! ```text
//! content  01  czxid u64  ctime_ms i64  mzxid u64  mtime_ms i64  version i32  ephemeral_owner u64
//!              length of the data u64, 2^64 - 1 if it is null  XXH3-64 of the data u64  path
//! family   02  pzxid u64  created_children i32  aversion i32  XXH3-64 of the ACL u64  path
//! ACL      for each entry: perms i32, scheme, id; each text as its length u32 and its bytes
//! ```
//!
//! `created_children` counts creations only; what a client sees as `cversion` follows from it and the number of
//! children. The bytes are a contract between servers of different versions: they change only with the version of
//! the protocol between servers and of the snapshots.

use xxhash_rust::xxh3::xxh3_64;

use super::acl_table::Access;
use super::blob::Blob;
use super::slab::{Family, Node};
use crate::jute::Acl;

/// What setData changes. `blob` is the node's.
pub(super) fn of_content(scratch: &mut Vec<u8>, path: &str, node: &Node, blob: &Blob<'_>) -> u64 {
    let (change, data) = (node.change(blob), blob.data());
    scratch.clear();
    scratch.push(1);
    scratch.extend_from_slice(&node.czxid.0.to_le_bytes());
    scratch.extend_from_slice(&node.ctime_ms.to_le_bytes());
    scratch.extend_from_slice(&change.zxid.0.to_le_bytes());
    scratch.extend_from_slice(&change.time_ms.to_le_bytes());
    scratch.extend_from_slice(&change.version.to_le_bytes());
    scratch.extend_from_slice(&blob.owner().0.to_le_bytes());
    let length = data.map_or(u64::MAX, |data| data.len() as u64);
    scratch.extend_from_slice(&length.to_le_bytes());
    scratch.extend_from_slice(&xxh3_64(data.unwrap_or_default()).to_le_bytes());
    scratch.extend_from_slice(path.as_bytes());
    xxh3_64(scratch)
}

/// What setACL and the coming and going of children change: apart, so that a create under a big parent does not
/// hash the parent's data.
pub(super) fn of_family(scratch: &mut Vec<u8>, path: &str, family: Family, access: &Access) -> u64 {
    scratch.clear();
    scratch.push(2);
    scratch.extend_from_slice(&family.pzxid.0.to_le_bytes());
    scratch.extend_from_slice(&family.created_children.to_le_bytes());
    scratch.extend_from_slice(&access.aversion.to_le_bytes());
    scratch.extend_from_slice(&access.acl_digest.to_le_bytes());
    scratch.extend_from_slice(path.as_bytes());
    xxh3_64(scratch)
}

/// Of an access control list.
pub(super) fn of_acl(acl: &[Acl]) -> u64 {
    let mut bytes = Vec::new();
    for entry in acl {
        bytes.extend_from_slice(&entry.perms.to_le_bytes());
        for text in [&entry.id.scheme, &entry.id.id] {
            bytes.extend_from_slice(&(text.len() as u32).to_le_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
    }
    xxh3_64(&bytes)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::Tree;
    use crate::ids::{SessionId, Zxid};
    use crate::txn::{Acl, Op, Ops, Txn, txn::Body};

    /// If this fails, servers of this version will not agree with those of the last.
    #[test]
    fn the_digest_never_changes_from_version_to_version() {
        let mut tree = Tree::new(1);
        assert_eq!(tree.digest(), 0x7740_05cc_01e3_ace6);
        let acl = vec![Acl { perms: 31, scheme: "digest".into(), id: "me:x".into() }];
        let ops = vec![Op::create("/a".into(), Bytes::from(vec![b'x'; 300]), acl, SessionId(5), 1)];
        let txn = Txn { time_ms: 1000, body: Some(Body::Ops(Ops { ops })), ..Txn::default() };
        tree.apply(Zxid(1), &txn).expect("it fits");
        assert_eq!(tree.digest(), 0x69f2_594b_10f8_663c);
    }

    #[test]
    fn the_seed_of_the_index_has_no_part_in_it() {
        assert_eq!(Tree::new(1).digest(), Tree::new(2).digest());
    }
}
