//! What goes wrong in a run: which faults it has, and when they strike.

use std::collections::BTreeSet;

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};
use zabra::ids::ServerId;
use zabra::replica::Input;
use zabra::zab::Role;

use super::disk::{End, Part};
use super::ensemble::{Doom, Ensemble};
use super::network::Weather;

const YEAR_MS: i64 = 365 * 24 * 3_600_000;

/// The kinds of faults, each with the percentage of runs that have it, and its name in the report.
macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident $percent:literal,)*) => {
        /// A kind of fault. Each run has some of them.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub enum Fault { $($(#[$doc])* $name,)* }

        impl Fault {
            pub const ALL: &[Fault] = &[$(Fault::$name,)*];

            /// How many runs of a hundred have it.
            fn percent_of_runs(self) -> u32 {
                match self { $(Fault::$name => $percent,)* }
            }

            /// As the report has it.
            pub fn name(self) -> &'static str {
                match self { $(Fault::$name => concat!("fault ", stringify!($name)),)* }
            }
        }
    };
}

faults! {
    /// the process or the machine of a server ends
    Kill 70,
    /// a process ends between two things that a step does
    MidStep 50,
    /// a leader leaves its place to another, and ends or not
    HandOver 50,
    /// the power of all servers fails at once
    PowerCut 40,
    /// a dead server comes back with an empty disk
    Wipe 30,
    /// part of what a dead server has on its disk decays, and nobody could overlook it
    Decay 30,
    /// a process is stopped, and goes on later
    Pause 40,
    /// a wall clock jumps
    WallJump 30,
    /// the monotonic clocks go at different speeds
    Drift 40,

    /// nothing arrives any more from one server at another, mostly in both directions
    Cut 50,
    /// the same between one server and all others
    Isolate 40,
    /// the servers fall into two parts
    Split 40,
    /// two parts, and one server that is in both
    Bridge 25,
    /// every server has two neighbours and hears nobody else
    Ring 25,
    /// the leader hears nobody, but everybody hears it
    DeafLeader 25,
    /// the leader hears everybody, but nobody hears it
    MuteLeader 25,
    /// one server hears nobody
    Blind 25,
    /// the leader is cut off while the others lose their power and come back: they elect before it notices
    Usurped 50,
    /// nobody can connect to a server's quorum port
    ClosedPort 20,
    /// a connection is half open: nothing arrives, and nobody is told
    Stall 40,
    /// a connection breaks
    BrokenLink 40,
    /// a connection that ends takes the last of what was sent with it
    LostTails 50,
    /// a connection is known to the one who dialled before the other
    LateOpen 40,
    /// everything takes its time, on each way another
    Latency 40,
    /// some messages take very long
    Spikes 30,

    /// a write, sync or change of names fails
    DiskError 30,
    /// a read fails
    ReadError 25,
    /// a disk is full
    FullDisk 25,
    /// a disk says nothing more
    Hang 40,
    /// a disk is slow all the time
    SlowDisk 30,
    /// snapshots are written slowly all the time
    SlowSnapshots 30,
    /// a byte changes
    Flip 30,
    /// a file is gone
    LostFile 25,
    /// a write that was synced was never done
    LostWrite 20,
    /// a write that was synced was done in another place
    MisdirectedWrite 20,

    /// a client says nothing more, so that its session expires
    SilentClient 50,
    /// a client leaves its connection
    LeavingClient 90,

    /// in the end only a majority is repaired, and the others go on to fail
    Core 60,
    /// at the very end a majority loses its disks
    LostMajority 10,
}

/// What is wrong with a server for ever while a majority works.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Dead,
    CutOff,
    /// It is killed and started, again and again.
    Restarts,
    /// It is cut off and joined again, again and again.
    Flaps,
    /// As well, but in one direction or another.
    FlapsOneWay,
}

/// The faults of a run. Those that struck are numbered, so that a run can be repeated without some of them.
pub struct Faults {
    enabled: BTreeSet<Fault>,
    /// Of their own, so that a fault that is left out does not change the others.
    chance: StdRng,
    without: BTreeSet<u32>,
    struck: Vec<Fault>,
    /// A server whose disk does nothing for now.
    pub hung: Option<ServerId>,
    /// A server whose disk is slow.
    pub slow: Option<ServerId>,
    /// A server that writes its snapshots slowly.
    pub slow_snapshots: Option<ServerId>,
    /// What is to be done to a disk as soon as it may be.
    wanted: Option<Fault>,
    /// A leader that the others are about to replace without its knowledge.
    usurped: Option<ServerId>,
    /// Those that are not repaired.
    outsiders: Vec<(ServerId, Fate)>,
}

impl Faults {
    pub fn new(seed: u64, without: BTreeSet<u32>) -> Faults {
        let mut chance = StdRng::seed_from_u64(seed ^ 0xfa17_fa17_fa17_fa17);
        // Some runs have few faults: what goes wrong rarely must not be hidden by what goes wrong all the time.
        let share = *[30, 60, 100, 100].choose(&mut chance).expect("there are some");
        let mut enabled = BTreeSet::new();
        for fault in Fault::ALL {
            if chance.random_range(0..10_000) < fault.percent_of_runs() * share {
                enabled.insert(*fault);
            }
        }
        Faults {
            enabled,
            chance,
            without,
            struck: Vec::new(),
            hung: None,
            slow: None,
            slow_snapshots: None,
            wanted: None,
            usurped: None,
            outsiders: Vec::new(),
        }
    }

    /// What struck so far, in order; a fault's number is its place.
    pub fn struck(&self) -> &[Fault] {
        &self.struck
    }

    /// True if a fault of this kind strikes now. It has a number even if the run is to go without it.
    pub fn strikes(&mut self, fault: Fault) -> bool {
        if !self.enabled.contains(&fault) {
            return false;
        }
        self.struck.push(fault);
        !self.without.contains(&(self.struck.len() as u32 - 1))
    }

    /// The same, but only in so many of a thousand cases.
    pub fn strikes_rarely(&mut self, fault: Fault, per_mille: u32) -> bool {
        self.chance.random_range(0..1000) < per_mille && self.strikes(fault)
    }

    /// What is there from the beginning, before any server is started.
    pub fn begin(&mut self, ensemble: &mut Ensemble) {
        let (id, other) = (self.any_server(ensemble), self.any_server(ensemble));
        if self.strikes(Fault::SlowDisk) {
            ensemble.note(format!("the disk of {id} is slow"));
            self.slow = Some(id);
        }
        if self.strikes(Fault::SlowSnapshots) {
            ensemble.note(format!("server {other} writes snapshots slowly"));
            self.slow_snapshots = Some(other);
        }
        let remembers =
            self.enabled.contains(&Fault::LostWrite) || self.enabled.contains(&Fault::MisdirectedWrite);
        for id in ensemble.ids() {
            ensemble.server(id).disk.remembers_writes = remembers;
        }
        self.begin_weather(ensemble);
        self.begin_drift(ensemble);
    }

    fn begin_weather(&mut self, ensemble: &mut Ensemble) {
        let mut weather = Weather::fine(StdRng::seed_from_u64(self.chance.random()));
        weather.loses_tails = self.strikes(Fault::LostTails);
        weather.opens_late = self.strikes(Fault::LateOpen);
        let spikes_per_mille = self.chance.random_range(1..30);
        if self.strikes(Fault::Spikes) {
            weather.spikes_per_mille = spikes_per_mille;
        }
        let latency_max = *[3, 10, 40].choose(&mut self.chance).expect("there are some");
        let mut drawn = StdRng::seed_from_u64(self.chance.random());
        if self.strikes(Fault::Latency) {
            for (from, to) in all_ways(ensemble) {
                weather.latency_ms.insert((from, to), drawn.random_range(1..=latency_max));
            }
            ensemble.note(format!("latencies: {:?}", weather.latency_ms));
        }
        ensemble.network.set_weather(weather);
    }

    fn begin_drift(&mut self, ensemble: &mut Ensemble) {
        let mut drawn = StdRng::seed_from_u64(self.chance.random());
        if self.strikes(Fault::Drift) {
            for id in ensemble.ids() {
                let per_mille = drawn.random_range(900..=1100);
                ensemble.note(format!("the clock of {id} goes at {per_mille} of a thousand"));
                ensemble.server(id).clock_per_mille = per_mille;
            }
        }
    }

    fn any_server(&mut self, ensemble: &Ensemble) -> ServerId {
        ServerId(self.chance.random_range(1..=ensemble.settings.servers))
    }

    /// Something goes wrong, or something that went wrong ends.
    pub fn act(&mut self, ensemble: &mut Ensemble) {
        if !self.outsiders.is_empty() {
            return self.outsiders_act(ensemble);
        }
        let leader = ensemble.leader().filter(|_| self.chance.random_bool(0.3));
        let id = leader.unwrap_or_else(|| self.any_server(ensemble));
        match self.chance.random_range(0..110) {
            0..10 => self.kill(ensemble, id),
            10..14 => self.mid_step(ensemble, id),
            14..33 => self.restart(ensemble, id),
            33..47 => self.partition(ensemble, id),
            47..58 => {
                ensemble.note("heal".to_string());
                ensemble.network.heal();
            }
            58..63 => self.pause(ensemble, id),
            63..74 => {
                if let Some(id) = ensemble.ids().find(|id| ensemble.servers[id].paused) {
                    ensemble.resume(id);
                }
            }
            74..80 => self.disk_fails(ensemble, id),
            80..82 => self.power_cut(ensemble),
            82..85 if self.strikes(Fault::ClosedPort) => {
                ensemble.note(format!("nobody can connect to the quorum port of {id}"));
                ensemble.network.close_port(id);
            }
            85..91 => self.hang(ensemble),
            91..93 => self.hung = None,
            93..96 => self.link_fails(ensemble),
            96..98 => self.want_damage(),
            98 => self.wall_jump(ensemble, id),
            99..104 => self.usurp(ensemble),
            104.. => self.hand_over(ensemble),
            _ => {}
        }
    }

    fn kill(&mut self, ensemble: &mut Ensemble, id: ServerId) {
        let end = if self.chance.random_bool(0.5) { End::Power } else { End::Process };
        let mut chance = StdRng::seed_from_u64(self.chance.random());
        if !ensemble.runs(id) || !self.strikes(Fault::Kill) {
            return;
        }
        ensemble.kill(id, end, &mut chance);
        let others_work = |server: &super::ensemble::Server| server.replica.is_some() && !server.disk.damaged;
        let others = ensemble.servers.values().filter(|server| server.id != id);
        let may_be_lost = others.clone().count() > 0 && others.clone().all(others_work);
        if !may_be_lost || !ensemble.all_vote_but(id) {
            return;
        }
        if self.strikes_rarely(Fault::Wipe, 400) {
            ensemble.wipe(id);
        } else if self.strikes_rarely(Fault::Decay, 400) {
            let disk = &ensemble.servers[&id].disk;
            let parts = [Part::Log, Part::Epoch, Part::Tail];
            let parts = parts.into_iter().filter(|part| *part != Part::Tail || disk.has_noted_end());
            let part = parts.collect::<Vec<_>>().choose(&mut chance).copied();
            ensemble.spoil(id, part.expect("there are some"));
        }
    }

    /// A planned stop of the leader, or an operator who wants another one to lead.
    fn hand_over(&mut self, ensemble: &mut Ensemble) {
        let Some(leader) = ensemble.leader() else { return };
        let seed = self.chance.random();
        let ends = self.chance.random_bool(0.6);
        if self.strikes(Fault::HandOver) {
            ensemble.note(format!(
                "server {leader} is to lead no longer{}",
                if ends { ", and ends" } else { "" }
            ));
            ensemble.server(leader).leaves = ends.then_some(seed);
            ensemble.input(leader, Input::HandOver);
            ensemble.flush(leader);
        }
    }

    fn usurp(&mut self, ensemble: &mut Ensemble) {
        let Some(leader) = ensemble.leader().filter(|_| ensemble.settings.servers > 1) else { return };
        let mut chance = StdRng::seed_from_u64(self.chance.random());
        if !self.strikes(Fault::Usurped) {
            return;
        }
        cut_off(ensemble, leader, [true, true]);
        self.usurped = Some(leader);
        for id in ensemble.ids().filter(|id| *id != leader).collect::<Vec<_>>() {
            if ensemble.runs(id) {
                ensemble.kill(id, End::Power, &mut chance);
            }
            self.restart(ensemble, id);
        }
    }

    fn want_damage(&mut self) {
        let kinds = [
            Fault::Flip,
            Fault::Flip,
            Fault::LostFile,
            Fault::LostWrite,
            Fault::MisdirectedWrite,
            Fault::Wipe,
        ];
        let kinds: Vec<Fault> = kinds.into_iter().filter(|fault| self.enabled.contains(fault)).collect();
        self.wanted = kinds.choose(&mut self.chance).copied();
    }

    /// To be called at every step: does what waits for its moment.
    pub fn watch(&mut self, ensemble: &mut Ensemble) {
        self.ask_the_usurped(ensemble);
        let Some(fault) = self.wanted else { return };
        let first = self.chance.random_range(0..ensemble.settings.servers);
        let servers = ensemble.settings.servers;
        let ids = (0..servers).map(|place| ServerId((first + place) % servers + 1));
        let Some(id) = ids.into_iter().find(|id| self.may_damage(ensemble, *id)) else { return };
        self.wanted = None;
        let mut chance = StdRng::seed_from_u64(self.chance.random());
        if self.strikes(fault) {
            damage(ensemble, id, fault, &mut chance);
        }
    }

    /// As soon as somebody was answered by the next leader, the clients of the last one want to know what is new.
    fn ask_the_usurped(&mut self, ensemble: &mut Ensemble) {
        let Some(last) = self.usurped else { return };
        let Role::Leading { epoch } = ensemble.servers[&last].role else {
            self.usurped = None;
            return;
        };
        if ensemble.judge.witness.history.floor.epoch() > epoch {
            self.usurped = None;
            ensemble.coverage.count("sync asked of a leader that was replaced");
            ensemble
                .note(format!("the clients of server {last}, which was replaced, want to know what is new"));
            ensemble.sync_all_of(last);
        }
    }

    /// What was durable may only be lost of a minority, and only while all others vote and hold all that this server
    /// may have acknowledged: more is not promised.
    fn may_damage(&self, ensemble: &Ensemble, id: ServerId) -> bool {
        let is_bad = |server: &&super::ensemble::Server| server.disk.damaged || !server.disk.epoch.may_vote;
        let quorums = ensemble.quorums();
        let voters = quorums.voters();
        let left = voters.into_iter().filter(|voter| *voter != id && !is_bad(&&ensemble.servers[voter]));
        ensemble.runs(id)
            && quorums.is_quorum(left)
            && ensemble.servers[&id].disk.synced == ensemble.judge.end()
            && ensemble.all_vote_but(id)
            && ensemble.all_hold_all_but(id)
    }

    fn mid_step(&mut self, ensemble: &mut Ensemble, id: ServerId) {
        let doom = Doom {
            outputs_left: self.chance.random_range(0..30),
            end: if self.chance.random_bool(0.5) { End::Power } else { End::Process },
            seed: self.chance.random(),
        };
        if ensemble.runs(id) && self.strikes(Fault::MidStep) {
            ensemble.server(id).doom = Some(doom);
        }
    }

    fn power_cut(&mut self, ensemble: &mut Ensemble) {
        let mut chance = StdRng::seed_from_u64(self.chance.random());
        if !self.strikes(Fault::PowerCut) {
            return;
        }
        for id in ensemble.ids() {
            if ensemble.runs(id) {
                ensemble.kill(id, End::Power, &mut chance);
            }
        }
    }

    /// A partition of some shape.
    fn partition(&mut self, ensemble: &mut Ensemble, id: ServerId) {
        let other = self.any_server(ensemble);
        let mut order: Vec<ServerId> = ensemble.ids().collect();
        order.shuffle(&mut self.chance);
        let (first, place) = (self.chance.random_range(0..order.len()), |id: ServerId| {
            order.iter().position(|it| *it == id).expect("a server")
        });
        let leader = ensemble.leader().unwrap_or(id);
        let both_ways = self.chance.random_bool(0.8);
        type Shape<'a> = (Fault, &'a dyn Fn(ServerId, ServerId) -> bool);
        let servers = order.len();
        let shapes: [Shape; 8] = [
            (Fault::Cut, &|from, to| (from, to) == (id, other) || both_ways && (to, from) == (id, other)),
            (Fault::Isolate, &|from, to| from == id || both_ways && to == id),
            (Fault::Split, &|from, to| (place(from) < first) != (place(to) < first)),
            (Fault::Bridge, &|from, to| {
                place(from) != 0
                    && place(to) != 0
                    && (place(from) <= servers / 2) != (place(to) <= servers / 2)
            }),
            (Fault::Ring, &|from, to| {
                !matches!((place(from) + servers - place(to)) % servers, 1)
                    && (place(to) + servers - place(from)) % servers != 1
            }),
            (Fault::DeafLeader, &|_, to| to == leader),
            (Fault::MuteLeader, &|from, _| from == leader),
            (Fault::Blind, &|_, to| to == id),
        ];
        let (fault, is_cut) = shapes[self.chance.random_range(0..shapes.len())];
        if !self.strikes(fault) {
            return;
        }
        let cut: Vec<_> = all_ways(ensemble).into_iter().filter(|(from, to)| is_cut(*from, *to)).collect();
        let ways: Vec<String> = cut.iter().map(|(from, to)| format!("{from}->{to}")).collect();
        ensemble.note(format!("{fault:?} {}", ways.join(" ")));
        cut.into_iter().for_each(|(from, to)| ensemble.network.cut(from, to));
    }

    fn pause(&mut self, ensemble: &mut Ensemble, id: ServerId) {
        if ensemble.runs(id) && !ensemble.servers[&id].paused && self.strikes(Fault::Pause) {
            ensemble.pause(id);
        }
    }

    /// A disk will not do what it is asked for, and say so.
    fn disk_fails(&mut self, ensemble: &mut Ensemble, id: ServerId) {
        let (kind, after) = (self.chance.random_range(0..3), self.chance.random_range(0..40));
        let disk = |ensemble: &mut Ensemble, what: &str| ensemble.note(format!("the disk of {id} {what}"));
        match kind {
            0 if ensemble.runs(id) && self.strikes(Fault::DiskError) => {
                disk(ensemble, "will fail");
                ensemble.server(id).disk.fail_soon(after);
            }
            1 if self.strikes(Fault::ReadError) => {
                disk(ensemble, "will not be read");
                ensemble.server(id).disk.fail_read_soon(after);
            }
            2 if self.strikes(Fault::FullDisk) => {
                disk(ensemble, "is nearly full");
                ensemble.server(id).disk.fill(after * 500);
            }
            _ => {
                disk(ensemble, "works, and has room");
                ensemble.server(id).disk.repair();
            }
        }
    }

    fn hang(&mut self, ensemble: &mut Ensemble) {
        let id = ensemble.leader().unwrap_or_else(|| self.any_server(ensemble));
        if self.hung.is_none() && self.strikes(Fault::Hang) {
            ensemble.note(format!("the disk of {id} hangs"));
            self.hung = Some(id);
        }
    }

    fn link_fails(&mut self, ensemble: &mut Ensemble) {
        let links = ensemble.network.links();
        let breaks = self.chance.random_bool(0.5);
        let ends = *[[true, true], [true, false], [false, true]].choose(&mut self.chance).expect("some");
        let Some(link) = links.choose(&mut self.chance).copied() else { return };
        if breaks && self.strikes(Fault::BrokenLink) {
            ensemble.note(format!("connection {} breaks", link.0));
            ensemble.network.break_off(link);
        } else if !breaks && self.strikes(Fault::Stall) {
            ensemble.note(format!("connection {} stalls, {ends:?}", link.0));
            ensemble.network.stall(link, ends);
        }
    }

    fn wall_jump(&mut self, ensemble: &mut Ensemble, id: ServerId) {
        let by = match self.chance.random_range(0..3) {
            0 => self.chance.random_range(-YEAR_MS..=YEAR_MS),
            1 => self.chance.random_range(-5_000..5_000),
            _ => 0,
        };
        if self.strikes(Fault::WallJump) {
            ensemble.note(format!("the wall clock of {id} is off by {by} ms"));
            ensemble.server(id).wall_offset_ms = by;
        }
    }

    /// A dead server is started. If its disk is damaged, the operator gives it another one.
    fn restart(&mut self, ensemble: &mut Ensemble, id: ServerId) {
        if ensemble.runs(id) {
            return;
        }
        if ensemble.servers[&id].is_refused {
            ensemble.wipe(id);
        }
        ensemble.start(id);
    }

    /// A majority is repaired, for good; of the others each has a fate. `None` if this run repairs all at once.
    pub fn repair_core(&mut self, ensemble: &mut Ensemble) -> Option<Vec<ServerId>> {
        let mut core: Vec<ServerId> = ensemble.ids().collect();
        core.shuffle(&mut self.chance);
        let fates = [Fate::Dead, Fate::CutOff, Fate::Restarts, Fate::Flaps, Fate::FlapsOneWay];
        let mut drawn = StdRng::seed_from_u64(self.chance.random());
        if ensemble.quorums().voters().len() == 1 || !self.strikes(Fault::Core) {
            return None;
        }
        if ensemble.settings.reconfigures {
            // What was asked for and is still on its way could need those that are not repaired.
            core.iter().filter(|id| ensemble.runs(**id)).copied().collect::<Vec<_>>().into_iter().for_each(
                |id| {
                    ensemble.kill(id, End::Power, &mut drawn);
                },
            );
        }
        let quorums = ensemble.quorums();
        // A server that may not vote is no part of a majority, and one with a damaged disk may have to become such a one.
        let counts = |id: &ServerId| {
            let disk = &ensemble.servers[id].disk;
            disk.epoch.may_vote && !disk.damaged && quorums.has(*id)
        };
        core.sort_by_key(|id| !counts(id));
        let counted = core.iter().take_while(|id| counts(id)).count();
        let quorum = (1..=counted).find(|count| quorums.is_quorum(core[..*count].iter().copied()));
        let Some(quorum) = quorum else {
            core.iter().for_each(|id| self.restart(ensemble, *id));
            return None;
        };
        let outsiders = core.split_off(quorum);
        self.repair(ensemble);
        self.outsiders = outsiders.iter().map(|id| (*id, *fates.choose(&mut drawn).expect("some"))).collect();
        ensemble.note(format!("only {core:?} are repaired; the others: {:?}", self.outsiders));
        for (id, fate) in self.outsiders.clone() {
            match fate {
                Fate::Dead if ensemble.runs(id) => ensemble.kill(id, End::Power, &mut drawn),
                Fate::CutOff => cut_off(ensemble, id, [true, true]),
                _ => {}
            }
        }
        core.iter().for_each(|id| self.restart(ensemble, *id));
        Some(core)
    }

    fn outsiders_act(&mut self, ensemble: &mut Ensemble) {
        let (id, fate) = *self.outsiders.choose(&mut self.chance).expect("there are some");
        let is_on = self.chance.random_bool(0.5);
        let ends = *[[true, false], [false, true]].choose(&mut self.chance).expect("some");
        match fate {
            Fate::Dead | Fate::CutOff => {}
            Fate::Restarts if ensemble.runs(id) => {
                let end = if is_on { End::Power } else { End::Process };
                ensemble.kill(id, end, &mut self.chance);
            }
            Fate::Restarts => self.restart(ensemble, id),
            Fate::Flaps | Fate::FlapsOneWay => {
                self.restart(ensemble, id);
                for other in ensemble.ids().collect::<Vec<_>>() {
                    ensemble.network.join(id, other);
                }
                if is_on {
                    cut_off(ensemble, id, if fate == Fate::Flaps { [true, true] } else { ends });
                }
            }
        }
    }

    fn repair(&mut self, ensemble: &mut Ensemble) {
        self.enabled.retain(|fault| matches!(fault, Fault::Core | Fault::LostMajority));
        (self.slow, self.hung, self.slow_snapshots) = (None, None, None);
        (self.wanted, self.usurped) = (None, None);
        ensemble.network.heal();
        if let Some(weather) = ensemble.network.weather() {
            weather.spikes_per_mille = 0;
        }
        for id in ensemble.ids() {
            ensemble.server(id).disk.repair();
            ensemble.server(id).doom = None;
            ensemble.server(id).leaves = None;
            if ensemble.servers[&id].paused {
                ensemble.resume(id);
            }
        }
    }

    /// Everything is repaired, for good.
    pub fn end(&mut self, ensemble: &mut Ensemble) {
        self.outsiders.clear();
        self.repair(ensemble);
        for id in ensemble.ids() {
            self.restart(ensemble, id);
            // It may say only now that its disk is damaged.
            self.restart(ensemble, id);
        }
    }

    /// A majority loses its disks, if this run is to end so: from then on nobody may lead.
    pub fn lose_majority(&mut self, ensemble: &mut Ensemble) -> bool {
        let mut ids: Vec<ServerId> = ensemble.ids().collect();
        ids.shuffle(&mut self.chance);
        let quorums = ensemble.quorums();
        if quorums.voters().len() == 1 || !self.strikes(Fault::LostMajority) {
            return false;
        }
        let mut left: BTreeSet<ServerId> = quorums.voters();
        for id in &ids {
            ensemble.kill(*id, End::Process, &mut self.chance);
            if quorums.is_quorum(left.iter().copied()) && left.remove(id) {
                ensemble.wipe(*id);
            }
        }
        ids.iter().for_each(|id| self.restart(ensemble, *id));
        true
    }
}

/// A server's process ends, and something that was durable is not there any more.
fn damage(ensemble: &mut Ensemble, id: ServerId, fault: Fault, chance: &mut StdRng) {
    let is_write = matches!(fault, Fault::LostWrite | Fault::MisdirectedWrite);
    if is_write && ensemble.server(id).disk.lose_write(fault == Fault::MisdirectedWrite, chance) {
        ensemble.note(format!("the disk of {id} did not do what it said: {fault:?}"));
    }
    let end = if is_write || chance.random_bool(0.5) { End::Power } else { End::Process };
    ensemble.kill(id, end, chance);
    ensemble.judge.on_wipe(id);
    let what = match fault {
        Fault::Flip => ensemble.server(id).disk.flip(chance),
        Fault::LostFile => ensemble.server(id).disk.lose_file(chance),
        Fault::Wipe => {
            ensemble.wipe(id);
            Vec::new()
        }
        _ => Vec::new(),
    };
    if !what.is_empty() {
        ensemble.note(format!("damage of {id}, {fault:?}: {}", what.join(", ")));
    }
}

/// All pairs of two servers.
fn all_ways(ensemble: &Ensemble) -> Vec<(ServerId, ServerId)> {
    let others = |from| ensemble.ids().filter(move |to| *to != from).map(move |to| (from, to));
    ensemble.ids().flat_map(others).collect()
}

/// Nothing arrives any more from a server, at it, or both.
fn cut_off(ensemble: &mut Ensemble, id: ServerId, [out, into]: [bool; 2]) {
    ensemble.note(format!("server {id} is cut off: out {out}, in {into}"));
    for other in ensemble.ids().filter(|other| *other != id) {
        if out {
            ensemble.network.cut(id, other);
        }
        if into {
            ensemble.network.cut(other, id);
        }
    }
}
