//! A disk in memory that knows what is durable, for tests and for the simulator. Deterministic.
//!
//! Writes and changes of names are seen at once, and are durable once they are synced: contents by file, names by folder.
//! [`SimWorld::crash`] builds what a loss of power at this moment may leave: of everything not synced, nothing, all, the
//! first part, or any sectors and any names. A sync that fails leaves, as on Linux, contents that are seen but will
//! never be durable, unless they are written again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::disk::{Disk, DiskFile, Disks, ReadAt};

/// What a disk writes as a whole, bytes.
const SECTOR_BYTES: u64 = 512;

/// The disks of one server. Clones are handles of the same.
#[derive(Clone, Debug, Default)]
pub struct SimWorld {
    shared: Arc<Mutex<World>>,
}

/// A folder in a [`SimWorld`].
#[derive(Clone, Debug)]
pub struct SimDisk {
    world: SimWorld,
    folder: &'static str,
}

/// An open file of a [`SimDisk`].
#[derive(Debug)]
pub struct SimFile {
    world: SimWorld,
    inode: u64,
}

/// A moment at which the power may fail: the disks just before a sync.
#[derive(Clone, Debug)]
pub struct CrashPoint {
    /// what [`SimWorld::set_mark`] was told last
    pub mark: u64,
    state: State,
}

/// What survives a loss of power, of that which was not synced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Survivors {
    /// nothing
    Nothing,
    /// everything
    Everything,
    /// the first so many writes and changes of names
    First(usize),
    /// some sectors and some changes of names, drawn from this seed
    Sectors(u64),
}

/// What failed because the test wanted it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Failed {
    /// a write
    Write,
    /// a sync of a file or of a folder
    Sync,
    /// a change of names
    Name,
    /// something for which there was no room
    Full,
    /// a read
    Read,
}

#[derive(Debug, Default)]
struct World {
    state: State,
    mark: u64,
    /// Crash points, if they are asked for.
    points: Option<Vec<CrashPoint>>,
    /// How many operations succeed before one fails.
    failure_in: Option<u64>,
    /// How many reads succeed before one fails.
    read_failure_in: Option<u64>,
    /// How many bytes of files there is room for.
    capacity: Option<u64>,
    failed: Vec<Failed>,
    /// The newest synced writes of the log, if they are to be remembered.
    synced: Option<VecDeque<SyncedWrite>>,
}

/// A write that was synced, and what was there before.
#[derive(Debug)]
struct SyncedWrite {
    inode: u64,
    offset: u64,
    old: Vec<u8>,
    new: Vec<u8>,
}

/// So many synced writes are remembered.
const REMEMBERED: usize = 6;

/// What is lost or misdirected as a whole, bytes.
const PIECE_BYTES: usize = 4096;

#[derive(Clone, Debug, Default)]
struct State {
    folders: BTreeMap<&'static str, Folder>,
    inodes: BTreeMap<u64, Inode>,
    /// Rises with every change: the order of what is not synced.
    serial: u64,
}

#[derive(Clone, Debug, Default)]
struct Folder {
    seen: BTreeMap<String, u64>,
    durable: BTreeMap<String, u64>,
    pending: Vec<(u64, NameChange)>,
}

#[derive(Clone, Debug)]
enum NameChange {
    Link { name: String, inode: u64 },
    Rename { from: String, to: String, inode: u64 },
    Remove { name: String, inode: u64 },
}

#[derive(Clone, Debug, Default)]
struct Inode {
    /// Shared with the crash points until it changes, as is `durable`.
    seen: Arc<Vec<u8>>,
    durable: Arc<Vec<u8>>,
    pending: Vec<(u64, Change)>,
    /// The error that reading it gives, as the operating system numbers them.
    read_error: Option<i32>,
}

#[derive(Clone, Debug)]
enum Change {
    Write { offset: u64, bytes: Vec<u8> },
    Empty,
}

impl SimWorld {
    /// Two folders, as a server has them.
    pub fn disks(&self) -> Disks<SimDisk> {
        Disks { data: self.disk("data"), log: self.disk("log") }
    }

    /// One folder.
    pub fn disk(&self, folder: &'static str) -> SimDisk {
        SimDisk { world: self.clone(), folder }
    }

    /// From now on every sync is a crash point.
    pub fn record(&self) {
        self.world().points = Some(Vec::new());
    }

    /// The crash points since the last call, and this very moment.
    pub fn take_points(&self) -> Vec<CrashPoint> {
        let mut world = self.world();
        world.add_point();
        world.points.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Told in later crash points.
    pub fn set_mark(&self, mark: u64) {
        self.world().mark = mark;
    }

    /// After `count` more writes, syncs and changes of names, one fails; those behind it do not.
    pub fn fail_after(&self, count: u64) {
        self.world().failure_in = Some(count);
    }

    /// True if a failure was asked for and did not come yet.
    pub fn failure_is_due(&self) -> bool {
        self.world().failure_in.is_some()
    }

    /// After `count` more reads one fails; those behind it do not. `None`: none does.
    pub fn fail_read_after(&self, count: Option<u64>) {
        self.world().read_failure_in = count;
    }

    /// From now on there is room for so many bytes of files in all folders together; `None`: for any number.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.world().capacity = bytes;
    }

    /// How many bytes all files have.
    pub fn used(&self) -> u64 {
        self.world().used()
    }

    /// From now on [`SimWorld::lose`] is possible.
    pub fn remember_writes(&self) {
        self.world().synced = Some(VecDeque::new());
    }

    /// One of the newest writes of the log, counted from the newest, was never done, although a sync said that it was;
    /// or it was done so many bytes further on, if that is within the file. What was written over it since is there.
    /// False: there was no such write.
    pub fn lose(&self, which: usize, instead: Option<u64>) -> bool {
        self.world().lose(which, instead)
    }

    /// True if something failed since [`SimWorld::take_failed`] was called.
    pub fn has_failed(&self) -> bool {
        !self.world().failed.is_empty()
    }

    /// What failed since the last call.
    pub fn take_failed(&self) -> Vec<Failed> {
        std::mem::take(&mut self.world().failed)
    }

    /// The files of a folder and their lengths, in the order of their names.
    pub fn files(&self, folder: &'static str) -> Vec<(String, u64)> {
        let world = self.world();
        let Some(folder) = world.state.folders.get(folder) else { return Vec::new() };
        let length = |inode: &u64| world.state.inodes[inode].seen.len() as u64;
        folder.seen.iter().map(|(name, inode)| (name.clone(), length(inode))).collect()
    }

    /// What the disks hold if the power fails now.
    pub fn crash(&self, survivors: Survivors) -> SimWorld {
        let state = self.world().state.clone();
        CrashPoint { mark: 0, state }.crash(survivors)
    }

    /// Changes a byte of a file, durably, as decay would.
    pub fn flip(&self, folder: &'static str, name: &str, offset: u64, mask: u8) {
        let mut world = self.world();
        let inode = world.state.folders[folder].seen[name];
        let inode = world.state.inodes.get_mut(&inode).expect("a name has contents");
        for bytes in [&mut inode.seen, &mut inode.durable] {
            if let Some(byte) = Arc::make_mut(bytes).get_mut(offset as usize) {
                *byte ^= mask;
            }
        }
    }

    /// What was written to a file from `offset` on was never done, durably: there are zeros.
    pub fn erase(&self, folder: &'static str, name: &str, offset: u64) {
        let mut world = self.world();
        let inode = world.state.folders[folder].seen[name];
        let inode = world.state.inodes.get_mut(&inode).expect("a name has contents");
        for bytes in [&mut inode.seen, &mut inode.durable] {
            if let Some(erased) = Arc::make_mut(bytes).get_mut(offset as usize..) {
                erased.fill(0);
            }
        }
    }

    /// From now on a file cannot be read: with this error of the operating system, 5 (EIO) for a broken disk.
    pub fn fail_reads(&self, folder: &'static str, name: &str, os_error: i32) {
        let mut world = self.world();
        let inode = world.state.folders[folder].seen[name];
        world.state.inodes.get_mut(&inode).expect("a name has contents").read_error = Some(os_error);
    }

    /// What a file holds.
    pub fn contents(&self, folder: &'static str, name: &str) -> Option<Vec<u8>> {
        let world = self.world();
        let inode = world.state.folders.get(folder)?.seen.get(name)?;
        Some(world.state.inodes[inode].seen.to_vec())
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl World {
    fn add_point(&mut self) {
        let point = CrashPoint { mark: self.mark, state: self.state.clone() };
        if let Some(points) = &mut self.points {
            points.push(point);
        }
    }

    /// An error if this operation was chosen to fail.
    fn may_fail(&mut self, what: Failed) -> io::Result<()> {
        let failure_in = if what == Failed::Read { &mut self.read_failure_in } else { &mut self.failure_in };
        match failure_in {
            None => Ok(()),
            Some(0) => {
                *failure_in = None;
                self.failed.push(what);
                Err(io::Error::other("the disk failed, as the test wants it"))
            }
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }

    /// An error if there is no room for `more` bytes.
    fn has_room(&mut self, more: u64) -> io::Result<()> {
        if more > 0 && self.capacity.is_some_and(|capacity| self.used() + more > capacity) {
            self.failed.push(Failed::Full);
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn used(&self) -> u64 {
        let inodes = self.state.folders.values().flat_map(|folder| folder.seen.values());
        inodes.map(|inode| self.state.inodes[inode].seen.len() as u64).sum()
    }

    fn remember(&mut self, number: u64, changes: &[(u64, Change)]) {
        let Some(synced) = &mut self.synced else { return };
        let names = self.state.folders.get("log").into_iter().flat_map(|log| &log.seen);
        if !names.clone().any(|(name, of)| *of == number && name.starts_with("log.")) {
            return;
        }
        let durable = &self.state.inodes[&number].durable;
        for (_, change) in changes {
            let Change::Write { offset, bytes } = change else { continue };
            let from = (*offset as usize).min(durable.len());
            let mut old = durable[from..durable.len().min(from + bytes.len())].to_vec();
            old.resize(bytes.len(), 0);
            if synced.len() == REMEMBERED {
                synced.pop_front();
            }
            synced.push_back(SyncedWrite { inode: number, offset: *offset, old, new: bytes.clone() });
        }
    }

    fn lose(&mut self, which: usize, instead: Option<u64>) -> bool {
        let Some(mut synced) = self.synced.take().filter(|synced| which < synced.len()) else { return false };
        let newer = synced.split_off(synced.len() - which);
        let SyncedWrite { inode, offset, old, new } = synced.pop_back().expect("there are more than that");
        let is_newer = |at: u64| {
            newer.iter().any(|write| {
                write.inode == inode && (write.offset..write.offset + write.new.len() as u64).contains(&at)
            })
        };
        let Some(contents) = self.state.inodes.get_mut(&inode) else { return false };
        for bytes in [&mut contents.seen, &mut contents.durable] {
            let bytes = Arc::make_mut(bytes);
            for (index, (old, new)) in old.chunks(PIECE_BYTES).zip(new.chunks(PIECE_BYTES)).enumerate() {
                let at = offset + (index * PIECE_BYTES) as u64;
                if is_newer(at) {
                    continue;
                }
                put(bytes, at, old);
                if let Some(by) = instead {
                    put(bytes, at + by, new);
                }
            }
        }
        true
    }
}

/// Puts what fits into `contents`.
fn put(contents: &mut [u8], at: u64, bytes: &[u8]) {
    if let Some(place) = contents.get_mut(at as usize..at as usize + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

impl CrashPoint {
    /// How many writes and changes of names were not synced.
    pub fn pending(&self) -> usize {
        let writes: usize = self.state.inodes.values().map(|inode| inode.pending.len()).sum();
        let names: usize = self.state.folders.values().map(|folder| folder.pending.len()).sum();
        writes + names
    }

    /// What the disks hold after the power failed here.
    pub fn crash(&self, survivors: Survivors) -> SimWorld {
        let mut chance = Chance(match survivors {
            Survivors::Sectors(seed) => seed,
            _ => 0,
        });
        let last_serial = self.last_serial(survivors);
        let mut state = State { serial: self.state.serial, ..State::default() };
        for (name, folder) in &self.state.folders {
            let mut names = folder.durable.clone();
            for (serial, change) in &folder.pending {
                if *serial <= last_serial && chance.keeps(survivors) {
                    change.apply(&mut names);
                }
            }
            state.folders.insert(name, Folder { seen: names.clone(), durable: names, pending: Vec::new() });
        }
        let reachable: BTreeSet<u64> =
            state.folders.values().flat_map(|folder| folder.seen.values().copied()).collect();
        for (number, inode) in self.state.inodes.iter().filter(|(number, _)| reachable.contains(number)) {
            let mut bytes = inode.durable.clone();
            for (serial, change) in &inode.pending {
                if *serial <= last_serial {
                    change.apply(Arc::make_mut(&mut bytes), &mut |_| chance.keeps(survivors));
                }
            }
            let inode = Inode {
                seen: bytes.clone(),
                durable: bytes,
                pending: Vec::new(),
                read_error: inode.read_error,
            };
            state.inodes.insert(*number, inode);
        }
        let world = World { state, ..World::default() };
        SimWorld { shared: Arc::new(Mutex::new(world)) }
    }

    fn last_serial(&self, survivors: Survivors) -> u64 {
        let names =
            self.state.folders.values().flat_map(|folder| folder.pending.iter().map(|change| change.0));
        let writes = self.state.inodes.values().flat_map(|inode| inode.pending.iter().map(|change| change.0));
        let mut serials: Vec<u64> = names.chain(writes).collect();
        serials.sort_unstable();
        match survivors {
            Survivors::Nothing | Survivors::First(0) => 0,
            Survivors::First(count) => serials.get(count - 1).copied().unwrap_or(u64::MAX),
            Survivors::Everything | Survivors::Sectors(_) => u64::MAX,
        }
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<String, u64>) {
        match self {
            NameChange::Link { name, inode } => {
                names.insert(name.clone(), *inode);
            }
            NameChange::Rename { from, to, inode } => {
                if names.get(from) == Some(inode) {
                    names.remove(from);
                }
                names.insert(to.clone(), *inode);
            }
            NameChange::Remove { name, inode } => {
                if names.get(name) == Some(inode) {
                    names.remove(name);
                }
            }
        }
    }
}

impl Change {
    fn apply(&self, contents: &mut Vec<u8>, keep: &mut dyn FnMut(u64) -> bool) {
        let Change::Write { offset, bytes } = self else {
            if keep(0) {
                contents.clear();
            }
            return;
        };
        let end = offset + bytes.len() as u64;
        let mut from = *offset;
        while from < end {
            let to = ((from / SECTOR_BYTES + 1) * SECTOR_BYTES).min(end);
            if keep(from / SECTOR_BYTES) {
                contents.resize(contents.len().max(to as usize), 0);
                let sector = &bytes[(from - offset) as usize..(to - offset) as usize];
                contents[from as usize..to as usize].copy_from_slice(sector);
            }
            from = to;
        }
    }
}

/// A small generator of chance that is the same everywhere (splitmix64).
#[derive(Clone, Copy, Debug)]
pub struct Chance(pub u64);

impl Chance {
    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.draw() % bound
    }

    fn keeps(&mut self, survivors: Survivors) -> bool {
        match survivors {
            Survivors::Nothing => false,
            Survivors::Everything | Survivors::First(_) => true,
            Survivors::Sectors(_) => self.draw() & 1 == 0,
        }
    }
}

impl SimDisk {
    fn change(&self, change: NameChange) -> io::Result<()> {
        let mut world = self.world.world();
        world.may_fail(Failed::Name)?;
        world.state.serial += 1;
        let serial = world.state.serial;
        let folder = world.state.folders.entry(self.folder).or_default();
        change.apply(&mut folder.seen);
        folder.pending.push((serial, change));
        Ok(())
    }

    fn find(&self, name: &str) -> Option<u64> {
        self.world.world().state.folders.get(self.folder)?.seen.get(name).copied()
    }

    fn file(&self, inode: u64) -> SimFile {
        SimFile { world: self.world.clone(), inode }
    }
}

impl Disk for SimDisk {
    type File = SimFile;

    fn list(&self) -> io::Result<Vec<String>> {
        let world = self.world.world();
        Ok(world
            .state
            .folders
            .get(self.folder)
            .map_or_else(Vec::new, |folder| folder.seen.keys().cloned().collect()))
    }

    fn create(&self, name: &str) -> io::Result<SimFile> {
        if let Some(inode) = self.find(name) {
            let file = self.file(inode);
            file.change(Change::Empty)?;
            return Ok(file);
        }
        let inode = {
            let mut world = self.world.world();
            world.has_room(1)?;
            world.state.serial += 1;
            let inode = world.state.serial;
            world.state.inodes.insert(inode, Inode::default());
            inode
        };
        self.change(NameChange::Link { name: name.to_owned(), inode })?;
        Ok(self.file(inode))
    }

    fn open(&self, name: &str) -> io::Result<SimFile> {
        self.find(name).map(|inode| self.file(inode)).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let inode = self.find(from).ok_or(io::ErrorKind::NotFound)?;
        self.change(NameChange::Rename { from: from.to_owned(), to: to.to_owned(), inode })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let inode = self.find(name).ok_or(io::ErrorKind::NotFound)?;
        self.change(NameChange::Remove { name: name.to_owned(), inode })
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut world = self.world.world();
        world.add_point();
        world.may_fail(Failed::Sync)?;
        if let Some(folder) = world.state.folders.get_mut(self.folder) {
            folder.durable = folder.seen.clone();
            folder.pending.clear();
        }
        Ok(())
    }

    fn describe(&self, name: &str) -> String {
        format!("{}/{name}", self.folder)
    }
}

impl SimFile {
    fn change(&self, change: Change) -> io::Result<()> {
        let mut world = self.world.world();
        world.may_fail(Failed::Write)?;
        if let Change::Write { offset, bytes } = &change {
            let end = offset + bytes.len() as u64;
            let length = world.state.inodes[&self.inode].seen.len() as u64;
            world.has_room(end.saturating_sub(length))?;
        }
        world.state.serial += 1;
        let serial = world.state.serial;
        let inode = world.state.inodes.get_mut(&self.inode).expect("an open file has contents");
        change.apply(Arc::make_mut(&mut inode.seen), &mut |_| true);
        inode.pending.push((serial, change));
        Ok(())
    }
}

impl ReadAt for SimFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.world.world().state.inodes[&self.inode].seen.len() as u64)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut world = self.world.world();
        world.may_fail(Failed::Read)?;
        let inode = &world.state.inodes[&self.inode];
        match inode.read_error {
            Some(error) => Err(io::Error::from_raw_os_error(error)),
            None => (&inode.seen[..]).read_at(bytes, offset),
        }
    }
}

impl DiskFile for SimFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.change(Change::Write { offset, bytes: bytes.to_vec() })
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut world = self.world.world();
        world.add_point();
        let failed = world.may_fail(Failed::Sync);
        let inode = world.state.inodes.get_mut(&self.inode).expect("an open file has contents");
        // After a failure what was written counts as clean, and is never tried again.
        let changes = std::mem::take(&mut inode.pending);
        if failed.is_ok() {
            world.remember(self.inode, &changes);
            let inode = world.state.inodes.get_mut(&self.inode).expect("an open file has contents");
            for (_, change) in changes {
                change.apply(Arc::make_mut(&mut inode.durable), &mut |_| true);
            }
        }
        failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_takes_no_more_until_there_is_room() {
        let world = SimWorld::default();
        let file = world.disk("log").create("log.0").unwrap();
        file.write_at(&[1; 100], 0).unwrap();
        world.set_capacity(Some(150));
        assert_eq!(file.write_at(&[1; 100], 100).unwrap_err().kind(), io::ErrorKind::StorageFull);
        file.write_at(&[2; 100], 50).unwrap();
        assert!(world.disk("log").create("log.1").is_err());
        world.disk("log").remove("log.0").unwrap();
        assert_eq!((world.used(), world.take_failed()), (0, vec![Failed::Full, Failed::Full]));
        world.disk("log").create("log.1").unwrap();
    }

    #[test]
    fn a_lost_write_is_undone_but_for_what_was_written_over_it() {
        for instead in [None, Some(8192)] {
            let world = SimWorld::default();
            world.remember_writes();
            let file = world.disk("log").create("log.0").unwrap();
            for (fill, offset, length) in [(1, 0, 16_384), (2, 0, 8192), (3, 4096, 4096)] {
                file.write_at(&vec![fill; length], offset).unwrap();
                file.sync_data().unwrap();
            }
            world.disk("log").sync_dir().unwrap();
            assert!(world.lose(1, instead));
            let contents = world.crash(Survivors::Nothing).contents("log", "log.0").unwrap();
            let third = if instead.is_some() { 2 } else { 1 };
            assert_eq!([0, 4096, 8192, 12_288].map(|at| contents[at]), [1, 3, third, 1]);
            assert!(!world.lose(1, None), "what was lost cannot be lost again");
        }
    }

    #[test]
    fn a_read_fails_when_it_is_told_to() {
        let world = SimWorld::default();
        let file = world.disk("data").create("epoch").unwrap();
        world.fail_read_after(Some(1));
        let read = || file.read_at(&mut [0; 4], 0);
        assert!(read().is_ok() && read().is_err() && read().is_ok());
        assert!(world.has_failed());
    }
}
