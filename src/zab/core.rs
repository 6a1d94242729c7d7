//! What a server has and owes whatever its role: its log, its promises, its disk.

use std::collections::{BTreeMap, VecDeque};

use super::Config;
use super::history::History;
use super::io::{DiskDone, DiskOp, EpochRecord, LinkId, Output};
use super::joint::Joint;
use super::message::{HistorySummary, Message, Proposal, Vote};
use super::quorum::Ensemble;
use crate::ids::{Epoch, ServerId, Tick, Zxid};
use crate::mutants::{Mutant, has};

/// An operation that the disk was given and that it has not done yet.
#[derive(Debug)]
enum Pending {
    Append { through: Zxid },
    Truncate { through: Zxid },
    SaveEpoch { record: EpochRecord, purpose: SavePurpose },
    Receive,
    Install { zxid: Zxid },
}

/// Why the epoch file was written: what to go on with once it is durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SavePurpose {
    /// an empty server may take part in elections
    MayVote,
    /// an epoch is promised, or proposed
    AcceptedEpoch,
    /// the log holds the history of the epoch
    CurrentEpoch,
    /// a quorum is known to have taken the ensemble's id
    Confirmed,
}

/// Something that the disk has done, in terms of the broadcast.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Milestone {
    /// more of the log is durable
    Synced,
    /// the epoch file is durable
    EpochSaved(SavePurpose),
    /// the received snapshot replaced the log
    Installed(Zxid),
    /// the received snapshot was thrown away
    InstallFailed,
}

/// The part of a server that outlives its roles.
#[derive(Debug)]
pub struct Core {
    pub config: Config,
    /// Which configurations count (rule 21 of docs/zab.md).
    pub joint: Joint,
    pub now: Tick,
    /// Everything appended.
    pub history: History,
    /// The durable epoch record; what is on its way to the disk is not in here.
    pub epoch: EpochRecord,
    /// The durable end of the log.
    pub synced: Zxid,
    /// The newest zxid known to be decided; of a follower, known to be decided once it is on the own disk.
    pub committed: Zxid,
    /// The newest zxid given to the state; at most `committed` and at most `synced`.
    pub delivered: Zxid,
    /// The newest epoch that another server was heard to have promised.
    pub epoch_heard: Epoch,
    /// The epoch that each other server said it leads or wants to lead in when it was last heard; zero for the others.
    pub led: BTreeMap<ServerId, Epoch>,
    /// A learner, or an observer that this server feeds, needs what follows this zxid.
    pub wanted_after: Zxid,
    /// The delivered state is not what it should be: a leader's snapshot must replace it.
    pub distrusted: bool,
    /// With which vote the next election is to begin, as a leader that leaves says (rule 20 of docs/zab.md).
    pub suggested: Option<Vote>,
    /// Until then this server, which does not vote, looks for no leader.
    pub looks_after: Tick,
    /// Until then this server does not want to lead.
    abstains_until: Tick,
    /// How often it was elected, and did not come to lead, since it last did.
    elected_in_vain: u32,
    /// Everything in `appended..=history.last()` waits for the next flush to go to the disk.
    appended: Zxid,
    pending: VecDeque<(u64, Pending)>,
    next_seq: u64,
    /// When the disk last did something, or was given something to do while it had nothing.
    disk_heard: Tick,
    outputs: Vec<Output>,
}

/// The configuration that a transaction makes, if it makes one.
fn ensemble_of(config: &Config, proposal: &Proposal) -> Option<Ensemble> {
    (config.ensemble_of)(&proposal.txn).map(|ensemble| ensemble.with_version(proposal.zxid))
}

/// Each time that a server is elected in vain it abstains for twice as long, so many times.
const ABSTENTION_DOUBLINGS_MAX: u32 = 4;

impl Core {
    pub fn new(config: Config, epoch: EpochRecord, history: History, committed: Zxid) -> Core {
        let last = history.last();
        assert!(committed <= last, "{committed} is decided, but the log ends at {last}");
        assert!(history.before_recent() <= committed, "what is not decided must be at hand");
        assert!(epoch.accepted_epoch >= epoch.current_epoch, "an epoch is promised before it is held");
        let mut joint = Joint::new(config.ensemble.clone());
        history
            .range(committed, last)
            .filter_map(|proposal| ensemble_of(&config, proposal))
            .for_each(|ensemble| joint.append(ensemble));
        Core {
            joint,
            now: Tick::default(),
            synced: last,
            committed,
            delivered: committed,
            epoch_heard: Epoch(0),
            led: BTreeMap::new(),
            wanted_after: Zxid(u64::MAX),
            distrusted: false,
            suggested: None,
            looks_after: Tick::default(),
            abstains_until: Tick::default(),
            elected_in_vain: 0,
            appended: last,
            pending: VecDeque::new(),
            next_seq: 1,
            disk_heard: Tick::default(),
            outputs: Vec::new(),
            config,
            history,
            epoch,
        }
    }

    /// What a leader is told of the history. With a state that cannot be trusted it has nothing in common with any.
    pub fn history_summary(&self) -> HistorySummary {
        if self.distrusted {
            return HistorySummary { epoch_ends: Vec::new(), floor: Zxid(u64::MAX) };
        }
        self.history.summary()
    }

    /// Queues something to do.
    pub fn output(&mut self, output: Output) {
        self.outputs.push(output);
    }

    /// Queues a message.
    pub fn send(&mut self, link: LinkId, message: Message) {
        self.outputs.push(Output::Send { link, message });
    }

    /// Takes what there is to do, in order.
    pub fn take_outputs(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.outputs)
    }

    /// True when the disk has done all it was asked for.
    pub fn disk_is_idle(&self) -> bool {
        self.pending.is_empty()
    }

    /// True if the disk has something to do and has done nothing for too long, so that another server should do what
    /// this one does. An installation is waited for: it reads and writes as much as there is. A server alone has nobody
    /// to leave it to.
    pub fn disk_is_silent(&self) -> bool {
        let installs = |(_, pending): &(u64, Pending)| matches!(pending, Pending::Install { .. });
        !self.joint.is_only_voter(self.config.id)
            && !self.pending.is_empty()
            && self.now.ms_since(self.disk_heard) > self.config.disk_timeout_ms
            && !self.pending.iter().any(installs)
    }

    /// This server was elected and could not lead: for a while another one is to try (rule 2 of docs/zab.md).
    pub fn abstain(&mut self) {
        let doublings = self.elected_in_vain.min(ABSTENTION_DOUBLINGS_MAX);
        self.elected_in_vain = doublings + 1;
        self.abstains_until = self.now.after_ms(self.config.discovery_timeout_ms() << doublings);
    }

    /// This server left its place to another, which is to have the time to take it (rule 20 of docs/zab.md).
    pub fn step_aside(&mut self) {
        self.abstains_until = self.now.after_ms(self.config.discovery_timeout_ms());
    }

    /// This server follows a leader: if it left its place to that one, it may be elected again.
    pub fn follows(&mut self) {
        if self.elected_in_vain == 0 {
            self.abstains_until = self.now;
        }
    }

    /// True while this server does not want to lead.
    pub fn abstains(&self) -> bool {
        self.now < self.abstains_until
    }

    /// This server leads: the next time that it is elected in vain counts as the first.
    pub fn led(&mut self) {
        self.elected_in_vain = 0;
    }

    /// The vote for this server itself.
    pub fn own_vote(&self) -> Vote {
        Vote {
            current_epoch: self.epoch.current_epoch,
            last_zxid: self.history.last(),
            server_id: self.config.id,
        }
    }

    /// True if the server has no data at all, and never promised anything.
    pub fn is_empty(&self) -> bool {
        self.history.last() == Zxid::ZERO && self.epoch.accepted_epoch.0 == 0
    }

    /// True if what this server says is to be counted by those for whom it votes: its disk is no unexpectedly empty one,
    /// and its state is what the log says.
    pub fn may_vote(&self) -> bool {
        (self.epoch.may_vote || has(Mutant::EmptyDiskVotes)) && !self.distrusted
    }

    /// True if this server votes in a configuration that it knows: it is no observer, and not without weight.
    pub fn is_voter(&self) -> bool {
        self.joint.is_voter(self.config.id)
    }

    /// True if this server is an observer, by the newest that it knows.
    pub fn observes(&self) -> bool {
        self.joint.observes(self.config.id) && !self.is_voter()
    }

    /// True if the ensemble is what the history says, or need not be: what the own file says of it may be known to nobody
    /// else (rule 21 of docs/zab.md).
    pub fn knows_ensemble(&self) -> bool {
        !self.config.records_ensemble || self.joint.base().version() > 0
    }

    /// True if nobody can count on a promise that this server lost, and that stands against following in `epoch`: every
    /// other voter was heard since this process began, and nobody leads in a newer epoch (rule 4 of docs/zab.md).
    pub fn has_no_promise_against(&self, epoch: Epoch) -> bool {
        let voters = self.joint.voters();
        let mut others = voters.iter().filter(|voter| **voter != self.config.id);
        !self.epoch.promises_lost
            || others.all(|voter| self.led.contains_key(voter)) && self.led.values().all(|led| *led <= epoch)
    }

    /// Adds to the log; the next flush hands it to the disk. A configuration counts from here on.
    pub fn append(&mut self, proposal: Proposal) {
        if let Some(ensemble) = ensemble_of(&self.config, &proposal) {
            tracing::info!(zxid = %proposal.zxid, "a new configuration of the ensemble is in the log");
            self.joint.append(ensemble);
        }
        self.history.push(proposal);
    }

    /// Hands to the disk what was appended since the last flush, as one operation.
    pub fn flush_appends(&mut self) {
        let through = self.history.last();
        if through == self.appended {
            return;
        }
        let proposals = self.history.range(self.appended, through).cloned().collect();
        let op = DiskOp::Append { previous: self.appended, proposals, committed: self.committed };
        self.appended = through;
        self.disk(op, Pending::Append { through });
    }

    /// Cuts the log. Nothing that was decided can go.
    pub fn truncate(&mut self, through: Zxid) {
        assert!(
            through >= self.delivered,
            "cutting at {through} would take back {}, which was decided",
            self.delivered
        );
        self.flush_appends();
        self.history.truncate(through);
        self.joint.truncate(through);
        self.appended = through;
        self.synced = self.synced.min(through);
        if has(Mutant::TruncInMemoryOnly) {
            return;
        }
        self.disk(DiskOp::Truncate { through }, Pending::Truncate { through });
    }

    /// True while the log may still end behind the last cut.
    pub fn is_truncating(&self) -> bool {
        self.pending.iter().any(|(_, pending)| matches!(pending, Pending::Truncate { .. }))
    }

    /// Replaces the epoch file; `EpochSaved` with the purpose follows.
    pub fn save_epoch(&mut self, record: EpochRecord, purpose: SavePurpose) {
        assert!(record.accepted_epoch >= self.epoch.accepted_epoch, "a promise is never taken back");
        assert!(record.current_epoch >= self.epoch.current_epoch, "an epoch never falls");
        self.disk(DiskOp::SaveEpoch(record.clone()), Pending::SaveEpoch { record, purpose });
    }

    /// Hands a piece of a leader's snapshot to the disk.
    pub fn receive_snapshot(&mut self, chunk: bytes::Bytes, first: bool) {
        self.disk(DiskOp::ReceiveSnapshot { chunk, first }, Pending::Receive);
    }

    /// Makes the received snapshot the state; `Installed` follows.
    pub fn install_snapshot(&mut self, zxid: Zxid) {
        self.flush_appends();
        self.disk(DiskOp::InstallSnapshot { zxid }, Pending::Install { zxid });
    }

    fn disk(&mut self, op: DiskOp, pending: Pending) {
        let seq = self.next_seq;
        self.next_seq += 1;
        if self.pending.is_empty() {
            self.disk_heard = self.now;
        }
        self.pending.push_back((seq, pending));
        self.outputs.push(Output::Disk { seq, op });
    }

    /// Takes note of what the disk has done. The milestones are in the order of the operations. `installed`: the ensemble
    /// that a snapshot which is part of it brought.
    pub fn on_disk(&mut self, done: DiskDone, mut installed: Option<Ensemble>) -> Vec<Milestone> {
        let (through, install_failed) = match done {
            DiskDone::Synced { seq } => (seq, false),
            DiskDone::InstallFailed { seq } => (seq, true),
        };
        self.disk_heard = self.now;
        let mut milestones = Vec::new();
        while let Some((seq, _)) = self.pending.front() {
            if *seq > through {
                break;
            }
            let (seq, pending) = self.pending.pop_front().expect("looked at just now");
            match pending {
                Pending::Append { through } => {
                    self.synced = through;
                    milestones.push(Milestone::Synced);
                }
                Pending::Truncate { through } => {
                    self.synced = through;
                    milestones.push(Milestone::Synced);
                }
                Pending::SaveEpoch { record, purpose } => {
                    self.epoch = record;
                    milestones.push(Milestone::EpochSaved(purpose));
                }
                Pending::Receive => {}
                Pending::Install { .. } if install_failed && seq == through => {
                    milestones.push(Milestone::InstallFailed);
                }
                Pending::Install { zxid } => {
                    self.on_installed(zxid, installed.take().expect("a snapshot says what the ensemble is"));
                    milestones.push(Milestone::Installed(zxid));
                }
            }
        }
        milestones
    }

    fn on_installed(&mut self, zxid: Zxid, ensemble: Ensemble) {
        self.joint.install(ensemble);
        self.history.reset(zxid);
        self.synced = zxid;
        self.appended = zxid;
        self.committed = zxid;
        self.delivered = zxid;
        self.distrusted = false;
        self.outputs.push(Output::Installed { zxid });
    }

    /// Raises the commit point, and delivers what is decided and on the own disk (rule 13 of docs/zab.md).
    pub fn commit(&mut self, through: Zxid) {
        self.committed = self.committed.max(through);
        self.deliver();
    }

    /// Delivers what is decided and durable here.
    pub fn deliver(&mut self) {
        let on_disk = if has(Mutant::ApplyBeforeOwnDisk) { self.history.last() } else { self.synced };
        let through = self.committed.min(on_disk);
        if through <= self.delivered {
            return;
        }
        let proposals: Vec<Proposal> = self.history.range(self.delivered, through).cloned().collect();
        let Some(newest) = proposals.last() else { return };
        self.delivered = newest.zxid;
        self.joint.deliver(self.delivered);
        self.outputs.push(Output::Deliver(proposals));
        self.history.evict(self.delivered, self.wanted_after);
    }

    /// Stops the server.
    pub fn halt(&mut self, reason: String) {
        self.outputs.push(Output::Halt { reason });
    }

    /// What must hold after every step.
    pub fn check_invariants(&self) {
        assert!(self.delivered <= self.committed, "only what is decided is delivered");
        assert!(self.delivered <= self.history.last(), "what was delivered is in the log");
        assert!(self.appended <= self.history.last(), "the disk is given what is in the log");
        assert!(
            self.joint.pending().all(|zxid| zxid > self.delivered && zxid <= self.history.last())
                || has(Mutant::CutConfigStays),
            "an undelivered configuration is in the log"
        );
        assert!(
            self.epoch.accepted_epoch >= self.epoch.current_epoch,
            "an epoch is promised before it is held"
        );
    }
}
