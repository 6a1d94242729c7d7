//! What is left of damaged data: the newest snapshot that verifies, and the log behind it up to the first thing that does
//! not. Nothing is changed.

use super::disk::{Disk, DiskFile, Disks};
use super::epoch_file;
use super::error::{InFile, StorageError};
use super::log::describe_fault;
use super::recovery::{Survey, choose_snapshot, describe_early_end, survey};
use super::scan::{Ending, Entry, or_unreadable, scan_segment};
use super::segment::segment_name;
use super::snapshot::{SnapshotEncoder, SnapshotReader};
use super::snapshot_store::{self, SnapshotStore};
use crate::ids::{Version, Zxid};
use crate::zab::Proposal;

/// What can still be shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Left {
    /// the name of the snapshot to begin with; without one the log reaches back to the beginning, or nothing is left
    pub snapshot: Option<String>,
    /// the last transaction in it; zero without one
    pub floor: Zxid,
    /// the last transaction that can be shown
    pub through: Zxid,
    /// how many transactions the log adds to the snapshot
    pub transactions: u64,
    /// what does not verify, or cannot be reached because of it; one line each
    pub damage: Vec<String>,
}

/// Zxid and checksum of the last record of a segment: what the next one continues.
type SegmentEnd = (Zxid, u32);

/// Where a segment cannot be read any further, and what was found there.
type Fault = (u64, String);

/// Looks at all of it. `visit` is shown the transactions behind the snapshot, in order.
pub fn what_is_left<D: Disk>(
    disks: &Disks<D>,
    visit: &mut dyn FnMut(Proposal),
) -> Result<Left, StorageError> {
    let survey = survey(disks)?;
    let store = SnapshotStore::new(disks.data.clone(), u64::MAX, 1);
    let choice = choose_snapshot(disks, &store, &survey)?;
    let mut left = Left {
        snapshot: choice.name,
        floor: choice.zxid,
        through: choice.zxid,
        transactions: 0,
        damage: Vec::new(),
    };
    if let Some(trouble) = choice.trouble {
        left.damage.push(format!("{}, byte {}: {}", trouble.file, trouble.offset, trouble.found));
    }
    let first = survey.segments.iter().rposition(|(previous, _)| *previous <= left.floor);
    match first {
        Some(first) => read_on(disks, &survey, first, &mut left, visit)?,
        None => {
            if let Some((previous, _)) = survey.segments.first() {
                let (file, floor) = (disks.log.describe(&segment_name(*previous)), left.floor);
                left.damage.push(format!(
                    "{file}: a log that begins behind {previous}, which {floor} does not reach"
                ));
            }
        }
    }
    if left.through < survey.log_end() {
        let file = disks.data.describe(epoch_file::NAME);
        left.damage.push(format!("{file}: {}", describe_early_end(left.through, survey.log_end())));
    }
    Ok(left)
}

/// Opens the snapshot that [`what_is_left`] found; `None` if there is none.
pub fn open_left<D: Disk>(
    disks: &Disks<D>,
    left: &Left,
) -> Result<Option<SnapshotReader<D::File>>, StorageError> {
    let Some(name) = &left.snapshot else { return Ok(None) };
    let in_file = || disks.data.describe(name);
    let file = disks.data.open(name).in_file(in_file)?;
    SnapshotReader::open(file).map(Some).map_err(|fault| snapshot_store::damage(in_file(), fault))
}

/// Writes a snapshot of the state after exactly `zxid`, durably: with nothing beside it, a backup that a server can be
/// started from. Returns its name.
pub fn write_backup<D: Disk>(
    disk: &D,
    zxid: Zxid,
    digest: u64,
    version: Version,
    blocks: impl Iterator<Item = Vec<u8>>,
) -> Result<String, StorageError> {
    let name = snapshot_store::name(zxid);
    let temp = format!("{name}.tmp");
    let in_file = || disk.describe(&name);
    let file = disk.create(&temp).in_file(in_file)?;
    let mut at = 0;
    for chunk in SnapshotEncoder::new(zxid, digest, version, blocks).in_file(in_file)? {
        let chunk = chunk.in_file(in_file)?;
        file.write_at(&chunk, at).in_file(in_file)?;
        at += chunk.len() as u64;
    }
    file.sync_data().in_file(in_file)?;
    disk.rename(&temp, &name).in_file(in_file)?;
    disk.sync_dir().in_file(in_file)?;
    Ok(name)
}

/// Reads the segments from `first` on for as long as each continues the one before.
fn read_on<D: Disk>(
    disks: &Disks<D>,
    survey: &Survey,
    first: usize,
    left: &mut Left,
    visit: &mut dyn FnMut(Proposal),
) -> Result<(), StorageError> {
    let mut end = None;
    for (index, (previous, header)) in survey.segments.iter().enumerate().skip(first) {
        let name = segment_name(*previous);
        let later = survey.segments.len() - index - 1;
        let fault = match (header, end) {
            (Err(fault), _) => Err((0, describe_fault(*fault))),
            (Ok(header), None) if header.previous != *previous => Err((0, "another header".to_owned())),
            (Ok(header), Some(end)) if (header.previous, header.chain) != end => {
                Err((0, format!("a segment that does not continue {}", left.through)))
            }
            (Ok(_), _) => read_segment(&disks.log, &name, later == 0, left, visit)?,
        };
        match fault {
            Ok(read_through) => end = Some(read_through),
            Err((offset, found)) => {
                let file = disks.log.describe(&name);
                left.damage.push(format!(
                    "{file}, byte {offset}: {found}. What follows in the log is out of reach ({later} more segments)"
                ));
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Reads one segment: where it ends, or what is wrong with it and where.
fn read_segment<D: Disk>(
    disk: &D,
    name: &str,
    is_last: bool,
    left: &mut Left,
    visit: &mut dyn FnMut(Proposal),
) -> Result<Result<SegmentEnd, Fault>, StorageError> {
    let read = disk.open(name).and_then(|file| {
        scan_segment(&file, &mut |Entry { zxid, previous, txn, .. }| {
            if previous == left.through {
                (left.through, left.transactions) = (zxid, left.transactions + 1);
                visit(Proposal { zxid, txn });
            }
        })
    });
    Ok(match or_unreadable(read).in_file(|| disk.describe(name))? {
        Err(fault) => Err((0, describe_fault(fault))),
        Ok(scan) => match scan.ending {
            Ending::Damaged { offset, found } => Err((offset, found)),
            Ending::Torn { found, .. } if !is_last => Err((scan.end, found.to_owned())),
            Ending::Clean | Ending::Torn { .. } => Ok((scan.last, scan.crc)),
        },
    })
}
