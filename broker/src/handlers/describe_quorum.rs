//! DescribeQuorum (key 55): the voters of the metadata log, how far each is, and where they listen.
//!
//! Versions 0-2: v1 timestamps (KIP-836), v2 directory ids, nodes and messages (KIP-853). The only partition is
//! `__cluster_metadata-0`. Source: `KafkaRaftClient.handleDescribeQuorumRequest`.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_quorum_response::{Listener, Node, PartitionData, ReplicaState, TopicData};
use kafka_protocol::messages::{BrokerId, DescribeQuorumRequest, DescribeQuorumResponse};
use milena_controller::QuorumReplica;

use super::common::{UNKNOWN_TOPIC, text, topic_name};
use super::context::Context;

const METADATA_TOPIC: &str = "__cluster_metadata";

pub(super) fn handle(context: &Context<'_>, request: DescribeQuorumRequest) -> DescribeQuorumResponse {
    let asks_for_the_log = match &request.topics[..] {
        [topic] => *topic.topic_name == *METADATA_TOPIC && matches!(&topic.partitions[..], [row] if row.partition_index == 0),
        _ => false,
    };
    if !asks_for_the_log {
        return refuse(context.version, request);
    }
    let status = context.node.controller.quorum();
    let replicas = |replicas: &[QuorumReplica]| replicas.iter().map(|replica| state(context.version, replica)).collect();
    let partition = PartitionData::default()
        .with_partition_index(0)
        .with_leader_id(BrokerId(status.leader.map_or(-1, |leader| leader.id)))
        .with_leader_epoch(status.leader_epoch)
        .with_high_watermark(status.high_watermark)
        .with_current_voters(replicas(&status.voters))
        .with_observers(replicas(&status.observers));
    let topic = TopicData::default().with_topic_name(topic_name(METADATA_TOPIC)).with_partitions(vec![partition]);
    let mut response = DescribeQuorumResponse::default().with_topics(vec![topic]);
    if context.version >= 2 {
        response.nodes = status.voters.iter().map(|voter| node(context, voter.node.id)).collect();
    }
    response
}

/// Anything but the metadata log is no partition of a quorum.
fn refuse(version: i16, request: DescribeQuorumRequest) -> DescribeQuorumResponse {
    let error = ResponseError::UnknownTopicOrPartition;
    let topics = request.topics.into_iter().map(|topic| {
        let rows = topic.partitions.iter().map(|row| {
            let mut refused =
                PartitionData::default().with_partition_index(row.partition_index).with_error_code(error.code());
            if version >= 2 {
                refused.error_message = Some(text(UNKNOWN_TOPIC));
            }
            refused
        });
        let rows = rows.collect();
        TopicData::default().with_topic_name(topic.topic_name).with_partitions(rows)
    });
    DescribeQuorumResponse::default().with_topics(topics.collect())
}

fn state(version: i16, replica: &QuorumReplica) -> ReplicaState {
    let mut state = ReplicaState::default()
        .with_replica_id(BrokerId(replica.node.id))
        .with_log_end_offset(replica.log_end_offset);
    if version >= 1 {
        state.last_fetch_timestamp = replica.last_fetch_timestamp;
        state.last_caught_up_timestamp = replica.last_caught_up_timestamp;
    }
    if version >= 2 {
        state.replica_directory_id = replica.node.directory_id;
    }
    state
}

/// A voter with the addresses that its configuration gives its controller listeners.
fn node(context: &Context<'_>, id: i32) -> Node {
    let own = context.node.config.controller_listeners.iter().filter(|_| id == context.node.id);
    let listeners = own.map(|listener| {
        let host = match &listener.bind {
            crate::config::Bind::Host(host) => host.as_str(),
            crate::config::Bind::Wildcard | crate::config::Bind::Loopback => "localhost",
        };
        Listener::default().with_name(text(&listener.name)).with_host(text(host)).with_port(listener.port)
    });
    Node::default().with_node_id(BrokerId(id)).with_listeners(listeners.collect())
}
