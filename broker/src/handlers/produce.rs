//! Produce (key 0): append record batches to partitions this broker leads.
//!
//! Versions 0-13: v0-2 carry message sets, which become one batch (or batches: 3.9 lets them), v1 throttle time, v2
//! time of the append, v3 transactional id, v5 log start offset, v8 record errors (KIP-467), v9 flexible, v10 current leader in the answer
//! (KIP-951), v11 TRANSACTION_ABORTABLE, v12 implicit transaction partitions (KIP-890), v13 topic ids (KIP-516).
//!
//! Order of checks, as in `KafkaApis.handleProduceRequest`: transactional id, existence, batch format; then acks,
//! internal topics, the transaction, leadership, min in-sync replicas, size, batch, producer state. With `acks=0`
//! there is no answer: an error closes the connection instead. A partition named twice gets one row, for its last
//! batch. Until the transaction coordinator exists no partition was ever added to a transaction.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, TopicProduceResponse,
};
use kafka_protocol::messages::{BrokerId, ProduceResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use milena_metadata::image::{MetadataImage, TopicImage};
use milena_protocol::produce_request::{ProducePartition, ProduceRequest, ProduceTopic};
use milena_protocol::{BatchHeader, Timestamp};
use milena_storage::error::ProducerStateError;
use milena_storage::validate::{ValidationError, check_produce};
use milena_storage::{AppendError, AppendOrigin};
use uuid::Uuid;

use super::common::{code_of, endpoint, hosted, is_internal, text};
use super::context::{Context, Head};
use super::{Reply, encode};
use crate::replica::partition::{AckWait, AppendFailure, Appended, Partition, PartitionError};

/// First version whose records are batches.
const BATCHES: i16 = 3;
/// First version whose clients know KAFKA_STORAGE_ERROR. To those before it is an unknown error, with which they give the
/// records up; told to look for the leader again they try again, as Kafka had them do up to 2.7.
const STORAGE_ERROR: i16 = 4;
const TOPIC_IDS: i16 = 13;
/// First version whose answer has room for record errors and a message.
const RECORD_ERRORS: i16 = 8;
/// First version whose answer names the current leader.
const CURRENT_LEADER: i16 = 10;
/// The one client that may write to internal topics.
const ADMIN_CLIENT: &str = "__admin_client";

/// What became of one partition's records.
struct Row {
    index: i32,
    outcome: Outcome,
    /// For NOT_LEADER_OR_FOLLOWER from v10 on.
    current_leader: Option<(i32, i32)>,
}

enum Outcome {
    Refused(Refusal),
    Appended { appended: Appended, partition: Arc<Partition> },
}

struct Refusal {
    code: i16,
    message: Option<String>,
    record_errors: Vec<(i32, String)>,
    log_start_offset: i64,
}

impl From<ResponseError> for Refusal {
    fn from(error: ResponseError) -> Self {
        Self { code: error.code(), message: None, record_errors: Vec::new(), log_start_offset: -1 }
    }
}

/// The rows of one topic, in the order of the request.
struct TopicRows {
    name: TopicName,
    topic_id: Uuid,
    partitions: Vec<Row>,
}

pub(super) async fn handle(context: &Context<'_>, body: BytesMut) -> Reply {
    let request = match ProduceRequest::decode(body, context.version) {
        Ok(request) => request,
        Err(error) => return Reply::Close(error.to_string()),
    };
    let (acks, timeout_ms) = (request.acks, request.timeout_ms);
    let now = context.node.now();
    let topics = append_all(context, request, now).await;
    if acks == 0 {
        return match topics.iter().flat_map(|topic| &topic.partitions).find_map(|row| refused(&row.outcome)) {
            Some(code) => Reply::Close(format!("a produce request with acks=0 failed with error {code}")),
            None => Reply::Nothing,
        };
    }
    let endpoints = leader_endpoints(context, &topics);
    let head = context.head();
    let waits = topics.iter().flat_map(|topic| &topic.partitions).any(|row| match &row.outcome {
        Outcome::Appended { appended, .. } => appended.wait.is_some(),
        Outcome::Refused(_) => false,
    });
    if !waits {
        return encode(head, &answer(head, topics, endpoints));
    }
    // From now on, not from when the answers before this one have left.
    let deadline = tokio::time::Instant::now() + Duration::from_millis(timeout_ms.max(0) as u64);
    Reply::Later(Box::pin(async move {
        let topics = acknowledged(topics, deadline).await;
        encode(head, &answer(head, topics, endpoints))
    }))
}

fn refused(outcome: &Outcome) -> Option<i16> {
    match outcome {
        Outcome::Refused(refusal) => Some(refusal.code),
        Outcome::Appended { .. } => None,
    }
}

async fn append_all(context: &Context<'_>, request: ProduceRequest, now: Timestamp) -> Vec<TopicRows> {
    let image = context.node.image();
    let ProduceRequest { transactional_id, acks, topics, .. } = request;
    let is_transactional = |partition: &ProducePartition| {
        let header = partition.records.as_deref().and_then(|records| BatchHeader::parse(records).ok());
        header.is_some_and(|header| header.attributes.is_transactional())
    };
    let all = || topics.iter().flat_map(|topic| &topic.partitions);
    // Kafka looks for transactional batches before anything else: one that is malformed fails every row, and one
    // without a transactional id refuses every row (`RequestUtils`).
    let malformed = all().find_map(|partition| {
        match check_produce(partition.records.as_deref().unwrap_or_default(), context.version) {
            Err(error @ ValidationError::MalformedFirstBatch(_)) => Some(error),
            _ => None,
        }
    });
    let unauthorized = transactional_id.is_none() && all().any(is_transactional);
    let mut answered = Vec::with_capacity(topics.len());
    for ProduceTopic { name, topic_id, partitions } in topics {
        let topic =
            if context.version >= TOPIC_IDS { image.topics.by_id(topic_id) } else { image.topics.by_name(&name) };
        let mut rows = Vec::with_capacity(partitions.len());
        for partition in last_of_each(partitions) {
            let index = partition.index;
            let outcome = if let Some(error) = &malformed {
                Err(refusal_of_validation(error, -1))
            } else if unauthorized {
                Err(ResponseError::TransactionalIdAuthorizationFailed.into())
            } else {
                append(context, topic.map(|topic| &**topic), partition, acks, now).await
            };
            let current_leader = match &outcome {
                Err(refusal) if refusal.code == ResponseError::NotLeaderOrFollower.code() => topic
                    .and_then(|topic| topic.partitions.get(&index))
                    .map(|partition| (partition.leader, partition.leader_epoch)),
                _ => None,
            };
            let outcome = match outcome {
                Ok((appended, partition)) => Outcome::Appended { appended, partition },
                Err(refusal) => Outcome::Refused(refusal),
            };
            rows.push(Row { index, outcome, current_leader });
        }
        // Kafka's answer is made from its rows: a topic without partitions leaves no trace.
        if rows.is_empty() {
            continue;
        }
        let name = if context.version >= TOPIC_IDS { TopicName::default() } else { TopicName(StrBytes::from_string(name)) };
        answered.push(TopicRows { name, topic_id, partitions: rows });
    }
    answered
}

/// A partition named twice counts with its last batch.
fn last_of_each(partitions: Vec<ProducePartition>) -> Vec<ProducePartition> {
    if partitions.len() < 2 {
        return partitions;
    }
    let last: BTreeMap<i32, usize> =
        partitions.iter().enumerate().map(|(place, partition)| (partition.index, place)).collect();
    let mut place = 0;
    let mut kept = partitions;
    kept.retain(|partition| {
        place += 1;
        last.get(&partition.index) == Some(&(place - 1))
    });
    kept
}

async fn append(
    context: &Context<'_>,
    topic: Option<&TopicImage>,
    partition: ProducePartition,
    acks: i16,
    now: Timestamp,
) -> Result<(Appended, Arc<Partition>), Refusal> {
    let Some(topic) = topic else {
        let by_id = context.version >= TOPIC_IDS;
        return Err(if by_id { ResponseError::UnknownTopicId } else { ResponseError::UnknownTopicOrPartition }.into());
    };
    if !topic.partitions.contains_key(&partition.index) {
        return Err(ResponseError::UnknownTopicOrPartition.into());
    }
    let records = partition.records.unwrap_or_default();
    check_produce(&records, context.version).map_err(|error| refusal_of_validation(&error, -1))?;
    if !(-1..=1).contains(&acks) {
        return Err(ResponseError::InvalidRequiredAcks.into());
    }
    if is_internal(&topic.name) && context.client_id != ADMIN_CLIENT {
        return Err(ResponseError::InvalidTopicException.into());
    }
    let origin = if context.version < BATCHES { AppendOrigin::OldClient } else { AppendOrigin::Client };
    let is_transactional = match BatchHeader::parse(&records) {
        Ok(header) => header.attributes.is_transactional(),
        Err(_) if origin == AppendOrigin::OldClient => false,
        Err(_) => return Err(ResponseError::CorruptMessage.into()),
    };
    if is_transactional {
        return Err(match context.version {
            ..=10 => ResponseError::InvalidTxnState,
            11 => ResponseError::TransactionAbortable,
            _ => ResponseError::InvalidProducerIdMapping,
        }
        .into());
    }
    let partition = hosted(context, topic.id, partition.index)?;
    match partition.append(records, origin, acks, now).await {
        Ok(appended) => Ok((appended, partition)),
        Err(failure) => Err(refusal_of(&failure, partition.reader().log_start_offset())),
    }
}

fn refusal_of(failure: &AppendFailure, log_start_offset: i64) -> Refusal {
    let error = match failure {
        AppendFailure::Partition(error) => return code_of(error).into(),
        AppendFailure::Log(error) => error,
    };
    let code = match error {
        AppendError::Validation(error) => return refusal_of_validation(error, log_start_offset),
        AppendError::Producer(error) => {
            let code = match error {
                ProducerStateError::OutOfOrderSequence(_) => ResponseError::OutOfOrderSequenceNumber,
                ProducerStateError::InvalidProducerEpoch(_) => ResponseError::InvalidProducerEpoch,
                ProducerStateError::InvalidTxnState(_) => ResponseError::InvalidTxnState,
                ProducerStateError::TransactionCoordinatorFenced(_) => ResponseError::TransactionCoordinatorFenced,
            };
            return Refusal { log_start_offset, ..code.into() };
        }
        AppendError::UnexpectedAppendOffset(_) => ResponseError::UnknownServerError,
        AppendError::Disk(error) => {
            tracing::error!(target: "kafka.server.ReplicaManager", "Error processing append operation: {error}");
            ResponseError::KafkaStorageError
        }
        // The partition has said it, once.
        AppendError::DiskFull(_) | AppendError::Corrupt(_) | AppendError::Offline => ResponseError::KafkaStorageError,
    };
    code.into()
}

/// Codes and texts of `LogValidator` and `ReplicaManager.appendToLocalLog`. Only what the append itself finds is
/// answered with the log's start; an earlier refusal says -1.
fn refusal_of_validation(error: &ValidationError, log_start_offset: i64) -> Refusal {
    Refusal {
        code: error.code(),
        message: error.error_message(),
        record_errors: error.record_errors().collect(),
        log_start_offset: if error.answers_log_start_offset() { log_start_offset } else { -1 },
    }
}

/// Waits for every acknowledgement, all under one deadline.
async fn acknowledged(mut topics: Vec<TopicRows>, deadline: tokio::time::Instant) -> Vec<TopicRows> {
    for row in topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
        let Outcome::Appended { appended, .. } = &mut row.outcome else { continue };
        let Some(wait) = appended.wait.take() else { continue };
        if let Err(error) = settle(wait, deadline).await {
            row.outcome = Outcome::Refused(error.into());
        }
    }
    topics
}

async fn settle(wait: AckWait, deadline: tokio::time::Instant) -> Result<(), ResponseError> {
    match tokio::time::timeout_at(deadline, wait.done()).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(PartitionError::NotLeader)) => Err(ResponseError::NotLeaderOrFollower),
        Ok(Err(error)) => Err(code_of(&error)),
        Err(_) => Err(ResponseError::RequestTimedOut),
    }
}

fn leader_endpoints(context: &Context<'_>, topics: &[TopicRows]) -> Vec<NodeEndpoint> {
    if context.version < CURRENT_LEADER {
        return Vec::new();
    }
    let mut leaders: Vec<i32> =
        topics.iter().flat_map(|topic| &topic.partitions).filter_map(|row| row.current_leader.map(|leader| leader.0)).collect();
    if leaders.is_empty() {
        return Vec::new();
    }
    leaders.sort_unstable();
    leaders.dedup();
    let image: Arc<MetadataImage> = context.node.image();
    let endpoints = leaders.into_iter().filter_map(|id| endpoint(context, image.brokers.get(id)?));
    endpoints
        .map(|broker| {
            NodeEndpoint::default()
                .with_node_id(broker.id)
                .with_host(broker.host)
                .with_port(broker.port)
                .with_rack(broker.rack)
        })
        .collect()
}

fn answer(head: Head, topics: Vec<TopicRows>, endpoints: Vec<NodeEndpoint>) -> ProduceResponse {
    let responses = topics.into_iter().map(|topic| {
        let rows = topic.partitions.into_iter().map(|row| answer_row(head.version, row)).collect();
        let mut response = TopicProduceResponse::default().with_name(topic.name).with_partition_responses(rows);
        if head.version >= TOPIC_IDS {
            response.topic_id = topic.topic_id;
        }
        response
    });
    ProduceResponse::default().with_responses(responses.collect()).with_node_endpoints(endpoints)
}

fn answer_row(version: i16, row: Row) -> PartitionProduceResponse {
    let response = PartitionProduceResponse::default().with_index(row.index);
    let mut response = match row.outcome {
        Outcome::Appended { appended: Appended { info, .. }, partition } => response
            .with_base_offset(info.first_offset)
            .with_log_append_time_ms(info.log_append_time)
            .with_log_start_offset(partition.reader().log_start_offset()),
        Outcome::Refused(refusal) => {
            let is_unknown = version < STORAGE_ERROR && refusal.code == ResponseError::KafkaStorageError.code();
            let code = if is_unknown { ResponseError::NotLeaderOrFollower.code() } else { refusal.code };
            let mut response = response
                .with_error_code(code)
                .with_base_offset(-1)
                .with_log_append_time_ms(-1)
                .with_log_start_offset(refusal.log_start_offset);
            if version >= RECORD_ERRORS {
                response.error_message = refusal.message.as_deref().map(text);
                response.record_errors = refusal
                    .record_errors
                    .into_iter()
                    .map(|(index, message)| {
                        BatchIndexAndErrorMessage::default()
                            .with_batch_index(index)
                            .with_batch_index_error_message(Some(text(&message)))
                    })
                    .collect();
            }
            response
        }
    };
    if version < 5 {
        response.log_start_offset = -1;
    }
    if let Some((leader, epoch)) = row.current_leader.filter(|_| version >= CURRENT_LEADER) {
        response.current_leader =
            LeaderIdAndEpoch::default().with_leader_id(BrokerId(leader)).with_leader_epoch(epoch);
    }
    response
}
