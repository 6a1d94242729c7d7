//! Where the blobs of the nodes lie.
//!
//! Small ones share an allocation with those of the neighbours, for an allocation of its own would cost a small blob a
//! third more. A block that an image has is never changed, only replaced.

use triomphe::{Arc, ThinArc};

use super::pages::{Pages, ROW_SLOTS};

/// Larger blobs lie alone: a change may copy the neighbours.
const SMALL_BYTES_MAX: usize = 256;

type Bytes = ThinArc<(), u8>;
/// The places of neighbours.
type Row<'a> = [&'a mut BlobPlace; ROW_SLOTS as usize];

/// Where the blob of a node lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct BlobPlace(u32);

/// Marks a blob that lies alone, in the slot that the other bits tell. Without it: offset * 2^16 + length.
const ALONE: u32 = 1 << 31;

impl BlobPlace {
    /// There is none.
    pub const NONE: BlobPlace = BlobPlace(0);

    fn in_block(at: usize, len: usize) -> BlobPlace {
        BlobPlace((at << 16 | len) as u32)
    }

    fn slot_alone(self) -> Option<u32> {
        (self.0 & ALONE != 0).then_some(self.0 & !ALONE)
    }

    fn len_in_block(self) -> usize {
        if self.0 & ALONE != 0 { 0 } else { (self.0 & 0xffff) as usize }
    }

    fn at(self) -> usize {
        (self.0 >> 16) as usize
    }
}

/// The bytes of all blobs.
#[derive(Clone)]
pub(super) struct Blobs {
    /// For each row of nodes their small blobs, one behind the other in the order of the nodes.
    blocks: Pages<Option<Bytes>>,
    large: Pages<Option<Bytes>>,
}

impl Blobs {
    pub fn new() -> Blobs {
        Blobs { blocks: Pages::new(), large: Pages::new() }
    }

    /// The same blobs, to look at.
    pub fn image(&self) -> Blobs {
        Blobs { blocks: self.blocks.image(), large: self.large.image() }
    }

    /// The blob of the node in a slot.
    #[inline]
    pub fn get(&self, slot: u32, place: BlobPlace) -> &[u8] {
        let bytes = match place.slot_alone() {
            Some(large) => return &self.large.get(large).as_ref().expect("a node has it").slice,
            None => &self.blocks.get(slot / ROW_SLOTS).as_ref().expect("no link leads to a free slot").slice,
        };
        &bytes[place.at()..place.at() + place.len_in_block()]
    }

    /// Replaces the blob of the node in a slot by the bytes in `scratch`, which is overwritten; no bytes take it away.
    /// `row` are the places of all nodes in its row.
    pub fn set(&mut self, slot: u32, mut row: Row<'_>, scratch: &mut Vec<u8>) {
        let n = (slot % ROW_SLOTS) as usize;
        if let Some(large) = row[n].slot_alone() {
            self.large.free(large);
            *row[n] = BlobPlace::NONE;
        }
        let mut alone = None;
        if scratch.len() > SMALL_BYTES_MAX {
            alone = Some(self.add_large(ThinArc::from_header_and_slice((), scratch)));
            scratch.clear();
        }
        if !scratch.is_empty() || row[n].len_in_block() > 0 {
            self.set_in_block(slot / ROW_SLOTS, n, &mut row, scratch);
        }
        if let Some(place) = alone {
            *row[n] = place;
        }
    }

    fn set_in_block(&mut self, block: u32, n: usize, row: &mut Row<'_>, scratch: &mut Vec<u8>) {
        while self.blocks.slots() <= block {
            self.blocks.add(None).expect("no more than nodes");
        }
        let block = self.blocks.get_mut(block);
        let len = scratch.len();
        let mut at = row[..n].iter().map(|place| place.len_in_block()).sum();
        if len == row[n].len_in_block() && overwrite(block, at, scratch) {
            return;
        }
        if let Some(old) = block {
            let (before, rest) = old.slice.split_at(at);
            scratch.extend_from_slice(before);
            scratch.extend_from_within(..len);
            scratch.extend_from_slice(&rest[row[n].len_in_block()..]);
        } else {
            scratch.extend_from_within(..len);
        }
        let bytes = &scratch[len..];
        *block = (!bytes.is_empty()).then(|| ThinArc::from_header_and_slice((), bytes));
        *row[n] = BlobPlace::in_block(at, len);
        for place in &mut row[n..] {
            if place.len_in_block() > 0 {
                **place = BlobPlace::in_block(at, place.len_in_block());
                at += place.len_in_block();
            }
        }
    }

    fn add_large(&mut self, blob: Bytes) -> BlobPlace {
        let slot = self.large.add(Some(blob)).filter(|slot| slot & ALONE == 0);
        BlobPlace(ALONE | slot.expect("2^31 large blobs are more than memory holds"))
    }
}

/// Changes a part of a block that no image has; false if one has it.
fn overwrite(block: &mut Option<Bytes>, at: usize, part: &[u8]) -> bool {
    let block = block.as_mut().expect("a blob lies in it");
    block.with_arc_mut(|block| match Arc::get_mut(block) {
        Some(block) => {
            block.slice_mut()[at..at + part.len()].copy_from_slice(part);
            true
        }
        None => false,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ROW: usize = ROW_SLOTS as usize;
    const SLOTS: usize = 3 * ROW;

    proptest! {
        #[test]
        fn a_blob_stays_as_it_is_while_its_neighbours_change(
            changes in prop::collection::vec((0..SLOTS, prop_oneof![0..4usize, 250..260usize]), 1..60),
        ) {
            let (mut blobs, mut places) = (Blobs::new(), [BlobPlace::NONE; SLOTS]);
            let mut plain = vec![Vec::new(); SLOTS];
            for (n, (slot, len)) in changes.into_iter().enumerate() {
                // Without an image a block may be changed, with one it must not.
                let before = (n % 2 == 0).then(|| (blobs.image(), places, plain.clone()));
                plain[slot] = vec![n as u8; len];
                let row = places[slot / ROW * ROW..].first_chunk_mut::<ROW>().expect("whole rows");
                blobs.set(slot as u32, row.each_mut(), &mut plain[slot].clone());
                for (blobs, places, plain) in before.iter().map(|(b, p, v)| (b, p, v)).chain([(&blobs, &places, &plain)]) {
                    for (slot, expected) in plain.iter().enumerate().filter(|(_, bytes)| !bytes.is_empty()) {
                        prop_assert_eq!(blobs.get(slot as u32, places[slot]), &expected[..]);
                    }
                }
            }
        }
    }

    #[test]
    fn blobs_of_deleted_nodes_take_no_memory() {
        let (mut blobs, mut places) = (Blobs::new(), [BlobPlace::NONE; ROW]);
        for len in [3, 300, 0] {
            for slot in 0..ROW_SLOTS {
                blobs.set(slot, places.each_mut(), &mut vec![1; len]);
            }
        }
        assert!(blobs.blocks.get(0).is_none());
        assert!((0..ROW_SLOTS).all(|slot| blobs.large.get(slot).is_none()));
    }
}
