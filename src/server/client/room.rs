//! Room for big requests: all connections of a server share it, so that however many clients send big ones, the core has
//! no more of them than it can handle in a moment. Who finds none waits in the order of coming, and so do the bytes behind.

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::ticket::Ticket;
use super::turn::Held;
use crate::admin::Counted;

/// Requests up to this length need no room: their number is bounded, and with it what they come to.
const SMALL_BYTES_MAX: usize = 16 << 10;

/// For all bigger requests that are not decided. Beyond it they would wait for one another in the core, in the log and on
/// the way to other servers, and everything else behind them.
const ROOM_BYTES: usize = 16 << 20;

/// Room is counted in pieces of this size.
const PIECE_BYTES: usize = 1 << 10;

/// The room of a server.
#[derive(Clone, Debug)]
pub struct Room {
    pieces: Arc<Semaphore>,
}

impl Default for Room {
    fn default() -> Room {
        Room { pieces: Arc::new(Semaphore::new(ROOM_BYTES / PIECE_BYTES)) }
    }
}

/// A request on its way, with its share of what the server has at once. It is given back when the last one that keeps
/// anything of the request lets go, wherever that is: nobody on the way has to know of it, and neither a client that goes
/// away nor one that does not read changes anything about it.
struct Underway {
    frame: Bytes,
    _counted: Counted,
    /// Most have nothing more, and then are small enough for one line of a processor's cache.
    _more: Option<Box<(Option<OwnedSemaphorePermit>, Held)>>,
}

impl AsRef<[u8]> for Underway {
    fn as_ref(&self) -> &[u8] {
        &self.frame
    }
}

/// What one connection has of the room: that for the request that it serves next.
#[derive(Debug)]
pub struct Share(Ticket);

impl Share {
    /// Nothing yet.
    pub fn new(room: &Room) -> Share {
        Share(Ticket::new(Arc::clone(&room.pieces)))
    }

    /// True if there is room for a request of so many bytes. If not, the connection waits for it from now on, and
    /// [`Share::poll`] tells when it is there; the next call must be for the same request.
    pub fn is_for(&mut self, bytes: usize) -> bool {
        if bytes <= SMALL_BYTES_MAX {
            return true;
        }
        // One that is bigger than all the room has it alone.
        self.0.has(bytes.min(ROOM_BYTES).div_ceil(PIECE_BYTES) as u32)
    }

    /// Ready once the room that is waited for is there.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.0.poll(context)
    }

    /// Sends off the request that [`Share::is_for`] found room for: what is held goes with its bytes from now on.
    pub fn send_off(&mut self, frame: Bytes, counted: Counted, held: Held) -> Bytes {
        let room = self.0.take();
        let has_more = room.is_some() || !held.is_nothing();
        let more = has_more.then(|| Box::new((room, held)));
        Bytes::from_owner(Underway { frame, _counted: counted, _more: more })
    }

    /// The request needs no room, or the connection cannot go on for now: nobody is to wait for it. It comes last when
    /// it can.
    pub fn give_up(&mut self) {
        self.0.give_up();
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;
    use crate::admin::Stats;

    const BIG: usize = 1 << 20;

    fn is_ready(share: &mut Share) -> bool {
        share.poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    fn send_off(share: &mut Share) -> Bytes {
        share.send_off(Bytes::from_static(b"big"), Stats::default().begin(), Held::default())
    }

    #[test]
    fn big_requests_share_the_room_in_the_order_of_coming_and_small_ones_need_none() {
        let room = Room::default();
        let mut taken = Vec::new();
        let mut share = Share::new(&room);
        while share.is_for(BIG) {
            taken.push(send_off(&mut share));
        }
        assert_eq!(taken.len(), ROOM_BYTES / BIG);
        let mut next = Share::new(&room);
        assert!(!next.is_for(BIG) && next.is_for(SMALL_BYTES_MAX));
        assert!(!is_ready(&mut share) && !is_ready(&mut next));
        taken.pop();
        assert!(!is_ready(&mut next), "another one came before");
        assert!(is_ready(&mut share) && share.is_for(BIG));
        taken.push(send_off(&mut share));
        taken.pop();
        assert!(is_ready(&mut next) && next.is_for(BIG));
    }

    #[test]
    fn who_gives_up_holds_up_nobody() {
        let room = Room::default();
        let mut first = Share::new(&room);
        assert!(first.is_for(10 * ROOM_BYTES), "one that is bigger than all the room has it alone");
        let held = send_off(&mut first);
        let mut stuck = Share::new(&room);
        let mut other = Share::new(&room);
        assert!(!stuck.is_for(BIG) && !is_ready(&mut stuck));
        assert!(!other.is_for(BIG) && !is_ready(&mut other));
        stuck.give_up();
        drop(held);
        assert!(is_ready(&mut other));
    }

    #[test]
    fn a_request_keeps_its_share_as_long_as_anything_of_it_is_kept() {
        let (room, stats) = (Room::default(), Stats::default());
        let mut share = Share::new(&room);
        assert!(share.is_for(ROOM_BYTES));
        let frame = share.send_off(Bytes::from_static(b"header, body"), stats.begin(), Held::default());
        let body = frame.slice(8..);
        let forwarded = body.clone();
        let mut next = Share::new(&room);
        // Not while any of them is there, whatever becomes of the connection.
        for kept in [frame, body] {
            drop(kept);
            assert!(!next.is_for(BIG) && !is_ready(&mut next));
            assert_eq!(stats.outstanding(), 1);
        }
        drop(share);
        assert!(!next.is_for(BIG));
        assert_eq!(forwarded, b"body"[..]);
        drop(forwarded);
        assert!(is_ready(&mut next) && next.is_for(BIG));
        assert_eq!(stats.outstanding(), 0);
    }
}
