//! `zabra bench`: puts a load on any server that speaks the protocol, and measures.

mod lane;
mod mix;
mod process;
mod recorder;
mod report;
mod work;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::task::{JoinSet, LocalSet};
use tokio_rustls::TlsConnector;

use self::lane::{Lane, LaneSettings, Pace};
use self::mix::Mix;
use self::process::{Cost, cost};
use self::recorder::{Recorder, Summary};
use self::report::{LoadReport, ProcessReport, Report};
use self::work::{Layout, Leftovers, Load, Source, Stripe};
use super::tls::TlsArgs;
use crate::client::{Client, Error, Options};
use crate::jute::{CreateMode, ErrorCode};

/// Requests in flight on each connection while keys are made or removed.
const PREPARE_IN_FLIGHT: usize = 64;
/// How often the progress line changes.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);

/// Put a load on any server that speaks the ZooKeeper protocol, and measure throughput, latency and cost.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  zabra bench                                          read from a server on this machine
  zabra bench -s a:2181,b:2181,c:2181 -c 64 -m get=9,set=1
                                                       nine reads to a write, over three servers
  zabra bench -c 1 -m set --pid $(pgrep -d' --pid ' zabra)
                                                       latency of one writer, and what the servers pay for it
  zabra bench --rate 5000 --json > run.json            5000 requests/s whatever the server can do
  zabra bench --keys 1000000 --value-bytes 100 --duration 0 --keep
                                                       fill a server with a million znodes")]
pub struct BenchArgs {
    /// Servers as host:port; connections are spread over them
    #[arg(short, long, value_delimiter = ',', default_value = "127.0.0.1:2181")]
    pub servers: Vec<String>,
    /// How many connections, each with a session of its own
    #[arg(short, long, default_value_t = 16, value_parser = at_least_one)]
    pub connections: usize,
    /// Requests on their way on each connection
    #[arg(short = 'f', long, default_value_t = 1, value_parser = at_least_one)]
    pub in_flight: usize,
    /// Kinds of request and their weights: get, set, create, delete, exists, children, ephemeral
    #[arg(short, long, default_value = "get")]
    pub mix: Mix,
    /// Content of each znode
    #[arg(long, default_value_t = 1024)]
    pub value_bytes: usize,
    /// How many znodes get, set and exists choose from
    #[arg(long, default_value_t = 1000, value_parser = at_least_one)]
    pub keys: usize,
    /// How long to measure: 10s, 500ms, 2m; 0 makes the keys and stops
    #[arg(short, long, default_value = "10s", value_parser = duration)]
    pub duration: Duration,
    /// How long the load runs before that
    #[arg(long, default_value = "2s", value_parser = duration)]
    pub warmup: Duration,
    /// Requests per second in all, sent on time even if the server is slow [default: as fast as answers come]
    #[arg(long)]
    pub rate: Option<f64>,
    /// Processes whose CPU time and memory are reported
    #[arg(long = "pid")]
    pub pids: Vec<u32>,
    /// Session timeout to ask for
    #[arg(long, default_value = "10s", value_parser = duration)]
    pub session_timeout: Duration,
    /// The znode below which everything happens; made if missing
    #[arg(long, default_value = "/zabra-bench")]
    pub root: String,
    /// Leave the znodes behind
    #[arg(long)]
    pub keep: bool,
    /// Seed of the choice of keys and kinds [default: another one each time]
    #[arg(long)]
    pub seed: Option<u64>,
    /// For servers that speak TLS
    #[command(flatten)]
    pub tls: TlsArgs,
    /// Print the results as JSON
    #[arg(long)]
    pub json: bool,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("at least 1 is needed".to_owned()),
        Ok(number) => Ok(number),
        Err(_) => Err("not a whole number".to_owned()),
    }
}

/// `10s`, `500ms`, `2m`, or a number of seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let seconds_each = match &text[digits.len()..] {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        unit => return Err(format!("{unit:?} is not a unit; there are ms, s and m")),
    };
    let number: f64 = digits.parse().map_err(|_| format!("{digits:?} is not a number"))?;
    Duration::try_from_secs_f64(number * seconds_each).map_err(|error| error.to_string())
}

/// Runs the load and prints the results.
pub async fn run(args: BenchArgs) -> Result<()> {
    if args.rate.is_some_and(|rate| rate.is_nan() || rate <= 0.0) {
        bail!("--rate must be above 0");
    }
    if !args.root.starts_with('/') || args.root.len() < 2 || args.root.ends_with('/') {
        bail!("--root must be a path below /, such as /zabra-bench");
    }
    LocalSet::new().run_until(Bench::new(args)?.run()).await
}

/// One run of the load tool.
struct Bench {
    args: BenchArgs,
    layout: Rc<Layout>,
    tls: Option<TlsConnector>,
    rng: StdRng,
    progress: ProgressBar,
}

impl Bench {
    fn new(args: BenchArgs) -> Result<Bench> {
        let mut rng = match args.seed {
            Some(seed) => StdRng::seed_from_u64(seed),
            None => {
                StdRng::try_from_rng(&mut rand::rngs::SysRng).context("the system has no random numbers")?
            }
        };
        let value = (0..args.value_bytes).map(|_| rng.random()).collect();
        let layout = Rc::new(Layout { root: args.root.clone(), keys: args.keys, value });
        let tls = args.tls.files().map(|files| files.connector()).transpose()?;
        let progress = ProgressBar::new_spinner();
        progress.set_style(ProgressStyle::with_template("{spinner} {elapsed:>4} {msg}")?);
        Ok(Bench { args, layout, tls, rng, progress })
    }

    async fn run(mut self) -> Result<()> {
        let options = Options {
            session_timeout: self.args.session_timeout,
            tls: self.args.tls.files(),
            ..Options::default()
        };
        let client = Client::connect(&self.args.servers.join(","), options).await?;
        for path in self.layout.parents() {
            match client.create(&path, b"", CreateMode::Persistent).await {
                Err(error) if !error.is(ErrorCode::NodeExists) => {
                    return Err(error).with_context(|| format!("cannot make {path}"));
                }
                _ => {}
            }
        }
        let seconds = self.prepare(false).await?;
        let mut leftovers = Vec::new();
        if self.args.duration.is_zero() {
            println!("{} keys of {} bytes made in {seconds:.1} s", self.args.keys, self.args.value_bytes);
        } else {
            let report;
            (report, leftovers) = self.measure().await?;
            self.progress.finish_and_clear();
            if self.args.json {
                println!("{}", serde_json::to_string_pretty(&report)?);
            } else {
                print!("{report}");
            }
        }
        if !self.args.keep
            && let Err(error) = self.clean_up(&client, leftovers).await
        {
            eprintln!("not all znodes of the run could be removed: {error:#}");
        }
        client.close().await?;
        Ok(())
    }

    /// Removes the znodes of the run.
    async fn clean_up(&self, client: &Client, leftovers: Vec<Leftovers>) -> Result<()> {
        self.work_off(leftovers, "cleaning up").await?;
        self.prepare(true).await?;
        for path in self.layout.parents().iter().rev() {
            match client.delete(path, None).await {
                // What others have made below stays, and so do its parents.
                Ok(()) | Err(Error::Server(ErrorCode::NotEmpty | ErrorCode::NoNode)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn lanes(&self, in_flight: usize) -> Vec<Lane> {
        let settings = Rc::new(LaneSettings {
            servers: self.args.servers.clone(),
            in_flight,
            session_timeout: self.args.session_timeout,
            tls: self.tls.clone(),
        });
        (0..self.args.connections).map(|index| Lane::new(settings.clone(), index)).collect()
    }

    /// Makes all keys, or removes them; tells how many seconds it took.
    async fn prepare(&self, remove: bool) -> Result<f64> {
        let began = Instant::now();
        let connections = self.args.connections;
        let stripe = |index| Stripe::new(self.layout.clone(), index, connections, remove);
        let stripes = (0..connections).map(stripe).collect();
        self.work_off(stripes, if remove { "cleaning up" } else { "making keys" }).await?;
        Ok(began.elapsed().as_secs_f64())
    }

    /// Sends all that `sources` have, each on a connection of its own; all must succeed.
    async fn work_off<S: Source + 'static>(&self, sources: Vec<S>, what: &'static str) -> Result<()> {
        let recorder = Rc::new(RefCell::new(Recorder::for_preparation()));
        let watcher = self.watch(recorder.clone(), what);
        let done = drive(self.lanes(PREPARE_IN_FLIGHT), sources, Vec::new(), recorder.clone()).await?;
        watcher.abort();
        self.progress.set_message("");
        close_all(done.into_iter().map(|(lane, _)| lane).collect()).await;
        match &recorder.borrow().first_failure {
            Some(failure) => bail!("{what} below {}: {failure}", self.args.root),
            None => Ok(()),
        }
    }

    /// Runs the load itself.
    async fn measure(&mut self) -> Result<(Report, Vec<Leftovers>)> {
        let lanes = self.lanes(self.args.in_flight);
        let loads = (0..lanes.len())
            .map(|index| {
                let rng = StdRng::seed_from_u64(self.rng.random());
                Load::new(self.layout.clone(), self.args.mix.clone(), index, rng)
            })
            .collect();
        let from = Instant::now() + self.args.warmup;
        let recorder = Rc::new(RefCell::new(Recorder::new(from, from + self.args.duration)));
        let watcher = self.watch(recorder.clone(), "measuring");
        let costs = tokio::task::spawn_local(self.costs(from, from + self.args.duration));
        let done = drive(lanes, loads, self.paces(), recorder.clone()).await?;
        let (processes, bench_cpu) = costs.await?;
        // A task that is aborted lets go of the recorder only when it has been waited for.
        watcher.abort();
        let _ = watcher.await;
        let (lanes, loads): (Vec<Lane>, Vec<Load>) = done.into_iter().unzip();
        close_all(lanes).await;
        let recorder = Rc::into_inner(recorder).context("the recorder is still in use")?.into_inner();
        let summary: Summary = recorder.summary();
        if summary.total.is_empty() && summary.errors.is_empty() {
            bail!("no server answered during the measurement");
        }
        let report = Report::new(self.load_report(), summary, processes, bench_cpu);
        Ok((report, loads.into_iter().map(Load::leftovers).collect()))
    }

    /// Spreads a fixed rate evenly over the connections, one after the other.
    fn paces(&self) -> Vec<Option<Pace>> {
        let Some(rate) = self.args.rate else { return Vec::new() };
        let interval = Duration::from_secs_f64(self.args.connections as f64 / rate);
        let now = Instant::now();
        let step = interval / self.args.connections as u32;
        (0..self.args.connections).map(|i| Some(Pace { next: now + step * i as u32, interval })).collect()
    }

    /// What the processes and the load tool itself spend between two moments.
    fn costs(
        &self,
        from: Instant,
        until: Instant,
    ) -> impl Future<Output = (Vec<ProcessReport>, Duration)> + 'static {
        let pids = self.args.pids.clone();
        let sample = |pids: &[u32]| pids.iter().map(|&pid| cost(pid).ok()).collect::<Vec<Option<Cost>>>();
        let own_cpu = || cost(std::process::id()).map_or(Duration::ZERO, |cost| cost.cpu);
        async move {
            tokio::time::sleep_until(from.into()).await;
            let (before, own_before) = (sample(&pids), own_cpu());
            tokio::time::sleep_until(until.into()).await;
            let (after, own_after) = (sample(&pids), own_cpu());
            let spans = pids.iter().zip(before.into_iter().zip(after));
            let processes =
                spans.map(|(&pid, (before, after))| ProcessReport::between(pid, before, after)).collect();
            (processes, own_after.saturating_sub(own_before))
        }
    }

    /// Keeps the progress line up to date.
    fn watch(&self, recorder: Rc<RefCell<Recorder>>, what: &'static str) -> tokio::task::JoinHandle<()> {
        let progress = self.progress.clone();
        tokio::task::spawn_local(async move {
            let mut before = 0;
            loop {
                tokio::time::sleep(PROGRESS_INTERVAL).await;
                let (answered, from) = (recorder.borrow().answered, recorder.borrow().from);
                let rate = (answered - before) as f64 / PROGRESS_INTERVAL.as_secs_f64();
                before = answered;
                let warming = what == "measuring" && Instant::now() < from;
                let what = if warming { "warming up" } else { what };
                progress.set_message(format!("{what}: {answered} requests, {rate:.0}/s"));
                progress.tick();
            }
        })
    }

    fn load_report(&self) -> LoadReport {
        LoadReport {
            servers: self.args.servers.clone(),
            connections: self.args.connections,
            in_flight: self.args.in_flight,
            mix: self.args.mix.text.clone(),
            value_bytes: self.args.value_bytes,
            keys: self.args.keys,
            rate: self.args.rate,
        }
    }
}

/// Lets every connection send what its source has; gives both back.
async fn drive<S: Source + 'static>(
    lanes: Vec<Lane>,
    sources: Vec<S>,
    mut paces: Vec<Option<Pace>>,
    recorder: Rc<RefCell<Recorder>>,
) -> Result<Vec<(Lane, S)>> {
    paces.resize(lanes.len(), None);
    let mut tasks = JoinSet::new();
    for ((mut lane, mut source), pace) in lanes.into_iter().zip(sources).zip(paces) {
        let recorder = recorder.clone();
        tasks.spawn_local(async move {
            lane.run(&mut source, pace, &recorder).await;
            (lane, source)
        });
    }
    let mut done = Vec::new();
    while let Some(task) = tasks.join_next().await {
        done.push(task.context("a connection of the load failed")?);
    }
    Ok(done)
}

/// Ends all sessions at the same time.
async fn close_all(lanes: Vec<Lane>) {
    let mut tasks = JoinSet::new();
    for lane in lanes {
        tasks.spawn_local(lane.close());
    }
    tasks.join_all().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("1.5"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert!(duration("3 weeks").is_err());
        assert!(duration("-1s").is_err());
    }
}
