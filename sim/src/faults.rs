//! What goes wrong in a run: which faults it has, and when they strike.

use std::collections::BTreeSet;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use zabra::ids::ServerId;

use super::disk::{End, Part};
use super::ensemble::Ensemble;

/// A kind of fault. Each run has some of them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Fault {
    /// the process or the machine of a server ends
    Kill,
    /// the power of all servers fails at once
    PowerCut,
    /// a dead server comes back with an empty disk
    Wipe,
    /// part of what a dead server has on its disk decays
    Decay,
    /// nothing arrives any more from one server at another, mostly in both directions
    Cut,
    /// the same between one server and all others
    Isolate,
    /// nobody can connect to a server's quorum port
    ClosedPort,
    /// a process is stopped, and goes on later
    Pause,
    /// a write, sync or change of names fails
    DiskError,
    /// a disk says nothing more
    Hang,
    /// a disk is slow all the time
    SlowDisk,
    /// a client says nothing more, so that its session expires
    SilentClient,
    /// a client leaves its connection
    LeavingClient,
}

impl Fault {
    pub const ALL: [Fault; 13] = [
        Fault::Kill,
        Fault::PowerCut,
        Fault::Wipe,
        Fault::Decay,
        Fault::Cut,
        Fault::Isolate,
        Fault::ClosedPort,
        Fault::Pause,
        Fault::DiskError,
        Fault::Hang,
        Fault::SlowDisk,
        Fault::SilentClient,
        Fault::LeavingClient,
    ];

    /// How many runs of a hundred have it.
    fn percent_of_runs(self) -> u32 {
        match self {
            Fault::Kill => 70,
            Fault::Cut => 60,
            Fault::Isolate => 50,
            Fault::PowerCut | Fault::Pause | Fault::Hang => 40,
            Fault::SilentClient => 50,
            Fault::Wipe | Fault::Decay | Fault::DiskError | Fault::SlowDisk => 30,
            Fault::ClosedPort => 20,
            Fault::LeavingClient => 90,
        }
    }
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
}

impl Faults {
    pub fn new(seed: u64, without: BTreeSet<u32>) -> Faults {
        let mut chance = StdRng::seed_from_u64(seed ^ 0xfa17_fa17_fa17_fa17);
        let mut enabled = BTreeSet::new();
        for fault in Fault::ALL {
            if chance.random_range(0..100) < fault.percent_of_runs() {
                enabled.insert(fault);
            }
        }
        Faults { enabled, chance, without, struck: Vec::new(), hung: None, slow: None }
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

    /// What is there from the beginning.
    pub fn begin(&mut self, ensemble: &mut Ensemble) {
        let id = self.any_server(ensemble);
        if self.strikes(Fault::SlowDisk) {
            ensemble.note(format!("the disk of {id} is slow"));
            self.slow = Some(id);
        }
    }

    fn any_server(&mut self, ensemble: &Ensemble) -> ServerId {
        ServerId(self.chance.random_range(1..=ensemble.settings.servers))
    }

    /// Something goes wrong, or something that went wrong ends.
    pub fn act(&mut self, ensemble: &mut Ensemble) {
        let leader = ensemble.leader().filter(|_| self.chance.random_bool(0.3));
        let (any, other) = (self.any_server(ensemble), self.any_server(ensemble));
        let id = leader.unwrap_or(any);
        match self.chance.random_range(0..100) {
            0..12 => self.kill(ensemble, id),
            12..31 => restart(ensemble, id),
            31..37 => self.cut(ensemble, id, other),
            37..43 => self.isolate(ensemble, id),
            43..56 => {
                ensemble.note("heal".to_string());
                ensemble.network.heal();
            }
            56..62 => self.pause(ensemble, id),
            62..75 if ensemble.servers[&id].paused => ensemble.resume(id),
            75..81 => self.disk_error(ensemble, id),
            81..83 => self.power_cut(ensemble),
            83..89 if self.strikes(Fault::ClosedPort) => {
                ensemble.note(format!("nobody can connect to the quorum port of {id}"));
                ensemble.network.close_port(id);
            }
            89..95 => self.hang(ensemble),
            95..97 => self.hung = None,
            _ => {}
        }
    }

    fn kill(&mut self, ensemble: &mut Ensemble, id: ServerId) {
        if !ensemble.runs(id) || !self.strikes(Fault::Kill) {
            return;
        }
        let dead = ensemble.servers.values().filter(|server| server.replica.is_none()).count();
        let end = if self.chance.random_bool(0.5) { End::Power } else { End::Process };
        ensemble.kill(id, end, &mut self.chance);
        let may_be_wiped = dead == 0 && ensemble.settings.servers > 1 && ensemble.all_vote_but(id);
        if may_be_wiped && self.strikes_rarely(Fault::Wipe, 400) {
            ensemble.wipe(id);
        } else if ensemble.settings.servers > 1
            && ensemble.all_vote_but(id)
            && self.strikes_rarely(Fault::Decay, 400)
        {
            let part = if self.chance.random_bool(0.5) { Part::Log } else { Part::Epoch };
            ensemble.spoil(id, part);
        }
    }

    fn power_cut(&mut self, ensemble: &mut Ensemble) {
        if !self.strikes(Fault::PowerCut) {
            return;
        }
        for id in ensemble.ids() {
            if ensemble.runs(id) {
                ensemble.kill(id, End::Power, &mut self.chance);
            }
        }
    }

    fn cut(&mut self, ensemble: &mut Ensemble, one: ServerId, other: ServerId) {
        if self.strikes(Fault::Cut) {
            self.cut_way(ensemble, one, other);
        }
    }

    fn isolate(&mut self, ensemble: &mut Ensemble, id: ServerId) {
        if self.strikes(Fault::Isolate) {
            let others: Vec<ServerId> = ensemble.ids().filter(|other| *other != id).collect();
            others.into_iter().for_each(|other| self.cut_way(ensemble, id, other));
        }
    }

    fn cut_way(&mut self, ensemble: &mut Ensemble, one: ServerId, other: ServerId) {
        ensemble.note(format!("cut {one} -> {other}"));
        ensemble.network.cut(one, other);
        if self.chance.random_bool(0.8) {
            ensemble.network.cut(other, one);
        }
    }

    fn pause(&mut self, ensemble: &mut Ensemble, id: ServerId) {
        if ensemble.runs(id) && !ensemble.servers[&id].paused && self.strikes(Fault::Pause) {
            ensemble.pause(id);
        }
    }

    fn disk_error(&mut self, ensemble: &mut Ensemble, id: ServerId) {
        let after = self.chance.random_range(0..40);
        if ensemble.runs(id) && self.strikes(Fault::DiskError) {
            ensemble.note(format!("the disk of {id} will fail"));
            ensemble.server(id).disk.fail_soon(after);
        }
    }

    fn hang(&mut self, ensemble: &mut Ensemble) {
        let id = ensemble.leader().unwrap_or_else(|| self.any_server(ensemble));
        if self.hung.is_none() && self.strikes(Fault::Hang) {
            ensemble.note(format!("the disk of {id} hangs"));
            self.hung = Some(id);
        }
    }

    /// Everything is repaired, for good.
    pub fn end(&mut self, ensemble: &mut Ensemble) {
        self.enabled.clear();
        (self.slow, self.hung) = (None, None);
        ensemble.network.heal();
        for id in ensemble.ids() {
            ensemble.server(id).disk.fail_soon(u64::MAX);
            if ensemble.servers[&id].paused {
                ensemble.resume(id);
            }
            restart(ensemble, id);
        }
    }
}

fn restart(ensemble: &mut Ensemble, id: ServerId) {
    if !ensemble.runs(id) {
        ensemble.start(id);
    }
}
