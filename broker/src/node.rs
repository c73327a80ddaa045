//! The broker's parts as its handlers see them.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::Guard;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::{AllocateProducerIdsRequest, BrokerId};
use milena_controller::{Controller, SubmitError};
use milena_metadata::decide::{AutoCreateTopics, AutoCreatedTopic, Operation, Response};
use milena_metadata::image::MetadataImage;
use milena_metadata::topic_config::Layers;
use milena_protocol::{ProducerId, Timestamp};
use milena_storage::LogConfig;
use milena_storage::env::Clock;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::config::{BrokerSettings, LiveConfig, ServerConfig};
use crate::fetch::convert::Conversions;
use crate::fetch::session::FetchSessions;
use crate::replica::Replicas;

/// How long an internal request to the controller may take.
const CONTROLLER_TIMEOUT: Duration = Duration::from_secs(30);

/// Everything a request may need; one for the life of the process.
pub struct Node {
    /// `node.id`
    pub id: i32,
    /// The epoch of this broker's registration.
    pub broker_epoch: i64,
    /// The cluster's id.
    pub cluster_id: String,
    /// The configuration at the start.
    pub config: ServerConfig,
    /// The configuration as it is now.
    pub live: Arc<LiveConfig>,
    /// The way to the metadata log.
    pub controller: Controller,
    /// This broker's partitions.
    pub replicas: Arc<Replicas>,
    /// Fetch sessions of all connections.
    pub fetch_sessions: Mutex<FetchSessions>,
    /// Conversions for consumers that know no batches.
    pub fetch_conversions: Conversions,
    /// The block of producer ids in use.
    pub producer_ids: tokio::sync::Mutex<ProducerIds>,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
}

/// A half-open range of producer ids that belong to this broker.
#[derive(Debug, Default)]
pub struct ProducerIds {
    next: ProducerId,
    end: ProducerId,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Node").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Node {
    /// The metadata that this broker acts on.
    pub fn image(&self) -> Arc<MetadataImage> {
        self.replicas.image()
    }

    /// The settings of this moment; not to be kept across an await.
    pub fn settings(&self) -> Guard<Arc<BrokerSettings>> {
        self.live.settings()
    }

    /// What lies below a topic's own configuration.
    pub fn layers<'a>(&'a self, image: &'a MetadataImage) -> Layers<'a> {
        Layers {
            dynamic_broker: image.configs.broker(self.id),
            dynamic_default: image.configs.default_broker(),
            static_config: &self.config.static_config,
        }
    }

    /// What acts on a topic's logs.
    pub fn log_config(&self, image: &MetadataImage, topic: &str) -> LogConfig {
        crate::config::log_config(image.configs.topic(topic), &self.layers(image))
    }

    /// The wall clock.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Has the controller decide, and waits until this broker acts on the outcome: after the answer the next request
    /// on any connection sees it.
    pub async fn submit(&self, operation: Operation, timeout: Duration) -> Result<Response, ResponseError> {
        let submitted =
            self.controller.submit(operation, Instant::now() + timeout).await.map_err(|error| match error {
                SubmitError::NotController { .. } | SubmitError::Stopped => ResponseError::NotController,
                SubmitError::TimedOut | SubmitError::OutcomeUnknown => ResponseError::RequestTimedOut,
                SubmitError::TooLarge { .. } => ResponseError::PolicyViolation,
                SubmitError::DiskFull => ResponseError::KafkaStorageError,
            })?;
        self.replicas.applied(submitted.offset).await;
        Ok(submitted.response)
    }

    /// Creates topics that somebody asked for; internal ones with their own configuration.
    pub async fn create_topics_automatically(&self, names: Vec<String>) -> Vec<AutoCreatedTopic> {
        let names = names.into_iter().map(Arc::from).collect();
        match self.submit(Operation::AutoCreateTopics(AutoCreateTopics { names }), CONTROLLER_TIMEOUT).await {
            Ok(Response::AutoCreateTopics(topics)) => topics,
            Ok(_) => unreachable!("the controller answers with the operation's own response"),
            Err(error) => {
                tracing::warn!(target: "kafka.server.DefaultAutoTopicCreationManager", "Auto topic creation failed: {error}");
                Vec::new()
            }
        }
    }

    /// The next producer id; ids come in blocks from the controller, and no id is given twice, not even after a crash.
    pub async fn next_producer_id(&self) -> Result<ProducerId, ResponseError> {
        let mut ids = self.producer_ids.lock().await;
        if ids.next == ids.end {
            let request = AllocateProducerIdsRequest::default()
                .with_broker_id(BrokerId(self.id))
                .with_broker_epoch(self.broker_epoch);
            let operation = Operation::AllocateProducerIds { version: 0, request };
            let Response::AllocateProducerIds(block) = self.submit(operation, CONTROLLER_TIMEOUT).await? else {
                unreachable!("the controller answers with the operation's own response")
            };
            if block.error_code != 0 {
                return Err(ResponseError::CoordinatorLoadInProgress);
            }
            *ids = ProducerIds {
                next: block.producer_id_start.0,
                end: block.producer_id_start.0 + i64::from(block.producer_id_len),
            };
        }
        ids.next += 1;
        Ok(ids.next - 1)
    }
}
