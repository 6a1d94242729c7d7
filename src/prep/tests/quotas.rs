//! Quotas that bind.

use super::*;
use crate::tree::{Limit, Usage};
use ErrorCode::*;

fn enforcing(paths: &[&str]) -> Leader {
    let mut leader = Leader::with(paths);
    leader.prep = Prep::new(Limits { enforces_quotas: true, ..LIMITS }, Rules::default(), 7);
    leader
}

fn create_with<'a>(path: &'a str, data: &'a [u8]) -> Request<'a> {
    let (acl, flags) = (Acl::open(), CreateMode::Persistent as i32);
    Request::Create(Create { path, data: Some(data), acl, flags, op: CreateOp::Create })
}

fn set_to<'a>(path: &'a str, data: &'a [u8]) -> Request<'a> {
    Request::SetData { path, data: Some(data), version: -1 }
}

impl Leader {
    /// Makes the quota of `path`.
    fn limit(&mut self, path: &str, limits: &str) {
        let mut quota_path = "/zookeeper/quota".to_owned();
        for name in path.split('/').skip(1).chain(["zookeeper_limits"]) {
            quota_path = format!("{quota_path}/{name}");
            if self.tree.node(&quota_path).is_none() {
                self.ask(ONE, &create_with(&quota_path, limits.as_bytes())).expect("can be created");
            }
        }
        self.ask(ONE, &set_to(&quota_path, limits.as_bytes())).expect("is there");
        self.apply_all();
    }

    fn exceeded(&mut self) -> Vec<(String, Limit, u64, bool)> {
        let told = self.prep.take_exceeded();
        told.into_iter().map(|told| (told.path, told.limit, told.usage, told.in_bytes)).collect()
    }
}

#[test]
fn limits_that_cannot_be_understood_are_told_where_they_would_bind() {
    let mut leader = enforcing(&["/a"]);
    leader.limit("/a", "count=-1,bytes=-1=;countHardLimit=2");
    assert_eq!(leader.prep.take_misread(), []);
    leader.limit("/a", "nonsense");
    let told = leader.prep.take_misread();
    assert_eq!(told, [Misread { path: "/a".into(), text: "nonsense".into() }]);
    assert_eq!(leader.prep.take_misread(), [], "once");
    leader.ask(ONE, &set_to("/a", b"nonsense")).expect("is there");
    assert_eq!(leader.prep.take_misread(), []);
    let mut leader = Leader::with(&["/a"]);
    leader.limit("/a", "nonsense");
    assert_eq!(leader.prep.take_misread(), [], "there is nothing that would bind");
}

#[test]
fn a_hard_count_holds_whatever_is_applied_yet() {
    let mut leader = enforcing(&["/a"]);
    leader.limit("/a", "count=-1,bytes=-1=;countHardLimit=3");
    leader.ask(ONE, &create("/a/1")).expect("there is room");
    assert_eq!(leader.refusal(ONE, &multi_of([create("/a/2"), create("/a/3")])), QuotaExceeded);
    leader.ask(ONE, &create("/a/2")).expect("the failed multi took no room");
    assert_eq!(leader.refusal(ONE, &create("/a/3")), QuotaExceeded);
    leader.apply(1);
    assert_eq!(leader.refusal(ONE, &create("/a/3")), QuotaExceeded);
    leader.apply_all();
    assert_eq!(leader.refusal(ONE, &create("/a/3")), QuotaExceeded);
    leader.ask(ONE, &create("/b")).expect("has no quota");
    let told = leader.exceeded();
    assert_eq!(told.len(), 4);
    assert_eq!(told[0], ("/a".into(), Limit::Hard(3), 4, false));
}

#[test]
fn what_goes_makes_room_at_once() {
    let mut leader = enforcing(&["/a"]);
    leader.ask(ONE, &create_flags("/a/e", CreateMode::Ephemeral)).expect("no quota yet");
    leader.limit("/a", "count=-1,bytes=-1=;countHardLimit=2");
    assert_eq!(leader.refusal(TWO, &create("/a/2")), QuotaExceeded);
    leader.ask(TWO, &multi_of([delete("/a/e", -1), create("/a/2")])).expect("one goes, one comes");
    leader.ask(TWO, &delete("/a/2", -1)).expect("is there");
    leader.ask(ONE, &create_flags("/a/s-", CreateMode::EphemeralSequential)).expect("there is room");
    assert_eq!(leader.refusal(TWO, &create("/a/2")), QuotaExceeded);
    leader.close(ONE).expect("is open");
    leader.ask(TWO, &create("/a/2")).expect("the ephemeral went with its session");
    leader.apply_all();
    assert_eq!(leader.tree.usage("/a"), Usage { count: 2, bytes: 8 });
    assert_eq!(leader.refusal(TWO, &create("/a/3")), QuotaExceeded);
    leader.ask(TWO, &delete("/a/2", -1)).expect("is there");
    let acl = Acl::open();
    let container = Create {
        path: "/a/c",
        data: None,
        acl,
        flags: CreateMode::Container as i32,
        op: CreateOp::Container,
    };
    leader.ask(TWO, &Request::Create(container)).expect("there is room");
    leader.apply_all();
    assert_eq!(leader.refusal(TWO, &create("/a/3")), QuotaExceeded);
    leader.delete_limited("/a/c").expect("a container");
    leader.ask(TWO, &create("/a/3")).expect("there is room");
}

#[test]
fn bytes_are_those_of_all_data_below() {
    let mut leader = enforcing(&["/a", "/a/b"]);
    leader.limit("/a", "count=-1,bytes=-1=;byteHardLimit=10");
    leader.ask(ONE, &set_to("/a/b", b"123456")).expect("4 and 6 are 10");
    assert_eq!(leader.refusal(ONE, &set_to("/a", b"12345")), QuotaExceeded);
    leader.ask(ONE, &set_to("/a", b"4321")).expect("no more than before");
    leader.ask(ONE, &create_with("/a/empty", b"")).expect("has no bytes");
    leader.apply_all();
    assert_eq!(leader.refusal(ONE, &create("/a/c")), QuotaExceeded);
    leader.ask(ONE, &set_to("/a/b", b"1")).expect("less");
    leader.ask(ONE, &create("/a/c")).expect("there is room");
    leader.apply_all();
    leader.limit("/a", "count=-1,bytes=-1=;byteHardLimit=2");
    assert_eq!(leader.refusal(ONE, &set_to("/a", b"123")), QuotaExceeded, "less, and too much still");
    assert_eq!(leader.refusal(ONE, &Request::SetData { path: "/a", data: None, version: 7 }), QuotaExceeded);
    leader.ask(ONE, &set_to("/a", b"abcd")).expect("changes no figure");
    leader.exceeded();
    leader.ask(ONE, &delete("/a/b", -1)).expect("deletes are never refused");
    leader.ask(ONE, &delete("/a/c", -1)).expect("deletes are never refused");
    assert_eq!(leader.refusal(ONE, &Request::SetData { path: "/a", data: None, version: 7 }), BadVersion);
    assert_eq!(leader.exceeded(), []);
}

#[test]
fn soft_limits_are_told_and_hard_ones_count_before_them() {
    let mut leader = enforcing(&["/a"]);
    leader.limit("/a", "count=1,bytes=5");
    leader.ask(ONE, &create("/a/1")).expect("soft");
    assert_eq!(
        leader.exceeded(),
        [("/a".into(), Limit::Soft(1), 2, false), ("/a".into(), Limit::Soft(5), 8, true)]
    );
    leader.limit("/a", "count=1,bytes=-1=;countHardLimit=9");
    leader.ask(ONE, &create("/a/2")).expect("the hard limit leaves room");
    assert_eq!(leader.exceeded(), []);
}

#[test]
fn the_nearest_quota_counts_and_only_while_it_is_there() {
    let mut leader = enforcing(&["/a", "/a/b"]);
    leader.limit("/a", "countHardLimit=2");
    leader.limit("/a/b", "countHardLimit=3");
    leader.ask(ONE, &create("/a/b/1")).expect("there is room below /a/b");
    assert_eq!(leader.refusal(ONE, &create("/a/1")), QuotaExceeded);
    leader.ask(ONE, &delete("/zookeeper/quota/a/b/zookeeper_limits", -1)).expect("is there");
    leader.apply_all();
    assert_eq!(leader.refusal(ONE, &create("/a/b/2")), QuotaExceeded, "now it counts for /a");
    leader.ask(ONE, &delete("/zookeeper/quota/a/zookeeper_limits", -1)).expect("is there");
    leader.apply_all();
    leader.ask(ONE, &create("/a/b/2")).expect("no quota is left");
}

#[test]
fn a_quota_binds_what_comes_behind_it_and_counts_what_came_before_whatever_is_applied() {
    const LIMITS_OF_A: &str = "/zookeeper/quota/a/zookeeper_limits";
    for applied in 0..6 {
        let mut leader = enforcing(&["/a", "/zookeeper/quota/a"]);
        leader.ask(ONE, &create("/a/1")).expect("there is no quota");
        leader.ask(ONE, &create_with(LIMITS_OF_A, b"countHardLimit=3")).expect("can be created");
        leader.ask(ONE, &create("/a/2")).expect("there is room");
        leader.apply(applied);
        assert_eq!(leader.refusal(ONE, &create("/a/3")), QuotaExceeded);
        let more = set_to(LIMITS_OF_A, b"countHardLimit=9");
        assert_eq!(leader.refusal(ONE, &multi_of([more, delete("/none", -1)])), NoNode);
        assert_eq!(leader.refusal(ONE, &create("/a/3")), QuotaExceeded, "the failed multi changed no limit");
        leader.ask(ONE, &set_acl(LIMITS_OF_A, Acl::open(), -1)).expect("is permitted");
        assert_eq!(leader.refusal(ONE, &create("/a/3")), QuotaExceeded, "its limit is the same");
        leader.ask(ONE, &set_to(LIMITS_OF_A, b"countHardLimit=4")).expect("is there");
        leader.apply(applied / 2);
        leader.ask(ONE, &create("/a/3")).expect("there is room again");
        assert_eq!(leader.refusal(ONE, &create("/a/4")), QuotaExceeded);
        leader.ask(ONE, &delete(LIMITS_OF_A, -1)).expect("is there");
        leader.ask(ONE, &create("/a/4")).expect("no quota is left");
        leader.apply_all();
        assert_eq!(leader.tree.usage("/a"), Usage { count: 5, bytes: 20 });
    }
}

#[test]
fn what_comes_below_an_inner_quota_counts_for_the_outer_one_before_it_is_applied() {
    let mut leader = enforcing(&["/a", "/a/b"]);
    leader.limit("/a", "countHardLimit=3");
    leader.limit("/a/b", "count=9");
    leader.ask(ONE, &create("/a/b/1")).expect("there is room below /a/b");
    assert_eq!(leader.refusal(ONE, &create("/a/1")), QuotaExceeded);
    leader.apply_all();
    assert_eq!(leader.refusal(ONE, &create("/a/1")), QuotaExceeded);
}

#[test]
fn nonsense_limits_nothing() {
    let mut leader = enforcing(&["/a"]);
    for limits in ["", "nonsense", "countHardLimit=-7", "countHardLimit=99999999999999999999", "=;,=", "\0"] {
        leader.limit("/a", limits);
        leader.ask(ONE, &create("/a/1")).expect("nothing is limited");
        leader.ask(ONE, &delete("/a/1", -1)).expect("is there");
    }
    let root = ["/zookeeper/quota/zookeeper_limits", "/zookeeper/zookeeper_limits"];
    for path in root {
        leader.ask(ONE, &create_with(path, b"countHardLimit=0")).expect("can be created");
        leader.apply_all();
        leader.ask(ONE, &create("/x")).expect("the root has no quota");
        leader.ask(ONE, &delete("/x", -1)).expect("is there");
        leader.ask(ONE, &delete(path, -1)).expect("is there");
    }
}

#[test]
fn quotas_that_are_not_enforced_refuse_nothing() {
    let mut leader = Leader::with(&["/a"]);
    leader.limit("/a", "countHardLimit=1,byteHardLimit=1");
    leader.ask(ONE, &create("/a/1")).expect("not enforced");
    leader.ask(ONE, &set_to("/a", b"more than that")).expect("not enforced");
    assert_eq!(leader.exceeded(), []);
}

#[test]
fn all_sessions_have_no_more_ephemerals_than_there_may_be() {
    let mut leader = Leader::with(&["/a"]);
    leader.prep = Prep::new(Limits { ephemerals_max: 3, ..LIMITS }, Rules::default(), 7);
    let ephemeral = |path| create_flags(path, CreateMode::Ephemeral);
    leader.ask(ONE, &ephemeral("/a/1")).expect("the first");
    leader.apply_all();
    leader.ask(TWO, &ephemeral("/a/2")).expect("the second");
    let both = multi_of([ephemeral("/a/3"), ephemeral("/a/4")]);
    assert_eq!(leader.refusal(ONE, &both), QuotaExceeded);
    leader.ask(ONE, &ephemeral("/a/3")).expect("the third: the failed multi made none");
    assert_eq!(leader.refusal(TWO, &ephemeral("/a/4")), QuotaExceeded);
    leader.ask(TWO, &create("/a/5")).expect("no ephemeral");
    leader.close(ONE).expect("is open");
    leader.ask(TWO, &both).expect("two went");
    leader.apply_all();
    assert_eq!(leader.refusal(TWO, &ephemeral("/a/6")), QuotaExceeded);
    leader.ask(TWO, &delete("/a/3", -1)).expect("is there");
    leader.ask(TWO, &ephemeral("/a/6")).expect("one goes");
}

#[test]
fn a_session_has_no_more_ephemerals_than_it_may() {
    let mut leader = Leader::with(&["/a"]);
    leader.prep = Prep::new(Limits { ephemerals_per_session_max: 2, ..LIMITS }, Rules::default(), 7);
    let ephemeral = |path| create_flags(path, CreateMode::Ephemeral);
    leader.ask(ONE, &ephemeral("/a/1")).expect("the first");
    assert_eq!(leader.refusal(ONE, &multi_of([ephemeral("/a/2"), ephemeral("/a/3")])), QuotaExceeded);
    leader.apply_all();
    leader.ask(ONE, &ephemeral("/a/2")).expect("the second: the failed multi made none");
    assert_eq!(leader.refusal(ONE, &ephemeral("/a/3")), QuotaExceeded);
    leader.ask(TWO, &ephemeral("/a/3")).expect("of another session");
    leader.ask(ONE, &create("/a/4")).expect("no ephemeral");
    leader.apply_all();
    assert_eq!(leader.refusal(ONE, &ephemeral("/a/5")), QuotaExceeded);
    leader.ask(TWO, &delete("/a/1", -1)).expect("is there");
    leader.ask(ONE, &ephemeral("/a/5")).expect("one went");
    assert_eq!(leader.refusal(ONE, &ephemeral("/a/6")), QuotaExceeded);
    leader.close(ONE).expect("is open");
    leader.apply_all();
}
