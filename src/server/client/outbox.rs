//! What the core has for a client: replies and events, encoded, in order.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::BytesMut;

/// The most that waits for one client to be read. The watches of a client can fire all at once: this is room for more
/// than a hundred thousand events.
pub const OUTBOX_BYTES_MAX: usize = 16 << 20;

/// A buffer that grew beyond this is not kept while its connection waits.
const BYTES_KEPT: usize = 512;

/// Filled by the core, emptied by the connection's task, which writes it to the socket.
#[derive(Debug, Default)]
pub struct Outbox {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    bytes: BytesMut,
    replies: usize,
    events: usize,
    event_bytes: usize,
    closing: Option<Closing>,
    /// of the connection's task, while it waits
    waker: Option<Waker>,
}

/// Why a connection is to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Closing {
    /// Once everything before is written.
    Behind(&'static str),
    /// At once: nothing can be written, or it makes no sense.
    Now(&'static str),
}

/// What came out of an outbox.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Drained {
    /// answered requests
    pub replies: usize,
    /// events
    pub events: usize,
    /// bytes of these
    pub event_bytes: usize,
    /// the connection is to end
    pub closing: Option<Closing>,
}

impl Outbox {
    /// Adds one reply. The waker, if there is one, is to be woken when no lock is held any more.
    #[must_use]
    pub fn push_reply(&self, encode: impl FnOnce(&mut BytesMut)) -> Option<Waker> {
        self.push(1, encode)
    }

    /// Adds the frame of an event.
    #[must_use]
    pub fn push_event(&self, frame: &[u8]) -> Option<Waker> {
        self.push(0, |out| out.extend_from_slice(frame))
    }

    /// What is not one of `replies` is an event.
    fn push(&self, replies: usize, encode: impl FnOnce(&mut BytesMut)) -> Option<Waker> {
        let mut state = self.state();
        if state.closing.is_some() {
            return None;
        }
        let before = state.bytes.len();
        encode(&mut state.bytes);
        state.replies += replies;
        if replies == 0 {
            state.events += 1;
            state.event_bytes += state.bytes.len() - before;
        }
        if state.bytes.len() > OUTBOX_BYTES_MAX {
            state.bytes = BytesMut::new();
            state.closing = Some(Closing::Now("it does not read what it is sent"));
        }
        state.waker.take()
    }

    /// Ends the connection. The first reason counts, except that `Now` is never put off.
    #[must_use]
    pub fn close(&self, closing: Closing) -> Option<Waker> {
        let mut state = self.state();
        match (state.closing, closing) {
            (None, _) | (Some(Closing::Behind(_)), Closing::Now(_)) => state.closing = Some(closing),
            _ => {}
        }
        state.waker.take()
    }

    /// Moves everything behind what `out` holds.
    pub fn drain(&self, out: &mut BytesMut) -> Drained {
        let mut state = self.state();
        if !state.bytes.is_empty() {
            out.extend_from_slice(&state.bytes);
            state.bytes.clear();
            if state.bytes.capacity() > BYTES_KEPT {
                state.bytes = BytesMut::new();
            }
        }
        Drained {
            replies: std::mem::take(&mut state.replies),
            events: std::mem::take(&mut state.events),
            event_bytes: std::mem::take(&mut state.event_bytes),
            closing: state.closing,
        }
    }

    /// Whether and how the connection is to end.
    pub fn closing(&self) -> Option<Closing> {
        self.state().closing
    }

    /// Ready when there is something to drain; for a connection that is stuck, only when it has to end at once.
    pub fn poll_filled(&self, context: &mut Context<'_>, is_stuck: bool) -> Poll<()> {
        let mut state = self.state();
        let is_ready = match state.closing {
            Some(Closing::Now(_)) => true,
            Some(Closing::Behind(_)) => !is_stuck,
            None => !is_stuck && !state.bytes.is_empty(),
        };
        if is_ready {
            return Poll::Ready(());
        }
        match &mut state.waker {
            Some(waker) => waker.clone_from(context.waker()),
            waker => *waker = Some(context.waker().clone()),
        }
        Poll::Pending
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_and_events_come_out_in_order_and_wake_whoever_waits_once() {
        let outbox = Outbox::default();
        let mut context = Context::from_waker(Waker::noop());
        assert!(outbox.poll_filled(&mut context, false).is_pending());
        assert!(outbox.push_event(b"event ").is_some());
        assert!(outbox.push_reply(|out| out.extend_from_slice(b"reply")).is_none());
        assert!(outbox.poll_filled(&mut context, false).is_ready());
        let mut out = BytesMut::from(&b"before "[..]);
        assert_eq!(outbox.drain(&mut out), Drained { replies: 1, events: 1, event_bytes: 6, closing: None });
        assert_eq!(out, b"before event reply"[..]);
        assert!(outbox.poll_filled(&mut context, false).is_pending());
    }

    #[test]
    fn nothing_is_added_behind_a_close() {
        let outbox = Outbox::default();
        drop(outbox.push_reply(|out| out.extend_from_slice(b"last")));
        drop(outbox.close(Closing::Behind("closed")));
        drop(outbox.close(Closing::Now("again")));
        drop(outbox.push_event(b"late"));
        let mut out = BytesMut::new();
        assert!(outbox.poll_filled(&mut Context::from_waker(Waker::noop()), true).is_ready());
        assert_eq!(outbox.drain(&mut out).closing, Some(Closing::Now("again")));
        assert_eq!(out, b"last"[..]);
    }

    #[test]
    fn a_client_that_never_reads_is_cut_off_before_memory_runs_out() {
        let outbox = Outbox::default();
        let event = vec![0; 1 << 20];
        for _ in 0..100 {
            drop(outbox.push_event(&event));
        }
        let mut out = BytesMut::new();
        assert!(matches!(outbox.drain(&mut out).closing, Some(Closing::Now(_))));
        assert!(out.len() <= OUTBOX_BYTES_MAX);
    }
}
