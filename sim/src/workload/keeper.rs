//! What clients of ClickHouse ask for.

use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use zabra::ids::Zxid;
use zabra::jute::{CreateMode, ListFilter, Stat};

use super::super::client::Client;
use super::super::op::{ANY, Keeper, Op, Read};
use super::{one_of, shared};

/// What they make, look for and delete.
const OWN: [&str; 6] = ["/x0", "/x0/a", "/x0/a/b", "/x0/c", "/k0/a", "/eph/x"];

/// What they delete with all below it.
const REMOVED: [&str; 6] = ["/x0", "/x0/a", "/k0", "/k1", "/t0", "/eph/x"];

/// What nobody may delete.
const FOR_EVER: [&str; 3] = ["/zookeeper/quota", "/", "/keeper/api_version"];

/// Where they look for children of one kind.
const PARENTS: [&str; 5] = ["/eph", "/x0", "/k0", "/lock", "/q0"];

/// No znode has it; of a field of a Stat it stands for any.
const NOT_LOOKED_AT: i64 = -1;

/// A znode of theirs.
pub fn own(chance: &mut StdRng) -> String {
    one_of(&OWN, chance)
}

/// Which children there are of one kind.
pub fn list(chance: &mut StdRng, watch: bool) -> Read {
    let kinds = [ListFilter::All, ListFilter::Persistent, ListFilter::Ephemeral];
    let filter = *kinds.choose(chance).expect("there are some");
    Read::Filtered { path: one_of(&PARENTS, chance), filter, watch }
}

impl Client {
    /// One of ClickHouse Keeper's operations, or several in a multi.
    pub(super) fn ask_as_clickhouse(&mut self, chance: &mut StdRng) -> Op {
        match chance.random_range(0..10) {
            0..7 => Op::Keeper(self.keeper_op(chance)),
            7 => {
                let path = one_of(&FOR_EVER, chance);
                Op::Keeper(Keeper::RemoveRecursive { path, znodes_max: 1000 })
            }
            _ => {
                let ops = (0..chance.random_range(2..5)).map(|_| match chance.random_range(0..5) {
                    0 => Op::create(own(chance), self.next_value()),
                    1 => Op::set(own(chance), self.next_value()),
                    _ => Op::Keeper(self.keeper_op(chance)),
                });
                Op::Multi(ops.collect())
            }
        }
    }

    fn keeper_op(&mut self, chance: &mut StdRng) -> Keeper {
        match chance.random_range(0..12) {
            0..5 => {
                let is_ephemeral = chance.random_bool(0.2);
                let mode = if is_ephemeral { CreateMode::Ephemeral } else { CreateMode::Persistent };
                Keeper::CreateIfNotExists { path: own(chance), data: self.next_value(), mode }
            }
            5..7 => {
                let version = *[ANY, ANY, 0, 1].choose(chance).expect("there are some");
                Keeper::CheckNotExists { path: own(chance), version }
            }
            7..10 => self.check_stat(chance),
            _ => {
                let znodes_max = *[0, 1, 2, 3, 100].choose(chance).expect("there are some");
                Keeper::RemoveRecursive { path: one_of(&REMOVED, chance), znodes_max }
            }
        }
    }

    /// Mostly some of what it has seen last, sometimes with one field that is wrong.
    fn check_stat(&mut self, chance: &mut StdRng) -> Keeper {
        let known: Vec<&String> = self.knows.stats.keys().collect();
        let path = match known.choose(chance).filter(|_| chance.random_bool(0.9)) {
            Some(path) => path.to_string(),
            None => shared(chance),
        };
        let mut stat = self.knows.stats.get(&path).copied().unwrap_or_default();
        let mut any = |field: &mut i64| {
            if chance.random_bool(0.3) {
                *field = NOT_LOOKED_AT;
            }
        };
        any(&mut stat.ctime_ms);
        any(&mut stat.mtime_ms);
        let Stat { czxid, mzxid, pzxid, .. } = &mut stat;
        for zxid in [czxid, mzxid, pzxid] {
            let mut field = zxid.0 as i64;
            any(&mut field);
            *zxid = Zxid(field as u64);
        }
        if chance.random_bool(0.2) {
            stat.data_length += 1;
        }
        let version = *[ANY, stat.version].choose(chance).expect("there are some");
        Keeper::CheckStat { path, version, stat }
    }
}
