//! Name, owner, data and last change of a znode in one allocation.

use std::fmt;

use triomphe::ThinArc;

use crate::ids::{SessionId, Zxid};

/// The bytes of a znode that have no fixed size, shared between the tree and its images.
///
/// ```text
/// head    varint: length of the name * 8, + 4 if the data was changed, + 2 if it is null, + 1 if the znode is ephemeral
/// change  zxid u64, time_ms i64, version i32, little endian; only if the data was changed
/// owner   u64, little endian; only of an ephemeral
/// name    UTF-8
/// data    the rest; nothing if it is null
/// ```
///
/// One pointer wide, and one allocation a znode: with a million znodes each word counts. The reference count makes
/// the copy of a page cheap.
#[derive(Clone)]
pub(super) struct Blob(ThinArc<(), u8>);

// The head's lowest bits, which are in its first byte, and what is above them.
const EPHEMERAL: u8 = 1;
const NULL: u8 = 2;
const CHANGED: u8 = 4;
const NAME_SHIFT: u32 = 3;

const CHANGE_BYTES: usize = 8 + 8 + 4;
const OWNER_BYTES: usize = 8;

/// The last change of a znode's data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct DataChange {
    pub zxid: Zxid,
    pub time_ms: i64,
    pub version: i32,
}

impl Blob {
    /// `scratch` is overwritten; it only saves an allocation.
    pub fn new(
        scratch: &mut Vec<u8>,
        name: &str,
        owner: SessionId,
        change: Option<DataChange>,
        data: Option<&[u8]>,
    ) -> Blob {
        Blob::build(scratch, name.as_bytes(), owner, change, data)
    }

    /// The same znode with other data.
    pub fn with_data(&self, scratch: &mut Vec<u8>, change: DataChange, data: Option<&[u8]>) -> Blob {
        Blob::build(scratch, self.name_bytes(), self.owner(), Some(change), data)
    }

    /// The name must be UTF-8.
    fn build(
        scratch: &mut Vec<u8>,
        name: &[u8],
        owner: SessionId,
        change: Option<DataChange>,
        data: Option<&[u8]>,
    ) -> Blob {
        let flag = |flag: u8, is_set: bool| usize::from(if is_set { flag } else { 0 });
        let flags =
            flag(EPHEMERAL, owner.0 != 0) | flag(NULL, data.is_none()) | flag(CHANGED, change.is_some());
        let mut head = (name.len() << NAME_SHIFT) | flags;
        scratch.clear();
        while head >= 0x80 {
            scratch.push(head as u8 | 0x80);
            head >>= 7;
        }
        scratch.push(head as u8);
        if let Some(change) = change {
            scratch.extend_from_slice(&change.zxid.0.to_le_bytes());
            scratch.extend_from_slice(&change.time_ms.to_le_bytes());
            scratch.extend_from_slice(&change.version.to_le_bytes());
        }
        if owner.0 != 0 {
            scratch.extend_from_slice(&owner.0.to_le_bytes());
        }
        scratch.extend_from_slice(name);
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

    /// The last change of the data, if there was one.
    pub fn change(&self) -> Option<DataChange> {
        let bytes = &self.0.slice;
        if bytes[0] & CHANGED == 0 {
            return None;
        }
        let (zxid, rest) = bytes[self.layout().change..].split_first_chunk().expect("twenty bytes");
        let (time_ms, rest) = rest.split_first_chunk().expect("twelve bytes");
        let version = rest.first_chunk().expect("four bytes");
        Some(DataChange {
            zxid: Zxid(u64::from_le_bytes(*zxid)),
            time_ms: i64::from_le_bytes(*time_ms),
            version: i32::from_le_bytes(*version),
        })
    }

    /// 0 if the znode is not ephemeral.
    pub fn owner(&self) -> SessionId {
        if !self.is_ephemeral() {
            return SessionId(0);
        }
        let layout = self.layout();
        let owner = self.0.slice[layout.name - OWNER_BYTES..layout.name].first_chunk().expect("eight bytes");
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
        let has = |flag: u8| head & usize::from(flag) != 0;
        let owner = at + if has(CHANGED) { CHANGE_BYTES } else { 0 };
        let name = owner + if has(EPHEMERAL) { OWNER_BYTES } else { 0 };
        Layout { change: at, name, data: name + (head >> NAME_SHIFT) }
    }
}

/// Where change, name and data begin.
struct Layout {
    change: usize,
    name: usize,
    data: usize,
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blob")
            .field("name", &self.name())
            .field("owner", &self.owner())
            .field("change", &self.change())
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
        for name in
            ["", "a", &long[..15], &long[..16], &long[..63], &long[..64], &long[..127], &long[..9000], &long]
        {
            for owner in [SessionId(0), SessionId(1), SessionId(u64::MAX)] {
                for data in [None, Some(&b""[..]), Some(b"x"), Some(b"some data")] {
                    for change in [None, Some(DataChange { zxid: Zxid(7), time_ms: -8, version: -9 })] {
                        let blob = Blob::new(&mut scratch, name, owner, change, data);
                        assert_eq!((blob.name(), blob.owner(), blob.data()), (name, owner, data));
                        assert_eq!(blob.change(), change);
                        for other in [Some(&b"other"[..]), None, Some(b"")] {
                            let change = DataChange { zxid: Zxid(1), time_ms: 2, version: 3 };
                            let blob = blob.with_data(&mut scratch, change, other);
                            assert_eq!((blob.name(), blob.owner(), blob.data()), (name, owner, other));
                            assert_eq!(blob.data_len(), other.map_or(0, <[u8]>::len));
                            assert_eq!(blob.change(), Some(change));
                        }
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
