//! Apache Kafka's command line tools: what they print and how they end.

use std::fs;

use serde_json::Value;

use super::{Scenario, alone};
use crate::{Outcome, context::Context};

pub(crate) const SCENARIOS: &[Scenario] = &[
    alone("cli/topics", &[], topics),
    alone("cli/configs", &[("num.io.threads", "4")], configs),
    alone("cli/records", &[], records),
    alone("cli/cluster", &[], cluster),
];

const TOPICS: &str = "org.apache.kafka.tools.TopicCommand";
const CONFIGS: &str = "kafka.admin.ConfigCommand";
const PRODUCER: &str = "org.apache.kafka.tools.ConsoleProducer";
const CONSUMER: &str = "org.apache.kafka.tools.consumer.ConsoleConsumer";
const OFFSETS: &str = "org.apache.kafka.tools.GetOffsetShell";
const DELETE_RECORDS: &str = "org.apache.kafka.tools.DeleteRecordsCommand";
const LOG_DIRS: &str = "org.apache.kafka.tools.LogDirsCommand";
const API_VERSIONS: &str = "org.apache.kafka.tools.BrokerApiVersionsCommand";
const CLUSTER: &str = "org.apache.kafka.tools.ClusterTool";
const QUORUM: &str = "org.apache.kafka.tools.MetadataQuorumCommand";
const FEATURES: &str = "org.apache.kafka.tools.FeatureCommand";
const PRODUCER_PERF: &str = "org.apache.kafka.tools.ProducerPerformance";

/// Runs a tool with `--bootstrap-server` and these words.
fn run(context: &mut Context<'_>, step: &str, class: &str, words: &str, input: &str) -> Outcome<String> {
    let bootstrap = context.cluster.bootstrap();
    let mut arguments = vec!["--bootstrap-server", &bootstrap];
    arguments.extend(words.split(' ').filter(|word| !word.is_empty()));
    context.tool(step, class, &arguments, input)
}

/// As `run`, for output that is recorded in another form.
fn quietly(context: &mut Context<'_>, class: &str, words: &str) -> Outcome<String> {
    let bootstrap = context.cluster.bootstrap();
    let mut arguments = vec!["--bootstrap-server", &bootstrap];
    arguments.extend(words.split(' ').filter(|word| !word.is_empty()));
    let printed = context.run_tool(class, &arguments, "")?;
    if printed.exit_code == 0 { Ok(printed.stdout) } else { Err(format!("{class}: {printed:?}").into()) }
}

/// Lines as a map by what stands before `end`, so that a deviation can name one of them.
fn by_first_word(text: &str, end: char) -> Value {
    let word = |line: &str| line.trim().split(end).next().unwrap_or_default().trim().replace(['.', ' '], "_");
    text.lines().map(|line| (word(line), Value::from(line.trim().trim_end_matches(',')))).collect()
}

fn topics(context: &mut Context<'_>) -> Outcome {
    let steps = [
        ("list-nothing", "--list"),
        ("create", "--create --topic cli-a --partitions 3 --replication-factor 1"),
        ("create-again", "--create --topic cli-a --partitions 3"),
        ("create-if-not-exists", "--create --topic cli-a --if-not-exists"),
        ("create-with-defaults", "--create --topic cli-b"),
        ("create-with-configs", "--create --topic cli-c --config retention.ms=5000 --config cleanup.policy=compact"),
        ("create-with-a-dot", "--create --topic cli.dot"),
        ("create-colliding", "--create --topic cli_dot"),
        ("create-with-a-bad-config", "--create --topic cli-d --config retention.ms=x"),
        ("create-with-an-unknown-config", "--create --topic cli-d --config no.such=x"),
        ("create-with-a-bad-name", "--create --topic cli+d"),
        ("create-with-too-many-replicas", "--create --topic cli-d --replication-factor 3"),
        ("create-with-no-partitions", "--create --topic cli-d --partitions 0"),
        ("create-with-an-assignment", "--create --topic cli-e --replica-assignment 1,1"),
        ("list", "--list"),
        ("list-matching", "--list --topic cli-[ab]"),
        ("describe", "--describe"),
        ("describe-one", "--describe --topic cli-c"),
        ("describe-unknown", "--describe --topic cli-unknown"),
        ("describe-unknown-if-exists", "--describe --topic cli-unknown --if-exists"),
        ("describe-under-replicated", "--describe --under-replicated-partitions"),
        ("describe-unavailable", "--describe --unavailable-partitions"),
        ("describe-overrides", "--describe --topics-with-overrides"),
        ("alter", "--alter --topic cli-a --partitions 5"),
        ("alter-to-fewer", "--alter --topic cli-a --partitions 2"),
        ("alter-to-the-same", "--alter --topic cli-a --partitions 5"),
        ("alter-unknown", "--alter --topic cli-unknown --partitions 5"),
        ("describe-altered", "--describe --topic cli-a"),
        ("delete", "--delete --topic cli-a"),
        ("delete-again", "--delete --topic cli-a"),
        ("delete-if-exists", "--delete --topic cli-a --if-exists"),
        ("list-at-last", "--list --exclude-internal"),
    ];
    for (step, words) in steps {
        run(context, step, TOPICS, words, "")?;
        // Kafka's broker learns of a change a moment after the controller's answer.
        if step.starts_with("alter") {
            context.until_ready("cli-a", 5)?;
        }
    }
    Ok(())
}

fn configs(context: &mut Context<'_>) -> Outcome {
    context.create_topic("cli-configs", 1, &[])?;
    let topic = "--entity-type topics --entity-name cli-configs";
    let broker = "--entity-type brokers --entity-name 1";
    let steps = [
        ("describe-plain", format!("--describe {topic}")),
        ("set", format!("--alter {topic} --add-config retention.ms=1000,cleanup.policy=[compact,delete]")),
        ("describe-set", format!("--describe {topic}")),
        ("describe-all", format!("--describe --all {topic}")),
        ("set-bad", format!("--alter {topic} --add-config retention.ms=x")),
        ("set-unknown", format!("--alter {topic} --add-config no.such=1")),
        ("delete", format!("--alter {topic} --delete-config retention.ms")),
        ("delete-absent", format!("--alter {topic} --delete-config segment.ms")),
        ("describe-deleted", format!("--describe {topic}")),
        (
            "unknown-topic",
            "--alter --entity-type topics --entity-name cli-unknown --add-config retention.ms=5".to_owned(),
        ),
        ("describe-unknown-topic", "--describe --entity-type topics --entity-name cli-unknown".to_owned()),
        ("describe-topics", "--describe --entity-type topics".to_owned()),
        ("broker-set", format!("--alter {broker} --add-config log.retention.ms=86400000,num.io.threads=5")),
        ("broker-describe", format!("--describe {broker}")),
        ("broker-set-not-dynamic", format!("--alter {broker} --add-config broker.rack=r")),
        ("broker-set-bad", format!("--alter {broker} --add-config num.io.threads=x")),
        ("topic-sees-the-broker", format!("--describe --all {topic}")),
        ("broker-delete", format!("--alter {broker} --delete-config log.retention.ms,num.io.threads")),
        ("broker-describe-after", format!("--describe {broker}")),
        (
            "default-set",
            "--alter --entity-type brokers --entity-default --add-config log.retention.ms=90000000".to_owned(),
        ),
        ("default-describe", "--describe --entity-type brokers --entity-default".to_owned()),
        (
            "default-delete",
            "--alter --entity-type brokers --entity-default --delete-config log.retention.ms".to_owned(),
        ),
        ("broker-describe-all", format!("--describe --all {broker}")),
    ];
    for (step, words) in steps {
        run(context, step, CONFIGS, &words, "")?;
        settle(context, step)?;
    }
    Ok(())
}

/// Kafka's broker shows a change a moment after the controller's answer.
fn settle(context: &Context<'_>, step: &str) -> Outcome {
    use kafka_protocol::messages::{DescribeConfigsRequest, describe_configs_request::DescribeConfigsResource};

    use crate::raw::text;

    let (kind, name, key, value) = match step {
        "set" => (2, "cli-configs", "retention.ms", "1000"),
        "delete" | "broker-delete" | "default-delete" => (2, "cli-configs", "retention.ms", "604800000"),
        "broker-set" => (2, "cli-configs", "retention.ms", "86400000"),
        "default-set" => (2, "cli-configs", "retention.ms", "90000000"),
        _ => return Ok(()),
    };
    let resource = DescribeConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(name))
        .with_configuration_keys(Some(vec![text(key)]));
    let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
    context.until(&format!("{key} is {value}"), |context| {
        let response = context.demand(4, &request)?;
        let shown = response.results[0].configs.first().and_then(|config| config.value.as_deref());
        Ok((shown == Some(value)).then_some(()))
    })
}

fn records(context: &mut Context<'_>) -> Outcome {
    context.create_topic("cli-records", 2, &[])?;
    let first = "a\nb\nc\n";
    run(context, "produce", PRODUCER, "--topic cli-records --sync", first)?;
    run(
        context,
        "produce-keyed",
        PRODUCER,
        "--topic cli-keyed --reader-property parse.key=true --reader-property key.separator=:",
        "k1:v1\nk2:v2\n",
    )?;
    run(
        context,
        "produce-headers",
        PRODUCER,
        "--topic cli-headers --compression-codec lz4 --reader-property parse.headers=true",
        "h1:x,h2:y\tvalue one\nh1:z\tvalue two\n",
    )?;
    run(
        context,
        "produce-acks-1",
        PRODUCER,
        "--topic cli-records --producer-property acks=1 --producer-property enable.idempotence=false",
        "d\n",
    )?;
    run(context, "offsets", OFFSETS, "--topic cli-keyed", "")?;
    run(context, "offsets-earliest", OFFSETS, "--topic cli-keyed --time earliest", "")?;

    run(context, "offsets-partitions", OFFSETS, "--topic-partitions cli-keyed:0,cli-headers:0", "")?;
    run(context, "offsets-unknown", OFFSETS, "--topic cli-unknown", "")?;
    let read = |words: &str| format!("{words} --timeout-ms 30000");
    let keyed = read(
        "--topic cli-keyed --partition 0 --offset earliest --max-messages 2 --formatter-property print.key=true --formatter-property print.offset=true --formatter-property print.partition=true",
    );
    run(context, "consume-keyed", CONSUMER, &keyed, "")?;
    let headers =
        read("--topic cli-headers --partition 0 --offset 0 --max-messages 2 --formatter-property print.headers=true");
    run(context, "consume-headers", CONSUMER, &headers, "")?;
    run(context, "consume-from-1", CONSUMER, &read("--topic cli-keyed --partition 0 --offset 1 --max-messages 1"), "")?;
    run(context, "consume-nothing", CONSUMER, "--topic cli-keyed --partition 0 --offset latest --timeout-ms 500", "")?;
    let file = context.cluster.scratch_dir().join("delete.json");
    fs::write(&file, r#"{"partitions":[{"topic":"cli-keyed","partition":0,"offset":1}],"version":1}"#)?;
    run(context, "delete-records", DELETE_RECORDS, &format!("--offset-json-file {}", file.display()), "")?;
    run(context, "offsets-after", OFFSETS, "--topic cli-keyed --time -2", "")?;
    fs::write(&file, r#"{"partitions":[{"topic":"cli-keyed","partition":0,"offset":9}],"version":1}"#)?;
    run(
        context,
        "delete-records-behind-the-end",
        DELETE_RECORDS,
        &format!("--offset-json-file {}", file.display()),
        "",
    )?;
    let bootstrap = context.cluster.bootstrap();
    let perf =
        format!("--topic cli-perf --num-records 1000 --record-size 100 --throughput -1 --bootstrap-server {bootstrap}");
    let words: Vec<&str> = perf.split(' ').collect();
    context.tool("producer-perf", PRODUCER_PERF, &words, "")?;
    run(context, "perf-offsets", OFFSETS, "--topic cli-perf", "")?;
    Ok(())
}

fn cluster(context: &mut Context<'_>) -> Outcome {
    context.create_topic("cli-cluster", 1, &[])?;
    run(context, "log-dirs", LOG_DIRS, "--describe --topic-list cli-cluster", "")?;
    run(context, "log-dirs-of-a-broker", LOG_DIRS, "--describe --broker-list 1 --topic-list cli-cluster", "")?;
    run(context, "log-dirs-of-unknown", LOG_DIRS, "--describe --broker-list 7", "")?;
    let printed = quietly(context, API_VERSIONS, "")?;
    context.record("api-versions", by_first_word(&printed, ':'));
    let bootstrap = context.cluster.bootstrap();
    context.tool("cluster-id", CLUSTER, &["cluster-id", "--bootstrap-server", &bootstrap], "")?;
    context.tool("endpoints", CLUSTER, &["list-endpoints", "--bootstrap-server", &bootstrap], "")?;
    run(context, "quorum-status", QUORUM, "describe --status", "")?;
    run(context, "quorum-replication", QUORUM, "describe --replication", "")?;
    let printed = quietly(context, FEATURES, "describe")?;
    let features = printed.replace("Feature: ", "");
    context.record("features", by_first_word(&features, ' '));
    Ok(())
}
