//! The results, for people and for programs.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::process::Cost;
use super::recorder::Summary;

/// Everything a run has shown.
#[derive(Debug, Serialize)]
pub struct Report {
    /// the load, as it was asked for
    pub load: LoadReport,
    /// how long was measured
    pub seconds: f64,
    /// requests that succeeded in this time
    pub operations: u64,
    /// the same per second
    pub operations_per_second: f64,
    /// of all requests together
    pub latency: Latency,
    /// of each kind
    pub kinds: BTreeMap<&'static str, Latency>,
    /// answers in the emptiest window of 100 ms
    pub emptiest_100_ms: u32,
    /// the longest time without the acknowledgement of a write
    pub longest_write_gap_ms: Option<f64>,
    /// failures by name
    pub errors: BTreeMap<String, u64>,
    /// what was asked for with `--pid`
    pub processes: Vec<ProcessReport>,
    /// requests per CPU second of those processes together
    pub operations_per_cpu_second: Option<f64>,
    /// CPU time of the load tool itself
    pub bench_cpu_seconds: f64,
}

/// The load.
#[derive(Clone, Debug, Serialize)]
pub struct LoadReport {
    /// where it went
    pub servers: Vec<String>,
    /// how many
    pub connections: usize,
    /// on each
    pub in_flight: usize,
    /// kinds and weights
    pub mix: String,
    /// of each znode
    pub value_bytes: usize,
    /// znodes
    pub keys: usize,
    /// requests per second, if it was fixed
    pub rate: Option<f64>,
}

/// Percentiles in microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Latency {
    /// how many requests
    pub operations: u64,
    /// of all of them
    pub mean_us: f64,
    /// median
    pub p50_us: f64,
    /// one in ten took longer
    pub p90_us: f64,
    /// one in a hundred
    pub p99_us: f64,
    /// one in a thousand
    pub p999_us: f64,
    /// the slowest
    pub max_us: f64,
}

/// What one process cost during the measurement.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ProcessReport {
    /// its id
    pub pid: u32,
    /// absent if it ended meanwhile
    pub cpu_seconds: Option<f64>,
    /// at the end
    pub rss_bytes: Option<u64>,
    /// since it started
    pub rss_bytes_peak: Option<u64>,
}

impl Latency {
    /// Of a histogram in nanoseconds.
    fn of(histogram: &Histogram<u64>) -> Latency {
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1000.0;
        Latency {
            operations: histogram.len(),
            mean_us: histogram.mean() / 1000.0,
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: histogram.max() as f64 / 1000.0,
        }
    }
}

impl ProcessReport {
    /// The difference between two moments; `None` for a process that was not there.
    pub fn between(pid: u32, from: Option<Cost>, until: Option<Cost>) -> ProcessReport {
        let spent = from.zip(until).map(|(from, until)| until.cpu.saturating_sub(from.cpu));
        ProcessReport {
            pid,
            cpu_seconds: spent.map(|spent| spent.as_secs_f64()),
            rss_bytes: until.map(|until| until.rss_bytes),
            rss_bytes_peak: until.map(|until| until.rss_bytes_peak),
        }
    }
}

impl Report {
    /// Puts together what was measured.
    pub fn new(
        load: LoadReport,
        summary: Summary,
        processes: Vec<ProcessReport>,
        bench_cpu: Duration,
    ) -> Report {
        let operations = summary.total.len();
        let seconds = summary.measured.as_secs_f64();
        let cpu: Option<f64> = processes.iter().map(|process| process.cpu_seconds).sum();
        Report {
            load,
            seconds,
            operations,
            operations_per_second: operations as f64 / seconds,
            latency: Latency::of(&summary.total),
            kinds: summary.kinds.iter().map(|(kind, part)| (kind.name(), Latency::of(part))).collect(),
            emptiest_100_ms: summary.emptiest_window,
            longest_write_gap_ms: summary.longest_write_gap.map(|gap| gap.as_secs_f64() * 1000.0),
            errors: summary.errors,
            operations_per_cpu_second: cpu.filter(|&cpu| cpu > 0.0).map(|cpu| operations as f64 / cpu),
            processes,
            bench_cpu_seconds: bench_cpu.as_secs_f64(),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LoadReport { servers, connections, in_flight, mix, value_bytes, keys, rate } = &self.load;
        writeln!(f, "servers        {}", servers.join(","))?;
        write!(f, "load           {connections} connections, {in_flight} in flight on each, {mix}, ")?;
        write!(f, "{keys} keys of {value_bytes} bytes")?;
        match rate {
            Some(rate) => writeln!(f, ", {rate} requests/s")?,
            None => writeln!(f)?,
        }
        writeln!(
            f,
            "throughput     {:.0} requests/s ({} in {:.1} s)",
            self.operations_per_second, self.operations, self.seconds
        )?;
        writeln!(f, "emptiest 100ms {} answers", self.emptiest_100_ms)?;
        if let Some(gap) = self.longest_write_gap_ms {
            writeln!(f, "longest gap    {gap:.1} ms without the acknowledgement of a write")?;
        }
        writeln!(f)?;
        writeln!(
            f,
            "{:<10} {:>10} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
            "latency us", "requests", "mean", "p50", "p90", "p99", "p99.9", "max"
        )?;
        for (name, latency) in &self.kinds {
            latency_line(f, name, latency)?;
        }
        if self.kinds.len() > 1 {
            latency_line(f, "all", &self.latency)?;
        }
        for (name, count) in &self.errors {
            writeln!(f, "error          {name}: {count}")?;
        }
        writeln!(f)?;
        self.costs(f)
    }
}

impl Report {
    fn costs(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ProcessReport { pid, cpu_seconds, rss_bytes, rss_bytes_peak } in &self.processes {
            match (cpu_seconds, rss_bytes, rss_bytes_peak) {
                (Some(cpu), Some(rss), Some(peak)) => {
                    let mib = |bytes: &u64| *bytes as f64 / f64::from(1 << 20);
                    let (rss, peak) = (mib(rss), mib(peak));
                    writeln!(
                        f,
                        "process {pid:<6} {cpu:.2} CPU s, {rss:.1} MiB resident, {peak:.1} MiB at most"
                    )?;
                }
                _ => writeln!(f, "process {pid:<6} ended during the measurement")?,
            }
        }
        if let Some(rate) = self.operations_per_cpu_second {
            writeln!(f, "per CPU second {rate:.0} requests")?;
        }
        writeln!(f, "load tool      {:.2} CPU s", self.bench_cpu_seconds)
    }
}

fn latency_line(f: &mut fmt::Formatter<'_>, name: &str, latency: &Latency) -> fmt::Result {
    let Latency { operations, mean_us, p50_us, p90_us, p99_us, p999_us, max_us } = latency;
    writeln!(
        f,
        "{name:<10} {operations:>10} {mean_us:>9.1} {p50_us:>9.1} {p90_us:>9.1} {p99_us:>9.1} {p999_us:>9.1} \
         {max_us:>9.1}"
    )
}
