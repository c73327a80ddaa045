//! Kafka's own records, round trips, and bytes that are no records.

use proptest::prelude::*;

use super::*;
use crate::compression::decompress;
use crate::record_batch::BatchView;
use crate::test_support::{OwnedRecord, any_codec, any_record, build, golden};

fn owned(view: &RecordView<'_>, base_timestamp: Timestamp) -> OwnedRecord {
    OwnedRecord {
        timestamp: base_timestamp.wrapping_add(view.timestamp_delta),
        key: view.key.map(<[u8]>::to_vec),
        value: view.value.map(<[u8]>::to_vec),
        headers: view.headers.clone().map(|header| (header.key.to_vec(), header.value.map(<[u8]>::to_vec))).collect(),
    }
}

fn read(batch: &[u8]) -> Vec<OwnedRecord> {
    let view = BatchView::parse(batch).unwrap();
    let header = view.header();
    let raw = decompress(header.attributes.codec().unwrap(), view.record_bytes(), 1 << 20).unwrap();
    let read: Vec<_> =
        records(&raw, header.records_count).map(|record| owned(&record.unwrap(), header.base_timestamp)).collect();
    read
}

fn sample() -> Vec<OwnedRecord> {
    let record = |timestamp, key: Option<&str>, value: Option<&str>| OwnedRecord {
        timestamp,
        key: key.map(|key| key.as_bytes().to_vec()),
        value: value.map(|value| value.as_bytes().to_vec()),
        headers: Vec::new(),
    };
    let mut records = vec![
        record(1_700_000_000_000, Some("key"), Some("value")),
        record(1_700_000_000_500, None, Some(&"x".repeat(300))),
        record(1_699_999_999_000, Some("tombstone"), None),
        record(1_700_000_000_400, Some(""), Some("")),
    ];
    records[2].headers =
        vec![(b"h".to_vec(), Some(b"1".to_vec())), (b"h".to_vec(), Some(b"2".to_vec())), (Vec::new(), None)];
    records
}

#[test]
fn reads_what_kafka_wrote_with_every_codec() {
    for name in ["none", "none-log-append-time", "gzip", "snappy", "lz4", "zstd"] {
        assert_eq!(read(&golden(name)), sample(), "{name}");
    }
}

fn builder() -> BatchBuilder {
    let mut builder = BatchBuilder::new()
        .base_offset(5)
        .leader_epoch(42)
        .producer(1_234_567_890_123, 7, 2_147_483_646)
        .transactional(true);
    for record in sample() {
        record.append_to(&mut builder);
    }
    builder
}

#[test]
fn builds_the_bytes_that_kafka_builds() {
    assert_eq!(builder().build().unwrap(), golden("none"));
    assert_eq!(builder().log_append_time(1_700_000_009_999).build().unwrap(), golden("none-log-append-time"));
}

#[test]
fn a_copied_record_keeps_its_headers() {
    let batch = golden("none");
    let view = BatchView::parse(&batch).unwrap();
    let mut copy = BatchBuilder::new();
    for record in records(view.record_bytes(), view.header().records_count) {
        let record = record.unwrap();
        copy.append_view(view.header().record_timestamp(record.timestamp_delta), &record);
    }
    assert_eq!(read(&copy.build().unwrap()), sample());
}

#[test]
fn an_empty_batch_has_no_records_and_no_timestamps() {
    let batch = BatchBuilder::new().build().unwrap();
    let header = BatchHeader::parse(&batch).unwrap();
    assert_eq!((header.records_count, header.base_timestamp, header.max_timestamp), (0, -1, -1));
    assert!(read(&batch).is_empty());
}

fn walk(bytes: &[u8], count: i32) -> Result<usize, RecordError> {
    records(bytes, count).try_fold(0, |number, record| record.map(|_| number + 1))
}

#[test]
fn says_what_is_wrong_with_records() {
    // length 7: attributes, timestamp delta, offset delta, null key, null value, no headers.
    let good = [12, 0, 0, 0, 1, 1, 0];
    assert_eq!(walk(&good, 1), Ok(1));
    assert_eq!(walk(&good, 0), Err(RecordError::BytesRemaining { bytes: 7 }));
    assert_eq!(walk(&good, -5), Err(RecordError::BytesRemaining { bytes: 7 }));
    assert_eq!(walk(&good, 2), Err(RecordError::PrematureEnd));
    assert_eq!(walk(&good[..6], 1), Err(RecordError::PrematureEnd));
    assert_eq!(walk(&[13, 0, 0, 0, 1, 1, 0], 1), Err(RecordError::InvalidStructure), "negative length");
    assert_eq!(walk(&[14, 0, 0, 0, 1, 1, 0, 9], 1), Err(RecordError::SizeMismatch { declared: 7, read: 6 }));
    assert_eq!(walk(&[12, 0, 0, 0, 2, 1, 0], 1), Err(RecordError::InvalidStructure), "key over the end");
    assert_eq!(walk(&[12, 0, 0, 0, 1, 1, 1], 1), Err(RecordError::HeaderCount { count: -1 }));
    assert_eq!(walk(&[12, 0, 0, 0, 1, 1, 2], 1), Err(RecordError::HeaderCount { count: 1 }));
    assert_eq!(walk(&[16, 0, 0, 0, 1, 1, 2, 1, 1], 1), Err(RecordError::HeaderKeySize { size: -1 }));
    assert_eq!(walk(&[0xff, 0xff, 0xff, 0xff, 0xff, 1], 1), Err(RecordError::LengthTooLong), "endless varint");
}

#[test]
fn header_keys_need_not_be_text_and_may_repeat() {
    let header = |value| Header { key: &[0xff, 0xfe], value };
    let mut builder = BatchBuilder::new();
    builder.append(0, Some(&[0xc0]), None, [header(None), header(Some(&b"2"[..]))]);
    let read = read(&builder.build().unwrap());
    assert_eq!(read[0].headers, [(vec![0xff, 0xfe], None), (vec![0xff, 0xfe], Some(b"2".to_vec()))]);
}

proptest! {
    #[test]
    fn records_survive_the_round_trip(codec in any_codec(), written in prop::collection::vec(any_record(), 0..6)) {
        prop_assert_eq!(read(&build(codec, &written)), written);
    }

    #[test]
    fn offsets_and_largest_timestamp_are_those_of_the_records(written in prop::collection::vec(any_record(), 1..6)) {
        let batch = build(Codec::None, &written);
        let view = BatchView::parse(&batch).unwrap();
        let max = written.iter().map(|record| record.timestamp).max().unwrap().max(-1);
        prop_assert_eq!(view.header().max_timestamp, max);
        prop_assert_eq!(view.header().last_offset_delta as usize, written.len() - 1);
        for (index, record) in records(view.record_bytes(), view.header().records_count).enumerate() {
            prop_assert_eq!(record.unwrap().offset_delta as usize, index);
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>, count: i32) {
        let mut found = 0;
        for record in records(&bytes, count).flatten() {
            prop_assert_eq!(record.headers.clone().count(), record.headers.len());
            found += 1;
        }
        prop_assert!(found <= bytes.len());
    }

    #[test]
    fn damaged_records_are_read_or_refused(
        written in prop::collection::vec(any_record(), 1..4), at: prop::sample::Index, value: u8, count in -1_i32..6,
    ) {
        let mut bytes = build(Codec::None, &written)[BATCH_HEADER_BYTES..].to_vec();
        let at = at.index(bytes.len());
        bytes[at] = value;
        for record in records(&bytes, count).flatten() {
            prop_assert_eq!(record.headers.clone().count(), record.headers.len());
        }
    }

    #[test]
    fn every_varint_survives(value: i64) {
        let mut bytes = Vec::new();
        put_varlong(&mut bytes, value);
        prop_assert_eq!(bytes.len(), varlong_bytes(value));
        prop_assert_eq!(read_varlong(&mut &bytes[..]), Some(value));
        bytes.clear();
        put_varint(&mut bytes, value as i32);
        prop_assert_eq!(read_varint(&mut &bytes[..]), Some(value as i32));
    }
}
