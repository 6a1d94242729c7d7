//! What an audit log is told: who changed what, and who was not allowed to, as ZooKeeper's `AuditHelper` sees it.

use std::sync::Arc;

use super::io::{AuditEntry, Audited, ForwardedRequest};
use super::{Output, Replica};
use crate::ids::SessionId;
use crate::jute::{
    Acl, Create, CreateMode, ErrorCode, KeeperOp, MultiOp, MultiResult, Request, Response, decode_request,
    perms,
};
use crate::tree::path;
use crate::txn::txn::Body;
use crate::txn::{Txn, op};

impl Replica {
    /// A request of a client of this server came to its end, be the client gone or not.
    pub(super) fn audit_request(
        &mut self,
        request: &ForwardedRequest,
        outcome: &Result<Response, ErrorCode>,
    ) {
        let entries = entries(request, outcome);
        if !entries.is_empty() {
            let identities = Arc::clone(&request.auth);
            self.output(Output::Audit(Audited { session_id: request.session_id, identities, entries }));
        }
    }

    /// Ephemerals went with their session: every server tells it, as in ZooKeeper.
    pub(super) fn audit_session_end(&mut self, txn: &Txn) {
        let paths: Vec<&str> = match &txn.body {
            Some(Body::CloseSession(close)) => close.paths.iter().map(|path| &**path).collect(),
            // A session with very many of them is closed in several transactions; what is deleted for no request
            // otherwise is so for no session either.
            Some(Body::Ops(ops)) if txn.request_id == 0 && txn.session_id != 0 => {
                let deleted = ops.ops.iter().filter_map(|op| match &op.op {
                    Some(op::Op::Delete(delete)) => Some(&*delete.path),
                    _ => None,
                });
                deleted.collect()
            }
            _ => Vec::new(),
        };
        if paths.is_empty() {
            return;
        }
        let operation = "ephemeralZNodeDeletionOnSessionCloseOrExpire";
        let entries = paths.into_iter().map(|path| AuditEntry::of(operation, true).on(path)).collect();
        let (session_id, identities) = (SessionId(txn.session_id), Arc::from([]));
        self.output(Output::Audit(Audited { session_id, identities, entries }));
    }
}

fn entries(request: &ForwardedRequest, outcome: &Result<Response, ErrorCode>) -> Vec<AuditEntry> {
    let Ok(decoded) = decode_request(request.op, &request.body) else { return Vec::new() };
    let succeeded = outcome.is_ok();
    let entry = match (&decoded, outcome) {
        (Request::Create(create), Ok(Response::Create { path } | Response::Create2 { path, .. })) => {
            of_create(create, path, true)
        }
        (Request::Create(create), _) => of_create(create, create.path, false),
        (Request::Delete { path, .. } | Request::Keeper(KeeperOp::RemoveRecursive { path, .. }), _) => {
            AuditEntry::of("delete", succeeded).on(path)
        }
        (Request::SetData { path, .. }, _) => AuditEntry::of("setData", succeeded).on(path),
        (Request::SetAcl { path, acl, .. }, _) => {
            let acl = Some(acl.iter().map(shown).collect::<Vec<_>>().join(","));
            AuditEntry { acl, ..AuditEntry::of("setAcl", succeeded).on(path) }
        }
        (Request::Reconfig(_), Ok(_)) => AuditEntry::of("reconfig", true).on(path::CONFIG),
        (Request::Reconfig(_), Err(_)) => AuditEntry::of("reconfig", false),
        (Request::Multi(ops), Ok(Response::Multi(results)))
            if !results.iter().any(|result| matches!(result, MultiResult::Error(_))) =>
        {
            return ops.iter().zip(results).filter_map(|(op, result)| of_multi(op, result)).collect();
        }
        (Request::Multi(_), _) => AuditEntry::of("multiOperation", false),
        _ => return Vec::new(),
    };
    vec![entry]
}

fn of_create(create: &Create<'_>, path: &str, succeeded: bool) -> AuditEntry {
    let znode_type = CreateMode::try_from(create.flags).ok().map(|mode| match mode {
        CreateMode::Persistent => "persistent",
        CreateMode::Ephemeral => "ephemeral",
        CreateMode::PersistentSequential => "persistent_sequential",
        CreateMode::EphemeralSequential => "ephemeral_sequential",
        CreateMode::Container => "container",
        CreateMode::PersistentWithTtl => "persistent_with_ttl",
        CreateMode::PersistentSequentialWithTtl => "persistent_sequential_with_ttl",
    });
    AuditEntry { znode_type, ..AuditEntry::of("create", succeeded).on(path) }
}

fn of_multi(op: &MultiOp<'_>, result: &MultiResult) -> Option<AuditEntry> {
    Some(match (op, result) {
        (
            MultiOp::Create(create),
            MultiResult::Create { path }
            | MultiResult::Create2 { path, .. }
            | MultiResult::CreateIfNotExists { path },
        ) => of_create(create, path, true),
        (MultiOp::Delete { path, .. } | MultiOp::Keeper(KeeperOp::RemoveRecursive { path, .. }), _) => {
            AuditEntry::of("delete", true).on(path)
        }
        (MultiOp::SetData { path, .. }, _) => AuditEntry::of("setData", true).on(path),
        _ => return None,
    })
}

/// An entry as `scheme:id:perms`. Of a digest not the hash: it is as good as a weak password.
fn shown(acl: &Acl) -> String {
    let id = match &*acl.id.scheme {
        "digest" => format!("{}:x", acl.id.id.split(':').next().unwrap_or_default()),
        _ => acl.id.id.clone(),
    };
    let letters = [
        (perms::CREATE, 'c'),
        (perms::DELETE, 'd'),
        (perms::READ, 'r'),
        (perms::WRITE, 'w'),
        (perms::ADMIN, 'a'),
    ];
    let letters: String = letters.iter().filter(|(perm, _)| acl.perms & perm != 0).map(|(_, c)| c).collect();
    format!("{}:{id}:{letters}", acl.id.scheme)
}

#[cfg(test)]
mod tests {
    use bytes::{Bytes, BytesMut};

    use super::*;
    use crate::jute::{AuthId, CreateOp, encode_request};
    use crate::replica::Standing;

    fn told(request: &Request<'_>, outcome: &Result<Response, ErrorCode>) -> Vec<String> {
        let mut body = BytesMut::new();
        encode_request(request, &mut body);
        let request = ForwardedRequest {
            request_id: 1,
            session_id: SessionId(7),
            generation: 1,
            xid: 1,
            op: request.op(),
            body: Bytes::from(body),
            auth: Arc::from([]),
            standing: Standing::Global,
        };
        entries(&request, outcome).iter().map(|entry| format!("{entry:?}")).collect()
    }

    fn create(path: &str) -> Create<'_> {
        Create { path, data: None, acl: Vec::new(), flags: 3, op: CreateOp::Create }
    }

    #[test]
    fn a_create_is_told_with_its_number_or_with_what_was_asked_for() {
        let request = Request::Create(create("/a-"));
        let made = told(&request, &Ok(Response::Create { path: "/a-7".to_owned() }));
        assert!(made[0].contains("\"/a-7\"") && made[0].contains("ephemeral_sequential"), "{made:?}");
        let refused = told(&request, &Err(ErrorCode::NoAuth));
        assert!(refused[0].contains("\"/a-\"") && refused[0].contains("succeeded: false"), "{refused:?}");
    }

    #[test]
    fn a_multi_is_told_by_its_operations_or_as_one_that_failed() {
        let request = Request::Multi(vec![
            MultiOp::Create(create("/a")),
            MultiOp::Check { path: "/a", version: 0 },
            MultiOp::Delete { path: "/b", version: 0 },
        ]);
        let results =
            vec![MultiResult::Create { path: "/a".to_owned() }, MultiResult::Check, MultiResult::Delete];
        assert_eq!(told(&request, &Ok(Response::Multi(results))).len(), 2);
        let failed = vec![MultiResult::Error(ErrorCode::NoNode); 3];
        let failed = told(&request, &Ok(Response::Multi(failed)));
        assert!(failed.len() == 1 && failed[0].contains("multiOperation"), "{failed:?}");
    }

    #[test]
    fn what_clickhouse_asks_for_is_told_as_creates_and_deletes() {
        let made = || Create { op: CreateOp::IfNotExists, ..create("/a") };
        let removal = KeeperOp::RemoveRecursive { path: "/b", znodes_max: 9 };
        let check = KeeperOp::CheckNotExists { path: "/c", version: -1 };
        let of = |request: Request<'_>, outcome| {
            let told = told(&request, &outcome).pop().expect("it is told");
            (told.contains("\"delete\""), told.contains("\"/b\""), told.contains("succeeded: true"))
        };
        assert_eq!(of(Request::Keeper(removal), Ok(Response::Empty)), (true, true, true));
        assert_eq!(of(Request::Keeper(removal), Err(ErrorCode::NotEmpty)), (true, true, false));
        let created = Ok(Response::Create { path: "/a".to_owned() });
        assert_eq!(of(Request::Create(made()), created), (false, false, true));
        assert!(told(&Request::Keeper(check), &Ok(Response::Empty)).is_empty(), "it changes nothing");
        let ops = vec![MultiOp::Keeper(check), MultiOp::Create(made()), MultiOp::Keeper(removal)];
        let results = vec![
            MultiResult::Keeper(check.code()),
            MultiResult::CreateIfNotExists { path: "/a".to_owned() },
            MultiResult::Keeper(removal.code()),
        ];
        let told = told(&Request::Multi(ops), &Ok(Response::Multi(results)));
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].contains("\"create\"") && told[0].contains("\"/a\""), "{told:?}");
        assert!(told[1].contains("\"delete\"") && told[1].contains("\"/b\""), "{told:?}");
    }

    #[test]
    fn an_acl_is_told_without_its_hashes() {
        let acl = |perms, scheme: &str, id: &str| Acl {
            perms,
            id: AuthId { scheme: scheme.to_owned(), id: id.to_owned() },
        };
        let acl = vec![acl(perms::ALL, "digest", "me:hash"), acl(perms::READ, "ip", "::1")];
        let told = told(&Request::SetAcl { path: "/a", acl, version: 0 }, &Ok(Response::Empty));
        assert!(told[0].contains("digest:me:x:cdrwa,ip:::1:r") && !told[0].contains("hash"), "{told:?}");
    }

    #[test]
    fn reads_are_not_told() {
        assert!(told(&Request::Sync { path: None }, &Ok(Response::Empty)).is_empty());
        assert!(told(&Request::CloseSession, &Ok(Response::Empty)).is_empty());
    }
}
