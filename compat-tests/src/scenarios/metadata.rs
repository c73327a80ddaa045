//! Metadata (key 3), versions 0-13, and FindCoordinator (key 10), versions 0-6.

use kafka_protocol::messages::{FindCoordinatorRequest, MetadataRequest, metadata_request::MetadataRequestTopic};
use serde_json::json;
use uuid::Uuid;

use super::{Scenario, shared, with};
use crate::{
    Outcome,
    context::Context,
    raw::{requests::metadata, text, topic_name},
};

pub(crate) const SCENARIOS: &[Scenario] = &[
    shared("metadata/versions", versions),
    shared("metadata/rows-of-unknown-and-invalid-names", bad_names),
    shared("metadata/topic-ids", topic_ids),
    shared("metadata/authorized-operations", authorized_operations),
    shared("metadata/creates-a-topic", creates_a_topic),
    with("metadata/creates-nothing-when-switched-off", &[("auto.create.topics.enable", "false")], switched_off),
    shared("find_coordinator/versions", find_coordinator),
    shared("find_coordinator/errors", find_coordinator_errors),
];

fn versions(context: &mut Context<'_>) -> Outcome {
    context.create_topic("metadata-a", 3, &[])?;
    let mut connection = context.connect()?;
    for version in 0..=13 {
        let mut request = metadata(&["metadata-a"]);
        if version < 4 {
            request.allow_auto_topic_creation = true;
        }
        context.ask(format!("v{version}"), &mut connection, version, &request)?;
    }
    for version in 1..=13 {
        let request = MetadataRequest::default().with_topics(Some(Vec::new()));
        context.ask(format!("v{version}:no-topics"), &mut connection, version, &request)?;
    }
    for version in [0, 1, 9, 13] {
        // Version 0 has no null: empty means all.
        let topics = (version == 0).then(Vec::new);
        let response = context.demand(version, &MetadataRequest::default().with_topics(topics))?;
        let ours =
            response.topics.iter().filter(|topic| topic.name.as_ref().is_some_and(|name| name.0 == *"metadata-a"));
        context.record(format!("v{version}:all-topics"), json!(ours.count()));
    }
    Ok(())
}

fn bad_names(context: &mut Context<'_>) -> Outcome {
    context.create_topic("metadata.taken", 1, &[])?;
    let mut connection = context.connect()?;
    let long = "x".repeat(250);
    let names = ["unknown-topic", "", ".", "..", "a b", "ä", &long, "metadata_taken"];
    for version in [1, 4, 8, 12, 13] {
        for (index, name) in names.iter().enumerate() {
            let mut request = metadata(&[name]);
            if version < 4 {
                request.allow_auto_topic_creation = true;
                if *name == "unknown-topic" {
                    continue;
                }
            }
            context.ask(format!("v{version}:{index}"), &mut connection, version, &request)?;
        }
    }
    context.ask("twice", &mut connection, 9, &metadata(&["metadata.taken", "metadata.taken", "unknown-topic"]))?;
    Ok(())
}

fn by_id(id: Uuid, name: Option<&str>) -> MetadataRequestTopic {
    MetadataRequestTopic::default().with_topic_id(id).with_name(name.map(topic_name))
}

fn asking(rows: Vec<MetadataRequestTopic>) -> MetadataRequest {
    MetadataRequest::default().with_topics(Some(rows)).with_allow_auto_topic_creation(false)
}

fn topic_ids(context: &mut Context<'_>) -> Outcome {
    let id = context.create_topic("metadata-id", 1, &[])?;
    let unknown = Uuid::from_u128(0x1234_5678_9abc_4def_8123_4567_89ab_cdef);
    let mut connection = context.connect()?;
    for version in [10, 11, 12, 13] {
        let mut ask = |step: &str, rows| {
            context.ask(format!("v{version}:{step}"), &mut connection, version, &asking(rows)).map(|_| ())
        };
        ask("known", vec![by_id(id, None)])?;
        ask("unknown", vec![by_id(unknown, None)])?;
        ask("id-and-name", vec![by_id(id, Some("metadata-id"))])?;
        ask("id-and-another-name", vec![by_id(id, Some("other"))])?;
        ask("ids-and-names-mixed", vec![by_id(id, None), by_id(Uuid::nil(), Some("metadata-id"))])?;
        ask("neither", vec![by_id(Uuid::nil(), None)])?;
    }
    Ok(())
}

fn authorized_operations(context: &mut Context<'_>) -> Outcome {
    context.create_topic("metadata-operations", 1, &[])?;
    let mut connection = context.connect()?;
    for version in 8..=13 {
        let mut request = metadata(&["metadata-operations"]).with_include_topic_authorized_operations(true);
        if version <= 10 {
            request.include_cluster_authorized_operations = true;
        }
        context.ask(format!("v{version}"), &mut connection, version, &request)?;
    }
    Ok(())
}

/// The very first answer, and what is true in the end.
fn creates_a_topic(context: &mut Context<'_>) -> Outcome {
    for version in [0, 3, 4, 9, 13] {
        let name = format!("metadata-auto-{version}");
        let request = metadata(&[&name]).with_allow_auto_topic_creation(true);
        let first = context.demand(version, &request)?;
        let codes: Vec<i16> = first.topics.iter().map(|topic| topic.error_code).collect();
        context.record(format!("v{version}:first-answer"), json!(codes));
        let last = context.until("the topic is there", |context| {
            let response = context.demand(version, &request)?;
            Ok(response.topics.first().is_some_and(|topic| topic.error_code == 0).then_some(response))
        })?;
        context.record(format!("v{version}:created"), crate::debug_json::to_json(&last.topics));
    }
    Ok(())
}

fn switched_off(context: &mut Context<'_>) -> Outcome {
    let mut connection = context.connect()?;
    for version in [0, 3, 4, 9, 13] {
        let request = metadata(&["never-created"]).with_allow_auto_topic_creation(true);
        context.ask(format!("v{version}"), &mut connection, version, &request)?;
    }
    Ok(())
}

/// Makes `__consumer_offsets`, as the first group does, and waits until it is there.
pub(crate) fn make_internal_topic(context: &Context<'_>) -> Outcome {
    context.demand(3, &coordinator_of(3, "some-group", 0))?;
    context.until("the internal topic", |context| {
        let response = context.demand(9, &metadata(&["__consumer_offsets"]))?;
        Ok((response.topics[0].error_code == 0).then_some(()))
    })
}

/// Waits until the coordinator has loaded its part of the internal topic: a moment, and not for ever.
fn until_loaded(context: &Context<'_>) -> Outcome {
    for _ in 0..100 {
        if context.demand(3, &coordinator_of(3, "some-group", 0))?.error_code == 0 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    Ok(())
}

fn find_coordinator(context: &mut Context<'_>) -> Outcome {
    make_internal_topic(context)?;
    until_loaded(context)?;
    let mut connection = context.connect()?;
    for version in 0..=6 {
        context.ask(format!("v{version}"), &mut connection, version, &coordinator_of(version, "some-group", 0))?;
    }
    let topic = context.demand(9, &metadata(&["__consumer_offsets"]))?;
    let rows = topic.topics.iter().map(|topic| json!([topic.error_code, topic.is_internal, topic.partitions.len()]));
    let rows = rows.collect();
    context.record("the-internal-topic", rows);
    Ok(())
}

fn find_coordinator_errors(context: &mut Context<'_>) -> Outcome {
    make_internal_topic(context)?;
    until_loaded(context)?;
    let mut connection = context.connect()?;
    for version in 1..=6 {
        for (step, key, kind) in
            [("type-2", "g", 2), ("type-3", "g", 3), ("type-99", "g", 99), ("type-negative", "g", -1)]
        {
            context.ask(format!("v{version}:{step}"), &mut connection, version, &coordinator_of(version, key, kind))?;
        }
    }
    context.ask("empty-key", &mut connection, 3, &coordinator_of(3, "", 0))?;
    let none = FindCoordinatorRequest::default();
    context.ask("no-keys", &mut connection, 4, &none)?;
    Ok(())
}

fn coordinator_of(version: i16, key: &str, kind: i8) -> FindCoordinatorRequest {
    let request = FindCoordinatorRequest::default().with_key_type(kind);
    if version >= 4 { request.with_coordinator_keys(vec![text(key)]) } else { request.with_key(text(key)) }
}
