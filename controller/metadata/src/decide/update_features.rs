//! UpdateFeatures (key 57): feature levels rise or fall, all or none.
//!
//! Versions 0-2: v1 adds the type of the change and validate_only, v2 answers no rows. `FeatureControlManager`: one
//! update that cannot be made refuses them all with one top-level error. The order of checks: the type, a negative
//! level, what the controller and then the brokers can serve, the direction, what `metadata.version` allows.

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::update_features_request::FeatureUpdateKey;
use kafka_protocol::messages::update_features_response::UpdatableFeatureResult;
use kafka_protocol::messages::{UpdateFeaturesRequest, UpdateFeaturesResponse};
use kafka_protocol::protocol::StrBytes;

use crate::image::{
    ConfigResource, ConfigResourceType, ELIGIBLE_LEADER_REPLICAS_VERSION, FeaturesImage, METADATA_VERSION,
    SUPPORTED_FEATURES,
};
use crate::record::{ConfigRecord, FeatureLevelRecord, Record};

use super::answer::ApiError;
use super::{Context, Decision, Response};

const UPGRADE: i8 = 1;
const SAFE_DOWNGRADE: i8 = 2;
const UNSAFE_DOWNGRADE: i8 = 3;
const KRAFT_VERSION: &str = "kraft.version";
const MIN_INSYNC_REPLICAS: &str = "min.insync.replicas";

pub(super) fn decide(context: &Context<'_>, version: i16, request: &UpdateFeaturesRequest) -> Decision {
    let mut records = Vec::new();
    let mut error = None;
    for update in &request.feature_updates {
        match update_one(context, version, update) {
            Ok(changes) => records.extend(changes),
            Err(refusal) => {
                error = Some(refusal);
                break;
            }
        }
    }
    let mut response = UpdateFeaturesResponse::default().with_error_message(None);
    if let Some(error) = error {
        records.clear();
        let text = error.message.as_deref().unwrap_or_default();
        let message = format!("The update failed for all features since the following feature had an error: {text}");
        response.error_code = error.code;
        response.error_message = Some(StrBytes::from_string(message));
    } else if version <= 1 {
        let row = |update: &FeatureUpdateKey| {
            UpdatableFeatureResult::default()
                .with_feature(update.feature.clone())
                .with_error_code(0)
                .with_error_message(Some(StrBytes::from_static_str("NONE")))
        };
        response.results = request.feature_updates.iter().map(row).collect();
    }
    if request.validate_only && version >= 1 {
        records.clear();
    }
    Decision { records, response: Response::UpdateFeatures(response) }
}

fn update_one(context: &Context<'_>, version: i16, update: &FeatureUpdateKey) -> Result<Vec<Record>, ApiError> {
    let name = update.feature.as_str();
    let level = update.max_version_level;
    let refuse = |reason: String| {
        let message = format!("Invalid update version {level} for feature {name}. {reason}");
        Err(ApiError::new(ResponseError::InvalidUpdateVersion, message))
    };
    let upgrade_type = match version {
        0 if update.allow_downgrade => SAFE_DOWNGRADE,
        0 => UPGRADE,
        _ => update.upgrade_type,
    };
    if !(UPGRADE..=UNSAFE_DOWNGRADE).contains(&upgrade_type) {
        return refuse("The controller does not support the given upgrade type.".to_owned());
    }
    if level < 0 {
        return refuse("A feature version cannot be less than 0.".to_owned());
    }
    if let Some(reason) = reason_not_supported(context, name, level) {
        return refuse(reason);
    }
    let present = if name == KRAFT_VERSION { level } else { context.image.features.level(name) };
    if level < present && upgrade_type == UPGRADE {
        let reason = "Can't downgrade the version of this feature without setting the upgrade type to either safe or \
                      unsafe downgrade.";
        return refuse(reason.to_owned());
    }
    if level > present && upgrade_type != UPGRADE {
        return refuse("Can't downgrade to a newer version.".to_owned());
    }
    if level == present {
        return Ok(Vec::new());
    }
    if name == METADATA_VERSION && level < present {
        // Records of the higher version may be in the log, and a lower one could not hold all they say.
        let reason = if upgrade_type == UNSAFE_DOWNGRADE {
            "Unsafe metadata downgrade is not supported in this version."
        } else {
            "Refusing to perform the requested downgrade because it might delete metadata information."
        };
        let message = format!("Unsupported metadata.version downgrade from {present} to {level}. {reason}");
        return Err(ApiError::new(ResponseError::InvalidUpdateVersion, message));
    }
    let mut records = Vec::new();
    if name == ELIGIBLE_LEADER_REPLICAS_VERSION && level > present {
        records.extend(elr_safety_records(context));
    }
    records.push(Record::FeatureLevel(FeatureLevelRecord { name: Arc::from(name), feature_level: level }));
    Ok(records)
}

/// Why this node or a broker cannot serve the level (`QuorumFeatures.reasonNotSupported`).
fn reason_not_supported(context: &Context<'_>, name: &str, level: i16) -> Option<String> {
    let reason = |who: String, range: Option<(i16, i16)>| match range {
        None if level == 0 => None,
        None => Some(format!("{who} does not support this feature.")),
        Some((min, max)) if (min..=max).contains(&level) => None,
        Some((min, max)) => Some(format!("{who} only supports versions {}", FeaturesImage::range(min, max))),
    };
    let ours = SUPPORTED_FEATURES.iter().find(|(feature, _, _)| *feature == name).map(|(_, min, max)| (*min, *max));
    let local = if ours.is_none() && level == 0 {
        Some(format!("Local controller {} does not support this feature.", context.node_id))
    } else {
        reason(format!("Local controller {}", context.node_id), ours)
    };
    local.or_else(|| {
        context.image.brokers.iter().find_map(|broker| {
            let feature = broker.features.iter().find(|feature| &*feature.name == name);
            let range = feature.map(|feature| (feature.min_supported_version, feature.max_supported_version));
            reason(format!("Broker {}", broker.id), range)
        })
    })
}

/// Under eligible leader replicas the cluster has a `min.insync.replicas` and no broker its own.
fn elr_safety_records(context: &Context<'_>) -> Vec<Record> {
    let configs = &context.image.configs;
    let record = |resource_name: &Arc<str>, value: Option<Arc<str>>| {
        Record::Config(ConfigRecord {
            resource_type: ConfigResourceType::Broker.id(),
            resource_name: Arc::clone(resource_name),
            name: MIN_INSYNC_REPLICAS.into(),
            value,
        })
    };
    let mut records = Vec::new();
    if !configs.default_broker().contains_key(MIN_INSYNC_REPLICAS) {
        let value = context.static_config.get(MIN_INSYNC_REPLICAS).map_or("1", |value| value.trim());
        records.push(record(&ConfigResource::default_broker().name, Some(value.into())));
    }
    for (resource, keys) in configs.iter() {
        let is_broker = resource.resource_type == ConfigResourceType::Broker && !resource.name.is_empty();
        if is_broker && keys.contains_key(MIN_INSYNC_REPLICAS) {
            records.push(record(&resource.name, None));
        }
    }
    records
}
