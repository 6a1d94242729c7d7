//! Access control lists, each kept once however many znodes have it.

use std::hash::Hasher;

use foldhash::SharedSeed;
use foldhash::quality::FoldHasher;
use hashbrown::HashTable;
use triomphe::Arc;

use super::{acl, digest};
use crate::jute::{Acl, AuthId, perms};
use crate::txn;

/// An entry of the [`AclTable`]. Means nothing outside this process: whatever is written has the ACL itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct AccessId(pub u32);

impl AccessId {
    /// Everyone may do everything, and it was never changed: nearly all znodes are so.
    pub const OPEN: AccessId = AccessId(0);
}

/// An ACL and its version. Together they are four bytes in a node.
#[derive(Debug)]
pub(super) struct Access {
    pub acl: Box<[Acl]>,
    pub aversion: i32,
    /// Of the ACL alone, for the digest of the tree.
    pub acl_digest: u64,
}

/// Who may read a znode, and so may be told what happens to it.
#[derive(Clone, Debug)]
pub struct Readers {
    /// `None` if that is everyone, as with nearly all znodes.
    some: Option<Arc<Access>>,
}

impl Readers {
    /// True if nobody is left out.
    pub fn are_everyone(&self) -> bool {
        self.some.is_none()
    }

    /// True if a client with these identities is one of them.
    pub fn include(&self, ids: &[AuthId], rules: &acl::Rules) -> bool {
        self.some.as_ref().is_none_or(|access| acl::permits(&access.acl, perms::READ, ids, rules))
    }

    fn of(access: &Arc<Access>) -> Readers {
        let everyone = acl::permits_everyone(&access.acl, perms::READ);
        Readers { some: (!everyone).then(|| access.clone()) }
    }

    /// Those of a list that is in no table.
    #[cfg(test)]
    pub fn of_acl(acl: &[Acl]) -> Readers {
        Readers::of(&Arc::new(Access { acl: acl.into(), aversion: 0, acl_digest: 0 }))
    }
}

impl PartialEq for Readers {
    fn eq(&self, other: &Readers) -> bool {
        let acl = |readers: &Readers| readers.some.as_ref().map(|access| access.acl.clone());
        acl(self) == acl(other)
    }
}

impl Eq for Readers {}

/// What an image needs: entries are shared with it, and the list of them is copied when it changes meanwhile.
pub(super) type Accesses = Arc<Vec<Option<Arc<Access>>>>;

/// Entries by number and by content, counted.
pub(super) struct AclTable {
    accesses: Accesses,
    /// How many nodes have the entry; not counted for [`AccessId::OPEN`].
    uses: Vec<u32>,
    free: Vec<AccessId>,
    by_content: HashTable<AccessId>,
    seed: SharedSeed,
}

impl AclTable {
    pub fn new(hash_seed: u64) -> AclTable {
        let open =
            vec![Acl { perms: perms::ALL, id: AuthId { scheme: "world".into(), id: "anyone".into() } }];
        let open = Access { acl_digest: digest::of_acl(&open), acl: open.into(), aversion: 0 };
        AclTable {
            accesses: Arc::new(vec![Some(Arc::new(open))]),
            uses: vec![0],
            free: Vec::new(),
            by_content: HashTable::new(),
            seed: SharedSeed::from_u64(hash_seed),
        }
    }

    pub fn get(&self, id: AccessId) -> &Access {
        access(&self.accesses, id)
    }

    /// Who may read the znodes that have the entry.
    pub fn readers(&self, id: AccessId) -> Readers {
        match id {
            AccessId::OPEN => Readers { some: None },
            _ => Readers::of(entry(&self.accesses, id)),
        }
    }

    pub fn accesses(&self) -> Accesses {
        self.accesses.clone()
    }

    /// The entry with this content, made if there is none. It has one more user afterwards.
    pub fn intern(&mut self, acl: &[txn::Acl], aversion: i32) -> AccessId {
        if aversion == 0 && is_open(acl) {
            return AccessId::OPEN;
        }
        let hash = hash(&self.seed, acl.iter().map(|a| (a.perms, &*a.scheme, &*a.id)), aversion);
        let accesses = &self.accesses;
        let found = self.by_content.find(hash, |&id| is_same(access(accesses, id), acl, aversion));
        if let Some(&id) = found {
            self.retain(id);
            return id;
        }
        let id = self.add(acl.iter().map(Acl::from).collect(), aversion);
        let AclTable { accesses, by_content, seed, .. } = self;
        by_content.insert_unique(hash, id, |&id| access_hash(seed, access(accesses, id)));
        id
    }

    /// One more node has the entry.
    pub fn retain(&mut self, id: AccessId) {
        if id != AccessId::OPEN {
            self.uses[id.0 as usize] += 1;
        }
    }

    /// One node less has the entry.
    pub fn release(&mut self, id: AccessId) {
        if id == AccessId::OPEN {
            return;
        }
        let uses = &mut self.uses[id.0 as usize];
        *uses -= 1;
        if *uses > 0 {
            return;
        }
        let hash = access_hash(&self.seed, access(&self.accesses, id));
        let entry = self.by_content.find_entry(hash, |&other| other == id);
        entry.expect("every entry but the open one is found by its content").remove();
        Arc::make_mut(&mut self.accesses)[id.0 as usize] = None;
        self.free.push(id);
    }

    /// How many different ACLs there are, the open one included.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.by_content.len() + 1
    }

    fn add(&mut self, acl: Box<[Acl]>, aversion: i32) -> AccessId {
        let access = Some(Arc::new(Access { acl_digest: digest::of_acl(&acl), acl, aversion }));
        let accesses = Arc::make_mut(&mut self.accesses);
        match self.free.pop() {
            Some(id) => {
                accesses[id.0 as usize] = access;
                self.uses[id.0 as usize] = 1;
                id
            }
            None => {
                let id = AccessId(u32::try_from(accesses.len()).expect("no more entries than nodes"));
                accesses.push(access);
                self.uses.push(1);
                id
            }
        }
    }
}

/// The entry of a number that a node has.
pub(super) fn access(accesses: &Accesses, id: AccessId) -> &Access {
    entry(accesses, id)
}

fn entry(accesses: &Accesses, id: AccessId) -> &Arc<Access> {
    accesses[id.0 as usize].as_ref().expect("an entry lives as long as a node has it")
}

fn is_open(acl: &[txn::Acl]) -> bool {
    matches!(acl, [one] if one.perms == perms::ALL && one.scheme == "world" && one.id == "anyone")
}

fn is_same(access: &Access, acl: &[txn::Acl], aversion: i32) -> bool {
    access.aversion == aversion
        && access.acl.len() == acl.len()
        && access
            .acl
            .iter()
            .zip(acl)
            .all(|(a, b)| a.perms == b.perms && a.id.scheme == b.scheme && a.id.id == b.id)
}

fn access_hash(seed: &SharedSeed, access: &Access) -> u64 {
    hash(seed, access.acl.iter().map(|a| (a.perms, &*a.id.scheme, &*a.id.id)), access.aversion)
}

fn hash<'a>(seed: &SharedSeed, acl: impl Iterator<Item = (i32, &'a str, &'a str)>, aversion: i32) -> u64 {
    let mut hasher = FoldHasher::with_seed(0, seed);
    hasher.write_i32(aversion);
    for (perms, scheme, id) in acl {
        hasher.write_i32(perms);
        hasher.write_usize(scheme.len());
        hasher.write(scheme.as_bytes());
        hasher.write_usize(id.len());
        hasher.write(id.as_bytes());
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acl(perms: i32, scheme: &str, id: &str) -> Vec<txn::Acl> {
        vec![txn::Acl { perms, scheme: scheme.into(), id: id.into() }]
    }

    #[test]
    fn equal_content_is_one_entry_that_goes_with_its_last_user() {
        let mut table = AclTable::new(1);
        let mine = acl(31, "digest", "me:x");
        let first = table.intern(&mine, 0);
        assert_eq!(table.intern(&mine, 0), first);
        let newer = table.intern(&mine, 1);
        assert_ne!(newer, first);
        assert_eq!(table.len(), 3);
        table.release(first);
        assert_eq!(table.get(first).acl[0].id.id, "me:x");
        table.release(first);
        assert_eq!(table.len(), 2);
        table.release(newer);
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn a_number_is_used_again_without_reaching_into_an_image() {
        let mut table = AclTable::new(1);
        let old = table.intern(&acl(1, "ip", "127.0.0.1"), 0);
        let image = table.accesses();
        table.release(old);
        let new = table.intern(&acl(2, "ip", "127.0.0.2"), 0);
        assert_eq!(new, old);
        assert_eq!(access(&image, old).acl[0].id.id, "127.0.0.1");
        assert_eq!(table.get(new).acl[0].id.id, "127.0.0.2");
    }

    #[test]
    fn only_exactly_the_open_acl_is_open() {
        let mut table = AclTable::new(1);
        assert_eq!(table.intern(&acl(31, "world", "anyone"), 0), AccessId::OPEN);
        assert_ne!(table.intern(&acl(31, "world", "anyone"), 1), AccessId::OPEN);
        assert_ne!(table.intern(&acl(15, "world", "anyone"), 0), AccessId::OPEN);
        assert_ne!(table.intern(&[], 0), AccessId::OPEN);
    }
}
