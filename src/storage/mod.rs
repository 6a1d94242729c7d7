//! What a server keeps on its disks: the log, the snapshots, the epoch file. `docs/storage.md` draws the bytes.
//!
//! - [`Storage`] belongs to the disk thread: it carries out [`crate::zab::DiskOp`]s, in order.
//! - [`SnapshotStore`] is its door for the thread that writes snapshots, [`Spares`] for the one that prepares segments.
//! - [`table`] holds every state that a start can find, and the decision about it.
//!
//! The first failed write or sync is the last thing that storage does: nothing is tried again, since after a failed
//! sync nobody knows what the disk holds. The process must end; its next start reads what is really there.

mod active;
mod direct;
mod disk;
mod epoch_file;
mod error;
mod log;
mod os_disk;
mod put_aside;
mod recovery;
mod salvage;
mod scan;
mod segment;
mod snapshot;
mod snapshot_store;
mod spares;
mod store;
pub mod table;
pub mod testing;
#[cfg(test)]
mod tests;

pub use disk::{Disk, DiskFile, Disks, ReadAt};
pub use epoch_file::{EPOCH_VERSION, EpochFault, EpochFile, decode_epoch, encode_epoch};
pub use error::{Damage, StorageError};
pub use log::Tail;
pub use os_disk::{OsDisk, OsFile, open_file, open_folders, open_folders_to_read, require_folders, user_of};
pub use put_aside::{DAMAGED_SETS_MAX, damaged_sets, put_aside};
pub use recovery::{Note, Recovered};
pub use salvage::{Left, open_left, what_is_left, write_backup};
pub use scan::{Ending, Entry, Scan, decode_segment, scan_segment};
pub use segment::{
    HeaderFault, RECORD_HEADER_BYTES, RecordFault, RecordHeader, RecordKind, SEGMENT_HEADER_BYTES,
    SEGMENT_VERSION, SegmentHeader, TXN_BYTES_MAX,
};
pub use snapshot::{
    BLOCK_BYTES_MAX, SNAPSHOT_VERSION, SnapshotEncoder, SnapshotFault, SnapshotReader, SnapshotSummary,
    decode_snapshot, verify_snapshot,
};
pub use snapshot_store::{SnapshotStore, SnapshotWriter};
pub use spares::Spares;
pub use store::{Executed, Options, Storage};

/// The number behind `prefix`, written as this module writes numbers in names: there is one name for each.
fn hex_suffix(name: &str, prefix: &str) -> Option<u64> {
    let number = u64::from_str_radix(name.strip_prefix(prefix)?, 16).ok()?;
    (name == format!("{prefix}{number:x}")).then_some(number)
}
