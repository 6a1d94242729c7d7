//! What the leader says of quotas that are exceeded, no more than a line a second.

use crate::ids::Tick;
use crate::prep::Exceeded;
use crate::tree::Limit;

/// Between two lines.
const PAUSE_MS: u64 = 1000;

/// Tells what goes beyond quotas, and how much of it was not told.
#[derive(Default)]
pub struct QuotaLog {
    next: Tick,
    untold: u64,
}

impl QuotaLog {
    /// Tells the first of these if it is time, and counts the others.
    pub fn tell(&mut self, exceeded: Vec<Exceeded>, now: Tick) {
        for Exceeded { path, limit, usage, in_bytes } in exceeded {
            if now < self.next {
                self.untold += 1;
                continue;
            }
            let unit = if in_bytes { "bytes" } else { "znodes" };
            let limit_is = if matches!(limit, Limit::Hard(_)) { "hard" } else { "soft" };
            let (limit, untold) = (limit.most(), std::mem::take(&mut self.untold));
            tracing::warn!(path, usage, limit, limit_is, unit, untold, "a quota is exceeded");
            self.next = now.after_ms(PAUSE_MS);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_is_told_once_a_second() {
        let one = || Exceeded { path: "/a".into(), limit: Limit::Soft(1), usage: 2, in_bytes: false };
        let mut log = QuotaLog::default();
        log.tell(vec![one(), one(), one()], Tick(5));
        assert_eq!((log.untold, log.next), (2, Tick(5).after_ms(PAUSE_MS)));
        log.tell(vec![one()], Tick(1004));
        assert_eq!(log.untold, 3);
        log.tell(vec![one()], Tick(1005));
        assert_eq!((log.untold, log.next), (0, Tick(2005)));
    }
}
