//! One run: faults and load drawn from a seed, then a repaired ensemble, which must work and have lost nothing.

use std::collections::BTreeSet;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use zabra::ids::ServerId;
use zabra::replica::{LimitedConfig, LocalConfig};

use super::checkers::{limited, require, watches};
use super::coverage::Coverage;
use super::ensemble::{Ensemble, Settings};
use super::failure::{Failure, catch, fail};
use super::faults::{Fault, Faults};
use super::shape::{DRAWN, Roles, Shape};
use super::trace::Trace;
use super::workload;

/// Steps of a run before everything is repaired, unless it is told otherwise.
pub const STEPS: usize = 6_000;

const CLIENTS: usize = 4;

/// How many of the runs change who the servers are.
const RECONFIGURED: f64 = 0.35;

/// In how many of the runs followers feed observers, if there are any.
const FED: f64 = 0.7;

/// Everything that a run depends on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    pub seed: u64,
    /// faults that do not strike, by their numbers
    pub without: BTreeSet<u32>,
    /// how many steps there are before everything is repaired
    pub steps: usize,
}

/// What came of a run.
pub struct Outcome {
    pub result: Result<(), Failure>,
    pub coverage: Coverage,
    pub trace: Trace,
    /// the faults that struck, by their numbers
    pub struck: Vec<Fault>,
    /// how many steps were done, those of the repaired ensemble included
    pub steps: usize,
    /// how much time passed in it, ms
    pub simulated_ms: u64,
}

impl Plan {
    /// With all its faults.
    pub fn new(seed: u64) -> Plan {
        Plan { seed, without: BTreeSet::new(), steps: STEPS }
    }

    /// Does the run.
    pub fn run(&self, trace: Trace) -> Outcome {
        let mut run = Run::new(self, trace);
        let result = catch(|| run.go(self.steps));
        run.count_faults(&self.without);
        Outcome {
            result,
            coverage: std::mem::take(&mut run.ensemble.coverage),
            trace: std::mem::take(&mut run.ensemble.trace),
            struck: run.faults.struck().to_vec(),
            steps: run.steps,
            simulated_ms: run.ensemble.now,
        }
    }
}

struct Run {
    ensemble: Ensemble,
    chance: StdRng,
    faults: Faults,
    steps: usize,
}

impl Run {
    fn new(plan: &Plan, trace: Trace) -> Run {
        let mut chance = StdRng::seed_from_u64(plan.seed);
        let pick = |chance: &mut StdRng, values: &[u64]| *values.choose(chance).expect("there are some");
        let Shape { servers, roles } = *DRAWN.choose(&mut chance).expect("there are some");
        let may_change = !matches!(roles, Roles::Groups(_));
        let reconfigures = may_change && chance.random_bool(RECONFIGURED);
        let joiners = match reconfigures {
            true if servers == 1 => 2,
            true => chance.random_range(0..=2),
            false => 0,
        };
        let settings = Settings {
            servers: servers + joiners,
            joiners,
            reconfigures,
            roles,
            feeds: chance.random_bool(FED),
            recent_bytes_max: pick(&mut chance, &[200, 2_000, 1 << 20]) as usize,
            snapshot_txns: pick(&mut chance, &[5, 5, 20, 50, 1 << 40]),
            // With fewer than that, slow elections and impatient clients leave no room for any write.
            epoch_txns_max: pick(&mut chance, &[8, 16, 40, u64::from(u32::MAX), u64::from(u32::MAX)]) as u32,
            sync_timeout_ms: 10_000,
            segment_bytes: pick(&mut chance, &[8192, 8192, 16_384, 65_536]),
            batch_bytes_max: pick(&mut chance, &[100, 400, 4_000]) as usize,
            limited: LimitedConfig {
                check_interval_ms: pick(&mut chance, &[20, 100, 500]),
                deletions_per_minute_max: pick(&mut chance, &[120, 600, 6_000, 60_000, 60_000]) as u32,
                unused_ms_max: pick(&mut chance, &[0, 50, 500]),
            },
            local: LocalConfig {
                enabled: pick(&mut chance, &[0, 0, 1]) == 1,
                upgrading: pick(&mut chance, &[0, 1, 1, 1]) == 1,
                read_only_after_ms: None,
            },
        };
        let mut ensemble = Ensemble::new(settings, trace);
        ensemble.note(format!("seed {}: {settings:?}", plan.seed));
        if reconfigures {
            ensemble.coverage.count("ensemble that is reconfigured");
        }
        match roles {
            Roles::Equal => {}
            Roles::Observers(_) => ensemble.coverage.count("ensemble with observers"),
            Roles::Groups(_) => ensemble.coverage.count("ensemble with groups or weights"),
        }
        for index in 0..CLIENTS {
            ensemble.clients.client(index).timeout_ms = pick(&mut chance, &[500, 1_000, 4_000]) as i32;
        }
        Run { ensemble, chance, faults: Faults::new(plan.seed, plan.without.clone()), steps: 0 }
    }

    fn go(&mut self, steps: usize) {
        self.faults.begin(&mut self.ensemble);
        self.ensemble.ids().for_each(|id| self.ensemble.start(id));
        self.work(steps);
        self.ensemble.note("settle".to_string());
        for index in 0..CLIENTS {
            self.ensemble.clients.client(index).is_silent = false;
        }
        self.ensemble.asks_for_servers = false;
        if let Some(core) = self.faults.repair_core(&mut self.ensemble) {
            self.settle(&core);
            self.ensemble.coverage.count("a majority served while the others failed");
        }
        self.faults.end(&mut self.ensemble);
        let all: Vec<ServerId> = self.ensemble.ids().collect();
        self.settle(&all);
        self.end_limited(&all);
        self.judge();
        if self.faults.lose_majority(&mut self.ensemble) {
            self.stay_still();
        }
    }

    /// Of what happened, what only the faults and the network know.
    fn count_faults(&mut self, without: &BTreeSet<u32>) {
        let Ensemble { coverage, network, .. } = &mut self.ensemble;
        let struck = (0..).zip(self.faults.struck()).filter(|(number, _)| !without.contains(number));
        struck.for_each(|(_, fault)| coverage.count(fault.name()));
        coverage.count_many("messages lost with their connection", network.lost);
        coverage.count_many("message of a connection that was replaced", network.overtaken);
    }

    /// A majority lost its disks: nobody may lead any more, or serve.
    fn stay_still(&mut self) {
        let began = self.ensemble.now;
        while self.ensemble.now - began < 5_000 {
            self.work(50);
            let ids: Vec<ServerId> = self.ensemble.ids().collect();
            if self.ensemble.leader().is_some() || ids.iter().any(|id| self.ensemble.serves(*id)) {
                fail("safe halt", "a majority lost its disks, and yet somebody leads or serves");
            }
        }
        self.ensemble.coverage.count("a majority without its disks stayed still");
    }

    fn any_server(&mut self) -> ServerId {
        ServerId(self.chance.random_range(1..=self.ensemble.settings.servers))
    }

    fn work(&mut self, steps: usize) {
        for _ in 0..steps {
            self.steps += 1;
            self.faults.watch(&mut self.ensemble);
            match self.chance.random_range(0..100) {
                0..45 => self.deliver_something(),
                45..62 => self.disk_works(),
                62..65 => self.background_works(),
                65..80 => workload::act(&mut self.ensemble, &mut self.chance, &mut self.faults, CLIENTS),
                80..99 => {
                    let ms = self.chance.random_range(0..4);
                    self.ensemble.tick(ms);
                }
                _ => self.faults.act(&mut self.ensemble),
            }
        }
    }

    fn deliver_something(&mut self) {
        let arrivals = self.ensemble.network.arrivals();
        let Some(arrival) = arrivals.choose(&mut self.chance) else { return self.ensemble.tick(1) };
        for _ in 0..self.chance.random_range(1..4) {
            if let Some(id) = self.ensemble.arrive(*arrival)
                && self.chance.random_bool(0.7)
            {
                self.ensemble.flush(id);
            }
        }
    }

    fn disk_works(&mut self) {
        let id = self.any_server();
        if self.faults.hung == Some(id) || self.faults.slow == Some(id) && self.chance.random_bool(0.8) {
            return;
        }
        let count = self.chance.random_range(1..5);
        self.ensemble.do_disk(id, count);
        self.ensemble.flush(id);
    }

    fn background_works(&mut self) {
        let id = self.any_server();
        if self.faults.slow_snapshots == Some(id) && self.chance.random_bool(0.95) {
            return;
        }
        self.ensemble.do_background(id);
        if self.chance.random_bool(0.05) {
            self.ensemble.do_idle(id);
        }
    }

    /// These servers are repaired: there must be a leader, and clients must be served.
    fn settle(&mut self, repaired: &[ServerId]) {
        // Most of a tiny epoch goes to clients that come back after the election before it.
        let is_tiny = self.ensemble.settings.epoch_txns_max < 40;
        let (served, began) = (self.served(is_tiny), self.ensemble.now);
        let patience_ms = if is_tiny { 600_000 } else { 120_000 };
        while self.served(is_tiny) < served + 20 {
            self.work(100);
            if self.ensemble.now - began >= patience_ms {
                fail("liveness", "a repaired ensemble does not serve its clients");
            }
        }
        let began = self.ensemble.now;
        while !self.ensemble.is_quiet(repaired) {
            self.calm_down(1);
            if self.ensemble.now - began >= 60_000 {
                fail("liveness", "the servers of a repaired ensemble do not converge");
            }
        }
    }

    /// Time passes, and nobody asks for anything.
    fn calm_down(&mut self, ms: u64) {
        self.ensemble.tick(ms);
        self.deliver_something();
        for id in self.ensemble.ids() {
            self.ensemble.do_disk(id, 1);
            self.ensemble.flush(id);
        }
    }

    /// All is well: what is due goes, and nothing that is due stays.
    fn end_limited(&mut self, all: &[ServerId]) {
        let began = self.ensemble.now;
        loop {
            let due = self.due();
            if due.as_ref().is_some_and(Vec::is_empty) && self.ensemble.is_quiet(all) {
                return;
            }
            self.calm_down(2);
            if self.ensemble.now - began >= 120_000 {
                fail(limited::NAME, format!("a repaired ensemble does not end what is due: {due:?}"));
            }
        }
    }

    /// What the leader's clock says is due, if there is a leader.
    fn due(&self) -> Option<Vec<String>> {
        let witness = &self.ensemble.judge.witness;
        let wall_ms = self.ensemble.wall_ms(self.ensemble.leader()?);
        Some(witness.limited.due(&witness.model, wall_ms).map(str::to_string).collect())
    }

    /// How many writes were done; in a tiny epoch there is room for few, and a refusal tells of a quorum as well.
    fn served(&self, is_tiny: bool) -> usize {
        let history = &self.ensemble.judge.witness.history;
        history.done + if is_tiny { history.refused } else { 0 }
    }

    /// What can be said only at the end.
    fn judge(&mut self) {
        let Ensemble { clients, judge, servers, coverage, .. } = &mut self.ensemble;
        judge.finish(servers);
        for client in clients.all.values().filter(|client| client.connected) {
            let server = client.server.and_then(|id| servers[&id].replica.as_ref());
            let kept = server.map(|replica| replica.watches().of_conn(client.conn)).unwrap_or_default();
            require(watches::NAME, client.watches.are_kept(&kept));
        }
        judge.witness.finish(clients.all.values_mut(), coverage);
    }
}
