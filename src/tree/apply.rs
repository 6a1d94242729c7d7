//! Changing the tree: the one place where that happens, whether a transaction is live, replayed or synchronized.
//!
//! The leader has looked at everything before it proposed; nothing is decided here. What cannot be applied shows that
//! this tree is not the leader's, and the server must stop.

use thiserror::Error;

use super::Tree;
use super::acl_table::{AccessId, Readers};
use super::blob::{Content, DataChange};
use super::path::{self, PathError};
use super::slab::{Node, NodeId};
use crate::ids::{SessionId, Zxid};
use crate::jute::{EventKind, Stat};
use crate::mutants::{Mutant, has};
use crate::txn::{self, Txn, op, txn::Body};

/// What a transaction did. Paths are borrowed from the transaction.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Applied<'t> {
    /// One for each operation.
    pub results: Vec<OpResult<'t>>,
    /// In the order in which ZooKeeper fires the watches on them.
    pub changes: Vec<Change<'t>>,
}

/// What one operation did. A `Stat` is as it was directly after the operation, whatever came later in a multi.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpResult<'t> {
    /// create
    Created {
        /// the znode, with its sequence number
        path: &'t str,
        /// of the znode
        stat: Stat,
    },
    /// delete
    Deleted,
    /// setData
    Set(Stat),
    /// setACL
    AclSet(Stat),
    /// check
    Checked,
}

/// Something that watches may wait for.
///
/// `NodeCreated` and `NodeDataChanged` concern data and exist watches of the path, `NodeDeleted` those and its child
/// watches, `NodeChildrenChanged` child watches alone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change<'t> {
    /// what happened
    pub kind: EventKind,
    /// to which znode
    pub path: &'t str,
    /// who may read it, at that moment
    pub readers: Readers,
}

/// A transaction does not fit this tree. The tree may have been changed in part.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("transaction {zxid} of session {session} cannot be applied, operation {op} on {path:?}: {reason}")]
pub struct ApplyError {
    /// the transaction
    pub zxid: Zxid,
    /// who asked for it
    pub session: SessionId,
    /// which of its operations, or which path of a closing session, counted from 0
    pub op: usize,
    /// the path of that operation
    pub path: String,
    /// what does not fit
    pub reason: Reason,
}

/// Why an operation cannot be applied.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum Reason {
    /// of a kind that this version does not know, perhaps
    #[error("the transaction has no content")]
    NoBody,
    /// of a kind that this version does not know, perhaps
    #[error("the operation has no content")]
    NoOp,
    /// create
    #[error("no path of a znode: {0}")]
    BadPath(#[from] PathError),
    /// anything but create
    #[error("there is no such znode")]
    NoNode,
    /// create
    #[error("there is no parent")]
    NoParent,
    /// create
    #[error("the parent is an ephemeral of session {0}")]
    EphemeralParent(SessionId),
    /// create
    #[error("the znode is there already")]
    NodeExists,
    /// create, setACL
    #[error("the access control list is empty")]
    EmptyAcl,
    /// create
    #[error("there is no room for another znode")]
    Full,
    /// delete
    #[error("the znode has {0} children")]
    NotEmpty(u32),
    /// delete
    #[error("the znode cannot be deleted")]
    Fixed,
    /// the end of a session
    #[error("the znode belongs to session {0}")]
    NotOwned(SessionId),
    /// the end of a session
    #[error("the session has {0} ephemerals that the transaction does not delete")]
    EphemeralsLeft(usize),
}

impl Tree {
    /// Applies a committed transaction. After an error the tree is good for nothing.
    pub fn apply<'t>(&mut self, zxid: Zxid, txn: &'t Txn) -> Result<Applied<'t>, ApplyError> {
        let session = SessionId(txn.session_id);
        let error = |op, path: &str, reason| ApplyError { zxid, session, op, path: path.to_owned(), reason };
        let mut applied = Applied::default();
        match &txn.body {
            Some(Body::Ops(ops)) => {
                applied.results.reserve_exact(ops.ops.len());
                let mut change =
                    Changer { tree: self, zxid, time_ms: txn.time_ms, changes: &mut applied.changes };
                for (n, op) in ops.ops.iter().enumerate() {
                    let result = change.op(op).map_err(|reason| error(n, op.path(), reason))?;
                    applied.results.push(result);
                }
            }
            Some(Body::CreateSession(_) | Body::Error(_)) => {}
            Some(Body::CloseSession(close)) => {
                let mut change =
                    Changer { tree: self, zxid, time_ms: txn.time_ms, changes: &mut applied.changes };
                for (n, path) in close.paths.iter().enumerate() {
                    change.delete_owned(path, session).map_err(|reason| error(n, path, reason))?;
                }
                match self.ephemerals_of(session) {
                    0 => {}
                    left => return Err(error(close.paths.len(), "", Reason::EphemeralsLeft(left))),
                }
            }
            None => return Err(error(0, "", Reason::NoBody)),
        }
        Ok(applied)
    }
}

/// The operations of one transaction on their way into the tree.
struct Changer<'a, 't> {
    tree: &'a mut Tree,
    zxid: Zxid,
    time_ms: i64,
    changes: &'a mut Vec<Change<'t>>,
}

impl<'t> Changer<'_, 't> {
    fn op(&mut self, op: &'t txn::Op) -> Result<OpResult<'t>, Reason> {
        match op.op.as_ref().ok_or(Reason::NoOp)? {
            op::Op::Create(create) => self.create(create),
            op::Op::Delete(delete) => self.delete(&delete.path).map(|()| OpResult::Deleted),
            op::Op::SetData(set) => self.set_data(set).map(OpResult::Set),
            op::Op::SetAcl(set) => self.set_acl(set).map(OpResult::AclSet),
            op::Op::Check(check) => self.find(&check.path).map(|_| OpResult::Checked),
            op::Op::DeleteAll(all) => {
                let kept = has(Mutant::RemoveLeavesEphemeral).then(|| self.tree.ephemerals.clone());
                all.paths.iter().try_for_each(|path| self.delete(path))?;
                if let Some(kept) = kept {
                    self.tree.ephemerals = kept;
                }
                Ok(OpResult::Deleted)
            }
            op::Op::Pass(_) => Ok(OpResult::Checked),
        }
    }

    fn create(&mut self, create: &'t txn::Create) -> Result<OpResult<'t>, Reason> {
        let path = &*create.path;
        let Some((parent_path, name)) = path::split(path) else {
            return Err(match path {
                path::ROOT => Reason::NodeExists,
                _ => Reason::BadPath(PathError::NotAbsolute),
            });
        };
        path::validate_name(name)?;
        let tree = &mut *self.tree;
        let parent = tree.find(parent_path).ok_or(Reason::NoParent)?;
        if tree.znode(parent).is_ephemeral() {
            return Err(Reason::EphemeralParent(tree.znode(parent).ephemeral_owner()));
        }
        let place = tree.first_place(parent, path);
        if tree.is_taken(&place, path) {
            return Err(Reason::NodeExists);
        }
        if create.acl.is_empty() {
            return Err(Reason::EmptyAcl);
        }
        let access = tree.acls.intern(&create.acl, 0);
        let owner = SessionId(create.ephemeral_owner);
        let content = Content { name, owner, change: None, data: create.data.as_deref() };
        let node = Node::new(access, self.zxid, self.time_ms);
        let id = tree.insert(place, node, path, content).ok_or(Reason::Full)?;
        tree.change_family(parent, parent_path, |parent| {
            parent.created_children = create.parent_cversion;
            parent.pzxid = self.zxid;
        });
        self.tell(EventKind::NodeCreated, path, access);
        self.tell_parent(parent, parent_path);
        Ok(OpResult::Created { path, stat: self.tree.znode(id).stored_stat() })
    }

    fn delete(&mut self, path: &'t str) -> Result<(), Reason> {
        let id = self.find(path)?;
        let Some((parent_path, _)) = path::split(path).filter(|_| !path::is_fixed(path)) else {
            return Err(Reason::Fixed);
        };
        let tree = &mut *self.tree;
        let node = tree.slab.get(id);
        let num_children = tree.slab.family(node).num_children;
        if num_children > 0 {
            return Err(Reason::NotEmpty(num_children));
        }
        let parent = node.parent;
        let readers = tree.acls.readers(node.access);
        tree.remove(id, path);
        tree.change_family(parent, parent_path, |parent| parent.pzxid = self.zxid);
        self.changes.push(Change { kind: EventKind::NodeDeleted, path, readers });
        self.tell_parent(parent, parent_path);
        Ok(())
    }

    fn delete_owned(&mut self, path: &'t str, session: SessionId) -> Result<(), Reason> {
        let owner = self.tree.znode(self.find(path)?).ephemeral_owner();
        if owner != session {
            return Err(Reason::NotOwned(owner));
        }
        self.delete(path)
    }

    fn set_data(&mut self, set: &'t txn::SetData) -> Result<Stat, Reason> {
        let id = self.find(&set.path)?;
        let change = DataChange { zxid: self.zxid, time_ms: self.time_ms, version: set.version };
        self.tree.change_content(id, &set.path, set.data.as_deref(), change);
        self.tell(EventKind::NodeDataChanged, &set.path, self.tree.slab.get(id).access);
        Ok(self.tree.znode(id).stored_stat())
    }

    fn set_acl(&mut self, set: &'t txn::SetAcl) -> Result<Stat, Reason> {
        let id = self.find(&set.path)?;
        if set.acl.is_empty() {
            return Err(Reason::EmptyAcl);
        }
        let tree = &mut *self.tree;
        let new = tree.acls.intern(&set.acl, set.aversion);
        let old = tree.slab.get(id).access;
        tree.change_access(id, &set.path, new);
        tree.acls.release(old);
        Ok(tree.znode(id).stat())
    }

    fn tell(&mut self, kind: EventKind, path: &'t str, access: AccessId) {
        let readers = self.tree.acls.readers(access);
        self.changes.push(Change { kind, path, readers });
    }

    fn tell_parent(&mut self, parent: NodeId, path: &'t str) {
        self.tell(EventKind::NodeChildrenChanged, path, self.tree.slab.get(parent).access);
    }

    /// The digest needs the real path, so the root has no second name here.
    fn find(&self, path: &str) -> Result<NodeId, Reason> {
        self.tree.find(path).filter(|_| !path.is_empty()).ok_or(Reason::NoNode)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::jute;
    use crate::tree::acl::Rules;
    use crate::txn::{Acl, CloseSession, CreateSession, Op, Ops};

    const OWNER: SessionId = SessionId(0x01_0000_0000_0001);

    fn open() -> Vec<Acl> {
        vec![Acl { perms: 31, scheme: "world".into(), id: "anyone".into() }]
    }

    fn create(path: &str, parent_cversion: i32) -> Op {
        Op::create(path.into(), Bytes::from_static(b"data"), open(), SessionId(0), parent_cversion)
    }

    fn ephemeral(path: &str, parent_cversion: i32) -> Op {
        Op::create(path.into(), Bytes::new(), open(), OWNER, parent_cversion)
    }

    fn txn(ops: impl Into<Vec<Op>>) -> Txn {
        let body = Some(Body::Ops(Ops { ops: ops.into() }));
        Txn { session_id: OWNER.0, time_ms: 1000, body, ..Txn::default() }
    }

    fn close(session: SessionId, paths: &[&str]) -> Txn {
        let paths = paths.iter().map(|&path| path.into()).collect();
        let body = Some(Body::CloseSession(CloseSession { paths }));
        Txn { session_id: session.0, body, ..Txn::default() }
    }

    fn refused(tree: &mut Tree, txn: &Txn) -> (usize, Reason) {
        let before = tree.digest();
        let error = tree.apply(Zxid(99), txn).expect_err("it does not fit");
        assert_eq!(tree.digest(), before);
        (error.op, error.reason)
    }

    #[test]
    fn a_create_counts_at_the_parent_and_nothing_else_there() {
        let mut tree = Tree::new(1);
        let before = tree.node("/").unwrap().stat();
        let txn = txn([create("/a", 7)]);
        let applied = tree.apply(Zxid(5), &txn).unwrap();
        let stat = Stat {
            czxid: Zxid(5),
            mzxid: Zxid(5),
            pzxid: Zxid(5),
            ctime_ms: 1000,
            mtime_ms: 1000,
            data_length: 4,
            ..Stat::default()
        };
        assert_eq!(applied.results, [OpResult::Created { path: "/a", stat }]);
        assert_eq!(tree.node("/a").unwrap().stat(), stat);
        let after = Stat { pzxid: Zxid(5), num_children: 2, cversion: 7 * 2 - 2, ..before };
        assert_eq!(tree.node("/").unwrap().stat(), after);
        assert_eq!(tree.node("/").unwrap().created_children(), 7);
    }

    #[test]
    fn a_delete_changes_the_parents_pzxid_and_not_its_count_of_creations() {
        let mut tree = Tree::new(1);
        tree.apply(Zxid(1), &txn([create("/a", 1), create("/a/b", 1)])).unwrap();
        tree.apply(Zxid(2), &txn([Op::delete("/a/b".into())])).unwrap();
        let parent = tree.node("/a").unwrap();
        assert_eq!((parent.pzxid(), parent.created_children(), parent.num_children()), (Zxid(2), 1, 0));
        assert_eq!(parent.stat().cversion, 2);
        assert_eq!((parent.czxid(), parent.mzxid()), (Zxid(1), Zxid(1)));
        assert!(tree.node("/a/b").is_none());
    }

    #[test]
    fn set_data_changes_version_mzxid_and_mtime() {
        let mut tree = Tree::new(1);
        tree.apply(Zxid(1), &txn([create("/a", 1)])).unwrap();
        let before = tree.node("/a").unwrap().stat();
        let mut set = txn([Op::set_data("/a".into(), Bytes::from_static(b"longer data"), 3)]);
        set.time_ms = 2000;
        let applied = tree.apply(Zxid(2), &set).unwrap();
        let after = Stat { mzxid: Zxid(2), mtime_ms: 2000, version: 3, data_length: 11, ..before };
        assert_eq!(applied.results, [OpResult::Set(after)]);
        assert_eq!(tree.node("/a").unwrap().data(), Some(b"longer data"[..].into()));
    }

    #[test]
    fn set_acl_changes_the_acl_and_its_version_and_fires_nothing() {
        let mut tree = Tree::new(1);
        tree.apply(Zxid(1), &txn([create("/a", 1)])).unwrap();
        let before = tree.node("/a").unwrap().stat();
        let acl = vec![Acl { perms: 1, scheme: "ip".into(), id: "::1".into() }];
        let txn = txn([Op::set_acl("/a".into(), acl.clone(), 1)]);
        let applied = tree.apply(Zxid(2), &txn).unwrap();
        assert_eq!(applied.results, [OpResult::AclSet(Stat { aversion: 1, ..before })]);
        assert_eq!(applied.changes, []);
        assert_eq!(tree.node("/a").unwrap().acl(), [(&acl[0]).into()]);
    }

    #[test]
    fn watches_fire_in_the_order_of_zookeeper() {
        use EventKind::*;
        let mut tree = Tree::new(1);
        let txn = txn([
            create("/a", 1),
            create("/a/b", 1),
            Op::set_data("/a".into(), Bytes::new(), 1),
            Op::check("/a".into()),
            Op::delete("/a/b".into()),
        ]);
        let applied = tree.apply(Zxid(1), &txn).unwrap();
        let changes: Vec<_> = applied.changes.iter().map(|change| (change.kind, change.path)).collect();
        assert_eq!(
            changes,
            [
                (NodeCreated, "/a"),
                (NodeChildrenChanged, "/"),
                (NodeCreated, "/a/b"),
                (NodeChildrenChanged, "/a"),
                (NodeDataChanged, "/a"),
                (NodeDeleted, "/a/b"),
                (NodeChildrenChanged, "/a"),
            ]
        );
    }

    #[test]
    fn a_change_tells_who_could_read_the_znode_when_it_happened() {
        let me = jute::AuthId { scheme: "digest".into(), id: "me:x".into() };
        let mine = || vec![Acl { perms: 31, scheme: me.scheme.clone(), id: me.id.clone() }];
        let mut tree = Tree::new(1);
        let txn = txn([
            create("/a", 1),
            Op::set_acl("/a".into(), mine(), 1),
            Op::set_data("/a".into(), Bytes::new(), 1),
            create("/a/open", 1),
            Op::delete("/a/open".into()),
            Op::delete("/a".into()),
        ]);
        let applied = tree.apply(Zxid(1), &txn).unwrap();
        let secret = applied.changes.iter().filter(|change| !change.readers.include(&[], &Rules::default()));
        assert_eq!(
            secret.map(|change| (change.kind, change.path)).collect::<Vec<_>>(),
            [
                (EventKind::NodeDataChanged, "/a"),
                (EventKind::NodeChildrenChanged, "/a"),
                (EventKind::NodeChildrenChanged, "/a"),
                (EventKind::NodeDeleted, "/a"),
            ]
        );
        assert!(
            applied
                .changes
                .iter()
                .all(|change| change.readers.include(std::slice::from_ref(&me), &Rules::default()))
        );
    }

    #[test]
    fn the_results_of_a_multi_show_each_moment_of_it() {
        let mut tree = Tree::new(1);
        let set = |version| Op::set_data("/a".into(), Bytes::from(vec![0; version as usize]), version);
        let txn = txn([create("/a", 1), set(1), create("/a/b", 1), set(2)]);
        let applied = tree.apply(Zxid(1), &txn).unwrap();
        let stats: Vec<_> = applied
            .results
            .iter()
            .map(|result| match result {
                OpResult::Created { stat, .. } | OpResult::Set(stat) => {
                    (stat.version, stat.num_children, stat.data_length)
                }
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(stats, [(0, 0, 4), (1, 0, 1), (0, 0, 4), (2, 1, 2)]);
    }

    #[test]
    fn a_closing_session_takes_its_ephemerals_along_in_the_given_order() {
        let mut tree = Tree::new(1);
        tree.apply(Zxid(1), &txn([ephemeral("/a", 1), ephemeral("/b", 2), create("/c", 3)])).unwrap();
        assert_eq!(tree.ephemerals(OWNER), ["/a", "/b"]);
        let txn = close(OWNER, &["/b", "/a"]);
        let applied = tree.apply(Zxid(2), &txn).unwrap();
        let deleted: Vec<_> = applied.changes.iter().map(|change| change.path).collect();
        assert_eq!(deleted, ["/b", "/", "/a", "/"]);
        assert_eq!(applied.results, []);
        assert_eq!((tree.ephemerals_count(), tree.node("/").unwrap().pzxid()), (0, Zxid(2)));
    }

    #[test]
    fn a_closing_session_takes_all_of_its_ephemerals_and_no_others() {
        let mut tree = Tree::new(1);
        tree.apply(Zxid(1), &txn([ephemeral("/a", 1), create("/c", 2)])).unwrap();
        assert_eq!(refused(&mut tree, &close(OWNER, &["/c"])), (0, Reason::NotOwned(SessionId(0))));
        assert_eq!(refused(&mut tree, &close(SessionId(5), &["/a"])), (0, Reason::NotOwned(OWNER)));
        assert_eq!(refused(&mut tree, &close(OWNER, &["/b"])), (0, Reason::NoNode));
        assert_eq!(refused(&mut tree, &close(OWNER, &[])), (0, Reason::EphemeralsLeft(1)));
        assert_eq!(tree.apply(Zxid(2), &close(SessionId(5), &[])), Ok(Applied::default()));
    }

    #[test]
    fn a_new_session_leaves_the_tree_alone() {
        let mut tree = Tree::new(1);
        let before = tree.digest();
        let txn = Txn { body: Some(Body::CreateSession(CreateSession::default())), ..Txn::default() };
        assert_eq!(tree.apply(Zxid(1), &txn), Ok(Applied::default()));
        assert_eq!(tree.digest(), before);
    }

    #[test]
    fn what_does_not_fit_is_refused_with_its_place() {
        let mut tree = Tree::new(1);
        tree.apply(Zxid(1), &txn([create("/a", 1), create("/a/b", 1), ephemeral("/e", 2)])).unwrap();
        let delete = |path: &str| Op::delete(path.into());
        let no_acl = Op::create("/n".into(), Bytes::new(), Vec::new(), SessionId(0), 1);
        for (op, reason) in [
            (create("/a", 2), Reason::NodeExists),
            (create("/", 2), Reason::NodeExists),
            (create("/x/y", 1), Reason::NoParent),
            (create("/e/y", 1), Reason::EphemeralParent(OWNER)),
            (create("x", 1), Reason::BadPath(PathError::NotAbsolute)),
            (create("/a/", 1), Reason::BadPath(PathError::EmptyName(0))),
            (create("/a/..", 1), Reason::BadPath(PathError::RelativeName(0))),
            (no_acl, Reason::EmptyAcl),
            (delete("/a"), Reason::NotEmpty(1)),
            (delete("/x"), Reason::NoNode),
            (delete("/"), Reason::Fixed),
            (delete("/zookeeper/config"), Reason::Fixed),
            (Op::set_data("/x".into(), Bytes::new(), 1), Reason::NoNode),
            (Op::set_acl("/x".into(), open(), 1), Reason::NoNode),
            (Op::set_acl("/a".into(), Vec::new(), 1), Reason::EmptyAcl),
            (Op::check("/x".into()), Reason::NoNode),
            (Op::set_data("".into(), Bytes::new(), 1), Reason::NoNode),
            (Op::default(), Reason::NoOp),
        ] {
            assert_eq!(refused(&mut tree, &txn([Op::check("/a".into()), op])), (1, reason));
        }
        assert_eq!(refused(&mut tree, &Txn::default()), (0, Reason::NoBody));
    }

    #[test]
    fn an_error_says_everything() {
        let error = Tree::new(1).apply(Zxid(0x2_0000_0003), &txn([Op::delete("/x".into())])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "transaction 0x2_00000003 of session 0x1000000000001 cannot be applied, operation 0 on \"/x\": \
             there is no such znode"
        );
    }
}
