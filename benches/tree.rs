//! What a tree of many znodes costs: CPU time for each operation and memory for each znode.
//!
//! `cargo bench --bench tree [-- ZNODES]`; a million if no number is given. Each line is one question. Linux only:
//! CPU time and memory are those of `/proc`. The slowest operations are taken from the wall clock, so other work on
//! the machine shows in them.

use std::convert::Infallible;
use std::fs;
use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::Bytes;
use zabra::ids::{SessionId, Zxid};
use zabra::tree::Tree;
use zabra::txn::{Acl, Op, Ops, Txn, txn::Body};

const DATA_BYTES: usize = 100;
/// Of each parent.
const CHILDREN: usize = 1000;
/// How often a question is asked that is not asked of all znodes.
const PROBES: usize = 200_000;

fn main() {
    let znodes = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(1_000_000);
    println!(
        "{znodes} znodes of {DATA_BYTES} bytes, {CHILDREN} children each parent; ns of CPU time unless said"
    );
    let mut bench = Bench { tree: Tree::new(1), zxid: 0 };
    let before = memory_bytes();
    bench.apply_all("create", (0..znodes).map(create));
    say("memory, bytes a znode", (memory_bytes() - before) / znodes as u64);
    bench.read(znodes);
    bench.apply_all("setData", probes(znodes).map(|n| set_data(n, 1)));
    bench.apply_all("create at a random place", probes(znodes).map(|n| create_at(below(n), 1)));
    bench.apply_all("delete", probes(znodes).map(|n| Op::delete(below(n))));
    bench.image(znodes);
}

struct Bench {
    tree: Tree,
    zxid: u64,
}

impl Bench {
    fn apply_all(&mut self, what: &str, ops: impl Iterator<Item = Op>) {
        let (mut cpu_ns, mut slowest, mut count) = (0, Duration::ZERO, 0);
        let mut ops = ops.peekable();
        while ops.peek().is_some() {
            let txn = |op| Txn { time_ms: 1, body: Some(Body::Ops(Ops { ops: vec![op] })), ..Txn::default() };
            let txns: Vec<_> = ops.by_ref().take(1000).map(txn).collect();
            let before = cpu_time_ns();
            for txn in &txns {
                self.zxid += 1;
                let start = Instant::now();
                black_box(self.tree.apply(Zxid(self.zxid), txn).expect("it fits"));
                slowest = slowest.max(start.elapsed());
            }
            cpu_ns += cpu_time_ns() - before;
            count += txns.len() as u64;
        }
        say(what, cpu_ns / count.max(1));
        say("  the slowest, us", slowest.as_micros() as u64);
    }

    fn read(&self, znodes: usize) {
        let paths: Vec<_> = probes(znodes).map(path).collect();
        measure("look up, stat and data", paths.len(), || {
            for path in &paths {
                let node = self.tree.node(path).expect("it was created");
                black_box((node.stat(), node.data().map(|data| data[0])));
            }
        });
        measure("a child's name in a list", znodes, || {
            for n in (0..znodes).step_by(CHILDREN + 1) {
                let parent = parent(n);
                let names = self.tree.children(&parent).expect("it was created");
                black_box(names.map(str::len).sum::<usize>());
            }
        });
    }

    fn image(&mut self, znodes: usize) {
        let start = Instant::now();
        let image = self.tree.image();
        say("image, us in all", start.elapsed().as_micros() as u64);
        self.apply_all("setData while an image lives", probes(znodes).map(|n| set_data(n, 2)));
        let blocks: Vec<_> = measure("write", znodes, || image.blocks().collect());
        say("  bytes", (blocks.iter().map(Vec::len).sum::<usize>() / znodes) as u64);
        let load = || Tree::load(2, blocks.iter().map(Ok::<_, Infallible>)).expect("an image loads");
        let tree = measure("load", znodes, load);
        assert_eq!(tree.digest(), image.digest());
    }
}

fn measure<T>(what: &str, times: usize, work: impl FnOnce() -> T) -> T {
    let before = cpu_time_ns();
    let result = work();
    say(what, (cpu_time_ns() - before) / times.max(1) as u64);
    result
}

fn say(what: &str, number: u64) {
    println!("{what:<32}{number:>10}");
}

/// The n-th znode is a parent, or a child of the last one.
fn create(n: usize) -> Op {
    match n % (CHILDREN + 1) {
        // `/zookeeper` came first.
        0 => create_at(parent(n), n / (CHILDREN + 1) + 2),
        child => create_at(path(n), child),
    }
}

fn create_at(path: String, parent_cversion: usize) -> Op {
    let acl = vec![Acl { perms: 31, scheme: "world".into(), id: "anyone".into() }];
    Op::create(path, data(), acl, SessionId(0), parent_cversion as i32)
}

fn set_data(n: usize, version: i32) -> Op {
    Op::set_data(path(n), data(), version)
}

fn parent(n: usize) -> String {
    format!("/p{:05}", n / (CHILDREN + 1))
}

/// Of a znode that is no parent; its name has 15 characters.
fn path(n: usize) -> String {
    format!("{}/member-{n:08}", parent(n))
}

fn below(n: usize) -> String {
    format!("{}/below", path(n))
}

/// Znodes that are no parents, far apart from each other, none twice.
fn probes(znodes: usize) -> impl Iterator<Item = usize> {
    const STEP: usize = 7919;
    (0..znodes).map(move |n| n * STEP % znodes).filter(|n| n % (CHILDREN + 1) != 0).take(PROBES)
}

fn data() -> Bytes {
    Bytes::from_static(&[b'x'; DATA_BYTES])
}

/// Of this thread; waiting for a processor does not count.
fn cpu_time_ns() -> u64 {
    number_of("/proc/thread-self/schedstat", 0)
}

fn memory_bytes() -> u64 {
    number_of("/proc/self/statm", 1) * 4096
}

fn number_of(file: &str, field: usize) -> u64 {
    let text = fs::read_to_string(file).expect("Linux has it");
    text.split_whitespace().nth(field).and_then(|number| number.parse().ok()).expect("numbers")
}
