//! Records about brokers: keys 0, 1, 7, 8 and 17.
//!
//! 4.3 writes 17 where older versions wrote 7 (fence) and 8 (unfence); all three are read.

use std::sync::Arc;

use uuid::Uuid;

use super::RecordError;
use super::wire::{Reader, Tagged, Writer};

/// Where a broker can be reached for one of its listeners.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerEndpoint {
    /// The listener's name.
    pub name: Arc<str>,
    /// The advertised host.
    pub host: Arc<str>,
    /// The advertised port.
    pub port: u16,
    /// Kafka's number of the security protocol: 0 PLAINTEXT, 1 SSL, 2 `SASL_PLAINTEXT`, 3 `SASL_SSL`.
    pub security_protocol: i16,
}

/// The levels of a feature that a broker can serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerFeature {
    /// The feature's name.
    pub name: Arc<str>,
    /// The lowest level.
    pub min_supported_version: i16,
    /// The highest level.
    pub max_supported_version: i16,
}

/// A broker has started and registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisterBrokerRecord {
    /// The broker's id.
    pub broker_id: i32,
    /// Always false: no broker migrates from `ZooKeeper` here.
    pub is_migrating_zk_broker: bool,
    /// Which start of the broker's process this is.
    pub incarnation_id: Uuid,
    /// The offset of this record: what fences an earlier registration.
    pub broker_epoch: i64,
    /// Its listeners.
    pub end_points: Vec<BrokerEndpoint>,
    /// What it can serve.
    pub features: Vec<BrokerFeature>,
    /// Where it stands.
    pub rack: Option<Arc<str>>,
    /// A fenced broker leads nothing and is in no ISR.
    pub fenced: bool,
    /// Whether it is stopping.
    pub in_controlled_shutdown: bool,
    /// The ids of its available log directories.
    pub log_dirs: Vec<Uuid>,
    /// The ids of those that take no new partitions; null until it has told.
    pub cordoned_log_dirs: Option<Vec<Uuid>>,
}

impl RegisterBrokerRecord {
    pub(super) const VERSION: u32 = 4;

    pub(super) fn encode(&self, writer: &mut Writer) {
        writer.int32(self.broker_id);
        writer.boolean(self.is_migrating_zk_broker);
        writer.uuid(self.incarnation_id);
        writer.int64(self.broker_epoch);
        writer.array(&self.end_points, |writer, end_point| {
            writer.string(&end_point.name);
            writer.string(&end_point.host);
            writer.uint16(end_point.port);
            writer.int16(end_point.security_protocol);
            writer.no_tagged_fields();
        });
        writer.array(&self.features, |writer, feature| {
            writer.string(&feature.name);
            writer.int16(feature.min_supported_version);
            writer.int16(feature.max_supported_version);
            writer.no_tagged_fields();
        });
        writer.nullable_string(self.rack.as_deref());
        writer.boolean(self.fenced);
        writer.boolean(self.in_controlled_shutdown);
        let mut tagged = Tagged::default();
        tagged.field_if(!self.log_dirs.is_empty(), 0, |field| field.uuids(&self.log_dirs));
        if let Some(dirs) = &self.cordoned_log_dirs {
            tagged.field_if(true, 1, |field| field.uuids(dirs));
        }
        writer.tagged_fields(tagged);
    }

    pub(super) fn decode(reader: &mut Reader<'_>, version: u32) -> Result<Self, RecordError> {
        let mut record = RegisterBrokerRecord {
            broker_id: reader.int32()?,
            is_migrating_zk_broker: version >= 2 && reader.boolean()?,
            incarnation_id: reader.uuid()?,
            broker_epoch: reader.int64()?,
            end_points: reader.array(7, |reader| {
                let end_point = BrokerEndpoint {
                    name: reader.string()?,
                    host: reader.string()?,
                    port: reader.uint16()?,
                    security_protocol: reader.int16()?,
                };
                reader.skip_tagged_fields()?;
                Ok(end_point)
            })?,
            features: reader.array(6, |reader| {
                let feature = BrokerFeature {
                    name: reader.string()?,
                    min_supported_version: reader.int16()?,
                    max_supported_version: reader.int16()?,
                };
                reader.skip_tagged_fields()?;
                Ok(feature)
            })?,
            rack: reader.nullable_string()?,
            fenced: reader.boolean()?,
            in_controlled_shutdown: version >= 1 && reader.boolean()?,
            log_dirs: Vec::new(),
            cordoned_log_dirs: None,
        };
        reader.tagged_fields(|tag, field| {
            match (tag, version) {
                (0, 3..) => record.log_dirs = field.uuids()?,
                (1, 4..) => record.cordoned_log_dirs = field.nullable_uuids()?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(record)
    }
}

/// What changes in a broker's registration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerRegistrationChangeRecord {
    /// The broker's id.
    pub broker_id: i32,
    /// Its epoch; a record with another one is about an earlier registration.
    pub broker_epoch: i64,
    /// -1 unfenced, 0 as it was, 1 fenced.
    pub fenced: i8,
    /// 0 as it was, 1 stopping.
    pub in_controlled_shutdown: i8,
    /// The log directories that are available now; empty for as it was.
    pub log_dirs: Vec<Uuid>,
    /// The cordoned ones now; null for as it was.
    pub cordoned_log_dirs: Option<Vec<Uuid>>,
}

impl BrokerRegistrationChangeRecord {
    /// A record that changes nothing.
    pub fn new(broker_id: i32, broker_epoch: i64) -> Self {
        BrokerRegistrationChangeRecord {
            broker_id,
            broker_epoch,
            fenced: 0,
            in_controlled_shutdown: 0,
            log_dirs: Vec::new(),
            cordoned_log_dirs: None,
        }
    }

    /// The lowest version that holds what is set, as `ReplicationControlManager` picks it.
    pub(super) fn version(&self) -> u32 {
        if self.cordoned_log_dirs.is_some() {
            3
        } else if !self.log_dirs.is_empty() {
            2
        } else {
            u32::from(self.in_controlled_shutdown != 0)
        }
    }

    pub(super) fn encode(&self, writer: &mut Writer) {
        writer.int32(self.broker_id);
        writer.int64(self.broker_epoch);
        let mut tagged = Tagged::default();
        tagged.field_if(self.fenced != 0, 0, |field| field.int8(self.fenced));
        tagged.field_if(self.in_controlled_shutdown != 0, 1, |field| field.int8(self.in_controlled_shutdown));
        tagged.field_if(!self.log_dirs.is_empty(), 2, |field| field.uuids(&self.log_dirs));
        if let Some(dirs) = &self.cordoned_log_dirs {
            tagged.field_if(true, 3, |field| field.uuids(dirs));
        }
        writer.tagged_fields(tagged);
    }

    pub(super) fn decode(reader: &mut Reader<'_>, version: u32) -> Result<Self, RecordError> {
        let mut record = BrokerRegistrationChangeRecord::new(reader.int32()?, reader.int64()?);
        reader.tagged_fields(|tag, field| {
            match (tag, version) {
                (0, _) => record.fenced = field.int8()?,
                (1, 1..) => record.in_controlled_shutdown = field.int8()?,
                (2, 2..) => record.log_dirs = field.uuids()?,
                (3, 3..) => record.cordoned_log_dirs = field.nullable_uuids()?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(record)
    }
}

/// A broker is forgotten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnregisterBrokerRecord {
    /// The broker's id.
    pub broker_id: i32,
    /// Its epoch.
    pub broker_epoch: i64,
}

/// A broker is fenced; written by versions before 3.3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FenceBrokerRecord {
    /// The broker's id.
    pub id: i32,
    /// Its epoch.
    pub epoch: i64,
}

/// A broker is unfenced; written by versions before 3.3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnfenceBrokerRecord {
    /// The broker's id.
    pub id: i32,
    /// Its epoch.
    pub epoch: i64,
}

pub(super) fn encode_id_and_epoch(writer: &mut Writer, id: i32, epoch: i64) {
    writer.int32(id);
    writer.int64(epoch);
    writer.no_tagged_fields();
}

pub(super) fn decode_id_and_epoch(reader: &mut Reader<'_>) -> Result<(i32, i64), RecordError> {
    let pair = (reader.int32()?, reader.int64()?);
    reader.skip_tagged_fields()?;
    Ok(pair)
}
