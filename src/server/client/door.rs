//! What comes before the first byte of the protocol: TLS or not, and who the client is by its certificate.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{ClientContext, auth};
use crate::jute::AuthId;
use crate::server::net;
use crate::tls::{self, Stream, Tls};

/// How long a handshake may take. ZooKeeper's (Netty's) limit.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

/// How a port is entered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Door {
    /// In plain text.
    Plain,
    /// With TLS.
    Tls,
    /// As the client begins.
    Either,
}

/// Why a client was not let in.
#[derive(Debug, Error)]
enum Refused {
    #[error("it closed the connection before it said anything")]
    Gone,
    #[error("no byte came within {0} ms")]
    Silent(u32),
    #[error("{0} handshakes are going on, as many as netty.server.outstandingHandshake.limit allows")]
    TooMany(u32),
    #[error("its TLS handshake took longer than {} ms", HANDSHAKE_LIMIT.as_millis())]
    Slow,
    #[error("its TLS handshake failed: {0}")]
    Handshake(io::Error),
    #[error("its certificate cannot be used: {0}")]
    Certificate(String),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A connection that may begin, and who is at its other end. `None`: it may not, which is in the log.
pub(super) async fn enter(
    context: &ClientContext,
    peer: SocketAddr,
    socket: TcpStream,
    door: Door,
) -> Option<(Stream, Arc<[AuthId]>)> {
    let identities = auth::initial(peer.ip());
    let tls = match (door, &context.tls) {
        (Door::Plain, _) | (_, None) => return Some((Stream::Plain(socket), identities)),
        (_, Some(tls)) => tls,
    };
    // On the heap: a connection in plain text is not to be as big as a handshake.
    match Box::pin(negotiate(context, tls, peer, socket, door)).await {
        Ok((stream, None)) => Some((stream, identities)),
        Ok((stream, Some(subject))) => {
            let is_super = context.settings.x509_super_user.as_ref() == Some(&subject);
            tracing::debug!("client {peer} has a certificate for {subject:?}, super user: {is_super}");
            Some((stream, auth::certified(&identities, subject, is_super)))
        }
        Err(Refused::Gone) => None,
        Err(why) => {
            let subject = if matches!(why, Refused::TooMany(_)) {
                context.stats.count_handshake_exceeded();
                "handshakes".to_owned()
            } else {
                context.stats.count_handshake_failed();
                context.stats.count_auth_failed();
                format!("handshake {}", peer.ip())
            };
            context.quiet.say(&subject, |more| {
                tracing::warn!("client {peer} is refused: {why}{more}");
            });
            None
        }
    }
}

/// The stream, and the subject of the client's certificate if it has shown one.
async fn negotiate(
    context: &ClientContext,
    tls: &Tls,
    peer: SocketAddr,
    socket: TcpStream,
    door: Door,
) -> Result<(Stream, Option<String>), Refused> {
    if door == Door::Either {
        let limit_ms = tls.settings().detection_ms_max;
        let begins = timeout(Duration::from_millis(u64::from(limit_ms)), net::begins_tls(&socket)).await;
        match begins.map_err(|_| Refused::Silent(limit_ms))?? {
            None => return Err(Refused::Gone),
            Some(false) => return Ok((Stream::Plain(socket), None)),
            Some(true) => {}
        }
    }
    let most = context.settings.handshakes_max;
    let _counted = context.stats.begin_handshake(most).ok_or(Refused::TooMany(most))?;
    let accepted = timeout(HANDSHAKE_LIMIT, tls.acceptor().accept(socket)).await;
    let stream = accepted.map_err(|_| Refused::Slow)?.map_err(Refused::Handshake)?;
    let stream = Stream::Tls(Box::new(stream.into()));
    let subject = match stream.certificate() {
        None => None,
        Some(certificate) => {
            if tls.settings().client_hostname_verification {
                tls::check_host(certificate, &peer.ip().to_string()).map_err(Refused::Certificate)?;
            }
            let subject = tls::subject(certificate).map_err(Refused::Certificate)?;
            if subject.len() > auth::USER_BYTES_MAX {
                return Err(Refused::Certificate(format!("its subject has {} bytes", subject.len())));
            }
            Some(subject)
        }
    };
    Ok((stream, subject))
}
