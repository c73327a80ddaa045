//! BrokerRegistration (key 62): a broker has started.
//!
//! `ClusterControlManager.registerBroker`. A new incarnation gets a new epoch and begins fenced; the same one asking
//! again keeps both. What an earlier incarnation led loses its leader first: cleanly, when the broker names that
//! incarnation's epoch as the one it stopped under, else it is not eligible any more either.
//!
//! Absent: the cluster id and whether an earlier incarnation is still in session, which the caller knows.

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{BrokerRegistrationRequest, BrokerRegistrationResponse};

use crate::image::MetadataImage;
use crate::record::{BrokerEndpoint, BrokerFeature, Record, RegisterBrokerRecord};
use crate::{LOST_DIRECTORY, MIGRATING_DIRECTORY, UNASSIGNED_DIRECTORY};

use super::leadership::{BrokerEvent, partition_changes};
use super::{Context, Decision, Response};

pub(super) fn decide(context: &Context<'_>, request: &BrokerRegistrationRequest) -> Decision {
    let answer = |records, response| Decision { records, response: Response::RegisterBroker(response) };
    match register(context, request) {
        Ok((records, epoch)) => answer(records, BrokerRegistrationResponse::default().with_broker_epoch(epoch)),
        Err(error) => {
            let response = BrokerRegistrationResponse::default().with_error_code(error.code()).with_broker_epoch(-1);
            answer(Vec::new(), response)
        }
    }
}

fn register(context: &Context<'_>, request: &BrokerRegistrationRequest) -> Result<(Vec<Record>, i64), ResponseError> {
    let image = context.image;
    let id = request.broker_id.0;
    check_directories(image, request)?;
    check_features(image, request)?;

    let mut records = Vec::new();
    let mut record = RegisterBrokerRecord {
        broker_id: id,
        is_migrating_zk_broker: false,
        incarnation_id: request.incarnation_id,
        broker_epoch: context.next_offset,
        end_points: request
            .listeners
            .iter()
            .map(|listener| BrokerEndpoint {
                name: listener.name.as_str().into(),
                host: listener.host.as_str().into(),
                port: listener.port,
                security_protocol: listener.security_protocol,
            })
            .collect(),
        features: request
            .features
            .iter()
            .map(|feature| BrokerFeature {
                name: feature.name.as_str().into(),
                min_supported_version: feature.min_supported_version,
                max_supported_version: feature.max_supported_version,
            })
            .collect(),
        rack: request.rack.as_ref().map(|rack| Arc::from(rack.as_str())),
        fenced: true,
        in_controlled_shutdown: false,
        log_dirs: request.log_dirs.clone(),
        cordoned_log_dirs: None,
    };
    if let Some(existing) = image.brokers.get(id) {
        if existing.incarnation_id == request.incarnation_id {
            record.broker_epoch = existing.epoch;
            record.fenced = existing.fenced;
            record.in_controlled_shutdown = existing.in_controlled_shutdown;
            record.cordoned_log_dirs.clone_from(&existing.cordoned_log_dirs);
        } else {
            let clean = existing.epoch == request.previous_broker_epoch || !image.features.elr_enabled();
            let event = if clean { BrokerEvent::Leaves(id) } else { BrokerEvent::StoppedUncleanly(id) };
            records.extend(partition_changes(context, event));
        }
    }
    let epoch = record.broker_epoch;
    records.push(Record::RegisterBroker(record));
    Ok((records, epoch))
}

/// Directories are there, differ, are none of the reserved ids, and belong to no other broker.
fn check_directories(image: &MetadataImage, request: &BrokerRegistrationRequest) -> Result<(), ResponseError> {
    let dirs = &request.log_dirs;
    let reserved = [UNASSIGNED_DIRECTORY, LOST_DIRECTORY, MIGRATING_DIRECTORY];
    let is_twice = |(index, dir)| dirs.iter().take(index).any(|earlier| earlier == dir);
    let is_taken =
        |dir| image.brokers.iter().any(|broker| broker.id != request.broker_id.0 && broker.log_dirs.contains(dir));
    let refused = dirs.is_empty()
        || dirs.iter().any(|dir| reserved.contains(dir))
        || dirs.iter().enumerate().any(is_twice)
        || dirs.iter().any(is_taken);
    if refused { Err(ResponseError::InvalidRegistration) } else { Ok(()) }
}

/// The broker can serve every finalized feature.
fn check_features(image: &MetadataImage, request: &BrokerRegistrationRequest) -> Result<(), ResponseError> {
    let serves = |name: &str, level: i16| {
        request.features.iter().any(|feature| {
            feature.name.as_str() == name
                && (feature.min_supported_version..=feature.max_supported_version).contains(&level)
        })
    };
    if image.features.iter().all(|(name, level)| serves(name, level)) {
        Ok(())
    } else {
        Err(ResponseError::UnsupportedVersion)
    }
}
