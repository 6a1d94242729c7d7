//! The task of one client connection: bytes in, bytes out, and how it ends.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::conn::{Conn, NO_SESSION};
use super::outbox::{Closing, Drained};
use super::requests::Next;
use super::room::Share;
use super::turn::Turn;
use super::{ClientContext, Door, auth, door};
use crate::admin::{Count, Counted};
use crate::jute::{AuthId, FrameError};
use crate::replica::Input;
use crate::sasl::Exchange;
use crate::tls::Stream;

/// The most that one read takes. It lands on the stack, so that a connection that waits holds no buffer.
const READ_BYTES: usize = 64 << 10;

/// While requests wait for earlier ones, no more than this is taken from the socket.
const BACKLOG_BYTES_MAX: usize = 64 << 10;

/// A buffer that grew beyond this is not kept for the next connection.
const OUTPUT_BYTES_KEPT: usize = 1 << 20;

/// How long the last words to a client may take.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// After the last words, what the client still sends is read and thrown away for so long: a socket closed over unread
/// bytes would take the last words back.
const LINGER: Duration = Duration::from_millis(100);

thread_local! {
    /// The buffer for replies, shared by the connections of a thread: one needs it only within a turn, unless its
    /// client is slow.
    static OUTPUT: Cell<BytesMut> = Cell::default();
}

/// How far a connection has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    /// nothing came yet
    Greeting,
    /// a session was asked for
    Connecting,
    /// it has one
    Serving,
}

/// Why a connection ended.
#[derive(Debug, Error)]
pub(super) enum End {
    #[error("closed by the client")]
    Gone,
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Ours(&'static str),
    #[error("{0}")]
    Frame(#[from] FrameError),
    #[error("malformed {what}: {error}")]
    Malformed { what: &'static str, error: crate::jute::DecodeError },
    #[error("the server stops")]
    Stopping,
}

/// A request that the core has.
pub(super) struct Outstanding {
    /// when it came
    pub came: Instant,
    /// how long it is
    pub bytes: usize,
    /// that it counts, if it is a connect; all others have it with their bytes
    pub _counted: Option<Counted>,
}

/// One client connection.
pub(super) struct Connection {
    pub context: Arc<ClientContext>,
    pub conn: Arc<Conn>,
    pub stage: Stage,
    /// received, and not cut into frames yet
    pub input: BytesMut,
    /// a frame that waits until the outstanding requests are answered
    pub waiting: Option<Bytes>,
    /// to be written
    pub output: BytesMut,
    /// how much of it are events
    event_bytes: usize,
    /// the requests that the core has
    pub outstanding: VecDeque<Outstanding>,
    /// bytes of these
    pub outstanding_bytes: usize,
    /// for the next big request
    pub room: Share,
    /// for any request, where they are throttled
    pub turn: Option<Box<Turn>>,
    /// the last of them is a `sync`
    pub is_syncing: bool,
    /// the last of them is a `reconfig`
    pub is_reconfiguring: bool,
    pub identities: Arc<[AuthId]>,
    /// it is not served with these (`enforce.auth.*`)
    pub must_authenticate: bool,
    /// what it does to authenticate by SASL
    pub sasl: Option<Box<Exchange>>,
    pub closing: Option<Closing>,
    stream: Stream,
}

/// Serves a client until its connection ends, whoever ends it.
pub(super) async fn serve(context: Arc<ClientContext>, conn: Arc<Conn>, socket: TcpStream, door: Door) {
    let Some((stream, identities)) = door::enter(&context, conn.peer, socket, door).await else {
        context.conns.remove(&conn);
        return;
    };
    if !identities.iter().any(|identity| identity.scheme == "x509") {
        let is_local = conn.peer.ip().is_loopback();
        context.stats.metrics.count(if is_local { Count::NonMtlsLocal } else { Count::NonMtlsRemote });
    }
    let mut connection = Connection {
        context: Arc::clone(&context),
        conn: Arc::clone(&conn),
        stage: Stage::Greeting,
        input: BytesMut::new(),
        waiting: None,
        output: BytesMut::new(),
        event_bytes: 0,
        outstanding: VecDeque::new(),
        outstanding_bytes: 0,
        room: Share::new(&context.room),
        turn: context.turnstile.enter(),
        is_syncing: false,
        is_reconfiguring: false,
        must_authenticate: !auth::are_enough(&identities, &context.settings.auth),
        identities,
        sasl: None,
        closing: None,
        stream,
    };
    let end = match connection.run().await {
        Ok(()) => End::Gone,
        Err(end) => end,
    };
    connection.say_why(&end);
    context.conns.remove(&conn);
    let introduced = connection.stage != Stage::Greeting;
    drop(connection);
    if introduced {
        // If the core is gone, so is everything that knew of the connection.
        let _ = context.inputs.send(Input::Disconnected { conn: conn.id }).await;
    }
}

impl Connection {
    async fn run(&mut self) -> Result<(), End> {
        loop {
            let progress = self.progress();
            // What was answered before a frame that cannot be is still answered.
            self.flush()?;
            let progress = progress?;
            if let Some(closing) = self.closing {
                return self.finish(closing).await;
            }
            match progress {
                Next::ToCore(input) => {
                    self.context.inputs.send(input).await.map_err(|_| End::Stopping)?;
                }
                Next::More if !self.is_stuck() => tokio::task::yield_now().await,
                Next::More | Next::Wait => self.wait().await?,
            }
        }
    }

    /// Serves what has come, as far as there is room for the replies.
    fn progress(&mut self) -> Result<Next, End> {
        if self.is_stuck() {
            let closing = self.conn.outbox.closing();
            self.closing = closing.filter(|closing| matches!(closing, Closing::Now(_)));
            // What has come may have to be looked at again once this is written.
            return Ok(Next::More);
        }
        self.output = OUTPUT.take();
        self.drain();
        let progress = self.serve_input()?;
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
        self.count_output();
        Ok(progress)
    }

    /// What is to be written now was made in this turn.
    fn count_output(&mut self) {
        let metrics = &self.context.stats.metrics;
        let event_bytes = std::mem::take(&mut self.event_bytes);
        if event_bytes > 0 {
            metrics.add(Count::WatchBytes, event_bytes as u64);
        }
        let reply_bytes = self.output.len() - event_bytes;
        if reply_bytes > 0 {
            metrics.add(Count::ResponseBytes, reply_bytes as u64);
        }
    }

    /// Takes over what the core has for the client.
    pub fn drain(&mut self) {
        let Drained { replies, events, event_bytes, closing } = self.conn.outbox.drain(&mut self.output);
        self.event_bytes += event_bytes;
        self.closing = self.closing.or(closing);
        if replies > 0 {
            let now = Instant::now();
            let answered = self.outstanding.drain(..replies.min(self.outstanding.len()));
            for request in answered {
                self.outstanding_bytes -= request.bytes;
                let latency = now.duration_since(request.came);
                self.context.stats.count_update(latency);
                self.conn.tally.answered(1, request.came, latency);
            }
            self.conn.outstanding.store(self.outstanding.len() as u64, Relaxed);
            if self.outstanding.is_empty() {
                self.outstanding.shrink_to(16);
            }
        }
        self.count_sent(replies + events);
    }

    pub fn count_sent(&self, packets: usize) {
        if packets > 0 {
            self.conn.sent.fetch_add(packets as u64, Relaxed);
            self.context.stats.count_sent(packets as u64);
        }
    }

    /// True while the socket does not take what is to be written.
    fn is_stuck(&self) -> bool {
        !self.output.is_empty() || self.stream.is_behind()
    }

    /// Writes as much as the socket takes.
    fn flush(&mut self) -> Result<(), End> {
        while !self.output.is_empty() {
            match self.stream.try_write(&self.output) {
                Ok(written) if written == self.output.len() => self.output.clear(),
                Ok(written) => self.output.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        let buffer = std::mem::take(&mut self.output);
        if buffer.capacity() <= OUTPUT_BYTES_KEPT {
            OUTPUT.set(buffer);
        }
        Ok(())
    }

    /// Waits until something can go on.
    async fn wait(&mut self) -> Result<(), End> {
        std::future::poll_fn(|context| self.poll_wait(context)).await
    }

    fn poll_wait(&mut self, context: &mut Context<'_>) -> Poll<Result<(), End>> {
        let is_stuck = self.is_stuck();
        if self.conn.outbox.poll_filled(context, is_stuck).is_ready() {
            return Poll::Ready(Ok(()));
        }
        if is_stuck {
            self.room.give_up();
            if let Some(turn) = &mut self.turn {
                turn.give_up();
            }
            self.conn.hold_up(false);
            return self.stream.poll_write_ready(context).map_err(End::Io);
        }
        if self.room.poll(context).is_ready() {
            return Poll::Ready(Ok(()));
        }
        if self.turn.as_mut().is_some_and(|turn| turn.poll(context).is_ready()) {
            return Poll::Ready(Ok(()));
        }
        let is_behind = self.waiting.is_some() || self.stage == Stage::Connecting;
        let is_held_up = is_behind && self.input.len() >= BACKLOG_BYTES_MAX;
        self.conn.hold_up(is_held_up);
        if is_held_up {
            return Poll::Pending;
        }
        let mut bytes = [const { MaybeUninit::uninit() }; READ_BYTES];
        let mut bytes = ReadBuf::uninit(&mut bytes);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut bytes))?;
        if bytes.filled().is_empty() {
            return Poll::Ready(Err(End::Gone));
        }
        self.input.extend_from_slice(bytes.filled());
        if let Some(turn) = &mut self.turn {
            turn.received(bytes.filled().len(), Instant::now());
        }
        self.context.stats.metrics.add(Count::BytesReceived, bytes.filled().len() as u64);
        self.context.conns.hear(&self.conn);
        Poll::Ready(Ok(()))
    }

    /// Says the last words.
    async fn finish(&mut self, closing: Closing) -> Result<(), End> {
        let why = match closing {
            Closing::Now(why) => why,
            Closing::Behind(why) => {
                let last_words = async {
                    self.stream.write_all(&self.output).await?;
                    self.stream.shutdown().await
                };
                if matches!(timeout(LAST_WORDS, last_words).await, Ok(Ok(()))) {
                    let mut rest = [0; 512];
                    let discard = async { while matches!(self.stream.read(&mut rest).await, Ok(1..)) {} };
                    let _ = timeout(LINGER, discard).await;
                }
                why
            }
        };
        Err(End::Ours(why))
    }

    fn say_why(&self, end: &End) {
        if matches!(end, End::Ours(_) | End::Frame(_) | End::Malformed { .. }) {
            self.context.stats.metrics.count(Count::ConnectionDrop);
        }
        if let End::Ours(NO_SESSION) = end {
            self.context.stats.metrics.count(Count::SessionlessExpired);
        }
        if matches!(end, End::Gone | End::Io(_)) && self.turn.as_ref().is_some_and(|turn| turn.is_waiting()) {
            self.context.stats.metrics.count(Count::StaleRequestDropped);
        }
        if let End::Frame(FrameError::TooLong { .. }) = end {
            self.context.stats.metrics.count(Count::LargeRequest);
        }
        let (peer, session) = (self.conn.peer, self.conn.session_id());
        match end {
            End::Gone | End::Io(_) | End::Ours(_) | End::Stopping => {
                tracing::debug!("connection of client {peer} (session {session}) ended: {end}");
            }
            End::Frame(_) | End::Malformed { .. } => {
                self.context.quiet.say(&format!("client {}", peer.ip()), |more| {
                    tracing::warn!("connection of client {peer} (session {session}) closed: {end}{more}");
                });
            }
        }
    }
}
