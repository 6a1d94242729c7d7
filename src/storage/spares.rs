//! Segments that lie ready. A log file whose blocks were all written once is synced a third faster than one that
//! grows, so the next segment is an old one that is no longer needed, or is filled with zeros before it is needed.
//! Filling writes everything twice: it pays while groups are small, and would slow down a log in which few large
//! groups fill a segment.

use std::sync::Arc;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::disk::{Disk, DiskFile, ReadAt};
use super::error::{InFile, StorageError};

const TEMP_NAME: &str = "spare.tmp";
const PREFIX: &str = "spare.";

/// How much is written between two syncs, so that those of the log, which wait for the same device, stay short.
const FILL_STEP_BYTES: u64 = 4 << 20;

/// Groups of more than this make a segment full with so few syncs that filling it first costs more than they save,
/// bytes. Filling 64 MiB takes about 100 ms of a core, a sync of a file that grows 50 us more: even at 2,000 syncs.
const GROUP_BYTES_WORTH_FILLING: u64 = 32 << 10;

/// A handle of the segments that lie ready; clones share them. One may be used by a background thread.
#[derive(Clone, Debug)]
pub struct Spares<D> {
    disk: D,
    segment_bytes: u64,
    max: usize,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    ready: Vec<u64>,
    next: u64,
    /// the mean of the last segment that became full, bytes
    group_bytes: u64,
}

impl<D: Disk> Spares<D> {
    /// Nothing is ready yet; `names` are those in the folder.
    pub(crate) fn new(disk: D, segment_bytes: u64, max: usize) -> Spares<D> {
        Spares { disk, segment_bytes, max, state: Arc::default() }
    }

    /// Makes sure that one segment lies ready, filling a new file with zeros if none does and that pays: the slow part,
    /// for a background thread. One caller at a time.
    pub fn prepare(&self) -> Result<(), StorageError> {
        if self.max == 0 || self.is_ready() || !self.filling_pays() {
            return Ok(());
        }
        self.fill().in_file(|| self.disk.describe(TEMP_NAME))?;
        let number = self.number();
        self.disk.rename(TEMP_NAME, &name(number)).in_file(|| self.disk.describe(TEMP_NAME))?;
        self.state().ready.push(number);
        Ok(())
    }

    fn fill(&self) -> std::io::Result<()> {
        let file = self.disk.create(TEMP_NAME)?;
        let zeros = vec![0; FILL_STEP_BYTES.min(self.segment_bytes) as usize];
        let mut at = 0;
        while at < self.segment_bytes {
            let count = (self.segment_bytes - at).min(zeros.len() as u64);
            file.write_blocks_at(&zeros[..count as usize], at)?;
            file.sync_data()?;
            at += count;
        }
        Ok(())
    }

    /// True if a segment lies ready.
    pub fn is_ready(&self) -> bool {
        !self.state().ready.is_empty()
    }

    /// True while groups are small enough for a filled segment to be worth what it costs.
    pub(crate) fn filling_pays(&self) -> bool {
        self.state().group_bytes <= GROUP_BYTES_WORTH_FILLING
    }

    /// Told when a segment is full: how large its groups were in the mean, bytes.
    pub(crate) fn note_group_size(&self, bytes: u64) {
        self.state().group_bytes = bytes;
    }

    /// The name of a segment that lies ready; the caller renames it.
    pub(crate) fn take(&self) -> Option<String> {
        self.state().ready.pop().map(name)
    }

    /// Takes in a file that was left by an earlier process.
    pub(crate) fn adopt(&self, file_name: &str) -> Result<(), StorageError> {
        let in_file = || self.disk.describe(file_name);
        match number_of(file_name) {
            Some(number) if self.state().ready.len() < self.max && self.is_whole(file_name)? => {
                let mut state = self.state();
                state.next = state.next.max(number + 1);
                state.ready.push(number);
                Ok(())
            }
            _ => self.disk.remove(file_name).in_file(in_file),
        }
    }

    /// Puts away a segment that nobody needs any more: among the spares, or out of the folder. The caller syncs the
    /// folder.
    pub(crate) fn put_away(&self, segment: &str) -> Result<(), StorageError> {
        let in_file = || self.disk.describe(segment);
        if self.state().ready.len() >= self.max || !self.is_whole(segment)? {
            return self.disk.remove(segment).in_file(in_file);
        }
        let number = self.number();
        self.disk.rename(segment, &name(number)).in_file(in_file)?;
        self.state().ready.push(number);
        Ok(())
    }

    /// Every block of it was written: only then it is worth keeping. Longer ones are not kept, they held a giant.
    fn is_whole(&self, file_name: &str) -> Result<bool, StorageError> {
        let size = self.disk.open(file_name).and_then(|file| file.size());
        Ok(size.in_file(|| self.disk.describe(file_name))? == self.segment_bytes)
    }

    fn number(&self) -> u64 {
        let mut state = self.state();
        state.next += 1;
        state.next - 1
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change of the state is a single step: a thread that panicked left it whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// True for files that this module made.
pub(crate) fn is_spare(file_name: &str) -> bool {
    file_name == TEMP_NAME || number_of(file_name).is_some()
}

fn name(number: u64) -> String {
    format!("{PREFIX}{number:x}")
}

fn number_of(file_name: &str) -> Option<u64> {
    super::hex_suffix(file_name, PREFIX)
}
