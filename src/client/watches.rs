//! The watches a session has left at its server, and who waits for them.

use std::collections::HashMap;

use bytes::BytesMut;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc, oneshot};

use super::Error;
use super::chroot::Chroot;
use crate::ids::Zxid;
use crate::jute::{
    AddWatchMode, EventKind, Request, SetWatches, WatchEvent, WatcherType, encode_request_frame, lineage, xid,
};

/// Above this many bytes of paths, setWatches is sent in parts, so that no frame exceeds a server's limit.
const SET_WATCHES_BYTES_MAX: usize = 128 * 1024;

/// A watch that was left at the server: fires once.
#[derive(Debug)]
pub struct Watch(pub(super) oneshot::Receiver<Result<WatchEvent, Error>>);

impl Watch {
    /// Waits until the watch fires. It survives a change of server; it fails when the session ends.
    pub async fn event(self) -> Result<WatchEvent, Error> {
        self.0.await.unwrap_or(Err(Error::Closed))
    }
}

/// The other end of a [`Watch`].
pub(super) type Waiter = oneshot::Sender<Result<WatchEvent, Error>>;

/// Events of a [`WatchStream`], or of a session, that wait to be taken at most.
pub(super) const WAITING_EVENTS_MAX: usize = 1024;

/// A watch that stays at the server: tells one event after the other.
#[derive(Debug)]
pub struct WatchStream(pub(super) broadcast::Receiver<Watched>);

/// What a [`WatchStream`] tells.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Watched {
    /// Something happened.
    Event(WatchEvent),
    /// Something may have happened that is not told: the connection was lost in between, or too many events waited.
    /// Whoever wants to know must look.
    Gap,
    /// The session is over, and this is the last that is told.
    End(Error),
}

impl WatchStream {
    /// Waits for the next thing to tell.
    pub async fn next(&mut self) -> Watched {
        match self.0.recv().await {
            Ok(watched) => watched,
            Err(RecvError::Lagged(_)) => Watched::Gap,
            Err(RecvError::Closed) => Watched::End(Error::Closed),
        }
    }
}

/// What a session's watches tell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SessionEvent {
    /// One has fired, or several at once on the same path.
    Fired(WatchEvent),
    /// Those on a path are gone, because that was asked for.
    Removed {
        /// which: `Data`, `Children`, or `Persistent` for both kinds that stay
        watches: WatcherType,
        /// what they were on
        path: String,
        /// false if no server answered
        at_server: bool,
    },
}

/// What a watch is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum WatchKind {
    /// the content of a znode that is there
    Data,
    /// a znode to appear
    Exist,
    /// the children of a znode
    Child,
}

/// All watches of a session, by the server's path.
#[derive(Default)]
pub(super) struct Watches {
    data: HashMap<String, Vec<Waiter>>,
    exist: HashMap<String, Vec<Waiter>>,
    child: HashMap<String, Vec<Waiter>>,
    persistent: HashMap<String, broadcast::Sender<Watched>>,
    recursive: HashMap<String, broadcast::Sender<Watched>>,
    /// who wants to know everything
    listeners: Vec<mpsc::Sender<SessionEvent>>,
}

impl Watches {
    fn of(&mut self, kind: WatchKind) -> &mut HashMap<String, Vec<Waiter>> {
        match kind {
            WatchKind::Data => &mut self.data,
            WatchKind::Exist => &mut self.exist,
            WatchKind::Child => &mut self.child,
        }
    }

    /// The server has the watch: `waiter` will be told. Those on the same path who no longer wait are forgotten.
    pub fn add(&mut self, kind: WatchKind, path: String, waiter: Waiter) {
        let waiters = self.of(kind).entry(path).or_default();
        waiters.retain(|waiter| !waiter.is_closed());
        waiters.push(waiter);
    }

    /// The server has a watch that stays: gives what it is told from now on.
    pub fn subscribe(&mut self, mode: AddWatchMode, path: String) -> WatchStream {
        let sender =
            self.streams(mode).entry(path).or_insert_with(|| broadcast::Sender::new(WAITING_EVENTS_MAX));
        WatchStream(sender.subscribe())
    }

    /// From now on `listener` is told everything.
    pub fn listen(&mut self, listener: mpsc::Sender<SessionEvent>) {
        self.listeners.push(listener);
    }

    fn tell_listeners(&mut self, event: &SessionEvent) {
        self.listeners.retain(|listener| {
            // One that takes none loses some, as it was told.
            !matches!(listener.try_send(event.clone()), Err(mpsc::error::TrySendError::Closed(_)))
        });
    }

    /// The server has them no more, or with `at_server` false is not told of them any more.
    pub fn remove(&mut self, watches: WatcherType, path: &str, chroot: &Chroot, at_server: bool) {
        let is_meant = |of| watches == of || watches == WatcherType::Any;
        let (mut data, mut children, mut staying) = (false, false, false);
        if is_meant(WatcherType::Data) {
            data = self.data.remove(path).is_some() | self.exist.remove(path).is_some();
        }
        if is_meant(WatcherType::Children) {
            children = self.child.remove(path).is_some();
        }
        if is_meant(WatcherType::Persistent) {
            staying |= self.persistent.remove(path).is_some();
        }
        if is_meant(WatcherType::PersistentRecursive) {
            staying |= self.recursive.remove(path).is_some();
        }
        let kinds = [
            (data, WatcherType::Data),
            (children, WatcherType::Children),
            (staying, WatcherType::Persistent),
        ];
        for (_, watches) in kinds.into_iter().filter(|(is_gone, _)| *is_gone) {
            let path = chroot.strip(path).to_owned();
            self.tell_listeners(&SessionEvent::Removed { watches, path, at_server });
        }
    }

    fn streams(&mut self, mode: AddWatchMode) -> &mut HashMap<String, broadcast::Sender<Watched>> {
        match mode {
            AddWatchMode::Persistent => &mut self.persistent,
            AddWatchMode::PersistentRecursive => &mut self.recursive,
        }
    }

    /// The client is connected again.
    pub fn tell_gap(&self) {
        for sender in self.persistent.values().chain(self.recursive.values()) {
            let _ = sender.send(Watched::Gap);
        }
    }

    /// The same event, to whoever has a watch that stays; false if there is none.
    fn tell_lasting(&self, event: &WatchEvent, seen: &WatchEvent) -> bool {
        let mut is_wanted = false;
        let recursive = (event.kind != EventKind::NodeChildrenChanged).then(|| lineage(&event.path));
        let recursive = recursive.into_iter().flatten().filter_map(|path| self.recursive.get(path));
        for sender in self.persistent.get(&event.path).into_iter().chain(recursive) {
            // Whoever dropped the stream does not want to know.
            let _ = sender.send(Watched::Event(seen.clone()));
            is_wanted = true;
        }
        is_wanted
    }

    /// Tells everyone whom `event` (with the server's path) concerns. Watches that do not stay are used up.
    pub fn fire(&mut self, event: &WatchEvent, chroot: &Chroot) {
        let kinds: &[WatchKind] = match event.kind {
            EventKind::NodeCreated | EventKind::NodeDataChanged => &[WatchKind::Data, WatchKind::Exist],
            EventKind::NodeChildrenChanged => &[WatchKind::Child],
            EventKind::NodeDeleted => &[WatchKind::Data, WatchKind::Exist, WatchKind::Child],
        };
        let seen = WatchEvent { path: chroot.strip(&event.path).to_owned(), ..event.clone() };
        let mut is_wanted = self.tell_lasting(event, &seen);
        for &kind in kinds {
            for waiter in self.of(kind).remove(&event.path).unwrap_or_default() {
                // Whoever dropped the `Watch` does not want to know.
                let _ = waiter.send(Ok(seen.clone()));
                is_wanted = true;
            }
        }
        if is_wanted && !self.listeners.is_empty() {
            self.tell_listeners(&SessionEvent::Fired(seen));
        }
    }

    /// Tells everyone that the session is over.
    pub fn end(&mut self, error: &Error) {
        self.listeners.clear();
        for (_, sender) in self.persistent.drain().chain(self.recursive.drain()) {
            let _ = sender.send(Watched::End(error.clone()));
        }
        for kind in [WatchKind::Data, WatchKind::Exist, WatchKind::Child] {
            for (_, waiters) in self.of(kind).drain() {
                for waiter in waiters {
                    let _ = waiter.send(Err(error.clone()));
                }
            }
        }
    }

    /// Appends the requests that leave all watches at a new server, which fires at once those that were missed since
    /// `relative_zxid`; of those that stay nothing is told late.
    pub fn encode_set_watches(&mut self, relative_zxid: Zxid, out: &mut BytesMut) {
        for waiters in [&mut self.data, &mut self.exist, &mut self.child] {
            waiters.retain(|_, waiters| waiters.iter().any(|waiter| !waiter.is_closed()));
        }
        for streams in [&mut self.persistent, &mut self.recursive] {
            streams.retain(|_, sender| sender.receiver_count() > 0);
        }
        let data = self.data.keys().map(|path| (SetList::Data, path));
        let exist = self.exist.keys().map(|path| (SetList::Exist, path));
        let child = self.child.keys().map(|path| (SetList::Child, path));
        let persistent = self.persistent.keys().map(|path| (SetList::Persistent, path));
        let recursive = self.recursive.keys().map(|path| (SetList::Recursive, path));
        let empty = SetWatches { relative_zxid, ..SetWatches::default() };
        let (mut batch, mut batch_bytes) = (empty.clone(), 0);
        for (list, path) in data.chain(exist).chain(child).chain(persistent).chain(recursive) {
            match list {
                SetList::Data => batch.data.push(path),
                SetList::Exist => batch.exist.push(path),
                SetList::Child => batch.child.push(path),
                SetList::Persistent => batch.persistent.push(path),
                SetList::Recursive => batch.persistent_recursive.push(path),
            }
            batch_bytes += path.len();
            if batch_bytes >= SET_WATCHES_BYTES_MAX {
                let full = std::mem::replace(&mut batch, empty.clone());
                encode_request_frame(xid::SET_WATCHES, &Request::SetWatches(full), out);
                batch_bytes = 0;
            }
        }
        if batch_bytes > 0 {
            encode_request_frame(xid::SET_WATCHES, &Request::SetWatches(batch), out);
        }
    }
}

/// The lists of a setWatches2.
#[derive(Clone, Copy)]
enum SetList {
    Data,
    Exist,
    Child,
    Persistent,
    Recursive,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jute::{Reader, RequestHeader, decode_request, next_frame};

    fn event(kind: EventKind, path: &str) -> WatchEvent {
        WatchEvent { kind, path: path.to_owned(), zxid: Zxid(5) }
    }

    #[test]
    fn an_event_uses_up_the_watches_it_concerns_and_no_others() {
        let mut watches = Watches::default();
        let (data, mut data_fired) = oneshot::channel();
        let (child, mut child_fired) = oneshot::channel();
        watches.add(WatchKind::Data, "/app/a".to_owned(), data);
        watches.add(WatchKind::Child, "/app/a".to_owned(), child);
        let chroot = Chroot::new("/app");
        watches.fire(&event(EventKind::NodeChildrenChanged, "/app/a"), &chroot);
        assert_eq!(child_fired.try_recv().unwrap(), Ok(event(EventKind::NodeChildrenChanged, "/a")));
        assert!(data_fired.try_recv().is_err());
        watches.fire(&event(EventKind::NodeDeleted, "/app/a"), &chroot);
        assert_eq!(data_fired.try_recv().unwrap(), Ok(event(EventKind::NodeDeleted, "/a")));
        assert!(watches.data.is_empty() && watches.child.is_empty());
    }

    #[tokio::test]
    async fn a_watch_that_stays_tells_every_event_and_that_some_may_be_missing() {
        let mut watches = Watches::default();
        let chroot = Chroot::new("/app");
        let mut persistent = watches.subscribe(AddWatchMode::Persistent, "/app/a".to_owned());
        let mut recursive = watches.subscribe(AddWatchMode::PersistentRecursive, "/app".to_owned());
        for kind in [EventKind::NodeDataChanged, EventKind::NodeChildrenChanged] {
            watches.fire(&event(kind, "/app/a"), &chroot);
            assert_eq!(persistent.next().await, Watched::Event(event(kind, "/a")));
        }
        watches.fire(&event(EventKind::NodeCreated, "/app/a/b"), &chroot);
        watches.tell_gap();
        for kind in [(EventKind::NodeDataChanged, "/a"), (EventKind::NodeCreated, "/a/b")] {
            assert_eq!(recursive.next().await, Watched::Event(event(kind.0, kind.1)));
        }
        assert_eq!((recursive.next().await, persistent.next().await), (Watched::Gap, Watched::Gap));
        for _ in 0..=WAITING_EVENTS_MAX {
            watches.fire(&event(EventKind::NodeDataChanged, "/app/a"), &chroot);
        }
        assert_eq!(persistent.next().await, Watched::Gap);
        watches.remove(WatcherType::Any, "/app/a", &chroot, true);
        while persistent.next().await != Watched::End(Error::Closed) {}
        let mut out = BytesMut::new();
        watches.encode_set_watches(Zxid(9), &mut out);
        let frame = next_frame(&mut out, 1000).unwrap().expect("a frame");
        let expected = SetWatches {
            relative_zxid: Zxid(9),
            persistent_recursive: vec!["/app"],
            ..SetWatches::default()
        };
        let op = crate::jute::OpCode::SetWatches2 as i32;
        assert_eq!(
            decode_request(op, &frame[RequestHeader::WIRE_BYTES..]),
            Ok(Request::SetWatches(expected))
        );
        watches.end(&Error::SessionExpired);
        let mut last = recursive.next().await;
        while let Watched::Event(_) | Watched::Gap = last {
            last = recursive.next().await;
        }
        assert_eq!(last, Watched::End(Error::SessionExpired));
    }

    #[test]
    fn many_watches_are_set_in_parts_and_those_nobody_waits_for_not_at_all() {
        let mut watches = Watches::default();
        let mut waiting = Vec::new();
        let path = |i: usize| format!("/{i:0>1000}");
        for i in 0..300 {
            let (waiter, watch) = oneshot::channel();
            watches.add(WatchKind::Exist, path(i), waiter);
            if i != 0 {
                waiting.push(watch);
            }
        }
        let mut out = BytesMut::new();
        watches.encode_set_watches(Zxid(9), &mut out);
        let mut paths = Vec::new();
        while let Some(frame) = next_frame(&mut out, SET_WATCHES_BYTES_MAX + 2000).unwrap() {
            let mut reader = Reader::new(&frame);
            let header = RequestHeader::decode(&mut reader).unwrap();
            assert_eq!(header.xid, xid::SET_WATCHES);
            match decode_request(header.op, reader.left()).unwrap() {
                Request::SetWatches(watches) => paths.extend(watches.exist.iter().map(|p| p.to_string())),
                other => panic!("{other:?}"),
            }
        }
        paths.sort();
        assert_eq!(paths, (1..300).map(path).collect::<Vec<_>>());
    }
}
