use wildmatch::WildMatch;

use super::*;

fn name(text: &str) -> &OsStr {
    OsStr::new(text)
}

fn file(volume: &mut Volume, text: &str, bytes: &[u8]) -> u64 {
    let node = volume.make(ROOT, name(text), false).unwrap().node;
    volume.write(node, 0, bytes, false).unwrap();
    node
}

fn durable(volume: &mut Volume, text: &str, bytes: &[u8]) -> u64 {
    let node = file(volume, text, bytes);
    volume.sync(node).unwrap();
    volume.sync(ROOT).unwrap();
    node
}

fn cut(volume: &mut Volume) -> (u64, u64) {
    volume.cut(&mut Survivors::nothing())
}

fn rule(op: Op, pattern: &str, left: Option<u64>) -> Rule {
    Rule { op, pattern: WildMatch::new(pattern), errno: libc::EIO, left }
}

fn stat(volume: &Volume, key: &str) -> u64 {
    let text = volume.stats();
    let pair = text.split(' ').find_map(|pair| pair.strip_prefix(&format!("{key}=")));
    pair.unwrap_or_else(|| panic!("no {key} in {text}")).parse().unwrap()
}

#[test]
fn a_new_file_is_gone_without_a_sync_of_its_folder() {
    let mut volume = Volume::default();
    let node = file(&mut volume, "a", b"bytes");
    volume.sync(node).unwrap();
    assert_eq!(volume.unsynced(), (0, 1));
    assert_eq!(cut(&mut volume), (0, 1));
    assert_eq!(volume.lookup(ROOT, name("a")).unwrap_err(), libc::ENOENT);
    assert_eq!(volume.nodes.len(), 1, "its contents are freed");
}

#[test]
fn a_new_file_is_empty_without_a_sync_of_its_own() {
    let mut volume = Volume::default();
    file(&mut volume, "a", b"bytes");
    volume.sync(ROOT).unwrap();
    assert_eq!(cut(&mut volume), (5 + 512, 0));
    assert_eq!(volume.lookup(ROOT, name("a")).unwrap().len, 0);
}

#[test]
fn what_was_removed_or_replaced_comes_back_with_its_contents() {
    let mut volume = Volume::default();
    durable(&mut volume, "a", b"old a");
    durable(&mut volume, "b", b"old b");
    let new = file(&mut volume, "new", b"new a");
    volume.sync(new).unwrap();
    volume.rename((ROOT, name("new")), (ROOT, name("a"))).unwrap();
    volume.remove(ROOT, name("b"), false).unwrap();
    assert_eq!(volume.lookup(ROOT, name("b")).unwrap_err(), libc::ENOENT);
    cut(&mut volume);
    for (text, bytes) in [("a", b"old a"), ("b", b"old b")] {
        let node = volume.lookup(ROOT, name(text)).unwrap().node;
        assert_eq!(volume.read(node, 0, 100).unwrap(), bytes);
    }
    assert_eq!(stat(&volume, "forgotten_names"), 3);
}

#[test]
fn a_file_without_a_name_lives_as_long_as_its_handle() {
    let mut volume = Volume::default();
    let node = durable(&mut volume, "a", b"bytes");
    volume.open(node).unwrap();
    volume.remove(ROOT, name("a"), false).unwrap();
    volume.sync(ROOT).unwrap();
    assert_eq!(volume.read(node, 0, 5).unwrap(), b"bytes");
    volume.release(node).unwrap();
    assert_eq!(volume.read(node, 0, 5).unwrap_err(), libc::ENOENT);
}

#[test]
fn folders_in_folders_are_names_like_others() {
    let mut volume = Volume::default();
    let folder = volume.make(ROOT, name("log"), true).unwrap().node;
    volume.sync(ROOT).unwrap();
    let node = volume.make(folder, name("a"), false).unwrap().node;
    volume.write(node, 0, b"x", false).unwrap();
    assert_eq!(volume.remove(ROOT, name("log"), true).unwrap_err(), libc::ENOTEMPTY);
    cut(&mut volume);
    assert!(volume.list(folder).unwrap().is_empty());
    assert_eq!(volume.rename((folder, name("a")), (ROOT, name("a"))).unwrap_err(), libc::EXDEV);
    volume.remove(ROOT, name("log"), true).unwrap();
}

#[test]
fn so_many_operations_on_the_files_of_a_pattern_fail() {
    let mut volume = Volume::default();
    let log = durable(&mut volume, "log.1", b"log");
    let other = durable(&mut volume, "epoch", b"epoch");
    volume.fail(rule(Op::Write, "log.*", Some(2)));
    volume.fail(rule(Op::Read, "epoch", None));
    volume.fail(rule(Op::SyncFolder, ".", Some(1)));
    volume.write(other, 0, b"x", false).unwrap();
    for _ in 0..2 {
        assert_eq!(volume.write(log, 0, b"x", false).unwrap_err(), libc::EIO);
    }
    volume.write(log, 0, b"x", false).unwrap();
    for _ in 0..5 {
        assert_eq!(volume.read(other, 0, 1).unwrap_err(), libc::EIO);
    }
    assert_eq!(volume.sync(ROOT).unwrap_err(), libc::EIO);
    volume.sync(ROOT).unwrap();
    assert_eq!((stat(&volume, "failed_writes"), stat(&volume, "failed_reads")), (2, 5));
    volume.clear_faults();
    volume.read(other, 0, 1).unwrap();
}

#[test]
fn a_pattern_follows_a_file_to_its_new_name() {
    let mut volume = Volume::default();
    let node = durable(&mut volume, "spare.1", b"");
    volume.rename((ROOT, name("spare.1")), (ROOT, name("log.5"))).unwrap();
    volume.fail(rule(Op::Sync, "log.*", Some(1)));
    assert_eq!(volume.sync(node).unwrap_err(), libc::EIO);
}

#[test]
fn after_a_failed_sync_the_bytes_are_seen_and_never_durable() {
    let mut volume = Volume::default();
    let node = durable(&mut volume, "a", b"old");
    volume.fail(rule(Op::Sync, "a", Some(1)));
    volume.write(node, 0, b"new", false).unwrap();
    assert_eq!(volume.sync(node).unwrap_err(), libc::EIO);
    volume.sync(node).unwrap();
    assert_eq!(volume.read(node, 0, 3).unwrap(), b"new");
    cut(&mut volume);
    assert_eq!(volume.read(node, 0, 3).unwrap(), b"old");
}

#[test]
fn a_disk_that_lies_says_that_it_synced_and_did_not() {
    let mut volume = Volume::default();
    let node = durable(&mut volume, "a", b"old");
    volume.fail(Rule { errno: LIE, ..rule(Op::Sync, "a", Some(1)) });
    volume.write(node, 0, b"new", false).unwrap();
    volume.sync(node).unwrap();
    assert_eq!(stat(&volume, "failed_syncs"), 1);
    cut(&mut volume);
    assert_eq!(volume.read(node, 0, 3).unwrap(), b"old");
}

#[test]
fn a_full_volume_takes_what_is_written_in_place_and_nothing_else() {
    let mut volume = Volume::default();
    let node = durable(&mut volume, "a", &[1; PAGE_BYTES]);
    volume.limit_room(Some(PAGE_BYTES as u64));
    volume.write(node, PAGE_BYTES as u64, &[1; PAGE_BYTES], false).unwrap();
    assert_eq!(volume.write(node, 2 * PAGE_BYTES as u64, &[1], false).unwrap_err(), libc::ENOSPC);
    volume.write(node, 0, &[2; 2 * PAGE_BYTES], false).unwrap();
    assert_eq!(stat(&volume, "refused_full"), 1);
    volume.set_len(node, 0).unwrap();
    volume.write(node, 0, &[2; 2 * PAGE_BYTES], false).unwrap();
    volume.limit_room(None);
    volume.write(node, 2 * PAGE_BYTES as u64, &[1], false).unwrap();
}

#[test]
fn direct_writes_are_of_whole_sectors_and_no_more_durable_than_others() {
    let mut volume = Volume::default();
    let node = durable(&mut volume, "a", &[1; 1024]);
    assert_eq!(volume.write(node, 100, &[2; 512], true).unwrap_err(), libc::EINVAL);
    assert_eq!(volume.write(node, 512, &[2; 100], true).unwrap_err(), libc::EINVAL);
    volume.write(node, 512, &[2; 512], true).unwrap();
    cut(&mut volume);
    assert_eq!(volume.read(node, 512, 1).unwrap(), [1]);
}

#[test]
fn decay_is_counted_and_must_hit_something() {
    let mut volume = Volume::default();
    let node = durable(&mut volume, "a", b"abc");
    volume.flip("a", 1, 3).unwrap();
    assert_eq!(volume.read(node, 0, 3).unwrap(), b"aac");
    assert_eq!(volume.flip("a", 3, 1).unwrap_err(), libc::EINVAL);
    assert_eq!(volume.flip("none", 0, 1).unwrap_err(), libc::ENOENT);
    assert_eq!(stat(&volume, "flipped"), 1);
}
