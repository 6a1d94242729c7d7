//! The Rust client against Apache ZooKeeper.

mod support;

use std::time::Duration;

use support::ApacheZooKeeper;
use tokio::sync::mpsc;
use zabra::client::lock::Lock;
use zabra::client::{Client, Error, Options};
use zabra::jute::{
    Acl, AuthId, Create, CreateMode, CreateOp, ErrorCode, EventKind, MultiOp, MultiResult, perms,
};

fn options() -> Options {
    // A Java process on a busy machine takes its time to start.
    let (session_timeout, connect_timeout) = (Duration::from_secs(4), Duration::from_secs(60));
    Options { session_timeout, connect_timeout, ..Options::default() }
}

fn server_error<T: std::fmt::Debug>(result: Result<T, Error>) -> ErrorCode {
    result.unwrap_err().code().expect("a server's code")
}

#[tokio::test]
#[ignore = "needs Apache ZooKeeper: ./test apache"]
async fn every_operation_does_what_it_says() {
    let server = ApacheZooKeeper::start();
    let client = Client::connect(&server.address(), options()).await.unwrap();
    znodes(&client).await;
    access_control(&client).await;
    multi(&client).await;
    watches(&client).await;
    chroot(&client, &server).await;
    sessions(client, &server).await;
}

async fn znodes(client: &Client) {
    assert_eq!(client.create("/a", b"one", CreateMode::Persistent).await.unwrap(), "/a");
    assert_eq!(server_error(client.create("/a", b"", CreateMode::Persistent).await), ErrorCode::NodeExists);
    let (path, stat) =
        client.create_with_acl("/a/n-", b"", &Acl::open(), CreateMode::EphemeralSequential).await.unwrap();
    assert_eq!((path.as_str(), stat.ephemeral_owner), ("/a/n-0000000000", client.status().id));
    assert_eq!(server_error(client.delete("/a", None).await), ErrorCode::NotEmpty);

    let (data, stat) = client.get_data("/a").await.unwrap();
    assert_eq!((&data[..], stat.version, stat.num_children), (&b"one"[..], 0, 1));
    assert_eq!(client.set_data("/a", b"two", Some(0)).await.unwrap().version, 1);
    assert_eq!(server_error(client.set_data("/a", b"two", Some(0)).await), ErrorCode::BadVersion);
    assert_eq!(client.exists("/a").await.unwrap().unwrap().version, 1);
    assert_eq!(client.exists("/b").await.unwrap(), None);
    client.sync("/a").await.unwrap();
    let (children, stat) = client.get_children("/a").await.unwrap();
    assert_eq!((children, stat.cversion), (vec!["n-0000000000".to_owned()], 1));
    let no_slash = client.create("no-slash", b"", CreateMode::Persistent).await;
    assert_eq!(server_error(no_slash), ErrorCode::BadArguments);
}

async fn access_control(client: &Client) {
    client.add_auth("digest", b"me:secret").await.unwrap();
    let creator = Acl { perms: perms::ALL, id: AuthId { scheme: "auth".into(), id: String::new() } };
    client.create_with_acl("/mine", b"", &[creator], CreateMode::Persistent).await.unwrap();
    let (acl, stat) = client.get_acl("/mine").await.unwrap();
    assert_eq!((acl[0].id.scheme.as_str(), stat.aversion), ("digest", 0));
    let open = Acl::open();
    assert_eq!(client.set_acl("/mine", &open, Some(0)).await.unwrap().aversion, 1);
    assert_eq!(client.get_acl("/mine").await.unwrap().0, open);
}

async fn multi(client: &Client) {
    let create = |path| {
        MultiOp::Create(Create { path, data: Some(b""), acl: Acl::open(), flags: 2, op: CreateOp::Create })
    };
    let ops = [
        create("/m-"),
        MultiOp::Check { path: "/a", version: 1 },
        MultiOp::SetData { path: "/a", data: Some(b"three"), version: 1 },
        MultiOp::Delete { path: "/mine", version: -1 },
    ];
    let results = client.multi(&ops).await.unwrap();
    assert!(matches!(&results[0], MultiResult::Create { path } if path.starts_with("/m-00")), "{results:?}");
    assert!(matches!(results[2], MultiResult::SetData(stat) if stat.version == 2), "{results:?}");
    let failed = client.multi(&ops).await.unwrap_err();
    assert_eq!(failed, Error::Multi { index: 1, code: ErrorCode::BadVersion });
}

async fn watches(client: &Client) {
    let (_, _, data) = client.get_data_watched("/a").await.unwrap();
    let (_, _, children) = client.get_children_watched("/a").await.unwrap();
    let (_, appears) = client.exists_watched("/w").await.unwrap();
    client.set_data("/a", b"", None).await.unwrap();
    client.create("/a/b", b"", CreateMode::Persistent).await.unwrap();
    client.create("/w", b"", CreateMode::Persistent).await.unwrap();
    assert_eq!(data.event().await.unwrap().kind, EventKind::NodeDataChanged);
    assert_eq!(children.event().await.unwrap().kind, EventKind::NodeChildrenChanged);
    let event = appears.event().await.unwrap();
    assert_eq!((event.kind, event.path.as_str()), (EventKind::NodeCreated, "/w"));
}

async fn chroot(client: &Client, server: &ApacheZooKeeper) {
    let inside = Client::connect(&format!("{}/a", server.address()), options()).await.unwrap();
    assert_eq!(inside.create("/c", b"in", CreateMode::Persistent).await.unwrap(), "/c");
    assert_eq!(client.get_data("/a/c").await.unwrap().0, "in");
    assert!(inside.get_children("/").await.unwrap().0.contains(&"c".to_owned()));
    let (_, _, watch) = inside.get_data_watched("/").await.unwrap();
    client.set_data("/a", b"x", None).await.unwrap();
    assert_eq!(watch.event().await.unwrap().path, "/");
    inside.close().await.unwrap();
}

async fn sessions(client: Client, server: &ApacheZooKeeper) {
    let address = server.address();
    let crashed = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let client = runtime.block_on(Client::connect(&address, options())).unwrap();
        runtime.block_on(client.create("/crashed", b"", CreateMode::Ephemeral)).unwrap();
        // The session's task goes with the runtime, before it can close the session.
        drop(runtime);
        client.status()
    });
    let status = crashed.join().unwrap();
    let resumed = || Options { session: Some((status.id, status.password.clone())), ..options() };
    let second = Client::connect(&server.address(), resumed()).await.unwrap();
    assert_eq!(second.status().id, status.id);
    assert_eq!(client.exists("/crashed").await.unwrap().unwrap().ephemeral_owner, status.id);
    second.close().await.unwrap();
    assert_eq!(client.exists("/crashed").await.unwrap(), None);
    let third = Client::connect(&server.address(), resumed()).await;
    assert_eq!(third.unwrap_err(), Error::SessionExpired);
}

#[tokio::test]
#[ignore = "needs Apache ZooKeeper: ./test apache"]
async fn one_client_at_a_time_holds_the_lock_and_the_places_are_in_order() {
    const CLIENTS: usize = 5;
    let server = ApacheZooKeeper::start();
    let (held_tx, mut held_rx) = mpsc::channel(CLIENTS * 2);
    let mut tasks = Vec::new();
    for _ in 0..CLIENTS {
        let client = Client::connect(&server.address(), options()).await.unwrap();
        let held = held_tx.clone();
        tasks.push(tokio::spawn(async move {
            let lock = Lock::acquire(&client, "/lock").await.unwrap();
            held.send((lock.fencing_zxid(), true)).await.unwrap();
            client.sync("/").await.unwrap();
            held.send((lock.fencing_zxid(), false)).await.unwrap();
            lock.release().await.unwrap();
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    drop(held_tx);
    let mut before = None;
    while let Some((taken, true)) = held_rx.recv().await {
        assert!(Some(taken) > before, "the holders come in the order of their places");
        assert_eq!(held_rx.recv().await, Some((taken, false)), "nobody else holds it meanwhile");
        before = Some(taken);
    }
}
