//! The bytes of a log segment: a header page, then records, each of which names the one before. Pure.
//! `docs/storage.md` draws them.

use crc32fast::Hasher;

use super::disk::{u32_at, u64_at};
use crate::ids::Zxid;

/// The version of the format that this code writes, and the newest that it reads.
pub const SEGMENT_VERSION: u32 = 1;

/// Where the first record begins. A page of its own, so that no append ever writes the header's sector again.
pub const SEGMENT_HEADER_BYTES: u64 = 4096;

/// Bytes of a record before its transaction.
pub const RECORD_HEADER_BYTES: u64 = 56;

/// The biggest transaction that a record can hold, bytes. Far above what a client can send in one request, and low
/// enough that no damaged length makes a reader allocate the memory of the machine.
pub const TXN_BYTES_MAX: usize = 256 << 20;

/// Records begin at multiples of this.
pub(crate) const ALIGNMENT: u64 = 8;

const SEGMENT_MAGIC: [u8; 8] = *b"ZABRALOG";
const SEGMENT_CRC_AT: usize = 60;
const FLAG_BASE: u32 = 1;

const RECORD_MAGIC: u32 = u32::from_le_bytes(*b"ZREC");
const END_MAGIC: u32 = u32::from_le_bytes(*b"ZEND");
const RECORD_CRC_AT: usize = 52;

/// The first thing in a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegmentHeader {
    /// told in every record: what an earlier life of a recycled file left has another one
    pub id: u64,
    /// nothing before this segment counts: the log begins here, behind the snapshot of `previous` (or behind nothing)
    pub base: bool,
    /// the zxid before the first record
    pub previous: Zxid,
    /// the checksum of that record; 0 in a base segment
    pub chain: u32,
}

/// Why a page is not the header of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HeaderFault {
    /// there are fewer bytes than a header has
    Short,
    /// it does not begin as a segment does
    NotASegment,
    /// its checksum does not fit
    Checksum,
    /// its id is the last number there is, so no segment could come behind it
    Id,
    /// the disk cannot read it
    Unreadable,
    /// a newer release wrote it, in this version of the format
    Future(u32),
}

impl SegmentHeader {
    /// The header page, and the checksum that the first record names as the one before it.
    pub fn encode(&self) -> (Vec<u8>, u32) {
        let mut page = vec![0; SEGMENT_HEADER_BYTES as usize];
        page[0..8].copy_from_slice(&SEGMENT_MAGIC);
        page[8..12].copy_from_slice(&SEGMENT_VERSION.to_le_bytes());
        page[12..16].copy_from_slice(&(if self.base { FLAG_BASE } else { 0 }).to_le_bytes());
        page[16..24].copy_from_slice(&self.id.to_le_bytes());
        page[24..32].copy_from_slice(&self.previous.0.to_le_bytes());
        page[32..36].copy_from_slice(&self.chain.to_le_bytes());
        let crc = crc32fast::hash(&page[..SEGMENT_CRC_AT]);
        page[SEGMENT_CRC_AT..SEGMENT_CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
        (page, crc)
    }

    /// Reads a header page; gives its checksum too.
    pub fn decode(page: &[u8]) -> Result<(SegmentHeader, u32), HeaderFault> {
        if page.len() < SEGMENT_HEADER_BYTES as usize {
            return Err(HeaderFault::Short);
        }
        if page[0..8] != SEGMENT_MAGIC {
            return Err(HeaderFault::NotASegment);
        }
        let crc = u32_at(page, SEGMENT_CRC_AT);
        // Every version keeps magic, version and this checksum where they are: damage never looks like the future.
        if crc != crc32fast::hash(&page[..SEGMENT_CRC_AT]) {
            return Err(HeaderFault::Checksum);
        }
        let version = u32_at(page, 8);
        if version != SEGMENT_VERSION {
            return Err(HeaderFault::Future(version));
        }
        let header = SegmentHeader {
            id: u64_at(page, 16),
            base: u32_at(page, 12) & FLAG_BASE != 0,
            previous: Zxid(u64_at(page, 24)),
            chain: u32_at(page, 32),
        };
        if header.id == u64::MAX {
            return Err(HeaderFault::Id);
        }
        Ok((header, crc))
    }
}

/// What a record is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RecordKind {
    /// it holds a transaction
    Txn,
    /// it holds none: everything before it was durable when it was written. The next record takes its place
    End,
}

impl RecordKind {
    /// What begins with this word.
    pub(crate) fn of_magic(magic: u32) -> Option<RecordKind> {
        match magic {
            RECORD_MAGIC => Some(RecordKind::Txn),
            END_MAGIC => Some(RecordKind::End),
            _ => None,
        }
    }
}

/// The first thing in a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecordHeader {
    /// what it is
    pub kind: RecordKind,
    /// bytes of the transaction behind it
    pub txn_bytes: u32,
    /// of the transaction; for an end mark, of the last one
    pub zxid: Zxid,
    /// of the transaction before
    pub previous: Zxid,
    /// the commit point when it was written
    pub committed: Zxid,
    /// the segment it was written to
    pub segment_id: u64,
    /// everything in this file before this place was durable when the record was written: where its group begins
    pub durable: u64,
    /// the checksum of the record before, or of the segment's header
    pub chain: u32,
}

/// Why bytes are not a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RecordFault {
    /// the file ends here
    PastEnd,
    /// zeros where its header would be
    Zeros,
    /// it does not begin as a record does
    NotARecord,
    /// it belongs to an earlier life of the file
    OtherSegment,
    /// its length cannot be
    Length,
    /// its checksum does not fit
    Checksum,
}

impl RecordFault {
    /// In words.
    pub fn describe(self) -> &'static str {
        match self {
            RecordFault::PastEnd => "the end of the file",
            RecordFault::Zeros => "zeros",
            RecordFault::NotARecord => "bytes that are no record",
            RecordFault::OtherSegment => "a record of another segment",
            RecordFault::Length => "a record with an impossible length",
            RecordFault::Checksum => "a record whose checksum does not fit",
        }
    }
}

/// Bytes that a record with a transaction of `txn_bytes` takes.
pub(crate) const fn record_bytes(txn_bytes: u64) -> u64 {
    RECORD_HEADER_BYTES + txn_bytes.next_multiple_of(ALIGNMENT)
}

impl RecordHeader {
    /// Adds the record, which begins at `offset` of its file, to `out`; returns its checksum.
    pub fn encode(&self, offset: u64, txn: &[u8], out: &mut Vec<u8>) -> u32 {
        assert_eq!(self.txn_bytes as usize, txn.len());
        assert_eq!(offset % ALIGNMENT, 0);
        let begin = out.len();
        let magic = match self.kind {
            RecordKind::Txn => RECORD_MAGIC,
            RecordKind::End => END_MAGIC,
        };
        out.extend_from_slice(&magic.to_le_bytes());
        out.extend_from_slice(&self.txn_bytes.to_le_bytes());
        out.extend_from_slice(&self.zxid.0.to_le_bytes());
        out.extend_from_slice(&self.previous.0.to_le_bytes());
        out.extend_from_slice(&self.committed.0.to_le_bytes());
        out.extend_from_slice(&self.segment_id.to_le_bytes());
        out.extend_from_slice(&self.durable.to_le_bytes());
        out.extend_from_slice(&self.chain.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(txn);
        out.resize(begin + record_bytes(txn.len() as u64) as usize, 0);
        let crc = record_crc(offset, &out[begin..]);
        out[begin + RECORD_CRC_AT..begin + RECORD_CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
        crc
    }

    /// Reads the header of a record of segment `segment_id`; `bytes` holds [`RECORD_HEADER_BYTES`]. Nothing of it is
    /// to be trusted before [`RecordHeader::verify`] has seen the whole record.
    pub fn decode(bytes: &[u8], segment_id: u64) -> Result<RecordHeader, RecordFault> {
        if bytes.len() < RECORD_HEADER_BYTES as usize {
            return Err(RecordFault::PastEnd);
        }
        let bytes = &bytes[..RECORD_HEADER_BYTES as usize];
        let Some(kind) = RecordKind::of_magic(u32_at(bytes, 0)) else {
            let zeros = bytes.iter().all(|byte| *byte == 0);
            return Err(if zeros { RecordFault::Zeros } else { RecordFault::NotARecord });
        };
        let header = RecordHeader {
            kind,
            txn_bytes: u32_at(bytes, 4),
            zxid: Zxid(u64_at(bytes, 8)),
            previous: Zxid(u64_at(bytes, 16)),
            committed: Zxid(u64_at(bytes, 24)),
            segment_id: u64_at(bytes, 32),
            durable: u64_at(bytes, 40),
            chain: u32_at(bytes, 48),
        };
        if header.segment_id != segment_id {
            return Err(RecordFault::OtherSegment);
        }
        if header.txn_bytes as usize > TXN_BYTES_MAX {
            return Err(RecordFault::Length);
        }
        Ok(header)
    }

    /// Bytes of the whole record.
    pub fn record_bytes(&self) -> u64 {
        record_bytes(u64::from(self.txn_bytes))
    }

    /// Checks the whole record, which begins at `offset` of its file; returns its checksum.
    pub fn verify(&self, offset: u64, record: &[u8]) -> Result<u32, RecordFault> {
        assert_eq!(record.len() as u64, self.record_bytes());
        let crc = u32_at(record, RECORD_CRC_AT);
        if crc == record_crc(offset, record) { Ok(crc) } else { Err(RecordFault::Checksum) }
    }
}

/// True if what stands where a record was expected looks like one of this segment that did not get whole to the disk,
/// rather than like nothing, or like what an earlier life of the file left. Only for words, never for a decision.
pub(crate) fn looks_unfinished(bytes: &[u8], segment_id: u64) -> bool {
    if bytes.len() < RECORD_HEADER_BYTES as usize {
        return false;
    }
    let named = RecordKind::of_magic(u32_at(bytes, 0)).is_some();
    let id = u64_at(bytes, 32);
    id == segment_id || (named && (id == 0 || id > segment_id))
}

/// Over the place, so that a record cannot pass for one somewhere else, and everything but the checksum itself.
fn record_crc(offset: u64, record: &[u8]) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(&offset.to_le_bytes());
    hasher.update(&record[..RECORD_CRC_AT]);
    hasher.update(&record[RECORD_CRC_AT + 4..]);
    hasher.finalize()
}

/// The name of the segment whose first record follows `previous`: the lowest zxid that it can hold.
pub(crate) fn segment_name(previous: Zxid) -> String {
    format!("log.{:x}", previous.0.saturating_add(1))
}

/// The zxid before the first record of the segment with this name; `None` if it is not a segment's name.
pub(crate) fn segment_previous(name: &str) -> Option<Zxid> {
    let first = super::hex_suffix(name, "log.")?;
    first.checked_sub(1).map(Zxid)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> SegmentHeader {
        SegmentHeader { id: 7, base: true, previous: Zxid(0x2_0000_0009), chain: 0xabcd }
    }

    fn record(txn: &[u8]) -> RecordHeader {
        RecordHeader {
            kind: RecordKind::Txn,
            txn_bytes: txn.len() as u32,
            zxid: Zxid(11),
            previous: Zxid(10),
            committed: Zxid(9),
            segment_id: 7,
            durable: 4096,
            chain: 5,
        }
    }

    #[test]
    fn a_header_reads_back_and_every_flipped_byte_is_noticed() {
        let (page, crc) = header().encode();
        assert_eq!(SegmentHeader::decode(&page), Ok((header(), crc)));
        for at in 0..SEGMENT_CRC_AT + 4 {
            let mut page = page.clone();
            page[at] ^= 0x10;
            assert!(matches!(
                SegmentHeader::decode(&page),
                Err(HeaderFault::NotASegment | HeaderFault::Checksum)
            ));
        }
        assert_eq!(SegmentHeader::decode(&page[..page.len() - 1]), Err(HeaderFault::Short));
    }

    #[test]
    fn no_segment_has_an_id_that_none_can_follow() {
        let last = SegmentHeader { id: u64::MAX - 1, ..header() };
        assert_eq!(SegmentHeader::decode(&last.encode().0).map(|read| read.0), Ok(last));
        let (page, _) = SegmentHeader { id: u64::MAX, ..header() }.encode();
        assert_eq!(SegmentHeader::decode(&page), Err(HeaderFault::Id));
    }

    #[test]
    fn a_header_of_a_newer_version_is_told_from_damage() {
        let (mut page, _) = header().encode();
        page[8] = 9;
        let crc = crc32fast::hash(&page[..SEGMENT_CRC_AT]);
        page[SEGMENT_CRC_AT..SEGMENT_CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(SegmentHeader::decode(&page), Err(HeaderFault::Future(9)));
    }

    #[test]
    fn a_record_verifies_only_whole_and_only_at_its_place() {
        let mut bytes = Vec::new();
        let crc = record(b"hello").encode(4096, b"hello", &mut bytes);
        assert_eq!(bytes.len(), 64);
        let read = RecordHeader::decode(&bytes, 7).unwrap();
        assert_eq!(read, record(b"hello"));
        assert_eq!(read.verify(4096, &bytes), Ok(crc));
        assert_eq!(read.verify(4104, &bytes), Err(RecordFault::Checksum));
        assert_eq!(RecordHeader::decode(&bytes, 8), Err(RecordFault::OtherSegment));
        assert_eq!(RecordHeader::decode(&[0; 56], 7), Err(RecordFault::Zeros));
        assert_eq!(RecordHeader::decode(&bytes[..55], 7), Err(RecordFault::PastEnd));
        for at in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1;
            let accepted = RecordHeader::decode(&bytes, 7)
                .is_ok_and(|header| header.record_bytes() == 64 && header.verify(4096, &bytes).is_ok());
            assert!(!accepted, "byte {at}");
        }
    }

    #[test]
    fn a_segment_is_named_after_the_lowest_zxid_it_can_hold() {
        assert_eq!(segment_name(Zxid::ZERO), "log.1");
        assert_eq!(segment_name(Zxid(0x1_0000_000f)), "log.100000010");
        assert_eq!(segment_previous("log.100000010"), Some(Zxid(0x1_0000_000f)));
        for name in ["log.0", "log.", "log.+1", "log.01", "log.tmp", "logs.1", "log.A"] {
            assert_eq!(segment_previous(name), None, "{name}");
        }
    }
}
