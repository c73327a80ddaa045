//! The keys that Kafka defines for a broker: type, default, validator and whether they may change at runtime.
//!
//! The facts are in `broker_keys.txt`, taken from Kafka 4.3.1's own definition; this file reads them once.
//! Absent: what a key means here, which `key_classes` says.

use std::{collections::BTreeMap, sync::LazyLock};

use milena_metadata::config_def::{ConfigDef, ConfigType, Validator};

/// Whether a key may be altered while the broker runs, and for whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpdateMode {
    /// Only at start.
    ReadOnly,
    /// For one broker, or for all of them where the key carries no listener prefix.
    PerBroker,
    /// For one broker or as the default of all.
    ClusterWide,
}

/// One key of the broker's configuration.
#[derive(Debug, Clone, Copy)]
pub struct BrokerKey {
    /// Name, type, default and validator.
    pub definition: ConfigDef,
    /// Whether it is dynamic.
    pub update_mode: UpdateMode,
    /// Understood, but never described.
    pub internal: bool,
}

impl BrokerKey {
    fn parse(line: &'static str) -> Option<Self> {
        let mut fields = line.split('\t');
        let name = fields.next()?;
        let (name, internal) = name.strip_suffix('*').map_or((name, false), |name| (name, true));
        let kind = config_type(fields.next()?)?;
        let update_mode = match fields.next()? {
            "read-only" => UpdateMode::ReadOnly,
            "per-broker" => UpdateMode::PerBroker,
            "cluster-wide" => UpdateMode::ClusterWide,
            _ => return None,
        };
        let validator = validator(kind, fields.next()?)?;
        let default = fields.next()?.strip_prefix('=');
        Some(Self { definition: ConfigDef::new(name, kind, default).valid(validator), update_mode, internal })
    }
}

fn config_type(name: &str) -> Option<ConfigType> {
    use ConfigType::{Boolean, Class, Double, Int, List, Long, Password, Short, String};
    [Boolean, String, Int, Short, Long, Double, List, Class, Password].into_iter().find(|kind| kind.name() == name)
}

fn validator(kind: ConfigType, text: &'static str) -> Option<Validator> {
    let (name, arguments) = text.split_once(':').unwrap_or((text, ""));
    // The table is read once, and its lists live as long as the process.
    let values = || -> &'static [&'static str] {
        arguments.split(',').filter(|value| !value.is_empty()).collect::<Vec<_>>().leak()
    };
    Some(match name {
        "-" => Validator::None,
        "range" => match arguments.split_once(':')? {
            (min, "") if kind == ConfigType::Double => Validator::AtLeastDouble(min.parse().ok()?),
            (min, max) if kind == ConfigType::Double => Validator::BetweenDouble(min.parse().ok()?, max.parse().ok()?),
            (min, "") => Validator::AtLeast(min.parse().ok()?),
            (min, max) => Validator::Between(min.parse().ok()?, max.parse().ok()?),
        },
        "one-of" => Validator::OneOf(values()),
        "one-of-any-case" => Validator::OneOfIgnoringCase(values()),
        "gzip-level" => Validator::Custom(|_, value| match value.as_i64() {
            Some(-1 | 1..=9) => Ok(()),
            _ => Err("Value must be between 1 and 9 or equal to -1".to_owned()),
        }),
        "non-empty" => Validator::NonEmpty,
        "list" => Validator::List { allowed: values(), empty_allowed: true },
        "list!" => Validator::List { allowed: values(), empty_allowed: false },
        _ => return None,
    })
}

static KEYS: LazyLock<BTreeMap<&'static str, BrokerKey>> = LazyLock::new(|| {
    include_str!("broker_keys.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| BrokerKey::parse(line).expect("broker_keys.txt is well formed"))
        .map(|key| (key.definition.name, key))
        .collect()
});

/// The key of this name, `None` if Kafka does not know it.
pub fn broker_key(name: &str) -> Option<&'static BrokerKey> {
    KEYS.get(name)
}

/// The key that a name is about: `listener.name.<listener>.<key>`, for some keys of SASL
/// `listener.name.<listener>.<mechanism>.<key>`, else the name itself.
pub(super) fn base_name(name: &str) -> &str {
    let Some((_, base)) = name.strip_prefix("listener.name.").and_then(|rest| rest.split_once('.')) else {
        return name;
    };
    PER_MECHANISM
        .into_iter()
        .find(|key| base.strip_suffix(key).is_some_and(|mechanism| mechanism.ends_with('.')))
        .unwrap_or(base)
}

/// `LISTENER_MECHANISM_CONFIGS`.
const PER_MECHANISM: [&str; 5] = [
    "sasl.server.callback.handler.class",
    "connections.max.reauth.ms",
    "sasl.login.callback.handler.class",
    "sasl.jaas.config",
    "sasl.login.class",
];

/// The quota rates of replication: dynamic keys of a broker that no file may set.
pub(super) fn replication_rate(name: &str) -> Option<ConfigDef> {
    [
        "leader.replication.throttled.rate",
        "follower.replication.throttled.rate",
        "replica.alter.log.dirs.io.max.bytes.per.second",
    ]
    .into_iter()
    .find(|rate| *rate == name)
    .map(|rate| ConfigDef::new(rate, ConfigType::Long, None).valid(Validator::AtLeast(0)))
}

/// All keys in the order of their names, internal ones included.
pub fn broker_keys() -> impl Iterator<Item = &'static BrokerKey> {
    KEYS.values()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_keys_as_a_broker_of_4_3_1_describes() {
        let described = || broker_keys().filter(|key| !key.internal);
        assert_eq!(described().count(), 340);
        assert_eq!(described().filter(|key| key.update_mode != UpdateMode::ReadOnly).count(), 99);
        assert_eq!(broker_key("message.max.bytes").unwrap().definition.default, Some("1048588"));
        assert_eq!(broker_key("advertised.listeners").unwrap().definition.default, None);
        assert_eq!(broker_key("authorizer.class.name").unwrap().definition.default, Some(""));
    }
}
