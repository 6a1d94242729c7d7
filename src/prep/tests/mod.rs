use std::collections::VecDeque;

use super::*;
use crate::ids::{Epoch, Version};
use crate::jute::{Acl, Create, CreateOp, perms};
use crate::tree::acl::Rules;
use crate::txn::Txn;

mod keeper;
mod model;
mod pending;
mod quotas;
mod random;
mod rules;

pub const LIMITS: Limits = Limits {
    frame_bytes_max: 2000,
    txn_bytes_max: 4000,
    has_ttls: false,
    enforces_quotas: false,
    keeper_operations: false,
    ephemerals_per_session_max: 0,
    ephemerals_max: 0,
};

/// Sessions that are open from the beginning.
pub const ONE: SessionId = SessionId(0x0100_0000_0000_0001);
pub const TWO: SessionId = SessionId(0x0200_0000_0000_0002);
/// One that is not.
pub const GONE: SessionId = SessionId(3);
/// of every session
pub const PASSWORD: [u8; PASSWORD_BYTES] = [7; PASSWORD_BYTES];

/// What the clock shows when this is proposed.
fn time_at(zxid: Zxid) -> i64 {
    1000 + i64::from(zxid.counter())
}

/// A leader: what it prepares is applied when the test says so.
pub struct Leader {
    pub tree: Tree,
    pub sessions: Sessions,
    pub prep: Prep,
    pub auth: Vec<AuthId>,
    proposed: VecDeque<(Zxid, Txn)>,
    last: Zxid,
}

impl Leader {
    pub fn new() -> Leader {
        let mut sessions = Sessions::default();
        for id in [ONE, TWO] {
            sessions.create(id, 10_000, PASSWORD, 1);
        }
        Leader {
            tree: Tree::new(7),
            sessions,
            prep: Prep::new(LIMITS, Rules::default(), 7),
            auth: Vec::new(),
            proposed: VecDeque::new(),
            last: Zxid::new(Epoch(1), 0),
        }
    }

    /// One with these persistent znodes, which are applied.
    pub fn with(paths: &[&str]) -> Leader {
        let mut leader = Leader::new();
        for path in paths {
            leader.ask(ONE, &create(path)).expect("can be created");
        }
        leader.apply_all();
        leader
    }

    pub fn ask(&mut self, session_id: SessionId, request: &Request<'_>) -> Result<Body, PrepError> {
        let zxid = self.next();
        let auth = self.auth.clone();
        let time_ms = time_at(zxid);
        let version = Version::NEWEST;
        let body = &bytes::Bytes::new();
        let context = Context { session_id, is_local: false, auth: &auth, body, zxid, version, time_ms };
        let body = self.prep.prepare(&self.tree, &self.sessions, request, context)?;
        Ok(self.propose(session_id, body))
    }

    /// The error code of a request that must fail.
    pub fn refusal(&mut self, session_id: SessionId, request: &Request<'_>) -> ErrorCode {
        self.ask(session_id, request).expect_err("must be refused").code
    }

    pub fn open(&mut self, session_id: SessionId) -> Result<Body, PrepError> {
        let zxid = self.next();
        let body = self.prep.create_session(&self.sessions, session_id, 10_000, PASSWORD, zxid)?;
        Ok(self.propose(session_id, body))
    }

    pub fn may_continue(&self, session_id: SessionId, password: &[u8]) -> bool {
        self.prep.may_continue(&self.sessions, session_id, password)
    }

    pub fn close(&mut self, session_id: SessionId) -> Result<Body, PrepError> {
        let zxid = self.next();
        let body = self.prep.close_session(&self.tree, &self.sessions, session_id, zxid)?;
        Ok(self.propose(session_id, body))
    }

    pub fn delete_limited(&mut self, path: &str) -> Option<Body> {
        let body = self.prep.delete_limited(&self.tree, path, self.next())?;
        Some(self.propose(SessionId(0), body))
    }

    /// A tree as it will be when all that is proposed is applied.
    pub fn tree_to_be(&self) -> Tree {
        let blocks = self.tree.image().blocks().map(Ok::<_, std::convert::Infallible>);
        let mut tree = Tree::load(7, blocks).expect("it is whole");
        for (zxid, txn) in &self.proposed {
            tree.apply(*zxid, txn).expect("what was prepared can be applied");
        }
        tree
    }

    /// Applies the oldest proposals, as many as that.
    pub fn apply(&mut self, count: usize) {
        for (zxid, txn) in self.proposed.drain(..count.min(self.proposed.len())) {
            self.tree.apply(zxid, &txn).expect("what was prepared can be applied");
            let session_id = SessionId(txn.session_id);
            match &txn.body {
                Some(Body::CreateSession(create)) => {
                    let password = create.password[..].try_into().expect("16 bytes");
                    assert!(self.sessions.create(session_id, create.timeout_ms, password, 1));
                }
                Some(Body::CloseSession(_)) => assert!(self.sessions.close(session_id).is_some()),
                Some(Body::Ops(_) | Body::Error(_)) | None => {}
            }
            self.prep.applied(zxid);
        }
    }

    pub fn apply_all(&mut self) {
        self.apply(usize::MAX);
        assert_eq!(self.prep.pending(), 0);
    }

    fn next(&self) -> Zxid {
        self.last.next().expect("not that many")
    }

    fn propose(&mut self, session_id: SessionId, body: Body) -> Body {
        self.last = self.next();
        let (session_id, time_ms) = (session_id.0, time_at(self.last));
        let txn = Txn { session_id, time_ms, body: Some(body.clone()), ..Txn::default() };
        self.proposed.push_back((self.last, txn));
        body
    }
}

pub fn create(path: &str) -> Request<'_> {
    create_as(path, CreateMode::Persistent as i32, Acl::open())
}

pub fn create_flags(path: &str, mode: CreateMode) -> Request<'_> {
    create_as(path, mode as i32, Acl::open())
}

pub fn create_as(path: &str, flags: i32, acl: Vec<Acl>) -> Request<'_> {
    Request::Create(Create { path, data: Some(b"data"), acl, flags, op: CreateOp::Create })
}

pub fn delete(path: &str, version: i32) -> Request<'_> {
    Request::Delete { path, version }
}

pub fn set(path: &str, version: i32) -> Request<'_> {
    Request::SetData { path, data: Some(b"new"), version }
}

pub fn set_acl(path: &str, acl: Vec<Acl>, version: i32) -> Request<'_> {
    Request::SetAcl { path, acl, version }
}

pub fn check(path: &str, version: i32) -> Request<'_> {
    Request::Check { path, version }
}

/// A multi of single requests.
pub fn multi_of<'a>(requests: impl IntoIterator<Item = Request<'a>>) -> Request<'a> {
    let op = |request| match request {
        Request::Create(create) => MultiOp::Create(create),
        Request::Delete { path, version } => MultiOp::Delete { path, version },
        Request::SetData { path, data, version } => MultiOp::SetData { path, data, version },
        Request::Check { path, version } => MultiOp::Check { path, version },
        Request::Keeper(op) => MultiOp::Keeper(op),
        other => panic!("{other:?} cannot be in a multi"),
    };
    Request::Multi(requests.into_iter().map(op).collect())
}

pub fn me() -> AuthId {
    AuthId { scheme: "digest".into(), id: "me:x".into() }
}

pub fn acl_of(perms: i32, id: AuthId) -> Vec<Acl> {
    vec![Acl { perms, id }]
}

pub fn anyone() -> AuthId {
    AuthId { scheme: "world".into(), id: "anyone".into() }
}

/// Everything but this permission, for everyone.
pub fn all_but(perm: i32) -> Vec<Acl> {
    acl_of(perms::ALL & !perm, anyone())
}

/// The path that the only operation, a create, was given.
pub fn created(body: Result<Body, PrepError>) -> String {
    match body {
        Ok(Body::Ops(ops)) => match ops.ops.into_iter().next().and_then(|op| op.op) {
            Some(op::Op::Create(create)) => create.path,
            other => panic!("{other:?} is not a create"),
        },
        other => panic!("{other:?} is not a create"),
    }
}
