//! A server has the quotas that there are at its zxid, with the limits that stand there and the figures of its tree: when it
//! starts, when it takes over a state, and at the end. How it judges by them is seen in what it refuses.

use std::collections::BTreeMap;

use zabra::ids::{ServerId, Zxid};
use zabra::tree::{Limit, Tree};

use super::{Verdict, unless};
use crate::model::Model;
use crate::model::quota::{Limits, Usage};

pub const NAME: &str = "quotas";

/// A server's tree at this zxid.
pub fn are_in(server: ServerId, at: Zxid, tree: &Tree, model: &Model) -> Verdict {
    let number = |limit: Option<Limit>| limit.map(|limit| (limit.most(), matches!(limit, Limit::Hard(_))));
    let held = tree.quotas().map(|(path, limits)| {
        let zabra::tree::Usage { count, bytes } = tree.usage(path);
        let limits = Limits { count: number(limits.count), bytes: number(limits.bytes) };
        (path, (limits, Usage { count, bytes }))
    });
    let (held, due): (BTreeMap<_, _>, _) = (held.collect(), model.quotas(at));
    unless(held == due, || format!("server {server} has {held:?} at {at}, and should have {due:?}"))
}

#[cfg(test)]
mod tests {
    use zabra::ids::SessionId;
    use zabra::txn::{Acl, Op, Ops, Txn, txn::Body};

    use super::*;
    use crate::model::Author;
    use crate::model::quota::limits_of;

    /// A tree with `/a`, its quota, and some data.
    fn tree(limits: &'static str, data: &'static str) -> Tree {
        let acl = || vec![Acl { perms: 31, scheme: "world".into(), id: "anyone".into() }];
        let create = |path: &str, data: &'static str| {
            Op::create(path.into(), bytes::Bytes::from_static(data.as_bytes()), acl(), SessionId(0), 1)
        };
        let ops =
            vec![create("/a", data), create("/zookeeper/quota/a", ""), create(&limits_of("/a"), limits)];
        let mut tree = Tree::new(1);
        tree.apply(Zxid(2), &Txn { body: Some(Body::Ops(Ops { ops })), ..Txn::default() }).expect("it fits");
        tree
    }

    #[test]
    fn other_limits_and_figures_are_found() {
        let session = SessionId(1);
        let mut model = Model::with_a(session);
        for (path, data) in [("/zookeeper/quota/a", ""), (&limits_of("/a"), "count=1,byteHardLimit=7")] {
            let author = Author { session, zxid: Zxid(model.end().0 + 1), time_ms: 0 };
            let (_, effects) = model.judge(&crate::op::Op::create(path, data), model.end(), author);
            model.apply(author.zxid, effects);
        }
        let look = |limits, data| are_in(ServerId(1), model.end(), &tree(limits, data), &model);
        assert_eq!(look("byteHardLimit=7,count=1", "y"), Ok(()));
        look("bytes=7,count=1", "y").expect_err("a soft limit");
        look("byteHardLimit=7,count=1", "yy").expect_err("more data");
        are_in(ServerId(1), model.end(), &Tree::new(1), &model).expect_err("none");
    }
}
