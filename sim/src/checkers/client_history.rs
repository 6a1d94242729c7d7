//! Every answer is the one that a plain model gives which does the transactions in the order of their zxids: results,
//! Stats, errors, reads; nothing is done twice, and nothing that nobody asked for.

use bytes::Bytes;
use zabra::ids::Zxid;
use zabra::jute::{ErrorCode, MultiResult, Response, Stat};
use zabra::txn::{Txn, op};

use super::{Verdict, unless};
use crate::history::Entry;
use crate::model::{Author, Model, is_refused};
use crate::op::{Op, Read};

pub const NAME: &str = "client history";

/// A request became a transaction, for which the model has this answer.
pub fn decided(entry: &Entry, zxid: Zxid, txn: &Txn, expected: &Result<Response, ErrorCode>) -> Verdict {
    unless(entry.decided.is_none(), || format!("{} was done twice, at {zxid} again: {entry:?}", entry.op))?;
    unless(expected.is_ok() && !is_refused(expected), || {
        format!("{} was done at {zxid}, but fails there: {expected:?}", entry.op)
    })?;
    let expected = expected.as_ref().expect("it was looked at just now");
    unless(is_done_by(&entry.op, expected, txn), || {
        format!("{} was asked for; at {zxid} {txn:?} was done instead of {expected:?}", entry.op)
    })
}

fn is_done_by(op: &Op, expected: &Response, txn: &Txn) -> bool {
    match (op, expected) {
        // The znodes that go with the session are compared there.
        (Op::Close, _) => true,
        (Op::Multi(ops), Response::Multi(results)) => {
            let done = txn.ops();
            ops.len() == done.len()
                && ops.iter().zip(results).zip(done).all(|((op, result), done)| is_part(op, result, done))
        }
        (single, response) => {
            let result = match response.clone() {
                Response::Create { path } => MultiResult::Create { path },
                Response::Create2 { path, stat } => MultiResult::Create2 { path, stat },
                Response::Stat(stat) => MultiResult::SetData(stat),
                _ => MultiResult::Delete,
            };
            matches!(txn.ops(), [only] if is_part(single, &result, only))
        }
    }
}

fn is_part(op: &Op, result: &MultiResult, done: &zabra::txn::Op) -> bool {
    let is = |given: &Option<Bytes>, data: &str| given.as_deref() == Some(data.as_bytes());
    match (op, result, &done.op) {
        (
            Op::Create { data, .. },
            MultiResult::Create { path } | MultiResult::Create2 { path, .. },
            Some(op::Op::Create(create)),
        ) => create.path == *path && is(&create.data, data),
        (Op::Delete { path, .. }, _, Some(op::Op::Delete(delete))) => delete.path == *path,
        (Op::Check { path, .. }, _, Some(op::Op::Check(check))) => check.path == *path,
        (Op::Set { path, data, .. }, MultiResult::SetData(stat), Some(op::Op::SetData(set))) => {
            set.path == *path && set.version == stat.version && is(&set.data, data)
        }
        (Op::SetAcl { path, .. }, MultiResult::SetData(stat), Some(op::Op::SetAcl(set))) => {
            set.path == *path && set.aversion == stat.aversion
        }
        _ => false,
    }
}

/// A client is answered, at this zxid.
pub fn replied(entry: &Entry, zxid: Zxid, result: &Result<Response, ErrorCode>, model: &Model) -> Verdict {
    let is_done = result.is_ok() && !is_refused(result) && entry.op.is_write();
    if is_done {
        let deserved = entry.decided.as_ref().map(|(at, response)| (*at, Ok(response.clone())));
        return unless(deserved == Some((zxid, result.clone())), || {
            format!("{} is answered at {zxid} with {result:?}, but deserves {deserved:?}", entry.op)
        });
    }
    unless(entry.decided.is_none(), || {
        format!("{} is answered with {result:?}, but was done at {:?}", entry.op, entry.decided)
    })?;
    let author = Author { session: entry.session, zxid: Zxid::ZERO, time_ms: 0 };
    let (expected, _) = model.judge(&entry.op, zxid, author);
    unless(expected == *result, || {
        format!("{} is answered at {zxid} with {result:?}, but the model says {expected:?}", entry.op)
    })
}

/// A client reads, from a server that is at this zxid.
pub fn read(read: &Read, zxid: Zxid, result: &Result<Response, ErrorCode>, model: &Model) -> Verdict {
    let (path, expected) = match read {
        Read::Resume(_) => return unless(result.is_ok(), || format!("setWatches is refused: {result:?}")),
        Read::Data { path, .. } | Read::Exists { path, .. } | Read::Children { path, .. } => {
            (path, model.node(path, zxid).map(|node| (node.data.clone(), node.stat)))
        }
    };
    let is_right = match (read, result, &expected) {
        (Read::Data { .. }, Ok(Response::Data { data, stat }), Some((held, known))) => {
            data.as_ref() == Some(held) && stat == known
        }
        (Read::Exists { .. }, Ok(Response::Stat(stat)), Some((_, known))) => stat == known,
        (Read::Children { .. }, Ok(Response::Children { children, stat: Some(stat) }), Some((_, known))) => {
            let names = model.children(path, zxid);
            children.len() == names.len()
                && children.iter().all(|name| names.contains(name.as_str()))
                && stat == known
        }
        (_, Err(ErrorCode::NoNode), None) => true,
        _ => false,
    };
    unless(is_right, || format!("{read:?} at {zxid} is answered with {result:?}, not {expected:?}"))
}

/// Znodes that every tree has: the root, and what the ensemble tells of itself.
const FIXED: usize = 4;

/// A whole tree, with `len` znodes, at the end.
pub fn tree_is(model: &Model, len: usize, held: impl Fn(&str) -> Option<(Option<Vec<u8>>, Stat)>) -> Verdict {
    let mut count = FIXED;
    for (path, node) in model.all() {
        count += 1;
        let found = held(path);
        unless(found == Some((Some(node.data.to_vec()), node.stat)), || {
            format!("{path} is {found:?}, and should be {node:?}")
        })?;
    }
    unless(len == count, || format!("there are {len} znodes, and should be {count}"))
}

#[cfg(test)]
mod tests {
    use zabra::ids::SessionId;
    use zabra::txn::{Ops, txn::Body};

    use super::*;
    use crate::history::{Asker, History};

    const SESSION: SessionId = SessionId(1);

    fn model() -> Model {
        Model::with_a(SESSION)
    }

    fn entry(op: Op) -> Entry {
        let mut history = History::default();
        history.invoke(Asker { client: 0, conn: 1, session: SESSION, xid: 1, now_ms: 0 }, op);
        history.entries.remove(0)
    }

    fn set(data: &'static str, version: i32) -> Txn {
        let set = zabra::txn::SetData {
            path: "/a".into(),
            data: Some(Bytes::from_static(data.as_bytes())),
            version,
        };
        let ops = vec![zabra::txn::Op { op: Some(op::Op::SetData(set)) }];
        Txn { body: Some(Body::Ops(Ops { ops })), ..Txn::default() }
    }

    #[test]
    fn what_is_done_is_what_was_asked_for_and_once() {
        let (model, mut entry) = (model(), entry(Op::set("/a", "y")));
        let author = Author { session: SESSION, zxid: Zxid(3), time_ms: 0 };
        let (expected, _) = model.judge(&entry.op, Zxid(2), author);
        assert_eq!(decided(&entry, Zxid(3), &set("y", 1), &expected), Ok(()));
        decided(&entry, Zxid(3), &set("z", 1), &expected).expect_err("other data");
        decided(&entry, Zxid(3), &set("y", 2), &expected).expect_err("another version");
        let failing = Err(ErrorCode::BadVersion);
        decided(&entry, Zxid(3), &set("y", 1), &failing).expect_err("it fails there");
        entry.decided = Some((Zxid(3), expected.clone().expect("it is done")));
        decided(&entry, Zxid(4), &set("y", 1), &expected).expect_err("twice");
        assert_eq!(replied(&entry, Zxid(3), &expected, &model), Ok(()));
        replied(&entry, Zxid(4), &expected, &model).expect_err("another zxid");
        replied(&entry, Zxid(3), &failing, &model).expect_err("it was done");
        replied(&entry, Zxid(3), &Ok(Response::Stat(Stat::default())), &model).expect_err("another Stat");
    }

    #[test]
    fn an_error_and_a_read_are_those_of_the_model_at_that_zxid() {
        let model = model();
        let refused = entry(Op::Set { path: "/a".into(), data: "y".into(), version: 7 });
        assert_eq!(replied(&refused, Zxid(2), &Err(ErrorCode::BadVersion), &model), Ok(()));
        replied(&refused, Zxid(1), &Err(ErrorCode::BadVersion), &model).expect_err("it was not there");
        let stat = model.node("/a", Zxid(2)).expect("there").stat;
        let data =
            |data: &'static str| Ok(Response::Data { data: Some(Bytes::from_static(data.as_bytes())), stat });
        let of = Read::Data { path: "/a".into(), watch: false };
        assert_eq!(read(&of, Zxid(2), &data("x"), &model), Ok(()));
        read(&of, Zxid(2), &data("y"), &model).expect_err("other data");
        read(&of, Zxid(1), &data("x"), &model).expect_err("too early");
        read(&of, Zxid(2), &Err(ErrorCode::NoNode), &model).expect_err("it is there");
    }

    #[test]
    fn a_tree_that_lacks_something_or_has_too_much_is_found() {
        let model = model();
        let stat = model.node("/a", Zxid(2)).expect("there").stat;
        let held = |path: &str| (path == "/a").then(|| (Some(b"x".to_vec()), stat));
        assert_eq!(tree_is(&model, FIXED + 1, held), Ok(()));
        tree_is(&model, FIXED + 2, held).expect_err("another znode");
        tree_is(&model, FIXED, |_| None).expect_err("it is lost");
    }
}
