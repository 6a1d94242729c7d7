//! Memory is never ahead of the disk: only what is durable on the own disk is delivered.

use zabra::ids::{ServerId, Zxid};

use super::{Verdict, unless};

pub const NAME: &str = "memory within the disk";

/// A server has delivered everything through a zxid; its log is durable through another.
pub fn is_at(server: ServerId, delivered: Zxid, synced: Zxid) -> Verdict {
    unless(delivered <= synced, || {
        format!("server {server} delivered {delivered}, its log is durable through {synced}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_ahead_of_the_disk_is_found() {
        assert_eq!(is_at(ServerId(1), Zxid(2), Zxid(2)), Ok(()));
        is_at(ServerId(1), Zxid(3), Zxid(2)).expect_err("3 is not durable");
    }
}
