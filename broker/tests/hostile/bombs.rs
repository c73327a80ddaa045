//! Few bytes that mean many: compressed zeros, messages inside messages.

use bytes::Bytes;
use kafka_protocol::messages::ApiKey;
use milena_protocol::compression::{Codec, Level, compress};
use milena_protocol::legacy::{Magic, MessageSetBuilder};
use milena_protocol::record_batch::{BatchHeader, recompute_crc};
use milena_protocol::records::BatchBuilder;

use crate::harness::{MIB, TOPIC, Target, encoded, memory_of, name};

const CORRUPT_MESSAGE: i16 = 2;
const MESSAGE_TOO_LARGE: i16 = 10;
const INVALID_RECORD: i16 = 87;

/// A batch whose records are what `compressed` holds, with a true checksum.
fn batch_around(codec: Codec, compressed: &[u8], records_count: i32) -> Bytes {
    let mut builder = BatchBuilder::new();
    builder.append(1_700_000_000_000, None, Some(b"x"), []);
    let mut batch = builder.build().unwrap();
    let header = BatchHeader::parse(&batch).unwrap();
    batch.truncate(61);
    batch.extend_from_slice(compressed);
    let header = BatchHeader {
        batch_length: batch.len() as i32 - 12,
        attributes: header.attributes.with_codec(codec),
        last_offset_delta: records_count.wrapping_sub(1),
        records_count,
        ..header
    };
    header.write(&mut batch);
    recompute_crc(&mut batch);
    batch.freeze()
}

fn zeros(codec: Codec, bytes: usize) -> Vec<u8> {
    compress(codec, Level::DEFAULT, &vec![0; bytes]).unwrap()
}

/// A record's length of 200 MB, then zeros: as far as the batch may be decompressed it looks like one long record.
fn one_long_record(codec: Codec, bytes: usize) -> Vec<u8> {
    let mut plain = vec![0; bytes];
    plain[..5].copy_from_slice(&[0x80, 0x88, 0xde, 0xbe, 0x01]);
    compress(codec, Level::DEFAULT, &plain).unwrap()
}

#[test]
fn a_decompression_bomb_of_any_codec_is_refused_within_bounded_memory() {
    let target = Target::start();
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        for compressed in [zeros(codec, 130 * MIB), one_long_record(codec, 130 * MIB)] {
            let bomb = batch_around(codec, &compressed, 1);
            let (error, memory) = memory_of(|| target.produce(bomb.clone()));
            let error = error.expect("an answer");
            let refused = [CORRUPT_MESSAGE, MESSAGE_TOO_LARGE, INVALID_RECORD].contains(&error);
            assert!(refused, "{}: {} bytes compressed are answered with {error}", codec.name(), bomb.len());
            assert!(memory < 256 * MIB, "{}: {memory} bytes", codec.name());
        }
    }
    target.assert_serves();
}

#[test]
fn bombs_from_many_connections_at_once_stay_within_the_memory_of_a_small_machine() {
    let target = Target::start();
    let compressed = one_long_record(Codec::Zstd, 130 * MIB);
    let bomb = batch_around(Codec::Zstd, &compressed, 1);
    let ((), memory) = memory_of(|| {
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| target.produce(bomb.clone()).expect("an answer"));
            }
        });
    });
    assert!(memory < 400 * MIB, "{memory} bytes");
    target.assert_serves();
}

#[test]
fn a_bomb_inside_a_bomb_is_opened_once() {
    let target = Target::start();
    for codec in [Codec::Gzip, Codec::Lz4, Codec::Zstd] {
        let inner = zeros(codec, 110 * MIB);
        let outer = compress(codec, Level::DEFAULT, &inner).unwrap();
        let (error, memory) = memory_of(|| target.produce(batch_around(codec, &outer, 1)));
        assert_ne!(error.expect("an answer"), 0, "{}", codec.name());
        assert!(memory < 64 * MIB, "{}: {memory} bytes", codec.name());
    }
    target.assert_serves();
}

#[test]
fn a_batch_that_says_it_has_two_billion_records_is_refused() {
    let target = Target::start();
    for count in [i32::MAX, i32::MIN, -1, 0] {
        let (error, memory) = memory_of(|| target.produce(batch_around(Codec::None, &[12, 0, 0, 0, 1, 0, 0], count)));
        assert_ne!(error.expect("an answer"), 0, "{count} records");
        assert!(memory < 8 * MIB, "{memory} bytes");
    }
    target.assert_serves();
}

/// Wrappers inside wrappers, as clients of before 0.11 could have made them; Kafka reads one level.
#[test]
fn a_message_set_nested_deeply_is_refused() {
    use kafka_protocol::messages::ProduceRequest;
    use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
    let target = Target::start();
    for magic in [Magic::V0, Magic::V1] {
        let mut set = {
            let mut inner = MessageSetBuilder::new(magic);
            inner.append(0, 1_700_000_000_000, None, Some(&[0; 1000]));
            inner.build().unwrap()
        };
        for _ in 0..200 {
            let mut wrapper = MessageSetBuilder::new(magic).compression(Codec::Gzip);
            wrapper.append(0, 1_700_000_000_000, None, Some(&set));
            set = wrapper.build().unwrap();
        }
        // The value of the only message inside is a set; what matters is the wrapper's codec bit inside a wrapper.
        let nested = nest(magic, &set);
        let data = PartitionProduceData::default().with_records(Some(nested.into()));
        let topic = TopicProduceData::default().with_name(name(TOPIC)).with_partition_data(vec![data]);
        let request = ProduceRequest::default().with_acks(1).with_timeout_ms(30_000).with_topic_data(vec![topic]);
        // Version 2 is version 3 without the transactional id.
        let body = encoded(&request, 3).slice(2..);
        let (answer, memory) = memory_of(|| target.ask_with(ApiKey::Produce as i16, 2, &body));
        assert!(memory < 16 * MIB, "{memory} bytes");
        if let Some(answer) = answer {
            // One topic, its name, one partition, its index, then the error.
            let at = 4 + 2 + TOPIC.len() + 4 + 4;
            assert_ne!(answer[at..at + 2], [0, 0], "a set inside a wrapper inside a wrapper is taken");
        }
    }
    target.assert_serves();
}

/// A wrapper whose only inner message claims to be a wrapper itself.
fn nest(magic: Magic, set: &[u8]) -> Vec<u8> {
    let gzip_id = Codec::Gzip.id();
    let mut inner = MessageSetBuilder::new(magic);
    inner.append(0, 1_700_000_000_000, None, Some(&compress(Codec::Gzip, Level::DEFAULT, set).unwrap()));
    let mut inner = inner.build().unwrap();
    // offset 8, size 4, crc 4, magic 1, then the attributes
    inner[17] |= gzip_id;
    let crc = crc_of(&inner[16..]);
    inner[12..16].copy_from_slice(&crc.to_be_bytes());
    let compressed = compress(Codec::Gzip, Level::DEFAULT, &inner).unwrap();
    let mut outer = MessageSetBuilder::new(magic);
    outer.append(0, 1_700_000_000_000, None, Some(&compressed));
    let mut outer = outer.build().unwrap();
    outer[17] |= gzip_id;
    let crc = crc_of(&outer[16..]);
    outer[12..16].copy_from_slice(&crc.to_be_bytes());
    outer
}

/// The checksum of gzip, bit by bit.
fn crc_of(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    })
}
