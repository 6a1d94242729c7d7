//! The task of a session: it finds a server, keeps the connection alive, passes requests on and answers back, and
//! when the connection is lost goes on with another server, until the session is over.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rand::rngs::{StdRng, SysRng};
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_rustls::TlsConnector;
use tracing::debug;

use super::chroot::Chroot;
use super::connection::{Connection, Io, Pending};
use super::watches::{SessionEvent, Waiter, WatchKind, WatchStream, Watches};
use super::{Credentials, Error, Options, Password, full_server};
use crate::ids::{SessionId, Zxid};
use crate::jute::{
    AddWatchMode, ConnectRequest, DecodeError, ErrorCode, OpCode, PASSWORD_BYTES, Reader, ReplyHeader,
    Request, Response, WatcherType, decode_event, decode_response, encode_request_frame, xid,
};

/// Requests without an answer at most; more stay in the queue.
const IN_FLIGHT_MAX: usize = 4096;
/// Bytes that wait to be written at most; then the queue is left alone.
const OUTPUT_BYTES_MAX: usize = 1 << 20;
/// Requests that are taken from the queue at once.
const BATCH_MAX: usize = 256;
/// The pause after all servers were tried in vain: doubled each time from the first to the second.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));
/// What an attempt to connect gets at least, however short the session timeout is.
const DIAL_TIMEOUT_MIN: Duration = Duration::from_millis(500);

/// Where a session stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SessionState {
    /// Looking for a server.
    Connecting,
    /// A server answers.
    Connected,
    /// A server answers that is cut off from the ensemble: it lets clients read, and change nothing. Only with
    /// [`Options::read_only`].
    ConnectedReadOnly,
    /// Over: the ensemble has ended it.
    Expired,
    /// Over: credentials were refused.
    AuthFailed,
    /// Over: the client has closed it.
    Closed,
}

impl SessionState {
    /// True while a server answers.
    pub fn has_server(self) -> bool {
        matches!(self, SessionState::Connected | SessionState::ConnectedReadOnly)
    }

    /// What requests fail with if the session is over.
    pub(super) fn end(self) -> Option<Error> {
        match self {
            SessionState::Connecting | SessionState::Connected | SessionState::ConnectedReadOnly => None,
            SessionState::Expired => Some(Error::SessionExpired),
            SessionState::AuthFailed => Some(Error::AuthFailed),
            SessionState::Closed => Some(Error::Closed),
        }
    }
}

/// What is known of a session.
#[derive(Clone, Debug)]
pub struct SessionStatus {
    /// where it stands
    pub state: SessionState,
    /// 0 before the first server has answered
    pub id: SessionId,
    /// with the id it lets another client go on with the session
    pub password: Password,
    /// as the server has granted it
    pub timeout: Duration,
    /// the one it is connected to
    pub server: Option<SocketAddr>,
    /// why the last connection ended or could not be made
    pub last_failure: Option<String>,
}

/// The server's answer to a request that succeeded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// the newest transaction that the server had applied
    pub zxid: Zxid,
    /// what was asked for
    pub response: Response,
}

/// An [`Answer`] that is on its way.
#[derive(Debug)]
pub struct Reply(pub(super) oneshot::Receiver<Result<Answer, Error>>);

impl Future for Reply {
    type Output = Result<Answer, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|reply| reply.unwrap_or(Err(Error::Closed)))
    }
}

/// A watch that begins when the request it came with succeeds.
pub(super) enum WatchOrder {
    /// one that is gone when it fires
    Once { kind: WatchKind, path: String, waiter: Waiter },
    /// one that stays
    Lasting { mode: AddWatchMode, path: String, stream: oneshot::Sender<WatchStream> },
    /// no more of these; `without_server`: also if no server answers
    Removed { watches: WatcherType, path: String, without_server: bool },
}

/// A request as a handle gives it to the task.
pub(super) struct Outgoing {
    /// whole, but for the xid
    pub frame: BytesMut,
    pub op: i32,
    pub reply: oneshot::Sender<Result<Answer, Error>>,
    pub watch: Option<WatchOrder>,
}

/// What a handle asks of the task.
pub(super) enum Command {
    Request(Outgoing),
    Authenticate(Credentials, oneshot::Sender<Result<(), Error>>),
    Tell(mpsc::Sender<SessionEvent>),
}

/// Why a connection is not used any more.
enum Ended {
    /// The session goes on elsewhere.
    Connection(String),
    /// The session is over.
    Session(SessionState),
}

impl<E: std::error::Error> From<E> for Ended {
    fn from(error: E) -> Ended {
        Ended::Connection(error.to_string())
    }
}

/// The session, without its connection.
pub(super) struct Session {
    servers: Vec<String>,
    next_server: usize,
    rng: StdRng,
    chroot: Chroot,
    options: Options,
    tls: Option<TlsConnector>,
    id: SessionId,
    password: Password,
    /// the ensemble knows of the session: a server that is cut off has its own, which no other server takes
    is_of_ensemble: bool,
    /// the server is cut off
    is_read_only: bool,
    timeout: Duration,
    last_zxid: Zxid,
    watches: Watches,
    commands: mpsc::Receiver<Command>,
    closing: mpsc::Receiver<oneshot::Sender<()>>,
    close_waiter: Option<oneshot::Sender<()>>,
    close_sent: bool,
    status: watch::Sender<SessionStatus>,
}

impl Session {
    /// A session that [`Session::run`] opens, and where to watch it.
    pub fn new(
        mut servers: Vec<String>,
        chroot: Chroot,
        options: Options,
        tls: Option<TlsConnector>,
        commands: mpsc::Receiver<Command>,
        closing: mpsc::Receiver<oneshot::Sender<()>>,
    ) -> (Session, watch::Receiver<SessionStatus>) {
        let mut rng = StdRng::try_from_rng(&mut SysRng).expect("the system has random numbers");
        servers.shuffle(&mut rng);
        let (id, password) = options
            .session
            .clone()
            .unwrap_or((SessionId(0), Password(Bytes::from_static(&[0; PASSWORD_BYTES]))));
        let (status, status_rx) = watch::channel(SessionStatus {
            state: SessionState::Connecting,
            id,
            password: password.clone(),
            timeout: options.session_timeout,
            server: None,
            last_failure: None,
        });
        let session = Session {
            servers,
            next_server: 0,
            rng,
            chroot,
            id,
            password,
            is_of_ensemble: options.session.is_some(),
            is_read_only: false,
            timeout: options.session_timeout,
            options,
            tls,
            last_zxid: Zxid::ZERO,
            watches: Watches::default(),
            commands,
            closing,
            close_waiter: None,
            close_sent: false,
            status,
        };
        (session, status_rx)
    }

    /// Runs until the session is over.
    pub async fn run(mut self) {
        let end = loop {
            let connection = match self.establish().await {
                Ok(connection) => connection,
                Err(end) => break end,
            };
            match self.serve(connection).await {
                Ended::Connection(reason) => self.note_failure(reason),
                Ended::Session(end) => break end,
            }
        };
        self.finish(end);
    }

    /// Tells everyone who still waits that the session is over.
    fn finish(&mut self, end: SessionState) {
        let error = end.end().expect("only an end ends the session");
        self.status.send_modify(|status| {
            status.state = end;
            status.server = None;
        });
        self.commands.close();
        self.fail_queued(&error);
        self.watches.end(&error);
        if let Some(waiter) = self.close_waiter.take() {
            let _ = waiter.send(());
        }
    }

    fn fail_queued(&mut self, error: &Error) {
        while let Ok(command) = self.commands.try_recv() {
            match command {
                Command::Request(outgoing) => self.fail(outgoing.watch, outgoing.reply, error),
                Command::Authenticate(_, done) => drop(done.send(Err(error.clone()))),
                Command::Tell(listener) => self.watches.listen(listener),
            }
        }
    }

    /// No server answers a request, or nobody knows whether one did.
    fn fail(
        &mut self,
        watch: Option<WatchOrder>,
        reply: oneshot::Sender<Result<Answer, Error>>,
        error: &Error,
    ) {
        let result = match (watch, error) {
            (Some(WatchOrder::Removed { watches, path, without_server: true }), Error::ConnectionLoss) => {
                // The next server is not told of them.
                self.watches.remove(watches, &path, &self.chroot, false);
                Ok(Answer { zxid: self.last_zxid, response: Response::Empty })
            }
            _ => Err(error.clone()),
        };
        // Whoever dropped the `Reply` does not want to know.
        let _ = reply.send(result);
    }

    fn note_failure(&mut self, reason: String) {
        debug!(session = %self.id, reason, "connection lost");
        self.status.send_modify(|status| {
            status.state = SessionState::Connecting;
            status.server = None;
            status.last_failure = Some(reason);
        });
    }

    /// Tries one server after the other until one takes the session. Requests wait in the queue meanwhile, but not
    /// longer than the session can live without a server.
    async fn establish(&mut self) -> Result<Connection, SessionState> {
        let lost_at = Instant::now();
        let (mut backoff, backoff_max) = BACKOFF;
        loop {
            for _ in 0..self.servers.len() {
                if let Some(connection) = self.dial_next().await? {
                    return Ok(connection);
                }
            }
            if self.close_sent {
                // The ensemble ends the session in time; nobody waits for that.
                return Err(SessionState::Closed);
            }
            if lost_at.elapsed() >= self.timeout {
                self.fail_queued(&Error::ConnectionLoss);
            }
            let pause = backoff.mul_f64(self.rng.random_range(0.5..1.0));
            tokio::select! {
                () = sleep(pause) => backoff = (backoff * 2).min(backoff_max),
                waiter = self.closing.recv() => {
                    self.close_waiter = waiter;
                    return Err(SessionState::Closed);
                }
            }
        }
    }

    /// Tries the next server of the list; `None` if it does not take the session.
    async fn dial_next(&mut self) -> Result<Option<Connection>, SessionState> {
        let server = self.servers[self.next_server].clone();
        self.next_server = (self.next_server + 1) % self.servers.len();
        let hello = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: self.last_zxid,
            timeout_ms: i32::try_from(self.options.session_timeout.as_millis()).unwrap_or(i32::MAX),
            session_id: if self.is_of_ensemble { self.id } else { SessionId(0) },
            password: self.password.0.clone(),
            read_only: Some(self.options.read_only),
        };
        let (login, frame_bytes_max) = (self.options.sasl.as_ref(), self.options.frame_bytes_max);
        let tls = self.tls.as_ref();
        let nonce = format!("{:032x}", self.rng.random::<u128>());
        let open = async {
            let (mut connection, response, address) =
                Connection::open(&server, &hello, frame_bytes_max, tls).await?;
            if let Some(login) = login.filter(|_| response.timeout_ms > 0) {
                connection.log_in(login, &nonce).await?;
            }
            Ok::<_, anyhow::Error>((connection, response, address))
        };
        let limit = (self.timeout / self.servers.len() as u32).max(DIAL_TIMEOUT_MIN);
        let attempt = tokio::select! {
            attempt = timeout(limit, open) => attempt,
            waiter = self.closing.recv(), if !self.close_sent => {
                self.close_waiter = waiter;
                return Err(SessionState::Closed);
            }
        };
        let (mut connection, response, address) = match attempt {
            Ok(Ok(opened)) => opened,
            Ok(Err(error)) if matches!(error.downcast_ref(), Some(Error::AuthFailed)) => {
                return Err(SessionState::AuthFailed);
            }
            Ok(Err(error)) => {
                self.note_failure(format!("{server}: {error}"));
                return Ok(None);
            }
            Err(_) => {
                self.note_failure(format!("{server}: no answer in {} ms", limit.as_millis()));
                return Ok(None);
            }
        };
        if response.timeout_ms <= 0 || response.session_id == SessionId(0) {
            return Err(if self.close_sent { SessionState::Closed } else { SessionState::Expired });
        }
        self.id = response.session_id;
        self.password = Password(response.password);
        self.timeout = Duration::from_millis(response.timeout_ms.unsigned_abs().into());
        self.is_read_only = response.read_only == Some(true);
        self.is_of_ensemble |= !self.is_read_only;
        self.restore(&mut connection);
        debug!(session = %self.id, %address, "connected");
        self.status.send_modify(|status| {
            status.state = match self.is_read_only {
                true => SessionState::ConnectedReadOnly,
                false => SessionState::Connected,
            };
            status.id = self.id;
            status.password = self.password.clone();
            status.timeout = self.timeout;
            status.server = Some(address);
        });
        Ok(Some(connection))
    }

    /// Brings credentials and watches to a new server, ahead of every request.
    fn restore(&mut self, connection: &mut Connection) {
        for Credentials { scheme, auth } in &self.options.credentials {
            connection.push_special(xid::AUTH, &Request::Auth { scheme, auth });
            connection.pending_auth.push_back(None);
        }
        self.watches.encode_set_watches(self.last_zxid, &mut connection.output);
        self.watches.tell_gap();
    }

    /// Works on `connection` until it or the session ends; those whose answers did not come are told.
    async fn serve(&mut self, mut connection: Connection) -> Ended {
        let ended = match self.pump(&mut connection).await {
            Ok(never) => match never {},
            Err(ended) => ended,
        };
        let error = match ended {
            Ended::Session(end) => end.end().unwrap_or(Error::ConnectionLoss),
            Ended::Connection(_) => Error::ConnectionLoss,
        };
        for pending in connection.pending.drain(..) {
            self.fail(pending.watch, pending.reply, &error);
        }
        for done in connection.pending_auth.drain(..).flatten() {
            let _ = done.send(Err(error.clone()));
        }
        ended
    }

    async fn pump(&mut self, connection: &mut Connection) -> Result<std::convert::Infallible, Ended> {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        let (servers, tls) = (self.servers.clone(), self.tls.clone());
        let mut search = pin!(full_server::find(&servers, self.next_server, tls.as_ref()));
        let mut is_found = false;
        if self.close_sent {
            // The connection was lost before the answer came.
            self.begin_close(connection);
        }
        loop {
            let wake_at = connection.wake_at(self.timeout);
            let takes_requests = !self.close_sent
                && connection.pending.len() < IN_FLIGHT_MAX
                && connection.output.len() < OUTPUT_BYTES_MAX
                && !is_found;
            if is_found && connection.pending.is_empty() {
                return Err(Ended::Connection("another server is not read-only".to_owned()));
            }
            tokio::select! {
                io = connection.io() => {
                    if let Io::Read = io? {
                        while let Some(frame) = connection.next_frame()? {
                            self.on_frame(connection, &frame)?;
                        }
                    }
                }
                count = self.commands.recv_many(&mut batch, BATCH_MAX), if takes_requests => {
                    if count == 0 {
                        self.begin_close(connection);
                    }
                    for command in batch.drain(..) {
                        self.on_command(connection, command);
                    }
                }
                waiter = self.closing.recv(), if !self.close_sent => {
                    self.close_waiter = waiter;
                    self.begin_close(connection);
                }
                found = &mut search, if self.is_read_only && !is_found => {
                    (self.next_server, is_found) = (found, true);
                }
                () = sleep_until(wake_at) => {
                    if let Some(late) = connection.overdue() {
                        let error = Error::Server(ErrorCode::RequestTimeout);
                        self.fail(late.watch, late.reply, &error);
                        return Err(error.into());
                    }
                    connection.keep_alive(self.timeout)?;
                }
            }
        }
    }

    fn on_command(&mut self, connection: &mut Connection, command: Command) {
        match command {
            Command::Request(Outgoing { frame, op, reply, watch }) => {
                let xid = connection.push_frame(frame);
                let due = self.options.request_timeout.map(|limit| Instant::now() + limit);
                connection.pending.push_back(Pending { xid, op, reply, watch, due });
            }
            Command::Tell(listener) => self.watches.listen(listener),
            Command::Authenticate(credentials, done) => {
                let Credentials { scheme, auth } = &credentials;
                connection.push_special(xid::AUTH, &Request::Auth { scheme, auth });
                connection.pending_auth.push_back(Some(done));
                if !self.options.credentials.contains(&credentials) {
                    self.options.credentials.push(credentials);
                }
            }
        }
    }

    /// Asks the server to end the session, after all that is in the queue.
    fn begin_close(&mut self, connection: &mut Connection) {
        while let Ok(command) = self.commands.try_recv() {
            self.on_command(connection, command);
        }
        let mut frame = BytesMut::new();
        encode_request_frame(0, &Request::CloseSession, &mut frame);
        let (reply, _) = oneshot::channel();
        let xid = connection.push_frame(frame);
        connection.pending.push_back(Pending {
            xid,
            op: OpCode::CloseSession as i32,
            reply,
            watch: None,
            due: None,
        });
        self.close_sent = true;
    }

    fn on_frame(&mut self, connection: &mut Connection, frame: &[u8]) -> Result<(), Ended> {
        let mut reader = Reader::new(frame);
        let header = ReplyHeader::decode(&mut reader)?;
        match header.xid {
            xid::PING | xid::SET_WATCHES => Ok(()),
            xid::NOTIFICATION => self.on_event(header, reader.left()),
            xid::AUTH => on_auth(connection, header),
            _ => self.on_reply(connection, header, reader.left()),
        }
    }

    fn on_event(&mut self, header: ReplyHeader, body: &[u8]) -> Result<(), Ended> {
        match decode_event(header.zxid, body) {
            Ok(event) => self.watches.fire(&event, &self.chroot),
            // A kind of event that this client never asks for is none of its business.
            Err(DecodeError::UnknownCode { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn on_reply(
        &mut self,
        connection: &mut Connection,
        header: ReplyHeader,
        body: &[u8],
    ) -> Result<(), Ended> {
        let expected = connection.pending.front().map(|pending| pending.xid);
        if expected != Some(header.xid) {
            let reason = format!("an answer to request {}, where one to {expected:?} was due", header.xid);
            return Err(Ended::Connection(reason));
        }
        let Some(Pending { op, reply, watch, .. }) = connection.pending.pop_front() else {
            return Ok(());
        };
        // A server that has not applied anything says -1, or 0.
        if header.zxid.0.cast_signed() > 0 {
            self.last_zxid = self.last_zxid.max(header.zxid);
        }
        let result = match ErrorCode::try_from(header.err) {
            Ok(ErrorCode::Ok) => decode_response(op, body)
                .map(|response| Answer { zxid: header.zxid, response })
                .map_err(Error::Protocol),
            Ok(code) => Err(Error::Server(code)),
            Err(unknown) => Err(Error::Protocol(unknown)),
        };
        match (watch, &result) {
            (Some(WatchOrder::Once { kind, path, waiter }), Ok(_)) => self.watches.add(kind, path, waiter),
            (Some(WatchOrder::Once { path, waiter, .. }), Err(Error::Server(ErrorCode::NoNode)))
                if op == OpCode::Exists as i32 =>
            {
                self.watches.add(WatchKind::Exist, path, waiter);
            }
            (Some(WatchOrder::Lasting { mode, path, stream }), Ok(_)) => {
                // Whoever dropped the other end does not want to know.
                let _ = stream.send(self.watches.subscribe(mode, path));
            }
            (Some(WatchOrder::Removed { watches, path, .. }), Ok(_)) => {
                self.watches.remove(watches, &path, &self.chroot, true);
            }
            _ => {}
        }
        // Whoever dropped the `Reply` does not want to know.
        let _ = reply.send(result);
        if op == OpCode::CloseSession as i32 {
            return Err(Ended::Session(SessionState::Closed));
        }
        Ok(())
    }
}

fn on_auth(connection: &mut Connection, header: ReplyHeader) -> Result<(), Ended> {
    let done = connection.pending_auth.pop_front().flatten();
    let result = match ErrorCode::try_from(header.err) {
        Ok(ErrorCode::Ok) => Ok(()),
        Ok(ErrorCode::AuthFailed) => Err(Error::AuthFailed),
        Ok(code) => Err(Error::Server(code)),
        Err(unknown) => Err(Error::Protocol(unknown)),
    };
    let refused = result == Err(Error::AuthFailed);
    if let Some(done) = done {
        let _ = done.send(result);
    }
    if refused { Err(Ended::Session(SessionState::AuthFailed)) } else { Ok(()) }
}
