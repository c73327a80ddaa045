//! What lies on the disk: Kafka's own `kafka-dump-log` reads it, and directories that a Kafka wrote are served.

use std::{fs, path::Path};

use kafka_protocol::messages::{
    AddPartitionsToTxnRequest, DescribeProducersRequest, EndTxnRequest, FindCoordinatorRequest, InitProducerIdRequest,
    OffsetForLeaderEpochRequest,
    add_partitions_to_txn_request::AddPartitionsToTxnTopic,
    describe_producers_request::TopicRequest,
    offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic},
};
use serde_json::{Value, json};

use super::{Scenario, alone, produce::run_time};
use crate::{
    Outcome,
    cluster::{ApacheKafka, Cluster, Release},
    context::{Context, kafka_text},
    debug_json::to_json,
    raw::{
        Batch,
        requests::{Topic, fetch, from_offset, list_offsets, produce},
        text, topic_name,
    },
};

pub(crate) const SCENARIOS: &[Scenario] = &[
    alone("disk/dump-log-after-a-clean-stop", &[], |context| dump_log(context, Ending::Stopped)),
    alone("disk/dump-log-after-a-kill", &[], |context| dump_log(context, Ending::Killed)),
    alone("disk/a-directory-of-kafka-closed-cleanly", &[], |context| foreign_directory(context, Ending::Stopped)),
    alone("disk/a-directory-of-a-killed-kafka", &[], |context| foreign_directory(context, Ending::Killed)),
    alone("disk/transactions-of-kafka-closed-cleanly", &[], |context| foreign_transactions(context, Ending::Stopped)),
    alone("disk/transactions-of-a-killed-kafka", &[], |context| foreign_transactions(context, Ending::Killed)),
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
fn moved_in<'a>(
    context: &mut Context<'_>,
    ending: Ending,
    configs: &[(&str, &str)],
    fill: impl Fn(&Context<'_>, Topic<'_>) -> Outcome,
) -> Outcome<Topic<'a>> {
    let mut kafka = ApacheKafka::create(context.tools, Release::V4_3_1, &[])?;
    kafka.start()?;
    {
        let mut none = None;
        let other = Context::new(&mut kafka, context.tools, &mut none);
        let id = other.create_topic("moved", 1, configs)?;
        fill(&other, Topic { name: "moved", id })?;
    }
    ending.end(&mut kafka)?;
    let id = context.create_topic("moved", 1, configs)?;
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
    Ok(Topic { name: "moved", id })
}

fn foreign_directory(context: &mut Context<'_>, ending: Ending) -> Outcome {
    let time = run_time();
    let topic = moved_in(context, ending, SMALL_SEGMENTS, |kafka, topic| fill(kafka, topic, time))?;
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

/// What one transaction writes, and how it ends.
type Transaction = (&'static str, usize, Option<bool>);

const TRANSACTIONS: [Transaction; 5] = [
    ("committed", 2, Some(true)),
    ("aborted", 3, Some(false)),
    ("aborted-later", 1, Some(false)),
    ("committed-too", 1, Some(true)),
    ("open", 2, None),
];

/// Transactions between plain batches; the last one stays open.
fn write_transactions(context: &Context<'_>, topic: Topic<'_>) -> Outcome {
    let append = |batch: &Batch, id: Option<&str>| -> Outcome {
        let request = produce(9, -1, topic, &[(0, batch.encode())]);
        let request = request.with_transactional_id(id.map(|id| text(id).into()));
        context.until("the append is taken", |context| {
            let response = context.demand(9, &request)?;
            Ok((response.responses[0].partition_responses[0].error_code == 0).then_some(()))
        })
    };
    for (id, batches, ends) in TRANSACTIONS {
        let find = FindCoordinatorRequest::default().with_key(text(id)).with_key_type(1);
        context.until("a coordinator", |context| Ok((context.demand(3, &find)?.error_code == 0).then_some(())))?;
        let init = InitProducerIdRequest::default()
            .with_transactional_id(Some(text(id).into()))
            .with_transaction_timeout_ms(600_000)
            .with_producer_id((-1).into())
            .with_producer_epoch(-1);
        let (producer, epoch) = context.until("a producer id", |context| {
            let response = context.demand(4, &init)?;
            Ok((response.error_code == 0).then_some((response.producer_id, response.producer_epoch)))
        })?;
        let row = AddPartitionsToTxnTopic::default().with_name(topic_name(topic.name)).with_partitions(vec![0]);
        let add = AddPartitionsToTxnRequest::default()
            .with_v3_and_below_transactional_id(text(id).into())
            .with_v3_and_below_producer_id(producer)
            .with_v3_and_below_producer_epoch(epoch)
            .with_v3_and_below_topics(vec![row]);
        context.until("the partition is added", |context| {
            let response = context.demand(3, &add)?;
            Ok((response.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code == 0)
                .then_some(()))
        })?;
        for sequence in 0..batches {
            append(&Batch::new(run_time(), &["plain"]), None)?;
            let batch = Batch::new(run_time(), &[id]).by_producer(producer.0, epoch, sequence as i32);
            append(&batch.with(|batch| batch.attributes = 0x10), Some(id))?;
        }
        if let Some(committed) = ends {
            let end = EndTxnRequest::default()
                .with_transactional_id(text(id).into())
                .with_producer_id(producer)
                .with_producer_epoch(epoch)
                .with_committed(committed);
            let response = context.demand(3, &end)?;
            if response.error_code != 0 {
                return Err(format!("EndTxn answered {}", response.error_code).into());
            }
            // The marker is written a moment after the answer.
            let last = list_offsets(topic.name, &[(0, -1)]);
            let stable = last.clone().with_isolation_level(1);
            context.until("the marker is written", |context| {
                let end = context.demand(4, &last)?.topics[0].partitions[0].offset;
                Ok((context.demand(4, &stable)?.topics[0].partitions[0].offset == end).then_some(()))
            })?;
        }
    }
    append(&Batch::new(run_time(), &["after"]), None)
}

/// Control batches, aborted transactions and an open one, written by a Kafka, as readers see them.
fn foreign_transactions(context: &mut Context<'_>, ending: Ending) -> Outcome {
    let topic = moved_in(context, ending, &[], write_transactions)?;
    let mut connection = context.connect()?;
    for isolation in [0, 1] {
        let end = list_offsets(topic.name, &[(0, -1)]).with_isolation_level(isolation);
        context.ask(format!("end:{isolation}"), &mut connection, 4, &end)?;
        for from in [0, 4, 8, 12, 16, 20] {
            let request = fetch(12, topic, vec![from_offset(0, from)]).with_isolation_level(isolation);
            context.ask(format!("fetch:{isolation}:from:{from}"), &mut connection, 12, &request)?;
        }
    }
    let row = TopicRequest::default().with_name(topic_name("moved")).with_partition_indexes(vec![0]);
    let producers = context.demand(0, &DescribeProducersRequest::default().with_topics(vec![row]))?;
    let mut producers: Vec<Value> = producers.topics[0].partitions[0].active_producers.iter().map(to_json).collect();
    producers.sort_by_key(Value::to_string);
    context.record("producers", json!(producers));
    Ok(())
}
