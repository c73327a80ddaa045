//! Frames: a 4-byte big-endian length, then that many bytes.
//!
//! A frame is received once into memory that is handed on without a copy. The promised length is checked before
//! anything is reserved for it, and memory grows with what has arrived, never with what was announced.
//! Source: `org.apache.kafka.common.network.NetworkReceive`.

use std::io;

use bytes::{Buf, BytesMut};
use tokio::io::AsyncReadExt;
use tokio::net::tcp::OwnedReadHalf;

use crate::Activity;

/// Bytes asked of the kernel at once while nothing is known of the next frame.
const FIRST_READ_BYTES: usize = 16 * 1024;
/// The most that is reserved ahead of what has arrived: a peer pays in bytes for the memory it takes.
const RESERVE_AHEAD_BYTES: usize = 1024 * 1024;
/// Memory of larger frames is given back with them; that of smaller ones, a producer's by its defaults, serves the next.
const RETAINED_BYTES: usize = 1024 * 1024;
const LENGTH_BYTES: usize = 4;

/// Why no further frame can be read.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The length is negative, zero or over `socket.request.max.bytes`: the connection is closed without an answer.
    #[error("invalid receive (size = {size} larger than {max})")]
    Size {
        /// The announced length.
        size: i32,
        /// `socket.request.max.bytes`
        max: i32,
    },
    /// The peer ended the stream inside a frame, or the socket failed.
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
}

/// The receiving direction of a connection.
#[derive(Debug)]
pub struct FrameReader {
    socket: OwnedReadHalf,
    buffer: BytesMut,
    activity: Activity,
}

impl FrameReader {
    pub(crate) fn new(socket: OwnedReadHalf, activity: Activity) -> Self {
        Self { socket, buffer: BytesMut::new(), activity }
    }

    /// The next frame without its length, or `None` when the peer ended the stream between frames.
    ///
    /// Cancel-safe: bytes that have arrived wait for the next call.
    pub async fn next(&mut self, max_bytes: i32) -> Result<Option<BytesMut>, FrameError> {
        loop {
            let wanted = match self.announced(max_bytes)? {
                Some(size) if self.buffer.len() >= LENGTH_BYTES + size => {
                    self.buffer.advance(LENGTH_BYTES);
                    let frame = self.buffer.split_to(size);
                    if size > RETAINED_BYTES {
                        // What is behind it must not keep its memory alive, however long this connection idles.
                        self.buffer = BytesMut::from(&self.buffer[..]);
                    }
                    return Ok(Some(frame));
                }
                Some(size) => LENGTH_BYTES + size - self.buffer.len(),
                None => FIRST_READ_BYTES,
            };
            // Keep the announced frame contiguous, but let an unpaid announcement reserve only so much.
            if self.buffer.capacity() - self.buffer.len() < wanted.min(FIRST_READ_BYTES) || wanted > FIRST_READ_BYTES {
                self.buffer.reserve(wanted.min(RESERVE_AHEAD_BYTES.max(self.buffer.len())));
            }
            if self.socket.read_buf(&mut self.buffer).await? == 0 {
                if self.buffer.is_empty() {
                    return Ok(None);
                }
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            self.activity.note();
        }
    }

    fn announced(&self, max_bytes: i32) -> Result<Option<usize>, FrameError> {
        let Some(length) = self.buffer.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
        let size = i32::from_be_bytes(*length);
        if size <= 0 || size > max_bytes {
            return Err(FrameError::Size { size, max: max_bytes });
        }
        Ok(Some(size as usize))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use crate::listener::{Listener, SocketOptions};

    use super::*;

    /// The buffer behind a frame is the frame's own memory: once a connection had sent 100 MB, it kept them for as long
    /// as it lived, whatever it sent afterwards.
    #[tokio::test]
    async fn a_large_frame_takes_its_memory_along() {
        let options = SocketOptions { send_buffer_bytes: -1, receive_buffer_bytes: -1, backlog: 50 };
        let listener = Listener::bind(&["127.0.0.1"], 0, options).unwrap().remove(0);
        let mut peer = std::net::TcpStream::connect(listener.address()).unwrap();
        let mut frames = listener.accept().await.unwrap().frames;
        let sending = std::thread::spawn(move || {
            for size in [8 << 20, 100, 100] {
                peer.write_all(&u32::to_be_bytes(size)).unwrap();
                peer.write_all(&vec![1; size as usize]).unwrap();
            }
        });
        for size in [8 << 20, 100, 100] {
            assert_eq!(frames.next(i32::MAX).await.unwrap().unwrap(), vec![1; size]);
            assert!(frames.buffer.capacity() <= 2 * RETAINED_BYTES, "{}", frames.buffer.capacity());
        }
        sending.join().unwrap();
        assert!(frames.next(i32::MAX).await.unwrap().is_none());
    }
}
