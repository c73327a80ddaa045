//! ListPartitionReassignments (key 46): what is being moved. A read.
//!
//! Version 0 (KIP-455). Unknown topics and partitions, and those that nobody moves, are left out.

use kafka_protocol::messages::list_partition_reassignments_response::{
    OngoingPartitionReassignment, OngoingTopicReassignment,
};
use kafka_protocol::messages::{
    BrokerId, ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;

use crate::image::{PartitionRegistration, TopicImage};

use super::{Context, Decision, Response};

pub(super) fn decide(context: &Context<'_>, request: &ListPartitionReassignmentsRequest) -> Decision {
    let topics = &context.image.topics;
    let ongoing: Vec<_> = match &request.topics {
        None => topics.iter().filter_map(|topic| ongoing(topic, |_| true)).collect(),
        Some(wanted) => wanted
            .iter()
            .filter_map(|wanted| {
                let topic = topics.by_name(wanted.name.as_str())?;
                ongoing(topic, |partition_id| wanted.partition_indexes.contains(&partition_id))
            })
            .collect(),
    };
    let response = ListPartitionReassignmentsResponse::default().with_error_message(None).with_topics(ongoing);
    Decision { records: Vec::new(), response: Response::ListPartitionReassignments(response) }
}

fn ongoing(topic: &TopicImage, wanted: impl Fn(i32) -> bool) -> Option<OngoingTopicReassignment> {
    let partitions: Vec<_> = topic
        .partitions
        .iter()
        .filter(|(partition_id, partition)| partition.is_reassigning() && wanted(**partition_id))
        .map(|(partition_id, partition)| row(*partition_id, partition))
        .collect();
    let name = TopicName(StrBytes::from_string(topic.name.to_string()));
    (!partitions.is_empty()).then(|| OngoingTopicReassignment::default().with_name(name).with_partitions(partitions))
}

fn row(partition_id: i32, partition: &PartitionRegistration) -> OngoingPartitionReassignment {
    let ids = |replicas: &[i32]| replicas.iter().map(|id| BrokerId(*id)).collect();
    OngoingPartitionReassignment::default()
        .with_partition_index(partition_id)
        .with_replicas(ids(&partition.replicas))
        .with_adding_replicas(ids(&partition.adding_replicas))
        .with_removing_replicas(ids(&partition.removing_replicas))
}
