//! Addresses: where a server listens to clients, and the `server.N` lines of the ensemble.

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
    /// What it is.
    pub role: PeerRole,
    /// Where clients reach this server, if its line says so.
    pub client: Option<ListenAddr>,
}

impl fmt::Display for ServerAddr {
    /// As ZooKeeper writes the value of a `server.N` key in `conf` and in `/zookeeper/config`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = bracketed(&self.host);
        let role = match self.role {
            PeerRole::Participant { .. } => "participant",
            PeerRole::Observer => "observer",
        };
        write!(f, "{host}:{}:{}:{role}", self.quorum_port, self.election_port)?;
        match &self.client {
            Some(client) => write!(f, ";{client}"),
            None => Ok(()),
        }
    }
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_string() }
}

/// What a `server.N` value holds beside the address, which this server has no use for yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ignored {
    /// `;;secureClientPort`
    SecureClientPort,
}

/// What is expected of a `server.N` value.
pub(super) const SERVER_FORM: &str = "host:quorumPort:electionPort[:participant|:observer][;[address:]clientPort], an IPv6 address in brackets";

/// Parses the value of `server.<id>`.
pub(super) fn server(id: ServerId, value: &str) -> Result<(ServerAddr, Option<Ignored>), String> {
    let mut parts = value.split(';').map(str::trim);
    let address = parts.next().unwrap_or_default();
    if address.contains('|') {
        return Err(
            "several addresses for one server (with |) are not supported yet: expected one".to_string()
        );
    }
    let client = match parts.next() {
        None | Some("") => None,
        Some(text) => Some(listen_addr(text)?),
    };
    let ignored = match parts.next() {
        None | Some("") => None,
        Some(_) => Some(Ignored::SecureClientPort),
    };
    if parts.next().is_some() {
        return Err(format!("too many semicolons: expected {SERVER_FORM}"));
    }
    let (host, rest) = host_and_rest(address)?;
    let fields: Vec<&str> = rest.split(':').map(str::trim).collect();
    let (quorum_port, election_port, role) = match fields[..] {
        [quorum, election] => (port(quorum)?, port(election)?, PeerRole::EQUAL),
        [quorum, election, word] => (port(quorum)?, port(election)?, peer_role(word)?),
        _ => return Err(format!("expected {SERVER_FORM}")),
    };
    if quorum_port == election_port {
        return Err(format!(
            "quorum port and election port are both {quorum_port}: expected two different ports"
        ));
    }
    Ok((ServerAddr { id, host, quorum_port, election_port, role, client }, ignored))
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
pub(super) fn listen_host(host: &str) -> Option<String> {
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
            if host.parse::<std::net::Ipv6Addr>().is_err() {
                return Err(format!("[{host}] is not an IPv6 address"));
            }
            (host, rest.strip_prefix(':').ok_or("no port after ]: expected [address]:port")?)
        }
        None => text.split_once(':').ok_or(format!("no port: expected {SERVER_FORM}"))?,
    };
    Ok((checked_host(host.trim())?, rest.to_string()))
}

/// A name or an address without brackets; names are not looked up here.
pub(super) fn checked_host(host: &str) -> Result<String, String> {
    let is_host_char = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%');
    if host.is_empty() {
        return Err("the host is missing: expected a name or an address".to_string());
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
        match server(ServerId(1), value) {
            Ok((server, None)) => server.to_string(),
            Ok((server, Some(ignored))) => format!("{server} ignored {ignored:?}"),
            Err(error) => error,
        }
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
    fn an_observer_says_so_in_any_case() {
        assert_eq!(check("zk1:1:2:observer"), "zk1:1:2:observer");
        assert_eq!(check("zk1:1:2:OBSERVER;2181"), "zk1:1:2:observer;0.0.0.0:2181");
    }

    #[test]
    fn a_secure_client_port_is_ignored_and_told() {
        assert_eq!(check("zk1:1:2;;2281"), "zk1:1:2:participant ignored SecureClientPort");
        assert_eq!(check("zk1:1:2;2181;2281"), "zk1:1:2:participant;0.0.0.0:2181 ignored SecureClientPort");
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
        assert!(check("a:1:2|b:1:2").starts_with("several addresses for one server"));
        assert!(check("a:1:2;3;4;5").starts_with("too many semicolons"));
    }
}
