//! A start: looks at everything in the folders, states the facts, lets [`super::table`] decide, and only then touches
//! anything.

use super::disk::{Disk, Disks};
use super::epoch_file::{self, EpochFault, EpochFile};
use super::error::{Damage, InFile, StorageError};
use super::log::{self, Log, describe_fault};
use super::scan::{Ending, Scan, or_unreadable, read_header, scan_segment};
use super::segment::{HeaderFault, SegmentHeader, segment_name, segment_previous};
use super::snapshot::{SnapshotFault, SnapshotReader};
use super::snapshot_store::{self, Named, SnapshotStore};
use super::spares::{Spares, is_spare};
use super::table::{Case, EpochFact, Facts, LogFact, ReachFact, SnapshotFact, decide};
use crate::ids::Zxid;
use crate::mutants::{Mutant, has};
use crate::zab::EpochRecord;

/// What a start found, and made whole.
pub struct Recovered<D: Disk> {
    /// which row of the table
    pub case: Case,
    /// what the server promised; `None` if it never ran here
    pub epoch: Option<EpochRecord>,
    /// the state to begin with; `None`: the empty tree
    pub snapshot: Option<SnapshotReader<D::File>>,
    /// the durable end of the log
    pub last_zxid: Zxid,
    /// the last zxid of every epoch from the snapshot's on, oldest first
    pub epoch_ends: Vec<Zxid>,
    /// the log cannot be cut before this: the snapshot's zxid
    pub floor: Zxid,
    /// everything through this zxid is known to be committed
    pub committed: Zxid,
    /// where the log ends at least, as the epoch file has it
    pub(crate) log_end: Zxid,
    /// for the operator
    pub notes: Vec<Note>,
}

/// Something that the operator should know about a start.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Note {
    /// something was damaged or lost, and the start got by without it
    pub got_by: bool,
    /// which file, what was found there, and what it means; one line
    pub text: String,
}

/// What lies in the folders, unjudged.
pub(crate) struct Survey {
    epoch: Option<Result<EpochFile, EpochFault>>,
    /// The snapshots that count, newest first, with the names of their files.
    snapshots: Vec<(Zxid, String)>,
    /// An installation that was decided but not completed.
    installing: Option<Zxid>,
    /// The segments that count, oldest first.
    pub(crate) segments: Vec<(Zxid, Result<SegmentHeader, HeaderFault>)>,
    /// Names of segments that no longer count.
    void: Vec<String>,
    spares: Vec<String>,
    /// What was not completed, in both folders.
    unfinished: Disks<Vec<String>>,
    /// No segment or spare was ever given this id or a higher one.
    next_id: u64,
    notes: Vec<Note>,
}

impl Survey {
    /// Where the log ended, durably, when the epoch file was written, or less.
    pub(crate) fn log_end(&self) -> Zxid {
        match &self.epoch {
            Some(Ok(file)) if !has(Mutant::LogEndIgnored) => file.log_end,
            _ => Zxid::ZERO,
        }
    }
}

/// Where something is wrong.
#[derive(Clone)]
pub(crate) struct Trouble {
    pub(crate) file: String,
    pub(crate) offset: u64,
    pub(crate) found: String,
}

/// The snapshot to use.
pub(crate) struct Choice {
    fact: SnapshotFact,
    /// Zero without a snapshot.
    pub(crate) zxid: Zxid,
    pub(crate) name: Option<String>,
    pub(crate) trouble: Option<Trouble>,
}

/// What the log holds behind the snapshot.
struct LogFound {
    fact: LogFact,
    reach: ReachFact,
    trouble: Option<Trouble>,
    /// Index of the first segment that was read.
    first: usize,
    last_scan: Option<Scan>,
    epoch_ends: Vec<Zxid>,
    committed: Zxid,
}

/// Opens the log of a server, if the table allows it.
pub(crate) fn recover<D: Disk>(
    disks: &Disks<D>,
    store: &SnapshotStore<D>,
    spares: &Spares<D>,
    segment_bytes: u64,
) -> Result<(Log<D>, Recovered<D>), StorageError> {
    // What an earlier process could not sync may be seen here and yet not be on the disk.
    for disk in [&disks.data, &disks.log] {
        disk.sync_dir().in_file(|| disk.describe(""))?;
    }
    let mut survey = survey(disks)?;
    let choice = choose_snapshot(disks, store, &survey)?;
    let newest = survey.snapshots.first().map_or(Zxid::ZERO, |(zxid, _)| *zxid);
    let newest = survey.installing.unwrap_or(newest);
    let found = read_log(disks, &survey, choice.zxid, newest.max(survey.log_end()))?;
    let epoch = match &survey.epoch {
        None => EpochFact::Absent,
        Some(Ok(EpochFile { record, .. })) if record.condemned => EpochFact::Condemned,
        Some(Ok(_)) => EpochFact::Valid,
        Some(Err(EpochFault::Future(_))) => EpochFact::Future,
        Some(Err(_)) => EpochFact::Damaged,
    };
    let case = decide(Facts { epoch, snapshot: choice.fact, log: found.fact, reach: found.reach });
    report(disks, &mut survey, case, &choice, &found)?;

    let log = carry_out(disks, store, spares, segment_bytes, &survey, &choice, &found)?;
    let snapshot = choice.name.is_some().then(|| store.open(choice.zxid)).transpose()?;
    let last_zxid = log.synced();
    let recovered = Recovered {
        case,
        log_end: survey.log_end(),
        epoch: survey.epoch.and_then(Result::ok).map(|file| file.record),
        snapshot,
        last_zxid,
        epoch_ends: found.epoch_ends,
        floor: choice.zxid,
        committed: match has(Mutant::ApplyWholeLog) {
            true => last_zxid,
            false => found.committed.min(last_zxid).max(choice.zxid),
        },
        notes: survey.notes,
    };
    Ok((log, recovered))
}

/// Looks at both folders.
pub(crate) fn survey<D: Disk>(disks: &Disks<D>) -> Result<Survey, StorageError> {
    let mut survey = Survey {
        epoch: None,
        snapshots: Vec::new(),
        installing: None,
        segments: Vec::new(),
        void: Vec::new(),
        spares: Vec::new(),
        unfinished: Disks { data: Vec::new(), log: Vec::new() },
        next_id: 1,
        notes: Vec::new(),
    };
    survey_log(disks, &mut survey)?;
    survey_data(disks, &mut survey)?;
    Ok(survey)
}

fn survey_log<D: Disk>(disks: &Disks<D>, survey: &mut Survey) -> Result<(), StorageError> {
    for name in disks.log.list().in_file(|| disks.log.describe(""))? {
        let previous = segment_previous(&name);
        if name == log::TEMP_NAME {
            survey.unfinished.log.push(name);
            continue;
        }
        if previous.is_none() && !is_spare(&name) {
            continue;
        }
        let in_file = || disks.log.describe(&name);
        let read = disks.log.open(&name).and_then(|file| read_header(&file));
        let header = or_unreadable(read).in_file(in_file)?.map(|(header, _)| header);
        if let Ok(header) = header {
            survey.next_id = survey.next_id.max(header.id + 1);
        }
        match (previous, header) {
            (Some(previous), header) => survey.segments.push((previous, header)),
            (None, Err(HeaderFault::Unreadable)) => survey.unfinished.log.push(name),
            (None, _) => survey.spares.push(name),
        }
    }
    survey.segments.sort_by_key(|(previous, _)| *previous);
    let headers = survey.segments.iter().filter_map(|(_, header)| header.as_ref().ok());
    if let Some(base) = headers.filter(|header| header.base).map(|header| header.id).max() {
        let is_void =
            |header: &Result<SegmentHeader, HeaderFault>| header.is_ok_and(|header| header.id < base);
        let void = survey.segments.iter().filter(|(_, header)| is_void(header));
        survey.void = void.map(|(previous, _)| segment_name(*previous)).collect();
        survey.segments.retain(|(_, header)| !is_void(header));
    }
    Ok(())
}

fn survey_data<D: Disk>(disks: &Disks<D>, survey: &mut Survey) -> Result<(), StorageError> {
    let base = survey.segments.iter().filter_map(|(_, header)| header.ok()).find(|header| header.base);
    for name in disks.data.list().in_file(|| disks.data.describe(""))? {
        match snapshot_store::classify(&name) {
            Named::Snapshot(zxid) => survey.snapshots.push((zxid, name)),
            Named::Received(zxid) if base.is_some_and(|base| base.previous == zxid) => {
                survey.installing = Some(zxid);
            }
            Named::Received(_) | Named::Unfinished => survey.unfinished.data.push(name),
            Named::Other if name == epoch_file::NAME => survey.epoch = Some(epoch_file::load(&disks.data)?),
            Named::Other if name == epoch_file::TEMP_NAME => survey.unfinished.data.push(name),
            Named::Other if name == "version-2" => {
                let text = format!(
                    "{} holds data of Apache ZooKeeper, which this server does not read: it has nothing of it",
                    disks.data.describe(&name)
                );
                survey.notes.push(Note { got_by: true, text });
            }
            Named::Other => {}
        }
    }
    survey.snapshots.sort_by(|a, b| b.cmp(a));
    Ok(())
}

/// The newest snapshot that verifies. During an installation it is the received one and no other.
pub(crate) fn choose_snapshot<D: Disk>(
    disks: &Disks<D>,
    store: &SnapshotStore<D>,
    survey: &Survey,
) -> Result<Choice, StorageError> {
    let mut choice = Choice { fact: SnapshotFact::None, zxid: Zxid::ZERO, name: None, trouble: None };
    let received = survey.installing.map(|zxid| (zxid, snapshot_store::received_name(zxid)));
    let candidates = match &received {
        Some(received) => std::slice::from_ref(received),
        None => &survey.snapshots[..],
    };
    for (zxid, name) in candidates {
        match store.verify(name, *zxid)? {
            Ok(_) => {
                choice.fact = match choice.fact {
                    SnapshotFact::None => SnapshotFact::Newest,
                    _ => SnapshotFact::Older,
                };
                choice.zxid = *zxid;
                choice.name = Some(name.clone());
                return Ok(choice);
            }
            Err(fault) => {
                let future = matches!(fault, SnapshotFault::Future(_) | SnapshotFault::Needs(_));
                let file = disks.data.describe(name);
                if future || choice.trouble.is_none() {
                    let damage = snapshot_store::damage_of(file, &fault);
                    choice.trouble =
                        Some(Trouble { file: damage.file, offset: damage.offset, found: damage.found });
                }
                choice.fact = if future { SnapshotFact::Future } else { SnapshotFact::Damaged };
                if future {
                    return Ok(choice);
                }
            }
        }
    }
    Ok(choice)
}

/// Reads the segments that hold what comes behind the snapshot. `reached`: the log went so far once, at least.
fn read_log<D: Disk>(
    disks: &Disks<D>,
    survey: &Survey,
    snapshot: Zxid,
    reached: Zxid,
) -> Result<LogFound, StorageError> {
    let joined = survey.segments.iter().rposition(|(previous, _)| *previous <= snapshot);
    let mut found = LogFound {
        fact: LogFact::Absent,
        reach: if joined.is_some() { ReachFact::PassesBy } else { ReachFact::StartsLater },
        trouble: None,
        first: joined.unwrap_or(0),
        last_scan: None,
        epoch_ends: if snapshot == Zxid::ZERO { Vec::new() } else { vec![snapshot] },
        committed: Zxid::ZERO,
    };
    for index in found.first..survey.segments.len() {
        if !read_segment(disks, survey, snapshot, index, &mut found)? {
            return Ok(found);
        }
    }
    let Some(last) = &found.last_scan else {
        found.reach = ReachFact::Joins;
        return Ok(found);
    };
    found.fact = match &last.ending {
        Ending::Torn { found: what, .. } => {
            let file = disks.log.describe(&segment_name(last.header.previous));
            let what =
                format!("{what} behind the record {}: a group of records that was never finished", last.last);
            found.trouble = Some(Trouble { file, offset: last.end, found: what });
            LogFact::Torn
        }
        Ending::Clean if survey.segments.len() == 1 && last.records == 0 => LogFact::Empty,
        Ending::Clean | Ending::Damaged { .. } => LogFact::Whole,
    };
    if last.last < reached {
        found.reach = ReachFact::EndsEarlier;
    }
    Ok(found)
}

/// Reads one segment; false if the log cannot be read any further.
fn read_segment<D: Disk>(
    disks: &Disks<D>,
    survey: &Survey,
    snapshot: Zxid,
    index: usize,
    found: &mut LogFound,
) -> Result<bool, StorageError> {
    let (previous, header) = &survey.segments[index];
    let file_name = disks.log.describe(&segment_name(*previous));
    let mut stop = |fact, offset, what| {
        found.fact = fact;
        found.trouble = Some(Trouble { file: file_name.clone(), offset, found: what });
        Ok(false)
    };
    let header = match header {
        Ok(header) => header,
        Err(fault @ HeaderFault::Future(_)) => return stop(LogFact::Future, 0, describe_fault(*fault)),
        Err(fault) => return stop(LogFact::Damaged, 0, describe_fault(*fault)),
    };
    if header.previous != *previous {
        let what = format!("the header of a segment that begins behind {}", header.previous);
        return stop(LogFact::Damaged, 0, what);
    }
    if let Some(before) = &found.last_scan {
        let last = before.last;
        if let Ending::Torn { found: what, .. } = before.ending {
            let offset = before.end;
            let file = disks.log.describe(&segment_name(before.header.previous));
            let what = format!("{what} behind the record {last}, though the log goes on in {file_name}");
            found.fact = LogFact::Damaged;
            found.trouble = Some(Trouble { file, offset, found: what });
            return Ok(false);
        }
        if header.previous != last {
            let what =
                format!("a segment that begins behind {previous}, while the one before it ends with {last}");
            return stop(LogFact::Gap, 0, what);
        }
        if header.chain != before.crc || header.id <= before.header.id {
            let what = format!("a segment that does not continue the record {last} before it");
            return stop(LogFact::Damaged, 0, what);
        }
    }
    let in_file = || file_name.clone();
    let file = disks.log.open(&segment_name(*previous)).in_file(in_file)?;
    let mut joins = *previous == snapshot;
    let epoch_ends = &mut found.epoch_ends;
    let read = scan_segment(&file, &mut |entry| {
        joins |= entry.zxid == snapshot;
        if entry.zxid > snapshot {
            epoch_ends.pop_if(|end| end.epoch() == entry.zxid.epoch());
            epoch_ends.push(entry.zxid);
        }
    });
    let scan = match or_unreadable(read).in_file(in_file)? {
        Ok(scan) => scan,
        Err(fault) => return stop(LogFact::Damaged, 0, describe_fault(fault)),
    };
    if let Ending::Damaged { offset, found: what } = &scan.ending {
        return stop(LogFact::Damaged, *offset, what.clone());
    }
    if joins {
        found.reach = ReachFact::Joins;
    }
    found.committed = found.committed.max(scan.committed);
    found.last_scan = Some(scan);
    Ok(true)
}

/// Tells the operator: an error if the server must not start, else notes.
fn report<D: Disk>(
    disks: &Disks<D>,
    survey: &mut Survey,
    case: Case,
    choice: &Choice,
    log: &LogFound,
) -> Result<(), StorageError> {
    let Some(Trouble { file, offset, found }) = trouble(disks, survey, case, choice, log) else {
        assert!(case.starts(), "whatever is refused has a reason");
        return Ok(());
    };
    if !case.starts() {
        return Err(StorageError::Damage(Damage { case, file, offset, found }));
    }
    let zxid = choice.zxid;
    let instead = match case {
        Case::OlderSnapshot => format!(" The start goes back to the snapshot of {zxid}."),
        Case::LogAlone => " The start goes without a snapshot.".to_owned(),
        _ => String::new(),
    };
    let text = format!("{file}, byte {offset}: {found}.{instead} {}", case.remedy());
    survey.notes.push(Note { got_by: case.gets_by(), text });
    if let Some(Trouble { file, offset, found }) = log.trouble.as_ref().filter(|_| !instead.is_empty()) {
        let text = format!("{file}, byte {offset}: {found}. {}", Case::TornTail.remedy());
        survey.notes.push(Note { got_by: true, text });
    }
    Ok(())
}

/// What makes it this case; `None` if all is well.
fn trouble<D: Disk>(
    disks: &Disks<D>,
    survey: &Survey,
    case: Case,
    choice: &Choice,
    log: &LogFound,
) -> Option<Trouble> {
    let last = log.last_scan.as_ref().map_or(Zxid::ZERO, |scan| scan.last);
    let first = survey.segments.get(log.first).map_or(Zxid::ZERO, |(previous, _)| *previous);
    let snapshot = choice.zxid;
    let newest = survey.snapshots.first().map_or(snapshot, |(zxid, _)| *zxid);
    let in_log = |found| Some(Trouble { file: disks.log.describe(&segment_name(first)), offset: 0, found });
    let in_data = |name: &str, found| Some(Trouble { file: disks.data.describe(name), offset: 0, found });
    match case {
        Case::Fresh | Case::Emptied | Case::Clean => None,
        Case::Condemned => {
            let found = "a note that the data was found damaged, and is not put aside yet".to_owned();
            in_data(epoch_file::NAME, found)
        }
        Case::Restored => {
            let name = choice.name.as_deref().unwrap_or_default();
            in_data(name, "a snapshot and nothing else: the server begins with it".to_owned())
        }
        Case::FutureVersion => match &survey.epoch {
            Some(Err(fault @ EpochFault::Future(_))) => {
                in_data(epoch_file::NAME, epoch_file::describe_fault(*fault))
            }
            _ if choice.fact == SnapshotFact::Future => choice.trouble.clone(),
            _ => log.trouble.clone(),
        },
        Case::EpochDamaged => {
            let fault = survey.epoch.as_ref().and_then(|epoch| epoch.as_ref().err());
            in_data(epoch_file::NAME, epoch_file::describe_fault(*fault.unwrap_or(&EpochFault::Checksum)))
        }
        Case::EpochMissing => {
            let found =
                format!("no epoch file, though the log reaches to {last}: what was promised is unknown");
            in_data(epoch_file::NAME, found)
        }
        Case::TornTail | Case::LogDamaged | Case::LogGap => log.trouble.clone(),
        Case::OlderSnapshot | Case::LogAlone | Case::SnapshotDamaged => choice.trouble.clone(),
        Case::LogMissing => {
            let found = "no log, though there is an epoch file".to_owned();
            Some(Trouble { file: disks.log.describe("log.*"), offset: 0, found })
        }
        Case::LogStartsLate => {
            in_log(format!("a log that begins behind {first}, while the state to begin with is {snapshot}"))
        }
        Case::LogEndsEarly if last < newest => {
            in_log(format!("a log that ends with {last}, before the snapshot of {newest}"))
        }
        Case::LogEndsEarly => log.last_scan.as_ref().map(|scan| Trouble {
            file: disks.log.describe(&segment_name(scan.header.previous)),
            offset: scan.end,
            found: describe_early_end(last, survey.log_end()),
        }),
        Case::SnapshotNotInLog => {
            in_log(format!("a log that passes by {snapshot}, of which there is a snapshot"))
        }
    }
}

/// What is wrong with a log that is shorter than the epoch file says.
pub(crate) fn describe_early_end(last: Zxid, log_end: Zxid) -> String {
    format!(
        "a log that ends with {last}, though it reached {log_end} when the epoch file was written: the disk lost what it \
         said it had"
    )
}

/// Repairs what a crash left undone, and opens the log.
fn carry_out<D: Disk>(
    disks: &Disks<D>,
    store: &SnapshotStore<D>,
    spares: &Spares<D>,
    segment_bytes: u64,
    survey: &Survey,
    choice: &Choice,
    found: &LogFound,
) -> Result<Log<D>, StorageError> {
    let valid = choice.name.is_some().then_some(choice.zxid);
    store.set_found(survey.snapshots.iter().map(|(zxid, _)| *zxid), valid);
    if let Some(zxid) = survey.installing {
        store.install(zxid)?;
    }
    for (disk, names) in [(&disks.data, &survey.unfinished.data), (&disks.log, &survey.unfinished.log)] {
        for name in names {
            disk.remove(name).in_file(|| disk.describe(name))?;
        }
    }
    for name in &survey.spares {
        spares.adopt(name)?;
    }
    let log = match &found.last_scan {
        Some(last) => {
            let segments = history(survey, found.first);
            Log::resume(disks.log.clone(), spares.clone(), segment_bytes, segments, last, survey.next_id)?
        }
        None => Log::create(disks.log.clone(), spares.clone(), segment_bytes, choice.zxid, survey.next_id)?,
    };
    log.remove_void(&survey.void)?;
    disks.data.sync_dir().in_file(|| disks.data.describe(""))?;
    Ok(log)
}

/// The headers of the segments that were read, and of those older ones that go with them without a doubt.
fn history(survey: &Survey, first: usize) -> Vec<SegmentHeader> {
    let mut headers: Vec<SegmentHeader> =
        survey.segments.iter().filter_map(|(_, header)| header.ok()).collect();
    let unread = &survey.segments[..first];
    let doubtful =
        unread.iter().rposition(|(previous, header)| !header.is_ok_and(|h| h.previous == *previous));
    let keep = survey.segments.len() - doubtful.map_or(0, |index| index + 1);
    headers.drain(..headers.len() - keep);
    headers
}
