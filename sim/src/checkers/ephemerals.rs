//! An ephemeral znode is there if and only if its session is, in the same state; and a session that was closed never
//! comes back.

use std::collections::BTreeSet;

use zabra::ids::{ServerId, SessionId, Zxid};

use super::{Verdict, unless};

pub const NAME: &str = "ephemerals";

#[derive(Default)]
pub struct Ephemerals {
    closed: BTreeSet<SessionId>,
}

impl Ephemerals {
    /// A transaction opens a session.
    pub fn opened(&self, session: SessionId, zxid: Zxid) -> Verdict {
        unless(!self.closed.contains(&session), || {
            format!("session {session} was closed and opens at {zxid}")
        })
    }

    /// A transaction closes a session and removes these znodes with it, where these were its.
    pub fn closed(&mut self, session: SessionId, removed: &[String], owned: BTreeSet<&str>) -> Verdict {
        self.closed.insert(session);
        let removed: BTreeSet<&str> = removed.iter().map(String::as_str).collect();
        unless(removed == owned, || format!("{removed:?} went with session {session}, which owned {owned:?}"))
    }
}

/// The owners of all ephemerals of a state, and its sessions.
pub fn is_in(
    server: ServerId,
    zxid: Zxid,
    owners: impl IntoIterator<Item = SessionId>,
    is_open: impl Fn(SessionId) -> bool,
) -> Verdict {
    owners.into_iter().try_for_each(|owner| {
        unless(is_open(owner), || {
            format!("server {server} has ephemerals of session {owner} at {zxid}, which is gone")
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ephemeral_without_a_session_is_found() {
        let is_open = |session| session == SessionId(1);
        assert_eq!(is_in(ServerId(1), Zxid(1), [SessionId(1)], is_open), Ok(()));
        is_in(ServerId(1), Zxid(1), [SessionId(1), SessionId(2)], is_open).expect_err("2 is gone");
    }

    #[test]
    fn a_close_takes_all_that_the_session_owned_and_is_final() {
        let mut ephemerals = Ephemerals::default();
        let (session, removed) = (SessionId(1), ["/a".to_string()]);
        assert_eq!(ephemerals.opened(session, Zxid(1)), Ok(()));
        assert_eq!(ephemerals.closed(session, &removed, BTreeSet::from(["/a"])), Ok(()));
        ephemerals.closed(session, &removed, BTreeSet::from(["/a", "/b"])).expect_err("/b stays");
        ephemerals.opened(session, Zxid(2)).expect_err("it was closed");
    }
}
