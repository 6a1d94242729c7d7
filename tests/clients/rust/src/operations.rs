//! Each operation of the client with its checks.

use std::time::Duration;

use zookeeper_client::{
    Acl, Acls, AddWatchMode, AuthId, Client, CreateMode, CreateOptions, Error, EventType, LockPrefix,
    MultiReadResult, MultiWriteResult, Permission, SessionState, Stat,
};

use crate::checks::{Checked, equal, error, holds, please, soon};
use crate::door::Door;

const OPEN: Acls<'static> = Acls::anyone_all();
const PLAIN: CreateOptions<'static> = CreateMode::Persistent.with_acls(OPEN);

async fn made(client: &Client, path: &str) -> Checked<Stat> {
    Ok(client.create(path, b"data", &PLAIN).await?.0)
}

pub async fn errors(client: &Client) -> Checked {
    let stat = made(client, "/errors").await?;
    equal((4, 0, 0), (stat.data_length, stat.version, stat.num_children))?;
    made(client, "/errors/child").await?;
    equal(Error::NodeExists, error(client.create("/errors", b"", &PLAIN).await)?)?;
    equal(Error::NoNode, error(client.create("/errors/none/child", b"", &PLAIN).await)?)?;
    equal(Error::NotEmpty, error(client.delete("/errors", None).await)?)?;
    equal(Error::BadVersion, error(client.delete("/errors/child", Some(1)).await)?)?;
    equal(Error::BadVersion, error(client.set_data("/errors", b"", Some(1)).await)?)?;
    equal(Error::NoNode, error(client.get_data("/errors/none").await)?)?;
    equal(Error::NoNode, error(client.list_children("/errors/none").await)?)?;
    equal(None, client.check_stat("/errors/none").await?)?;
    let wrong = [Acl::new(Permission::ALL, AuthId::new("nonsense", "x"))];
    let options = CreateMode::Persistent.with_acls(Acls::new(&wrong));
    equal(Error::InvalidAcl, error(client.create("/errors/acl", b"", &options).await)?)?;
    let set = client.set_data("/errors", b"longer", Some(0)).await?;
    equal((1, 6), (set.version, set.data_length))?;
    equal((b"longer".to_vec(), set), client.get_data("/errors").await?)?;
    equal((vec!["child".to_string()], set), client.get_children("/errors").await?)?;
    Ok(client.delete("/errors/child", Some(0)).await?)
}

pub async fn modes(client: &Client) -> Checked {
    made(client, "/modes").await?;
    let session = client.session_id().0;
    let ephemeral = CreateMode::EphemeralSequential.with_acls(OPEN);
    for number in 0..2 {
        let (stat, sequence) = client.create("/modes/e-", b"", &ephemeral).await?;
        equal((number, session), (sequence.into_i64(), stat.ephemeral_owner))?;
    }
    let child = client.create("/modes/e-0000000000/child", b"", &PLAIN).await;
    equal(Error::NoChildrenForEphemerals, error(child)?)?;
    client.create("/modes/container", b"", &CreateMode::Container.with_acls(OPEN)).await?;
    let ttl = CreateMode::PersistentSequential.with_acls(OPEN).with_ttl(Duration::from_secs(3600));
    equal(3, client.create("/modes/ttl-", b"", &ttl).await?.1.into_i64())?;
    let mut names = client.list_children("/modes").await?;
    names.sort();
    equal(
        vec!["container", "e-0000000000", "e-0000000001", "ttl-0000000003"],
        names.iter().map(String::as_str).collect(),
    )
}

pub async fn multi(client: &Client) -> Checked {
    made(client, "/multi").await?;
    let mut writer = client.new_multi_writer();
    writer.add_create("/multi/a", b"a", &PLAIN)?;
    writer.add_set_data("/multi/a", b"ab", Some(0))?;
    writer.add_check_version("/multi/a", 1)?;
    writer.add_delete("/multi/a", Some(1))?;
    writer.add_create("/multi/s-", b"", &CreateMode::PersistentSequential.with_acls(OPEN))?;
    let results = writer.commit().await?;
    equal(5, results.len())?;
    match &results[0] {
        MultiWriteResult::Create { path, stat } => {
            equal("/multi/a", path)?;
            equal((1, 0), (stat.data_length, stat.version))?;
        }
        result => return Err(format!("not a create: {result:?}").into()),
    }
    match &results[1] {
        MultiWriteResult::SetData { stat } => equal((2, 1), (stat.data_length, stat.version))?,
        result => return Err(format!("not a setData: {result:?}").into()),
    }
    let sequential =
        matches!(&results[4], MultiWriteResult::Create { path, .. } if *path == "/multi/s-0000000001");
    holds(sequential, "the last one is sequential")?;
    let stat = client.check_stat("/multi").await?.ok_or("gone")?;
    equal((3, 1), (stat.cversion, stat.num_children))
}

pub async fn multi_fails(client: &Client) -> Checked {
    made(client, "/fails").await?;
    let mut writer = client.new_multi_writer();
    writer.add_create("/fails/a", b"", &PLAIN)?;
    writer.add_delete("/fails/none", None)?;
    writer.add_set_data("/fails", b"", Some(7))?;
    let failure = error(writer.commit().await)?;
    let text = format!("{failure:?}");
    holds(text.contains("index: 1") && text.contains("NoNode"), &text)?;
    let mut writer = client.new_check_writer("/fails", Some(3))?;
    writer.add_create("/fails/b", b"", &PLAIN)?;
    let text = format!("{:?}", error(writer.commit().await)?);
    holds(text.contains("BadVersion"), &text)?;
    equal(0, client.check_stat("/fails").await?.ok_or("gone")?.cversion)
}

pub async fn multi_read(client: &Client) -> Checked {
    made(client, "/reads").await?;
    made(client, "/reads/child").await?;
    let mut reader = client.new_multi_reader();
    reader.add_get_data("/reads")?;
    reader.add_get_children("/reads")?;
    reader.add_get_data("/reads/none")?;
    let results = reader.commit().await?;
    equal(3, results.len())?;
    let data = matches!(&results[0], MultiReadResult::Data { data, stat } if data == b"data" && stat.num_children == 1);
    holds(data, "the data")?;
    holds(
        matches!(&results[1], MultiReadResult::Children { children } if *children == ["child"]),
        "the children",
    )?;
    holds(matches!(&results[2], MultiReadResult::Error { err: Error::NoNode }), "the missing one")
}

pub async fn access_lists(door: &Door, stranger: &Client) -> Checked {
    let owner = door.open("", |connector| connector.with_auth("digest", b"me:secret")).await?;
    owner.create("/creator", b"", &CreateMode::Persistent.with_acls(Acls::creator_all())).await?;
    let (list, _) = owner.get_acl("/creator").await?;
    // What else it is, by certificate and by password, the stranger is too.
    let list: Vec<Acl> = list.into_iter().filter(|acl| acl.scheme() == "digest").collect();
    equal(1, list.len())?;
    owner.create("/acl", b"mine", &CreateMode::Persistent.with_acls(Acls::new(&list))).await?;
    let users = owner.list_auth_users().await?;
    holds(users.iter().any(|user| user.scheme() == "digest" && user.user() == "me"), &format!("{users:?}"))?;
    stranger.sync("/acl").await?;
    equal(Error::NoAuth, error(stranger.get_data("/acl").await)?)?;
    equal(Error::NoAuth, error(stranger.set_data("/acl", b"", None).await)?)?;
    equal(Error::NoAuth, error(stranger.create("/acl/c", b"", &PLAIN).await)?)?;
    equal(Error::BadVersion, error(owner.set_acl("/acl", &list, Some(1)).await)?)?;
    let readers = [Acl::new(Permission::READ, AuthId::anyone()), list[0].clone()];
    equal(1, owner.set_acl("/acl", &readers, Some(0)).await?.aversion)?;
    stranger.sync("/acl").await?;
    equal(b"mine".to_vec(), stranger.get_data("/acl").await?.0)?;
    equal("me:x", stranger.get_acl("/acl").await?.0[1].id())
}

pub async fn one_shot(mine: &Client, other: &Client) -> Checked {
    made(mine, "/shot").await?;
    let (_, _, data) = mine.get_and_watch_data("/shot").await?;
    let (_, _, children) = mine.get_and_watch_children("/shot").await?;
    let (absent, created) = mine.check_and_watch_stat("/shot/c").await?;
    equal(None, absent)?;
    let stat = made(other, "/shot/c").await?;
    let event = soon(created.changed()).await?;
    equal((EventType::NodeCreated, "/shot/c", stat.czxid), (event.event_type, &event.path, event.zxid))?;
    let event = soon(children.changed()).await?;
    equal((EventType::NodeChildrenChanged, "/shot"), (event.event_type, event.path.as_str()))?;
    let set = other.set_data("/shot", b"new", None).await?;
    let event = soon(data.changed()).await?;
    equal((EventType::NodeDataChanged, "/shot", set.mzxid), (event.event_type, &event.path, event.zxid))?;
    let (_, gone) = mine.check_and_watch_stat("/shot/c").await?;
    other.delete("/shot/c", None).await?;
    equal(EventType::NodeDeleted, soon(gone.changed()).await?.event_type)
}

pub async fn persistent(mine: &Client, other: &Client) -> Checked {
    let mut flat = mine.watch("/stays", AddWatchMode::Persistent).await?;
    let mut deep = mine.watch("/stays", AddWatchMode::PersistentRecursive).await?;
    made(other, "/stays").await?;
    made(other, "/stays/c").await?;
    made(other, "/stays/c/d").await?;
    for _ in 0..2 {
        other.set_data("/stays", b"", None).await?;
    }
    other.delete("/stays/c/d", None).await?;
    let (created, changed) = (EventType::NodeCreated, EventType::NodeDataChanged);
    let children = EventType::NodeChildrenChanged;
    for kind in [created, children, changed, changed] {
        let event = soon(flat.changed()).await?;
        equal((kind, "/stays"), (event.event_type, event.path.as_str()))?;
    }
    let deleted = EventType::NodeDeleted;
    for (kind, path) in [
        (created, "/stays"),
        (created, "/stays/c"),
        (created, "/stays/c/d"),
        (changed, "/stays"),
        (changed, "/stays"),
        (deleted, "/stays/c/d"),
    ] {
        let event = soon(deep.changed()).await?;
        equal((kind, path), (event.event_type, event.path.as_str()))?;
    }
    Ok(())
}

#[expect(deprecated, reason = "to drop them hides what the server answers")]
pub async fn removed(mine: &Client, other: &Client) -> Checked {
    made(mine, "/removed").await?;
    let (_, _, once) = mine.get_and_watch_data("/removed").await?;
    let stays = mine.watch("/removed", AddWatchMode::Persistent).await?;
    let mut deep = mine.watch("/removed", AddWatchMode::PersistentRecursive).await?;
    once.remove().await?;
    stays.remove().await?;
    other.set_data("/removed", b"", None).await?;
    equal(EventType::NodeDataChanged, soon(deep.changed()).await?.event_type)?;
    Ok(deep.remove().await?)
}

pub async fn counts(client: &Client) -> Checked {
    for path in ["/counts", "/counts/a", "/counts/a/b"] {
        made(client, path).await?;
    }
    client.create("/counts/e", b"", &CreateMode::Ephemeral.with_acls(OPEN)).await?;
    equal(3, client.count_descendants_number("/counts").await?)?;
    equal(vec!["/counts/e".to_string()], client.list_ephemerals("/counts").await?)
}

pub async fn known(client: &Client, user: &str) -> Checked {
    let users = client.list_auth_users().await?;
    let is = |scheme, name| users.iter().any(|user| user.scheme() == scheme && user.user() == name);
    holds(is("x509", "CN=client,O=Ex") && is("sasl", user), &format!("{users:?}"))
}

pub async fn chroot(door: &Door, outside: &Client) -> Checked {
    made(outside, "/chroot").await?;
    let inside = door.open("/chroot", |connector| connector).await?;
    let mut watch = inside.watch("/", AddWatchMode::PersistentRecursive).await?;
    made(&inside, "/a").await?;
    equal("/a", soon(watch.changed()).await?.path.as_str())?;
    equal(vec!["a".to_string()], inside.list_children("/").await?)?;
    equal(Error::NoNode, error(inside.get_data("/chroot").await)?)?;
    outside.sync("/").await?;
    equal(b"data".to_vec(), outside.get_data("/chroot/a").await?.0)
}

pub async fn lock(mine: &Client, other: &Client) -> Checked {
    made(mine, "/locks").await?;
    let first = mine.lock(LockPrefix::new_curator("/locks", "lock-")?, b"", OPEN).await?;
    let second = other.lock(LockPrefix::new_curator("/locks", "lock-")?, b"", OPEN);
    let mut second = std::pin::pin!(second);
    let (_, _, waiting) = mine.get_and_watch_children("/locks").await?;
    tokio::select! {
        _ = &mut second => return Err("two hold it".into()),
        event = soon(waiting.changed()) => equal(EventType::NodeChildrenChanged, event?.event_type)?,
    }
    first.create("/locks-by-first", b"", &PLAIN).await?;
    drop(first);
    let second = soon(second).await??;
    holds(second.lock_path().starts_with("/locks/_c_"), second.lock_path())
}

/// Its ephemeral and its watches are there after its server, or the leader, was killed. Only one-shot watches: 0.11.2 does
/// not set those that stay again.
pub async fn outlives(mine: &Client, other: &Client, path: &str, leader: bool) -> Checked {
    made(mine, path).await?;
    let session = mine.session_id();
    let ephemeral = format!("{path}/ephemeral");
    let (before, _) = mine.create(&ephemeral, b"", &CreateMode::Ephemeral.with_acls(OPEN)).await?;
    let (_, _, data) = mine.get_and_watch_data(path).await?;
    let (_, _, children) = mine.get_and_watch_children(path).await?;
    let mut states = mine.state_watcher();
    let victim = if leader { "leader".to_string() } else { format!("server of {:#x}", session.0) };
    please(format!("kill {victim}")).await?;
    while !leader && soon(states.changed()).await? != SessionState::SyncConnected {}
    set_at_last(other, path).await?;
    equal(EventType::NodeDataChanged, soon(data.changed()).await?.event_type)?;
    made(other, &format!("{path}/child")).await?;
    equal(EventType::NodeChildrenChanged, soon(children.changed()).await?.event_type)?;
    equal(session, mine.session_id())?;
    equal(Some(before), mine.check_stat(&ephemeral).await?)?;
    please("start all".to_string()).await
}

async fn set_at_last(client: &Client, path: &str) -> Checked<Stat> {
    loop {
        match soon(client.set_data(path, b"new", None)).await? {
            Err(Error::ConnectionLoss) => continue,
            outcome => return Ok(outcome?),
        }
    }
}
