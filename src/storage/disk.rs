//! What storage asks of the operating system: one folder of files. A simulator implements it with a memory of what is
//! buffered and what is durable; [`super::OsDisk`] with the real thing.
//!
//! Nothing that was written, created, renamed or removed survives a loss of power before it was synced: contents by
//! [`DiskFile::sync_data`], names by [`Disk::sync_dir`]. Until then any part of it may survive, in any order.

use std::io;

use bytes::Bytes;

/// What the log is written in, bytes: no disk has larger ones, and no page of memory is smaller.
pub const BLOCK_BYTES: u64 = 4096;

/// Something with a length that can be read at any place: a file, or bytes in memory.
pub trait ReadAt {
    /// Its length in bytes.
    fn size(&self) -> io::Result<u64>;

    /// Fills `bytes` from `offset` on; returns less than asked for only at the end.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize>;
}

impl ReadAt for &[u8] {
    fn size(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(self.len());
        let count = bytes.len().min(self.len() - from);
        bytes[..count].copy_from_slice(&self[from..from + count]);
        Ok(count)
    }
}

/// An open file.
pub trait DiskFile: ReadAt + Send + Sync + 'static {
    /// Writes all of `bytes` at `offset`; the file grows if it must.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// The same with whole blocks of 4 KiB at the beginning of one: they may go to the disk at once, past the
    /// page cache. Durable are they only after [`DiskFile::sync_data`].
    fn write_blocks_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_at(bytes, offset)
    }

    /// Makes contents and length durable.
    fn sync_data(&self) -> io::Result<()>;
}

/// One folder. Clones are handles of the same folder.
pub trait Disk: Clone + Send + Sync + 'static {
    /// What `create` and `open` give.
    type File: DiskFile;

    /// The names of the files in the folder, in any order.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Opens a file that is empty, whether it existed or not.
    fn create(&self, name: &str) -> io::Result<Self::File>;

    /// Opens a file that exists, to read and to write.
    fn open(&self, name: &str) -> io::Result<Self::File>;

    /// Gives a file another name; a file that has that name already is replaced, atomically.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes all changes of names durable.
    fn sync_dir(&self) -> io::Result<()>;

    /// How a message to the operator names the file: its path.
    fn describe(&self, name: &str) -> String;
}

/// The folders of a server; both may be handles of the same one.
#[derive(Clone, Debug)]
pub struct Disks<D> {
    /// the snapshots and the epoch file: `dataDir`
    pub data: D,
    /// the log: `dataLogDir`
    pub log: D,
}

/// How much a [`Window`] reads at a time, bytes: what a single small record that is kept keeps alive with it.
const WINDOW_BYTES: u64 = 1 << 20;

/// Reads forward in large pieces, and hands out slices of them without copying.
pub(crate) struct Window<'a, R> {
    source: &'a R,
    size: u64,
    start: u64,
    bytes: Bytes,
}

impl<'a, R: ReadAt> Window<'a, R> {
    /// Over all of `source`.
    pub(crate) fn new(source: &'a R) -> io::Result<Window<'a, R>> {
        Ok(Window { source, size: source.size()?, start: 0, bytes: Bytes::new() })
    }

    /// The length of the source when reading began.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// `length` bytes at `offset`; `None` where the source ends before them.
    pub(crate) fn get(&mut self, offset: u64, length: u64) -> io::Result<Option<Bytes>> {
        let Some(end) = offset.checked_add(length).filter(|end| *end <= self.size) else { return Ok(None) };
        if offset < self.start || end > self.start + self.bytes.len() as u64 {
            let count = length.max(WINDOW_BYTES).min(self.size - offset);
            let mut bytes = vec![0; usize::try_from(count).map_err(io::Error::other)?];
            let read = self.source.read_at(&mut bytes, offset)?;
            if read < bytes.len() {
                // The file shrank while it was read: nobody but an operator does that.
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.start = offset;
            self.bytes = bytes.into();
        }
        let from = (offset - self.start) as usize;
        Ok(Some(self.bytes.slice(from..from + length as usize)))
    }
}

/// The `u32` at `at` of a fixed layout, little endian.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut field = [0; 4];
    field.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(field)
}

/// The `u64` at `at` of a fixed layout, little endian.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut field = [0; 8];
    field.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(field)
}
