//! Two servers of an ensemble of three, in memory: one is under test, the other one behaves. What they say to each other
//! is delivered, held back, lost, or followed by what neither said. The third server is whoever writes the input.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use zabra::ids::ServerId;
use zabra::replica::{Image, Input, Output, PeerMessage};
use zabra::zab::{LinkId, Message, Notification};

use crate::server::{Server, snapshot_of};

/// A snapshot travels in pieces of so many bytes.
const CHUNK_BYTES: usize = 300;

/// Under test.
pub const TESTED: usize = 0;
/// Behaves.
pub const PARTNER: usize = 1;

/// Something on its way.
enum Parcel {
    Notification(Notification),
    LinkUp { link: LinkId, dialled: bool },
    LinkDown(LinkId),
    Message(LinkId, PeerMessage),
}

/// What a server says when it reaches another state; in the order of [`Ensemble::has_said`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Saying {
    FollowerInfo,
    AckEpoch,
    AckNewLeader,
    Ack,
    LeaderInfo,
    Sync,
    NewLeader,
    UpToDate,
}

impl Saying {
    const ALL: [Saying; 8] = [
        Saying::FollowerInfo,
        Saying::AckEpoch,
        Saying::AckNewLeader,
        Saying::Ack,
        Saying::LeaderInfo,
        Saying::Sync,
        Saying::NewLeader,
        Saying::UpToDate,
    ];

    fn of(message: &PeerMessage) -> Option<Saying> {
        Some(match message {
            PeerMessage::Zab(Message::FollowerInfo { .. }) => Saying::FollowerInfo,
            PeerMessage::Zab(Message::AckEpoch { .. }) => Saying::AckEpoch,
            PeerMessage::Zab(Message::AckNewLeader { .. }) => Saying::AckNewLeader,
            PeerMessage::Zab(Message::Ack { .. }) => Saying::Ack,
            PeerMessage::Zab(Message::LeaderInfo { .. }) => Saying::LeaderInfo,
            PeerMessage::Zab(Message::Sync { .. }) => Saying::Sync,
            PeerMessage::Zab(Message::NewLeader { .. }) => Saying::NewLeader,
            PeerMessage::Zab(Message::UpToDate { .. }) => Saying::UpToDate,
            _ => return None,
        })
    }
}

/// Both of them.
pub struct Ensemble {
    /// the server under test, then its partner
    pub servers: [Server; 2],
    ids: [ServerId; 2],
    /// on the way to each
    parcels: [VecDeque<Parcel>; 2],
    /// what the server under test has said to a leader or a learner
    said: BTreeSet<Saying>,
    /// the links of the server under test, with whom they seem to be
    pub links: BTreeMap<LinkId, ServerId>,
    last_link: u64,
}

impl Ensemble {
    /// New servers. The one with the greater id will lead.
    pub fn new(tested: u8, partner: u8) -> Ensemble {
        Ensemble {
            servers: [Server::new(tested, 3), Server::new(partner, 3)],
            ids: [ServerId(tested), ServerId(partner)],
            parcels: [VecDeque::new(), VecDeque::new()],
            said: BTreeSet::new(),
            links: BTreeMap::new(),
            last_link: 0,
        }
    }

    /// True once the server under test has said what marks a state: which of them, is counted around.
    pub fn has_said(&self, which: u8) -> bool {
        self.said.contains(&Saying::ALL[usize::from(which) % Saying::ALL.len()])
    }

    /// Time passes for both.
    pub fn tick(&mut self, ms: u64) {
        self.servers.iter_mut().for_each(|server| server.tick(ms));
    }

    /// What comes next arrives at `to`; false if nothing is on its way.
    pub fn deliver(&mut self, to: usize) -> bool {
        let Some(parcel) = self.parcels[to].pop_front() else { return false };
        let from = self.ids[1 - to];
        let input = match parcel {
            Parcel::Notification(notification) => Input::Notification { from, notification },
            Parcel::LinkUp { link, dialled } => Input::LinkUp { link, peer: from, dialled },
            Parcel::LinkDown(link) => Input::LinkDown { link },
            Parcel::Message(link, message) => Input::Peer { link, message },
        };
        self.servers[to].step(input);
        self.servers[to].flush();
        true
    }

    /// What comes next to `to` is lost, unless it tells of a connection.
    pub fn lose(&mut self, to: usize) {
        if let Some(Parcel::Notification(_) | Parcel::Message(..)) = self.parcels[to].front() {
            self.parcels[to].pop_front();
        }
    }

    /// Something that nobody said comes to the server under test.
    pub fn say(&mut self, input: Input) {
        match &input {
            Input::LinkUp { link, peer, .. } | Input::FeedUp { link, peer, .. } => {
                self.links.insert(*link, *peer);
            }
            Input::LinkDown { link } => self.link_is_gone(*link),
            _ => {}
        }
        self.servers[TESTED].step(input);
    }

    /// Bytes that nobody said come over a link to the server under test. Where they are no message, the link ends, as in
    /// the real server.
    pub fn say_bytes(&mut self, link: LinkId, bytes: &[u8]) {
        match zabra::server::peer::decode(Bytes::copy_from_slice(bytes)) {
            Ok(message) => self.say(Input::Peer { link, message }),
            Err(_) => self.say(Input::LinkDown { link }),
        }
    }

    /// The name of the next link.
    pub fn new_link(&mut self) -> LinkId {
        self.last_link += 1;
        LinkId(self.last_link)
    }

    /// A link of the server under test ends; its partner hears of it in time.
    fn link_is_gone(&mut self, link: LinkId) {
        self.links.remove(&link);
        self.parcels[TESTED].retain(|parcel| !matches!(parcel, Parcel::Message(of, _) if *of == link));
        self.parcels[PARTNER].push_back(Parcel::LinkDown(link));
    }

    /// Takes up what both want to say. What is for clients, or for the third server, is given back if the server under
    /// test wants it.
    pub fn collect(&mut self) -> Vec<Output> {
        let mut rest = Vec::new();
        for of in [TESTED, PARTNER] {
            for output in self.servers[of].take_told() {
                if let Some(output) = self.collect_one(of, output)
                    && of == TESTED
                {
                    rest.push(output);
                }
            }
        }
        rest
    }

    fn collect_one(&mut self, of: usize, output: Output) -> Option<Output> {
        let other = 1 - of;
        match output {
            Output::Notify { to, notification } if to == self.ids[other] => {
                self.parcels[other].push_back(Parcel::Notification(notification));
            }
            Output::Follow(Some(leader)) if leader == self.ids[other] => {
                let link = self.new_link();
                self.links.insert(link, self.ids[PARTNER]);
                for (to, dialled) in [(of, true), (other, false)] {
                    self.parcels[to].push_back(Parcel::LinkUp { link, dialled });
                }
            }
            Output::Follow(_) => {
                for link in self.links.keys().copied().collect::<Vec<_>>() {
                    self.close(of, link);
                }
            }
            Output::Send { link, message } => self.send(of, link, message),
            Output::StreamSnapshot { link, image } => self.stream(of, link, &image),
            Output::CloseLink { link, .. } => self.close(of, link),
            output => return Some(output),
        }
        None
    }

    fn send(&mut self, of: usize, link: LinkId, message: PeerMessage) {
        if of == TESTED {
            self.said.extend(Saying::of(&message));
        }
        if self.links.get(&link) == Some(&self.ids[PARTNER]) {
            self.parcels[1 - of].push_back(Parcel::Message(link, message));
        }
    }

    fn stream(&mut self, of: usize, link: LinkId, image: &Image) {
        let file = snapshot_of(image);
        for data in file.chunks(CHUNK_BYTES).chain([&[][..]]) {
            let message = Message::SnapshotChunk { data: data.to_vec().into(), last: data.is_empty() };
            self.send(of, link, PeerMessage::Zab(message));
        }
    }

    /// A server closes a link: both hear that it is closed.
    fn close(&mut self, of: usize, link: LinkId) {
        if self.links.remove(&link).is_some() {
            for to in [of, 1 - of] {
                self.parcels[to].push_back(Parcel::LinkDown(link));
            }
        }
    }

    /// A while in which everybody behaves: what was said arrives, the disks work, a heartbeat passes.
    pub fn behave(&mut self) -> Vec<Output> {
        let mut rest = self.collect();
        for to in [TESTED, PARTNER] {
            self.deliver(to);
            self.servers[to].do_disk(1);
        }
        self.tick(2);
        rest.extend(self.collect());
        rest
    }
}
