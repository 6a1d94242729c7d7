//! Requests that change nothing but watches: every server answers them from its own state. The answer is written
//! straight into a connection's output.

use std::sync::Arc;

use bytes::BytesMut;

use super::Replica;
use crate::ids::{ConnId, Xid, Zxid};
use crate::jute::{
    self, Acl, AuthId, ErrorCode, EventKind, Request, SetWatches, WatchEvent, encode_acl_reply,
    encode_children_reply, encode_data_reply, encode_empty_reply, encode_error_reply, encode_event,
    encode_stat_reply, perms,
};
use crate::tree::Znode;
use crate::watch::{SetWatch, WatchKind, missed};

/// The zxid in the header of an event that no transaction fired.
const NO_ZXID: Zxid = Zxid(u64::MAX);

impl Replica {
    /// True for requests that [`Replica::read`] answers.
    pub fn is_read(request: &Request<'_>) -> bool {
        matches!(
            request,
            Request::Exists { .. }
                | Request::GetData { .. }
                | Request::GetAcl { .. }
                | Request::GetChildren { .. }
                | Request::SetWatches(_)
        )
    }

    /// True for reads that leave a watch, for which [`Replica::read_and_watch`] must be used.
    pub fn sets_watch(request: &Request<'_>) -> bool {
        match request {
            Request::Exists { watch, .. }
            | Request::GetData { watch, .. }
            | Request::GetChildren { watch, .. } => *watch,
            Request::SetWatches(_) => true,
            _ => false,
        }
    }

    /// Answers a read. Watches it asks for are not set.
    ///
    /// # Panics
    /// If it is no read.
    pub fn read(&self, auth: &[AuthId], request: &Request<'_>, xid: Xid, out: &mut BytesMut) {
        let zxid = self.state.zxid();
        if let Err(code) = self.try_read(auth, request, xid, out) {
            encode_error_reply(out, xid, zxid, code);
        }
    }

    /// Answers a read, and sets the watch it asks for: `exists` on an absent znode and every successful read leave one.
    ///
    /// # Panics
    /// If it is no read.
    pub fn read_and_watch(
        &mut self,
        conn: ConnId,
        auth: &Arc<[AuthId]>,
        request: &Request<'_>,
        xid: Xid,
        out: &mut BytesMut,
    ) {
        self.clients.identify(conn, auth);
        if let Request::SetWatches(watches) = request {
            self.set_watches(conn, watches, out);
            return encode_empty_reply(out, xid, self.state.zxid());
        }
        let result = self.try_read(auth, request, xid, out);
        match (request, result) {
            (Request::Exists { path, watch: true }, Ok(()) | Err(ErrorCode::NoNode))
            | (Request::GetData { path, watch: true }, Ok(())) => {
                self.watches.add(WatchKind::Data, path, conn)
            }
            (Request::GetChildren { path, watch: true, .. }, Ok(())) => {
                self.watches.add(WatchKind::Child, path, conn);
            }
            _ => {}
        }
        if let Err(code) = result {
            encode_error_reply(out, xid, self.state.zxid(), code);
        }
    }

    /// The client of a connection has proved to be someone: its watches may tell what that one may read.
    pub fn identify(&mut self, conn: ConnId, identities: &Arc<[AuthId]>) {
        self.clients.identify(conn, identities);
    }

    fn try_read(
        &self,
        auth: &[AuthId],
        request: &Request<'_>,
        xid: Xid,
        out: &mut BytesMut,
    ) -> Result<(), ErrorCode> {
        let zxid = self.state.zxid();
        match request {
            Request::GetData { path, .. } => {
                let znode = self.readable(path, perms::READ, auth)?;
                encode_data_reply(out, xid, zxid, znode.data(), &znode.stat());
            }
            // The one read for which ZooKeeper looks at the path before it looks for the znode.
            Request::Exists { path, .. } if path.contains('\0') => return Err(ErrorCode::BadArguments),
            Request::Exists { path, .. } => {
                let znode = self.readable(path, perms::READ, auth)?;
                encode_stat_reply(out, xid, zxid, &znode.stat());
            }
            Request::GetChildren { path, with_stat, .. } => {
                let znode = self.readable(path, perms::READ, auth)?;
                let stat = with_stat.then(|| znode.stat());
                let children: Vec<&str> = znode.children().collect();
                encode_children_reply(out, xid, zxid, children.into_iter(), stat.as_ref());
            }
            Request::GetAcl { path } => {
                let znode = self.readable(path, perms::READ | perms::ADMIN, auth)?;
                let may_see = znode.permits(perms::ADMIN, auth);
                let acl: Vec<Acl> =
                    znode.acl().iter().map(|acl| if may_see { acl.clone() } else { masked(acl) }).collect();
                encode_acl_reply(out, xid, zxid, &acl, &znode.stat());
            }
            _ => panic!("not a read: {request:?}"),
        }
        Ok(())
    }

    fn readable(&self, path: &str, perm: i32, auth: &[AuthId]) -> Result<Znode<'_>, ErrorCode> {
        let znode = self.state.tree.node(path).ok_or(ErrorCode::NoNode)?;
        if znode.permits(perm, auth) { Ok(znode) } else { Err(ErrorCode::NoAuth) }
    }

    /// Sets the watches that a client still had when it lost its connection; what it missed since is told at once
    /// (ZooKeeper's `DataTree.setWatches`).
    fn set_watches(&mut self, conn: ConnId, watches: &SetWatches<'_>, out: &mut BytesMut) {
        let kinds = [
            (&watches.data, SetWatch::Data, WatchKind::Data),
            (&watches.exist, SetWatch::Exist, WatchKind::Data),
            (&watches.child, SetWatch::Child, WatchKind::Child),
        ];
        for (paths, set_watch, kind) in kinds {
            for path in paths {
                let stat = self.state.tree.node(path).map(|znode| znode.stat());
                match missed(set_watch, stat.as_ref(), watches.relative_zxid) {
                    Some(event) => encode_event(out, &told_late(event, path)),
                    None => self.watches.add(kind, path, conn),
                }
            }
        }
    }
}

fn told_late(kind: EventKind, path: &str) -> WatchEvent {
    jute::WatchEvent { kind, path: path.to_string(), zxid: NO_ZXID }
}

/// Whoever may not administer a znode sees whom a digest belongs to, and not the digest (CVE-2019-0201).
fn masked(acl: &Acl) -> Acl {
    let mut masked = acl.clone();
    if masked.id.scheme == "digest" {
        let user = masked.id.id.split(':').next().unwrap_or_default();
        masked.id.id = format!("{user}:x");
    }
    masked
}
