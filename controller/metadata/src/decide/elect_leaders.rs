//! ElectLeaders (key 43): the preferred leader, or any that is there.
//!
//! Versions 0-2: v1 adds the type of election (KIP-460). A null list means all partitions, and then those that need no
//! election get no row, though their topics are listed.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use kafka_protocol::messages::{ElectLeadersRequest, ElectLeadersResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use crate::partition_change::{Election, PartitionChange};
use crate::record::Record;

use super::answer::ApiError;
use super::leadership::{may_lead, min_isr};
use super::topic_name::shown;
use super::{Context, Decision, Response};

pub(super) fn decide(context: &Context<'_>, version: i16, request: &ElectLeadersRequest) -> Decision {
    let election = match request.election_type {
        _ if version == 0 => Ok(Election::Preferred),
        0 => Ok(Election::Preferred),
        1 => Ok(Election::Unclean),
        unknown => Err(ApiError::new(ResponseError::InvalidRequest, format!("Unknown election type {unknown}"))),
    };
    let election = match election {
        Ok(_) if request.timeout_ms <= 0 => Err(ApiError::without_message(ResponseError::RequestTimedOut)),
        other => other,
    };
    let mut records = Vec::new();
    let (error_code, results) = match election {
        // Version 0 has no error but those of the rows.
        Err(error) => (if version == 0 { 0 } else { error.code }, refuse_all(request, &error)),
        Ok(election) => (0, elect_all(context, request, election, &mut records)),
    };
    let response = ElectLeadersResponse::default().with_error_code(error_code).with_replica_election_results(results);
    Decision { records, response: Response::ElectLeaders(response) }
}

fn refuse_all(request: &ElectLeadersRequest, error: &ApiError) -> Vec<ReplicaElectionResult> {
    let topics = request.topic_partitions.as_deref().unwrap_or_default();
    topics
        .iter()
        .map(|topic| {
            let rows = topic.partitions.iter().map(|partition_id| row(*partition_id, Some(error))).collect();
            ReplicaElectionResult::default().with_topic(topic.topic.clone()).with_partition_result(rows)
        })
        .collect()
}

fn elect_all(
    context: &Context<'_>,
    request: &ElectLeadersRequest,
    election: Election,
    records: &mut Vec<Record>,
) -> Vec<ReplicaElectionResult> {
    let mut results = Vec::new();
    let result =
        |topic: TopicName, rows| ReplicaElectionResult::default().with_topic(topic).with_partition_result(rows);
    match &request.topic_partitions {
        Some(topics) => {
            for topic in topics {
                let mut rows = Vec::new();
                for partition_id in &topic.partitions {
                    let error = elect(context, topic.topic.as_str(), *partition_id, election, records).err();
                    rows.push(row(*partition_id, error.as_ref()));
                }
                results.push(result(topic.topic.clone(), rows));
            }
        }
        None => {
            for topic in context.image.topics.iter() {
                let mut rows = Vec::new();
                for partition_id in topic.partitions.keys() {
                    match elect(context, &topic.name, *partition_id, election, records) {
                        Err(error) if error.code == ResponseError::ElectionNotNeeded.code() => {}
                        outcome => rows.push(row(*partition_id, outcome.err().as_ref())),
                    }
                }
                results.push(result(TopicName(StrBytes::from_string(topic.name.to_string())), rows));
            }
        }
    }
    results
}

fn elect(
    context: &Context<'_>,
    name: &str,
    partition_id: i32,
    election: Election,
    records: &mut Vec<Record>,
) -> Result<(), ApiError> {
    let unknown = |message| ApiError::new(ResponseError::UnknownTopicOrPartition, message);
    let topics = &context.image.topics;
    let topic = topics.by_name(name).ok_or_else(|| unknown(format!("No such topic as {}", shown(name))))?;
    let partition = topic
        .partitions
        .get(&partition_id)
        .ok_or_else(|| unknown(format!("No such partition as {name}-{partition_id}")))?;
    let not_needed = match election {
        Election::Preferred => partition.has_preferred_leader(),
        Election::Online | Election::Unclean => partition.has_leader(),
    };
    let not_needed = not_needed
        || records.iter().any(|record| {
            matches!(record, Record::PartitionChange(change)
                if change.topic_id == topic.id && change.partition_id == partition_id)
        });
    if not_needed {
        let message = "Leader election not needed for topic partition.";
        return Err(ApiError::new(ResponseError::ElectionNotNeeded, message));
    }
    let acceptable = |replica: i32| may_lead(context.image, partition, replica);
    let elr_enabled = context.image.features.elr_enabled();
    let min_isr = min_isr(context, topic);
    let mut change = PartitionChange::new(partition, topic.id, partition_id, &acceptable, min_isr, elr_enabled);
    change.election = election;
    match change.build() {
        Some(record) => {
            records.push(Record::PartitionChange(record));
            Ok(())
        }
        None if election == Election::Preferred => {
            Err(ApiError::new(ResponseError::PreferredLeaderNotAvailable, "The preferred leader was not available."))
        }
        None => Err(ApiError::new(
            ResponseError::EligibleLeadersNotAvailable,
            "Eligible topic partition leaders are not available.",
        )),
    }
}

fn row(partition_id: i32, error: Option<&ApiError>) -> PartitionResult {
    PartitionResult::default()
        .with_partition_id(partition_id)
        .with_error_code(error.map_or(0, |error| error.code))
        .with_error_message(error.and_then(ApiError::message))
}
