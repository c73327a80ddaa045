//! Whether a topic may have a configuration (`LogConfig.validate`).

use crate::config_def::InvalidConfig;
use crate::image::ConfigMap;

use super::definitions::{DEFINITION_ORDER, definition};

/// Checks all keys that a topic would have: names first, then each value in the order of Kafka's definitions, then what
/// they say together. Where one of a pair is not set, its default counts (not what the broker is configured to).
pub fn validate(topic: &ConfigMap) -> Result<(), InvalidConfig> {
    if let Some(unknown) = topic.keys().find(|name| definition(name).is_none()) {
        return Err(InvalidConfig(format!("Unknown topic config name: {unknown}")));
    }
    for name in DEFINITION_ORDER {
        if let (Some(def), Some(value)) = (definition(name), topic.get(*name)) {
            def.parse(value)?;
        }
    }
    let value = |name: &str| {
        let def = definition(name)?;
        topic.get(name).and_then(|text| def.parse_type(text).ok()).or_else(|| def.default_value())
    };
    let long = |name: &str| value(name).and_then(|value| value.as_i64()).unwrap_or_default();
    let (min_lag, max_lag) = (long("min.compaction.lag.ms"), long("max.compaction.lag.ms"));
    if min_lag > max_lag {
        return Err(InvalidConfig(format!(
            "conflict topic config setting min.compaction.lag.ms ({min_lag}) > max.compaction.lag.ms ({max_lag})"
        )));
    }
    if value("remote.storage.enable").and_then(|value| value.as_bool()) == Some(true) {
        return Err(InvalidConfig(
            "Tiered Storage functionality is disabled in the broker. \
             Topic cannot be configured with remote log storage."
                .to_owned(),
        ));
    }
    Ok(())
}
