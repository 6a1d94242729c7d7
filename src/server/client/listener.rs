//! Lets clients in.

use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::conn::Conn;
use super::{ClientContext, Door, connection};
use crate::server::net::{self, ACCEPT_PAUSE};

/// How long a client that finds no place has to wait for threads to notice that others have left. All who come behind it
/// wait as well.
const GIVE_WAY: Duration = Duration::from_millis(1);

/// The same where all share one thread: turns of every task that has something to do. A connection that was closed while
/// the server was at work on it takes more than one to be gone.
const GIVE_WAY_TURNS: u32 = 8;

/// File descriptors that clients cannot take: without one for the next file of the log the server would have to end, and
/// without some for the other servers it would be cut off. At most a quarter of all.
const FILES_KEPT: u64 = 64;

/// The threads that serve clients, each with a runtime of its own. None: the thread that accepts serves them too,
/// which spares every write two hops between threads.
#[derive(Debug)]
pub struct ClientThreads {
    runtimes: Vec<Handle>,
    next: AtomicUsize,
}

impl ClientThreads {
    /// Starts so many threads.
    pub fn start(count: u32) -> std::io::Result<ClientThreads> {
        let runtimes = (1..=count).map(start_thread).collect::<Result<_, _>>()?;
        Ok(ClientThreads { runtimes, next: AtomicUsize::new(0) })
    }

    /// Serves a client on the thread whose turn it is.
    fn serve(
        &self,
        context: Arc<ClientContext>,
        conn: Arc<Conn>,
        stream: TcpStream,
        door: Door,
        permit: Permit,
    ) {
        let Some(runtime) = self.next_runtime() else {
            tokio::spawn(async move {
                connection::serve(context, conn, stream, door).await;
                drop(permit);
            });
            return;
        };
        match stream.into_std() {
            Ok(stream) => {
                runtime.spawn(async move {
                    match TcpStream::from_std(stream) {
                        Ok(stream) => connection::serve(context, conn, stream, door).await,
                        Err(_) => context.conns.remove(&conn),
                    }
                    drop(permit);
                });
            }
            Err(_) => context.conns.remove(&conn),
        }
    }

    /// Lets the tasks of connections run that have something to do: all of them if they share this thread, as far as
    /// they come in a moment if they have their own.
    async fn give_way(&self) {
        if self.runtimes.is_empty() {
            for _ in 0..GIVE_WAY_TURNS {
                tokio::task::yield_now().await;
            }
        } else {
            tokio::time::sleep(GIVE_WAY).await;
        }
    }

    fn next_runtime(&self) -> Option<&Handle> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        (!self.runtimes.is_empty()).then(|| &self.runtimes[turn % self.runtimes.len()])
    }
}

/// A thread that runs tasks until the process ends.
fn start_thread(number: u32) -> std::io::Result<Handle> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    let thread = thread::Builder::new().name(format!("clients-{number}"));
    thread.spawn(move || runtime.block_on(std::future::pending::<()>()))?;
    Ok(handle)
}

/// The right to one of `maxCnxns` connections, if they are limited.
type Permit = Option<OwnedSemaphorePermit>;

/// Lets clients in until the task is aborted. `permits` are for `maxCnxns` connections, on all ports together.
pub async fn listen(
    context: Arc<ClientContext>,
    threads: Arc<ClientThreads>,
    permits: Arc<Semaphore>,
    listener: TcpListener,
    door: Door,
) {
    loop {
        let (stream, from) = match listener.accept().await {
            Ok((stream, from)) => (stream, net::canonical(from)),
            Err(error) => {
                context.quiet.say("client accept", |more| tracing::warn!("client port: {error}{more}"));
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        if let Err(why) = leaves_enough_files(&stream) {
            refuse(&context, from, &why);
            continue;
        }
        let mut admitted = admit(&context, &permits, from);
        if admitted.is_err() {
            // Connections that their clients closed before they opened this one count until their tasks have run.
            threads.give_way().await;
            admitted = admit(&context, &permits, from);
        }
        match admitted {
            Ok((conn, permit)) if net::tune_client(&stream).is_ok() => {
                threads.serve(Arc::clone(&context), conn, stream, door, permit);
            }
            Ok((conn, _)) => context.conns.remove(&conn),
            Err(why) => refuse(&context, from, &why),
        }
    }
}

/// Why a connection may not keep its file descriptor, if so. The system gives the lowest number that is free: a high one
/// tells that all below it are in use.
fn leaves_enough_files(stream: &TcpStream) -> Result<(), String> {
    let Some(limit) = getrlimit(Resource::Nofile).current else { return Ok(()) };
    let kept = FILES_KEPT.min(limit / 4);
    if stream.as_raw_fd().cast_unsigned() as u64 + kept < limit {
        return Ok(());
    }
    Err(format!("of {limit} file descriptors only {kept} are free, which the server keeps for itself"))
}

/// A place for another connection, or why there is none.
fn admit(
    context: &ClientContext,
    permits: &Arc<Semaphore>,
    from: SocketAddr,
) -> Result<(Arc<Conn>, Permit), String> {
    let conns_max = context.settings.conns_max;
    let permit = match conns_max {
        0 => None,
        _ => Some(
            Arc::clone(permits)
                .try_acquire_owned()
                .map_err(|_| format!("there are {conns_max} connections, as many as maxCnxns allows"))?,
        ),
    };
    let per_address_max = context.settings.conns_per_address_max;
    let conn = context.conns.open(from, per_address_max).ok_or_else(|| {
        format!("its address has {per_address_max} connections, as many as maxClientCnxns allows")
    })?;
    Ok((conn, permit))
}

fn refuse(context: &ClientContext, from: SocketAddr, why: &str) {
    context.stats.count_rejected();
    context.quiet.say(&format!("refused {}", from.ip()), |more| {
        tracing::warn!("client {from} is refused: {why}{more}");
    });
}
