//! Any bytes as a segment of the log, and valid ones with something changed, in their bytes or in what they say. What
//! can be read is a chain, is read again without what is behind it, and a server that starts from it finds the same at
//! its next start.

#![no_main]

use libfuzzer_sys::fuzz_target;
use zabra::ids::Zxid;
use zabra::storage::testing::SimWorld;
use zabra::storage::{
    Disk, DiskFile, Ending, Entry, Executed, Options, RecordHeader, RecordKind, SEGMENT_HEADER_BYTES, Scan,
    SegmentHeader, Storage, StorageError, decode_segment,
};
use zabra::zab::{DiskOp, EpochRecord};
use zabra_fuzz::edit;
use zabra_fuzz::memory::{Bound, bounded};

/// Of a record: the length of its transaction, whether it begins a group, an epoch, or is a mark of the end, and what
/// is added to zxid, previous zxid, commit point, segment, group and checksum of the record before.
type Planned = (u8, bool, bool, bool, [u8; 6]);

const OPTIONS: Options =
    Options { segment_bytes: 64 << 10, spare_segments_max: 0, snapshots_kept: 3, snapshot_step_bytes: 4096 };

fuzz_target!(|data: ((u64, bool, u64, u32), Vec<Planned>, Vec<(u16, u8)>, Option<u16>, &[u8])| {
    let ((id, base, previous, chain), plan, flips, length, tail) = data;
    judge(tail);
    let header = SegmentHeader { id, base, previous: Zxid(previous), chain };
    judge(&edit([&segment(&header, &plan), tail].concat(), &flips, length));
});

/// A segment whose checksums fit.
fn segment(header: &SegmentHeader, plan: &[Planned]) -> Vec<u8> {
    let (mut bytes, mut crc) = header.encode();
    let (mut last, mut group) = (header.previous, bytes.len() as u64);
    for (
        txn_bytes,
        begins_group,
        begins_epoch,
        is_end,
        [zxid, previous, committed, segment, durable, chain],
    ) in plan
    {
        let offset = bytes.len() as u64;
        if *begins_group {
            group = offset;
        }
        let next = match last.next() {
            _ if *is_end => last,
            Some(next) if !begins_epoch => next,
            _ => Zxid(((last.0 >> 32).wrapping_add(1) << 32) | 1),
        };
        let txn = vec![*txn_bytes; if *is_end { 0 } else { usize::from(*txn_bytes) }];
        let record = RecordHeader {
            kind: if *is_end { RecordKind::End } else { RecordKind::Txn },
            txn_bytes: txn.len() as u32,
            zxid: Zxid(next.0.wrapping_add((*zxid).into())),
            previous: Zxid(last.0.wrapping_add((*previous).into())),
            committed: Zxid(last.0.wrapping_sub((*committed).into())),
            segment_id: header.id.wrapping_add((*segment).into()),
            durable: group.wrapping_add((*durable).into()),
            chain: crc.wrapping_add((*chain).into()),
        };
        crc = record.encode(offset, &txn, &mut bytes);
        last = record.zxid;
    }
    bytes
}

/// A segment of its full length on a disk in memory, of which a few copies are kept; and its records, decoded.
const BOUND: Bound = Bound { constant_bytes: 512 << 10, factor: 64 };

fn judge(bytes: &[u8]) {
    bounded(BOUND, bytes.len(), || judge_bounded(bytes));
}

fn judge_bounded(bytes: &[u8]) {
    let decoded = decode_segment(bytes);
    if let Ok((scan, entries)) = &decoded {
        check_chain(bytes, scan, entries);
        let (again, same) = decode_segment(&bytes[..scan.end as usize]).expect("it has a header");
        assert_eq!(
            (again.ending, again.last, again.end, &same),
            (Ending::Clean, scan.last, scan.end, entries)
        );
    }
    let previous = decoded.as_ref().map_or(Zxid::ZERO, |(scan, _)| scan.header.previous);
    let Some((entries, world)) = start(bytes, previous) else { return };
    let (_, decoded) = decoded.expect("a server started from it");
    assert_eq!(entries, decoded.iter().map(|entry| entry.zxid).collect::<Vec<_>>());
    // What a start left is found by the next one.
    let (storage, _) = Storage::open(world.disks(), OPTIONS).expect("it started once");
    assert_eq!(replay(&storage), entries);
}

fn check_chain(bytes: &[u8], scan: &Scan, entries: &[Entry]) {
    let (mut last, mut at) = (scan.header.previous, SEGMENT_HEADER_BYTES);
    for entry in entries {
        assert!(entry.previous == last && entry.zxid.may_follow(last) && entry.offset == at);
        assert!(entry.txn.len() as u64 <= entry.end - entry.offset, "what is read is not more than there is");
        (last, at) = (entry.zxid, entry.end);
    }
    assert_eq!((last, at, entries.len() as u64), (scan.last, scan.end, scan.records));
    assert!(at <= bytes.len() as u64);
}

/// Starts a server from this segment alone and lets it add to the log; what it found, if it does start.
fn start(bytes: &[u8], previous: Zxid) -> Option<(Vec<Zxid>, SimWorld)> {
    let first = previous.0.checked_add(1)?;
    let world = SimWorld::default();
    let (mut storage, _) = Storage::open(world.disks(), OPTIONS).expect("a new server");
    storage.save_epoch(&EpochRecord::default()).expect("memory");
    drop(storage);
    let log = world.disk("log");
    for name in log.list().expect("memory") {
        log.remove(&name).expect("it was listed");
    }
    log.create(&format!("log.{first:x}")).and_then(|file| file.write_at(bytes, 0)).expect("memory");
    let mut storage = match Storage::open(world.disks(), OPTIONS) {
        Ok((storage, _)) => storage,
        Err(StorageError::Damage(_)) => return None,
        Err(error) => panic!("{error}"),
    };
    let found = replay(&storage);
    let synced = storage.synced();
    assert_eq!(storage.execute(DiskOp::Truncate { through: synced }).ok(), Some(Executed::Durable));
    Some((found, world))
}

fn replay(storage: &Storage<zabra::storage::testing::SimDisk>) -> Vec<Zxid> {
    let mut found = Vec::new();
    storage.replay(|proposal, _| found.push(proposal.zxid)).expect("what verified");
    found
}
