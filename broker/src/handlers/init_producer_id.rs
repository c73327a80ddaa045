//! InitProducerId (key 22): an id for an idempotent producer.
//!
//! Versions 0-5: v2 flexible, v3 producer id and epoch (KIP-360), v4 PRODUCER_FENCED, v5 TRANSACTION_ABORTABLE.
//! Without a transactional id the given id, epoch and timeout are ignored. With one there is no coordinator yet:
//! NOT_COORDINATOR, as on a Kafka whose `__transaction_state` does not exist.
//! Source: `TransactionCoordinator.handleInitProducerId`.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse, ProducerId};

use super::context::Context;

pub(super) async fn handle(context: &Context<'_>, request: InitProducerIdRequest) -> InitProducerIdResponse {
    match init(context, &request).await {
        Ok(producer_id) => {
            InitProducerIdResponse::default().with_producer_id(ProducerId(producer_id)).with_producer_epoch(0)
        }
        Err(error) => InitProducerIdResponse::default()
            .with_error_code(error.code())
            .with_producer_id(ProducerId(-1))
            .with_producer_epoch(-1),
    }
}

async fn init(context: &Context<'_>, request: &InitProducerIdRequest) -> Result<i64, ResponseError> {
    if context.version >= 3 && (request.producer_id.0 == -1) != (request.producer_epoch == -1) {
        return Err(ResponseError::InvalidRequest);
    }
    match &request.transactional_id {
        None => context.node.next_producer_id().await,
        Some(id) if id.is_empty() => Err(ResponseError::InvalidRequest),
        Some(_) => Err(ResponseError::NotCoordinator),
    }
}
