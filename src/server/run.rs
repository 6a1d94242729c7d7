//! Start and end of a server.

use std::io::Read;
use std::sync::mpsc as std_mpsc;
use std::sync::{Arc, RwLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rand::rngs::{StdRng, SysRng};
use rand::{SeedableRng as _, TryRng as _};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{sleep, timeout};

use super::audit::AuditLog;
use super::chance::secret;
use super::client::{self, ClientContext, Conns};
use super::client_ports;
use super::clock::Clock;
use super::core::{Core, Outlets};
use super::disk::{DiskQueue, DiskThread, Job};
use super::dynamic_file;
use super::hand_over;
use super::peer::{
    self, Directory, Electors, Identity, Inbound, Links, LivePeers, PeerAuth, PeerContext, Ports, ToldStates,
};
use super::quiet::Quiet;
use super::recover::{self, Recovered};
use super::snapshots::SnapshotThread;
use crate::admin::{Stats, Sum};
use crate::config::{Settings, TlsSettings};
use crate::ids::{Version, Zxid};
use crate::membership::Membership;
use crate::replica::{
    self, AclRules, Image, Input, LimitedConfig, Limits, LocalConfig, ReconfigConfig, Replica, ZabConfig,
};
use crate::sasl;
use crate::storage::{OsDisk, Storage, TXN_BYTES_MAX};
use crate::tls::{Tls, TlsError};
use crate::zab::{Ensemble, EpochRecord, Role};

/// Inputs that wait for the core; who has more waits itself.
const INPUTS_MAX: usize = 8192;

/// Snapshots that wait to be written: the replica asks for one at a time.
const IMAGES_MAX: usize = 1;

/// How long the last words to clients may take when the server ends.
const CLOSE_LIMIT: Duration = Duration::from_millis(300);

/// How long the log may take to be marked when the server ends.
const SYNC_LIMIT: Duration = Duration::from_millis(500);

/// The reason of a planned end.
const SIGTERM: &str = "SIGTERM";

/// How long a quorum that agrees waits for others to bring a better vote: a round trip between machines of one site.
const SETTLE_MS: u64 = 10;

/// However short the ticks are: a disk that is only busy may take seconds for a sync.
const DISK_TIMEOUT_MS_MIN: u64 = 5000;

/// How exactly sessions expire.
const EXPIRY_BUCKET_MS: u32 = 100;

/// Transactions in one message between servers.
const BATCH_BYTES_MAX: usize = 1 << 20;

/// Transactions on their way to a learner.
const UNACKED_BYTES_MAX: usize = 32 << 20;

/// A transaction is mostly as big as the request; one that closes a session names all its ephemeral znodes.
const TXN_BYTES_USUAL_MAX: usize = 64 << 20;

/// What the log keeps of a transaction beside its body, at most: a dozen numbers.
const TXN_HEAD_BYTES_MAX: usize = 256;

/// How a server is run, beside its configuration.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct RunOptions {
    /// end when the standard input ends: a server whose parent process is gone ends too
    pub exit_with_stdin: bool,
}

/// Numbers that nobody can guess.
struct Chance {
    hash_seed: u64,
    secret_seed: [u8; 32],
    data_dir_id: u64,
    ensemble_id: u64,
}

/// Runs a server until it is told to end, by a signal for example. What makes it impossible to go on ends the process
/// with [`EXIT_HALTED`](super::EXIT_HALTED).
pub fn run(settings: Settings, options: RunOptions) -> anyhow::Result<()> {
    raise_open_files_limit();
    let tls = BothTls::load(&settings)?;
    let chance = draw()?;
    let began = Instant::now();
    let found = recover::recover(&settings, chance.hash_seed, chance.data_dir_id)?;
    let stats = Arc::new(Stats::default());
    count_start(&stats, &found, began.elapsed());
    tracing::info!(
        "zabra {}, server {} of {}: data in {}, log in {}, {} znodes at {}",
        env!("CARGO_PKG_VERSION"),
        settings.server_id,
        settings.servers.len().max(1),
        settings.data_dir.display(),
        settings.data_log_dir.display(),
        found.state.tree.len(),
        found.state.zxid(),
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(serve(settings, options, chance, found, tls, stats));
    runtime.shutdown_background();
    result
}

async fn serve(
    mut settings: Settings,
    options: RunOptions,
    chance: Chance,
    found: Recovered,
    tls: BothTls,
    stats: Arc<Stats>,
) -> anyhow::Result<()> {
    let ended = end_signal(options)?;
    let epoch = found.zab.epoch.clone();
    let clock = Clock::start();
    let replica = Replica::new(replica_config(&settings, &chance), found.zab, found.state, clock.now());
    let members = members_in_force(&mut settings, &replica);
    let client_ports = client_ports::bind(&settings).await?;
    let (inputs, inputs_of_core) = mpsc::channel(INPUTS_MAX);
    let identity = Arc::new(identity(&settings, members, &epoch, replica.state().version())?);
    let disk = Arc::new(DiskQueue::default());
    let images = start_snapshots(&settings, &found.storage, &inputs, &disk, &stats)?;
    let disk_thread = DiskThread {
        storage: found.storage,
        queue: Arc::clone(&disk),
        inputs: inputs.clone(),
        identity: Arc::clone(&identity),
        hash_seed: chance.hash_seed,
        stats: Arc::clone(&stats),
    };
    let disk_thread = spawn("disk", move || disk_thread.run())?;
    let peers = peer_context(&settings, identity, &inputs, &disk, tls.quorum, &stats);
    let clients = client_context(settings, replica, inputs, tls.clients, stats, found.damaged_sets)?;
    let (follow, target) = watch::channel(None);
    let (feed, feed_target) = watch::channel(None);
    let (role, roles) = watch::channel(Role::Looking);
    let (handed_over, handed_over_to) = watch::channel(None);
    start_peers(&peers, target, feed_target).await?;
    let outlets = Outlets {
        disk: Arc::clone(&disk),
        images,
        electors: Electors::start(&peers),
        peers: Arc::clone(&peers),
        follow,
        feed,
        role,
        handed_over,
    };
    // A task, not this future: the runtime looks at the sockets before it goes on with its main future.
    let mut core = tokio::spawn(Core::new(Arc::clone(&clients), clock, inputs_of_core, outlets).run());
    let letting_in =
        client_ports::let_clients_in(Arc::clone(&clients), client_ports, roles.clone(), peers.directory());
    let ending = async {
        let why = ended.await.unwrap_or("the signals are gone");
        tracing::info!("ending: {why}");
        if why == SIGTERM {
            hand_over::before_the_end(&clients, handed_over_to, roles).await;
        }
    };
    tokio::select! {
        _ = &mut core => tracing::error!("ending: the core ended"),
        result = letting_in => return result,
        () = ending => {}
    };
    core.abort();
    end(&clients, &disk, disk_thread).await;
    Ok(())
}

/// TLS as the files have it: read before anything else, so that what is wrong with them ends the start.
struct BothTls {
    clients: Option<Arc<Tls>>,
    quorum: Option<Arc<Tls>>,
}

impl BothTls {
    fn load(settings: &Settings) -> Result<BothTls, TlsError> {
        let load = |side: &Option<TlsSettings>| match side {
            Some(side) => Ok(Some(Arc::new(Tls::load(side.clone())?))),
            None => Ok(None),
        };
        Ok(BothTls { clients: load(&settings.client_tls)?, quorum: load(&settings.quorum_tls)? })
    }
}

fn replica_config(settings: &Settings, chance: &Chance) -> replica::Config {
    let frame_bytes_max = settings.frame_bytes_max as usize;
    let txn_bytes_max = TXN_BYTES_USUAL_MAX.max(frame_bytes_max * 4).min(TXN_BYTES_MAX - TXN_HEAD_BYTES_MAX);
    let members = (!settings.is_standalone()).then(|| settings.membership());
    // What the history says of the ensemble, if it says it, comes before the list of the file.
    let ensemble = members.as_ref().and_then(replica::ensemble_from);
    replica::Config {
        zab: ZabConfig {
            id: settings.server_id,
            ensemble: ensemble.unwrap_or_else(|| Ensemble::of_equals([settings.server_id])),
            ensemble_of: replica::ensemble_of,
            records_ensemble: settings.reconfig_enabled && members.is_some(),
            heartbeat_ms: u64::from(settings.peer_heartbeat_ms),
            peer_timeout_ms: u64::from(settings.peer_timeout_ms),
            sync_timeout_ms: settings.init_limit_ms(),
            disk_timeout_ms: settings.sync_limit_ms().max(DISK_TIMEOUT_MS_MIN),
            observer_delay_ms: u64::from(settings.observer_reconnect_delay_ms),
            is_fed: settings.observer_master_port.is_some(),
            settle_ms: SETTLE_MS,
            recent_bytes_max: settings.recent_bytes_max(),
            batch_bytes_max: BATCH_BYTES_MAX,
            unacked_bytes_max: UNACKED_BYTES_MAX,
            epoch_txns_max: u32::MAX,
            new_ensemble_id: chance.ensemble_id,
        },
        hash_seed: chance.hash_seed,
        secret_seed: chance.secret_seed,
        started_wall_ms: Clock::wall_ms().unsigned_abs(),
        session_timeout_ms_min: settings.session_timeout_ms_min,
        session_timeout_ms_max: settings.session_timeout_ms_max,
        expiry_bucket_ms: EXPIRY_BUCKET_MS,
        park_ms_max: u64::from(settings.park_timeout_ms),
        acl_rules: acl_rules(settings),
        audits: settings.audit.is_some(),
        limits: Limits {
            frame_bytes_max,
            txn_bytes_max,
            has_ttls: settings.extended_types,
            enforces_quotas: settings.enforce_quota,
            keeper_operations: settings.clickhouse_operations,
            ephemerals_per_session_max: settings.ephemerals_per_session_max,
            ephemerals_max: settings.ephemerals_max,
        },
        watches_per_conn_max: settings.watches_per_conn_max as usize,
        watches_max: settings.watches_max as usize,
        limited: LimitedConfig {
            check_interval_ms: u64::from(settings.container_check_interval_ms),
            deletions_per_minute_max: settings.container_deletions_per_minute_max,
            unused_ms_max: u64::from(settings.container_unused_ms_max),
        },
        leader_serves: settings.leader_serves,
        local: LocalConfig {
            enabled: settings.has_local_sessions(),
            upgrading: settings.local_sessions_upgrading,
            read_only_after_ms: settings.read_only_mode.then(|| settings.read_only_grace_ms()),
        },
        reconfig: ReconfigConfig {
            members: members.map(Arc::new),
            enabled: settings.reconfig_enabled,
            standalone_enabled: settings.standalone_enabled,
        },
        snapshot_txns: u64::from(settings.snapshot_txns_max),
        snapshot_log_bytes: settings.snapshot_log_bytes_max,
    }
}

fn acl_rules(settings: &Settings) -> AclRules {
    AclRules {
        skip: settings.auth.skip_acl,
        has_digest: settings.auth.digest,
        has_sasl: settings.auth.sasl,
        has_x509: settings.client_tls.is_some(),
        any_sasl_user: settings.auth.any_sasl_user.clone(),
    }
}

/// The servers as the history says, or else the file. Where this server listens is among what it says.
fn members_in_force(settings: &mut Settings, replica: &Replica) -> Membership {
    let listed = settings.membership();
    let Some(members) = replica.membership().filter(|members| members.version != Zxid::ZERO) else {
        return listed;
    };
    if !members.same_members(&listed) {
        tracing::warn!(
            "the servers in the configuration file are not those of the ensemble, which count: {}",
            members.text().replace('\n', " ")
        );
    }
    settings.listen_as_in(members);
    Membership::clone(members)
}

/// What the start was like, for the metrics.
fn count_start(stats: &Stats, found: &Recovered, took: Duration) {
    let metrics = &stats.metrics;
    metrics.note_time(Sum::DbInit, took);
    metrics.note_time(Sum::StartupSnapshot, found.loaded.snapshot);
    metrics.note(Sum::StartupTxns, found.loaded.txns);
    metrics.note_time(Sum::StartupTxnsTime, found.loaded.replay);
}

/// What this server is to others.
fn identity(
    settings: &Settings,
    members: Membership,
    epoch: &EpochRecord,
    needed: Version,
) -> anyhow::Result<Identity> {
    let directory = Directory::new(settings, members);
    let auth = settings.auth.quorum.clone().map(PeerAuth::new).transpose()?;
    let identity = Identity::new(settings.server_id, directory, epoch).with_auth(auth);
    identity.set_needed_version(needed);
    Ok(identity)
}

fn start_audit(settings: &Settings) -> anyhow::Result<Option<AuditLog>> {
    let Some(audit) = &settings.audit else { return Ok(None) };
    let log = AuditLog::start(audit)
        .with_context(|| format!("the audit log {} cannot be written", audit.file.display()))?;
    Ok(Some(log))
}

/// The users of clients, if there are any.
fn sasl_users(settings: &Settings) -> anyhow::Result<Option<sasl::Users>> {
    let Some(users) = &settings.auth.sasl_users else { return Ok(None) };
    let users = users.iter().map(|(name, password)| (&**name, password.expose()));
    let seed = secret().context("the system has no random numbers")?;
    Ok(Some(sasl::Users::new(users, &seed)))
}

fn client_context(
    settings: Settings,
    replica: Replica,
    inputs: mpsc::Sender<Input>,
    tls: Option<Arc<Tls>>,
    stats: Arc<Stats>,
    damaged_sets: usize,
) -> anyhow::Result<Arc<ClientContext>> {
    Ok(Arc::new(ClientContext {
        sasl_users: sasl_users(&settings)?,
        audit: start_audit(&settings)?,
        throttle: client::Throttle::new(settings.connection_throttle),
        turnstile: client::Turnstile::new(settings.request_throttle),
        settings,
        replica: Arc::new(RwLock::new(replica)),
        inputs,
        conns: Conns::default(),
        damaged_sets,
        room: client::Room::default(),
        stats,
        tls,
        quiet: Quiet::default(),
    }))
}

fn start_snapshots(
    settings: &Settings,
    storage: &Storage<OsDisk>,
    inputs: &mpsc::Sender<Input>,
    disk: &Arc<DiskQueue>,
    stats: &Arc<Stats>,
) -> anyhow::Result<std_mpsc::SyncSender<Image>> {
    let (sender, images) = std_mpsc::sync_channel(IMAGES_MAX);
    let purge_interval = settings.purge_interval_ms;
    let snapshots = SnapshotThread {
        store: storage.snapshots(),
        spares: storage.spares(),
        images,
        inputs: inputs.clone(),
        disk: Arc::clone(disk),
        purge_interval: (purge_interval > 0).then(|| Duration::from_millis(purge_interval)),
        stats: Arc::clone(stats),
    };
    spawn("snapshots", move || snapshots.run())?;
    Ok(sender)
}

fn peer_context(
    settings: &Settings,
    identity: Arc<Identity>,
    inputs: &mpsc::Sender<Input>,
    disk: &DiskQueue,
    tls: Option<Arc<Tls>>,
    stats: &Arc<Stats>,
) -> Arc<PeerContext> {
    Arc::new(PeerContext {
        settings: settings.clone(),
        identity,
        live: Arc::new(LivePeers::default()),
        inputs: inputs.clone(),
        inbound: Inbound::default(),
        told: ToldStates::default(),
        links: Arc::new(Links::default()),
        disk_room: disk.room(),
        tls,
        stats: Arc::clone(stats),
        quiet: Quiet::default(),
    })
}

/// Opens the ports for other servers, if there are any.
async fn start_peers(
    context: &Arc<PeerContext>,
    target: peer::FollowTarget,
    feed_target: peer::FollowTarget,
) -> anyhow::Result<()> {
    if context.settings.is_standalone() {
        return Ok(());
    }
    if let Some(tls) = &context.tls {
        tokio::spawn(Arc::clone(tls).keep_fresh());
    }
    let ports = Ports::open(context).await?;
    hand_over::when_asked(context.inputs.clone())?;
    ports.keep();
    tokio::spawn(dynamic_file::keep_written(Arc::clone(context)));
    tokio::spawn(peer::follow(Arc::clone(context), target));
    let seed = secret().context("the system has no random numbers")?;
    tokio::spawn(peer::be_fed(Arc::clone(context), feed_target, StdRng::from_seed(seed)));
    Ok(())
}

/// Clients are told, the log is synced; nobody is waited for long.
async fn end(clients: &ClientContext, disk: &DiskQueue, disk_thread: JoinHandle<()>) {
    clients.conns.close_all("the server ends");
    let closed = async {
        while clients.conns.count() > 0 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    let _ = timeout(CLOSE_LIMIT, closed).await;
    disk.push([Job::Stop]);
    let (done, synced) = oneshot::channel();
    thread::spawn(move || done.send(disk_thread.join()));
    if timeout(SYNC_LIMIT, synced).await.is_err() {
        tracing::warn!("the disk is busy: the end of the log is not marked");
    }
    let Some(audit) = clients.audit.as_ref() else { return };
    audit.tell_server("serverStop", "invoked");
    audit.end();
    let (done, written) = oneshot::channel();
    if let Some(writing) = audit.take_thread() {
        thread::spawn(move || done.send(writing.join()));
    }
    if !matches!(timeout(SYNC_LIMIT, written).await, Ok(Ok(Ok(())))) {
        tracing::warn!("the end of the audit log could not be written");
    }
}

/// Resolves when the server is to end, with the reason.
fn end_signal(options: RunOptions) -> anyhow::Result<oneshot::Receiver<&'static str>> {
    let (sender, receiver) = oneshot::channel();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (stdin_ends, stdin_ended) = oneshot::channel::<()>();
    if options.exit_with_stdin {
        spawn("stdin", move || {
            let mut bytes = [0; 256];
            while matches!(std::io::stdin().read(&mut bytes), Ok(1..)) {}
            drop(stdin_ends);
        })?;
    }
    tokio::spawn(async move {
        let why = tokio::select! {
            _ = terminate.recv() => SIGTERM,
            _ = interrupt.recv() => "SIGINT",
            _ = stdin_ended, if options.exit_with_stdin => "the standard input ended",
        };
        let _ = sender.send(why);
    });
    Ok(receiver)
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> anyhow::Result<JoinHandle<()>> {
    let thread = thread::Builder::new().name(name.to_owned()).spawn(work);
    thread.with_context(|| format!("starting the thread {name}"))
}

fn draw() -> anyhow::Result<Chance> {
    let mut random = SysRng;
    let mut number = || -> anyhow::Result<u64> {
        // 0 means "none" where these numbers are used.
        Ok(random.try_next_u64().context("the system has no random numbers")?.max(1))
    };
    let (hash_seed, data_dir_id, ensemble_id) = (number()?, number()?, number()?);
    let mut secret_seed = [0; 32];
    SysRng.try_fill_bytes(&mut secret_seed).context("the system has no random numbers")?;
    Ok(Chance { hash_seed, secret_seed, data_dir_id, ensemble_id })
}

/// Each client takes a file descriptor: as many as the system allows.
fn raise_open_files_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::warn!("open files are limited to {:?}: {error}", limit.current);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::txn::{CloseSession, Txn, txn::Body};
    use prost::Message as _;

    #[test]
    fn whatever_the_leader_lets_through_fits_into_the_log() {
        let most = u64::MAX;
        let head = Txn {
            session_id: most,
            xid: i32::MIN,
            time_ms: i64::MIN,
            origin: u32::MAX,
            request_id: most,
            generation: most,
            digest_zxid: most,
            digest: most,
            reconfigures: true,
            body: Some(Body::CloseSession(CloseSession { paths: vec!["x".repeat(1 << 20)] })),
            version: u32::MAX,
            later_ops: None,
        };
        let body_bytes = CloseSession { paths: vec!["x".repeat(1 << 20)] }.encoded_len();
        assert!(
            head.encoded_len() - body_bytes <= TXN_HEAD_BYTES_MAX - 16,
            "lengths take more in a bigger one"
        );
        for frame_bytes_max in [1024, 64 << 20] {
            let settings = Settings { frame_bytes_max, ..Settings::standalone_default() };
            let chance = Chance { hash_seed: 1, secret_seed: [0; 32], data_dir_id: 1, ensemble_id: 1 };
            let limits = replica_config(&settings, &chance).limits;
            assert!(limits.txn_bytes_max + TXN_HEAD_BYTES_MAX <= TXN_BYTES_MAX);
            assert!(limits.txn_bytes_max > limits.frame_bytes_max);
        }
    }
}
