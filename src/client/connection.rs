//! One connection to one server.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use super::Error;
use super::session::{Answer, WatchOrder};
use crate::ids::Xid;
use crate::jute::{
    ConnectRequest, ConnectResponse, Request, decode_connect_response, encode_connect_request,
    encode_request_frame, frame, next_frame, xid,
};
use crate::tls;

/// Room that is made for each read; a batch of small answers comes in one system call.
const READ_BYTES: usize = 32 * 1024;

/// A request that waits for its answer.
pub(super) struct Pending {
    pub xid: Xid,
    pub op: i32,
    pub reply: oneshot::Sender<Result<Answer, Error>>,
    pub watch: Option<WatchOrder>,
    /// No answer until then is too late.
    pub due: Option<Instant>,
}

/// A socket, what has been read and not understood, what has to be written, and who waits for an answer.
pub(super) struct Connection {
    reader: Box<dyn AsyncRead + Send + Unpin>,
    writer: Box<dyn AsyncWrite + Send + Unpin>,
    /// TLS keeps back what the socket did not take
    keeps_back: bool,
    /// it may do so now
    unflushed: bool,
    input: BytesMut,
    /// Whole frames, and the rest of the one that is being written.
    pub output: BytesMut,
    /// In the order in which the answers will come.
    pub pending: VecDeque<Pending>,
    /// The same for credentials; `None` for those that are sent again.
    pub pending_auth: VecDeque<Option<oneshot::Sender<Result<(), Error>>>>,
    /// The server is dead if it is silent for long after this.
    last_heard: Instant,
    /// A ping is due some time after this.
    last_sent: Instant,
    next_xid: Xid,
    frame_bytes_max: usize,
}

/// What one wait on the socket brought.
pub(super) enum Io {
    /// More bytes have come.
    Read,
    /// Some bytes went out.
    Written,
}

impl Connection {
    /// Connects to `server` and opens or resumes a session there.
    pub async fn open(
        server: &str,
        hello: &ConnectRequest,
        frame_bytes_max: usize,
        tls: Option<&TlsConnector>,
    ) -> io::Result<(Connection, ConnectResponse, SocketAddr)> {
        let stream = TcpStream::connect(server).await?;
        stream.set_nodelay(true)?;
        let address = stream.peer_addr()?;
        let (reader, writer) = tls::connected(server, stream, tls).await?.split();
        let now = Instant::now();
        let mut connection = Connection {
            reader,
            writer,
            keeps_back: tls.is_some(),
            unflushed: false,
            input: BytesMut::new(),
            output: BytesMut::new(),
            pending: VecDeque::new(),
            pending_auth: VecDeque::new(),
            last_heard: now,
            last_sent: now,
            next_xid: 1,
            frame_bytes_max,
        };
        frame(&mut connection.output, |out| encode_connect_request(hello, out));
        loop {
            if let Some(content) = connection.next_frame().map_err(io::Error::other)? {
                let response = decode_connect_response(&content).map_err(io::Error::other)?;
                return Ok((connection, response, address));
            }
            connection.io().await?;
        }
    }

    /// The next whole frame that has been read.
    pub fn next_frame(&mut self) -> Result<Option<Bytes>, Error> {
        Ok(next_frame(&mut self.input, self.frame_bytes_max)?)
    }

    /// Waits until something was read or written. Nothing is lost if the wait is given up.
    pub async fn io(&mut self) -> io::Result<Io> {
        self.input.reserve(READ_BYTES);
        let Connection { writer, output, unflushed, keeps_back, .. } = self;
        let has_output = !output.is_empty() || *unflushed;
        let writing = async {
            if output.is_empty() {
                writer.flush().await?;
                *unflushed = false;
            } else {
                writer.write_buf(output).await?;
                *unflushed = *keeps_back;
            }
            io::Result::Ok(())
        };
        tokio::select! {
            read = self.reader.read_buf(&mut self.input) => {
                if read? == 0 {
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection"));
                }
                self.last_heard = Instant::now();
                Ok(Io::Read)
            }
            written = writing, if has_output => {
                written?;
                Ok(Io::Written)
            }
        }
    }

    /// Queues `frame`, which was encoded with another xid, and returns the xid it goes out with.
    pub fn push_frame(&mut self, mut frame: BytesMut) -> Xid {
        let xid = self.next_xid;
        self.next_xid = xid.checked_add(1).unwrap_or(1);
        frame[4..8].copy_from_slice(&xid.to_be_bytes());
        self.output.extend_from_slice(&frame);
        self.last_sent = Instant::now();
        xid
    }

    /// Queues a request outside of the session's queue, and returns the xid it goes out with.
    pub fn push(&mut self, request: &Request<'_>) -> Xid {
        let mut frame = BytesMut::new();
        encode_request_frame(0, request, &mut frame);
        self.push_frame(frame)
    }

    /// Queues a request whose answer is recognised by a number of its own.
    pub fn push_special(&mut self, xid: Xid, request: &Request<'_>) {
        encode_request_frame(xid, request, &mut self.output);
        self.last_sent = Instant::now();
    }

    /// When [`Connection::keep_alive`] has something to do, in a session of `timeout`, or an answer is too late.
    pub fn wake_at(&self, timeout: Duration) -> Instant {
        let wake_at = self.dead_at(timeout).min(self.ping_at(timeout));
        self.due().map_or(wake_at, |due| due.min(wake_at))
    }

    /// When the answer that comes next is too late.
    fn due(&self) -> Option<Instant> {
        self.pending.front().and_then(|pending| pending.due)
    }

    /// The request whose answer is too late, if there is one.
    pub fn overdue(&mut self) -> Option<Pending> {
        self.due().filter(|due| Instant::now() >= *due).and_then(|_| self.pending.pop_front())
    }

    /// Queues a ping if it is time; an error if the server has been silent for too long.
    pub fn keep_alive(&mut self, timeout: Duration) -> io::Result<()> {
        let now = Instant::now();
        if now >= self.dead_at(timeout) {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the server is silent"));
        }
        if now >= self.ping_at(timeout) {
            self.push_special(xid::PING, &Request::Ping);
        }
        Ok(())
    }

    /// Two thirds: the last third is for finding another server before the session expires.
    fn dead_at(&self, timeout: Duration) -> Instant {
        self.last_heard + timeout * 2 / 3
    }

    /// One third, so that the answer has another third to arrive.
    fn ping_at(&self, timeout: Duration) -> Instant {
        self.last_sent + timeout / 3
    }
}
