//! The log dirs of this broker: which are online, how full each is, their checkpoints and committers.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use milena_protocol::{Offset, TopicPartition};
use milena_storage::disk::Space;
use milena_storage::env::Clock;
use milena_storage::log_dir::{LoadLog, OffsetCheckpoint, PartitionDir, least_loaded};
use milena_storage::{Log, LogDir, RecoveryReport, StorageError};
use parking_lot::{Mutex, RwLock};
use uuid::Uuid;

use super::committer::Committer;
use super::health::{Failures, Health, Online};
use super::partition::Partition;

/// One log dir.
#[derive(Debug)]
pub struct Directory {
    /// Its absolute path.
    pub path: PathBuf,
    /// Its id in `meta.properties`; nil if that could not be read.
    pub id: Uuid,
    /// Whether it serves.
    pub health: Arc<Health>,
    /// Its group committer.
    pub committer: Arc<Committer>,
    partitions: AtomicUsize,
    /// What each checkpoint said when it was last written, as a hash: an idle broker writes nothing.
    checkpointed: Mutex<BTreeMap<OffsetCheckpoint, u64>>,
    /// What lies there and could not be opened: nobody knows its state, so no stop is a clean one.
    unopened: Mutex<BTreeSet<TopicPartition>>,
    /// `None` after a clean close, and if it could not be used at the start.
    dir: RwLock<Option<LogDir>>,
}

/// A log dir as the start found it.
#[derive(Debug)]
pub struct FoundDir {
    /// Its path.
    pub path: PathBuf,
    /// With its id, locked and formatted; `None` if it cannot be used.
    pub dir: Option<(LogDir, Uuid)>,
}

/// A log as it was opened, with the high watermark that the checkpoint knew.
#[derive(Debug)]
pub struct OpenedLog {
    /// The log.
    pub log: Log,
    /// From `replication-offset-checkpoint`, 0 if it is not listed.
    pub high_watermark: Offset,
}

/// Opens a partition's log where it lies in a log dir, or creates it there.
type OpenIn = fn(&LogDir, LoadLog) -> Result<(Log, RecoveryReport), StorageError>;

/// All log dirs, in the order of `log.dirs`.
#[derive(Debug)]
pub struct Directories {
    all: Vec<Directory>,
    online: Online,
    recovery_threads: usize,
    choosing: Mutex<()>,
}

impl Directories {
    /// Takes over opened and formatted log dirs and starts a committer for each. The broker ends with the one of
    /// `metadata_log_dir`.
    pub fn new(
        dirs: Vec<FoundDir>,
        metadata_log_dir: &Path,
        recovery_threads: usize,
        clock: &Arc<dyn Clock>,
    ) -> std::io::Result<Self> {
        let online = Online::new(dirs.iter().filter(|found| found.dir.is_some()).count());
        let all = dirs
            .into_iter()
            .enumerate()
            .map(|(index, FoundDir { path, dir })| {
                let needed = (path == metadata_log_dir).then(|| {
                    format!("Shutdown broker because the metadata log dir {} has failed", metadata_log_dir.display())
                });
                let health = if dir.is_some() { Health::new(&online, needed) } else { Health::unusable(&online) };
                let (dir, id) = dir.map_or((None, Uuid::nil()), |(dir, id)| (Some(dir), id));
                Ok(Directory {
                    path: std::path::absolute(path)?,
                    id,
                    health: Arc::new(health),
                    committer: Committer::start(index, Arc::clone(clock))?,
                    partitions: AtomicUsize::new(0),
                    checkpointed: Mutex::default(),
                    unopened: Mutex::default(),
                    dir: RwLock::new(dir),
                })
            })
            .collect::<std::io::Result<_>>()?;
        Ok(Self { all, online, recovery_threads, choosing: Mutex::default() })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// One of them.
    pub fn get(&self, log_dir: usize) -> &Directory {
        &self.all[log_dir]
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Directory> {
        self.all.iter()
    }

    /// The path of one.
    pub fn path(&self, log_dir: usize) -> &Path {
        &self.all[log_dir].path
    }

    /// Waits until the broker cannot go on, and says why: none is online, or the one with the metadata log is not.
    /// Cancel-safe.
    pub async fn lost(&self) -> String {
        self.online.lost().await
    }

    /// Tells of every failure from now on.
    pub fn failures(&self) -> Failures {
        self.online.failures()
    }

    /// Waits until an append finds no room. Cancel-safe.
    pub async fn room_wanted(&self) {
        self.online.room_wanted().await;
    }

    /// Whether any is offline: what is not found may lie there.
    pub fn any_offline(&self) -> bool {
        self.all.iter().any(|directory| directory.health.is_offline())
    }

    /// The online log dir with this id.
    pub fn online_with_id(&self, id: Uuid) -> Option<usize> {
        self.all.iter().position(|directory| directory.id == id && !directory.health.is_offline())
    }

    /// The disk of a log dir has failed.
    pub fn fail(&self, log_dir: usize, reason: &dyn std::fmt::Display) {
        if self.all[log_dir].health.fail() {
            let path = self.path(log_dir).display();
            tracing::error!(target: "kafka.log.LogManager", "log dir {path} is offline from now on: {reason}");
        }
    }

    /// `num.recovery.threads.per.data.dir`
    pub fn recovery_threads(&self) -> usize {
        self.recovery_threads.max(1)
    }

    /// The online log dir with the fewest partitions, one more now; not one of those that were tried. `None` if none is left.
    pub fn choose(&self, tried: &[usize]) -> Option<usize> {
        let _one_at_a_time = self.choosing.lock();
        let is_left = |index: &usize| !tried.contains(index) && !self.all[*index].health.is_offline();
        let left: Vec<usize> = (0..self.len()).filter(is_left).collect();
        let loads: Vec<usize> = left.iter().map(|index| self.all[*index].partitions.load(Ordering::Relaxed)).collect();
        let chosen = left[least_loaded(&loads)?];
        self.remember(chosen);
        Some(chosen)
    }

    /// One partition more lies there.
    pub fn remember(&self, log_dir: usize) {
        self.all[log_dir].partitions.fetch_add(1, Ordering::Relaxed);
    }

    /// One partition less lies there.
    pub fn forget(&self, log_dir: usize) {
        self.all[log_dir].partitions.fetch_sub(1, Ordering::Relaxed);
    }

    /// What lies in a log dir; nothing if it cannot be read.
    pub fn partitions(&self, log_dir: usize) -> Vec<PartitionDir> {
        self.with(log_dir, LogDir::partitions)
            .transpose()
            .unwrap_or_else(|error| {
                self.fail(log_dir, &error);
                None
            })
            .unwrap_or_default()
    }

    /// Opens a log that lies there.
    pub fn open_log(&self, log_dir: usize, load: LoadLog) -> Result<OpenedLog, StorageError> {
        let checkpointed =
            self.with(log_dir, |dir| dir.checkpointed(OffsetCheckpoint::HighWatermark, &load.topic_partition));
        let name = load.topic_partition.clone();
        let log = self.open_with(log_dir, load, LogDir::load_one).inspect_err(|error| {
            self.all[log_dir].unopened.lock().insert(name.clone());
            self.on_open_failure(log_dir, error);
        })?;
        self.all[log_dir].unopened.lock().remove(&name);
        Ok(OpenedLog { log, high_watermark: checkpointed.flatten().unwrap_or(0) })
    }

    /// Creates a log: whatever the checkpoints say of an earlier one of that name, it begins anew.
    pub fn create_log(&self, log_dir: usize, load: LoadLog) -> Result<OpenedLog, StorageError> {
        let log = self.open_with(log_dir, load, LogDir::create_one);
        let log = log.inspect_err(|error| self.on_open_failure(log_dir, error))?;
        Ok(OpenedLog { log, high_watermark: 0 })
    }

    /// A device that refuses takes the log dir with it; damage, a full disk or something in the way concern one partition.
    fn on_open_failure(&self, log_dir: usize, error: &StorageError) {
        if let StorageError::Disk(error) = error
            && error.is_device_failure()
        {
            self.fail(log_dir, error);
        }
    }

    /// A crash may have kept a deleted topic's directory from going: it makes room for a new topic of the same name.
    fn open_with(&self, log_dir: usize, load: LoadLog, open: OpenIn) -> Result<Log, StorageError> {
        let guard = self.all[log_dir].dir.read();
        let dir = guard.as_ref().ok_or(StorageError::Offline)?;
        let name = load.topic_partition.clone();
        let (log, report) = match open(dir, load.clone()) {
            Err(StorageError::InconsistentTopicId(error)) => {
                let aside = dir.set_aside(&name, Uuid::from_u128(rand::random()))?;
                tracing::warn!(
                    target: "kafka.log.LogManager",
                    "{name} in {}: {error}; that directory is now {}", self.path(log_dir).display(), aside.display()
                );
                dir.create_one(load)?
            }
            opened => opened?,
        };
        if report.recovered_segments > 0 {
            tracing::info!(
                target: "kafka.log.UnifiedLog",
                "[UnifiedLog partition={name}, dir={}] Recovered {} segments ({} bytes read, {} bytes cut)",
                self.path(log_dir).display(), report.recovered_segments, report.scanned_bytes, report.truncated_bytes
            );
        }
        Ok(log)
    }

    /// Room on the disk of a log dir; `None` if it cannot be told.
    pub fn space(&self, log_dir: usize) -> Option<Space> {
        self.with(log_dir, LogDir::space).and_then(Result::ok)
    }

    /// Writes recovery points, high watermarks and log start offsets of one log dir.
    pub fn write_checkpoints(&self, log_dir: usize, partitions: &[Arc<Partition>]) {
        self.write_checkpoint(log_dir, OffsetCheckpoint::RecoveryPoint, partitions, |partition| {
            Some(partition.recovery_point())
        });
        self.write_checkpoint(log_dir, OffsetCheckpoint::HighWatermark, partitions, |partition| {
            Some(partition.high_watermark())
        });
        self.write_checkpoint(log_dir, OffsetCheckpoint::LogStartOffset, partitions, |partition| {
            Some(partition.reader().log_start_offset()).filter(|offset| *offset > 0)
        });
    }

    /// Writes one checkpoint file of one log dir.
    pub fn write_checkpoint(
        &self,
        log_dir: usize,
        checkpoint: OffsetCheckpoint,
        partitions: &[Arc<Partition>],
        offset: impl Fn(&Partition) -> Option<Offset>,
    ) {
        if self.all[log_dir].health.is_offline() {
            return;
        }
        let mut entries: BTreeMap<TopicPartition, Offset> = partitions
            .iter()
            .filter(|partition| partition.log_dir == log_dir)
            .filter_map(|partition| Some((partition.topic_partition.clone(), offset(partition)?)))
            .collect();
        for unopened in &*self.all[log_dir].unopened.lock() {
            let kept = self.with(log_dir, |dir| dir.checkpointed(checkpoint, unopened)).flatten();
            entries.extend(kept.map(|offset| (unopened.clone(), offset)));
        }
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(&entries);
        if self.all[log_dir].checkpointed.lock().insert(checkpoint, hash) == Some(hash) {
            return;
        }
        if let Some(Err(error)) = self.with(log_dir, |dir| dir.write_checkpoint(checkpoint, &entries)) {
            self.all[log_dir].checkpointed.lock().remove(&checkpoint);
            if error.is_full() {
                // The old one stays, which is only older; the next round tries again.
                tracing::warn!(target: "kafka.log.LogManager", "the disk is full: {error}");
            } else {
                self.fail(log_dir, &error);
            }
        }
    }

    /// Ends the committers, which sync what is still asked for.
    pub fn stop_committers(&self) {
        for directory in &self.all {
            directory.committer.stop();
        }
    }

    /// Marks a clean shutdown and releases the directory. One with a log that was never opened is not clean: the next
    /// start recovers that log from its recovery point instead of trusting it.
    pub fn close(&self, log_dir: usize, broker_epoch: i64) {
        if !self.all[log_dir].unopened.lock().is_empty() {
            return;
        }
        let dir = self.all[log_dir].dir.write().take();
        if let Some(Err(error)) = dir.map(|dir| dir.close(broker_epoch)) {
            tracing::error!(target: "kafka.log.LogManager", "{error}");
        }
    }

    fn with<T>(&self, log_dir: usize, read: impl FnOnce(&LogDir) -> T) -> Option<T> {
        self.all[log_dir].dir.read().as_ref().map(read)
    }
}
