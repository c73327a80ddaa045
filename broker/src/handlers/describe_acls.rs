//! DescribeAcls (key 29): a broker without an authorizer has no ACLs to show.
//!
//! Versions 0-3 (v1 pattern types, KIP-290; v2 flexible). Source: `AclApis.handleDescribeAcls`.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{DescribeAclsRequest, DescribeAclsResponse};

use super::common::NO_AUTHORIZER_ON_BROKER;
use super::context::Context;

pub(super) fn handle(_: &Context<'_>, _: DescribeAclsRequest) -> DescribeAclsResponse {
    DescribeAclsResponse::default()
        .with_error_code(ResponseError::SecurityDisabled.code())
        .with_error_message(Some(NO_AUTHORIZER_ON_BROKER))
}
