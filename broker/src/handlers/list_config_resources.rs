//! ListConfigResources (key 74): the names of resources that can be configured.
//!
//! Versions 0-1: v0 lists client metrics subscriptions only (KIP-714), v1 the types asked for (KIP-1142), all
//! supported ones if none is named. Source: `KafkaApis.handleListConfigResources`.

use std::collections::BTreeSet;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::list_config_resources_response::ConfigResource;
use kafka_protocol::messages::{ListConfigResourcesRequest, ListConfigResourcesResponse};
use milena_metadata::image::ConfigResourceType;

use super::common::text;
use super::context::Context;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const BROKER_LOGGER: i8 = 8;
const CLIENT_METRICS: i8 = 16;
const GROUP: i8 = 32;

pub(super) fn handle(context: &Context<'_>, request: ListConfigResourcesRequest) -> ListConfigResourcesResponse {
    let supported = BTreeSet::from([TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP]);
    let asked: BTreeSet<i8> = if context.version == 0 {
        BTreeSet::from([CLIENT_METRICS])
    } else if request.resource_types.is_empty() {
        supported.clone()
    } else {
        request.resource_types.iter().copied().collect()
    };
    if !asked.is_subset(&supported) {
        return ListConfigResourcesResponse::default().with_error_code(ResponseError::UnsupportedVersion.code());
    }
    let image = context.node.image();
    let mut resources = Vec::new();
    for resource_type in asked {
        let names: Vec<String> = match resource_type {
            TOPIC => image.topics.iter().map(|topic| topic.name.to_string()).collect(),
            BROKER | BROKER_LOGGER => image.brokers.iter().map(|broker| broker.id.to_string()).collect(),
            _ => {
                let kind = ConfigResourceType::from_id(resource_type);
                let set = image.configs.iter().filter(|(resource, _)| Some(resource.resource_type) == kind);
                set.map(|(resource, _)| resource.name.to_string()).collect()
            }
        };
        resources.extend(names.into_iter().map(|name| {
            let mut resource = ConfigResource::default().with_resource_name(text(&name));
            if context.version >= 1 {
                resource.resource_type = resource_type;
            }
            resource
        }));
    }
    ListConfigResourcesResponse::default().with_config_resources(resources)
}
