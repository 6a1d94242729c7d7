//! The command that runs the simulator.

use std::process::ExitCode;

fn main() -> anyhow::Result<ExitCode> {
    zabra_sim::command::main()
}
