//! Rule 24 of docs/zab.md: an observer is fed by a follower. Three servers whose disks and connections do at once what
//! they should, unless a test holds something back.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::*;

const HEARTBEAT_MS: u64 = 40;
const PEER_TIMEOUT_MS: u64 = 240;

const LEADER: ServerId = ServerId(2);
const FOLLOWER: ServerId = ServerId(1);
const OBSERVER: ServerId = ServerId(3);
/// The connection between the follower and the observer.
const FEED: LinkId = LinkId(99);
/// Makes the observer a voter.
const GROW: &[u8] = b"grow";

#[derive(Debug)]
struct Server {
    zab: Zab,
    delivered: Zxid,
    seeks: Option<ServerId>,
}

/// What travels: from whom, over what, what.
type Sent = (ServerId, LinkId, Message);

struct Trio {
    servers: BTreeMap<ServerId, Server>,
    now: Tick,
    /// Who is at the ends of a connection.
    links: BTreeMap<LinkId, [ServerId; 2]>,
    /// What was sent by these and is kept back.
    held: Vec<Sent>,
    holds: fn(&Sent) -> bool,
    /// Everything that was sent, and why connections were closed.
    sent: Vec<Sent>,
    closed: Vec<(LinkId, String)>,
}

fn server(id: ServerId, recent_bytes_max: usize) -> Server {
    let members =
        [(LEADER, Member::EQUAL), (FOLLOWER, Member::EQUAL), (OBSERVER, Member::Observer)].into_iter();
    let config = Config {
        id,
        ensemble: Ensemble::new(0, members.collect()),
        ensemble_of: |txn| (txn == GROW).then(|| Ensemble::of_equals([FOLLOWER, LEADER, OBSERVER])),
        records_ensemble: false,
        heartbeat_ms: HEARTBEAT_MS,
        peer_timeout_ms: PEER_TIMEOUT_MS,
        sync_timeout_ms: 1000,
        disk_timeout_ms: 1000,
        observer_delay_ms: 0,
        is_fed: true,
        settle_ms: 20,
        recent_bytes_max,
        batch_bytes_max: 1 << 20,
        unacked_bytes_max: 1 << 20,
        epoch_txns_max: u32::MAX,
        new_ensemble_id: 1,
    };
    let recovered = Recovered {
        epoch: EpochRecord { data_dir_id: u64::from(id.0), may_vote: true, ..EpochRecord::default() },
        history: HistorySummary::default(),
        recent: Vec::new(),
        before_recent: Zxid::ZERO,
        committed: Zxid::ZERO,
    };
    Server { zab: Zab::new(config, recovered, Tick(1)), delivered: Zxid::ZERO, seeks: None }
}

impl Trio {
    /// All of them have the first transaction, and the observer looks for somebody who feeds it.
    fn new() -> Trio {
        Trio::with_memory(1 << 20)
    }

    fn with_memory(recent_bytes_max: usize) -> Trio {
        let ids = [FOLLOWER, LEADER, OBSERVER];
        let mut trio = Trio {
            servers: ids.into_iter().map(|id| (id, server(id, recent_bytes_max))).collect(),
            now: Tick(1),
            links: BTreeMap::new(),
            held: Vec::new(),
            holds: |_| false,
            sent: Vec::new(),
            closed: Vec::new(),
        };
        trio.settle();
        while trio.servers[&OBSERVER].seeks.is_none() {
            trio.pass(HEARTBEAT_MS / 2);
        }
        assert!(matches!(trio.servers[&LEADER].zab.state, State::Leading(_)), "it has the greater id");
        trio.propose(1);
        trio
    }

    /// The same, and the follower feeds it.
    fn fed() -> Trio {
        let mut trio = Trio::new();
        trio.connect();
        assert_eq!(trio.servers[&FOLLOWER].zab.feeds(), 1);
        trio
    }

    fn connect(&mut self) {
        self.links.insert(FEED, [OBSERVER, FOLLOWER]);
        self.step(FOLLOWER, Input::FeedUp { link: FEED, peer: OBSERVER, dialled: false });
        self.step(OBSERVER, Input::FeedUp { link: FEED, peer: FOLLOWER, dialled: true });
        self.settle();
    }

    fn cut_feed(&mut self) {
        self.links.remove(&FEED);
        self.step(FOLLOWER, Input::LinkDown { link: FEED });
        self.step(OBSERVER, Input::LinkDown { link: FEED });
    }

    fn propose(&mut self, count: usize) -> Zxid {
        let leader = &mut self.servers.get_mut(&LEADER).expect("there is one").zab;
        let zxid = (0..count).map(|_| leader.propose(Bytes::from_static(b"txn"))).last();
        self.settle();
        zxid.expect("there is one at least")
    }

    fn propose_txn(&mut self, txn: &'static [u8]) -> Zxid {
        let zxid = self.servers.get_mut(&LEADER).expect("there is one").zab.propose(Bytes::from_static(txn));
        self.settle();
        zxid
    }

    fn pass(&mut self, ms: u64) {
        self.now = self.now.after_ms(ms);
        for id in [FOLLOWER, LEADER, OBSERVER] {
            self.step(id, Input::Tick);
        }
        self.settle();
    }

    fn step(&mut self, id: ServerId, input: Input) {
        self.servers.get_mut(&id).expect("one of them").zab.step(self.now, input);
        self.carry_out(id);
    }

    fn settle(&mut self) {
        for _ in 0..12 {
            for id in [FOLLOWER, LEADER, OBSERVER] {
                self.servers.get_mut(&id).expect("one of them").zab.flush();
                self.carry_out(id);
            }
        }
    }

    fn release(&mut self) {
        self.holds = |_| false;
        for (from, link, message) in std::mem::take(&mut self.held) {
            self.arrive(from, link, message);
        }
        self.settle();
    }

    fn arrive(&mut self, from: ServerId, link: LinkId, message: Message) {
        let Some(ends) = self.links.get(&link) else { return };
        let to = if ends[0] == from { ends[1] } else { ends[0] };
        self.step(to, Input::Message { link, message });
    }

    fn carry_out(&mut self, id: ServerId) {
        let outputs = self.servers.get_mut(&id).expect("one of them").zab.take_outputs();
        for output in outputs {
            match output {
                Output::Disk { seq, .. } => self.step(id, Input::Disk(DiskDone::Synced { seq })),
                Output::Notify { to, notification } => {
                    self.step(to, Input::Notification { from: id, notification });
                }
                Output::Follow(Some(leader)) => {
                    let link = LinkId(u64::from(id.0));
                    self.links.insert(link, [id, leader]);
                    self.step(leader, Input::LinkUp { link, peer: id, dialled: false });
                    self.step(id, Input::LinkUp { link, peer: leader, dialled: true });
                }
                Output::SeekFeed(leader) => {
                    self.servers.get_mut(&id).expect("one of them").seeks = leader;
                }
                Output::Send { link, message } => {
                    let sent = (id, link, message);
                    self.sent.push(sent.clone());
                    if (self.holds)(&sent) {
                        self.held.push(sent);
                    } else {
                        self.arrive(sent.0, sent.1, sent.2);
                    }
                }
                Output::CloseLink { link, reason } => self.close(id, link, reason),
                Output::Deliver(proposals) => {
                    let newest = proposals.last().expect("there is one").zxid;
                    self.servers.get_mut(&id).expect("one of them").delivered = newest;
                }
                _ => {}
            }
        }
    }

    fn close(&mut self, id: ServerId, link: LinkId, reason: String) {
        let Some(ends) = self.links.remove(&link) else { return };
        self.closed.push((link, reason));
        let other = if ends[0] == id { ends[1] } else { ends[0] };
        self.step(other, Input::LinkDown { link });
    }

    fn delivered(&self) -> Zxid {
        self.servers[&OBSERVER].delivered
    }

    /// What was sent to the observer: by whom, of which transactions. The record begins anew.
    fn take_proposals(&mut self) -> Vec<(ServerId, Vec<u32>)> {
        let to_observer = |(from, link, message): Sent| match message {
            Message::Proposals { proposals, .. } if link == FEED || link == LinkId(u64::from(OBSERVER.0)) => {
                Some((from, proposals.iter().map(|proposal| proposal.zxid.counter()).collect()))
            }
            _ => None,
        };
        std::mem::take(&mut self.sent).into_iter().filter_map(to_observer).collect()
    }
}

fn to_observer_from_leader((_, link, _): &Sent) -> bool {
    *link == LinkId(u64::from(OBSERVER.0))
}

fn proposals_on_feed((_, link, message): &Sent) -> bool {
    *link == FEED && matches!(message, Message::Proposals { .. })
}

#[test]
fn the_follower_sends_what_is_proposed_and_the_leader_only_what_is_decided() {
    let mut trio = Trio::new();
    assert_eq!(trio.take_proposals(), [(LEADER, vec![1])]);
    trio.connect();
    let last = trio.propose(2);
    assert_eq!(trio.delivered(), last);
    assert!(trio.sent.contains(&(LEADER, LinkId(3), Message::Commit { through: last })));
    assert_eq!(trio.take_proposals(), [(FOLLOWER, vec![2, 3])]);
}

#[test]
fn a_server_that_votes_looks_for_nobody_to_be_fed_by() {
    let trio = Trio::new();
    assert_eq!(trio.servers[&OBSERVER].seeks, Some(LEADER));
    assert_eq!(trio.servers[&FOLLOWER].seeks, None);
}

#[test]
fn what_is_not_decided_is_logged_and_not_delivered() {
    let mut trio = Trio::fed();
    trio.holds = to_observer_from_leader;
    let last = trio.propose(1);
    assert_eq!(trio.servers[&OBSERVER].zab.last_logged(), last);
    assert!(trio.delivered() < last, "only the leader tells what is decided");
    trio.release();
    assert_eq!(trio.delivered(), last);
}

#[test]
fn what_is_decided_and_not_here_yet_is_delivered_when_it_comes() {
    let mut trio = Trio::fed();
    trio.holds = proposals_on_feed;
    let last = trio.propose(1);
    assert!(trio.delivered() < last);
    assert_eq!(trio.servers[&OBSERVER].zab.committed(), trio.delivered(), "nothing beyond the log is known");
    trio.release();
    assert_eq!((trio.delivered(), trio.closed.len()), (last, 0));
}

#[test]
fn when_the_follower_is_gone_the_leader_goes_on_at_the_very_next() {
    let mut trio = Trio::fed();
    trio.propose(1);
    trio.take_proposals();
    trio.cut_feed();
    let last = trio.propose(2);
    assert_eq!(trio.take_proposals(), [(LEADER, vec![3, 4])]);
    assert_eq!((trio.delivered(), trio.closed.len()), (last, 0));
}

#[test]
fn what_the_leader_sent_before_it_knew_is_not_taken_twice() {
    let mut trio = Trio::new();
    trio.holds = to_observer_from_leader;
    trio.propose(2);
    trio.connect();
    let last = trio.propose(1);
    assert_eq!(trio.servers[&OBSERVER].zab.last_logged(), last, "all three came from the follower");
    trio.release();
    trio.propose(1);
    assert_eq!((trio.delivered().counter(), trio.closed.len()), (5, 0));
}

#[test]
fn a_follower_that_does_not_have_what_is_decided_is_left() {
    let mut trio = Trio::fed();
    trio.holds = proposals_on_feed;
    let last = trio.propose(1);
    for _ in 0..=PEER_TIMEOUT_MS / HEARTBEAT_MS / 2 {
        trio.pass(HEARTBEAT_MS);
    }
    assert!(trio.closed[0].1.contains("behind the leader"), "{:?}", trio.closed);
    assert_eq!((trio.delivered(), trio.closed.len()), (last, 1));
}

#[test]
fn a_silent_follower_is_left_and_so_is_a_silent_observer() {
    let mut trio = Trio::fed();
    trio.holds = |(_, link, _)| *link == FEED;
    for _ in 0..=PEER_TIMEOUT_MS / HEARTBEAT_MS {
        trio.pass(HEARTBEAT_MS);
    }
    let reason = &trio.closed[0].1;
    assert!(reason.contains("silent") || reason.contains("nothing was heard"), "{reason}");
    assert_eq!((trio.closed.len(), trio.servers[&FOLLOWER].zab.feeds()), (1, 0));
    let last = trio.propose(1);
    assert_eq!(trio.delivered(), last);
}

fn proposal(epoch: u32, counter: u32) -> Proposal {
    Proposal { zxid: Zxid::new(Epoch(epoch), counter), txn: Bytes::from_static(b"txn") }
}

/// What an observer makes of something that the follower says: why it left it, if it did, and the end of its log.
fn told(previous: u32, proposals: Vec<Proposal>) -> (Option<String>, u32) {
    let mut trio = Trio::fed();
    let previous = Zxid::new(Epoch(1), previous);
    trio.arrive(FOLLOWER, FEED, Message::Proposals { previous, proposals, committed: Zxid::ZERO });
    let reason = trio.closed.pop().map(|(link, reason)| {
        assert_eq!(link, FEED, "{reason}");
        reason
    });
    assert!(trio.servers[&OBSERVER].zab.serving_epoch().is_some(), "the leader is not left for it");
    assert!(trio.delivered() <= Zxid::new(Epoch(1), 1));
    (reason, trio.servers[&OBSERVER].zab.last_logged().counter())
}

#[test]
fn a_gap_and_another_epoch_end_the_feed_and_what_is_there_is_dropped() {
    assert_eq!(told(0, vec![proposal(1, 1)]), (None, 1));
    assert_eq!(told(0, vec![proposal(1, 1), proposal(1, 2)]), (None, 2));
    let (reason, last) = told(2, vec![proposal(1, 3)]);
    assert!(reason.expect("a gap").contains("but the log ends at") && last == 1);
    let (reason, last) = told(1, vec![proposal(1, 3)]);
    assert!(reason.expect("a gap").contains("may not follow") && last == 1);
    let (reason, last) = told(1, vec![proposal(2, 1)]);
    assert!(reason.expect("another epoch").contains("may not follow") && last == 1);
}

#[test]
fn a_follower_that_leaves_its_leader_feeds_nobody() {
    let mut trio = Trio::fed();
    trio.links.remove(&LinkId(1));
    trio.step(FOLLOWER, Input::LinkDown { link: LinkId(1) });
    assert_eq!(trio.closed[0], (FEED, "this server does not follow any more".to_string()));
    trio.step(FOLLOWER, Input::FeedUp { link: LinkId(100), peer: OBSERVER, dialled: false });
    assert_eq!(trio.servers[&FOLLOWER].zab.feeds(), 0);
}

#[test]
fn a_follower_feeds_only_in_its_own_epoch_and_from_what_it_has_at_hand() {
    let mut trio = Trio::with_memory(300);
    trio.propose(20);
    for (epoch, after) in [(2, 20), (1, 1)] {
        let link = LinkId(100 + u64::from(epoch));
        trio.links.insert(link, [OBSERVER, FOLLOWER]);
        trio.step(FOLLOWER, Input::FeedUp { link, peer: OBSERVER, dialled: false });
        let after = Zxid::new(Epoch(1), after);
        trio.arrive(OBSERVER, link, Message::Subscribe { epoch: Epoch(epoch), after });
        assert!(trio.closed.pop().expect("it is closed").1.contains("cannot feed"));
    }
}

#[test]
fn an_observer_that_is_fed_again_when_the_leader_has_forgotten_joins_again() {
    let mut trio = Trio::with_memory(300);
    trio.connect();
    trio.holds =
        |sent| proposals_on_feed(sent) || matches!(sent.2, Message::Ack { .. }) && sent.0 == OBSERVER;
    trio.propose(100);
    trio.cut_feed();
    trio.settle();
    assert_eq!(trio.closed[0].1, "it lacks transactions that are no longer at hand");
}

#[test]
fn who_is_fed_does_not_count_as_one_that_was_told_what_is_decided() {
    let mut trio = Trio::fed();
    trio.holds = |sent| proposals_on_feed(sent) || sent.0 == LEADER && sent.1 == LinkId(3);
    let previous = trio.delivered();
    let grown = trio.propose_txn(GROW);
    assert_eq!(trio.servers[&LEADER].zab.config(), grown, "with the follower it is decided");
    assert!(trio.servers[&LEADER].zab.wants_proposal(), "the others are to know it");
    trio.holds = |sent| sent.0 == FOLLOWER || sent.0 == LEADER && sent.1 == LinkId(3);
    let behind = trio.propose(1);
    // Both come to the observer at once, and make it a voter.
    let proposals: Vec<Proposal> =
        trio.servers[&FOLLOWER].zab.core.history.range(previous, behind).cloned().collect();
    trio.held.retain(|(_, link, _)| *link != FEED);
    trio.arrive(FOLLOWER, FEED, Message::Proposals { previous, proposals, committed: Zxid::ZERO });
    trio.settle();
    assert!(trio.sent.contains(&(OBSERVER, LinkId(3), Message::Ack { through: behind })));
    assert!(trio.servers[&LEADER].zab.committed() < behind, "it wrote that without knowing what is decided");
    trio.release();
    assert_eq!(trio.servers[&LEADER].zab.committed(), behind);
    assert_eq!(trio.servers[&OBSERVER].seeks, None, "it votes now");
}
