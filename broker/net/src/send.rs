//! Writing an answer: pieces of memory gathered into one `writev`, file ranges handed to the kernel by `sendfile`.
//!
//! A file range below [`COPY_BELOW_BYTES`] is read and sent with its neighbours: one system call either way, and no
//! second packet. A range whose source has no descriptor (a simulated disk, TLS) is read in bounded steps.
//! A range that turns out shorter than promised after its header left is an error: the connection must be closed.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};

use bytes::{Buf, Bytes, BytesMut};
use milena_protocol::file_range::{Chunk, FileRange};
use rustix::net::SendFlags;
use tokio::io::Interest;
use tokio::net::tcp::OwnedWriteHalf;

use crate::Activity;

/// Below this a copy through memory is cheaper than `sendfile`.
const COPY_BELOW_BYTES: usize = 8 * 1024;
/// How much of a range without a descriptor is in memory at once.
const COPY_STEP_BYTES: usize = 256 * 1024;
/// Pieces gathered into one `writev`.
const MAX_SLICES: usize = 64;

/// The sending direction of a connection.
#[derive(Debug)]
pub struct Sender {
    socket: OwnedWriteHalf,
    activity: Activity,
    bytes_copied: u64,
    bytes_sent_by_kernel: u64,
}

impl Sender {
    pub(crate) fn new(socket: OwnedWriteHalf, activity: Activity) -> Self {
        Self { socket, activity, bytes_copied: 0, bytes_sent_by_kernel: 0 }
    }

    /// Bytes that went out from our memory, and bytes that the kernel took from the page cache itself.
    pub fn bytes_by_road(&self) -> (u64, u64) {
        (self.bytes_copied, self.bytes_sent_by_kernel)
    }

    /// Writes the chunks in order. Not cancel-safe: a dropped call leaves half an answer on the wire.
    pub async fn send(&mut self, chunks: Vec<Chunk>) -> io::Result<()> {
        let mut gathered: Vec<Bytes> = Vec::with_capacity(chunks.len().min(MAX_SLICES));
        for chunk in chunks {
            match chunk {
                Chunk::Bytes(bytes) => gathered.push(bytes),
                Chunk::File(range) if range.len < COPY_BELOW_BYTES => gathered.push(read(&range, 0, range.len)?),
                Chunk::File(range) => {
                    self.write_all(&mut gathered, true).await?;
                    self.send_file(&range).await?;
                }
            }
            if gathered.len() == MAX_SLICES {
                self.write_all(&mut gathered, true).await?;
            }
        }
        self.write_all(&mut gathered, false).await
    }

    /// `more`: a file range follows at once, so let the kernel fill its packet.
    async fn write_all(&mut self, gathered: &mut Vec<Bytes>, more: bool) -> io::Result<()> {
        let flags = if more { SendFlags::MORE | SendFlags::NOSIGNAL } else { SendFlags::NOSIGNAL };
        let mut first = 0;
        while first < gathered.len() {
            let written = self
                .when_writable(|socket| {
                    if let [only] = &gathered[first..] {
                        return rustix::net::send(socket, only, flags);
                    }
                    let slices: Vec<IoSlice<'_>> = gathered[first..].iter().map(|bytes| IoSlice::new(bytes)).collect();
                    rustix::net::sendmsg(socket, &slices, &mut rustix::net::SendAncillaryBuffer::default(), flags)
                })
                .await?;
            self.bytes_copied += written as u64;
            let mut left = written;
            while let Some(bytes) = gathered.get_mut(first) {
                let step = left.min(bytes.len());
                bytes.advance(step);
                left -= step;
                if !bytes.is_empty() {
                    break;
                }
                first += 1;
            }
        }
        gathered.clear();
        Ok(())
    }

    async fn send_file(&mut self, range: &FileRange) -> io::Result<()> {
        let Some(file) = range.source.descriptor() else { return self.copy_file(range).await };
        let mut position = range.position;
        let end = range.position + range.len as u64;
        while position < end {
            let left = (end - position) as usize;
            // sendfile moves its offset argument itself; the copy keeps a failed attempt without effect.
            let sent = self
                .when_writable(|socket| {
                    let mut at = position;
                    rustix::fs::sendfile(socket, file, Some(&mut at), left)
                })
                .await?;
            if sent == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
            }
            position += sent as u64;
            self.bytes_sent_by_kernel += sent as u64;
        }
        Ok(())
    }

    async fn copy_file(&mut self, range: &FileRange) -> io::Result<()> {
        let mut done = 0;
        while done < range.len {
            let step = (range.len - done).min(COPY_STEP_BYTES);
            self.write_all(&mut vec![read(range, done, step)?], done + step < range.len).await?;
            done += step;
        }
        Ok(())
    }

    /// Tries at once, and waits for room only when the kernel asks for it.
    async fn when_writable<F>(&self, mut attempt: F) -> io::Result<usize>
    where
        F: FnMut(BorrowedFd<'_>) -> Result<usize, rustix::io::Errno>,
    {
        let stream = self.socket.as_ref();
        loop {
            match stream.try_io(Interest::WRITABLE, || Ok(attempt(stream.as_fd())?)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => stream.writable().await?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => {
                    self.activity.note(*done.as_ref().unwrap_or(&0));
                    return done;
                }
            }
        }
    }
}

fn read(range: &FileRange, from: usize, len: usize) -> io::Result<Bytes> {
    let mut buffer = BytesMut::zeroed(len);
    range.source.read_exact_at(&mut buffer, range.position + from as u64)?;
    Ok(buffer.freeze())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::fd::AsFd as _;
    use std::os::unix::fs::FileExt as _;
    use std::sync::Arc;

    use milena_protocol::file_range::FileSource;
    use tokio::io::AsyncReadExt as _;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// A file with, or as on a simulated disk without, a descriptor.
    #[derive(Debug)]
    struct Source {
        file: std::fs::File,
        has_descriptor: bool,
    }

    impl FileSource for Source {
        fn descriptor(&self) -> Option<BorrowedFd<'_>> {
            self.has_descriptor.then(|| self.file.as_fd())
        }

        fn read_exact_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()> {
            self.file.read_exact_at(buffer, position)
        }
    }

    async fn sent(range_bytes: usize, has_descriptor: bool) -> (Vec<u8>, (u64, u64)) {
        let mut file = tempfile::tempfile().unwrap();
        let content: Vec<u8> = (0..range_bytes + 10).map(|index| index as u8).collect();
        file.write_all(&content).unwrap();
        let source = Arc::new(Source { file, has_descriptor });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (_, writer) = listener.accept().await.unwrap().0.into_split();
        let mut sender = Sender::new(writer, Activity::default());
        let chunks = vec![
            Chunk::Bytes(Bytes::from_static(b"head")),
            Chunk::File(FileRange { source, position: 10, len: range_bytes }),
            Chunk::Bytes(Bytes::from_static(b"tail")),
        ];
        let sending = async {
            sender.send(chunks).await.unwrap();
            let roads = sender.bytes_by_road();
            drop(sender);
            roads
        };
        let mut received = Vec::new();
        let (roads, _) = tokio::join!(sending, peer.read_to_end(&mut received));
        assert_eq!(received, [b"head", &content[10..], b"tail"].concat());
        (received, roads)
    }

    #[tokio::test]
    async fn large_ranges_are_sent_by_the_kernel_and_small_ones_with_their_neighbours() {
        assert_eq!(sent(3 << 20, true).await.1, (8, 3 << 20));
        assert_eq!(sent(100, true).await.1, (108, 0));
        assert_eq!(sent(1 << 20, false).await.1, (8 + (1 << 20), 0));
    }
}
