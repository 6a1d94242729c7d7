//! The two clocks: one that only goes forward, for every timeout, and the one on the wall, which is only data.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::ids::Tick;

/// Tells both times.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock whose ticks count from now.
    pub fn start() -> Clock {
        Clock { start: Instant::now() }
    }

    /// Monotonic time. Never 0, so that 0 can mean "not yet".
    pub fn now(&self) -> Tick {
        let ms = self.start.elapsed().as_millis();
        Tick(u64::try_from(ms).unwrap_or(u64::MAX).saturating_add(1))
    }

    /// The wall clock, ms since 1970.
    pub fn wall_ms() -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }
}
