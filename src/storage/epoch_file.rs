//! The epoch file: what a server promised, and how far its log reached then, in one record that is replaced atomically.

use super::disk::{Disk, DiskFile, ReadAt, u32_at, u64_at};
use super::error::{InFile, StorageError, is_decay};
use crate::ids::{Epoch, Zxid};
use crate::mutants::{Mutant, has};
use crate::zab::EpochRecord;

/// The version of the format that this code writes, and the newest that it reads.
pub const EPOCH_VERSION: u32 = 2;

/// The version before, which did not tell how far the log reaches.
const VERSION_WITHOUT_LOG_END: u32 = 1;

pub(crate) const NAME: &str = "epoch";
pub(crate) const TEMP_NAME: &str = "epoch.tmp";

const MAGIC: [u8; 8] = *b"ZABRAEPO";
const BYTES: usize = 52;
const BYTES_WITHOUT_LOG_END: usize = 44;
/// No version of the format has more.
const BYTES_MAX: usize = 4096;
const FLAG_CONFIRMED: u32 = 1;
const FLAG_MAY_VOTE: u32 = 2;
const FLAG_PROMISES_LOST: u32 = 4;
const FLAG_CONDEMNED: u32 = 8;

/// What the epoch file holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EpochFile {
    /// what the server promised
    pub record: EpochRecord,
    /// where the log ended, durably, when the file was written, or less: a log that ends before has lost its end
    pub log_end: Zxid,
}

/// Why bytes are not an epoch file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EpochFault {
    /// it is not as long as it must be
    Length,
    /// it does not begin as an epoch file does
    NotAnEpochFile,
    /// its checksum does not fit
    Checksum,
    /// the disk cannot read it
    Unreadable,
    /// a newer release wrote it, in this version of the format
    Future(u32),
}

/// The contents of the epoch file.
pub fn encode_epoch(EpochFile { record, log_end }: &EpochFile) -> Vec<u8> {
    let flags = [
        (record.ensemble_confirmed, FLAG_CONFIRMED),
        (record.may_vote, FLAG_MAY_VOTE),
        (record.promises_lost, FLAG_PROMISES_LOST),
        (record.condemned, FLAG_CONDEMNED),
    ];
    let flags = flags.iter().filter(|(is_set, _)| *is_set).fold(0, |all, (_, flag)| all | flag);
    let mut bytes = Vec::with_capacity(BYTES);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&EPOCH_VERSION.to_le_bytes());
    bytes.extend_from_slice(&u32::to_le_bytes(flags));
    bytes.extend_from_slice(&record.data_dir_id.to_le_bytes());
    bytes.extend_from_slice(&record.ensemble_id.to_le_bytes());
    bytes.extend_from_slice(&record.accepted_epoch.0.to_le_bytes());
    bytes.extend_from_slice(&record.current_epoch.0.to_le_bytes());
    bytes.extend_from_slice(&log_end.0.to_le_bytes());
    let crc = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes
}

/// Reads the contents of the epoch file.
pub fn decode_epoch(bytes: &[u8]) -> Result<EpochFile, EpochFault> {
    if !(BYTES_WITHOUT_LOG_END..=BYTES_MAX).contains(&bytes.len()) {
        return Err(EpochFault::Length);
    }
    if bytes[0..8] != MAGIC {
        return Err(EpochFault::NotAnEpochFile);
    }
    // The last four bytes are the checksum in every version: damage never looks like the future.
    let crc_at = bytes.len() - 4;
    if u32_at(bytes, crc_at) != crc32fast::hash(&bytes[..crc_at]) {
        return Err(EpochFault::Checksum);
    }
    let version = u32_at(bytes, 8);
    let log_end = match (version, bytes.len()) {
        (VERSION_WITHOUT_LOG_END, BYTES_WITHOUT_LOG_END) => Zxid::ZERO,
        (EPOCH_VERSION, BYTES) => Zxid(u64_at(bytes, 40)),
        (VERSION_WITHOUT_LOG_END | EPOCH_VERSION, _) => return Err(EpochFault::Length),
        (version, _) => return Err(EpochFault::Future(version)),
    };
    let flags = u32_at(bytes, 12);
    let record = EpochRecord {
        data_dir_id: u64_at(bytes, 16),
        ensemble_id: u64_at(bytes, 24),
        ensemble_confirmed: flags & FLAG_CONFIRMED != 0,
        may_vote: flags & FLAG_MAY_VOTE != 0,
        promises_lost: flags & FLAG_PROMISES_LOST != 0,
        condemned: flags & FLAG_CONDEMNED != 0,
        accepted_epoch: Epoch(u32_at(bytes, 32)),
        current_epoch: Epoch(u32_at(bytes, 36)),
    };
    Ok(EpochFile { record, log_end })
}

/// Replaces the epoch file; the new one is durable on return.
pub(crate) fn save<D: Disk>(disk: &D, contents: &EpochFile) -> Result<(), StorageError> {
    let in_file = || disk.describe(NAME);
    if has(Mutant::EpochFileInPlace) {
        let file = disk.create(NAME).in_file(in_file)?;
        file.write_at(&encode_epoch(contents), 0).in_file(in_file)?;
        return file.sync_data().in_file(in_file);
    }
    let file = disk.create(TEMP_NAME).in_file(|| disk.describe(TEMP_NAME))?;
    file.write_at(&encode_epoch(contents), 0).in_file(in_file)?;
    file.sync_data().in_file(in_file)?;
    disk.rename(TEMP_NAME, NAME).in_file(in_file)?;
    if has(Mutant::EpochFileUnsynced) {
        return Ok(());
    }
    disk.sync_dir().in_file(in_file)
}

/// Reads the epoch file, which is there.
pub(crate) fn load<D: Disk>(disk: &D) -> Result<Result<EpochFile, EpochFault>, StorageError> {
    // All of it, since the checksum of a newer version is behind more; and a byte that shows that it is too long.
    let mut bytes = vec![0; BYTES_MAX + 1];
    match disk.open(NAME).and_then(|file| file.read_at(&mut bytes, 0)) {
        Ok(count) => Ok(decode_epoch(&bytes[..count])),
        Err(error) if is_decay(&error) => Ok(Err(EpochFault::Unreadable)),
        Err(error) => Err(error).in_file(|| disk.describe(NAME)),
    }
}

/// In words.
pub(crate) fn describe_fault(fault: EpochFault) -> String {
    match fault {
        EpochFault::Length => format!("an epoch file that has not the {BYTES} bytes it must have"),
        EpochFault::NotAnEpochFile => "something that is not an epoch file".to_owned(),
        EpochFault::Checksum => "an epoch file whose checksum does not fit".to_owned(),
        EpochFault::Unreadable => "an epoch file that the disk cannot read".to_owned(),
        EpochFault::Future(version) => format!("an epoch file of format version {version}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::testing::SimWorld;

    fn contents() -> EpochFile {
        let record = EpochRecord {
            data_dir_id: 0x1122_3344_5566_7788,
            ensemble_id: 42,
            ensemble_confirmed: true,
            may_vote: false,
            promises_lost: true,
            condemned: false,
            accepted_epoch: Epoch(7),
            current_epoch: Epoch(6),
        };
        EpochFile { record, log_end: Zxid::new(Epoch(6), 5) }
    }

    /// The bytes before the checksum, with one that fits.
    fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
        let crc = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes
    }

    #[test]
    fn an_epoch_file_reads_back() {
        assert_eq!(decode_epoch(&encode_epoch(&contents())), Ok(contents()));
        let record = EpochRecord {
            ensemble_confirmed: false,
            may_vote: true,
            promises_lost: false,
            condemned: true,
            ..contents().record
        };
        let other = EpochFile { record, log_end: Zxid::ZERO };
        assert_eq!(decode_epoch(&encode_epoch(&other)), Ok(other));
    }

    #[test]
    fn an_epoch_file_of_the_version_before_tells_no_end_of_the_log() {
        let mut bytes = encode_epoch(&contents());
        bytes[8] = 1;
        bytes.truncate(BYTES_WITHOUT_LOG_END - 4);
        let expected = EpochFile { log_end: Zxid::ZERO, ..contents() };
        assert_eq!(decode_epoch(&sealed(bytes.clone())), Ok(expected));
        bytes.extend_from_slice(&[0; 8]);
        assert_eq!(decode_epoch(&sealed(bytes)), Err(EpochFault::Length));
    }

    #[test]
    fn an_epoch_file_of_a_newer_version_is_told_from_damage_however_long_it_is() {
        let disk = SimWorld::default().disk("data");
        let newer = EPOCH_VERSION + 1;
        for (more, expected) in [
            (0, EpochFault::Future(newer)),
            (1, EpochFault::Future(newer)),
            (BYTES_MAX - BYTES, EpochFault::Future(newer)),
            (BYTES_MAX - BYTES + 1, EpochFault::Length),
        ] {
            let mut bytes = encode_epoch(&contents());
            bytes[8] = newer as u8;
            bytes.truncate(BYTES - 4);
            bytes.resize(BYTES - 4 + more, 7);
            disk.create(NAME).unwrap().write_at(&sealed(bytes), 0).unwrap();
            assert_eq!(load(&disk).unwrap(), Err(expected), "{more} bytes more");
        }
    }

    #[test]
    fn every_flipped_byte_and_every_other_length_of_an_epoch_file_is_noticed() {
        let bytes = encode_epoch(&contents());
        for at in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[at] ^= 0x40;
            assert!(
                matches!(decode_epoch(&bytes), Err(EpochFault::NotAnEpochFile | EpochFault::Checksum)),
                "{at}"
            );
        }
        for length in 0..bytes.len() {
            assert!(decode_epoch(&bytes[..length]).is_err());
        }
        let longer = [&bytes[..], &[0]].concat();
        assert!(decode_epoch(&longer).is_err());
    }
}
