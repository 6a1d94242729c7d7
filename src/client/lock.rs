//! A lock that one client of the ensemble holds at a time.
//!
//! Everyone who wants it makes an ephemeral sequential child; the lowest number holds the lock, and everyone else
//! watches the one directly before, so that a release wakes one client and not all.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{Client, Error};
use crate::ids::Zxid;
use crate::jute::{CreateMode, ErrorCode};

/// The lock, held until [`Lock::release`] or the end of the session.
///
/// A holder whose connection is lost may no longer hold it: what the lock protects should check
/// [`Lock::fencing_zxid`], which grows from holder to holder.
#[derive(Debug)]
pub struct Lock {
    client: Client,
    path: String,
    czxid: Zxid,
}

impl Lock {
    /// Waits for the lock of the znode `parent`, which is made if it is missing.
    pub async fn acquire(client: &Client, parent: &str) -> Result<Lock, Error> {
        match client.create(parent, b"", CreateMode::Persistent).await {
            Err(error) if !error.is(ErrorCode::NodeExists) => return Err(error),
            _ => {}
        }
        static NEXT_TOKEN: AtomicU64 = AtomicU64::new(0);
        let token = format!("{}-{}-", client.status().id, NEXT_TOKEN.fetch_add(1, Ordering::Relaxed));
        let path = enqueue(client, parent, &token).await?;
        loop {
            let (mut children, _) = client.get_children(parent).await?;
            children.sort_unstable_by_key(|name| number(name).to_owned());
            let own = path.rsplit('/').next().unwrap_or_default();
            let Some(place) = children.iter().position(|name| name == own) else {
                // Our place is gone, so somebody or the ensemble took it from us.
                return Err(Error::Server(ErrorCode::NoNode));
            };
            if place == 0 {
                let stat = client.exists(&path).await?.ok_or(Error::Server(ErrorCode::NoNode))?;
                return Ok(Lock { client: client.clone(), path, czxid: stat.czxid });
            }
            let before = format!("{}/{}", parent.trim_end_matches('/'), children[place - 1]);
            if let (Some(_), watch) = client.exists_watched(&before).await? {
                watch.event().await?;
            }
        }
    }

    /// The transaction that took the place: a later holder's is greater.
    pub fn fencing_zxid(&self) -> Zxid {
        self.czxid
    }

    /// Gives the lock to the next one.
    pub async fn release(self) -> Result<(), Error> {
        loop {
            match self.client.delete(&self.path, None).await {
                Ok(()) | Err(Error::Server(ErrorCode::NoNode)) => return Ok(()),
                Err(Error::ConnectionLoss) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Takes a place in the queue. If the connection is lost on the way, `token` tells whether the place was taken.
async fn enqueue(client: &Client, parent: &str, token: &str) -> Result<String, Error> {
    let parent = parent.trim_end_matches('/');
    loop {
        match client.create(&format!("{parent}/{token}"), b"", CreateMode::EphemeralSequential).await {
            Err(Error::ConnectionLoss) => {
                let (children, _) = client.get_children(if parent.is_empty() { "/" } else { parent }).await?;
                if let Some(own) = children.iter().find(|name| name.starts_with(token)) {
                    return Ok(format!("{parent}/{own}"));
                }
            }
            created => return created,
        }
    }
}

/// What the server appended to a name, which orders the queue.
fn number(name: &str) -> &str {
    name.rsplit('-').next().unwrap_or(name)
}
