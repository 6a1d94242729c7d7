//! A folder of the operating system.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Once, PoisonError};

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;

use super::direct::BlockWriter;
use super::disk::{Disk, DiskFile, Disks, ReadAt};
use super::error::{InFile, StorageError};

/// The file whose lock tells that a server uses the folder. It holds the number of that server's process.
const LOCK_NAME: &str = "zabra.lock";

/// The operator is told once.
static TELL_CACHED: Once = Once::new();

/// A folder, locked for this process as long as a handle of it lives.
#[derive(Clone, Debug)]
pub struct OsDisk {
    folder: Arc<Folder>,
}

#[derive(Debug)]
struct Folder {
    path: PathBuf,
    /// to sync the names in it
    handle: File,
    /// false: the operator prefers speed to durability (`forceSync=no`)
    sync: bool,
    /// files are opened to be read, and nothing is changed
    read_only: bool,
    /// released by the kernel when the process ends, however it ends
    _lock: Option<File>,
}

/// An open file of an [`OsDisk`].
#[derive(Debug)]
pub struct OsFile {
    file: File,
    sync: bool,
    /// made with the first blocks that are written
    blocks: Mutex<Option<BlockWriter<File>>>,
}

impl Folder {
    fn may_change(&self) -> io::Result<()> {
        if self.read_only { Err(io::ErrorKind::ReadOnlyFilesystem.into()) } else { Ok(()) }
    }
}

impl OsDisk {
    /// Makes the folder if it is missing, and locks it.
    pub fn open(path: &Path) -> Result<OsDisk, StorageError> {
        OsDisk::open_with(path, true)
    }

    fn open_with(path: &Path, sync: bool) -> Result<OsDisk, StorageError> {
        let name = || path.display().to_string();
        fs::create_dir_all(path).in_file(name)?;
        let lock = lock(path)?;
        let handle = File::open(path).in_file(name)?;
        let folder = Folder { path: path.to_owned(), handle, sync, read_only: false, _lock: Some(lock) };
        Ok(OsDisk { folder: Arc::new(folder) })
    }

    /// A folder that nothing is changed in, locked if a server ever used it.
    fn open_to_read(path: &Path) -> Result<OsDisk, StorageError> {
        let handle = File::open(path).in_file(|| path.display().to_string())?;
        let lock_path = path.join(LOCK_NAME);
        let lock = match File::open(&lock_path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            opened => {
                let mut file = opened.in_file(|| lock_path.display().to_string())?;
                take_lock(path, &mut file)?;
                Some(file)
            }
        };
        let folder = Folder { path: path.to_owned(), handle, sync: false, read_only: true, _lock: lock };
        Ok(OsDisk { folder: Arc::new(folder) })
    }
}

/// Fails unless both folders of a server are there (ZooKeeper's `datadir.autocreate=false`).
pub fn require_folders(data: &Path, log: &Path) -> Result<(), StorageError> {
    let missing = [data, log].into_iter().find(|folder| !folder.is_dir());
    missing.map_or(Ok(()), |folder| Err(StorageError::NoFolder { folder: folder.display().to_string() }))
}

/// Opens the two folders of a server, which may be the same. Without `sync` nothing is ever synced: a loss of power
/// then loses what was acknowledged (ZooKeeper's `forceSync=no`).
pub fn open_folders(data: &Path, log: &Path, sync: bool) -> Result<Disks<OsDisk>, StorageError> {
    let data_disk = OsDisk::open_with(data, sync)?;
    fs::create_dir_all(log).in_file(|| log.display().to_string())?;
    let log_disk = if is_same(data, log) { data_disk.clone() } else { OsDisk::open_with(log, sync)? };
    Ok(Disks { data: data_disk, log: log_disk })
}

/// Opens the two folders of a server that does not run, to read them: nothing can be changed through them.
pub fn open_folders_to_read(data: &Path, log: &Path) -> Result<Disks<OsDisk>, StorageError> {
    let data_disk = OsDisk::open_to_read(data)?;
    let log_disk = if is_same(data, log) { data_disk.clone() } else { OsDisk::open_to_read(log)? };
    Ok(Disks { data: data_disk, log: log_disk })
}

/// The number of the process that uses a server's folder. `None` if no server does, or ever did.
///
/// # Errors
/// If the folder cannot be read.
pub fn user_of(folder: &Path) -> Result<Option<String>, StorageError> {
    match OsDisk::open_to_read(folder) {
        Ok(_) => Ok(None),
        Err(StorageError::Locked { pid, .. }) => Ok(Some(pid)),
        Err(error) => Err(error),
    }
}

fn is_same(one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => one == other,
    }
}

/// Opens a single file to read, without a lock on its folder: for tools that look at a running server's files.
pub fn open_file(path: &Path) -> io::Result<OsFile> {
    Ok(OsFile::new(File::open(path)?, false))
}

fn lock(folder: &Path) -> Result<File, StorageError> {
    let path = folder.join(LOCK_NAME);
    let name = || path.display().to_string();
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).in_file(name)?;
    take_lock(folder, &mut file)?;
    file.set_len(0).in_file(name)?;
    file.write_all(format!("{}\n", std::process::id()).as_bytes()).in_file(name)?;
    Ok(file)
}

fn take_lock(folder: &Path, file: &mut File) -> Result<(), StorageError> {
    match flock(&*file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(()),
        Err(Errno::WOULDBLOCK) => {
            let mut pid = String::new();
            // Only for the message: whatever is not readable there is "unknown".
            let _ = file.read_to_string(&mut pid);
            let pid = pid.trim().parse::<u32>().map_or_else(|_| "unknown".to_owned(), |pid| pid.to_string());
            Err(StorageError::Locked { folder: folder.display().to_string(), pid })
        }
        Err(error) => Err(error.into()).in_file(|| folder.join(LOCK_NAME).display().to_string()),
    }
}

/// Opens a file that is open already, whatever its name is by now, for direct writes. `None` where that cannot be done.
fn reopen_direct(file: &File) -> Option<File> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    OpenOptions::new().write(true).custom_flags(OFlags::DIRECT.bits().cast_signed()).open(path).ok()
}

impl OsFile {
    fn new(file: File, sync: bool) -> OsFile {
        OsFile { file, sync, blocks: Mutex::default() }
    }
}

impl ReadAt for OsFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < bytes.len() {
            match self.file.read_at(&mut bytes[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }
}

impl DiskFile for OsFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn write_blocks_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if !self.sync {
            // The page cache is faster, and nothing has to be durable.
            return self.write_at(bytes, offset);
        }
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        let blocks = blocks.get_or_insert_with(|| BlockWriter::new(reopen_direct(&self.file)));
        let written = blocks.write_at(&self.file, bytes, offset);
        if !blocks.is_direct() {
            TELL_CACHED.call_once(|| {
                tracing::info!(
                    "the file system of the log takes no direct writes (O_DIRECT): they go through the page cache"
                );
            });
        }
        written
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.sync { self.file.sync_data() } else { Ok(()) }
    }
}

impl Disk for OsDisk {
    type File = OsFile;

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.folder.path)? {
            // Our own names are ASCII; a name that is not even UTF-8 is somebody else's.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn create(&self, name: &str) -> io::Result<OsFile> {
        self.folder.may_change()?;
        let path = self.folder.path.join(name);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
        Ok(OsFile::new(file, self.folder.sync))
    }

    fn open(&self, name: &str) -> io::Result<OsFile> {
        let write = !self.folder.read_only;
        let file = OpenOptions::new().read(true).write(write).open(self.folder.path.join(name))?;
        Ok(OsFile::new(file, self.folder.sync))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.folder.may_change()?;
        fs::rename(self.folder.path.join(from), self.folder.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.folder.may_change()?;
        fs::remove_file(self.folder.path.join(name))
    }

    fn sync_dir(&self) -> io::Result<()> {
        if self.folder.sync { self.folder.handle.sync_all() } else { Ok(()) }
    }

    fn describe(&self, name: &str) -> String {
        self.folder.path.join(name).display().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::disk::BLOCK_BYTES;

    #[test]
    fn a_second_server_on_a_folder_is_told_the_process_of_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let first = OsDisk::open(folder.path()).unwrap();
        let error = OsDisk::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
        drop(first);
        OsDisk::open(folder.path()).unwrap();
    }

    #[test]
    fn one_folder_for_both_purposes_is_locked_once() {
        let folder = tempfile::tempdir().unwrap();
        let disks = open_folders(
            folder.path(),
            &folder.path().join("../").join(folder.path().file_name().unwrap()),
            true,
        );
        let disks = disks.unwrap();
        disks.data.create("a").unwrap();
        assert!(disks.log.list().unwrap().contains(&"a".to_owned()));
    }

    #[test]
    fn a_folder_that_is_to_be_there_is_named_and_not_made() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("log");
        let error = require_folders(folder.path(), &missing).unwrap_err().to_string();
        assert!(error.contains(&format!("{}, and datadir.autocreate=false", missing.display())), "{error}");
        assert!(!missing.exists());
        std::fs::create_dir(&missing).unwrap();
        require_folders(folder.path(), &missing).unwrap();
    }

    #[test]
    fn what_was_written_in_blocks_is_read_as_it_was_directly_or_not() {
        const BLOCK: usize = BLOCK_BYTES as usize;
        let folder = tempfile::tempdir().unwrap();
        let disk = OsDisk::open(folder.path()).unwrap();
        let bytes: Vec<u8> = (0..(1 << 20) + 3 * BLOCK).map(|at| (at / 7) as u8).collect();
        for name in ["direct", "cached"] {
            let file = disk.create(name).unwrap();
            if name == "cached" {
                *file.blocks.lock().unwrap() = Some(BlockWriter::new(None));
            }
            file.write_blocks_at(&bytes, BLOCK_BYTES).unwrap();
            // A name that changes changes nothing, and what is small and in between goes through the cache.
            disk.rename(name, "other").unwrap();
            file.write_blocks_at(&bytes[..BLOCK], 0).unwrap();
            file.write_at(b"small", BLOCK_BYTES + 5).unwrap();
            file.write_blocks_at(&bytes[..BLOCK], 2 * BLOCK_BYTES).unwrap();
            file.sync_data().unwrap();
            let mut expected = [&bytes[..BLOCK], &bytes].concat();
            expected[BLOCK + 5..][..5].copy_from_slice(b"small");
            expected[2 * BLOCK..3 * BLOCK].copy_from_slice(&bytes[..BLOCK]);
            assert!(fs::read(folder.path().join("other")).unwrap() == expected, "{name}");
        }
    }
}
