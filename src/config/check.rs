//! What must hold between settings, each fine by itself.

use std::collections::BTreeMap;

use super::given::Given;
use super::report::{Place, Severity};
use super::settings::Settings;
use crate::membership::{PeerRole, ServerAddr};

/// Notes every contradiction in `given`.
pub(super) fn all(given: &mut Given, settings: &Settings) {
    session_timeouts(given, settings);
    peer_timeouts(given, settings);
    voters(given, settings);
    ports(given, settings);
}

fn session_timeouts(given: &mut Given, settings: &Settings) {
    let (min, max) = (settings.session_timeout_ms_min, settings.session_timeout_ms_max);
    if min > max {
        let line = given.line("minSessionTimeout").or(given.line("maxSessionTimeout"));
        let text = format!(
            "minSessionTimeout is {min} ms, maxSessionTimeout {max} ms: expected the first not to be longer"
        );
        given.problem(line, text);
    }
}

fn peer_timeouts(given: &mut Given, settings: &Settings) {
    let (heartbeat_ms, timeout_ms) = (settings.peer_heartbeat_ms, settings.peer_timeout_ms);
    let line = given.line("peerTimeoutMs").or(given.line("peerHeartbeatMs"));
    if u64::from(timeout_ms) < 4 * u64::from(heartbeat_ms) {
        let text = format!(
            "peerTimeoutMs is {timeout_ms}, peerHeartbeatMs {heartbeat_ms}: \
             expected at least four heartbeats, so that a late one is no failure"
        );
        given.problem(line, text);
    }
    if u64::from(timeout_ms) > settings.sync_limit_ms() {
        let text = format!(
            "peerTimeoutMs is {timeout_ms}: expected at most syncLimit ({} ticks of {} ms are {} ms)",
            settings.sync_limit_ticks,
            settings.tick_ms,
            settings.sync_limit_ms()
        );
        given.problem(line, text);
    }
}

/// `peerType` only repeats what the server's line says: the line counts, as in ZooKeeper.
pub(super) fn peer_type(given: &mut Given, settings: &Settings) {
    let Some(value) = given.value("peerType") else { return };
    let observes = match value.text.to_ascii_lowercase().as_str() {
        "observer" => true,
        "participant" => false,
        _ => return given.unexpected("peerType", "expected participant or observer"),
    };
    if observes && settings.servers.is_empty() {
        given.unexpected("peerType", "expected server.N lines: an observer needs others to learn from");
    } else if observes != settings.observes() {
        let text = format!("peerType={}: the line server.{} counts", value.text, settings.server_id);
        given.notice(Severity::Warning, Some(value.line), text);
    }
}

fn voters(given: &mut Given, settings: &Settings) {
    let participants = settings.servers.iter().filter(|server| server.role != PeerRole::Observer);
    if participants.clone().count() == 0 && !settings.servers.is_empty() {
        given.problem(None, "every server is an observer: expected participants, who vote".to_string());
    }
    if settings.servers.is_empty() && !settings.standalone_enabled {
        given.unexpected("standaloneEnabled", "expected server.N lines, one at least");
    }
    let voters = participants.clone().count();
    let all_equal = participants.clone().all(|server| server.role == PeerRole::EQUAL);
    if all_equal && voters > 0 && voters.is_multiple_of(2) {
        let failures = (voters - 1) / 2;
        let text = format!("{voters} voting servers survive {failures} failures, as {} would", voters - 1);
        given.notice(Severity::Info, None, text);
    }
}

/// Who uses a port, and where that stands.
type Users = BTreeMap<(String, u16), (String, Place)>;

/// No two listeners of one machine may have the same port. Machines are told apart by the text of the host.
fn ports(given: &mut Given, settings: &Settings) {
    let mut users = Users::new();
    for (server, line) in given.servers() {
        let host = server.host.to_ascii_lowercase();
        let key = format!("server.{}", server.id);
        let place = given.place_of_servers(Some(line));
        for addr in server.peer_addrs() {
            let host = addr.host.to_ascii_lowercase();
            for (port, name) in [(addr.quorum_port, "quorum"), (addr.election_port, "election")] {
                claim(given, &mut users, &host, port, format!("the {name} port of {key}"), place.clone());
            }
        }
        for (addr, name) in [(&server.client, "client"), (&server.secure_client, "secure client")] {
            let Some(addr) = addr else { continue };
            let host = addr.host.as_ref().map_or(host.clone(), |host| host.to_ascii_lowercase());
            claim(given, &mut users, &host, addr.port, format!("the {name} port of {key}"), place.clone());
        }
    }
    let own = settings.own_addr();
    for addr in own.filter(|own| own.role.votes()).into_iter().flat_map(ServerAddr::peer_addrs) {
        let Some(port) = settings.observer_master_port else { break };
        let key = "observerMasterPort";
        let place = given.place(given.line(key));
        claim(given, &mut users, &addr.host.to_ascii_lowercase(), port, key.to_string(), place);
    }
    let is_listed = own.is_some_and(|own| own.client.is_some());
    let is_secure_listed = own.is_some_and(|own| own.secure_client.is_some());
    for (key, addr) in [
        ("clientPort", settings.client_addr.as_ref().filter(|_| !is_listed)),
        ("secureClientPort", settings.secure_client_addr.as_ref().filter(|_| !is_secure_listed)),
    ] {
        let Some(addr) = addr.filter(|addr| addr.port != 0) else { continue };
        let host = addr.host.as_deref().or(own.map(|own| own.host.as_str())).unwrap_or_default();
        let place = given.place(given.line(key));
        claim(given, &mut users, &host.to_ascii_lowercase(), addr.port, key.to_string(), place);
    }
}

fn claim(given: &mut Given, users: &mut Users, host: &str, port: u16, user: String, place: Place) {
    let addr = (host.to_string(), port);
    match users.get(&addr) {
        Some((other, other_place)) => {
            let other_line = other_place.line.map(|line| format!(" (line {line})")).unwrap_or_default();
            let text =
                format!("{user} is {port} on {host}, as {other} is{other_line}: expected different ports");
            let is_of_servers = [&place, other_place].iter().any(|it| it.file == given.servers_file());
            match is_of_servers {
                true => given.doubt_of_servers(place, text),
                false => given.problem_at(place, text),
            }
        }
        None => {
            users.insert(addr, (user, place));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Format, Source, parse_text};

    /// The problems of a properties text, or the word "fine".
    fn check(text: &str) -> String {
        let text = format!("dataDir=/d\n{text}");
        let source =
            Source { name: "z", text: &text, format: Format::Properties, myid: Some(1), strict: true };
        match parse_text(&source) {
            Ok(_) => "fine".to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn the_shortest_session_timeout_is_not_longer_than_the_longest() {
        let text = "clientPort=1\nminSessionTimeout=9000\nmaxSessionTimeout=8000";
        assert_eq!(
            check(text),
            "z:3: minSessionTimeout is 9000 ms, maxSessionTimeout 8000 ms: expected the first not to be longer"
        );
        assert_eq!(check("clientPort=1\nminSessionTimeout=-1\nmaxSessionTimeout=-1"), "fine");
    }

    #[test]
    fn a_peer_fails_after_four_heartbeats_at_the_earliest_and_sync_limit_at_the_latest() {
        let text = "clientPort=1\npeerHeartbeatMs=100\npeerTimeoutMs=399";
        assert!(
            check(text).starts_with("z:4: peerTimeoutMs is 399, peerHeartbeatMs 100: "),
            "{}",
            check(text)
        );
        let text = "clientPort=1\ntickTime=100\nsyncLimit=3\npeerTimeoutMs=301";
        assert_eq!(
            check(text),
            "z:5: peerTimeoutMs is 301: expected at most syncLimit (3 ticks of 100 ms are 300 ms)"
        );
    }

    #[test]
    fn default_peer_timeouts_give_way() {
        assert_eq!(check("clientPort=1\ntickTime=10\nsyncLimit=2"), "fine");
        assert_eq!(check("clientPort=1\npeerHeartbeatMs=1000"), "fine");
        assert_eq!(check("clientPort=1\npeerTimeoutMs=40"), "fine");
    }

    #[test]
    fn a_voter_has_the_port_for_observers_to_itself() {
        let with = |port: u16, own: &str| {
            check(&format!("clientPort=9\nserver.1=a:1:2{own}\nserver.2=b:1:3\nobserverMasterPort={port}"))
        };
        assert_eq!(with(3, ""), "fine", "the other one listens there");
        assert_eq!(with(2, ":observer"), "fine", "it does not listen");
        assert_eq!(
            with(2, ""),
            "z:5: observerMasterPort is 2 on a, as the election port of server.1 is (line 3): expected different ports"
        );
        assert!(with(9, "").starts_with("z:2: clientPort is 9 on a, as observerMasterPort is (line 5)"));
    }

    #[test]
    fn an_observer_is_one_by_its_line_and_needs_participants() {
        let servers = "clientPort=9\nserver.1=a:1:2:observer\nserver.2=b:1:2";
        assert_eq!(check(&format!("{servers}\npeerType=observer")), "fine");
        assert_eq!(check(&format!("{servers}\npeerType=participant")), "fine");
        assert_eq!(
            check(&format!("{servers}\npeerType=leader")),
            "z:5: peerType=leader: expected participant or observer"
        );
        assert_eq!(
            check("clientPort=9\nserver.1=a:1:2:observer"),
            "z: every server is an observer: expected participants, who vote"
        );
        assert_eq!(
            check("clientPort=9\npeerType=observer"),
            "z:3: peerType=observer: expected server.N lines: an observer needs others to learn from"
        );
    }

    #[test]
    fn ports_of_one_machine_are_different() {
        assert_eq!(check("clientPort=9\nserver.1=a:1:2\nserver.2=b:1:2"), "fine");
        assert_eq!(
            check("clientPort=9\nserver.1=a:1:2\nserver.2=A:2:3"),
            "z:4: the quorum port of server.2 is 2 on a, as the election port of server.1 is (line 3): \
             expected different ports"
        );
        assert_eq!(
            check("server.1=a:1:2\nserver.2=b:3:4\nclientPort=2"),
            "z:4: clientPort is 2 on a, as the election port of server.1 is (line 2): expected different ports"
        );
        assert_eq!(
            check("server.1=a:1:2;2181\nserver.2=a:3:4;2181"),
            "z:3: the client port of server.2 is 2181 on a, as the client port of server.1 is (line 2): \
             expected different ports"
        );
        assert_eq!(check("server.1=a:1:2;10.0.0.1:2181\nserver.2=a:3:4;10.0.0.2:2181"), "fine");
    }
}
