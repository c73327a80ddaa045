//! Published vulnerabilities of Kafka, of other brokers and of clients, as far as they concern a data path that anybody
//! on the port can reach: each by its number, asked of this broker.

use std::net::Shutdown;

use bytes::Bytes;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::{ApiKey, BrokerId, FetchRequest, FetchResponse};
use kafka_protocol::protocol::Decodable;
use milena::handlers::APIS;
use milena_protocol::compression::Codec;
use milena_protocol::records::BatchBuilder;
use milena_protocol::schema::{self, sample};

use crate::harness::{MIB, TOPIC, Target, frame, memory_of, name, receive, send, uvarint};

/// Whoever says in a Fetch that he is a replica could make the leader believe what he has replicated, and lose data. He
/// is told what a stranger is told, and the high watermark stays.
#[test]
fn cve_2018_1288_a_client_that_says_it_is_a_replica_changes_nothing() {
    let target = Target::start();
    target.assert_serves();
    for version in [4, 11] {
        for replica in [0, 1, 2, i32::MAX] {
            let partition = FetchPartition::default().with_fetch_offset(1_000_000).with_partition_max_bytes(1000);
            let topic = FetchTopic::default().with_topic(name(TOPIC)).with_partitions(vec![partition]);
            let request = FetchRequest::default().with_replica_id(BrokerId(replica)).with_topics(vec![topic]);
            if let Some(mut answer) = target.ask(ApiKey::Fetch, version, &request) {
                let answer = FetchResponse::decode(&mut answer, version).unwrap();
                let partition = &answer.responses[0].partitions[0];
                assert_ne!(partition.error_code, 0, "v{version} replica {replica}");
                assert!(partition.high_watermark <= 1, "v{version} replica {replica}");
            }
        }
    }
    target.assert_serves();
}

/// A Produce request whose header names no transaction, with a transactional batch inside: it must not get around what
/// is checked for transactions. Nobody has opened this one.
#[test]
fn cve_2018_17196_a_transactional_batch_needs_more_than_its_own_word() {
    let target = Target::start();
    let mut builder = BatchBuilder::new().producer(7, 0, 0).transactional(true);
    builder.append(1_700_000_000_000, None, Some(b"x"), []);
    let error = target.produce(builder.build().unwrap().freeze());
    assert_ne!(error, Some(0));
    target.assert_serves();
}

/// Memory taken by what an unauthenticated client declares.
#[test]
fn cve_2022_34917_declared_sizes_take_no_memory() {
    let target = Target::start();
    let ((), memory) = memory_of(|| {
        for api in APIS {
            for version in api.min..=api.max {
                // A count of two billion wherever the body begins with one.
                for body in [&[0x7f, 0xff, 0xff, 0xff][..], &[0xff, 0xff, 0xff, 0xff, 0x07], &[0x7f, 0xff]] {
                    _ = target.ask_with(api.key, version, body);
                }
            }
        }
    });
    assert!(memory < 32 * MIB, "{memory} bytes");
    target.assert_serves();
}

/// A chunk of xerial's snappy framing that declares two billion bytes.
#[test]
fn cve_2023_34455_a_snappy_chunk_allocates_what_is_there() {
    let target = Target::start();
    for declared in [i32::MAX, -1, i32::MIN, 1 << 30] {
        let mut chunk = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".to_vec();
        chunk.extend(declared.to_be_bytes());
        chunk.extend([0; 16]);
        // And a raw block whose varint declares as much.
        let raw = [&uvarint(declared as u32)[..], &[0; 16]].concat();
        for compressed in [chunk, raw] {
            let batch = batch_of(Codec::Snappy, &compressed);
            let (error, memory) = memory_of(|| target.produce(batch));
            assert_ne!(error.expect("an answer"), 0);
            assert!(memory < 8 * MIB, "{memory} bytes for a chunk of {declared}");
        }
    }
    target.assert_serves();
}

fn batch_of(codec: Codec, compressed: &[u8]) -> Bytes {
    use milena_protocol::record_batch::{BatchHeader, recompute_crc};
    let mut builder = BatchBuilder::new();
    builder.append(1_700_000_000_000, None, Some(b"x"), []);
    let mut batch = builder.build().unwrap();
    let header = BatchHeader::parse(&batch).unwrap();
    batch.truncate(61);
    batch.extend_from_slice(compressed);
    let attributes = header.attributes.with_codec(codec);
    BatchHeader { batch_length: batch.len() as i32 - 12, attributes, ..header }.write(&mut batch);
    recompute_crc(&mut batch);
    batch.freeze()
}

/// A compressed PushTelemetry opened without a bound. Telemetry is not served: the connection ends.
#[test]
fn cve_2026_111073_telemetry_is_not_opened() {
    let target = Target::start();
    for key in [ApiKey::PushTelemetry, ApiKey::GetTelemetrySubscriptions] {
        assert!(target.closes_after(&frame(key as i16, 0, &[0; 64])), "{key:?}");
    }
    target.assert_serves();
}

/// Array counts that fit into the bytes that follow, with elements that take a hundred times as much in memory.
#[test]
fn cve_2026_111108_elements_cost_what_the_frame_pays_for() {
    let target = Target::start();
    let ((), memory) = memory_of(|| {
        for api in APIS {
            let message = schema::request(api.key).expect("every API is in the table");
            let body = sample::dense(message, api.max, 1_000_000, 0).bytes;
            if api.key != ApiKey::Fetch as i16 {
                _ = target.ask_with(api.key, api.max, &body);
            }
        }
    });
    assert!(memory < 384 * MIB, "{memory} bytes");
    target.assert_serves();
}

/// A million empty tagged fields: two or three bytes each on the wire, a node of a map each in memory.
#[test]
fn cve_2026_111115_a_million_tagged_fields_are_not_kept() {
    let target = Target::start();
    let tags: Vec<u8> = (0..1_000_000_u32).flat_map(|tag| [uvarint(100 + tag), vec![0]].concat()).collect();
    let body = [&[2, b'a', 2, b'1'][..], &uvarint(1_000_000), &tags].concat();
    let (_, memory) = memory_of(|| target.ask_with(ApiKey::ApiVersions as i16, 3, &body));
    assert!(memory < 64 * MIB, "{memory} bytes");
    // In the header, too.
    let mut headed = vec![0, 18, 0, 3, 0, 0, 0, 7, 0, 1, b't'];
    headed.extend(uvarint(1_000_000));
    headed.extend(&tags);
    headed.extend([2, b'a', 2, b'1', 0]);
    let framed = [&(headed.len() as u32).to_be_bytes()[..], &headed].concat();
    let (_, memory) = memory_of(|| target.closes_after(&framed));
    assert!(memory < 64 * MIB, "{memory} bytes");
    target.assert_serves();
}

/// FetchSnapshot without topics ended the controller: its handler took the first of none. Every API is asked with
/// every collection empty, and with none where null is allowed.
#[test]
fn cve_2026_83525_empty_collections_are_answered_by_every_api() {
    let target = Target::start();
    for api in APIS {
        let message = schema::request(api.key).expect("every API is in the table");
        for version in api.min..=api.max {
            let empty = sample::dense(message, version, 0, 0).bytes;
            let one_without_inner = sample::dense(message, version, 1, 0).bytes;
            for body in [empty, one_without_inner] {
                let mut socket = target.connect();
                send(&mut socket, &frame(api.key, version, &body));
                // A Produce with acks=0 has no answer.
                _ = socket.shutdown(Shutdown::Write);
                _ = receive(&mut socket);
            }
        }
    }
    // A controller's own API is no business of a client's listener.
    assert!(target.closes_after(&frame(ApiKey::FetchSnapshot as i16, 0, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0])));
    target.assert_serves();
}

/// kafka-python's CVE-2026-10142 was a frame's length taken at its word; ours are read by a client here.
#[test]
fn cve_2026_10142_a_length_is_not_taken_at_its_word() {
    let target = Target::start();
    let ((), memory) = memory_of(|| {
        for length in [i32::MAX, -1, i32::MIN] {
            assert!(target.closes_after(&length.to_be_bytes()));
        }
    });
    assert!(memory < 8 * MIB, "{memory} bytes");
    target.assert_serves();
}
