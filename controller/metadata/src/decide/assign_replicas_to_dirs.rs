//! AssignReplicasToDirs (key 73): a broker says in which of its log directories its replicas lie (KIP-858).
//!
//! `ReplicationControlManager.handleAssignReplicasToDirs`. A broker with one directory need not ask: its replicas are
//! placed there. What is assigned already makes no record. Absent: an election, which the heartbeat that names a failed
//! directory asks for.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::assign_replicas_to_dirs_response::{DirectoryData, PartitionData, TopicData};
use kafka_protocol::messages::{AssignReplicasToDirsRequest, AssignReplicasToDirsResponse};
use uuid::Uuid;

use crate::record::{PartitionChangeRecord, Record};

use super::broker_heartbeat::current_registration;
use super::{Context, Decision, Response};

pub(super) fn decide(context: &Context<'_>, request: &AssignReplicasToDirsRequest) -> Decision {
    let answer = |records, response| Decision { records, response: Response::AssignReplicasToDirs(response) };
    let broker_id = request.broker_id.0;
    if current_registration(context.image, broker_id, request.broker_epoch).is_none() {
        let code = ResponseError::StaleBrokerEpoch.code();
        return answer(Vec::new(), AssignReplicasToDirsResponse::default().with_error_code(code));
    }
    let mut records = Vec::new();
    let mut directories = Vec::with_capacity(request.directories.len());
    for directory in &request.directories {
        let mut topics = Vec::with_capacity(directory.topics.len());
        for topic in &directory.topics {
            let rows = topic.partitions.iter().map(|partition| {
                let index = partition.partition_index;
                let code = match assign(context, broker_id, directory.id, topic.topic_id, index) {
                    Ok(change) => {
                        records.extend(change.map(Record::PartitionChange));
                        0
                    }
                    Err(error) => error.code(),
                };
                PartitionData::default().with_partition_index(index).with_error_code(code)
            });
            let rows = rows.collect();
            topics.push(TopicData::default().with_topic_id(topic.topic_id).with_partitions(rows));
        }
        directories.push(DirectoryData::default().with_id(directory.id).with_topics(topics));
    }
    answer(records, AssignReplicasToDirsResponse::default().with_directories(directories))
}

fn assign(
    context: &Context<'_>,
    broker_id: i32,
    directory: Uuid,
    topic_id: Uuid,
    index: i32,
) -> Result<Option<PartitionChangeRecord>, ResponseError> {
    let topic = context.image.topics.by_id(topic_id).ok_or(ResponseError::UnknownTopicId)?;
    let partition = topic.partitions.get(&index).ok_or(ResponseError::UnknownTopicOrPartition)?;
    let place = partition.replicas.iter().position(|replica| *replica == broker_id);
    let place = place.ok_or(ResponseError::NotLeaderOrFollower)?;
    let mut directories = partition.directories.clone();
    match directories.get_mut(place) {
        Some(assigned) if *assigned != directory => *assigned = directory,
        _ => return Ok(None),
    }
    let unchanged = PartitionChangeRecord::new(topic_id, index);
    Ok(Some(PartitionChangeRecord { directories: Some(directories), ..unchanged }))
}
