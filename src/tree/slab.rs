//! Where the nodes live, each in a numbered slot.

use super::acl_table::AccessId;
use super::blob::{Blob, DataChange};
use super::blobs::{BlobPlace, Blobs};
use super::pages::Pages;
use crate::ids::Zxid;

/// A slot of the [`Slab`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct NodeId(pub u32);

impl Default for NodeId {
    fn default() -> NodeId {
        NodeId::NONE
    }
}

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

/// A znode, as far as all znodes have it. 40 bytes: the ACL's version lies with the ACL; name, data, owner and what a
/// change of the data leaves behind in the blob; and what children bring along in the [`Family`].
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub czxid: Zxid,
    pub ctime_ms: i64,
    pub parent: NodeId,
    /// The siblings are a doubly linked list through `next` and `prev`.
    pub next: NodeId,
    pub prev: NodeId,
    pub access: AccessId,
    /// The slot of its [`Family`]; [`NO_FAMILY`] if it never had a child.
    family: u32,
    blob: BlobPlace,
}

const NO_FAMILY: u32 = u32::MAX;

impl Node {
    /// A node without relatives.
    pub fn new(access: AccessId, zxid: Zxid, time_ms: i64) -> Node {
        Node { czxid: zxid, ctime_ms: time_ms, access, ..Node::default() }
    }

    /// The last change of the data; the creation, if there was none. `blob` is the node's.
    #[inline]
    pub fn change(&self, blob: &Blob<'_>) -> DataChange {
        let created = DataChange { zxid: self.czxid, time_ms: self.ctime_ms, version: 0 };
        blob.change().unwrap_or(created)
    }
}

impl Default for Node {
    /// A free slot.
    fn default() -> Node {
        Node {
            czxid: Zxid::ZERO,
            ctime_ms: 0,
            parent: NodeId::NONE,
            next: NodeId::NONE,
            prev: NodeId::NONE,
            access: AccessId::OPEN,
            family: NO_FAMILY,
            blob: BlobPlace::NONE,
        }
    }
}

/// What children bring along. Most znodes never have any.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Family {
    pub pzxid: Zxid,
    /// How many children were ever created: what ZooKeeper stores as `cversion`.
    pub created_children: i32,
    pub num_children: u32,
    pub first_child: NodeId,
    /// Everything below, children included. It stands in no snapshot: whoever loads one counts again.
    pub descendants: u32,
    /// Of the data of all of them; counted again as well.
    pub bytes_below: u64,
}

/// The nodes. An image shares them until they change.
#[derive(Clone)]
pub(super) struct Slab {
    nodes: Pages<Node>,
    families: Pages<Family>,
    blobs: Blobs,
}

impl Slab {
    pub fn new() -> Slab {
        Slab { nodes: Pages::new(), families: Pages::new(), blobs: Blobs::new() }
    }

    /// The same nodes, to look at.
    pub fn image(&self) -> Slab {
        Slab { nodes: self.nodes.image(), families: self.families.image(), blobs: self.blobs.image() }
    }

    #[inline]
    pub fn get(&self, id: NodeId) -> &Node {
        self.nodes.get(id.0)
    }

    #[inline]
    pub fn get_mut(&mut self, id: NodeId) -> &mut Node {
        self.nodes.get_mut(id.0)
    }

    /// Of a node of this slab.
    #[inline]
    pub fn family(&self, node: &Node) -> Family {
        match node.family {
            NO_FAMILY => Family { pzxid: node.czxid, ..Family::default() },
            slot => *self.families.get(slot),
        }
    }

    /// Changes the family, and makes one if the node has none.
    pub fn change_family(&mut self, id: NodeId, change: impl FnOnce(&mut Family)) {
        let node = self.nodes.get(id.0);
        match node.family {
            NO_FAMILY => {
                let mut family = self.family(node);
                change(&mut family);
                self.nodes.get_mut(id.0).family = self.families.add(family).expect("no more than nodes");
            }
            slot => change(self.families.get_mut(slot)),
        }
    }

    /// Name, data and so on.
    #[inline]
    pub fn blob(&self, id: NodeId) -> Blob<'_> {
        self.blob_of(id, self.get(id))
    }

    /// The same, where the node is at hand.
    #[inline]
    pub fn blob_of(&self, id: NodeId, node: &Node) -> Blob<'_> {
        Blob::new(self.blobs.get(id.0, node.blob))
    }

    /// Keeps the blob in `scratch`, which is overwritten, for a node instead of the one it has.
    pub fn set_blob(&mut self, id: NodeId, scratch: &mut Vec<u8>) {
        let row = self.nodes.row_mut(id.0);
        self.blobs.set(id.0, row.each_mut().map(|node| &mut node.blob), scratch);
    }

    /// Puts a node in that has no blob yet. `None` when there is no further number.
    pub fn add(&mut self, node: Node) -> Option<NodeId> {
        self.nodes.add(node).map(NodeId)
    }

    /// Empties a slot. `scratch` is overwritten.
    pub fn free(&mut self, id: NodeId, scratch: &mut Vec<u8>) {
        scratch.clear();
        self.set_blob(id, scratch);
        match self.nodes.get(id.0).family {
            NO_FAMILY => {}
            slot => self.families.free(slot),
        }
        self.nodes.free(id.0);
    }

    /// The nearest following node of a walk over the whole tree, parents before children.
    pub fn next_in_preorder(&self, mut id: NodeId) -> Option<Step> {
        if let Some(child) = self.family(self.get(id)).first_child.some() {
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
        let len = ancestry().map(|id| self.blob(id).name_bytes().len() + 1).sum();
        let mut path = vec![b'/'; len];
        let mut end = len;
        for id in ancestry() {
            let name = self.blob(id).name_bytes();
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
                rest.strip_suffix(self.blob(id).name_bytes()).and_then(|rest| rest.strip_suffix(b"/"))
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
    fn a_node_is_forty_bytes() {
        assert_eq!((size_of::<Node>(), size_of::<Family>()), (40, 32));
    }
}
