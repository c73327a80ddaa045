//! Why a configuration was refused; each is one line for a person.

use std::path::PathBuf;

use super::properties::PropertiesError;

/// Why no [`ServerConfig`](super::ServerConfig) could be made. The text is one line, Kafka's own where Kafka refuses
/// the same thing.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The properties file cannot be read.
    #[error("cannot read the configuration file {path}: {source}")]
    Unreadable {
        /// The file as it was named.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The properties file is not a properties file.
    #[error("cannot read the configuration file {path}: {source}")]
    Malformed {
        /// The file as it was named.
        path: PathBuf,
        /// Where and why.
        source: PropertiesError,
    },
    /// A value that Kafka refuses too, in Kafka's words.
    #[error("{0}")]
    Invalid(String),
    /// A rule between keys that Kafka checks with `require`; where clients see it, Kafka says "requirement failed: " first.
    #[error("{0}")]
    Requirement(String),
    /// A value that Kafka takes and this broker cannot honour safely.
    #[error("{key}={value} is not supported: {reason}")]
    NotSupported {
        /// The configuration key.
        key: String,
        /// Its value.
        value: String,
        /// Why the broker must not start with it.
        reason: String,
    },
}

impl ConfigError {
    /// Kafka's `ConfigException(name, value, message)`.
    pub(crate) fn invalid_value(key: &str, value: &str, reason: &str) -> Self {
        if reason.is_empty() {
            Self::Invalid(format!("Invalid value {value} for configuration {key}"))
        } else {
            Self::Invalid(format!("Invalid value {value} for configuration {key}: {reason}"))
        }
    }
}
