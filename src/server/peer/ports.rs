//! The ports for other servers: taken at the start, and others in their place when a reconfiguration says so.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::link::Kind;
use super::{PeerContext, election, link};
use crate::membership::{PeerAddr, ServerAddr};
use crate::server::net::BoundPort;

/// Pause before a port that could not be taken is tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// What one of the ports is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Purpose {
    Election,
    Quorum,
    /// Followers feed observers there, if `observerMasterPort` says so.
    ObserverMaster,
}

const PURPOSES: [Purpose; 3] = [Purpose::Election, Purpose::Quorum, Purpose::ObserverMaster];

/// A port that is listened to.
#[derive(Debug)]
struct Port {
    purpose: Purpose,
    host: Option<String>,
    port: u16,
    listening: JoinHandle<()>,
}

/// The ports that are listened to. Connections that came through one outlive it.
#[derive(Debug)]
pub struct Ports {
    context: Arc<PeerContext>,
    open: Vec<Port>,
}

impl Ports {
    /// Takes the ports of the own line, in each of the networks of this server. One that cannot be used is tried again
    /// later if there is another: that is what several are for.
    pub async fn open(context: &Arc<PeerContext>) -> anyhow::Result<Ports> {
        let own = context.directory().known().own().cloned();
        let own = own.context("this server is in no server list")?;
        let mut ports = Ports { context: Arc::clone(context), open: Vec::new() };
        for purpose in PURPOSES {
            let mut failed = None;
            for (host, port) in ports.wanted(purpose, &own) {
                match ports.listen(purpose, host, port).await {
                    Ok(open) => ports.open.push(open),
                    Err(error) => failed = failed.or(Some(error)),
                }
            }
            match failed {
                Some(error) if ports.open.iter().all(|open| open.purpose != purpose) => return Err(error),
                _ => {}
            }
        }
        Ok(ports)
    }

    /// Follows the own line, until the task is aborted.
    pub fn keep(mut self) -> JoinHandle<()> {
        tokio::spawn(async move {
            let mut changes = self.context.directory().changes();
            loop {
                let own = changes.borrow_and_update().own().cloned();
                let is_done = match own {
                    Some(own) => self.follow(&own).await,
                    None => true,
                };
                if is_done {
                    if changes.changed().await.is_err() {
                        return;
                    }
                } else if matches!(timeout(RETRY_PAUSE, changes.changed()).await, Ok(Err(_))) {
                    return;
                }
            }
        })
    }

    /// Takes the ports that `own` has and that are not taken yet, and lets go of the others. False: one could not be
    /// taken, and the old ones are kept.
    async fn follow(&mut self, own: &ServerAddr) -> bool {
        let mut is_done = true;
        for purpose in PURPOSES {
            let wanted = self.wanted(purpose, own);
            let mut is_whole = true;
            for (host, port) in &wanted {
                if !self.listens(purpose, host.as_deref(), *port) {
                    // Another address with the same port: the two may exclude one another.
                    self.close(|open| open.port == *port && !open.is_one_of(purpose, &wanted)).await;
                    is_whole &= self.take(purpose, host.clone(), *port).await;
                }
            }
            if is_whole {
                self.close(|open| open.purpose == purpose && !open.is_one_of(purpose, &wanted)).await;
            }
            is_done &= is_whole;
        }
        is_done
    }

    /// True if it could listen there, as it does from now on.
    async fn take(&mut self, purpose: Purpose, host: Option<String>, port: u16) -> bool {
        match self.listen(purpose, host, port).await {
            Ok(open) => {
                self.open.push(open);
                true
            }
            Err(error) => {
                let subject = format!("{purpose:?} port {error:#}");
                self.context.quiet.say(&subject, |more| tracing::error!("{error:#}{more}"));
                false
            }
        }
    }

    async fn close(&mut self, which: impl Fn(&Port) -> bool) {
        for mut open in self.open.extract_if(.., |open| which(open)).collect::<Vec<_>>() {
            open.close().await;
        }
    }

    fn listens(&self, purpose: Purpose, host: Option<&str>, port: u16) -> bool {
        let is_it =
            |open: &Port| open.purpose == purpose && open.host.as_deref() == host && open.port == port;
        self.open.iter().any(|open| is_it(open) && !open.listening.is_finished())
    }

    /// Where to listen: addresses of the machine, or all that it has.
    fn wanted(&self, purpose: Purpose, own: &ServerAddr) -> Vec<(Option<String>, u16)> {
        let on_all = self.context.settings.quorum_listen_on_all_ips;
        let host = |addr: &PeerAddr| (!on_all).then(|| addr.host.clone());
        let for_observers = self.context.settings.observer_master_port.filter(|_| own.role.votes());
        let port = |addr: &PeerAddr| match purpose {
            Purpose::Election => Some(addr.election_port),
            Purpose::Quorum => Some(addr.quorum_port),
            Purpose::ObserverMaster => for_observers,
        };
        let addrs = own.peer_addrs();
        let mut wanted: Vec<_> = addrs.filter_map(|addr| Some((host(&addr), port(&addr)?))).collect();
        wanted.sort();
        wanted.dedup();
        wanted
    }

    async fn listen(&self, purpose: Purpose, host: Option<String>, port: u16) -> anyhow::Result<Port> {
        let what = purpose.name();
        let address = host.as_deref().unwrap_or("all addresses");
        let in_words = || format!("the {what} port {port} on {address} cannot be used");
        let bound = BoundPort::bind(host.as_deref(), port).await.with_context(in_words)?;
        tracing::info!("{what} port: {}", bound.addr());
        let listener = bound.listen().with_context(in_words)?;
        let context = Arc::clone(&self.context);
        let listening = match purpose {
            Purpose::Election => tokio::spawn(election::listen(context, listener)),
            Purpose::Quorum => tokio::spawn(link::listen(context, listener, Kind::Leader)),
            Purpose::ObserverMaster => tokio::spawn(link::listen(context, listener, Kind::Feed)),
        };
        Ok(Port { purpose, host, port, listening })
    }
}

impl Port {
    fn is_one_of(&self, purpose: Purpose, wanted: &[(Option<String>, u16)]) -> bool {
        self.purpose == purpose && wanted.iter().any(|(host, port)| (host, *port) == (&self.host, self.port))
    }

    /// Listens no more, if it does.
    async fn close(&mut self) {
        self.listening.abort();
        if !self.listening.is_finished() {
            // It ends as one that was aborted.
            let _ = (&mut self.listening).await;
        }
    }
}

impl Purpose {
    fn name(self) -> &'static str {
        match self {
            Purpose::Election => "election",
            Purpose::Quorum => Kind::Leader.port_name(),
            Purpose::ObserverMaster => Kind::Feed.port_name(),
        }
    }
}
