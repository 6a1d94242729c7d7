//! Every key: those this server uses, and those of ZooKeeper that it only knows, each with the reason.

/// What a key of ZooKeeper that is not used here is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Nothing is lost by passing it over.
    None(&'static str),
    /// Somebody may miss it.
    NotYet(&'static str),
    /// To pass it over would start another server than the file describes.
    Refused(&'static str),
}

/// The name under which values of `key` are kept, if this server uses it. Keys that are Java system properties in
/// ZooKeeper may have `zookeeper.` before them.
pub(super) fn used(key: &str) -> Option<&'static str> {
    if let Some(name) = USED.iter().find(|name| **name == key) {
        return Some(name);
    }
    let plain = key.strip_prefix("zookeeper.").unwrap_or(key);
    USED_PROPERTIES.iter().find(|name| **name == plain).copied()
}

/// What is to be said about `key`, if ZooKeeper knows it.
pub(super) fn known(key: &str) -> Option<Meaning> {
    let plain = key.strip_prefix("zookeeper.").unwrap_or(key);
    let fits = |name: &str| match name.strip_suffix('*') {
        Some(prefix) => plain.starts_with(prefix),
        None => plain == name,
    };
    KNOWN.iter().find(|(names, _)| names.iter().any(|name| fits(name))).map(|(_, meaning)| *meaning)
}

/// Every key that a mistyped one could have been meant to be.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    let used = USED.iter().chain(USED_PROPERTIES).copied();
    let known = KNOWN.iter().flat_map(|(names, _)| names.iter().copied()).filter(|name| !name.ends_with('*'));
    used.chain(["server.N", "group.N", "weight.N"]).chain(known)
}

const USED: &[&str] = &[
    "dataDir",
    "dataLogDir",
    "clientPort",
    "clientPortAddress",
    "tickTime",
    "initLimit",
    "syncLimit",
    "minSessionTimeout",
    "maxSessionTimeout",
    "maxClientCnxns",
    "autopurge.snapRetainCount",
    "autopurge.purgeInterval",
    "quorumListenOnAllIPs",
    "peerType",
    "syncEnabled",
    "localSessionsEnabled",
    "localSessionsUpgradingEnabled",
    // Zabra's own.
    "peerHeartbeatMs",
    "peerTimeoutMs",
    "parkTimeoutMs",
    "clientThreads",
    "recentTxnBytesMax",
    "logSegmentBytes",
    "snapshotBytesOfLogMax",
];

const USED_PROPERTIES: &[&str] = &[
    "maxCnxns",
    "snapCount",
    "forceSync",
    "globalOutstandingLimit",
    "jute.maxbuffer",
    "4lw.commands.whitelist",
    "cnxTimeout",
    "observer.reconnectDelayMs",
    "observer.syncEnabled",
    "extendedTypesEnabled",
    "readonlymode.enabled",
    "znode.container.checkIntervalMs",
    "znode.container.maxPerMinute",
    "znode.container.maxNeverUsedIntervalMs",
];

use Meaning::{None as NoMeaning, NotYet, Refused};

/// Keys that share a reason, and the reason. A `*` at the end stands for any rest.
const KNOWN: &[(&[&str], Meaning)] = &[
    // The ensemble.
    (
        &["dynamicConfigFile"],
        Refused("move its server lines into this file, without them this would be a server of its own"),
    ),
    (&["oraclePath"], NotYet("a majority of the voting servers decides, also between two")),
    (&["reconfigEnabled"], NotYet("the server list changes by a restart with another file")),
    (
        &["standaloneEnabled"],
        NoMeaning("a single server is an ensemble of one voter, and runs the same code"),
    ),
    (&["electionAlg"], NoMeaning("there is one election, the fast one (3)")),
    (&["observerMasterPort", "observerMaster.sizeLimit"], NotYet("observers connect to the leader")),
    (
        &["observer.election.DelayMs"],
        NoMeaning("observers take no part in elections, they hear who leads; see observer.reconnectDelayMs"),
    ),
    (
        &[
            "multiAddress.enabled",
            "multiAddress.reachabilityCheckEnabled",
            "multiAddress.reachabilityCheckTimeoutMs",
        ],
        NotYet("a server has one address; its name is resolved again at every dial"),
    ),
    (&["leaderServes"], NotYet("the leader serves clients too")),
    (
        &["connectToLearnerMasterLimit"],
        NoMeaning(
            "dialling ends after cnxTimeout, and everything until a learner is in step after initLimit",
        ),
    ),
    (
        &[
            "quorumCnxnTimeoutMs",
            "fastleader.minNotificationInterval",
            "fastleader.maxNotificationInterval",
            "leader.maxTimeToWaitForEpoch",
            "leaderConnectDelayDuringRetryMs",
        ],
        NoMeaning("elections have no fixed waits; peerHeartbeatMs and peerTimeoutMs are their clock"),
    ),
    (
        &["electionPortBindRetry"],
        NoMeaning("a port that is taken ends the start, for the supervisor to repeat"),
    ),
    (
        &[
            "learner.closeSocketAsync",
            "leader.closeSocketAsync",
            "learner.asyncSending",
            "follower.nodelay",
            "leader.nodelay",
            "tcpKeepAlive",
            "quorum.cnxn.threads.size",
        ],
        NoMeaning("links between servers never block one another, and heartbeats notice dead ones"),
    ),
    (
        &[
            "forward_learner_requests_to_commit_processor_disabled",
            "follower.skipLearnerRequestToNextProcessor",
        ],
        NoMeaning("there is no such chain of processors"),
    ),
    (&["leader.ackLoggingFrequency"], NoMeaning("slow acknowledgements show in the metrics")),
    (
        &["leader.maxConcurrentSnapSyncs", "leader.maxConcurrentDiffSyncs"],
        NoMeaning("all followers share one image of the tree"),
    ),
    // Sessions and clients.
    (&["clientPortListenBacklog"], NoMeaning("the longest backlog of the system is used")),
    (&["clientTcpKeepAlive"], NoMeaning("clients ping, and silent ones are closed")),
    (
        &["nio.sessionlessCnxnTimeout"],
        NoMeaning("a connection that does not open a session is closed after a fixed time"),
    ),
    (&["closeSessionTxn.enabled"], NoMeaning("closing a session always logs what it takes along")),
    (&["emulate353TTLNodes"], NoMeaning("no data of ZooKeeper 3.5.3 is read")),
    (&["enforceQuota"], NotYet("quotas are neither counted nor enforced")),
    // Limits and throttling.
    (
        &[
            "request_throttle_max_requests",
            "request_throttle_stall_time",
            "request_throttle_drop_stale",
            "request_stale_latency_check",
            "request_stale_connection_check",
            "request_throttler.shutdownTimeout",
            "throttled_op_wait_time",
        ],
        NoMeaning("globalOutstandingLimit stops reading from clients, so that nothing queues up to go stale"),
    ),
    (
        &["largeRequestThreshold", "largeRequestMaxBytes"],
        NotYet("jute.maxbuffer bounds one request, globalOutstandingLimit their number"),
    ),
    (&["jute.maxbuffer.extrasize"], NoMeaning("what was accepted can always be read back")),
    (
        &[
            "connection_throttle_tokens",
            "connection_throttle_fill_time",
            "connection_throttle_fill_count",
            "connection_throttle_freeze_time",
            "connection_throttle_drop_increase",
            "connection_throttle_drop_decrease",
            "connection_throttle_decrease_ratio",
            "connection_throttle_weight_enabled",
            "connection_throttle_global_session_weight",
            "connection_throttle_local_session_weight",
            "connection_throttle_renew_session_weight",
        ],
        NotYet("maxClientCnxns and maxCnxns limit connections, not their rate"),
    ),
    // Log and snapshots.
    (&["preAllocSize"], NoMeaning("logSegmentBytes is the size of a file of the log")),
    (
        &["snapSizeLimitInKb", "txnLogSizeLimitInKb"],
        NoMeaning(
            "snapshotBytesOfLogMax is the log that calls for a snapshot, logSegmentBytes the size of a file",
        ),
    ),
    (
        &["commitLogCount", "snapshotSizeFactor"],
        NoMeaning("recentTxnBytesMax bounds what a follower can catch up with without a snapshot"),
    ),
    (
        &["flushDelay", "maxWriteQueuePollTime", "maxBatchSize"],
        NoMeaning("whatever gathered during one write to disk is the next batch"),
    ),
    (&["fsync.warningthresholdms"], NoMeaning("the metrics show every wait for the disk")),
    (&["snapshot.compression.method"], NoMeaning("snapshots are always compressed, with zstd")),
    (&["snapshot.trust.empty"], NoMeaning("log and snapshots form a chain that is checked at every start")),
    (&["forceSnapshotSync"], NoMeaning("a follower whose tree differs fetches a snapshot by itself")),
    (
        &["serializeLastProcessedZxid.enabled", "digest.enabled"],
        NoMeaning("a snapshot always holds its zxid and its digest"),
    ),
    (&["datadir.autocreate"], NoMeaning("missing folders are created")),
    (
        &["db.autocreate"],
        NoMeaning("a server with an empty disk never votes before it is synchronized, unless all are empty"),
    ),
    // Caches and threads.
    (
        &["maxResponseCacheSize", "maxGetChildrenResponseCacheSize", "intBufferStartingSizeBytes"],
        NoMeaning("replies are cheap to make and not cached"),
    ),
    (
        &["nio.*", "netty.*", "serverCnxnFactory", "commitProcessor.*"],
        NoMeaning("clientThreads sets the threads that serve clients"),
    ),
    (
        &[
            "watchManagerName",
            "watcherCleanThreadsNum",
            "watcherCleanThreshold",
            "watcherCleanIntervalInSeconds",
            "maxInProcessingDeadWatchers",
            "bitHashCacheSize",
        ],
        NoMeaning("there is one table of watches, and it holds none of closed connections"),
    ),
    (&["jvm.pause.monitor*", "jmx.*"], NoMeaning("there is no Java virtual machine")),
    // Authentication and encryption.
    (
        &["secureClientPort", "secureClientPortAddress", "client.portUnification", "client.certReload"],
        NotYet("clients are not served over TLS; clientPort is plain text"),
    ),
    (
        &["sslQuorum", "portUnification", "sslQuorumReloadCertFiles"],
        NotYet("servers talk in plain text; keep their ports in a network of their own"),
    ),
    (&["ssl.*", "fips-mode"], NotYet("there is no TLS")),
    (
        &["quorum.auth.*", "kerberos.*"],
        NotYet("servers do not authenticate one another; keep their ports in a network of their own"),
    ),
    (
        &["sasl.*", "allowSaslFailedClients", "letAnySaslUserDoX", "sessionRequireClientSASLAuth"],
        NotYet("clients cannot authenticate by SASL"),
    ),
    (
        &["enforce.auth.enabled", "enforce.auth.schemes"],
        NotYet("clients are served without authentication, as far as ACLs let them"),
    ),
    (
        &["authProvider.*", "ssl.authProvider", "X509AuthenticationProvider.*", "ensembleAuthName"],
        NotYet("the schemes are world, auth, digest and ip"),
    ),
    (
        &["DigestAuthenticationProvider.superDigest", "superUser*"],
        NotYet("there is no super user, ACLs bind everybody"),
    ),
    (
        &["DigestAuthenticationProvider.digestAlg", "DigestAuthenticationProvider.enabled"],
        NotYet("the scheme digest is there, with SHA-1"),
    ),
    (
        &["IPAuthenticationProvider.usexforwardedfor"],
        NoMeaning("the scheme ip takes the address from the connection, a header could say anything"),
    ),
    (&["skipACL"], NotYet("ACLs are always checked")),
    (&["enableEagerACLCheck"], NoMeaning("the leader checks ACLs, in order with the writes before")),
    // What can be seen.
    (
        &["admin.*"],
        NotYet("there is no HTTP server; the four-letter words srvr, stat, mntr and conf tell much"),
    ),
    (&["metricsProvider.*", "prometheusMetricsSummaryRotateIntervalSeconds"], NotYet("mntr has the metrics")),
    (&["audit.enable", "audit.impl.class"], NotYet("there is no audit log")),
    (&["pathStats.*", "messageTracker.*"], NotYet("single paths and messages are not counted")),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn property_keys_are_used_with_and_without_the_prefix() {
        assert_eq!(used("snapCount"), Some("snapCount"));
        assert_eq!(used("zookeeper.snapCount"), Some("snapCount"));
        assert_eq!(used("zookeeper.4lw.commands.whitelist"), Some("4lw.commands.whitelist"));
        assert_eq!(used("zookeeper.dataDir"), None);
        assert_eq!(used("datadir"), None);
    }

    #[test]
    fn known_keys_are_found_by_name_by_prefix_and_with_the_property_prefix() {
        for key in ["skipACL", "zookeeper.skipACL", "oraclePath", "ssl.keyStore.password", "admin.serverPort"]
        {
            assert!(known(key).is_some(), "{key}");
        }
        assert_eq!(known("skipAcl"), None);
        assert_eq!(known("dataDir"), None);
    }

    #[test]
    fn no_key_stands_twice() {
        let mut seen = BTreeSet::new();
        let known = KNOWN.iter().flat_map(|(names, _)| names.iter());
        for name in USED.iter().chain(USED_PROPERTIES).chain(known) {
            assert!(seen.insert(name), "{name} stands twice");
        }
    }

    #[test]
    fn no_prefix_hides_a_mistyped_key_that_is_used() {
        for name in USED.iter().chain(USED_PROPERTIES) {
            assert_eq!(known(&format!("{name}x")), None, "{name}");
        }
    }
}
