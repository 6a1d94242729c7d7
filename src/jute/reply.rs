//! Whole replies, from the header on. The ones a server gives most are written straight from what the tree holds,
//! without a [`Response`] in between.

use bytes::{BufMut, BytesMut};

use super::writer::{put_acl, put_count, put_nullable_buffer, put_stat, put_str};
use super::{Acl, DecodeError, ErrorCode, Reader, Response, Stat, encode_response, frame};
use crate::ids::{Xid, Zxid};

/// What stands before every response and event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReplyHeader {
    /// the request's
    pub xid: Xid,
    /// the newest transaction the server had applied when it answered
    pub zxid: Zxid,
    /// an [`ErrorCode`], if it is known; a response follows only after 0
    pub err: i32,
}

impl ReplyHeader {
    /// Its size on the wire.
    pub const WIRE_BYTES: usize = 16;

    /// Reads the header; the response follows.
    pub fn decode(reader: &mut Reader<'_>) -> Result<ReplyHeader, DecodeError> {
        Ok(ReplyHeader { xid: reader.i32()?, zxid: reader.zxid()?, err: reader.i32()? })
    }

    /// Appends the header.
    pub fn encode(self, out: &mut BytesMut) {
        let mut bytes = [0; ReplyHeader::WIRE_BYTES];
        let mut fields = &mut bytes[..];
        fields.put_i32(self.xid);
        fields.put_u64(self.zxid.0);
        fields.put_i32(self.err);
        out.put_slice(&bytes);
    }
}

/// Appends the frame of a successful reply, `content` writing what follows the header.
fn reply(out: &mut BytesMut, xid: Xid, zxid: Zxid, content: impl FnOnce(&mut BytesMut)) {
    frame(out, |out| {
        ReplyHeader { xid, zxid, err: 0 }.encode(out);
        content(out);
    });
}

/// Appends the reply that carries `response`.
pub fn encode_reply(out: &mut BytesMut, xid: Xid, zxid: Zxid, response: &Response) {
    reply(out, xid, zxid, |out| encode_response(response, out));
}

/// Appends the reply to a request that failed.
pub fn encode_error_reply(out: &mut BytesMut, xid: Xid, zxid: Zxid, code: ErrorCode) {
    frame(out, |out| ReplyHeader { xid, zxid, err: code as i32 }.encode(out));
}

/// Appends a reply without content: to a ping, say.
pub fn encode_empty_reply(out: &mut BytesMut, xid: Xid, zxid: Zxid) {
    reply(out, xid, zxid, |_| {});
}

/// Appends the reply to a sasl. A refusal has a record behind its header as well, as in ZooKeeper.
pub fn encode_sasl_reply(out: &mut BytesMut, xid: Xid, code: ErrorCode, token: Option<&[u8]>) {
    frame(out, |out| {
        ReplyHeader { xid, zxid: Zxid::ZERO, err: code as i32 }.encode(out);
        put_nullable_buffer(out, token);
    });
}

/// Appends the reply to a getData; data may be null.
pub fn encode_data_reply(out: &mut BytesMut, xid: Xid, zxid: Zxid, data: Option<&[u8]>, stat: &Stat) {
    out.reserve(4 + ReplyHeader::WIRE_BYTES + 4 + data.map_or(0, <[u8]>::len) + Stat::WIRE_BYTES);
    reply(out, xid, zxid, |out| {
        put_nullable_buffer(out, data);
        put_stat(out, stat);
    });
}

/// Appends the reply to an exists, setData or setACL.
pub fn encode_stat_reply(out: &mut BytesMut, xid: Xid, zxid: Zxid, stat: &Stat) {
    reply(out, xid, zxid, |out| put_stat(out, stat));
}

/// Appends the reply to a getACL.
pub fn encode_acl_reply(out: &mut BytesMut, xid: Xid, zxid: Zxid, acl: &[Acl], stat: &Stat) {
    reply(out, xid, zxid, |out| {
        put_acl(out, acl);
        put_stat(out, stat);
    });
}

/// Appends the reply to a getChildren, or with `stat` to a getChildren2.
pub fn encode_children_reply<'a>(
    out: &mut BytesMut,
    xid: Xid,
    zxid: Zxid,
    children: impl ExactSizeIterator<Item = &'a str>,
    stat: Option<&Stat>,
) {
    reply(out, xid, zxid, |out| {
        put_count(out, children.len());
        for child in children {
            put_str(out, child);
        }
        if let Some(stat) = stat {
            put_stat(out, stat);
        }
    });
}
