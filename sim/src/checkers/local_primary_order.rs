//! LocalPrimaryOrder: whoever delivers what a leader broadcast has delivered what that leader broadcast before it.

use std::collections::BTreeMap;

use zabra::ids::{Epoch, ServerId, Zxid};

use super::{Verdict, unless};

pub const NAME: &str = "LocalPrimaryOrder";

#[derive(Default)]
pub struct LocalPrimaryOrder {
    newest: BTreeMap<Epoch, Zxid>,
    /// what the same leader broadcast before
    before: BTreeMap<Zxid, Zxid>,
}

impl LocalPrimaryOrder {
    /// The leader of an epoch broadcasts.
    pub fn broadcasts(&mut self, zxid: Zxid) {
        if let Some(before) = self.newest.insert(zxid.epoch(), zxid) {
            self.before.insert(zxid, before);
        }
    }

    /// A server whose newest transaction is `before` delivers another.
    pub fn delivered(&self, server: ServerId, before: Zxid, zxid: Zxid) -> Verdict {
        let expected = self.before.get(&zxid).copied();
        unless(expected.is_none_or(|expected| expected == before), || {
            format!(
                "server {server} delivers {zxid} behind {before}; its leader broadcast {expected:?} before it"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_leader_broadcast_before_is_not_left_out() {
        let mut order = LocalPrimaryOrder::default();
        let zxid = |counter| Zxid::new(Epoch(1), counter);
        (1..4).for_each(|counter| order.broadcasts(zxid(counter)));
        assert_eq!(order.delivered(ServerId(1), Zxid::ZERO, zxid(1)), Ok(()));
        assert_eq!(order.delivered(ServerId(1), zxid(1), zxid(2)), Ok(()));
        order.delivered(ServerId(1), zxid(1), zxid(3)).expect_err("2 is left out");
        order.delivered(ServerId(1), Zxid::ZERO, zxid(2)).expect_err("1 is left out");
    }
}
