//! Counters of what the server does for its clients. Plain relaxed atomics, touched once for a batch of requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Since the server started.
#[derive(Debug)]
pub struct Stats {
    started: Instant,
    received: AtomicU64,
    sent: AtomicU64,
    outstanding: Arc<AtomicU64>,
    rejected: AtomicU64,
    auth_failed: AtomicU64,
    handshakes: Arc<AtomicU64>,
    handshakes_failed: AtomicU64,
    handshakes_exceeded: AtomicU64,
    answered: AtomicU64,
    latency_us_sum: AtomicU64,
    latency_us_min: AtomicU64,
    latency_us_max: AtomicU64,
    proposal_sizes: Sizes,
    trace_mask: AtomicI64,
}

/// What ZooKeeper traces unless it is told otherwise: requests, packets between servers, sessions, warnings.
const TRACE_MASK: i64 = 0b1_0011_0010;

/// A request, or a handshake, is counted as outstanding while this is kept.
#[derive(Debug)]
pub struct Counted(Arc<AtomicU64>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// Last, smallest and biggest of something; -1 before the first, as ZooKeeper prints it.
#[derive(Debug)]
struct Sizes {
    last: AtomicI64,
    min: AtomicI64,
    max: AtomicI64,
}

impl Default for Stats {
    fn default() -> Stats {
        Stats {
            started: Instant::now(),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            outstanding: Arc::default(),
            rejected: AtomicU64::new(0),
            auth_failed: AtomicU64::new(0),
            handshakes: Arc::default(),
            handshakes_failed: AtomicU64::new(0),
            handshakes_exceeded: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            latency_us_sum: AtomicU64::new(0),
            latency_us_min: AtomicU64::new(u64::MAX),
            latency_us_max: AtomicU64::new(0),
            proposal_sizes: Sizes {
                last: AtomicI64::new(-1),
                min: AtomicI64::new(-1),
                max: AtomicI64::new(-1),
            },
            trace_mask: AtomicI64::new(TRACE_MASK),
        }
    }
}

impl Stats {
    /// Packets came from clients.
    pub fn count_received(&self, packets: u64) {
        self.received.fetch_add(packets, Relaxed);
    }

    /// Replies and events went to clients.
    pub fn count_sent(&self, packets: u64) {
        self.sent.fetch_add(packets, Relaxed);
    }

    /// A request is given to the core, and counts as outstanding until what is returned is dropped.
    pub fn begin(&self) -> Counted {
        self.outstanding.fetch_add(1, Relaxed);
        Counted(Arc::clone(&self.outstanding))
    }

    /// A connection was refused.
    pub fn count_rejected(&self) {
        self.rejected.fetch_add(1, Relaxed);
    }

    /// A client could not prove who it is.
    pub fn count_auth_failed(&self) {
        self.auth_failed.fetch_add(1, Relaxed);
    }

    /// A TLS handshake begins, and counts until what is returned is dropped. `None` if there are `most` already.
    pub fn begin_handshake(&self, most: u32) -> Option<Counted> {
        let before = self.handshakes.fetch_add(1, Relaxed);
        let counted = Counted(Arc::clone(&self.handshakes));
        (before < u64::from(most)).then_some(counted)
    }

    /// A TLS handshake failed.
    pub fn count_handshake_failed(&self) {
        self.handshakes_failed.fetch_add(1, Relaxed);
    }

    /// A client was refused because too many handshakes were going on.
    pub fn count_handshake_exceeded(&self) {
        self.handshakes_exceeded.fetch_add(1, Relaxed);
    }

    /// `requests` were answered, each `latency` after it came.
    pub fn count_answered(&self, requests: u64, latency: Duration) {
        let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.answered.fetch_add(requests, Relaxed);
        self.latency_us_sum.fetch_add(us.saturating_mul(requests), Relaxed);
        if us < self.latency_us_min.load(Relaxed) {
            self.latency_us_min.fetch_min(us, Relaxed);
        }
        if us > self.latency_us_max.load(Relaxed) {
            self.latency_us_max.fetch_max(us, Relaxed);
        }
    }

    /// The leader proposed a transaction of so many bytes.
    pub fn count_proposal(&self, bytes: usize) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.proposal_sizes.last.store(bytes, Relaxed);
        self.proposal_sizes.max.fetch_max(bytes, Relaxed);
        let min = self.proposal_sizes.min.load(Relaxed);
        if min < 0 || bytes < min {
            self.proposal_sizes.min.store(bytes, Relaxed);
        }
    }

    /// Begins to count anew. What is outstanding still is.
    pub fn reset(&self) {
        for counter in [
            &self.received,
            &self.sent,
            &self.rejected,
            &self.auth_failed,
            &self.answered,
            &self.latency_us_sum,
            &self.latency_us_max,
        ] {
            counter.store(0, Relaxed);
        }
        self.latency_us_min.store(u64::MAX, Relaxed);
        for size in [&self.proposal_sizes.last, &self.proposal_sizes.min, &self.proposal_sizes.max] {
            size.store(-1, Relaxed);
        }
    }

    /// What `stmk` set. It is told again and does nothing: the levels of the log say what is traced.
    pub fn trace_mask(&self) -> i64 {
        self.trace_mask.load(Relaxed)
    }

    /// The argument of `stmk`.
    pub fn set_trace_mask(&self, mask: i64) {
        self.trace_mask.store(mask, Relaxed);
    }

    /// Since the server started.
    pub fn uptime_ms(&self) -> u128 {
        self.started.elapsed().as_millis()
    }

    /// Packets from clients.
    pub fn received(&self) -> u64 {
        self.received.load(Relaxed)
    }

    /// Packets to clients.
    pub fn sent(&self) -> u64 {
        self.sent.load(Relaxed)
    }

    /// Requests that the core has, and that are not decided: also those whose clients are gone.
    pub fn outstanding(&self) -> u64 {
        self.outstanding.load(Relaxed)
    }

    /// Connections that were refused.
    pub fn rejected(&self) -> u64 {
        self.rejected.load(Relaxed)
    }

    /// Clients that could not prove who they are.
    pub fn auth_failed(&self) -> u64 {
        self.auth_failed.load(Relaxed)
    }

    /// TLS handshakes that are going on.
    pub fn handshakes(&self) -> u64 {
        self.handshakes.load(Relaxed)
    }

    /// TLS handshakes that failed.
    pub fn handshakes_failed(&self) -> u64 {
        self.handshakes_failed.load(Relaxed)
    }

    /// Clients that were refused because too many handshakes were going on.
    pub fn handshakes_exceeded(&self) -> u64 {
        self.handshakes_exceeded.load(Relaxed)
    }

    /// The shortest latency, in whole milliseconds as ZooKeeper tells it.
    pub fn latency_ms_min(&self) -> u64 {
        match self.latency_us_min.load(Relaxed) {
            u64::MAX => 0,
            us => us / 1000,
        }
    }

    /// The longest latency, likewise.
    pub fn latency_ms_max(&self) -> u64 {
        self.latency_us_max.load(Relaxed) / 1000
    }

    /// The mean latency in milliseconds, with four digits behind the point as ZooKeeper tells it.
    pub fn latency_ms_mean(&self) -> f64 {
        let answered = self.answered.load(Relaxed);
        if answered == 0 {
            return 0.0;
        }
        let us = self.latency_us_sum.load(Relaxed) as f64 / answered as f64;
        (us * 10.0).round() / 10_000.0
    }

    /// Sizes of proposals: last, smallest, biggest.
    pub fn proposal_sizes(&self) -> [i64; 3] {
        [&self.proposal_sizes.last, &self.proposal_sizes.min, &self.proposal_sizes.max]
            .map(|size| size.load(Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_are_told_in_milliseconds() {
        let stats = Stats::default();
        assert_eq!((stats.latency_ms_min(), stats.latency_ms_max()), (0, 0));
        assert_eq!(stats.latency_ms_mean(), 0.0);
        stats.count_answered(3, Duration::from_micros(1000));
        stats.count_answered(1, Duration::from_micros(2468));
        assert_eq!((stats.latency_ms_min(), stats.latency_ms_max()), (1, 2));
        assert_eq!(stats.latency_ms_mean(), 1.367);
    }

    #[test]
    fn a_reset_leaves_only_what_is_outstanding() {
        let stats = Stats::default();
        stats.count_received(3);
        stats.count_answered(2, Duration::from_micros(5000));
        stats.count_proposal(40);
        let _outstanding = stats.begin();
        stats.reset();
        assert_eq!((stats.received(), stats.latency_ms_mean(), stats.latency_ms_max()), (0, 0.0, 0));
        assert_eq!((stats.proposal_sizes(), stats.outstanding()), ([-1, -1, -1], 1));
        stats.count_answered(1, Duration::from_micros(2000));
        assert_eq!(stats.latency_ms_min(), 2);
    }

    #[test]
    fn sizes_of_proposals_are_minus_one_before_the_first() {
        let stats = Stats::default();
        assert_eq!(stats.proposal_sizes(), [-1, -1, -1]);
        for bytes in [40, 30, 35] {
            stats.count_proposal(bytes);
        }
        assert_eq!(stats.proposal_sizes(), [35, 30, 40]);
    }
}
