//! The connections between servers: each a FIFO in both directions, delivered when the test wants it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use zabra::ids::ServerId;
use zabra::replica::{Input, PeerMessage};
use zabra::zab::{LinkId, Notification};

/// A connection. `ends[0]` dialled it.
struct Link {
    ends: [ServerId; 2],
    /// What each end sent, on its way to the other.
    queues: [VecDeque<PeerMessage>; 2],
    /// An end that closed it: what it sent before still arrives, then the other is told.
    closed: [bool; 2],
    /// The other is not told: the machine is gone.
    silent: bool,
}

/// Something that can arrive next: on this link, sent by this end of it.
pub type Arrival = (LinkId, usize);

#[derive(Default)]
pub struct Network {
    links: BTreeMap<LinkId, Link>,
    newest_link: u64,
    /// The newest state that a server told another in the election.
    notifications: BTreeMap<(ServerId, ServerId), Notification>,
    /// When a server last heard of another on its election port.
    heard: BTreeMap<(ServerId, ServerId), u64>,
    /// Directions in which nothing arrives.
    cut: BTreeSet<(ServerId, ServerId)>,
    /// Servers to whose quorum ports nobody can connect.
    closed_ports: BTreeSet<ServerId>,
    /// Directions in which a scenario delivers message by message.
    held: BTreeSet<(ServerId, ServerId)>,
}

impl Network {
    pub fn cut(&mut self, from: ServerId, to: ServerId) {
        if from != to {
            self.cut.insert((from, to));
        }
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
    }

    pub fn is_cut(&self, from: ServerId, to: ServerId) -> bool {
        self.cut.contains(&(from, to))
    }

    pub fn hold(&mut self, from: ServerId, to: ServerId) {
        self.held.insert((from, to));
    }

    pub fn release(&mut self, from: ServerId, to: ServerId) {
        self.held.remove(&(from, to));
    }

    /// A connection is made at both ends.
    pub fn connect(&mut self, from: ServerId, to: ServerId) -> LinkId {
        self.newest_link += 1;
        let link = LinkId(self.newest_link);
        self.links.insert(
            link,
            Link { ends: [from, to], queues: Default::default(), closed: [false; 2], silent: false },
        );
        link
    }

    /// The connections that a server dialled and did not close.
    pub fn dialled_by(&self, id: ServerId) -> Vec<LinkId> {
        let open = self.links.iter().filter(|(_, link)| link.ends[0] == id && !link.closed[0]);
        open.map(|(id, _)| *id).collect()
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
        if !link.closed[end] && !link.closed[1 - end] {
            link.queues[end].push_back(message);
        }
    }

    /// A server closes a connection, and hears nothing more on it. Of what it sent last, `lost` messages never arrive.
    pub fn close(&mut self, id: ServerId, link: LinkId, lost: usize) {
        let Some(entry) = self.links.get_mut(&link) else { return };
        let Some(end) = end_of(entry, id) else { return };
        entry.closed[end] = true;
        entry.queues[1 - end].clear();
        let kept = entry.queues[end].len().saturating_sub(lost);
        entry.queues[end].truncate(kept);
        if entry.closed[1 - end] {
            self.links.remove(&link);
        }
    }

    /// The machine of a server is gone. What it sent still arrives; the other end is left to find out by itself.
    pub fn vanish(&mut self, id: ServerId, link: LinkId) {
        self.close(id, link, 0);
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
                let anything = !link.queues[end].is_empty() || link.closed[end] && !link.silent;
                if anything && !link.closed[1 - end] && !self.cut.contains(&way) {
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

    /// Takes what arrives next: from whom, at whom, what.
    pub fn arrive(&mut self, (id, end): Arrival) -> Option<(ServerId, ServerId, Input)> {
        let link = self.links.get_mut(&id)?;
        let (from, to) = (link.ends[end], link.ends[1 - end]);
        if let Some(message) = link.queues[end].pop_front() {
            return Some((from, to, Input::Peer { link: id, message }));
        }
        if !link.closed[end] || link.silent {
            return None;
        }
        self.links.remove(&id);
        Some((from, to, Input::LinkDown { link: id }))
    }

    /// A server has news for another on its election port.
    pub fn notify(&mut self, from: ServerId, to: ServerId, notification: Notification) {
        self.notifications.insert((from, to), notification);
    }

    /// The newest that a server told another.
    pub fn told(&mut self, from: ServerId, to: ServerId, now: u64) -> Option<Notification> {
        let notification = self.notifications.get(&(from, to)).cloned()?;
        self.heard.insert((to, from), now);
        Some(notification)
    }

    /// True, once, when a server has been silent on its election port for so long.
    pub fn fell_silent(&mut self, from: ServerId, to: ServerId, now: u64, patience_ms: u64) -> bool {
        let silent = self.heard.get(&(to, from)).is_some_and(|heard| now - heard > patience_ms);
        if silent {
            self.heard.remove(&(to, from));
        }
        silent
    }

    /// A process ended: nothing it told in the election is told again.
    pub fn forget(&mut self, id: ServerId) {
        self.notifications.retain(|(from, _), _| *from != id);
        self.heard.retain(|(to, from), _| *to != id && *from != id);
    }
}

fn end_of(link: &Link, id: ServerId) -> Option<usize> {
    link.ends.iter().position(|end| *end == id)
}
