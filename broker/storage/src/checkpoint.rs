//! The small text files: the four offset checkpoints of a log dir, `leader-epoch-checkpoint` and `partition.metadata` of a partition.
//!
//! A checkpoint is UTF-8 with `\n`: line 1 the version `0`, line 2 the number of entries, then one entry a line. A missing or empty file has no entries.
//! Anything else is corrupt, and the caller decides what that means: an offset checkpoint that is corrupt counts as empty, leader
//! epochs are read from the log again. Source: `CheckpointFile`, `OffsetCheckpointFile`, `LeaderEpochCheckpointFile`, `PartitionMetadataFile`.

use std::collections::BTreeMap;
use std::fmt::{Display, Write};

use milena_protocol::kafka_uuid;
use milena_protocol::types::{Offset, TopicPartition};
use uuid::Uuid;

use crate::leader_epochs::{EpochStart, LeaderEpochs};

/// `leader-epoch-checkpoint`.
pub const LEADER_EPOCH_CHECKPOINT: &str = "leader-epoch-checkpoint";
/// `partition.metadata`.
pub const PARTITION_METADATA: &str = "partition.metadata";

fn encode(entries: impl ExactSizeIterator<Item = impl Display>) -> Vec<u8> {
    let mut text = format!("0\n{}\n", entries.len());
    for entry in entries {
        writeln!(text, "{entry}").expect("writing to a string does not fail");
    }
    text.into_bytes()
}

fn decode<T>(bytes: &[u8], parse: impl Fn(&[&str]) -> Option<T>) -> Result<Vec<T>, String> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
    let mut lines = text.lines();
    match lines.next() {
        Some("0") => {}
        other => return Err(format!("unknown version {:?}", other.unwrap_or_default())),
    }
    let count: usize = lines.next().and_then(|line| line.parse().ok()).ok_or("the number of entries is missing")?;
    let mut entries = Vec::new();
    for line in lines.filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        entries.push(parse(&words).ok_or_else(|| format!("malformed line {line:?}"))?);
    }
    if entries.len() != count {
        return Err(format!("expected {count} entries but found {}", entries.len()));
    }
    Ok(entries)
}

/// The bytes of an offset checkpoint.
pub fn encode_offsets(entries: &BTreeMap<TopicPartition, Offset>) -> Vec<u8> {
    encode(entries.iter().map(|(partition, offset)| format!("{} {} {offset}", partition.topic, partition.partition)))
}

/// The entries of an offset checkpoint, or why it is corrupt.
pub fn decode_offsets(bytes: &[u8]) -> Result<BTreeMap<TopicPartition, Offset>, String> {
    let entries = decode(bytes, |words| match words {
        [topic, partition, offset] => {
            Some((TopicPartition::new(*topic, partition.parse().ok()?), offset.parse().ok()?))
        }
        _ => None,
    })?;
    Ok(entries.into_iter().collect())
}

/// The bytes of `leader-epoch-checkpoint`.
pub fn encode_epochs(epochs: &LeaderEpochs) -> Vec<u8> {
    encode(epochs.entries().iter().map(|entry| format!("{} {}", entry.leader_epoch, entry.start_offset)))
}

/// The entries of `leader-epoch-checkpoint`, or why it is corrupt.
pub fn decode_epochs(bytes: &[u8]) -> Result<LeaderEpochs, String> {
    let entries = decode(bytes, |words| match words {
        [epoch, offset] => Some(EpochStart { leader_epoch: epoch.parse().ok()?, start_offset: offset.parse().ok()? }),
        _ => None,
    })?;
    Ok(LeaderEpochs::from_entries(entries))
}

/// The bytes of `partition.metadata`.
pub fn encode_partition_metadata(topic_id: Uuid) -> Vec<u8> {
    format!("version: 0\ntopic_id: {}", kafka_uuid::encode(topic_id)).into_bytes()
}

/// The topic id in `partition.metadata`, or why it is corrupt.
pub fn decode_partition_metadata(bytes: &[u8]) -> Result<Uuid, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
    let value = |key: &str| text.lines().find_map(|line| Some(line.strip_prefix(key)?.strip_prefix(':')?.trim()));
    match value("version") {
        Some("0") => {}
        other => return Err(format!("unknown version {:?}", other.unwrap_or_default())),
    }
    value("topic_id").and_then(kafka_uuid::decode).ok_or_else(|| "topic_id is missing or malformed".to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn offsets_are_written_as_kafka_writes_them() {
        let entries = BTreeMap::from([(TopicPartition::new("a", 1), 7), (TopicPartition::new("b.c", 0), 12)]);
        let bytes = encode_offsets(&entries);
        assert_eq!(bytes, b"0\n2\na 1 7\nb.c 0 12\n");
        assert_eq!(decode_offsets(&bytes).unwrap(), entries);
        assert_eq!(encode_offsets(&BTreeMap::new()), b"0\n0\n");
    }

    #[test]
    fn a_wrong_count_a_wrong_version_and_a_malformed_line_are_corrupt() {
        let check = |text: &str, reason: &str| assert_eq!(decode_offsets(text.as_bytes()).unwrap_err(), reason);
        check("0\n2\na 1 7\n", "expected 2 entries but found 1");
        check("1\n0\n", "unknown version \"1\"");
        check("0\n1\na 1\n", "malformed line \"a 1\"");
        check("0\n", "the number of entries is missing");
        assert_eq!(decode_offsets(b"").unwrap(), BTreeMap::new());
    }

    #[test]
    fn epochs_and_topic_ids_are_written_as_kafka_writes_them() {
        let epochs = LeaderEpochs::from_entries([
            EpochStart { leader_epoch: 0, start_offset: 0 },
            EpochStart { leader_epoch: 4, start_offset: 9 },
        ]);
        assert_eq!(encode_epochs(&epochs), b"0\n2\n0 0\n4 9\n");
        assert_eq!(decode_epochs(b"0\n2\n0 0\n4 9\n").unwrap(), epochs);
        let topic_id = Uuid::from_u128(0x1234_5678_9abc_def0_1234_5678_9abc_def0);
        let bytes = encode_partition_metadata(topic_id);
        assert_eq!(bytes.len(), 43);
        assert_eq!(decode_partition_metadata(&bytes).unwrap(), topic_id);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            _ = decode_offsets(&bytes);
            _ = decode_epochs(&bytes);
            _ = decode_partition_metadata(&bytes);
        }
    }
}
