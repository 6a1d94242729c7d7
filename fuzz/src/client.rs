//! The connections of clients to a server in memory: frames are cut, decoded and dispatched in the order and by the
//! rules of `src/server/client/requests.rs`, and every answer is looked at.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use zabra::config::AuthSettings;
use zabra::ids::{ConnId, SessionId, Xid, Zxid};
use zabra::jute::{
    AuthId, OpCode, Reader, ReplyHeader, Request, RequestHeader, decode_connect_request, decode_request,
    decode_response, encode_reply, next_frame,
};
use zabra::replica::{Input, Output, Replica};
use zabra::server::{authenticated, is_for_leader};

use crate::server::{FRAME_BYTES_MAX, Server};

/// A client's first frame is small.
const CONNECT_FRAME_BYTES_MAX: usize = 4096;

/// Requests that the server has at once from one connection.
const OUTSTANDING_MAX: usize = 64;

const IP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

/// One connection.
struct Conn {
    /// received, and not served
    input: BytesMut,
    waiting: Option<Bytes>,
    stage: Stage,
    /// what the replica has, oldest first: the client's number and the operation
    outstanding: VecDeque<(Xid, i32)>,
    is_syncing: bool,
    identities: Arc<[AuthId]>,
    /// the newest zxid it was told
    seen: Zxid,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Greeting,
    Connecting,
    Serving,
}

enum Served {
    Done,
    Later(Bytes),
    Close,
}

/// All connections.
#[derive(Default)]
pub struct Clients {
    open: BTreeMap<ConnId, Conn>,
    /// Sessions that were opened, with their passwords.
    pub sessions: Vec<(SessionId, Bytes)>,
    last_id: u32,
}

impl Clients {
    /// A client connects; it says nothing yet.
    pub fn open(&mut self) -> ConnId {
        self.last_id += 1;
        let id = ConnId(self.last_id);
        let auth = AuthSettings::default();
        let identities =
            authenticated(&Arc::from([]), "ip", b"", IP, &auth).expect("an address proves itself");
        let conn = Conn {
            input: BytesMut::new(),
            waiting: None,
            stage: Stage::Greeting,
            outstanding: VecDeque::new(),
            is_syncing: false,
            identities,
            seen: Zxid::ZERO,
        };
        self.open.insert(id, conn);
        id
    }

    /// The open ones, oldest first.
    pub fn ids(&self) -> Vec<ConnId> {
        self.open.keys().copied().collect()
    }

    /// A client sends something.
    pub fn receive(&mut self, server: &mut Server, id: ConnId, bytes: &[u8]) {
        let Some(conn) = self.open.get_mut(&id) else { return };
        conn.input.extend_from_slice(bytes);
        server.step(Input::Heard(vec![id]));
        self.serve(server, id);
    }

    /// A client goes away.
    pub fn close(&mut self, server: &mut Server, id: ConnId) {
        if let Some(conn) = self.open.remove(&id)
            && conn.stage != Stage::Greeting
        {
            server.step(Input::Disconnected { conn: id });
        }
    }

    /// Passes on what the server has for its clients, and serves what waited for it; the rest is given back.
    pub fn hear(&mut self, server: &mut Server) -> Vec<Output> {
        let mut others = Vec::new();
        loop {
            let told = server.take_told();
            if told.is_empty() {
                return others;
            }
            let mut touched = Vec::new();
            for output in told {
                match output {
                    Output::Connected { conn, response } => {
                        touched.push(conn);
                        self.on_connected(server, conn, response);
                    }
                    Output::Reply { conn, xid, zxid, result } => {
                        touched.push(conn);
                        self.on_reply(conn, xid, zxid, result);
                    }
                    Output::Event { conns, event } => {
                        for conn in conns {
                            let conn =
                                self.open.get_mut(&conn).expect("watches of closed connections are gone");
                            assert!(
                                !conn.seen.is_newer_than(event.zxid),
                                "an event comes before what shows the change"
                            );
                        }
                    }
                    Output::CloseConn { conn, .. } => self.close(server, conn),
                    other => others.push(other),
                }
            }
            for id in touched {
                self.serve(server, id);
            }
        }
    }

    /// Passes on one thing that a server has for its clients whose own servers may have lied to it: replies may then be
    /// out of order, and nothing is expected of what they say.
    pub fn believe(&mut self, server: &mut Server, output: Output) {
        match output {
            Output::Connected { conn, response } if response.timeout_ms != 0 => {
                self.sessions.push((response.session_id, response.password));
                if let Some(conn) = self.open.get_mut(&conn) {
                    conn.stage = Stage::Serving;
                    conn.outstanding.clear();
                }
            }
            Output::Connected { conn, .. } | Output::CloseConn { conn, .. } => self.close(server, conn),
            Output::Reply { conn, .. } => {
                if let Some(conn) = self.open.get_mut(&conn) {
                    conn.outstanding.clear();
                }
            }
            _ => {}
        }
    }

    fn on_connected(&mut self, server: &mut Server, id: ConnId, response: zabra::jute::ConnectResponse) {
        let Some(conn) = self.open.get_mut(&id) else { return };
        assert!(conn.stage == Stage::Connecting && conn.outstanding.pop_front().is_some());
        if response.timeout_ms == 0 {
            return self.close(server, id);
        }
        conn.stage = Stage::Serving;
        self.sessions.push((response.session_id, response.password));
    }

    fn on_reply(
        &mut self,
        id: ConnId,
        xid: Xid,
        zxid: Zxid,
        result: Result<zabra::jute::Response, zabra::jute::ErrorCode>,
    ) {
        let Some(conn) = self.open.get_mut(&id) else { return };
        let (asked, op) = conn.outstanding.pop_front().expect("a reply to something that was asked");
        assert_eq!(xid, asked, "replies come in the order of the requests");
        let falls = conn.seen.is_newer_than(zxid);
        assert!(!falls, "the zxid of a client never falls: {zxid} after {}", conn.seen);
        conn.seen = zxid;
        if let Ok(response) = result {
            let mut out = BytesMut::new();
            encode_reply(&mut out, xid, zxid, &response);
            let frame = next_frame(&mut out, usize::MAX).expect("a frame").expect("a whole one");
            let mut reader = Reader::new(&frame);
            ReplyHeader::decode(&mut reader).expect("it was just encoded");
            let body = reader.left();
            assert_eq!(decode_response(op, body), Ok(response), "a client can read it");
        }
    }

    /// Serves what has come, as far as it need not wait.
    fn serve(&mut self, server: &mut Server, id: ConnId) {
        while let Some(conn) = self.open.get_mut(&id) {
            if conn.stage == Stage::Connecting {
                return;
            }
            let limit = if conn.stage == Stage::Greeting { CONNECT_FRAME_BYTES_MAX } else { FRAME_BYTES_MAX };
            let frame = match conn.waiting.take() {
                Some(frame) => frame,
                None => match next_frame(&mut conn.input, limit) {
                    Ok(Some(frame)) => frame,
                    Ok(None) => return,
                    Err(_) => return self.close(server, id),
                },
            };
            let served = if conn.stage == Stage::Greeting {
                conn.greet(server, id, &frame)
            } else {
                conn.serve_frame(server, id, frame)
            };
            match served {
                Served::Done => {}
                Served::Later(frame) => return conn.waiting = Some(frame),
                Served::Close => return self.close(server, id),
            }
        }
    }
}

impl Conn {
    fn greet(&mut self, server: &mut Server, id: ConnId, frame: &[u8]) -> Served {
        let Ok(request) = decode_connect_request(frame) else { return Served::Close };
        self.stage = Stage::Connecting;
        self.seen = request.last_zxid_seen;
        self.outstanding.push_back((0, OpCode::CreateSession as i32));
        server.step(Input::Connect { conn: id, request });
        Served::Done
    }

    fn serve_frame(&mut self, server: &mut Server, id: ConnId, frame: Bytes) -> Served {
        let Ok(header) = RequestHeader::decode(&mut Reader::new(&frame)) else { return Served::Close };
        let op = OpCode::try_from(header.op).ok();
        let body = frame.slice(RequestHeader::WIRE_BYTES..);
        match op {
            Some(OpCode::Ping) => return Served::Done,
            Some(OpCode::Auth) => return self.authenticate(server, id, &body),
            _ => {}
        }
        let for_leader = op.is_some_and(is_for_leader);
        if self.must_wait(op.filter(|_| for_leader)) {
            return Served::Later(frame);
        }
        match decode_request(header.op, &body) {
            Ok(request) if for_leader => {
                self.is_syncing = matches!(request, Request::Sync { .. });
                self.outstanding.push_back((header.xid, header.op));
                let (xid, op, auth) = (header.xid, header.op, Arc::clone(&self.identities));
                server.step(Input::Request { conn: id, xid, op, body, auth });
                Served::Done
            }
            Err(_) if !self.outstanding.is_empty() => Served::Later(frame),
            Ok(request) if Replica::is_read(&request) => {
                self.read(server, id, header.xid, &request);
                Served::Done
            }
            // Answered with a code, and nothing else happens.
            Ok(_) | Err(_) => Served::Done,
        }
    }

    fn read(&mut self, server: &mut Server, id: ConnId, xid: Xid, request: &Request<'_>) {
        let mut out = BytesMut::new();
        if Replica::changes_watches(request) {
            server.replica.read_and_watch(id, &self.identities, request, xid, &mut out);
        } else {
            server.replica.read(id, &self.identities, request, xid, &mut out);
        }
        let zxid = server.replica.state().zxid();
        assert!(!self.seen.is_newer_than(zxid), "the zxid of a client never falls");
        self.seen = zxid;
        let mut frames = 0;
        while let Some(frame) = next_frame(&mut out, usize::MAX).expect("frames") {
            ReplyHeader::decode(&mut Reader::new(&frame)).expect("a header");
            frames += 1;
        }
        assert!(frames > 0 && out.is_empty(), "every read is answered, with whole frames");
    }

    fn must_wait(&self, for_leader: Option<OpCode>) -> bool {
        let has_enough = self.outstanding.len() >= OUTSTANDING_MAX;
        match for_leader {
            None => !self.outstanding.is_empty(),
            Some(OpCode::Sync) => has_enough,
            Some(_) => (self.is_syncing && !self.outstanding.is_empty()) || has_enough,
        }
    }

    fn authenticate(&mut self, server: &mut Server, id: ConnId, body: &[u8]) -> Served {
        let Ok(Request::Auth { scheme, auth }) = decode_request(OpCode::Auth as i32, body) else {
            return Served::Close;
        };
        match authenticated(&self.identities, scheme, auth, IP, &AuthSettings::default()) {
            Ok(identities) => {
                server.replica.identify(id, &identities);
                self.identities = identities;
                Served::Done
            }
            Err(_) => Served::Close,
        }
    }
}
