//! Logs have no gap: every append continues the end of the log, and within an epoch every number is there.

use std::collections::BTreeMap;

use zabra::ids::{ServerId, Zxid};

use super::{Verdict, unless};

pub const NAME: &str = "log without a gap";

#[derive(Default)]
pub struct LogContiguity {
    ends: BTreeMap<ServerId, Zxid>,
}

impl LogContiguity {
    /// A server begins with a log that ends here: it starts, its log is cut, or a snapshot takes its place.
    pub fn ends_at(&mut self, server: ServerId, end: Zxid) {
        self.ends.insert(server, end);
    }

    /// A server starts, with these in its log behind a snapshot.
    pub fn starts(&mut self, server: ServerId, zxids: impl IntoIterator<Item = Zxid>, end: Zxid) -> Verdict {
        let mut before = None;
        for zxid in zxids {
            let is_right = before.is_none_or(|before| zxid.may_follow(before));
            unless(is_right, || format!("server {server} starts with {zxid} behind {before:?} in its log"))?;
            before = Some(zxid);
        }
        self.ends_at(server, end);
        Ok(())
    }

    /// A server appends, behind what it takes for the end of its log.
    pub fn appends(
        &mut self,
        server: ServerId,
        previous: Zxid,
        zxids: impl IntoIterator<Item = Zxid>,
    ) -> Verdict {
        let end = self.ends.entry(server).or_default();
        unless(previous == *end, || {
            format!("server {server} appends behind {previous}, its log ends at {end}")
        })?;
        for zxid in zxids {
            unless(zxid.may_follow(*end), || format!("server {server} appends {zxid} behind {end}"))?;
            *end = zxid;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use zabra::ids::Epoch;

    use super::*;

    #[test]
    fn a_gap_is_found() {
        let zxid = |epoch, counter| Zxid::new(Epoch(epoch), counter);
        let mut log = LogContiguity::default();
        let server = ServerId(1);
        assert_eq!(log.appends(server, Zxid::ZERO, [zxid(1, 1), zxid(1, 2)]), Ok(()));
        assert_eq!(log.appends(server, zxid(1, 2), [zxid(3, 1)]), Ok(()));
        log.appends(server, zxid(1, 2), [zxid(3, 2)]).expect_err("the log does not end there");
        log.appends(server, zxid(3, 1), [zxid(3, 3)]).expect_err("3_2 is missing");
        assert_eq!(log.starts(server, [zxid(2, 7), zxid(2, 8), zxid(3, 1)], zxid(3, 1)), Ok(()));
        log.starts(server, [zxid(2, 7), zxid(2, 9)], zxid(2, 9)).expect_err("2_8 is missing");
    }
}
