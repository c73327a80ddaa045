//! What a stop in the middle of a change of files left in a partition directory.
//!
//! ```text
//! .deleted .tmp .cleaned   removed
//! .swap                    the new segment is whole: it replaces what it covers, unless a .cleaned file of the same split is still there
//! ```
//!
//! Only names change and only whole files go; stopping in the middle and beginning again ends the same. Source: `LogLoader.load`,
//! `removeTempFilesAndCollectSwapFiles`.

use milena_protocol::types::Offset;

use super::{Loader, parse_offset};
use crate::disk::{DirEntry, Open};
use crate::error::{DiskError, StorageError};
use crate::scan::HeaderScan;
use crate::segment::{DELETED, INDEX, LOG, TIME_INDEX, TRANSACTION_INDEX};

const CLEANED: &str = ".cleaned";
const SWAP: &str = ".swap";
const TEMPORARY: &str = ".tmp";

impl Loader<'_> {
    /// Deletions go on, half-made files go, a compaction that got as far as `.swap` is finished. Answers the directory's listing.
    pub(super) fn finish_interrupted_work(&mut self) -> Result<Vec<DirEntry>, StorageError> {
        let mut listing = self.list()?;
        let is_leftover = |name: &str| [DELETED, CLEANED, TEMPORARY].iter().any(|suffix| name.ends_with(suffix));
        let cleaned = listing.iter().filter(|entry| entry.name.ends_with(CLEANED));
        let first_cleaned = cleaned.filter_map(|entry| base_offset_of(&entry.name)).min();
        let mut leftovers: Vec<String> =
            listing.iter().filter(|entry| is_leftover(&entry.name)).map(|entry| entry.name.clone()).collect();
        let mut swaps: Vec<&DirEntry> = listing.iter().filter(|entry| entry.name.ends_with(SWAP)).collect();
        if let Some(first_cleaned) = first_cleaned {
            // A swap at or behind a file that is still being cleaned belongs to the same unfinished split.
            let (unfinished, finished): (Vec<&DirEntry>, Vec<&DirEntry>) = swaps
                .into_iter()
                .partition(|entry| base_offset_of(&entry.name).is_none_or(|base| base >= first_cleaned));
            leftovers.extend(unfinished.into_iter().map(|entry| entry.name.clone()));
            swaps = finished;
        }
        let swaps: Vec<String> = swaps.into_iter().map(|entry| entry.name.clone()).collect();
        for name in &leftovers {
            self.remove(name)?;
        }
        if !swaps.is_empty() {
            self.finish_swaps(&swaps, &listing)?;
        }
        if !leftovers.is_empty() || !swaps.is_empty() {
            listing = self.list()?;
        }
        Ok(listing)
    }

    fn finish_swaps(&mut self, swaps: &[String], listing: &[DirEntry]) -> Result<(), StorageError> {
        let mut replaced: Option<(Offset, Offset)> = None;
        for name in swaps.iter().filter(|name| name.strip_suffix(SWAP).is_some_and(|name| name.ends_with(LOG))) {
            let Some(base) = base_offset_of(name) else { continue };
            let path = self.open.dir.join(name);
            let open = || {
                let file = self.place.disk().open(&path, Open::Read)?;
                let len = file.len()?;
                Ok((file, len))
            };
            let (file, len) = open().map_err(DiskError::new("open", &path))?;
            let mut end = base;
            let mut scan = HeaderScan::new(&*file, 0, len);
            while let Some((_, header)) = scan.next().map_err(|error| error.at(&path))? {
                end = header.next_offset();
            }
            let (first, last) = replaced.unwrap_or((base, end));
            replaced = Some((first.min(base), last.max(end)));
        }
        if let Some((first, end)) = replaced {
            for entry in listing.iter().filter(|entry| !swaps.contains(&entry.name)) {
                let is_segment_file =
                    [LOG, INDEX, TIME_INDEX, TRANSACTION_INDEX].iter().any(|suffix| entry.name.ends_with(suffix));
                if is_segment_file && base_offset_of(&entry.name).is_some_and(|base| (first..end).contains(&base)) {
                    self.remove(&entry.name)?;
                }
            }
        }
        for name in swaps {
            let (from, to) = (self.open.dir.join(name), self.open.dir.join(name.strip_suffix(SWAP).unwrap_or(name)));
            self.names_changed = true;
            self.place.disk().rename(&from, &to).map_err(DiskError::new("rename", &from))?;
        }
        Ok(())
    }
}

fn base_offset_of(name: &str) -> Option<Offset> {
    name.split('.').next().and_then(parse_offset)
}
