//! DeleteAcls (key 31): refused, one row for every filter, while no authorizer is configured.
//!
//! Versions 0-3 (v1 pattern types, KIP-290; v2 flexible). Source: `DeleteAclsRequest.getErrorResponse`.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_acls_response::DeleteAclsFilterResult;
use kafka_protocol::messages::{DeleteAclsRequest, DeleteAclsResponse};

use super::common::NO_AUTHORIZER;
use super::context::Context;

pub(super) fn handle(_: &Context<'_>, request: DeleteAclsRequest) -> DeleteAclsResponse {
    let refused = DeleteAclsFilterResult::default()
        .with_error_code(ResponseError::SecurityDisabled.code())
        .with_error_message(Some(NO_AUTHORIZER));
    DeleteAclsResponse::default().with_filter_results(vec![refused; request.filters.len()])
}
