//! Who the other servers are and where, as far as this server knows. Addresses only: which of them count is decided by
//! [`crate::replica`].

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

use crate::config::Settings;
use crate::ids::ServerId;
use crate::membership::{Membership, ServerAddr};

/// What is known at the moment, and whoever waits for a change.
#[derive(Debug)]
pub struct Directory {
    known: watch::Sender<Known>,
}

/// What is known of the servers.
#[derive(Clone, Debug)]
pub struct Known {
    own_id: ServerId,
    /// The own line: of the file, until a configuration in force has one. It stays when that server is removed.
    own: Option<ServerAddr>,
    /// Who is in no configuration may connect.
    accepts_strangers: bool,
    active: Arc<Membership>,
    /// In the own log, and not in force; the newest last.
    pending: Vec<Arc<Membership>>,
    /// What others told that is newer than all of these, by who told it: what one says takes nothing from what another
    /// says.
    heard: BTreeMap<ServerId, Arc<Membership>>,
    /// Where servers that are in no configuration of the own log say that they are.
    strangers: BTreeMap<ServerId, ServerAddr>,
}

impl Directory {
    /// `active` is as the state on the disk says, or else the file.
    pub fn new(settings: &Settings, active: Membership) -> Directory {
        let known = Known {
            own_id: settings.server_id,
            own: active.servers.get(&settings.server_id).or(settings.own_addr()).cloned(),
            accepts_strangers: settings.reconfig_enabled,
            active: Arc::new(active),
            pending: Vec::new(),
            heard: BTreeMap::new(),
            strangers: BTreeMap::new(),
        };
        Directory { known: watch::Sender::new(known) }
    }

    /// What is known now. Not to be held for long.
    pub fn known(&self) -> watch::Ref<'_, Known> {
        self.known.borrow()
    }

    /// Told of every change.
    pub fn changes(&self) -> watch::Receiver<Known> {
        self.known.subscribe()
    }

    /// Another configuration is in force or in the log.
    pub fn update(&self, active: Arc<Membership>, pending: Vec<Arc<Membership>>) {
        self.known.send_modify(|known| {
            (known.active, known.pending) = (active, pending);
            known.own = known.active.servers.get(&known.own_id).cloned().or(known.own.take());
            let newest = known.newest().version;
            known.heard.retain(|_, heard| heard.version > newest);
            let mut strangers = std::mem::take(&mut known.strangers);
            strangers.retain(|id, _| !known.is_counted(*id));
            known.strangers = strangers;
        });
    }

    /// Takes note of what the server `from`, which has proved that it is one, says of itself and of all. What cannot be
    /// read is passed over: it is only where to dial.
    pub fn hear(&self, from: ServerId, address: &str, membership: &str) {
        let address = ServerAddr::parse(from, address).ok();
        let membership = Membership::parse(membership).ok();
        self.known.send_if_modified(|known| {
            let mut is_news = false;
            if let Some(address) = address.filter(|_| known.accepts_strangers && !known.is_counted(from)) {
                is_news |= known.strangers.insert(from, address.clone()) != Some(address);
            }
            let newest = known.newest().version;
            if let Some(newer) = membership.filter(|told| known.accepts_strangers && told.version > newest) {
                let newer = Arc::new(newer);
                is_news |= known.heard.insert(from, Arc::clone(&newer)) != Some(newer);
            }
            is_news
        });
    }
}

impl Known {
    /// That which is in force.
    pub fn active(&self) -> &Arc<Membership> {
        &self.active
    }

    /// The newest in the own log.
    fn newest(&self) -> &Membership {
        self.pending.last().unwrap_or(&self.active)
    }

    /// Those of the own log, newest first.
    fn counted(&self) -> impl Iterator<Item = &Membership> {
        self.pending.iter().rev().chain([&self.active]).map(Arc::as_ref)
    }

    fn is_counted(&self, id: ServerId) -> bool {
        self.counted().any(|it| it.servers.contains_key(&id))
    }

    /// What was told by those whose word makes history anyhow, or by the others; newest first.
    fn heard(&self, from_voters: bool) -> Vec<&Membership> {
        let votes = |id| self.counted().any(|it| it.servers.get(id).is_some_and(|addr| addr.role.votes()));
        let mut heard: Vec<&Membership> =
            self.heard.iter().filter(|(id, _)| votes(id) == from_voters).map(|(_, it)| &**it).collect();
        heard.sort_by_key(|it| Reverse(it.version));
        heard
    }

    fn all(&self) -> impl Iterator<Item = &Membership> {
        self.heard.values().map(Arc::as_ref).chain(self.counted())
    }

    /// Where this server is for others, if the file or a configuration says so.
    pub fn own(&self) -> Option<&ServerAddr> {
        self.own.as_ref()
    }

    /// The servers to talk to: those of every configuration but this one.
    pub fn others(&self) -> Vec<ServerId> {
        let mut ids: Vec<ServerId> = self.all().flat_map(|it| it.servers.keys().copied()).collect();
        ids.sort_unstable();
        ids.dedup();
        ids.retain(|id| *id != self.own_id);
        ids
    }

    /// Those that vote, by the configuration in force, but this one.
    pub fn other_voters(&self) -> Vec<ServerId> {
        let servers = self.active.servers.values();
        servers.filter(|it| it.role.votes() && it.id != self.own_id).map(|it| it.id).collect()
    }

    /// True if the server is in a configuration that this server knows or has heard of.
    pub fn is_member(&self, id: ServerId) -> bool {
        self.all().any(|it| it.servers.contains_key(&id))
    }

    /// Those of them that are in no configuration of the own log.
    pub fn heard_of(&self) -> Vec<ServerId> {
        let mut ids = self.others();
        ids.retain(|id| !self.is_counted(*id));
        ids
    }

    /// True if the server may connect.
    pub fn admits(&self, id: ServerId) -> bool {
        self.accepts_strangers || self.is_member(id)
    }

    /// Where to dial the server: newest first, each place once. What strangers say counts only if nothing else is known.
    pub fn addresses(&self, id: ServerId) -> Vec<ServerAddr> {
        let vouched = self.vouched_addresses(id);
        if !vouched.is_empty() {
            return vouched;
        }
        let told = self.heard(false).into_iter().filter_map(|it| it.servers.get(&id));
        places(told.chain(self.strangers.get(&id)))
    }

    /// Where the server is by the own log and by what voters of it told, newest first: whose certificate it shows must be
    /// for one of these. Empty if it is a stranger.
    pub fn vouched_addresses(&self, id: ServerId) -> Vec<ServerAddr> {
        let known = self.heard(true).into_iter().chain(self.counted());
        places(known.filter_map(|it| it.servers.get(&id)))
    }

    /// What this server tells of itself and of all: its own line, and the text of the newest configuration. Empty where
    /// nobody could make use of it.
    pub fn told(&self) -> (String, String) {
        if !self.accepts_strangers {
            return (String::new(), String::new());
        }
        let text = self.newest().text();
        let text = if text.len() <= MEMBERSHIP_BYTES_MAX { text } else { String::new() };
        (self.own().map(ToString::to_string).unwrap_or_default(), text)
    }
}

/// Each place once.
fn places<'a>(all: impl Iterator<Item = &'a ServerAddr>) -> Vec<ServerAddr> {
    let mut places: Vec<ServerAddr> = Vec::new();
    for addr in all {
        if places.iter().all(|other| !other.peer_addrs().eq(addr.peer_addrs())) {
            places.push(addr.clone());
        }
    }
    places
}

/// The longest text of a configuration that is told: some hundred servers.
const MEMBERSHIP_BYTES_MAX: usize = 12 << 10;

#[cfg(test)]
impl Directory {
    /// Of server 1, in an ensemble of these.
    pub fn of(ids: &[u8]) -> Directory {
        let lines: Vec<String> = ids.iter().map(|id| format!("server.{id}=h{id}:1:2")).collect();
        let membership = Membership::parse(&lines.join("\n")).expect("in order");
        let settings = Settings { server_id: ServerId(1), ..Settings::standalone_default() };
        Directory::new(&settings, membership)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Zxid;

    fn membership(version: u64, ids: &[u8], port: u16) -> Arc<Membership> {
        let lines: Vec<String> =
            ids.iter().map(|id| format!("server.{id}=h{id}:{port}:{};9", port + 1)).collect();
        Arc::new(Membership::parse(&lines.join("\n")).expect("in order").with_version(Zxid(version)))
    }

    fn directory(reconfig_enabled: bool) -> Directory {
        let mut settings = Settings { reconfig_enabled, ..Settings::standalone_default() };
        let active = membership(0, &[1, 2], 10);
        settings.server_id = ServerId(1);
        settings.servers = active.servers.values().cloned().collect();
        Directory::new(&settings, Membership::clone(&active))
    }

    fn others(directory: &Directory) -> Vec<u8> {
        directory.known().others().iter().map(|id| id.0).collect()
    }

    fn ports(directory: &Directory, id: u8) -> Vec<u16> {
        directory.known().addresses(ServerId(id)).iter().map(|addr| addr.quorum_port).collect()
    }

    #[test]
    fn those_that_vote_may_feed() {
        let text = "server.1=a:1:2\nserver.2=b:1:2:observer\nserver.3=c:1:2";
        let membership = Membership::parse(text).expect("in order");
        let settings = Settings { server_id: ServerId(1), ..Settings::standalone_default() };
        let directory = Directory::new(&settings, membership);
        assert_eq!(directory.known().other_voters(), [ServerId(3)]);
    }

    #[test]
    fn all_configurations_are_dialled_the_newest_address_first() {
        let directory = directory(true);
        assert_eq!(others(&directory), [2]);
        directory.update(membership(5, &[1, 2, 3], 10), vec![membership(7, &[2, 4], 20)]);
        assert_eq!(others(&directory), [2, 3, 4]);
        assert_eq!(ports(&directory, 2), [20, 10]);
        assert_eq!(directory.known().own().unwrap().quorum_port, 10);
        directory.update(membership(7, &[2, 4], 20), vec![]);
        assert_eq!(others(&directory), [2, 4]);
        assert_eq!(directory.known().own().unwrap().quorum_port, 10, "it stays where it was");
        assert!(!directory.known().is_member(ServerId(3)));
        directory.update(membership(8, &[1, 2], 30), vec![]);
        directory.update(membership(9, &[2], 40), vec![]);
        assert_eq!(directory.known().own().unwrap().quorum_port, 30);
    }

    #[test]
    fn what_others_know_tells_whom_to_dial_until_the_own_log_has_as_much() {
        let directory = directory(true);
        directory.hear(ServerId(2), "", &membership(8, &[2, 6], 40).text());
        directory.hear(ServerId(2), "", &membership(9, &[2, 5], 30).text());
        directory.hear(ServerId(2), "x", "y");
        assert_eq!(others(&directory), [2, 5]);
        assert_eq!(ports(&directory, 2), [30, 10]);
        assert_eq!(directory.known().heard_of(), [ServerId(5)]);
        assert_eq!(directory.known().told().1, membership(0, &[1, 2], 10).text(), "hearsay is not passed on");
        directory.update(membership(0, &[1, 2], 10), vec![membership(9, &[2, 5], 50)]);
        assert_eq!(ports(&directory, 2), [50, 10]);
    }

    #[test]
    fn what_strangers_say_makes_nobody_another_server() {
        let directory = directory(true);
        directory.hear(ServerId(7), "h7:70:71", &membership(u64::MAX, &[2, 4], 70).text());
        directory.hear(ServerId(4), "h4:80:81", "");
        assert_eq!(ports(&directory, 2), [10], "it is known where that is");
        assert_eq!(others(&directory), [2, 4]);
        assert_eq!(ports(&directory, 4), [70, 80], "nobody else tells where that is");
        assert!(directory.known().vouched_addresses(ServerId(4)).is_empty());
        directory.hear(ServerId(2), "", &membership(9, &[2, 4], 40).text());
        assert_eq!(ports(&directory, 4), [40], "a voter does");
        directory.update(membership(9, &[2, 4], 50), vec![]);
        assert_eq!(ports(&directory, 4), [50]);
        directory.update(membership(10, &[2], 50), vec![]);
        assert_eq!(ports(&directory, 4), [70], "it says nothing itself any more");
    }

    #[test]
    fn strangers_say_where_they_are_if_they_are_let_in() {
        let (open, closed) = (directory(true), directory(false));
        for (directory, is_open) in [(&open, true), (&closed, false)] {
            directory.hear(ServerId(7), "h7:1:2:observer", &membership(9, &[2, 5], 30).text());
            assert_eq!(directory.known().admits(ServerId(7)), is_open);
            assert!(directory.known().admits(ServerId(2)));
            assert_eq!(ports(directory, 7).is_empty(), !is_open);
            assert_eq!(others(directory), if is_open { vec![2, 5] } else { vec![2] });
            assert_eq!(directory.known().told().0.is_empty(), !is_open);
        }
    }
}
