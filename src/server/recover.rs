//! A start: from what lies on the disk to the state, and to what the broadcast must know.

use std::collections::VecDeque;

use anyhow::{Context as _, anyhow};

use crate::config::Settings;
use crate::ids::Zxid;
use crate::replica::{Replay, State, ZabRecovered};
use crate::storage::{Damage, Disk, Disks, Note, Options, OsDisk, Storage, StorageError, Tail, open_folders};
use crate::zab::{EpochRecord, HistorySummary, Proposal};

/// A file of this name in the data directory says that a server which has no data was given none on purpose, so that
/// it may take part in elections at once (as `zkServer-initialize.sh` leaves it).
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
    /// for the operator
    pub notes: Vec<Note>,
}

/// Opens the folders and brings the state up to everything that is known to be decided. `new_data_dir_id` names the
/// data directory if it is a new one.
pub fn recover(
    settings: &Settings,
    hash_seed: u64,
    new_data_dir_id: u64,
) -> anyhow::Result<Recovered<OsDisk>> {
    let disks = open_folders(&settings.data_dir, &settings.data_log_dir, settings.force_sync)?;
    let options = Options {
        segment_bytes: settings.log_segment_bytes,
        snapshots_kept: settings.snapshots_retained as usize,
        ..Options::default()
    };
    let initialize = settings.data_dir.join(INITIALIZE);
    let may_vote = initialize.exists();
    let new = EpochRecord { data_dir_id: new_data_dir_id, may_vote, ..EpochRecord::default() };
    let recovered = recover_from(disks, options, hash_seed, settings.recent_bytes_max(), new)?;
    for Note { got_by, text } in &recovered.notes {
        if *got_by {
            tracing::warn!("{text}");
        } else {
            tracing::info!("{text}");
        }
    }
    if recovered.is_new && may_vote {
        std::fs::remove_file(&initialize).with_context(|| format!("removing {}", initialize.display()))?;
        let data_dir = settings.data_dir.display();
        tracing::info!("{data_dir} is empty on purpose: this server takes part in elections");
    }
    Ok(recovered)
}

/// The same on any disks. `new` is what a server that never ran here promises; it is written down before anything else.
pub fn recover_from<D: Disk>(
    disks: Disks<D>,
    options: Options,
    hash_seed: u64,
    recent_bytes_max: usize,
    new: EpochRecord,
) -> anyhow::Result<Recovered<D>> {
    let (mut storage, mut found) = Storage::open(disks, options)?;
    let is_new = found.epoch.is_none();
    let epoch = match found.epoch {
        Some(epoch) => epoch,
        None => {
            storage.save_epoch(&new)?;
            new
        }
    };
    let state = match found.snapshot {
        Some(snapshot) => {
            let (zxid, digest) = (snapshot.zxid(), snapshot.digest());
            State::from_blocks(hash_seed, zxid, digest, snapshot)
                .map_err(|error| anyhow!("the snapshot of {zxid} makes no state: {error}"))?
        }
        None => State::new(hash_seed),
    };
    let mut recent = Recent::new(state.zxid(), recent_bytes_max);
    let mut replay = Replay::new(state);
    let mut replayed = Ok(());
    storage.replay(|proposal, _| {
        if replayed.is_ok() {
            replayed = replay_one(&mut replay, &mut recent, proposal, found.committed);
        }
    })?;
    replayed?;
    let state = replay.into_state();
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
    Ok(Recovered { storage, zab, state, is_new, notes: found.notes })
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
) -> anyhow::Result<()> {
    let is_committed = proposal.zxid <= committed;
    if is_committed {
        replay.apply(&proposal).context("the log does not fit the state")?;
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
