//! Any bytes as what another server sends: the first frame, a notification, a message of a link. What can be decoded
//! must be encoded to frames that can be decoded.

#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use zabra::jute::next_frame;
use zabra::server::peer::{decode, decode_hello, decode_notification, encode, encode_notification};
use zabra_fuzz::memory::{Bound, bounded};

const FRAME_BYTES_MAX: usize = 8 << 20;

/// An empty item of a list takes two bytes, and becomes a request with all its fields twice over, once as it is written
/// and once as it is used; it is encoded again here.
const BOUND: Bound = Bound { constant_bytes: 64 << 10, factor: 512 };

fuzz_target!(|data: &[u8]| bounded(BOUND, data.len(), || judge(data)));

fn judge(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    let _ = decode_hello(bytes.clone());
    if let Ok(notification) = decode_notification(bytes.clone()) {
        let mut wire = Vec::new();
        encode_notification(&notification, &mut wire);
        let frame = next_frame(&mut BytesMut::from(&wire[..]), FRAME_BYTES_MAX).expect("short").expect("whole");
        assert_eq!(decode_notification(frame), Ok(notification));
    }
    if let Ok(message) = decode(bytes) {
        let mut wire = Vec::new();
        encode(message, &mut wire);
        let mut wire = BytesMut::from(&wire[..]);
        while let Some(frame) = next_frame(&mut wire, FRAME_BYTES_MAX).expect("within the bound") {
            decode(frame).expect("what was encoded");
        }
    }
}
