//! One server's disk: the server's own storage over simulated files, of which a crash leaves what a real one may leave.
//! What production does in threads is done here one piece at a time.

use std::collections::{BTreeMap, VecDeque};

use rand::RngExt;
use rand::rngs::StdRng;
use zabra::ids::Zxid;
use zabra::replica::{Image, Input, State, ZabRecovered};
use zabra::server::{Carried, DiskFault, OnDamage, carry_out, recover_from};
use zabra::storage::testing::{SimDisk, SimWorld, Survivors};
use zabra::storage::{Disk as _, Options, SnapshotWriter, Storage};
use zabra::zab::{DiskDone, DiskOp, EpochRecord, Proposal};

use super::checkers::purge::Recovery;

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
    /// the epoch file
    Epoch,
}

pub struct Disk {
    world: SimWorld,
    storage: Option<Storage<SimDisk>>,
    queue: VecDeque<Job>,
    writing: Option<Writing>,
    /// What a server that never ran here promises.
    new: EpochRecord,
    /// The next start must find something damaged.
    is_spoiled: bool,
    /// The durable epoch record.
    pub epoch: EpochRecord,
    /// The durable end of the log.
    pub synced: Zxid,
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
            synced: Zxid::ZERO,
            log: BTreeMap::new(),
        }
    }

    /// Starts from what is there, which must be at least what was known to be durable, unless it is damaged. Returns the
    /// zxid of the snapshot as well.
    pub fn start(&mut self, recent_bytes_max: usize, on_damage: OnDamage) -> (ZabRecovered, State, Zxid) {
        let (disks, new) = (self.world.disks(), self.new.clone());
        let found = recover_from(disks, OPTIONS, HASH_SEED, recent_bytes_max, new, on_damage);
        let found =
            found.unwrap_or_else(|error| panic!("what a crash leaves cannot be started from: {error}"));
        assert_eq!(found.damage.is_some(), self.is_spoiled, "{:?}", found.damage);
        if std::mem::take(&mut self.is_spoiled) {
            assert!(!found.zab.epoch.may_vote, "a damaged server votes");
            // What is put aside is looked after by an operator.
            for folder in [self.world.disk("data"), self.world.disk("log")] {
                let names = folder.list().expect("memory");
                let aside = names.iter().filter(|name| name.starts_with("damaged-"));
                aside.for_each(|name| folder.remove(name).expect("it is there"));
                folder.sync_dir().expect("memory");
            }
            (self.synced, self.epoch) = (Zxid::ZERO, found.zab.epoch.clone());
        }
        assert!(found.storage.synced() >= self.synced, "{} was durable and is lost", self.synced);
        let epoch = &found.zab.epoch;
        assert!(epoch.accepted_epoch >= self.epoch.accepted_epoch, "a promise is lost");
        assert!(epoch.current_epoch >= self.epoch.current_epoch, "an epoch is lost");
        assert!(epoch.may_vote || !self.epoch.may_vote, "the right to vote is lost");
        self.log.clear();
        let replayed = found.storage.replay(|proposal, _| {
            self.log.insert(proposal.zxid, proposal);
        });
        replayed.expect("what was replayed once can be replayed again");
        self.epoch = epoch.clone();
        self.synced = found.storage.synced();
        self.storage = Some(found.storage);
        let snapshot = found.zab.history.floor;
        (found.zab, found.state, snapshot)
    }

    /// Something decays, durably, while the server does not run.
    pub fn spoil(&mut self, part: Part) {
        assert!(self.storage.is_none(), "only the disk of a dead server decays");
        match part {
            Part::Epoch => self.world.flip("data", "epoch", 20, 1),
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

    /// Carries out the oldest operations, `count` of them, with one sync at the end: what the server is to be told.
    pub fn perform(&mut self, count: usize) -> Result<Vec<Input>, DiskFault> {
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
                DiskOp::Truncate { through } => self.synced = self.synced.min(*through),
                DiskOp::InstallSnapshot { zxid } => self.synced = self.synced.min(*zxid),
                DiskOp::Append { .. } | DiskOp::SaveEpoch(_) | DiskOp::ReceiveSnapshot { .. } => {}
            }
            let saved = if let DiskOp::SaveEpoch(record) = &op { Some(record.clone()) } else { None };
            match carry_out(storage, HASH_SEED, seq, op)? {
                Carried::Buffered => buffered = Some(seq),
                Carried::Done(input) => {
                    buffered = None;
                    self.synced = storage.synced();
                    self.epoch = saved.unwrap_or_else(|| self.epoch.clone());
                    if let Input::Installed { state, .. } = &input {
                        let zxid = state.zxid();
                        self.log.retain(|logged, _| *logged > zxid);
                    }
                    told.push(input);
                }
            }
        }
        if let Some(seq) = buffered {
            self.synced = storage.sync()?;
            told.push(Input::Disk(DiskDone::Synced { seq }));
        }
        Ok(told)
    }

    /// Begins a snapshot.
    pub fn begin_snapshot(&mut self, image: &Image) {
        assert!(self.writing.is_none(), "one snapshot is written at a time");
        let storage = self.storage.as_ref().expect("the server runs");
        // A failure harms nothing but the snapshot.
        if let Ok(writer) = storage.snapshots().begin(image.zxid(), image.digest()) {
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

    /// The process ends at any moment: between two operations, or in the middle of some.
    pub fn crash(&mut self, end: End, chance: &mut StdRng) {
        self.world.fail_after(u64::MAX);
        if self.storage.is_some() && !self.queue.is_empty() && chance.random_bool(0.5) {
            self.world.record();
            let (synced, epoch) = (self.synced, self.epoch.clone());
            let count = chance.random_range(1..4);
            self.perform(count).expect("the disk works");
            let points = self.world.take_points();
            if end == End::Power {
                let point = &points[chance.random_range(0..points.len())];
                let survivors = survivors(point.pending(), chance);
                // What became durable since may not be so at that point.
                (self.synced, self.epoch) = (self.synced.min(synced), epoch);
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
        self.world.fail_after(u64::MAX);
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
    match chance.random_range(0..4) {
        0 => Survivors::Nothing,
        1 => Survivors::Everything,
        2 => Survivors::First(chance.random_range(0..=pending)),
        _ => Survivors::Sectors(chance.random()),
    }
}
