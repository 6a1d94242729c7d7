//! The ensemble as the history says: `/zookeeper/config` has it, and a transaction that changes it makes another
//! ensemble (rules 21 to 23 of docs/zab.md).

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::Replica;
use super::clients::Pending;
use super::io::Output;
use super::leading::{Leading, Scene};
use crate::ids::{ServerId, Version, Zxid};
use crate::jute::{ErrorCode, Reconfig, Response, Stat};
use crate::membership::{Membership, MembershipError, PeerRole};
use crate::mutants::{Mutant, has};
use crate::prep::{Context, PrepError};
use crate::tree::{Tree, path};
use crate::txn::txn::Body;
use crate::txn::{Op, Ops, Txn, op};
use crate::zab::{Ensemble, Member, Role};

/// Brought reconfigurations.
const RECONFIGURATIONS: Version = Version(3);

/// Who the other servers are if the history does not say it, and how that may change.
#[derive(Clone, Debug, Default)]
pub struct ReconfigConfig {
    /// the servers as the operator lists them; `None`: this one is alone for ever
    pub members: Option<Arc<Membership>>,
    /// clients may change them; the first leader puts them into the history
    pub enabled: bool,
    /// at least two must take part, as in ZooKeeper
    pub standalone_enabled: bool,
}

impl ReconfigConfig {
    /// The servers that a state says, or else the operator.
    pub(super) fn members_of(&self, tree: &Tree) -> Option<Arc<Membership>> {
        self.members.as_ref().map(|listed| recorded(tree).map_or_else(|| Arc::clone(listed), Arc::new))
    }
}

/// Answers of reconfigurations that are applied, until a quorum knows durably that they are.
#[derive(Debug, Default)]
pub(super) struct Held(Vec<HeldAnswer>);

#[derive(Debug)]
struct HeldAnswer {
    pending: Pending,
    zxid: Zxid,
    generation: u64,
    outcome: Result<Response, ErrorCode>,
}

/// What is to be a quorum of these servers. `None` if nobody votes.
pub fn ensemble_from(membership: &Membership) -> Option<Ensemble> {
    let member = |role| match role {
        PeerRole::Participant { group, weight } => Member::Participant { group, weight },
        PeerRole::Observer => Member::Observer,
    };
    if !membership.servers.values().any(|server| server.role.votes()) {
        return None;
    }
    let members: BTreeMap<_, _> =
        membership.servers.iter().map(|(id, server)| (*id, member(server.role))).collect();
    Some(Ensemble::new(membership.version.0, members))
}

/// The ensemble that a transaction makes, if it makes another one.
pub fn ensemble_of(txn: &Bytes) -> Option<Ensemble> {
    ensemble_from(&membership_of(txn)?)
}

/// The servers that a transaction makes those of the ensemble, if it does.
pub fn membership_of(txn: &Bytes) -> Option<Membership> {
    if !Txn::begins_as_reconfiguration(txn) {
        return None;
    }
    text_of(&Txn::from_bytes(txn.clone()).ok()?).and_then(|text| parsed(text))
}

/// The servers that a history says; `None` if it does not.
pub(super) fn recorded(tree: &Tree) -> Option<Membership> {
    parsed(&tree.node(path::CONFIG)?.data()?).filter(|membership| membership.version > Zxid::ZERO)
}

fn parsed(text: &[u8]) -> Option<Membership> {
    Membership::parse(std::str::from_utf8(text).ok()?).ok()
}

fn text_of(txn: &Txn) -> Option<&Bytes> {
    match txn.ops() {
        [Op { op: Some(op::Op::SetData(set)) }] if txn.reconfigures => set.data.as_ref(),
        _ => None,
    }
}

/// What a client is answered whose reconfiguration was applied.
pub(super) fn answer(txn: &Txn, stat: Stat) -> Response {
    Response::Data { data: text_of(txn).cloned(), stat }
}

impl Leading {
    /// Judges a reconfiguration, in the order of ZooKeeper: RECONFIGDISABLED, UNIMPLEMENTED, RECONFIGINPROGRESS,
    /// BADVERSION, what is asked for (BADARGUMENTS), NEWCONFIGNOQUORUM, session, WRITE on `/zookeeper/config` (NOAUTH).
    pub(super) fn reconfigure(
        &mut self,
        scene: &Scene<'_>,
        request: &Reconfig<'_>,
        context: Context<'_>,
    ) -> Result<Body, PrepError> {
        let config = &self.reconfig;
        if !config.enabled {
            return Err(ErrorCode::ReconfigDisabled.into());
        }
        if scene.version < RECONFIGURATIONS {
            return Err(ErrorCode::Unimplemented.into());
        }
        let current = config.members_of(&scene.state.tree).ok_or(ErrorCode::Unimplemented)?;
        if scene.zab.pending_configs().next().is_some() && !has(Mutant::SecondInFlight) {
            return Err(ErrorCode::ReconfigInProgress.into());
        }
        if request.version != -1 && request.version as u64 != current.version.0 {
            return Err(ErrorCode::BadVersion.into());
        }
        let (joining, leaving) = (request.joining.unwrap_or_default(), request.leaving.unwrap_or_default());
        let changed = match request.members {
            Some(members) => current.replaced(members, config.standalone_enabled),
            None => current.changed(joining, leaving, config.standalone_enabled),
        };
        let next = changed.map_err(refusal_of)?.with_version(context.zxid);
        let ensemble = ensemble_from(&next).ok_or(ErrorCode::BadArguments)?;
        if !scene.zab.has_quorum_of(&ensemble) {
            return Err(ErrorCode::NewConfigNoQuorum.into());
        }
        let (tree, sessions) = (&scene.state.tree, &scene.state.sessions);
        self.prep.reconfigure(tree, sessions, next.text(), context)
    }

    /// What the leader itself proposes before anything else (rule 22 of docs/zab.md): the servers, if the history does
    /// not say yet who they are, or nothing at all, so that a quorum acknowledges what is decided. False when the zxids are
    /// used up.
    #[must_use]
    pub(super) fn propose_own(&mut self, scene: &mut Scene<'_>, own_id: ServerId) -> bool {
        let Some(zxid) = scene.zab.next_zxid() else { return !scene.zab.wants_proposal() };
        let is_recorded = scene.zab.config() > Zxid::ZERO || scene.zab.pending_configs().next().is_some();
        let may_record = self.reconfig.enabled && !is_recorded && scene.version >= RECONFIGURATIONS;
        if let Some(listed) = self.reconfig.members.clone().filter(|_| may_record) {
            let text = (*listed).clone().with_version(zxid).text();
            let body = self.prep.record_members(&scene.state.tree, text, zxid);
            self.propose_for_itself(scene, own_id, body);
        } else if scene.zab.wants_proposal() {
            self.propose_for_itself(scene, own_id, Body::Ops(Ops { ops: Vec::new() }));
        }
        true
    }
}

fn refusal_of(error: MembershipError) -> ErrorCode {
    tracing::info!(%error, "a reconfiguration is refused");
    match error {
        MembershipError::BadArguments(_) => ErrorCode::BadArguments,
        MembershipError::Unreadable(_) => ErrorCode::MarshallingError,
    }
}

impl Replica {
    /// The servers as the history says, or else the operator; `None` of one that is alone for ever.
    pub fn membership(&self) -> Option<&Arc<Membership>> {
        self.members.as_ref()
    }

    /// The transaction that made the servers that count now; 0: the operator.
    pub fn config_in_force(&self) -> Zxid {
        self.zab.config()
    }

    /// True if this server never votes: by what is in force, or by its own list if it is in none.
    pub fn observes(&self) -> bool {
        let own = self.config.zab.id;
        let in_force = self.members.as_ref().and_then(|members| members.servers.get(&own));
        in_force.map_or_else(|| self.config.zab.ensemble.observes(own), |own| own.role == PeerRole::Observer)
    }

    /// Tells who the servers are, if others are in force or in the log than before.
    pub(super) fn follow_membership(&mut self) {
        let revision = self.zab.config_revision();
        if std::mem::replace(&mut self.config_revision, revision) != revision {
            self.tell_membership();
        }
    }

    /// Tells who the servers are.
    pub(super) fn tell_membership(&mut self) {
        self.members = self.config.reconfig.members_of(&self.state.tree);
        self.compare_versions();
        let Some(active) = self.members.clone() else { return };
        let undelivered = self.zab.undelivered().filter_map(|proposal| membership_of(&proposal.txn));
        let pending = undelivered.map(Arc::new).collect();
        self.output(Output::Membership { active, pending });
    }

    /// A leader proposes what nobody asked for.
    pub(super) fn propose_own(&mut self) {
        let id = self.config.zab.id;
        let Some((leading, mut scene)) = self.scene() else { return };
        if !leading.propose_own(&mut scene, id) {
            self.resign();
        }
    }

    /// The answer waits until a leader that had applied the change had another transaction decided, in its own epoch: only a
    /// quorum that knows durably that the change is decided can have done that, and the servers that left can be switched
    /// off.
    pub(super) fn hold(
        &mut self,
        pending: Pending,
        zxid: Zxid,
        generation: u64,
        outcome: Result<Response, ErrorCode>,
    ) {
        self.held.0.push(HeldAnswer { pending, zxid, generation, outcome });
    }

    /// A transaction is applied, or a role begins. What an older leader proposed may have been decided by the next one, and
    /// proves nothing.
    pub(super) fn tell_held(&mut self) {
        let (epoch, seen) = self.seen_by_leader;
        let is_of_epoch = match self.role {
            Role::Following { epoch: own, .. } | Role::Leading { epoch: own } => own == epoch,
            Role::Looking => false,
        };
        if !is_of_epoch {
            return;
        }
        let due = |held: &mut HeldAnswer| held.zxid <= seen;
        for held in self.held.0.extract_if(.., due).collect::<Vec<_>>() {
            if self.clients.get(held.pending.conn).is_some() {
                self.tell_applied(held.pending, held.zxid, held.generation, held.outcome);
            }
        }
    }

    /// The Stat of a znode as clients see it: that of `/zookeeper/config` belongs to what it is said to hold.
    pub(super) fn shown_stat(&self, path: &str, stat: Stat) -> Stat {
        self.listed(path, stat).map_or(stat, |(_, stat)| stat)
    }

    /// What `/zookeeper/config` holds while the history does not say it: the servers as the operator lists them.
    pub(super) fn listed(&self, path: &str, stat: Stat) -> Option<(Bytes, Stat)> {
        let listed = self.members.as_ref().filter(|_| path == path::CONFIG && stat.mzxid == Zxid::ZERO)?;
        let text = Bytes::from(listed.text());
        let mtime_ms = i64::try_from(self.config.started_wall_ms).unwrap_or(i64::MAX);
        let stat = Stat { version: -1, mtime_ms, data_length: text.len() as i32, ..stat };
        Some((text, stat))
    }
}
