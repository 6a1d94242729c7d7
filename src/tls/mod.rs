//! TLS: from the files that a configuration names to what rustls needs, and who a certificate is for.
//!
//! | file | what |
//! |---|---|
//! | `store` | keys, certificates and revocation lists, from PEM and PKCS12 files |
//! | `parameters` | versions and cipher suites, by the names that ZooKeeper's users know |
//! | `stream` | the bytes of a connection, plain or through TLS |
//! | `endpoint` | both sides of a connection, and files that are read again when they change |
//! | `verify` | whether a certificate is for a host |
//! | `subject` | the subject of a certificate, as Java prints it |
//!
//! No session is resumed: whoever comes again shows its certificate again, which may have been revoked meanwhile.

mod endpoint;
mod parameters;
mod store;
mod stream;
mod subject;
mod verify;

use thiserror::Error;

pub use endpoint::{Tls, connected, dialler};
pub use stream::{Halves, Stream};
pub use subject::subject;
pub use verify::{check_host, server_name};

/// What is wrong with a setting, or with the file that it names.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("{key}={value}: {reason}")]
pub struct TlsError {
    /// as the configuration has it
    pub key: String,
    /// what it says there, a file for example; never a secret
    pub value: String,
    /// what was found, and what was expected
    pub reason: String,
}

impl TlsError {
    fn new(key: String, value: impl std::fmt::Display, reason: impl Into<String>) -> TlsError {
        TlsError { key, value: value.to_string(), reason: reason.into() }
    }
}
