//! The rules of ClickHouse Keeper's extra operations, and of what it keeps below `/keeper`.

use super::evaluate::Evaluation;
use crate::jute::{ErrorCode, KeeperOp, Stat, perms};
use crate::mutants::{Mutant, has};
use crate::tree::path;
use crate::txn::{self, op};

/// What one more path of a transaction that deletes many takes at most: tags and lengths.
const PATH_OVERHEAD_BYTES: usize = 1 + 5;

/// "Any", in a field of the Stat that CheckStat compares with.
const ANY: i64 = -1;

impl Evaluation<'_> {
    /// BADARGUMENTS for what only the server writes.
    pub(super) fn check_writable(&self, path: &str) -> Result<(), ErrorCode> {
        if self.limits.keeper_operations && path::is_of_keeper(path) {
            return Err(ErrorCode::BadArguments);
        }
        Ok(())
    }

    /// One of the operations; UNIMPLEMENTED unless they are enabled.
    pub(super) fn keeper_op(&mut self, op: &KeeperOp<'_>) -> Result<op::Op, ErrorCode> {
        if !self.limits.keeper_operations {
            return Err(ErrorCode::Unimplemented);
        }
        match *op {
            KeeperOp::CheckNotExists { path, version } => self.check_not_exists(path, version),
            KeeperOp::CheckStat { path, version, stat } => self.check_stat(path, version, &stat),
            KeeperOp::RemoveRecursive { path, znodes_max } => self.remove_recursive(path, znodes_max),
        }
    }

    /// Looked at in this order: session, path (BADARGUMENTS), READ if it is there (NOAUTH), NODEEXISTS.
    fn check_not_exists(&self, path: &str, version: i32) -> Result<op::Op, ErrorCode> {
        match self.permitted_node(path, perms::READ) {
            Err(ErrorCode::NoNode) => {}
            Ok(node) if version != -1 && version != node.version => {}
            Ok(_) => return Err(ErrorCode::NodeExists),
            Err(code) => return Err(code),
        }
        Ok(op::Op::Pass(txn::Pass { path: path.to_owned() }))
    }

    /// Looked at in this order: as `check`; then the other fields (BADVERSION).
    fn check_stat(&mut self, path: &str, version: i32, wanted: &Stat) -> Result<op::Op, ErrorCode> {
        let check = self.check(path, version)?;
        let node = self.node(path)?;
        let applied = self.tree.node(path);
        let ctime_ms = node.ctime_ms.or_else(|| applied.map(|applied| applied.stat().ctime_ms));
        let mtime_ms = node.mtime_ms.or_else(|| applied.map(|applied| applied.mtime_ms()));
        let owner = crate::tree::Lifetime::of(node.ephemeral_owner).session();
        let cversion = node.created_children.wrapping_mul(2).wrapping_sub(node.num_children as i32);
        let fields = [
            (wanted.czxid.0 as i64, Some(node.czxid.0 as i64)),
            (wanted.mzxid.0 as i64, Some(node.mzxid.0 as i64)),
            (wanted.pzxid.0 as i64, Some(node.pzxid.0 as i64)),
            (wanted.ctime_ms, ctime_ms),
            (wanted.mtime_ms, mtime_ms),
            (wanted.version.into(), Some(node.version.into())),
            (wanted.cversion.into(), Some(cversion.into())),
            (wanted.aversion.into(), Some(node.aversion.into())),
            (wanted.ephemeral_owner.0 as i64, Some(owner.0 as i64)),
            (wanted.data_length.into(), Some(node.data_bytes.into())),
            (wanted.num_children.into(), Some(node.num_children.into())),
        ];
        let is_right = fields.iter().all(|(wanted, is)| *wanted == ANY || Some(*wanted) == *is);
        if is_right || has(Mutant::StatByVersion) { Ok(check) } else { Err(ErrorCode::BadVersion) }
    }

    /// Looked at in this order: session, path (BADARGUMENTS, also for what cannot be deleted), parent (NONODE), DELETE on
    /// it (NOAUTH), NONODE; then all of them, each of which must permit DELETE as well (NOAUTH). NOTEMPTY if they are more
    /// than the client wants to lose, or than fit into a transaction.
    fn remove_recursive(&mut self, path: &str, znodes_max: u32) -> Result<op::Op, ErrorCode> {
        self.check_session()?;
        path::validate(path).map_err(|_| ErrorCode::BadArguments)?;
        self.check_writable(path)?;
        let (parent_path, _) =
            path::split(path).filter(|_| !path::is_fixed(path)).ok_or(ErrorCode::BadArguments)?;
        let parent = self.node(parent_path)?;
        self.check_permission(parent_path, &parent, perms::DELETE)?;
        self.node(path)?;
        let mut paths = self.all_below(path, znodes_max)?;
        // Whatever is below a path stands behind it in the alphabet.
        paths.sort_unstable_by(|a, b| b.cmp(a));
        for path in &paths {
            self.overlay.delete(self.tree, path);
        }
        Ok(op::Op::DeleteAll(txn::DeleteAll { paths }))
    }

    /// The znode and all below it, as they will be.
    fn all_below(&self, path: &str, znodes_max: u32) -> Result<Vec<String>, ErrorCode> {
        let (mut found, mut bytes) = (Vec::new(), 0);
        let mut take = |path: String| {
            bytes += path.len() + PATH_OVERHEAD_BYTES;
            let is_enough = found.len() >= znodes_max as usize && !has(Mutant::RemoveBeyondLimit);
            if is_enough || bytes > self.limits.txn_bytes_max {
                return Err(ErrorCode::NotEmpty);
            }
            self.check_permission(&path, &self.node(&path)?, perms::DELETE)?;
            found.push(path);
            Ok(())
        };
        let mut left = vec![path.to_owned()];
        while let Some(path) = left.pop() {
            if self.node(&path).is_err() {
                continue;
            }
            if let Some(node) = self.tree.node(&path) {
                left.extend(node.children().map(|name| format!("{path}/{name}")));
                take(path)?;
            }
        }
        let made = std::iter::once(path).chain(self.overlay.below(path));
        let made = made.filter(|_| !has(Mutant::RemoveForgetsPending));
        for path in made.filter(|path| self.tree.node(path).is_none()) {
            take(path.to_owned())?;
        }
        Ok(found)
    }
}
