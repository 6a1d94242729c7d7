//! The leader's judgement: what a client asked for becomes a transaction with its results in it, or an error code.
//! Pure.
//!
//! Requests are judged one after the other against the state as it will be once everything proposed before is
//! applied: the tree and the session table, and over them an overlay of what is proposed and not applied yet. The
//! rules, and which of them is looked at first when several are broken, are those of ZooKeeper's
//! `PrepRequestProcessor`; each operation's are listed at its function in `evaluate.rs`.
//!
//! A request that fails leaves nothing behind in the overlay. Whether the client's connection is still that of its
//! session (SESSIONMOVED) is for the caller to know.

mod evaluate;
mod keeper;
mod overlay;
mod usage;

use std::fmt;

use bytes::Bytes;
use prost::Message;

pub use self::usage::{Exceeded, Misread};

use self::evaluate::Evaluation;
use self::overlay::{Node, Overlay, SessionState};
use crate::ids::{SessionId, Version, Zxid};
use crate::jute::{AuthId, Create, CreateMode, CreateOp, ErrorCode, MultiOp, Request};
use crate::mutants::{Mutant, has};
use crate::session::{PASSWORD_BYTES, Sessions, password_matches};
use crate::tree::acl::Rules;
use crate::tree::{Lifetime, Tree, path};
use crate::txn::txn::Body;
use crate::txn::{CloseSession, CreateSession, Delete, Op, Ops, op};

/// Brought containers, znodes with a time to live, ClickHouse Keeper's operations, and reconfigurations.
const LIMITED_AND_KEEPER: Version = Version(3);

/// What is too long to be read back is refused before it is proposed, as BADARGUMENTS.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// the longest frame of the client protocol (`jute.maxbuffer`), bytes: data and ACLs must fit into a reply
    pub frame_bytes_max: usize,
    /// the longest encoded body of a transaction that the log and the other servers accept, bytes; well above
    /// `frame_bytes_max`, because names get numbers and `auth` becomes all of a client's identities
    pub txn_bytes_max: usize,
    /// znodes can have a time to live (`extendedTypesEnabled`)
    pub has_ttls: bool,
    /// quotas bind (`enforceQuota`); otherwise they are only counted
    pub enforces_quotas: bool,
    /// ClickHouse Keeper's operations are answered (`clickHouseOperationsEnabled`); what is below `/keeper` is the server's
    pub keeper_operations: bool,
    /// ephemerals that a session can have; 0: no limit
    pub ephemerals_per_session_max: u32,
    /// ephemerals of all sessions together; 0: no limit
    pub ephemerals_max: u32,
}

/// Who asks, and the place in the history that the transaction would take.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// the session of the client
    pub session_id: SessionId,
    /// only the client's server knows it, so it can have no ephemerals
    pub is_local: bool,
    /// the identities of its connection
    pub auth: &'a [AuthId],
    /// what the request was read from: its data needs no copy
    pub body: &'a Bytes,
    /// of the transaction, if it becomes one
    pub zxid: Zxid,
    /// what every server of the ensemble speaks: a transaction that needs more is not made
    pub version: Version,
    /// likewise, by the wall clock
    pub time_ms: i64,
}

/// Why there is no transaction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PrepError {
    /// the answer's code
    pub code: ErrorCode,
    /// of a multi: which operation failed, counted from 0; `None` when it was the request as a whole
    pub failed_op: Option<u32>,
}

impl From<ErrorCode> for PrepError {
    fn from(code: ErrorCode) -> PrepError {
        PrepError { code, failed_op: None }
    }
}

impl fmt::Display for PrepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.code.fmt(f)
    }
}

impl std::error::Error for PrepError {}

/// Judges requests, for one leader in one epoch: the next one starts from what is applied, with a new one.
pub struct Prep {
    limits: Limits,
    rules: Rules,
    overlay: Overlay,
}

impl Prep {
    /// Nothing is proposed yet.
    pub fn new(limits: Limits, rules: Rules, hash_seed: u64) -> Prep {
        Prep { limits, rules, overlay: Overlay::new(hash_seed, &limits) }
    }

    /// Judges a request that would change something. With a transaction, the caller must propose it at
    /// `context.zxid`: later requests are judged as if it were applied. Requests that read are not known here.
    ///
    /// # Panics
    /// If `context.zxid` is not above that of the last transaction.
    pub fn prepare(
        &mut self,
        tree: &Tree,
        sessions: &Sessions,
        request: &Request<'_>,
        context: Context<'_>,
    ) -> Result<Body, PrepError> {
        if *request == Request::CloseSession {
            return self.close_session(tree, sessions, context.session_id, context.zxid);
        }
        let mut evaluation = self.begin(tree, sessions, context);
        let ops = match request {
            Request::Multi(ops) => multi(&mut evaluation, ops),
            _ => single(&mut evaluation, request).map(|op| vec![op]).map_err(PrepError::from),
        };
        let body = ops.and_then(|ops| self.fitting(Body::Ops(Ops { ops })));
        let body = body.and_then(|body| match needed_version(&body) {
            needed if needed > context.version => Err(ErrorCode::Unimplemented.into()),
            _ => Ok(body),
        });
        if body.is_err() && !has(Mutant::NotRolledBack) {
            self.overlay.roll_back();
        }
        body
    }

    fn begin<'a>(
        &'a mut self,
        tree: &'a Tree,
        sessions: &'a Sessions,
        context: Context<'a>,
    ) -> Evaluation<'a> {
        self.overlay.begin(context.zxid);
        Evaluation {
            overlay: &mut self.overlay,
            tree,
            sessions,
            context,
            limits: &self.limits,
            rules: &self.rules,
        }
    }

    /// Opens a session, for which requests are taken from now on.
    pub fn create_session(
        &mut self,
        sessions: &Sessions,
        session_id: SessionId,
        timeout_ms: u32,
        password: [u8; PASSWORD_BYTES],
        zxid: Zxid,
    ) -> Result<Body, PrepError> {
        self.overlay.begin(zxid);
        if self.overlay.session(sessions, session_id).is_some() {
            return Err(ErrorCode::SystemError.into());
        }
        self.overlay.put_session(session_id, SessionState::Open(password));
        let password = password.to_vec().into();
        Ok(Body::CreateSession(CreateSession { timeout_ms, password }))
    }

    /// Whether requests of the session are taken, and this is its password. One that is only proposed counts: its client
    /// may know of it as soon as the other servers have decided it.
    pub fn may_continue(&self, sessions: &Sessions, session_id: SessionId, given: &[u8]) -> bool {
        match self.overlay.session(sessions, session_id) {
            Some(SessionState::Open(password)) => password_matches(&password, given),
            Some(SessionState::Closing | SessionState::Closed) | None => false,
        }
    }

    /// Closes a session, because its client wants it or because it has expired. From the first call on no request of
    /// the session is taken any more.
    ///
    /// A session with so many ephemerals that their paths do not fit into one transaction is closed in several: while
    /// the answer is [`Body::Ops`], which deletes some of them, the caller proposes it and calls again with the next
    /// zxid, before anything else is prepared. The last one is [`Body::CloseSession`].
    pub fn close_session(
        &mut self,
        tree: &Tree,
        sessions: &Sessions,
        session_id: SessionId,
        zxid: Zxid,
    ) -> Result<Body, PrepError> {
        self.overlay.begin(zxid);
        if self.overlay.session(sessions, session_id).is_none_or(|state| state == SessionState::Closed) {
            return Err(ErrorCode::SessionExpired.into());
        }
        let mut paths = self.overlay.ephemerals(tree, session_id);
        if has(Mutant::EphemeralLeft) {
            paths.pop();
        }
        let fitting = self.fitting_paths(&paths);
        let partly = fitting < paths.len();
        paths.truncate(fitting);
        for path in &paths {
            self.overlay.delete(tree, path);
        }
        if partly {
            self.overlay.put_session(session_id, SessionState::Closing);
            let ops =
                paths.into_iter().map(|path| Op { op: Some(op::Op::Delete(Delete { path })) }).collect();
            return Ok(Body::Ops(Ops { ops }));
        }
        self.overlay.put_session(session_id, SessionState::Closed);
        Ok(Body::CloseSession(CloseSession { paths }))
    }

    /// Deletes a container or a znode with a time to live whose time has come. `None` if it has children, is gone, or is
    /// about to change: it is looked at again later. With a transaction, the caller must propose it at `zxid`.
    pub fn delete_limited(&mut self, tree: &Tree, path: &str, zxid: Zxid) -> Option<Body> {
        let znode = tree.node(path).filter(|znode| znode.lifetime().is_watched())?;
        let is_changing = self.overlay.is_changing(path) && !has(Mutant::SearchIgnoresPending);
        if znode.num_children() > 0 || is_changing {
            return None;
        }
        self.overlay.begin(zxid);
        if !has(Mutant::EndNotRemembered) {
            self.overlay.delete(tree, path);
        }
        let op = Op { op: Some(op::Op::Delete(Delete { path: path.to_owned() })) };
        Some(Body::Ops(Ops { ops: vec![op] }))
    }

    /// Other servers are to be those of the ensemble, as `text` says: looked at are the session, and WRITE on
    /// `/zookeeper/config` (NOAUTH). With a transaction, the caller must propose it at `context.zxid`.
    pub fn reconfigure(
        &mut self,
        tree: &Tree,
        sessions: &Sessions,
        text: String,
        context: Context<'_>,
    ) -> Result<Body, PrepError> {
        let mut evaluation = self.begin(tree, sessions, context);
        evaluation.check_reconfigure(&text)?;
        Ok(self.set_members(tree, text, context.zxid))
    }

    /// The history is to say who the servers are. The caller must propose the transaction at `zxid`.
    pub fn record_members(&mut self, tree: &Tree, text: String, zxid: Zxid) -> Body {
        self.overlay.begin(zxid);
        self.set_members(tree, text, zxid)
    }

    /// The znode has always the same version, as in ZooKeeper: that of the servers is in its data.
    fn set_members(&mut self, tree: &Tree, text: String, zxid: Zxid) -> Body {
        const VERSION: i32 = -1;
        if let Some(node) = self.overlay.node(tree, path::CONFIG) {
            let data_bytes = text.len() as u32;
            self.overlay.put(path::CONFIG, Some(Node { version: VERSION, mzxid: zxid, data_bytes, ..node }));
        }
        Body::Ops(Ops { ops: vec![Op::set_data(path::CONFIG.to_owned(), Bytes::from(text), VERSION)] })
    }

    /// The tree and the sessions have applied everything through this zxid: it need not be remembered here.
    pub fn applied(&mut self, through: Zxid) {
        self.overlay.forget(through);
    }

    /// What went, or would have gone, beyond a quota since the last call: for the log.
    pub fn take_exceeded(&mut self) -> Vec<Exceeded> {
        self.overlay.take_exceeded()
    }

    /// What was, or would have been, written for the limits of quotas since the last call, and says something else: for the
    /// log. Only where they are enforced.
    pub fn take_misread(&mut self) -> Vec<Misread> {
        self.overlay.take_misread()
    }

    /// How many changes are remembered because they are not applied yet.
    #[cfg(test)]
    pub fn pending(&self) -> usize {
        self.overlay.pending()
    }

    fn fitting(&self, body: Body) -> Result<Body, PrepError> {
        let bytes = match &body {
            Body::Ops(ops) => ops.encoded_len(),
            Body::CreateSession(create) => create.encoded_len(),
            Body::CloseSession(close) => close.encoded_len(),
            Body::Error(error) => error.encoded_len(),
        };
        if bytes > self.limits.txn_bytes_max {
            return Err(ErrorCode::BadArguments.into());
        }
        Ok(body)
    }

    /// How many of the paths fit into one transaction that deletes them; at least one.
    fn fitting_paths(&self, paths: &[String]) -> usize {
        /// A tag and a length of at most five bytes for each of three nested messages.
        const DELETE_OVERHEAD_BYTES: usize = 3 * (1 + 5);
        let mut bytes = 0;
        let fits = |path: &String| {
            bytes += path.len() + DELETE_OVERHEAD_BYTES;
            bytes <= self.limits.txn_bytes_max
        };
        paths.iter().map(fits).take_while(|&fits| fits).count().max(1).min(paths.len())
    }
}

/// What a server must speak to apply the transaction.
pub fn needed_version(body: &Body) -> Version {
    let Body::Ops(ops) = body else { return Version::OLDEST };
    let needs_more = ops.ops.iter().any(|op| match &op.op {
        Some(op::Op::Create(create)) => {
            create.ephemeral_owner != 0 && Lifetime::of(SessionId(create.ephemeral_owner)).is_watched()
        }
        Some(op::Op::DeleteAll(_) | op::Op::Pass(_)) => true,
        // A reconfiguration.
        Some(op::Op::SetData(set)) => set.path == path::CONFIG,
        _ => false,
    });
    if needs_more { LIMITED_AND_KEEPER } else { Version::OLDEST }
}

/// The whitelist of what becomes a transaction on its own.
fn single(evaluation: &mut Evaluation<'_>, request: &Request<'_>) -> Result<Op, ErrorCode> {
    let op = match request {
        Request::Create(create) => evaluation.create(create)?,
        Request::Delete { path, version } => evaluation.delete(path, *version)?,
        Request::SetData { path, data, version } => evaluation.set_data(path, *data, *version)?,
        Request::SetAcl { path, acl, version } => evaluation.set_acl(path, acl, *version)?,
        Request::Check { path, version } => evaluation.check(path, *version)?,
        Request::Keeper(op) => evaluation.keeper_op(op)?,
        _ => return Err(ErrorCode::Unimplemented),
    };
    Ok(Op { op: Some(op) })
}

/// All of the operations, each judged as if those before it were applied, or the codes for all of them. ZooKeeper
/// reads the whole list before it judges the first, so what cannot be read fails the request as a whole.
fn multi(evaluation: &mut Evaluation<'_>, ops: &[MultiOp<'_>]) -> Result<Vec<Op>, PrepError> {
    let has_keeper = evaluation.limits.keeper_operations;
    if !ops.iter().all(|op| is_readable(op, has_keeper)) {
        return Err(ErrorCode::MarshallingError.into());
    }
    let (mut prepared, mut bytes) = (Vec::with_capacity(ops.len()), 0);
    for (position, op) in ops.iter().enumerate() {
        let result = match op {
            MultiOp::Create(create) => evaluation.create(create),
            MultiOp::Delete { path, version } => evaluation.delete(path, *version),
            MultiOp::SetData { path, data, version } => evaluation.set_data(path, *data, *version),
            MultiOp::Check { path, version } => evaluation.check(path, *version),
            MultiOp::Keeper(op) => evaluation.keeper_op(op),
            MultiOp::Unimplemented { .. } => Err(ErrorCode::Unimplemented),
        };
        match result {
            Err(_) if has(Mutant::MultiInParts) => return Ok(prepared),
            Ok(op) => {
                let op = Op { op: Some(op) };
                bytes += op.encoded_len();
                // `auth` makes each of them far bigger than it came: not all of them are made first and counted then.
                if bytes > evaluation.limits.txn_bytes_max {
                    return Err(ErrorCode::BadArguments.into());
                }
                prepared.push(op);
            }
            Err(code) => {
                return Err(PrepError { code, failed_op: u32::try_from(position).ok() });
            }
        }
    }
    Ok(prepared)
}

/// Whether ZooKeeper's decoder takes the operation. Of creates it looks at the flags, except in createTTL.
fn is_readable(op: &MultiOp<'_>, has_keeper: bool) -> bool {
    match op {
        MultiOp::Keeper(_) | MultiOp::Create(Create { op: CreateOp::IfNotExists, .. }) if !has_keeper => {
            false
        }
        MultiOp::Create(Create { op: CreateOp::Ttl { .. }, .. }) => true,
        MultiOp::Create(create) => CreateMode::try_from(create.flags).is_ok_and(|mode| !mode.has_ttl()),
        MultiOp::Unimplemented { .. } => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests;
