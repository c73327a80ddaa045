//! The configuration of topics: definitions, checks, and what is in force.
//!
//! The 33 keys of Kafka 4.3 and `internal.segment.bytes` (`LogConfig`), with the broker keys they inherit from
//! (`ServerTopicConfigSynonyms`). A topic's own value goes before a broker's dynamic one, the dynamic default of all
//! brokers, what stands in `server.properties`, and the default, in this order.

mod definitions;
mod inherit;
mod validate;

use std::collections::BTreeMap;

use crate::image::ConfigMap;

pub use definitions::{INTERNAL_SEGMENT_BYTES, Synonym, TOPIC_CONFIGS, Unit, definition, server_default, synonyms};
pub use inherit::{EffectiveConfig, ResolvedConfig, TopicConfigs, describe, effective, resolve};
pub use validate::validate;

/// Where a value comes from, with the numbers of DescribeConfigs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i8)]
#[expect(missing_docs, reason = "Kafka's names")]
pub enum ConfigSource {
    Unknown = 0,
    DynamicTopicConfig = 1,
    DynamicBrokerConfig = 2,
    DynamicDefaultBrokerConfig = 3,
    StaticBrokerConfig = 4,
    DefaultConfig = 5,
    DynamicBrokerLoggerConfig = 6,
    ClientMetricsConfig = 7,
    GroupConfig = 8,
}

impl ConfigSource {
    /// The number that DescribeConfigs answers.
    pub fn id(self) -> i8 {
        self as i8
    }
}

/// The broker configuration below a topic's own.
#[derive(Debug, Clone, Copy)]
pub struct Layers<'a> {
    /// Dynamic configuration of the broker itself.
    pub dynamic_broker: &'a ConfigMap,
    /// Dynamic default of all brokers.
    pub dynamic_default: &'a ConfigMap,
    /// What was set in `server.properties`.
    pub static_config: &'a BTreeMap<String, String>,
}
