//! Topics by name and by id, and the state of their partitions.

use std::sync::Arc;

use imbl::OrdMap;
use uuid::Uuid;

use crate::record::{NO_LEADER, PartitionRecord, Record, TopicRecord};

/// All topics. Both maps hold the same topics.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TopicsImage {
    by_name: OrdMap<Arc<str>, Arc<TopicImage>>,
    by_id: OrdMap<Uuid, Arc<TopicImage>>,
}

/// One topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicImage {
    /// Its name.
    pub name: Arc<str>,
    /// Its id.
    pub id: Uuid,
    /// Its partitions, numbered from 0 without a gap.
    pub partitions: OrdMap<i32, Arc<PartitionRegistration>>,
}

/// The state of one partition as the controller decided it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionRegistration {
    /// The replicas, the preferred leader first.
    pub replicas: Vec<i32>,
    /// The log directory of each replica, in the order of `replicas`.
    pub directories: Vec<Uuid>,
    /// The in-sync replicas.
    pub isr: Vec<i32>,
    /// Replicas that a reassignment removes.
    pub removing_replicas: Vec<i32>,
    /// Replicas that a reassignment adds.
    pub adding_replicas: Vec<i32>,
    /// Eligible leader replicas (KIP-966): out of sync, yet with everything committed.
    pub elr: Vec<i32>,
    /// Members of the above that have become unclean since.
    pub last_known_elr: Vec<i32>,
    /// The leader, or [`NO_LEADER`].
    pub leader: i32,
    /// [`crate::record::LEADER_RECOVERED`] or [`crate::record::LEADER_RECOVERING`].
    pub leader_recovery_state: i8,
    /// Rises with every change of the leader.
    pub leader_epoch: i32,
    /// Rises with every change.
    pub partition_epoch: i32,
}

impl PartitionRegistration {
    /// Whether somebody leads the partition.
    pub fn has_leader(&self) -> bool {
        self.leader != NO_LEADER
    }

    /// The first replica, which leads whenever it may.
    pub fn preferred_replica(&self) -> i32 {
        self.replicas.first().copied().unwrap_or(NO_LEADER)
    }

    /// Whether the preferred replica leads.
    pub fn has_preferred_leader(&self) -> bool {
        self.leader == self.preferred_replica()
    }

    /// Whether replicas are being added or removed.
    pub fn is_reassigning(&self) -> bool {
        !self.removing_replicas.is_empty() || !self.adding_replicas.is_empty()
    }

    /// The log directory of a replica; None when it does not replicate this partition.
    pub fn directory(&self, replica: i32) -> Option<Uuid> {
        let index = self.replicas.iter().position(|id| *id == replica)?;
        self.directories.get(index).copied()
    }

    /// The record that describes this state.
    pub fn to_record(&self, topic_id: Uuid, partition_id: i32) -> PartitionRecord {
        let unless_empty = |replicas: &Vec<i32>| (!replicas.is_empty()).then(|| replicas.clone());
        PartitionRecord {
            partition_id,
            topic_id,
            replicas: self.replicas.clone(),
            isr: self.isr.clone(),
            removing_replicas: self.removing_replicas.clone(),
            adding_replicas: self.adding_replicas.clone(),
            leader: self.leader,
            leader_recovery_state: self.leader_recovery_state,
            leader_epoch: self.leader_epoch,
            partition_epoch: self.partition_epoch,
            directories: self.directories.clone(),
            eligible_leader_replicas: unless_empty(&self.elr),
            last_known_elr: unless_empty(&self.last_known_elr),
        }
    }
}

impl From<&PartitionRecord> for PartitionRegistration {
    /// A record without directories (version 0) leaves them unassigned.
    fn from(record: &PartitionRecord) -> Self {
        let directories = if record.directories.is_empty() {
            vec![crate::UNASSIGNED_DIRECTORY; record.replicas.len()]
        } else {
            record.directories.clone()
        };
        PartitionRegistration {
            replicas: record.replicas.clone(),
            directories,
            isr: record.isr.clone(),
            removing_replicas: record.removing_replicas.clone(),
            adding_replicas: record.adding_replicas.clone(),
            elr: record.eligible_leader_replicas.clone().unwrap_or_default(),
            last_known_elr: record.last_known_elr.clone().unwrap_or_default(),
            leader: record.leader,
            leader_recovery_state: record.leader_recovery_state,
            leader_epoch: record.leader_epoch,
            partition_epoch: record.partition_epoch,
        }
    }
}

impl TopicImage {
    /// How many partitions it has.
    pub fn partition_count(&self) -> i32 {
        self.partitions.len() as i32
    }

    /// How many replicas its first partition has; Kafka answers the same for the topic.
    pub fn replication_factor(&self) -> i16 {
        self.partitions.get(&0).map_or(0, |partition| partition.replicas.len() as i16)
    }
}

impl TopicsImage {
    /// The topic of that name.
    pub fn by_name(&self, name: &str) -> Option<&Arc<TopicImage>> {
        self.by_name.get(name)
    }

    /// The topic of that id.
    pub fn by_id(&self, id: Uuid) -> Option<&Arc<TopicImage>> {
        self.by_id.get(&id)
    }

    /// One partition of the topic of that name.
    pub fn partition(&self, name: &str, partition_id: i32) -> Option<&Arc<PartitionRegistration>> {
        self.by_name(name)?.partitions.get(&partition_id)
    }

    /// One partition of the topic of that id.
    pub fn partition_by_id(&self, id: Uuid, partition_id: i32) -> Option<&Arc<PartitionRegistration>> {
        self.by_id(id)?.partitions.get(&partition_id)
    }

    /// All topics, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<TopicImage>> {
        self.by_name.values()
    }

    /// The topics from `name` on (inclusive), sorted by name.
    pub fn iter_from<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Arc<TopicImage>> + use<'a> {
        self.by_name.range(Arc::<str>::from(name)..).map(|(_, topic)| topic)
    }

    /// How many topics there are.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    pub(super) fn by_id_map(&self) -> &OrdMap<Uuid, Arc<TopicImage>> {
        &self.by_id
    }

    pub(super) fn insert(&mut self, topic: TopicImage) {
        let topic = Arc::new(topic);
        self.by_name.insert(Arc::clone(&topic.name), Arc::clone(&topic));
        self.by_id.insert(topic.id, topic);
    }

    pub(super) fn remove(&mut self, id: Uuid) -> Option<Arc<TopicImage>> {
        let topic = self.by_id.remove(&id)?;
        self.by_name.remove(&topic.name);
        Some(topic)
    }

    /// Changes one topic through `change`; None when there is no such topic.
    pub(super) fn update(&mut self, id: Uuid, change: impl FnOnce(&mut TopicImage)) -> Option<()> {
        let mut topic = TopicImage::clone(self.by_id.get(&id)?);
        change(&mut topic);
        self.insert(topic);
        Some(())
    }

    pub(super) fn records(&self, records: &mut Vec<Record>) {
        for topic in self.by_id.values() {
            records.push(Record::Topic(TopicRecord { name: Arc::clone(&topic.name), topic_id: topic.id }));
            for (partition_id, partition) in &topic.partitions {
                records.push(Record::Partition(partition.to_record(topic.id, *partition_id)));
            }
        }
    }
}
