//! Configuration that changes while the broker runs.

use std::{collections::BTreeMap, sync::Arc};

use arc_swap::{ArcSwap, Guard};
use milena_metadata::{ConfigType, MetadataImage, image::ConfigMap};
use tokio::sync::watch;

use super::{
    BrokerSettings, ConfigError, ServerConfig,
    broker_keys::{UpdateMode, base_name, broker_key, replication_rate},
    describe::synonym_names,
    listeners, rules,
    settings::is_listener_limit,
    shipped::Unset,
    values::{Values, parse, split_list},
};

/// The settings in force: what the node started with, under the cluster's dynamic defaults, under the broker's own
/// dynamic configs. A load is one atomic read.
#[derive(Debug)]
pub struct LiveConfig {
    node_id: i32,
    static_config: Arc<BTreeMap<String, String>>,
    settings: ArcSwap<BrokerSettings>,
    changes: watch::Sender<()>,
}

impl LiveConfig {
    /// Starts with the static settings.
    pub fn new(config: &ServerConfig) -> Self {
        Self {
            node_id: config.node_id,
            static_config: Arc::clone(&config.static_config),
            settings: ArcSwap::new(Arc::clone(&config.settings)),
            changes: watch::Sender::new(()),
        }
    }

    /// The settings of this moment; do not keep the guard across an await.
    pub fn settings(&self) -> Guard<Arc<BrokerSettings>> {
        self.settings.load()
    }

    /// Tells when the settings may have changed.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Takes over what an image says; call it when a delta touched a broker's configs.
    pub fn on_image(&self, image: &MetadataImage) {
        let set = overlay(&self.static_config, image.configs.default_broker(), image.configs.broker(self.node_id));
        let settings = Values::parse(&set).and_then(|values| BrokerSettings::from_values(&values, &set));
        match settings {
            Ok(settings) => {
                self.settings.store(Arc::new(settings));
                self.changes.send_replace(());
            }
            Err(error) => tracing::error!("dynamic broker configs are ignored, since one is not valid: {error}"),
        }
    }
}

/// Static keys under the dynamic ones that may be dynamic; those take the synonyms of a key out of force as well.
fn overlay(static_config: &BTreeMap<String, String>, default: &ConfigMap, own: &ConfigMap) -> BTreeMap<String, String> {
    let mut set = static_config.clone();
    for (key, value) in default.iter().chain(own) {
        if is_listener_limit(key) {
            set.insert(key.to_string(), value.to_string());
        } else if broker_key(key).is_some_and(|key| key.update_mode != UpdateMode::ReadOnly) {
            for synonym in synonym_names(key) {
                set.remove(synonym);
            }
            set.insert(key.to_string(), value.to_string());
        }
    }
    set
}

/// What IncrementalAlterConfigs does with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlterOperation {
    /// Gives it this value.
    Set,
    /// Removes it.
    Delete,
    /// Adds items to a list.
    Append,
    /// Takes items out of a list.
    Subtract,
}

/// One key of an IncrementalAlterConfigs request. A `Set` without a value has been refused before.
#[derive(Debug, Clone, Copy)]
pub struct Alteration<'a> {
    /// The key.
    pub name: &'a str,
    /// What to do.
    pub operation: AlterOperation,
    /// The value, or the items.
    pub value: Option<&'a str>,
}

/// Whose configs are altered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrokerScope {
    /// This broker's: the resource name is its id.
    ThisBroker,
    /// The default of all brokers: the resource name is empty.
    ClusterDefault,
}

/// Why an alteration of a broker's configs is refused; the texts are Kafka's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAlteration {
    /// `INVALID_REQUEST` (42).
    #[error("{0}")]
    InvalidRequest(String),
    /// `INVALID_CONFIG` (40).
    #[error("{0}")]
    InvalidConfig(String),
}

/// Whether this broker may take these alterations: what `ConfigAdminManager.preprocess` and
/// `DynamicBrokerConfig.validate` check before the controller sees them.
///
/// # Errors
/// The first check that fails; nothing of the resource is altered then.
pub fn validate_broker_alter(
    config: &ServerConfig,
    image: &MetadataImage,
    scope: BrokerScope,
    alterations: &[Alteration<'_>],
) -> Result<(), InvalidAlteration> {
    let mut resulting = match scope {
        BrokerScope::ThisBroker => image.configs.broker(config.node_id).clone(),
        BrokerScope::ClusterDefault => image.configs.default_broker().clone(),
    };
    for alteration in alterations {
        let name = alteration.name;
        let value = alteration.value.unwrap_or_default();
        match alteration.operation {
            AlterOperation::Set => {
                resulting.insert(name.into(), value.into());
            }
            AlterOperation::Delete => {
                resulting.remove(name);
            }
            AlterOperation::Append | AlterOperation::Subtract => {
                let base = base_name(name);
                let key = broker_key(base).filter(|key| key.definition.kind == ConfigType::List);
                let Some(key) = key else {
                    let verb = if alteration.operation == AlterOperation::Append { "append" } else { "subtract" };
                    return Err(InvalidAlteration::InvalidConfig(format!(
                        "Config value {verb} is not allowed for config key: {name}"
                    )));
                };
                let before = resulting.get(name).map(|value| &**value).or(key.definition.default).unwrap_or_default();
                let mut items = split_list(before);
                let operands = split_list(value);
                if alteration.operation == AlterOperation::Append {
                    items.extend(operands);
                } else {
                    items.retain(|item| !operands.contains(item));
                }
                resulting.insert(name.into(), split_list(&items.join(",")).join(",").into());
            }
        }
    }
    validate(config, image, scope, &resulting, alterations.iter().map(|alteration| alteration.name))
}

/// Whether this broker may take these configs in place of all that its scope has: AlterConfigs.
///
/// # Errors
/// As [`validate_broker_alter`].
pub fn validate_broker_replace(
    config: &ServerConfig,
    image: &MetadataImage,
    scope: BrokerScope,
    entries: &[(&str, &str)],
) -> Result<(), InvalidAlteration> {
    let resulting = entries.iter().map(|(name, value)| (Arc::from(*name), Arc::from(*value))).collect();
    validate(config, image, scope, &resulting, entries.iter().map(|(name, _)| *name))
}

/// What may be altered per listener only (`DYNAMIC_SECURITY_CONFIGS`).
const PER_LISTENER_ONLY: [&str; 10] = [
    "ssl.keystore.type",
    "ssl.key.password",
    "ssl.keystore.key",
    "ssl.truststore.type",
    "ssl.keystore.location",
    "ssl.truststore.location",
    "ssl.truststore.certificates",
    "ssl.truststore.password",
    "ssl.keystore.password",
    "ssl.keystore.certificate.chain",
];

/// Listener keys that may carry the prefix in the default of all brokers (`CLUSTER_LEVEL_LISTENER_CONFIGS`).
const CLUSTER_LEVEL_LISTENER: [&str; 3] = ["max.connections", "num.network.threads", "max.connection.creation.rate"];

/// Thread counts, which may at most double or halve in one step.
const THREAD_COUNTS: [&str; 5] = [
    "num.io.threads",
    "num.network.threads",
    "num.replica.fetchers",
    "num.recovery.threads.per.data.dir",
    "background.threads",
];

/// `order` is the request's, so that a message names the keys as they were sent.
fn validate<'a>(
    config: &ServerConfig,
    image: &MetadataImage,
    scope: BrokerScope,
    resulting: &ConfigMap,
    order: impl Iterator<Item = &'a str>,
) -> Result<(), InvalidAlteration> {
    let mut names: Vec<&str> = order.filter(|name| resulting.contains_key(*name)).collect();
    for name in resulting.keys() {
        if !names.contains(&&**name) {
            names.push(name);
        }
    }
    let listed = |what: &str, matches: &dyn Fn(&str) -> bool| {
        let found: Vec<&str> = names.iter().copied().filter(|name| matches(name)).collect();
        if found.is_empty() {
            return Ok(());
        }
        Err(InvalidAlteration::InvalidRequest(format!("{what}: [{}]", found.join(", "))))
    };
    let mode = |name: &str| broker_key(name).map(|key| key.update_mode);
    listed("Cannot update these configs dynamically", &|name| mode(name) == Some(UpdateMode::ReadOnly))?;
    listed("These security configs can be dynamically updated only per-listener using the listener prefix", &|name| {
        PER_LISTENER_ONLY.contains(&name)
    })?;
    for (name, value) in resulting {
        check_type(base_name(name), value)?;
    }
    if scope == BrokerScope::ClusterDefault {
        listed("Cannot update these configs at default cluster level, broker id must be specified", &|name| {
            let base = base_name(name);
            mode(name) == Some(UpdateMode::PerBroker) || base != name && !CLUSTER_LEVEL_LISTENER.contains(&base)
        })?;
    }
    let (default, own) = match scope {
        BrokerScope::ThisBroker => (image.configs.default_broker(), resulting),
        BrokerScope::ClusterDefault => (resulting, image.configs.broker(config.node_id)),
    };
    let before = overlay(&config.static_config, image.configs.default_broker(), image.configs.broker(config.node_id));
    let after = overlay(&config.static_config, default, own);
    check_whole(config, &before, &after)
}

fn invalid_request(error: &ConfigError) -> InvalidAlteration {
    InvalidAlteration::InvalidRequest(match error {
        ConfigError::Requirement(text) => format!("requirement failed: {text}"),
        other => other.to_string(),
    })
}

fn check_type(name: &str, value: &str) -> Result<(), InvalidAlteration> {
    let definition = replication_rate(name).or_else(|| broker_key(name).map(|key| key.definition));
    let Some(definition) = definition else { return Ok(()) };
    parse(&definition, value).map_err(|error| invalid_request(&error))?;
    // Kafka loads the class; here only the one that is named by default exists.
    if definition.kind == ConfigType::Class && Some(value.trim()) != definition.default {
        let reason = format!("Class {value} could not be found.");
        return Err(invalid_request(&ConfigError::invalid_value(name, value, &reason)));
    }
    if name == "metric.reporters" && !value.trim().is_empty() {
        return Err(reconfiguration(
            "Validation of dynamic config update of Set(metric.reporters) failed with class class \
             kafka.server.DynamicMetricsReporters",
        ));
    }
    Ok(())
}

/// The configuration that would be in force must be one that a broker could have started with.
fn check_whole(
    config: &ServerConfig,
    before: &BTreeMap<String, String>,
    after: &BTreeMap<String, String>,
) -> Result<(), InvalidAlteration> {
    let parsed = || -> Result<(Values, Values), ConfigError> {
        let values = Values::parse(after)?;
        rules::check(&values, after)?;
        BrokerSettings::from_values(&values, after)?;
        Ok((Values::parse(before)?, values))
    };
    let (old, new) = parsed().map_err(|error| invalid_request(&error))?;
    for name in THREAD_COUNTS {
        let (old, new) = (old.long(name), new.long(name));
        let failed = format!("Dynamic thread count update validation failed for {name}={new}");
        if new != old && new < old / 2 {
            return Err(reconfiguration(&format!("{failed}, value should be at least half the current value {old}")));
        }
        if new != old && new > old * 2 {
            return Err(reconfiguration(&format!(
                "{failed}, value should not be greater than double the current value {old}"
            )));
        }
    }
    check_listener_limits(before, after)?;
    let (old_cleaners, new_cleaners) = (old.long("log.cleaner.threads"), new.long("log.cleaner.threads"));
    if new_cleaners < old_cleaners / 2 {
        return Err(reconfiguration(&format!(
            "Log cleaner threads cannot be reduced to less than half the current value {old_cleaners}"
        )));
    }
    if new_cleaners > old_cleaners * 2 {
        return Err(reconfiguration(&format!(
            "Log cleaner threads cannot be increased to more than double the current value {old_cleaners}"
        )));
    }
    check_listeners(config, &new, after)
}

/// `ListenerConnectionQuota.validateReconfiguration`: a listener's limit may be zero in a file only, where it comes from
/// its own key or from the broker's.
fn check_listener_limits(
    before: &BTreeMap<String, String>,
    after: &BTreeMap<String, String>,
) -> Result<(), InvalidAlteration> {
    let limits = ["max.connections", "max.connection.creation.rate"];
    let changed = |(name, value): &(&String, &String)| {
        limits.contains(&base_name(name)) && before.get(*name) != Some(value) && value.trim().parse() == Ok(0)
    };
    match after.iter().find(changed) {
        Some((name, value)) => Err(reconfiguration(&format!("Invalid {} {}", base_name(name), value.trim()))),
        None => Ok(()),
    }
}

/// A dynamic change of the listeners is taken as long as it asks for those that are bound.
fn check_listeners(
    config: &ServerConfig,
    values: &Values,
    set: &BTreeMap<String, String>,
) -> Result<(), InvalidAlteration> {
    if set.get("listeners") == config.static_config.get("listeners")
        && set.get("listener.security.protocol.map") == config.static_config.get("listener.security.protocol.map")
    {
        return Ok(());
    }
    let network = listeners::network(values, set, config.process_roles, Unset::AsKafka)
        .map_err(|error| invalid_request(&error))?;
    if network.listeners == config.listeners {
        Ok(())
    } else {
        Err(InvalidAlteration::InvalidRequest(
            "Listeners cannot be changed while this broker runs: set them in its file and restart it".to_owned(),
        ))
    }
}

/// Kafka's words for a reconfiguration that a part of the broker refuses.
fn reconfiguration(text: &str) -> InvalidAlteration {
    InvalidAlteration::InvalidRequest(format!(
        "Invalid value org.apache.kafka.common.config.ConfigException: {text} for configuration Invalid dynamic \
         configuration"
    ))
}
