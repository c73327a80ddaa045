//! A small ext4 in a file, whose power can be cut.
//!
//! The file system's own shutdown call drops what is not on the disk: open files answer EIO from then on, and mounting it
//! again replays the journal. Without a sync nothing of the data is on the disk before the mount's `commit` seconds are over.
//! Unmounted and detached whatever happens.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::Outcome;

/// `EXT4_IOC_SHUTDOWN` with `EXT4_GOING_FLAGS_NOLOGFLUSH`; Perl is part of every Debian, and this crate has no place
/// for a call that the compiler cannot check.
const SHUTDOWN: &str = r#"open(my $d, "<", $ARGV[0]) or die "open: $!"; my $f = pack("L", 2); ioctl($d, 0x8004587d, $f) or die "ioctl: $!""#;

const PATIENCE: Duration = Duration::from_secs(20);

/// A mounted file system of its own.
pub(crate) struct LoopDisk {
    /// Holds the image and the mount point.
    dir: TempDir,
    mounted: bool,
}

impl LoopDisk {
    pub(crate) fn create(mebibytes: u64) -> Outcome<Self> {
        let dir = tempfile::Builder::new().prefix("milena-disk-").tempdir()?;
        let mut disk = Self { dir, mounted: false };
        File::create(disk.image())?.set_len(mebibytes << 20)?;
        fs::create_dir(disk.mount_point())?;
        run(Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0"]).arg(disk.image()))?;
        disk.mount()?;
        Ok(disk)
    }

    /// An empty directory on it, for a broker to make its own.
    pub(crate) fn log_dir(&self) -> Outcome<PathBuf> {
        let dir = self.mount_point().join("data");
        fs::create_dir_all(&dir)?;
        Ok(dir)
    }

    /// Everything that is not on the disk is gone, and nothing works any more.
    pub(crate) fn cut_power(&self) -> Outcome {
        run(Command::new("perl").args(["-e", SHUTDOWN]).arg(self.mount_point()))
    }

    /// The machine is on again. No process may have a file open there.
    pub(crate) fn power_on(&mut self) -> Outcome {
        let give_up = Instant::now() + PATIENCE;
        loop {
            self.unmount()?;
            self.mount()?;
            // Whoever copied the mounts of this machine meanwhile still holds the file system that was shut down.
            let probe = fs::write(self.mount_point().join("probe"), "");
            if probe.is_ok() || Instant::now() > give_up {
                return Ok(probe?);
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn image(&self) -> PathBuf {
        self.dir.path().join("image")
    }

    pub(crate) fn mount_point(&self) -> PathBuf {
        self.dir.path().join("mnt")
    }

    fn mount(&mut self) -> Outcome {
        run(Command::new("mount").args(["-o", "loop,commit=60"]).arg(self.image()).arg(self.mount_point()))?;
        self.mounted = true;
        Ok(())
    }

    fn unmount(&mut self) -> Outcome {
        run(Command::new("umount").arg(self.mount_point()))?;
        self.mounted = false;
        Ok(())
    }
}

impl Drop for LoopDisk {
    fn drop(&mut self) {
        if self.mounted && self.unmount().is_err() {
            // Somebody still has a file open: the mount goes now, the loop device with that file.
            let _ = run(Command::new("umount").arg("--lazy").arg(self.mount_point()));
        }
    }
}

fn run(command: &mut Command) -> Outcome {
    let output = command.output().map_err(|error| format!("{}: {error}", command.get_program().display()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim()).into())
}

/// Whether this machine lets us mount a file and cut its power.
pub(crate) fn probe() -> Outcome {
    let mut disk = LoopDisk::create(8)?;
    let file = disk.mount_point().join("file");
    fs::write(&file, "lost")?;
    disk.cut_power()?;
    if fs::write(&file, "refused").is_ok() {
        return Err("a file system without power takes writes".into());
    }
    disk.power_on()?;
    if is_empty(&file) { Ok(()) } else { Err("what was never synced survives a power cut".into()) }
}

fn is_empty(file: &Path) -> bool {
    fs::read(file).is_ok_and(|bytes| bytes.is_empty()) || !file.exists()
}
