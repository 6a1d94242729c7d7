//! What can go wrong for a client.

use thiserror::Error;

use crate::jute::{DecodeError, ErrorCode, FrameError};
use crate::tls::TlsError;

/// Why a request or a session came to nothing.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum Error {
    /// The server's answer.
    #[error("{0}")]
    Server(ErrorCode),
    /// One operation of a multi failed, so none was carried out.
    #[error("operation {index} of the multi: {code}")]
    Multi {
        /// which one, counted from 0
        index: usize,
        /// the server's answer to it
        code: ErrorCode,
    },
    /// The connection ended before the answer came: the request may have been carried out or not. The client goes on
    /// with another server.
    #[error("the connection was lost; whether the request was carried out is unknown")]
    ConnectionLoss,
    /// The ensemble has ended the session; its ephemeral znodes and watches are gone. Connect anew.
    #[error("the session has expired")]
    SessionExpired,
    /// The credentials were refused, which ends the session's use.
    #[error("authentication failed")]
    AuthFailed,
    /// [`super::Client::close`] was called.
    #[error("the client is closed")]
    Closed,
    /// No server could be reached in the time that was given.
    #[error("no server of {servers} could be reached in {waited_ms} ms: {reason}")]
    Unreachable {
        /// the list of the connect string
        servers: String,
        /// how long it was tried
        waited_ms: u128,
        /// what the last attempt failed with
        reason: String,
    },
    /// The connect string is not one.
    #[error("connect string {text:?}: {reason}")]
    ConnectString {
        /// as it was given
        text: String,
        /// what is wrong with it
        reason: &'static str,
    },
    /// A file for TLS cannot be used.
    #[error("TLS: {0}")]
    Tls(#[from] TlsError),
    /// The server answered with something that is no answer to the request.
    #[error("the server's answer could not be understood: {0}")]
    Protocol(#[from] DecodeError),
    /// The server sent something that is not a frame.
    #[error("the server sent something that is not a frame: {0}")]
    Frame(#[from] FrameError),
    /// The server answered with a response of another kind than the request calls for.
    #[error("the server's answer is not of the kind that was asked for")]
    UnexpectedResponse,
}

impl Error {
    /// The server's code, where there is one; the client's own conditions have one as well.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Error::Server(code) | Error::Multi { code, .. } => Some(*code),
            Error::ConnectionLoss => Some(ErrorCode::ConnectionLoss),
            Error::SessionExpired => Some(ErrorCode::SessionExpired),
            Error::AuthFailed => Some(ErrorCode::AuthFailed),
            _ => None,
        }
    }

    /// True if it is the server's answer `code`.
    pub fn is(&self, code: ErrorCode) -> bool {
        self.code() == Some(code)
    }
}
