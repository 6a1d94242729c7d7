//! One server process: started, restarted, ended.

use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::sync::{mpsc, watch};

use super::ServerPlan;
use super::story::Mode;

/// What all tasks of the ensemble are to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Orders {
    Run,
    /// End the servers: SIGTERM, and SIGKILL after a while.
    Stop,
    /// SIGKILL at once.
    Kill,
}

/// What happened to a server.
#[derive(Debug)]
pub(super) enum Report {
    Started {
        server: u8,
        pid: u32,
    },
    CannotStart {
        server: u8,
        error: String,
    },
    Mode {
        server: u8,
        mode: Option<Mode>,
    },
    Ended {
        server: u8,
        status: ExitStatus,
    },
    /// It will not be started again.
    Gone {
        server: u8,
    },
}

/// How long a server may take to end after SIGTERM.
const STOP_WAIT_MAX: Duration = Duration::from_secs(10);

/// `zabra server` with the configuration of `plan`. Its stdin is a pipe that nobody writes to: when this process ends,
/// however it ends, the pipe closes, and `--exit-with-stdin` makes the server end too. It has a process group of its
/// own, so that Ctrl-C in a terminal reaches it through us and in order.
pub(super) fn server_command(program: &Path, plan: &ServerPlan) -> ServerCommand {
    let mut command = Command::new(program);
    command.arg("server").arg("--exit-with-stdin").arg(&plan.config);
    command.stdin(Stdio::piped()).process_group(0).kill_on_drop(true);
    ServerCommand { command, log: plan.log.clone() }
}

/// A command, and the file that takes what it prints.
pub(super) struct ServerCommand {
    command: Command,
    log: std::path::PathBuf,
}

impl ServerCommand {
    fn program(&self) -> &Path {
        Path::new(self.command.as_std().get_program())
    }

    fn spawn(&mut self) -> std::io::Result<Child> {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(&self.log)?;
        self.command.stdout(log.try_clone()?).stderr(log);
        self.command.spawn()
    }
}

/// Keeps a server running until the orders change, or until it ends and there is no `restart_delay`.
pub(super) async fn keep(
    server: u8,
    mut command: ServerCommand,
    restart_delay: Option<Duration>,
    report: mpsc::Sender<Report>,
    mut orders: watch::Receiver<Orders>,
) {
    while *orders.borrow_and_update() == Orders::Run {
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => {
                let error = format!("{}: {error}", command.program().display());
                let _ = report.send(Report::CannotStart { server, error }).await;
                return;
            }
        };
        // `wait` would close the pipe, which ends the server: it is to stay open as long as this process lives.
        let _stdin = child.stdin.take();
        if let Some(pid) = child.id() {
            let _ = report.send(Report::Started { server, pid }).await;
        }
        let status = ended(&mut child, &mut orders).await;
        let _ = report.send(Report::Ended { server, status }).await;
        let Some(delay) = restart_delay else { break };
        let _ = tokio::time::timeout(delay, stop_ordered(&mut orders)).await;
    }
    let _ = report.send(Report::Gone { server }).await;
}

/// Returns once the orders are no longer to run.
async fn stop_ordered(orders: &mut watch::Receiver<Orders>) {
    // An error means that the sender is gone, and with it the reason to run.
    let _ = orders.wait_for(|order| *order != Orders::Run).await;
}

/// Waits for the end of the process; brings it about when ordered to.
async fn ended(child: &mut Child, orders: &mut watch::Receiver<Orders>) -> ExitStatus {
    tokio::select! {
        status = child.wait() => return status.expect("a child can be waited for"),
        () = stop_ordered(orders) => {}
    }
    terminate(child);
    tokio::select! {
        status = child.wait() => return status.expect("a child can be waited for"),
        () = tokio::time::sleep(STOP_WAIT_MAX) => {}
        _ = orders.wait_for(|order| *order == Orders::Kill) => {}
    }
    let _ = child.start_kill();
    child.wait().await.expect("a child can be waited for")
}

/// SIGTERM, if the process has not ended and been waited for already.
fn terminate(child: &Child) {
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
}
