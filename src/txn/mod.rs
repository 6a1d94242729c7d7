//! What goes into the log: transactions, as `proto/txn.proto` defines them. Pure.

#[allow(missing_docs, clippy::all)]
#[rustfmt::skip]
mod generated;

use bytes::{Buf, Bytes};
use prost::Message;
use thiserror::Error;

pub use generated::*;

use crate::ids::SessionId;
use crate::jute;

/// Bytes that are no transaction.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum TxnError {
    /// not the protobuf message
    #[error("not a transaction: {0}")]
    Malformed(#[from] prost::DecodeError),
    /// nothing to do in it; a kind of transaction of a later version looks like this
    #[error("a transaction without content, or of a kind that this version does not know")]
    NoBody,
    /// the same of one operation
    #[error("operation {0} has no content, or is of a kind that this version does not know")]
    NoOp(usize),
}

impl Txn {
    /// Reads what `encode_to_vec` wrote. From [`Bytes`], data is not copied.
    pub fn from_bytes(bytes: impl Buf) -> Result<Txn, TxnError> {
        let txn = Txn::decode(bytes)?;
        if txn.body.is_none() {
            return Err(TxnError::NoBody);
        }
        if let Some(n) = txn.ops().iter().position(|op| op.op.is_none()) {
            return Err(TxnError::NoOp(n));
        }
        Ok(txn)
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
    fn a_transaction_of_an_unknown_kind_is_refused() {
        assert_eq!(Txn::from_bytes(&txn(None).encode_to_vec()[..]), Err(TxnError::NoBody));
        let ops = Ops { ops: vec![Op::delete("/a".into()), Op::default()] };
        let bytes = txn(Some(txn::Body::Ops(ops))).encode_to_vec();
        assert_eq!(Txn::from_bytes(&bytes[..]), Err(TxnError::NoOp(1)));
    }

    #[test]
    fn damaged_bytes_are_refused() {
        let bytes =
            txn(Some(txn::Body::CloseSession(CloseSession { paths: vec!["/a".into()] }))).encode_to_vec();
        assert!(matches!(Txn::from_bytes(&bytes[..bytes.len() - 1]), Err(TxnError::Malformed(_))));
    }
}
