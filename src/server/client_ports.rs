//! The ports for clients: taken at the start, opened when there is something to serve, and others in their place when a
//! reconfiguration says so.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::client::{self, ClientContext, ClientThreads, Door};
use super::net::BoundPort;
use super::peer::Directory;
use crate::config::Settings;
use crate::membership::ListenAddr;
use crate::zab::Role;

/// Without a leader for so long since its start, a server takes connections all the same: clients are told to go
/// elsewhere, and the operator can ask what is missing.
const CLOSED_LIMIT: Duration = Duration::from_secs(10);

/// Pause before a port that could not be taken is tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// A port that was taken.
pub struct ClientPort {
    key: &'static str,
    wanted: ListenAddr,
    bound: BoundPort,
    door: Door,
}

impl ClientPort {
    async fn bind(key: &'static str, wanted: &ListenAddr, door: Door) -> anyhow::Result<ClientPort> {
        let bound = BoundPort::bind(wanted.host.as_deref(), wanted.port).await;
        let bound = bound.with_context(|| format!("{key} {wanted} cannot be used"))?;
        Ok(ClientPort { key, wanted: wanted.clone(), bound, door })
    }
}

const PLAIN_KEY: &str = "clientPort";
const SECURE_KEY: &str = "secureClientPort";

fn plain_door(settings: &Settings) -> Door {
    if settings.client_port_unification { Door::Either } else { Door::Plain }
}

/// Takes the ports for clients: one, or both.
pub async fn bind(settings: &Settings) -> anyhow::Result<Vec<ClientPort>> {
    let wanted = [
        (PLAIN_KEY, &settings.client_addr, plain_door(settings)),
        (SECURE_KEY, &settings.secure_client_addr, Door::Tls),
    ];
    let mut ports = Vec::new();
    for (key, addr, door) in wanted {
        if let Some(addr) = addr {
            ports.push(ClientPort::bind(key, addr, door).await?);
        }
    }
    Ok(ports)
}

/// Opens the ports once there is something to serve, or it takes long. They stay open through elections, and follow
/// what `directory` has of this server. Returns if that cannot go on.
pub async fn let_clients_in(
    context: Arc<ClientContext>,
    ports: Vec<ClientPort>,
    mut roles: watch::Receiver<Role>,
    directory: &Directory,
) -> anyhow::Result<()> {
    let threads = Arc::new(ClientThreads::start(context.settings.client_threads)?);
    let permits = Arc::new(Semaphore::new(context.settings.conns_max as usize));
    let serving = timeout(CLOSED_LIMIT, roles.wait_for(|role| *role != Role::Looking)).await;
    if let Some(tls) = &context.tls {
        tokio::spawn(Arc::clone(tls).keep_fresh());
    }
    let mut open = OpenPorts { context, threads, permits, ports: Vec::new() };
    let mut told = Vec::new();
    for port in ports {
        told.push(open.listen(port)?);
    }
    match serving {
        Ok(serving) => drop(serving?),
        Err(_) => tracing::warn!("there is no leader yet, but clients can connect"),
    }
    match told.is_empty() {
        true => tracing::warn!("serving no clients: this server has no port for them"),
        false => tracing::info!("serving clients on {}", told.join(" and ")),
    }
    if let Some(audit) = &open.context.audit {
        audit.tell_server("serverStart", "success");
    }
    open.follow(directory).await
}

/// A port that is listened to.
struct OpenPort {
    key: &'static str,
    wanted: ListenAddr,
    listening: JoinHandle<()>,
}

/// The ports that are listened to. Connections that came through one outlive it.
struct OpenPorts {
    context: Arc<ClientContext>,
    threads: Arc<ClientThreads>,
    permits: Arc<Semaphore>,
    ports: Vec<OpenPort>,
}

impl OpenPorts {
    /// Begins to listen. Returns where, in words.
    fn listen(&mut self, port: ClientPort) -> anyhow::Result<String> {
        let ClientPort { key, wanted, bound, door } = port;
        let addr = bound.addr();
        let listener = bound.listen().with_context(|| format!("{key} {addr} cannot be used"))?;
        let (threads, permits) = (Arc::clone(&self.threads), Arc::clone(&self.permits));
        let listening = client::listen(Arc::clone(&self.context), threads, permits, listener, door);
        self.ports.push(OpenPort { key, wanted, listening: tokio::spawn(listening) });
        Ok(match door {
            Door::Plain => addr.to_string(),
            Door::Tls => format!("{addr} with TLS"),
            Door::Either => format!("{addr} with TLS or without"),
        })
    }

    /// Takes the ports that the own line has, as it changes. A port that it does not have stays: it is from the file.
    async fn follow(mut self, directory: &Directory) -> anyhow::Result<()> {
        let mut changes = directory.changes();
        loop {
            let own = changes.borrow_and_update().own().cloned();
            let (plain, secure) = own.map_or((None, None), |own| (own.client, own.secure_client));
            let door = plain_door(&self.context.settings);
            let is_done =
                self.take(PLAIN_KEY, plain, door).await & self.take(SECURE_KEY, secure, Door::Tls).await;
            if is_done {
                changes.changed().await?;
            } else if let Ok(changed) = timeout(RETRY_PAUSE, changes.changed()).await {
                changed?;
            }
        }
    }

    /// Listens at `wanted`, if it does not yet, in place of where it did. False: it could not be done.
    async fn take(&mut self, key: &'static str, wanted: Option<ListenAddr>, door: Door) -> bool {
        let Some(wanted) = wanted else { return true };
        let old = self.ports.iter().position(|port| port.key == key);
        if old.is_some_and(|old| self.ports[old].wanted == wanted) {
            return true;
        }
        if door == Door::Tls && self.context.tls.is_none() {
            self.complain(&format!("{key} {wanted} needs ssl.* keys in the configuration file"));
            return true;
        }
        if let Some(old) = old.filter(|old| self.ports[*old].wanted.port == wanted.port) {
            // Another address with the same port: the two may exclude one another.
            close(self.ports.swap_remove(old)).await;
        }
        let listening = match ClientPort::bind(key, &wanted, door).await {
            Ok(port) => self.listen(port),
            Err(error) => Err(error),
        };
        match listening {
            Ok(place) => {
                tracing::info!("serving clients on {place} from now on");
                // The old one, if it was not closed above.
                if let Some(old) = self.ports.iter().position(|port| port.key == key && port.wanted != wanted)
                {
                    close(self.ports.swap_remove(old)).await;
                }
                true
            }
            Err(error) => {
                self.complain(&format!("{error:#}"));
                false
            }
        }
    }

    fn complain(&self, what: &str) {
        self.context.quiet.say(what, |more| tracing::error!("{what}{more}"));
    }
}

async fn close(port: OpenPort) {
    port.listening.abort();
    // It ends as one that was aborted.
    let _ = port.listening.await;
}
