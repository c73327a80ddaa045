//! Frames: a 4-byte big-endian length, then that many bytes.
//!
//! A frame is received once into memory that is handed on without a copy. The promised length is checked before
//! anything is reserved for it, and memory grows with what has arrived, never with what was announced: what is beyond
//! the first 16 KiB of a frame takes room from the process's [`Memory`](crate::Memory) before it is received. A
//! connection without a byte to read has no buffer.
//! Source: `org.apache.kafka.common.network.NetworkReceive`.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::AsyncReadExt;
use tokio::net::tcp::OwnedReadHalf;

use crate::Activity;
use crate::budget::FREE_BYTES;
use crate::memory::{Held, Seat};

/// Buffers of larger frames go with them; one of a smaller frame, a producer's by its defaults, may serve the next.
const KEPT_BYTES: usize = 1024 * 1024;
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

/// A request as it was received, without its length.
#[derive(Debug)]
pub struct Frame {
    /// Its bytes.
    pub bytes: BytesMut,
    /// The room that a large one takes until this is dropped.
    pub held: Option<Held>,
}

/// The receiving direction of a connection.
#[derive(Debug)]
pub struct FrameReader {
    socket: OwnedReadHalf,
    buffer: BytesMut,
    /// The frame under way, if it is larger than [`KEPT_BYTES`]: it gets memory of just its size.
    large: Vec<u8>,
    /// Bytes that may be received before room must be asked for again.
    allowance: usize,
    /// As how much `buffer` counts among those that are kept: its memory is that of its largest frame.
    kept: usize,
    activity: Activity,
    seat: Arc<Seat>,
}

impl FrameReader {
    pub(crate) fn new(socket: OwnedReadHalf, activity: Activity, seat: Arc<Seat>) -> Self {
        Self { socket, buffer: BytesMut::new(), large: Vec::new(), allowance: 0, kept: 0, activity, seat }
    }

    /// The next frame, or `None` when the peer ended the stream between frames. The frame before must have been
    /// dropped.
    ///
    /// Cancel-safe: bytes that have arrived wait for the next call.
    pub async fn next(&mut self, max_bytes: i32) -> Result<Option<Frame>, FrameError> {
        loop {
            let announced = self.announced(max_bytes)?;
            if let Some(size) = announced
                && self.received() >= LENGTH_BYTES + size
            {
                return Ok(Some(self.cut(size)));
            }
            self.readable().await?;
            let read = match announced {
                Some(size) if LENGTH_BYTES + size > FREE_BYTES => self.read_large(LENGTH_BYTES + size).await?,
                Some(size) => self.read_small(LENGTH_BYTES + size - self.buffer.len()).await?,
                None => self.read_small(FREE_BYTES).await?,
            };
            if read == 0 {
                if self.received() == 0 {
                    return Ok(None);
                }
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            self.activity.note(read);
        }
    }

    /// Waits for bytes, or for the end of the stream. Who has been quiet for a while waits without a buffer.
    async fn readable(&mut self) -> io::Result<()> {
        poll_fn(|task| {
            if self.buffer.is_empty() && self.buffer.capacity() > 0 && self.activity.quiet_checks() > 0 {
                self.buffer = BytesMut::new();
                self.keep(0);
            }
            self.socket.as_ref().poll_read_ready(task)
        })
        .await
    }

    async fn read_small(&mut self, wanted: usize) -> io::Result<usize> {
        if self.buffer.capacity() - self.buffer.len() < wanted {
            self.buffer.reserve(FREE_BYTES);
        }
        self.socket.read_buf(&mut self.buffer).await
    }

    async fn read_large(&mut self, total: usize) -> io::Result<usize> {
        let remaining = total - self.received();
        if self.allowance == 0 {
            self.allowance = self.seat.take(remaining).await;
        }
        let step = self.allowance.min(remaining);
        let read = if total > KEPT_BYTES {
            if self.large.is_empty() {
                self.large = std::mem::take(&mut self.buffer).into();
                self.keep(0);
            }
            if self.large.capacity() == self.large.len() {
                let ahead = step.max(self.large.len()).min(remaining);
                self.large.reserve_exact(ahead);
            }
            let room = self.large.capacity() - self.large.len();
            self.socket.read_buf(&mut (&mut self.large).limit(step.min(room))).await?
        } else {
            self.buffer.reserve(step);
            // The beginning of the next frame may come along.
            let most = if step == remaining { step + FREE_BYTES } else { step };
            self.socket.read_buf(&mut (&mut self.buffer).limit(most)).await?
        };
        self.allowance -= read.min(self.allowance);
        Ok(read)
    }

    /// Bytes of the frame under way, its length included, and of what follows it.
    fn received(&self) -> usize {
        self.buffer.len() + self.large.len()
    }

    /// Hands a complete frame on.
    fn cut(&mut self, size: usize) -> Frame {
        let held = (LENGTH_BYTES + size > FREE_BYTES).then(|| Held::new(&self.seat));
        self.allowance = 0;
        if !self.large.is_empty() {
            let bytes = Bytes::from(std::mem::take(&mut self.large));
            let mut bytes = bytes.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
            bytes.advance(LENGTH_BYTES);
            return Frame { bytes, held };
        }
        self.buffer.advance(LENGTH_BYTES);
        let bytes = self.buffer.split_to(size);
        if held.is_some() {
            self.keep(if size <= KEPT_BYTES { size.max(self.kept) } else { 0 });
            if self.kept == 0 {
                // What is behind the frame must not keep its memory alive, however long this connection idles.
                self.buffer = BytesMut::from(&self.buffer[..]);
            }
        }
        Frame { bytes, held }
    }

    /// Counts `buffer` among those that are kept, if there is room for it.
    fn keep(&mut self, bytes: usize) {
        if bytes != self.kept {
            self.kept = if self.seat.keep_buffer(bytes) { bytes } else { 0 };
        }
    }

    fn announced(&self, max_bytes: i32) -> Result<Option<usize>, FrameError> {
        let start = if self.large.is_empty() { &self.buffer[..] } else { &self.large[..] };
        let Some(length) = start.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
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
    use std::net::TcpStream;
    use std::task::Poll;
    use std::time::Duration;

    use crate::listener::{Accepted, Listener, SocketOptions};
    use crate::{Ended, Memory, RequestRoom, Room};

    use super::*;

    const MIB: usize = 1024 * 1024;

    async fn connect(memory: &Arc<Memory>) -> (TcpStream, Accepted) {
        let options = SocketOptions { send_buffer_bytes: -1, receive_buffer_bytes: -1, backlog: 50 };
        let listener = Listener::bind(&["127.0.0.1"], 0, options).unwrap().remove(0);
        let peer = TcpStream::connect(listener.address()).unwrap();
        (peer, listener.accept().await.unwrap().open(memory))
    }

    /// Writes on a thread of its own: more than the sockets' buffers hold. The connection stays open with the handle.
    fn send(mut peer: TcpStream, bytes: Vec<u8>) -> std::thread::JoinHandle<TcpStream> {
        std::thread::spawn(move || {
            peer.write_all(&bytes).unwrap();
            peer
        })
    }

    /// Looks for a frame once.
    async fn waits(frames: &mut FrameReader) -> bool {
        poll_fn(|task| Poll::Ready(std::pin::pin!(frames.next(i32::MAX)).poll(task).is_pending())).await
    }

    fn frame_of(size: usize) -> Vec<u8> {
        let mut frame = u32::to_be_bytes(size as u32).to_vec();
        frame.resize(LENGTH_BYTES + size, 1);
        frame
    }

    /// The buffer behind a frame is the frame's own memory: once a connection had sent 100 MB, it kept them for as long
    /// as it lived, whatever it sent afterwards.
    #[tokio::test]
    async fn a_large_frame_takes_its_memory_along() {
        let sizes = [8 * MIB, 100, MIB - 4, 100, 20_000, MIB + 1, 1];
        let (mut peer, Accepted { mut frames, .. }) = connect(&Memory::new(Room::UNLIMITED)).await;
        let sending = std::thread::spawn(move || sizes.map(|size| peer.write_all(&frame_of(size)).unwrap()));
        for size in sizes {
            assert_eq!(frames.next(i32::MAX).await.unwrap().unwrap().bytes, vec![1; size]);
            assert!(frames.buffer.capacity() <= 2 * KEPT_BYTES, "{}", frames.buffer.capacity());
            assert_eq!(frames.large.capacity(), 0);
        }
        sending.join().unwrap();
        assert!(frames.next(i32::MAX).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn an_announcement_reserves_no_more_than_a_step() {
        let (mut peer, Accepted { mut frames, .. }) = connect(&Memory::new(Room::UNLIMITED)).await;
        peer.write_all(&u32::to_be_bytes(100 << 20)).unwrap();
        peer.write_all(&[1; 100]).unwrap();
        assert!(tokio::time::timeout(Duration::from_millis(50), frames.next(i32::MAX)).await.is_err());
        assert_eq!(frames.received(), 104);
        assert!(frames.buffer.capacity() + frames.large.capacity() <= MIB + FREE_BYTES);
    }

    #[tokio::test]
    async fn a_quiet_connection_has_no_buffer() {
        let (peer, Accepted { mut frames, activity, .. }) = connect(&Memory::new(Room::UNLIMITED)).await;
        let _peer = send(peer, frame_of(MIB / 2));
        drop(frames.next(i32::MAX).await.unwrap().unwrap());
        assert_eq!(frames.kept, MIB / 2);
        let quiet = activity.ceased(Duration::from_millis(20));
        tokio::pin!(quiet);
        tokio::select! {
            biased;
            () = &mut quiet => {}
            _ = frames.next(i32::MAX) => unreachable!("the peer is quiet"),
        }
        assert!(waits(&mut frames).await);
        assert_eq!(frames.buffer.capacity(), 0);
        assert_eq!(frames.kept, 0);
    }

    /// A buffer counted as much as the frame before: one of 1 MiB cost 20 KB when such a frame had followed.
    #[tokio::test]
    async fn a_kept_buffer_counts_as_its_largest_frame() {
        let memory = Memory::new(Room { kept_buffers: MIB, ..Room::UNLIMITED });
        let (peer, Accepted { mut frames, .. }) = connect(&memory).await;
        let _peer = send(peer, [frame_of(MIB - 4), frame_of(20_000)].concat());
        for _ in 0..2 {
            drop(frames.next(i32::MAX).await.unwrap().unwrap());
            assert_eq!(frames.kept, MIB - 4);
        }
        let (other, Accepted { frames: mut others, .. }) = connect(&memory).await;
        let _other = send(other, frame_of(MIB / 2));
        drop(others.next(i32::MAX).await.unwrap().unwrap());
        assert_eq!(others.kept, 0);
    }

    /// Peers that hold all the room and stand still do not keep others from being served.
    #[tokio::test]
    async fn a_frame_that_stands_still_loses_its_room_to_one_that_waits() {
        let requests = RequestRoom { pool: MIB, reserve: MIB };
        let memory = Memory::new(Room { usual: requests, large: requests, kept_buffers: 0, answers: MIB });
        let mut stalled = Vec::new();
        for _ in 0..2 {
            let (peer, mut accepted) = connect(&memory).await;
            let peer = send(peer, frame_of(MIB)[..MIB - 10].to_vec());
            while accepted.frames.received() < MIB - 10 {
                tokio::select! {
                    biased;
                    _ = accepted.frames.next(i32::MAX) => unreachable!("it is not complete"),
                    () = tokio::task::yield_now() => {}
                }
            }
            stalled.push((peer, accepted));
        }
        let (peer, mut honest) = connect(&memory).await;
        let _peer = send(peer, frame_of(MIB / 2));
        let ended = async {
            for second in [0, 5] {
                tokio::task::yield_now().await;
                memory.expire(Duration::from_secs(second));
            }
            for (_, accepted) in stalled {
                let Accepted { ended, frames, sender, seat, .. } = accepted;
                assert_eq!(ended.await, Ok(Ended::Stalled));
                drop((frames, sender, seat));
            }
        };
        while !memory.is_short() {
            assert!(waits(&mut honest.frames).await);
            tokio::task::yield_now().await;
        }
        let (frame, ()) = tokio::join!(honest.frames.next(i32::MAX), ended);
        assert_eq!(frame.unwrap().unwrap().bytes.len(), MIB / 2);
    }
}
