//! What this node was told: the properties file, the environment, the command line, and what was altered since.
//!
//! [`load()`] reads the layers (shipped values or a file, then `KAFKA_*`, then `--override`) into a [`ServerConfig`]:
//! typed, checked by Kafka's rules and in Kafka's words. [`BrokerSettings`] holds the values that requests read;
//! [`LiveConfig`] lays the dynamic configs of the metadata image over them and swaps the result.
//! [`describe_broker`] and [`validate_broker_alter`] are what DescribeConfigs and AlterConfigs say about a broker.
//!
//! A key that Kafka knows is honoured, named in one warning, or refused; nothing that promises security starts open.
//!
//! Absent: reading the wall clock, sockets, log directories.

pub mod broker_keys;
mod describe;
mod dynamic;
mod environment;
mod error;
mod key_classes;
mod legacy;
mod listeners;
mod load;
mod log_config;
pub mod properties;
mod rules;
mod server_config;
mod settings;
mod shipped;
mod values;

pub use describe::{ConfigEntry, ConfigSynonym, describe_broker, describe_default_broker};
pub use dynamic::{
    AlterOperation, Alteration, BrokerScope, InvalidAlteration, LiveConfig, validate_broker_alter,
    validate_broker_replace,
};
pub use error::ConfigError;
pub use listeners::{Advertised, Bind, Endpoint, Listener, SecurityProtocol};
pub use load::{Loaded, Sources, load};
pub use log_config::log_config;
pub use server_config::{ProcessRoles, QuorumConfig, ServerConfig, Voter};
pub use settings::{BrokerSettings, ListenerLimits};
