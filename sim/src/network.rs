//! The connections between servers: each a FIFO in both directions, delivered when the test wants it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

use rand::RngExt;
use rand::rngs::StdRng;
use zabra::ids::ServerId;
use zabra::replica::{Input, PeerMessage};
use zabra::zab::{LinkId, Message, Notification};

/// Something on its way.
#[derive(Debug)]
enum Sent {
    /// the other end's word that the connection is there
    Opened,
    Message(PeerMessage),
}

/// A connection. `ends[0]` dialled it.
struct Link {
    ends: [ServerId; 2],
    /// Between an observer and a follower that feeds it, not between a learner and its leader.
    is_feed: bool,
    /// What each end sent, on its way to the other, and when it may arrive.
    queues: [VecDeque<(u64, Sent)>; 2],
    /// An end that closed it: what it sent before still arrives, then the other is told.
    closed: [bool; 2],
    /// The other is not told: the machine is gone.
    silent: bool,
    /// Broken by the network: both ends are told.
    broken: bool,
    /// Nothing of what this end sent arrives for now, and nobody is told.
    stalled: [bool; 2],
}

/// Something that can arrive next: on this link, sent by this end of it.
pub type Arrival = (LinkId, usize);

/// What makes a network slower and worse than it could be.
pub struct Weather {
    pub chance: StdRng,
    /// How long everything takes from one server to another, ms.
    pub latency_ms: BTreeMap<(ServerId, ServerId), u64>,
    /// Of a thousand messages so many take much longer, and hold up those behind them.
    pub spikes_per_mille: u32,
    /// A connection that is closed takes the last of what was sent with it.
    pub loses_tails: bool,
    /// The server that was dialled hears of a connection later than the one that dialled.
    pub opens_late: bool,
}

impl Weather {
    pub fn fine(chance: StdRng) -> Weather {
        let latency_ms = BTreeMap::new();
        Weather { chance, latency_ms, spikes_per_mille: 0, loses_tails: false, opens_late: false }
    }

    fn delay_ms(&mut self, way: (ServerId, ServerId)) -> u64 {
        let usual = self.latency_ms.get(&way).copied().unwrap_or_default();
        let delay = if usual > 0 { self.chance.random_range(usual / 2..=usual) } else { 0 };
        let spikes = self.spikes_per_mille > 0 && self.chance.random_range(0..1000) < self.spikes_per_mille;
        if spikes { delay + self.chance.random_range(30..300) } else { delay }
    }
}

/// What a server told another on the election port.
#[derive(Default)]
struct Told {
    /// On its way, and when it may arrive.
    coming: VecDeque<(u64, Notification)>,
    newest: Option<Notification>,
}

impl Told {
    /// Forgets all but what was said last.
    fn only_newest(&mut self) {
        if let Some(last) = self.coming.pop_back() {
            (self.coming, self.newest) = ([last].into(), None);
        }
    }
}

#[derive(Default)]
pub struct Network {
    links: BTreeMap<LinkId, Link>,
    /// How many connections each server dialled, or all together.
    dialled: BTreeMap<ServerId, u64>,
    /// The number of a connection does not depend on what other servers dialled before.
    pub numbers_by_dialler: bool,
    now: u64,
    weather: Option<Weather>,
    told: BTreeMap<(ServerId, ServerId), Told>,
    /// When a server last heard of another on its election port.
    heard: BTreeMap<(ServerId, ServerId), u64>,
    /// Directions in which nothing arrives, and since when.
    cut: BTreeMap<(ServerId, ServerId), u64>,
    /// Servers to whose quorum ports nobody can connect.
    closed_ports: BTreeSet<ServerId>,
    /// Directions in which a scenario delivers message by message.
    held: BTreeSet<(ServerId, ServerId)>,
    /// How many messages never arrived, for they were the last on their connections.
    pub lost: u64,
    /// How many arrived although the connection had been replaced by a newer one.
    pub overtaken: u64,
}

impl Network {
    pub fn set_weather(&mut self, weather: Weather) {
        self.weather = Some(weather);
    }

    pub fn weather(&mut self) -> Option<&mut Weather> {
        self.weather.as_mut()
    }

    pub fn set_now(&mut self, now: u64) {
        self.now = now;
    }

    pub fn cut(&mut self, from: ServerId, to: ServerId) {
        if from != to {
            self.cut.entry((from, to)).or_insert(self.now);
        }
    }

    /// What goes from one to the other and back arrives again.
    pub fn join(&mut self, one: ServerId, other: ServerId) {
        self.cut.remove(&(one, other));
        self.cut.remove(&(other, one));
    }

    pub fn close_port(&mut self, id: ServerId) {
        self.closed_ports.insert(id);
    }

    pub fn is_port_closed(&self, id: ServerId) -> bool {
        self.closed_ports.contains(&id)
    }

    pub fn heal(&mut self) {
        self.cut.clear();
        self.closed_ports.clear();
        self.links.values_mut().for_each(|link| link.stalled = [false; 2]);
    }

    /// Nothing arrives any more on a connection, in one direction or in both, and nobody is told.
    pub fn stall(&mut self, link: LinkId, ends: [bool; 2]) {
        if let Some(link) = self.links.get_mut(&link) {
            link.stalled = ends;
        }
    }

    /// The network breaks a connection: both ends are told, and the last of what was on its way is lost.
    pub fn break_off(&mut self, link: LinkId) {
        let Some(link) = self.links.get_mut(&link) else { return };
        link.broken = true;
        link.stalled = [false; 2];
        for queue in &mut link.queues {
            self.lost += lose_tail(&mut self.weather, queue);
        }
    }

    /// All connections.
    pub fn links(&self) -> Vec<LinkId> {
        self.links.keys().copied().collect()
    }

    pub fn is_cut(&self, from: ServerId, to: ServerId) -> bool {
        self.cut.contains_key(&(from, to))
    }

    /// True if a connection would have ended by now, because what `from` sent was not confirmed for so long: nothing
    /// that `to` says arrives there, so `from` counts as cut off in both directions.
    pub fn is_unheard(&self, from: ServerId, to: ServerId, patience_ms: u64) -> bool {
        self.cut.get(&(to, from)).is_some_and(|since| self.now - since > patience_ms)
    }

    pub fn hold(&mut self, from: ServerId, to: ServerId) {
        self.held.insert((from, to));
    }

    pub fn release(&mut self, from: ServerId, to: ServerId) {
        self.held.remove(&(from, to));
    }

    /// A connection is made. True if the server that was dialled is told later.
    pub fn connect(&mut self, from: ServerId, to: ServerId, is_feed: bool) -> (LinkId, bool) {
        let dialler = if self.numbers_by_dialler { from } else { ServerId(0) };
        let dialled = self.dialled.entry(dialler).or_default();
        *dialled += 1;
        let id = LinkId(u64::from(dialler.0) * 1_000_000 + *dialled);
        let mut link = Link {
            ends: [from, to],
            is_feed,
            queues: Default::default(),
            closed: [false; 2],
            silent: false,
            broken: false,
            stalled: [false; 2],
        };
        let weather = self.weather.as_mut().filter(|weather| weather.opens_late);
        let opens_late = weather.is_some();
        if let Some(weather) = weather {
            let at = self.now + weather.delay_ms((from, to)) + weather.chance.random_range(0..20);
            link.queues[0].push_back((at, Sent::Opened));
        }
        self.links.insert(id, link);
        (id, opens_late)
    }

    /// The connections to leaders that a server dialled and did not close.
    pub fn dialled_by(&self, id: ServerId) -> Vec<LinkId> {
        self.dialled(id, false)
    }

    /// The same of those over which followers feed it.
    pub fn feeds_of(&self, id: ServerId) -> Vec<LinkId> {
        self.dialled(id, true)
    }

    fn dialled(&self, id: ServerId, is_feed: bool) -> Vec<LinkId> {
        let open = |link: &Link| link.ends[0] == id && !link.closed[0] && link.is_feed == is_feed;
        self.links.iter().filter(|(_, link)| open(link)).map(|(id, _)| *id).collect()
    }

    /// The connections that a server has open.
    pub fn links_of(&self, id: ServerId) -> Vec<LinkId> {
        let open =
            self.links.iter().filter(|(_, link)| end_of(link, id).is_some_and(|end| !link.closed[end]));
        open.map(|(id, _)| *id).collect()
    }

    pub fn send(&mut self, from: ServerId, link: LinkId, message: PeerMessage) {
        let Some(link) = self.links.get_mut(&link) else { return };
        let Some(end) = end_of(link, from) else { return };
        if link.closed[end] || link.closed[1 - end] || link.broken {
            return;
        }
        let way = (link.ends[end], link.ends[1 - end]);
        let delay_ms = self.weather.as_mut().map_or(0, |weather| weather.delay_ms(way));
        let after = link.queues[end].back().map_or(0, |(at, _)| *at);
        link.queues[end].push_back((after.max(self.now + delay_ms), Sent::Message(message)));
    }

    /// A server closes a connection, and hears nothing more on it. The last of what it sent may be lost.
    pub fn close(&mut self, id: ServerId, link: LinkId) {
        let Some(entry) = self.links.get_mut(&link) else { return };
        let Some(end) = end_of(entry, id) else { return };
        entry.closed[end] = true;
        entry.queues[1 - end].clear();
        self.lost += lose_tail(&mut self.weather, &mut entry.queues[end]);
        if entry.closed[1 - end] {
            self.links.remove(&link);
        }
    }

    /// The machine of a server is gone. What it sent still arrives; the other end is left to find out by itself.
    pub fn vanish(&mut self, id: ServerId, link: LinkId) {
        self.close(id, link);
        if let Some(link) = self.links.get_mut(&link) {
            link.silent = true;
        }
    }

    /// Everything of which one can arrive next, in a fixed order.
    pub fn arrivals(&self) -> Vec<Arrival> {
        let mut arrivals = Vec::new();
        for (id, link) in &self.links {
            for end in 0..2 {
                let way = (link.ends[end], link.ends[1 - end]);
                let anything = match link.queues[end].front() {
                    Some((at, _)) => *at <= self.now,
                    None => link.closed[end] && !link.silent || link.broken,
                };
                let is_open = !link.closed[1 - end] && !link.stalled[end];
                if anything && is_open && !self.cut.contains_key(&way) {
                    arrivals.push((*id, end));
                }
            }
        }
        arrivals
    }

    /// Those that no scenario holds back.
    pub fn free_arrivals(&self) -> Vec<Arrival> {
        let mut arrivals = self.arrivals();
        arrivals.retain(|(link, end)| {
            let ends = self.links[link].ends;
            !self.held.contains(&(ends[*end], ends[1 - *end]))
        });
        arrivals
    }

    /// What can arrive from one server at another.
    pub fn arrival_between(&self, from: ServerId, to: ServerId) -> Option<Arrival> {
        let arrivals = self.arrivals();
        arrivals.into_iter().find(|(link, end)| {
            let ends = self.links[link].ends;
            (ends[*end], ends[1 - *end]) == (from, to)
        })
    }

    /// What is on its way, in words that differ where it does.
    pub fn describe(&self, words: &mut dyn fmt::Write) -> fmt::Result {
        for (id, link) in &self.links {
            let Link { ends, is_feed, queues, closed, silent, broken, stalled } = link;
            write!(words, "{id:?}{ends:?}{is_feed}{closed:?}{silent}{broken}{stalled:?}")?;
            queues.iter().try_for_each(|queue| write!(words, "{queue:?}"))?;
        }
        Ok(())
    }

    /// True if what arrives next there only says that somebody is alive.
    pub fn is_heartbeat(&self, (id, end): Arrival) -> bool {
        let next = self.links.get(&id).and_then(|link| link.queues[end].front());
        match next {
            Some((_, Sent::Message(PeerMessage::TreeDigest { .. }))) => true,
            Some((_, Sent::Message(PeerMessage::Zab(message)))) => {
                matches!(message, Message::Ping { .. } | Message::Pong { .. } | Message::Feeding)
            }
            _ => false,
        }
    }

    /// Takes what arrives next: from whom, at whom, what.
    pub fn arrive(&mut self, (id, end): Arrival) -> Option<(ServerId, ServerId, Input)> {
        let Link { ends, is_feed, .. } = *self.links.get(&id)?;
        let replaces = |link: &Link| link.ends == ends && link.is_feed == is_feed;
        let is_replaced = self.links.iter().any(|(newer, link)| *newer > id && replaces(link));
        let link = self.links.get_mut(&id)?;
        let (from, to) = (ends[end], ends[1 - end]);
        if link.queues[end].front().is_some_and(|(at, _)| *at > self.now) {
            return None;
        }
        if let Some((_, sent)) = link.queues[end].pop_front() {
            self.overtaken += u64::from(is_replaced);
            let input = match sent {
                Sent::Opened if is_feed => Input::FeedUp { link: id, peer: from, dialled: false },
                Sent::Opened => Input::LinkUp { link: id, peer: from, dialled: false },
                Sent::Message(message) => Input::Peer { link: id, message },
            };
            return Some((from, to, input));
        }
        if !(link.closed[end] && !link.silent || link.broken) {
            return None;
        }
        link.closed[1 - end] = true;
        link.queues[1 - end].clear();
        if link.closed[end] {
            self.links.remove(&id);
        }
        Some((from, to, Input::LinkDown { link: id }))
    }

    /// A server has news for another on its election port.
    pub fn notify(&mut self, from: ServerId, to: ServerId, notification: Notification) {
        let delay_ms = self.weather.as_mut().map_or(0, |weather| weather.delay_ms((from, to)));
        let told = self.told.entry((from, to)).or_default();
        let after = told.coming.back().map_or(0, |(at, _)| *at);
        told.coming.push_back((after.max(self.now + delay_ms), notification));
    }

    /// The newest that has arrived from a server at another: news, or the same again at a heartbeat or on a new
    /// connection; in fine weather at any time.
    pub fn told(&mut self, from: ServerId, to: ServerId, is_heartbeat: bool) -> Option<Notification> {
        let told = self.told.get_mut(&(from, to))?;
        let mut is_news = self.weather.is_none() || !self.heard.contains_key(&(to, from));
        while told.coming.front().is_some_and(|(at, _)| *at <= self.now) {
            told.newest = told.coming.pop_front().map(|(_, notification)| notification);
            is_news = true;
        }
        let notification = told.newest.clone().filter(|_| is_news || is_heartbeat)?;
        self.heard.insert((to, from), self.now);
        Some(notification)
    }

    /// True, once, when a server has been silent on its election port for so long.
    pub fn fell_silent(&mut self, from: ServerId, to: ServerId, patience_ms: u64) -> bool {
        let silent = self.heard.get(&(to, from)).is_some_and(|heard| self.now - heard > patience_ms);
        if silent {
            self.heard.remove(&(to, from));
        }
        silent
    }

    /// A process ended: nothing it told in the election is told again. If its machine did, the others find out by its
    /// silence. What was on its way to it ends with the connection: the next process hears what they say then.
    pub fn forget(&mut self, id: ServerId, is_noticed: bool) {
        self.told.retain(|(from, _), _| *from != id);
        for (_, told) in self.told.iter_mut().filter(|((_, to), _)| *to == id) {
            told.only_newest();
        }
        self.heard.retain(|(to, from), _| *to != id && (*from != id || !is_noticed));
    }
}

/// Of what is on its way last, some may be lost: how many.
fn lose_tail(weather: &mut Option<Weather>, queue: &mut VecDeque<(u64, Sent)>) -> u64 {
    let Some(weather) = weather.as_mut().filter(|weather| weather.loses_tails) else { return 0 };
    let kept = weather.chance.random_range(0..=queue.len());
    let lost = queue.len() - kept;
    queue.truncate(kept);
    lost as u64
}

fn end_of(link: &Link, id: ServerId) -> Option<usize> {
    link.ends.iter().position(|end| *end == id)
}
