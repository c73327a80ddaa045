//! Kafka's own message sets, and bytes that are none.

use proptest::prelude::*;

use super::*;
use crate::legacy::MessageSetBuilder;
use crate::test_support::{hex, message_set_goldens};

const MAGICS: [Magic; 2] = [Magic::V0, Magic::V1];
const CODECS: [Codec; 4] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4];

type Owned = (Offset, Timestamp, Option<Vec<u8>>, Option<Vec<u8>>);

/// Everything in a set, as its consumers see it.
fn read(set: &[u8]) -> Result<Vec<Owned>, MessageSetError> {
    let mut read = Vec::new();
    let mut scratch = Vec::new();
    for message in messages(set) {
        let message = message.map_err(MessageSetError::Frame)?;
        message.check_crc()?;
        for record in message.records(1 << 20, &mut scratch)? {
            let record = record?;
            record.message.check_crc()?;
            let (key, value) = (record.message.key()?, record.message.value()?);
            read.push((record.offset, record.timestamp, key.map(<[u8]>::to_vec), value.map(<[u8]>::to_vec)));
        }
    }
    Ok(read)
}

#[test]
fn reads_what_kafka_reads() {
    let mut cases = 0;
    for fields in message_set_goldens("read") {
        let [name, set, records] = fields[..] else { panic!("{fields:?}") };
        let bytes = |text: &str| (text != "-").then(|| hex(text));
        let expected: Vec<Owned> = records
            .split(';')
            .map(|record| {
                let fields: Vec<&str> = record.split(',').collect();
                (fields[0].parse().unwrap(), fields[1].parse().unwrap(), bytes(fields[2]), bytes(fields[3]))
            })
            .collect();
        assert_eq!(read(&hex(set)).unwrap(), expected, "{name}");
        cases += 1;
    }
    assert_eq!(cases, 64);
}

#[test]
fn a_header_for_the_log_says_offset_timestamp_codec_and_nothing_of_producers() {
    for (magic, codec) in MAGICS.into_iter().flat_map(|magic| CODECS.map(|codec| (magic, codec))) {
        let mut builder = MessageSetBuilder::new(magic).compression(codec);
        let set = builder.append(7, 100, None, Some(b"value")).clone().build().unwrap();
        let header = MessageView::parse(&set).unwrap().as_batch_header();
        assert_eq!((header.base_offset, header.last_offset(), header.size_in_bytes()), (7, 7, set.len()));
        assert_eq!(header.max_timestamp, if magic == Magic::V0 { NO_TIMESTAMP } else { 100 });
        assert_eq!(header.attributes.codec(), Ok(codec));
        assert_eq!((header.leader_epoch, header.has_producer_id()), (NO_LEADER_EPOCH, false));
        for end in 0..set.len() {
            match MessageView::peek_batch_header(&set[..end]) {
                Ok(peeked) => assert_eq!((peeked, end >= 18), (header, true)),
                Err(error) => assert!(end < 26 && matches!(error, BatchError::TooShort { .. }), "{end}: {error}"),
            }
        }
    }
}

#[test]
fn a_wrapper_in_a_wrapper_is_refused() {
    for magic in MAGICS {
        let inner = MessageSetBuilder::new(magic).compression(Codec::Gzip).append(0, 0, None, None).clone();
        let inner = inner.build().unwrap();
        // The builder's plain message becomes a wrapper around the other one.
        let compressed = compression::compress(Codec::Snappy, compression::Level::DEFAULT, &inner).unwrap();
        let mut outer = MessageSetBuilder::new(magic).append(0, 0, None, Some(&compressed)).clone().build().unwrap();
        outer[ATTRIBUTES_AT] = Codec::Snappy.id();
        let crc = MessageView::parse(&outer).unwrap().computed_crc();
        outer[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_be_bytes());
        assert!(matches!(read(&outer), Err(MessageSetError::Nested)));
    }
}

#[test]
fn a_wrapper_holds_no_more_than_the_caller_allows() {
    for (magic, codec) in MAGICS.into_iter().flat_map(|magic| CODECS.map(|codec| (magic, codec))) {
        let mut builder = MessageSetBuilder::new(magic).compression(codec);
        let set = builder.append(0, 0, None, Some(&vec![0; 1_000_000])).clone().build().unwrap();
        let message = MessageView::parse(&set).unwrap();
        let mut scratch = Vec::new();
        let refused = message.records(100_000, &mut scratch);
        assert_eq!(matches!(refused, Err(MessageSetError::DecompressedTooLarge { .. })), codec != Codec::None);
        assert!(scratch.capacity() < 500_000);
    }
}

fn any_owned() -> impl Strategy<Value = (Timestamp, Option<Vec<u8>>, Option<Vec<u8>>)> {
    let bytes = || prop::option::of(prop::collection::vec(any::<u8>(), 0..100));
    (-1..i64::MAX, bytes(), bytes())
}

fn any_magic() -> impl Strategy<Value = Magic> {
    prop::sample::select(MAGICS.to_vec())
}

fn any_old_codec() -> impl Strategy<Value = Codec> {
    prop::sample::select(CODECS.to_vec())
}

proptest! {
    #[test]
    fn what_is_built_is_read(
        magic in any_magic(),
        codec in any_old_codec(),
        first_offset in 0..i64::MAX / 2,
        records in prop::collection::vec(any_owned(), 0..20),
    ) {
        let mut builder = MessageSetBuilder::new(magic).compression(codec);
        let mut expected = Vec::new();
        for ((timestamp, key, value), offset) in records.into_iter().zip(first_offset..) {
            builder.append(offset, timestamp, key.as_deref(), value.as_deref());
            let timestamp = if magic == Magic::V0 { NO_TIMESTAMP } else { timestamp };
            expected.push((offset, timestamp, key, value));
        }
        prop_assert_eq!(read(&builder.build().unwrap()).unwrap(), expected);
    }

    #[test]
    fn any_bytes_are_walked_over(bytes: Vec<u8>) {
        _ = read(&bytes);
        let mut walk = messages(&bytes);
        while walk.next().is_some() {}
        prop_assert!(walk.position() <= bytes.len());
    }

    #[test]
    fn damaged_sets_are_walked_over(
        magic in any_magic(),
        codec in any_old_codec(),
        records in prop::collection::vec(any_owned(), 1..5),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut builder = MessageSetBuilder::new(magic).compression(codec);
        for ((timestamp, key, value), offset) in records.iter().zip(0..) {
            builder.append(offset, *timestamp, key.as_deref(), value.as_deref());
        }
        let mut set = builder.build().unwrap();
        for (at, byte) in damage {
            let at = at.index(set.len());
            set[at] = byte;
        }
        let mut scratch = Vec::new();
        for message in messages(&set).flatten() {
            let Ok(records) = message.records(10_000, &mut scratch) else { continue };
            for record in records.flatten() {
                _ = (record.message.crc_is_valid(), record.message.has_key(), record.message.key(), record.message.value());
                _ = record.message.as_batch_header();
            }
        }
        prop_assert!(scratch.len() <= 10_000);
    }
}
