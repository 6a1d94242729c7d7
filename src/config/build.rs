//! From the values of a file to [`Settings`]: one line per key, with its unit and its range.

use std::path::{Path, PathBuf};

use super::check;
use super::given::{Given, Value, whole_number};
use super::groups;
use super::report::{Place, Severity};
use super::settings::{FourLetterWords, Settings};
use super::throttle::RequestThrottle;
use super::tls::{self, Side, TlsSettings};
use super::{ReadMyid, ReadText, audit, auth};
use crate::ids::ServerId;
use crate::membership::{ListenAddr, checked_host, listen_host};

const INT_MAX: u64 = i32::MAX as u64;
const HOUR_MS: u64 = 60 * 60 * 1000;
const GIB: u64 = 1024 * 1024 * 1024;

/// Reads every key. What is wrong is noted in `given`, and the settings returned are of no use then.
pub(super) fn settings(
    given: &mut Given,
    myid: Option<u8>,
    read_myid: ReadMyid<'_>,
    read_text: ReadText<'_>,
) -> Settings {
    let mut settings = Settings::new(PathBuf::new(), None);
    set_directories(given, &mut settings);
    set_times(given, &mut settings);
    set_client_limits(given, &mut settings);
    set_session_kinds(given, &mut settings);
    set_lifetimes(given, &mut settings);
    set_storage(given, &mut settings);
    set_peers(given, &mut settings);
    settings.auth = auth::settings(given, read_text);
    settings.audit = audit::settings(given, &settings.data_dir);
    let static_addr = static_addr(given, "clientPort", "clientPortAddress");
    settings.secure_client_addr = static_secure_addr(given);
    if let Some(id) = server_id(given, myid, read_myid, &settings.data_dir) {
        settings.server_id = id;
        check::peer_type(given, &settings);
        set_client_addr(given, &mut settings, static_addr);
        set_secure_client_addr(given, &mut settings);
    }
    set_tls(given, &mut settings);
    check::all(given, &settings);
    settings
}

fn set_directories(given: &mut Given, settings: &mut Settings) {
    match directory(given, "dataDir") {
        Some(path) => settings.data_dir = path,
        None if given.has("dataDir") => {}
        None => {
            given.problem(None, "dataDir is not set: expected the folder that holds the data".to_string())
        }
    }
    settings.data_log_dir = directory(given, "dataLogDir").unwrap_or_else(|| settings.data_dir.clone());
}

fn directory(given: &mut Given, key: &'static str) -> Option<PathBuf> {
    let value = given.value(key)?;
    if value.text.is_empty() || value.text.contains('\0') {
        given.unexpected(key, "expected the path of a folder");
        return None;
    }
    Some(PathBuf::from(value.text))
}

fn set_times(given: &mut Given, settings: &mut Settings) {
    let mut tick_ms = settings.tick_ms;
    given.number(&mut tick_ms, "tickTime", "milliseconds", 1..=HOUR_MS);
    settings.set_tick(tick_ms);
    given.number(&mut settings.init_limit_ticks, "initLimit", "ticks", 1..=100_000);
    given.number(&mut settings.sync_limit_ticks, "syncLimit", "ticks", 1..=100_000);
    session_timeout(given, &mut settings.session_timeout_ms_min, "minSessionTimeout");
    session_timeout(given, &mut settings.session_timeout_ms_max, "maxSessionTimeout");
    for (key, ticks) in [("initLimit", settings.init_limit_ticks), ("syncLimit", settings.sync_limit_ticks)] {
        if !given.servers().is_empty() && !given.has(key) {
            let text = format!("{key} is not set: {ticks} ticks of {tick_ms} ms are assumed");
            given.notice(Severity::Info, None, text);
        }
    }
}

/// -1 is ZooKeeper's way to write the default.
fn session_timeout(given: &mut Given, slot: &mut u32, key: &'static str) {
    if given.value(key).is_none_or(|value| value.text != "-1") {
        given.number(slot, key, "milliseconds", 1..=INT_MAX);
    }
}

/// The longest frame of a client that is ever taken: what comes of it must fit into the log, between servers and into
/// snapshots.
const FRAME_BYTES_MAX: u32 = 64 << 20;

fn set_client_limits(given: &mut Given, settings: &mut Settings) {
    let per_address = "connections (0 for no limit)";
    given.number(&mut settings.conns_per_address_max, "maxClientCnxns", per_address, 0..=INT_MAX);
    given.number(&mut settings.conns_max, "maxCnxns", per_address, 0..=INT_MAX);
    set_kept_limits(given, settings);
    set_request_throttle(given, &mut settings.request_throttle);
    given.number(&mut settings.outstanding_requests_max, "globalOutstandingLimit", "requests", 1..=INT_MAX);
    given.number(&mut settings.frame_bytes_max, "jute.maxbuffer", "bytes", 1024..=INT_MAX);
    if settings.frame_bytes_max > FRAME_BYTES_MAX {
        let text =
            format!("jute.maxbuffer={}: at most {FRAME_BYTES_MAX} are taken", settings.frame_bytes_max);
        given.notice(Severity::Warning, given.line("jute.maxbuffer"), text);
        settings.frame_bytes_max = FRAME_BYTES_MAX;
    }
    given.number(&mut settings.client_threads, "clientThreads", "threads", 0..=1024);
    given.number(&mut settings.park_timeout_ms, "parkTimeoutMs", "milliseconds", 0..=HOUR_MS);
    if let Some(value) = given.value("4lw.commands.whitelist") {
        settings.four_letter_words = FourLetterWords::parse(&value.text);
    }
}

fn set_session_kinds(given: &mut Given, settings: &mut Settings) {
    given.boolean(&mut settings.local_sessions, "localSessionsEnabled");
    given.boolean(&mut settings.local_sessions_upgrading, "localSessionsUpgradingEnabled");
    given.boolean(&mut settings.read_only_mode, "readonlymode.enabled");
    given.boolean(&mut settings.leader_serves, "leaderServes");
}

/// What clients want kept, and how many of them come.
fn set_kept_limits(given: &mut Given, settings: &mut Settings) {
    let watches = "watches (0 for no limit)";
    given.number(&mut settings.watches_per_conn_max, "watchesPerConnectionMax", watches, 0..=INT_MAX);
    given.number(&mut settings.watches_max, "watchesMax", watches, 0..=INT_MAX);
    let ephemerals = "ephemerals (0 for no limit)";
    given.number(
        &mut settings.ephemerals_per_session_max,
        "ephemeralsPerSessionMax",
        ephemerals,
        0..=INT_MAX,
    );
    given.number(&mut settings.ephemerals_max, "ephemeralsMax", ephemerals, 0..=INT_MAX);
    let throttle = &mut settings.connection_throttle;
    let tokens = "connections (0 for no limit)";
    given.number(&mut throttle.tokens_max, "connection_throttle_tokens", tokens, 0..=INT_MAX);
    given.number(&mut throttle.fill_ms, "connection_throttle_fill_time", "milliseconds", 1..=INT_MAX);
    given.number(&mut throttle.fill_count, "connection_throttle_fill_count", "connections", 1..=INT_MAX);
    given.boolean(&mut throttle.weighs, "connection_throttle_weight_enabled");
    let (new, renew) = (&mut throttle.new_weight, &mut throttle.renew_weight);
    given.number(new, "connection_throttle_global_session_weight", "tokens", 1..=INT_MAX);
    given.number(renew, "connection_throttle_renew_session_weight", "tokens", 1..=INT_MAX);
    given.number(
        &mut throttle.local_weight,
        "connection_throttle_local_session_weight",
        "tokens",
        1..=INT_MAX,
    );
    // As in ZooKeeper: a local session never takes more than the others.
    throttle.new_weight = throttle.new_weight.max(throttle.local_weight);
    throttle.renew_weight = throttle.renew_weight.max(throttle.local_weight);
}

/// How many requests of clients are worked on, and how much of large ones.
fn set_request_throttle(given: &mut Given, throttle: &mut RequestThrottle) {
    let requests = "requests (0 for no limit)";
    given.number(&mut throttle.requests_max, "request_throttle_max_requests", requests, 0..=INT_MAX);
    given.number(&mut throttle.stall_ms, "request_throttle_stall_time", "milliseconds", 0..=INT_MAX);
    given.boolean(&mut throttle.drops_stale, "request_throttle_drop_stale");
    given.boolean(&mut throttle.ages, "request_stale_latency_check");
    given.number(&mut throttle.wait_ms_max, "throttled_op_wait_time", "milliseconds", 0..=INT_MAX);
    for (key, is_set) in
        [("throttled_op_wait_time", throttle.wait_ms_max > 0), ("request_stale_latency_check", throttle.ages)]
    {
        if is_set && throttle.requests_max == 0 {
            let text = format!("{key} is set, but request_throttle_max_requests is not: no request waits");
            given.notice(Severity::Warning, given.line(key), text);
        }
    }
    let key = "request_stale_connection_check";
    let mut drops_unheard = true;
    given.boolean(&mut drops_unheard, key);
    if !drops_unheard {
        let text = format!("{key}=false: what waits in a connection goes with it all the same");
        given.notice(Severity::Warning, given.line(key), text);
    }
    given.number(&mut throttle.large_bytes_max, "largeRequestMaxBytes", "bytes", 1..=INT_MAX);
    // -1 is ZooKeeper's way to write that there is none.
    if given.value("largeRequestThreshold").is_some_and(|value| value.text != "-1") {
        let mut large_over = 0;
        given.number(&mut large_over, "largeRequestThreshold", "bytes (-1 for no limit)", 1..=INT_MAX);
        throttle.large_over = Some(large_over);
    }
}

fn static_secure_addr(given: &mut Given) -> Option<ListenAddr> {
    if given.has("secureClientPortAddress") && !given.has("secureClientPort") {
        let line = given.line("secureClientPortAddress");
        let text = "secureClientPortAddress is set, but secureClientPort is not: expected both".to_string();
        given.problem(line, text);
    }
    static_addr(given, "secureClientPort", "secureClientPortAddress")
}

fn set_tls(given: &mut Given, settings: &mut Settings) {
    given.boolean(&mut settings.client_port_unification, "client.portUnification");
    let limit = "netty.server.outstandingHandshake.limit";
    // -1 is ZooKeeper's way to write that there is none.
    match given.value(limit).is_some_and(|value| value.text == "-1") {
        true => settings.handshakes_max = HANDSHAKES_MAX,
        false => {
            given.number(&mut settings.handshakes_max, limit, "handshakes", 1..=u64::from(HANDSHAKES_MAX))
        }
    }
    settings.x509_super_user = given.value("X509AuthenticationProvider.superUser").map(|value| value.text);
    given.boolean(&mut settings.ssl_quorum, "sslQuorum");
    given.boolean(&mut settings.port_unification, "portUnification");
    let clients = [
        ("secureClientPort", settings.secure_client_addr.is_some()),
        ("client.portUnification", settings.client_port_unification),
    ];
    settings.client_tls = wanted_tls(given, Side::Clients, &clients);
    let quorum = [("sslQuorum", settings.ssl_quorum), ("portUnification", settings.port_unification)];
    settings.quorum_tls = wanted_tls(given, Side::Quorum, &quorum);
}

/// The TLS of one side, if one of the keys wants it.
fn wanted_tls(given: &mut Given, side: Side, wanted: &[(&str, bool)]) -> Option<TlsSettings> {
    if let Some((key, _)) = wanted.iter().find(|(_, is_wanted)| *is_wanted) {
        return tls::settings(given, side, Some(key));
    }
    if let Some((key, line)) = tls::first_given(given, side) {
        // They are to fit all the same: who sets the key that is missing finds out at the next start otherwise.
        tls::settings(given, side, None);
        let keys: Vec<&str> = wanted.iter().map(|(key, _)| *key).collect();
        let text = format!("{key} is not used: none of {} is set", keys.join(", "));
        given.notice(Severity::Warning, Some(line), text);
    }
    None
}

/// No more handshakes at once than this, whatever the file says: each keeps a connection.
const HANDSHAKES_MAX: u32 = 1_000_000;

fn set_lifetimes(given: &mut Given, settings: &mut Settings) {
    given.boolean(&mut settings.extended_types, "extendedTypesEnabled");
    given.boolean(&mut settings.enforce_quota, "enforceQuota");
    given.boolean(&mut settings.clickhouse_operations, "clickHouseOperationsEnabled");
    let (interval_ms, per_minute) =
        (&mut settings.container_check_interval_ms, &mut settings.container_deletions_per_minute_max);
    given.number(interval_ms, "znode.container.checkIntervalMs", "milliseconds", 1..=INT_MAX);
    given.number(per_minute, "znode.container.maxPerMinute", "deletions", 1..=60_000);
    let unused_ms = &mut settings.container_unused_ms_max;
    given.number(unused_ms, "znode.container.maxNeverUsedIntervalMs", "milliseconds", 0..=INT_MAX);
}

/// For ZooKeeper every word but `no` is yes, and `false` as well. Here it is an error: who writes it hardly means yes.
fn set_force_sync(given: &mut Given, settings: &mut Settings) {
    let Some(value) = given.value("forceSync") else { return };
    match &*value.text {
        "yes" | "true" => settings.force_sync = true,
        "no" => settings.force_sync = false,
        _ => given.unexpected("forceSync", "expected yes or no"),
    }
}

fn set_storage(given: &mut Given, settings: &mut Settings) {
    given.number(&mut settings.snapshot_txns_max, "snapCount", "transactions", 2..=INT_MAX);
    let bytes = 4096..=1024 * GIB;
    given.number(&mut settings.snapshot_log_bytes_max, "snapshotBytesOfLogMax", "bytes", bytes);
    given.number(&mut settings.log_segment_bytes, "logSegmentBytes", "bytes", 4096..=4 * GIB);
    given.number(&mut settings.recent_txn_bytes_max, "recentTxnBytesMax", "bytes", 0..=1024 * GIB);
    set_force_sync(given, settings);
    given.boolean(&mut settings.data_dir_autocreate, "datadir.autocreate");
    given.number(&mut settings.snapshots_retained, "autopurge.snapRetainCount", "snapshots", 0..=INT_MAX);
    if settings.snapshots_retained < 3 {
        let text = format!("autopurge.snapRetainCount={}: at least 3 are kept", settings.snapshots_retained);
        given.notice(Severity::Warning, given.line("autopurge.snapRetainCount"), text);
        settings.snapshots_retained = 3;
    }
    if let Some(value) = given.value("autopurge.purgeInterval") {
        match interval_ms(&value.text) {
            Some(ms) => settings.purge_interval_ms = ms,
            None => given.unexpected(
                "autopurge.purgeInterval",
                "expected a whole number of hours, or one with ms, s, m, h or d behind it (0 for never)",
            ),
        }
    }
}

/// ZooKeeper's notation of pauses, where a number alone means hours.
fn interval_ms(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit_ms = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "ms" => 1,
        "s" => 1000,
        "m" => 60 * 1000,
        "" | "h" => HOUR_MS,
        "d" => 24 * HOUR_MS,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(unit_ms).filter(|ms| *ms <= 10_000 * 24 * HOUR_MS)
}

fn set_peers(given: &mut Given, settings: &mut Settings) {
    settings.servers = given.servers().into_iter().map(|(server, _)| server).collect();
    groups::set(given, settings);
    given.boolean(&mut settings.reconfig_enabled, "reconfigEnabled");
    given.boolean(&mut settings.standalone_enabled, "standaloneEnabled");
    settings.dynamic_config_file = given.value("dynamicConfigFile").map(|value| PathBuf::from(value.text));
    given.boolean(&mut settings.quorum_listen_on_all_ips, "quorumListenOnAllIPs");
    let hour_ms = 1..=HOUR_MS;
    given.number(&mut settings.peer_connect_timeout_ms, "cnxTimeout", "milliseconds", hour_ms.clone());
    let delay_ms = &mut settings.observer_reconnect_delay_ms;
    given.number(delay_ms, "observer.reconnectDelayMs", "milliseconds", 0..=HOUR_MS);
    if let Some(port) = given.value("observerMasterPort") {
        match whole_number(&port.text).and_then(|port| u16::try_from(port).ok()) {
            Some(port) => settings.observer_master_port = Some(port).filter(|port| *port > 0),
            None => given.unexpected("observerMasterPort", "expected a port from 1 to 65535 (0 for none)"),
        }
    }
    for key in ["syncEnabled", "observer.syncEnabled"] {
        let mut is_synced = true;
        given.boolean(&mut is_synced, key);
        if !is_synced {
            let text = format!("{key}=false: an observer writes its log all the same, and starts from it");
            given.notice(Severity::Warning, given.line(key), text);
        }
    }
    given.number(&mut settings.peer_heartbeat_ms, "peerHeartbeatMs", "milliseconds", hour_ms.clone());
    given.number(&mut settings.peer_timeout_ms, "peerTimeoutMs", "milliseconds", hour_ms);
    // Defaults give way to what was set; what was set is checked afterwards.
    if !given.has("peerTimeoutMs") {
        let sync_limit_ms = u32::try_from(settings.sync_limit_ms()).unwrap_or(u32::MAX);
        let wanted = settings.peer_timeout_ms.max(settings.peer_heartbeat_ms.saturating_mul(4));
        settings.peer_timeout_ms = wanted.min(sync_limit_ms);
    }
    if !given.has("peerHeartbeatMs") {
        settings.peer_heartbeat_ms = settings.peer_heartbeat_ms.min(settings.peer_timeout_ms / 4).max(1);
    }
}

/// Which server this is: `--myid`, else the file `myid`, else 0 if there is no server list.
fn server_id(
    given: &mut Given,
    argument: Option<u8>,
    read_myid: ReadMyid<'_>,
    data_dir: &Path,
) -> Option<ServerId> {
    let path = data_dir.join("myid");
    let ids: Vec<String> = given.servers().iter().map(|(server, _)| server.id.to_string()).collect();
    let ids = ids.join(", ");
    let file_place = |line| Place { file: path.display().to_string(), line };
    let in_file = match read_myid(data_dir) {
        Ok(text) => text,
        Err(error) => {
            given.problem_at(file_place(None), format!("cannot be read: {error}"));
            return None;
        }
    };
    let first_line = in_file.as_deref().map(|text| text.lines().next().unwrap_or_default().trim());
    let (id, place) = match (argument, first_line) {
        (Some(id), first_line) => {
            if let Some(other) = first_line.filter(|line| *line != id.to_string()) {
                let text = format!("--myid {id} counts, not the {other:?} of {}", path.display());
                given.notice(Severity::Warning, None, text);
            }
            (id, Place { file: "--myid".to_string(), line: None })
        }
        (None, Some(line)) => match line.parse::<u8>() {
            Ok(id) => (id, file_place(Some(1))),
            Err(_) => {
                let text = format!("{line:?} is not a server id: expected a whole number from 0 to 255");
                given.problem_at(file_place(Some(1)), text);
                return None;
            }
        },
        (None, None) if ids.is_empty() => return Some(ServerId(0)),
        (None, None) => {
            let text = format!(
                "nothing tells which server this is: expected {} or --myid with one of {ids}",
                path.display()
            );
            given.problem(None, text);
            return None;
        }
    };
    if !ids.is_empty() && !given.servers().iter().any(|(server, _)| server.id == ServerId(id)) {
        let text =
            format!("{id} is not in the server list of {}: expected one of {ids}", given.servers_file());
        given.problem_at(place, text);
        return None;
    }
    Some(ServerId(id))
}

/// The client port stands in `clientPort` or in the server's own line; if in both, they must agree.
fn set_client_addr(given: &mut Given, settings: &mut Settings, static_addr: Option<ListenAddr>) {
    let in_list = settings.own_addr().and_then(|own| own.client.clone());
    let addr = match (static_addr, in_list) {
        (Some(addr), Some(listed)) => {
            agree(given, settings.server_id, "clientPort", &addr, &listed);
            listed
        }
        (Some(addr), None) | (None, Some(addr)) => addr,
        (None, None) => {
            let is_secure_listed = settings.own_addr().is_some_and(|own| own.secure_client.is_some());
            if !given.has("clientPort") && !given.has("secureClientPort") && !is_secure_listed {
                let text = "clientPort is not set: expected the port that clients connect to".to_string();
                given.doubt_of_servers(given.place(None), text);
            }
            return;
        }
    };
    settings.client_addr = Some(addr);
}

/// As the client port; that there is none is usual.
fn set_secure_client_addr(given: &mut Given, settings: &mut Settings) {
    let Some(listed) = settings.own_addr().and_then(|own| own.secure_client.clone()) else { return };
    if given.has_servers_file() && tls::first_given(given, Side::Clients).is_none() {
        let text =
            format!("the secure client port {listed} of the own line needs ssl.* keys, and is not opened");
        return given.notice(Severity::Warning, None, text);
    }
    if let Some(addr) = &settings.secure_client_addr {
        agree(given, settings.server_id, "secureClientPort", addr, &listed);
    }
    settings.secure_client_addr = Some(listed);
}

/// A port of `key` must be the one of the server's own line.
fn agree(given: &mut Given, id: ServerId, key: &'static str, addr: &ListenAddr, listed: &ListenAddr) {
    if addr.port != listed.port || (addr.host.is_some() && addr.host != listed.host) {
        given.unexpected(key, &format!("expected {listed}, as server.{id} says, or no {key}"));
    }
}

/// `clientPort` and `clientPortAddress`, or the same for TLS.
fn static_addr(given: &mut Given, port_key: &'static str, address_key: &'static str) -> Option<ListenAddr> {
    let host = given.value(address_key).and_then(|Value { text, line }| {
        let plain = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(&text);
        match checked_host(plain) {
            Ok(host) => listen_host(&host),
            Err(expected) => {
                given.problem(Some(line), format!("{address_key}={text}: {expected}"));
                None
            }
        }
    });
    let port = given.value(port_key)?;
    match whole_number(&port.text).and_then(|port| u16::try_from(port).ok()) {
        Some(port) => Some(ListenAddr { host, port }),
        None => {
            given.unexpected(port_key, "expected a port from 1 to 65535 (0 lets the system choose)");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_hours_unless_they_name_their_unit() {
        let cases = [("0", 0), ("1", HOUR_MS), ("24h", 24 * HOUR_MS), ("90s", 90_000), ("5M", 300_000)];
        for (text, ms) in cases {
            assert_eq!(interval_ms(text), Some(ms), "{text}");
        }
        assert_eq!(interval_ms("250ms"), Some(250));
        assert_eq!(interval_ms("1d"), Some(24 * HOUR_MS));
        for text in ["", "h", "-1", "1w", "1.5", "99999999999999999999", "1 h", "18446744073709551615d"] {
            assert_eq!(interval_ms(text), None, "{text}");
        }
    }
}
