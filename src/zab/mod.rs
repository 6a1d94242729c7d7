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
mod election;
mod follower;
mod history;
mod io;
mod leader;
mod learner;
mod message;
mod quorum;
mod sync_plan;

use bytes::Bytes;

pub use io::{Config, DiskDone, DiskOp, EpochRecord, Input, LinkId, Output, Recovered, Role};
pub use message::{HistorySummary, Message, Notification, PeerState, Proposal, Vote};
pub use quorum::{Ensemble, Member};

use self::core::{Core, Milestone};
use election::{Decision, Election, Peers};
use follower::Follower;
use history::History;
use leader::Leader;
use learner::Learner;

use crate::ids::{Epoch, ServerId, Tick, Zxid};

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
    /// Connections of learners that came before this server knew that it is to lead.
    waiting: Vec<Waiting>,
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
        let mut zab = Zab {
            core,
            peers: Peers::default(),
            round,
            state: State::Looking(election),
            waiting: Vec::new(),
            announced: None,
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
            Input::LinkDown { link } => self.on_link_down(link),
            Input::LinkProgress { link } => match &mut self.state {
                State::Leading(leader) => leader.on_link_progress(&self.core, link),
                State::Following(follower) => follower.on_link_progress(&mut self.core, link),
                State::Looking(_) => {}
            },
            Input::Message { link, message } => self.on_message(link, message),
            Input::Disk(done) => self.on_disk(done),
            Input::HandOver => self.on_hand_over(),
        }
        self.check_invariants();
    }

    /// Sends and writes what has gathered.
    pub fn flush(&mut self) {
        match &mut self.state {
            State::Looking(_) => {}
            State::Leading(leader) => leader.flush(&mut self.core),
            State::Following(follower) => follower.flush(&mut self.core),
        }
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
        if self.core.ensemble.is_only_voter(self.core.config.id) || matches!(self.state, State::Leading(_)) {
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

    /// How many learners are connected to this leader, and how many of them are up to date: followers, and observers.
    pub fn learner_counts(&self) -> (usize, [usize; 2]) {
        let State::Leading(leader) = &self.state else { return (0, [0, 0]) };
        let observes = |server: &ServerId| self.core.ensemble.observes(*server);
        let (observers, followers): (Vec<_>, Vec<_>) = leader.active_servers().partition(observes);
        (leader.links().count(), [followers.len(), observers.len()])
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
        self.core.may_vote()
    }

    /// The voters that are heard and whose votes do not count, and those that are not heard.
    pub fn missing_votes(&self) -> (Vec<ServerId>, Vec<ServerId>) {
        self.peers.missing_votes(&self.core)
    }

    /// True if there can be a leader: the voters that are not known to be without a vote make a quorum.
    pub fn quorum_is_left(&self) -> bool {
        let (voteless, _) = self.missing_votes();
        self.core.ensemble.is_quorum(self.core.ensemble.voters().filter(|voter| !voteless.contains(voter)))
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
        if from == self.core.config.id || !self.core.ensemble.is_voter(from) || !plausible {
            return;
        }
        let abstains = notification.abstains;
        let leads = notification.state == PeerState::Leading;
        self.core.led.insert(from, if leads { notification.epoch } else { Epoch(0) });
        self.peers.on_notification(from, notification);
        match &self.state {
            State::Following(follower)
                if abstains && follower.leader() == from && follower.link().is_none() =>
            {
                self.look("the candidate has given up");
            }
            _ => self.advance_election(),
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

    fn on_link_down(&mut self, link: LinkId) {
        self.waiting.retain(|waiting| waiting.link != link);
        match &mut self.state {
            State::Leading(leader) => leader.on_link_down(link),
            State::Following(follower) if follower.link() == Some(link) => {
                self.look("the connection to the leader is closed");
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
            State::Following(_) => Ok(()),
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

    fn on_disk(&mut self, done: DiskDone) {
        for milestone in self.core.on_disk(done) {
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
            State::Following(follower) => follower.on_tick(&mut self.core),
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
        let notification = Notification {
            state,
            round: self.round,
            vote,
            may_vote: self.core.may_vote(),
            abstains: false,
            empty: self.core.is_empty(),
            epoch: self.core.epoch.accepted_epoch,
        };
        election::announce(&mut self.core, &notification);
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
        match &self.state {
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
            election.announce(&mut self.core);
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
