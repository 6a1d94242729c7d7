//! Following: the learner's side of discovery, synchronization and broadcast (rules 6 to 17 of docs/zab.md).

use bytes::Bytes;

use super::core::{Core, Milestone, SavePurpose};
use super::fed::Fed;
use super::io::{EpochRecord, LinkId, Output, Role};
use super::leader::EPOCH_JUMP_MAX;
use super::message::{Message, Proposal, Vote};
use crate::ids::{Epoch, ServerId, Tick, Zxid};
use crate::mutants::{Mutant, has};

/// How far the follower has come. It only goes forward.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// no connection to the leader yet
    Connecting,
    /// FOLLOWERINFO is sent; LEADERINFO is to come
    Introduced,
    /// the promise is on its way to the epoch file
    Promising,
    /// ACKEPOCH is sent; what to do with the own history is to come
    Promised,
    /// pieces of a snapshot come
    Receiving { zxid: Zxid, any: bool },
    /// the received snapshot is being made the state
    Installing { zxid: Zxid },
    /// the leader's history comes
    Syncing,
    /// NEWLEADER came; its history is on its way to the disk
    SyncingToDisk { through: Zxid, ensemble_id: u64 },
    /// the history is on disk; the epoch is on its way to the epoch file
    SavingCurrentEpoch,
    /// ACK of NEWLEADER is sent; UPTODATE is to come
    Synced,
    /// UPTODATE came
    Active,
    /// it did not vote, and now has everything: its right to vote is on its way to the epoch file
    SavingMayVote,
}

/// Why a follower leaves its leader.
pub type Leave = String;

/// The state of a server that follows, or is about to.
#[derive(Debug)]
pub struct Follower {
    leader: ServerId,
    link: Option<LinkId>,
    stage: Stage,
    epoch: Epoch,
    heard: Tick,
    began: Tick,
    told_ack: Zxid,
    /// What was decided at UPTODATE: clients are served when it is applied.
    up_to_date: Zxid,
    /// The newest ping that came.
    ping: u64,
    role_told: bool,
    /// What this server says counts with the leader.
    counted: bool,
    /// Messages that came while a snapshot was being installed. Bounded, because the leader sends no more than its
    /// window without an acknowledgement.
    held: Vec<Message>,
    /// Who sends it what is proposed, in place of the leader.
    fed: Fed,
}

impl Follower {
    /// Elected another server, or found it leading.
    pub fn new(core: &mut Core, leader: ServerId) -> Follower {
        assert!(core.disk_is_idle(), "a follower's whole log is durable when it begins");
        core.output(Output::Follow(Some(leader)));
        Follower {
            leader,
            link: None,
            stage: Stage::Connecting,
            epoch: Epoch(0),
            heard: core.now,
            began: core.now,
            told_ack: Zxid::ZERO,
            up_to_date: Zxid::ZERO,
            ping: 0,
            role_told: false,
            counted: false,
            held: Vec::new(),
            fed: Fed::default(),
        }
    }

    /// Whom it follows.
    pub fn leader(&self) -> ServerId {
        self.leader
    }

    /// The connection to the leader, while there is one.
    pub fn link(&self) -> Option<LinkId> {
        self.link
    }

    /// The epoch, once it may serve clients.
    pub fn active_epoch(&self) -> Option<Epoch> {
        (self.stage == Stage::Active).then_some(self.epoch)
    }

    /// The connection to the leader is open.
    pub fn on_link_up(&mut self, core: &mut Core, link: LinkId) -> Result<(), Leave> {
        if self.link.is_some() {
            return Err("a second connection to the leader opened".to_string());
        }
        self.link = Some(link);
        self.heard = core.now;
        self.stage = Stage::Introduced;
        self.counted = core.may_vote();
        let accepted_epoch = core.epoch.accepted_epoch;
        core.send(link, Message::FollowerInfo { accepted_epoch, may_vote: self.counted });
        Ok(())
    }

    /// A connection to a follower that may feed this server is open (rule 24 of docs/zab.md).
    pub fn on_feed_up(&mut self, core: &mut Core, link: LinkId, peer: ServerId) {
        self.fed.on_link_up(core, link, peer, self.active_epoch());
    }

    /// True if this is that connection.
    pub fn is_fed_over(&self, link: LinkId) -> bool {
        self.fed.is_from(link)
    }

    /// It is closed.
    pub fn on_feed_down(&mut self, core: &mut Core) {
        if let Some(to_leader) = self.link {
            self.fed.on_link_down(core, to_leader);
        }
    }

    /// Something came over it.
    pub fn on_feed_message(&mut self, core: &mut Core, message: Message) {
        if let (Some(epoch), Some(to_leader)) = (self.active_epoch(), self.link) {
            self.fed.on_message(core, epoch, to_leader, message);
            self.maybe_tell_role(core);
        }
    }

    /// The role ends.
    pub fn end(&mut self, core: &mut Core) {
        self.fed.end(core);
    }

    /// The own disk cannot keep up with what the leader sends, so nothing is read: it is not the leader who is silent,
    /// and the leader must know that this server lives.
    pub fn on_link_progress(&mut self, core: &mut Core, link: LinkId) {
        if self.fed.is_from(link) {
            self.fed.on_link_progress(core);
        }
        if self.link == Some(link) {
            self.heard = core.now;
            self.send(core, Message::Pong { sequence: self.ping });
        }
    }

    /// The leader said something.
    pub fn on_message(&mut self, core: &mut Core, message: Message) -> Result<(), Leave> {
        self.heard = core.now;
        if let Message::Ping { sequence, quorum_age_ms, committed } = message {
            return self.on_ping(core, sequence, quorum_age_ms, committed);
        }
        if matches!(self.stage, Stage::Installing { .. }) {
            self.held.push(message);
            return Ok(());
        }
        match (message, self.stage) {
            (Message::LeaderInfo { epoch }, Stage::Introduced) => self.on_leader_info(core, epoch),
            (Message::Sync { truncate_to, snapshot_zxid }, Stage::Promised) => {
                self.on_sync(core, truncate_to, snapshot_zxid)
            }
            (Message::SnapshotChunk { data, last }, Stage::Receiving { zxid, any }) => {
                self.on_snapshot_chunk(core, data, last, zxid, any);
                Ok(())
            }
            (
                Message::Proposals { previous, proposals, committed },
                Stage::Syncing
                | Stage::SyncingToDisk { .. }
                | Stage::SavingCurrentEpoch
                | Stage::Synced
                | Stage::Active,
            ) => self.on_proposals(core, previous, proposals, committed),
            (Message::NewLeader { epoch, ensemble_id }, Stage::Syncing) => {
                self.on_new_leader(core, epoch, ensemble_id)
            }
            (Message::UpToDate { committed }, Stage::Synced) => self.on_up_to_date(core, committed),
            (Message::Commit { through }, Stage::Active) => self.on_commit(core, through),
            (Message::HandOver { to, last_zxid }, Stage::Active) => {
                core.suggested = Some(Vote { current_epoch: self.epoch, last_zxid, server_id: to });
                Err(format!("the leader, server {}, leaves the lead to server {to}", self.leader))
            }
            (_, Stage::SavingMayVote) => Ok(()),
            (message, stage) => Err(format!("in stage {stage:?} the leader may not say {message:?}")),
        }
    }

    /// Rule 6 of docs/zab.md: an epoch is promised once, durably, before the promise is told.
    fn on_leader_info(&mut self, core: &mut Core, epoch: Epoch) -> Result<(), Leave> {
        if epoch < core.epoch.accepted_epoch {
            return Err(format!("epoch {epoch} is older than the promised {}", core.epoch.accepted_epoch));
        }
        if epoch.0 - core.epoch.accepted_epoch.0 > EPOCH_JUMP_MAX {
            return Err(format!("epoch {epoch} cannot be true after {}", core.epoch.accepted_epoch));
        }
        self.epoch = epoch;
        if epoch == core.epoch.accepted_epoch {
            self.ack_epoch(core, false);
            return Ok(());
        }
        self.stage = Stage::Promising;
        let record = EpochRecord { accepted_epoch: epoch, ..core.epoch.clone() };
        core.save_epoch(record, SavePurpose::AcceptedEpoch);
        if has(Mutant::PromiseBeforeDurable) {
            self.ack_epoch(core, true);
        }
        Ok(())
    }

    fn ack_epoch(&mut self, core: &mut Core, promised: bool) {
        self.stage = Stage::Promised;
        let (current_epoch, history) = (core.epoch.current_epoch, core.history_summary());
        self.send(core, Message::AckEpoch { promised, current_epoch, history });
    }

    /// Rule 9 of docs/zab.md. Nothing that was delivered is ever cut: it was decided, so the leader has it.
    fn on_sync(&mut self, core: &mut Core, cut: Option<Zxid>, snapshot: Option<Zxid>) -> Result<(), Leave> {
        if let Some(through) = cut {
            if through < core.delivered {
                core.halt(format!(
                    "the leader, server {}, wants {} to be the end of the log, but {} was decided: \
                     its data is not this ensemble's, or was lost",
                    self.leader, through, core.delivered
                ));
                return Err("the leader lacks what was decided".to_string());
            }
            if !core.history.holds(through) {
                return Err(format!("the log does not hold {through}, where it is to be cut"));
            }
            core.truncate(through);
        }
        if has(Mutant::DistrustedVotes) && !self.counted {
            self.take_vote(core);
            return Ok(());
        }
        if has(Mutant::EpochBeforeHistory) {
            let record = EpochRecord { current_epoch: self.epoch, ..core.epoch.clone() };
            core.save_epoch(record, SavePurpose::Confirmed);
        }
        if snapshot.is_some_and(|zxid| zxid < core.delivered) && !core.distrusted {
            return Err(format!("the leader's snapshot is older than {}, which was decided", core.delivered));
        }
        self.stage = match snapshot {
            Some(zxid) => Stage::Receiving { zxid, any: false },
            None => Stage::Syncing,
        };
        Ok(())
    }

    fn on_snapshot_chunk(&mut self, core: &mut Core, data: Bytes, last: bool, zxid: Zxid, any: bool) {
        core.receive_snapshot(data, !any);
        self.stage = Stage::Receiving { zxid, any: true };
        if last {
            core.install_snapshot(zxid);
            self.stage = Stage::Installing { zxid };
        }
    }

    fn on_proposals(
        &mut self,
        core: &mut Core,
        previous: Zxid,
        mut proposals: Vec<Proposal>,
        committed: Zxid,
    ) -> Result<(), Leave> {
        let mut last = core.history.last();
        if has(Mutant::ProposeTwice) {
            proposals.retain(|proposal| proposal.zxid.may_follow(last) || proposal.zxid > last);
        } else if self.fed.was_fed && previous < last {
            // A follower was quicker.
            proposals.retain(|proposal| proposal.zxid > last);
        } else if previous != last
            && !(has(Mutant::ProposeToAckedOnly) || has(Mutant::FedTakesGap) && previous > last)
        {
            return Err(format!("proposals continue {previous}, but the log ends at {last}"));
        }
        for proposal in proposals {
            if !proposal.zxid.may_follow(last)
                && !has(Mutant::ProposeToAckedOnly)
                && !has(Mutant::FedTakesGap)
                || proposal.zxid.epoch() > self.epoch
            {
                return Err(format!("a proposal with {} may not follow {last}", proposal.zxid));
            }
            last = proposal.zxid;
            core.append(proposal);
        }
        if self.stage == Stage::Active { self.on_commit(core, committed) } else { Ok(()) }
    }

    /// Rule 10 of docs/zab.md: the history is on disk before the epoch, and the epoch before the acknowledgement.
    fn on_new_leader(&mut self, core: &mut Core, epoch: Epoch, ensemble_id: u64) -> Result<(), Leave> {
        if epoch != self.epoch {
            return Err(format!("the leader's epoch is {epoch}, not the promised {}", self.epoch));
        }
        if core.epoch.ensemble_confirmed && core.epoch.ensemble_id != ensemble_id {
            return Err(format!(
                "the leader is of ensemble {ensemble_id:016x}, this data of {:016x}",
                core.epoch.ensemble_id
            ));
        }
        self.stage = Stage::SyncingToDisk { through: core.history.last(), ensemble_id };
        self.maybe_save_current_epoch(core);
        Ok(())
    }

    fn maybe_save_current_epoch(&mut self, core: &mut Core) {
        if let Stage::SyncingToDisk { through, ensemble_id } = self.stage
            && (core.synced >= through && !core.is_truncating() || has(Mutant::AckNewLeaderBeforeHistory))
        {
            self.stage = Stage::SavingCurrentEpoch;
            let record = EpochRecord { current_epoch: self.epoch, ensemble_id, ..core.epoch.clone() };
            core.save_epoch(record, SavePurpose::CurrentEpoch);
        }
    }

    /// Rule 12 of docs/zab.md. A server that came without a vote has now got everything: it joins again as a voter, or
    /// stays without a vote until that is safe (rule 4).
    fn on_up_to_date(&mut self, core: &mut Core, committed: Zxid) -> Result<(), Leave> {
        if committed > core.history.last() {
            return Err(format!(
                "{committed} is said to be decided, but the log ends at {}",
                core.history.last()
            ));
        }
        if self.may_take_vote(core) {
            self.take_vote(core);
            return Ok(());
        }
        if !core.epoch.ensemble_confirmed {
            let confirmed = EpochRecord { ensemble_confirmed: true, ..core.epoch.clone() };
            core.save_epoch(confirmed, SavePurpose::Confirmed);
        }
        self.stage = Stage::Active;
        core.follows();
        self.up_to_date = committed;
        core.commit(committed);
        self.maybe_tell_role(core);
        Ok(())
    }

    /// A leader that was elected without this server has given it everything, and no promise that was lost is in the way.
    fn may_take_vote(&self, core: &Core) -> bool {
        !self.counted && core.knows_ensemble() && core.has_no_promise_against(self.epoch)
    }

    fn take_vote(&mut self, core: &mut Core) {
        self.stage = Stage::SavingMayVote;
        let record = EpochRecord {
            ensemble_confirmed: true,
            may_vote: true,
            promises_lost: false,
            ..core.epoch.clone()
        };
        core.save_epoch(record, SavePurpose::MayVote);
    }

    /// Rule 15 of docs/zab.md: decided once it is on the own disk. The leader tells of nothing it has not sent before, unless
    /// another sends it (rule 24).
    fn on_commit(&mut self, core: &mut Core, through: Zxid) -> Result<(), Leave> {
        if through > core.history.last() && !self.fed.was_fed {
            return Err(format!(
                "{through} is said to be decided, but the log ends at {}",
                core.history.last()
            ));
        }
        self.fed.on_decided(core, through);
        self.maybe_tell_role(core);
        Ok(())
    }

    /// Rule 16 of docs/zab.md: a leader that has not known of a quorum for too long is left, even if it is alive: others may be able to
    /// elect.
    fn on_ping(&mut self, core: &mut Core, sequence: u64, age_ms: u32, committed: Zxid) -> Result<(), Leave> {
        if u64::from(age_ms) > core.config.peer_timeout_ms {
            return Err(format!("the leader has not known of a quorum for {age_ms} ms"));
        }
        self.ping = sequence;
        self.send(core, Message::Pong { sequence });
        if self.stage == Stage::Active { self.on_commit(core, committed) } else { Ok(()) }
    }

    /// Serving is told when everything that was decided at UPTODATE is applied.
    fn maybe_tell_role(&mut self, core: &mut Core) {
        if self.stage == Stage::Active && !self.role_told && core.delivered >= self.up_to_date {
            self.role_told = true;
            let link = self.link.expect("an active follower has a connection");
            tracing::info!(leader = %self.leader, epoch = %self.epoch, "following");
            core.output(Output::Role(Role::Following { leader: self.leader, epoch: self.epoch, link }));
        }
    }

    /// The disk has done something.
    pub fn on_milestone(&mut self, core: &mut Core, milestone: Milestone) -> Result<(), Leave> {
        match (milestone, self.stage) {
            (Milestone::EpochSaved(SavePurpose::AcceptedEpoch), Stage::Promising) => {
                self.ack_epoch(core, true)
            }
            (Milestone::EpochSaved(SavePurpose::CurrentEpoch), Stage::SavingCurrentEpoch) => {
                self.stage = Stage::Synced;
                self.send(core, Message::AckNewLeader { epoch: self.epoch });
            }
            (Milestone::EpochSaved(SavePurpose::MayVote), Stage::SavingMayVote) => {
                return Err("synchronized; joining again as a voter".to_string());
            }
            (Milestone::Installed(_), Stage::Installing { .. }) => {
                self.stage = Stage::Syncing;
                for message in std::mem::take(&mut self.held) {
                    self.on_message(core, message)?;
                }
            }
            (Milestone::InstallFailed, _) => return Err("the received snapshot did not verify".to_string()),
            (Milestone::Synced, _) => {
                self.maybe_save_current_epoch(core);
                core.deliver();
                self.maybe_tell_role(core);
            }
            (Milestone::EpochSaved(_) | Milestone::Installed(_), _) => {}
        }
        Ok(())
    }

    /// Time has passed.
    pub fn on_tick(&mut self, core: &mut Core) -> Result<(), Leave> {
        let patience_ms = match self.stage {
            Stage::Connecting | Stage::Introduced => core.config.discovery_timeout_ms(),
            _ => core.config.peer_timeout_ms,
        };
        let silent_ms = core.now.ms_since(self.heard);
        if silent_ms > patience_ms {
            return Err(format!("the leader, server {}, was silent for {silent_ms} ms", self.leader));
        }
        if core.disk_is_silent() {
            return Err(format!("the disk has done nothing for {} ms", core.config.disk_timeout_ms));
        }
        if self.stage == Stage::Active && self.may_take_vote(core) {
            self.take_vote(core);
        }
        if let Some(link) = self.link {
            let wanted = core.config.is_fed && self.stage == Stage::Active && core.observes();
            self.fed.keep(core, wanted, (self.leader, link));
            self.fed.on_tick(core, link);
        }
        let joining_ms = core.now.ms_since(self.began);
        if matches!(self.stage, Stage::Introduced | Stage::Promised)
            && joining_ms > core.config.sync_timeout_ms
        {
            return Err(format!("the leader, server {}, did not become one in {joining_ms} ms", self.leader));
        }
        Ok(())
    }

    /// Sends what has gathered: appends to the disk, and what became durable to the leader (rule 14 of docs/zab.md).
    pub fn flush(&mut self, core: &mut Core) {
        core.flush_appends();
        let may_ack = matches!(
            self.stage,
            Stage::Syncing
                | Stage::SyncingToDisk { .. }
                | Stage::SavingCurrentEpoch
                | Stage::Synced
                | Stage::Active
        );
        let through = if has(Mutant::AckBeforeSync) { core.history.last() } else { core.synced };
        if may_ack && through > self.told_ack {
            self.told_ack = through;
            self.send(core, Message::Ack { through });
        }
        self.fed.flush(core);
    }

    fn send(&self, core: &mut Core, message: Message) {
        if let Some(link) = self.link {
            core.send(link, message);
        }
    }
}
