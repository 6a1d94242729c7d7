//! What becomes of a client's frames: which are answered here, which wait, which go to the core.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, RwLockReadGuard, RwLockWriteGuard};
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::mpsc::error::TrySendError;

use super::connection::{Connection, End, Outstanding, Stage};
use super::outbox::Closing;
use super::{ClientContext, auth};
use crate::admin::{Counted, Word};
use crate::ids::{Xid, Zxid};
use crate::jute::{
    ErrorCode, OpCode, Reader, Request, RequestHeader, decode_connect_request, decode_request,
    encode_empty_reply, encode_error_reply, next_frame, xid,
};
use crate::replica::{Input, Replica};

/// A client's first frame asks for a session; it is small.
const CONNECT_FRAME_BYTES_MAX: usize = 4096;

/// Replies beyond this are written before more requests are looked at.
const OUTPUT_BYTES_PAUSE: usize = 256 << 10;

/// Requests of one connection that the core may have at once. Deeper pipelines wait in the socket.
const OUTSTANDING_MAX: usize = 1024;

/// Bytes of these. One request more may begin below this.
const OUTSTANDING_BYTES_MAX: usize = 4 << 20;

/// What a connection can do next.
pub(super) enum Progress {
    /// nothing, before something comes
    Wait,
    /// go on, once the replies are written
    More,
    /// go on, once the core has taken this
    ToCore(Input),
}

/// What became of one frame.
enum Served {
    /// it is answered, or on its way
    Done,
    /// it has to wait for earlier ones
    Later(Bytes),
    /// the core has to take this first
    ToCore(Input),
}

/// The state, locked from the first read of a batch to its last.
enum Access<'a> {
    Unlocked,
    Shared(RwLockReadGuard<'a, Replica>),
    Exclusive(RwLockWriteGuard<'a, Replica>),
}

/// A read to be answered.
struct Read<'a> {
    xid: Xid,
    request: &'a Request<'a>,
}

impl Connection {
    /// Serves the frames that have come.
    pub fn serve_input(&mut self) -> Result<Progress, End> {
        match self.stage {
            Stage::Greeting => self.greet(),
            Stage::Connecting if self.outstanding.is_empty() => {
                self.stage = Stage::Serving;
                self.serve_frames()
            }
            Stage::Connecting => Ok(Progress::Wait),
            Stage::Serving => self.serve_frames(),
        }
    }

    /// The first frame, or a four-letter word in its place.
    fn greet(&mut self) -> Result<Progress, End> {
        let Some(&head) = self.input.first_chunk() else {
            return Ok(Progress::Wait);
        };
        if let Some(word) = Word::parse(head) {
            let Some(argument) = self.input.get(head.len()..head.len() + word.argument_bytes()) else {
                return Ok(Progress::Wait);
            };
            let answer = self.context.answer(word, argument);
            self.count_received(1);
            self.output.extend_from_slice(answer.as_bytes());
            self.closing = Some(Closing::Behind("a four-letter word was answered"));
            return Ok(Progress::Wait);
        }
        let Some(frame) = next_frame(&mut self.input, CONNECT_FRAME_BYTES_MAX)? else {
            return Ok(Progress::Wait);
        };
        self.count_received(1);
        let request = decode_connect_request(&frame)
            .map_err(|error| End::Malformed { what: "connect request", error })?;
        if request.read_only.is_some() {
            self.conn.ask_read_only();
        }
        self.stage = Stage::Connecting;
        let counted = self.context.stats.begin();
        Ok(match self.hand_over(Input::Connect { conn: self.conn.id, request }, Some(counted))? {
            Served::ToCore(input) => Progress::ToCore(input),
            Served::Done | Served::Later(_) => Progress::Wait,
        })
    }

    fn serve_frames(&mut self) -> Result<Progress, End> {
        let context = Arc::clone(&self.context);
        let frame_bytes_max = context.settings.frame_bytes_max as usize;
        let mut access = Access::Unlocked;
        let (began, mut received, mut answered) = (Instant::now(), 0, 0);
        let progress = loop {
            if self.closing.is_some() {
                break Progress::Wait;
            }
            if self.output.len() >= OUTPUT_BYTES_PAUSE {
                break Progress::More;
            }
            let frame = match self.waiting.take() {
                Some(frame) => frame,
                None => match next_frame(&mut self.input, frame_bytes_max)? {
                    Some(frame) => {
                        received += 1;
                        frame
                    }
                    None => break Progress::Wait,
                },
            };
            let outstanding = self.outstanding.len();
            match self.serve_frame(&context, &mut access, frame)? {
                Served::Done => answered += usize::from(self.outstanding.len() == outstanding),
                Served::Later(frame) => {
                    self.waiting = Some(frame);
                    break Progress::Wait;
                }
                Served::ToCore(input) => break Progress::ToCore(input),
            }
        };
        drop(access);
        self.count_received(received);
        if answered > 0 {
            self.count_sent(answered);
            let latency = began.elapsed();
            self.context.stats.count_answered(answered as u64, latency);
            self.conn.tally.answered(answered as u64, began, latency);
        }
        Ok(progress)
    }

    fn serve_frame<'a>(
        &mut self,
        context: &'a ClientContext,
        access: &mut Access<'a>,
        frame: Bytes,
    ) -> Result<Served, End> {
        let header = RequestHeader::decode(&mut Reader::new(&frame))
            .map_err(|error| End::Malformed { what: "request header", error })?;
        self.conn.tally.asked(header.op, header.xid);
        let op = OpCode::try_from(header.op).ok();
        match op {
            // A ping tells that both sides live: it does not wait for writes, which an election can hold up.
            Some(OpCode::Ping) => {
                let zxid = self.lock_shared(context, access).state().zxid();
                encode_empty_reply(&mut self.output, xid::PING, zxid);
                return Ok(Served::Done);
            }
            Some(OpCode::Auth) => {
                let body = &frame[RequestHeader::WIRE_BYTES..];
                return self.authenticate(context, access, header.xid, body);
            }
            _ => {}
        }
        let for_core = op.is_some_and(is_for_leader);
        if self.must_wait(op.filter(|_| for_core)) || (for_core && !self.room.is_for(frame.len())) {
            return Ok(Served::Later(frame));
        }
        let body = &frame[RequestHeader::WIRE_BYTES..];
        match decode_request(header.op, body) {
            Ok(request) if for_core => {
                self.is_syncing = matches!(request, Request::Sync { .. });
                // A closeSession has no body to go with its share; it needs none, as the last of its connection.
                let body =
                    self.room.send_off(frame, context.stats.begin()).slice(RequestHeader::WIRE_BYTES..);
                let (conn, auth) = (self.conn.id, Arc::clone(&self.identities));
                self.hand_over(Input::Request { conn, xid: header.xid, op: header.op, body, auth }, None)
            }
            Err(_) => {
                // It needs no room, and the client may send nothing else for as long as it likes.
                self.room.give_up();
                // What does not wait for the core is answered in order all the same: behind all that it has.
                if !self.outstanding.is_empty() {
                    return Ok(Served::Later(frame));
                }
                self.fail(context, access, header.xid, ErrorCode::MarshallingError);
                Ok(Served::Done)
            }
            // A check is an operation of a multi; by itself ZooKeeper does not know it.
            Ok(Request::Unimplemented { .. } | Request::Check { .. }) => {
                self.fail(context, access, header.xid, ErrorCode::Unimplemented);
                Ok(Served::Done)
            }
            Ok(request) => {
                self.read(context, access, &Read { xid: header.xid, request: &request });
                Ok(Served::Done)
            }
        }
    }

    fn fail<'a>(&mut self, context: &'a ClientContext, access: &mut Access<'a>, xid: Xid, code: ErrorCode) {
        let zxid = self.lock_shared(context, access).state().zxid();
        encode_error_reply(&mut self.output, xid, zxid, code);
    }

    /// Answers a read. Events that came before go first.
    fn read<'a>(&mut self, context: &'a ClientContext, access: &mut Access<'a>, read: &Read<'_>) {
        if Replica::changes_watches(read.request) {
            let replica = self.lock_exclusive(context, access);
            let (conn, auth) = (self.conn.id, &self.identities);
            replica.read_and_watch(conn, auth, read.request, read.xid, &mut self.output);
        } else {
            let replica = self.lock_shared(context, access);
            replica.read(self.conn.id, &self.identities, read.request, read.xid, &mut self.output);
        }
    }

    /// The state to read from. Once it is locked nothing is added to the outbox, so what is in there goes first.
    fn lock_shared<'a, 'g>(&mut self, context: &'a ClientContext, access: &'g mut Access<'a>) -> &'g Replica {
        if let Access::Unlocked = access {
            *access = Access::Shared(context.read());
            self.drain();
        }
        let replica: &Replica = match access {
            Access::Shared(replica) => replica,
            Access::Exclusive(replica) => replica,
            Access::Unlocked => unreachable!("locked just now"),
        };
        self.conn.tally.shown(replica.state().zxid());
        replica
    }

    fn lock_exclusive<'a, 'g>(
        &mut self,
        context: &'a ClientContext,
        access: &'g mut Access<'a>,
    ) -> &'g mut Replica {
        if !matches!(access, Access::Exclusive(_)) {
            // A shared lock has to go before: between the two the core may step.
            *access = Access::Unlocked;
            *access = Access::Exclusive(context.write());
            self.drain();
        }
        match access {
            Access::Exclusive(replica) => replica,
            _ => unreachable!("locked just now"),
        }
    }

    /// Gives the core something that it answers through the outbox.
    fn hand_over(&mut self, input: Input, counted: Option<Counted>) -> Result<Served, End> {
        let bytes = if let Input::Request { body, .. } = &input { body.len() } else { 0 };
        self.outstanding.push_back(Outstanding { came: Instant::now(), bytes, _counted: counted });
        self.outstanding_bytes += bytes;
        self.conn.outstanding.store(self.outstanding.len() as u64, Relaxed);
        match self.context.inputs.try_send(input) {
            Ok(()) => Ok(Served::Done),
            Err(TrySendError::Full(input)) => Ok(Served::ToCore(input)),
            Err(TrySendError::Closed(_)) => Err(End::Stopping),
        }
    }

    /// True if a request has to wait, so that all of a connection are answered in their order. `for_core` is its
    /// operation if the core gets it: that ends requests in their order, except that it answers a `sync` when the others
    /// have confirmed it, which can be after what came behind it; so it must not get anything behind one.
    fn must_wait(&self, for_core: Option<OpCode>) -> bool {
        match for_core {
            None => !self.outstanding.is_empty(),
            Some(OpCode::Sync) => self.has_enough_outstanding(),
            Some(_) => (self.is_syncing && !self.outstanding.is_empty()) || self.has_enough_outstanding(),
        }
    }

    /// True if this connection has to wait before the core gets more from it: the server has enough to do. One
    /// request of every connection is always let through, so that none starves.
    fn has_enough_outstanding(&self) -> bool {
        let mine = self.outstanding.len();
        let all_max = u64::from(self.context.settings.outstanding_requests_max);
        mine >= OUTSTANDING_MAX
            || self.outstanding_bytes >= OUTSTANDING_BYTES_MAX
            || (mine > 0 && self.context.stats.outstanding() > all_max)
    }

    /// A proof of identity counts for all requests behind it.
    fn authenticate<'a>(
        &mut self,
        context: &'a ClientContext,
        access: &mut Access<'a>,
        xid: Xid,
        body: &[u8],
    ) -> Result<Served, End> {
        let request = decode_request(OpCode::Auth as i32, body)
            .map_err(|error| End::Malformed { what: "auth packet", error })?;
        let Request::Auth { scheme, auth: proof } = request else {
            unreachable!("the operation code says what is decoded");
        };
        let peer = self.conn.peer;
        match auth::authenticated(&self.identities, scheme, proof, peer.ip()) {
            Some(identities) => {
                self.lock_exclusive(context, access).identify(self.conn.id, &identities);
                self.identities = identities;
                encode_empty_reply(&mut self.output, xid, Zxid::ZERO);
            }
            None => {
                self.context.stats.count_auth_failed();
                self.context.quiet.say(&format!("auth {}", peer.ip()), |more| {
                    let scheme: String = scheme.chars().filter(|c| !c.is_control()).take(32).collect();
                    tracing::warn!("client {peer} could not authenticate with scheme {scheme:?}{more}");
                });
                encode_error_reply(&mut self.output, xid, Zxid::ZERO, ErrorCode::AuthFailed);
                self.closing = Some(Closing::Behind("it could not authenticate"));
            }
        }
        Ok(Served::Done)
    }

    fn count_received(&self, packets: u64) {
        if packets > 0 {
            self.conn.received.fetch_add(packets, Relaxed);
            self.context.stats.count_received(packets);
        }
    }
}

/// True for what the leader must decide.
pub fn is_for_leader(op: OpCode) -> bool {
    use OpCode::*;
    matches!(
        op,
        Create
            | Create2
            | CreateContainer
            | CreateTtl
            | Delete
            | SetData
            | SetAcl
            | Sync
            | Multi
            | CloseSession
    )
}
