//! Looking: who should lead. Every server tells the others its newest state, and judges by the newest state of every
//! server that it hears; nothing depends on having seen what lies between (rules 1 to 4 of docs/zab.md).

use std::collections::{BTreeMap, BTreeSet};

use super::core::{Core, Milestone, SavePurpose};
use super::io::Output;
use super::message::{Notification, PeerState, Vote};
use crate::ids::{Epoch, ServerId, Tick, Zxid};
use crate::mutants::{Mutant, has};

/// What the other servers said last; kept whatever the own role is.
#[derive(Debug, Default)]
pub struct Peers {
    latest: BTreeMap<ServerId, Notification>,
}

impl Peers {
    pub fn on_notification(&mut self, from: ServerId, notification: Notification) {
        self.latest.insert(from, notification);
    }

    pub fn on_peer_gone(&mut self, peer: ServerId) {
        self.latest.remove(&peer);
    }

    /// True if something was heard of the server.
    pub fn hears(&self, server: ServerId) -> bool {
        self.latest.contains_key(&server)
    }

    /// True if this server is to take part in elections: it votes by a configuration that it knows, or by one that
    /// another server knows and this one does not (rule 23 of docs/zab.md).
    pub fn take_part(&self, core: &Core) -> bool {
        let base = core.joint.base().version();
        let needs_vote = |peer: &Notification| peer.may_vote && peer.receiver_votes && peer.config.0 >= base;
        core.is_voter() || self.latest.values().any(needs_vote)
    }

    /// The servers that were heard of: those that said something, and those that others follow.
    pub fn heard_of(&self) -> impl Iterator<Item = ServerId> + '_ {
        let leads = |(server, peer): (&ServerId, &Notification)| match peer.state {
            PeerState::Looking => [*server; 2],
            PeerState::Following | PeerState::Leading => [*server, peer.vote.server_id],
        };
        self.latest.iter().flat_map(leads)
    }

    /// The newest configuration that another server knows to be decided.
    pub fn newest_config(&self) -> Zxid {
        self.latest.values().map(|peer| peer.config).max().unwrap_or_default()
    }

    /// True if those that can be heard make a quorum with this server.
    pub fn are_enough(&self, core: &Core) -> bool {
        core.joint.is_quorum(self.latest.keys().copied().chain([core.config.id]))
    }

    /// It was heard, and could lead: its vote counts, it is a voter as far as it knows itself, and it is not against being
    /// elected. The configuration that makes it a voter may be unknown here (rule 23 of docs/zab.md).
    fn is_willing(&self, server: ServerId) -> bool {
        self.latest.get(&server).is_some_and(|peer| peer.may_vote && peer.voter && !peer.abstains)
    }

    /// The voters whose votes do not count, this server included, and those that are not heard.
    pub fn missing_votes(&self, core: &Core) -> (Vec<ServerId>, Vec<ServerId>) {
        let own = core.config.id;
        let is_heard = |voter: &ServerId| *voter == own || self.latest.contains_key(voter);
        let (heard, unheard): (Vec<ServerId>, Vec<ServerId>) =
            core.joint.voters().into_iter().partition(is_heard);
        let counts = |voter: &ServerId| match self.latest.get(voter) {
            // Before its disk is at rest a server that looks has no vote for anybody yet.
            Some(peer) => peer.may_vote || peer.abstains,
            None => core.may_vote(),
        };
        (heard.into_iter().filter(|voter| !counts(voter)).collect(), unheard)
    }

    fn newest_round(&self) -> u64 {
        let looking = self.latest.values().filter(|peer| peer.state == PeerState::Looking && peer.voter);
        looking.map(|peer| peer.round).max().unwrap_or(0)
    }
}

/// What the election came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decision {
    /// this server is to lead
    Lead,
    /// another one is
    Follow(ServerId),
}

/// One server's view of an election.
#[derive(Debug)]
pub struct Election {
    /// Rises with every election that this server begins or joins.
    round: u64,
    vote: Vote,
    /// The vote cannot be cast before the disk has done all it was asked for: only then is the end of the log known to
    /// be durable, and no late completion of an older role can change it.
    drained: bool,
    /// This server does not want to lead.
    abstains: bool,
    /// A quorum agrees since; the others get a moment to bring a better vote.
    agreed_since: Option<Tick>,
    /// A quorum wants this server since, which wants another.
    wanted_since: Option<Tick>,
    saving_may_vote: bool,
    /// With which vote to begin, as the last leader said when it left (rule 20 of docs/zab.md).
    suggested: Option<Vote>,
}

impl Election {
    /// Begins a new round after `previous_round`, with the vote that was suggested if it is a good one.
    pub fn new(core: &Core, previous_round: u64, suggested: Option<Vote>) -> Election {
        Election {
            round: previous_round + 1,
            vote: core.own_vote(),
            drained: false,
            abstains: core.abstains(),
            agreed_since: None,
            wanted_since: None,
            saving_may_vote: false,
            suggested,
        }
    }

    /// The round this server takes part in.
    pub fn round(&self) -> u64 {
        self.round
    }

    /// True if the disk has done all that an older role asked for.
    pub fn is_drained(&self) -> bool {
        self.drained
    }

    /// The vote of this server.
    pub fn vote(&self) -> Vote {
        self.vote
    }

    /// The election begins, a server said something or is gone, or time has passed: looks at everything again.
    pub fn advance(&mut self, core: &mut Core, peers: &Peers) -> Option<Decision> {
        if !self.drained {
            if !core.disk_is_idle() && !has(Mutant::VoteBeforeDrained) {
                return None;
            }
            self.drained = true;
            assert!(
                core.synced == core.history.last() || has(Mutant::VoteBeforeDrained),
                "with an idle disk the whole log is durable"
            );
            self.vote = self.first_vote(core, peers);
            self.announce(core, peers);
        }
        self.maybe_become_voter(core, peers);
        if self.saving_may_vote || core.now < core.looks_after {
            return None;
        }
        if let Some(leader) = established_leader(core, peers) {
            return Some(Decision::Follow(leader));
        }
        if !peers.take_part(core) {
            return None;
        }
        self.revise_vote(core, peers);
        self.decide(core, peers)
    }

    /// The disk has done something.
    pub fn on_milestone(&mut self, core: &mut Core, peers: &Peers, milestone: Milestone) -> Option<Decision> {
        if milestone == Milestone::EpochSaved(SavePurpose::MayVote) {
            tracing::info!("this server's disk is empty as expected; it takes part in elections");
            self.saving_may_vote = false;
            self.announce(core, peers);
        }
        self.advance(core, peers)
    }

    /// An empty disk may be a lost disk. It is a new one if every voter is empty, and agrees that this server is to vote:
    /// otherwise it is to join an ensemble that begins without it (rule 4 of docs/zab.md).
    fn maybe_become_voter(&mut self, core: &mut Core, peers: &Peers) {
        if core.epoch.may_vote || self.saving_may_vote || !core.is_empty() || !core.is_voter() {
            return;
        }
        let own = core.config.id;
        let all_empty = core.joint.voters().into_iter().all(|voter| {
            voter == own
                || peers
                    .latest
                    .get(&voter)
                    .is_some_and(|peer| peer.empty && (peer.receiver_votes || has(Mutant::JoinerBeginsAnew)))
        });
        if all_empty {
            self.saving_may_vote = true;
            let record = super::EpochRecord { may_vote: true, promises_lost: false, ..core.epoch.clone() };
            core.save_epoch(record, SavePurpose::MayVote);
        }
    }

    /// Joins a newer round, and takes the greatest vote among those heard in it (rules 1 and 2 of docs/zab.md).
    fn revise_vote(&mut self, core: &mut Core, peers: &Peers) {
        let mut changed = false;
        if peers.newest_round() > self.round {
            self.round = peers.newest_round();
            self.vote = self.first_vote(core, peers);
            changed = true;
        }
        let has_own_vote = self.vote.server_id == core.config.id;
        let candidate_is_gone = !has_own_vote && !self.is_candidate(core, peers, &self.vote);
        let wants_to_lead_again = self.abstains && !core.abstains();
        self.abstains = core.abstains();
        if candidate_is_gone || wants_to_lead_again {
            self.round += 1;
            self.suggested = None;
            self.vote = core.own_vote();
            changed = true;
        }
        let best = self.votes_of_round(peers).filter(|vote| self.is_candidate(core, peers, vote)).max();
        if let Some(best) = best
            && (best > self.vote || !self.may_lead(core) && self.vote.server_id == core.config.id)
        {
            self.vote = best;
            changed = true;
        }
        if changed {
            (self.agreed_since, self.wanted_since) = (None, None);
            self.announce(core, peers);
        }
    }

    /// The vote to begin a round with: the one that was suggested, unless this server has more itself, or does not hear
    /// whom it is for.
    fn first_vote(&self, core: &Core, peers: &Peers) -> Vote {
        let own = core.own_vote();
        let has_less =
            |vote: &Vote| (vote.current_epoch, vote.last_zxid) < (own.current_epoch, own.last_zxid);
        let is_good = |vote: &Vote| !has_less(vote) && self.is_candidate(core, peers, vote);
        self.suggested.filter(is_good).unwrap_or(own)
    }

    fn votes_of_round<'a>(&'a self, peers: &'a Peers) -> impl Iterator<Item = Vote> + 'a {
        let looking = peers.latest.values().filter(|peer| peer.state == PeerState::Looking);
        let looking = looking.filter(|peer| peer.may_vote && peer.voter);
        looking.filter(|peer| peer.round == self.round).map(|peer| peer.vote)
    }

    /// False: a vote for this server itself counts for nobody.
    fn may_lead(&self, core: &Core) -> bool {
        core.may_vote() && !self.abstains
    }

    /// Only a voter that can be heard is worth a vote: a server that died since stays in the votes of those who have
    /// not noticed. And none that abstains. For this server itself only its own vote is one: others may still vote for
    /// what it had before its disk was lost.
    fn is_candidate(&self, core: &Core, peers: &Peers, vote: &Vote) -> bool {
        match vote.server_id == core.config.id {
            true => !self.abstains && *vote == core.own_vote() && peers.take_part(core),
            false => peers.is_willing(vote.server_id),
        }
    }

    /// A quorum wants the same server. Unless everybody that can be heard does, a moment passes first, so that a server
    /// with more may still be chosen (rule 3 of docs/zab.md). Safety does not depend on it.
    fn decide(&mut self, core: &mut Core, peers: &Peers) -> Option<Decision> {
        let own = core.config.id;
        if !core.may_vote() || self.vote.server_id == own && self.abstains {
            return None;
        }
        let is_wanted = self.is_wanted(core, peers);
        let supporters =
            peers.latest.iter().filter(|(_, peer)| self.supports(peer)).map(|(server, _)| *server);
        if !core.joint.is_quorum(supporters.chain([own])) {
            self.agreed_since = None;
            if !is_wanted {
                return None;
            }
            self.vote = core.own_vote();
            return Some(Decision::Lead);
        }
        let since = *self.agreed_since.get_or_insert(core.now);
        // Those as well that are voters of a configuration which only others know: one of them may have the better vote.
        let mut voters_heard = peers
            .latest
            .iter()
            .filter(|(server, peer)| peer.may_vote && (peer.voter || core.joint.is_voter(**server)));
        let unanimous = voters_heard.all(|(_, peer)| self.supports(peer));
        if !unanimous && core.now.ms_since(since) < core.config.settle_ms {
            return None;
        }
        Some(if self.vote.server_id == own { Decision::Lead } else { Decision::Follow(self.vote.server_id) })
    }

    /// With this server a quorum would have it lead, and has wanted that for a moment. If no quorum wants the one that this
    /// server wants, the others do not hear that one, and would wait for this server in vain (rule 3 of docs/zab.md).
    fn is_wanted(&mut self, core: &Core, peers: &Peers) -> bool {
        let own_vote = core.own_vote();
        let wants_it = |peer: &Notification| {
            peer.may_vote && peer.round == self.round && peer.vote == own_vote && self.may_lead(core)
        };
        let wanting = peers.latest.iter().filter(|(_, peer)| wants_it(peer)).map(|(server, _)| *server);
        if !core.joint.is_quorum(wanting.chain([core.config.id])) {
            self.wanted_since = None;
            return false;
        }
        core.now.ms_since(*self.wanted_since.get_or_insert(core.now)) >= core.config.settle_ms
    }

    /// True for a vote for the same server in this round, and for the candidate that already leads on it or a follower
    /// of it.
    fn supports(&self, peer: &Notification) -> bool {
        peer.may_vote && peer.round == self.round && peer.vote == self.vote
    }

    /// Tells the others. While the disk has something to do they only learn that the older role is over.
    pub fn announce(&self, core: &mut Core, peers: &Peers) {
        let notification = self.notification(core, peers);
        announce(core, peers, &notification);
    }

    /// What the others are told.
    pub fn notification(&self, core: &Core, peers: &Peers) -> Notification {
        let nothing = Vote { current_epoch: Epoch(0), last_zxid: Zxid::ZERO, server_id: core.config.id };
        Notification {
            state: PeerState::Looking,
            round: self.round,
            vote: if self.drained { self.vote } else { nothing },
            may_vote: core.may_vote() && self.drained,
            voter: peers.take_part(core),
            receiver_votes: false,
            config: Zxid(core.joint.base().version()),
            abstains: self.abstains || !self.drained,
            empty: core.is_empty(),
            epoch: Epoch(0),
        }
    }
}

/// Tells one server the own state, and whether it votes by what is known here.
pub fn tell(core: &mut Core, to: ServerId, notification: &Notification) {
    let notification = Notification { receiver_votes: core.joint.is_voter(to), ..notification.clone() };
    core.output(Output::Notify { to, notification });
}

/// A voter tells every other server its state, members and strangers. Who does not vote is told of leaders by this, and
/// shows those who vote that it is there. Where the ensemble may change, that may be any of them: who was an observer may
/// lead by now, and know nothing of this server (rule 23 of docs/zab.md).
pub fn announce(core: &mut Core, peers: &Peers, notification: &Notification) {
    let strangers = peers.heard_of();
    let mut others: BTreeSet<ServerId> = core.joint.members().into_iter().chain(strangers).collect();
    others.remove(&core.config.id);
    if !notification.voter && !core.config.records_ensemble {
        let observes = |to| core.joint.observes(to) && peers.latest.get(&to).is_none_or(|peer| !peer.voter);
        others.retain(|to| !observes(*to));
    }
    others.into_iter().for_each(|to| tell(core, to, notification));
}

/// A leader that says so itself, and that enough voters follow, this server included: joined without an election
/// (rule 3 of docs/zab.md). Who has no vote, or knows less of the ensemble than that leader, need not know who is enough
/// (rule 23): nobody but an established leader can make use of it.
fn established_leader(core: &Core, peers: &Peers) -> Option<ServerId> {
    let leaders = peers
        .latest
        .iter()
        .filter(|(server, peer)| peer.state == PeerState::Leading && peer.vote.server_id == **server);
    let is_enough = |leader: ServerId| {
        let behind_it = peers.latest.iter().filter(|(_, peer)| {
            peer.may_vote && peer.state != PeerState::Looking && peer.vote.server_id == leader
        });
        let own = core.may_vote().then_some(core.config.id);
        // A configuration in the own log may be nowhere else any more: then nobody needs a quorum of it.
        let behind_it: Vec<ServerId> = behind_it.map(|(server, _)| *server).chain(own).collect();
        core.joint.is_quorum_of_one(&behind_it)
    };
    let has_vote = core.may_vote() && peers.take_part(core);
    let knows_more = |peer: &Notification| peer.config.0 > core.joint.base().version();
    let newest = leaders
        .clone()
        .filter(|(_, peer)| !has_vote || knows_more(peer))
        .max_by_key(|(_, peer)| (peer.config, peer.epoch));
    let enough = leaders.map(|(leader, _)| *leader).find(|leader| is_enough(*leader));
    enough.or(newest.map(|(leader, _)| *leader))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zab::history::History;
    use crate::zab::io::EpochRecord;
    use crate::zab::joint::Joint;
    use crate::zab::message::{HistorySummary, Proposal};
    use crate::zab::{Ensemble, Member};

    fn core() -> Core {
        let config = crate::zab::Config {
            id: ServerId(1),
            ensemble: crate::zab::Ensemble::of_equals((1..=3).map(ServerId)),
            ensemble_of: |_| None,
            records_ensemble: false,
            heartbeat_ms: 40,
            peer_timeout_ms: 240,
            sync_timeout_ms: 1000,
            disk_timeout_ms: 1000,
            observer_delay_ms: 0,
            is_fed: false,
            settle_ms: 20,
            recent_bytes_max: 1 << 20,
            batch_bytes_max: 1 << 20,
            unacked_bytes_max: 1 << 20,
            epoch_txns_max: u32::MAX,
            new_ensemble_id: 1,
        };
        let record = EpochRecord { may_vote: true, ..EpochRecord::default() };
        let history = History::new(HistorySummary::default(), Vec::new(), Zxid::ZERO, 1 << 20);
        Core::new(config, record, history, Zxid::ZERO)
    }

    /// A voter that looks in the first round.
    fn voter() -> Notification {
        Notification {
            state: PeerState::Looking,
            round: 1,
            vote: Vote { current_epoch: Epoch(0), last_zxid: Zxid::ZERO, server_id: ServerId(1) },
            may_vote: true,
            voter: true,
            receiver_votes: false,
            config: Zxid::ZERO,
            abstains: false,
            empty: false,
            epoch: Epoch(0),
        }
    }

    #[test]
    fn who_does_not_vote_tells_nothing_and_joins_whom_a_quorum_follows_when_its_delay_is_over() {
        let (mut core, mut peers) = (core(), Peers::default());
        let members = [(1, Member::Observer), (2, Member::EQUAL), (3, Member::EQUAL), (4, Member::EQUAL)];
        core.joint = Joint::new(Ensemble::new(0, members.map(|(id, member)| (ServerId(id), member)).into()));
        core.looks_after = Tick(100);
        let vote = Vote { current_epoch: Epoch(0), last_zxid: Zxid::ZERO, server_id: ServerId(2) };
        for (peer, state) in [(2, PeerState::Leading), (3, PeerState::Following)] {
            let (round, epoch) = (1, Epoch(1));
            let notification = Notification { state, round, vote, epoch, ..voter() };
            peers.on_notification(ServerId(peer), notification);
        }
        let mut election = Election::new(&core, 0, None);
        core.now = Tick(99);
        assert_eq!(election.advance(&mut core, &peers), None, "its delay is not over");
        core.now = Tick(100);
        assert_eq!(election.advance(&mut core, &peers), Some(Decision::Follow(ServerId(2))));
        peers.on_peer_gone(ServerId(3));
        assert_eq!(
            election.advance(&mut core, &peers),
            Some(Decision::Follow(ServerId(2))),
            "it has no vote that could be wasted"
        );
        let told =
            |output: Output| matches!(output, Output::Notify { notification, .. } if notification.voter);
        assert!(!core.take_outputs().into_iter().any(told));
    }

    #[test]
    fn who_is_told_that_it_votes_takes_part_and_who_knows_less_follows_who_leads() {
        let (mut core, mut peers) = (core(), Peers::default());
        core.joint = Joint::new(Ensemble::of_equals([2, 3].map(ServerId)));
        let mut election = Election::new(&core, 0, None);
        let vote = Vote { current_epoch: Epoch(0), last_zxid: Zxid::ZERO, server_id: ServerId(2) };
        let looks = Notification { vote, ..voter() };
        peers.on_notification(ServerId(2), looks.clone());
        peers.on_notification(ServerId(3), looks.clone());
        assert_eq!(election.advance(&mut core, &peers), None, "it has no vote");
        assert_eq!(election.vote().server_id, ServerId(1));
        peers.on_notification(ServerId(2), Notification { receiver_votes: true, ..looks });
        assert_eq!(election.advance(&mut core, &peers), Some(Decision::Follow(ServerId(2))));
        core.joint = Joint::new(Ensemble::of_equals([1, 5, 6].map(ServerId)));
        let mut election = Election::new(&core, 0, None);
        let leads = Notification { state: PeerState::Leading, vote, round: 9, ..voter() };
        peers.on_notification(ServerId(2), leads.clone());
        assert_eq!(election.advance(&mut core, &peers), None, "nobody of its ensemble follows that one");
        peers.on_notification(ServerId(2), Notification { config: Zxid(7), ..leads });
        assert_eq!(election.advance(&mut core, &peers), Some(Decision::Follow(ServerId(2))));
    }

    #[test]
    fn a_configuration_that_only_the_own_log_holds_keeps_nobody_from_a_leader() {
        let (mut core, mut peers) = (core(), Peers::default());
        core.joint = Joint::new(Ensemble::of_equals([2, 3].map(ServerId)));
        core.joint.append(Ensemble::of_equals([1, 3, 4, 5].map(ServerId)).with_version(Zxid(7)));
        let vote = Vote { current_epoch: Epoch(0), last_zxid: Zxid::ZERO, server_id: ServerId(2) };
        let mut election = Election::new(&core, 0, None);
        let leads = Notification { state: PeerState::Leading, vote, round: 9, ..voter() };
        peers.on_notification(ServerId(2), leads.clone());
        assert_eq!(election.advance(&mut core, &peers), None, "no quorum of either is behind it");
        peers.on_notification(ServerId(3), Notification { state: PeerState::Following, ..leads });
        assert_eq!(election.advance(&mut core, &peers), Some(Decision::Follow(ServerId(2))));
    }

    #[test]
    fn where_the_ensemble_may_change_observers_are_told_of_who_does_not_vote() {
        for (records_ensemble, expected) in [(false, vec![2]), (true, vec![2, 3])] {
            let mut core = core();
            core.config.records_ensemble = records_ensemble;
            let members =
                [(2, Member::EQUAL), (3, Member::Observer)].map(|(id, member)| (ServerId(id), member));
            core.joint = Joint::new(Ensemble::new(1, members.into()));
            let peers = Peers::default();
            Election::new(&core, 0, None).announce(&mut core, &peers);
            let told = core.take_outputs().into_iter().filter_map(|output| match output {
                Output::Notify { to, .. } => Some(to.0),
                _ => None,
            });
            assert_eq!(told.collect::<Vec<_>>(), expected, "one of them may lead by now");
        }
    }

    #[test]
    fn an_empty_disk_is_a_new_one_if_all_voters_are_empty_and_count_with_its_server() {
        let (mut core, mut peers) = (core(), Peers::default());
        core.epoch.may_vote = false;
        let mut election = Election::new(&core, 0, None);
        let saves =
            |core: &mut Core| core.take_outputs().iter().any(|output| matches!(output, Output::Disk { .. }));
        for (peer, receiver_votes) in [(2, true), (3, false), (3, true)] {
            assert_eq!(election.advance(&mut core, &peers), None);
            assert!(!saves(&mut core), "server {peer} has not said yet that it is one of them");
            peers.on_notification(
                ServerId(peer),
                Notification { empty: true, receiver_votes, may_vote: false, ..voter() },
            );
        }
        assert_eq!(election.advance(&mut core, &peers), None);
        assert!(saves(&mut core));
    }

    #[test]
    fn a_vote_that_was_suggested_is_taken_unless_it_is_for_one_with_less_or_unheard() {
        let (mut core, mut peers) = (core(), Peers::default());
        core.append(Proposal { zxid: Zxid::new(Epoch(1), 1), txn: bytes::Bytes::new() });
        let first_vote = |core: &Core, peers: &Peers, counter| {
            let last_zxid = Zxid::new(Epoch(1), counter);
            let vote = Vote { current_epoch: Epoch(0), last_zxid, server_id: ServerId(2) };
            Election::new(core, 0, Some(vote)).first_vote(core, peers).server_id
        };
        assert_eq!(first_vote(&core, &peers, 1), ServerId(1), "it is not heard");
        let vote = core.own_vote();
        let (epoch, state) = (Epoch(1), PeerState::Following);
        peers.on_notification(ServerId(2), Notification { state, vote, epoch, ..voter() });
        assert_eq!(first_vote(&core, &peers, 1), ServerId(2));
        assert_eq!(first_vote(&core, &peers, 0), ServerId(1), "it has less");
    }

    #[test]
    fn a_server_that_lost_its_disk_does_not_take_up_the_votes_for_what_it_had() {
        let (mut core, mut peers) = (core(), Peers::default());
        let vote =
            Vote { current_epoch: Epoch(9), last_zxid: Zxid::new(Epoch(9), 3), server_id: ServerId(1) };
        let notification = Notification { vote, epoch: Epoch(9), ..voter() };
        for peer in [2, 3].map(ServerId) {
            peers.on_notification(peer, notification.clone());
        }
        let mut election = Election::new(&core, 0, None);
        assert_eq!(election.advance(&mut core, &peers), None, "nobody wants what it has");
        assert_eq!(election.vote(), core.own_vote());
    }
}
