//! Every rule on its own, and which is looked at first.

use super::*;
use crate::jute::OpCode;
use crate::tree::{Lifetime, TTL_MS_MAX};
use ErrorCode::*;

#[test]
fn a_create_is_refused_for_the_first_of_its_reasons() {
    let mut leader = Leader::with(&["/a", "/closed"]);
    leader.ask(ONE, &set_acl("/closed", all_but(perms::CREATE), -1)).expect("is permitted");
    leader.ask(ONE, &create_flags("/e", CreateMode::Ephemeral)).expect("can be created");
    let no_acl = Vec::new;
    for (session, path, flags, acl, code) in [
        (GONE, "bad", 7, no_acl(), BadArguments),
        (GONE, "bad", -1, no_acl(), BadArguments),
        (GONE, "bad", CreateMode::Container as i32, no_acl(), SessionExpired),
        (GONE, "bad", CreateMode::PersistentWithTtl as i32, no_acl(), Unimplemented),
        (GONE, "bad", CreateMode::PersistentSequentialWithTtl as i32, no_acl(), Unimplemented),
        (GONE, "bad", 0, no_acl(), SessionExpired),
        (ONE, "bad", 0, no_acl(), BadArguments),
        (ONE, "", 0, no_acl(), BadArguments),
        (ONE, "/absent/\0", 0, no_acl(), BadArguments),
        (ONE, "/absent/..", 0, no_acl(), InvalidAcl),
        (ONE, "/absent/..", 0, acl_of(31, AuthId { scheme: "auth".into(), id: "".into() }), InvalidAcl),
        (ONE, "/absent/..", 0, Acl::open(), NoNode),
        (ONE, "a/b", 0, Acl::open(), NoNode),
        (ONE, "/a/../b", 0, Acl::open(), NoNode),
        (ONE, "/closed/..", 0, Acl::open(), NoAuth),
        (ONE, "/a/..", 0, Acl::open(), BadArguments),
        (ONE, "/a/", 0, Acl::open(), BadArguments),
        (ONE, "//a", 0, Acl::open(), BadArguments),
        (ONE, "//a", 2, Acl::open(), BadArguments),
        (ONE, "/a/\u{1}", 2, Acl::open(), BadArguments),
        (ONE, "/", 0, Acl::open(), NodeExists),
        (ONE, "/a", 1, Acl::open(), NodeExists),
        (ONE, "/zookeeper", 0, Acl::open(), NodeExists),
        (ONE, "/e/child", 0, Acl::open(), NoChildrenForEphemerals),
        (ONE, "/e/child", 3, Acl::open(), NoChildrenForEphemerals),
    ] {
        assert_eq!(leader.refusal(session, &create_as(path, flags, acl)), code, "{session} {path:?} {flags}");
    }
}

fn create_by(op: CreateOp, mode: CreateMode) -> Request<'static> {
    Request::Create(Create { path: "/c", data: None, acl: Acl::open(), flags: mode as i32, op })
}

#[test]
fn subjects_of_certificates_are_for_servers_with_tls() {
    for (has_x509, refusal) in [(false, Some(InvalidAcl)), (true, None)] {
        let rules = Rules { has_x509, ..Rules::default() };
        let mut leader = Leader { prep: Prep::new(LIMITS, rules, 1), ..Leader::new() };
        let acl = vec![Acl { perms: perms::ALL, id: AuthId { scheme: "x509".into(), id: "CN=a".into() } }];
        let create = Request::Create(Create { path: "/c", data: None, acl, flags: 0, op: CreateOp::Create });
        assert_eq!(leader.ask(ONE, &create).err().map(|error| error.code), refusal);
    }
}

#[test]
fn the_operation_says_how_long_a_znode_lives_and_the_flags_only_have_to_fit() {
    use CreateMode::*;
    let ttl = |ttl_ms| CreateOp::Ttl { ttl_ms };
    let most = TTL_MS_MAX as i64;
    for (op, mode, expected) in [
        (CreateOp::Create, Container, Result::Ok(Lifetime::Unlimited)),
        (CreateOp::Create2, Ephemeral, Result::Ok(Lifetime::Session(ONE))),
        (CreateOp::Create2, PersistentWithTtl, Err(BadArguments)),
        (CreateOp::Container, Container, Result::Ok(Lifetime::Container)),
        (CreateOp::Container, Persistent, Result::Ok(Lifetime::Container)),
        (CreateOp::Container, Ephemeral, Result::Ok(Lifetime::Container)),
        (CreateOp::Container, PersistentWithTtl, Err(BadArguments)),
        (ttl(5), PersistentWithTtl, Result::Ok(Lifetime::Ttl { ms: 5 })),
        (ttl(most), PersistentWithTtl, Result::Ok(Lifetime::Ttl { ms: TTL_MS_MAX })),
        (ttl(most + 1), PersistentWithTtl, Err(BadArguments)),
        (ttl(0), PersistentWithTtl, Err(BadArguments)),
        (ttl(-1), PersistentWithTtl, Err(BadArguments)),
        (ttl(5), Persistent, Err(BadArguments)),
        (ttl(-1), Persistent, Err(BadArguments)),
    ] {
        let limits = Limits { has_ttls: true, ..LIMITS };
        let mut leader = Leader { prep: Prep::new(limits, Rules::default(), 1), ..Leader::new() };
        let lifetime = leader.ask(ONE, &create_by(op, mode)).map_err(|error| error.code).map(|_| {
            leader.apply_all();
            leader.tree.node("/c").expect("it was created").lifetime()
        });
        assert_eq!(lifetime, expected, "{op:?} {mode:?}");
    }
}

#[test]
fn without_extended_types_nothing_has_a_time_to_live() {
    let mut leader = Leader::new();
    let request = create_by(CreateOp::Ttl { ttl_ms: 5 }, CreateMode::PersistentWithTtl);
    assert_eq!(leader.refusal(ONE, &request), Unimplemented);
}

#[test]
fn a_container_goes_unless_something_is_about_to_happen_to_it() {
    let mut leader = Leader::new();
    assert!(leader.delete_limited("/c").is_none(), "it is not there");
    leader.ask(ONE, &create_by(CreateOp::Container, CreateMode::Container)).expect("can be created");
    leader.apply_all();
    leader.ask(ONE, &create("/c/child")).expect("can be created");
    assert!(leader.delete_limited("/c").is_none(), "it is about to have a child");
    leader.apply_all();
    assert!(leader.delete_limited("/c").is_none(), "it has a child");
    leader.ask(ONE, &delete("/c/child", -1)).expect("can be deleted");
    leader.apply_all();
    leader.ask(ONE, &set("/c", 0)).expect("can be set");
    assert!(leader.delete_limited("/c").is_none(), "its data is about to change");
    leader.apply_all();
    assert!(leader.delete_limited("/c").is_some());
    assert_eq!(leader.refusal(ONE, &create("/c/child")), NoNode);
    leader.apply_all();
    assert!(leader.tree.node("/c").is_none());
    leader.ask(ONE, &create("/persistent")).expect("can be created");
    leader.apply_all();
    assert!(leader.delete_limited("/persistent").is_none());
}

#[test]
fn data_may_be_null() {
    let mut leader = Leader::new();
    let create = Create { path: "/a", data: None, acl: Acl::open(), flags: 0, op: CreateOp::Create };
    leader.ask(ONE, &Request::Create(create)).expect("can be created");
    leader.apply_all();
    assert_eq!(leader.tree.node("/a").expect("it was created").data(), None);
    for data in [Some(&b""[..]), None] {
        leader.ask(ONE, &Request::SetData { path: "/a", data, version: -1 }).expect("is permitted");
        leader.apply_all();
        let node = leader.tree.node("/a").expect("it was created");
        assert_eq!((node.data().as_deref(), node.stat().data_length), (data, 0));
    }
}

#[test]
fn a_sequential_create_may_begin_with_what_is_no_path() {
    let mut leader = Leader::with(&["/a"]);
    assert_eq!(
        created(leader.ask(ONE, &create_flags("/a/", CreateMode::PersistentSequential))),
        "/a/0000000000"
    );
    assert_eq!(created(leader.ask(ONE, &create_flags("/", CreateMode::EphemeralSequential))), "/0000000001");
    assert_eq!(
        created(leader.ask(ONE, &create_flags("/a/..", CreateMode::PersistentSequential))),
        "/a/..0000000001"
    );
}

#[test]
fn a_delete_is_refused_for_the_first_of_its_reasons() {
    let mut leader = Leader::with(&["/a", "/a/b", "/closed", "/closed/b"]);
    leader.ask(ONE, &set_acl("/closed", all_but(perms::DELETE), -1)).expect("is permitted");
    for (session, path, version, code) in [
        (GONE, "/", 5, SessionExpired),
        (ONE, "/", 5, BadArguments),
        (ONE, "/zookeeper", 5, BadArguments),
        (ONE, "/zookeeper/quota", 5, BadArguments),
        (ONE, "/zookeeper/config", 5, BadArguments),
        (ONE, "", 5, BadArguments),
        (ONE, "a", 5, BadArguments),
        (ONE, "/a/\0", 5, BadArguments),
        (ONE, "/absent/b", 5, NoNode),
        (ONE, "a/b", 5, NoNode),
        (ONE, "/closed/absent", 5, NoAuth),
        (ONE, "/closed/b", 5, NoAuth),
        (ONE, "/a/..", 5, NoNode),
        (ONE, "/a/", 5, NoNode),
        (ONE, "//", 5, NoNode),
        (ONE, "/a", 5, BadVersion),
        (ONE, "/a", 0, NotEmpty),
    ] {
        assert_eq!(leader.refusal(session, &delete(path, version)), code, "{session} {path:?} {version}");
    }
    leader.ask(ONE, &delete("/a/b", 0)).expect("the version is right");
    leader.ask(ONE, &delete("/a", -1)).expect("any version is right");
}

#[test]
fn a_set_data_is_refused_for_the_first_of_its_reasons() {
    let mut leader = Leader::with(&["/a", "/closed"]);
    leader.ask(ONE, &set_acl("/closed", all_but(perms::WRITE), -1)).expect("is permitted");
    for (session, path, version, code) in [
        (GONE, "", 5, SessionExpired),
        (ONE, "", 5, BadArguments),
        (ONE, "/absent/..", 5, BadArguments),
        (ONE, "/a/", 5, BadArguments),
        (ONE, "/absent", 5, NoNode),
        (ONE, "/closed", 5, NoAuth),
        (ONE, "/a", 5, BadVersion),
        (ONE, "/a", -2, BadVersion),
    ] {
        assert_eq!(leader.refusal(session, &set(path, version)), code, "{session} {path:?} {version}");
    }
    leader.ask(ONE, &set("/a", 0)).expect("the version is right");
    leader.ask(ONE, &set("/a", 1)).expect("the version is right");
    leader.ask(ONE, &set("/", -1)).expect("the root has data too");
}

#[test]
fn a_set_acl_is_refused_for_the_first_of_its_reasons() {
    let mut leader = Leader::with(&["/a", "/closed"]);
    leader.ask(ONE, &set_acl("/closed", all_but(perms::ADMIN), -1)).expect("is permitted");
    for (session, path, acl, version, code) in [
        (GONE, "", Vec::new(), 5, SessionExpired),
        (ONE, "/absent/..", Vec::new(), 5, BadArguments),
        (ONE, "/absent", Vec::new(), 5, InvalidAcl),
        (ONE, "/absent", Acl::open(), 5, NoNode),
        (ONE, "/closed", Acl::open(), 5, NoAuth),
        (ONE, "/a", Acl::open(), 5, BadVersion),
    ] {
        assert_eq!(
            leader.refusal(session, &set_acl(path, acl, version)),
            code,
            "{session} {path:?} {version}"
        );
    }
    leader.ask(ONE, &set_acl("/a", Acl::open(), 0)).expect("the ACL version is right");
    leader.ask(ONE, &set_acl("/a", Acl::open(), 1)).expect("the ACL version is right");
    assert_eq!(leader.refusal(ONE, &set("/a", 1)), BadVersion, "the version of the data did not change");
}

#[test]
fn a_check_is_refused_for_the_first_of_its_reasons_and_changes_nothing() {
    let mut leader = Leader::with(&["/a", "/closed"]);
    leader.ask(ONE, &set_acl("/closed", all_but(perms::READ), -1)).expect("is permitted");
    for (session, path, version, code) in [
        (GONE, "", 5, SessionExpired),
        (ONE, "/absent/..", 5, BadArguments),
        (ONE, "/absent", 5, NoNode),
        (ONE, "/closed", 5, NoAuth),
        (ONE, "/a", 5, BadVersion),
    ] {
        assert_eq!(leader.refusal(session, &check(path, version)), code, "{session} {path:?} {version}");
    }
    for _ in 0..2 {
        leader.ask(ONE, &check("/a", 0)).expect("the version is right");
    }
}

#[test]
fn a_failed_multi_tells_which_operation_failed() {
    let mut leader = Leader::with(&["/a"]);
    let requests = [check("/a", 0), create("/a/b"), set("/a", 7), create("/c")];
    let error = leader.ask(ONE, &multi_of(requests)).expect_err("the third fails");
    assert_eq!(error, PrepError { code: BadVersion, failed_op: Some(2) });
}

#[test]
fn a_multi_that_cannot_be_read_fails_as_a_whole_before_anything_is_judged() {
    let mut leader = Leader::new();
    for unreadable in
        [MultiOp::Unimplemented { op: OpCode::GetData as i32 }, MultiOp::Unimplemented { op: 999 }]
    {
        let ops = vec![MultiOp::Delete { path: "/absent", version: -1 }, unreadable];
        assert_eq!(leader.ask(ONE, &Request::Multi(ops)), Err(MarshallingError.into()));
    }
    for flags in [-1, CreateMode::PersistentWithTtl as i32, CreateMode::PersistentSequentialWithTtl as i32, 7]
    {
        let requests = [delete("/absent", -1), create_as("/a", flags, Acl::open())];
        assert_eq!(leader.ask(ONE, &multi_of(requests)), Err(MarshallingError.into()));
    }
}

#[test]
fn a_time_to_live_in_a_multi_is_unimplemented_where_it_stands() {
    let mut leader = Leader::new();
    let ttl = create_by(CreateOp::Ttl { ttl_ms: 5 }, CreateMode::PersistentWithTtl);
    let error = leader.ask(ONE, &multi_of([create("/a"), ttl])).expect_err("is not offered");
    assert_eq!(error, PrepError { code: Unimplemented, failed_op: Some(1) });
}

#[test]
fn an_empty_multi_is_a_transaction_without_operations() {
    let mut leader = Leader::new();
    assert_eq!(leader.ask(ONE, &Request::Multi(Vec::new())), Result::Ok(Body::Ops(Ops::default())));
    leader.apply_all();
}

#[test]
fn a_read_never_becomes_a_transaction() {
    let mut leader = Leader::with(&["/a"]);
    for request in [
        Request::Exists { path: "/a", watch: false },
        Request::GetData { path: "/a", watch: false },
        Request::Sync { path: Some("/a") },
        Request::Ping,
        Request::Unimplemented { op: OpCode::DeleteContainer as i32 },
    ] {
        assert_eq!(leader.refusal(ONE, &request), Unimplemented, "{request:?}");
    }
}

#[test]
fn an_acl_of_auth_is_that_of_the_creator() {
    let mut leader = Leader::new();
    leader.auth = vec![me()];
    let auth = AuthId { scheme: "auth".into(), id: "".into() };
    leader.ask(ONE, &create_as("/mine", 0, acl_of(perms::ALL, auth))).expect("there is an identity");
    for applied in [0, 1] {
        leader.apply(applied);
        leader.auth = Vec::new();
        assert_eq!(leader.refusal(ONE, &set("/mine", -1)), NoAuth, "applied: {applied}");
        leader.auth = vec![me()];
        leader.ask(ONE, &check("/mine", -1)).expect("is the creator's");
    }
}

#[test]
fn versions_wrap_around_and_leave_out_the_one_that_means_any() {
    use crate::txn::SetData;
    let mut leader = Leader::with(&["/a"]);
    for (now, next) in [(i32::MAX, i32::MIN), (-2, 0)] {
        let set_data = SetData { path: "/a".into(), data: Default::default(), version: now };
        let op = Op { op: Some(op::Op::SetData(set_data)) };
        leader.last = leader.next();
        leader
            .proposed
            .push_back((leader.last, Txn { body: Some(Body::Ops(Ops { ops: vec![op] })), ..Txn::default() }));
        leader.apply_all();
        let Result::Ok(Body::Ops(ops)) = leader.ask(ONE, &set("/a", now)) else {
            panic!("the version is right")
        };
        assert!(matches!(&ops.ops[0].op, Some(op::Op::SetData(set)) if set.version == next), "{now}");
        leader.apply_all();
    }
}

#[test]
fn data_that_would_not_fit_into_a_reply_is_refused() {
    let mut leader = Leader::with(&["/a"]);
    let most = vec![b'x'; LIMITS.frame_bytes_max - 88];
    let more = vec![b'x'; most.len() + 1];
    let set = |data| Request::SetData { path: "/a", data: Some(data), version: -1 };
    let create = |data| {
        Request::Create(Create {
            path: "/b",
            data: Some(data),
            acl: Acl::open(),
            flags: 0,
            op: CreateOp::Create,
        })
    };
    assert_eq!(leader.refusal(ONE, &set(&more)), BadArguments);
    assert_eq!(leader.refusal(ONE, &create(&more)), BadArguments);
    leader.ask(ONE, &set(&most)).expect("fits");
    leader.ask(ONE, &create(&most)).expect("fits");
}

#[test]
fn an_acl_that_would_not_fit_into_a_reply_is_refused() {
    let mut leader = Leader::with(&["/a"]);
    leader.auth = (0..100).map(|i| AuthId { scheme: "digest".into(), id: format!("user{i}:x") }).collect();
    let auth = || acl_of(perms::ALL, AuthId { scheme: "auth".into(), id: "".into() });
    assert_eq!(leader.refusal(ONE, &set_acl("/a", auth(), -1)), BadArguments);
    assert_eq!(leader.refusal(ONE, &create_as("/b", 0, auth())), BadArguments);
    leader.auth.truncate(50);
    leader.ask(ONE, &set_acl("/a", auth(), -1)).expect("fits");
}

#[test]
fn an_acl_of_very_many_entries_is_none() {
    let mut leader = Leader::with(&["/a"]);
    let entries = |count| (0..count).map(|perms| Acl { perms, id: anyone() }).collect();
    assert_eq!(leader.refusal(ONE, &set_acl("/a", entries(1001), -1)), InvalidAcl);
    assert_eq!(
        leader.refusal(ONE, &set_acl("/a", entries(1000), -1)),
        BadArguments,
        "too long for a reply here"
    );
}

#[test]
fn a_transaction_that_could_not_be_read_back_is_refused_and_leaves_nothing_behind() {
    let mut leader = Leader::with(&["/a"]);
    let data = [b'x'; 1900];
    let set = |version| Request::SetData { path: "/a", data: Some(&data), version };
    assert_eq!(leader.ask(ONE, &multi_of([set(0), set(1), set(2)])), Err(BadArguments.into()));
    leader.ask(ONE, &multi_of([set(0), set(1)])).expect("fits, and the version is still 0");
}

#[test]
fn a_multi_is_refused_as_soon_as_it_is_too_big() {
    let mut leader = Leader::with(&["/a"]);
    leader.auth = (0..50).map(|i| AuthId { scheme: "digest".into(), id: format!("user{i}:x") }).collect();
    let auth = || acl_of(perms::ALL, AuthId { scheme: "auth".into(), id: "".into() });
    let paths: Vec<String> = (0..5).map(|i| format!("/a/{i}")).collect();
    let creates = paths.iter().map(|path| create_as(path, 0, auth()));
    // What stands behind is not even looked at: it could be gigabytes.
    let multi = multi_of(creates.chain([delete("/absent", -1)]));
    assert_eq!(leader.ask(ONE, &multi), Err(BadArguments.into()));
    leader.ask(ONE, &create_as("/a/0", 0, auth())).expect("nothing is left behind");
}

#[test]
fn who_the_servers_are_is_changed_by_a_reconfiguration_alone() {
    let mut leader = Leader::new();
    assert_eq!(leader.refusal(ONE, &set("/zookeeper/config", -1)), NoAuth);
    leader.prep = Prep::new(LIMITS, Rules { skip: true, ..Rules::default() }, 7);
    assert_eq!(leader.refusal(ONE, &set("/zookeeper/config", -1)), BadArguments);
    let multi = multi_of([set("/zookeeper/config", -1)]);
    assert_eq!(leader.ask(ONE, &multi), Err(PrepError { code: BadArguments, failed_op: Some(0) }));
}
