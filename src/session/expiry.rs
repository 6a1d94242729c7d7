//! When sessions expire. Only the leader knows.

use std::collections::{BTreeMap, BTreeSet};

use super::Sessions;
use crate::ids::{SessionId, Tick};

/// The most sessions that one call of [`Expiry::expired`] gives: their closing should not hold up everything else.
pub const EXPIRED_PER_CALL_MAX: usize = 1000;

#[derive(Debug)]
struct Deadline {
    timeout_ms: u32,
    /// the session expires when this bucket is over
    bucket: u64,
    /// where the session stands in the queue; never later than `bucket`
    queued: u64,
}

/// The deadlines of all sessions, rounded up to buckets of a fixed width. A touch notes the new deadline and leaves
/// the session where it stands in the queue; it moves on when its old bucket is over.
#[derive(Debug)]
pub struct Expiry {
    bucket_ms: u64,
    deadlines: BTreeMap<SessionId, Deadline>,
    queue: BTreeSet<(u64, SessionId)>,
}

impl Expiry {
    /// Nobody is tracked yet. A session expires up to `bucket_ms` after its timeout, and never before it.
    ///
    /// # Panics
    /// If `bucket_ms` is 0.
    pub fn new(bucket_ms: u32) -> Expiry {
        assert!(bucket_ms > 0, "a bucket has a width");
        Expiry { bucket_ms: u64::from(bucket_ms), deadlines: BTreeMap::new(), queue: BTreeSet::new() }
    }

    /// From now on the session expires when it is not touched for `timeout_ms`.
    pub fn track(&mut self, session: SessionId, timeout_ms: u32, now: Tick) {
        self.remove(session);
        let bucket = self.bucket_of(now, timeout_ms);
        self.deadlines.insert(session, Deadline { timeout_ms, bucket, queued: bucket });
        self.queue.insert((bucket, session));
    }

    /// The client was heard of. False if the session is not tracked: it has expired, was closed or never was.
    pub fn touch(&mut self, session: SessionId, now: Tick) -> bool {
        let bucket_ms = self.bucket_ms;
        let Some(deadline) = self.deadlines.get_mut(&session) else {
            return false;
        };
        deadline.bucket = deadline.bucket.max(bucket(now, deadline.timeout_ms, bucket_ms));
        true
    }

    /// The session was closed.
    pub fn remove(&mut self, session: SessionId) {
        if let Some(deadline) = self.deadlines.remove(&session) {
            self.queue.remove(&(deadline.queued, session));
        }
    }

    /// After a change of leader: exactly the sessions of the table are tracked, each with its full timeout.
    pub fn reset_all(&mut self, sessions: &Sessions, now: Tick) {
        self.deadlines.clear();
        self.queue.clear();
        for (id, session) in sessions.iter() {
            self.track(id, session.timeout_ms, now);
        }
    }

    /// Gives every session that is tracked a full timeout.
    pub fn renew_all(&mut self, now: Tick) {
        for session in self.deadlines.keys().copied().collect::<Vec<_>>() {
            self.touch(session, now);
        }
    }

    /// Sessions whose time is up, longest overdue first, at most [`EXPIRED_PER_CALL_MAX`]. They are not tracked any
    /// more: it is up to the caller to close them.
    pub fn expired(&mut self, now: Tick) -> Vec<SessionId> {
        let mut expired = Vec::new();
        while expired.len() < EXPIRED_PER_CALL_MAX {
            let Some(&(queued, session)) = self.queue.first() else { break };
            if queued.saturating_mul(self.bucket_ms) > now.0 {
                break;
            }
            self.queue.pop_first();
            let deadline = self.deadlines.get_mut(&session).expect("who is queued has a deadline");
            if deadline.bucket > queued {
                deadline.queued = deadline.bucket;
                self.queue.insert((deadline.bucket, session));
            } else {
                self.deadlines.remove(&session);
                expired.push(session);
            }
        }
        expired
    }

    /// When [`Expiry::expired`] has something to look at again.
    pub fn next_check(&self) -> Option<Tick> {
        self.queue.first().map(|&(queued, _)| Tick(queued.saturating_mul(self.bucket_ms)))
    }

    /// Every tracked session with its deadline, in the order of their ids.
    pub fn deadlines(&self) -> impl Iterator<Item = (SessionId, Tick)> {
        let tick = |bucket: u64| Tick(bucket.saturating_mul(self.bucket_ms));
        self.deadlines.iter().map(move |(&session, deadline)| (session, tick(deadline.bucket)))
    }

    /// How many sessions are tracked.
    pub fn len(&self) -> usize {
        self.deadlines.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.deadlines.is_empty()
    }

    fn bucket_of(&self, now: Tick, timeout_ms: u32) -> u64 {
        bucket(now, timeout_ms, self.bucket_ms)
    }
}

/// The first bucket border that is not before the deadline.
fn bucket(now: Tick, timeout_ms: u32, bucket_ms: u64) -> u64 {
    now.after_ms(u64::from(timeout_ms)).0.div_ceil(bucket_ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::PASSWORD_BYTES;

    const A: SessionId = SessionId(1);
    const B: SessionId = SessionId(2);

    #[test]
    fn a_session_expires_within_one_bucket_after_its_timeout_and_never_before() {
        for start in 0..30 {
            for timeout_ms in 1..30 {
                let mut expiry = Expiry::new(10);
                expiry.track(A, timeout_ms, Tick(start));
                let when = (0..).find(|&ms| !expiry.expired(Tick(ms)).is_empty()).expect("it expires");
                let deadline = start + u64::from(timeout_ms);
                assert!(when >= deadline && when < deadline + 10, "{start} {timeout_ms} {when}");
                assert!(expiry.is_empty());
            }
        }
    }

    #[test]
    fn a_touched_session_gets_its_full_timeout_again() {
        let mut expiry = Expiry::new(10);
        expiry.track(A, 100, Tick(0));
        expiry.track(B, 100, Tick(0));
        assert!(expiry.touch(A, Tick(95)));
        assert_eq!(expiry.expired(Tick(100)), [B]);
        assert_eq!(expiry.next_check(), Some(Tick(200)));
        assert_eq!(expiry.deadlines().collect::<Vec<_>>(), [(A, Tick(200))]);
        assert_eq!(expiry.expired(Tick(199)), []);
        assert_eq!(expiry.expired(Tick(200)), [A]);
    }

    #[test]
    fn a_touch_does_not_bring_back_who_has_expired_or_was_removed() {
        let mut expiry = Expiry::new(10);
        expiry.track(A, 10, Tick(0));
        expiry.track(B, 10, Tick(0));
        expiry.remove(B);
        assert_eq!(expiry.expired(Tick(1000)), [A]);
        assert!(!expiry.touch(A, Tick(1000)));
        assert!(!expiry.touch(B, Tick(1000)));
        assert_eq!((expiry.len(), expiry.next_check()), (0, None));
    }

    #[test]
    fn an_old_touch_that_comes_late_takes_nothing_away() {
        let mut expiry = Expiry::new(10);
        expiry.track(A, 100, Tick(50));
        expiry.touch(A, Tick(20));
        assert_eq!(expiry.expired(Tick(149)), []);
        assert_eq!(expiry.expired(Tick(150)), [A]);
    }

    #[test]
    fn a_session_that_is_tracked_again_with_a_shorter_timeout_expires_earlier() {
        let mut expiry = Expiry::new(10);
        expiry.track(A, 1000, Tick(0));
        expiry.track(A, 20, Tick(0));
        assert_eq!(expiry.expired(Tick(20)), [A]);
    }

    #[test]
    fn one_call_gives_a_bounded_number_and_the_next_goes_on() {
        let mut expiry = Expiry::new(10);
        let all: Vec<_> = (1..=EXPIRED_PER_CALL_MAX as u64 + 5).map(SessionId).collect();
        for &session in &all {
            expiry.track(session, 10, Tick(0));
        }
        let first = expiry.expired(Tick(10));
        assert_eq!(first, all[..EXPIRED_PER_CALL_MAX]);
        assert_eq!(expiry.expired(Tick(10)), all[EXPIRED_PER_CALL_MAX..]);
    }

    #[test]
    fn after_a_change_of_leader_the_table_is_tracked_with_full_timeouts() {
        let mut sessions = Sessions::default();
        sessions.create(A, 100, [0; PASSWORD_BYTES], 1);
        let mut expiry = Expiry::new(10);
        expiry.track(A, 100, Tick(0));
        expiry.track(B, 100, Tick(0));
        expiry.reset_all(&sessions, Tick(90));
        assert_eq!(expiry.len(), 1);
        assert_eq!(expiry.expired(Tick(189)), []);
        assert_eq!(expiry.expired(Tick(190)), [A]);
    }
}
