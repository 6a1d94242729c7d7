//! What the words `cons` and `dump` tell of one connection. Its own task counts, so plain stores are enough.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicI32, AtomicI64, AtomicU32, AtomicU64};
use std::time::{Duration, Instant};

use crate::ids::{Xid, Zxid};
use crate::server::clock::Clock;

/// Counts of one connection.
#[derive(Debug)]
pub struct Tally {
    began: Instant,
    established_ms: i64,
    last_op: AtomicI32,
    last_xid: AtomicI32,
    last_zxid: AtomicU64,
    last_response_ms: AtomicI64,
    answered: AtomicU64,
    latency_us_sum: AtomicU64,
    latency_us_last: AtomicU32,
    latency_us_min: AtomicU32,
    latency_us_max: AtomicU32,
}

impl Tally {
    /// Of a connection that was made just now.
    pub fn begin() -> Tally {
        Tally {
            began: Instant::now(),
            established_ms: Clock::wall_ms(),
            last_op: AtomicI32::new(0),
            last_xid: AtomicI32::new(0),
            last_zxid: AtomicU64::new(0),
            last_response_ms: AtomicI64::new(0),
            answered: AtomicU64::new(0),
            latency_us_sum: AtomicU64::new(0),
            latency_us_last: AtomicU32::new(0),
            latency_us_min: AtomicU32::new(u32::MAX),
            latency_us_max: AtomicU32::new(0),
        }
    }

    /// The newest request. The client's number is told only of those that have one of their own.
    pub fn asked(&self, op: i32, xid: Xid) {
        self.last_op.store(op, Relaxed);
        if xid >= 0 {
            self.last_xid.store(xid, Relaxed);
        }
    }

    /// The state that an answer rests on.
    pub fn shown(&self, zxid: Zxid) {
        self.last_zxid.store(zxid.0, Relaxed);
    }

    /// So many requests were answered, each `latency` after it came at `came`.
    pub fn answered(&self, requests: u64, came: Instant, latency: Duration) {
        let us = u32::try_from(latency.as_micros()).unwrap_or(u32::MAX);
        let add = |sum: &AtomicU64, more: u64| sum.store(sum.load(Relaxed).saturating_add(more), Relaxed);
        add(&self.answered, requests);
        add(&self.latency_us_sum, u64::from(us) * requests);
        self.latency_us_last.store(us, Relaxed);
        self.latency_us_min.store(us.min(self.latency_us_min.load(Relaxed)), Relaxed);
        self.latency_us_max.store(us.max(self.latency_us_max.load(Relaxed)), Relaxed);
        let ms = (came + latency).duration_since(self.began).as_millis();
        let last_ms = self.established_ms.saturating_add(i64::try_from(ms).unwrap_or(i64::MAX));
        self.last_response_ms.store(last_ms, Relaxed);
    }

    /// Begins to count latencies anew.
    pub fn reset(&self) {
        for counter in [&self.answered, &self.latency_us_sum] {
            counter.store(0, Relaxed);
        }
        self.latency_us_last.store(0, Relaxed);
        self.latency_us_min.store(u32::MAX, Relaxed);
        self.latency_us_max.store(0, Relaxed);
    }

    /// When the connection was made, ms since 1970.
    pub fn established_ms(&self) -> i64 {
        self.established_ms
    }

    /// The newest request: its operation (0 before the first) and its number.
    pub fn last_asked(&self) -> (i32, Xid) {
        (self.last_op.load(Relaxed), self.last_xid.load(Relaxed))
    }

    /// The newest state that was shown.
    pub fn last_zxid(&self) -> Zxid {
        Zxid(self.last_zxid.load(Relaxed))
    }

    /// When it was last answered, ms since 1970; 0 before that.
    pub fn last_response_ms(&self) -> i64 {
        self.last_response_ms.load(Relaxed)
    }

    /// Whole milliseconds from a request to its answer: the last one, the shortest, the mean, the longest.
    pub fn latency_ms(&self) -> [u64; 4] {
        let answered = self.answered.load(Relaxed);
        let mean_us = self.latency_us_sum.load(Relaxed).checked_div(answered).unwrap_or(0);
        let min_us = if answered == 0 { 0 } else { self.latency_us_min.load(Relaxed) };
        let [last_us, max_us] = [&self.latency_us_last, &self.latency_us_max].map(|us| us.load(Relaxed));
        [last_us.into(), min_us.into(), mean_us, max_us.into()].map(|us: u64| us / 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_are_told_in_whole_milliseconds_and_can_be_reset() {
        let tally = Tally::begin();
        assert_eq!(tally.latency_ms(), [0; 4]);
        tally.answered(3, Instant::now(), Duration::from_millis(2));
        tally.answered(1, Instant::now(), Duration::from_micros(9999));
        assert_eq!(tally.latency_ms(), [9, 2, 3, 9]);
        tally.reset();
        assert_eq!(tally.latency_ms(), [0; 4]);
    }

    #[test]
    fn a_ping_has_no_number_of_its_own() {
        let tally = Tally::begin();
        tally.asked(4, 7);
        tally.asked(11, -2);
        assert_eq!(tally.last_asked(), (11, 7));
    }
}
