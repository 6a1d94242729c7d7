//! A start: from what lies on the disk to the state, and to what the broadcast must know.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::config::Settings;
use crate::ids::Zxid;
use crate::replica::{Replay, State, StateError, StateLoadError, TxnError, ZabRecovered};
use crate::storage::table::Case;
use crate::storage::{
    self, Damage, Disk, Disks, Left, Note, Options, OsDisk, ReadAt, SnapshotFault, SnapshotReader, Storage,
    StorageError, Tail, damaged_sets, open_folders, put_aside, require_folders, what_is_left,
};
use crate::zab::{EpochRecord, HistorySummary, Proposal};

/// A file of this name in the data directory says that a server without a right to vote has nothing that others could
/// miss, so that it may take part in elections at once (as `zkServer-initialize.sh` leaves it).
const INITIALIZE: &str = "initialize";

/// What a start found.
pub struct Recovered<D: Disk = OsDisk> {
    /// for the disk thread
    pub storage: Storage<D>,
    /// for the broadcast
    pub zab: ZabRecovered,
    /// everything known to be decided, applied
    pub state: State,
    /// the server never ran on these disks before
    pub is_new: bool,
    /// what was damaged and is put aside since this start, for the operator
    pub damage: Option<String>,
    /// how many sets of damaged files the folders keep
    pub damaged_sets: usize,
    /// what was read
    pub loaded: Loaded,
    /// for the operator
    pub notes: Vec<Note>,
}

/// What a start read, and how long that took.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Loaded {
    /// for the snapshot
    pub snapshot: Duration,
    /// transactions that were applied behind it
    pub txns: u64,
    /// for them
    pub replay: Duration,
}

/// What a start does about data that cannot be started from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OnDamage {
    /// end, and change nothing: nobody else has the data
    Refuse,
    /// put it aside, and begin with nothing and without a vote: the others have it
    Heal,
}

/// Why there was no start.
#[derive(Debug, thiserror::Error)]
pub enum StartFault {
    /// the data is not what it was
    #[error("{0}")]
    Damage(String),
    /// a newer release wrote it, and this one would misread it: nothing is touched
    #[error("{0}. Start the release that wrote it, or a newer one; nothing was changed")]
    Newer(String),
    /// something else, which says nothing about the data
    #[error("{0}")]
    Storage(StorageError),
}

impl StartFault {
    /// True if the data is damaged and only the operator can help.
    pub fn is_damage(&self) -> bool {
        matches!(self, StartFault::Damage(_) | StartFault::Storage(StorageError::TooManySets { .. }))
    }
}

/// Opens the folders and brings the state up to everything that is known to be decided. `new_data_dir_id` names the
/// data directory if it is a new one.
pub fn recover(
    settings: &Settings,
    hash_seed: u64,
    new_data_dir_id: u64,
) -> Result<Recovered<OsDisk>, StartFault> {
    if !settings.data_dir_autocreate {
        require_folders(&settings.data_dir, &settings.data_log_dir)?;
    }
    let disks = open_folders(&settings.data_dir, &settings.data_log_dir, settings.force_sync)?;
    let options = Options {
        segment_bytes: settings.log_segment_bytes,
        snapshots_kept: settings.snapshots_retained as usize,
        ..Options::default()
    };
    let is_alone = settings.voters() == [settings.server_id];
    // Who is alone promised nothing to anybody.
    let new = EpochRecord {
        data_dir_id: new_data_dir_id,
        may_vote: is_alone,
        promises_lost: !is_alone,
        ..EpochRecord::default()
    };
    let on_damage = if is_alone { OnDamage::Refuse } else { OnDamage::Heal };
    let recovered =
        recover_from(disks.clone(), options, hash_seed, settings.recent_bytes_max(), new, on_damage);
    let recovered = recovered.map_err(|fault| match fault {
        StartFault::Damage(found) if is_alone => StartFault::Damage(refusal(settings, &disks, &found)),
        StartFault::Damage(found) => StartFault::Damage(format!(
            "{found}. This server does not start: its disk spoils even what was just written. Look after the disk, move \
             the contents of both folders (but myid) away, and start again: the others give it everything"
        )),
        other => other,
    })?;
    if let Some(damage) = &recovered.damage {
        tracing::error!("DAMAGED: {damage}");
    }
    for Note { got_by, text } in &recovered.notes {
        if *got_by {
            tracing::warn!("{text}");
        } else {
            tracing::info!("{text}");
        }
    }
    if !recovered.zab.epoch.may_vote && settings.voters().contains(&settings.server_id) {
        tracing::warn!(
            "this server does not vote: its disk is or was empty or damaged. It votes again once a leader that was \
             elected without it has given it everything"
        );
    }
    Ok(recovered)
}

/// Why a server that is alone does not start, what is left, and what to do.
fn refusal<D: Disk>(settings: &Settings, disks: &Disks<D>, found: &str) -> String {
    let left = match what_is_left(disks, &mut |_| {}) {
        Ok(Left { through: Zxid::ZERO, .. }) => {
            "No transaction can be shown any more: restore a backup".to_owned()
        }
        Ok(left) => {
            let begins = match &left.snapshot {
                Some(name) => format!("the snapshot {}", disks.data.describe(name)),
                None => "the beginning of the log".to_owned(),
            };
            let (data, log) = (settings.data_dir.display(), settings.data_log_dir.display());
            let log = if settings.data_dir == settings.data_log_dir {
                String::new()
            } else {
                format!(" --log {log}")
            };
            format!(
                "What can still be shown reaches at most through {}: {begins} and {} transactions behind it in the log. \
                 `zabra salvage {data}{log} NEW_FOLDER` writes that into a new folder, to be used as dataDir; \
                 everything later is lost. Or restore a backup",
                left.through, left.transactions
            )
        }
        Err(error) => format!("What is left cannot be told: {error}"),
    };
    format!(
        "{found}. This server does not start, and no data was removed: it is alone, so what is damaged here is nowhere \
         else. {left}"
    )
}

/// The same on any disks. `new` is what a server that never ran here promises; it is written down before anything else.
pub fn recover_from<D: Disk>(
    disks: Disks<D>,
    options: Options,
    hash_seed: u64,
    recent_bytes_max: usize,
    new: EpochRecord,
    on_damage: OnDamage,
) -> Result<Recovered<D>, StartFault> {
    let begin = || begin(&disks, options, hash_seed, recent_bytes_max, &new);
    match begin() {
        Err(StartFault::Damage(found)) if on_damage == OnDamage::Heal => {
            let set = put_aside(&disks, &found, new.data_dir_id)?;
            let damage = format!(
                "{found}. The data of this server is put aside as damaged-{set}.* in its folders; the server begins with \
                 nothing, and does not vote until the others have given it everything"
            );
            Ok(Recovered { damage: Some(damage), ..begin()? })
        }
        begun => begun,
    }
}

fn begin<D: Disk>(
    disks: &Disks<D>,
    options: Options,
    hash_seed: u64,
    recent_bytes_max: usize,
    new: &EpochRecord,
) -> Result<Recovered<D>, StartFault> {
    let (mut storage, mut found) =
        Storage::open(disks.clone(), options).map_err(|error| open_fault(disks, error))?;
    let is_new = found.epoch.is_none();
    let epoch = settle_epoch(disks, &mut storage, new, &mut found)?;
    let mut loaded = Loaded::default();
    let began = Instant::now();
    let state = match found.snapshot {
        Some(snapshot) => load_state(hash_seed, snapshot)?,
        None => State::new(hash_seed),
    };
    loaded.snapshot = began.elapsed();
    let began = Instant::now();
    let mut recent = Recent::new(state.zxid(), recent_bytes_max);
    let mut replay = Replay::new(state);
    let mut replayed = Ok(());
    storage
        .replay(|proposal, _| {
            if replayed.is_ok() {
                loaded.txns += u64::from(proposal.zxid <= found.committed);
                replayed = replay_one(&mut replay, &mut recent, proposal, found.committed);
            }
        })
        .map_err(read_fault)?;
    replayed?;
    let state = replay.into_state();
    loaded.replay = began.elapsed();
    if recent.before == found.floor {
        let tail = storage.tail(recent.bytes_max.saturating_sub(recent.bytes));
        found.notes.extend(tail.fault.as_ref().map(describe_fault));
        recent.reach_back(tail, &mut found.epoch_ends);
    }
    let zab = ZabRecovered {
        epoch,
        history: HistorySummary { epoch_ends: found.epoch_ends, floor: found.floor },
        before_recent: recent.before,
        recent: recent.proposals.into(),
        committed: state.zxid(),
    };
    let damaged_sets = damaged_sets(disks)?;
    Ok(Recovered { storage, zab, state, is_new, damage: None, damaged_sets, loaded, notes: found.notes })
}

/// The state in a snapshot that verified a moment ago.
fn load_state<R: ReadAt>(hash_seed: u64, snapshot: SnapshotReader<R>) -> Result<State, StartFault> {
    let (zxid, digest, version) = (snapshot.zxid(), snapshot.digest(), snapshot.version());
    State::from_blocks(hash_seed, zxid, digest, version, snapshot).map_err(|error| match error {
        StateLoadError::Source(SnapshotFault::Io(source)) => {
            read_fault(StorageError::Io { file: format!("the snapshot of {zxid}"), source })
        }
        error => StartFault::Damage(format!("the snapshot of {zxid} makes no state: {error}")),
    })
}

/// What this server promises from here on, durable: what it found, or what a new one promises, and what the operator
/// says about its right to vote.
fn settle_epoch<D: Disk>(
    disks: &Disks<D>,
    storage: &mut Storage<D>,
    new: &EpochRecord,
    found: &mut storage::Recovered<D>,
) -> Result<EpochRecord, StorageError> {
    let is_told = is_told_to_vote(disks)?;
    let initialize = disks.data.describe(INITIALIZE);
    let before = found.epoch.take();
    let mut record = before.clone().unwrap_or_else(|| {
        // A restored backup: what comes is newer than all that is in it.
        let epoch = found.last_zxid.epoch();
        EpochRecord { accepted_epoch: epoch, current_epoch: epoch, ..new.clone() }
    });
    let mut note = |got_by, text| found.notes.push(Note { got_by, text });
    if is_told && record.condemned {
        // It must be gone before the record says that all is well.
        remove_initialize(disks)?;
        note(true, format!("{initialize} is older than the damage: removed"));
    } else if is_told && record.may_vote {
        note(false, format!("{initialize} is not needed: removed"));
    } else if is_told {
        record = EpochRecord { may_vote: true, promises_lost: false, ..record };
        note(
            before.is_some(),
            match before {
                None => format!(
                    "{initialize} says that nothing is missing here: this server takes part in elections"
                ),
                Some(_) => format!(
                    "{initialize} says that this server votes with what it has: acknowledged writes that nobody but its \
                 lost data held are given up"
                ),
            },
        );
    }
    record.condemned = false;
    if before.as_ref() != Some(&record) {
        storage.save_epoch(&record)?;
    }
    if is_told_to_vote(disks)? {
        remove_initialize(disks)?;
    }
    Ok(record)
}

fn is_told_to_vote<D: Disk>(disks: &Disks<D>) -> Result<bool, StorageError> {
    let names =
        disks.data.list().map_err(|source| StorageError::Io { file: disks.data.describe(""), source })?;
    Ok(names.iter().any(|name| name == INITIALIZE))
}

fn remove_initialize<D: Disk>(disks: &Disks<D>) -> Result<(), StorageError> {
    let in_file = |source| StorageError::Io { file: disks.data.describe(INITIALIZE), source };
    disks.data.remove(INITIALIZE).and_then(|()| disks.data.sync_dir()).map_err(in_file)
}

impl From<StorageError> for StartFault {
    fn from(error: StorageError) -> StartFault {
        match error {
            StorageError::Damage(Damage { case, file, offset, found }) if case != Case::FutureVersion => {
                StartFault::Damage(format!("{file}, byte {offset}: {found}"))
            }
            other => StartFault::Storage(other),
        }
    }
}

/// A log that is gone as a whole from a folder of its own is more likely a disk that is not mounted.
fn open_fault<D: Disk>(disks: &Disks<D>, error: StorageError) -> StartFault {
    let has_own_folder = disks.data.describe("") != disks.log.describe("");
    match error {
        StorageError::Damage(Damage { case: Case::LogMissing, .. }) if has_own_folder => {
            StartFault::Storage(error)
        }
        error => error.into(),
    }
}

/// What was written and cannot be read any more is damaged, too.
fn read_fault(error: StorageError) -> StartFault {
    if error.is_decay() { StartFault::Damage(error.to_string()) } else { error.into() }
}

fn describe_fault(fault: &StorageError) -> Note {
    let what = match fault {
        StorageError::Damage(Damage { file, offset, found, .. }) => format!("{file}, byte {offset}: {found}"),
        other => other.to_string(),
    };
    let text = format!(
        "{what}. It lies before the snapshot, so the server does not need it; but look after the disk"
    );
    Note { got_by: true, text }
}

fn replay_one(
    replay: &mut Replay,
    recent: &mut Recent,
    proposal: Proposal,
    committed: Zxid,
) -> Result<(), StartFault> {
    let is_committed = proposal.zxid <= committed;
    if is_committed {
        replay.apply(&proposal).map_err(|error| match error {
            // Its checksums are right: so it was written, and not by this release.
            StateError::Txn { error: TxnError::Newer(_) | TxnError::NoBody | TxnError::NoOp(_), .. } => {
                StartFault::Newer(error.to_string())
            }
            error => StartFault::Damage(format!("the log does not fit the state: {error}")),
        })?;
    }
    recent.push(proposal, is_committed);
    Ok(())
}

/// The newest transactions: as many as memory is set aside for, and all that may not be decided yet. Those before the
/// snapshot are among them: a follower that is only a little behind then needs no snapshot.
struct Recent {
    before: Zxid,
    proposals: VecDeque<Proposal>,
    committed: usize,
    bytes: usize,
    bytes_max: usize,
}

impl Recent {
    fn new(before: Zxid, bytes_max: usize) -> Recent {
        Recent { before, proposals: VecDeque::new(), committed: 0, bytes: 0, bytes_max }
    }

    /// Adds what the log holds of the snapshot, and to `epoch_ends` where the epochs in it end.
    fn reach_back(&mut self, tail: Tail, epoch_ends: &mut Vec<Zxid>) {
        let first_known = epoch_ends.first().map(|end| end.epoch());
        let zxids = tail.proposals.iter().map(|proposal| proposal.zxid);
        let mut older_ends: Vec<Zxid> = Vec::new();
        for zxid in std::iter::once(tail.before).chain(zxids) {
            if zxid != Zxid::ZERO && first_known.is_some_and(|first| zxid.epoch() < first) {
                older_ends.pop_if(|end| end.epoch() == zxid.epoch());
                older_ends.push(zxid);
            }
        }
        epoch_ends.splice(..0, older_ends);
        self.before = tail.before;
        self.proposals = tail.proposals.into_iter().chain(self.proposals.drain(..)).collect();
    }

    fn push(&mut self, proposal: Proposal, is_committed: bool) {
        self.bytes += proposal.memory_bytes();
        self.committed += usize::from(is_committed);
        self.proposals.push_back(proposal);
        while self.bytes > self.bytes_max && self.committed > 0 {
            let Some(oldest) = self.proposals.pop_front() else { break };
            self.bytes -= oldest.memory_bytes();
            self.committed -= 1;
            self.before = oldest.zxid;
        }
    }
}

#[cfg(test)]
mod healing_tests;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Epoch;

    fn proposal(counter: u64, bytes: usize) -> Proposal {
        Proposal { zxid: Zxid(counter), txn: vec![0; bytes].into() }
    }

    #[test]
    fn recent_transactions_are_bounded_but_none_that_may_be_undecided_is_left_out() {
        let mut recent = Recent::new(Zxid(0), 3 * proposal(1, 30).memory_bytes() + 10);
        for counter in 1..=10 {
            recent.push(proposal(counter, 30), true);
        }
        assert_eq!((recent.before, recent.proposals.len()), (Zxid(7), 3));
        for counter in 11..=20 {
            recent.push(proposal(counter, 30), false);
        }
        assert_eq!((recent.before, recent.proposals.len()), (Zxid(10), 10));
        assert_eq!(recent.proposals[0].zxid, Zxid(11));
    }

    #[test]
    fn what_lies_before_the_snapshot_brings_the_ends_of_older_epochs() {
        let zxid = |epoch, counter| Zxid::new(Epoch(epoch), counter);
        let of = |zxid| Proposal { zxid, txn: bytes::Bytes::new() };
        let mut recent = Recent::new(zxid(4, 1), 1 << 20);
        recent.push(of(zxid(4, 2)), true);
        let proposals = [zxid(2, 1), zxid(2, 2), zxid(4, 1)].map(of).into();
        let mut ends = vec![zxid(4, 2)];
        recent.reach_back(Tail { before: zxid(1, 9), proposals, fault: None }, &mut ends);
        assert_eq!(ends, [zxid(1, 9), zxid(2, 2), zxid(4, 2)]);
        assert_eq!((recent.before, recent.proposals.len()), (zxid(1, 9), 4));
        let nothing = Tail { before: zxid(1, 9), proposals: VecDeque::new(), fault: None };
        recent.reach_back(nothing, &mut ends);
        assert_eq!((ends.len(), recent.proposals.len()), (3, 4));
    }
}
