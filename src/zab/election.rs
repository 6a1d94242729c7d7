//! Looking: who should lead. Every server tells the others its newest state, and judges by the newest state of every
//! server that it hears; nothing depends on having seen what lies between (rules 1 to 4 of docs/zab.md).

use std::collections::BTreeMap;

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

    /// True if those that can be heard make a quorum with this server.
    pub fn are_enough(&self, core: &Core) -> bool {
        core.ensemble.is_quorum(self.latest.keys().copied().chain([core.config.id]))
    }

    /// It was heard, and could lead: its vote counts, and it is not against being elected.
    fn is_willing(&self, server: ServerId) -> bool {
        self.latest.get(&server).is_some_and(|peer| peer.may_vote && !peer.abstains)
    }

    /// The voters whose votes do not count, this server included, and those that are not heard.
    pub fn missing_votes(&self, core: &Core) -> (Vec<ServerId>, Vec<ServerId>) {
        let own = core.config.id;
        let is_heard = |voter: &ServerId| *voter == own || self.latest.contains_key(voter);
        let (heard, unheard): (Vec<ServerId>, Vec<ServerId>) = core.ensemble.voters().partition(is_heard);
        let counts = |voter: &ServerId| match self.latest.get(voter) {
            // Before its disk is at rest a server that looks has no vote for anybody yet.
            Some(peer) => peer.may_vote || peer.abstains,
            None => core.may_vote(),
        };
        (heard.into_iter().filter(|voter| !counts(voter)).collect(), unheard)
    }

    fn newest_round(&self) -> u64 {
        let looking = self.latest.values().filter(|peer| peer.state == PeerState::Looking);
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
            self.announce(core);
        }
        self.maybe_become_voter(core, peers);
        if self.saving_may_vote || core.now < core.looks_after {
            return None;
        }
        if let Some(leader) = established_leader(core, peers) {
            return Some(Decision::Follow(leader));
        }
        if !core.is_voter() {
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
            self.announce(core);
        }
        self.advance(core, peers)
    }

    /// An empty disk may be a lost disk. It is a new one if every voter is empty (rule 4 of docs/zab.md).
    fn maybe_become_voter(&mut self, core: &mut Core, peers: &Peers) {
        if core.epoch.may_vote || self.saving_may_vote || !core.is_empty() || !core.is_voter() {
            return;
        }
        let own = core.config.id;
        let all_empty = core
            .ensemble
            .voters()
            .all(|voter| voter == own || peers.latest.get(&voter).is_some_and(|peer| peer.empty));
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
            self.announce(core);
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
        let looking = peers.latest.values().filter(|peer| peer.state == PeerState::Looking && peer.may_vote);
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
        core.ensemble.is_voter(vote.server_id)
            && match vote.server_id == core.config.id {
                true => !self.abstains && *vote == core.own_vote(),
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
        if !core.ensemble.is_quorum(supporters.chain([own])) {
            self.agreed_since = None;
            if !is_wanted {
                return None;
            }
            self.vote = core.own_vote();
            return Some(Decision::Lead);
        }
        let since = *self.agreed_since.get_or_insert(core.now);
        let voters_heard =
            peers.latest.iter().filter(|(server, peer)| core.ensemble.is_voter(**server) && peer.may_vote);
        let unanimous = voters_heard.clone().all(|(_, peer)| self.supports(peer));
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
        if !core.ensemble.is_quorum(wanting.chain([core.config.id])) {
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
    pub fn announce(&self, core: &mut Core) {
        let nothing = Vote { current_epoch: Epoch(0), last_zxid: Zxid::ZERO, server_id: core.config.id };
        let notification = Notification {
            state: PeerState::Looking,
            round: self.round,
            vote: if self.drained { self.vote } else { nothing },
            may_vote: core.may_vote() && self.drained,
            abstains: self.abstains || !self.drained,
            empty: core.is_empty(),
            epoch: Epoch(0),
        };
        announce(core, &notification);
    }
}

/// A voter tells every other server its state. Who does not vote hears of leaders by this, and has nothing to tell.
pub fn announce(core: &mut Core, notification: &Notification) {
    let own = core.config.id;
    let members = core.ensemble.members().map(|(server, _)| server);
    let others: Vec<ServerId> = members.filter(|server| core.is_voter() && *server != own).collect();
    for to in others {
        core.output(Output::Notify { to, notification: notification.clone() });
    }
}

/// A leader that says so itself, and that enough voters follow, this server included: joined without an election
/// (rule 3 of docs/zab.md).
fn established_leader(core: &Core, peers: &Peers) -> Option<ServerId> {
    let leaders = peers.latest.iter().filter(|(server, peer)| {
        peer.state == PeerState::Leading
            && peer.vote.server_id == **server
            && core.ensemble.is_voter(**server)
    });
    leaders.map(|(leader, _)| *leader).find(|leader| {
        let behind_it = peers.latest.iter().filter(|(_, peer)| {
            peer.may_vote && peer.state != PeerState::Looking && peer.vote.server_id == *leader
        });
        let own = core.may_vote().then_some(core.config.id);
        core.ensemble.is_quorum(behind_it.map(|(server, _)| *server).chain(own))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zab::history::History;
    use crate::zab::io::EpochRecord;
    use crate::zab::message::{HistorySummary, Proposal};
    use crate::zab::{Ensemble, Member};

    fn core() -> Core {
        let config = crate::zab::Config {
            id: ServerId(1),
            ensemble: crate::zab::Ensemble::of_equals((1..=3).map(ServerId)),
            heartbeat_ms: 40,
            peer_timeout_ms: 240,
            sync_timeout_ms: 1000,
            disk_timeout_ms: 1000,
            observer_delay_ms: 0,
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

    #[test]
    fn who_does_not_vote_tells_nothing_and_joins_whom_a_quorum_follows_when_its_delay_is_over() {
        let (mut core, mut peers) = (core(), Peers::default());
        let members = [(1, Member::Observer), (2, Member::EQUAL), (3, Member::EQUAL), (4, Member::EQUAL)];
        core.ensemble = Ensemble::new(0, members.map(|(id, member)| (ServerId(id), member)).into());
        core.looks_after = Tick(100);
        let vote = Vote { current_epoch: Epoch(0), last_zxid: Zxid::ZERO, server_id: ServerId(2) };
        for (peer, state) in [(2, PeerState::Leading), (3, PeerState::Following)] {
            let (round, epoch) = (1, Epoch(1));
            let (may_vote, abstains, empty) = (true, false, false);
            let notification = Notification { state, round, vote, may_vote, abstains, empty, epoch };
            peers.on_notification(ServerId(peer), notification);
        }
        let mut election = Election::new(&core, 0, None);
        core.now = Tick(99);
        assert_eq!(election.advance(&mut core, &peers), None, "its delay is not over");
        core.now = Tick(100);
        assert_eq!(election.advance(&mut core, &peers), Some(Decision::Follow(ServerId(2))));
        peers.on_peer_gone(ServerId(3));
        assert_eq!(election.advance(&mut core, &peers), None, "with it, one follower less is no quorum");
        assert!(core.take_outputs().is_empty());
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
        let (round, epoch, state) = (1, Epoch(1), PeerState::Following);
        let (may_vote, abstains, empty) = (true, false, false);
        peers.on_notification(
            ServerId(2),
            Notification { state, round, vote, may_vote, abstains, empty, epoch },
        );
        assert_eq!(first_vote(&core, &peers, 1), ServerId(2));
        assert_eq!(first_vote(&core, &peers, 0), ServerId(1), "it has less");
    }

    #[test]
    fn a_server_that_lost_its_disk_does_not_take_up_the_votes_for_what_it_had() {
        let (mut core, mut peers) = (core(), Peers::default());
        let vote =
            Vote { current_epoch: Epoch(9), last_zxid: Zxid::new(Epoch(9), 3), server_id: ServerId(1) };
        let (round, epoch) = (1, Epoch(9));
        let notification = Notification {
            state: PeerState::Looking,
            round,
            vote,
            may_vote: true,
            abstains: false,
            empty: false,
            epoch,
        };
        for peer in [2, 3].map(ServerId) {
            peers.on_notification(peer, notification.clone());
        }
        let mut election = Election::new(&core, 0, None);
        assert_eq!(election.advance(&mut core, &peers), None, "nobody wants what it has");
        assert_eq!(election.vote(), core.own_vote());
    }
}
