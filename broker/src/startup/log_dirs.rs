//! The log dirs at a start: all are opened and locked, then all are checked, and only then the new ones are formatted.
//!
//! What is refused is left as it was. The checks are those of `KafkaServer.getLogManager` and `MetaPropertiesEnsemble`;
//! beyond them, a start that would make an empty cluster beside existing data is refused.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use milena_controller::METADATA_DIRECTORY;
use milena_protocol::{TopicPartition, kafka_uuid};
use milena_storage::disk::Disk;
use milena_storage::error::DiskError;
use milena_storage::log_dir::{MetaProperties, PartitionDirKind};
use milena_storage::{Descriptors, LogDir, LogDirError};
use uuid::Uuid;

use super::StartError;
use crate::config::ServerConfig;
use crate::replica::directories::FoundDir;

/// The log dirs with their ids, and the id of the cluster. One of several that cannot be used is left out, as in Kafka,
/// unless the metadata log is to be in it.
pub(super) fn open(
    config: &ServerConfig,
    disk: &Arc<dyn Disk>,
    descriptors: &Arc<Descriptors>,
) -> Result<(Vec<FoundDir>, String), StartError> {
    let mut dirs = Vec::with_capacity(config.log_dirs.len());
    let mut unusable = Vec::new();
    let opened = config.log_dirs.iter().try_for_each(|path| {
        match LogDir::open(Arc::clone(disk), Arc::clone(descriptors), path) {
            Ok(dir) => dirs.push(dir),
            Err(error) if may_be_left_out(config, path, &error) => unusable.push((path, error)),
            Err(error) => return Err(StartError::from(error)),
        }
        Ok(())
    });
    let checked = opened
        .and_then(
            |()| if dirs.is_empty() { unusable.pop().map_or(Ok(()), |(_, error)| Err(error.into())) } else { Ok(()) },
        )
        .and_then(|()| check_places(config, &**disk, &dirs))
        .and_then(|()| check_copies(&dirs))
        .and_then(|()| check_identity(config, &dirs));
    let cluster_id = match checked {
        Ok(cluster_id) => cluster_id.unwrap_or_else(|| kafka_uuid::encode(random_uuid())),
        Err(error) => {
            for dir in dirs {
                // The refusal is what there is to say; a lock file that stays does no harm.
                let _ = dir.release();
            }
            return Err(error);
        }
    };
    let mut found = Vec::with_capacity(config.log_dirs.len());
    let mut usable = dirs.into_iter().peekable();
    for path in &config.log_dirs {
        let Some(mut dir) = usable.next_if(|dir| dir.path() == path) else {
            found.push(FoundDir { path: path.clone(), dir: None });
            continue;
        };
        match format(&mut dir, config.node_id, &cluster_id).map_err(LogDirError::from) {
            Ok(id) => found.push(FoundDir { path: path.clone(), dir: Some((dir, id)) }),
            Err(error) if may_be_left_out(config, path, &error) => {
                unusable.push((path, error));
                found.push(FoundDir { path: path.clone(), dir: None });
            }
            Err(error) => return Err(error.into()),
        }
    }
    for damage in found.iter().filter_map(|found| found.dir.as_ref()).flat_map(|(dir, _)| dir.damaged_checkpoints()) {
        tracing::warn!(target: "kafka.log.LogManager", "{damage}; what it said is taken from the logs");
    }
    for (path, error) in &unusable {
        tracing::error!(
            target: "kafka.log.LogManager",
            "Failed to create or validate data directory {}: it is offline until the next start: {error}", path.display()
        );
    }
    Ok((found, cluster_id))
}

/// A disk that fails or a damaged file concern one log dir. Without the one of the metadata log no broker starts, and a lock
/// that another process holds means that two were started.
fn may_be_left_out(config: &ServerConfig, path: &Path, error: &LogDirError) -> bool {
    let is_needed = config.log_dirs.len() == 1 || *path == config.metadata_log_dir;
    !is_needed && !matches!(error, LogDirError::Locked(_))
}

/// Metadata of an Apache Kafka, ours in the wrong place, or partitions without any.
fn check_places(config: &ServerConfig, disk: &dyn Disk, dirs: &[LogDir]) -> Result<(), StartError> {
    let expected = config.metadata_log_dir.join(METADATA_DIRECTORY);
    for dir in dirs {
        let shown = dir.path().display().to_string();
        if dir.partitions()?.iter().any(|found| found.kind == PartitionDirKind::ClusterMetadata) {
            return Err(StartError::KafkaMetadata(shown));
        }
        let here = dir.path().join(METADATA_DIRECTORY);
        if here != expected && disk.metadata(&here).is_ok() {
            let expected = config.metadata_log_dir.display().to_string();
            return Err(StartError::MetadataElsewhere { found: shown, expected });
        }
    }
    if disk.metadata(&expected).is_ok() {
        return Ok(());
    }
    for dir in dirs.iter().filter(|dir| dir.meta_properties().is_some()) {
        let partitions = dir.partitions()?;
        let current = partitions.iter().find(|found| found.kind == PartitionDirKind::Current);
        if let Some(partition) = current {
            let dir = dir.path().display().to_string();
            return Err(StartError::MetadataMissing { dir, example: partition.topic_partition.to_string() });
        }
    }
    Ok(())
}

/// Copies of a log dir, or of a partition.
fn check_copies(dirs: &[LogDir]) -> Result<(), StartError> {
    let mut ids: BTreeMap<Uuid, String> = BTreeMap::new();
    let mut partitions: BTreeMap<(TopicPartition, Uuid), String> = BTreeMap::new();
    for dir in dirs {
        let shown = || dir.path().display().to_string();
        if let Some(id) = dir.meta_properties().and_then(|meta| meta.directory_id)
            && let Some(one) = ids.insert(id, shown())
        {
            return Err(StartError::DuplicateDirectoryId { one, other: shown() });
        }
        for found in dir.partitions()?.into_iter().filter(|found| found.kind == PartitionDirKind::Current) {
            let Some(topic_id) = found.topic_id else { continue };
            let partition = found.topic_partition.to_string();
            if let Some(one) = partitions.insert((found.topic_partition, topic_id), shown()) {
                return Err(StartError::DuplicatePartition { partition, one, other: shown() });
            }
        }
    }
    Ok(())
}

/// Whose the log dirs are. Returns the cluster's id if it is configured or known.
fn check_identity(config: &ServerConfig, dirs: &[LogDir]) -> Result<Option<String>, StartError> {
    let mut cluster_id = config.cluster_id.clone();
    for dir in dirs {
        let shown = dir.path().display().to_string();
        let Some(meta) = dir.meta_properties() else { continue };
        if let Some(found) = meta.node_id.filter(|found| *found != config.node_id) {
            return Err(StartError::NodeId { found, expected: config.node_id, dir: shown });
        }
        match (&meta.cluster_id, &cluster_id) {
            (Some(found), Some(expected)) if found != expected => {
                return Err(StartError::ClusterId { found: found.clone(), expected: expected.clone(), dir: shown });
            }
            (Some(found), None) => cluster_id = Some(found.clone()),
            _ => {}
        }
    }
    Ok(cluster_id)
}

/// Writes what `meta.properties` lacks, and begins to use the directory. Returns its id.
fn format(dir: &mut LogDir, node_id: i32, cluster_id: &str) -> Result<Uuid, DiskError> {
    let known = dir.meta_properties().cloned();
    let id = known.as_ref().and_then(|meta| meta.directory_id).unwrap_or_else(random_uuid);
    let meta = MetaProperties {
        version: 1,
        cluster_id: Some(cluster_id.to_owned()),
        node_id: Some(node_id),
        directory_id: Some(id),
        other: known.as_ref().map(|meta| meta.other.clone()).unwrap_or_default(),
    };
    if known.as_ref() != Some(&meta) {
        dir.write_meta_properties(meta)?;
    }
    dir.begin()?;
    Ok(id)
}

/// A random id that Kafka would choose, too: never one of the reserved ones, and no leading dash in its text.
pub(super) fn random_uuid() -> Uuid {
    loop {
        let id = uuid::Builder::from_random_bytes(rand::random()).into_uuid();
        if !kafka_uuid::encode(id).starts_with('-') {
            return id;
        }
    }
}
