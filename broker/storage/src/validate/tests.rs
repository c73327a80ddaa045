//! What Kafka says to the same bytes (`golden/verdicts.txt`), and what is ours alone.

use bytes::BytesMut;
use milena_protocol::compression::{Codec, Level, decompress};
use milena_protocol::record_batch::{BatchHeader, BatchView, TimestampType};
use milena_protocol::records::BatchBuilder;
use milena_protocol::types::TopicPartition;
use proptest::prelude::*;

use super::*;

const NOW: Timestamp = 1_700_000_000_000;
const LEADER_EPOCH: LeaderEpoch = 7;
const FIRST_OFFSET: Offset = 100;

pub(super) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().map(|digit| digit.to_digit(16).unwrap() as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

pub(super) fn t0() -> TopicPartition {
    TopicPartition::new("t", 0)
}

pub(super) fn config(topic_partition: &TopicPartition) -> ValidateConfig<'_> {
    ValidateConfig::new(topic_partition, &LogConfig::default())
}

/// One case the way Kafka's own code went through it, and its verdict in the golden file's form.
fn verdict(records: &mut BytesMut, config: &ValidateConfig<'_>, origin: AppendOrigin) -> Result<Validated, String> {
    let checked = if origin == AppendOrigin::Client { check_produce(records, 9) } else { Ok(()) };
    checked.and_then(|()| validate(records, config, origin, LEADER_EPOCH, FIRST_OFFSET, NOW)).map_err(|error| {
        let mut text = format!("error {}", error.code());
        if let ValidationError::Rejected { .. } = error {
            text = format!("{text} {}", error.error_message().unwrap());
            for (index, message) in error.record_errors() {
                text = format!("{text}; {index} {message}");
            }
        }
        text
    })
}

/// Two batches that say the same, though their codecs may have found different bytes for it.
pub(super) fn assert_same_batch(name: &str, ours: &[u8], kafkas: &[u8]) {
    let [ours, kafkas] = [ours, kafkas].map(|bytes| BatchView::parse(bytes).unwrap());
    assert!(ours.crc_is_valid(), "{name}");
    let comparable = |view: &BatchView<'_>| BatchHeader { crc: 0, batch_length: 0, ..*view.header() };
    assert_eq!(comparable(&ours), comparable(&kafkas), "{name}");
    let codec = ours.header().attributes.codec().unwrap();
    let [ours, kafkas] = [ours, kafkas].map(|view| decompress(codec, view.record_bytes(), 1 << 20).unwrap());
    assert_eq!(ours, kafkas, "{name}");
}

/// What the fields of a line of golden verdicts say of the topic.
pub(super) fn config_of_case<'a>(
    topic_partition: &'a TopicPartition,
    timestamp_type: &str,
    compacted: &str,
    compression: &str,
) -> ValidateConfig<'a> {
    ValidateConfig {
        compacted: compacted == "true",
        timestamp_type: match timestamp_type {
            "CreateTime" => TimestampType::CreateTime,
            _ => TimestampType::LogAppendTime,
        },
        compression: match compression {
            "producer" => TargetCompression::Producer,
            "uncompressed" => TargetCompression::Codec(Codec::None, Level::DEFAULT),
            codec => TargetCompression::Codec(Codec::from_name(codec).unwrap(), Level::DEFAULT),
        },
        ..config(topic_partition)
    }
}

#[test]
fn answers_every_batch_as_kafka_does() {
    let topic_partition = t0();
    let (mut cases, mut repaired) = (0, 0);
    let mut differences = Vec::new();
    for line in include_str!("golden/verdicts.txt").lines().filter(|line| !line.starts_with('#')) {
        let mut fields = line.splitn(7, '|');
        let mut field = || fields.next().unwrap();
        let (name, timestamp_type, compacted, compression, origin) = (field(), field(), field(), field(), field());
        let input = hex(field());
        // Kafka's text shows which of its two record classes was at hand; ours always says the plain one.
        let expected = field().replace("PartialDefaultRecord", "DefaultRecord");
        let config = config_of_case(&topic_partition, timestamp_type, compacted, compression);
        let origin = if origin == "CLIENT" { AppendOrigin::Client } else { AppendOrigin::Coordinator };
        let mut records = BytesMut::from(&input[..]);
        let verdict = verdict(&mut records, &config, origin);
        cases += 1;
        match (verdict, expected.strip_prefix("ok ")) {
            // Wrong inner offsets: Kafka keeps them in an uncompressed batch, where no reader can use them, and trips
            // over a compressed one (-1), because its walk has skipped the keys and values that it then needs.
            (Ok(validated), _) if validated.rebuilt && compression == "producer" => repaired += 1,
            (Ok(validated), Some(output)) => {
                let output = hex(output);
                assert_same_batch(name, &records, &output);
                if !validated.rebuilt || validated.header.attributes.codec() == Ok(Codec::None) {
                    assert_eq!(records, output, "{name}");
                }
                assert_eq!(validated.header, BatchHeader::parse(&records).unwrap(), "{name}");
            }
            (Err(ours), None) if ours == expected => {}
            (ours, _) => differences.push(format!("{name}: {ours:?}, but Kafka says {expected}")),
        }
    }
    assert_eq!((cases, repaired), (322, 17));
    assert!(differences.is_empty(), "{differences:#?}");
}

fn batch(codec: Codec, values: &[&str]) -> BytesMut {
    let mut builder = BatchBuilder::new().compression(codec, Level::DEFAULT);
    for value in values {
        builder.append(NOW, Some(b"key"), Some(value.as_bytes()), []);
    }
    builder.build().unwrap()
}

fn refusal(mut records: BytesMut, config: &ValidateConfig<'_>) -> ValidationError {
    validate(&mut records, config, AppendOrigin::Client, LEADER_EPOCH, FIRST_OFFSET, NOW).unwrap_err()
}

#[test]
fn a_batch_of_exactly_the_largest_size_passes() {
    let topic_partition = t0();
    let records = batch(Codec::None, &["value"]);
    let size = records.len();
    let exact = ValidateConfig { max_message_bytes: size, segment_bytes: size, ..config(&topic_partition) };
    validate(&mut records.clone(), &exact, AppendOrigin::Client, LEADER_EPOCH, FIRST_OFFSET, NOW).unwrap();
    let small = ValidateConfig { max_message_bytes: size - 1, ..exact };
    assert!(matches!(refusal(records.clone(), &small), ValidationError::TooLarge { .. }));
    let small = ValidateConfig { segment_bytes: size - 1, ..exact };
    assert!(matches!(refusal(records, &small), ValidationError::LargerThanSegment { .. }));
}

#[test]
fn the_size_comes_before_the_checksum_and_the_base_offset_before_the_size() {
    let topic_partition = t0();
    let small = ValidateConfig { max_message_bytes: 1, ..config(&topic_partition) };
    let mut records = batch(Codec::None, &["value"]);
    records[17] ^= 1;
    assert!(matches!(refusal(records.clone(), &small), ValidationError::TooLarge { .. }));
    records[7] = 1;
    assert!(matches!(refusal(records, &small), ValidationError::BaseOffsetNotZero { base_offset: 1 }));
}

#[test]
fn the_size_is_checked_again_after_recompression() {
    let topic_partition = t0();
    let records = batch(Codec::Zstd, &[&"a".repeat(5000)]);
    let stripped = ValidateConfig {
        max_message_bytes: 1000,
        compression: TargetCompression::Codec(Codec::None, Level::DEFAULT),
        ..config(&topic_partition)
    };
    assert!(records.len() < 1000);
    assert!(matches!(refusal(records, &stripped), ValidationError::TooLarge { .. }));
}

#[test]
fn a_bomb_is_refused_with_a_code_at_which_producers_split() {
    let topic_partition = t0();
    let bounded = ValidateConfig { decompressed_bytes_max: 100_000, ..config(&topic_partition) };
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let error = refusal(batch(codec, &[&"0".repeat(1_000_000)]), &bounded);
        assert!(matches!(error, ValidationError::DecompressedTooLarge { .. }), "{codec:?}: {error}");
        assert_eq!(error.code(), 10);
    }
}

#[test]
fn batches_that_decompress_to_much_are_validated_too_one_after_the_other() {
    let topic_partition = t0();
    let large = "0".repeat(DECOMPRESSED_BYTES_AT_ONCE);
    std::thread::scope(|scope| {
        for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            let (large, topic_partition) = (&large, &topic_partition);
            scope.spawn(move || {
                let mut records = batch(codec, &[large, "small"]);
                let config = ValidateConfig { max_message_bytes: 1 << 20, ..config(topic_partition) };
                let validated = validate(&mut records, &config, AppendOrigin::Client, LEADER_EPOCH, FIRST_OFFSET, NOW);
                assert_eq!(validated.unwrap().header.records_count, 2);
            });
        }
    });
}

/// A batch of a few kilobytes may decompress to millions of records that are all refused, and one request may hold many
/// such batches.
#[test]
fn of_many_refused_records_only_the_first_thousand_are_named() {
    let topic_partition = t0();
    let compacted = ValidateConfig { compacted: true, ..config(&topic_partition) };
    let mut builder = BatchBuilder::new().compression(Codec::Gzip, Level::DEFAULT);
    for _ in 0..5000 {
        builder.append(NOW, None, None, []);
    }
    let error = refusal(builder.build().unwrap(), &compacted);
    assert_eq!((error.code(), error.record_errors().count()), (87, 1000));
    let message = error.error_message().unwrap();
    assert!(
        message.starts_with("One or more records have been rejected due to 5000 record errors in total"),
        "{message}"
    );
}

#[test]
fn zstd_needs_produce_version_7() {
    let records = batch(Codec::Zstd, &["value"]);
    assert!(matches!(check_produce(&records, 6), Err(ValidationError::ZstdTooEarly { version: 6 })));
    check_produce(&records, 7).unwrap();
    check_produce(&batch(Codec::Lz4, &["value"]), 3).unwrap();
}

#[test]
fn the_configuration_names_codec_and_level() {
    let topic_partition = t0();
    for (compression_type, expected) in [
        (CompressionType::Producer, TargetCompression::Producer),
        (CompressionType::Uncompressed, TargetCompression::Codec(Codec::None, Level::DEFAULT)),
        (CompressionType::Gzip, TargetCompression::Codec(Codec::Gzip, Level::DEFAULT)),
        (CompressionType::Lz4, TargetCompression::Codec(Codec::Lz4, Level::new(9))),
        (CompressionType::Zstd, TargetCompression::Codec(Codec::Zstd, Level::new(3))),
    ] {
        let log_config = LogConfig { compression_type, ..LogConfig::default() };
        assert_eq!(ValidateConfig::new(&topic_partition, &log_config).compression, expected);
    }
}

#[test]
fn followers_take_batches_as_they_are_but_whole_unharmed_and_in_order() {
    let at = |offset| {
        let mut records = batch(Codec::Lz4, &["one", "two"]);
        record_batch::set_base_offset(&mut records, offset);
        records
    };
    let together = [at(10), at(12), at(20)].concat();
    let (headers, end) = check_replicated(&together[..together.len() - 1]).unwrap();
    assert_eq!(headers.iter().map(|header| header.base_offset).collect::<Vec<_>>(), [10, 12]);
    assert_eq!(end, 2 * at(10).len());

    let overlapping = [at(10), at(11)].concat();
    let error = check_replicated(&overlapping).unwrap_err();
    assert!(matches!(error, ValidationError::OffsetsOutOfOrder { offset: 11, last_offset: 11 }), "{error}");

    let mut harmed = at(10);
    let last = harmed.len() - 1;
    harmed[last] ^= 1;
    assert!(matches!(check_replicated(&harmed), Err(ValidationError::WrongCrc { .. })));
}

#[test]
fn a_prepared_batch_can_be_placed_anywhere() {
    let topic_partition = t0();
    let mut records = batch(Codec::Gzip, &["one", "two"]);
    let mut validated = prepare(&mut records, &config(&topic_partition), AppendOrigin::Client, NOW).unwrap();
    for offset in [0, 5, i64::MAX - 1] {
        place(&mut records, &mut validated, offset, LEADER_EPOCH);
        let view = BatchView::parse(&records).unwrap();
        assert!(view.crc_is_valid());
        assert_eq!((view.header(), view.header().base_offset), (&validated.header, offset));
    }
}

proptest! {
    #[test]
    fn any_bytes_are_judged(bytes: Vec<u8>) {
        let topic_partition = t0();
        let _ = check_produce(&bytes, 9);
        let _ = check_replicated(&bytes);
        let config = config(&topic_partition);
        let _ = validate(&mut BytesMut::from(&bytes[..]), &config, AppendOrigin::Client, LEADER_EPOCH, FIRST_OFFSET, NOW);
    }

    #[test]
    fn damaged_batches_with_a_right_checksum_are_judged(
        codec in prop::sample::select(Codec::ALL.to_vec()),
        target in prop::sample::select(Codec::ALL.to_vec()),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        coordinator: bool,
    ) {
        let topic_partition = t0();
        let mut records = batch(codec, &["one", "two", "three"]);
        for (at, value) in damage {
            // Neither size nor format: those are judged before.
            let at = 17 + at.index(records.len() - 17);
            records[at] = value;
        }
        record_batch::recompute_crc(&mut records);
        let origin = if coordinator { AppendOrigin::Coordinator } else { AppendOrigin::Client };
        let config = ValidateConfig {
            compression: TargetCompression::Codec(target, Level::DEFAULT),
            decompressed_bytes_max: 1 << 20,
            ..config(&topic_partition)
        };
        if let Ok(validated) = validate(&mut records, &config, origin, LEADER_EPOCH, FIRST_OFFSET, NOW) {
            let view = BatchView::parse(&records).unwrap();
            prop_assert!(view.crc_is_valid());
            prop_assert_eq!(view.header(), &validated.header);
            prop_assert_eq!(view.header().base_offset, FIRST_OFFSET);
        }
    }
}

#[test]
fn only_a_malformed_first_batch_fails_the_whole_request_and_says_why() {
    let good = batch(Codec::None, &["value"]);
    let with = |at: usize, value: u8| {
        let mut records = good.clone();
        records[at] = value;
        records
    };
    for (records, message) in [
        (with(16, 3), "Invalid magic found in record: 3"),
        (with(16, 0xff), "Invalid magic found in record: -1"),
        (with(11, 13), "Record size 13 is less than the minimum record overhead (14)"),
    ] {
        for error in [check_first_batch(&records).unwrap_err(), check_produce(&records, 9).unwrap_err()] {
            assert_eq!((error.code(), error.error_message().as_deref()), (2, Some(message)));
        }
        let second = [&good[..], &records[..]].concat();
        check_first_batch(&second).unwrap();
        let error = check_produce(&second, 9).unwrap_err();
        assert_eq!((error.code(), error.error_message()), (2, None));
    }
    for records in [&[][..], &good[..16], &with(16, 1)[..], &with(17, 0)[..]] {
        check_first_batch(records).unwrap();
    }
}
