//! Lets clients in.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::conn::Conn;
use super::{ClientContext, connection};
use crate::server::net::{self, ACCEPT_PAUSE};

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
    fn serve(&self, context: Arc<ClientContext>, conn: Arc<Conn>, stream: TcpStream, permit: Permit) {
        let Some(runtime) = self.next_runtime() else {
            tokio::spawn(async move {
                connection::serve(context, conn, stream).await;
                drop(permit);
            });
            return;
        };
        match stream.into_std() {
            Ok(stream) => {
                runtime.spawn(async move {
                    match TcpStream::from_std(stream) {
                        Ok(stream) => connection::serve(context, conn, stream).await,
                        Err(_) => context.conns.remove(&conn),
                    }
                    drop(permit);
                });
            }
            Err(_) => context.conns.remove(&conn),
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

/// Lets clients in until the task is aborted.
pub async fn listen(context: Arc<ClientContext>, threads: ClientThreads, listener: TcpListener) {
    let conns_max = context.settings.conns_max as usize;
    let permits = Arc::new(Semaphore::new(conns_max));
    loop {
        let (stream, from) = match listener.accept().await {
            Ok((stream, from)) => (stream, net::canonical(from)),
            Err(error) => {
                context.quiet.say("client accept", |more| tracing::warn!("client port: {error}{more}"));
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let permit = match conns_max {
            0 => None,
            _ => match Arc::clone(&permits).try_acquire_owned() {
                Ok(permit) => Some(permit),
                Err(_) => {
                    refuse(
                        &context,
                        from,
                        &format!("there are {conns_max} connections, as many as maxCnxns allows"),
                    );
                    continue;
                }
            },
        };
        let per_address_max = context.settings.conns_per_address_max;
        match context.conns.open(from, per_address_max) {
            Some(conn) => {
                if net::tune_client(&stream).is_ok() {
                    threads.serve(Arc::clone(&context), conn, stream, permit);
                } else {
                    context.conns.remove(&conn);
                }
            }
            None => refuse(
                &context,
                from,
                &format!("its address has {per_address_max} connections, as many as maxClientCnxns allows"),
            ),
        }
    }
}

fn refuse(context: &ClientContext, from: SocketAddr, why: &str) {
    context.stats.count_rejected();
    context.quiet.say(&format!("refused {}", from.ip()), |more| {
        tracing::warn!("client {from} is refused: {why}{more}");
    });
}
