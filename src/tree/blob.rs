//! Name, owner and data of a znode in one allocation.

use std::fmt;

use triomphe::ThinArc;

use crate::ids::SessionId;

/// The bytes of a znode that have no fixed size, shared between the tree and its images.
///
/// ```text
/// head   varint: length of the name * 4, + 2 if the data is null, + 1 if the znode is ephemeral
/// owner  u64, little endian; only of an ephemeral
/// name   UTF-8
/// data   the rest; nothing if it is null
/// ```
///
/// One pointer wide, and one allocation a znode: with a million znodes each word counts. The reference count makes
/// the copy of a page cheap.
#[derive(Clone)]
pub(super) struct Blob(ThinArc<(), u8>);

// The head's lowest bits, which are in its first byte, and what is above them.
const EPHEMERAL: u8 = 1;
const NULL: u8 = 2;
const NAME_SHIFT: u32 = 2;

impl Blob {
    /// `scratch` is overwritten; it only saves an allocation.
    pub fn new(scratch: &mut Vec<u8>, name: &str, owner: SessionId, data: Option<&[u8]>) -> Blob {
        let ephemeral = owner.0 != 0;
        scratch.clear();
        let flags = if ephemeral { EPHEMERAL } else { 0 } | if data.is_none() { NULL } else { 0 };
        let mut head = (name.len() << NAME_SHIFT) | usize::from(flags);
        while head >= 0x80 {
            scratch.push(head as u8 | 0x80);
            head >>= 7;
        }
        scratch.push(head as u8);
        if ephemeral {
            scratch.extend_from_slice(&owner.0.to_le_bytes());
        }
        scratch.extend_from_slice(name.as_bytes());
        scratch.extend_from_slice(data.unwrap_or_default());
        Blob(ThinArc::from_header_and_slice((), scratch))
    }

    /// The same znode with other data.
    pub fn with_data(&self, scratch: &mut Vec<u8>, data: Option<&[u8]>) -> Blob {
        scratch.clear();
        scratch.extend_from_slice(&self.0.slice[..self.layout().data]);
        scratch[0] = scratch[0] & !NULL | if data.is_none() { NULL } else { 0 };
        scratch.extend_from_slice(data.unwrap_or_default());
        Blob(ThinArc::from_header_and_slice((), scratch))
    }

    /// The last name of the path; empty for the root.
    pub fn name_bytes(&self) -> &[u8] {
        let layout = self.layout();
        &self.0.slice[layout.name..layout.data]
    }

    /// The last name of the path; empty for the root.
    pub fn name(&self) -> &str {
        std::str::from_utf8(self.name_bytes()).expect("a blob is made from a str")
    }

    /// `None` is null, which is not the same as empty.
    pub fn data(&self) -> Option<&[u8]> {
        let bytes = &self.0.slice;
        (bytes[0] & NULL == 0).then(|| &bytes[self.layout().data..])
    }

    /// 0 if it is null.
    pub fn data_len(&self) -> usize {
        self.0.slice.len() - self.layout().data
    }

    pub fn is_ephemeral(&self) -> bool {
        self.0.slice[0] & EPHEMERAL != 0
    }

    /// 0 if the znode is not ephemeral.
    pub fn owner(&self) -> SessionId {
        if !self.is_ephemeral() {
            return SessionId(0);
        }
        let layout = self.layout();
        let owner = self.0.slice[layout.name - 8..layout.name].first_chunk().expect("eight bytes");
        SessionId(u64::from_le_bytes(*owner))
    }

    #[inline]
    fn layout(&self) -> Layout {
        let bytes = &self.0.slice;
        let (mut head, mut at) = (0, 0);
        loop {
            let byte = bytes[at];
            head |= usize::from(byte & 0x7f) << (7 * at);
            at += 1;
            if byte < 0x80 {
                break;
            }
        }
        let name = at + if head & usize::from(EPHEMERAL) != 0 { 8 } else { 0 };
        Layout { name, data: name + (head >> NAME_SHIFT) }
    }
}

/// Where name and data begin.
struct Layout {
    name: usize,
    data: usize,
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blob")
            .field("name", &self.name())
            .field("owner", &self.owner())
            .field("data", &self.data())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_gives_back_what_it_was_made_of() {
        let mut scratch = Vec::new();
        let long = "n".repeat(70_000);
        for name in ["", "a", &long[..63], &long[..64], &long[..127], &long[..9000], &long] {
            for owner in [SessionId(0), SessionId(1), SessionId(u64::MAX)] {
                for data in [None, Some(&b""[..]), Some(b"x"), Some(b"some data")] {
                    let blob = Blob::new(&mut scratch, name, owner, data);
                    assert_eq!((blob.name(), blob.owner(), blob.data()), (name, owner, data));
                    for other in [Some(&b"other"[..]), None, Some(b"")] {
                        let blob = blob.with_data(&mut scratch, other);
                        assert_eq!((blob.name(), blob.owner(), blob.data()), (name, owner, other));
                        assert_eq!(blob.data_len(), other.map_or(0, <[u8]>::len));
                    }
                }
            }
        }
    }

    #[test]
    fn a_blob_is_one_pointer() {
        assert_eq!(size_of::<Option<Blob>>(), 8);
    }
}
