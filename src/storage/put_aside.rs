//! Damaged data of a server whose ensemble holds the rest: it is put aside, so that the server can begin with nothing and
//! be given everything. Nothing is deleted; the files only get names that no start reads.
//!
//! The order is what makes a crash harmless. The epoch file first says that the server does not vote and that its data is
//! condemned; from then on every start goes on here, until nothing of it is left.

use std::collections::BTreeSet;

use super::disk::{Disk, DiskFile, Disks, ReadAt};
use super::epoch_file::{self, EpochFile};
use super::error::{InFile, StorageError, is_decay};
use super::segment::segment_previous;
use super::snapshot_store::{self, Named};
use crate::ids::{Epoch, Zxid};
use crate::zab::EpochRecord;

/// How many sets of damaged files a server keeps. A disk that spoils more needs somebody who looks after it.
pub const DAMAGED_SETS_MAX: usize = 3;

const PREFIX: &str = "damaged-";

/// What tells the operator why a set was put aside.
const REASON: &str = "txt";

/// An epoch file longer than this is kept as a beginning, bytes: none was ever written that long.
const EPOCH_COPY_BYTES_MAX: u64 = 1 << 20;

/// Takes away the server's right to vote, durably, and puts aside its log and its snapshots as `damaged-<set>.<name>`.
/// `found` is kept with them. A crash at any moment leaves something that a start goes on with here. Returns the set.
pub fn put_aside<D: Disk>(disks: &Disks<D>, found: &str, new_data_dir_id: u64) -> Result<u32, StorageError> {
    let names = names(&disks.data)?;
    let known = match names.iter().any(|name| name == epoch_file::NAME) {
        true => Some(epoch_file::load(&disks.data)?),
        false => None,
    };
    let set = match &known {
        Some(Ok(EpochFile { record, .. })) if record.condemned => sets(disks)?.last().copied().unwrap_or(1),
        _ => {
            let set = begin_set(disks, found)?;
            let record = match known {
                // It promised what it promised, and holds nothing of any epoch any more: should an operator give it its
                // vote, it must not win against a server that has something.
                Some(Ok(EpochFile { record, .. })) => {
                    EpochRecord { may_vote: false, condemned: true, current_epoch: Epoch(0), ..record }
                }
                damaged => {
                    if damaged.is_some() {
                        keep_epoch_file(&disks.data, set)?;
                    }
                    EpochRecord {
                        data_dir_id: new_data_dir_id,
                        accepted_epoch: newest_epoch_named(disks)?,
                        promises_lost: true,
                        condemned: true,
                        ..EpochRecord::default()
                    }
                }
            };
            // Nothing is missing from the empty log that it will begin with.
            epoch_file::save(&disks.data, &EpochFile { record, log_end: Zxid::ZERO })?;
            set
        }
    };
    for disk in [&disks.data, &disks.log] {
        rename_all(disk, set)?;
    }
    Ok(set)
}

/// How many sets of damaged files the folders keep.
pub fn damaged_sets<D: Disk>(disks: &Disks<D>) -> Result<usize, StorageError> {
    Ok(sets(disks)?.len())
}

/// True for files that are put aside here: the log in the one folder, the snapshots in the other.
fn is_data(name: &str) -> bool {
    let named = snapshot_store::classify(name);
    segment_previous(name).is_some() || matches!(named, Named::Snapshot(_) | Named::Received(_))
}

fn rename_all<D: Disk>(disk: &D, set: u32) -> Result<(), StorageError> {
    let names = names(disk)?;
    for name in names.iter().filter(|name| is_data(name)) {
        let aside = aside(set, name);
        if names.contains(&aside) {
            // Only an operator can have made it. It is not replaced.
            return Err(std::io::Error::from(std::io::ErrorKind::AlreadyExists))
                .in_file(|| disk.describe(&aside));
        }
        disk.rename(name, &aside).in_file(|| disk.describe(name))?;
    }
    disk.sync_dir().in_file(|| disk.describe(""))
}

/// Gives the new set a number, and writes down why there is one.
fn begin_set<D: Disk>(disks: &Disks<D>, found: &str) -> Result<u32, StorageError> {
    let sets = sets(disks)?;
    let newest = sets.last().copied().unwrap_or(0);
    let begun = [aside(newest, REASON), aside(newest, epoch_file::NAME)];
    let mut of_newest = names(&disks.data)?;
    of_newest.append(&mut names(&disks.log)?);
    of_newest.retain(|name| set_of(name) == Some(newest));
    // A crash in the middle of this left it without any data.
    let is_unused = newest > 0 && of_newest.iter().all(|name| begun.contains(name));
    if !is_unused && sets.len() >= DAMAGED_SETS_MAX {
        let folder = disks.data.describe("");
        return Err(StorageError::TooManySets { folder, sets: sets.len(), found: found.to_owned() });
    }
    let set = if is_unused { newest } else { newest + 1 };
    write(&disks.data, &aside(set, REASON), format!("{found}\n").as_bytes())?;
    Ok(set)
}

/// A copy, because the epoch file itself is replaced: there is never a moment without one.
fn keep_epoch_file<D: Disk>(disk: &D, set: u32) -> Result<(), StorageError> {
    let in_file = || disk.describe(epoch_file::NAME);
    let read = disk.open(epoch_file::NAME).and_then(|file| {
        let mut bytes = vec![0; file.size()?.min(EPOCH_COPY_BYTES_MAX) as usize];
        let count = file.read_at(&mut bytes, 0)?;
        bytes.truncate(count);
        Ok(bytes)
    });
    match read {
        Err(error) if is_decay(&error) => Ok(()),
        read => write(disk, &aside(set, epoch_file::NAME), &read.in_file(in_file)?),
    }
}

fn write<D: Disk>(disk: &D, name: &str, bytes: &[u8]) -> Result<(), StorageError> {
    let in_file = || disk.describe(name);
    let file = disk.create(name).in_file(in_file)?;
    file.write_at(bytes, 0).in_file(in_file)?;
    file.sync_data().in_file(in_file)?;
    disk.sync_dir().in_file(in_file)
}

/// The newest epoch that the names of the files tell of: so much was promised at least. It is never that of an empty
/// server, for which this one must not be taken.
fn newest_epoch_named<D: Disk>(disks: &Disks<D>) -> Result<Epoch, StorageError> {
    let mut newest = Epoch(1);
    for name in names(&disks.data)?.iter().chain(&names(&disks.log)?) {
        let zxid = match (snapshot_store::classify(name), segment_previous(name)) {
            (Named::Snapshot(zxid) | Named::Received(zxid), _) | (_, Some(zxid)) => zxid,
            _ => Zxid::ZERO,
        };
        newest = newest.max(zxid.epoch());
    }
    Ok(newest)
}

fn sets<D: Disk>(disks: &Disks<D>) -> Result<BTreeSet<u32>, StorageError> {
    let names = [names(&disks.data)?, names(&disks.log)?].concat();
    Ok(names.iter().filter_map(|name| set_of(name)).collect())
}

fn names<D: Disk>(disk: &D) -> Result<Vec<String>, StorageError> {
    disk.list().in_file(|| disk.describe(""))
}

fn aside(set: u32, name: &str) -> String {
    format!("{PREFIX}{set}.{name}")
}

fn set_of(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.split_once('.')?.0.parse().ok()
}
