//! What was durable and is not as it was is noticed, and named; never passed over.

use super::harness::{OPTIONS, Pair, Step, open};
use crate::ids::Zxid;
use crate::storage::segment::{SEGMENT_HEADER_BYTES, segment_name};
use crate::storage::table::Case;
use crate::storage::testing::{SimWorld, Survivors};
use crate::storage::{Disk, DiskFile, StorageError, decode_segment};

fn append(lengths: &[u16]) -> Step {
    Step::Append { lengths: lengths.to_vec(), new_epoch: false }
}

/// Disks after these steps, at rest.
fn world(steps: &[Step]) -> (SimWorld, Pair) {
    let world = SimWorld::default();
    let mut pair = Pair::new(&world);
    pair.run(&Step::Epoch).unwrap();
    for step in steps {
        pair.run(step).unwrap();
    }
    (world, pair)
}

fn refusal(world: &SimWorld) -> (Case, String) {
    match open(world) {
        Err(StorageError::Damage(damage)) => (damage.case, damage.to_string()),
        Err(other) => panic!("{other}"),
        Ok((_, recovered, _)) => panic!("it started: {:?} {:?}", recovered.case, recovered.notes),
    }
}

#[test]
fn every_flipped_byte_of_a_marked_log_is_refused() {
    let (world, pair) = world(&[append(&[20, 0, 9]), append(&[64; 3]), append(&[30]), Step::MarkEnd]);
    let log = world.contents("log", "log.1").unwrap();
    let end = log.iter().rposition(|byte| *byte != 0).unwrap() as u64;
    let mark = end - end % 8 + 8 - 56;
    for offset in (0..64).chain(SEGMENT_HEADER_BYTES..mark) {
        let image = world.crash(Survivors::Everything);
        image.flip("log", "log.1", offset, 0x10);
        let (case, message) = refusal(&image);
        assert_eq!(case, Case::LogDamaged, "byte {offset}: {message}");
        assert!(message.contains("log/log.1, byte"), "{message}");
    }
    for offset in mark..mark + 56 {
        let image = world.crash(Survivors::Everything);
        image.flip("log", "log.1", offset, 0x10);
        assert_eq!(open(&image).unwrap().2, pair.model, "byte {offset} of the mark");
    }
}

#[test]
fn a_flipped_byte_without_a_mark_costs_at_most_the_last_group_and_is_told() {
    let (world, pair) = world(&[append(&[20, 0, 9]), append(&[64; 3]), append(&[30, 10])]);
    let log = world.contents("log", "log.1").unwrap();
    let last_group = SEGMENT_HEADER_BYTES + (80 + 56 + 72) + 3 * 120;
    let end = last_group + 88 + 72;
    assert!(log.len() as u64 > end && log[end as usize..].iter().all(|byte| *byte == 0));
    for offset in SEGMENT_HEADER_BYTES..end {
        let image = world.crash(Survivors::Everything);
        image.flip("log", "log.1", offset, 0x01);
        if offset < last_group {
            assert_eq!(refusal(&image).0, Case::LogDamaged, "byte {offset}");
        } else {
            let (_, recovered, model) = open(&image).unwrap();
            assert_eq!(recovered.case, Case::TornTail);
            assert!(model.history.len() >= 6 && pair.model.history.starts_with(&model.history));
            assert!(
                recovered.notes[0].got_by && recovered.notes[0].text.contains("never finished"),
                "{:?}",
                recovered.notes
            );
        }
    }
}

#[test]
fn every_flipped_byte_of_an_older_segment_is_refused() {
    let (world, _) = world(&[append(&[900; 4]), append(&[900; 4]), append(&[5])]);
    let end = SEGMENT_HEADER_BYTES + 4 * 960;
    for offset in (0..64).chain((SEGMENT_HEADER_BYTES..end).step_by(7)) {
        let image = world.crash(Survivors::Everything);
        image.flip("log", "log.1", offset, 0x80);
        let (case, message) = refusal(&image);
        assert!(matches!(case, Case::LogDamaged | Case::LogGap), "byte {offset}: {message}");
    }
}

#[test]
fn a_damaged_snapshot_is_made_up_for_by_an_older_one_and_the_log() {
    let (world, pair) =
        world(&[append(&[9; 9]), Step::Snapshot, append(&[9; 9]), Step::Snapshot, append(&[9])]);
    let (older, newer) =
        (format!("snapshot.{:x}", (1_u64 << 32) + 9), format!("snapshot.{:x}", (1_u64 << 32) + 18));
    for offset in 0..world.contents("data", &newer).unwrap().len() as u64 {
        let image = world.crash(Survivors::Everything);
        image.flip("data", &newer, offset, 0x04);
        let (_, recovered, model) = open(&image).unwrap();
        assert_eq!((recovered.case, recovered.floor), (Case::OlderSnapshot, Zxid((1 << 32) + 9)));
        assert_eq!(model, pair.model);
        assert!(
            recovered.notes[0].got_by && recovered.notes[0].text.contains(&newer),
            "{:?}",
            recovered.notes
        );
    }
    let image = world.crash(Survivors::Everything);
    image.flip("data", &newer, 50, 0x04);
    image.flip("data", &older, 50, 0x04);
    let (_, recovered, model) = open(&image).unwrap();
    assert_eq!((recovered.case, model), (Case::LogAlone, pair.model));
}

#[test]
fn a_damaged_snapshot_without_the_log_before_it_is_refused() {
    let (world, _) = world(&[append(&[9; 9]), Step::Install { keep: 4, add: 0 }, append(&[9])]);
    let name = format!("snapshot.{:x}", (2_u64 << 32) + 1);
    world.flip("data", &name, 45, 0x04);
    let (case, message) = refusal(&world);
    assert_eq!(case, Case::SnapshotDamaged, "{message}");
    assert!(message.contains(&name) && message.contains("Nothing was changed"), "{message}");
}

#[test]
fn a_missing_file_is_told_by_name() {
    let (world, _) = world(&[append(&[900; 4]), append(&[900; 4]), append(&[900; 4]), Step::Snapshot]);
    let first = segment_name(Zxid::ZERO);
    let second = segment_name(Zxid((1 << 32) + 4));
    let snapshot = format!("snapshot.{:x}", (1_u64 << 32) + 12);
    type Missing<'a> = &'a [(&'a str, &'a str)];
    let cases: [(Missing, Case, &str); 6] = [
        (&[("log", &second), ("data", &snapshot)], Case::LogGap, "log/log.100000009"),
        (&[("log", &first), ("data", &snapshot)], Case::LogStartsLate, "log/log.100000005"),
        (&[("log", "log.100000009")], Case::LogEndsEarly, "ends with"),
        (&[("data", "epoch")], Case::EpochMissing, "data/epoch"),
        (&[("log", &first), ("log", &second), ("log", "log.100000009")], Case::LogMissing, "dataLogDir"),
        (&[("data", "epoch"), ("log", &first), ("log", &second)], Case::EpochMissing, "data/epoch"),
    ];
    for (missing, case, word) in cases {
        let image = world.crash(Survivors::Everything);
        for (folder, name) in missing {
            image.disk(if *folder == "log" { "log" } else { "data" }).remove(name).unwrap();
        }
        let (found, message) = refusal(&image);
        assert_eq!(found, case, "{missing:?}: {message}");
        assert!(message.contains(word), "{message}");
    }
}

#[test]
fn a_file_of_a_newer_release_is_told_from_damage() {
    let (world, _) = world(&[append(&[9; 9]), Step::Snapshot, append(&[9])]);
    let snapshot = format!("snapshot.{:x}", (1_u64 << 32) + 9);
    for (folder, name, crc_at) in [("data", "epoch", 48), ("data", &snapshot[..], 36), ("log", "log.1", 60)] {
        let image = world.crash(Survivors::Everything);
        let mut bytes = image.contents(folder, name).unwrap();
        bytes[8] = 200;
        let crc = crc32fast::hash(&bytes[..crc_at]);
        bytes[crc_at..crc_at + 4].copy_from_slice(&crc.to_le_bytes());
        image.disk(folder).create(name).unwrap().write_at(&bytes, 0).unwrap();
        let (case, message) = refusal(&image);
        assert_eq!(case, Case::FutureVersion, "{message}");
        assert!(message.contains(name) && message.contains("version 200"), "{message}");
    }
}

#[test]
fn a_snapshot_alone_is_a_restored_backup() {
    let (world, pair) = world(&[append(&[9; 9]), Step::Snapshot]);
    for name in world.disk("log").list().unwrap() {
        world.disk("log").remove(&name).unwrap();
    }
    world.disk("data").remove("epoch").unwrap();
    for case in [Case::Restored, Case::Restored] {
        let (_, recovered, model) = open(&world).unwrap();
        assert_eq!((recovered.case, recovered.epoch), (case, None));
        assert_eq!(model.history, pair.model.history);
    }
}

/// Where each record of a segment begins, and its zxid.
fn records(world: &SimWorld, segment: &str) -> Vec<(u64, Zxid)> {
    let (_, entries) = decode_segment(&world.contents("log", segment).unwrap()).unwrap();
    entries.iter().map(|entry| (entry.offset, entry.zxid)).collect()
}

#[test]
fn a_log_that_lost_what_it_had_when_the_epoch_file_was_written_is_refused() {
    let (world, pair) = world(&[append(&[20; 4]), Step::Epoch, append(&[30; 2]), append(&[30])]);
    let noted = Zxid((1 << 32) + 4);
    for (offset, zxid) in records(&world, "log.1") {
        let image = world.crash(Survivors::Everything);
        image.erase("log", "log.1", offset);
        if zxid <= noted {
            let (case, message) = refusal(&image);
            assert_eq!(case, Case::LogEndsEarly, "{message}");
            let place = format!("log/log.1, byte {offset}: ");
            assert!(message.starts_with(&place) && message.contains(&noted.to_string()), "{message}");
        } else {
            let (_, recovered, model) = open(&image).unwrap();
            assert_eq!(recovered.case, Case::Clean, "no start can know of what came later");
            assert!(model.last() < zxid && pair.model.history.starts_with(&model.history));
        }
    }
}

#[test]
fn a_torn_group_is_damage_if_the_epoch_file_was_written_behind_it() {
    for (is_noted, expected) in [(false, None), (true, Some(Case::LogEndsEarly))] {
        let steps = [append(&[20; 4]), append(&[30; 2]), Step::Epoch];
        let (world, _) = world(&steps[..if is_noted { 3 } else { 2 }]);
        let (offset, _) = records(&world, "log.1")[4];
        world.flip("log", "log.1", offset + 60, 1);
        match expected {
            None => assert_eq!(open(&world).unwrap().1.case, Case::TornTail),
            Some(case) => assert_eq!(refusal(&world).0, case),
        }
    }
}

#[test]
fn a_refused_start_changes_nothing() {
    let (world, _) = world(&[append(&[100; 9]), Step::Snapshot, append(&[100; 9]), Step::MarkEnd]);
    world.flip("log", "log.1", SEGMENT_HEADER_BYTES + 2000, 1);
    let image = |world: &SimWorld| {
        let names = |folder| world.disk(folder).list().unwrap().into_iter().map(move |name| (folder, name));
        let names = names("log").chain(names("data"));
        names.map(|(folder, name)| (world.contents(folder, &name), name)).collect::<Vec<_>>()
    };
    let before = image(&world);
    refusal(&world);
    assert_eq!(image(&world), before);
    assert_eq!(OPTIONS.segment_bytes, 8192);
}
