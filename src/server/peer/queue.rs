//! What waits to be written to a link.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::sleep;

use super::codec::approximate_bytes;
use crate::replica::{Image, PeerMessage};

/// Beyond this nothing more may wait on one link. A learner may need all recent transactions at once (32 MiB by
/// default), and while a snapshot is on its way everything new waits behind it; who is further behind starts over with
/// a newer snapshot. The transactions are shared with the log's memory and with other links.
const QUEUED_BYTES_MAX: usize = 256 << 20;

/// How long what was queued before a close may take to be written.
const CLOSE_GRACE: Duration = Duration::from_secs(1);

/// Something to write.
#[derive(Debug)]
pub(super) enum Item {
    /// A message.
    Message(PeerMessage),
    /// A snapshot, encoded as it is written.
    Snapshot(Box<Image>),
}

/// The queue of one link: bounded, filled by the core, emptied by the link's writer.
#[derive(Debug, Default)]
pub struct LinkQueue {
    state: Mutex<State>,
    /// wakes the writer
    filled: Notify,
    /// wakes the watchdog
    closing: Notify,
}

#[derive(Debug, Default)]
struct State {
    items: VecDeque<Item>,
    bytes: usize,
    closing: Option<String>,
}

impl LinkQueue {
    /// Adds a message. A link whose queue is full ends.
    pub fn send(&self, message: PeerMessage) {
        let bytes = approximate_bytes(&message);
        self.push(Item::Message(message), bytes);
    }

    /// Adds a snapshot; what is added later is written behind it.
    pub fn send_snapshot(&self, image: Image) {
        self.push(Item::Snapshot(Box::new(image)), 0);
    }

    fn push(&self, item: Item, bytes: usize) {
        let mut state = self.state();
        if state.closing.is_some() {
            return;
        }
        if state.bytes >= QUEUED_BYTES_MAX {
            state.items.clear();
            state.closing = Some(format!("{} MiB wait to be sent: too slow", state.bytes >> 20));
            self.closing.notify_one();
        } else {
            state.bytes += bytes;
            state.items.push_back(item);
        }
        drop(state);
        self.filled.notify_one();
    }

    /// Ends the link once what was queued before is written, or soon in any case. The first reason counts.
    pub fn close(&self, reason: String) {
        self.state().closing.get_or_insert(reason);
        self.filled.notify_one();
        self.closing.notify_one();
    }

    /// True once the link is to end: nothing that still arrives matters.
    pub(super) fn is_closing(&self) -> bool {
        self.state().closing.is_some()
    }

    /// Waits until there is something to write, and takes all of it. `Err`: the link is to end, for this reason.
    pub(super) async fn take(&self) -> Result<VecDeque<Item>, String> {
        loop {
            {
                let mut state = self.state();
                if !state.items.is_empty() {
                    state.bytes = 0;
                    return Ok(std::mem::take(&mut state.items));
                }
                if let Some(reason) = &state.closing {
                    return Err(reason.clone());
                }
            }
            self.filled.notified().await;
        }
    }

    /// Waits until the link should be closed and had its time to write what was queued.
    pub(super) async fn overdue(&self) -> String {
        let reason = self.until_closing().await;
        sleep(CLOSE_GRACE).await;
        reason
    }

    async fn until_closing(&self) -> String {
        loop {
            if let Some(reason) = &self.state().closing {
                return reason.clone();
            }
            self.closing.notified().await;
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Zxid;
    use crate::zab::{Message, Proposal};

    fn message(bytes: usize) -> PeerMessage {
        let proposal = Proposal { zxid: Zxid(1), txn: vec![0; bytes].into() };
        PeerMessage::Zab(Message::Proposals {
            previous: Zxid(0),
            proposals: vec![proposal],
            committed: Zxid(0),
        })
    }

    #[tokio::test]
    async fn what_was_queued_before_a_close_is_still_given_out() {
        let queue = LinkQueue::default();
        queue.send(message(1));
        queue.close("done".to_owned());
        queue.send(message(1));
        assert_eq!(queue.take().await.unwrap().len(), 1);
        assert_eq!(queue.take().await.unwrap_err(), "done");
    }

    #[tokio::test]
    async fn a_queue_that_is_full_ends_the_link() {
        let queue = LinkQueue::default();
        for _ in 0..=QUEUED_BYTES_MAX >> 20 {
            assert!(!queue.is_closing());
            queue.send(message(1 << 20));
        }
        assert!(queue.take().await.unwrap_err().ends_with("too slow"));
    }

    #[tokio::test]
    async fn a_close_comes_through_even_if_nothing_is_taken() {
        let queue = LinkQueue::default();
        queue.send(message(1));
        queue.close("enough".to_owned());
        queue.close("more than enough".to_owned());
        assert_eq!(queue.until_closing().await, "enough");
    }
}
