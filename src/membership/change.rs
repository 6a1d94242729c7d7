//! How a reconfiguration changes a membership: by servers that join and leave, or as a whole.

use super::{Membership, MembershipError, PeerRole, ServerAddr, server_id};
use crate::ids::ServerId;

impl Membership {
    /// Without the servers `leaving` (ids) and with `joining` (`server.N=...`), each with commas between them. Who joins
    /// and is there already is replaced. The version stays.
    ///
    /// `standalone_enabled`: at least two must take part (see [`replaced`](Membership::replaced)).
    pub fn changed(
        &self,
        joining: &str,
        leaving: &str,
        standalone_enabled: bool,
    ) -> Result<Membership, MembershipError> {
        if self.has_groups() {
            let text = "servers with groups and weights are only changed all at once";
            return Err(MembershipError::BadArguments(text.to_string()));
        }
        let mut changed = self.clone();
        for id in items(leaving, ',') {
            // Who is no member has left already.
            if let Some(id) = id_or_stranger(id)? {
                changed.servers.remove(&id);
            }
        }
        for joiner in items(joining, ',') {
            changed.join(joiner)?;
        }
        changed.check_participants(standalone_enabled)?;
        Ok(changed)
    }

    /// With the lines `members` in place of all it had; commas count as line ends. The version stays.
    ///
    /// `standalone_enabled`: at least two must take part, as in ZooKeeper, where one alone would be a standalone server.
    pub fn replaced(&self, members: &str, standalone_enabled: bool) -> Result<Membership, MembershipError> {
        let replaced = Membership::parse(&members.replace(',', "\n"))?;
        let (participants, observers) = replaced.counts();
        let is_unexpected = match participants {
            0 => !standalone_enabled || observers > 0,
            1 => standalone_enabled && observers > 0,
            _ => false,
        };
        if is_unexpected {
            let text =
                format!("{participants} participants and {observers} observers: expected more who vote");
            return Err(MembershipError::Unreadable(text));
        }
        replaced.check_participants(standalone_enabled)?;
        Ok(replaced.with_version(self.version))
    }

    fn join(&mut self, joiner: &str) -> Result<(), MembershipError> {
        let bad = |text: String| Err(MembershipError::BadArguments(text));
        let parts: Vec<&str> = items(joiner, '=').collect();
        let [key, value] = parts[..] else {
            return bad(format!("{joiner:?}: expected server.N=host:port:port;port"));
        };
        let id = server_id(key.rsplit('.').next().unwrap_or_default())?;
        let server = match ServerAddr::parse(id, value) {
            Ok(server) => server,
            Err(error) => return bad(format!("{joiner}: {error}")),
        };
        if server.client.is_none() && server.secure_client.is_none() {
            return bad(format!("{joiner}: expected a client port behind a semicolon"));
        }
        for other in self.servers.values().filter(|other| other.id != id) {
            if let Some((host, port)) = server.shared_listener(other) {
                return bad(format!("{host}:{port} of server {id} belongs to server {}", other.id));
            }
        }
        self.servers.insert(id, server);
        Ok(())
    }

    fn check_participants(&self, standalone_enabled: bool) -> Result<(), MembershipError> {
        let needed = if standalone_enabled { 2 } else { 1 };
        let (participants, _) = self.counts();
        if participants < needed {
            let text = format!("{participants} participants: expected at least {needed}");
            return Err(MembershipError::BadArguments(text));
        }
        if !self.servers.values().any(|server| server.role.votes()) {
            return Err(MembershipError::BadArguments("no server has a weight above 0".to_string()));
        }
        Ok(())
    }

    /// How many take part, and how many observe.
    fn counts(&self) -> (usize, usize) {
        let is_observer = |server: &&ServerAddr| server.role == PeerRole::Observer;
        let observers = self.servers.values().filter(is_observer).count();
        (self.servers.len() - observers, observers)
    }
}

/// The parts of a list, trimmed, without the empty ones.
fn items(list: &str, separator: char) -> impl Iterator<Item = &str> {
    list.split(separator).map(|part| part.trim_matches(|c| c <= ' ')).filter(|part| !part.is_empty())
}

/// `None` for a number that no server here can have.
fn id_or_stranger(text: &str) -> Result<Option<ServerId>, MembershipError> {
    match server_id(text) {
        Ok(id) => Ok(Some(id)),
        Err(MembershipError::BadArguments(_)) => Ok(None),
        Err(unreadable) => Err(unreadable),
    }
}
