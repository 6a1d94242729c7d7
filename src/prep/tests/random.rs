//! Random requests, judged while a random part of what was proposed before is applied, have the results that a plain
//! tree gives.

use proptest::prelude::*;
use proptest::sample::select;

use super::model::{Model, Outcome};
use std::borrow::Cow;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Ask { session: SessionId, auth: Vec<AuthId>, request: Request<'static> },
    Open(SessionId),
    Close(SessionId),
    Apply(usize),
}

const SESSIONS: [SessionId; 3] = [ONE, TWO, GONE];

const PATHS: [&str; 7] = ["/a", "/b", "/a/x", "/a/y", "/a/x/z", "/b/x", "/a/x/z/w"];

const ODD_PATHS: [&str; 10] =
    ["/", "/zookeeper", "/zookeeper/config", "/zookeeper/quota", "", "a", "/a/", "//a", "/a/../b", "/b/."];

fn path() -> impl Strategy<Value = &'static str> {
    prop_oneof![12 => select(&PATHS[..]), 1 => select(&ODD_PATHS[..])]
}

fn acl() -> impl Strategy<Value = Vec<Acl>> {
    let auth = AuthId { scheme: "auth".into(), id: String::new() };
    let perms = vec![perms::READ, perms::WRITE, perms::CREATE, perms::DELETE, perms::ADMIN];
    prop_oneof![
        20 => Just(Acl::open()),
        2 => select(perms).prop_map(all_but),
        1 => Just(acl_of(perms::ALL, me())),
        1 => Just(acl_of(perms::ALL, auth)),
        1 => Just(Vec::new()),
    ]
}

fn version() -> impl Strategy<Value = i32> {
    prop_oneof![3 => Just(-1), 3 => 0..3]
}

fn create_request() -> impl Strategy<Value = Request<'static>> {
    let flags = prop_oneof![20 => 0..4, 1 => -1..8];
    (path(), flags, acl()).prop_map(|(path, flags, acl)| create_as(path, flags, acl))
}

fn multi_member() -> impl Strategy<Value = Request<'static>> {
    prop_oneof![
        4 => create_request(),
        3 => (path(), version()).prop_map(|(path, version)| delete(path, version)),
        2 => (path(), version()).prop_map(|(path, version)| set(path, version)),
        1 => (path(), version()).prop_map(|(path, version)| check(path, version)),
    ]
}

fn request() -> impl Strategy<Value = Request<'static>> {
    prop_oneof![
        10 => multi_member(),
        1 => (path(), acl(), version()).prop_map(|(path, acl, version)| set_acl(path, acl, version)),
        4 => prop::collection::vec(multi_member(), 0..5).prop_map(multi_of),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let auth = prop_oneof![Just(Vec::new()), Just(vec![me()])];
    prop_oneof![
        20 => (select(&SESSIONS[..]), auth, request())
            .prop_map(|(session, auth, request)| Step::Ask { session, auth, request }),
        2 => select(&SESSIONS[..]).prop_map(Step::Open),
        1 => select(&SESSIONS[..]).prop_map(Step::Close),
        8 => (0..6usize).prop_map(Step::Apply),
    ]
}

/// What a transaction says of its operations, in the model's words.
fn outcomes(body: Body) -> Vec<Outcome> {
    let Body::Ops(ops) = body else { panic!("{body:?} does not come from a request") };
    let outcome = |op: Op| match op.op.expect("has content") {
        op::Op::Create(create) => Outcome::Created(create.path, create.parent_cversion),
        op::Op::Delete(delete) => Outcome::Deleted(delete.path),
        op::Op::SetData(set) => Outcome::Set(set.path, set.version),
        op::Op::SetAcl(set) => Outcome::AclSet(set.path, set.aversion),
        op::Op::Check(check) => Outcome::Checked(check.path),
        op::Op::DeleteAll(_) | op::Op::Pass(_) => unreachable!("these are not asked for"),
    };
    ops.ops.into_iter().map(outcome).collect()
}

/// Every znode of the tree is as the model has it, and there are no others.
fn compare(leader: &Leader, model: &Model) -> Result<(), TestCaseError> {
    prop_assert_eq!(leader.tree.len(), model.nodes.len());
    for (path, expected) in &model.nodes {
        let Some(node) = leader.tree.node(path) else {
            return Err(TestCaseError::fail(format!("{path} is missing")));
        };
        prop_assert_eq!(node.data().map(Cow::into_owned), expected.data.clone(), "{}", path);
        prop_assert_eq!(node.version(), expected.version, "{}", path);
        prop_assert_eq!(node.aversion(), expected.aversion, "{}", path);
        prop_assert_eq!(node.created_children(), expected.created, "{}", path);
        prop_assert_eq!(node.num_children() as usize, model.children(path), "{}", path);
        prop_assert_eq!(node.ephemeral_owner(), expected.owner, "{}", path);
        prop_assert_eq!(node.acl(), &*expected.acl, "{}", path);
    }
    prop_assert!(leader.sessions.iter().map(|(id, _)| id).eq(model.sessions.iter().copied()));
    Ok(())
}

fn run(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut leader = Leader::new();
    let mut model = Model::of(&leader);
    for step in steps {
        match step {
            Step::Ask { session, auth, request } => {
                let expected = model.ask(session, &auth, &request);
                leader.auth = auth;
                prop_assert_eq!(leader.ask(session, &request).map(outcomes), expected, "{:?}", request);
            }
            // Refused while the id is in use, and until the end of a closed session is applied.
            Step::Open(id) => {
                if leader.open(id).is_ok() {
                    prop_assert!(model.sessions.insert(id));
                }
            }
            Step::Close(id) => {
                let expected = model.close(id).map(|paths| Body::CloseSession(CloseSession { paths }));
                prop_assert_eq!(leader.close(id), expected);
            }
            Step::Apply(count) => leader.apply(count),
        }
    }
    leader.apply_all();
    compare(&leader, &model)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn pipelined_requests_have_the_results_of_a_plain_tree(steps in prop::collection::vec(step(), 1..120)) {
        run(steps)?;
    }
}
