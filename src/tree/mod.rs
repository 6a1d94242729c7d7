//! The tree of znodes. Pure: it changes only by [`Tree::apply`], and equal transactions make equal trees.
//!
//! ```text
//! path ──hash──▶ index ──▶ node (40 bytes, in pages of 256) ──▶ blob (last change, owner, name, data)
//!                            │ parent, next, prev
//!                            ├ family ──▶ first child and counts; only if there ever was a child
//!                            └ access id ──▶ ACL table (shared by content)
//! ```
//!
//! Full paths are stored nowhere: the index knows a hash, and the names on the way to the root tell whether it is the
//! right node. An [`Image`] shares pages, blobs and ACLs with the tree; the tree copies a page when it writes into one
//! that an image has.

pub mod acl;
mod acl_table;
mod apply;
mod blob;
mod blobs;
mod digest;
mod image;
mod index;
mod lifetime;
mod load;
#[cfg(test)]
mod model_test;
mod nodes;
mod pages;
pub mod path;
mod quota;
mod read;
mod slab;
mod x500;

use std::collections::BTreeSet;

pub use acl_table::Readers;
pub use apply::{Applied, ApplyError, Change, OpResult, Reason};
pub use image::{BLOCK_BYTES_MAX, Blocks, Image};
pub use lifetime::{Lifetime, TTL_MS_MAX};
pub use load::{Damage, LoadError};
pub use quota::{
    Limit, QuotaLimits, Usage, is_understood as quota_is_understood, limited_by, limits_path, with_ancestors,
};
pub use read::{LimitedPlace, Znode};

use crate::ids::{SessionId, Zxid};
use crate::jute::perms;
use crate::txn;
use acl_table::{AccessId, AclTable};
use foldhash::quality::FixedState;
use hashbrown::HashMap;

use blob::Content;
use index::PathIndex;
use nodes::Place;
use slab::{Node, NodeId, Slab};

/// All znodes, as they are after some transaction.
pub struct Tree {
    slab: Slab,
    /// Every node but the root.
    index: PathIndex,
    acls: AclTable,
    /// The ephemerals, by their owners.
    ephemerals: BTreeSet<(SessionId, NodeId)>,
    /// How many of them each session has that has any.
    ephemeral_counts: HashMap<SessionId, u32, FixedState>,
    /// The containers and the znodes with a time to live.
    limited: BTreeSet<NodeId>,
    /// The limits of every quota, by the path that they are for.
    quotas: HashMap<String, QuotaLimits, FixedState>,
    digest: u64,
    len: usize,
    /// The bytes of all paths and data.
    data_bytes: u64,
    /// For whatever needs a few bytes in a row; never holds anything between two calls.
    scratch: Vec<u8>,
}

impl Tree {
    /// The tree before the first transaction: `/`, `/zookeeper`, `/zookeeper/config`, `/zookeeper/quota`.
    ///
    /// `hash_seed` should be a secret of this process: it keeps clients from slowing the look-up down by their choice
    /// of paths. It has no influence on the content or the digest.
    pub fn new(hash_seed: u64) -> Tree {
        let mut tree = Tree::without_root(hash_seed);
        let read_only = txn::Acl { perms: perms::READ, scheme: "world".into(), id: "anyone".into() };
        for fixed in [path::ROOT, path::ZOOKEEPER, path::QUOTA, path::CONFIG] {
            let (place, name) = match path::split(fixed) {
                Some((parent, name)) => {
                    let parent = tree.find(parent).expect("parents come first");
                    (tree.first_place(parent, fixed), name)
                }
                None => (Place::ROOT, ""),
            };
            let content = Content { name, owner: SessionId(0), change: None, data: Some(&[]) };
            // As ZooKeeper makes them.
            let access = match fixed {
                path::CONFIG => tree.acls.intern(std::slice::from_ref(&read_only), -1),
                _ => AccessId::OPEN,
            };
            let node = Node::new(access, Zxid::ZERO, 0);
            tree.insert(place, node, fixed, content).expect("an empty tree has room");
        }
        tree
    }

    fn without_root(hash_seed: u64) -> Tree {
        Tree {
            slab: Slab::new(),
            index: PathIndex::new(hash_seed),
            acls: AclTable::new(hash_seed),
            ephemerals: BTreeSet::new(),
            ephemeral_counts: HashMap::with_hasher(FixedState::with_seed(hash_seed)),
            limited: BTreeSet::new(),
            quotas: HashMap::with_hasher(FixedState::with_seed(hash_seed)),
            digest: 0,
            len: 0,
            data_bytes: 0,
            scratch: Vec::new(),
        }
    }
}
