//! Any bytes as an epoch file, and valid ones with something changed. What can be decoded is encoded to something that
//! decodes to the same, and a server starts from exactly that.

#![no_main]

use libfuzzer_sys::fuzz_target;
use zabra::ids::{Epoch, Zxid};
use zabra::storage::table::Case;
use zabra::storage::testing::SimWorld;
use zabra::storage::{
    Disk, DiskFile, EpochFault, EpochFile, Options, Storage, StorageError, decode_epoch, encode_epoch,
};
use zabra::zab::EpochRecord;
use zabra_fuzz::memory::{Bound, bounded};
use zabra_fuzz::{edit, seal};

type Fields = (u64, u64, [bool; 4], u32, u32, u64);

fuzz_target!(|data: (Fields, Vec<(u16, u8)>, Option<u16>, bool, &[u8])| {
    let (
        (
            data_dir_id,
            ensemble_id,
            [ensemble_confirmed, may_vote, promises_lost, condemned],
            accepted,
            current,
            end,
        ),
        flips,
        length,
        sealed,
        tail,
    ) = data;
    judge(tail);
    let record = EpochRecord {
        data_dir_id,
        ensemble_id,
        ensemble_confirmed,
        may_vote,
        promises_lost,
        condemned,
        accepted_epoch: Epoch(accepted),
        current_epoch: Epoch(current),
    };
    let contents = EpochFile { record, log_end: Zxid(end) };
    let bytes = encode_epoch(&contents);
    assert_eq!(decode_epoch(&bytes).as_ref(), Ok(&contents));
    let mut bytes = edit([&bytes, tail].concat(), &flips, length);
    if sealed && let Some(at) = bytes.len().checked_sub(4) {
        seal(&mut bytes, at);
    }
    judge(&bytes);
});

/// The file is written to a disk in memory, of which a few copies are kept.
const BOUND: Bound = Bound { constant_bytes: 32 << 10, factor: 16 };

fn judge(bytes: &[u8]) {
    bounded(BOUND, bytes.len(), || judge_bounded(bytes));
}

fn judge_bounded(bytes: &[u8]) {
    let decoded = decode_epoch(bytes);
    if let Ok(contents) = &decoded {
        assert_eq!(decode_epoch(&encode_epoch(contents)).as_ref(), Ok(contents));
    }
    let world = SimWorld::default();
    let file = world.disk("data").create("epoch").expect("memory");
    file.write_at(bytes, 0).expect("memory");
    // A promise and nothing else: the log is missing. Whatever it is, nothing but the file itself decides it.
    let case = match Storage::open(world.disks(), Options::default()) {
        Ok((_, found)) => {
            assert_eq!(found.case, Case::Emptied, "a start without a log");
            assert!(decoded.is_ok_and(|contents| contents.record.condemned));
            return;
        }
        Err(StorageError::Damage(damage)) => damage.case,
        Err(error) => panic!("{error}"),
    };
    let expected = match decoded {
        Ok(_) => Case::LogMissing,
        Err(EpochFault::Future(_)) => Case::FutureVersion,
        Err(_) => Case::EpochDamaged,
    };
    assert_eq!(case, expected);
}
