//! The finalized feature levels.

use std::sync::Arc;

use imbl::OrdMap;

use crate::record::{FeatureLevelRecord, Record};

/// The feature that says which metadata records may be written.
pub const METADATA_VERSION: &str = "metadata.version";
/// The feature of KIP-966.
pub const ELIGIBLE_LEADER_REPLICAS_VERSION: &str = "eligible.leader.replicas.version";

/// What this version can serve: (feature, lowest level, highest level). What a broker registers with.
pub const SUPPORTED_FEATURES: &[(&str, i16, i16)] =
    &[(METADATA_VERSION, 7, 30), ("kraft.version", 0, 1), (ELIGIBLE_LEADER_REPLICAS_VERSION, 0, 1)];

/// The finalized feature levels. A feature at level 0 is not listed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FeaturesImage {
    pub(super) finalized: OrdMap<Arc<str>, i16>,
}

impl FeaturesImage {
    /// The finalized level of a feature; 0 when it is off.
    pub fn level(&self, name: &str) -> i16 {
        self.finalized.get(name).copied().unwrap_or(0)
    }

    /// The level of `metadata.version`.
    pub fn metadata_version(&self) -> i16 {
        self.level(METADATA_VERSION)
    }

    /// Whether eligible leader replicas are kept (KIP-966).
    pub fn elr_enabled(&self) -> bool {
        self.level(ELIGIBLE_LEADER_REPLICAS_VERSION) >= 1
    }

    /// A range of levels as Kafka's messages show it.
    pub(crate) fn range(min: i16, max: i16) -> String {
        if min == max { min.to_string() } else { format!("{min}-{max}") }
    }

    /// All finalized features, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, i16)> {
        self.finalized.iter().map(|(name, level)| (name, *level))
    }

    /// `metadata.version` first: it says how to read the rest.
    pub(super) fn records(&self, records: &mut Vec<Record>) {
        let record = |name: &Arc<str>, level: i16| {
            Record::FeatureLevel(FeatureLevelRecord { name: Arc::clone(name), feature_level: level })
        };
        records.extend(self.iter().filter(|(name, _)| &***name == METADATA_VERSION).map(|(n, l)| record(n, l)));
        records.extend(self.iter().filter(|(name, _)| &***name != METADATA_VERSION).map(|(n, l)| record(n, l)));
    }
}
