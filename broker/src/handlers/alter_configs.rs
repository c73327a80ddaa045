//! AlterConfigs (key 33): replaces all that is set on a resource; deprecated, still sent by older clients.
//!
//! Versions 0-2 (v2 flexible). What concerns this broker is validated here, then the controller decides
//! (`milena_metadata::decide::alter_configs_legacy`). Source: `ConfigAdminManager.preprocess`, `process`.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::alter_configs_request::AlterConfigsResource;
use kafka_protocol::messages::alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{AlterConfigsRequest, AlterConfigsResponse};
use milena_metadata::decide::{Operation, Response};

use super::common::{ADMIN_TIMEOUT, BROKER, altered_broker, in_order, text};
use super::context::Context;
use crate::config::{InvalidAlteration, validate_broker_replace};

type Key = (i8, String);

pub(super) async fn handle(context: &Context<'_>, request: AlterConfigsRequest) -> AlterConfigsResponse {
    let order: Vec<Key> = request.resources.iter().map(key).collect();
    let mut rows: Vec<(Key, AlterConfigsResourceResponse)> = Vec::with_capacity(order.len());
    let mut forwarded = request.clone();
    forwarded.resources.retain(|resource| match validate(context, resource) {
        Ok(()) => true,
        Err((error, message)) => {
            rows.push((key(resource), row(resource, error, &message)));
            false
        }
    });
    if !forwarded.resources.is_empty() {
        let resources = forwarded.resources.clone();
        let operation = Operation::AlterConfigs { version: context.version, request: forwarded };
        match context.node.submit(operation, ADMIN_TIMEOUT).await {
            Ok(Response::AlterConfigs(response)) => rows.extend(
                response.responses.into_iter().map(|row| ((row.resource_type, row.resource_name.to_string()), row)),
            ),
            Ok(_) => unreachable!("the controller answers with the operation's own response"),
            Err(error) => rows.extend(resources.iter().map(|resource| (key(resource), row(resource, error, &error.to_string())))),
        }
    }
    AlterConfigsResponse::default().with_responses(in_order(&order, rows))
}

fn key(resource: &AlterConfigsResource) -> Key {
    (resource.resource_type, resource.resource_name.to_string())
}

fn row(resource: &AlterConfigsResource, error: ResponseError, message: &str) -> AlterConfigsResourceResponse {
    AlterConfigsResourceResponse::default()
        .with_resource_type(resource.resource_type)
        .with_resource_name(resource.resource_name.clone())
        .with_error_code(error.code())
        .with_error_message(Some(text(message)))
}

fn validate(context: &Context<'_>, resource: &AlterConfigsResource) -> Result<(), (ResponseError, String)> {
    if resource.resource_type != BROKER {
        return Ok(());
    }
    let scope = altered_broker(context, &resource.resource_name)?;
    let mut entries = Vec::with_capacity(resource.configs.len());
    for config in &resource.configs {
        // A null value is the controller's to refuse.
        let Some(value) = &config.value else { return Ok(()) };
        entries.push((config.name.as_str(), value.as_str()));
    }
    let image = context.node.image();
    validate_broker_replace(&context.node.config, &image, scope, &entries).map_err(|error| match error {
        InvalidAlteration::InvalidRequest(message) => (ResponseError::InvalidRequest, message),
        InvalidAlteration::InvalidConfig(message) => (ResponseError::InvalidConfig, message),
    })
}
