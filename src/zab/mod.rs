//! The atomic broadcast: election, discovery, synchronization, broadcast. The handlers cite the numbered rules of
//! `docs/zab.md`.
//!
//! # The contract
//!
//! [`Zab`] is a state machine without IO. The caller
//! - tells it what happens with [`Zab::step`], and the time with every call;
//! - calls [`Zab::flush`] when it has told everything that has gathered: what can go in one batch goes in one batch;
//! - carries out the outputs of [`Zab::take_outputs`] in their order;
//! - answers every `Disk` output, in order, once it is durable, and never otherwise.
//!
//! The same inputs give the same outputs. An acknowledgement, a vote or an epoch leaves only in a step that was told
//! that the disk has it. A transaction is a zxid and bytes: nothing here knows of znodes, sessions or requests.

mod core;
mod cursor;
mod election;
mod fed;
#[cfg(test)]
mod feed_tests;
mod feeding;
mod follower;
mod history;
mod io;
mod joint;
mod leader;
mod learner;
mod message;
mod quorum;
mod sync_plan;

use std::collections::BTreeSet;

use bytes::Bytes;

pub use io::{Config, DiskDone, DiskOp, EpochRecord, Input, LinkId, Output, Recovered, Role};
pub use message::{HistorySummary, Message, Notification, PeerState, Proposal, Vote};
pub use quorum::{Ensemble, Member};

use self::core::{Core, Milestone};
use election::{Decision, Election, Peers};
use feeding::Feeding;
use follower::Follower;
use history::History;
use leader::Leader;
use learner::Learner;

use crate::ids::{Epoch, ServerId, Tick, Zxid};

/// How many servers learn from a leader.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct LearnerCounts {
    /// they have a connection
    pub connected: usize,
    /// of these, followers that are up to date
    pub followers: usize,
    /// of these, those that are no members, or not yet
    pub non_voting: usize,
    /// observers that are up to date
    pub observers: usize,
}

/// One server's part in the broadcast.
#[derive(Debug)]
pub struct Zab {
    core: Core,
    peers: Peers,
    /// The election round of the newest role.
    round: u64,
    state: State,
    /// What the others were told last by a server that leads or follows.
    announced: Option<(PeerState, Vote)>,
    /// The configurations that were counted with when the others were told last: which, and if this server takes part.
    counted: (u64, bool),
    /// Connections of learners that came before this server knew that it is to lead.
    waiting: Vec<Waiting>,
    /// The observers that a follower feeds.
    feeding: Feeding,
}

#[derive(Debug)]
enum State {
    Looking(Election),
    Leading(Box<Leader>),
    Following(Follower),
}

/// A learner that was quicker than the own decision, with what it said.
#[derive(Debug)]
struct Waiting {
    link: LinkId,
    peer: ServerId,
    messages: Vec<Message>,
}

/// No ensemble holds so many elections; a greater round is not believed, so that it cannot overflow.
const ROUND_MAX: u64 = 1 << 62;

/// A learner says one thing before the leader answers.
const WAITING_MESSAGES_MAX: usize = 1;

impl Zab {
    /// A server that has just started. Its role is `Looking` until an output tells otherwise.
    pub fn new(config: Config, recovered: Recovered, now: Tick) -> Zab {
        let history = History::new(
            recovered.history,
            recovered.recent,
            recovered.before_recent,
            config.recent_bytes_max,
        );
        let mut core = Core::new(config, recovered.epoch, history, recovered.committed);
        core.now = now;
        let election = Election::new(&core, 0, None);
        let round = election.round();
        let counted = (core.joint.revision(), core.is_voter());
        let mut zab = Zab {
            core,
            peers: Peers::default(),
            round,
            state: State::Looking(election),
            waiting: Vec::new(),
            feeding: Feeding::default(),
            announced: None,
            counted,
        };
        zab.advance_election();
        zab
    }

    /// Something happened. What there is to do is in `take_outputs`.
    pub fn step(&mut self, now: Tick, input: Input) {
        self.core.now = self.core.now.max(now);
        // A process that stood still must notice that first, before it takes what it missed for news (rule 16).
        self.on_tick();
        match input {
            Input::Tick => {}
            Input::Notification { from, notification } => self.on_notification(from, notification),
            Input::PeerGone { peer } => self.on_peer_gone(peer),
            Input::LinkUp { link, peer, dialled } => self.on_link_up(link, peer, dialled),
            Input::FeedUp { link, peer, dialled } => self.on_feed_up(link, peer, dialled),
            Input::LinkDown { link } => self.on_link_down(link),
            Input::LinkProgress { link } => {
                self.feeding.on_link_progress(&self.core, link);
                match &mut self.state {
                    State::Leading(leader) => leader.on_link_progress(&self.core, link),
                    State::Following(follower) => follower.on_link_progress(&mut self.core, link),
                    State::Looking(_) => {}
                }
            }
            Input::Message { link, message } => self.on_message(link, message),
            Input::Disk(done) => self.on_disk(done, None),
            Input::Installed { seq, ensemble } => self.on_disk(DiskDone::Synced { seq }, Some(ensemble)),
            Input::HandOver => self.on_hand_over(),
        }
        self.follow_configurations();
        self.check_invariants();
    }

    /// Sends and writes what has gathered.
    pub fn flush(&mut self) {
        match &mut self.state {
            State::Looking(_) => {}
            State::Leading(leader) => leader.flush(&mut self.core),
            State::Following(follower) => {
                follower.flush(&mut self.core);
                if follower.active_epoch().is_some() {
                    self.feeding.flush(&mut self.core);
                }
            }
        }
        self.follow_configurations();
    }

    /// What there is to do, in order.
    pub fn take_outputs(&mut self) -> Vec<Output> {
        self.core.take_outputs()
    }

    /// The zxid that the next transaction will get; `None` unless this server leads, is established, and its epoch has
    /// a zxid left.
    pub fn next_zxid(&self) -> Option<Zxid> {
        match &self.state {
            State::Leading(leader) => leader.next_zxid(&self.core),
            State::Looking(_) | State::Following(_) => None,
        }
    }

    /// Proposes a transaction, which gets the zxid that `next_zxid` told.
    ///
    /// # Panics
    /// If `next_zxid` is `None`.
    pub fn propose(&mut self, txn: Bytes) -> Zxid {
        match &mut self.state {
            State::Leading(leader) => leader.propose(&mut self.core, txn),
            State::Looking(_) | State::Following(_) => panic!("only a leader proposes"),
        }
    }

    /// True if this server leads, and is to propose something that changes nothing, or to resign if it cannot: a configuration was decided, or an
    /// epoch began, and a quorum is to know durably what is decided (rule 22 of docs/zab.md).
    pub fn wants_proposal(&self) -> bool {
        match &self.state {
            State::Leading(leader) => leader.wants_proposal(&self.core),
            State::Looking(_) | State::Following(_) => false,
        }
    }

    /// True if this server leads, and a quorum of another ensemble is connected and has everything: then a transaction
    /// that makes it the ensemble can be decided (rule 22 of docs/zab.md).
    pub fn has_quorum_of(&self, ensemble: &Ensemble) -> bool {
        match &self.state {
            State::Leading(leader) => leader.has_quorum_of(&self.core, ensemble),
            State::Looking(_) | State::Following(_) => false,
        }
    }

    /// The zxids of the configurations in the log that are not delivered yet, in order.
    pub fn pending_configs(&self) -> impl Iterator<Item = Zxid> + '_ {
        self.core.joint.pending()
    }

    /// Which transaction made the ensemble that is in force; 0: none.
    pub fn config(&self) -> Zxid {
        Zxid(self.core.joint.base().version())
    }

    /// True if the ensemble that is in force has no other server.
    pub fn is_alone(&self) -> bool {
        self.core.joint.base().is_alone(self.core.config.id)
    }

    /// Another number whenever other configurations are in force or in the log.
    pub fn config_revision(&self) -> u64 {
        self.core.joint.revision()
    }

    /// Asks for proof that this server is still the leader; `Output::Barrier` with the token is the proof. False if it
    /// does not lead.
    pub fn barrier(&mut self, token: u64) -> bool {
        match &mut self.state {
            State::Leading(leader) if leader.established_epoch().is_some() => {
                leader.barrier(token);
                true
            }
            _ => false,
        }
    }

    /// Gives up leading because the zxids of the epoch are used up: a new epoch begins.
    pub fn resign(&mut self, reason: &str) {
        if matches!(self.state, State::Leading(_)) {
            self.look(reason);
        }
    }

    /// The state that was delivered differs from the leader's: it must be replaced by a leader's snapshot. Until then
    /// this server cannot lead. Halts if there is no other server to take it from.
    pub fn distrust_state(&mut self) {
        if self.core.joint.is_only_voter(self.core.config.id) || matches!(self.state, State::Leading(_)) {
            return self.core.halt("the state differs from what the log says it must be".to_string());
        }
        self.core.distrusted = true;
        self.look("the state differs from the leader's");
    }

    /// What is in the log and was not delivered yet.
    pub fn undelivered(&self) -> impl Iterator<Item = &Proposal> + '_ {
        self.core.history.range(self.core.delivered, self.core.history.last())
    }

    /// The connections of learners that are up to date; none unless this server leads.
    pub fn active_links(&self) -> Vec<LinkId> {
        match &self.state {
            State::Leading(leader) => leader.active_links(),
            State::Looking(_) | State::Following(_) => Vec::new(),
        }
    }

    /// Who learns from this leader; nobody unless this server leads.
    pub fn learner_counts(&self) -> LearnerCounts {
        let State::Leading(leader) = &self.state else { return LearnerCounts::default() };
        let observes = |server: &ServerId| self.core.joint.observes(*server);
        let (observers, followers): (Vec<_>, Vec<_>) = leader.active_servers().partition(observes);
        let members = self.core.joint.members();
        LearnerCounts {
            connected: leader.links().count(),
            followers: followers.len(),
            non_voting: followers.iter().filter(|server| !members.contains(server)).count(),
            observers: observers.len(),
        }
    }

    /// How many observers this server feeds: it sends them what the leader proposes (rule 24 of docs/zab.md).
    pub fn feeds(&self) -> usize {
        self.feeding.count()
    }

    /// The end of the log, durable or not.
    pub fn last_logged(&self) -> Zxid {
        self.core.history.last()
    }

    /// The newest zxid given out by `Deliver` or `Installed`.
    pub fn delivered(&self) -> Zxid {
        self.core.delivered
    }

    /// The newest zxid known to be decided.
    pub fn committed(&self) -> Zxid {
        self.core.committed
    }

    /// The durable promises.
    pub fn epoch_record(&self) -> &EpochRecord {
        &self.core.epoch
    }

    /// True if this server's votes, promises and acknowledgements count.
    pub fn may_vote(&self) -> bool {
        self.core.may_vote() && self.core.is_voter()
    }

    /// The voters that are heard and whose votes do not count, and those that are not heard.
    pub fn missing_votes(&self) -> (Vec<ServerId>, Vec<ServerId>) {
        self.peers.missing_votes(&self.core)
    }

    /// True if there can be a leader: the voters that are not known to be without a vote make a quorum.
    pub fn quorum_is_left(&self) -> bool {
        let (voteless, _) = self.missing_votes();
        let voters = self.core.joint.voters().into_iter();
        self.core.joint.is_quorum(voters.filter(|voter| !voteless.contains(voter)))
    }

    /// True if the servers that are heard make a quorum with this one.
    pub fn hears_quorum(&self) -> bool {
        self.peers.are_enough(&self.core)
    }

    /// The epoch this server serves in; `None` while it may not.
    pub fn serving_epoch(&self) -> Option<Epoch> {
        match &self.state {
            State::Looking(_) => None,
            State::Leading(leader) => leader.established_epoch(),
            State::Following(follower) => follower.active_epoch(),
        }
    }

    fn on_hand_over(&mut self) {
        match &mut self.state {
            State::Leading(leader) => {
                let result = leader.begin_hand_over(&mut self.core);
                self.look_if(result);
            }
            State::Looking(_) | State::Following(_) => self.core.output(Output::HandedOver { to: None }),
        }
    }

    fn on_notification(&mut self, from: ServerId, notification: Notification) {
        let plausible = notification.round <= ROUND_MAX;
        if from == self.core.config.id || !plausible {
            return;
        }
        let is_first = !self.peers.hears(from);
        let mut known: BTreeSet<ServerId> = self.peers.heard_of().collect();
        if is_first {
            known.remove(&from);
        }
        known.extend(self.core.joint.members());
        known.insert(self.core.config.id);
        let abstains = notification.abstains;
        let leads = notification.state == PeerState::Leading;
        self.core.led.insert(from, if leads { notification.epoch } else { Epoch(0) });
        self.peers.on_notification(from, notification);
        // Strangers, and leaders that only others know: they hear of this server, so that it hears of them (rule 23 of
        // docs/zab.md).
        let named: BTreeSet<ServerId> = self.peers.heard_of().collect();
        named.difference(&known).for_each(|stranger| self.tell(*stranger));
        self.take_decided_config();
        match &self.state {
            State::Following(follower)
                if abstains && follower.leader() == from && follower.link().is_none() =>
            {
                self.look("the candidate has given up");
            }
            _ => self.advance_election(),
        }
    }

    /// Who looks, and has a configuration in its log that another server knows to be decided, knows it too (rule 23 of
    /// docs/zab.md).
    fn take_decided_config(&mut self) {
        let newest = self.peers.newest_config();
        let State::Looking(election) = &self.state else { return };
        if election.is_drained() && self.core.joint.pending().any(|zxid| zxid == newest) {
            self.core.commit(newest);
        }
    }

    fn on_peer_gone(&mut self, peer: ServerId) {
        self.peers.on_peer_gone(peer);
        match &self.state {
            State::Following(follower) if follower.leader() == peer && follower.link().is_none() => {
                self.look("the leader is gone");
            }
            State::Looking(_) => self.advance_election(),
            State::Following(_) | State::Leading(_) => {}
        }
    }

    fn on_link_up(&mut self, link: LinkId, peer: ServerId, dialled: bool) {
        let result = match &mut self.state {
            State::Following(follower) if dialled && follower.leader() == peer => {
                follower.on_link_up(&mut self.core, link)
            }
            State::Leading(leader) if !dialled => {
                leader.on_link_up(&mut self.core, peer, link);
                Ok(())
            }
            State::Looking(_) if !dialled => {
                self.drop_waiting(|waiting| waiting.peer == peer, "the server connected again");
                self.waiting.push(Waiting { link, peer, messages: Vec::new() });
                Ok(())
            }
            State::Looking(_) | State::Following(_) | State::Leading(_) => {
                let reason = "this server does not lead".to_string();
                self.core.output(Output::CloseLink { link, reason });
                Ok(())
            }
        };
        self.look_if(result);
    }

    fn on_feed_up(&mut self, link: LinkId, peer: ServerId, dialled: bool) {
        match &mut self.state {
            State::Following(follower) if dialled => follower.on_feed_up(&mut self.core, link, peer),
            State::Following(_) => self.feeding.on_link_up(&mut self.core, link, peer),
            State::Leading(_) | State::Looking(_) => {
                let reason = "this server does not follow".to_string();
                self.core.output(Output::CloseLink { link, reason });
            }
        }
    }

    fn on_link_down(&mut self, link: LinkId) {
        self.feeding.on_link_down(link);
        self.waiting.retain(|waiting| waiting.link != link);
        match &mut self.state {
            State::Leading(leader) => leader.on_link_down(link),
            State::Following(follower) if follower.link() == Some(link) => {
                self.look("the connection to the leader is closed");
            }
            State::Following(follower) if follower.is_fed_over(link) => {
                follower.on_feed_down(&mut self.core);
            }
            State::Following(_) | State::Looking(_) => {}
        }
    }

    fn on_message(&mut self, link: LinkId, message: Message) {
        let result = match &mut self.state {
            State::Leading(leader) => leader.on_message(&mut self.core, link, message),
            State::Following(follower) if follower.link() == Some(link) => {
                follower.on_message(&mut self.core, message)
            }
            State::Following(follower) if follower.is_fed_over(link) => {
                follower.on_feed_message(&mut self.core, message);
                Ok(())
            }
            State::Following(follower) => {
                let epoch = follower.active_epoch();
                self.feeding.on_message(&mut self.core, epoch, link, message);
                Ok(())
            }
            State::Looking(_) => {
                let waiting = self.waiting.iter_mut().find(|waiting| waiting.link == link);
                if let Some(waiting) = waiting.filter(|waiting| waiting.messages.len() < WAITING_MESSAGES_MAX)
                {
                    waiting.messages.push(message);
                }
                Ok(())
            }
        };
        self.look_if(result);
    }

    fn on_disk(&mut self, done: DiskDone, installed: Option<Ensemble>) {
        for milestone in self.core.on_disk(done, installed) {
            self.on_milestone(milestone);
            if let Milestone::EpochSaved(_) = milestone {
                self.announce_again();
            }
        }
    }

    fn on_milestone(&mut self, milestone: Milestone) {
        let result = match &mut self.state {
            State::Leading(leader) => leader.on_milestone(&mut self.core, milestone),
            State::Following(follower) => follower.on_milestone(&mut self.core, milestone),
            State::Looking(election) => {
                let decision = election.on_milestone(&mut self.core, &self.peers, milestone);
                self.carry_out(decision);
                Ok(())
            }
        };
        self.look_if(result);
    }

    fn on_tick(&mut self) {
        let result = match &mut self.state {
            State::Leading(leader) => {
                let result = leader.on_tick(&mut self.core);
                let in_vain = || leader.established_epoch().is_none() && self.peers.are_enough(&self.core);
                if result.is_err() && (in_vain() || self.core.disk_is_silent()) {
                    // Another one is to try next time (rule 2 of docs/zab.md).
                    self.core.abstain();
                }
                result
            }
            State::Following(follower) => {
                self.feeding.on_tick(&mut self.core);
                follower.on_tick(&mut self.core)
            }
            State::Looking(_) => {
                self.advance_election();
                Ok(())
            }
        };
        self.look_if(result);
    }

    fn advance_election(&mut self) {
        if let State::Looking(election) = &mut self.state {
            let decision = election.advance(&mut self.core, &self.peers);
            self.carry_out(decision);
        }
    }

    fn carry_out(&mut self, decision: Option<Decision>) {
        let State::Looking(election) = &self.state else { return };
        let (round, vote) = (election.round(), election.vote());
        match decision {
            None => {}
            Some(Decision::Lead) => {
                self.round = round;
                self.become_leader(vote);
            }
            Some(Decision::Follow(leader)) => {
                self.round = round;
                self.become_follower(leader, vote);
            }
        }
    }

    fn become_leader(&mut self, vote: Vote) {
        tracing::info!(round = self.round, "elected");
        self.announce(PeerState::Leading, vote);
        let waiting = std::mem::take(&mut self.waiting);
        let learners =
            waiting.iter().map(|waiting| Learner::new(waiting.peer, waiting.link, self.core.now)).collect();
        let leader = Leader::new(&mut self.core, learners);
        self.state = State::Leading(Box::new(leader));
        for Waiting { link, messages, .. } in waiting {
            messages.into_iter().for_each(|message| self.on_message(link, message));
        }
        if let State::Leading(leader) = &mut self.state {
            let result = leader.maybe_choose_epoch(&mut self.core);
            self.look_if(result);
        }
    }

    fn become_follower(&mut self, leader: ServerId, vote: Vote) {
        let vote = if vote.server_id == leader { vote } else { Vote { server_id: leader, ..vote } };
        self.announce(PeerState::Following, vote);
        self.drop_waiting(|_| true, "another server leads");
        self.state = State::Following(Follower::new(&mut self.core, leader));
    }

    fn drop_waiting(&mut self, which: impl Fn(&Waiting) -> bool, reason: &str) {
        for waiting in self.waiting.extract_if(.., |waiting| which(waiting)) {
            self.core.output(Output::CloseLink { link: waiting.link, reason: reason.to_string() });
        }
    }

    fn announce(&mut self, state: PeerState, vote: Vote) {
        self.announced = Some((state, vote));
        let notification = self.notification(state, vote);
        election::announce(&mut self.core, &self.peers, &notification);
    }

    /// What a server that leads or follows tells the others.
    fn notification(&self, state: PeerState, vote: Vote) -> Notification {
        Notification {
            state,
            round: self.round,
            vote,
            may_vote: self.core.may_vote(),
            voter: self.peers.take_part(&self.core),
            receiver_votes: false,
            config: self.config(),
            abstains: false,
            empty: self.core.is_empty(),
            epoch: self.core.epoch.accepted_epoch,
        }
    }

    fn tell(&mut self, to: ServerId) {
        let notification = match (&self.state, self.announced) {
            (State::Looking(election), _) => election.notification(&self.core, &self.peers),
            (State::Leading(_) | State::Following(_), Some((state, vote))) => self.notification(state, vote),
            (State::Leading(_) | State::Following(_), None) => return,
        };
        election::tell(&mut self.core, to, &notification);
    }

    /// Other configurations count than before, or this server is heard to vote: the others must know, and an election may
    /// come to another end.
    fn follow_configurations(&mut self) {
        let counted = (self.core.joint.revision(), self.peers.take_part(&self.core));
        if std::mem::replace(&mut self.counted, counted) == counted {
            return;
        }
        match &mut self.state {
            State::Looking(election) => election.announce(&mut self.core, &self.peers),
            State::Leading(leader) => {
                leader.follow_configuration(&self.core);
                self.announce_again();
            }
            State::Following(_) => self.announce_again(),
        }
        self.advance_election();
    }

    /// Promises are durable, and change what the others must know: a server with an epoch is not empty any more.
    fn announce_again(&mut self) {
        if let Some((state, vote)) = self.announced {
            self.announce(state, vote);
        }
    }

    fn look_if(&mut self, result: Result<(), String>) {
        if let Err(reason) = result {
            self.look(&reason);
        }
    }

    /// Ends the role, whatever it is, and begins an election (rule 1 of docs/zab.md). What the disk still does for the older role is
    /// waited for before a vote is cast.
    fn look(&mut self, reason: &str) {
        tracing::info!(reason, "looking for a leader");
        self.core.flush_appends();
        match &mut self.state {
            State::Looking(_) => {}
            State::Leading(leader) => {
                for link in leader.links().collect::<Vec<_>>() {
                    self.core.output(Output::CloseLink {
                        link,
                        reason: format!("no longer the leader: {reason}"),
                    });
                }
                if let Some(to) = leader.leaves_to() {
                    self.core.output(Output::HandedOver { to });
                }
            }
            State::Following(follower) => {
                // Whatever it said last is not believed any more: a stopped process still looks like a leader.
                self.peers.on_peer_gone(follower.leader());
                follower.end(&mut self.core);
                self.feeding.end(&mut self.core);
                self.core.output(Output::Follow(None));
            }
        }
        self.core.output(Output::Role(Role::Looking));
        self.announced = None;
        if !self.core.is_voter() {
            self.core.looks_after = self.core.now.after_ms(self.core.config.observer_delay_ms);
        }
        let suggested = self.core.suggested.take();
        let election = Election::new(&self.core, self.round, suggested);
        self.round = election.round();
        if !self.core.disk_is_idle() {
            // It may take long. Nobody should take this server for what it was meanwhile.
            election.announce(&mut self.core, &self.peers);
        }
        self.state = State::Looking(election);
        self.advance_election();
    }

    fn check_invariants(&self) {
        self.core.check_invariants();
        if let State::Leading(leader) = &self.state {
            leader.check_invariants(&self.core);
        }
        debug_assert!(self.waiting.is_empty() || matches!(self.state, State::Looking(_)));
    }
}
