//! CreateTopics (key 19), DeleteTopics (key 20), CreatePartitions (key 37).

use kafka_protocol::messages::{
    CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest,
    create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsTopic},
    create_topics_request::{CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig},
    delete_topics_request::DeleteTopicState,
};
use uuid::Uuid;

use super::{Scenario, produce::A_TIME, shared, with};
use crate::{
    Outcome,
    context::Context,
    raw::{
        Batch,
        requests::{Topic, fetch, from_offset, metadata, produce},
        text, topic_name,
    },
};

pub(crate) const SCENARIOS: &[Scenario] = &[
    shared("create_topics/versions", create_versions),
    shared("create_topics/errors", create_errors),
    shared("create_topics/names", names),
    shared("create_topics/configs", configs),
    shared("create_topics/assignments", assignments),
    shared("create_topics/several-in-one-request", several),
    with(
        "create_topics/defaults-of-the-broker",
        &[("num.partitions", "4"), ("default.replication.factor", "1")],
        defaults,
    ),
    shared("delete_topics/versions", delete_versions),
    shared("delete_topics/errors", delete_errors),
    shared("delete_topics/name-is-free-again", name_is_free_again),
    with("delete_topics/switched-off", &[("delete.topic.enable", "false")], delete_switched_off),
    shared("create_partitions/versions", partitions_versions),
    shared("create_partitions/errors", partitions_errors),
];

fn topic(name: &str) -> CreatableTopic {
    CreatableTopic::default().with_name(topic_name(name)).with_num_partitions(1).with_replication_factor(1)
}

fn creating(topics: Vec<CreatableTopic>) -> CreateTopicsRequest {
    CreateTopicsRequest::default().with_topics(topics).with_timeout_ms(30_000)
}

fn configured(name: &str, configs: &[(&str, Option<&str>)]) -> CreatableTopic {
    let configs = configs
        .iter()
        .map(|(key, value)| CreatableTopicConfig::default().with_name(text(key)).with_value(value.map(text)));
    topic(name).with_configs(configs.collect())
}

fn create_versions(context: &mut Context<'_>) -> Outcome {
    let mut connection = context.connect()?;
    for version in 2..=7 {
        let name = format!("create-v{version}");
        let mut step = |step: &str, request: CreateTopicsRequest| {
            context.ask(format!("v{version}:{step}"), &mut connection, version, &request).map(|_| ())
        };
        step("validate-only", creating(vec![topic(&name)]).with_validate_only(true))?;
        step("created", creating(vec![topic(&name)]))?;
        step("exists", creating(vec![topic(&name)]))?;
        step("validate-only-exists", creating(vec![topic(&name)]).with_validate_only(true))?;
        step(
            "with-configs",
            creating(vec![configured(
                &format!("{name}-c"),
                &[("retention.ms", Some("5")), ("cleanup.policy", Some("compact"))],
            )]),
        )?;
        step(
            "defaults",
            creating(vec![topic(&format!("{name}-d")).with_num_partitions(-1).with_replication_factor(-1)]),
        )?;
        step("timeout-zero", creating(vec![topic(&format!("{name}-t"))]).with_timeout_ms(0))?;
        step("timeout-negative", creating(vec![topic(&format!("{name}-t"))]).with_timeout_ms(-1))?;
        step("none", creating(Vec::new()))?;
        context.ask(format!("v{version}:metadata"), &mut connection, 12, &metadata(&[&name, &format!("{name}-t")]))?;
    }
    Ok(())
}

fn create_errors(context: &mut Context<'_>) -> Outcome {
    let mut connection = context.connect()?;
    for version in [2, 5, 7] {
        let mut step = |step: &str, row: CreatableTopic| {
            context.ask(format!("v{version}:{step}"), &mut connection, version, &creating(vec![row])).map(|_| ())
        };
        for partitions in [0, -2, i32::MIN] {
            step(&format!("partitions:{partitions}"), topic("create-error").with_num_partitions(partitions))?;
        }
        for factor in [0, -2, 2, 3, i16::MAX] {
            step(&format!("replication-factor:{factor}"), topic("create-error").with_replication_factor(factor))?;
        }
        step("partitions-10000", topic("create-error").with_num_partitions(10_000))?;
        step("partitions-10001", topic("create-error").with_num_partitions(10_001))?;
        step("both-wrong", topic("create-error").with_num_partitions(0).with_replication_factor(0))?;
    }
    Ok(())
}

fn names(context: &mut Context<'_>) -> Outcome {
    let mut connection = context.connect()?;
    context.create_topic("create.dots", 1, &[])?;
    let (longest, too_long) = ("x".repeat(249), "x".repeat(250));
    let names = [
        "",
        ".",
        "..",
        "...",
        "a b",
        "ä",
        "a/b",
        "a:b",
        "create_dots",
        "create.dots",
        "__cluster_metadata",
        "__own",
        "-",
        "_",
        "A.b_C-9",
        &longest,
        &too_long,
        " ",
        "a\nb",
    ];
    for (index, name) in names.into_iter().enumerate() {
        context.ask(format!("name:{index}"), &mut connection, 7, &creating(vec![topic(name)]))?;
    }
    Ok(())
}

fn configs(context: &mut Context<'_>) -> Outcome {
    let mut connection = context.connect()?;
    let cases: [&[(&str, Option<&str>)]; 34] = [
        &[("no.such.key", Some("1"))],
        &[("no.such.key", Some("1")), ("nor.this", Some("1"))],
        &[("retention.ms", None)],
        &[("no.such.key", None)],
        &[("retention.ms", Some("x"))],
        &[("retention.ms", Some(""))],
        &[("retention.ms", Some(" 7 "))],
        &[("retention.ms", Some("-2"))],
        &[("retention.ms", Some("9223372036854775808"))],
        &[("retention.ms", Some("5")), ("retention.ms", Some("6"))],
        &[("cleanup.policy", Some("compact,delete"))],
        &[("cleanup.policy", Some("delete,compact"))],
        &[("cleanup.policy", Some("delete,delete"))],
        &[("cleanup.policy", Some(""))],
        &[("cleanup.policy", Some("none"))],
        &[("cleanup.policy", Some("Compact"))],
        &[("compression.type", Some("zip"))],
        &[("compression.type", Some("zstd"))],
        &[("compression.gzip.level", Some("77"))],
        &[("compression.lz4.level", Some("0"))],
        &[("compression.zstd.level", Some("-200000"))],
        &[("segment.bytes", Some("13"))],
        &[("segment.bytes", Some("1048575"))],
        &[("max.message.bytes", Some("-1"))],
        &[("min.insync.replicas", Some("0"))],
        &[("min.insync.replicas", Some("5"))],
        &[("min.cleanable.dirty.ratio", Some("1.5"))],
        &[("min.cleanable.dirty.ratio", Some("abc"))],
        &[("unclean.leader.election.enable", Some("yes"))],
        &[("unclean.leader.election.enable", Some("TRUE"))],
        &[("message.timestamp.type", Some("Whenever"))],
        &[("min.compaction.lag.ms", Some("10")), ("max.compaction.lag.ms", Some("5"))],
        &[("local.retention.ms", Some("10")), ("retention.ms", Some("5"))],
        &[("remote.storage.enable", Some("true"))],
    ];
    for (index, configs) in cases.into_iter().enumerate() {
        let request = creating(vec![configured(&format!("create-config-{index}"), configs)]);
        context.ask(format!("config:{index}"), &mut connection, 7, &request)?;
    }
    for (step, value) in [("throttle", "0:1"), ("throttle-star", "*"), ("throttle-wrong", "abc")] {
        let configs = [("leader.replication.throttled.replicas", Some(value))];
        context.ask(step, &mut connection, 7, &creating(vec![configured(&format!("create-{step}"), &configs)]))?;
    }
    Ok(())
}

fn assigned(name: &str, rows: &[(i32, &[i32])]) -> CreatableTopic {
    let rows = rows.iter().map(|(partition, brokers)| {
        let brokers = brokers.iter().map(|&id| id.into()).collect();
        CreatableReplicaAssignment::default().with_partition_index(*partition).with_broker_ids(brokers)
    });
    topic(name).with_num_partitions(-1).with_replication_factor(-1).with_assignments(rows.collect())
}

fn assignments(context: &mut Context<'_>) -> Outcome {
    let mut connection = context.connect()?;
    let cases: [(&str, CreatableTopic); 10] = [
        ("one", assigned("create-assigned-1", &[(0, &[1])])),
        ("two", assigned("create-assigned-2", &[(1, &[1]), (0, &[1])])),
        ("gap", assigned("create-assigned-3", &[(0, &[1]), (2, &[1])])),
        ("not-from-zero", assigned("create-assigned-4", &[(1, &[1])])),
        ("unknown-broker", assigned("create-assigned-5", &[(0, &[9])])),
        ("broker-twice", assigned("create-assigned-6", &[(0, &[1, 1])])),
        ("no-brokers", assigned("create-assigned-7", &[(0, &[])])),
        ("partition-twice", assigned("create-assigned-8", &[(0, &[1]), (0, &[1])])),
        ("with-a-count", assigned("create-assigned-9", &[(0, &[1])]).with_num_partitions(1)),
        (
            "with-a-factor",
            assigned("create-assigned-9", &[(0, &[1])]).with_replication_factor(1).with_num_partitions(1),
        ),
    ];
    for (step, row) in cases {
        context.ask(step, &mut connection, 7, &creating(vec![row]))?;
    }
    Ok(())
}

fn several(context: &mut Context<'_>) -> Outcome {
    let mut connection = context.connect()?;
    let rows = ["several-a", "several-b", "bad name", "several-a", "several.c", "several_c"].map(topic);
    context.ask("mixed", &mut connection, 7, &creating(rows.to_vec()))?;
    context.ask("metadata", &mut connection, 12, &metadata(&["several-a", "several-b", "several.c", "several_c"]))?;
    Ok(())
}

fn defaults(context: &mut Context<'_>) -> Outcome {
    let mut connection = context.connect()?;
    for version in [2, 4, 7] {
        let row = topic(&format!("defaults-{version}")).with_num_partitions(-1).with_replication_factor(-1);
        context.ask(format!("v{version}"), &mut connection, version, &creating(vec![row]))?;
    }
    Ok(())
}

fn deleting(version: i16, names: &[&str]) -> DeleteTopicsRequest {
    let request = DeleteTopicsRequest::default().with_timeout_ms(30_000);
    if version >= 6 {
        let rows = names.iter().map(|name| DeleteTopicState::default().with_name(Some(topic_name(name))));
        request.with_topics(rows.collect())
    } else {
        request.with_topic_names(names.iter().map(|name| topic_name(name)).collect())
    }
}

fn by_id(id: Uuid, name: Option<&str>) -> DeleteTopicState {
    DeleteTopicState::default().with_topic_id(id).with_name(name.map(topic_name))
}

fn delete_versions(context: &mut Context<'_>) -> Outcome {
    let mut connection = context.connect()?;
    for version in 1..=6 {
        let name = format!("delete-v{version}");
        context.create_topic(&name, 2, &[])?;
        context.ask(
            format!("v{version}:timeout-zero"),
            &mut connection,
            version,
            &deleting(version, &[&name]).with_timeout_ms(0),
        )?;
        context.ask(format!("v{version}:deleted"), &mut connection, version, &deleting(version, &[&name]))?;
        context.ask(format!("v{version}:again"), &mut connection, version, &deleting(version, &[&name]))?;
        // Kafka's broker may still know it for a moment.
        context.until("it is gone", |context| {
            let response = context.demand(9, &metadata(&[&name]))?;
            Ok((response.topics[0].error_code == 3).then_some(()))
        })?;
    }
    let id = context.create_topic("delete-by-id", 1, &[])?;
    let request = DeleteTopicsRequest::default().with_timeout_ms(30_000).with_topics(vec![by_id(id, None)]);
    context.ask("by-id", &mut connection, 6, &request)?;
    context.ask("by-id-again", &mut connection, 6, &request)?;
    Ok(())
}

fn delete_errors(context: &mut Context<'_>) -> Outcome {
    let mut connection = context.connect()?;
    for version in [1, 3, 5, 6] {
        for (index, names) in [&["delete-unknown"][..], &["not a name"], &[""], &[]].into_iter().enumerate() {
            context.ask(format!("v{version}:{index}"), &mut connection, version, &deleting(version, names))?;
        }
        let name = format!("delete-twice-{version}");
        context.create_topic(&name, 1, &[])?;
        context.ask(format!("v{version}:twice"), &mut connection, version, &deleting(version, &[&name, &name]))?;
    }
    let id = context.create_topic("delete-id-errors", 1, &[])?;
    let cases: [(&str, Vec<DeleteTopicState>); 6] = [
        ("id-and-name", vec![by_id(id, Some("delete-id-errors"))]),
        ("neither", vec![by_id(Uuid::nil(), None)]),
        ("unknown-id", vec![by_id(Uuid::from_u128(5), None)]),
        ("id-twice", vec![by_id(id, None), by_id(id, None)]),
        ("name-and-id-of-one", vec![by_id(id, None), by_id(Uuid::nil(), Some("delete-id-errors"))]),
        ("at-last", vec![by_id(id, None)]),
    ];
    for (step, rows) in cases {
        let request = DeleteTopicsRequest::default().with_timeout_ms(30_000).with_topics(rows);
        context.ask(step, &mut connection, 6, &request)?;
    }
    Ok(())
}

/// A deleted topic's name may be used at once; who still names its id is told so, and the new one starts empty.
fn name_is_free_again(context: &mut Context<'_>) -> Outcome {
    let old = context.create_topic("delete-reborn", 1, &[])?;
    let old = Topic { name: "delete-reborn", id: old };
    context.demand(9, &produce(9, 1, old, &[(0, Batch::new(A_TIME, &["old"]).encode())]))?;
    context.demand(6, &deleting(6, &["delete-reborn"]))?;
    // Kafka's broker may still know the old one for a moment.
    let new = context.until("the name is free", |context| Ok(context.create_topic("delete-reborn", 1, &[]).ok()))?;
    let new = Topic { name: "delete-reborn", id: new };
    let mut connection = context.connect()?;
    context.ask(
        "produce-by-the-old-id",
        &mut connection,
        13,
        &produce(13, 1, old, &[(0, Batch::new(A_TIME, &["x"]).encode())]),
    )?;
    context.ask("fetch-by-the-old-id", &mut connection, 13, &fetch(13, old, vec![from_offset(0, 0)]))?;
    context.ask("fetch-by-the-new-id", &mut connection, 13, &fetch(13, new, vec![from_offset(0, 0)]))?;
    Ok(())
}

fn delete_switched_off(context: &mut Context<'_>) -> Outcome {
    context.create_topic("kept", 1, &[])?;
    let mut connection = context.connect()?;
    for version in 1..=6 {
        context.ask(
            format!("v{version}"),
            &mut connection,
            version,
            &deleting(version, &["kept", "delete-unknown"]),
        )?;
    }
    Ok(())
}

fn growing(name: &str, count: i32, assignments: Option<&[&[i32]]>) -> CreatePartitionsTopic {
    let assignments = assignments.map(|rows| {
        let row = |brokers: &[i32]| brokers.iter().map(|&id| id.into()).collect();
        rows.iter().map(|brokers| CreatePartitionsAssignment::default().with_broker_ids(row(brokers))).collect()
    });
    CreatePartitionsTopic::default().with_name(topic_name(name)).with_count(count).with_assignments(assignments)
}

fn grow(rows: Vec<CreatePartitionsTopic>) -> CreatePartitionsRequest {
    CreatePartitionsRequest::default().with_topics(rows).with_timeout_ms(30_000)
}

fn partitions_versions(context: &mut Context<'_>) -> Outcome {
    let mut connection = context.connect()?;
    for version in 0..=3 {
        let name = format!("grow-v{version}");
        context.create_topic(&name, 1, &[])?;
        let validate = grow(vec![growing(&name, 3, None)]).with_validate_only(true);
        context.ask(format!("v{version}:validate-only"), &mut connection, version, &validate)?;
        context.ask(format!("v{version}:grown"), &mut connection, version, &grow(vec![growing(&name, 3, None)]))?;
        context.ask(
            format!("v{version}:assigned"),
            &mut connection,
            version,
            &grow(vec![growing(&name, 5, Some(&[&[1], &[1]]))]),
        )?;
        context.until_ready(&name, 5)?;
        context.ask(format!("v{version}:metadata"), &mut connection, 12, &metadata(&[&name]))?;
    }
    Ok(())
}

fn partitions_errors(context: &mut Context<'_>) -> Outcome {
    context.create_topic("grow-errors", 2, &[])?;
    let mut connection = context.connect()?;
    for version in [0, 3] {
        let mut step = |step: &str, request: CreatePartitionsRequest| {
            context.ask(format!("v{version}:{step}"), &mut connection, version, &request).map(|_| ())
        };
        for count in [2, 1, 0, -1] {
            step(&format!("count:{count}"), grow(vec![growing("grow-errors", count, None)]))?;
        }
        step("unknown", grow(vec![growing("grow-unknown", 3, None)]))?;
        step("empty-name", grow(vec![growing("", 3, None)]))?;
        step("twice", grow(vec![growing("grow-errors", 3, None), growing("grow-errors", 4, None)]))?;
        step("too-few-assignments", grow(vec![growing("grow-errors", 4, Some(&[&[1]]))]))?;
        step("too-many-assignments", grow(vec![growing("grow-errors", 3, Some(&[&[1], &[1]]))]))?;
        step("empty-assignments", grow(vec![growing("grow-errors", 3, Some(&[]))]))?;
        step("unknown-broker", grow(vec![growing("grow-errors", 3, Some(&[&[9]]))]))?;
        step("broker-twice", grow(vec![growing("grow-errors", 3, Some(&[&[1, 1]]))]))?;
        step("no-brokers", grow(vec![growing("grow-errors", 3, Some(&[&[]]))]))?;
        step("none", grow(Vec::new()))?;
        step("timeout-zero", grow(vec![growing("grow-errors", 3, None)]).with_timeout_ms(0))?;
    }
    Ok(())
}
