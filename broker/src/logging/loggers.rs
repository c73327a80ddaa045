//! Loggers as a resource that can be described and altered (`BROKER_LOGGER`, KIP-412).
//!
//! A change lasts as long as the process, as in Kafka. Source: `LoggingController`, `ConfigAdminManager`.

use std::collections::BTreeSet;
use std::sync::Arc;

use milena_metadata::ConfigType;
use milena_metadata::topic_config::ConfigSource;
use tracing::level_filters::LevelFilter;

use super::{LEVELS, Levels, parse_level};
use crate::config::{AlterOperation, Alteration, ConfigEntry, InvalidAlteration};

const ROOT: &str = "root";
const VALID_LEVELS: &str = "DEBUG, ERROR, FATAL, INFO, TRACE, WARN";

/// Loggers that exist whether or not somebody has set their level.
const KNOWN: [&str; 13] = [
    "kafka",
    "kafka.log.LogManager",
    "kafka.log.UnifiedLog",
    "kafka.network.Acceptor",
    "kafka.network.Processor",
    "kafka.server.BrokerLifecycleManager",
    "kafka.server.BrokerServer",
    "kafka.server.KafkaApis",
    "kafka.server.KafkaConfig",
    "kafka.server.ReplicaManager",
    "milena",
    "org.apache.kafka",
    "state.change.logger",
];

/// Every logger with its level.
pub fn describe_loggers() -> Vec<ConfigEntry> {
    let levels = LEVELS.load();
    let entry = |name: &str, level: LevelFilter| ConfigEntry {
        name: name.to_owned(),
        value: Some(level.to_string().to_ascii_uppercase()),
        source: ConfigSource::DynamicBrokerLoggerConfig,
        read_only: false,
        sensitive: false,
        kind: Some(ConfigType::String),
        synonyms: Vec::new(),
    };
    let named = names(&levels);
    let mut entries: Vec<_> = named.iter().map(|name| entry(name, levels.of(name))).collect();
    entries.push(entry(ROOT, levels.root));
    entries
}

fn names(levels: &Levels) -> BTreeSet<String> {
    let set = levels.loggers.iter().map(|(name, _)| name.clone());
    KNOWN.iter().map(|name| (*name).to_owned()).chain(set).collect()
}

/// Sets and resets levels, all or none of them.
///
/// # Errors
/// INVALID_CONFIG for a level or a logger that does not exist, INVALID_REQUEST for what loggers do not take.
pub fn alter_loggers(alterations: &[Alteration<'_>], validate_only: bool) -> Result<(), InvalidAlteration> {
    let mut levels = Levels::clone(&LEVELS.load());
    for Alteration { name, operation, value } in alterations {
        let exists = *name == ROOT || names(&levels).contains(*name);
        match operation {
            AlterOperation::Append | AlterOperation::Subtract => {
                let operation = if *operation == AlterOperation::Append { "APPEND" } else { "SUBTRACT" };
                return Err(InvalidAlteration::InvalidRequest(format!(
                    "{operation} operation is not allowed for the BROKER_LOGGER resource"
                )));
            }
            AlterOperation::Delete if *name == ROOT => {
                return Err(InvalidAlteration::InvalidRequest(
                    "Removing the log level of the root logger is not allowed".to_owned(),
                ));
            }
            _ if !exists => {
                return Err(InvalidAlteration::InvalidConfig(format!("Logger {name} does not exist!")));
            }
            AlterOperation::Delete => levels.loggers.retain(|(known, _)| known != name),
            AlterOperation::Set => {
                let text = value.unwrap_or_default();
                let Some(level) = parse_level(text).filter(|_| VALID_LEVELS.split(", ").any(|valid| valid == text))
                else {
                    return Err(InvalidAlteration::InvalidConfig(format!(
                        "Cannot set the log level of {name} to {text} as it is not a supported log level. Valid log levels are {VALID_LEVELS}"
                    )));
                };
                levels.loggers.retain(|(known, _)| known != name);
                if *name == ROOT {
                    levels.root = level;
                } else {
                    levels.loggers.push(((*name).to_owned(), level));
                }
            }
        }
    }
    if !validate_only {
        LEVELS.store(Arc::new(levels));
        // What a call site may say was decided when it first spoke.
        tracing::callsite::rebuild_interest_cache();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set<'a>(name: &'a str, value: &'a str) -> Alteration<'a> {
        Alteration { name, operation: AlterOperation::Set, value: Some(value) }
    }

    #[test]
    fn levels_change_and_come_back() {
        alter_loggers(&[set("kafka.log.UnifiedLog", "TRACE")], false).unwrap();
        assert_eq!(LEVELS.load().of("kafka.log.UnifiedLog"), LevelFilter::TRACE);
        alter_loggers(&[set("kafka.log.UnifiedLog", "ERROR")], true).unwrap();
        assert_eq!(LEVELS.load().of("kafka.log.UnifiedLog"), LevelFilter::TRACE);
        let delete = Alteration { name: "kafka.log.UnifiedLog", operation: AlterOperation::Delete, value: None };
        alter_loggers(&[delete], false).unwrap();
        assert_eq!(LEVELS.load().of("kafka.log.UnifiedLog"), LevelFilter::INFO);
    }

    #[test]
    fn refuses_what_kafka_refuses() {
        let delete_root = Alteration { name: ROOT, operation: AlterOperation::Delete, value: None };
        let append = Alteration { name: "kafka", operation: AlterOperation::Append, value: Some("INFO") };
        for (alteration, is_config) in
            [(set("kafka", "LOUD"), true), (set("no.such", "INFO"), true), (delete_root, false), (append, false)]
        {
            let error = alter_loggers(&[alteration], false).unwrap_err();
            assert_eq!(matches!(error, InvalidAlteration::InvalidConfig(_)), is_config, "{error}");
        }
    }
}
