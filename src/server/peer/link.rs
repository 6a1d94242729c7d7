//! The quorum port: links between a learner and its leader.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::timeout;

use super::frames::{FrameReader, PeerReadError};
use super::hello::{HelloError, LivePeer, answer, greet};
use super::queue::{Item, LinkQueue};
use super::{Backoff, INBOUND_MAX, LINK_FRAME_BYTES_MAX, PeerContext, codec, stream};
use crate::config::ServerAddr;
use crate::ids::ServerId;
use crate::replica::{Image, Input, PeerMessage};
use crate::server::net::{self, ACCEPT_PAUSE};
use crate::server::snapshots;
use crate::tls::Stream;
use crate::zab::{LinkId, Message};

/// The longest pause between dials to the leader: until it answers, this server serves nobody.
const DIAL_PAUSE_MAX: Duration = Duration::from_millis(250);

/// Messages are encoded together until they fill this, then written.
const WRITE_BYTES: usize = 256 << 10;

/// Pieces of a snapshot that are encoded ahead of what is written.
const CHUNKS_AHEAD: usize = 4;

/// The open links.
#[derive(Debug, Default)]
pub struct Links {
    last_id: AtomicU64,
    open: Mutex<HashMap<LinkId, Arc<LinkQueue>>>,
}

impl Links {
    /// The queue of an open link.
    pub fn get(&self, link: LinkId) -> Option<Arc<LinkQueue>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).get(&link).cloned()
    }

    fn open(&self) -> (LinkId, Arc<LinkQueue>) {
        let link = LinkId(self.last_id.fetch_add(1, Ordering::Relaxed) + 1);
        let queue = Arc::new(LinkQueue::default());
        self.open.lock().unwrap_or_else(PoisonError::into_inner).insert(link, Arc::clone(&queue));
        (link, queue)
    }

    fn remove(&self, link: LinkId) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&link);
    }
}

/// Whom to follow, as the core says.
pub type FollowTarget = watch::Receiver<Option<ServerId>>;

/// Keeps a link to the leader that the core names, until the core is gone.
pub async fn follow(context: Arc<PeerContext>, mut target: FollowTarget) {
    loop {
        let leader = *target.borrow_and_update();
        let peer = leader.and_then(|id| context.settings.peers().find(|peer| peer.id == id).cloned());
        let changed = match peer {
            Some(peer) => keep_link(&context, &peer, &mut target).await,
            None => target.changed().await.is_ok(),
        };
        if !changed {
            return;
        }
    }
}

/// Keeps a link to `peer` until the core names another. False: the core is gone.
async fn keep_link(context: &Arc<PeerContext>, peer: &ServerAddr, target: &mut FollowTarget) -> bool {
    let mut backoff = Backoff::new(DIAL_PAUSE_MAX);
    loop {
        let dialled = tokio::select! {
            dialled = dial(context, peer) => dialled,
            changed = target.changed() => return changed.is_ok(),
        };
        match dialled {
            Ok((stream, live)) => {
                let began = Instant::now();
                let (link, queue) = context.links.open();
                let running = run(Arc::clone(context), stream, live, peer.id, true, link, Arc::clone(&queue));
                let running = tokio::spawn(running);
                tokio::select! {
                    // One that ends at once was not wanted by the other side yet.
                    _ = running => if began.elapsed() > DIAL_PAUSE_MAX {
                        backoff.reset();
                    },
                    changed = target.changed() => {
                        queue.close("this server does not follow that one any more".to_owned());
                        return changed.is_ok();
                    }
                }
            }
            Err(error) => {
                let what = format!("quorum port {}:{} of", peer.host, peer.quorum_port);
                context.complain(&what, peer.id, &error);
            }
        }
        tokio::select! {
            () = backoff.pause() => {}
            changed = target.changed() => return changed.is_ok(),
        }
    }
}

async fn dial(context: &PeerContext, peer: &ServerAddr) -> Result<(Stream, LivePeer), HelloError> {
    let limit = context.connect_limit();
    let socket = net::dial(&peer.host, peer.quorum_port, limit).await?;
    net::tune_peer(&socket, Duration::from_millis(context.settings.sync_limit_ms()))?;
    let greeting = async {
        let mut stream = stream::secured(context, peer, socket).await?;
        let (_, live) = greet(&mut stream, &context.identity, &context.live, peer.id).await?;
        Ok((stream, live))
    };
    timeout(limit, greeting).await.unwrap_or_else(|_| Err(super::timed_out().into()))
}

/// Lets learners in until the task is aborted.
pub async fn listen(context: Arc<PeerContext>, listener: TcpListener) {
    let permits = Arc::new(Semaphore::new(INBOUND_MAX));
    loop {
        let permit = Arc::clone(&permits).acquire_owned().await.expect("never closed");
        match listener.accept().await {
            Ok((stream, from)) => {
                let context = Arc::clone(&context);
                tokio::spawn(async move {
                    let from = net::canonical(from);
                    if let Some((peer, live)) = let_in(&context, stream, from).await {
                        let (link, queue) = context.links.open();
                        run(context, live.0, live.1, peer, false, link, queue).await;
                    }
                    drop(permit);
                });
            }
            Err(error) => {
                context.quiet.say("quorum accept", |more| tracing::warn!("quorum port: {error}{more}"));
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn let_in(
    context: &PeerContext,
    socket: TcpStream,
    from: SocketAddr,
) -> Option<(ServerId, (Stream, LivePeer))> {
    let greeting = async {
        net::tune_peer(&socket, Duration::from_millis(context.settings.sync_limit_ms()))?;
        let mut stream = stream::accepted(context, socket).await?;
        let (peer, live) = answer(&mut stream, &context.identity, &context.live, |stream, id| {
            stream::check_is(stream, context, id)
        })
        .await?;
        Ok((peer, (stream, live)))
    };
    let greeted = timeout(context.connect_limit(), greeting).await;
    match greeted.unwrap_or_else(|_| Err(super::timed_out().into())) {
        Ok(let_in) => Some(let_in),
        Err(error) => {
            let error: HelloError = error;
            let subject = format!("quorum {} {error}", from.ip());
            context.quiet.say(&subject, |more| {
                tracing::warn!("connection from {from} to the quorum port: {error}{more}");
            });
            None
        }
    }
}

/// Runs a link from its first message to its end.
async fn run(
    context: Arc<PeerContext>,
    stream: Stream,
    live: LivePeer,
    peer: ServerId,
    dialled: bool,
    link: LinkId,
    queue: Arc<LinkQueue>,
) {
    let with = if dialled { "leader" } else { "learner" };
    tracing::debug!("link {} with {with} {peer} is up", link.0);
    if context.tell(Input::LinkUp { link, peer, dialled }).await {
        let (read, write) = stream.split();
        let why = tokio::select! {
            error = receive(&context, link, &queue, FrameReader::new(read, LINK_FRAME_BYTES_MAX)) => error.to_string(),
            why = send(&context, link, &queue, write) => why,
            why = queue.overdue() => why,
        };
        let subject = format!("link {with} {peer} {why}");
        context.quiet.say(&subject, |more| {
            tracing::info!("link {} with {with} {peer} ended: {why}{more}", link.0);
        });
    }
    context.links.remove(link);
    drop(live);
    context.tell(Input::LinkDown { link }).await;
}

/// Passes on what the other side says. Returns why it ended.
async fn receive(
    context: &PeerContext,
    link: LinkId,
    queue: &LinkQueue,
    mut frames: FrameReader<impl AsyncRead + Unpin>,
) -> PeerReadError {
    loop {
        if !wait_for_room(context, link).await {
            return PeerReadError::Closed;
        }
        let frame = match frames.next().await {
            Ok(frame) => frame,
            Err(error) => return error,
        };
        let message = match codec::decode(frame) {
            Ok(message) => message,
            Err(error) => return error.into(),
        };
        if queue.is_closing() {
            continue;
        }
        if !context.tell(Input::Peer { link, message }).await {
            return PeerReadError::Closed;
        }
    }
}

/// Waits until the disk has room for what is read next. Meanwhile the core hears that it is the own disk that is slow,
/// and not the other side that is silent. False: the core is gone.
async fn wait_for_room(context: &PeerContext, link: LinkId) -> bool {
    while timeout(context.heartbeat(), context.disk_room.wait()).await.is_err() {
        if !context.tell(Input::LinkProgress { link }).await {
            return false;
        }
    }
    true
}

/// Writes what the core queues: everything that has gathered, in as few writes as it takes. Returns why it ended.
async fn send(
    context: &PeerContext,
    link: LinkId,
    queue: &LinkQueue,
    mut stream: impl AsyncWrite + Unpin,
) -> String {
    let mut buffer = BytesMut::new();
    loop {
        let mut items: VecDeque<Item> = match queue.take().await {
            Ok(items) => items,
            Err(reason) => return reason,
        };
        while let Some(item) = items.pop_front() {
            let written = match item {
                Item::Message(message) => {
                    codec::encode(message, &mut buffer);
                    if buffer.len() < WRITE_BYTES && !items.is_empty() {
                        continue;
                    }
                    write_all(&mut stream, &mut buffer).await
                }
                Item::Snapshot(image) => {
                    stream_snapshot(context, link, *image, &mut stream, &mut buffer).await
                }
            };
            if let Err(error) = written {
                return error.to_string();
            }
            if !items.is_empty() {
                // There may be tens of MiB, which the socket takes at once: the core hears in between.
                tokio::task::yield_now().await;
            }
        }
    }
}

async fn write_all(stream: &mut (impl AsyncWrite + Unpin), buffer: &mut BytesMut) -> std::io::Result<()> {
    stream.write_all(buffer).await?;
    // TLS keeps back what the socket did not take.
    stream.flush().await?;
    if buffer.capacity() > 2 * WRITE_BYTES {
        *buffer = BytesMut::new();
    }
    buffer.clear();
    Ok(())
}

/// Writes a snapshot in pieces, each behind what `buffer` holds. A thread of its own encodes it.
async fn stream_snapshot(
    context: &PeerContext,
    link: LinkId,
    image: Image,
    stream: &mut (impl AsyncWrite + Unpin),
    buffer: &mut BytesMut,
) -> std::io::Result<()> {
    let (chunks, mut encoded) = mpsc::channel::<Bytes>(CHUNKS_AHEAD);
    let encoding = tokio::task::spawn_blocking(move || {
        snapshots::encode(&image, |chunk| chunks.blocking_send(chunk).is_ok())
    });
    while let Some(data) = encoded.recv().await {
        codec::encode(PeerMessage::Zab(Message::SnapshotChunk { data, last: false }), buffer);
        write_all(stream, buffer).await?;
        context.tell(Input::LinkProgress { link }).await;
    }
    encoding.await.map_err(std::io::Error::other)??;
    // An empty piece tells that it was the whole: an encoder that failed never gets here.
    codec::encode(PeerMessage::Zab(Message::SnapshotChunk { data: Bytes::new(), last: true }), buffer);
    write_all(stream, buffer).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;
    use crate::server::disk::{DiskQueue, Job, WAITING_BYTES_MAX};
    use crate::server::peer::{Identity, LivePeers};
    use crate::server::quiet::Quiet;
    use crate::zab::{DiskOp, EpochRecord};

    fn context(queue: &DiskQueue, inputs: mpsc::Sender<Input>) -> PeerContext {
        PeerContext {
            settings: Settings { peer_heartbeat_ms: 1, ..Settings::standalone_default() },
            identity: Arc::new(Identity::new(ServerId(1), [ServerId(1)].into(), &EpochRecord::default())),
            live: Arc::new(LivePeers::default()),
            inputs,
            links: Arc::new(Links::default()),
            disk_room: queue.room(),
            tls: None,
            quiet: Quiet::default(),
        }
    }

    fn piece(bytes: usize) -> Job {
        Job::Op { seq: 1, op: DiskOp::ReceiveSnapshot { chunk: vec![0; bytes].into(), first: false } }
    }

    #[tokio::test]
    async fn a_snapshot_that_is_quicker_than_the_disk_waits_and_the_core_hears_why() {
        let queue = DiskQueue::default();
        let (inputs, mut told) = mpsc::channel(1);
        let context = context(&queue, inputs);
        queue.push([piece(WAITING_BYTES_MAX)]);
        assert!(wait_for_room(&context, LinkId(7)).await);
        assert!(told.try_recv().is_err(), "there is room");
        queue.push([piece(1)]);
        let mut waiting = Box::pin(wait_for_room(&context, LinkId(7)));
        for _ in 0..3 {
            tokio::select! {
                _ = &mut waiting => panic!("there is no room"),
                input = told.recv() => assert!(matches!(input, Some(Input::LinkProgress { link: LinkId(7) }))),
            }
        }
        queue.free(1);
        loop {
            tokio::select! {
                is_there = &mut waiting => break assert!(is_there),
                _ = told.recv() => {}
            }
        }
    }
}
