//! Where a server listens to clients, and the `server.N` lines of the ensemble.

use std::fmt;

use crate::ids::ServerId;

/// Where a server listens to clients.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListenAddr {
    /// A name or an address of this machine; `None` means every address it has.
    pub host: Option<String>,
    /// 0 lets the system choose a free one.
    pub port: u16,
}

impl fmt::Display for ListenAddr {
    /// As ZooKeeper writes it: `0.0.0.0:2181` for every address.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", bracketed(self.host.as_deref().unwrap_or("0.0.0.0")), self.port)
    }
}

/// What a member of the ensemble is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerRole {
    /// It votes and may become the leader, unless its weight is 0.
    Participant {
        /// `group.N`: a quorum has most of the weight in most of the groups. 0 if there are none.
        group: u32,
        /// `weight.N`: how much it counts in its group. 1 by default.
        weight: u32,
    },
    /// It gets everything and serves clients, and never votes.
    Observer,
}

impl PeerRole {
    /// Of a participant where there are no groups: all count the same.
    pub const EQUAL: PeerRole = PeerRole::Participant { group: 0, weight: 1 };

    /// True for a participant with a weight.
    pub fn votes(self) -> bool {
        matches!(self, PeerRole::Participant { weight: 1.., .. })
    }
}

/// Where a server listens for others, on one of the networks it is in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PeerAddr {
    /// A name, resolved again at every dial, or an address (IPv6 without brackets).
    pub host: String,
    /// Learners dial the leader here.
    pub quorum_port: u16,
    /// Servers exchange votes here.
    pub election_port: u16,
}

impl fmt::Display for PeerAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", bracketed(&self.host), self.quorum_port, self.election_port)
    }
}

/// A member of the ensemble: one `server.N` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerAddr {
    /// N: what the server's `myid` holds.
    pub id: ServerId,
    /// A name, resolved again at every dial, or an address (IPv6 without brackets).
    pub host: String,
    /// Learners dial the leader here.
    pub quorum_port: u16,
    /// Servers exchange votes here.
    pub election_port: u16,
    /// Where else it listens for others; all its addresses are in the order of their hosts, and equally good.
    pub also: Vec<PeerAddr>,
    /// What it is.
    pub role: PeerRole,
    /// Where clients reach this server, if its line says so.
    pub client: Option<ListenAddr>,
    /// Where clients reach it with TLS, if its line says so.
    pub secure_client: Option<ListenAddr>,
}

impl fmt::Display for ServerAddr {
    /// As ZooKeeper writes the value of a `server.N` key in `conf` and in `/zookeeper/config`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let role = match self.role {
            PeerRole::Participant { .. } => "participant",
            PeerRole::Observer => "observer",
        };
        let addrs = self.peer_addrs().map(|addr| addr.to_string()).collect::<Vec<_>>();
        write!(f, "{}:{role}", addrs.join("|"))?;
        match (&self.client, &self.secure_client) {
            (None, None) => Ok(()),
            (Some(client), None) => write!(f, ";{client}"),
            (None, Some(secure)) => write!(f, ";;{secure}"),
            (Some(client), Some(secure)) => write!(f, ";{client};{secure}"),
        }
    }
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_string() }
}

/// What is expected of a `server.N` value.
const SERVER_FORM: &str = "host:quorumPort:electionPort[:participant|:observer][;[[address:]clientPort][;[address:]secureClientPort]], an IPv6 address in brackets, and several addresses with | between them";

/// More networks are not between servers, and so a membership has a bound.
const ADDRS_MAX: usize = 8;

/// Longer names do not exist, and so a membership has a bound.
const HOST_BYTES_MAX: usize = 255;

impl ServerAddr {
    /// From the value of `server.<id>`; the error says what was expected. A participant is [`PeerRole::EQUAL`]: groups
    /// and weights have lines of their own.
    pub fn parse(id: ServerId, value: &str) -> Result<ServerAddr, String> {
        let mut parts = value.split(';').map(str::trim);
        let address = parts.next().unwrap_or_default();
        let mut port_of_clients = || match parts.next() {
            None | Some("") => Ok(None),
            Some(text) => listen_addr(text).map(Some),
        };
        let (client, secure_client) = (port_of_clients()?, port_of_clients()?);
        if parts.next().is_some() {
            return Err(format!("too many semicolons: expected {SERVER_FORM}"));
        }
        let mut addrs = address.split('|').map(peer_addr).collect::<Result<Vec<_>, String>>()?;
        let roles = addrs.iter().filter_map(|(_, role)| *role).collect::<Vec<_>>();
        if roles.windows(2).any(|pair| pair[0] != pair[1]) {
            return Err("two roles for one server: expected the same at each address".to_string());
        }
        addrs.sort_by(|(one, _), (other, _)| one.cmp(other));
        if let Some(twice) = addrs.windows(2).find(|pair| pair[0].0.host == pair[1].0.host) {
            return Err(format!("{} is there twice: expected different hosts", twice[0].0.host));
        }
        if addrs.len() > ADDRS_MAX {
            return Err(format!("{} addresses: expected {ADDRS_MAX} at most", addrs.len()));
        }
        let role = roles.first().copied().unwrap_or(PeerRole::EQUAL);
        let mut addrs = addrs.into_iter().map(|(addr, _)| addr);
        let PeerAddr { host, quorum_port, election_port } = addrs.next().ok_or(SERVER_FORM)?;
        let also = addrs.collect();
        Ok(ServerAddr { id, host, quorum_port, election_port, also, role, client, secure_client })
    }

    /// Where it listens for others: one address at least.
    pub fn peer_addrs(&self) -> impl Iterator<Item = PeerAddr> + '_ {
        let ServerAddr { host, quorum_port, election_port, .. } = self;
        let first = PeerAddr { host: host.clone(), quorum_port: *quorum_port, election_port: *election_port };
        std::iter::once(first).chain(self.also.iter().cloned())
    }

    /// Where this server listens for others and for clients, each a host and a port. Addresses that every machine has
    /// are left out: the wildcard and loopback.
    fn listeners(&self) -> impl Iterator<Item = (&str, u16)> {
        let first = [self.quorum_port, self.election_port].map(|port| (self.host.as_str(), port));
        let also = self.also.iter();
        let also =
            also.flat_map(|it| [it.quorum_port, it.election_port].map(|port| (it.host.as_str(), port)));
        let peers = first.into_iter().chain(also);
        let clients = [&self.client, &self.secure_client].into_iter().flatten();
        let clients = clients.filter_map(|addr| Some((addr.host.as_deref()?, addr.port)));
        peers.chain(clients).filter(|(host, _)| !is_everywhere(host))
    }

    /// An address at which both servers would listen, if there is one. Names are not looked up.
    pub(super) fn shared_listener<'a>(&'a self, other: &'a ServerAddr) -> Option<(&'a str, u16)> {
        self.listeners().find(|(host, port)| {
            other
                .listeners()
                .any(|(host_too, port_too)| host.eq_ignore_ascii_case(host_too) && *port == port_too)
        })
    }
}

/// One of the addresses of a `server.N` value, and the role if it is with this one.
fn peer_addr(text: &str) -> Result<(PeerAddr, Option<PeerRole>), String> {
    let (host, rest) = host_and_rest(text.trim())?;
    let fields: Vec<&str> = rest.split(':').map(str::trim).collect();
    let (quorum_port, election_port, role) = match fields[..] {
        [quorum, election] => (port(quorum)?, port(election)?, None),
        [quorum, election, word] => (port(quorum)?, port(election)?, Some(peer_role(word)?)),
        _ => return Err(format!("expected {SERVER_FORM}")),
    };
    if quorum_port == election_port {
        return Err(format!(
            "quorum port and election port are both {quorum_port}: expected two different ports"
        ));
    }
    Ok((PeerAddr { host, quorum_port, election_port }, role))
}

/// True for the wildcard and for loopback addresses.
fn is_everywhere(host: &str) -> bool {
    let is_loopback = host.starts_with("127.") || host == "::1" || host.eq_ignore_ascii_case("localhost");
    is_loopback || listen_host(host).is_none()
}

/// A client port with or without an address before it.
fn listen_addr(text: &str) -> Result<ListenAddr, String> {
    if !text.contains(':') {
        return Ok(ListenAddr { host: None, port: port(text)? });
    }
    let (host, rest) = host_and_rest(text)?;
    Ok(ListenAddr { host: listen_host(&host), port: port(&rest)? })
}

/// `None` for the wildcard addresses, which mean every address of the machine.
pub fn listen_host(host: &str) -> Option<String> {
    match host {
        "" | "0.0.0.0" | "::" | "0:0:0:0:0:0:0:0" => None,
        host => Some(host.to_string()),
    }
}

/// Splits `host:rest` or `[v6]:rest`.
fn host_and_rest(text: &str) -> Result<(String, String), String> {
    let (host, rest) = match text.strip_prefix('[') {
        Some(inner) => {
            let (host, rest) = inner.split_once(']').ok_or("[ without ]: expected [address]:port")?;
            if host.parse::<core::net::Ipv6Addr>().is_err() {
                return Err(format!("[{host}] is not an IPv6 address"));
            }
            (host, rest.strip_prefix(':').ok_or("no port after ]: expected [address]:port")?)
        }
        None => text.split_once(':').ok_or(format!("no port: expected {SERVER_FORM}"))?,
    };
    Ok((checked_host(host.trim())?, rest.to_string()))
}

/// A name or an address without brackets; names are not looked up here.
pub fn checked_host(host: &str) -> Result<String, String> {
    let is_host_char = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%');
    if host.is_empty() {
        return Err("the host is missing: expected a name or an address".to_string());
    }
    if host.len() > HOST_BYTES_MAX {
        return Err(format!("the host has {} characters: expected {HOST_BYTES_MAX} at most", host.len()));
    }
    if !host.chars().all(is_host_char) {
        return Err(format!("{host:?} is not a host: expected a name or an address"));
    }
    Ok(host.to_string())
}

fn port(text: &str) -> Result<u16, String> {
    match text.trim().parse::<u16>() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(format!("{text:?} is not a port: expected a whole number from 1 to 65535")),
    }
}

fn peer_role(word: &str) -> Result<PeerRole, String> {
    match word.to_ascii_lowercase().as_str() {
        "participant" => Ok(PeerRole::EQUAL),
        "observer" => Ok(PeerRole::Observer),
        _ => Err(format!("{word:?} is not a role: expected participant or observer")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The parsed value as ZooKeeper would write it, or the error.
    fn check(value: &str) -> String {
        ServerAddr::parse(ServerId(1), value).map_or_else(|error| error, |server| server.to_string())
    }

    #[test]
    fn every_form_of_a_server_line_is_understood() {
        assert_eq!(check("zk1:2888:3888"), "zk1:2888:3888:participant");
        assert_eq!(check(" zk1 : 2888 : 3888 : PARTICIPANT "), "zk1:2888:3888:participant");
        assert_eq!(check("zk1:2888:3888;2181"), "zk1:2888:3888:participant;0.0.0.0:2181");
        assert_eq!(check("zk1:2888:3888;"), "zk1:2888:3888:participant");
        assert_eq!(
            check("zk1:2888:3888:participant;10.0.0.1:2181"),
            "zk1:2888:3888:participant;10.0.0.1:2181"
        );
        assert_eq!(check("[fd00::1]:2888:3888;[::1]:2181"), "[fd00::1]:2888:3888:participant;[::1]:2181");
        assert_eq!(check("[::1]:2888:3888;[::]:2181"), "[::1]:2888:3888:participant;0.0.0.0:2181");
    }

    #[test]
    fn a_server_has_an_address_in_each_of_its_networks() {
        assert_eq!(
            check("b:1:2|a:3:4"),
            "a:3:4|b:1:2:participant",
            "in the order that ZooKeeper tells them in"
        );
        assert_eq!(check("a:1:2 | [fd00::1]:1:2:observer;2181"), "a:1:2|[fd00::1]:1:2:observer;0.0.0.0:2181");
        let server = |value| ServerAddr::parse(ServerId(1), value).unwrap();
        let one = server("a:1:2|10.0.0.1:1:2");
        assert_eq!(one.shared_listener(&server("b:1:2|10.0.0.1:2:3")), Some(("10.0.0.1", 2)));
        assert_eq!(one.shared_listener(&server("b:1:2|10.0.0.2:1:2")), None);
    }

    #[test]
    fn an_observer_says_so_in_any_case() {
        assert_eq!(check("zk1:1:2:observer"), "zk1:1:2:observer");
        assert_eq!(check("zk1:1:2:OBSERVER;2181"), "zk1:1:2:observer;0.0.0.0:2181");
    }

    #[test]
    fn a_secure_client_port_stands_behind_the_plain_one() {
        assert_eq!(check("zk1:1:2;;2281"), "zk1:1:2:participant;;0.0.0.0:2281");
        assert_eq!(check("zk1:1:2;2181;10.0.0.1:2281"), "zk1:1:2:participant;0.0.0.0:2181;10.0.0.1:2281");
        assert_eq!(check("zk1:1:2;2181;"), "zk1:1:2:participant;0.0.0.0:2181");
    }

    #[test]
    fn what_does_not_fit_is_named_with_what_was_expected() {
        assert_eq!(check("zk1"), format!("no port: expected {SERVER_FORM}"));
        assert_eq!(check("zk1:2888"), format!("expected {SERVER_FORM}"));
        assert_eq!(check("fd00::1:2888:3888"), format!("expected {SERVER_FORM}"));
        assert_eq!(check(":1:2"), "the host is missing: expected a name or an address");
        assert_eq!(check("a/b:1:2"), "\"a/b\" is not a host: expected a name or an address");
        assert_eq!(check("zk1:0:2"), "\"0\" is not a port: expected a whole number from 1 to 65535");
        assert_eq!(check("zk1:1:65536"), "\"65536\" is not a port: expected a whole number from 1 to 65535");
        assert_eq!(check("zk1:1:2:leader"), "\"leader\" is not a role: expected participant or observer");
        assert_eq!(
            check("zk1:7:7"),
            "quorum port and election port are both 7: expected two different ports"
        );
        assert_eq!(check("[fd00::1:1:2"), "[ without ]: expected [address]:port");
        assert_eq!(check("[fd00::1]"), "no port after ]: expected [address]:port");
        assert_eq!(check("[zk1]:1:2"), "[zk1] is not an IPv6 address");
        assert_eq!(check("a:1:2;x"), "\"x\" is not a port: expected a whole number from 1 to 65535");
        assert_eq!(
            check("a:1:2:observer|b:1:2:participant"),
            "two roles for one server: expected the same at each address"
        );
        assert_eq!(check("a:1:2|a:3:4"), "a is there twice: expected different hosts");
        assert!(check("a:1:2|").starts_with("no port"));
        let many = ('a'..='i').map(|host| format!("{host}:1:2")).collect::<Vec<_>>().join("|");
        assert_eq!(check(&many), "9 addresses: expected 8 at most");
        assert!(check(&format!("{}:1:2", "a".repeat(256))).starts_with("the host has 256 characters"));
        assert!(check("a:1:2;3;4;5").starts_with("too many semicolons"));
    }
}
