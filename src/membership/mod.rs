//! Who the members of an ensemble are: as `server.N`, `group.N` and `weight.N` lines, and how a reconfiguration changes
//! them, by ZooKeeper's rules.
//!
//! The same text stands in `zoo.cfg`, in `zoo.cfg.dynamic`, in the znode `/zookeeper/config` and in what clients send:
//! `java.util.Properties`, so a value may be given twice (the later one counts) and its characters may be escaped.

mod address;
mod change;
mod groups;
pub mod properties;

use std::collections::BTreeMap;
use std::fmt::{self, Write};

pub use address::{ListenAddr, PeerAddr, PeerRole, ServerAddr, checked_host, listen_host};

use crate::ids::{ServerId, Zxid};

/// The members of an ensemble, and which change made them.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Membership {
    /// The transaction that made it; [`Zxid::ZERO`] if it comes from a file.
    pub version: Zxid,
    /// Each under its own id. Groups and weights are in the roles.
    pub servers: BTreeMap<ServerId, ServerAddr>,
}

/// Why a text is no membership, or a change not possible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MembershipError {
    /// ZooKeeper answers BADARGUMENTS.
    BadArguments(String),
    /// ZooKeeper answers MARSHALLINGERROR: a number that is none, or voters that its parser does not expect.
    Unreadable(String),
}

impl fmt::Display for MembershipError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MembershipError::BadArguments(text) | MembershipError::Unreadable(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for MembershipError {}

impl Membership {
    /// Of a server list, with version 0. Of two servers with one id the later counts.
    pub fn of(servers: impl IntoIterator<Item = ServerAddr>) -> Membership {
        let servers = servers.into_iter().map(|server| (server.id, server)).collect();
        Membership { version: Zxid::ZERO, servers }
    }

    /// From the lines of [`text`](Membership::text), or of a file with nothing else in it. Who votes is not judged: see
    /// [`replaced`](Membership::replaced).
    pub fn parse(text: &str) -> Result<Membership, MembershipError> {
        let entries = properties::parse(text).map_err(|error| MembershipError::BadArguments(error.text))?;
        let lines: BTreeMap<String, String> =
            entries.into_iter().map(|entry| (entry.key, entry.value)).collect();
        let mut membership = Membership::default();
        let mut shares = groups::Shares::default();
        for (key, value) in &lines {
            if key.starts_with("group") {
                shares.add_group(key, value)?;
            } else if key.starts_with("weight") {
                shares.add_weight(key, value)?;
            } else if let Some(id) = key.strip_prefix("server.") {
                let id = server_id(id)?;
                let server = ServerAddr::parse(id, value)
                    .map_err(|error| MembershipError::BadArguments(format!("{key}={value}: {error}")))?;
                membership.servers.insert(id, server);
            } else if key == "version" {
                membership.version = version(value)?;
            } else {
                let expected = "expected server.N, group.N, weight.N and version";
                return Err(MembershipError::BadArguments(format!("{key:?} is not a key: {expected}")));
            }
        }
        shares.give(&mut membership)?;
        Ok(membership)
    }

    /// As `/zookeeper/config` shows it: a line for each server, then those of groups and weights if there are any, then
    /// `version=` in hexadecimal digits, without a line feed behind it.
    pub fn text(&self) -> String {
        let mut text = self.lines();
        let _ = write!(text, "version={:x}", self.version.0);
        text
    }

    /// The lines of [`text`](Membership::text) before the version.
    pub fn lines(&self) -> String {
        let mut text = String::new();
        for (id, server) in &self.servers {
            let _ = writeln!(text, "server.{id}={server}");
        }
        if !self.has_groups() {
            return text;
        }
        let mut groups: BTreeMap<u32, Vec<String>> = BTreeMap::new();
        for (id, group, _) in self.shares() {
            groups.entry(group).or_default().push(id.to_string());
        }
        for (group, members) in groups {
            let _ = writeln!(text, "group.{group}={}", members.join(":"));
        }
        for (id, _, weight) in self.shares() {
            let _ = writeln!(text, "weight.{id}={weight}");
        }
        text
    }

    /// The same members, made by the transaction `version`.
    pub fn with_version(self, version: Zxid) -> Membership {
        Membership { version, ..self }
    }

    /// True if both have the same servers at the same addresses with the same roles, whatever their versions.
    pub fn same_members(&self, other: &Membership) -> bool {
        self.servers == other.servers
    }

    /// True if participants count by group and weight, not all the same.
    pub fn has_groups(&self) -> bool {
        self.servers.values().any(|server| !matches!(server.role, PeerRole::EQUAL | PeerRole::Observer))
    }

    /// Who votes.
    pub fn voters(&self) -> impl Iterator<Item = ServerId> + '_ {
        self.servers.values().filter(|server| server.role.votes()).map(|server| server.id)
    }

    /// Id, group and weight of each participant.
    fn shares(&self) -> impl Iterator<Item = (ServerId, u32, u32)> {
        self.servers.values().filter_map(|server| match server.role {
            PeerRole::Participant { group, weight } => Some((server.id, group, weight)),
            PeerRole::Observer => None,
        })
    }
}

/// A number that ZooKeeper reads as a long, and that is an id here.
fn server_id(text: &str) -> Result<ServerId, MembershipError> {
    let Ok(number) = text.parse::<i64>() else {
        return Err(MembershipError::Unreadable(format!("{text:?} is not a server id")));
    };
    u8::try_from(number).map(ServerId).map_err(|_| {
        MembershipError::BadArguments(format!("{number} is not a server id: expected one from 0 to 255"))
    })
}

fn version(text: &str) -> Result<Zxid, MembershipError> {
    let is_hex = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = if is_hex { u64::from_str_radix(text, 16).ok() } else { None };
    number.map(Zxid).ok_or_else(|| {
        MembershipError::Unreadable(format!("version={text}: expected a number in hexadecimal digits"))
    })
}

#[cfg(test)]
mod tests;
