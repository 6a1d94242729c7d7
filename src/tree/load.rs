//! A tree from the blocks of an image. Trusts nothing: whatever [`Tree::apply`] could not have made is refused.

use thiserror::Error;

use super::Tree;
use super::acl_table::AccessId;
use super::blob::{Content, DataChange};
use super::image::{HEADER_BYTES, NODE_BYTES, NULL_DATA, VERSION};
use super::lifetime::Lifetime;
use super::nodes::Place;
use super::path::{self, PathError};
use super::slab::{Family, Node, NodeId};
use crate::ids::{SessionId, Zxid};
use crate::mutants::{Mutant, has};
use crate::txn::Acl;

/// Room is made beforehand for no more than this, whatever the header promises.
const RESERVED_NODES_MAX: u64 = 4 << 20;

/// Why blocks did not make a tree.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum LoadError<E> {
    /// they could not be read
    #[error(transparent)]
    Source(E),
    /// they are not those of an image
    #[error("block {block}, byte {offset}: {damage}")]
    Damaged {
        /// which, counted from 0; the number of blocks if something is missing behind the last
        block: usize,
        /// where the znode begins, counted from the block's beginning
        offset: usize,
        /// what is wrong
        damage: Damage,
    },
}

/// What is wrong with a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum Damage {
    /// of a later version of this program, perhaps
    #[error("layout version {0} is not known")]
    Version(u8),
    /// a length leads beyond the end
    #[error("the block ends within a znode")]
    Truncated,
    /// a text is none
    #[error("a text is not UTF-8")]
    NotUtf8,
    /// a name is none
    #[error("not a name: {0}")]
    Name(PathError),
    /// a second root, or a znode without a parent
    #[error("a znode at depth {0} cannot stand here")]
    Depth(u32),
    /// two siblings with one name
    #[error("the znode is there twice")]
    Duplicate,
    /// an ephemeral has a child, or is a znode that every tree has
    #[error("an ephemeral cannot stand here")]
    Ephemeral,
    /// numbers are given in order
    #[error("access {0} is not defined")]
    Access(u32),
    /// an access control list has entries
    #[error("an access control list is empty")]
    EmptyAcl,
    /// more than a tree can hold
    #[error("there is no room for another znode")]
    Full,
    /// the header said something else
    #[error("{found} znodes instead of {expected}")]
    Count {
        /// as the header has it
        expected: u64,
        /// as there were
        found: u64,
    },
    /// every tree has some znodes
    #[error("the znode {0} is missing")]
    Missing(&'static str),
}

impl Tree {
    /// Makes a tree from the blocks of an image. Whether it is the right one, its digest tells.
    pub fn load<B, E>(
        hash_seed: u64,
        blocks: impl IntoIterator<Item = Result<B, E>>,
    ) -> Result<Tree, LoadError<E>>
    where
        B: AsRef<[u8]>,
    {
        let mut loader = Loader::new(hash_seed);
        let mut count = 0;
        for block in blocks {
            let block = block.map_err(LoadError::Source)?;
            let mut bytes = Reader { bytes: block.as_ref() };
            let len = bytes.bytes.len();
            loop {
                let offset = len - bytes.bytes.len();
                match loader.step(&mut bytes) {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(damage) => return Err(LoadError::Damaged { block: count, offset, damage }),
                }
            }
            count += 1;
        }
        loader.finish().map_err(|damage| LoadError::Damaged { block: count, offset: 0, damage })
    }
}

struct Loader {
    tree: Tree,
    /// From the header, once it was there.
    expected: Option<u64>,
    /// The accesses by their numbers in the blocks. Each has one user too many, until the end.
    accesses: Vec<AccessId>,
    /// The last node and its ancestors, from the root.
    ancestry: Vec<Ancestor>,
    /// The last node's path.
    path: String,
}

struct Ancestor {
    id: NodeId,
    /// The node that came last below this one.
    last_child: NodeId,
    /// How much of `Loader::path` is this node's.
    path_len: usize,
    is_ephemeral: bool,
}

impl Loader {
    fn new(hash_seed: u64) -> Loader {
        let (accesses, ancestry) = (Vec::new(), Vec::new());
        Loader {
            tree: Tree::without_root(hash_seed),
            expected: None,
            accesses,
            ancestry,
            path: String::new(),
        }
    }

    /// Takes in the header or a znode; false at the end of the block.
    fn step(&mut self, bytes: &mut Reader<'_>) -> Result<bool, Damage> {
        if bytes.bytes.is_empty() {
            return Ok(false);
        }
        match self.expected {
            None => self.header(bytes)?,
            Some(_) => self.node(bytes)?,
        }
        Ok(true)
    }

    fn header(&mut self, bytes: &mut Reader<'_>) -> Result<(), Damage> {
        let (version, count) = bytes.take(HEADER_BYTES)?.split_at(1);
        if version[0] != VERSION {
            return Err(Damage::Version(version[0]));
        }
        let count = u64::from_le_bytes(*count.first_chunk().expect("eight bytes"));
        self.expected = Some(count);
        self.tree.index.reserve(count.min(RESERVED_NODES_MAX) as usize);
        Ok(())
    }

    fn node(&mut self, bytes: &mut Reader<'_>) -> Result<(), Damage> {
        let mut fixed = Reader { bytes: bytes.take(NODE_BYTES)? };
        let depth = fixed.u32()?;
        let (name_len, data_len, access) = (fixed.u32()? as usize, fixed.u32()?, fixed.u32()?);
        let (czxid, mzxid, pzxid) = (Zxid(fixed.u64()?), Zxid(fixed.u64()?), Zxid(fixed.u64()?));
        let (ctime_ms, mtime_ms) = (fixed.u64()? as i64, fixed.u64()? as i64);
        let (version, created_children) = (fixed.u32()? as i32, fixed.u32()? as i32);
        let change = DataChange { zxid: mzxid, time_ms: mtime_ms, version };
        let change = (change != DataChange { zxid: czxid, time_ms: ctime_ms, version: 0 }).then_some(change);
        let owner = SessionId(fixed.u64()?);
        let name = bytes.text(name_len)?;
        let data = match data_len {
            NULL_DATA => None,
            len => Some(bytes.take(len as usize)?),
        };

        let place = self.place(depth, name, owner)?;
        let access = self.access(access, bytes)?;
        let content = Content { name, owner, change, data };
        let node = Node::new(access, czxid, ctime_ms);
        let id = self.tree.insert(place, node, &self.path, content).ok_or(Damage::Full)?;
        if has(Mutant::LimitedForgotten) {
            self.tree.limited.remove(&id);
        }
        if (pzxid, created_children) != (czxid, 0) {
            let came = |family: &mut Family| {
                (family.pzxid, family.created_children) = (pzxid, created_children);
            };
            self.tree.change_family(id, &self.path, came);
        }
        if let Some(parent) = self.ancestry.last_mut() {
            parent.last_child = id;
        }
        let (path_len, is_ephemeral) = (self.path.len(), Lifetime::of(owner).is_ephemeral());
        self.ancestry.push(Ancestor { id, last_child: NodeId::NONE, path_len, is_ephemeral });
        Ok(())
    }

    /// Goes up to the parent of the next node, and makes `path` the node's: its parent and the sibling before it.
    fn place(&mut self, depth: u32, name: &str, owner: SessionId) -> Result<Place, Damage> {
        if self.tree.len == 0 {
            return match (depth, name, owner.0) {
                (0, "", 0) => {
                    self.path.push('/');
                    Ok(Place::ROOT)
                }
                (0, "", _) => Err(Damage::Ephemeral),
                (0, _, _) => Err(Damage::Name(PathError::NotAbsolute)),
                _ => Err(Damage::Depth(depth)),
            };
        }
        if depth == 0 || depth as usize > self.ancestry.len() {
            return Err(Damage::Depth(depth));
        }
        path::validate_name(name).map_err(Damage::Name)?;
        self.ancestry.truncate(depth as usize);
        let parent = self.ancestry.last().expect("depth is at least one");
        if parent.is_ephemeral {
            return Err(Damage::Ephemeral);
        }
        self.path.truncate(parent.path_len);
        if parent.path_len > 1 {
            self.path.push('/');
        }
        self.path.push_str(name);
        let place = Place { after: parent.last_child, ..self.tree.first_place(parent.id, &self.path) };
        if self.tree.is_taken(&place, &self.path) {
            return Err(Damage::Duplicate);
        }
        if owner.0 != 0 && path::is_fixed(&self.path) {
            return Err(Damage::Ephemeral);
        }
        Ok(place)
    }

    /// The table's entry for a number, read from behind the znode if the number is new.
    fn access(&mut self, number: u32, bytes: &mut Reader<'_>) -> Result<AccessId, Damage> {
        let id = match self.accesses.get(number as usize) {
            Some(&id) => id,
            None if number as usize == self.accesses.len() => {
                let aversion = bytes.u32()? as i32;
                let acl = read_acl(bytes)?;
                let id = self.tree.acls.intern(&acl, aversion);
                self.accesses.push(id);
                id
            }
            None => return Err(Damage::Access(number)),
        };
        self.tree.acls.retain(id);
        Ok(id)
    }

    fn finish(mut self) -> Result<Tree, Damage> {
        for id in self.accesses {
            self.tree.acls.release(id);
        }
        let (expected, found) = (self.expected.unwrap_or(0), self.tree.len as u64);
        if expected != found {
            return Err(Damage::Count { expected, found });
        }
        for fixed in [path::ROOT, path::ZOOKEEPER, path::QUOTA, path::CONFIG] {
            if self.tree.len == 0 || self.tree.find(fixed).is_none() {
                return Err(Damage::Missing(fixed));
            }
        }
        Ok(self.tree)
    }
}

fn read_acl(bytes: &mut Reader<'_>) -> Result<Vec<Acl>, Damage> {
    let entries = bytes.u32()?;
    if entries == 0 {
        return Err(Damage::EmptyAcl);
    }
    let mut acl = Vec::new();
    for _ in 0..entries {
        let perms = bytes.u32()? as i32;
        let (scheme, id) = (bytes.u32()? as usize, bytes.u32()? as usize);
        acl.push(Acl { perms, scheme: bytes.text(scheme)?.to_owned(), id: bytes.text(id)?.to_owned() });
    }
    Ok(acl)
}

/// What is left of a block.
struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], Damage> {
        let (taken, rest) = self.bytes.split_at_checked(len).ok_or(Damage::Truncated)?;
        self.bytes = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Damage> {
        let (array, rest) = self.bytes.split_first_chunk().ok_or(Damage::Truncated)?;
        self.bytes = rest;
        Ok(*array)
    }

    fn u32(&mut self) -> Result<u32, Damage> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, Damage> {
        self.array().map(u64::from_le_bytes)
    }

    fn text(&mut self, len: usize) -> Result<&'a str, Damage> {
        std::str::from_utf8(self.take(len)?).map_err(|_| Damage::NotUtf8)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::super::image::BLOCK_BYTES_MAX;
    use super::*;
    use crate::txn::{Op, Ops, Txn, txn::Body};

    /// A tree with some of everything.
    fn tree() -> Tree {
        let mut tree = Tree::new(1);
        let acl = |id: &str| vec![Acl { perms: 1, scheme: "digest".into(), id: id.into() }];
        let data = Bytes::from_static(b"some data");
        let ops = vec![
            Op::create("/a".into(), data.clone(), acl("me:x"), SessionId(0), 1),
            Op::create("/a/b".into(), data.clone(), acl("you:y"), SessionId(0), 1),
            Op::create("/a/e".into(), data.clone(), acl("me:x"), SessionId(5), 2),
            Op::set_acl("/a/b".into(), acl("me:x"), 1),
            Op::set_data("/a".into(), data, 1),
        ];
        let txn = Txn { time_ms: 1000, body: Some(Body::Ops(Ops { ops })), ..Txn::default() };
        tree.apply(Zxid(1), &txn).expect("it fits");
        tree
    }

    fn load(blocks: &[Vec<u8>]) -> Result<Tree, LoadError<Infallible>> {
        Tree::load(2, blocks.iter().map(Ok))
    }

    fn damage(blocks: &[Vec<u8>]) -> Damage {
        match load(blocks).err() {
            Some(LoadError::Damaged { damage, .. }) => damage,
            None => panic!("it was loaded"),
        }
    }

    fn header(count: u64) -> Vec<u8> {
        [&[VERSION][..], &count.to_le_bytes()].concat()
    }

    /// A znode with the access of the first one, which defines it.
    fn znode(depth: u32, name: &str, owner: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        for number in [depth, name.len() as u32, 0, 0] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend([0; 48]);
        bytes.extend(owner.to_le_bytes());
        bytes.extend(name.as_bytes());
        if depth == 0 {
            bytes.extend(access("world", "anyone"));
        }
        bytes
    }

    fn access(scheme: &str, id: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        for number in [0, 1, 31, scheme.len() as u32, id.len() as u32] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(scheme.bytes().chain(id.bytes()));
        bytes
    }

    /// A header and the root, before other znodes.
    fn with_root(count: u64, znodes: &[Vec<u8>]) -> Vec<Vec<u8>> {
        vec![header(count), znode(0, "", 0), znodes.concat()]
    }

    #[test]
    fn the_znodes_of_an_image_come_back() {
        let original = tree();
        let blocks: Vec<_> = original.image().blocks().collect();
        let loaded = load(&blocks).unwrap();
        assert_eq!(loaded.digest(), original.digest());
        assert_eq!(loaded.ephemerals(SessionId(5)), ["/a/e"]);
        assert_eq!(loaded.node("/a/b").unwrap().stat(), original.node("/a/b").unwrap().stat());
        assert_eq!(loaded.acls.len(), original.acls.len());
    }

    /// If this fails, snapshots of the last version cannot be read: the version byte must change.
    #[test]
    fn the_layout_never_changes_within_a_version() {
        let image: Vec<u8> = tree().image().blocks().collect::<Vec<_>>().concat();
        assert_eq!((image.len(), xxhash_rust::xxh3::xxh3_64(&image)), (685, 0x8be6_dd0b_5417_33e8));
    }

    #[test]
    fn blocks_are_cut_where_a_znode_ends() {
        let mut tree = Tree::new(1);
        let open = vec![Acl { perms: 31, scheme: "world".into(), id: "anyone".into() }];
        let sizes = [100, BLOCK_BYTES_MAX / 2, BLOCK_BYTES_MAX / 2, BLOCK_BYTES_MAX + 1, 100, 100];
        let create = |(n, &size): (usize, &usize)| {
            let data = Bytes::from(vec![n as u8; size]);
            Op::create(format!("/{n}"), data, open.clone(), SessionId(0), n as i32)
        };
        let ops = sizes.iter().enumerate().map(create).collect();
        let txn = Txn { body: Some(Body::Ops(Ops { ops })), ..Txn::default() };
        tree.apply(Zxid(1), &txn).unwrap();
        let blocks: Vec<_> = tree.image().blocks().collect();
        let too_long = blocks.iter().filter(|block| block.len() > BLOCK_BYTES_MAX);
        assert_eq!(
            too_long.map(|block| block.len()).collect::<Vec<_>>(),
            [NODE_BYTES + 1 + BLOCK_BYTES_MAX + 1]
        );
        assert_eq!(blocks.len(), 4);
        assert_eq!(load(&blocks).unwrap().digest(), tree.digest());
    }

    #[test]
    fn an_image_that_ends_early_is_refused_wherever_it_ends() {
        let image: Vec<u8> = tree().image().blocks().collect::<Vec<_>>().concat();
        for len in 0..image.len() {
            assert!(load(&[image[..len].to_vec()]).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn an_error_of_the_source_is_passed_on() {
        let blocks = [Ok(header(4)), Err("disk")];
        assert_eq!(Tree::load(1, blocks).err(), Some(LoadError::Source("disk")));
    }

    #[test]
    fn what_no_tree_could_have_written_is_refused() {
        let two = |name: &str| vec![znode(1, "a", 0), znode(1, name, 0)];
        let cases: Vec<(Vec<Vec<u8>>, Damage)> = vec![
            (vec![], Damage::Missing("/")),
            (vec![vec![2; 9]], Damage::Version(2)),
            (vec![header(0)], Damage::Missing("/")),
            (vec![header(1), znode(1, "a", 0)], Damage::Depth(1)),
            (vec![header(1), znode(0, "a", 0)], Damage::Name(PathError::NotAbsolute)),
            (vec![header(1), znode(0, "", 1)], Damage::Ephemeral),
            (with_root(1, &[]), Damage::Missing("/zookeeper")),
            (with_root(7, &[]), Damage::Count { expected: 7, found: 1 }),
            (with_root(2, &[znode(0, "", 0)]), Damage::Depth(0)),
            (with_root(2, &[znode(2, "a", 0)]), Damage::Depth(2)),
            (with_root(3, &two("a")), Damage::Duplicate),
            (with_root(3, &two("")), Damage::Name(PathError::EmptyName(0))),
            (with_root(3, &two("..")), Damage::Name(PathError::RelativeName(0))),
            (with_root(3, &two("b/c")), Damage::Name(PathError::InvalidCharacter(1))),
            (with_root(3, &[znode(1, "e", 5), znode(2, "a", 0)]), Damage::Ephemeral),
            (with_root(2, &[znode(1, "zookeeper", 5)]), Damage::Ephemeral),
        ];
        for (blocks, expected) in cases {
            assert_eq!(damage(&blocks), expected);
        }
    }

    #[test]
    fn an_access_is_defined_before_it_is_used_and_has_entries() {
        let with_access = |number: u8, behind: &[u8]| {
            let mut bytes = znode(1, "a", 0);
            bytes[12] = number;
            bytes.extend_from_slice(behind);
            damage(&with_root(2, &[bytes]))
        };
        assert_eq!(with_access(2, &[]), Damage::Access(2));
        assert_eq!(with_access(1, &[]), Damage::Truncated);
        assert_eq!(with_access(1, &[0; 8]), Damage::EmptyAcl);
        assert_eq!(with_access(1, &access("world", "anyone")), Damage::Missing("/zookeeper"));
        let mut no_text = access("world", "anyone");
        no_text[20] = 0xff;
        assert_eq!(with_access(1, &no_text), Damage::NotUtf8);
    }

    #[test]
    fn damage_is_told_with_its_place() {
        let blocks = with_root(3, &[znode(1, "a", 0), znode(1, "a", 0)]);
        let error = load(&blocks).err().expect("a znode twice");
        assert_eq!(error.to_string(), format!("block 2, byte {}: the znode is there twice", NODE_BYTES + 1));
    }

    proptest! {
        #[test]
        fn any_bytes_make_an_error_or_a_tree(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let mut image = header(1);
            image.extend(bytes);
            let _ = load(&[image]);
        }

        #[test]
        fn a_flipped_bit_is_an_error_or_shows_in_the_digest(at in any::<prop::sample::Index>(), bit in 0..8) {
            let original = tree();
            let mut image: Vec<u8> = original.image().blocks().collect::<Vec<_>>().concat();
            let at = at.index(image.len());
            image[at] ^= 1u8 << bit;
            if let Ok(other) = load(&[image]) {
                prop_assert_ne!(other.digest(), original.digest());
            }
        }
    }
}
