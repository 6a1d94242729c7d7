use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const A: ConnId = ConnId(1);
const B: ConnId = ConnId(2);

#[test]
fn a_watch_fires_once() {
    let mut watches = Watches::new(1);
    watches.add_data("/a", A);
    watches.add_data("/a", A);
    assert_eq!(watches.fire(EventKind::NodeDataChanged, "/a"), [A]);
    assert_eq!(watches.fire(EventKind::NodeDataChanged, "/a"), []);
    assert_eq!(watches.counts(), WatchCounts::default());
}

#[test]
fn data_watches_see_the_znode_come_change_and_go_but_not_its_children() {
    for event in [EventKind::NodeCreated, EventKind::NodeDataChanged, EventKind::NodeDeleted] {
        let mut watches = Watches::new(1);
        watches.add_data("/a", A);
        assert_eq!(watches.fire(EventKind::NodeChildrenChanged, "/a"), []);
        assert_eq!(watches.fire(event, "/a/b"), []);
        assert_eq!(watches.fire(event, "/a"), [A]);
    }
}

#[test]
fn child_watches_see_the_children_change_and_the_znode_go() {
    for event in [EventKind::NodeChildrenChanged, EventKind::NodeDeleted] {
        let mut watches = Watches::new(1);
        watches.add_child("/a", A);
        assert_eq!(watches.fire(EventKind::NodeCreated, "/a"), []);
        assert_eq!(watches.fire(EventKind::NodeDataChanged, "/a"), []);
        assert_eq!(watches.fire(event, "/a"), [A]);
    }
}

#[test]
fn a_connection_with_both_kinds_is_told_once_that_the_znode_went() {
    let mut watches = Watches::new(1);
    watches.add_data("/a", B);
    watches.add_child("/a", A);
    watches.add_child("/a", B);
    assert_eq!(watches.fire(EventKind::NodeDeleted, "/a"), [A, B]);
    assert_eq!(watches.counts(), WatchCounts::default());
}

#[test]
fn a_persistent_watch_sees_what_data_and_child_watches_see_and_stays() {
    let mut watches = Watches::new(1);
    watches.add(WatchKind::Persistent, "/a", A);
    watches.add_data("/a", B);
    for event in EventKind::ALL.iter().chain(EventKind::ALL) {
        let told = watches.fire(*event, "/a");
        assert!(told == [A] || told == [A, B], "{event:?}");
        assert_eq!(watches.fire(*event, "/a/b"), []);
        assert_eq!(watches.fire(*event, "/"), []);
    }
    assert_eq!(watches.of_conn(B), [], "it was of the kind that goes");
    assert!(watches.remove(WatchKind::Persistent, "/a", A));
    assert!(!watches.remove(WatchKind::Persistent, "/a", A));
    assert_eq!(watches.counts(), WatchCounts::default());
}

#[test]
fn a_recursive_watch_sees_all_below_and_no_lists_of_children() {
    for (watched, seen, unseen) in [("/a", "/a/b/c", "/ab"), ("/a/b", "/a/b", "/a"), ("/", "/a/b", "")] {
        let mut watches = Watches::new(1);
        watches.add(WatchKind::PersistentRecursive, watched, A);
        for event in [EventKind::NodeCreated, EventKind::NodeDataChanged, EventKind::NodeDeleted] {
            assert_eq!(watches.fire(event, seen), [A], "{watched}");
            assert_eq!(watches.fire(event, unseen), [], "{watched}");
        }
        assert_eq!(watches.fire(EventKind::NodeChildrenChanged, seen), []);
    }
}

#[test]
fn a_connection_with_every_kind_is_told_once() {
    let mut watches = Watches::new(1);
    for kind in WatchKind::ALL {
        watches.add(kind, "/a", A);
        assert!(watches.contains(kind, "/a", A) && !watches.contains(kind, "/a", B));
    }
    watches.add(WatchKind::PersistentRecursive, "/", A);
    watches.add(WatchKind::PersistentRecursive, "/", B);
    assert_eq!(watches.fire(EventKind::NodeDeleted, "/a"), [A, B]);
    assert!(!watches.contains(WatchKind::Data, "/a", A) && !watches.contains(WatchKind::Child, "/a", A));
    assert_eq!(watches.counts(), WatchCounts { paths: 3, watches: 4, connections: 2 });
}

#[test]
fn the_watches_of_a_closed_connection_are_gone() {
    let mut watches = Watches::new(1);
    watches.add_data("/a", A);
    watches.add_data("/a", B);
    watches.add_child("/b", A);
    watches.remove_conn(A);
    assert_eq!(watches.counts(), WatchCounts { paths: 1, watches: 1, connections: 1 });
    assert_eq!(watches.of_conn(A), []);
    assert_eq!(watches.of_conn(B), [("/a", WatchKind::Data)]);
    assert_eq!(watches.by_path().collect::<Vec<_>>(), [("/a", WatchKind::Data, &[B][..])]);
    assert_eq!(watches.conns().collect::<Vec<_>>(), [B]);
}

#[test]
fn a_slot_is_used_again_and_the_lists_of_connections_do_not_grow() {
    let mut watches = Watches::new(1);
    watches.add_data("/stays", A);
    for round in 0..10_000 {
        let path = format!("/{round}");
        watches.add_data(&path, A);
        assert_eq!(watches.fire(EventKind::NodeCreated, &path), [A]);
    }
    assert!(watches.slots.len() <= 2, "{}", watches.slots.len());
    assert!(watches.conns[&A].slots.len() <= 2 * STALE_SLOTS_MIN, "{}", watches.conns[&A].slots.len());
    assert_eq!(watches.of_conn(A), [("/stays", WatchKind::Data)]);
}

#[test]
fn a_watched_path_costs_little_beside_its_name() {
    assert_eq!(size_of::<Slot>(), 40);
}

#[derive(Clone, Debug)]
enum Step {
    Add(WatchKind, usize, u32),
    Remove(WatchKind, usize, u32),
    Fire(EventKind, usize),
    Close(u32),
}

fn step() -> impl Strategy<Value = Step> {
    let kind = || prop::sample::select(&WatchKind::ALL[..]);
    let event = prop::sample::select(EventKind::ALL);
    prop_oneof![
        8 => (kind(), 0..6usize, 0..5u32).prop_map(|(kind, path, conn)| Step::Add(kind, path, conn)),
        2 => (kind(), 0..6usize, 0..5u32).prop_map(|(kind, path, conn)| Step::Remove(kind, path, conn)),
        4 => (event, 0..6usize).prop_map(|(event, path)| Step::Fire(event, path)),
        1 => (0..5u32).prop_map(Step::Close),
    ]
}

proptest! {
    /// The table does what a plain set of (kind, path, connection) does.
    #[test]
    fn it_does_what_a_set_of_watches_does(steps in prop::collection::vec(step(), 0..200), seed in any::<u64>()) {
        let paths = ["/", "/a", "/a/b", "/b", "/c", "/d"];
        let mut watches = Watches::new(seed);
        let mut model = BTreeSet::new();
        for step in steps {
            match step {
                Step::Add(kind, path, conn) => {
                    watches.add(kind, paths[path], ConnId(conn));
                    model.insert((paths[path], kind, ConnId(conn)));
                }
                Step::Remove(kind, path, conn) => {
                    let is_there = model.remove(&(paths[path], kind, ConnId(conn)));
                    prop_assert_eq!(watches.remove(kind, paths[path], ConnId(conn)), is_there);
                }
                Step::Fire(event, path) => {
                    let (path, is_list) = (paths[path], event == EventKind::NodeChildrenChanged);
                    let is_gone = event == EventKind::NodeDeleted;
                    let fires = |watched: &str, kind| match kind {
                        WatchKind::Data => watched == path && !is_list,
                        WatchKind::Child => watched == path && (is_list || is_gone),
                        WatchKind::Persistent => watched == path,
                        WatchKind::PersistentRecursive => {
                            let is_below = path.strip_prefix(watched).is_some_and(|rest| rest.starts_with('/'));
                            !is_list && (watched == path || watched == "/" || is_below)
                        }
                    };
                    let mut told = BTreeSet::new();
                    model.retain(|&(watched, kind, conn)| {
                        let fired = fires(watched, kind);
                        if fired {
                            told.insert(conn);
                        }
                        !fired || kind.stays()
                    });
                    prop_assert!(watches.fire(event, path).iter().eq(&told));
                }
                Step::Close(conn) => {
                    watches.remove_conn(ConnId(conn));
                    model.retain(|&(_, _, watcher)| watcher != ConnId(conn));
                }
            }
            let distinct = |key: fn(&(&'static str, WatchKind, ConnId)) -> (&'static str, u32)| {
                model.iter().map(key).collect::<BTreeSet<_>>().len()
            };
            prop_assert_eq!(watches.counts(), WatchCounts {
                paths: distinct(|&(path, kind, _)| (path, kind as u32)),
                watches: model.len(),
                connections: distinct(|&(_, _, conn)| ("", conn.0)),
            });
            let mut listed: Vec<_> = watches
                .by_path()
                .flat_map(|(path, kind, conns)| conns.iter().map(move |&conn| (path, kind, conn)))
                .collect();
            listed.sort_unstable();
            prop_assert!(listed.iter().eq(&model));
            for conn in watches.conns() {
                let own: Vec<_> = model.iter().filter(|watch| watch.2 == conn).map(|w| (w.0, w.1)).collect();
                prop_assert_eq!(watches.of_conn(conn), own);
            }
        }
    }
}
