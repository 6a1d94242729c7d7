//! Counters of what the server does for its clients. Plain relaxed atomics, touched once for a batch of requests.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::metrics::{Count, Metrics, mean};

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
    proposal_sizes: Sizes,
    response_sizes: Sizes,
    leading_since: Mutex<Option<Instant>>,
    trace_mask: AtomicI64,
    /// figures that ZooKeeper has names for
    pub metrics: Metrics,
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

impl Default for Sizes {
    fn default() -> Sizes {
        Sizes { last: AtomicI64::new(-1), min: AtomicI64::new(-1), max: AtomicI64::new(-1) }
    }
}

impl Sizes {
    fn note(&self, bytes: usize) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.last.store(bytes, Relaxed);
        if bytes > self.max.load(Relaxed) {
            self.max.fetch_max(bytes, Relaxed);
        }
        let min = self.min.load(Relaxed);
        if min < 0 || bytes < min {
            self.min.store(bytes, Relaxed);
        }
    }

    fn reset(&self) {
        [&self.last, &self.min, &self.max].into_iter().for_each(|size| size.store(-1, Relaxed));
    }

    fn tell(&self) -> [i64; 3] {
        [&self.last, &self.min, &self.max].map(|size| size.load(Relaxed))
    }
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
            proposal_sizes: Sizes::default(),
            response_sizes: Sizes::default(),
            leading_since: Mutex::default(),
            trace_mask: AtomicI64::new(TRACE_MASK),
            metrics: Metrics::default(),
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

    /// `requests` were answered by this server, each `latency` after it came.
    pub fn count_reads(&self, requests: u64, latency: Duration) {
        self.metrics.reads.add(latency, requests);
    }

    /// A request was answered that the leader decided, `latency` after it came.
    pub fn count_update(&self, latency: Duration) {
        self.metrics.updates.add(latency, 1);
    }

    /// A reply of so many bytes goes to a client.
    pub fn count_response(&self, bytes: usize) {
        self.response_sizes.note(bytes);
    }

    /// This server leads from now on, or does not.
    pub fn set_leading(&self, leads: bool) {
        let since = leads.then(Instant::now);
        *self.leading_since.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    /// The leader proposed a transaction of so many bytes.
    pub fn count_proposal(&self, bytes: usize) {
        self.proposal_sizes.note(bytes);
        self.metrics.count(Count::Proposal);
    }

    /// Begins to count anew. What is outstanding still is.
    pub fn reset(&self) {
        for counter in [&self.received, &self.sent, &self.rejected, &self.auth_failed] {
            counter.store(0, Relaxed);
        }
        self.proposal_sizes.reset();
        self.response_sizes.reset();
        self.metrics.reset();
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
        let least_us =
            [&self.metrics.reads, &self.metrics.updates].into_iter().filter_map(|it| it.us().min());
        least_us.min().map_or(0, |us| us / 1000)
    }

    /// The longest latency, likewise.
    pub fn latency_ms_max(&self) -> u64 {
        self.metrics.reads.us().max().max(self.metrics.updates.us().max()) / 1000
    }

    /// The mean latency in milliseconds, with four digits behind the point as ZooKeeper tells it.
    pub fn latency_ms_mean(&self) -> f64 {
        let (reads, updates) = (self.metrics.reads.us(), self.metrics.updates.us());
        mean((reads.sum() + updates.sum()) as f64 / 1000.0, reads.count() + updates.count())
    }

    /// Sizes of proposals: last, smallest, biggest.
    pub fn proposal_sizes(&self) -> [i64; 3] {
        self.proposal_sizes.tell()
    }

    /// Sizes of replies: last, smallest, biggest.
    pub fn response_sizes(&self) -> [i64; 3] {
        self.response_sizes.tell()
    }

    /// How long this server leads, ms; `None` if it does not.
    pub fn leader_uptime_ms(&self) -> Option<u128> {
        let since = *self.leading_since.lock().unwrap_or_else(PoisonError::into_inner);
        since.map(|since| since.elapsed().as_millis())
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
        stats.count_reads(3, Duration::from_micros(1000));
        stats.count_update(Duration::from_micros(2468));
        assert_eq!((stats.latency_ms_min(), stats.latency_ms_max()), (1, 2));
        assert_eq!(stats.latency_ms_mean(), 1.367);
    }

    #[test]
    fn a_reset_leaves_only_what_is_outstanding() {
        let stats = Stats::default();
        stats.count_received(3);
        stats.count_reads(2, Duration::from_micros(5000));
        stats.count_response(16);
        stats.count_proposal(40);
        let _outstanding = stats.begin();
        stats.reset();
        assert_eq!((stats.received(), stats.latency_ms_mean(), stats.latency_ms_max()), (0, 0.0, 0));
        assert_eq!((stats.proposal_sizes(), stats.outstanding()), ([-1, -1, -1], 1));
        assert_eq!(stats.response_sizes(), [-1, -1, -1]);
        stats.count_update(Duration::from_micros(2000));
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
