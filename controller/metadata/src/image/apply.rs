//! Records become the next image.

use std::sync::Arc;

use crate::record::{BrokerRegistrationChangeRecord, NO_LEADER_CHANGE, PartitionChangeRecord, PartitionRecord, Record};

use super::{
    BrokerRegistration, ConfigResource, ConfigResourceType, MetadataDelta, MetadataImage, PartitionRegistration,
    ProducerIdsImage, TopicImage,
};

impl MetadataImage {
    /// The image after `records`, the last of which stands at `offset` in `epoch`, and what they changed.
    pub fn apply(&self, records: &[Record], offset: i64, epoch: i32) -> (MetadataImage, MetadataDelta) {
        let mut image = self.clone();
        for record in records {
            let made_sense = image.replay(record);
            debug_assert!(made_sense.is_some(), "metadata record against nothing: {record:?}");
        }
        image.offset = offset;
        image.epoch = epoch;
        let delta = MetadataDelta::between(self, &image);
        (image, delta)
    }

    /// None when the record refers to something that is not there; nothing has changed then.
    fn replay(&mut self, record: &Record) -> Option<()> {
        match record {
            Record::Topic(record) => {
                if self.topics.by_name(&record.name).is_some() || self.topics.by_id(record.topic_id).is_some() {
                    return None;
                }
                self.topics.insert(TopicImage {
                    name: Arc::clone(&record.name),
                    id: record.topic_id,
                    partitions: imbl::OrdMap::new(),
                });
            }
            Record::RemoveTopic(record) => {
                let topic = self.topics.remove(record.topic_id)?;
                self.configs.remove(&ConfigResource::topic(Arc::clone(&topic.name)));
            }
            Record::Partition(record) => self.replay_partition(record)?,
            Record::PartitionChange(record) => self.replay_partition_change(record)?,
            Record::ClearElr(record) => self.replay_clear_elr(&record.topic_name)?,
            Record::Config(record) => {
                let resource_type = ConfigResourceType::from_id(record.resource_type)?;
                let resource = ConfigResource { resource_type, name: Arc::clone(&record.resource_name) };
                self.configs.set(resource, Arc::clone(&record.name), record.value.clone());
            }
            Record::RegisterBroker(record) => {
                self.brokers.by_id.insert(record.broker_id, Arc::new(BrokerRegistration::from(record)));
            }
            Record::UnregisterBroker(record) => {
                let broker = self.brokers.get(record.broker_id)?;
                if broker.epoch != record.broker_epoch {
                    return None;
                }
                self.brokers.by_id.remove(&record.broker_id);
            }
            Record::BrokerRegistrationChange(record) => self.replay_registration_change(record)?,
            Record::FenceBroker(record) => {
                let mut change = BrokerRegistrationChangeRecord::new(record.id, record.epoch);
                change.fenced = 1;
                self.replay_registration_change(&change)?;
            }
            Record::UnfenceBroker(record) => {
                let mut change = BrokerRegistrationChangeRecord::new(record.id, record.epoch);
                change.fenced = -1;
                self.replay_registration_change(&change)?;
            }
            Record::FeatureLevel(record) => {
                if record.feature_level == 0 {
                    self.features.finalized.remove(&record.name);
                } else {
                    self.features.finalized.insert(Arc::clone(&record.name), record.feature_level);
                }
            }
            Record::ProducerIds(record) => {
                self.producer_ids = ProducerIdsImage {
                    next_producer_id: record.next_producer_id,
                    last_broker_id: record.broker_id,
                    last_broker_epoch: record.broker_epoch,
                };
            }
            Record::NoOp => {}
        }
        Some(())
    }

    fn replay_partition(&mut self, record: &PartitionRecord) -> Option<()> {
        self.topics.update(record.topic_id, |topic| {
            topic.partitions.insert(record.partition_id, Arc::new(PartitionRegistration::from(record)));
        })
    }

    fn replay_partition_change(&mut self, record: &PartitionChangeRecord) -> Option<()> {
        let partition = self.topics.partition_by_id(record.topic_id, record.partition_id)?;
        let changed = Arc::new(partition.merge(record));
        self.topics.update(record.topic_id, |topic| {
            topic.partitions.insert(record.partition_id, changed);
        })
    }

    fn replay_clear_elr(&mut self, topic_name: &str) -> Option<()> {
        let ids: Vec<_> = if topic_name.is_empty() {
            self.topics.iter().map(|topic| topic.id).collect()
        } else {
            vec![self.topics.by_name(topic_name)?.id]
        };
        for id in ids {
            self.topics.update(id, |topic| {
                let with_elr = |partition: &PartitionRegistration| {
                    !partition.elr.is_empty() || !partition.last_known_elr.is_empty()
                };
                let cleared: Vec<_> = topic
                    .partitions
                    .iter()
                    .filter(|(_, partition)| with_elr(partition))
                    .map(|(partition_id, partition)| {
                        let mut partition = PartitionRegistration::clone(partition);
                        partition.elr.clear();
                        partition.last_known_elr.clear();
                        (*partition_id, Arc::new(partition))
                    })
                    .collect();
                topic.partitions.extend(cleared);
            });
        }
        Some(())
    }

    fn replay_registration_change(&mut self, record: &BrokerRegistrationChangeRecord) -> Option<()> {
        let broker = self.brokers.get(record.broker_id)?;
        if broker.epoch != record.broker_epoch {
            return None;
        }
        let mut broker = BrokerRegistration::clone(broker);
        match record.fenced {
            -1 => broker.fenced = false,
            1 => broker.fenced = true,
            _ => {}
        }
        if record.in_controlled_shutdown == 1 {
            broker.in_controlled_shutdown = true;
        }
        if !record.log_dirs.is_empty() {
            broker.log_dirs.clone_from(&record.log_dirs);
            broker.log_dirs.sort_unstable();
        }
        if record.cordoned_log_dirs.is_some() {
            broker.cordoned_log_dirs.clone_from(&record.cordoned_log_dirs);
        }
        self.brokers.by_id.insert(record.broker_id, Arc::new(broker));
        Some(())
    }
}

impl PartitionRegistration {
    /// The state after a change; the rules are those of `PartitionRegistration.merge`: the leader epoch rises when the
    /// record names a leader (the same one, too), the partition epoch with every record.
    #[must_use]
    pub fn merge(&self, record: &PartitionChangeRecord) -> PartitionRegistration {
        let mut merged = self.clone();
        let assign = |target: &mut Vec<i32>, value: &Option<Vec<i32>>| {
            if let Some(value) = value {
                target.clone_from(value);
            }
        };
        if let Some(replicas) = &record.replicas {
            merged.replicas.clone_from(replicas);
            merged.directories = match &record.directories {
                Some(directories) => directories.clone(),
                None => replicas
                    .iter()
                    .map(|replica| self.directory(*replica).unwrap_or(crate::UNASSIGNED_DIRECTORY))
                    .collect(),
            };
        } else if let Some(directories) = &record.directories {
            merged.directories.clone_from(directories);
        }
        assign(&mut merged.isr, &record.isr);
        assign(&mut merged.removing_replicas, &record.removing_replicas);
        assign(&mut merged.adding_replicas, &record.adding_replicas);
        assign(&mut merged.elr, &record.eligible_leader_replicas);
        assign(&mut merged.last_known_elr, &record.last_known_elr);
        if record.leader != NO_LEADER_CHANGE {
            merged.leader = record.leader;
            merged.leader_epoch += 1;
        }
        if record.leader_recovery_state != -1 {
            merged.leader_recovery_state = record.leader_recovery_state;
        }
        merged.partition_epoch += 1;
        merged
    }
}
