//! One operation of the disk thread. Generic over the disk, so that tests run the same code over a simulated one.

use crate::ids::Zxid;
use crate::replica::{Input, State, StateLoadError};
use crate::storage::{Disk, Executed, SnapshotFault, Storage, StorageError};
use crate::zab::{DiskDone, DiskOp};

/// What became of an operation.
#[derive(Debug)]
pub enum Carried {
    /// it is durable after the next sync
    Buffered,
    /// it is done, and durable is everything before it: what the replica is to be told
    Done(Input),
}

/// Why a server must stop.
#[derive(Debug, thiserror::Error)]
pub enum DiskFault {
    /// the disk failed
    #[error("the disk failed: {0}")]
    Storage(#[from] StorageError),
    /// the log is not what the broadcast takes it for
    #[error("the log cannot be cut at {0}: it holds no such end")]
    TruncateMissed(Zxid),
    /// what the leader sent verifies, and is of no use
    #[error("the installed snapshot of {zxid} makes no state: {source}")]
    UselessSnapshot {
        /// of the snapshot
        zxid: Zxid,
        /// why
        source: StateLoadError<SnapshotFault>,
    },
}

/// Carries out one operation of the broadcast.
pub fn carry_out<D: Disk>(
    storage: &mut Storage<D>,
    hash_seed: u64,
    seq: u64,
    op: DiskOp,
) -> Result<Carried, DiskFault> {
    let cut_at = if let DiskOp::Truncate { through } = op { through } else { Zxid::ZERO };
    let installed = if let DiskOp::InstallSnapshot { zxid } = op { Some(zxid) } else { None };
    Ok(match (storage.execute(op)?, installed) {
        (Executed::Buffered, _) => Carried::Buffered,
        (Executed::TruncateMissed, _) => return Err(DiskFault::TruncateMissed(cut_at)),
        (Executed::InstallFailed, _) => Carried::Done(Input::Disk(DiskDone::InstallFailed { seq })),
        (Executed::Durable, None) => Carried::Done(Input::Disk(DiskDone::Synced { seq })),
        (Executed::Durable, Some(zxid)) => {
            let reader = storage.open_snapshot(zxid)?;
            let state = State::from_blocks(hash_seed, zxid, reader.digest(), reader.version(), reader)
                .map_err(|source| DiskFault::UselessSnapshot { zxid, source })?;
            Carried::Done(Input::Installed { seq, state: Box::new(state) })
        }
    })
}
