//! ACLs (29-31), SaslHandshake (17), SaslAuthenticate (36): the answers of a broker without an authorizer, on a
//! plaintext listener.

use kafka_protocol::messages::{
    ApiVersionsRequest, CreateAclsRequest, DeleteAclsRequest, DescribeAclsRequest, SaslAuthenticateRequest,
    SaslHandshakeRequest, create_acls_request::AclCreation, delete_acls_request::DeleteAclsFilter,
};

use super::{Scenario, shared};
use crate::{Outcome, context::Context, raw::text};

pub(crate) const SCENARIOS: &[Scenario] =
    &[shared("acls/versions", acls), shared("sasl/on-a-plaintext-listener", sasl)];

fn acls(context: &mut Context<'_>) -> Outcome {
    let mut connection = context.connect()?;
    for version in 1..=3 {
        let describe = DescribeAclsRequest::default()
            .with_resource_type_filter(2)
            .with_resource_name_filter(Some(text("t")))
            .with_pattern_type_filter(3)
            .with_operation(3)
            .with_permission_type(3);
        context.ask(format!("v{version}:describe"), &mut connection, version, &describe)?;
        let creation = AclCreation::default()
            .with_resource_type(2)
            .with_resource_name(text("t"))
            .with_resource_pattern_type(3)
            .with_principal(text("User:a"))
            .with_host(text("*"))
            .with_operation(3)
            .with_permission_type(3);
        let create = CreateAclsRequest::default().with_creations(vec![creation.clone(), creation]);
        context.ask(format!("v{version}:create"), &mut connection, version, &create)?;
        context.ask(format!("v{version}:create-none"), &mut connection, version, &CreateAclsRequest::default())?;
        let filter = DeleteAclsFilter::default()
            .with_resource_type_filter(2)
            .with_pattern_type_filter(3)
            .with_operation(3)
            .with_permission_type(3);
        let delete = DeleteAclsRequest::default().with_filters(vec![filter]);
        context.ask(format!("v{version}:delete"), &mut connection, version, &delete)?;
        context.ask(format!("v{version}:delete-none"), &mut connection, version, &DeleteAclsRequest::default())?;
    }
    Ok(())
}

fn sasl(context: &mut Context<'_>) -> Outcome {
    let mut connection = context.connect()?;
    for version in 0..=1 {
        let handshake = SaslHandshakeRequest::default().with_mechanism(text("PLAIN"));
        context.ask(format!("handshake:v{version}"), &mut connection, version, &handshake)?;
    }
    for version in 0..=2 {
        let authenticate = SaslAuthenticateRequest::default().with_auth_bytes(b"\0user\0password".as_slice().into());
        context.ask(format!("authenticate:v{version}"), &mut connection, version, &authenticate)?;
    }
    let behind = connection.call(0, &ApiVersionsRequest::default())?.response().map(|response| response.error_code);
    context.record("connection-stays", serde_json::json!(behind));
    Ok(())
}
