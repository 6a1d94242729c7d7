//! Whether one znode behaved like a register in one place, without trusting any zxid: there must be an order of the
//! writes and the reads behind `sync` that fits what every client was told, and in which nothing comes behind what was
//! asked for only after it was answered. The search is that of Wing and Gong with Lowe's memory of what was tried.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use zabra::jute::{CreateMode, ErrorCode, MultiResult, Response};

use crate::history::{Entry, History, Moment, Outcome, Seen};
use crate::model::is_refused;
use crate::op::{ANY, Op};

pub const NAME: &str = "linearizability";

/// How many steps of the search there are for a znode at most.
const STEPS_MAX: usize = 40_000;

/// A znode: its version and its data, if it is there.
type Register = Option<(i32, Bytes)>;

/// What is done to it.
#[derive(Clone, Debug)]
enum Act {
    Create(Bytes),
    Delete(i32),
    Set(Bytes, i32),
    Check(i32),
    Read(Register),
}

/// What was told of it.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Told {
    Done,
    /// the version behind it
    Version(i32),
    Failed(ErrorCode),
    /// it may have failed, too
    Nothing,
}

/// Something that took effect at some moment between two, or never if nothing was told.
#[derive(Clone, Debug)]
struct Event {
    acts: Vec<(Act, Told)>,
    /// nothing of it is done
    is_refused: bool,
    invoked: Moment,
    returned: Option<Moment>,
}

/// What came of a search.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    Order,
    /// it took too long
    Nothing,
}

/// Looks at each of the znodes.
pub fn finish(history: &History, paths: &[String]) -> Result<Vec<Found>, String> {
    paths.iter().map(|path| one_znode(history, path).map_err(|why| format!("{path}: {why}"))).collect()
}

fn one_znode(history: &History, path: &str) -> Result<Found, String> {
    let written = history.entries.iter().filter_map(|entry| event_of(entry, path));
    let read = history.seen.iter().filter(|seen| seen.path == path).map(event_of_read);
    let mut events: Vec<Event> = written.chain(read).collect();
    events.sort_by_key(|event| (event.returned.unwrap_or(Moment::MAX), event.invoked));
    Search::new(events).run()
}

fn event_of_read(seen: &Seen) -> Event {
    let acts = vec![(Act::Read(seen.state.clone()), Told::Done)];
    Event { acts, is_refused: false, invoked: seen.invoked, returned: Some(seen.returned) }
}

/// What a request did to one znode. Of a multi this is a part; if all of it had an order, so has each part.
fn event_of(entry: &Entry, path: &str) -> Option<Event> {
    let (returned, result) = match &entry.outcome {
        Outcome::Told { returned, result, .. } => (Some(*returned), Some(result)),
        Outcome::Waiting | Outcome::Lost => (None, None),
    };
    let acts: Vec<(Act, Told)> = match (&entry.op, result) {
        (Op::Multi(ops), Some(Ok(Response::Multi(results)))) => {
            // What comes behind the operation that failed was not tried.
            let is_tried =
                |result: &&MultiResult| **result != MultiResult::Error(ErrorCode::RuntimeInconsistency);
            let tried = ops.iter().zip(results.iter().take_while(is_tried));
            let parts = tried.map(|(op, result)| (op, told_of_part(result)));
            parts.filter_map(|(op, told)| act_of(op, path).map(|act| (act, told))).collect()
        }
        (Op::Multi(ops), None) => {
            ops.iter().filter_map(|op| act_of(op, path)).map(|act| (act, Told::Nothing)).collect()
        }
        (Op::Multi(_), Some(_)) => return None,
        (single, result) => {
            let told = result.map_or(Told::Nothing, told_of);
            act_of(single, path).map(|act| (act, told)).into_iter().collect()
        }
    };
    let is_refused = matches!(result, Some(Err(_))) || result.is_some_and(is_refused);
    (!acts.is_empty()).then_some(Event { acts, is_refused, invoked: entry.invoked, returned })
}

fn told_of(result: &Result<Response, ErrorCode>) -> Told {
    match result {
        Ok(Response::Stat(stat)) => Told::Version(stat.version),
        Ok(_) => Told::Done,
        Err(code) => Told::Failed(*code),
    }
}

fn told_of_part(result: &MultiResult) -> Told {
    match result {
        MultiResult::SetData(stat) => Told::Version(stat.version),
        MultiResult::Error(ErrorCode::Ok) => Told::Done,
        MultiResult::Error(code) => Told::Failed(*code),
        _ => Told::Done,
    }
}

fn act_of(op: &Op, at: &str) -> Option<Act> {
    let bytes = |data: &str| Bytes::copy_from_slice(data.as_bytes());
    match op {
        Op::Create { path, data, mode: CreateMode::Persistent, .. } if path == at => {
            Some(Act::Create(bytes(data)))
        }
        Op::Delete { path, version } if path == at => Some(Act::Delete(*version)),
        Op::Set { path, data, version } if path == at => Some(Act::Set(bytes(data), *version)),
        Op::Check { path, version } if path == at => Some(Act::Check(*version)),
        _ => None,
    }
}

impl Event {
    /// The register behind it, if what was told fits.
    fn apply(&self, before: &Register) -> Option<Register> {
        let mut register = before.clone();
        for (act, told) in &self.acts {
            register = match told {
                Told::Failed(code) => may_fail(act, *code, &register).then_some(register)?,
                _ => apply(act, told, register)?,
            };
        }
        Some(if self.is_refused { before.clone() } else { register })
    }
}

/// Whether this may be refused for such a reason. What does not concern this znode alone is not looked at.
fn may_fail(act: &Act, code: ErrorCode, register: &Register) -> bool {
    match (code, act) {
        (ErrorCode::NodeExists, Act::Create(_)) => register.is_some(),
        (ErrorCode::NoNode, Act::Delete(_) | Act::Set(..) | Act::Check(_)) => register.is_none(),
        (ErrorCode::BadVersion, Act::Delete(version) | Act::Set(_, version) | Act::Check(version)) => {
            register.as_ref().is_some_and(|(known, _)| ![ANY, *known].contains(version))
        }
        _ => true,
    }
}

fn apply(act: &Act, told: &Told, register: Register) -> Option<Register> {
    let has = |version: i32| register.as_ref().is_some_and(|(known, _)| version == ANY || version == *known);
    let next = match act {
        Act::Create(data) => register.is_none().then(|| Some((0, data.clone())))?,
        Act::Delete(version) => has(*version).then_some(None)?,
        Act::Set(data, version) => {
            let (known, _) = register.as_ref().filter(|_| has(*version))?;
            Some((known + 1, data.clone()))
        }
        Act::Check(version) => has(*version).then(|| register.clone())?,
        Act::Read(seen) => (*seen == register).then(|| register.clone())?,
    };
    let fits = match told {
        Told::Version(version) => next.as_ref().is_some_and(|(made, _)| made == version),
        Told::Done | Told::Nothing | Told::Failed(_) => true,
    };
    fits.then_some(next)
}

/// A set of events.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
struct Set(Vec<u64>);

impl Set {
    fn has(&self, event: usize) -> bool {
        self.0[event / 64] >> (event % 64) & 1 == 1
    }

    fn flip(&mut self, event: usize) {
        self.0[event / 64] ^= 1 << (event % 64);
    }
}

struct Search {
    /// Those that returned first, in that order; those of which nothing is known behind them.
    events: Vec<Event>,
    done: Set,
    tried: BTreeMap<Register, BTreeSet<Set>>,
    steps: usize,
}

impl Search {
    fn new(events: Vec<Event>) -> Search {
        let done = Set(vec![0; events.len().div_ceil(64)]);
        Search { events, done, tried: BTreeMap::new(), steps: 0 }
    }

    /// Where the search stands: the event that was done, and the register before it.
    fn run(mut self) -> Result<Found, String> {
        let mut path: Vec<(usize, Register)> = Vec::new();
        let (mut register, mut from, mut furthest) = (None, 0, 0);
        loop {
            let Some(oldest) = self.oldest() else { return Ok(Found::Order) };
            furthest = furthest.max(oldest);
            self.steps += 1;
            if self.steps > STEPS_MAX {
                return Ok(Found::Nothing);
            }
            if let Some((event, next)) = self.next(oldest, from, &register) {
                path.push((event, std::mem::replace(&mut register, next)));
                from = 0;
            } else {
                let Some((event, before)) = path.pop() else {
                    return Err(format!("no order explains {:?}", self.events[furthest]));
                };
                self.done.flip(event);
                (register, from) = (before, event + 1);
            }
        }
    }

    /// The first that returned and is not done: none that was invoked later may come before it.
    fn oldest(&self) -> Option<usize> {
        let returned = self.events.iter().take_while(|event| event.returned.is_some()).count();
        (0..returned).find(|event| !self.done.has(*event))
    }

    /// Something that may come next, from `from` on, and the register behind it.
    fn next(&mut self, oldest: usize, from: usize, register: &Register) -> Option<(usize, Register)> {
        let border = self.events[oldest].returned.unwrap_or(Moment::MAX);
        for event in from.max(oldest)..self.events.len() {
            if self.done.has(event) || self.events[event].invoked > border {
                continue;
            }
            let Some(next) = self.events[event].apply(register) else { continue };
            self.done.flip(event);
            if self.tried.entry(next.clone()).or_default().insert(self.done.clone()) {
                return Some((event, next));
            }
            self.done.flip(event);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(acts: Vec<(Act, Told)>, invoked: Moment, returned: impl Into<Option<Moment>>) -> Event {
        let is_refused = acts.iter().any(|(_, told)| matches!(told, Told::Failed(_)));
        Event { acts, is_refused, invoked, returned: returned.into() }
    }

    fn created(invoked: Moment, returned: Moment) -> Event {
        event(vec![(Act::Create("x".into()), Told::Done)], invoked, returned)
    }

    fn set(data: &'static str, told: Told, invoked: Moment, returned: impl Into<Option<Moment>>) -> Event {
        event(vec![(Act::Set(data.into(), ANY), told)], invoked, returned)
    }

    fn read(version: i32, data: &'static str, invoked: Moment, returned: Moment) -> Event {
        event(vec![(Act::Read(Some((version, data.into()))), Told::Done)], invoked, returned)
    }

    fn search(mut events: Vec<Event>) -> Result<Found, String> {
        events.sort_by_key(|event| (event.returned.unwrap_or(Moment::MAX), event.invoked));
        Search::new(events).run()
    }

    #[test]
    fn what_overlaps_may_come_in_any_order() {
        let two = |told: [i32; 2]| {
            let [one, other] = told.map(Told::Version);
            search(vec![created(1, 2), set("y", one, 3, 6), set("z", other, 4, 5), read(2, "y", 7, 8)])
        };
        assert_eq!(two([2, 1]), Ok(Found::Order));
        two([1, 2]).expect_err("the later one would be read");
    }

    #[test]
    fn a_read_that_is_too_old_has_no_order() {
        let write = || vec![created(1, 2), set("y", Told::Version(1), 3, 4)];
        let with = |read: Event| search(write().into_iter().chain([read]).collect());
        assert_eq!(with(read(1, "y", 5, 6)), Ok(Found::Order));
        assert_eq!(with(read(0, "x", 3, 6)), Ok(Found::Order));
        with(read(0, "x", 5, 6)).expect_err("the write was answered before");
    }

    #[test]
    fn a_refusal_that_rests_on_the_past_has_no_order() {
        let refused = |act, code, invoked| event(vec![(act, Told::Failed(code))], invoked, invoked + 1);
        let behind_a_write =
            |refusal: Event| search(vec![created(1, 2), set("y", Told::Version(1), 3, 4), refusal]);
        let check = |version, code| behind_a_write(refused(Act::Check(version), code, 5));
        assert_eq!(check(0, ErrorCode::BadVersion), Ok(Found::Order));
        check(1, ErrorCode::BadVersion).expect_err("the version is right");
        check(1, ErrorCode::NoNode).expect_err("it is there");
        let create = || refused(Act::Create("z".into()), ErrorCode::NodeExists, 5);
        assert_eq!(behind_a_write(create()), Ok(Found::Order));
        search(vec![create()]).expect_err("it is not there");
    }

    #[test]
    fn a_refused_multi_does_nothing_but_what_comes_before_would_be_right() {
        let multi = |version| {
            let first = (Act::Set("y".into(), version), Told::Done);
            event(vec![first, (Act::Check(7), Told::Failed(ErrorCode::BadVersion))], 3, 4)
        };
        assert_eq!(search(vec![created(1, 2), multi(0), read(0, "x", 5, 6)]), Ok(Found::Order));
        search(vec![created(1, 2), multi(1), read(0, "x", 5, 6)]).expect_err("the set would fail first");
    }

    #[test]
    fn what_nobody_knows_of_may_have_happened_or_not_but_not_before_it_was_asked_for() {
        let lost = |invoked| set("y", Told::Nothing, invoked, None);
        assert_eq!(search(vec![created(1, 2), lost(3), read(0, "x", 4, 5)]), Ok(Found::Order));
        assert_eq!(search(vec![created(1, 2), lost(3), read(1, "y", 4, 5)]), Ok(Found::Order));
        search(vec![created(1, 2), lost(6), read(1, "y", 4, 5)]).expect_err("it was asked for later");
        let both = [read(1, "y", 4, 5), read(0, "x", 6, 7)];
        search([created(1, 2), lost(3)].into_iter().chain(both).collect()).expect_err("it came and went");
    }

    #[test]
    fn a_write_that_was_lost_is_found_by_the_versions_alone() {
        let versions = |second: i32| {
            search(vec![
                created(1, 2),
                set("y", Told::Version(1), 3, 4),
                set("z", Told::Version(second), 5, 6),
            ])
        };
        assert_eq!(versions(2), Ok(Found::Order));
        versions(1).expect_err("one of the two is lost");
    }
}
