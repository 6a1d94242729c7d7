//! The identifiers that every room shares, one newtype each, so that no two kinds of number can be mixed up.

use std::fmt;

/// A transaction id: the epoch of the leader that proposed it in the upper 32 bits, its counter in the lower 32.
/// Ordered as ZAB orders transactions. `Zxid(0)` is "before every transaction".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Zxid(pub u64);

impl Zxid {
    /// Before every transaction.
    pub const ZERO: Zxid = Zxid(0);

    /// The transaction id of `counter` within `epoch`.
    pub const fn new(epoch: Epoch, counter: u32) -> Zxid {
        Zxid(((epoch.0 as u64) << 32) | counter as u64)
    }

    /// The epoch of the leader that proposed the transaction.
    pub const fn epoch(self) -> Epoch {
        Epoch((self.0 >> 32) as u32)
    }

    /// The position within the epoch; the first transaction of an epoch has 1.
    pub const fn counter(self) -> u32 {
        self.0 as u32
    }

    /// The transaction id that follows within the same epoch; `None` when the counter is used up.
    pub fn next(self) -> Option<Zxid> {
        self.counter().checked_add(1).map(|counter| Zxid::new(self.epoch(), counter))
    }

    /// True if this one is newer, where either is what a client says that it has seen: to clients they are signed numbers,
    /// and everything is newer than one below 0.
    pub fn is_newer_than(self, seen: Zxid) -> bool {
        self.0.cast_signed() > seen.0.cast_signed()
    }

    /// True if a transaction with this id may stand directly after `previous` in a history: the next counter of the
    /// same epoch, or the first of a later epoch.
    pub fn may_follow(self, previous: Zxid) -> bool {
        if self.epoch() == previous.epoch() {
            previous.next() == Some(self)
        } else {
            self.epoch() > previous.epoch() && self.counter() == 1
        }
    }
}

impl fmt::Display for Zxid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:x}_{:08x}", self.epoch().0, self.counter())
    }
}

impl fmt::Debug for Zxid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A leader's term. At most one leader is ever established in an epoch. 0 is "before the first leader".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Epoch(pub u32);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A server of the ensemble: ZooKeeper's `myid`, 0 to 255. It is the top byte of the session ids the server hands out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct ServerId(pub u8);

impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A client session, for as long as the ensemble keeps it, whichever server the client is connected to.
/// 0 is "no session".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SessionId(pub u64);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:x}", self.0)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One client connection of this server process; never used twice while the process lives.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct ConnId(pub u32);

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A version of what servers say to one another and write down: messages, transactions, snapshots. What each brought is in
/// `docs/upgrading.md`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Version(pub u32);

impl Version {
    /// The oldest that this code speaks and reads.
    pub const OLDEST: Version = Version(2);

    /// The newest that this code speaks and reads.
    pub const NEWEST: Version = Version(4);
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number a client gave its request; negative ones are reserved (see [`crate::jute::xid`]).
pub type Xid = i32;

/// Monotonic time in milliseconds since some moment before the process started. Never the wall clock.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Tick(pub u64);

impl Tick {
    /// The moment `ms` milliseconds later.
    pub const fn after_ms(self, ms: u64) -> Tick {
        Tick(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this moment; 0 if `earlier` is later.
    pub const fn ms_since(self, earlier: Tick) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}
