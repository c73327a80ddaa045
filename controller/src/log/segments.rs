//! The segments of the metadata log: append frames, sync, roll, drop what was purged, recover.
//!
//! Promise: after `sync` returned, everything written before it is found again by `open`, in order, whatever the crash; nothing is found that was not
//! written; a broken place that had been durable makes `open` refuse. Absent: threads, batching (`queue` does both) and what entries mean.

use std::{
    collections::VecDeque,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::{Bytes, BytesMut};
use milena_storage::disk::{Disk, DiskFile, Open};

use super::{
    frame::{self, Entry, Frame, LogId, Marks},
    reserve::{Reserve, Room},
};

const SUFFIX: &str = ".frames";

/// Why the metadata log cannot be opened or written.
#[derive(Debug, thiserror::Error)]
pub enum MetadataLogError {
    /// The disk answered with an error.
    #[error("{action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the disk said.
        source: io::Error,
    },
    /// Bytes that had been durable cannot be read any more.
    #[error("the metadata log is damaged at byte {position} of {}, where acknowledged metadata was written; restore the disk or remove the whole data directory", path.display())]
    Damaged {
        /// The damaged file.
        path: PathBuf,
        /// First byte of the first unreadable frame.
        position: u64,
    },
    /// A file in the middle of the sequence is gone.
    #[error("the metadata log lacks {}", path.display())]
    Missing {
        /// The missing file.
        path: PathBuf,
    },
    /// Frames that are valid one by one contradict each other.
    #[error("the metadata log contradicts itself in {}: {reason}", path.display())]
    Contradiction {
        /// The file of the second frame.
        path: PathBuf,
        /// What contradicts what.
        reason: String,
    },
}

impl MetadataLogError {
    /// Whether only room is wanted, or a descriptor.
    fn is_full(&self) -> bool {
        let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded, io::ErrorKind::FileTooLarge];
        // EMFILE and ENFILE have no kind of their own: without a descriptor there is no next segment, but nothing is broken.
        let Self::Io { source, .. } = self else { return false };
        full.contains(&source.kind()) || matches!(source.raw_os_error(), Some(23 | 24))
    }
}

/// Everything the log holds, as readers see it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) marks: Marks,
    /// Consecutive by index.
    pub(crate) entries: VecDeque<Entry>,
}

impl View {
    /// The last entry, or the last purged one if there is none behind it.
    pub(crate) fn last(&self) -> Option<LogId> {
        self.entries.back().map(|entry| entry.id).or(self.marks.purged)
    }

    /// Takes a frame as a fact; the error says why it cannot follow on what is there.
    pub(crate) fn apply(&mut self, frame: Frame) -> Result<(), String> {
        match frame {
            // A segment repeats the marks, it does not change them; the first one of all sets them.
            Frame::Segment(marks) => self.marks = marks,
            Frame::Vote(vote) => self.marks.vote = Some(vote),
            Frame::Entry(entry) => {
                let follows = match (self.entries.back(), self.marks.purged) {
                    (Some(last), _) => entry.id.index == last.id.index + 1,
                    // What stood between may have gone with the segment that held it; the purge that allowed it comes later in the stream.
                    (None, Some(purged)) => entry.id.index > purged.index,
                    (None, None) => true,
                };
                if !follows {
                    return Err(format!("entry {} follows entry {:?}", entry.id.index, self.last()));
                }
                self.entries.push_back(entry);
            }
            Frame::Truncate(after) => {
                while self.entries.back().is_some_and(|entry| after.is_none_or(|after| entry.id.index > after.index)) {
                    self.entries.pop_back();
                }
            }
            Frame::Purge(up_to) => {
                while self.entries.front().is_some_and(|entry| entry.id.index <= up_to.index) {
                    self.entries.pop_front();
                }
                self.marks.purged = self.marks.purged.max(Some(up_to));
            }
            Frame::Committed(id) => self.marks.committed = id,
            Frame::Closed => {}
            Frame::SnapshotHead { .. } | Frame::SnapshotRecords(_) | Frame::SnapshotEnd(_) => {
                return Err("a frame of a snapshot stands in the log".to_owned());
            }
        }
        Ok(())
    }

    /// The log has no holes: its first entry stands right behind what was purged.
    pub(crate) fn check(&self) -> Result<(), String> {
        match (self.marks.purged, self.entries.front()) {
            (Some(purged), Some(first)) if first.id.index != purged.index + 1 => {
                Err(format!("the entries between {} and {} are gone", purged.index, first.id.index))
            }
            _ => Ok(()),
        }
    }

    /// The committed hint, but never behind what is there: it may have been written for entries that a crash took.
    pub(crate) fn committed(&self) -> Option<LogId> {
        self.marks.committed.min(self.last())
    }
}

struct Segment {
    number: u64,
    /// Highest index of an entry in it; entries that were withdrawn since count, too, which only keeps the segment longer.
    index_max: Option<u64>,
}

/// The writing end of the log.
pub(crate) struct Segments {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    segment_bytes: u64,
    /// Oldest first; the last one is written to.
    chain: VecDeque<Segment>,
    file: Arc<dyn DiskFile>,
    position: u64,
    synced: u64,
    marks: Marks,
    reserve: Reserve,
    /// After an error nobody knows what the file holds, and an error of a sync is never retried (fsyncgate).
    broken: bool,
}

impl Segments {
    /// Opens the log in `dir`, or creates it. What is returned is durable.
    pub(crate) fn open(disk: Arc<dyn Disk>, dir: &Path, segment_bytes: u64) -> Result<(Self, View), MetadataLogError> {
        disk.create_dir_all(dir).map_err(failed("create", dir))?;
        let mut view = View::default();
        let (chain, tail) = recover(disk.as_ref(), dir, &mut view)?;
        let (chain, file, position) = if let Some(active) = chain.back() {
            let path = segment_path(dir, active.number);
            let file = disk.open(&path, Open::Write).map_err(failed("open", &path))?;
            if tail.torn {
                file.truncate(tail.end).map_err(failed("cut", &path))?;
            }
            // What was read may have come from the page cache of a killed process: make it durable before anybody acts on it.
            if tail.torn || !tail.closed {
                file.sync_data().map_err(failed("sync", &path))?;
            }
            if tail.only_header {
                disk.sync_dir(dir).map_err(failed("sync", dir))?;
            }
            (chain, file, tail.end)
        } else {
            // The directory's own name must survive, too.
            let parent = dir.parent().unwrap_or(dir);
            disk.sync_dir(parent).map_err(failed("sync", parent))?;
            let (file, position) = create_segment(disk.as_ref(), dir, 0, view.marks)?;
            (VecDeque::from([Segment { number: 0, index_max: None }]), file, position)
        };
        let marks = view.marks;
        let mut reserve = Reserve::new(dir);
        reserve.refill(&*disk);
        let dir = dir.to_owned();
        let log =
            Self { disk, dir, segment_bytes, chain, file, position, synced: position, marks, reserve, broken: false };
        Ok((log, view))
    }

    /// Whether the reserve is whole; kept up to date while the log lives.
    pub(crate) fn room(&self) -> Arc<Room> {
        self.reserve.room()
    }

    /// Takes back the reserve that a full disk made this log use, if there is room again.
    pub(crate) fn refill_reserve(&mut self) {
        self.reserve.refill(&*self.disk);
    }

    /// Writes frames behind those that are there; they are durable after the next `sync`.
    pub(crate) fn write(&mut self, frames: &[Frame]) -> Result<(), MetadataLogError> {
        self.guarded(|log| log.try_write(frames))
    }

    /// Makes everything written so far durable.
    pub(crate) fn sync(&mut self) -> Result<(), MetadataLogError> {
        self.guarded(Self::try_sync)
    }

    /// Deletes the segments that hold only purged entries. The purge itself must be durable.
    pub(crate) fn drop_purged_segments(&mut self) -> Result<(), MetadataLogError> {
        self.guarded(|log| {
            while log.chain.len() > 1
                && let Some(oldest) = log.chain.front()
                && oldest.index_max <= log.marks.purged.map(|id| id.index)
            {
                // One at a time, each durable, so that a crash leaves no gap in the sequence.
                remove(log.disk.as_ref(), &log.dir, &segment_path(&log.dir, oldest.number))?;
                log.chain.pop_front();
            }
            Ok(())
        })
    }

    fn guarded(
        &mut self,
        action: impl FnOnce(&mut Self) -> Result<(), MetadataLogError>,
    ) -> Result<(), MetadataLogError> {
        if self.broken {
            let source = io::Error::other("an earlier error left the metadata log in an unknown state");
            return Err(MetadataLogError::Io { action: "write", path: self.active_path(), source });
        }
        let result = action(self);
        self.broken = result.is_err();
        result
    }

    fn try_write(&mut self, frames: &[Frame]) -> Result<(), MetadataLogError> {
        // A segment may become longer than it should while there is no room for the next one.
        if self.position >= self.segment_bytes
            && let Err(error) = self.roll()
            && !(error.is_full() && self.room().is_short())
        {
            return Err(error);
        }
        let active = self.chain.back_mut().expect("there is always an active segment");
        let mut buffer = BytesMut::new();
        for frame in frames {
            frame.encode(active.number, self.position, self.synced, &mut buffer);
            match frame {
                Frame::Vote(vote) => self.marks.vote = Some(*vote),
                Frame::Entry(entry) => active.index_max = active.index_max.max(Some(entry.id.index)),
                Frame::Committed(id) => self.marks.committed = *id,
                Frame::Purge(id) => self.marks.purged = self.marks.purged.max(Some(*id)),
                _ => {}
            }
        }
        let path = self.active_path();
        if let Err(error) = self.file.write_all_at(&buffer, self.position).map_err(failed("write", &path)) {
            // What the reserve gives back is what this write needs; the part that was written is written over.
            if !error.is_full() || !self.reserve.release(&*self.disk) {
                return Err(error);
            }
            self.file.write_all_at(&buffer, self.position).map_err(failed("write", &path))?;
        }
        self.position += buffer.len() as u64;
        Ok(())
    }

    fn try_sync(&mut self) -> Result<(), MetadataLogError> {
        if self.synced < self.position {
            self.file.sync_data().map_err(failed("sync", &self.active_path()))?;
            self.synced = self.position;
        }
        Ok(())
    }

    fn roll(&mut self) -> Result<(), MetadataLogError> {
        self.try_sync()?;
        let number = self.active_number() + 1;
        let (file, position) = match create_segment(self.disk.as_ref(), &self.dir, number, self.marks) {
            Err(error) if error.is_full() => {
                // Half a segment would be taken for one that was never used, which is right only for the last one.
                let path = segment_path(&self.dir, number);
                match self.disk.remove_file(&path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        return Err(failed("remove", &path)(error));
                    }
                    _ => {}
                }
                self.reserve.release(&*self.disk);
                return Err(error);
            }
            created => created?,
        };
        self.chain.push_back(Segment { number, index_max: None });
        self.file = file;
        self.position = position;
        self.synced = position;
        Ok(())
    }

    fn active_number(&self) -> u64 {
        self.chain.back().expect("there is always an active segment").number
    }

    fn active_path(&self) -> PathBuf {
        segment_path(&self.dir, self.active_number())
    }
}

/// Where the valid frames of the last segment end, and how.
#[derive(Default)]
struct Tail {
    end: u64,
    /// Bytes behind the end must be cut.
    torn: bool,
    /// The last frame says that all before it are durable.
    closed: bool,
    only_header: bool,
}

/// Reads all segments into `view`, oldest first. A last segment that was never used is removed.
fn recover(disk: &dyn Disk, dir: &Path, view: &mut View) -> Result<(VecDeque<Segment>, Tail), MetadataLogError> {
    let numbers = segment_numbers(disk, dir)?;
    let mut chain = VecDeque::new();
    let mut tail = Tail::default();
    for (place, number) in numbers.iter().copied().enumerate() {
        let path = segment_path(dir, number);
        let is_last = place + 1 == numbers.len();
        if place > 0 && numbers.get(place - 1) != Some(&(number - 1)) {
            return Err(MetadataLogError::Missing { path: segment_path(dir, number - 1) });
        }
        let bytes = Bytes::from(disk.read(&path).map_err(failed("read", &path))?);
        let mut segment = Segment { number, index_max: None };
        let found = read_segment(&path, &bytes, &mut segment, view)?;
        let damaged = || MetadataLogError::Damaged { path: path.clone(), position: found.end };
        // A segment is synced whole before the next one is created, so only the last one may have a torn tail.
        if found.torn && (!is_last || frame::was_durable(number, &bytes, found.end as usize)) {
            return Err(damaged());
        }
        if found.end > 0 {
            if found.torn {
                tracing::info!("Cutting {} torn bytes from {}", bytes.len() as u64 - found.end, path.display());
            }
            chain.push_back(segment);
            tail = found;
        } else if is_last && (!chain.is_empty() || number == 0) {
            // Its header never became durable, so nothing was written to it.
            remove(disk, dir, &path)?;
        } else {
            return Err(damaged());
        }
    }
    view.check().map_err(|reason| MetadataLogError::Contradiction { path: dir.to_owned(), reason })?;
    Ok((chain, tail))
}

/// Applies the frames of a segment to `view`, as far as they are valid.
fn read_segment(path: &Path, bytes: &Bytes, segment: &mut Segment, view: &mut View) -> Result<Tail, MetadataLogError> {
    let contradiction = |reason: String| MetadataLogError::Contradiction { path: path.to_owned(), reason };
    let mut position = 0;
    let mut tail = Tail::default();
    while let Some(found) = frame::decode(segment.number, bytes, position) {
        tail.only_header = matches!(found.frame, Frame::Segment(_));
        if tail.only_header != (position == 0) {
            return Err(contradiction("a segment has exactly one header, at its start".to_owned()));
        }
        if let Frame::Entry(entry) = &found.frame {
            segment.index_max = segment.index_max.max(Some(entry.id.index));
        }
        tail.closed = matches!(found.frame, Frame::Closed) && found.synced == position as u64;
        view.apply(found.frame).map_err(contradiction)?;
        position = found.end;
    }
    tail.end = position as u64;
    tail.torn = position < bytes.len();
    Ok(tail)
}

fn segment_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:020}{SUFFIX}"))
}

fn segment_numbers(disk: &dyn Disk, dir: &Path) -> Result<Vec<u64>, MetadataLogError> {
    let entries = disk.read_dir(dir).map_err(failed("list", dir))?;
    let mut numbers: Vec<u64> =
        entries.iter().filter_map(|entry| entry.name.strip_suffix(SUFFIX)?.parse().ok()).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

fn create_segment(
    disk: &dyn Disk,
    dir: &Path,
    number: u64,
    marks: Marks,
) -> Result<(Arc<dyn DiskFile>, u64), MetadataLogError> {
    let path = segment_path(dir, number);
    let mut header = BytesMut::new();
    Frame::Segment(marks).encode(number, 0, 0, &mut header);
    let file = disk.open(&path, Open::Create).map_err(failed("create", &path))?;
    file.write_all_at(&header, 0).map_err(failed("write", &path))?;
    file.sync_data().map_err(failed("sync", &path))?;
    disk.sync_dir(dir).map_err(failed("sync", dir))?;
    Ok((file, header.len() as u64))
}

fn remove(disk: &dyn Disk, dir: &Path, path: &Path) -> Result<(), MetadataLogError> {
    disk.remove_file(path).map_err(failed("remove", path))?;
    disk.sync_dir(dir).map_err(failed("sync", dir))
}

/// Names the file and what was tried in an error of the disk.
pub(super) fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> MetadataLogError {
    move |source| MetadataLogError::Io { action, path: path.to_owned(), source }
}
