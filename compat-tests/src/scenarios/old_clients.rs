//! Clients of before 2.1, which Kafka 4 no longer serves: Java 0.9 to 1.1, kafka-python, and Telegraf at 0.10.2.0.

use std::process::Command;

use super::{
    Scenario, before_4,
    rdkafka_client::{consume, produce},
    shippers,
};
use crate::{
    Outcome,
    context::Context,
    java::{SHORT_LIVED_JVM, compile},
};

pub(crate) const SCENARIOS: &[Scenario] = &[
    before_4("old_clients/java-0.9.0.1", |context| java(context, "0.9.0.1")),
    before_4("old_clients/java-0.10.2.2", |context| java(context, "0.10.2.2")),
    before_4("old_clients/java-0.11.0.3", |context| java(context, "0.11.0.3")),
    before_4("old_clients/java-1.1.1", |context| java(context, "1.1.1")),
    before_4("old_clients/kafka-python-1.4.7", |context| python(context, "1.4.7")),
    before_4("old_clients/kafka-python-3.0.12", |context| python(context, "3.0.12")),
    before_4("old_clients/telegraf", telegraf),
];

const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

/// Topics that a client of today filled, one a codec; zstd comes from the topic.
fn topics_of_today(context: &mut Context<'_>, prefix: &str, codecs: &[&str]) -> Outcome<Vec<String>> {
    let mut topics = Vec::new();
    for &codec in codecs {
        let topic = format!("{prefix}-today-{codec}");
        let (of_client, of_topic) = if codec == "zstd" { ("none", "zstd") } else { (codec, "producer") };
        context.create_topic(&topic, 1, &[("compression.type", of_topic)])?;
        produce(&context.cluster.bootstrap(), &topic, of_client, "all", false)?;
        topics.push(topic);
    }
    Ok(topics)
}

fn java(context: &mut Context<'_>, version: &str) -> Outcome {
    let prefix = format!("old-java-{}", version.replace('.', "-"));
    // From 0.11 on batches come as they are, zstd too (Kafka 4 does so, 3.9.1 did not), for a client to fail on.
    let codecs = if version.starts_with("0.9") || version.starts_with("0.10") { &CODECS[..] } else { &CODECS[..4] };
    let today = topics_of_today(context, &prefix, codecs)?;
    let jars = context.tools.client_class_path(version);
    let classes = tempfile::tempdir()?;
    compile("OldJavaClient", &jars, classes.path())?;
    let mut java = Command::new("java");
    java.args(SHORT_LIVED_JVM).args(["-cp", &format!("{}:{jars}", classes.path().display()), "OldJavaClient"]);
    java.args([&context.cluster.bootstrap(), &prefix]).args(&today);
    context.program("printed", &mut java, "")?;
    // 0.9 has no times: what its records carry is that there is none.
    for codec in ["none", "gzip", "snappy", "lz4"] {
        let seen = consume(&context.cluster.bootstrap(), &format!("{prefix}-{codec}-all"), 30)?;
        context.record(format!("read-by-librdkafka:{codec}"), seen);
    }
    Ok(())
}

fn python(context: &mut Context<'_>, version: &str) -> Outcome {
    let prefix = format!("old-python-{}", version.replace('.', "-"));
    let today = topics_of_today(context, &prefix, &CODECS)?;
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/python/old_client.py");
    let mut python = Command::new(context.tools.dir.join(format!("kafka-python-{version}/bin/python")));
    python.arg(source).args([&context.cluster.bootstrap(), &prefix]).args(&today);
    context.program("printed", &mut python, "")?;
    for codec in ["none", "gzip", "snappy", "lz4"] {
        let seen = consume(&context.cluster.bootstrap(), &format!("{prefix}-{codec}"), 30)?;
        context.record(format!("read-by-librdkafka:{codec}"), seen);
    }
    Ok(())
}

fn telegraf(context: &mut Context<'_>) -> Outcome {
    for (step, more) in [
        ("plain", ""),
        ("gzip", "compression_codec = 1"),
        ("snappy", "compression_codec = 2"),
        ("lz4", "compression_codec = 3"),
        ("acks-1", "required_acks = 1"),
    ] {
        let more = format!("version = \"0.10.2.0\"\n  {more}");
        shippers::run_telegraf(context, step, &format!("telegraf-old-{step}"), &more)?;
    }
    Ok(())
}
