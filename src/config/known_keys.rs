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
        None => plain == name || key == name,
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
    "observerMasterPort",
    "localSessionsEnabled",
    "localSessionsUpgradingEnabled",
    "quorum.auth.enableSasl",
    "quorum.auth.learnerRequireSasl",
    "quorum.auth.serverRequireSasl",
    "quorum.auth.learner.saslLoginContext",
    "quorum.auth.server.saslLoginContext",
    "java.security.auth.login.config",
    "peerType",
    "dynamicConfigFile",
    "reconfigEnabled",
    "standaloneEnabled",
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
    "ephemeralsMax",
    "recentTxnBytesMax",
    "logSegmentBytes",
    "snapshotBytesOfLogMax",
    "auditFile",
    "auditFileBytesMax",
    "auditFilesKept",
];

const USED_PROPERTIES: &[&str] = &[
    "leaderServes",
    "maxCnxns",
    "connection_throttle_tokens",
    "connection_throttle_fill_time",
    "connection_throttle_fill_count",
    "connection_throttle_weight_enabled",
    "connection_throttle_global_session_weight",
    "connection_throttle_renew_session_weight",
    "connection_throttle_local_session_weight",
    "request_throttle_max_requests",
    "request_throttle_stall_time",
    "request_throttle_drop_stale",
    "request_stale_latency_check",
    "request_stale_connection_check",
    "throttled_op_wait_time",
    "largeRequestThreshold",
    "largeRequestMaxBytes",
    "snapCount",
    "forceSync",
    "datadir.autocreate",
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
    (&["oraclePath"], NotYet("a majority of the voting servers decides, also between two")),
    (&["electionAlg"], NoMeaning("there is one election, the fast one (3), whatever number is given")),
    (
        &["observerMaster.sizeLimit"],
        NoMeaning("what is sent to an observer and not acknowledged is bounded as it is for everybody"),
    ),
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
        NoMeaning("a server can have several addresses, which are all dialled at once"),
    ),
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
        &["request_throttler.shutdownTimeout"],
        NoMeaning("a server that stops closes its connections, and what waits in them was not begun"),
    ),
    (&["jute.maxbuffer.extrasize"], NoMeaning("what was accepted can always be read back")),
    (
        &[
            "connection_throttle_freeze_time",
            "connection_throttle_drop_increase",
            "connection_throttle_drop_decrease",
            "connection_throttle_decrease_ratio",
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
    (
        &["fsync.warningthresholdms"],
        NoMeaning("no line for a slow sync: fsynctime of mntr has the mean and the longest, since srst"),
    ),
    (&["snapshot.compression.method"], NoMeaning("snapshots are always compressed, with zstd")),
    (&["snapshot.trust.empty"], NoMeaning("log and snapshots form a chain that is checked at every start")),
    (&["forceSnapshotSync"], NoMeaning("a follower whose tree differs fetches a snapshot by itself")),
    (
        &["serializeLastProcessedZxid.enabled", "digest.enabled"],
        NoMeaning("a snapshot always holds its zxid and its digest"),
    ),
    (
        &["db.autocreate"],
        NoMeaning(
            "a server with an empty disk never votes before it is synchronized, unless all are empty or it is alone",
        ),
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
    (&["jvm.pause.*", "jmx.*"], NoMeaning("there is no Java virtual machine")),
    // Authentication and encryption.
    (
        &["zookeeper.sslQuorum", "zookeeper.portUnification"],
        Refused(
            "these are keys without zookeeper. before them, which ZooKeeper passes over: it speaks plain text",
        ),
    ),
    (
        &["ssl.context.supplier.class", "ssl.quorum.context.supplier.class"],
        Refused("keys and certificates come from keyStore.location and trustStore.location"),
    ),
    (&["ssl.sslProvider"], NoMeaning("there is one implementation of TLS, rustls")),
    (&["fips-mode"], NoMeaning("it is not validated by FIPS 140, and DIGEST-MD5 stays on")),
    (
        &["ssl.allowReverseDnsLookup", "ssl.quorum.allowReverseDnsLookup"],
        NoMeaning("an address is never turned into a name to compare a certificate with"),
    ),
    (
        &[
            "quorum.auth.kerberos.servicePrincipal",
            "kerberos.*",
            "security.auth_to_local",
            "kinit",
            "requireKerberosConfig",
            "server.realm",
        ],
        NotYet("the mechanisms are DIGEST-MD5 and SCRAM-SHA-256, GSSAPI (Kerberos) is not offered"),
    ),
    (
        &["ssl.authProvider"],
        NoMeaning(
            "a certificate is its subject in the scheme x509: who else a provider would make of it matches no ACL",
        ),
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
        let of_java =
            ["jvm.pause.sleep.time.ms", "jvm.pause.warn-threshold.ms", "jvm.pause.info-threshold.ms"];
        let of_kerberos = ["zookeeper.kinit", "zookeeper.requireKerberosConfig", "zookeeper.server.realm"];
        for key in of_java.iter().chain(&of_kerberos) {
            assert!(known(key).is_some() && used(key).is_none(), "{key}");
        }
        for key in ["zookeeper.sslQuorum", "zookeeper.portUnification"] {
            assert!(matches!(known(key), Some(Refused(_))) && used(key).is_none(), "{key}");
            assert!(known(&key["zookeeper.".len()..]).is_none(), "{key}");
        }
        assert_eq!(known("oraclepath"), None);
        assert_eq!(known("dataDir"), None);
    }

    /// `docs/compatibility.md` has this table; `ZABRA_UPDATE=1` writes it.
    #[test]
    fn the_page_on_compatibility_names_every_key_that_is_passed_over() {
        const BEGIN: &str =
            "<!-- keys: begin (written by a test of src/config/known_keys.rs; do not edit) -->\n";
        const END: &str = "<!-- keys: end -->";
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/compatibility.md");
        let page = std::fs::read_to_string(path).expect("the page");
        let (before, rest) = page.split_once(BEGIN).expect("where the table begins");
        let (found, after) = rest.split_once(END).expect("where it ends");
        let mut table = "\n| keys | why |\n|---|---|\n".to_string();
        for (names, meaning) in KNOWN {
            let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
            let (reason, refused) = match meaning {
                NoMeaning(reason) | NotYet(reason) => (reason, ""),
                Refused(reason) => (reason, "an error: "),
            };
            table.push_str(&format!("| {} | {refused}{reason} |\n", names.join(", ")));
        }
        table.push('\n');
        if std::env::var_os("ZABRA_UPDATE").is_some() {
            std::fs::write(path, format!("{before}{BEGIN}{table}{END}{after}")).expect("the page is written");
        } else {
            assert_eq!(found, table, "ZABRA_UPDATE=1 writes the table");
        }
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
