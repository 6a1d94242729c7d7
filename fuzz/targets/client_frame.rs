//! Any bytes as what a client sends: frames, then a connect request, then requests. What can be decoded must be
//! encoded to something that decodes to the same, be it under another code: a setWatches2 may be no more than a setWatches.

#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use zabra::jute::{decode_connect_request, decode_request, encode_request, next_frame};
use zabra_fuzz::memory::{Bound, bounded};

const FRAME_BYTES_MAX: usize = 64 * 1024;

/// An operation of a multi takes 9 bytes at least and becomes the biggest record there is; it is encoded and decoded
/// again here.
const BOUND: Bound = Bound { constant_bytes: 16 << 10, factor: 96 };

fuzz_target!(|data: (i32, &[u8])| {
    let (op, bytes) = data;
    bounded(BOUND, bytes.len(), || judge(op, bytes));
});

fn judge(op: i32, bytes: &[u8]) {
    let mut input = BytesMut::from(bytes);
    while let Ok(Some(frame)) = next_frame(&mut input, FRAME_BYTES_MAX) {
        let _ = decode_connect_request(&frame);
    }
    if let Ok(request) = decode_request(op, bytes) {
        let mut encoded = BytesMut::new();
        encode_request(&request, &mut encoded);
        assert_eq!(decode_request(request.op(), &encoded), Ok(request));
    }
}
