//! Making a log survive a power cut, outside its append lock.
//!
//! A [`SyncHandle`] is taken under the lock and knows which files hold bytes that were not synced yet; it runs anywhere; what it proves comes back to the log as
//! [`Synced`], and the recovery point moves. Many handles may run at once. An error is final: the kernel may have dropped the pages it could not
//! write and marked them clean, so that a second try would succeed and prove nothing.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use milena_protocol::types::Offset;

use crate::disk::Open;
use crate::error::DiskError;
use crate::segment::{Place, Segment};

/// Files that a log has written and not synced, apart from the active segment.
#[derive(Debug, Default)]
pub(crate) struct UnsyncedFiles {
    /// Closed segments with their indexes.
    segments: Vec<Arc<Segment>>,
    /// Snapshots, epochs, partition metadata.
    paths: BTreeSet<PathBuf>,
    /// Grows with each change of a name in the directory.
    names_version: u64,
    names_synced: u64,
}

impl UnsyncedFiles {
    pub(crate) fn add_segment(&mut self, segment: &Arc<Segment>) {
        self.segments.push(Arc::clone(segment));
        self.add_name();
    }

    pub(crate) fn add_path(&mut self, path: PathBuf) {
        self.paths.insert(path);
        self.add_name();
    }

    /// A file was created, renamed or removed.
    pub(crate) fn add_name(&mut self) {
        self.names_version += 1;
    }

    pub(crate) fn forget_path(&mut self, path: &PathBuf) {
        self.paths.remove(path);
    }

    pub(crate) fn forget_segment(&mut self, segment: &Arc<Segment>) {
        self.segments.retain(|other| !Arc::ptr_eq(other, segment));
    }

    pub(crate) fn clear(&mut self) {
        *self = UnsyncedFiles::default();
    }

    pub(crate) fn handle(
        &self,
        place: &Arc<Place>,
        active: Option<&Arc<Segment>>,
        up_to: Offset,
        truncations: u64,
    ) -> SyncHandle {
        SyncHandle {
            place: Arc::clone(place),
            active: active.map(Arc::clone),
            covered: Covered {
                up_to,
                truncations,
                segments: self.segments.clone(),
                paths: self.paths.iter().cloned().collect(),
                names_version: self.names_version,
            },
            sync_names: self.names_version != self.names_synced,
        }
    }

    pub(crate) fn on_synced(&mut self, synced: &Synced) {
        let Covered { segments, paths, names_version, .. } = &synced.0;
        self.segments.retain(|segment| !segments.iter().any(|synced| Arc::ptr_eq(synced, segment)));
        if self.names_version == *names_version {
            for path in paths {
                self.paths.remove(path);
            }
        }
        self.names_synced = self.names_synced.max(*names_version);
    }
}

#[derive(Debug)]
struct Covered {
    up_to: Offset,
    truncations: u64,
    segments: Vec<Arc<Segment>>,
    paths: Vec<PathBuf>,
    names_version: u64,
}

/// A sync that can run outside the append lock. See [`crate::Log::sync_handle`].
#[derive(Debug)]
pub struct SyncHandle {
    place: Arc<Place>,
    active: Option<Arc<Segment>>,
    covered: Covered,
    sync_names: bool,
}

/// Proof that a sync succeeded, for [`crate::Log::on_synced`].
#[derive(Debug)]
pub struct Synced(Covered);

impl SyncHandle {
    /// End of what the sync will cover, exclusive.
    pub fn up_to(&self) -> Offset {
        self.covered.up_to
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.active.is_none() && self.covered.segments.is_empty() && self.covered.paths.is_empty() && !self.sync_names
    }

    /// fdatasync what was written below [`SyncHandle::up_to`] and not synced yet: one call if only the active segment was appended to.
    ///
    /// # Errors
    /// The disk refused. The log dir is to go offline; never sync again. Only what could not be opened for want of descriptors may be tried again:
    /// its operation is "open", it [`DiskError::is_full`], and nothing failed that was promised.
    pub fn sync(self) -> Result<Synced, DiskError> {
        for segment in &self.covered.segments {
            unless_gone(segment.sync(true))?;
        }
        if let Some(active) = &self.active {
            unless_gone(active.sync(false))?;
        }
        let disk = self.place.disk();
        for path in &self.covered.paths {
            let file = disk.open(path, Open::Write).map_err(DiskError::new("open", path));
            unless_gone(file.and_then(|file| file.sync_data().map_err(DiskError::new("sync", path))))?;
        }
        if self.sync_names {
            let dir = self.place.dir();
            unless_gone(disk.sync_dir(&dir).map_err(DiskError::new("sync", &dir)))?;
            if let Some(parent) = dir.parent() {
                disk.sync_dir(parent).map_err(DiskError::new("sync", parent))?;
            }
        }
        Ok(Synced(self.covered))
    }
}

/// The topic may have been deleted, or retention have removed the file, after the handle was taken.
fn unless_gone(result: Result<(), DiskError>) -> Result<(), DiskError> {
    result.or_else(|error| if error.source.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

impl Synced {
    /// Everything below is on stable storage.
    pub fn up_to(&self) -> Offset {
        self.0.up_to
    }

    pub(crate) fn truncations(&self) -> u64 {
        self.0.truncations
    }
}
