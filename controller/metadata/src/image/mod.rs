//! The metadata as of one offset: immutable, made of persistent maps, cheap to clone and to keep.
//!
//! The image changes only by records. [`MetadataImage::apply`] takes a batch of them and gives the next image and what
//! it changed; it cannot fail, because a record is a fact. A record that makes no sense against the image (a partition
//! of a topic that is not there, a change of a registration with another epoch) changes nothing but the offset: such a
//! record can only come from a controller that is wrong, every node skips it alike, and debug builds stop at it.
//!
//! [`MetadataImage::records`] is the inverse: records that rebuild the same image, which is what a snapshot holds.
//! No IO, no clock, no hash order: the same records give the same image, byte for byte, on every node.

mod apply;
mod brokers;
mod configs;
mod delta;
mod features;
mod topics;

use crate::record::{ProducerIdsRecord, Record};

pub use brokers::{BrokerRegistration, BrokersImage};
pub use configs::{ConfigMap, ConfigResource, ConfigResourceType, ConfigsImage};
pub use delta::{ConfigsDelta, MetadataDelta, TopicChange, TopicsDelta};
pub use features::{ELIGIBLE_LEADER_REPLICAS_VERSION, FeaturesImage, METADATA_VERSION, SUPPORTED_FEATURES};
pub use topics::{PartitionRegistration, TopicImage, TopicsImage};

/// The metadata of a cluster as of one offset.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MetadataImage {
    /// The offset of the last record that is in it; -1 before the first.
    pub offset: i64,
    /// The epoch (term) of that record.
    pub epoch: i32,
    /// The topics and their partitions.
    pub topics: TopicsImage,
    /// The registered brokers.
    pub brokers: BrokersImage,
    /// What was configured dynamically.
    pub configs: ConfigsImage,
    /// The finalized feature levels.
    pub features: FeaturesImage,
    /// How far producer ids have been handed out.
    pub producer_ids: ProducerIdsImage,
}

/// How far producer ids have been handed out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProducerIdsImage {
    /// The first id of the next block.
    pub next_producer_id: i64,
    /// Who got the last block; -1 while nobody has.
    pub last_broker_id: i32,
    /// The epoch of that broker.
    pub last_broker_epoch: i64,
}

impl MetadataImage {
    /// The image before any record.
    pub fn empty() -> Self {
        MetadataImage {
            offset: -1,
            producer_ids: ProducerIdsImage { next_producer_id: 0, last_broker_id: -1, last_broker_epoch: -1 },
            ..MetadataImage::default()
        }
    }

    /// The image that `records`, a snapshot as of `offset` and `epoch`, describe.
    pub fn from_records(records: &[Record], offset: i64, epoch: i32) -> Self {
        MetadataImage::empty().apply(records, offset, epoch).0
    }

    /// Records that rebuild this image, in an order in which each finds what it refers to.
    pub fn records(&self) -> Vec<Record> {
        let mut records = Vec::new();
        self.features.records(&mut records);
        self.brokers.records(&mut records);
        self.topics.records(&mut records);
        self.configs.records(&mut records);
        if self.producer_ids != MetadataImage::empty().producer_ids {
            records.push(Record::ProducerIds(ProducerIdsRecord {
                broker_id: self.producer_ids.last_broker_id,
                broker_epoch: self.producer_ids.last_broker_epoch,
                next_producer_id: self.producer_ids.next_producer_id,
            }));
        }
        records
    }
}
