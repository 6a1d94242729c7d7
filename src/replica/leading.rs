//! What only the leader does: it judges requests, knows which connection holds a session, and expires sessions.

use std::collections::BTreeMap;

use bytes::{Buf, Bytes};

use super::Config;
use super::io::{Answer, ForwardedRequest};
use super::limited::Search;
use super::local::Standing;
use super::quota_log::QuotaLog;
use super::reconfig::ReconfigConfig;
use super::state::State;
use crate::ids::{Epoch, ServerId, SessionId, Tick, Version, Zxid};
use crate::jute::{ErrorCode, OpCode, Request, decode_request};
use crate::mutants::{Mutant, has};
use crate::prep::{Context, Prep, PrepError, needed_version};
use crate::session::{Expiry, PASSWORD_BYTES};
use crate::tree::path;
use crate::txn::{ErrorTxn, Ops, Txn, txn::Body};
use crate::zab::Zab;

/// To go on with a session on another connection: between servers only, no client sends it.
pub const OP_CONTINUE_SESSION: i32 = -12;

/// Of a session that only its server knows: nobody compares it.
const LOCAL_GENERATION: u64 = 0;

/// Transactions that a single request may become: a session with very many ephemerals is closed in several.
const TXNS_PER_REQUEST_MAX: usize = 100_000;

/// The state of a leader that its successor does not need.
pub struct Leading {
    pub(super) prep: Prep,
    pub(super) reconfig: ReconfigConfig,
    expiry: Expiry,
    search: Search,
    quota_log: QuotaLog,
    /// Which connection of a session is the newest, as far as this leader gave it out or heard of it.
    generations: BTreeMap<SessionId, u64>,
    /// The generations that local sessions got when this leader made them global.
    upgraded: BTreeMap<SessionId, u64>,
    next_generation: u64,
    /// Barriers under way, each with the `sync` that waits for it.
    syncs: BTreeMap<u64, (ServerId, Answer)>,
    next_barrier: u64,
}

/// What becomes of a request at once. A transaction, be it a refusal, comes back when it is applied.
pub enum Judged {
    /// one or more transactions were proposed
    Proposed,
    /// a barrier was asked for
    Waiting,
    /// there will be no transaction
    Answered(Answer),
    /// no transaction can be made: the leader must resign, and the request is judged by the next one
    ZxidsUsedUp,
}

/// What the judging of one request needs besides the leader's own state.
pub struct Scene<'a> {
    pub zab: &'a mut Zab,
    pub state: &'a State,
    pub now: Tick,
    pub wall_ms: i64,
    /// The newest digest of the own state.
    pub digest: Option<(Zxid, u64)>,
    /// What every server of the ensemble speaks, as far as is known.
    pub version: Version,
}

impl Leading {
    /// Established in `epoch`. Every session gets a full timeout: nobody knows when its client was last heard of.
    pub fn new(epoch: Epoch, state: &State, config: &Config, now: Tick) -> Leading {
        let mut expiry = Expiry::new(config.expiry_bucket_ms);
        if has(Mutant::NoFullTimeout) {
            state.sessions.iter().for_each(|(id, _)| expiry.track(id, 1, now));
        } else {
            expiry.reset_all(&state.sessions, now);
        }
        Leading {
            reconfig: config.reconfig.clone(),
            prep: Prep::new(config.limits, config.acl_rules.clone(), config.hash_seed),
            expiry,
            search: Search::new(config.limited, now),
            quota_log: QuotaLog::default(),
            generations: BTreeMap::new(),
            upgraded: BTreeMap::new(),
            next_generation: u64::from(epoch.0) << 32,
            syncs: BTreeMap::new(),
            next_barrier: 1,
        }
    }

    /// Judges a request that came from `origin`. A refusal is a transaction as well, as in ZooKeeper: a leader that was
    /// replaced without knowing it must not refuse by an older state, and whoever is refused has its place in the order.
    /// Only a connection that was left gets none: it is closed, and knows nothing by it.
    pub fn judge(&mut self, scene: &mut Scene<'_>, origin: ServerId, request: &ForwardedRequest) -> Judged {
        let judged = self.try_judge(scene, origin, request);
        self.quota_log.tell(self.prep.take_exceeded(), scene.now);
        self.quota_log.tell_misread(self.prep.take_misread(), scene.now);
        match judged {
            Ok(judged) => judged,
            Err(error) if error.code == ErrorCode::SessionMoved => {
                let after = scene.zab.last_logged();
                Judged::Answered(Answer { request_id: request.request_id, after, moved: true })
            }
            Err(_) if scene.zab.next_zxid().is_none() => Judged::ZxidsUsedUp,
            Err(PrepError { code, failed_op }) => {
                let error = Body::Error(ErrorTxn { code: code as i32, failed_op });
                match self.upgraded.get(&request.session_id) {
                    Some(&generation) if request.standing != Standing::Global => {
                        let request = ForwardedRequest { generation, ..request.clone() };
                        self.propose(scene, origin, &request, error, true);
                    }
                    _ => self.propose(scene, origin, request, error, true),
                }
                Judged::Proposed
            }
        }
    }

    fn try_judge(
        &mut self,
        scene: &mut Scene<'_>,
        origin: ServerId,
        request: &ForwardedRequest,
    ) -> Result<Judged, PrepError> {
        if request.op == OpCode::CreateSession as i32 {
            return self.create_session(scene, origin, request);
        }
        if request.op == OP_CONTINUE_SESSION {
            return self.continue_session(scene, origin, request);
        }
        let Some(generation) = self.check_standing(scene, origin, request)? else {
            return Ok(Judged::ZxidsUsedUp);
        };
        let upgraded;
        let request = if generation == request.generation {
            request
        } else {
            upgraded = ForwardedRequest { generation, ..request.clone() };
            &upgraded
        };
        self.expiry.touch(request.session_id, scene.now);
        if request.op == OpCode::Sync as i32 {
            let after = scene.zab.last_logged();
            let answer = Answer { request_id: request.request_id, after, moved: false };
            return Ok(self.begin_sync(scene, origin, answer));
        }
        let decoded = decode_request(request.op, &request.body).map_err(|_| ErrorCode::MarshallingError)?;
        let is_local = generation == LOCAL_GENERATION && request.standing != Standing::Global;
        if is_local && decoded == Request::CloseSession {
            // Its end concerns its server alone, once everything before it is applied there.
            let after = scene.zab.last_logged();
            return Ok(Judged::Answered(Answer { request_id: request.request_id, after, moved: false }));
        }
        for _ in 0..TXNS_PER_REQUEST_MAX {
            let Some(zxid) = scene.zab.next_zxid() else { return Ok(Judged::ZxidsUsedUp) };
            let (session_id, version, time_ms) = (request.session_id, scene.version, scene.wall_ms);
            let (auth, body) = (&request.auth, &request.body);
            let context = Context { session_id, is_local, auth, body, zxid, version, time_ms };
            let body = match &decoded {
                Request::Reconfig(reconfig) => self.reconfigure(scene, reconfig, context)?,
                _ => self.prep.prepare(&scene.state.tree, &scene.state.sessions, &decoded, context)?,
            };
            let is_last = decoded != Request::CloseSession || matches!(body, Body::CloseSession(_));
            self.propose(scene, origin, request, body, is_last);
            if is_last {
                return Ok(Judged::Proposed);
            }
        }
        Err(ErrorCode::SystemError.into())
    }

    /// The generation of the connection that asks. `None` if there is no zxid left to make its session global.
    fn check_standing(
        &mut self,
        scene: &mut Scene<'_>,
        origin: ServerId,
        request: &ForwardedRequest,
    ) -> Result<Option<u64>, ErrorCode> {
        let id = request.session_id;
        let is_known = self.generations.contains_key(&id) || scene.state.sessions.get(id).is_some();
        let terms = match &request.standing {
            Standing::Global => {
                self.check_generation(scene.state, request)?;
                return Ok(Some(request.generation));
            }
            // The connection that made it global may have been left since.
            Standing::Upgraded if is_known => {
                let newest = self.generations.get(&id);
                let upgraded = self.upgraded.get(&id).filter(|upgraded| newest == Some(*upgraded));
                return upgraded.copied().map(Some).ok_or(ErrorCode::SessionMoved);
            }
            // It was global, and is over.
            Standing::Upgraded => return Err(ErrorCode::SessionExpired),
            Standing::Local | Standing::Upgrade(_) if is_known => return Err(ErrorCode::SessionMoved),
            Standing::Local => return Ok(Some(LOCAL_GENERATION)),
            Standing::Upgrade(_) if has(Mutant::UpgradeWithoutSession) => return Ok(Some(LOCAL_GENERATION)),
            Standing::Upgrade(terms) => terms,
        };
        let (op, body, request_id) = (OpCode::CreateSession as i32, terms.clone(), 0);
        let create = ForwardedRequest { op, body, request_id, ..request.clone() };
        match self.create_session(scene, origin, &create).map_err(|error| error.code)? {
            Judged::ZxidsUsedUp => return Ok(None),
            Judged::Proposed | Judged::Waiting | Judged::Answered(_) => {}
        }
        let generation = self.generations[&id];
        self.upgraded.insert(id, generation);
        Ok(Some(generation))
    }

    /// A request of a connection that was left is refused, so that it cannot come behind the requests of the newer one.
    fn check_generation(&mut self, state: &State, request: &ForwardedRequest) -> Result<(), ErrorCode> {
        let replicated = state.sessions.get(request.session_id).map(|session| session.generation);
        let known = match (self.generations.get_mut(&request.session_id), replicated) {
            (Some(known), _) => known,
            (None, Some(replicated)) => self.generations.entry(request.session_id).or_insert(replicated),
            (None, None) => return Err(ErrorCode::SessionExpired),
        };
        *known = (*known).max(replicated.unwrap_or(0));
        if request.generation < *known && !has(Mutant::OldConnectionTaken) {
            return Err(ErrorCode::SessionMoved);
        }
        *known = request.generation;
        Ok(())
    }

    fn create_session(
        &mut self,
        scene: &mut Scene<'_>,
        origin: ServerId,
        request: &ForwardedRequest,
    ) -> Result<Judged, PrepError> {
        let (timeout_ms, password) = decode_session(&request.body).ok_or(ErrorCode::MarshallingError)?;
        if request.session_id == SessionId(0) {
            return Err(ErrorCode::BadArguments.into());
        }
        let Some(zxid) = scene.zab.next_zxid() else { return Ok(Judged::ZxidsUsedUp) };
        let body = self.prep.create_session(
            &scene.state.sessions,
            request.session_id,
            timeout_ms,
            password,
            zxid,
        )?;
        let generation = self.new_generation(request.session_id);
        self.expiry.track(request.session_id, timeout_ms, scene.now);
        self.propose(scene, origin, &ForwardedRequest { generation, ..request.clone() }, body, true);
        Ok(Judged::Proposed)
    }

    /// The session goes on with a new generation, if it is alive and the password is right. A transaction says so: from
    /// then on no leader takes a request of the connection that was left.
    fn continue_session(
        &mut self,
        scene: &mut Scene<'_>,
        origin: ServerId,
        request: &ForwardedRequest,
    ) -> Result<Judged, PrepError> {
        let id = request.session_id;
        // The password first: who does not know it must not keep the session alive.
        let may_continue = self.prep.may_continue(&scene.state.sessions, id, &request.body);
        if !may_continue || !self.expiry.touch(id, scene.now) {
            return Err(ErrorCode::SessionExpired.into());
        }
        if scene.zab.next_zxid().is_none() {
            return Ok(Judged::ZxidsUsedUp);
        }
        let generation = self.new_generation(request.session_id);
        let body = Body::Ops(Ops { ops: Vec::new() });
        self.propose(scene, origin, &ForwardedRequest { generation, ..request.clone() }, body, true);
        Ok(Judged::Proposed)
    }

    fn new_generation(&mut self, session: SessionId) -> u64 {
        self.next_generation += 1;
        self.generations.insert(session, self.next_generation);
        self.next_generation
    }

    fn begin_sync(&mut self, scene: &mut Scene<'_>, origin: ServerId, answer: Answer) -> Judged {
        let token = self.next_barrier;
        self.next_barrier += 1;
        self.syncs.insert(token, (origin, answer));
        let asked = scene.zab.barrier(token);
        assert!(asked, "only an established leader judges");
        Judged::Waiting
    }

    /// A barrier is passed: the `sync` that waited for it, and where it came from.
    pub fn on_barrier(&mut self, token: u64) -> Option<(ServerId, Answer)> {
        self.syncs.remove(&token)
    }

    /// A server asks again for all that it has no answer to: a `sync` of before must not be answered with an older zxid
    /// than a request that is now judged anew.
    pub fn forget_syncs(&mut self, origin: ServerId) {
        self.syncs.retain(|_, (server, _)| *server != origin);
    }

    fn propose(
        &mut self,
        scene: &mut Scene<'_>,
        origin: ServerId,
        request: &ForwardedRequest,
        body: Body,
        is_last: bool,
    ) {
        let (digest_zxid, digest) = scene.digest.unwrap_or((Zxid::ZERO, 0));
        let needed = needed_version(&body);
        let txn = Txn {
            session_id: request.session_id.0,
            xid: request.xid,
            time_ms: scene.wall_ms,
            origin: u32::from(origin.0),
            request_id: if is_last { request.request_id } else { 0 },
            generation: request.generation,
            digest_zxid: digest_zxid.0,
            digest,
            reconfigures: is_reconfiguration(&body),
            body: Some(body),
            ..Txn::default()
        };
        scene.zab.propose(txn.into_bytes(needed));
    }

    /// Proposes what the leader itself wants, and nobody waits for.
    pub(super) fn propose_for_itself(&mut self, scene: &mut Scene<'_>, own_id: ServerId, body: Body) {
        let request = own_request(OpCode::Reconfig, SessionId(0), 0);
        self.propose(scene, own_id, &request, body, true);
    }

    /// Gives every session a full timeout.
    pub fn renew_all(&mut self, now: Tick) {
        self.expiry.renew_all(now);
    }

    /// When sessions expire.
    pub fn expiry(&self) -> &Expiry {
        &self.expiry
    }

    /// The client of a session was heard of.
    pub fn touch(&mut self, session: SessionId, now: Tick) {
        self.expiry.touch(session, now);
    }

    /// Closes the sessions whose clients were silent for too long, and tells how many. `None` when the zxids are used up.
    #[must_use]
    pub fn expire(&mut self, scene: &mut Scene<'_>, own_id: ServerId) -> Option<u64> {
        let mut expired = 0;
        for session_id in self.expiry.expired(scene.now) {
            tracing::info!(session = %session_id, "a session expired");
            let replicated = scene.state.sessions.get(session_id).map_or(0, |session| session.generation);
            let generation = self.generations.get(&session_id).copied().unwrap_or(0).max(replicated);
            let request = own_request(OpCode::CloseSession, session_id, generation);
            match self.try_judge(scene, own_id, &request) {
                Ok(Judged::ZxidsUsedUp) => return None,
                Ok(_) => expired += 1,
                // Its client is closing it at this moment.
                Err(error) => tracing::debug!(session = %session_id, %error, "the session ends already"),
            }
        }
        Some(expired)
    }

    /// Deletes containers and znodes with a time to live whose time has come. False when the zxids are used up.
    #[must_use]
    pub fn delete_limited(&mut self, scene: &mut Scene<'_>, own_id: ServerId) -> bool {
        for path in self.search.due(&scene.state.tree, scene.now, scene.wall_ms) {
            let Some(zxid) = scene.zab.next_zxid() else { return false };
            if let Some(body) = self.prep.delete_limited(&scene.state.tree, &path, zxid) {
                let request = own_request(OpCode::DeleteContainer, SessionId(0), 0);
                self.propose(scene, own_id, &request, body, true);
            }
        }
        true
    }

    /// A session was closed by an applied transaction.
    pub fn on_closed(&mut self, session: SessionId) {
        self.expiry.remove(session);
        self.generations.remove(&session);
        self.upgraded.remove(&session);
    }

    /// The state has applied everything through this zxid.
    pub fn applied(&mut self, through: Zxid) {
        self.prep.applied(through);
    }
}

/// Nothing else sets the data of the servers' znode.
fn is_reconfiguration(body: &Body) -> bool {
    matches!(body, Body::Ops(ops) if ops.ops.len() == 1 && ops.ops[0].is_set_data_of(path::CONFIG))
}

/// What the leader wants itself: nobody waits for an answer.
fn own_request(op: OpCode, session_id: SessionId, generation: u64) -> ForwardedRequest {
    let (op, body, auth) = (op as i32, Bytes::new(), std::sync::Arc::from([]));
    let standing = Standing::Global;
    ForwardedRequest { request_id: 0, session_id, generation, xid: 0, op, body, auth, standing }
}

/// The body of a request for a new session: its timeout and its password.
pub fn encode_session(timeout_ms: u32, password: &[u8]) -> Bytes {
    [&timeout_ms.to_be_bytes()[..], password].concat().into()
}

fn decode_session(mut body: &[u8]) -> Option<(u32, [u8; PASSWORD_BYTES])> {
    if body.len() != 4 + PASSWORD_BYTES {
        return None;
    }
    let timeout_ms = body.get_u32();
    Some((timeout_ms, body.try_into().ok()?))
}
