//! TLS through the sockets of a server: who is let in, as whom, and what a wrong certificate comes to.

#[path = "tls/certificates.rs"]
mod certificates;
#[allow(dead_code)]
#[path = "server_sockets/server.rs"]
mod server;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use certificates::{Authority, Wanted};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion};
use server::{Client, PATIENCE, Server, new_session};
use tempfile::{TempDir, tempdir};
use zabra::client::{self, Options, TlsFiles};
use zabra::jute::{
    Acl, AuthId, Create, CreateMode, CreateOp, ErrorCode, OpCode, Reader, ReplyHeader, Request, Response,
    decode_response, encode_connect_request, encode_request_frame, frame, perms,
};

/// A folder with an authority, and a server with a certificate of it.
struct Setup {
    folder: TempDir,
    authority: Authority,
}

impl Setup {
    fn new() -> Setup {
        let folder = tempdir().expect("a folder");
        let authority = Authority::new(folder.path(), "ca");
        authority.make(&Wanted::default());
        Setup { folder, authority }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// The lines of configuration that name the files.
    fn stores(&self) -> String {
        let (own, ca) = (self.path("server.pem"), self.path("ca.pem"));
        format!("ssl.keyStore.location={own}\nssl.trustStore.location={ca}\n")
    }

    /// A server with both ports: the plain one and the one with TLS.
    fn serve(&self, lines: &str) -> (Server, SocketAddr, SocketAddr) {
        let both = "clientPort=0\nclientPortAddress=127.0.0.1\nsecureClientPort=0\n\
                    secureClientPortAddress=127.0.0.1\n4lw.commands.whitelist=*\n";
        let mut server = Server::start(self.folder.path(), &format!("{both}{}{lines}", self.stores()));
        let line = server.wait_for("serving clients on ");
        let (_, ports) = line.split_once("serving clients on ").expect("waited for");
        let ports: Vec<SocketAddr> = ports.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        (server, ports[0], ports[1])
    }
}

/// How a client speaks.
struct Speaker<'a> {
    ca: &'a str,
    own: Option<&'a str>,
    versions: &'a [&'static SupportedProtocolVersion],
}

const BOTH: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];

type Encrypted = StreamOwned<ClientConnection, TcpStream>;

impl Speaker<'_> {
    /// What is spoken through; nothing is said yet.
    fn dial(&self, setup: &Setup, addr: SocketAddr) -> Encrypted {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_file(setup.path(self.ca)).expect("a certificate"))
            .expect("a root");
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(self.versions)
            .expect("versions")
            .with_root_certificates(roots);
        let config = match self.own {
            None => builder.with_no_client_auth(),
            Some(own) => {
                let own = setup.path(own);
                let certificate = CertificateDer::from_pem_file(&own).expect("a certificate");
                let key = PrivateKeyDer::from_pem_file(&own).expect("a key");
                builder.with_client_auth_cert(vec![certificate], key).expect("they belong together")
            }
        };
        let name = ServerName::try_from("localhost").expect("a name");
        let session = ClientConnection::new(Arc::new(config), name).expect("a session");
        let socket = TcpStream::connect(addr).expect("the server listens");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        StreamOwned::new(session, socket)
    }

    /// A session, or why there is none.
    fn connect(&self, setup: &Setup, addr: SocketAddr) -> Result<Encrypted, String> {
        let mut stream = self.dial(setup, addr);
        let mut hello = BytesMut::new();
        frame(&mut hello, |out| encode_connect_request(&new_session(10_000), out));
        stream.write_all(&hello).map_err(|error| error.to_string())?;
        receive(&mut stream).map(|_| stream)
    }
}

fn receive(stream: &mut impl Read) -> Result<Bytes, String> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).map_err(|error| error.to_string())?;
    let mut content = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut content).map_err(|error| error.to_string())?;
    Ok(content.into())
}

fn ask(stream: &mut (impl Read + Write), request: &Request<'_>) -> (i32, Bytes) {
    let mut bytes = BytesMut::new();
    encode_request_frame(1, request, &mut bytes);
    stream.write_all(&bytes).expect("the server reads");
    let reply = receive(stream).expect("a reply");
    let header = ReplyHeader::decode(&mut Reader::new(&reply)).expect("a header");
    (header.err, reply.slice(ReplyHeader::WIRE_BYTES..))
}

fn who_am_i(stream: &mut (impl Read + Write)) -> Vec<String> {
    let (_, body) = ask(stream, &Request::WhoAmI);
    match decode_response(OpCode::WhoAmI as i32, &body).expect("a response") {
        Response::WhoAmI(ids) => ids.iter().map(|it| format!("{}:{}", it.scheme, it.id)).collect(),
        other => panic!("not who I am: {other:?}"),
    }
}

fn create(stream: &mut (impl Read + Write), path: &str, scheme: &str, id: &str) -> i32 {
    let acl = vec![Acl { perms: perms::ALL, id: AuthId { scheme: scheme.to_owned(), id: id.to_owned() } }];
    let request = Create { path, data: Some(b"x"), acl, flags: 0, op: CreateOp::Create };
    ask(stream, &Request::Create(request)).0
}

fn get(stream: &mut (impl Read + Write), path: &str) -> i32 {
    ask(stream, &Request::GetData { path, watch: false }).0
}

const KNOWN: Speaker<'static> = Speaker { ca: "ca.pem", own: Some("known.pem"), versions: BOTH };
const STRANGER: Speaker<'static> = Speaker { ca: "ca.pem", own: None, versions: BOTH };

#[test]
fn a_certificate_is_who_a_client_is_in_both_versions_of_tls() {
    let setup = Setup::new();
    setup.authority.make(&Wanted { name: "known", serial: 2, ..Wanted::default() });
    setup.authority.make(&Wanted { name: "other", serial: 3, ..Wanted::default() });
    setup.authority.make(&Wanted { name: "root", serial: 4, ..Wanted::default() });
    let (server, plain, secure) =
        setup.serve("X509AuthenticationProvider.superUser=CN=root,O=Ex\\\\, Inc.\n");
    let mut known = KNOWN.connect(&setup, secure).unwrap();
    assert_eq!(who_am_i(&mut known), ["ip:127.0.0.1", "x509:CN=known,O=Ex\\, Inc."]);
    assert_eq!(create(&mut known, "/mine", "x509", "CN=known,O=Ex\\, Inc."), 0);
    assert_eq!(create(&mut known, "/auth", "auth", ""), 0);
    assert_eq!(create(&mut known, "/bad", "x509", "nobody"), ErrorCode::InvalidAcl as i32);
    assert_eq!((get(&mut known, "/mine"), get(&mut known, "/auth")), (0, 0));
    let old = Speaker { own: Some("other.pem"), versions: &[&rustls::version::TLS12], ..KNOWN };
    let mut other = old.connect(&setup, secure).unwrap();
    assert_eq!(other.conn.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_2));
    let refused = ErrorCode::NoAuth as i32;
    assert_eq!((get(&mut other, "/mine"), get(&mut other, "/auth")), (refused, refused));
    let mut root = Speaker { own: Some("root.pem"), ..KNOWN }.connect(&setup, secure).unwrap();
    assert_eq!((get(&mut root, "/mine"), get(&mut root, "/auth")), (0, 0));
    let mut client = Client::connect(plain, 10_000);
    client.send(1, &Request::GetData { path: "/mine", watch: false });
    assert_eq!(client.receive_code(), (1, refused));
    assert!(server.end().success());
}

#[test]
fn big_replies_and_many_requests_go_through_tls_in_order() {
    let setup = Setup::new();
    let (_server, _, secure) = setup.serve("ssl.clientAuth=none\n");
    let mut stream = STRANGER.connect(&setup, secure).unwrap();
    let data = vec![7; 900_000];
    let big = Create { path: "/big", data: Some(&data), acl: Acl::open(), flags: 0, op: CreateOp::Create };
    assert_eq!(ask(&mut stream, &Request::Create(big)).0, 0);
    let mut bytes = BytesMut::new();
    for xid in 0..40 {
        encode_request_frame(xid, &Request::GetData { path: "/big", watch: false }, &mut bytes);
    }
    stream.write_all(&bytes).unwrap();
    for xid in 0..40 {
        let reply = receive(&mut stream).unwrap();
        assert_eq!(ReplyHeader::decode(&mut Reader::new(&reply)).unwrap().xid, xid);
        assert!(reply.len() > data.len());
    }
}

#[test]
fn who_needs_no_certificate_may_have_none_and_no_wrong_one_either() {
    let setup = Setup::new();
    let strange = Authority::new(setup.folder.path(), "strange");
    strange.make(&Wanted { name: "forged", serial: 9, ..Wanted::default() });
    setup.authority.make(&Wanted { name: "known", serial: 2, ..Wanted::default() });
    setup.authority.make(&Wanted { name: "over", serial: 3, is_over: true, ..Wanted::default() });
    setup.authority.make(&Wanted { name: "revoked", serial: 4, ..Wanted::default() });
    let crl = format!("ssl.crl=true\nssl.crl.location={}\n", setup.authority.revoke(&[4]).display());
    let with = |own| Speaker { own: Some(own), ..KNOWN };
    for client_auth in ["need", "want", "none"] {
        let (mut server, _, secure) = setup.serve(&format!("{crl}ssl.clientAuth={client_auth}\n"));
        let identities = |speaker: &Speaker<'_>| {
            speaker.connect(&setup, secure).map(|mut stream| who_am_i(&mut stream).len())
        };
        let is_let_in = if client_auth == "none" { 1 } else { 2 };
        assert_eq!(identities(&KNOWN), Ok(is_let_in), "{client_auth}");
        assert_eq!(identities(&STRANGER).is_ok(), client_auth != "need", "{client_auth}");
        for wrong in ["forged.pem", "over.pem", "revoked.pem"] {
            assert_eq!(identities(&with(wrong)).is_ok(), client_auth == "none", "{client_auth} {wrong}");
        }
        if client_auth == "want" {
            server.wait_for("is refused: its TLS handshake failed: invalid peer certificate");
        }
        let mut known = KNOWN.connect(&setup, secure).unwrap();
        let path = format!("/{client_auth}");
        assert_eq!(create(&mut known, &path, "world", "anyone"), 0, "service goes on");
    }
}

#[test]
fn a_revocation_list_whose_time_is_over_lets_nobody_in_and_is_told_of() {
    let setup = Setup::new();
    setup.authority.make(&Wanted { name: "known", serial: 2, ..Wanted::default() });
    let crl = setup.authority.revoke_until(&[], 2025);
    let (mut server, _, secure) = setup.serve(&format!("ssl.crl.location={}\n", crl.display()));
    assert!(KNOWN.connect(&setup, secure).is_err());
    server.wait_for("is refused: its TLS handshake failed: invalid peer certificate");
    let log = server.log_at_end();
    assert!(log.contains("list 1 of it was valid until Jan  1 00:00:00 2025"), "{log}");
}

#[test]
fn a_revocation_list_that_is_replaced_counts_from_then_on() {
    let setup = Setup::new();
    setup.authority.make(&Wanted { name: "known", serial: 2, ..Wanted::default() });
    let crl = setup.authority.revoke(&[]);
    let lines = format!("ssl.crl.location={}\nclient.certReload=true\n", crl.display());
    let (mut server, _, secure) = setup.serve(&lines);
    let mut open = KNOWN.connect(&setup, secure).unwrap();
    setup.authority.revoke(&[2]);
    server.wait_for("were read again");
    assert!(KNOWN.connect(&setup, secure).is_err(), "revoked meanwhile");
    assert_eq!(who_am_i(&mut open).len(), 2, "connections that are open stay");
    setup.authority.revoke_until(&[], 2025);
    server.wait_for("list 1 of it was valid until");
    server.wait_for("were read again");
    assert!(KNOWN.connect(&setup, secure).is_err(), "nobody is let in");
}

#[test]
fn versions_and_suites_are_those_of_the_configuration() {
    let setup = Setup::new();
    setup.authority.make(&Wanted { name: "known", serial: 2, ..Wanted::default() });
    let (old, new) = (&[&rustls::version::TLS12][..], &[&rustls::version::TLS13][..]);
    // What the client offers beside, and the version and suite that come of it.
    for (lines, versions, expected) in [
        ("ssl.protocol=TLSv1.2", BOTH, Some("TLSv1_2")),
        ("ssl.protocol=TLSv1.2", new, None),
        ("ssl.enabledProtocols=TLSv1.3", BOTH, Some("TLSv1_3")),
        ("ssl.enabledProtocols=TLSv1.3", old, None),
        ("ssl.enabledProtocols=TLSv1.2,TLSv1.3", old, Some("TLSv1_2")),
        ("ssl.ciphersuites=TLS_AES_128_GCM_SHA256", new, Some("TLSv1_3 TLS13_AES_128_GCM_SHA256")),
        (
            "ssl.ciphersuites=TLS_CHACHA20_POLY1305_SHA256",
            new,
            Some("TLSv1_3 TLS13_CHACHA20_POLY1305_SHA256"),
        ),
        ("ssl.ciphersuites=TLS_AES_128_GCM_SHA256", old, None),
        (
            "ssl.ciphersuites=TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
            old,
            Some("TLSv1_2 TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
        ),
    ] {
        let (_server, _, secure) = setup.serve(&format!("{lines}\n"));
        let speaker = Speaker { versions, ..KNOWN };
        let spoken = speaker.connect(&setup, secure).map(|mut stream| {
            assert_eq!(who_am_i(&mut stream).len(), 2);
            let version = stream.conn.protocol_version().expect("behind the handshake");
            let suite = stream.conn.negotiated_cipher_suite().expect("behind the handshake").suite();
            format!("{version:?} {suite:?}")
        });
        match (&spoken, expected) {
            (Ok(spoken), Some(expected)) => assert!(spoken.starts_with(expected), "{lines}: {spoken}"),
            (Err(_), None) => {}
            _ => panic!("{lines}: {spoken:?}, where {expected:?} was expected"),
        }
    }
}

#[test]
fn the_address_of_a_client_is_compared_if_that_is_wanted() {
    let setup = Setup::new();
    setup.authority.make(&Wanted { name: "known", serial: 2, ..Wanted::default() });
    setup.authority.make(&Wanted { name: "elsewhere", serial: 3, hosts: &["10.1.2.3"], ..Wanted::default() });
    let (mut server, _, secure) = setup.serve("ssl.clientHostnameVerification=true\n");
    assert!(KNOWN.connect(&setup, secure).is_ok());
    assert!(Speaker { own: Some("elsewhere.pem"), ..KNOWN }.connect(&setup, secure).is_err());
    server.wait_for("is refused: its certificate cannot be used");
}

#[test]
fn what_does_not_fit_the_port_is_refused_and_service_goes_on() {
    let setup = Setup::new();
    let (mut server, plain, secure) = setup.serve("ssl.clientAuth=none\n");
    let mut client = Client::dial(secure);
    client.send_bytes(b"ruok");
    client.send_bytes(&[0; 64]);
    assert!(!String::from_utf8_lossy(&client.read_to_end()).contains("imok"));
    server.wait_for("is refused: its TLS handshake failed");
    assert!(STRANGER.connect(&setup, plain).is_err(), "TLS to the plain port");
    assert!(STRANGER.connect(&setup, secure).is_ok());
    let mut words = Client::dial(plain);
    words.send_bytes(b"mntr");
    let text = String::from_utf8(words.read_to_end()).unwrap();
    assert!(text.contains("zk_unsuccessful_handshake\t1\n"), "{text}");
    assert!(text.contains("zk_outstanding_tls_handshake\t0\n"), "{text}");
}

#[test]
fn a_port_for_both_tells_them_apart_by_the_first_byte() {
    let setup = Setup::new();
    let lines = "client.portUnification=true\nssl.clientAuth=none\nssl.handshakeDetectionTimeoutMillis=300\n";
    let (mut server, both, secure) = setup.serve(lines);
    assert!(STRANGER.connect(&setup, both).is_ok());
    assert!(STRANGER.connect(&setup, secure).is_ok());
    drop(Client::connect(both, 10_000));
    let mut words = Client::dial(both);
    words.send_bytes(b"ruok");
    assert_eq!(words.read_to_end(), b"imok");
    let mut silent = Client::dial(both);
    assert_eq!(silent.read_to_end(), b"");
    server.wait_for("no byte came within 300 ms");
}

#[test]
fn handshakes_are_bounded_in_number_and_time() {
    let setup = Setup::new();
    let (mut server, plain, secure) =
        setup.serve("ssl.clientAuth=none\nnetty.server.outstandingHandshake.limit=2\n");
    let slow = [Client::dial(secure), Client::dial(secure)];
    let counts = || {
        let mut words = Client::dial(plain);
        words.send_bytes(b"mntr");
        String::from_utf8(words.read_to_end()).unwrap()
    };
    while !counts().contains("zk_outstanding_tls_handshake\t2\n") {
        std::thread::yield_now();
    }
    assert!(STRANGER.connect(&setup, secure).is_err());
    server.wait_for("as many as netty.server.outstandingHandshake.limit allows");
    assert!(counts().contains("zk_tls_handshake_exceeded\t1\n"));
    server.wait_for("its TLS handshake took longer than 10000 ms");
    for mut client in slow {
        assert_eq!(client.read_to_end(), b"");
    }
    assert!(STRANGER.connect(&setup, secure).is_ok());
}

#[test]
fn files_that_change_are_read_again_and_what_is_wrong_with_them_changes_nothing() {
    let setup = Setup::new();
    let (mut server, _, secure) = setup.serve("ssl.clientAuth=none\nclient.certReload=true\n");
    let shown = || {
        let stream = STRANGER.connect(&setup, secure).unwrap();
        stream.conn.peer_certificates().unwrap()[0].clone()
    };
    let first = shown();
    let own = setup.path("server.pem");
    let text = std::fs::read_to_string(&own).unwrap();
    std::fs::write(&own, &text[..text.len() / 2]).unwrap();
    let line = server.wait_for("what was read before still counts");
    assert!(line.contains(&format!("ssl.keyStore.location={own}: ")), "{line}");
    assert_eq!(shown(), first);
    setup.authority.make(&Wanted { serial: 77, ..Wanted::default() });
    server.wait_for("the files of ssl.* were read again");
    assert_ne!(shown(), first);
}

/// What the server says when it does not start.
fn refusal(folder: &Path, lines: &str) -> String {
    let lines = format!("secureClientPort=0\nsecureClientPortAddress=127.0.0.1\n{lines}");
    Server::start(folder, &lines).wait_for("ssl.")
}

#[test]
fn a_file_that_cannot_be_used_ends_the_start_with_key_file_and_reason() {
    let setup = Setup::new();
    let strange = Authority::new(setup.folder.path(), "strange");
    let forged = strange.make(&Wanted { name: "forged", serial: 9, ..Wanted::default() });
    let (own, forged) = (
        std::fs::read_to_string(setup.path("server.pem")).unwrap(),
        std::fs::read_to_string(forged).unwrap(),
    );
    let key_at = own.find("-----BEGIN PRIVATE").unwrap();
    let forged_key = &forged[forged.find("-----BEGIN PRIVATE").unwrap()..];
    let damaged = own.replace("MII", "!!!");
    for (name, content) in [
        ("empty.pem", ""),
        ("cert.pem", &own[..key_at]),
        ("key.pem", &own[key_at..]),
        ("mixed.pem", &format!("{}{forged_key}", &own[..key_at])),
        ("damaged.pem", &damaged),
        ("joined.pem", &own.replace("PRIVATE KEY-----\n", "PRIVATE KEY")),
        ("cut.pem", own.trim_end().trim_end_matches('-')),
        ("nonsense.p12", "nonsense"),
    ] {
        std::fs::write(setup.path(name), content).unwrap();
    }
    let key_store = |name: &str| setup.stores().replace("server.pem", name);
    for (lines, key, reason) in [
        (key_store("missing.pem"), "keyStore.location", "it cannot be read: No such file"),
        (key_store("empty.pem"), "keyStore.location", "it holds no certificate"),
        (key_store("cert.pem"), "keyStore.location", "it holds no private key"),
        (key_store("key.pem"), "keyStore.location", "it holds no certificate"),
        (key_store("mixed.pem"), "keyStore.location", "key and certificate cannot be used: "),
        (key_store("damaged.pem"), "keyStore.location", "it cannot be read as PEM: a section is not base64"),
        (
            key_store("joined.pem"),
            "keyStore.location",
            "it cannot be read as PEM: a line begins with -----BEGIN and does not end with -----",
        ),
        (key_store("cut.pem"), "keyStore.location", "it cannot be read as PEM: a section has no end"),
        (key_store("nonsense.p12"), "keyStore.location", "no PKCS12 file that ssl.keyStore.password opens"),
        (setup.stores().replace("ca.pem", "empty.pem"), "trustStore.location", "it holds no certificate"),
        (setup.stores() + "ssl.crl.location=/nowhere\n", "crl.location", "it cannot be read: No such file"),
        (setup.stores() + "ssl.ciphersuites=X\n", "ciphersuites", "not offered here"),
        (
            setup.stores() + "ssl.keyStore.passwordPath=/nowhere\nssl.keyStore.type=PKCS12\n",
            "keyStore.passwordPath",
            "it cannot be read",
        ),
    ] {
        let line = refusal(setup.folder.path(), &lines);
        assert!(line.contains(&format!("ssl.{key}=")) && line.contains(reason), "{reason}: {line}");
        assert!(line.len() < 400, "no line of the file is shown: it may be the key: {line}");
    }
}

#[tokio::test]
async fn the_rust_client_speaks_tls_and_asks_for_the_right_name() {
    let setup = Setup::new();
    setup.authority.make(&Wanted { hosts: &["localhost"], ..Wanted::default() });
    setup.authority.make(&Wanted { name: "known", serial: 2, ..Wanted::default() });
    let (_server, _, secure) = setup.serve("");
    let file = |name: &str| setup.folder.path().join(name);
    let known = file("known.pem");
    let files = TlsFiles { ca: file("ca.pem"), identity: Some((known.clone(), known)) };
    let options =
        |tls| Options { tls: Some(tls), connect_timeout: Duration::from_secs(2), ..Options::default() };
    let by_name = format!("localhost:{}", secure.port());
    let connected = client::Client::connect(&by_name, options(files.clone())).await.unwrap();
    let data = vec![1; 500_000];
    connected.create("/big", &data, CreateMode::Persistent).await.unwrap();
    assert_eq!(connected.get_data("/big").await.unwrap().0, data);
    connected.close().await.unwrap();
    Authority::new(setup.folder.path(), "strange");
    let strange = TlsFiles { ca: file("strange.pem"), ..files.clone() };
    let error = client::Client::connect(&by_name, options(strange)).await.unwrap_err().to_string();
    assert!(error.contains("UnknownIssuer"), "{error}");
    let error =
        client::Client::connect(&secure.to_string(), options(files.clone())).await.unwrap_err().to_string();
    assert!(error.contains("not valid for name"), "{error}");
    let missing = TlsFiles { ca: file("missing.pem"), ..files };
    let error = client::Client::connect(&secure.to_string(), options(missing)).await.unwrap_err().to_string();
    assert!(error.starts_with("TLS: ca=") && error.contains("it cannot be read"), "{error}");
}

#[test]
fn no_password_is_in_the_log_or_in_an_answer() {
    let setup = Setup::new();
    let lines = "ssl.clientAuth=none\nssl.keyStore.password=geheim\nssl.trustStore.password=geheim\n";
    let (server, plain, _) = setup.serve(lines);
    for word in ["conf", "envi", "mntr", "srvr"] {
        let mut words = Client::dial(plain);
        words.send_bytes(word.as_bytes());
        let text = String::from_utf8(words.read_to_end()).unwrap();
        assert!(!text.contains("geheim"), "{text}");
        assert!(word != "conf" || text.contains("secureClientPort=0\n"), "{text}");
    }
    let log = server.log_at_end();
    assert!(log.contains("serving clients on") && !log.contains("geheim"), "{log}");
}
