//! Looking at the tree.

use super::acl::Rules;
use super::acl_table::Access;
use super::blob::Blob;
use super::image::Image;
use super::lifetime::Lifetime;
use super::slab::{Family, Node, NodeId};
use super::{QuotaLimits, Tree, Usage, path, quota};
use crate::ids::{SessionId, Zxid};
use crate::jute::{Acl, AuthId, Stat};
use std::borrow::Cow;

impl Tree {
    /// The znode at `path`; as in ZooKeeper, the empty path is another name of the root.
    pub fn node(&self, path: &str) -> Option<Znode<'_>> {
        self.find(path).map(|id| self.znode(id))
    }

    /// The children of the znode at `path`, in no particular order; `None` if there is no such znode.
    pub fn children(&self, path: &str) -> Option<impl Iterator<Item = &str>> {
        self.node(path).map(|node| node.children())
    }

    /// The paths of the ephemerals of a session, sorted.
    pub fn ephemerals(&self, session: SessionId) -> Vec<String> {
        let mut paths: Vec<_> = self.ephemeral_ids(session).map(|id| self.slab.path(id)).collect();
        paths.sort_unstable();
        paths
    }

    /// How many ephemerals a session has.
    pub fn ephemerals_of(&self, session: SessionId) -> usize {
        self.ephemeral_counts.get(&session).map_or(0, |count| *count as usize)
    }

    /// Every session that has ephemerals, ascending.
    pub fn ephemeral_owners(&self) -> impl Iterator<Item = SessionId> {
        let mut last = None;
        self.ephemerals
            .iter()
            .filter_map(move |&(owner, _)| (last.replace(owner) != Some(owner)).then_some(owner))
    }

    /// How many ephemerals there are.
    pub fn ephemerals_count(&self) -> usize {
        self.ephemerals.len()
    }

    /// The containers and znodes with a time to live, in an order that does not change while they are there. Those behind
    /// `after`, each with its place in that order; with `None` all.
    pub fn limited(&self, after: Option<LimitedPlace>) -> impl Iterator<Item = (LimitedPlace, Znode<'_>)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, |place| Excluded(place.0));
        self.limited.range((from, Unbounded)).map(|&id| (LimitedPlace(id), self.znode(id)))
    }

    /// The quota that a znode at `path` counts for, with the path that it is of: of several the nearest, as in ZooKeeper.
    pub fn quota_over<'p>(&self, path: &'p str) -> Option<(&'p str, QuotaLimits)> {
        if self.quotas.is_empty() {
            return None;
        }
        quota::with_ancestors(path).find_map(|path| Some((path, *self.quotas.get(path)?)))
    }

    /// The limits of the quota of exactly this path, if there is one.
    pub fn quota_of(&self, path: &str) -> Option<QuotaLimits> {
        self.quotas.get(path).copied()
    }

    /// A bug that can be put back: the limits of quotas are those of another tree.
    pub fn limit_as(&mut self, other: &Tree) {
        self.quotas.clone_from(&other.quotas);
    }

    /// Every quota, with the path that it is of, in no particular order.
    pub fn quotas(&self) -> impl Iterator<Item = (&str, QuotaLimits)> {
        self.quotas.iter().map(|(path, limits)| (path.as_str(), *limits))
    }

    /// How much there is at `path` and below; nothing if there is no such znode.
    pub fn usage(&self, path: &str) -> Usage {
        self.node(path).map_or_else(Usage::default, |node| node.usage())
    }

    /// How many znodes there are, the root and `/zookeeper` with its children included. ZooKeeper counts one more:
    /// its root has two entries.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The bytes of all paths and all data.
    pub fn approximate_data_size(&self) -> u64 {
        self.data_bytes
    }

    /// A number for the whole content; see `digest.rs` for the exact bytes.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// The tree as it is now, for another thread to write out while this one goes on. Costs a reference count for
    /// every 16384 znodes.
    pub fn image(&self) -> Image {
        Image { slab: self.slab.image(), accesses: self.acls.accesses(), len: self.len, digest: self.digest }
    }

    pub(super) fn find(&self, path: &str) -> Option<NodeId> {
        if path == path::ROOT || path.is_empty() {
            return Some(NodeId::ROOT);
        }
        self.index.find(&self.slab, self.index.hash(path), path)
    }

    pub(super) fn znode(&self, id: NodeId) -> Znode<'_> {
        let node = self.slab.get(id);
        Znode { tree: self, id, node, blob: self.slab.blob_of(id, node) }
    }

    pub(super) fn ephemeral_ids(&self, session: SessionId) -> impl Iterator<Item = NodeId> {
        self.ephemerals.range((session, NodeId(0))..=(session, NodeId::NONE)).map(|&(_, id)| id)
    }
}

/// A place in the list that [`Tree::limited`] gives.
#[derive(Clone, Copy, Debug)]
pub struct LimitedPlace(NodeId);

/// A znode, borrowed from its tree.
#[derive(Clone, Copy)]
pub struct Znode<'a> {
    tree: &'a Tree,
    id: NodeId,
    node: &'a Node,
    blob: Blob<'a>,
}

impl<'a> Znode<'a> {
    /// What a client sees of the znode besides data and ACL. As in ZooKeeper, that is no other owner than a session.
    pub fn stat(&self) -> Stat {
        let mut stat = self.stored_stat();
        if let Some(usage) = self.shown_usage() {
            stat.data_length = usage.to_string().len() as i32;
        }
        stat
    }

    /// The same with the length of what is stored: what whoever writes is answered.
    pub(super) fn stored_stat(&self) -> Stat {
        let node = self.node;
        let (family, blob) = (self.family(), &self.blob);
        let change = node.change(blob);
        let num_children = family.num_children as i32;
        Stat {
            czxid: node.czxid,
            mzxid: change.zxid,
            ctime_ms: node.ctime_ms,
            mtime_ms: change.time_ms,
            version: change.version,
            // Creations and deletions; for each creation there was a deletion, unless the child is still there.
            cversion: family.created_children.wrapping_mul(2).wrapping_sub(num_children),
            aversion: self.aversion(),
            ephemeral_owner: Lifetime::of(blob.owner()).session(),
            data_length: blob.data_len() as i32,
            num_children,
            pzxid: family.pzxid,
        }
    }

    /// The content as a client sees it; `None` is null, which is not the same as empty. It is what is stored, unless the
    /// znode shows how much there is under a quota.
    pub fn data(&self) -> Option<Cow<'a, [u8]>> {
        match self.shown_usage() {
            Some(usage) => Some(Cow::Owned(usage.to_string().into_bytes())),
            None => self.blob.data().map(Cow::Borrowed),
        }
    }

    /// The bytes of the data that is stored.
    pub fn data_len(&self) -> usize {
        self.blob.data_len()
    }

    /// How much there is here and below.
    pub fn usage(&self) -> Usage {
        let family = self.family();
        Usage {
            count: u64::from(family.descendants) + 1,
            bytes: family.bytes_below + self.blob.data_len() as u64,
        }
    }

    /// What the znode shows instead of its data. No more than the name is looked at for nearly all of them.
    #[inline]
    fn shown_usage(&self) -> Option<Usage> {
        if self.blob.name_bytes() != quota::STATS.as_bytes() {
            return None;
        }
        quota::shown_by(&self.path()).map(|path| self.tree.usage(path))
    }

    /// Who may do what.
    pub fn acl(&self) -> &'a [Acl] {
        &self.access().acl
    }

    /// True if one of the identities has one of the permissions.
    pub fn permits(&self, perm: i32, ids: &[AuthId], rules: &Rules) -> bool {
        super::acl::permits(self.acl(), perm, ids, rules)
    }

    /// The last name of the path; empty for the root.
    pub fn name(&self) -> &'a str {
        self.blob.name()
    }

    /// The names of the children, in no particular order.
    pub fn children(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let slab = &self.tree.slab;
        std::iter::successors(self.family().first_child.some(), |&id| slab.get(id).next.some())
            .map(|id| slab.blob(id).name())
    }

    /// The names of those that are ephemerals, or are not; with `None` of all.
    pub fn children_of_kind(&self, ephemeral: Option<bool>) -> impl Iterator<Item = &'a str> + use<'a> {
        let tree = self.tree;
        std::iter::successors(self.family().first_child.some(), |&id| tree.slab.get(id).next.some())
            .map(|id| tree.znode(id))
            .filter(move |child| ephemeral.is_none_or(|wanted| child.is_ephemeral() == wanted))
            .map(|child| child.name())
    }

    /// How many children there are.
    pub fn num_children(&self) -> u32 {
        self.family().num_children
    }

    /// How many znodes there are below, at any depth.
    pub fn num_descendants(&self) -> u32 {
        self.family().descendants
    }

    /// How many children there ever were: what ZooKeeper stores as `cversion`, and the number of the next sequential
    /// child. [`Stat::cversion`] tells something else.
    pub fn created_children(&self) -> i32 {
        self.family().created_children
    }

    /// Changes of the data.
    pub fn version(&self) -> i32 {
        self.node.change(&self.blob).version
    }

    /// Changes of the ACL.
    pub fn aversion(&self) -> i32 {
        self.access().aversion
    }

    /// The session of an ephemeral, or what else stands in that field.
    pub fn ephemeral_owner(&self) -> SessionId {
        self.blob.owner()
    }

    /// What ends the znode.
    pub fn lifetime(&self) -> Lifetime {
        Lifetime::of(self.ephemeral_owner())
    }

    /// True if the znode goes with a session.
    pub fn is_ephemeral(&self) -> bool {
        self.lifetime().is_ephemeral()
    }

    /// When the data was set last, or the znode created: ms since 1970.
    pub fn mtime_ms(&self) -> i64 {
        self.node.change(&self.blob).time_ms
    }

    /// The full path.
    pub fn path(&self) -> String {
        self.tree.slab.path(self.id)
    }

    /// The transaction that created the znode.
    pub fn czxid(&self) -> Zxid {
        self.node.czxid
    }

    /// The transaction that last set the data.
    pub fn mzxid(&self) -> Zxid {
        self.node.change(&self.blob).zxid
    }

    /// The transaction that last created or deleted a child.
    pub fn pzxid(&self) -> Zxid {
        self.family().pzxid
    }

    fn family(&self) -> Family {
        self.tree.slab.family(self.node)
    }

    fn access(&self) -> &'a Access {
        self.tree.acls.get(self.node.access)
    }
}
