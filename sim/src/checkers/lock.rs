//! The lock of ZooKeeper's recipes: whoever made the lowest of the ephemeral sequential znodes holds it, and what it
//! writes under its protection names that znode in the same multi. So no such write is that of anybody else.

use zabra::ids::{SessionId, Zxid};

use super::{Verdict, unless};
use crate::model::Model;
use crate::op::Op;

pub const NAME: &str = "lock";

/// The parent of the znodes that wait for the lock.
pub const QUEUE: &str = "/lock";
/// What is only written by whoever holds the lock.
pub const GUARDED: &str = "/guarded";

/// A session wrote at `zxid`, after the state at `before`. Returns whether it was under the lock.
pub fn written(model: &Model, before: Zxid, zxid: Zxid, session: SessionId, op: &Op) -> Result<bool, String> {
    let Op::Multi(ops) = op else { return Ok(false) };
    if !ops.iter().any(|op| matches!(op, Op::Set { path, .. } if path == GUARDED)) {
        return Ok(false);
    }
    holds(model, before, session).map_err(|why| format!("at {zxid}: {why}"))?;
    Ok(true)
}

fn holds(model: &Model, at: Zxid, session: SessionId) -> Verdict {
    let lowest = model.children(QUEUE, at).first().map(|name| format!("{QUEUE}/{name}"));
    let owner = lowest.as_deref().and_then(|path| model.node(path, at)).map(|node| node.stat.ephemeral_owner);
    unless(owner == Some(session), || {
        format!("session {session} wrote under the lock that {owner:?} held with {lowest:?}")
    })
}

#[cfg(test)]
mod tests {
    use zabra::jute::CreateMode;

    use super::*;
    use crate::model::Author;

    #[test]
    fn only_the_lowest_writes() {
        let mut model = Model::default();
        let sessions = [SessionId(1), SessionId(2)];
        sessions.iter().for_each(|session| model.open_session(Zxid(1), *session));
        let mode = CreateMode::EphemeralSequential;
        let wait = Op::make(format!("{QUEUE}/n-"), "", mode);
        let ops = [(Op::create(QUEUE, ""), 1), (wait.clone(), 1), (wait, 2)];
        for (zxid, (op, session)) in (2..).zip(ops) {
            let author = Author { session: SessionId(session), zxid: Zxid(zxid), time_ms: 0 };
            let (result, effects) = model.judge(&op, model.end(), author);
            assert!(result.is_ok(), "{result:?}");
            model.apply(Zxid(zxid), effects);
        }
        let guarded = Op::Multi(vec![Op::set(GUARDED, "x")]);
        let written = |session: u64| written(&model, Zxid(4), Zxid(5), SessionId(session), &guarded);
        assert_eq!(written(1), Ok(true));
        written(2).expect_err("another one holds it");
    }
}
