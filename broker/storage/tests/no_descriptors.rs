//! A process that may open no more files refuses appends; its disk is sound, and they go on when there are descriptors.

#![allow(clippy::unwrap_used, reason = "a failure is the test's answer")]

mod support;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use milena_storage::disk::{DirEntry, DiskFile, DiskLock, Metadata, Open, Space};
use milena_storage::{AppendError, Disk, SimDisk};
use support::*;

const EMFILE: i32 = 24;

/// Opens no file while descriptors are used up.
#[derive(Debug)]
struct Bounded {
    disk: SimDisk,
    used_up: AtomicBool,
}

impl Disk for Bounded {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        if self.used_up.load(Ordering::Relaxed) {
            return Err(io::Error::from_raw_os_error(EMFILE));
        }
        self.disk.open(path, how)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_file(path)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.disk.create_dir_all(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_dir_all(path)
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.disk.read_dir(path)
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        self.disk.metadata(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.sync_dir(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        self.disk.lock(path)
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        self.disk.space(path)
    }
}

#[test]
fn an_append_without_a_descriptor_is_refused_and_the_next_one_succeeds() {
    let disk = Arc::new(Bounded { disk: SimDisk::new(1), used_up: AtomicBool::new(false) });
    let mut opener = Opener::on(Arc::<Bounded>::clone(&disk), Path::new("/data/topic-0"));
    opener.descriptors = milena_storage::Descriptors::new(1, 1 << 20);
    let mut log = opener.open();
    append(&mut log, &["one"]);
    // Another log takes the only descriptor.
    let mut other = Opener { dir: Path::new("/data/topic-1").to_owned(), ..opener.clone() }.open();
    append(&mut other, &["other"]);
    append(&mut other, &["other"]);

    disk.used_up.store(true, Ordering::Relaxed);
    let refused = append_batch(&mut log, batch(NOW, &["refused"]));
    assert!(matches!(refused, Err(AppendError::DiskFull(_))), "{refused:?}");
    assert!(!log.is_offline());
    disk.used_up.store(false, Ordering::Relaxed);
    assert_eq!(append(&mut log, &["two"]).first_offset, 1);
    assert_eq!(values(&log), [(0, "one".to_owned()), (1, "two".to_owned())]);
}
