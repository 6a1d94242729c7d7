//! What is spoken between two servers, plain text or TLS, and whose certificate is at the other end.

use std::io;
use std::time::Duration;

use thiserror::Error;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::PeerContext;
use crate::ids::ServerId;
use crate::membership::ServerAddr;
use crate::server::net;
use crate::tls::{self, Stream};

/// Why there is no stream.
#[derive(Debug, Error)]
pub enum StreamError {
    /// The connection broke.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// One side does not trust the other, or does not speak TLS.
    #[error("TLS: {0}")]
    Handshake(io::Error),
    /// Nothing can be dialled by this name with TLS.
    #[error("TLS: the host {0}")]
    Name(String),
    /// On a port for both the first byte tells which.
    #[error("no byte came within {0} ms")]
    Silent(u32),
}

/// What is spoken on a connection to another server that this one dialled. With TLS the certificate there is for `host`.
pub(super) async fn secured(
    context: &PeerContext,
    host: &str,
    socket: TcpStream,
) -> Result<Stream, StreamError> {
    let tls = context.tls.as_ref().filter(|_| context.settings.ssl_quorum);
    let Some(connector) = tls.and_then(|tls| tls.connector()) else {
        return Ok(Stream::Plain(socket));
    };
    let name = tls::server_name(host).map_err(StreamError::Name)?;
    let connected = connector.connect(name, socket).await.map_err(StreamError::Handshake)?;
    Ok(Stream::Tls(Box::new(connected.into())))
}

/// What is spoken on a connection that another server dialled.
pub(super) async fn accepted(context: &PeerContext, socket: TcpStream) -> Result<Stream, StreamError> {
    let Some(tls) = &context.tls else { return Ok(Stream::Plain(socket)) };
    if context.settings.port_unification {
        let limit_ms = tls.settings().detection_ms_max;
        let begins = timeout(Duration::from_millis(u64::from(limit_ms)), net::begins_tls(&socket)).await;
        if begins.map_err(|_| StreamError::Silent(limit_ms))?? != Some(true) {
            return Ok(Stream::Plain(socket));
        }
    }
    let accepted = tls.acceptor().accept(socket).await.map_err(StreamError::Handshake)?;
    Ok(Stream::Tls(Box::new(accepted.into())))
}

/// Whether the certificate at the other end, which dialled, is for the host of the server that it says it is. In plain text
/// nobody shows one. The error is for the log of both.
/// A stranger has to be at the address that it tells itself.
pub(super) fn check_is(
    stream: &Stream,
    context: &PeerContext,
    id: ServerId,
    told_address: &str,
) -> Result<(), String> {
    let (Stream::Tls(_), Some(tls)) = (stream, &context.tls) else { return Ok(()) };
    if !tls.settings().client_hostname_verification {
        return Ok(());
    }
    let certificate = stream.certificate().ok_or("it has shown no certificate")?;
    let mut addresses = context.directory().known().vouched_addresses(id);
    if addresses.is_empty() {
        addresses = vec![ServerAddr::parse(id, told_address).map_err(|_| "it does not tell its address")?];
    }
    // It does not tell from which of its addresses it dialled: for any of them will do.
    let hosts = addresses.iter().flat_map(ServerAddr::peer_addrs);
    let mut checks = hosts.map(|addr| tls::check_host(certificate, &addr.host));
    let first = checks.next().ok_or_else(|| format!("server {id} is not in the server list"))?;
    checks.fold(first, Result::or)
}
