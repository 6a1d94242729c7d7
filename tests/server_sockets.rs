//! A server through its sockets: what it answers, in which order, and what it does with bad input.

#[path = "server_sockets/server.rs"]
mod server;

use std::collections::BTreeSet;
use std::io::Write;
use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use rustix::process::{Signal, kill_process};
use server::{Client, PATIENCE, Server, free_port, new_session};
use tempfile::tempdir;
use zabra::ids::{SessionId, Zxid};
use zabra::jute::{
    Acl, AddWatchMode, AuthId, Create, CreateOp, ErrorCode, EventKind, OpCode, ReadOp, Request, Response,
    SetWatches, WatchEvent, decode_event, decode_response, perms, xid,
};

fn create<'a>(path: &'a str, data: &'a [u8], flags: i32) -> Request<'a> {
    Request::Create(Create { path, data: Some(data), acl: Acl::open(), flags, op: CreateOp::Create })
}

fn get(path: &str) -> Request<'_> {
    Request::GetData { path, watch: false }
}

/// The data of a getData reply.
fn data_of(body: &Bytes) -> Bytes {
    match decode_response(OpCode::GetData as i32, body).expect("a response") {
        Response::Data { data, .. } => data.expect("it is not null"),
        other => panic!("not data: {other:?}"),
    }
}

fn ask_word(addr: SocketAddr, word: &str) -> String {
    let mut client = Client::dial(addr);
    client.send_bytes(word.as_bytes());
    String::from_utf8(client.read_to_end()).expect("text")
}

#[test]
fn a_session_reads_what_it_wrote_and_the_data_outlives_the_process() {
    let folder = tempdir().expect("a folder");
    let (server, addr) = Server::standalone(folder.path(), "");
    let mut client = Client::connect(addr, 10_000);
    client.send(1, &create("/a", b"kept", 0));
    client.send(2, &get("/a"));
    assert_eq!(client.receive_code(), (1, 0));
    let (header, body) = client.receive();
    assert_eq!((header.xid, header.err), (2, 0));
    assert_eq!(data_of(&body), "kept");
    server.kill();
    let (server, addr) = Server::standalone(folder.path(), "");
    let mut client = Client::connect(addr, 10_000);
    client.send(1, &get("/a"));
    assert_eq!(data_of(&client.receive().1), "kept");
    assert!(server.end().success());
}

#[test]
fn a_server_ends_soon_and_cleanly_when_it_is_told_to() {
    let folder = tempdir().expect("a folder");
    let (server, addr) = Server::standalone(folder.path(), "");
    let mut client = Client::connect(addr, 10_000);
    let asked = Instant::now();
    kill_process(server.pid(), Signal::TERM).expect("a signal");
    assert!(client.read_to_end().is_empty());
    assert!(server.end().success());
    assert!(asked.elapsed() < PATIENCE / 3, "{:?}", asked.elapsed());
}

#[test]
fn a_log_that_nobody_watches_has_no_colours() {
    let folder = tempdir().expect("a folder");
    let mut server = Server::start(folder.path(), "clientPort=0");
    let line = server.wait_for("INFO");
    assert!(!line.contains('\u{1b}'), "{line:?}");
}

#[test]
fn pipelined_requests_are_answered_in_order_and_each_read_sees_the_writes_before_it() {
    let folder = tempdir().expect("a folder");
    let (_server, addr) = Server::standalone(folder.path(), "");
    let mut client = Client::connect(addr, 10_000);
    client.send(1, &create("/n", b"", 0));
    for n in 0..200 {
        let data = n.to_string();
        client.send(2 * n + 2, &Request::SetData { path: "/n", data: Some(data.as_bytes()), version: n });
        client.send(2 * n + 3, &get("/n"));
    }
    client.send(1000, &get("/absent"));
    assert_eq!(client.receive_code(), (1, 0));
    for n in 0..200 {
        assert_eq!(client.receive_code(), (2 * n + 2, 0));
        let (header, body) = client.receive();
        assert_eq!(header.xid, 2 * n + 3);
        assert_eq!(data_of(&body), n.to_string());
    }
    assert_eq!(client.receive_code(), (1000, ErrorCode::NoNode as i32));
}

#[test]
fn what_comes_behind_a_sync_is_answered_behind_it() {
    let folder = tempdir().expect("a folder");
    let (_server, addr) = Server::standalone(folder.path(), "");
    let mut client = Client::connect(addr, 10_000);
    client.send(1, &Request::Sync { path: Some("/") });
    client.send(2, &create("/absent/a", b"", 0));
    client.send(3, &Request::Sync { path: None });
    client.send(4, &create("/a", b"", 0));
    let codes = [0, ErrorCode::NoNode as i32, 0, 0];
    for (xid, code) in (1..).zip(codes) {
        assert_eq!(client.receive_code(), (xid, code));
    }
}

#[test]
fn a_watch_tells_nothing_of_a_znode_that_its_client_may_not_read() {
    let folder = tempdir().expect("a folder");
    let (_server, addr) = Server::standalone(folder.path(), "");
    let mut stranger = Client::connect(addr, 10_000);
    let mut friend = Client::connect(addr, 10_000);
    for watcher in [&mut stranger, &mut friend] {
        watcher.send(1, &Request::Exists { path: "/secret", watch: true });
        assert_eq!(watcher.receive_code(), (1, ErrorCode::NoNode as i32));
    }
    let me = Request::Auth { scheme: "digest", auth: b"me:secret" };
    friend.send(xid::AUTH, &me);
    assert_eq!(friend.receive_code(), (xid::AUTH, 0));
    let mut writer = Client::connect(addr, 10_000);
    writer.send(xid::AUTH, &me);
    assert_eq!(writer.receive_code(), (xid::AUTH, 0));
    let acl = vec![Acl { perms: perms::ALL, id: AuthId { scheme: "auth".into(), id: String::new() } }];
    let create = Create { path: "/secret", data: None, acl, flags: 0, op: CreateOp::Create };
    writer.send(1, &Request::Create(create));
    assert_eq!(writer.receive_code(), (1, 0));
    for (watcher, first) in [(&mut friend, xid::NOTIFICATION), (&mut stranger, 2)] {
        watcher.send(2, &Request::Sync { path: Some("/") });
        assert_eq!(watcher.receive_code().0, first);
    }
}

#[test]
fn an_event_comes_before_the_reply_that_shows_the_change() {
    let folder = tempdir().expect("a folder");
    let (_server, addr) = Server::standalone(folder.path(), "");
    let mut watcher = Client::connect(addr, 10_000);
    watcher.send(1, &Request::Exists { path: "/w", watch: true });
    assert_eq!(watcher.receive_code(), (1, ErrorCode::NoNode as i32));
    watcher.send(2, &create("/w", b"", 0));
    watcher.send(3, &Request::GetData { path: "/w", watch: true });
    let (header, body) = watcher.receive();
    assert_eq!(header.xid, xid::NOTIFICATION);
    let event = decode_event(header.zxid, &body).expect("an event");
    assert_eq!((event.kind, &*event.path), (EventKind::NodeCreated, "/w"));
    let (reply, _) = watcher.receive();
    assert_eq!((reply.xid, reply.zxid), (2, header.zxid));
    assert_eq!(watcher.receive_code(), (3, 0));

    let mut writer = Client::connect(addr, 10_000);
    writer.send(1, &Request::SetData { path: "/w", data: Some(b"new"), version: 0 });
    assert_eq!(writer.receive_code(), (1, 0));
    watcher.send(4, &get("/w"));
    assert_eq!(watcher.receive().0.xid, xid::NOTIFICATION);
    assert_eq!(data_of(&watcher.receive().1), "new");
}

#[test]
fn watches_that_a_client_sets_again_tell_what_it_missed() {
    let folder = tempdir().expect("a folder");
    let (_server, addr) = Server::standalone(folder.path(), "");
    let mut client = Client::connect(addr, 10_000);
    client.send(1, &create("/seen", b"", 0));
    let (header, _) = client.receive();
    client.send(2, &Request::SetData { path: "/seen", data: Some(b"x"), version: -1 });
    assert_eq!(client.receive_code(), (2, 0));
    let watches = SetWatches { relative_zxid: header.zxid, data: vec!["/seen"], ..SetWatches::default() };
    client.send(xid::SET_WATCHES, &Request::SetWatches(watches));
    let (header, body) = client.receive();
    let WatchEvent { kind, path, .. } = decode_event(header.zxid, &body).expect("an event");
    assert_eq!((kind, &*path), (EventKind::NodeDataChanged, "/seen"));
    assert_eq!(client.receive_code(), (xid::SET_WATCHES, 0));
}

#[test]
fn a_session_continues_on_another_connection_and_with_a_wrong_password_it_does_not() {
    let folder = tempdir().expect("a folder");
    let (_server, addr) = Server::standalone(folder.path(), "");
    let mut first = Client::dial(addr);
    let opened = first.open_session(&new_session(10_000));
    assert_eq!(opened.read_only, Some(false));
    first.send(1, &create("/ephemeral", b"", 1));
    assert_eq!(first.receive_code(), (1, 0));
    drop(first);
    let mut request = new_session(10_000);
    request.session_id = opened.session_id;
    request.password = Bytes::from_static(&[1; 16]);
    let mut thief = Client::dial(addr);
    let refused = thief.open_session(&request);
    assert_eq!((refused.session_id, refused.timeout_ms), (SessionId(0), 0));
    assert!(thief.read_to_end().is_empty());
    request.password = opened.password;
    let mut second = Client::dial(addr);
    assert_eq!(second.open_session(&request).session_id, opened.session_id);
    second.send(2, &get("/ephemeral"));
    assert_eq!(second.receive_code(), (2, 0));
    second.send(3, &Request::CloseSession);
    assert_eq!(second.receive_code(), (3, 0));
    assert!(second.read_to_end().is_empty());
    let mut other = Client::connect(addr, 10_000);
    other.send(1, &get("/ephemeral"));
    assert_eq!(other.receive_code(), (1, ErrorCode::NoNode as i32));
}

#[test]
fn several_reads_are_answered_as_far_as_they_fit_into_one_frame() {
    let folder = tempdir().expect("a folder");
    let (_server, addr) = Server::standalone(folder.path(), "jute.maxbuffer=2000\n");
    let mut client = Client::connect(addr, 10_000);
    client.send(1, &create("/a", &[b'x'; 900], 0));
    client.send(2, &Request::MultiRead(vec![ReadOp::GetData { path: "/a" }; 2]));
    client.send(3, &Request::MultiRead(vec![ReadOp::GetData { path: "/a" }; 3]));
    client.send(4, &get("/a"));
    assert_eq!(client.receive_code(), (1, 0));
    let (header, body) = client.receive();
    let results = match decode_response(OpCode::MultiRead as i32, &body).expect("a response") {
        Response::MultiRead(results) => results,
        other => panic!("{other:?}"),
    };
    assert_eq!((header.xid, header.err, results.len()), (2, 0, 2));
    assert_eq!(client.receive_code(), (3, ErrorCode::MarshallingError as i32));
    assert_eq!(client.receive_code(), (4, 0));
}

#[test]
fn a_container_without_children_and_a_znode_that_outlived_its_time_go_by_themselves() {
    let folder = tempdir().expect("a folder");
    let quick = "extendedTypesEnabled=true\nznode.container.checkIntervalMs=20\n";
    let (_server, addr) = Server::standalone(folder.path(), quick);
    let mut client = Client::connect(addr, 10_000);
    let create = |path, flags, op| Request::Create(Create { path, data: None, acl: Acl::open(), flags, op });
    client.send(1, &Request::AddWatch { path: "/", mode: AddWatchMode::PersistentRecursive });
    client.send(2, &create("/unused", 4, CreateOp::Container));
    client.send(3, &create("/container", 4, CreateOp::Container));
    client.send(4, &create("/container/child", 0, CreateOp::Create));
    client.send(5, &create("/ttl", 5, CreateOp::Ttl { ttl_ms: 1 }));
    client.send(6, &create("/later", 5, CreateOp::Ttl { ttl_ms: 1_000_000 }));
    client.send(7, &Request::Delete { path: "/container/child", version: -1 });
    let (mut codes, mut gone) = (Vec::new(), BTreeSet::new());
    while gone.len() < 3 {
        let (header, body) = client.receive();
        if header.xid != xid::NOTIFICATION {
            codes.push((header.xid, header.err));
            continue;
        }
        let event = decode_event(header.zxid, &body).expect("an event");
        if event.kind == EventKind::NodeDeleted {
            gone.insert(event.path);
        }
    }
    assert_eq!(codes, (1..=7).map(|xid| (xid, 0)).collect::<Vec<_>>());
    assert!(gone.iter().eq(["/container", "/container/child", "/ttl"]), "{gone:?}");
    for path in ["/unused", "/later"] {
        client.send(8, &get(path));
        assert_eq!(client.receive_code(), (8, 0), "{path}");
    }
}

#[test]
fn a_client_that_saw_more_than_the_server_is_sent_away() {
    let folder = tempdir().expect("a folder");
    let (_server, addr) = Server::standalone(folder.path(), "");
    let mut client = Client::dial(addr);
    let mut bytes = bytes::BytesMut::new();
    let request = zabra::jute::ConnectRequest { last_zxid_seen: Zxid(u64::MAX >> 1), ..new_session(10_000) };
    zabra::jute::frame(&mut bytes, |out| zabra::jute::encode_connect_request(&request, out));
    client.send_bytes(&bytes);
    assert!(client.read_to_end().is_empty());
}

#[test]
fn unknown_operations_and_malformed_bodies_are_answered_and_the_session_lives_on() {
    let folder = tempdir().expect("a folder");
    let (_server, addr) = Server::standalone(folder.path(), "");
    let mut client = Client::connect(addr, 10_000);
    client.send(1, &create("/a", b"", 0));
    client.send_raw(2, 9999, b"whatever");
    client.send_raw(3, OpCode::DeleteContainer as i32, b"");
    client.send_raw(4, OpCode::Create as i32, &[0xff; 7]);
    client.send(7, &Request::Check { path: "/a", version: 0 });
    client.send_raw(5, OpCode::GetData as i32, &[0, 0, 0, 9, b'/']);
    client.send(xid::PING, &Request::Ping);
    client.send(6, &get("/a"));
    assert_eq!(client.receive_code(), (1, 0));
    assert_eq!(client.receive_code(), (2, ErrorCode::Unimplemented as i32));
    assert_eq!(client.receive_code(), (3, ErrorCode::Unimplemented as i32));
    assert_eq!(client.receive_code(), (4, ErrorCode::MarshallingError as i32));
    assert_eq!(client.receive_code(), (7, ErrorCode::Unimplemented as i32));
    assert_eq!(client.receive_code(), (5, ErrorCode::MarshallingError as i32));
    assert_eq!(client.receive_code(), (xid::PING, 0));
    assert_eq!(client.receive_code(), (6, 0));
}

#[test]
fn who_cannot_authenticate_is_told_so_and_disconnected() {
    let folder = tempdir().expect("a folder");
    let (_server, addr) = Server::standalone(folder.path(), "");
    let mut client = Client::connect(addr, 10_000);
    client.send(xid::AUTH, &Request::Auth { scheme: "digest", auth: b"user:secret" });
    assert_eq!(client.receive_code(), (xid::AUTH, 0));
    client.send(xid::AUTH, &Request::Auth { scheme: "unheard-of", auth: b"" });
    assert_eq!(client.receive_code(), (xid::AUTH, ErrorCode::AuthFailed as i32));
    assert!(client.read_to_end().is_empty());
}

#[test]
fn bad_first_frames_end_their_own_connection_only() {
    let folder = tempdir().expect("a folder");
    let (_server, addr) = Server::standalone(folder.path(), "");
    let mut bystander = Client::connect(addr, 10_000);
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0xff; 64],
        &[0, 0, 0, 0],
        &[0, 0, 0, 3, 1, 2, 3],
        &[0, 0, 0x10, 1],
        &[0x7f, 0xff, 0xff, 0xff],
    ] {
        let mut client = Client::dial(addr);
        client.send_bytes(bytes);
        assert!(client.read_to_end().is_empty(), "{bytes:?}");
    }
    bystander.send(xid::PING, &Request::Ping);
    assert_eq!(bystander.receive_code(), (xid::PING, 0));
}

#[test]
fn frames_that_cannot_be_end_the_connection() {
    let folder = tempdir().expect("a folder");
    let (_server, addr) = Server::standalone(folder.path(), "jute.maxbuffer=10000");
    for bytes in [&[0, 0, 0x27, 0x11][..], &[0x80, 0, 0, 0], &[0, 0, 0, 7, 0, 0, 0, 1, 0, 0, 0]] {
        let mut client = Client::connect(addr, 10_000);
        client.send_bytes(bytes);
        assert!(client.read_to_end().is_empty(), "{bytes:?}");
    }
    let mut client = Client::connect(addr, 10_000);
    client.send(1, &create("/big", &[7; 9000], 0));
    assert_eq!(client.receive_code(), (1, 0));
    let mut bytes = bytes::BytesMut::new();
    zabra::jute::encode_request_frame(2, &Request::GetAcl { path: "/big" }, &mut bytes);
    bytes.extend_from_slice(&[0xff; 4]);
    client.send_bytes(&bytes);
    assert_eq!(client.receive_code(), (2, 0), "what came before it is answered");
    assert!(client.read_to_end().is_empty());
}

#[test]
fn a_client_that_reads_late_gets_every_answer() {
    let folder = tempdir().expect("a folder");
    let (_server, addr) = Server::standalone(folder.path(), "");
    let mut client = Client::connect(addr, 30_000);
    client.send(1, &create("/big", &[7; 100_000], 0));
    assert_eq!(client.receive_code(), (1, 0));
    // Far more than sockets hold, so that the server has to stop in the middle.
    for xid in 2..=400 {
        client.send(xid, &get("/big"));
    }
    client.send(401, &Request::Delete { path: "/big", version: -1 });
    client.send(402, &get("/big"));
    for xid in 2..=401 {
        assert_eq!(client.receive_code(), (xid, 0));
    }
    assert_eq!(client.receive_code(), (402, ErrorCode::NoNode as i32));
}

#[test]
fn a_client_that_never_reads_is_disconnected_and_others_are_served() {
    let folder = tempdir().expect("a folder");
    let (_server, addr) = Server::standalone(folder.path(), "tickTime=200");
    let mut client = Client::connect(addr, 10_000);
    client.send(1, &create("/big", &[7; 500_000], 0));
    assert_eq!(client.receive_code(), (1, 0));
    let mut hog = Client::connect(addr, 400);
    hog.stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
    let mut bytes = bytes::BytesMut::new();
    for xid in 1..200 {
        zabra::jute::encode_request_frame(xid, &get("/big"), &mut bytes);
    }
    hog.send_bytes(&bytes);
    let ended = Instant::now() + PATIENCE;
    while hog.stream.write_all(&bytes).is_ok() {
        assert!(Instant::now() < ended, "the server reads on and on");
    }
    client.send(2, &get("/big"));
    assert_eq!(client.receive_code(), (2, 0));
}

#[test]
fn a_silent_client_is_disconnected_after_its_session_timeout() {
    let folder = tempdir().expect("a folder");
    let (_server, addr) = Server::standalone(folder.path(), "tickTime=200");
    let mut client = Client::connect(addr, 400);
    client.send(1, &create("/mine", b"", 1));
    assert_eq!(client.receive_code(), (1, 0));
    assert!(client.read_to_end().is_empty());
    let mut other = Client::connect(addr, 4000);
    other.send(1, &get("/mine"));
    assert_eq!(other.receive_code(), (1, ErrorCode::NoNode as i32));
}

#[test]
fn an_address_gets_no_more_connections_than_allowed() {
    let folder = tempdir().expect("a folder");
    let (_server, addr) = Server::standalone(folder.path(), "maxClientCnxns=2");
    let _first = Client::connect(addr, 10_000);
    let second = Client::connect(addr, 10_000);
    assert!(Client::dial(addr).read_to_end().is_empty());
    drop(second);
    // The place is free once the server has noticed.
    let ended = Instant::now() + PATIENCE;
    loop {
        let mut client = Client::dial(addr);
        let _ = client.stream.write_all(b"ruok");
        if client.read_to_end() == b"imok" {
            break;
        }
        assert!(Instant::now() < ended, "nobody is let in any more");
    }
}

#[test]
fn connections_closed_before_another_is_opened_do_not_count_against_it() {
    for limit in ["maxClientCnxns=1", "maxClientCnxns=0\nmaxCnxns=2"] {
        let folder = tempdir().expect("a folder");
        let (server, addr) = Server::standalone(folder.path(), limit);
        let first = Client::connect(addr, 10_000);
        // All this comes to the server at once, beginning with something to accept.
        kill_process(server.pid(), Signal::STOP).expect("it can be stopped");
        let _stranger = Client::dial_from([127, 0, 0, 2].into(), addr);
        drop(first);
        let mut second = Client::dial(addr);
        kill_process(server.pid(), Signal::CONT).expect("it goes on");
        assert_ne!(second.open_session(&new_session(10_000)).session_id, SessionId(0), "{limit}");
    }
}

#[test]
fn a_start_that_gets_by_with_damage_warns_of_it() {
    let folder = tempdir().expect("a folder");
    let (server, addr) = Server::standalone(folder.path(), "");
    let _client = Client::connect(addr, 10_000);
    server.kill();
    let snapshot = folder.path().join("data/snapshot.1");
    std::fs::write(&snapshot, b"no snapshot").expect("a file");
    let mut server = Server::start(folder.path(), "clientPort=0");
    let line = server.wait_for(snapshot.to_str().expect("text"));
    assert!(
        line.contains(" WARN ") && line.contains("goes without a snapshot. The log makes up for it"),
        "{line}"
    );
}

#[test]
fn four_letter_words_are_answered_on_the_client_port() {
    let folder = tempdir().expect("a folder");
    let (_server, addr) = Server::standalone(folder.path(), "");
    let _client = Client::connect(addr, 10_000);
    assert_eq!(ask_word(addr, "ruok"), "imok");
    assert_eq!(ask_word(addr, "isro"), "rw");
    assert!(ask_word(addr, "srvr").contains("\nMode: standalone\nNode count: "));
    assert!(ask_word(addr, "stat").contains("Clients:\n /127.0.0.1:"));
    assert!(ask_word(addr, "mntr").contains("zk_global_sessions\t1\n"));
    assert!(ask_word(addr, "conf").contains("\ntickTime="));
}

#[test]
fn clients_are_served_by_threads_of_their_own_if_the_configuration_says_so() {
    let folder = tempdir().expect("a folder");
    let (_server, addr) = Server::standalone(folder.path(), "clientThreads=2");
    let mut clients: Vec<Client> = (0..4).map(|_| Client::connect(addr, 10_000)).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        let path = format!("/{n}");
        client.send(1, &create(&path, b"", 0));
        client.send(2, &get(&path));
        assert_eq!(client.receive_code(), (1, 0));
        assert_eq!(client.receive_code(), (2, 0));
    }
}

/// Server 1 of three, the others of which are not there.
fn alone_of_three(folder: &std::path::Path) -> (Server, SocketAddr, SocketAddr) {
    std::fs::create_dir_all(folder.join("data")).expect("a folder");
    std::fs::write(folder.join("data/myid"), "1").expect("a file");
    let mut lines = String::from(
        "clientPort=0\nclientPortAddress=127.0.0.1\ninitLimit=5\nsyncLimit=5\npeerTimeoutMs=10000\n",
    );
    for id in 1..=3 {
        lines += &format!("server.{id}=127.0.0.1:{}:{}\n", free_port(), free_port());
    }
    let mut server = Server::start(folder, &lines);
    let election = server.addr_after("election port: ");
    let quorum = server.addr_after("quorum port: ");
    (server, election, quorum)
}

/// The frame of a `Hello`, written by hand: version, server id, and whom it expects.
fn hello(version: u8, server_id: u8, expected: u8) -> Vec<u8> {
    let mut frame = vec![0, 0, 0, 15, 0x08, version, 0x18, server_id, 0x21];
    frame.extend_from_slice(&[9; 8]);
    frame.extend_from_slice(&[0x28, expected]);
    frame
}

#[test]
fn strangers_on_the_ports_between_servers_are_shown_the_door() {
    let folder = tempdir().expect("a folder");
    let (mut server, election, quorum) = alone_of_three(folder.path());
    for addr in [election, quorum] {
        for garbage in [&[0xff; 100][..], b"GET / HTTP/1.1\r\n\r\n", &[0, 0, 0, 2, 0xff, 0xff]] {
            let mut stranger = Client::dial(addr);
            stranger.send_bytes(garbage);
            assert!(stranger.read_to_end().is_empty());
            server.wait_for("not a server of an ensemble");
        }
        for (hello, reason) in [
            (hello(1, 2, 1), "speaks version 1"),
            (hello(2, 9, 1), "server 9 is not in the server list"),
            (hello(2, 1, 1), "two servers have the same myid"),
            (hello(2, 2, 3), "server 3 was dialled, but server 1 answered"),
        ] {
            let mut wrong = Client::dial(addr);
            wrong.send_bytes(&hello);
            let answer = wrong.read_to_end();
            assert!(String::from_utf8_lossy(&answer).contains(reason), "{reason}: {answer:?}");
            server.wait_for(reason);
        }
    }
}

#[test]
fn a_server_is_greeted_and_a_second_one_with_its_id_and_other_data_is_not() {
    let folder = tempdir().expect("a folder");
    let (mut server, election, quorum) = alone_of_three(folder.path());
    let mut peer = Client::dial(election);
    peer.send_bytes(&hello(2, 2, 1));
    assert!(peer.receive_frame().is_some(), "server 2 is greeted");
    let mut impostor = hello(2, 2, 1);
    impostor[9] ^= 1;
    let mut second = Client::dial(quorum);
    // The first one counts as connected until it has been silent for too long.
    second.send_bytes(&impostor);
    assert!(String::from_utf8_lossy(&second.read_to_end()).contains("with another data directory"));
    server.wait_for("with another data directory");
    peer.send_bytes(&[0, 0, 0, 3, 0xff, 0xff, 0xff]);
    assert!(peer.read_to_end().is_empty(), "a malformed notification ends the connection");
}
