//! The file system, without the kernel: nodes, their contents and names, and what goes wrong with them.
//!
//! Errors are numbers of `errno`.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::time::{Duration, SystemTime};

use crate::content::{Content, PAGE_BYTES, SECTOR_BYTES};
use crate::faults::{Counts, Faults, LIE, Op, Rule, pages_of};
use crate::names::Names;
use crate::survivors::Survivors;

/// The number of the folder that is mounted.
pub const ROOT: u64 = 1;

/// What a number of `errno` is given for.
pub type Outcome<T> = Result<T, i32>;

/// All of it.
#[derive(Debug)]
pub struct Volume {
    nodes: BTreeMap<u64, Node>,
    next: u64,
    faults: Faults,
    counts: Counts,
}

#[derive(Debug)]
struct Node {
    kind: Kind,
    /// from the root; where it was last, for the patterns of faults
    path: String,
    opens: u32,
    changed: SystemTime,
}

#[derive(Debug)]
enum Kind {
    File(Content),
    Folder(Names),
}

/// What is told of a node.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// its number
    pub node: u64,
    /// or a file
    pub is_folder: bool,
    /// bytes; 0 of a folder
    pub len: u64,
    /// what it takes of the volume
    pub pages: u64,
    /// when it was last written
    pub changed: SystemTime,
}

impl Default for Volume {
    fn default() -> Volume {
        let root = Node::new(Kind::Folder(Names::default()), ".".to_owned());
        Volume {
            nodes: BTreeMap::from([(ROOT, root)]),
            next: ROOT + 1,
            faults: Faults::default(),
            counts: Counts::default(),
        }
    }
}

impl Node {
    fn new(kind: Kind, path: String) -> Node {
        Node { kind, path, opens: 0, changed: SystemTime::now() }
    }
}

/// What the kernel asks for.
impl Volume {
    /// The node of a name.
    pub fn lookup(&self, folder: u64, name: &OsStr) -> Outcome<About> {
        self.about(self.names(folder)?.get(name).ok_or(libc::ENOENT)?)
    }

    /// What there is to tell of a node.
    pub fn about(&self, node: u64) -> Outcome<About> {
        let it = self.nodes.get(&node).ok_or(libc::ENOENT)?;
        let (is_folder, len, pages) = match &it.kind {
            Kind::File(content) => (false, content.len(), content.pages()),
            Kind::Folder(_) => (true, 0, 0),
        };
        Ok(About { node, is_folder, len, pages, changed: it.changed })
    }

    /// Names and what they stand for.
    pub fn list(&self, folder: u64) -> Outcome<Vec<(OsString, About)>> {
        let names = self.names(folder)?;
        names.seen().iter().map(|(name, node)| Ok((name.clone(), self.about(*node)?))).collect()
    }

    /// Makes an empty file or folder.
    pub fn make(&mut self, folder: u64, name: &OsStr, is_folder: bool) -> Outcome<About> {
        if self.names(folder)?.get(name).is_some() {
            return Err(libc::EEXIST);
        }
        let kind = if is_folder { Kind::Folder(Names::default()) } else { Kind::File(Content::default()) };
        let node = self.next;
        self.next += 1;
        self.nodes.insert(node, Node::new(kind, self.path_of(folder, name)));
        self.names_mut(folder)?.link(name, node);
        self.about(node)
    }

    /// Takes a name away.
    pub fn remove(&mut self, folder: u64, name: &OsStr, is_folder: bool) -> Outcome<()> {
        let node = self.names(folder)?.get(name).ok_or(libc::ENOENT)?;
        match (&self.node(node)?.kind, is_folder) {
            (Kind::File(_), true) => return Err(libc::ENOTDIR),
            (Kind::Folder(_), false) => return Err(libc::EISDIR),
            (Kind::Folder(names), true) if !names.seen().is_empty() => return Err(libc::ENOTEMPTY),
            _ => {}
        }
        self.names_mut(folder)?.unlink(name);
        self.free_unreachable();
        Ok(())
    }

    /// Renames within one folder: from one to another is not what a server does, and gives EXDEV.
    pub fn rename(&mut self, from: (u64, &OsStr), to: (u64, &OsStr)) -> Outcome<()> {
        if from.0 != to.0 {
            return Err(libc::EXDEV);
        }
        if !self.names_mut(from.0)?.rename(from.1, to.1) {
            return Err(libc::ENOENT);
        }
        let path = self.path_of(to.0, to.1);
        let node = self.names(to.0)?.get(to.1).ok_or(libc::ENOENT)?;
        self.node_mut(node)?.path = path;
        self.free_unreachable();
        Ok(())
    }

    /// A handle of it begins to exist; it keeps the contents, also without a name.
    pub fn open(&mut self, node: u64) -> Outcome<()> {
        self.node_mut(node)?.opens += 1;
        Ok(())
    }

    /// A handle of it ended.
    pub fn release(&mut self, node: u64) -> Outcome<()> {
        let it = self.node_mut(node)?;
        it.opens = it.opens.saturating_sub(1);
        self.free_unreachable();
        Ok(())
    }

    /// Reads up to `count` bytes.
    pub fn read(&mut self, node: u64, offset: u64, count: usize) -> Outcome<Vec<u8>> {
        self.may_fail(Op::Read, node)?;
        Ok(self.content(node)?.read(offset, count))
    }

    /// Writes all bytes or none. `direct`: the file was opened with `O_DIRECT`, which wants whole sectors. That goes past
    /// the cache, and is not more durable for it.
    pub fn write(&mut self, node: u64, offset: u64, bytes: &[u8], direct: bool) -> Outcome<()> {
        let sector = SECTOR_BYTES as u64;
        if direct && !(offset.is_multiple_of(sector) && (bytes.len() as u64).is_multiple_of(sector)) {
            return Err(libc::EINVAL);
        }
        self.may_fail(Op::Write, node)?;
        let missing = self.content(node)?.pages_missing(offset, bytes.len());
        if missing > 0 && !self.faults.has_room(self.used_pages() + missing) {
            self.counts.refused_full += 1;
            return Err(libc::ENOSPC);
        }
        self.content(node)?.write(offset, bytes);
        self.node_mut(node)?.changed = SystemTime::now();
        Ok(())
    }

    /// Cuts a file off, or makes it longer.
    pub fn set_len(&mut self, node: u64, len: u64) -> Outcome<()> {
        self.content(node)?.set_len(len);
        self.node_mut(node)?.changed = SystemTime::now();
        Ok(())
    }

    /// `fsync` and `fdatasync`: of a file its contents, of a folder its names.
    pub fn sync(&mut self, node: u64) -> Outcome<()> {
        let op = if self.about(node)?.is_folder { Op::SyncFolder } else { Op::Sync };
        let result = self.may_fail(op, node);
        if result == Err(LIE) {
            return Ok(());
        }
        match &mut self.node_mut(node)?.kind {
            Kind::File(content) if result.is_err() => content.lose(),
            Kind::File(content) => content.sync(),
            Kind::Folder(names) if result.is_ok() => names.sync(),
            // The kernel tries the names again with the next sync.
            Kind::Folder(_) => {}
        }
        self.free_unreachable();
        result
    }

    /// How long the sync that comes now is to take.
    pub fn sync_delay(&mut self) -> Duration {
        if !self.faults.sync_delay.is_zero() {
            self.counts.delayed_syncs += 1;
        }
        self.faults.sync_delay
    }

    /// Pages in use, and how many there are; `None`: any number.
    pub fn room(&self) -> (u64, Option<u64>) {
        (self.used_pages(), self.faults.pages_max)
    }
}

/// What tests ask for.
impl Volume {
    /// The power fails: what was not synced is forgotten, but for the survivors. Returns forgotten bytes and names.
    pub fn cut(&mut self, survivors: &mut Survivors) -> (u64, u64) {
        let (mut bytes, mut names) = (0, 0);
        for node in self.nodes.values_mut() {
            match &mut node.kind {
                Kind::File(content) => bytes += content.cut(survivors),
                Kind::Folder(folder) => names += folder.cut(survivors),
            }
        }
        self.counts.cuts += 1;
        self.counts.forgotten_bytes += bytes;
        self.counts.forgotten_names += names;
        self.free_unreachable();
        (bytes, names)
    }

    /// Files and changes of names that a loss of power would forget.
    pub fn unsynced(&self) -> (u64, u64) {
        let (mut files, mut names) = (0, 0);
        for node in self.nodes.values() {
            match &node.kind {
                Kind::File(content) => files += u64::from(content.is_unsynced()),
                Kind::Folder(folder) => names += folder.unsynced() as u64,
            }
        }
        (files, names)
    }

    /// Orders a failure.
    pub fn fail(&mut self, rule: Rule) {
        self.faults.rules.push(rule);
    }

    /// From now on each sync takes this long.
    pub fn delay_syncs(&mut self, delay: Duration) {
        self.faults.sync_delay = delay;
    }

    /// From now on there is room for so many bytes more; `None`: for any number.
    pub fn limit_room(&mut self, more: Option<u64>) {
        self.faults.pages_max = more.map(|bytes| self.used_pages() + pages_of(bytes));
    }

    /// No more failures than those that were; counts stay.
    pub fn clear_faults(&mut self) {
        self.faults = Faults::default();
    }

    /// Changes a byte of the file of this path, as decay would.
    pub fn flip(&mut self, path: &str, offset: u64, mask: u8) -> Outcome<()> {
        let mut node = ROOT;
        for name in path.split('/') {
            node = self.names(node)?.get(OsStr::new(name)).ok_or(libc::ENOENT)?;
        }
        if !self.content(node)?.flip(offset, mask) {
            return Err(libc::EINVAL);
        }
        self.counts.flipped += 1;
        Ok(())
    }

    /// What was done so far, and how it stands.
    pub fn stats(&self) -> String {
        let (files, names) = self.unsynced();
        let used = self.used_pages() * PAGE_BYTES as u64;
        format!("{} unsynced_files={files} unsynced_names={names} used_bytes={used}", self.counts.text())
    }
}

impl Volume {
    fn may_fail(&mut self, op: Op, node: u64) -> Outcome<()> {
        self.counts.ops.add(op);
        let path = &self.nodes.get(&node).ok_or(libc::ENOENT)?.path;
        match self.faults.strike(op, path) {
            None => Ok(()),
            Some(errno) => {
                self.counts.failed.add(op);
                Err(errno)
            }
        }
    }

    fn path_of(&self, folder: u64, name: &OsStr) -> String {
        let name = name.to_string_lossy();
        match self.nodes.get(&folder) {
            Some(it) if folder != ROOT => format!("{}/{name}", it.path),
            _ => name.into_owned(),
        }
    }

    fn node(&self, node: u64) -> Outcome<&Node> {
        self.nodes.get(&node).ok_or(libc::ENOENT)
    }

    fn node_mut(&mut self, node: u64) -> Outcome<&mut Node> {
        self.nodes.get_mut(&node).ok_or(libc::ENOENT)
    }

    fn names(&self, node: u64) -> Outcome<&Names> {
        match &self.node(node)?.kind {
            Kind::Folder(names) => Ok(names),
            Kind::File(_) => Err(libc::ENOTDIR),
        }
    }

    fn names_mut(&mut self, node: u64) -> Outcome<&mut Names> {
        match &mut self.node_mut(node)?.kind {
            Kind::Folder(names) => Ok(names),
            Kind::File(_) => Err(libc::ENOTDIR),
        }
    }

    fn content(&mut self, node: u64) -> Outcome<&mut Content> {
        match &mut self.node_mut(node)?.kind {
            Kind::File(content) => Ok(content),
            Kind::Folder(_) => Err(libc::EISDIR),
        }
    }

    /// What takes room: what is seen or open. What has its name only on the disk still counts as gone, as for `df`.
    fn used_pages(&self) -> u64 {
        self.nodes
            .values()
            .map(|node| if let Kind::File(content) = &node.kind { content.pages() } else { 0 })
            .sum()
    }

    /// Forgets nodes that have no handle and no name, not even one that a loss of power would bring back.
    fn free_unreachable(&mut self) {
        loop {
            let folders = || {
                self.nodes.values().filter_map(|node| match &node.kind {
                    Kind::Folder(names) => Some(names),
                    Kind::File(_) => None,
                })
            };
            let held = |node: u64| folders().any(|names| names.may_hold(node));
            let gone =
                |(number, node): &(&u64, &Node)| **number != ROOT && node.opens == 0 && !held(**number);
            let Some(number) = self.nodes.iter().find(gone).map(|(number, _)| *number) else { return };
            self.nodes.remove(&number);
        }
    }
}

#[cfg(test)]
#[path = "volume_tests.rs"]
mod tests;
