//! Keys of the ZooKeeper era and keys that Kafka removed: translated where a file of that time still can be honoured.
//!
//! A file without `process.roles` starts as one combined node, whatever it says about ZooKeeper.

use std::collections::BTreeMap;

use super::{ConfigError, shipped::Unset};

/// Rewrites the set into today's keys; returns one warning for each thing that a person should know.
pub(super) fn translate(set: &mut BTreeMap<String, String>, unset: Unset) -> Result<Vec<String>, ConfigError> {
    let mut warnings = Vec::new();
    if set.contains_key("zookeeper.connect") {
        let how = if set.contains_key("process.roles") {
            "this node keeps the metadata itself"
        } else {
            "without process.roles this node starts as broker and controller and keeps the metadata itself"
        };
        warnings.push(format!(
            "zookeeper.connect belongs to Kafka before 4.0 and is ignored: {how}; nothing is read from ZooKeeper"
        ));
    }
    node_id(set, &mut warnings)?;
    listeners(set, unset, &mut warnings);
    if let Some(secret) = set.get("delegation.token.master.key").cloned() {
        warnings.push("delegation.token.master.key was renamed: it is taken as delegation.token.secret.key".to_owned());
        set.entry("delegation.token.secret.key".to_owned()).or_insert(secret);
    }
    Ok(warnings)
}

/// `broker.id` is a synonym of `node.id`; the -1 of old files asked ZooKeeper for a number.
fn node_id(set: &mut BTreeMap<String, String>, warnings: &mut Vec<String>) -> Result<(), ConfigError> {
    if set.get("broker.id").is_some_and(|id| id.trim() == "-1") {
        set.remove("broker.id");
        if !set.contains_key("node.id") {
            warnings.push("broker.id=-1 asked ZooKeeper for a number: this node takes node.id=1".to_owned());
        }
    }
    match (set.get("node.id").map(|id| id.trim()), set.get("broker.id").map(|id| id.trim())) {
        (Some(node), Some(broker)) if node != broker => {
            Err(ConfigError::Invalid("You must set `node.id` to the same value as `broker.id`.".to_owned()))
        }
        (None, Some(broker)) => {
            let broker = broker.to_owned();
            set.insert("node.id".to_owned(), broker);
            Ok(())
        }
        _ => Ok(()),
    }
}

/// `host.name`, `port` and their advertised forms, where today's keys are not set.
fn listeners(set: &mut BTreeMap<String, String>, unset: Unset, warnings: &mut Vec<String>) {
    let value = |key: &str| set.get(key).map(|value| value.trim().to_owned());
    let (host, port) = (value("host.name"), value("port"));
    let (advertised_host, advertised_port) = (value("advertised.host.name"), value("advertised.port"));
    let mut translate = |keys: &str, key: &str, text: String| {
        if set.contains_key(key) {
            warnings.push(format!("{keys} were removed in Kafka 3.0 and are ignored: {key} is set"));
        } else if unset == Unset::LoopbackListeners && key == "listeners" {
            warnings.push(format!("{keys} were removed in Kafka 3.0 and are ignored: set listeners instead"));
        } else {
            warnings.push(format!("{keys} were removed in Kafka 3.0: they are taken as {key}={text}"));
            set.insert(key.to_owned(), text);
        }
    };
    let bound_port = port.clone().unwrap_or_else(|| "9092".to_owned());
    if host.is_some() || port.is_some() {
        let text = format!("PLAINTEXT://{}:{bound_port}", bracketed(&host.clone().unwrap_or_default()));
        translate("host.name and port", "listeners", text);
    }
    if advertised_host.is_some() || advertised_port.is_some() {
        let host = advertised_host.or(host).unwrap_or_default();
        let text = format!("PLAINTEXT://{}:{}", bracketed(&host), advertised_port.unwrap_or(bound_port));
        translate("advertised.host.name and advertised.port", "advertised.listeners", text);
    }
}

fn bracketed(host: &str) -> String {
    if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() }
}
