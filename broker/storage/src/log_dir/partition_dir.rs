//! The directories below a log dir: which partition each one is, and in which state, as its name says.
//!
//! What is no partition's name is `None` and left alone. Nothing is read here. Source: `UnifiedLog.parseTopicPartitionName`.

use std::path::PathBuf;

use milena_protocol::types::TopicPartition;
use uuid::Uuid;

const CLUSTER_METADATA: &str = "__cluster_metadata";
/// Kafka keeps directory names within this.
const DIR_NAME_BYTES_MAX: usize = 255;

/// What a directory below a log dir is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartitionDirKind {
    /// A partition.
    Current,
    /// `-delete`: to be removed.
    Deleted,
    /// `-stray`: Kafka found no topic for it.
    Stray,
    /// `-future`: a copy from another log dir that was not finished.
    Future,
    /// Kafka's `__cluster_metadata-0`: not ours to read or change.
    ClusterMetadata,
}

/// A directory below a log dir.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionDir {
    /// Its path.
    pub path: PathBuf,
    /// Its partition, as the name says; the topic's name may be cut in a `Deleted` one.
    pub topic_partition: TopicPartition,
    /// From `partition.metadata`; `None` if that is missing or cannot be understood.
    pub topic_id: Option<Uuid>,
    /// What it is.
    pub kind: PartitionDirKind,
}

/// `<topic>-<partition>.<32 hex digits>-<suffix>`, the topic's name cut where that would be too long: a directory on its way out.
pub(crate) fn unique_dir_name(topic_partition: &TopicPartition, unique: Uuid, suffix: &str) -> String {
    let TopicPartition { topic, partition } = topic_partition;
    let rest = format!("-{partition}.{}-{suffix}", unique.simple());
    let topic_bytes = topic.floor_char_boundary(DIR_NAME_BYTES_MAX.saturating_sub(rest.len()).min(topic.len()));
    format!("{}{rest}", topic.get(..topic_bytes).unwrap_or_default())
}

/// The partition and kind of a directory of this name; `None` if it is no partition's.
pub(super) fn parse_dir_name(name: &str) -> Option<(TopicPartition, PartitionDirKind)> {
    let suffixes = [
        ("-delete", PartitionDirKind::Deleted),
        ("-stray", PartitionDirKind::Stray),
        ("-future", PartitionDirKind::Future),
    ];
    for (suffix, kind) in suffixes {
        let Some((partition, unique)) = name.strip_suffix(suffix).and_then(|name| name.rsplit_once('.')) else {
            continue;
        };
        if unique.len() == 32 && unique.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return parse_topic_partition(partition).map(|partition| (partition, kind));
        }
    }
    let partition = parse_topic_partition(name)?;
    let is_metadata = &*partition.topic == CLUSTER_METADATA;
    Some((partition, if is_metadata { PartitionDirKind::ClusterMetadata } else { PartitionDirKind::Current }))
}

fn parse_topic_partition(name: &str) -> Option<TopicPartition> {
    let (topic, partition) = name.rsplit_once('-')?;
    let is_number = !partition.is_empty() && partition.bytes().all(|byte| byte.is_ascii_digit());
    let is_name = !topic.is_empty()
        && topic != "."
        && topic != ".."
        && topic.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    (is_number && is_name).then(|| Some(TopicPartition::new(topic, partition.parse().ok()?))).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn directories_are_told_apart_by_their_names() {
        let check = |name: &str, expected: Option<(&str, i32, PartitionDirKind)>| {
            let parsed = parse_dir_name(name);
            let parsed = parsed.as_ref().map(|(partition, kind)| (&*partition.topic, partition.partition, *kind));
            assert_eq!(parsed, expected, "{name}");
        };
        check("a-b-12", Some(("a-b", 12, PartitionDirKind::Current)));
        check("t-0.0123456789abcdef0123456789abcdef-delete", Some(("t", 0, PartitionDirKind::Deleted)));
        check("t-0.0123456789abcdef0123456789abcdef-stray", Some(("t", 0, PartitionDirKind::Stray)));
        check("t-0.0123456789abcdef0123456789abcdef-future", Some(("t", 0, PartitionDirKind::Future)));
        check("t-0.short-delete", None);
        check("__cluster_metadata-0", Some(("__cluster_metadata", 0, PartitionDirKind::ClusterMetadata)));
        check("lost+found", None);
        check("-0", None);
        check("t-", None);
        check("t--1", Some(("t-", 1, PartitionDirKind::Current)));
    }

    proptest! {
        #[test]
        fn any_name_is_read_without_panic(name: String) {
            _ = parse_dir_name(&name);
        }
    }
}
