//! Kafka's metadata records: names, fields and bytes.
//!
//! A record is `frame version (1) | api key | version | body`, the first three unsigned varints and the body in the
//! flexible encoding (`org.apache.kafka.server.common.serialization.AbstractApiMessageSerde`). The fields are those of
//! `common/metadata/*.json` in `kafka-metadata-4.3.1.jar`; what is written has the versions that metadata.version 30
//! (4.3-IV0) writes, what is read may have any older one. A record of an unknown kind or a higher version is an error:
//! metadata must not be half understood. Unknown tagged fields are skipped, as the protocol promises.

mod broker;
mod topic;
mod wire;

use std::sync::Arc;

use wire::{Reader, Writer};

pub use broker::{
    BrokerEndpoint, BrokerFeature, BrokerRegistrationChangeRecord, FenceBrokerRecord, RegisterBrokerRecord,
    UnfenceBrokerRecord, UnregisterBrokerRecord,
};
pub use topic::{
    ClearElrRecord, LEADER_RECOVERED, LEADER_RECOVERING, NO_LEADER, NO_LEADER_CHANGE, PartitionChangeRecord,
    PartitionRecord, RemoveTopicRecord, TopicRecord,
};

const FRAME_VERSION: u32 = 1;

/// One configuration value of one resource, or its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigRecord {
    /// Kafka's number of the resource's type: 2 topic, 4 broker, 16 client metrics, 32 group.
    pub resource_type: i8,
    /// The resource's name; empty for the default of all brokers.
    pub resource_name: Arc<str>,
    /// The key.
    pub name: Arc<str>,
    /// The value; null removes the key.
    pub value: Option<Arc<str>>,
}

/// The finalized level of a feature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeatureLevelRecord {
    /// The feature's name.
    pub name: Arc<str>,
    /// Its level; 0 means that it is off.
    pub feature_level: i16,
}

/// A block of producer ids was given to a broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducerIdsRecord {
    /// Who got the block.
    pub broker_id: i32,
    /// Its epoch.
    pub broker_epoch: i64,
    /// The first id of the *next* block.
    pub next_producer_id: i64,
}

/// A metadata record.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is named after the record it holds")]
pub enum Record {
    RegisterBroker(RegisterBrokerRecord),
    UnregisterBroker(UnregisterBrokerRecord),
    Topic(TopicRecord),
    Partition(PartitionRecord),
    Config(ConfigRecord),
    PartitionChange(PartitionChangeRecord),
    FenceBroker(FenceBrokerRecord),
    UnfenceBroker(UnfenceBrokerRecord),
    RemoveTopic(RemoveTopicRecord),
    FeatureLevel(FeatureLevelRecord),
    ProducerIds(ProducerIdsRecord),
    BrokerRegistrationChange(BrokerRegistrationChangeRecord),
    /// Moves the offset on and nothing else.
    NoOp,
    ClearElr(ClearElrRecord),
}

/// Why bytes are not a metadata record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum RecordError {
    #[error("metadata record ends too early")]
    Truncated,
    #[error("varint is longer than 5 bytes")]
    VarintTooLong,
    #[error("string is not UTF-8")]
    NotUtf8,
    #[error("null in a field that is not nullable")]
    UnexpectedNull,
    #[error("unknown frame version {0}")]
    UnknownFrameVersion(u32),
    #[error("unknown metadata record type {0}")]
    UnknownRecord(u32),
    #[error("version {version} of metadata record type {api_key} is above the highest known, {highest}")]
    UnsupportedVersion { api_key: u32, version: u32, highest: u32 },
    #[error("found {0} byte(s) of garbage after the metadata record")]
    TrailingBytes(usize),
}

impl Record {
    /// Kafka's number of this kind of record.
    pub fn api_key(&self) -> u32 {
        match self {
            Record::RegisterBroker(_) => 0,
            Record::UnregisterBroker(_) => 1,
            Record::Topic(_) => 2,
            Record::Partition(_) => 3,
            Record::Config(_) => 4,
            Record::PartitionChange(_) => 5,
            Record::FenceBroker(_) => 7,
            Record::UnfenceBroker(_) => 8,
            Record::RemoveTopic(_) => 9,
            Record::FeatureLevel(_) => 12,
            Record::ProducerIds(_) => 15,
            Record::BrokerRegistrationChange(_) => 17,
            Record::NoOp => 20,
            Record::ClearElr(_) => 28,
        }
    }

    fn version(&self) -> u32 {
        match self {
            Record::RegisterBroker(_) => RegisterBrokerRecord::VERSION,
            Record::Partition(_) => PartitionRecord::VERSION,
            Record::PartitionChange(_) => PartitionChangeRecord::VERSION,
            Record::BrokerRegistrationChange(record) => record.version(),
            _ => 0,
        }
    }

    fn highest_version(api_key: u32) -> Option<u32> {
        match api_key {
            0 => Some(4),
            3 | 5 => Some(2),
            17 => Some(3),
            1 | 2 | 4 | 7 | 8 | 9 | 12 | 15 | 20 | 28 => Some(0),
            _ => None,
        }
    }

    /// The record's bytes, as Kafka would write them.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.unsigned_varint(FRAME_VERSION);
        writer.unsigned_varint(self.api_key());
        writer.unsigned_varint(self.version());
        match self {
            Record::RegisterBroker(record) => record.encode(&mut writer),
            Record::UnregisterBroker(record) => {
                broker::encode_id_and_epoch(&mut writer, record.broker_id, record.broker_epoch);
            }
            Record::Topic(record) => record.encode(&mut writer),
            Record::Partition(record) => record.encode(&mut writer),
            Record::Config(record) => {
                writer.int8(record.resource_type);
                writer.string(&record.resource_name);
                writer.string(&record.name);
                writer.nullable_string(record.value.as_deref());
                writer.no_tagged_fields();
            }
            Record::PartitionChange(record) => record.encode(&mut writer),
            Record::FenceBroker(record) => broker::encode_id_and_epoch(&mut writer, record.id, record.epoch),
            Record::UnfenceBroker(record) => broker::encode_id_and_epoch(&mut writer, record.id, record.epoch),
            Record::RemoveTopic(record) => record.encode(&mut writer),
            Record::FeatureLevel(record) => {
                writer.string(&record.name);
                writer.int16(record.feature_level);
                writer.no_tagged_fields();
            }
            Record::ProducerIds(record) => {
                writer.int32(record.broker_id);
                writer.int64(record.broker_epoch);
                writer.int64(record.next_producer_id);
                writer.no_tagged_fields();
            }
            Record::BrokerRegistrationChange(record) => record.encode(&mut writer),
            Record::NoOp => writer.no_tagged_fields(),
            Record::ClearElr(record) => record.encode(&mut writer),
        }
        writer.into_bytes()
    }

    /// Reads a record that fills `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Record, RecordError> {
        let mut reader = Reader::new(bytes);
        let frame_version = reader.unsigned_varint()?;
        if frame_version != FRAME_VERSION {
            return Err(RecordError::UnknownFrameVersion(frame_version));
        }
        let api_key = reader.unsigned_varint()?;
        let version = reader.unsigned_varint()?;
        let highest = Record::highest_version(api_key).ok_or(RecordError::UnknownRecord(api_key))?;
        if version > highest {
            return Err(RecordError::UnsupportedVersion { api_key, version, highest });
        }
        let record = Record::decode_body(&mut reader, api_key, version)?;
        match reader.remaining() {
            0 => Ok(record),
            left => Err(RecordError::TrailingBytes(left)),
        }
    }

    fn decode_body(reader: &mut Reader<'_>, api_key: u32, version: u32) -> Result<Record, RecordError> {
        Ok(match api_key {
            0 => Record::RegisterBroker(RegisterBrokerRecord::decode(reader, version)?),
            1 => {
                let (broker_id, broker_epoch) = broker::decode_id_and_epoch(reader)?;
                Record::UnregisterBroker(UnregisterBrokerRecord { broker_id, broker_epoch })
            }
            2 => Record::Topic(TopicRecord::decode(reader)?),
            3 => Record::Partition(PartitionRecord::decode(reader, version)?),
            4 => {
                let record = ConfigRecord {
                    resource_type: reader.int8()?,
                    resource_name: reader.string()?,
                    name: reader.string()?,
                    value: reader.nullable_string()?,
                };
                reader.skip_tagged_fields()?;
                Record::Config(record)
            }
            5 => Record::PartitionChange(PartitionChangeRecord::decode(reader, version)?),
            7 => {
                let (id, epoch) = broker::decode_id_and_epoch(reader)?;
                Record::FenceBroker(FenceBrokerRecord { id, epoch })
            }
            8 => {
                let (id, epoch) = broker::decode_id_and_epoch(reader)?;
                Record::UnfenceBroker(UnfenceBrokerRecord { id, epoch })
            }
            9 => Record::RemoveTopic(RemoveTopicRecord::decode(reader)?),
            12 => {
                let record = FeatureLevelRecord { name: reader.string()?, feature_level: reader.int16()? };
                reader.skip_tagged_fields()?;
                Record::FeatureLevel(record)
            }
            15 => {
                let record = ProducerIdsRecord {
                    broker_id: reader.int32()?,
                    broker_epoch: reader.int64()?,
                    next_producer_id: reader.int64()?,
                };
                reader.skip_tagged_fields()?;
                Record::ProducerIds(record)
            }
            17 => Record::BrokerRegistrationChange(BrokerRegistrationChangeRecord::decode(reader, version)?),
            20 => {
                reader.skip_tagged_fields()?;
                Record::NoOp
            }
            28 => Record::ClearElr(ClearElrRecord::decode(reader)?),
            unknown => return Err(RecordError::UnknownRecord(unknown)),
        })
    }
}

/// Several records as one byte string, each preceded by its length as an unsigned varint.
pub fn encode_all(records: &[Record]) -> Vec<u8> {
    let mut writer = Writer::default();
    for record in records {
        let bytes = record.encode();
        writer.unsigned_varint(bytes.len() as u32);
        writer.raw(&bytes);
    }
    writer.into_bytes()
}

/// Reads what [`encode_all`] wrote.
pub fn decode_all(bytes: &[u8]) -> Result<Vec<Record>, RecordError> {
    let mut reader = Reader::new(bytes);
    let mut records = Vec::new();
    while reader.remaining() > 0 {
        let len = reader.unsigned_varint()?;
        records.push(Record::decode(reader.take(len as usize)?)?);
    }
    Ok(records)
}
