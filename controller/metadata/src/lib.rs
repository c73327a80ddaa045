//! The metadata of a cluster: Kafka's records, the image they make, and the decisions upon it.
//!
//! Everything here is pure: no IO, no clock, no global randomness, no hash order. The controller asks [`decide()`] what a
//! request comes to, has the records committed, and every node gets its next [`MetadataImage`] from them.

pub mod config_def;
pub mod decide;
pub mod image;
pub mod partition_change;
pub mod placement;
pub mod record;
pub mod topic_config;

use uuid::Uuid;

pub use config_def::{ConfigDef, ConfigType};
pub use decide::{Context, Decision, Operation, Response, decide};
pub use image::{ConfigResource, ConfigResourceType, MetadataDelta, MetadataImage, PartitionRegistration, TopicImage};
pub use record::{Record, RecordError};

/// The directory of a replica that has not been assigned to one (`DirectoryId.UNASSIGNED`).
pub const UNASSIGNED_DIRECTORY: Uuid = Uuid::from_u128(1);
/// The directory of a replica whose directory is lost (`DirectoryId.LOST`).
pub const LOST_DIRECTORY: Uuid = Uuid::from_u128(2);
/// The directory of a replica of a broker that registered without directories (`DirectoryId.MIGRATING`).
pub const MIGRATING_DIRECTORY: Uuid = Uuid::from_u128(0);
