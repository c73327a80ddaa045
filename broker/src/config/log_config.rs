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

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use super::*;

    fn map(pairs: &[(&str, &str)]) -> ConfigMap {
        pairs.iter().map(|(key, value)| (Arc::from(*key), Arc::from(*value))).collect()
    }

    #[test]
    fn the_strongest_layer_that_has_a_value_gives_it() {
        let static_config: BTreeMap<String, String> =
            [("log.retention.hours", "2"), ("log.segment.bytes", "2000000"), ("log.roll.hours", "3")]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into();
        let dynamic_broker = map(&[("log.segment.bytes", "3000000")]);
        let dynamic_default = map(&[("log.segment.bytes", "4000000"), ("log.flush.interval.messages", "1")]);
        let layers = Layers {
            dynamic_broker: &dynamic_broker,
            dynamic_default: &dynamic_default,
            static_config: &static_config,
        };
        let topic = map(&[("segment.ms", "5"), ("cleanup.policy", "compact,delete")]);
        let config = log_config(&topic, &layers);
        assert_eq!(config.retention_ms, 7_200_000);
        assert_eq!(config.segment_bytes, 3_000_000);
        assert_eq!(config.segment_ms, 5);
        assert_eq!(config.flush_messages, 1);
        assert!(config.cleanup_policy.compact && config.cleanup_policy.delete);
        assert_eq!(config.index_interval_bytes, LogConfig::default().index_interval_bytes);
    }
}
