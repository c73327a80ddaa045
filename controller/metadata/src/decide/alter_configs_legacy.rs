//! AlterConfigs (key 33): what is given replaces everything that was set, each resource for itself.
//!
//! Versions 0-2; deprecated, and still what older admin clients send. A key that is not given is deleted.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_protocol::messages::alter_configs_request::AlterConfigsResource;
use kafka_protocol::messages::alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{AlterConfigsRequest, AlterConfigsResponse};

use crate::record::Record;

use super::answer::ApiError;
use super::config_change::{check, check_shape, clear_elr, records, twice};
use super::{Context, Decision, Response};

pub(super) fn decide(context: &Context<'_>, request: &AlterConfigsRequest) -> Decision {
    let twice = twice(request.resources.iter().map(|resource| (resource.resource_type, &*resource.resource_name)));
    let mut decided = Vec::new();
    let mut responses = Vec::new();
    for resource in &request.resources {
        let is_twice = twice.contains(&(resource.resource_type, &*resource.resource_name));
        let error = match alter(context, resource, is_twice) {
            Ok(records) => {
                decided.extend(records);
                None
            }
            Err(error) => Some(error),
        };
        responses.push(
            AlterConfigsResourceResponse::default()
                .with_error_code(error.as_ref().map_or(0, |error| error.code))
                .with_error_message(error.as_ref().and_then(ApiError::message))
                .with_resource_type(resource.resource_type)
                .with_resource_name(resource.resource_name.clone()),
        );
    }
    clear_elr(context, &mut decided);
    if request.validate_only {
        decided.clear();
    }
    let response = AlterConfigsResponse::default().with_responses(responses);
    Decision { records: decided, response: Response::AlterConfigs(response) }
}

fn alter(context: &Context<'_>, wanted: &AlterConfigsResource, is_twice: bool) -> Result<Vec<Record>, ApiError> {
    let keys: Vec<_> = wanted.configs.iter().map(|config| (config.name.as_str(), config.value.is_none())).collect();
    let resource = check_shape(wanted.resource_type, &wanted.resource_name, is_twice, &keys)?;
    let mut changes: BTreeMap<Arc<str>, Option<Arc<str>>> =
        context.image.configs.get(&resource).keys().map(|key| (Arc::clone(key), None)).collect();
    for config in &wanted.configs {
        changes.insert(Arc::from(config.name.as_str()), config.value.as_deref().map(Arc::from));
    }
    check(context, &resource, &changes)?;
    Ok(records(context, &resource, changes))
}
