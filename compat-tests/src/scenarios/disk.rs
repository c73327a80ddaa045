//! What lies on the disk: Kafka's own `kafka-dump-log` reads it, and directories that a Kafka wrote are served.

use std::{fs, path::Path};

use kafka_protocol::messages::{
    DescribeProducersRequest, OffsetForLeaderEpochRequest,
    describe_producers_request::TopicRequest,
    offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic},
};
use serde_json::{Value, json};

use super::{Scenario, alone, produce::run_time};
use crate::{
    Outcome,
    cluster::{ApacheKafka, Cluster},
    context::{Context, kafka_text},
    raw::{
        Batch,
        requests::{Topic, fetch, from_offset, list_offsets, produce},
        topic_name,
    },
};

pub(crate) const SCENARIOS: &[Scenario] = &[
    alone("disk/dump-log-after-a-clean-stop", &[], |context| dump_log(context, Ending::Stopped)),
    alone("disk/dump-log-after-a-kill", &[], |context| dump_log(context, Ending::Killed)),
    alone("disk/a-directory-of-kafka-closed-cleanly", &[], |context| foreign_directory(context, Ending::Stopped)),
    alone("disk/a-directory-of-a-killed-kafka", &[], |context| foreign_directory(context, Ending::Killed)),
];

/// How a broker ended.
#[derive(Clone, Copy)]
enum Ending {
    Stopped,
    Killed,
}

impl Ending {
    fn end(self, cluster: &mut dyn Cluster) -> Outcome {
        match self {
            Self::Stopped => cluster.stop().map(|_| ()),
            Self::Killed => cluster.kill(),
        }
    }
}

/// Plain, keyed, large and idempotent batches over several segments, the same bytes wherever it runs.
fn fill(context: &Context<'_>, topic: Topic<'_>, time: i64) -> Outcome {
    let large = "x".repeat(30_000);
    for index in 0..60 {
        let at = time + index * 1000;
        let batch = match index % 4 {
            0 => Batch::new(at, &["plain", "of", "three"]),
            1 => Batch::new(at, &["keyed"]).keyed("key"),
            2 => Batch::new(at, &[&large]),
            _ => Batch::new(at, &["i", "j"]).by_producer(8000 + index % 3, 1, (index / 12 * 2) as i32),
        };
        let response = context.demand(9, &produce(9, -1, topic, &[(0, batch.encode())]))?;
        let code = response.responses[0].partition_responses[0].error_code;
        if code != 0 {
            return Err(format!("batch {index}: Produce answered {code}").into());
        }
    }
    Ok(())
}

const SMALL_SEGMENTS: &[(&str, &str)] =
    &[("segment.bytes", "1048576"), ("index.interval.bytes", "4096"), ("segment.ms", "20000")];

fn dump_log(context: &mut Context<'_>, ending: Ending) -> Outcome {
    let id = context.create_topic("dumped", 1, SMALL_SEGMENTS)?;
    fill(context, Topic { name: "dumped", id }, run_time())?;
    if matches!(ending, Ending::Killed) {
        // What recovery makes of it is what is looked at.
        context.cluster.kill()?;
        context.cluster.start()?;
        context.until_ready("dumped", 1)?;
    }
    let code = context.cluster.stop()?;
    context.record("exit-code", json!(code));
    let dir = context.cluster.data_dir().join("dumped-0");
    let files = file_names(&dir)?;
    context.record("files", json!(files));
    for name in files.iter().filter(|name| name.contains("0000")) {
        let file = dir.join(name);
        let arguments = ["--files", &*file.to_string_lossy(), "--deep-iteration", "--print-data-log"];
        context.tool(&format!("dump:{}", name.replace('.', "-")), DUMP, &arguments, "")?;
        if name.ends_with("index") {
            let arguments = ["--files", &*file.to_string_lossy(), "--index-sanity-check"];
            context.tool(&format!("sanity:{}", name.replace('.', "-")), DUMP, &arguments, "")?;
            let arguments = ["--files", &*file.to_string_lossy(), "--verify-index-only"];
            context.tool(&format!("verify:{}", name.replace('.', "-")), DUMP, &arguments, "")?;
        }
    }
    for name in ["leader-epoch-checkpoint", "partition.metadata"] {
        let text = fs::read_to_string(dir.join(name))?;
        context.record_text(name.replace('.', "-"), &text);
    }
    for name in ["recovery-point-offset-checkpoint", "replication-offset-checkpoint", "log-start-offset-checkpoint"] {
        let text = fs::read_to_string(context.cluster.data_dir().join(name)).unwrap_or_default();
        let ours: Vec<&str> = text.lines().filter(|line| line.starts_with("dumped ")).collect();
        context.record(name, json!(ours));
    }
    Ok(())
}

const DUMP: &str = "org.apache.kafka.tools.DumpLogSegments";

fn file_names(dir: &Path) -> Outcome<Vec<String>> {
    let mut names: Vec<String> =
        fs::read_dir(dir)?.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    Ok(names)
}

/// A Kafka writes a partition; its directory takes the place of ours, under our topic's id.
fn foreign_directory(context: &mut Context<'_>, ending: Ending) -> Outcome {
    let mut kafka = ApacheKafka::create(context.tools, &[])?;
    kafka.start()?;
    let time = run_time();
    {
        let mut none = None;
        let other = Context::new(&mut kafka, context.tools, &mut none);
        let id = other.create_topic("moved", 1, SMALL_SEGMENTS)?;
        fill(&other, Topic { name: "moved", id }, time)?;
    }
    ending.end(&mut kafka)?;
    let id = context.create_topic("moved", 1, SMALL_SEGMENTS)?;
    let topic = Topic { name: "moved", id };
    ending.end(context.cluster)?;
    let ours = context.cluster.data_dir().join("moved-0");
    fs::remove_dir_all(&ours)?;
    fs::create_dir(&ours)?;
    let theirs = kafka.data_dir().join("moved-0");
    for name in file_names(&theirs)? {
        fs::copy(theirs.join(&name), ours.join(&name))?;
    }
    fs::write(ours.join("partition.metadata"), format!("version: 0\ntopic_id: {}", kafka_text(id)))?;
    context.cluster.start()?;
    context.until_ready("moved", 1)?;

    context.record("records", json!(all_batches(context, topic, time)?));
    let mut connection = context.connect()?;
    for (step, at) in [("first", -2), ("end", -1)] {
        context.ask(format!("offset:{step}"), &mut connection, 1, &list_offsets("moved", &[(0, at)]))?;
    }
    for delta in [0, 1, 1000, 30_000, 59_000, 59_002] {
        let response = context.demand(1, &list_offsets("moved", &[(0, time + delta)]))?;
        let row = &response.topics[0].partitions[0];
        context.record(
            format!("time:{delta}"),
            json!([row.offset, if row.timestamp < 0 { -1 } else { row.timestamp - time }]),
        );
    }
    let row = TopicRequest::default().with_name(topic_name("moved")).with_partition_indexes(vec![0]);
    let producers = context.demand(0, &DescribeProducersRequest::default().with_topics(vec![row]))?;
    let mut producers: Vec<Value> = producers.topics[0].partitions[0]
        .active_producers
        .iter()
        .map(|row| json!([row.producer_id.0, row.producer_epoch, row.last_sequence, row.last_timestamp - time]))
        .collect();
    producers.sort_by_key(Value::to_string);
    context.record("producers", json!(producers));
    let row = OffsetForLeaderPartition::default().with_partition(0).with_current_leader_epoch(-1).with_leader_epoch(0);
    let row = OffsetForLeaderTopic::default().with_topic(topic_name("moved")).with_partitions(vec![row]);
    let request = OffsetForLeaderEpochRequest::default().with_replica_id((-1).into()).with_topics(vec![row]);
    context.ask("end-of-epoch-0", &mut connection, 4, &request)?;

    // The last batch of a producer again, then its next.
    for (step, sequence) in [("duplicate", 8), ("next", 10), ("gap", 30)] {
        let batch = Batch::new(time + 59_000, &["i", "j"]).by_producer(8002, 1, sequence).encode();
        context.ask(step, &mut connection, 9, &produce(9, -1, topic, &[(0, batch)]))?;
    }
    Ok(())
}

/// Every batch from offset 0 on, times relative to `time`.
fn all_batches(context: &Context<'_>, topic: Topic<'_>, time: i64) -> Outcome<Vec<Value>> {
    let mut batches = Vec::new();
    let mut next = 0;
    loop {
        let response = context.demand(12, &fetch(12, topic, vec![from_offset(0, next)]))?;
        let row = &response.responses[0].partitions[0];
        if row.error_code != 0 {
            return Err(format!("Fetch at {next} answered {}", row.error_code).into());
        }
        let found = crate::raw::records::describe(&row.records.clone().unwrap_or_default());
        let before = batches.len();
        for mut batch in found.as_array().cloned().unwrap_or_default() {
            let Some(base) = batch["base_offset"].as_i64() else { continue };
            next = base + batch["last_offset_delta"].as_i64().unwrap_or_default() + 1;
            for field in ["base_timestamp", "max_timestamp"] {
                batch[field] = json!(batch[field].as_i64().unwrap_or_default() - time);
            }
            batches.push(batch);
        }
        if batches.len() == before {
            return Ok(batches);
        }
    }
}
