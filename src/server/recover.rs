//! A start: from what lies on the disk to the state, and to what the broadcast must know.

use std::collections::VecDeque;

use anyhow::{Context as _, anyhow};

use crate::config::Settings;
use crate::ids::Zxid;
use crate::replica::{Replay, State, ZabRecovered};
use crate::storage::{Disk, Disks, Options, OsDisk, Storage, open_folders};
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
    pub notes: Vec<String>,
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
    let recent_bytes_max = usize::try_from(settings.recent_txn_bytes_max).unwrap_or(usize::MAX);
    let recovered = recover_from(disks, options, hash_seed, recent_bytes_max, new)?;
    for note in &recovered.notes {
        tracing::info!("{note}");
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
    let (mut storage, found) = Storage::open(disks, options)?;
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
    let zab = ZabRecovered {
        epoch,
        history: HistorySummary { epoch_ends: found.epoch_ends, floor: found.floor },
        before_recent: recent.before,
        recent: recent.proposals.into(),
        committed: state.zxid(),
    };
    Ok(Recovered { storage, zab, state, is_new, notes: found.notes })
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

/// The newest transactions: as many as memory is set aside for, and all that may not be decided yet.
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

    fn push(&mut self, proposal: Proposal, is_committed: bool) {
        self.bytes += proposal.txn.len();
        self.committed += usize::from(is_committed);
        self.proposals.push_back(proposal);
        while self.bytes > self.bytes_max && self.committed > 0 {
            let Some(oldest) = self.proposals.pop_front() else { break };
            self.bytes -= oldest.txn.len();
            self.committed -= 1;
            self.before = oldest.zxid;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proposal(counter: u64, bytes: usize) -> Proposal {
        Proposal { zxid: Zxid(counter), txn: vec![0; bytes].into() }
    }

    #[test]
    fn recent_transactions_are_bounded_but_none_that_may_be_undecided_is_left_out() {
        let mut recent = Recent::new(Zxid(0), 100);
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
}
