//! The `.snapshot` files of a partition directory: which one producer state starts from, and which ones go.
//!
//! A snapshot that cannot be read is removed and the one before it taken: it only saves work. Source: `ProducerStateManager`.

use std::collections::BTreeSet;
use std::sync::Arc;

use milena_protocol::types::Offset;

use super::Loader;
use super::fits::producers_fit;
use crate::error::{DiskError, StorageError};
use crate::producer_state::ProducerState;
use crate::segment::{SNAPSHOT, Segment};
use crate::snapshot;

impl Loader<'_> {
    pub(super) fn write_snapshot(&mut self, producers: &ProducerState, offset: Offset) -> Result<(), DiskError> {
        self.names_changed = true;
        self.write_whole(&self.place.path(offset, SNAPSHOT), &snapshot::encode(producers))
    }

    /// Remove the snapshots above `offset`.
    pub(super) fn drop_snapshots(&mut self, snapshots: &mut BTreeSet<Offset>, offset: Offset) -> Result<(), DiskError> {
        for above in snapshots.extract_if(offset.., |&at| at > offset).collect::<Vec<_>>() {
            self.remove(&snapshot_name(above))?;
        }
        Ok(())
    }

    /// State and offset of the newest snapshot not above `offset` that can be read and is of this log; others are removed.
    pub(super) fn newest_snapshot(
        &mut self,
        snapshots: &mut BTreeSet<Offset>,
        offset: Offset,
        segments: &[Arc<Segment>],
    ) -> Result<(ProducerState, Offset), StorageError> {
        let expiration_ms = self.open.producer_id_expiration_ms;
        let expired_before = self.open.now.saturating_sub(expiration_ms);
        while let Some(&newest) = snapshots.range(..=offset).next_back() {
            let path = self.place.path(newest, SNAPSHOT);
            let bytes = self.place.disk().read(&path).map_err(DiskError::new("read", &path))?;
            if let Ok(entries) = snapshot::decode(&bytes)
                && producers_fit(&entries, segments, newest, expired_before)?
            {
                return Ok((ProducerState::from_snapshot(entries, self.open.now, expiration_ms), newest));
            }
            snapshots.remove(&newest);
            self.remove(&snapshot_name(newest))?;
        }
        Ok((ProducerState::default(), 0))
    }

    /// Keep the snapshots at the segments' beginnings and the newest one.
    pub(super) fn remove_stray_snapshots(
        &mut self,
        snapshots: &mut BTreeSet<Offset>,
        segments: &[Arc<Segment>],
    ) -> Result<(), DiskError> {
        let newest = snapshots.last().copied();
        let is_stray = |offset: Offset| {
            Some(offset) != newest && segments.binary_search_by_key(&offset, |segment| segment.base_offset()).is_err()
        };
        for offset in snapshots.extract_if(.., |&offset| is_stray(offset)).collect::<Vec<_>>() {
            self.remove(&snapshot_name(offset))?;
        }
        Ok(())
    }
}

pub(super) fn snapshot_name(offset: Offset) -> String {
    format!("{offset:020}{SNAPSHOT}")
}
