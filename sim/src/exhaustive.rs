//! All orders, within bounds: three servers, a few transactions, crashes at every point and connections that break, in
//! every order in which things can happen that makes a difference. Where the seeded runs draw, this enumerates.
//!
//! A state is reached again by doing the same choices again from the beginning. A state that is known, by whatever way,
//! is not gone on from. What is said on the election ports, and heartbeats, arrive at once; and time passes only when
//! nothing else can happen.

use std::collections::HashSet;
use std::fmt::{self, Write};
use std::time::{Duration, Instant};

use xxhash_rust::xxh3::Xxh3Default;
use zabra::ids::ServerId;
use zabra::replica::LocalConfig;

use super::coverage::Coverage;
use super::ensemble::{Ensemble, LIMITED, Settings};
use super::failure::{Failure, catch, fail};
use super::network::Arrival;
use super::shape::Roles;
use super::trace::Trace;

/// How long nothing may happen before it is asked why, ms.
const PATIENCE_MS: u64 = 10_000;

/// Time passes in steps of so many ms.
const STEP_MS: u64 = 5;

/// How much is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub writes: u32,
    pub crashes: u32,
    /// connections that break
    pub breaks: u32,
    /// what would begin a newer epoch than this is not looked at
    pub epochs: u32,
    /// a dead server may be started again at any moment, not only when nothing else can happen
    pub restarts_any_time: bool,
    /// how much of the newest transactions the leader has at hand, bytes: with few it must send snapshots
    pub recent_bytes_max: usize,
    pub time_max: Option<Duration>,
}

/// Something that may happen next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Choice {
    Arrives(Arrival),
    /// a disk carries out its oldest operation
    Disk(ServerId),
    /// a client asks the leader for something
    Write,
    /// the power of a server fails when its disk has done so many operations more
    Crash(ServerId, usize),
    Restart(ServerId),
    /// the connection that a server dialled breaks
    Break(ServerId),
    /// time passes until something happens
    Wait,
}

/// What was looked at.
#[derive(Default)]
pub struct Report {
    pub states: usize,
    /// ways from the beginning to an end, or to a state that was known
    pub schedules: u64,
    /// those that came to an end: everything done, and all servers the same
    pub ends: u64,
    /// those that were not followed, for they went beyond the epochs
    pub beyond: u64,
    pub depth_max: usize,
    /// true if there is nothing more within the bounds
    pub is_exhausted: bool,
    pub coverage: Coverage,
    /// what was found, and the way to it
    pub failure: Option<(Failure, String)>,
    pub took: Duration,
}

/// One way through.
struct Walk {
    ensemble: Ensemble,
    bounds: Bounds,
    writes: u32,
    crashes: u32,
    breaks: u32,
}

impl Walk {
    /// An established leader with two followers and a first transaction.
    fn new(bounds: Bounds, trace: Trace) -> Walk {
        let settings = Settings {
            joiners: 0,
            reconfigures: false,
            servers: 3,
            roles: Roles::Equal,
            feeds: false,
            recent_bytes_max: bounds.recent_bytes_max,
            snapshot_txns: 1 << 40,
            epoch_txns_max: u32::MAX,
            sync_timeout_ms: 2_000,
            segment_bytes: 8192,
            batch_bytes_max: 400,
            limited: LIMITED,
            local: LocalConfig::default(),
        };
        let mut walk =
            Walk { ensemble: Ensemble::new(settings, trace), bounds, writes: 0, crashes: 0, breaks: 0 };
        walk.ensemble.network.numbers_by_dialler = true;
        walk.ensemble.ids().for_each(|id| walk.ensemble.start(id));
        walk.connect();
        walk
    }

    /// Everything happens, in a fixed order, until there is a leader, and all have the first transaction.
    fn connect(&mut self) {
        let mut is_asked = false;
        let ids: Vec<ServerId> = self.ensemble.ids().collect();
        while !is_asked || !self.ensemble.is_quiet(&ids) || !self.choices_at_hand().is_empty() {
            if let (false, Some(leader)) = (is_asked, self.ensemble.leader()) {
                self.ask(leader);
                is_asked = true;
            }
            match self.choices_at_hand().first() {
                Some(choice) => self.take(*choice),
                None => self.take(Choice::Wait),
            }
        }
    }

    /// A client opens a session: a transaction.
    fn ask(&mut self, leader: ServerId) {
        self.ensemble.connect_client(self.writes as usize + 1, leader);
        self.ensemble.flush(leader);
    }

    /// What is under way.
    fn choices_at_hand(&self) -> Vec<Choice> {
        let arrivals = self.ensemble.network.arrivals();
        let mut choices: Vec<Choice> = arrivals.into_iter().map(Choice::Arrives).collect();
        for server in self.ensemble.servers.values() {
            if server.replica.is_some() && server.disk.has_work() {
                choices.push(Choice::Disk(server.id));
            }
        }
        choices
    }

    /// Everything that may happen next.
    fn choices(&self) -> Vec<Choice> {
        let mut choices = self.choices_at_hand();
        let is_still = choices.is_empty();
        let servers = &self.ensemble.servers;
        if self.writes < self.bounds.writes && self.ensemble.leader().is_some() {
            choices.push(Choice::Write);
        }
        for server in servers.values() {
            if server.replica.is_none() {
                if is_still || self.bounds.restarts_any_time {
                    choices.push(Choice::Restart(server.id));
                }
                continue;
            }
            if self.crashes < self.bounds.crashes {
                choices.extend((0..=server.disk.waiting()).map(|kept| Choice::Crash(server.id, kept)));
            }
            if self.breaks < self.bounds.breaks && !self.ensemble.network.dialled_by(server.id).is_empty() {
                choices.push(Choice::Break(server.id));
            }
        }
        let running = self.running();
        if is_still && running.len() > 1 && !self.ensemble.is_quiet(&running) {
            choices.push(Choice::Wait);
        }
        choices
    }

    fn running(&self) -> Vec<ServerId> {
        self.ensemble.ids().filter(|id| self.ensemble.runs(*id)).collect()
    }

    fn take(&mut self, choice: Choice) {
        match choice {
            Choice::Arrives(arrival) => {
                if let Some(id) = self.ensemble.arrive(arrival) {
                    self.ensemble.flush(id);
                }
            }
            Choice::Disk(id) => {
                self.ensemble.do_disk(id, 1);
                self.ensemble.flush(id);
            }
            Choice::Write => {
                self.writes += 1;
                if let Some(leader) = self.ensemble.leader() {
                    self.ask(leader);
                }
            }
            Choice::Crash(id, kept) => {
                self.crashes += 1;
                self.ensemble.kill_keeping(id, kept);
            }
            Choice::Restart(id) => self.ensemble.start(id),
            Choice::Break(id) => {
                self.breaks += 1;
                for link in self.ensemble.network.dialled_by(id) {
                    self.ensemble.network.break_off(link);
                }
            }
            Choice::Wait => {
                let began = self.ensemble.now;
                while self.choices_at_hand().is_empty() {
                    self.ensemble.tick(STEP_MS);
                    self.ensemble.say_at_once();
                    if self.ensemble.now - began > PATIENCE_MS {
                        fail("liveness", "nothing is under way, and yet the servers are not the same");
                    }
                    if self.ensemble.is_quiet(&self.running()) {
                        break;
                    }
                }
            }
        }
        self.ensemble.say_at_once();
    }

    /// Names the state: the broadcast of every server in full, how far it has applied, its disk, what is on its way. Not
    /// what clients wait for, and not what was decided on the way here but for its end.
    fn key(&self) -> u64 {
        let Ensemble { now, servers, network, judge, .. } = &self.ensemble;
        let mut key = Key::default();
        let counts = (now, self.writes, self.crashes, self.breaks, judge.end());
        write!(key, "{counts:?}").expect("a hash takes everything");
        for server in servers.values() {
            if let Some(replica) = &server.replica {
                let state = replica.state();
                write!(key, "{:?}{:?}{:?}", state.zxid(), state.digest(), replica.broadcast())
                    .expect("a hash takes everything");
            }
            server.disk.describe(&mut key).expect("a hash takes everything");
        }
        network.describe(&mut key).expect("a hash takes everything");
        key.0.digest()
    }

    fn is_beyond(&self) -> bool {
        self.ensemble.servers.values().any(|server| server.disk.epoch.accepted_epoch.0 > self.bounds.epochs)
    }

    /// Everything is done: all servers serve the same, and that is all that was ever decided.
    fn check_end(&self) {
        let ids: Vec<ServerId> = self.ensemble.ids().collect();
        if !self.ensemble.is_quiet(&ids) {
            fail("liveness", "the servers come to a stand before they are the same");
        }
        let end = self.ensemble.judge.end();
        for server in self.ensemble.servers.values() {
            let zxid = server.replica.as_ref().map(|replica| replica.state().zxid());
            if zxid != Some(end) {
                fail("durability", format!("server {} is at {zxid:?}, not at {end}", server.id));
            }
        }
    }
}

/// The choices that were made, each among others.
type Path = Vec<(usize, Vec<Choice>)>;

/// Looks at everything within the bounds.
pub fn explore(bounds: Bounds) -> Report {
    let began = Instant::now();
    let mut report = Report::default();
    let mut known = HashSet::new();
    let mut path = Path::new();
    loop {
        if bounds.time_max.is_some_and(|max| began.elapsed() >= max) {
            break;
        }
        report.schedules += 1;
        let mut walk = None;
        let walked = catch(|| {
            let walk = walk.insert(Walk::new(bounds, Trace::short()));
            go_on(walk, &mut path, &mut known, &mut report);
        });
        if let Some(walk) = &mut walk {
            report.coverage.add(&std::mem::take(&mut walk.ensemble.coverage));
        }
        if let Err(failure) = walked {
            report.failure = Some((failure, describe(bounds, &path)));
            break;
        }
        if !next(&mut path) {
            report.is_exhausted = true;
            break;
        }
    }
    report.states = known.len();
    report.took = began.elapsed();
    report
}

/// Does again what was chosen, then the first of everything that is new.
fn go_on(walk: &mut Walk, path: &mut Path, known: &mut HashSet<u64>, report: &mut Report) {
    for (chosen, choices) in path.iter() {
        walk.take(choices[*chosen]);
    }
    while known.insert(walk.key()) {
        if walk.is_beyond() {
            report.beyond += 1;
            return;
        }
        let choices = walk.choices();
        let Some(first) = choices.first().copied() else {
            report.ends += 1;
            return walk.check_end();
        };
        path.push((0, choices));
        report.depth_max = report.depth_max.max(path.len());
        walk.take(first);
    }
}

/// The next way; false if there is none.
fn next(path: &mut Path) -> bool {
    while let Some((chosen, choices)) = path.last_mut() {
        *chosen += 1;
        if *chosen < choices.len() {
            return true;
        }
        path.pop();
    }
    false
}

/// A way in every detail.
fn describe(bounds: Bounds, path: &Path) -> String {
    let mut told = String::new();
    let mut walk = None;
    let result = catch(|| {
        let walk = walk.insert(Walk::new(bounds, Trace::story()));
        for (chosen, choices) in path {
            walk.ensemble.note(format!("-- {:?}", choices[*chosen]));
            walk.take(choices[*chosen]);
        }
        if walk.choices().is_empty() {
            walk.check_end();
        }
    });
    if let Some(walk) = walk {
        told.push_str(&walk.ensemble.trace.to_string());
    }
    if let Err(failure) = result {
        told.push_str(&failure.to_string());
    }
    told
}

/// What is written into it, as a hash.
#[derive(Default)]
struct Key(Xxh3Default);

impl Write for Key {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.update(text.as_bytes());
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { states, schedules, ends, beyond, depth_max, .. } = self;
        writeln!(
            f,
            "{states} states, {schedules} schedules, {ends} of them to the end, {beyond} beyond the last epoch; \
             up to {depth_max} choices, one after the other; {:.1} s",
            self.took.as_secs_f64()
        )?;
        match self.is_exhausted {
            true => write!(f, "there is nothing more within these bounds"),
            false => write!(f, "NOT everything within these bounds was looked at"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds() -> Bounds {
        Bounds {
            writes: 1,
            crashes: 0,
            breaks: 0,
            epochs: 3,
            restarts_any_time: false,
            recent_bytes_max: 1 << 20,
            time_max: None,
        }
    }

    #[test]
    fn all_orders_of_a_write_come_to_one_end() {
        let report = explore(bounds());
        assert!(report.failure.is_none() && report.is_exhausted, "{report}");
        assert_eq!(report.ends, 1);
        assert!(report.states > 50, "{report}");
    }

    #[test]
    fn what_lies_beyond_the_bounds_is_said() {
        let report = explore(Bounds { writes: 0, crashes: 1, epochs: 1, ..bounds() });
        assert!(report.is_exhausted && report.beyond > 0, "{report}");
        let report = explore(Bounds { time_max: Some(Duration::ZERO), ..bounds() });
        assert!(!report.is_exhausted, "{report}");
    }
}
