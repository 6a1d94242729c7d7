//! The clients of an ensemble: how what they ask for comes to its servers, and what comes back to them.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::BytesMut;
use zabra::ids::{ConnId, ServerId, Xid, Zxid};
use zabra::jute::{
    ConnectResponse, ErrorCode, Reader, ReplyHeader, Response, WatchEvent, decode_event, decode_response,
    encode_request, next_frame, xid,
};
use zabra::replica::{Input, Output};

use super::client::Client;
use super::ensemble::Ensemble;
use super::history::Asker;
use super::op::{Op, Read};
use super::witness::Told;

/// The number of the only read that a client has under way.
const READ_XID: Xid = 1_000_000_000;

#[derive(Default)]
pub struct Clients {
    pub all: BTreeMap<usize, Client>,
    next_conn: u32,
    by_conn: BTreeMap<(ServerId, ConnId), usize>,
    /// Where each client's session was open last.
    homes: BTreeMap<usize, ServerId>,
}

impl Clients {
    pub fn client(&mut self, index: usize) -> &mut Client {
        self.all.entry(index).or_insert_with(|| Client::new(index))
    }

    /// Where a client's session was open last.
    pub fn home(&self, index: usize) -> Option<ServerId> {
        self.homes.get(&index).copied()
    }

    /// Connections whose clients show themselves, by server.
    pub fn heard(&self, server: ServerId) -> Vec<ConnId> {
        let here = self.all.values().filter(|client| client.connected && client.server == Some(server));
        here.filter(|client| !client.is_silent).map(|client| client.conn).collect()
    }

    fn at(&mut self, server: ServerId, conn: ConnId) -> Option<&mut Client> {
        let index = *self.by_conn.get(&(server, conn))?;
        self.all.get_mut(&index)
    }

    fn of_server(&self, server: ServerId) -> Vec<ConnId> {
        self.by_conn.keys().filter(|(at, _)| *at == server).map(|(_, conn)| *conn).collect()
    }
}

/// What the frames of an answer to a read hold.
struct Frames {
    events: Vec<WatchEvent>,
    zxid: Zxid,
    result: Result<Response, ErrorCode>,
}

impl Ensemble {
    /// A client connects; to go on with its session if it has one.
    pub fn connect_client(&mut self, index: usize, server: ServerId) {
        let clients = &mut self.clients;
        clients.next_conn += 1;
        let conn = ConnId(clients.next_conn);
        clients.by_conn.insert((server, conn), index);
        let request = clients.client(index).connect(server, conn, self.now);
        self.trace.client(self.now, format!("client {index} connects to server {server}"));
        self.input(server, Input::Connect { conn, request });
    }

    /// A client leaves its connection without a word. The server may notice or not.
    pub fn leave(&mut self, index: usize, is_noticed: bool) {
        let client = self.clients.client(index);
        let Some(server) = client.server else { return };
        let conn = client.conn;
        self.trace.client(self.now, format!("client {index} leaves server {server}"));
        self.lose(server, conn);
        if is_noticed {
            self.input(server, Input::Disconnected { conn });
        }
    }

    /// A client will hear nothing more on a connection.
    fn lose(&mut self, server: ServerId, conn: ConnId) -> Option<usize> {
        let client = self.clients.at(server, conn)?;
        let (index, lost) = (client.index, client.disconnect());
        self.judge.witness.history.lost(lost);
        self.clients.by_conn.remove(&(server, conn));
        Some(index)
    }

    /// A client asks its server for something that the leader decides.
    ///
    /// # Panics
    /// If it is not connected.
    pub fn ask(&mut self, index: usize, op: Op) {
        self.trace.client(self.now, format!("client {index} asks for {op}"));
        let client = self.clients.client(index);
        let (code, body) = op.with_request(|request| {
            let mut body = BytesMut::new();
            encode_request(request, &mut body);
            (request.op(), body.freeze())
        });
        let server = client.server.expect("a connected client has a server");
        let (conn, xid) = (client.conn, client.next_xid());
        if let Op::Reconfig(_) = op {
            self.asked_for_servers = Some(self.now);
        }
        let asker = Asker { client: index, conn: conn.0, session: client.session, xid, now_ms: self.now };
        let entry = self.judge.witness.history.invoke(asker, op.clone());
        client.outstanding.push_back(super::client::Waiting { xid, entry, op });
        self.input(server, Input::Request { conn, xid, op: code, body, auth: Arc::from([]) });
    }

    /// All clients of a server that can ask for something ask for a `sync`.
    pub fn sync_all_of(&mut self, server: ServerId) {
        let can_ask = |client: &&Client| {
            let is_last =
                |waiting: &super::client::Waiting| matches!(waiting.op, Op::Close | Op::Reconfig(_));
            let is_closing = client.outstanding.back().is_some_and(is_last);
            client.server == Some(server) && client.connected && !client.is_silent && !is_closing
        };
        let indexes: Vec<usize> =
            self.clients.all.values().filter(can_ask).map(|client| client.index).collect();
        for index in indexes {
            self.ask(index, Op::Sync);
        }
        self.flush(server);
    }

    /// A client reads from its server, which serves. Nothing that it asked for before waits.
    pub fn read(&mut self, index: usize, read: Read) {
        let client = self.clients.client(index);
        let (id, conn) = (client.server.expect("the client is connected"), client.conn);
        let server = self.servers.get_mut(&id).expect("a server of the ensemble");
        let replica = server.replica.as_mut().expect("the server runs");
        let mut out = BytesMut::new();
        let op = read.with_request(|request| {
            match zabra::replica::Replica::changes_watches(request) {
                true => replica.read_and_watch(conn, &Arc::from([]), request, READ_XID, &mut out),
                false => replica.read(conn, &[], request, READ_XID, &mut out),
            }
            request.op()
        });
        let frames = decode(op, &mut out);
        self.trace.client(self.now, format!("client {index}: {read:?} at {}", frames.zxid));
        self.judge.witness.read(
            client,
            &read,
            &frames.events,
            frames.zxid,
            &frames.result,
            &mut self.coverage,
        );
        client.learn_read(&read, &frames.result);
    }

    /// A server gives out something for its clients.
    pub fn tell_clients(&mut self, id: ServerId, output: Output) {
        match output {
            Output::Connected { conn, response } => self.on_connected(id, conn, response),
            Output::Reply { conn, xid, zxid, result } => self.on_reply(id, conn, xid, zxid, result),
            Output::Event { conns, event } => self.on_event(id, &conns, &event),
            Output::CloseConn { conn, .. } => self.on_closed(id, conn),
            other => panic!("not for clients: {other:?}"),
        }
    }

    fn on_connected(&mut self, server: ServerId, conn: ConnId, response: ConnectResponse) {
        let Some(client) = self.clients.at(server, conn) else { return };
        let index = client.index;
        let at = self.servers[&server].replica.as_ref().expect("it did something just now").state().zxid();
        let timeout_ms = u64::from(response.timeout_ms.unsigned_abs());
        let since = self.judge.applied_before(server);
        let told = Told { session: response.session_id, server, since, at, now: self.now, timeout_ms };
        if response.timeout_ms == 0 {
            let told = Told { session: client.session, ..told };
            self.coverage.count("client told that its session has expired");
            self.trace.client(self.now, format!("client {index}: the session has expired"));
            self.judge.witness.expired(client, told, &mut self.coverage);
            return client.forget_session();
        }
        let is_old = client.session == response.session_id;
        self.judge.witness.connected(client, told, &mut self.coverage);
        self.judge.expiry.touched(response.session_id, client.connected_ms);
        client.on_connected(response.session_id, response.password);
        let home = self.clients.homes.insert(index, server);
        if is_old && home != Some(server) {
            self.coverage.count("session moved");
        }
        let what = if is_old { "goes on with its session" } else { "has a session" };
        self.trace.client(self.now, format!("client {index} {what} at server {server}"));
    }

    fn on_reply(
        &mut self,
        server: ServerId,
        conn: ConnId,
        xid: Xid,
        zxid: Zxid,
        result: Result<Response, ErrorCode>,
    ) {
        let Some(client) = self.clients.at(server, conn) else { return };
        let index = client.index;
        let outcome = result.as_ref().map_or_else(|code| format!("{code:?}"), |_| "Ok".to_string());
        let waiting = self.judge.witness.answered(client, xid, zxid, &result, &mut self.coverage);
        if result.is_ok() && matches!(waiting.op, Op::Reconfig(_)) {
            self.judge.reconfigured(&self.servers, zxid);
            self.coverage.count("rule 22: a reconfiguration was answered");
        }
        if result.is_ok() {
            let asked_ms = self.judge.witness.history.entries[waiting.entry].asked_ms;
            self.judge.expiry.touched(client.session, asked_ms);
        }
        let op = &waiting.op;
        self.trace.client(self.now, format!("client {index}: {op} is answered with {outcome} at {zxid}"));
        if *op == Op::Close && result.is_ok() {
            client.forget_session();
        }
        client.learn(op, &result);
    }

    fn on_event(&mut self, server: ServerId, conns: &[ConnId], event: &WatchEvent) {
        for conn in conns {
            let Some(client) = self.clients.at(server, *conn) else { continue };
            self.judge.witness.fired(client, event, &mut self.coverage);
            let (index, kind) = (client.index, event.kind);
            self.trace.client(self.now, format!("client {index} hears {kind:?} {}", event.path));
        }
    }

    fn on_closed(&mut self, server: ServerId, conn: ConnId) {
        if let Some(index) = self.lose(server, conn) {
            self.trace.client(self.now, format!("client {index} is disconnected"));
        }
    }

    /// All clients of a server lose it.
    pub fn lose_server(&mut self, server: ServerId) {
        for conn in self.clients.of_server(server) {
            self.on_closed(server, conn);
        }
    }
}

/// An answer, and the events that come before it.
fn decode(op: i32, out: &mut BytesMut) -> Frames {
    let (mut events, mut answer) = (Vec::new(), None);
    while let Some(frame) = next_frame(out, 1 << 20).expect("a server writes whole frames") {
        let mut reader = Reader::new(&frame);
        let header = ReplyHeader::decode(&mut reader).expect("a reply has a header");
        let body = &frame[ReplyHeader::WIRE_BYTES..];
        if header.xid == xid::NOTIFICATION {
            events.push(decode_event(header.zxid, body).expect("an event"));
        } else {
            let code = ErrorCode::try_from(header.err).expect("a known code");
            let response = (code == ErrorCode::Ok).then(|| decode_response(op, body).expect("a response"));
            answer = Some((header.zxid, response.ok_or(code)));
        }
    }
    let (zxid, result) = answer.expect("a read is answered at once");
    Frames { events, zxid, result }
}
