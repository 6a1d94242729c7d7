//! The clients of an ensemble: which of them hears what.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::BytesMut;
use zabra::ids::{ConnId, ServerId, Xid, Zxid};
use zabra::jute::{
    ConnectResponse, ErrorCode, Reader, ReplyHeader, Response, WatchEvent, decode_event, decode_response,
    encode_request, next_frame, xid,
};
use zabra::replica::{Input, Replica};

use super::client::{Asked, Client, Read};
use super::coverage::Coverage;

/// The number of the only read that a client has under way.
const READ_XID: Xid = 1_000_000_000;

#[derive(Default)]
pub struct Clients {
    pub all: BTreeMap<usize, Client>,
    next_conn: u32,
    by_conn: BTreeMap<(ServerId, ConnId), usize>,
    /// Where each client's session was open last.
    homes: BTreeMap<usize, ServerId>,
    pub acknowledged: Vec<Zxid>,
    /// What each client was told last, for scenarios.
    pub told: Vec<String>,
}

impl Clients {
    pub fn client(&mut self, index: usize) -> &mut Client {
        self.all.entry(index).or_insert_with(|| Client::new(index))
    }

    /// A client connects; to go on with its session if it has one.
    pub fn connect(&mut self, index: usize, server: ServerId) -> Input {
        self.next_conn += 1;
        let conn = ConnId(self.next_conn);
        self.by_conn.insert((server, conn), index);
        let request = self.client(index).connect(server, conn);
        self.told.push(format!("client {index} connects to server {server}"));
        Input::Connect { conn, request }
    }

    /// A client leaves its connection without a word. The server may be told of it or not.
    pub fn leave(&mut self, index: usize) -> Option<(ServerId, Input)> {
        let client = self.client(index);
        let (server, conn) = (client.server?, client.conn);
        client.disconnect();
        self.by_conn.remove(&(server, conn));
        self.told.push(format!("client {index} leaves server {server}"));
        Some((server, Input::Disconnected { conn }))
    }

    /// A client asks its server for something.
    pub fn ask(&mut self, index: usize, asked: Asked) -> (ServerId, Input) {
        self.told.push(format!("client {index} asks for {asked:?}"));
        let client = self.client(index);
        let (op, body) = client.with_request(&asked, |request| {
            let mut body = BytesMut::new();
            encode_request(request, &mut body);
            (request.op(), body.freeze())
        });
        let server = client.server.expect("a connected client has a server");
        let (conn, xid) = (client.conn, client.ask(asked));
        (server, Input::Request { conn, xid, op, body, auth: Arc::from([]) })
    }

    /// A client reads from its server, which serves, and leaves a watch.
    pub fn read(&mut self, index: usize, replica: &mut Replica, read: Read, coverage: &mut Coverage) {
        let client = self.client(index);
        let mut out = BytesMut::new();
        let (conn, xid) = (client.conn, READ_XID);
        let op = read.with_request(|request| {
            replica.read_and_watch(conn, &Arc::from([]), request, xid, &mut out);
            request.op()
        });
        coverage.count(if matches!(read, Read::SetWatches { .. }) { "watch set again" } else { "read" });
        let mut answer = None;
        while let Some(frame) = next_frame(&mut out, 1 << 20).expect("a server writes whole frames") {
            let mut reader = Reader::new(&frame);
            let header = ReplyHeader::decode(&mut reader).expect("a reply has a header");
            let body = &frame[ReplyHeader::WIRE_BYTES..];
            if header.xid == xid::NOTIFICATION {
                coverage.count("event told late");
                client.on_event(&decode_event(header.zxid, body).expect("an event"));
            } else {
                let code = ErrorCode::try_from(header.err).expect("a known code");
                let response =
                    (code == ErrorCode::Ok).then(|| decode_response(op, body).expect("a response"));
                answer = Some((header.zxid, response.ok_or(code)));
            }
        }
        let (zxid, result) = answer.expect("a read is answered at once");
        let what = format!("client {index}: {read:?} at {zxid}");
        client.on_read(read, zxid, result);
        self.told.push(what);
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

    pub fn on_connected(
        &mut self,
        server: ServerId,
        conn: ConnId,
        response: ConnectResponse,
        coverage: &mut Coverage,
    ) {
        let Some(client) = self.at(server, conn) else { return };
        let index = client.index;
        if response.timeout_ms == 0 {
            coverage.count("client told that its session has expired");
            client.on_expired();
            self.told.push(format!("client {index}: the session has expired"));
            return;
        }
        let is_old = client.session == response.session_id;
        client.on_connected(response.session_id, response.password);
        let home = self.homes.insert(index, server);
        if is_old && home != Some(server) {
            coverage.count("session moved");
        }
        let what = if is_old { "goes on with its session" } else { "has a session" };
        self.told.push(format!("client {index} {what} at server {server}"));
    }

    pub fn on_reply(
        &mut self,
        server: ServerId,
        conn: ConnId,
        xid: Xid,
        zxid: Zxid,
        result: Result<Response, ErrorCode>,
        coverage: &mut Coverage,
    ) {
        let Some(client) = self.at(server, conn) else { return };
        let what = client.outstanding.front().map(|(_, asked)| format!("{asked:?}")).unwrap_or_default();
        let outcome = result.as_ref().map_or_else(|code| format!("{code:?}"), |_| "Ok".to_string());
        let index = client.index;
        let written = client.on_reply(xid, zxid, result, coverage);
        self.acknowledged.extend(written);
        self.told.push(format!("client {index}: {what} is answered with {outcome} at {zxid}"));
    }

    pub fn on_event(
        &mut self,
        server: ServerId,
        conns: &[ConnId],
        event: &WatchEvent,
        coverage: &mut Coverage,
    ) {
        for conn in conns {
            let Some(client) = self.at(server, *conn) else { continue };
            coverage.count("event");
            client.on_event(event);
            let index = client.index;
            self.told.push(format!("client {index} hears {:?} {}", event.kind, event.path));
        }
    }

    pub fn on_closed(&mut self, server: ServerId, conn: ConnId) {
        let Some(client) = self.at(server, conn) else { return };
        client.disconnect();
        let index = client.index;
        self.by_conn.remove(&(server, conn));
        self.told.push(format!("client {index} is disconnected"));
    }

    pub fn on_server_down(&mut self, server: ServerId) {
        let lost: Vec<ConnId> =
            self.by_conn.keys().filter(|(at, _)| *at == server).map(|(_, conn)| *conn).collect();
        for conn in lost {
            self.on_closed(server, conn);
        }
    }
}
