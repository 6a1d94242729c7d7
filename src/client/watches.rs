//! The watches a session has left at its server, and who waits for them.

use std::collections::HashMap;

use bytes::BytesMut;
use tokio::sync::oneshot;

use super::Error;
use super::chroot::Chroot;
use crate::ids::Zxid;
use crate::jute::{EventKind, Request, SetWatches, WatchEvent, encode_request_frame, xid};

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

    /// Tells everyone whom `event` (with the server's path) concerns. Its watches are used up.
    pub fn fire(&mut self, event: &WatchEvent, chroot: &Chroot) {
        let kinds: &[WatchKind] = match event.kind {
            EventKind::NodeCreated | EventKind::NodeDataChanged => &[WatchKind::Data, WatchKind::Exist],
            EventKind::NodeChildrenChanged => &[WatchKind::Child],
            EventKind::NodeDeleted => &[WatchKind::Data, WatchKind::Exist, WatchKind::Child],
        };
        let seen = WatchEvent { path: chroot.strip(&event.path).to_owned(), ..event.clone() };
        for &kind in kinds {
            for waiter in self.of(kind).remove(&event.path).unwrap_or_default() {
                // Whoever dropped the `Watch` does not want to know.
                let _ = waiter.send(Ok(seen.clone()));
            }
        }
    }

    /// Tells everyone that the session is over.
    pub fn end(&mut self, error: &Error) {
        for kind in [WatchKind::Data, WatchKind::Exist, WatchKind::Child] {
            for (_, waiters) in self.of(kind).drain() {
                for waiter in waiters {
                    let _ = waiter.send(Err(error.clone()));
                }
            }
        }
    }

    /// Appends the requests that leave all watches at a new server, which fires at once those that were missed since
    /// `relative_zxid`.
    pub fn encode_set_watches(&mut self, relative_zxid: Zxid, out: &mut BytesMut) {
        let empty = SetWatches { relative_zxid, ..SetWatches::default() };
        let mut batch = empty.clone();
        let mut batch_bytes = 0;
        for (kind, watches) in [
            (WatchKind::Data, &mut self.data),
            (WatchKind::Exist, &mut self.exist),
            (WatchKind::Child, &mut self.child),
        ] {
            watches.retain(|_, waiters| waiters.iter().any(|waiter| !waiter.is_closed()));
            for path in watches.keys() {
                match kind {
                    WatchKind::Data => batch.data.push(path),
                    WatchKind::Exist => batch.exist.push(path),
                    WatchKind::Child => batch.child.push(path),
                }
                batch_bytes += path.len();
                if batch_bytes >= SET_WATCHES_BYTES_MAX {
                    let full = std::mem::replace(&mut batch, empty.clone());
                    encode_request_frame(xid::SET_WATCHES, &Request::SetWatches(full), out);
                    batch_bytes = 0;
                }
            }
        }
        if batch_bytes > 0 {
            encode_request_frame(xid::SET_WATCHES, &Request::SetWatches(batch), out);
        }
    }
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
