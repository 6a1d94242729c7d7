//! Frames of a connection between servers, out of a stream of bytes.

use std::io;

use bytes::{Bytes, BytesMut};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::codec::CodecError;
use crate::jute::{self, next_frame};

/// The most that one frame of the election port takes; a notification is tiny.
pub(super) const ELECTION_FRAME_BYTES_MAX: usize = 64 << 10;

/// Room that is made before every read.
const READ_BYTES: usize = 64 << 10;

/// A frame that fills less of the buffer than this is copied out of it: what keeps a part of a frame alive for long
/// (recent transactions) must not keep a whole buffer alive.
const COPIED_BYTES_MAX: usize = READ_BYTES / 2;

/// Why no more frames come.
#[derive(Debug, Error)]
pub enum PeerReadError {
    /// The connection broke.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It ended.
    #[error("closed by the other side")]
    Closed,
    /// Too long.
    #[error(transparent)]
    Frame(#[from] jute::FrameError),
    /// Not a message.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// Nothing came for too long.
    #[error("silent for {0} ms")]
    Silent(u128),
}

/// Cuts a stream into frames.
#[derive(Debug)]
pub(super) struct FrameReader<R> {
    stream: R,
    buffer: BytesMut,
    frame_bytes_max: usize,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub fn new(stream: R, frame_bytes_max: usize) -> FrameReader<R> {
        FrameReader { stream, buffer: BytesMut::new(), frame_bytes_max }
    }

    /// The next frame. Room is made as bytes arrive, never for what a length only promises. Nothing is lost if the
    /// future is dropped.
    pub async fn next(&mut self) -> Result<Bytes, PeerReadError> {
        loop {
            if let Some(frame) = next_frame(&mut self.buffer, self.frame_bytes_max)? {
                return Ok(if frame.len() < COPIED_BYTES_MAX {
                    Bytes::copy_from_slice(&frame)
                } else {
                    frame
                });
            }
            self.buffer.reserve(READ_BYTES.max(self.buffer.len()));
            match self.stream.read_buf(&mut self.buffer).await {
                Ok(0) => return Err(PeerReadError::Closed),
                // A process that is killed says no goodbye, which TLS takes for an error.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Err(PeerReadError::Closed);
                }
                read => read?,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jute::frame;
    use bytes::BufMut;

    #[tokio::test]
    async fn frames_come_whole_and_a_longer_one_than_allowed_ends_the_stream() {
        let mut wire = BytesMut::new();
        let contents = [vec![1; 10], Vec::new(), vec![2; 200_000]];
        for content in &contents {
            frame(&mut wire, |out| out.put_slice(content));
        }
        wire.put_u32(200_001);
        let mut reader = FrameReader::new(&wire[..], 200_000);
        for content in &contents {
            assert_eq!(reader.next().await.unwrap(), content[..]);
        }
        assert!(matches!(reader.next().await, Err(PeerReadError::Frame(_))));
    }

    #[tokio::test]
    async fn an_end_in_the_middle_of_a_frame_is_an_end() {
        let mut reader = FrameReader::new(&[0, 0, 0, 9, 1, 2][..], 100);
        assert!(matches!(reader.next().await, Err(PeerReadError::Closed)));
    }
}
