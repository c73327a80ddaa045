//! One of `log.dirs`: its lock, its identity, its checkpoints and the partitions in it.
//!
//! ```text
//! .lock                               held while a broker uses the directory
//! meta.properties                     whose it is
//! .kafka_cleanshutdown                only between a clean stop and the next start
//! recovery-point-offset-checkpoint    log-start-offset-checkpoint
//! replication-offset-checkpoint       cleaner-offset-checkpoint
//! <topic>-<partition>/                see `log`
//! ```
//!
//! Opening changes nothing but `.lock`, so that a directory that is refused stays as it was; [`LogDir::begin`] removes the marker of the clean stop. A
//! checkpoint that cannot be understood counts as one without entries and is reported ([`LogDir::damaged_checkpoints`]), where Kafka gives up the whole
//! directory: the logs say what it said. Without recovery points all is recovered; without log starts records that were deleted inside of a segment are
//! there again.
//! Directories that are no partition are left alone. Source: `LogManager`, `CleanShutdownFileHandler`, `MetaProperties`.

mod meta_properties;
mod partition_dir;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use milena_protocol::types::{Offset, Timestamp, TopicPartition};
use parking_lot::Mutex;
use uuid::Uuid;

use crate::checkpoint::{self, PARTITION_METADATA};
use crate::descriptors::Descriptors;
use crate::disk::{Disk, DiskLock, Space};
use crate::error::{CorruptFile, DiskError, StorageError};
use crate::log::{Log, OpenLog, RecoveryReport};
use crate::log_config::LogConfig;

pub use meta_properties::MetaProperties;
pub(crate) use partition_dir::unique_dir_name;
pub use partition_dir::{PartitionDir, PartitionDirKind};

const LOCK: &str = ".lock";
const META_PROPERTIES: &str = "meta.properties";
const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";

/// Why a log dir cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LogDirError {
    /// Another process holds it.
    #[error(
        "failed to acquire lock on file .lock in {}. A Kafka instance in another process or thread is using this directory.",
        .0.display()
    )]
    Locked(PathBuf),
    /// A file that must be sound is not.
    #[error(transparent)]
    Corrupt(#[from] CorruptFile),
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// One of the text files that list an offset per partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OffsetCheckpoint {
    /// `recovery-point-offset-checkpoint`.
    RecoveryPoint,
    /// `log-start-offset-checkpoint`: only partitions that start above their first segment.
    LogStartOffset,
    /// `replication-offset-checkpoint`: high watermarks.
    HighWatermark,
    /// `cleaner-offset-checkpoint`.
    Cleaner,
}

impl OffsetCheckpoint {
    /// All of them.
    pub const ALL: [OffsetCheckpoint; 4] = [
        OffsetCheckpoint::RecoveryPoint,
        OffsetCheckpoint::LogStartOffset,
        OffsetCheckpoint::HighWatermark,
        OffsetCheckpoint::Cleaner,
    ];

    /// Name of the file.
    pub fn file_name(self) -> &'static str {
        match self {
            OffsetCheckpoint::RecoveryPoint => "recovery-point-offset-checkpoint",
            OffsetCheckpoint::LogStartOffset => "log-start-offset-checkpoint",
            OffsetCheckpoint::HighWatermark => "replication-offset-checkpoint",
            OffsetCheckpoint::Cleaner => "cleaner-offset-checkpoint",
        }
    }
}

/// How to open one partition of a log dir.
#[derive(Clone, Debug)]
pub struct LoadLog {
    /// Its partition.
    pub topic_partition: TopicPartition,
    /// Id of its topic.
    pub topic_id: Option<Uuid>,
    /// Its configuration.
    pub config: Arc<LogConfig>,
    /// The wall clock.
    pub now: Timestamp,
    /// `producer.id.expiration.ms`.
    pub producer_id_expiration_ms: i64,
}

/// One of `log.dirs`, locked.
#[derive(Debug)]
pub struct LogDir {
    disk: Arc<dyn Disk>,
    descriptors: Arc<Descriptors>,
    path: PathBuf,
    meta_properties: Option<MetaProperties>,
    clean_shutdown: Option<CleanShutdown>,
    /// What the checkpoints listed at the start, until the partition is opened.
    checkpoints: Mutex<BTreeMap<OffsetCheckpoint, BTreeMap<TopicPartition, Offset>>>,
    damaged_checkpoints: Vec<(OffsetCheckpoint, CorruptFile)>,
    lock: Box<dyn DiskLock>,
}

#[derive(Clone, Copy, Debug)]
struct CleanShutdown {
    broker_epoch: Option<i64>,
}

impl LogDir {
    /// Create it if it is missing, lock it, read its small files.
    ///
    /// # Errors
    /// `Locked` if another process uses it; `Corrupt` if `meta.properties` cannot be understood.
    pub fn open(disk: Arc<dyn Disk>, descriptors: Arc<Descriptors>, path: &Path) -> Result<LogDir, LogDirError> {
        create_durably(&*disk, path)?;
        let lock_path = path.join(LOCK);
        let lock = disk.lock(&lock_path).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => LogDirError::Locked(path.to_owned()),
            _ => DiskError::new("lock", &lock_path)(error).into(),
        })?;
        let mut dir = LogDir {
            disk,
            descriptors,
            path: path.to_owned(),
            meta_properties: None,
            clean_shutdown: None,
            checkpoints: Mutex::default(),
            damaged_checkpoints: Vec::new(),
            lock,
        };
        if let Some(bytes) = dir.read(META_PROPERTIES)? {
            let decoded = MetaProperties::decode(&bytes).map_err(|reason| dir.corrupt(META_PROPERTIES, reason))?;
            dir.meta_properties = Some(decoded);
        }
        dir.clean_shutdown =
            dir.read(CLEAN_SHUTDOWN)?.map(|bytes| CleanShutdown { broker_epoch: broker_epoch_in(&bytes) });
        for kind in OffsetCheckpoint::ALL {
            let bytes = dir.read(kind.file_name())?.unwrap_or_default();
            let entries = checkpoint::decode_offsets(&bytes).unwrap_or_else(|reason| {
                let damage = dir.corrupt(kind.file_name(), reason);
                dir.damaged_checkpoints.push((kind, damage));
                BTreeMap::new()
            });
            dir.checkpoints.get_mut().insert(kind, entries);
        }
        Ok(dir)
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, DiskError> {
        let path = self.path.join(name);
        match self.disk.read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(DiskError::new("read", &path)(error)),
        }
    }

    fn corrupt(&self, name: &str, reason: String) -> CorruptFile {
        CorruptFile { path: self.path.join(name), position: 0, reason }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The checkpoints that could not be understood when it was opened: they count as empty.
    pub fn damaged_checkpoints(&self) -> impl Iterator<Item = &CorruptFile> {
        self.damaged_checkpoints.iter().map(|(_, damage)| damage)
    }

    fn is_damaged(&self, checkpoint: OffsetCheckpoint) -> bool {
        self.damaged_checkpoints.iter().any(|(damaged, _)| *damaged == checkpoint)
    }

    /// The disk it lies on.
    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    /// What `meta.properties` said, or what was last written; `None`: not formatted.
    pub fn meta_properties(&self) -> Option<&MetaProperties> {
        self.meta_properties.as_ref()
    }

    /// Write `meta.properties`: formats the directory, or completes what an older version left out.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn write_meta_properties(&mut self, meta: MetaProperties) -> Result<(), DiskError> {
        let path = self.path.join(META_PROPERTIES);
        self.disk.replace(&path, &meta.encode()).map_err(DiskError::new("write", &path))?;
        self.meta_properties = Some(meta);
        Ok(())
    }

    /// Whether the last stop was a clean one.
    pub fn was_clean_shutdown(&self) -> bool {
        self.clean_shutdown.is_some()
    }

    /// Broker epoch of the last clean stop.
    pub fn previous_broker_epoch(&self) -> Option<i64> {
        self.clean_shutdown.and_then(|marker| marker.broker_epoch)
    }

    /// Remove the marker of the clean stop: from now on a crash is a crash. Call it before the first partition is opened.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn begin(&self) -> Result<(), DiskError> {
        if self.clean_shutdown.is_some() {
            let path = self.path.join(CLEAN_SHUTDOWN);
            self.disk.remove_file(&path).map_err(DiskError::new("remove", &path))?;
        }
        // The marker must not come back after a power cut.
        self.disk.sync_dir(&self.path).map_err(DiskError::new("sync", &self.path))
    }

    /// All partition directories, ordered by name.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn partitions(&self) -> Result<Vec<PartitionDir>, DiskError> {
        let listing = self.disk.read_dir(&self.path).map_err(DiskError::new("list", &self.path))?;
        let mut partitions = Vec::new();
        for entry in listing.iter().filter(|entry| entry.is_dir) {
            let Some((topic_partition, kind)) = partition_dir::parse_dir_name(&entry.name) else { continue };
            let path = self.path.join(&entry.name);
            let metadata = self.read(&format!("{}/{PARTITION_METADATA}", entry.name))?;
            let topic_id = metadata.and_then(|bytes| checkpoint::decode_partition_metadata(&bytes).ok());
            partitions.push(PartitionDir { path, topic_partition, topic_id, kind });
        }
        Ok(partitions)
    }

    /// Where a partition's directory is, or would be.
    pub fn partition_path(&self, topic_partition: &TopicPartition) -> PathBuf {
        self.path.join(topic_partition.to_string())
    }

    /// Open one partition, or create it, at the offsets that the checkpoints listed for it when this directory was opened. They count once: a topic that
    /// is deleted and created again begins anew. May run in parallel.
    ///
    /// # Errors
    /// As [`Log::open`].
    pub fn load_one(&self, load: LoadLog) -> Result<(Log, RecoveryReport), StorageError> {
        let topic_partition = load.topic_partition.clone();
        let offset = |checkpoint| self.checkpointed(checkpoint, &topic_partition).unwrap_or(0);
        let (recovery_point, log_start_offset) =
            (offset(OffsetCheckpoint::RecoveryPoint), offset(OffsetCheckpoint::LogStartOffset));
        let was_compacted = self.checkpointed(OffsetCheckpoint::Cleaner, &topic_partition).is_some()
            || self.is_damaged(OffsetCheckpoint::Cleaner);
        let opened = self.open_one(load, recovery_point, log_start_offset, was_compacted)?;
        for entries in self.checkpoints.lock().values_mut() {
            entries.remove(&topic_partition);
        }
        Ok(opened)
    }

    /// Create a partition that the broker knows to be new. What the checkpoints say of an earlier one of that name does not count.
    ///
    /// # Errors
    /// As [`Log::open`].
    pub fn create_one(&self, load: LoadLog) -> Result<(Log, RecoveryReport), StorageError> {
        for entries in self.checkpoints.lock().values_mut() {
            entries.remove(&load.topic_partition);
        }
        self.open_one(load, 0, 0, false)
    }

    /// Move the directory of another topic's partition of that name out of the way, as Kafka does: `<topic>-<n>.<unique>-stray`. Nothing in it changes.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn set_aside(&self, topic_partition: &TopicPartition, unique: Uuid) -> Result<PathBuf, DiskError> {
        let from = self.partition_path(topic_partition);
        let to = self.path.join(unique_dir_name(topic_partition, unique, "stray"));
        self.disk.rename(&from, &to).map_err(DiskError::new("rename", &from))?;
        self.disk.sync_dir(&self.path).map_err(DiskError::new("sync", &self.path))?;
        Ok(to)
    }

    fn open_one(
        &self,
        load: LoadLog,
        recovery_point: Offset,
        log_start_offset: Offset,
        was_compacted: bool,
    ) -> Result<(Log, RecoveryReport), StorageError> {
        Log::open(OpenLog {
            was_compacted,
            disk: Arc::clone(&self.disk),
            descriptors: Arc::clone(&self.descriptors),
            dir: self.partition_path(&load.topic_partition),
            recovery_point,
            log_start_offset,
            topic_partition: load.topic_partition,
            topic_id: load.topic_id,
            config: load.config,
            clean_shutdown: self.was_clean_shutdown(),
            now: load.now,
            producer_id_expiration_ms: load.producer_id_expiration_ms,
        })
    }

    /// What a checkpoint listed for a partition when this directory was opened; `None` once the partition was opened.
    pub fn checkpointed(&self, checkpoint: OffsetCheckpoint, partition: &TopicPartition) -> Option<Offset> {
        self.checkpoints.lock().get(&checkpoint)?.get(partition).copied()
    }

    /// Replace a checkpoint: written beside, synced, renamed.
    ///
    /// # Errors
    /// Those of the disk; the old checkpoint is still there.
    pub fn write_checkpoint(
        &self,
        checkpoint: OffsetCheckpoint,
        entries: &BTreeMap<TopicPartition, Offset>,
    ) -> Result<(), DiskError> {
        let path = self.path.join(checkpoint.file_name());
        self.disk.replace(&path, &checkpoint::encode_offsets(entries)).map_err(DiskError::new("write", &path))
    }

    /// Room on its disk.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn space(&self) -> Result<Space, DiskError> {
        self.disk.space(&self.path).map_err(DiskError::new("inspect", &self.path))
    }

    /// Clean stop, after every log was closed and the checkpoints were written: leaves the marker, removes the lock.
    ///
    /// # Errors
    /// Those of the disk; the next start then recovers.
    pub fn close(self, broker_epoch: i64) -> Result<(), DiskError> {
        let path = self.path.join(CLEAN_SHUTDOWN);
        let marker = format!("{{\"version\":0,\"brokerEpoch\":{broker_epoch}}}");
        self.disk.replace(&path, marker.as_bytes()).map_err(DiskError::new("write", &path))?;
        self.release()
    }

    /// Stop using it without saying that all is well.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn release(self) -> Result<(), DiskError> {
        let path = self.path.join(LOCK);
        let removed = self.disk.remove_file(&path).map_err(DiskError::new("remove", &path));
        drop(self.lock);
        removed
    }
}

/// Create a directory whose name survives a power cut.
fn create_durably(disk: &dyn Disk, path: &Path) -> Result<(), DiskError> {
    let is_missing =
        |path: &&Path| matches!(disk.metadata(path), Err(error) if error.kind() == io::ErrorKind::NotFound);
    let missing: Vec<&Path> =
        path.ancestors().take_while(is_missing).filter(|path| !path.as_os_str().is_empty()).collect();
    disk.create_dir_all(path).map_err(DiskError::new("create", path))?;
    for created in missing {
        let parent = created.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        disk.sync_dir(parent).map_err(DiskError::new("sync", parent))?;
    }
    Ok(())
}

/// Index of the log dir with the fewest partitions; the first of several.
pub fn least_loaded(partitions_per_dir: &[usize]) -> Option<usize> {
    partitions_per_dir.iter().enumerate().min_by_key(|&(index, &count)| (count, index)).map(|(index, _)| index)
}

/// `{"version":0,"brokerEpoch":5}`: the one number that matters, wherever it stands.
fn broker_epoch_in(bytes: &[u8]) -> Option<i64> {
    let (_, rest) = std::str::from_utf8(bytes).ok()?.split_once("\"brokerEpoch\"")?;
    let rest = rest.trim_start().strip_prefix(':')?.trim_start();
    let end = rest.find(|character: char| !character.is_ascii_digit() && character != '-').unwrap_or(rest.len());
    rest.get(..end)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::disk::{Crash, SimDisk};

    fn open(disk: &SimDisk) -> Result<LogDir, LogDirError> {
        LogDir::open(Arc::new(disk.clone()), Descriptors::new(10, 1000), Path::new("/data"))
    }

    fn meta() -> MetaProperties {
        MetaProperties {
            version: 1,
            cluster_id: Some("cluster".to_owned()),
            node_id: Some(3),
            directory_id: Some(Uuid::from_u128(9)),
            other: BTreeMap::new(),
        }
    }

    #[test]
    fn a_fresh_directory_is_formatted_and_found_again() {
        let disk = SimDisk::new(1);
        let mut dir = open(&disk).unwrap();
        assert_eq!(dir.meta_properties(), None);
        assert!(!dir.was_clean_shutdown());
        dir.write_meta_properties(meta()).unwrap();
        assert!(matches!(open(&disk), Err(LogDirError::Locked(_))));
        dir.close(41).unwrap();
        let dir = open(&disk).unwrap();
        assert_eq!(dir.meta_properties(), Some(&meta()));
        assert_eq!(dir.previous_broker_epoch(), Some(41));
        dir.begin().unwrap();
        disk.crash(Crash::Power(1));
        assert!(!open(&disk).unwrap().was_clean_shutdown());
    }

    #[test]
    fn a_corrupt_checkpoint_counts_as_empty_and_is_reported() {
        let disk = SimDisk::new(1);
        open(&disk).unwrap().release().unwrap();
        for checkpoint in OffsetCheckpoint::ALL {
            let path = Path::new("/data").join(checkpoint.file_name());
            for (bytes, is_damaged) in [(&b""[..], false), (b"0\n3\n", true), (b"\xff\x00", true), (b"0\n0\n", false)] {
                disk.set_bytes(&path, bytes);
                let dir = open(&disk).unwrap();
                assert_eq!(dir.damaged_checkpoints().count(), usize::from(is_damaged), "{checkpoint:?} {bytes:?}");
                assert_eq!(dir.checkpointed(checkpoint, &TopicPartition::new("t", 0)), None);
                dir.release().unwrap();
            }
        }
    }

    #[test]
    fn checkpoints_are_replaced_whole_and_a_leftover_is_ignored() {
        let disk = SimDisk::new(1);
        let dir = open(&disk).unwrap();
        let partition = TopicPartition::new("t", 0);
        dir.write_checkpoint(OffsetCheckpoint::HighWatermark, &BTreeMap::from([(partition.clone(), 5)])).unwrap();
        disk.set_bytes(Path::new("/data/replication-offset-checkpoint.tmp"), b"garbage");
        dir.write_checkpoint(OffsetCheckpoint::HighWatermark, &BTreeMap::from([(partition.clone(), 6)])).unwrap();
        disk.set_bytes(Path::new("/data/replication-offset-checkpoint.tmp"), b"garbage");
        disk.crash(Crash::Power(3));
        assert_eq!(open(&disk).unwrap().checkpointed(OffsetCheckpoint::HighWatermark, &partition), Some(6));
    }

    #[test]
    fn a_topic_that_is_created_again_does_not_inherit_offsets() {
        let disk = SimDisk::new(1);
        let dir = open(&disk).unwrap();
        let partition = TopicPartition::new("t", 0);
        dir.write_checkpoint(OffsetCheckpoint::LogStartOffset, &BTreeMap::from([(partition.clone(), 7)])).unwrap();
        dir.release().unwrap();
        let dir = open(&disk).unwrap();
        let load = LoadLog {
            topic_partition: partition,
            topic_id: Some(Uuid::from_u128(1)),
            config: Arc::default(),
            now: 0,
            producer_id_expiration_ms: 1000,
        };
        let (mut log, _) = dir.load_one(load.clone()).unwrap();
        assert_eq!(log.log_start_offset(), 7);
        log.delete(Uuid::from_u128(2), 0).unwrap();
        let (log, _) = dir.load_one(LoadLog { topic_id: Some(Uuid::from_u128(3)), ..load }).unwrap();
        assert_eq!((log.log_start_offset(), log.log_end_offset()), (0, 0));
    }

    #[test]
    fn the_emptiest_directory_is_chosen() {
        assert_eq!(least_loaded(&[3, 1, 1]), Some(1));
        assert_eq!(least_loaded(&[]), None);
    }

    proptest! {
        #[test]
        fn any_marker_is_read_without_panic(bytes: Vec<u8>) {
            _ = broker_epoch_in(&bytes);
        }
    }
}
