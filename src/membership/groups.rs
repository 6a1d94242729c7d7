//! `group.N` and `weight.N` lines of a membership: what each participant counts for.

use std::collections::BTreeMap;

use super::{Membership, MembershipError, PeerRole, server_id};
use crate::ids::ServerId;

/// What the lines say, until all servers are known.
#[derive(Default)]
pub(super) struct Shares {
    groups: BTreeMap<ServerId, u32>,
    weights: BTreeMap<ServerId, u32>,
    /// ZooKeeper takes a file with any such line for one with groups.
    is_used: bool,
}

impl Shares {
    pub fn add_group(&mut self, key: &str, value: &str) -> Result<(), MembershipError> {
        self.is_used = true;
        let group = number(key, key.split_once('.').map_or(key, |(_, number)| number))?;
        for id in value.split(':') {
            let id = server_id(id)?;
            if self.groups.insert(id, group).is_some() {
                return Err(MembershipError::BadArguments(format!("server {id} is in two groups")));
            }
        }
        Ok(())
    }

    pub fn add_weight(&mut self, key: &str, value: &str) -> Result<(), MembershipError> {
        self.is_used = true;
        let id = server_id(key.split_once('.').map_or(key, |(_, id)| id))?;
        self.weights.insert(id, number(key, value)?);
        Ok(())
    }

    /// Gives the participants of `membership` their groups and weights.
    pub fn give(mut self, membership: &mut Membership) -> Result<(), MembershipError> {
        if !self.is_used {
            return Ok(());
        }
        for server in membership.servers.values_mut() {
            let PeerRole::Participant { .. } = server.role else { continue };
            let Some(group) = self.groups.remove(&server.id) else {
                let text = format!("server {} is in no group, though there are some", server.id);
                return Err(MembershipError::BadArguments(text));
            };
            let weight = self.weights.remove(&server.id).unwrap_or(1);
            server.role = PeerRole::Participant { group, weight };
        }
        // ZooKeeper counts weights for those that no server has, and observers: a quorum might never be reached.
        match self.groups.keys().chain(self.weights.keys()).next() {
            Some(id) => {
                Err(MembershipError::Unreadable(format!("server {id} has a group or weight, and no vote")))
            }
            None => Ok(()),
        }
    }
}

fn number(key: &str, text: &str) -> Result<u32, MembershipError> {
    text.parse().map_err(|_| MembershipError::Unreadable(format!("{key}: {text:?} is not a whole number")))
}
