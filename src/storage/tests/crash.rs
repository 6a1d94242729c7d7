//! The power may fail at any sync, and leave any part of what was not synced: whatever was acknowledged is there
//! afterwards, and nothing else.

use super::harness::{Model, Pair, Step, open, random_step};
use crate::ids::Version;
use crate::storage::testing::{Chance, CrashPoint, SimWorld, Survivors};
use crate::storage::{Disk, SnapshotEncoder, decode_segment};
use crate::zab::Proposal;

/// True if `found` is a state that a crash in this step may leave.
fn is_allowed(step: &Step, before: &Model, after: &Model, found: &Model) -> bool {
    let begins_with = |whole: &[Proposal], part: &[Proposal]| whole.starts_with(part);
    let history = match step {
        Step::Append { .. } => {
            begins_with(&found.history, &before.history) && begins_with(&after.history, &found.history)
        }
        Step::Truncate { .. } => {
            begins_with(&found.history, &after.history) && begins_with(&before.history, &found.history)
        }
        _ => found.history == before.history || found.history == after.history,
    };
    history && (found.epoch == before.epoch || found.epoch == after.epoch)
}

fn ways(point: &CrashPoint, chance: &mut Chance) -> Vec<Survivors> {
    let mut ways = vec![Survivors::Nothing, Survivors::Everything];
    ways.extend((1..point.pending()).map(Survivors::First).take(6));
    ways.extend((0..6).map(|_| Survivors::Sectors(chance.draw())));
    ways
}

/// Opens the image; then goes on with it, and with what a crash in the middle of that leaves.
fn check_image(image: &SimWorld, chance: &mut Chance, allowed: &dyn Fn(&Model) -> bool, what: &str) {
    image.record();
    let (storage, _, found) = open(image).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(allowed(&found), "{what}: found {found:?}");
    for point in image.take_points() {
        for survivors in [Survivors::Nothing, Survivors::Everything, Survivors::Sectors(chance.draw())] {
            let (_, _, again) =
                open(&point.crash(survivors)).unwrap_or_else(|error| panic!("{what}, twice: {error}"));
            assert!(allowed(&again), "{what}: found {again:?} after a second crash");
        }
    }
    assert_unbroken(image, what);
    // What a start has seen is there to stay.
    let (_, _, again) = open(&image.crash(Survivors::Nothing)).unwrap();
    assert_eq!(found, again, "{what}");
    drop(storage);
    if found.epoch.is_some() {
        let mut pair = Pair::resume(image);
        pair.run(&Step::Append { lengths: vec![5, 300, 20], new_epoch: true }).unwrap();
        pair.run(&Step::Reopen).unwrap();
    }
}

/// Every segment that is left continues the one before, those that nobody reads any more included.
fn assert_unbroken(image: &SimWorld, what: &str) {
    let names = image.disk("log").list().unwrap();
    let mut segments: Vec<_> = names
        .iter()
        .filter(|name| name.starts_with("log."))
        .map(|name| decode_segment(&image.contents("log", name).unwrap()).unwrap().0)
        .collect();
    segments.sort_by_key(|segment| segment.header.id);
    for pair in segments.windows(2) {
        assert_eq!((pair[1].header.previous, pair[1].header.chain), (pair[0].last, pair[0].crc), "{what}");
    }
}

/// Runs a script and checks every image of every crash point.
fn check_script(steps: &[Step], seed: u64) {
    let mut chance = Chance(seed);
    let world = SimWorld::default();
    world.record();
    let mut models = vec![Model::default(), Model::default()];
    let mut pair = Pair::new(&world);
    for (index, step) in steps.iter().enumerate() {
        world.set_mark(index as u64 + 1);
        pair.run(step).unwrap();
        models.push(pair.model.clone());
    }
    for (number, point) in world.take_points().iter().enumerate() {
        let mark = point.mark as usize;
        let step = if mark == 0 { &Step::Reopen } else { &steps[mark - 1] };
        let (before, after) = (&models[mark], &models[mark + 1]);
        for survivors in ways(point, &mut chance) {
            let what = format!("seed {seed}, step {mark} {step:?}, point {number}, {survivors:?}");
            let image = point.crash(survivors);
            check_image(&image, &mut chance, &|found| is_allowed(step, before, after, found), &what);
        }
    }
}

fn append(lengths: &[u16]) -> Step {
    Step::Append { lengths: lengths.to_vec(), new_epoch: false }
}

#[test]
fn a_crash_while_appending_loses_nothing_that_was_acknowledged() {
    let long = append(&[600, 700, 100, 800, 900, 50]);
    check_script(
        &[Step::Epoch, append(&[10]), append(&[500, 600]), long.clone(), Step::Reopen, long, append(&[1])],
        1,
    );
}

#[test]
fn a_crash_while_segments_are_recycled_loses_nothing() {
    let fill = append(&[700; 6]);
    let mut steps = vec![Step::Epoch, Step::PrepareSpare];
    for _ in 0..4 {
        steps.extend([fill.clone(), Step::Snapshot, Step::Purge]);
    }
    check_script(&steps, 2);
}

#[test]
fn a_crash_while_many_segments_are_purged_leaves_no_hole() {
    let mut steps = vec![Step::Epoch, append(&[900; 30])];
    steps.extend([
        append(&[1]),
        Step::Snapshot,
        append(&[1]),
        Step::Snapshot,
        append(&[1]),
        Step::Snapshot,
        Step::Purge,
    ]);
    check_script(&steps, 8);
}

#[test]
fn a_crash_while_the_log_is_cut_leaves_it_as_it_was_or_as_it_shall_be_or_between() {
    let fill = append(&[300; 45]);
    let steps = [
        Step::Epoch,
        fill.clone(),
        Step::Epoch,
        Step::Truncate { keep: 15 },
        append(&[200; 4]),
        Step::Epoch,
        Step::Truncate { keep: 3 },
    ];
    check_script(&[&steps[..], &[Step::MarkEnd, Step::Truncate { keep: 0 }, fill, Step::Reopen]].concat(), 3);
}

#[test]
fn a_crash_while_a_log_with_snapshots_is_cut_never_leaves_a_snapshot_ahead_of_the_log() {
    let steps = [append(&[300; 4]), Step::Snapshot, append(&[300; 9]), Step::Snapshot, Step::Epoch];
    let steps = [&[Step::Epoch], &steps[..]].concat();
    check_script(&[&steps[..], &[append(&[9]), Step::Truncate { keep: 6 }, append(&[9, 9])]].concat(), 4);
}

#[test]
fn a_crash_while_a_snapshot_is_written_harms_nothing() {
    check_script(
        &[Step::Epoch, append(&[400; 8]), Step::Snapshot, append(&[10]), Step::Snapshot, Step::Purge],
        5,
    );
}

#[test]
fn a_crash_while_a_snapshot_is_installed_leaves_the_old_state_or_the_new_one() {
    let install = Step::Install { keep: 7, add: 2 };
    let steps =
        [Step::Epoch, append(&[300; 20]), Step::Snapshot, append(&[300; 5]), install, append(&[50; 3])];
    check_script(
        &[&steps[..], &[Step::Install { keep: 0, add: 1 }, Step::InstallBroken, append(&[3])]].concat(),
        6,
    );
}

#[test]
fn a_crash_while_an_older_snapshot_is_installed_leaves_the_old_state_or_that_one() {
    let world = SimWorld::default();
    let mut pair = Pair::new(&world);
    for step in [Step::Epoch, append(&[300; 20]), Step::Epoch] {
        pair.run(&step).unwrap();
    }
    let before = pair.model.clone();
    let after = Model { history: before.history[..9].to_vec(), ..before.clone() };
    let encoder = SnapshotEncoder::new(after.last(), 9, Version::OLDEST, after.blocks().into_iter()).unwrap();
    for (index, chunk) in encoder.enumerate() {
        pair.storage.receive_snapshot(chunk.unwrap(), index == 0).unwrap();
    }
    world.record();
    assert!(pair.storage.install_snapshot(after.last()).unwrap());
    let mut chance = Chance(9);
    let allowed = |found: &Model| *found == before || *found == after;
    for (number, point) in world.take_points().iter().enumerate() {
        for survivors in ways(point, &mut chance) {
            let what = format!("point {number}, {survivors:?}");
            check_image(&point.crash(survivors), &mut chance, &allowed, &what);
        }
    }
    let (_, _, found) = open(&world).unwrap();
    assert_eq!(found, after);
}

#[test]
fn a_crash_while_the_epoch_file_is_replaced_leaves_the_old_or_the_new_promise() {
    check_script(&[Step::Epoch, Step::Epoch, append(&[3]), Step::Epoch, Step::Reopen, Step::Epoch], 7);
}

#[test]
fn a_crash_anywhere_in_a_random_script_leaves_a_state_between_two_steps() {
    for seed in 100..106 {
        let mut chance = Chance(seed);
        let mut steps = vec![Step::Epoch];
        steps.extend((0..14).map(|_| random_step(&mut chance)));
        check_script(&steps, seed);
    }
}
