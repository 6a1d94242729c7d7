//! What is measured while a load runs.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::mix::Kind;
use crate::jute::ErrorCode;

/// The width of the windows of which the emptiest is reported.
pub const WINDOW: Duration = Duration::from_millis(100);
/// Longer latencies are counted as this one.
const LATENCY_NS_MAX: u64 = 600_000_000_000;
/// How long a preparation tries to connect: a server at its limits may be slow, and connections may still be closing.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// Longer than any preparation.
const FOREVER: Duration = Duration::from_secs(30 * 24 * 3600);

/// The measurements of one run, or of a part that is not measured: the window from..until decides.
pub struct Recorder {
    /// Answers before this moment belong to the warm-up.
    pub from: Instant,
    /// No request is sent from this moment on, and no answer counts.
    pub until: Instant,
    /// Answers so far, warm-up included: for the progress line.
    pub answered: u64,
    /// What went wrong first, measured or not.
    pub first_failure: Option<String>,
    /// Nothing may go wrong: a preparation ends with its first failure.
    fails_fast: bool,
    latencies: Vec<Histogram<u64>>,
    windows: Vec<u32>,
    last_write: Option<Instant>,
    longest_write_gap: Duration,
    errors: BTreeMap<String, u64>,
}

impl Recorder {
    /// Measures from..until.
    pub fn new(from: Instant, until: Instant) -> Recorder {
        let windows = (until - from).as_nanos() / WINDOW.as_nanos();
        let histogram = || Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3).expect("the bounds are valid");
        Recorder {
            from,
            until,
            answered: 0,
            first_failure: None,
            fails_fast: false,
            latencies: Kind::ALL.map(|_| histogram()).into(),
            windows: vec![0; windows as usize],
            last_write: None,
            longest_write_gap: Duration::ZERO,
            errors: BTreeMap::new(),
        }
    }

    /// Measures nothing, and ends with the first failure.
    pub fn for_preparation() -> Recorder {
        let never = Instant::now() + FOREVER;
        Recorder { fails_fast: true, ..Recorder::new(never, never) }
    }

    /// True if no more requests are to be sent.
    pub fn is_over(&self, now: Instant) -> bool {
        now >= self.until || (self.fails_fast && self.first_failure.is_some())
    }

    fn measures(&self, now: Instant) -> bool {
        now >= self.from && now < self.until
    }

    /// A request of `kind` that began at `began` was answered with success.
    pub fn on_success(&mut self, kind: Kind, began: Instant, now: Instant) {
        self.answered += 1;
        if !self.measures(now) {
            return;
        }
        let latency_ns = (now - began).as_nanos() as u64;
        self.latencies[kind as usize].saturating_record(latency_ns);
        let window = (now - self.from).as_nanos() / WINDOW.as_nanos();
        if let Some(window) = self.windows.get_mut(window as usize) {
            *window += 1;
        }
        if kind.is_write() {
            self.on_write(now);
        }
    }

    fn on_write(&mut self, now: Instant) {
        let gap = now - self.last_write.unwrap_or(self.from);
        self.longest_write_gap = self.longest_write_gap.max(gap);
        self.last_write = Some(now);
    }

    /// A request was answered with a code of failure.
    pub fn on_error(&mut self, code: i32, now: Instant) {
        let name = ErrorCode::try_from(code).map_or(code.to_string(), |code| format!("{code:?}"));
        self.on_trouble(&name, 1, now);
    }

    /// An attempt to connect failed, as all have since `since`.
    pub fn on_no_connection(&mut self, error: &io::Error, since: Instant, now: Instant) {
        if !self.fails_fast {
            self.on_trouble("cannot connect", 1, now);
        } else if now - since >= CONNECT_PATIENCE {
            self.on_trouble(&format!("cannot connect: {error}"), 1, now);
        }
    }

    /// `count` requests came to nothing.
    pub fn on_trouble(&mut self, what: &str, count: u64, now: Instant) {
        if count == 0 {
            return;
        }
        if self.first_failure.is_none() {
            self.first_failure = Some(what.to_owned());
        }
        if self.measures(now) {
            *self.errors.entry(what.to_owned()).or_default() += count;
        }
    }

    /// Closes the books.
    pub fn summary(mut self) -> Summary {
        if self.last_write.is_some() {
            self.on_write(self.until);
        }
        let total = self.latencies.iter().fold(
            Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3).expect("the bounds are valid"),
            |mut total, part| {
                total.add(part).expect("all have the same bounds");
                total
            },
        );
        Summary {
            measured: self.until - self.from,
            total,
            kinds: Kind::ALL.into_iter().zip(self.latencies).filter(|(_, part)| !part.is_empty()).collect(),
            emptiest_window: self.windows.iter().copied().min().unwrap_or(0),
            longest_write_gap: self.last_write.map(|_| self.longest_write_gap),
            errors: self.errors,
        }
    }
}

/// What a run has shown.
pub struct Summary {
    /// How long was measured.
    pub measured: Duration,
    /// Latencies of all requests that succeeded, ns.
    pub total: Histogram<u64>,
    /// The same by kind, for the kinds there were.
    pub kinds: Vec<(Kind, Histogram<u64>)>,
    /// Answers in the 100 ms window that had the fewest.
    pub emptiest_window: u32,
    /// The longest time without the acknowledgement of a write, start and end of the measurement included.
    pub longest_write_gap: Option<Duration>,
    /// Failures by name.
    pub errors: BTreeMap<String, u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preparation_gives_up_connecting_after_a_while_and_says_why() {
        let mut recorder = Recorder::for_preparation();
        let (since, error) = (Instant::now(), io::Error::other("a:2181: refused"));
        recorder.on_no_connection(&error, since, since + CONNECT_PATIENCE - Duration::from_millis(1));
        assert!(!recorder.is_over(since));
        recorder.on_no_connection(&error, since, since + CONNECT_PATIENCE);
        assert!(recorder.is_over(since));
        assert_eq!(recorder.first_failure.as_deref(), Some("cannot connect: a:2181: refused"));
    }

    #[test]
    fn the_emptiest_window_and_the_longest_gap_are_found_within_the_measurement() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut recorder = Recorder::new(at(1000), at(1300));
        for ms in [900, 1010, 1020, 1110, 1290, 1299, 1350] {
            recorder.on_success(Kind::Set, at(ms - 5), at(ms));
        }
        recorder.on_error(ErrorCode::NoNode as i32, at(1100));
        recorder.on_error(ErrorCode::NoNode as i32, at(1400));
        let summary = recorder.summary();
        assert_eq!((summary.total.len(), summary.emptiest_window), (5, 1));
        assert_eq!(summary.longest_write_gap, Some(Duration::from_millis(180)));
        assert_eq!(summary.errors, BTreeMap::from([("NoNode".to_owned(), 1)]));
        assert!((4_990_000..5_010_000).contains(&summary.total.max()));
    }

    #[test]
    fn a_silence_at_the_end_is_a_gap_too() {
        let start = Instant::now();
        let mut recorder = Recorder::new(start, start + Duration::from_secs(1));
        recorder.on_success(Kind::Set, start, start + Duration::from_millis(100));
        assert_eq!(recorder.summary().longest_write_gap, Some(Duration::from_millis(900)));
    }
}
