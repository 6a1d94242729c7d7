//! What a session can be asked to be.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use tokio_rustls::TlsConnector;

use crate::ids::SessionId;
use crate::tls::{self, TlsError};

/// How to open a session.
#[derive(Clone, Debug)]
pub struct Options {
    /// After so long without a word from the client the ensemble ends the session; the server may grant another value.
    /// Default 10 s: long enough for an election, short enough for the ephemerals of a dead process.
    pub session_timeout: Duration,
    /// [`super::Client::connect`] fails if no server could be reached in this time. Default 10 s.
    pub connect_timeout: Duration,
    /// Sent on every connection, before anything else.
    pub credentials: Vec<Credentials>,
    /// Proved on every connection, before the credentials. Default none.
    pub sasl: Option<SaslLogin>,
    /// Go on with this session instead of a new one: its id and password.
    pub session: Option<(SessionId, Password)>,
    /// A longer frame from the server ends the connection. Default 64 MiB: far above what a list of children takes.
    pub frame_bytes_max: usize,
    /// Speak TLS with the servers. Default: none, plain text.
    pub tls: Option<TlsFiles>,
    /// Be content with a server that is cut off from the ensemble and lets clients read what it has; as soon as one is
    /// found that is not, the client goes on there. Requests that change something fail with
    /// NOTREADONLY meanwhile. Default false.
    pub read_only: bool,
    /// A request that has been with a server for so long fails with REQUESTTIMEOUT, and the connection is given up; whether
    /// the request was carried out is unknown. Default none: the session timeout tells a dead server, and nothing a slow
    /// one.
    pub request_timeout: Option<Duration>,
}

/// What to speak TLS with: PEM files. They are read when the client is made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlsFiles {
    /// The authorities that sign the servers' certificates, which must be for the names in the connect string.
    pub ca: PathBuf,
    /// The client's own certificate and its key, which may be in one file. Servers that need one refuse a client without.
    pub identity: Option<(PathBuf, PathBuf)>,
}

impl TlsFiles {
    /// Reads the files.
    pub fn connector(&self) -> Result<TlsConnector, TlsError> {
        let identity = self.identity.as_ref().map(|(certificate, key)| (&**certificate, &**key));
        tls::dialler(&self.ca, identity)
    }
}

impl Default for Options {
    fn default() -> Options {
        Options {
            session_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(10),
            credentials: Vec::new(),
            sasl: None,
            session: None,
            frame_bytes_max: 64 << 20,
            tls: None,
            read_only: false,
            request_timeout: None,
        }
    }
}

/// A user of SASL. Its `Debug` does not show the password.
#[derive(Clone, PartialEq, Eq)]
pub struct SaslLogin {
    /// how the password is proved
    pub mechanism: SaslMechanism,
    /// the name
    pub user: String,
    /// what the server knows it by
    pub password: String,
}

impl fmt::Debug for SaslLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SaslLogin").field("user", &self.user).finish_non_exhaustive()
    }
}

/// How a password is proved without being sent.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum SaslMechanism {
    /// ZooKeeper has it too
    #[default]
    DigestMd5,
    /// better; only servers of Zabra have it
    ScramSha256,
}

/// Who the client claims to be. Its `Debug` does not show the secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// `digest` ...
    pub scheme: String,
    /// `user:password` ...
    pub auth: Bytes,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("scheme", &self.scheme).finish_non_exhaustive()
    }
}

/// What proves that a session is one's own. Its `Debug` does not show it: whoever knows it can take the session over.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(pub Bytes);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}
