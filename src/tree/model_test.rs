//! The tree against a plain twin: a map from paths to znodes that does everything the slow way.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use xxhash_rust::xxh3::xxh3_64;

use super::{Applied, Change, Image, OpResult, QuotaLimits, Readers, Reason, Tree, Usage, path};
use crate::ids::{SessionId, Zxid};
use crate::jute::{Acl, AuthId, EventKind, Stat};
use crate::txn::{self, CloseSession, Op, Ops, Txn, op, txn::Body};

#[derive(Clone, Debug)]
struct TwinNode {
    stat: Stat,
    /// what its field holds: a session, or the mark of what the leader ends
    owner: u64,
    created_children: i32,
    data: Option<Vec<u8>>,
    acl: Vec<Acl>,
}

/// In the field for the owner: a container, and a time to live of 5 ms.
const LIMITED: [u64; 2] = [0x8000_0000_0000_0000, 0xff00_0000_0000_0005];

/// What the tree should be.
#[derive(Clone)]
struct Twin(BTreeMap<String, TwinNode>);

impl Twin {
    fn new() -> Twin {
        let anyone = |perms| Acl { perms, id: AuthId { scheme: "world".into(), id: "anyone".into() } };
        let node = |perms, aversion| TwinNode {
            stat: Stat { aversion, ..Stat::default() },
            owner: 0,
            created_children: 0,
            data: Some(Vec::new()),
            acl: vec![anyone(perms)],
        };
        let open = [path::ROOT, path::ZOOKEEPER, path::QUOTA];
        let mut nodes: BTreeMap<_, _> = open.map(|path| (path.to_owned(), node(31, 0))).into();
        nodes.insert(path::CONFIG.to_owned(), node(1, -1));
        Twin(nodes)
    }

    /// The rests of the paths of all below.
    fn below(&self, ancestor: &str) -> Vec<&str> {
        let prefix = if ancestor == path::ROOT { path::ROOT.to_owned() } else { format!("{ancestor}/") };
        let below = self.0.range(prefix.clone()..).map_while(|(path, _)| path.strip_prefix(&prefix));
        below.filter(|rest| !rest.is_empty()).collect()
    }

    fn children(&self, parent: &str) -> Vec<&str> {
        self.below(parent).into_iter().filter(|rest| !rest.contains('/')).collect()
    }

    fn ephemerals(&self, session: SessionId) -> Vec<String> {
        let owned = self.0.iter().filter(|(_, node)| node.stat.ephemeral_owner == session);
        owned.map(|(path, _)| path.clone()).collect()
    }

    fn stat(&self, path: &str) -> Stat {
        let node = &self.0[path];
        let num_children = self.children(path).len() as i32;
        Stat {
            num_children,
            cversion: node.created_children * 2 - num_children,
            data_length: node.data.as_ref().map_or(0, Vec::len) as i32,
            ..node.stat
        }
    }

    /// How much there is at a path and below it.
    fn usage(&self, path: &str) -> Usage {
        let prefix = format!("{}/", path.trim_end_matches('/'));
        let counted = self.0.iter().filter(|(other, _)| *other == path || other.starts_with(&prefix));
        counted.fold(Usage::default(), |usage, (_, node)| Usage {
            count: usage.count + 1,
            bytes: usage.bytes + node.data.as_ref().map_or(0, |data| data.len() as u64),
        })
    }

    /// The data as a client sees it.
    fn shown(&self, path: &str) -> Option<Vec<u8>> {
        match path.strip_prefix("/zookeeper/quota").and_then(|path| path.strip_suffix("/zookeeper_stats")) {
            Some(of) if !of.is_empty() => {
                let Usage { count, bytes } = self.usage(of);
                Some(format!("count={count},bytes={bytes}").into_bytes())
            }
            _ => self.0[path].data.clone(),
        }
    }

    fn shown_stat(&self, path: &str) -> Stat {
        Stat { data_length: self.shown(path).map_or(0, |data| data.len() as i32), ..self.stat(path) }
    }

    fn quotas(&self) -> BTreeMap<String, QuotaLimits> {
        let quota = |(path, node): (&String, &TwinNode)| {
            let of = path.strip_prefix("/zookeeper/quota")?.strip_suffix("/zookeeper_limits")?;
            (!of.is_empty()).then(|| (of.to_owned(), QuotaLimits::parse(node.data.as_deref())))
        };
        self.0.iter().filter_map(quota).collect()
    }

    /// Why the leader would not propose this.
    fn objection(&self, op: &Op) -> Option<Reason> {
        let path = op.path();
        match op.op.as_ref()? {
            op::Op::Create(create) => {
                let (parent, _) = path::split(path)?;
                match self.0.get(parent) {
                    None => Some(Reason::NoParent),
                    Some(parent) if parent.stat.ephemeral_owner.0 != 0 => {
                        Some(Reason::EphemeralParent(parent.stat.ephemeral_owner))
                    }
                    Some(_) if self.0.contains_key(path) => Some(Reason::NodeExists),
                    Some(_) => create.acl.is_empty().then_some(Reason::EmptyAcl),
                }
            }
            op::Op::DeleteAll(_) | op::Op::Pass(_) => None,
            _ if !self.0.contains_key(path) => Some(Reason::NoNode),
            op::Op::Delete(_) if path::is_fixed(path) => Some(Reason::Fixed),
            op::Op::Delete(_) => match self.children(path).len() {
                0 => None,
                children => Some(Reason::NotEmpty(children as u32)),
            },
            op::Op::SetAcl(set) => set.acl.is_empty().then_some(Reason::EmptyAcl),
            op::Op::SetData(_) | op::Op::Check(_) => None,
        }
    }

    fn apply<'t>(
        &mut self,
        zxid: Zxid,
        time_ms: i64,
        op: &'t Op,
        changes: &mut Vec<Change<'t>>,
    ) -> OpResult<'t> {
        let path = op.path();
        match op.op.as_ref().expect("an operation") {
            op::Op::Create(create) => {
                let (parent, _) = path::split(path).expect("no objection");
                let up = self.0.get_mut(parent).expect("no objection");
                up.created_children = create.parent_cversion;
                up.stat.pzxid = zxid;
                let owner = create.ephemeral_owner;
                let stat = Stat {
                    czxid: zxid,
                    mzxid: zxid,
                    pzxid: zxid,
                    ctime_ms: time_ms,
                    mtime_ms: time_ms,
                    // As in ZooKeeper, that is no other owner than a session.
                    ephemeral_owner: SessionId(if LIMITED.contains(&owner) { 0 } else { owner }),
                    ..Stat::default()
                };
                let acl = create.acl.iter().map(Acl::from).collect();
                let node = TwinNode {
                    stat,
                    owner,
                    created_children: 0,
                    data: create.data.as_deref().map(<[u8]>::to_vec),
                    acl,
                };
                self.0.insert(path.to_owned(), node);
                changes.push(self.change(EventKind::NodeCreated, path));
                changes.push(self.change(EventKind::NodeChildrenChanged, parent));
                OpResult::Created { path, stat: self.stat(path) }
            }
            op::Op::Delete(_) => {
                self.delete(zxid, path, changes);
                OpResult::Deleted
            }
            op::Op::SetData(set) => {
                let node = self.0.get_mut(path).expect("no objection");
                node.data = set.data.as_deref().map(<[u8]>::to_vec);
                node.stat = Stat { mzxid: zxid, mtime_ms: time_ms, version: set.version, ..node.stat };
                changes.push(self.change(EventKind::NodeDataChanged, path));
                OpResult::Set(self.stat(path))
            }
            op::Op::SetAcl(set) => {
                let node = self.0.get_mut(path).expect("no objection");
                node.acl = set.acl.iter().map(Acl::from).collect();
                node.stat.aversion = set.aversion;
                OpResult::AclSet(self.shown_stat(path))
            }
            op::Op::Check(_) | op::Op::Pass(_) => OpResult::Checked,
            op::Op::DeleteAll(all) => {
                all.paths.iter().for_each(|path| self.delete(zxid, path, changes));
                OpResult::Deleted
            }
        }
    }

    fn change<'t>(&self, kind: EventKind, path: &'t str) -> Change<'t> {
        Change { kind, path, readers: Readers::of_acl(&self.0[path].acl) }
    }

    fn delete<'t>(&mut self, zxid: Zxid, path: &'t str, changes: &mut Vec<Change<'t>>) {
        let (parent, _) = path::split(path).expect("no objection");
        changes.push(self.change(EventKind::NodeDeleted, path));
        self.0.remove(path);
        self.0.get_mut(parent).expect("no objection").stat.pzxid = zxid;
        changes.push(self.change(EventKind::NodeChildrenChanged, parent));
    }

    /// The digest as the documentation of `digest.rs` says it, from nothing.
    fn digest(&self) -> u64 {
        self.0.iter().fold(0, |sum: u64, (path, node)| {
            let stat = &node.stat;
            let mut content = vec![1];
            content.extend(stat.czxid.0.to_le_bytes());
            content.extend(stat.ctime_ms.to_le_bytes());
            content.extend(stat.mzxid.0.to_le_bytes());
            content.extend(stat.mtime_ms.to_le_bytes());
            content.extend(stat.version.to_le_bytes());
            content.extend(node.owner.to_le_bytes());
            content.extend(node.data.as_ref().map_or(u64::MAX, |data| data.len() as u64).to_le_bytes());
            content.extend(xxh3_64(node.data.as_deref().unwrap_or_default()).to_le_bytes());
            content.extend(path.as_bytes());
            let mut acl = Vec::new();
            for entry in &node.acl {
                acl.extend(entry.perms.to_le_bytes());
                acl.extend((entry.id.scheme.len() as u32).to_le_bytes());
                acl.extend(entry.id.scheme.as_bytes());
                acl.extend((entry.id.id.len() as u32).to_le_bytes());
                acl.extend(entry.id.id.as_bytes());
            }
            let mut family = vec![2];
            family.extend(stat.pzxid.0.to_le_bytes());
            family.extend(node.created_children.to_le_bytes());
            family.extend(stat.aversion.to_le_bytes());
            family.extend(xxh3_64(&acl).to_le_bytes());
            family.extend(path.as_bytes());
            sum.wrapping_add(xxh3_64(&content)).wrapping_add(xxh3_64(&family))
        })
    }

    fn assert_is(&self, tree: &Tree) {
        assert_eq!(tree.len(), self.0.len());
        for (path, expected) in &self.0 {
            let node = tree.node(path).unwrap_or_else(|| panic!("{path} is missing"));
            assert_eq!(node.stat(), self.shown_stat(path), "{path}");
            assert_eq!(node.data(), self.shown(path).map(Cow::Owned), "{path}");
            assert_eq!(node.usage(), self.usage(path), "{path}");
            assert_eq!(node.acl(), expected.acl, "{path}");
            assert_eq!(node.created_children(), expected.created_children, "{path}");
            let mut children: Vec<_> = tree.children(path).expect("it is there").collect();
            children.sort_unstable();
            assert_eq!(children, self.children(path), "{path}");
            assert_eq!(node.num_descendants() as usize, self.below(path).len(), "{path}");
        }
        let mut owners: Vec<_> = self.0.values().map(|node| node.stat.ephemeral_owner).collect();
        owners.retain(|owner| owner.0 != 0);
        assert_eq!(tree.ephemerals_count(), owners.len());
        owners.sort_unstable();
        owners.dedup();
        assert_eq!(tree.ephemeral_owners().collect::<Vec<_>>(), owners);
        for session in owners {
            assert_eq!(tree.ephemerals(session), self.ephemerals(session));
            assert_eq!(tree.ephemerals_of(session), self.ephemerals(session).len());
        }
        let limited = self.0.iter().filter(|(_, node)| LIMITED.contains(&node.owner));
        let mut found: Vec<_> = tree.limited(None).map(|(_, node)| node.path()).collect();
        found.sort_unstable();
        assert!(found.iter().eq(limited.map(|(path, _)| path)), "the leader looks at {found:?}");
        let bytes: usize =
            self.0.iter().map(|(path, node)| path.len() + node.data.as_ref().map_or(0, Vec::len)).sum();
        assert_eq!(tree.approximate_data_size(), bytes as u64);
        let quotas = tree.quotas().map(|(path, limits)| (path.to_owned(), limits));
        assert_eq!(quotas.collect::<BTreeMap<_, _>>(), self.quotas());
        assert_eq!(tree.digest(), self.digest());
    }
}

#[derive(Clone, Debug)]
enum Action {
    /// One operation, right or wrong.
    One(Op),
    /// Those operations that are right.
    Multi(Vec<Op>),
    /// The end of a session.
    Close(u64),
    /// The end of a znode and all below it.
    Clear(String),
    /// An image to look at when everything is over.
    Image,
}

fn any_path() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec!["a", "b", "zookeeper", "config", "a-longer-name", "\u{e4}"]);
    let any = prop::collection::vec(name, 0..4).prop_map(|names| format!("/{}", names.join("/")));
    let below_quota = prop::sample::select(vec![
        "/a",
        "/a/zookeeper_limits",
        "/a/zookeeper_stats",
        "/a/b",
        "/a/b/zookeeper_limits",
        "/a/b/zookeeper_stats",
        "/zookeeper_limits",
        "/zookeeper_stats",
    ]);
    prop_oneof![3 => any, 1 => below_quota.prop_map(|path| format!("/zookeeper/quota{path}"))]
}

fn any_acl() -> impl Strategy<Value = Vec<txn::Acl>> {
    let entry = prop::sample::select(vec![(31, "world", "anyone"), (1, "digest", "me:x"), (8, "ip", "::1")]);
    let entry =
        entry.prop_map(|(perms, scheme, id)| txn::Acl { perms, scheme: scheme.into(), id: id.into() });
    let open = Just(vec![txn::Acl { perms: 31, scheme: "world".into(), id: "anyone".into() }]);
    prop_oneof![2 => open, 1 => prop::collection::vec(entry, 0..3)]
}

fn any_op() -> impl Strategy<Value = Op> {
    let limited = prop::sample::select(LIMITED.to_vec());
    let owner = prop_oneof![4 => Just(0), 2 => 1u64..4, 1 => limited].prop_map(SessionId);
    let limits = (-1..9i64, -1..99i64, -1..9i64).prop_map(|(count, bytes, hard)| {
        Bytes::from(format!("count={count},bytes={bytes}=;countHardLimit={hard}"))
    });
    let any_data = prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from);
    let data = prop_oneof![4 => any_data, 1 => limits].boxed();
    let data = || prop::option::of(data.clone());
    prop_oneof![
        4 => (any_path(), data(), any_acl(), owner, 0..1000)
            .prop_map(|(path, data, acl, owner, count)| Op::create(path, data, acl, owner, count)),
        2 => any_path().prop_map(Op::delete),
        2 => (any_path(), data(), any::<i32>()).prop_map(|(path, data, version)| Op::set_data(path, data, version)),
        1 => (any_path(), any_acl(), 0..3).prop_map(|(path, acl, version)| Op::set_acl(path, acl, version)),
        1 => any_path().prop_map(Op::check),
        1 => any_path().prop_map(|path| op::Op::Pass(txn::Pass { path }).into()),
    ]
}

fn any_action() -> impl Strategy<Value = Action> {
    prop_oneof![
        20 => any_op().prop_map(Action::One),
        4 => prop::collection::vec(any_op(), 0..6).prop_map(Action::Multi),
        1 => (1u64..4).prop_map(Action::Close),
        1 => any_path().prop_map(Action::Clear),
        1 => Just(Action::Image),
    ]
}

/// A tree and its twin, which get the same transactions.
struct Pair {
    tree: Tree,
    twin: Twin,
    zxid: Zxid,
    images: Vec<(Image, Twin)>,
}

impl Pair {
    fn new() -> Pair {
        Pair { tree: Tree::new(7), twin: Twin::new(), zxid: Zxid(1 << 32), images: Vec::new() }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::One(op) => match self.twin.objection(&op).or(creates_the_root(&op)) {
                None => self.apply(vec![op]),
                Some(reason) => self.assert_refused(op, reason),
            },
            Action::Multi(ops) => self.apply_good_ones(ops),
            Action::Close(session) => self.close(SessionId(session)),
            Action::Clear(path) => self.clear(&path),
            Action::Image => self.images.push((self.tree.image(), self.twin.clone())),
        }
    }

    fn txn(&mut self, session: SessionId, body: Body) -> Txn {
        self.zxid.0 += 1;
        let time_ms = 1_700_000_000_000 + self.zxid.counter() as i64;
        Txn { session_id: session.0, time_ms, body: Some(body), ..Txn::default() }
    }

    fn apply(&mut self, ops: Vec<Op>) {
        let txn = self.txn(SessionId(9), Body::Ops(Ops { ops }));
        let mut expected = Applied::default();
        for op in txn.ops() {
            let result = self.twin.apply(self.zxid, txn.time_ms, op, &mut expected.changes);
            expected.results.push(result);
        }
        assert_eq!(self.tree.apply(self.zxid, &txn), Ok(expected));
    }

    fn apply_good_ones(&mut self, ops: Vec<Op>) {
        let mut after = self.twin.clone();
        let mut good = Vec::new();
        for op in ops {
            if after.objection(&op).or(creates_the_root(&op)).is_none() {
                after.apply(Zxid::ZERO, 0, &op, &mut Vec::new());
                good.push(op);
            }
        }
        self.apply(good);
    }

    fn assert_refused(&mut self, op: Op, reason: Reason) {
        let path = op.path().to_owned();
        let txn = self.txn(SessionId(9), Body::Ops(Ops { ops: vec![op] }));
        let error = self.tree.apply(self.zxid, &txn).expect_err("the twin objects");
        assert_eq!((error.reason, error.path, error.op, error.zxid), (reason, path, 0, self.zxid));
    }

    fn close(&mut self, session: SessionId) {
        let paths = self.twin.ephemerals(session);
        let txn = self.txn(session, Body::CloseSession(CloseSession { paths: paths.clone() }));
        let mut expected = Applied::default();
        for path in &paths {
            self.twin.delete(self.zxid, path, &mut expected.changes);
        }
        assert_eq!(self.tree.apply(self.zxid, &txn), Ok(expected));
    }

    fn clear(&mut self, path: &str) {
        if path::is_fixed(path) || !self.twin.0.contains_key(path) {
            return;
        }
        let below = self.twin.below(path).into_iter().rev().map(|rest| format!("{path}/{rest}"));
        let paths = below.chain([path.to_owned()]).collect();
        self.apply(vec![op::Op::DeleteAll(txn::DeleteAll { paths }).into()]);
    }

    fn assert_images_stand_still(&self) {
        for (image, twin) in &self.images {
            let blocks = image.blocks().map(Ok::<_, std::convert::Infallible>);
            let tree = Tree::load(99, blocks).expect("an image loads");
            twin.assert_is(&tree);
            assert_eq!((image.digest(), image.len()), (tree.digest(), tree.len()));
            assert!(tree.image().blocks().eq(image.blocks()), "the same image gives the same bytes");
        }
    }
}

fn creates_the_root(op: &Op) -> Option<Reason> {
    (matches!(op.op, Some(op::Op::Create(_))) && op.path() == "/").then_some(Reason::NodeExists)
}

proptest! {
    #[test]
    fn the_tree_is_its_plain_twin(actions in prop::collection::vec(any_action(), 1..120)) {
        let mut pair = Pair::new();
        for action in actions {
            pair.act(action);
            prop_assert_eq!(pair.tree.digest(), pair.twin.digest());
        }
        pair.act(Action::Image);
        pair.twin.assert_is(&pair.tree);
        pair.assert_images_stand_still();
    }
}

#[test]
fn images_of_many_pages_stand_still() {
    const PARENTS: i32 = 40;
    const CHILDREN: i32 = 500;
    let mut pair = Pair::new();
    let acl = vec![txn::Acl { perms: 31, scheme: "world".into(), id: "anyone".into() }];
    let create = |path, owner, count| {
        Op::create(path, Bytes::from_static(b"some data"), acl.clone(), SessionId(owner), count)
    };
    for parent in 0..PARENTS {
        pair.apply(vec![create(format!("/p{parent}"), 0, parent + 1)]);
        let child = |n: i32| create(format!("/p{parent}/c{n}"), (n % 3) as u64, n + 1);
        pair.apply((0..CHILDREN).map(child).collect());
    }
    pair.act(Action::Image);
    let all = || (0..PARENTS * CHILDREN).map(|n| (n, format!("/p{}/c{}", n / CHILDREN, n % CHILDREN)));
    pair.apply(all().step_by(61).map(|(n, path)| Op::set_data(path, Bytes::new(), n)).collect());
    pair.act(Action::Image);
    pair.apply(all().step_by(2).map(|(_, path)| Op::delete(path)).collect());
    pair.act(Action::Image);
    pair.apply(all().step_by(4).map(|(n, path)| create(path, 1, n)).collect());
    assert_eq!(pair.tree.digest(), pair.twin.digest());
    for (image, twin) in &pair.images {
        let tree =
            Tree::load(3, image.blocks().map(Ok::<_, std::convert::Infallible>)).expect("an image loads");
        assert_eq!((tree.digest(), tree.len()), (twin.digest(), twin.0.len()));
        assert_eq!(tree.digest(), image.digest());
    }
}
