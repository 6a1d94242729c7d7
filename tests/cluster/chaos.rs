//! Seeded faults: whatever happens, nothing acknowledged is lost, and a healed ensemble works.

use std::collections::BTreeSet;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use zabra::ids::ServerId;

use super::client::Asked;
use super::coverage::Coverage;
use super::disk::End;
use super::ensemble::{Ensemble, Settings};
use super::trace::Trace;

/// How many runs there are unless `ZABRA_SEEDS` says so.
const SEEDS: u64 = 60;

/// Steps of a run before everything is repaired.
const STEPS: usize = 6_000;

const CLIENTS: usize = 4;

struct Chaos {
    ensemble: Ensemble,
    chance: StdRng,
    /// Which faults this run has.
    kills: bool,
    wipes: bool,
    cuts: bool,
    pauses: bool,
    disk_faults: bool,
    silences: bool,
    closed_ports: bool,
    hangs: bool,
    /// A server whose disk does nothing for now.
    hung: Option<ServerId>,
    /// A server whose disk is slow.
    slow: Option<ServerId>,
}

impl Chaos {
    fn new(seed: u64, trace: Trace) -> Chaos {
        let mut chance = StdRng::seed_from_u64(seed);
        let pick = |chance: &mut StdRng, values: &[u64]| *values.choose(chance).expect("there are some");
        let settings = Settings {
            servers: pick(&mut chance, &[3, 3, 3, 5, 1]) as u8,
            recent_bytes_max: pick(&mut chance, &[200, 2_000, 1 << 20]) as usize,
            snapshot_txns: pick(&mut chance, &[5, 50, 1 << 40]),
            epoch_txns_max: pick(&mut chance, &[40, u64::from(u32::MAX), u64::from(u32::MAX)]) as u32,
            sync_timeout_ms: 10_000,
        };
        let mut ensemble = Ensemble::new(settings, trace);
        ensemble.note(format!("seed {seed}: {settings:?}"));
        ensemble.ids().for_each(|id| ensemble.start(id));
        for index in 0..CLIENTS {
            ensemble.clients.client(index).timeout_ms = pick(&mut chance, &[500, 1_000, 4_000]) as i32;
        }
        Chaos {
            kills: chance.random_bool(0.7),
            wipes: chance.random_bool(0.3),
            cuts: chance.random_bool(0.6),
            pauses: chance.random_bool(0.4),
            disk_faults: chance.random_bool(0.3),
            silences: chance.random_bool(0.5),
            closed_ports: chance.random_bool(0.2),
            hangs: chance.random_bool(0.4),
            hung: None,
            slow: chance.random_bool(0.3).then(|| ServerId(chance.random_range(1..=settings.servers))),
            ensemble,
            chance,
        }
    }

    fn any_server(&mut self) -> ServerId {
        ServerId(self.chance.random_range(1..=self.ensemble.settings.servers))
    }

    fn work(&mut self, steps: usize, faults: bool) {
        for _ in 0..steps {
            match self.chance.random_range(0..100) {
                0..45 => self.deliver_something(),
                45..62 => self.disk_works(),
                62..65 => {
                    let id = self.any_server();
                    self.ensemble.do_background(id);
                    if self.chance.random_bool(0.05) {
                        self.ensemble.do_idle(id);
                    }
                }
                65..80 => self.client_acts(faults),
                80..99 => {
                    let ms = self.chance.random_range(0..4);
                    self.ensemble.tick(ms);
                }
                _ if faults => self.fault(),
                _ => {}
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
        if self.hung == Some(id) || self.slow == Some(id) && self.chance.random_bool(0.8) {
            return;
        }
        let count = self.chance.random_range(1..5);
        self.ensemble.do_disk(id, count);
        self.ensemble.flush(id);
    }

    fn client_acts(&mut self, faults: bool) {
        let (index, server) = (self.chance.random_range(0..CLIENTS), self.any_server());
        let choice = self.chance.random();
        let server_runs = self.ensemble.runs(server);
        let client = self.ensemble.clients.client(index);
        if faults && self.silences && self.chance.random_bool(0.004) {
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
        if faults && self.chance.random_bool(0.01) {
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

    fn fault(&mut self) {
        let leader = self.ensemble.leader().filter(|_| self.chance.random_bool(0.3));
        let id = leader.unwrap_or_else(|| self.any_server());
        let (runs, paused) = (self.ensemble.runs(id), self.ensemble.servers[&id].paused);
        match self.chance.random_range(0..16) {
            0..2 if self.kills && runs => self.kill(id),
            0..5 if !runs => self.ensemble.start(id),
            5 if self.cuts => {
                let other = self.any_server();
                self.cut(id, other);
            }
            6 if self.cuts => {
                let others: Vec<ServerId> = self.ensemble.ids().filter(|other| *other != id).collect();
                others.into_iter().for_each(|other| self.cut(id, other));
            }
            7..9 if self.cuts => {
                self.ensemble.note("heal".to_string());
                self.ensemble.network.heal();
            }
            9 if self.pauses && runs => self.ensemble.pause(id),
            9..11 if paused => self.ensemble.resume(id),
            11 if self.disk_faults && runs => {
                let after = self.chance.random_range(0..40);
                self.ensemble.server(id).disk.fail_soon(after);
            }
            12 if self.kills && self.chance.random_bool(0.2) => self.power_cut(),
            13 if self.closed_ports => {
                self.ensemble.note(format!("nobody can connect to the quorum port of {id}"));
                self.ensemble.network.close_port(id);
            }
            14 if self.hangs && self.hung.is_none() => {
                let id = self.ensemble.leader().unwrap_or(id);
                self.ensemble.note(format!("the disk of {id} hangs"));
                self.hung = Some(id);
            }
            15 if self.chance.random_bool(0.3) => self.hung = None,
            _ => {}
        }
    }

    /// Nothing arrives any more, mostly in both directions.
    fn cut(&mut self, one: ServerId, other: ServerId) {
        self.ensemble.note(format!("cut {one} -> {other}"));
        self.ensemble.network.cut(one, other);
        if self.chance.random_bool(0.8) {
            self.ensemble.network.cut(other, one);
        }
    }

    /// The power of all servers fails at once.
    fn power_cut(&mut self) {
        for id in self.ensemble.ids() {
            if self.ensemble.runs(id) {
                self.ensemble.kill(id, End::Power, &mut self.chance);
            }
        }
    }

    fn kill(&mut self, id: ServerId) {
        let dead = self.ensemble.servers.values().filter(|server| server.replica.is_none()).count();
        let end = if self.chance.random_bool(0.5) { End::Power } else { End::Process };
        self.ensemble.kill(id, end, &mut self.chance);
        let may_be_wiped = self.wipes && dead == 0 && self.ensemble.settings.servers > 1;
        if may_be_wiped && self.chance.random_bool(0.4) && self.all_synced_but(id) {
            self.ensemble.wipe(id);
        }
    }

    /// A disk may only be lost while all the others vote and hold what was decided: more is not promised.
    fn all_synced_but(&self, lost: ServerId) -> bool {
        let end = self.ensemble.judge.end();
        let mut others = self.ensemble.servers.values().filter(|server| server.id != lost);
        others.all(|server| {
            let holds_all = server.replica.as_ref().is_some_and(|replica| replica.state().zxid() == end);
            holds_all && server.disk.epoch.may_vote
        })
    }

    /// Everything is repaired: there must be a leader, and clients must be served.
    fn settle(&mut self) {
        self.ensemble.note("settle".to_string());
        self.ensemble.network.heal();
        self.slow = None;
        self.hung = None;
        for id in self.ensemble.ids() {
            self.ensemble.server(id).disk.fail_soon(u64::MAX);
            if self.ensemble.servers[&id].paused {
                self.ensemble.resume(id);
            }
            if !self.ensemble.runs(id) {
                self.ensemble.start(id);
            }
        }
        for index in 0..CLIENTS {
            self.ensemble.clients.client(index).is_silent = false;
        }
        let (acks, began) = (self.ensemble.clients.acknowledged.len(), self.ensemble.now);
        while self.ensemble.clients.acknowledged.len() < acks + 20 {
            self.work(100, false);
            assert!(self.ensemble.now - began < 120_000, "no progress");
        }
        let began = self.ensemble.now;
        while !self.ensemble.is_quiet() {
            self.ensemble.tick(1);
            self.deliver_something();
            for id in self.ensemble.ids() {
                self.ensemble.do_disk(id, 1);
                self.ensemble.flush(id);
            }
            let elapsed = self.ensemble.now - began;
            assert!(elapsed < 60_000, "they do not converge");
        }
    }

    /// Nothing that was acknowledged or seen is lost, and nothing happened twice.
    fn judge(&self) {
        let Ensemble { clients, judge, .. } = &self.ensemble;
        for zxid in &clients.acknowledged {
            assert!(judge.holds(*zxid), "{zxid} was acknowledged and lost");
        }
        for server in self.ensemble.servers.values() {
            let state = server.replica.as_ref().expect("all run").state();
            assert_eq!(state.zxid(), judge.end(), "server {} is not at the end", server.id);
        }
        for client in clients.all.values() {
            let written = judge.written.get(&client.own_path()).cloned().unwrap_or_default();
            assert!(written.is_sorted_by(|one, next| one < next), "out of order or twice: {written:?}");
            let written: BTreeSet<u32> = written.into_iter().collect();
            for sent in &client.sent {
                let applied = sent.iter().filter(|value| written.contains(value)).count();
                let is_prefix = sent[..applied].iter().all(|value| written.contains(value));
                assert!(is_prefix, "of {sent:?}, sent on one connection, {written:?} were applied");
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
        assert!(acknowledged.is_sorted_by(|one, next| one.1 < next.1), "{acknowledged:?}");
        for (_, path, data) in acknowledged {
            let znode = tree.node(path).unwrap_or_else(|| panic!("{path} was acknowledged and lost"));
            assert_eq!(znode.data(), Some(data.as_bytes()));
        }
        let Some(parent) = tree.node("/seq") else { return };
        let data =
            |name: &str| tree.node(&format!("/seq/{name}")).expect("a child").data().map(<[u8]>::to_vec);
        let all: Vec<Option<Vec<u8>>> = parent.children().map(data).collect();
        let distinct: BTreeSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len(), "a request was carried out twice");
    }
}

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// `ZABRA_SEED=7` runs one seed and tells everything that happened; `ZABRA_SEEDS=1000` runs so many, from
/// `ZABRA_FIRST_SEED` on.
#[test]
fn nothing_acknowledged_is_lost_whatever_happens() {
    let only = from_environment("ZABRA_SEED");
    let first = from_environment("ZABRA_FIRST_SEED").unwrap_or(0);
    let count = from_environment("ZABRA_SEEDS").unwrap_or(SEEDS);
    let seeds = only.map_or(first..first + count, |seed| seed..seed + 1);
    let mut coverage = Coverage::default();
    for seed in seeds {
        println!("seed {seed}");
        let mut chaos = Chaos::new(seed, if only.is_some() { Trace::long() } else { Trace::short() });
        chaos.work(STEPS, true);
        chaos.settle();
        chaos.judge();
        coverage.add(&chaos.ensemble.coverage);
    }
    println!("{coverage}");
    let missing = coverage.missing();
    assert!(only.is_some() || count < SEEDS || missing.is_empty(), "never happened: {missing:?}");
}
