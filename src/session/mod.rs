//! Client sessions: the replicated table of who has one, and the leader's own knowledge of when they run out. Pure.
//!
//! [`Sessions`] changes by transactions only and is the same on every server at the same zxid. [`Expiry`] lives on the
//! leader alone and starts afresh with every change of leader. [`SessionIds`] makes the ids of new sessions.

mod expiry;
mod ids;
mod table;

pub use expiry::{EXPIRED_PER_CALL_MAX, Expiry};
pub use ids::SessionIds;
pub use table::{PASSWORD_BYTES, Session, Sessions, SessionsDecodeError, password_matches};

/// The timeout of a session whose client asked for `asked_ms`, within the server's bounds.
pub fn negotiate(asked_ms: i32, min_ms: u32, max_ms: u32) -> u32 {
    let asked_ms = u32::try_from(asked_ms).unwrap_or(0);
    asked_ms.min(max_ms).max(min_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_cut_to_the_bounds_of_the_server() {
        assert_eq!(negotiate(10_000, 4_000, 40_000), 10_000);
        assert_eq!(negotiate(1, 4_000, 40_000), 4_000);
        assert_eq!(negotiate(-5, 4_000, 40_000), 4_000);
        assert_eq!(negotiate(i32::MAX, 4_000, 40_000), 40_000);
    }
}
