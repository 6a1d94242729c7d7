use proptest::collection::vec;
use proptest::prelude::*;

use bytes::BytesMut;

use super::*;
use crate::jute::next_frame;

fn zxid() -> impl Strategy<Value = Zxid> {
    any::<u64>().prop_map(Zxid)
}

fn epoch() -> impl Strategy<Value = Epoch> {
    any::<u32>().prop_map(Epoch)
}

fn data() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}

fn discovery() -> impl Strategy<Value = Message> {
    prop_oneof![
        (epoch(), any::<bool>())
            .prop_map(|(accepted_epoch, may_vote)| Message::FollowerInfo { accepted_epoch, may_vote }),
        epoch().prop_map(|epoch| Message::LeaderInfo { epoch }),
        (any::<bool>(), epoch(), vec(zxid(), 0..4), zxid()).prop_map(
            |(promised, current_epoch, epoch_ends, floor)| Message::AckEpoch {
                promised,
                current_epoch,
                history: HistorySummary { epoch_ends, floor },
            }
        ),
        (proptest::option::of(zxid()), proptest::option::of(zxid()))
            .prop_map(|(truncate_to, snapshot_zxid)| Message::Sync { truncate_to, snapshot_zxid }),
        (data(), any::<bool>()).prop_map(|(data, last)| Message::SnapshotChunk { data, last }),
        (epoch(), any::<u64>()).prop_map(|(epoch, ensemble_id)| Message::NewLeader { epoch, ensemble_id }),
        epoch().prop_map(|epoch| Message::AckNewLeader { epoch }),
        zxid().prop_map(|committed| Message::UpToDate { committed }),
    ]
}

fn broadcast() -> impl Strategy<Value = Message> {
    let proposal = (zxid(), data()).prop_map(|(zxid, txn)| Proposal { zxid, txn });
    prop_oneof![
        (zxid(), vec(proposal, 0..4)).prop_map(|(previous, proposals)| {
            // More than the last one a receiver of the frame cannot have: see `encode_proposals`.
            let committed = proposals.last().map_or(previous, |proposal| proposal.zxid);
            Message::Proposals { previous, proposals, committed }
        }),
        zxid().prop_map(|through| Message::Ack { through }),
        zxid().prop_map(|through| Message::Commit { through }),
        (any::<u64>(), any::<u32>(), zxid()).prop_map(|(sequence, quorum_age_ms, committed)| Message::Ping {
            sequence,
            quorum_age_ms,
            committed
        }),
        any::<u64>().prop_map(|sequence| Message::Pong { sequence }),
        (any::<u8>(), zxid()).prop_map(|(to, last_zxid)| Message::HandOver { to: ServerId(to), last_zxid }),
        (epoch(), zxid()).prop_map(|(epoch, after)| Message::Subscribe { epoch, after }),
        Just(Message::Feeding),
        Just(Message::Fed),
        zxid().prop_map(|after| Message::Unfed { after }),
    ]
}

fn request() -> impl Strategy<Value = ForwardedRequest> {
    let id = (".{0,5}", ".{0,5}").prop_map(|(scheme, id)| AuthId { scheme, id });
    let numbers = (any::<u64>(), any::<u64>(), any::<u64>(), any::<i32>(), any::<i32>());
    let standing = prop_oneof![
        Just(Standing::Global),
        Just(Standing::Local),
        Just(Standing::Upgraded),
        vec(any::<u8>(), 20).prop_map(|terms| Standing::Upgrade(terms.into())),
    ];
    (numbers, data(), vec(id, 0..3), standing).prop_map(
        |((request_id, session_id, generation, xid, op), body, auth, standing)| ForwardedRequest {
            request_id,
            session_id: SessionId(session_id),
            generation,
            xid,
            op,
            body,
            auth: auth.into(),
            standing,
        },
    )
}

fn reply() -> impl Strategy<Value = Answer> {
    (any::<u64>(), zxid(), any::<bool>()).prop_map(|(request_id, after, moved)| Answer {
        request_id,
        after,
        moved,
    })
}

fn message() -> impl Strategy<Value = PeerMessage> {
    prop_oneof![
        discovery().prop_map(PeerMessage::Zab),
        broadcast().prop_map(PeerMessage::Zab),
        vec(request(), 0..4).prop_map(PeerMessage::Requests),
        vec(reply(), 0..4).prop_map(PeerMessage::Answers),
        vec(any::<u64>().prop_map(SessionId), 0..4).prop_map(PeerMessage::Touched),
        (zxid(), any::<u64>()).prop_map(|(zxid, digest)| PeerMessage::TreeDigest { zxid, digest }),
    ]
}

fn notification() -> impl Strategy<Value = Notification> {
    let state = proptest::sample::select(vec![PeerState::Looking, PeerState::Following, PeerState::Leading]);
    let vote = (epoch(), zxid(), any::<u8>()).prop_map(|(current_epoch, last_zxid, id)| Vote {
        current_epoch,
        last_zxid,
        server_id: ServerId(id),
    });
    let flags = any::<[bool; 5]>();
    (state, any::<u64>(), vote, flags, zxid(), epoch()).prop_map(
        |(state, round, vote, [may_vote, voter, receiver_votes, abstains, empty], config, epoch)| {
            Notification {
                state,
                round,
                vote,
                may_vote,
                voter,
                receiver_votes,
                config,
                abstains,
                empty,
                epoch,
            }
        },
    )
}

/// The frames of what was encoded, without their lengths.
fn frames(wire: Vec<u8>) -> Vec<Bytes> {
    let mut wire = BytesMut::from(&wire[..]);
    let mut frames = Vec::new();
    while let Some(frame) = next_frame(&mut wire, LIST_BYTES_MAX + (2 << 20)).expect("within the bound") {
        frames.push(frame);
    }
    assert!(wire.is_empty());
    frames
}

proptest! {
    #[test]
    fn a_message_survives_the_wire(message in message()) {
        let mut wire = Vec::new();
        encode(message.clone(), &mut wire);
        let frames = frames(wire);
        prop_assert_eq!(frames.len(), 1);
        prop_assert_eq!(decode(frames[0].clone()), Ok(message));
        prop_assert!(decode_notification(frames[0].clone()).is_err());
    }

    #[test]
    fn a_notification_survives_the_wire(notification in notification()) {
        let mut wire = Vec::new();
        encode_notification(&notification, &mut wire);
        let frames = frames(wire);
        prop_assert_eq!(decode_notification(frames[0].clone()), Ok(notification));
        prop_assert_eq!(decode(frames[0].clone()), Err(CodecError::WrongPort));
    }

    #[test]
    fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..200)) {
        let bytes = Bytes::from(bytes);
        let _ = decode(bytes.clone());
        let _ = decode_notification(bytes.clone());
        let _ = decode_hello(bytes);
    }

    #[test]
    fn a_damaged_message_never_panics(message in message(), at in any::<usize>(), byte in any::<u8>()) {
        let mut wire = Vec::new();
        encode(message, &mut wire);
        let mut frame = wire[LENGTH_BYTES..].to_vec();
        if !frame.is_empty() {
            let at = at % frame.len();
            frame[at] = byte;
            let _ = decode(Bytes::from(frame.clone()));
            frame.truncate(at);
            let _ = decode(Bytes::from(frame));
        }
    }
}

#[test]
fn a_long_list_of_proposals_travels_in_several_frames_that_fit_together() {
    let proposals: Vec<Proposal> =
        (1..=10).map(|zxid| Proposal { zxid: Zxid(zxid), txn: vec![0; 1 << 20].into() }).collect();
    let message = Message::Proposals { previous: Zxid(0), proposals: proposals.clone(), committed: Zxid(7) };
    let mut wire = Vec::new();
    encode(PeerMessage::Zab(message), &mut wire);
    let (mut last, mut received, mut frames_count) = (Zxid(0), Vec::new(), 0);
    for frame in frames(wire) {
        let Ok(PeerMessage::Zab(Message::Proposals { previous, proposals, committed })) = decode(frame)
        else {
            panic!("not proposals");
        };
        assert_eq!(previous, last);
        last = proposals.last().expect("none is empty").zxid;
        assert_eq!(committed, last.min(Zxid(7)));
        received.extend(proposals);
        frames_count += 1;
    }
    assert_eq!(received, proposals);
    assert!(frames_count > 2);
}

#[test]
fn what_the_contract_does_not_allow_is_refused() {
    let frame = |message| Bytes::from(pb::Frame { message }.encode_to_vec());
    assert_eq!(decode(frame(None)), Err(CodecError::UnknownKind));
    let no_history = pb::AckEpoch { promised: true, current_epoch: 1, history: None };
    assert_eq!(
        decode(frame(Some(frame::Message::AckEpoch(no_history)))),
        Err(CodecError::Missing("history"))
    );
    let no_vote = pb::Notification::default();
    assert_eq!(
        decode_notification(frame(Some(frame::Message::Notification(no_vote)))),
        Err(CodecError::Missing("vote"))
    );
    let vote = pb::Vote { server_id: 256, current_epoch: 0, last_zxid: 0 };
    let bad_id = pb::Notification { vote: Some(vote), ..pb::Notification::default() };
    assert_eq!(
        decode_notification(frame(Some(frame::Message::Notification(bad_id)))),
        Err(CodecError::OutOfRange { field: "server id", value: 256 })
    );
    let bad_state = pb::Notification { state: 3, ..bad_id };
    assert_eq!(
        decode_notification(frame(Some(frame::Message::Notification(bad_state)))),
        Err(CodecError::OutOfRange { field: "state", value: 3 })
    );
}
