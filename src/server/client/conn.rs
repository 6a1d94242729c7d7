//! The client connections of this server, as its other parts see them.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::outbox::{Closing, Outbox};
use super::tally::Tally;
use crate::ids::{ConnId, SessionId};

/// How often [`Conns::close_overdue`] is to be called. Silence is counted in these calls and not by a clock: while the
/// process stands still (suspended, or starved) nobody can be heard, and nobody gets older.
pub const SWEEP_MS: u64 = 1000;

/// A connection that has no session after so many sweeps is closed; 10 seconds, as in ZooKeeper.
const HANDSHAKE_SWEEPS_MAX: u32 = 10;

/// One client connection.
#[derive(Debug)]
pub struct Conn {
    /// its name
    pub id: ConnId,
    /// the client's end
    pub peer: SocketAddr,
    /// what it is to be sent
    pub outbox: Outbox,
    /// packets from the client
    pub received: AtomicU64,
    /// packets to the client
    pub sent: AtomicU64,
    /// requests that wait for the core
    pub outstanding: AtomicU64,
    /// what was asked and answered
    pub tally: Tally,
    asked_read_only: AtomicBool,
    session_id: AtomicU64,
    /// 0 before there is a session
    timeout_ms: AtomicU32,
    /// sweeps since it was opened
    age: AtomicU32,
    /// sweeps since something came from it
    silence: AtomicU32,
    /// it is in the list of those heard of since the last heartbeat
    listed: AtomicBool,
    /// it has sent more than is read for now
    is_held_up: AtomicBool,
}

impl Conn {
    fn new(id: ConnId, peer: SocketAddr) -> Conn {
        Conn {
            id,
            peer,
            outbox: Outbox::default(),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            outstanding: AtomicU64::new(0),
            tally: Tally::begin(),
            asked_read_only: AtomicBool::new(false),
            session_id: AtomicU64::new(0),
            timeout_ms: AtomicU32::new(0),
            age: AtomicU32::new(0),
            silence: AtomicU32::new(0),
            listed: AtomicBool::new(false),
            is_held_up: AtomicBool::new(false),
        }
    }

    /// The client's first frame told whether it accepts a read-only server, so the answer has to tell whether this is
    /// one.
    pub fn ask_read_only(&self) {
        self.asked_read_only.store(true, Ordering::Relaxed);
    }

    /// Whether it did.
    pub fn asked_read_only(&self) -> bool {
        self.asked_read_only.load(Ordering::Relaxed)
    }

    /// Takes note of the session that is served on it from now on.
    pub fn established(&self, session: SessionId, timeout_ms: u32) {
        self.session_id.store(session.0, Ordering::Relaxed);
        self.timeout_ms.store(timeout_ms, Ordering::Relaxed);
    }

    /// The session, 0 before there is one.
    pub fn session_id(&self) -> SessionId {
        SessionId(self.session_id.load(Ordering::Relaxed))
    }

    /// The timeout of the session, ms; 0 before there is one.
    pub fn timeout_ms(&self) -> u32 {
        self.timeout_ms.load(Ordering::Relaxed)
    }

    /// How long it may still be silent before it is closed, ms.
    pub fn left_ms(&self) -> u64 {
        let silent_ms = u64::from(self.silence.load(Ordering::Relaxed)) * SWEEP_MS;
        u64::from(self.timeout_ms()).saturating_sub(silent_ms)
    }

    /// Begins to count packets and latencies anew.
    pub fn reset(&self) {
        self.received.store(0, Ordering::Relaxed);
        self.sent.store(0, Ordering::Relaxed);
        self.tally.reset();
    }

    /// It has sent more than is read for now, or not: nobody can tell whether it sends pings behind that, so it is not
    /// taken for silent.
    pub fn hold_up(&self, is_held_up: bool) {
        self.is_held_up.store(is_held_up, Ordering::Relaxed);
    }

    /// Another sweep: why it should be closed by now, if it should.
    fn sweep(&self) -> Option<&'static str> {
        let age = self.age.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        // The first sweep after it was heard of says nothing yet.
        let silent_ms = u64::from(self.silence.fetch_add(1, Ordering::Relaxed)) * SWEEP_MS;
        match self.timeout_ms.load(Ordering::Relaxed) {
            0 => (age > HANDSHAKE_SWEEPS_MAX).then_some(NO_SESSION),
            timeout_ms if silent_ms > u64::from(timeout_ms) => Some("silent for the whole session timeout"),
            _ => None,
        }
    }
}

/// Why a connection is closed that asked for no session.
pub const NO_SESSION: &str = "there was no session in time";

/// All of them.
#[derive(Debug, Default)]
pub struct Conns {
    table: Mutex<Table>,
    /// those heard of since the last heartbeat, so that it need not ask ten thousand that are silent
    heard: Mutex<Vec<Arc<Conn>>>,
}

/// The open connections, locked once for a whole batch of outputs.
#[derive(Debug, Default)]
pub struct Table {
    last_id: u32,
    open: HashMap<ConnId, Arc<Conn>>,
    per_address: HashMap<IpAddr, u32>,
}

impl Table {
    /// An open connection.
    pub fn get(&self, id: ConnId) -> Option<&Arc<Conn>> {
        self.open.get(&id)
    }
}

impl Conns {
    /// Adds a connection, unless its address has `per_address_max` already (0: no limit).
    pub fn open(&self, peer: SocketAddr, per_address_max: u32) -> Option<Arc<Conn>> {
        let mut table = self.table();
        let count = table.per_address.entry(peer.ip()).or_default();
        if per_address_max > 0 && *count >= per_address_max {
            return None;
        }
        *count += 1;
        // After four billion connections the names begin anew; the ones in use are passed over.
        let mut id = ConnId(table.last_id.wrapping_add(1));
        while table.open.contains_key(&id) {
            id = ConnId(id.0.wrapping_add(1));
        }
        table.last_id = id.0;
        let conn = Arc::new(Conn::new(id, peer));
        table.open.insert(id, Arc::clone(&conn));
        Some(conn)
    }

    /// Takes a connection out.
    pub fn remove(&self, conn: &Conn) {
        let mut table = self.table();
        if table.open.remove(&conn.id).is_none() {
            return;
        }
        if let Some(count) = table.per_address.get_mut(&conn.peer.ip()) {
            *count -= 1;
            if *count == 0 {
                table.per_address.remove(&conn.peer.ip());
            }
        }
    }

    /// The open connections. To be held shortly.
    pub fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many are open.
    pub fn count(&self) -> usize {
        self.table().open.len()
    }

    /// Those open now, in the order they came.
    pub fn list(&self) -> Vec<Arc<Conn>> {
        let mut list: Vec<Arc<Conn>> = self.table().open.values().cloned().collect();
        list.sort_unstable_by_key(|conn| conn.id);
        list
    }

    /// Takes note that something came from a client.
    pub fn hear(&self, conn: &Arc<Conn>) {
        conn.silence.store(0, Ordering::Relaxed);
        if !conn.listed.swap(true, Ordering::Relaxed) {
            self.heard.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(conn));
        }
    }

    /// Those heard of since it was last asked.
    pub fn take_heard(&self) -> Vec<ConnId> {
        let heard = std::mem::take(&mut *self.heard.lock().unwrap_or_else(PoisonError::into_inner));
        let mut ids = Vec::with_capacity(heard.len());
        for conn in heard {
            conn.listed.store(false, Ordering::Relaxed);
            ids.push(conn.id);
        }
        ids
    }

    /// Closes the connections that have been silent for too long. To be called every [`SWEEP_MS`].
    pub fn close_overdue(&self) {
        let mut wakers = Vec::new();
        for conn in self.table().open.values() {
            if conn.is_held_up.load(Ordering::Relaxed) {
                self.hear(conn);
            }
            if let Some(why) = conn.sweep() {
                wakers.extend(conn.outbox.close(Closing::Now(why)));
            }
        }
        wakers.into_iter().for_each(std::task::Waker::wake);
    }

    /// Closes all of them.
    pub fn close_all(&self, why: &'static str) {
        for conn in self.list() {
            if let Some(waker) = conn.outbox.close(Closing::Behind(why)) {
                waker.wake();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(last: u8, port: u16) -> SocketAddr {
        ([10, 0, 0, last], port).into()
    }

    #[test]
    fn an_address_has_no_more_connections_than_allowed() {
        let conns = Conns::default();
        let first = conns.open(addr(1, 1), 2).unwrap();
        assert!(conns.open(addr(1, 2), 2).is_some());
        assert!(conns.open(addr(1, 3), 2).is_none());
        assert!(conns.open(addr(2, 1), 2).is_some());
        conns.remove(&first);
        conns.remove(&first);
        assert!(conns.open(addr(1, 4), 2).is_some());
        assert!(conns.open(addr(1, 5), 2).is_none());
        assert!(conns.open(addr(1, 6), 0).is_some(), "0 is no limit");
        assert_eq!(conns.count(), 4);
    }

    #[test]
    fn a_client_that_was_heard_of_is_named_once_a_heartbeat() {
        let conns = Conns::default();
        let conn = conns.open(addr(1, 1), 0).unwrap();
        conns.hear(&conn);
        conns.hear(&conn);
        assert_eq!(conns.take_heard(), [conn.id]);
        assert_eq!(conns.take_heard(), []);
        conns.hear(&conn);
        assert_eq!(conns.take_heard(), [conn.id]);
    }

    #[test]
    fn who_is_silent_too_long_is_closed() {
        let conns = Conns::default();
        let strangers = conns.open(addr(1, 1), 0).unwrap();
        let client = conns.open(addr(1, 2), 0).unwrap();
        client.established(SessionId(7), 15_000);
        let sweep = |times: u32| (0..times).for_each(|_| conns.close_overdue());
        sweep(HANDSHAKE_SWEEPS_MAX);
        conns.hear(&strangers);
        assert_eq!(strangers.outbox.closing(), None);
        sweep(1);
        assert!(strangers.outbox.closing().is_some());
        conns.hear(&client);
        sweep(16);
        assert_eq!(client.outbox.closing(), None);
        client.hold_up(true);
        sweep(100);
        assert_eq!(client.outbox.closing(), None);
        assert!(conns.take_heard().contains(&client.id), "the leader must know too");
        client.hold_up(false);
        sweep(15);
        assert_eq!(client.outbox.closing(), None);
        sweep(1);
        assert!(client.outbox.closing().is_some());
    }
}
