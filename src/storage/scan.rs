//! Reads a segment record by record, and tells how it ends. Pure over [`ReadAt`].

use std::io;

use bytes::Bytes;

use super::disk::{ReadAt, Window, u32_at};
use super::error::is_decay;
use super::segment::{
    ALIGNMENT, HeaderFault, RECORD_HEADER_BYTES, RecordFault, RecordHeader, RecordKind, SEGMENT_HEADER_BYTES,
    SegmentHeader, looks_unfinished,
};
use crate::ids::Zxid;
use crate::mutants::{Mutant, has};

/// A transaction in the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// its place in the order
    pub zxid: Zxid,
    /// of the one before
    pub previous: Zxid,
    /// the commit point when it was written
    pub committed: Zxid,
    /// where its record begins
    pub offset: u64,
    /// where the record ends
    pub end: u64,
    /// what it holds; shares the memory of its neighbours
    pub txn: Bytes,
}

/// How the records of a segment end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ending {
    /// with nothing of this segment's life behind the last record
    Clean,
    /// with what is left of a group of records whose sync never returned
    Torn {
        /// behind the last byte that could pass for a record of this segment
        wreck_end: u64,
        /// what stands where the next record was expected
        found: &'static str,
    },
    /// with a record that was durable once and is not as it was
    Damaged {
        /// where it is
        offset: u64,
        /// what was found
        found: String,
    },
}

/// What a segment holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Scan {
    /// its header
    pub header: SegmentHeader,
    /// the zxid of the last record; without one, what the header gives as previous
    pub last: Zxid,
    /// the checksum of the last record, or of the header
    pub crc: u32,
    /// where the next record goes
    pub end: u64,
    /// where the group of the last record begins
    pub group: u64,
    /// the newest commit point in it
    pub committed: Zxid,
    /// how many transactions
    pub records: u64,
    /// the last record is followed by a mark that everything before it is durable
    pub sealed: bool,
    /// how it ends
    pub ending: Ending,
}

/// Reads the header page of a segment.
pub(crate) fn read_header(source: &impl ReadAt) -> io::Result<Result<(SegmentHeader, u32), HeaderFault>> {
    let mut page = vec![0; SEGMENT_HEADER_BYTES as usize];
    let count = source.read_at(&mut page, 0)?;
    Ok(SegmentHeader::decode(&page[..count]))
}

/// Reads a whole segment; every record that verifies and continues the chain is shown to `visit`, in order.
pub fn scan_segment<R: ReadAt>(
    source: &R,
    visit: &mut dyn FnMut(Entry),
) -> io::Result<Result<Scan, HeaderFault>> {
    let (header, crc) = match read_header(source)? {
        Ok(read) => read,
        Err(fault) => return Ok(Err(fault)),
    };
    let mut window = Window::new(source)?;
    let mut scan = Scan {
        header,
        last: header.previous,
        crc,
        end: SEGMENT_HEADER_BYTES,
        group: SEGMENT_HEADER_BYTES,
        committed: Zxid::ZERO,
        records: 0,
        sealed: false,
        ending: Ending::Clean,
    };
    let fault = loop {
        let (record, crc, bytes) = match whole_record(&mut window, scan.end, header.id)? {
            Ok(record) => record,
            Err(fault) => break fault,
        };
        if let Some(found) = breaks_chain(&scan, &record) {
            scan.ending = Ending::Damaged { offset: scan.end, found };
            return Ok(Ok(scan));
        }
        if record.kind == RecordKind::End {
            scan.sealed = true;
            break RecordFault::Zeros;
        }
        let offset = scan.end;
        scan.end += record.record_bytes();
        scan.crc = crc;
        scan.last = record.zxid;
        scan.group = record.durable;
        scan.committed = scan.committed.max(record.committed);
        scan.records += 1;
        let from = RECORD_HEADER_BYTES as usize;
        visit(Entry {
            zxid: record.zxid,
            previous: record.previous,
            committed: record.committed,
            offset,
            end: scan.end,
            txn: bytes.slice(from..from + record.txn_bytes as usize),
        });
    };
    scan.ending = ending(&mut window, &scan, fault)?;
    Ok(Ok(scan))
}

/// What the disk cannot read counts as damage of the whole segment.
pub(crate) fn or_unreadable<T>(
    read: io::Result<Result<T, HeaderFault>>,
) -> io::Result<Result<T, HeaderFault>> {
    match read {
        Err(error) if is_decay(&error) => Ok(Err(HeaderFault::Unreadable)),
        read => read,
    }
}

/// Reads a segment that lies in memory as a whole: what [`scan_segment`] tells, and its transactions.
pub fn decode_segment(bytes: &[u8]) -> Result<(Scan, Vec<Entry>), HeaderFault> {
    let mut entries = Vec::new();
    match scan_segment(&bytes, &mut |entry| entries.push(entry)) {
        Ok(Ok(scan)) => Ok((scan, entries)),
        Ok(Err(fault)) => Err(fault),
        // Memory is always readable.
        Err(_) => Err(HeaderFault::Short),
    }
}

/// The record at `offset`, if it verifies by itself.
fn whole_record<R: ReadAt>(
    window: &mut Window<'_, R>,
    offset: u64,
    segment_id: u64,
) -> io::Result<Result<(RecordHeader, u32, Bytes), RecordFault>> {
    let Some(bytes) = window.get(offset, RECORD_HEADER_BYTES)? else { return Ok(Err(RecordFault::PastEnd)) };
    let header = match RecordHeader::decode(&bytes, segment_id) {
        Ok(header) => header,
        Err(fault) => return Ok(Err(fault)),
    };
    let Some(bytes) = window.get(offset, header.record_bytes())? else { return Ok(Err(RecordFault::Length)) };
    Ok(header.verify(offset, &bytes).map(|crc| (header, crc, bytes)))
}

/// Why a record that verifies by itself cannot stand here, in words.
fn breaks_chain(scan: &Scan, record: &RecordHeader) -> Option<String> {
    let (last, zxid) = (scan.last, record.zxid);
    if record.chain != scan.crc {
        return Some(format!("a record {zxid} that does not continue the record {last} before it"));
    }
    let fits = match record.kind {
        RecordKind::Txn => record.previous == last && zxid.may_follow(last),
        RecordKind::End => zxid == last,
    };
    if !fits {
        return Some(format!("a record {zxid} (after {}) behind the record {last}", record.previous));
    }
    if record.durable > scan.end || record.durable < scan.group {
        return Some(format!("a record {zxid} whose group begins at byte {}", record.durable));
    }
    None
}

/// No record verifies at `scan.end`: decides why, by what comes behind. A record there that was written once the bytes
/// at `scan.end` were known to be durable proves that they were damaged since. All others belong to the same
/// unfinished group.
fn ending<R: ReadAt>(window: &mut Window<'_, R>, scan: &Scan, fault: RecordFault) -> io::Result<Ending> {
    let mut wreck_end = None;
    let mut at = scan.end + ALIGNMENT;
    while let Some(found) = next_magic(window, at)? {
        at = found + ALIGNMENT;
        let Ok((record, _, _)) = whole_record(window, found, scan.header.id)? else { continue };
        if record.durable > scan.end && !has(Mutant::DamageTakenForEnd) {
            let what = if scan.sealed { "a mark of the end" } else { fault.describe() };
            let found = format!(
                "{what} where the record behind {} was expected; the record {} at byte {found} proves that it was there",
                scan.last, record.zxid
            );
            return Ok(Ending::Damaged { offset: scan.end, found });
        }
        wreck_end = Some(found + record.record_bytes());
        at = found + record.record_bytes();
    }
    let first = window.get(scan.end, RECORD_HEADER_BYTES.min(window.size().saturating_sub(scan.end)))?;
    let unfinished = !scan.sealed && first.is_some_and(|bytes| looks_unfinished(&bytes, scan.header.id));
    Ok(match wreck_end {
        Some(wreck_end) => Ending::Torn { wreck_end, found: fault.describe() },
        None if unfinished => Ending::Torn {
            wreck_end: (scan.end + RECORD_HEADER_BYTES).min(window.size()),
            found: fault.describe(),
        },
        None => Ending::Clean,
    })
}

/// The first place from `at` on that begins as a record does.
fn next_magic<R: ReadAt>(window: &mut Window<'_, R>, mut at: u64) -> io::Result<Option<u64>> {
    const STEP: u64 = 64 << 10;
    loop {
        let length = window.size().saturating_sub(at).min(STEP) / ALIGNMENT * ALIGNMENT;
        if length == 0 {
            return Ok(None);
        }
        let Some(bytes) = window.get(at, length)? else { return Ok(None) };
        let words = bytes.chunks_exact(ALIGNMENT as usize);
        if let Some(index) = words.clone().position(|word| RecordKind::of_magic(u32_at(word, 0)).is_some()) {
            return Ok(Some(at + index as u64 * ALIGNMENT));
        }
        at += length;
    }
}
