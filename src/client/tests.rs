//! The client against a server that says what the test tells it to.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::ids::{SessionId, Xid, Zxid};
use crate::jute::{
    ConnectRequest, ConnectResponse, ErrorCode, EventKind, Reader, Request, RequestHeader, Response,
    SetWatches, Stat, WatchEvent, WatcherType, decode_connect_request, decode_request,
    encode_connect_response, encode_empty_reply, encode_error_reply, encode_event, encode_reply,
    encode_stat_reply, frame, next_frame, xid,
};

const ID: SessionId = SessionId(0x0100_0000_0000_0007);
const PASSWORD: &[u8] = b"0123456789abcdef";

/// A listener that a client can be sent to.
struct Server(TcpListener);

/// One connection of a client, seen from the server.
struct Peer {
    stream: TcpStream,
    input: BytesMut,
}

impl Server {
    async fn bind() -> (Server, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        (Server(listener), address)
    }

    /// The next connection, before its session is taken.
    async fn accept(&self) -> (Peer, ConnectRequest) {
        let (stream, _) = self.0.accept().await.unwrap();
        let mut peer = Peer { stream, input: BytesMut::new() };
        let hello = decode_connect_request(&peer.frame().await).unwrap();
        (peer, hello)
    }

    /// The next connection, its session taken and granted `timeout_ms`.
    async fn session(&self, timeout_ms: i32) -> (Peer, ConnectRequest) {
        let (mut peer, hello) = self.accept().await;
        peer.grant(timeout_ms, ID).await;
        (peer, hello)
    }
}

impl Peer {
    async fn frame(&mut self) -> Bytes {
        loop {
            if let Some(frame) = next_frame(&mut self.input, 1 << 20).unwrap() {
                return frame;
            }
            assert_ne!(self.stream.read_buf(&mut self.input).await.unwrap(), 0, "the client hung up");
        }
    }

    async fn grant(&mut self, timeout_ms: i32, session_id: SessionId) {
        self.grant_by(timeout_ms, session_id, false).await;
    }

    async fn grant_by(&mut self, timeout_ms: i32, session_id: SessionId, is_read_only: bool) {
        let password = Bytes::from_static(PASSWORD);
        let response = ConnectResponse { timeout_ms, session_id, password, read_only: Some(is_read_only) };
        self.send(|out| frame(out, |out| encode_connect_response(&response, out))).await;
    }

    /// The next request, which must be `expected`; its xid.
    async fn expect(&mut self, expected: Request<'_>) -> Xid {
        let content = self.frame().await;
        let mut reader = Reader::new(&content);
        let header = RequestHeader::decode(&mut reader).unwrap();
        assert_eq!(decode_request(header.op, reader.left()).unwrap(), expected);
        header.xid
    }

    /// The next request, which must be a setWatches: its data watches, in order.
    async fn data_watches(&mut self) -> Vec<String> {
        let content = self.frame().await;
        let mut reader = Reader::new(&content);
        let header = RequestHeader::decode(&mut reader).unwrap();
        let Ok(Request::SetWatches(watches)) = decode_request(header.op, reader.left()) else { panic!() };
        let mut paths: Vec<String> = watches.data.iter().map(|path| (*path).to_owned()).collect();
        paths.sort_unstable();
        paths
    }

    async fn send(&mut self, encode: impl FnOnce(&mut BytesMut)) {
        let mut out = BytesMut::new();
        encode(&mut out);
        self.stream.write_all(&out).await.unwrap();
    }
}

fn options(session_timeout_ms: u64) -> Options {
    Options { session_timeout: Duration::from_millis(session_timeout_ms), ..Options::default() }
}

fn get_data(path: &str, watch: bool) -> Request<'_> {
    Request::GetData { path, watch }
}

fn data(data: &'static [u8]) -> Response {
    Response::Data { data: Some(Bytes::from_static(data)), stat: Stat::default() }
}

#[tokio::test]
async fn watches_can_be_forgotten_without_a_server() {
    let (server, address) = Server::bind().await;
    let tester = async {
        let client = Client::connect(&address, options(10_000)).await.unwrap();
        let (_, _, kept) = client.get_data_watched("/kept").await.unwrap();
        let (_, _, lost) = client.get_data_watched("/lost").await.unwrap();
        let unanswered = client.remove_watches("/kept", WatcherType::Any).await;
        assert_eq!(unanswered, Err(Error::ConnectionLoss));
        assert_eq!(client.remove_watches_or_forget("/lost", WatcherType::Any).await, Ok(()));
        assert!(lost.event().await.is_err());
        assert!(client.get_data("/a").await.is_ok(), "the session goes on");
        client.close().await.unwrap();
        assert!(kept.event().await.is_err(), "its session is over");
    };
    let remove = |path| Request::RemoveWatches { path, watches: WatcherType::Any };
    let script = async {
        let (mut peer, _) = server.session(10_000).await;
        for path in ["/kept", "/lost"] {
            let read = peer.expect(get_data(path, true)).await;
            peer.send(|out| encode_reply(out, read, Zxid(5), &data(b"x"))).await;
        }
        peer.expect(remove("/kept")).await;
        drop(peer);
        let (mut peer, _) = server.session(10_000).await;
        assert_eq!(peer.data_watches().await, ["/kept", "/lost"]);
        peer.expect(remove("/lost")).await;
        drop(peer);
        let (mut peer, _) = server.session(10_000).await;
        assert_eq!(peer.data_watches().await, ["/kept"]);
        let read = peer.expect(get_data("/a", false)).await;
        peer.send(|out| {
            encode_empty_reply(out, xid::SET_WATCHES, Zxid(9));
            encode_reply(out, read, Zxid(9), &data(b"x"));
        })
        .await;
        let close = peer.expect(Request::CloseSession).await;
        peer.send(|out| encode_empty_reply(out, close, Zxid(10))).await;
    };
    tokio::join!(tester, script);
}

#[tokio::test]
async fn a_read_only_client_reads_from_a_server_that_is_cut_off_until_another_is_found() {
    let (server, address) = Server::bind().await;
    let tester = async {
        let options = Options { read_only: true, ..options(10_000) };
        let client = Client::connect(&address, options).await.unwrap();
        assert_eq!(client.status().state, SessionState::ConnectedReadOnly);
        let refused = client.set_data("/a", b"", None).await;
        assert_eq!(refused, Err(Error::Server(ErrorCode::NotReadOnly)));
        let (content, _, watch) = client.get_data_watched("/a").await.unwrap();
        assert_eq!(content, "old");
        let mut status = client.watch_status();
        status.wait_for(|status| status.state == SessionState::Connected).await.unwrap();
        assert_eq!(client.status().id, ID, "another session");
        assert_eq!(watch.event().await.map(|event| event.zxid), Ok(Zxid(9)), "its watches came along");
        status.wait_for(|status| status.state == SessionState::Connecting).await.unwrap();
        status.wait_for(|status| status.state == SessionState::Connected).await.unwrap();
    };
    let script = async {
        let (mut peer, hello) = server.accept().await;
        assert_eq!((hello.session_id, hello.read_only), (SessionId(0), Some(true)));
        peer.grant_by(10_000, SessionId(0x00ff), true).await;
        let set = peer.expect(Request::SetData { path: "/a", data: Some(b""), version: -1 }).await;
        peer.send(|out| encode_error_reply(out, set, Zxid(5), ErrorCode::NotReadOnly)).await;
        let read = peer.expect(get_data("/a", true)).await;
        peer.send(|out| encode_reply(out, read, Zxid(5), &data(b"old"))).await;
        for answer in ["ro\n", "", "rw\n"] {
            let (mut asking, _) = server.0.accept().await.unwrap();
            let mut word = [0; 4];
            asking.read_exact(&mut word).await.unwrap();
            assert_eq!(&word, b"isro");
            asking.write_all(answer.as_bytes()).await.unwrap();
        }
        let (mut full, hello) = server.accept().await;
        assert_eq!(
            (hello.session_id, hello.read_only),
            (SessionId(0), Some(true)),
            "the old id is unknown here"
        );
        full.grant(10_000, ID).await;
        assert_eq!(full.data_watches().await, ["/a"]);
        let event = WatchEvent { kind: EventKind::NodeDataChanged, path: "/a".to_owned(), zxid: Zxid(9) };
        full.send(|out| encode_event(out, &event)).await;
        drop(full);
        let (mut full, hello) = server.accept().await;
        assert_eq!(hello.session_id, ID, "this one is known everywhere");
        full.grant(10_000, ID).await;
        full
    };
    tokio::join!(tester, script);
}

#[tokio::test]
async fn an_answer_that_takes_too_long_is_a_timeout_and_the_next_server_is_asked() {
    let (server, address) = Server::bind().await;
    let tester = async {
        let limit = Some(Duration::from_millis(300));
        let options = Options { request_timeout: limit, ..options(10_000) };
        let client = Client::connect(&address, options).await.unwrap();
        let late = client.get_data("/a").await;
        assert_eq!(late, Err(Error::Server(ErrorCode::RequestTimeout)));
        assert_eq!(client.get_data("/b").await.unwrap().0, "x");
    };
    let script = async {
        let (mut peer, _) = server.session(10_000).await;
        peer.expect(get_data("/a", false)).await;
        let (mut next, _) = server.session(10_000).await;
        let read = next.expect(get_data("/b", false)).await;
        next.send(|out| encode_reply(out, read, Zxid(9), &data(b"x"))).await;
        next
    };
    tokio::join!(tester, script);
}

#[tokio::test]
async fn a_session_tells_each_event_once_however_many_watches_it_concerns() {
    let (server, address) = Server::bind().await;
    let event = WatchEvent { kind: EventKind::NodeDataChanged, path: "/app/a".to_owned(), zxid: Zxid(9) };
    let tester = async {
        let client = Client::connect(&format!("{address}/app"), options(10_000)).await.unwrap();
        let mut events = client.session_events().await.unwrap();
        let (_, _, first) = client.get_data_watched("/a").await.unwrap();
        let (_, _, second) = client.get_data_watched("/a").await.unwrap();
        let told = WatchEvent { path: "/a".to_owned(), ..event.clone() };
        assert_eq!(events.recv().await, Some(SessionEvent::Fired(told.clone())));
        assert_eq!((first.event().await, second.event().await), (Ok(told.clone()), Ok(told)));
        let (_, _, _watch) = client.get_data_watched("/a").await.unwrap();
        client.remove_watches("/a", WatcherType::Any).await.unwrap();
        let (watches, path) = (WatcherType::Data, "/a".to_owned());
        assert_eq!(events.recv().await, Some(SessionEvent::Removed { watches, path, at_server: true }));
        client.close().await.unwrap();
        assert_eq!(events.recv().await, None);
    };
    let script = async {
        let (mut peer, _) = server.session(10_000).await;
        for is_last in [false, true] {
            let read = peer.expect(get_data("/app/a", true)).await;
            peer.send(|out| encode_reply(out, read, Zxid(5), &data(b"x"))).await;
            if is_last {
                // The second time there is nobody left to be told.
                peer.send(|out| encode_event(out, &event)).await;
                peer.send(|out| encode_event(out, &event)).await;
            }
        }
        let read = peer.expect(get_data("/app/a", true)).await;
        peer.send(|out| encode_reply(out, read, Zxid(9), &data(b"x"))).await;
        let remove = Request::RemoveWatches { path: "/app/a", watches: WatcherType::Any };
        let remove = peer.expect(remove).await;
        peer.send(|out| encode_empty_reply(out, remove, Zxid(9))).await;
        let close = peer.expect(Request::CloseSession).await;
        peer.send(|out| encode_empty_reply(out, close, Zxid(10))).await;
    };
    tokio::join!(tester, script);
}

#[tokio::test]
async fn the_session_goes_on_at_the_next_connection_with_credentials_and_watches() {
    let (server, address) = Server::bind().await;
    let tester = async {
        let client = Client::connect(&format!("{address}/app"), options(10_000)).await.unwrap();
        client.add_auth("digest", b"me:secret").await.unwrap();
        let (content, _, watch) = client.get_data_watched("/a").await.unwrap();
        assert_eq!(content, "one");
        let lost = client.set_data("/a", b"two", None).await;
        assert_eq!(lost, Err(Error::ConnectionLoss));
        let (content, _) = client.get_data("/a").await.unwrap();
        assert_eq!(content, "three");
        let event = watch.event().await.unwrap();
        assert_eq!(
            event,
            WatchEvent { kind: EventKind::NodeDataChanged, path: "/a".to_owned(), zxid: Zxid(9) }
        );
        assert_eq!((client.status().id, &client.status().password.0[..]), (ID, PASSWORD));
        client.close().await.unwrap();
    };
    let script = async {
        let (mut peer, hello) = server.session(10_000).await;
        assert_eq!(
            (hello.session_id, hello.last_zxid_seen, hello.timeout_ms),
            (SessionId(0), Zxid(0), 10_000)
        );
        let auth = || Request::Auth { scheme: "digest", auth: b"me:secret" };
        assert_eq!(peer.expect(auth()).await, xid::AUTH);
        peer.send(|out| encode_empty_reply(out, xid::AUTH, Zxid(0))).await;
        let first = peer.expect(get_data("/app/a", true)).await;
        peer.send(|out| encode_reply(out, first, Zxid(5), &data(b"one"))).await;
        peer.expect(Request::SetData { path: "/app/a", data: Some(b"two"), version: -1 }).await;
        drop(peer);

        let (mut peer, hello) = server.session(10_000).await;
        assert_eq!((hello.session_id, hello.last_zxid_seen, &hello.password[..]), (ID, Zxid(5), PASSWORD));
        assert_eq!(peer.expect(auth()).await, xid::AUTH);
        let watches = SetWatches { relative_zxid: Zxid(5), data: vec!["/app/a"], ..SetWatches::default() };
        assert_eq!(peer.expect(Request::SetWatches(watches)).await, xid::SET_WATCHES);
        let read = peer.expect(get_data("/app/a", false)).await;
        let event = WatchEvent { kind: EventKind::NodeDataChanged, path: "/app/a".to_owned(), zxid: Zxid(9) };
        peer.send(|out| {
            encode_empty_reply(out, xid::AUTH, Zxid(9));
            encode_event(out, &event);
            encode_empty_reply(out, xid::SET_WATCHES, Zxid(9));
            encode_reply(out, read, Zxid(9), &data(b"three"));
        })
        .await;
        let close = peer.expect(Request::CloseSession).await;
        peer.send(|out| encode_empty_reply(out, close, Zxid(10))).await;
    };
    tokio::join!(tester, script);
}

#[tokio::test]
async fn an_expired_session_stays_expired() {
    let (server, address) = Server::bind().await;
    let tester = async {
        let client = Client::connect(&address, options(10_000)).await.unwrap();
        let (found, watch) = client.exists_watched("/a").await.unwrap();
        assert_eq!(found, None);
        assert_eq!(watch.event().await, Err(Error::SessionExpired));
        assert_eq!(client.get_data("/a").await, Err(Error::SessionExpired));
        assert_eq!(client.status().state, SessionState::Expired);
        assert_eq!(client.close().await, Err(Error::SessionExpired));
    };
    let script = async {
        let (mut peer, _) = server.session(10_000).await;
        let exists = peer.expect(Request::Exists { path: "/a", watch: true }).await;
        peer.send(|out| encode_error_reply(out, exists, Zxid(5), ErrorCode::NoNode)).await;
        drop(peer);
        let (mut peer, _) = server.accept().await;
        peer.grant(0, SessionId(0)).await;
    };
    tokio::join!(tester, script);
}

#[tokio::test]
async fn an_idle_client_pings_and_leaves_a_server_that_is_silent() {
    let (server, address) = Server::bind().await;
    let tester = async {
        let client = Client::connect(&address, options(300)).await.unwrap();
        assert_eq!(client.sync("/").await, Err(Error::ConnectionLoss));
        client
    };
    let script = async {
        let (mut silent, _) = server.session(300).await;
        silent.expect(Request::Sync { path: Some("/") }).await;
        assert_eq!(silent.expect(Request::Ping).await, xid::PING);
        let (_peer, hello) = server.session(300).await;
        assert_eq!(hello.session_id, ID);
    };
    let (client, ()) = tokio::join!(tester, script);
    assert!(client.status().last_failure.unwrap().contains("silent"));
}

#[tokio::test]
async fn refused_credentials_end_the_session() {
    let (server, address) = Server::bind().await;
    let tester = async {
        let client = Client::connect(&address, options(10_000)).await.unwrap();
        assert_eq!(client.add_auth("digest", b"nonsense").await, Err(Error::AuthFailed));
        assert_eq!(client.sync("/").await, Err(Error::AuthFailed));
    };
    let script = async {
        let (mut peer, _) = server.session(10_000).await;
        peer.expect(Request::Auth { scheme: "digest", auth: b"nonsense" }).await;
        peer.send(|out| encode_error_reply(out, xid::AUTH, Zxid(0), ErrorCode::AuthFailed)).await;
        peer
    };
    tokio::join!(tester, script);
}

#[tokio::test]
async fn requests_travel_together_and_an_answer_out_of_order_ends_the_connection() {
    let (server, address) = Server::bind().await;
    let tester = async {
        let client = Client::connect(&address, options(10_000)).await.unwrap();
        let first = client.send(&Request::Exists { path: "/1", watch: false }).await.unwrap();
        let second = client.send(&Request::Exists { path: "/2", watch: false }).await.unwrap();
        let answer = Answer { zxid: Zxid(3), response: Response::Stat(Stat::default()) };
        assert_eq!(first.await, Ok(answer));
        assert_eq!(second.await, Err(Error::ConnectionLoss));
    };
    let script = async {
        let (mut peer, _) = server.session(10_000).await;
        let first = peer.expect(Request::Exists { path: "/1", watch: false }).await;
        let second = peer.expect(Request::Exists { path: "/2", watch: false }).await;
        peer.send(|out| {
            encode_stat_reply(out, first, Zxid(3), &Stat::default());
            encode_stat_reply(out, second + 1, Zxid(3), &Stat::default());
        })
        .await;
        peer
    };
    tokio::join!(tester, script);
}

#[tokio::test]
async fn dropping_the_last_handle_closes_the_session_after_what_was_asked_before() {
    let (server, address) = Server::bind().await;
    let tester = async {
        let client = Client::connect(&address, options(10_000)).await.unwrap();
        drop(client.send(&Request::Sync { path: Some("/") }).await.unwrap());
    };
    let script = async {
        let (mut peer, _) = server.session(10_000).await;
        peer.expect(Request::Sync { path: Some("/") }).await;
        peer.expect(Request::CloseSession).await;
    };
    tokio::join!(tester, script);
}

#[tokio::test]
async fn a_close_whose_answer_was_lost_is_sent_again() {
    let (server, address) = Server::bind().await;
    let tester = async {
        let client = Client::connect(&address, options(10_000)).await.unwrap();
        client.close().await.unwrap();
    };
    let script = async {
        let (mut peer, _) = server.session(10_000).await;
        peer.expect(Request::CloseSession).await;
        drop(peer);
        let (mut peer, hello) = server.session(10_000).await;
        assert_eq!(hello.session_id, ID);
        let close = peer.expect(Request::CloseSession).await;
        peer.send(|out| encode_empty_reply(out, close, Zxid(10))).await;
    };
    tokio::join!(tester, script);
}

#[tokio::test]
async fn an_ensemble_that_nobody_can_reach_is_an_error_that_says_so() {
    let (server, address) = Server::bind().await;
    drop(server);
    let options = Options { connect_timeout: Duration::from_millis(100), ..Options::default() };
    let error = Client::connect(&address, options).await.unwrap_err();
    assert!(matches!(&error, Error::Unreachable { servers, .. } if *servers == address), "{error}");
}
