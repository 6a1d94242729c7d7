//! The snapshot files of a server: written in the background, retained by validity, received from a leader.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::disk::{Disk, DiskFile};
use super::error::{Damage, InFile, StorageError, is_decay};
use super::snapshot::{Format, SnapshotFault, SnapshotReader, SnapshotSummary, verify_snapshot};
use super::table::Case;
use crate::ids::{Version, Zxid};
use crate::mutants::{Mutant, has};

const WRITE_TEMP_NAME: &str = "snapshot.tmp";
const RECEIVE_TEMP_NAME: &str = "received.tmp";

/// A handle of the snapshot files; clones share what they know. One may be used by a background thread.
#[derive(Clone, Debug)]
pub struct SnapshotStore<D> {
    disk: D,
    step_bytes: u64,
    kept: usize,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// The durable end of the log: no snapshot may be ahead of it.
    synced: AtomicU64,
    files: Mutex<Files>,
}

#[derive(Debug, Default)]
struct Files {
    /// Every snapshot in the folder.
    present: BTreeSet<Zxid>,
    /// Those that are known to verify.
    valid: BTreeSet<Zxid>,
    /// Rises whenever the history is replaced: a snapshot begun before is then thrown away.
    generation: u64,
}

/// A snapshot that is being written.
pub struct SnapshotWriter<D: Disk> {
    store: SnapshotStore<D>,
    file: SteppedFile<D::File>,
    format: Format,
    zxid: Zxid,
    generation: u64,
}

impl<D: Disk> SnapshotStore<D> {
    pub(crate) fn new(disk: D, step_bytes: u64, kept: usize) -> SnapshotStore<D> {
        SnapshotStore { disk, step_bytes, kept: kept.max(1), shared: Arc::default() }
    }

    /// What recovery found.
    pub(crate) fn set_found(&self, present: impl Iterator<Item = Zxid>, valid: Option<Zxid>) {
        let mut files = self.files();
        files.present = present.collect();
        files.valid = valid.into_iter().collect();
    }

    /// The log is durable through `zxid`.
    pub(crate) fn set_synced(&self, zxid: Zxid) {
        self.shared.synced.store(zxid.0, Ordering::Release);
    }

    /// The newest snapshot that is known to verify.
    pub fn newest(&self) -> Option<Zxid> {
        self.files().valid.last().copied()
    }

    /// The oldest snapshot that is known to verify.
    pub(crate) fn oldest(&self) -> Option<Zxid> {
        self.files().valid.first().copied()
    }

    /// Begins a snapshot of the state after exactly `zxid`, which needs `version`. One at a time; an error harms nothing but this snapshot.
    pub fn begin(
        &self,
        zxid: Zxid,
        digest: u64,
        version: Version,
    ) -> Result<SnapshotWriter<D>, StorageError> {
        let in_file = || self.disk.describe(WRITE_TEMP_NAME);
        let generation = self.files().generation;
        let (format, header) = Format::begin(zxid, digest, version).in_file(in_file)?;
        let mut file = SteppedFile::new(self.disk.create(WRITE_TEMP_NAME).in_file(in_file)?, self.step_bytes);
        file.write(&header).in_file(in_file)?;
        Ok(SnapshotWriter { store: self.clone(), file, format, zxid, generation })
    }

    /// Keeps the newest snapshots that verify, as many as were asked for, and removes the older ones. Returns the oldest
    /// that is kept: the log before it is no longer needed. `None`, and nothing is removed, while there are not so many.
    pub fn purge(&self) -> Result<Option<Zxid>, StorageError> {
        let (mut candidates, generation) = {
            let files = self.files();
            (files.present.iter().rev().copied().collect::<Vec<_>>().into_iter(), files.generation)
        };
        let mut kept = Vec::new();
        while kept.len() < self.kept {
            let Some(zxid) = candidates.next() else { return Ok(None) };
            let known = self.files().valid.contains(&zxid);
            if known || self.verify(&name(zxid), zxid)?.is_ok() {
                kept.push(zxid);
            }
        }
        let oldest = *kept.last().expect("at least one is kept");
        let mut files = self.files();
        if files.generation != generation {
            return Ok(None);
        }
        files.valid.extend(kept);
        self.remove_where(&mut files, |zxid| zxid < oldest)?;
        Ok(Some(oldest))
    }

    /// Opens a snapshot that verifies.
    pub(crate) fn open(&self, zxid: Zxid) -> Result<SnapshotReader<D::File>, StorageError> {
        let name = name(zxid);
        let file = self.disk.open(&name).in_file(|| self.disk.describe(&name))?;
        SnapshotReader::open(file).map_err(|fault| self.damage(&name, fault))
    }

    /// Reads a file to its end and checks that it is a whole snapshot of `zxid`.
    pub(crate) fn verify(
        &self,
        name: &str,
        zxid: Zxid,
    ) -> Result<Result<SnapshotSummary, SnapshotFault>, StorageError> {
        let in_file = || self.disk.describe(name);
        let file = match self.disk.open(name) {
            Err(error) if is_decay(&error) => return Ok(Err(error.into())),
            opened => opened.in_file(in_file)?,
        };
        match verify_snapshot(file) {
            Ok(summary) if summary.zxid == zxid => Ok(Ok(summary)),
            Ok(_) => {
                let what = "a header with another zxid than it should have";
                Ok(Err(SnapshotFault::Damaged { offset: 16, what }))
            }
            Err(SnapshotFault::Io(error)) if !is_decay(&error) => Err(error).in_file(in_file),
            Err(fault) => Ok(Err(fault)),
        }
    }

    /// The history behind `through` is about to be cut off: so are the snapshots of it, the newest first.
    pub(crate) fn remove_behind(&self, through: Zxid) -> Result<(), StorageError> {
        let mut files = self.files();
        files.generation += 1;
        self.remove_where(&mut files, |zxid| zxid > through)
    }

    /// The received snapshot becomes the only one; a start that finds it done in part does it again.
    pub(crate) fn install(&self, zxid: Zxid) -> Result<(), StorageError> {
        let mut files = self.files();
        files.generation += 1;
        // The one of the same zxid is replaced by the rename.
        files.present.remove(&zxid);
        self.remove_where(&mut files, |_| true)?;
        let in_file = || self.disk.describe(&name(zxid));
        self.disk.rename(&received_name(zxid), &name(zxid)).in_file(in_file)?;
        self.disk.sync_dir().in_file(in_file)?;
        files.present.insert(zxid);
        files.valid.insert(zxid);
        Ok(())
    }

    fn remove_where(&self, files: &mut Files, unwanted: impl Fn(Zxid) -> bool) -> Result<(), StorageError> {
        let removed: Vec<Zxid> = files.present.iter().rev().copied().filter(|zxid| unwanted(*zxid)).collect();
        files.valid.retain(|zxid| !unwanted(*zxid));
        for zxid in &removed {
            let name = name(*zxid);
            self.disk.remove(&name).in_file(|| self.disk.describe(&name))?;
            files.present.remove(zxid);
        }
        if removed.is_empty() { Ok(()) } else { self.disk.sync_dir().in_file(|| self.disk.describe("")) }
    }

    fn damage(&self, name: &str, fault: SnapshotFault) -> StorageError {
        damage(self.disk.describe(name), fault)
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        // A thread that panicked ends the process.
        self.shared.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<D: Disk> SnapshotWriter<D> {
    /// Adds a block.
    pub fn block(&mut self, raw: &[u8]) -> Result<(), StorageError> {
        let in_file = || self.store.disk.describe(WRITE_TEMP_NAME);
        let bytes = self.format.block(raw).in_file(in_file)?;
        self.file.write(&bytes).in_file(in_file)
    }

    /// Completes the snapshot: durable, read back, and then given its name. False if the history was replaced while it
    /// was written, so that nobody needs it.
    pub fn finish(mut self) -> Result<bool, StorageError> {
        let store = &self.store;
        let in_file = || store.disk.describe(WRITE_TEMP_NAME);
        let footer = self.format.finish();
        self.file.write(&footer).in_file(in_file)?;
        self.file.sync().in_file(in_file)?;
        if let Err(fault) = store.verify(WRITE_TEMP_NAME, self.zxid)? {
            return Err(store.damage(WRITE_TEMP_NAME, fault));
        }
        let mut files = store.files();
        let synced = Zxid(store.shared.synced.load(Ordering::Acquire));
        if files.generation != self.generation || self.zxid > synced {
            store.disk.remove(WRITE_TEMP_NAME).in_file(in_file)?;
            return Ok(false);
        }
        let name = name(self.zxid);
        let in_file = || store.disk.describe(&name);
        store.disk.rename(WRITE_TEMP_NAME, &name).in_file(in_file)?;
        store.disk.sync_dir().in_file(in_file)?;
        files.present.insert(self.zxid);
        files.valid.insert(self.zxid);
        Ok(true)
    }
}

/// A snapshot that comes from a leader.
#[derive(Debug)]
pub(crate) struct Reception<D: Disk> {
    file: SteppedFile<D::File>,
}

impl<D: Disk> Reception<D> {
    /// Begins; what an earlier one left is thrown away.
    pub(crate) fn begin(store: &SnapshotStore<D>) -> Result<Reception<D>, StorageError> {
        let file = store.disk.create(RECEIVE_TEMP_NAME).in_file(|| store.disk.describe(RECEIVE_TEMP_NAME))?;
        Ok(Reception { file: SteppedFile::new(file, store.step_bytes) })
    }

    /// Adds a chunk.
    pub(crate) fn add(&mut self, store: &SnapshotStore<D>, chunk: &Bytes) -> Result<(), StorageError> {
        self.file.write(chunk).in_file(|| store.disk.describe(RECEIVE_TEMP_NAME))
    }

    /// Makes it durable under the name that says which one it is; false if it is not a whole snapshot of `zxid`.
    pub(crate) fn complete(mut self, store: &SnapshotStore<D>, zxid: Zxid) -> Result<bool, StorageError> {
        let in_file = || store.disk.describe(RECEIVE_TEMP_NAME);
        self.file.sync().in_file(in_file)?;
        if store.verify(RECEIVE_TEMP_NAME, zxid)?.is_err() {
            store.disk.remove(RECEIVE_TEMP_NAME).in_file(in_file)?;
            return Ok(false);
        }
        store.disk.rename(RECEIVE_TEMP_NAME, &received_name(zxid)).in_file(in_file)?;
        store.disk.sync_dir().in_file(in_file)?;
        Ok(true)
    }
}

/// A file that is written from its beginning to its end, and synced every so often: a log on the same device would
/// otherwise wait for all of it when it syncs its own few bytes.
#[derive(Debug)]
struct SteppedFile<F> {
    file: F,
    end: u64,
    synced: u64,
    step_bytes: u64,
}

impl<F: DiskFile> SteppedFile<F> {
    fn new(file: F, step_bytes: u64) -> SteppedFile<F> {
        SteppedFile { file, end: 0, synced: 0, step_bytes }
    }

    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.file.write_at(bytes, self.end)?;
        self.end += bytes.len() as u64;
        if self.end - self.synced >= self.step_bytes { self.sync() } else { Ok(()) }
    }

    fn sync(&mut self) -> std::io::Result<()> {
        if has(Mutant::SnapshotUnsynced) {
            return Ok(());
        }
        self.file.sync_data()?;
        self.synced = self.end;
        Ok(())
    }
}

/// The error for a snapshot that should verify.
pub(crate) fn damage(file: String, fault: SnapshotFault) -> StorageError {
    match fault {
        // It may be read the next time: nothing is known to be damaged.
        SnapshotFault::Io(source) => StorageError::Io { file, source },
        fault => StorageError::Damage(damage_of(file, &fault)),
    }
}

/// What is wrong with a snapshot that does not verify, or that the disk cannot read.
pub(crate) fn damage_of(file: String, fault: &SnapshotFault) -> Damage {
    let offset = match fault {
        SnapshotFault::Damaged { offset, .. } | SnapshotFault::Short(offset) => *offset,
        SnapshotFault::Io(_) | SnapshotFault::NotASnapshot | SnapshotFault::Future(_) => 0,
        SnapshotFault::Needs(_) => 12,
    };
    let case = match fault {
        SnapshotFault::Future(_) | SnapshotFault::Needs(_) => Case::FutureVersion,
        _ => Case::SnapshotDamaged,
    };
    Damage { case, file, offset, found: format!("a snapshot that does not verify: {fault}") }
}

/// The name of the snapshot of the state after `zxid`.
pub(crate) fn name(zxid: Zxid) -> String {
    format!("snapshot.{:x}", zxid.0)
}

/// The name of one that a leader sent, until it has replaced the state.
pub(crate) fn received_name(zxid: Zxid) -> String {
    format!("received.{:x}", zxid.0)
}

/// What a name in the folder means here.
pub(crate) enum Named {
    /// a snapshot
    Snapshot(Zxid),
    /// a whole one that a leader sent
    Received(Zxid),
    /// something that was not completed
    Unfinished,
    /// somebody else's
    Other,
}

/// What a name in the folder means here.
pub(crate) fn classify(file_name: &str) -> Named {
    if file_name == WRITE_TEMP_NAME || file_name == RECEIVE_TEMP_NAME {
        return Named::Unfinished;
    }
    if let Some(zxid) = super::hex_suffix(file_name, "snapshot.") {
        return Named::Snapshot(Zxid(zxid));
    }
    super::hex_suffix(file_name, "received.").map_or(Named::Other, |zxid| Named::Received(Zxid(zxid)))
}
