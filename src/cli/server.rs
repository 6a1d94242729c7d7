//! `zabra server`: one server.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use tracing_subscriber::EnvFilter;

use crate::config::{self, Loaded, Settings, Severity};
use crate::server::{self, RunOptions, StartFault};

/// The configuration cannot be used.
const EXIT_CONFIG: u8 = 2;

/// The data is damaged, and nothing but the operator can help.
const EXIT_DAMAGED: u8 = 4;

/// Run one server
///
/// FILE is a zoo.cfg as ZooKeeper reads it, or the same keys in TOML if its name ends in .toml. Without a file: one
/// server for this machine alone, at 127.0.0.1:2181, with its data in ./zabra-data.
///
/// The log goes to stderr; ZABRA_LOG sets what it tells (error, warn, info, debug).
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  zabra server
  zabra server /etc/zookeeper/conf/zoo.cfg
  zabra server ensemble.toml --myid 2
  zabra server zoo.cfg --check

SIGTERM and SIGINT stop it; with SIGTERM a leader hands over first. SIGUSR1, or `zabra hand-over DATA`, lets it hand over and stay.

Exit codes: 0 ended as told, 1 could not start, 2 the configuration cannot be used,
3 the disk failed or going on could have harmed the data, 4 the data is damaged, and only the operator can help.")]
pub struct ServerArgs {
    /// The configuration
    file: Option<PathBuf>,
    /// The id of this server, instead of the file myid in dataDir
    #[arg(long, value_name = "ID")]
    myid: Option<u8>,
    /// Take an unknown key for an error, not for a warning
    #[arg(long)]
    strict: bool,
    /// Only read the configuration and tell what is wrong with it
    #[arg(long)]
    check: bool,
    /// End when the standard input ends
    #[arg(long, hide = true)]
    exit_with_stdin: bool,
}

/// Colours are for people: a log that goes to a file or to another program has none, nor does one of a person who wants
/// none (<https://no-color.org>).
fn wants_colours() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

impl ServerArgs {
    /// Runs the server until it is told to end.
    pub fn run(&self) -> anyhow::Result<ExitCode> {
        let filter = EnvFilter::try_from_env("ZABRA_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .with_ansi(wants_colours())
            .with_target(false)
            .init();
        let Some(settings) = self.settings() else { return Ok(ExitCode::from(EXIT_CONFIG)) };
        if self.check {
            println!("The configuration can be used.");
            return Ok(ExitCode::SUCCESS);
        }
        match server::run(settings, RunOptions { exit_with_stdin: self.exit_with_stdin }) {
            Ok(()) => Ok(ExitCode::SUCCESS),
            Err(error) if error.downcast_ref().is_some_and(StartFault::is_damage) => {
                tracing::error!("DAMAGED: {error}");
                Ok(ExitCode::from(EXIT_DAMAGED))
            }
            Err(error) => Err(error),
        }
    }

    /// The settings; `None` after an error was told.
    fn settings(&self) -> Option<Settings> {
        let Some(file) = &self.file else {
            tracing::info!("no configuration file: standalone at 127.0.0.1:2181, data in ./zabra-data");
            return Some(Settings::standalone_default());
        };
        match config::load(file, self.myid, self.strict) {
            Ok(Loaded { settings, notices }) => {
                for notice in notices {
                    match notice.severity {
                        Severity::Warning => tracing::warn!("{notice}"),
                        Severity::Info => tracing::info!("{notice}"),
                    }
                }
                Some(settings)
            }
            Err(error) => {
                eprintln!("{error}");
                None
            }
        }
    }
}
