//! Putting nodes in, taking them out and changing them, with everything that is derived: links, index, ephemerals,
//! digest and sizes. Nothing else writes into the slab.

use super::acl_table::AccessId;
use super::blob::{Content, DataChange};
use super::index::PathHash;
use super::lifetime::Lifetime;
use super::slab::{Family, Node, NodeId, Slab};
use super::{QuotaLimits, Tree, digest, quota};
use crate::mutants::{Mutant, has};

/// Where a node goes.
pub(super) struct Place {
    /// None for the root.
    pub parent: NodeId,
    /// The sibling before it; none for the first child.
    pub after: NodeId,
    /// The index's hash of its path.
    pub path_hash: PathHash,
}

impl Place {
    /// Of the root, which is not in the index.
    pub const ROOT: Place = Place { parent: NodeId::NONE, after: NodeId::NONE, path_hash: PathHash::NONE };
}

impl Tree {
    /// The place of a new first child of `parent`.
    pub(super) fn first_place(&self, parent: NodeId, path: &str) -> Place {
        Place { parent, after: NodeId::NONE, path_hash: self.index.hash(path) }
    }

    /// True if the path of the place, which is not the root's, has a node already.
    pub(super) fn is_taken(&self, place: &Place, path: &str) -> bool {
        self.index.find(&self.slab, place.path_hash, path).is_some()
    }

    /// Puts a node in at a path that is not there yet. `None` if there is no room.
    pub(super) fn insert(
        &mut self,
        place: Place,
        mut node: Node,
        path: &str,
        content: Content<'_>,
    ) -> Option<NodeId> {
        let Place { parent, after, path_hash } = place;
        node.parent = parent;
        node.prev = after;
        node.next = match after.some() {
            Some(after) => self.slab.get(after).next,
            None if parent.is_some() => self.slab.family(self.slab.get(parent)).first_child,
            None => NodeId::NONE,
        };
        let next = node.next;
        let id = self.slab.add(node)?;
        content.encode(&mut self.scratch);
        self.slab.set_blob(id, &mut self.scratch);
        if parent.is_some() {
            self.slab.change_family(parent, |family| family.num_children += 1);
            // Only what is loaded is put behind another one.
            let is_missed = has(Mutant::FiguresMiss) && after.is_some();
            self.change_below(parent, 1, if is_missed { 0 } else { content.data_len() as i64 });
            self.link(parent, after, id);
            self.link_back(next, id);
            self.index.insert(path_hash, id);
        }
        self.count_in(id, path, content);
        Some(id)
    }

    /// Takes a node out that has a parent and no children.
    pub(super) fn remove(&mut self, id: NodeId, path: &str) {
        self.count_out(id, path);
        let hash = self.index.hash(path);
        self.index.remove(hash, id);
        let node = self.slab.get(id);
        let (parent, prev, next, access) = (node.parent, node.prev, node.next, node.access);
        let bytes = self.slab.blob(id).data_len() as i64;
        self.link(parent, prev, next);
        self.link_back(next, prev);
        self.slab.change_family(parent, |family| family.num_children -= 1);
        self.change_below(parent, -1, -bytes);
        self.slab.free(id, &mut self.scratch);
        self.acls.release(access);
    }

    /// Changes what [`digest::of_family`] covers.
    pub(super) fn change_family(&mut self, id: NodeId, path: &str, change: impl FnOnce(&mut Family)) {
        self.with_family_digest(id, path, |slab| slab.change_family(id, change));
    }

    /// Changes the access, which [`digest::of_family`] covers as well.
    pub(super) fn change_access(&mut self, id: NodeId, path: &str, access: AccessId) {
        self.with_family_digest(id, path, |slab| slab.get_mut(id).access = access);
    }

    fn with_family_digest(&mut self, id: NodeId, path: &str, change: impl FnOnce(&mut Slab)) {
        let before = self.family_digest(id, path);
        change(&mut self.slab);
        let after = self.family_digest(id, path);
        self.digest = self.digest.wrapping_sub(before).wrapping_add(after);
    }

    /// So many znodes and bytes of data more or less below this one and all above it.
    fn change_below(&mut self, mut id: NodeId, znodes: i32, bytes: i64) {
        while id.is_some() {
            self.slab.change_family(id, |family| {
                family.descendants = family.descendants.wrapping_add_signed(znodes);
                family.bytes_below = family.bytes_below.wrapping_add_signed(bytes);
            });
            if has(Mutant::CountDrifts) && znodes < 0 {
                return;
            }
            id = self.slab.get(id).parent;
        }
    }

    /// Changes the data.
    pub(super) fn change_content(&mut self, id: NodeId, path: &str, data: Option<&[u8]>, change: DataChange) {
        let before = self.content_digest(id, path);
        let old = self.slab.blob(id);
        let old_len = old.data_len();
        let content = Content { name: old.name(), owner: old.owner(), change: Some(change), data };
        let content_len = content.data_len();
        content.encode(&mut self.scratch);
        self.slab.set_blob(id, &mut self.scratch);
        let longer_by = content_len as i64 - old_len as i64;
        self.data_bytes = self.data_bytes.wrapping_add_signed(longer_by);
        if longer_by != 0 {
            self.change_below(self.slab.get(id).parent, 0, longer_by);
        }
        if let Some(limited) = quota::limited_by(path) {
            self.quotas.insert(limited.to_owned(), QuotaLimits::parse(data));
        }
        let after = self.content_digest(id, path);
        self.digest = self.digest.wrapping_sub(before).wrapping_add(after);
    }

    /// Makes `child` the one after `prev`, or the first.
    fn link(&mut self, parent: NodeId, prev: NodeId, child: NodeId) {
        match prev.some() {
            Some(prev) => self.slab.get_mut(prev).next = child,
            None => self.slab.change_family(parent, |family| family.first_child = child),
        }
    }

    /// Makes `prev` the one before `child`, if there is a child.
    fn link_back(&mut self, child: NodeId, prev: NodeId) {
        if let Some(child) = child.some() {
            self.slab.get_mut(child).prev = prev;
        }
    }

    fn count_in(&mut self, id: NodeId, path: &str, content: Content<'_>) {
        let digest = self.content_digest(id, path).wrapping_add(self.family_digest(id, path));
        self.digest = self.digest.wrapping_add(digest);
        self.len += 1;
        self.data_bytes += (path.len() + content.data_len()) as u64;
        if let Some(limited) = quota::limited_by(path) {
            self.quotas.insert(limited.to_owned(), QuotaLimits::parse(content.data));
        }
        match Lifetime::of(content.owner) {
            Lifetime::Unlimited => {}
            Lifetime::Session(owner) => {
                self.ephemerals.insert((owner, id));
                *self.ephemeral_counts.entry(owner).or_default() += 1;
            }
            Lifetime::Container | Lifetime::Ttl { .. } => drop(self.limited.insert(id)),
        }
    }

    fn count_out(&mut self, id: NodeId, path: &str) {
        let digest = self.content_digest(id, path).wrapping_add(self.family_digest(id, path));
        self.digest = self.digest.wrapping_sub(digest);
        self.len -= 1;
        let blob = self.slab.blob(id);
        self.data_bytes -= (path.len() + blob.data_len()) as u64;
        if let Some(limited) = quota::limited_by(path) {
            self.quotas.remove(limited);
        }
        match Lifetime::of(blob.owner()) {
            Lifetime::Unlimited => {}
            Lifetime::Session(owner) => {
                self.ephemerals.remove(&(owner, id));
                let left = self.ephemeral_counts.get_mut(&owner).expect("it is one of them");
                *left -= 1;
                if *left == 0 {
                    self.ephemeral_counts.remove(&owner);
                }
            }
            Lifetime::Container | Lifetime::Ttl { .. } => drop(self.limited.remove(&id)),
        }
    }

    fn content_digest(&mut self, id: NodeId, path: &str) -> u64 {
        let (node, blob) = (self.slab.get(id), self.slab.blob(id));
        digest::of_content(&mut self.scratch, path, node, &blob)
    }

    fn family_digest(&mut self, id: NodeId, path: &str) -> u64 {
        let node = self.slab.get(id);
        digest::of_family(&mut self.scratch, path, self.slab.family(node), self.acls.get(node.access))
    }
}
