//! Who the servers of an ensemble are, by the history: counted and written down by other means than the servers do it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use zabra::ids::{ServerId, Zxid};
use zabra::membership::{Membership, ServerAddr};
use zabra::txn::{Txn, op};
use zabra::zab::Member;

use super::shape::is_quorum;

/// The znode that has them.
pub const CONFIG: &str = "/zookeeper/config";

/// The servers, and what they are.
pub type Members = BTreeMap<ServerId, Member>;

/// The lines of a server list.
pub fn listed(members: &Members) -> Membership {
    let server = |(id, member): (&ServerId, &Member)| {
        let role = if *member == Member::Observer { "observer" } else { "participant" };
        let line = format!("10.0.0.{id}:2888:3888:{role};0.0.0.0:2181");
        ServerAddr::parse(*id, &line).expect("a server as a file has it")
    };
    Membership::of(members.iter().map(server))
}

/// One server as a reconfiguration names it.
pub fn joiner(id: ServerId, member: Member) -> String {
    let server = &listed(&BTreeMap::from([(id, member)])).servers[&id];
    format!("server.{id}={server}")
}

/// What a text says, without a parser of its own: nobody but the simulator writes such lines.
pub fn members_of(text: &str) -> Members {
    let server = |line: &str| {
        let (id, rest) = line.strip_prefix("server.")?.split_once('=')?;
        let member = if rest.contains("observer") { Member::Observer } else { Member::EQUAL };
        Some((ServerId(id.parse().ok()?), member))
    };
    text.split(['\n', ',']).filter_map(server).collect()
}

/// What a reconfiguration asks for.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Change {
    pub joining: Members,
    pub leaving: BTreeSet<ServerId>,
    /// all of them, in place of the other two
    pub all: Option<Members>,
}

impl Change {
    /// What it makes of a configuration.
    pub fn applied_to(&self, members: &Members) -> Members {
        let mut changed = self.all.clone().unwrap_or_else(|| members.clone());
        if self.all.is_none() {
            changed.retain(|id, _| !self.leaving.contains(id));
            changed.extend(self.joining.clone());
        }
        changed
    }

    pub fn joining_text(&self) -> String {
        let joiners: Vec<String> = self.joining.iter().map(|(id, member)| joiner(*id, *member)).collect();
        joiners.join(",")
    }

    pub fn leaving_text(&self) -> String {
        let leaving: Vec<String> = self.leaving.iter().map(ServerId::to_string).collect();
        leaving.join(",")
    }

    pub fn all_text(&self) -> Option<String> {
        self.all.as_ref().map(|all| listed(all).lines())
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = |member: &Member| if *member == Member::Observer { "o" } else { "" };
        if let Some(all) = &self.all {
            return all.iter().try_for_each(|(id, member)| write!(f, " {id}{}", mark(member)));
        }
        self.joining.iter().try_for_each(|(id, member)| write!(f, " +{id}{}", mark(member)))?;
        self.leaving.iter().try_for_each(|id| write!(f, " -{id}"))
    }
}

/// The text that a transaction makes the configuration, if it does.
pub fn text_of(txn: &Txn) -> Option<String> {
    let [only] = txn.ops() else { return None };
    match &only.op {
        Some(op::Op::SetData(set)) if txn.reconfigures && set.path == CONFIG => {
            String::from_utf8(set.data.clone()?.to_vec()).ok()
        }
        _ => None,
    }
}

/// Configurations of which a decision needs a quorum each.
#[derive(Clone, Debug, Default)]
pub struct Quorums(pub Vec<Members>);

impl Quorums {
    pub fn voters(&self) -> BTreeSet<ServerId> {
        let votes = |(id, member): (&ServerId, &Member)| (*member != Member::Observer).then_some(*id);
        let weightless = |member: &Member| matches!(member, Member::Participant { weight: 0, .. });
        let all = self.0.iter().flatten().filter(|(_, member)| !weightless(member));
        all.filter_map(votes).collect()
    }

    pub fn is_quorum(&self, servers: impl IntoIterator<Item = ServerId>) -> bool {
        let servers = servers.into_iter().collect();
        self.0.iter().all(|members| is_quorum(members, &servers))
    }

    /// True if the server is in one of them, whatever it is there.
    pub fn has(&self, server: ServerId) -> bool {
        self.0.iter().any(|members| members.contains_key(&server))
    }
}

/// The configurations of a history.
#[derive(Debug)]
pub struct Configs {
    decided: BTreeMap<Zxid, Members>,
    /// Through which zxid a quorum is known to know durably which one is in force.
    secured: Zxid,
}

impl Configs {
    pub fn new(first: Members) -> Configs {
        Configs { decided: BTreeMap::from([(Zxid::ZERO, first)]), secured: Zxid::ZERO }
    }

    /// The newest that is decided, and its zxid.
    pub fn newest(&self) -> (Zxid, &Members) {
        let (zxid, members) = self.decided.last_key_value().expect("there is the first");
        (*zxid, members)
    }

    /// The one in force in a state at this zxid.
    pub fn in_force(&self, at: Zxid) -> Zxid {
        *self.decided.range(..=at).next_back().expect("there is the first").0
    }

    /// The members that a version stands for.
    pub fn members(&self, version: Zxid) -> Option<&Members> {
        self.decided.get(&version)
    }

    /// True if nothing more needs to be known of the newest.
    pub fn is_secured(&self) -> bool {
        self.secured == self.newest().0
    }

    /// A transaction was decided in its own epoch.
    pub fn decided_in_epoch(&mut self, txn: &Txn) {
        let (newest, _) = self.newest();
        if Zxid(txn.digest_zxid) >= newest {
            self.secured = newest;
        }
    }

    /// A transaction is decided.
    pub fn decided(&mut self, zxid: Zxid, txn: &Txn) {
        if let Some(text) = text_of(txn) {
            self.decided.insert(zxid, members_of(&text));
        }
    }

    /// What a transaction must have on the disks of a quorum when it is delivered first.
    pub fn needed_for(&self, txn: &Txn) -> Quorums {
        let mut needed = vec![self.newest().1.clone()];
        needed.extend(text_of(txn).map(|text| members_of(&text)));
        Quorums(needed)
    }

    /// What repaired servers must be a quorum of to work: as long as only some know that the newest is decided, that of
    /// older ones; and of those that stand in a log and are not decided.
    pub fn needed_with(&self, undecided: impl IntoIterator<Item = Members>) -> Quorums {
        let mut needed: Vec<Members> =
            self.decided.range(self.secured..).map(|(_, members)| members.clone()).collect();
        needed.extend(undecided);
        Quorums(needed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let members = Members::from([(ServerId(1), Member::EQUAL), (ServerId(4), Member::Observer)]);
        assert_eq!(members_of(&listed(&members).text()), members);
        let change = Change {
            joining: Members::from([(ServerId(2), Member::EQUAL)]),
            leaving: BTreeSet::from([ServerId(1)]),
            all: None,
        };
        let changed = change.applied_to(&members);
        assert_eq!(changed.keys().copied().collect::<Vec<_>>(), [ServerId(2), ServerId(4)]);
        assert_eq!((change.leaving_text(), members_of(&change.joining_text()).len()), ("1".to_string(), 1));
    }

    #[test]
    fn until_it_is_secured_the_older_one_is_needed() {
        let first = Members::from([(ServerId(1), Member::EQUAL)]);
        let second = Members::from([(ServerId(2), Member::EQUAL)]);
        let mut configs = Configs::new(first);
        configs.decided.insert(Zxid(5), second);
        assert!(!configs.needed_with([]).is_quorum([ServerId(2)]));
        configs.decided_in_epoch(&Txn { digest_zxid: 5, ..Txn::default() });
        assert!(configs.needed_with([]).is_quorum([ServerId(2)]));
    }
}
