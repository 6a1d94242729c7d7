//! Nothing grows without a bound, and nothing is kept for those who are gone: connections, watches, waiting requests.

use std::collections::{BTreeMap, BTreeSet};

use zabra::ids::{ConnId, ServerId};

use super::{Verdict, unless};

pub const NAME: &str = "resources";

/// What a server keeps for clients.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Kept {
    pub connections: usize,
    pub outstanding: usize,
    /// connections that have watches
    pub watchers: BTreeSet<ConnId>,
}

/// What it was told: the connections that were opened and are not known to be gone, each with how many requests wait for
/// an answer on it.
pub type Known = BTreeMap<ConnId, usize>;

/// A server keeps no more than it was told of.
pub fn bounded(server: ServerId, kept: &Kept, known: &Known) -> Verdict {
    unless(kept.watchers.iter().all(|conn| known.contains_key(conn)), || {
        format!("server {server} keeps watches of connections that are gone: {kept:?}, {known:?}")
    })?;
    unless(kept.connections <= known.len(), || {
        format!("server {server} keeps connections that are gone: {kept:?}, {known:?}")
    })?;
    unless(kept.outstanding <= known.values().sum(), || {
        format!("server {server} keeps requests that nobody waits for: {kept:?}, {known:?}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_for_nobody_is_found() {
        let known = Known::from([(ConnId(1), 0), (ConnId(2), 1)]);
        let watchers = |conn| BTreeSet::from([ConnId(conn)]);
        let kept = Kept { connections: 2, outstanding: 1, watchers: watchers(2) };
        let bounded = |kept: Kept| bounded(ServerId(1), &kept, &known);
        assert_eq!(bounded(kept.clone()), Ok(()));
        bounded(Kept { watchers: watchers(3), ..kept.clone() }).expect_err("watches of 3");
        bounded(Kept { connections: 3, ..kept.clone() }).expect_err("a connection too many");
        bounded(Kept { outstanding: 2, ..kept }).expect_err("a request too many");
    }
}
