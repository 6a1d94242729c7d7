//! Writes past the page cache (`O_DIRECT`). What goes to the log is not read again before the next start: a copy of it in
//! the cache would take memory, and filling fresh pages of it can cost more than all else that is done with a record.

use std::io;
use std::os::unix::fs::FileExt;

use rustix::io::Errno;

use super::disk::BLOCK_BYTES;

/// The most that goes to the disk with one call, bytes: so much memory a writer takes.
const PIECE_BYTES_MAX: usize = 1 << 20;

/// Writes blocks of one file, past the page cache if that can be done.
#[derive(Debug)]
pub(super) struct BlockWriter<F> {
    direct: Option<Direct<F>>,
}

impl<F: FileExt> BlockWriter<F> {
    /// `direct`: the file opened for direct writes, where the file system has them.
    pub fn new(direct: Option<F>) -> BlockWriter<F> {
        BlockWriter { direct: direct.map(|file| Direct { file, memory: Vec::new() }) }
    }

    /// False once it is known that direct writes cannot be done.
    pub fn is_direct(&self) -> bool {
        self.direct.is_some()
    }

    /// Writes whole blocks at the beginning of one; through `file` if it cannot be done directly.
    pub fn write_at(&mut self, file: &F, bytes: &[u8], offset: u64) -> io::Result<()> {
        assert!(offset.is_multiple_of(BLOCK_BYTES) && (bytes.len() as u64).is_multiple_of(BLOCK_BYTES));
        if let Some(direct) = &mut self.direct {
            match direct.write_at(bytes, offset) {
                // Some file systems refuse only here.
                Err(error) if is_refusal(&error) => self.direct = None,
                result => return result,
            }
        }
        file.write_all_at(bytes, offset)
    }
}

fn is_refusal(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::INVAL | Errno::OPNOTSUPP))
}

/// A file that is open for direct writes.
#[derive(Debug)]
struct Direct<F> {
    file: F,
    /// What is written lies in here, at an address that is a multiple of a block's size, as the kernel demands.
    memory: Vec<u8>,
}

impl<F: FileExt> Direct<F> {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut at = offset;
        for piece in bytes.chunks(PIECE_BYTES_MAX) {
            let room = piece.len() + BLOCK_BYTES as usize;
            if self.memory.len() < room {
                self.memory.resize(room, 0);
            }
            let begin = self.memory.as_ptr().align_offset(BLOCK_BYTES as usize);
            let aligned = &mut self.memory[begin..][..piece.len()];
            aligned.copy_from_slice(piece);
            self.file.write_all_at(aligned, at)?;
            at += piece.len() as u64;
        }
        Ok(())
    }
}
