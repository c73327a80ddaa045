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
use super::config_change::{check, check_shape, decide_each, records};
use super::{Context, Decision, Response};

pub(super) fn decide(context: &Context<'_>, request: &AlterConfigsRequest) -> Decision {
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
    let response = AlterConfigsResponse::default().with_responses(rows.collect());
    Decision { records, response: Response::AlterConfigs(response) }
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
