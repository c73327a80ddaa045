//! The first records of a fresh cluster.
//!
//! As `BootstrapMetadata` and `ActivationRecordsGenerator` write them, as far as the features are served:
//! metadata.version 30 (4.3-IV0), then eligible.leader.replicas.version 1 and, because of it, the cluster-wide
//! `min.insync.replicas` that the controller's static configuration has.

use std::collections::BTreeMap;

use crate::image::{ConfigResourceType, ELIGIBLE_LEADER_REPLICAS_VERSION, METADATA_VERSION};
use crate::record::{ConfigRecord, FeatureLevelRecord, Record};

/// The records that a cluster begins with.
pub fn bootstrap_records(static_config: &BTreeMap<String, String>) -> Vec<Record> {
    let min_insync_replicas = static_config.get("min.insync.replicas").map_or("1", |value| value.trim());
    vec![
        Record::FeatureLevel(FeatureLevelRecord { name: METADATA_VERSION.into(), feature_level: 30 }),
        Record::FeatureLevel(FeatureLevelRecord { name: ELIGIBLE_LEADER_REPLICAS_VERSION.into(), feature_level: 1 }),
        Record::Config(ConfigRecord {
            resource_type: ConfigResourceType::Broker.id(),
            resource_name: "".into(),
            name: "min.insync.replicas".into(),
            value: Some(min_insync_replicas.into()),
        }),
    ]
}
