//! What one client sees is in the order in which it asked: one answer to each request, zxids that never fall, on
//! whichever server its session is; and of what it sent on one connection, nothing is left out before something that is
//! done.

use zabra::ids::{SessionId, Xid, Zxid};
use zabra::jute::ErrorCode;

use super::{Verdict, unless};
use crate::history::{Entry, History, Outcome};

pub const NAME: &str = "client order";

/// An answer with the number `xid` comes to a client that waits for `expected` next.
pub fn answered(expected: Option<Xid>, xid: Xid) -> Verdict {
    unless(expected == Some(xid), || format!("an answer to {xid} came, where one to {expected:?} was next"))
}

/// A client that has seen `before` is shown `zxid`.
pub fn seen(before: Zxid, zxid: Zxid) -> Verdict {
    unless(zxid >= before, || format!("a client that has seen {before} is shown {zxid}"))
}

/// A client that has a session is given one.
pub fn same_session(is_same: bool) -> Verdict {
    unless(is_same, || "a client is given another session than it had".to_string())
}

/// A client is told that its session has expired.
pub fn told_expired(session: SessionId, is_open: bool) -> Verdict {
    unless(!is_open, || format!("a client is told that its session {session} has expired, and it has not"))
}

/// What was sent on each connection, at the end of everything.
pub fn finish(history: &History) -> Verdict {
    let mut entries: Vec<&Entry> = history.entries.iter().collect();
    entries.sort_by_key(|entry| (entry.conn, entry.invoked));
    entries.chunk_by(|one, other| one.conn == other.conn).try_for_each(one_connection)
}

fn one_connection(entries: &[&Entry]) -> Verdict {
    let mut reached = Zxid::ZERO;
    let mut left_out: Option<&Entry> = None;
    for entry in entries {
        let is_decided = entry.decided.is_some();
        let at = match (&entry.decided, &entry.outcome) {
            // What came before it on a connection that was left is not even refused, if the session was still open.
            (Some((_, Err(ErrorCode::SessionExpired))), _) => continue,
            (Some((zxid, _)), _) | (None, Outcome::Told { zxid, .. }) => *zxid,
            _ => {
                left_out = left_out.or(entry.op.is_write().then_some(*entry));
                continue;
            }
        };
        unless(at > reached || at == reached && !is_decided, || {
            format!("client {}: {} is at {at}, behind something at {reached}", entry.client, entry.op)
        })?;
        if let (true, Some(missing)) = (is_decided, left_out) {
            return Err(format!(
                "client {}: {} was left out before {} at {at}",
                entry.client, missing.op, entry.op
            ));
        }
        reached = at;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use zabra::jute::Response;

    use super::*;
    use crate::history::Asker;
    use crate::op::Op;

    const SESSION: SessionId = SessionId(1);

    fn history(ops: impl IntoIterator<Item = (Op, Option<u64>)>) -> History {
        let mut history = History::default();
        history.floor = Zxid(2);
        for (op, decided) in ops {
            let id = history.invoke(Asker { client: 0, conn: 1, session: SESSION, xid: 1, now_ms: 0 }, op);
            history.entries[id].outcome = Outcome::Lost;
            history.entries[id].decided = decided.map(|zxid| (Zxid(zxid), Ok(Response::Empty)));
        }
        history
    }

    #[test]
    fn answers_come_in_order_and_time_does_not_run_backwards() {
        assert_eq!(answered(Some(3), 3), Ok(()));
        answered(Some(3), 4).expect_err("another answer");
        answered(None, 4).expect_err("a second answer");
        assert_eq!(seen(Zxid(3), Zxid(3)), Ok(()));
        seen(Zxid(3), Zxid(2)).expect_err("older");
        same_session(false).expect_err("another session");
        told_expired(SESSION, true).expect_err("it is open");
    }

    #[test]
    fn what_was_done_of_a_lost_connection_is_a_beginning_of_what_was_sent() {
        let set = || Op::set("/a", "y");
        assert_eq!(finish(&history([(set(), Some(3)), (set(), Some(4)), (set(), None)])), Ok(()));
        finish(&history([(set(), Some(4)), (set(), Some(3))])).expect_err("another order");
        finish(&history([(set(), None), (set(), Some(4))])).expect_err("the first is missing");
        assert_eq!(finish(&history([(Op::Sync, None), (set(), Some(4))])), Ok(()));
    }
}
