//! Quotas of all kinds, and znodes below them.

use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use zabra::jute::CreateMode;

use super::super::client::Client;
use super::super::model::quota::{QUOTA, limits_of, stats_of};
use super::super::op::{ANY, Keeper, Op};
use super::one_of;

/// What has quotas; one within another.
const LIMITED: [&str; 3] = ["/q0", "/q1", "/q0/a"];

/// What counts for them.
const COUNTED: [&str; 8] = ["/q0", "/q1", "/q0/a", "/q0/b", "/q0/a/x", "/q0/a/y", "/q1/z", "/q1/w"];

/// What stands in them: soft and hard limits, both, and none.
const LIMITS: [&str; 10] = [
    "count=3,bytes=20",
    "count=-1,bytes=-1=;byteHardLimit=14;countHardLimit=3",
    "count=2,bytes=8=;byteHardLimit=30;countHardLimit=4",
    "countHardLimit=2",
    "byteHardLimit=9",
    "countHardLimit=0,bytes=1",
    "count=x,byteHardLimit=12",
    "count=1,bytes=1",
    "nonsense",
    "",
];

/// The figures that one of the quotas shows.
pub fn figures(chance: &mut StdRng) -> String {
    stats_of(&one_of(&LIMITED, chance))
}

/// Something that counts for a quota.
pub fn counted(chance: &mut StdRng) -> String {
    one_of(&COUNTED, chance)
}

fn create_if_not_exists(path: String, data: impl Into<String>) -> Op {
    Op::Keeper(Keeper::CreateIfNotExists { path, data: data.into(), mode: CreateMode::Persistent })
}

impl Client {
    /// Makes, changes or deletes a quota, or what is below it.
    pub(super) fn change_under_quota(&mut self, chance: &mut StdRng) -> Op {
        match chance.random_range(0..24) {
            0..12 => self.change_counted(chance),
            12 => Op::make(counted(chance), self.next_value(), CreateMode::Ephemeral),
            13..15 => {
                let znodes_max = *[1, 2, 3, 100].choose(chance).expect("some");
                Op::Keeper(Keeper::RemoveRecursive { path: one_of(&LIMITED, chance), znodes_max })
            }
            15..18 => self.set_quota(chance),
            18 => Op::Delete { path: limits_of(&one_of(&LIMITED, chance)), version: ANY },
            19 => {
                let path = format!("{QUOTA}{}", one_of(&LIMITED, chance));
                Op::Keeper(Keeper::RemoveRecursive { path, znodes_max: 100 })
            }
            20 => Op::create(figures(chance), "whatever"),
            21..23 => {
                Op::Multi((0..chance.random_range(2..5)).map(|_| self.change_counted(chance)).collect())
            }
            _ => {
                let Op::Multi(mut ops) = self.set_quota(chance) else { unreachable!("it is a multi") };
                ops.push(self.change_counted(chance));
                Op::Multi(ops)
            }
        }
    }

    /// Mostly with more data than before.
    fn change_counted(&mut self, chance: &mut StdRng) -> Op {
        let data = format!("{}{}", self.next_value(), "-".repeat(chance.random_range(0..8)));
        match chance.random_range(0..10) {
            0..5 => Op::create(counted(chance), data),
            5..8 => Op::set(counted(chance), data),
            _ => Op::Delete { path: counted(chance), version: ANY },
        }
    }

    fn set_quota(&mut self, chance: &mut StdRng) -> Op {
        let (of, limits) = (one_of(&LIMITED, chance), one_of(&LIMITS, chance));
        let mut ops = Vec::new();
        for above in [crate::op::parent_of(&of), &of].into_iter().filter(|path| *path != "/") {
            ops.push(create_if_not_exists(format!("{QUOTA}{above}"), ""));
        }
        ops.push(create_if_not_exists(limits_of(&of), limits.clone()));
        ops.push(Op::set(limits_of(&of), limits));
        Op::Multi(ops)
    }
}
