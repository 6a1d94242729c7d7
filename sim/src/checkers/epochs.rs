//! On every disk, at every moment: the promised epoch is not below the held one, nor that below the epoch of anything
//! that a serving server delivered; and neither ever falls.

use std::collections::BTreeMap;

use zabra::ids::{Epoch, ServerId};
use zabra::zab::EpochRecord;

use super::{Verdict, unless};

pub const NAME: &str = "epochs";

#[derive(Default)]
pub struct Epochs {
    known: BTreeMap<ServerId, EpochRecord>,
}

impl Epochs {
    /// Its disk, or at least its epoch file, is lost.
    pub fn forgets(&mut self, server: ServerId) {
        self.known.remove(&server);
    }

    /// It found its data damaged, and keeps its promises, but no vote.
    pub fn loses_vote(&mut self, server: ServerId) {
        if let Some(known) = self.known.get_mut(&server) {
            (known.may_vote, known.current_epoch) = (false, Epoch(0));
        }
    }

    /// What a disk holds, and the epoch of what its server delivered last, if it serves.
    pub fn holds(&mut self, server: ServerId, record: &EpochRecord, delivered: Epoch) -> Verdict {
        let (accepted, current) = (record.accepted_epoch, record.current_epoch);
        unless(accepted >= current, || format!("server {server} holds {current} and promised {accepted}"))?;
        unless(current >= delivered, || {
            format!("server {server} delivered something of epoch {delivered} and holds {current}")
        })?;
        let Some(before) = self.known.get(&server) else {
            self.known.insert(server, record.clone());
            return Ok(());
        };
        unless(accepted >= before.accepted_epoch && current >= before.current_epoch, || {
            format!("server {server} went back from {before:?} to {record:?}")
        })?;
        unless(record.may_vote || !before.may_vote || record == before, || {
            format!("server {server} lost its right to vote: {record:?}")
        })?;
        if record != before {
            self.known.insert(server, record.clone());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_that_falls_or_is_out_of_order_is_found() {
        let record = |accepted, current| EpochRecord {
            accepted_epoch: Epoch(accepted),
            current_epoch: Epoch(current),
            ..EpochRecord::default()
        };
        let mut epochs = Epochs::default();
        assert_eq!(epochs.holds(ServerId(1), &record(2, 1), Epoch(1)), Ok(()));
        assert_eq!(epochs.holds(ServerId(1), &record(3, 2), Epoch(1)), Ok(()));
        epochs.holds(ServerId(1), &record(2, 2), Epoch(1)).expect_err("a promise is lost");
        epochs.holds(ServerId(1), &record(3, 4), Epoch(1)).expect_err("it was not promised");
        epochs.holds(ServerId(1), &record(3, 2), Epoch(3)).expect_err("the epoch is not held");
        epochs.forgets(ServerId(1));
        assert_eq!(epochs.holds(ServerId(1), &record(0, 0), Epoch(0)), Ok(()));
    }

    #[test]
    fn a_vote_that_is_lost_is_found_unless_the_server_is_damaged() {
        let votes = |may_vote| EpochRecord { may_vote, ..EpochRecord::default() };
        let mut epochs = Epochs::default();
        assert_eq!(epochs.holds(ServerId(1), &votes(true), Epoch(0)), Ok(()));
        epochs.holds(ServerId(1), &votes(false), Epoch(0)).expect_err("it voted");
        epochs.loses_vote(ServerId(1));
        assert_eq!(epochs.holds(ServerId(1), &votes(false), Epoch(0)), Ok(()));
    }
}
