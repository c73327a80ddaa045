//! The partitions of this broker: they follow the metadata, delta by delta.
//!
//! [`Replicas::apply`] is called with every change in order by one task; when it returns, this broker acts on the
//! change, and [`Replicas::applied`] lets an answer wait for that. The image handlers see is the one that replicas
//! act on, never a newer one.

pub mod committer;
pub mod directories;
pub mod health;
pub mod leader;
mod parallel;
pub mod partition;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use imbl::HashMap;
use milena_metadata::image::{ConfigResourceType, MetadataDelta, MetadataImage, PartitionRegistration, TopicImage};
use milena_protocol::{Timestamp, TopicPartition};
use milena_storage::log_dir::{LoadLog, PartitionDirKind};
use milena_storage::{LogConfig, ScheduledDeletion, StorageError};
use parking_lot::Mutex;
use tokio::sync::watch;
use uuid::Uuid;

use directories::{Directories, OpenedLog};
use parallel::in_parallel;
use partition::{Partition, PartitionError};

/// The configuration a topic's logs act on, as the metadata and this broker's own settings make it.
pub trait TopicSettings: Send + Sync + std::fmt::Debug {
    /// The log configuration of a topic.
    fn log_config(&self, image: &MetadataImage, topic: &str) -> Arc<LogConfig>;
    /// `min.insync.replicas` of a topic.
    fn min_in_sync(&self, image: &MetadataImage, topic: &str) -> i32;
    /// `producer.id.expiration.ms`
    fn producer_id_expiration_ms(&self, image: &MetadataImage) -> i64;
}

/// Closes logs; false if one could not be.
fn close_all(partitions: &[&Arc<Partition>], now: Timestamp) -> bool {
    let clean = AtomicBool::new(true);
    in_parallel(partitions, |partition| {
        partition.retire();
        if let Err(error) = partition.with_log_blocking(|log| log.close(now)) {
            clean.store(false, Ordering::Release);
            tracing::error!(target: "kafka.log.LogManager", "cannot close {}: {error}", partition.topic_partition);
        }
    });
    clean.into_inner()
}

/// How a log comes to be: opened where it lies, or created.
type Opening = fn(&Directories, usize, LoadLog) -> Result<OpenedLog, StorageError>;

type TopicPartitions = Arc<BTreeMap<i32, Arc<Partition>>>;

/// All partitions this broker hosts.
#[derive(Debug)]
pub struct Replicas {
    local: i32,
    settings: Arc<dyn TopicSettings>,
    directories: Arc<Directories>,
    topics: ArcSwap<HashMap<Uuid, TopicPartitions>>,
    image: ArcSwap<MetadataImage>,
    applied: watch::Sender<i64>,
    deletions: Mutex<Vec<(usize, ScheduledDeletion)>>,
}

impl Replicas {
    /// Opens the logs of every partition that the metadata gives this broker, in parallel over the log dirs.
    pub fn open(
        local: i32,
        image: Arc<MetadataImage>,
        settings: Arc<dyn TopicSettings>,
        directories: Arc<Directories>,
        now: Timestamp,
    ) -> Self {
        let replicas = Self {
            local,
            settings,
            directories,
            topics: ArcSwap::default(),
            applied: watch::Sender::new(image.offset),
            image: ArcSwap::new(image),
            deletions: Mutex::default(),
        };
        replicas.load(now);
        replicas
    }

    /// The metadata that replicas act on.
    pub fn image(&self) -> Arc<MetadataImage> {
        self.image.load_full()
    }

    /// Waits until replicas act on the metadata up to `offset`. Cancel-safe.
    pub async fn applied(&self, offset: i64) {
        // The sender lives as long as we do, so waiting cannot fail.
        let _ = self.applied.subscribe().wait_for(|applied| *applied >= offset).await;
    }

    /// A hosted partition. `NotLeader` if this broker has no replica of it, `Offline` if its log could not be opened.
    pub fn get(&self, topic_id: Uuid, partition: i32) -> Result<Arc<Partition>, PartitionError> {
        let topics = self.topics.load();
        match topics.get(&topic_id).and_then(|partitions| partitions.get(&partition)) {
            Some(partition) if partition.is_offline() => Err(PartitionError::Offline),
            Some(partition) => Ok(Arc::clone(partition)),
            None => {
                let image = self.image.load();
                let registered = image.topics.partition_by_id(topic_id, partition);
                let ours = registered.is_some_and(|partition| partition.replicas.contains(&self.local));
                Err(if ours { PartitionError::Offline } else { PartitionError::NotLeader })
            }
        }
    }

    /// Every hosted partition, without those that are being deleted.
    pub fn all(&self) -> Vec<Arc<Partition>> {
        let topics = self.topics.load();
        let hosted = topics.values().flat_map(|partitions| partitions.values());
        hosted.filter(|partition| !partition.is_retired()).map(Arc::clone).collect()
    }

    /// The log dirs.
    pub fn directories(&self) -> &Directories {
        &self.directories
    }

    /// Files whose time has come, to be removed by their log dir.
    pub fn due_deletions(&self, now: Timestamp) -> Vec<(usize, ScheduledDeletion)> {
        let mut deletions = self.deletions.lock();
        let (due, later) = deletions.drain(..).partition(|(_, deletion)| deletion.at <= now);
        *deletions = later;
        due
    }

    /// Remembers files to be removed later.
    pub fn schedule_deletion(&self, log_dir: usize, deletion: ScheduledDeletion) {
        self.deletions.lock().push((log_dir, deletion));
    }

    /// Acts on one change, then publishes it. The disk's part of it runs on threads of its own.
    pub async fn apply(&self, delta: &MetadataDelta, image: Arc<MetadataImage>, now: Timestamp) {
        tokio::task::block_in_place(|| {
            for topic in delta.topics.deleted.values() {
                self.delete(topic, now);
            }
            for topic in delta.topics.created.values() {
                let indexes: Vec<i32> = topic.partitions.keys().copied().collect();
                self.follow(&image, topic, &indexes, now);
            }
            for change in delta.topics.changed.values() {
                let indexes: Vec<i32> = change.partitions.iter().copied().collect();
                self.follow(&image, &change.after, &indexes, now);
            }
        });
        self.reconfigure(delta, &image).await;
        let offset = image.offset;
        self.image.store(image);
        // Until now requests found a partition that nobody leads any more, and not a hole that looks like a failed disk.
        self.topics.rcu(|topics| {
            delta.topics.deleted.values().fold((**topics).clone(), |rest, topic| rest.without(&topic.id))
        });
        self.applied.send_replace(offset);
    }

    /// Applies changed configuration to the topics it concerns: one, or all if the broker's own changed.
    async fn reconfigure(&self, delta: &MetadataDelta, image: &MetadataImage) {
        let of_broker = |kind: ConfigResourceType| kind == ConfigResourceType::Broker;
        let everything = delta.configs.iter().any(|resource| of_broker(resource.resource_type));
        let topics = self.topics.load_full();
        for topic in image.topics.iter() {
            let concerned = everything
                || delta
                    .configs
                    .iter()
                    .any(|resource| !of_broker(resource.resource_type) && resource.name == topic.name);
            let Some(partitions) = topics.get(&topic.id).filter(|_| concerned) else { continue };
            let config = self.settings.log_config(image, &topic.name);
            let min_in_sync = self.settings.min_in_sync(image, &topic.name);
            for partition in partitions.values() {
                partition.configure(Arc::clone(&config), min_in_sync).await;
            }
        }
    }

    /// Opens what is new and takes or gives up leadership, many partitions at once: each waits for the disk.
    fn follow(&self, image: &MetadataImage, topic: &TopicImage, indexes: &[i32], now: Timestamp) {
        let known = self.topics.load().get(&topic.id).cloned().unwrap_or_default();
        let min_in_sync = self.settings.min_in_sync(image, &topic.name);
        let config = self.settings.log_config(image, &topic.name);
        let opened = Mutex::new(BTreeMap::new());
        let follow_one = |index: &i32| {
            let Some(registration) = topic.partitions.get(index) else { return };
            let partition = match known.get(index) {
                Some(partition) => Arc::clone(partition),
                None if !registration.replicas.contains(&self.local) => return,
                // Its log could not be opened. An empty one in its place would lose what it holds.
                None if self.hosted_before(topic.id, *index) => return,
                None => match self.create_partition(image, topic, *index, &config, now) {
                    Some(partition) => {
                        opened.lock().insert(*index, Arc::clone(&partition));
                        partition
                    }
                    None => return,
                },
            };
            if let Err(error) = partition.follow_metadata(registration, self.local, min_in_sync, now) {
                tracing::error!(
                    target: "state.change.logger",
                    "cannot follow the metadata of {}: {error}", partition.topic_partition
                );
            }
        };
        in_parallel(indexes, follow_one);
        let opened = opened.into_inner();
        if !opened.is_empty() {
            let all: BTreeMap<_, _> =
                known.iter().map(|(index, known)| (*index, Arc::clone(known))).chain(opened).collect();
            let all = Arc::new(all);
            self.topics.rcu(|topics| topics.update(topic.id, Arc::clone(&all)));
        }
    }

    /// Whether this broker had a replica by the metadata before the change that is being acted on.
    fn hosted_before(&self, topic_id: Uuid, index: i32) -> bool {
        let image = self.image.load();
        let before = image.topics.partition_by_id(topic_id, index);
        before.is_some_and(|registration| registration.replicas.contains(&self.local))
    }

    /// Gives up a topic's partitions and renames their directories, many at once. Blocks.
    fn delete(&self, topic: &TopicImage, now: Timestamp) {
        let Some(partitions) = self.topics.load().get(&topic.id).cloned() else { return };
        let partitions: Vec<_> = partitions.values().collect();
        in_parallel(&partitions, |partition| {
            partition.retire();
            match partition.with_log_blocking(|log| log.delete(Uuid::from_u128(rand::random()), now)) {
                Ok(deletion) => {
                    self.directories.forget(partition.log_dir);
                    self.schedule_deletion(partition.log_dir, deletion);
                }
                Err(error) => tracing::error!(
                    target: "kafka.log.LogManager",
                    "cannot delete the directory of {}: {error}", partition.topic_partition
                ),
            }
        });
    }

    /// Creates the log of a new partition; `None` if no log dir can take it.
    fn create_partition(
        &self,
        image: &MetadataImage,
        topic: &TopicImage,
        index: i32,
        config: &Arc<LogConfig>,
        now: Timestamp,
    ) -> Option<Arc<Partition>> {
        let Some(log_dir) = self.directories.choose() else {
            tracing::error!(target: "kafka.log.LogManager", "no log dir is online for {}-{index}", topic.name);
            return None;
        };
        match self.open_partition(image, topic, index, (log_dir, Directories::create_log), config, now) {
            Ok(partition) => {
                tracing::info!(
                    target: "kafka.log.LogManager",
                    "Created log for partition {} in {}", partition.topic_partition,
                    self.directories.path(log_dir).join(partition.topic_partition.to_string()).display()
                );
                Some(partition)
            }
            Err(error) => {
                tracing::error!(target: "kafka.log.LogManager", "cannot create {}-{index}: {error}", topic.name);
                None
            }
        }
    }

    fn open_partition(
        &self,
        image: &MetadataImage,
        topic: &TopicImage,
        index: i32,
        (log_dir, open): (usize, Opening),
        config: &Arc<LogConfig>,
        now: Timestamp,
    ) -> Result<Arc<Partition>, StorageError> {
        let topic_partition = TopicPartition { topic: Arc::clone(&topic.name), partition: index };
        let load = LoadLog {
            topic_partition: topic_partition.clone(),
            topic_id: Some(topic.id),
            config: Arc::clone(config),
            now,
            producer_id_expiration_ms: self.settings.producer_id_expiration_ms(image),
        };
        let opened = open(&self.directories, log_dir, load)?;
        let directory = self.directories.get(log_dir);
        Ok(Partition::new(
            topic_partition,
            topic.id,
            log_dir,
            opened.log,
            opened.high_watermark,
            Arc::clone(&directory.committer),
            Arc::clone(&directory.health),
        ))
    }

    /// The first load: what lies in the log dirs is matched with the metadata by name and topic id.
    fn load(&self, now: Timestamp) {
        let image = self.image.load_full();
        let mut found: BTreeMap<TopicPartition, (usize, Uuid)> = BTreeMap::new();
        for log_dir in 0..self.directories.len() {
            for directory in self.directories.partitions(log_dir) {
                match (directory.kind, directory.topic_id) {
                    (PartitionDirKind::Current, Some(topic_id))
                        if image.topics.partition_by_id(topic_id, directory.topic_partition.partition).is_some() =>
                    {
                        found.insert(directory.topic_partition, (log_dir, topic_id));
                    }
                    (PartitionDirKind::Current, _) => tracing::warn!(
                        target: "kafka.log.LogManager",
                        "{} belongs to no topic of this cluster and is left alone", directory.path.display()
                    ),
                    (PartitionDirKind::Deleted, _) => {
                        self.schedule_deletion(log_dir, ScheduledDeletion { at: now, paths: vec![directory.path] });
                    }
                    (PartitionDirKind::Stray | PartitionDirKind::Future | PartitionDirKind::ClusterMetadata, _) => {}
                }
            }
        }
        let mut work: BTreeMap<usize, Vec<(Arc<TopicImage>, i32, Opening)>> = BTreeMap::new();
        for topic in image.topics.iter() {
            for (index, registration) in &topic.partitions {
                if !registration.replicas.contains(&self.local) {
                    continue;
                }
                let name = TopicPartition { topic: Arc::clone(&topic.name), partition: *index };
                let (log_dir, open): (_, Opening) = match found.get(&name) {
                    Some((log_dir, topic_id)) if *topic_id == topic.id => {
                        self.directories.remember(*log_dir);
                        (Some(*log_dir), Directories::open_log)
                    }
                    _ => (self.directories.choose(), Directories::create_log),
                };
                if let Some(log_dir) = log_dir {
                    work.entry(log_dir).or_default().push((Arc::clone(topic), *index, open));
                }
            }
        }
        let configs: BTreeMap<Uuid, Arc<LogConfig>> =
            image.topics.iter().map(|topic| (topic.id, self.settings.log_config(&image, &topic.name))).collect();
        let opened = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for (log_dir, partitions) in &work {
                let threads = self.directories.recovery_threads().min(partitions.len()).max(1);
                for part in partitions.chunks(partitions.len().div_ceil(threads)) {
                    let (image, configs, opened) = (&image, &configs, &opened);
                    scope.spawn(move || {
                        for (topic, index, open) in part {
                            let config = configs.get(&topic.id).map_or_else(Arc::default, Arc::clone);
                            match self.open_partition(image, topic, *index, (*log_dir, *open), &config, now) {
                                Ok(partition) => opened.lock().push(partition),
                                Err(error) => tracing::error!(
                                    target: "kafka.log.LogManager",
                                    "{}-{index} stays offline: {error}", topic.name
                                ),
                            }
                        }
                    });
                }
            }
        });
        let mut topics: HashMap<Uuid, BTreeMap<i32, Arc<Partition>>> = HashMap::new();
        for partition in opened.into_inner() {
            topics.entry(partition.topic_id).or_default().insert(partition.topic_partition.partition, partition);
        }
        self.topics.store(Arc::new(topics.into_iter().map(|(id, partitions)| (id, Arc::new(partitions))).collect()));
    }

    /// Flushes and closes every log, writes the checkpoints and the clean shutdown marks.
    pub fn close(&self, broker_epoch: i64, now: Timestamp) {
        let partitions = self.all();
        self.directories.stop_committers();
        std::thread::scope(|scope| {
            for log_dir in 0..self.directories.len() {
                let partitions = &partitions;
                scope.spawn(move || {
                    let own: Vec<_> = partitions.iter().filter(|partition| partition.log_dir == log_dir).collect();
                    let clean = close_all(&own, now);
                    self.directories.write_checkpoints(log_dir, partitions);
                    if clean && !self.directories.get(log_dir).health.is_offline() {
                        self.directories.close(log_dir, broker_epoch);
                    }
                });
            }
        });
    }

    /// The registration of a hosted partition in the metadata that replicas act on.
    pub fn registration(&self, partition: &Partition) -> Option<Arc<PartitionRegistration>> {
        let image = self.image.load();
        image.topics.partition_by_id(partition.topic_id, partition.topic_partition.partition).cloned()
    }
}
