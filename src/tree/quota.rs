//! Quotas: how much there may be below a znode, and how much there is (ZooKeeper's `Quotas` and `StatsTrack`).
//!
//! The quota of `/a` is what stands in `/zookeeper/quota/a/zookeeper_limits`. How much there is is counted for every
//! znode that ever had children, beside the number of its descendants: so the figures are those of the tree, whatever
//! happened to the quota or the server, and to make a quota costs nothing. The figures are stored nowhere. Who reads
//! `/zookeeper/quota/a/zookeeper_stats` is shown those of `/a` at that moment; what a client wrote there is kept, and
//! has its part in the digest, as any data.

use std::fmt;

use super::path;

/// The name of the znode with the limits.
const LIMITS: &str = "zookeeper_limits";
/// The name of the znode that shows the figures.
pub(super) const STATS: &str = "zookeeper_stats";

/// How much there is below a znode, itself included.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Usage {
    /// znodes of every kind
    pub count: u64,
    /// of their data; names do not count
    pub bytes: u64,
}

/// As ZooKeeper writes it.
impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "count={},bytes={}", self.count, self.bytes)
    }
}

/// A limit of one kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Limit {
    /// what goes beyond it is told in the log
    Soft(u64),
    /// what goes beyond it is refused
    Hard(u64),
}

impl Limit {
    /// The number.
    pub fn most(self) -> u64 {
        match self {
            Limit::Soft(most) | Limit::Hard(most) => most,
        }
    }

    /// A hard limit makes the soft one beside it count for nothing.
    fn of(soft: Option<u64>, hard: Option<u64>) -> Option<Limit> {
        hard.map(Limit::Hard).or(soft.map(Limit::Soft))
    }
}

/// What a quota limits.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct QuotaLimits {
    /// of znodes
    pub count: Option<Limit>,
    /// of the bytes of their data
    pub bytes: Option<Limit>,
}

impl QuotaLimits {
    /// Reads `count=4,bytes=5=;byteHardLimit=6;countHardLimit=7`. Negative numbers are no limits; nor is whatever cannot be
    /// read: a client may write anything there.
    pub fn parse(data: Option<&[u8]>) -> QuotaLimits {
        let text = data.and_then(|data| std::str::from_utf8(data).ok()).unwrap_or_default();
        let number = |wanted: &str| {
            let mut values = text.split([',', ';']).filter_map(|pair| {
                let (key, value) = pair.split_once('=')?;
                (key == wanted).then(|| value.trim_end_matches('='))
            });
            u64::try_from(values.next_back()?.parse::<i64>().ok()?).ok()
        };
        QuotaLimits {
            count: Limit::of(number("count"), number("countHardLimit")),
            bytes: Limit::of(number("bytes"), number("byteHardLimit")),
        }
    }
}

/// The keys that [`QuotaLimits::parse`] looks for.
const KEYS: [&str; 4] = ["count", "bytes", "countHardLimit", "byteHardLimit"];

/// True if [`QuotaLimits::parse`] passes nothing over: what is no limit there is meant to be none.
pub fn is_understood(data: Option<&[u8]>) -> bool {
    let Ok(text) = std::str::from_utf8(data.unwrap_or_default()) else { return false };
    text.split([',', ';']).filter(|pair| !pair.is_empty()).all(|pair| {
        pair.split_once('=').is_some_and(|(key, value)| {
            KEYS.contains(&key) && value.trim_end_matches('=').parse::<i64>().is_ok()
        })
    })
}

/// The znode whose quota has its limits at this path. There is none for the root, and ZooKeeper has none either.
#[inline]
pub fn limited_by(path: &str) -> Option<&str> {
    below_quota(path)?.strip_suffix(LIMITS)?.strip_suffix('/').filter(|path| !path.is_empty())
}

/// Where the limits of a znode's quota stand.
pub fn limits_path(path: &str) -> String {
    format!("{}{path}/{LIMITS}", path::QUOTA)
}

/// The znode whose figures this path shows.
pub(super) fn shown_by(path: &str) -> Option<&str> {
    below_quota(path)?.strip_suffix(STATS)?.strip_suffix('/').filter(|path| !path.is_empty())
}

#[inline]
fn below_quota(path: &str) -> Option<&str> {
    path.strip_prefix(path::QUOTA).filter(|rest| rest.starts_with('/'))
}

/// The path, and all above it but the root.
pub fn with_ancestors(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| path.rsplit_once('/').map(|(parent, _)| parent))
        .take_while(|path| path.len() > 1)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use bytes::Bytes;

    use super::super::Tree;
    use super::*;
    use crate::ids::{SessionId, Zxid};
    use crate::txn::{Acl, Op, Ops, Txn, txn::Body};

    #[track_caller]
    fn limits(text: &str, count: Option<Limit>, bytes: Option<Limit>) {
        assert_eq!(QuotaLimits::parse(Some(text.as_bytes())), QuotaLimits { count, bytes }, "{text:?}");
    }

    #[test]
    fn limits_are_read_as_zookeeper_writes_them() {
        use Limit::*;
        limits("count=4,bytes=5", Some(Soft(4)), Some(Soft(5)));
        limits("count=-1,bytes=-1=;byteHardLimit=6;countHardLimit=7", Some(Hard(7)), Some(Hard(6)));
        limits("count=4,bytes=5=;byteHardLimit=-1;countHardLimit=7", Some(Hard(7)), Some(Soft(5)));
        limits("bytes=0;;,count=+3", Some(Soft(3)), Some(Soft(0)));
        limits("count=1,count=2", Some(Soft(2)), None);
    }

    #[test]
    fn nonsense_limits_nothing() {
        for text in
            ["", "count", "count=", "=", "count=x", "count=-5", "count= 4", ",;,;", "Count=4", "\u{e4}=4"]
        {
            limits(text, None, None);
        }
        limits(
            "count=9223372036854775808,bytes=9223372036854775807",
            None,
            Some(Limit::Soft(i64::MAX as u64)),
        );
        limits("count=x,bytes=5", None, Some(Limit::Soft(5)));
        assert_eq!(QuotaLimits::parse(None), QuotaLimits::default());
        assert_eq!(QuotaLimits::parse(Some(&[0xff, 0xfe])), QuotaLimits::default());
    }

    #[test]
    fn what_limits_nothing_by_a_slip_is_told_from_what_is_meant_so() {
        for text in [
            "",
            "count=4,bytes=5",
            "count=-1,bytes=-1=;byteHardLimit=6;countHardLimit=7",
            "bytes=0;;,count=+3",
        ] {
            assert!(is_understood(Some(text.as_bytes())), "{text:?}");
        }
        assert!(is_understood(None));
        for text in
            ["nonsense", "count", "count=", "=", "count=x,bytes=5", "count= 4", "Count=4", "count=4,znodes=5"]
        {
            assert!(!is_understood(Some(text.as_bytes())), "{text:?}");
        }
        assert!(!is_understood(Some(b"count=9223372036854775808")) && !is_understood(Some(&[0xff])));
    }

    /// What a client reads there, and the length that its Stat tells.
    fn shown(tree: &Tree, path: &str) -> String {
        let node = tree.node(path).expect("it is there");
        let text = String::from_utf8(node.data().expect("not null").into_owned()).expect("UTF-8");
        assert_eq!(node.stat().data_length as usize, text.len());
        text
    }

    #[test]
    fn the_figures_are_those_of_the_tree_at_every_moment() {
        let acl = || vec![Acl { perms: 31, scheme: "world".into(), id: "anyone".into() }];
        let create = |path: &str, owner: u64| {
            Op::create(path.into(), Bytes::from_static(b"data"), acl(), SessionId(owner), 1)
        };
        let mut tree = Tree::new(1);
        let mut zxid = Zxid(0);
        let mut apply = |tree: &mut Tree, ops: Vec<Op>| {
            zxid.0 += 1;
            let txn = Txn { body: Some(Body::Ops(Ops { ops })), ..Txn::default() };
            tree.apply(zxid, &txn)
                .expect("it fits")
                .results
                .into_iter()
                .map(|result| format!("{result:?}"))
                .collect()
        };
        let stats = "/zookeeper/quota/a/zookeeper_stats";
        let quota = ["/zookeeper/quota/a", "/zookeeper/quota/a/zookeeper_limits", stats];
        let results: Vec<String> = apply(&mut tree, quota.map(|path| create(path, 0)).into());
        assert!(results[2].contains("data_length: 4"), "who writes is told of what was written");
        assert_eq!(shown(&tree, stats), "count=0,bytes=0");
        apply(&mut tree, vec![create("/a", 0), create("/a/b", 0), create("/a/b/e", 7)]);
        let before = tree.digest();
        assert_eq!(shown(&tree, stats), "count=3,bytes=12");
        apply(&mut tree, vec![Op::set_data("/a/b".into(), Bytes::from_static(b"longer"), 1)]);
        assert_eq!(shown(&tree, stats), "count=3,bytes=14");
        assert_ne!(tree.digest(), before);
        let copy = Tree::load(2, tree.image().blocks().map(Ok::<_, Infallible>)).expect("it is whole");
        assert_eq!((shown(&copy, stats), copy.digest()), ("count=3,bytes=14".into(), tree.digest()));
        assert_eq!(copy.quotas().count(), 1);
        apply(
            &mut tree,
            vec![Op::delete("/a/b/e".into()), Op::delete("/a/b".into()), Op::delete(quota[1].into())],
        );
        assert_eq!((shown(&tree, stats), tree.quotas().count()), ("count=1,bytes=4".into(), 0));
        apply(&mut tree, vec![Op::set_data(stats.into(), None, 1), create(quota[1], 0)]);
        assert_eq!((shown(&tree, stats), tree.quotas().count()), ("count=1,bytes=4".into(), 1));
        assert_eq!(tree.quota_over("/a/x/y").map(|(path, _)| path), Some("/a"));
        assert_eq!(tree.quota_over("/ab"), None);
    }

    #[test]
    fn a_quota_is_found_by_its_path() {
        assert_eq!(limited_by("/zookeeper/quota/a/b/zookeeper_limits"), Some("/a/b"));
        assert_eq!(limited_by(&limits_path("/a/b")), Some("/a/b"));
        assert_eq!(shown_by("/zookeeper/quota/a/zookeeper_stats"), Some("/a"));
        for path in [
            "/zookeeper/quota/zookeeper_limits",
            "/zookeeper/quota",
            "/zookeeper/quota/a",
            "/zookeeper/quotas/zookeeper_limits",
            "/zookeeper/quota/a/b_zookeeper_limits",
            "/a/zookeeper_limits",
        ] {
            assert_eq!(limited_by(path), None, "{path}");
        }
    }

    #[test]
    fn ancestors_end_below_the_root() {
        assert_eq!(with_ancestors("/a/b/c").collect::<Vec<_>>(), ["/a/b/c", "/a/b", "/a"]);
        assert_eq!(with_ancestors("/").count(), 0);
        assert_eq!(with_ancestors("").count(), 0);
    }
}
