//! Properties of all decoders and encoders together.

use bytes::{Bytes, BytesMut};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::ids::{SessionId, Zxid};

/// A request that owns its text, so that proptest can make one.
#[derive(Clone, Debug)]
struct Words {
    path: String,
    more: Vec<String>,
    data: Option<Vec<u8>>,
    acl: Vec<Acl>,
    number: i32,
    zxid: u64,
    flag: bool,
}

fn acl() -> impl Strategy<Value = Vec<Acl>> {
    let entry = (any::<i32>(), any::<String>(), any::<String>());
    vec(entry.prop_map(|(perms, scheme, id)| Acl { perms, id: AuthId { scheme, id } }), 0..4)
}

fn words() -> impl Strategy<Value = Words> {
    let text = (any::<String>(), vec(any::<String>(), 0..4), option::of(vec(any::<u8>(), 0..64)), acl());
    (text, any::<i32>(), any::<u64>(), any::<bool>()).prop_map(
        |((path, more, data, acl), number, zxid, flag)| Words { path, more, data, acl, number, zxid, flag },
    )
}

impl Words {
    fn create(&self) -> Create<'_> {
        Create {
            path: &self.path,
            data: self.data.as_deref(),
            acl: self.acl.clone(),
            flags: self.number,
            op: if self.flag { CreateOp::Create2 } else { CreateOp::Create },
        }
    }

    /// One request of every kind.
    fn requests(&self) -> Vec<Request<'_>> {
        let (path, data, version, watch) = (self.path.as_str(), self.data.as_deref(), self.number, self.flag);
        let more: Vec<&str> = self.more.iter().map(String::as_str).collect();
        vec![
            Request::Create(self.create()),
            Request::Create(Create { op: CreateOp::Container, ..self.create() }),
            Request::Create(Create { op: CreateOp::Ttl { ttl_ms: version.into() }, ..self.create() }),
            Request::Delete { path, version },
            Request::Exists { path, watch },
            Request::GetData { path, watch },
            Request::SetData { path, data, version },
            Request::GetAcl { path },
            Request::SetAcl { path, acl: self.acl.clone(), version },
            Request::GetChildren { path, watch, with_stat: false },
            Request::GetChildren { path, watch, with_stat: true },
            Request::Sync { path: Some(path) },
            Request::Sync { path: None },
            Request::Check { path, version },
            Request::Multi(vec![
                MultiOp::Create(self.create()),
                MultiOp::Create(Create { op: CreateOp::Container, ..self.create() }),
                MultiOp::Create(Create { op: CreateOp::Ttl { ttl_ms: 5 }, flags: 5, ..self.create() }),
                MultiOp::Delete { path, version },
                MultiOp::SetData { path, data, version },
                MultiOp::Check { path, version },
                MultiOp::Create(Create { op: CreateOp::IfNotExists, flags: 0, ..self.create() }),
                MultiOp::Keeper(KeeperOp::CheckNotExists { path, version }),
                MultiOp::Keeper(KeeperOp::CheckStat { path, version, stat: self.stat() }),
                MultiOp::Keeper(KeeperOp::RemoveRecursive { path, znodes_max: version as u32 }),
                MultiOp::Unimplemented { op: 20 },
            ]),
            Request::Auth { scheme: path, auth: data.unwrap_or_default() },
            Request::Sasl { token: data.unwrap_or_default() },
            Request::SetWatches(SetWatches {
                relative_zxid: Zxid(self.zxid),
                data: more.clone(),
                child: more.clone(),
                ..SetWatches::default()
            }),
            Request::SetWatches(SetWatches {
                persistent: more,
                persistent_recursive: vec![path],
                ..SetWatches::default()
            }),
            Request::AddWatch { path, mode: AddWatchMode::PersistentRecursive },
            Request::Reconfig(Reconfig { members: None, ..self.reconfig() }),
            Request::Reconfig(Reconfig { joining: None, leaving: None, ..self.reconfig() }),
            Request::CheckWatches { path, watches: WatcherType::Data },
            Request::RemoveWatches { path, watches: WatcherType::Any },
            Request::MultiRead(vec![ReadOp::GetData { path }, ReadOp::GetChildren { path }]),
            Request::GetEphemerals { prefix: Some(path) },
            Request::GetEphemerals { prefix: None },
            Request::GetAllChildrenNumber { path },
            Request::WhoAmI,
            Request::Create(Create { op: CreateOp::IfNotExists, ..self.create() }),
            Request::FilteredList { path, watch, filter: ListFilter::Ephemeral },
            Request::Keeper(KeeperOp::CheckNotExists { path, version }),
            Request::Keeper(KeeperOp::CheckStat { path, version, stat: self.stat() }),
            Request::Keeper(KeeperOp::RemoveRecursive { path, znodes_max: version as u32 }),
            Request::Ping,
            Request::CloseSession,
            Request::Unimplemented { op: 20 },
        ]
    }

    fn reconfig(&self) -> Reconfig<'_> {
        let text = Some(self.path.as_str());
        Reconfig { joining: text, leaving: text, members: text, version: i64::from(self.number) << 33 }
    }

    fn stat(&self) -> Stat {
        Stat {
            czxid: Zxid(self.zxid),
            ctime_ms: i64::from(self.number) << 20,
            version: self.number,
            ephemeral_owner: SessionId(!self.zxid),
            num_children: 7,
            pzxid: Zxid(1),
            ..Stat::default()
        }
    }

    /// One response of every kind, with the operation it answers.
    fn responses(&self) -> Vec<(OpCode, Response)> {
        let (path, stat, children) = (self.path.clone(), self.stat(), self.more.clone());
        vec![
            (OpCode::Delete, Response::Empty),
            (OpCode::Create, Response::Create { path: path.clone() }),
            (OpCode::Create2, Response::Create2 { path: path.clone(), stat }),
            (OpCode::SetAcl, Response::Stat(stat)),
            (OpCode::Sync, Response::Sync { path: Some(path.clone()) }),
            (OpCode::GetData, Response::Data { data: self.data.clone().map(Bytes::from), stat }),
            (OpCode::Reconfig, Response::Data { data: self.data.clone().map(Bytes::from), stat }),
            (OpCode::GetAcl, Response::Acl { acl: self.acl.clone(), stat }),
            (OpCode::GetChildren, Response::Children { children: children.clone(), stat: None }),
            (OpCode::GetChildren2, Response::Children { children: children.clone(), stat: Some(stat) }),
            (OpCode::AddWatch, Response::WatchAdded),
            (OpCode::GetEphemerals, Response::Ephemerals(children.clone())),
            (OpCode::GetAllChildrenNumber, Response::AllChildrenNumber(self.number)),
            (OpCode::WhoAmI, Response::WhoAmI(vec![AuthId { scheme: path.clone(), id: path.clone() }])),
            (
                OpCode::MultiRead,
                Response::MultiRead(vec![
                    ReadResult::Data { data: self.data.clone().map(Bytes::from), stat },
                    ReadResult::Children(children),
                    ReadResult::Error(ErrorCode::NoNode),
                ]),
            ),
            (
                OpCode::Multi,
                Response::Multi(vec![
                    MultiResult::Create { path: path.clone() },
                    MultiResult::Create2 { path: path.clone(), stat },
                    MultiResult::Delete,
                    MultiResult::SetData(stat),
                    MultiResult::Check,
                    MultiResult::CreateIfNotExists { path: path.clone() },
                    MultiResult::Keeper(OpCode::CheckStat),
                    MultiResult::Keeper(OpCode::RemoveRecursive),
                    MultiResult::Error(ErrorCode::NodeExists),
                ]),
            ),
        ]
    }
}

/// The content of the only frame in `wire`.
fn only_frame(mut wire: BytesMut) -> Bytes {
    let content = next_frame(&mut wire, 1 << 20).unwrap().expect("a whole frame");
    assert!(wire.is_empty());
    content
}

/// The header of a reply, and what follows it.
fn split_reply(content: &Bytes) -> (ReplyHeader, Bytes) {
    let mut reader = Reader::new(content);
    let header = ReplyHeader::decode(&mut reader).unwrap();
    (header, content.slice_ref(reader.left()))
}

/// The most elements that room is ever made for when a vector grows to `count`.
fn capacity_max(count: usize) -> usize {
    (2 * count).max(4)
}

proptest! {
    #[test]
    fn a_request_survives_the_wire(words in words(), xid: i32) {
        for request in words.requests() {
            let mut wire = BytesMut::new();
            encode_request_frame(xid, &request, &mut wire);
            let content = only_frame(wire);
            let mut reader = Reader::new(&content);
            let header = RequestHeader::decode(&mut reader).unwrap();
            prop_assert_eq!(header.xid, xid);
            prop_assert_eq!(decode_request(header.op, reader.left()), Ok(request));
        }
    }

    #[test]
    fn a_response_survives_the_wire(words in words(), xid: i32) {
        for (op, response) in words.responses() {
            let mut wire = BytesMut::new();
            encode_reply(&mut wire, xid, Zxid(words.zxid), &response);
            let (header, body) = split_reply(&only_frame(wire));
            prop_assert_eq!(header, ReplyHeader { xid, zxid: Zxid(words.zxid), err: 0 });
            prop_assert_eq!(decode_response(op as i32, &body), Ok(response));
        }
    }

    #[test]
    fn a_reply_written_without_a_response_is_the_same(words in words(), xid: i32) {
        let (zxid, stat) = (Zxid(words.zxid), words.stat());
        for (op, response) in words.responses() {
            let mut direct = BytesMut::new();
            match &response {
                Response::Empty => encode_empty_reply(&mut direct, xid, zxid),
                Response::Data { data, stat } => encode_data_reply(&mut direct, xid, zxid, data.as_deref(), stat),
                Response::Stat(stat) => encode_stat_reply(&mut direct, xid, zxid, stat),
                Response::Acl { acl, .. } => encode_acl_reply(&mut direct, xid, zxid, acl, &stat),
                Response::Children { children, stat } => {
                    let names = children.iter().map(String::as_str);
                    encode_children_reply(&mut direct, xid, zxid, names, stat.as_ref());
                }
                _ => continue,
            }
            let mut through_response = BytesMut::new();
            encode_reply(&mut through_response, xid, zxid, &response);
            prop_assert_eq!(direct, through_response, "{:?}", op);
        }
    }

    #[test]
    fn an_event_survives_the_wire(path: String, zxid: u64) {
        for &kind in EventKind::ALL {
            let event = WatchEvent { kind, path: path.clone(), zxid: Zxid(zxid) };
            let mut wire = BytesMut::new();
            encode_event(&mut wire, &event);
            let (header, body) = split_reply(&only_frame(wire));
            prop_assert_eq!(header.xid, xid::NOTIFICATION);
            prop_assert_eq!(decode_event(header.zxid, &body), Ok(event));
        }
    }

    #[test]
    fn a_connect_request_and_response_survive_the_wire(
        numbers: (u64, i32, u64),
        password in vec(any::<u8>(), 0..20),
        read_only in option::of(any::<bool>()),
    ) {
        let (zxid, timeout_ms, session) = numbers;
        let (session_id, password) = (SessionId(session), Bytes::from(password));
        let response = ConnectResponse { timeout_ms, session_id, password: password.clone(), read_only };
        let mut wire = BytesMut::new();
        encode_connect_response(&response, &mut wire);
        prop_assert_eq!(decode_connect_response(&wire), Ok(response));

        let last_zxid_seen = Zxid(zxid);
        let request =
            ConnectRequest { protocol_version: 0, last_zxid_seen, timeout_ms, session_id, password, read_only };
        let mut wire = BytesMut::new();
        encode_connect_request(&request, &mut wire);
        prop_assert_eq!(decode_connect_request(&wire), Ok(request));
    }

    #[test]
    fn no_decoder_panics_or_makes_room_for_more_than_the_bytes_hold(
        op in prop_oneof![-12..30, 95..110, any::<i32>()],
        bytes in vec(prop_oneof![Just(0u8), Just(0xff), 0..20u8, any::<u8>()], 0..300),
    ) {
        match decode_request(op, &bytes) {
            Ok(Request::Multi(ops)) => prop_assert!(ops.capacity() <= capacity_max(bytes.len() / 9)),
            Ok(Request::SetAcl { acl, .. } | Request::Create(Create { acl, .. })) => {
                prop_assert!(acl.capacity() <= capacity_max(bytes.len() / 12));
            }
            Ok(Request::SetWatches(watches)) => {
                let SetWatches { data, exist, child, persistent, persistent_recursive, .. } = watches;
                let lists = [data, exist, child, persistent, persistent_recursive];
                let room: usize = lists.iter().map(Vec::capacity).sum();
                prop_assert!(room <= 16 + capacity_max(bytes.len() / 4));
            }
            Ok(Request::MultiRead(ops)) => prop_assert!(ops.capacity() <= capacity_max(bytes.len() / 9)),
            _ => {}
        }
        let bytes = Bytes::from(bytes);
        match decode_response(op, &bytes) {
            Ok(Response::Children { children, .. }) => {
                prop_assert!(children.capacity() <= capacity_max(bytes.len() / 4));
            }
            Ok(Response::Multi(results)) => prop_assert!(results.capacity() <= capacity_max(bytes.len() / 9)),
            Ok(Response::MultiRead(results)) => {
                prop_assert!(results.capacity() <= capacity_max(bytes.len() / 9));
            }
            Ok(Response::Ephemerals(paths)) => prop_assert!(paths.capacity() <= capacity_max(bytes.len() / 4)),
            Ok(Response::WhoAmI(users)) => prop_assert!(users.capacity() <= capacity_max(bytes.len() / 8)),
            _ => {}
        }
        let _ = decode_event(Zxid(0), &bytes);
        let _ = decode_connect_request(&bytes);
        let _ = decode_connect_response(&bytes);
        let _ = next_frame(&mut BytesMut::from(&bytes[..]), 100);
    }

    #[test]
    fn a_record_that_was_cut_short_is_an_error(words in words(), cut in any::<prop::sample::Index>()) {
        for request in words.requests() {
            let mut whole = BytesMut::new();
            encode_request(&request, &mut whole);
            if !whole.is_empty() && !matches!(request, Request::Multi(_) | Request::MultiRead(_)) {
                prop_assert!(decode_request(request.op(), &whole[..cut.index(whole.len())]).is_err());
            }
        }
    }
}

#[test]
fn in_a_multi_the_flags_of_a_create_count() {
    let made = |op, flags| {
        let create = Create { path: "/a", data: None, acl: Acl::open(), flags, op };
        let mut body = BytesMut::new();
        encode_request(&Request::Multi(vec![MultiOp::Create(create)]), &mut body);
        match decode_request(OpCode::Multi as i32, &body) {
            Ok(Request::Multi(ops)) => match &ops[..] {
                [MultiOp::Create(create)] => create.op,
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    };
    let ttl = CreateOp::Ttl { ttl_ms: 9 };
    assert_eq!(made(CreateOp::Create2, 4), CreateOp::Container);
    assert_eq!(made(CreateOp::Container, 0), CreateOp::Container);
    assert_eq!(made(CreateOp::Create2, 0), CreateOp::Create2);
    assert_eq!((made(ttl, 6), made(ttl, 4), made(ttl, 0)), (ttl, CreateOp::Container, CreateOp::Create));
    assert_eq!(made(ttl, 99), ttl, "refused where it stands");
}

#[test]
fn the_layout_is_that_of_zookeeper() {
    let mut wire = BytesMut::new();
    encode_request_frame(7, &Request::GetData { path: "/a", watch: true }, &mut wire);
    assert_eq!(&wire[..], [0, 0, 0, 15, 0, 0, 0, 7, 0, 0, 0, 4, 0, 0, 0, 2, b'/', b'a', 1]);

    let mut wire = BytesMut::new();
    encode_response(&Response::Multi(vec![MultiResult::Error(ErrorCode::NoNode)]), &mut wire);
    let no_node = [0xff, 0xff, 0xff, 0x9b];
    let minus_one = [0xff; 4];
    assert_eq!(wire, [&minus_one[..], &[0], &no_node, &no_node, &minus_one, &[1], &minus_one].concat()[..]);

    let mut wire = BytesMut::new();
    encode_error_reply(&mut wire, 1, Zxid(2), ErrorCode::NoNode);
    assert_eq!(&wire[..], [&[0, 0, 0, 16, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2][..], &no_node].concat());
}

#[test]
fn an_operation_that_is_not_offered_ends_the_list_of_a_multi() {
    let ops = vec![MultiOp::Unimplemented { op: 20 }, MultiOp::Check { path: "/a", version: 1 }];
    let mut wire = BytesMut::new();
    encode_request(&Request::Multi(ops.clone()), &mut wire);
    assert_eq!(decode_request(OpCode::Multi as i32, &wire), Ok(Request::Multi(ops[..1].to_vec())));
}
