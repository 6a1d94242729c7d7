//! Name, owner, data and last change of a znode in one row of bytes.

use crate::ids::{SessionId, Zxid};

// The head's lowest bits, which are in its first byte, and what is above them.
const OWNED: usize = 1;
const NULL: usize = 2;
const CHANGED: usize = 4;
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

/// What a blob is made of.
#[derive(Clone, Copy)]
pub(super) struct Content<'a> {
    /// The last name of the path; empty for the root.
    pub name: &'a str,
    /// 0 if it has none; see [`Lifetime`](super::Lifetime).
    pub owner: SessionId,
    /// `None` if the data is as it was created.
    pub change: Option<DataChange>,
    /// `None` is null, which is not the same as empty.
    pub data: Option<&'a [u8]>,
}

impl Content<'_> {
    /// 0 if it is null.
    pub fn data_len(&self) -> usize {
        self.data.map_or(0, <[u8]>::len)
    }

    /// Makes `bytes` the blob.
    pub fn encode(&self, bytes: &mut Vec<u8>) {
        let flag = |flag: usize, is_set: bool| if is_set { flag } else { 0 };
        let mut head = (self.name.len() << NAME_SHIFT)
            | flag(OWNED, self.owner.0 != 0)
            | flag(NULL, self.data.is_none())
            | flag(CHANGED, self.change.is_some());
        bytes.clear();
        while head >= 0x80 {
            bytes.push(head as u8 | 0x80);
            head >>= 7;
        }
        bytes.push(head as u8);
        if let Some(change) = self.change {
            bytes.extend_from_slice(&change.zxid.0.to_le_bytes());
            bytes.extend_from_slice(&change.time_ms.to_le_bytes());
            bytes.extend_from_slice(&change.version.to_le_bytes());
        }
        if self.owner.0 != 0 {
            bytes.extend_from_slice(&self.owner.0.to_le_bytes());
        }
        bytes.extend_from_slice(self.name.as_bytes());
        bytes.extend_from_slice(self.data.unwrap_or_default());
    }
}

/// The bytes of a znode that have no fixed size. Never empty.
///
/// ```text
/// head    varint: length of the name * 8, + 4 if the data was changed, + 2 if it is null, + 1 if it has an owner
/// change  zxid u64, time_ms i64, version i32, little endian; only if the data was changed
/// owner   u64, little endian; only if there is one
/// name    UTF-8
/// data    the rest; nothing if it is null
/// ```
#[derive(Clone, Copy)]
pub(super) struct Blob<'a> {
    bytes: &'a [u8],
    head: usize,
    /// Where what follows the head begins, and where the name and the data do.
    change_at: usize,
    name_at: usize,
    data_at: usize,
}

impl<'a> Blob<'a> {
    /// Of what [`Content::encode`] made.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Blob<'a> {
        let (mut head, mut at) = (0, 0);
        loop {
            let byte = bytes[at];
            head |= usize::from(byte & 0x7f) << (7 * at);
            at += 1;
            if byte < 0x80 {
                break;
            }
        }
        let owner_at = at + if head & CHANGED != 0 { CHANGE_BYTES } else { 0 };
        let name_at = owner_at + if head & OWNED != 0 { OWNER_BYTES } else { 0 };
        Blob { bytes, head, change_at: at, name_at, data_at: name_at + (head >> NAME_SHIFT) }
    }

    /// The last name of the path; empty for the root.
    pub fn name_bytes(&self) -> &'a [u8] {
        &self.bytes[self.name_at..self.data_at]
    }

    /// The last name of the path; empty for the root.
    pub fn name(&self) -> &'a str {
        std::str::from_utf8(self.name_bytes()).expect("a blob is made from a str")
    }

    /// `None` is null, which is not the same as empty.
    pub fn data(&self) -> Option<&'a [u8]> {
        (self.head & NULL == 0).then(|| &self.bytes[self.data_at..])
    }

    /// 0 if it is null.
    pub fn data_len(&self) -> usize {
        self.bytes.len() - self.data_at
    }

    /// The last change of the data, if there was one.
    pub fn change(&self) -> Option<DataChange> {
        if self.head & CHANGED == 0 {
            return None;
        }
        let (zxid, rest) = self.bytes[self.change_at..].split_first_chunk().expect("twenty bytes");
        let (time_ms, rest) = rest.split_first_chunk().expect("twelve bytes");
        let version = rest.first_chunk().expect("four bytes");
        Some(DataChange {
            zxid: Zxid(u64::from_le_bytes(*zxid)),
            time_ms: i64::from_le_bytes(*time_ms),
            version: i32::from_le_bytes(*version),
        })
    }

    fn has_owner(&self) -> bool {
        self.head & OWNED != 0
    }

    /// 0 if it has none; see [`Lifetime`](super::Lifetime).
    pub fn owner(&self) -> SessionId {
        if !self.has_owner() {
            return SessionId(0);
        }
        let owner = self.bytes[self.name_at - OWNER_BYTES..].first_chunk().expect("eight bytes");
        SessionId(u64::from_le_bytes(*owner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_gives_back_what_it_was_made_of() {
        let mut bytes = Vec::new();
        let long = "n".repeat(70_000);
        for name in ["", "a", &long[..15], &long[..16], &long[..2047], &long[..2048], &long] {
            for owner in [SessionId(0), SessionId(1), SessionId(u64::MAX)] {
                for data in [None, Some(&b""[..]), Some(b"x"), Some(b"some data")] {
                    for change in [None, Some(DataChange { zxid: Zxid(7), time_ms: -8, version: -9 })] {
                        Content { name, owner, change, data }.encode(&mut bytes);
                        let blob = Blob::new(&bytes);
                        assert_eq!((blob.name(), blob.owner(), blob.data()), (name, owner, data));
                        assert_eq!((blob.change(), blob.has_owner()), (change, owner.0 != 0));
                        assert_eq!(blob.data_len(), data.map_or(0, <[u8]>::len));
                    }
                }
            }
        }
    }
}
