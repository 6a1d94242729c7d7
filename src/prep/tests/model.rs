//! The dumb twin: a tree of which every request changes a copy at once. It shares no code with what it is compared to.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::*;
use ErrorCode::*;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ModelNode {
    pub data: Option<Vec<u8>>,
    pub version: i32,
    pub aversion: i32,
    pub created: i32,
    pub owner: SessionId,
    pub acl: Vec<Acl>,
}

/// What an operation does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    Created(String, i32),
    Deleted(String),
    Set(String, i32),
    AclSet(String, i32),
    Checked(String),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Model {
    pub nodes: BTreeMap<String, ModelNode>,
    pub sessions: BTreeSet<SessionId>,
}

impl Model {
    pub fn of(leader: &Leader) -> Model {
        let node = |path: &str| {
            let node = leader.tree.node(path).expect("every tree has it");
            let model = ModelNode {
                data: node.data().map(Cow::into_owned),
                version: node.version(),
                aversion: node.aversion(),
                created: node.created_children(),
                owner: node.ephemeral_owner(),
                acl: node.acl().to_vec(),
            };
            (path.to_owned(), model)
        };
        Model {
            nodes: ["/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"].map(node).into(),
            sessions: BTreeSet::from([ONE, TWO]),
        }
    }

    pub fn ask(
        &mut self,
        session: SessionId,
        auth: &[AuthId],
        request: &Request<'_>,
    ) -> Result<Vec<Outcome>, PrepError> {
        let Request::Multi(ops) = request else {
            return Result::Ok(vec![self.one(session, auth, request)?]);
        };
        let is_bad =
            |op: &MultiOp<'_>| matches!(op, MultiOp::Create(create) if !(0..5).contains(&create.flags));
        if ops.iter().any(is_bad) {
            return Err(MarshallingError.into());
        }
        let mut copy = self.clone();
        let mut outcomes = Vec::new();
        for op in ops {
            match copy.one(session, auth, &single(op)) {
                Result::Ok(outcome) => outcomes.push(outcome),
                Err(code) => {
                    return Err(PrepError { code, failed_op: Some(outcomes.len() as u32) });
                }
            }
        }
        *self = copy;
        Result::Ok(outcomes)
    }

    pub fn close(&mut self, session: SessionId) -> Result<Vec<String>, PrepError> {
        if !self.sessions.remove(&session) {
            return Err(SessionExpired.into());
        }
        let mut closed = Vec::new();
        self.nodes.retain(|path, node| {
            if node.owner == session {
                closed.push(path.clone());
            }
            node.owner != session
        });
        Result::Ok(closed)
    }

    pub fn children(&self, path: &str) -> usize {
        let prefix = if path == "/" { "/".to_owned() } else { format!("{path}/") };
        let is_child = |other: &&String| {
            other.strip_prefix(&prefix).is_some_and(|name| !name.is_empty() && !name.contains('/'))
        };
        self.nodes.keys().filter(is_child).count()
    }

    fn one(
        &mut self,
        session: SessionId,
        auth: &[AuthId],
        request: &Request<'_>,
    ) -> Result<Outcome, ErrorCode> {
        if let Request::Create(create) = request {
            match create.flags {
                0..=4 => {}
                5..=6 => return Err(Unimplemented),
                _ => return Err(BadArguments),
            }
        }
        if !self.sessions.contains(&session) {
            return Err(SessionExpired);
        }
        match request {
            Request::Create(create) => self.create(session, auth, create),
            Request::Delete { path, version } => self.delete(auth, path, *version),
            Request::SetData { path, data, version } => {
                valid(path)?;
                let node = self.nodes.get_mut(*path).ok_or(NoNode)?;
                allowed(node, perms::WRITE, auth)?;
                expect(node.version, *version)?;
                node.version += 1;
                node.data = data.map(<[u8]>::to_vec);
                Result::Ok(Outcome::Set((*path).into(), node.version))
            }
            Request::SetAcl { path, acl, version } => {
                valid(path)?;
                let acl = expanded(acl, auth)?;
                let node = self.nodes.get_mut(*path).ok_or(NoNode)?;
                allowed(node, perms::ADMIN, auth)?;
                expect(node.aversion, *version)?;
                node.aversion += 1;
                node.acl = acl;
                Result::Ok(Outcome::AclSet((*path).into(), node.aversion))
            }
            Request::Check { path, version } => {
                valid(path)?;
                let node = self.nodes.get(*path).ok_or(NoNode)?;
                allowed(node, perms::READ, auth)?;
                expect(node.version, *version)?;
                Result::Ok(Outcome::Checked((*path).into()))
            }
            other => panic!("{other:?} is not asked"),
        }
    }

    fn create(
        &mut self,
        session: SessionId,
        auth: &[AuthId],
        create: &Create<'_>,
    ) -> Result<Outcome, ErrorCode> {
        let slash = create.path.rfind('/').ok_or(BadArguments)?;
        let acl = expanded(&create.acl, auth)?;
        let parent_path = if slash == 0 { "/" } else { &create.path[..slash] };
        let parent = self.nodes.get(parent_path).ok_or(NoNode)?;
        allowed(parent, perms::CREATE, auth)?;
        let mut path = create.path.to_owned();
        if create.flags & 2 != 0 {
            path += &format!("{:010}", parent.created);
        }
        valid(&path)?;
        if self.nodes.contains_key(&path) {
            return Err(NodeExists);
        }
        if parent.owner != SessionId(0) {
            return Err(NoChildrenForEphemerals);
        }
        let owner = if create.flags & 1 != 0 { session } else { SessionId(0) };
        let created = parent.created + 1;
        self.nodes.get_mut(parent_path).expect("was just seen").created = created;
        let node = ModelNode {
            data: create.data.map(<[u8]>::to_vec),
            version: 0,
            aversion: 0,
            created: 0,
            owner,
            acl,
        };
        self.nodes.insert(path.clone(), node);
        Result::Ok(Outcome::Created(path, created))
    }

    fn delete(&mut self, auth: &[AuthId], path: &str, version: i32) -> Result<Outcome, ErrorCode> {
        let slash = path.rfind('/').ok_or(BadArguments)?;
        if ["/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"].contains(&path) {
            return Err(BadArguments);
        }
        let parent = self.nodes.get(if slash == 0 { "/" } else { &path[..slash] }).ok_or(NoNode)?;
        allowed(parent, perms::DELETE, auth)?;
        let node = self.nodes.get(path).ok_or(NoNode)?;
        expect(node.version, version)?;
        if self.children(path) > 0 {
            return Err(NotEmpty);
        }
        self.nodes.remove(path);
        Result::Ok(Outcome::Deleted(path.into()))
    }
}

fn single<'a>(op: &MultiOp<'a>) -> Request<'a> {
    match op {
        MultiOp::Create(create) => Request::Create(create.clone()),
        MultiOp::Delete { path, version } => Request::Delete { path, version: *version },
        MultiOp::SetData { path, data, version } => Request::SetData { path, data: *data, version: *version },
        MultiOp::Check { path, version } => Request::Check { path, version: *version },
        MultiOp::Keeper(_) | MultiOp::Unimplemented { .. } => panic!("is not asked"),
    }
}

fn valid(path: &str) -> Result<(), ErrorCode> {
    let is_bad = |name| ["", ".", ".."].contains(&name);
    let bad = path != "/" && (!path.starts_with('/') || path[1..].split('/').any(is_bad));
    if bad { Err(BadArguments) } else { Result::Ok(()) }
}

fn allowed(node: &ModelNode, perm: i32, auth: &[AuthId]) -> Result<(), ErrorCode> {
    let grants = |acl: &Acl| acl.perms & perm != 0 && (acl.id == anyone() || auth.contains(&acl.id));
    if node.acl.iter().any(grants) { Result::Ok(()) } else { Err(NoAuth) }
}

/// The lists of these tests have at most one entry.
fn expanded(acl: &[Acl], auth: &[AuthId]) -> Result<Vec<Acl>, ErrorCode> {
    let expanded: Vec<_> = match acl {
        [one] if one.id.scheme == "auth" => {
            auth.iter().map(|id| Acl { perms: one.perms, id: id.clone() }).collect()
        }
        other => other.to_vec(),
    };
    if expanded.is_empty() { Err(InvalidAcl) } else { Result::Ok(expanded) }
}

fn expect(version: i32, expected: i32) -> Result<(), ErrorCode> {
    if expected == -1 || expected == version { Result::Ok(()) } else { Err(BadVersion) }
}
