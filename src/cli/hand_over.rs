//! `zabra hand-over`: a leader leaves the lead to another server.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail, ensure};
use clap::Args;
use rustix::process::{Pid, Signal, kill_process};

use crate::storage::user_of;

/// Let a leader leave the lead to another server
///
/// DATA is the dataDir of a server that runs on this machine. If it leads, the follower that has everything takes over
/// within milliseconds, and the server follows it: writes wait that long, and no client loses its connection. If it does
/// not lead, or no other server could, nothing happens; its log tells. Sends SIGUSR1, which does the same. A server that
/// is told to end (SIGTERM) hands over by itself.
#[derive(Args, Debug)]
#[command(after_help = "Example:
  zabra hand-over /var/lib/zabra")]
pub struct HandOverArgs {
    /// The dataDir of the server
    data: PathBuf,
}

impl HandOverArgs {
    /// Tells the server.
    pub fn run(&self) -> anyhow::Result<ExitCode> {
        let Some(user) = user_of(&self.data)? else {
            bail!("no server runs with {} as its dataDir", self.data.display());
        };
        let pid = user.parse().ok().and_then(Pid::from_raw);
        let pid = pid.with_context(|| format!("{} is in use by an unknown process", self.data.display()))?;
        // The number may come from another namespace, and the signal ends most programs.
        let (theirs, own) = (program(&format!("/proc/{user}/exe"))?, program("/proc/self/exe")?);
        ensure!(theirs == own, "process {user} is no zabra: run this where the server runs");
        kill_process(pid, Signal::USR1).with_context(|| format!("process {user} cannot be told"))?;
        println!("the server, process {user}, is told to leave the lead to another if it leads");
        Ok(ExitCode::SUCCESS)
    }
}

/// The name of a running program. An upgrade may have taken the file away.
fn program(link: &str) -> anyhow::Result<String> {
    let path = std::fs::read_link(link).with_context(|| link.to_owned())?;
    let name = Path::new(&path).file_name().unwrap_or_default().to_string_lossy();
    Ok(name.trim_end_matches(" (deleted)").to_owned())
}
