//! DescribeConfigs for a broker: every key with its value, where it comes from and what would apply without it.
//!
//! `ConfigHelper.createBrokerConfigEntry` and `DynamicBrokerConfig.brokerConfigSynonyms` of 4.3.1.
//! Absent: topics (`milena_metadata::topic_config`), filtering by the names that were asked for.

use std::collections::BTreeMap;

use milena_metadata::{ConfigDef, ConfigType, MetadataImage, image::ConfigMap, topic_config::ConfigSource};

use super::broker_keys::{BrokerKey, UpdateMode, broker_key, broker_keys};

/// A layer that has a value for a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigSynonym {
    /// The key that gave the value: the described one, or one that stands in for it.
    pub name: String,
    /// Its value; `None` if it is sensitive.
    pub value: Option<String>,
    /// The layer.
    pub source: ConfigSource,
}

/// One key as DescribeConfigs answers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigEntry {
    /// The key.
    pub name: String,
    /// The value in force; `None` if there is none or it is sensitive.
    pub value: Option<String>,
    /// Where the value comes from.
    pub source: ConfigSource,
    /// Not dynamic.
    pub read_only: bool,
    /// A password, or a key whose type is not known.
    pub sensitive: bool,
    /// The type; `None` for a key that Kafka does not define.
    pub kind: Option<ConfigType>,
    /// The layers that have a value, the strongest first.
    pub synonyms: Vec<ConfigSynonym>,
}

/// Keys that stand in for one another, in the order in which `DynamicBrokerConfig.brokerConfigSynonyms` asks them.
fn synonym_names(name: &str) -> Vec<&str> {
    match name {
        "log.roll.ms" | "log.roll.hours" => vec!["log.roll.ms", "log.roll.hours"],
        "log.roll.jitter.ms" | "log.roll.jitter.hours" => vec!["log.roll.jitter.ms", "log.roll.jitter.hours"],
        "log.flush.interval.ms" => vec!["log.flush.interval.ms", "log.flush.scheduler.interval.ms"],
        "log.retention.ms" | "log.retention.minutes" | "log.retention.hours" => {
            vec!["log.retention.ms", "log.retention.minutes", "log.retention.hours"]
        }
        name => vec![name],
    }
}

/// All described keys of the broker `node_id`, ordered by name.
pub fn describe_broker(
    image: &MetadataImage,
    node_id: i32,
    static_config: &BTreeMap<String, String>,
) -> Vec<ConfigEntry> {
    let layers = Layers { own: image.configs.broker(node_id), default: image.configs.default_broker(), static_config };
    broker_keys().filter(|key| !key.internal).map(|key| layers.describe(key)).collect()
}

/// What is set for all brokers (resource name ""), ordered by name; keys that Kafka does not define are left out.
pub fn describe_default_broker(image: &MetadataImage) -> Vec<ConfigEntry> {
    let configs = image.configs.default_broker();
    configs
        .iter()
        .filter_map(|(name, value)| Some((broker_key(name)?, value)))
        .map(|(key, value)| {
            let definition = &key.definition;
            let value = shown(definition, value);
            ConfigEntry {
                name: definition.name.to_owned(),
                source: ConfigSource::DynamicDefaultBrokerConfig,
                read_only: key.update_mode == UpdateMode::ReadOnly,
                sensitive: definition.kind.is_sensitive(),
                kind: Some(definition.kind),
                synonyms: vec![ConfigSynonym {
                    name: definition.name.to_owned(),
                    value: value.clone(),
                    source: ConfigSource::DynamicDefaultBrokerConfig,
                }],
                value,
            }
        })
        .collect()
}

/// A text as its type is shown; one that does not parse stays as it is. A password is never shown.
fn shown(definition: &ConfigDef, text: &str) -> Option<String> {
    if definition.kind.is_sensitive() {
        return None;
    }
    Some(definition.parse_type(text).map_or_else(|_| text.to_owned(), |value| value.to_string()))
}

struct Layers<'a> {
    own: &'a ConfigMap,
    default: &'a ConfigMap,
    static_config: &'a BTreeMap<String, String>,
}

impl Layers<'_> {
    fn describe(&self, key: &BrokerKey) -> ConfigEntry {
        let definition = &key.definition;
        let sensitive = definition.kind.is_sensitive();
        let value = self.value(definition.name, key.update_mode).and_then(|text| shown(definition, text));
        let synonyms = self.synonyms(definition.name, sensitive);
        ConfigEntry {
            name: definition.name.to_owned(),
            value,
            source: synonyms.first().map_or(ConfigSource::DefaultConfig, |synonym| synonym.source),
            read_only: key.update_mode == UpdateMode::ReadOnly,
            sensitive,
            kind: Some(definition.kind),
            synonyms,
        }
    }

    fn value(&self, name: &str, update_mode: UpdateMode) -> Option<&str> {
        let dynamic = (update_mode != UpdateMode::ReadOnly)
            .then(|| self.own.get(name).or_else(|| self.default.get(name)))
            .flatten()
            .map(|value| &**value);
        dynamic
            .or_else(|| self.static_config.get(name).map(String::as_str))
            .or_else(|| broker_key(name).and_then(|key| key.definition.default))
    }

    fn synonyms(&self, name: &str, sensitive: bool) -> Vec<ConfigSynonym> {
        let names = synonym_names(name);
        let sources = [
            ConfigSource::DynamicBrokerConfig,
            ConfigSource::DynamicDefaultBrokerConfig,
            ConfigSource::StaticBrokerConfig,
            ConfigSource::DefaultConfig,
        ];
        let mut synonyms = Vec::new();
        for source in sources {
            for synonym in &names {
                let value = match source {
                    ConfigSource::DynamicBrokerConfig => self.own.get(*synonym).map(|value| &**value),
                    ConfigSource::DynamicDefaultBrokerConfig => self.default.get(*synonym).map(|value| &**value),
                    ConfigSource::StaticBrokerConfig => self.static_config.get(*synonym).map(String::as_str),
                    _ => broker_key(synonym).and_then(|key| key.definition.default),
                };
                if let Some(value) = value {
                    synonyms.push(ConfigSynonym {
                        name: (*synonym).to_owned(),
                        value: (!sensitive).then(|| value.to_owned()),
                        source,
                    });
                }
            }
        }
        // Kafka drops what stands before the key's own name, and with it all when the key itself has no value.
        synonyms.into_iter().skip_while(|synonym| synonym.name != name).collect()
    }
}
