//! One connection of the load: as little work per request as can be, so that the load does not take the CPU from the
//! servers it measures. Many answers are read with one system call, looked at where they lie, and answered with one
//! write of new requests.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{interval, sleep, sleep_until, timeout};
use tokio_rustls::TlsConnector;

use super::mix::Kind;
use super::recorder::Recorder;
use super::work::Source;
use crate::ids::{SessionId, Xid, Zxid};
use crate::jute::{
    ConnectRequest, PASSWORD_BYTES, Reader, ReplyHeader, Request, decode_connect_response,
    encode_connect_request, encode_request_frame, frame, next_frame, xid,
};
use crate::tls::{self, Stream};

/// The read buffer at first; it grows only for a frame that is longer.
const INPUT_BYTES: usize = 64 * 1024;
/// A longer frame from a server is taken for nonsense.
const FRAME_BYTES_MAX: usize = 64 << 20;
/// How often a connection looks whether it needs a ping, or the server is dead.
const TICK: Duration = Duration::from_millis(100);
/// Between two attempts to connect: short, because the gap that a dead server leaves is what is measured.
const RECONNECT_PAUSE: Duration = Duration::from_millis(10);
/// What an attempt to connect gets: longer than the second after which Linux repeats a SYN that a full backlog dropped.
/// ZooKeeper's holds 50 connections.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(2500);

/// What all connections have in common.
pub struct LaneSettings {
    /// `host:port` each; connection i begins with server i, and goes to the next when it loses one.
    pub servers: Vec<String>,
    /// Requests without an answer at most.
    pub in_flight: usize,
    /// As it is asked for.
    pub session_timeout: Duration,
    /// To speak TLS with; plain text otherwise.
    pub tls: Option<TlsConnector>,
}

/// When the next request is due, in a load of a fixed rate. Latencies count from then, whether or not it could be
/// sent, so that a server that stalls cannot hide the requests it kept from being sent.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// The next one.
    pub next: Instant,
    /// From one to the next.
    pub interval: Duration,
}

/// A connection and its session.
pub struct Lane {
    settings: Rc<LaneSettings>,
    server: usize,
    stream: Option<Stream>,
    session_id: SessionId,
    password: Bytes,
    timeout: Duration,
    last_zxid: Zxid,
    input: Vec<u8>,
    /// How much of `input` has been read and not understood.
    filled: usize,
    output: BytesMut,
    in_flight: VecDeque<(Xid, Kind, Instant)>,
    next_xid: Xid,
    last_heard: Instant,
    last_sent: Instant,
}

impl Lane {
    /// The connection number `index`, not connected yet.
    pub fn new(settings: Rc<LaneSettings>, index: usize) -> Lane {
        let now = Instant::now();
        Lane {
            server: index % settings.servers.len(),
            timeout: settings.session_timeout,
            settings,
            stream: None,
            session_id: SessionId(0),
            password: Bytes::from_static(&[0; PASSWORD_BYTES]),
            last_zxid: Zxid::ZERO,
            input: vec![0; INPUT_BYTES],
            filled: 0,
            output: BytesMut::with_capacity(INPUT_BYTES),
            in_flight: VecDeque::new(),
            next_xid: 1,
            last_heard: now,
            last_sent: now,
        }
    }

    /// Sends what `source` has until it has no more or the recorder says that it is over, and connects anew when the
    /// connection is lost.
    pub async fn run(
        &mut self,
        source: &mut impl Source,
        mut pace: Option<Pace>,
        recorder: &RefCell<Recorder>,
    ) {
        let mut unconnected_since = None;
        while !recorder.borrow().is_over(Instant::now()) {
            let mut stream = match self.stream.take() {
                Some(stream) => stream,
                None => match self.connect_in_time().await {
                    Ok(stream) => stream,
                    Err(error) => {
                        let now = Instant::now();
                        let since = *unconnected_since.get_or_insert(now);
                        recorder.borrow_mut().on_no_connection(&error, since, now);
                        self.server = (self.server + 1) % self.settings.servers.len();
                        sleep(RECONNECT_PAUSE).await;
                        continue;
                    }
                },
            };
            unconnected_since = None;
            match self.drive(&mut stream, source, &mut pace, recorder).await {
                Ok(()) => {
                    self.stream = Some(stream);
                    return;
                }
                Err(_) => {
                    let lost = self.in_flight.len() as u64;
                    recorder.borrow_mut().on_trouble("connection lost", lost, Instant::now());
                    self.server = (self.server + 1) % self.settings.servers.len();
                }
            }
        }
    }

    /// Opens a connection, or tells to which server it could not and why.
    async fn connect_in_time(&mut self) -> io::Result<Stream> {
        let connected = match timeout(CONNECT_TIMEOUT, self.connect()).await {
            Ok(connected) => connected,
            Err(_) => {
                Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {CONNECT_TIMEOUT:?}")))
            }
        };
        let server = &self.settings.servers[self.server];
        connected.map_err(|error| {
            let hint = match error.kind() {
                io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => {
                    "; is it one more than the server's maxClientCnxns or maxCnxns?"
                }
                _ => "",
            };
            io::Error::new(error.kind(), format!("{server}: {error}{hint}"))
        })
    }

    /// Opens a connection; the session goes on if there was one and the ensemble still has it.
    async fn connect(&mut self) -> io::Result<Stream> {
        self.in_flight.clear();
        self.output.clear();
        self.filled = 0;
        let server = &self.settings.servers[self.server];
        let socket = TcpStream::connect(server).await?;
        socket.set_nodelay(true)?;
        let mut stream = tls::connected(server, socket, self.settings.tls.as_ref()).await?;
        let hello = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: self.last_zxid,
            timeout_ms: i32::try_from(self.settings.session_timeout.as_millis()).unwrap_or(i32::MAX),
            session_id: self.session_id,
            password: self.password.clone(),
            read_only: Some(false),
        };
        let mut bytes = BytesMut::new();
        frame(&mut bytes, |out| encode_connect_request(&hello, out));
        stream.write_all(&bytes).await?;
        stream.flush().await?;
        bytes.clear();
        let content = loop {
            if let Some(content) = next_frame(&mut bytes, FRAME_BYTES_MAX).map_err(io::Error::other)? {
                break content;
            }
            if stream.read_buf(&mut bytes).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        };
        let response = decode_connect_response(&content).map_err(io::Error::other)?;
        self.session_id = response.session_id;
        self.password = response.password;
        if response.timeout_ms <= 0 {
            self.session_id = SessionId(0);
            return Err(io::Error::other("the session has expired"));
        }
        self.timeout = Duration::from_millis(response.timeout_ms.unsigned_abs().into());
        self.last_heard = Instant::now();
        self.last_sent = self.last_heard;
        Ok(stream)
    }

    async fn drive(
        &mut self,
        stream: &mut Stream,
        source: &mut impl Source,
        pace: &mut Option<Pace>,
        recorder: &RefCell<Recorder>,
    ) -> io::Result<()> {
        let until = recorder.borrow().until;
        let mut tick = interval(TICK);
        loop {
            let now = Instant::now();
            if now >= until {
                return Ok(());
            }
            let exhausted = self.fill(source, pace, now);
            if exhausted && self.in_flight.is_empty() {
                return Ok(());
            }
            if !self.output.is_empty() {
                match stream.try_write(&self.output) {
                    Ok(written) => self.output.advance(written),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
            }
            let due = pace.map_or(until, |pace| pace.next.min(until));
            let waits_for_time = pace.is_some() && self.in_flight.len() < self.settings.in_flight;
            tokio::select! {
                biased;
                read = read_or_write(stream, &mut self.input[self.filled..], !self.output.is_empty()) => {
                    match read? {
                        None => {}
                        Some(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                        Some(read) => {
                            self.filled += read;
                            self.on_input(source, recorder)?;
                        }
                    }
                }
                () = sleep_until(due.into()), if waits_for_time => {}
                _ = tick.tick() => self.keep_alive()?,
            }
        }
    }

    /// Queues as many requests as may be on their way. True if the source has no more.
    fn fill(&mut self, source: &mut impl Source, pace: &mut Option<Pace>, now: Instant) -> bool {
        while self.in_flight.len() < self.settings.in_flight {
            let mut began = now;
            if let Some(pace) = pace {
                if pace.next > now {
                    return false;
                }
                began = pace.next;
                pace.next += pace.interval;
            }
            let Some(kind) = source.next(self.next_xid, &mut self.output) else {
                return true;
            };
            self.in_flight.push_back((self.next_xid, kind, began));
            self.next_xid = self.next_xid.checked_add(1).unwrap_or(1);
            self.last_sent = now;
        }
        false
    }

    /// Looks at every whole frame that has been read.
    fn on_input(&mut self, source: &impl Source, recorder: &RefCell<Recorder>) -> io::Result<()> {
        let now = Instant::now();
        self.last_heard = now;
        let mut recorder = recorder.borrow_mut();
        let mut done = 0;
        loop {
            let left = &self.input[done..self.filled];
            let Some((head, content)) = left.split_first_chunk::<4>() else { break };
            let len = u32::from_be_bytes(*head) as usize;
            if len > FRAME_BYTES_MAX {
                return Err(io::Error::other("a frame that is too long"));
            }
            let Some(content) = content.get(..len) else {
                // Make room for the whole of a frame that is longer than the buffer.
                let end = done + 4 + len;
                if end - done > self.input.len() {
                    self.input.resize(end - done, 0);
                }
                break;
            };
            let header = ReplyHeader::decode(&mut Reader::new(content)).map_err(io::Error::other)?;
            done += 4 + len;
            if header.xid < 0 {
                continue;
            }
            let Some((expected, kind, began)) = self.in_flight.pop_front() else {
                return Err(io::Error::other("an answer without a request"));
            };
            if expected != header.xid {
                return Err(io::Error::other("an answer out of order"));
            }
            if header.zxid.0.cast_signed() > 0 {
                self.last_zxid = self.last_zxid.max(header.zxid);
            }
            if header.err == 0 || source.accepts(header.err) {
                recorder.on_success(kind, began, now);
            } else {
                recorder.on_error(header.err, now);
            }
        }
        self.input.copy_within(done..self.filled, 0);
        self.filled -= done;
        Ok(())
    }

    /// Queues a ping if nothing else was sent for a third of the session timeout; gives up on a server that said
    /// nothing for two thirds.
    fn keep_alive(&mut self) -> io::Result<()> {
        let now = Instant::now();
        if now - self.last_heard >= self.timeout * 2 / 3 {
            return Err(io::ErrorKind::TimedOut.into());
        }
        if now - self.last_sent >= self.timeout / 3 {
            encode_request_frame(xid::PING, &Request::Ping, &mut self.output);
            self.last_sent = now;
        }
        Ok(())
    }

    /// Ends the session, so that its ephemerals go, if the server answers in time.
    pub async fn close(mut self) {
        let Some(mut stream) = self.stream.take() else { return };
        encode_request_frame(self.next_xid, &Request::CloseSession, &mut self.output);
        let closing = async {
            stream.write_all(&self.output).await?;
            stream.flush().await?;
            // The server closes the connection behind its answer.
            while stream.read(&mut self.input).await? > 0 {}
            io::Result::Ok(())
        };
        // A server that is gone or slow forgets the session without our help.
        let _ = timeout(CONNECT_TIMEOUT, closing).await;
    }
}

/// How much was read; `None` if something can be written instead, which has to wait: `has_output`, or what TLS kept back.
async fn read_or_write(stream: &mut Stream, input: &mut [u8], has_output: bool) -> io::Result<Option<usize>> {
    std::future::poll_fn(|context| {
        let mut buffer = ReadBuf::new(input);
        if Pin::new(&mut *stream).poll_read(context, &mut buffer)?.is_ready() {
            return Poll::Ready(Ok(Some(buffer.filled().len())));
        }
        if (has_output || stream.is_behind()) && stream.poll_write_ready(context)?.is_ready() {
            return Poll::Ready(Ok(None));
        }
        Poll::Pending
    })
    .await
}

#[cfg(test)]
mod tests {
    use bytes::BufMut;
    use tokio::net::TcpListener;
    use tokio::task::LocalSet;

    use super::*;
    use crate::cli::bench::work::{Layout, Stripe};
    use crate::jute::{ConnectResponse, OpCode, RequestHeader, encode_connect_response};

    /// Answers the first `count` requests of every connection, each with more bytes than a read buffer holds, and then
    /// closes it.
    async fn serve(listener: TcpListener, count: usize) -> io::Result<()> {
        loop {
            let (mut stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let (mut input, mut output) = (BytesMut::new(), BytesMut::new());
            let (session_id, password) = (SessionId(1), Bytes::new());
            let hello = ConnectResponse { timeout_ms: 10_000, session_id, password, read_only: None };
            frame(&mut output, |out| encode_connect_response(&hello, out));
            let mut frames = 0;
            while frames <= count && stream.read_buf(&mut input).await? > 0 {
                while let Some(content) = next_frame(&mut input, FRAME_BYTES_MAX).map_err(io::Error::other)? {
                    frames += 1;
                    if frames == 1 {
                        continue;
                    }
                    let header =
                        RequestHeader::decode(&mut Reader::new(&content)).map_err(io::Error::other)?;
                    if header.op == OpCode::CloseSession as i32 {
                        return Ok(());
                    }
                    frame(&mut output, |out| {
                        ReplyHeader { xid: header.xid, zxid: Zxid(1), err: 0 }.encode(out);
                        out.put_bytes(7, INPUT_BYTES);
                    });
                }
                stream.write_all_buf(&mut output).await?;
            }
        }
    }

    #[tokio::test]
    async fn a_preparation_goes_on_when_a_server_lets_it_in_late() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let servers = vec![listener.local_addr().unwrap().to_string()];
        let settings =
            LaneSettings { servers, in_flight: 3, session_timeout: Duration::from_secs(10), tls: None };
        let layout = Rc::new(Layout { root: "/r".to_owned(), keys: 100, value: vec![1; 10] });
        let recorder = RefCell::new(Recorder::for_preparation());
        let run = async {
            tokio::task::spawn_local(async move {
                drop(listener.accept().await?);
                serve(listener, 1000).await
            });
            let mut lane = Lane::new(Rc::new(settings), 0);
            lane.run(&mut Stripe::new(layout, 0, 1, false), None, &recorder).await;
        };
        LocalSet::new().run_until(run).await;
        let recorder = recorder.into_inner();
        assert_eq!((recorder.first_failure, recorder.answered), (None, 100));
    }

    #[tokio::test]
    async fn who_is_not_let_in_learns_which_limit_it_may_be() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = listener.local_addr().unwrap().to_string();
        let settings = LaneSettings {
            servers: vec![server.clone()],
            in_flight: 1,
            session_timeout: Duration::from_secs(10),
            tls: None,
        };
        let mut lane = Lane::new(Rc::new(settings), 0);
        let (connected, accepted) =
            tokio::join!(lane.connect_in_time(), async { listener.accept().await.map(drop) });
        accepted.unwrap();
        let error = connected.unwrap_err().to_string();
        assert!(error.starts_with(&server) && error.contains("maxClientCnxns"), "{error}");
    }

    #[tokio::test]
    async fn a_connection_that_is_lost_goes_on_at_the_next_server() {
        let fails_soon = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let goes_on = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let servers = [&fails_soon, &goes_on].map(|server| server.local_addr().unwrap().to_string()).to_vec();
        let settings =
            LaneSettings { servers, in_flight: 3, session_timeout: Duration::from_secs(10), tls: None };
        let layout = Rc::new(Layout { root: "/r".to_owned(), keys: 100, value: vec![1; 10] });
        let now = Instant::now();
        let recorder = RefCell::new(Recorder::new(now, now + Duration::from_secs(60)));
        let run = async {
            tokio::task::spawn_local(serve(fails_soon, 5));
            tokio::task::spawn_local(serve(goes_on, 1000));
            let mut lane = Lane::new(Rc::new(settings), 0);
            lane.run(&mut Stripe::new(layout, 0, 1, false), None, &recorder).await;
            assert!(lane.in_flight.is_empty());
            lane.close().await;
        };
        LocalSet::new().run_until(run).await;
        let recorder = recorder.into_inner();
        let answered = recorder.answered;
        let lost = recorder.summary().errors["connection lost"];
        assert!(lost >= 1, "{lost}");
        assert_eq!(answered + lost, 100);
    }
}
