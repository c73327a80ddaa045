//! UnregisterBroker (key 64): a broker is gone for good. Version 0.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{UnregisterBrokerRequest, UnregisterBrokerResponse};

use crate::record::{Record, UnregisterBrokerRecord};

use super::answer::ApiError;
use super::leadership::{BrokerEvent, partition_changes};
use super::{Context, Decision, Response};

pub(super) fn decide(context: &Context<'_>, request: &UnregisterBrokerRequest) -> Decision {
    let id = request.broker_id.0;
    let mut response = UnregisterBrokerResponse::default().with_error_message(None);
    let mut records = Vec::new();
    if let Some(broker) = context.image.brokers.get(id) {
        // What it held may be gone with it: it is neither in sync nor eligible any more.
        records.extend(partition_changes(context, BrokerEvent::StoppedUncleanly(id)));
        records.push(Record::UnregisterBroker(UnregisterBrokerRecord { broker_id: id, broker_epoch: broker.epoch }));
    } else {
        let message = format!("Broker ID {id} is not currently registered");
        let error = ApiError::new(ResponseError::BrokerIdNotRegistered, message);
        response = response.with_error_code(error.code).with_error_message(error.message());
    }
    Decision { records, response: Response::UnregisterBroker(response) }
}
