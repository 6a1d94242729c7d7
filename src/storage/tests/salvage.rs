//! What is left of damaged data is always a beginning of what was there, and nothing is changed by looking.

use super::harness::{Model, Pair, Step, open};
use crate::ids::{Version, Zxid};
use crate::storage::testing::{SimWorld, Survivors};
use crate::storage::{Disk, DiskFile, Left, Storage, decode_segment, open_left, what_is_left, write_backup};

fn append(lengths: &[u16]) -> Step {
    Step::Append { lengths: lengths.to_vec(), new_epoch: false }
}

/// Disks with a snapshot of the first nine of 21 transactions, in a log of three segments.
fn world() -> (SimWorld, Model) {
    let world = SimWorld::default();
    let mut pair = Pair::new(&world);
    pair.run(&Step::Epoch).unwrap();
    for step in [append(&[500; 9]), Step::Snapshot, append(&[500; 12]), Step::MarkEnd] {
        pair.run(&step).unwrap();
    }
    (world, pair.model)
}

/// Everything that can be shown, as a model.
fn salvage(world: &SimWorld) -> (Left, Model) {
    let disks = world.disks();
    let mut model = Model::default();
    let left = what_is_left(&disks, &mut |_| {}).unwrap();
    if let Some(reader) = open_left(&disks, &left).unwrap() {
        assert_eq!(reader.zxid(), left.floor);
        reader.for_each(|block| model.load(&block.unwrap()));
    }
    assert_eq!(model.last(), left.floor);
    let again = what_is_left(&disks, &mut |proposal| {
        assert!(proposal.zxid.may_follow(model.last()));
        model.history.push(proposal);
    });
    assert_eq!(again.unwrap(), left);
    assert_eq!(model.last(), left.through);
    (left, model)
}

fn files(world: &SimWorld) -> Vec<(String, Option<Vec<u8>>)> {
    let of = |folder: &'static str| {
        let names = world.disk(folder).list().unwrap();
        names.into_iter().map(move |name| (name.clone(), world.contents(folder, &name)))
    };
    of("data").chain(of("log")).collect()
}

#[test]
fn of_whole_data_everything_is_left() {
    let (world, model) = world();
    let (left, found) = salvage(&world);
    assert_eq!((found.history, left.transactions, left.damage), (model.history, 12, vec![]));
}

#[test]
fn whatever_byte_is_flipped_a_beginning_is_left_and_the_place_is_told() {
    let (world, model) = world();
    let names = |folder| world.disk(folder).list().unwrap().into_iter().map(move |name| (folder, name));
    let all: Vec<_> = names("log").chain(names("data")).filter(|(_, name)| name != "epoch").collect();
    assert!(all.len() > 3, "{all:?}");
    for (folder, name) in &all {
        let length = world.contents(folder, name).unwrap().len() as u64;
        for offset in (0..length).step_by(61) {
            let image = world.crash(Survivors::Everything);
            image.flip(folder, name, offset, 0x20);
            let before = files(&image);
            let (left, found) = salvage(&image);
            assert!(model.history.starts_with(&found.history), "{name}, byte {offset}");
            assert_eq!(files(&image), before);
            let is_short = found.history.len() < model.history.len();
            assert!(
                !is_short || left.damage.iter().any(|line| line.contains(name.as_str())),
                "{name}, {offset}"
            );
        }
    }
}

#[test]
fn what_follows_a_missing_or_unreadable_segment_is_out_of_reach() {
    let (world, model) = world();
    let mut segments = world.disk("log").list().unwrap();
    segments.sort();
    let expected = |through: Zxid| model.history.iter().take_while(|it| it.zxid <= through).count();
    let image = world.crash(Survivors::Everything);
    image.disk("log").remove(&segments[1]).unwrap();
    let (left, found) = salvage(&image);
    assert_eq!(found.history.len(), expected(left.through));
    assert!(left.through < model.last() && left.damage[0].contains(&segments[2]), "{left:?}");
    let image = world.crash(Survivors::Everything);
    image.fail_reads("log", &segments[2], 5);
    let (left, _) = salvage(&image);
    assert!(left.through < model.last() && left.damage[0].contains("cannot read"), "{left:?}");
    // Without a snapshot the log is shown from its beginning; without that, nothing can be.
    let image = world.crash(Survivors::Everything);
    let snapshot = format!("snapshot.{:x}", (1_u64 << 32) + 9);
    image.disk("data").remove(&snapshot).unwrap();
    assert_eq!(salvage(&image).1.history, model.history);
    image.disk("log").remove(&segments[0]).unwrap();
    let (left, _) = salvage(&image);
    assert_eq!((left.through, left.snapshot), (Zxid::ZERO, None));
    assert!(left.damage[0].contains("begins behind"), "{:?}", left.damage);
}

#[test]
fn what_a_log_lost_at_its_end_is_told_and_the_rest_can_be_started_from() {
    let (world, model) = world();
    let mut pair = Pair::resume(&world);
    pair.run(&Step::Epoch).unwrap();
    let newest = world.disk("log").list().unwrap().into_iter().filter(|name| name.starts_with("log.")).max();
    let newest = newest.unwrap();
    let (_, records) = decode_segment(&world.contents("log", &newest).unwrap()).unwrap();
    world.erase("log", &newest, records.last().unwrap().offset);
    let (left, found) = salvage(&world);
    assert_eq!(found.history, model.history[..model.history.len() - 1]);
    assert!(left.damage.len() == 1 && left.damage[0].contains(&model.last().to_string()), "{left:?}");
    assert!(open(&world).is_err());
    let new = SimWorld::default();
    let digest = found.history.len() as u64;
    write_backup(&new.disk("data"), left.through, digest, Version::OLDEST, found.blocks().into_iter())
        .unwrap();
    let mut pair = Pair::resume(&new);
    assert_eq!(pair.model.history, found.history);
    for step in [Step::Epoch, append(&[9]), Step::Reopen] {
        pair.run(&step).unwrap();
    }
}

#[test]
fn a_backup_of_what_is_left_can_be_started_from() {
    let (_, model) = world();
    let new = SimWorld::default();
    let (zxid, digest) = (model.last(), model.history.len() as u64);
    let name =
        write_backup(&new.disk("data"), zxid, digest, Version::OLDEST, model.blocks().into_iter()).unwrap();
    assert_eq!(name, format!("snapshot.{:x}", zxid.0));
    let (_, _, found) = open(&new.crash(Survivors::Nothing)).unwrap();
    assert_eq!(found.history, model.history);
}

#[test]
fn data_of_apache_zookeeper_is_warned_of() {
    let world = SimWorld::default();
    world.disk("data").create("version-2").unwrap().sync_data().unwrap();
    let (_, found) = Storage::open(world.disks(), super::harness::OPTIONS).unwrap();
    assert!(found.notes[0].got_by && found.notes[0].text.contains("Apache ZooKeeper"), "{:?}", found.notes);
}
