//! Where the nodes live: numbered slots in pages that are copied when they are written while an image shares them.

use triomphe::Arc;

use super::acl_table::AccessId;
use super::blob::Blob;
use crate::ids::Zxid;

/// A slot of the [`Slab`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct NodeId(pub u32);

impl NodeId {
    /// The root is always the first node.
    pub const ROOT: NodeId = NodeId(0);
    /// No node.
    pub const NONE: NodeId = NodeId(u32::MAX);

    pub fn is_some(self) -> bool {
        self != NodeId::NONE
    }

    /// `None` instead of [`NodeId::NONE`].
    pub fn some(self) -> Option<NodeId> {
        self.is_some().then_some(self)
    }
}

/// A znode. 80 bytes: the ACL's version lies with the ACL, name, owner and data in the blob.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub czxid: Zxid,
    pub mzxid: Zxid,
    pub pzxid: Zxid,
    pub ctime_ms: i64,
    pub mtime_ms: i64,
    pub version: i32,
    /// How many children were ever created: what ZooKeeper stores as `cversion`.
    pub created_children: i32,
    pub num_children: u32,
    pub parent: NodeId,
    /// The children are a doubly linked list through `next` and `prev`.
    pub first_child: NodeId,
    pub next: NodeId,
    pub prev: NodeId,
    pub access: AccessId,
    /// `None` in a free slot only.
    blob: Option<Blob>,
}

impl Node {
    /// A node without relatives.
    pub fn new(blob: Blob, access: AccessId, zxid: Zxid, time_ms: i64) -> Node {
        Node {
            czxid: zxid,
            mzxid: zxid,
            pzxid: zxid,
            ctime_ms: time_ms,
            mtime_ms: time_ms,
            access,
            blob: Some(blob),
            ..Node::free()
        }
    }

    fn free() -> Node {
        Node {
            czxid: Zxid::ZERO,
            mzxid: Zxid::ZERO,
            pzxid: Zxid::ZERO,
            ctime_ms: 0,
            mtime_ms: 0,
            version: 0,
            created_children: 0,
            num_children: 0,
            parent: NodeId::NONE,
            first_child: NodeId::NONE,
            next: NodeId::NONE,
            prev: NodeId::NONE,
            access: AccessId::OPEN,
            blob: None,
        }
    }

    pub fn blob(&self) -> &Blob {
        self.blob.as_ref().expect("no link leads to a free slot")
    }

    pub fn set_blob(&mut self, blob: Blob) {
        self.blob = Some(blob);
    }
}

const PAGE_NODES: usize = 256;
const GROUP_PAGES: usize = 64;

type Page = [Node; PAGE_NODES];
/// Pages are counted in groups, so that an image of a million nodes is 62 reference counts and not 3907: the rest is
/// paid by the first write into each group.
type Group = [Arc<Page>; GROUP_PAGES];

/// The nodes. A clone shares all pages; a page is copied when one of the two writes into it.
#[derive(Clone)]
pub(super) struct Slab {
    groups: Vec<Arc<Group>>,
    /// Slots that were ever used.
    slots: u32,
    /// All free; a group begins with this page in every place, and the first write into a place copies it.
    free_page: Arc<Page>,
}

impl Slab {
    pub fn new() -> Slab {
        Slab { groups: Vec::new(), slots: 0, free_page: Arc::new(std::array::from_fn(|_| Node::free())) }
    }

    #[inline]
    pub fn get(&self, id: NodeId) -> &Node {
        let slot = id.0 as usize;
        &self.groups[slot / (PAGE_NODES * GROUP_PAGES)][slot / PAGE_NODES % GROUP_PAGES][slot % PAGE_NODES]
    }

    #[inline]
    pub fn get_mut(&mut self, id: NodeId) -> &mut Node {
        let slot = id.0 as usize;
        let group = Arc::make_mut(&mut self.groups[slot / (PAGE_NODES * GROUP_PAGES)]);
        &mut Arc::make_mut(&mut group[slot / PAGE_NODES % GROUP_PAGES])[slot % PAGE_NODES]
    }

    /// Puts a node into a slot that was never used. `None` when there is no further number.
    pub fn push(&mut self, node: Node) -> Option<NodeId> {
        let id = NodeId(self.slots);
        if id == NodeId::NONE {
            return None;
        }
        if id.0 as usize == self.groups.len() * PAGE_NODES * GROUP_PAGES {
            self.groups.push(Arc::new(std::array::from_fn(|_| self.free_page.clone())));
        }
        self.slots += 1;
        *self.get_mut(id) = node;
        Some(id)
    }

    /// Empties a slot; the caller keeps its number for [`Slab::reuse`].
    pub fn free(&mut self, id: NodeId) {
        *self.get_mut(id) = Node::free();
    }

    /// Puts a node into a slot that was freed.
    pub fn reuse(&mut self, id: NodeId, node: Node) {
        let slot = self.get_mut(id);
        debug_assert!(slot.blob.is_none());
        *slot = node;
    }

    /// The nearest following node of a walk over the whole tree, parents before children.
    pub fn next_in_preorder(&self, mut id: NodeId) -> Option<Step> {
        if let Some(child) = self.get(id).first_child.some() {
            return Some(Step { id: child, up: 0 });
        }
        let mut up = 1;
        while id != NodeId::ROOT {
            let node = self.get(id);
            if let Some(next) = node.next.some() {
                return Some(Step { id: next, up });
            }
            id = node.parent;
            up += 1;
        }
        None
    }

    /// The full path, put together from the names on the way to the root.
    pub fn path(&self, id: NodeId) -> String {
        if id == NodeId::ROOT {
            return "/".into();
        }
        let ancestry = || {
            std::iter::successors(Some(id), |&id| Some(self.get(id).parent))
                .take_while(|&id| id != NodeId::ROOT)
        };
        let len = ancestry().map(|id| self.get(id).blob().name_bytes().len() + 1).sum();
        let mut path = vec![b'/'; len];
        let mut end = len;
        for id in ancestry() {
            let name = self.get(id).blob().name_bytes();
            path[end - name.len()..end].copy_from_slice(name);
            end -= name.len() + 1;
        }
        String::from_utf8(path).expect("names are UTF-8")
    }

    /// True if `path`, which is not the root's, leads to this node.
    pub fn has_path(&self, mut id: NodeId, path: &str) -> bool {
        let mut rest = path.as_bytes();
        while id != NodeId::ROOT {
            let node = self.get(id);
            let Some(parent) =
                rest.strip_suffix(node.blob().name_bytes()).and_then(|rest| rest.strip_suffix(b"/"))
            else {
                return false;
            };
            rest = parent;
            id = node.parent;
        }
        rest.is_empty()
    }
}

/// One step of a walk over the tree.
pub(super) struct Step {
    pub id: NodeId,
    /// How many levels the node's parent lies above the node that came before: 0 if it is that node.
    pub up: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_eighty_bytes() {
        assert_eq!(size_of::<Node>(), 80);
    }
}
