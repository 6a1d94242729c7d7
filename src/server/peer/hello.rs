//! The first frame of both sides, on both ports: who is there, and whether the two fit together.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::auth::PeerAuth;
use super::codec::{self, CodecError, LENGTH_BYTES};
use super::directory::Directory;
use super::generated::Hello;
use super::stream::StreamError;
use crate::ids::{ServerId, Version};
use crate::sasl::SaslError;
use crate::zab::EpochRecord;

/// Nothing is known of the other side yet: its first frame is small. It has room for the text of a membership.
const HELLO_BYTES_MAX: usize = 16 << 10;

/// The text of a refusal that another server sends is cut to this before it is logged.
const REFUSAL_CHARS_MAX: usize = 300;

/// What a server is to others. The ids can change while it runs: with its first leader, or with a new disk.
#[derive(Debug)]
pub struct Identity {
    server_id: ServerId,
    directory: Directory,
    ensemble_id: AtomicU64,
    data_dir_id: AtomicU64,
    needed_version: AtomicU32,
    auth: Option<PeerAuth>,
}

impl Identity {
    /// `directory` tells who the others are.
    pub fn new(server_id: ServerId, directory: Directory, record: &EpochRecord) -> Identity {
        let (ensemble_id, data_dir_id) = (AtomicU64::new(0), AtomicU64::new(0));
        let needed_version = AtomicU32::new(Version::OLDEST.0);
        let identity =
            Identity { server_id, directory, ensemble_id, data_dir_id, needed_version, auth: None };
        identity.update(record);
        identity
    }

    fn admits(&self, id: ServerId) -> bool {
        self.directory.known().admits(id)
    }

    /// The same, and how it authenticates.
    pub fn with_auth(self, auth: Option<PeerAuth>) -> Identity {
        Identity { auth, ..self }
    }

    /// Who the others are.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Takes note of what is in the epoch file now.
    pub fn update(&self, record: &EpochRecord) {
        let ensemble_id = if record.ensemble_confirmed { record.ensemble_id } else { 0 };
        self.ensemble_id.store(ensemble_id, Ordering::Relaxed);
        self.data_dir_id.store(record.data_dir_id, Ordering::Relaxed);
    }

    /// Takes note of what a server must speak to have the data of this one: no other is talked to.
    pub fn set_needed_version(&self, version: Version) {
        self.needed_version.store(version.0, Ordering::Relaxed);
    }

    fn hello(&self, expected: Option<ServerId>, refusal: String) -> Hello {
        // Whoever is refused need not know.
        let told = refusal.is_empty().then(|| self.directory.known().told());
        let (address, membership) = told.unwrap_or_default();
        Hello {
            address,
            membership,
            protocol_version: self.needed_version.load(Ordering::Relaxed),
            newest_version: Version::NEWEST.0,
            ensemble_id: self.ensemble_id.load(Ordering::Relaxed),
            server_id: u32::from(self.server_id.0),
            data_dir_id: self.data_dir_id.load(Ordering::Relaxed),
            expected_server_id: expected.map_or(0, |id| u32::from(id.0)),
            refusal,
            to_be_fed: false,
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
    /// They have none in common, or none that the data of both permits.
    #[error("it speaks {theirs} of the protocol between servers, this server {ours} (docs/upgrading.md)")]
    Version {
        /// of the other side
        theirs: Versions,
        /// of this side
        ours: Versions,
    },
    /// Not in the configuration.
    #[error("server {0} is not in the server list of this server, and reconfigEnabled is not set")]
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
    /// A port of the one that was dialled is in the configuration of the other for something else.
    #[error("observerMasterPort here is another port than there")]
    WrongPort,
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

/// The versions that a server speaks, from the oldest that its data permits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Versions {
    oldest: Version,
    newest: Version,
}

impl Versions {
    fn of(hello: &Hello) -> Versions {
        let oldest = Version(hello.protocol_version);
        Versions { oldest, newest: Version(hello.newest_version).max(oldest) }
    }

    /// The greatest that both speak.
    fn common(self, other: Versions) -> Option<Version> {
        Some(self.newest.min(other.newest)).filter(|common| *common >= self.oldest.max(other.oldest))
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Versions { oldest, newest } = self;
        if oldest == newest {
            write!(f, "version {oldest}")
        } else {
            write!(f, "versions {oldest} to {newest}")
        }
    }
}

/// Who is at the other end, and what is spoken with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Checked {
    /// who it is
    pub id: ServerId,
    /// the greatest version that both speak
    pub version: Version,
}

/// Decides whether to talk to the server that sent `theirs`: `expected` is whom this server dialled (`None`: it was
/// dialled), `admits` tells who may connect, `live_data_dir` tells with which data directory a server is connected at the moment.
pub fn check_hello(
    theirs: &Hello,
    ours: &Hello,
    admits: impl FnOnce(ServerId) -> bool,
    expected: Option<ServerId>,
    live_data_dir: impl FnOnce(ServerId) -> Option<u64>,
) -> Result<Checked, Refusal> {
    let (their_versions, our_versions) = (Versions::of(theirs), Versions::of(ours));
    let Some(version) = their_versions.common(our_versions) else {
        return Err(Refusal::Version { theirs: their_versions, ours: our_versions });
    };
    let Ok(id) = codec::server_id(theirs.server_id) else {
        return Err(Refusal::NotAMember(theirs.server_id));
    };
    if theirs.server_id == ours.server_id {
        return Err(Refusal::OwnId(id));
    }
    if !admits(id) {
        return Err(Refusal::NotAMember(theirs.server_id));
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
        _ => Ok(Checked { id, version }),
    }
}

/// A connection on which both sides know each other.
#[derive(Debug)]
pub struct Greeted {
    /// who is at the other end
    pub id: ServerId,
    /// what is spoken
    pub version: Version,
    /// as long as it is kept, that server counts as connected
    pub live: LivePeer,
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

/// The exchange on the side that dialled; `to_be_fed`: to be sent what is proposed by a follower.
pub async fn greet(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    identity: &Identity,
    live: &Arc<LivePeers>,
    expected: ServerId,
    to_be_fed: bool,
) -> Result<Greeted, HelloError> {
    let ours = Hello { to_be_fed, ..identity.hello(Some(expected), String::new()) };
    write_hello(stream, &ours).await?;
    let theirs = read_hello(stream).await?;
    if !theirs.refusal.is_empty() {
        return Err(HelloError::RefusedByPeer(printable(&theirs.refusal)));
    }
    let Checked { id, version } =
        check_hello(&theirs, &ours, |id| identity.admits(id), Some(expected), |id| live.data_dir(id))?;
    if let Some(auth) = identity.auth.as_ref().filter(|auth| auth.dials()) {
        if !theirs.authenticates {
            return Err(Refusal::CannotAuthenticate.into());
        }
        auth.prove(stream, identity.server_id, id).await?;
    }
    identity.directory.hear(id, &theirs.address, &theirs.membership);
    Ok(Greeted { id, version, live: live.enter(id, theirs.data_dir_id) })
}

/// The exchange on the side that was dialled. `check_is` looks whether the certificate at the other end, if it has shown
/// one, is that of the server it says it is, at the address it says it has. `feeds`: this is the port for those that are to
/// be fed.
pub async fn answer<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    identity: &Identity,
    live: &Arc<LivePeers>,
    feeds: bool,
    check_is: impl FnOnce(&S, ServerId, &str) -> Result<(), String>,
) -> Result<Greeted, HelloError> {
    let theirs = read_hello(stream).await?;
    let ours = identity.hello(None, String::new());
    let insists = identity.auth.as_ref().is_some_and(PeerAuth::insists);
    let checked = match check_hello(&theirs, &ours, |id| identity.admits(id), None, |id| live.data_dir(id)) {
        Ok(_) if theirs.to_be_fed != feeds => Err(Refusal::WrongPort),
        Ok(_) if insists && !theirs.authenticates => Err(Refusal::Unauthenticated),
        Ok(checked) => match check_is(stream, checked.id, &theirs.address) {
            Ok(()) => Ok(checked),
            Err(reason) => Err(Refusal::Certificate { id: checked.id, reason }),
        },
        refused => refused,
    };
    match checked {
        Ok(Checked { id, version }) => {
            write_hello(stream, &ours).await?;
            if let Some(auth) = identity.auth.as_ref().filter(|_| theirs.authenticates) {
                auth.demand(stream, identity.server_id, id).await?;
            }
            identity.directory.hear(id, &theirs.address, &theirs.membership);
            Ok(Greeted { id, version, live: live.enter(id, theirs.data_dir_id) })
        }
        Err(refusal) => {
            write_hello(stream, &identity.hello(None, refusal.to_string())).await?;
            Err(refusal.into())
        }
    }
}

async fn write_hello(stream: &mut (impl AsyncWrite + Unpin), hello: &Hello) -> io::Result<()> {
    let mut frame = Vec::new();
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
    use std::collections::BTreeSet;

    use super::*;

    /// The hello of server 2 as server 1 likes it when server 2 dials.
    fn good() -> Hello {
        Hello {
            to_be_fed: false,
            protocol_version: 2,
            newest_version: 3,
            ensemble_id: 7,
            server_id: 2,
            data_dir_id: 22,
            expected_server_id: 1,
            refusal: String::new(),
            authenticates: false,
            address: String::new(),
            membership: String::new(),
        }
    }

    /// What server 1 of {1, 2, 3}, of ensemble 7, makes of it.
    fn check(theirs: &Hello, expected: Option<u8>, live: Option<u64>) -> Result<Checked, Refusal> {
        let members = BTreeSet::from([1, 2, 3].map(ServerId));
        let ours = Hello { server_id: 1, data_dir_id: 11, ..good() };
        check_hello(theirs, &ours, |id| members.contains(&id), expected.map(ServerId), |_| live)
    }

    #[test]
    fn servers_that_fit_talk_to_each_other_whoever_dials() {
        let fits = Ok(Checked { id: ServerId(2), version: Version(3) });
        assert_eq!(check(&good(), None, None), fits);
        assert_eq!(check(&Hello { expected_server_id: 0, ..good() }, Some(2), None), fits);
        assert_eq!(check(&good(), None, Some(22)), fits, "a second connection of the same server");
        assert_eq!(check(&Hello { ensemble_id: 0, ..good() }, None, None), fits, "a new server");
    }

    #[test]
    fn both_use_the_greatest_version_that_they_have_in_common() {
        let spoken = |theirs: (u32, u32), ours: (u32, u32)| {
            let hello =
                |(oldest, newest)| Hello { protocol_version: oldest, newest_version: newest, ..good() };
            let common = |one, other| Versions::of(&hello(one)).common(Versions::of(&hello(other)));
            assert_eq!(common(theirs, ours), common(ours, theirs), "both find the same");
            common(theirs, ours).map(|version| version.0)
        };
        assert_eq!(spoken((2, 3), (2, 3)), Some(3));
        assert_eq!(spoken((2, 3), (3, 5)), Some(3));
        assert_eq!(spoken((2, 0), (2, 3)), Some(2), "one that knows no range");
        assert_eq!(spoken((2, 0), (3, 3)), None, "the data needs more");
        assert_eq!(spoken((1, 0), (2, 3)), None);
        assert_eq!(spoken((4, 5), (2, 3)), None);
    }

    #[test]
    fn who_speaks_less_than_the_data_needs_is_told_so() {
        let identity = Identity::new(ServerId(1), Directory::of(&[1]), &EpochRecord::default());
        let said = |identity: &Identity| Versions::of(&identity.hello(None, String::new())).to_string();
        assert_eq!(said(&identity), "versions 2 to 4");
        identity.set_needed_version(Version(4));
        assert_eq!(said(&identity), "version 4");
    }

    #[test]
    fn what_does_not_fit_is_refused_with_the_reason() {
        let table = [
            (
                Hello { protocol_version: 1, newest_version: 0, ..good() },
                None,
                None,
                Refusal::Version {
                    theirs: Versions { oldest: Version(1), newest: Version(1) },
                    ours: Versions { oldest: Version(2), newest: Version(3) },
                },
            ),
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

    #[tokio::test]
    async fn who_is_to_be_fed_has_a_port_of_its_own() {
        let identity = |id| Identity::new(ServerId(id), Directory::of(&[1, 2]), &EpochRecord::default());
        for (to_be_fed, feeds) in [(false, false), (false, true), (true, false), (true, true)] {
            let (mut near, mut far) = tokio::io::duplex(1 << 16);
            let (dials, dialled) = (identity(1), identity(2));
            let live = Arc::new(LivePeers::default());
            let (greeted, answered) = tokio::join!(
                greet(&mut near, &dials, &live, ServerId(2), to_be_fed),
                answer(&mut far, &dialled, &live, feeds, |_, _, _| Ok(())),
            );
            assert_eq!((greeted.is_ok(), answered.is_ok()), (to_be_fed == feeds, to_be_fed == feeds));
        }
    }

    #[test]
    fn an_ensemble_that_is_not_confirmed_is_not_told() {
        let record = EpochRecord { ensemble_id: 7, data_dir_id: 11, ..EpochRecord::default() };
        let identity = Identity::new(ServerId(1), Directory::of(&[]), &record);
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
