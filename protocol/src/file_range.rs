//! What an answer is made of: bytes in memory and ranges of files that the kernel can send by itself.
//!
//! No IO happens here. `milena-storage` implements [`FileSource`], `milena-net` sends.

use std::fmt::Debug;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use bytes::Bytes;

/// Where the bytes of a [`FileRange`] come from. Kept open while an answer that names it is being sent.
pub trait FileSource: Send + Sync + Debug {
    /// The descriptor to `sendfile` from, or `None` if the bytes can only be read by [`FileSource::read_exact_at`].
    fn descriptor(&self) -> Option<BorrowedFd<'_>>;
    /// Fill `buffer` from `position` on.
    ///
    /// # Errors
    /// Those of the disk; `UnexpectedEof` if the file ends before the buffer is full.
    fn read_exact_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()>;
}

/// `len` bytes of a file from `position` on.
#[derive(Clone, Debug)]
pub struct FileRange {
    /// The file.
    pub source: Arc<dyn FileSource>,
    /// First byte.
    pub position: u64,
    /// Number of bytes.
    pub len: usize,
}

/// A piece of an answer.
#[derive(Clone, Debug)]
pub enum Chunk {
    /// Bytes in memory.
    Bytes(Bytes),
    /// Bytes that still lie in a file.
    File(FileRange),
}

impl Chunk {
    /// Number of bytes this piece adds to the answer.
    pub fn len(&self) -> usize {
        match self {
            Chunk::Bytes(bytes) => bytes.len(),
            Chunk::File(range) => range.len,
        }
    }

    /// Whether this piece adds nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl From<Bytes> for Chunk {
    fn from(bytes: Bytes) -> Chunk {
        Chunk::Bytes(bytes)
    }
}

impl From<FileRange> for Chunk {
    fn from(range: FileRange) -> Chunk {
        Chunk::File(range)
    }
}
