//! The segment of the log that grows. It is written in whole blocks, the last of which is written again with what
//! follows: that way it needs no page cache.

use std::io;

use bytes::BufMut;

use super::disk::{BLOCK_BYTES, DiskFile};
use super::segment::{RecordHeader, RecordKind, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::ids::Zxid;
use crate::mutants::{Mutant, has};

/// What the buffer keeps of its memory after a big group, bytes.
const BUFFER_BYTES_KEPT: usize = 4 << 20;

/// A segment that is open to be written at its end.
#[derive(Debug)]
pub(super) struct Active<F> {
    file: F,
    /// Where the buffer goes: the beginning of a block.
    start: u64,
    /// What is not yet written, and before it the part of its first block that is.
    buffer: Vec<u8>,
    /// Bytes of the file that are durable.
    end: u64,
    /// No record reaches beyond this.
    capacity: u64,
    /// All blocks of the file were written once.
    filled: bool,
    /// The checksum of the last record, those in the buffer included.
    crc: u32,
    /// How many groups of records went to the file.
    groups: u64,
}

impl<F: DiskFile> Active<F> {
    /// Writes the header of a segment; not durable yet. `filled`: every block of the file was written before.
    pub fn create(file: F, header: &SegmentHeader, capacity: u64, filled: bool) -> io::Result<Active<F>> {
        let (page, crc) = header.encode();
        file.write_blocks_at(&page, 0)?;
        let end = page.len() as u64;
        Ok(Active { file, start: end, buffer: Vec::new(), end, capacity, filled, crc, groups: 0 })
    }

    /// Goes on behind `end`, where the last record, whose checksum is `crc`, ends.
    pub fn resume(file: F, end: u64, crc: u32, segment_bytes: u64) -> io::Result<Active<F>> {
        let size = file.size()?;
        let start = end - end % BLOCK_BYTES;
        let mut buffer = vec![0; (end - start) as usize];
        if file.read_at(&mut buffer, start)? < buffer.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let (capacity, filled) = (size.max(segment_bytes), size >= segment_bytes);
        Ok(Active { file, start, buffer, end, capacity, filled, crc, groups: 0 })
    }

    /// Where the next record goes.
    pub fn next(&self) -> u64 {
        self.start + self.buffer.len() as u64
    }

    /// True if all blocks of the file were written before: it does not grow, so syncing it is cheaper.
    pub fn is_filled(&self) -> bool {
        self.filled
    }

    /// Bytes of the file that are durable.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// The checksum of the last record.
    pub fn crc(&self) -> u32 {
        self.crc
    }

    /// True if there is something to write.
    pub fn is_pending(&self) -> bool {
        self.next() > self.end
    }

    /// How many bytes a group had in the mean, with the one in the buffer.
    pub fn group_bytes(&self) -> u64 {
        self.next() / (self.groups + 1)
    }

    /// True if the segment can take a record of this size. An empty one takes any.
    pub fn has_room(&self, size: u64) -> bool {
        self.next() == SEGMENT_HEADER_BYTES || self.next() + size <= self.capacity
    }

    /// Adds a record to the buffer.
    pub fn push(
        &mut self,
        kind: RecordKind,
        segment_id: u64,
        zxid: Zxid,
        previous: Zxid,
        committed: Zxid,
        txn: &[u8],
    ) {
        let txn_bytes = txn.len() as u32;
        let (durable, chain) = (self.end, self.crc);
        let header = RecordHeader { kind, txn_bytes, zxid, previous, committed, segment_id, durable, chain };
        self.crc = header.encode(self.next(), txn, &mut self.buffer);
    }

    /// Fills the file up to this length, if it is one that grew.
    pub fn fill_up(&mut self, segment_bytes: u64) {
        if !self.filled {
            self.buffer.put_bytes(0, segment_bytes.saturating_sub(self.next()) as usize);
        }
    }

    /// Writes the buffer; [`Active::flush`] makes it durable as well. What lies behind it in its last block is zero.
    pub fn write(&mut self) -> io::Result<()> {
        let length = self.buffer.len();
        self.buffer.resize(length.next_multiple_of(BLOCK_BYTES as usize), 0);
        self.file.write_blocks_at(&self.buffer, self.start)?;
        self.end = self.start + length as u64;
        self.groups += 1;
        let whole = length - length % BLOCK_BYTES as usize;
        self.buffer.truncate(length);
        self.buffer.drain(..whole);
        self.buffer.shrink_to(BUFFER_BYTES_KEPT);
        self.start += whole as u64;
        Ok(())
    }

    /// Makes all that was written durable.
    pub fn sync(&self) -> io::Result<()> {
        let synced = self.file.sync_data();
        if has(Mutant::FsyncRetried) { synced.or_else(|_| self.file.sync_data()) } else { synced }
    }

    /// Writes the buffer and makes it durable.
    pub fn flush(&mut self) -> io::Result<()> {
        self.write()?;
        self.sync()
    }

    /// Makes a mark durable behind the last record: the next record takes its place. Everything before is durable.
    pub fn mark_end(&mut self, segment_id: u64, synced: Zxid) -> io::Result<()> {
        assert!(!self.is_pending(), "a mark stands behind what is durable");
        let (start, buffer, end, crc) = (self.start, self.buffer.clone(), self.end, self.crc);
        self.push(RecordKind::End, segment_id, synced, synced, Zxid::ZERO, &[]);
        self.flush()?;
        (self.start, self.buffer, self.end, self.crc) = (start, buffer, end, crc);
        Ok(())
    }
}
