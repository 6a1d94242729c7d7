//! The connections between servers. Up to three ports, all with frames of protobuf behind a `Hello`:
//!
//! | port | who dials | what goes over it |
//! |---|---|---|
//! | election | everyone everyone | notifications, outward only, but strangers are told on the connection that they made; the newest replaces what was not sent yet |
//! | quorum | a learner its leader | everything else, both ways: a *link* |
//! | observer master | an observer a follower | proposals, if followers feed observers: a *feed* |
//!
//! Either in plain text or through TLS (`stream`), by which each side knows that the other is the server that it says.
//! Behind the `Hello` the two authenticate one another, if that is configured (`auth`).
//!
//! Dials are independent of one another, and a name is looked up again at every dial. Nothing here decides anything:
//! what comes in becomes an [`Input`], and who counts as failed is told by the one clock of the core, except that a
//! closed or silent connection to the election port is reported as such.

mod auth;
mod codec;
mod directory;
mod election;
mod feed;
mod frames;
#[rustfmt::skip]
#[allow(missing_docs, clippy::all)]
mod generated;
mod hello;
mod link;
mod ports;
mod queue;
mod stream;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::sleep;

pub use auth::PeerAuth;
pub use codec::{
    CodecError, approximate_bytes, decode, decode_hello, decode_notification, encode, encode_notification,
};
pub use directory::{Directory, Known};
pub use election::{Electors, Inbound, ToldStates};
pub use feed::be_fed;
pub use frames::PeerReadError;
pub use hello::{Checked, HelloError, Identity, LivePeers, Refusal, Versions, check_hello};
pub use link::{FollowTarget, Links, follow};
pub use ports::Ports;
pub use queue::LinkQueue;
pub use stream::StreamError;

use super::disk::DiskRoom;
use super::quiet::Quiet;
use crate::admin::Stats;
use crate::config::Settings;
use crate::ids::ServerId;
use crate::membership::ServerAddr;
use crate::replica::Input;
use crate::storage::TXN_BYTES_MAX;
use crate::tls::Tls;

/// Connections that are being accepted or are open on one port: a few for each server that can be a member.
const INBOUND_MAX: usize = 256;

/// What every connection between servers needs.
#[derive(Debug)]
pub struct PeerContext {
    /// the configuration
    pub settings: Settings,
    /// what this server is to others
    pub identity: Arc<Identity>,
    /// who is connected
    pub live: Arc<LivePeers>,
    /// to the core
    pub inputs: mpsc::Sender<Input>,
    /// who tells this server its state
    pub inbound: Inbound,
    /// what this server tells the others
    pub told: ToldStates,
    /// the open links
    pub links: Arc<Links>,
    /// for `sslQuorum` and `portUnification`
    pub tls: Option<Arc<Tls>>,
    /// not read from while the disk is behind
    pub disk_room: Arc<DiskRoom>,
    /// what was sent is counted there
    pub stats: Arc<Stats>,
    /// for log lines that can come often
    pub quiet: Quiet,
}

/// The most that one frame of a link takes: a list, or one request or transaction that is bigger by itself. The same
/// for all servers, whatever each allows its clients; room is made only for what arrives.
const LINK_FRAME_BYTES_MAX: usize = TXN_BYTES_MAX + 2 * codec::LIST_BYTES_MAX;

impl PeerContext {
    /// who the others are
    pub fn directory(&self) -> &Directory {
        self.identity.directory()
    }

    fn heartbeat(&self) -> Duration {
        Duration::from_millis(u64::from(self.settings.peer_heartbeat_ms))
    }

    fn silence_max(&self) -> Duration {
        Duration::from_millis(u64::from(self.settings.peer_timeout_ms))
    }

    fn connect_limit(&self) -> Duration {
        Duration::from_millis(u64::from(self.settings.peer_connect_timeout_ms))
    }

    /// Says why there is no connection to a server, once in a while.
    fn complain(&self, what: &str, peer: ServerId, why: &dyn std::fmt::Display) {
        let subject = format!("{what} {peer} {why}");
        self.quiet.say(&subject, |more| tracing::warn!("{what} server {peer}: {why}{more}"));
    }

    /// Gives the core something. False: the core is gone, the server is stopping.
    async fn tell(&self, input: Input) -> bool {
        self.inputs.send(input).await.is_ok()
    }
}

/// The addresses of a server, for the log.
fn shown(server: &ServerAddr) -> String {
    server.peer_addrs().map(|addr| addr.to_string()).collect::<Vec<_>>().join(" and ")
}

/// The error of an exchange that took too long.
fn timed_out() -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer in time")
}

/// Pauses between dials: short at first, since a server that restarts is back soon, then longer.
#[derive(Debug)]
struct Backoff {
    next: Duration,
    longest: Duration,
}

impl Backoff {
    const SHORTEST: Duration = Duration::from_millis(20);

    fn new(longest: Duration) -> Backoff {
        Backoff { next: Backoff::SHORTEST, longest }
    }

    fn reset(&mut self) {
        self.next = Backoff::SHORTEST;
    }

    fn step(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(self.longest);
        pause
    }

    async fn pause(&mut self) {
        sleep(self.step()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_between_dials_grow_to_a_bound_and_begin_anew_after_success() {
        let mut backoff = Backoff::new(Duration::from_millis(100));
        let pauses = [(); 5].map(|()| backoff.step().as_millis());
        assert_eq!(pauses, [20, 40, 80, 100, 100]);
        backoff.reset();
        assert_eq!(backoff.step().as_millis(), 20);
    }
}
