//! Who leads after a broker came, went or changed (`ReplicationControlManager.generateLeaderAndIsrUpdates`).

use crate::image::{MetadataImage, PartitionRegistration, TopicImage};
use crate::partition_change::{Election, PartitionChange};
use crate::record::Record;
use crate::topic_config;

use super::Context;

/// What happened to a broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BrokerEvent {
    /// It leaves its ISRs: fenced, stopping or unregistered.
    Leaves(i32),
    /// It comes back and may lead what has no leader.
    Returns(i32),
    /// It had stopped without saying so: what it had not synced may be gone.
    StoppedUncleanly(i32),
}

impl BrokerEvent {
    /// Whether the event can change this partition.
    fn concerns(self, partition: &PartitionRegistration) -> bool {
        match self {
            BrokerEvent::Leaves(id) => partition.isr.contains(&id),
            BrokerEvent::Returns(_) => !partition.has_leader(),
            BrokerEvent::StoppedUncleanly(id) => partition.isr.contains(&id) || partition.elr.contains(&id),
        }
    }
}

/// The changes of partitions that follow from the event.
pub(super) fn partition_changes(context: &Context<'_>, event: BrokerEvent) -> Vec<Record> {
    partition_changes_where(context, event, |_| true)
}

/// The same for the partitions that also satisfy `also`.
pub(super) fn partition_changes_where(
    context: &Context<'_>,
    event: BrokerEvent,
    also: impl Fn(&PartitionRegistration) -> bool,
) -> Vec<Record> {
    let image = context.image;
    let mut records = Vec::new();
    for topic in image.topics.iter() {
        let concerned = |partition: &PartitionRegistration| event.concerns(partition) && also(partition);
        if !topic.partitions.values().any(|partition| concerned(partition)) {
            continue;
        }
        let min_isr = min_isr(context, topic);
        let unclean_allowed = unclean_leader_election_enabled(context, topic);
        for (partition_id, partition) in topic.partitions.iter().filter(|(_, partition)| concerned(partition)) {
            let acceptable = |replica: i32| match event {
                BrokerEvent::Leaves(id) | BrokerEvent::StoppedUncleanly(id) if id == replica => false,
                BrokerEvent::Returns(id) if id == replica => is_directory_online(image, partition, replica),
                _ => may_lead(image, partition, replica),
            };
            let elr_enabled = image.features.elr_enabled();
            let mut change =
                PartitionChange::new(partition, topic.id, *partition_id, &acceptable, min_isr, elr_enabled);
            if unclean_allowed {
                change.election = Election::Unclean;
            }
            if let BrokerEvent::Leaves(id) | BrokerEvent::StoppedUncleanly(id) = event {
                change.target_isr.retain(|replica| *replica != id);
            }
            if let BrokerEvent::StoppedUncleanly(id) = event {
                change.unclean_shutdown_replica = Some(id);
            }
            records.extend(change.build().map(Record::PartitionChange));
        }
    }
    records
}

/// Whether the broker is there, not stopping, and has the partition's directory.
pub(super) fn may_lead(image: &MetadataImage, partition: &PartitionRegistration, replica: i32) -> bool {
    image.brokers.is_active(replica) && is_directory_online(image, partition, replica)
}

fn is_directory_online(image: &MetadataImage, partition: &PartitionRegistration, replica: i32) -> bool {
    let broker = image.brokers.get(replica);
    partition.directory(replica).zip(broker).is_some_and(|(directory, broker)| broker.has_online_directory(directory))
}

/// The topic's `min.insync.replicas` as it is in force.
pub(super) fn min_isr(context: &Context<'_>, topic: &TopicImage) -> usize {
    let own = context.image.configs.topic(&topic.name);
    let value = topic_config::effective("min.insync.replicas", own, &context.layers());
    value.and_then(|value| value.as_i64()).and_then(|value| usize::try_from(value).ok()).unwrap_or(1)
}

/// The topic's `unclean.leader.election.enable` as it is in force.
pub(super) fn unclean_leader_election_enabled(context: &Context<'_>, topic: &TopicImage) -> bool {
    let own = context.image.configs.topic(&topic.name);
    let value = topic_config::effective("unclean.leader.election.enable", own, &context.layers());
    value.and_then(|value| value.as_bool()).unwrap_or(false)
}
