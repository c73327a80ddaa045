//! What a batch of records changed.
//!
//! The difference between two images, not the sequence that led there: a topic created and deleted in one batch is in
//! neither list, a value set twice is changed once, and one set to what it was is not changed at all.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use imbl::ordmap::DiffItem;
use uuid::Uuid;

use super::{ConfigResource, MetadataImage, TopicImage};

/// What changed between two images.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MetadataDelta {
    /// Topics that came, changed or went.
    pub topics: TopicsDelta,
    /// Resources whose dynamic configuration changed.
    pub configs: ConfigsDelta,
    /// Brokers whose registration came, changed or went.
    pub brokers: BTreeSet<i32>,
    /// Features whose finalized level changed.
    pub features: BTreeSet<Arc<str>>,
    /// Whether a block of producer ids was handed out.
    pub producer_ids: bool,
}

/// Resources whose dynamic configuration changed.
pub type ConfigsDelta = BTreeSet<ConfigResource>;

/// Topics that came, changed or went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TopicsDelta {
    /// New topics as they are now, all their partitions included.
    pub created: BTreeMap<Uuid, Arc<TopicImage>>,
    /// Topics that were there and have changed or new partitions.
    pub changed: BTreeMap<Uuid, TopicChange>,
    /// Topics that are gone, as they were.
    pub deleted: BTreeMap<Uuid, Arc<TopicImage>>,
}

/// A topic that was there and still is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicChange {
    /// The topic before.
    pub before: Arc<TopicImage>,
    /// The topic now.
    pub after: Arc<TopicImage>,
    /// The partitions that are new or differ.
    pub partitions: BTreeSet<i32>,
}

impl TopicsDelta {
    /// Whether no topic changed.
    pub fn is_empty(&self) -> bool {
        self.created.is_empty() && self.changed.is_empty() && self.deleted.is_empty()
    }
}

impl MetadataDelta {
    /// What differs between two images; shared parts are not looked at, so it costs what changed.
    pub fn between(before: &MetadataImage, after: &MetadataImage) -> Self {
        let mut delta = MetadataDelta::default();
        for item in before.topics.by_id_map().diff(after.topics.by_id_map()) {
            match item {
                DiffItem::Add(id, topic) => {
                    delta.topics.created.insert(*id, Arc::clone(topic));
                }
                DiffItem::Remove(id, topic) => {
                    delta.topics.deleted.insert(*id, Arc::clone(topic));
                }
                DiffItem::Update { old: (id, before), new: (_, after) } => {
                    let partitions = before.partitions.diff(&after.partitions).map(|item| *key(&item)).collect();
                    let change = TopicChange { before: Arc::clone(before), after: Arc::clone(after), partitions };
                    delta.topics.changed.insert(*id, change);
                }
            }
        }
        delta.configs =
            before.configs.by_resource().diff(after.configs.by_resource()).map(|item| key(&item).clone()).collect();
        delta.brokers = before.brokers.by_id.diff(&after.brokers.by_id).map(|item| *key(&item)).collect();
        delta.features =
            before.features.finalized.diff(&after.features.finalized).map(|item| Arc::clone(key(&item))).collect();
        delta.producer_ids = before.producer_ids != after.producer_ids;
        delta
    }

    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        *self == MetadataDelta::default()
    }
}

fn key<'a, K, V>(item: &DiffItem<'a, 'a, K, V>) -> &'a K {
    match item {
        DiffItem::Add(key, _) | DiffItem::Remove(key, _) | DiffItem::Update { new: (key, _), .. } => key,
    }
}
