//! What clients do by chance: they get into each other's way on a few znodes.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, RngExt};
use zabra::ids::ServerId;
use zabra::jute::{CreateMode, ErrorCode, MultiResult, Response, WatcherType};

mod keeper;
mod quotas;

use super::checkers::lock::{GUARDED, QUEUE};
use super::client::Client;
use super::ensemble::Ensemble;
use super::faults::{Fault, Faults};
use super::model::is_refused;
use super::op::{ANY, Op, Part, Read};
use super::reconfigurations;

/// Znodes that all clients create, change and delete.
pub const SHARED: [&str; 4] = ["/s0", "/s1", "/s2", "/s3"];

/// Ephemeral znodes that all clients want to have made.
const WANTED: [&str; 2] = ["/eph/x", "/eph/y"];

/// Containers that all clients make, use and delete.
const CONTAINERS: [&str; 2] = ["/k0", "/k1"];

/// Znodes that all clients make with a time to live.
const TIMED: [&str; 2] = ["/t0", "/t1"];

/// Children that both of these may have.
const CHILDREN: [&str; 2] = ["a", "b"];

/// Where clients leave watches that stay.
const WATCHED: [&str; 10] = ["/", "/s0", "/s1", "/eph", "/seq", QUEUE, "/k0", "/k1", "/t0", "/k0/a"];

/// What must be there before anything else.
const READY: [&str; 4] = ["/seq", "/eph", QUEUE, GUARDED];

/// How many requests a client has under way at once.
const OUTSTANDING_MAX: usize = 4;

/// One of the clients does something.
pub fn act(ensemble: &mut Ensemble, chance: &mut StdRng, faults: &mut Faults, clients: usize) {
    let index = chance.random_range(0..clients);
    let server = ServerId(chance.random_range(1..=ensemble.settings.servers));
    let server_runs = ensemble.runs(server);
    let client = ensemble.clients.client(index);
    if faults.strikes_rarely(Fault::SilentClient, 4) {
        client.is_silent = true;
    }
    let Some(home) = client.server else {
        if server_runs && (!client.is_silent || chance.random_bool(0.02)) {
            let server = where_to_go(ensemble, chance, index, server);
            ensemble.connect_client(index, server);
            ensemble.flush(server);
        }
        return;
    };
    let is_closing = client.outstanding.back().is_some_and(|waiting| waiting.op == Op::Close);
    if faults.strikes_rarely(Fault::LeavingClient, 10) {
        let is_noticed = chance.random_bool(0.5);
        return ensemble.leave(index, is_noticed);
    }
    if !client.connected || client.is_silent {
        return;
    }
    if is_closing {
        if client.outstanding.len() < OUTSTANDING_MAX && chance.random_bool(0.2) {
            let op = client.behind_the_end(chance);
            ensemble.coverage.count("request behind the end of its session");
            ensemble.ask(index, op);
        }
        return;
    }
    if client.outstanding.is_empty() && (client.synced.is_some() || chance.random_bool(0.35)) {
        if ensemble.serves(home) {
            let client = ensemble.clients.client(index);
            let read = client.take_resume().unwrap_or_else(|| client.next_read(chance));
            ensemble.read(index, read);
        }
    } else if client.outstanding.len() < OUTSTANDING_MAX {
        // Nothing but another sync goes behind one.
        let is_syncing = client.outstanding.back().is_some_and(|waiting| waiting.op == Op::Sync);
        let is_reconfiguring =
            client.outstanding.back().is_some_and(|waiting| matches!(waiting.op, Op::Reconfig(_)));
        if is_reconfiguring {
            return;
        }
        let op = if is_syncing { Op::Sync } else { client.next_op(chance) };
        let op = match reconfigurations::next(ensemble, chance).filter(|_| !is_syncing) {
            Some(change) => Op::Reconfig(change),
            None => op,
        };
        ensemble.ask(index, op);
        if chance.random_bool(0.5) {
            ensemble.flush(home);
        }
    }
}

/// The server that was drawn; mostly the last one, if a session may be known there alone.
fn where_to_go(ensemble: &Ensemble, chance: &mut StdRng, index: usize, drawn: ServerId) -> ServerId {
    let home = ensemble.clients.home(index).filter(|_| ensemble.settings.local.enabled);
    match home.filter(|home| ensemble.runs(*home)) {
        Some(home) if chance.random_bool(0.6) => home,
        _ => drawn,
    }
}

fn one_of(paths: &[&str], chance: &mut StdRng) -> String {
    paths.choose(chance).expect("there are some").to_string()
}

fn shared(chance: &mut StdRng) -> String {
    one_of(&SHARED, chance)
}

/// A container, or a znode with a time to live.
fn limited(chance: &mut StdRng) -> String {
    if chance.random_bool(0.7) { one_of(&CONTAINERS, chance) } else { one_of(&TIMED, chance) }
}

/// A child of one of them.
fn child(chance: &mut StdRng) -> String {
    format!("{}/{}", limited(chance), one_of(&CHILDREN, chance))
}

fn part(chance: &mut StdRng) -> Part {
    match chance.random_bool(0.5) {
        true => Part::Data(shared(chance)),
        false => Part::Children(["/seq", "/eph", "/k0"].choose(chance).expect("there are some").to_string()),
    }
}

impl Client {
    /// What it asks for next. A new client first makes what it needs.
    fn next_op(&mut self, chance: &mut StdRng) -> Op {
        if let Some(path) = READY.get(self.knows.ready) {
            return Op::create(*path, "");
        }
        match chance.random_range(0..160) {
            0..9 => Op::Sync,
            9..14 => Op::make("/seq/n-", self.next_value(), CreateMode::PersistentSequential),
            14..19 if !self.knows.numbered.is_empty() => {
                Op::Delete { path: self.knows.numbered.swap_remove(0), version: 0 }
            }
            19..25 => self.ephemeral(chance),
            25..42 => self.lock_step(),
            42..56 => Op::create(shared(chance), self.next_value()),
            56..62 => self.delete(chance),
            62..80 => self.set(chance),
            80..94 => self.multi(chance),
            94..96 => {
                Op::SetAcl { path: shared(chance), version: *[ANY, 0, 1].choose(chance).expect("some") }
            }
            96 => Op::Close,
            97 => Op::Delete { path: "/seq".into(), version: ANY },
            98..116 => self.change_limited(chance),
            116..119 => {
                Op::Multi((0..chance.random_range(2..4)).map(|_| self.change_limited(chance)).collect())
            }
            119..139 => self.change_under_quota(chance),
            139..157 => self.ask_as_clickhouse(chance),
            _ => Op::Delete { path: "/seq/nothing".into(), version: ANY },
        }
    }

    /// What no client asks for that knows what it does.
    fn behind_the_end(&mut self, chance: &mut StdRng) -> Op {
        match chance.random_bool(0.5) {
            true => Op::make(one_of(&WANTED, chance), self.next_value(), CreateMode::Ephemeral),
            false => Op::set(shared(chance), self.next_value()),
        }
    }

    /// Mostly the version that it has seen last, sometimes any, sometimes a wrong one.
    fn version(&self, path: &str, chance: &mut StdRng) -> i32 {
        match (self.knows.versions.get(path), chance.random_range(0..10)) {
            (Some(version), 0..6) => *version,
            (_, 9) => 77,
            _ => ANY,
        }
    }

    fn set(&mut self, chance: &mut StdRng) -> Op {
        let path = shared(chance);
        Op::Set { version: self.version(&path, chance), path, data: self.next_value() }
    }

    fn delete(&mut self, chance: &mut StdRng) -> Op {
        let path = shared(chance);
        Op::Delete { version: self.version(&path, chance), path }
    }

    fn ephemeral(&mut self, chance: &mut StdRng) -> Op {
        let path = one_of(&WANTED, chance);
        if self.knows.ephemerals.contains(&path) {
            return Op::Delete { path, version: ANY };
        }
        Op::make(path, self.next_value(), CreateMode::Ephemeral)
    }

    /// Makes, uses or deletes something that the leader may end.
    fn change_limited(&mut self, chance: &mut StdRng) -> Op {
        let timed = |path: String, data, mode, chance: &mut StdRng| {
            let ttl_ms = *[1, 20, 100, 300].choose(chance).expect("there are some");
            Op::Create { path, data, mode, ttl_ms }
        };
        match chance.random_range(0..16) {
            0..3 => Op::make(one_of(&CONTAINERS, chance), self.next_value(), CreateMode::Container),
            3..6 => Op::create(child(chance), self.next_value()),
            6 => Op::make(child(chance), self.next_value(), CreateMode::Ephemeral),
            7..10 => Op::Delete { path: child(chance), version: ANY },
            10 => Op::Delete { path: limited(chance), version: ANY },
            11 => Op::set(limited(chance), self.next_value()),
            12 => Op::set(one_of(&TIMED, chance), self.next_value()),
            13..15 => timed(one_of(&TIMED, chance), self.next_value(), CreateMode::PersistentWithTtl, chance),
            _ => {
                let mode = CreateMode::PersistentSequentialWithTtl;
                timed("/seq/t-".into(), self.next_value(), mode, chance)
            }
        }
    }

    /// Several znodes at once; often something in it fails.
    fn multi(&mut self, chance: &mut StdRng) -> Op {
        let ops = (0..chance.random_range(2..4)).map(|_| match chance.random_range(0..8) {
            0 => Op::create(shared(chance), self.next_value()),
            1 => self.delete(chance),
            2 => {
                let path = shared(chance);
                Op::Check { version: self.version(&path, chance), path }
            }
            3 => Op::make("/seq/m-", self.next_value(), CreateMode::PersistentSequential),
            _ => self.set(chance),
        });
        Op::Multi(ops.collect())
    }

    /// The next step of the recipe: queue up, and when it is first, write under the lock, and leave it.
    fn lock_step(&mut self) -> Op {
        let Some(place) = self.knows.place.clone() else {
            let mode = CreateMode::EphemeralSequential;
            return Op::make(format!("{QUEUE}/n-"), "", mode);
        };
        if !self.knows.is_first {
            return Op::Sync;
        }
        if self.knows.next_value.is_multiple_of(3) {
            (self.knows.place, self.knows.is_first) = (None, false);
            return Op::Delete { path: place, version: ANY };
        }
        let value = self.next_value();
        Op::Multi(vec![Op::Check { path: place, version: ANY }, Op::set(GUARDED, value)])
    }

    /// What it reads next.
    fn next_read(&mut self, chance: &mut StdRng) -> Read {
        let watch = chance.random_bool(0.7);
        if self.synced.is_some() && !chance.next_u32().is_multiple_of(4) {
            return Read::Data { path: shared(chance), watch };
        }
        if self.knows.place.is_some() && !self.knows.is_first && chance.random_bool(0.5) {
            return Read::Children { path: QUEUE.into(), watch };
        }
        match chance.random_range(0..24) {
            0..3 => Read::Data { path: shared(chance), watch },
            3..5 => Read::Exists { path: shared(chance), watch },
            5 => Read::Children { path: "/eph".into(), watch },
            6 => Read::Exists { path: one_of(&WANTED, chance), watch },
            7 => Read::Children { path: "/seq".into(), watch },
            8 => Read::Data { path: GUARDED.into(), watch },
            9 => Read::Exists { path: limited(chance), watch },
            10 => Read::Children { path: limited(chance), watch },
            11..13 => {
                Read::AddWatch { path: one_of(&WATCHED, chance), is_recursive: chance.random_bool(0.5) }
            }
            13..15 => self.ask_about_watches(chance),
            15 => Read::Many((0..chance.random_range(1..4)).map(|_| part(chance)).collect()),
            16 => match chance.random_bool(0.5) {
                true => Read::Descendants { path: one_of(&WATCHED, chance) },
                false => {
                    let prefix = ["/eph", "/lock/n-", "/k"].choose(chance).map(|prefix| prefix.to_string());
                    Read::Ephemerals { prefix: prefix.filter(|_| chance.random_bool(0.5)) }
                }
            },
            17..19 => keeper::list(chance, watch),
            19 => Read::Data { path: keeper::own(chance), watch },
            20 => Read::Exists { path: quotas::counted(chance), watch },
            21 => Read::Data { path: quotas::figures(chance), watch },
            22 => Read::Many(vec![Part::Data(quotas::figures(chance)), Part::Children("/q0".to_string())]),
            _ => Read::Children { path: QUEUE.into(), watch },
        }
    }

    /// Looks for watches or takes them away, mostly some that are there.
    fn ask_about_watches(&self, chance: &mut StdRng) -> Read {
        use WatcherType::*;
        let set: Vec<_> = self.watches.all().collect();
        let (path, which) = match set.choose(chance).filter(|_| chance.random_bool(0.8)) {
            Some((watching, path)) => (path.to_string(), watching.which()),
            None => {
                let all = [Data, Children, Persistent, PersistentRecursive];
                (one_of(&WATCHED, chance), *all.choose(chance).expect("there are some"))
            }
        };
        let which = if chance.random_bool(0.2) { Any } else { which };
        match chance.random_bool(0.5) {
            true => Read::CheckWatches { path, which },
            false => Read::RemoveWatches { path, which },
        }
    }

    /// What it makes of an answer.
    pub fn learn(&mut self, op: &Op, result: &Result<Response, ErrorCode>) {
        if let (Op::Multi(ops), Ok(Response::Multi(results))) = (op, result) {
            if is_refused(result) {
                // Perhaps because the place in the queue is lost: it looks there first.
                self.knows.is_first = false;
                return;
            }
            return ops.iter().zip(results).for_each(|(op, result)| self.learn_part(op, result));
        }
        let part = match result {
            Ok(Response::Create { path }) => MultiResult::Create { path: path.clone() },
            Ok(Response::Create2 { path, stat }) => MultiResult::Create2 { path: path.clone(), stat: *stat },
            Ok(Response::Stat(stat)) => MultiResult::SetData(*stat),
            Ok(_) => MultiResult::Delete,
            Err(code) => MultiResult::Error(*code),
        };
        self.learn_part(op, &part);
    }

    fn learn_part(&mut self, op: &Op, result: &MultiResult) {
        match (op, result) {
            (
                Op::Create { path, .. },
                MultiResult::Create2 { .. } | MultiResult::Error(ErrorCode::NodeExists),
            ) if READY.get(self.knows.ready).is_some_and(|next| next == path) => {
                self.knows.ready += 1;
            }
            (Op::Create { mode: CreateMode::EphemeralSequential, .. }, MultiResult::Create { path }) => {
                self.knows.place.get_or_insert(path.clone());
            }
            (Op::Create { .. }, MultiResult::Create { path }) => self.knows.numbered.push(path.clone()),
            (Op::Create { mode: CreateMode::Ephemeral, .. }, MultiResult::Create2 { path, .. }) => {
                self.knows.ephemerals.insert(path.clone());
            }
            (
                Op::Create { path, .. } | Op::Set { path, .. },
                MultiResult::Create2 { stat, .. } | MultiResult::SetData(stat),
            ) => {
                self.knows.versions.insert(path.clone(), stat.version);
                self.knows.stats.insert(path.clone(), *stat);
            }
            (Op::Delete { path, .. }, MultiResult::Delete) => {
                self.knows.ephemerals.remove(path);
                self.knows.versions.remove(path);
            }
            _ => {}
        }
    }

    /// What it makes of something that it read.
    pub fn learn_read(&mut self, read: &Read, result: &Result<Response, ErrorCode>) {
        match (read, result) {
            (Read::Data { path, .. }, Ok(Response::Data { stat, .. }))
            | (Read::Exists { path, .. }, Ok(Response::Stat(stat))) => {
                self.knows.versions.insert(path.clone(), stat.version);
                self.knows.stats.insert(path.clone(), *stat);
            }
            (Read::Children { path, .. }, Ok(Response::Children { children, .. })) if path == QUEUE => {
                let place = self.knows.place.as_deref().and_then(|path| path.rsplit('/').next());
                match place {
                    Some(place) if children.iter().any(|name| name == place) => {
                        self.knows.is_first = children.iter().all(|name| place <= name.as_str());
                    }
                    _ => (self.knows.place, self.knows.is_first) = (None, false),
                }
            }
            _ => {}
        }
    }
}
