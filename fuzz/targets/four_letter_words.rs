//! The first bytes of a connection: a four-letter word or a frame, never both; and each word's answer, whatever the
//! server's numbers and clients are. What a tool reads line by line stays lines.

#![no_main]

use std::net::SocketAddr;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use zabra::admin::{ClientLine, ClientSession, Lists, Mode, Stats, View, Word, answer};
use zabra::config::{Format, Source, parse_text};
use zabra::ids::{ConnId, SessionId, Tick, Version, Zxid};
use zabra::replica::State;
use zabra::session::Expiry;
use zabra::watch::{WatchKind, Watches};
use zabra_fuzz::memory::{Bound, bounded};

/// A client is one line of `stat`; the constant is the settings, which `conf` writes out.
const BOUND: Bound = Bound { constant_bytes: 256 << 10, factor: 128 };

type Numbers = (u64, u64, usize, u64, u32);

fuzz_target!(|data: ([u8; 4], u8, Numbers, Vec<(u32, u16, u64)>, &str)| {
    let (head, mode, numbers, clients, whitelist) = data;
    let input_bytes = 64 + whitelist.len() + 14 * clients.len();
    bounded(BOUND, input_bytes, || judge(head, mode, numbers, whitelist, &clients));
});

fn judge(head: [u8; 4], mode: u8, numbers: Numbers, whitelist: &str, clients: &[(u32, u16, u64)]) {
    let Some(word) = Word::parse(head) else { return };
    assert!(i32::from_be_bytes(head) > 64 << 20, "a word is no length of a frame that would be taken");
    let text = format!("dataDir=/nonexistent\nclientPort=2181\n4lw.commands.whitelist={whitelist}\n");
    let source =
        Source { name: "zoo.cfg", text: &text, format: Format::Properties, myid: None, strict: false };
    let Ok(loaded) = parse_text(&source) else { return };
    let (zxid, digest, count, bytes, _) = numbers;
    let stats = counted(numbers);
    let clients: Vec<ClientLine> = clients
        .iter()
        .map(|(ip, port, packets)| ClientLine {
            peer: SocketAddr::from((ip.to_be_bytes(), *port)),
            queued: *packets,
            received: *packets,
            sent: *packets,
            session: (packets % 2 == 0).then(|| session(*packets)),
        })
        .collect();
    let lists = Listed::new(&clients);
    let mode = match mode % 6 {
        0 => Mode::Looking,
        1 => Mode::Standalone,
        2 => Mode::Follower,
        3 => Mode::Observer,
        4 => Mode::ReadOnly,
        _ => Mode::Leader { learners: count, followers: count / 2, observers: count / 4, non_voting: count / 8 },
    };
    let view = View {
        settings: &loaded.settings,
        membership: &loaded.settings.membership(),
        stats: &stats,
        mode,
        fed_observers: 1,
        last_zxid: Zxid(zxid),
        digest,
        nodes: count,
        ephemerals: count,
        watches: count,
        sessions: count,
        local_sessions: count,
        sessions_expired: zxid,
        digest_mismatches: bytes,
        data_bytes: bytes,
        may_vote: count.is_multiple_of(2),
        voters_without_vote: count,
        voters_unheard: count,
        data_version: Version::OLDEST,
        ensemble_version: Version::NEWEST,
        quotas: &[],
        damaged_sets: count,
        folder_bytes: [bytes, zxid],
        clients: &clients,
        lists: Lists {
            state: &lists.state,
            watches: &lists.watches,
            expiry: (zxid % 2 == 0).then_some((&lists.expiry, Tick(bytes))),
            local_expiry: (zxid % 3 == 0).then_some((&lists.expiry, Tick(bytes))),
            digests: &|| vec![(Zxid(zxid), digest)],
            session_of: &|conn: ConnId| (conn.0 % 3 > 0).then_some(SessionId(conn.0.into())),
        },
    };
    let argument = zxid.to_be_bytes();
    let text = answer(word, &argument[..word.argument_bytes()], &view);
    assert!(!text.is_empty() && !text.contains('\0'));
    judge_lines(head, &text, clients.len());
}

fn counted((_, digest, count, _, latency_ms): Numbers) -> Stats {
    let stats = Stats::default();
    stats.count_received(digest >> 8);
    stats.count_reads(1, Duration::from_millis(latency_ms.into()));
    stats.count_update(Duration::from_micros(latency_ms.into()));
    stats.count_response(count >> 2);
    stats.count_proposal(count >> 1);
    stats
}

/// What a tool takes apart is in the form it expects.
fn judge_lines(head: [u8; 4], text: &str, clients: usize) {
    if head == *b"mntr" && text.starts_with("zk_") {
        assert!(text.lines().all(|line| {
            line.split_once('\t').is_some_and(|(key, value)| key.starts_with("zk_") && !value.is_empty())
        }));
    }
    if head == *b"stat" && text.starts_with("Zookeeper") {
        assert_eq!(text.lines().filter(|line| line.starts_with(" /")).count(), clients);
    }
}

fn session(number: u64) -> ClientSession {
    ClientSession {
        id: SessionId(number),
        timeout_ms: number as u32,
        established_ms: number as i64,
        last_op: (number % 120) as i32,
        last_xid: number as i32,
        last_zxid: Zxid(number),
        last_response_ms: number as i64,
        latency_ms: [number; 4],
        left_ms: number,
    }
}

/// What can be listed: a session and a watch for each client.
struct Listed {
    state: State,
    watches: Watches,
    expiry: Expiry,
}

impl Listed {
    fn new(clients: &[ClientLine]) -> Listed {
        let mut listed = Listed { state: State::new(1), watches: Watches::new(1), expiry: Expiry::new(100) };
        for (number, client) in clients.iter().enumerate() {
            let (id, timeout_ms) = (SessionId(number as u64 + 1), client.received as u32);
            listed.state.sessions.create(id, timeout_ms, [1; 16], 1);
            listed.expiry.track(id, timeout_ms, Tick(1));
            let kind = WatchKind::ALL[number % WatchKind::ALL.len()];
            listed.watches.add(kind, &format!("/{}", client.queued % 7), ConnId(number as u32));
        }
        listed
    }
}
