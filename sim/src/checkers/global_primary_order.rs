//! GlobalPrimaryOrder: what an older leader broadcast is delivered before what a newer one did.

use zabra::ids::{ServerId, Zxid};

use super::{Verdict, unless};

pub const NAME: &str = "GlobalPrimaryOrder";

/// A server whose newest transaction is `before` delivers another.
pub fn delivered(server: ServerId, before: Zxid, zxid: Zxid) -> Verdict {
    unless(zxid.epoch() >= before.epoch(), || format!("server {server} delivers {zxid} behind {before}"))
}

#[cfg(test)]
mod tests {
    use zabra::ids::Epoch;

    use super::*;

    #[test]
    fn an_older_epoch_behind_a_newer_is_found() {
        let (old, new) = (Zxid::new(Epoch(1), 9), Zxid::new(Epoch(2), 1));
        assert_eq!(delivered(ServerId(1), old, new), Ok(()));
        delivered(ServerId(1), new, old).expect_err("the older one comes later");
    }
}
