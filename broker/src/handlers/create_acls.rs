//! CreateAcls (key 30): refused, one row for every creation, while no authorizer is configured.
//!
//! Versions 0-3 (v1 pattern types, KIP-290; v2 flexible). Source: `CreateAclsRequest.getErrorResponse`.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_acls_response::AclCreationResult;
use kafka_protocol::messages::{CreateAclsRequest, CreateAclsResponse};

use super::common::NO_AUTHORIZER;
use super::context::Context;

pub(super) fn handle(_: &Context<'_>, request: CreateAclsRequest) -> CreateAclsResponse {
    let refused = AclCreationResult::default()
        .with_error_code(ResponseError::SecurityDisabled.code())
        .with_error_message(Some(NO_AUTHORIZER));
    CreateAclsResponse::default().with_results(vec![refused; request.creations.len()])
}
