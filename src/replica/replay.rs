//! A start: the log is applied again, and must make the states that it made when it was written.

use super::digests::{Digests, Mismatch};
use super::state::{State, StateError};
use crate::ids::Zxid;
use crate::txn::Txn;
use crate::zab::Proposal;

/// A state that catches up with a log.
pub struct Replay {
    state: State,
    digests: Digests,
    began: Zxid,
}

impl Replay {
    /// Begins behind what `state` holds.
    pub fn new(state: State) -> Replay {
        let mut digests = Digests::default();
        digests.push(state.zxid(), state.digest());
        Replay { began: state.zxid(), state, digests }
    }

    /// Applies the next transaction. It carries the digest of a state before it, as its leader had it: if this log made
    /// another one here, that is an error. After an error the state is good for nothing.
    ///
    /// # Panics
    /// If the transaction may not follow the last one.
    pub fn apply(&mut self, proposal: &Proposal) -> Result<(), StateError> {
        let zxid = proposal.zxid;
        let txn = Txn::from_bytes(proposal.txn.clone()).map_err(|error| StateError::Txn { zxid, error })?;
        self.digests
            .compare(Zxid(txn.digest_zxid), txn.digest)
            .map_err(|Mismatch { zxid: at, own, leader }| StateError::Digest { zxid, at, own, leader })?;
        self.state.apply(zxid, &txn)?;
        self.digests.push(zxid, self.state.digest());
        Ok(())
    }

    /// The newest state that was found to be the leader's, or the one it began with.
    pub fn compared(&self) -> Zxid {
        self.digests.compared().unwrap_or(self.began)
    }

    /// What came of it.
    pub fn into_state(self) -> State {
        self.state
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Epoch, SessionId};
    use crate::txn::{Acl, Op, Ops, txn::Body};

    /// Creates `/{counter}`, knowing that a leader had this digest at this zxid.
    fn create(counter: u32, (digest_zxid, digest): (Zxid, u64)) -> Proposal {
        let acl = vec![Acl { perms: 31, scheme: "world".into(), id: "anyone".into() }];
        let op = Op::create(format!("/{counter}"), None, acl, SessionId(0), counter as i32);
        let body = Some(Body::Ops(Ops { ops: vec![op] }));
        let txn = Txn { digest_zxid: digest_zxid.0, digest, body, ..Txn::default() };
        Proposal { zxid: Zxid::new(Epoch(1), counter), txn: prost::Message::encode_to_vec(&txn).into() }
    }

    #[test]
    fn a_log_that_makes_another_state_than_it_did_is_refused() {
        let mut replay = Replay::new(State::new(7));
        let seen = |replay: &Replay| (replay.state.zxid(), replay.state.digest());
        let mut before = seen(&replay);
        for counter in 1..=3 {
            let now = seen(&replay);
            // What the leader had applied when it proposed may be older than what it proposed last.
            replay.apply(&create(counter, before)).expect("the digests are equal");
            before = now;
        }
        let (at, own) = seen(&replay);
        let leader = own ^ 1;
        let zxid = Zxid::new(Epoch(1), 4);
        match replay.apply(&create(4, (at, leader))) {
            Err(StateError::Digest { zxid: in_txn, at: found_at, own: found, leader: said }) => {
                assert_eq!((in_txn, found_at, found, said), (zxid, at, own, leader));
            }
            other => panic!("{other:?}"),
        }
    }
}
