//! Whether a topic may have a configuration (`LogConfig.validate`).

use crate::config_def::InvalidConfig;
use crate::image::ConfigMap;

use super::Layers;
use super::definitions::definition;

/// Checks all keys that a topic would have: names first, then each value, then what they say together.
pub fn validate(topic: &ConfigMap, _layers: &Layers<'_>) -> Result<(), InvalidConfig> {
    if let Some(unknown) = topic.keys().find(|name| definition(name).is_none()) {
        return Err(InvalidConfig(format!("Unknown topic config name: {unknown}")));
    }
    for (name, value) in topic {
        if let Some(def) = definition(name) {
            def.parse(value)?;
        }
    }
    Ok(())
}
