//! The values of Kafka's shipped `config/server.properties`, for a start without a file.
//!
//! What concerns listeners is not here: without a file they stay on loopback (`listeners`). The data goes to
//! `./milena-data` instead of `/tmp`.

use std::collections::BTreeMap;

/// What a key means that nobody set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unset {
    /// Kafka's default.
    AsKafka,
    /// No file was named: listeners stay on loopback.
    LoopbackListeners,
}

const VALUES: [(&str, &str); 16] = [
    ("log.dirs", "./milena-data"),
    ("num.network.threads", "3"),
    ("num.io.threads", "8"),
    ("socket.send.buffer.bytes", "102400"),
    ("socket.receive.buffer.bytes", "102400"),
    ("socket.request.max.bytes", "104857600"),
    ("num.partitions", "1"),
    ("num.recovery.threads.per.data.dir", "2"),
    ("offsets.topic.replication.factor", "1"),
    ("share.coordinator.state.topic.replication.factor", "1"),
    ("share.coordinator.state.topic.min.isr", "1"),
    ("transaction.state.log.replication.factor", "1"),
    ("transaction.state.log.min.isr", "1"),
    ("log.retention.hours", "168"),
    ("log.segment.bytes", "1073741824"),
    ("log.retention.check.interval.ms", "300000"),
];

/// Keys and values, as a file would have set them.
pub(super) fn values() -> BTreeMap<String, String> {
    VALUES.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}
