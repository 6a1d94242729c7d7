//! What can go wrong, in words for the operator.

use std::fmt;
use std::io;

use rustix::io::Errno;

use super::table::Case;
use crate::ids::Zxid;

/// Why storage cannot go on. After one of these, other than a refused start, the process must end: what the disk holds
/// is then known only to the next start, which reads it again.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The operating system refused something.
    #[error("{file}: {source}")]
    Io {
        /// the path
        file: String,
        /// what it said
        source: io::Error,
    },
    /// What is on the disk cannot be started from, or does not verify.
    #[error("{0}")]
    Damage(Damage),
    /// Another process uses the folder.
    #[error("{folder} is in use by another server (process {pid}): every server needs folders of its own")]
    Locked {
        /// the folder
        folder: String,
        /// the other process, as it wrote it down
        pid: String,
    },
    /// A folder is missing, and is not to be made.
    #[error(
        "there is no folder {folder}, and datadir.autocreate=false: mount its disk, or create it if it is to be empty"
    )]
    NoFolder {
        /// the folder
        folder: String,
    },
    /// The caller broke the order of transactions.
    #[error("transaction {zxid} cannot stand behind {last} in the log")]
    OutOfOrder {
        /// the end of the log
        last: Zxid,
        /// what was to follow it
        zxid: Zxid,
    },
    /// The caller let through what cannot be logged.
    #[error("transaction {zxid} has {bytes} bytes: more than a log record can hold")]
    TooBig {
        /// which
        zxid: Zxid,
        /// its length
        bytes: usize,
    },
    /// Damaged data was put aside so often that there should be no more of it.
    #[error(
        "{found}. Nothing was put aside: {folder} keeps {sets} sets of damaged data already (damaged-*). Find out why its \
         disk does not keep what was written, move these files elsewhere, and start again"
    )]
    TooManySets {
        /// dataDir
        folder: String,
        /// how many there are
        sets: usize,
        /// the newest damage
        found: String,
    },
    /// Something failed before; nothing is tried again.
    #[error("storage failed before and was given up")]
    Poisoned,
}

impl StorageError {
    /// True if the disk cannot give back what was written: it is lost, as if it did not verify.
    pub fn is_decay(&self) -> bool {
        matches!(self, StorageError::Io { source, .. } if is_decay(source))
    }
}

/// Something on the disk that is not as it was written, or not there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Damage {
    /// which case of the recovery table
    pub case: Case,
    /// the path of the file, or of where it should be
    pub file: String,
    /// where in it
    pub offset: u64,
    /// what was found there
    pub found: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, byte {}: {}. {}", self.file, self.offset, self.found, self.case.remedy())
    }
}

/// True if the disk cannot give back what was written: it is lost, as if it did not verify. Everything else that may
/// keep a file from being read, such as its permissions, says nothing about the data.
pub(crate) fn is_decay(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::IO | Errno::UCLEAN | Errno::BADMSG))
}

/// Adds the name of the file to an error of the operating system.
pub(crate) trait InFile<T> {
    /// `file` is asked for only if there is an error.
    fn in_file(self, file: impl FnOnce() -> String) -> Result<T, StorageError>;
}

impl<T> InFile<T> for io::Result<T> {
    fn in_file(self, file: impl FnOnce() -> String) -> Result<T, StorageError> {
        self.map_err(|source| StorageError::Io { file: file(), source })
    }
}
