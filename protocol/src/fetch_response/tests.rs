//! The bytes of the `kafka-protocol` crate are the reference.

use bytes::Bytes;
use kafka_protocol::messages::fetch_response as theirs;
use kafka_protocol::messages::{FetchResponse as TheirResponse, ResponseHeader};
use kafka_protocol::protocol::{Encodable, StrBytes};
use proptest::prelude::*;

use super::*;
use crate::test_support::old_golden;

fn any_partition() -> impl Strategy<Value = PartitionResponse> {
    let aborted = prop::collection::vec((any::<i64>(), any::<i64>()), 0..4);
    let records = prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..3);
    let pair = || prop::option::of((-1_i32..3, -1_i64..3));
    (
        (any::<i32>(), any::<i16>(), any::<i64>(), any::<i64>(), any::<i64>()),
        (pair(), prop::option::of((-1_i32..3, -1_i32..3)), pair()),
        (prop::option::of(aborted), any::<i32>(), records),
    )
        .prop_map(
            |((index, error, high, stable, start), (diverging, leader, snapshot), (aborted, replica, records))| {
                PartitionResponse {
                    high_watermark: high,
                    last_stable_offset: stable,
                    log_start_offset: start,
                    diverging_epoch: diverging.map(|(epoch, end_offset)| EpochEndOffset { epoch, end_offset }),
                    current_leader: leader
                        .map(|(leader_id, leader_epoch)| LeaderIdAndEpoch { leader_id, leader_epoch }),
                    snapshot_id: snapshot.map(|(epoch, end_offset)| SnapshotId { end_offset, epoch }),
                    aborted_transactions: aborted.map(|aborted| {
                        let transaction =
                            |(producer_id, first_offset)| AbortedTransaction { producer_id, first_offset };
                        aborted.into_iter().map(transaction).collect()
                    }),
                    preferred_read_replica: replica,
                    records: records.into_iter().map(|bytes| Chunk::Bytes(Bytes::from(bytes))).collect(),
                    ..PartitionResponse::new(index, error)
                }
            },
        )
}

fn any_response() -> impl Strategy<Value = FetchResponse> {
    let topic = ("[a-z.]{0,200}", any::<u128>(), prop::collection::vec(any_partition(), 0..4)).prop_map(
        |(topic, id, partitions)| TopicResponse { topic: topic.into(), topic_id: Uuid::from_u128(id), partitions },
    );
    let endpoint = (any::<i32>(), "[a-z]{0,150}", any::<i32>(), prop::option::of("[a-z]{0,5}")).prop_map(
        |(node_id, host, port, rack)| NodeEndpoint { node_id, host: host.into(), port, rack: rack.map(Into::into) },
    );
    let topics = prop::collection::vec(topic, 0..4);
    (any::<i32>(), any::<i16>(), any::<i32>(), topics, prop::collection::vec(endpoint, 0..3)).prop_map(
        |(throttle_time_ms, error_code, session_id, responses, node_endpoints)| FetchResponse {
            throttle_time_ms,
            error_code,
            session_id,
            responses,
            node_endpoints,
        },
    )
}

/// The same answer in the crate's words; what the version does not have is left out, which the crate insists on.
fn as_theirs(response: &FetchResponse, version: i16) -> TheirResponse {
    let text = |text: &str| StrBytes::from_string(text.to_owned());
    let flexible = version >= 12;
    let partition = |row: &PartitionResponse| {
        let mut partition = theirs::PartitionData::default()
            .with_partition_index(row.partition_index)
            .with_error_code(row.error_code)
            .with_high_watermark(row.high_watermark)
            .with_last_stable_offset(row.last_stable_offset)
            .with_log_start_offset(row.log_start_offset)
            .with_aborted_transactions(row.aborted_transactions.as_ref().map(|aborted| {
                let transaction = |aborted: &AbortedTransaction| {
                    theirs::AbortedTransaction::default()
                        .with_producer_id(aborted.producer_id.into())
                        .with_first_offset(aborted.first_offset)
                };
                aborted.iter().map(transaction).collect()
            }))
            .with_records(Some(Bytes::from(concatenated(&row.records))));
        if version >= 11 {
            partition = partition.with_preferred_read_replica(row.preferred_read_replica.into());
        }
        if let Some(tag) = row.diverging_epoch.filter(|_| flexible) {
            let tag = theirs::EpochEndOffset::default().with_epoch(tag.epoch).with_end_offset(tag.end_offset);
            partition = partition.with_diverging_epoch(tag);
        }
        if let Some(tag) = row.current_leader.filter(|_| flexible) {
            let tag = theirs::LeaderIdAndEpoch::default()
                .with_leader_id(tag.leader_id.into())
                .with_leader_epoch(tag.leader_epoch);
            partition = partition.with_current_leader(tag);
        }
        if let Some(tag) = row.snapshot_id.filter(|_| flexible) {
            let tag = theirs::SnapshotId::default().with_epoch(tag.epoch).with_end_offset(tag.end_offset);
            partition = partition.with_snapshot_id(tag);
        }
        partition
    };
    let topic = |topic: &TopicResponse| {
        theirs::FetchableTopicResponse::default()
            .with_topic(text(&topic.topic).into())
            .with_topic_id(topic.topic_id)
            .with_partitions(topic.partitions.iter().map(partition).collect())
    };
    let endpoint = |endpoint: &NodeEndpoint| {
        theirs::NodeEndpoint::default()
            .with_node_id(endpoint.node_id.into())
            .with_host(text(&endpoint.host))
            .with_port(endpoint.port)
            .with_rack(endpoint.rack.as_deref().map(text))
    };
    let mut expected = TheirResponse::default()
        .with_throttle_time_ms(response.throttle_time_ms)
        .with_error_code(response.error_code)
        .with_responses(response.responses.iter().map(topic).collect());
    if version >= 7 {
        expected = expected.with_session_id(response.session_id);
    }
    if version >= 16 {
        expected = expected.with_node_endpoints(response.node_endpoints.iter().map(endpoint).collect());
    }
    expected
}

fn concatenated(chunks: &[Chunk]) -> Vec<u8> {
    let mut all = Vec::new();
    for chunk in chunks {
        match chunk {
            Chunk::Bytes(bytes) => all.extend_from_slice(bytes),
            Chunk::File(range) => {
                let start = all.len();
                all.resize(start + range.len, 0);
                range.source.read_exact_at(&mut all[start..], range.position).unwrap();
            }
        }
    }
    all
}

#[derive(Debug)]
struct Memory(Vec<u8>);

impl crate::file_range::FileSource for Memory {
    fn descriptor(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        None
    }

    fn read_exact_at(&self, buffer: &mut [u8], position: u64) -> std::io::Result<()> {
        buffer.copy_from_slice(&self.0[position as usize..][..buffer.len()]);
        Ok(())
    }
}

#[test]
fn records_are_passed_on_between_runs_of_header_bytes() {
    let file = |position, len| {
        Chunk::File(crate::file_range::FileRange { source: Arc::new(Memory((0..100).collect())), position, len })
    };
    let row = |records| PartitionResponse { records, ..PartitionResponse::new(0, 0) };
    let response = FetchResponse {
        responses: vec![TopicResponse {
            topic: "t".into(),
            topic_id: Uuid::from_u128(7),
            partitions: vec![
                row(vec![file(10, 5), file(20, 3)]),
                row(vec![]),
                row(vec![file(0, 0)]),
                row(vec![file(30, 1)]),
            ],
        }],
        ..FetchResponse::default()
    };
    let chunks = response.encode(18);
    let shape: Vec<_> = chunks.iter().map(|chunk| matches!(chunk, Chunk::File(_))).collect();
    assert_eq!(shape, [false, true, true, false, true, false]);
}

#[test]
fn the_old_versions_are_what_kafka_wrote() {
    let row = PartitionResponse {
        high_watermark: 99,
        records: vec![Chunk::Bytes(Bytes::from_static(b"not looked at here"))],
        ..PartitionResponse::new(3, 0)
    };
    let topic = TopicResponse { topic: "syslog".into(), topic_id: Uuid::nil(), partitions: vec![row] };
    let response = FetchResponse { throttle_time_ms: 9, responses: vec![topic], ..FetchResponse::default() };
    for version in 0..=4 {
        let golden = old_golden(&format!("FetchResponse-{version}"));
        assert_eq!(concatenated(&response.clone().encode(version)), golden, "v{version}");
    }
}

#[test]
fn the_versions_below_the_crates_floor_have_their_old_fields() {
    let row = PartitionResponse {
        high_watermark: 9,
        records: vec![Chunk::Bytes(Bytes::from_static(b"xyz"))],
        ..PartitionResponse::new(1, 0)
    };
    let response = FetchResponse {
        throttle_time_ms: 5,
        responses: vec![TopicResponse { topic: "t".into(), topic_id: Uuid::nil(), partitions: vec![row] }],
        ..FetchResponse::default()
    };
    let body =
        [&[0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 3][..], b"xyz"]
            .concat();
    assert_eq!(concatenated(&response.clone().encode(0)), body);
    for version in 1..4 {
        assert_eq!(concatenated(&response.clone().encode(version)), [&[0, 0, 0, 5], &body[..]].concat());
    }
}

proptest! {
    #[test]
    fn says_in_every_version_what_kafka_protocol_says(response in any_response()) {
        for version in 4..=18 {
            let mut expected = BytesMut::new();
            as_theirs(&response, version).encode(&mut expected, version).unwrap();
            prop_assert_eq!(concatenated(&response.clone().encode(version)), expected.to_vec(), "version {}", version);
        }
    }

    #[test]
    fn a_frame_is_its_length_a_header_and_the_body(response in any_response(), correlation_id: i32, version in 4_i16..=18) {
        let mut expected = BytesMut::new();
        let header = ResponseHeader::default().with_correlation_id(correlation_id);
        header.encode(&mut expected, i16::from(version >= 12)).unwrap();
        as_theirs(&response, version).encode(&mut expected, version).unwrap();
        let frame = concatenated(&response.encode_frame(version, correlation_id));
        prop_assert_eq!(&frame[..4], (expected.len() as i32).to_be_bytes());
        prop_assert_eq!(&frame[4..], &expected[..]);
    }

    #[test]
    fn the_room_made_is_enough(response in any_response(), version in 4_i16..=18) {
        let room = response.room();
        let records: usize =
            response.responses.iter().flat_map(|topic| &topic.partitions).map(PartitionResponse::record_bytes).sum();
        let all: usize = response.encode(version).iter().map(Chunk::len).sum();
        prop_assert!(all - records <= room, "{} > {}", all - records, room);
    }
}
