//! How far a receiver was sent the log, and what is on its way to its disk.

use std::collections::VecDeque;

use super::core::Core;
use super::message::Proposal;
use crate::ids::Zxid;

/// A place in the log up to which somebody was sent it, with a bounded window of what was not acknowledged.
#[derive(Debug)]
pub struct Cursor {
    /// Everything through this zxid was sent, or is known to be there.
    pub sent: Zxid,
    /// Everything through this zxid is on the receiver's disk.
    pub acked: Zxid,
    /// Batches on their way to its disk: the last zxid of each, and its bytes.
    in_flight: VecDeque<(Zxid, usize)>,
    in_flight_bytes: usize,
}

impl Cursor {
    /// The receiver has everything through `sent`.
    pub fn new(sent: Zxid) -> Cursor {
        Cursor { sent, acked: Zxid::ZERO, in_flight: VecDeque::new(), in_flight_bytes: 0 }
    }

    /// What is to be sent next, with the zxid before it; `None` if there is nothing, or no room in the window. What
    /// follows `sent` must be at hand.
    pub fn next_batch(&mut self, core: &Core) -> Option<(Zxid, Vec<Proposal>)> {
        let is_full = self.in_flight_bytes >= core.config.unacked_bytes_max;
        if is_full || self.sent >= core.history.last() {
            return None;
        }
        let mut bytes = 0;
        let batch_bytes_max = core.config.batch_bytes_max;
        let proposals: Vec<_> = core
            .history
            .range(self.sent, Zxid(u64::MAX))
            .take_while(|proposal| {
                let fits = bytes == 0 || bytes + proposal.txn.len() <= batch_bytes_max;
                bytes += if fits { proposal.txn.len().max(1) } else { 0 };
                fits
            })
            .cloned()
            .collect();
        let newest = proposals.last()?.zxid;
        let previous = std::mem::replace(&mut self.sent, newest);
        self.in_flight.push_back((newest, bytes));
        self.in_flight_bytes += bytes;
        Some((previous, proposals))
    }

    /// The receiver has everything through this zxid, or will have it without being sent it from here.
    pub fn skip(&mut self, through: Zxid) {
        self.sent = self.sent.max(through);
    }

    /// The receiver has everything through this zxid on its disk.
    pub fn on_ack(&mut self, through: Zxid) {
        self.acked = self.acked.max(through);
        while let Some((end, bytes)) = self.in_flight.front() {
            if *end > self.acked {
                break;
            }
            self.in_flight_bytes -= bytes;
            self.in_flight.pop_front();
        }
    }
}
