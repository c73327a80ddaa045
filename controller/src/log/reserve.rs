//! Room that the metadata log keeps for itself, so that a full disk can still be emptied: deleting a topic is a record, too.
//!
//! A file that holds nothing. When a write finds no room it is removed and the write tried again; while it is gone the controller refuses whatever makes the
//! metadata larger, and each refusal is an occasion to take the room back. It is not synced: after a crash it is filled again.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use milena_storage::disk::{Disk, Open};

const FILE: &str = "reserve";
/// Deletions of some ten thousand topics.
const RESERVE_BYTES: usize = if cfg!(test) { 4 << 10 } else { 1 << 20 };

/// Whether the reserve is gone: shared with whoever decides what may still be written.
#[derive(Debug, Default)]
pub(crate) struct Room(AtomicBool);

impl Room {
    /// Whether the log lives on its reserve.
    pub(crate) fn is_short(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

pub(super) struct Reserve {
    path: PathBuf,
    room: Arc<Room>,
    is_there: bool,
}

impl Reserve {
    pub(super) fn new(dir: &Path) -> Self {
        Self { path: dir.join(FILE), room: Arc::default(), is_there: false }
    }

    pub(super) fn room(&self) -> Arc<Room> {
        Arc::clone(&self.room)
    }

    /// Sets the room aside unless it is; where there is none, nothing of it stays.
    pub(super) fn refill(&mut self, disk: &dyn Disk) {
        if self.is_there {
            return;
        }
        let fill = || {
            let file = disk.open(&self.path, Open::Create)?;
            if file.len()? == RESERVE_BYTES as u64 { Ok(()) } else { file.write_all_at(&incompressible(), 0) }
        };
        let filled = fill();
        self.is_there = filled.is_ok();
        if let Err(error) = filled {
            // It was not there before, or not whole: the room it took in part is given back.
            let _ = disk.remove_file(&self.path);
            if !self.room.is_short() {
                tracing::warn!("No room for the metadata log's reserve {}: {error}", self.path.display());
            }
        } else if self.room.is_short() {
            tracing::info!("The metadata log has its reserve again: topics may be created");
        }
        self.room.0.store(!self.is_there, Ordering::Release);
    }

    /// Gives the room back to the disk; false if there is none to give.
    pub(super) fn release(&mut self, disk: &dyn Disk) -> bool {
        if !std::mem::take(&mut self.is_there) {
            return false;
        }
        self.room.0.store(true, Ordering::Release);
        tracing::error!(
            "The disk of the metadata log is full: it lives on its reserve, and only what makes no metadata or makes room is done"
        );
        disk.remove_file(&self.path).is_ok()
    }
}

/// Bytes that no file system makes smaller.
fn incompressible() -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..RESERVE_BYTES / 8).flat_map(|_| next()).collect()
}
