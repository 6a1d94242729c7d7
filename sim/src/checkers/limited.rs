//! What the leader ends by itself: a container that has no child and had one, or waited too long for the first, and a
//! znode with a time to live that has no child and whose data is older than that, by the clock of the leader that says
//! so in the transaction. Nothing else goes without a request; they go no faster than the keys say; and none that is due
//! stays, once the ensemble is repaired.

use std::collections::BTreeMap;

use zabra::ids::{Epoch, Zxid};
use zabra::replica::LimitedConfig;
use zabra::txn::{Txn, op, txn::Body};

use super::{Verdict, unless};
use crate::model::{Limit, Model};

pub const NAME: &str = "limited znodes";

/// A leader's clock may go so much faster than the right one, or slower: 10 %.
const CLOCK_PERCENT: u64 = 110;

/// What a deletion costs of what gathers: a minute has so many ms.
const COST: u64 = 60_000;

/// Why a znode went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gone {
    Used,
    Unused,
    Old,
}

#[derive(Default)]
pub struct Limited {
    keys: Option<LimitedConfig>,
    /// Of each leader: what it may still spend on deletions, and the time of the last one.
    allowed: BTreeMap<Epoch, (u64, u64)>,
}

impl Limited {
    /// Under the keys that all servers have.
    pub fn new(keys: LimitedConfig) -> Limited {
        Limited { keys: Some(keys), ..Limited::default() }
    }

    fn unused_ms_max(&self) -> u64 {
        self.keys.map_or(0, |keys| keys.unused_ms_max)
    }

    /// A transaction that nobody asked for changes znodes: why the only one that it deletes goes, and its path.
    pub fn decided<'t>(&self, zxid: Zxid, txn: &'t Txn, model: &Model) -> Result<(&'t str, Gone), String> {
        let path = deleted(txn).ok_or_else(|| format!("nobody asked for {txn:?} at {zxid}"))?;
        let node = model.node(path, model.end());
        let gone = match node.map(|node| (node.limit, node.is_unused())) {
            Some((Some(Limit::Ttl { .. }), _)) => Gone::Old,
            Some((_, true)) => Gone::Unused,
            _ => Gone::Used,
        };
        let is_due = node.is_some_and(|node| node.is_due(txn.time_ms, self.unused_ms_max()));
        unless(is_due, || format!("{path} goes at {zxid}, when it is {}, as {node:?}", txn.time_ms))?;
        Ok((path, gone))
    }

    /// A leader proposes a transaction at this time, ms.
    pub fn proposed(&mut self, epoch: Epoch, txn: &Txn, now: u64) -> Verdict {
        let (Some(keys), Some(_)) = (self.keys, deleted(txn)) else { return Ok(()) };
        let rate = u64::from(keys.deletions_per_minute_max);
        // A second of pause is made up for; and the clock shows whole ms.
        let most = (1000 * rate).max(COST) * CLOCK_PERCENT / 100 + 2 * rate;
        let (left, last) = self.allowed.get(&epoch).copied().unwrap_or((most, now));
        let left = (left + (now - last) * rate * CLOCK_PERCENT / 100).min(most);
        unless(left >= COST, || format!("the leader of {epoch} deletes more than {rate} znodes a minute"))?;
        self.allowed.insert(epoch, (left - COST, now));
        Ok(())
    }

    /// What is to be gone when the leader's clock shows `wall_ms`.
    pub fn due<'m>(&self, model: &'m Model, wall_ms: i64) -> impl Iterator<Item = &'m str> {
        let unused_ms_max = self.unused_ms_max();
        let due = model.all().filter(move |(_, node)| node.is_due(wall_ms, unused_ms_max));
        due.map(|(path, _)| path)
    }
}

/// The path of what a leader deletes by itself, if it does that.
fn deleted(txn: &Txn) -> Option<&str> {
    match (&txn.body, txn.session_id, txn.request_id) {
        (Some(Body::Ops(_)), 0, 0) => match txn.ops() {
            [zabra::txn::Op { op: Some(op::Op::Delete(delete)) }] => Some(&delete.path),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use zabra::ids::SessionId;
    use zabra::jute::CreateMode;
    use zabra::txn::{Delete, Ops};

    use super::*;
    use crate::model::Author;
    use crate::op::Op;

    const KEYS: LimitedConfig =
        LimitedConfig { check_interval_ms: 100, deletions_per_minute_max: 60, unused_ms_max: 0 };

    /// Made at 100 ms: `/c` with a child, the empty `/unused`, `/t` that lives for 10 ms, and `/a` for ever.
    fn model() -> Model {
        let session = SessionId(1);
        let mut model = Model::with_a(session);
        let (data, mode) = (String::new(), CreateMode::PersistentWithTtl);
        let ops = [
            Op::make("/c", "", CreateMode::Container),
            Op::create("/c/x", ""),
            Op::make("/unused", "", CreateMode::Container),
            Op::Create { path: "/t".into(), data, mode, ttl_ms: 10 },
        ];
        for (zxid, op) in (3..).map(Zxid).zip(ops) {
            let (_, effects) = model.judge(&op, model.end(), Author { session, zxid, time_ms: 100 });
            model.apply(zxid, effects);
        }
        model
    }

    fn deletion(path: &str, time_ms: i64) -> Txn {
        let op = op::Op::Delete(Delete { path: path.into() });
        let ops = vec![zabra::txn::Op { op: Some(op) }];
        Txn { time_ms, body: Some(Body::Ops(Ops { ops })), ..Txn::default() }
    }

    #[test]
    fn nothing_goes_before_its_time() {
        let mut model = model();
        let limited = Limited::new(KEYS);
        let gone = |model: &Model, path, time_ms| {
            limited.decided(Zxid(9), &deletion(path, time_ms), model).map(|(_, gone)| gone)
        };
        assert_eq!(gone(&model, "/t", 111), Ok(Gone::Old));
        gone(&model, "/t", 110).expect_err("it is not older than that");
        for path in ["/c", "/c/x", "/a", "/unused", "/nothing"] {
            gone(&model, path, 999).expect_err(path);
        }
        assert_eq!(limited.due(&model, 111).collect::<Vec<_>>(), ["/t"]);
        let effects = model.removal("/c/x", Zxid(8));
        model.apply(Zxid(8), effects);
        assert_eq!(gone(&model, "/c", 100), Ok(Gone::Used));
        let limited = Limited::new(LimitedConfig { unused_ms_max: 50, ..KEYS });
        let gone = |time_ms| {
            let txn = deletion("/unused", time_ms);
            limited.decided(Zxid(9), &txn, &model).map(|(path, gone)| (path.to_string(), gone))
        };
        assert_eq!(gone(151), Ok(("/unused".to_string(), Gone::Unused)));
        gone(150).expect_err("it may still wait");
        assert_eq!(limited.due(&model, 151).collect::<Vec<_>>(), ["/c", "/t", "/unused"]);
        let asked = Txn { session_id: 1, ..deletion("/t", 999) };
        limited.decided(Zxid(9), &asked, &model).expect_err("it is of a session");
    }

    #[test]
    fn a_leader_that_deletes_too_fast_is_found() {
        let mut limited = Limited::new(KEYS);
        let mut propose = |epoch, now| limited.proposed(Epoch(epoch), &deletion("/t", 0), now);
        assert_eq!(propose(1, 5000), Ok(()));
        propose(1, 5500).expect_err("one a second");
        assert_eq!(propose(1, 6000), Ok(()));
        assert_eq!(propose(2, 6000), Ok(()), "another leader");
    }
}
