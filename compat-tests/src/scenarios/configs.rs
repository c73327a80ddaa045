//! DescribeConfigs (key 32), AlterConfigs (key 33), IncrementalAlterConfigs (key 44), ListConfigResources (key 74).

use kafka_protocol::messages::{
    AlterConfigsRequest, DescribeConfigsRequest, IncrementalAlterConfigsRequest, ListConfigResourcesRequest,
    alter_configs_request as replace, describe_configs_request::DescribeConfigsResource,
    incremental_alter_configs_request as incremental,
};

use super::{Scenario, produce::A_TIME, shared, with};
use crate::{
    Outcome,
    context::Context,
    raw::{
        Batch,
        requests::{Topic, produce},
        text,
    },
};

pub(crate) const SCENARIOS: &[Scenario] = &[
    shared("describe_configs/topic", describe_topic),
    shared("describe_configs/broker", describe_broker),
    shared("describe_configs/errors", describe_errors),
    with(
        "describe_configs/static-settings",
        &[
            ("log.retention.hours", "5"),
            ("log.cleanup.policy", "compact,delete"),
            ("num.io.threads", "5"),
            ("log.segment.bytes", "2000000"),
        ],
        static_settings,
    ),
    shared("incremental_alter_configs/topic", alter_topic),
    shared("incremental_alter_configs/topic-errors", alter_topic_errors),
    with("incremental_alter_configs/broker", &[("num.io.threads", "4")], alter_broker),
    with("incremental_alter_configs/cluster-default", &[("num.io.threads", "4")], alter_cluster_default),
    shared("incremental_alter_configs/acts-at-once", acts_at_once),
    shared("alter_configs/versions", replace_topic),
    shared("alter_configs/errors", replace_errors),
    shared("list_config_resources/versions", list_resources),
];

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

fn resource(kind: i8, name: &str, keys: Option<&[&str]>) -> DescribeConfigsResource {
    DescribeConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(name))
        .with_configuration_keys(keys.map(|keys| keys.iter().map(|key| text(key)).collect()))
}

fn describing(resources: Vec<DescribeConfigsResource>) -> DescribeConfigsRequest {
    DescribeConfigsRequest::default().with_resources(resources)
}

fn describe_topic(context: &mut Context<'_>) -> Outcome {
    context.create_topic("configs-plain", 1, &[])?;
    context.create_topic("configs-set", 1, &[("retention.ms", "777"), ("cleanup.policy", "compact")])?;
    let mut connection = context.connect()?;
    for version in 1..=4 {
        for name in ["configs-plain", "configs-set"] {
            let all = describing(vec![resource(TOPIC, name, None)]);
            context.ask(format!("v{version}:{name}:all"), &mut connection, version, &all)?;
            let synonyms = describing(vec![resource(TOPIC, name, None)]).with_include_synonyms(true);
            context.ask(format!("v{version}:{name}:synonyms"), &mut connection, version, &synonyms)?;
            let two = describing(vec![resource(TOPIC, name, Some(&["retention.ms", "no.such.key", "cleanup.policy"]))]);
            context.ask(format!("v{version}:{name}:two"), &mut connection, version, &two)?;
        }
        let none = describing(vec![resource(TOPIC, "configs-set", Some(&[]))]);
        context.ask(format!("v{version}:no-keys"), &mut connection, version, &none)?;
    }
    let documented = describing(vec![resource(TOPIC, "configs-plain", None)]).with_include_documentation(true);
    context.ask("documentation", &mut connection, 4, &documented)?;
    Ok(())
}

fn describe_broker(context: &mut Context<'_>) -> Outcome {
    let mut connection = context.connect()?;
    for version in [1, 4] {
        let all = describing(vec![resource(BROKER, "1", None)]);
        context.ask(format!("v{version}:all"), &mut connection, version, &all)?;
        let synonyms = describing(vec![resource(BROKER, "1", None)]).with_include_synonyms(true);
        context.ask(format!("v{version}:synonyms"), &mut connection, version, &synonyms)?;
        let cluster = describing(vec![resource(BROKER, "", None)]).with_include_synonyms(true);
        context.ask(format!("v{version}:cluster-default"), &mut connection, version, &cluster)?;
    }
    Ok(())
}

fn describe_errors(context: &mut Context<'_>) -> Outcome {
    let mut connection = context.connect()?;
    for version in [1, 4] {
        for (step, kind, name) in [
            ("unknown-topic", TOPIC, "configs-unknown"),
            ("bad-topic-name", TOPIC, "not a name"),
            ("empty-topic-name", TOPIC, ""),
            ("other-broker", BROKER, "2"),
            ("broker-that-is-no-number", BROKER, "x"),
            ("type-0", 0, "x"),
            ("type-1", 1, "x"),
            ("type-3", 3, "x"),
            ("type-99", 99, "x"),
            ("logger-of-another", 8, "2"),
        ] {
            let request = describing(vec![resource(kind, name, None)]);
            context.ask(format!("v{version}:{step}"), &mut connection, version, &request)?;
        }
        context.ask(format!("v{version}:none"), &mut connection, version, &describing(Vec::new()))?;
    }
    Ok(())
}

fn static_settings(context: &mut Context<'_>) -> Outcome {
    context.create_topic("configs-static", 1, &[("segment.bytes", "3000000")])?;
    let mut connection = context.connect()?;
    for (step, kind, name) in [("topic", TOPIC, "configs-static"), ("broker", BROKER, "1")] {
        let request = describing(vec![resource(kind, name, None)]).with_include_synonyms(true);
        context.ask(step, &mut connection, 4, &request)?;
    }
    Ok(())
}

/// (key, operation, value): 0 set, 1 delete, 2 append, 3 subtract.
type Change<'a> = (&'a str, i8, Option<&'a str>);

fn altering(kind: i8, name: &str, changes: &[Change<'_>]) -> incremental::AlterConfigsResource {
    let changes = changes.iter().map(|(key, operation, value)| {
        incremental::AlterableConfig::default()
            .with_name(text(key))
            .with_config_operation(*operation)
            .with_value(value.map(text))
    });
    incremental::AlterConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(name))
        .with_configs(changes.collect())
}

fn alter(resources: Vec<incremental::AlterConfigsResource>) -> IncrementalAlterConfigsRequest {
    IncrementalAlterConfigsRequest::default().with_resources(resources)
}

/// Sets one key of a topic.
pub(crate) fn alter_one(topic: &str, key: &str, value: &str) -> IncrementalAlterConfigsRequest {
    alter(vec![altering(TOPIC, topic, &[(key, 0, Some(value))])])
}

/// Kafka's broker shows a change a moment after it said yes: asks until the answer stays the same.
fn settled(context: &Context<'_>, request: &DescribeConfigsRequest, key: &str, value: Option<&str>) -> Outcome {
    context.until(&format!("{key} is {value:?}"), |context| {
        let response = context.demand(4, request)?;
        let shown = response.results[0].configs.iter().find(|config| config.name == *key);
        let shown = shown.and_then(|config| config.value.as_deref());
        Ok((shown == value).then_some(()))
    })
}

fn alter_topic(context: &mut Context<'_>) -> Outcome {
    let mut connection = context.connect()?;
    for version in 0..=1 {
        let name = format!("alter-v{version}");
        context.create_topic(&name, 1, &[])?;
        let request = describing(vec![resource(TOPIC, &name, None)]).with_include_synonyms(true);
        let steps: [(&str, Change<'_>, Option<&str>); 9] = [
            ("set", ("retention.ms", 0, Some("1000")), Some("1000")),
            ("set-same", ("retention.ms", 0, Some("1000")), Some("1000")),
            ("delete", ("retention.ms", 1, None), Some("604800000")),
            ("delete-again", ("retention.ms", 1, None), Some("604800000")),
            ("append", ("cleanup.policy", 2, Some("compact")), Some("delete,compact")),
            ("append-same", ("cleanup.policy", 2, Some("compact")), Some("delete,compact")),
            ("subtract", ("cleanup.policy", 3, Some("delete")), Some("compact")),
            ("subtract-absent", ("cleanup.policy", 3, Some("delete")), Some("compact")),
            ("set-list-with-duplicates", ("cleanup.policy", 0, Some("delete,delete")), Some("delete")),
        ];
        for (step, change, value) in steps {
            context.ask(
                format!("v{version}:{step}"),
                &mut connection,
                version,
                &alter(vec![altering(TOPIC, &name, &[change])]),
            )?;
            settled(context, &request, change.0, value)?;
            context.ask(format!("v{version}:{step}:described"), &mut connection, 4, &request)?;
        }
        let validate = alter(vec![altering(TOPIC, &name, &[("retention.ms", 0, Some("5"))])]).with_validate_only(true);
        context.ask(format!("v{version}:validate-only"), &mut connection, version, &validate)?;
        context.ask(format!("v{version}:validate-only:described"), &mut connection, 4, &request)?;
    }
    Ok(())
}

fn alter_topic_errors(context: &mut Context<'_>) -> Outcome {
    context.create_topic("alter-errors", 1, &[])?;
    let mut connection = context.connect()?;
    let cases: [(&str, &[Change<'_>]); 14] = [
        ("unknown-key", &[("no.such.key", 0, Some("1"))]),
        ("unknown-key-deleted", &[("no.such.key", 1, None)]),
        ("bad-value", &[("retention.ms", 0, Some("x"))]),
        ("out-of-range", &[("retention.ms", 0, Some("-5"))]),
        ("null-set", &[("retention.ms", 0, None)]),
        ("null-append", &[("cleanup.policy", 2, None)]),
        ("append-to-a-number", &[("retention.ms", 2, Some("1"))]),
        ("subtract-from-a-number", &[("retention.ms", 3, Some("1"))]),
        ("append-bad", &[("cleanup.policy", 2, Some("none"))]),
        ("same-key-twice", &[("retention.ms", 0, Some("1")), ("retention.ms", 0, Some("2"))]),
        ("unknown-operation", &[("retention.ms", 9, Some("1"))]),
        ("one-good-one-bad", &[("retention.ms", 0, Some("4")), ("segment.ms", 0, Some("x"))]),
        ("empty", &[]),
        ("empty-key", &[("", 0, Some("1"))]),
    ];
    for (step, changes) in cases {
        context.ask(step, &mut connection, 1, &alter(vec![altering(TOPIC, "alter-errors", changes)]))?;
    }
    let change: &[Change<'_>] = &[("retention.ms", 0, Some("4"))];
    let resources: [(&str, Vec<incremental::AlterConfigsResource>); 7] = [
        ("unknown-topic", vec![altering(TOPIC, "alter-unknown", change)]),
        ("bad-name", vec![altering(TOPIC, "not a name", change)]),
        ("empty-name", vec![altering(TOPIC, "", change)]),
        ("same-resource-twice", vec![altering(TOPIC, "alter-errors", change), altering(TOPIC, "alter-errors", change)]),
        ("type-0", vec![altering(0, "x", change)]),
        ("type-99", vec![altering(99, "x", change)]),
        ("none", Vec::new()),
    ];
    for (step, resources) in resources {
        context.ask(step, &mut connection, 1, &alter(resources))?;
    }
    let request = describing(vec![resource(TOPIC, "alter-errors", Some(&["retention.ms", "segment.ms"]))]);
    context.ask("nothing-changed", &mut connection, 4, &request)?;
    Ok(())
}

fn broker_steps(context: &mut Context<'_>, name: &str, cases: &[(&str, &[Change<'_>])]) -> Outcome {
    let mut connection = context.connect()?;
    for (step, changes) in cases {
        context.ask(*step, &mut connection, 1, &alter(vec![altering(BROKER, name, changes)]))?;
    }
    Ok(())
}

fn alter_broker(context: &mut Context<'_>) -> Outcome {
    let cases: [(&str, &[Change<'_>]); 11] = [
        ("not-dynamic", &[("broker.rack", 0, Some("r"))]),
        ("two-not-dynamic", &[("broker.rack", 0, Some("r")), ("node.id", 0, Some("5"))]),
        ("bad-value", &[("log.retention.ms", 0, Some("x"))]),
        ("out-of-range", &[("num.io.threads", 0, Some("0"))]),
        ("threads-too-many", &[("num.io.threads", 0, Some("9"))]),
        ("threads-too-few", &[("num.io.threads", 0, Some("1"))]),
        ("min-insync-replicas", &[("min.insync.replicas", 0, Some("1"))]),
        ("security-without-listener", &[("ssl.keystore.location", 0, Some("/x"))]),
        ("append-to-a-number", &[("log.retention.ms", 2, Some("1"))]),
        ("dynamic", &[("log.retention.ms", 0, Some("86400000"))]),
        ("also-dynamic", &[("num.io.threads", 0, Some("5"))]),
    ];
    broker_steps(context, "1", &cases)?;
    let mut connection = context.connect()?;
    context.ask(
        "other-broker",
        &mut connection,
        1,
        &alter(vec![altering(BROKER, "7", &[("log.retention.ms", 0, Some("1"))])]),
    )?;
    context.ask(
        "broker-no-number",
        &mut connection,
        1,
        &alter(vec![altering(BROKER, "x", &[("log.retention.ms", 0, Some("1"))])]),
    )?;
    context.create_topic("alter-broker-topic", 1, &[])?;
    let broker =
        describing(vec![resource(BROKER, "1", Some(&["log.retention.ms", "log.retention.hours", "num.io.threads"]))])
            .with_include_synonyms(true);
    settled(context, &broker, "num.io.threads", Some("5"))?;
    context.ask("described", &mut connection, 4, &broker)?;
    let topic = describing(vec![resource(TOPIC, "alter-broker-topic", None)]).with_include_synonyms(true);
    settled(context, &topic, "retention.ms", Some("86400000"))?;
    context.ask("topic-described", &mut connection, 4, &topic)?;
    context.ask(
        "deleted",
        &mut connection,
        1,
        &alter(vec![altering(BROKER, "1", &[("log.retention.ms", 1, None), ("num.io.threads", 1, None)])]),
    )?;
    settled(context, &topic, "retention.ms", Some("604800000"))?;
    settled(context, &broker, "num.io.threads", Some("4"))?;
    context.ask("described-after", &mut connection, 4, &broker)?;
    Ok(())
}

fn alter_cluster_default(context: &mut Context<'_>) -> Outcome {
    let cases: [(&str, &[Change<'_>]); 6] = [
        ("per-broker-only", &[("advertised.listeners", 0, Some("PLAINTEXT://x:1"))]),
        ("not-dynamic", &[("broker.rack", 0, Some("r"))]),
        ("min-insync-replicas-deleted", &[("min.insync.replicas", 1, None)]),
        ("min-insync-replicas-too-high", &[("min.insync.replicas", 0, Some("0"))]),
        ("unknown-key", &[("no.such.key", 0, Some("1"))]),
        ("dynamic", &[("log.retention.ms", 0, Some("90000000"))]),
    ];
    broker_steps(context, "", &cases)?;
    context.create_topic("alter-default-topic", 1, &[])?;
    let topic = describing(vec![resource(TOPIC, "alter-default-topic", None)]).with_include_synonyms(true);
    settled(context, &topic, "retention.ms", Some("90000000"))?;
    let mut connection = context.connect()?;
    context.ask("topic-described", &mut connection, 4, &topic)?;
    let default = describing(vec![resource(BROKER, "", None)]).with_include_synonyms(true);
    context.ask("described", &mut connection, 4, &default)?;
    context.ask("deleted", &mut connection, 1, &alter(vec![altering(BROKER, "", &[("log.retention.ms", 1, None)])]))?;
    settled(context, &topic, "retention.ms", Some("604800000"))?;
    Ok(())
}

/// What was altered holds for the next append.
fn acts_at_once(context: &mut Context<'_>) -> Outcome {
    let id = context.create_topic("alter-acts", 1, &[])?;
    let topic = Topic { name: "alter-acts", id };
    let batch = Batch::new(A_TIME, &[&"x".repeat(500)]).encode();
    let produce_code = |context: &Context<'_>| -> Outcome<i16> {
        let response = context.demand(9, &produce(9, 1, topic, &[(0, batch.clone())]))?;
        Ok(response.responses[0].partition_responses[0].error_code)
    };
    for (limit, expected) in [("100", 10), ("1000", 0), ("568", 10)] {
        context.demand(1, &alter(vec![altering(TOPIC, topic.name, &[("max.message.bytes", 0, Some(limit))])]))?;
        context.until("the limit holds", |context| Ok((produce_code(context)? == expected).then_some(())))?;
    }
    Ok(())
}

fn replacing(kind: i8, name: &str, configs: &[(&str, Option<&str>)]) -> replace::AlterConfigsResource {
    let configs = configs
        .iter()
        .map(|(key, value)| replace::AlterableConfig::default().with_name(text(key)).with_value(value.map(text)));
    replace::AlterConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(name))
        .with_configs(configs.collect())
}

fn replace_all(resources: Vec<replace::AlterConfigsResource>) -> AlterConfigsRequest {
    AlterConfigsRequest::default().with_resources(resources)
}

fn replace_topic(context: &mut Context<'_>) -> Outcome {
    let mut connection = context.connect()?;
    for version in 0..=2 {
        let name = format!("replace-v{version}");
        context.create_topic(&name, 1, &[("retention.ms", "5"), ("segment.ms", "6")])?;
        let described = describing(vec![resource(TOPIC, &name, None)]);
        let only = replace_all(vec![replacing(TOPIC, &name, &[("retention.ms", Some("8"))])]);
        context.ask(format!("v{version}:one-key"), &mut connection, version, &only)?;
        settled(context, &described, "retention.ms", Some("8"))?;
        context.ask(format!("v{version}:one-key:described"), &mut connection, 4, &described)?;
        context.ask(
            format!("v{version}:empty"),
            &mut connection,
            version,
            &replace_all(vec![replacing(TOPIC, &name, &[])]),
        )?;
        settled(context, &described, "retention.ms", Some("604800000"))?;
        context.ask(format!("v{version}:empty:described"), &mut connection, 4, &described)?;
    }
    Ok(())
}

fn replace_errors(context: &mut Context<'_>) -> Outcome {
    context.create_topic("replace-errors", 1, &[])?;
    let mut connection = context.connect()?;
    let cases: [(&str, Vec<replace::AlterConfigsResource>); 9] = [
        ("unknown-key", vec![replacing(TOPIC, "replace-errors", &[("no.such.key", Some("1"))])]),
        ("bad-value", vec![replacing(TOPIC, "replace-errors", &[("retention.ms", Some("x"))])]),
        ("null", vec![replacing(TOPIC, "replace-errors", &[("retention.ms", None)])]),
        ("unknown-topic", vec![replacing(TOPIC, "replace-unknown", &[("retention.ms", Some("5"))])]),
        ("twice", vec![replacing(TOPIC, "replace-errors", &[]), replacing(TOPIC, "replace-errors", &[])]),
        ("type-0", vec![replacing(0, "x", &[])]),
        ("cluster-default-without-min-isr", vec![replacing(BROKER, "", &[])]),
        ("not-dynamic", vec![replacing(BROKER, "1", &[("broker.rack", Some("r"))])]),
        ("none", Vec::new()),
    ];
    for (step, resources) in cases {
        context.ask(step, &mut connection, 2, &replace_all(resources))?;
    }
    Ok(())
}

fn list_resources(context: &mut Context<'_>) -> Outcome {
    let mut connection = context.connect()?;
    context.ask("v0", &mut connection, 0, &ListConfigResourcesRequest::default())?;
    for kinds in [&[4][..], &[16], &[32], &[8], &[4, 8], &[3], &[99]] {
        let step = format!("v1:{}", kinds.iter().map(ToString::to_string).collect::<Vec<_>>().join(","));
        let request = ListConfigResourcesRequest::default().with_resource_types(kinds.to_vec());
        context.ask(step, &mut connection, 1, &request)?;
    }
    Ok(())
}
