//! The rules of each operation.

use std::borrow::Cow;

use bytes::Bytes;

use super::overlay::{Node, Overlay, SessionState};
use super::usage::{Difference, Misread};
use super::{Context, Limits};
use crate::jute::{Acl, Create, CreateMode, CreateOp, ErrorCode, perms};
use crate::mutants::{Mutant, has};
use crate::session::Sessions;
use crate::tree::acl::Rules;
use crate::tree::{Lifetime, QuotaLimits, TTL_MS_MAX, Tree, acl, limited_by, path, quota_is_understood};
use crate::txn::{self, op};

/// Around what a client put into a znode when it is read: reply header, length or count, Stat.
const REPLY_OVERHEAD_BYTES: usize = 16 + 4 + 68;

/// The version that stands for "any" in a request, so that no znode may have it.
const ANY_VERSION: i32 = -1;

/// More entries are no ACL: to find duplicates takes the square of their number, and `auth` multiplies them by the
/// identities of the client, so a frame full of them would hold the leader up for seconds.
const ACL_ENTRIES_MAX: usize = 1000;

/// One request, and all that it is judged by.
pub(super) struct Evaluation<'a> {
    pub overlay: &'a mut Overlay,
    pub tree: &'a Tree,
    pub sessions: &'a Sessions,
    pub context: Context<'a>,
    pub limits: &'a Limits,
    pub rules: &'a Rules,
}

impl Evaluation<'_> {
    /// Looked at in this order: flags (BADARGUMENTS, UNIMPLEMENTED), session, a path without a parent
    /// (BADARGUMENTS), ACL (INVALIDACL), parent (NONODE), CREATE on the parent (NOAUTH), the path with its number
    /// (BADARGUMENTS), NODEEXISTS, NOCHILDRENFOREPHEMERALS, quota and number of
    /// ephemerals (QUOTAEXCEEDED), size. So a bad path below an absent parent is NONODE.
    ///
    /// What lifetime the znode gets is said by the operation; the flags only have to fit, as in ZooKeeper.
    pub fn create(&mut self, create: &Create<'_>) -> Result<op::Op, ErrorCode> {
        let mode = CreateMode::try_from(create.flags).map_err(|_| ErrorCode::BadArguments)?;
        let lifetime = self.lifetime(mode, create.op)?;
        self.check_session()?;
        self.check_writable(create.path)?;
        let parent_path = parent_of(create.path).ok_or(ErrorCode::BadArguments)?;
        let acl = self.fixed_acl(&create.acl)?;
        let mut parent = self.node(parent_path)?;
        self.check_permission(parent_path, &parent, perms::CREATE)?;
        let path = match mode.is_sequential() {
            true if has(Mutant::SequenceByCount) => {
                Cow::Owned(path::sequential(create.path, parent.num_children as i32))
            }
            true => Cow::Owned(path::sequential(create.path, parent.created_children)),
            false => Cow::Borrowed(create.path),
        };
        path::validate(&path).map_err(|_| ErrorCode::BadArguments)?;
        if self.node(&path).is_ok() {
            return match create.op {
                CreateOp::IfNotExists => Ok(op::Op::Check(txn::Check { path: path.into_owned() })),
                _ => Err(ErrorCode::NodeExists),
            };
        }
        if Lifetime::of(parent.ephemeral_owner).is_ephemeral() {
            return Err(ErrorCode::NoChildrenForEphemerals);
        }
        let data_bytes = create.data.map_or(0, <[u8]>::len) as u32;
        self.overlay.charge(self.tree, &path, Difference { count: 1, bytes: i64::from(data_bytes) })?;
        if let Lifetime::Session(owner) = lifetime {
            let most = (self.limits.ephemerals_per_session_max, self.limits.ephemerals_max);
            self.overlay.charge_ephemeral(self.tree, owner, most)?;
        }
        self.check_data_size(create.data)?;
        self.check_acl_size(&acl)?;

        parent.created_children = parent.created_children.wrapping_add(1);
        parent.num_children += 1;
        parent.pzxid = self.context.zxid;
        let parent_cversion = parent.created_children;
        self.overlay.put(parent_path, Some(parent));
        let ephemeral_owner = lifetime.owner();
        let txn_acl = acl.iter().map(txn::Acl::from).collect();
        let node = Node {
            version: 0,
            aversion: 0,
            created_children: 0,
            num_children: 0,
            data_bytes,
            ephemeral_owner,
            czxid: self.context.zxid,
            mzxid: self.context.zxid,
            pzxid: self.context.zxid,
            ctime_ms: Some(self.context.time_ms),
            mtime_ms: Some(self.context.time_ms),
            acl: Some(acl.into()),
            limits: self.limits_in(&path, create.data),
        };
        self.overlay.put(&path, Some(node));
        Ok(op::Op::Create(txn::Create {
            path: path.into_owned(),
            data: create.data.map(|data| self.owned(data)),
            acl: txn_acl,
            ephemeral_owner: ephemeral_owner.0,
            parent_cversion,
        }))
    }

    fn lifetime(&self, mode: CreateMode, op: CreateOp) -> Result<Lifetime, ErrorCode> {
        if mode.has_ttl() && !self.limits.has_ttls {
            return Err(ErrorCode::Unimplemented);
        }
        match op {
            CreateOp::IfNotExists if !self.limits.keeper_operations => Err(ErrorCode::Unimplemented),
            CreateOp::Ttl { ttl_ms } if mode.has_ttl() => {
                let ms = u64::try_from(ttl_ms).map_err(|_| ErrorCode::BadArguments)?;
                let is_in_bounds = (1..=TTL_MS_MAX).contains(&ms);
                if is_in_bounds { Ok(Lifetime::Ttl { ms }) } else { Err(ErrorCode::BadArguments) }
            }
            CreateOp::Ttl { .. } => Err(ErrorCode::BadArguments),
            _ if mode.has_ttl() => Err(ErrorCode::BadArguments),
            CreateOp::Container => Ok(Lifetime::Container),
            _ if mode.is_ephemeral() && self.context.is_local && !has(Mutant::UpgradeWithoutSession) => {
                Err(ErrorCode::EphemeralOnLocalSession)
            }
            _ if mode.is_ephemeral() => Ok(Lifetime::Session(self.context.session_id)),
            CreateOp::Create | CreateOp::Create2 | CreateOp::IfNotExists => Ok(Lifetime::Unlimited),
        }
    }

    /// Looked at in this order: session, a path that cannot be deleted (BADARGUMENTS), parent (NONODE), DELETE on the
    /// parent (NOAUTH), NONODE, BADVERSION, NOTEMPTY. The path is not checked otherwise: a bad one is not there.
    pub fn delete(&mut self, path: &str, version: i32) -> Result<op::Op, ErrorCode> {
        self.check_session()?;
        self.check_writable(path)?;
        let parent_path = parent_of(path).filter(|_| !path::is_fixed(path)).ok_or(ErrorCode::BadArguments)?;
        let parent = self.node(parent_path)?;
        self.check_permission(parent_path, &parent, perms::DELETE)?;
        let node = self.node(path)?;
        check_version(node.version, version)?;
        if node.num_children > 0 {
            return Err(ErrorCode::NotEmpty);
        }
        self.overlay.delete(self.tree, path);
        Ok(op::Op::Delete(txn::Delete { path: path.to_owned() }))
    }

    /// Looked at in this order: session, path (BADARGUMENTS), NONODE, WRITE (NOAUTH), quota (QUOTAEXCEEDED), BADVERSION,
    /// size. Who the servers are is changed by a reconfiguration only (BADARGUMENTS).
    pub fn set_data(&mut self, path: &str, data: Option<&[u8]>, version: i32) -> Result<op::Op, ErrorCode> {
        let mut node = self.permitted_node(path, perms::WRITE)?;
        if path == path::CONFIG {
            return Err(ErrorCode::BadArguments);
        }
        let data_bytes = data.map_or(0, <[u8]>::len) as u32;
        let bytes = i64::from(data_bytes) - i64::from(std::mem::replace(&mut node.data_bytes, data_bytes));
        self.overlay.charge(self.tree, path, Difference { count: 0, bytes })?;
        check_version(node.version, version)?;
        self.check_data_size(data)?;
        node.version = next_version(node.version);
        node.mzxid = self.context.zxid;
        node.mtime_ms = Some(self.context.time_ms);
        node.limits = self.limits_in(path, data);
        let version = node.version;
        self.overlay.put(path, Some(node));
        Ok(op::Op::SetData(txn::SetData {
            path: path.to_owned(),
            data: data.map(|data| self.owned(data)),
            version,
        }))
    }

    /// Data of the request, to go into a transaction; not copied, as a request is read from its body.
    fn owned(&self, data: &[u8]) -> Bytes {
        let (all, part) = (self.context.body.as_ptr_range(), data.as_ptr_range());
        match all.start <= part.start && part.end <= all.end {
            true => self.context.body.slice_ref(data),
            false => Bytes::copy_from_slice(data),
        }
    }

    /// Whether the client may change the servers to those of `text`: session, WRITE on their znode (NOAUTH), size.
    pub fn check_reconfigure(&mut self, text: &str) -> Result<(), ErrorCode> {
        self.permitted_node(path::CONFIG, perms::WRITE)?;
        self.check_data_size(Some(text.as_bytes()))
    }

    /// Looked at in this order: session, path (BADARGUMENTS), ACL (INVALIDACL), NONODE, ADMIN (NOAUTH), BADVERSION,
    /// size.
    pub fn set_acl(&mut self, path: &str, acl: &[Acl], version: i32) -> Result<op::Op, ErrorCode> {
        self.check_session()?;
        path::validate(path).map_err(|_| ErrorCode::BadArguments)?;
        let acl = self.fixed_acl(acl)?;
        let mut node = self.permitted_node(path, perms::ADMIN)?;
        check_version(node.aversion, version)?;
        self.check_acl_size(&acl)?;
        node.aversion = next_version(node.aversion);
        let aversion = node.aversion;
        let txn_acl = acl.iter().map(txn::Acl::from).collect();
        node.acl = Some(acl.into());
        self.overlay.put(path, Some(node));
        Ok(op::Op::SetAcl(txn::SetAcl { path: path.to_owned(), acl: txn_acl, aversion }))
    }

    /// Looked at in this order: session, path (BADARGUMENTS), NONODE, READ (NOAUTH), BADVERSION.
    pub fn check(&mut self, path: &str, version: i32) -> Result<op::Op, ErrorCode> {
        let node = self.permitted_node(path, perms::READ)?;
        check_version(node.version, version)?;
        Ok(op::Op::Check(txn::Check { path: path.to_owned() }))
    }

    /// What data says as the limits of a quota, if that is what it is written for.
    fn limits_in(&mut self, path: &str, data: Option<&[u8]>) -> Option<QuotaLimits> {
        let limited = limited_by(path).filter(|_| self.limits.enforces_quotas)?;
        if !quota_is_understood(data) {
            self.overlay.note_misread(Misread::new(limited, data));
        }
        Some(QuotaLimits::parse(data))
    }

    pub(super) fn permitted_node(&self, path: &str, perm: i32) -> Result<Node, ErrorCode> {
        self.check_session()?;
        path::validate(path).map_err(|_| ErrorCode::BadArguments)?;
        self.check_writable(path)?;
        let node = self.node(path)?;
        self.check_permission(path, &node, perm)?;
        Ok(node)
    }

    pub(super) fn node(&self, path: &str) -> Result<Node, ErrorCode> {
        self.overlay.node(self.tree, path).ok_or(ErrorCode::NoNode)
    }

    pub(super) fn check_session(&self) -> Result<(), ErrorCode> {
        match self.overlay.session(self.sessions, self.context.session_id) {
            Some(SessionState::Open(_)) => Ok(()),
            None if self.context.is_local => Ok(()),
            Some(SessionState::Closing | SessionState::Closed) | None => Err(ErrorCode::SessionExpired),
        }
    }

    pub(super) fn check_permission(&self, path: &str, node: &Node, perm: i32) -> Result<(), ErrorCode> {
        let permitted = match &node.acl {
            Some(pending) => acl::permits(pending, perm, self.context.auth, self.rules),
            None => {
                let stored = self.tree.node(path).expect("what no pending change has made is in the tree");
                acl::permits(stored.acl(), perm, self.context.auth, self.rules)
            }
        };
        if permitted { Ok(()) } else { Err(ErrorCode::NoAuth) }
    }

    fn fixed_acl(&self, acl: &[Acl]) -> Result<Vec<Acl>, ErrorCode> {
        if acl.len() > ACL_ENTRIES_MAX {
            return Err(ErrorCode::InvalidAcl);
        }
        acl::fix_acl(acl, self.context.auth, self.rules)
    }

    /// The data must fit into the answer of a getData.
    fn check_data_size(&self, data: Option<&[u8]>) -> Result<(), ErrorCode> {
        self.check_reply_size(data.map_or(0, <[u8]>::len))
    }

    /// The list must fit into the answer of a getACL, and `auth` may have made it longer than the request.
    fn check_acl_size(&self, acl: &[Acl]) -> Result<(), ErrorCode> {
        /// Permissions, and the lengths of scheme and id.
        const ENTRY_OVERHEAD_BYTES: usize = 4 + 4 + 4;
        self.check_reply_size(
            acl.iter().map(|entry| ENTRY_OVERHEAD_BYTES + entry.id.scheme.len() + entry.id.id.len()).sum(),
        )
    }

    fn check_reply_size(&self, content_bytes: usize) -> Result<(), ErrorCode> {
        if content_bytes.saturating_add(REPLY_OVERHEAD_BYTES) > self.limits.frame_bytes_max {
            return Err(ErrorCode::BadArguments);
        }
        Ok(())
    }
}

/// Everything up to the last slash; the root is its own parent, as ZooKeeper has it. `None` for what cannot be below
/// anything.
pub(super) fn parent_of(path: &str) -> Option<&str> {
    let (parent, _) = path.rsplit_once('/').filter(|_| !path.contains('\0'))?;
    Some(if parent.is_empty() { path::ROOT } else { parent })
}

fn check_version(current: i32, expected: i32) -> Result<(), ErrorCode> {
    if expected != ANY_VERSION && expected != current { Err(ErrorCode::BadVersion) } else { Ok(()) }
}

/// Versions wrap around, and leave out the one that a client could not ask for.
fn next_version(current: i32) -> i32 {
    match current.wrapping_add(1) {
        ANY_VERSION => 0,
        next => next,
    }
}
