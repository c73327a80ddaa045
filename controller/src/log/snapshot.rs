//! The newest image of the metadata as a file: a head, records in chunks, an end.
//!
//! Promise: a snapshot that `write` returned from is found by `recover` after any crash; one that was not finished is never found. The name carries index
//! and term of the last entry in it, so that the newest one is the last in the order of names. Older ones go once a newer one is durable.

use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use milena_storage::disk::Disk;

use super::{
    frame::{self, Frame, LogId},
    segments::{MetadataLogError, failed},
};

const SUFFIX: &str = ".image";

/// Everything up to `last`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub(crate) last: LogId,
    pub(crate) membership: Bytes,
    pub(crate) membership_at: Option<LogId>,
    /// Offset of the image.
    pub(crate) offset: i64,
    /// Encoded records, in chunks that can be read one by one.
    pub(crate) records: Vec<Bytes>,
}

impl Snapshot {
    /// The file of this snapshot.
    pub(crate) fn encode(&self) -> Bytes {
        let file = self.last.index;
        let mut buffer = BytesMut::new();
        let head = Frame::SnapshotHead {
            last: self.last,
            membership: self.membership.clone(),
            membership_at: self.membership_at,
            offset: self.offset,
        };
        head.encode(file, 0, 0, &mut buffer);
        for records in &self.records {
            Frame::SnapshotRecords(records.clone()).encode(file, 0, 0, &mut buffer);
        }
        Frame::SnapshotEnd(1 + self.records.len() as u64).encode(file, 0, 0, &mut buffer);
        buffer.freeze()
    }

    /// A snapshot as `encode` wrote it, whole; the error is the position of the first byte that is not.
    pub(crate) fn decode(last: LogId, bytes: &Bytes) -> Result<Self, u64> {
        let mut snapshot = None;
        let (mut frames, mut position) = (0, 0);
        while let Some(found) = frame::decode(last.index, bytes, position) {
            match (found.frame, &mut snapshot) {
                (Frame::SnapshotHead { last: id, membership, membership_at, offset }, None) if id == last => {
                    snapshot = Some(Self { last, membership, membership_at, offset, records: Vec::new() });
                }
                (Frame::SnapshotRecords(records), Some(snapshot)) => snapshot.records.push(records),
                (Frame::SnapshotEnd(count), Some(_)) if count == frames && found.end == bytes.len() => {
                    return snapshot.ok_or(position as u64);
                }
                _ => break,
            }
            frames += 1;
            position = found.end;
        }
        Err(position as u64)
    }
}

/// Makes `snapshot` the newest one in `dir`; older ones are removed once it is durable.
pub(crate) fn write(disk: &dyn Disk, dir: &Path, snapshot: &Snapshot) -> Result<(), MetadataLogError> {
    let path = path_of(dir, snapshot.last);
    disk.replace(&path, &snapshot.encode()).map_err(failed("write", &path))?;
    remove_others(disk, dir, Some(snapshot.last))
}

/// Which snapshot in `dir` is the newest, at a start. Remains of unfinished ones are removed, and its name is made durable: the process that wrote it
/// may have died before it could.
pub(crate) fn recover(disk: &dyn Disk, dir: &Path) -> Result<Option<LogId>, MetadataLogError> {
    let newest = names(disk, dir)?.iter().filter_map(|name| id_of(name)).max_by_key(|id| id.index);
    if newest.is_some() {
        disk.sync_dir(dir).map_err(failed("sync", dir))?;
    }
    remove_others(disk, dir, newest)?;
    Ok(newest)
}

/// The snapshot that ends with `last`.
pub(crate) fn read(disk: &dyn Disk, dir: &Path, last: LogId) -> Result<Snapshot, MetadataLogError> {
    let path = path_of(dir, last);
    let bytes = Bytes::from(disk.read(&path).map_err(failed("read", &path))?);
    Snapshot::decode(last, &bytes).map_err(|position| MetadataLogError::Damaged { path, position })
}

fn remove_others(disk: &dyn Disk, dir: &Path, keep: Option<LogId>) -> Result<(), MetadataLogError> {
    for name in names(disk, dir)? {
        let older = id_of(&name).is_some_and(|id| Some(id) != keep && Some(id.index) <= keep.map(|keep| keep.index));
        if older || name.ends_with(".image.tmp") {
            let path = dir.join(name);
            disk.remove_file(&path).map_err(failed("remove", &path))?;
        }
    }
    Ok(())
}

fn names(disk: &dyn Disk, dir: &Path) -> Result<Vec<String>, MetadataLogError> {
    Ok(disk.read_dir(dir).map_err(failed("list", dir))?.into_iter().map(|entry| entry.name).collect())
}

fn path_of(dir: &Path, last: LogId) -> PathBuf {
    dir.join(format!("{:020}-{:010}{SUFFIX}", last.index, last.term))
}

fn id_of(name: &str) -> Option<LogId> {
    let (index, term) = name.strip_suffix(SUFFIX)?.split_once('-')?;
    Some(LogId { term: term.parse().ok()?, index: index.parse().ok()? })
}
