//! The requests of a connection, one after the other.

use std::collections::VecDeque;
use std::fmt::Write;
use std::rc::Rc;

use bytes::BytesMut;
use rand::RngExt;
use rand::rngs::StdRng;

use super::mix::{Kind, Mix};
use crate::ids::Xid;
use crate::jute::{Acl, Create, CreateMode, CreateOp, Request, encode_request_frame};

/// Children of the znode that [`Kind::Children`] lists.
const LISTED_CHILDREN: usize = 10;

/// The znodes of a run.
#[derive(Debug)]
pub struct Layout {
    /// Above all others; without a slash at its end.
    pub root: String,
    /// How many znodes [`Kind::Get`] and others choose from.
    pub keys: usize,
    /// What every znode is filled with.
    pub value: Vec<u8>,
}

impl Layout {
    /// The znodes that stand above all others, parents first.
    pub fn parents(&self) -> Vec<String> {
        let mut parents: Vec<String> =
            self.root.match_indices('/').skip(1).map(|(at, _)| self.root[..at].to_owned()).collect();
        parents.push(self.root.clone());
        parents.push(format!("{}/list", self.root));
        parents.extend((0..LISTED_CHILDREN).map(|i| format!("{}/list/child-{i}", self.root)));
        parents
    }

    fn key(&self, path: &mut String, index: usize) {
        path.clear();
        write!(path, "{}/k{index:07}", self.root).expect("a String takes everything");
    }
}

/// Where the requests of one connection come from.
pub trait Source {
    /// Appends the next request with `xid`; `None` if there is none.
    fn next(&mut self, xid: Xid, out: &mut BytesMut) -> Option<Kind>;

    /// True if the server's `code` is as good as success here.
    fn accepts(&self, code: i32) -> bool {
        let _ = code;
        false
    }
}

/// Makes the keys before a run, or removes them afterwards: those whose number leaves `next` when divided by `step`.
pub struct Stripe {
    layout: Rc<Layout>,
    next: usize,
    step: usize,
    remove: bool,
    acl: Vec<Acl>,
    path: String,
}

impl Stripe {
    /// The part of connection `index` out of `connections`.
    pub fn new(layout: Rc<Layout>, index: usize, connections: usize, remove: bool) -> Stripe {
        Stripe { layout, next: index, step: connections, remove, acl: Acl::open(), path: String::new() }
    }
}

impl Source for Stripe {
    fn next(&mut self, xid: Xid, out: &mut BytesMut) -> Option<Kind> {
        if self.next >= self.layout.keys {
            return None;
        }
        self.layout.key(&mut self.path, self.next);
        self.next += self.step;
        let path = &self.path;
        if self.remove {
            encode_request_frame(xid, &Request::Delete { path, version: -1 }, out);
            return Some(Kind::Delete);
        }
        encode_create(xid, path, &self.layout.value, &mut self.acl, CreateMode::Persistent, out);
        Some(Kind::Create)
    }

    /// Keys of an earlier run may be there already, or gone.
    fn accepts(&self, code: i32) -> bool {
        use crate::jute::ErrorCode::{NoNode, NodeExists};
        code == if self.remove { NoNode as i32 } else { NodeExists as i32 }
    }
}

/// The load itself: requests without end, in the proportion of the mix.
pub struct Load {
    layout: Rc<Layout>,
    mix: Mix,
    rng: StdRng,
    acl: Vec<Acl>,
    path: String,
    /// What the names of this connection's own znodes begin with.
    own: String,
    own_next: u64,
    /// Numbers of its own znodes that are there.
    made: VecDeque<u64>,
    ephemeral: Option<u64>,
}

impl Load {
    /// The load of connection `index`.
    pub fn new(layout: Rc<Layout>, mix: Mix, index: usize, rng: StdRng) -> Load {
        let own = format!("{}/own-{index}-", layout.root);
        let (acl, path, made) = (Acl::open(), String::new(), VecDeque::new());
        Load { layout, mix, rng, acl, path, own, own_next: 0, made, ephemeral: None }
    }

    /// Removes what the load has left behind.
    pub fn leftovers(self) -> Leftovers {
        Leftovers { own: self.own, made: self.made }
    }

    fn own_path(&mut self, number: u64) {
        self.path.clear();
        write!(self.path, "{}{number}", self.own).expect("a String takes everything");
    }

    fn create(&mut self, xid: Xid, mode: CreateMode, out: &mut BytesMut) -> u64 {
        let number = self.own_next;
        self.own_next += 1;
        self.own_path(number);
        encode_create(xid, &self.path, &self.layout.value, &mut self.acl, mode, out);
        number
    }

    fn delete(&mut self, xid: Xid, number: u64, out: &mut BytesMut) {
        self.own_path(number);
        encode_request_frame(xid, &Request::Delete { path: &self.path, version: -1 }, out);
    }
}

impl Source for Load {
    fn next(&mut self, xid: Xid, out: &mut BytesMut) -> Option<Kind> {
        let kind = self.mix.pick(&mut self.rng);
        if matches!(kind, Kind::Get | Kind::Set | Kind::Exists) {
            let index = self.rng.random_range(0..self.layout.keys);
            self.layout.key(&mut self.path, index);
        }
        match kind {
            Kind::Get => encode_request_frame(xid, &Request::GetData { path: &self.path, watch: false }, out),
            Kind::Exists => {
                encode_request_frame(xid, &Request::Exists { path: &self.path, watch: false }, out)
            }
            Kind::Set => {
                let request =
                    Request::SetData { path: &self.path, data: Some(&self.layout.value), version: -1 };
                encode_request_frame(xid, &request, out);
            }
            Kind::Children => {
                self.path.clear();
                self.path.push_str(&self.layout.root);
                self.path.push_str("/list");
                let request = Request::GetChildren { path: &self.path, watch: false, with_stat: true };
                encode_request_frame(xid, &request, out);
            }
            Kind::Delete => match self.made.pop_front() {
                Some(number) => self.delete(xid, number, out),
                None => {
                    let number = self.create(xid, CreateMode::Persistent, out);
                    self.made.push_back(number);
                    return Some(Kind::Create);
                }
            },
            Kind::Create => {
                let number = self.create(xid, CreateMode::Persistent, out);
                self.made.push_back(number);
            }
            Kind::Ephemeral => match self.ephemeral.take() {
                Some(number) => self.delete(xid, number, out),
                None => self.ephemeral = Some(self.create(xid, CreateMode::Ephemeral, out)),
            },
        }
        Some(kind)
    }
}

/// Removes the znodes that a [`Load`] has made and not removed.
pub struct Leftovers {
    own: String,
    made: VecDeque<u64>,
}

impl Source for Leftovers {
    fn next(&mut self, xid: Xid, out: &mut BytesMut) -> Option<Kind> {
        let path = format!("{}{}", self.own, self.made.pop_front()?);
        encode_request_frame(xid, &Request::Delete { path: &path, version: -1 }, out);
        Some(Kind::Delete)
    }

    fn accepts(&self, code: i32) -> bool {
        code == crate::jute::ErrorCode::NoNode as i32
    }
}

/// Appends a create. The list is lent to the request and taken back, so that it is made once and not each time.
fn encode_create(
    xid: Xid,
    path: &str,
    data: &[u8],
    acl: &mut Vec<Acl>,
    mode: CreateMode,
    out: &mut BytesMut,
) {
    let lent = std::mem::take(acl);
    let request = Request::Create(Create {
        path,
        data: Some(data),
        acl: lent,
        flags: mode as i32,
        op: CreateOp::Create,
    });
    encode_request_frame(xid, &request, out);
    if let Request::Create(create) = request {
        *acl = create.acl;
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;
    use crate::jute::{Reader, RequestHeader, decode_request, next_frame};

    fn layout(keys: usize) -> Rc<Layout> {
        Rc::new(Layout { root: "/a/b".to_owned(), keys, value: vec![7; 3] })
    }

    /// The paths of all requests that `source` has, or of the first `count`.
    fn paths(source: &mut impl Source, count: usize) -> Vec<(Kind, String)> {
        let mut out = BytesMut::new();
        let mut paths = Vec::new();
        for xid in 0..count {
            let Some(kind) = source.next(xid as Xid, &mut out) else { break };
            let frame = next_frame(&mut out, 1 << 20).unwrap().unwrap();
            let mut reader = Reader::new(&frame);
            let op = RequestHeader::decode(&mut reader).unwrap().op;
            match decode_request(op, reader.left()).unwrap() {
                Request::Create(Create { path, .. })
                | Request::Delete { path, .. }
                | Request::GetChildren { path, .. }
                | Request::GetData { path, .. } => paths.push((kind, path.to_owned())),
                other => panic!("{other:?}"),
            }
        }
        paths
    }

    #[test]
    fn the_stripes_of_all_connections_make_every_key_once() {
        let layout = layout(7);
        let mut made: Vec<String> = (0..3)
            .flat_map(|index| paths(&mut Stripe::new(layout.clone(), index, 3, false), 100))
            .map(|(_, path)| path)
            .collect();
        made.sort();
        assert_eq!(made, (0..7).map(|i| format!("/a/b/k{i:07}")).collect::<Vec<_>>());
    }

    #[test]
    fn what_a_load_makes_it_removes_in_order_or_leaves_to_be_removed() {
        let mut load = Load::new(layout(1), "delete,create".parse().unwrap(), 4, StdRng::seed_from_u64(3));
        let mut there = Vec::new();
        for (kind, path) in paths(&mut load, 200) {
            match kind {
                Kind::Create => there.push(path),
                _ => assert_eq!(there.remove(0), path),
            }
        }
        let left: Vec<String> =
            paths(&mut load.leftovers(), 1000).into_iter().map(|(_, path)| path).collect();
        assert_eq!(left, there);
    }

    #[test]
    fn an_ephemeral_is_removed_before_the_next_one_is_made() {
        let mut load = Load::new(layout(1), "ephemeral".parse().unwrap(), 0, StdRng::seed_from_u64(3));
        let paths: Vec<String> = paths(&mut load, 4).into_iter().map(|(_, path)| path).collect();
        assert_eq!(paths, ["/a/b/own-0-0", "/a/b/own-0-0", "/a/b/own-0-1", "/a/b/own-0-1"]);
    }

    #[test]
    fn the_parents_come_before_their_children() {
        assert_eq!(layout(1).parents()[..4], ["/a", "/a/b", "/a/b/list", "/a/b/list/child-0"]);
    }
}
