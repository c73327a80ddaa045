//! DescribeConfigs for a broker: every key with its value, where it comes from and what would apply without it.
//!
//! `ConfigHelper.createBrokerConfigEntry` and `DynamicBrokerConfig.brokerConfigSynonyms` of 4.3.1.
//! Absent: topics (`milena_metadata::topic_config`), filtering by the names that were asked for.

use std::collections::{BTreeMap, BTreeSet};

use milena_metadata::{ConfigDef, ConfigType, MetadataImage, image::ConfigMap, topic_config::ConfigSource};

use super::broker_keys::{UpdateMode, base_name, broker_key, broker_keys, replication_rate};

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
    /// A password, or a key that Kafka does not define.
    pub sensitive: bool,
    /// The type; `None` for a key that Kafka does not define.
    pub kind: Option<ConfigType>,
    /// The layers that have a value, the strongest first.
    pub synonyms: Vec<ConfigSynonym>,
}

/// Keys that stand in for one another, in the order in which `DynamicBrokerConfig.brokerConfigSynonyms` asks them.
pub(super) fn synonym_names(name: &str) -> Vec<&str> {
    match name {
        "log.roll.ms" | "log.roll.hours" => vec!["log.roll.ms", "log.roll.hours"],
        "log.roll.jitter.ms" | "log.roll.jitter.hours" => vec!["log.roll.jitter.ms", "log.roll.jitter.hours"],
        "log.flush.interval.ms" => vec!["log.flush.interval.ms", "log.flush.scheduler.interval.ms"],
        "log.retention.ms" | "log.retention.minutes" | "log.retention.hours" => {
            vec!["log.retention.ms", "log.retention.minutes", "log.retention.hours"]
        }
        name => {
            let base = base_name(name);
            if base == name { vec![name] } else { vec![name, base] }
        }
    }
}

/// All described keys of the broker `node_id`, ordered by name: those that Kafka defines, and whatever else was set.
pub fn describe_broker(
    image: &MetadataImage,
    node_id: i32,
    static_config: &BTreeMap<String, String>,
) -> Vec<ConfigEntry> {
    let layers = Layers { own: image.configs.broker(node_id), default: image.configs.default_broker(), static_config };
    let defined = broker_keys().filter(|key| !key.internal).map(|key| key.definition.name);
    let set = static_config.keys().map(String::as_str);
    let dynamic = layers.own.keys().chain(layers.default.keys()).map(|name| &**name);
    let names: BTreeSet<&str> = defined.chain(set).chain(dynamic).collect();
    names.into_iter().map(|name| layers.describe(name)).collect()
}

/// What is set for all brokers (resource name ""), ordered by name.
pub fn describe_default_broker(image: &MetadataImage) -> Vec<ConfigEntry> {
    let source = ConfigSource::DynamicDefaultBrokerConfig;
    let configs = image.configs.default_broker();
    configs
        .iter()
        .map(|(name, value)| {
            let definition = definition(name);
            let value = definition.and_then(|definition| shown(&definition, value));
            ConfigEntry {
                name: name.to_string(),
                source,
                read_only: !is_dynamic(name),
                sensitive: is_sensitive(definition.as_ref()),
                kind: definition.map(|definition| definition.kind),
                synonyms: vec![ConfigSynonym { name: name.to_string(), value: value.clone(), source }],
                value,
            }
        })
        .collect()
}

/// What a name is about: `listener.name.<listener>.<key>` and `listener.name.<listener>.<mechanism>.<key>` are about
/// `<key>`; the replication rates are defined as dynamic keys only.
fn definition(name: &str) -> Option<ConfigDef> {
    if let Some(rate) = replication_rate(name) {
        return Some(rate);
    }
    broker_key(base_name(name)).map(|key| key.definition)
}

fn is_dynamic(name: &str) -> bool {
    replication_rate(name).is_some() || broker_key(name).is_some_and(|key| key.update_mode != UpdateMode::ReadOnly)
}

/// A key whose type is not known may hold a secret.
fn is_sensitive(definition: Option<&ConfigDef>) -> bool {
    definition.is_none_or(|definition| definition.kind.is_sensitive())
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
    fn describe(&self, name: &str) -> ConfigEntry {
        let definition = definition(name);
        let sensitive = is_sensitive(definition.as_ref());
        let value = definition.and_then(|definition| shown(&definition, self.value(name)?));
        let synonyms = self.synonyms(name, sensitive);
        ConfigEntry {
            name: name.to_owned(),
            value,
            source: synonyms.first().map_or(ConfigSource::DefaultConfig, |synonym| synonym.source),
            read_only: !is_dynamic(name),
            sensitive,
            kind: definition.map(|definition| definition.kind),
            synonyms,
        }
    }

    /// The value in force. A dynamic value takes the static ones of its synonyms out of force (`overrideProps`).
    fn value(&self, name: &str) -> Option<&str> {
        let dynamic = |name: &str| self.own.get(name).or_else(|| self.default.get(name));
        let default = || broker_key(name).and_then(|key| key.definition.default);
        if let Some(value) = dynamic(name) {
            return Some(&**value);
        }
        if synonym_names(name).iter().any(|synonym| dynamic(synonym).is_some()) {
            return default();
        }
        self.static_config.get(name).map(String::as_str).or_else(default)
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
