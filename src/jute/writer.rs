//! Writing records: the counterparts of [`super::Reader`].

use bytes::{BufMut, BytesMut};

use super::{Acl, Stat};

/// What a length or count is on the wire. Frames are bounded far below the range of an `int`; a length that does not
/// fit would be a bug of ours.
fn wire_len(len: usize) -> i32 {
    i32::try_from(len).expect("a record is far smaller than 2 GiB")
}

/// `boolean`
pub(super) fn put_bool(out: &mut BytesMut, value: bool) {
    out.put_u8(u8::from(value));
}

/// `buffer`
pub(super) fn put_buffer(out: &mut BytesMut, value: &[u8]) {
    out.put_i32(wire_len(value.len()));
    out.put_slice(value);
}

/// `buffer`; null is written as the length -1
pub(super) fn put_nullable_buffer(out: &mut BytesMut, value: Option<&[u8]>) {
    match value {
        Some(value) => put_buffer(out, value),
        None => out.put_i32(-1),
    }
}

/// `ustring`
pub(super) fn put_str(out: &mut BytesMut, value: &str) {
    put_buffer(out, value.as_bytes());
}

/// The count at the head of a `vector`.
pub(super) fn put_count(out: &mut BytesMut, count: usize) {
    out.put_i32(wire_len(count));
}

/// `vector<ustring>`
pub(super) fn put_strs(out: &mut BytesMut, values: &[impl AsRef<str>]) {
    put_count(out, values.len());
    for value in values {
        put_str(out, value.as_ref());
    }
}

/// `vector<ACL>`
pub(super) fn put_acl(out: &mut BytesMut, acl: &[Acl]) {
    put_count(out, acl.len());
    for entry in acl {
        out.put_i32(entry.perms);
        put_str(out, &entry.id.scheme);
        put_str(out, &entry.id.id);
    }
}

/// `Stat`
pub(super) fn put_stat(out: &mut BytesMut, stat: &Stat) {
    let mut bytes = [0; Stat::WIRE_BYTES];
    // To add each field to `out` by itself would ask eleven times whether there is room.
    let mut fields = &mut bytes[..];
    fields.put_u64(stat.czxid.0);
    fields.put_u64(stat.mzxid.0);
    fields.put_i64(stat.ctime_ms);
    fields.put_i64(stat.mtime_ms);
    fields.put_i32(stat.version);
    fields.put_i32(stat.cversion);
    fields.put_i32(stat.aversion);
    fields.put_u64(stat.ephemeral_owner.0);
    fields.put_i32(stat.data_length);
    fields.put_i32(stat.num_children);
    fields.put_u64(stat.pzxid.0);
    out.put_slice(&bytes);
}
