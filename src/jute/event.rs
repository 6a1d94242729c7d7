//! Watch events.

use bytes::{BufMut, BytesMut};

use super::writer::put_str;
use super::{DecodeError, Reader, ReplyHeader, frame, xid};
use crate::ids::Zxid;

/// The state of the connection that an event carries: `SyncConnected`, the only one a server ever sends.
const STATE_SYNC_CONNECTED: i32 = 3;

wire_enum! {
    /// What happened to a watched znode.
    pub enum EventKind, "event type" {
        /// the znode appeared
        NodeCreated = 1,
        /// the znode went
        NodeDeleted = 2,
        /// its data was set
        NodeDataChanged = 3,
        /// a child appeared or went
        NodeChildrenChanged = 4,
    }
}

/// A fired watch.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct WatchEvent {
    /// what happened
    pub kind: EventKind,
    /// to which znode
    pub path: String,
    /// the transaction that did it; the reply header carries it (ZooKeeper 3.9)
    pub zxid: Zxid,
}

/// The paths on which a recursive watch is told of an event on `path`: itself, its parent and so on up to the root.
pub fn lineage(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| match path.rfind('/') {
        Some(0) if path.len() > 1 => Some("/"),
        Some(slash) if slash > 0 => Some(&path[..slash]),
        _ => None,
    })
}

/// Appends the whole frame of an event.
pub fn encode_event(out: &mut BytesMut, event: &WatchEvent) {
    frame(out, |out| {
        ReplyHeader { xid: xid::NOTIFICATION, zxid: event.zxid, err: 0 }.encode(out);
        out.put_i32(event.kind as i32);
        out.put_i32(STATE_SYNC_CONNECTED);
        put_str(out, &event.path);
    });
}

/// Reads the event that follows a header with [`xid::NOTIFICATION`]; `zxid` is the header's.
pub fn decode_event(zxid: Zxid, body: &[u8]) -> Result<WatchEvent, DecodeError> {
    let mut reader = Reader::new(body);
    let kind = EventKind::try_from(reader.i32()?)?;
    let _state = reader.i32()?;
    Ok(WatchEvent { kind, path: reader.str()?.to_owned(), zxid })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lineage_ends_with_the_root() {
        let of = |path| lineage(path).collect::<Vec<_>>();
        assert_eq!(of("/a/bc/d"), ["/a/bc/d", "/a/bc", "/a", "/"]);
        assert_eq!(of("/a"), ["/a", "/"]);
        assert_eq!((of("/"), of(""), of("a/b")), (vec!["/"], vec![""], vec!["a/b", "a"]));
    }
}
