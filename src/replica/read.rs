//! Requests that change nothing but watches: every server answers them from its own state. The answer is written
//! straight into a connection's output.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::Replica;
use crate::ids::{ConnId, Xid, Zxid};
use crate::jute::{
    self, Acl, AddWatchMode, AuthId, ErrorCode, EventKind, ListFilter, ReadOp, ReadResult, Request, Response,
    SetWatches, WatchEvent, WatcherType, encode_acl_reply, encode_children_reply, encode_data_reply,
    encode_empty_reply, encode_error_reply, encode_event, encode_reply, encode_stat_reply, perms,
};
use crate::mutants::{Mutant, has};
use crate::tree::{Znode, path};
use crate::watch::{SetWatch, WatchKind, missed};

/// The zxid in the header of an event that no transaction fired.
const NO_ZXID: Zxid = Zxid(u64::MAX);

impl Replica {
    /// True for requests that [`Replica::read`] answers.
    pub fn is_read(request: &Request<'_>) -> bool {
        use Request::*;
        matches!(
            request,
            Exists { .. }
                | GetData { .. }
                | GetAcl { .. }
                | GetChildren { .. }
                | MultiRead(_)
                | GetEphemerals { .. }
                | GetAllChildrenNumber { .. }
                | WhoAmI
                | FilteredList { .. }
                | SetWatches(_)
                | AddWatch { .. }
                | CheckWatches { .. }
                | RemoveWatches { .. }
        )
    }

    /// True for reads that leave a watch or take one away, for which [`Replica::read_and_watch`] must be used.
    pub fn changes_watches(request: &Request<'_>) -> bool {
        match request {
            Request::Exists { watch, .. }
            | Request::GetData { watch, .. }
            | Request::GetChildren { watch, .. }
            | Request::FilteredList { watch, .. } => *watch,
            Request::SetWatches(_) | Request::AddWatch { .. } | Request::RemoveWatches { .. } => true,
            _ => false,
        }
    }

    /// Answers a read. Watches it asks for are not set.
    ///
    /// # Panics
    /// If it is no read, or one that is about changing watches.
    pub fn read(&self, conn: ConnId, auth: &[AuthId], request: &Request<'_>, xid: Xid, out: &mut BytesMut) {
        if let Err(code) = self.try_read(conn, auth, request, xid, out) {
            encode_error_reply(out, xid, self.state.zxid(), code);
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
        let zxid = self.state.zxid();
        if !self.has_room_for_watches(conn, request) {
            encode_error_reply(out, xid, zxid, ErrorCode::QuotaExceeded);
            // It takes its watches for set, whatever it is answered: it must find another server for them.
            if let Request::SetWatches(_) = request {
                self.drop_conn(conn, "its watches are more than there may be here");
            }
            return;
        }
        let result = match request {
            Request::SetWatches(watches) => {
                self.set_watches(conn, watches, out);
                encode_empty_reply(out, xid, zxid);
                Ok(())
            }
            Request::AddWatch { path, mode } => {
                self.watches.add(kind_of(*mode), path, conn);
                encode_reply(out, xid, zxid, &Response::WatchAdded);
                Ok(())
            }
            Request::RemoveWatches { path, watches } => {
                let is_any = has(Mutant::RemovesOtherKinds);
                let kinds = if is_any { &WatchKind::ALL } else { kinds_of(*watches) };
                if has(Mutant::RemovesOfOthers) {
                    self.watches.remove_of_others(kinds, path, conn);
                }
                let removed = kinds.iter().filter(|kind| self.watches.remove(**kind, path, conn)).count();
                if removed > 0 {
                    encode_empty_reply(out, xid, zxid);
                    Ok(())
                } else {
                    Err(ErrorCode::NoWatcher)
                }
            }
            _ => {
                let result = self.try_read(conn, auth, request, xid, out);
                self.watch(conn, request, result);
                result
            }
        };
        if let Err(code) = result {
            encode_error_reply(out, xid, zxid, code);
        }
    }

    /// False if the watches that a request may leave would be too many. One that is there already is counted again: to
    /// look for each of them first would cost more than it is worth.
    fn has_room_for_watches(&self, conn: ConnId, request: &Request<'_>) -> bool {
        let more = match request {
            Request::SetWatches(watches) => watches.len(),
            request => usize::from(!matches!(request, Request::RemoveWatches { .. })),
        };
        let fits = |now: usize, most: usize| most == 0 || more == 0 || now + more <= most;
        fits(self.watches.counts().watches, self.config.watches_max)
            && fits(self.watches.count_of(conn), self.config.watches_per_conn_max)
    }

    /// Leaves the watch that a read asks for.
    fn watch(&mut self, conn: ConnId, request: &Request<'_>, result: Result<(), ErrorCode>) {
        match (request, result) {
            (Request::Exists { path, watch: true }, Ok(()) | Err(ErrorCode::NoNode))
            | (Request::GetData { path, watch: true }, Ok(())) => {
                self.watches.add(WatchKind::Data, path, conn)
            }
            (
                Request::GetChildren { path, watch: true, .. }
                | Request::FilteredList { path, watch: true, .. },
                Ok(()),
            ) => {
                self.watches.add(WatchKind::Child, path, conn);
            }
            _ => {}
        }
    }

    /// The client of a connection has proved to be someone: its watches may tell what that one may read.
    pub fn identify(&mut self, conn: ConnId, identities: &Arc<[AuthId]>) {
        self.clients.identify(conn, identities);
    }

    fn try_read(
        &self,
        conn: ConnId,
        auth: &[AuthId],
        request: &Request<'_>,
        xid: Xid,
        out: &mut BytesMut,
    ) -> Result<(), ErrorCode> {
        let zxid = self.state.zxid();
        match request {
            Request::GetData { path, .. } => {
                let znode = self.readable(path, perms::READ, auth)?;
                let stat = znode.stat();
                match self.listed(path, stat) {
                    Some((text, stat)) => encode_data_reply(out, xid, zxid, Some(&text), &stat),
                    None => encode_data_reply(out, xid, zxid, znode.data().as_deref(), &stat),
                }
            }
            // The one read for which ZooKeeper looks at the path before it looks for the znode.
            Request::Exists { path, .. } if path.contains('\0') => return Err(ErrorCode::BadArguments),
            Request::Exists { path, .. } => {
                let znode = self.readable(path, perms::READ, auth)?;
                encode_stat_reply(out, xid, zxid, &self.shown_stat(path, znode.stat()));
            }
            Request::GetChildren { path, with_stat, .. } => {
                let znode = self.readable(path, perms::READ, auth)?;
                let stat = with_stat.then(|| self.shown_stat(path, znode.stat()));
                let children: Vec<&str> = znode.children().collect();
                encode_children_reply(out, xid, zxid, children.into_iter(), stat.as_ref());
            }
            Request::FilteredList { path, filter, .. } => {
                let znode = self.readable(path, perms::READ, auth)?;
                let children: Vec<&str> = znode.children_of_kind(kind_of_children(*filter)).collect();
                encode_children_reply(out, xid, zxid, children.into_iter(), Some(&znode.stat()));
            }
            Request::GetAcl { path } => {
                let znode = self.readable(path, perms::READ | perms::ADMIN, auth)?;
                let may_see = znode.permits(perms::ADMIN, auth, &self.config.acl_rules);
                let acl: Vec<Acl> =
                    znode.acl().iter().map(|acl| if may_see { acl.clone() } else { masked(acl) }).collect();
                encode_acl_reply(out, xid, zxid, &acl, &self.shown_stat(path, znode.stat()));
            }
            Request::MultiRead(ops) => {
                encode_reply(out, xid, zxid, &Response::MultiRead(self.read_all(auth, ops)?));
            }
            Request::GetAllChildrenNumber { path } => {
                let below = self.readable(path, perms::READ, auth)?.num_descendants();
                // By its other name ZooKeeper counts the root as well.
                let number = below + u32::from(path.is_empty());
                encode_reply(out, xid, zxid, &Response::AllChildrenNumber(number as i32));
            }
            Request::GetEphemerals { prefix } => {
                encode_reply(out, xid, zxid, &Response::Ephemerals(self.ephemerals(conn, *prefix)));
            }
            Request::WhoAmI => {
                let users = auth.iter().map(|identity| self.without_secret(identity));
                encode_reply(out, xid, zxid, &Response::WhoAmI(users.collect()));
            }
            Request::CheckWatches { path, watches } => {
                let mut kinds = kinds_of(*watches).iter();
                if !kinds.any(|kind| self.watches.contains(*kind, path, conn)) {
                    return Err(ErrorCode::NoWatcher);
                }
                encode_empty_reply(out, xid, zxid);
            }
            _ => panic!("not a read: {request:?}"),
        }
        Ok(())
    }

    /// Each operation by itself. What all of them find must go into one reply, for which there is a limit: beyond it
    /// nothing is answered.
    fn read_all(&self, auth: &[AuthId], ops: &[ReadOp<'_>]) -> Result<Vec<ReadResult>, ErrorCode> {
        let (mut results, mut bytes) = (Vec::new(), 0);
        for op in ops {
            let result = self.read_one(auth, op).unwrap_or_else(ReadResult::Error);
            bytes += result.wire_bytes();
            if bytes > self.config.limits.frame_bytes_max {
                return Err(ErrorCode::MarshallingError);
            }
            results.push(result);
        }
        Ok(results)
    }

    fn read_one(&self, auth: &[AuthId], op: &ReadOp<'_>) -> Result<ReadResult, ErrorCode> {
        match op {
            ReadOp::GetData { path } => {
                let znode = self.readable(path, perms::READ, auth)?;
                let stat = znode.stat();
                Ok(match self.listed(path, stat) {
                    Some((text, stat)) => ReadResult::Data { data: Some(text), stat },
                    None => ReadResult::Data {
                        data: znode.data().map(|data| Bytes::copy_from_slice(&data)),
                        stat,
                    },
                })
            }
            ReadOp::GetChildren { path } => {
                let children = self.readable(path, perms::READ, auth)?.children();
                Ok(ReadResult::Children(children.map(str::to_owned).collect()))
            }
        }
    }

    /// Of the session on this connection. ZooKeeper looks at the beginning of the path, be it in the middle of a name.
    fn ephemerals(&self, conn: ConnId, prefix: Option<&str>) -> Vec<String> {
        let Some(session) = self.clients.get(conn).and_then(|conn| conn.session) else { return Vec::new() };
        let mut paths = self.state.tree.ephemerals(session.id);
        let is_blank = |prefix: &str| matches!(prefix.trim_matches(|c| c <= ' '), "" | "/");
        if let Some(prefix) = prefix.filter(|prefix| !is_blank(prefix)) {
            paths.retain(|path| path.starts_with(prefix));
        }
        paths
    }

    /// Who somebody is: of a digest the user, as elsewhere an identity is no secret. A user of SASL is nobody where the
    /// scheme is not configured, as in ZooKeeper.
    fn without_secret(&self, identity: &AuthId) -> AuthId {
        let mut shown = identity.clone();
        match &*shown.scheme {
            "digest" => shown.id = shown.id.split(':').next().unwrap_or_default().to_owned(),
            "sasl" if !self.config.acl_rules.has_sasl => shown.id.clear(),
            _ => {}
        }
        shown
    }

    fn readable(&self, path: &str, perm: i32, auth: &[AuthId]) -> Result<Znode<'_>, ErrorCode> {
        let tree = match &self.keeper {
            Some(keeper) if path::is_of_keeper(path) => keeper,
            _ => &self.state.tree,
        };
        let znode = tree.node(path).ok_or(ErrorCode::NoNode)?;
        let permitted = znode.permits(perm, auth, &self.config.acl_rules);
        if permitted { Ok(znode) } else { Err(ErrorCode::NoAuth) }
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
                    Some(event) => {
                        encode_event(out, &told_late(event, path));
                        if has(Mutant::WatchResumedAndTold) {
                            self.watches.add(kind, path, conn);
                        }
                    }
                    None => self.watches.add(kind, path, conn),
                }
            }
        }
        if has(Mutant::StayingNotResumed) {
            return;
        }
        // Of these nothing is told late: whoever has one reads for itself what it missed.
        for path in &watches.persistent {
            self.watches.add(WatchKind::Persistent, path, conn);
        }
        for path in &watches.persistent_recursive {
            self.watches.add(WatchKind::PersistentRecursive, path, conn);
        }
    }
}

/// Whether the children are to be ephemerals; `None`: either.
fn kind_of_children(filter: ListFilter) -> Option<bool> {
    match filter {
        ListFilter::All => None,
        ListFilter::Persistent => Some(false),
        ListFilter::Ephemeral => Some(true),
    }
}

fn kind_of(mode: AddWatchMode) -> WatchKind {
    match mode {
        AddWatchMode::Persistent => WatchKind::Persistent,
        AddWatchMode::PersistentRecursive => WatchKind::PersistentRecursive,
    }
}

fn kinds_of(watches: WatcherType) -> &'static [WatchKind] {
    match watches {
        WatcherType::Data => &[WatchKind::Data],
        WatcherType::Children => &[WatchKind::Child],
        WatcherType::Persistent => &[WatchKind::Persistent],
        WatcherType::PersistentRecursive => &[WatchKind::PersistentRecursive],
        WatcherType::Any => &WatchKind::ALL,
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
