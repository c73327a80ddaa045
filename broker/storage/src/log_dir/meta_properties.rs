//! `meta.properties`: whose a log dir is.
//!
//! A Java properties file. Keys that are not known are kept and written again. Version 0 is that of a ZooKeeper-era broker. Source: `MetaProperties`,
//! `PropertiesUtils`.

use std::collections::BTreeMap;

use milena_protocol::kafka_uuid;
use uuid::Uuid;

/// `meta.properties`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaProperties {
    /// `version`: 1, or 0 for a directory of a ZooKeeper-era broker.
    pub version: i32,
    /// `cluster.id`.
    pub cluster_id: Option<String>,
    /// `node.id` (`broker.id` in version 0).
    pub node_id: Option<i32>,
    /// `directory.id`.
    pub directory_id: Option<Uuid>,
    /// Every other key, kept as it is.
    pub other: BTreeMap<String, String>,
}

impl MetaProperties {
    pub(super) fn decode(bytes: &[u8]) -> Result<MetaProperties, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
        let mut values: BTreeMap<String, String> = BTreeMap::new();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', '!'])) {
            let (key, value) = line.split_once(['=', ':']).ok_or_else(|| format!("malformed line {line:?}"))?;
            values.insert(key.trim().to_owned(), value.trim().replace('\\', ""));
        }
        let mut number = |key: &str| match values.remove(key) {
            None => Ok(None),
            Some(value) => value.parse().map(Some).map_err(|_| format!("{key} is {value:?}, which is no number")),
        };
        let version = number("version")?.ok_or("version is missing")?;
        let (node_id, broker_id) = (number("node.id")?, number("broker.id")?);
        if !(0..=1).contains(&version) {
            return Err(format!("unknown version {version}"));
        }
        let directory_id = match values.remove("directory.id") {
            None => None,
            Some(text) => {
                Some(kafka_uuid::decode(&text).ok_or_else(|| format!("directory.id is {text:?}, which is no id"))?)
            }
        };
        let cluster_id = values.remove("cluster.id");
        Ok(MetaProperties { version, cluster_id, node_id: node_id.or(broker_id), directory_id, other: values })
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut lines = vec!["#".to_owned()];
        let node_id_key = if self.version == 0 { "broker.id" } else { "node.id" };
        let pairs = [
            ("version", Some(self.version.to_string())),
            ("cluster.id", self.cluster_id.clone()),
            (node_id_key, self.node_id.map(|id| id.to_string())),
            ("directory.id", self.directory_id.map(kafka_uuid::encode)),
        ];
        lines.extend(pairs.into_iter().filter_map(|(key, value)| Some(format!("{key}={}", value?))));
        lines.extend(self.other.iter().map(|(key, value)| format!("{key}={value}")));
        (lines.join("\n") + "\n").into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_kafka_and_the_zookeeper_era_wrote() {
        let kafka = "#\n#Fri Nov 20 20:02:11 UTC 2026\ncluster.id=5L6g3nShT-eMCtK--X86sw\ndirectory.id=AAAAAAAAAAAAAAAAAAAACQ\nnode.id=3\nversion=1\n";
        let read = MetaProperties::decode(kafka.as_bytes()).unwrap();
        assert_eq!(read.cluster_id.as_deref(), Some("5L6g3nShT-eMCtK--X86sw"));
        assert_eq!((read.node_id, read.directory_id), (Some(3), Some(Uuid::from_u128(9))));
        let old = MetaProperties::decode(b"version=0\nbroker.id=5\n").unwrap();
        assert_eq!((old.version, old.node_id, old.directory_id), (0, Some(5), None));
        assert!(MetaProperties::decode(b"node.id=3\n").is_err());
        assert!(MetaProperties::decode(b"version=1\nnode.id=x\n").is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            _ = MetaProperties::decode(&bytes);
        }
    }
}
