//! What the leader says of quotas that are exceeded, or cannot be understood, no more than a line of either a second.

use crate::ids::Tick;
use crate::prep::{Exceeded, Misread};
use crate::tree::Limit;

/// The least between two lines of one kind.
const PAUSE_MS: u64 = 1000;

/// Tells what goes beyond quotas, or cannot be understood, and how much of it was not told.
#[derive(Default)]
pub struct QuotaLog {
    exceeded: Pause,
    misread: Pause,
}

/// Between two lines of one kind.
#[derive(Default)]
struct Pause {
    next: Tick,
    untold: u64,
}

impl Pause {
    /// If it is time for a line, how many there were none for since the last one.
    fn ended(&mut self, now: Tick) -> Option<u64> {
        if now < self.next {
            self.untold += 1;
            return None;
        }
        self.next = now.after_ms(PAUSE_MS);
        Some(std::mem::take(&mut self.untold))
    }
}

impl QuotaLog {
    /// Tells the first of these if it is time, and counts the others.
    pub fn tell(&mut self, exceeded: Vec<Exceeded>, now: Tick) {
        for Exceeded { path, limit, usage, in_bytes } in exceeded {
            let Some(untold) = self.exceeded.ended(now) else { continue };
            let unit = if in_bytes { "bytes" } else { "znodes" };
            let limit_is = if matches!(limit, Limit::Hard(_)) { "hard" } else { "soft" };
            let limit = limit.most();
            tracing::warn!(path, usage, limit, limit_is, unit, untold, "a quota is exceeded");
        }
    }

    /// Likewise of limits that cannot be understood.
    pub fn tell_misread(&mut self, misread: Vec<Misread>, now: Tick) {
        for Misread { path, text } in misread {
            let Some(untold) = self.misread.ended(now) else { continue };
            tracing::warn!(
                path,
                ?text,
                untold,
                "a quota cannot be understood: what it says otherwise is no limit"
            );
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
        assert_eq!((log.exceeded.untold, log.exceeded.next), (2, Tick(5).after_ms(PAUSE_MS)));
        log.tell(vec![one()], Tick(1004));
        assert_eq!(log.exceeded.untold, 3);
        log.tell(vec![one()], Tick(1005));
        assert_eq!((log.exceeded.untold, log.exceeded.next), (0, Tick(2005)));
        let misread = || Misread { path: "/a".into(), text: "x".into() };
        log.tell_misread(vec![misread(), misread()], Tick(1006));
        assert_eq!((log.misread.untold, log.misread.next), (1, Tick(2006)));
    }
}
