//! What proposals that are not applied yet add to the figures of quotas, and whether there is room for more.

use std::sync::Arc;

use foldhash::quality::FixedState;
use hashbrown::HashMap;

use crate::jute::ErrorCode;
use crate::mutants::{Mutant, has};
use crate::tree::{Limit, QuotaLimits, Usage, with_ancestors};

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

/// What a client wrote for the limits of a quota, and that says something else.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Misread {
    /// the path that the quota is of
    pub path: String,
    /// the beginning of it
    pub text: String,
}

/// Characters of a [`Misread`]: more than any limits have.
const TEXT_MAX: usize = 200;

impl Misread {
    pub(super) fn new(path: &str, data: Option<&[u8]>) -> Misread {
        let text = String::from_utf8_lossy(data.unwrap_or_default()).chars().take(TEXT_MAX).collect();
        Misread { path: path.to_owned(), text }
    }
}

impl std::iter::Sum for Difference {
    fn sum<I: Iterator<Item = Difference>>(all: I) -> Difference {
        all.fold(Difference::default(), |sum, more| Difference {
            count: sum.count + more.count,
            bytes: sum.bytes + more.bytes,
        })
    }
}

/// The sums of what is pending at and below the quotas that were asked for since something is pending, by their paths.
pub(super) struct PendingUsage {
    sums: HashMap<Arc<str>, Difference, FixedState>,
}

impl PendingUsage {
    pub fn new(hash_seed: u64) -> PendingUsage {
        PendingUsage { sums: HashMap::with_hasher(FixedState::with_seed(hash_seed)) }
    }

    /// Counts something at a path in; with the negative of it, out again.
    pub fn add(&mut self, path: &str, more: Difference) {
        if self.sums.is_empty() {
            return;
        }
        for above in with_ancestors(path) {
            if let Some(sum) = self.sums.get_mut(above) {
                sum.count += more.count;
                sum.bytes += more.bytes;
            }
        }
    }

    /// Nothing is pending.
    pub fn clear(&mut self) {
        self.sums.clear();
    }

    /// What is pending for a quota. It is added up when somebody asks for the first time.
    pub fn of(&mut self, quota: &str, added_up: impl FnOnce() -> Difference) -> Difference {
        if has(Mutant::QuotaWithoutPending) {
            return Difference::default();
        }
        if let Some(sum) = self.sums.get(quota) {
            return *sum;
        }
        *self.sums.entry(quota.into()).or_insert(added_up())
    }
}

/// Whether a quota has room, of which so much is used. As in ZooKeeper only what changes is looked at, so that a quota
/// that is exceeded in bytes lets empty znodes be made; but less data than before is refused if it is too much still. What
/// goes beyond a limit is noted, first that of the count.
pub(super) fn check_limits(
    (quota, limits): (&str, QuotaLimits),
    usage: Usage,
    difference: Difference,
    exceeded: &mut Vec<Exceeded>,
) -> Result<(), ErrorCode> {
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
