//! Records about topics and their partitions: keys 2, 3, 5, 9 and 28.

use std::sync::Arc;

use uuid::Uuid;

use super::RecordError;
use super::wire::{Reader, Tagged, Writer};

/// `LeaderRecoveryState` of a partition whose leader has everything that was committed.
pub const LEADER_RECOVERED: i8 = 0;
/// `LeaderRecoveryState` of a partition whose leader was elected uncleanly and still recovers.
pub const LEADER_RECOVERING: i8 = 1;
/// `Leader` of a partition without a leader.
pub const NO_LEADER: i32 = -1;
/// `Leader` of a [`PartitionChangeRecord`] that leaves the leader as it is.
pub const NO_LEADER_CHANGE: i32 = -2;

/// A topic begins to exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicRecord {
    /// The topic's name.
    pub name: Arc<str>,
    /// Its id, for ever; a topic created again under the same name has another one.
    pub topic_id: Uuid,
}

impl TopicRecord {
    pub(super) fn encode(&self, writer: &mut Writer) {
        writer.string(&self.name);
        writer.uuid(self.topic_id);
        writer.no_tagged_fields();
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, RecordError> {
        let record = TopicRecord { name: reader.string()?, topic_id: reader.uuid()? };
        reader.skip_tagged_fields()?;
        Ok(record)
    }
}

/// A topic ends, and with it its partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoveTopicRecord {
    /// The topic that ends.
    pub topic_id: Uuid,
}

impl RemoveTopicRecord {
    pub(super) fn encode(&self, writer: &mut Writer) {
        writer.uuid(self.topic_id);
        writer.no_tagged_fields();
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, RecordError> {
        let record = RemoveTopicRecord { topic_id: reader.uuid()? };
        reader.skip_tagged_fields()?;
        Ok(record)
    }
}

/// The eligible leader replicas of one topic, or of all, are forgotten (KIP-966).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClearElrRecord {
    /// The topic; empty for all topics.
    pub topic_name: Arc<str>,
}

impl ClearElrRecord {
    pub(super) fn encode(&self, writer: &mut Writer) {
        writer.string(&self.topic_name);
        writer.no_tagged_fields();
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, RecordError> {
        let record = ClearElrRecord { topic_name: reader.string()? };
        reader.skip_tagged_fields()?;
        Ok(record)
    }
}

/// The whole state of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionRecord {
    /// The partition's number within its topic.
    pub partition_id: i32,
    /// The topic it belongs to.
    pub topic_id: Uuid,
    /// Its replicas, the preferred leader first.
    pub replicas: Vec<i32>,
    /// The replicas that are in sync.
    pub isr: Vec<i32>,
    /// Replicas that a reassignment removes.
    pub removing_replicas: Vec<i32>,
    /// Replicas that a reassignment adds.
    pub adding_replicas: Vec<i32>,
    /// The leader, or [`NO_LEADER`].
    pub leader: i32,
    /// [`LEADER_RECOVERED`] or [`LEADER_RECOVERING`].
    pub leader_recovery_state: i8,
    /// Rises when the leader changes or the replicas shrink.
    pub leader_epoch: i32,
    /// Rises with every change.
    pub partition_epoch: i32,
    /// The log directory of every replica, in the order of `replicas`.
    pub directories: Vec<Uuid>,
    /// Replicas out of sync that still have everything committed (KIP-966); null when there are none.
    pub eligible_leader_replicas: Option<Vec<i32>>,
    /// The last members of the above after they became unclean; null when there are none.
    pub last_known_elr: Option<Vec<i32>>,
}

impl PartitionRecord {
    pub(super) const VERSION: u32 = 2;

    pub(super) fn encode(&self, writer: &mut Writer) {
        writer.int32(self.partition_id);
        writer.uuid(self.topic_id);
        writer.int32s(&self.replicas);
        writer.int32s(&self.isr);
        writer.int32s(&self.removing_replicas);
        writer.int32s(&self.adding_replicas);
        writer.int32(self.leader);
        writer.int32(self.leader_epoch);
        writer.int32(self.partition_epoch);
        writer.uuids(&self.directories);
        let mut tagged = Tagged::default();
        tagged.field_if(self.leader_recovery_state != 0, 0, |field| field.int8(self.leader_recovery_state));
        if let Some(replicas) = &self.eligible_leader_replicas {
            tagged.field_if(true, 1, |field| field.int32s(replicas));
        }
        if let Some(replicas) = &self.last_known_elr {
            tagged.field_if(true, 2, |field| field.int32s(replicas));
        }
        writer.tagged_fields(tagged);
    }

    pub(super) fn decode(reader: &mut Reader<'_>, version: u32) -> Result<Self, RecordError> {
        let mut record = PartitionRecord {
            partition_id: reader.int32()?,
            topic_id: reader.uuid()?,
            replicas: reader.int32s()?,
            isr: reader.int32s()?,
            removing_replicas: reader.int32s()?,
            adding_replicas: reader.int32s()?,
            leader: reader.int32()?,
            leader_recovery_state: LEADER_RECOVERED,
            leader_epoch: reader.int32()?,
            partition_epoch: reader.int32()?,
            directories: if version >= 1 { reader.uuids()? } else { Vec::new() },
            eligible_leader_replicas: None,
            last_known_elr: None,
        };
        reader.tagged_fields(|tag, field| {
            match (tag, version) {
                (0, _) => record.leader_recovery_state = field.int8()?,
                (1, 2..) => record.eligible_leader_replicas = field.nullable_int32s()?,
                (2, 2..) => record.last_known_elr = field.nullable_int32s()?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(record)
    }
}

/// What changes in a partition; every field that is not set stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionChangeRecord {
    /// The partition's number within its topic.
    pub partition_id: i32,
    /// The topic it belongs to.
    pub topic_id: Uuid,
    /// The new in-sync replicas.
    pub isr: Option<Vec<i32>>,
    /// The new leader, [`NO_LEADER`] for none from now on, [`NO_LEADER_CHANGE`] when it stays (its epoch, too).
    pub leader: i32,
    /// The new replicas.
    pub replicas: Option<Vec<i32>>,
    /// The new replicas being removed.
    pub removing_replicas: Option<Vec<i32>>,
    /// The new replicas being added.
    pub adding_replicas: Option<Vec<i32>>,
    /// -1 when it stays, else [`LEADER_RECOVERED`] or [`LEADER_RECOVERING`].
    pub leader_recovery_state: i8,
    /// The new eligible leader replicas.
    pub eligible_leader_replicas: Option<Vec<i32>>,
    /// The new last known eligible leader replicas.
    pub last_known_elr: Option<Vec<i32>>,
    /// The new log directories, in the order of the replicas.
    pub directories: Option<Vec<Uuid>>,
}

impl PartitionChangeRecord {
    pub(super) const VERSION: u32 = 2;

    /// A record that changes nothing (and still raises the partition epoch when it is applied).
    pub fn new(topic_id: Uuid, partition_id: i32) -> Self {
        PartitionChangeRecord {
            partition_id,
            topic_id,
            isr: None,
            leader: NO_LEADER_CHANGE,
            replicas: None,
            removing_replicas: None,
            adding_replicas: None,
            leader_recovery_state: -1,
            eligible_leader_replicas: None,
            last_known_elr: None,
            directories: None,
        }
    }

    pub(super) fn encode(&self, writer: &mut Writer) {
        writer.int32(self.partition_id);
        writer.uuid(self.topic_id);
        let mut tagged = Tagged::default();
        let int32s = |tagged: &mut Tagged, tag, values: &Option<Vec<i32>>| {
            if let Some(values) = values {
                tagged.field_if(true, tag, |field| field.int32s(values));
            }
        };
        int32s(&mut tagged, 0, &self.isr);
        tagged.field_if(self.leader != NO_LEADER_CHANGE, 1, |field| field.int32(self.leader));
        int32s(&mut tagged, 2, &self.replicas);
        int32s(&mut tagged, 3, &self.removing_replicas);
        int32s(&mut tagged, 4, &self.adding_replicas);
        tagged.field_if(self.leader_recovery_state != -1, 5, |field| field.int8(self.leader_recovery_state));
        int32s(&mut tagged, 6, &self.eligible_leader_replicas);
        int32s(&mut tagged, 7, &self.last_known_elr);
        if let Some(directories) = &self.directories {
            tagged.field_if(true, 8, |field| field.uuids(directories));
        }
        writer.tagged_fields(tagged);
    }

    pub(super) fn decode(reader: &mut Reader<'_>, version: u32) -> Result<Self, RecordError> {
        let partition_id = reader.int32()?;
        let topic_id = reader.uuid()?;
        let mut record = PartitionChangeRecord::new(topic_id, partition_id);
        reader.tagged_fields(|tag, field| {
            match (tag, version) {
                (0, _) => record.isr = field.nullable_int32s()?,
                (1, _) => record.leader = field.int32()?,
                (2, _) => record.replicas = field.nullable_int32s()?,
                (3, _) => record.removing_replicas = field.nullable_int32s()?,
                (4, _) => record.adding_replicas = field.nullable_int32s()?,
                (5, _) => record.leader_recovery_state = field.int8()?,
                (6, 2..) => record.eligible_leader_replicas = field.nullable_int32s()?,
                (7, 2..) => record.last_known_elr = field.nullable_int32s()?,
                (8, 1..) => record.directories = field.nullable_uuids()?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(record)
    }
}
