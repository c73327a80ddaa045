//! The registered brokers.

use std::sync::Arc;

use imbl::OrdMap;
use uuid::Uuid;

use super::PartitionRegistration;
use crate::record::{BrokerEndpoint, BrokerFeature, Record, RegisterBrokerRecord};
use crate::{LOST_DIRECTORY, MIGRATING_DIRECTORY, UNASSIGNED_DIRECTORY};

/// All registered brokers, fenced ones included.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BrokersImage {
    pub(super) by_id: OrdMap<i32, Arc<BrokerRegistration>>,
}

/// One broker as it registered and as the controller sees it since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerRegistration {
    /// Its id.
    pub id: i32,
    /// The metadata offset of its registration.
    pub epoch: i64,
    /// Which start of its process this is.
    pub incarnation_id: Uuid,
    /// Its advertised listeners.
    pub end_points: Vec<BrokerEndpoint>,
    /// The feature levels that it can serve.
    pub features: Vec<BrokerFeature>,
    /// Where it stands.
    pub rack: Option<Arc<str>>,
    /// A fenced broker leads nothing and is in no ISR.
    pub fenced: bool,
    /// Whether it is stopping.
    pub in_controlled_shutdown: bool,
    /// Its available log directories, sorted.
    pub log_dirs: Vec<Uuid>,
    /// Those that take no new partitions; None until the broker has told.
    pub cordoned_log_dirs: Option<Vec<Uuid>>,
}

impl BrokerRegistration {
    /// The endpoint of a listener.
    pub fn end_point(&self, listener_name: &str) -> Option<&BrokerEndpoint> {
        self.end_points.iter().find(|end_point| &*end_point.name == listener_name)
    }

    /// Whether it may lead: neither fenced nor stopping.
    pub fn is_active(&self) -> bool {
        !self.fenced && !self.in_controlled_shutdown
    }

    /// Whether a replica that is assigned to this directory of the broker may be there: the directory is online, or not told yet.
    pub fn has_online_directory(&self, directory: Uuid) -> bool {
        match directory {
            LOST_DIRECTORY => false,
            UNASSIGNED_DIRECTORY | MIGRATING_DIRECTORY => true,
            directory => self.log_dirs.contains(&directory),
        }
    }

    pub(super) fn to_record(&self) -> RegisterBrokerRecord {
        RegisterBrokerRecord {
            broker_id: self.id,
            is_migrating_zk_broker: false,
            incarnation_id: self.incarnation_id,
            broker_epoch: self.epoch,
            end_points: self.end_points.clone(),
            features: self.features.clone(),
            rack: self.rack.clone(),
            fenced: self.fenced,
            in_controlled_shutdown: self.in_controlled_shutdown,
            log_dirs: self.log_dirs.clone(),
            cordoned_log_dirs: self.cordoned_log_dirs.clone(),
        }
    }
}

impl From<&RegisterBrokerRecord> for BrokerRegistration {
    fn from(record: &RegisterBrokerRecord) -> Self {
        let mut log_dirs = record.log_dirs.clone();
        log_dirs.sort_unstable();
        BrokerRegistration {
            id: record.broker_id,
            epoch: record.broker_epoch,
            incarnation_id: record.incarnation_id,
            end_points: record.end_points.clone(),
            features: record.features.clone(),
            rack: record.rack.clone(),
            fenced: record.fenced,
            in_controlled_shutdown: record.in_controlled_shutdown,
            log_dirs,
            cordoned_log_dirs: record.cordoned_log_dirs.clone(),
        }
    }
}

impl BrokersImage {
    /// Whether a replica cannot serve: its broker is away, or the directory it lies in (`KRaftMetadataCache.isReplicaOffline`).
    pub fn is_replica_offline(&self, partition: &PartitionRegistration, replica: i32) -> bool {
        self.get(replica).is_none_or(|broker| {
            broker.fenced
                || !partition.directory(replica).is_some_and(|directory| broker.has_online_directory(directory))
        })
    }

    /// The registration of a broker.
    pub fn get(&self, id: i32) -> Option<&Arc<BrokerRegistration>> {
        self.by_id.get(&id)
    }

    /// All brokers, sorted by id.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<BrokerRegistration>> {
        self.by_id.values()
    }

    /// The brokers that are not fenced, sorted by id: those that clients are told of.
    pub fn alive(&self) -> impl Iterator<Item = &Arc<BrokerRegistration>> {
        self.iter().filter(|broker| !broker.fenced)
    }

    /// Whether the broker is registered and neither fenced nor stopping.
    pub fn is_active(&self, id: i32) -> bool {
        self.get(id).is_some_and(|broker| broker.is_active())
    }

    /// Whether the broker is registered and not fenced.
    pub fn is_unfenced(&self, id: i32) -> bool {
        self.get(id).is_some_and(|broker| !broker.fenced)
    }

    /// How many brokers there are.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    pub(super) fn records(&self, records: &mut Vec<Record>) {
        records.extend(self.iter().map(|broker| Record::RegisterBroker(broker.to_record())));
    }
}
