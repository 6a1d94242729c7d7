//! LeaderLogCompleteness: a leader that is established has everything on its disk that anybody delivered.

use std::collections::BTreeMap;

use zabra::ids::{ServerId, Zxid};
use zabra::zab::Proposal;

use super::agreement::Agreement;
use super::{Verdict, unless};

pub const NAME: &str = "LeaderLogCompleteness";

/// How much of the log is compared, from the end.
const COMPARED_MAX: usize = 64;

/// A server is established as leader, with this log, which is durable through `synced`.
pub fn established(
    server: ServerId,
    synced: Zxid,
    log: &BTreeMap<Zxid, Proposal>,
    decided: &Agreement,
) -> Verdict {
    let end = decided.end();
    unless(synced >= end, || {
        format!("server {server} is established with a log that ends at {synced}, but {end} was delivered")
    })?;
    for (zxid, proposal) in log.range(..=end).rev().take(COMPARED_MAX) {
        unless(decided.get(*zxid) == Some(proposal), || {
            format!("server {server} is established and holds something else at {zxid} than was delivered")
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_that_lacks_something_is_found() {
        let proposal = |zxid, txn: &'static str| Proposal { zxid: Zxid(zxid), txn: txn.into() };
        let mut decided = Agreement::default();
        for zxid in 1..3 {
            assert_eq!(decided.delivered(ServerId(1), &proposal(zxid, "x")), Ok(true));
        }
        let log = |txns: &[&'static str]| {
            let proposals = (1..).zip(txns).map(|(zxid, txn)| (Zxid(zxid), proposal(zxid, txn)));
            proposals.collect::<BTreeMap<_, _>>()
        };
        let all = log(&["x", "x", "y"]);
        assert_eq!(established(ServerId(2), Zxid(3), &all, &decided), Ok(()));
        established(ServerId(2), Zxid(1), &all, &decided).expect_err("2 is not on the disk");
        let other = log(&["x", "y"]);
        established(ServerId(2), Zxid(2), &other, &decided).expect_err("2 is another one");
    }
}
