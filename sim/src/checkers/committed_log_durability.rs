//! CommittedLogDurability: neither TRUNC nor SNAP takes anything from a server's log that anybody delivered.

use zabra::ids::ServerId;
use zabra::zab::Proposal;

use super::agreement::Agreement;
use super::{Verdict, unless};

pub const NAME: &str = "CommittedLogDurability";

/// A server is about to lose this part of its log, because it is cut or because a snapshot takes its place.
pub fn loses<'a>(
    server: ServerId,
    lost: impl IntoIterator<Item = &'a Proposal>,
    decided: &Agreement,
) -> Verdict {
    lost.into_iter().try_for_each(|proposal| {
        let zxid = proposal.zxid;
        unless(decided.get(zxid) != Some(proposal), || {
            format!("server {server} is to cut {zxid} from its log, which was delivered")
        })
    })
}

#[cfg(test)]
mod tests {
    use zabra::ids::Zxid;

    use super::*;

    #[test]
    fn a_cut_of_what_was_delivered_is_found() {
        let proposal = |zxid, txn: &'static str| Proposal { zxid: Zxid(zxid), txn: txn.into() };
        let mut decided = Agreement::default();
        assert_eq!(decided.delivered(ServerId(1), &proposal(1, "x")), Ok(true));
        assert_eq!(loses(ServerId(2), &[proposal(1, "y"), proposal(2, "x")], &decided), Ok(()));
        loses(ServerId(2), &[proposal(2, "y"), proposal(1, "x")], &decided).expect_err("1 was delivered");
    }
}
