//! The answer to Fetch (key 1), versions 0 to 18, written so that records are never copied.
//!
//! The result is a list of [`Chunk`]s: runs of header bytes, and between them each partition's records as the reader
//! of the log gave them, mostly ranges of files that the kernel sends by itself.
//!
//! v1 throttle time; v4 last stable offset and aborted transactions; v5 log start offset; v7 sessions (KIP-227);
//! v11 preferred read replica (KIP-392); v12 flexible, diverging epoch, current leader, snapshot id as tagged fields;
//! v13 topic ids instead of names (KIP-516); v16 node endpoints (KIP-951). v0 to v3 have the old form of the same
//! fields; that their records may need another message format is the caller's concern.
//! Source: `common/message/FetchResponse.json`. The tests compare with the bytes of the `kafka-protocol` crate.

use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use uuid::Uuid;

use crate::api;
use crate::file_range::Chunk;
use crate::frame;
use crate::types::{LeaderEpoch, Offset, ProducerId};
use crate::wire::{put_compact_string, put_uvarint, uvarint_bytes};

/// Fetch's number.
const FETCH: i16 = 1;
const FIRST_FLEXIBLE: i16 = 12;
const FIRST_WITH_TOPIC_IDS: i16 = 13;
/// Room that a topic needs beside its name, and a partition beside its aborted transactions.
const TOPIC_BYTES: usize = 24;
const PARTITION_BYTES: usize = 72;
const ABORTED_TRANSACTION_BYTES: usize = 17;

/// An answer to Fetch. Fields that a version does not have are left out silently.
#[derive(Clone, Debug, Default)]
pub struct FetchResponse {
    /// How long the client should hold still.
    pub throttle_time_ms: i32,
    /// Error of the whole request (v7+).
    pub error_code: i16,
    /// The fetch session, 0 if none (v7+).
    pub session_id: i32,
    /// The topics, in order.
    pub responses: Vec<TopicResponse>,
    /// Addresses of the leaders named in `current_leader` (v16+).
    pub node_endpoints: Vec<NodeEndpoint>,
}

/// The partitions of one topic.
#[derive(Clone, Debug)]
pub struct TopicResponse {
    /// Name of the topic (up to v12).
    pub topic: Arc<str>,
    /// Id of the topic (v13+).
    pub topic_id: Uuid,
    /// The partitions, in order.
    pub partitions: Vec<PartitionResponse>,
}

/// What one partition answers.
#[derive(Clone, Debug)]
pub struct PartitionResponse {
    /// Index of the partition.
    pub partition_index: i32,
    /// Error of this partition.
    pub error_code: i16,
    /// The high watermark, -1 on errors.
    pub high_watermark: Offset,
    /// The last stable offset (v4+), -1 on errors.
    pub last_stable_offset: Offset,
    /// The log start offset (v5+), -1 on errors.
    pub log_start_offset: Offset,
    /// Where the fetcher's log diverges from this one (v12+).
    pub diverging_epoch: Option<EpochEndOffset>,
    /// Who leads now (v12+).
    pub current_leader: Option<LeaderIdAndEpoch>,
    /// The snapshot to fetch instead (v12+).
    pub snapshot_id: Option<SnapshotId>,
    /// Aborted transactions among the records (v4+): null for read_uncommitted, a list for read_committed.
    pub aborted_transactions: Option<Vec<AbortedTransaction>>,
    /// Where the consumer should read instead (v11+), -1 for here.
    pub preferred_read_replica: i32,
    /// The records; empty if none, never null.
    pub records: Vec<Chunk>,
}

impl PartitionResponse {
    /// A row without records and offsets.
    pub fn new(partition_index: i32, error_code: i16) -> PartitionResponse {
        PartitionResponse {
            partition_index,
            error_code,
            high_watermark: -1,
            last_stable_offset: -1,
            log_start_offset: -1,
            diverging_epoch: None,
            current_leader: None,
            snapshot_id: None,
            aborted_transactions: None,
            preferred_read_replica: -1,
            records: Vec::new(),
        }
    }

    /// Bytes of records in this row.
    pub fn record_bytes(&self) -> usize {
        self.records.iter().map(Chunk::len).sum()
    }
}

/// The largest epoch not after the fetcher's, and where it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEndOffset {
    /// The epoch.
    pub epoch: LeaderEpoch,
    /// The offset after its last record.
    pub end_offset: Offset,
}

/// A partition's leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaderIdAndEpoch {
    /// The broker, -1 if unknown.
    pub leader_id: i32,
    /// Its epoch.
    pub leader_epoch: LeaderEpoch,
}

/// A snapshot of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotId {
    /// The offset after its last record.
    pub end_offset: Offset,
    /// The epoch of that record.
    pub epoch: LeaderEpoch,
}

/// A transaction whose records a consumer must skip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortedTransaction {
    /// Who wrote it.
    pub producer_id: ProducerId,
    /// Its first offset in this partition.
    pub first_offset: Offset,
}

/// The address of a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeEndpoint {
    /// The broker's id.
    pub node_id: i32,
    /// Its host.
    pub host: Arc<str>,
    /// Its port.
    pub port: i32,
    /// Its rack.
    pub rack: Option<Arc<str>>,
}

impl FetchResponse {
    /// The body of this answer in `version`.
    pub fn encode(self, version: i16) -> Vec<Chunk> {
        let mut encoder = Encoder::new(version, self.room());
        encoder.body(self);
        encoder.finish()
    }

    /// The whole frame of this answer: length, header, body.
    ///
    /// A frame's length is an `i32`; `fetch.max.bytes` keeps answers far below that.
    pub fn encode_frame(self, version: i16, correlation_id: i32) -> Vec<Chunk> {
        let mut encoder = Encoder::new(version, self.room() + frame::LENGTH_BYTES + 5);
        encoder.head.put_i32(0);
        let header_version = api::response_header_version(FETCH, version);
        frame::put_response_header(&mut encoder.head, header_version, correlation_id);
        encoder.body(self);
        let length = (encoder.head.len() + encoder.record_bytes - frame::LENGTH_BYTES) as i32;
        if let Some(prefix) = encoder.head.first_chunk_mut::<{ frame::LENGTH_BYTES }>() {
            *prefix = length.to_be_bytes();
        }
        encoder.finish()
    }

    /// Room for everything but the records, rather too much than too little.
    fn room(&self) -> usize {
        let topics: usize = self
            .responses
            .iter()
            .map(|topic| {
                let aborted: usize =
                    topic.partitions.iter().filter_map(|row| row.aborted_transactions.as_ref()).map(Vec::len).sum();
                TOPIC_BYTES
                    + topic.topic.len()
                    + topic.partitions.len() * PARTITION_BYTES
                    + aborted * ABORTED_TRANSACTION_BYTES
            })
            .sum();
        32 + topics + self.node_endpoints.iter().map(node_endpoint_bytes).sum::<usize>()
    }
}

/// Everything but the records is written into one buffer; where records belong is remembered and cut later.
struct Encoder {
    version: i16,
    head: BytesMut,
    records: Vec<(usize, Vec<Chunk>)>,
    record_bytes: usize,
}

impl Encoder {
    fn new(version: i16, room: usize) -> Encoder {
        Encoder { version, head: BytesMut::with_capacity(room), records: Vec::new(), record_bytes: 0 }
    }

    fn is_flexible(&self) -> bool {
        self.version >= FIRST_FLEXIBLE
    }

    fn body(&mut self, response: FetchResponse) {
        if self.version >= 1 {
            self.head.put_i32(response.throttle_time_ms);
        }
        if self.version >= 7 {
            self.head.put_i16(response.error_code);
            self.head.put_i32(response.session_id);
        }
        self.count(response.responses.len());
        for topic in response.responses {
            self.topic(topic);
        }
        if self.is_flexible() {
            self.node_endpoints(&response.node_endpoints);
        }
    }

    fn topic(&mut self, topic: TopicResponse) {
        if self.version >= FIRST_WITH_TOPIC_IDS {
            self.head.put_slice(topic.topic_id.as_bytes());
        } else if self.is_flexible() {
            put_compact_string(&mut self.head, &topic.topic);
        } else {
            self.head.put_i16(topic.topic.len() as i16);
            self.head.put_slice(topic.topic.as_bytes());
        }
        self.count(topic.partitions.len());
        for partition in topic.partitions {
            self.partition(partition);
        }
        if self.is_flexible() {
            self.head.put_u8(0);
        }
    }

    fn partition(&mut self, partition: PartitionResponse) {
        self.head.put_i32(partition.partition_index);
        self.head.put_i16(partition.error_code);
        self.head.put_i64(partition.high_watermark);
        if self.version >= 4 {
            self.head.put_i64(partition.last_stable_offset);
            if self.version >= 5 {
                self.head.put_i64(partition.log_start_offset);
            }
            self.aborted_transactions(partition.aborted_transactions.as_deref());
        }
        if self.version >= 11 {
            self.head.put_i32(partition.preferred_read_replica);
        }
        let tags = PartitionTags::of(&partition);
        self.records(partition.records);
        if self.is_flexible() {
            tags.put(&mut self.head);
        }
    }

    fn aborted_transactions(&mut self, aborted: Option<&[AbortedTransaction]>) {
        match aborted {
            None if self.is_flexible() => self.head.put_u8(0),
            None => self.head.put_i32(-1),
            Some(aborted) => {
                self.count(aborted.len());
                for transaction in aborted {
                    self.head.put_i64(transaction.producer_id);
                    self.head.put_i64(transaction.first_offset);
                    if self.is_flexible() {
                        self.head.put_u8(0);
                    }
                }
            }
        }
    }

    fn records(&mut self, mut chunks: Vec<Chunk>) {
        chunks.retain(|chunk| !chunk.is_empty());
        let bytes: usize = chunks.iter().map(Chunk::len).sum();
        if self.is_flexible() {
            put_uvarint(&mut self.head, bytes as u32 + 1);
        } else {
            self.head.put_i32(bytes as i32);
        }
        if bytes > 0 {
            self.record_bytes += bytes;
            self.records.push((self.head.len(), chunks));
        }
    }

    fn node_endpoints(&mut self, endpoints: &[NodeEndpoint]) {
        if self.version < 16 || endpoints.is_empty() {
            self.head.put_u8(0);
            return;
        }
        let count = endpoints.len() as u32 + 1;
        let size = uvarint_bytes(count) + endpoints.iter().map(node_endpoint_bytes).sum::<usize>();
        self.head.put_u8(1);
        self.head.put_u8(0);
        put_uvarint(&mut self.head, size as u32);
        put_uvarint(&mut self.head, count);
        for endpoint in endpoints {
            self.head.put_i32(endpoint.node_id);
            put_compact_string(&mut self.head, &endpoint.host);
            self.head.put_i32(endpoint.port);
            match &endpoint.rack {
                Some(rack) => put_compact_string(&mut self.head, rack),
                None => self.head.put_u8(0),
            }
            self.head.put_u8(0);
        }
    }

    fn count(&mut self, count: usize) {
        if self.is_flexible() {
            put_uvarint(&mut self.head, count as u32 + 1);
        } else {
            self.head.put_i32(count as i32);
        }
    }

    fn finish(mut self) -> Vec<Chunk> {
        let mut chunks = Vec::with_capacity(2 * self.records.len() + 1);
        let mut cut = 0;
        for (position, records) in self.records {
            chunks.push(Chunk::Bytes(self.head.split_to(position - cut).freeze()));
            cut = position;
            chunks.extend(records);
        }
        if !self.head.is_empty() {
            chunks.push(Chunk::Bytes(self.head.freeze()));
        }
        chunks
    }
}

/// The tagged fields of a row; one that only repeats the default is left out, as Kafka does.
struct PartitionTags {
    diverging_epoch: Option<EpochEndOffset>,
    current_leader: Option<LeaderIdAndEpoch>,
    snapshot_id: Option<SnapshotId>,
}

impl PartitionTags {
    fn of(partition: &PartitionResponse) -> PartitionTags {
        PartitionTags {
            diverging_epoch: partition.diverging_epoch.filter(|tag| (tag.epoch, tag.end_offset) != (-1, -1)),
            current_leader: partition.current_leader.filter(|tag| (tag.leader_id, tag.leader_epoch) != (-1, -1)),
            snapshot_id: partition.snapshot_id.filter(|tag| (tag.end_offset, tag.epoch) != (-1, -1)),
        }
    }

    fn put(&self, head: &mut BytesMut) {
        let count = u8::from(self.diverging_epoch.is_some())
            + u8::from(self.current_leader.is_some())
            + u8::from(self.snapshot_id.is_some());
        head.put_u8(count);
        // Each: tag, size, the struct, its own empty tagged fields.
        if let Some(tag) = self.diverging_epoch {
            head.put_slice(&[0, 13]);
            head.put_i32(tag.epoch);
            head.put_i64(tag.end_offset);
            head.put_u8(0);
        }
        if let Some(tag) = self.current_leader {
            head.put_slice(&[1, 9]);
            head.put_i32(tag.leader_id);
            head.put_i32(tag.leader_epoch);
            head.put_u8(0);
        }
        if let Some(tag) = self.snapshot_id {
            head.put_slice(&[2, 13]);
            head.put_i64(tag.end_offset);
            head.put_i32(tag.epoch);
            head.put_u8(0);
        }
    }
}

fn node_endpoint_bytes(endpoint: &NodeEndpoint) -> usize {
    let compact = |text: &str| uvarint_bytes(text.len() as u32 + 1) + text.len();
    4 + compact(&endpoint.host) + 4 + endpoint.rack.as_deref().map_or(1, compact) + 1
}

#[cfg(test)]
mod tests;
