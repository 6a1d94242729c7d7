//! A plain model of ZooKeeper's tree and sessions, at every zxid that there was: what a client may be told. Written from
//! ZooKeeper's documentation, and shares nothing with `zabra::tree` and `zabra::prep`.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use zabra::ids::{SessionId, Zxid};
use zabra::jute::{CreateMode, ErrorCode, EventKind, MultiResult, Response, Stat};

mod keeper;
pub mod quota;

use self::quota::Beyond;
use super::configs::CONFIG;
use super::op::{ANY, Op, parent_of};

#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Node {
    pub data: Bytes,
    pub stat: Stat,
    /// how many children there ever were
    created: i32,
    /// what ends it, besides its session and clients
    pub limit: Option<Limit>,
}

/// What the leader ends a znode without children for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Limit {
    /// that it had one
    Container,
    /// that its data is so old
    Ttl { ms: u64 },
}

impl Node {
    /// A container that waits for its first child.
    pub fn is_unused(&self) -> bool {
        self.limit == Some(Limit::Container) && self.created == 0
    }

    /// Whether its end has come when the leader's clock shows `wall_ms`; an unused container waits so long for a child,
    /// and for ever with 0.
    pub fn is_due(&self, wall_ms: i64, unused_ms_max: u64) -> bool {
        let is_older_than = |ms: u64| wall_ms as i128 - self.stat.mtime_ms as i128 > i128::from(ms);
        self.stat.num_children == 0
            && match self.limit {
                None => false,
                Some(Limit::Container) if self.created == 0 => {
                    unused_ms_max != 0 && is_older_than(unused_ms_max)
                }
                Some(Limit::Container) => true,
                Some(Limit::Ttl { ms }) => is_older_than(ms),
            }
    }
}

/// A session, from a zxid to another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Life {
    opened: Zxid,
    closed: Option<Zxid>,
}

/// Something that watches may wait for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    pub zxid: Zxid,
    pub kind: EventKind,
    pub path: String,
}

#[derive(Default)]
pub struct Model {
    /// what each path held from a zxid on
    nodes: BTreeMap<String, Vec<(Zxid, Option<Node>)>>,
    /// names that came and went below each path
    families: BTreeMap<String, Vec<(Zxid, String, bool)>>,
    /// all that ever happened, in order
    changes: Vec<Change>,
    sessions: BTreeMap<SessionId, Life>,
    /// those that a server opened by itself; they may be among `sessions` later
    locals: BTreeSet<SessionId>,
    ephemerals: BTreeMap<SessionId, BTreeSet<String>>,
    /// every transaction
    zxids: BTreeSet<Zxid>,
}

/// What one transaction would do to the state at a zxid.
pub struct Draft<'a> {
    model: &'a Model,
    at: Zxid,
    /// of the transaction itself
    zxid: Zxid,
    time_ms: i64,
    session: SessionId,
    /// the ensemble does not know the session
    is_local: bool,
    effects: Effects,
}

/// What a transaction does.
#[derive(Default)]
pub struct Effects {
    nodes: BTreeMap<String, Option<Node>>,
    children: Vec<(String, String, bool)>,
    changes: Vec<(String, EventKind)>,
    /// a quota that it goes beyond, or would go
    pub beyond: Option<Beyond>,
}

/// In which way a session is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// to the ensemble
    Open,
    /// to one server
    Local,
    /// no more, or never
    Over,
}

/// Whose request it is, and the transaction that it would be.
#[derive(Clone, Copy, Debug)]
pub struct Author {
    pub session: SessionId,
    pub zxid: Zxid,
    pub time_ms: i64,
}

impl Model {
    /// The newest transaction; `Zxid::ZERO` before the first.
    pub fn end(&self) -> Zxid {
        self.zxids.last().copied().unwrap_or_default()
    }

    /// True if there is such a transaction, or before the first.
    pub fn holds(&self, zxid: Zxid) -> bool {
        zxid == Zxid::ZERO || self.zxids.contains(&zxid)
    }

    pub fn node(&self, path: &str, at: Zxid) -> Option<&Node> {
        if path == "/" {
            return None;
        }
        let versions = self.nodes.get(path)?;
        let count = versions.partition_point(|(zxid, _)| *zxid <= at);
        versions[..count].last()?.1.as_ref()
    }

    /// Everything at the end.
    pub fn all(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.nodes.iter().filter_map(|(path, versions)| Some((path.as_str(), versions.last()?.1.as_ref()?)))
    }

    /// Names, in order.
    pub fn children(&self, path: &str, at: Zxid) -> BTreeSet<&str> {
        let mut names = BTreeSet::new();
        let events = self.families.get(path).map_or(&[][..], Vec::as_slice);
        for (_, name, is_new) in events.iter().take_while(|(zxid, _, _)| *zxid <= at) {
            if *is_new {
                names.insert(name.as_str());
            } else {
                names.remove(name.as_str());
            }
        }
        names
    }

    /// How many znodes there are below a path; of the root only those that clients made.
    pub fn descendants(&self, path: &str, at: Zxid) -> usize {
        let above = if path == "/" { "/".to_string() } else { format!("{path}/") };
        let below = self.nodes.range(above.clone()..).take_while(|(path, _)| path.starts_with(&above));
        below.filter(|(path, _)| self.node(path, at).is_some()).count()
    }

    /// All that ever happened, in order.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// How much had happened then.
    pub fn changes_through(&self, zxid: Zxid) -> usize {
        self.changes.partition_point(|change| change.zxid <= zxid)
    }

    pub fn is_open(&self, session: SessionId, at: Zxid) -> bool {
        self.sessions
            .get(&session)
            .is_some_and(|life| life.opened <= at && life.closed.is_none_or(|closed| closed > at))
    }

    /// True if a session was open in one of the states `since..=at`.
    pub fn was_open_between(&self, session: SessionId, since: Zxid, at: Zxid) -> bool {
        let is_meant = |life: &Life| life.opened <= at && life.closed.is_none_or(|closed| closed > since);
        self.sessions.get(&session).is_some_and(is_meant)
    }

    /// How a session stood then.
    pub fn standing(&self, session: SessionId, at: Zxid) -> Standing {
        match self.sessions.get(&session) {
            Some(life) if life.opened <= at && life.closed.is_none_or(|closed| closed > at) => Standing::Open,
            Some(life) if life.opened <= at => Standing::Over,
            _ if self.locals.contains(&session) => Standing::Local,
            _ => Standing::Over,
        }
    }

    /// A server opens a session by itself.
    pub fn open_local(&mut self, session: SessionId) {
        self.locals.insert(session);
    }

    /// True if a server opened it by itself.
    pub fn is_known_local(&self, session: SessionId) -> bool {
        self.locals.contains(&session)
    }

    pub fn was_opened(&self, session: SessionId) -> bool {
        self.sessions.contains_key(&session)
    }

    pub fn ephemerals(&self, session: SessionId) -> impl Iterator<Item = &str> {
        self.ephemerals.get(&session).into_iter().flatten().map(String::as_str)
    }

    /// Those that a session had then, in order.
    pub fn ephemerals_at(&self, session: SessionId, at: Zxid) -> Vec<&str> {
        let is_owned = |node: &Node| node.stat.ephemeral_owner == session;
        let paths = self.nodes.keys().filter(|path| self.node(path, at).is_some_and(is_owned));
        paths.map(String::as_str).collect()
    }

    /// What it does at the end that the leader deletes a znode.
    pub fn removal(&self, path: &str, zxid: Zxid) -> Effects {
        let mut draft = self.draft(self.end(), Author { session: SessionId(0), zxid, time_ms: 0 });
        draft.remove(path);
        draft.effects
    }

    /// What it does that other servers are those of the ensemble: who watches their znode is told.
    pub fn reconfiguration() -> Effects {
        Effects { changes: vec![(CONFIG.to_string(), EventKind::NodeDataChanged)], ..Effects::default() }
    }

    fn draft(&self, at: Zxid, author: Author) -> Draft<'_> {
        let Author { session, zxid, time_ms } = author;
        let is_local = self.standing(session, at) == Standing::Local;
        Draft { model: self, at, zxid, time_ms, session, is_local, effects: Effects::default() }
    }

    /// What becomes of a request at this state: the answer, and what it changes unless it fails.
    pub fn judge(&self, op: &Op, at: Zxid, author: Author) -> (Result<Response, ErrorCode>, Effects) {
        let session = author.session;
        let mut draft = self.draft(at, author);
        if self.standing(session, at) == Standing::Over {
            return (Err(ErrorCode::SessionExpired), Effects::default());
        }
        let result = match op {
            Op::Multi(ops) => draft.multi(ops),
            Op::Sync => Ok(Response::Sync { path: Some("/".to_string()) }),
            Op::Close => {
                self.ephemerals(session).for_each(|path| draft.remove(path));
                Ok(Response::Empty)
            }
            single => draft.single(single).map(|result| match (result, single) {
                (MultiResult::Create { path }, _) => Response::Create { path },
                (MultiResult::CreateIfNotExists { path }, _) => Response::Create { path },
                (MultiResult::Create2 { path, stat }, _) => Response::Create2 { path, stat },
                (MultiResult::SetData(stat), _) => Response::Stat(stat),
                _ => Response::Empty,
            }),
        };
        let failed = result.is_err() || is_refused(&result);
        let beyond = draft.effects.beyond;
        let effects = if failed { Effects { beyond, ..Effects::default() } } else { draft.effects };
        (result, effects)
    }

    pub fn open_session(&mut self, zxid: Zxid, session: SessionId) {
        self.sessions.insert(session, Life { opened: zxid, closed: None });
        self.zxids.insert(zxid);
    }

    pub fn close_session(&mut self, zxid: Zxid, session: SessionId) {
        let author = Author { session, zxid, time_ms: 0 };
        let (_, effects) = self.judge(&Op::Close, self.end(), author);
        self.apply(zxid, effects);
        if let Some(life) = self.sessions.get_mut(&session) {
            life.closed = Some(zxid);
        }
    }

    /// The next transaction happens.
    pub fn apply(&mut self, zxid: Zxid, effects: Effects) {
        let before = self.end();
        for (path, node) in effects.nodes {
            let owner = |node: &Node| node.stat.ephemeral_owner;
            if let Some(owner) = self.node(&path, before).map(owner)
                && let Some(paths) = self.ephemerals.get_mut(&owner)
            {
                paths.remove(&path);
            }
            if let Some(owner) = node.as_ref().map(owner).filter(|owner| *owner != SessionId(0)) {
                self.ephemerals.entry(owner).or_default().insert(path.clone());
            }
            self.nodes.entry(path).or_default().push((zxid, node));
        }
        for (parent, name, is_new) in effects.children {
            self.families.entry(parent).or_default().push((zxid, name, is_new));
        }
        for (path, kind) in effects.changes {
            self.changes.push(Change { zxid, kind, path });
        }
        self.zxids.insert(zxid);
    }
}

/// A multi of which nothing happened.
pub fn is_refused(result: &Result<Response, ErrorCode>) -> bool {
    matches!(result, Ok(Response::Multi(results)) if matches!(results[..], [MultiResult::Error(_), ..]))
}

impl Draft<'_> {
    fn node(&self, path: &str) -> Option<&Node> {
        match self.effects.nodes.get(path) {
            Some(changed) => changed.as_ref(),
            None => self.model.node(path, self.at),
        }
    }

    fn multi(&mut self, ops: &[Op]) -> Result<Response, ErrorCode> {
        let mut results = Vec::new();
        for (position, op) in ops.iter().enumerate() {
            match self.single(op) {
                Ok(result) => results.push(result),
                Err(code) => {
                    let errors = (0..ops.len()).map(|other| match other.cmp(&position) {
                        std::cmp::Ordering::Less => ErrorCode::Ok,
                        std::cmp::Ordering::Equal => code,
                        std::cmp::Ordering::Greater => ErrorCode::RuntimeInconsistency,
                    });
                    return Ok(Response::Multi(errors.map(MultiResult::Error).collect()));
                }
            }
        }
        Ok(Response::Multi(results))
    }

    fn single(&mut self, op: &Op) -> Result<MultiResult, ErrorCode> {
        match op {
            Op::Create { path, data, mode, ttl_ms } => self.create(path, data, *mode, *ttl_ms),
            Op::Delete { path, version } => {
                let node = self.node(path).ok_or(ErrorCode::NoNode)?;
                check(node.stat.version, *version)?;
                if node.stat.num_children > 0 {
                    return Err(ErrorCode::NotEmpty);
                }
                self.remove(path);
                Ok(MultiResult::Delete)
            }
            Op::Set { path, data, version } => {
                let mut node = self.node(path).ok_or(ErrorCode::NoNode)?.clone();
                self.charge(path, 0, data.len() as i64 - node.data.len() as i64)?;
                check(node.stat.version, *version)?;
                node.stat.version += 1;
                node.stat.mzxid = self.zxid;
                node.stat.mtime_ms = self.time_ms;
                node.stat.data_length = data.len() as i32;
                node.data = Bytes::copy_from_slice(data.as_bytes());
                let stat = node.stat;
                self.effects.nodes.insert(path.clone(), Some(node));
                self.effects.changes.push((path.clone(), EventKind::NodeDataChanged));
                Ok(MultiResult::SetData(stat))
            }
            Op::Check { path, version } => {
                check(self.node(path).ok_or(ErrorCode::NoNode)?.stat.version, *version)?;
                Ok(MultiResult::Check)
            }
            Op::SetAcl { path, version } => {
                let mut node = self.node(path).ok_or(ErrorCode::NoNode)?.clone();
                check(node.stat.aversion, *version)?;
                node.stat.aversion += 1;
                let stat = node.stat;
                self.effects.nodes.insert(path.clone(), Some(node));
                Ok(MultiResult::SetData(stat))
            }
            Op::Keeper(op) => self.keeper(op),
            Op::Multi(_) | Op::Reconfig(_) | Op::Sync | Op::Close => {
                panic!("not an operation of a multi: {op:?}")
            }
        }
    }

    fn create(
        &mut self,
        prefix: &str,
        data: &str,
        mode: CreateMode,
        ttl_ms: u64,
    ) -> Result<MultiResult, ErrorCode> {
        if mode.is_ephemeral() && self.is_local {
            return Err(ErrorCode::EphemeralOnLocalSession);
        }
        let parent_path = parent_of(prefix);
        let parent = self.node(parent_path).cloned();
        if parent.is_none() && !is_fixed(parent_path) {
            return Err(ErrorCode::NoNode);
        }
        let number = parent.as_ref().map_or(0, |parent| parent.created);
        let path = if mode.is_sequential() { format!("{prefix}{number:010}") } else { prefix.to_string() };
        if self.node(&path).is_some() {
            return Err(ErrorCode::NodeExists);
        }
        if parent.as_ref().is_some_and(|parent| parent.stat.ephemeral_owner != SessionId(0)) {
            return Err(ErrorCode::NoChildrenForEphemerals);
        }
        self.charge(&path, 1, data.len() as i64)?;
        let (zxid, time_ms) = (self.zxid, self.time_ms);
        let stat = Stat {
            czxid: zxid,
            mzxid: zxid,
            pzxid: zxid,
            ctime_ms: time_ms,
            mtime_ms: time_ms,
            ephemeral_owner: if mode.is_ephemeral() { self.session } else { SessionId(0) },
            data_length: data.len() as i32,
            ..Stat::default()
        };
        let limit = match mode {
            CreateMode::Container => Some(Limit::Container),
            _ if mode.has_ttl() => Some(Limit::Ttl { ms: ttl_ms }),
            _ => None,
        };
        let node = Node { data: Bytes::copy_from_slice(data.as_bytes()), stat, created: 0, limit };
        self.effects.nodes.insert(path.clone(), Some(node));
        self.effects.changes.push((path.clone(), EventKind::NodeCreated));
        self.change_family(&path, true);
        Ok(match Op::is_told_stat(mode) {
            true => MultiResult::Create2 { path, stat },
            false => MultiResult::Create { path },
        })
    }

    fn remove(&mut self, path: &str) {
        self.effects.nodes.insert(path.to_string(), None);
        self.effects.changes.push((path.to_string(), EventKind::NodeDeleted));
        self.change_family(path, false);
    }

    fn change_family(&mut self, path: &str, is_new: bool) {
        let parent_path = parent_of(path);
        if let Some(mut parent) = self.node(parent_path).cloned() {
            parent.created += i32::from(is_new);
            parent.stat.num_children += if is_new { 1 } else { -1 };
            parent.stat.cversion += 1;
            parent.stat.pzxid = self.zxid;
            self.effects.nodes.insert(parent_path.to_string(), Some(parent));
        }
        let name = path[path.rfind('/').map_or(0, |slash| slash + 1)..].to_string();
        self.effects.children.push((parent_path.to_string(), name, is_new));
        self.effects.changes.push((parent_path.to_string(), EventKind::NodeChildrenChanged));
    }
}

/// What every tree has, and nobody can delete. The model does not hold it.
pub fn is_fixed(path: &str) -> bool {
    matches!(path, "/" | "/zookeeper" | "/zookeeper/config" | quota::QUOTA)
}

fn check(version: i32, expected: i32) -> Result<(), ErrorCode> {
    if expected == ANY || expected == version { Ok(()) } else { Err(ErrorCode::BadVersion) }
}

#[cfg(test)]
impl Model {
    /// A session, and `/a` with version 0, for the tests of those who judge by it.
    pub fn with_a(session: SessionId) -> Model {
        let mut model = Model::default();
        model.open_session(Zxid(1), session);
        let author = Author { session, zxid: Zxid(2), time_ms: 0 };
        let (_, effects) = model.judge(&Op::create("/a", "x"), Zxid(1), author);
        model.apply(Zxid(2), effects);
        model
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: SessionId = SessionId(1);

    fn done(model: &mut Model, op: &Op) -> Result<Response, ErrorCode> {
        let zxid = Zxid(model.end().0 + 1);
        let author = Author { session: SESSION, zxid, time_ms: 5 };
        let (result, effects) = model.judge(op, model.end(), author);
        model.apply(zxid, effects);
        result
    }

    fn model() -> Model {
        let mut model = Model::default();
        model.open_session(Zxid(1), SESSION);
        model
    }

    #[test]
    fn the_past_stays_as_it_was() {
        let mut model = model();
        done(&mut model, &Op::create("/a", "x")).expect("created");
        done(&mut model, &Op::create("/a/b", "y")).expect("created");
        done(&mut model, &Op::set("/a", "z")).expect("set");
        done(&mut model, &Op::Delete { path: "/a/b".into(), version: 0 }).expect("deleted");
        assert_eq!(model.node("/a", Zxid(1)), None);
        assert_eq!(model.node("/a", Zxid(3)).expect("there").data, "x");
        assert_eq!(model.children("/a", Zxid(4)), BTreeSet::from(["b"]));
        assert_eq!(model.children("/a", Zxid(5)), BTreeSet::new());
        let node = model.node("/a", Zxid(9)).expect("there");
        assert_eq!((node.stat.version, node.stat.cversion, node.stat.pzxid), (1, 2, Zxid(5)));
        let [change] = &model.changes()[model.changes_through(Zxid(3))..model.changes_through(Zxid(4))]
        else {
            panic!("one change at 4")
        };
        assert_eq!((change.kind, change.path.as_str()), (EventKind::NodeDataChanged, "/a"));
        assert_eq!([3, 4, 5].map(|zxid| model.descendants("/", Zxid(zxid))), [2, 2, 1]);
        assert_eq!([2, 3, 5].map(|zxid| model.descendants("/a", Zxid(zxid))), [0, 1, 0]);
    }

    #[test]
    fn a_multi_that_fails_changes_nothing_and_says_which_operation_it_was() {
        let mut model = model();
        done(&mut model, &Op::create("/a", "x")).expect("created");
        let check = Op::Check { path: "/a".into(), version: 7 };
        let multi = Op::Multi(vec![Op::set("/a", "y"), check, Op::create("/b", "")]);
        let codes = [ErrorCode::Ok, ErrorCode::BadVersion, ErrorCode::RuntimeInconsistency];
        let results = codes.map(MultiResult::Error).to_vec();
        assert_eq!(done(&mut model, &multi), Ok(Response::Multi(results)));
        assert_eq!(model.node("/a", model.end()).expect("there").data, "x");
    }

    #[test]
    fn numbers_rise_and_ephemerals_go_with_their_session() {
        let mut model = model();
        done(&mut model, &Op::create("/q", "")).expect("created");
        let mode = CreateMode::EphemeralSequential;
        let next = Op::make("/q/n-", "", mode);
        for number in 0..2 {
            let path = format!("/q/n-{number:010}");
            assert_eq!(done(&mut model, &next), Ok(Response::Create { path }));
        }
        model.close_session(Zxid(9), SESSION);
        assert!(model.children("/q", Zxid(9)).is_empty());
        assert_eq!(model.children("/q", Zxid(8)).len(), 2);
        assert_eq!(model.ephemerals_at(SESSION, Zxid(8)), ["/q/n-0000000000", "/q/n-0000000001"]);
        assert_eq!(model.ephemerals_at(SESSION, Zxid(9)), [""; 0]);
        assert_eq!(done(&mut model, &next), Err(ErrorCode::SessionExpired));
    }

    #[test]
    fn a_session_stands_as_it_was_opened_and_is_over_for_ever() {
        let mut model = Model::default();
        model.open_local(SESSION);
        model.open_session(Zxid(3), SESSION);
        model.close_session(Zxid(5), SESSION);
        let standings = [2, 3, 4, 5].map(|zxid| model.standing(SESSION, Zxid(zxid)));
        assert_eq!(standings, [Standing::Local, Standing::Open, Standing::Open, Standing::Over]);
        let between = |since, at| model.was_open_between(SESSION, Zxid(since), Zxid(at));
        assert_eq!([between(1, 2), between(1, 9), between(4, 6), between(5, 6)], [false, true, true, false]);
        assert_eq!(model.standing(SessionId(9), Zxid(2)), Standing::Over);
    }

    #[test]
    fn the_end_of_a_limited_znode_comes_when_it_is_old_or_was_used_and_has_no_child() {
        let mut model = model();
        done(&mut model, &Op::make("/c", "", CreateMode::Container)).expect("created");
        let mode = CreateMode::PersistentWithTtl;
        let timed = Op::Create { path: "/t".into(), data: String::new(), mode, ttl_ms: 10 };
        done(&mut model, &timed).expect("created");
        let due = |model: &Model, wall_ms, unused_ms_max| {
            ["/c", "/t"].map(|path| {
                model.node(path, model.end()).is_some_and(|node| node.is_due(wall_ms, unused_ms_max))
            })
        };
        assert_eq!([due(&model, 15, 0), due(&model, 16, 0)], [[false, false], [false, true]]);
        assert_eq!([due(&model, 15, 9), due(&model, 15, 10)], [[true, false], [false, false]]);
        for path in ["/c/x", "/t/x"] {
            done(&mut model, &Op::create(path, "")).expect("created");
        }
        assert_eq!(due(&model, 99, 1), [false, false]);
        for path in ["/c/x", "/t/x"] {
            done(&mut model, &Op::Delete { path: path.into(), version: ANY }).expect("deleted");
        }
        assert_eq!([due(&model, 0, 0), due(&model, 16, 0)], [[true, false], [true, true]]);
        let effects = model.removal("/c", Zxid(99));
        model.apply(Zxid(99), effects);
        assert_eq!((model.node("/c", Zxid(98)).is_some(), model.node("/c", Zxid(99))), (true, None));
        assert_eq!(model.children("/", Zxid(99)), BTreeSet::from(["t"]));
    }
}
