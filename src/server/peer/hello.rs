//! The first frame of both sides, on both ports: who is there, and whether the two fit together.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::auth::PeerAuth;
use super::codec::{self, CodecError, LENGTH_BYTES};
use super::generated::Hello;
use super::stream::StreamError;
use crate::ids::ServerId;
use crate::sasl::SaslError;
use crate::zab::EpochRecord;

/// The version of the protocol between servers. Rises when a server could misread another.
pub const PROTOCOL_VERSION: u32 = 2;

/// Nothing is known of the other side yet: its first frame is small.
const HELLO_BYTES_MAX: usize = 4096;

/// The text of a refusal that another server sends is cut to this before it is logged.
const REFUSAL_CHARS_MAX: usize = 300;

/// What a server is to others. The ids can change while it runs: with its first leader, or with a new disk.
#[derive(Debug)]
pub struct Identity {
    server_id: ServerId,
    members: BTreeSet<ServerId>,
    ensemble_id: AtomicU64,
    data_dir_id: AtomicU64,
    auth: Option<PeerAuth>,
}

impl Identity {
    /// `members` are the servers of the configuration.
    pub fn new(server_id: ServerId, members: BTreeSet<ServerId>, record: &EpochRecord) -> Identity {
        let (ensemble_id, data_dir_id) = (AtomicU64::new(0), AtomicU64::new(0));
        let identity = Identity { server_id, members, ensemble_id, data_dir_id, auth: None };
        identity.update(record);
        identity
    }

    /// The same, and how it authenticates.
    pub fn with_auth(self, auth: Option<PeerAuth>) -> Identity {
        Identity { auth, ..self }
    }

    /// Takes note of what is in the epoch file now.
    pub fn update(&self, record: &EpochRecord) {
        let ensemble_id = if record.ensemble_confirmed { record.ensemble_id } else { 0 };
        self.ensemble_id.store(ensemble_id, Ordering::Relaxed);
        self.data_dir_id.store(record.data_dir_id, Ordering::Relaxed);
    }

    fn hello(&self, expected: Option<ServerId>, refusal: String) -> Hello {
        Hello {
            protocol_version: PROTOCOL_VERSION,
            ensemble_id: self.ensemble_id.load(Ordering::Relaxed),
            server_id: u32::from(self.server_id.0),
            data_dir_id: self.data_dir_id.load(Ordering::Relaxed),
            expected_server_id: expected.map_or(0, |id| u32::from(id.0)),
            refusal,
            authenticates: match expected {
                Some(_) => self.auth.as_ref().is_some_and(PeerAuth::dials),
                None => self.auth.is_some(),
            },
        }
    }
}

/// Why two servers do not talk to each other. Both log it.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum Refusal {
    /// They could misread each other.
    #[error(
        "it speaks version {theirs} of the protocol between servers, this server version {PROTOCOL_VERSION}"
    )]
    Version {
        /// of the other side
        theirs: u32,
    },
    /// Not in the configuration.
    #[error("server {0} is not in the server list of this server")]
    NotAMember(u32),
    /// Two servers were given the same id.
    #[error("it says that it is server {0}, but that is this server: two servers have the same myid")]
    OwnId(ServerId),
    /// The address leads to another server than the configuration of the one that dialled says.
    #[error(
        "server {expected} was dialled, but server {found} answered: the server lists differ, or the addresses"
    )]
    WrongServer {
        /// by the one that dialled
        expected: u32,
        /// the one that answered
        found: u32,
    },
    /// The data of the two are not the same.
    #[error(
        "it belongs to ensemble {theirs:016x}, this server to {ours:016x}: the data of two ensembles never mix"
    )]
    OtherEnsemble {
        /// of the other side
        theirs: u64,
        /// of this server
        ours: u64,
    },
    /// Somebody else's certificate.
    #[error("its certificate is not for the host that the server list has for server {id}: {reason}")]
    Certificate {
        /// the server that it says it is
        id: ServerId,
        /// what it is for
        reason: String,
    },
    /// A second server with the id of one that is connected.
    #[error("server {0} is connected already, with another data directory: two servers have the same myid")]
    OtherDataDir(ServerId),
    /// Whoever connects has to authenticate.
    #[error(
        "it does not authenticate: expected quorum.auth.learnerRequireSasl=true there, as quorum.auth.serverRequireSasl here"
    )]
    Unauthenticated,
    /// It cannot prove that it is what it says.
    #[error(
        "it cannot authenticate: expected quorum.auth.enableSasl=true there, as quorum.auth.learnerRequireSasl here"
    )]
    CannotAuthenticate,
}

/// Decides whether to talk to the server that sent `theirs`: `expected` is whom this server dialled (`None`: it was
/// dialled), `live_data_dir` tells with which data directory a server is connected at the moment.
pub fn check_hello(
    theirs: &Hello,
    ours: &Hello,
    members: &BTreeSet<ServerId>,
    expected: Option<ServerId>,
    live_data_dir: impl FnOnce(ServerId) -> Option<u64>,
) -> Result<ServerId, Refusal> {
    if theirs.protocol_version != PROTOCOL_VERSION {
        return Err(Refusal::Version { theirs: theirs.protocol_version });
    }
    let Some(id) = codec::server_id(theirs.server_id).ok().filter(|id| members.contains(id)) else {
        return Err(Refusal::NotAMember(theirs.server_id));
    };
    if theirs.server_id == ours.server_id {
        return Err(Refusal::OwnId(id));
    }
    let (dialled, found) = match expected {
        Some(expected) => (u32::from(expected.0), theirs.server_id),
        None => (theirs.expected_server_id, ours.server_id),
    };
    if dialled != found {
        return Err(Refusal::WrongServer { expected: dialled, found });
    }
    if theirs.ensemble_id != 0 && ours.ensemble_id != 0 && theirs.ensemble_id != ours.ensemble_id {
        return Err(Refusal::OtherEnsemble { theirs: theirs.ensemble_id, ours: ours.ensemble_id });
    }
    match live_data_dir(id) {
        Some(data_dir_id) if data_dir_id != theirs.data_dir_id => Err(Refusal::OtherDataDir(id)),
        _ => Ok(id),
    }
}

/// Which servers are connected, and with which data directory.
#[derive(Debug, Default)]
pub struct LivePeers {
    live: Mutex<BTreeMap<ServerId, Live>>,
}

#[derive(Debug)]
struct Live {
    data_dir_id: u64,
    connections: usize,
}

/// Keeps a server counted as connected.
#[derive(Debug)]
pub struct LivePeer {
    id: ServerId,
    peers: Arc<LivePeers>,
}

impl LivePeers {
    fn data_dir(&self, id: ServerId) -> Option<u64> {
        let live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        live.get(&id).map(|live| live.data_dir_id)
    }

    fn enter(self: &Arc<LivePeers>, id: ServerId, data_dir_id: u64) -> LivePeer {
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        live.entry(id).or_insert(Live { data_dir_id, connections: 0 }).connections += 1;
        LivePeer { id, peers: Arc::clone(self) }
    }
}

impl Drop for LivePeer {
    fn drop(&mut self) {
        let mut live = self.peers.live.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = live.get_mut(&self.id) {
            entry.connections -= 1;
            if entry.connections == 0 {
                live.remove(&self.id);
            }
        }
    }
}

/// Why the exchange came to nothing.
#[derive(Debug, Error)]
pub enum HelloError {
    /// The connection broke.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// There is no stream to exchange anything on.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// Not the first frame of a server.
    #[error("not a server of an ensemble: {0}")]
    Malformed(#[from] CodecError),
    /// More than any first frame.
    #[error("not a server of an ensemble: a first frame of {0} bytes")]
    TooLong(usize),
    /// This server refuses.
    #[error("refused: {0}")]
    Refused(#[from] Refusal),
    /// The other server refuses.
    #[error("refused by the other side: {0}")]
    RefusedByPeer(String),
    /// One of the two does not know the password.
    #[error("not authenticated: {}", without_name(.0))]
    Unproved(SaslError),
}

/// Strangers choose the name, and with it could have a line of the log for each of them.
fn without_name(error: &SaslError) -> String {
    match error {
        SaslError::Denied(_) => "no such user, or the wrong password".to_owned(),
        error => error.to_string(),
    }
}

/// The exchange on the side that dialled.
pub async fn greet(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    identity: &Identity,
    live: &Arc<LivePeers>,
    expected: ServerId,
) -> Result<(ServerId, LivePeer), HelloError> {
    let ours = identity.hello(Some(expected), String::new());
    write_hello(stream, &ours).await?;
    let theirs = read_hello(stream).await?;
    if !theirs.refusal.is_empty() {
        return Err(HelloError::RefusedByPeer(printable(&theirs.refusal)));
    }
    let id = check_hello(&theirs, &ours, &identity.members, Some(expected), |id| live.data_dir(id))?;
    if let Some(auth) = identity.auth.as_ref().filter(|auth| auth.dials()) {
        if !theirs.authenticates {
            return Err(Refusal::CannotAuthenticate.into());
        }
        auth.prove(stream, identity.server_id, id).await?;
    }
    Ok((id, live.enter(id, theirs.data_dir_id)))
}

/// The exchange on the side that was dialled. `check_is` looks whether the certificate at the other end, if it has shown
/// one, is that of the server it says it is.
pub async fn answer<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    identity: &Identity,
    live: &Arc<LivePeers>,
    check_is: impl FnOnce(&S, ServerId) -> Result<(), String>,
) -> Result<(ServerId, LivePeer), HelloError> {
    let theirs = read_hello(stream).await?;
    let ours = identity.hello(None, String::new());
    let insists = identity.auth.as_ref().is_some_and(PeerAuth::insists);
    let checked = match check_hello(&theirs, &ours, &identity.members, None, |id| live.data_dir(id)) {
        Ok(_) if insists && !theirs.authenticates => Err(Refusal::Unauthenticated),
        Ok(id) => match check_is(stream, id) {
            Ok(()) => Ok(id),
            Err(reason) => Err(Refusal::Certificate { id, reason }),
        },
        refused => refused,
    };
    match checked {
        Ok(id) => {
            write_hello(stream, &ours).await?;
            if let Some(auth) = identity.auth.as_ref().filter(|_| theirs.authenticates) {
                auth.demand(stream, identity.server_id, id).await?;
            }
            Ok((id, live.enter(id, theirs.data_dir_id)))
        }
        Err(refusal) => {
            write_hello(stream, &identity.hello(None, refusal.to_string())).await?;
            Err(refusal.into())
        }
    }
}

async fn write_hello(stream: &mut (impl AsyncWrite + Unpin), hello: &Hello) -> io::Result<()> {
    let mut frame = BytesMut::new();
    codec::encode_hello(hello, &mut frame);
    stream.write_all(&frame).await?;
    stream.flush().await
}

async fn read_hello(stream: &mut (impl AsyncRead + Unpin)) -> Result<Hello, HelloError> {
    Ok(codec::decode_hello(read_small_frame(stream).await?)?)
}

/// A frame of a side of which little is known yet.
pub(super) async fn read_small_frame(stream: &mut (impl AsyncRead + Unpin)) -> Result<Bytes, HelloError> {
    let mut length = [0; LENGTH_BYTES];
    stream.read_exact(&mut length).await?;
    let length = u32::from_be_bytes(length) as usize;
    if length > HELLO_BYTES_MAX {
        return Err(HelloError::TooLong(length));
    }
    let mut frame = vec![0; length];
    stream.read_exact(&mut frame).await?;
    Ok(Bytes::from(frame))
}

/// What another server sent, fit for a log line.
pub(super) fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(REFUSAL_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The hello of server 2 as server 1 likes it when server 2 dials.
    fn good() -> Hello {
        Hello {
            protocol_version: PROTOCOL_VERSION,
            ensemble_id: 7,
            server_id: 2,
            data_dir_id: 22,
            expected_server_id: 1,
            refusal: String::new(),
            authenticates: false,
        }
    }

    /// What server 1 of {1, 2, 3}, of ensemble 7, makes of it.
    fn check(theirs: &Hello, expected: Option<u8>, live: Option<u64>) -> Result<ServerId, Refusal> {
        let members = BTreeSet::from([1, 2, 3].map(ServerId));
        let ours = Hello { server_id: 1, data_dir_id: 11, ..good() };
        check_hello(theirs, &ours, &members, expected.map(ServerId), |_| live)
    }

    #[test]
    fn servers_that_fit_talk_to_each_other_whoever_dials() {
        assert_eq!(check(&good(), None, None), Ok(ServerId(2)));
        assert_eq!(check(&Hello { expected_server_id: 0, ..good() }, Some(2), None), Ok(ServerId(2)));
        assert_eq!(check(&good(), None, Some(22)), Ok(ServerId(2)), "a second connection of the same server");
        assert_eq!(check(&Hello { ensemble_id: 0, ..good() }, None, None), Ok(ServerId(2)), "a new server");
    }

    #[test]
    fn what_does_not_fit_is_refused_with_the_reason() {
        let table = [
            (Hello { protocol_version: 1, ..good() }, None, None, Refusal::Version { theirs: 1 }),
            (Hello { server_id: 4, ..good() }, None, None, Refusal::NotAMember(4)),
            (Hello { server_id: 257, ..good() }, None, None, Refusal::NotAMember(257)),
            (Hello { server_id: 1, ..good() }, None, None, Refusal::OwnId(ServerId(1))),
            (
                Hello { expected_server_id: 3, ..good() },
                None,
                None,
                Refusal::WrongServer { expected: 3, found: 1 },
            ),
            (good(), Some(3), None, Refusal::WrongServer { expected: 3, found: 2 }),
            (Hello { ensemble_id: 8, ..good() }, None, None, Refusal::OtherEnsemble { theirs: 8, ours: 7 }),
            (good(), None, Some(23), Refusal::OtherDataDir(ServerId(2))),
        ];
        for (theirs, expected, live, refusal) in table {
            assert_eq!(check(&theirs, expected, live), Err(refusal));
        }
    }

    #[test]
    fn an_ensemble_that_is_not_confirmed_is_not_told() {
        let record = EpochRecord { ensemble_id: 7, data_dir_id: 11, ..EpochRecord::default() };
        let identity = Identity::new(ServerId(1), BTreeSet::new(), &record);
        assert_eq!(identity.hello(None, String::new()).ensemble_id, 0);
        identity.update(&EpochRecord { ensemble_confirmed: true, ..record });
        assert_eq!(identity.hello(None, String::new()).ensemble_id, 7);
    }

    #[test]
    fn a_server_is_live_until_its_last_connection_ends() {
        let live = Arc::new(LivePeers::default());
        let first = live.enter(ServerId(2), 22);
        let second = live.enter(ServerId(2), 22);
        drop(first);
        assert_eq!(live.data_dir(ServerId(2)), Some(22));
        drop(second);
        assert_eq!(live.data_dir(ServerId(2)), None);
    }
}
