//! The feature versions of Kafka 4.3.1 (`MetadataVersion`, `Feature`), as `kafka-storage.sh` shows them.

/// A `metadata.version`: name, level, and the release name that stands for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MetadataVersion {
    pub(super) name: &'static str,
    pub(super) level: i16,
}

/// All of them, the lowest first; the last one is not stable yet.
const METADATA_VERSIONS: [&str; 25] = [
    "3.3-IV3", "3.4-IV0", "3.5-IV0", "3.5-IV1", "3.5-IV2", "3.6-IV0", "3.6-IV1", "3.6-IV2", "3.7-IV0", "3.7-IV1",
    "3.7-IV2", "3.7-IV3", "3.7-IV4", "3.8-IV0", "3.9-IV0", "4.0-IV0", "4.0-IV1", "4.0-IV2", "4.0-IV3", "4.1-IV0",
    "4.1-IV1", "4.2-IV0", "4.2-IV1", "4.3-IV0", "4.4-IV0",
];
const LOWEST_LEVEL: i16 = 7;

/// The one that a new cluster gets.
pub(super) const LATEST: MetadataVersion = MetadataVersion { name: "4.3-IV0", level: 30 };

/// Features beside `metadata.version`, with the `metadata.version` level that each of their levels from 1 needs to be
/// chosen by default.
pub(super) const FEATURES: [(&str, &[i16]); 6] = [
    ("kraft.version", &[21]),
    ("transaction.version", &[24, 24]),
    ("group.version", &[22]),
    ("eligible.leader.replicas.version", &[26]),
    ("share.version", &[28]),
    ("streams.version", &[29]),
];

impl MetadataVersion {
    fn all() -> impl DoubleEndedIterator<Item = Self> {
        METADATA_VERSIONS.iter().enumerate().map(|(index, name)| Self { name, level: LOWEST_LEVEL + index as i16 })
    }

    /// The version of this level.
    pub(super) fn of_level(level: i16) -> Option<Self> {
        Self::all().find(|version| version.level == level)
    }

    /// `4.0-IV1`, or `4.0` for the last of that release, perhaps with a patch level.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let release = text.split('.').take(2).collect::<Vec<_>>().join(".");
        Self::all()
            .rev()
            .find(|version| version.name == text || version.name.split('-').next() == Some(release.as_str()))
            .filter(|version| !text.contains('-') || version.name == text)
            .or_else(|| Self::all().find(|version| version.name == text))
            .ok_or_else(|| {
                format!(
                    "Unknown metadata.version '{text}'. Supported metadata.version are: {}",
                    METADATA_VERSIONS.join(", ")
                )
            })
    }

    /// The level of a feature that a cluster of this version gets by default.
    pub(super) fn default_level(self, needed: &[i16]) -> i16 {
        needed.iter().filter(|level| **level <= self.level).count() as i16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_stands_for_its_last_version() {
        for (text, level) in [("3.9", 21), ("3.5-IV1", 10), ("4.0", 25), ("4.3.1", 30), ("3.7.2", 19)] {
            assert_eq!(MetadataVersion::parse(text).map(|version| version.level), Ok(level), "{text}");
        }
        assert!(MetadataVersion::parse("9.9").is_err());
        assert!(MetadataVersion::parse("3.5-IV9").is_err());
        assert_eq!(MetadataVersion::of_level(30), Some(LATEST));
    }
}
