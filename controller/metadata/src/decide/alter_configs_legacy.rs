//! AlterConfigs.

use kafka_protocol::messages::{AlterConfigsRequest, AlterConfigsResponse};

use super::{Context, Decision, Response};

pub(super) fn decide(_context: &Context<'_>, _request: &AlterConfigsRequest) -> Decision {
    Decision { records: Vec::new(), response: Response::AlterConfigs(AlterConfigsResponse::default()) }
}
