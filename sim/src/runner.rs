//! Many runs on all cores.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use super::coverage::Coverage;
use super::failure::Failure;
use super::run::{Outcome, Plan};
use super::trace::Trace;

/// One run of so many is done twice, and must go the same way.
const TWICE_EVERY: u64 = 100;

/// Which runs are done.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    pub first_seed: u64,
    pub runs: u64,
    pub threads: usize,
    /// no run begins after so long
    pub time_max: Option<Duration>,
    /// no run begins after so many failures
    pub failures_max: usize,
}

/// What came of them.
#[derive(Default)]
pub struct Report {
    pub runs: u64,
    pub coverage: Coverage,
    pub failures: Vec<(Plan, Failure)>,
    /// how much time passed in the runs, ms
    pub simulated_ms: u64,
    /// how much time the processors spent on them
    pub busy: Duration,
}

/// Does the runs; shows each failure when it comes.
pub fn run_all(order: &Order, shown: &(dyn Fn(&Plan, &Failure) + Sync)) -> Report {
    let (next, failed) = (AtomicU64::new(0), AtomicUsize::new(0));
    let report = Mutex::new(Report::default());
    let began = Instant::now();
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let is_late = order.time_max.is_some_and(|max| began.elapsed() >= max);
            if number >= order.runs || is_late || failed.load(Ordering::Relaxed) >= order.failures_max {
                return;
            }
            let plan = Plan::new(order.first_seed + number);
            let started = thread_time();
            let outcome = run_checked(&plan);
            let mut report = report.lock().expect("no run ends a thread");
            if let Err(failure) = &outcome.result {
                failed.fetch_add(1, Ordering::Relaxed);
                shown(&plan, failure);
                report.failures.push((plan, failure.clone()));
            }
            report.add(&outcome, thread_time() - started);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..order.threads {
            scope.spawn(work);
        }
    });
    report.into_inner().expect("no run ends a thread")
}

/// What this thread has had of a processor.
fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

/// One run, or the same run twice.
fn run_checked(plan: &Plan) -> Outcome {
    if !plan.seed.is_multiple_of(TWICE_EVERY) {
        return plan.run(Trace::short());
    }
    let (mut outcome, again) = (plan.run(Trace::hashed()), plan.run(Trace::hashed()));
    if outcome.result.is_ok() && outcome.trace.hash() != again.trace.hash() {
        let what = "the same seed went another way the second time".to_string();
        outcome.result = Err(Failure { checker: "determinism".to_string(), what });
    }
    outcome
}

impl Report {
    fn add(&mut self, outcome: &Outcome, took: Duration) {
        self.runs += 1;
        self.coverage.add(&outcome.coverage);
        self.simulated_ms += outcome.simulated_ms;
        self.busy += took;
    }

    /// How much faster than the clock the runs were, on one thread.
    pub fn speed(&self) -> f64 {
        self.simulated_ms as f64 / 1000.0 / self.busy.as_secs_f64()
    }
}
