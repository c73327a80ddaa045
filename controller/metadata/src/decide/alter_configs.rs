//! IncrementalAlterConfigs.

use kafka_protocol::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};

use super::{Context, Decision, Response};

pub(super) fn decide(_context: &Context<'_>, _request: &IncrementalAlterConfigsRequest) -> Decision {
    Decision {
        records: Vec::new(),
        response: Response::IncrementalAlterConfigs(IncrementalAlterConfigsResponse::default()),
    }
}
