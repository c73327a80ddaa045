//! DescribeCluster (key 60): the brokers as this listener's clients reach them.
//!
//! Versions 0-2: v1 endpoint type (KIP-919), v2 fenced brokers (KIP-1073). Asked for controllers it answers
//! MISMATCHED_ENDPOINT_TYPE, for anything else UNSUPPORTED_ENDPOINT_TYPE. Source: `KafkaApis.handleDescribeCluster`.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::{BrokerId, DescribeClusterRequest, DescribeClusterResponse};

use super::common::{CLUSTER_OPERATIONS, endpoint, some_alive_broker, text};
use super::context::Context;

const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

pub(super) fn handle(context: &Context<'_>, request: DescribeClusterRequest) -> DescribeClusterResponse {
    let refusal = match request.endpoint_type {
        BROKERS => None,
        CONTROLLERS => Some((
            ResponseError::MismatchedEndpointType,
            "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER".to_owned(),
        )),
        other => Some((ResponseError::UnsupportedEndpointType, format!("Unsupported endpoint type {other}"))),
    };
    if let Some((error, message)) = refusal {
        return DescribeClusterResponse::default()
            .with_error_code(error.code())
            .with_error_message(Some(text(&message)))
            .with_controller_id(BrokerId(-1));
    }
    let image = context.node.image();
    let brokers = image
        .brokers
        .iter()
        .filter(|broker| request.include_fenced_brokers || !broker.fenced)
        .filter_map(|broker| {
            let endpoint = endpoint(context, broker)?;
            Some(
                DescribeClusterBroker::default()
                    .with_broker_id(endpoint.id)
                    .with_host(endpoint.host)
                    .with_port(endpoint.port)
                    .with_rack(endpoint.rack)
                    .with_is_fenced(context.version >= 2 && broker.fenced),
            )
        })
        .collect();
    let mut response = DescribeClusterResponse::default()
        .with_endpoint_type(BROKERS)
        .with_cluster_id(text(&context.node.cluster_id))
        .with_controller_id(some_alive_broker(&image, context.correlation_id))
        .with_brokers(brokers);
    if request.include_cluster_authorized_operations {
        response.cluster_authorized_operations = CLUSTER_OPERATIONS;
    }
    response
}
