//! The election port: every server tells every other its state, and hears the others'.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::frames::{ELECTION_FRAME_BYTES_MAX, FrameReader, PeerReadError};
use super::hello::{HelloError, LivePeer, answer, greet};
use super::{Backoff, INBOUND_MAX, PeerContext, codec, stream};
use crate::config::ServerAddr;
use crate::ids::ServerId;
use crate::replica::Input;
use crate::server::net::{self, ACCEPT_PAUSE};
use crate::tls::Stream;
use crate::zab::Notification;

/// The longest pause between dials: a server that comes back is part of the next election within it.
const DIAL_PAUSE_MAX: Duration = Duration::from_millis(500);

/// The connections to the election ports of the others.
#[derive(Debug)]
pub struct Electors {
    newest: BTreeMap<ServerId, watch::Sender<Option<Notification>>>,
}

impl Electors {
    /// Begins to dial every other server, each on a task of its own.
    pub fn start(context: &Arc<PeerContext>) -> Electors {
        let mut newest = BTreeMap::new();
        for peer in context.settings.peers() {
            let (sender, receiver) = watch::channel(None);
            newest.insert(peer.id, sender);
            tokio::spawn(keep_telling(Arc::clone(context), peer.clone(), receiver));
        }
        Electors { newest }
    }

    /// Tells a server the state, now and after every reconnect, until the next one replaces it.
    pub fn notify(&self, to: ServerId, notification: Notification) {
        if let Some(newest) = self.newest.get(&to) {
            newest.send_replace(Some(notification));
        }
    }
}

/// Keeps a connection to the election port of `peer`.
async fn keep_telling(
    context: Arc<PeerContext>,
    peer: ServerAddr,
    mut newest: watch::Receiver<Option<Notification>>,
) {
    if newest.wait_for(Option::is_some).await.is_err() {
        return;
    }
    let mut backoff = Backoff::new(DIAL_PAUSE_MAX);
    while newest.has_changed().is_ok() {
        match dial(&context, &peer).await {
            Ok((stream, _live)) => {
                backoff.reset();
                tracing::debug!("connected to the election port of server {}", peer.id);
                let error = tell(stream, &mut newest, context.heartbeat()).await;
                tracing::debug!("connection to the election port of server {} ended: {error}", peer.id);
            }
            Err(error) => {
                let what = format!("election port {}:{} of", peer.host, peer.election_port);
                context.complain(&what, peer.id, &error);
            }
        }
        backoff.pause().await;
    }
}

async fn dial(context: &PeerContext, peer: &ServerAddr) -> Result<(Stream, LivePeer), HelloError> {
    let limit = context.connect_limit();
    let socket = net::dial(&peer.host, peer.election_port, limit).await?;
    net::tune_peer(&socket, context.silence_max())?;
    let greeting = async {
        let mut stream = stream::secured(context, peer, socket).await?;
        let (_, live) = greet(&mut stream, &context.identity, &context.live, peer.id).await?;
        Ok((stream, live))
    };
    timeout(limit, greeting).await.unwrap_or_else(|_| Err(super::timed_out().into()))
}

/// Sends the newest notification when there is a new one, and at every heartbeat. Returns why it ended.
async fn tell(
    mut stream: Stream,
    newest: &mut watch::Receiver<Option<Notification>>,
    heartbeat: Duration,
) -> std::io::Error {
    let mut heartbeats = interval(heartbeat);
    heartbeats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut frame = BytesMut::new();
    let mut nothing = [0; 1];
    loop {
        tokio::select! {
            changed = newest.changed() => if changed.is_err() {
                return std::io::Error::other("this server stops");
            },
            _ = heartbeats.tick() => {}
            // The other side never says anything here, but this is how its end shows.
            read = stream.read(&mut nothing) => return match read {
                Ok(_) => std::io::Error::other("closed by the other side"),
                Err(error) => error,
            },
        }
        frame.clear();
        if let Some(notification) = newest.borrow_and_update().as_ref() {
            codec::encode_notification(notification, &mut frame);
        }
        let written = async {
            stream.write_all(&frame).await?;
            // TLS keeps back what the socket did not take.
            stream.flush().await
        };
        if let Err(error) = written.await {
            return error;
        }
    }
}

/// The connections from the others. Of two from the same server, the newer counts.
#[derive(Debug, Default)]
struct Inbound {
    newest: Mutex<BTreeMap<ServerId, Arc<Notify>>>,
}

impl Inbound {
    /// Makes a connection the one that counts; what it gets tells it when another takes its place.
    fn enter(&self, peer: ServerId) -> Arc<Notify> {
        let replaced = Arc::new(Notify::new());
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(older) = newest.insert(peer, Arc::clone(&replaced)) {
            older.notify_one();
        }
        replaced
    }

    /// Takes a connection out. True if it was still the one that counts.
    fn leave(&self, peer: ServerId, replaced: &Arc<Notify>) -> bool {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = newest.get(&peer).is_some_and(|newest| Arc::ptr_eq(newest, replaced));
        if counts {
            newest.remove(&peer);
        }
        counts
    }
}

/// Hears the notifications of the others until the task is aborted.
pub async fn listen(context: Arc<PeerContext>, listener: TcpListener) {
    let inbound = Arc::new(Inbound::default());
    let permits = Arc::new(Semaphore::new(INBOUND_MAX));
    loop {
        let permit = Arc::clone(&permits).acquire_owned().await.expect("never closed");
        match listener.accept().await {
            Ok((stream, from)) => {
                let (context, inbound) = (Arc::clone(&context), Arc::clone(&inbound));
                tokio::spawn(async move {
                    hear_from(&context, &inbound, stream, net::canonical(from)).await;
                    drop(permit);
                });
            }
            Err(error) => {
                context.quiet.say("election accept", |more| tracing::warn!("election port: {error}{more}"));
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn hear_from(context: &PeerContext, inbound: &Inbound, socket: TcpStream, from: std::net::SocketAddr) {
    let greeting = async {
        net::tune_peer(&socket, context.silence_max())?;
        let mut stream = stream::accepted(context, socket).await?;
        let (peer, live) = answer(&mut stream, &context.identity, &context.live, |stream, id| {
            stream::check_is(stream, context, id)
        })
        .await?;
        Ok::<_, HelloError>((stream, peer, live))
    };
    let greeted = timeout(context.connect_limit(), greeting).await;
    let (stream, peer, _live) = match greeted.unwrap_or_else(|_| Err(super::timed_out().into())) {
        Ok(greeted) => greeted,
        Err(error) => {
            let subject = format!("election {} {error}", from.ip());
            context.quiet.say(&subject, |more| {
                tracing::warn!("connection from {from} to the election port: {error}{more}");
            });
            return;
        }
    };
    let replaced = inbound.enter(peer);
    let ended = tokio::select! {
        error = hear(context, peer, stream) => Some(error),
        () = replaced.notified() => None,
    };
    if inbound.leave(peer, &replaced) {
        if let Some(error) = ended {
            tracing::debug!("nothing more is heard of server {peer} on the election port: {error}");
        }
        context.tell(Input::PeerGone { peer }).await;
    }
}

/// Passes on what `peer` says. Returns why it ended.
async fn hear(context: &PeerContext, peer: ServerId, stream: Stream) -> PeerReadError {
    let silence_max = context.silence_max();
    let mut frames = FrameReader::new(stream, ELECTION_FRAME_BYTES_MAX);
    loop {
        let frame = match timeout(silence_max, frames.next()).await {
            Ok(Ok(frame)) => frame,
            Ok(Err(error)) => return error,
            Err(_) => return PeerReadError::Silent(silence_max.as_millis()),
        };
        let notification = match codec::decode_notification(frame) {
            Ok(notification) => notification,
            Err(error) => {
                context.complain("election port, from", peer, &error);
                return error.into();
            }
        };
        if !context.tell(Input::Notification { from: peer, notification }).await {
            return PeerReadError::Closed;
        }
    }
}
