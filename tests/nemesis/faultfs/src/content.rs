//! What one file holds: as it is seen, and as it is on the disk.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::survivors::Survivors;

/// The unit in which contents are kept, bytes.
pub const PAGE_BYTES: usize = 4096;
/// What a disk writes as a whole, bytes.
pub const SECTOR_BYTES: usize = 512;

type Page = Arc<[u8; PAGE_BYTES]>;

/// The bytes of a file. Pages that were never written are holes, which read as zeros.
#[derive(Debug, Default)]
pub struct Content {
    seen: BTreeMap<u64, Page>,
    len: u64,
    /// What is on the disk of every page that is seen otherwise.
    unsynced: BTreeMap<u64, Unsynced>,
    durable_len: u64,
}

#[derive(Debug)]
struct Unsynced {
    durable: Option<Page>,
    /// A sync of it failed: as on Linux it counts as clean since then, and no later sync writes it. Only a write that
    /// touches it again does.
    lost: bool,
}

impl Content {
    /// Its length as seen, bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// How many pages it takes.
    pub fn pages(&self) -> u64 {
        self.seen.len() as u64
    }

    /// How many pages a write would add.
    pub fn pages_missing(&self, offset: u64, count: usize) -> u64 {
        let (first, past) = (offset / PAGE_BYTES as u64, (offset + count as u64).div_ceil(PAGE_BYTES as u64));
        (past - first).saturating_sub(self.seen.range(first..past).count() as u64)
    }

    /// True if a loss of power would change it.
    pub fn is_unsynced(&self) -> bool {
        !self.unsynced.is_empty() || self.len != self.durable_len
    }

    /// Up to `count` bytes from `offset` on.
    pub fn read(&self, offset: u64, count: usize) -> Vec<u8> {
        let count = self.len.saturating_sub(offset).min(count as u64) as usize;
        let mut bytes = vec![0; count];
        for piece in pieces(offset, count) {
            if let Some(page) = self.seen.get(&piece.page) {
                bytes[piece.from..piece.from + piece.count]
                    .copy_from_slice(&page[piece.at..piece.at + piece.count]);
            }
        }
        bytes
    }

    /// Writes at any place; what lies between the end and there becomes a hole.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) {
        for piece in pieces(offset, bytes.len()) {
            self.change(piece.page, |page| {
                page[piece.at..piece.at + piece.count]
                    .copy_from_slice(&bytes[piece.from..piece.from + piece.count]);
            });
        }
        if !bytes.is_empty() {
            self.len = self.len.max(offset + bytes.len() as u64);
        }
    }

    /// Cuts it off, or makes it longer by a hole.
    pub fn set_len(&mut self, len: u64) {
        let shorter = len < self.len;
        self.len = len;
        if shorter {
            self.drop_behind_end();
        }
    }

    /// All that is seen is on the disk now, but for what an earlier sync lost.
    pub fn sync(&mut self) {
        self.unsynced.retain(|_, page| page.lost);
        self.durable_len = self.len;
    }

    /// A sync failed: what it was to write stays seen and will never be on the disk.
    pub fn lose(&mut self) {
        for page in self.unsynced.values_mut() {
            page.lost = true;
        }
    }

    /// The power fails. Returns how many bytes were forgotten.
    pub fn cut(&mut self, survivors: &mut Survivors) -> u64 {
        let mut forgotten = 0;
        if self.len != self.durable_len && !survivors.keeps() {
            forgotten += self.len.saturating_sub(self.durable_len);
            self.len = self.durable_len;
        }
        for (number, Unsynced { durable, lost }) in std::mem::take(&mut self.unsynced) {
            let seen = self.seen.remove(&number);
            let mut page = durable.map_or([0; PAGE_BYTES], |page| *page);
            let seen = seen.map_or([0; PAGE_BYTES], |page| *page);
            for (old, new) in page.chunks_mut(SECTOR_BYTES).zip(seen.chunks(SECTOR_BYTES)) {
                if old == new {
                    continue;
                }
                if !lost && survivors.keeps() {
                    old.copy_from_slice(new);
                } else {
                    forgotten += SECTOR_BYTES as u64;
                }
            }
            self.seen.insert(number, Arc::new(page));
        }
        self.drop_behind_end();
        self.unsynced.clear();
        self.durable_len = self.len;
        forgotten
    }

    /// Changes a byte, seen and on the disk, as decay would. False if there is no such byte.
    pub fn flip(&mut self, offset: u64, mask: u8) -> bool {
        if offset >= self.len || mask == 0 {
            return false;
        }
        let (number, at) = (offset / PAGE_BYTES as u64, (offset % PAGE_BYTES as u64) as usize);
        let seen = self.seen.entry(number).or_insert_with(zeros);
        Arc::make_mut(seen)[at] ^= mask;
        if let Some(Unsynced { durable: Some(page), .. }) = self.unsynced.get_mut(&number) {
            Arc::make_mut(page)[at] ^= mask;
        }
        true
    }

    /// Nothing is behind the end: what a longer file finds there is zero.
    fn drop_behind_end(&mut self) {
        let kept = self.len.div_ceil(PAGE_BYTES as u64);
        for (number, page) in self.seen.split_off(&kept) {
            self.unsynced.entry(number).or_insert(Unsynced { durable: Some(page), lost: false }).lost = false;
        }
        let tail = (self.len % PAGE_BYTES as u64) as usize;
        if tail > 0 && self.seen.contains_key(&(kept - 1)) {
            self.change(kept - 1, |page| page[tail..].fill(0));
        }
    }

    fn change(&mut self, number: u64, change: impl FnOnce(&mut [u8; PAGE_BYTES])) {
        let durable = self.seen.get(&number).cloned();
        self.unsynced.entry(number).or_insert(Unsynced { durable, lost: false }).lost = false;
        change(Arc::make_mut(self.seen.entry(number).or_insert_with(zeros)));
    }
}

fn zeros() -> Page {
    Arc::new([0; PAGE_BYTES])
}

/// A part of a read or write that lies in one page.
struct Piece {
    page: u64,
    /// where in the page
    at: usize,
    /// where in the caller's bytes
    from: usize,
    count: usize,
}

fn pieces(offset: u64, count: usize) -> impl Iterator<Item = Piece> {
    let mut from = 0;
    std::iter::from_fn(move || {
        if from == count {
            return None;
        }
        let place = offset + from as u64;
        let at = (place % PAGE_BYTES as u64) as usize;
        let piece =
            Piece { page: place / PAGE_BYTES as u64, at, from, count: (PAGE_BYTES - at).min(count - from) };
        from += piece.count;
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(bytes: &[u8]) -> Content {
        let mut content = Content::default();
        content.write(0, bytes);
        content.sync();
        content
    }

    fn all(content: &Content) -> Vec<u8> {
        content.read(0, 1 << 20)
    }

    #[test]
    fn what_is_written_is_read_across_pages_and_holes() {
        let mut content = Content::default();
        let bytes: Vec<u8> = (0..10_000u32).map(|at| (at / 3) as u8).collect();
        content.write(5000, &bytes);
        assert_eq!(content.len(), 15_000);
        assert_eq!(content.read(0, 5000), vec![0; 5000]);
        assert_eq!(content.read(5000, 1 << 20), bytes);
        assert_eq!(content.read(20_000, 10), b"");
        assert_eq!(content.pages(), 3);
        assert_eq!(content.pages_missing(0, 15_000), 1);
    }

    #[test]
    fn a_cut_forgets_what_was_not_synced_and_only_that() {
        let mut content = with(b"synced");
        content.write(3, b"lost and longer");
        assert!(content.is_unsynced());
        assert!(content.cut(&mut Survivors::nothing()) > 0);
        assert_eq!(all(&content), b"synced");
        assert!(!content.is_unsynced());
        assert_eq!(content.cut(&mut Survivors::nothing()), 0);
    }

    #[test]
    fn a_file_that_was_cut_off_is_whole_again_after_a_loss_of_power() {
        let mut content = with(&[7; 9000]);
        content.set_len(0);
        content.write(0, b"new");
        content.cut(&mut Survivors::nothing());
        assert_eq!(all(&content), vec![7; 9000]);
        content.set_len(5);
        content.sync();
        content.set_len(4096);
        assert_eq!(all(&content)[..10], [7, 7, 7, 7, 7, 0, 0, 0, 0, 0]);
        content.cut(&mut Survivors::nothing());
        assert_eq!(all(&content), vec![7; 5]);
    }

    #[test]
    fn some_sectors_survive_whole_and_others_do_not() {
        let mut seen = [0; 2];
        for seed in 0..20 {
            let mut content = with(&[1; 64 * SECTOR_BYTES]);
            content.write(0, &[2; 64 * SECTOR_BYTES]);
            let forgotten = content.cut(&mut Survivors::some(seed)) as usize;
            let bytes = all(&content);
            for sector in bytes.chunks(SECTOR_BYTES) {
                assert!(sector.iter().all(|byte| *byte == sector[0]));
                seen[usize::from(sector[0]) - 1] += 1;
            }
            let old = bytes.iter().filter(|byte| **byte == 1).count();
            assert_eq!(old, forgotten);
        }
        assert!(seen.iter().all(|count| *count > 300), "{seen:?}");
    }

    #[test]
    fn what_a_failed_sync_lost_is_not_made_durable_by_the_next() {
        let mut content = with(&[1; 2 * PAGE_BYTES]);
        content.write(0, &[2; 2 * PAGE_BYTES]);
        content.lose();
        content.write(10, &[3]);
        content.sync();
        assert_eq!(content.read(PAGE_BYTES as u64, 1), [2]);
        content.cut(&mut Survivors::everything());
        assert_eq!(content.read(9, 3), [2, 3, 2], "the page was written again");
        assert_eq!(content.read(PAGE_BYTES as u64, 1), [1]);
    }

    #[test]
    fn decay_is_seen_and_survives() {
        let mut content = with(b"synced");
        content.write(0, b"S");
        assert!(content.flip(1, 1));
        assert_eq!(all(&content), b"Sxnced");
        content.cut(&mut Survivors::nothing());
        assert_eq!(all(&content), b"sxnced");
        assert!(!content.flip(6, 1), "there is no such byte");
    }
}
