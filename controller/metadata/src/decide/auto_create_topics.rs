//! Topics that come into being because somebody asked for them.
//!
//! `AutoTopicCreationManager`: an ordinary topic gets `num.partitions` and `default.replication.factor`, an internal one
//! what its coordinator's keys say. Absent: whether topics are created at all, which is the handler's to know.

use std::collections::BTreeSet;
use std::sync::Arc;

use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::{CreateTopicsRequest, TopicName};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::answer::static_number;
use super::{Context, Decision, Response, create_topics};

/// Any version that answers topic ids.
const CREATE_TOPICS_VERSION: i16 = 7;

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

/// The partitions, replicas and configuration of a topic that nobody described.
fn described(context: &Context<'_>, name: &str) -> CreatableTopic {
    let number = |key: &str, default: i32| static_number(context, key, default);
    let replicas = |key: &str| static_number(context, key, 3_i16);
    let segment_bytes = |key: &str| ("segment.bytes", number(key, 104_857_600).to_string());
    let fixed = |key: &'static str, value: &str| (key, value.to_owned());
    let (partitions, replication_factor, configs) = match name {
        "__consumer_offsets" => (
            number("offsets.topic.num.partitions", 50),
            replicas("offsets.topic.replication.factor"),
            vec![
                fixed("cleanup.policy", "compact"),
                fixed("compression.type", "producer"),
                segment_bytes("offsets.topic.segment.bytes"),
            ],
        ),
        "__transaction_state" => (
            number("transaction.state.log.num.partitions", 50),
            replicas("transaction.state.log.replication.factor"),
            vec![
                fixed("cleanup.policy", "compact"),
                fixed("compression.type", "uncompressed"),
                ("min.insync.replicas", number("transaction.state.log.min.isr", 2).to_string()),
                segment_bytes("transaction.state.log.segment.bytes"),
                fixed("unclean.leader.election.enable", "false"),
            ],
        ),
        "__share_group_state" => (
            number("share.coordinator.state.topic.num.partitions", 50),
            replicas("share.coordinator.state.topic.replication.factor"),
            vec![
                fixed("cleanup.policy", "delete"),
                fixed("compression.type", "producer"),
                ("min.insync.replicas", number("share.coordinator.state.topic.min.isr", 2).to_string()),
                fixed("retention.ms", "-1"),
                segment_bytes("share.coordinator.state.topic.segment.bytes"),
            ],
        ),
        _ => (-1, -1, Vec::new()),
    };
    let config = |(key, value): (&'static str, String)| {
        CreatableTopicConfig::default()
            .with_name(StrBytes::from_static_str(key))
            .with_value(Some(StrBytes::from_string(value)))
    };
    CreatableTopic::default()
        .with_name(TopicName(StrBytes::from_string(name.to_owned())))
        .with_num_partitions(partitions)
        .with_replication_factor(replication_factor)
        .with_configs(configs.into_iter().map(config).collect())
}

pub(super) fn decide(context: &Context<'_>, request: &AutoCreateTopics) -> Decision {
    let missing: BTreeSet<&str> =
        request.names.iter().map(|name| &**name).filter(|name| context.image.topics.by_name(name).is_none()).collect();
    let create = CreateTopicsRequest::default()
        .with_topics(missing.into_iter().map(|name| described(context, name)).collect())
        .with_timeout_ms(i32::MAX);
    let Decision { records, response } = create_topics::decide(context, CREATE_TOPICS_VERSION, &create);
    let rows = match response {
        Response::CreateTopics(response) => response.topics,
        _ => Vec::new(),
    };
    let outcome = |name: &Arc<str>| {
        let row = rows.iter().find(|row| row.name.as_str() == &**name);
        AutoCreatedTopic {
            name: Arc::clone(name),
            topic_id: match row {
                Some(row) => row.topic_id,
                None => context.image.topics.by_name(name).map_or(Uuid::nil(), |topic| topic.id),
            },
            error_code: row.map_or(0, |row| row.error_code),
            error_message: row.and_then(|row| row.error_message.as_ref()).map(ToString::to_string),
        }
    };
    let outcomes = request.names.iter().map(outcome).collect();
    Decision { records, response: Response::AutoCreateTopics(outcomes) }
}
