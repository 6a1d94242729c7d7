//! Agreement: what one server delivers at a zxid, every other delivers there as well, and nothing else.

use std::collections::BTreeMap;

use zabra::ids::{Epoch, ServerId, Zxid};
use zabra::zab::Proposal;

use super::{Verdict, unless};

pub const NAME: &str = "Agreement";

#[derive(Default)]
pub struct Agreement {
    /// Everything that a server ever delivered.
    decided: BTreeMap<Zxid, Proposal>,
}

impl Agreement {
    /// A server delivers a transaction. Returns whether it is the first to do so.
    pub fn delivered(&mut self, server: ServerId, proposal: &Proposal) -> Result<bool, String> {
        let zxid = proposal.zxid;
        match self.decided.get(&zxid) {
            Some(known) if known == proposal => Ok(false),
            Some(_) => Err(format!("server {server} delivers something else at {zxid} than another")),
            None => {
                self.decided.insert(zxid, proposal.clone());
                Ok(true)
            }
        }
    }

    /// A server takes over the state of another.
    pub fn took_over(&self, server: ServerId, zxid: Zxid) -> Verdict {
        unless(self.holds(zxid), || format!("server {server} is at {zxid}, which nobody delivered"))
    }

    /// The end of the one history.
    pub fn end(&self) -> Zxid {
        self.decided.last_key_value().map_or(Zxid::ZERO, |(zxid, _)| *zxid)
    }

    /// The end of what the one history has of the epochs before this one.
    pub fn end_before(&self, epoch: Epoch) -> Zxid {
        self.decided.range(..Zxid::new(epoch, 0)).next_back().map_or(Zxid::ZERO, |(zxid, _)| *zxid)
    }

    /// True if a transaction is in the one history, or before it.
    pub fn holds(&self, zxid: Zxid) -> bool {
        zxid == Zxid::ZERO || self.decided.contains_key(&zxid)
    }

    pub fn get(&self, zxid: Zxid) -> Option<&Proposal> {
        self.decided.get(&zxid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_transactions_with_one_zxid_are_found() {
        let mut agreement = Agreement::default();
        let proposal = |txn: &'static str| Proposal { zxid: Zxid(1), txn: txn.into() };
        assert_eq!(agreement.delivered(ServerId(1), &proposal("x")), Ok(true));
        assert_eq!(agreement.delivered(ServerId(2), &proposal("x")), Ok(false));
        agreement.delivered(ServerId(3), &proposal("y")).expect_err("another transaction");
        agreement.took_over(ServerId(3), Zxid(2)).expect_err("nobody was there");
    }
}
