//! The bytes of a snapshot: a header, blocks that mean nothing here, a footer over all of it. Pure.
//! `docs/storage.md` draws them. The same bytes lie in a file and go to a follower that is too far behind.

use std::io;

use bytes::Bytes;
use crc32fast::Hasher;

use super::disk::{ReadAt, u32_at, u64_at};
use crate::ids::{Version, Zxid};

/// The format of a state that every server can have.
const FORMAT_FOR_ALL: u32 = 1;

/// The newest format: the same, and the header says what a server must speak to have the state.
pub const SNAPSHOT_VERSION: u32 = 2;

/// The biggest block before compression, bytes. A block holds many nodes, or a single one that is bigger.
pub const BLOCK_BYTES_MAX: usize = 256 << 20;

const MAGIC: [u8; 8] = *b"ZABRASNP";
const HEADER_BYTES: usize = 40;
const BLOCK_MAGIC: u32 = u32::from_le_bytes(*b"ZBLK");
const BLOCK_HEADER_BYTES: usize = 16;
const FOOTER_MAGIC: u32 = u32::from_le_bytes(*b"ZFIN");
const FOOTER_BYTES: usize = 28;

/// zstd's fastest: the device is the bottleneck, not the ratio.
const COMPRESSION_LEVEL: i32 = 1;

/// Why bytes are not a snapshot.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotFault {
    /// It could not be read.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It ends too early.
    #[error("it ends at byte {0}, before its footer")]
    Short(u64),
    /// It does not begin as a snapshot does.
    #[error("it is not a snapshot")]
    NotASnapshot,
    /// A newer release wrote it.
    #[error("it is of format version {0}")]
    Future(u32),
    /// It holds what a newer release knows.
    #[error("it needs a server that speaks version {0}, while this one speaks {newest} at most", newest = Version::NEWEST)]
    Needs(u32),
    /// Something in it does not fit.
    #[error("{what} at byte {offset}")]
    Damaged {
        /// where
        offset: u64,
        /// what was found there
        what: &'static str,
    },
}

/// What a snapshot tells about itself once it was verified.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SnapshotSummary {
    /// the state is the one after exactly this transaction
    pub zxid: Zxid,
    /// the digest of its tree
    pub digest: u64,
    /// what a server must speak to have the state
    pub version: Version,
    /// how many blocks
    pub blocks: u64,
    /// bytes of them, before compression
    pub raw_bytes: u64,
}

/// Makes the bytes of a snapshot out of its blocks: an iterator of chunks, to be written or sent one after the other.
pub struct SnapshotEncoder<I> {
    blocks: I,
    format: Format,
    header: Option<Bytes>,
    finished: bool,
}

/// The running state of the format while it is written.
pub(crate) struct Format {
    compressor: zstd::bulk::Compressor<'static>,
    whole: Hasher,
    blocks: u64,
    raw_bytes: u64,
}

impl Format {
    pub(crate) fn begin(zxid: Zxid, digest: u64, version: Version) -> io::Result<(Format, Bytes)> {
        let (format, needs) =
            if version > Version::OLDEST { (SNAPSHOT_VERSION, version.0) } else { (FORMAT_FOR_ALL, 0) };
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&format.to_le_bytes());
        bytes.extend_from_slice(&needs.to_le_bytes());
        bytes.extend_from_slice(&zxid.0.to_le_bytes());
        bytes.extend_from_slice(&digest.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        let crc = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        let compressor = zstd::bulk::Compressor::new(COMPRESSION_LEVEL)?;
        let mut format = Format { compressor, whole: Hasher::new(), blocks: 0, raw_bytes: 0 };
        format.whole.update(&bytes);
        Ok((format, bytes.into()))
    }

    pub(crate) fn block(&mut self, raw: &[u8]) -> io::Result<Bytes> {
        if raw.len() > BLOCK_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a block of a snapshot is too big"));
        }
        let compressed = self.compressor.compress(raw)?;
        let mut bytes = Vec::with_capacity(BLOCK_HEADER_BYTES + compressed.len());
        bytes.extend_from_slice(&BLOCK_MAGIC.to_le_bytes());
        bytes.extend_from_slice(&(compressed.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&(raw.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&block_crc(self.blocks, &bytes, &compressed).to_le_bytes());
        bytes.extend_from_slice(&compressed);
        self.whole.update(&bytes);
        self.blocks += 1;
        self.raw_bytes += raw.len() as u64;
        Ok(bytes.into())
    }

    pub(crate) fn finish(&mut self) -> Bytes {
        let mut bytes = Vec::with_capacity(FOOTER_BYTES);
        bytes.extend_from_slice(&FOOTER_MAGIC.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&self.blocks.to_le_bytes());
        bytes.extend_from_slice(&self.raw_bytes.to_le_bytes());
        self.whole.update(&bytes);
        bytes.extend_from_slice(&self.whole.clone().finalize().to_le_bytes());
        bytes.into()
    }
}

impl<I: Iterator<Item = Vec<u8>>> SnapshotEncoder<I> {
    /// Of the state after exactly `zxid`, whose tree has `digest`, and which needs `version`.
    pub fn new(zxid: Zxid, digest: u64, version: Version, blocks: I) -> io::Result<SnapshotEncoder<I>> {
        let (format, header) = Format::begin(zxid, digest, version)?;
        Ok(SnapshotEncoder { blocks, format, header: Some(header), finished: false })
    }
}

impl<I: Iterator<Item = Vec<u8>>> Iterator for SnapshotEncoder<I> {
    type Item = io::Result<Bytes>;

    fn next(&mut self) -> Option<io::Result<Bytes>> {
        if let Some(header) = self.header.take() {
            return Some(Ok(header));
        }
        if self.finished {
            return None;
        }
        match self.blocks.next() {
            Some(block) => Some(self.format.block(&block)),
            None => {
                self.finished = true;
                Some(Ok(self.format.finish()))
            }
        }
    }
}

/// Reads the blocks of a snapshot, strictly: every checksum, the order, the footer, and nothing behind it. What was read
/// counts only once the iterator has ended without an error.
pub struct SnapshotReader<R> {
    source: R,
    size: u64,
    at: u64,
    zxid: Zxid,
    digest: u64,
    version: Version,
    whole: Hasher,
    blocks: u64,
    raw_bytes: u64,
    ended: bool,
}

impl<R: ReadAt> SnapshotReader<R> {
    /// Reads and checks the header.
    pub fn open(source: R) -> Result<SnapshotReader<R>, SnapshotFault> {
        let mut header = [0; HEADER_BYTES];
        let count = source.read_at(&mut header, 0)?;
        if count < HEADER_BYTES {
            return Err(SnapshotFault::Short(count as u64));
        }
        if header[0..8] != MAGIC {
            return Err(SnapshotFault::NotASnapshot);
        }
        // Every version keeps magic, version and this checksum where they are: damage never looks like the future.
        if u32_at(&header, 36) != crc32fast::hash(&header[..36]) {
            return Err(SnapshotFault::Damaged { offset: 0, what: "a header whose checksum does not fit" });
        }
        let (format, needs) = (u32_at(&header, 8), u32_at(&header, 12));
        if !(FORMAT_FOR_ALL..=SNAPSHOT_VERSION).contains(&format) {
            return Err(SnapshotFault::Future(format));
        }
        if needs > Version::NEWEST.0 {
            return Err(SnapshotFault::Needs(needs));
        }
        let mut whole = Hasher::new();
        whole.update(&header);
        let size = source.size()?;
        Ok(SnapshotReader {
            source,
            size,
            at: HEADER_BYTES as u64,
            zxid: Zxid(u64_at(&header, 16)),
            digest: u64_at(&header, 24),
            version: Version(needs).max(Version::OLDEST),
            whole,
            blocks: 0,
            raw_bytes: 0,
            ended: false,
        })
    }

    /// The state is the one after exactly this transaction.
    pub fn zxid(&self) -> Zxid {
        self.zxid
    }

    /// The digest of the tree in it.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// What a server must speak to have the state.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The next block, still compressed, and its length before; `None` behind the last.
    fn next_compressed(&mut self) -> Result<Option<(Vec<u8>, usize)>, SnapshotFault> {
        let mut header = [0; BLOCK_HEADER_BYTES];
        self.fill(&mut header)?;
        let offset = self.at;
        let damaged = |what| Err(SnapshotFault::Damaged { offset, what });
        match u32_at(&header, 0) {
            BLOCK_MAGIC => {}
            FOOTER_MAGIC => return self.footer().map(|()| None),
            _ => return damaged("bytes that are neither a block nor the footer"),
        }
        let (length, raw_length) = (u32_at(&header, 4) as usize, u32_at(&header, 8) as usize);
        if raw_length > BLOCK_BYTES_MAX {
            return damaged("a block of impossible length");
        }
        if (length as u64) > self.size.saturating_sub(offset + BLOCK_HEADER_BYTES as u64) {
            return Err(SnapshotFault::Short(self.size));
        }
        let mut compressed = vec![0; length];
        self.at += BLOCK_HEADER_BYTES as u64;
        self.fill(&mut compressed)?;
        if u32_at(&header, 12) != block_crc(self.blocks, &header[..12], &compressed) {
            return damaged("a block whose checksum does not fit");
        }
        self.whole.update(&header);
        self.whole.update(&compressed);
        self.at += length as u64;
        self.blocks += 1;
        self.raw_bytes += raw_length as u64;
        Ok(Some((compressed, raw_length)))
    }

    fn footer(&mut self) -> Result<(), SnapshotFault> {
        let mut footer = [0; FOOTER_BYTES];
        self.fill(&mut footer)?;
        let offset = self.at;
        let damaged = |what| Err(SnapshotFault::Damaged { offset, what });
        self.whole.update(&footer[..24]);
        if u32_at(&footer, 24) != self.whole.clone().finalize() {
            return damaged("a footer whose checksum does not fit all that is before it");
        }
        if u64_at(&footer, 8) != self.blocks || u64_at(&footer, 16) != self.raw_bytes {
            return damaged("a footer that counts other blocks than there are");
        }
        if self.at + FOOTER_BYTES as u64 != self.size {
            return damaged("a footer that is not the end of the file");
        }
        Ok(())
    }

    fn next_block(&mut self) -> Result<Option<Vec<u8>>, SnapshotFault> {
        let offset = self.at;
        let Some((compressed, raw_length)) = self.next_compressed()? else { return Ok(None) };
        match zstd::bulk::decompress(&compressed, raw_length) {
            Ok(raw) if raw.len() == raw_length => Ok(Some(raw)),
            _ => {
                Err(SnapshotFault::Damaged { offset, what: "a block that does not decompress to its length" })
            }
        }
    }

    /// Fills `bytes` from the current place.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), SnapshotFault> {
        let count = self.source.read_at(bytes, self.at)?;
        if count < bytes.len() { Err(SnapshotFault::Short(self.at + count as u64)) } else { Ok(()) }
    }
}

impl<R: ReadAt> Iterator for SnapshotReader<R> {
    type Item = Result<Vec<u8>, SnapshotFault>;

    fn next(&mut self) -> Option<Result<Vec<u8>, SnapshotFault>> {
        if self.ended {
            return None;
        }
        let block = self.next_block().transpose();
        self.ended = !matches!(block, Some(Ok(_)));
        block
    }
}

/// Reads a snapshot to its end and checks every checksum, without decompressing it.
pub fn verify_snapshot(source: impl ReadAt) -> Result<SnapshotSummary, SnapshotFault> {
    let mut reader = SnapshotReader::open(source)?;
    while reader.next_compressed()?.is_some() {}
    Ok(SnapshotSummary {
        zxid: reader.zxid,
        digest: reader.digest,
        version: reader.version,
        blocks: reader.blocks,
        raw_bytes: reader.raw_bytes,
    })
}

/// Reads a snapshot that lies in memory as a whole.
pub fn decode_snapshot(bytes: &[u8]) -> Result<(SnapshotSummary, Vec<Vec<u8>>), SnapshotFault> {
    let mut reader = SnapshotReader::open(bytes)?;
    let blocks = reader.by_ref().collect::<Result<Vec<_>, _>>()?;
    let summary = SnapshotSummary {
        zxid: reader.zxid,
        digest: reader.digest,
        version: reader.version,
        blocks: reader.blocks,
        raw_bytes: reader.raw_bytes,
    };
    Ok((summary, blocks))
}

/// Over the number of the block too: blocks that changed places are noticed at once.
fn block_crc(number: u64, header: &[u8], compressed: &[u8]) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(&number.to_le_bytes());
    hasher.update(header);
    hasher.update(compressed);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(blocks: &[Vec<u8>]) -> Vec<u8> {
        encoded_for(Version::OLDEST, blocks)
    }

    fn encoded_for(version: Version, blocks: &[Vec<u8>]) -> Vec<u8> {
        let blocks = blocks.iter().cloned();
        let encoder = SnapshotEncoder::new(Zxid(0x3_0000_0002), 77, version, blocks).unwrap();
        encoder.map(|chunk| chunk.unwrap()).collect::<Vec<_>>().concat()
    }

    fn blocks() -> Vec<Vec<u8>> {
        vec![b"first".to_vec(), Vec::new(), (0..2000_u32).flat_map(|n| (n * n).to_le_bytes()).collect()]
    }

    #[test]
    fn blocks_read_back() {
        let bytes = encoded(&blocks());
        let (summary, read) = decode_snapshot(&bytes).unwrap();
        assert_eq!(read, blocks());
        assert_eq!((summary.zxid, summary.digest, summary.blocks), (Zxid(0x3_0000_0002), 77, 3));
        assert_eq!(verify_snapshot(&bytes[..]).unwrap(), summary);
        assert_eq!(decode_snapshot(&encoded(&[])).unwrap().1, Vec::<Vec<u8>>::new());
    }

    #[test]
    fn every_flipped_byte_is_noticed() {
        let bytes = encoded(&blocks());
        for at in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[at] ^= 0x08;
            assert!(verify_snapshot(&bytes[..]).is_err(), "byte {at} passed verify");
            assert!(decode_snapshot(&bytes).is_err(), "byte {at} passed decode");
        }
    }

    #[test]
    fn a_snapshot_that_ends_early_or_late_is_noticed() {
        let bytes = encoded(&blocks());
        for length in 0..bytes.len() {
            assert!(verify_snapshot(&bytes[..length]).is_err());
        }
        assert!(verify_snapshot(&[&bytes[..], &[0]].concat()[..]).is_err());
    }

    #[test]
    fn a_snapshot_of_a_newer_version_is_told_from_damage() {
        let mut bytes = encoded(&blocks());
        bytes[8] = 3;
        let crc = crc32fast::hash(&bytes[..36]);
        bytes[36..40].copy_from_slice(&crc.to_le_bytes());
        assert!(matches!(verify_snapshot(&bytes[..]), Err(SnapshotFault::Future(3))));
    }

    #[test]
    fn a_snapshot_says_what_a_server_must_speak_and_older_ones_see_that_it_is_not_for_them() {
        let format = |bytes: &[u8]| u32_at(bytes, 8);
        assert_eq!(format(&encoded(&blocks())), 1, "as ever");
        let bytes = encoded_for(Version(3), &blocks());
        assert_eq!((format(&bytes), verify_snapshot(&bytes[..]).unwrap().version), (2, Version(3)));
        let later = encoded_for(Version(Version::NEWEST.0 + 1), &blocks());
        assert!(matches!(verify_snapshot(&later[..]), Err(SnapshotFault::Needs(_))));
    }
}
