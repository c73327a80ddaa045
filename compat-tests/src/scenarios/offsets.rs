//! ListOffsets (key 2), DeleteRecords (key 21), OffsetForLeaderEpoch (key 23), DescribeProducers (key 61).

use kafka_protocol::messages::{
    DeleteRecordsRequest, DescribeProducersRequest, ListOffsetsRequest, OffsetForLeaderEpochRequest,
    delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic},
    describe_producers_request::TopicRequest,
    offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic},
};

use super::{Scenario, produce::A_TIME, shared};
use crate::{
    Outcome,
    context::Context,
    raw::{
        Batch,
        requests::{Topic, fetch, from_offset, list_offsets, produce},
        topic_name,
    },
};

pub(crate) const SCENARIOS: &[Scenario] = &[
    shared("list_offsets/versions", list_offsets_versions),
    shared("list_offsets/times", times),
    shared("list_offsets/errors", list_offsets_errors),
    shared("delete_records/versions", delete_records_versions),
    shared("delete_records/errors", delete_records_errors),
    shared("offset_for_leader_epoch/versions", offset_for_leader_epoch),
    shared("describe_producers/rows", describe_producers),
];

fn append(context: &Context<'_>, topic: Topic<'_>, partition: i32, batch: &Batch) -> Outcome {
    let response = context.demand(9, &produce(9, -1, topic, &[(partition, batch.encode())]))?;
    match response.responses[0].partition_responses[0].error_code {
        0 => Ok(()),
        code => Err(format!("produce answered {code}").into()),
    }
}

fn ask(context: &mut Context<'_>, step: String, version: i16, request: &ListOffsetsRequest) -> Outcome {
    let mut connection = context.connect()?;
    // Version 11 has version 10's bytes.
    let answer = connection.call_like(version, version.min(10), request)?;
    context.record(step, answer.to_json());
    Ok(())
}

fn list_offsets_versions(context: &mut Context<'_>) -> Outcome {
    let id = context.create_topic("list-offsets", 2, &[])?;
    let topic = Topic { name: "list-offsets", id };
    append(context, topic, 0, &Batch::new(A_TIME, &["a", "b", "c"]))?;
    for version in 1..=11 {
        for special in -7..0 {
            for (kind, partition) in [("filled", 0), ("empty", 1)] {
                let request = list_offsets(topic.name, &[(partition, special)]);
                ask(context, format!("v{version}:{special}:{kind}"), version, &request)?;
            }
        }
        let request =
            list_offsets(topic.name, &[(0, A_TIME + 1), (1, A_TIME)]).with_isolation_level(i8::from(version >= 2));
        ask(context, format!("v{version}:time"), version, &request)?;
    }
    Ok(())
}

fn times(context: &mut Context<'_>) -> Outcome {
    let id = context.create_topic("list-offsets-times", 1, &[])?;
    let topic = Topic { name: "list-offsets-times", id };
    append(context, topic, 0, &Batch::new(A_TIME, &["0", "1", "2"]))?;
    append(context, topic, 0, &Batch::new(A_TIME + 100, &["3", "4"]))?;
    // An older time behind a newer one, and a batch whose times go down.
    append(context, topic, 0, &Batch::new(A_TIME + 50, &["5"]))?;
    let down = Batch::new(A_TIME + 200, &["6", "7", "8"]).with(|batch| {
        batch.records[1].timestamp_delta = -10;
        batch.records[2].timestamp_delta = 0;
        batch.max_timestamp = A_TIME + 200;
    });
    append(context, topic, 0, &down)?;
    for delta in [-1, 0, 1, 2, 3, 50, 99, 100, 101, 102, 190, 200, 201, 1_000_000] {
        ask(context, format!("at:{delta}"), 6, &list_offsets(topic.name, &[(0, A_TIME + delta)]))?;
    }
    ask(context, "zero".to_owned(), 6, &list_offsets(topic.name, &[(0, 0)]))?;
    ask(context, "max-timestamp".to_owned(), 7, &list_offsets(topic.name, &[(0, -3)]))?;
    Ok(())
}

fn list_offsets_errors(context: &mut Context<'_>) -> Outcome {
    context.create_topic("list-offsets-errors", 2, &[])?;
    for version in 1..=11 {
        let mut step =
            |name: &str, request: ListOffsetsRequest| ask(context, format!("v{version}:{name}"), version, &request);
        step("unknown-topic", list_offsets("list-offsets-unknown", &[(0, -1)]))?;
        step("unknown-partition", list_offsets("list-offsets-errors", &[(7, -1)]))?;
        step("twice", list_offsets("list-offsets-errors", &[(0, -1), (0, -2)]))?;
        step("no-topics", ListOffsetsRequest::default().with_replica_id((-1).into()))?;
        step("empty-name", list_offsets("", &[(0, -1)]))?;
        step("debugging-consumer", list_offsets("list-offsets-errors", &[(0, -1)]).with_replica_id((-2).into()))?;
        if version >= 4 {
            for epoch in [-1, 0, 1, 9] {
                let mut request = list_offsets("list-offsets-errors", &[(0, -1)]);
                request.topics[0].partitions[0].current_leader_epoch = epoch;
                step(&format!("epoch:{epoch}"), request)?;
            }
        }
    }
    Ok(())
}

fn delete_records(topic: &str, rows: &[(i32, i64)]) -> DeleteRecordsRequest {
    let rows = rows.iter().map(|&(partition, offset)| {
        DeleteRecordsPartition::default().with_partition_index(partition).with_offset(offset)
    });
    let topic = DeleteRecordsTopic::default().with_name(topic_name(topic)).with_partitions(rows.collect());
    DeleteRecordsRequest::default().with_topics(vec![topic]).with_timeout_ms(30_000)
}

fn delete_records_versions(context: &mut Context<'_>) -> Outcome {
    let id = context.create_topic("delete-records", 1, &[])?;
    let topic = Topic { name: "delete-records", id };
    for _ in 0..4 {
        append(context, topic, 0, &Batch::new(A_TIME, &["a", "b", "c"]))?;
    }
    let mut connection = context.connect()?;
    // In the middle of a batch, at a batch, and to the end.
    for (version, offset) in [(0, 2), (1, 6), (2, 6), (2, 4), (2, -1)] {
        let step = format!("v{version}:{offset}");
        context.ask(step.clone(), &mut connection, version, &delete_records(topic.name, &[(0, offset)]))?;
        context.ask(format!("{step}:start"), &mut connection, 4, &list_offsets(topic.name, &[(0, -2)]))?;
        for from in [0, 2, 7] {
            let request = fetch(12, topic, vec![from_offset(0, from)]);
            context.ask(format!("{step}:fetch:{from}"), &mut connection, 12, &request)?;
        }
    }
    Ok(())
}

fn delete_records_errors(context: &mut Context<'_>) -> Outcome {
    let id = context.create_topic("delete-records-errors", 1, &[])?;
    append(context, Topic { name: "delete-records-errors", id }, 0, &Batch::new(A_TIME, &["a"]))?;
    context.create_topic("delete-records-compact", 1, &[("cleanup.policy", "compact")])?;
    context.create_topic("delete-records-both", 1, &[("cleanup.policy", "compact,delete")])?;
    let mut connection = context.connect()?;
    for version in 0..=2 {
        let mut step = |name: &str, topic: &str, rows: &[(i32, i64)]| {
            context
                .ask(format!("v{version}:{name}"), &mut connection, version, &delete_records(topic, rows))
                .map(|_| ())
        };
        step("above-the-end", "delete-records-errors", &[(0, 2)])?;
        step("below-minus-one", "delete-records-errors", &[(0, -2)])?;
        step("unknown-topic", "delete-records-unknown", &[(0, 0)])?;
        step("unknown-partition", "delete-records-errors", &[(5, 0), (0, 0)])?;
        step("compacted", "delete-records-compact", &[(0, 0)])?;
        step("compacted-and-deleted", "delete-records-both", &[(0, 0)])?;
        step("empty-name", "", &[(0, 0)])?;
    }
    context.ask("nothing", &mut connection, 2, &DeleteRecordsRequest::default().with_timeout_ms(1000))?;
    Ok(())
}

fn epochs_of(topic: &str, rows: &[(i32, i32, i32)]) -> OffsetForLeaderEpochRequest {
    let rows = rows.iter().map(|&(partition, current, asked)| {
        OffsetForLeaderPartition::default()
            .with_partition(partition)
            .with_current_leader_epoch(current)
            .with_leader_epoch(asked)
    });
    let topic = OffsetForLeaderTopic::default().with_topic(topic_name(topic)).with_partitions(rows.collect());
    OffsetForLeaderEpochRequest::default().with_topics(vec![topic])
}

fn offset_for_leader_epoch(context: &mut Context<'_>) -> Outcome {
    let id = context.create_topic("leader-epochs", 2, &[])?;
    append(context, Topic { name: "leader-epochs", id }, 0, &Batch::new(A_TIME, &["a", "b"]))?;
    let mut connection = context.connect()?;
    for version in 2..=4 {
        let mut step = |name: &str, topic: &str, rows: &[(i32, i32, i32)]| {
            let mut request = epochs_of(topic, rows);
            if version >= 3 {
                request.replica_id = (-1).into();
            }
            context.ask(format!("v{version}:{name}"), &mut connection, version, &request).map(|_| ())
        };
        for asked in [-1, 0, 1, 9] {
            step(&format!("filled:{asked}"), "leader-epochs", &[(0, -1, asked)])?;
            step(&format!("empty:{asked}"), "leader-epochs", &[(1, -1, asked)])?;
        }
        step("current-too-high", "leader-epochs", &[(0, 3, 0)])?;
        step("unknown-topic", "leader-epochs-unknown", &[(0, -1, 0)])?;
        step("unknown-partition", "leader-epochs", &[(9, -1, 0), (0, -1, 0)])?;
    }
    Ok(())
}

fn describe_producers(context: &mut Context<'_>) -> Outcome {
    let id = context.create_topic("describe-producers", 2, &[])?;
    let topic = Topic { name: "describe-producers", id };
    append(context, topic, 0, &Batch::new(A_TIME, &["a", "b"]).by_producer(4000, 2, 0))?;
    append(context, topic, 0, &Batch::new(A_TIME + 5, &["c"]).by_producer(4000, 2, 2))?;
    append(context, topic, 0, &Batch::new(A_TIME, &["d"]).by_producer(4001, 0, 8))?;
    append(context, topic, 0, &Batch::new(A_TIME, &["e"]))?;
    let mut connection = context.connect()?;
    for (step, name, partitions) in [
        ("filled", "describe-producers", vec![0]),
        ("empty", "describe-producers", vec![1]),
        ("unknown-partition", "describe-producers", vec![0, 9]),
        ("unknown-topic", "describe-producers-unknown", vec![0]),
        ("invalid-name", "not a name", vec![0]),
        ("no-partitions", "describe-producers", Vec::new()),
    ] {
        let row = TopicRequest::default().with_name(topic_name(name)).with_partition_indexes(partitions);
        context.ask(step, &mut connection, 0, &DescribeProducersRequest::default().with_topics(vec![row]))?;
    }
    Ok(())
}
