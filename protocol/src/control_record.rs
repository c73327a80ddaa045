//! Control records: what brokers write between the records of clients, in batches of their own.
//!
//! Key: `version i16 = 0, type i16`. Value of an end transaction marker: `version i16 = 0, coordinator_epoch i32`.
//! Source: `org.apache.kafka.common.record.internal.{ControlRecordType,EndTransactionMarker}`.

use bytes::BytesMut;

use crate::bytes_at::{i16_at, i32_at};
use crate::records::BatchBuilder;
use crate::types::{NO_SEQUENCE, ProducerEpoch, ProducerId, Timestamp};

/// What a control record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ControlRecordType {
    /// The transaction was aborted.
    Abort,
    /// The transaction was committed.
    Commit,
    /// A raft leader began its epoch.
    LeaderChange,
    /// A snapshot begins.
    SnapshotHeader,
    /// A snapshot ends.
    SnapshotFooter,
    /// The raft protocol's version.
    KraftVersion,
    /// The raft voters.
    KraftVoters,
    /// A type that this version does not know; consumers skip it.
    Unknown(i16),
}

impl ControlRecordType {
    /// The type with this id.
    pub fn from_id(id: i16) -> ControlRecordType {
        match id {
            0 => ControlRecordType::Abort,
            1 => ControlRecordType::Commit,
            2 => ControlRecordType::LeaderChange,
            3 => ControlRecordType::SnapshotHeader,
            4 => ControlRecordType::SnapshotFooter,
            5 => ControlRecordType::KraftVersion,
            6 => ControlRecordType::KraftVoters,
            unknown => ControlRecordType::Unknown(unknown),
        }
    }

    /// The id in the key.
    pub fn id(self) -> i16 {
        match self {
            ControlRecordType::Abort => 0,
            ControlRecordType::Commit => 1,
            ControlRecordType::LeaderChange => 2,
            ControlRecordType::SnapshotHeader => 3,
            ControlRecordType::SnapshotFooter => 4,
            ControlRecordType::KraftVersion => 5,
            ControlRecordType::KraftVoters => 6,
            ControlRecordType::Unknown(id) => id,
        }
    }

    /// The type a control record's key names; `None` if the key is too short or of a version before 0.
    pub fn parse(key: &[u8]) -> Option<ControlRecordType> {
        (i16_at(key, 0)? >= 0).then_some(())?;
        Some(ControlRecordType::from_id(i16_at(key, 2)?))
    }

    /// The key of a record of this type.
    pub fn key(self) -> [u8; 4] {
        let [high, low] = self.id().to_be_bytes();
        [0, 0, high, low]
    }
}

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TransactionResult {
    /// Its records never happened.
    Abort,
    /// Its records count.
    Commit,
}

/// The record that ends a transaction in one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndTransactionMarker {
    /// How the transaction ended.
    pub result: TransactionResult,
    /// Epoch of the coordinator that wrote the marker; an older one is fenced.
    pub coordinator_epoch: i32,
}

impl EndTransactionMarker {
    /// The marker that a control record's key and value hold; `None` if they hold something else.
    pub fn parse(key: &[u8], value: &[u8]) -> Option<EndTransactionMarker> {
        let result = match ControlRecordType::parse(key)? {
            ControlRecordType::Abort => TransactionResult::Abort,
            ControlRecordType::Commit => TransactionResult::Commit,
            _ => return None,
        };
        (i16_at(value, 0)? >= 0).then_some(())?;
        Some(EndTransactionMarker { result, coordinator_epoch: i32_at(value, 2)? })
    }

    /// The batch that writes this marker for a producer: one record, 78 bytes.
    ///
    /// # Panics
    /// Never: nothing is compressed.
    pub fn batch(self, producer_id: ProducerId, producer_epoch: ProducerEpoch, timestamp: Timestamp) -> BytesMut {
        let control_type = match self.result {
            TransactionResult::Abort => ControlRecordType::Abort,
            TransactionResult::Commit => ControlRecordType::Commit,
        };
        let mut value = [0; 6];
        value[2..].copy_from_slice(&self.coordinator_epoch.to_be_bytes());
        let mut builder =
            BatchBuilder::new().producer(producer_id, producer_epoch, NO_SEQUENCE).transactional(true).control(true);
        builder.append(timestamp, Some(&control_type.key()), Some(&value), []);
        builder.build().expect("an uncompressed batch needs no encoder")
    }
}

#[cfg(test)]
mod tests;
