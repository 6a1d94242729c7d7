//! The Rust client: a session with an ensemble, kept over whichever of its servers can be reached.
//!
//! ```no_run
//! # async fn example() -> Result<(), zabra::client::Error> {
//! use zabra::client::{Client, Options};
//! use zabra::jute::CreateMode;
//!
//! let client = Client::connect("127.0.0.1:2181,127.0.0.1:2182/app", Options::default()).await?;
//! client.create("/leader", b"me", CreateMode::Ephemeral).await?;
//! let (data, stat, watch) = client.get_data_watched("/leader").await?;
//! println!("{data:?}, version {}", stat.version);
//! println!("{:?}", watch.event().await?);
//! client.close().await
//! # }
//! ```
//!
//! A [`Client`] is a handle: clones share one session. Its task (`session`) owns the connection, keeps it alive with
//! pings, and when it is lost goes to another server with the session's id and password, taking its watches and
//! credentials along. A request that was on its way then fails with [`Error::ConnectionLoss`], because nobody can tell
//! whether it was carried out; requests that were not sent yet wait for the next server, at most a session timeout.
//! The answers come in the order of the requests. A client with [`Options::read_only`] takes a server without a leader
//! too, and leaves it as soon as another has one (`full_server`).

mod chroot;
mod connect_string;
mod connection;
mod error;
mod full_server;
pub mod lock;
mod login;
mod ops;
mod options;
mod session;
mod watches;

#[cfg(test)]
mod tests;

use tokio::sync::{mpsc, oneshot, watch};

pub use error::Error;
pub use options::{Credentials, Options, Password, SaslLogin, SaslMechanism, TlsFiles};
pub use session::{Answer, SessionState, SessionStatus};
pub use watches::{SessionEvent, Watch, WatchStream, Watched};

use chroot::Chroot;
use connect_string::ConnectString;
use session::{Command, Session};

/// Requests that wait for the session's task at most; more wait for room.
const QUEUED_REQUESTS_MAX: usize = 1024;

/// A session with an ensemble. Clones share it; when the last one is dropped the session is closed.
#[derive(Clone, Debug)]
pub struct Client {
    commands: mpsc::Sender<Command>,
    closing: mpsc::Sender<oneshot::Sender<()>>,
    status: watch::Receiver<SessionStatus>,
    chroot: Chroot,
}

impl Client {
    /// Opens a session with one of the servers of `connect`, which is `host:port,host:port/chroot`, or goes on with
    /// [`Options::session`].
    pub async fn connect(connect: &str, options: Options) -> Result<Client, Error> {
        let ConnectString { servers, chroot } = ConnectString::parse(connect)?;
        let chroot = Chroot::new(&chroot);
        let connect_timeout = options.connect_timeout;
        let connector = options.tls.as_ref().map(TlsFiles::connector).transpose()?;
        let (command_tx, command_rx) = mpsc::channel(QUEUED_REQUESTS_MAX);
        let (closing_tx, closing_rx) = mpsc::channel(1);
        let (session, status) =
            Session::new(servers.clone(), chroot.clone(), options, connector, command_rx, closing_rx);
        tokio::spawn(session.run());

        let client = Client { commands: command_tx, closing: closing_tx, status, chroot };
        match tokio::time::timeout(connect_timeout, client.connected()).await {
            Ok(connected) => connected.map(|()| client),
            Err(_) => Err(Error::Unreachable {
                servers: servers.join(","),
                waited_ms: connect_timeout.as_millis(),
                reason: client.status.borrow().last_failure.clone().unwrap_or("no answer".to_owned()),
            }),
        }
    }

    /// Waits until the session has a connection, be it with a server that is read-only; fails if it is over.
    pub async fn connected(&self) -> Result<(), Error> {
        let mut status = self.status.clone();
        let status = status
            .wait_for(|status| status.state.has_server() || status.state.end().is_some())
            .await
            .map_err(|_| Error::Closed)?;
        status.state.end().map_or(Ok(()), Err)
    }

    /// The session's id, password and negotiated timeout, its state and the server it is connected to.
    pub fn status(&self) -> SessionStatus {
        self.status.borrow().clone()
    }

    /// The same, to wait for changes.
    pub fn watch_status(&self) -> watch::Receiver<SessionStatus> {
        self.status.clone()
    }

    /// Ends the session: its ephemeral znodes go. Requests that were made before are carried out first. Returns when
    /// the server has confirmed it, or cannot be reached, in which case the ensemble ends the session after its
    /// timeout.
    pub async fn close(self) -> Result<(), Error> {
        let (done_tx, done_rx) = oneshot::channel();
        if self.closing.send(done_tx).await.is_ok() {
            // An error means that the session ended in another way meanwhile, which the status tells.
            let _ = done_rx.await;
        }
        match self.status.borrow().state.end() {
            None | Some(Error::Closed) => Ok(()),
            Some(error) => Err(error),
        }
    }
}
