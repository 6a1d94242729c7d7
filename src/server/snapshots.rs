//! The background thread: it writes snapshots, throws away what they make superfluous, and keeps a segment of the log
//! ready. Its work gives way to everything else. What fails here is said, and tried again with the next snapshot.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::disk::{DiskQueue, Job};
use crate::admin::{Count, Stats, Sum};
use crate::replica::{Image, Input};
use crate::storage::{OsDisk, SnapshotEncoder, SnapshotStore, Spares, StorageError};

/// How often it is looked whether a segment of the log was used up.
const PREPARE_PAUSE: Duration = Duration::from_millis(500);

/// How long nothing is prepared after that failed: a full disk is not made emptier by trying.
const FAILED_PAUSE: Duration = Duration::from_secs(60);

/// How much this thread gives way to others (0 to 19).
const NICENESS: i32 = 10;

/// The most of a snapshot that travels in one message: heartbeats go between them.
const CHUNK_BYTES_MAX: usize = 256 << 10;

/// The thread's own.
pub struct SnapshotThread {
    /// the snapshot files
    pub store: SnapshotStore<OsDisk>,
    /// segments for the log
    pub spares: Spares<OsDisk>,
    /// what to write
    pub images: Receiver<Image>,
    /// to the core
    pub inputs: mpsc::Sender<Input>,
    /// to the disk thread
    pub disk: Arc<DiskQueue>,
    /// the longest pause between purges; `None`: nothing is ever thrown away
    pub purge_interval: Option<Duration>,
    /// for the metrics
    pub stats: Arc<Stats>,
}

impl SnapshotThread {
    /// Works until the core is gone.
    pub fn run(self) {
        // A thread that cannot give way does its work all the same.
        let _ = rustix::process::setpriority_process(None, NICENESS);
        let mut purged: Option<Instant> = None;
        let mut prepare_failed: Option<Instant> = None;
        loop {
            if prepare_failed.is_none_or(|at| at.elapsed() >= FAILED_PAUSE) {
                prepare_failed = self.prepare();
            }
            let is_due = |at: Instant| self.purge_interval.is_some_and(|pause| at.elapsed() >= pause);
            if self.purge_interval.is_some() && purged.is_none_or(is_due) {
                self.purge();
                purged = Some(Instant::now());
            }
            match self.images.recv_timeout(PREPARE_PAUSE) {
                Ok(image) => {
                    self.write(&image);
                    // Not only once an interval: a busy server would fill its disk in less.
                    purged = None;
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Makes sure that a segment lies ready; when it failed if it did.
    fn prepare(&self) -> Option<Instant> {
        let error = self.spares.prepare().err()?;
        tracing::warn!("no segment of the log can be prepared: {error}");
        Some(Instant::now())
    }

    fn write(&self, image: &Image) {
        let (zxid, began) = (image.zxid(), Instant::now());
        match self.try_write(image) {
            Ok(true) => {
                self.stats.metrics.note_time(Sum::Snapshot, began.elapsed());
                tracing::info!(
                    "snapshot of {zxid} written and verified in {} ms",
                    began.elapsed().as_millis()
                );
            }
            Ok(false) => tracing::info!("snapshot of {zxid} thrown away: the history was replaced meanwhile"),
            Err(error) => {
                self.stats.metrics.count(Count::SnapshotError);
                tracing::error!("no snapshot of {zxid} could be written: {error}");
            }
        }
        let _ = self.inputs.blocking_send(Input::SnapshotWritten { zxid });
    }

    fn try_write(&self, image: &Image) -> Result<bool, StorageError> {
        let mut writer = self.store.begin(image.zxid(), image.digest(), image.version())?;
        for block in image.blocks() {
            writer.block(&block)?;
        }
        writer.finish()
    }

    fn purge(&self) {
        match self.store.purge() {
            Ok(Some(oldest)) => self.disk.push([Job::PurgeLog(oldest)]),
            Ok(None) => {}
            Err(error) => tracing::error!("old snapshots cannot be removed: {error}"),
        }
    }
}

/// Encodes a snapshot as its file has it, in pieces, until there are no more or `take` wants none.
pub fn encode(image: &Image, mut take: impl FnMut(Bytes) -> bool) -> std::io::Result<()> {
    for chunk in SnapshotEncoder::new(image.zxid(), image.digest(), image.version(), image.blocks())? {
        let mut chunk = chunk?;
        while !chunk.is_empty() {
            if !take(chunk.split_to(chunk.len().min(CHUNK_BYTES_MAX))) {
                return Ok(());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replica::State;
    use crate::storage::decode_snapshot;

    #[test]
    fn the_pieces_of_a_snapshot_make_its_file() {
        let image = State::new(7).image();
        let mut file = Vec::new();
        encode(&image, |chunk| {
            assert!(chunk.len() <= CHUNK_BYTES_MAX);
            file.extend_from_slice(&chunk);
            true
        })
        .unwrap();
        let (summary, _blocks) = decode_snapshot(&file).unwrap();
        let read = (summary.zxid, summary.digest, summary.version);
        assert_eq!(read, (image.zxid(), image.digest(), image.version()));
    }
}
