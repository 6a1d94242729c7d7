//! A server process of its own, and a client that speaks the protocol byte by byte.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use socket2::{Domain, Socket, Type};
use zabra::ids::{SessionId, Xid, Zxid};
use zabra::jute::{
    ConnectRequest, ConnectResponse, Reader, ReplyHeader, Request, decode_connect_response,
    encode_connect_request, encode_request_frame, frame,
};

/// Nothing in these tests takes so long, even on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A running server. Its end is the end of the process, whatever becomes of the test.
pub struct Server {
    child: Child,
    stdin: Option<ChildStdin>,
    log: Receiver<String>,
    seen: Vec<String>,
}

impl Server {
    /// Starts a server with its data in `folder` and these lines of configuration besides.
    pub fn start(folder: &Path, lines: &str) -> Server {
        let file = folder.join("zoo.cfg");
        let data = folder.join("data");
        let text = format!("dataDir={}\nlogSegmentBytes=1048576\n{lines}\n", data.display());
        std::fs::create_dir_all(&data).expect("a folder");
        std::fs::write(&file, text).expect("a file");
        let mut child = Command::new(env!("CARGO_BIN_EXE_zabra"))
            .args(["server", "--exit-with-stdin"])
            .arg(&file)
            .env_remove("NO_COLOR")
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let stdin = child.stdin.take();
        let stderr = child.stderr.take().expect("piped");
        let (sender, log) = sync_channel(10_000);
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let _ = sender.try_send(line);
            }
        });
        Server { child, stdin, log, seen: Vec::new() }
    }

    /// Starts a standalone server, and waits until it serves.
    pub fn standalone(folder: &Path, lines: &str) -> (Server, SocketAddr) {
        let lines = format!("clientPort=0\nclientPortAddress=127.0.0.1\n4lw.commands.whitelist=*\n{lines}");
        let mut server = Server::start(folder, &lines);
        let addr = server.addr_after("serving clients on ");
        (server, addr)
    }

    /// The address behind these words in the log.
    pub fn addr_after(&mut self, words: &str) -> SocketAddr {
        let line = self.wait_for(words);
        let (_, addr) = line.split_once(words).expect("waited for");
        addr.trim().parse().expect("an address")
    }

    /// Waits for a line of the log that holds these words.
    pub fn wait_for(&mut self, words: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.log.recv_timeout(left) else {
                panic!("no {words:?} in the log:\n{}", self.seen.join("\n"));
            };
            self.seen.push(line.clone());
            if line.contains(words) {
                return line;
            }
        }
    }

    /// The process id.
    pub fn pid(&self) -> rustix::process::Pid {
        rustix::process::Pid::from_child(&self.child)
    }

    /// Closes the standard input, and waits for the end.
    pub fn end(mut self) -> ExitStatus {
        drop(self.stdin.take());
        self.child.wait().expect("it can be waited for")
    }

    /// Ends it as [`Server::end`] does, and returns all that it logged.
    #[allow(dead_code)]
    pub fn log_at_end(mut self) -> String {
        drop(self.stdin.take());
        self.child.wait().expect("it can be waited for");
        self.seen.extend(self.log.iter());
        self.seen.join("\n")
    }

    /// Ends the process at once.
    pub fn kill(mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it can be waited for");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client's end of a connection.
pub struct Client {
    pub stream: TcpStream,
}

impl Client {
    /// Connects, and says nothing.
    pub fn dial(addr: SocketAddr) -> Client {
        let stream = TcpStream::connect(addr).expect("the server listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        Client { stream }
    }

    /// The same from another address of this machine.
    pub fn dial_from(from: IpAddr, addr: SocketAddr) -> Client {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::new(from, 0).into()).expect("an address of this machine");
        socket.connect(&addr.into()).expect("the server listens");
        Client { stream: socket.into() }
    }

    /// Connects with a new session.
    pub fn connect(addr: SocketAddr, timeout_ms: i32) -> Client {
        let mut client = Client::dial(addr);
        let response = client.open_session(&new_session(timeout_ms));
        assert_ne!(response.session_id, SessionId(0));
        client
    }

    /// Asks for a session.
    pub fn open_session(&mut self, request: &ConnectRequest) -> ConnectResponse {
        let mut bytes = BytesMut::new();
        frame(&mut bytes, |out| encode_connect_request(request, out));
        self.send_bytes(&bytes);
        decode_connect_response(&self.receive_frame().expect("an answer")).expect("a connect response")
    }

    /// Sends bytes as they are.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server reads");
    }

    /// Sends a request.
    pub fn send(&mut self, xid: Xid, request: &Request<'_>) {
        let mut bytes = BytesMut::new();
        encode_request_frame(xid, request, &mut bytes);
        self.send_bytes(&bytes);
    }

    /// Sends a request of any kind, with any body.
    pub fn send_raw(&mut self, xid: Xid, op: i32, body: &[u8]) {
        let mut bytes = BytesMut::new();
        frame(&mut bytes, |out| {
            out.put_i32(xid);
            out.put_i32(op);
            out.put_slice(body);
        });
        self.send_bytes(&bytes);
    }

    /// The next reply or event: its header, and what follows.
    pub fn receive(&mut self) -> (ReplyHeader, Bytes) {
        let frame = self.receive_frame().expect("a reply");
        let header = ReplyHeader::decode(&mut Reader::new(&frame)).expect("a header");
        (header, frame.slice(ReplyHeader::WIRE_BYTES..))
    }

    /// The numbers of the next reply: request and error.
    pub fn receive_code(&mut self) -> (Xid, i32) {
        let (header, _) = self.receive();
        (header.xid, header.err)
    }

    /// The next frame; `None` at the end of the connection.
    pub fn receive_frame(&mut self) -> Option<Bytes> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).ok()?;
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        self.stream.read_exact(&mut frame).ok()?;
        Some(frame.into())
    }

    /// Waits for the end of the connection, and returns what came before it.
    pub fn read_to_end(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self.stream.read_to_end(&mut bytes) {
            Ok(_) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => bytes,
            Err(error) => panic!("the connection does not end: {error}"),
        }
    }
}

/// What a client without a session sends first.
pub fn new_session(timeout_ms: i32) -> ConnectRequest {
    ConnectRequest {
        protocol_version: 0,
        last_zxid_seen: Zxid::ZERO,
        timeout_ms,
        session_id: SessionId(0),
        password: Bytes::from_static(&[0; 16]),
        read_only: Some(false),
    }
}

/// A port that nobody uses at the moment.
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}
