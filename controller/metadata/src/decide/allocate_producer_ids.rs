//! AllocateProducerIds (key 67): a block of producer ids for one broker. Version 0 (KIP-730).
//!
//! A block is never handed out again, even if its broker used none of it.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{AllocateProducerIdsRequest, AllocateProducerIdsResponse, ProducerId};

use crate::record::{ProducerIdsRecord, Record};

use super::broker_heartbeat::current_registration;
use super::{Context, Decision, PRODUCER_ID_BLOCK_SIZE, Response};

pub(super) fn decide(context: &Context<'_>, request: &AllocateProducerIdsRequest) -> Decision {
    let answer = |records, response| Decision { records, response: Response::AllocateProducerIds(response) };
    let refuse = |error: ResponseError| {
        let response = AllocateProducerIdsResponse::default().with_error_code(error.code());
        answer(Vec::new(), response)
    };
    if current_registration(context.image, request.broker_id.0, request.broker_epoch).is_none() {
        return refuse(ResponseError::StaleBrokerEpoch);
    }
    let first = context.image.producer_ids.next_producer_id;
    let Some(next_producer_id) = first.checked_add(i64::from(PRODUCER_ID_BLOCK_SIZE)) else {
        return refuse(ResponseError::UnknownServerError);
    };
    let record =
        ProducerIdsRecord { broker_id: request.broker_id.0, broker_epoch: request.broker_epoch, next_producer_id };
    let response = AllocateProducerIdsResponse::default()
        .with_producer_id_start(ProducerId(first))
        .with_producer_id_len(PRODUCER_ID_BLOCK_SIZE);
    answer(vec![Record::ProducerIds(record)], response)
}
