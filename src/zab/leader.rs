//! Leading: discovery of a new epoch, synchronization of the learners, broadcast (rules 5 to 17 of docs/zab.md).

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::core::{Core, Milestone, SavePurpose};
use super::io::{EpochRecord, LinkId, Output, Role};
use super::learner::{Learner, Stage};
use super::message::{HistorySummary, Message, Proposal, Vote};
use super::quorum::Ensemble;
use crate::ids::{Epoch, ServerId, Tick, Zxid};
use crate::mutants::{Mutant, has};

/// How far the leader itself has come. It only goes forward.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// waits until a quorum said which epochs it has promised
    CollectingEpochs,
    /// the new epoch is on its way to the own epoch file
    SavingAcceptedEpoch,
    /// waits until a quorum has promised the new epoch
    CollectingPromises,
    /// the own history becomes that of the new epoch
    SavingCurrentEpoch,
    /// waits until a quorum has that history
    Synchronizing,
    /// decided transactions can be made
    Established,
}

/// No ensemble is ahead of one of its servers by so many elections: such an epoch would only use up the others.
pub const EPOCH_JUMP_MAX: u32 = 1 << 24;

/// Why a leader gives up.
pub type StepDown = String;

/// The state of a server that leads, or is about to.
#[derive(Debug)]
pub struct Leader {
    epoch: Epoch,
    phase: Phase,
    learners: BTreeMap<LinkId, Learner>,
    /// When the way to establishment last went on: a message other than a pong, or a piece of a snapshot.
    progress: Tick,
    /// When a quorum was last heard of.
    quorum_heard: Tick,
    last_ping: Tick,
    ping: u64,
    /// A ping must go out with the next flush, because a barrier waits for it.
    ping_due: bool,
    /// Barriers that were asked for, each with the ping whose answers prove it.
    barriers: VecDeque<(u64, u64)>,
    role_told: bool,
    leaving: Option<Leaving>,
    /// The configuration in force when it was looked last.
    config: u64,
    unsecured: Option<Unsecured>,
}

/// Nobody but this leader may know durably that the configuration in force is decided (rule 22 of docs/zab.md).
#[derive(Clone, Copy, Debug)]
struct Unsecured {
    /// The first proposal since: the end of the log before it, and its zxid.
    first: Option<(Zxid, Zxid)>,
}

/// A leader that is to lead no longer (rule 20 of docs/zab.md).
#[derive(Clone, Copy, Debug)]
struct Leaving {
    /// When it does not wait for anybody any more.
    until: Tick,
    /// Who was named to the others.
    to: Option<ServerId>,
    /// Somebody waits for `Output::HandedOver`.
    is_asked: bool,
}

impl Leader {
    /// Elected; `links` are connections of learners that were quicker.
    pub fn new(core: &mut Core, links: Vec<Learner>) -> Leader {
        assert!(
            core.disk_is_idle() && core.synced == core.history.last(),
            "a candidate's whole log is durable"
        );
        Leader {
            epoch: Epoch(0),
            phase: Phase::CollectingEpochs,
            learners: links.into_iter().map(|learner| (learner.link, learner)).collect(),
            progress: core.now,
            quorum_heard: core.now,
            last_ping: core.now,
            ping: 0,
            ping_due: true,
            barriers: VecDeque::new(),
            role_told: false,
            config: core.joint.base().version(),
            leaving: None,
            unsecured: None,
        }
    }

    /// The epoch, once it is established.
    pub fn established_epoch(&self) -> Option<Epoch> {
        (self.phase == Phase::Established).then_some(self.epoch)
    }

    /// All connections, to be closed when the role ends.
    pub fn links(&self) -> impl Iterator<Item = LinkId> + '_ {
        self.learners.keys().copied()
    }

    /// The connections of learners that are up to date.
    pub fn active_links(&self) -> Vec<LinkId> {
        self.learners
            .values()
            .filter(|learner| learner.stage == Stage::Active)
            .map(|learner| learner.link)
            .collect()
    }

    /// The learners that are up to date.
    pub fn active_servers(&self) -> impl Iterator<Item = ServerId> + '_ {
        self.learners.values().filter(|learner| learner.stage == Stage::Active).map(|learner| learner.server)
    }

    /// A learner connected.
    pub fn on_link_up(&mut self, core: &mut Core, server: ServerId, link: LinkId) {
        let older: Vec<LinkId> = self
            .learners
            .values()
            .filter(|learner| learner.server == server)
            .map(|learner| learner.link)
            .collect();
        for link in older {
            self.drop_learner(core, link, "the server connected again");
        }
        self.learners.insert(link, Learner::new(server, link, core.now));
        self.ping_due = true;
    }

    /// A learner's connection is closed.
    pub fn on_link_down(&mut self, link: LinkId) {
        self.learners.remove(&link);
    }

    /// A snapshot that is being sent moves on: the learner lives.
    pub fn on_link_progress(&mut self, core: &Core, link: LinkId) {
        if let Some(learner) = self.learners.get_mut(&link) {
            learner.heard = core.now;
            self.progress = core.now;
        }
    }

    /// A learner said something.
    pub fn on_message(&mut self, core: &mut Core, link: LinkId, message: Message) -> Result<(), StepDown> {
        let Some(learner) = self.learners.get_mut(&link) else { return Ok(()) };
        learner.heard = core.now;
        if !matches!(message, Message::Pong { .. }) {
            self.progress = core.now;
        }
        match (message, learner.stage.clone()) {
            (Message::FollowerInfo { accepted_epoch, may_vote }, Stage::Connected) => {
                learner.accepted_epoch = accepted_epoch;
                learner.may_vote = may_vote;
                learner.stage = Stage::Introduced;
                self.on_follower_info(core, link)
            }
            (Message::AckEpoch { promised, current_epoch, history }, Stage::Promising) => {
                self.on_ack_epoch(core, link, promised, current_epoch, history)
            }
            (Message::AckNewLeader { epoch }, Stage::SentNewLeader { target }) if epoch == self.epoch => {
                learner.stage = Stage::Synced;
                learner.on_ack(target);
                self.on_ack_new_leader(core, link);
                Ok(())
            }
            (Message::Fed, Stage::Active) if !learner.is_fed => {
                learner.is_fed = true;
                Ok(())
            }
            (Message::Unfed { after }, Stage::Active) if learner.is_fed && after <= core.history.last() => {
                learner.end_feed(if has(Mutant::FedTakesGap) { core.history.last() } else { after });
                Ok(())
            }
            (Message::Ack { through }, _)
                if through <= learner.cursor.sent || learner.is_fed && through <= core.history.last() =>
            {
                learner.on_ack(through);
                self.maybe_commit(core);
                self.maybe_hand_over(core)
            }
            (Message::Pong { sequence }, _) if sequence <= self.ping => {
                learner.pong = learner.pong.max(sequence);
                self.maybe_pass_barriers(core);
                Ok(())
            }
            (message, stage) => {
                let reason = format!("a learner in stage {stage:?} may not say {message:?}");
                self.drop_learner(core, link, &reason);
                Ok(())
            }
        }
    }

    /// Rule 5 of docs/zab.md: a new epoch is newer than any that a quorum has promised. A server that promised a newer one elsewhere
    /// could never take part in this one, so a still newer epoch must be found for all.
    fn on_follower_info(&mut self, core: &mut Core, link: LinkId) -> Result<(), StepDown> {
        let learner = &self.learners[&link];
        if learner.accepted_epoch.0.saturating_sub(core.epoch.accepted_epoch.0) > EPOCH_JUMP_MAX {
            self.drop_learner(core, link, "the epoch it says it has promised cannot be true");
            return Ok(());
        }
        let unsettled = matches!(self.phase, Phase::SavingAcceptedEpoch | Phase::CollectingPromises);
        let taken = learner.accepted_epoch > self.epoch
            || learner.accepted_epoch == self.epoch
                && learner.may_vote
                && core.joint.is_voter(learner.server)
                && unsettled;
        core.epoch_heard = core.epoch_heard.max(learner.accepted_epoch);
        if self.phase != Phase::CollectingEpochs && taken {
            return Err(format!("server {} has promised epoch {}", learner.server, learner.accepted_epoch));
        }
        match self.phase {
            Phase::CollectingEpochs => self.maybe_choose_epoch(core),
            Phase::SavingAcceptedEpoch => Ok(()),
            _ => {
                self.send_leader_info(core, link);
                Ok(())
            }
        }
    }

    /// Chooses the epoch once a quorum has said what it promised.
    pub fn maybe_choose_epoch(&mut self, core: &mut Core) -> Result<(), StepDown> {
        let introduced =
            self.learners.values().filter(|learner| learner.may_vote && learner.stage != Stage::Connected);
        let servers = introduced.clone().map(|learner| learner.server);
        if self.phase != Phase::CollectingEpochs || !core.joint.is_quorum(servers.chain([core.config.id])) {
            return Ok(());
        }
        let newest = introduced.map(|learner| learner.accepted_epoch).max().unwrap_or_default();
        let newest = newest.max(core.epoch.accepted_epoch).max(core.epoch_heard);
        let Some(next) = newest.0.checked_add(1) else {
            return Err("the epochs are used up".to_string());
        };
        self.epoch = Epoch(next);
        self.phase = Phase::SavingAcceptedEpoch;
        let record = EpochRecord { accepted_epoch: self.epoch, ..core.epoch.clone() };
        core.save_epoch(record, SavePurpose::AcceptedEpoch);
        if has(Mutant::ProposeEpochBeforeDurable) {
            self.propose_epoch(core);
        }
        Ok(())
    }

    /// Tells the epoch to everybody who asks for it.
    fn propose_epoch(&mut self, core: &mut Core) {
        self.phase = Phase::CollectingPromises;
        let introduced = self.learners.values().filter(|learner| learner.stage == Stage::Introduced);
        for link in introduced.map(|learner| learner.link).collect::<Vec<_>>() {
            self.send_leader_info(core, link);
        }
        self.maybe_take_epoch(core);
    }

    fn send_leader_info(&mut self, core: &mut Core, link: LinkId) {
        let learner = self.learners.get_mut(&link).expect("the learner just spoke");
        learner.stage = Stage::Promising;
        core.send(link, Message::LeaderInfo { epoch: self.epoch });
    }

    /// Rule 7 of docs/zab.md: whoever has more than the candidate must lead in its place.
    fn on_ack_epoch(
        &mut self,
        core: &mut Core,
        link: LinkId,
        promised: bool,
        current_epoch: Epoch,
        history: HistorySummary,
    ) -> Result<(), StepDown> {
        let learner = self.learners.get_mut(&link).expect("the learner just spoke");
        let learner_last = history.epoch_ends.last().copied().unwrap_or(Zxid::ZERO);
        let own = (core.epoch.current_epoch, core.history.last());
        let has_more = (current_epoch, learner_last) > own && !has(Mutant::LeadWithLess);
        let is_counted = learner.may_vote && core.joint.is_voter(learner.server);
        if self.phase == Phase::CollectingPromises && is_counted && has_more {
            return Err(format!("server {} has more: epoch {current_epoch}, {learner_last}", learner.server));
        }
        learner.promised = promised;
        learner.current_epoch = current_epoch;
        learner.history = history;
        learner.stage = Stage::Promised;
        match self.phase {
            Phase::CollectingPromises => self.maybe_take_epoch(core),
            Phase::Synchronizing | Phase::Established => learner.begin_sync(core),
            Phase::CollectingEpochs | Phase::SavingAcceptedEpoch | Phase::SavingCurrentEpoch => {}
        }
        Ok(())
    }

    /// With a quorum of promises no older leader can decide anything more: the own history is that of the epoch.
    fn maybe_take_epoch(&mut self, core: &mut Core) {
        let promised = self
            .learners
            .values()
            .filter(|learner| learner.may_vote && learner.promised && learner.stage == Stage::Promised);
        if !core.joint.is_quorum(promised.map(|learner| learner.server).chain([core.config.id])) {
            return;
        }
        self.phase = Phase::SavingCurrentEpoch;
        let mut record = EpochRecord { current_epoch: self.epoch, ..core.epoch.clone() };
        if record.ensemble_id == 0 {
            record.ensemble_id = core.config.new_ensemble_id;
        }
        core.save_epoch(record, SavePurpose::CurrentEpoch);
    }

    /// The disk has done something.
    pub fn on_milestone(&mut self, core: &mut Core, milestone: Milestone) -> Result<(), StepDown> {
        match milestone {
            Milestone::Synced => self.maybe_commit(core),
            Milestone::EpochSaved(SavePurpose::AcceptedEpoch) if self.phase == Phase::SavingAcceptedEpoch => {
                self.propose_epoch(core);
            }
            Milestone::EpochSaved(SavePurpose::CurrentEpoch) if self.phase == Phase::SavingCurrentEpoch => {
                self.phase = Phase::Synchronizing;
                for learner in self.learners.values_mut().filter(|learner| learner.stage == Stage::Promised) {
                    learner.begin_sync(core);
                }
                self.maybe_establish(core);
            }
            Milestone::EpochSaved(_) | Milestone::Installed(_) | Milestone::InstallFailed => {}
        }
        self.maybe_tell_role(core);
        Ok(())
    }

    fn on_ack_new_leader(&mut self, core: &mut Core, link: LinkId) {
        match self.phase {
            Phase::Established => {
                self.activate(core, link);
                self.maybe_commit(core);
            }
            _ => self.maybe_establish(core),
        }
    }

    /// Rule 12 of docs/zab.md: a quorum has the history, so all of it is decided, and the leader is the only one of its epoch.
    fn maybe_establish(&mut self, core: &mut Core) {
        let synced = self.learners.values().filter(|learner| learner.counts()).map(|learner| learner.server);
        if self.phase != Phase::Synchronizing || !core.joint.is_quorum(synced.chain([core.config.id])) {
            return;
        }
        self.phase = Phase::Established;
        core.led();
        let is_recorded = core.joint.is_pending() || core.joint.base().version() > 0;
        self.unsecured = is_recorded.then_some(Unsecured { first: None });
        tracing::info!(epoch = %self.epoch, last_zxid = %core.history.last(), "established as leader");
        core.commit(core.history.last());
        let ready: Vec<LinkId> = self
            .learners
            .values()
            .filter(|learner| learner.stage == Stage::Synced)
            .map(|learner| learner.link)
            .collect();
        for link in ready {
            self.activate(core, link);
        }
        let waiting = self.learners.values_mut().filter(|learner| learner.stage == Stage::Promised);
        waiting.for_each(|learner| learner.begin_sync(core));
        if !core.epoch.ensemble_confirmed {
            let record = EpochRecord { ensemble_confirmed: true, ..core.epoch.clone() };
            core.save_epoch(record, SavePurpose::Confirmed);
        }
        self.maybe_tell_role(core);
    }

    /// UPTODATE carries the newest commit point that the learner can have, not the one of its acknowledgement (the
    /// third ambiguity of the ZAB paper).
    fn activate(&mut self, core: &mut Core, link: LinkId) {
        let learner = self.learners.get_mut(&link).expect("the learner is known");
        assert_eq!(learner.stage, Stage::Synced, "only a learner with the history serves clients");
        learner.stage = Stage::Active;
        learner.told_committed = core.committed.min(learner.cursor.sent);
        learner.sent_inactive = learner.cursor.sent;
        let told = if has(Mutant::UpToDateOfAck) { learner.cursor.acked } else { learner.told_committed };
        core.send(link, Message::UpToDate { committed: told });
        tracing::info!(server = %learner.server, "a follower is up to date");
    }

    /// Leading is told when the whole initial history is applied.
    fn maybe_tell_role(&mut self, core: &mut Core) {
        if self.phase == Phase::Established && !self.role_told && core.delivered == core.committed {
            self.role_told = true;
            core.output(Output::Role(Role::Leading { epoch: self.epoch }));
        }
    }

    /// The zxid that the next transaction will get.
    pub fn next_zxid(&self, core: &Core) -> Option<Zxid> {
        let last = core.history.last();
        if self.phase != Phase::Established || !self.role_told || self.leaving.is_some() {
            None
        } else if has(Mutant::EpochRollsOver) && last.counter() == core.config.epoch_txns_max {
            Some(Zxid::new(Epoch(last.epoch().0 + 1), 1))
        } else if last.epoch() == self.epoch {
            last.next().filter(|next| next.counter() <= core.config.epoch_txns_max)
        } else {
            Some(Zxid::new(self.epoch, 1))
        }
    }

    /// Proposes a transaction with the zxid that `next_zxid` told. It goes to the disk and the learners at once and in
    /// parallel, with the next flush (rule 14 of docs/zab.md).
    pub fn propose(&mut self, core: &mut Core, txn: Bytes) -> Zxid {
        let zxid = self.next_zxid(core).expect("only an established leader proposes");
        if let Some(unsecured) = &mut self.unsecured {
            unsecured.first.get_or_insert((core.history.last(), zxid));
        }
        core.append(Proposal { zxid, txn });
        zxid
    }

    /// Rule 15 of docs/zab.md: decided is what a quorum has on its disk, if this leader's epoch proposed it or anything behind it.
    fn maybe_commit(&mut self, core: &mut Core) {
        if self.phase != Phase::Established {
            return;
        }
        if let Some(through) = self.decided(core, |learner| learner.cursor.acked) {
            core.commit(through);
        }
        core.deliver();
        let first = self.unsecured.and_then(|unsecured| unsecured.first);
        if first.is_some_and(|(_, first)| first <= core.delivered) {
            self.unsecured = None;
        }
    }

    /// Other configurations count than before: if one was decided, a quorum is to know it durably (rule 22 of
    /// docs/zab.md).
    pub fn follow_configuration(&mut self, core: &Core) {
        let config = core.joint.base().version();
        if self.phase == Phase::Established && std::mem::replace(&mut self.config, config) != config {
            self.unsecured.get_or_insert(Unsecured { first: None });
        }
    }

    /// True if something is to be proposed only so that it is acknowledged (rule 22 of docs/zab.md): nothing was since a
    /// configuration was decided, or a learner wrote that before it was told so, and there is nothing behind it.
    pub fn wants_proposal(&self, core: &Core) -> bool {
        let can_propose = self.role_told && self.leaving.is_none();
        let Some(unsecured) = self.unsecured.filter(|_| can_propose) else { return false };
        let last = core.history.last();
        unsecured.first.is_none()
            || self.learners.values().any(|learner| {
                learner.counts() && learner.cursor.acked == last && self.knowingly(learner, last) < last
            })
    }

    /// What a learner that has everything through `on_disk` has acknowledged as one that was told what is decided: what
    /// came before its UPTODATE, or from a follower, it wrote without knowing it (rules 22 and 24 of docs/zab.md).
    fn knowingly(&self, learner: &Learner, on_disk: Zxid) -> Zxid {
        match self.unsecured.and_then(|unsecured| unsecured.first) {
            _ if has(Mutant::UnknowingCounts) => on_disk,
            Some((before, first)) if first <= on_disk && on_disk <= learner.sent_inactive => before,
            _ => on_disk,
        }
    }

    /// True if a quorum of another ensemble is at hand (rule 22 of docs/zab.md).
    pub fn has_quorum_of(&self, core: &Core, ensemble: &Ensemble) -> bool {
        let at_hand = self.learners.values().filter(|learner| learner.counts()).map(|learner| learner.server);
        ensemble.is_quorum(at_hand.chain([core.config.id]))
    }

    /// What is decided if every learner that counts has on its disk what `on_disk` says.
    fn decided(&self, core: &Core, on_disk: impl Fn(&Learner) -> Zxid) -> Option<Zxid> {
        let learners = self.learners.values().filter(|learner| learner.counts());
        let on_disks = learners.map(|learner| (learner.server, self.knowingly(learner, on_disk(learner))));
        let through = core.joint.reached_by_quorum(on_disks.chain([(core.config.id, core.synced)]))?;
        (through.epoch() == self.epoch).then_some(through)
    }

    /// What a learner may take for decided as far as it is on its own disk: with it, a quorum has that (rule 15 of
    /// docs/zab.md).
    fn decided_with(&self, core: &Core, link: LinkId) -> Zxid {
        if self.unsecured.is_some() {
            return core.committed;
        }
        let takes_it = |learner: &Learner| learner.link == link || has(Mutant::CommitToldTooEarly);
        let on_disk =
            |learner: &Learner| if takes_it(learner) { learner.cursor.sent } else { learner.cursor.acked };
        self.decided(core, on_disk).unwrap_or_default().max(core.committed)
    }

    /// Asks for proof that no newer leader has decided anything until now (rule 17 of docs/zab.md). `Output::Barrier` answers.
    pub fn barrier(&mut self, token: u64) {
        self.barriers.push_back((token, self.ping + 1));
        self.ping_due = true;
    }

    fn maybe_pass_barriers(&mut self, core: &mut Core) {
        if self.barriers.is_empty() {
            return;
        }
        let answered = self.learners.values().filter(|learner| learner.counts());
        let answered =
            answered.map(|learner| (learner.server, learner.pong)).chain([(core.config.id, self.ping)]);
        let Some(mut through) = core.joint.reached_by_quorum(answered) else { return };
        if has(Mutant::SyncWithoutQuorum) {
            through = self.ping;
        }
        while let Some((token, ping)) = self.barriers.front().copied() {
            if ping > through {
                break;
            }
            self.barriers.pop_front();
            core.output(Output::Barrier { token });
        }
    }

    /// Proposes nothing more, and names the learner that has everything to the others as soon as there is one (rule 20
    /// of docs/zab.md). Goes on as before if no learner can lead.
    pub fn begin_hand_over(&mut self, core: &mut Core) -> Result<(), StepDown> {
        if let Some(leaving) = &mut self.leaving {
            leaving.is_asked = true;
            return Ok(());
        }
        if !self.role_told || self.successors(core).next().is_none() {
            core.output(Output::HandedOver { to: None });
            return Ok(());
        }
        self.leave(core, true)
    }

    fn leave(&mut self, core: &mut Core, is_asked: bool) -> Result<(), StepDown> {
        tracing::info!("leaving the lead to another server");
        core.flush_appends();
        let until = core.now.after_ms(core.config.peer_timeout_ms);
        self.leaving = Some(Leaving { until, to: None, is_asked });
        // Requests wait from here on, as they do in an election.
        core.output(Output::Role(Role::Looking));
        self.maybe_hand_over(core)
    }

    /// Rule 22 of docs/zab.md: who is no voter any more leads until a quorum knows it.
    fn maybe_leave(&mut self, core: &mut Core) -> Result<(), StepDown> {
        let is_settled = self.role_told && self.unsecured.is_none() && !core.joint.is_pending();
        if self.leaving.is_some() || !is_settled || core.is_voter() || self.successors(core).next().is_none()
        {
            return Ok(());
        }
        tracing::info!("this server is no voter of the ensemble any more");
        self.leave(core, false)
    }

    /// Who could lead next.
    fn successors<'a>(&'a self, core: &'a Core) -> impl Iterator<Item = &'a Learner> {
        let may_lead = |learner: &&Learner| learner.counts() && core.joint.newest().is_voter(learner.server);
        self.learners.values().filter(|learner| learner.stage == Stage::Active).filter(may_lead)
    }

    fn maybe_hand_over(&mut self, core: &mut Core) -> Result<(), StepDown> {
        let Some(leaving) = self.leaving else { return Ok(()) };
        let best = self.successors(core).max_by_key(|learner| (learner.cursor.acked, learner.server));
        let Some((acked, to)) = best.map(|learner| (learner.cursor.acked, learner.server)) else {
            return Err("there is nobody to leave the lead to".to_string());
        };
        let last_zxid = core.history.last();
        if acked < last_zxid {
            return match core.now >= leaving.until {
                true => Err("nobody had everything in time to take over the lead".to_string()),
                false => Ok(()),
            };
        }
        self.leaving = Some(Leaving { to: Some(to), ..leaving });
        self.flush(core);
        for link in self.active_links() {
            core.send(link, Message::HandOver { to, last_zxid });
        }
        core.suggested = Some(Vote { current_epoch: self.epoch, last_zxid, server_id: to });
        core.step_aside();
        Err(format!("it is left to server {to}"))
    }

    /// The leader is to lead no longer: whom it named to the others.
    pub fn leaves_to(&self) -> Option<Option<ServerId>> {
        self.leaving.filter(|leaving| leaving.is_asked).map(|leaving| leaving.to)
    }

    /// Time has passed: the learners are pinged, silent ones dropped, and a leader without a quorum or a disk steps down
    /// (rules 16 and 19 of docs/zab.md).
    pub fn on_tick(&mut self, core: &mut Core) -> Result<(), StepDown> {
        let silence_ms = core.config.peer_timeout_ms;
        let silent = self.learners.values().filter(|learner| core.now.ms_since(learner.heard) > silence_ms);
        for link in silent.map(|learner| learner.link).collect::<Vec<_>>() {
            self.drop_learner(core, link, "nothing was heard of it for too long");
        }
        self.note_quorum(core);
        if core.now.ms_since(self.last_ping) >= core.config.heartbeat_ms {
            self.ping_due = true;
        }
        self.check_patience(core)?;
        self.maybe_leave(core)?;
        self.maybe_hand_over(core)
    }

    fn check_patience(&self, core: &Core) -> Result<(), StepDown> {
        let silence_ms = core.config.peer_timeout_ms;
        let patience_ms =
            if self.phase == Phase::Established { silence_ms } else { core.config.discovery_timeout_ms() };
        if core.now.ms_since(self.quorum_heard) > patience_ms && !has(Mutant::NeverStepDown) {
            return Err(format!("no quorum was heard of for {patience_ms} ms"));
        }
        if self.phase != Phase::Established && core.now.ms_since(self.progress) > core.config.sync_timeout_ms
        {
            return Err(format!("no progress to a quorum within {} ms", core.config.sync_timeout_ms));
        }
        if core.disk_is_silent() {
            return Err(format!("the disk has done nothing for {} ms", core.config.disk_timeout_ms));
        }
        Ok(())
    }

    /// Takes note of when a quorum was last heard of; once established, of voters that have this leader's history.
    fn note_quorum(&mut self, core: &Core) {
        let established = self.phase == Phase::Established;
        let heard = self.learners.values().filter(|learner| learner.counts() || !established);
        let heard = heard.map(|learner| (learner.server, learner.heard)).chain([(core.config.id, core.now)]);
        if let Some(heard) = core.joint.reached_by_quorum(heard) {
            self.quorum_heard = self.quorum_heard.max(heard);
        }
    }

    /// Sends what has gathered.
    pub fn flush(&mut self, core: &mut Core) {
        core.flush_appends();
        // A barrier's ping goes ahead of proposals, so that a sync is not answered behind a later write.
        if std::mem::take(&mut self.ping_due) {
            self.send_pings(core);
        }
        let ensemble_id = core.epoch.ensemble_id;
        let mut lost = Vec::new();
        let decided: Vec<Zxid> = self.learners.keys().map(|link| self.decided_with(core, *link)).collect();
        for (learner, decided) in self.learners.values_mut().zip(decided) {
            if !learner.pump(core, self.epoch, ensemble_id, decided) {
                lost.push(learner.link);
            }
        }
        for link in lost {
            self.drop_learner(core, link, "it lacks transactions that are no longer at hand");
        }
        let wanted = self.learners.values().filter_map(Learner::wanted_after).min();
        core.wanted_after = wanted.unwrap_or(Zxid(u64::MAX));
    }

    fn send_pings(&mut self, core: &mut Core) {
        self.ping += 1;
        self.last_ping = core.now;
        self.note_quorum(core);
        let age = core.now.ms_since(self.quorum_heard);
        let quorum_age_ms =
            if self.phase == Phase::Established { age.min(u64::from(u32::MAX)) as u32 } else { 0 };
        for learner in self.learners.values() {
            let committed = if has(Mutant::UpToDateOfAck) { Zxid::ZERO } else { learner.told_committed };
            core.send(learner.link, Message::Ping { sequence: self.ping, quorum_age_ms, committed });
        }
        self.maybe_pass_barriers(core);
    }

    fn drop_learner(&mut self, core: &mut Core, link: LinkId, reason: &str) {
        if let Some(learner) = self.learners.remove(&link) {
            tracing::warn!(server = %learner.server, reason, "dropping a learner");
            core.output(Output::CloseLink { link, reason: reason.to_string() });
        }
    }

    /// What must hold after every step.
    pub fn check_invariants(&self, core: &Core) {
        assert!(
            self.phase != Phase::Established || core.epoch.current_epoch == self.epoch,
            "an established leader holds its epoch"
        );
        for learner in self.learners.values() {
            assert!(learner.cursor.sent <= core.history.last(), "a learner is sent what is in the log");
            assert!(learner.cursor.acked <= learner.cursor.sent, "a learner acknowledges what it was sent");
        }
    }
}
