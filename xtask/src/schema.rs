//! `cargo xtask schema`: writes `protocol/src/schema/table.txt` from the message JSON inside Kafka's jars.
//!
//! The table holds every request, response, header, record and coordinator message of Apache Kafka 4.3.1, and for the
//! clients' messages also the versions that 4.0 removed (KIP-896), taken from the JSON of 3.9.1. It is committed, so a
//! build needs neither jars nor Java. The grammar is documented where it is parsed, in `protocol/src/schema.rs`.
//!
//! Before writing, every version of every source message is projected out of the merged one and compared: a merge
//! that would change one byte on the wire is an error, not a table.

mod jars;
mod json;
mod merge;
mod message;
mod render;

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::Path;

use message::Message;

/// The release whose messages are the specification.
const CURRENT: &str = "4.3.1";
/// The last release that still had the versions removed by KIP-896.
const LAST_WITH_OLD_VERSIONS: &str = "3.9.1";

/// The jars of the current release that carry message JSON, besides the clients' own.
const OTHER_JARS: [&str; 6] = [
    "kafka-group-coordinator",
    "kafka-transaction-coordinator",
    "kafka-share-coordinator",
    "kafka-metadata",
    "kafka-raft",
    "kafka-storage",
];

/// Where the table lives, seen from the workspace's root.
pub(crate) const TABLE: &str = "protocol/src/schema/table.txt";

/// Makes the table anew and writes it below `workspace`. Jars are kept in `target/kafka-jars` between runs.
pub(crate) fn run(workspace: &Path) -> Result<(), Box<dyn Error>> {
    fs::write(workspace.join(TABLE), table(workspace)?)?;
    Ok(())
}

/// The table's text.
fn table(workspace: &Path) -> Result<String, Box<dyn Error>> {
    let cache = workspace.join("target/kafka-jars");
    let current = messages_of(&cache, "kafka-clients", CURRENT)?;
    let mut old = messages_of(&cache, "kafka-clients", LAST_WITH_OLD_VERSIONS)?;

    let mut messages = Vec::new();
    for (name, message) in current {
        // A message that 4.3.1 keeps without any valid version was spoken between brokers and ZooKeeper's controller.
        let Some(versions) = message.versions else { continue };
        let merged = match old.remove(&name) {
            Some(old) => merge::merge(&old, &message)?,
            None => message,
        };
        messages.push((merged, versions));
    }
    for artifact in OTHER_JARS {
        for message in messages_of(&cache, artifact, CURRENT)?.into_values() {
            let Some(versions) = message.versions else { continue };
            messages.push((message, versions));
        }
    }
    messages.sort_by_key(|(message, _)| message.sort_key());
    Ok(render::table(&messages, CURRENT, LAST_WITH_OLD_VERSIONS))
}

fn messages_of(cache: &Path, artifact: &str, version: &str) -> Result<BTreeMap<String, Message>, Box<dyn Error>> {
    let jar = jars::jar(cache, artifact, version)?;
    let mut messages = BTreeMap::new();
    for (file, text) in jars::message_files(&jar)? {
        let parsed = json::message(&text).map_err(|error| format!("{artifact} {version}, {file}: {error}"))?;
        if let Some(message) = parsed {
            messages.insert(message.name.clone(), message);
        }
    }
    Ok(messages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[ignore = "fetches jars with Maven"]
    fn the_committed_table_is_what_the_jars_say() {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let committed = fs::read_to_string(workspace.join(TABLE)).unwrap();
        assert!(table(workspace).unwrap() == committed, "run `cargo xtask schema` and look at the difference");
    }
}
