//! The storage of a server: the operations of the disk thread.

use bytes::Bytes;

use super::disk::{Disk, Disks};
use super::epoch_file::{self, EpochFile};
use super::error::StorageError;
use super::log::{Log, Tail};
use super::recovery::{self, Recovered};
use super::segment::SEGMENT_HEADER_BYTES;
use super::snapshot::SnapshotReader;
use super::snapshot_store::{Reception, SnapshotStore};
use super::spares::Spares;
use crate::ids::Zxid;
use crate::mutants::{Mutant, has};
use crate::zab::{DiskOp, EpochRecord, Proposal};

/// How storage uses its folders.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// length of a log segment, bytes: what is read at most to find the end of the log. ZooKeeper's `preAllocSize`
    pub segment_bytes: u64,
    /// how many old segments are kept to be used again; each occupies `segment_bytes`
    pub spare_segments_max: usize,
    /// how many snapshots are kept; with fewer than 3 a damaged one may not have a predecessor that the log reaches
    pub snapshots_kept: usize,
    /// how much of a snapshot is written between two syncs, bytes: what a sync of the log may have to wait for
    pub snapshot_step_bytes: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            segment_bytes: 64 << 20,
            spare_segments_max: 3,
            snapshots_kept: 3,
            snapshot_step_bytes: 8 << 20,
        }
    }
}

/// What became of a [`DiskOp`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Executed {
    /// durable after the next [`Storage::sync`]
    Buffered,
    /// durable, and so is everything before it
    Durable,
    /// the log holds no such transaction: nothing changed
    TruncateMissed,
    /// what was received is not that snapshot: nothing changed
    InstallFailed,
}

/// The folders of a server, opened: the log to be written at its end, the snapshots, the epoch file.
pub struct Storage<D: Disk> {
    disks: Disks<D>,
    log: Log<D>,
    snapshots: SnapshotStore<D>,
    spares: Spares<D>,
    /// The snapshot that the server started from, or installed since.
    base: Zxid,
    /// As it is on the disk. Without one a log is not started from: the first promise comes before the first
    /// transaction.
    epoch: Option<EpochFile>,
    reception: Option<Reception<D>>,
    poisoned: bool,
}

impl<D: Disk> Storage<D> {
    /// Reads what is there, decides by [`super::table`] whether to start from it, and repairs what a crash left undone.
    pub fn open(disks: Disks<D>, options: Options) -> Result<(Storage<D>, Recovered<D>), StorageError> {
        // Room for a header and a few records; whole pages.
        let segment_bytes = options.segment_bytes.max(2 * SEGMENT_HEADER_BYTES).next_multiple_of(4096);
        let options = Options { segment_bytes, ..options };
        let spares = Spares::new(disks.log.clone(), segment_bytes, options.spare_segments_max);
        let snapshots =
            SnapshotStore::new(disks.data.clone(), options.snapshot_step_bytes, options.snapshots_kept);
        let (log, recovered) = recovery::recover(&disks, &snapshots, &spares, segment_bytes)?;
        snapshots.set_synced(log.synced());
        let storage = Storage {
            disks,
            log,
            snapshots,
            spares,
            base: recovered.floor,
            epoch: recovered.epoch.clone().map(|record| EpochFile { record, log_end: recovered.log_end }),
            reception: None,
            poisoned: false,
        };
        Ok((storage, recovered))
    }

    /// Shows every transaction behind the snapshot, in order, with the commit point that was known when it was written.
    pub fn replay(&self, mut visit: impl FnMut(Proposal, Zxid)) -> Result<(), StorageError> {
        self.log.replay(self.base, &mut |entry| {
            visit(Proposal { zxid: entry.zxid, txn: entry.txn }, entry.committed);
        })
    }

    /// The newest transactions that are in the log and in the snapshot, as many as take up `bytes_max` of memory.
    pub fn tail(&self, bytes_max: usize) -> Tail {
        self.log.tail(self.base, bytes_max)
    }

    /// Carries out an operation. [`Storage::sync`] completes what is [`Executed::Buffered`].
    pub fn execute(&mut self, op: DiskOp) -> Result<Executed, StorageError> {
        match op {
            DiskOp::Append { previous, proposals, committed } => {
                self.append(previous, &proposals, committed)?;
                Ok(Executed::Buffered)
            }
            DiskOp::Truncate { through } => {
                Ok(if self.truncate(through)? { Executed::Durable } else { Executed::TruncateMissed })
            }
            DiskOp::SaveEpoch(record) => {
                self.save_epoch(&record)?;
                Ok(Executed::Durable)
            }
            DiskOp::ReceiveSnapshot { chunk, first } => {
                self.receive_snapshot(chunk, first)?;
                Ok(Executed::Buffered)
            }
            DiskOp::InstallSnapshot { zxid } => {
                Ok(if self.install_snapshot(zxid)? { Executed::Durable } else { Executed::InstallFailed })
            }
        }
    }

    /// Adds to the log, which must end with `previous`. Durable after [`Storage::sync`].
    pub fn append(
        &mut self,
        previous: Zxid,
        proposals: &[Proposal],
        committed: Zxid,
    ) -> Result<(), StorageError> {
        assert!(self.epoch.is_some(), "the epoch file is saved before the first transaction");
        self.guarded(|storage| storage.log.append(previous, proposals, committed))
    }

    /// Makes everything durable that was added: one write and one sync, unless a segment ends in between. Returns the
    /// end of the log.
    pub fn sync(&mut self) -> Result<Zxid, StorageError> {
        self.guarded(|storage| {
            let synced = storage.log.sync()?;
            storage.snapshots.set_synced(synced);
            Ok(synced)
        })
    }

    /// The durable end of the log.
    pub fn synced(&self) -> Zxid {
        self.log.synced()
    }

    /// Cuts the log behind `through`, durably. False, and nothing changes, if it holds no such transaction, or if there
    /// would be no snapshot to start from.
    pub fn truncate(&mut self, through: Zxid) -> Result<bool, StorageError> {
        self.sync()?;
        self.guarded(|storage| {
            let Some(cut) = storage.log.find(through)? else { return Ok(false) };
            if storage.snapshots.oldest().is_some_and(|oldest| oldest > through) {
                return Ok(false);
            }
            storage.lower_log_end(through)?;
            // Snapshots first: an older one and the whole log still give the old state, but a log that ends before a
            // snapshot cannot be told from one that lost its end.
            storage.snapshots.remove_behind(through)?;
            storage.log.cut(cut)?;
            storage.snapshots.set_synced(through);
            Ok(true)
        })
    }

    /// Replaces the epoch file, durably, once everything before is durable. It notes where the log ends then.
    pub fn save_epoch(&mut self, record: &EpochRecord) -> Result<(), StorageError> {
        let log_end = self.sync()?;
        self.guarded(|storage| storage.replace_epoch_file(EpochFile { record: record.clone(), log_end }))
    }

    /// To be called before the log may end with `through`: from now on that is not taken for a loss.
    fn lower_log_end(&mut self, through: Zxid) -> Result<(), StorageError> {
        match &self.epoch {
            Some(EpochFile { record, log_end }) if through < *log_end && !has(Mutant::LogEndKept) => {
                self.replace_epoch_file(EpochFile { record: record.clone(), log_end: through })
            }
            _ => Ok(()),
        }
    }

    fn replace_epoch_file(&mut self, contents: EpochFile) -> Result<(), StorageError> {
        epoch_file::save(&self.disks.data, &contents)?;
        self.epoch = Some(contents);
        Ok(())
    }

    /// Adds a chunk to a snapshot that a leader sends; `first` begins a new one.
    pub fn receive_snapshot(&mut self, chunk: Bytes, first: bool) -> Result<(), StorageError> {
        self.guarded(|storage| {
            if first {
                storage.reception = Some(Reception::begin(&storage.snapshots)?);
            }
            match &mut storage.reception {
                Some(reception) => reception.add(&storage.snapshots, &chunk),
                // The beginning is missing, so installing it will fail, and that is the answer to it.
                None => Ok(()),
            }
        })
    }

    /// Makes the received snapshot the state, and begins an empty log behind it. False, and nothing changes, if it is
    /// not a whole snapshot of `zxid`.
    pub fn install_snapshot(&mut self, zxid: Zxid) -> Result<bool, StorageError> {
        assert!(self.epoch.is_some(), "the epoch file is saved before the first snapshot");
        self.sync()?;
        self.guarded(|storage| {
            let Some(reception) = storage.reception.take() else { return Ok(false) };
            if !reception.complete(&storage.snapshots, zxid)? {
                return Ok(false);
            }
            storage.lower_log_end(zxid)?;
            // This is the step that counts: a start before it finds the old state, a start behind it the new one.
            let void = storage.log.restart(zxid)?;
            storage.snapshots.install(zxid)?;
            storage.snapshots.set_synced(zxid);
            storage.log.remove_void(&void)?;
            storage.base = zxid;
            Ok(true)
        })
    }

    /// Opens a snapshot that verifies: the one that was just installed.
    pub fn open_snapshot(&self, zxid: Zxid) -> Result<SnapshotReader<D::File>, StorageError> {
        self.snapshots.open(zxid)
    }

    /// Puts away the segments of which nothing behind `through` is left; returns how many. To be called with what
    /// [`SnapshotStore::purge`] returned.
    pub fn purge_log(&mut self, through: Zxid) -> Result<usize, StorageError> {
        self.guarded(|storage| storage.log.purge(through))
    }

    /// Writes down that everything is durable: before a clean end of the process, and when there is nothing else to do.
    /// The next start can then tell a damaged last group of records from one that was never finished.
    pub fn mark_end(&mut self) -> Result<(), StorageError> {
        self.guarded(|storage| {
            storage.log.mark_end()?;
            storage.snapshots.set_synced(storage.log.synced());
            Ok(())
        })
    }

    /// The door for the thread that writes snapshots.
    pub fn snapshots(&self) -> SnapshotStore<D> {
        self.snapshots.clone()
    }

    /// The door for the thread that prepares segments.
    pub fn spares(&self) -> Spares<D> {
        self.spares.clone()
    }

    /// After the first error nothing is done any more.
    fn guarded<T>(
        &mut self,
        act: impl FnOnce(&mut Storage<D>) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        if self.poisoned {
            return Err(StorageError::Poisoned);
        }
        let result = act(self);
        self.poisoned = result.is_err();
        result
    }
}
