//! Frames of several clients, dispatched into a standalone server in memory: real traffic, requests made of a few bytes,
//! and anything. Connections come and go, time passes, the disk is late. Afterwards nothing is left of the clients, the
//! server still serves, and its state is what its digest, its snapshot and its log say.

#![no_main]

use libfuzzer_sys::fuzz_target;
use zabra::ids::ConnId;
use zabra::replica::Output;
use zabra_fuzz::client::Clients;
use zabra_fuzz::memory::{Bound, bounded};
use zabra_fuzz::requests;
use zabra_fuzz::script::Script;
use zabra_fuzz::server::Server;

/// A step of one byte can make a znode, a watch, a session: with everything that a server keeps of it, and the log in
/// memory. The constant is an empty server with its tree, log and snapshots.
const BOUND: Bound = Bound { constant_bytes: 2 << 20, factor: 512 };

const CONNECTIONS_MAX: usize = 8;

fuzz_target!(|data: &[u8]| bounded(BOUND, data.len(), || run(Script::new(data))));

fn run(mut script: Script<'_>) {
    let mut server = Server::new(1, 1);
    server.until_it_serves();
    let mut clients = Clients::default();
    while !script.is_done() {
        step(&mut script, &mut server, &mut clients);
        hear(&mut server, &mut clients);
    }
    server.settle();
    hear(&mut server, &mut clients);
    check_that_it_serves(&mut server, &mut clients);
    for id in clients.ids() {
        clients.close(&mut server, id);
    }
    settle(&mut server, &mut clients);
    let status = server.replica.status();
    assert_eq!((status.connections, status.watches, status.outstanding), (0, 0, 0), "nobody is connected");
    server.check_state();
    server.check_restart();
    server.forget_clients();
    hear(&mut server, &mut clients);
    let status = server.replica.status();
    assert_eq!((status.sessions, status.ephemerals), (0, 0), "no client was heard of for long");
    server.check_state();
}

fn step(script: &mut Script<'_>, server: &mut Server, clients: &mut Clients) {
    let action = script.byte();
    let ids = clients.ids();
    let conn: Option<ConnId> = ids.get(usize::from(action >> 4) % ids.len().max(1)).copied();
    match (action % 16, conn) {
        (0 | 1, Some(conn)) => clients.receive(server, conn, script.bytes()),
        (2..=7, Some(conn)) => {
            let frame = requests::request(script);
            clients.receive(server, conn, &frame);
        }
        (8, Some(conn)) => clients.close(server, conn),
        (9, _) => server.tick(u64::from(script.byte()) * 4),
        (10, _) => server.do_disk(usize::from(script.byte() % 4)),
        (11, _) => server.flush(),
        (12, _) => server.settle(),
        (_, conn) if ids.len() < CONNECTIONS_MAX => {
            let new = clients.open();
            let sessions = clients.sessions.len();
            let session = match conn {
                Some(_) if action % 16 == 13 => sessions.checked_sub(1 + script.below(sessions.max(1))),
                _ => None,
            };
            if action % 16 != 14 {
                let session = session.map(|index| clients.sessions[index].clone());
                let frame = requests::connect(script, session.as_ref());
                clients.receive(server, new, &frame);
            }
        }
        _ => {}
    }
}

/// Until nothing is left to do.
fn settle(server: &mut Server, clients: &mut Clients) {
    loop {
        server.settle();
        hear(server, clients);
        if server.disk_is_idle() && server.replica.status().outstanding == 0 {
            return;
        }
        server.flush();
        // The zxids of an epoch may be used up: then it elects itself again.
        server.tick(zabra_fuzz::server::HEARTBEAT_MS);
    }
}

fn hear(server: &mut Server, clients: &mut Clients) {
    for output in clients.hear(server) {
        assert!(
            matches!(output, Output::Role(_) | Output::Follow(_)),
            "a server alone talks to nobody: {output:?}"
        );
    }
    assert_eq!(server.halted, None, "no client stops a server");
}

/// A new client gets a session, and what it asks for.
fn check_that_it_serves(server: &mut Server, clients: &mut Clients) {
    let sessions = clients.sessions.len();
    let conn = clients.open();
    let mut greeting = Script::new(&[0xf0]);
    let frame = requests::connect(&mut greeting, None);
    clients.receive(server, conn, &frame);
    settle(server, clients);
    server.until_it_serves();
    settle(server, clients);
    assert_eq!(clients.sessions.len(), sessions + 1, "a new client gets a session");
    let zxid = server.replica.state().zxid();
    // create /c, or find it there; set its data; both are answered.
    for bytes in [[1, 0, 8, 0, 0, 2, 0], [2, 5, 8, 2, 10, 0, 0]] {
        let frame = requests::request(&mut Script::new(&bytes));
        clients.receive(server, conn, &frame);
        settle(server, clients);
    }
    assert!(server.replica.state().zxid() > zxid, "something is written");
    clients.close(server, conn);
}
