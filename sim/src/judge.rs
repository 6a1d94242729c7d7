//! What must be true at any moment, whatever happened: one history, one state behind each of its transactions, one
//! leader for an epoch, and no word given before the disk holds it.

use std::collections::{BTreeMap, BTreeSet};

use zabra::ids::{Epoch, ServerId, SessionId, Zxid};
use zabra::replica::{Output, PeerMessage, Replica, State};
use zabra::txn::{Txn, op, txn::Body};
use zabra::zab::{LinkId, Message, PeerState, Proposal, Role};

use super::coverage::Coverage;
use super::ensemble::Server;

#[derive(Default)]
pub struct Judge {
    /// Everything that a server ever applied, by its zxid, with the zxid before it.
    history: BTreeMap<Zxid, (Zxid, Proposal)>,
    /// What follows a transaction in the one history.
    next: BTreeMap<Zxid, Zxid>,
    /// The digest of the state behind each transaction at which a server was seen.
    digests: BTreeMap<Zxid, u64>,
    /// How far each server has applied the history.
    applied: BTreeMap<ServerId, Zxid>,
    leaders: BTreeMap<Epoch, ServerId>,
    /// The newest request that each server sent to a leader.
    newest_request: BTreeMap<ServerId, u64>,
    /// How a learner is being synchronized, until NEWLEADER: cut, snapshot, transactions.
    syncs: BTreeMap<LinkId, [bool; 3]>,
    /// The values that were written into each client's znode, in the order of the history.
    pub written: BTreeMap<String, Vec<u32>>,
}

/// What is wrong.
pub type Fault = String;

impl Judge {
    /// A server starts with this state; what it applied to its snapshot was decided.
    pub fn on_start(&mut self, server: &Server, state: &State, snapshot: Zxid) -> Result<(), Fault> {
        self.note_applied(server, snapshot, state.zxid(), &mut Coverage::default())?;
        self.note_digest(server.id, state)
    }

    pub fn on_stop(&mut self, id: ServerId) {
        self.applied.remove(&id);
        self.newest_request.remove(&id);
    }

    /// A server did something.
    pub fn on_step(
        &mut self,
        server: &Server,
        replica: &Replica,
        coverage: &mut Coverage,
    ) -> Result<(), Fault> {
        let state = replica.state();
        let before = self.applied.get(&server.id).copied().unwrap_or_default();
        if before == state.zxid() {
            return Ok(());
        }
        if state.zxid() < before {
            return Err(format!("server {} went back from {before} to {}", server.id, state.zxid()));
        }
        if state.zxid() > server.disk.synced {
            return Err(format!("server {} applied {} before its disk had it", server.id, state.zxid()));
        }
        let sessions = self.note_applied(server, before, state.zxid(), coverage)?;
        for session in sessions {
            if state.sessions.get(session).is_none() && !state.tree.ephemerals(session).is_empty() {
                return Err(format!(
                    "{} outlive their session {session}",
                    state.tree.ephemerals(session).join(" ")
                ));
            }
        }
        self.note_digest(server.id, state)
    }

    /// A server applied what its log holds in `after..=through`. Returns the sessions concerned.
    fn note_applied(
        &mut self,
        server: &Server,
        after: Zxid,
        through: Zxid,
        coverage: &mut Coverage,
    ) -> Result<BTreeSet<SessionId>, Fault> {
        let mut sessions = BTreeSet::new();
        let mut before = after;
        for proposal in server.disk.logged(after, through) {
            let next = *self.next.entry(before).or_insert(proposal.zxid);
            if next != proposal.zxid {
                return Err(format!(
                    "behind {before} server {} applied {}, another one {next}",
                    server.id, proposal.zxid
                ));
            }
            let txn = Txn::from_bytes(proposal.txn.clone()).map_err(|error| error.to_string())?;
            sessions.insert(SessionId(txn.session_id));
            if let Some((_, known)) = self.history.get(&proposal.zxid) {
                if known != proposal {
                    return Err(format!("server {} has another transaction {next}", server.id));
                }
            } else {
                self.history.insert(proposal.zxid, (before, proposal.clone()));
                self.note_decided(&txn, coverage);
            }
            before = proposal.zxid;
        }
        if before != through && !self.history.contains_key(&through) {
            return Err(format!("server {} is at {through}, which nobody applied", server.id));
        }
        self.applied.insert(server.id, through);
        Ok(sessions)
    }

    /// A transaction is seen for the first time.
    fn note_decided(&mut self, txn: &Txn, coverage: &mut Coverage) {
        match &txn.body {
            Some(Body::CreateSession(_)) => coverage.count("session opened"),
            Some(Body::CloseSession(close)) => {
                let what = if txn.request_id == 0 { "session expired" } else { "session closed" };
                coverage.count(what);
                if !close.paths.is_empty() {
                    coverage.count("ephemeral removed with its session");
                }
            }
            Some(Body::Ops(_)) | None => {}
        }
        for op in txn.ops() {
            if let Some(op::Op::SetData(set)) = &op.op
                && let Some(data) = &set.data
                && let Ok(Ok(value)) = std::str::from_utf8(data).map(str::parse)
            {
                self.written.entry(set.path.clone()).or_default().push(value);
            }
        }
    }

    fn note_digest(&mut self, id: ServerId, state: &State) -> Result<(), Fault> {
        let digest = state.digest();
        let known = *self.digests.entry(state.zxid()).or_insert(digest);
        if known == digest {
            Ok(())
        } else {
            Err(format!("server {id} has another state at {}", state.zxid()))
        }
    }

    /// A server gives out something.
    pub fn on_output(
        &mut self,
        server: &Server,
        output: &Output,
        coverage: &mut Coverage,
    ) -> Result<(), Fault> {
        match output {
            Output::Send { link, message: PeerMessage::Zab(message) } => {
                self.note_sync(*link, message, coverage);
                given_word(server, message)
            }
            Output::Send { message: PeerMessage::Requests(requests), .. } => {
                let newest = self.newest_request.entry(server.id).or_default();
                for request in requests {
                    if request.request_id <= *newest {
                        coverage.count("request sent again");
                    }
                    *newest = request.request_id.max(*newest);
                }
                Ok(())
            }
            Output::Send { message: PeerMessage::TreeDigest { .. }, .. } => {
                coverage.count("digest compared");
                Ok(())
            }
            Output::Notify { notification, .. }
                if notification.state == PeerState::Looking
                    && notification.vote.server_id == server.id
                    && notification.vote.last_zxid > server.disk.synced =>
            {
                Err(format!("server {} votes with what its disk does not have", server.id))
            }
            Output::Notify { notification, .. } if notification.abstains && notification.may_vote => {
                coverage.count("a server that was elected in vain abstained");
                Ok(())
            }
            Output::Role(Role::Leading { epoch }) => {
                coverage.count("leader established");
                let known = *self.leaders.entry(*epoch).or_insert(server.id);
                if known == server.id {
                    Ok(())
                } else {
                    Err(format!("servers {known} and {} lead in epoch {epoch}", server.id))
                }
            }
            Output::CloseConn { reason, .. } => {
                note_close(reason, coverage);
                Ok(())
            }
            Output::CloseLink { reason, .. } => {
                if reason.contains("used up") {
                    coverage.count("epoch ended because its zxids were used up");
                } else if reason.contains("no quorum was heard") {
                    coverage.count("a leader without quorum stepped down");
                } else if reason.contains("the disk has done nothing") {
                    coverage.count("a leader with a silent disk stepped down");
                } else if reason.contains("has more") {
                    coverage.count("a leader gave up for one with more");
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn note_sync(&mut self, link: LinkId, message: &Message, coverage: &mut Coverage) {
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

    /// The end of the one history.
    pub fn end(&self) -> Zxid {
        self.history.last_key_value().map_or(Zxid::ZERO, |(zxid, _)| *zxid)
    }

    /// True if a transaction is in the one history.
    pub fn holds(&self, zxid: Zxid) -> bool {
        self.history.contains_key(&zxid)
    }
}

/// Nothing is promised before the disk has it.
fn given_word(server: &Server, message: &Message) -> Result<(), Fault> {
    let (disk, epoch) = (&server.disk, &server.disk.epoch);
    let holds = match message {
        Message::Ack { through } => *through <= disk.synced,
        Message::LeaderInfo { epoch: proposed } => *proposed <= epoch.accepted_epoch,
        Message::NewLeader { epoch: held, .. } | Message::AckNewLeader { epoch: held } => {
            *held == epoch.current_epoch
        }
        _ => true,
    };
    if holds { Ok(()) } else { Err(format!("server {} says {message:?} before its disk has it", server.id)) }
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
