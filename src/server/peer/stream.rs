//! The bytes of a connection between servers: as they are, or through TLS; and whose certificate is at the other end.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsStream;

use super::PeerContext;
use crate::config::ServerAddr;
use crate::ids::ServerId;
use crate::server::net;
use crate::tls;

/// Either of the two.
#[derive(Debug)]
pub(super) enum PeerStream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

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

/// What is spoken on a connection to `peer` that this server dialled. With TLS the certificate there is for its host.
pub(super) async fn secured(
    context: &PeerContext,
    peer: &ServerAddr,
    socket: TcpStream,
) -> Result<PeerStream, StreamError> {
    let tls = context.tls.as_ref().filter(|_| context.settings.ssl_quorum);
    let Some(connector) = tls.and_then(|tls| tls.connector()) else {
        return Ok(PeerStream::Plain(socket));
    };
    let name = tls::server_name(&peer.host).map_err(StreamError::Name)?;
    let connected = connector.connect(name, socket).await.map_err(StreamError::Handshake)?;
    Ok(PeerStream::Tls(Box::new(connected.into())))
}

/// What is spoken on a connection that another server dialled.
pub(super) async fn accepted(context: &PeerContext, socket: TcpStream) -> Result<PeerStream, StreamError> {
    let Some(tls) = &context.tls else { return Ok(PeerStream::Plain(socket)) };
    if context.settings.port_unification {
        let limit_ms = tls.settings().detection_ms_max;
        let begins = timeout(Duration::from_millis(u64::from(limit_ms)), net::begins_tls(&socket)).await;
        if begins.map_err(|_| StreamError::Silent(limit_ms))?? != Some(true) {
            return Ok(PeerStream::Plain(socket));
        }
    }
    let accepted = tls.acceptor().accept(socket).await.map_err(StreamError::Handshake)?;
    Ok(PeerStream::Tls(Box::new(accepted.into())))
}

impl PeerStream {
    /// Whether the certificate at the other end, which dialled, is for the host of the server that it says it is. In plain
    /// text nobody shows one, and the error is for the log of both.
    pub fn check_is(&self, context: &PeerContext, id: ServerId) -> Result<(), String> {
        let (PeerStream::Tls(stream), Some(tls)) = (self, &context.tls) else { return Ok(()) };
        if !tls.settings().client_hostname_verification {
            return Ok(());
        }
        let peer = context.settings.peers().find(|peer| peer.id == id);
        let peer = peer.ok_or_else(|| format!("server {id} is not in the server list"))?;
        let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let own = chain.first().ok_or("it has shown no certificate")?;
        tls::check_host(own, &peer.host)
    }

    /// The two directions, for two tasks.
    pub fn split(self) -> (Box<dyn AsyncRead + Send + Unpin>, Box<dyn AsyncWrite + Send + Unpin>) {
        match self {
            PeerStream::Plain(socket) => {
                let (read, write) = socket.into_split();
                (Box::new(read), Box::new(write))
            }
            PeerStream::Tls(stream) => {
                let (read, write) = tokio::io::split(*stream);
                (Box::new(read), Box::new(write))
            }
        }
    }
}

impl AsyncRead for PeerStream {
    fn poll_read(
        self: Pin<&mut PeerStream>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            PeerStream::Plain(socket) => Pin::new(socket).poll_read(context, buffer),
            PeerStream::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for PeerStream {
    fn poll_write(
        self: Pin<&mut PeerStream>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            PeerStream::Plain(socket) => Pin::new(socket).poll_write(context, bytes),
            PeerStream::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut PeerStream>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            PeerStream::Plain(socket) => Pin::new(socket).poll_flush(context),
            PeerStream::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut PeerStream>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            PeerStream::Plain(socket) => Pin::new(socket).poll_shutdown(context),
            PeerStream::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
