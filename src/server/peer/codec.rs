//! Between the types of the core and the protobuf messages of `proto/peer.proto`. Total and strict: what the contract
//! does not allow is an error, never a default.

use bytes::Bytes;
use prost::Message as _;
use thiserror::Error;

use super::generated::{self as pb, frame};
use crate::ids::{Epoch, ServerId, SessionId, Zxid};
use crate::jute::AuthId;
use crate::replica::{Answer, ForwardedRequest, PeerMessage, Standing};
use crate::zab::{HistorySummary, Message, Notification, PeerState, Proposal, Vote};

/// Bytes of the length at the head of a frame.
pub(super) const LENGTH_BYTES: usize = 4;

/// A list that is longer than this travels as several frames, so that no frame makes the next heartbeat wait long.
/// One item may be bigger by itself: the reader's bound allows for that.
pub(super) const LIST_BYTES_MAX: usize = 4 << 20;

/// What stands around the payload of an item of a list, at most: tags, lengths, numbers.
const ITEM_OVERHEAD_BYTES: usize = 64;

/// Why bytes from another server are not a message. Nothing after them can be trusted: the connection has to end.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum CodecError {
    /// Not protobuf, or not of this contract.
    #[error("malformed message: {0}")]
    Malformed(#[from] prost::DecodeError),
    /// A frame without a message, or with one that this version does not know.
    #[error("a frame of no known kind")]
    UnknownKind,
    /// A field that must be there is not.
    #[error("a message without its {0}")]
    Missing(&'static str),
    /// A number that means nothing.
    #[error("{field} {value} is out of range")]
    OutOfRange {
        /// what it is
        field: &'static str,
        /// as it came
        value: i64,
    },
    /// A message on the port that it does not belong to.
    #[error("a message that belongs to the other port")]
    WrongPort,
}

/// Appends the frames of `message`: one, or several for a long list.
pub fn encode(message: PeerMessage, out: &mut Vec<u8>) {
    match message {
        PeerMessage::Zab(Message::Proposals { previous, proposals, committed }) => {
            encode_proposals(previous, proposals, committed, out);
        }
        PeerMessage::Zab(message) => put_frame(zab_to_pb(message), out),
        PeerMessage::Requests(requests) => split(requests, request_bytes, |requests| {
            let requests = requests.into_iter().map(request_to_pb).collect();
            put_frame(frame::Message::Requests(pb::Requests { requests }), out);
        }),
        PeerMessage::Answers(answers) => split(
            answers,
            |_| ITEM_OVERHEAD_BYTES,
            |answers| {
                let answers = answers.into_iter().map(answer_to_pb).collect();
                put_frame(frame::Message::Answers(pb::Answers { answers }), out);
            },
        ),
        PeerMessage::Touched(sessions) => split(
            sessions,
            |_| size_of::<u64>(),
            |sessions| {
                let session_ids = sessions.into_iter().map(|id| id.0).collect();
                put_frame(frame::Message::Touched(pb::Touched { session_ids }), out);
            },
        ),
        PeerMessage::TreeDigest { zxid, digest } => {
            put_frame(frame::Message::TreeDigest(pb::TreeDigest { zxid: zxid.0, digest }), out);
        }
    }
}

/// Appends the frame of a notification.
pub fn encode_notification(notification: &Notification, out: &mut Vec<u8>) {
    let state = match notification.state {
        PeerState::Looking => pb::notification::State::Looking,
        PeerState::Following => pb::notification::State::Following,
        PeerState::Leading => pb::notification::State::Leading,
    };
    let vote = pb::Vote {
        server_id: u32::from(notification.vote.server_id.0),
        current_epoch: notification.vote.current_epoch.0,
        last_zxid: notification.vote.last_zxid.0,
    };
    let message = pb::Notification {
        state: state.into(),
        round: notification.round,
        vote: Some(vote),
        may_vote: notification.may_vote,
        abstains: notification.abstains,
        empty: notification.empty,
        epoch: notification.epoch.0,
        voteless: !notification.voter,
        receiver_votes: notification.receiver_votes,
        config: notification.config.0,
    };
    put_frame(frame::Message::Notification(message), out);
}

/// Appends the frame of a `Hello`.
pub fn encode_hello(hello: &pb::Hello, out: &mut Vec<u8>) {
    put_length(hello.encoded_len(), out);
    hello.encode(out).expect("a Vec grows");
}

/// Reads what a frame of the quorum port holds. The message keeps `frame` alive.
pub fn decode(frame: Bytes) -> Result<PeerMessage, CodecError> {
    let message = pb::Frame::decode(frame)?.message.ok_or(CodecError::UnknownKind)?;
    Ok(match message {
        frame::Message::Notification(_) => return Err(CodecError::WrongPort),
        frame::Message::Requests(list) => {
            PeerMessage::Requests(list.requests.into_iter().map(request_from_pb).collect())
        }
        frame::Message::Answers(list) => {
            PeerMessage::Answers(list.answers.into_iter().map(answer_from_pb).collect())
        }
        frame::Message::Touched(touched) => {
            PeerMessage::Touched(touched.session_ids.into_iter().map(SessionId).collect())
        }
        frame::Message::TreeDigest(it) => PeerMessage::TreeDigest { zxid: Zxid(it.zxid), digest: it.digest },
        message => PeerMessage::Zab(zab_from_pb(message)?),
    })
}

/// Reads what a frame of the election port holds.
pub fn decode_notification(frame: Bytes) -> Result<Notification, CodecError> {
    match pb::Frame::decode(frame)?.message.ok_or(CodecError::UnknownKind)? {
        frame::Message::Notification(it) => Ok(Notification {
            state: match pb::notification::State::try_from(it.state) {
                Ok(pb::notification::State::Looking) => PeerState::Looking,
                Ok(pb::notification::State::Following) => PeerState::Following,
                Ok(pb::notification::State::Leading) => PeerState::Leading,
                Err(_) => return Err(out_of_range("state", it.state)),
            },
            round: it.round,
            vote: vote_from_pb(it.vote.ok_or(CodecError::Missing("vote"))?)?,
            may_vote: it.may_vote,
            voter: !it.voteless,
            receiver_votes: it.receiver_votes,
            config: Zxid(it.config),
            abstains: it.abstains,
            empty: it.empty,
            epoch: Epoch(it.epoch),
        }),
        _ => Err(CodecError::WrongPort),
    }
}

/// Reads a `Hello`.
pub fn decode_hello(frame: Bytes) -> Result<pb::Hello, CodecError> {
    Ok(pb::Hello::decode(frame)?)
}

/// A server id as it travels.
pub(super) fn server_id(value: u32) -> Result<ServerId, CodecError> {
    u8::try_from(value).map(ServerId).map_err(|_| out_of_range("server id", value))
}

fn out_of_range(field: &'static str, value: impl Into<i64>) -> CodecError {
    CodecError::OutOfRange { field, value: value.into() }
}

fn put_length(len: usize, out: &mut Vec<u8>) {
    let len = u32::try_from(len).expect("frames are bounded far below 4 GiB");
    out.reserve(LENGTH_BYTES + len as usize);
    out.extend_from_slice(&len.to_be_bytes());
}

fn put_frame(message: frame::Message, out: &mut Vec<u8>) {
    let frame = pb::Frame { message: Some(message) };
    put_length(frame.encoded_len(), out);
    frame.encode(out).expect("a Vec grows");
}

/// Gives `put` the items in order, in runs of at most [`LIST_BYTES_MAX`] bytes; an empty list is one empty run.
fn split<T>(items: Vec<T>, bytes: impl Fn(&T) -> usize, mut put: impl FnMut(Vec<T>)) {
    let (mut run, mut run_bytes) = (Vec::new(), 0);
    for item in items {
        let item_bytes = bytes(&item);
        if run_bytes + item_bytes > LIST_BYTES_MAX && !run.is_empty() {
            put(std::mem::take(&mut run));
            run_bytes = 0;
        }
        run_bytes += item_bytes;
        run.push(item);
    }
    put(run);
}

fn encode_proposals(previous: Zxid, proposals: Vec<Proposal>, committed: Zxid, out: &mut Vec<u8>) {
    let mut previous = previous;
    split(proposals, proposal_bytes, |proposals| {
        let last = proposals.last().map_or(previous, |proposal| proposal.zxid);
        let message = pb::Proposals {
            previous: previous.0,
            // A receiver of this frame has nothing beyond its last proposal yet.
            committed: committed.min(last).0,
            proposals: proposals
                .into_iter()
                .map(|it| pb::Proposal { zxid: it.zxid.0, txn: it.txn })
                .collect(),
        };
        put_frame(frame::Message::Proposals(message), out);
        previous = last;
    });
}

fn proposal_bytes(proposal: &Proposal) -> usize {
    proposal.txn.len() + ITEM_OVERHEAD_BYTES
}

fn request_bytes(request: &ForwardedRequest) -> usize {
    let auth: usize = request.auth.iter().map(|id| id.scheme.len() + id.id.len() + ITEM_OVERHEAD_BYTES).sum();
    request.body.len() + auth + ITEM_OVERHEAD_BYTES
}

/// About how many bytes the frames of `message` take.
pub fn approximate_bytes(message: &PeerMessage) -> usize {
    let content = match message {
        PeerMessage::Zab(Message::Proposals { proposals, .. }) => proposals.iter().map(proposal_bytes).sum(),
        PeerMessage::Zab(Message::SnapshotChunk { data, .. }) => data.len(),
        PeerMessage::Zab(Message::AckEpoch { history, .. }) => history.epoch_ends.len() * size_of::<u64>(),
        PeerMessage::Requests(requests) => requests.iter().map(request_bytes).sum(),
        PeerMessage::Answers(answers) => answers.len() * ITEM_OVERHEAD_BYTES,
        PeerMessage::Touched(sessions) => sessions.len() * size_of::<u64>(),
        PeerMessage::Zab(_) | PeerMessage::TreeDigest { .. } => 0,
    };
    content + ITEM_OVERHEAD_BYTES
}

fn zab_to_pb(message: Message) -> frame::Message {
    use frame::Message as F;
    match message {
        Message::FollowerInfo { accepted_epoch, may_vote } => {
            F::FollowerInfo(pb::FollowerInfo { accepted_epoch: accepted_epoch.0, may_vote })
        }
        Message::LeaderInfo { epoch } => F::LeaderInfo(pb::LeaderInfo { epoch: epoch.0 }),
        Message::AckEpoch { promised, current_epoch, history } => F::AckEpoch(pb::AckEpoch {
            promised,
            current_epoch: current_epoch.0,
            history: Some(pb::History {
                epoch_ends: history.epoch_ends.iter().map(|zxid| zxid.0).collect(),
                floor: history.floor.0,
            }),
        }),
        Message::Sync { truncate_to, snapshot_zxid } => F::Sync(pb::Sync {
            truncate_to: truncate_to.map(|zxid| zxid.0),
            snapshot_zxid: snapshot_zxid.map(|zxid| zxid.0),
        }),
        Message::SnapshotChunk { data, last } => F::SnapshotChunk(pb::SnapshotChunk { data, last }),
        Message::Proposals { .. } => unreachable!("lists are encoded in runs"),
        Message::NewLeader { epoch, ensemble_id } => {
            F::NewLeader(pb::NewLeader { epoch: epoch.0, ensemble_id })
        }
        Message::AckNewLeader { epoch } => F::AckNewLeader(pb::AckNewLeader { epoch: epoch.0 }),
        Message::UpToDate { committed } => F::UpToDate(pb::UpToDate { committed: committed.0 }),
        Message::Ack { through } => F::Ack(pb::Ack { through: through.0 }),
        Message::Commit { through } => F::Commit(pb::Commit { through: through.0 }),
        Message::Ping { sequence, quorum_age_ms, committed } => {
            F::Ping(pb::Ping { sequence, quorum_age_ms, committed: committed.0 })
        }
        Message::Pong { sequence } => F::Pong(pb::Pong { sequence }),
        Message::HandOver { to, last_zxid } => {
            F::HandOver(pb::HandOver { to: u32::from(to.0), last_zxid: last_zxid.0 })
        }
        Message::Subscribe { epoch, after } => F::Subscribe(pb::Subscribe { epoch: epoch.0, after: after.0 }),
        Message::Feeding => F::Feeding(pb::Feeding {}),
        Message::Fed => F::Fed(pb::Fed {}),
        Message::Unfed { after } => F::Unfed(pb::Unfed { after: after.0 }),
    }
}

fn zab_from_pb(message: frame::Message) -> Result<Message, CodecError> {
    use frame::Message as F;
    Ok(match message {
        F::FollowerInfo(it) => {
            Message::FollowerInfo { accepted_epoch: Epoch(it.accepted_epoch), may_vote: it.may_vote }
        }
        F::LeaderInfo(it) => Message::LeaderInfo { epoch: Epoch(it.epoch) },
        F::AckEpoch(it) => {
            let history = it.history.ok_or(CodecError::Missing("history"))?;
            Message::AckEpoch {
                promised: it.promised,
                current_epoch: Epoch(it.current_epoch),
                history: HistorySummary {
                    epoch_ends: history.epoch_ends.into_iter().map(Zxid).collect(),
                    floor: Zxid(history.floor),
                },
            }
        }
        F::Sync(it) => {
            Message::Sync { truncate_to: it.truncate_to.map(Zxid), snapshot_zxid: it.snapshot_zxid.map(Zxid) }
        }
        F::SnapshotChunk(it) => Message::SnapshotChunk { data: it.data, last: it.last },
        F::Proposals(it) => Message::Proposals {
            previous: Zxid(it.previous),
            proposals: it
                .proposals
                .into_iter()
                .map(|proposal| Proposal { zxid: Zxid(proposal.zxid), txn: proposal.txn })
                .collect(),
            committed: Zxid(it.committed),
        },
        F::NewLeader(it) => Message::NewLeader { epoch: Epoch(it.epoch), ensemble_id: it.ensemble_id },
        F::AckNewLeader(it) => Message::AckNewLeader { epoch: Epoch(it.epoch) },
        F::UpToDate(it) => Message::UpToDate { committed: Zxid(it.committed) },
        F::Ack(it) => Message::Ack { through: Zxid(it.through) },
        F::Commit(it) => Message::Commit { through: Zxid(it.through) },
        F::Ping(it) => Message::Ping {
            sequence: it.sequence,
            quorum_age_ms: it.quorum_age_ms,
            committed: Zxid(it.committed),
        },
        F::Pong(it) => Message::Pong { sequence: it.sequence },
        F::HandOver(it) => Message::HandOver { to: server_id(it.to)?, last_zxid: Zxid(it.last_zxid) },
        F::Subscribe(it) => Message::Subscribe { epoch: Epoch(it.epoch), after: Zxid(it.after) },
        F::Feeding(pb::Feeding {}) => Message::Feeding,
        F::Fed(pb::Fed {}) => Message::Fed,
        F::Unfed(it) => Message::Unfed { after: Zxid(it.after) },
        F::Notification(_) | F::Requests(_) | F::Answers(_) | F::Touched(_) | F::TreeDigest(_) => {
            return Err(CodecError::WrongPort);
        }
    })
}

fn vote_from_pb(vote: pb::Vote) -> Result<Vote, CodecError> {
    Ok(Vote {
        current_epoch: Epoch(vote.current_epoch),
        last_zxid: Zxid(vote.last_zxid),
        server_id: server_id(vote.server_id)?,
    })
}

fn request_to_pb(request: ForwardedRequest) -> pb::Request {
    let auth = request.auth.iter();
    pb::Request {
        request_id: request.request_id,
        session_id: request.session_id.0,
        generation: request.generation,
        xid: request.xid,
        op: request.op,
        auth: auth.map(|it| pb::AuthId { scheme: it.scheme.clone(), id: it.id.clone() }).collect(),
        body: request.body,
        local: request.standing == Standing::Local,
        upgraded: request.standing == Standing::Upgraded,
        upgrade: if let Standing::Upgrade(terms) = request.standing { terms } else { Bytes::new() },
    }
}

fn request_from_pb(request: pb::Request) -> ForwardedRequest {
    ForwardedRequest {
        request_id: request.request_id,
        session_id: SessionId(request.session_id),
        generation: request.generation,
        xid: request.xid,
        op: request.op,
        body: request.body,
        auth: request.auth.into_iter().map(|it| AuthId { scheme: it.scheme, id: it.id }).collect(),
        standing: match (request.local, request.upgraded, request.upgrade) {
            (true, ..) => Standing::Local,
            (_, true, _) => Standing::Upgraded,
            (.., terms) if terms.is_empty() => Standing::Global,
            (.., terms) => Standing::Upgrade(terms),
        },
    }
}

fn answer_to_pb(answer: Answer) -> pb::Answer {
    pb::Answer { request_id: answer.request_id, after: answer.after.0, moved: answer.moved }
}

fn answer_from_pb(answer: pb::Answer) -> Answer {
    Answer { request_id: answer.request_id, after: Zxid(answer.after), moved: answer.moved }
}

#[cfg(test)]
mod tests;
