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

/// The name under which the value of `key` is kept, if this server uses all keys that begin like it.
pub(super) fn of_used_family(key: &str) -> Option<&str> {
    let plain = key.strip_prefix("zookeeper.").unwrap_or(key);
    USED_FAMILIES.iter().any(|family| plain.starts_with(family)).then_some(plain)
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
    "secureClientPort",
    "secureClientPortAddress",
    "sslQuorum",
    "portUnification",
    "sslQuorumReloadCertFiles",
    "tickTime",
    "initLimit",
    "syncLimit",
    "minSessionTimeout",
    "maxSessionTimeout",
    "maxClientCnxns",
    "autopurge.snapRetainCount",
    "autopurge.purgeInterval",
    "quorumListenOnAllIPs",
    "localSessionsEnabled",
    "localSessionsUpgradingEnabled",
    "quorum.auth.enableSasl",
    "quorum.auth.learnerRequireSasl",
    "quorum.auth.serverRequireSasl",
    "quorum.auth.learner.saslLoginContext",
    "quorum.auth.server.saslLoginContext",
    "java.security.auth.login.config",
    "peerType",
    "syncEnabled",
    // Zabra's own.
    "peerHeartbeatMs",
    "peerTimeoutMs",
    "parkTimeoutMs",
    "clientThreads",
    "clickHouseOperationsEnabled",
    "watchesPerConnectionMax",
    "watchesMax",
    "ephemeralsPerSessionMax",
    "recentTxnBytesMax",
    "logSegmentBytes",
    "snapshotBytesOfLogMax",
    "auditFile",
    "auditFileBytesMax",
    "auditFilesKept",
];

const USED_PROPERTIES: &[&str] = &[
    "maxCnxns",
    "connection_throttle_tokens",
    "connection_throttle_fill_time",
    "connection_throttle_fill_count",
    "connection_throttle_weight_enabled",
    "connection_throttle_global_session_weight",
    "connection_throttle_renew_session_weight",
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
    "enforceQuota",
    "znode.container.checkIntervalMs",
    "znode.container.maxPerMinute",
    "znode.container.maxNeverUsedIntervalMs",
    "DigestAuthenticationProvider.enabled",
    "DigestAuthenticationProvider.digestAlg",
    "DigestAuthenticationProvider.superDigest",
    "SASLAuthenticationProvider.superPassword",
    "skipACL",
    "superUser",
    "ensembleAuthName",
    "sasl.serverconfig",
    "allowSaslFailedClients",
    "letAnySaslUserDoX",
    "sessionRequireClientSASLAuth",
    "enforce.auth.enabled",
    "enforce.auth.schemes",
    "audit.enable",
    "audit.impl.class",
    "client.portUnification",
    "client.certReload",
    "netty.server.outstandingHandshake.limit",
    "X509AuthenticationProvider.superUser",
    // For clients, and for the connections between servers.
    "ssl.keyStore.location",
    "ssl.keyStore.password",
    "ssl.keyStore.passwordPath",
    "ssl.keyStore.type",
    "ssl.trustStore.location",
    "ssl.trustStore.password",
    "ssl.trustStore.passwordPath",
    "ssl.trustStore.type",
    "ssl.protocol",
    "ssl.enabledProtocols",
    "ssl.ciphersuites",
    "ssl.clientAuth",
    "ssl.hostnameVerification",
    "ssl.clientHostnameVerification",
    "ssl.handshakeDetectionTimeoutMillis",
    "ssl.crl",
    "ssl.ocsp",
    "ssl.crl.location",
    "ssl.quorum.keyStore.location",
    "ssl.quorum.keyStore.password",
    "ssl.quorum.keyStore.passwordPath",
    "ssl.quorum.keyStore.type",
    "ssl.quorum.trustStore.location",
    "ssl.quorum.trustStore.password",
    "ssl.quorum.trustStore.passwordPath",
    "ssl.quorum.trustStore.type",
    "ssl.quorum.protocol",
    "ssl.quorum.enabledProtocols",
    "ssl.quorum.ciphersuites",
    "ssl.quorum.clientAuth",
    "ssl.quorum.hostnameVerification",
    "ssl.quorum.clientHostnameVerification",
    "ssl.quorum.handshakeDetectionTimeoutMillis",
    "ssl.quorum.crl",
    "ssl.quorum.ocsp",
    "ssl.quorum.crl.location",
];

/// Beginnings of keys that are used whatever their end is.
const USED_FAMILIES: &[&str] = &["authProvider.", "superUser."];

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
        NoMeaning("big requests share 16 MiB and wait for room in it; none ends its connection"),
    ),
    (&["jute.maxbuffer.extrasize"], NoMeaning("what was accepted can always be read back")),
    (
        &[
            "connection_throttle_freeze_time",
            "connection_throttle_drop_increase",
            "connection_throttle_drop_decrease",
            "connection_throttle_decrease_ratio",
            "connection_throttle_local_session_weight",
        ],
        NoMeaning("connections are refused when the tokens are used up, and not by chance before that"),
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
        &[
            "nio.*",
            "netty.advancedFlowControl.enabled",
            "netty.server.earlyDropSecureConnectionHandshakes",
            "serverCnxnFactory",
            "commitProcessor.*",
        ],
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
        &["ssl.context.supplier.class", "ssl.quorum.context.supplier.class"],
        Refused("keys and certificates come from keyStore.location and trustStore.location"),
    ),
    (&["ssl.sslProvider", "fips-mode"], NoMeaning("there is one implementation of TLS, rustls")),
    (
        &["ssl.allowReverseDnsLookup", "ssl.quorum.allowReverseDnsLookup"],
        NoMeaning("an address is never turned into a name to compare a certificate with"),
    ),
    (
        &["quorum.auth.kerberos.servicePrincipal", "kerberos.*", "security.auth_to_local"],
        NotYet("the mechanisms are DIGEST-MD5 and SCRAM-SHA-256, GSSAPI (Kerberos) is not offered"),
    ),
    (
        &["ssl.authProvider"],
        NoMeaning("a certificate is an identity of the scheme x509, whichever provider is named"),
    ),
    (
        &["IPAuthenticationProvider.usexforwardedfor"],
        NoMeaning("the scheme ip takes the address from the connection, a header could say anything"),
    ),
    (&["enableEagerACLCheck"], NoMeaning("the leader checks ACLs, in order with the writes before")),
    // What can be seen.
    (
        &["admin.*"],
        NotYet("there is no HTTP server; the four-letter words srvr, stat, mntr and conf tell much"),
    ),
    (&["metricsProvider.*", "prometheusMetricsSummaryRotateIntervalSeconds"], NotYet("mntr has the metrics")),
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
        for key in ["oraclePath", "zookeeper.oraclePath", "kerberos.x", "fips-mode", "admin.serverPort"] {
            assert!(known(key).is_some(), "{key}");
        }
        assert_eq!(known("oraclepath"), None);
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
