//! The metadata log's recovery as a fuzz target sees it: bytes of files in, what was found out.

use std::path::Path;
use std::sync::Arc;

use milena_storage::disk::Disk;

use crate::log::frame::{Entry, Frame, LogId, Payload};
use crate::log::segments::Segments;
use crate::log::{segments::MetadataLogError, snapshot};

const SEGMENT_BYTES: u64 = 4096;

/// Opens the log and the newest snapshot in `dir` and says what they hold. Opening may have repaired the files.
///
/// # Errors
/// What is damaged.
pub fn recover(disk: &Arc<dyn Disk>, dir: &Path) -> Result<String, MetadataLogError> {
    let (_, view) = Segments::open(Arc::clone(disk), dir, SEGMENT_BYTES)?;
    let snapshot = match snapshot::recover(disk.as_ref(), dir)? {
        Some(last) => Some(snapshot::read(disk.as_ref(), dir, last)?),
        None => None,
    };
    Ok(format!("{view:?} {snapshot:?}"))
}

/// Appends entries with these records to the log in `dir`, synced, and writes a snapshot up to the last one.
///
/// # Errors
/// What is damaged.
pub fn write(disk: &Arc<dyn Disk>, dir: &Path, records: &[Vec<u8>]) -> Result<(), MetadataLogError> {
    let (mut log, view) = Segments::open(Arc::clone(disk), dir, SEGMENT_BYTES)?;
    let mut last = view.last().unwrap_or(LogId { term: 1, index: 0 });
    for records in records {
        last.index += 1;
        let payload = Payload::Records(records.clone().into());
        log.write(&[Frame::Entry(Entry { id: last, payload }), Frame::Committed(Some(last))])?;
        log.sync()?;
    }
    let records = records.iter().map(|records| records.clone().into()).collect();
    let image = snapshot::Snapshot {
        last,
        membership: bytes::Bytes::from_static(b"membership"),
        membership_at: None,
        offset: last.index as i64,
        records,
    };
    snapshot::write(disk.as_ref(), dir, &image)
}

/// Makes the checksums of the frames in file number `file` right, as far as they follow each other.
pub fn fix_checksums(file: u64, bytes: &mut [u8]) {
    crate::log::frame::fix_checksums(file, bytes);
}
