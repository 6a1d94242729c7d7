//! Client connections. One task each; a read is answered on it, under a lock that is held for a batch of requests and
//! never across an await; what the leader must decide goes to the core and comes back through the [`outbox`].
//!
//! | file | what |
//! |---|---|
//! | `listener` | permits, accept, limits |
//! | `door` | TLS or not, and who the client is by its certificate |
//! | `connection` | the task: bytes in, bytes out, the end |
//! | `requests` | frames: which are answered here, which wait, which go to the core |
//! | `room` | the share of each request in what the core has at once |
//! | `turn` | those that wait while the server has enough requests |
//! | `ticket` | the queue for either |
//! | `outbox` | what the core has for the client |
//! | `conn` | all connections, who was heard of, who is overdue |
//! | `tally` | what is told of one connection |
//! | `auth` | who a client is |
//! | `login` | how it proves that |

mod auth;
mod conn;
mod connection;
mod door;
mod listener;
mod login;
mod outbox;
mod requests;
mod room;
mod tally;
mod throttle;
mod ticket;
mod turn;

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tokio::sync::mpsc;

pub use auth::{AuthError, IDENTITIES_MAX, authenticated};
pub use conn::{Conn, Conns, SWEEP_MS, Table as ConnTable};
pub use door::Door;
pub use listener::{ClientThreads, listen};
pub use outbox::Closing;
pub use requests::is_for_leader;
pub use room::Room;
pub use throttle::{Comer, Throttle};
pub use turn::Turnstile;

use super::audit::AuditLog;
use super::chance::nonce;
use super::quiet::Quiet;
use crate::admin::{ClientLine, ClientSession, Lists, Mode, Stats, View, Word, answer};
use crate::config::Settings;
use crate::ids::SessionId;
use crate::replica::{Input, Replica};
use crate::sasl;
use crate::tls::Tls;
use crate::zab::Role;

/// What every client connection needs.
pub struct ClientContext {
    /// the configuration
    pub settings: Settings,
    /// the state of the server: shared for reads, exclusive for steps
    pub replica: Arc<RwLock<Replica>>,
    /// to the core
    pub inputs: mpsc::Sender<Input>,
    /// the open connections
    pub conns: Conns,
    /// sets of damaged files that its folders keep
    pub damaged_sets: usize,
    /// for big requests
    pub room: Room,
    /// who can authenticate by SASL
    pub sasl_users: Option<sasl::Users>,
    /// told of what clients change
    pub audit: Option<AuditLog>,
    /// for clients that come
    pub throttle: Throttle,
    /// for their requests
    pub turnstile: Turnstile,
    /// the counters
    pub stats: Arc<Stats>,
    /// for the ports where TLS is spoken
    pub tls: Option<Arc<Tls>>,
    /// for log lines that can come often
    pub quiet: Quiet,
}

impl ClientContext {
    /// The state, for reading. Shortly, and never across an await.
    pub fn read(&self) -> RwLockReadGuard<'_, Replica> {
        self.replica.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state, alone. Likewise.
    pub fn write(&self) -> RwLockWriteGuard<'_, Replica> {
        self.replica.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers a four-letter word and what followed it.
    pub(crate) fn answer(&self, word: Word, argument: &[u8]) -> String {
        let conns = self.conns.list();
        let clients: Vec<ClientLine> = conns.iter().map(|conn| client_line(conn)).collect();
        let folder_bytes = word.folder_bytes(&self.settings);
        let replica = self.read();
        let status = replica.status();
        let listed = self.settings.membership();
        let quotas = if word.tells_quotas() { replica.quotas() } else { Vec::new() };
        let mode = match status.role {
            Role::Looking if status.read_only => Mode::ReadOnly,
            Role::Looking => Mode::Looking,
            _ if status.standalone => Mode::Standalone,
            Role::Following { .. } if status.observes => Mode::Observer,
            Role::Following { .. } => Mode::Follower,
            Role::Leading { .. } => Mode::Leader {
                learners: status.learners.connected,
                followers: status.learners.followers,
                non_voting: status.learners.non_voting,
                observers: status.learners.observers,
            },
        };
        let view = View {
            settings: &self.settings,
            membership: replica.membership().map_or(&listed, |members| members),
            stats: &self.stats,
            mode,
            fed_observers: status.fed_observers,
            last_zxid: status.zxid,
            digest: status.digest,
            nodes: status.znodes,
            ephemerals: status.ephemerals,
            watches: status.watches,
            sessions: status.sessions,
            local_sessions: status.local_sessions,
            sessions_expired: status.sessions_expired,
            digest_mismatches: status.digest_mismatches,
            data_bytes: status.data_bytes,
            data_version: replica.state().version(),
            ensemble_version: replica.ensemble_version(),
            may_vote: status.may_vote,
            voters_without_vote: status.voters_without_vote.len(),
            voters_unheard: status.voters_unheard.len(),
            damaged_sets: self.damaged_sets,
            folder_bytes,
            quotas: &quotas,
            clients: &clients,
            lists: Lists {
                state: replica.state(),
                watches: replica.watches(),
                expiry: replica.expiry(),
                local_expiry: self.settings.local_sessions.then(|| replica.local_expiry()),
                digests: &|| replica.digests().collect(),
                session_of: &|conn| replica.session_of(conn),
            },
        };
        let text = answer(word, argument, &view);
        if view.resets_connections(word) {
            conns.iter().for_each(|conn| conn.reset());
        }
        text
    }
}

fn client_line(conn: &Conn) -> ClientLine {
    ClientLine {
        peer: conn.peer,
        queued: conn.outstanding.load(Ordering::Relaxed),
        received: conn.received.load(Ordering::Relaxed),
        sent: conn.sent.load(Ordering::Relaxed),
        session: (conn.session_id() != SessionId(0)).then(|| client_session(conn)),
    }
}

fn client_session(conn: &Conn) -> ClientSession {
    let (last_op, last_xid) = conn.tally.last_asked();
    ClientSession {
        id: conn.session_id(),
        timeout_ms: conn.timeout_ms(),
        established_ms: conn.tally.established_ms(),
        last_op,
        last_xid,
        last_zxid: conn.tally.last_zxid(),
        last_response_ms: conn.tally.last_response_ms(),
        latency_ms: conn.tally.latency_ms(),
        left_ms: conn.left_ms(),
    }
}
