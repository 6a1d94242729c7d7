//! The first frame each way.

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};

use super::writer::{put_bool, put_buffer};
use super::{DecodeError, Reader};
use crate::ids::{SessionId, Zxid};

/// Bytes of a session's password.
pub const PASSWORD_BYTES: usize = 16;

/// The version of the protocol; there has been no other.
const PROTOCOL_VERSION: i32 = 0;

/// The first frame of a client. Its `Debug` does not show the password: whoever knows it can take the session over.
#[derive(Clone, PartialEq, Eq)]
pub struct ConnectRequest {
    /// 0
    pub protocol_version: i32,
    /// the newest zxid the client saw; a server that is behind refuses it
    pub last_zxid_seen: Zxid,
    /// the session timeout the client asks for, ms
    pub timeout_ms: i32,
    /// the session to go on with; 0 for a new one
    pub session_id: SessionId,
    /// of that session; 16 bytes, any for a new one
    pub password: Bytes,
    /// the client accepts a read-only server; absent in clients before 3.4
    pub read_only: Option<bool>,
}

/// The answer to it. Its `Debug` does not show the password either.
#[derive(Clone, PartialEq, Eq)]
pub struct ConnectResponse {
    /// the negotiated session timeout, ms; 0 tells that the session has expired
    pub timeout_ms: i32,
    /// 0 with an expired session
    pub session_id: SessionId,
    /// 16 bytes
    pub password: Bytes,
    /// present if the request had it
    pub read_only: Option<bool>,
}

impl fmt::Debug for ConnectRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectRequest")
            .field("protocol_version", &self.protocol_version)
            .field("last_zxid_seen", &self.last_zxid_seen)
            .field("timeout_ms", &self.timeout_ms)
            .field("session_id", &self.session_id)
            .field("read_only", &self.read_only)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ConnectResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectResponse")
            .field("timeout_ms", &self.timeout_ms)
            .field("session_id", &self.session_id)
            .field("read_only", &self.read_only)
            .finish_non_exhaustive()
    }
}

/// The read-only byte at the end of either record; clients before 3.4 end without it.
fn read_only(reader: &mut Reader<'_>) -> Result<Option<bool>, DecodeError> {
    if reader.is_empty() { Ok(None) } else { reader.bool().map(Some) }
}

/// Reads the first frame of a client. The password is copied, so a session does not keep a frame alive.
pub fn decode_connect_request(frame: &[u8]) -> Result<ConnectRequest, DecodeError> {
    let mut reader = Reader::new(frame);
    Ok(ConnectRequest {
        protocol_version: reader.i32()?,
        last_zxid_seen: reader.zxid()?,
        timeout_ms: reader.i32()?,
        session_id: reader.session_id()?,
        password: Bytes::copy_from_slice(reader.buffer()?),
        read_only: read_only(&mut reader)?,
    })
}

/// Appends the content of a client's first frame.
pub fn encode_connect_request(request: &ConnectRequest, out: &mut BytesMut) {
    out.put_i32(request.protocol_version);
    out.put_u64(request.last_zxid_seen.0);
    out.put_i32(request.timeout_ms);
    out.put_u64(request.session_id.0);
    put_buffer(out, &request.password);
    if let Some(read_only) = request.read_only {
        put_bool(out, read_only);
    }
}

/// Reads the first frame of a server.
pub fn decode_connect_response(frame: &[u8]) -> Result<ConnectResponse, DecodeError> {
    let mut reader = Reader::new(frame);
    let _protocol_version = reader.i32()?;
    Ok(ConnectResponse {
        timeout_ms: reader.i32()?,
        session_id: reader.session_id()?,
        password: Bytes::copy_from_slice(reader.buffer()?),
        read_only: read_only(&mut reader)?,
    })
}

/// Appends the content of a server's first frame.
pub fn encode_connect_response(response: &ConnectResponse, out: &mut BytesMut) {
    out.put_i32(PROTOCOL_VERSION);
    out.put_i32(response.timeout_ms);
    out.put_u64(response.session_id.0);
    put_buffer(out, &response.password);
    if let Some(read_only) = response.read_only {
        put_bool(out, read_only);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_shown() {
        let (session_id, password) = (SessionId(7), Bytes::from_static(b"swordfishswordfi"));
        let response =
            ConnectResponse { timeout_ms: 5, session_id, password: password.clone(), read_only: Some(true) };
        let last_zxid_seen = Zxid(3);
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen,
            timeout_ms: 5,
            session_id,
            password,
            read_only: Some(true),
        };
        for shown in [format!("{response:?}"), format!("{request:?}")] {
            assert!(shown.contains("timeout_ms: 5") && shown.contains("read_only: Some(true)"), "{shown}");
            assert!(!shown.contains("swordfish") && !shown.contains("password"), "{shown}");
        }
    }
}
