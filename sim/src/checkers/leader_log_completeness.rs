//! LeaderLogCompleteness: a leader that is established has everything on its disk that anybody delivered of the epochs before
//! its own. (Acknowledgements that were long under way may establish it when others lead in a newer epoch already.)

use std::collections::BTreeMap;

use zabra::ids::{Epoch, ServerId, Zxid};
use zabra::zab::Proposal;

use super::agreement::Agreement;
use super::{Verdict, unless};

pub const NAME: &str = "LeaderLogCompleteness";

/// How much of the log is compared, from the end.
const COMPARED_MAX: usize = 64;

/// A server is established as leader of an epoch, with this log, which is durable through `synced`.
pub fn established(
    server: ServerId,
    epoch: Epoch,
    synced: Zxid,
    log: &BTreeMap<Zxid, Proposal>,
    decided: &Agreement,
) -> Verdict {
    let end = decided.end_before(epoch);
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
        for zxid in [1, 2, Zxid::new(Epoch(1), 1).0] {
            assert_eq!(decided.delivered(ServerId(1), &proposal(zxid, "x")), Ok(true));
        }
        let log = |txns: &[&'static str]| {
            let proposals = (1..).zip(txns).map(|(zxid, txn)| (Zxid(zxid), proposal(zxid, txn)));
            proposals.collect::<BTreeMap<_, _>>()
        };
        let all = log(&["x", "x", "y"]);
        let established = |synced, log| established(ServerId(2), Epoch(1), Zxid(synced), log, &decided);
        assert_eq!(established(3, &all), Ok(()));
        established(1, &all).expect_err("2 is not on the disk");
        established(2, &log(&["x", "y"])).expect_err("2 is another one");
    }
}
