//! Kafka's own batches, patches in place, and bytes that are no batch.

use proptest::prelude::*;

use super::*;
use crate::test_support::{any_codec, any_record, build, golden};

fn kafkas(name: &str) -> (Vec<u8>, BatchHeader) {
    let bytes = golden(name);
    let header = BatchHeader::parse(&bytes).unwrap();
    (bytes, header)
}

#[test]
fn reads_a_header_that_kafka_wrote() {
    let (bytes, header) = kafkas("none");
    let expected = BatchHeader {
        base_offset: 5,
        batch_length: bytes.len() as i32 - 12,
        leader_epoch: 42,
        crc: header.crc,
        attributes: Attributes(0x10),
        last_offset_delta: 3,
        base_timestamp: 1_700_000_000_000,
        max_timestamp: 1_700_000_000_500,
        producer_id: 1_234_567_890_123,
        producer_epoch: 7,
        base_sequence: 2_147_483_646,
        records_count: 4,
    };
    assert_eq!(header, expected);
    assert_eq!((header.last_offset(), header.next_offset(), header.size_in_bytes()), (8, 9, bytes.len()));
    assert_eq!(header.last_sequence(), 1, "sequences wrap from i32::MAX to 0");
    assert!(header.attributes.is_transactional() && !header.attributes.is_control() && header.has_producer_id());
}

#[test]
fn knows_kafkas_codecs_and_checksums() {
    let names = ["none", "gzip", "snappy", "lz4", "zstd"];
    for (name, codec) in names.into_iter().zip(Codec::ALL) {
        let (bytes, header) = kafkas(name);
        assert_eq!(header.attributes.codec(), Ok(codec));
        assert!(BatchView::parse(&bytes).unwrap().crc_is_valid(), "{name}");
    }
}

#[test]
fn the_time_of_every_record_is_the_appends_with_log_append_time() {
    let (_, header) = kafkas("none-log-append-time");
    assert_eq!(header.attributes.timestamp_type(), TimestampType::LogAppendTime);
    assert_eq!(header.record_timestamp(500), 1_700_000_009_999);
    assert_eq!(kafkas("none").1.record_timestamp(500), 1_700_000_000_500);
}

#[test]
fn names_the_formats_of_old_message_sets_and_goes_on_behind_them() {
    let mut bytes = golden("magic-0");
    bytes.extend(golden("magic-1"));
    bytes.extend(golden("none"));
    let found: Vec<_> = batches(&bytes).map(|batch| batch.map(|view| view.header().base_offset)).collect();
    let old = |magic, size_in_bytes| Err(BatchError::OldMagic { magic, size_in_bytes });
    assert_eq!(found, [old(0, golden("magic-0").len()), old(1, golden("magic-1").len()), Ok(5)]);
}

#[test]
fn walks_over_batches_and_stops_silently_at_a_torn_one() {
    let bytes = [golden("none"), golden("gzip"), golden("zstd")].concat();
    let torn = &bytes[..bytes.len() - 1];
    let mut walk = batches(torn);
    assert_eq!(walk.by_ref().map(Result::unwrap).count(), 2);
    assert!(walk.is_truncated());
    assert_eq!(walk.rest().len(), golden("zstd").len() - 1);

    let mut whole = batches(&bytes);
    assert_eq!(whole.by_ref().count(), 3);
    assert!(!whole.is_truncated() && whole.position() == bytes.len());
}

#[test]
fn refuses_impossible_sizes_and_undefined_formats() {
    let (bytes, _) = kafkas("none");
    let with = |at: usize, value: &[u8]| {
        let mut bytes = bytes.clone();
        bytes[at..at + value.len()].copy_from_slice(value);
        BatchHeader::parse(&bytes)
    };
    for size in [13, 0, -1, i32::MIN] {
        assert_eq!(with(8, &size.to_be_bytes()), Err(BatchError::SizeTooSmall { size }));
    }
    assert_eq!(with(8, &48_i32.to_be_bytes()), Err(BatchError::HeaderCutShort { size_in_bytes: 60 }));
    assert_eq!(with(16, &[3]), Err(BatchError::UnknownMagic { magic: 3 }));
    assert_eq!(with(16, &[0xff]), Err(BatchError::UnknownMagic { magic: -1 }));
    assert_eq!(with(16, &[3]).unwrap_err().to_string(), "Invalid magic found in record: 3");
}

#[test]
fn placing_a_batch_does_not_touch_its_checksum() {
    let (mut bytes, _) = kafkas("lz4");
    set_base_offset(&mut bytes, i64::MAX - 9);
    set_leader_epoch(&mut bytes, 77);
    let view = BatchView::parse(&bytes).unwrap();
    assert!(view.crc_is_valid());
    assert_eq!((view.header().base_offset, view.header().leader_epoch), (i64::MAX - 9, 77));
}

#[test]
fn a_new_timestamp_costs_a_new_checksum_and_the_same_one_nothing() {
    let (mut bytes, header) = kafkas("zstd");
    assert!(!set_max_timestamp_and_type(&mut bytes, TimestampType::CreateTime, header.max_timestamp));
    assert_eq!(bytes, golden("zstd"));
    assert!(set_max_timestamp_and_type(&mut bytes, TimestampType::LogAppendTime, 5));
    let view = BatchView::parse(&bytes).unwrap();
    assert!(view.crc_is_valid() && view.header().crc != header.crc);
    assert_eq!(view.header().max_timestamp, 5);
    assert_eq!(view.header().attributes.timestamp_type(), TimestampType::LogAppendTime);
    assert_eq!(view.header().attributes.codec(), Ok(Codec::Zstd));
}

#[test]
fn undefined_codecs_are_named_by_their_id() {
    for id in 5..8 {
        assert_eq!(Attributes(i16::from(id)).codec(), Err(id));
    }
}

#[test]
fn sequences_wrap_as_kafkas_do() {
    for (sequence, increment, expected) in [
        (0, 0, 0),
        (5, 3, 8),
        (i32::MAX, 0, i32::MAX),
        (i32::MAX, 1, 0),
        (i32::MAX - 1, 3, 1),
        (i32::MAX, i32::MAX, i32::MAX - 1),
    ] {
        assert_eq!(increment_sequence(sequence, increment), expected, "{sequence} + {increment}");
    }
}

proptest! {
    #[test]
    fn a_header_survives_writing(codec in any_codec(), records in prop::collection::vec(any_record(), 0..4)) {
        let batch = build(codec, &records);
        let header = BatchHeader::parse(&batch).unwrap();
        let mut copy = vec![0; BATCH_HEADER_BYTES];
        header.write(&mut copy);
        prop_assert_eq!(&copy, &batch[..BATCH_HEADER_BYTES]);
        prop_assert!(BatchView::parse(&batch).unwrap().crc_is_valid());
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
        let _ = BatchHeader::parse(&bytes);
        for view in batches(&bytes).flatten() {
            let header = view.header();
            let _ = (view.crc_is_valid(), header.last_sequence(), header.next_offset(), header.attributes.codec());
        }
    }

    #[test]
    fn a_damaged_batch_is_read_or_refused(at in 0_usize..61, value: u8, length in 0_usize..500) {
        let mut bytes = golden("none");
        bytes[at] = value;
        bytes.truncate(length);
        for view in batches(&bytes).flatten() {
            let _ = (view.crc_is_valid(), view.header().last_sequence(), view.header().next_offset());
        }
    }

    #[test]
    fn any_sequence_moves_on_without_overflow(sequence: i32, increment: i32) {
        let _ = increment_sequence(sequence, increment);
    }
}
