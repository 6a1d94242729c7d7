//! Ids of new sessions.

use super::Sessions;
use crate::ids::{ServerId, SessionId};

/// The bits below the server id.
const COUNTER_MASK: u64 = (1 << 56) - 1;

/// What ZooKeeper writes into `ephemeralOwner` of a container; no session may have it as its id.
const CONTAINER_OWNER: u64 = 1 << 63;

/// What it writes there, above a time to live in the 40 bits below; nor may a session have such an id.
const TTL_MARK: u64 = 0xff_0000;
const TTL_BITS: u32 = 40;

/// Makes the ids of the sessions that this server opens: its own id in the top byte, a rising number below it.
#[derive(Debug)]
pub struct SessionIds {
    server: u64,
    counter: u64,
}

impl SessionIds {
    /// Starts from a time, so that a server that starts again does not hand out the same ids: 40 bits of `start_ms`
    /// above 16 bits of zeros, as in ZooKeeper.
    pub fn new(server: ServerId, start_ms: u64) -> SessionIds {
        SessionIds { server: u64::from(server.0) << 56, counter: (start_ms << 24) >> 8 }
    }

    /// An id that no session of `sessions` has, and that this generator has not given out before.
    pub fn next(&mut self, sessions: &Sessions) -> SessionId {
        loop {
            if (self.server | self.counter) >> TTL_BITS == TTL_MARK {
                self.counter = 1 << TTL_BITS;
            }
            let id = SessionId(self.server | self.counter);
            self.counter = (self.counter + 1) & COUNTER_MASK;
            let reserved = id.0 == 0 || id.0 == CONTAINER_OWNER;
            if !reserved && sessions.get(id).is_none() {
                return id;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::PASSWORD_BYTES;

    #[test]
    fn ids_rise_below_the_server_id() {
        let mut ids = SessionIds::new(ServerId(3), 0x12_3456_789a);
        let sessions = Sessions::default();
        assert_eq!(ids.next(&sessions), SessionId(0x0312_3456_789a_0000));
        assert_eq!(ids.next(&sessions), SessionId(0x0312_3456_789a_0001));
    }

    #[test]
    fn only_40_bits_of_the_start_time_count() {
        let mut ids = SessionIds::new(ServerId(1), 0xffff_ff12_3456_789a);
        assert_eq!(ids.next(&Sessions::default()), SessionId(0x0112_3456_789a_0000));
    }

    #[test]
    fn no_session_gets_0_or_the_owner_of_containers() {
        let sessions = Sessions::default();
        assert_eq!(SessionIds::new(ServerId(0), 0).next(&sessions), SessionId(1));
        assert_eq!(SessionIds::new(ServerId(128), 0).next(&sessions), SessionId((128 << 56) | 1));
    }

    #[test]
    fn no_session_gets_an_id_that_looks_like_a_time_to_live() {
        let mut ids = SessionIds::new(ServerId(255), 0);
        for lowest in [0, 1] {
            assert_eq!(ids.next(&Sessions::default()), SessionId(0xff00_0100_0000_0000 | lowest));
        }
    }

    #[test]
    fn an_id_that_is_taken_is_passed_over_and_the_server_id_is_never_carried_into() {
        let mut sessions = Sessions::default();
        let last = SessionId((7 << 56) | COUNTER_MASK);
        sessions.create(last, 1000, [0; PASSWORD_BYTES], 1);
        let mut ids = SessionIds { server: 7 << 56, counter: COUNTER_MASK };
        assert_eq!(ids.next(&sessions), SessionId(7 << 56));
    }
}
