//! Text to typed values, checked by a key's type and validator, in the words of Kafka's `ConfigDef`.
//!
//! One thing is kinder than in Kafka: empty items of a list are dropped (some tools write a trailing comma).

use std::collections::BTreeMap;

use milena_metadata::config_def::{ConfigDef, ConfigType, Validator, Value};

use super::{ConfigError, broker_keys::broker_keys};

/// The value of every key that Kafka defines: the one that was set, else the default.
#[derive(Debug, Clone)]
pub(super) struct Values(BTreeMap<&'static str, Option<Value>>);

impl Values {
    /// Parses and validates what was set; keys that Kafka does not define are passed over.
    pub(super) fn parse(set: &BTreeMap<String, String>) -> Result<Self, ConfigError> {
        let mut values = BTreeMap::new();
        for key in broker_keys() {
            let definition = &key.definition;
            let text = set.get(definition.name).map(String::as_str).or(definition.default);
            values.insert(definition.name, text.map(|text| parse(definition, text)).transpose()?);
        }
        Ok(Self(values))
    }

    fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).unwrap_or_else(|| panic!("{name} is not in broker_keys.txt")).as_ref()
    }

    pub(super) fn boolean(&self, name: &str) -> bool {
        self.get(name).and_then(Value::as_bool).unwrap_or_else(|| panic!("{name} is not a boolean with a default"))
    }

    pub(super) fn optional_long(&self, name: &str) -> Option<i64> {
        self.get(name).and_then(Value::as_i64)
    }

    /// A number of any width; its type has bounded it.
    pub(super) fn long(&self, name: &str) -> i64 {
        self.optional_long(name).unwrap_or_else(|| panic!("{name} is not a number with a default"))
    }

    pub(super) fn int(&self, name: &str) -> i32 {
        self.long(name) as i32
    }

    pub(super) fn short(&self, name: &str) -> i16 {
        self.long(name) as i16
    }

    pub(super) fn optional_text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(Value::as_str)
    }

    pub(super) fn text(&self, name: &str) -> &str {
        self.optional_text(name).unwrap_or_else(|| panic!("{name} is not a text with a default"))
    }

    pub(super) fn optional_list(&self, name: &str) -> Option<&[String]> {
        self.get(name).and_then(Value::as_list)
    }

    pub(super) fn list(&self, name: &str) -> &[String] {
        self.optional_list(name).unwrap_or_default()
    }
}

/// Splits as Kafka's LIST does, without empty items and without repetitions.
pub(super) fn split_list(text: &str) -> Vec<String> {
    let mut items: Vec<String> = Vec::new();
    for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        if !items.iter().any(|known| known == item) {
            items.push(item.to_owned());
        }
    }
    items
}

/// Parses and validates one value.
pub(super) fn parse(definition: &ConfigDef, text: &str) -> Result<Value, ConfigError> {
    if definition.kind != ConfigType::List {
        return definition.parse(text).map_err(|invalid| ConfigError::Invalid(invalid.0));
    }
    let items = split_list(text);
    if items.is_empty()
        && let Validator::List { allowed: [], empty_allowed: false } = definition.validator
    {
        return Err(ConfigError::Invalid(format!(
            "Configuration '{}' must not be empty. Valid values include: any non-empty value",
            definition.name
        )));
    }
    definition.parse(&items.join(",")).map_err(|invalid| ConfigError::Invalid(invalid.0))
}
