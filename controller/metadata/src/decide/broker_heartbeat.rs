//! BrokerHeartbeat (key 63): a broker is there, and says what it wants to be.
//!
//! `BrokerHeartbeatManager.calculateNextBrokerState`: fenced -> unfenced once it has caught up with its registration,
//! unfenced -> controlled shutdown while it still leads, then fenced for good. A heartbeat that changes nothing makes
//! no record. Absent: session timeouts, which the controller keeps; their end is [`fence`].

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{BrokerHeartbeatRequest, BrokerHeartbeatResponse};
use uuid::Uuid;

use crate::image::{BrokerRegistration, MetadataImage};
use crate::record::{BrokerRegistrationChangeRecord, Record};

use super::leadership::{BrokerEvent, partition_changes, partition_changes_where};
use super::{Context, Decision, Response};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Fenced,
    Unfenced,
    ControlledShutdown,
    ShutdownNow,
}

pub(super) fn decide(context: &Context<'_>, request: &BrokerHeartbeatRequest) -> Decision {
    let answer = |records, response| Decision { records, response: Response::BrokerHeartbeat(response) };
    let Some(broker) = current_registration(context.image, request.broker_id.0, request.broker_epoch) else {
        let code = ResponseError::StaleBrokerEpoch.code();
        return answer(Vec::new(), BrokerHeartbeatResponse::default().with_error_code(code));
    };
    let caught_up = request.current_metadata_offset >= broker.epoch;
    let present = match broker {
        _ if broker.fenced => State::Fenced,
        _ if broker.in_controlled_shutdown => State::ControlledShutdown,
        _ => State::Unfenced,
    };
    let stopping = request.want_shut_down || broker.in_controlled_shutdown;
    let next = next_state(context.image, present, request, stopping, caught_up);
    let mut records = directories_offline(context, broker, &request.offline_log_dirs);
    if next != present {
        records.extend(match next {
            State::Unfenced => unfence(context, broker),
            State::ControlledShutdown => begin_controlled_shutdown(context, broker),
            State::ShutdownNow if present == State::Fenced => Vec::new(),
            State::Fenced | State::ShutdownNow => fence_records(context, broker),
        });
    }
    let response = BrokerHeartbeatResponse::default()
        .with_is_caught_up(caught_up)
        .with_is_fenced(matches!(next, State::Fenced | State::ShutdownNow))
        .with_should_shut_down(next == State::ShutdownNow);
    answer(records, response)
}

/// The broker has not been heard of for too long. Nothing happens when it is fenced or has another epoch by now.
pub(super) fn fence(context: &Context<'_>, broker_id: i32, broker_epoch: i64) -> Decision {
    let records = match current_registration(context.image, broker_id, broker_epoch) {
        Some(broker) if !broker.fenced => fence_records(context, broker),
        _ => Vec::new(),
    };
    Decision { records, response: Response::FenceBroker }
}

pub(super) fn current_registration(image: &MetadataImage, id: i32, epoch: i64) -> Option<&BrokerRegistration> {
    image.brokers.get(id).map(|broker| &**broker).filter(|broker| broker.epoch == epoch)
}

/// A broker that began a controlled shutdown stays `stopping`: it returns by another registration or not at all.
fn next_state(
    image: &MetadataImage,
    present: State,
    request: &BrokerHeartbeatRequest,
    stopping: bool,
    caught_up: bool,
) -> State {
    let leads = || {
        let id = request.broker_id.0;
        image.topics.iter().any(|topic| topic.partitions.values().any(|partition| partition.leader == id))
    };
    match present {
        State::Fenced if stopping => State::ShutdownNow,
        State::Fenced if !request.want_fence && caught_up => State::Unfenced,
        State::Unfenced if request.want_fence && request.want_shut_down => State::ShutdownNow,
        State::Unfenced if request.want_fence => State::Fenced,
        State::Unfenced if request.want_shut_down && leads() => State::ControlledShutdown,
        State::Unfenced if request.want_shut_down => State::ShutdownNow,
        State::ControlledShutdown if !leads() => State::ShutdownNow,
        stays => stays,
    }
}

fn unfence(context: &Context<'_>, broker: &BrokerRegistration) -> Vec<Record> {
    let mut change = BrokerRegistrationChangeRecord::new(broker.id, broker.epoch);
    change.fenced = -1;
    let mut records = vec![Record::BrokerRegistrationChange(change)];
    records.extend(partition_changes(context, BrokerEvent::Returns(broker.id)));
    records
}

fn fence_records(context: &Context<'_>, broker: &BrokerRegistration) -> Vec<Record> {
    let mut records = partition_changes(context, BrokerEvent::Leaves(broker.id));
    let mut change = BrokerRegistrationChangeRecord::new(broker.id, broker.epoch);
    change.fenced = 1;
    records.push(Record::BrokerRegistrationChange(change));
    records
}

fn begin_controlled_shutdown(context: &Context<'_>, broker: &BrokerRegistration) -> Vec<Record> {
    let mut change = BrokerRegistrationChangeRecord::new(broker.id, broker.epoch);
    change.in_controlled_shutdown = 1;
    let mut records = vec![Record::BrokerRegistrationChange(change)];
    records.extend(partition_changes(context, BrokerEvent::Leaves(broker.id)));
    records
}

/// Log directories that failed since: the broker loses them, and with them what it led there.
fn directories_offline(context: &Context<'_>, broker: &BrokerRegistration, offline: &[Uuid]) -> Vec<Record> {
    let newly: Vec<_> = broker.log_dirs.iter().copied().filter(|dir| offline.contains(dir)).collect();
    if newly.is_empty() {
        return Vec::new();
    }
    let mut records = partition_changes_where(context, BrokerEvent::Leaves(broker.id), |partition| {
        partition.directory(broker.id).is_some_and(|dir| newly.contains(&dir))
    });
    let online: Vec<_> = broker.log_dirs.iter().copied().filter(|dir| !newly.contains(dir)).collect();
    if !online.is_empty() {
        let mut change = BrokerRegistrationChangeRecord::new(broker.id, broker.epoch);
        change.log_dirs = online;
        records.push(Record::BrokerRegistrationChange(change));
    }
    records
}
