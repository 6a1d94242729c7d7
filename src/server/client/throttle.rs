//! How many clients may connect in a while: a bucket of tokens that fills up again, as ZooKeeper's `connection_throttle_*`
//! describe it. Who finds too few is disconnected, and will come again.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::config::ThrottleSettings;

/// The bucket of a server.
#[derive(Debug)]
pub struct Throttle {
    settings: ThrottleSettings,
    bucket: Mutex<Bucket>,
}

#[derive(Debug)]
struct Bucket {
    tokens: u64,
    filled: Instant,
}

impl Throttle {
    /// A full bucket.
    pub fn new(settings: ThrottleSettings) -> Throttle {
        let bucket = Bucket { tokens: tokens_max(&settings), filled: Instant::now() };
        Throttle { settings, bucket: Mutex::new(bucket) }
    }

    /// Takes what a client costs. False if there is not as much.
    pub fn lets_in(&self, renews_session: bool) -> bool {
        self.lets_in_at(renews_session, Instant::now())
    }

    fn lets_in_at(&self, renews_session: bool, now: Instant) -> bool {
        let settings = &self.settings;
        if settings.tokens_max == 0 {
            return true;
        }
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let passed_ms = now.saturating_duration_since(bucket.filled).as_millis() as u64;
        if passed_ms > u64::from(settings.fill_ms) {
            let count = u64::from(settings.fill_count) * weight(settings, settings.new_weight);
            let more = passed_ms.saturating_mul(count) / u64::from(settings.fill_ms);
            bucket.tokens = bucket.tokens.saturating_add(more).min(tokens_max(settings));
            bucket.filled = now;
        }
        let weighed = if renews_session { settings.renew_weight } else { settings.new_weight };
        match bucket.tokens.checked_sub(weight(settings, weighed)) {
            Some(left) => {
                bucket.tokens = left;
                true
            }
            None => false,
        }
    }
}

/// In the file, tokens are those of new sessions.
fn tokens_max(settings: &ThrottleSettings) -> u64 {
    u64::from(settings.tokens_max) * weight(settings, settings.new_weight)
}

fn weight(settings: &ThrottleSettings, weighed: u32) -> u64 {
    if settings.weighs { weighed.into() } else { 1 }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn throttle(settings: ThrottleSettings) -> (Throttle, Instant) {
        let throttle = Throttle::new(settings);
        let now = throttle.bucket.lock().expect("nobody else has it").filled;
        (throttle, now)
    }

    fn come(throttle: &Throttle, now: Instant, renew: bool) -> usize {
        (0..1000).take_while(|_| throttle.lets_in_at(renew, now)).count()
    }

    #[test]
    fn without_tokens_everybody_may_come() {
        let (throttle, now) = throttle(ThrottleSettings::default());
        assert_eq!(come(&throttle, now, false), 1000);
    }

    #[test]
    fn the_bucket_fills_up_again_and_not_beyond() {
        let settings =
            ThrottleSettings { tokens_max: 10, fill_ms: 100, fill_count: 2, ..ThrottleSettings::default() };
        let (throttle, start) = throttle(settings);
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(come(&throttle, at(0), false), 10);
        assert_eq!(come(&throttle, at(100), false), 0);
        assert_eq!(come(&throttle, at(200), true), 4);
        assert_eq!(come(&throttle, at(10_000), false), 10);
        assert_eq!(come(&throttle, at(0), false), 0, "a clock that stands still gives nothing");
    }

    #[test]
    fn a_session_that_goes_on_weighs_less_than_a_new_one() {
        let settings = ThrottleSettings { tokens_max: 4, weighs: true, ..ThrottleSettings::default() };
        let (throttle, now) = throttle(settings);
        assert_eq!(come(&throttle, now, true), 6);
        assert_eq!(come(&throttle, now + Duration::from_secs(1), false), 4);
    }
}
