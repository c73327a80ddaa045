//! What both forms of AlterConfigs have in common: the checks of a resource and the records of its change.
//!
//! As `ConfigAdminManager.preprocess` (resource twice, key twice, null values, type) and then
//! `ConfigurationControlManager.validateAlterConfig`: what eligible leader replicas forbid, the values, existence.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kafka_protocol::ResponseError;

use crate::image::{ConfigMap, ConfigResource, ConfigResourceType};
use crate::record::{ClearElrRecord, ConfigRecord, Record};
use crate::topic_config;

use super::Context;
use super::answer::ApiError;
use super::topic_name::validate_topic_name;

const MIN_INSYNC_REPLICAS: &str = "min.insync.replicas";
/// `Short.MAX_VALUE`: what fits the record's string.
const MAX_VALUE_LENGTH: usize = 32_767;

/// Decides each resource for itself: the records of those that succeed, and of each its refusal, in the request's order.
pub(super) fn decide_each<'a, R>(
    context: &Context<'_>,
    validate_only: bool,
    resources: &'a [R],
    key: impl Fn(&'a R) -> (i8, &'a str),
    alter: impl Fn(&'a R, bool) -> Result<Vec<Record>, ApiError>,
) -> (Vec<Record>, Vec<Option<ApiError>>) {
    let twice = twice(resources.iter().map(&key));
    let mut decided = Vec::new();
    let mut refusals = Vec::with_capacity(resources.len());
    for resource in resources {
        match alter(resource, twice.contains(&key(resource))) {
            Ok(records) => {
                decided.extend(records);
                refusals.push(None);
            }
            Err(error) => refusals.push(Some(error)),
        }
    }
    clear_elr(context, &mut decided);
    if validate_only {
        decided.clear();
    }
    (decided, refusals)
}

/// Resources that come more than once.
fn twice<'a>(resources: impl Iterator<Item = (i8, &'a str)>) -> BTreeSet<(i8, &'a str)> {
    let mut seen = BTreeSet::new();
    resources.filter(|resource| !seen.insert(*resource)).collect()
}

/// The checks before anything is looked up. `keys` are (name, whether its value is a null that is not allowed).
pub(super) fn check_shape(
    resource_type: i8,
    resource_name: &str,
    is_twice: bool,
    keys: &[(&str, bool)],
) -> Result<ConfigResource, ApiError> {
    let refuse = |message: String| Err(ApiError::new(ResponseError::InvalidRequest, message));
    if is_twice {
        return refuse("Each resource must appear at most once.".to_owned());
    }
    let mut seen = BTreeSet::new();
    if !keys.iter().all(|(name, _)| seen.insert(*name)) {
        return refuse("Error due to duplicate config keys".to_owned());
    }
    let nulls: Vec<_> = keys.iter().filter(|(_, is_null)| *is_null).map(|(name, _)| *name).collect();
    if !nulls.is_empty() {
        return refuse(format!("Null value not supported for : {}", nulls.join(", ")));
    }
    match ConfigResourceType::from_id(resource_type) {
        Some(resource_type) => Ok(ConfigResource { resource_type, name: resource_name.into() }),
        None => refuse(format!("Unknown resource type {resource_type}")),
    }
}

/// Checks that the resource may have its configuration changed like this, and exists.
pub(super) fn check(
    context: &Context<'_>,
    resource: &ConfigResource,
    changes: &BTreeMap<Arc<str>, Option<Arc<str>>>,
) -> Result<(), ApiError> {
    let mut all: ConfigMap = context.image.configs.get(resource).clone();
    for (key, value) in changes {
        if context.image.features.elr_enabled() {
            check_min_isr(resource, key, value.as_deref())?;
        }
        match value {
            Some(value) if value.len() > MAX_VALUE_LENGTH => {
                let message = format!(
                    "The configuration value cannot be added because it exceeds the maximum value size of \
                     {MAX_VALUE_LENGTH} bytes."
                );
                return Err(ApiError::new(ResponseError::InvalidConfig, message));
            }
            Some(value) => {
                all.insert(Arc::clone(key), Arc::clone(value));
            }
            None => {
                all.remove(key);
            }
        }
    }
    let invalid = |message: &str| Err(ApiError::new(ResponseError::InvalidRequest, message));
    match resource.resource_type {
        ConfigResourceType::Topic => check_topic(context, &resource.name, &all),
        ConfigResourceType::Broker => check_broker(context, &resource.name),
        ConfigResourceType::Group if resource.name.is_empty() => invalid("Default group resources are not allowed."),
        ConfigResourceType::ClientMetrics if resource.name.is_empty() => invalid("Subscription name can't be empty"),
        ConfigResourceType::Group => match changes.keys().next() {
            None => Ok(()),
            Some(key) => Err(ApiError::new(ResponseError::InvalidConfig, format!("Unknown group config name: {key}"))),
        },
        ConfigResourceType::ClientMetrics => match changes.keys().next() {
            None => Ok(()),
            Some(key) => invalid(&format!("Unknown client metrics configuration: {key}")),
        },
        ConfigResourceType::BrokerLogger => invalid("Unexpected resource type BROKER_LOGGER"),
    }
}

fn check_topic(context: &Context<'_>, name: &str, all: &ConfigMap) -> Result<(), ApiError> {
    if name.is_empty() {
        return Err(ApiError::new(ResponseError::InvalidRequest, "Default topic resources are not allowed."));
    }
    validate_topic_name(name)
        .map_err(|error| ApiError::new(ResponseError::InvalidTopicException, error.to_string()))?;
    topic_config::validate(all).map_err(|error| ApiError::new(ResponseError::InvalidConfig, error.to_string()))?;
    if context.image.topics.by_name(name).is_none() {
        let message = format!("The topic '{name}' does not exist.");
        return Err(ApiError::new(ResponseError::UnknownTopicOrPartition, message));
    }
    Ok(())
}

fn check_broker(context: &Context<'_>, name: &str) -> Result<(), ApiError> {
    let invalid = |message: String| Err(ApiError::new(ResponseError::InvalidRequest, message));
    if name.is_empty() {
        return Ok(());
    }
    match name.parse::<i32>() {
        Err(_) => invalid(format!("Node id must be an integer, but it is: {name}")),
        Ok(id) if context.image.brokers.get(id).is_none() => {
            Err(ApiError::new(ResponseError::BrokerIdNotRegistered, format!("No node with id {id} found.")))
        }
        Ok(_) => Ok(()),
    }
}

/// With eligible leader replicas `min.insync.replicas` is the topics' and the cluster's alone (KIP-966).
fn check_min_isr(resource: &ConfigResource, key: &str, value: Option<&str>) -> Result<(), ApiError> {
    if resource.resource_type != ConfigResourceType::Broker || key != MIN_INSYNC_REPLICAS {
        return Ok(());
    }
    let refuse = |message: &str| Err(ApiError::new(ResponseError::InvalidConfig, message));
    if !resource.name.is_empty() {
        refuse("Broker-level min.insync.replicas cannot be altered while ELR is enabled.")
    } else if value.is_none() {
        refuse("Cluster-level min.insync.replicas cannot be removed while ELR is enabled.")
    } else {
        Ok(())
    }
}

/// The records of a checked change. A broker's key is written even when it stays as it is: that makes brokers read
/// again what the key names (a key store, say).
pub(super) fn records(
    context: &Context<'_>,
    resource: &ConfigResource,
    changes: BTreeMap<Arc<str>, Option<Arc<str>>>,
) -> Vec<Record> {
    let present = context.image.configs.get(resource);
    changes
        .into_iter()
        .filter(|(key, value)| {
            resource.resource_type == ConfigResourceType::Broker || present.get(key) != value.as_ref()
        })
        .map(|(name, value)| {
            Record::Config(ConfigRecord {
                resource_type: resource.resource_type.id(),
                resource_name: Arc::clone(&resource.name),
                name,
                value,
            })
        })
        .collect()
}

/// A new `min.insync.replicas` makes who was eligible under the old one meaningless.
fn clear_elr(context: &Context<'_>, records: &mut Vec<Record>) {
    if !context.image.features.elr_enabled() {
        return;
    }
    let mut topics = BTreeSet::new();
    for record in records.iter() {
        if let Record::Config(config) = record
            && &*config.name == MIN_INSYNC_REPLICAS
        {
            match ConfigResourceType::from_id(config.resource_type) {
                Some(ConfigResourceType::Topic) => topics.insert(Arc::clone(&config.resource_name)),
                Some(ConfigResourceType::Broker) => topics.insert(Arc::from("")),
                _ => false,
            };
        }
    }
    let all = topics.contains("");
    let cleared = topics.into_iter().filter(|topic| !all || topic.is_empty());
    records.extend(cleared.map(|topic_name| Record::ClearElr(ClearElrRecord { topic_name })));
}
