//! What goes into the log: transactions, as `proto/txn.proto` defines them. Pure.

#[allow(missing_docs, clippy::all)]
#[rustfmt::skip]
mod generated;

use bytes::{Buf, Bytes};
use prost::Message;
use thiserror::Error;

pub use generated::*;

use crate::ids::{SessionId, Version};
use crate::jute;

/// The field `reconfigures`, as protobuf writes it: number 15, a varint, true.
const RECONFIGURES: [u8; 2] = [15 << 3, 1];

/// Bytes that are no transaction.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum TxnError {
    /// not the protobuf message
    #[error("not a transaction: {0}")]
    Malformed(#[from] prost::DecodeError),
    /// of a later version
    #[error("a transaction that needs version {0}, while this server speaks {newest} at most", newest = Version::NEWEST)]
    Newer(u32),
    /// nothing to do in it; a kind of transaction of a later version looks like this
    #[error("a transaction without content, or of a kind that this version does not know")]
    NoBody,
    /// the same of one operation
    #[error("operation {0} has no content, or is of a kind that this version does not know")]
    NoOp(usize),
}

impl Txn {
    /// The transaction as the log and the other servers get it. `version` is what a server must speak to read it.
    pub fn into_bytes(mut self, version: Version) -> Bytes {
        if version > Version::OLDEST {
            self.version = version.0;
            self.body = match self.body {
                Some(txn::Body::Ops(ops)) => {
                    self.later_ops = Some(ops);
                    None
                }
                body => body,
            };
        }
        // The mark of a reconfiguration stands before everything else.
        if std::mem::take(&mut self.reconfigures) {
            [&RECONFIGURES[..], &self.encode_to_vec()].concat().into()
        } else {
            self.encode_to_vec().into()
        }
    }

    /// Reads what [`Txn::into_bytes`] made. From [`Bytes`], data is not copied.
    pub fn from_bytes(bytes: impl Buf) -> Result<Txn, TxnError> {
        let mut txn = Txn::decode(bytes)?;
        if txn.version > Version::NEWEST.0 {
            return Err(TxnError::Newer(txn.version));
        }
        if let Some(ops) = txn.later_ops.take() {
            txn.body = Some(txn::Body::Ops(ops));
        }
        if txn.body.is_none() {
            return Err(TxnError::NoBody);
        }
        if let Some(n) = txn.ops().iter().position(|op| op.op.is_none()) {
            return Err(TxnError::NoOp(n));
        }
        Ok(txn)
    }

    /// What a server must speak to read it.
    pub fn needs(&self) -> Version {
        Version(self.version).max(Version::OLDEST)
    }

    /// True if these are the bytes of a reconfiguration; looks at the first ones only.
    pub fn begins_as_reconfiguration(bytes: &[u8]) -> bool {
        bytes.starts_with(&RECONFIGURES)
    }

    /// The operations; none if the transaction is about a session, or refuses a request.
    pub fn ops(&self) -> &[Op] {
        match &self.body {
            Some(txn::Body::Ops(ops)) => &ops.ops,
            _ => &[],
        }
    }
}

impl Op {
    /// A create; `parent_cversion` counts the children ever created, this one included.
    pub fn create(
        path: String,
        data: impl Into<Option<Bytes>>,
        acl: Vec<Acl>,
        owner: SessionId,
        parent_cversion: i32,
    ) -> Op {
        let data = data.into();
        op::Op::Create(Create { path, data, acl, ephemeral_owner: owner.0, parent_cversion }).into()
    }

    /// A delete.
    pub fn delete(path: String) -> Op {
        op::Op::Delete(Delete { path }).into()
    }

    /// A setData with the version after it.
    pub fn set_data(path: String, data: impl Into<Option<Bytes>>, version: i32) -> Op {
        op::Op::SetData(SetData { path, data: data.into(), version }).into()
    }

    /// A setACL with the ACL version after it.
    pub fn set_acl(path: String, acl: Vec<Acl>, aversion: i32) -> Op {
        op::Op::SetAcl(SetAcl { path, acl, aversion }).into()
    }

    /// A check that has passed.
    pub fn check(path: String) -> Op {
        op::Op::Check(Check { path }).into()
    }

    /// True if it sets the data of this znode.
    pub fn is_set_data_of(&self, path: &str) -> bool {
        matches!(&self.op, Some(op::Op::SetData(set)) if set.path == path)
    }

    /// The path it is about; empty if it has no content.
    pub fn path(&self) -> &str {
        match &self.op {
            Some(op::Op::Create(create)) => &create.path,
            Some(op::Op::Delete(delete)) => &delete.path,
            Some(op::Op::SetData(set)) => &set.path,
            Some(op::Op::SetAcl(set)) => &set.path,
            Some(op::Op::Check(check)) => &check.path,
            Some(op::Op::DeleteAll(all)) => all.paths.last().map_or("", String::as_str),
            Some(op::Op::Pass(pass)) => &pass.path,
            None => "",
        }
    }
}

impl From<op::Op> for Op {
    fn from(op: op::Op) -> Op {
        Op { op: Some(op) }
    }
}

impl From<&jute::Acl> for Acl {
    fn from(acl: &jute::Acl) -> Acl {
        Acl { perms: acl.perms, scheme: acl.id.scheme.clone(), id: acl.id.id.clone() }
    }
}

impl From<&Acl> for jute::Acl {
    fn from(acl: &Acl) -> jute::Acl {
        jute::Acl { perms: acl.perms, id: jute::AuthId { scheme: acl.scheme.clone(), id: acl.id.clone() } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn txn(body: Option<txn::Body>) -> Txn {
        Txn { session_id: 7, xid: -3, time_ms: 1_700_000_000_000, body, ..Txn::default() }
    }

    #[test]
    fn a_transaction_survives_its_encoding() {
        let acl = vec![Acl { perms: 31, scheme: "digest".into(), id: "me:x".into() }];
        let ops = vec![
            Op::create("/a".into(), Bytes::from_static(b"data"), acl.clone(), SessionId(7), 1),
            Op::set_data("/a".into(), Bytes::new(), 1),
            Op::set_data("/a".into(), None::<Bytes>, 2),
            Op::set_acl("/a".into(), acl, 1),
            Op::check("/a".into()),
            Op::delete("/a".into()),
        ];
        assert!(ops.iter().all(|op| op.path() == "/a"));
        for body in [
            txn::Body::Ops(Ops { ops }),
            txn::Body::Ops(Ops::default()),
            txn::Body::CreateSession(CreateSession::default()),
            txn::Body::CloseSession(CloseSession { paths: vec!["/a".into()] }),
            txn::Body::Error(ErrorTxn { code: -101, failed_op: Some(0) }),
        ] {
            let txn = txn(Some(body));
            assert_eq!(Txn::from_bytes(Bytes::from(txn.encode_to_vec())), Ok(txn));
        }
    }

    #[test]
    fn a_reconfiguration_shows_at_its_first_byte() {
        let body = Some(txn::Body::Ops(Ops { ops: vec![Op::set_data("/a".into(), Bytes::new(), 1)] }));
        let reconfiguration = Txn { reconfigures: true, ..txn(body.clone()) };
        let bytes = reconfiguration.clone().into_bytes(Version::OLDEST);
        assert!(Txn::begins_as_reconfiguration(&bytes));
        assert_eq!(Txn::from_bytes(bytes), Ok(reconfiguration));
        let bytes = txn(body).into_bytes(Version::OLDEST);
        assert!(!Txn::begins_as_reconfiguration(&bytes) && !Txn::begins_as_reconfiguration(&[]));
    }

    #[test]
    fn a_transaction_of_an_unknown_kind_is_refused() {
        assert_eq!(Txn::from_bytes(&txn(None).encode_to_vec()[..]), Err(TxnError::NoBody));
        let ops = Ops { ops: vec![Op::delete("/a".into()), Op::default()] };
        let bytes = txn(Some(txn::Body::Ops(ops))).encode_to_vec();
        assert_eq!(Txn::from_bytes(&bytes[..]), Err(TxnError::NoOp(1)));
    }

    #[test]
    fn an_older_server_finds_nothing_in_a_transaction_that_it_would_misread() {
        let ops = Ops { ops: vec![Op::delete("/a".into())] };
        let made = txn(Some(txn::Body::Ops(ops)));
        assert_eq!(made.clone().into_bytes(Version::OLDEST), made.encode_to_vec(), "as ever");
        let bytes = made.clone().into_bytes(Version(3));
        assert_eq!(Txn::decode(bytes.clone()).unwrap().body, None, "that is what version 2 sees");
        let read = Txn::from_bytes(bytes).unwrap();
        assert_eq!((read.needs(), read.ops()), (Version(3), made.ops()));
        let newer = made.into_bytes(Version(Version::NEWEST.0 + 1));
        assert_eq!(Txn::from_bytes(newer), Err(TxnError::Newer(Version::NEWEST.0 + 1)));
    }

    #[test]
    fn damaged_bytes_are_refused() {
        let bytes =
            txn(Some(txn::Body::CloseSession(CloseSession { paths: vec!["/a".into()] }))).encode_to_vec();
        assert!(matches!(Txn::from_bytes(&bytes[..bytes.len() - 1]), Err(TxnError::Malformed(_))));
    }
}
