//! Quotas: how much there may be below a znode and how much there is, counted anew each time.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use zabra::ids::{SessionId, Zxid};
use zabra::jute::ErrorCode;

use super::{Author, Draft, Model, Node};

/// The parent of all quotas.
pub const QUOTA: &str = "/zookeeper/quota";

/// How many znodes there are at a path and below, and how many bytes of data they hold.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Usage {
    pub count: u64,
    pub bytes: u64,
}

/// Limits of the same two: the number, and whether it is a hard one.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Limits {
    pub count: Option<(u64, bool)>,
    pub bytes: Option<(u64, bool)>,
}

/// What a write does beyond its limits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Beyond {
    /// a soft one: it is done
    Soft,
    /// a hard one: it is refused
    Hard,
    /// a hard one of an epoch before
    HardOfOlderEpoch,
}

/// Where the limits of a znode stand.
pub fn limits_of(path: &str) -> String {
    format!("{QUOTA}{path}/zookeeper_limits")
}

/// Where its figures are shown.
pub fn stats_of(path: &str) -> String {
    format!("{QUOTA}{path}/zookeeper_stats")
}

impl Limits {
    /// What cannot be read limits nothing.
    fn read(text: &str) -> Limits {
        let mut numbers: BTreeMap<&str, Option<i64>> = BTreeMap::new();
        for word in text.split([',', ';']) {
            if let Some(middle) = word.find('=') {
                let digits = word[middle + 1..].trim_end_matches('=');
                numbers.insert(&word[..middle], digits.parse().ok());
            }
        }
        let limit = |soft: &str, hard: &str| {
            let number = |key: &str| numbers.get(key).copied().flatten().filter(|number| *number >= 0);
            let hard = number(hard).map(|number| (number as u64, true));
            hard.or(number(soft).map(|number| (number as u64, false)))
        };
        Limits { count: limit("count", "countHardLimit"), bytes: limit("bytes", "byteHardLimit") }
    }
}

impl Model {
    /// Every quota that there was then.
    pub fn quotas(&self, at: Zxid) -> BTreeMap<&str, (Limits, Usage)> {
        let draft = self.draft(at, Author { session: SessionId(0), zxid: at, time_ms: 0 });
        let below = self.nodes.range(format!("{QUOTA}/")..).map(|(path, _)| path);
        let limits = below.filter_map(|path| {
            let of =
                path.strip_prefix(QUOTA)?.strip_suffix("/zookeeper_limits").filter(|of| !of.is_empty())?;
            let node = self.node(path, at)?;
            let limits = Limits::read(std::str::from_utf8(&node.data).unwrap_or_default());
            Some((of, (limits, draft.usage(of))))
        });
        limits.collect()
    }

    /// A znode as it is shown: of the figures of a quota those of that moment.
    pub fn shown(&self, path: &str, at: Zxid) -> Option<Node> {
        let mut node = self.node(path, at)?.clone();
        let of = path.strip_prefix(QUOTA).and_then(|path| path.strip_suffix("/zookeeper_stats"));
        if let Some(of) = of.filter(|of| !of.is_empty()) {
            let author = Author { session: SessionId(0), zxid: at, time_ms: 0 };
            let Usage { count, bytes } = self.draft(at, author).usage(of);
            node.data = Bytes::from(format!("count={count},bytes={bytes}"));
            node.stat.data_length = node.data.len() as i32;
        }
        Some(node)
    }
}

impl Draft<'_> {
    /// The paths of a znode and of all below it, in order.
    pub(super) fn at_and_below(&self, path: &str) -> BTreeSet<String> {
        let below = format!("{path}/");
        let is_meant = |other: &&String| *other == path || other.starts_with(&below);
        let known = self.model.nodes.range(path.to_string()..).map(|(other, _)| other);
        let known = known.take_while(|other| other.starts_with(path));
        let paths = known.chain(self.effects.nodes.keys()).filter(is_meant);
        paths.filter(|path| self.node(path).is_some()).cloned().collect()
    }

    fn usage(&self, of: &str) -> Usage {
        let mut usage = Usage::default();
        for path in self.at_and_below(of) {
            usage.count += 1;
            usage.bytes += self.node(&path).map_or(0, |node| node.data.len() as u64);
        }
        usage
    }

    /// So many znodes and bytes more at a path: QUOTAEXCEEDED if the nearest quota has a hard limit that has no room.
    pub(super) fn charge(&mut self, path: &str, count: i64, bytes: i64) -> Result<(), ErrorCode> {
        let mut above = Some(path).filter(|path| *path != "/");
        while let Some(of) = above {
            if let Some(node) = self.node(&limits_of(of)) {
                let limits = Limits::read(std::str::from_utf8(&node.data).unwrap_or_default());
                let is_old = node.stat.mzxid.epoch() < self.zxid.epoch();
                let Usage { count: znodes, bytes: held } = self.usage(of);
                let looks = [(count, znodes, limits.count), (bytes, held, limits.bytes)];
                for (more, now, limit) in looks {
                    let after = (now as i64).saturating_add(more);
                    let Some((_, is_hard)) = limit.filter(|(most, _)| more != 0 && after > *most as i64)
                    else {
                        continue;
                    };
                    let beyond = match is_hard {
                        false => Beyond::Soft,
                        true if is_old => Beyond::HardOfOlderEpoch,
                        true => Beyond::Hard,
                    };
                    self.effects.beyond = self.effects.beyond.max(Some(beyond));
                    if is_hard {
                        return Err(ErrorCode::QuotaExceeded);
                    }
                }
                return Ok(());
            }
            above = of.rsplit_once('/').map(|(above, _)| above).filter(|above| !above.is_empty());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use zabra::jute::Response;

    use super::*;
    use crate::op::Op;

    const SESSION: SessionId = SessionId(1);

    fn done(model: &mut Model, op: &Op) -> Result<Response, ErrorCode> {
        let zxid = Zxid(model.end().0 + 1);
        let (result, effects) = model.judge(op, model.end(), Author { session: SESSION, zxid, time_ms: 5 });
        model.apply(zxid, effects);
        result
    }

    #[test]
    fn limits_are_read_and_nonsense_is_none() {
        let read = |text| (Limits::read(text).count, Limits::read(text).bytes);
        assert_eq!(read("count=4,bytes=5"), (Some((4, false)), Some((5, false))));
        let both = "count=-1,bytes=5=;byteHardLimit=-1;countHardLimit=7";
        assert_eq!(read(both), (Some((7, true)), Some((5, false))));
        assert_eq!(read("count=x,bytes"), (None, None));
    }

    #[test]
    fn a_hard_limit_has_no_room_for_more_and_the_nearest_counts() {
        let mut model = Model::with_a(SESSION);
        for path in ["/zookeeper/quota/a", "/a/b"] {
            done(&mut model, &Op::create(path, "")).expect("created");
        }
        done(&mut model, &Op::create(limits_of("/a"), "count=1=;countHardLimit=3,byteHardLimit=4"))
            .expect("created");
        done(&mut model, &Op::create("/a/c", "")).expect("the third");
        done(&mut model, &Op::create("/a/d", "")).expect_err("the fourth");
        done(&mut model, &Op::set("/a", "yyyy")).expect("four bytes");
        done(&mut model, &Op::set("/a", "yyyyy")).expect_err("five");
        done(&mut model, &Op::Delete { path: "/a/c".into(), version: -1 }).expect("deleted");
        let two = Op::Multi(vec![Op::create("/a/c", ""), Op::create("/a/d", "")]);
        let results = done(&mut model, &two).map(|result| super::super::is_refused(&Ok(result)));
        assert_eq!(results, Ok(true), "there is room for one");
        for path in ["/zookeeper/quota/a/b", &limits_of("/a/b"), &stats_of("/a")] {
            done(&mut model, &Op::create(path, "")).expect("created");
        }
        for path in ["/a/b/c", "/a/b/d", "/a/b/e"] {
            done(&mut model, &Op::create(path, "")).expect("another quota");
        }
        let shown = model.shown(&stats_of("/a"), model.end()).expect("there");
        assert_eq!((&shown.data[..], shown.stat.data_length), (&b"count=5,bytes=4"[..], 15));
    }
}
