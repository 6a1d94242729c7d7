//! What becomes of a client's frames: which are answered here, which wait, which go to the core.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, RwLockReadGuard, RwLockWriteGuard};
use std::time::Instant;

use bytes::{Buf, Bytes};
use tokio::sync::mpsc::error::TrySendError;

use super::connection::{Connection, End, Outstanding, Stage};
use super::outbox::Closing;
use super::turn::{Asked, Held, Verdict};
use super::{ClientContext, Comer};
use crate::admin::{Count, Counted, Sum, Word};
use crate::ids::Xid;
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
pub(super) enum Next {
    /// nothing, before something comes
    Wait,
    /// go on, once the replies are written
    More,
    /// go on, once the core has taken this
    ToCore(Input),
}

/// What became of one frame.
pub(super) enum Served {
    /// it is answered, or on its way
    Done,
    /// it has to wait for earlier ones
    Later(Bytes),
    /// the core has to take this first
    ToCore(Input),
}

/// The state, locked from the first read of a batch to its last.
pub(super) enum Access<'a> {
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
    pub fn serve_input(&mut self) -> Result<Next, End> {
        match self.stage {
            Stage::Greeting => self.greet(),
            Stage::Connecting if self.outstanding.is_empty() => {
                self.stage = Stage::Serving;
                self.serve_frames()
            }
            Stage::Connecting => Ok(Next::Wait),
            Stage::Serving => self.serve_frames(),
        }
    }

    /// The first frame, or a four-letter word in its place.
    fn greet(&mut self) -> Result<Next, End> {
        let Some(&head) = self.input.first_chunk() else {
            return Ok(Next::Wait);
        };
        if let Some(word) = Word::parse(head) {
            let Some(argument) = self.input.get(head.len()..head.len() + word.argument_bytes()) else {
                return Ok(Next::Wait);
            };
            let answer = self.context.answer(word, argument);
            self.count_received(1);
            self.output.extend_from_slice(answer.as_bytes());
            self.closing = Some(Closing::Behind("a four-letter word was answered"));
            return Ok(Next::Wait);
        }
        let Some(frame) = next_frame(&mut self.input, CONNECT_FRAME_BYTES_MAX)? else {
            return Ok(Next::Wait);
        };
        self.count_received(1);
        let request = decode_connect_request(&frame)
            .map_err(|error| End::Malformed { what: "connect request", error })?;
        let renews_session = request.session_id.0 != 0;
        let metrics = &self.context.stats.metrics;
        metrics.count(Count::ConnectionRequest);
        if renews_session {
            metrics.count(Count::ConnectionRevalidate);
        }
        let comer = match renews_session {
            true => Comer::Renewing,
            false if self.context.settings.has_local_sessions() => Comer::Local,
            false => Comer::New,
        };
        let Some(deficit) = self.context.throttle.let_in(comer) else { return Err(self.refuse()) };
        metrics.note(Sum::TokenDeficit, deficit);
        if request.read_only.is_some() {
            self.conn.ask_read_only();
        }
        self.stage = Stage::Connecting;
        let counted = self.context.stats.begin();
        Ok(match self.hand_over(Input::Connect { conn: self.conn.id, request }, Some(counted))? {
            Served::ToCore(input) => Next::ToCore(input),
            Served::Done | Served::Later(_) => Next::Wait,
        })
    }

    /// Too many clients came in a while.
    fn refuse(&self) -> End {
        self.context.stats.count_rejected();
        let from = self.conn.peer;
        self.context.quiet.say("connection throttle", |more| {
            tracing::warn!("client {from} is refused: connection_throttle_tokens are used up{more}");
        });
        End::Ours("too many clients connect")
    }

    fn serve_frames(&mut self) -> Result<Next, End> {
        let context = Arc::clone(&self.context);
        let frame_bytes_max = context.settings.frame_bytes_max as usize;
        let mut access = Access::Unlocked;
        let (began, mut received, mut answered) = (Instant::now(), 0, 0);
        let progress = loop {
            if self.closing.is_some() {
                break Next::Wait;
            }
            if self.output.len() >= OUTPUT_BYTES_PAUSE {
                break Next::More;
            }
            let frame = match self.waiting.take() {
                Some(frame) => frame,
                None => match next_frame(&mut self.input, frame_bytes_max)? {
                    Some(frame) => {
                        received += 1;
                        self.begin_turn(&frame)?;
                        frame
                    }
                    None => break Next::Wait,
                },
            };
            let outstanding = self.outstanding.len();
            let served = self.serve_frame(&context, &mut access, frame)?;
            if let (Some(turn), Served::Done | Served::ToCore(_)) = (&mut self.turn, &served) {
                turn.end();
            }
            match served {
                Served::Done => answered += usize::from(self.outstanding.len() == outstanding),
                Served::Later(frame) => {
                    self.waiting = Some(frame);
                    break Next::Wait;
                }
                Served::ToCore(input) => break Next::ToCore(input),
            }
        };
        drop(access);
        self.count_received(received);
        if answered > 0 {
            self.count_sent(answered);
            let latency = began.elapsed();
            self.context.stats.count_reads(answered as u64, latency);
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
        let is_offered = |op: &OpCode| context.settings.clickhouse_operations || !op.is_of_keeper();
        let op = OpCode::try_from(header.op).ok().filter(is_offered);
        if self.must_authenticate && !matches!(op, Some(OpCode::Auth | OpCode::Sasl)) {
            return Ok(self.refuse_unknown(header.xid));
        }
        match op {
            // A ping tells that both sides live: it does not wait for writes, which an election can hold up.
            Some(OpCode::Ping) => {
                let zxid = self.lock_shared(context, access).state().zxid();
                encode_empty_reply(&mut self.output, xid::PING, zxid);
                Ok(Served::Done)
            }
            Some(OpCode::Auth) => {
                let body = &frame[RequestHeader::WIRE_BYTES..];
                self.authenticate(context, access, header.xid, body)
            }
            Some(OpCode::Sasl) => {
                let body = &frame[RequestHeader::WIRE_BYTES..];
                self.step_sasl(context, access, header.xid, body)
            }
            _ => self.serve_in_order(context, access, (header, op), frame),
        }
    }

    /// A request that is answered behind those before it; `op` is `None` of one that is not known.
    fn serve_in_order<'a>(
        &mut self,
        context: &'a ClientContext,
        access: &mut Access<'a>,
        (header, op): (RequestHeader, Option<OpCode>),
        frame: Bytes,
    ) -> Result<Served, End> {
        let for_core = op.is_some_and(is_for_leader);
        if self.must_wait(op.filter(|_| for_core)) {
            return Ok(Served::Later(frame));
        }
        match self.judge(op)? {
            Verdict::Throttled if self.outstanding.is_empty() => {
                context.stats.metrics.count(Count::ThrottledOp);
                self.fail(context, access, header.xid, ErrorCode::ThrottledOp);
                return Ok(Served::Done);
            }
            Verdict::Goes if !for_core || self.room.is_for(frame.len()) => {}
            _ => return Ok(Served::Later(frame)),
        }
        let body = &frame[RequestHeader::WIRE_BYTES..];
        let request = match op {
            Some(_) => decode_request(header.op, body),
            None => Ok(Request::Unimplemented { op: header.op }),
        };
        match request {
            Ok(request) if for_core => {
                self.note_last(&request);
                let held = self.take_turn(op);
                let counted = context.stats.begin();
                let mut body = self.room.send_off(frame, counted, held);
                body.advance(RequestHeader::WIRE_BYTES);
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

    /// A frame came; true of most servers is that this is nothing to them.
    fn begin_turn(&mut self, frame: &Bytes) -> Result<(), End> {
        let Some(turn) = &mut self.turn else { return Ok(()) };
        if turn.begin(frame.len(), self.input.len()) {
            return Ok(());
        }
        self.context.stats.metrics.count(Count::LargeRequest);
        let (from, bytes) = (self.conn.peer, frame.len());
        self.context.quiet.say("large requests", |more| {
            tracing::warn!("a request of {bytes} bytes of client {from} is refused: largeRequestMaxBytes is used up{more}");
        });
        Err(End::Ours("largeRequestMaxBytes is used up"))
    }

    fn judge(&mut self, op: Option<OpCode>) -> Result<Verdict, End> {
        let asked = self.asked(op);
        let (Some(turn), Some(asked)) = (&mut self.turn, asked) else { return Ok(Verdict::Goes) };
        match turn.judge(asked, Instant::now(), &self.context.stats.metrics) {
            Verdict::Stale => Err(End::Ours("a request waited longer than the timeout of its session")),
            verdict => Ok(verdict),
        }
    }

    /// What a request for the core keeps until its end.
    fn take_turn(&mut self, op: Option<OpCode>) -> Held {
        let asked = self.asked(op);
        let (Some(turn), Some(asked)) = (&mut self.turn, asked) else { return Held::default() };
        turn.take(asked, Instant::now(), &self.context.stats.metrics)
    }

    /// `None` of what is not known: it waits for nothing.
    fn asked(&self, op: Option<OpCode>) -> Option<Asked> {
        let op = op.filter(|_| self.turn.is_some())?;
        let closes = op == OpCode::CloseSession;
        Some(Asked { for_leader: is_for_leader(op), closes, timeout_ms: self.conn.timeout_ms() })
    }

    fn fail<'a>(&mut self, context: &'a ClientContext, access: &mut Access<'a>, xid: Xid, code: ErrorCode) {
        let zxid = self.lock_shared(context, access).state().zxid();
        encode_error_reply(&mut self.output, xid, zxid, code);
    }

    /// Answers a read. Events that came before go first.
    fn read<'a>(&mut self, context: &'a ClientContext, access: &mut Access<'a>, read: &Read<'_>) {
        let before;
        if Replica::changes_watches(read.request) {
            let replica = self.lock_exclusive(context, access);
            let (conn, auth) = (self.conn.id, &self.identities);
            before = self.output.len();
            replica.read_and_watch(conn, auth, read.request, read.xid, &mut self.output);
        } else {
            let replica = self.lock_shared(context, access);
            before = self.output.len();
            replica.read(self.conn.id, &self.identities, read.request, read.xid, &mut self.output);
        }
        context.stats.count_response(self.output.len() - before);
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

    pub(super) fn lock_exclusive<'a, 'g>(
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

    /// Of the last request that the core got it matters what may come behind it.
    fn note_last(&mut self, request: &Request<'_>) {
        self.is_syncing = matches!(request, Request::Sync { .. });
        self.is_reconfiguring = matches!(request, Request::Reconfig(_));
    }

    /// True if a request has to wait, so that all of a connection are answered in their order. `for_core` is its
    /// operation if the core gets it: that ends requests in their order, except that it answers a `sync` when the others
    /// have confirmed it, which can be after what came behind it; so it must not get anything behind one. A `reconfig` is
    /// answered later than it is applied as well.
    fn must_wait(&self, for_core: Option<OpCode>) -> bool {
        match for_core {
            None => !self.outstanding.is_empty(),
            Some(_) if self.is_reconfiguring && !self.outstanding.is_empty() => true,
            Some(OpCode::Sync) => self.has_enough_outstanding(),
            Some(_) => (self.is_syncing && !self.outstanding.is_empty()) || self.has_enough_outstanding(),
        }
    }

    /// True if this connection has to wait before the core gets more from it: the server has enough to do. Its share
    /// of what the server takes is always let through, and be it one request: so that none starves, and that none gets
    /// its answers one by one while others fill the server's room.
    fn has_enough_outstanding(&self) -> bool {
        let mine = self.outstanding.len();
        let all_max = self.context.settings.outstanding_requests_max as usize;
        mine >= OUTSTANDING_MAX
            || self.outstanding_bytes >= OUTSTANDING_BYTES_MAX
            || (mine > 0
                && self.context.stats.outstanding() > all_max as u64
                && mine >= all_max / self.context.conns.count().max(1))
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
            | CheckNotExists
            | CreateIfNotExists
            | RemoveRecursive
            | CheckStat
            | Reconfig
    )
}
