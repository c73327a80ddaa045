//! `trait Disk`: the only way to files, so that a test can put a disk beneath that forgets, tears and fails.
//!
//! [`OsDisk`] is the real one (the only file that names `std::fs` and rustix), [`SimDisk`] lives in memory. What is promised: bytes written are readable at
//! once; they survive a process that dies; only `sync_data` (bytes, length) and `sync_dir` (names) make them survive a power cut. A failed sync must
//! never be tried again: the kernel may have dropped the pages and marked them clean.

mod os;
mod sim;

use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use milena_protocol::file_range::FileSource;
use milena_protocol::types::Timestamp;

pub use os::{OsDisk, is_resident, read_resident};
pub use sim::{Crash, Fault, SimDisk};

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// Reading only; it must exist.
    Read,
    /// Reading and writing; it must exist.
    Write,
    /// Reading and writing; created if it is missing, its bytes stay.
    Create,
}

/// What a directory says about one of its entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// Whether it is a directory.
    pub is_dir: bool,
    /// Length in bytes.
    pub len: u64,
    /// Last change of the bytes, milliseconds since the epoch.
    pub modified: Timestamp,
}

/// An entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// File name; entries whose name is not UTF-8 are not listed.
    pub name: String,
    /// Whether it is a directory.
    pub is_dir: bool,
    /// Length in bytes (0 for a directory).
    pub len: u64,
}

/// Room on a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Size of the file system.
    pub total_bytes: u64,
    /// What this process may still write.
    pub usable_bytes: u64,
}

/// Files and directories.
pub trait Disk: Send + Sync + Debug {
    /// Open a file.
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn DiskFile>>;
    /// Give a file or directory another name; replaces a file of that name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Remove a file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Create a directory and those above it; it may exist.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Remove a directory with all that is in it.
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;
    /// The entries of a directory, ordered by name.
    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>>;
    /// About one file or directory; `NotFound` if there is none.
    fn metadata(&self, path: &Path) -> io::Result<Metadata>;
    /// Make the names in a directory survive a power cut.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Create `path` if needed and lock it exclusively; `WouldBlock` if somebody else holds it. Dropping the lock releases it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>>;
    /// Room on the disk that holds `path`.
    fn space(&self, path: &Path) -> io::Result<Space>;

    /// All bytes of a small file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let file = self.open(path, Open::Read)?;
        let mut bytes = vec![0; usize::try_from(file.len()?).map_err(io::Error::other)?];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }

    /// Replace a small file whole, by a file written beside it as `.tmp` and renamed. Survives a process that dies; a power cut only after the file
    /// and its directory were synced.
    fn replace_unsynced(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let temporary = temporary(path);
        let file = self.open(&temporary, Open::Create)?;
        file.truncate(0)?;
        file.write_all_at(bytes, 0)?;
        self.rename(&temporary, path)
    }

    /// Replace a small file whole: written beside it as `.tmp`, synced, renamed, directory synced. A crash leaves the old bytes or the new.
    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let temporary = temporary(path);
        let file = self.open(&temporary, Open::Create)?;
        file.truncate(0)?;
        file.write_all_at(bytes, 0)?;
        file.sync_data()?;
        drop(file);
        self.rename(&temporary, path)?;
        self.sync_dir(path.parent().unwrap_or(Path::new(".")))
    }
}

/// An open file. Positions are explicit: handles are shared.
pub trait DiskFile: FileSource {
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether it has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Write all of `bytes` at `position`; after an error any prefix of them may be there.
    fn write_all_at(&self, bytes: &[u8], position: u64) -> io::Result<()>;
    /// Cut or extend with zeros.
    fn truncate(&self, len: u64) -> io::Result<()>;
    /// Make bytes and length survive a power cut. Never call again after an error.
    fn sync_data(&self) -> io::Result<()>;
    /// Read up to `buffer.len()` bytes; fewer only at the end of the file.
    fn read_at_most(&self, buffer: &mut [u8], position: u64) -> io::Result<usize>;
}

/// A held lock of a directory.
pub trait DiskLock: Send + Sync + Debug {}

fn temporary(path: &Path) -> PathBuf {
    let mut temporary = path.to_owned();
    temporary.as_mut_os_string().push(".tmp");
    temporary
}
