//! Any bytes as what a client sends: frames, then a connect request, then requests. What can be decoded must be
//! encoded to something that decodes to the same.

#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use zabra::jute::{decode_connect_request, decode_request, encode_request, next_frame};

const FRAME_BYTES_MAX: usize = 64 * 1024;

fuzz_target!(|data: (i32, &[u8])| {
    let (op, bytes) = data;
    let mut input = BytesMut::from(bytes);
    while let Ok(Some(frame)) = next_frame(&mut input, FRAME_BYTES_MAX) {
        let _ = decode_connect_request(&frame);
    }
    if let Ok(request) = decode_request(op, bytes) {
        let mut encoded = BytesMut::new();
        encode_request(&request, &mut encoded);
        assert_eq!(decode_request(op, &encoded), Ok(request));
    }
});
