//! What proposals that are not applied yet add to the figures of quotas, and whether there is room for more.

use std::sync::Arc;

use foldhash::quality::FixedState;
use hashbrown::HashMap;

use crate::jute::ErrorCode;
use crate::tree::{Limit, QuotaLimits, Tree, Usage};

/// More or fewer znodes and bytes of data.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Difference {
    pub count: i64,
    pub bytes: i64,
}

impl std::ops::Neg for Difference {
    type Output = Difference;

    fn neg(self) -> Difference {
        Difference { count: -self.count, bytes: -self.bytes }
    }
}

/// What went, or would have gone, beyond a quota.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Exceeded {
    /// the path that the quota is of
    pub path: String,
    /// the limit
    pub limit: Limit,
    /// how much there would be
    pub usage: u64,
    /// true: of bytes; false: of znodes
    pub in_bytes: bool,
}

/// The sums of what is pending, by the paths of the quotas. There are only those that are not 0.
pub(super) struct PendingUsage {
    sums: HashMap<Arc<str>, Difference, FixedState>,
}

impl PendingUsage {
    pub fn new(hash_seed: u64) -> PendingUsage {
        PendingUsage { sums: HashMap::with_hasher(FixedState::with_seed(hash_seed)) }
    }

    /// Counts something in; with the negative of it, out again.
    pub fn add(&mut self, quota: &Arc<str>, difference: Difference) {
        let sum = self.sums.entry(quota.clone()).or_default();
        sum.count += difference.count;
        sum.bytes += difference.bytes;
        if *sum == Difference::default() {
            self.sums.remove(quota);
        }
    }

    pub fn clear(&mut self) {
        self.sums.clear();
    }

    /// How much there will be under a quota when all that is pending is applied.
    fn usage(&self, tree: &Tree, quota: &str) -> Usage {
        let pending = self.sums.get(quota).copied().unwrap_or_default();
        let Usage { count, bytes } = tree.usage(quota);
        Usage {
            count: count.saturating_add_signed(pending.count),
            bytes: bytes.saturating_add_signed(pending.bytes),
        }
    }

    /// Whether there is room. As in ZooKeeper only what changes is looked at, so that a quota that is exceeded in bytes
    /// lets empty znodes be made; but less data than before is refused if it is too much still. What goes beyond a limit
    /// is noted, first that of the count.
    pub fn check(
        &self,
        tree: &Tree,
        (quota, limits): (&str, QuotaLimits),
        difference: Difference,
        exceeded: &mut Vec<Exceeded>,
    ) -> Result<(), ErrorCode> {
        let usage = self.usage(tree, quota);
        let count = (difference.count, usage.count, limits.count, false);
        let bytes = (difference.bytes, usage.bytes, limits.bytes, true);
        for (more, before, limit, in_bytes) in [count, bytes] {
            let after = before.saturating_add_signed(more);
            let Some(limit) = limit.filter(|limit| more != 0 && after > limit.most()) else { continue };
            exceeded.push(Exceeded { path: quota.to_owned(), limit, usage: after, in_bytes });
            if matches!(limit, Limit::Hard(_)) {
                return Err(ErrorCode::QuotaExceeded);
            }
        }
        Ok(())
    }
}
