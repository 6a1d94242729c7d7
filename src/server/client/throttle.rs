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

/// What a client wants that comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Comer {
    /// a session of the ensemble
    New,
    /// a session that only this server knows
    Local,
    /// the session that it has
    Renewing,
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

    /// Takes what a client costs, and tells how many tokens are missing then. `None` if there is not as much.
    pub fn let_in(&self, comer: Comer) -> Option<u64> {
        self.let_in_at(comer, Instant::now())
    }

    fn let_in_at(&self, comer: Comer, now: Instant) -> Option<u64> {
        let settings = &self.settings;
        if settings.tokens_max == 0 {
            return Some(0);
        }
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let passed_ms = now.saturating_duration_since(bucket.filled).as_millis() as u64;
        if passed_ms > u64::from(settings.fill_ms) {
            let count = u64::from(settings.fill_count) * weight(settings, settings.new_weight);
            let more = passed_ms.saturating_mul(count) / u64::from(settings.fill_ms);
            bucket.tokens = bucket.tokens.saturating_add(more).min(tokens_max(settings));
            bucket.filled = now;
        }
        let weighed = match comer {
            Comer::New => settings.new_weight,
            Comer::Renewing => settings.renew_weight,
            Comer::Local => settings.local_weight,
        };
        bucket.tokens = bucket.tokens.checked_sub(weight(settings, weighed))?;
        Some(tokens_max(settings) - bucket.tokens)
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

    fn come(throttle: &Throttle, now: Instant, comer: Comer) -> usize {
        (0..1000).take_while(|_| throttle.let_in_at(comer, now).is_some()).count()
    }

    #[test]
    fn without_tokens_everybody_may_come() {
        let (throttle, now) = throttle(ThrottleSettings::default());
        assert_eq!(come(&throttle, now, Comer::New), 1000);
    }

    #[test]
    fn the_bucket_fills_up_again_and_not_beyond() {
        let settings =
            ThrottleSettings { tokens_max: 10, fill_ms: 100, fill_count: 2, ..ThrottleSettings::default() };
        let (throttle, start) = throttle(settings);
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(come(&throttle, at(0), Comer::New), 10);
        assert_eq!(come(&throttle, at(100), Comer::New), 0);
        assert_eq!(
            [throttle.let_in_at(Comer::New, at(200)), throttle.let_in_at(Comer::New, at(200))],
            [Some(7), Some(8)]
        );
        assert_eq!(come(&throttle, at(200), Comer::Renewing), 2);
        assert_eq!(come(&throttle, at(10_000), Comer::New), 10);
        assert_eq!(come(&throttle, at(0), Comer::New), 0, "a clock that stands still gives nothing");
    }

    #[test]
    fn a_session_that_goes_on_weighs_less_than_a_new_one_and_a_local_one_least() {
        let settings = ThrottleSettings { tokens_max: 4, weighs: true, ..ThrottleSettings::default() };
        let (throttle, now) = throttle(settings);
        assert_eq!(come(&throttle, now, Comer::Renewing), 6);
        assert_eq!(come(&throttle, now + Duration::from_secs(1), Comer::New), 4);
        assert_eq!(come(&throttle, now + Duration::from_secs(2), Comer::Local), 12);
    }
}
