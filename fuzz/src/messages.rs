//! Messages between servers that mean something, from a few bytes of a script: their zxids and epochs lie near those that
//! the server under test has.

use bytes::Bytes;
use prost::Message as _;
use zabra::ids::{Epoch, ServerId, SessionId, Zxid};
use zabra::replica::{Answer, ForwardedRequest, PeerMessage, Standing, Status};
use zabra::txn::{CloseSession, Create, CreateSession, ErrorTxn, Op, Ops, Txn, op, txn::Body};
use zabra::zab::{HistorySummary, Message, Notification, PeerState, Proposal, Vote};

use crate::requests;
use crate::script::Script;

/// A message of a link.
pub fn message(script: &mut Script<'_>, status: &Status) -> PeerMessage {
    let kind = script.byte();
    let flag = kind & 0x80 != 0;
    PeerMessage::Zab(match kind % 20 {
        0 => Message::FollowerInfo { accepted_epoch: epoch(script, status), may_vote: flag },
        1 => Message::LeaderInfo { epoch: epoch(script, status) },
        2 => Message::AckEpoch {
            promised: flag,
            current_epoch: epoch(script, status),
            history: HistorySummary {
                epoch_ends: (0..script.below(4)).map(|_| zxid(script, status)).collect(),
                floor: zxid(script, status),
            },
        },
        3 => Message::Sync {
            truncate_to: flag.then(|| zxid(script, status)),
            snapshot_zxid: (script.byte() & 1 != 0).then(|| zxid(script, status)),
        },
        4 => Message::SnapshotChunk { data: Bytes::copy_from_slice(script.bytes()), last: flag },
        5..=7 => proposals(script, status),
        8 => Message::NewLeader {
            epoch: epoch(script, status),
            ensemble_id: 77 + u64::from(script.byte() % 4),
        },
        9 if flag => Message::Fed,
        9 => Message::AckNewLeader { epoch: epoch(script, status) },
        10 if flag => Message::Subscribe { epoch: epoch(script, status), after: zxid(script, status) },
        10 => Message::UpToDate { committed: zxid(script, status) },
        11 => Message::Ack { through: zxid(script, status) },
        12 if flag => Message::Unfed { after: zxid(script, status) },
        12 => Message::Commit { through: zxid(script, status) },
        13 if flag => Message::Feeding,
        13 => Message::Ping {
            sequence: script.byte().into(),
            quorum_age_ms: script.byte().into(),
            committed: zxid(script, status),
        },
        14 if flag => Message::HandOver { to: ServerId(script.byte() % 4), last_zxid: zxid(script, status) },
        14 => Message::Pong { sequence: script.byte().into() },
        15 | 16 => return PeerMessage::Requests((0..=script.below(3)).map(|_| request(script)).collect()),
        17 => return PeerMessage::Answers((0..=script.below(3)).map(|_| answer(script, status)).collect()),
        18 => return PeerMessage::Touched((0..script.below(3)).map(|_| session(script)).collect()),
        _ => return PeerMessage::TreeDigest { zxid: zxid(script, status), digest: script.byte().into() },
    })
}

/// What a server says in an election.
pub fn notification(script: &mut Script<'_>, status: &Status) -> Notification {
    let flags = script.byte();
    Notification {
        state: [PeerState::Looking, PeerState::Following, PeerState::Leading][usize::from(flags & 3) % 3],
        round: if flags & 4 != 0 { u64::MAX >> script.below(4) } else { script.byte().into() },
        vote: Vote {
            current_epoch: epoch(script, status),
            last_zxid: zxid(script, status),
            server_id: ServerId(script.byte() % 5),
        },
        may_vote: flags & 8 != 0,
        voter: flags & 64 == 0,
        receiver_votes: flags & 128 != 0,
        config: if flags & 192 == 192 { zxid(script, status) } else { Zxid::ZERO },
        abstains: flags & 16 != 0,
        empty: flags & 32 != 0,
        epoch: epoch(script, status),
    }
}

fn epoch(script: &mut Script<'_>, status: &Status) -> Epoch {
    match script.offset() {
        127 => Epoch(u32::MAX),
        -128 => Epoch(0),
        offset => Epoch(status.accepted_epoch.0.wrapping_add((offset % 4) as u32)),
    }
}

fn zxid(script: &mut Script<'_>, status: &Status) -> Zxid {
    let last = status.last_logged;
    match script.byte() {
        0..32 => last,
        32..48 => status.zxid,
        48 => Zxid(u64::MAX),
        49 => Zxid::ZERO,
        50..80 => Zxid::new(status.accepted_epoch, u32::from(script.byte() % 4)),
        80..192 => Zxid(last.0.wrapping_add(script.offset() as u64)),
        _ => Zxid::new(Epoch(last.epoch().0.wrapping_add(script.offset() as u32)), u32::from(script.byte())),
    }
}

fn proposals(script: &mut Script<'_>, status: &Status) -> Message {
    let previous = zxid(script, status);
    let mut last = previous;
    let count = 1 + script.below(4);
    let proposals: Vec<Proposal> = (0..count)
        .map(|_| {
            let which = script.byte();
            last = match which {
                0..200 => last.next().unwrap_or(last),
                200..240 => Zxid::new(status.accepted_epoch, 1),
                _ => zxid(script, status),
            };
            Proposal { zxid: last, txn: txn(script) }
        })
        .collect();
    let committed = if script.byte() & 1 != 0 { last } else { zxid(script, status) };
    Message::Proposals { previous, proposals, committed }
}

fn txn(script: &mut Script<'_>) -> Bytes {
    let which = script.byte();
    let body = match which % 8 {
        0 => return Bytes::copy_from_slice(script.bytes()),
        1 => Body::CreateSession(CreateSession {
            timeout_ms: 1000,
            password: vec![1; 16 - script.below(2)].into(),
            ..CreateSession::default()
        }),
        2 => Body::CloseSession(CloseSession::default()),
        3 => Body::Ops(Ops { ops: Vec::new() }),
        4 => Body::Error(ErrorTxn {
            code: -(script.byte() as i32),
            failed_op: (which & 16 != 0).then_some(u32::from(which >> 5)),
        }),
        _ => {
            let path = ["/a", "/b", "/a/b", "/", "", "a"][script.below(6)].to_owned();
            let create = Create { path, data: Some(vec![which; 3].into()), ..Create::default() };
            Body::Ops(Ops { ops: vec![Op { op: Some(op::Op::Create(create)) }] })
        }
    };
    let txn = Txn {
        session_id: session(script).0,
        origin: u32::from(which >> 6),
        request_id: script.byte().into(),
        generation: script.byte().into(),
        body: Some(body),
        ..Txn::default()
    };
    txn.encode_to_vec().into()
}

fn session(script: &mut Script<'_>) -> SessionId {
    SessionId(u64::from(script.byte() % 6))
}

fn request(script: &mut Script<'_>) -> ForwardedRequest {
    // What stands behind the length of the frame: the client's number, the operation, the body.
    let mut frame = requests::request(script).freeze().slice(4..);
    let header = frame.split_to(8);
    let op = i32::from_be_bytes([header[4], header[5], header[6], header[7]]);
    let (op, body) = match script.byte() {
        0..160 => (op, frame),
        // A new session: its timeout and password. To go on with one: its password.
        160..210 => (-10, [&[0, 0, 8, 0][..], &[1; 16]].concat().into()),
        210..230 => (-12, vec![1; 16].into()),
        _ => (i32::from(script.short() as i16), frame),
    };
    ForwardedRequest {
        request_id: script.byte().into(),
        session_id: session(script),
        generation: if script.byte() == 255 { u64::MAX } else { u64::from(script.byte()) << 32 },
        xid: 1,
        op,
        body,
        auth: [].into(),
        standing: match script.below(8) {
            0 => Standing::Local,
            1 => Standing::Upgrade([&[0, 0, 8, 0][..], &[1; 16]].concat().into()),
            2 => Standing::Upgrade([1; 3][..].into()),
            3 => Standing::Upgraded,
            _ => Standing::Global,
        },
    }
}

fn answer(script: &mut Script<'_>, status: &Status) -> Answer {
    Answer { request_id: script.byte().into(), after: zxid(script, status), moved: script.below(4) == 0 }
}
