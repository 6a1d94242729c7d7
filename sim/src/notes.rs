//! What happened inside of servers, for the report of coverage.

use std::collections::BTreeMap;

use zabra::ids::{ServerId, Zxid};
use zabra::replica::{Output, PeerMessage};
use zabra::txn::Txn;
use zabra::zab::{DiskOp, LinkId, Member, Message, Notification, PeerState, Role};

use super::coverage::Coverage;
use super::ensemble::Server;
use super::judge::Servers;

fn note_cut(server: &Server, through: Zxid, coverage: &mut Coverage) {
    let mut cut = server.disk.logged(through, Zxid(u64::MAX));
    if cut.any(|proposal| Txn::begins_as_reconfiguration(&proposal.txn)) {
        coverage.count("rule 21: a configuration was cut off a log");
    }
}

/// True by what the server itself has written down of the ensemble.
fn votes(server: &Server) -> bool {
    server.listed.get(&server.id).is_some_and(|member| *member != Member::Observer)
}

#[derive(Default)]
pub struct Notes {
    /// The newest request that each server sent to a leader.
    newest_request: BTreeMap<ServerId, u64>,
    links: BTreeMap<LinkId, Link>,
    /// Who is to lead, as the last leader said when it left.
    named: Option<ServerId>,
}

/// What was said between a learner and its leader.
#[derive(Default)]
struct Link {
    /// It is between an observer and a follower.
    is_feed: bool,
    /// How the learner is being synchronized, until NEWLEADER: cut, snapshot, transactions.
    sync: [bool; 3],
    /// NEWLEADER was sent.
    has_history: bool,
    /// The learner acknowledged NEWLEADER.
    counts: bool,
    /// The newest acknowledgement that the learner sent.
    acked: Zxid,
}

impl Notes {
    pub fn on_stop(&mut self, id: ServerId) {
        self.newest_request.remove(&id);
    }

    /// A server gives out something.
    pub fn on_output(
        &mut self,
        servers: &Servers,
        server: &Server,
        output: &Output,
        coverage: &mut Coverage,
    ) {
        match output {
            Output::Send { link, message: PeerMessage::Zab(message) } => {
                self.note_message(server, *link, message, coverage);
            }
            Output::Send { message: PeerMessage::Requests(requests), .. } => {
                if server.observes {
                    coverage.count("an observer passed on what clients asked for");
                }
                let newest = self.newest_request.entry(server.id).or_default();
                for request in requests {
                    if request.request_id <= *newest {
                        coverage.count("request sent again");
                    }
                    *newest = request.request_id.max(*newest);
                }
            }
            Output::Send { message: PeerMessage::TreeDigest { .. }, .. } => coverage.count("digest compared"),
            Output::Notify { to, notification } => {
                if !server.listed.contains_key(to) {
                    coverage.count("rule 23: a stranger was told");
                }
                note_vote(server, notification, coverage);
            }
            Output::Disk { op: DiskOp::Truncate { through }, .. } => note_cut(server, *through, coverage),
            Output::Follow(Some(leader)) => {
                let leads = matches!(servers[leader].role, Role::Leading { .. });
                coverage.count(match leads {
                    true => "rule 3: a leader was joined without an election",
                    false => "rule 3: a quorum decided",
                });
            }
            Output::Disk { op: DiskOp::SaveEpoch(record), .. }
                if record.may_vote && !server.disk.epoch.may_vote =>
            {
                coverage.count("rule 4: a server took up its vote");
            }
            Output::Role(Role::Leading { .. }) => {
                coverage.count("rule 12: a leader was established");
                if self.named.take() == Some(server.id) {
                    coverage.count("rule 20: whom the last leader named leads");
                }
            }
            Output::Role(Role::Following { .. }) if server.observes => {
                coverage.count("an observer followed a leader")
            }
            Output::HandedOver { to: Some(to) } => {
                self.named = Some(*to);
                coverage.count("rule 20: a leader left its place to another");
            }
            Output::HandedOver { to: None } => {
                coverage.count("rule 20: a leader had nobody to leave its place to")
            }
            Output::CloseConn { reason, .. } => note_close(reason, coverage),
            Output::CloseLink { link, reason } => {
                self.links.remove(link);
                note_step_down(reason, coverage);
            }
            _ => {}
        }
    }

    fn note_message(&mut self, server: &Server, id: LinkId, message: &Message, coverage: &mut Coverage) {
        let link = self.links.entry(id).or_default();
        if link.is_feed {
            if let Message::Proposals { .. } = message {
                coverage.count("rule 24: a transaction went from a follower to an observer");
            }
            return;
        }
        match message {
            Message::Subscribe { .. } => link.is_feed = true,
            Message::Fed => coverage.count("rule 24: an observer was fed by a follower"),
            Message::Unfed { .. } => coverage.count("rule 24: a feed ended, and the leader went on"),
            Message::FollowerInfo { .. } if server.observes => {}
            Message::FollowerInfo { may_vote: false, .. } => {
                coverage.count("rule 4: a server that may not vote was synchronized");
            }
            Message::HandOver { .. } if !votes(server) => {
                coverage.count("rule 22: a leader left that is no voter any more");
            }
            Message::AckEpoch { promised: false, .. } => {
                coverage.count("rule 6: a promise had been given before");
            }
            Message::Sync { truncate_to, snapshot_zxid } => {
                link.sync = [truncate_to.is_some(), snapshot_zxid.is_some(), false];
            }
            Message::Proposals { proposals, committed, .. } => {
                link.sync[2] = true;
                if proposals.len() > 1 {
                    coverage.count("rule 14: what gathered went in one message");
                }
                if link.has_history && !link.counts {
                    coverage.count(
                        "rule 12: a transaction went to a follower that had not acknowledged NEWLEADER",
                    );
                }
                link.note_commit(*committed, coverage);
            }
            Message::NewLeader { .. } => {
                link.has_history = true;
                coverage.count("rule 8: a candidate had a quorum of promises");
                coverage.count(match link.sync {
                    [false, false, false] => "rule 9: DIFF of nothing",
                    [false, false, true] => "rule 9: DIFF",
                    [true, _, false] => "rule 9: TRUNC",
                    [true, _, true] => "rule 9: TRUNC and DIFF",
                    [false, true, false] => "rule 9: SNAP",
                    [false, true, true] => "rule 9: SNAP and DIFF",
                });
            }
            Message::Ack { through } => {
                link.acked = *through;
                if !link.counts {
                    coverage.count("rule 11: an acknowledgement came before the one of NEWLEADER");
                }
            }
            Message::AckNewLeader { .. } => {
                link.counts = true;
                coverage.count("rule 10: a follower acknowledged the history");
            }
            Message::Commit { through } => link.note_commit(*through, coverage),
            _ => {}
        }
    }
}

impl Link {
    /// The follower is told of a commit.
    fn note_commit(&self, through: Zxid, coverage: &mut Coverage) {
        if self.counts && through > self.acked {
            coverage.count("rule 15: a follower was told of a commit before its own acknowledgement");
        }
    }
}

fn note_vote(server: &Server, notification: &Notification, coverage: &mut Coverage) {
    if notification.state != PeerState::Looking {
        return;
    }
    if !notification.may_vote && server.disk.epoch.may_vote {
        coverage.count("rule 1: a vote waited for the disk");
    }
    if notification.vote.server_id != server.id {
        coverage.count("rule 2: a greater vote was taken");
    }
    if notification.abstains && notification.may_vote {
        coverage.count("rule 2: a server that was elected in vain abstained");
    }
}

fn note_step_down(reason: &str, coverage: &mut Coverage) {
    if reason.contains("used up") {
        coverage.count("rule 18: an epoch was used up");
    } else if reason.contains("no quorum was heard") {
        coverage.count("rule 16: a leader without quorum stepped down");
    } else if reason.contains("the disk has done nothing") {
        coverage.count("rule 19: a leader with a silent disk stepped down");
    } else if reason.contains("has promised epoch") {
        coverage.count("rule 5: a leader gave up for a newer promise");
    } else if reason.contains("has more") {
        coverage.count("rule 7: a leader gave up for one with more");
    } else if reason.contains("behind the leader") {
        coverage.count("rule 24: a follower that was late was left");
    } else if reason.contains("cannot feed") {
        coverage.count("rule 24: a follower could not feed");
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
