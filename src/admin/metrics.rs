//! Figures by the names that ZooKeeper's metrics have, as far as they mean something here: what happened how often, and
//! how values are distributed. Plain relaxed atomics; a change of several of them is not seen as one.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

macro_rules! named {
    ($(#[$docs:meta])* $list:ident: $($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        $(#[$docs])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum $list {
            $($(#[$doc])* $name,)*
        }

        impl $list {
            /// All of them, with their names in ZooKeeper.
            const ALL: &[($list, &str)] = &[$(($list::$name, $text),)*];
        }
    };
}

named! {
    /// What is counted.
    Count:
    /// elections that this server began
    Looking = "looking_count",
    /// learners that were sent a part of the log
    Diff = "diff_count",
    /// learners that were sent a snapshot
    Snap = "snap_count",
    /// transactions that this server proposed as the leader
    Proposal = "proposal_count",
    /// transactions that became decided while it led
    Commit = "commit_count",
    /// transactions that a leader sent
    LearnerProposal = "learner_proposal_received_count",
    /// of a leader's transactions, those that became decided
    LearnerCommit = "learner_commit_received_count",
    /// clients that asked for a session, a new one or their old one
    ConnectionRequest = "connection_request_count",
    /// those with an old one
    ConnectionRevalidate = "connection_revalidate_count",
    /// sessions that clients of other servers went on with, of a leader
    Revalidate = "revalidate_count",
    /// connections that this server ended
    ConnectionDrop = "connection_drop_count",
    /// those of them that asked for no session in time
    SessionlessExpired = "sessionless_connections_expired",
    /// bytes from clients
    BytesReceived = "bytes_received_count",
    /// bytes of replies
    ResponseBytes = "response_bytes",
    /// bytes of watch events
    WatchBytes = "watch_bytes",
    /// requests for which `throttled_op_wait_time` was too short
    ThrottledOp = "throttled_ops",
    /// looks at requests that wait, because there are as many as `request_throttle_max_requests` allows
    ThrottleWait = "request_throttle_wait_count",
    /// requests that were worked on although they are stale
    StaleRequest = "stale_requests",
    /// those that were not
    StaleRequestDropped = "stale_requests_dropped",
    /// frames that are longer than `jute.maxbuffer`, and requests for which `largeRequestMaxBytes` is too little
    LargeRequest = "large_requests_rejected",
    /// clients that named this ensemble
    EnsembleAuthSuccess = "ensemble_auth_success",
    /// clients that named another
    EnsembleAuthFail = "ensemble_auth_fail",
    /// clients that named none, or of which none is expected
    EnsembleAuthSkip = "ensemble_auth_skip",
    /// clients of this machine that have shown no certificate
    NonMtlsLocal = "non_mtls_local_conn_count",
    /// and those of others
    NonMtlsRemote = "non_mtls_remote_conn_count",
    /// bytes to other servers over links, snapshots included; ZooKeeper has no such number
    PeerBytesSent = "peer_bytes_sent_count",
    /// snapshots that could not be written
    SnapshotError = "snapshot_error_count",
}

named! {
    /// Values of which number, sum, least and greatest are kept. Times are told in whole milliseconds.
    Sum:
    /// a sync of the log, us
    Fsync = "fsynctime",
    /// transactions that one sync made durable
    SyncBatch = "sync_processor_batch_size",
    /// tokens that `connection_throttle_tokens` lacked when a client was let in
    TokenDeficit = "connection_token_deficit",
    /// a snapshot written, us
    Snapshot = "snapshottime",
    /// the state brought up at the start, us
    DbInit = "dbinittime",
    /// of it, the snapshot read, us
    StartupSnapshot = "startup_snap_load_time",
    /// transactions that were applied behind it
    StartupTxns = "startup_txns_loaded",
    /// the time that they took, us
    StartupTxnsTime = "startup_txns_load_time",
    /// from the loss of a leader until the next one is known, us
    Election = "election_time",
    /// from the loss of a leader until clients are served again, us
    Unavailable = "unavailable_time",
    /// likewise of a server that leads then, us
    LeaderUnavailable = "leader_unavailable_time",
    /// from the knowledge of a leader until a follower has its history, us
    FollowerSync = "follower_sync_time",
    /// until an observer has it, us
    ObserverSync = "observer_sync_time",
    /// clients that are told that a znode came
    NodeCreated = "node_created_watch_count",
    /// that one went
    NodeDeleted = "node_deleted_watch_count",
    /// that its data changed
    NodeChanged = "node_changed_watch_count",
    /// that it has other children
    NodeChildren = "node_children_watch_count",
}

impl Sum {
    /// True if the values are microseconds.
    fn is_time(self) -> bool {
        !matches!(
            self,
            Sum::SyncBatch
                | Sum::TokenDeficit
                | Sum::StartupTxns
                | Sum::NodeCreated
                | Sum::NodeDeleted
                | Sum::NodeChanged
                | Sum::NodeChildren
        )
    }
}

/// Number, sum, least and greatest of values.
#[derive(Debug)]
pub struct Summary {
    count: AtomicU64,
    sum: AtomicU64,
    min: AtomicU64,
    max: AtomicU64,
}

impl Default for Summary {
    fn default() -> Summary {
        Summary {
            count: AtomicU64::new(0),
            sum: AtomicU64::new(0),
            min: AtomicU64::new(u64::MAX),
            max: AtomicU64::new(0),
        }
    }
}

impl Summary {
    /// The same value `times` times.
    pub fn add(&self, value: u64, times: u64) {
        self.count.fetch_add(times, Relaxed);
        self.sum.fetch_add(value.saturating_mul(times), Relaxed);
        if value < self.min.load(Relaxed) {
            self.min.fetch_min(value, Relaxed);
        }
        if value > self.max.load(Relaxed) {
            self.max.fetch_max(value, Relaxed);
        }
    }

    /// Begins anew.
    pub fn reset(&self) {
        [&self.count, &self.sum, &self.max].into_iter().for_each(|counter| counter.store(0, Relaxed));
        self.min.store(u64::MAX, Relaxed);
    }

    /// How many values there were.
    pub fn count(&self) -> u64 {
        self.count.load(Relaxed)
    }

    /// All of them together.
    pub fn sum(&self) -> u64 {
        self.sum.load(Relaxed)
    }

    /// The least; `None` before the first.
    pub fn min(&self) -> Option<u64> {
        Some(self.min.load(Relaxed)).filter(|_| self.count() > 0)
    }

    /// The greatest; 0 before the first.
    pub fn max(&self) -> u64 {
        self.max.load(Relaxed)
    }

    /// Five lines, in units of `unit` values.
    fn write(&self, name: &str, unit: u64, out: &mut String) {
        let [min, max, sum] = [self.min().unwrap_or(0), self.max(), self.sum()].map(|value| value / unit);
        let mean = mean(self.sum() as f64 / unit as f64, self.count());
        let count = self.count();
        let _ = write!(
            out,
            "zk_avg_{name}\t{mean:?}\nzk_min_{name}\t{min}\nzk_max_{name}\t{max}\nzk_cnt_{name}\t{count}\n\
             zk_sum_{name}\t{sum}\n"
        );
    }
}

/// A mean with four digits behind the point, as ZooKeeper tells it.
pub fn mean(sum: f64, count: u64) -> f64 {
    if count == 0 { 0.0 } else { (sum / count as f64 * 10_000.0).round() / 10_000.0 }
}

/// Steps between a power of two and the next: a quantile is at most an eighth too great.
const STEPS: usize = 8;

/// Enough for more than an hour.
const BUCKETS: usize = 32 * STEPS;

/// Durations, and how they are distributed.
#[derive(Debug)]
pub struct Latencies {
    us: Summary,
    buckets: [AtomicU64; BUCKETS],
}

impl Default for Latencies {
    fn default() -> Latencies {
        Latencies { us: Summary::default(), buckets: [const { AtomicU64::new(0) }; BUCKETS] }
    }
}

impl Latencies {
    /// The same duration `times` times.
    pub fn add(&self, duration: Duration, times: u64) {
        let us = micros(duration);
        self.us.add(us, times);
        self.buckets[bucket(us)].fetch_add(times, Relaxed);
    }

    /// Begins anew.
    pub fn reset(&self) {
        self.us.reset();
        self.buckets.iter().for_each(|bucket| bucket.store(0, Relaxed));
    }

    /// All of them, us.
    pub fn us(&self) -> &Summary {
        &self.us
    }

    /// What `share` of them did not exceed, us.
    fn quantile_us(&self, share: f64) -> u64 {
        let counts: Vec<u64> = self.buckets.iter().map(|bucket| bucket.load(Relaxed)).collect();
        let enough = (counts.iter().sum::<u64>() as f64 * share).ceil() as u64;
        let mut seen = 0;
        let reaches = |count: &u64| {
            seen += count;
            seen >= enough.max(1)
        };
        let place = counts.iter().position(reaches);
        place.map_or(0, |place| bucket_end(place).min(self.us.max()))
    }

    /// Nine lines, in milliseconds.
    fn write(&self, name: &str, out: &mut String) {
        self.us.write(name, US_PER_MS, out);
        for (key, share) in [("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("p999", 0.999)] {
            let _ = writeln!(out, "zk_{key}_{name}\t{}", self.quantile_us(share) / US_PER_MS);
        }
    }
}

const US_PER_MS: u64 = 1000;

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Below `STEPS` each value has its own; then each power of two has `STEPS`.
fn bucket(value: u64) -> usize {
    let steps = STEPS as u64;
    if value < steps {
        return value as usize;
    }
    let shift = value.ilog2() - steps.ilog2();
    (shift as usize * STEPS + (value >> shift) as usize).min(BUCKETS - 1)
}

/// The greatest value that is counted there.
fn bucket_end(bucket: usize) -> u64 {
    if bucket < 2 * STEPS {
        return bucket as u64;
    }
    let shift = bucket / STEPS - 1;
    (((bucket % STEPS + STEPS + 1) as u64) << shift) - 1
}

/// All of them, since the server started or was told to begin anew.
#[derive(Debug, Default)]
pub struct Metrics {
    counts: [AtomicU64; Count::ALL.len()],
    sums: [Summary; Sum::ALL.len()],
    /// requests that this server answers by itself
    pub reads: Latencies,
    /// requests that the leader decides
    pub updates: Latencies,
    /// from a leader's proposal until it is decided
    pub quorum_acks: Latencies,
    /// waits for `request_throttle_max_requests`
    pub throttle_waits: Latencies,
}

impl Metrics {
    /// It happened once more.
    pub fn count(&self, what: Count) {
        self.add(what, 1);
    }

    /// It happened so many times more.
    pub fn add(&self, what: Count, times: u64) {
        self.counts[what as usize].fetch_add(times, Relaxed);
    }

    /// One more value.
    pub fn note(&self, what: Sum, value: u64) {
        self.sums[what as usize].add(value, 1);
    }

    /// One more time that something took.
    pub fn note_time(&self, what: Sum, time: Duration) {
        self.note(what, micros(time));
    }

    /// Begins anew.
    pub fn reset(&self) {
        self.counts.iter().for_each(|count| count.store(0, Relaxed));
        self.sums.iter().for_each(Summary::reset);
        self.reads.reset();
        self.updates.reset();
        self.quorum_acks.reset();
        self.throttle_waits.reset();
    }

    /// The lines of `mntr`.
    pub fn write(&self, out: &mut String) {
        for (what, name) in Count::ALL {
            let _ = writeln!(out, "zk_{name}\t{}", self.counts[*what as usize].load(Relaxed));
        }
        for (what, name) in Sum::ALL {
            let unit = if what.is_time() { US_PER_MS } else { 1 };
            self.sums[*what as usize].write(name, unit, out);
        }
        self.reads.write("readlatency", out);
        self.updates.write("updatelatency", out);
        self.quorum_acks.write("quorum_ack_latency", out);
        self.throttle_waits.write("request_throttle_queue_time_ms", out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(metrics: &Metrics) -> String {
        let mut text = String::new();
        metrics.write(&mut text);
        text
    }

    #[test]
    fn times_are_told_in_milliseconds_and_all_else_as_it_is() {
        let metrics = Metrics::default();
        metrics.note_time(Sum::Fsync, Duration::from_micros(1500));
        metrics.note_time(Sum::Fsync, Duration::from_micros(2750));
        metrics.note(Sum::SyncBatch, 7);
        metrics.count(Count::Snap);
        let text = lines(&metrics);
        let fsync = "zk_avg_fsynctime\t2.125\nzk_min_fsynctime\t1\nzk_max_fsynctime\t2\nzk_cnt_fsynctime\t2\n\
                     zk_sum_fsynctime\t4\n";
        assert!(text.contains(fsync), "{text}");
        assert!(
            text.contains("zk_avg_sync_processor_batch_size\t7.0\nzk_min_sync_processor_batch_size\t7\n")
        );
        assert!(text.contains("zk_snap_count\t1\n") && text.contains("zk_diff_count\t0\n"));
        assert!(text.contains("zk_min_snapshottime\t0\n"), "nothing was noted yet");
        metrics.reset();
        assert_eq!(lines(&metrics), lines(&Metrics::default()));
    }

    #[test]
    fn quantiles_are_those_of_the_durations() {
        let latencies = Latencies::default();
        latencies.add(Duration::from_millis(2), 98);
        latencies.add(Duration::from_millis(40), 2);
        let mut text = String::new();
        latencies.write("readlatency", &mut text);
        for line in ["zk_p50_readlatency\t2\n", "zk_p95_readlatency\t2\n", "zk_p99_readlatency\t40\n"] {
            assert!(text.contains(line), "{line:?} is missing in {text}");
        }
        assert_eq!(Latencies::default().quantile_us(0.5), 0);
    }

    proptest! {
        #[test]
        fn a_value_is_counted_where_it_is_little_below_the_end(value in 0..(1_u64 << 34)) {
            let end = bucket_end(bucket(value));
            prop_assert!(value <= end && end - value <= value / STEPS as u64);
        }
    }
}
