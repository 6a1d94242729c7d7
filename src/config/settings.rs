//! Everything that can be set, with its unit in its name, its default and the reason for it.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::audit::AuditSettings;
use super::auth::AuthSettings;
use super::throttle::{RequestThrottle, ThrottleSettings};
use super::tls::TlsSettings;
use crate::ids::ServerId;
use crate::membership::{ListenAddr, Membership, PeerRole, ServerAddr};

const MIB: u64 = 1024 * 1024;

/// What one server is told at its start. The key of zoo.cfg stands at the head of each field's description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `dataDir`: snapshots, the epoch file and `myid`. Required. The server creates it if it is missing.
    pub data_dir: PathBuf,

    /// `dataLogDir`: the transaction log. By default the same as `dataDir`; a disk of its own spares writes the wait
    /// for snapshots.
    pub data_log_dir: PathBuf,

    /// `clientPort`, `clientPortAddress`: where clients connect in plain text. Without an address every address of the
    /// machine listens, as in ZooKeeper. `None` only where there is a `secure_client_addr`, or
    /// where a reconfiguration has left the server no client port.
    pub client_addr: Option<ListenAddr>,

    /// `secureClientPort`, `secureClientPortAddress`: where clients connect with TLS. None by default.
    pub secure_client_addr: Option<ListenAddr>,

    /// `client.portUnification`: TLS is spoken on `clientPort` too, with whoever begins with it. False by default, as in
    /// ZooKeeper.
    pub client_port_unification: bool,

    /// `ssl.*`: there if one of the two above wants it.
    pub client_tls: Option<TlsSettings>,

    /// `netty.server.outstandingHandshake.limit`: handshakes with clients at once; who comes beyond them is refused. 250 by
    /// default, as ZooKeeper's manual advises (its default is no limit): each takes about a millisecond, so that all are
    /// done before their clients give up.
    pub handshakes_max: u32,

    /// `X509AuthenticationProvider.superUser`: the subject of the certificate that may do everything. None by default.
    pub x509_super_user: Option<String>,

    /// `sslQuorum`: other servers are dialled with TLS. False by default, as in ZooKeeper.
    pub ssl_quorum: bool,

    /// `portUnification`: other servers may dial with TLS or without, whatever `sslQuorum` says. For changing over without
    /// a stop, and for nothing else. False by default, as in ZooKeeper.
    pub port_unification: bool,

    /// `ssl.quorum.*`: there if one of the two above wants it.
    pub quorum_tls: Option<TlsSettings>,

    /// `dataDir/myid`, or `--myid`: which `server.N` this one is. 0 where there is no server list.
    pub server_id: ServerId,

    /// `server.N`, `group.N`, `weight.N`: the members of the ensemble and what each of them is, ordered by id, this
    /// server included. Empty for a standalone server.
    pub servers: Vec<ServerAddr>,

    /// `reconfigEnabled`: clients that may write `/zookeeper/config` can change the servers, and servers that are not
    /// in the list may connect, to be added. False by default, as in ZooKeeper.
    pub reconfig_enabled: bool,

    /// `standaloneEnabled`: a server whose list names it alone needs no ports for others and is never joined by any. True
    /// by default, as in ZooKeeper; false makes it an ensemble of one, which others can be added to.
    pub standalone_enabled: bool,

    /// `dynamicConfigFile`: where the server list stands, if not in the same file as all else.
    pub dynamic_config_file: Option<PathBuf>,

    /// The file that these settings come from, if a reconfiguration can point it to another `dynamicConfigFile`: not for
    /// TOML.
    pub config_file: Option<PathBuf>,

    /// `tickTime`: the unit of the three limits below and of the default session timeouts. 3000 when not set, as in
    /// ZooKeeper; its sample file and ours say 2000. Failures are noticed by `peer_timeout_ms`, not by ticks.
    pub tick_ms: u32,

    /// `initLimit`: how long a learner may take to connect to a new leader and to be synchronized. 10 by default, as
    /// in every sample file (ZooKeeper has no default for it).
    pub init_limit_ticks: u32,

    /// `syncLimit`: the upper bound of silence between leader and learner. 5 by default, for the same reason.
    pub sync_limit_ticks: u32,

    /// `minSessionTimeout`: shorter wishes of clients are raised to this. By default 2 ticks, as in ZooKeeper: less
    /// would expire sessions over a hiccup.
    pub session_timeout_ms_min: u32,

    /// `maxSessionTimeout`: longer wishes of clients are lowered to this. By default 20 ticks, as in ZooKeeper: how
    /// long a lock of a dead client can stay taken.
    pub session_timeout_ms_max: u32,

    /// `maxClientCnxns`: connections from one address. 0: no limit. 60 by default, as in ZooKeeper: a client that
    /// leaks connections hurts only itself.
    pub conns_per_address_max: u32,

    /// `maxCnxns`: client connections in all. 0 by default, as in ZooKeeper: only the file descriptors are the limit.
    pub conns_max: u32,

    /// `connection_throttle_*`: how many clients may connect in a while. Any number by default, as in ZooKeeper.
    pub connection_throttle: ThrottleSettings,

    /// `request_throttle_*` and their kin: how many requests a server works on at once. Any number by default, as in
    /// ZooKeeper.
    pub request_throttle: RequestThrottle,

    /// `watchesPerConnectionMax`: watches that a client can have at a server; 0: no limit. A million by default: far more
    /// than anybody keeps an eye on, and a few hundred MiB.
    pub watches_per_conn_max: u32,

    /// `watchesMax`: watches of all clients of a server; 0: no limit. Ten million by default.
    pub watches_max: u32,

    /// `ephemeralsPerSessionMax`: ephemerals that a session can have; 0: no limit. A million by default: its end deletes
    /// them all.
    pub ephemerals_per_session_max: u32,

    /// `ephemeralsMax`: ephemerals of all sessions; 0: no limit. Ten million by default: several GiB.
    pub ephemerals_max: u32,

    /// `globalOutstandingLimit`: requests of clients that are being worked on; while there are more, connections that
    /// have their share of as many, or one, are not read. 1000 by default, as in ZooKeeper: deep enough to fill batches, and bounded memory.
    pub outstanding_requests_max: u32,

    /// `jute.maxbuffer`: the longest frame taken from a client; so also, nearly, the most data of a znode. 1,048,575
    /// by default, as in ZooKeeper: coordination data is small.
    pub frame_bytes_max: u32,

    /// `4lw.commands.whitelist`: which four-letter words are answered. Only `srvr` by default, as in ZooKeeper: others
    /// tell strangers more, or cost more.
    pub four_letter_words: FourLetterWords,

    /// `localSessionsEnabled`: new sessions are known to their server alone. They cost the ensemble nothing, have no
    /// ephemerals, and end when their client goes to another server. False by default, as in ZooKeeper.
    pub local_sessions: bool,

    /// `localSessionsUpgradingEnabled`: a local session that wants an ephemeral becomes one of the ensemble. False by
    /// default, as in ZooKeeper: it is refused the ephemeral.
    pub local_sessions_upgrading: bool,

    /// `readonlymode.enabled`: without a leader, clients that said they only read are served. False by default, as in
    /// ZooKeeper.
    pub read_only_mode: bool,

    /// `leaderServes`: the leader of an ensemble has clients of its own. True by default, as in ZooKeeper.
    pub leader_serves: bool,

    /// `extendedTypesEnabled`: znodes can have a time to live. False by default, as in ZooKeeper.
    pub extended_types: bool,

    /// `enforceQuota`: what goes beyond the hard limit of a quota is refused, and beyond a soft one told in the log. False
    /// by default, as in ZooKeeper: quotas are only counted.
    pub enforce_quota: bool,

    /// `clickHouseOperationsEnabled`: what ClickHouse Keeper offers beyond ZooKeeper is offered here too. False by default:
    /// to all other clients these operations are unknown ones.
    pub clickhouse_operations: bool,

    /// `znode.container.checkIntervalMs`: pause between two searches for containers and znodes with a time to live whose
    /// time has come. A minute by default, as in ZooKeeper.
    pub container_check_interval_ms: u32,

    /// `znode.container.maxPerMinute`: how many of these are deleted at most. 10,000 by default, as in ZooKeeper.
    pub container_deletions_per_minute_max: u32,

    /// `znode.container.maxNeverUsedIntervalMs`: how long a container may wait for its first child; 0 for ever. That is
    /// the default, as in ZooKeeper 3.9.
    pub container_unused_ms_max: u32,

    /// `snapCount`: transactions after which a snapshot is due. 100,000 by default, as in ZooKeeper.
    pub snapshot_txns_max: u32,

    /// `snapshotBytesOfLogMax`: bytes of log after which a snapshot is due, whatever `snapCount` says. 256 MiB by
    /// default: about a second of replay at the next start.
    pub snapshot_log_bytes_max: u64,

    /// `autopurge.snapRetainCount`: snapshots kept by a purge, with the log from the oldest one on. 3 by default and
    /// at least, as in ZooKeeper: two may be damaged.
    pub snapshots_retained: u32,

    /// `autopurge.purgeInterval`: pause between purges; 0 switches purging off. An hour by default (in ZooKeeper
    /// purging is off unless asked for, and full disks are its most frequent failure).
    pub purge_interval_ms: u64,

    /// `forceSync`: a transaction is on the disk before it is acknowledged. True by default, as in ZooKeeper; false
    /// trades acknowledged writes for speed.
    pub force_sync: bool,

    /// `datadir.autocreate`: folders that are missing are made. True by default, as in ZooKeeper; with false the server
    /// does not start without them, for one may be missing because its disk is not mounted.
    pub data_dir_autocreate: bool,

    /// `logSegmentBytes`: size of a file of the log, written before it is used. 64 MiB by default, as much as
    /// ZooKeeper allocates at once: purging works file by file, and a new file is rare.
    pub log_segment_bytes: u64,

    /// `recentTxnBytesMax`: memory for recent transactions, from which a returning follower catches up without a
    /// snapshot; a standalone server keeps none. 32 MiB by default: at 1 KiB and 5000 writes a second, 6 seconds of absence, a restart.
    pub recent_txn_bytes_max: u64,

    /// `quorumListenOnAllIPs`: listen to servers on every address of the machine rather than on that of the own
    /// `server.N` line. False by default, as in ZooKeeper; true where that address is not the machine's own (NAT).
    pub quorum_listen_on_all_ips: bool,

    /// `cnxTimeout`: how long dialling another server may take. 5000 by default, as in ZooKeeper.
    pub peer_connect_timeout_ms: u32,

    /// `peerHeartbeatMs`: pause between heartbeats to another server when nothing else is sent. 50 by default: a few
    /// packets a second, and ten of them fit into the default timeout.
    pub peer_heartbeat_ms: u32,

    /// `peerTimeoutMs`: silence after which another server counts as failed. 500 by default: longer than a stall of
    /// scheduler or disk, short enough that a stopped leader is replaced within a second. At least four heartbeats, at
    /// most `syncLimit` ticks.
    pub peer_timeout_ms: u32,

    /// `observer.reconnectDelayMs`: how long a server that does not vote waits, when it has lost its leader, before it
    /// looks for one. 0 by default, as in ZooKeeper; more spares a new leader many observers at once.
    pub observer_reconnect_delay_ms: u32,

    /// `observerMasterPort`: where followers send observers what is proposed, and observers dial them for it. The same for
    /// all servers. `None` by default, as in ZooKeeper: the leader sends it to all.
    pub observer_master_port: Option<u16>,

    /// `parkTimeoutMs`: how long requests of clients are kept while there is no leader; also at most a third of the
    /// session's timeout, so that the client can still go elsewhere. 2000 by default: several elections.
    pub park_timeout_ms: u32,

    /// `clientThreads`: threads that serve client connections. 0 by default: the core thread serves them, which saves
    /// each write two hops between threads and is best on few cores.
    pub client_threads: u32,

    /// How clients and servers authenticate.
    pub auth: AuthSettings,

    /// `audit.enable`: where it is told who changed what. `None` by default, as in ZooKeeper.
    pub audit: Option<AuditSettings>,
}

impl Settings {
    /// The defaults of everything that has one.
    pub(super) fn new(data_dir: PathBuf, client_addr: Option<ListenAddr>) -> Settings {
        let tick_ms = 3000;
        Settings {
            data_log_dir: data_dir.clone(),
            data_dir,
            client_addr,
            secure_client_addr: None,
            client_port_unification: false,
            client_tls: None,
            handshakes_max: 250,
            x509_super_user: None,
            ssl_quorum: false,
            port_unification: false,
            quorum_tls: None,
            server_id: ServerId(0),
            servers: Vec::new(),
            reconfig_enabled: false,
            standalone_enabled: true,
            dynamic_config_file: None,
            config_file: None,
            tick_ms,
            init_limit_ticks: 10,
            sync_limit_ticks: 5,
            session_timeout_ms_min: 2 * tick_ms,
            session_timeout_ms_max: 20 * tick_ms,
            conns_per_address_max: 60,
            conns_max: 0,
            connection_throttle: ThrottleSettings::default(),
            request_throttle: RequestThrottle::default(),
            watches_per_conn_max: 1_000_000,
            watches_max: 10_000_000,
            ephemerals_per_session_max: 1_000_000,
            ephemerals_max: 10_000_000,
            outstanding_requests_max: 1000,
            frame_bytes_max: 0xfffff,
            four_letter_words: FourLetterWords::default(),
            local_sessions: false,
            local_sessions_upgrading: false,
            read_only_mode: false,
            leader_serves: true,
            extended_types: false,
            enforce_quota: false,
            clickhouse_operations: false,
            container_check_interval_ms: 60_000,
            container_deletions_per_minute_max: 10_000,
            container_unused_ms_max: 0,
            snapshot_txns_max: 100_000,
            snapshot_log_bytes_max: 256 * MIB,
            snapshots_retained: 3,
            purge_interval_ms: 60 * 60 * 1000,
            force_sync: true,
            data_dir_autocreate: true,
            log_segment_bytes: 64 * MIB,
            recent_txn_bytes_max: 32 * MIB,
            quorum_listen_on_all_ips: false,
            peer_connect_timeout_ms: 5000,
            peer_heartbeat_ms: 50,
            peer_timeout_ms: 500,
            observer_reconnect_delay_ms: 0,
            observer_master_port: None,
            park_timeout_ms: 2000,
            client_threads: 0,
            auth: AuthSettings::default(),
            audit: None,
        }
    }

    /// What `zabra server` uses without a file: standalone, loopback only, port 2181, data in `./zabra-data`.
    pub fn standalone_default() -> Settings {
        let client_addr = ListenAddr { host: Some("127.0.0.1".to_string()), port: 2181 };
        let mut settings = Settings::new(PathBuf::from("./zabra-data"), Some(client_addr));
        settings.set_tick(2000);
        settings
    }

    /// Sets `tickTime` and the session timeouts that follow from it.
    pub(super) fn set_tick(&mut self, tick_ms: u32) {
        self.tick_ms = tick_ms;
        self.session_timeout_ms_min = 2 * tick_ms;
        self.session_timeout_ms_max = 20 * tick_ms;
    }

    /// How long a server has no leader before it serves read-only clients, ms: a tick, and at least two seconds, as in
    /// ZooKeeper.
    pub fn read_only_grace_ms(&self) -> u64 {
        u64::from(self.tick_ms).max(2000)
    }

    /// `initLimit` in milliseconds.
    pub fn init_limit_ms(&self) -> u64 {
        u64::from(self.init_limit_ticks) * u64::from(self.tick_ms)
    }

    /// `syncLimit` in milliseconds.
    pub fn sync_limit_ms(&self) -> u64 {
        u64::from(self.sync_limit_ticks) * u64::from(self.tick_ms)
    }

    /// True if this server is alone and stays so: no server list, or one that names only this server.
    pub fn is_standalone(&self) -> bool {
        self.servers.is_empty() || (self.servers.len() == 1 && self.standalone_enabled)
    }

    /// True if new sessions are its own. Alone, a server is the whole ensemble: as in ZooKeeper, all know every session.
    pub fn has_local_sessions(&self) -> bool {
        self.local_sessions && !self.is_standalone()
    }

    /// This server's own line of the server list.
    pub fn own_addr(&self) -> Option<&ServerAddr> {
        self.servers.iter().find(|server| server.id == self.server_id)
    }

    /// Memory for recent transactions, in bytes: none where nobody can fall behind.
    pub fn recent_bytes_max(&self) -> usize {
        match self.is_standalone() {
            true => 0,
            false => usize::try_from(self.recent_txn_bytes_max).unwrap_or(usize::MAX),
        }
    }

    /// The other members of the ensemble.
    pub fn peers(&self) -> impl Iterator<Item = &ServerAddr> {
        self.servers.iter().filter(|server| server.id != self.server_id)
    }

    /// The ids that vote. A standalone server is its own only voter.
    pub fn voters(&self) -> Vec<ServerId> {
        if self.servers.is_empty() {
            return vec![self.server_id];
        }
        self.servers.iter().filter(|server| server.role.votes()).map(|server| server.id).collect()
    }

    /// The members by the file.
    pub fn membership(&self) -> Membership {
        Membership::of(self.servers.iter().cloned())
    }

    /// Listens to clients where `membership`, which is in force, says it, rather than where the file does.
    pub fn listen_as_in(&mut self, membership: &Membership) {
        let Some(own) = membership.servers.get(&self.server_id) else { return };
        self.client_addr = own.client.clone().or(self.client_addr.take());
        if self.client_tls.is_some() {
            self.secure_client_addr = own.secure_client.clone().or(self.secure_client_addr.take());
        }
    }

    /// True if this server never votes.
    pub fn observes(&self) -> bool {
        self.own_addr().is_some_and(|own| own.role == PeerRole::Observer)
    }
}

/// Which four-letter words are answered.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct FourLetterWords {
    /// `*`: all that exist.
    pub all: bool,
    /// The words that were listed; `srvr` is answered without being here.
    pub listed: BTreeSet<String>,
}

impl FourLetterWords {
    /// The value of `4lw.commands.whitelist`: words with commas between them, or `*`.
    pub(super) fn parse(value: &str) -> FourLetterWords {
        let words = value.split(',').map(str::trim).filter(|word| !word.is_empty());
        let (stars, listed): (Vec<&str>, Vec<&str>) = words.partition(|word| *word == "*");
        FourLetterWords {
            all: !stars.is_empty(),
            listed: listed.into_iter().map(|word| word.to_ascii_lowercase()).collect(),
        }
    }

    /// True if `word` is answered.
    pub fn allows(&self, word: &str) -> bool {
        self.all || word == "srvr" || self.listed.contains(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_file_a_server_is_alone_on_loopback() {
        let settings = Settings::standalone_default();
        assert_eq!(settings.client_addr.as_ref().unwrap().to_string(), "127.0.0.1:2181");
        assert_eq!(settings.data_dir, PathBuf::from("./zabra-data"));
        assert_eq!((settings.session_timeout_ms_min, settings.session_timeout_ms_max), (4000, 40_000));
        assert!(settings.is_standalone());
        assert_eq!(settings.voters(), [ServerId(0)]);
    }

    #[test]
    fn only_a_server_with_peers_keeps_recent_transactions_for_them() {
        let mut settings = Settings::standalone_default();
        assert_eq!(settings.recent_bytes_max(), 0);
        let server = |id| ServerAddr {
            id: ServerId(id),
            host: "127.0.0.1".into(),
            quorum_port: 2888,
            election_port: 3888,
            also: Vec::new(),
            role: PeerRole::EQUAL,
            client: None,
            secure_client: None,
        };
        settings.servers = vec![server(1)];
        assert_eq!(settings.recent_bytes_max(), 0);
        settings.servers.push(server(2));
        assert_eq!(settings.recent_bytes_max(), 32 << 20);
    }

    #[test]
    fn srvr_is_always_answered_and_the_others_when_listed() {
        let words = FourLetterWords::parse(" stat , ruok,, MNTR");
        let answered: Vec<&str> =
            ["srvr", "stat", "ruok", "mntr", "conf"].into_iter().filter(|word| words.allows(word)).collect();
        assert_eq!(answered, ["srvr", "stat", "ruok", "mntr"]);
        assert!(!FourLetterWords::default().allows("stat"));
        assert!(FourLetterWords::parse("*").allows("conf"));
    }
}
