use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::*;

const THREE: &str = "server.1=a:1:2:participant;0.0.0.0:3\nserver.2=b:1:2:participant;0.0.0.0:3\n\
                     server.3=c:1:2:observer;0.0.0.0:3\nversion=100000000";

fn three() -> Membership {
    Membership::parse(THREE).expect("it is in order")
}

/// The text without the version, or the error with its kind.
fn shown(result: Result<Membership, MembershipError>) -> String {
    match result {
        Ok(membership) => membership.lines().trim_end().replace('\n', " "),
        Err(error) => format!("{error:?}"),
    }
}

fn changed(joining: &str, leaving: &str) -> String {
    shown(three().changed(joining, leaving, true))
}

fn replaced(members: &str) -> String {
    shown(three().replaced(members, true))
}

#[test]
fn the_text_is_that_of_the_znode() {
    assert_eq!(three().text(), THREE);
    assert_eq!(three().version, Zxid(0x1_0000_0000));
    let grouped = "server.1=a:1:2:participant\nserver.2=b:1:2:participant\nserver.3=c:1:2:participant\n\
                   server.9=d:1:2:observer\ngroup.1=1:3\ngroup.2=2\nweight.1=1\nweight.2=1\nweight.3=0\nversion=0";
    assert_eq!(Membership::parse(grouped).expect("it is in order").text(), grouped);
    assert!(Membership::parse(grouped).expect("it is in order").has_groups());
    assert!(!three().has_groups());
}

#[test]
fn a_text_is_read_as_java_reads_properties() {
    let text = "# members\n server.1 = a:1:2\nserver.2:b\\:1\\:2;3;4\nserver.1=c:1:2\n";
    let membership = Membership::parse(text).expect("it is in order");
    assert_eq!(
        membership.text(),
        "server.1=c:1:2:participant\nserver.2=b:1:2:participant;0.0.0.0:3;0.0.0.0:4\nversion=0"
    );
}

#[test]
fn what_is_no_membership_is_told_by_kind() {
    let table = [
        (
            "clientPort=2181",
            "BadArguments(\"\\\"clientPort\\\" is not a key: expected server.N, group.N, weight.N and version\")",
        ),
        ("server.x=a:1:2", "Unreadable(\"\\\"x\\\" is not a server id\")"),
        ("server.256=a:1:2", "BadArguments(\"256 is not a server id: expected one from 0 to 255\")"),
        ("server.1=a:1", "BadArguments(\"server.1=a:1: expected host:quorumPort"),
        ("server.1=a:1:2\nversion=g", "Unreadable(\"version=g: expected a number in hexadecimal digits\")"),
        ("server.1=a:1:2\ngroup.1=1:1", "BadArguments(\"server 1 is in two groups\")"),
        ("server.1=a:1:2\ngroup.1=2", "BadArguments(\"server 1 is in no group, though there are some\")"),
        ("server.1=a:1:2\nweight.1=2", "BadArguments(\"server 1 is in no group, though there are some\")"),
        ("server.1=a:1:2\ngroup.1=1:2", "Unreadable(\"server 2 has a group or weight, and no vote\")"),
        (
            "server.1=a:1:2\ngroup.1=1\nweight.7=2",
            "Unreadable(\"server 7 has a group or weight, and no vote\")",
        ),
        (
            "server.1=a:1:2\ngroup.1=1\nweight.1=-2",
            "Unreadable(\"weight.1: \\\"-2\\\" is not a whole number\")",
        ),
        ("server.1=a:1:2\ngroups=1", "Unreadable(\"groups: \\\"groups\\\" is not a whole number\")"),
        ("server.1=\\u12", "BadArguments(\"server.1: \\\\u needs four hexadecimal digits\")"),
    ];
    for (text, expected) in table {
        let shown = shown(Membership::parse(text));
        assert!(shown.starts_with(expected), "{text}: {shown}");
    }
}

#[test]
fn servers_join_leave_and_are_replaced() {
    let (one, two) = ("server.1=a:1:2:participant;0.0.0.0:3", "server.2=b:1:2:participant;0.0.0.0:3");
    let three = "server.3=c:1:2:observer;0.0.0.0:3";
    assert_eq!(changed("", ""), format!("{one} {two} {three}"));
    assert_eq!(changed("", "3, 7,300,,"), format!("{one} {two}"));
    let four = "server.4=d:1:2:participant;0.0.0.0:3";
    assert_eq!(changed("server.4=d:1:2;3", ""), format!("{one} {two} {three} {four}"));
    assert_eq!(changed(" 4 = d:1:2;3 ,", "1"), format!("{two} {three} {four}"));
    let promoted = "server.3=c:1:2:participant;;e:4";
    assert_eq!(changed("server.3=c:1:2:participant;;e:4", ""), format!("{one} {two} {promoted}"));
    assert_eq!(changed("server.1=a:1:2;3", "1"), format!("{one} {two} {three}"));
    assert_eq!(self::three().changed("", "3", true).expect("it is fine").version, Zxid(0x1_0000_0000));
}

#[test]
fn a_change_that_zookeeper_refuses_is_refused() {
    let table = [
        ("", "x", "Unreadable(\"\\\"x\\\" is not a server id\")"),
        ("", "1", "BadArguments(\"1 participants: expected at least 2\")"),
        ("server.4", "", "BadArguments(\"\\\"server.4\\\": expected server.N=host:port:port;port\")"),
        ("server.4=d:1:2", "", "BadArguments(\"server.4=d:1:2: expected a client port behind a semicolon\")"),
        ("server.x=d:1:2;3", "", "Unreadable(\"\\\"x\\\" is not a server id\")"),
        ("server.4=d:1;3", "", "BadArguments(\"server.4=d:1;3: expected host:"),
        ("server.4=A:9:2;3", "", "BadArguments(\"A:2 of server 4 belongs to server 1\")"),
        ("server.4=d:9:8;a:1", "", "BadArguments(\"a:1 of server 4 belongs to server 1\")"),
        ("server.1=a:1:2:observer;3", "", "BadArguments(\"1 participants: expected at least 2\")"),
    ];
    for (joining, leaving, expected) in table {
        let shown = changed(joining, leaving);
        assert!(shown.starts_with(expected), "{joining} {leaving}: {shown}");
    }
    let grouped = Membership::parse("server.1=a:1:2\nserver.2=b:1:2\ngroup.1=1:2").expect("it is in order");
    assert!(matches!(grouped.changed("", "2", false), Err(MembershipError::BadArguments(_))));
}

#[test]
fn addresses_that_every_machine_has_are_shared_without_harm() {
    for host in ["127.0.0.1", "localhost", "[::1]", "0.0.0.0"] {
        let two = Membership::parse(&format!("server.1={host}:1:2;3\nserver.2=b:1:2;3")).expect("in order");
        assert!(two.changed(&format!("server.4={host}:1:2;3"), "", true).is_ok(), "{host}");
    }
}

#[test]
fn one_alone_may_be_left_where_standalone_servers_are_not_enabled() {
    assert_eq!(shown(three().changed("", "2,3", false)), "server.1=a:1:2:participant;0.0.0.0:3");
    let none = shown(three().changed("", "1,2", false));
    assert_eq!(none, "BadArguments(\"0 participants: expected at least 1\")");
    assert_eq!(shown(three().replaced("server.1=a:1:2", false)), "server.1=a:1:2:participant");
}

#[test]
fn all_members_are_replaced_at_once() {
    assert_eq!(
        replaced("server.5=a:1:2,server.6=b:1:2;3\nserver.7=c:1:2:observer,version=7"),
        "server.5=a:1:2:participant server.6=b:1:2:participant;0.0.0.0:3 server.7=c:1:2:observer"
    );
    assert_eq!(
        replaced("server.1=a:1:2,server.2=b:1:2,group.1=1,group.2=2,weight.1=3"),
        "server.1=a:1:2:participant server.2=b:1:2:participant group.1=1 group.2=2 weight.1=3 weight.2=1"
    );
    let version = three().replaced("server.5=a:1:2,server.6=b:1:2,version=7", true).expect("fine").version;
    assert_eq!(version, Zxid(0x1_0000_0000));
}

#[test]
fn a_replacement_without_voters_is_refused() {
    let unexpected = "Unreadable(\"0 participants and 1 observers: expected more who vote\")";
    assert_eq!(replaced("server.1=a:1:2:observer"), unexpected);
    assert_eq!(replaced(""), "BadArguments(\"0 participants: expected at least 2\")");
    assert_eq!(replaced("server.1=a:1:2"), "BadArguments(\"1 participants: expected at least 2\")");
    let unexpected = "Unreadable(\"1 participants and 1 observers: expected more who vote\")";
    assert_eq!(replaced("server.1=a:1:2,server.2=b:1:2:observer"), unexpected);
    let unexpected = "Unreadable(\"0 participants and 0 observers: expected more who vote\")";
    assert_eq!(shown(three().replaced("", false)), unexpected);
    let weightless = "server.1=a:1:2,server.2=b:1:2,group.1=1:2,weight.1=0,weight.2=0";
    assert_eq!(replaced(weightless), "BadArguments(\"no server has a weight above 0\")");
    assert_eq!(replaced("port=1"), shown(Membership::parse("port=1")));
}

prop_compose! {
    fn some_addr()(host in prop::option::of("[a-z][a-z0-9.-]{0,20}|10\\.0\\.0\\.[1-9]"), port in 1..=u16::MAX) -> ListenAddr {
        ListenAddr { host, port }
    }
}

prop_compose! {
    fn some_server()(
        host in "[a-z][a-z0-9.-]{0,20}|fd00::[1-9]",
        quorum_port in 1..u16::MAX,
        is_observer in any::<bool>(),
        share in (0..4u32, 0..4u32),
        also in prop::collection::btree_map("zz[a-z0-9.-]{0,20}", 1..u16::MAX, 0..3),
        clients in (prop::option::of(some_addr()), prop::option::of(some_addr())),
    ) -> ServerAddr {
        let (group, weight) = share;
        let role = if is_observer { PeerRole::Observer } else { PeerRole::Participant { group, weight } };
        let (client, secure_client) = clients;
        let host = if host.starts_with("zz") { "a".to_string() } else { host };
        let addr = |(host, port)| PeerAddr { host, quorum_port: port, election_port: port + 1 };
        let also = also.into_iter().map(addr).collect();
        let election_port = quorum_port + 1;
        ServerAddr { id: ServerId(0), host, quorum_port, election_port, also, role, client, secure_client }
    }
}

fn some_membership() -> impl Strategy<Value = Membership> {
    let servers = btree_map(any::<u8>(), some_server(), 0..12);
    (servers, any::<u64>(), any::<bool>()).prop_map(|(servers, version, has_groups)| {
        let servers = servers.into_iter().map(|(id, mut server)| {
            if !has_groups && server.role != PeerRole::Observer {
                server.role = PeerRole::EQUAL;
            }
            (ServerId(id), ServerAddr { id: ServerId(id), ..server })
        });
        Membership { version: Zxid(version), servers: servers.collect() }
    })
}

proptest! {
    #[test]
    fn every_membership_survives_its_text(membership in some_membership()) {
        prop_assert_eq!(Membership::parse(&membership.text()), Ok(membership));
    }

    #[test]
    fn a_replacement_by_the_own_lines_changes_nothing(membership in some_membership()) {
        if let Ok(replaced) = membership.replaced(&membership.lines(), false) {
            prop_assert_eq!(replaced, membership);
        }
    }

    #[test]
    fn who_leaves_is_gone_and_who_joins_is_there(
        membership in some_membership(),
        leaving in vec(any::<u8>(), 0..4),
        joining in btree_map(any::<u8>(), some_server(), 0..4),
    ) {
        let leaving: Vec<String> = leaving.iter().map(u8::to_string).collect();
        let lines: Vec<String> = joining.iter().map(|(id, server)| format!("server.{id}={server}")).collect();
        if let Ok(changed) = membership.changed(&lines.join(","), &leaving.join(","), false) {
            for id in joining.keys() {
                prop_assert!(changed.servers.contains_key(&ServerId(*id)));
            }
            let others = membership.servers.keys().filter(|id| !joining.contains_key(&id.0));
            for id in others {
                prop_assert_eq!(changed.servers.contains_key(id), !leaving.contains(&id.to_string()));
            }
            prop_assert!(changed.servers.values().any(|server| server.role.votes()));
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in "(server|group|weight|version|[.=:;,0-9a\\\\\n ]){0,40}") {
        if let Ok(membership) = Membership::parse(&text) {
            prop_assert_eq!(Membership::parse(&membership.text()), Ok(membership));
        }
    }
}
