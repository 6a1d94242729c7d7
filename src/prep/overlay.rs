//! What is proposed and not applied yet.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use foldhash::quality::FixedState;
use hashbrown::HashMap;

use super::Limits;
use super::evaluate::parent_of;
use super::usage::{Difference, Exceeded, Misread, PendingUsage, check_limits};
use crate::ids::{SessionId, Zxid};
use crate::jute::{Acl, ErrorCode};
use crate::mutants::{Mutant, has};
use crate::session::{PASSWORD_BYTES, Sessions};
use crate::tree::{Lifetime, QuotaLimits, Tree, Usage, limited_by, limits_path, with_ancestors};

/// What later requests need to know of a znode.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Node {
    pub version: i32,
    pub aversion: i32,
    /// the stored `cversion`: how many children were ever created
    pub created_children: i32,
    pub num_children: u32,
    pub data_bytes: u32,
    pub ephemeral_owner: SessionId,
    pub czxid: Zxid,
    pub mzxid: Zxid,
    pub pzxid: Zxid,
    /// `None`: the one that the tree has is still right, as with the next three
    pub acl: Option<Arc<[Acl]>>,
    pub ctime_ms: Option<i64>,
    pub mtime_ms: Option<i64>,
    /// what it says as the limits of a quota
    pub limits: Option<QuotaLimits>,
}

/// A session that is not as the table has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum SessionState {
    /// opened, with this password
    Open([u8; PASSWORD_BYTES]),
    /// some of its ephemerals are gone, the others will follow
    Closing,
    /// gone
    Closed,
}

/// The latest proposed state of a path.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Pending {
    zxid: Zxid,
    /// `None`: deleted
    node: Option<Node>,
}

/// Something that is forgotten once its transaction is applied, unless it was changed again.
#[derive(Clone, Debug)]
enum Change {
    Node(Arc<str>),
    Session(SessionId),
    /// What a session has more of ephemerals; less, if it is negative.
    Ephemerals(SessionId, i64),
    /// What there is more at this path, for the quotas above it.
    Usage(Arc<str>, Difference),
}

/// The latest state of all that proposed transactions change, each entry with the zxid of its latest change.
pub(super) struct Overlay {
    /// of the transaction that is being prepared
    zxid: Zxid,
    nodes: HashMap<Arc<str>, Pending, FixedState>,
    sessions: BTreeMap<SessionId, (Zxid, SessionState)>,
    /// the owner and path of every ephemeral in `nodes`
    ephemerals: BTreeSet<(SessionId, Arc<str>)>,
    /// the znodes in `nodes` that will be there, by their paths; `None` if nobody asks for them
    alive: Option<BTreeSet<Arc<str>>>,
    /// in the order of their zxids; one for every zxid at which an entry changed
    changes: VecDeque<(Zxid, Change)>,
    /// what the entries of `nodes` were before the transaction that is being prepared, latest last
    undo: Vec<(Arc<str>, Option<Pending>)>,
    /// how long `changes` was then
    changes_before: usize,
    /// what `changes` add to the ephemerals of sessions, where it is not 0; `None` if nobody looks at it
    ephemeral_sums: Option<BTreeMap<SessionId, i64>>,
    /// all of these together
    ephemeral_sum: i64,
    /// what `changes` add to quotas; `None` if nobody looks at them
    usage: Option<PendingUsage>,
    /// how many of `nodes` say the limits of quotas, or said them
    limits: usize,
    /// what went beyond a quota since somebody asked
    exceeded: Vec<Exceeded>,
    /// what was written for limits since somebody asked, and says something else
    misread: Vec<Misread>,
}

impl Overlay {
    pub fn new(hash_seed: u64, limits: &Limits) -> Overlay {
        Overlay {
            zxid: Zxid::ZERO,
            nodes: HashMap::with_hasher(FixedState::with_seed(hash_seed)),
            sessions: BTreeMap::new(),
            ephemerals: BTreeSet::new(),
            alive: limits.keeper_operations.then(BTreeSet::new),
            changes: VecDeque::new(),
            undo: Vec::new(),
            changes_before: 0,
            ephemeral_sums: (limits.ephemerals_per_session_max > 0 || limits.ephemerals_max > 0)
                .then(BTreeMap::new),
            ephemeral_sum: 0,
            usage: limits.enforces_quotas.then(|| PendingUsage::new(hash_seed)),
            limits: 0,
            exceeded: Vec::new(),
            misread: Vec::new(),
        }
    }

    /// What is put from now on belongs to this zxid, and [`Overlay::roll_back`] comes back to here.
    pub fn begin(&mut self, zxid: Zxid) {
        let rises = self.changes.back().is_none_or(|&(last, _)| last < zxid);
        assert!(rises, "zxid {zxid} is not above that of the last change");
        self.zxid = zxid;
        self.undo.clear();
        self.changes_before = self.changes.len();
    }

    /// Everything is again as it was at [`Overlay::begin`].
    pub fn roll_back(&mut self) {
        while let Some((key, before)) = self.undo.pop() {
            self.replace(&key, before);
        }
        while self.changes.len() > self.changes_before {
            let Some((_, change)) = self.changes.pop_back() else { break };
            self.uncount(change);
        }
    }

    /// A znode as it will be; `None` if it will not be there.
    pub fn node(&self, tree: &Tree, path: &str) -> Option<Node> {
        match self.nodes.get(path).filter(|_| !has(Mutant::PendingForgotten)) {
            Some(pending) => pending.node.clone(),
            None => tree.node(path).map(|node| Node {
                version: node.version(),
                aversion: node.aversion(),
                created_children: node.created_children(),
                num_children: node.num_children(),
                data_bytes: node.data_len() as u32,
                ephemeral_owner: node.ephemeral_owner(),
                czxid: node.czxid(),
                mzxid: node.mzxid(),
                pzxid: node.pzxid(),
                acl: None,
                ctime_ms: None,
                mtime_ms: None,
                limits: None,
            }),
        }
    }

    /// True if something that is not applied yet changes the znode or its children.
    pub fn is_changing(&self, path: &str) -> bool {
        self.nodes.contains_key(path)
    }

    /// Notes how a znode will be; `None`: gone.
    pub fn put(&mut self, path: &str, node: Option<Node>) {
        let key = self.nodes.get_key_value(path).map_or_else(|| Arc::from(path), |(key, _)| key.clone());
        let before = self.replace(&key, Some(Pending { zxid: self.zxid, node }));
        if before.as_ref().is_none_or(|before| before.zxid != self.zxid) {
            self.changes.push_back((self.zxid, Change::Node(key.clone())));
        }
        self.undo.push((key, before));
    }

    /// Notes that a znode without children will be gone. It must be there.
    pub fn delete(&mut self, tree: &Tree, path: &str) {
        let counts = self.usage.is_some() || self.ephemeral_sums.is_some();
        if let Some(node) = counts.then(|| self.node(tree, path)).flatten() {
            self.count(path, Difference { count: -1, bytes: -i64::from(node.data_bytes) });
            if let Lifetime::Session(owner) = Lifetime::of(node.ephemeral_owner) {
                self.count_ephemeral(owner, -1);
            }
        }
        let parent_path = parent_of(path).expect("the path of a znode has a slash");
        let mut parent = self.node(tree, parent_path).expect("a znode has a parent");
        parent.num_children -= 1;
        parent.pzxid = self.zxid;
        self.put(parent_path, Some(parent));
        self.put(path, None);
    }

    /// Takes room for a znode from the quota that it counts for, if quotas are enforced: QUOTAEXCEEDED if there is none.
    pub fn charge(&mut self, tree: &Tree, path: &str, more: Difference) -> Result<(), ErrorCode> {
        if self.usage.is_none() {
            return Ok(());
        }
        if let Some((quota, limits)) = self.quota_over(tree, path) {
            let usage = self.usage_of(tree, quota);
            check_limits((quota, limits), usage, more, &mut self.exceeded)?;
        }
        self.count(path, more);
        Ok(())
    }

    /// The nearest quota at or above a path, as it will be.
    fn quota_over<'p>(&self, tree: &Tree, path: &'p str) -> Option<(&'p str, QuotaLimits)> {
        if self.limits == 0 {
            return tree.quota_over(path);
        }
        with_ancestors(path).find_map(|above| {
            let limits = match self.nodes.get(limits_path(above).as_str()) {
                Some(pending) => pending.node.as_ref()?.limits.or_else(|| tree.quota_of(above))?,
                None => tree.quota_of(above)?,
            };
            Some((above, limits))
        })
    }

    /// How much there will be at a path and below.
    fn usage_of(&mut self, tree: &Tree, quota: &str) -> Usage {
        let Some(usage) = &mut self.usage else { return tree.usage(quota) };
        let pending = usage.of(quota, || {
            let changes = self.changes.iter().filter_map(|(_, change)| match change {
                Change::Usage(path, more) => Some((&**path, *more)),
                _ => None,
            });
            changes
                .filter(|(path, _)| with_ancestors(path).any(|above| above == quota))
                .map(|(_, more)| more)
                .sum()
        });
        let Usage { count, bytes } = tree.usage(quota);
        Usage {
            count: count.saturating_add_signed(pending.count),
            bytes: bytes.saturating_add_signed(pending.bytes),
        }
    }

    /// Takes room for another ephemeral of a session: QUOTAEXCEEDED if it has as many as the first of these, or all together
    /// have as many as the second; 0 is no limit.
    pub fn charge_ephemeral(
        &mut self,
        tree: &Tree,
        owner: SessionId,
        (own_max, all_max): (u32, u32),
    ) -> Result<(), ErrorCode> {
        let Some(sums) = &self.ephemeral_sums else { return Ok(()) };
        let pending = sums.get(&owner).copied().unwrap_or(0);
        let own = (tree.ephemerals_of(owner) as i64 + pending, own_max);
        let all = (tree.ephemerals_count() as i64 + self.ephemeral_sum, all_max);
        if [own, all].iter().any(|(there_are, most)| *most > 0 && *there_are >= i64::from(*most)) {
            return Err(ErrorCode::QuotaExceeded);
        }
        self.count_ephemeral(owner, 1);
        Ok(())
    }

    fn count_ephemeral(&mut self, owner: SessionId, more: i64) {
        if self.ephemeral_sums.is_some() {
            self.add_ephemerals(owner, more);
            self.changes.push_back((self.zxid, Change::Ephemerals(owner, more)));
        }
    }

    fn add_ephemerals(&mut self, owner: SessionId, more: i64) {
        let Some(sums) = &mut self.ephemeral_sums else { return };
        self.ephemeral_sum += more;
        let sum = sums.entry(owner).or_default();
        *sum += more;
        if *sum == 0 {
            sums.remove(&owner);
        }
    }

    /// Takes back what a change had counted.
    fn uncount(&mut self, change: Change) {
        match change {
            Change::Ephemerals(owner, more) => self.add_ephemerals(owner, -more),
            Change::Usage(path, more) => {
                if let Some(usage) = &mut self.usage {
                    usage.add(&path, -more);
                }
            }
            Change::Node(_) | Change::Session(_) => {}
        }
    }

    /// What went, or would have gone, beyond a quota since the last call.
    pub fn take_exceeded(&mut self) -> Vec<Exceeded> {
        std::mem::take(&mut self.exceeded)
    }

    /// Limits were written that cannot be understood.
    pub fn note_misread(&mut self, misread: Misread) {
        self.misread.push(misread);
    }

    /// Those since the last call.
    pub fn take_misread(&mut self) -> Vec<Misread> {
        std::mem::take(&mut self.misread)
    }

    fn count(&mut self, path: &str, more: Difference) {
        let Some(usage) = self.usage.as_mut().filter(|_| more != Difference::default()) else { return };
        usage.add(path, more);
        self.changes.push_back((self.zxid, Change::Usage(path.into(), more)));
    }

    /// The znodes below a path that will be there and are about to change, in the order of the alphabet. Only where
    /// `keeper_operations` are enabled.
    pub fn below<'a>(&'a self, path: &str) -> impl Iterator<Item = &'a str> {
        let prefix: Arc<str> = format!("{path}/").into();
        let from = self.alive.iter().flat_map({
            let prefix = prefix.clone();
            move |alive| alive.range(prefix.clone()..)
        });
        from.map(|path| &**path).take_while(move |path| path.starts_with(&*prefix))
    }

    /// The ephemerals that the session will have, sorted.
    pub fn ephemerals(&self, tree: &Tree, session: SessionId) -> Vec<String> {
        let mut paths = tree.ephemerals(session);
        paths.retain(|path| !self.nodes.contains_key(path.as_str()));
        let from = (session, Arc::from(""));
        let pending = self.ephemerals.range(from..).take_while(|(owner, _)| *owner == session);
        paths.extend(pending.map(|(_, path)| path.to_string()));
        paths.sort_unstable();
        paths
    }

    /// A session as it will be; `None` if there is no such session and none was closed lately.
    pub fn session(&self, sessions: &Sessions, id: SessionId) -> Option<SessionState> {
        match self.sessions.get(&id) {
            Some(&(_, state)) if !has(Mutant::CreateAfterClose) => Some(state),
            _ => sessions.get(id).map(|session| SessionState::Open(*session.password())),
        }
    }

    /// Notes how a session will be.
    pub fn put_session(&mut self, id: SessionId, state: SessionState) {
        self.sessions.insert(id, (self.zxid, state));
        self.changes.push_back((self.zxid, Change::Session(id)));
    }

    /// The tree and the sessions are as they will be through this zxid.
    pub fn forget(&mut self, through: Zxid) {
        while self.changes.front().is_some_and(|&(zxid, _)| zxid <= through) {
            let Some((zxid, change)) = self.changes.pop_front() else { break };
            match change {
                Change::Node(key) => {
                    if self.nodes.get(&key).is_some_and(|pending| pending.zxid == zxid) {
                        self.replace(&key, None);
                    }
                }
                Change::Session(id) => {
                    if self.sessions.get(&id).is_some_and(|&(latest, _)| latest == zxid) {
                        self.sessions.remove(&id);
                    }
                }
                change @ (Change::Ephemerals(..) | Change::Usage(..)) => self.uncount(change),
            }
        }
        if let Some(usage) = self.usage.as_mut().filter(|_| self.changes.is_empty()) {
            usage.clear();
        }
        self.undo.clear();
        self.changes_before = self.changes.len();
    }

    #[cfg(test)]
    pub fn pending(&self) -> usize {
        self.changes.len()
    }

    /// Exchanges an entry and keeps the list of ephemerals right.
    fn replace(&mut self, key: &Arc<str>, pending: Option<Pending>) -> Option<Pending> {
        let after = owner(pending.as_ref());
        if let Some(alive) = &mut self.alive {
            match &pending {
                Some(Pending { node: Some(_), .. }) => drop(alive.insert(key.clone())),
                Some(Pending { node: None, .. }) | None => drop(alive.remove(key)),
            }
        }
        let is_pending = pending.is_some();
        let before = match pending {
            Some(pending) => self.nodes.insert(key.clone(), pending),
            None => self.nodes.remove(key),
        };
        if self.usage.is_some() && limited_by(key).is_some() {
            self.limits = self.limits + usize::from(is_pending) - usize::from(before.is_some());
        }
        let owner_before = owner(before.as_ref());
        if owner_before != after {
            owner_before.map(|owner| self.ephemerals.remove(&(owner, key.clone())));
            after.map(|owner| self.ephemerals.insert((owner, key.clone())));
        }
        before
    }
}

/// The session that an ephemeral goes with.
fn owner(pending: Option<&Pending>) -> Option<SessionId> {
    let owner = pending?.node.as_ref()?.ephemeral_owner;
    Lifetime::of(owner).is_ephemeral().then_some(owner)
}
