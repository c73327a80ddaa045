//! What is in force for a topic, and where it comes from.
//!
//! Kafka answers this question twice and not quite alike. [`resolve`] is `KafkaConfigSchema` (CreateTopics v5+): the
//! first synonym found in the strongest layer names the source, converted to the topic key's unit. [`describe`] is
//! `ConfigHelper` (DescribeConfigs): the list of synonyms begins at the topic key's *first* broker key, so a retention
//! that comes from `log.retention.hours` alone is answered as a default without synonyms.

use std::collections::BTreeMap;

use crate::config_def::{ConfigDef, Value};
use crate::image::ConfigMap;

use super::definitions::{INTERNAL_SEGMENT_BYTES, TOPIC_CONFIGS, Unit, definition, server_default, synonyms};
use super::{ConfigSource, Layers};

/// A key of a topic as CreateTopics answers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedConfig {
    /// The topic's key.
    pub name: &'static str,
    /// Its value.
    pub value: String,
    /// Where the value comes from.
    pub source: ConfigSource,
}

/// A key of a topic as DescribeConfigs answers it. No topic key is sensitive or read-only.
#[derive(Debug, Clone)]
pub struct EffectiveConfig {
    /// The definition: name, type, documentation.
    pub definition: &'static ConfigDef,
    /// The value in force.
    pub value: String,
    /// Where it comes from, as Kafka sees it (see the module's header).
    pub source: ConfigSource,
    /// (key, value, source), the strongest first.
    pub synonyms: Vec<(String, String, ConfigSource)>,
}

/// The parsed values in force for a topic.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicConfigs {
    values: BTreeMap<&'static str, Value>,
}

impl TopicConfigs {
    /// What is in force for a topic with these keys of its own. A stored value that does not parse (written before
    /// the key had its present type) gives way to the layer below.
    pub fn new(topic: &ConfigMap, layers: &Layers<'_>) -> Self {
        let mut values: BTreeMap<_, _> =
            TOPIC_CONFIGS.iter().map(|def| (def.name, effective_value(def, topic, layers))).collect();
        if let Some(value) = own_value(topic, INTERNAL_SEGMENT_BYTES) {
            values.insert(INTERNAL_SEGMENT_BYTES, value);
        }
        TopicConfigs { values }
    }

    /// The value of a key; None for a key that is not a topic's (or `internal.segment.bytes` when it is not set).
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    /// The value of an INT or LONG; 0 for any other key.
    pub fn long(&self, name: &str) -> i64 {
        self.get(name).and_then(Value::as_i64).unwrap_or_default()
    }

    /// The value of a BOOLEAN; false for any other key.
    pub fn boolean(&self, name: &str) -> bool {
        self.get(name).and_then(Value::as_bool).unwrap_or_default()
    }

    /// The value of a DOUBLE; 0 for any other key.
    pub fn double(&self, name: &str) -> f64 {
        self.get(name).and_then(Value::as_f64).unwrap_or_default()
    }

    /// The value of a STRING; empty for any other key.
    pub fn string(&self, name: &str) -> &str {
        self.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// The value of a LIST; empty for any other key.
    pub fn list(&self, name: &str) -> &[String] {
        self.get(name).and_then(Value::as_list).unwrap_or_default()
    }
}

/// One value in force, where the others are not needed; None for a key that is not a topic's.
pub fn effective(name: &str, topic: &ConfigMap, layers: &Layers<'_>) -> Option<Value> {
    definition(name).map(|def| effective_value(def, topic, layers))
}

/// The 33 keys as CreateTopics answers them, sorted by name, for a topic with these keys of its own.
pub fn resolve(topic: &ConfigMap, layers: &Layers<'_>) -> Vec<ResolvedConfig> {
    TOPIC_CONFIGS
        .iter()
        .map(|def| {
            let (value, source) = resolve_one(def, topic, layers);
            ResolvedConfig { name: def.name, value, source }
        })
        .collect()
}

fn resolve_one(def: &ConfigDef, topic: &ConfigMap, layers: &Layers<'_>) -> (String, ConfigSource) {
    if let Some(value) = topic.get(def.name) {
        return (value.to_string(), ConfigSource::DynamicTopicConfig);
    }
    for (source, get) in layers.by_strength() {
        for synonym in synonyms(def.name) {
            if let Some(value) = get(synonym.name) {
                return (convert(value, synonym.unit), source);
            }
        }
    }
    (def.default.unwrap_or_default().to_owned(), ConfigSource::DefaultConfig)
}

/// A broker's value in the unit of the topic's key; one that is no number stays as it is.
fn convert(value: &str, unit: Unit) -> String {
    let scale = match unit {
        Unit::Same => return value.to_owned(),
        Unit::MinutesToMs => 60_000,
        Unit::HoursToMs => 3_600_000,
    };
    value.trim().parse::<i64>().map_or_else(|_| value.to_owned(), |number| number.saturating_mul(scale).to_string())
}

/// The keys as DescribeConfigs answers them, sorted by name, for a topic with these keys of its own.
pub fn describe(topic: &ConfigMap, layers: &Layers<'_>) -> Vec<EffectiveConfig> {
    let internal = definition(INTERNAL_SEGMENT_BYTES).filter(|def| topic.contains_key(def.name));
    let mut configs: Vec<_> =
        TOPIC_CONFIGS.iter().chain(internal).map(|def| describe_one(def, topic, layers)).collect();
    configs.sort_by_key(|config| config.definition.name);
    configs
}

fn describe_one(definition: &'static ConfigDef, topic: &ConfigMap, layers: &Layers<'_>) -> EffectiveConfig {
    let value =
        own_value(topic, definition.name).unwrap_or_else(|| effective_value(definition, topic, layers)).to_string();
    let keys = synonyms(definition.name);
    let mut found = Vec::new();
    for (source, get) in layers.by_strength() {
        for key in keys {
            if let Some(value) = get(key.name) {
                found.push((key.name.to_owned(), value.to_owned(), source));
            }
        }
    }
    for key in keys {
        if let Some(value) = server_default(key.name) {
            found.push((key.name.to_owned(), value.to_owned(), ConfigSource::DefaultConfig));
        }
    }
    let first = keys.first().map_or("", |key| key.name);
    let mut synonyms: Vec<_> = found.into_iter().skip_while(|(name, _, _)| name != first).collect();
    if topic.contains_key(definition.name) {
        synonyms.insert(0, (definition.name.to_owned(), value.clone(), ConfigSource::DynamicTopicConfig));
    }
    let source = synonyms.first().map_or(ConfigSource::DefaultConfig, |(_, _, source)| *source);
    EffectiveConfig { definition, value, source, synonyms }
}

fn own_value(topic: &ConfigMap, name: &str) -> Option<Value> {
    definition(name)?.parse_type(topic.get(name)?).ok()
}

/// The value that acts: of two broker keys for one topic key the finer one wins (ms before minutes before hours), each
/// as the strongest layer has it; -1 stays -1 in every unit.
fn effective_value(def: &ConfigDef, topic: &ConfigMap, layers: &Layers<'_>) -> Value {
    if let Some(value) = own_value(topic, def.name) {
        return value;
    }
    for synonym in synonyms(def.name) {
        for (_, get) in layers.by_strength() {
            let Some(text) = get(synonym.name) else { continue };
            if let Ok(value) = def.parse_type(&convert(text, synonym.unit)) {
                return match value {
                    Value::Long(number) if synonym.unit != Unit::Same && number < 0 => Value::Long(-1),
                    value => value,
                };
            }
        }
    }
    def.default_value().unwrap_or(Value::Int(0))
}

impl<'a> Layers<'a> {
    /// The layers with their sources, the strongest first.
    fn by_strength(&self) -> [(ConfigSource, impl Fn(&str) -> Option<&'a str> + use<'a>); 3] {
        enum Layer<'a> {
            Dynamic(&'a ConfigMap),
            Static(&'a BTreeMap<String, String>),
        }
        fn lookup<'a>(layer: Layer<'a>) -> impl Fn(&str) -> Option<&'a str> + use<'a> {
            move |key: &str| match &layer {
                Layer::Dynamic(configs) => configs.get(key).map(|value| &**value),
                Layer::Static(configs) => configs.get(key).map(String::as_str),
            }
        }
        [
            (ConfigSource::DynamicBrokerConfig, lookup(Layer::Dynamic(self.dynamic_broker))),
            (ConfigSource::DynamicDefaultBrokerConfig, lookup(Layer::Dynamic(self.dynamic_default))),
            (ConfigSource::StaticBrokerConfig, lookup(Layer::Static(self.static_config))),
        ]
    }
}
