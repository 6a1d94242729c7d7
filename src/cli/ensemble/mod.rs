//! `zabra ensemble`: several real server processes on this machine, for trying out, for demos and for tests.
//!
//! `layout` decides on folders and ports and writes the configuration; `process` keeps one server running; `probe` asks
//! it for its role; `story` turns what they report into lines. This file puts them together.

mod layout;
mod probe;
mod process;
mod story;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use layout::{Layout, ServerPlan};
use process::{Orders, Report};
use story::{Printer, Story};

use super::stdin_end::stdin_end;

const LINES_HELP: &str = "\
Examples:
  zabra ensemble                              three servers, clients at ports 2181 to 2183
  zabra ensemble --servers 5 --client-port 3181
  zabra ensemble --dir /tmp/e --client-port 0                           on free ports
  zabra ensemble --set tickTime=500 --set snapCount=1000

What it prints, one line for every change (programs may read them):
  server 1: started, pid 4711, clients 127.0.0.1:2181, log DIR/server-1/server.log
  server 1: restarted, pid 4712, clients 127.0.0.1:2181, log DIR/server-1/server.log
  server 3: leader                            or follower, standalone
  server 3: not serving
  server 3: ended, signal 9                   or exit code 1
  serving: 127.0.0.1:2181,127.0.0.1:2182,127.0.0.1:2183
  stopping
  stopped
`serving`, with the connect string for clients, comes once.

With --json each line is an object. \"event\" is started, restarted, leader, follower,
standalone, not_serving, ended, serving, stopping or stopped; \"ms\" are the milliseconds
since the start; server, pid, clients, log, exit_code, signal and connect hold the rest.

To see a failover, kill -9 the pid of the leader: another server takes over, and the killed
one is restarted and follows. Ctrl-C or SIGTERM ends all servers; they end as well when this
process is killed.";

/// Runs an ensemble of real server processes on this machine.
///
/// The data stays in the folder: started again, the ensemble goes on with it.
#[derive(Args, Clone, Debug)]
#[command(after_long_help = LINES_HELP)]
pub struct EnsembleArgs {
    /// How many servers; more than half of them must live for the ensemble to serve.
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=15))]
    pub servers: u8,

    /// Where the servers keep configuration, data and logs: DIR/server-1, DIR/server-2 ...
    #[arg(long, default_value = "zabra-ensemble", value_name = "DIR")]
    pub dir: PathBuf,

    /// Clients' port of the first server, the others take the following ones; 0 chooses free ports.
    ///
    /// Without this option it is 2181, or free ports if those from 2181 on are taken.
    #[arg(long, value_name = "PORT")]
    pub client_port: Option<u16>,

    /// First of two ports per server for the servers among themselves. Free ones are chosen by default.
    #[arg(long, value_name = "PORT")]
    pub base_port: Option<u16>,

    /// The address all servers listen on.
    #[arg(long, default_value = "127.0.0.1", value_name = "ADDRESS")]
    pub host: std::net::IpAddr,

    /// A line for the configuration of every server, such as tickTime=500. Can be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,

    /// Leave a server that ended alone, rather than restart it.
    #[arg(long)]
    pub no_restart: bool,

    /// Milliseconds before a server that ended is restarted.
    #[arg(long, default_value_t = 1000, value_name = "MS")]
    pub restart_delay_ms: u64,

    /// Print each line as a JSON object.
    #[arg(long)]
    pub json: bool,

    /// The zabra whose servers are started: this one by default.
    #[arg(long, value_name = "PATH")]
    pub program: Option<PathBuf>,

    /// End when stdin ends, and so with the process that holds its other end.
    #[arg(long, hide = true)]
    pub exit_with_stdin: bool,
}

/// Reports that may wait to be printed; they come one at a time, so this is never reached.
const REPORTS_MAX: usize = 256;

/// Once a quorum serves, how long the connect string waits for the others.
const SERVING_GRACE: Duration = Duration::from_secs(2);

/// Starts the servers and runs until a signal or until all servers have ended for good.
pub async fn run(args: EnsembleArgs) -> anyhow::Result<()> {
    let mut stops = Stops::new(args.exit_with_stdin)?;
    let layout = Layout::prepare(&args)?;
    let program = match &args.program {
        Some(path) => path.clone(),
        None => std::env::current_exe().context("the path of this program is not known")?,
    };
    let mut printer = Printer::new(args.json);
    let (report, mut reports) = mpsc::channel(REPORTS_MAX);
    let (order, orders) = watch::channel(Orders::Run);
    let mut tasks = JoinSet::new();
    let restart_delay = (!args.no_restart).then(|| Duration::from_millis(args.restart_delay_ms));
    for plan in &layout.servers {
        let command = process::server_command(&program, plan);
        tasks.spawn(process::keep(plan.id, command, restart_delay, report.clone(), orders.clone()));
        tasks.spawn(probe::watch_mode(plan.id, plan.client, report.clone(), orders.clone()));
    }
    drop(report);
    let mut story = Story::new(&layout.servers);
    let mut grace = None;
    loop {
        let since_quorum = async {
            match grace {
                Some(end) => tokio::time::sleep_until(end).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            received = reports.recv() => match received {
                Some(report) => printer.print_all(story.tell(report)?),
                None => break,
            },
            () = since_quorum => {
                printer.print_all(story.stop_waiting_for_all());
                grace = None;
            }
            next = stops.next() => {
                printer.print_all(story.stop());
                order.send_replace(next);
            }
        }
        if story.waits_for_stragglers() && grace.is_none() {
            grace = Some(tokio::time::Instant::now() + SERVING_GRACE);
        }
        if story.all_gone() {
            order.send_replace(Orders::Stop);
        }
    }
    while tasks.join_next().await.is_some() {}
    let wanted = story.is_stopping();
    printer.print_all(story.stopped());
    anyhow::ensure!(wanted, "all servers have ended; their logs are in {}", layout.dir.display());
    Ok(())
}

/// What ends the ensemble: the first time politely, the second time at once.
struct Stops {
    interrupt: Signal,
    terminate: Signal,
    stdin: Option<oneshot::Receiver<()>>,
    count: u32,
}

impl Stops {
    fn new(with_stdin: bool) -> anyhow::Result<Stops> {
        Ok(Stops {
            interrupt: signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?,
            terminate: signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?,
            stdin: with_stdin.then(stdin_end),
            count: 0,
        })
    }

    async fn next(&mut self) -> Orders {
        let stdin_end = async {
            match &mut self.stdin {
                Some(stdin) => {
                    let _ = stdin.await;
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            () = stdin_end => self.stdin = None,
        }
        self.count += 1;
        if self.count == 1 { Orders::Stop } else { Orders::Kill }
    }
}
