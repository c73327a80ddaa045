//! What Kafka 3.9 says to the same message sets (`golden/old_verdicts.txt`), and what is ours alone.

use bytes::BytesMut;
use milena_protocol::compression::{Codec, Level, decompress};
use milena_protocol::legacy::{Magic, MessageSetBuilder, down_convert};
use milena_protocol::record_batch::BatchHeader;
use milena_protocol::records::records;
use milena_protocol::types::Offset;
use proptest::prelude::*;

use super::super::tests::{assert_same_batch, config, config_of_case, hex, t0};
use super::super::{TargetCompression, check_produce, validate};
use super::*;
use crate::log::AppendOrigin;

const NOW: Timestamp = 1_700_000_000_000;
const FIRST_OFFSET: Offset = 100;

/// One case the way Kafka's own code went through it, and its verdict in the golden file's form.
fn verdict(records: &mut BytesMut, config: &ValidateConfig<'_>) -> Result<BatchHeader, String> {
    let checked = check_produce(records, 2);
    let validated = checked.and_then(|()| validate(records, config, AppendOrigin::OldClient, 7, FIRST_OFFSET, NOW));
    validated.map(|validated| validated.header).map_err(|error| match error {
        ValidationError::NoBatch => "nothing".to_owned(),
        error => {
            let indexes: Vec<String> = error.record_errors().map(|(index, _)| index.to_string()).collect();
            format!("error {} {}", error.code(), indexes.join(","))
        }
    })
}

#[test]
fn answers_every_message_set_as_kafka_does() {
    let topic_partition = t0();
    let mut cases = 0;
    let mut differences = Vec::new();
    for line in include_str!("../golden/old_verdicts.txt").lines().filter(|line| !line.starts_with('#')) {
        let mut fields = line.splitn(7, '|');
        let mut field = || fields.next().unwrap();
        let (name, timestamp_type, compacted, compression) = (field(), field(), field(), field());
        let max_message_bytes = field().parse().unwrap();
        let input = hex(field());
        let expected = field();
        let config = ValidateConfig {
            max_message_bytes,
            ..config_of_case(&topic_partition, timestamp_type, compacted, compression)
        };
        let mut records = BytesMut::from(&input[..]);
        cases += 1;
        match (verdict(&mut records, &config), expected.strip_prefix("ok ")) {
            (Ok(header), Some(output)) => {
                let output = hex(output);
                assert_same_batch(name, &records, &output);
                if header.attributes.codec() == Ok(Codec::None) {
                    assert_eq!(records, output, "{name}");
                }
                assert_eq!(header, BatchHeader::parse(&records).unwrap(), "{name}");
            }
            (Err(ours), None) if ours == expected => {}
            (ours, _) => differences.push(format!("{name}: {ours:?}, but Kafka says {expected}")),
        }
    }
    assert!(differences.is_empty(), "{} of {cases}: {differences:#?}", differences.len());
    assert_eq!(cases, 786);
}

fn set(magic: Magic, codec: Codec, values: &[&str]) -> BytesMut {
    let mut builder = MessageSetBuilder::new(magic).compression(codec);
    for (value, offset) in values.iter().zip(0..) {
        builder.append(offset, NOW, Some(b"key"), Some(value.as_bytes()));
    }
    BytesMut::from(&builder.build().unwrap()[..])
}

const CODECS: [Codec; 4] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4];

#[test]
fn only_old_clients_may_send_message_sets() {
    let topic_partition = t0();
    for magic in [Magic::V0, Magic::V1] {
        for origin in [AppendOrigin::Client, AppendOrigin::Coordinator, AppendOrigin::Replication] {
            let mut records = set(magic, Codec::None, &["value"]);
            let refused = validate(&mut records, &config(&topic_partition), origin, 7, FIRST_OFFSET, NOW);
            assert!(matches!(refused, Err(ValidationError::OldMagic { .. })), "{refused:?}");
        }
        for version in 3..=13 {
            let records = set(magic, Codec::None, &["value"]);
            assert!(matches!(check_produce(&records, version), Err(ValidationError::OldMagic { .. })), "{version}");
        }
    }
}

#[test]
fn a_bomb_in_a_wrapper_is_refused() {
    let topic_partition = t0();
    let bounded = ValidateConfig { decompressed_bytes_max: 100_000, ..config(&topic_partition) };
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4] {
        let mut records = set(Magic::V1, codec, &[&"0".repeat(1_000_000)]);
        let error = validate(&mut records, &bounded, AppendOrigin::OldClient, 7, FIRST_OFFSET, NOW).unwrap_err();
        assert!(matches!(error, ValidationError::DecompressedTooLarge { .. }), "{codec:?}: {error}");
    }
}

proptest! {
    /// What a consumer of an old format was sent and sends back is stored as it was, but for what the format cannot say.
    #[test]
    fn records_survive_the_way_down_and_up(
        magic in prop::sample::select(vec![Magic::V0, Magic::V1]),
        codec in prop::sample::select(CODECS.to_vec()),
        target in prop::sample::select(Codec::ALL.to_vec()),
        entries in prop::collection::vec(
            (-1..=NOW, prop::option::of(any::<Vec<u8>>()), prop::option::of(any::<Vec<u8>>())),
            1..20,
        ),
    ) {
        let topic_partition = t0();
        let mut builder = BatchBuilder::new().compression(codec, Level::DEFAULT).base_offset(7);
        for (timestamp, key, value) in &entries {
            builder.append(*timestamp, key.as_deref(), value.as_deref(), []);
        }
        let down = down_convert(&builder.build().unwrap(), magic, 0, 1 << 20).unwrap();
        let config = ValidateConfig {
            compression: TargetCompression::Codec(target, Level::DEFAULT),
            ..config(&topic_partition)
        };
        let mut bytes = BytesMut::from(&down.message_set[..]);
        let validated = validate(&mut bytes, &config, AppendOrigin::OldClient, 7, FIRST_OFFSET, NOW).unwrap();
        prop_assert_eq!(validated.header.records_count as usize, entries.len());
        let view = BatchView::parse(&bytes).unwrap();
        let plain = decompress(target, view.record_bytes(), 1 << 20).unwrap();
        for ((record, (timestamp, key, value)), index) in records(&plain, entries.len() as i32).zip(&entries).zip(0..) {
            let record = record.unwrap();
            let timestamp = if magic == Magic::V0 { NO_TIMESTAMP } else { *timestamp };
            prop_assert_eq!(view.header().record_timestamp(record.timestamp_delta), timestamp);
            prop_assert_eq!(record.offset_delta, index);
            prop_assert_eq!((record.key, record.value), (key.as_deref(), value.as_deref()));
        }
    }

    #[test]
    fn damaged_message_sets_are_judged(
        magic in prop::sample::select(vec![Magic::V0, Magic::V1]),
        codec in prop::sample::select(CODECS.to_vec()),
        target in prop::sample::select(Codec::ALL.to_vec()),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        mends_crc: bool,
    ) {
        let topic_partition = t0();
        let mut records = set(magic, codec, &["one", "two", "three"]);
        for (at, value) in damage {
            let at = at.index(records.len());
            records[at] = value;
        }
        if mends_crc && let Ok(message) = MessageView::parse(&records) {
            let crc = message.computed_crc();
            records[12..16].copy_from_slice(&crc.to_be_bytes());
        }
        let config = ValidateConfig {
            compression: TargetCompression::Codec(target, Level::DEFAULT),
            decompressed_bytes_max: 1 << 20,
            ..config(&topic_partition)
        };
        if let Ok(validated) = validate(&mut records, &config, AppendOrigin::OldClient, 7, FIRST_OFFSET, NOW) {
            let view = BatchView::parse(&records).unwrap();
            prop_assert!(view.crc_is_valid());
            prop_assert_eq!(view.header(), &validated.header);
            prop_assert_eq!(view.header().base_offset, FIRST_OFFSET);
        }
    }
}
