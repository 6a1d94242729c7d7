//! ClickHouse Keeper's extra operations.

use super::*;
use crate::jute::{KeeperOp, Stat};
use ErrorCode::*;

fn enabled(paths: &[&str]) -> Leader {
    let mut leader = Leader::with(paths);
    leader.prep = Prep::new(Limits { keeper_operations: true, ..LIMITS }, Rules::default(), 7);
    leader
}

fn remove(path: &str, znodes_max: u32) -> Request<'_> {
    Request::Keeper(KeeperOp::RemoveRecursive { path, znodes_max })
}

fn not_exists(path: &str, version: i32) -> Request<'_> {
    Request::Keeper(KeeperOp::CheckNotExists { path, version })
}

fn if_not_exists(path: &str) -> Request<'_> {
    let Request::Create(create) = create(path) else { unreachable!("it is a create") };
    Request::Create(Create { op: CreateOp::IfNotExists, ..create })
}

/// Every field is "any".
const ANY: Stat = Stat {
    czxid: Zxid(u64::MAX),
    mzxid: Zxid(u64::MAX),
    ctime_ms: -1,
    mtime_ms: -1,
    version: -1,
    cversion: -1,
    aversion: -1,
    ephemeral_owner: SessionId(u64::MAX),
    data_length: -1,
    num_children: -1,
    pzxid: Zxid(u64::MAX),
};

fn check_stat(path: &str, stat: Stat) -> Request<'_> {
    Request::Keeper(KeeperOp::CheckStat { path, version: -1, stat })
}

#[test]
fn where_they_are_not_enabled_they_are_unknown() {
    let mut leader = Leader::with(&["/a", "/keeper"]);
    for request in [remove("/a", 9), not_exists("/x", -1), if_not_exists("/x"), check_stat("/a", ANY)] {
        assert_eq!(leader.refusal(ONE, &request), Unimplemented);
        assert_eq!(leader.refusal(ONE, &multi_of([create("/y"), request])), MarshallingError);
    }
    leader.ask(ONE, &set("/keeper", -1)).expect("a znode like any other");
}

#[test]
fn a_recursive_removal_takes_what_is_and_what_will_be_there() {
    let mut leader = enabled(&["/a", "/a/b", "/a/b/c", "/a/gone", "/a/gone/x", "/ab"]);
    leader.ask(ONE, &create("/a/b/new")).expect("can be created");
    leader.ask(ONE, &create_flags("/a/b/new/e", CreateMode::Ephemeral)).expect("can be created");
    leader.ask(ONE, &delete("/a/gone/x", -1)).expect("is there");
    leader.ask(ONE, &delete("/a/gone", -1)).expect("is there");
    assert_eq!(leader.refusal(ONE, &remove("/a", 4)), NotEmpty);
    assert_eq!(leader.refusal(ONE, &remove("/a", 0)), NotEmpty);
    let Result::Ok(Body::Ops(ops)) = leader.ask(ONE, &remove("/a", 5)) else { panic!("there are five") };
    let Some(op::Op::DeleteAll(all)) = &ops.ops[0].op else { panic!("{ops:?}") };
    assert_eq!(all.paths, ["/a/b/new/e", "/a/b/new", "/a/b/c", "/a/b", "/a"]);
    assert_eq!(leader.refusal(ONE, &create("/a/late")), NoNode);
    leader.apply_all();
    assert_eq!((leader.tree.len(), leader.tree.ephemerals_count()), (5, 0));
    assert_eq!(leader.tree.node("/").expect("the root").num_children(), 2);
    assert_eq!(leader.refusal(ONE, &remove("/a", 5)), NoNode);
}

#[test]
fn a_recursive_removal_is_refused_as_a_whole() {
    let mut leader = enabled(&["/a", "/a/b", "/a/b/c"]);
    for path in ["/", "/zookeeper", "/zookeeper/quota", "/keeper", "/keeper/api_version", "a", "/a/"] {
        assert_eq!(leader.refusal(ONE, &remove(path, 100)), BadArguments, "{path}");
    }
    assert_eq!(leader.refusal(ONE, &remove("/none/x", 9)), NoNode);
    assert_eq!(leader.refusal(GONE, &remove("/a", 9)), SessionExpired);
    leader.ask(ONE, &set_acl("/a/b/c", all_but(perms::DELETE), -1)).expect("is permitted");
    assert_eq!(leader.refusal(ONE, &remove("/a", 9)), NoAuth);
    assert_eq!(leader.refusal(ONE, &multi_of([create("/x"), remove("/a/b/c", 9)])), NoAuth);
    assert_eq!(leader.refusal(ONE, &check("/x", -1)), NoNode);
    leader.ask(ONE, &check("/a/b/c", 0)).expect("is there");
    let mut many = enabled(&["/m"]);
    let names: Vec<String> =
        (0..100).map(|n| format!("/m/{n}-with-a-name-of-some-forty-characters")).collect();
    for name in &names {
        many.ask(ONE, &create(name)).expect("can be created");
    }
    assert_eq!(many.refusal(ONE, &remove("/m", u32::MAX)), NotEmpty, "more than a transaction holds");
}

#[test]
fn a_create_if_not_exists_is_content_with_either() {
    let mut leader = enabled(&["/a"]);
    for applied in [0, 1] {
        leader
            .ask(ONE, &multi_of([if_not_exists("/a"), if_not_exists("/b"), if_not_exists("/b")]))
            .expect("fine");
        leader.apply(applied);
        leader.ask(ONE, &check("/a", 0)).expect("nothing was written into it");
    }
    assert_eq!(leader.refusal(ONE, &if_not_exists("/none/x")), NoNode);
    assert_eq!(leader.refusal(ONE, &if_not_exists("/keeper/x")), BadArguments);
    leader.apply_all();
}

#[test]
fn a_check_that_something_is_not_there_passes_only_then() {
    let mut leader = enabled(&["/a"]);
    leader.ask(ONE, &not_exists("/b", -1)).expect("is not there");
    leader.ask(ONE, &not_exists("/a", 7)).expect("not in that version");
    assert_eq!(leader.refusal(ONE, &not_exists("/a", -1)), NodeExists);
    assert_eq!(leader.refusal(ONE, &not_exists("/a", 0)), NodeExists);
    leader.ask(ONE, &multi_of([not_exists("/b", -1), create("/b")])).expect("not before");
    assert_eq!(leader.refusal(ONE, &not_exists("/b", -1)), NodeExists);
    leader.ask(ONE, &set_acl("/a", all_but(perms::READ), -1)).expect("is permitted");
    assert_eq!(leader.refusal(ONE, &not_exists("/a", 7)), NoAuth);
    leader.apply_all();
}

#[test]
fn a_check_of_the_stat_looks_at_each_field_that_is_asked_for() {
    let mut leader = enabled(&["/a", "/a/b"]);
    leader.ask(ONE, &set("/a", 0)).expect("the version is right");
    leader.apply_all();
    let stat = leader.tree.node("/a").expect("is there").stat();
    leader.ask(ONE, &check_stat("/a", stat)).expect("all of it is right");
    leader.ask(ONE, &check_stat("/a", ANY)).expect("nothing is asked");
    let wrong = [
        Stat { czxid: Zxid(7), ..ANY },
        Stat { mzxid: Zxid(7), ..ANY },
        Stat { pzxid: Zxid(7), ..ANY },
        Stat { ctime_ms: 7, ..ANY },
        Stat { mtime_ms: 7, ..ANY },
        Stat { version: 7, ..ANY },
        Stat { cversion: 7, ..ANY },
        Stat { aversion: 7, ..ANY },
        Stat { ephemeral_owner: SessionId(7), ..ANY },
        Stat { data_length: 7, ..ANY },
        Stat { num_children: 7, ..ANY },
    ];
    for stat in wrong {
        assert_eq!(leader.refusal(ONE, &check_stat("/a", stat)), BadVersion, "{stat:?}");
    }
    assert_eq!(leader.refusal(ONE, &check_stat("/none", ANY)), NoNode);
    // What is proposed counts, before it is applied and behind it.
    leader.ask(ONE, &create("/a/c")).expect("can be created");
    let before = Stat { mzxid: stat.mzxid, mtime_ms: stat.mtime_ms, ctime_ms: stat.ctime_ms, ..ANY };
    leader
        .ask(ONE, &check_stat("/a", Stat { num_children: 2, cversion: 2, ..before }))
        .expect("as it will be");
    leader.ask(ONE, &set("/a", 1)).expect("the version is right");
    for late in [Stat { mzxid: stat.mzxid, ..ANY }, Stat { mtime_ms: stat.mtime_ms, ..ANY }] {
        assert_eq!(leader.refusal(ONE, &check_stat("/a", late)), BadVersion);
    }
    // Whoever has seen it on a follower knows it before the leader has applied it.
    let follower = leader.tree_to_be();
    let seen = ["/a", "/a/c"].map(|path| (path, follower.node(path).expect("is there").stat()));
    for applied in [false, true] {
        for (path, stat) in seen {
            leader.ask(ONE, &check_stat(path, stat)).expect("all of it is right");
        }
        if !applied {
            leader.apply_all();
        }
    }
}
