//! The layers of a configuration, lowest first: shipped values or a file, `KAFKA_*`, `--override`.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    BrokerSettings, ConfigError, ProcessRoles, QuorumConfig, ServerConfig, environment, key_classes, legacy, listeners,
    properties, rules,
    shipped::{self, Unset},
    values::Values,
};

/// Where a configuration comes from.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The properties file that the command line names.
    pub file: Option<PathBuf>,
    /// The process's environment.
    pub environment: Vec<(String, String)>,
    /// `--override key=value`, in their order.
    pub overrides: Vec<(String, String)>,
}

/// A configuration and what a person should know about it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: ServerConfig,
    /// One line each, to be logged at WARN.
    pub warnings: Vec<String>,
}

/// Lays the sources over each other and checks the result.
///
/// # Errors
/// A file that cannot be read, or the first thing that Kafka or this broker refuses.
pub fn load(sources: &Sources) -> Result<Loaded, ConfigError> {
    let mut over: BTreeMap<String, String> = environment::keys(&sources.environment).collect();
    over.extend(sources.overrides.iter().cloned());
    let (mut properties, unset) = if let Some(file) = &sources.file {
        (read(file)?, Unset::AsKafka)
    } else {
        let mut shipped = shipped::values();
        if over.contains_key("log.dir") {
            // The shipped `log.dirs` must not win over it.
            shipped.remove("log.dirs");
        }
        (shipped, Unset::LoopbackListeners)
    };
    properties.extend(over);
    let shipped = match unset {
        Unset::AsKafka => BTreeMap::new(),
        Unset::LoopbackListeners => shipped::values(),
    };
    let mut loaded = check_set(properties, unset, &shipped)?;
    loaded.config.cluster_id = environment::cluster_id(&sources.environment);
    Ok(loaded)
}

/// The keys of a properties file.
pub(crate) fn read(file: &Path) -> Result<BTreeMap<String, String>, ConfigError> {
    let bytes = std::fs::read(file).map_err(|source| ConfigError::Unreadable { path: file.to_path_buf(), source })?;
    properties::parse(&bytes).map_err(|source| ConfigError::Malformed { path: file.to_path_buf(), source })
}

/// Checks a complete set of keys.
pub(super) fn check(set: BTreeMap<String, String>, unset: Unset) -> Result<Loaded, ConfigError> {
    check_set(set, unset, &BTreeMap::new())
}

/// As [`check`]; nobody is warned about a key that still has the value in `shipped`.
fn check_set(
    mut set: BTreeMap<String, String>,
    unset: Unset,
    shipped: &BTreeMap<String, String>,
) -> Result<Loaded, ConfigError> {
    let mut warnings = legacy::translate(&mut set, unset)?;
    set.entry("process.roles".to_owned()).or_insert_with(|| "broker,controller".to_owned());
    if !set.contains_key("node.id") {
        set.insert("node.id".to_owned(), "1".to_owned());
    }
    set.insert("broker.id".to_owned(), set["node.id"].clone());
    let values = Values::parse(&set)?;
    rules::check(&values, &set)?;
    let roles = roles(&values);
    let network = listeners::network(&values, &set, roles, unset)?;
    warnings.extend(key_classes::check(&set, shipped, &values)?);
    let log_dirs: Vec<PathBuf> =
        values.optional_list("log.dirs").unwrap_or_else(|| values.list("log.dir")).iter().map(PathBuf::from).collect();
    let metadata_log_dir =
        values.optional_text("metadata.log.dir").map(PathBuf::from).or_else(|| log_dirs.first().cloned()).ok_or_else(
            || ConfigError::Invalid("At least one log directory must be defined via log.dirs or log.dir.".to_owned()),
        )?;
    let config = ServerConfig {
        node_id: values.int("node.id"),
        process_roles: roles,
        cluster_id: None,
        listeners: network.listeners,
        controller_listeners: network.controller_listeners,
        inter_broker_listener_name: network.inter_broker_listener_name,
        rack: values.optional_text("broker.rack").map(str::to_owned),
        log_dirs,
        metadata_log_dir,
        quorum: QuorumConfig {
            voters: values
                .list("controller.quorum.voters")
                .iter()
                .map(|entry| listeners::parse_voter(entry))
                .collect::<Result<_, _>>()?,
            bootstrap_servers: values
                .list("controller.quorum.bootstrap.servers")
                .iter()
                .map(|entry| listeners::parse_bootstrap_server(entry))
                .collect::<Result<_, _>>()?,
            election_timeout_ms: values.int("controller.quorum.election.timeout.ms"),
            fetch_timeout_ms: values.int("controller.quorum.fetch.timeout.ms"),
            request_timeout_ms: values.int("controller.quorum.request.timeout.ms"),
            snapshot_after_bytes: values.long("metadata.log.max.record.bytes.between.snapshots"),
            snapshot_interval_ms: values.long("metadata.log.max.snapshot.interval.ms"),
        },
        settings: Arc::new(BrokerSettings::from_values(&values, &set)?),
        static_config: Arc::new(shown(set, unset)),
    };
    Ok(Loaded { config, warnings })
}

fn roles(values: &Values) -> ProcessRoles {
    let roles = values.list("process.roles");
    let has = |name: &str| roles.iter().any(|role| role == name);
    ProcessRoles { broker: has("broker"), controller: has("controller") }
}

/// What DescribeConfigs calls static: everything that was set, and the loopback listeners of a start without a file.
fn shown(mut set: BTreeMap<String, String>, unset: Unset) -> BTreeMap<String, String> {
    if unset == Unset::LoopbackListeners && !set.contains_key("listeners") {
        set.insert("listeners".to_owned(), "PLAINTEXT://localhost:9092".to_owned());
        set.entry("advertised.listeners".to_owned()).or_insert_with(|| "PLAINTEXT://localhost:9092".to_owned());
    }
    set
}
