//! Requests that mean something, from a few bytes of a script: mutated bytes are mostly refused by the decoder, and what
//! lies behind it is never reached.

use bytes::BytesMut;
use zabra::ids::{SessionId, Zxid};
use zabra::jute::{
    Acl, AddWatchMode, AuthId, ConnectRequest, Create, CreateOp, KeeperOp, ListFilter, MultiOp, ReadOp,
    Reconfig, Request, SetWatches, Stat, WatcherType, encode_connect_request, encode_request_frame, frame, xid,
};

use crate::script::Script;

/// Servers as a reconfiguration names them.
const SERVERS: [&str; 6] = [
    "",
    "server.2=127.0.0.1:2:3;4",
    "server.3=b:2:3:observer;4,server.4=c:2:3;;5",
    "server.1=127.0.0.1:2:3;4,server.2=127.0.0.1:5:6;7",
    "server.1=a:2:3;4\nserver.2=b:2:3;4\nserver.3=c:2:3;4\ngroup.1=1:2:3\nweight.1=2",
    "server.x=a:2",
];

/// Few, so that requests meet.
const PATHS: [&str; 19] = [
    "/",
    "/a",
    "/a/b",
    "/a/b/c",
    "/a/d",
    "/b",
    "/b/n-",
    "/a/n-",
    "/c",
    "/zookeeper",
    "/zookeeper/quota",
    "/zookeeper/config",
    "/zookeeper/quota/a",
    "/zookeeper/quota/a/zookeeper_limits",
    "/zookeeper/quota/b/zookeeper_stats",
    "",
    "/a/",
    "a",
    "/b/n-0000000000",
];

const ACLS: [(i32, &str, &str); 8] = [
    (31, "world", "anyone"),
    (1, "world", "anyone"),
    (31, "auth", ""),
    (31, "digest", "u:cJ9ztdcWLTHV/fQJG7p2a9Vgcjk="),
    (30, "ip", "10.0.0.0/8"),
    (31, "ip", "::1/64"),
    (31, "sasl", "nobody"),
    (-1, "digest", "a:b:c"),
];

/// The frame of a request for a session, a new one or `session`.
pub fn connect(script: &mut Script<'_>, session: Option<&(SessionId, bytes::Bytes)>) -> BytesMut {
    let flags = script.byte();
    let (session_id, password) = session.cloned().unwrap_or((SessionId(0), vec![0; 16].into()));
    let request = ConnectRequest {
        protocol_version: 0,
        last_zxid_seen: Zxid(u64::from(flags & 1)),
        timeout_ms: i32::from(flags >> 2) * 100,
        session_id,
        password,
        read_only: (flags & 2 != 0).then_some(false),
    };
    let mut out = BytesMut::new();
    frame(&mut out, |out| encode_connect_request(&request, out));
    out
}

/// The frame of a request.
pub fn request(script: &mut Script<'_>) -> BytesMut {
    let number = i32::from(script.byte());
    let kind = script.byte();
    let path = PATHS[script.below(PATHS.len())];
    let watch = kind & 0x80 != 0;
    let mut number = number;
    let request = match kind % 27 {
        0 | 1 => Request::Create(create(script, path)),
        2 => Request::Delete { path, version: version(script) },
        3 => Request::Exists { path, watch },
        4 => Request::GetData { path, watch },
        5 => Request::SetData { path, data: data(script), version: version(script) },
        6 => Request::GetAcl { path },
        7 => Request::SetAcl { path, acl: acl(script), version: version(script) },
        8 => Request::GetChildren { path, watch, with_stat: script.byte() & 1 != 0 },
        9 => Request::Sync { path: Some(path) },
        10 | 11 => Request::Multi((0..script.below(5)).map(|_| multi_op(script)).collect()),
        12 => {
            number = xid::AUTH;
            Request::Auth { scheme: ["digest", "ip", "x"][script.below(3)], auth: script.bytes() }
        }
        13 => {
            number = xid::SET_WATCHES;
            let relative_zxid = Zxid(script.byte().into());
            Request::SetWatches(SetWatches {
                relative_zxid,
                data: vec![path],
                exist: vec![path, "/c"],
                child: vec![path],
                persistent: vec!["/c"; usize::from(watch)],
                persistent_recursive: vec![path; usize::from(watch)],
            })
        }
        14 => Request::CloseSession,
        15 => Request::AddWatch { path, mode: AddWatchMode::ALL[script.below(2)] },
        16 => Request::CheckWatches { path, watches: WatcherType::ALL[script.below(5)] },
        17 => Request::RemoveWatches { path, watches: WatcherType::ALL[script.below(5)] },
        18 => Request::MultiRead((0..script.below(5)).map(|_| read_op(script)).collect()),
        19 => Request::GetEphemerals { prefix: Some(path).filter(|_| watch) },
        20 => Request::GetAllChildrenNumber { path },
        21 => Request::WhoAmI,
        22 => Request::FilteredList { path, watch, filter: ListFilter::ALL[script.below(3)] },
        23 | 24 => Request::Keeper(keeper_op(script, path)),
        25 => Request::Check { path, version: version(script) },
        _ => Request::Reconfig(reconfig(script, watch)),
    };
    let mut out = BytesMut::new();
    encode_request_frame(number, &request, &mut out);
    out
}

/// Servers come and go, or are told all at once.
fn reconfig<'a>(script: &mut Script<'a>, is_whole: bool) -> Reconfig<'a> {
    let text = Some(SERVERS[script.below(SERVERS.len())]);
    let leaving = Some(["", "1", "2,3", "9", "x"][script.below(5)]);
    let version = i64::from(version(script));
    match is_whole {
        true => Reconfig { joining: None, leaving: None, members: text, version },
        false => Reconfig { joining: text, leaving, members: None, version },
    }
}

fn multi_op<'a>(script: &mut Script<'a>) -> MultiOp<'a> {
    let kind = script.byte();
    let path = PATHS[script.below(PATHS.len())];
    match kind % 5 {
        4 => MultiOp::Keeper(keeper_op(script, path)),
        0 => MultiOp::Create(create(script, path)),
        1 => MultiOp::Delete { path, version: version(script) },
        2 => MultiOp::SetData { path, data: data(script), version: version(script) },
        _ => MultiOp::Check { path, version: version(script) },
    }
}

fn keeper_op<'a>(script: &mut Script<'a>, path: &'a str) -> KeeperOp<'a> {
    let number = script.byte();
    match number % 3 {
        0 => KeeperOp::CheckNotExists { path, version: version(script) },
        1 => KeeperOp::CheckStat { path, version: version(script), stat: Stat::default() },
        _ => KeeperOp::RemoveRecursive { path, znodes_max: (number / 3).into() },
    }
}

fn read_op<'a>(script: &mut Script<'a>) -> ReadOp<'a> {
    let (kind, path) = (script.byte(), PATHS[script.below(PATHS.len())]);
    match kind & 1 {
        0 => ReadOp::GetData { path },
        _ => ReadOp::GetChildren { path },
    }
}

fn create<'a>(script: &mut Script<'a>, path: &'a str) -> Create<'a> {
    let flags = i32::from(script.byte() % 8);
    let op = match script.byte() % 8 {
        0 => CreateOp::Container,
        1 => CreateOp::Ttl { ttl_ms: i64::from(script.byte()) - 1 },
        2..5 => CreateOp::Create2,
        5 => CreateOp::IfNotExists,
        _ => CreateOp::Create,
    };
    Create { path, data: data(script), acl: acl(script), flags, op }
}

fn data<'a>(script: &mut Script<'a>) -> Option<&'a [u8]> {
    match script.byte() % 5 {
        0 => None,
        1 => Some(b""),
        2 => Some(b"some"),
        // A quota, where there is one.
        3 => Some(b"count=2,bytes=10,countHardLimit=3,byteHardLimit=20"),
        _ => Some(script.bytes()),
    }
}

fn acl(script: &mut Script<'_>) -> Vec<Acl> {
    let which = script.byte();
    let entry = |which: u8| {
        let (perms, scheme, id) = ACLS[usize::from(which) % ACLS.len()];
        Acl { perms, id: AuthId { scheme: scheme.to_owned(), id: id.to_owned() } }
    };
    match which {
        0..128 => vec![entry(0)],
        128..192 => vec![entry(which)],
        192..240 => vec![entry(which), entry(which >> 3)],
        _ => Vec::new(),
    }
}

fn version(script: &mut Script<'_>) -> i32 {
    match script.byte() {
        version @ 0..8 => i32::from(version),
        8 => i32::MAX,
        9 => i32::MIN,
        _ => -1,
    }
}
