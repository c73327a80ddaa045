//! What was configured dynamically, per resource.

use std::sync::Arc;

use imbl::OrdMap;

use crate::record::{ConfigRecord, Record};

/// The keys and values set on one resource.
pub type ConfigMap = OrdMap<Arc<str>, Arc<str>>;

/// What can be configured, with Kafka's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i8)]
pub enum ConfigResourceType {
    /// A topic.
    Topic = 2,
    /// A broker, or with an empty name the default of all.
    Broker = 4,
    /// The levels of a broker's loggers; never stored.
    BrokerLogger = 8,
    /// A client metrics subscription.
    ClientMetrics = 16,
    /// A group.
    Group = 32,
}

impl ConfigResourceType {
    /// The type of that number.
    pub fn from_id(id: i8) -> Option<Self> {
        match id {
            2 => Some(ConfigResourceType::Topic),
            4 => Some(ConfigResourceType::Broker),
            8 => Some(ConfigResourceType::BrokerLogger),
            16 => Some(ConfigResourceType::ClientMetrics),
            32 => Some(ConfigResourceType::Group),
            _ => None,
        }
    }

    /// Kafka's number.
    pub fn id(self) -> i8 {
        self as i8
    }
}

/// What a configuration belongs to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConfigResource {
    /// Its type.
    pub resource_type: ConfigResourceType,
    /// Its name: a topic's name, a broker's id in decimal, "" for the default of all brokers.
    pub name: Arc<str>,
}

impl ConfigResource {
    /// A topic.
    pub fn topic(name: impl Into<Arc<str>>) -> Self {
        ConfigResource { resource_type: ConfigResourceType::Topic, name: name.into() }
    }

    /// A broker.
    pub fn broker(id: i32) -> Self {
        ConfigResource { resource_type: ConfigResourceType::Broker, name: id.to_string().into() }
    }

    /// The default of all brokers.
    pub fn default_broker() -> Self {
        ConfigResource { resource_type: ConfigResourceType::Broker, name: "".into() }
    }
}

/// All dynamic configurations. A resource without a key is not listed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigsImage {
    by_resource: OrdMap<ConfigResource, ConfigMap>,
    /// What `get` answers for a resource without a key.
    empty: ConfigMap,
}

impl ConfigsImage {
    /// The keys set on a resource; empty when there are none.
    pub fn get(&self, resource: &ConfigResource) -> &ConfigMap {
        self.by_resource.get(resource).unwrap_or(&self.empty)
    }

    /// The keys set on a topic.
    pub fn topic(&self, name: &str) -> &ConfigMap {
        self.get(&ConfigResource::topic(name))
    }

    /// The keys set on a broker.
    pub fn broker(&self, id: i32) -> &ConfigMap {
        self.get(&ConfigResource::broker(id))
    }

    /// The keys set for all brokers.
    pub fn default_broker(&self) -> &ConfigMap {
        self.get(&ConfigResource::default_broker())
    }

    /// All resources that have a key, sorted.
    pub fn iter(&self) -> impl Iterator<Item = (&ConfigResource, &ConfigMap)> {
        self.by_resource.iter()
    }

    pub(super) fn by_resource(&self) -> &OrdMap<ConfigResource, ConfigMap> {
        &self.by_resource
    }

    pub(super) fn set(&mut self, resource: ConfigResource, key: Arc<str>, value: Option<Arc<str>>) {
        let mut configs = self.get(&resource).clone();
        match value {
            Some(value) => {
                configs.insert(key, value);
            }
            None => {
                configs.remove(&key);
            }
        }
        if configs.is_empty() {
            self.by_resource.remove(&resource);
        } else {
            self.by_resource.insert(resource, configs);
        }
    }

    pub(super) fn remove(&mut self, resource: &ConfigResource) -> bool {
        self.by_resource.remove(resource).is_some()
    }

    pub(super) fn records(&self, records: &mut Vec<Record>) {
        for (resource, configs) in self.iter() {
            for (key, value) in configs {
                records.push(Record::Config(ConfigRecord {
                    resource_type: resource.resource_type.id(),
                    resource_name: Arc::clone(&resource.name),
                    name: Arc::clone(key),
                    value: Some(Arc::clone(value)),
                }));
            }
        }
    }
}
