//! A session expires only by the decision of the established leader, and not before its timeout has passed since the
//! leader heard of its client, since an answer to it was asked for, and since the leader was established. A follower soon
//! tells its leader of the sessions that it hears of. A leader that others have replaced without its knowledge hears of
//! nobody, and nothing of what it proposes is ever decided.

use std::collections::BTreeMap;

use zabra::ids::{Epoch, ServerId, SessionId};

use super::{Verdict, unless};

pub const NAME: &str = "session expiry";

/// A clock may go too fast by so much, percent.
const DRIFT_PERCENT: u64 = 10;

/// How often a follower may hear of a session before it tells its leader: both happen with every heartbeat.
const HEARD_MAX: u32 = 5;

#[derive(Default)]
pub struct Expiry {
    /// how often each follower heard of each session since it told its leader of it, and when it did last
    owed: BTreeMap<(ServerId, SessionId), (u32, u64)>,
    timeouts: BTreeMap<SessionId, u64>,
    /// when each session was last touched: the leader heard of it, or its client asked for something that was answered
    touched: BTreeMap<SessionId, u64>,
    /// in which epoch each leader leads, and since when
    leads: BTreeMap<ServerId, (Epoch, u64)>,
    /// the newest epoch that anybody was established in
    newest: Epoch,
}

impl Expiry {
    /// A session is open, with this timeout in ms.
    pub fn opened(&mut self, session: SessionId, timeout_ms: u64) {
        self.timeouts.insert(session, timeout_ms);
    }

    /// Its client was heard of by the leader then, or asked for something then that was answered.
    pub fn touched(&mut self, session: SessionId, at: u64) {
        let touched = self.touched.entry(session).or_default();
        *touched = at.max(*touched);
    }

    /// A follower hears of a session. What came while it stood still, it hears all at once.
    pub fn heard(&mut self, server: ServerId, session: SessionId, now: u64) -> Verdict {
        let (times, last) = self.owed.entry((server, session)).or_default();
        *times += u32::from(now > std::mem::replace(last, now));
        unless(*times <= HEARD_MAX, || {
            format!("server {server} heard {times} times of session {session}, and told nobody")
        })
    }

    /// A follower tells its leader of sessions that it heard of.
    pub fn passes_on(&mut self, server: ServerId, sessions: &[SessionId]) {
        for session in sessions {
            self.owed.remove(&(server, *session));
        }
    }

    /// The role of a server changes: it is established as leader, or leads no more.
    pub fn leads(&mut self, server: ServerId, leads: Option<(Epoch, u64)>) {
        self.owed.retain(|(owing, _), _| *owing != server);
        match leads {
            Some(leads) => {
                self.newest = self.newest.max(leads.0);
                self.leads.insert(server, leads)
            }
            None => self.leads.remove(&server),
        };
    }

    /// Whether a server is established as leader, and none ever was in a newer epoch. What one that was replaced hears of, its
    /// successor cannot know.
    pub fn is_leader(&self, server: ServerId) -> bool {
        self.leads.get(&server).is_some_and(|(epoch, _)| *epoch == self.newest)
    }

    /// A server proposes to close a session because it has expired.
    pub fn expires(&self, server: ServerId, session: SessionId, now: u64) -> Verdict {
        let Some((_, since)) = self.leads.get(&server).copied() else {
            return Err(format!("server {server} expires session {session} and is no leader"));
        };
        if !self.is_leader(server) {
            return Ok(());
        }
        let timeout_ms = self.timeouts.get(&session).copied().unwrap_or_default();
        let touched = self.touched.get(&session).copied().unwrap_or_default().max(since);
        // Both ends are whole ms of a clock of its own.
        let passed_ms = ((now - touched) * (100 + DRIFT_PERCENT)).div_ceil(100);
        unless(passed_ms >= timeout_ms, || {
            format!(
                "server {server}, leader since {since}, expires session {session} at {now}: it was touched at \
                 {touched}, its timeout is {timeout_ms} ms"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: ServerId = ServerId(1);
    const SESSION: SessionId = SessionId(1);

    #[test]
    fn an_early_expiry_is_found() {
        let mut expiry = Expiry::default();
        expiry.opened(SESSION, 1_000);
        expiry.expires(SERVER, SESSION, 5_000).expect_err("it is no leader");
        expiry.leads(SERVER, Some((Epoch(1), 4_500)));
        expiry.expires(SERVER, SESSION, 5_000).expect_err("it has just begun to lead");
        assert_eq!(expiry.expires(SERVER, SESSION, 5_500), Ok(()));
        expiry.touched(SESSION, 5_000);
        expiry.expires(SERVER, SESSION, 5_800).expect_err("it was touched");
        assert_eq!(expiry.expires(SERVER, SESSION, 5_950), Ok(()));
        expiry.touched(SESSION, 6_000);
        expiry.expires(SERVER, SESSION, 6_100).expect_err("it was touched again");
        assert!(expiry.is_leader(SERVER));
        expiry.leads(ServerId(2), Some((Epoch(2), 5_990)));
        assert!(!expiry.is_leader(SERVER) && expiry.is_leader(ServerId(2)));
        assert_eq!(expiry.expires(SERVER, SESSION, 6_100), Ok(()), "the newer leader was told");
        expiry.expires(ServerId(2), SESSION, 6_100).expect_err("it was touched again");
        expiry.leads(ServerId(2), None);
        assert!(!expiry.is_leader(SERVER), "another one was, in a newer epoch");
        expiry.leads(SERVER, None);
        expiry.expires(SERVER, SESSION, 9_000).expect_err("it leads no more");
    }

    #[test]
    fn a_follower_that_keeps_what_it_hears_to_itself_is_found() {
        let mut expiry = Expiry::default();
        let mut now = 0;
        let mut hear = |expiry: &mut Expiry, times| {
            (0..times).try_for_each(|_| {
                now += 40;
                expiry.heard(SERVER, SESSION, now)
            })
        };
        for _ in 0..3 {
            assert_eq!(hear(&mut expiry, HEARD_MAX), Ok(()));
            expiry.passes_on(SERVER, &[SESSION]);
        }
        assert_eq!(hear(&mut expiry, HEARD_MAX), Ok(()));
        hear(&mut expiry, 1).expect_err("once too often");
    }
}
