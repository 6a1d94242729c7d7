//! The replicated table of sessions.

use std::collections::BTreeMap;

use thiserror::Error;
use xxhash_rust::xxh3::xxh3_64;

use crate::ids::SessionId;

/// The length of a session's password.
pub const PASSWORD_BYTES: usize = 16;

/// The layout that [`Sessions::encode`] writes: version, count, entries in the order of their ids.
const VERSION: u8 = 1;
const HEADER_BYTES: usize = 1 + 4;
/// Id, timeout, password, generation; numbers are big-endian.
const ENTRY_BYTES: usize = 8 + 4 + PASSWORD_BYTES + 8;

/// What every server knows of a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Session {
    /// it expires when the client is not heard of for so long
    pub timeout_ms: u32,
    /// rises each time the session continues on another connection; requests of an older one are refused
    pub generation: u64,
    password: [u8; PASSWORD_BYTES],
}

impl Session {
    /// The secret with which its client continues it on another connection.
    pub fn password(&self) -> &[u8; PASSWORD_BYTES] {
        &self.password
    }

    fn entry(&self, id: SessionId) -> [u8; ENTRY_BYTES] {
        let mut entry = [0; ENTRY_BYTES];
        entry[..8].copy_from_slice(&id.0.to_be_bytes());
        entry[8..12].copy_from_slice(&self.timeout_ms.to_be_bytes());
        entry[12..12 + PASSWORD_BYTES].copy_from_slice(&self.password);
        entry[12 + PASSWORD_BYTES..].copy_from_slice(&self.generation.to_be_bytes());
        entry
    }

    fn digest(&self, id: SessionId) -> u64 {
        xxh3_64(&self.entry(id))
    }
}

/// Whether `given` is the password. How long that takes tells nothing of where they differ.
pub fn password_matches(password: &[u8; PASSWORD_BYTES], given: &[u8]) -> bool {
    given.len() == PASSWORD_BYTES
        && password.iter().zip(given).fold(0, |differences, (own, other)| differences | (own ^ other)) == 0
}

/// A block of bytes that is not a table of sessions.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum SessionsDecodeError {
    /// Written by a later release, or not a table at all.
    #[error("session table of unknown version {0}")]
    Version(u8),
    /// Shorter or longer than its count says.
    #[error("session table of {len} bytes does not hold the {count} sessions it promises")]
    Length {
        /// what it promises
        count: u32,
        /// what is there
        len: usize,
    },
    /// Too short for a count.
    #[error("session table without a header")]
    NoHeader,
    /// Ids that do not rise, or the id 0.
    #[error("session {0} is out of order in the session table")]
    Order(SessionId),
}

/// All sessions of the ensemble, as of one zxid.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Sessions {
    sessions: BTreeMap<SessionId, Session>,
    /// the wrapping sum of [`Session::digest`] over `sessions`
    digest: u64,
}

impl Sessions {
    /// Opens a session. False, and nothing changes, if it is open already.
    pub fn create(
        &mut self,
        id: SessionId,
        timeout_ms: u32,
        password: [u8; PASSWORD_BYTES],
        generation: u64,
    ) -> bool {
        let session = Session { timeout_ms, password, generation };
        if self.sessions.contains_key(&id) {
            return false;
        }
        self.digest = self.digest.wrapping_add(session.digest(id));
        self.sessions.insert(id, session);
        true
    }

    /// Ends a session; what it was, if it was there.
    pub fn close(&mut self, id: SessionId) -> Option<Session> {
        let session = self.sessions.remove(&id)?;
        self.digest = self.digest.wrapping_sub(session.digest(id));
        Some(session)
    }

    /// Notes that a request of `generation` was carried out: those of older connections are refused from now on.
    pub fn raise_generation(&mut self, id: SessionId, generation: u64) {
        let Some(session) = self.sessions.get_mut(&id).filter(|session| session.generation < generation)
        else {
            return;
        };
        self.digest = self.digest.wrapping_sub(session.digest(id));
        session.generation = generation;
        self.digest = self.digest.wrapping_add(session.digest(id));
    }

    /// A session, if it is open.
    pub fn get(&self, id: SessionId) -> Option<&Session> {
        self.sessions.get(&id)
    }

    /// All of them in the order of their ids.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (SessionId, &Session)> {
        self.sessions.iter().map(|(&id, session)| (id, session))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// A sum over all that the table holds; to be added to the digest of the tree.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// The table as bytes, for a snapshot. The same table always gives the same bytes.
    pub fn encode(&self) -> Vec<u8> {
        let count = u32::try_from(self.sessions.len()).expect("fewer than 2^32 sessions fit into memory");
        let mut out = Vec::with_capacity(HEADER_BYTES + self.sessions.len() * ENTRY_BYTES);
        out.push(VERSION);
        out.extend_from_slice(&count.to_be_bytes());
        for (&id, session) in &self.sessions {
            out.extend_from_slice(&session.entry(id));
        }
        out
    }

    /// The table that [`Sessions::encode`] made these bytes of. Anything else is refused.
    pub fn decode(bytes: &[u8]) -> Result<Sessions, SessionsDecodeError> {
        let (&version, rest) = bytes.split_first().ok_or(SessionsDecodeError::NoHeader)?;
        if version != VERSION {
            return Err(SessionsDecodeError::Version(version));
        }
        let (&count, rest) = rest.split_first_chunk().ok_or(SessionsDecodeError::NoHeader)?;
        let count = u32::from_be_bytes(count);
        if rest.len() as u64 != u64::from(count) * ENTRY_BYTES as u64 {
            return Err(SessionsDecodeError::Length { count, len: bytes.len() });
        }
        let mut sessions = Sessions::default();
        let mut previous = SessionId(0);
        for entry in rest.as_chunks::<ENTRY_BYTES>().0 {
            let (id, session) = decode_entry(entry);
            if id <= previous {
                return Err(SessionsDecodeError::Order(id));
            }
            sessions.create(id, session.timeout_ms, session.password, session.generation);
            previous = id;
        }
        Ok(sessions)
    }
}

fn decode_entry(entry: &[u8; ENTRY_BYTES]) -> (SessionId, Session) {
    fn take<const N: usize>(entry: &[u8; ENTRY_BYTES], at: usize) -> [u8; N] {
        std::array::from_fn(|i| entry[at + i])
    }
    let session = Session {
        timeout_ms: u32::from_be_bytes(take(entry, 8)),
        password: take(entry, 12),
        generation: u64::from_be_bytes(take(entry, 12 + PASSWORD_BYTES)),
    };
    (SessionId(u64::from_be_bytes(take(entry, 0))), session)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(seed: u8) -> [u8; PASSWORD_BYTES] {
        std::array::from_fn(|i| seed.wrapping_mul(31).wrapping_add(i as u8))
    }

    fn table() -> Sessions {
        let mut sessions = Sessions::default();
        sessions.create(SessionId(0x0200_0000_0000_0007), 30_000, password(2), 5);
        sessions.create(SessionId(0x0100_0000_0000_0009), 4_000, password(1), u64::MAX);
        sessions.create(SessionId(u64::MAX), u32::MAX, password(3), 0);
        sessions
    }

    #[test]
    fn a_session_is_opened_once_and_closed_once() {
        let mut sessions = Sessions::default();
        let id = SessionId(9);
        assert!(sessions.create(id, 1000, password(1), 1));
        assert!(!sessions.create(id, 2000, password(2), 2));
        assert_eq!(sessions.get(id).map(|session| session.timeout_ms), Some(1000));
        assert!(sessions.close(id).is_some());
        assert!(sessions.close(id).is_none());
        assert!(sessions.is_empty());
    }

    #[test]
    fn a_generation_only_rises() {
        let mut sessions = table();
        let id = SessionId(0x0200_0000_0000_0007);
        sessions.raise_generation(id, 4);
        assert_eq!(sessions.get(id).map(|session| session.generation), Some(5));
        sessions.raise_generation(id, 6);
        assert_eq!(sessions.get(id).map(|session| session.generation), Some(6));
        sessions.raise_generation(SessionId(1), 6);
        assert_eq!(sessions.len(), 3);
    }

    #[test]
    fn only_the_whole_password_is_right() {
        let right = password(3);
        assert!(password_matches(&right, &right));
        for i in 0..PASSWORD_BYTES {
            let mut wrong = right;
            wrong[i] ^= 0x80;
            assert!(!password_matches(&right, &wrong));
        }
        assert!(!password_matches(&right, &right[..15]));
        assert!(!password_matches(&right, &[]));
    }

    #[test]
    fn the_digest_is_that_of_the_content_whichever_way_it_came_about() {
        let mut sessions = table();
        assert_eq!(Sessions::default().digest(), 0);
        let before = sessions.digest();
        sessions.create(SessionId(77), 1, password(7), 1);
        assert_ne!(sessions.digest(), before);
        sessions.raise_generation(SessionId(77), 2);
        sessions.close(SessionId(77));
        assert_eq!(sessions.digest(), before);
        assert_eq!(Sessions::decode(&sessions.encode()).map(|decoded| decoded.digest()), Ok(before));
    }

    #[test]
    fn a_table_survives_its_encoding() {
        for sessions in [Sessions::default(), table()] {
            assert_eq!(Sessions::decode(&sessions.encode()), Ok(sessions));
        }
    }

    #[test]
    fn bytes_that_are_not_exactly_a_table_are_refused() {
        let bytes = table().encode();
        for len in 0..bytes.len() {
            assert!(Sessions::decode(&bytes[..len]).is_err(), "cut to {len}");
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert!(matches!(Sessions::decode(&longer), Err(SessionsDecodeError::Length { count: 3, .. })));
        let mut newer = bytes.clone();
        newer[0] = 2;
        assert_eq!(Sessions::decode(&newer), Err(SessionsDecodeError::Version(2)));
        let mut many = bytes.clone();
        many[1..5].copy_from_slice(&u32::MAX.to_be_bytes());
        assert!(matches!(Sessions::decode(&many), Err(SessionsDecodeError::Length { .. })));
    }

    #[test]
    fn ids_that_do_not_rise_are_refused() {
        let mut bytes = table().encode();
        let (first, second) = bytes[HEADER_BYTES..].split_at_mut(ENTRY_BYTES);
        first.swap_with_slice(&mut second[..ENTRY_BYTES]);
        assert!(matches!(Sessions::decode(&bytes), Err(SessionsDecodeError::Order(_))));
        let mut zero = table().encode();
        zero[HEADER_BYTES..HEADER_BYTES + 8].fill(0);
        assert_eq!(Sessions::decode(&zero), Err(SessionsDecodeError::Order(SessionId(0))));
    }
}
