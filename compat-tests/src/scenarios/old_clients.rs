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
    before_4("old_clients/kcat", kcat),
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
    // 0.9 fails on Kafka's answer to who asks for zstd; from 0.11 on Kafka 3.9 refuses what Kafka 4 and we send as it is.
    let codecs = if version.starts_with("0.10") { &CODECS[..] } else { &CODECS[..4] };
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

/// Debian's kcat, told that the broker is an old one: it sends the formats of that time.
fn kcat(context: &mut Context<'_>) -> Outcome {
    let lines = (0..50).map(|number| format!("{number}:line {number}")).collect::<Vec<_>>().join("\n");
    topics_of_today(context, "old-kcat", &CODECS[..4])?;
    for release in ["0.8.2", "0.9.0.1", "0.10.2.0"] {
        let broker = context.cluster.bootstrap();
        let kcat = |words: &str| {
            let mut command = Command::new("kcat");
            command.args(["-b", &broker, "-X", "api.version.request=false"]);
            command.args(["-X", &format!("broker.version.fallback={release}")]).args(words.split(' '));
            command
        };
        let consume = |topic: &str, format: &str| kcat(&format!("-C -t {topic} -o beginning -e -q -f {format}\\n"));
        let name = release.replace('.', "-");
        for codec in &CODECS[..4] {
            let topic = format!("old-kcat-{name}-{codec}");
            context.create_topic(&topic, 1, &[])?;
            context.program(
                &format!("{name}:produce:{codec}"),
                &mut kcat(&format!("-P -t {topic} -z {codec} -K :")),
                &lines,
            )?;
            context.program(&format!("{name}:consume:{codec}"), &mut consume(&topic, "%p:%o:%k:%s"), "")?;
            let today = format!("old-kcat-today-{codec}");
            context.program(&format!("{name}:consume-today:{codec}"), &mut consume(&today, "%p:%o:%T:%k:%s:%h"), "")?;
        }
        context.program(&format!("{name}:last"), &mut kcat("-C -t old-kcat-today-lz4 -o -3 -e -q"), "")?;
    }
    Ok(())
}
