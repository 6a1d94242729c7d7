//! One server's disk: the server's own storage over simulated files, of which a crash leaves what a real one may leave.
//! What production does in threads is done here one piece at a time.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use zabra::ids::{Epoch, Zxid};
use zabra::replica::{Image, Input, State, ZabRecovered};
use zabra::server::{Carried, DiskFault, OnDamage, StartFault, carry_out, recover_from};
use zabra::storage::testing::{Failed, SimDisk, SimWorld, Survivors};
use zabra::storage::{Disk as _, Entry, Options, SnapshotWriter, Storage, StorageError, decode_segment};
use zabra::zab::{DiskDone, DiskOp, EpochRecord, Proposal};

use super::checkers::purge::Recovery;
use super::failure::fail;

pub const HASH_SEED: u64 = 7;

/// Segments that hold a dozen transactions, so that every run has many.
const OPTIONS: Options =
    Options { segment_bytes: 8192, spare_segments_max: 2, snapshots_kept: 2, snapshot_step_bytes: 500 };

/// What the disk thread has to do.
enum Job {
    Op { seq: u64, op: DiskOp },
    PurgeLog(Zxid),
}

/// A snapshot that is being written in the background.
struct Writing {
    zxid: Zxid,
    writer: SnapshotWriter<SimDisk>,
    blocks: Box<dyn Iterator<Item = Vec<u8>>>,
}

/// Why a server does not start.
#[derive(Debug)]
pub enum Refusal {
    /// what is there is damaged, in words of the recovery table
    Damage(String),
    /// the disk did not do what it should: another start may go better
    Failure(String),
}

/// What a start found.
pub struct Started {
    pub zab: ZabRecovered,
    pub state: State,
    /// of the snapshot
    pub snapshot: Zxid,
    pub is_new: bool,
    /// what was found, and put aside
    pub damage: Option<String>,
    /// what the operator was told
    pub notes: Vec<String>,
}

/// How a process ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// by itself or by a signal: what it wrote is there, synced or not
    Process,
    /// with the machine: of what was not synced, something is left or nothing
    Power,
}

/// What decays on a disk, so that the next start must notice it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// the header of the newest segment of the log
    Log,
    /// the newest records of the log, from the one on with which it ended when the epoch file was written: as if they
    /// had never been written
    Tail,
    /// the epoch file
    Epoch,
}

/// How far the log goes.
#[derive(Clone, Copy, Default)]
struct Ends {
    synced: Zxid,
    noted: Zxid,
    witnessed: Zxid,
}

pub struct Disk {
    world: SimWorld,
    storage: Option<Storage<SimDisk>>,
    queue: VecDeque<Job>,
    writing: Option<Writing>,
    /// What a server that never ran here promises.
    new: EpochRecord,
    pub options: Options,
    /// Something that was durable is no longer as it was written.
    pub damaged: bool,
    /// [`Disk::lose_write`] will be asked for.
    pub remembers_writes: bool,
    /// The next start must find something damaged.
    is_spoiled: bool,
    /// The durable epoch record.
    pub epoch: EpochRecord,
    /// The durable end of the log.
    pub synced: Zxid,
    /// What the epoch file notes of the end of the log, or less. A start must notice a log that ends before.
    noted: Zxid,
    /// The lowest that all were while operations were carried out last.
    lowest: Ends,
    /// The end of the log before the newest group of records: a later group says that it was durable, so no flipped byte
    /// can take it away without a word.
    witnessed: Zxid,
    /// Nothing but flipped bytes is wrong with it.
    is_flipped: bool,
    /// Every transaction behind the snapshot that the server was started from or was given since, in the order of the
    /// log, on its way to the disk or there.
    log: BTreeMap<Zxid, Proposal>,
}

impl Disk {
    pub fn new(data_dir_id: u64, may_vote: bool) -> Disk {
        let new = EpochRecord { data_dir_id, may_vote, promises_lost: !may_vote, ..EpochRecord::default() };
        Disk {
            world: SimWorld::default(),
            storage: None,
            queue: VecDeque::new(),
            writing: None,
            is_spoiled: false,
            epoch: new.clone(),
            new,
            options: OPTIONS,
            damaged: false,
            remembers_writes: false,
            synced: Zxid::ZERO,
            noted: Zxid::ZERO,
            lowest: Ends::default(),
            witnessed: Zxid::ZERO,
            is_flipped: false,
            log: BTreeMap::new(),
        }
    }

    /// An empty one of the same kind.
    pub fn replaced(&self, data_dir_id: u64) -> Disk {
        let Disk { options, remembers_writes, .. } = *self;
        Disk { options, remembers_writes, ..Disk::new(data_dir_id, false) }
    }

    /// Starts from what is there, which must be at least what was known to be durable, unless it is damaged.
    pub fn start(&mut self, recent_bytes_max: usize, on_damage: OnDamage) -> Result<Started, Refusal> {
        if self.remembers_writes {
            self.world.remember_writes();
        }
        let (disks, new) = (self.world.disks(), self.new.clone());
        let found = recover_from(disks, self.options, HASH_SEED, recent_bytes_max, new, on_damage);
        let found = found.map_err(|fault| self.refusal(&fault))?;
        // An earlier start, which then failed for another reason, may have put the data aside: no epoch is held then.
        let is_held = found.zab.epoch.current_epoch != Epoch(0) && !found.is_new;
        let (end, noted) = (found.storage.synced(), self.noted);
        if is_held && end < noted {
            fail("damage is noticed", format!("the log ends with {end}, and the epoch file notes {noted}"));
        }
        if !self.damaged {
            assert_eq!(found.damage.is_some(), self.is_spoiled, "{:?}", found.damage);
        }
        if found.damage.is_some() {
            assert!(!found.zab.epoch.may_vote, "a damaged server votes");
            // What is put aside is looked after by an operator.
            self.take_away(|name| name.starts_with("damaged-"));
            (self.is_spoiled, self.damaged) = (false, false);
            (self.synced, self.epoch) = (Zxid::ZERO, found.zab.epoch.clone());
            (self.noted, self.witnessed, self.is_flipped) = (Zxid::ZERO, Zxid::ZERO, false);
        }
        let (epoch, witnessed) = (&found.zab.epoch, self.witnessed);
        if self.is_flipped && is_held && end < witnessed {
            fail(
                "damage is noticed",
                format!("a flipped byte took {end} to {witnessed} away without a word"),
            );
        }
        if !self.damaged {
            let known = self.synced;
            assert!(found.storage.synced() >= known, "{known} was durable and is lost");
            assert!(epoch.accepted_epoch >= self.epoch.accepted_epoch, "a promise is lost");
            assert!(epoch.current_epoch >= self.epoch.current_epoch, "an epoch is lost");
            assert!(epoch.may_vote || !self.epoch.may_vote, "the right to vote is lost");
        }
        let mut log = BTreeMap::new();
        let replayed = found.storage.replay(|proposal, _| {
            log.insert(proposal.zxid, proposal);
        });
        replayed.map_err(|error| Refusal::Failure(error.to_string()))?;
        // What said that the disk is new is taken away when it is not new any more.
        (self.new.may_vote, self.new.promises_lost) = (false, true);
        self.log = log;
        self.epoch = epoch.clone();
        self.synced = found.storage.synced();
        self.noted = self.noted.min(self.synced);
        self.storage = Some(found.storage);
        let snapshot = found.zab.history.floor;
        let notes = found.notes.into_iter().filter(|note| note.got_by).map(|note| note.text).collect();
        let (zab, state, is_new, damage) = (found.zab, found.state, found.is_new, found.damage);
        Ok(Started { zab, state, snapshot, is_new, damage, notes })
    }

    /// Why a start came to nothing.
    fn refusal(&mut self, fault: &StartFault) -> Refusal {
        let is_failure = matches!(fault, StartFault::Storage(StorageError::Io { .. }));
        if is_failure || self.world.has_failed() {
            // It may have gone half of the way to healing.
            self.damaged |= self.is_spoiled;
            Refusal::Failure(fault.to_string())
        } else {
            Refusal::Damage(fault.to_string())
        }
    }

    fn take_away(&self, which: impl Fn(&str) -> bool) {
        for folder in ["data", "log"] {
            let disk = self.world.disk(folder);
            for (name, _) in self.world.files(folder).iter().filter(|(name, _)| which(name)) {
                self.world.fail_after(u64::MAX);
                disk.remove(name).and_then(|()| disk.sync_dir()).expect("the disk works");
            }
        }
    }

    /// Something decays, durably, while the server does not run.
    pub fn spoil(&mut self, part: Part) {
        assert!(self.storage.is_none(), "only the disk of a dead server decays");
        match part {
            Part::Epoch => self.world.flip("data", "epoch", 20, 1),
            Part::Tail => {
                let (name, offset) = self.noted_end().expect("a log that holds what is noted");
                self.world.erase("log", &name, offset);
            }
            Part::Log => {
                let names = self.world.disk("log").list().expect("memory");
                let first = |name: &String| u64::from_str_radix(name.strip_prefix("log.")?, 16).ok();
                let newest = names.iter().filter(|name| first(name).is_some()).max_by_key(|name| first(name));
                self.world.flip("log", newest.expect("a server that ran has a log"), 16, 1);
            }
        }
        self.is_spoiled = true;
        self.epoch.may_vote = false;
    }

    /// True if [`Part::Tail`] can decay.
    pub fn has_noted_end(&self) -> bool {
        self.noted_end().is_some()
    }

    /// Where the record stands with which the log ended when the epoch file was written, if that is in the newest segment.
    fn noted_end(&self) -> Option<(String, u64)> {
        let (name, entries) = self.newest_records()?;
        entries.iter().find(|entry| entry.zxid == self.noted).map(|entry| (name, entry.offset))
    }

    /// Where a record stands of which only a later one tells that it was durable.
    fn witnessed_record(&self, chance: &mut StdRng) -> Option<(String, u64)> {
        let (name, entries) = self.newest_records()?;
        let is_witnessed = |entry: &&Entry| entry.zxid > self.noted && entry.zxid <= self.witnessed;
        let witnessed: Vec<&Entry> = entries.iter().filter(is_witnessed).collect();
        witnessed.choose(chance).map(|entry| (name, entry.offset))
    }

    /// The name of the newest segment, and its records.
    fn newest_records(&self) -> Option<(String, Vec<Entry>)> {
        let segments = self.world.files("log").into_iter().filter_map(|(name, _)| {
            let bytes = self.world.contents("log", &name).filter(|_| name.starts_with("log."))?;
            let (scan, entries) = decode_segment(&bytes).ok()?;
            Some((scan.header.id, name, entries))
        });
        segments.max_by_key(|(id, _, _)| *id).map(|(_, name, entries)| (name, entries))
    }

    /// The operator says that the server is to vote with what it has.
    pub fn initialize(&mut self) {
        let folder = self.world.disk("data");
        folder.create("initialize").expect("memory");
        folder.sync_dir().expect("memory");
    }

    /// Every transaction that is known of the log, on its way to the disk or there.
    pub fn log(&self) -> &BTreeMap<Zxid, Proposal> {
        &self.log
    }

    /// The end of the log when everything on its way is there.
    pub fn log_end(&self) -> Zxid {
        self.log.last_key_value().map_or(self.synced, |(zxid, _)| *zxid)
    }

    /// What a start from what is durable now would make.
    pub fn would_start(&self) -> Result<Recovery, String> {
        let world = self.world.crash(Survivors::Nothing);
        let found = recover_from(world.disks(), OPTIONS, HASH_SEED, 0, self.new.clone(), OnDamage::Refuse);
        let found = found.map_err(|error| error.to_string())?;
        let (zxid, digest) = (found.state.zxid(), found.state.digest());
        Ok(Recovery { zxid, digest, log_end: found.storage.synced() })
    }

    /// What the log holds in `after..=through`.
    pub fn logged(&self, after: Zxid, through: Zxid) -> impl Iterator<Item = &Proposal> {
        let (from, to) = (std::ops::Bound::Excluded(after), std::ops::Bound::Included(through));
        (after < through)
            .then(|| self.log.range((from, to)))
            .into_iter()
            .flatten()
            .map(|(_, proposal)| proposal)
    }

    pub fn submit(&mut self, seq: u64, op: DiskOp) {
        match &op {
            DiskOp::Append { proposals, .. } => {
                self.log.extend(proposals.iter().map(|proposal| (proposal.zxid, proposal.clone())));
            }
            DiskOp::Truncate { through } => self.log.retain(|zxid, _| zxid <= through),
            DiskOp::InstallSnapshot { .. } | DiskOp::SaveEpoch(_) | DiskOp::ReceiveSnapshot { .. } => {}
        }
        self.queue.push_back(Job::Op { seq, op });
    }

    /// True if there is something to do.
    pub fn has_work(&self) -> bool {
        !self.queue.is_empty() || self.writing.is_some()
    }

    /// What is there and what waits, in words that differ where it does.
    pub fn describe(&self, words: &mut dyn fmt::Write) -> fmt::Result {
        write!(words, "{:?}{:?}{:?}{:?}", self.epoch, self.synced, self.noted, self.log.keys())?;
        for job in &self.queue {
            match job {
                Job::Op { op, .. } => write!(words, "{op:?}")?,
                Job::PurgeLog(through) => write!(words, "{through:?}")?,
            }
        }
        Ok(())
    }

    /// How many operations wait.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    fn ends(&self) -> Ends {
        Ends { synced: self.synced, noted: self.noted, witnessed: self.witnessed }
    }

    /// Carries out the oldest operations, `count` of them, with one sync at the end: what the server is to be told.
    pub fn perform(&mut self, count: usize) -> Result<Vec<Input>, DiskFault> {
        self.lowest = self.ends();
        let storage = self.storage.as_mut().expect("the server runs");
        let (mut told, mut buffered) = (Vec::new(), None);
        for _ in 0..count {
            let Some(job) = self.queue.pop_front() else { break };
            let (seq, op) = match job {
                Job::Op { seq, op } => (seq, op),
                Job::PurgeLog(through) => {
                    storage.purge_log(through)?;
                    continue;
                }
            };
            // From here on less may be durable than before, which is what the operation is for.
            match &op {
                DiskOp::Truncate { through: zxid } | DiskOp::InstallSnapshot { zxid } => {
                    self.synced = self.synced.min(*zxid);
                    self.noted = self.noted.min(*zxid);
                    self.witnessed = self.witnessed.min(*zxid);
                }
                DiskOp::Append { .. } | DiskOp::SaveEpoch(_) | DiskOp::ReceiveSnapshot { .. } => {}
            }
            self.lowest.synced = self.lowest.synced.min(self.synced);
            self.lowest.noted = self.lowest.noted.min(self.noted);
            self.lowest.witnessed = self.lowest.witnessed.min(self.witnessed);
            let saved = if let DiskOp::SaveEpoch(record) = &op { Some(record.clone()) } else { None };
            match carry_out(storage, HASH_SEED, seq, op)? {
                Carried::Buffered => buffered = Some(seq),
                Carried::Done(input) => {
                    buffered = None;
                    let synced = storage.synced();
                    if synced > self.synced {
                        self.witnessed = self.synced;
                    }
                    self.synced = synced;
                    if let Some(record) = saved {
                        (self.epoch, self.noted) = (record, synced);
                    }
                    if let Input::Installed { state, .. } = &input {
                        let zxid = state.zxid();
                        self.log.retain(|logged, _| *logged > zxid);
                    }
                    told.push(input);
                }
            }
        }
        if let Some(seq) = buffered {
            let synced = storage.sync()?;
            if synced > self.synced {
                self.witnessed = std::mem::replace(&mut self.synced, synced);
            }
            told.push(Input::Disk(DiskDone::Synced { seq }));
        }
        Ok(told)
    }

    /// Begins a snapshot.
    pub fn begin_snapshot(&mut self, image: &Image) {
        assert!(self.writing.is_none(), "one snapshot is written at a time");
        let storage = self.storage.as_ref().expect("the server runs");
        // A failure harms nothing but the snapshot.
        if let Ok(writer) = storage.snapshots().begin(image.zxid(), image.digest(), image.version()) {
            self.writing = Some(Writing { zxid: image.zxid(), writer, blocks: Box::new(image.blocks()) });
        }
    }

    /// Goes on with the snapshot, if there is one: `SnapshotWritten` at its end.
    pub fn write_snapshot(&mut self) -> Option<Input> {
        let mut writing = self.writing.take()?;
        let zxid = writing.zxid;
        if let Some(block) = writing.blocks.next() {
            if writing.writer.block(&block).is_ok() {
                self.writing = Some(writing);
                return None;
            }
        } else if writing.writer.finish().is_ok_and(|is_kept| is_kept) {
            let storage = self.storage.as_ref().expect("the server runs");
            if let Ok(Some(oldest)) = storage.snapshots().purge() {
                self.queue.push_back(Job::PurgeLog(oldest));
            }
        }
        Some(Input::SnapshotWritten { zxid })
    }

    /// What is done when there is nothing else to do.
    pub fn idle(&mut self) -> Result<(), DiskFault> {
        let storage = self.storage.as_mut().expect("the server runs");
        // A failure harms nothing but the spare.
        let _ = storage.spares().prepare();
        if self.queue.is_empty() { Ok(storage.mark_end()?) } else { Ok(()) }
    }

    /// One of the next writes, syncs or changes of names will fail.
    pub fn fail_soon(&mut self, after: u64) {
        self.world.fail_after(after);
    }

    /// One of the next reads will fail.
    pub fn fail_read_soon(&mut self, after: u64) {
        self.world.fail_read_after(Some(after));
    }

    /// There is room for so many bytes more.
    pub fn fill(&mut self, left: u64) {
        self.world.set_capacity(Some(self.world.used() + left));
    }

    /// A write of the log that was synced was never done, or in another place.
    pub fn lose_write(&mut self, is_misdirected: bool, chance: &mut StdRng) -> bool {
        let by = is_misdirected.then(|| 4096 * chance.random_range(1..3));
        let is_lost = self.world.lose(chance.random_range(0..4), by);
        self.damaged |= is_lost;
        self.is_flipped &= !is_lost;
        is_lost
    }

    /// What failed since the last call.
    pub fn take_failed(&self) -> Vec<Failed> {
        self.world.take_failed()
    }

    /// Everything works again, and there is room.
    pub fn repair(&mut self) {
        self.world.fail_after(u64::MAX);
        self.world.fail_read_after(None);
        self.world.set_capacity(None);
    }

    /// Files of a kind that matters, with their folder: those that damage strikes.
    fn some_files(&self, chance: &mut StdRng) -> Vec<(&'static str, String, u64)> {
        let of = |folder, prefix: &str| {
            let files = self.world.files(folder).into_iter();
            let files = files.filter(|(name, length)| name.starts_with(prefix) && *length > 0);
            let mut files: Vec<_> = files.map(|(name, length)| (folder, name, length)).collect();
            files.sort_by_key(|(_, name, _)| (name.len(), name.clone()));
            files
        };
        let (snapshots, segments) = (of("data", "snapshot."), of("log", "log."));
        let one = |files: Vec<(&'static str, String, u64)>, chance: &mut StdRng| {
            files.choose(chance).cloned().into_iter().collect()
        };
        match chance.random_range(0..12) {
            0 => of("data", "epoch"),
            1 | 2 => snapshots.last().cloned().into_iter().collect(),
            3 => snapshots,
            4 => segments.last().cloned().into_iter().collect(),
            5 => one(segments, chance),
            6 => one(of("log", ""), chance),
            7 | 8 if segments.len() > 1 => segments[1..].to_vec(),
            9 | 10 if segments.len() > 2 => one(segments[1..segments.len() - 1].to_vec(), chance),
            _ => one(of("data", ""), chance),
        }
    }

    /// Places in one or more files, mostly where something stands that matters.
    fn some_places(&self, chance: &mut StdRng) -> Vec<(&'static str, String, u64)> {
        let files = self.some_files(chance).into_iter();
        let place = files.map(|(folder, name, length)| {
            let offset = match chance.random_range(0..3) {
                0 => chance.random_range(0..length.min(64)),
                1 => chance.random_range(0..length),
                _ => chance.random_range(length.min(4096)..=length.min(6000)).min(length - 1),
            };
            (folder, name, offset)
        });
        place.collect()
    }

    /// A byte decays in one or more files; where.
    pub fn flip(&mut self, chance: &mut StdRng) -> Vec<String> {
        let witnessed = chance.random_bool(0.3).then(|| self.witnessed_record(chance)).flatten();
        let places = match witnessed {
            Some((name, offset)) => vec![("log", name, offset + chance.random_range(0..16))],
            None => self.some_places(chance),
        };
        let mut told = Vec::new();
        for (folder, name, offset) in places {
            self.world.flip(folder, &name, offset, 1 << chance.random_range(0..8));
            self.is_flipped |= !self.damaged;
            self.damaged = true;
            told.push(format!("{folder}/{name} byte {offset}"));
        }
        told
    }

    /// One or more files are gone; which.
    pub fn lose_file(&mut self, chance: &mut StdRng) -> Vec<String> {
        let mut told = Vec::new();
        for (folder, name, _) in self.some_files(chance) {
            let disk = self.world.disk(folder);
            disk.remove(&name).and_then(|()| disk.sync_dir()).expect("the disk works");
            (self.damaged, self.is_flipped) = (true, false);
            told.push(format!("{folder}/{name}"));
        }
        told
    }

    /// The process ends at any moment: between two operations, or in the middle of some.
    pub fn crash(&mut self, end: End, chance: &mut StdRng) {
        self.repair();
        let is_busy = self.storage.is_some() && self.has_work();
        if is_busy && chance.random_bool(0.5) {
            self.world.record();
            let epoch = self.epoch.clone();
            self.lowest = self.ends();
            if self.queue.is_empty() || self.writing.is_some() && chance.random_bool(0.3) {
                self.write_snapshot();
            } else {
                let count = chance.random_range(1..4);
                self.perform(count).expect("the disk works");
            }
            let points = self.world.take_points();
            if end == End::Power {
                let point = &points[chance.random_range(0..points.len())];
                let survivors = survivors(point.pending(), chance);
                // What became durable since may not be so at that point.
                let Ends { synced, noted, witnessed } = self.lowest;
                (self.synced, self.noted, self.witnessed, self.epoch) = (synced, noted, witnessed, epoch);
                return self.stop(point.crash(survivors));
            }
        }
        let world = match end {
            End::Process => self.world.clone(),
            End::Power => self.world.crash(survivors(8, chance)),
        };
        self.stop(world);
    }

    /// The power fails once the `kept` oldest operations are carried out, and nothing more is left.
    pub fn crash_keeping(&mut self, kept: usize) {
        self.perform(kept).expect("the disk works");
        self.stop(self.world.crash(Survivors::Nothing));
    }

    /// The process ends because the disk failed.
    pub fn end(&mut self) {
        self.stop(self.world.clone());
    }

    fn stop(&mut self, world: SimWorld) {
        self.storage = None;
        self.queue.clear();
        self.writing = None;
        self.world = world;
    }
}

fn survivors(pending: usize, chance: &mut StdRng) -> Survivors {
    match chance.random_range(0..6) {
        0 => Survivors::Nothing,
        1 => Survivors::Everything,
        2 => Survivors::First(chance.random_range(0..=pending)),
        _ => Survivors::Sectors(chance.random()),
    }
}
