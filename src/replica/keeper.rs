//! What a client of ClickHouse reads to learn what the server can do. It stands below `/keeper`, in a tree of its own that is
//! made at the start and never changes: it is about this server, and no part of what the servers agree on.

use bytes::Bytes;

use crate::ids::{SessionId, Zxid};
use crate::tree::{Tree, path};
use crate::txn::{Acl, Op, Ops, Txn, txn::Body};

/// The first operation that ClickHouse Keeper added: FilteredList. Those with a higher number have a multiRead of their own.
const API_VERSION: &[u8] = b"1";

/// A bit for each feature, from the highest of the first byte on: FilteredList, MultiRead (not this one), CheckNotExists,
/// CreateIfNotExists, RemoveRecursive, watches in a multiRead (not these), CheckStat; nothing after that.
const FEATURE_FLAGS: &[u8] = &[0b1011_1010, 0];

/// The znodes, to be read by everyone.
pub(super) fn tree(hash_seed: u64) -> Tree {
    let acl = || vec![Acl { perms: crate::jute::perms::READ, scheme: "world".into(), id: "anyone".into() }];
    let create = |path: String, data: &'static [u8], number| {
        Op::create(path, Bytes::from_static(data), acl(), SessionId(0), number)
    };
    let ops = vec![
        create(path::KEEPER.to_owned(), b"", 1),
        create(format!("{}/api_version", path::KEEPER), API_VERSION, 1),
        create(format!("{}/feature_flags", path::KEEPER), FEATURE_FLAGS, 2),
    ];
    let mut tree = Tree::new(hash_seed);
    let txn = Txn { body: Some(Body::Ops(Ops { ops })), ..Txn::default() };
    tree.apply(Zxid::ZERO, &txn).expect("these znodes fit into an empty tree");
    tree
}
