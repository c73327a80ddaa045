//! [`ServerConfig`]: what a node is from its start to its end.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use super::{BrokerSettings, Endpoint, Listener};

/// `process.roles`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessRoles {
    /// Serves clients and stores partitions.
    pub broker: bool,
    /// Votes and decides about metadata.
    pub controller: bool,
}

/// One of `controller.quorum.voters`: `id@host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Voter {
    /// The voter's `node.id`.
    pub node_id: i32,
    /// Its host.
    pub host: String,
    /// Its port.
    pub port: u16,
}

/// The `controller.quorum.*` keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuorumConfig {
    /// `controller.quorum.voters`; empty means a dynamic quorum.
    pub voters: Vec<Voter>,
    /// `controller.quorum.bootstrap.servers`.
    pub bootstrap_servers: Vec<Endpoint>,
    /// `controller.quorum.election.timeout.ms`.
    pub election_timeout_ms: i32,
    /// `controller.quorum.fetch.timeout.ms`.
    pub fetch_timeout_ms: i32,
    /// `controller.quorum.request.timeout.ms`.
    pub request_timeout_ms: i32,
    /// `metadata.log.max.record.bytes.between.snapshots`.
    pub snapshot_after_bytes: i64,
    /// `metadata.log.max.snapshot.interval.ms`.
    pub snapshot_interval_ms: i64,
}

/// A checked configuration. Everything that may change while the node runs is in
/// [`settings`](Self::settings), whose live value [`LiveConfig`](super::LiveConfig) holds.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// `node.id`.
    pub node_id: i32,
    /// `process.roles`; both when the key is absent.
    pub process_roles: ProcessRoles,
    /// `CLUSTER_ID` of the environment: a data directory of another cluster is refused, a new one is formatted with it.
    pub cluster_id: Option<String>,
    /// The listeners that serve clients and brokers, in their order; the controller's are not among them.
    pub listeners: Vec<Listener>,
    /// `controller.listener.names` with their addresses: kept and shown, never bound.
    pub controller_listeners: Vec<Listener>,
    /// The name of the listener on which brokers talk to each other.
    pub inter_broker_listener_name: String,
    /// `broker.rack`.
    pub rack: Option<String>,
    /// `log.dirs`, else `log.dir`, each once and in their order.
    pub log_dirs: Vec<PathBuf>,
    /// `metadata.log.dir`, else the first log dir.
    pub metadata_log_dir: PathBuf,
    /// `controller.quorum.*`.
    pub quorum: QuorumConfig,
    /// The values that requests read, as they were at the start.
    pub settings: Arc<BrokerSettings>,
    /// Every key that was set, with its text: source 4 (STATIC_BROKER_CONFIG) of DescribeConfigs.
    pub static_config: Arc<BTreeMap<String, String>>,
}

impl ServerConfig {
    /// The configuration that these keys alone make, without the shipped values, the environment or warnings: what
    /// Kafka would make of a file with these lines.
    ///
    /// # Errors
    /// As [`load`](super::load()).
    pub fn from_properties<K: Into<String>, V: Into<String>>(
        properties: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self, super::ConfigError> {
        let properties = properties.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        Ok(super::load::check(properties, super::shipped::Unset::AsKafka)?.config)
    }
}
