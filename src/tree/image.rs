//! A tree that stands still, and the blocks that a snapshot writes.
//!
//! All numbers are little endian. The blocks are one stream that is cut between znodes; the cuts have no meaning.
//!
//! ```text
//! header   version u8 = 1, number of znodes u64; once, at the beginning
//! znode    the root first, each parent before its children, siblings in the order of the tree's list:
//!   depth             u32   0 for the root alone
//!   name length       u32   0 for the root alone
//!   data length       u32   2^32 - 1 if it is null
//!   access            u32   numbered from 0 in the order of their first znode; a new number is followed
//!                           by its definition, behind the data
//!   czxid, mzxid, pzxid          u64 each
//!   ctime_ms, mtime_ms           i64 each
//!   version, created_children    i32 each
//!   ephemeral_owner   u64   0 if it is none
//!   name, data
//!   access            only with a new number: aversion i32, number of entries u32, and for each of them
//!                     perms i32, length of scheme u32, length of id u32, scheme, id
//! ```
//!
//! Numbers of children, the index and the digest are derived again when the blocks are loaded.

use hashbrown::HashMap;

use super::acl_table::{self, Access, AccessId, Accesses};
use super::slab::{NodeId, Slab};

/// The version of the layout.
pub(super) const VERSION: u8 = 1;
/// The header's length.
pub(super) const HEADER_BYTES: usize = 9;
/// The length of data that is null.
pub(super) const NULL_DATA: u32 = u32::MAX;
/// The length of a znode's numbers, before its name.
pub(super) const NODE_BYTES: usize = 4 * 4 + 5 * 8 + 2 * 4 + 8;

/// Blocks are cut before they get longer than this, unless a single znode is longer.
pub const BLOCK_BYTES_MAX: usize = 256 << 10;

/// A tree as it was at one moment. Cloning costs next to nothing, and nothing that happens to the tree shows.
#[derive(Clone)]
pub struct Image {
    pub(super) slab: Slab,
    pub(super) accesses: Accesses,
    pub(super) len: usize,
    pub(super) digest: u64,
}

impl Image {
    /// The content, for [`Tree::load`](super::Tree::load).
    pub fn blocks(&self) -> Blocks {
        Blocks {
            image: self.clone(),
            next: Some((NodeId::ROOT, 0)),
            numbers: HashMap::with_hasher(foldhash::fast::FixedState::default()),
            pending: header(self.len),
        }
    }

    /// How many znodes there are.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The digest of the tree at that moment; a tree loaded from the blocks has the same.
    pub fn digest(&self) -> u64 {
        self.digest
    }
}

fn header(len: usize) -> Vec<u8> {
    let mut header = vec![VERSION];
    header.extend_from_slice(&(len as u64).to_le_bytes());
    header
}

/// The blocks of an image, each at most [`BLOCK_BYTES_MAX`] bytes unless it holds a single bigger znode.
pub struct Blocks {
    image: Image,
    /// The next node and its depth.
    next: Option<(NodeId, u32)>,
    /// The numbers of the ACLs that are written already. The keys are this process's own: nobody can choose them.
    numbers: HashMap<AccessId, u32, foldhash::fast::FixedState>,
    /// The header, before the first block.
    pending: Vec<u8>,
}

impl Iterator for Blocks {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        self.next?;
        let mut block = Vec::with_capacity(BLOCK_BYTES_MAX);
        block.append(&mut self.pending);
        while let Some((id, depth)) = self.next {
            let is_first = block.len() <= HEADER_BYTES;
            if !is_first && block.len() + self.bytes_of(id) > BLOCK_BYTES_MAX {
                break;
            }
            self.write(&mut block, id, depth);
            self.next = self.image.slab.next_in_preorder(id).map(|step| (step.id, depth + 1 - step.up));
        }
        Some(block)
    }
}

impl Blocks {
    fn bytes_of(&self, id: NodeId) -> usize {
        let node = self.image.slab.get(id);
        let access = match self.numbers.contains_key(&node.access) {
            true => 0,
            false => access_bytes(acl_table::access(&self.image.accesses, node.access)),
        };
        let blob = self.image.slab.blob(id);
        NODE_BYTES + blob.name_bytes().len() + blob.data_len() + access
    }

    fn write(&mut self, block: &mut Vec<u8>, id: NodeId, depth: u32) {
        let node = self.image.slab.get(id);
        let blob = self.image.slab.blob(id);
        let (name, data) = (blob.name_bytes(), blob.data());
        let data_len = data.map_or(NULL_DATA, |data| data.len() as u32);
        let fresh = self.numbers.len() as u32;
        let number = *self.numbers.entry(node.access).or_insert(fresh);
        for length in [depth, name.len() as u32, data_len, number] {
            block.extend_from_slice(&length.to_le_bytes());
        }
        let (change, family) = (node.change(&blob), self.image.slab.family(node));
        for zxid in [node.czxid, change.zxid, family.pzxid] {
            block.extend_from_slice(&zxid.0.to_le_bytes());
        }
        for time_ms in [node.ctime_ms, change.time_ms] {
            block.extend_from_slice(&time_ms.to_le_bytes());
        }
        for count in [change.version, family.created_children] {
            block.extend_from_slice(&count.to_le_bytes());
        }
        block.extend_from_slice(&blob.owner().0.to_le_bytes());
        block.extend_from_slice(name);
        block.extend_from_slice(data.unwrap_or_default());
        if number == fresh {
            write_access(block, acl_table::access(&self.image.accesses, node.access));
        }
    }
}

fn access_bytes(access: &Access) -> usize {
    8 + access.acl.iter().map(|acl| 12 + acl.id.scheme.len() + acl.id.id.len()).sum::<usize>()
}

fn write_access(block: &mut Vec<u8>, access: &Access) {
    block.extend_from_slice(&access.aversion.to_le_bytes());
    block.extend_from_slice(&(access.acl.len() as u32).to_le_bytes());
    for acl in &access.acl {
        block.extend_from_slice(&acl.perms.to_le_bytes());
        block.extend_from_slice(&(acl.id.scheme.len() as u32).to_le_bytes());
        block.extend_from_slice(&(acl.id.id.len() as u32).to_le_bytes());
        block.extend_from_slice(acl.id.scheme.as_bytes());
        block.extend_from_slice(acl.id.id.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_and_its_blocks_can_go_to_another_thread() {
        fn can_go<T: Send + Sync + 'static>() {}
        can_go::<Image>();
        can_go::<Blocks>();
    }
}
