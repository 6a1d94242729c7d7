//! What the other servers speak, and what is not said to those of an older version (`docs/upgrading.md`).

use super::Replica;
use super::io::{Output, PeerMessage};
use super::local::LOCAL_SESSIONS;
use crate::ids::{ServerId, Version};
use crate::zab::{LinkId, Message, Role};

/// Brought HANDOVER (rule 20 of `docs/zab.md`).
const HAND_OVER: Version = Version(3);

/// Brought observers that are fed by followers (rule 24 of `docs/zab.md`).
pub const FEEDS: Version = Version(4);

impl Replica {
    /// A server said what it speaks; this is the greatest version that it has in common with this one.
    pub(super) fn on_peer_speaks(&mut self, peer: ServerId, version: Version) {
        let before = self.versions.insert(peer, version);
        self.compare_versions();
        if version < Version::NEWEST && before != Some(version) {
            tracing::info!(
                "server {peer} speaks version {version}, this server {}: what is newer is not used with it",
                Version::NEWEST
            );
        }
    }

    /// A server speaks something else, or others are in the ensemble.
    pub(super) fn compare_versions(&mut self) {
        let is_member = |server: &ServerId| match &self.members {
            Some(members) => members.servers.contains_key(server),
            None => self.config.zab.ensemble.members().any(|(member, _)| member == *server),
        };
        let heard = self.versions.iter().filter(|(server, _)| is_member(server));
        self.common_version = heard.map(|(_, version)| *version).fold(Version::NEWEST, Version::min);
    }

    /// What every server of the ensemble speaks, as far as this one heard: it is what transactions may need. One that was
    /// never heard is taken for new. If it is not, it is refused later, as is whoever speaks less than the data needs.
    pub fn ensemble_version(&self) -> Version {
        self.common_version.max(self.state.version())
    }

    /// Sends a message of the broadcast, if the other side knows it.
    pub(super) fn send_zab(&mut self, link: LinkId, message: Message) {
        let is_known = match (&message, self.links.get(&link)) {
            (Message::HandOver { .. }, Some(peer)) => self.speaks(*peer, HAND_OVER),
            _ => true,
        };
        if is_known {
            self.output(Output::Send { link, message: PeerMessage::Zab(message) });
        }
    }

    /// An observer is to be fed, or not any more. Not while it follows a leader that does not know of it.
    pub(super) fn seek_feed(&mut self, leader: Option<ServerId>) {
        let leader = leader.filter(|leader| self.speaks(*leader, FEEDS));
        self.output(Output::SeekFeed(leader));
    }

    fn speaks(&self, peer: ServerId, version: Version) -> bool {
        self.versions.get(&peer).is_none_or(|speaks| *speaks >= version)
    }

    /// True unless this server follows a leader that would take a local session for one that is over.
    pub(super) fn leader_knows_local_sessions(&self) -> bool {
        match self.role {
            Role::Following { leader, .. } => self.speaks(leader, LOCAL_SESSIONS),
            Role::Looking | Role::Leading { .. } => true,
        }
    }
}
