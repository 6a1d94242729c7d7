//! One run: faults and load drawn from a seed, then a repaired ensemble, which must work and have lost nothing.

use std::collections::BTreeSet;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use zabra::ids::ServerId;

use super::client::Asked;
use super::coverage::Coverage;
use super::ensemble::{Ensemble, Settings};
use super::failure::{Failure, catch, fail};
use super::faults::{Fault, Faults};
use super::trace::Trace;

/// Steps of a run before everything is repaired, unless it is told otherwise.
pub const STEPS: usize = 6_000;

const CLIENTS: usize = 4;

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
        let settings = Settings {
            servers: pick(&mut chance, &[3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 5, 5, 5, 5, 5, 5, 5, 1]) as u8,
            recent_bytes_max: pick(&mut chance, &[200, 2_000, 1 << 20]) as usize,
            snapshot_txns: pick(&mut chance, &[5, 5, 20, 50, 1 << 40]),
            epoch_txns_max: pick(&mut chance, &[3, 10, 40, u64::from(u32::MAX), u64::from(u32::MAX)]) as u32,
            sync_timeout_ms: 10_000,
            segment_bytes: pick(&mut chance, &[8192, 8192, 16_384, 65_536]),
            batch_bytes_max: pick(&mut chance, &[100, 400, 4_000]) as usize,
        };
        let mut ensemble = Ensemble::new(settings, trace);
        ensemble.note(format!("seed {}: {settings:?}", plan.seed));
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
        if let Some(core) = self.faults.repair_core(&mut self.ensemble) {
            self.settle(&core);
            self.ensemble.coverage.count("a majority served while the others failed");
        }
        self.faults.end(&mut self.ensemble);
        let all: Vec<ServerId> = self.ensemble.ids().collect();
        self.settle(&all);
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
                65..80 => self.client_acts(),
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

    fn client_acts(&mut self) {
        let (index, server) = (self.chance.random_range(0..CLIENTS), self.any_server());
        let choice = self.chance.random();
        let server_runs = self.ensemble.runs(server);
        let client = self.ensemble.clients.client(index);
        if self.faults.strikes_rarely(Fault::SilentClient, 4) {
            client.is_silent = true;
        }
        let Some(home) = client.server else {
            if server_runs && (!client.is_silent || self.chance.random_bool(0.02)) {
                let input = self.ensemble.clients.connect(index, server);
                self.ensemble.input(server, input);
                self.ensemble.flush(server);
            }
            return;
        };
        let is_closing = client.outstanding.back().is_some_and(|(_, asked)| *asked == Asked::Close);
        if self.faults.strikes_rarely(Fault::LeavingClient, 10) {
            return self.client_leaves(index);
        }
        if !client.connected || client.is_silent || is_closing {
            return;
        }
        if self.chance.random_bool(0.3) {
            self.client_reads(index, home, choice);
        } else if client.outstanding.len() < 4 {
            // Nothing but another sync goes behind one.
            let is_syncing = client.outstanding.back().is_some_and(|(_, asked)| *asked == Asked::Sync);
            let asked = if is_syncing { Asked::Sync } else { client.next_request(choice) };
            let (server, input) = self.ensemble.clients.ask(index, asked);
            self.ensemble.input(server, input);
            if self.chance.random_bool(0.5) {
                self.ensemble.flush(server);
            }
        }
    }

    /// Its server may not notice for a while.
    fn client_leaves(&mut self, index: usize) {
        if let Some((server, input)) = self.ensemble.clients.leave(index)
            && self.chance.random_bool(0.5)
        {
            self.ensemble.input(server, input);
        }
    }

    fn client_reads(&mut self, index: usize, home: ServerId, choice: u32) {
        if self.ensemble.serves(home)
            && let Some(read) = self.ensemble.clients.client(index).next_read(choice)
        {
            self.ensemble.read(index, home, read);
        }
    }

    /// These servers are repaired: there must be a leader, and clients must be served.
    fn settle(&mut self, repaired: &[ServerId]) {
        let (acks, began) = (self.ensemble.clients.acknowledged.len(), self.ensemble.now);
        while self.ensemble.clients.acknowledged.len() < acks + 20 {
            self.work(100);
            if self.ensemble.now - began >= 120_000 {
                fail("liveness", "a repaired ensemble does not serve its clients");
            }
        }
        let began = self.ensemble.now;
        while !self.ensemble.is_quiet(repaired) {
            self.ensemble.tick(1);
            self.deliver_something();
            for id in self.ensemble.ids() {
                self.ensemble.do_disk(id, 1);
                self.ensemble.flush(id);
            }
            if self.ensemble.now - began >= 60_000 {
                fail("liveness", "the servers of a repaired ensemble do not converge");
            }
        }
    }

    /// Nothing that was acknowledged or seen is lost, and nothing happened twice.
    fn judge(&self) {
        let Ensemble { clients, judge, .. } = &self.ensemble;
        for zxid in &clients.acknowledged {
            if !judge.holds(*zxid) {
                fail("durability", format!("{zxid} was acknowledged and lost"));
            }
        }
        for server in self.ensemble.servers.values() {
            let state = server.replica.as_ref().expect("all run").state();
            if state.zxid() != judge.end() {
                fail("durability", format!("server {} is not at the end", server.id));
            }
        }
        for client in clients.all.values() {
            let written = judge.written.get(&client.own_path()).cloned().unwrap_or_default();
            if !written.is_sorted_by(|one, next| one < next) {
                fail("client order", format!("out of order or twice: {written:?}"));
            }
            let written: BTreeSet<u32> = written.into_iter().collect();
            for sent in &client.sent {
                let applied = sent.iter().filter(|value| written.contains(value)).count();
                if !sent[..applied].iter().all(|value| written.contains(value)) {
                    fail(
                        "client order",
                        format!("of {sent:?}, sent on one connection, {written:?} were applied"),
                    );
                }
            }
        }
        self.judge_sequential();
    }

    /// Every sequential znode that was acknowledged is there, its number rises with the zxid, and none was made twice.
    fn judge_sequential(&self) {
        let server = self.ensemble.servers.values().next().expect("there is a server");
        let tree = &server.replica.as_ref().expect("all run").state().tree;
        let mut acknowledged: Vec<_> =
            self.ensemble.clients.all.values().flat_map(|client| &client.sequential).collect();
        acknowledged.sort();
        if !acknowledged.is_sorted_by(|one, next| one.1 < next.1) {
            fail("sequential znodes", format!("numbers do not rise: {acknowledged:?}"));
        }
        for (_, path, data) in acknowledged {
            let found = tree.node(path).and_then(|znode| znode.data().map(<[u8]>::to_vec));
            if found.as_deref() != Some(data.as_bytes()) {
                fail("sequential znodes", format!("{path} was acknowledged and is lost or another"));
            }
        }
        let Some(parent) = tree.node("/seq") else { return };
        let data =
            |name: &str| tree.node(&format!("/seq/{name}")).expect("a child").data().map(<[u8]>::to_vec);
        let all: Vec<Option<Vec<u8>>> = parent.children().map(data).collect();
        let distinct: BTreeSet<_> = all.iter().collect();
        if distinct.len() != all.len() {
            fail("sequential znodes", "a request was carried out twice");
        }
    }
}
