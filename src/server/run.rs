//! Start and end of a server.

use std::io::Read;
use std::sync::mpsc as std_mpsc;
use std::sync::{Arc, RwLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::Context as _;
use rand::TryRng as _;
use rand::rngs::SysRng;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::audit::AuditLog;
use super::chance::secret;
use super::client::{self, ClientContext, ClientThreads, Conns, Door};
use super::clock::Clock;
use super::core::{Core, Outlets};
use super::disk::{DiskQueue, DiskThread, Job};
use super::hand_over;
use super::net::BoundPort;
use super::peer::{self, Electors, Identity, Links, LivePeers, PeerAuth, PeerContext};
use super::quiet::Quiet;
use super::recover::{self, Recovered};
use super::snapshots::SnapshotThread;
use crate::admin::Stats;
use crate::config::{PeerRole, ServerAddr, Settings, TlsSettings};
use crate::replica::{self, AclRules, Image, Input, LimitedConfig, Limits, LocalConfig, Replica, ZabConfig};
use crate::sasl;
use crate::storage::TXN_BYTES_MAX;
use crate::tls::{Tls, TlsError};
use crate::zab::{Ensemble, Member, Role};

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

/// Without a leader for so long since its start, a server takes connections all the same: clients are told to go
/// elsewhere, and the operator can ask what is missing.
const CLOSED_LIMIT: Duration = Duration::from_secs(10);

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
    let found = recover::recover(&settings, chance.hash_seed, chance.data_dir_id)?;
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
    let result = runtime.block_on(serve(settings, options, chance, found, tls));
    runtime.shutdown_background();
    result
}

async fn serve(
    settings: Settings,
    options: RunOptions,
    chance: Chance,
    found: Recovered,
    tls: BothTls,
) -> anyhow::Result<()> {
    let ended = end_signal(options)?;
    let client_ports = bind_client_ports(&settings).await?;
    let (inputs, inputs_of_core) = mpsc::channel(INPUTS_MAX);
    let identity = Arc::new(identity(&settings, &found)?);
    let disk = Arc::new(DiskQueue::default());
    let images = start_snapshots(&settings, &found, &inputs, &disk)?;
    let clock = Clock::start();
    let replica = Replica::new(replica_config(&settings, &chance), found.zab, found.state, clock.now());
    let disk_thread = DiskThread {
        storage: found.storage,
        queue: Arc::clone(&disk),
        inputs: inputs.clone(),
        identity: Arc::clone(&identity),
        hash_seed: chance.hash_seed,
    };
    let disk_thread = spawn("disk", move || disk_thread.run())?;
    let peers = peer_context(&settings, identity, &inputs, &disk, tls.quorum);
    let clients = Arc::new(ClientContext {
        sasl_users: sasl_users(&settings)?,
        audit: start_audit(&settings)?,
        throttle: client::Throttle::new(settings.connection_throttle),
        settings,
        replica: Arc::new(RwLock::new(replica)),
        inputs,
        conns: Conns::default(),
        damaged_sets: found.damaged_sets,
        room: client::Room::default(),
        stats: Stats::default(),
        tls: tls.clients,
        quiet: Quiet::default(),
    });
    let (follow, target) = watch::channel(None);
    let (role, roles) = watch::channel(Role::Looking);
    let (handed_over, handed_over_to) = watch::channel(None);
    start_peers(&peers, target).await?;
    let outlets = Outlets {
        disk: Arc::clone(&disk),
        images,
        electors: Electors::start(&peers),
        links: Arc::clone(&peers.links),
        follow,
        role,
        handed_over,
    };
    // A task, not this future: the runtime looks at the sockets before it goes on with its main future.
    let mut core = tokio::spawn(Core::new(Arc::clone(&clients), clock, inputs_of_core, outlets).run());
    let letting_in = let_clients_in(Arc::clone(&clients), client_ports, roles.clone());
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

/// A port for clients that was taken.
struct ClientPort {
    key: &'static str,
    bound: BoundPort,
    door: Door,
}

/// Takes the ports for clients: one, or both.
async fn bind_client_ports(settings: &Settings) -> anyhow::Result<Vec<ClientPort>> {
    let plain = if settings.client_port_unification { Door::Either } else { Door::Plain };
    let wanted = [
        ("clientPort", &settings.client_addr, plain),
        ("secureClientPort", &settings.secure_client_addr, Door::Tls),
    ];
    let mut ports = Vec::new();
    for (key, addr, door) in wanted {
        let Some(addr) = addr else { continue };
        let bound = BoundPort::bind(addr.host.as_deref(), addr.port).await;
        let bound = bound.with_context(|| format!("{key} {addr} cannot be used"))?;
        ports.push(ClientPort { key, bound, door });
    }
    Ok(ports)
}

fn replica_config(settings: &Settings, chance: &Chance) -> replica::Config {
    let frame_bytes_max = settings.frame_bytes_max as usize;
    let txn_bytes_max = TXN_BYTES_USUAL_MAX.max(frame_bytes_max * 4).min(TXN_BYTES_MAX - TXN_HEAD_BYTES_MAX);
    replica::Config {
        zab: ZabConfig {
            id: settings.server_id,
            ensemble: ensemble(settings),
            heartbeat_ms: u64::from(settings.peer_heartbeat_ms),
            peer_timeout_ms: u64::from(settings.peer_timeout_ms),
            sync_timeout_ms: settings.init_limit_ms(),
            disk_timeout_ms: settings.sync_limit_ms().max(DISK_TIMEOUT_MS_MIN),
            observer_delay_ms: u64::from(settings.observer_reconnect_delay_ms),
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
        acl_rules: AclRules {
            skip: settings.auth.skip_acl,
            has_digest: settings.auth.digest,
            has_sasl: settings.auth.sasl,
            has_x509: settings.client_tls.is_some(),
            any_sasl_user: settings.auth.any_sasl_user.clone(),
        },
        audits: settings.audit.is_some(),
        limits: Limits {
            frame_bytes_max,
            txn_bytes_max,
            has_ttls: settings.extended_types,
            enforces_quotas: settings.enforce_quota,
            keeper_operations: settings.clickhouse_operations,
            ephemerals_per_session_max: settings.ephemerals_per_session_max,
        },
        watches_per_conn_max: settings.watches_per_conn_max as usize,
        watches_max: settings.watches_max as usize,
        limited: LimitedConfig {
            check_interval_ms: u64::from(settings.container_check_interval_ms),
            deletions_per_minute_max: settings.container_deletions_per_minute_max,
            unused_ms_max: u64::from(settings.container_unused_ms_max),
        },
        local: LocalConfig {
            // Alone, a server is the whole ensemble: as in ZooKeeper, all know every session.
            enabled: settings.local_sessions && !settings.is_standalone(),
            upgrading: settings.local_sessions_upgrading,
            read_only_after_ms: settings.read_only_mode.then(|| settings.read_only_grace_ms()),
        },
        snapshot_txns: u64::from(settings.snapshot_txns_max),
        snapshot_log_bytes: settings.snapshot_log_bytes_max,
    }
}

/// What this server is to others.
fn identity(settings: &Settings, found: &Recovered) -> anyhow::Result<Identity> {
    let members = settings.servers.iter().map(|server| server.id).collect();
    let auth = settings.auth.quorum.clone().map(PeerAuth::new).transpose()?;
    Ok(Identity::new(settings.server_id, members, &found.zab.epoch).with_auth(auth))
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

/// The servers of the configuration; one that has no list is alone.
fn ensemble(settings: &Settings) -> Ensemble {
    let member = |server: &ServerAddr| match server.role {
        PeerRole::Participant { group, weight } => Member::Participant { group, weight },
        PeerRole::Observer => Member::Observer,
    };
    match settings.servers.as_slice() {
        [] => Ensemble::of_equals([settings.server_id]),
        // A server list of a file is the first one; nothing changes it while servers run.
        servers => Ensemble::new(0, servers.iter().map(|server| (server.id, member(server))).collect()),
    }
}

fn start_snapshots(
    settings: &Settings,
    found: &Recovered,
    inputs: &mpsc::Sender<Input>,
    disk: &Arc<DiskQueue>,
) -> anyhow::Result<std_mpsc::SyncSender<Image>> {
    let (sender, images) = std_mpsc::sync_channel(IMAGES_MAX);
    let purge_interval = settings.purge_interval_ms;
    let snapshots = SnapshotThread {
        store: found.storage.snapshots(),
        spares: found.storage.spares(),
        images,
        inputs: inputs.clone(),
        disk: Arc::clone(disk),
        purge_interval: (purge_interval > 0).then(|| Duration::from_millis(purge_interval)),
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
) -> Arc<PeerContext> {
    Arc::new(PeerContext {
        settings: settings.clone(),
        identity,
        live: Arc::new(LivePeers::default()),
        inputs: inputs.clone(),
        links: Arc::new(Links::default()),
        disk_room: disk.room(),
        tls,
        quiet: Quiet::default(),
    })
}

/// Opens the two ports for other servers, if there are any.
async fn start_peers(context: &Arc<PeerContext>, target: peer::FollowTarget) -> anyhow::Result<()> {
    let settings = &context.settings;
    let Some(own) = settings.own_addr().filter(|_| !settings.is_standalone()) else {
        return Ok(());
    };
    let host = if settings.quorum_listen_on_all_ips { None } else { Some(own.host.as_str()) };
    if let Some(tls) = &context.tls {
        tokio::spawn(Arc::clone(tls).keep_fresh());
    }
    let mut listeners = Vec::new();
    for (what, port) in [("election", own.election_port), ("quorum", own.quorum_port)] {
        let address = host.unwrap_or("all addresses");
        let in_words = || format!("the {what} port {port} on {address} cannot be used");
        let bound = BoundPort::bind(host, port).await.with_context(in_words)?;
        tracing::info!("{what} port: {}", bound.addr());
        listeners.push(bound.listen().with_context(in_words)?);
    }
    let quorum = listeners.pop().context("two ports were opened")?;
    let election = listeners.pop().context("two ports were opened")?;
    hand_over::when_asked(context.inputs.clone())?;
    tokio::spawn(peer::listen_for_notifications(Arc::clone(context), election));
    tokio::spawn(peer::listen_for_learners(Arc::clone(context), quorum));
    tokio::spawn(peer::follow(Arc::clone(context), target));
    Ok(())
}

/// Opens the client port once there is something to serve, or it takes long. It stays open through elections.
async fn let_clients_in(
    context: Arc<ClientContext>,
    ports: Vec<ClientPort>,
    mut roles: watch::Receiver<Role>,
) -> anyhow::Result<()> {
    let threads = Arc::new(ClientThreads::start(context.settings.client_threads)?);
    let permits = Arc::new(Semaphore::new(context.settings.conns_max as usize));
    let serving = timeout(CLOSED_LIMIT, roles.wait_for(|role| *role != Role::Looking)).await;
    if let Some(tls) = &context.tls {
        tokio::spawn(Arc::clone(tls).keep_fresh());
    }
    let mut listening = JoinSet::new();
    let mut open = Vec::new();
    for ClientPort { key, bound, door } in ports {
        let addr = bound.addr();
        let listener = bound.listen().with_context(|| format!("{key} {addr} cannot be used"))?;
        open.push(match door {
            Door::Plain => addr.to_string(),
            Door::Tls => format!("{addr} with TLS"),
            Door::Either => format!("{addr} with TLS or without"),
        });
        let (context, threads, permits) = (Arc::clone(&context), Arc::clone(&threads), Arc::clone(&permits));
        listening.spawn(client::listen(context, threads, permits, listener, door));
    }
    match serving {
        Ok(serving) => drop(serving?),
        Err(_) => tracing::warn!("there is no leader yet, but clients can connect"),
    }
    tracing::info!("serving clients on {}", open.join(" and "));
    if let Some(audit) = &context.audit {
        audit.tell_server("serverStart", "success");
    }
    while listening.join_next().await.is_some() {}
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
            body: Some(Body::CloseSession(CloseSession { paths: vec!["x".repeat(1 << 20)] })),
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
