//! The table of watches.

use std::collections::BTreeMap;
use std::hash::Hasher;

use foldhash::SharedSeed;
use foldhash::quality::FoldHasher;
use hashbrown::HashTable;

use super::conns::Conns;
use crate::ids::ConnId;
use crate::jute::{EventKind, lineage};
use crate::mutants::{Mutant, has};

/// What a watch waits for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum WatchKind {
    /// the znode and its data, also one that is not there yet
    Data,
    /// the children of a znode
    Child,
    /// both, and stays when it fires
    Persistent,
    /// a znode, all below it and their data, and stays when it fires
    PersistentRecursive,
}

impl WatchKind {
    /// Every one there is.
    pub const ALL: [WatchKind; 4] =
        [WatchKind::Data, WatchKind::Child, WatchKind::Persistent, WatchKind::PersistentRecursive];

    /// False if it is gone when it fires.
    pub fn stays(self) -> bool {
        matches!(self, WatchKind::Persistent | WatchKind::PersistentRecursive)
    }
}

/// How many watches there are.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct WatchCounts {
    /// distinct pairs of path and kind
    pub paths: usize,
    /// watches: of each connection on each path and kind
    pub watches: usize,
    /// connections that have a watch
    pub connections: usize,
}

/// A watched path, 40 bytes without the path itself.
#[derive(Debug)]
struct Slot {
    path: Box<str>,
    conns: Conns,
    kind: WatchKind,
}

/// The slots that a connection watches. One that has fired stays in the list until there are more of those than of
/// the others: taking it out at once would cost a search in a long list for every event.
#[derive(Default, Debug)]
struct ConnWatches {
    live: usize,
    slots: Vec<u32>,
}

/// Lists shorter than this are not worth cleaning.
const STALE_SLOTS_MIN: usize = 16;

/// All watches of a server.
pub struct Watches {
    seed: SharedSeed,
    /// a free slot has no connections and an empty path
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// finds the slot of a path and kind
    index: HashTable<u32>,
    /// for every slot that has the connection in it: the slot is in its list; `live` counts those
    conns: BTreeMap<ConnId, ConnWatches>,
    watches: usize,
    /// how many of them stay when they fire
    staying: usize,
}

impl Watches {
    /// No watches. The seed keeps clients from choosing paths that collide.
    pub fn new(hash_seed: u64) -> Watches {
        Watches {
            seed: SharedSeed::from_u64(hash_seed),
            slots: Vec::new(),
            free: Vec::new(),
            index: HashTable::new(),
            conns: BTreeMap::new(),
            watches: 0,
            staying: 0,
        }
    }

    /// Watches a znode and its data, whether it is there or not.
    pub fn add_data(&mut self, path: &str, conn: ConnId) {
        self.add(WatchKind::Data, path, conn);
    }

    /// Watches the children of a znode.
    pub fn add_child(&mut self, path: &str, conn: ConnId) {
        self.add(WatchKind::Child, path, conn);
    }

    /// Watches a path. To do so twice makes one watch.
    pub fn add(&mut self, kind: WatchKind, path: &str, conn: ConnId) {
        let slot = self.slot_or_new(kind, path);
        if self.slots[slot as usize].conns.insert(conn) {
            let watches = self.conns.entry(conn).or_default();
            watches.live += 1;
            watches.slots.push(slot);
            self.watches += 1;
            self.staying += usize::from(kind.stays());
        }
    }

    /// True if the connection has this watch.
    pub fn contains(&self, kind: WatchKind, path: &str, conn: ConnId) -> bool {
        self.at(kind, path).contains(&conn)
    }

    /// Takes one watch away. False if the connection does not have it.
    pub fn remove(&mut self, kind: WatchKind, path: &str, conn: ConnId) -> bool {
        let Some(slot) = self.find(kind, path) else { return false };
        let is_removed = self.slots[slot as usize].conns.remove(conn);
        if is_removed {
            self.free_if_empty(slot);
            self.watches -= 1;
            self.staying -= usize::from(kind.stays());
            self.forget_one(conn);
        }
        is_removed
    }

    /// Something happened to a znode: gives the connections to be told, in the order of their ids, each once. The
    /// watches among theirs that do not stay are gone with that.
    pub fn fire(&mut self, event: EventKind, path: &str) -> Vec<ConnId> {
        if self.watches == 0 {
            return Vec::new();
        }
        if has(Mutant::WatchFiresTwice) && event == EventKind::NodeDataChanged {
            return self.at(WatchKind::Data, path).to_vec();
        }
        let mut conns = match event {
            EventKind::NodeCreated | EventKind::NodeDataChanged => self.take(WatchKind::Data, path),
            EventKind::NodeChildrenChanged => self.take(WatchKind::Child, path),
            EventKind::NodeDeleted => {
                let mut conns = self.take(WatchKind::Data, path);
                join(&mut conns, self.take(WatchKind::Child, path));
                conns
            }
        };
        if self.staying > 0 {
            self.add_staying(event, path, &mut conns);
        }
        conns
    }

    /// Adds those whose watches stay.
    fn add_staying(&self, event: EventKind, path: &str, conns: &mut Vec<ConnId>) {
        join(conns, self.at(WatchKind::Persistent, path).to_vec());
        // A watch on all below is told of each child itself.
        if event != EventKind::NodeChildrenChanged {
            for watched in lineage(path) {
                join(conns, self.at(WatchKind::PersistentRecursive, watched).to_vec());
            }
        }
    }

    /// The connection is closed: its watches are gone.
    pub fn remove_conn(&mut self, conn: ConnId) {
        let Some(watches) = self.conns.remove(&conn) else {
            return;
        };
        for slot in watches.slots {
            let entry = &mut self.slots[slot as usize];
            if entry.conns.remove(conn) {
                self.watches -= 1;
                self.staying -= usize::from(entry.kind.stays());
                self.free_if_empty(slot);
            }
        }
    }

    /// How many there are.
    pub fn counts(&self) -> WatchCounts {
        WatchCounts { paths: self.index.len(), watches: self.watches, connections: self.conns.len() }
    }

    /// Every watched path with its kind and its watchers, in no particular order.
    pub fn by_path(&self) -> impl Iterator<Item = (&str, WatchKind, &[ConnId])> {
        let watched = self.slots.iter().filter(|slot| !slot.conns.is_empty());
        watched.map(|slot| (&*slot.path, slot.kind, slot.conns.as_slice()))
    }

    /// Every watched path once, in no particular order, with whoever has a watch of any kind on it.
    pub fn watchers(&self) -> impl Iterator<Item = (&str, Vec<ConnId>)> {
        self.by_path().filter_map(|(path, kind, _)| {
            let first = WatchKind::ALL.into_iter().find(|&kind| !self.at(kind, path).is_empty());
            let all = || WatchKind::ALL.into_iter().map(|kind| self.at(kind, path).to_vec());
            (first == Some(kind)).then(|| {
                let mut conns = Vec::new();
                all().for_each(|more| join(&mut conns, more));
                (path, conns)
            })
        })
    }

    /// Every connection that has watches, in the order of their ids.
    pub fn conns(&self) -> impl Iterator<Item = ConnId> {
        self.conns.keys().copied()
    }

    /// What a connection watches, sorted.
    pub fn of_conn(&self, conn: ConnId) -> Vec<(&str, WatchKind)> {
        let slots = self.conns.get(&conn).map_or(&[][..], |watches| &watches.slots);
        let slots = slots.iter().map(|&slot| &self.slots[slot as usize]);
        let mut watched: Vec<_> =
            slots.filter(|slot| slot.conns.contains(conn)).map(|slot| (&*slot.path, slot.kind)).collect();
        watched.sort_unstable();
        // A slot that fired and was filled again with the same connection is listed twice.
        watched.dedup();
        watched
    }

    fn find(&self, kind: WatchKind, path: &str) -> Option<u32> {
        let is_it = |&slot: &u32| {
            let slot = &self.slots[slot as usize];
            slot.kind == kind && *slot.path == *path
        };
        self.index.find(hash(&self.seed, kind, path), is_it).copied()
    }

    /// Who has this watch.
    fn at(&self, kind: WatchKind, path: &str) -> &[ConnId] {
        self.find(kind, path).map_or(&[][..], |slot| self.slots[slot as usize].conns.as_slice())
    }

    fn slot_or_new(&mut self, kind: WatchKind, path: &str) -> u32 {
        if let Some(slot) = self.find(kind, path) {
            return slot;
        }
        let fresh = Slot { path: path.into(), conns: Conns::None, kind };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = fresh;
                slot
            }
            None => {
                self.slots.push(fresh);
                u32::try_from(self.slots.len() - 1).expect("fewer than 2^32 watched paths fit into memory")
            }
        };
        let Watches { seed, slots, index, .. } = self;
        let hash_of = |slot: u32| hash(seed, slots[slot as usize].kind, &slots[slot as usize].path);
        index.insert_unique(hash_of(slot), slot, |&slot| hash_of(slot));
        slot
    }

    /// Removes all watches of one kind from a path and gives who had them.
    fn take(&mut self, kind: WatchKind, path: &str) -> Vec<ConnId> {
        let Some(slot) = self.find(kind, path) else {
            return Vec::new();
        };
        let conns = std::mem::take(&mut self.slots[slot as usize].conns).into_vec();
        self.free_if_empty(slot);
        self.watches -= conns.len();
        for &conn in &conns {
            self.forget_one(conn);
        }
        conns
    }

    /// One watch of the connection is gone from its slot; its list may have become mostly stale.
    fn forget_one(&mut self, conn: ConnId) {
        let watches = self.conns.get_mut(&conn).expect("who has a watch has a list");
        watches.live -= 1;
        if watches.live == 0 {
            self.conns.remove(&conn);
        } else if watches.slots.len() > STALE_SLOTS_MIN && watches.slots.len() > 2 * watches.live {
            let slots = &self.slots;
            watches.slots.retain(|&slot| slots[slot as usize].conns.contains(conn));
            watches.slots.sort_unstable();
            watches.slots.dedup();
            watches.slots.shrink_to(2 * watches.slots.len());
            debug_assert_eq!(watches.slots.len(), watches.live);
        }
    }

    fn free_if_empty(&mut self, slot: u32) {
        let entry = &self.slots[slot as usize];
        if !entry.conns.is_empty() {
            return;
        }
        let hash = hash(&self.seed, entry.kind, &entry.path);
        let found = self.index.find_entry(hash, |&other| other == slot);
        found.expect("a slot in use is in the index").remove();
        self.slots[slot as usize].path = Box::default();
        self.free.push(slot);
    }
}

/// Adds connections, each once, in the order of their ids.
fn join(conns: &mut Vec<ConnId>, more: Vec<ConnId>) {
    if conns.is_empty() {
        *conns = more;
    } else if !more.is_empty() {
        conns.extend(more);
        conns.sort_unstable();
        conns.dedup();
    }
}

fn hash(seed: &SharedSeed, kind: WatchKind, path: &str) -> u64 {
    let mut hasher = FoldHasher::with_seed(kind as u64, seed);
    hasher.write(path.as_bytes());
    hasher.finish()
}

#[cfg(test)]
mod tests;
