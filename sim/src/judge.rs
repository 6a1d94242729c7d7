//! Shows the checkers what servers do, at every step.

use std::collections::{BTreeMap, BTreeSet};

use zabra::ids::{Epoch, ServerId, SessionId, Zxid};
use zabra::replica::{Input, Output, PeerMessage, Replica, State};
use zabra::txn::{Txn, txn::Body};
use zabra::zab::{DiskDone, DiskOp, LinkId, Message, Proposal, Role};

use super::checkers::agreement::{self, Agreement};
use super::checkers::committed_log_monotonicity::{self, CommittedLogMonotonicity};
use super::checkers::configurations::{self, Configurations};
use super::checkers::digests::{self, Digests};
use super::checkers::epochs::{self, Epochs};
use super::checkers::expiry::{self, Expiry};
use super::checkers::integrity::{self, Integrity};
use super::checkers::leadership::{self, Leadership};
use super::checkers::local_primary_order::{self, LocalPrimaryOrder};
use super::checkers::log_contiguity::{self, LogContiguity};
use super::checkers::message_legal::{self, MessageLegal};
use super::checkers::prefix_consistency::{self, PrefixConsistency};
use super::checkers::primary_integrity::{self, PrimaryIntegrity};
use super::checkers::process_consistency::{self, ProcessConsistency};
use super::checkers::purge::{self, Purge};
use super::checkers::quorum_durable::{self, QuorumDurable};
use super::checkers::resources::{self, Kept, Known};
use super::checkers::total_order::{self, TotalOrder};
use super::checkers::{
    ack_durable, committed_log_durability, ephemerals, global_primary_order, leader_log_completeness,
    limited, memory_durable, quotas, require, snapshots,
};
use super::configs::Configs;
use super::coverage::Coverage;
use super::disk::Part;
use super::ensemble::Server;
use super::notes;
use super::shape::Shape;
use super::witness::Witness;

/// All the checkers, and what they share.
pub struct Judge {
    pub witness: Witness,
    pub expiry: Expiry,
    leadership: Leadership,
    prefix: PrefixConsistency,
    decided: Agreement,
    order: TotalOrder,
    integrity: Integrity,
    local_order: LocalPrimaryOrder,
    primary: PrimaryIntegrity,
    monotonicity: CommittedLogMonotonicity,
    process: ProcessConsistency,
    legal: MessageLegal,
    durable: QuorumDurable,
    pub configs: Configs,
    configurations: Configurations,
    epochs: Epochs,
    logs: LogContiguity,
    digests: Digests,
    purge: Purge,
    /// How far each server has applied the history.
    applied: BTreeMap<ServerId, Zxid>,
    /// How far it had before its newest step.
    applied_before: BTreeMap<ServerId, Zxid>,
    /// What each server was told of clients.
    known: BTreeMap<ServerId, Known>,
    notes: notes::Notes,
}

/// The servers of an ensemble.
pub type Servers = BTreeMap<ServerId, Server>;

impl Judge {
    /// Of an ensemble of this kind.
    pub fn new(shape: Shape) -> Judge {
        Judge {
            witness: Witness::default(),
            expiry: Expiry::default(),
            leadership: Leadership::default(),
            prefix: PrefixConsistency::default(),
            decided: Agreement::default(),
            order: TotalOrder::default(),
            integrity: Integrity::default(),
            local_order: LocalPrimaryOrder::default(),
            primary: PrimaryIntegrity::default(),
            monotonicity: CommittedLogMonotonicity::default(),
            process: ProcessConsistency::default(),
            legal: MessageLegal::default(),
            durable: QuorumDurable::default(),
            configs: Configs::new(shape.members()),
            configurations: Configurations::default(),
            epochs: Epochs::default(),
            logs: LogContiguity::default(),
            digests: Digests::default(),
            purge: Purge::default(),
            applied: BTreeMap::new(),
            applied_before: BTreeMap::new(),
            known: BTreeMap::new(),
            notes: notes::Notes::default(),
        }
    }

    /// A server starts with this state; what it applied to its snapshot was decided.
    pub fn on_start(&mut self, server: &Server, state: &State, snapshot: Zxid) {
        let id = server.id;
        require(snapshots::NAME, snapshots::started_from(id, snapshot, &self.decided));
        require(total_order::NAME, self.order.begins(id, snapshot));
        require(committed_log_monotonicity::NAME, self.monotonicity.starts(id, server.disk.synced));
        let logged = server.disk.log().keys().copied();
        require(log_contiguity::NAME, self.logs.starts(id, logged, server.disk.synced));
        self.durable.starts(id);
        let logged = server.disk.log().values().filter(|it| Txn::begins_as_reconfiguration(&it.txn));
        self.configurations.starts(id, logged.map(|proposal| proposal.zxid).collect());
        self.on_disk(server);
        self.note_applied(server, snapshot, state.zxid(), &mut Coverage::default());
        require(quotas::NAME, quotas::are_in(id, state.zxid(), &state.tree, &self.witness.model));
        require(digests::NAME, self.digests.is_in(id, state.zxid(), state.digest()));
    }

    pub fn on_stop(&mut self, id: ServerId) {
        self.applied.remove(&id);
        self.known.remove(&id);
        self.witness.locals.stops(id);
        self.process.stops(id);
        self.expiry.leads(id, None);
        self.notes.on_stop(id);
    }

    /// A server loses its disk, or part of what it holds.
    pub fn on_wipe(&mut self, id: ServerId) {
        self.on_decay(id, Part::Epoch);
    }

    /// A part of what a dead server has on its disk is damaged, so that it begins with nothing; it keeps its promises if
    /// the epoch file is whole.
    pub fn on_decay(&mut self, id: ServerId, part: Part) {
        self.monotonicity.forgets(id);
        self.durable.lost(id);
        match part {
            Part::Log | Part::Tail => self.epochs.loses_vote(id),
            Part::Epoch => self.epochs.forgets(id),
        }
    }

    /// Something happens to a server.
    pub fn on_input(&mut self, server: &Server, replica: &Replica, now: u64, input: &Input) {
        let id = server.id;
        let is_leader = self.expiry.is_leader(id);
        match input {
            Input::Heard(conns) => {
                for session in conns.iter().filter_map(|conn| replica.session_of(*conn)) {
                    self.witness.locals.touched(session, now);
                    let model = &self.witness.model;
                    if is_leader {
                        self.expiry.touched(session, now);
                    } else if let Role::Following { .. } = server.role
                        && model.is_open(session, model.end())
                    {
                        require(expiry::NAME, self.expiry.heard(id, session, now));
                    }
                }
                self.check_resources(id, replica);
            }
            Input::Peer { message: PeerMessage::Touched(sessions), .. } if is_leader => {
                sessions.iter().for_each(|session| self.expiry.touched(*session, now));
            }
            Input::Connect { conn, .. } => {
                self.known.entry(id).or_default().insert(*conn, 1);
            }
            Input::Request { conn, xid, .. } => {
                if let Some(session) = replica.session_of(*conn) {
                    self.witness.arrived(session, *xid);
                }
                if let Some(waiting) = self.known.entry(id).or_default().get_mut(conn) {
                    *waiting += 1;
                }
            }
            Input::Disconnected { conn } => {
                self.known.entry(id).or_default().remove(conn);
            }
            Input::Disk(DiskDone::InstallFailed { .. }) => self.logs.ends_at(id, server.disk.log_end()),
            Input::SnapshotWritten { .. } => self.purge.snapshot_written(id),
            _ => {}
        }
    }

    fn check_resources(&self, id: ServerId, replica: &Replica) {
        let status = replica.status();
        let kept = Kept {
            connections: status.connections,
            outstanding: status.outstanding,
            watchers: replica.watches().conns().collect(),
        };
        let none = Known::default();
        require(resources::NAME, resources::bounded(id, &kept, self.known.get(&id).unwrap_or(&none)));
    }

    /// The disk of a server did something.
    pub fn on_disk(&mut self, server: &Server) {
        let (id, disk) = (server.id, &server.disk);
        // A snapshot of a new epoch may be there before the epoch; until then the server serves nobody.
        let serves = server.role != Role::Looking;
        let applied = self.applied.get(&id).copied().filter(|_| serves).unwrap_or_default();
        require(epochs::NAME, self.epochs.holds(id, &disk.epoch, applied.epoch()));
        if disk.epoch.may_vote && self.durable.noted(id) < disk.synced {
            let known = disk.logged(self.durable.noted(id), disk.synced);
            let known = known.filter(|proposal| self.integrity.is_broadcast(proposal));
            let zxids: Vec<Zxid> = known.map(|proposal| proposal.zxid).collect();
            self.durable.durable(id, zxids, disk.synced);
        }
        if self.purge.is_due(id) {
            let found = disk.would_start();
            require(purge::NAME, purge::would_start(id, &found, disk.synced, &self.digests));
        }
    }

    /// A server did something.
    pub fn on_step(&mut self, server: &Server, replica: &Replica, coverage: &mut Coverage) {
        let (id, state) = (server.id, replica.state());
        let before = self.applied.get(&id).copied().unwrap_or_default();
        self.applied_before.insert(id, before);
        if before == state.zxid() {
            return;
        }
        require(committed_log_monotonicity::NAME, self.monotonicity.is_at(id, state.zxid()));
        require(memory_durable::NAME, memory_durable::is_at(id, state.zxid(), server.disk.synced));
        if self.note_applied(server, before, state.zxid(), coverage) {
            coverage.count("state taken over");
            require(quotas::NAME, quotas::are_in(id, state.zxid(), &state.tree, &self.witness.model));
        }
        let is_open = |session: SessionId| state.sessions.get(session).is_some();
        let owners = state.tree.ephemeral_owners();
        require(ephemerals::NAME, ephemerals::is_in(id, state.zxid(), owners, is_open));
        require(digests::NAME, self.digests.is_in(id, state.zxid(), state.digest()));
        let version = replica.config_in_force();
        require(configurations::NAME, configurations::in_force(id, state.zxid(), version, &self.configs));
    }

    /// A client is told that its reconfiguration is done.
    pub fn reconfigured(&self, servers: &Servers, zxid: Zxid) {
        // A disk that was lost since may have been one of them.
        let knows = |server: &&Server| {
            !server.disk.epoch.may_vote
                || server.disk.would_start().map_or(true, |recovery| recovery.zxid >= zxid)
        };
        let knowing = servers.values().filter(knows).map(|server| server.id).collect();
        if let Some(members) = self.configs.members(zxid) {
            require(configurations::NAME, configurations::answered(zxid, &knowing, members));
        }
    }

    /// A server applied what its log holds in `after..=through`, or took over the state there. Returns whether it did that.
    fn note_applied(&mut self, server: &Server, after: Zxid, through: Zxid, coverage: &mut Coverage) -> bool {
        let id = server.id;
        let mut before = after;
        for proposal in server.disk.logged(after, through) {
            self.note_delivered(id, before, proposal, coverage);
            self.note_secured(server, proposal);
            before = proposal.zxid;
        }
        let is_taken_over = before != through;
        if is_taken_over {
            require(agreement::NAME, self.decided.took_over(id, through));
            require(total_order::NAME, self.order.begins(id, through));
        }
        self.applied.insert(id, through);
        is_taken_over
    }

    /// What a server delivers that serves in the epoch of the transaction was decided in that epoch.
    fn note_secured(&mut self, server: &Server, proposal: &Proposal) {
        let is_of_epoch = match server.role {
            Role::Following { epoch, .. } | Role::Leading { epoch } => epoch == proposal.zxid.epoch(),
            Role::Looking => false,
        };
        if is_of_epoch
            && !self.configs.is_secured()
            && let Ok(txn) = Txn::from_bytes(proposal.txn.clone())
        {
            self.configs.decided_in_epoch(&txn);
        }
    }

    fn note_delivered(&mut self, id: ServerId, before: Zxid, proposal: &Proposal, coverage: &mut Coverage) {
        let zxid = proposal.zxid;
        require(prefix_consistency::NAME, self.prefix.delivered(id, before, zxid));
        require(integrity::NAME, self.integrity.delivered(id, before, proposal));
        require(total_order::NAME, self.order.delivered(id, zxid));
        require(global_primary_order::NAME, global_primary_order::delivered(id, before, zxid));
        require(local_primary_order::NAME, self.local_order.delivered(id, before, zxid));
        require(primary_integrity::NAME, self.primary.delivered(zxid));
        match self.decided.delivered(id, proposal) {
            Ok(false) => {}
            Ok(true) => {
                let txn = Txn::from_bytes(proposal.txn.clone());
                let txn = txn.unwrap_or_else(|error| panic!("{zxid} is no transaction: {error}"));
                let needed = self.configs.needed_for(&txn);
                require(quorum_durable::NAME, self.durable.delivered(id, zxid, &needed));
                if let Some(Body::CreateSession(create)) = &txn.body {
                    self.expiry.opened(SessionId(txn.session_id), u64::from(create.timeout_ms));
                }
                self.witness.decided(zxid, &txn, &self.configs, coverage);
                self.configs.decided(zxid, &txn);
            }
            Err(why) => require(agreement::NAME, Err(why)),
        }
    }

    /// What a server gives out is of the states behind this zxid, or of the state there if it did nothing else.
    pub fn applied_before(&self, id: ServerId) -> Zxid {
        self.applied_before.get(&id).copied().unwrap_or_default()
    }

    /// A server gives out something.
    pub fn on_output(
        &mut self,
        servers: &Servers,
        id: ServerId,
        now: u64,
        output: &Output,
        coverage: &mut Coverage,
    ) {
        let server = &servers[&id];
        self.notes.on_output(servers, server, output, coverage);
        match output {
            Output::Send { link, message: PeerMessage::Zab(message) } => {
                self.on_message(servers, server, *link, message);
            }
            Output::Send { message: PeerMessage::Touched(sessions), .. } => {
                self.expiry.passes_on(id, sessions);
            }
            Output::Notify { notification, .. } => {
                let (synced, epoch) = (server.disk.synced, &server.disk.epoch);
                require(ack_durable::NAME, ack_durable::notifies(id, notification, synced, epoch));
            }
            Output::Role(role) => self.on_role(server, *role, now),
            Output::Membership { active, pending } => {
                for membership in std::iter::once(active).chain(pending) {
                    require(configurations::NAME, self.configurations.told(id, membership));
                }
            }
            Output::Disk { op, .. } => self.on_disk_op(server, op, now),
            Output::StreamSnapshot { link, image } => {
                require(message_legal::NAME, self.legal.streams(id, *link));
                let made = snapshots::made(id, image.zxid(), image.digest(), &self.digests);
                require(snapshots::NAME, made);
            }
            Output::WriteSnapshot { image } => {
                let made = snapshots::made(id, image.zxid(), image.digest(), &self.digests);
                require(snapshots::NAME, made);
            }
            Output::CloseLink { link, reason } => {
                require(message_legal::NAME, self.legal.closes(id, *link, reason));
            }
            Output::Connected { conn, .. } | Output::Reply { conn, .. } => {
                if let Some(waiting) = self.known.entry(id).or_default().get_mut(conn) {
                    *waiting = waiting.saturating_sub(1);
                }
            }
            Output::CloseConn { conn, .. } => {
                self.known.entry(id).or_default().remove(conn);
            }
            _ => {}
        }
    }

    fn on_role(&mut self, server: &Server, role: Role, now: u64) {
        let id = server.id;
        self.expiry.leads(id, None);
        if let Role::Leading { epoch } = role {
            require(leadership::NAME, self.leadership.established(id, epoch));
            let (synced, log) = (server.disk.synced, server.disk.log());
            let complete = leader_log_completeness::established(id, epoch, synced, log, &self.decided);
            require(leader_log_completeness::NAME, complete);
            self.expiry.leads(id, Some((epoch, now)));
        }
    }

    fn on_message(&mut self, servers: &Servers, server: &Server, link: LinkId, message: &Message) {
        let (id, disk) = (server.id, &server.disk);
        require(message_legal::NAME, self.legal.sends(id, link, message));
        require(ack_durable::NAME, ack_durable::says(id, message, disk.synced, &disk.epoch));
        match message {
            Message::NewLeader { epoch, .. } => self.process.leads(id, *epoch),
            Message::AckNewLeader { epoch } => {
                if let Some(leader) = self.process.leader(*epoch) {
                    let leader = servers[&leader].disk.log();
                    require(
                        process_consistency::NAME,
                        process_consistency::acknowledges(id, disk.log(), leader),
                    );
                }
            }
            Message::UpToDate { committed }
            | Message::Commit { through: committed }
            | Message::Ping { committed, .. } => {
                require(committed_log_monotonicity::NAME, self.monotonicity.tells(link, *committed));
            }
            _ => {}
        }
    }

    fn on_disk_op(&mut self, server: &Server, op: &DiskOp, now: u64) {
        let id = server.id;
        match op {
            DiskOp::Append { previous, proposals, .. } => {
                let zxids = proposals.iter().map(|proposal| proposal.zxid);
                require(log_contiguity::NAME, self.logs.appends(id, *previous, zxids));
                if let Role::Leading { epoch } = server.role {
                    proposals.iter().for_each(|proposal| self.on_broadcast(id, epoch, proposal, now));
                }
                let configs = proposals.iter().filter(|it| Txn::begins_as_reconfiguration(&it.txn));
                for zxid in configs.map(|proposal| proposal.zxid) {
                    let leads = matches!(server.role, Role::Leading { .. });
                    let delivered = leads.then(|| self.applied.get(&id).copied().unwrap_or_default());
                    require(configurations::NAME, self.configurations.logged(id, zxid, delivered));
                }
            }
            DiskOp::Truncate { through } | DiskOp::InstallSnapshot { zxid: through } => {
                let lost = server.disk.logged(*through, Zxid(u64::MAX));
                let verdict = committed_log_durability::loses(id, lost, &self.decided);
                require(committed_log_durability::NAME, verdict);
                self.logs.ends_at(id, *through);
                self.configurations.cut(id, *through);
                self.durable.cut(id, *through);
            }
            DiskOp::SaveEpoch(_) | DiskOp::ReceiveSnapshot { .. } => {}
        }
    }

    fn on_broadcast(&mut self, id: ServerId, epoch: Epoch, proposal: &Proposal, now: u64) {
        let delivered = self.applied.get(&id).copied().unwrap_or_default();
        require(integrity::NAME, self.integrity.broadcasts(id, epoch, proposal));
        self.local_order.broadcasts(proposal.zxid);
        require(primary_integrity::NAME, self.primary.broadcasts(id, epoch, delivered));
        let Ok(txn) = Txn::from_bytes(proposal.txn.clone()) else { return };
        require(limited::NAME, self.witness.limited.proposed(epoch, &txn, now));
        if matches!(txn.body, Some(Body::CloseSession(_))) && txn.request_id == 0 {
            require(expiry::NAME, self.expiry.expires(id, SessionId(txn.session_id), now));
        }
    }

    /// The end of the one history.
    pub fn end(&self) -> Zxid {
        self.decided.end()
    }

    /// Nothing happens any more: every server is at the end, and nothing that anybody was told is lost.
    pub fn finish(&mut self, servers: &Servers) {
        let at: BTreeSet<Zxid> =
            servers.values().map(|server| server.replica.as_ref().expect("all run").state().zxid()).collect();
        let end = self.end();
        let verdict = if at.iter().all(|zxid| *zxid == end) {
            Ok(())
        } else {
            Err(format!("servers end at {at:?}, but {end} was delivered"))
        };
        require(agreement::NAME, verdict);
        if let Some(replica) = servers.values().next().and_then(|server| server.replica.as_ref()) {
            self.witness.compare(&replica.state().tree);
        }
        for (id, replica) in servers.iter().filter_map(|(id, server)| Some((*id, server.replica.as_ref()?))) {
            require(quotas::NAME, quotas::are_in(id, end, &replica.state().tree, &self.witness.model));
        }
    }
}
