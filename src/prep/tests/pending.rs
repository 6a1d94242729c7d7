//! Requests that are judged while earlier ones are not applied yet.

use super::*;
use ErrorCode::*;

fn sequential(path: &str) -> Request<'_> {
    create_flags(path, CreateMode::PersistentSequential)
}

#[test]
fn sequence_numbers_count_what_is_only_proposed() {
    let mut leader = Leader::with(&["/q"]);
    for number in 0..5 {
        assert_eq!(created(leader.ask(ONE, &sequential("/q/n-"))), format!("/q/n-000000000{number}"));
        leader.apply(number % 2);
    }
}

/// ZOOKEEPER-1046.
#[test]
fn sequence_numbers_do_not_go_back_when_children_are_deleted() {
    let mut leader = Leader::with(&["/q"]);
    for number in 0..6 {
        let path = created(leader.ask(ONE, &sequential("/q/")));
        assert_eq!(path, format!("/q/000000000{number}"));
        leader.apply(number % 3);
        leader.ask(ONE, &delete(&path, -1)).expect("is there");
    }
}

/// ZOOKEEPER-1624.
#[test]
fn a_failed_multi_takes_its_sequence_numbers_back_and_no_others() {
    let mut leader = Leader::with(&["/q"]);
    leader.ask(ONE, &sequential("/q/")).expect("can be created");
    let failing = [sequential("/q/"), sequential("/q/"), delete("/absent", -1)];
    assert_eq!(leader.refusal(ONE, &multi_of(failing)), NoNode);
    assert_eq!(created(leader.ask(ONE, &sequential("/q/"))), "/q/0000000001");
    leader.apply_all();
    let failing = [sequential("/q/"), delete("/absent", -1)];
    assert_eq!(leader.refusal(ONE, &multi_of(failing)), NoNode);
    assert_eq!(leader.prep.pending(), 0);
    assert_eq!(created(leader.ask(ONE, &sequential("/q/"))), "/q/0000000002");
}

/// ZOOKEEPER-4219.
#[test]
fn the_operations_of_a_multi_build_on_each_other() {
    let mut leader = Leader::new();
    let requests =
        [create("/a"), create("/a/b"), set("/a/b", 0), check("/a/b", 1), delete("/a/b", 1), delete("/a", 0)];
    leader.ask(ONE, &multi_of(requests)).expect("each is right after the one before");
    assert_eq!(leader.refusal(ONE, &set("/a", -1)), NoNode);
    leader.apply_all();
    assert!(leader.tree.node("/a").is_none());
}

#[test]
fn a_failed_multi_leaves_the_pending_state_exactly_as_it_was() {
    let mut leader = Leader::with(&["/old"]);
    leader.ask(ONE, &create_flags("/old/e", CreateMode::Ephemeral)).expect("can be created");
    leader.ask(ONE, &set("/old", 0)).expect("the version is right");
    let failing = [
        set("/old", 1),
        delete("/old/e", -1),
        delete("/old", 2),
        create("/old"),
        create_flags("/old/e", CreateMode::Persistent),
        create_flags("/new", CreateMode::Ephemeral),
        check("/old", 9),
    ];
    let error = leader.ask(ONE, &multi_of(failing)).expect_err("the last one fails");
    assert_eq!(error, PrepError { code: BadVersion, failed_op: Some(6) });
    leader.ask(ONE, &check("/old", 1)).expect("is as before");
    assert_eq!(leader.refusal(ONE, &delete("/old", 1)), NotEmpty);
    assert_eq!(leader.refusal(ONE, &check("/new", -1)), NoNode);
    assert_eq!(
        leader.close(ONE),
        Result::Ok(Body::CloseSession(CloseSession { paths: vec!["/old/e".into()] }))
    );
    leader.apply_all();
}

#[test]
fn a_znode_that_is_only_proposed_is_there_for_everyone_else() {
    let mut leader = Leader::new();
    leader.ask(ONE, &create("/a")).expect("can be created");
    assert_eq!(leader.refusal(TWO, &create("/a")), NodeExists);
    leader.ask(TWO, &set("/a", 0)).expect("the version is right");
    assert_eq!(leader.refusal(ONE, &set("/a", 0)), BadVersion);
    leader.ask(ONE, &create("/a/b")).expect("the parent is there");
    assert_eq!(leader.refusal(TWO, &delete("/a", -1)), NotEmpty);
    leader.ask(ONE, &delete("/a/b", -1)).expect("is there");
    leader.ask(TWO, &delete("/a", 1)).expect("has no children any more");
    assert_eq!(leader.refusal(ONE, &create("/a/b")), NoNode);
    leader.ask(ONE, &create("/a")).expect("can be created again");
    leader.ask(ONE, &check("/a", 0)).expect("and begins anew");
    leader.apply_all();
}

#[test]
fn a_permission_counts_from_when_it_is_proposed() {
    let mut leader = Leader::with(&["/a"]);
    leader.ask(ONE, &set_acl("/a", acl_of(perms::ALL, me()), -1)).expect("is permitted");
    assert_eq!(leader.refusal(ONE, &set("/a", -1)), NoAuth);
    leader.auth = vec![me()];
    leader.ask(ONE, &set("/a", 0)).expect("is permitted");
    leader.apply(1);
    leader.auth.clear();
    assert_eq!(leader.refusal(ONE, &set("/a", -1)), NoAuth);
    leader.apply_all();
    assert_eq!(leader.refusal(ONE, &set("/a", -1)), NoAuth);
}

/// The root has two names in ZooKeeper's tree; its pending state has one here.
#[test]
fn the_acl_of_the_root_counts_for_its_children_at_once() {
    let mut leader = Leader::new();
    leader.ask(ONE, &set_acl("/", all_but(perms::CREATE), -1)).expect("is permitted");
    assert_eq!(leader.refusal(ONE, &create("/a")), NoAuth);
}

#[test]
fn a_closing_session_takes_its_pending_ephemerals_along_and_nothing_else() {
    let mut leader = Leader::with(&["/d"]);
    for path in ["/d/applied", "/d/deleted", "/d/given-up"] {
        leader.ask(ONE, &create_flags(path, CreateMode::Ephemeral)).expect("can be created");
    }
    leader.apply_all();
    leader.ask(ONE, &create_flags("/a-pending", CreateMode::Ephemeral)).expect("can be created");
    leader.ask(TWO, &create_flags("/d/other", CreateMode::Ephemeral)).expect("can be created");
    leader.ask(TWO, &delete("/d/deleted", -1)).expect("anyone may delete it");
    leader.ask(ONE, &set("/d/applied", -1)).expect("is there");
    leader.ask(TWO, &delete("/d/given-up", -1)).expect("is there");
    leader.ask(TWO, &create_flags("/d/given-up", CreateMode::Ephemeral)).expect("can be created again");
    let paths = vec!["/a-pending".into(), "/d/applied".into()];
    assert_eq!(leader.close(ONE), Result::Ok(Body::CloseSession(CloseSession { paths })));
    assert_eq!(leader.refusal(TWO, &delete("/d/applied", -1)), NoNode);
    leader.ask(TWO, &create("/d/applied")).expect("is free again");
    leader.apply_all();
    assert_eq!(leader.tree.ephemerals(TWO), ["/d/given-up", "/d/other"]);
    assert_eq!(leader.tree.ephemerals_count(), 2);
}

#[test]
fn the_parent_of_closed_ephemerals_can_be_deleted_at_once() {
    let mut leader = Leader::with(&["/d"]);
    leader.ask(ONE, &create_flags("/d/e", CreateMode::Ephemeral)).expect("can be created");
    leader.close(ONE).expect("is open");
    leader.ask(TWO, &delete("/d", -1)).expect("has no children any more");
    leader.apply_all();
}

#[test]
fn a_session_that_is_closing_is_over_for_its_requests() {
    let mut leader = Leader::with(&["/a"]);
    leader.ask(ONE, &Request::CloseSession).expect("is open");
    for applied in [0, 1] {
        leader.apply(applied);
        assert_eq!(leader.refusal(ONE, &create_flags("/e", CreateMode::Ephemeral)), SessionExpired);
        assert_eq!(leader.refusal(ONE, &set("/a", -1)), SessionExpired);
        assert_eq!(leader.refusal(ONE, &Request::CloseSession), SessionExpired);
        let error = leader.ask(ONE, &multi_of([check("/a", -1), check("/a", -1)])).expect_err("is over");
        assert_eq!(error, PrepError { code: SessionExpired, failed_op: Some(0) });
    }
}

#[test]
fn a_session_that_is_only_proposed_can_be_used_and_closed() {
    let mut leader = Leader::new();
    assert_eq!(leader.refusal(GONE, &create("/a")), SessionExpired);
    leader.open(GONE).expect("is free");
    assert_eq!(leader.open(GONE), Err(SystemError.into()));
    leader.ask(GONE, &create_flags("/e", CreateMode::Ephemeral)).expect("is open");
    leader.close(GONE).expect("is open");
    assert_eq!(leader.open(GONE), Err(SystemError.into()), "its end is not applied yet");
    leader.apply(2);
    assert_eq!(leader.refusal(GONE, &create("/a")), SessionExpired);
    leader.apply_all();
    assert_eq!(leader.sessions.len(), 2);
    assert!(leader.tree.node("/e").is_none());
}

#[test]
fn a_session_continues_with_its_password_from_its_proposal_until_its_end_is_proposed() {
    let mut leader = Leader::new();
    assert!(!leader.may_continue(GONE, &PASSWORD), "there is none");
    leader.open(GONE).expect("is free");
    for applied in [0, 1] {
        leader.apply(applied);
        assert!(leader.may_continue(GONE, &PASSWORD));
        assert!(!leader.may_continue(GONE, &[1; PASSWORD_BYTES]));
        assert!(!leader.may_continue(GONE, &[]));
    }
    leader.close(GONE).expect("is open");
    for applied in [0, 1] {
        leader.apply(applied);
        assert!(!leader.may_continue(GONE, &PASSWORD));
    }
}

#[test]
fn a_session_with_more_ephemerals_than_fit_is_closed_in_several_transactions() {
    let mut leader = Leader::new();
    for number in 0..200 {
        let path = format!("/ephemeral-with-a-long-name-{number:03}");
        leader.ask(ONE, &create_flags(&path, CreateMode::Ephemeral)).expect("can be created");
        leader.apply(number % 2);
    }
    let mut parts = 0;
    while let Body::Ops(ops) = leader.close(ONE).expect("is open still") {
        assert!(ops.encoded_len() <= LIMITS.txn_bytes_max);
        assert_eq!(leader.refusal(ONE, &create("/a")), SessionExpired);
        parts += 1;
    }
    assert!((2..5).contains(&parts), "{parts}");
    leader.apply_all();
    assert_eq!(leader.tree.ephemerals_count(), 0);
    assert!(leader.sessions.get(ONE).is_none());
}

#[test]
#[should_panic(expected = "is not above")]
fn a_zxid_that_does_not_rise_is_a_mistake() {
    let mut leader = Leader::new();
    leader.ask(ONE, &create("/a")).expect("can be created");
    leader.last = Zxid::new(Epoch(1), 0);
    let _ = leader.ask(ONE, &create("/b"));
}
