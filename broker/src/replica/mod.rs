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
mod placement;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use imbl::HashMap;
use milena_metadata::UNASSIGNED_DIRECTORY;
use milena_metadata::image::{ConfigResourceType, MetadataDelta, MetadataImage, PartitionRegistration, TopicImage};
use milena_protocol::{Timestamp, TopicPartition};
use milena_storage::log_dir::{LoadLog, PartitionDir, PartitionDirKind};
use milena_storage::{LogConfig, ScheduledDeletion, StorageError};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use uuid::Uuid;

use directories::Directories;
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

fn report_strange(directory: &PartitionDir) {
    tracing::warn!(
        target: "kafka.log.LogManager",
        "{} belongs to no topic of this cluster and is left alone", directory.path.display()
    );
}

/// How a log comes to be: opened where it lies, or created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opening {
    Existing,
    New,
}

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
    /// What a full disk had no room for: to be opened in the log dir where it lies, or to be created.
    waiting_for_room: Mutex<BTreeMap<(Uuid, i32), Option<usize>>>,
    /// New partitions have found their log dir.
    placed: Notify,
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
            waiting_for_room: Mutex::default(),
            placed: Notify::new(),
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

    /// Files whose time has come, to be removed by their log dir: on a full disk it has come for all.
    pub fn due_deletions(&self, now: Timestamp) -> Vec<(usize, ScheduledDeletion)> {
        let is_full = |log_dir: usize| self.directories.get(log_dir).health.is_full();
        let mut deletions = self.deletions.lock();
        let (due, later) = deletions.drain(..).partition(|(log_dir, deletion)| deletion.at <= now || is_full(*log_dir));
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
        // Where new partitions lie is looked up in the image: only now is it the one that has them.
        self.placed.notify_one();
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
            self.lead_or_follow(&partition, registration, min_in_sync, now);
        };
        in_parallel(indexes, follow_one);
        let opened = opened.into_inner();
        if !opened.is_empty() {
            self.host(topic.id, opened);
        }
    }

    /// Whether something could not be opened or created for want of room.
    pub fn waits_for_room(&self) -> bool {
        !self.waiting_for_room.lock().is_empty()
    }

    /// Tries again to open or create what a full disk had no room for. Blocks; never while [`Replicas::apply`] runs.
    pub fn retry_for_room(&self, now: Timestamp) {
        // Deletions make room, and are not waited for in order.
        let waiting = self.waiting_for_room.lock().clone();
        let image = self.image();
        for (key, lies_in) in waiting {
            let (topic_id, index) = key;
            let topic = image.topics.by_id(topic_id);
            let Some((topic, registration)) = topic.and_then(|topic| Some((topic, topic.partitions.get(&index)?)))
            else {
                self.waiting_for_room.lock().remove(&key);
                continue;
            };
            let config = self.settings.log_config(&image, &topic.name);
            let opened = match lies_in {
                None => self.create_partition(&image, topic, index, &config, now),
                Some(log_dir) => self.open_or_wait(&image, topic, index, (log_dir, Opening::Existing), &config, now),
            };
            let Some(partition) = opened else { continue };
            self.waiting_for_room.lock().remove(&key);
            let min_in_sync = self.settings.min_in_sync(&image, &topic.name);
            self.lead_or_follow(&partition, registration, min_in_sync, now);
            self.host(topic_id, BTreeMap::from([(index, partition)]));
        }
    }

    fn host(&self, topic_id: Uuid, opened: BTreeMap<i32, Arc<Partition>>) {
        let known = self.topics.load().get(&topic_id).cloned().unwrap_or_default();
        let all: BTreeMap<_, _> =
            known.iter().map(|(index, known)| (*index, Arc::clone(known))).chain(opened).collect();
        let all = Arc::new(all);
        self.topics.rcu(|topics| topics.update(topic_id, Arc::clone(&all)));
        self.placed.notify_one();
    }

    fn lead_or_follow(
        &self,
        partition: &Partition,
        registration: &PartitionRegistration,
        min_in_sync: i32,
        now: Timestamp,
    ) {
        if let Err(error) = partition.follow_metadata(registration, self.local, min_in_sync, now) {
            tracing::error!(
                target: "state.change.logger",
                "cannot follow the metadata of {}: {error}", partition.topic_partition
            );
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

    /// Creates the log of a new partition in the first log dir that takes it; `None` if none does.
    fn create_partition(
        &self,
        image: &MetadataImage,
        topic: &TopicImage,
        index: i32,
        config: &Arc<LogConfig>,
        now: Timestamp,
    ) -> Option<Arc<Partition>> {
        let mut tried = Vec::new();
        let mut is_full = false;
        while let Some(log_dir) = self.directories.choose(&tried) {
            match self.open_partition(image, topic, index, (log_dir, Opening::New), config, now) {
                Ok(partition) => {
                    tracing::info!(
                        target: "kafka.log.LogManager",
                        "Created log for partition {} in {}", partition.topic_partition,
                        self.directories.path(log_dir).join(partition.topic_partition.to_string()).display()
                    );
                    return Some(partition);
                }
                Err(error) => is_full |= self.on_failure(topic, index, &error),
            }
            self.directories.forget(log_dir);
            tried.push(log_dir);
        }
        if tried.is_empty() {
            tracing::error!(target: "kafka.log.LogManager", "no log dir is online for {}-{index}", topic.name);
        }
        if is_full {
            self.waiting_for_room.lock().insert((topic.id, index), None);
        }
        None
    }

    /// Opens or creates a log in this log dir; `None` if that cannot be done now.
    fn open_or_wait(
        &self,
        image: &MetadataImage,
        topic: &TopicImage,
        index: i32,
        (log_dir, opening): (usize, Opening),
        config: &Arc<LogConfig>,
        now: Timestamp,
    ) -> Option<Arc<Partition>> {
        match self.open_partition(image, topic, index, (log_dir, opening), config, now) {
            Ok(partition) => Some(partition),
            Err(error) => {
                if self.on_failure(topic, index, &error) {
                    let lies_in = (opening == Opening::Existing).then_some(log_dir);
                    self.waiting_for_room.lock().insert((topic.id, index), lies_in);
                }
                None
            }
        }
    }

    /// A log could not be opened or created. Answers whether it lacks only room.
    fn on_failure(&self, topic: &TopicImage, index: i32, error: &StorageError) -> bool {
        let name = &topic.name;
        match error {
            StorageError::Disk(error) if error.is_full() => {
                // It is tried every second: the first time is enough to say so.
                if !self.waiting_for_room.lock().contains_key(&(topic.id, index)) {
                    tracing::error!(
                        target: "kafka.log.LogManager",
                        "{name}-{index} is offline until there is room on its disk: {error}"
                    );
                }
                true
            }
            error => {
                tracing::error!(target: "kafka.log.LogManager", "{name}-{index} stays offline: {error}");
                false
            }
        }
    }

    fn open_partition(
        &self,
        image: &MetadataImage,
        topic: &TopicImage,
        index: i32,
        (log_dir, opening): (usize, Opening),
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
        let opened = match opening {
            Opening::Existing => self.directories.open_log(log_dir, load)?,
            Opening::New => self.directories.create_log(log_dir, load)?,
        };
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

    /// Where the first load finds the partitions of this broker: what lies in the log dirs is matched with the metadata by
    /// name and topic id. What lies there and belongs to nobody is reported and left alone.
    fn find_logs(&self, image: &MetadataImage, now: Timestamp) -> BTreeMap<(Uuid, i32), usize> {
        let mut found = BTreeMap::new();
        let mut nameless = Vec::new();
        for log_dir in 0..self.directories.len() {
            for directory in self.directories.partitions(log_dir) {
                let index = directory.topic_partition.partition;
                match (directory.kind, directory.topic_id) {
                    (PartitionDirKind::Current, Some(topic_id))
                        if image.topics.partition_by_id(topic_id, index).is_some() =>
                    {
                        found.insert((topic_id, index), log_dir);
                    }
                    (PartitionDirKind::Current, None) => nameless.push((log_dir, directory)),
                    (PartitionDirKind::Current, Some(_)) => report_strange(&directory),
                    (PartitionDirKind::Deleted, _) => {
                        self.schedule_deletion(log_dir, ScheduledDeletion { at: now, paths: vec![directory.path] });
                    }
                    (PartitionDirKind::Stray | PartitionDirKind::Future | PartitionDirKind::ClusterMetadata, _) => {}
                }
            }
        }
        // Without a readable partition.metadata the name and the log dir decide, where the metadata agrees and nothing else is there.
        for (log_dir, directory) in nameless {
            let TopicPartition { topic, partition } = &directory.topic_partition;
            let ours = image.topics.by_name(topic).and_then(|topic| Some((topic, topic.partitions.get(partition)?)));
            let assigned = ours.and_then(|(_, registration)| registration.directory(self.local));
            let belongs_here = assigned.is_some_and(|assigned| {
                assigned == UNASSIGNED_DIRECTORY || assigned == self.directories.get(log_dir).id
            });
            match ours.map(|(topic, _)| (topic.id, *partition)) {
                Some(key) if belongs_here && !found.contains_key(&key) => {
                    tracing::warn!(
                        target: "kafka.log.LogManager",
                        "{} has no readable partition.metadata; by its name it is taken for the partition of topic id {}",
                        directory.path.display(), milena_protocol::kafka_uuid::encode(key.0)
                    );
                    found.insert(key, log_dir);
                }
                _ => report_strange(&directory),
            }
        }
        found
    }

    /// Where the log of a partition that was not found is to be created; `None` if it may lie in a log dir that is offline.
    fn place_anew(&self, topic: &TopicImage, index: i32, registration: &PartitionRegistration) -> Option<usize> {
        let assigned = registration.directory(self.local);
        let place = match assigned {
            Some(assigned) if assigned != UNASSIGNED_DIRECTORY => {
                self.directories.online_with_id(assigned).inspect(|log_dir| self.directories.remember(*log_dir))
            }
            _ if self.directories.any_offline() => None,
            _ => self.directories.choose(&[]),
        };
        if place.is_none() {
            tracing::error!(
                target: "kafka.log.LogManager",
                "{}-{index} stays offline: its log is in no log dir that is online", topic.name
            );
        }
        place
    }

    fn load(&self, now: Timestamp) {
        let image = self.image.load_full();
        let found = self.find_logs(&image, now);
        let mut work: BTreeMap<usize, Vec<(Arc<TopicImage>, i32, Opening)>> = BTreeMap::new();
        for topic in image.topics.iter() {
            for (index, registration) in &topic.partitions {
                if !registration.replicas.contains(&self.local) {
                    continue;
                }
                let (log_dir, opening) = match found.get(&(topic.id, *index)) {
                    Some(log_dir) => {
                        self.directories.remember(*log_dir);
                        (Some(*log_dir), Opening::Existing)
                    }
                    None => (self.place_anew(topic, *index, registration), Opening::New),
                };
                if let Some(log_dir) = log_dir {
                    work.entry(log_dir).or_default().push((Arc::clone(topic), *index, opening));
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
                        for (topic, index, opening) in part {
                            let config = configs.get(&topic.id).map_or_else(Arc::default, Arc::clone);
                            let found = self.open_or_wait(image, topic, *index, (*log_dir, *opening), &config, now);
                            opened.lock().extend(found);
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
