//! The leader's search for containers and znodes with a time to live whose time has come (ZooKeeper's
//! `ContainerManager`).

use crate::ids::Tick;
use crate::mutants::{Mutant, has};
use crate::tree::{Lifetime, LimitedPlace, Tree, Znode};

/// Such znodes that are looked at in one turn: a fraction of a millisecond.
const LOOKED_AT_MAX: usize = 1000;

/// What one deletion costs of the allowance, so that a millisecond brings `deletions_per_minute_max` of it.
const DELETION_COST: u64 = 60_000;

/// The allowance that gathers while nothing is deleted lasts for so many ms.
const GATHERED_MS_MAX: u64 = 1000;

/// When the leader looks for znodes whose time has come, and how fast they go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LimitedConfig {
    /// between the beginnings of two searches, ms
    pub check_interval_ms: u64,
    /// so that a crowd of them does not hold up the clients
    pub deletions_per_minute_max: u32,
    /// how long a container may wait for its first child, ms; 0: for ever
    pub unused_ms_max: u64,
}

/// A search that comes again and again. It begins anew with every leader.
#[derive(Debug)]
pub struct Search {
    config: LimitedConfig,
    next: Tick,
    /// The last one looked at, while a search is under way.
    at: Option<Option<LimitedPlace>>,
    allowance: u64,
    last: Tick,
}

impl Search {
    /// The first search begins after the usual pause: a new leader has better things to do.
    pub fn new(config: LimitedConfig, now: Tick) -> Search {
        Search { config, next: now.after_ms(config.check_interval_ms), at: None, allowance: 0, last: now }
    }

    /// Goes on with the search. Gives the paths of what may go now; `wall_ms` is compared with the times of the znodes,
    /// as in ZooKeeper.
    pub fn due(&mut self, tree: &Tree, now: Tick, wall_ms: i64) -> Vec<String> {
        self.gather(now);
        if self.at.is_none() && now >= self.next {
            self.next = now.after_ms(self.config.check_interval_ms);
            self.at = Some(None);
        }
        let Some(from) = self.at else { return Vec::new() };
        let mut due = Vec::new();
        for (looked_at, (place, znode)) in tree.limited(from).enumerate() {
            if looked_at == LOOKED_AT_MAX || self.allowance < DELETION_COST {
                return due;
            }
            self.at = Some(Some(place));
            if self.is_due(&znode, wall_ms) {
                self.allowance -= if has(Mutant::EndsTooFast) { 0 } else { DELETION_COST };
                due.push(znode.path());
            }
        }
        self.at = None;
        due
    }

    fn gather(&mut self, now: Tick) {
        let per_ms = u64::from(self.config.deletions_per_minute_max);
        let gathered = now.ms_since(std::mem::replace(&mut self.last, now)).saturating_mul(per_ms);
        let most = (GATHERED_MS_MAX * per_ms).max(DELETION_COST);
        self.allowance = self.allowance.saturating_add(gathered).min(most);
    }

    /// A container that never had a child is spared: whoever made it is about to make the child.
    fn is_due(&self, znode: &Znode<'_>, wall_ms: i64) -> bool {
        if znode.num_children() > 0 {
            return false;
        }
        let since_ms = if has(Mutant::TtlSinceCreation) { znode.stat().ctime_ms } else { znode.mtime_ms() };
        let age_ms = u64::try_from(wall_ms.saturating_sub(since_ms)).unwrap_or(0);
        match znode.lifetime() {
            Lifetime::Container if has(Mutant::UnusedEndsAtOnce) => true,
            Lifetime::Container if znode.created_children() == 0 => {
                let is_too_old = self.config.unused_ms_max > 0 && age_ms > self.config.unused_ms_max;
                is_too_old && !has(Mutant::UnusedStays)
            }
            Lifetime::Container => true,
            Lifetime::Ttl { ms } => age_ms > ms,
            Lifetime::Unlimited | Lifetime::Session(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{SessionId, Zxid};
    use crate::txn::{Acl, Op, Ops, Txn, txn::Body};

    const CONFIG: LimitedConfig =
        LimitedConfig { check_interval_ms: 1000, deletions_per_minute_max: 600, unused_ms_max: 0 };

    /// Znodes made at 1000 ms, each with a child made and deleted if it says so.
    fn tree(znodes: impl IntoIterator<Item = (String, Lifetime, bool)>) -> Tree {
        let open = || vec![Acl { perms: 31, scheme: "world".into(), id: "anyone".into() }];
        let mut ops = Vec::new();
        for (number, (path, lifetime, is_used)) in znodes.into_iter().enumerate() {
            let child = format!("{path}/child");
            ops.push(Op::create(path, None, open(), lifetime.owner(), number as i32));
            if is_used {
                ops.push(Op::create(child.clone(), None, open(), SessionId(0), 1));
                ops.push(Op::delete(child));
            }
        }
        let mut tree = Tree::new(1);
        let txn = Txn { time_ms: 1000, body: Some(Body::Ops(Ops { ops })), ..Txn::default() };
        tree.apply(Zxid(1), &txn).expect("it fits");
        tree
    }

    #[test]
    fn what_is_due_is_told_after_each_pause() {
        let tree = tree([
            ("/used".into(), Lifetime::Container, true),
            ("/unused".into(), Lifetime::Container, false),
            ("/ttl".into(), Lifetime::Ttl { ms: 500 }, false),
            ("/stays".into(), Lifetime::Unlimited, true),
        ]);
        let mut search = Search::new(CONFIG, Tick(0));
        assert_eq!(search.due(&tree, Tick(999), 1500), [""; 0], "the pause is not over");
        assert_eq!(search.due(&tree, Tick(1000), 1500), ["/used"]);
        assert_eq!(search.due(&tree, Tick(1999), 9999), [""; 0]);
        assert_eq!(search.due(&tree, Tick(2000), 1501), ["/used", "/ttl"]);
        assert_eq!(
            search.due(&tree, Tick(3000), 0),
            ["/used"],
            "a clock that was set back spares the others"
        );
        let config = LimitedConfig { unused_ms_max: 50, ..CONFIG };
        let mut search = Search::new(config, Tick(0));
        assert_eq!(search.due(&tree, Tick(1000), 1050), ["/used"]);
        assert_eq!(search.due(&tree, Tick(2000), 1051), ["/used", "/unused"]);
    }

    #[test]
    fn a_crowd_goes_bit_by_bit() {
        let tree = tree((0..3000).map(|n| (format!("/{n}"), Lifetime::Container, n % 2 == 0)));
        let mut search = Search::new(CONFIG, Tick(0));
        let told: Vec<usize> = (0..400)
            .map(|n| search.due(&tree, Tick(1000 + 1000 * n), 0).len())
            .take_while(|n| *n > 0)
            .collect();
        assert_eq!((told[0], told.iter().max()), (10, Some(&10)), "600 a minute are ten a second");
        assert_eq!(told.iter().sum::<usize>(), 1500, "each once");
    }

    #[test]
    fn no_turn_looks_at_more_than_some() {
        let tree = tree((0..2500).map(|n| (format!("/{n}"), Lifetime::Container, false)));
        let config =
            LimitedConfig { check_interval_ms: 1, deletions_per_minute_max: 60_000, unused_ms_max: 1 };
        let mut search = Search::new(config, Tick(0));
        let told: Vec<usize> = (1..=4).map(|n| search.due(&tree, Tick(n * 5000), 9000).len()).collect();
        assert_eq!(told, [1000, 1000, 500, 1000]);
    }
}
