//! Names, sockets and their options.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::time::timeout;

/// Connections that wait to be accepted. What comes beyond is tried again by the dialling system.
const BACKLOG: i32 = 1024;

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
    async fn a_port_for_all_addresses_shows_an_ipv4_client_as_one() {
        let listener = BoundPort::bind(None, 0).await.unwrap().listen().unwrap();
        let port = listener.local_addr().unwrap().port();
        let _dialled = dial("127.0.0.1", port, Duration::from_secs(5)).await.unwrap();
        let (_, from) = listener.accept().await.unwrap();
        assert_eq!(canonical(from).ip(), IpAddr::from([127, 0, 0, 1]));
    }
}
