//! A write or a sync that fails ends the process. The next one sees what the kernel still has in memory, and must not
//! trust it.

use super::harness::{Model, Pair, Step, open, random_step};
use crate::storage::StorageError;
use crate::storage::testing::{Chance, SimWorld, Survivors};

#[test]
fn after_a_failure_nothing_is_tried_again() {
    let world = SimWorld::default();
    let mut pair = Pair::new(&world);
    pair.run(&Step::Epoch).unwrap();
    world.fail_after(1);
    let append = Step::Append { lengths: vec![10], new_epoch: false };
    assert!(matches!(pair.run(&append), Err(StorageError::Io { .. })));
    assert!(matches!(pair.storage.sync(), Err(StorageError::Poisoned)));
    assert!(matches!(pair.storage.mark_end(), Err(StorageError::Poisoned)));
    assert!(matches!(pair.storage.truncate(crate::ids::Zxid::ZERO), Err(StorageError::Poisoned)));
}

/// Fails the operation with this number, starts again without and then with a loss of power, and compares.
fn fail_at(seed: u64, count: u64) -> bool {
    let mut chance = Chance(seed);
    let world = SimWorld::default();
    let mut pair = Pair::new(&world);
    pair.run(&Step::Epoch).unwrap();
    world.fail_after(count);
    let mut before = pair.model.clone();
    for _ in 0..12 {
        let step = random_step(&mut chance);
        if pair.run(&step).is_err() {
            break;
        }
        before = pair.model.clone();
    }
    if world.failure_is_due() {
        return false;
    }
    // The process is started again on the running machine: it sees what it wrote last, synced or not.
    let (_, _, seen) = open(&world).unwrap_or_else(|error| panic!("seed {seed}, failure {count}: {error}"));
    let kept = common(&seen, &before);
    assert!(
        kept == before.history.len() || kept == seen.history.len() || seen.last() > before.last(),
        "seed {seed}, failure {count}: {seen:?} after {before:?}"
    );
    // From now on it counts, so a loss of power takes nothing of it.
    let (_, _, again) = open(&world.crash(Survivors::Nothing)).unwrap();
    assert_eq!(seen, again, "seed {seed}, failure {count}");
    true
}

fn common(a: &Model, b: &Model) -> usize {
    a.history.iter().zip(&b.history).take_while(|(a, b)| a == b).count()
}

#[test]
fn what_a_start_sees_after_a_failed_sync_is_made_durable_before_it_counts() {
    for seed in 0..12 {
        let failures = (0..400).take_while(|count| fail_at(seed, *count)).count();
        assert!(failures > 10, "seed {seed} had only {failures} operations to fail");
    }
}

#[test]
fn an_installation_whose_sync_failed_is_not_completed_on_names_that_may_vanish() {
    for count in 0.. {
        let world = SimWorld::default();
        let mut pair = Pair::new(&world);
        let append = Step::Append { lengths: vec![10; 5], new_epoch: false };
        for step in [Step::Epoch, append.clone(), Step::Install { keep: 4, add: 1 }, append] {
            pair.run(&step).unwrap();
        }
        let before = pair.model.clone();
        world.fail_after(count);
        if pair.run(&Step::Install { keep: 3, add: 0 }).is_ok() {
            assert!(count > 10, "an installation has only {count} operations");
            return;
        }
        world.record();
        let (_, _, seen) = open(&world).unwrap();
        for (number, point) in world.take_points().iter().enumerate() {
            let what = format!("failure {count}, point {number}");
            let found = open(&point.crash(Survivors::Nothing));
            let (_, _, found) = found.unwrap_or_else(|error| panic!("{what}: {error}"));
            assert!(found == before || found == seen, "{what}: found {found:?}");
        }
    }
}
