//! [`BrokerSettings`]: typed values of the keys that the running broker reads.

use std::collections::BTreeMap;

use super::{
    ConfigError,
    broker_keys::{base_name, broker_key},
    values::{Values, parse, split_list},
};

/// Typed values, named as their keys; units are the keys' own. The dynamic ones (marked) change while the broker
/// runs: read them through [`LiveConfig`](super::LiveConfig), not from [`ServerConfig`](super::ServerConfig).
#[derive(Debug, Clone, PartialEq)]
pub struct BrokerSettings {
    // requests
    /// `request.timeout.ms`.
    pub request_timeout_ms: i32,
    /// `fetch.max.bytes`.
    pub fetch_max_bytes: i32,
    /// `max.request.partition.size.limit`.
    pub max_request_partition_size_limit: i32,
    /// `max.incremental.fetch.session.cache.slots`.
    pub max_incremental_fetch_session_cache_slots: i32,
    /// `auto.create.topics.enable`.
    pub auto_create_topics_enable: bool,
    /// `delete.topic.enable`.
    pub delete_topic_enable: bool,
    /// `num.partitions`.
    pub num_partitions: i32,
    /// `default.replication.factor`.
    pub default_replication_factor: i16,
    /// `min.insync.replicas` (dynamic).
    pub min_insync_replicas: i32,
    /// `producer.id.expiration.ms` (dynamic).
    pub producer_id_expiration_ms: i32,
    /// `transaction.partition.verification.enable` (dynamic).
    pub transaction_partition_verification_enable: bool,
    /// `unclean.leader.election.enable` (dynamic).
    pub unclean_leader_election_enable: bool,

    // connections
    /// `socket.send.buffer.bytes`; -1 leaves the system's.
    pub socket_send_buffer_bytes: i32,
    /// `socket.receive.buffer.bytes`; -1 leaves the system's, and so does Kafka's default (decision 9).
    pub socket_receive_buffer_bytes: i32,
    /// `socket.request.max.bytes`.
    pub socket_request_max_bytes: i32,
    /// `socket.listen.backlog.size`.
    pub socket_listen_backlog_size: i32,
    /// `connections.max.idle.ms`.
    pub connections_max_idle_ms: i64,
    /// `max.connections` (dynamic).
    pub max_connections: i32,
    /// `max.connections.per.ip` (dynamic).
    pub max_connections_per_ip: i32,
    /// `max.connections.per.ip.overrides` (dynamic): host name or address to limit.
    pub max_connections_per_ip_overrides: BTreeMap<String, i32>,
    /// `max.connection.creation.rate` (dynamic).
    pub max_connection_creation_rate: i32,
    /// `listener.name.<name>.max.connections` and the like (dynamic), by the listener's name in upper case.
    pub listener_limits: BTreeMap<String, ListenerLimits>,
    /// `quota.window.num`.
    pub quota_window_num: i32,
    /// `quota.window.size.seconds`.
    pub quota_window_size_seconds: i32,
    /// `queued.max.requests`.
    pub queued_max_requests: i32,
    /// `queued.max.request.bytes`; -1 is no limit if it was set, and a part of the memory if it was not.
    pub queued_max_request_bytes: i64,
    /// `num.network.threads` (dynamic).
    pub num_network_threads: i32,
    /// `num.io.threads` (dynamic).
    pub num_io_threads: i32,

    // logs
    /// `log.retention.check.interval.ms`.
    pub log_retention_check_interval_ms: i64,
    /// `log.flush.scheduler.interval.ms`.
    pub log_flush_scheduler_interval_ms: i64,
    /// `log.flush.offset.checkpoint.interval.ms`.
    pub log_flush_offset_checkpoint_interval_ms: i32,
    /// `log.flush.start.offset.checkpoint.interval.ms`.
    pub log_flush_start_offset_checkpoint_interval_ms: i32,
    /// `replica.high.watermark.checkpoint.interval.ms`.
    pub replica_high_watermark_checkpoint_interval_ms: i64,
    /// `log.initial.task.delay.ms`.
    pub log_initial_task_delay_ms: i64,
    /// `producer.id.expiration.check.interval.ms`.
    pub producer_id_expiration_check_interval_ms: i32,
    /// `num.recovery.threads.per.data.dir` (dynamic).
    pub num_recovery_threads_per_data_dir: i32,
    /// `log.dir.failure.timeout.ms`.
    pub log_dir_failure_timeout_ms: i64,

    // replication and the cluster
    /// `replica.lag.time.max.ms`.
    pub replica_lag_time_max_ms: i64,
    /// `auto.leader.rebalance.enable`.
    pub auto_leader_rebalance_enable: bool,
    /// `controlled.shutdown.enable`.
    pub controlled_shutdown_enable: bool,
    /// `broker.heartbeat.interval.ms`.
    pub broker_heartbeat_interval_ms: i32,
    /// `broker.session.timeout.ms`.
    pub broker_session_timeout_ms: i32,

    // internal topics
    /// `offsets.topic.num.partitions`.
    pub offsets_topic_num_partitions: i32,
    /// `offsets.topic.replication.factor`.
    pub offsets_topic_replication_factor: i16,
    /// `offsets.topic.segment.bytes`.
    pub offsets_topic_segment_bytes: i32,
    /// `transaction.state.log.num.partitions`.
    pub transaction_state_log_num_partitions: i32,
    /// `transaction.state.log.replication.factor`.
    pub transaction_state_log_replication_factor: i16,
    /// `transaction.state.log.min.isr`.
    pub transaction_state_log_min_isr: i32,
    /// `transaction.state.log.segment.bytes`.
    pub transaction_state_log_segment_bytes: i32,
    /// `share.coordinator.state.topic.num.partitions`.
    pub share_coordinator_state_topic_num_partitions: i32,
    /// `share.coordinator.state.topic.replication.factor`.
    pub share_coordinator_state_topic_replication_factor: i16,
    /// `share.coordinator.state.topic.min.isr`.
    pub share_coordinator_state_topic_min_isr: i16,
    /// `share.coordinator.state.topic.segment.bytes`.
    pub share_coordinator_state_topic_segment_bytes: i32,
    /// `transaction.max.timeout.ms`.
    pub transaction_max_timeout_ms: i32,
}

/// What a single listener may have; `None` is what the broker may have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ListenerLimits {
    /// `max.connections`.
    pub max_connections: Option<i32>,
    /// `max.connection.creation.rate`.
    pub max_connection_creation_rate: Option<i32>,
}

/// Its shipped file repeats the default, so nobody has chosen this one.
const KAFKAS_RECEIVE_BUFFER_BYTES: i32 = 102_400;

impl BrokerSettings {
    /// Picks the typed values out of a parsed set; `set` has the keys of single listeners, too.
    pub(super) fn from_values(values: &Values, set: &BTreeMap<String, String>) -> Result<Self, ConfigError> {
        Ok(Self {
            request_timeout_ms: values.int("request.timeout.ms"),
            fetch_max_bytes: values.int("fetch.max.bytes"),
            max_request_partition_size_limit: values.int("max.request.partition.size.limit"),
            max_incremental_fetch_session_cache_slots: values.int("max.incremental.fetch.session.cache.slots"),
            auto_create_topics_enable: values.boolean("auto.create.topics.enable"),
            delete_topic_enable: values.boolean("delete.topic.enable"),
            num_partitions: values.int("num.partitions"),
            default_replication_factor: values.int("default.replication.factor") as i16,
            min_insync_replicas: values.int("min.insync.replicas"),
            producer_id_expiration_ms: values.int("producer.id.expiration.ms"),
            transaction_partition_verification_enable: values.boolean("transaction.partition.verification.enable"),
            unclean_leader_election_enable: values.boolean("unclean.leader.election.enable"),
            socket_send_buffer_bytes: values.int("socket.send.buffer.bytes"),
            socket_receive_buffer_bytes: match values.int("socket.receive.buffer.bytes") {
                KAFKAS_RECEIVE_BUFFER_BYTES => -1,
                chosen => chosen,
            },
            socket_request_max_bytes: values.int("socket.request.max.bytes"),
            socket_listen_backlog_size: values.int("socket.listen.backlog.size"),
            connections_max_idle_ms: values.long("connections.max.idle.ms"),
            max_connections: values.int("max.connections"),
            max_connections_per_ip: values.int("max.connections.per.ip"),
            max_connections_per_ip_overrides: overrides(values.text("max.connections.per.ip.overrides"))?,
            max_connection_creation_rate: values.int("max.connection.creation.rate"),
            listener_limits: listener_limits(set)?,
            quota_window_num: values.int("quota.window.num"),
            quota_window_size_seconds: values.int("quota.window.size.seconds"),
            queued_max_requests: values.int("queued.max.requests"),
            queued_max_request_bytes: values.long("queued.max.request.bytes"),
            num_network_threads: values.int("num.network.threads"),
            num_io_threads: values.int("num.io.threads"),
            log_retention_check_interval_ms: values.long("log.retention.check.interval.ms"),
            log_flush_scheduler_interval_ms: values.long("log.flush.scheduler.interval.ms"),
            log_flush_offset_checkpoint_interval_ms: values.int("log.flush.offset.checkpoint.interval.ms"),
            log_flush_start_offset_checkpoint_interval_ms: values.int("log.flush.start.offset.checkpoint.interval.ms"),
            replica_high_watermark_checkpoint_interval_ms: values.long("replica.high.watermark.checkpoint.interval.ms"),
            log_initial_task_delay_ms: values.long("log.initial.task.delay.ms"),
            producer_id_expiration_check_interval_ms: values.int("producer.id.expiration.check.interval.ms"),
            num_recovery_threads_per_data_dir: values.int("num.recovery.threads.per.data.dir"),
            log_dir_failure_timeout_ms: values.long("log.dir.failure.timeout.ms"),
            replica_lag_time_max_ms: values.long("replica.lag.time.max.ms"),
            auto_leader_rebalance_enable: values.boolean("auto.leader.rebalance.enable"),
            controlled_shutdown_enable: values.boolean("controlled.shutdown.enable"),
            broker_heartbeat_interval_ms: values.int("broker.heartbeat.interval.ms"),
            broker_session_timeout_ms: values.int("broker.session.timeout.ms"),
            offsets_topic_num_partitions: values.int("offsets.topic.num.partitions"),
            offsets_topic_replication_factor: values.short("offsets.topic.replication.factor"),
            offsets_topic_segment_bytes: values.int("offsets.topic.segment.bytes"),
            transaction_state_log_num_partitions: values.int("transaction.state.log.num.partitions"),
            transaction_state_log_replication_factor: values.short("transaction.state.log.replication.factor"),
            transaction_state_log_min_isr: values.int("transaction.state.log.min.isr"),
            transaction_state_log_segment_bytes: values.int("transaction.state.log.segment.bytes"),
            share_coordinator_state_topic_num_partitions: values.int("share.coordinator.state.topic.num.partitions"),
            share_coordinator_state_topic_replication_factor: values
                .short("share.coordinator.state.topic.replication.factor"),
            share_coordinator_state_topic_min_isr: values.short("share.coordinator.state.topic.min.isr"),
            share_coordinator_state_topic_segment_bytes: values.int("share.coordinator.state.topic.segment.bytes"),
            transaction_max_timeout_ms: values.int("transaction.max.timeout.ms"),
        })
    }
}

fn listener_limits(set: &BTreeMap<String, String>) -> Result<BTreeMap<String, ListenerLimits>, ConfigError> {
    let mut limits: BTreeMap<String, ListenerLimits> = BTreeMap::new();
    for (key, text) in set.iter().filter(|(key, _)| is_listener_limit(key)) {
        let base = base_name(key);
        let Some(definition) = broker_key(base).map(|key| key.definition) else { continue };
        let value = parse(&definition, text)?.as_i64().map(|value| value as i32);
        let name = key.trim_start_matches(LISTENER_PREFIX).trim_end_matches(base).trim_end_matches('.');
        let limits = limits.entry(name.to_uppercase()).or_default();
        if base == "max.connections" {
            limits.max_connections = value;
        } else {
            limits.max_connection_creation_rate = value;
        }
    }
    Ok(limits)
}

const LISTENER_PREFIX: &str = "listener.name.";

/// Whether a key limits the connections of a single listener.
pub(super) fn is_listener_limit(key: &str) -> bool {
    key.starts_with(LISTENER_PREFIX) && ["max.connections", "max.connection.creation.rate"].contains(&base_name(key))
}

/// `host:limit,…`; the host may be an IPv6 address.
fn overrides(text: &str) -> Result<BTreeMap<String, i32>, ConfigError> {
    split_list(text)
        .iter()
        .map(|entry| {
            entry
                .rsplit_once(':')
                .and_then(|(host, limit)| Some((host.trim().to_owned(), limit.trim().parse().ok()?)))
                .ok_or_else(|| {
                    ConfigError::invalid_value(
                        "max.connections.per.ip.overrides",
                        text,
                        &format!("{entry} is not of the form host:limit"),
                    )
                })
        })
        .collect()
}
