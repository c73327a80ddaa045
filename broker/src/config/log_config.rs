//! The effective configuration of a topic as `milena-storage` takes it.

use milena_metadata::{
    image::ConfigMap,
    topic_config::{self, Layers, TopicConfigs},
};
use milena_storage::LogConfig;

/// What acts on the logs of a topic with these dynamic configs of its own. Values that do not parse give way to the
/// layer below, as in [`TopicConfigs`].
pub fn log_config(topic: &ConfigMap, layers: &Layers<'_>) -> LogConfig {
    let configs = TopicConfigs::new(topic, layers);
    let texts: Vec<(&str, String)> = topic_config::TOPIC_CONFIGS
        .iter()
        .map(|definition| definition.name)
        .chain([topic_config::INTERNAL_SEGMENT_BYTES])
        .filter_map(|name| Some((name, configs.get(name)?.to_string())))
        .collect();
    let text = |key: &'static str| texts.iter().find(|(name, _)| *name == key).map(|(_, text)| text.as_str());
    LogConfig::parse(text).expect("texts of typed values parse")
}
