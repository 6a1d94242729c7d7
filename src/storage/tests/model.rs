//! Whatever is done, in whatever order: storage holds what a plain list would.

use proptest::prelude::*;

use super::harness::{OPTIONS, Pair, Step, open};
use crate::ids::{Version, Zxid};
use crate::storage::testing::{SimWorld, Survivors};
use crate::storage::{Disk, SEGMENT_HEADER_BYTES};

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (prop::collection::vec(0_u16..900, 1..7), prop::bool::weighted(0.15))
            .prop_map(|(lengths, new_epoch)| Step::Append { lengths, new_epoch }),
        2 => any::<u16>().prop_map(|keep| Step::Truncate { keep }),
        2 => Just(Step::Snapshot),
        1 => (any::<u16>(), any::<u8>()).prop_map(|(keep, add)| Step::Install { keep, add }),
        1 => Just(Step::Epoch),
        1 => Just(Step::InstallBroken),
        2 => Just(Step::Purge),
        1 => Just(Step::MarkEnd),
        1 => Just(Step::PrepareSpare),
        3 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn storage_holds_what_a_list_would(steps in prop::collection::vec(step(), 1..40)) {
        let world = SimWorld::default();
        let mut pair = Pair::new(&world);
        pair.run(&Step::Epoch).unwrap();
        for step in &steps {
            pair.run(step).unwrap();
        }
        pair.run(&Step::Reopen).unwrap();
    }
}

#[test]
fn a_record_bigger_than_a_segment_gets_one_of_its_own() {
    let world = SimWorld::default();
    let mut pair = Pair::new(&world);
    let append = |lengths: &[u16]| Step::Append { lengths: lengths.to_vec(), new_epoch: false };
    for step in
        [Step::Epoch, append(&[10]), append(&[10, 30_000, 10]), append(&[20_000]), Step::Reopen, append(&[1])]
    {
        pair.run(&step).unwrap();
    }
    pair.run(&Step::Reopen).unwrap();
}

#[test]
fn purging_keeps_three_snapshots_and_the_log_that_the_oldest_needs() {
    let world = SimWorld::default();
    let mut pair = Pair::new(&world);
    pair.run(&Step::Epoch).unwrap();
    for _ in 0..6 {
        pair.run(&Step::Append { lengths: vec![700; 10], new_epoch: false }).unwrap();
        pair.run(&Step::Snapshot).unwrap();
        pair.run(&Step::Purge).unwrap();
    }
    let (mut snapshots, mut segments) = (0, 0);
    for disk in [world.disks().data, world.disks().log] {
        for name in disk.list().unwrap() {
            snapshots += usize::from(name.starts_with("snapshot."));
            segments += usize::from(name.starts_with("log."));
        }
    }
    assert_eq!(snapshots, 3);
    assert_eq!(segments, 4, "a segment holds five records, and those of the last two steps are needed");
    pair.run(&Step::Reopen).unwrap();
}

#[test]
fn a_snapshot_that_an_installation_overtakes_is_thrown_away() {
    let world = SimWorld::default();
    let mut pair = Pair::new(&world);
    pair.run(&Step::Epoch).unwrap();
    pair.run(&Step::Append { lengths: vec![10; 10], new_epoch: false }).unwrap();
    let mut writer = pair.storage.snapshots().begin(pair.model.last(), 10, Version::OLDEST).unwrap();
    for block in pair.model.blocks() {
        writer.block(&block).unwrap();
    }
    pair.run(&Step::Install { keep: 3, add: 0 }).unwrap();
    assert!(!writer.finish().unwrap());
    pair.run(&Step::Reopen).unwrap();
}

/// The spares that lie ready, by their names.
fn spares(world: &SimWorld) -> Vec<String> {
    let mut names = world.disks().log.list().unwrap();
    names.retain(|name| name.starts_with("spare."));
    names
}

#[test]
fn large_groups_are_not_worth_a_filled_segment() {
    let world = SimWorld::default();
    let mut pair = Pair::new(&world);
    pair.run(&Step::Epoch).unwrap();
    pair.run(&Step::PrepareSpare).unwrap();
    assert_eq!(spares(&world).len(), 1);
    // One group of 5 segments: the spare is used up, and every full segment had one large group at most.
    pair.run(&Step::Append { lengths: vec![50_000; 5], new_epoch: false }).unwrap();
    pair.run(&Step::PrepareSpare).unwrap();
    assert!(spares(&world).is_empty());
    // Small groups again: it pays again.
    for _ in 0..200 {
        pair.run(&Step::Append { lengths: vec![200], new_epoch: false }).unwrap();
    }
    pair.run(&Step::PrepareSpare).unwrap();
    assert_eq!(spares(&world).len(), 1);
}

#[test]
fn a_segment_that_grew_to_its_full_length_is_used_again() {
    let world = SimWorld::default();
    let mut pair = Pair::new(&world);
    pair.run(&Step::Epoch).unwrap();
    for _ in 0..8 {
        for _ in 0..3 {
            pair.run(&Step::Append { lengths: vec![3000], new_epoch: false }).unwrap();
        }
        pair.run(&Step::Snapshot).unwrap();
        pair.run(&Step::Purge).unwrap();
    }
    assert_eq!(spares(&world).len(), OPTIONS.spare_segments_max);
    pair.run(&Step::Reopen).unwrap();
}

#[test]
fn what_the_log_holds_before_the_snapshot_is_at_hand_as_far_as_it_verifies() {
    let world = SimWorld::default();
    let mut pair = Pair::new(&world);
    pair.run(&Step::Epoch).unwrap();
    for new_epoch in [false, true, false] {
        pair.run(&Step::Append { lengths: vec![700; 10], new_epoch }).unwrap();
    }
    pair.run(&Step::Snapshot).unwrap();
    pair.run(&Step::MarkEnd).unwrap();
    let image = world.crash(Survivors::Everything);
    let (storage, recovered, model) = open(&image).unwrap();
    assert_eq!(recovered.floor, model.last());
    let tail = storage.tail(usize::MAX);
    assert_eq!((tail.before, Vec::from(tail.proposals)), (Zxid::ZERO, model.history));
    let oldest = image.disk("log").list().unwrap().into_iter().min().unwrap();
    image.flip("log", &oldest, SEGMENT_HEADER_BYTES + 100, 1);
    let (storage, _, model) = open(&image).unwrap();
    let tail = storage.tail(usize::MAX);
    assert!(tail.fault.is_some(), "the damage is told");
    assert_eq!(model.history.len() - tail.proposals.len(), 5, "a segment holds five records");
}
