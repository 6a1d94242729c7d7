//! What clients ask of who the servers are to be, by chance.

use std::collections::BTreeSet;

use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use zabra::ids::ServerId;
use zabra::zab::Member;

use super::configs::{Change, Members, Quorums};
use super::ensemble::Ensemble;

/// Of a hundred requests so many ask for other servers.
const PERCENT: u32 = 5;

/// What the next request asks for, if it is about the servers.
pub fn next(ensemble: &Ensemble, chance: &mut StdRng) -> Option<Change> {
    if !ensemble.asks_for_servers || chance.random_range(0..100) >= PERCENT {
        return None;
    }
    let members = ensemble.judge.configs.newest().1;
    let all: Vec<ServerId> = ensemble.ids().collect();
    let (inside, outside): (Vec<ServerId>, Vec<ServerId>) =
        all.iter().copied().partition(|id| members.contains_key(id));
    let one_of = |ids: &[ServerId], chance: &mut StdRng| ids.choose(chance).copied();
    let leader = ensemble.leader().filter(|_| chance.random_bool(0.3));
    let leaves = leader.or_else(|| one_of(&inside, chance)).filter(|id| members.contains_key(id));
    let joins = one_of(&outside, chance);
    let role = if chance.random_bool(0.8) { Member::EQUAL } else { Member::Observer };
    let joining = |id: Option<ServerId>| id.map(|id| (id, role)).into_iter().collect::<Members>();
    let mut change = Change::default();
    match chance.random_range(0..10) {
        0..3 => change.joining = joining(joins),
        3..5 => change.leaving.extend(leaves),
        5..7 => {
            change.joining = joining(joins);
            change.leaving.extend(leaves);
        }
        7 => change.joining = joining(one_of(&inside, chance)),
        8 => {
            // All others go, or nearly all.
            let stay: BTreeSet<ServerId> = all.sample(chance, 2).copied().collect();
            change.all = Some(stay.into_iter().map(|id| (id, Member::EQUAL)).collect());
        }
        _ => {
            let stays = |_: &&ServerId| chance.random_bool(0.7);
            let stay: Vec<ServerId> = all.iter().filter(stays).copied().collect();
            let role = |id| (id, if chance.random_bool(0.9) { Member::EQUAL } else { Member::Observer });
            change.all = Some(stay.into_iter().map(role).collect());
        }
    }
    // Who lost a disk a moment ago still looks as if it were at hand, and a new one could need it.
    let is_whole = |id: &ServerId| {
        let disk = &ensemble.servers[id].disk;
        disk.epoch.may_vote && !disk.damaged
    };
    let needed = Quorums(vec![members.clone(), change.applied_to(members)]).voters();
    needed.iter().all(is_whole).then_some(change)
}
