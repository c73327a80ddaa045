//! Fetch (key 1): batches from partitions this broker leads, as they lie in the segment files.
//!
//! Versions 0-18: v0-3 are sent message sets ([`converted`]), v1 throttle time, v3 limit of the whole answer (KIP-74), v4
//! isolation level and batches (KIP-98), v5 log start offset, v7 sessions (KIP-227), v9 leader epoch (KIP-320), v11 rack (KIP-392), v12
//! flexible and diverging epochs (KIP-595), v13 topic ids (KIP-516), v15 replica state (KIP-903), v16 node endpoints
//! (KIP-951), v17 directory id (KIP-853), v18 the follower's high watermark (KIP-1166).
//!
//! The answer comes at once if there is nothing to wait for, if enough bytes are there, or if a partition has
//! something to tell; else the request waits, without polling, for bytes or its deadline.
//! Source: `KafkaApis.handleFetchRequest`, `ReplicaManager.fetchMessages`, `DelayedFetch`.

mod converted;

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::FetchRequest;
use milena_metadata::image::MetadataImage;
use milena_protocol::fetch_response::{
    AbortedTransaction, EpochEndOffset, FetchResponse, LeaderIdAndEpoch, NodeEndpoint, PartitionResponse, TopicResponse,
};
use milena_protocol::file_range::Chunk;
use tokio::time::Instant;
use uuid::Uuid;

use super::common::{code_of, endpoint};
use super::context::Context;
use super::{Reply, decode};
use crate::fetch::session::{Kind, Sent, SessionRequest, TopicKey, Wanted};
use crate::fetch::convert::ANSWER_BYTES_MAX;
use crate::fetch::wait::FetchWaiter;
use crate::fetch::warm;
use crate::replica::partition::{FetchSpec, Fetched, Isolation, Partition};

const SESSIONS: i16 = 7;
const TOPIC_IDS: i16 = 13;
const NODE_ENDPOINTS: i16 = 16;
/// First version whose clients know KAFKA_STORAGE_ERROR; those before are told to look for the leader again.
const STORAGE_ERROR: i16 = 6;

/// One partition of the answer.
struct Row {
    wanted: Wanted,
    topic: Arc<str>,
    topic_id: Uuid,
    outcome: Result<Fetched, ResponseError>,
    /// What of it is ready to be sent.
    records: Option<Chunk>,
    partition: Option<Arc<Partition>>,
    /// The leader by the metadata, for an answer that says the client asked the wrong one.
    current_leader: Option<LeaderIdAndEpoch>,
}

impl Row {
    fn bytes(&self) -> usize {
        self.outcome.as_ref().ok().and_then(|fetched| fetched.range.as_ref()).map_or(0, |range| range.len)
    }

    /// Whether the client must hear of this now. A partition that does not exist does not end the wait of others.
    fn has_news(&self) -> bool {
        match &self.outcome {
            Ok(fetched) => fetched.diverging.is_some(),
            Err(_) => self.partition.is_some(),
        }
    }
}

pub(super) async fn handle(context: &Context<'_>, body: BytesMut) -> Reply {
    let request: FetchRequest = match decode(context, body) {
        Ok(request) => request,
        Err(reply) => return reply,
    };
    let Some(isolation) = isolation(request.isolation_level) else { return refuse_isolation(context, &request) };
    let (wanted, forgotten) = wanted_and_forgotten(context.version, &request);
    let session = SessionRequest {
        session_id: request.session_id,
        session_epoch: if context.version < SESSIONS { crate::fetch::session::FINAL_EPOCH } else { request.session_epoch },
        by_id: context.version >= TOPIC_IDS,
        privileged: is_follower(&request),
    };
    let begun = context.node.fetch_sessions.lock().begin(session, wanted, &forgotten, context.node.now());
    let (kind, wanted) = match begun {
        Ok(begun) => begun,
        Err(error) => return respond(context, FetchResponse { error_code: error.code(), ..empty_response() }),
    };
    let (rows, _being_made) = if let Some(magic) = converted::magic(context.version) {
        converted::read(context, &request, magic, &wanted).await
    } else {
        let rows = read_when_ready(context, &request, isolation, &wanted, deadline(&request)).await;
        (make_ready(rows).await, None)
    };
    finish(context, kind, rows)
}

fn isolation(level: i8) -> Option<Isolation> {
    match level {
        0 => Some(Isolation::ReadUncommitted),
        1 => Some(Isolation::ReadCommitted),
        _ => None,
    }
}

fn is_follower(request: &FetchRequest) -> bool {
    request.replica_id.0 >= 0 || request.replica_state.replica_id.0 >= 0
}

fn wanted_and_forgotten(version: i16, request: &FetchRequest) -> (Vec<Wanted>, Vec<(TopicKey, i32)>) {
    let key = |name: &str, id: Uuid| if version >= TOPIC_IDS { TopicKey::Id(id) } else { TopicKey::Name(name.into()) };
    let mut wanted = Vec::new();
    for topic in &request.topics {
        let topic_key = key(&topic.topic, topic.topic_id);
        for partition in &topic.partitions {
            wanted.push(Wanted {
                topic: topic_key.clone(),
                partition: partition.partition,
                current_leader_epoch: partition.current_leader_epoch,
                fetch_offset: partition.fetch_offset,
                last_fetched_epoch: partition.last_fetched_epoch,
                log_start_offset: partition.log_start_offset,
                max_bytes: partition.partition_max_bytes,
            });
        }
    }
    let forgotten = request.forgotten_topics_data.iter();
    let forgotten = forgotten.flat_map(|topic| {
        let topic_key = key(&topic.topic, topic.topic_id);
        topic.partitions.iter().map(move |partition| (topic_key.clone(), *partition))
    });
    (wanted, forgotten.collect())
}

/// When the answer must leave; `None` for at once.
fn deadline(request: &FetchRequest) -> Option<Instant> {
    (request.max_wait_ms > 0).then(|| Instant::now() + Duration::from_millis(request.max_wait_ms as u64))
}

async fn read_when_ready(
    context: &Context<'_>,
    request: &FetchRequest,
    isolation: Isolation,
    wanted: &[Wanted],
    deadline: Option<Instant>,
) -> Vec<Row> {
    let max_bytes = request.max_bytes.min(context.node.settings().fetch_max_bytes);
    let min_bytes = i64::from(request.min_bytes.min(max_bytes));
    let read = || read_all(context, request, isolation, wanted, max_bytes);
    let rows = read();
    let Some(deadline) = deadline.filter(|_| !is_ready(&rows, isolation, min_bytes)) else { return rows };
    let waiter = FetchWaiter::new();
    let mut rows = rows;
    loop {
        // Registered before the read: what happens from here on wakes, whether the read sees it or not.
        for partition in rows.iter().filter_map(|row| row.partition.as_ref()) {
            partition.fetch_waiters.add(&waiter);
        }
        let count = waiter.count();
        rows = read();
        if is_ready(&rows, isolation, min_bytes) {
            return rows;
        }
        waiter.expect(count, min_bytes - bytes_to_be_had(&rows, isolation));
        if tokio::time::timeout_at(deadline, waiter.woken()).await.is_err() {
            return read();
        }
    }
}

fn read_all(
    context: &Context<'_>,
    request: &FetchRequest,
    isolation: Isolation,
    wanted: &[Wanted],
    max_bytes: i32,
) -> Vec<Row> {
    let (image, now) = (context.node.image(), context.node.now());
    // What is converted is counted then; here each partition is planned to have its say.
    let is_converted = converted::magic(context.version).is_some();
    let batch_bytes_max = if is_converted { ANSWER_BYTES_MAX as i32 } else { i32::MAX };
    let mut left = max_bytes;
    let mut nothing_yet = true;
    let mut rows = Vec::with_capacity(wanted.len());
    for wanted in wanted {
        let spec = FetchSpec {
            current_leader_epoch: wanted.current_leader_epoch,
            fetch_offset: wanted.fetch_offset,
            last_fetched_epoch: wanted.last_fetched_epoch,
            max_bytes: left.min(wanted.max_bytes).min(batch_bytes_max),
            isolation,
            min_one_batch: nothing_yet || is_converted,
            now,
        };
        let row = read_one(context, &image, request, wanted, spec);
        let bytes = row.bytes();
        left = left.saturating_sub(bytes as i32).max(0);
        nothing_yet &= bytes == 0;
        rows.push(row);
    }
    rows
}

fn read_one(context: &Context<'_>, image: &MetadataImage, request: &FetchRequest, wanted: &Wanted, spec: FetchSpec) -> Row {
    let (topic, unknown) = match &wanted.topic {
        TopicKey::Name(name) => (image.topics.by_name(name), ResponseError::UnknownTopicOrPartition),
        TopicKey::Id(id) => (image.topics.by_id(*id), ResponseError::UnknownTopicId),
    };
    let mut row = Row {
        wanted: wanted.clone(),
        topic: match (&wanted.topic, topic) {
            (TopicKey::Name(name), _) => Arc::clone(name),
            (TopicKey::Id(_), Some(topic)) => Arc::clone(&topic.name),
            (TopicKey::Id(_), None) => Arc::from(""),
        },
        topic_id: match &wanted.topic {
            TopicKey::Name(_) => Uuid::nil(),
            TopicKey::Id(id) => *id,
        },
        outcome: Err(unknown),
        records: None,
        partition: None,
        current_leader: None,
    };
    let Some(topic) = topic else { return row };
    let Some(registration) = topic.partitions.get(&wanted.partition) else {
        row.outcome = Err(ResponseError::UnknownTopicOrPartition);
        return row;
    };
    row.outcome = match context.node.replicas.get(topic.id, wanted.partition) {
        Ok(partition) => {
            row.partition = Some(Arc::clone(&partition));
            // A follower that the metadata does not know as a replica of this partition.
            if is_follower(request) {
                row.outcome = Err(ResponseError::NotLeaderOrFollower);
                return row;
            }
            if spec.max_bytes < 0 {
                Err(ResponseError::UnknownServerError)
            } else {
                partition.fetch(spec).map_err(|error| code_of(&error))
            }
        }
        Err(error) => Err(code_of(&error)),
    };
    let wrong_leader = [ResponseError::NotLeaderOrFollower.code(), ResponseError::FencedLeaderEpoch.code()];
    if row.outcome.as_ref().is_err_and(|error| wrong_leader.contains(&error.code())) {
        row.current_leader =
            Some(LeaderIdAndEpoch { leader_id: registration.leader, leader_epoch: registration.leader_epoch });
    }
    row
}

fn is_ready(rows: &[Row], isolation: Isolation, min_bytes: i64) -> bool {
    let bytes: usize = rows.iter().map(Row::bytes).sum();
    bytes as i64 >= min_bytes
        || rows.iter().all(|row| row.partition.is_none())
        || rows.iter().any(Row::has_news)
        || bytes_to_be_had(rows, isolation) >= min_bytes
}

/// Bytes between what is asked for and the reader's bound, as `DelayedFetch` adds them up: a read that ended with its
/// segment has more behind it, and must not wait.
fn bytes_to_be_had(rows: &[Row], isolation: Isolation) -> i64 {
    rows.iter()
        .filter_map(|row| {
            let fetched = row.outcome.as_ref().ok()?;
            let bound = match isolation {
                Isolation::ReadUncommitted => fetched.high_watermark,
                Isolation::ReadCommitted => fetched.last_stable_offset,
            };
            let reader = row.partition.as_ref()?.reader();
            if row.wanted.fetch_offset >= bound {
                return None;
            }
            let bytes = reader.bytes_between(row.wanted.fetch_offset, bound).ok()?;
            Some((bytes as i64).min(i64::from(row.wanted.max_bytes)))
        })
        .sum()
}

/// Bytes that are not in the page cache are read and checked off the connection threads before they are sent.
async fn make_ready(mut rows: Vec<Row>) -> Vec<Row> {
    for row in &mut rows {
        let Ok(fetched) = &mut row.outcome else { continue };
        let Some(range) = fetched.range.take() else { continue };
        let (Some(partition), Some(check)) = (&row.partition, fetched.check.take()) else { continue };
        match warm::ready(range, fetched.just_written, check).await {
            Ok(chunk) => row.records = Some(chunk),
            Err(error) => row.outcome = Err(code_of(&error.take_offline(partition))),
        }
    }
    rows
}

fn finish(context: &Context<'_>, kind: Kind, rows: Vec<Row>) -> Reply {
    let noted: Vec<(Wanted, Sent)> = rows.iter().map(|row| (row.wanted.clone(), sent(row))).collect();
    let (session_id, answered) = context.node.fetch_sessions.lock().finish(kind, &noted, context.node.now());
    let mut response = FetchResponse { session_id, ..empty_response() };
    let leaders: Vec<i32> = rows.iter().filter_map(|row| row.current_leader.map(|leader| leader.leader_id)).collect();
    if !leaders.is_empty() && context.version >= NODE_ENDPOINTS {
        response.node_endpoints = node_endpoints(context, leaders);
    }
    for (row, _) in rows.into_iter().zip(answered).filter(|(_, answered)| *answered) {
        let (topic, topic_id) = (Arc::clone(&row.topic), row.topic_id);
        let mut partition = answer_row(row);
        if context.version < STORAGE_ERROR && partition.error_code == ResponseError::KafkaStorageError.code() {
            partition.error_code = ResponseError::NotLeaderOrFollower.code();
        }
        match response.responses.last_mut() {
            Some(last) if last.topic == topic && last.topic_id == topic_id => last.partitions.push(partition),
            _ => response.responses.push(TopicResponse { topic, topic_id, partitions: vec![partition] }),
        }
    }
    respond(context, response)
}

fn sent(row: &Row) -> Sent {
    match &row.outcome {
        Ok(fetched) => Sent {
            error_code: 0,
            has_records: row.records.is_some(),
            has_news: fetched.diverging.is_some(),
            high_watermark: fetched.high_watermark,
            log_start_offset: fetched.log_start_offset,
        },
        Err(error) => Sent {
            error_code: error.code(),
            has_records: false,
            has_news: false,
            high_watermark: -1,
            log_start_offset: -1,
        },
    }
}

fn answer_row(row: Row) -> PartitionResponse {
    let mut response = PartitionResponse::new(row.wanted.partition, 0);
    match row.outcome {
        Ok(fetched) => {
            response.high_watermark = fetched.high_watermark;
            response.last_stable_offset = fetched.last_stable_offset;
            response.log_start_offset = fetched.log_start_offset;
            response.diverging_epoch = fetched
                .diverging
                .map(|end| EpochEndOffset { epoch: end.leader_epoch, end_offset: end.end_offset });
            response.aborted_transactions = fetched.aborted.map(|aborted| {
                aborted
                    .into_iter()
                    .map(|txn| AbortedTransaction { producer_id: txn.producer_id, first_offset: txn.first_offset })
                    .collect()
            });
            response.records = row.records.into_iter().collect();
        }
        Err(error) => {
            response.error_code = error.code();
            // Rows that no read was tried for carry an empty list, those whose read failed none.
            let tried = row.partition.is_some();
            response.aborted_transactions = (!tried).then(Vec::new);
            response.current_leader = row.current_leader;
        }
    }
    response
}

fn node_endpoints(context: &Context<'_>, mut leaders: Vec<i32>) -> Vec<NodeEndpoint> {
    leaders.sort_unstable();
    leaders.dedup();
    let image = context.node.image();
    let brokers = leaders.into_iter().filter_map(|id| endpoint(context, image.brokers.get(id)?));
    brokers
        .map(|broker| NodeEndpoint {
            node_id: broker.id.0,
            host: Arc::from(&*broker.host),
            port: broker.port,
            rack: broker.rack.as_deref().map(Arc::from),
        })
        .collect()
}

/// An isolation level that does not exist: Kafka's handler fails as a whole.
fn refuse_isolation(context: &Context<'_>, request: &FetchRequest) -> Reply {
    let error_code = ResponseError::UnknownServerError.code();
    // By id Kafka has not resolved the names yet when it fails, and answers no row.
    let named = request.topics.iter().filter(|_| context.version < TOPIC_IDS);
    let row = |partition| PartitionResponse {
        aborted_transactions: Some(Vec::new()),
        ..PartitionResponse::new(partition, error_code)
    };
    let responses = named.map(|topic| TopicResponse {
        topic: Arc::from(&**topic.topic),
        topic_id: topic.topic_id,
        partitions: topic.partitions.iter().map(|asked| row(asked.partition)).collect(),
    });
    respond(context, FetchResponse { error_code, responses: responses.collect(), ..empty_response() })
}

fn empty_response() -> FetchResponse {
    FetchResponse { throttle_time_ms: 0, error_code: 0, session_id: 0, responses: Vec::new(), node_endpoints: Vec::new() }
}

fn respond(context: &Context<'_>, response: FetchResponse) -> Reply {
    Reply::Chunks(response.encode_frame(context.version, context.correlation_id))
}
