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
mod replay;
mod state;
mod status;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

pub use io::{Answer, AuditEntry, Audited, ForwardedRequest, Input, Output, PeerMessage};
pub use limited::LimitedConfig;
pub use local::{LocalConfig, Standing};
pub use replay::Replay;
pub use state::{Image, State, StateError, StateLoadError};
pub use status::{NamespaceQuota, Status};

pub use crate::prep::Limits;
pub use crate::tree::Usage;
pub use crate::tree::acl::Rules as AclRules;
pub use crate::zab::{Config as ZabConfig, Recovered as ZabRecovered};

use clients::{Ask, Clients, SessionKind, Wanted};
use digests::Digests;
use leading::{Leading, encode_session};
use local::{LocalSessions, wants_ephemeral};

use crate::ids::{ConnId, ServerId, SessionId, Tick, Xid};
use crate::jute::{AuthId, ConnectRequest, ErrorCode, OpCode, Response};
use crate::session::SessionIds;
use crate::watch::Watches;
use crate::zab::{self, DiskDone, LinkId, Role, Zab};

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
    /// which sessions only this server knows
    pub local: LocalConfig,
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
    /// Answers for learners, to be sent with the next flush.
    answers: BTreeMap<LinkId, Vec<Answer>>,
    /// Sessions heard of here that the leader does not know of yet.
    touched: BTreeSet<SessionId>,
    last_tick: Tick,
    /// Time has passed, and it was not looked yet whose sessions are over.
    expiry_due: bool,
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
}

impl Replica {
    /// A server that has just started. `state` holds everything that `recovered` knows to be decided.
    ///
    /// # Panics
    /// If it does not.
    pub fn new(config: Config, recovered: zab::Recovered, state: State, now: Tick) -> Replica {
        assert_eq!(state.zxid(), recovered.committed, "the state holds what is known to be decided");
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
            answers: BTreeMap::new(),
            touched: BTreeSet::new(),
            last_tick: now,
            expiry_due: false,
            last_heartbeat: now,
            installed: None,
            snapshots: SnapshotDue { in_progress: false, txns, log_bytes },
            outputs: Vec::new(),
            state,
            config,
        };
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
            Input::LinkUp { link, peer, dialled } => {
                self.links.insert(link, peer);
                self.tell_zab(zab::Input::LinkUp { link, peer, dialled });
            }
            Input::LinkDown { link } => {
                self.forget_link(link);
                self.tell_zab(zab::Input::LinkDown { link });
            }
            Input::LinkProgress { link } => self.tell_zab(zab::Input::LinkProgress { link }),
            Input::Peer { link, message } => self.on_peer_message(link, message),
            Input::Disk(done) => self.tell_zab(zab::Input::Disk(done)),
            Input::Installed { seq, state } => {
                self.installed = Some(state);
                self.tell_zab(zab::Input::Disk(DiskDone::Synced { seq }));
            }
            Input::HandOver => self.tell_zab(zab::Input::HandOver),
            Input::SnapshotWritten { zxid } => {
                tracing::debug!(%zxid, "snapshot done");
                self.snapshots.in_progress = false;
            }
        }
        outputs.append(&mut self.outputs);
    }

    /// Judges, writes and sends what has gathered. What there is to do is added to `outputs`.
    pub fn flush(&mut self, outputs: &mut Vec<Output>) {
        self.hand_over_requests();
        // Nobody is silent whose words have come, only later in the batch than the tick.
        if std::mem::take(&mut self.expiry_due) {
            self.end_what_is_due();
        }
        self.send_answers();
        self.zab.flush();
        self.follow_zab();
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
            zab::Output::Send { link, message } => {
                self.output(Output::Send { link, message: PeerMessage::Zab(message) });
            }
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
            SessionKind::Local if self.local.get(session.id).is_none() => return,
            SessionKind::Local => self.standing_of_local(session.id, op, &body),
            SessionKind::ReadOnly => return self.refuse_to_change(conn, session.id, xid, op),
        };
        if op == OpCode::CloseSession as i32 {
            self.local.remove(session.id);
        }
        let ask = Ask { session_id: session.id, generation: session.generation, op, body, auth, standing };
        self.clients.wait(conn, Wanted::Reply { xid }, ask);
    }

    fn standing_of_local(&self, session: SessionId, op: i32, body: &[u8]) -> Standing {
        match self.local.get(session) {
            Some(local) if self.config.local.upgrading && wants_ephemeral(op, body) => {
                Standing::Upgrade(encode_session(local.timeout_ms, &local.password))
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
            || self.snapshots.log_bytes >= self.config.snapshot_log_bytes;
        if due && !self.snapshots.in_progress {
            self.snapshots = SnapshotDue { in_progress: true, txns: 0, log_bytes: 0 };
            let image = self.state.image();
            self.output(Output::WriteSnapshot { image });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Zxid;
    use crate::jute::{ConnectRequest, OpCode};
    use crate::zab::{EpochRecord, HistorySummary};

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
    }

    impl Alone {
        /// It leads, and a client has a session.
        fn new() -> Alone {
            let epoch = EpochRecord { data_dir_id: 1, may_vote: true, ..EpochRecord::default() };
            let history = HistorySummary::default();
            let recovered = zab::Recovered {
                epoch,
                history,
                recent: Vec::new(),
                before_recent: Zxid::ZERO,
                committed: Zxid::ZERO,
            };
            let replica = Replica::new(config(), recovered, State::new(1), Tick(1));
            let mut alone = Alone {
                replica,
                now: Tick(1),
                disk_stands_still: false,
                asked_of_disk: None,
                audited: Vec::new(),
            };
            while !alone.replica.serves() {
                alone.pass(HEARTBEAT_MS, []);
            }
            let request = ConnectRequest {
                protocol_version: 0,
                last_zxid_seen: Zxid::ZERO,
                timeout_ms: SESSION_MS as i32,
                session_id: SessionId(0),
                password: Bytes::new(),
                read_only: None,
            };
            alone.pass(0, [Input::Connect { conn: CLIENT, request }]);
            assert!(alone.replica.session_of(CLIENT).is_some());
            alone
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
                        Output::Audit(audited) => self.audited.extend(audited.entries),
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

    fn config() -> Config {
        let id = ServerId(1);
        let zab = zab::Config {
            id,
            ensemble: zab::Ensemble::of_equals([id]),
            heartbeat_ms: HEARTBEAT_MS,
            peer_timeout_ms: 5 * HEARTBEAT_MS,
            sync_timeout_ms: 10_000,
            disk_timeout_ms: 10_000,
            observer_delay_ms: 0,
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
            },
            watches_per_conn_max: 0,
            watches_max: 0,
            limited: LimitedConfig {
                check_interval_ms: 60_000,
                deletions_per_minute_max: 1,
                unused_ms_max: 0,
            },
            local: LocalConfig::default(),
            snapshot_txns: 1000,
            snapshot_log_bytes: 1 << 20,
        }
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
