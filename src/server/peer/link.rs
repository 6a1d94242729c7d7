//! Links: between a learner and its leader on the quorum port, and between an observer and the follower that feeds it.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::timeout;

use super::frames::{FrameReader, PeerReadError};
use super::hello::{Greeted, HelloError, answer, greet};
use super::queue::{Item, LinkQueue};
use super::{Backoff, INBOUND_MAX, LINK_FRAME_BYTES_MAX, PeerContext, codec, shown, stream};
use crate::admin::Count;
use crate::ids::ServerId;
use crate::membership::ServerAddr;
use crate::replica::{FEEDS, Image, Input, PeerMessage};
use crate::server::net::{self, ACCEPT_PAUSE, Ways};
use crate::server::snapshots;
use crate::tls::Stream;
use crate::zab::{LinkId, Message};

/// The longest pause between dials to the leader: until it answers, this server serves nobody.
const DIAL_PAUSE_MAX: Duration = Duration::from_millis(250);

/// Messages are encoded together until they fill this, then written.
const WRITE_BYTES: usize = 256 << 10;

/// A buffer that grew beyond this is not kept. What the core proposes in one turn fits.
const BUFFER_BYTES_KEPT: usize = 2 << 20;

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

/// What a link is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Of a learner to its leader, on the quorum port.
    Leader,
    /// Of an observer to a follower that feeds it, on the port of its own.
    Feed,
}

impl Kind {
    pub(super) fn port_name(self) -> &'static str {
        match self {
            Kind::Leader => "quorum",
            Kind::Feed => "observer master",
        }
    }
}

/// Whom to follow, as the core says.
pub type FollowTarget = watch::Receiver<Option<ServerId>>;

/// Keeps a link to the leader that the core names, until the core is gone.
pub async fn follow(context: Arc<PeerContext>, mut target: FollowTarget) {
    loop {
        let leader = *target.borrow_and_update();
        let changed = match leader {
            Some(leader) => keep_link(&context, leader, &mut target).await,
            None => target.changed().await.is_ok(),
        };
        if !changed {
            return;
        }
    }
}

/// Keeps a link to `leader` until the core names another. False: the core is gone.
async fn keep_link(context: &Arc<PeerContext>, leader: ServerId, target: &mut FollowTarget) -> bool {
    let mut backoff = Backoff::new(DIAL_PAUSE_MAX);
    let mut ways = Ways::default();
    loop {
        let changed = link_once(context, (leader, Kind::Leader), &mut ways, &mut backoff, target).await;
        if let Some(is_there) = changed {
            return is_there;
        }
    }
}

/// Dials a server, runs the link to its end, and pauses. If the core names another meanwhile, it ends at once, and tells
/// whether the core is still there.
pub(super) async fn link_once(
    context: &Arc<PeerContext>,
    (peer, kind): (ServerId, Kind),
    ways: &mut Ways,
    backoff: &mut Backoff,
    target: &mut FollowTarget,
) -> Option<bool> {
    let dialled = tokio::select! {
        dialled = dial(context, peer, kind, ways) => dialled,
        changed = target.changed() => return Some(changed.is_ok()),
    };
    if let Some((stream, greeted)) = dialled {
        let began = Instant::now();
        let (link, queue) = context.links.open();
        let running = run(Arc::clone(context), stream, greeted, (kind, true), link, Arc::clone(&queue));
        let running = tokio::spawn(running);
        tokio::select! {
            // One that ends at once was not wanted by the other side yet.
            _ = running => if began.elapsed() > DIAL_PAUSE_MAX {
                backoff.reset();
            },
            changed = target.changed() => {
                queue.close("this server does not follow that one any more".to_owned());
                return Some(changed.is_ok());
            }
        }
    }
    tokio::select! {
        () = backoff.pause() => None,
        changed = target.changed() => Some(changed.is_ok()),
    }
}

/// A connection to a port of `peer`, wherever it is. What stands in the way is in the log.
async fn dial(
    context: &PeerContext,
    peer: ServerId,
    kind: Kind,
    ways: &mut Ways,
) -> Option<(Stream, Greeted)> {
    let addresses = context.directory().known().addresses(peer);
    let name = kind.port_name();
    if addresses.is_empty() {
        context.complain(&format!("{name} port of"), peer, &"nobody tells where it is");
    }
    for address in addresses {
        match dial_address(context, &address, kind, ways).await {
            Ok((_, greeted)) if kind == Kind::Feed && greeted.version < FEEDS => {
                context.complain("to be fed by", peer, &"it is of an older version");
            }
            Ok(dialled) => return Some(dialled),
            Err(error) => {
                let what = format!("{name} port {} of", shown(&address));
                context.complain(&what, peer, &error);
            }
        }
    }
    None
}

async fn dial_address(
    context: &PeerContext,
    peer: &ServerAddr,
    kind: Kind,
    ways: &mut Ways,
) -> Result<(Stream, Greeted), HelloError> {
    let limit = context.connect_limit();
    let port = |quorum_port| match kind {
        Kind::Leader => quorum_port,
        // Whoever is to be fed has it in its configuration.
        Kind::Feed => context.settings.observer_master_port.unwrap_or(quorum_port),
    };
    let addrs: Vec<_> = peer.peer_addrs().map(|addr| (addr.host, port(addr.quorum_port))).collect();
    let (socket, host) = ways.dial(&addrs, limit).await?;
    net::tune_peer(&socket, Duration::from_millis(context.settings.sync_limit_ms()))?;
    let greeting = async {
        let mut stream = stream::secured(context, &host, socket).await?;
        let to_be_fed = kind == Kind::Feed;
        let greeted = greet(&mut stream, &context.identity, &context.live, peer.id, to_be_fed).await?;
        Ok((stream, greeted))
    };
    timeout(limit, greeting).await.unwrap_or_else(|_| Err(super::timed_out().into()))
}

/// Lets learners in, or observers that are to be fed, until the task is aborted.
pub(super) async fn listen(context: Arc<PeerContext>, listener: TcpListener, kind: Kind) {
    let permits = Arc::new(Semaphore::new(INBOUND_MAX));
    loop {
        let permit = Arc::clone(&permits).acquire_owned().await.expect("never closed");
        match listener.accept().await {
            Ok((stream, from)) => {
                let context = Arc::clone(&context);
                tokio::spawn(async move {
                    let from = net::canonical(from);
                    if let Some((stream, greeted)) = let_in(&context, stream, from, kind).await {
                        let (link, queue) = context.links.open();
                        run(context, stream, greeted, (kind, false), link, queue).await;
                    }
                    drop(permit);
                });
            }
            Err(error) => {
                let name = kind.port_name();
                let subject = format!("{name} accept");
                context.quiet.say(&subject, |more| tracing::warn!("{name} port: {error}{more}"));
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn let_in(
    context: &PeerContext,
    socket: TcpStream,
    from: SocketAddr,
    kind: Kind,
) -> Option<(Stream, Greeted)> {
    let greeting = async {
        net::tune_peer(&socket, Duration::from_millis(context.settings.sync_limit_ms()))?;
        let mut stream = stream::accepted(context, socket).await?;
        let check_is = |stream: &Stream, id, address: &str| stream::check_is(stream, context, id, address);
        let feeds = kind == Kind::Feed;
        let greeted = answer(&mut stream, &context.identity, &context.live, feeds, check_is).await?;
        Ok((stream, greeted))
    };
    let greeted = timeout(context.connect_limit(), greeting).await;
    match greeted.unwrap_or_else(|_| Err(super::timed_out().into())) {
        Ok(let_in) => Some(let_in),
        Err(error) => {
            let error: HelloError = error;
            let name = kind.port_name();
            let subject = format!("{name} {} {error}", from.ip());
            context.quiet.say(&subject, |more| {
                tracing::warn!("connection from {from} to the {name} port: {error}{more}");
            });
            None
        }
    }
}

/// Runs a link from its first message to its end.
async fn run(
    context: Arc<PeerContext>,
    stream: Stream,
    greeted: Greeted,
    (kind, dialled): (Kind, bool),
    link: LinkId,
    queue: Arc<LinkQueue>,
) {
    let Greeted { id: peer, version, live } = greeted;
    let (with, is_up) = match kind {
        Kind::Leader => (if dialled { "leader" } else { "learner" }, Input::LinkUp { link, peer, dialled }),
        Kind::Feed => (if dialled { "feeder" } else { "observer" }, Input::FeedUp { link, peer, dialled }),
    };
    tracing::debug!("link {} with {with} {peer} is up", link.0);
    context.tell(Input::PeerSpeaks { peer, version }).await;
    if context.tell(is_up).await {
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
    let mut buffer = Vec::new();
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
                    write_all(context, &mut stream, &mut buffer).await
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

async fn write_all(
    context: &PeerContext,
    stream: &mut (impl AsyncWrite + Unpin),
    buffer: &mut Vec<u8>,
) -> std::io::Result<()> {
    context.stats.metrics.add(Count::PeerBytesSent, buffer.len() as u64);
    stream.write_all(buffer).await?;
    // TLS keeps back what the socket did not take.
    stream.flush().await?;
    if buffer.capacity() > BUFFER_BYTES_KEPT {
        *buffer = Vec::new();
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
    buffer: &mut Vec<u8>,
) -> std::io::Result<()> {
    let (chunks, mut encoded) = mpsc::channel::<Bytes>(CHUNKS_AHEAD);
    let encoding = tokio::task::spawn_blocking(move || {
        snapshots::encode(&image, |chunk| chunks.blocking_send(chunk).is_ok())
    });
    while let Some(data) = encoded.recv().await {
        codec::encode(PeerMessage::Zab(Message::SnapshotChunk { data, last: false }), buffer);
        write_all(context, stream, buffer).await?;
        context.tell(Input::LinkProgress { link }).await;
    }
    encoding.await.map_err(std::io::Error::other)??;
    // An empty piece tells that it was the whole: an encoder that failed never gets here.
    codec::encode(PeerMessage::Zab(Message::SnapshotChunk { data: Bytes::new(), last: true }), buffer);
    write_all(context, stream, buffer).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;
    use crate::server::disk::{DiskQueue, Job, WAITING_BYTES_MAX};
    use crate::server::peer::{Directory, Identity, Inbound, LivePeers, ToldStates};
    use crate::server::quiet::Quiet;
    use crate::zab::{DiskOp, EpochRecord};

    fn context(queue: &DiskQueue, inputs: mpsc::Sender<Input>) -> PeerContext {
        PeerContext {
            settings: Settings { peer_heartbeat_ms: 1, ..Settings::standalone_default() },
            identity: Arc::new(Identity::new(ServerId(1), Directory::of(&[1]), &EpochRecord::default())),
            live: Arc::new(LivePeers::default()),
            inputs,
            inbound: Inbound::default(),
            told: ToldStates::default(),
            links: Arc::new(Links::default()),
            disk_room: queue.room(),
            tls: None,
            stats: Arc::default(),
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
