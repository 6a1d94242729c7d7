//! What the ensemble agrees on: the tree and the sessions, at one zxid.

use thiserror::Error;

use crate::ids::{SessionId, Version, Zxid};
use crate::mutants::{Mutant, has};
use crate::session::{PASSWORD_BYTES, Sessions, SessionsDecodeError};
use crate::tree::{self, ApplyError, LoadError, Tree};
use crate::txn::{Txn, TxnError, txn::Body};

/// The replicated state. Every server that has applied the same transactions has the same one.
pub struct State {
    zxid: Zxid,
    version: Version,
    /// The znodes.
    pub tree: Tree,
    /// The sessions.
    pub sessions: Sessions,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "State at {} with {} znodes and {} sessions",
            self.zxid,
            self.tree.len(),
            self.sessions.len()
        )
    }
}

/// A transaction that does not fit the state: this server is not what the leader took it for, and must stop.
#[derive(Debug, Error)]
pub enum StateError {
    /// not even a transaction
    #[error("transaction {zxid} cannot be read: {error}")]
    Txn {
        /// the transaction
        zxid: Zxid,
        /// what is wrong with its bytes
        error: TxnError,
    },
    /// of the tree
    #[error(transparent)]
    Tree(#[from] ApplyError),
    /// of the session table
    #[error("transaction {zxid} cannot be applied: {reason}")]
    Sessions {
        /// the transaction
        zxid: Zxid,
        /// what does not fit
        reason: String,
    },
    /// the same transactions made another state here than on the server that wrote this one down
    #[error(
        "transaction {zxid} says that the digest of the state at {at} is {leader:016x}, but here it is {own:016x}. \
         Please report this, with the log and the snapshots"
    )]
    Digest {
        /// the transaction
        zxid: Zxid,
        /// of which state it tells the digest
        at: Zxid,
        /// the own digest
        own: u64,
        /// as the transaction says
        leader: u64,
    },
}

/// A snapshot's content that makes no state.
#[derive(Debug, Error)]
pub enum StateLoadError<E> {
    /// it has not even the first block
    #[error("the snapshot is empty")]
    Empty,
    /// the blocks could not be read
    #[error("{0}")]
    Source(E),
    /// the first block
    #[error("{0}")]
    Sessions(#[from] SessionsDecodeError),
    /// the other blocks
    #[error("{0}")]
    Tree(LoadError<E>),
    /// the content is not what was written
    #[error("the digest of the state at {zxid} is {actual:016x}, but the snapshot says {expected:016x}")]
    Digest {
        /// of the snapshot
        zxid: Zxid,
        /// as the snapshot says
        expected: u64,
        /// of what was loaded
        actual: u64,
    },
}

impl State {
    /// Before the first transaction.
    pub fn new(hash_seed: u64) -> State {
        State {
            zxid: Zxid::ZERO,
            version: Version::OLDEST,
            tree: Tree::new(hash_seed),
            sessions: Sessions::default(),
        }
    }

    /// The last transaction applied.
    pub fn zxid(&self) -> Zxid {
        self.zxid
    }

    /// What a server must speak to have it: what any of its transactions needed. It never falls.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Over everything in the state: equal on all servers at equal zxids.
    pub fn digest(&self) -> u64 {
        self.tree.digest().wrapping_add(self.sessions.digest())
    }

    /// Applies the next transaction. After an error the state is good for nothing.
    ///
    /// # Panics
    /// If `zxid` may not follow the last one: transactions are applied without a gap.
    pub fn apply<'t>(&mut self, zxid: Zxid, txn: &'t Txn) -> Result<tree::Applied<'t>, StateError> {
        assert!(zxid.may_follow(self.zxid), "{zxid} may not be applied after {}", self.zxid);
        let session = SessionId(txn.session_id);
        let refuse = |reason: String| StateError::Sessions { zxid, reason };
        match &txn.body {
            Some(Body::CreateSession(create)) => {
                let password: [u8; PASSWORD_BYTES] = create.password[..]
                    .try_into()
                    .map_err(|_| refuse(format!("a password of {} bytes", create.password.len())))?;
                if !self.sessions.create(session, create.timeout_ms, password, txn.generation) {
                    return Err(refuse(format!("session {session} is open already")));
                }
            }
            Some(Body::CloseSession(_)) => {
                self.sessions
                    .close(session)
                    .ok_or_else(|| refuse(format!("session {session} is not open")))?;
            }
            Some(Body::Ops(_) | Body::Error(_)) | None => {
                self.sessions.raise_generation(session, txn.generation)
            }
        }
        let applied = self.tree.apply(zxid, txn)?;
        self.zxid = zxid;
        self.version = self.version.max(txn.needs());
        Ok(applied)
    }

    /// The state as it is now, to be written out while this one goes on.
    pub fn image(&self) -> Image {
        let early = has(Mutant::SnapshotZxidEarly) && self.zxid.counter() > 1;
        Image {
            zxid: if early { Zxid(self.zxid.0 - 1) } else { self.zxid },
            version: self.version,
            digest: self.digest(),
            tree: self.tree.image(),
            sessions: self.sessions.encode(),
        }
    }

    /// The state of an image, from its blocks. Refused if its digest is another one.
    pub fn from_blocks<B: AsRef<[u8]>, E>(
        hash_seed: u64,
        zxid: Zxid,
        digest: u64,
        version: Version,
        blocks: impl IntoIterator<Item = Result<B, E>>,
    ) -> Result<State, StateLoadError<E>> {
        let mut blocks = blocks.into_iter();
        let first = blocks.next().ok_or(StateLoadError::Empty)?.map_err(StateLoadError::Source)?;
        let sessions = Sessions::decode(first.as_ref())?;
        let tree = Tree::load(hash_seed, blocks).map_err(|error| match error {
            LoadError::Source(source) => StateLoadError::Source(source),
            damaged => StateLoadError::Tree(damaged),
        })?;
        let state = State { zxid, version, tree, sessions };
        if state.digest() != digest {
            return Err(StateLoadError::Digest { zxid, expected: digest, actual: state.digest() });
        }
        Ok(state)
    }
}

/// A state as it was at one zxid. Cloning costs next to nothing, and nothing that happens later shows.
#[derive(Clone)]
pub struct Image {
    zxid: Zxid,
    version: Version,
    digest: u64,
    tree: tree::Image,
    sessions: Vec<u8>,
}

impl std::fmt::Debug for Image {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Image at {}", self.zxid)
    }
}

impl Image {
    /// The last transaction in it.
    pub fn zxid(&self) -> Zxid {
        self.zxid
    }

    /// What a server must speak to have the state.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Of the state.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// The content: the sessions first, then the tree.
    pub fn blocks(&self) -> impl Iterator<Item = Vec<u8>> + Send + use<> {
        std::iter::once(self.sessions.clone()).chain(self.tree.blocks())
    }
}
