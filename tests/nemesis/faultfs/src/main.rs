//! `zabra-faultfs`: a file system in memory that knows what is durable. It forgets the rest when told that the power
//! failed, and fails when told to. It ends, and unmounts itself, with SIGTERM, SIGINT or `umount`.

mod content;
mod control;
mod faults;
mod mounted;
mod names;
mod survivors;
mod volume;

use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use clap::Parser;
use fuser::{Config, MountOption, SessionACL};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::mounted::Mounted;
use crate::volume::Volume;

/// A file system in memory that forgets what was not synced, and fails when told to.
///
/// Commands are lines over the control socket, each answered with a line.
#[derive(Parser, Debug)]
#[command(after_help = control::HELP)]
struct Args {
    /// An empty folder
    mountpoint: PathBuf,
    /// Where to make the socket for commands
    control: PathBuf,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let volume = Arc::new(Mutex::new(Volume::default()));
    let listener = UnixListener::bind(&args.control)
        .with_context(|| format!("cannot make the socket {}", args.control.display()))?;
    let mut config = Config::default();
    config.mount_options = vec![MountOption::FSName("zabra-faultfs".to_owned()), MountOption::NoAtime];
    config.acl = SessionACL::All;
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let session = fuser::spawn_mount(Mounted { volume: Arc::clone(&volume) }, &args.mountpoint, &config)
        .with_context(|| format!("cannot mount on {}", args.mountpoint.display()))?;
    std::thread::spawn(move || control::serve(&listener, &volume));
    println!("mounted");
    signals.forever().next();
    session.umount_and_join().context("cannot unmount")
}
