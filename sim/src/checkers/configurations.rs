//! Configurations form one chain: one for each version, each proposed when the one before was decided, made of that one
//! by what was asked for, in force on every server exactly when it is delivered there, and answered when a quorum of it
//! knows durably that it is decided.

use std::collections::{BTreeMap, BTreeSet};

use zabra::ids::{ServerId, Zxid};
use zabra::membership::Membership;

use super::{Verdict, unless};
use crate::configs::{Change, Configs, Members, listed};

pub const NAME: &str = "configurations";

#[derive(Default)]
pub struct Configurations {
    /// as servers told them
    told: BTreeMap<Zxid, Membership>,
    /// those in each log
    logged: BTreeMap<ServerId, BTreeSet<Zxid>>,
}

impl Configurations {
    /// A server says who the servers are.
    pub fn told(&mut self, server: ServerId, membership: &Membership) -> Verdict {
        // Of version 0 each has what its operator gave it.
        if membership.version == Zxid::ZERO {
            return Ok(());
        }
        let known = self.told.entry(membership.version).or_insert_with(|| membership.clone());
        unless(known == membership, || {
            format!("server {server} has {membership:?}, but {known:?} was told before")
        })
    }

    /// A server's log has a configuration, which its leader proposes if `delivered` is told: how far that one has come.
    pub fn logged(&mut self, server: ServerId, zxid: Zxid, delivered: Option<Zxid>) -> Verdict {
        let logged = self.logged.entry(server).or_default();
        let older = logged.range(..zxid).next_back().copied().unwrap_or_default();
        logged.insert(zxid);
        unless(delivered.is_none_or(|delivered| older <= delivered), || {
            format!("server {server} proposes a configuration at {zxid}, but that of {older} is not decided")
        })
    }

    /// A server's log ends here.
    pub fn cut(&mut self, server: ServerId, through: Zxid) {
        self.logged.entry(server).or_default().retain(|zxid| *zxid <= through);
    }

    /// A server starts with these in its log.
    pub fn starts(&mut self, server: ServerId, logged: BTreeSet<Zxid>) {
        self.logged.insert(server, logged);
    }
}

/// A server whose state is at a zxid counts with this one.
pub fn in_force(server: ServerId, at: Zxid, version: Zxid, configs: &Configs) -> Verdict {
    let expected = configs.in_force(at);
    unless(version == expected, || {
        format!("server {server} is at {at} and counts with {version} instead of {expected}")
    })
}

/// A configuration is decided that somebody asked for.
pub fn made(zxid: Zxid, text: &str, change: &Change, configs: &Configs) -> Verdict {
    says(zxid, text, &change.applied_to(configs.newest().1))
}

/// The text of a configuration is this one.
pub fn says(zxid: Zxid, text: &str, members: &Members) -> Verdict {
    let expected = listed(members).with_version(zxid).text();
    unless(text == expected, || format!("at {zxid} the servers are {text:?} instead of {expected:?}"))
}

/// A client is told that its reconfiguration is done; these servers would know it if they started now.
pub fn answered(zxid: Zxid, knowing: &BTreeSet<ServerId>, members: &Members) -> Verdict {
    unless(crate::shape::is_quorum(members, knowing), || {
        format!(
            "the configuration of {zxid} is answered, but only {knowing:?} know durably that it is decided"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use zabra::zab::Member;

    const ONE: ServerId = ServerId(1);

    #[test]
    fn a_version_stands_for_one_configuration() {
        let mut configurations = Configurations::default();
        let one = listed(&Members::from([(ONE, Member::EQUAL)]));
        assert_eq!(configurations.told(ONE, &one), Ok(()));
        let one = one.with_version(Zxid(5));
        assert_eq!(configurations.told(ONE, &one), Ok(()));
        let other = listed(&Members::from([(ONE, Member::Observer)])).with_version(Zxid(5));
        configurations.told(ServerId(2), &other).expect_err("it is another one");
    }

    #[test]
    fn none_is_proposed_before_the_last_is_decided() {
        let mut configurations = Configurations::default();
        assert_eq!(configurations.logged(ONE, Zxid(5), Some(Zxid(4))), Ok(()));
        configurations.logged(ONE, Zxid(6), Some(Zxid(4))).expect_err("5 is not decided");
        configurations.cut(ONE, Zxid(4));
        assert_eq!(configurations.logged(ONE, Zxid(7), Some(Zxid(4))), Ok(()));
    }

    #[test]
    fn what_counts_is_what_was_delivered_and_what_was_asked_for() {
        let configs = Configs::new(Members::from([(ONE, Member::EQUAL)]));
        assert_eq!(in_force(ONE, Zxid(9), Zxid::ZERO, &configs), Ok(()));
        in_force(ONE, Zxid(9), Zxid(9), &configs).expect_err("there was none");
        let change = Change { leaving: BTreeSet::from([ServerId(2)]), ..Change::default() };
        let text = listed(configs.newest().1).with_version(Zxid(9)).text();
        assert_eq!(made(Zxid(9), &text, &change, &configs), Ok(()));
        made(Zxid(8), &text, &change, &configs).expect_err("it is of another zxid");
        answered(Zxid(9), &BTreeSet::new(), configs.newest().1).expect_err("nobody knows it");
    }
}
