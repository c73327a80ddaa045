//! IncrementalAlterConfigs (key 44): keys are set, deleted, extended or shortened, each resource for itself.
//!
//! Versions 0-1 (KIP-339). One bad key leaves its whole resource as it was. Absent: BROKER_LOGGER, and whether a broker
//! can change a key while it runs; the broker that got the request sees to both before it asks.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::incremental_alter_configs_request::AlterConfigsResource;
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};

use crate::config_def::ConfigType;
use crate::image::{ConfigResource, ConfigResourceType};
use crate::record::Record;
use crate::topic_config;

use super::answer::ApiError;
use super::config_change::{check, check_shape, decide_each, records};
use super::{Context, Decision, Response};

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

pub(super) fn decide(context: &Context<'_>, request: &IncrementalAlterConfigsRequest) -> Decision {
    let (records, refusals) = decide_each(
        context,
        request.validate_only,
        &request.resources,
        |resource| (resource.resource_type, &resource.resource_name),
        |resource, is_twice| alter(context, resource, is_twice),
    );
    let rows = request.resources.iter().zip(refusals).map(|(resource, error)| {
        AlterConfigsResourceResponse::default()
            .with_error_code(error.as_ref().map_or(0, |error| error.code))
            .with_error_message(error.as_ref().and_then(ApiError::message))
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone())
    });
    let response = IncrementalAlterConfigsResponse::default().with_responses(rows.collect());
    Decision { records, response: Response::IncrementalAlterConfigs(response) }
}

fn alter(context: &Context<'_>, wanted: &AlterConfigsResource, is_twice: bool) -> Result<Vec<Record>, ApiError> {
    let keys: Vec<_> = wanted
        .configs
        .iter()
        .map(|config| (config.name.as_str(), config.config_operation != DELETE && config.value.is_none()))
        .collect();
    let resource = check_shape(wanted.resource_type, &wanted.resource_name, is_twice, &keys)?;
    let present = context.image.configs.get(&resource);
    let mut changes = BTreeMap::new();
    for config in &wanted.configs {
        let key = config.name.as_str();
        let given = config.value.as_deref().unwrap_or_default();
        let value = match config.config_operation {
            SET => Some(given.to_owned()),
            DELETE => None,
            APPEND | SUBTRACT => {
                let Some(default) = list_default(&resource, key) else {
                    let operation = if config.config_operation == APPEND { "APPEND" } else { "SUBTRACT" };
                    let message = format!("Can't {operation} to key {key} because its type is not LIST.");
                    return Err(ApiError::new(ResponseError::InvalidConfig, message));
                };
                let list = present.get(key).map_or(default, |value| value);
                Some(edit_list(list, given, config.config_operation == APPEND))
            }
            _ => return Err(ApiError::without_message(ResponseError::UnknownServerError)),
        };
        changes.insert(Arc::from(key), value.map(Arc::from));
    }
    check(context, &resource, &changes)?;
    Ok(records(context, &resource, changes))
}

/// The default of a LIST key; None when it is another type or unknown.
fn list_default(resource: &ConfigResource, key: &str) -> Option<&'static str> {
    match resource.resource_type {
        ConfigResourceType::Topic => {
            let def = topic_config::definition(key)?;
            (def.kind == ConfigType::List).then(|| def.default.unwrap_or_default())
        }
        ConfigResourceType::Broker => broker_list_default(key),
        ConfigResourceType::BrokerLogger | ConfigResourceType::ClientMetrics | ConfigResourceType::Group => None,
    }
}

/// The LIST keys of a broker and their defaults. A key with a listener's prefix is not one of them, as in Kafka.
fn broker_list_default(key: &str) -> Option<&'static str> {
    match key {
        "advertised.listeners"
        | "config.providers"
        | "controller.listener.names"
        | "controller.quorum.bootstrap.servers"
        | "controller.quorum.voters"
        | "cordoned.log.dirs"
        | "early.start.listeners"
        | "kafka.metrics.reporters"
        | "log.dirs"
        | "process.roles"
        | "sasl.oauthbearer.expected.audience"
        | "ssl.cipher.suites" => Some(""),
        "group.consumer.assignors" => Some("uniform,range"),
        "group.coordinator.rebalance.protocols" => Some("classic,consumer,streams"),
        "group.share.assignors" => Some("simple"),
        "listeners" => Some("PLAINTEXT://:9092"),
        "log.cleanup.policy" => Some("delete"),
        "log.dir" => Some("/tmp/kafka-logs"),
        "metric.reporters" => Some("org.apache.kafka.common.metrics.JmxReporter"),
        "sasl.enabled.mechanisms" => Some("GSSAPI"),
        "sasl.kerberos.principal.to.local.rules" => Some("DEFAULT"),
        "ssl.enabled.protocols" => Some("TLSv1.2,TLSv1.3"),
        _ => None,
    }
}

/// Blanks around an element count here, as in Kafka; they fall away where the value is parsed.
fn edit_list(list: &str, given: &str, append: bool) -> String {
    let mut items: Vec<&str> = list.split(',').filter(|item| !item.is_empty()).collect();
    for item in given.split(',') {
        if !append {
            items.retain(|present| *present != item);
        } else if !items.contains(&item) {
            items.push(item);
        }
    }
    items.join(",")
}
