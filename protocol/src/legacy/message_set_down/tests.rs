//! What Kafka 3.9 makes of the same batches, the bounds, and the way there and back.

use proptest::prelude::*;

use super::*;
use crate::compression::Level;
use crate::legacy::message_set::messages;
use crate::records::{BatchBuilder, Header};
use crate::test_support::{any_codec, any_record, build, hex, message_set_goldens};
use crate::types::{NO_TIMESTAMP, Timestamp};

const MAGICS: [Magic; 2] = [Magic::V0, Magic::V1];

/// Two sets that say the same, though their codecs may have found different bytes for it.
fn assert_same_set(name: &str, ours: &[u8], kafkas: &[u8]) {
    let [ours, kafkas] = [ours, kafkas].map(|set| messages(set).map(Result::unwrap).collect::<Vec<_>>());
    assert_eq!(ours.len(), kafkas.len(), "{name}");
    for (ours, kafkas) in ours.iter().zip(&kafkas) {
        assert!(ours.crc_is_valid(), "{name}");
        if ours.codec().unwrap() == Codec::None {
            assert_eq!(ours.bytes(), kafkas.bytes(), "{name}");
            continue;
        }
        assert_eq!(ours.key().unwrap(), kafkas.key().unwrap(), "{name}");
        let [ours_header, kafkas_header] = [ours, kafkas]
            .map(|wrapper| (wrapper.offset(), wrapper.magic(), wrapper.attributes(), wrapper.timestamp()));
        assert_eq!(ours_header, kafkas_header, "{name}");
        let inside = [ours, kafkas].map(|wrapper| {
            let mut scratch = Vec::new();
            wrapper.records(1 << 20, &mut scratch).unwrap();
            scratch
        });
        assert_eq!(inside[0], inside[1], "{name}");
        if ours.codec().unwrap() == Codec::Lz4 {
            let header = |wrapper: &MessageView<'_>| wrapper.value().unwrap().unwrap()[..7].to_vec();
            assert_eq!(header(ours), header(kafkas), "{name}");
        }
    }
}

#[test]
fn converts_as_kafka_does() {
    let mut cases = 0;
    for fields in message_set_goldens("down") {
        let [name, target, first_offset, batches, expected] = fields[..] else { panic!("{fields:?}") };
        let target = if target == "0" { Magic::V0 } else { Magic::V1 };
        let name = format!("{name} to {target:?}");
        let converted = convert_up_to(usize::MAX, &hex(batches), target, first_offset.parse().unwrap(), 1 << 20);
        cases += 1;
        match (converted, expected) {
            (Err(DownConvertError::Zstd), "zstd") => {}
            (Ok(converted), _) => assert_same_set(&name, &converted.message_set, &hex(expected)),
            (converted, _) => panic!("{name}: {converted:?}, but Kafka says {expected}"),
        }
    }
    assert_eq!(cases, 232);
}

fn batch(codec: Codec, base_offset: Offset, values: &[&str]) -> Vec<u8> {
    let mut builder = BatchBuilder::new().compression(codec, Level::DEFAULT).base_offset(base_offset);
    for value in values {
        builder.append(1000, Some(b"key"), Some(value.as_bytes()), []);
    }
    builder.build().unwrap().to_vec()
}

fn marker(offset: Offset) -> Vec<u8> {
    let mut builder = BatchBuilder::new().base_offset(offset).producer(1, 0, -1).transactional(true).control(true);
    builder.append(1000, Some(b"\0\0\0\x01"), Some(b"\0\0\0\0\0\0"), []);
    builder.build().unwrap().to_vec()
}

fn offsets(set: &[u8]) -> Vec<Offset> {
    messages(set).map(|message| message.unwrap().offset()).collect()
}

#[test]
fn the_first_batch_is_converted_whole_and_more_only_if_they_fit() {
    let small = batch(Codec::None, 0, &[""; 100]);
    let large = batch(Codec::None, 100, &[&"value".repeat(1000)]);
    for magic in MAGICS {
        let both = down_convert(&[&small[..], &large[..]].concat(), magic, 0, 1 << 20).unwrap();
        assert_eq!(both.next_offset, if both.message_set.len() > 5000 { 101 } else { 100 });
        let first = down_convert(&[&small[..], &small[..]].concat(), magic, 0, 1 << 20).unwrap();
        assert!(first.message_set.len() > 2 * small.len());
        assert_eq!((offsets(&first.message_set).len(), first.next_offset), (100, 100));
    }
}

#[test]
fn markers_alone_become_nothing_and_say_where_to_go_on() {
    let markers = [marker(5), marker(6)].concat();
    let nothing = DownConverted { message_set: Vec::new(), next_offset: 7 };
    assert_eq!(down_convert(&markers, Magic::V1, 5, 1 << 20).unwrap(), nothing);
    let nothing = DownConverted { message_set: Vec::new(), next_offset: 5 };
    assert_eq!(down_convert(&[], Magic::V1, 5, 1 << 20).unwrap(), nothing);
    assert_eq!(down_convert(&marker(5)[..60], Magic::V1, 5, 1 << 20).unwrap(), nothing);
}

#[test]
fn zstd_and_broken_batches_are_errors_only_where_they_come_first() {
    let good = batch(Codec::None, 0, &["value"]);
    let zstd = batch(Codec::Zstd, 1, &["value"]);
    let mut broken = batch(Codec::None, 1, &["value"]);
    broken[60] = 9;
    for magic in MAGICS {
        assert!(matches!(down_convert(&zstd, magic, 1, 1 << 20), Err(DownConvertError::Zstd)));
        let behind_a_marker = [marker(0), zstd.clone()].concat();
        assert!(matches!(down_convert(&behind_a_marker, magic, 0, 1 << 20), Err(DownConvertError::Zstd)));
        assert!(matches!(down_convert(&broken, magic, 1, 1 << 20), Err(DownConvertError::Records(_))));
        for second in [&zstd, &broken] {
            let converted = down_convert(&[&good[..], &second[..]].concat(), magic, 0, 1 << 20).unwrap();
            assert_eq!((offsets(&converted.message_set), converted.next_offset), (vec![0], 1));
        }
    }
}

#[test]
fn a_batch_may_not_grow_above_the_bound() {
    for magic in MAGICS {
        // Empty records: 7 bytes each in a batch, 26 or 34 as messages.
        let grows = batch(Codec::Gzip, 0, &vec![""; 10_000]);
        assert!(matches!(down_convert(&grows, magic, 0, 200_000), Err(DownConvertError::TooLarge { .. })));
        down_convert(&grows, magic, 0, 500_000).unwrap();
    }
    // Nobody plants what grows no more than a batch's format makes it.
    down_convert(&batch(Codec::None, 0, &vec![""; 10_000]), Magic::V1, 0, 0).unwrap();
    let bomb = batch(Codec::Gzip, 0, &[&"0".repeat(1_000_000)]);
    assert!(matches!(down_convert(&bomb, Magic::V1, 0, 100_000), Err(DownConvertError::TooLarge { .. })));
}

#[test]
fn timestamps_that_cannot_be_said_become_none() {
    for codec in [Codec::None, Codec::Gzip] {
        let mut builder = BatchBuilder::new().compression(codec, Level::DEFAULT);
        builder.append(-7, None, None, []);
        let converted = down_convert(&builder.build().unwrap(), Magic::V1, 0, 1 << 20).unwrap();
        assert_eq!(read(&converted.message_set)[0].1, NO_TIMESTAMP);
    }
}

type Owned = (Offset, Timestamp, Option<Vec<u8>>, Option<Vec<u8>>);

fn read(set: &[u8]) -> Vec<Owned> {
    let mut read = Vec::new();
    for message in messages(set) {
        let mut scratch = Vec::new();
        for record in message.unwrap().records(1 << 20, &mut scratch).unwrap() {
            let record = record.unwrap();
            let (key, value) = (record.message.key().unwrap(), record.message.value().unwrap());
            read.push((record.offset, record.timestamp, key.map(<[u8]>::to_vec), value.map(<[u8]>::to_vec)));
        }
    }
    read
}

proptest! {
    #[test]
    fn records_keep_key_value_timestamp_and_order(
        codec in any_codec(),
        records in prop::collection::vec(any_record(), 0..10),
    ) {
        let bytes = build(codec, &records);
        for magic in MAGICS {
            let converted = match down_convert(&bytes, magic, 0, 1 << 20) {
                Err(DownConvertError::Zstd) => { prop_assert_eq!(codec, Codec::Zstd); continue }
                converted => converted.unwrap(),
            };
            let base_offset = BatchView::parse(&bytes).unwrap().header().base_offset;
            let expected: Vec<Owned> = records
                .iter()
                .zip(base_offset..)
                .map(|(record, offset)| {
                    let timestamp = if magic == Magic::V0 { NO_TIMESTAMP } else { record.timestamp.max(NO_TIMESTAMP) };
                    (offset, timestamp, record.key.clone(), record.value.clone())
                })
                .collect();
            prop_assert_eq!(read(&converted.message_set), expected);
        }
    }

    #[test]
    fn damaged_batches_are_converted_or_refused(
        codec in any_codec(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        first_offset in 0..5_i64,
    ) {
        let mut bytes = [batch(codec, 0, &["one", "two"]), marker(2), batch(codec, 3, &["three"])].concat();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        for magic in MAGICS {
            if let Ok(converted) = down_convert(&bytes, magic, first_offset, 10_000) {
                prop_assert!(converted.next_offset >= first_offset);
                prop_assert!(messages(&converted.message_set).all(|message| message.unwrap().crc_is_valid()));
            }
        }
    }

    #[test]
    fn any_bytes_are_converted_or_refused(bytes: Vec<u8>) {
        _ = down_convert(&bytes, Magic::V0, 0, 10_000);
    }
}

#[test]
fn headers_are_dropped() {
    let mut builder = BatchBuilder::new();
    builder.append(5, None, Some(b"value"), [Header { key: b"header", value: Some(b"dropped") }]);
    let converted = down_convert(&builder.build().unwrap(), Magic::V1, 0, 1 << 20).unwrap();
    assert_eq!(read(&converted.message_set), [(0, 5, None, Some(b"value".to_vec()))]);
    assert!(!converted.message_set.windows(7).any(|window| window == b"dropped"));
}
