//! Walks over the batches of a .log file: headers only, or whole batches with their checksums.
//!
//! Messages of magic 0 and 1, which an old log still has, are batches here that know little of themselves
//! ([`MessageView::as_batch_header`]). Reads in chunks, so that small batches cost no system call each. Bytes that are no batch end a walk with [`ScanError::Bad`], which says where; nothing
//! is allocated that the file could not fill.

use std::io;
use std::path::Path;

use milena_protocol::legacy::MessageView;
use milena_protocol::record_batch::{BATCH_HEADER_BYTES, BatchError, BatchHeader, BatchView};

use crate::disk::DiskFile;
use crate::error::{CorruptFile, DiskError, ReadError};

const HEADER_CHUNK_BYTES: u64 = 4096;
const BATCH_CHUNK_BYTES: usize = 1 << 20;

/// Why a walk ended early.
#[derive(Debug)]
pub(crate) enum ScanError {
    /// The disk failed.
    Disk(io::Error),
    /// The bytes from here on are no batch.
    Bad { position: u64, reason: String },
}

impl From<io::Error> for ScanError {
    fn from(error: io::Error) -> ScanError {
        ScanError::Disk(error)
    }
}

impl ScanError {
    pub(crate) fn at(self, path: &Path) -> ReadError {
        match self {
            ScanError::Disk(source) => DiskError { operation: "read", path: path.to_owned(), source }.into(),
            ScanError::Bad { position, reason } => CorruptFile { path: path.to_owned(), position, reason }.into(),
        }
    }
}

/// Headers of the batches in `position..limit`.
#[derive(Debug)]
pub(crate) struct HeaderScan<'a> {
    file: &'a dyn DiskFile,
    position: u64,
    limit: u64,
    buffer: Vec<u8>,
    buffer_position: u64,
}

impl<'a> HeaderScan<'a> {
    pub(crate) fn new(file: &'a dyn DiskFile, position: u64, limit: u64) -> HeaderScan<'a> {
        HeaderScan { file, position, limit, buffer: Vec::new(), buffer_position: position }
    }

    /// The next batch's position and header; `None` at the limit.
    pub(crate) fn next(&mut self) -> Result<Option<(u64, BatchHeader)>, ScanError> {
        let position = self.position;
        if position >= self.limit {
            return Ok(None);
        }
        if self.buffered(position).len() < BATCH_HEADER_BYTES {
            let len = (self.limit - position).min(HEADER_CHUNK_BYTES) as usize;
            self.buffer.resize(len, 0);
            let read = self.file.read_at_most(&mut self.buffer, position)?;
            self.buffer.truncate(read);
            self.buffer_position = position;
        }
        let header = header_of(self.buffered(position)).map_err(|error| bad(position, &error))?;
        let next = position + header.size_in_bytes() as u64;
        if next > self.limit {
            return Err(bad(position, "the batch reaches beyond the end of the file"));
        }
        if header.last_offset_delta < 0 || header.base_offset < 0 || header.last_offset() < header.base_offset {
            return Err(bad(position, "the batch has impossible offsets"));
        }
        self.position = next;
        Ok(Some((position, header)))
    }

    fn buffered(&self, position: u64) -> &[u8] {
        let skip = position.checked_sub(self.buffer_position).and_then(|skip| usize::try_from(skip).ok());
        skip.and_then(|skip| self.buffer.get(skip..)).unwrap_or_default()
    }
}

/// A whole batch with a right checksum.
#[derive(Debug)]
pub(crate) struct ScannedBatch<'a> {
    pub(crate) position: u64,
    pub(crate) header: BatchHeader,
    /// `None` for a message of magic 0 or 1.
    pub(crate) batch: Option<BatchView<'a>>,
}

/// Whole batches in `0..limit`, their checksums verified.
#[derive(Debug)]
pub(crate) struct BatchScan<'a> {
    file: &'a dyn DiskFile,
    limit: u64,
    /// Position of the next batch.
    position: u64,
    buffer: Vec<u8>,
    buffer_position: u64,
}

impl<'a> BatchScan<'a> {
    pub(crate) fn new(file: &'a dyn DiskFile, limit: u64) -> BatchScan<'a> {
        BatchScan { file, limit, position: 0, buffer: Vec::new(), buffer_position: 0 }
    }

    /// The next batch; `None` at the limit.
    pub(crate) fn next(&mut self) -> Result<Option<ScannedBatch<'_>>, ScanError> {
        let position = self.position;
        if position >= self.limit {
            return Ok(None);
        }
        self.fill(BATCH_HEADER_BYTES)?;
        let header = header_of(self.rest()).map_err(|error| bad(position, &error))?;
        let size = header.size_in_bytes();
        if size as u64 > self.limit - position {
            return Err(bad(position, "the batch reaches beyond the end of the file"));
        }
        self.fill(size)?;
        let skip = (position - self.buffer_position) as usize;
        let bytes = self.buffer.get(skip..).unwrap_or_default();
        let (batch, crc_is_valid) = match BatchView::parse(bytes) {
            Ok(batch) => (Some(batch), batch.crc_is_valid()),
            Err(BatchError::OldMagic { .. }) => {
                let message = MessageView::parse(bytes).map_err(|error| bad(position, &error))?;
                (None, message.crc_is_valid())
            }
            Err(error) => return Err(bad(position, &error)),
        };
        if !crc_is_valid {
            return Err(bad(position, "the batch has a wrong checksum"));
        }
        if header.last_offset_delta < 0 || header.base_offset < 0 || header.last_offset() < header.base_offset {
            return Err(bad(position, "the batch has impossible offsets"));
        }
        self.position = position + size as u64;
        Ok(Some(ScannedBatch { position, header, batch }))
    }

    fn rest(&self) -> &[u8] {
        let skip = (self.position - self.buffer_position) as usize;
        self.buffer.get(skip..).unwrap_or_default()
    }

    /// Have at least `needed` bytes at `position`, if the file has them.
    fn fill(&mut self, needed: usize) -> io::Result<()> {
        if self.rest().len() >= needed {
            return Ok(());
        }
        let skip = ((self.position - self.buffer_position) as usize).min(self.buffer.len());
        self.buffer.drain(..skip);
        self.buffer_position = self.position;
        let kept = self.buffer.len();
        let left = usize::try_from(self.limit - self.position).unwrap_or(usize::MAX);
        self.buffer.resize(needed.max(BATCH_CHUNK_BYTES).min(left).max(kept), 0);
        let read = self.file.read_at_most(&mut self.buffer[kept..], self.position + kept as u64)?;
        self.buffer.truncate(kept + read);
        Ok(())
    }
}

/// The header at the start of `bytes`; the branch for old messages lies behind the one that fails for today's batches.
fn header_of(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
    match BatchHeader::parse(bytes) {
        Err(BatchError::OldMagic { .. }) => MessageView::peek_batch_header(bytes),
        parsed => parsed,
    }
}

/// Headers of the whole batches of `bytes`.
pub(crate) fn headers(bytes: &[u8]) -> impl Iterator<Item = BatchHeader> {
    let mut position = 0;
    std::iter::from_fn(move || {
        let header = header_of(bytes.get(position..)?).ok()?;
        position += header.size_in_bytes();
        (position <= bytes.len()).then_some(header)
    })
}

fn bad(position: u64, reason: &(impl ToString + ?Sized)) -> ScanError {
    ScanError::Bad { position, reason: reason.to_string() }
}
