//! IncrementalAlterConfigs (key 44): sets, deletes, extends and shortens single keys (KIP-339).
//!
//! Versions 0-1 (v1 flexible). What concerns this broker is validated or, for its loggers, done here; then the
//! controller decides (`milena_metadata::decide::alter_configs`). One bad key leaves its whole resource unchanged.
//! Source: `ConfigAdminManager.preprocess`.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::incremental_alter_configs_request::AlterConfigsResource;
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};
use kafka_protocol::protocol::StrBytes;
use milena_metadata::decide::{Operation, Response};

use super::common::{ADMIN_TIMEOUT, BROKER, BROKER_LOGGER, INVALID_REQUEST, altered_broker, in_order, text};
use super::context::Context;
use crate::config::{AlterOperation, Alteration, InvalidAlteration, validate_broker_alter};

type Key = (i8, String);
type Refusal = (ResponseError, String);

pub(super) async fn handle(
    context: &Context<'_>,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let order: Vec<Key> = request.resources.iter().map(key).collect();
    let mut rows: Vec<(Key, AlterConfigsResourceResponse)> = Vec::with_capacity(order.len());
    let mut forwarded = request.clone();
    forwarded.resources.retain(|resource| match preprocess(context, resource, request.validate_only) {
        Ok(Road::Controller) => true,
        Ok(Road::Done) => {
            rows.push((key(resource), row(resource, 0, None)));
            false
        }
        Err((error, message)) => {
            rows.push((key(resource), row(resource, error.code(), Some(&message))));
            false
        }
    });
    if !forwarded.resources.is_empty() {
        let resources = forwarded.resources.clone();
        let operation = Operation::IncrementalAlterConfigs { version: context.version, request: forwarded };
        match context.node.submit(operation, ADMIN_TIMEOUT).await {
            Ok(Response::IncrementalAlterConfigs(response)) => rows.extend(
                response.responses.into_iter().map(|row| ((row.resource_type, row.resource_name.to_string()), row)),
            ),
            Ok(_) => unreachable!("the controller answers with the operation's own response"),
            Err(error) => {
                rows.extend(resources.iter().map(|resource| (key(resource), row(resource, error.code(), None))));
            }
        }
    }
    IncrementalAlterConfigsResponse::default().with_responses(in_order(&order, rows))
}

fn key(resource: &AlterConfigsResource) -> Key {
    (resource.resource_type, resource.resource_name.to_string())
}

fn row(resource: &AlterConfigsResource, error_code: i16, message: Option<&str>) -> AlterConfigsResourceResponse {
    AlterConfigsResourceResponse::default()
        .with_resource_type(resource.resource_type)
        .with_resource_name(resource.resource_name.clone())
        .with_error_code(error_code)
        .with_error_message(message.map(text))
}

/// Where a resource goes on.
enum Road {
    Controller,
    Done,
}

fn preprocess(context: &Context<'_>, resource: &AlterConfigsResource, validate_only: bool) -> Result<Road, Refusal> {
    match resource.resource_type {
        BROKER => validate_broker(context, resource).map(|()| Road::Controller),
        BROKER_LOGGER => {
            altered_broker(context, &resource.resource_name)?;
            let alterations = alterations(resource)
                .ok_or_else(|| (ResponseError::InvalidRequest, INVALID_REQUEST.to_owned()))?;
            crate::logging::alter_loggers(&alterations, validate_only).map_err(refusal)?;
            Ok(Road::Done)
        }
        _ => Ok(Road::Controller),
    }
}

fn validate_broker(context: &Context<'_>, resource: &AlterConfigsResource) -> Result<(), Refusal> {
    let scope = altered_broker(context, &resource.resource_name)?;
    // Unknown operations, null values and repeated keys are the controller's to refuse.
    let Some(alterations) = alterations(resource) else { return Ok(()) };
    let image = context.node.image();
    validate_broker_alter(&context.node.config, &image, scope, &alterations).map_err(refusal)
}

fn refusal(error: InvalidAlteration) -> Refusal {
    match error {
        InvalidAlteration::InvalidRequest(message) => (ResponseError::InvalidRequest, message),
        InvalidAlteration::InvalidConfig(message) => (ResponseError::InvalidConfig, message),
    }
}

fn alterations(resource: &AlterConfigsResource) -> Option<Vec<Alteration<'_>>> {
    let mut alterations: Vec<Alteration<'_>> = Vec::with_capacity(resource.configs.len());
    for config in &resource.configs {
        let operation = match config.config_operation {
            0 => AlterOperation::Set,
            1 => AlterOperation::Delete,
            2 => AlterOperation::Append,
            3 => AlterOperation::Subtract,
            _ => return None,
        };
        let value = config.value.as_ref().map(StrBytes::as_str);
        if value.is_none() && operation != AlterOperation::Delete {
            return None;
        }
        if alterations.iter().any(|known| known.name == config.name.as_str()) {
            return None;
        }
        alterations.push(Alteration { name: config.name.as_str(), operation, value });
    }
    Some(alterations)
}
