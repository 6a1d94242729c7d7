//! Damaged data of a server that others can heal: it loses its vote first, nothing is deleted, and whatever moment the
//! power fails at, the next start goes on the same way.

use bytes::Bytes;
use prost::Message as _;

use super::{INITIALIZE, OnDamage, Recovered, StartFault, recover_from};
use crate::ids::{Epoch, SessionId, Version, Zxid};
use crate::storage::testing::{Chance, SimDisk, SimWorld, Survivors};
use crate::storage::{DAMAGED_SETS_MAX, Disk, DiskFile, Options, Storage, StorageError, decode_segment};
use crate::txn::{Acl, Op, Ops, Txn, txn::Body};
use crate::zab::{EpochRecord, Proposal};

const EIO: i32 = 5;
const EACCES: i32 = 13;

const OPTIONS: Options =
    Options { segment_bytes: 8192, spare_segments_max: 0, snapshots_kept: 3, snapshot_step_bytes: 500 };

/// The digest of a state that nobody knows.
const NOT_COMPARED: (Zxid, u64) = (Zxid(u64::MAX), 0);

fn zxid(counter: u32) -> Zxid {
    Zxid::new(Epoch(4), counter)
}

fn snapshot_name() -> String {
    format!("snapshot.{:x}", zxid(11).0)
}

fn promised() -> EpochRecord {
    EpochRecord {
        data_dir_id: 1,
        ensemble_id: 77,
        ensemble_confirmed: true,
        may_vote: true,
        accepted_epoch: Epoch(6),
        current_epoch: Epoch(4),
        ..EpochRecord::default()
    }
}

/// Creates `/{counter}`, telling a digest that some state had.
fn create(counter: u32, (digest_zxid, digest): (Zxid, u64)) -> Proposal {
    let acl = vec![Acl { perms: 31, scheme: "world".into(), id: "anyone".into() }];
    let op = Op::create(format!("/{counter}"), Some(vec![7; 900].into()), acl, SessionId(0), counter as i32);
    let body = Some(Body::Ops(Ops { ops: vec![op] }));
    let txn = Txn { digest_zxid: digest_zxid.0, digest, body, ..Txn::default() };
    Proposal { zxid: zxid(counter), txn: txn.encode_to_vec().into() }
}

/// The disks of a server with a log of several segments, a mark at its end, and a snapshot in its middle.
fn world() -> SimWorld {
    let world = SimWorld::default();
    let (mut storage, _) = Storage::open(world.disks(), OPTIONS).unwrap();
    storage.save_epoch(&promised()).unwrap();
    append(&mut storage, 1..=12);
    let found = start(&world, OnDamage::Refuse).unwrap();
    let image = found.state.image();
    let mut writer = found.storage.snapshots().begin(image.zxid(), image.digest(), image.version()).unwrap();
    image.blocks().for_each(|block| writer.block(&block).unwrap());
    assert!(writer.finish().unwrap());
    let mut storage = found.storage;
    append(&mut storage, 13..=20);
    storage.mark_end().unwrap();
    world
}

fn append(storage: &mut Storage<SimDisk>, counters: std::ops::RangeInclusive<u32>) {
    for counter in counters {
        let previous = if counter == 1 { Zxid::ZERO } else { zxid(counter - 1) };
        storage.append(previous, &[create(counter, NOT_COMPARED)], previous).unwrap();
        storage.sync().unwrap();
    }
}

fn start(world: &SimWorld, on_damage: OnDamage) -> Result<Recovered<SimDisk>, StartFault> {
    let new = EpochRecord { data_dir_id: 99, promises_lost: true, ..EpochRecord::default() };
    recover_from(world.disks(), OPTIONS, 7, 1 << 20, new, on_damage)
}

/// All files of a server, but those that a start may remove.
fn files(world: &SimWorld) -> Vec<(&'static str, String, Bytes)> {
    let of = |folder: &'static str| {
        let names = world.disk(folder).list().unwrap().into_iter().filter(|name| !name.ends_with(".tmp"));
        names.map(move |name| (folder, name))
    };
    let all = of("data").chain(of("log"));
    all.map(|(folder, name)| (folder, world.contents(folder, &name).unwrap().into(), name))
        .map(|(folder, contents, name)| (folder, name, contents))
        .collect()
}

/// A way to be damaged, in words.
type Damage = (&'static str, fn(&SimWorld));

/// The ways to be damaged.
fn damages() -> Vec<Damage> {
    fn segments(world: &SimWorld) -> Vec<String> {
        let mut names = world.disk("log").list().unwrap();
        names.sort();
        names
    }
    vec![
        ("a flipped byte in the newest segment", |world| {
            world.flip("log", segments(world).last().unwrap(), 4200, 1);
        }),
        ("a deleted segment", |world| {
            let names = segments(world);
            world.disk("data").remove(&snapshot_name()).unwrap();
            world.disk("log").remove(&names[1]).unwrap();
        }),
        ("a segment that cannot be read", |world| {
            world.fail_reads("log", segments(world).last().unwrap(), EIO);
        }),
        ("a snapshot that cannot be read, and no beginning of the log", |world| {
            world.fail_reads("data", &snapshot_name(), EIO);
            world.disk("log").remove(&segments(world)[0]).unwrap();
        }),
        ("no snapshot and no beginning of the log", |world| {
            world.flip("data", &snapshot_name(), 60, 1);
            world.disk("log").remove(&segments(world)[0]).unwrap();
        }),
        ("a log that lost its newest record", |world| {
            start(world, OnDamage::Refuse).unwrap().storage.save_epoch(&promised()).unwrap();
            let newest = segments(world).pop().unwrap();
            let (_, records) = decode_segment(&world.contents("log", &newest).unwrap()).unwrap();
            world.erase("log", &newest, records.last().unwrap().offset);
        }),
        ("a flipped byte in the epoch file", |world| world.flip("data", "epoch", 20, 1)),
        ("an epoch file that cannot be read", |world| world.fail_reads("data", "epoch", EIO)),
        ("no epoch file", |world| world.disk("data").remove("epoch").unwrap()),
        ("a log that makes another state", |world| {
            let Recovered { mut storage, .. } = start(world, OnDamage::Refuse).unwrap();
            storage.append(zxid(20), &[create(21, (zxid(20), 4711))], zxid(20)).unwrap();
            storage.append(zxid(21), &[create(22, NOT_COMPARED)], zxid(21)).unwrap();
            storage.sync().unwrap();
        }),
    ]
}

/// A server begins with nothing and without a vote, and all that it had is there still.
fn check_healing(world: &SimWorld, before: &[(&str, String, Bytes)], what: &str) {
    let found = start(world, OnDamage::Heal).unwrap_or_else(|error| panic!("{what}: {error}"));
    check_empty(&found, what);
    let after = files(world);
    for (folder, name, contents) in before.iter().filter(|(_, name, _)| name != "epoch") {
        let is_kept = after.iter().any(|(other, aside, kept)| {
            other == folder && kept == contents && aside == &format!("damaged-1.{name}")
        });
        assert!(is_kept, "{what}: {folder}/{name} is not put aside");
    }
    assert!(after.iter().any(|(_, name, _)| name == "damaged-1.txt"), "{what}: nothing tells why");
    assert_eq!(found.damaged_sets, 1, "{what}");
    drop(found);
    let again = start(world, OnDamage::Heal).unwrap();
    assert_eq!(again.damage, None, "{what}");
    check_empty(&again, what);
}

fn check_empty(found: &Recovered<SimDisk>, what: &str) {
    let epoch = &found.zab.epoch;
    assert!(!epoch.may_vote && !epoch.condemned && !found.is_new, "{what}: {epoch:?}");
    if epoch.promises_lost {
        // It must not be taken for a server that never was.
        assert!(what.contains("epoch file") && epoch.accepted_epoch.0 >= 1, "{what}: {epoch:?}");
    } else {
        assert_eq!(*epoch, EpochRecord { may_vote: false, current_epoch: Epoch(0), ..promised() }, "{what}");
    }
    assert_eq!((found.state.zxid(), found.storage.synced()), (Zxid::ZERO, Zxid::ZERO), "{what}");
}

#[test]
fn damaged_data_is_put_aside_and_the_server_begins_with_nothing_and_no_vote() {
    for (what, damage) in damages() {
        let world = world();
        damage(&world);
        let before = files(&world);
        assert!(matches!(start(&world, OnDamage::Refuse), Err(StartFault::Damage(_))), "{what}");
        let world = world.crash(Survivors::Everything);
        check_healing(&world, &before, what);
    }
}

#[test]
fn a_damaged_epoch_file_is_kept_as_well() {
    let world = world();
    world.flip("data", "epoch", 20, 1);
    let damaged = world.contents("data", "epoch");
    start(&world, OnDamage::Heal).unwrap();
    assert_eq!(world.contents("data", "damaged-1.epoch"), damaged);
}

#[test]
fn a_crash_while_data_is_put_aside_leaves_what_the_next_start_goes_on_with() {
    for (what, damage) in damages() {
        let world = world();
        damage(&world);
        let world = world.crash(Survivors::Everything);
        let before = files(&world);
        world.record();
        start(&world, OnDamage::Heal).unwrap();
        let mut chance = Chance(5);
        for (number, point) in world.take_points().into_iter().enumerate() {
            let sectors: Vec<_> = (0..4).map(|_| Survivors::Sectors(chance.draw())).collect();
            for survivors in [Survivors::Nothing, Survivors::Everything].into_iter().chain(sectors) {
                let what = format!("{what}, point {number}, {survivors:?}");
                let image = point.crash(survivors);
                let twice = image.crash(Survivors::Everything);
                check_healing(&image, &before, &what);
                twice.record();
                start(&twice, OnDamage::Heal).unwrap();
                for point in twice.take_points() {
                    let survivors = Survivors::Sectors(chance.draw());
                    check_healing(&point.crash(survivors), &before, &format!("{what}, twice"));
                }
            }
        }
    }
}

#[test]
fn a_server_keeps_a_few_sets_of_damaged_data_and_then_refuses_to_go_on() {
    let world = world();
    for set in 1..=DAMAGED_SETS_MAX {
        world.flip("data", "epoch", 20, 1);
        let found = start(&world, OnDamage::Heal).unwrap();
        assert_eq!(found.damaged_sets, set);
        let mut storage = found.storage;
        append(&mut storage, 1..=3);
    }
    world.flip("data", "epoch", 20, 1);
    let before = files(&world);
    match start(&world, OnDamage::Heal) {
        Err(fault @ StartFault::Storage(StorageError::TooManySets { sets, .. })) => {
            assert!(sets == DAMAGED_SETS_MAX && fault.is_damage());
            assert!(fault.to_string().contains("data/epoch"), "{fault}");
        }
        other => panic!("{:?}", other.map(|found| found.damage)),
    }
    assert_eq!(files(&world), before);
}

#[test]
fn what_says_nothing_about_the_data_changes_nothing() {
    for (folder, name) in [("log", "log.1"), ("data", "epoch")] {
        let world = world();
        world.fail_reads(folder, name, EACCES);
        let before = files(&world);
        assert!(matches!(start(&world, OnDamage::Heal), Err(StartFault::Storage(StorageError::Io { .. }))));
        assert_eq!(files(&world), before, "{name}");
    }
    // The folder of the log is empty: its disk may not be mounted.
    let world = world();
    for name in world.disk("log").list().unwrap() {
        world.disk("log").remove(&name).unwrap();
    }
    let before = files(&world);
    assert!(matches!(start(&world, OnDamage::Heal), Err(StartFault::Storage(StorageError::Damage(_)))));
    assert_eq!(files(&world), before);
}

#[test]
fn a_word_of_the_operator_gives_the_vote_to_what_there_is_but_none_older_than_the_damage() {
    let world = world();
    let initialize = |world: &SimWorld| {
        let file = world.disk("data").create(INITIALIZE).unwrap();
        file.sync_data().unwrap();
        world.disk("data").sync_dir().unwrap();
    };
    let is_there = |world: &SimWorld| world.contents("data", INITIALIZE).is_some();
    initialize(&world);
    world.flip("data", "epoch", 20, 1);
    let damaged = world.crash(Survivors::Everything);
    damaged.record();
    assert!(!start(&damaged, OnDamage::Heal).unwrap().zab.epoch.may_vote);
    assert!(!is_there(&damaged));
    for point in damaged.take_points() {
        let image = point.crash(Survivors::Nothing);
        assert!(
            !start(&image, OnDamage::Heal).unwrap().zab.epoch.may_vote,
            "the file is older than the damage"
        );
        assert!(!is_there(&image));
    }
    initialize(&damaged);
    let found = start(&damaged, OnDamage::Heal).unwrap();
    assert!(found.zab.epoch.may_vote && !found.zab.epoch.promises_lost && !is_there(&damaged));
    assert!(
        found.notes.iter().any(|note| note.got_by && note.text.contains("given up")),
        "{:?}",
        found.notes
    );
    // Where it is not needed it does not lie around until the day of damage.
    initialize(&damaged);
    assert!(start(&damaged, OnDamage::Heal).unwrap().zab.epoch.may_vote);
    assert!(!is_there(&damaged));
}

#[test]
fn what_follows_a_restored_backup_is_newer_than_it() {
    let world = world();
    for name in world.disk("log").list().unwrap() {
        world.disk("log").remove(&name).unwrap();
    }
    world.disk("data").remove("epoch").unwrap();
    let found = start(&world, OnDamage::Heal).unwrap();
    assert_eq!(found.state.zxid(), zxid(11));
    assert_eq!((found.zab.epoch.accepted_epoch, found.zab.epoch.current_epoch), (Epoch(4), Epoch(4)));
}

#[test]
fn a_read_that_fails_but_says_nothing_about_the_data_condemns_nothing() {
    for count in 0.. {
        let world = world();
        world.fail_read_after(Some(count));
        match start(&world, OnDamage::Heal) {
            Err(StartFault::Storage(StorageError::Io { .. })) => {}
            Err(other) => panic!("read {count}: {other}"),
            Ok(found) => {
                assert_eq!(found.damage, None, "read {count}");
                if !world.has_failed() {
                    assert!(count > 10, "only {count} reads");
                    return;
                }
            }
        }
    }
}

#[test]
fn a_restored_backup_that_cannot_be_read_is_no_empty_server() {
    for on_damage in [OnDamage::Refuse, OnDamage::Heal] {
        let world = world();
        for name in world.disk("log").list().unwrap() {
            world.disk("log").remove(&name).unwrap();
        }
        world.disk("data").remove("epoch").unwrap();
        world.fail_reads("data", &snapshot_name(), EIO);
        match (on_damage, start(&world, on_damage)) {
            (OnDamage::Refuse, Err(StartFault::Damage(found))) => assert!(found.contains(&snapshot_name())),
            (OnDamage::Heal, Ok(found)) => {
                assert!(found.damage.is_some_and(|it| it.contains(&snapshot_name())))
            }
            (_, other) => panic!("{:?}", other.map(|found| found.damage)),
        }
    }
}

/// As a server of another version may have written them.
#[test]
fn a_log_of_a_newer_release_is_no_damage_and_its_data_keeps_what_it_needs() {
    let with_version = |version: u32| {
        let world = world();
        let mut storage = start(&world, OnDamage::Refuse).unwrap().storage;
        let txn = Txn::from_bytes(create(21, NOT_COMPARED).txn).unwrap().into_bytes(Version(version));
        storage.append(zxid(20), &[Proposal { zxid: zxid(21), txn }], zxid(20)).unwrap();
        storage.append(zxid(21), &[create(22, NOT_COMPARED)], zxid(21)).unwrap();
        storage.sync().unwrap();
        world
    };
    let state = start(&with_version(3), OnDamage::Heal).unwrap().state;
    assert_eq!((state.zxid(), state.version()), (zxid(21), Version(3)));
    let newer = with_version(Version::NEWEST.0 + 1);
    let before = files(&newer);
    for on_damage in [OnDamage::Heal, OnDamage::Refuse] {
        assert!(matches!(start(&newer, on_damage), Err(StartFault::Newer(_))));
        assert_eq!(files(&newer), before, "nothing is put aside");
    }
}
