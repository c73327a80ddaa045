//! Retention by time and by size, as clients see it: the log start moves, what lies before is out of range.

use serde_json::json;

use super::{
    Scenario,
    produce::{A_TIME, run_time},
    with,
};
use crate::{
    Outcome,
    cluster::Config,
    context::Context,
    raw::{
        Batch,
        requests::{Topic, fetch, from_offset, list_offsets, produce},
    },
};

/// Retention looks often, and soon after the start.
const EAGER: Config = &[("log.retention.check.interval.ms", "300"), ("log.initial.task.delay.ms", "300")];

pub(crate) const SCENARIOS: &[Scenario] = &[
    with("retention/by-time", EAGER, by_time),
    with("retention/by-size", EAGER, by_size),
    with("retention/of-what-is-kept", EAGER, kept),
];

fn start_and_end(context: &Context<'_>, topic: &str) -> Outcome<(i64, i64)> {
    let offset = |at| -> Outcome<i64> {
        Ok(context.demand(4, &list_offsets(topic, &[(0, at)]))?.topics[0].partitions[0].offset)
    };
    Ok((offset(-2)?, offset(-1)?))
}

fn append(context: &Context<'_>, topic: Topic<'_>, time: i64, value: &str) -> Outcome {
    let batch = Batch::new(time, &[value, "second"]).encode();
    let response = context.demand(9, &produce(9, -1, topic, &[(0, batch)]))?;
    match response.responses[0].partition_responses[0].error_code {
        0 => Ok(()),
        code => Err(format!("Produce answered {code}").into()),
    }
}

/// Records of 2023 in a topic that keeps a minute: all go, the active segment's too.
fn by_time(context: &mut Context<'_>) -> Outcome {
    let id = context.create_topic("retention-time", 1, &[("retention.ms", "-1")])?;
    let topic = Topic { name: "retention-time", id };
    for _ in 0..3 {
        append(context, topic, A_TIME, "old")?;
    }
    let change = super::configs::alter_one("retention-time", "retention.ms", "60000");
    context.demand(1, &change)?;
    context.until("the old records are gone", |context| {
        let (start, end) = start_and_end(context, topic.name)?;
        Ok((start == end).then_some(()))
    })?;
    let mut connection = context.connect()?;
    context.ask("fetch-what-is-gone", &mut connection, 12, &fetch(12, topic, vec![from_offset(0, 0)]))?;
    append(context, topic, run_time(), "new")?;
    context.ask("fetch-what-is-new", &mut connection, 12, &fetch(12, topic, vec![from_offset(0, 6)]))?;
    let (start, end) = start_and_end(context, topic.name)?;
    context.record("start-and-end", json!([start, end]));
    Ok(())
}

/// Whole segments go while what remains is enough.
fn by_size(context: &mut Context<'_>) -> Outcome {
    let configs = [("segment.bytes", "1048576"), ("retention.bytes", "1500000")];
    let id = context.create_topic("retention-size", 1, &configs)?;
    let topic = Topic { name: "retention-size", id };
    let large = "x".repeat(400_000);
    for _ in 0..10 {
        append(context, topic, run_time(), &large)?;
    }
    // Two batches a segment: three segments remain.
    context
        .until("old segments are gone", |context| Ok((start_and_end(context, topic.name)?.0 >= 12).then_some(())))?;
    let (start, end) = start_and_end(context, topic.name)?;
    context.record("start-and-end", json!([start, end]));
    let mut connection = context.connect()?;
    for offset in [0, 11, 12, 19] {
        let request = fetch(12, topic, vec![from_offset(0, offset).with_partition_max_bytes(10)]);
        let response = connection.call(12, &request)?.response().ok_or("no answer")?;
        let row = &response.responses[0].partitions[0];
        context.record(format!("fetch:{offset}"), json!([row.error_code, row.log_start_offset, row.high_watermark]));
    }
    Ok(())
}

/// Compacted topics, and those without a policy, keep what time would delete.
fn kept(context: &mut Context<'_>) -> Outcome {
    let mut topics = Vec::new();
    for (name, policy) in [("retention-compact", "compact"), ("retention-none", ""), ("retention-delete", "delete")] {
        let id = context.create_topic(name, 1, &[("cleanup.policy", policy), ("retention.ms", "60000")])?;
        let topic = Topic { name, id };
        let batch = Batch::new(A_TIME, &["a", "b"]).keyed("k").encode();
        context.demand(9, &produce(9, -1, topic, &[(0, batch)]))?;
        topics.push(name);
    }
    // When the last one is cleaned, retention has looked at all of them.
    context.until("the deleting topic is empty", |context| {
        let (start, end) = start_and_end(context, "retention-delete")?;
        Ok((end == 2 && start == end).then_some(()))
    })?;
    for name in topics {
        let (start, end) = start_and_end(context, name)?;
        context.record(name, json!([start, end]));
    }
    Ok(())
}
