//! Frames: a length of four bytes, then that many bytes.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use thiserror::Error;

/// Bytes of the length at the head of a frame.
const LENGTH_BYTES: usize = 4;

/// Why what a peer sends is not a frame. Nothing after it can be understood: the connection has to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum FrameError {
    /// The length is negative.
    #[error("a frame with a length of {0}")]
    Negative(i32),
    /// The length is above the limit.
    #[error("a frame of {len} bytes, where at most {frame_bytes_max} are allowed")]
    TooLong {
        /// as it came
        len: usize,
        /// the limit
        frame_bytes_max: usize,
    },
}

/// Takes the first whole frame off the front of `input`, without its length. `None`: more bytes have to come.
/// The length is checked as soon as it is there, so no room is ever made for a frame that is too long.
pub fn next_frame(input: &mut BytesMut, frame_bytes_max: usize) -> Result<Option<Bytes>, FrameError> {
    let Some(head) = input.first_chunk::<LENGTH_BYTES>() else {
        return Ok(None);
    };
    let signed = i32::from_be_bytes(*head);
    let len = usize::try_from(signed).map_err(|_| FrameError::Negative(signed))?;
    if len > frame_bytes_max {
        return Err(FrameError::TooLong { len, frame_bytes_max });
    }
    if input.len() - LENGTH_BYTES < len {
        return Ok(None);
    }
    input.advance(LENGTH_BYTES);
    Ok(Some(input.split_to(len).freeze()))
}

/// Appends a frame to `out`: what `content` writes, behind its length.
pub fn frame(out: &mut BytesMut, content: impl FnOnce(&mut BytesMut)) {
    let at = out.len();
    out.put_i32(0);
    content(out);
    let len = out.len() - at - LENGTH_BYTES;
    let len = i32::try_from(len).expect("a frame is far smaller than 2 GiB");
    out[at..at + LENGTH_BYTES].copy_from_slice(&len.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_as_they_went_in_however_the_bytes_arrive() {
        let contents: [&[u8]; 3] = [b"first", b"", b"third"];
        let mut wire = BytesMut::new();
        for content in contents {
            frame(&mut wire, |out| out.put_slice(content));
        }
        for chunk_bytes in 1..=wire.len() {
            let mut input = BytesMut::new();
            let mut frames = Vec::new();
            for chunk in wire.chunks(chunk_bytes) {
                input.extend_from_slice(chunk);
                while let Some(frame) = next_frame(&mut input, 5).unwrap() {
                    frames.push(frame);
                }
            }
            assert_eq!(frames, contents);
            assert!(input.is_empty());
        }
    }

    #[test]
    fn a_length_that_is_too_long_or_negative_is_an_error_before_the_content_arrives() {
        let mut input = BytesMut::from(&[0, 0, 0, 6][..]);
        assert_eq!(next_frame(&mut input, 5), Err(FrameError::TooLong { len: 6, frame_bytes_max: 5 }));
        let mut input = BytesMut::from(&[0xff; 4][..]);
        assert_eq!(next_frame(&mut input, 5), Err(FrameError::Negative(-1)));
    }
}
