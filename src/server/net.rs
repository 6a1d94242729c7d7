//! Names, sockets and their options.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Connections that wait to be accepted: as many as the system allows (`net.core.somaxconn`). What comes beyond is tried
/// again by the dialling system.
const BACKLOG: i32 = i32::MAX;

/// Pause after an `accept` that failed, out of file descriptors for example: going on at once would only spin.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A port that is taken, but where nobody is let in yet: whoever dials is told at once that nobody listens.
#[derive(Debug)]
pub struct BoundPort {
    socket: Socket,
    addr: SocketAddr,
}

impl BoundPort {
    /// Takes a port of the address that `host` names, or of all addresses of the machine.
    pub async fn bind(host: Option<&str>, port: u16) -> io::Result<BoundPort> {
        let Some(host) = host else {
            // Both families on one socket, or IPv4 alone where the machine has no IPv6.
            return BoundPort::bind_addr((Ipv6Addr::UNSPECIFIED, port).into())
                .or_else(|_| BoundPort::bind_addr(([0, 0, 0, 0], port).into()));
        };
        let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for addr in lookup_host((host, port)).await? {
            match BoundPort::bind_addr(addr) {
                Ok(bound) => return Ok(bound),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    fn bind_addr(addr: SocketAddr) -> io::Result<BoundPort> {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_reuse_address(true)?;
        if addr.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        socket.bind(&addr.into())?;
        let addr = socket.local_addr()?.as_socket().unwrap_or(addr);
        Ok(BoundPort { socket, addr })
    }

    /// The address with the port that was taken.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Begins to listen, on the runtime it is called from.
    pub fn listen(self) -> io::Result<TcpListener> {
        self.socket.listen(BACKLOG)?;
        TcpListener::from_std(self.socket.into())
    }
}

/// Connects to the first address of `host` that answers. The name is looked up each time: servers move.
pub async fn dial(host: &str, port: u16, limit: Duration) -> io::Result<TcpStream> {
    let dialling = async {
        let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for addr in lookup_host((host, port)).await? {
            match TcpStream::connect(addr).await {
                Ok(stream) => return Ok(stream),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    };
    timeout(limit, dialling).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Which of the ways to a server, one for each network it is in, was taken last.
#[derive(Debug, Default)]
pub struct Ways {
    /// host and port: what they led to came to an end
    last: Option<(String, u16)>,
}

/// How long the others have for themselves when the way that was taken last is dialled again with them.
const HEAD_START: Duration = Duration::from_millis(200);

impl Ways {
    /// Connects by the first of the `addrs`, hosts and ports, on which somebody answers; says to which host. All are
    /// dialled at once, and the one that was taken last a moment later: a network can lead to somebody, and yet carry
    /// nothing.
    pub async fn dial(
        &mut self,
        addrs: &[(String, u16)],
        limit: Duration,
    ) -> io::Result<(TcpStream, String)> {
        if let [(host, port)] = addrs {
            return Ok((dial(host, *port, limit).await?, host.clone()));
        }
        let mut dialling = JoinSet::new();
        for (host, port) in addrs.iter().cloned() {
            let way = (host.clone(), port);
            let pause = if self.last.as_ref() == Some(&way) { HEAD_START } else { Duration::ZERO };
            dialling.spawn(async move {
                sleep(pause).await;
                let dialled = dial(&host, port, limit).await;
                dialled.map(|stream| (stream, way)).map_err(|error| format!("{host}: {error}"))
            });
        }
        let mut failed = Vec::new();
        while let Some(dialled) = dialling.join_next().await {
            match dialled.map_err(io::Error::other)? {
                Ok((stream, way)) => {
                    let host = way.0.clone();
                    self.last = Some(way);
                    return Ok((stream, host));
                }
                Err(error) => failed.push(error),
            }
        }
        failed.sort();
        Err(io::Error::other(failed.join("; ")))
    }
}

/// Sets up a connection between servers: nothing is held back to fill a packet, and a peer that vanished without a
/// word is noticed by the system too, after `silence`.
pub fn tune_peer(stream: &TcpStream, silence: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&keepalive(Duration::from_secs(10)))?;
    socket.set_tcp_user_timeout(Some(silence))
}

/// Sets up a client's connection.
pub fn tune_client(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    SockRef::from(stream).set_tcp_keepalive(&keepalive(Duration::from_secs(60)))
}

fn keepalive(idle: Duration) -> TcpKeepalive {
    TcpKeepalive::new().with_time(idle).with_interval(idle / 2).with_retries(3)
}

/// The first byte of a TLS connection: a record of a handshake. No length of a frame, and no letter, is that.
const TLS_HANDSHAKE: u8 = 0x16;

/// Whether what comes begins as TLS does; nothing is taken. `None`: the other side has closed.
pub async fn begins_tls(stream: &TcpStream) -> io::Result<Option<bool>> {
    let mut first = [0; 1];
    Ok(match stream.peek(&mut first).await? {
        0 => None,
        _ => Some(first[0] == TLS_HANDSHAKE),
    })
}

/// The address as a person writes it: an IPv4 client of an IPv6 socket has its IPv4 address.
pub fn canonical(addr: SocketAddr) -> SocketAddr {
    let ip: IpAddr = addr.ip().to_canonical();
    SocketAddr::new(ip, addr.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nobody_is_let_in_before_the_port_listens() {
        let bound = BoundPort::bind(Some("127.0.0.1"), 0).await.unwrap();
        let addr = bound.addr();
        let refused = TcpStream::connect(addr).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        let listener = bound.listen().unwrap();
        let dialled = dial("127.0.0.1", addr.port(), Duration::from_secs(5)).await.unwrap();
        let (_, from) = listener.accept().await.unwrap();
        assert_eq!(from, dialled.local_addr().unwrap());
    }

    #[tokio::test]
    async fn of_several_ways_any_that_leads_somewhere_is_taken_and_another_one_the_next_time() {
        let bind = |host| async move { BoundPort::bind(Some(host), 0).await.unwrap() };
        let closed = bind("127.0.0.3").await;
        let [first, second] =
            [bind("127.0.0.1").await.listen(), bind("127.0.0.2").await.listen()].map(Result::unwrap);
        let limit = Duration::from_secs(5);
        let to = |addr: SocketAddr| (addr.ip().to_string(), addr.port());
        let mut ways = Ways::default();
        let addrs = [to(closed.addr()), to(first.local_addr().unwrap())];
        for _ in 0..2 {
            assert_eq!(ways.dial(&addrs, limit).await.unwrap().1, "127.0.0.1", "also if it was taken before");
        }
        let addrs = [&first, &second].map(|listener| to(listener.local_addr().unwrap()));
        let mut ways = Ways::default();
        let mut taken = String::new();
        for _ in 0..4 {
            let (_, host) = ways.dial(&addrs, limit).await.unwrap();
            assert_ne!(host, taken);
            taken = host;
        }
        let addrs = [to(closed.addr()), ("127.0.0.4".to_owned(), closed.addr().port())];
        let error = ways.dial(&addrs, limit).await.unwrap_err().to_string();
        assert!(error.starts_with("127.0.0.3: ") && error.contains("; 127.0.0.4: "), "{error}");
    }

    #[tokio::test]
    async fn a_port_for_all_addresses_shows_an_ipv4_client_as_one() {
        let listener = BoundPort::bind(None, 0).await.unwrap().listen().unwrap();
        let port = listener.local_addr().unwrap().port();
        let _dialled = dial("127.0.0.1", port, Duration::from_secs(5)).await.unwrap();
        let (_, from) = listener.accept().await.unwrap();
        assert_eq!(canonical(from).ip(), IpAddr::from([127, 0, 0, 1]));
    }
}
