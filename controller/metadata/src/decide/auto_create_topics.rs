//! Topics that come into being because somebody asked for them.

use std::sync::Arc;

use uuid::Uuid;

use super::{Context, Decision, Response};

/// Topics that a Metadata or FindCoordinator request wants to exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AutoCreateTopics {
    /// Their names. An internal topic gets the partitions, replicas and configuration that the broker's keys give it.
    pub names: Vec<Arc<str>>,
}

/// What came of one of them, in the order of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AutoCreatedTopic {
    /// The name.
    pub name: Arc<str>,
    /// The topic's id; that of the existing one when it was there already, zero on an error.
    pub topic_id: Uuid,
    /// 0 when the topic exists now (new or not), else as CreateTopics answers.
    pub error_code: i16,
    /// The text of the error.
    pub error_message: Option<String>,
}

/// Whether the topic is one of Kafka's own.
pub fn is_internal(name: &str) -> bool {
    matches!(name, "__consumer_offsets" | "__transaction_state" | "__share_group_state")
}

pub(super) fn decide(_context: &Context<'_>, _request: &AutoCreateTopics) -> Decision {
    Decision { records: Vec::new(), response: Response::AutoCreateTopics(Vec::new()) }
}
