//! The command that runs the simulator.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use clap::{Parser, Subcommand};

use super::exhaustive::{Bounds, explore};
use super::failure::keep_panics;
#[cfg(feature = "mutants")]
use super::mutants;
use super::run::{Plan, STEPS};
use super::runner::{Order, run_all};
use super::shrink::shrink;
use super::trace::Trace;
#[cfg(feature = "mutants")]
use zabra::mutants::{KNOWN, Known};

/// Runs Zabra's servers under a simulated network, disk and clock
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Many runs, each from a seed of its own
    Run {
        /// The first seed
        #[arg(long, default_value_t = 0)]
        seed: u64,
        /// How many runs
        #[arg(long, default_value_t = 2_000)]
        runs: u64,
        /// How many threads; 0 for one on each core
        #[arg(long, default_value_t = 0)]
        threads: usize,
        /// No run begins after so many minutes
        #[arg(long)]
        minutes: Option<u64>,
        /// Stop after so many failures
        #[arg(long, default_value_t = 5)]
        failures: usize,
    },
    /// One run, told in every detail
    Replay {
        #[arg(long)]
        seed: u64,
        /// Faults to leave out, by number: 3,5-9
        #[arg(long, default_value = "")]
        without: String,
        /// How many steps until everything is repaired
        #[arg(long, default_value_t = STEPS)]
        steps: usize,
        /// How many lines are shown, from the end
        #[arg(long, default_value_t = 4_000)]
        lines: usize,
        /// With a known bug
        #[cfg(feature = "mutants")]
        #[arg(long)]
        mutant: Option<String>,
    },
    /// Puts known bugs into the servers, and tells who finds them
    #[cfg(feature = "mutants")]
    Mutants {
        /// Only these
        names: Vec<String>,
        /// How often each is looked for, with other seeds
        #[arg(long, default_value_t = 5)]
        searches: u64,
        /// After so many runs a search gives up
        #[arg(long, default_value_t = 10_000)]
        runs: u64,
        /// How many threads; 0 for one on each core
        #[arg(long, default_value_t = 0)]
        threads: usize,
        /// Write the table into this document, between its marks
        #[arg(long)]
        write: Option<std::path::PathBuf>,
    },
    /// All orders of events within bounds, instead of those that chance draws
    Exhaustive {
        /// How many transactions
        #[arg(long, default_value_t = 1)]
        writes: u32,
        /// How many times a server crashes, at any moment
        #[arg(long, default_value_t = 2)]
        crashes: u32,
        /// How many connections break, at any moment
        #[arg(long, default_value_t = 0)]
        breaks: u32,
        /// How many epochs
        #[arg(long, default_value_t = 3)]
        epochs: u32,
        /// A dead server may be started again at any moment, not only when nothing else can happen
        #[arg(long)]
        restarts_any_time: bool,
        /// Bytes of recent transactions that the leader has at hand; with few it sends snapshots
        #[arg(long, default_value_t = 1 << 20)]
        recent: usize,
        /// Stop after so many minutes
        #[arg(long)]
        minutes: Option<u64>,
    },
    /// The shortest run that fails as this one does
    Shrink {
        #[arg(long)]
        seed: u64,
        /// With a known bug
        #[cfg(feature = "mutants")]
        #[arg(long)]
        mutant: Option<String>,
    },
}

/// Does what the command line says.
pub fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    keep_panics();
    match arguments.command {
        #[cfg(feature = "mutants")]
        Command::Mutants { names, searches, runs, threads, write } => {
            let search = mutants::Search { searches, runs_max: runs, threads: cores(threads) };
            hunt(&names, &search, write.as_deref())
        }
        Command::Run { seed, runs, threads, minutes, failures } => run(Order {
            first_seed: seed,
            runs,
            threads: cores(threads),
            time_max: minutes.map(|minutes| Duration::from_secs(60 * minutes)),
            failures_max: failures,
        }),
        Command::Replay {
            seed,
            without,
            steps,
            lines,
            #[cfg(feature = "mutants")]
            mutant,
        } => {
            #[cfg(feature = "mutants")]
            activate(mutant.as_deref())?;
            Ok(replay(&Plan { seed, without: numbers(&without)?, steps }, Trace::newest(lines)))
        }
        Command::Exhaustive { writes, crashes, breaks, epochs, restarts_any_time, recent, minutes } => {
            let time_max = minutes.map(|minutes| Duration::from_secs(60 * minutes));
            let recent_bytes_max = recent;
            let bounds =
                Bounds { writes, crashes, breaks, epochs, restarts_any_time, recent_bytes_max, time_max };
            Ok(look_at_all(bounds))
        }
        Command::Shrink {
            seed,
            #[cfg(feature = "mutants")]
            mutant,
        } => {
            #[cfg(feature = "mutants")]
            activate(mutant.as_deref())?;
            Ok(show_shrunk(&Plan::new(seed)))
        }
    }
}

/// One for each core, if nobody said how many.
fn cores(threads: usize) -> usize {
    let all = || std::thread::available_parallelism().map_or(1, usize::from);
    if threads == 0 { all() } else { threads }
}

#[cfg(feature = "mutants")]
fn known(name: &str) -> Result<Known> {
    Known::named(name).ok_or_else(|| anyhow!("no such bug: {name}"))
}

/// Everything that this thread does is done with the bug.
#[cfg(feature = "mutants")]
fn activate(name: Option<&str>) -> Result<()> {
    zabra::mutants::activate(name.map(known).transpose()?.map(|known| known.mutant));
    Ok(())
}

#[cfg(feature = "mutants")]
fn hunt(names: &[String], search: &mutants::Search, write: Option<&std::path::Path>) -> Result<ExitCode> {
    let some: Vec<Known> = names.iter().map(|name| known(name)).collect::<Result<_>>()?;
    let some = if some.is_empty() { KNOWN.to_vec() } else { some };
    let all = mutants::search_all(&some, search, &|found| {
        println!("{}: {:?}, {}", found.known.name(), found.runs, found.finders());
    });
    let table = mutants::table(&all);
    println!("\n{table}");
    if let Some(path) = write {
        let document = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let document = mutants::with_table(&document, &table)
            .ok_or_else(|| anyhow!("{} has no marks for the table", path.display()))?;
        std::fs::write(path, document).with_context(|| path.display().to_string())?;
    }
    let missed: Vec<String> =
        all.iter().filter(|found| !found.always()).map(|found| found.known.name()).collect();
    if missed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    Err(anyhow!("not found by every search: {}", missed.join(", ")))
}

fn run(order: Order) -> Result<ExitCode> {
    let report = run_all(&order, &|plan, failure| println!("seed {}: {failure}", plan.seed));
    println!("{}", report.coverage);
    let minutes = report.busy.as_secs_f64() / 60.0;
    println!(
        "{} runs, {} failed; {:.1} h of ensemble time in {minutes:.1} min of a core: {:.0} times as fast as the clock, \
         {:.1} s for an hour",
        report.runs,
        report.failures.len(),
        report.simulated_ms as f64 / 3_600_000.0,
        report.speed(),
        3_600.0 / report.speed(),
    );
    if let Some((plan, _)) = report.failures.first() {
        show_shrunk(plan);
        return Ok(ExitCode::FAILURE);
    }
    let missing = report.coverage.missing();
    // A few runs cannot reach everything.
    if order.runs >= 2_000 && report.runs == order.runs && !missing.is_empty() {
        return Err(anyhow!("never happened: {}", missing.join(", ")));
    }
    Ok(ExitCode::SUCCESS)
}

fn look_at_all(bounds: Bounds) -> ExitCode {
    let report = explore(bounds);
    println!("{bounds:?}");
    for line in report.coverage.to_string().lines().filter(|line| !line.starts_with("        0 ")) {
        println!("{line}");
    }
    println!("{report}");
    match &report.failure {
        None => ExitCode::SUCCESS,
        Some((failure, story)) => {
            println!("{story}\n{failure}");
            ExitCode::FAILURE
        }
    }
}

fn show_shrunk(plan: &Plan) -> ExitCode {
    let plan = shrink(plan);
    println!("the shortest run that was found: {}", command_of(&plan));
    replay(&plan, Trace::long())
}

/// How to see a run again.
fn command_of(plan: &Plan) -> String {
    let mut command = format!("zabra-sim replay --seed {} --steps {}", plan.seed, plan.steps);
    if !plan.without.is_empty() {
        command.push_str(&format!(" --without {}", ranges(&plan.without)));
    }
    command
}

fn replay(plan: &Plan, trace: Trace) -> ExitCode {
    let outcome = plan.run(trace);
    print!("{}", outcome.trace);
    for (number, fault) in (0..).zip(&outcome.struck).filter(|(number, _)| !plan.without.contains(number)) {
        println!("fault {number}: {fault:?}");
    }
    match outcome.result {
        Ok(()) => {
            println!("seed {} goes well", plan.seed);
            ExitCode::SUCCESS
        }
        Err(failure) => {
            println!("seed {} fails after {} steps: {failure}", plan.seed, outcome.steps);
            ExitCode::FAILURE
        }
    }
}

/// Numbers and ranges of them, as `3,5-9`.
fn numbers(text: &str) -> Result<BTreeSet<u32>> {
    let mut found = BTreeSet::new();
    for word in text.split(',').filter(|word| !word.is_empty()) {
        let (first, last) = word.split_once('-').unwrap_or((word, word));
        let number = |word: &str| word.parse::<u32>().with_context(|| format!("{word} is not a number"));
        found.extend(number(first)?..=number(last)?);
    }
    Ok(found)
}

fn ranges(numbers: &BTreeSet<u32>) -> String {
    let mut words: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match words.last_mut() {
            Some((_, last)) if *last + 1 == *number => *last = *number,
            _ => words.push((*number, *number)),
        }
    }
    let word = |(first, last): &(u32, u32)| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    };
    words.iter().map(word).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_they_are_written() {
        let some: BTreeSet<u32> = [0, 1, 2, 5, 7, 8].into();
        assert_eq!(ranges(&some), "0-2,5,7-8");
        assert_eq!(numbers("0-2,5,7-8").expect("numbers"), some);
        assert!(numbers("1-x").is_err());
    }
}
