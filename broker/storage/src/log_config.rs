//! The topic configurations that act on a log, typed, with Kafka's defaults.
//!
//! Names are those of the topic configs with `.` as `_`; units are in the name or in the doc comment. Texts are parsed by [`LogConfig::parse`] from values
//! that `milena-metadata` has already validated. Configs that act on replication (`min.insync.replicas`, `unclean.leader.election.enable`) are not here.

pub use milena_protocol::record_batch::TimestampType;

/// `compression.type`: what the broker stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum CompressionType {
    /// Whatever the producer sent.
    #[default]
    Producer,
    /// No compression.
    Uncompressed,
    /// gzip.
    Gzip,
    /// snappy.
    Snappy,
    /// lz4.
    Lz4,
    /// zstd.
    Zstd,
}

/// `cleanup.policy`; both may be absent, which keeps everything for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CleanupPolicy {
    /// Delete segments by retention.
    pub delete: bool,
    /// Keep the last value per key.
    pub compact: bool,
}

/// A configuration of one log. `Default` is Kafka's.
#[derive(Clone, Debug, PartialEq)]
pub struct LogConfig {
    /// `cleanup.policy`.
    pub cleanup_policy: CleanupPolicy,
    /// `retention.ms`; -1: no limit.
    pub retention_ms: i64,
    /// `retention.bytes`; -1: no limit.
    pub retention_bytes: i64,
    /// `segment.bytes` (or `internal.segment.bytes` where set).
    pub segment_bytes: i32,
    /// `segment.ms`.
    pub segment_ms: i64,
    /// `segment.jitter.ms`.
    pub segment_jitter_ms: i64,
    /// `segment.index.bytes`.
    pub segment_index_bytes: i32,
    /// `index.interval.bytes`.
    pub index_interval_bytes: i32,
    /// `max.message.bytes`: a whole batch, its 12 bytes of overhead included.
    pub max_message_bytes: i32,
    /// `message.timestamp.type`.
    pub message_timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`.
    pub message_timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`.
    pub message_timestamp_after_max_ms: i64,
    /// `compression.type`.
    pub compression_type: CompressionType,
    /// `compression.gzip.level`; -1: the codec's default.
    pub compression_gzip_level: i32,
    /// `compression.lz4.level`.
    pub compression_lz4_level: i32,
    /// `compression.zstd.level`.
    pub compression_zstd_level: i32,
    /// `delete.retention.ms`.
    pub delete_retention_ms: i64,
    /// `min.compaction.lag.ms`.
    pub min_compaction_lag_ms: i64,
    /// `max.compaction.lag.ms`.
    pub max_compaction_lag_ms: i64,
    /// `min.cleanable.dirty.ratio`.
    pub min_cleanable_dirty_ratio: f64,
    /// `file.delete.delay.ms`.
    pub file_delete_delay_ms: i64,
    /// `flush.messages`.
    pub flush_messages: i64,
    /// `flush.ms`.
    pub flush_ms: i64,
    /// `preallocate`: accepted; segments grow with their data all the same.
    pub preallocate: bool,
}

impl Default for LogConfig {
    fn default() -> LogConfig {
        LogConfig {
            cleanup_policy: CleanupPolicy { delete: true, compact: false },
            retention_ms: 604_800_000,
            retention_bytes: -1,
            segment_bytes: 1_073_741_824,
            segment_ms: 604_800_000,
            segment_jitter_ms: 0,
            segment_index_bytes: 10_485_760,
            index_interval_bytes: 4096,
            max_message_bytes: 1_048_588,
            message_timestamp_type: TimestampType::CreateTime,
            message_timestamp_before_max_ms: i64::MAX,
            message_timestamp_after_max_ms: 3_600_000,
            compression_type: CompressionType::Producer,
            compression_gzip_level: -1,
            compression_lz4_level: 9,
            compression_zstd_level: 3,
            delete_retention_ms: 86_400_000,
            min_compaction_lag_ms: 0,
            max_compaction_lag_ms: i64::MAX,
            min_cleanable_dirty_ratio: 0.5,
            file_delete_delay_ms: 60_000,
            flush_messages: i64::MAX,
            flush_ms: i64::MAX,
            preallocate: false,
        }
    }
}

/// A configuration value that does not parse.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid value {value} for configuration {key}")]
pub struct InvalidLogConfig {
    /// Name of the topic config.
    pub key: &'static str,
    /// The text.
    pub value: String,
}

impl LogConfig {
    /// The effective configuration of a topic: `value` answers the text of a topic config, `None` means Kafka's default.
    ///
    /// # Errors
    /// The first key whose text is not of its type. Ranges are not checked here.
    pub fn parse<'a>(value: impl Fn(&'static str) -> Option<&'a str>) -> Result<LogConfig, InvalidLogConfig> {
        let mut config = LogConfig::default();
        let reader = Reader { value };
        reader.number("retention.ms", &mut config.retention_ms)?;
        reader.number("retention.bytes", &mut config.retention_bytes)?;
        reader.number("segment.bytes", &mut config.segment_bytes)?;
        reader.number("internal.segment.bytes", &mut config.segment_bytes)?;
        reader.number("segment.ms", &mut config.segment_ms)?;
        reader.number("segment.jitter.ms", &mut config.segment_jitter_ms)?;
        reader.number("segment.index.bytes", &mut config.segment_index_bytes)?;
        reader.number("index.interval.bytes", &mut config.index_interval_bytes)?;
        reader.number("max.message.bytes", &mut config.max_message_bytes)?;
        reader.number("message.timestamp.before.max.ms", &mut config.message_timestamp_before_max_ms)?;
        reader.number("message.timestamp.after.max.ms", &mut config.message_timestamp_after_max_ms)?;
        reader.number("compression.gzip.level", &mut config.compression_gzip_level)?;
        reader.number("compression.lz4.level", &mut config.compression_lz4_level)?;
        reader.number("compression.zstd.level", &mut config.compression_zstd_level)?;
        reader.number("delete.retention.ms", &mut config.delete_retention_ms)?;
        reader.number("min.compaction.lag.ms", &mut config.min_compaction_lag_ms)?;
        reader.number("max.compaction.lag.ms", &mut config.max_compaction_lag_ms)?;
        reader.number("min.cleanable.dirty.ratio", &mut config.min_cleanable_dirty_ratio)?;
        reader.number("file.delete.delay.ms", &mut config.file_delete_delay_ms)?;
        reader.number("flush.messages", &mut config.flush_messages)?;
        reader.number("flush.ms", &mut config.flush_ms)?;
        reader.number("preallocate", &mut config.preallocate)?;
        reader.choice("message.timestamp.type", &mut config.message_timestamp_type, |text| match text {
            "CreateTime" => Some(TimestampType::CreateTime),
            "LogAppendTime" => Some(TimestampType::LogAppendTime),
            _ => None,
        })?;
        reader.choice("compression.type", &mut config.compression_type, |text| match text {
            "producer" => Some(CompressionType::Producer),
            "uncompressed" => Some(CompressionType::Uncompressed),
            "gzip" => Some(CompressionType::Gzip),
            "snappy" => Some(CompressionType::Snappy),
            "lz4" => Some(CompressionType::Lz4),
            "zstd" => Some(CompressionType::Zstd),
            _ => None,
        })?;
        reader.choice("cleanup.policy", &mut config.cleanup_policy, |text| {
            let mut policy = CleanupPolicy { delete: false, compact: false };
            for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
                match part {
                    "delete" => policy.delete = true,
                    "compact" => policy.compact = true,
                    _ => return None,
                }
            }
            Some(policy)
        })?;
        Ok(config)
    }
}

struct Reader<F> {
    value: F,
}

impl<'a, F: Fn(&'static str) -> Option<&'a str>> Reader<F> {
    fn number<T: std::str::FromStr>(&self, key: &'static str, field: &mut T) -> Result<(), InvalidLogConfig> {
        self.choice(key, field, |text| text.trim().parse().ok())
    }

    fn choice<T>(
        &self,
        key: &'static str,
        field: &mut T,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<(), InvalidLogConfig> {
        if let Some(text) = (self.value)(key) {
            *field = parse(text).ok_or_else(|| InvalidLogConfig { key, value: text.to_owned() })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_the_texts_of_topic_configs() {
        let config = LogConfig::parse(|key| match key {
            "cleanup.policy" => Some("compact, delete"),
            "retention.ms" => Some("-1"),
            "compression.type" => Some("zstd"),
            "message.timestamp.type" => Some("LogAppendTime"),
            _ => None,
        })
        .unwrap();
        let expected = LogConfig {
            cleanup_policy: CleanupPolicy { delete: true, compact: true },
            retention_ms: -1,
            compression_type: CompressionType::Zstd,
            message_timestamp_type: TimestampType::LogAppendTime,
            ..LogConfig::default()
        };
        assert_eq!(config, expected);
    }

    #[test]
    fn names_the_key_that_does_not_parse() {
        let error = LogConfig::parse(|key| (key == "segment.bytes").then_some("many")).unwrap_err();
        assert_eq!(error.to_string(), "invalid value many for configuration segment.bytes");
    }

    #[test]
    fn an_empty_cleanup_policy_keeps_everything() {
        let config = LogConfig::parse(|key| (key == "cleanup.policy").then_some("")).unwrap();
        assert_eq!(config.cleanup_policy, CleanupPolicy { delete: false, compact: false });
    }
}
