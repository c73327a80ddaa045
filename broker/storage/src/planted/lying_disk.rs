//! A disk that says it has done what it has not: the bugs of whoever writes, in one place.

use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use milena_protocol::file_range::FileSource;

use super::{Bug, is};
use crate::disk::{DirEntry, Disk, DiskFile, DiskLock, Metadata, Open, Space};

/// How long after its acknowledgement a write happens.
const LATER: Duration = Duration::from_millis(5);

#[derive(Debug)]
pub(super) struct LyingDisk(pub(super) Arc<dyn Disk>);

impl Disk for LyingDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(LyingFile { path: path.to_owned(), file: self.0.open(path, how)? }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.0.remove_file(path)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.0.create_dir_all(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.0.remove_dir_all(path)
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.0.read_dir(path)
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        self.0.metadata(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.0.sync_dir(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        self.0.lock(path)
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        self.0.space(path)
    }
}

#[derive(Debug)]
struct LyingFile {
    path: PathBuf,
    file: Arc<dyn DiskFile>,
}

impl LyingFile {
    /// `log` holds records, `frames` metadata.
    fn has_extension(&self, extension: &str) -> bool {
        self.path.extension().is_some_and(|found| found == extension)
    }
}

impl FileSource for LyingFile {
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.file.descriptor()
    }

    fn read_exact_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, position)
    }
}

impl DiskFile for LyingFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    #[expect(clippy::disallowed_methods, reason = "the write that comes too late has to come from somewhere")]
    fn write_all_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        if is(Bug::AcknowledgeBeforeWrite) && self.has_extension("log") {
            let (file, bytes) = (Arc::clone(&self.file), bytes.to_vec());
            std::thread::spawn(move || {
                std::thread::sleep(LATER);
                file.write_all_at(&bytes, position)
            });
            return Ok(());
        }
        let written = self.file.write_all_at(bytes, position);
        if is(Bug::IgnoreWriteErrors) && self.has_extension("log") { Ok(()) } else { written }
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.file.truncate(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        let skips = is(Bug::AcknowledgeBeforeSync) && self.has_extension("log")
            || is(Bug::AcknowledgeMetadataBeforeSync) && self.has_extension("frames");
        if skips {
            return Ok(());
        }
        let synced = self.file.sync_data();
        if is(Bug::IgnoreSyncErrors) { Ok(()) } else { synced }
    }

    fn read_at_most(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.file.read_at_most(buffer, position)
    }
}
