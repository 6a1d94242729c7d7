//! The operations, each a request and its answer.

use bytes::{Bytes, BytesMut};
use tokio::sync::{mpsc, oneshot};

use super::chroot::with_path;
use super::options::Credentials;
use super::session::{Answer, Command, Outgoing, Reply, WatchOrder};
use super::watches::{SessionEvent, WAITING_EVENTS_MAX, Watch, WatchKind, WatchStream};
use super::{Client, Error};
use crate::jute::{
    Acl, AddWatchMode, AuthId, Create, CreateMode, CreateOp, ErrorCode, MultiOp, MultiResult, Reconfig,
    Request, Response, Stat, WatcherType, encode_request_frame,
};

/// The version that every znode has.
const ANY_VERSION: i32 = -1;

/// The znode that lists the servers.
const CONFIG_PATH: &str = "/zookeeper/config";

impl Client {
    /// Makes a znode that everyone may use; returns its path, which a sequential mode extends.
    pub async fn create(&self, path: &str, data: &[u8], mode: CreateMode) -> Result<String, Error> {
        self.create_with_acl(path, data, &Acl::open(), mode).await.map(|(path, _)| path)
    }

    /// Makes a znode; returns its path and Stat.
    pub async fn create_with_acl(
        &self,
        path: &str,
        data: &[u8],
        acl: &[Acl],
        mode: CreateMode,
    ) -> Result<(String, Stat), Error> {
        self.create_by(CreateOp::Create2, path, data, acl, mode).await
    }

    /// Makes a container: some time after its last child is gone, it goes as well. Returns its path and Stat.
    pub async fn create_container(
        &self,
        path: &str,
        data: &[u8],
        acl: &[Acl],
    ) -> Result<(String, Stat), Error> {
        self.create_by(CreateOp::Container, path, data, acl, CreateMode::Container).await
    }

    /// Makes a znode that goes when it has no child, and nobody set its data for `ttl_ms` (from 1 to nearly 35 years);
    /// `mode` is one of those with a time to live. The servers must be configured to have such znodes. Returns its path
    /// and Stat.
    pub async fn create_with_ttl(
        &self,
        path: &str,
        data: &[u8],
        acl: &[Acl],
        mode: CreateMode,
        ttl_ms: i64,
    ) -> Result<(String, Stat), Error> {
        self.create_by(CreateOp::Ttl { ttl_ms }, path, data, acl, mode).await
    }

    async fn create_by(
        &self,
        op: CreateOp,
        path: &str,
        data: &[u8],
        acl: &[Acl],
        mode: CreateMode,
    ) -> Result<(String, Stat), Error> {
        let path = &*self.chroot.join(path)?;
        let create = Create { path, data: Some(data), acl: acl.to_vec(), flags: mode as i32, op };
        match self.call(&Request::Create(create)).await? {
            Response::Create2 { path, stat } => Ok((self.chroot.strip(&path).to_owned(), stat)),
            _ => Err(Error::UnexpectedResponse),
        }
    }

    /// Removes a znode, if it has `version`.
    pub async fn delete(&self, path: &str, version: Option<i32>) -> Result<(), Error> {
        let path = &*self.chroot.join(path)?;
        self.call(&Request::Delete { path, version: version.unwrap_or(ANY_VERSION) }).await.map(drop)
    }

    /// The Stat of a znode, if it is there.
    pub async fn exists(&self, path: &str) -> Result<Option<Stat>, Error> {
        let path = &*self.chroot.join(path)?;
        found(self.call(&Request::Exists { path, watch: false }).await)
    }

    /// The same, leaving a watch that fires when the znode appears, goes, or gets other data.
    pub async fn exists_watched(&self, path: &str) -> Result<(Option<Stat>, Watch), Error> {
        let path = &*self.chroot.join(path)?;
        let request = Request::Exists { path, watch: true };
        let (reply, watch) = self.send_watched(&request, path, WatchKind::Data).await?;
        Ok((found(reply.await.map(|answer| answer.response))?, watch))
    }

    /// The content and Stat of a znode.
    pub async fn get_data(&self, path: &str) -> Result<(Bytes, Stat), Error> {
        let path = &*self.chroot.join(path)?;
        data_and_stat(self.call(&Request::GetData { path, watch: false }).await?)
    }

    /// The same, leaving a watch that fires when the znode goes or gets other data.
    pub async fn get_data_watched(&self, path: &str) -> Result<(Bytes, Stat, Watch), Error> {
        let path = &*self.chroot.join(path)?;
        let request = Request::GetData { path, watch: true };
        let (reply, watch) = self.send_watched(&request, path, WatchKind::Data).await?;
        let (data, stat) = data_and_stat(reply.await?.response)?;
        Ok((data, stat, watch))
    }

    /// The servers of the ensemble, as `/zookeeper/config` lists them whatever the chroot is, and the Stat of that znode.
    pub async fn get_config(&self) -> Result<(Bytes, Stat), Error> {
        data_and_stat(self.call(&Request::GetData { path: CONFIG_PATH, watch: false }).await?)
    }

    /// The same, leaving a watch that fires when the ensemble gets other servers.
    pub async fn get_config_watched(&self) -> Result<(Bytes, Stat, Watch), Error> {
        let request = Request::GetData { path: CONFIG_PATH, watch: true };
        let (reply, watch) = self.send_watched(&request, CONFIG_PATH, WatchKind::Data).await?;
        let (data, stat) = data_and_stat(reply.await?.response)?;
        Ok((data, stat, watch))
    }

    /// Changes the servers of the ensemble; returns their list, as [`Client::get_config`] would, and its Stat. Servers
    /// that come must be connected to the leader and up to date, as far as they are needed for a quorum. Afterwards this
    /// client goes on with the servers of its connect string.
    pub async fn reconfig(&self, change: Reconfig<'_>) -> Result<(Bytes, Stat), Error> {
        data_and_stat(self.call(&Request::Reconfig(change)).await?)
    }

    /// Replaces the content of a znode, if it has `version`.
    pub async fn set_data(&self, path: &str, data: &[u8], version: Option<i32>) -> Result<Stat, Error> {
        let path = &*self.chroot.join(path)?;
        let version = version.unwrap_or(ANY_VERSION);
        stat(self.call(&Request::SetData { path, data: Some(data), version }).await?)
    }

    /// The names of a znode's children, and its Stat.
    pub async fn get_children(&self, path: &str) -> Result<(Vec<String>, Stat), Error> {
        let path = &*self.chroot.join(path)?;
        let request = Request::GetChildren { path, watch: false, with_stat: true };
        children_and_stat(self.call(&request).await?)
    }

    /// The same, leaving a watch that fires when a child appears or goes, or the znode itself goes.
    pub async fn get_children_watched(&self, path: &str) -> Result<(Vec<String>, Stat, Watch), Error> {
        let path = &*self.chroot.join(path)?;
        let request = Request::GetChildren { path, watch: true, with_stat: true };
        let (reply, watch) = self.send_watched(&request, path, WatchKind::Child).await?;
        let (children, stat) = children_and_stat(reply.await?.response)?;
        Ok((children, stat, watch))
    }

    /// The access control list of a znode, and its Stat.
    pub async fn get_acl(&self, path: &str) -> Result<(Vec<Acl>, Stat), Error> {
        let path = &*self.chroot.join(path)?;
        match self.call(&Request::GetAcl { path }).await? {
            Response::Acl { acl, stat } => Ok((acl, stat)),
            _ => Err(Error::UnexpectedResponse),
        }
    }

    /// Replaces the access control list of a znode, if its list has `version`.
    pub async fn set_acl(&self, path: &str, acl: &[Acl], version: Option<i32>) -> Result<Stat, Error> {
        let path = &*self.chroot.join(path)?;
        let version = version.unwrap_or(ANY_VERSION);
        stat(self.call(&Request::SetAcl { path, acl: acl.to_vec(), version }).await?)
    }

    /// Watches a znode, there or not, until the session ends or [`Client::remove_watches`] is called: with `Persistent`
    /// the znode and its children, with `PersistentRecursive` all below it. Every call gives a stream of its own.
    pub async fn add_watch(&self, path: &str, mode: AddWatchMode) -> Result<WatchStream, Error> {
        let path = &*self.chroot.join(path)?;
        let (stream, stream_rx) = oneshot::channel();
        let order = WatchOrder::Lasting { mode, path: path.to_owned(), stream };
        self.send_with(&Request::AddWatch { path, mode }, Some(order)).await?.await?;
        stream_rx.await.map_err(|_| Error::Closed)
    }

    /// Takes watches of this session away from a path, at the server and here: whoever waits for them is told that they
    /// are closed. NOWATCHER if there are none.
    pub async fn remove_watches(&self, path: &str, watches: WatcherType) -> Result<(), Error> {
        self.take_watches_away(path, watches, false).await
    }

    /// The same; if no server answers, they are taken away here alone, and the next server is not told of them.
    pub async fn remove_watches_or_forget(&self, path: &str, watches: WatcherType) -> Result<(), Error> {
        self.take_watches_away(path, watches, true).await
    }

    async fn take_watches_away(
        &self,
        path: &str,
        watches: WatcherType,
        without_server: bool,
    ) -> Result<(), Error> {
        let path = &*self.chroot.join(path)?;
        let order = WatchOrder::Removed { watches, path: path.to_owned(), without_server };
        self.send_with(&Request::RemoveWatches { path, watches }, Some(order)).await?.await.map(drop)
    }

    /// What the watches of this session tell from now on, all of them in one stream, each event once. Beyond 1024 events that
    /// wait to be taken, others are lost. It ends with the session.
    pub async fn session_events(&self) -> Result<mpsc::Receiver<SessionEvent>, Error> {
        let (events, events_rx) = mpsc::channel(WAITING_EVENTS_MAX);
        self.order(Command::Tell(events)).await?;
        Ok(events_rx)
    }

    /// How many znodes there are below one, at any depth.
    pub async fn count_descendants(&self, path: &str) -> Result<u32, Error> {
        let path = &*self.chroot.join(path)?;
        match self.call(&Request::GetAllChildrenNumber { path }).await? {
            Response::AllChildrenNumber(number) => Ok(number.cast_unsigned()),
            _ => Err(Error::UnexpectedResponse),
        }
    }

    /// The paths of this session's ephemerals that begin with `prefix`, be it in the middle of a name.
    pub async fn get_ephemerals(&self, prefix: &str) -> Result<Vec<String>, Error> {
        let prefix = Some(&*self.chroot.join(prefix)?);
        match self.call(&Request::GetEphemerals { prefix }).await? {
            Response::Ephemerals(paths) => {
                Ok(paths.iter().map(|path| self.chroot.strip(path).to_owned()).collect())
            }
            _ => Err(Error::UnexpectedResponse),
        }
    }

    /// Who the server takes this client for: schemes, and who it is there, without secrets.
    pub async fn who_am_i(&self) -> Result<Vec<AuthId>, Error> {
        match self.call(&Request::WhoAmI).await? {
            Response::WhoAmI(users) => Ok(users),
            _ => Err(Error::UnexpectedResponse),
        }
    }

    /// Brings the server up to date: reads that follow see everything that was written before this call.
    pub async fn sync(&self, path: &str) -> Result<(), Error> {
        let path = &*self.chroot.join(path)?;
        self.call(&Request::Sync { path: Some(path) }).await.map(drop)
    }

    /// Carries out all of `ops` or none. Sequential creates tell their path in the result.
    pub async fn multi(&self, ops: &[MultiOp<'_>]) -> Result<Vec<MultiResult>, Error> {
        let paths = self.chroot.join_ops(ops)?;
        let ops = ops.iter().zip(&paths).map(|(op, path)| with_path(op, path)).collect();
        let Response::Multi(mut results) = self.call(&Request::Multi(ops)).await? else {
            return Err(Error::UnexpectedResponse);
        };
        for (index, result) in results.iter_mut().enumerate() {
            match result {
                MultiResult::Error(code)
                    if !matches!(code, ErrorCode::Ok | ErrorCode::RuntimeInconsistency) =>
                {
                    return Err(Error::Multi { index, code: *code });
                }
                MultiResult::Create { path } | MultiResult::Create2 { path, .. } => {
                    *path = self.chroot.strip(path).to_owned();
                }
                _ => {}
            }
        }
        Ok(results)
    }

    /// Adds an identity to the session; it is sent again on every connection.
    pub async fn add_auth(&self, scheme: &str, auth: &[u8]) -> Result<(), Error> {
        let (done_tx, done_rx) = oneshot::channel();
        let credentials = Credentials { scheme: scheme.to_owned(), auth: Bytes::copy_from_slice(auth) };
        self.order(Command::Authenticate(credentials, done_tx)).await?;
        done_rx.await.unwrap_or(Err(Error::Closed))
    }

    /// Sends `request` as it is, without the chroot, and returns as soon as it is queued: requests that are sent one
    /// after the other travel in this order without waiting for each other's answers.
    pub async fn send(&self, request: &Request<'_>) -> Result<Reply, Error> {
        self.send_with(request, None).await
    }

    async fn send_with(&self, request: &Request<'_>, watch: Option<WatchOrder>) -> Result<Reply, Error> {
        let mut frame = BytesMut::new();
        encode_request_frame(0, request, &mut frame);
        let (reply_tx, reply_rx) = oneshot::channel();
        let outgoing = Outgoing { frame, op: request.op(), reply: reply_tx, watch };
        self.order(Command::Request(outgoing)).await?;
        Ok(Reply(reply_rx))
    }

    async fn send_watched(
        &self,
        request: &Request<'_>,
        path: &str,
        kind: WatchKind,
    ) -> Result<(Reply, Watch), Error> {
        let (waiter, watch) = oneshot::channel();
        let order = WatchOrder::Once { kind, path: path.to_owned(), waiter };
        Ok((self.send_with(request, Some(order)).await?, Watch(watch)))
    }

    async fn call(&self, request: &Request<'_>) -> Result<Response, Error> {
        let Answer { response, .. } = self.send(request).await?.await?;
        Ok(response)
    }

    async fn order(&self, command: Command) -> Result<(), Error> {
        let ended = || self.status.borrow().state.end().unwrap_or(Error::Closed);
        self.commands.send(command).await.map_err(|_| ended())
    }
}

/// What exists tells: "no such znode" is an answer, not a failure.
fn found(answer: Result<Response, Error>) -> Result<Option<Stat>, Error> {
    match answer {
        Err(Error::Server(ErrorCode::NoNode)) => Ok(None),
        answer => stat(answer?).map(Some),
    }
}

fn stat(response: Response) -> Result<Stat, Error> {
    match response {
        Response::Stat(stat) => Ok(stat),
        _ => Err(Error::UnexpectedResponse),
    }
}

fn data_and_stat(response: Response) -> Result<(Bytes, Stat), Error> {
    match response {
        Response::Data { data, stat } => Ok((data.unwrap_or_default(), stat)),
        _ => Err(Error::UnexpectedResponse),
    }
}

fn children_and_stat(response: Response) -> Result<(Vec<String>, Stat), Error> {
    match response {
        Response::Children { children, stat: Some(stat) } => Ok((children, stat)),
        _ => Err(Error::UnexpectedResponse),
    }
}
