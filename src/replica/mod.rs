//! One server without its edges: it owns the broadcast, the state, the sessions and the watches.
//!
//! # The contract
//!
//! [`Replica`] is a state machine without IO, like [`Zab`] inside it. The caller
//! - tells it what happens with [`Replica::step`], and calls [`Replica::flush`] when it has told everything that has
//!   gathered;
//! - carries out the outputs in their order. `Reply`, `Event` and `Connected` are queued for their connections before
//!   any read is answered from the changed state, so that a client is told of a change before it can see it;
//! - answers reads with [`Replica::read`] and [`Replica::read_and_watch`] as soon as nothing that came before them on
//!   the same connection waits any more.
//!
//! It has two callers: the server and the simulator.

mod audit;
mod clients;
mod connect;
mod deliver;
mod digests;
mod io;
mod keeper;
mod leading;
mod limited;
mod local;
mod peers;
mod quota_log;
mod read;
mod reconfig;
mod replay;
mod state;
mod status;
mod versions;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

pub use io::{Answer, AuditEntry, Audited, ForwardedRequest, Input, Output, PeerMessage};
pub use limited::LimitedConfig;
pub use local::{LocalConfig, Standing};
pub use reconfig::{ReconfigConfig, ensemble_from, ensemble_of, membership_of};
pub use replay::Replay;
pub use state::{Image, State, StateError, StateLoadError};
pub use status::{NamespaceQuota, Status};
pub use versions::FEEDS;

pub use crate::prep::Limits;
pub use crate::tree::Usage;
pub use crate::tree::acl::Rules as AclRules;
pub use crate::txn::TxnError;
pub use crate::zab::{Config as ZabConfig, Recovered as ZabRecovered};

use clients::{Ask, Clients, SessionKind, Wanted};
use digests::Digests;
use leading::{Leading, encode_session};
use local::{LocalSessions, wants_ephemeral};

use crate::ids::{ConnId, Epoch, ServerId, SessionId, Tick, Version, Xid, Zxid};
use crate::jute::{AuthId, ConnectRequest, ErrorCode, OpCode, Response};
use crate::membership::Membership;
use crate::mutants::{Mutant, has};
use crate::session::SessionIds;
use crate::watch::Watches;
use crate::zab::{self, LinkId, Role, Zab};

/// What a replica must know of the configuration, and the chance it is given.
#[derive(Clone, Debug)]
pub struct Config {
    /// of the broadcast
    pub zab: zab::Config,
    /// for hash tables; unknown to clients
    pub hash_seed: u64,
    /// for session passwords; unknown to clients
    pub secret_seed: [u8; 32],
    /// the wall clock when the process started, ms: ids of sessions begin here, so that they are not those of an
    /// earlier process
    pub started_wall_ms: u64,
    /// the shortest session timeout a client can get, ms
    pub session_timeout_ms_min: u32,
    /// the longest session timeout a client can get, ms
    pub session_timeout_ms_max: u32,
    /// how exactly sessions expire, ms: never early, and at most this late
    pub expiry_bucket_ms: u32,
    /// how long requests are kept while there is no leader, ms; and at most a third of the session's timeout
    pub park_ms_max: u64,
    /// what a transaction may hold
    pub limits: Limits,
    /// how ACLs are understood
    pub acl_rules: AclRules,
    /// there is an audit log to be told
    pub audits: bool,
    /// watches of one client of this server; 0: no limit
    pub watches_per_conn_max: usize,
    /// watches of all clients of this server; 0: no limit
    pub watches_max: usize,
    /// how containers and znodes with a time to live end
    pub limited: LimitedConfig,
    /// clients can be connected to the leader, if there are other servers
    pub leader_serves: bool,
    /// which sessions only this server knows
    pub local: LocalConfig,
    /// who the other servers are, and how that may change
    pub reconfig: ReconfigConfig,
    /// a snapshot is due after so many transactions
    pub snapshot_txns: u64,
    /// a snapshot is due after so many bytes of log
    pub snapshot_log_bytes: u64,
}

/// One server without its edges.
pub struct Replica {
    config: Config,
    now: Tick,
    wall_ms: i64,
    zab: Zab,
    /// The servers as the state says, or else the operator.
    members: Option<Arc<Membership>>,
    /// Of which configurations was told last.
    config_revision: u64,
    /// Answers of reconfigurations that wait.
    held: reconfig::Held,
    /// Of the transaction applied last: its epoch, and how far its leader had come.
    seen_by_leader: (Epoch, Zxid),
    role: Role,
    /// Since when there is no leader.
    looking_since: Tick,
    state: State,
    /// What is below `/keeper`, where ClickHouse Keeper's operations are enabled.
    keeper: Option<crate::tree::Tree>,
    watches: Watches,
    clients: Clients,
    session_ids: SessionIds,
    local: LocalSessions,
    /// Clients that are to get local sessions as soon as there is a leader.
    local_connects: BTreeMap<ConnId, ConnectRequest>,
    secrets: StdRng,
    leading: Option<Leading>,
    digests: Digests,
    /// The servers at the other ends of the connections between servers.
    links: BTreeMap<LinkId, ServerId>,
    /// What the servers that were heard speak.
    versions: BTreeMap<ServerId, Version>,
    /// What all of them do.
    common_version: Version,
    /// Answers for learners, to be sent with the next flush.
    answers: BTreeMap<LinkId, Vec<Answer>>,
    /// Sessions heard of here that the leader does not know of yet.
    touched: BTreeSet<SessionId>,
    last_tick: Tick,
    /// Time has passed, and it was not looked yet whose sessions are over.
    expiry_due: bool,
    /// For its metrics.
    sessions_expired: u64,
    /// Likewise.
    digest_mismatches: u64,
    /// When the leader was last told of them, or the learners of the digest.
    last_heartbeat: Tick,
    /// A state that an `InstallSnapshot` brought, until the broadcast takes it.
    installed: Option<Box<State>>,
    snapshots: SnapshotDue,
    outputs: Vec<Output>,
}

/// When the next snapshot is due.
#[derive(Debug)]
struct SnapshotDue {
    in_progress: bool,
    txns: u64,
    log_bytes: u64,
    /// What a server must speak to have the newest one.
    version: Version,
}

impl Replica {
    /// A server that has just started. `state` holds everything that `recovered` knows to be decided.
    ///
    /// # Panics
    /// If it does not.
    pub fn new(mut config: Config, recovered: zab::Recovered, state: State, now: Tick) -> Replica {
        assert_eq!(state.zxid(), recovered.committed, "the state holds what is known to be decided");
        let members = config.reconfig.members_of(&state.tree);
        if let Some(ensemble) = members.as_deref().and_then(ensemble_from) {
            config.zab.ensemble = ensemble;
        }
        let mut secrets = StdRng::from_seed(config.secret_seed);
        let mut digests = Digests::default();
        digests.push(state.zxid(), state.digest());
        let behind_snapshot = recovered.recent.iter().filter(|it| it.zxid > recovered.history.floor);
        let log_bytes = behind_snapshot.clone().map(|proposal| proposal.txn.len() as u64).sum();
        let txns = behind_snapshot.count() as u64;
        let mut replica = Replica {
            now,
            wall_ms: 0,
            zab: Zab::new(config.zab.clone(), recovered, now),
            members,
            config_revision: 0,
            held: reconfig::Held::default(),
            seen_by_leader: (Epoch(0), Zxid::ZERO),
            role: Role::Looking,
            looking_since: now,
            keeper: config.limits.keeper_operations.then(|| keeper::tree(config.hash_seed)),
            watches: Watches::new(config.hash_seed),
            clients: Clients::new(secrets.next_u64() >> 1),
            session_ids: SessionIds::new(config.zab.id, config.started_wall_ms),
            local: LocalSessions::new(config.expiry_bucket_ms),
            local_connects: BTreeMap::new(),
            secrets,
            leading: None,
            digests,
            links: BTreeMap::new(),
            versions: BTreeMap::new(),
            common_version: Version::NEWEST,
            answers: BTreeMap::new(),
            touched: BTreeSet::new(),
            last_tick: now,
            expiry_due: false,
            sessions_expired: 0,
            digest_mismatches: 0,
            last_heartbeat: now,
            installed: None,
            snapshots: SnapshotDue { in_progress: false, txns, log_bytes, version: state.version() },
            outputs: Vec::new(),
            state,
            config,
        };
        replica.config_revision = replica.zab.config_revision();
        replica.tell_membership();
        replica.follow_zab();
        replica
    }

    /// Something happened. `wall_ms` is the wall clock, ms since 1970, with which a leader stamps transactions. What
    /// there is to do is added to `outputs`.
    pub fn step(&mut self, now: Tick, wall_ms: i64, input: Input, outputs: &mut Vec<Output>) {
        self.now = self.now.max(now);
        self.wall_ms = wall_ms;
        match input {
            Input::Tick => self.on_tick(),
            Input::Connect { conn, request } => self.on_connect(conn, &request),
            Input::Request { conn, xid, op, body, auth } => self.on_request(conn, xid, op, body, auth),
            Input::Heard(conns) => self.on_heard(&conns),
            Input::Disconnected { conn } => self.on_disconnected(conn),
            Input::Notification { from, notification } => {
                self.tell_zab(zab::Input::Notification { from, notification });
            }
            Input::PeerGone { peer } => self.tell_zab(zab::Input::PeerGone { peer }),
            Input::PeerSpeaks { peer, version } => self.on_peer_speaks(peer, version),
            Input::LinkUp { link, peer, dialled } => {
                self.links.insert(link, peer);
                self.tell_zab(zab::Input::LinkUp { link, peer, dialled });
            }
            Input::FeedUp { link, peer, dialled } => {
                self.tell_zab(zab::Input::FeedUp { link, peer, dialled });
            }
            Input::LinkDown { link } => {
                self.forget_link(link);
                self.tell_zab(zab::Input::LinkDown { link });
            }
            Input::LinkProgress { link } => self.tell_zab(zab::Input::LinkProgress { link }),
            Input::Peer { link, message } => self.on_peer_message(link, message),
            Input::Disk(done) => self.tell_zab(zab::Input::Disk(done)),
            Input::Installed { seq, state } => {
                let members = self.config.reconfig.members_of(&state.tree);
                let ensemble = members.as_deref().and_then(ensemble_from);
                let ensemble = ensemble.unwrap_or_else(|| self.config.zab.ensemble.clone());
                self.installed = Some(state);
                self.tell_zab(zab::Input::Installed { seq, ensemble });
            }
            Input::HandOver => self.tell_zab(zab::Input::HandOver),
            Input::SnapshotWritten { zxid } => {
                tracing::debug!(%zxid, "snapshot done");
                self.snapshots.in_progress = false;
            }
        }
        self.follow_membership();
        outputs.append(&mut self.outputs);
    }

    /// Judges, writes and sends what has gathered. What there is to do is added to `outputs`.
    pub fn flush(&mut self, outputs: &mut Vec<Output>) {
        self.propose_own();
        self.hand_over_requests();
        // Nobody is silent whose words have come, only later in the batch than the tick.
        if std::mem::take(&mut self.expiry_due) {
            self.end_what_is_due();
        }
        self.send_answers();
        self.zab.flush();
        self.follow_zab();
        self.follow_membership();
        self.maybe_snapshot();
        outputs.append(&mut self.outputs);
    }

    /// True while this server leads or follows, and has applied what it must before it serves clients.
    pub fn serves(&self) -> bool {
        self.role != Role::Looking
    }

    fn output(&mut self, output: Output) {
        self.outputs.push(output);
    }

    fn tell_zab(&mut self, input: zab::Input) {
        self.zab.step(self.now, input);
        self.follow_zab();
    }

    /// Carries out what the broadcast wants, in order.
    fn follow_zab(&mut self) {
        loop {
            let outputs = self.zab.take_outputs();
            if outputs.is_empty() {
                return;
            }
            outputs.into_iter().for_each(|output| self.on_zab_output(output));
        }
    }

    fn on_zab_output(&mut self, output: zab::Output) {
        match output {
            zab::Output::Disk { seq, op } => self.output(Output::Disk { seq, op }),
            zab::Output::Notify { to, notification } => self.output(Output::Notify { to, notification }),
            zab::Output::Follow(leader) => self.output(Output::Follow(leader)),
            zab::Output::SeekFeed(leader) => self.seek_feed(leader),
            zab::Output::Send { link, message } => self.send_zab(link, message),
            zab::Output::SendSnapshot { link, zxid } => {
                assert_eq!(zxid, self.state.zxid(), "a snapshot is of what was delivered last");
                let image = self.state.image();
                self.output(Output::StreamSnapshot { link, image });
            }
            zab::Output::CloseLink { link, reason } => {
                self.forget_link(link);
                self.output(Output::CloseLink { link, reason });
            }
            zab::Output::Deliver(proposals) => self.on_deliver(proposals),
            zab::Output::Installed { zxid } => self.on_installed(zxid),
            zab::Output::Role(role) => self.on_role(role),
            zab::Output::Barrier { token } => self.on_barrier(token),
            zab::Output::HandedOver { to } => self.output(Output::HandedOver { to }),
            zab::Output::Halt { reason } => self.output(Output::Halt { reason }),
        }
    }

    /// A connection between servers ended. Whoever was at its other end asks again for all that it has no answer to.
    fn forget_link(&mut self, link: LinkId) {
        self.answers.remove(&link);
        if let Some(origin) = self.links.remove(&link)
            && let Some(leading) = &mut self.leading
        {
            leading.forget_syncs(origin);
        }
    }

    fn on_tick(&mut self) {
        self.tell_zab(zab::Input::Tick);
        let stalled_ms = self.now.ms_since(std::mem::replace(&mut self.last_tick, self.now));
        if stalled_ms > self.config.zab.peer_timeout_ms {
            self.renew_sessions(stalled_ms);
        }
        self.expiry_due = true;
        self.expire_local_sessions();
        self.maybe_send_heartbeat();
        self.close_parked();
    }

    fn on_request(&mut self, conn: ConnId, xid: Xid, op: i32, body: Bytes, auth: Arc<[AuthId]>) {
        let Some(session) = self.clients.get(conn).and_then(|conn| conn.session) else { return };
        let standing = match session.kind {
            SessionKind::Global => Standing::Global,
            // Its end was asked for: what comes behind that is not for the session, as elsewhere.
            SessionKind::Local if self.local.get(session.id).is_none() && !has(Mutant::LocalBehindItsEnd) => {
                return;
            }
            SessionKind::Local => self.standing_of_local(session.id, op, &body),
            SessionKind::ReadOnly => return self.refuse_to_change(conn, session.id, xid, op),
        };
        if op == OpCode::CloseSession as i32 {
            self.local.remove(session.id);
        }
        let ask = Ask { session_id: session.id, generation: session.generation, op, body, auth, standing };
        self.clients.wait(conn, Wanted::Reply { xid }, ask);
    }

    fn standing_of_local(&mut self, session: SessionId, op: i32, body: &[u8]) -> Standing {
        match self.local.get(session) {
            Some(local) if local.upgrades => Standing::Upgraded,
            Some(local) if self.config.local.upgrading && wants_ephemeral(op, body) => {
                let terms = encode_session(local.timeout_ms, &local.password);
                self.local.upgrade(session);
                Standing::Upgrade(terms)
            }
            _ => Standing::Local,
        }
    }

    /// A read-only client may do nothing else but leave.
    fn refuse_to_change(&mut self, conn: ConnId, session: SessionId, xid: Xid, op: i32) {
        let zxid = self.state.zxid();
        if op == OpCode::CloseSession as i32 {
            self.output(Output::Reply { conn, xid, zxid, result: Ok(Response::Empty) });
            self.local.remove(session);
            return self.drop_conn(conn, "the session is closed");
        }
        self.output(Output::Reply { conn, xid, zxid, result: Err(ErrorCode::NotReadOnly) });
    }

    fn maybe_snapshot(&mut self) {
        let due = self.snapshots.txns >= self.config.snapshot_txns
            || self.snapshots.log_bytes >= self.config.snapshot_log_bytes
            // An older release that is started by mistake sees by the snapshot that the data is not for it.
            || self.snapshots.version < self.state.version();
        if due && !self.snapshots.in_progress {
            let version = self.state.version();
            self.snapshots = SnapshotDue { in_progress: true, txns: 0, log_bytes: 0, version };
            let image = self.state.image();
            self.output(Output::WriteSnapshot { image });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jute::{ConnectRequest, OpCode, Reconfig, Request};
    use crate::membership::ServerAddr;
    use crate::zab::{DiskDone, EpochRecord, HistorySummary};

    const CLIENT: ConnId = ConnId(1);
    const HEARTBEAT_MS: u64 = 100;
    const SESSION_MS: u32 = 1000;

    /// A server alone, whose disk does at once what it is asked for, unless it stands still.
    struct Alone {
        replica: Replica,
        now: Tick,
        disk_stands_still: bool,
        asked_of_disk: Option<u64>,
        audited: Vec<AuditEntry>,
        snapshots: Vec<Version>,
        replies: Vec<Result<Response, ErrorCode>>,
    }

    impl Alone {
        /// It leads, and a client has a session.
        fn new() -> Alone {
            Alone::of(zab::Ensemble::of_equals([ServerId(1)]))
        }

        /// The same with others, who count for nothing.
        fn of(ensemble: zab::Ensemble) -> Alone {
            Alone::with(config(ensemble))
        }

        fn with(config: Config) -> Alone {
            let epoch = EpochRecord { data_dir_id: 1, may_vote: true, ..EpochRecord::default() };
            let history = HistorySummary::default();
            let recovered = zab::Recovered {
                epoch,
                history,
                recent: Vec::new(),
                before_recent: Zxid::ZERO,
                committed: Zxid::ZERO,
            };
            let replica = Replica::new(config, recovered, State::new(1), Tick(1));
            let mut alone = Alone {
                replica,
                now: Tick(1),
                disk_stands_still: false,
                asked_of_disk: None,
                audited: Vec::new(),
                snapshots: Vec::new(),
                replies: Vec::new(),
            };
            while !alone.replica.serves() {
                alone.pass(HEARTBEAT_MS, []);
            }
            assert!(alone.lets_in(CLIENT));
            alone
        }

        /// A client asks for a session. True if it has one then.
        fn lets_in(&mut self, conn: ConnId) -> bool {
            let request = ConnectRequest {
                protocol_version: 0,
                last_zxid_seen: Zxid::ZERO,
                timeout_ms: SESSION_MS as i32,
                session_id: SessionId(0),
                password: Bytes::new(),
                read_only: None,
            };
            self.pass(0, [Input::Connect { conn, request }]);
            self.replica.session_of(conn).is_some()
        }

        /// Time passes, then all this happens at once.
        fn pass(&mut self, ms: u64, inputs: impl IntoIterator<Item = Input>) {
            self.now = self.now.after_ms(ms);
            let mut outputs = Vec::new();
            for input in std::iter::once(Input::Tick).chain(inputs) {
                self.replica.step(self.now, 0, input, &mut outputs);
            }
            self.replica.flush(&mut outputs);
            loop {
                for output in outputs.drain(..) {
                    match output {
                        Output::Disk { seq, .. } => self.asked_of_disk = Some(seq),
                        Output::WriteSnapshot { image } => self.snapshots.push(image.version()),
                        Output::Audit(audited) => self.audited.extend(audited.entries),
                        Output::Reply { result, .. } => self.replies.push(result),
                        _ => {}
                    }
                }
                if self.disk_stands_still {
                    return;
                }
                let Some(seq) = self.asked_of_disk.take() else { return };
                self.replica.step(self.now, 0, Input::Disk(DiskDone::Synced { seq }), &mut outputs);
                self.replica.flush(&mut outputs);
            }
        }
    }

    fn config(ensemble: zab::Ensemble) -> Config {
        let id = ServerId(1);
        let zab = zab::Config {
            id,
            ensemble,
            ensemble_of,
            records_ensemble: false,
            heartbeat_ms: HEARTBEAT_MS,
            peer_timeout_ms: 5 * HEARTBEAT_MS,
            sync_timeout_ms: 10_000,
            disk_timeout_ms: 10_000,
            observer_delay_ms: 0,
            is_fed: false,
            settle_ms: 10,
            recent_bytes_max: 1 << 20,
            batch_bytes_max: 1 << 20,
            unacked_bytes_max: 1 << 20,
            epoch_txns_max: u32::MAX,
            new_ensemble_id: 1,
        };
        Config {
            zab,
            hash_seed: 1,
            secret_seed: [1; 32],
            started_wall_ms: 1,
            session_timeout_ms_min: SESSION_MS,
            session_timeout_ms_max: SESSION_MS,
            expiry_bucket_ms: 1,
            park_ms_max: 1000,
            acl_rules: AclRules::default(),
            audits: true,
            limits: Limits {
                frame_bytes_max: 1000,
                txn_bytes_max: 1000,
                has_ttls: false,
                enforces_quotas: false,
                keeper_operations: false,
                ephemerals_per_session_max: 0,
                ephemerals_max: 0,
            },
            watches_per_conn_max: 0,
            watches_max: 0,
            limited: LimitedConfig {
                check_interval_ms: 60_000,
                deletions_per_minute_max: 1,
                unused_ms_max: 0,
            },
            leader_serves: true,
            local: LocalConfig::default(),
            reconfig: ReconfigConfig::default(),
            snapshot_txns: 1000,
            snapshot_log_bytes: 1 << 20,
        }
    }

    /// What becomes of a reconfiguration, by a server that is alone with one that is not there.
    fn reconfigured(
        alone: &mut Alone,
        joining: &str,
        leaving: &str,
        version: i64,
    ) -> Result<Response, ErrorCode> {
        let (joining, leaving, members) = (Some(joining), Some(leaving), None);
        let request = Request::Reconfig(Reconfig { joining, leaving, members, version });
        let mut body = bytes::BytesMut::new();
        crate::jute::encode_request(&request, &mut body);
        let (op, body, auth) = (OpCode::Reconfig as i32, body.freeze(), Arc::from([]));
        alone.pass(0, [Input::Request { conn: CLIENT, xid: 1, op, body, auth }]);
        alone.pass(0, []);
        assert_eq!(alone.replies.len(), 1, "it is answered");
        alone.replies.remove(0)
    }

    fn reconfigurable(enabled: bool, skip: bool) -> Config {
        let own = ServerAddr::parse(ServerId(1), "10.0.0.1:2888:3888:participant;2181").expect("a server");
        let members = Some(Arc::new(Membership::of([own])));
        let mut config = config(zab::Ensemble::of_equals([ServerId(1)]));
        config.reconfig = ReconfigConfig { members, enabled, standalone_enabled: false };
        config.zab.records_ensemble = enabled;
        config.acl_rules.skip = skip;
        config
    }

    #[test]
    fn a_reconfiguration_is_refused_for_the_first_of_its_reasons() {
        use ErrorCode::*;
        let second = "server.2=10.0.0.2:2888:3888:participant;2181";
        let watching = "server.2=10.0.0.2:2888:3888:observer;2181";
        let refused = |alone: &mut Alone, joining: &str, leaving: &str, version| {
            reconfigured(alone, joining, leaving, version).expect_err("it is refused")
        };
        assert_eq!(refused(&mut Alone::new(), second, "", -1), ReconfigDisabled);
        let mut config = config(zab::Ensemble::of_equals([ServerId(1)]));
        config.reconfig.enabled = true;
        assert_eq!(refused(&mut Alone::with(config), second, "", 7), Unimplemented);
        let mut alone = Alone::with(reconfigurable(true, false));
        assert_eq!(refused(&mut alone, "nonsense", "", 7), BadVersion);
        assert_eq!(refused(&mut alone, "nonsense", "", -1), BadArguments);
        assert_eq!(refused(&mut alone, "", "1", -1), BadArguments, "nobody would vote");
        assert_eq!(refused(&mut alone, second, "", -1), NewConfigNoQuorum);
        assert_eq!(refused(&mut alone, watching, "", -1), NoAuth);
    }

    #[test]
    fn the_servers_are_in_the_history_from_the_beginning_and_change_with_a_reconfiguration() {
        let mut alone = Alone::with(reconfigurable(true, true));
        let first = Zxid::new(Epoch(1), 1);
        assert_eq!(alone.replica.membership().expect("there are some").version, first);
        let watching = "server.2=10.0.0.2:2888:3888:observer;2181";
        let told = reconfigured(&mut alone, watching, "", first.0 as i64).expect("nobody else is needed");
        let Response::Data { data: Some(text), stat } = told else { panic!("{told:?}") };
        let members = Arc::clone(alone.replica.membership().expect("there are some"));
        assert_eq!((members.text().as_bytes(), members.version), (&text[..], stat.mzxid));
        assert_eq!(
            (members.servers.len(), stat.version, alone.replica.config_in_force()),
            (2, -1, stat.mzxid)
        );
        let read = |alone: &Alone| {
            let mut out = bytes::BytesMut::new();
            let request = Request::GetData { path: crate::tree::path::CONFIG, watch: false };
            alone.replica.read(CLIENT, &[], &request, 1, &mut out);
            String::from_utf8_lossy(&out).into_owned()
        };
        assert!(read(&alone).contains(&members.text()));
        let listed = Alone::with(reconfigurable(false, true));
        assert!(read(&listed).contains("version=0"), "what the operator says, as nothing else is known");
    }

    #[test]
    fn a_leader_that_is_to_serve_nobody_serves_while_there_is_nobody_else() {
        let mut alone = Alone::with(Config { leader_serves: false, ..reconfigurable(true, true) });
        reconfigured(&mut alone, "server.2=10.0.0.2:2888:3888:observer;2181", "", -1).expect("it joins");
        assert!(!alone.lets_in(ConnId(2)), "the other serves");
        reconfigured(&mut alone, "", "2", -1).expect("it leaves");
        assert!(alone.lets_in(ConnId(3)), "whoever was to serve is gone");
    }

    #[test]
    fn a_session_lives_on_whose_client_was_heard_of_behind_the_tick() {
        let is_open = |alone: &Alone| alone.replica.state().sessions.len() == 1;
        let mut alone = Alone::new();
        for _ in 0..9 {
            alone.pass(HEARTBEAT_MS, []);
        }
        assert!(is_open(&alone));
        alone.pass(2 * HEARTBEAT_MS, [Input::Heard(vec![CLIENT])]);
        assert!(is_open(&alone), "what came was there before it was looked who was silent");
        for _ in 0..9 {
            alone.pass(HEARTBEAT_MS, []);
        }
        assert!(is_open(&alone), "from then on it has its full timeout");
        alone.pass(2 * HEARTBEAT_MS, []);
        assert!(!is_open(&alone));
    }

    #[test]
    fn nothing_is_proposed_that_a_server_of_an_older_version_would_misread() {
        let members = [(ServerId(1), zab::Member::EQUAL), (ServerId(2), zab::Member::Observer)];
        let mut alone = Alone::of(zab::Ensemble::new(0, members.into()));
        // Without data, everything permitted to everybody, with the flag of containers.
        let container = b"\0\0\0\x02/c\0\0\0\0\0\0\0\x01\0\0\0\x1f\0\0\0\x05world\0\0\0\x06anyone\0\0\0\x04";
        let create = || {
            let (op, body) = (OpCode::CreateContainer as i32, Bytes::from_static(container));
            Input::Request { conn: CLIENT, xid: 1, op, body, auth: Arc::from([]) }
        };
        let speaks = |version| Input::PeerSpeaks { peer: ServerId(2), version: Version(version) };
        alone.pass(0, [speaks(2), create()]);
        assert_eq!(alone.replica.state().version(), Version::OLDEST);
        assert_eq!(alone.audited.pop().map(|entry| entry.succeeded), Some(false));
        alone.pass(0, [speaks(3), create()]);
        assert_eq!(alone.replica.state().version(), Version(3), "from now on the data needs it");
        assert_eq!(alone.replica.ensemble_version(), Version(3));
        alone.pass(0, [speaks(2)]);
        assert_eq!(alone.replica.ensemble_version(), Version(3), "too late: that one is not let in");
        assert_eq!(alone.snapshots, [Version(3)], "an older release sees by it that the data is not for it");
    }

    #[test]
    fn the_bytes_of_a_request_are_kept_until_its_end_although_its_client_is_gone() {
        let mut alone = Alone::new();
        // setData of the root, without data, of any version.
        let record: Arc<[u8]> = [&1_i32.to_be_bytes()[..], b"/", &[0; 4], &[0xff; 4]].concat().into();
        let is_kept = || Arc::strong_count(&record) > 1;
        let request = || {
            let (op, body) = (OpCode::SetData as i32, Bytes::from_owner(Arc::clone(&record)));
            Input::Request { conn: CLIENT, xid: 1, op, body, auth: Arc::from([]) }
        };
        let before = alone.replica.state().zxid();
        alone.pass(0, [request()]);
        assert_eq!(alone.replica.state().zxid(), Zxid(before.0 + 1));
        assert!(!is_kept(), "it is decided");
        alone.disk_stands_still = true;
        alone.pass(0, [request()]);
        alone.pass(0, [Input::Disconnected { conn: CLIENT }]);
        assert_eq!(alone.replica.status().outstanding, 0, "nobody waits for it");
        assert!(is_kept(), "it is on its way to the disk");
        alone.disk_stands_still = false;
        alone.pass(0, []);
        assert_eq!(alone.replica.state().zxid(), Zxid(before.0 + 2));
        assert!(!is_kept());
        assert_eq!(alone.audited, [(); 2].map(|()| AuditEntry::of("setData", true).on("/")));
    }
}
