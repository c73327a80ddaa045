//! CreateTopics (key 19): new topics, each for itself.
//!
//! Versions 0-7: v5 answers the configuration in force (KIP-525), v7 the topic's id (KIP-516).
//!
//! Order of checks, as in `ControllerApis.createTopics` and `ReplicationControlManager`: twice in the request, the
//! metadata topic's name, timeout, number of partitions in all; then for each topic its name, existence, collision,
//! configuration, and the numbers or the assignment. Rows refused for the first two reasons stand at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use kafka_protocol::messages::{CreateTopicsRequest, CreateTopicsResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use rand::Rng;
use uuid::Uuid;

use crate::image::{ConfigMap, ConfigResourceType};
use crate::placement;
use crate::record::{ConfigRecord, PartitionRecord, Record, TopicRecord};
use crate::topic_config;

use super::answer::{ApiError, static_number};
use super::new_partitions::{assigned_partition, check_assignment, placed_partitions};
use super::topic_name::{collision_key, validate_topic_name};
use super::{Context, Decision, MAX_RECORDS_PER_USER_OP, Response};

const CLUSTER_METADATA_TOPIC: &str = "__cluster_metadata";
/// `ReplicationControlManager.MAX_PARTITIONS_PER_BATCH`.
const MAX_PARTITIONS_PER_BATCH: i64 = 10_000;

pub(super) fn decide(context: &Context<'_>, version: i16, request: &CreateTopicsRequest) -> Decision {
    let (topics, refused) = split_refused(&request.topics);
    let (mut records, mut results) = match create_all(context, request, &topics) {
        Ok(created) => created,
        Err(error) => (Vec::new(), topics.iter().map(|topic| error_row(&topic.name, &error)).collect()),
    };
    if request.validate_only {
        records.clear();
    }
    results.extend(refused);
    if version < 5 {
        for result in &mut results {
            result.configs = None;
        }
    }
    Decision { records, response: Response::CreateTopics(CreateTopicsResponse::default().with_topics(results)) }
}

/// The topics to look at, and one row for each name that came twice or is the metadata topic's.
fn split_refused(topics: &[CreatableTopic]) -> (Vec<&CreatableTopic>, Vec<CreatableTopicResult>) {
    let mut seen = BTreeSet::new();
    let mut twice = BTreeSet::new();
    for topic in topics {
        if !seen.insert(topic.name.as_str()) {
            twice.insert(topic.name.as_str());
        }
    }
    let accepted = topics
        .iter()
        .filter(|topic| !twice.contains(topic.name.as_str()) && topic.name.as_str() != CLUSTER_METADATA_TOPIC)
        .collect();
    let row = |name: &str, message: String| {
        let name = TopicName(StrBytes::from_string(name.to_owned()));
        error_row(&name, &ApiError::new(ResponseError::InvalidRequest, message))
    };
    let mut refused: Vec<_> = twice.iter().map(|name| row(name, "Duplicate topic name.".to_owned())).collect();
    if seen.contains(CLUSTER_METADATA_TOPIC) && !twice.contains(CLUSTER_METADATA_TOPIC) {
        let message = format!("Creation of internal topic {CLUSTER_METADATA_TOPIC} is prohibited.");
        refused.push(row(CLUSTER_METADATA_TOPIC, message));
    }
    (accepted, refused)
}

fn create_all(
    context: &Context<'_>,
    request: &CreateTopicsRequest,
    topics: &[&CreatableTopic],
) -> Result<(Vec<Record>, Vec<CreatableTopicResult>), ApiError> {
    if request.timeout_ms <= 0 {
        return Err(ApiError::without_message(ResponseError::RequestTimedOut));
    }
    check_partitions_in_all(context, topics)?;
    let existing_keys: BTreeMap<String, &str> = if topics.iter().any(|topic| topic.name.contains(['.', '_'])) {
        let with_collision = context.image.topics.iter().filter(|topic| topic.name.contains(['.', '_']));
        with_collision.map(|topic| (collision_key(&topic.name), &*topic.name)).collect()
    } else {
        BTreeMap::new()
    };
    let mut rng = placement::rng(context.seed);
    let mut records = Vec::new();
    let mut results = Vec::new();
    for topic in topics {
        match create_one(context, topic, &existing_keys, &mut rng) {
            Ok((topic_records, result)) => {
                records.extend(topic_records);
                results.push(result);
            }
            Err(error) => results.push(error_row(&topic.name, &error)),
        }
        if records.len() > MAX_RECORDS_PER_USER_OP {
            return Err(ApiError::new(
                ResponseError::PolicyViolation,
                "Unable to perform excessively large batch operation.",
            ));
        }
    }
    Ok((records, results))
}

fn check_partitions_in_all(context: &Context<'_>, topics: &[&CreatableTopic]) -> Result<(), ApiError> {
    let wanted = |topic: &&&CreatableTopic| match topic.num_partitions {
        _ if !topic.assignments.is_empty() => topic.assignments.len() as i64,
        -1 => i64::from(default_num_partitions(context)),
        number => i64::from(number.max(0)),
    };
    if topics.iter().map(|topic| wanted(&topic)).sum::<i64>() > MAX_PARTITIONS_PER_BATCH {
        let message = "Excessively large number of partitions per request.";
        return Err(ApiError::new(ResponseError::PolicyViolation, message));
    }
    Ok(())
}

fn create_one(
    context: &Context<'_>,
    topic: &CreatableTopic,
    existing_keys: &BTreeMap<String, &str>,
    rng: &mut impl Rng,
) -> Result<(Vec<Record>, CreatableTopicResult), ApiError> {
    let name = topic.name.as_str();
    validate_topic_name(name)
        .map_err(|error| ApiError::new(ResponseError::InvalidTopicException, error.to_string()))?;
    if context.image.topics.by_name(name).is_some() {
        return Err(ApiError::new(ResponseError::TopicAlreadyExists, format!("Topic '{name}' already exists.")));
    }
    if let Some(existing) = existing_keys.get(&collision_key(name)) {
        let message = format!("Topic '{name}' collides with existing topic: {existing}");
        return Err(ApiError::new(ResponseError::InvalidTopicException, message));
    }
    let configs = topic_configs(topic)?;
    topic_config::validate(&configs).map_err(|error| ApiError::new(ResponseError::InvalidConfig, error.to_string()))?;

    let topic_id = placement::topic_id(context.image, rng);
    let partitions = if topic.assignments.is_empty() {
        by_numbers(context, topic, topic_id, rng)?
    } else {
        by_assignment(context, topic, topic_id)?
    };
    let replication_factor = partitions.first().map_or(0, |partition| partition.replicas.len() as i16);
    let result = CreatableTopicResult::default()
        .with_name(topic.name.clone())
        .with_topic_id(topic_id)
        .with_error_message(None)
        .with_num_partitions(partitions.len() as i32)
        .with_replication_factor(replication_factor)
        .with_configs(Some(effective_configs(context, &configs)));

    let name: Arc<str> = name.into();
    let mut records = vec![Record::Topic(TopicRecord { name: Arc::clone(&name), topic_id })];
    records.extend(configs.into_iter().map(|(key, value)| {
        Record::Config(ConfigRecord {
            resource_type: ConfigResourceType::Topic.id(),
            resource_name: Arc::clone(&name),
            name: key,
            value: Some(value),
        })
    }));
    records.extend(partitions.into_iter().map(Record::Partition));
    Ok((records, result))
}

/// The configuration asked for; of a key that comes twice the last value counts.
fn topic_configs(topic: &CreatableTopic) -> Result<ConfigMap, ApiError> {
    let nulls: Vec<_> =
        topic.configs.iter().filter(|config| config.value.is_none()).map(|config| config.name.as_str()).collect();
    if !nulls.is_empty() {
        let message = format!("Null value not supported for topic configs: {}", nulls.join(", "));
        return Err(ApiError::new(ResponseError::InvalidConfig, message));
    }
    let pair = |config: &kafka_protocol::messages::create_topics_request::CreatableTopicConfig| {
        Some((Arc::from(config.name.as_str()), Arc::from(config.value.as_ref()?.as_str())))
    };
    Ok(topic.configs.iter().filter_map(pair).collect())
}

fn by_assignment(
    context: &Context<'_>,
    topic: &CreatableTopic,
    topic_id: Uuid,
) -> Result<Vec<PartitionRecord>, ApiError> {
    let refuse = |what: &str| {
        let message = format!("A manual partition assignment was specified, but {what} was not set to -1.");
        Err(ApiError::new(ResponseError::InvalidRequest, message))
    };
    if topic.replication_factor != -1 {
        return refuse("replication factor");
    }
    if topic.num_partitions != -1 {
        return refuse("numPartitions");
    }
    let mut partitions = BTreeMap::new();
    let mut replication_factor = None;
    for assignment in &topic.assignments {
        let index = assignment.partition_index;
        if partitions.contains_key(&index) {
            let message = format!("Found multiple manual partition assignments for partition {index}");
            return Err(ApiError::new(ResponseError::InvalidReplicaAssignment, message));
        }
        let replicas = check_assignment(context.image, &assignment.broker_ids, replication_factor)?;
        replication_factor = Some(replicas.len());
        partitions.insert(index, assigned_partition(context.image, topic_id, index, replicas)?);
    }
    if !partitions.keys().copied().eq(0..partitions.len() as i32) {
        let message = "partitions should be a consecutive 0-based integer sequence";
        return Err(ApiError::new(ResponseError::InvalidReplicaAssignment, message));
    }
    Ok(partitions.into_values().collect())
}

fn by_numbers(
    context: &Context<'_>,
    topic: &CreatableTopic,
    topic_id: Uuid,
    rng: &mut impl Rng,
) -> Result<Vec<PartitionRecord>, ApiError> {
    if topic.replication_factor < -1 || topic.replication_factor == 0 {
        return Err(ApiError::new(
            ResponseError::InvalidReplicationFactor,
            "Replication factor must be larger than 0, or -1 to use the default value.",
        ));
    }
    if topic.num_partitions < -1 || topic.num_partitions == 0 {
        return Err(ApiError::new(
            ResponseError::InvalidPartitions,
            "Number of partitions was set to an invalid non-positive value.",
        ));
    }
    let count = if topic.num_partitions == -1 { default_num_partitions(context) } else { topic.num_partitions };
    let replication_factor = match topic.replication_factor {
        -1 => static_number(context, "default.replication.factor", 1),
        given => given,
    };
    placed_partitions(context.image, topic_id, 0, count, replication_factor, rng)
}

fn default_num_partitions(context: &Context<'_>) -> i32 {
    static_number(context, "num.partitions", 1)
}

fn effective_configs(context: &Context<'_>, configs: &ConfigMap) -> Vec<CreatableTopicConfigs> {
    topic_config::resolve(configs, &context.layers())
        .into_iter()
        .map(|config| {
            CreatableTopicConfigs::default()
                .with_name(StrBytes::from_static_str(config.name))
                .with_value(Some(StrBytes::from_string(config.value)))
                .with_read_only(false)
                .with_config_source(config.source.id())
                .with_is_sensitive(false)
        })
        .collect()
}

fn error_row(name: &TopicName, error: &ApiError) -> CreatableTopicResult {
    CreatableTopicResult::default()
        .with_name(name.clone())
        .with_error_code(error.code)
        .with_error_message(error.message())
        .with_num_partitions(-1)
        .with_replication_factor(-1)
        .with_configs(Some(Vec::new()))
}
