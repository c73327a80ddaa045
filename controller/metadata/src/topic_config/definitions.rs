//! The keys, and which broker keys a topic inherits from.

use crate::config_def::{ConfigDef, ConfigType, Importance, Validator, Value};

/// A key of Kafka's own tests: accepted and in force, but shown only when it is set.
pub const INTERNAL_SEGMENT_BYTES: &str = "internal.segment.bytes";

/// The keys of a topic, sorted by name; [`INTERNAL_SEGMENT_BYTES`] is not among them.
pub const TOPIC_CONFIGS: &[ConfigDef] = &[
    ConfigDef::new("cleanup.policy", ConfigType::List, Some("delete"))
        .valid(Validator::List { allowed: &["compact", "delete"], empty_allowed: true })
        .doc("This config designates the retention policy to use on log segments. The \"delete\" policy (which is the default) will discard old segments when their retention time or size limit has been reached. The \"compact\" policy will enable <a href=\"#compaction\">log compaction</a>, which retains the latest value for each key. It is also possible to specify both policies in a comma-separated list (e.g. \"delete,compact\"). In this case, old segments will be discarded per the retention time and size configuration, while retained segments will be compacted. An empty list means infinite retention - no cleanup policies will be applied and log segments will be retained indefinitely. Note that with remote storage enabled, local retention limits (log.local.retention.ms and log.local.retention.bytes) are still applied to local segments."),
    ConfigDef::new("compression.gzip.level", ConfigType::Int, Some("-1"))
        .valid(Validator::Custom(gzip_level))
        .doc("The compression level to use if compression.type is set to <code>gzip</code>."),
    ConfigDef::new("compression.lz4.level", ConfigType::Int, Some("9"))
        .valid(Validator::Between(1, 17))
        .doc("The compression level to use if compression.type is set to <code>lz4</code>."),
    ConfigDef::new("compression.type", ConfigType::String, Some("producer"))
        .valid(Validator::OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]))
        .doc("Specify the final compression type for a given topic. This configuration accepts the standard compression codecs ('gzip', 'snappy', 'lz4', 'zstd'). It additionally accepts 'uncompressed' which is equivalent to no compression; and 'producer' which means retain the original compression codec set by the producer."),
    ConfigDef::new("compression.zstd.level", ConfigType::Int, Some("3"))
        .valid(Validator::Between(-131_072, 22))
        .doc("The compression level to use if compression.type is set to <code>zstd</code>."),
    ConfigDef::new("delete.retention.ms", ConfigType::Long, Some("86400000"))
        .valid(Validator::AtLeast(0))
        .doc("The amount of time to retain delete tombstone markers for <a href=\"#compaction\">log compacted</a> topics. This setting also gives a bound on the time in which a consumer must complete a read if they begin from offset 0 to ensure that they get a valid snapshot of the final stage (otherwise delete tombstones may be collected before they complete their scan)."),
    ConfigDef::new("file.delete.delay.ms", ConfigType::Long, Some("60000"))
        .valid(Validator::AtLeast(0))
        .doc("The time to wait before deleting a file from the filesystem"),
    ConfigDef::new("flush.messages", ConfigType::Long, Some("9223372036854775807"))
        .valid(Validator::AtLeast(1))
        .doc("This setting allows specifying an interval at which we will force an fsync of data written to the log. For example if this was set to 1 we would fsync after every message; if it were 5 we would fsync after every five messages. In general we recommend you not set this and use replication for durability and allow the operating system's background flush capabilities as it is more efficient. This setting can be overridden on a per-topic basis (see <a href=\"#topicconfigs\">the per-topic configuration section</a>)."),
    ConfigDef::new("flush.ms", ConfigType::Long, Some("9223372036854775807"))
        .valid(Validator::AtLeast(0))
        .doc("This setting allows specifying a time interval at which we will force an fsync of data written to the log. For example if this was set to 1000 we would fsync after 1000 ms had passed. Note that this setting depends on the broker-level configuration <code>log.flush.scheduler.interval.ms</code>, which controls how frequently the flush check occurs. In general we recommend you not set this and use replication for durability and allow the operating system's background flush capabilities as it is more efficient."),
    ConfigDef::new("follower.replication.throttled.replicas", ConfigType::List, Some(""))
        .valid(Validator::Custom(throttled_replicas))
        .doc("A list of replicas for which log replication should be throttled on the follower side. The list should describe a set of replicas in the form [PartitionId]:[BrokerId],[PartitionId]:[BrokerId]:... or alternatively the wildcard '*' can be used to throttle all replicas for this topic."),
    ConfigDef::new("index.interval.bytes", ConfigType::Int, Some("4096"))
        .valid(Validator::AtLeast(0))
        .doc("This setting controls how frequently Kafka adds entries to its offset index and, conditionally, to its time index. The default setting ensures that we index a message roughly every 4096 bytes. More frequent indexing allows reads to jump closer to the exact position in the log but results in larger index files. You probably don't need to change this.<p> Note: the time index will be inserted only when the timestamp is greater than the last indexed timestamp.</p>"),
    ConfigDef::new("leader.replication.throttled.replicas", ConfigType::List, Some(""))
        .valid(Validator::Custom(throttled_replicas))
        .doc("A list of replicas for which log replication should be throttled on the leader side. The list should describe a set of replicas in the form [PartitionId]:[BrokerId],[PartitionId]:[BrokerId]:... or alternatively the wildcard '*' can be used to throttle all replicas for this topic."),
    ConfigDef::new("local.retention.bytes", ConfigType::Long, Some("-2"))
        .valid(Validator::AtLeast(-2))
        .doc("The maximum size of local log segments that can grow for a partition before it deletes the old segments. Default value is -2, it represents <code>retention.bytes</code> value to be used. The effective value should always be less than or equal to <code>retention.bytes</code> value."),
    ConfigDef::new("local.retention.ms", ConfigType::Long, Some("-2"))
        .valid(Validator::AtLeast(-2))
        .doc("The number of milliseconds to keep the local log segment before it gets deleted. Default value is -2, it represents <code>retention.ms</code> value is to be used. The effective value should always be less than or equal to <code>retention.ms</code> value."),
    ConfigDef::new("max.compaction.lag.ms", ConfigType::Long, Some("9223372036854775807"))
        .valid(Validator::AtLeast(1))
        .doc("The maximum time a message will remain ineligible for compaction in the log. Only applicable for logs that are being compacted."),
    ConfigDef::new("max.message.bytes", ConfigType::Int, Some("1048588"))
        .valid(Validator::AtLeast(0))
        .doc("The largest record batch size allowed by Kafka (after compression if compression is enabled)."),
    ConfigDef::new("message.timestamp.after.max.ms", ConfigType::Long, Some("3600000"))
        .valid(Validator::AtLeast(0))
        .doc("This configuration sets the allowable timestamp difference between the message timestamp and the broker's timestamp. The message timestamp can be later than or equal to the broker's timestamp, with the maximum allowable difference determined by the value set in this configuration. If message.timestamp.type=CreateTime, the message will be rejected if the difference in timestamps exceeds this specified threshold. This configuration is ignored if message.timestamp.type=LogAppendTime."),
    ConfigDef::new("message.timestamp.before.max.ms", ConfigType::Long, Some("9223372036854775807"))
        .valid(Validator::AtLeast(0))
        .doc("This configuration sets the allowable timestamp difference between the broker's timestamp and the message timestamp. The message timestamp can be earlier than or equal to the broker's timestamp, with the maximum allowable difference determined by the value set in this configuration. If message.timestamp.type=CreateTime, the message will be rejected if the difference in timestamps exceeds this specified threshold. This configuration is ignored if message.timestamp.type=LogAppendTime."),
    ConfigDef::new("message.timestamp.type", ConfigType::String, Some("CreateTime"))
        .valid(Validator::OneOf(&["CreateTime", "LogAppendTime"]))
        .doc("Define whether the timestamp in the message is message create time or log append time."),
    ConfigDef::new("min.cleanable.dirty.ratio", ConfigType::Double, Some("0.5"))
        .valid(Validator::BetweenDouble(0.0, 1.0))
        .doc("This configuration controls how frequently the log compactor will attempt to clean the log (assuming <a href=\"#compaction\">log compaction</a> is enabled). By default we will avoid cleaning a log where more than 50% of the log has been compacted. This ratio bounds the maximum space wasted in the log by duplicates (at 50% at most 50% of the log could be duplicates). A higher ratio will mean fewer, more efficient cleanings but will mean more wasted space in the log. If the max.compaction.lag.ms or the min.compaction.lag.ms configurations are also specified, then the log compactor considers the log to be eligible for compaction as soon as either: (i) the dirty ratio threshold has been met and the log has had dirty (uncompacted) records for at least the min.compaction.lag.ms duration, or (ii) if the log has had dirty (uncompacted) records for at most the max.compaction.lag.ms period."),
    ConfigDef::new("min.compaction.lag.ms", ConfigType::Long, Some("0"))
        .valid(Validator::AtLeast(0))
        .doc("The minimum time a message will remain uncompacted in the log. Only applicable for logs that are being compacted."),
    ConfigDef::new("min.insync.replicas", ConfigType::Int, Some("1"))
        .valid(Validator::AtLeast(1))
        .doc("Specifies the <i>minimum</i> number of in-sync replicas (including the leader) required for a write to succeed when a producer sets <code>acks</code> to \"all\" (or \"-1\"). In the <code>acks=all</code> case, every in-sync replica must acknowledge a write for it to be considered successful. E.g., if a topic has <code>replication.factor</code> of 3 and the ISR set includes all three replicas, then all three replicas must acknowledge an <code>acks=all</code> write for it to succeed, even if <code>min.insync.replicas</code> happens to be less than 3. If <code>acks=all</code> and the current ISR set contains fewer than <code>min.insync.replicas</code> members, then the producer will raise an exception (either <code>NotEnoughReplicas</code> or <code>NotEnoughReplicasAfterAppend</code>).<br> Regardless of the <code>acks</code> setting, the messages will not be visible to the consumers until they are replicated to all in-sync replicas and the <code>min.insync.replicas</code> condition is met.<br> When used together, <code>min.insync.replicas</code> and <code>acks</code> allow you to enforce greater durability guarantees. A typical scenario would be to create a topic with a replication factor of 3, set <code>min.insync.replicas</code> to 2, and produce with <code>acks</code> of \"all\". This ensures that a majority of replicas must persist a write before it's considered successful by the producer and it's visible to consumers.<p>Note that when the Eligible Leader Replicas feature is enabled, the semantics of this config changes. Please refer to <a href=\"#eligible_leader_replicas\">the ELR section</a> for more info.</p>"),
    ConfigDef::new("preallocate", ConfigType::Boolean, Some("false"))
        .doc("True if we should preallocate the file on disk when creating a new log segment."),
    ConfigDef::new("remote.log.copy.disable", ConfigType::Boolean, Some("false"))
        .doc("Determines whether tiered data for a topic should become read only, and no more data uploading on a topic. Once this config is set to true, the local retention configuration (i.e. local.retention.ms/bytes) becomes irrelevant, and all data expiration follows the topic-wide retention configuration(i.e. retention.ms/bytes)."),
    ConfigDef::new("remote.log.delete.on.disable", ConfigType::Boolean, Some("false"))
        .doc("Determines whether tiered data for a topic should be deleted after tiered storage is disabled on a topic. This configuration should be enabled when trying to set <code>remote.storage.enable</code> from true to false"),
    ConfigDef::new("remote.storage.enable", ConfigType::Boolean, Some("false"))
        .doc("To enable tiered storage for a topic, set this configuration to true. To disable tiered storage for a topic that has it enabled, set this configuration to false. When disabling, you must also set <code>remote.log.delete.on.disable</code> to true."),
    ConfigDef::new("retention.bytes", ConfigType::Long, Some("-1"))
        .doc("This configuration controls the maximum size a partition (which consists of log segments) can grow to before we will discard old log segments to free up space if we are using the \"delete\" retention policy. By default there is no size limit only a time limit. Since this limit is enforced at the partition level, multiply it by the number of partitions to compute the topic retention in bytes. Additionally, retention.bytes configuration operates independently of \"segment.ms\" and \"segment.bytes\" configurations. Moreover, it triggers the rolling of new segment if the retention.bytes is configured to zero."),
    ConfigDef::new("retention.ms", ConfigType::Long, Some("604800000"))
        .valid(Validator::AtLeast(-1))
        .doc("This configuration controls the maximum time we will retain a log before we will discard old log segments to free up space if we are using the \"delete\" retention policy. This represents an SLA on how soon consumers must read their data. If set to -1, no time limit is applied. Additionally, retention.ms configuration operates independently of \"segment.ms\" and \"segment.bytes\" configurations. Moreover, it triggers the rolling of new segment if the retention.ms condition is satisfied."),
    ConfigDef::new("segment.bytes", ConfigType::Int, Some("1073741824"))
        .valid(Validator::AtLeast(1_048_576))
        .doc("This configuration controls the segment file size for the log. Retention and cleaning is always done a file at a time so a larger segment size means fewer files but less granular control over retention."),
    ConfigDef::new("segment.index.bytes", ConfigType::Int, Some("10485760"))
        .valid(Validator::AtLeast(4))
        .doc("This configuration controls the size of the index that maps offsets to file positions. We preallocate this index file and shrink it only after log rolls. You generally should not need to change this setting."),
    ConfigDef::new("segment.jitter.ms", ConfigType::Long, Some("0"))
        .valid(Validator::AtLeast(0))
        .doc("The maximum random jitter subtracted from the scheduled segment roll time to avoid thundering herds of segment rolling"),
    ConfigDef::new("segment.ms", ConfigType::Long, Some("604800000"))
        .valid(Validator::AtLeast(1))
        .doc("This configuration controls the period of time after which Kafka will force the log to roll even if the segment file isn't full to ensure that retention can delete or compact old data."),
    ConfigDef::new("unclean.leader.election.enable", ConfigType::Boolean, Some("false"))
        .doc("Indicates whether to enable replicas not in the ISR set to be elected as leader as a last resort, even though doing so may result in data loss.<p>Note: In KRaft mode, when enabling this config dynamically, it needs to wait for the unclean leader electionthread to trigger election periodically (default is 5 minutes). Please run <code>kafka-leader-election.sh</code> with <code>unclean</code> option to trigger the unclean leader election immediately if needed.</p>"),];

const INTERNAL_SEGMENT_BYTES_DEF: ConfigDef = ConfigDef::new(INTERNAL_SEGMENT_BYTES, ConfigType::Int, None)
    .importance(Importance::Medium)
    .doc("The maximum size of a single log file. This should be used for testing only.");

/// The definition of a topic's key, [`INTERNAL_SEGMENT_BYTES`] included.
pub fn definition(name: &str) -> Option<&'static ConfigDef> {
    if name == INTERNAL_SEGMENT_BYTES {
        return Some(&INTERNAL_SEGMENT_BYTES_DEF);
    }
    TOPIC_CONFIGS.binary_search_by(|def| def.name.cmp(name)).ok().and_then(|index| TOPIC_CONFIGS.get(index))
}

/// How the value of a broker's key becomes that of a topic's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Unit {
    Same,
    MinutesToMs,
    HoursToMs,
}

/// A broker key that gives a topic's key its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Synonym {
    /// The broker's key.
    pub name: &'static str,
    /// What its value is counted in.
    pub unit: Unit,
}

macro_rules! synonyms {
    ($($name:literal $(* $unit:ident)?),*) => {
        &[$(Synonym { name: $name, unit: synonyms!(@unit $($unit)?) }),*]
    };
    (@unit) => { Unit::Same };
    (@unit $unit:ident) => { Unit::$unit };
}

/// The broker keys that a topic's key inherits from, the strongest first.
pub fn synonyms(topic_config: &str) -> &'static [Synonym] {
    match topic_config {
        "cleanup.policy" => synonyms!["log.cleanup.policy"],
        "compression.gzip.level" => synonyms!["compression.gzip.level"],
        "compression.lz4.level" => synonyms!["compression.lz4.level"],
        "compression.type" => synonyms!["compression.type"],
        "compression.zstd.level" => synonyms!["compression.zstd.level"],
        "delete.retention.ms" => synonyms!["log.cleaner.delete.retention.ms"],
        "file.delete.delay.ms" => synonyms!["log.segment.delete.delay.ms"],
        "flush.messages" => synonyms!["log.flush.interval.messages"],
        "flush.ms" => synonyms!["log.flush.interval.ms", "log.flush.scheduler.interval.ms"],
        "index.interval.bytes" => synonyms!["log.index.interval.bytes"],
        "local.retention.bytes" => synonyms!["log.local.retention.bytes"],
        "local.retention.ms" => synonyms!["log.local.retention.ms"],
        "max.compaction.lag.ms" => synonyms!["log.cleaner.max.compaction.lag.ms"],
        "max.message.bytes" => synonyms!["message.max.bytes"],
        "message.timestamp.after.max.ms" => synonyms!["log.message.timestamp.after.max.ms"],
        "message.timestamp.before.max.ms" => synonyms!["log.message.timestamp.before.max.ms"],
        "message.timestamp.type" => synonyms!["log.message.timestamp.type"],
        "min.cleanable.dirty.ratio" => synonyms!["log.cleaner.min.cleanable.ratio"],
        "min.compaction.lag.ms" => synonyms!["log.cleaner.min.compaction.lag.ms"],
        "min.insync.replicas" => synonyms!["min.insync.replicas"],
        "preallocate" => synonyms!["log.preallocate"],
        "retention.bytes" => synonyms!["log.retention.bytes"],
        "retention.ms" => {
            synonyms!["log.retention.ms", "log.retention.minutes" * MinutesToMs, "log.retention.hours" * HoursToMs]
        }
        "segment.bytes" => synonyms!["log.segment.bytes"],
        "segment.index.bytes" => synonyms!["log.index.size.max.bytes"],
        "segment.jitter.ms" => synonyms!["log.roll.jitter.ms", "log.roll.jitter.hours" * HoursToMs],
        "segment.ms" => synonyms!["log.roll.ms", "log.roll.hours" * HoursToMs],
        "unclean.leader.election.enable" => synonyms!["unclean.leader.election.enable"],
        _ => &[],
    }
}

/// The default of a broker key that topics inherit from; None when it has none.
pub fn server_default(server_config: &str) -> Option<&'static str> {
    match server_config {
        "log.retention.hours" | "log.roll.hours" => Some("168"),
        "log.roll.jitter.hours" => Some("0"),
        "log.flush.scheduler.interval.ms" => Some("9223372036854775807"),
        "log.retention.ms"
        | "log.retention.minutes"
        | "log.roll.ms"
        | "log.roll.jitter.ms"
        | "log.flush.interval.ms" => None,
        _ => {
            let inherits = |def: &&ConfigDef| synonyms(def.name).iter().any(|synonym| synonym.name == server_config);
            TOPIC_CONFIGS.iter().find(inherits).and_then(|def| def.default)
        }
    }
}

fn gzip_level(_key: &str, value: &Value) -> Result<(), String> {
    match value.as_i64() {
        Some(-1 | 1..=9) => Ok(()),
        _ => Err("Value must be between 1 and 9 or equal to -1".to_owned()),
    }
}

/// `ThrottledReplicaListValidator`: the one element '*', or pairs of digits.
fn throttled_replicas(key: &str, value: &Value) -> Result<(), String> {
    let items = value.as_list().unwrap_or_default();
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_pair = |item: &String| {
        item.split_once(':').is_some_and(|(partition, broker)| is_number(partition) && is_number(broker))
    };
    if items.iter().all(is_pair) || matches!(items, [only] if only == "*") {
        return Ok(());
    }
    Err(format!(
        "{key} must be the literal '*' or a list of replicas in the following format: \
         [partitionId]:[brokerId],[partitionId]:[brokerId],..."
    ))
}

/// The order in which Kafka defines the keys, and so the order in which it finds fault with them.
pub(super) const DEFINITION_ORDER: &[&str] = &[
    "segment.bytes",
    "segment.ms",
    "segment.jitter.ms",
    "segment.index.bytes",
    "flush.messages",
    "flush.ms",
    "retention.bytes",
    "retention.ms",
    "max.message.bytes",
    "index.interval.bytes",
    "delete.retention.ms",
    "min.compaction.lag.ms",
    "max.compaction.lag.ms",
    "file.delete.delay.ms",
    "min.cleanable.dirty.ratio",
    "cleanup.policy",
    "unclean.leader.election.enable",
    "min.insync.replicas",
    "compression.type",
    "compression.gzip.level",
    "compression.lz4.level",
    "compression.zstd.level",
    "preallocate",
    "message.timestamp.type",
    "message.timestamp.before.max.ms",
    "message.timestamp.after.max.ms",
    "leader.replication.throttled.replicas",
    "follower.replication.throttled.replicas",
    "remote.storage.enable",
    "local.retention.ms",
    "local.retention.bytes",
    "remote.log.copy.disable",
    "remote.log.delete.on.disable",
    INTERNAL_SEGMENT_BYTES,
];
