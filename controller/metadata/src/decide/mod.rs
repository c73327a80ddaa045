//! Decisions: (context, operation) -> records and an answer.
//!
//! A decision reads the image and writes nothing. Its records become true when the metadata log has committed them and
//! the image has applied them; its answer may leave then, and not before. Whoever decides several operations in a row
//! applies the records of each to a copy of the image for the next. An error in the answer comes with the records of
//! what did succeed (Kafka's requests are not all or nothing), usually none.
//!
//! Absent here: authorization and quotas (the handlers'), dynamic validation of broker keys (the broker's), waiting.

mod allocate_producer_ids;
mod alter_configs;
mod alter_configs_legacy;
mod answer;
mod assign_replicas_to_dirs;
mod auto_create_topics;
mod bootstrap;
mod broker_heartbeat;
mod config_change;
mod create_partitions;
mod create_topics;
mod delete_topics;
mod elect_leaders;
mod leadership;
mod list_partition_reassignments;
mod new_partitions;
mod register_broker;
mod topic_name;
mod unregister_broker;
mod update_features;

use std::collections::BTreeMap;

use kafka_protocol::messages::{
    AllocateProducerIdsRequest, AllocateProducerIdsResponse, AlterConfigsRequest, AlterConfigsResponse,
    AssignReplicasToDirsRequest, AssignReplicasToDirsResponse, BrokerHeartbeatRequest, BrokerHeartbeatResponse,
    BrokerRegistrationRequest, BrokerRegistrationResponse, CreatePartitionsRequest, CreatePartitionsResponse,
    CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse, ElectLeadersRequest,
    ElectLeadersResponse, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse, UnregisterBrokerRequest,
    UnregisterBrokerResponse, UpdateFeaturesRequest, UpdateFeaturesResponse,
};

use crate::image::MetadataImage;
use crate::record::Record;
use crate::topic_config::Layers;

pub use auto_create_topics::{AutoCreateTopics, AutoCreatedTopic, is_internal};
pub use bootstrap::bootstrap_records;
pub use topic_name::{InvalidTopicName, validate_topic_name};

/// The most records that one operation may make (`QuorumController.MAX_RECORDS_PER_USER_OP`).
pub const MAX_RECORDS_PER_USER_OP: usize = 10_000;

/// How many producer ids a block has (`ProducerIdsBlock.PRODUCER_ID_BLOCK_SIZE`).
pub const PRODUCER_ID_BLOCK_SIZE: i32 = 1000;

/// What a decision stands on.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The metadata, the records of decisions before this one included.
    pub image: &'a MetadataImage,
    /// Milliseconds since the epoch.
    pub now: i64,
    /// A number above `image.offset` that no decision before had: it becomes the epoch of a broker that registers.
    /// The offset that the first record will get, where records have offsets of their own.
    pub next_offset: i64,
    /// Which node decides; its static and dynamic configuration are what a topic without its own inherits.
    pub node_id: i32,
    /// What was set in that node's `server.properties`.
    pub static_config: &'a BTreeMap<String, String>,
    /// Differs for every decision: topic ids and placements come from it.
    pub seed: u64,
}

impl<'a> Context<'a> {
    /// The layers below a topic's own configuration, as the deciding node sees them.
    pub fn layers(&self) -> Layers<'a> {
        Layers {
            dynamic_broker: self.image.configs.broker(self.node_id),
            dynamic_default: self.image.configs.default_broker(),
            static_config: self.static_config,
        }
    }
}

/// What comes of an operation.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// What must become true before the answer leaves; empty for a refusal or a read.
    pub records: Vec<Record>,
    /// The answer.
    pub response: Response,
}

/// Something to decide. Requests are as they came; a broker sends its own by the same way.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "each variant is named after its request")]
pub enum Operation {
    CreateTopics {
        version: i16,
        request: CreateTopicsRequest,
    },
    /// Topics that a Metadata or FindCoordinator request wants to exist.
    AutoCreateTopics(AutoCreateTopics),
    DeleteTopics {
        version: i16,
        request: DeleteTopicsRequest,
    },
    CreatePartitions {
        version: i16,
        request: CreatePartitionsRequest,
    },
    IncrementalAlterConfigs {
        version: i16,
        request: IncrementalAlterConfigsRequest,
    },
    /// The older form, which replaces everything that is set.
    AlterConfigs {
        version: i16,
        request: AlterConfigsRequest,
    },
    ElectLeaders {
        version: i16,
        request: ElectLeadersRequest,
    },
    ListPartitionReassignments {
        version: i16,
        request: ListPartitionReassignmentsRequest,
    },
    RegisterBroker {
        version: i16,
        request: BrokerRegistrationRequest,
    },
    /// Unfences, fences, begins a controlled shutdown.
    BrokerHeartbeat {
        version: i16,
        request: BrokerHeartbeatRequest,
    },
    /// In which of its log directories a broker has its replicas.
    AssignReplicasToDirs {
        version: i16,
        request: AssignReplicasToDirsRequest,
    },
    /// A broker has not been heard of for its session timeout; decided by the controller itself.
    FenceBroker {
        broker_id: i32,
        broker_epoch: i64,
    },
    UnregisterBroker {
        version: i16,
        request: UnregisterBrokerRequest,
    },
    AllocateProducerIds {
        version: i16,
        request: AllocateProducerIdsRequest,
    },
    UpdateFeatures {
        version: i16,
        request: UpdateFeaturesRequest,
    },
}

/// The answer to an [`Operation`] of the same name.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "each variant is named after its response")]
pub enum Response {
    CreateTopics(CreateTopicsResponse),
    AutoCreateTopics(Vec<AutoCreatedTopic>),
    DeleteTopics(DeleteTopicsResponse),
    CreatePartitions(CreatePartitionsResponse),
    IncrementalAlterConfigs(IncrementalAlterConfigsResponse),
    AlterConfigs(AlterConfigsResponse),
    ElectLeaders(ElectLeadersResponse),
    ListPartitionReassignments(ListPartitionReassignmentsResponse),
    RegisterBroker(BrokerRegistrationResponse),
    BrokerHeartbeat(BrokerHeartbeatResponse),
    AssignReplicasToDirs(AssignReplicasToDirsResponse),
    FenceBroker,
    UnregisterBroker(UnregisterBrokerResponse),
    AllocateProducerIds(AllocateProducerIdsResponse),
    UpdateFeatures(UpdateFeaturesResponse),
}

/// Decides an operation.
pub fn decide(context: &Context<'_>, operation: Operation) -> Decision {
    match operation {
        Operation::CreateTopics { version, request } => create_topics::decide(context, version, &request),
        Operation::AutoCreateTopics(request) => auto_create_topics::decide(context, &request),
        Operation::DeleteTopics { version, request } => delete_topics::decide(context, version, &request),
        Operation::CreatePartitions { request, .. } => create_partitions::decide(context, &request),
        Operation::IncrementalAlterConfigs { request, .. } => alter_configs::decide(context, &request),
        Operation::AlterConfigs { request, .. } => alter_configs_legacy::decide(context, &request),
        Operation::ElectLeaders { version, request } => elect_leaders::decide(context, version, &request),
        Operation::ListPartitionReassignments { request, .. } => {
            list_partition_reassignments::decide(context, &request)
        }
        Operation::RegisterBroker { request, .. } => register_broker::decide(context, &request),
        Operation::BrokerHeartbeat { request, .. } => broker_heartbeat::decide(context, &request),
        Operation::AssignReplicasToDirs { request, .. } => assign_replicas_to_dirs::decide(context, &request),
        Operation::FenceBroker { broker_id, broker_epoch } => broker_heartbeat::fence(context, broker_id, broker_epoch),
        Operation::UnregisterBroker { request, .. } => unregister_broker::decide(context, &request),
        Operation::AllocateProducerIds { request, .. } => allocate_producer_ids::decide(context, &request),
        Operation::UpdateFeatures { version, request } => update_features::decide(context, version, &request),
    }
}
