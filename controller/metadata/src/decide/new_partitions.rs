//! Records of new partitions, placed by us or as the request says.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::BrokerId;
use rand::Rng;
use uuid::Uuid;

use crate::image::MetadataImage;
use crate::placement;
use crate::record::{LEADER_RECOVERED, PartitionRecord};

use super::answer::ApiError;

/// The replicas of one partition as a request gives them, checked (`validateManualPartitionAssignment`).
pub(super) fn check_assignment(
    image: &MetadataImage,
    broker_ids: &[BrokerId],
    replication_factor: Option<usize>,
) -> Result<Vec<i32>, ApiError> {
    let refuse = |message: String| Err(ApiError::new(ResponseError::InvalidReplicaAssignment, message));
    if broker_ids.is_empty() {
        return refuse("The manual partition assignment includes an empty replica list.".to_owned());
    }
    let replicas: Vec<i32> = broker_ids.iter().map(|id| id.0).collect();
    let mut sorted = replicas.clone();
    sorted.sort_unstable();
    let mut previous = None;
    for id in sorted {
        if image.brokers.get(id).is_none() {
            return refuse(format!(
                "The manual partition assignment includes broker {id}, but no such broker is registered."
            ));
        }
        if previous == Some(id) {
            return refuse(format!("The manual partition assignment includes the broker {id} more than once."));
        }
        previous = Some(id);
    }
    match replication_factor {
        Some(expected) if expected != replicas.len() => refuse(format!(
            "The manual partition assignment includes a partition with {} replica(s), but this is not consistent with \
             previous partitions, which have {expected} replica(s).",
            replicas.len()
        )),
        _ => Ok(replicas),
    }
}

/// A new partition with replicas that a request gave.
pub(super) fn assigned_partition(
    image: &MetadataImage,
    topic_id: Uuid,
    partition_id: i32,
    replicas: Vec<i32>,
) -> Result<PartitionRecord, ApiError> {
    new_partition(image, topic_id, partition_id, replicas).ok_or_else(|| {
        ApiError::new(
            ResponseError::InvalidReplicaAssignment,
            format!(
                "All brokers specified in the manual partition assignment for partition {partition_id} are fenced or \
                 in controlled shutdown."
            ),
        )
    })
}

/// `count` new partitions from `first` on, where we think best.
pub(super) fn placed_partitions(
    image: &MetadataImage,
    topic_id: Uuid,
    first: i32,
    count: i32,
    replication_factor: i16,
    rng: &mut impl Rng,
) -> Result<Vec<PartitionRecord>, ApiError> {
    let refuse = |text: String| {
        let message = format!("Unable to replicate the partition {replication_factor} time(s): {text}");
        ApiError::new(ResponseError::InvalidReplicationFactor, message)
    };
    let placed =
        placement::place(&image.brokers, count, replication_factor, rng).map_err(|error| refuse(error.to_string()))?;
    let partition = |(partition_id, replicas)| {
        new_partition(image, topic_id, partition_id, replicas)
            .ok_or_else(|| refuse("All brokers are currently fenced or in controlled shutdown.".to_owned()))
    };
    (first..).zip(placed).map(partition).collect()
}

/// None when no replica is active: somebody must lead from the start.
fn new_partition(
    image: &MetadataImage,
    topic_id: Uuid,
    partition_id: i32,
    replicas: Vec<i32>,
) -> Option<PartitionRecord> {
    let isr: Vec<i32> = replicas.iter().copied().filter(|id| image.brokers.is_active(*id)).collect();
    let leader = *isr.first()?;
    let directories = replicas.iter().map(|id| placement::default_directory(&image.brokers, *id)).collect();
    Some(PartitionRecord {
        partition_id,
        topic_id,
        replicas,
        isr,
        removing_replicas: Vec::new(),
        adding_replicas: Vec::new(),
        leader,
        leader_recovery_state: LEADER_RECOVERED,
        leader_epoch: 0,
        partition_epoch: 0,
        directories,
        eligible_leader_replicas: None,
        last_known_elr: None,
    })
}
