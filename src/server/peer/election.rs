//! The election port: every server tells every other its state, and hears the others'.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::AbortHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::frames::{ELECTION_FRAME_BYTES_MAX, FrameReader, PeerReadError};
use super::hello::{Greeted, HelloError, answer, greet};
use super::{Backoff, INBOUND_MAX, PeerContext, codec, shown, stream};
use crate::ids::ServerId;
use crate::membership::{Membership, ServerAddr};
use crate::replica::Input;
use crate::server::net::{self, ACCEPT_PAUSE, Ways};
use crate::tls::Stream;
use crate::zab::Notification;

/// The longest pause between dials: a server that comes back is part of the next election within it.
const DIAL_PAUSE_MAX: Duration = Duration::from_millis(500);

/// What each server is to be told: the newest state of this one.
#[derive(Debug, Default)]
pub struct ToldStates {
    of_each: Mutex<BTreeMap<ServerId, watch::Sender<Option<Notification>>>>,
    /// What was told last, to anybody.
    last: Mutex<Option<Notification>>,
}

impl ToldStates {
    fn tell(&self, to: ServerId, notification: Notification) {
        let mut of_each = self.of_each.lock().unwrap_or_else(PoisonError::into_inner);
        of_each.entry(to).or_default().send_replace(Some(notification));
    }

    fn listen(&self, to: ServerId) -> watch::Receiver<Option<Notification>> {
        let mut of_each = self.of_each.lock().unwrap_or_else(PoisonError::into_inner);
        of_each.entry(to).or_default().subscribe()
    }

    fn last(&self) -> Option<Notification> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl PeerContext {
    /// Nothing more is heard of a server on the connection that this server dialled; on one that it dialled itself it may
    /// be heard.
    async fn tell_gone(&self, peer: ServerId) {
        if !self.inbound.has(peer) {
            self.tell(Input::PeerGone { peer }).await;
        }
    }
}

/// The way from the core to the election ports of the others.
#[derive(Debug)]
pub struct Electors {
    context: Arc<PeerContext>,
}

impl Electors {
    /// Begins to dial every other server, each on a task of its own, and goes on as the servers change.
    pub fn start(context: &Arc<PeerContext>) -> Electors {
        tokio::spawn(keep_dialling(Arc::clone(context)));
        Electors { context: Arc::clone(context) }
    }

    /// The configurations that count are others.
    pub fn update(&self, active: Arc<Membership>, pending: Vec<Arc<Membership>>) {
        tracing::info!(version = %active.version, pending = pending.len(), "the servers of the ensemble");
        self.context.directory().update(active, pending);
    }

    /// Tells a server the state, now and after every reconnect, until the next one replaces it.
    pub fn notify(&self, to: ServerId, notification: Notification) {
        let told = &self.context.told;
        for id in self.context.directory().known().heard_of() {
            // Who is known by hearsay alone is nobody to the core before it answers, which it does when it is told.
            told.tell(id, notification.clone());
        }
        *told.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(notification.clone());
        told.tell(to, notification);
    }
}

/// Dials the servers that there are, as they change.
async fn keep_dialling(context: Arc<PeerContext>) {
    let mut changes = context.directory().changes();
    let mut dialling: BTreeMap<ServerId, AbortHandle> = BTreeMap::new();
    loop {
        let (others, heard_of) = {
            let known = changes.borrow_and_update();
            (known.others(), known.heard_of())
        };
        dialling.retain(|id, task| {
            let stays = others.contains(id);
            if !stays {
                task.abort();
            }
            stays
        });
        for id in others {
            if let Entry::Vacant(vacant) = dialling.entry(id) {
                if let Some(notification) = context.told.last().filter(|_| heard_of.contains(&id)) {
                    context.told.tell(id, notification);
                }
                vacant.insert(tokio::spawn(keep_telling(Arc::clone(&context), id)).abort_handle());
            }
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}

/// Keeps a connection to the election port of `peer`.
async fn keep_telling(context: Arc<PeerContext>, peer: ServerId) {
    let mut newest = context.told.listen(peer);
    if newest.wait_for(Option::is_some).await.is_err() {
        return;
    }
    let mut backoff = Backoff::new(DIAL_PAUSE_MAX);
    let mut ways = Ways::default();
    loop {
        let addresses = context.directory().known().addresses(peer);
        for address in addresses {
            match dial(&context, &address, &mut ways).await {
                Ok((stream, Greeted { version, live: _live, .. })) => {
                    backoff.reset();
                    context.tell(Input::PeerSpeaks { peer, version }).await;
                    tracing::debug!("connected to the election port of server {peer}");
                    let (read, write) = stream.split();
                    let error = tokio::select! {
                        error = tell(write, &mut newest, context.heartbeat(), || true) => error.to_string(),
                        error = hear_answers(&context, peer, read) => error.to_string(),
                    };
                    tracing::debug!("connection to the election port of server {peer} ended: {error}");
                    break;
                }
                Err(error) => {
                    let what = format!("election port {} of", shown(&address));
                    context.complain(&what, peer, &error);
                }
            }
        }
        backoff.pause().await;
    }
}

async fn dial(
    context: &PeerContext,
    peer: &ServerAddr,
    ways: &mut Ways,
) -> Result<(Stream, Greeted), HelloError> {
    let limit = context.connect_limit();
    let addrs: Vec<_> = peer.peer_addrs().map(|addr| (addr.host, addr.election_port)).collect();
    let (socket, host) = ways.dial(&addrs, limit).await?;
    net::tune_peer(&socket, context.silence_max())?;
    let greeting = async {
        let mut stream = stream::secured(context, &host, socket).await?;
        let greeted = greet(&mut stream, &context.identity, &context.live, peer.id, false).await?;
        Ok((stream, greeted))
    };
    timeout(limit, greeting).await.unwrap_or_else(|_| Err(super::timed_out().into()))
}

/// Sends the newest notification when there is a new one, and at every heartbeat, as long as `is_due`. Returns why it
/// ended.
async fn tell(
    mut stream: impl AsyncWrite + Unpin,
    newest: &mut watch::Receiver<Option<Notification>>,
    heartbeat: Duration,
    is_due: impl Fn() -> bool,
) -> std::io::Error {
    let mut heartbeats = interval(heartbeat);
    heartbeats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut frame = Vec::new();
    loop {
        tokio::select! {
            changed = newest.changed() => if changed.is_err() {
                return std::io::Error::other("this server stops");
            },
            _ = heartbeats.tick() => {}
        }
        if !is_due() {
            newest.mark_unchanged();
            continue;
        }
        frame.clear();
        if let Some(notification) = newest.borrow_and_update().as_ref() {
            codec::encode_notification(notification, &mut frame);
        }
        if let Err(error) = write_all(&mut stream, &frame).await {
            return error;
        }
    }
}

async fn write_all(stream: &mut (impl AsyncWrite + Unpin), frame: &[u8]) -> std::io::Result<()> {
    stream.write_all(frame).await?;
    // TLS keeps back what the socket did not take.
    stream.flush().await
}

/// Passes on what `peer` says on a connection that this server dialled: nothing, unless `peer` would not dial this server.
/// Returns why it ended.
async fn hear_answers(
    context: &PeerContext,
    peer: ServerId,
    stream: impl AsyncRead + Unpin,
) -> PeerReadError {
    let mut frames = FrameReader::new(stream, ELECTION_FRAME_BYTES_MAX);
    let mut is_heard = false;
    let error = loop {
        match timeout(context.silence_max(), frames.next()).await {
            Ok(Ok(frame)) => {
                is_heard = true;
                if let Err(error) = pass_on(context, peer, frame).await {
                    break error;
                }
            }
            Ok(Err(error)) => break error,
            // It may dial this server by now.
            Err(_) if is_heard => {
                is_heard = false;
                context.tell_gone(peer).await;
            }
            Err(_) => {}
        }
    };
    if is_heard {
        context.tell_gone(peer).await;
    }
    error
}

/// The connections from the others. Of two from the same server, the newer counts.
#[derive(Debug, Default)]
pub struct Inbound {
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

    fn has(&self, peer: ServerId) -> bool {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&peer)
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
    let permits = Arc::new(Semaphore::new(INBOUND_MAX));
    loop {
        let permit = Arc::clone(&permits).acquire_owned().await.expect("never closed");
        match listener.accept().await {
            Ok((stream, from)) => {
                let context = Arc::clone(&context);
                tokio::spawn(async move {
                    hear_from(&context, stream, net::canonical(from)).await;
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

async fn hear_from(context: &PeerContext, socket: TcpStream, from: std::net::SocketAddr) {
    let greeting = async {
        net::tune_peer(&socket, context.silence_max())?;
        let mut stream = stream::accepted(context, socket).await?;
        let greeted = answer(&mut stream, &context.identity, &context.live, false, |stream, id, address| {
            stream::check_is(stream, context, id, address)
        })
        .await?;
        Ok::<_, HelloError>((stream, greeted))
    };
    let greeted = timeout(context.connect_limit(), greeting).await;
    let (stream, Greeted { id: peer, version, live: _live }) =
        match greeted.unwrap_or_else(|_| Err(super::timed_out().into())) {
            Ok(greeted) => greeted,
            Err(error) => {
                let subject = format!("election {} {error}", from.ip());
                context.quiet.say(&subject, |more| {
                    tracing::warn!("connection from {from} to the election port: {error}{more}");
                });
                return;
            }
        };
    context.tell(Input::PeerSpeaks { peer, version }).await;
    let replaced = context.inbound.enter(peer);
    let (read, write) = stream.split();
    let mut newest = context.told.listen(peer);
    // A member is told on the connection that this server dials.
    let is_stranger = || !context.directory().known().is_member(peer);
    let ended = tokio::select! {
        error = hear(context, peer, read) => Some(error.to_string()),
        error = tell(write, &mut newest, context.heartbeat(), is_stranger) => Some(error.to_string()),
        () = replaced.notified() => None,
    };
    if context.inbound.leave(peer, &replaced) {
        if let Some(error) = ended {
            tracing::debug!("nothing more is heard of server {peer} on the election port: {error}");
        }
        context.tell(Input::PeerGone { peer }).await;
    }
}

/// Passes on what `peer` says. Returns why it ended.
async fn hear(context: &PeerContext, peer: ServerId, stream: impl AsyncRead + Unpin) -> PeerReadError {
    let silence_max = context.silence_max();
    let mut frames = FrameReader::new(stream, ELECTION_FRAME_BYTES_MAX);
    loop {
        let frame = match timeout(silence_max, frames.next()).await {
            Ok(Ok(frame)) => frame,
            Ok(Err(error)) => return error,
            Err(_) => return PeerReadError::Silent(silence_max.as_millis()),
        };
        if let Err(error) = pass_on(context, peer, frame).await {
            return error;
        }
    }
}

async fn pass_on(context: &PeerContext, peer: ServerId, frame: Bytes) -> Result<(), PeerReadError> {
    let notification = match codec::decode_notification(frame) {
        Ok(notification) => notification,
        Err(error) => {
            context.complain("election port, from", peer, &error);
            return Err(error.into());
        }
    };
    match context.tell(Input::Notification { from: peer, notification }).await {
        true => Ok(()),
        false => Err(PeerReadError::Closed),
    }
}
