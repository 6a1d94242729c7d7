//! The log: a chain of segments, the last of which grows.

use std::collections::VecDeque;

use bytes::BufMut;

use super::active::Active;
use super::disk::{Disk, DiskFile};
use super::error::{Damage, InFile, StorageError};
use super::scan::{Ending, Entry, Scan, scan_segment};
use super::segment::{
    HeaderFault, RecordKind, SEGMENT_HEADER_BYTES, SegmentHeader, TXN_BYTES_MAX, record_bytes, segment_name,
};
use super::spares::Spares;
use super::table::Case;
use crate::ids::Zxid;
use crate::mutants::{Mutant, has};
use crate::zab::Proposal;

/// The name of a segment that is not yet part of the log.
pub(crate) const TEMP_NAME: &str = "log.tmp";

/// The log of a server, open to be written at its end.
#[derive(Debug)]
pub(crate) struct Log<D: Disk> {
    disk: D,
    spares: Spares<D>,
    segment_bytes: u64,
    /// Oldest first; each follows the one before. The last one is `active`.
    segments: Vec<SegmentHeader>,
    active: Active<D::File>,
    next_id: u64,
    /// The last record of the buffer, or of the file if the buffer is empty.
    appended: Zxid,
    /// The last record that is durable: `synced <= appended`.
    synced: Zxid,
}

/// Where the log is to be cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Cut {
    /// the index of the segment that holds the new last record
    segment: usize,
    /// behind that record
    end: u64,
    /// its zxid
    through: Zxid,
}

/// What the log still holds of what is in the snapshot already. Nothing rests on it.
#[derive(Debug)]
pub struct Tail {
    /// The zxid before the first.
    pub before: Zxid,
    /// Oldest first, without a gap up to the snapshot.
    pub proposals: VecDeque<Proposal>,
    /// Why there is not more, if the log is damaged there.
    pub fault: Option<StorageError>,
}

impl<D: Disk> Log<D> {
    /// A new log behind `previous`. Any segment that is there is void from now on, but stays.
    pub(crate) fn create(
        disk: D,
        spares: Spares<D>,
        segment_bytes: u64,
        previous: Zxid,
        id: u64,
    ) -> Result<Log<D>, StorageError> {
        let header = SegmentHeader { id, base: true, previous, chain: 0 };
        let active = start_segment(&disk, &spares, segment_bytes, header)?;
        let segments = vec![header];
        Ok(Log {
            disk,
            spares,
            segment_bytes,
            segments,
            active,
            next_id: id + 1,
            appended: previous,
            synced: previous,
        })
    }

    /// The log that recovery found: its segments, and how the last one ends. Rewrites what a failed sync may have left
    /// only in memory, and clears the wreck of an unfinished group.
    pub(crate) fn resume(
        disk: D,
        spares: Spares<D>,
        segment_bytes: u64,
        segments: Vec<SegmentHeader>,
        last: &Scan,
        next_id: u64,
    ) -> Result<Log<D>, StorageError> {
        let name = segment_name(last.header.previous);
        let in_file = || disk.describe(&name);
        let file = disk.open(&name).in_file(in_file)?;
        settle_tail(&file, last).in_file(in_file)?;
        let active = Active::resume(file, last.end, last.crc, segment_bytes).in_file(in_file)?;
        Ok(Log {
            disk,
            spares,
            segment_bytes,
            segments,
            active,
            next_id,
            appended: last.last,
            synced: last.last,
        })
    }

    /// The last record that is durable.
    pub(crate) fn synced(&self) -> Zxid {
        self.synced
    }

    /// Adds to the log; durable after [`Log::sync`].
    pub(crate) fn append(
        &mut self,
        previous: Zxid,
        proposals: &[Proposal],
        committed: Zxid,
    ) -> Result<(), StorageError> {
        if previous != self.appended {
            return Err(StorageError::OutOfOrder { last: self.appended, zxid: previous });
        }
        if !self.active.is_filled() && self.spares.filling_pays() && self.spares.is_ready() {
            // Leave a segment that grows for one that is faster, as soon as there is one.
            self.roll()?;
        }
        for proposal in proposals {
            let (last, zxid) = (self.appended, proposal.zxid);
            let bytes = proposal.txn.len();
            if !zxid.may_follow(last) {
                return Err(StorageError::OutOfOrder { last, zxid });
            }
            if bytes > TXN_BYTES_MAX {
                return Err(StorageError::TooBig { zxid, bytes });
            }
            let size = record_bytes(bytes as u64);
            if !self.active.has_room(size) {
                self.leave_full()?;
            }
            let id = self.segments.last().expect("the log has an active segment").id;
            self.active.push(RecordKind::Txn, id, zxid, last, committed, &proposal.txn);
            self.appended = zxid;
        }
        Ok(())
    }

    /// Makes all that was appended durable: one write, one sync.
    pub(crate) fn sync(&mut self) -> Result<Zxid, StorageError> {
        assert!(self.synced <= self.appended);
        if self.active.is_pending() {
            let name = self.active_name();
            self.active.flush().in_file(|| self.disk.describe(&name))?;
        }
        self.synced = self.appended;
        Ok(self.synced)
    }

    /// Writes down that everything is durable, so that the next start can tell damage to the last group of records
    /// from a group that was never finished. The next record takes the place of the mark.
    pub(crate) fn mark_end(&mut self) -> Result<(), StorageError> {
        self.sync()?;
        if !self.active.has_room(record_bytes(0)) {
            return Ok(());
        }
        let header = *self.segments.last().expect("the log has an active segment");
        let name = self.active_name();
        self.active.mark_end(header.id, self.synced).in_file(|| self.disk.describe(&name))?;
        Ok(())
    }

    /// Goes on in a new segment because the next record has no room in this one, which grew to its full length by now:
    /// what is missing is filled up, so that it can be used again one day.
    fn leave_full(&mut self) -> Result<(), StorageError> {
        self.spares.note_group_size(self.active.group_bytes());
        self.active.fill_up(self.segment_bytes);
        self.roll()
    }

    /// Goes on in a new segment; one without records is replaced.
    fn roll(&mut self) -> Result<(), StorageError> {
        self.sync()?;
        let last = *self.segments.last().expect("the log has an active segment");
        let id = self.take_id();
        if self.synced == last.previous {
            let header = SegmentHeader { id, ..last };
            self.active = start_segment(&self.disk, &self.spares, self.segment_bytes, header)?;
            self.segments.pop();
            self.segments.push(header);
        } else {
            let header = SegmentHeader { id, base: false, previous: self.synced, chain: self.active.crc() };
            self.active = start_segment(&self.disk, &self.spares, self.segment_bytes, header)?;
            self.segments.push(header);
        }
        Ok(())
    }

    /// Looks for the record to cut behind; `None` if there is no such record, nor a beginning of the log there.
    pub(crate) fn find(&mut self, through: Zxid) -> Result<Option<Cut>, StorageError> {
        self.sync()?;
        let Some(segment) = self.segments.iter().rposition(|segment| segment.previous < through) else {
            let begins_there = self.segments[0].previous == through;
            return Ok(begins_there.then_some(Cut { segment: 0, end: SEGMENT_HEADER_BYTES, through }));
        };
        let mut end = None;
        self.scan(segment, &mut |entry| {
            if entry.zxid == through {
                end = Some(entry.end);
            }
        })?;
        Ok(end.map(|end| Cut { segment, end, through }))
    }

    /// Ends the log at `cut`. Later segments go first, the newest before the others, each durably; then the one that
    /// is cut is replaced by a shorter one. So a crash leaves the log as it was, or shorter, or as it shall be.
    pub(crate) fn cut(&mut self, cut: Cut) -> Result<(), StorageError> {
        assert_eq!(self.synced, self.appended);
        if has(Mutant::CutOldestFirst) {
            let header = self.segments[cut.segment];
            self.rewrite(cut, header)?;
        }
        while self.segments.len() > cut.segment + 1 {
            let segment = self.segments.pop().expect("more than one is left");
            self.synced = segment.previous;
            self.appended = segment.previous;
            self.spares.put_away(&segment_name(segment.previous))?;
            self.disk.sync_dir().in_file(|| self.disk.describe(""))?;
        }
        let header = self.segments[cut.segment];
        let name = segment_name(header.previous);
        let in_file = || self.disk.describe(&name);
        let kept = self.scan(cut.segment, &mut |_| {})?;
        if kept.end == cut.end {
            let file = self.disk.open(&name).in_file(in_file)?;
            self.active = Active::resume(file, cut.end, kept.crc, self.segment_bytes).in_file(in_file)?;
        } else {
            self.rewrite(cut, header)?;
        }
        self.appended = cut.through;
        self.synced = cut.through;
        Ok(())
    }

    /// Replaces a segment by one that ends at `cut`. Its records are told to be of a new segment: nothing of the old
    /// ones can ever be taken for theirs.
    fn rewrite(&mut self, cut: Cut, header: SegmentHeader) -> Result<(), StorageError> {
        let name = segment_name(header.previous);
        let header = SegmentHeader { id: self.take_id(), ..header };
        let in_file = || self.disk.describe(&name);
        let file = self.disk.create(TEMP_NAME).in_file(|| self.disk.describe(TEMP_NAME))?;
        let capacity = self.segment_bytes.max(cut.end);
        let mut active = Active::create(file, &header, capacity, false).in_file(in_file)?;
        let mut failed = None;
        self.scan(cut.segment, &mut |entry: Entry| {
            if entry.end > cut.end || failed.is_some() {
                return;
            }
            active.push(RecordKind::Txn, header.id, entry.zxid, entry.previous, entry.committed, &entry.txn);
            // One by one: each tells that those before it are durable, which they are once the file has its name.
            failed = active.write().err();
        })?;
        failed.map_or(Ok(()), Err).in_file(in_file)?;
        assert_eq!(active.end(), cut.end);
        active.sync().in_file(in_file)?;
        self.disk.rename(TEMP_NAME, &name).in_file(in_file)?;
        self.disk.sync_dir().in_file(in_file)?;
        self.active = active;
        self.segments[cut.segment] = header;
        Ok(())
    }

    /// Begins anew behind `previous`: from now on only the new segment counts. The others are still there; see
    /// [`Log::remove_void`].
    pub(crate) fn restart(&mut self, previous: Zxid) -> Result<Vec<String>, StorageError> {
        self.sync()?;
        let header = SegmentHeader { id: self.take_id(), base: true, previous, chain: 0 };
        self.active = start_segment(&self.disk, &self.spares, self.segment_bytes, header)?;
        let name = segment_name(previous);
        let void = self.segments.drain(..).map(|segment| segment_name(segment.previous));
        let void = void.filter(|other| *other != name).collect();
        self.segments.push(header);
        self.appended = previous;
        self.synced = previous;
        Ok(void)
    }

    /// Puts away segments that no longer count.
    pub(crate) fn remove_void(&self, names: &[String]) -> Result<(), StorageError> {
        for name in names {
            self.spares.put_away(name)?;
        }
        self.disk.sync_dir().in_file(|| self.disk.describe(""))
    }

    /// Puts away every segment of which nothing behind `through` is left; returns how many. The oldest goes first, each
    /// durably: a crash never leaves a hole.
    pub(crate) fn purge(&mut self, through: Zxid) -> Result<usize, StorageError> {
        let mut count = 0;
        let through = if has(Mutant::PurgeTooMuch) { self.synced } else { through };
        while self.segments.len() > 1 && self.segments[1].previous <= through {
            let segment = self.segments.remove(0);
            self.spares.put_away(&segment_name(segment.previous))?;
            self.disk.sync_dir().in_file(|| self.disk.describe(""))?;
            count += 1;
        }
        Ok(count)
    }

    /// Shows all records behind `after`, in order.
    pub(crate) fn replay(&self, after: Zxid, visit: &mut dyn FnMut(Entry)) -> Result<(), StorageError> {
        let first = self.segments.iter().rposition(|segment| segment.previous <= after).unwrap_or(0);
        for index in first..self.segments.len() {
            self.scan(index, &mut |entry| {
                if entry.zxid > after {
                    visit(entry);
                }
            })?;
        }
        Ok(())
    }

    /// The newest transactions that the segments hold through `through`, as many as take up `bytes_max` of memory.
    pub(crate) fn tail(&self, through: Zxid, bytes_max: usize) -> Tail {
        let mut tail = Tail { before: through, proposals: VecDeque::new(), fault: None };
        let mut room = bytes_max;
        let count =
            self.segments.iter().rposition(|segment| segment.previous < through).map_or(0, |at| at + 1);
        for (index, segment) in self.segments[..count].iter().enumerate().rev() {
            let (mut part, mut part_bytes, mut before) = (VecDeque::new(), 0, segment.previous);
            let read = self.scan(index, &mut |entry| {
                if entry.zxid > through {
                    return;
                }
                let proposal = Proposal { zxid: entry.zxid, txn: entry.txn };
                part_bytes += proposal.memory_bytes();
                part.push_back(proposal);
                while part_bytes > room {
                    let oldest = part.pop_front().expect("what takes up room");
                    part_bytes -= oldest.memory_bytes();
                    before = oldest.zxid;
                }
            });
            if let Err(error) = read {
                tail.fault = Some(error);
                break;
            }
            room -= part_bytes;
            tail.before = before;
            part.append(&mut tail.proposals);
            tail.proposals = part;
            if before != segment.previous {
                break;
            }
        }
        tail
    }

    /// Reads a segment that was found whole before, and must be whole still.
    fn scan(&self, index: usize, visit: &mut dyn FnMut(Entry)) -> Result<Scan, StorageError> {
        let header = self.segments[index];
        let name = segment_name(header.previous);
        let in_file = || self.disk.describe(&name);
        let file = self.disk.open(&name).in_file(in_file)?;
        let damage = |offset, found| Damage { case: Case::LogDamaged, file: in_file(), offset, found };
        let read = match scan_segment(&file, visit).in_file(in_file)? {
            Ok(read) => read,
            Err(fault) => return Err(StorageError::Damage(damage(0, describe_fault(fault)))),
        };
        let last = self.segments.get(index + 1).map_or(self.synced, |next| next.previous);
        if let Ending::Damaged { offset, found } = read.ending {
            return Err(StorageError::Damage(damage(offset, found)));
        }
        if read.header != header || read.last != last {
            let found = format!("a segment that ends with {} instead of {last}", read.last);
            return Err(StorageError::Damage(damage(read.end, found)));
        }
        Ok(read)
    }

    fn take_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id - 1
    }

    fn active_name(&self) -> String {
        segment_name(self.segments.last().expect("the log has an active segment").previous)
    }
}

/// Makes a segment with this header part of the log: durable with its header before it gets its name.
fn start_segment<D: Disk>(
    disk: &D,
    spares: &Spares<D>,
    segment_bytes: u64,
    header: SegmentHeader,
) -> Result<Active<D::File>, StorageError> {
    let name = segment_name(header.previous);
    let in_file = || disk.describe(&name);
    let (temp, file, filled) = match spares.take() {
        Some(spare) => {
            let file = disk.open(&spare).in_file(|| disk.describe(&spare))?;
            (spare, file, true)
        }
        None => (TEMP_NAME.to_owned(), disk.create(TEMP_NAME).in_file(|| disk.describe(TEMP_NAME))?, false),
    };
    let active = Active::create(file, &header, segment_bytes, filled).in_file(in_file)?;
    active.sync().in_file(in_file)?;
    disk.rename(&temp, &name).in_file(in_file)?;
    if !has(Mutant::FolderUnsynced) {
        disk.sync_dir().in_file(in_file)?;
    }
    Ok(active)
}

/// Writes the last group once more, since a sync that failed may have left it in memory alone, and zeros over the wreck
/// behind it, so that no later record can be followed by a stranger.
fn settle_tail<F: DiskFile>(file: &F, last: &Scan) -> std::io::Result<()> {
    let wreck_end = match &last.ending {
        Ending::Torn { wreck_end, .. } => *wreck_end,
        Ending::Clean | Ending::Damaged { .. } => last.end,
    };
    if has(Mutant::TailTrusted) {
        return Ok(());
    }
    let mut tail = vec![0; (last.end - last.group) as usize];
    if file.read_at(&mut tail, last.group)? < tail.len() {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    tail.put_bytes(0, (wreck_end - last.end) as usize);
    if !tail.is_empty() {
        file.write_at(&tail, last.group)?;
    }
    file.sync_data()
}

/// In words.
pub(crate) fn describe_fault(fault: HeaderFault) -> String {
    match fault {
        HeaderFault::Short => "fewer bytes than the header of a segment has".to_owned(),
        HeaderFault::NotASegment => "something that is not the header of a log segment".to_owned(),
        HeaderFault::Checksum => "a segment header whose checksum does not fit".to_owned(),
        HeaderFault::Id => "a segment header with an impossible id".to_owned(),
        HeaderFault::Unreadable => "a segment that the disk cannot read".to_owned(),
        HeaderFault::Future(version) => format!("a segment of format version {version}"),
    }
}
