//! From a path to its node, without keeping the path.

use std::hash::Hasher;

use foldhash::SharedSeed;
use foldhash::quality::FoldHasher;
use hashbrown::HashTable;

use super::slab::{NodeId, Slab};

/// A table that grows stops the world while it moves all it holds. So there are many small ones.
///
/// A table doubles at 7/8 of a power of two and is half empty then. With this many of them that comes just after the
/// round numbers that people plan with: after 1 060 000 paths, not at 917 000.
const SHARDS: usize = 148;

/// The hash of a full path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct PathHash(u32);

impl PathHash {
    /// Of no path; for the root, which is not in the index.
    pub const NONE: PathHash = PathHash(0);

    /// The table looks at the lowest and the highest bits of 64.
    fn spread(self) -> u64 {
        u64::from(self.0).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    fn shard(self) -> usize {
        (self.spread() >> 40) as usize % SHARDS
    }
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    id: NodeId,
    /// Kept, so that a table grows without looking at its nodes.
    hash: PathHash,
}

/// Node numbers by the hash of the full path; whoever asks gets an exact answer, because the names on the way to the
/// root are compared.
pub(super) struct PathIndex {
    shards: Vec<HashTable<Entry>>,
    seed: SharedSeed,
}

impl PathIndex {
    /// The seed keeps clients from choosing paths that collide.
    pub fn new(hash_seed: u64) -> PathIndex {
        PathIndex {
            shards: std::iter::repeat_with(HashTable::new).take(SHARDS).collect(),
            seed: SharedSeed::from_u64(hash_seed),
        }
    }

    /// Makes room for so many more paths.
    pub fn reserve(&mut self, paths: usize) {
        for shard in &mut self.shards {
            // A little more, because no hash spreads evenly.
            shard.reserve(paths / SHARDS + paths / SHARDS / 16, |entry| entry.hash.spread());
        }
    }

    pub fn hash(&self, path: &str) -> PathHash {
        let mut hasher = FoldHasher::with_seed(0, &self.seed);
        hasher.write(path.as_bytes());
        PathHash(hasher.finish() as u32)
    }

    pub fn find(&self, slab: &Slab, hash: PathHash, path: &str) -> Option<NodeId> {
        let is_it = |entry: &Entry| entry.hash == hash && slab.has_path(entry.id, path);
        self.shards[hash.shard()].find(hash.spread(), is_it).map(|entry| entry.id)
    }

    /// The path must not be there yet.
    pub fn insert(&mut self, hash: PathHash, id: NodeId) {
        let entry = Entry { id, hash };
        self.shards[hash.shard()].insert_unique(hash.spread(), entry, |entry| entry.hash.spread());
    }

    pub fn remove(&mut self, hash: PathHash, id: NodeId) {
        let entry = self.shards[hash.shard()].find_entry(hash.spread(), |entry| entry.id == id);
        entry.expect("every node but the root is in the index").remove();
    }
}
