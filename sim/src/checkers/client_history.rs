//! Every answer is the one that a plain model gives which does the transactions in the order of their zxids: results,
//! Stats, errors, reads; nothing is done twice, and nothing that nobody asked for.

use bytes::Bytes;
use zabra::ids::{SessionId, Zxid};
use zabra::jute::{ErrorCode, ListFilter, MultiResult, OpCode, ReadResult, Response, Stat};
use zabra::txn::{ErrorTxn, Txn, op, txn::Body};

use super::{Verdict, unless};
use crate::history::Entry;
use crate::model::{Author, Model, is_refused};
use crate::op::{Keeper, Op, Part, Read, is_at_or_below};

pub const NAME: &str = "client history";

/// A request became a transaction, for which the model has this answer.
pub fn decided(entry: &Entry, zxid: Zxid, txn: &Txn, expected: &Result<Response, ErrorCode>) -> Verdict {
    unless(entry.decided.is_none(), || format!("{} was done twice, at {zxid} again: {entry:?}", entry.op))?;
    let is_right = match (&txn.body, expected) {
        // Of a multi of a session that is over, nobody hears whether it failed at its first operation or as a whole.
        (Some(Body::Error(error)), Err(ErrorCode::SessionExpired)) => {
            error.code == ErrorCode::SessionExpired as i32 && error.failed_op.unwrap_or_default() == 0
        }
        (Some(Body::Error(error)), Err(code)) => *error == ErrorTxn { code: *code as i32, failed_op: None },
        (Some(Body::Error(error)), Ok(Response::Multi(results))) => {
            first_failure(results).as_ref() == Some(error)
        }
        (Some(Body::Error(_)), Ok(_)) | (_, Err(_)) => false,
        (_, Ok(response)) => !is_refused(expected) && is_done_by(&entry.op, response, txn),
    };
    unless(is_right, || {
        format!("{} was asked for; at {zxid} there is {txn:?} instead of {expected:?}", entry.op)
    })
}

/// The operation for which a multi is refused, if it is.
fn first_failure(results: &[MultiResult]) -> Option<ErrorTxn> {
    results.iter().enumerate().find_map(|(index, result)| match result {
        MultiResult::Error(code) if *code != ErrorCode::Ok => {
            Some(ErrorTxn { code: *code as i32, failed_op: u32::try_from(index).ok() })
        }
        _ => None,
    })
}

fn is_done_by(op: &Op, expected: &Response, txn: &Txn) -> bool {
    match (op, expected) {
        // The znodes that go with the session are compared there.
        (Op::Close, _) => true,
        // Its text is compared with what was asked for elsewhere.
        (Op::Reconfig(_), _) => txn.reconfigures,
        (Op::Multi(ops), Response::Multi(results)) => {
            let done = txn.ops();
            ops.len() == done.len()
                && ops.iter().zip(results).zip(done).all(|((op, result), done)| is_part(op, result, done))
        }
        (single, response) => {
            let result = match response.clone() {
                Response::Create { path } if matches!(single, Op::Keeper(_)) => {
                    MultiResult::CreateIfNotExists { path }
                }
                _ if matches!(single, Op::Keeper(_)) => MultiResult::Keeper(OpCode::CheckStat),
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
        (Op::Keeper(op), MultiResult::CreateIfNotExists { .. } | MultiResult::Keeper(_), Some(done)) => {
            is_keeper_part(op, done)
        }
        _ => false,
    }
}

/// What it does to the tree, if anything, the model compares at the next look.
fn is_keeper_part(asked: &Keeper, done: &op::Op) -> bool {
    match (asked, done) {
        (Keeper::CreateIfNotExists { path, data, .. }, op::Op::Create(create)) => {
            create.path == *path && create.data.as_deref() == Some(data.as_bytes())
        }
        (
            Keeper::CreateIfNotExists { path, .. } | Keeper::CheckStat { path, .. },
            op::Op::Check(zabra::txn::Check { path: done }),
        )
        | (Keeper::CheckNotExists { path, .. }, op::Op::Pass(zabra::txn::Pass { path: done })) => {
            path == done
        }
        (Keeper::RemoveRecursive { path, znodes_max }, op::Op::DeleteAll(all)) => {
            let is_right = all.paths.len() <= *znodes_max as usize;
            is_right && all.paths.iter().all(|removed| is_at_or_below(removed, path))
        }
        _ => false,
    }
}

/// A client is answered, at this zxid.
pub fn replied(entry: &Entry, zxid: Zxid, result: &Result<Response, ErrorCode>, model: &Model) -> Verdict {
    if entry.op.is_write() {
        let deserved = &entry.decided;
        let is_right = deserved.as_ref().is_some_and(|(at, deserved)| (at, deserved) == (&zxid, result));
        return unless(is_right, || {
            format!("{} is answered at {zxid} with {result:?}, but deserves {deserved:?}", entry.op)
        });
    }
    // What an older leader proposed in vain is no place in the order.
    unless(model.holds(zxid), || format!("{} is answered at {zxid}, which was never decided", entry.op))?;
    let author = Author { session: entry.session, zxid: Zxid::ZERO, time_ms: 0 };
    let (expected, _) = model.judge(&entry.op, zxid, author);
    unless(expected == *result, || {
        format!("{} is answered at {zxid} with {result:?}, but the model says {expected:?}", entry.op)
    })
}

/// A session reads, from a server that is at this zxid.
pub fn read(
    read: &Read,
    session: SessionId,
    zxid: Zxid,
    result: &Result<Response, ErrorCode>,
    model: &Model,
) -> Verdict {
    let is_right = match (read, result) {
        (Read::Data { path, .. }, Ok(Response::Data { data, stat })) => {
            let node = model.shown(path, zxid);
            node.is_some_and(|node| (Some(&node.data), node.stat) == (data.as_ref(), *stat))
        }
        (Read::Exists { path, .. }, Ok(Response::Stat(stat))) => {
            model.shown(path, zxid).is_some_and(|node| node.stat == *stat)
        }
        (Read::Filtered { path, filter, .. }, Ok(Response::Children { children, stat: Some(stat) })) => {
            let mut told: Vec<&str> = children.iter().map(String::as_str).collect();
            told.sort_unstable();
            model.node(path, zxid).is_some_and(|node| node.stat == *stat)
                && told == of_kind(*filter, path, zxid, model)
        }
        (Read::Children { path, .. }, Ok(Response::Children { children, stat: Some(stat) })) => {
            model.node(path, zxid).is_some_and(|node| node.stat == *stat)
                && are_children(children, path, zxid, model)
        }
        (Read::Many(parts), Ok(Response::MultiRead(results))) => {
            let are_right =
                || parts.iter().zip(results).all(|(part, result)| is_part_read(part, zxid, result, model));
            parts.len() == results.len() && are_right()
        }
        (Read::Ephemerals { prefix }, Ok(Response::Ephemerals(paths))) => {
            let begins = |path: &&str| prefix.as_ref().is_none_or(|prefix| path.starts_with(prefix));
            let mut told: Vec<&str> = paths.iter().map(String::as_str).collect();
            told.sort_unstable();
            told.into_iter().eq(model.ephemerals_at(session, zxid).into_iter().filter(begins))
        }
        (Read::Descendants { path }, Ok(Response::AllChildrenNumber(number))) => {
            let fixed = if path == "/" { FIXED - 1 } else { 0 };
            let is_there = path == "/" || model.node(path, zxid).is_some();
            is_there && usize::try_from(*number) == Ok(model.descendants(path, zxid) + fixed)
        }
        (Read::AddWatch { .. }, _) => *result == Ok(Response::WatchAdded),
        (Read::Resume(_), _) => *result == Ok(Response::Empty),
        // Which watches there are is known elsewhere.
        (Read::CheckWatches { .. } | Read::RemoveWatches { .. }, _) => true,
        (
            Read::Data { path, .. }
            | Read::Exists { path, .. }
            | Read::Children { path, .. }
            | Read::Filtered { path, .. }
            | Read::Descendants { path },
            Err(ErrorCode::NoNode),
        ) => path != "/" && model.node(path, zxid).is_none(),
        _ => false,
    };
    unless(is_right, || {
        let at = |path: &String| model.node(path, zxid);
        let held = match read {
            Read::Data { path, .. } | Read::Exists { path, .. } | Read::Children { path, .. } => at(path),
            _ => None,
        };
        format!("{read:?} of {session} at {zxid} is answered with {result:?}; there is {held:?}")
    })
}

/// The names of the children of one kind, in order.
fn of_kind<'m>(filter: ListFilter, path: &str, zxid: Zxid, model: &'m Model) -> Vec<&'m str> {
    let is_meant = |name: &&str| {
        let child = model.node(&format!("{path}/{name}"), zxid);
        let is_ephemeral = child.is_some_and(|node| node.stat.ephemeral_owner != SessionId(0));
        match filter {
            ListFilter::All => true,
            ListFilter::Persistent => !is_ephemeral,
            ListFilter::Ephemeral => is_ephemeral,
        }
    };
    model.children(path, zxid).into_iter().filter(is_meant).collect()
}

fn are_children(children: &[String], path: &str, zxid: Zxid, model: &Model) -> bool {
    let names = model.children(path, zxid);
    children.len() == names.len() && children.iter().all(|name| names.contains(name.as_str()))
}

/// One of several reads.
fn is_part_read(part: &Part, zxid: Zxid, result: &ReadResult, model: &Model) -> bool {
    let (Part::Data(path) | Part::Children(path)) = part;
    match (part, result, model.shown(path, zxid)) {
        (Part::Data(_), ReadResult::Data { data, stat }, Some(node)) => {
            (Some(&node.data), node.stat) == (data.as_ref(), *stat)
        }
        (Part::Children(_), ReadResult::Children(children), Some(_)) => {
            are_children(children, path, zxid, model)
        }
        (_, ReadResult::Error(ErrorCode::NoNode), None) => true,
        _ => false,
    }
}

/// Znodes that every tree has: the root, and what the ensemble tells of itself.
const FIXED: usize = 4;

/// A whole tree, with `len` znodes, at the end.
pub fn tree_is(model: &Model, len: usize, held: impl Fn(&str) -> Option<(Option<Vec<u8>>, Stat)>) -> Verdict {
    let mut count = FIXED;
    for (path, _) in model.all() {
        let node = model.shown(path, model.end()).expect("it is there");
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
    use zabra::jute::CreateMode;
    use zabra::txn::Ops;

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
        let refused = |code, failed_op| Txn {
            body: Some(Body::Error(ErrorTxn { code: code as i32, failed_op })),
            ..Txn::default()
        };
        assert_eq!(decided(&entry, Zxid(3), &refused(ErrorCode::BadVersion, None), &failing), Ok(()));
        decided(&entry, Zxid(3), &refused(ErrorCode::NoNode, None), &failing).expect_err("another code");
        decided(&entry, Zxid(3), &refused(ErrorCode::BadVersion, Some(0)), &failing).expect_err("no multi");
        decided(&entry, Zxid(3), &refused(ErrorCode::BadVersion, None), &expected).expect_err("it is right");
        entry.decided = Some((Zxid(3), expected.clone()));
        decided(&entry, Zxid(4), &set("y", 1), &expected).expect_err("twice");
        assert_eq!(replied(&entry, Zxid(3), &expected, &model), Ok(()));
        replied(&entry, Zxid(4), &expected, &model).expect_err("another zxid");
        replied(&entry, Zxid(3), &failing, &model).expect_err("it was done");
        replied(&entry, Zxid(3), &Ok(Response::Stat(Stat::default())), &model).expect_err("another Stat");
    }

    #[test]
    fn an_error_is_that_of_its_transaction_and_a_read_is_of_the_model_at_that_zxid() {
        let model = model();
        let mut refused = entry(Op::Set { path: "/a".into(), data: "y".into(), version: 7 });
        replied(&refused, Zxid(2), &Err(ErrorCode::BadVersion), &model).expect_err("it is not decided");
        refused.decided = Some((Zxid(3), Err(ErrorCode::BadVersion)));
        assert_eq!(replied(&refused, Zxid(3), &Err(ErrorCode::BadVersion), &model), Ok(()));
        replied(&refused, Zxid(2), &Err(ErrorCode::BadVersion), &model).expect_err("another zxid");
        let (sync, synced) = (entry(Op::Sync), Ok(Response::Sync { path: Some("/".to_string()) }));
        assert_eq!(replied(&sync, Zxid(2), &synced, &model), Ok(()));
        replied(&sync, Zxid(3), &synced, &model).expect_err("there is no 3");
        let stat = model.node("/a", Zxid(2)).expect("there").stat;
        let data =
            |data: &'static str| Ok(Response::Data { data: Some(Bytes::from_static(data.as_bytes())), stat });
        let of = Read::Data { path: "/a".into(), watch: false };
        let read = |of: &Read, zxid, result| read(of, SESSION, Zxid(zxid), &result, &model);
        assert_eq!(read(&of, 2, data("x")), Ok(()));
        read(&of, 2, data("y")).expect_err("other data");
        read(&of, 1, data("x")).expect_err("too early");
        read(&of, 2, Err(ErrorCode::NoNode)).expect_err("it is there");
    }

    #[test]
    fn several_reads_ephemerals_and_numbers_are_those_of_the_model() {
        let mut model = model();
        for (zxid, path) in [(3, "/e"), (4, "/a/b")] {
            let mode = if zxid == 3 { CreateMode::Ephemeral } else { CreateMode::Persistent };
            let author = Author { session: SESSION, zxid: Zxid(zxid), time_ms: 0 };
            let (_, effects) = model.judge(&Op::make(path, "", mode), model.end(), author);
            model.apply(Zxid(zxid), effects);
        }
        let is_right = |of: &Read, session, response| {
            read(of, SessionId(session), Zxid(4), &Ok(response), &model).is_ok()
        };
        let many = Read::Many(vec![Part::Children("/a".into()), Part::Data("/x".into())]);
        let missing = ReadResult::Error(ErrorCode::NoNode);
        let names =
            |names: &[&str]| ReadResult::Children(names.iter().map(|name| name.to_string()).collect());
        assert!(is_right(&many, 1, Response::MultiRead(vec![names(&["b"]), missing.clone()])));
        assert!(!is_right(&many, 1, Response::MultiRead(vec![names(&[]), missing])));
        assert!(!is_right(&many, 1, Response::MultiRead(vec![names(&["b"])])));
        let ephemerals = |prefix: Option<&str>| Read::Ephemerals { prefix: prefix.map(str::to_string) };
        let paths =
            |paths: &[&str]| Response::Ephemerals(paths.iter().map(|path| path.to_string()).collect());
        assert!(is_right(&ephemerals(None), 1, paths(&["/e"])));
        assert!(is_right(&ephemerals(Some("/x")), 1, paths(&[])));
        assert!(!is_right(&ephemerals(None), 1, paths(&["/a", "/e"])));
        assert!(!is_right(&ephemerals(None), 2, paths(&["/e"])), "of another session");
        for (path, number) in [("/a", 1), ("/", 3 + 3), ("/e", 0)] {
            let of = Read::Descendants { path: path.into() };
            assert!(is_right(&of, 1, Response::AllChildrenNumber(number)), "{path}");
            assert!(!is_right(&of, 1, Response::AllChildrenNumber(number + 1)), "{path}");
        }
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
