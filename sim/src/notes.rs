//! What happened inside of servers, for the report of coverage.

use std::collections::BTreeMap;

use zabra::ids::ServerId;
use zabra::replica::{Output, PeerMessage};
use zabra::zab::{LinkId, Message, Role};

use super::coverage::Coverage;

#[derive(Default)]
pub struct Notes {
    /// The newest request that each server sent to a leader.
    newest_request: BTreeMap<ServerId, u64>,
    /// How a learner is being synchronized, until NEWLEADER: cut, snapshot, transactions.
    syncs: BTreeMap<LinkId, [bool; 3]>,
}

impl Notes {
    pub fn on_stop(&mut self, id: ServerId) {
        self.newest_request.remove(&id);
    }

    /// A server gives out something.
    pub fn on_output(&mut self, id: ServerId, output: &Output, coverage: &mut Coverage) {
        match output {
            Output::Send { link, message: PeerMessage::Zab(message) } => {
                self.note_message(*link, message, coverage);
            }
            Output::Send { message: PeerMessage::Requests(requests), .. } => {
                let newest = self.newest_request.entry(id).or_default();
                for request in requests {
                    if request.request_id <= *newest {
                        coverage.count("request sent again");
                    }
                    *newest = request.request_id.max(*newest);
                }
            }
            Output::Send { message: PeerMessage::TreeDigest { .. }, .. } => coverage.count("digest compared"),
            Output::Notify { notification, .. } if notification.abstains && notification.may_vote => {
                coverage.count("a server that was elected in vain abstained");
            }
            Output::Role(Role::Leading { .. }) => coverage.count("leader established"),
            Output::CloseConn { reason, .. } => note_close(reason, coverage),
            Output::CloseLink { reason, .. } => note_step_down(reason, coverage),
            _ => {}
        }
    }

    fn note_message(&mut self, link: LinkId, message: &Message, coverage: &mut Coverage) {
        match message {
            Message::Sync { truncate_to, snapshot_zxid } => {
                self.syncs.insert(link, [truncate_to.is_some(), snapshot_zxid.is_some(), false]);
            }
            Message::Proposals { .. } => {
                if let Some(sync) = self.syncs.get_mut(&link) {
                    sync[2] = true;
                }
            }
            Message::NewLeader { .. } => coverage.count(match self.syncs.remove(&link) {
                Some([false, false, false]) | None => "DIFF of nothing",
                Some([false, false, true]) => "DIFF",
                Some([true, _, false]) => "TRUNC",
                Some([true, _, true]) => "TRUNC and DIFF",
                Some([false, true, false]) => "SNAP",
                Some([false, true, true]) => "SNAP and DIFF",
            }),
            Message::AckEpoch { promised: false, .. } => coverage.count("promise given before"),
            Message::FollowerInfo { may_vote: false, .. } => {
                coverage.count("synchronization of a server that may not vote");
            }
            _ => {}
        }
    }
}

fn note_step_down(reason: &str, coverage: &mut Coverage) {
    if reason.contains("used up") {
        coverage.count("epoch ended because its zxids were used up");
    } else if reason.contains("no quorum was heard") {
        coverage.count("a leader without quorum stepped down");
    } else if reason.contains("the disk has done nothing") {
        coverage.count("a leader with a silent disk stepped down");
    } else if reason.contains("has more") {
        coverage.count("a leader gave up for one with more");
    }
}

fn note_close(reason: &str, coverage: &mut Coverage) {
    for (part, what) in [
        ("has seen more", "client sent away: it has seen more"),
        ("outcome of an earlier", "connection closed: outcome lost"),
        ("session continues", "connection closed: session elsewhere"),
        ("no leader", "connection closed: no leader"),
        ("replaced by a snapshot", "connection closed: state replaced"),
    ] {
        if reason.contains(part) {
            coverage.count(what);
        }
    }
}
