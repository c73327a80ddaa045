//! CreatePartitions (key 37): topics get more partitions, each for itself.
//!
//! Versions 0-3. Order of checks, as in `ControllerApis.createPartitions` and `ReplicationControlManager`: twice in the
//! request, timeout; then for each topic its existence, the count, the number of assignments, the assignments.

use std::collections::BTreeSet;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::{CreatePartitionsRequest, CreatePartitionsResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use rand::Rng;

use crate::placement;
use crate::record::Record;

use super::answer::ApiError;
use super::new_partitions::{assigned_partition, check_assignment, placed_partitions};
use super::{Context, Decision, MAX_RECORDS_PER_USER_OP, Response};

pub(super) fn decide(context: &Context<'_>, request: &CreatePartitionsRequest) -> Decision {
    let mut seen = BTreeSet::new();
    let mut twice = BTreeSet::new();
    for topic in &request.topics {
        if !seen.insert(topic.name.as_str()) {
            twice.insert(topic.name.as_str());
        }
    }
    let mut results: Vec<_> = twice
        .iter()
        .map(|name| {
            let name = TopicName(StrBytes::from_string((*name).to_owned()));
            row(&name, Some(&ApiError::new(ResponseError::InvalidRequest, "Duplicate topic name.")))
        })
        .collect();
    let topics: Vec<_> = request.topics.iter().filter(|topic| !twice.contains(topic.name.as_str())).collect();
    let mut records = Vec::new();
    match create_all(context, request, &topics) {
        Ok((made, rows)) => {
            records = made;
            results.extend(rows);
        }
        Err(error) => results.extend(topics.iter().map(|topic| row(&topic.name, Some(&error)))),
    }
    if request.validate_only {
        records.clear();
    }
    let response = CreatePartitionsResponse::default().with_results(results);
    Decision { records, response: Response::CreatePartitions(response) }
}

fn create_all(
    context: &Context<'_>,
    request: &CreatePartitionsRequest,
    topics: &[&CreatePartitionsTopic],
) -> Result<(Vec<Record>, Vec<CreatePartitionsTopicResult>), ApiError> {
    if request.timeout_ms <= 0 {
        return Err(ApiError::without_message(ResponseError::RequestTimedOut));
    }
    let mut rng = placement::rng(context.seed);
    let mut records = Vec::new();
    let mut rows = Vec::new();
    for topic in topics {
        match create_one(context, topic, MAX_RECORDS_PER_USER_OP - records.len(), &mut rng) {
            Ok(made) => {
                records.extend(made);
                rows.push(row(&topic.name, None));
            }
            Err(error) => rows.push(row(&topic.name, Some(&error))),
        }
    }
    Ok((records, rows))
}

/// A topic for which no room is left among the records of one request gets an unknown error, as in Kafka.
fn create_one(
    context: &Context<'_>,
    wanted: &CreatePartitionsTopic,
    records_left: usize,
    rng: &mut impl Rng,
) -> Result<Vec<Record>, ApiError> {
    let Some(topic) = context.image.topics.by_name(wanted.name.as_str()) else {
        return Err(ApiError::without_message(ResponseError::UnknownTopicOrPartition));
    };
    let (present, count) = (topic.partition_count(), wanted.count);
    let refuse = |error, message: String| Err(ApiError::new(error, message));
    if count == present {
        return refuse(ResponseError::InvalidPartitions, format!("Topic already has {present} partition(s)."));
    }
    if count < present {
        let name = wanted.name.as_str();
        let message =
            format!("The topic {name} currently has {present} partition(s); {count} would not be an increase.");
        return refuse(ResponseError::InvalidPartitions, message);
    }
    let additional = count - present;
    if let Some(assignments) = &wanted.assignments
        && assignments.len() != additional as usize
    {
        let message = format!(
            "Attempted to add {additional} additional partition(s), but only {} assignment(s) were specified.",
            assignments.len()
        );
        return refuse(ResponseError::InvalidReplicaAssignment, message);
    }
    if additional as usize > records_left {
        return Err(ApiError::without_message(ResponseError::UnknownServerError));
    }
    let replication_factor = topic.replication_factor();
    let partitions = match &wanted.assignments {
        None => placed_partitions(context.image, topic.id, present, additional, replication_factor, rng),
        Some(assignments) => (present..)
            .zip(assignments)
            .map(|(partition_id, assignment)| {
                let expected = Some(replication_factor as usize);
                let replicas = check_assignment(context.image, &assignment.broker_ids, expected)?;
                assigned_partition(context.image, topic.id, partition_id, replicas)
            })
            .collect::<Result<Vec<_>, _>>(),
    };
    Ok(partitions?.into_iter().map(Record::Partition).collect())
}

fn row(name: &TopicName, error: Option<&ApiError>) -> CreatePartitionsTopicResult {
    CreatePartitionsTopicResult::default()
        .with_name(name.clone())
        .with_error_code(error.map_or(0, |error| error.code))
        .with_error_message(error.and_then(ApiError::message))
}
