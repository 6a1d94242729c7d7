//! A session is on one server at a time: when it goes on elsewhere, nothing of the connection that was left is done any
//! more.

use std::collections::BTreeMap;

use zabra::ids::{SessionId, Zxid};

use super::{Verdict, unless};
use crate::history::ConnNumber;

pub const NAME: &str = "one connection of a session";

#[derive(Default)]
pub struct Generations {
    /// the newest connection of each session of which something was done
    newest: BTreeMap<SessionId, (ConnNumber, Zxid)>,
    /// as the transactions say
    told: BTreeMap<SessionId, u64>,
}

impl Generations {
    /// A request that a session sent on a connection is done.
    pub fn done(&mut self, session: SessionId, conn: ConnNumber, zxid: Zxid) -> Verdict {
        let (newest, at) = self.newest.get(&session).copied().unwrap_or_default();
        self.newest.insert(session, (conn.max(newest), zxid));
        unless(conn >= newest, || {
            format!(
                "{zxid} is of connection {conn} of session {session}, which went on with {newest} by {at}"
            )
        })
    }

    /// A transaction says that it is of this generation.
    pub fn says(&mut self, session: SessionId, generation: u64, zxid: Zxid) -> Verdict {
        let newest = self.told.insert(session, generation).unwrap_or_default();
        unless(generation >= newest, || {
            format!("{zxid} is of generation {generation} of session {session}, which was at {newest}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_of_a_connection_that_was_left_is_found() {
        let mut generations = Generations::default();
        let session = SessionId(1);
        assert_eq!(generations.done(session, 1, Zxid(1)), Ok(()));
        assert_eq!(generations.done(session, 3, Zxid(2)), Ok(()));
        generations.done(session, 1, Zxid(3)).expect_err("the session went on with 3");
        assert_eq!(generations.says(session, 5, Zxid(1)), Ok(()));
        generations.says(session, 4, Zxid(2)).expect_err("an older one");
    }
}
