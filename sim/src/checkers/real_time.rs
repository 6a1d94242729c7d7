//! What a client is told of happened before everything that is asked for later: a write that was answered, be it with a
//! refusal, has a lower zxid than every write that is invoked afterwards, and a `sync` shows everything that was answered
//! before it.

use zabra::ids::Zxid;

use super::{Verdict, unless};
use crate::history::Entry;

pub const NAME: &str = "real time";

/// A client is answered.
pub fn replied(entry: &Entry, zxid: Zxid) -> Verdict {
    let floor = entry.floor;
    let is_right = if entry.op.is_write() { zxid > floor } else { zxid >= floor };
    unless(is_right, || {
        format!("{} is answered at {zxid}, but {floor} was known before it was asked for", entry.op)
    })
}

/// A client reads behind a `sync` that it asked for when this was known.
pub fn read_behind_sync(floor: Zxid, zxid: Zxid) -> Verdict {
    unless(zxid >= floor, || {
        format!("a read behind a sync is of {zxid}, but {floor} was known before the sync")
    })
}

#[cfg(test)]
mod tests {
    use zabra::ids::SessionId;

    use super::*;
    use crate::history::{Asker, History};
    use crate::op::Op;

    #[test]
    fn what_was_answered_comes_first() {
        let mut history = History::default();
        history.floor = Zxid(5);
        let asker = Asker { client: 0, conn: 1, session: SessionId(1), xid: 1, now_ms: 0 };
        for op in [Op::set("/a", "x"), Op::Sync] {
            history.invoke(asker, op);
        }
        let [write, sync] = &history.entries[..] else { panic!("two entries") };
        assert_eq!(replied(write, Zxid(6)), Ok(()));
        replied(write, Zxid(5)).expect_err("it is older");
        assert_eq!(replied(sync, Zxid(5)), Ok(()));
        replied(sync, Zxid(4)).expect_err("it is older");
        assert_eq!(read_behind_sync(Zxid(5), Zxid(5)), Ok(()));
        read_behind_sync(Zxid(5), Zxid(4)).expect_err("it is older");
    }
}
