//! DescribeConfigs (key 32): the configuration in force, where each value comes from, and what stands behind it.
//!
//! Versions 0-4: v1 sources and synonyms (KIP-226), v3 type and documentation (KIP-569), v4 flexible. Documentation is not kept here and answered as
//! null. A broker's configuration is told by that broker; the resource "" is the cluster's default, of which only
//! what was set is listed. Source: `ConfigHelper.describeConfigs`.

use std::collections::BTreeSet;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};
use kafka_protocol::protocol::StrBytes;
use milena_metadata::image::MetadataImage;
use milena_metadata::topic_config;

use super::common::{BROKER, BROKER_LOGGER, INVALID_REQUEST, invalid_topic_name, text};
use super::context::Context;
use crate::config::{ConfigEntry, ConfigSynonym, describe_broker, describe_default_broker};

const TOPIC: i8 = 2;
/// First version that tells a key's type.
const TYPES: i16 = 3;

type Refusal = (ResponseError, String);

pub(super) fn handle(context: &Context<'_>, request: DescribeConfigsRequest) -> DescribeConfigsResponse {
    let image = context.node.image();
    // Kafka answers a resource as often as it is named. An answer is thousands of times as large as its name, so a
    // frame of a few megabytes would take all memory; no client of Kafka's names one twice.
    let mut answered = BTreeSet::new();
    let once = request.resources.into_iter().filter(|resource| {
        // A broker's id may be written with any number of zeros.
        let id = if resource.resource_type == TOPIC { None } else { resource.resource_name.parse::<i32>().ok() };
        let name = if id.is_some() { StrBytes::new() } else { resource.resource_name.clone() };
        answered.insert((resource.resource_type, id, name))
    });
    let results = once.map(|resource| {
        let result = DescribeConfigsResult::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone());
        match describe(context, &image, &resource) {
            Ok(entries) => {
                let wanted = wanted_keys(&resource);
                let configs = entries
                    .into_iter()
                    .filter(|entry| wanted.as_ref().is_none_or(|wanted| wanted.contains(entry.name.as_str())))
                    .map(|entry| row(context.version, entry, request.include_synonyms))
                    .collect();
                result.with_error_message(Some(text(""))).with_configs(configs)
            }
            Err((error, message)) => result.with_error_code(error.code()).with_error_message(Some(text(&message))),
        }
    });
    DescribeConfigsResponse::default().with_results(results.collect())
}

/// `None` is all; an empty list is all, too.
fn wanted_keys(resource: &DescribeConfigsResource) -> Option<BTreeSet<&str>> {
    let keys = resource.configuration_keys.as_ref().filter(|keys| !keys.is_empty())?;
    Some(keys.iter().map(StrBytes::as_str).collect())
}

fn describe(
    context: &Context<'_>,
    image: &MetadataImage,
    resource: &DescribeConfigsResource,
) -> Result<Vec<ConfigEntry>, Refusal> {
    let name = resource.resource_name.as_str();
    match resource.resource_type {
        TOPIC => describe_topic(context, image, name),
        BROKER if name.is_empty() => Ok(describe_default_broker(image)),
        BROKER => {
            own_id(context, name, true)?;
            Ok(describe_broker(image, context.node.id, &context.node.config.static_config))
        }
        BROKER_LOGGER => {
            own_id(context, name, false)?;
            Ok(crate::logging::describe_loggers())
        }
        _ => Err((ResponseError::InvalidRequest, INVALID_REQUEST.to_owned())),
    }
}

fn describe_topic(context: &Context<'_>, image: &MetadataImage, name: &str) -> Result<Vec<ConfigEntry>, Refusal> {
    if let Some(message) = invalid_topic_name(name) {
        return Err((ResponseError::InvalidTopicException, message));
    }
    if image.topics.by_name(name).is_none() {
        return Err((ResponseError::UnknownTopicOrPartition, String::new()));
    }
    let layers = context.node.layers(image);
    let entries = topic_config::describe(image.configs.topic(name), &layers).into_iter().map(|config| ConfigEntry {
        name: config.definition.name.to_owned(),
        value: Some(config.value),
        source: config.source,
        read_only: false,
        sensitive: false,
        kind: Some(config.definition.kind),
        synonyms: config
            .synonyms
            .into_iter()
            .map(|(name, value, source)| ConfigSynonym { name, value: Some(value), source })
            .collect(),
    });
    Ok(entries.collect())
}

/// The resource must be this broker.
fn own_id(context: &Context<'_>, name: &str, or_empty: bool) -> Result<(), Refusal> {
    let expected = context.node.id;
    let id: i32 = name
        .parse()
        .map_err(|_| (ResponseError::InvalidRequest, format!("Broker id must be an integer, but it is: {name}")))?;
    if id == expected {
        return Ok(());
    }
    let or_empty = if or_empty { " or empty string," } else { "" };
    let message = format!("Unexpected broker id, expected {expected}{or_empty} but received {name}");
    Err((ResponseError::InvalidRequest, message))
}

fn row(version: i16, entry: ConfigEntry, include_synonyms: bool) -> DescribeConfigsResourceResult {
    let synonyms = entry.synonyms.into_iter().filter(|_| include_synonyms).map(|synonym| {
        DescribeConfigsSynonym::default()
            .with_name(text(&synonym.name))
            .with_value(synonym.value.as_deref().map(text))
            .with_source(synonym.source.id())
    });
    let mut row = DescribeConfigsResourceResult::default()
        .with_name(text(&entry.name))
        .with_value(entry.value.as_deref().map(text))
        .with_read_only(entry.read_only)
        .with_config_source(entry.source.id())
        .with_is_sensitive(entry.sensitive)
        .with_synonyms(synonyms.collect())
        .with_documentation(None);
    if version >= TYPES {
        row.config_type = entry.kind.map_or(0, milena_metadata::ConfigType::id);
    }
    row
}
