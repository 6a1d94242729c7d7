//! What ends a znode.

use crate::ids::SessionId;

/// What ends a znode, as the field `ephemeralOwner` tells (ZooKeeper's `EphemeralType`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lifetime {
    /// nothing but a delete
    Unlimited,
    /// the end of the session that made it: it is an ephemeral
    Session(SessionId),
    /// that its last child is gone
    Container,
    /// that it has no child, and nobody set its data for so long
    Ttl {
        /// from 1 to [`TTL_MS_MAX`]
        ms: u64,
    },
}

/// The longest time to live: more does not fit into the field. Nearly 35 years.
pub const TTL_MS_MAX: u64 = (1 << TTL_BITS) - 1;

const TTL_BITS: u32 = 40;

/// What stands above the time to live.
const TTL_MARK: u64 = 0xff_0000;

const CONTAINER: u64 = 1 << 63;

impl Lifetime {
    /// What the field means.
    pub fn of(owner: SessionId) -> Lifetime {
        match owner.0 {
            0 => Lifetime::Unlimited,
            CONTAINER => Lifetime::Container,
            ttl if ttl >> TTL_BITS == TTL_MARK => Lifetime::Ttl { ms: ttl & TTL_MS_MAX },
            _ => Lifetime::Session(owner),
        }
    }

    /// What the field holds.
    ///
    /// # Panics
    /// If a time to live is out of its bounds.
    pub fn owner(self) -> SessionId {
        match self {
            Lifetime::Unlimited => SessionId(0),
            Lifetime::Session(owner) => owner,
            Lifetime::Container => SessionId(CONTAINER),
            Lifetime::Ttl { ms } => {
                assert!((1..=TTL_MS_MAX).contains(&ms), "a time to live of {ms} ms");
                SessionId(TTL_MARK << TTL_BITS | ms)
            }
        }
    }

    /// The session that an ephemeral goes with; 0 for all others.
    pub fn session(self) -> SessionId {
        match self {
            Lifetime::Session(owner) => owner,
            Lifetime::Unlimited | Lifetime::Container | Lifetime::Ttl { .. } => SessionId(0),
        }
    }

    /// True if the znode goes with a session.
    pub fn is_ephemeral(self) -> bool {
        matches!(self, Lifetime::Session(_))
    }

    /// True if the leader looks for its end.
    pub fn is_watched(self) -> bool {
        matches!(self, Lifetime::Container | Lifetime::Ttl { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_is_that_of_zookeeper() {
        for (lifetime, owner) in [
            (Lifetime::Unlimited, 0),
            (Lifetime::Session(SessionId(0x0100_0000_0000_0001)), 0x0100_0000_0000_0001),
            (Lifetime::Session(SessionId(0xff01_0000_0000_0001)), 0xff01_0000_0000_0001),
            (Lifetime::Container, 0x8000_0000_0000_0000),
            (Lifetime::Session(SessionId(0x8000_0000_0000_0001)), 0x8000_0000_0000_0001),
            (Lifetime::Ttl { ms: 1 }, 0xff00_0000_0000_0001),
            (Lifetime::Ttl { ms: TTL_MS_MAX }, 0xff00_00ff_ffff_ffff),
        ] {
            assert_eq!(lifetime.owner(), SessionId(owner), "{lifetime:?}");
            assert_eq!(Lifetime::of(SessionId(owner)), lifetime, "{owner:x}");
        }
    }
}
