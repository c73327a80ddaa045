//! DeleteTopics (key 20): topics end, by name or by id, each for itself.
//!
//! Versions 0-6: v5 answers a text, v6 takes ids (KIP-516).
//!
//! Order of checks, as in `ControllerApis.deleteTopics`: whether topics can be deleted at all, timeout, neither or both
//! of name and id, a name or id given twice, existence, a name and an id of the same topic.

use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use crate::record::{Record, RemoveTopicRecord};

use super::answer::ApiError;
use super::{Context, Decision, Response};

/// What a row of the request names.
type Wanted = (Option<TopicName>, Uuid);

pub(super) fn decide(context: &Context<'_>, version: i16, request: &DeleteTopicsRequest) -> Decision {
    let wanted: Vec<Wanted> = if version >= 6 {
        request.topics.iter().map(|topic| (topic.name.clone(), topic.topic_id)).collect()
    } else {
        request.topic_names.iter().map(|name| (Some(name.clone()), Uuid::nil())).collect()
    };
    let disabled = context.static_config.get("delete.topic.enable").is_some_and(|value| value.trim() == "false");
    let whole = if disabled && version < 3 {
        Some(ResponseError::InvalidRequest)
    } else if disabled {
        Some(ResponseError::TopicDeletionDisabled)
    } else if request.timeout_ms <= 0 {
        Some(ResponseError::RequestTimedOut)
    } else {
        None
    };
    let (records, responses) = match whole {
        Some(error) => {
            let error = ApiError::without_message(error);
            (Vec::new(), wanted.into_iter().map(|(name, id)| row(name, id, Some(&error))).collect())
        }
        None => delete_all(context, &wanted),
    };
    let response = DeleteTopicsResponse::default().with_responses(responses);
    Decision { records, response: Response::DeleteTopics(response) }
}

fn delete_all(context: &Context<'_>, wanted: &[Wanted]) -> (Vec<Record>, Vec<DeletableTopicResult>) {
    let topics = &context.image.topics;
    let invalid = |message: &str| ApiError::new(ResponseError::InvalidRequest, message);
    let mut seen = BTreeSet::new();
    let twice: BTreeSet<_> = wanted.iter().map(key).filter(|row| !seen.insert(*row)).collect();
    let mut answered = BTreeSet::new();
    let mut responses = Vec::new();
    let mut resolved: BTreeMap<Uuid, usize> = BTreeMap::new();
    for row_wanted in wanted {
        let (name, id) = row_wanted;
        let refuse = |error: ApiError| row(name.clone(), *id, Some(&error));
        let response = match name {
            None if id.is_nil() => refuse(invalid("Neither topic name nor id were specified.")),
            Some(_) if !id.is_nil() => refuse(invalid("You may not specify both topic name and topic id.")),
            _ if twice.contains(&key(row_wanted)) => {
                if !answered.insert(key(row_wanted)) {
                    continue;
                }
                refuse(invalid(if name.is_some() { "Duplicate topic name." } else { "Duplicate topic id." }))
            }
            _ => {
                let (found, error) = match name {
                    Some(name) => (
                        topics.by_name(name.as_str()),
                        ApiError::new(
                            ResponseError::UnknownTopicOrPartition,
                            "This server does not host this topic-partition.",
                        ),
                    ),
                    None => (
                        topics.by_id(*id),
                        ApiError::new(ResponseError::UnknownTopicId, "This server does not host this topic ID."),
                    ),
                };
                match found {
                    None => refuse(error),
                    Some(topic) if resolved.contains_key(&topic.id) => {
                        if let Some(earlier) = resolved.get(&topic.id).and_then(|index| responses.get_mut(*index)) {
                            let message = "The provided topic name maps to an ID that was already supplied.";
                            let name = TopicName(StrBytes::from_string(topic.name.to_string()));
                            *earlier = row(Some(name), topic.id, Some(&invalid(message)));
                        }
                        continue;
                    }
                    Some(topic) => {
                        resolved.insert(topic.id, responses.len());
                        let name = TopicName(StrBytes::from_string(topic.name.to_string()));
                        row(Some(name), topic.id, None)
                    }
                }
            }
        };
        responses.push(response);
    }
    let deleted = responses.iter().filter(|response| response.error_code == 0);
    let records =
        deleted.map(|response| Record::RemoveTopic(RemoveTopicRecord { topic_id: response.topic_id })).collect();
    (records, responses)
}

fn key(row: &Wanted) -> (Option<&str>, Uuid) {
    (row.0.as_ref().map(|name| name.as_str()), row.1)
}

fn row(name: Option<TopicName>, id: Uuid, error: Option<&ApiError>) -> DeletableTopicResult {
    DeletableTopicResult::default()
        .with_name(name)
        .with_topic_id(id)
        .with_error_code(error.map_or(0, |error| error.code))
        .with_error_message(error.and_then(ApiError::message))
}
