//! The `zabra` command: a coordination server for ZooKeeper clients, its shell and its tools.

#[cfg(feature = "mutants")]
compile_error!("the feature `mutants` puts bugs into the code: no server is built with it");

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use zabra::cli::bench::{self, BenchArgs};
use zabra::cli::ensemble::{self, EnsembleArgs};
use zabra::cli::hand_over::HandOverArgs;
use zabra::cli::log::LogArgs;
use zabra::cli::salvage::SalvageArgs;
use zabra::cli::server::ServerArgs;
use zabra::cli::shell::{self, ShellArgs};
use zabra::cli::snapshot::SnapshotArgs;

/// A replicated coordination server for ZooKeeper clients, its shell and its tools
#[derive(Parser)]
#[command(
    version,
    after_help = "Try it:
  zabra ensemble                      three servers on this machine
  zabra shell -s 127.0.0.1:2181 ls /  what they hold
  zabra server zoo.cfg                one server of an ensemble on many machines

zabra help SUBCOMMAND explains each of them, with examples."
)]
struct Zabra {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Server(ServerArgs),
    Ensemble(EnsembleArgs),
    HandOver(HandOverArgs),
    Shell(ShellArgs),
    Log(LogArgs),
    Snapshot(SnapshotArgs),
    Salvage(SalvageArgs),
    Bench(BenchArgs),
}

fn main() -> ExitCode {
    let result = match Zabra::parse_from(shell::as_here(std::env::args_os())).command {
        Command::Server(args) => args.run(),
        Command::HandOver(args) => args.run(),
        Command::Log(args) => args.run(),
        Command::Snapshot(args) => args.run(),
        Command::Salvage(args) => args.run(),
        Command::Shell(args) => in_runtime(shell::run(args)),
        Command::Ensemble(args) => in_runtime(ensemble::run(args)).map(|()| ExitCode::SUCCESS),
        Command::Bench(args) => in_runtime(bench::run(args)).map(|()| ExitCode::SUCCESS),
    };
    result.unwrap_or_else(|error| {
        eprintln!("zabra: {error:#}");
        ExitCode::FAILURE
    })
}

fn in_runtime<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}
