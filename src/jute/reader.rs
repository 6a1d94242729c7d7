//! Reading records: a cursor over the bytes of one frame.

use thiserror::Error;

use super::{Acl, AuthId, Stat};
use crate::ids::{SessionId, Zxid};

/// Why bytes are not the record they should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum DecodeError {
    /// A field reaches beyond the end of the frame.
    #[error("{needed} more bytes were expected, {left} are left")]
    Truncated {
        /// what the field takes
        needed: usize,
        /// what the frame still has
        left: usize,
    },
    /// A length or count below -1.
    #[error("a length or count of {0}")]
    NegativeLength(i32),
    /// A count that the bytes which are left cannot hold.
    #[error("a count of {count}, with {left} bytes left")]
    CountTooLarge {
        /// as it came
        count: usize,
        /// what the frame still has
        left: usize,
    },
    /// Text that is not UTF-8.
    #[error("text that is not UTF-8")]
    InvalidUtf8,
    /// Null, where something must be.
    #[error("null where something must be")]
    Null,
    /// A number that has no meaning where it stands.
    #[error("{what} {code} is unknown")]
    UnknownCode {
        /// what the number should be
        what: &'static str,
        /// as it came
        code: i32,
    },
}

/// A cursor over the bytes of one frame. What it returns borrows from the frame; nothing is copied.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    left: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A cursor at the first of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { left: bytes }
    }

    /// Bytes that have not been read.
    pub fn left(&self) -> &'a [u8] {
        self.left
    }

    /// True at the end of the frame.
    pub fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    /// The next `len` bytes.
    fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, left) = self
            .left
            .split_at_checked(len)
            .ok_or(DecodeError::Truncated { needed: len, left: self.left.len() })?;
        self.left = left;
        Ok(taken)
    }

    /// The next `N` bytes, for a number.
    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (taken, left) = self
            .left
            .split_first_chunk::<N>()
            .ok_or(DecodeError::Truncated { needed: N, left: self.left.len() })?;
        self.left = left;
        Ok(*taken)
    }

    /// `int`
    pub fn i32(&mut self) -> Result<i32, DecodeError> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    /// `long`
    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    /// `long` that holds a transaction id
    pub fn zxid(&mut self) -> Result<Zxid, DecodeError> {
        Ok(Zxid(u64::from_be_bytes(self.array()?)))
    }

    /// `long` that holds a session id
    pub fn session_id(&mut self) -> Result<SessionId, DecodeError> {
        Ok(SessionId(u64::from_be_bytes(self.array()?)))
    }

    /// `boolean`: any byte but 0 is true
    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        Ok(self.array::<1>()? != [0])
    }

    /// `byte`
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(self.array::<1>()?[0])
    }

    /// A length or count; -1 stands for null.
    fn len(&mut self) -> Result<Option<usize>, DecodeError> {
        match self.i32()? {
            -1 => Ok(None),
            len => usize::try_from(len).map(Some).map_err(|_| DecodeError::NegativeLength(len)),
        }
    }

    /// `buffer`, or null
    pub fn nullable_buffer(&mut self) -> Result<Option<&'a [u8]>, DecodeError> {
        self.len()?.map(|len| self.take(len)).transpose()
    }

    /// `buffer`; null is read as empty
    pub fn buffer(&mut self) -> Result<&'a [u8], DecodeError> {
        Ok(self.nullable_buffer()?.unwrap_or_default())
    }

    /// `ustring`, or null
    pub fn nullable_str(&mut self) -> Result<Option<&'a str>, DecodeError> {
        let Some(bytes) = self.nullable_buffer()? else { return Ok(None) };
        std::str::from_utf8(bytes).map(Some).map_err(|_| DecodeError::InvalidUtf8)
    }

    /// `ustring`; null is an error, as it becomes one in ZooKeeper wherever the text is needed
    pub fn str(&mut self) -> Result<&'a str, DecodeError> {
        self.nullable_str()?.ok_or(DecodeError::Null)
    }

    /// `vector` or null, each element read by `element` and taking at least `element_bytes_min` bytes. The count is
    /// checked against the bytes that are left, and nothing is reserved on its word: memory grows with the elements that
    /// are really there.
    fn nullable_vector<T>(
        &mut self,
        element_bytes_min: usize,
        mut element: impl FnMut(&mut Reader<'a>) -> Result<T, DecodeError>,
    ) -> Result<Option<Vec<T>>, DecodeError> {
        assert!(element_bytes_min > 0, "an element without bytes would leave its count unbounded");
        let Some(count) = self.len()? else { return Ok(None) };
        if count > self.left.len() / element_bytes_min {
            return Err(DecodeError::CountTooLarge { count, left: self.left.len() });
        }
        let mut elements = Vec::new();
        for _ in 0..count {
            elements.push(element(self)?);
        }
        Ok(Some(elements))
    }

    /// `vector`; null is read as empty
    pub fn vector<T>(
        &mut self,
        element_bytes_min: usize,
        element: impl FnMut(&mut Reader<'a>) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        Ok(self.nullable_vector(element_bytes_min, element)?.unwrap_or_default())
    }

    /// `vector<ustring>`
    pub fn strs(&mut self) -> Result<Vec<&'a str>, DecodeError> {
        self.vector(4, Reader::str)
    }

    /// `vector<ustring>`, copied
    pub fn names(&mut self) -> Result<Vec<String>, DecodeError> {
        self.vector(4, |reader| Ok(reader.str()?.to_owned()))
    }

    /// `vector<ACL>`, or null. A scheme that is null is read as empty: it is as unknown. An id must be there, except in
    /// `auth`, which does not look at it.
    pub fn nullable_acl(&mut self) -> Result<Option<Vec<Acl>>, DecodeError> {
        self.nullable_vector(12, |reader| {
            let perms = reader.i32()?;
            let scheme = reader.nullable_str()?.unwrap_or_default().to_owned();
            let id = match reader.nullable_str()? {
                Some(id) => id.to_owned(),
                None if scheme.is_empty() || scheme == "auth" => String::new(),
                None => return Err(DecodeError::Null),
            };
            Ok(Acl { perms, id: AuthId { scheme, id } })
        })
    }

    /// `Stat`
    pub fn stat(&mut self) -> Result<Stat, DecodeError> {
        Ok(Stat {
            czxid: self.zxid()?,
            mzxid: self.zxid()?,
            ctime_ms: self.i64()?,
            mtime_ms: self.i64()?,
            version: self.i32()?,
            cversion: self.i32()?,
            aversion: self.i32()?,
            ephemeral_owner: self.session_id()?,
            data_length: self.i32()?,
            num_children: self.i32()?,
            pzxid: self.zxid()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_of_minus_one_is_null_and_a_smaller_one_an_error() {
        assert_eq!(Reader::new(&[0xff; 4]).nullable_buffer(), Ok(None));
        assert_eq!(Reader::new(&[0; 4]).nullable_buffer(), Ok(Some(&[][..])));
        assert_eq!(Reader::new(&[0xff; 4]).buffer(), Ok(&[][..]));
        assert_eq!(Reader::new(&[0xff; 4]).nullable_str(), Ok(None));
        assert_eq!(Reader::new(&[0xff; 4]).str(), Err(DecodeError::Null));
        assert_eq!(Reader::new(&[0xff, 0xff, 0xff, 0xfe]).str(), Err(DecodeError::NegativeLength(-2)));
    }

    #[test]
    fn a_length_beyond_the_end_is_an_error() {
        let bytes = [0, 0, 0, 5, b'a', b'b'];
        assert_eq!(Reader::new(&bytes).buffer(), Err(DecodeError::Truncated { needed: 5, left: 2 }));
    }

    #[test]
    fn a_count_that_promises_more_than_the_bytes_hold_is_an_error() {
        let bytes = [0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0];
        let error = DecodeError::CountTooLarge { count: i32::MAX as usize, left: 4 };
        assert_eq!(Reader::new(&bytes).strs(), Err(error));
        assert_eq!(Reader::new(&bytes).nullable_acl(), Err(error));
    }

    #[test]
    fn text_must_be_utf8() {
        assert_eq!(Reader::new(&[0, 0, 0, 1, 0x80]).str(), Err(DecodeError::InvalidUtf8));
    }
}
