//! Whole files, in and out.

use std::fs;
use std::path::PathBuf;

use super::*;
use crate::ids::ServerId;
use crate::membership::{ListenAddr, PeerRole, ServerAddr};

fn parse(text: &str, myid: Option<u8>, strict: bool) -> Result<Loaded, ConfigError> {
    parse_text(&Source { name: "zoo.cfg", text, format: Format::Properties, myid, strict })
}

fn settings(text: &str) -> Settings {
    parse(text, Some(1), true).unwrap_or_else(|error| panic!("{error}")).settings
}

fn error(text: &str) -> String {
    parse(text, Some(1), false).unwrap_err().to_string()
}

/// The notices as `severity place: text`.
fn notices(text: &str) -> Vec<String> {
    let loaded = parse(text, None, false).unwrap_or_else(|error| panic!("{error}"));
    loaded.notices.iter().map(|notice| format!("{:?} {notice}", notice.severity)).collect()
}

#[test]
fn zookeepers_sample_file_starts_a_server_alone() {
    let text = "# The number of milliseconds of each tick\ntickTime=2000\ninitLimit=10\nsyncLimit=5\n\
                dataDir=/tmp/zookeeper\nclientPort=2181\n#maxClientCnxns=60\n";
    let loaded = parse(text, None, true).unwrap();
    assert_eq!(loaded.notices, []);
    let mut expected = Settings::standalone_default();
    expected.data_dir = PathBuf::from("/tmp/zookeeper");
    expected.data_log_dir = PathBuf::from("/tmp/zookeeper");
    expected.client_addr = Some(ListenAddr { host: None, port: 2181 });
    assert_eq!(loaded.settings, expected);
}

/// A line for every key that sets something.
const EVERY_KEY: &str = "dataDir=/d\ndataLogDir=/l\nclientPort=2182\nclientPortAddress=::1\ntickTime=1000\ninitLimit=20\n\
    syncLimit=7\nminSessionTimeout=1500\nmaxSessionTimeout=90000\nmaxClientCnxns=0\nmaxCnxns=5000\n\
    snapCount=200\nautopurge.snapRetainCount=5\nautopurge.purgeInterval=24\nforceSync=no\ndatadir.autocreate=false\n\
    globalOutstandingLimit=2000\njute.maxbuffer=0x3fffff\nquorumListenOnAllIPs=true\n\
    4lw.commands.whitelist=stat, ruok\ncnxTimeout=700\npeerHeartbeatMs=20\npeerTimeoutMs=200\n\
    parkTimeoutMs=300\nclientThreads=4\nrecentTxnBytesMax=1\nlogSegmentBytes=8192\n\
    snapshotBytesOfLogMax=16384\nextendedTypesEnabled=true\nenforceQuota=true\nclickHouseOperationsEnabled=true\n\
    reconfigEnabled=true\nstandaloneEnabled=false\nwatchesPerConnectionMax=11\nwatchesMax=12\nephemeralsPerSessionMax=13\nephemeralsMax=24\n\
    connection_throttle_tokens=14\nconnection_throttle_fill_time=15\n\
    connection_throttle_fill_count=16\nconnection_throttle_weight_enabled=true\n\
    connection_throttle_global_session_weight=17\n\
    zookeeper.connection_throttle_renew_session_weight=18\n\
    connection_throttle_local_session_weight=16\n\
    request_throttle_max_requests=19\nrequest_throttle_stall_time=20\nrequest_throttle_drop_stale=false\n\
    request_stale_latency_check=true\nzookeeper.throttled_op_wait_time=21\n\
    largeRequestThreshold=22\nlargeRequestMaxBytes=23\nznode.container.checkIntervalMs=10\n\
    observer.reconnectDelayMs=40\nobserverMasterPort=2191\nzookeeper.znode.container.maxPerMinute=20\n\
    znode.container.maxNeverUsedIntervalMs=30\n\
    localSessionsEnabled=true\nlocalSessionsUpgradingEnabled=true\nreadonlymode.enabled=true\nleaderServes=no\n\
    netty.server.outstandingHandshake.limit=400\n\
    zookeeper.X509AuthenticationProvider.superUser=CN=root\n\
    server.2=b:2888:3888\nserver.1=[::1]:2888:3888\n";

/// A participant as the line `server.<id>=<host>:2888:3888` has it.
fn server(id: u8, host: &str) -> ServerAddr {
    let (id, host, role) = (ServerId(id), host.to_string(), PeerRole::EQUAL);
    let (quorum_port, election_port, also) = (2888, 3888, Vec::new());
    ServerAddr { id, host, quorum_port, election_port, also, role, client: None, secure_client: None }
}
/// The part of [`EVERY_KEY`] that is about clients that come.
const EVERY_KEY_THROTTLE: ThrottleSettings = ThrottleSettings {
    tokens_max: 14,
    fill_ms: 15,
    fill_count: 16,
    weighs: true,
    new_weight: 17,
    renew_weight: 18,
    local_weight: 16,
};

/// And the part about their requests.
const EVERY_KEY_REQUESTS: RequestThrottle = RequestThrottle {
    requests_max: 19,
    stall_ms: 20,
    drops_stale: false,
    ages: true,
    wait_ms_max: 21,
    large_over: Some(22),
    large_bytes_max: 23,
};

fn listed(words: &[&str]) -> FourLetterWords {
    FourLetterWords { all: false, listed: words.iter().map(|word| word.to_string()).collect() }
}

#[test]
fn every_key_reaches_its_setting() {
    let settings = settings(EVERY_KEY);
    let expected = Settings {
        data_dir: PathBuf::from("/d"),
        data_log_dir: PathBuf::from("/l"),
        client_addr: Some(ListenAddr { host: Some("::1".to_string()), port: 2182 }),
        secure_client_addr: None,
        client_port_unification: false,
        client_tls: None,
        handshakes_max: 400,
        x509_super_user: Some("CN=root".to_string()),
        ssl_quorum: false,
        port_unification: false,
        quorum_tls: None,
        server_id: ServerId(1),
        servers: vec![server(1, "::1"), server(2, "b")],
        reconfig_enabled: true,
        standalone_enabled: false,
        dynamic_config_file: None,
        config_file: None,
        tick_ms: 1000,
        init_limit_ticks: 20,
        sync_limit_ticks: 7,
        session_timeout_ms_min: 1500,
        session_timeout_ms_max: 90_000,
        conns_per_address_max: 0,
        conns_max: 5000,
        connection_throttle: EVERY_KEY_THROTTLE,
        request_throttle: EVERY_KEY_REQUESTS,
        watches_per_conn_max: 11,
        watches_max: 12,
        ephemerals_per_session_max: 13,
        ephemerals_max: 24,
        outstanding_requests_max: 2000,
        frame_bytes_max: 0x3fffff,
        four_letter_words: listed(&["stat", "ruok"]),
        local_sessions: true,
        local_sessions_upgrading: true,
        read_only_mode: true,
        leader_serves: false,
        extended_types: true,
        enforce_quota: true,
        clickhouse_operations: true,
        container_check_interval_ms: 10,
        container_deletions_per_minute_max: 20,
        container_unused_ms_max: 30,
        snapshot_txns_max: 200,
        snapshot_log_bytes_max: 16_384,
        snapshots_retained: 5,
        purge_interval_ms: 24 * 60 * 60 * 1000,
        force_sync: false,
        data_dir_autocreate: false,
        log_segment_bytes: 8192,
        recent_txn_bytes_max: 1,
        quorum_listen_on_all_ips: true,
        peer_connect_timeout_ms: 700,
        peer_heartbeat_ms: 20,
        peer_timeout_ms: 200,
        observer_reconnect_delay_ms: 40,
        observer_master_port: Some(2191),
        park_timeout_ms: 300,
        client_threads: 4,
        auth: AuthSettings::default(),
        audit: None,
    };
    assert_eq!(settings, expected);
    assert_eq!(settings.voters(), [ServerId(1), ServerId(2)]);
    assert_eq!(settings.peers().map(|peer| peer.id).collect::<Vec<_>>(), [ServerId(2)]);
    assert_eq!((settings.init_limit_ms(), settings.sync_limit_ms()), (20_000, 7000));
}

#[test]
fn what_is_wrong_is_told_all_at_once() {
    let text =
        "tickTime=fast\nclientPort=70000\nserver.1=a:1:2\nserver.x=b:1:2\nserver.1=c:1:2\nforceSync=false\n";
    assert_eq!(
        error(text),
        "zoo.cfg:1: tickTime=fast: expected a whole number of milliseconds from 1 to 3600000\n\
         zoo.cfg:2: clientPort=70000: expected a port from 1 to 65535 (0 lets the system choose)\n\
         zoo.cfg:4: server.x: expected server.N with N from 0 to 255\n\
         zoo.cfg:5: server.1: server 1 is on line 3 already: every id stands once\n\
         zoo.cfg:6: forceSync=false: expected yes or no\n\
         zoo.cfg: dataDir is not set: expected the folder that holds the data"
    );
}

#[test]
fn an_observer_is_a_member_that_does_not_vote() {
    let servers = "server.1=a:1:2\nserver.2=b:1:2:participant\nserver.3=c:1:2\nserver.4=d:1:2:observer\n";
    let settings = settings(&format!("dataDir=/d\nclientPort=9\nobserver.reconnectDelayMs=50\n{servers}"));
    assert_eq!(settings.servers.len(), 4);
    assert_eq!(settings.voters(), [ServerId(1), ServerId(2), ServerId(3)]);
    assert_eq!(settings.observer_reconnect_delay_ms, 50);
    assert!(!settings.observes());
}

#[test]
fn a_port_for_observers_is_none_unless_it_is_set() {
    let port = |line: &str| settings(&format!("dataDir=/d\nclientPort=9\n{line}\n")).observer_master_port;
    assert_eq!(port(""), None);
    assert_eq!(port("observerMasterPort=0"), None);
    assert_eq!(port("observerMasterPort=2191"), Some(2191));
    let wrong = "zoo.cfg:3: observerMasterPort=70000: expected a port from 1 to 65535 (0 for none)";
    assert_eq!(error("dataDir=/d\nclientPort=9\nobserverMasterPort=70000\n"), wrong);
}

#[test]
fn an_observer_writes_its_log_whatever_the_file_says() {
    let text = "dataDir=/d\nclientPort=1\nsyncEnabled=false\n";
    let notice =
        "Warning zoo.cfg:3: syncEnabled=false: an observer writes its log all the same, and starts from it";
    assert_eq!(notices(text), [notice]);
    assert_eq!(notices("dataDir=/d\nclientPort=1\nsyncEnabled=true\n"), [""; 0]);
}

#[test]
fn keys_of_no_use_are_named_once_with_the_reason() {
    let text = "dataDir=/d\nclientPort=1\nelectionAlg=3\noraclePath=/o\n";
    assert_eq!(
        notices(text),
        [
            "Info zoo.cfg:3: electionAlg has no meaning here: there is one election, the fast one (3), whatever number is given",
            "Warning zoo.cfg:4: oraclePath is not supported yet, and passed over: \
             a majority of the voting servers decides, also between two"
        ]
    );
}

#[test]
fn the_servers_may_stand_in_a_file_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let (file, servers) = (dir.path().join("zoo.cfg"), dir.path().join("servers"));
    let load = |more: &str, members: &str| {
        fs::write(&file, format!("dataDir=/d\ndynamicConfigFile={}\n{more}", servers.display())).unwrap();
        fs::write(&servers, members).unwrap();
        load(&file, Some(1), true)
            .map(|loaded| loaded.settings)
            .map_err(|error| error.to_string().replace(&format!("{}/", dir.path().display()), ""))
    };
    let settings = load("", "server.1=a:1:2;9\nserver.2=b:1:2\ngroup.1=1:2\nversion=100000000\n").unwrap();
    assert_eq!(settings.servers.len(), 2);
    assert_eq!(settings.client_addr.unwrap().port, 9);
    assert_eq!(settings.dynamic_config_file, Some(servers.clone()));
    let table = [
        ("clientPort=9", "server.1=a:1\n", "servers:1: server.1=a:1: expected host:quorumPort:"),
        ("", "server.1=a:1:2;9\ngroup.1=1:2\n", "servers:2: group.1, server 2: there is no such server"),
        (
            "",
            "server.1=a:1:2;9\ntickTime=5\n",
            "servers:2: tickTime: expected server.N, group.N, weight.N and version alone",
        ),
        ("", "server.2=a:1:2;9\n", "--myid: 1 is not in the server list of servers: expected one of 2"),
        (
            "server.1=a:1:2",
            "server.1=a:1:2;9\n",
            "zoo.cfg:3: server.1: expected it in servers, as dynamicConfigFile",
        ),
    ];
    for (more, members, expected) in table {
        let error = load(more, members).unwrap_err();
        assert!(error.starts_with(expected), "{error}");
    }
    fs::remove_file(&servers).unwrap();
    let error = super::load(&file, Some(1), true).unwrap_err().to_string();
    assert!(error.contains("it cannot be read"), "{error}");
}

#[test]
fn what_a_reconfiguration_has_settled_keeps_no_server_from_coming_back() {
    let dir = tempfile::tempdir().unwrap();
    let (file, servers) = (dir.path().join("zoo.cfg"), dir.path().join("servers"));
    let load = |more: &str, members: &str| {
        fs::write(&file, format!("dataDir=/d\ndynamicConfigFile={}\n{more}", servers.display())).unwrap();
        fs::write(&servers, members).unwrap();
        let loaded = load(&file, Some(1), true).unwrap();
        let notices: Vec<String> = loaded.notices.iter().map(ToString::to_string).collect();
        (loaded.settings, notices.join("\n"))
    };
    let (_, notices) = load("", "server.1=a:1:2;9\nserver.2=a:3:4:observer;9\n");
    assert!(
        notices.contains("the client port of server.2 is 9 on a, as the client port of server.1"),
        "{notices}"
    );
    let (_, notices) = load("clientPort=3", "server.1=a:1:2\nserver.2=a:3:4\n");
    assert!(notices.contains("clientPort is 3 on a, as the quorum port of server.2 is"), "{notices}");
    let (settings, notices) = load("", "server.1=a:1:2\nserver.2=b:3:4;9\n");
    assert!(notices.contains("clientPort is not set"), "{notices}");
    assert_eq!(settings.client_addr, None);
    let (settings, notices) = load("", "server.1=a:1:2;9;10\nserver.2=b:3:4;9\n");
    assert!(
        notices.contains("the secure client port 0.0.0.0:10 of the own line needs ssl.* keys"),
        "{notices}"
    );
    assert_eq!((settings.secure_client_addr, settings.client_tls.is_none()), (None, true));
}

#[test]
fn a_list_of_one_is_an_ensemble_where_standalone_servers_are_not_enabled() {
    let one = "dataDir=/d\nserver.1=a:1:2;9\n";
    assert!(settings(one).is_standalone());
    assert!(!settings(&format!("{one}standaloneEnabled=false\n")).is_standalone());
    assert_eq!(
        error("dataDir=/d\nclientPort=9\nstandaloneEnabled=false\n"),
        "zoo.cfg:3: standaloneEnabled=false: expected server.N lines, one at least"
    );
}

#[test]
fn limits_of_requests_that_change_nothing_are_told() {
    let waits = "dataDir=/d\nclientPort=1\nthrottled_op_wait_time=5\nrequest_stale_latency_check=true\n";
    let told = |key| format!("{key} is set, but request_throttle_max_requests is not: no request waits");
    let expected = [
        format!("Warning zoo.cfg:3: {}", told("throttled_op_wait_time")),
        format!("Warning zoo.cfg:4: {}", told("request_stale_latency_check")),
    ];
    assert_eq!(notices(waits), expected);
    assert_eq!(notices(&format!("{waits}request_throttle_max_requests=1\n")), [""; 0]);
    let text = "dataDir=/d\nclientPort=1\nrequest_stale_connection_check=false\nlargeRequestThreshold=-1\n";
    let told = "request_stale_connection_check=false: what waits in a connection goes with it all the same";
    assert_eq!(notices(text), [format!("Warning zoo.cfg:3: {told}")]);
}

#[test]
fn unknown_keys_warn_and_are_errors_when_strict() {
    let text =
        "dataDir=/d\nclientPort=9\nmaxClientConns=5\nzookeeper.snapcount=5\nsever.1=a:1:2\ncolour=red\n";
    let expected = [
        "zoo.cfg:3: maxClientConns is not a known key: did you mean maxClientCnxns?",
        "zoo.cfg:4: zookeeper.snapcount is not a known key: did you mean snapCount?",
        "zoo.cfg:5: sever.1 is not a known key: did you mean server.N?",
        "zoo.cfg:6: colour is not a known key and passed over",
    ];
    assert_eq!(notices(text), expected.map(|line| format!("Warning {line}")));
    assert_eq!(parse(text, None, true).unwrap_err().to_string(), expected.join("\n"));
}

#[test]
fn a_key_given_twice_counts_as_in_java_and_is_told() {
    let text = "dataDir=/d\nclientPort=1\nsnapCount=5\nzookeeper.snapCount=6\n";
    assert_eq!(notices(text), ["Warning zoo.cfg:4: snapCount was given on line 3 already: this line counts"]);
    assert_eq!(settings(text).snapshot_txns_max, 6);
}

#[test]
fn defaults_of_limits_are_told_where_zookeeper_has_none() {
    let text = "dataDir=/d\nclientPort=9\nserver.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2\n";
    let loaded = parse(text, Some(3), true).unwrap();
    let told: Vec<String> = loaded.notices.iter().map(Notice::to_string).collect();
    assert_eq!(
        told,
        [
            "zoo.cfg: initLimit is not set: 10 ticks of 3000 ms are assumed",
            "zoo.cfg: syncLimit is not set: 5 ticks of 3000 ms are assumed"
        ]
    );
    assert_eq!(loaded.settings.session_timeout_ms_min, 6000);
}

#[test]
fn a_frame_longer_than_can_be_kept_is_never_taken() {
    let text = "dataDir=/d\nclientPort=1\njute.maxbuffer=0x7fffffff\n";
    let notice = "Warning zoo.cfg:3: jute.maxbuffer=2147483647: at most 67108864 are taken";
    assert_eq!(notices(text), [notice]);
    assert_eq!(settings(text).frame_bytes_max, 64 << 20);
}

#[test]
fn purging_keeps_at_least_three_snapshots_and_is_on() {
    let text = "dataDir=/d\nclientPort=1\nautopurge.snapRetainCount=1\n";
    assert_eq!(notices(text), ["Warning zoo.cfg:3: autopurge.snapRetainCount=1: at least 3 are kept"]);
    let settings = settings(text);
    assert_eq!((settings.snapshots_retained, settings.purge_interval_ms), (3, 3_600_000));
}

#[test]
fn the_client_port_of_the_server_list_is_enough_and_must_not_be_contradicted() {
    let servers = "dataDir=/d\nserver.1=a:1:2;10.0.0.1:2181\nserver.2=b:1:2;2182\n";
    assert_eq!(settings(servers).client_addr.unwrap().to_string(), "10.0.0.1:2181");
    assert_eq!(
        settings(&format!("{servers}clientPort=2181")).client_addr.unwrap().to_string(),
        "10.0.0.1:2181"
    );
    assert_eq!(
        error(&format!("{servers}clientPort=2182")),
        "zoo.cfg:4: clientPort=2182: expected 10.0.0.1:2181, as server.1 says, or no clientPort"
    );
    assert_eq!(
        error("dataDir=/d\n"),
        "zoo.cfg: clientPort is not set: expected the port that clients connect to"
    );
}

#[test]
fn toml_and_properties_give_the_same_settings() {
    let properties = "dataDir=/d\nclientPort=2181\nautopurge.purgeInterval=2\nforceSync=no\n\
                      4lw.commands.whitelist=stat,ruok\nserver.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2\n";
    let text = "dataDir = \"/d\"\nclientPort = 2181\nautopurge.purgeInterval = 2\nforceSync = \"no\"\n\
                4lw.commands.whitelist = [\"stat\", \"ruok\"]\n\
                [server]\n1 = \"a:1:2\"\n2 = \"b:1:2\"\n3 = \"c:1:2\"\n";
    let source = Source { name: "zabra.toml", text, format: Format::Toml, myid: Some(1), strict: true };
    assert_eq!(parse_text(&source).unwrap().settings, settings(properties));
    assert_eq!(Format::of(Path::new("etc/zabra.TOML")), Format::Toml);
}

/// A folder with a zoo.cfg of three servers whose data directory is the folder itself.
fn ensemble_dir() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("zoo.cfg");
    let text = format!(
        "dataDir={}\nclientPort=9\nserver.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2\n",
        dir.path().display()
    );
    fs::write(&path, text).unwrap();
    (dir, path)
}

#[test]
fn myid_tells_which_server_this_is() {
    let (dir, path) = ensemble_dir();
    fs::write(dir.path().join("myid"), "2\n").unwrap();
    assert_eq!(load(&path, None, true).unwrap().settings.server_id, ServerId(2));
    let loaded = load(&path, Some(3), true).unwrap();
    assert_eq!(loaded.settings.server_id, ServerId(3));
    let told = loaded.notices.iter().map(Notice::to_string).find(|text| text.contains("--myid"));
    let expected = format!("--myid 3 counts, not the \"2\" of {}", dir.path().join("myid").display());
    assert_eq!(told, Some(format!("{}: {expected}", path.display())));
}

#[test]
fn a_myid_that_is_missing_or_does_not_fit_is_an_error_that_names_the_choice() {
    let (dir, path) = ensemble_dir();
    let (myid, path_text) = (dir.path().join("myid"), path.display().to_string());
    assert_eq!(
        load(&path, None, true).unwrap_err().to_string(),
        format!(
            "{path_text}: nothing tells which server this is: expected {} or --myid with one of 1, 2, 3",
            myid.display()
        )
    );
    fs::write(&myid, "4").unwrap();
    assert_eq!(
        load(&path, None, true).unwrap_err().to_string(),
        format!("{}:1: 4 is not in the server list of {path_text}: expected one of 1, 2, 3", myid.display())
    );
    assert_eq!(
        load(&path, Some(9), true).unwrap_err().to_string(),
        format!("--myid: 9 is not in the server list of {path_text}: expected one of 1, 2, 3")
    );
    fs::write(&myid, "two").unwrap();
    assert_eq!(
        load(&path, None, true).unwrap_err().to_string(),
        format!("{}:1: \"two\" is not a server id: expected a whole number from 0 to 255", myid.display())
    );
}

#[test]
fn relative_folders_become_absolute_and_missing_files_are_errors() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("zoo.cfg");
    let missing = load(&path, None, true).unwrap_err().to_string();
    assert!(missing.starts_with(&format!("{}: cannot be read: ", path.display())), "{missing}");
    fs::write(&path, "dataDir=data\nclientPort=1\n").unwrap();
    let settings = load(&path, None, true).unwrap().settings;
    assert_eq!(settings.data_dir, std::env::current_dir().unwrap().join("data"));
    assert_eq!(settings.data_log_dir, settings.data_dir);
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in "(?s).{0,200}", lines in proptest::collection::vec(
        "(dataDir|clientPort|server.1|tickTime|peerTimeoutMs|autopurge.purgeInterval|\\\\u00)[=: ]?[0-9a-z:;\\[\\]=\\\\-]{0,12}",
        0..8,
    )) {
        for text in [text, lines.join("\n")] {
            for format in [Format::Properties, Format::Toml] {
                let source = Source { name: "x", text: &text, format, myid: None, strict: true };
                let _ = parse_text(&source);
            }
        }
    }
}

#[test]
fn a_secure_client_port_may_stand_in_the_own_line() {
    let servers = "server.1=a:1:2;9;10.0.0.1:10\nserver.2=b:1:2;9;10\n";
    let problem = error(&format!("dataDir=/d\n{servers}"));
    assert!(problem.contains("secureClientPort"), "{problem}");
    let problem = error(&format!("dataDir=/d\n{servers}secureClientPort=11\n"));
    assert!(
        problem
            .contains("secureClientPort=11: expected 10.0.0.1:10, as server.1 says, or no secureClientPort"),
        "{problem}"
    );
    let tls = "ssl.keyStore.location=/k.pem\nssl.clientAuth=none\n";
    let settings = settings(&format!("dataDir=/d\n{servers}secureClientPort=10\n{tls}"));
    assert_eq!(settings.secure_client_addr.expect("it is there").to_string(), "10.0.0.1:10");
}
