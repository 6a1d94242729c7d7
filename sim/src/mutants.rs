//! Puts known bugs into the servers, one at a time, and tells how soon which checker finds each.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use zabra::mutants::{KNOWN, Known, activate};

use super::run::Plan;
use super::trace::Trace;

/// No search begins where another one could come to.
const SEEDS_APART: u64 = 10_000_000;

/// How a bug is looked for.
#[derive(Clone, Copy, Debug)]
pub struct Search {
    /// searches with seeds of their own
    pub searches: u64,
    /// the runs of a search at most
    pub runs_max: u64,
    pub threads: usize,
}

/// What came of looking for one bug.
#[derive(Clone, Debug)]
pub struct Found {
    pub known: Known,
    /// after how many runs each search found it; `None` if it did not
    pub runs: Vec<Option<u64>>,
    /// who found it, how often
    pub checkers: BTreeMap<String, usize>,
}

/// Looks for some bugs, or for all; shows each result when it is there.
pub fn search_all(mutants: &[Known], search: &Search, shown: &(dyn Fn(&Found) + Sync)) -> Vec<Found> {
    let next = AtomicUsize::new(0);
    let all = Mutex::new(Vec::new());
    let work = || {
        while let Some(known) = mutants.get(next.fetch_add(1, Ordering::Relaxed)) {
            let found = look_for(*known, search);
            shown(&found);
            all.lock().expect("no run ends a thread").push(found);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..search.threads {
            scope.spawn(work);
        }
    });
    let mut all = all.into_inner().expect("no run ends a thread");
    let place = |found: &Found| KNOWN.iter().position(|known| *known == found.known);
    all.sort_by_key(place);
    all
}

fn look_for(known: Known, search: &Search) -> Found {
    let mut found = Found { known, runs: Vec::new(), checkers: BTreeMap::new() };
    for number in 0..search.searches {
        let first = (1 + number) * SEEDS_APART;
        activate(Some(known.mutant));
        let failing = (0..search.runs_max).find_map(|run| {
            let failure = Plan::new(first + run).run(Trace::short()).result.err()?;
            Some((run + 1, failure.checker))
        });
        activate(None);
        found.runs.push(failing.as_ref().map(|(runs, _)| *runs));
        if let Some((_, checker)) = failing {
            *found.checkers.entry(checker).or_default() += 1;
        }
    }
    found
}

impl Found {
    /// Every search found it.
    pub fn always(&self) -> bool {
        self.runs.iter().all(Option::is_some)
    }

    /// How many runs a search needed, in the middle of all; `None` if it did not find it.
    pub fn median(&self) -> Option<u64> {
        let mut runs: Vec<u64> = self.runs.iter().map(|runs| runs.unwrap_or(u64::MAX)).collect();
        runs.sort_unstable();
        runs.get(runs.len() / 2).copied().filter(|runs| *runs != u64::MAX)
    }

    /// Who found it, the most frequent first.
    pub fn finders(&self) -> String {
        let mut checkers: Vec<(&String, &usize)> = self.checkers.iter().collect();
        checkers.sort_by(|one, other| other.1.cmp(one.1).then(one.0.cmp(other.0)));
        checkers.iter().map(|(checker, _)| checker.as_str()).collect::<Vec<_>>().join(", ")
    }
}

/// The table of `docs/simulator.md`.
pub fn table(all: &[Found]) -> String {
    let mut table = String::from("| bug | where it was seen | found by | median runs |\n|---|---|---|---|\n");
    for found in all {
        let Known { origin, what, .. } = found.known;
        let median = found.median().map_or_else(|| "not found".to_string(), |runs| runs.to_string());
        let name = found.known.name();
        let row = format!("| `{name}`: {what} | {origin} | {} | {median} |", found.finders());
        writeln!(table, "{row}").expect("memory is enough");
    }
    table
}

/// `document` with the table in the place of the one between its two marks; `None` without them.
pub fn with_table(document: &str, table: &str) -> Option<String> {
    const BEGIN: &str = "<!-- mutants: begin -->\n";
    const END: &str = "<!-- mutants: end -->";
    let (before, rest) = document.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}{table}{END}{after}"))
}
