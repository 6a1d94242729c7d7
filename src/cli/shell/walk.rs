//! Whole parts of the tree: all paths below one, and their removal.

use tokio::task::JoinSet;

use crate::client::{Client, Error};
use crate::jute::{Acl, ErrorCode};

/// Requests on their way at a time, unless a person says otherwise.
pub const CONCURRENT_MAX: usize = 256;

/// `path` and all below it, level by level. What goes while one looks is left out.
async fn levels(client: &Client, path: &str) -> Result<Vec<Vec<String>>, Error> {
    client.get_children(path).await?;
    let mut levels = vec![vec![path.to_owned()]];
    loop {
        let mut below = Vec::new();
        for parents in levels[levels.len() - 1].chunks(CONCURRENT_MAX) {
            let mut tasks = JoinSet::new();
            for parent in parents {
                let (client, parent) = (client.clone(), parent.clone());
                tasks.spawn(async move {
                    let children = client.get_children(&parent).await;
                    let prefix = parent.trim_end_matches('/');
                    children.map(|(names, _)| {
                        names.iter().map(|name| format!("{prefix}/{name}")).collect::<Vec<_>>()
                    })
                });
            }
            for children in tasks.join_all().await {
                match children {
                    Err(Error::Server(ErrorCode::NoNode)) => {}
                    children => below.extend(children?),
                }
            }
        }
        if below.is_empty() {
            return Ok(levels);
        }
        levels.push(below);
    }
}

/// `path` and all below it, every znode before its children, brothers in order.
pub async fn descendants(client: &Client, path: &str) -> Result<Vec<String>, Error> {
    let mut paths: Vec<String> = levels(client, path).await?.into_iter().flatten().collect();
    paths.sort_by(|a, b| {
        a.split('/').filter(|part| !part.is_empty()).cmp(b.split('/').filter(|part| !part.is_empty()))
    });
    Ok(paths)
}

/// Removes `path` and all below it, children first, `at_a_time` at a time.
pub async fn delete_all(client: &Client, path: &str, at_a_time: usize) -> Result<(), Error> {
    for level in levels(client, path).await?.into_iter().rev() {
        for_each(&level, at_a_time, |path| {
            let client = client.clone();
            async move { client.delete(&path, None).await }
        })
        .await?;
    }
    Ok(())
}

/// Replaces the access control lists of `path` and all below it.
pub async fn set_acl_of_all(
    client: &Client,
    path: &str,
    acl: &[Acl],
    version: Option<i32>,
) -> Result<(), Error> {
    for level in levels(client, path).await? {
        for_each(&level, CONCURRENT_MAX, |path| {
            let (client, acl) = (client.clone(), acl.to_vec());
            async move { client.set_acl(&path, &acl, version).await.map(drop) }
        })
        .await?;
    }
    Ok(())
}

/// Does the same to many znodes, `at_a_time` at a time. One that went by itself, such as an ephemeral, is passed over.
async fn for_each<F>(paths: &[String], at_a_time: usize, act: impl Fn(String) -> F) -> Result<(), Error>
where
    F: Future<Output = Result<(), Error>> + Send + 'static,
{
    for paths in paths.chunks(at_a_time) {
        let tasks: JoinSet<_> = paths.iter().cloned().map(&act).collect();
        for done in tasks.join_all().await {
            match done {
                Ok(()) | Err(Error::Server(ErrorCode::NoNode)) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}
