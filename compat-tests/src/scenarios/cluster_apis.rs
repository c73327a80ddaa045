//! What one asks about the cluster: DescribeCluster (60), DescribeTopicPartitions (75), DescribeLogDirs (35),
//! DescribeQuorum (55), ElectLeaders (43), ListPartitionReassignments (46), InitProducerId (22).

use std::collections::BTreeSet;

use bytes::{Buf, Bytes};
use kafka_protocol::messages::{
    DescribeClusterRequest, DescribeLogDirsRequest, DescribeQuorumRequest, DescribeTopicPartitionsRequest,
    ElectLeadersRequest, InitProducerIdRequest, ListPartitionReassignmentsRequest,
    describe_log_dirs_request::DescribableLogDirTopic,
    describe_quorum_request::{PartitionData, TopicData},
    describe_topic_partitions_request::{Cursor, TopicRequest},
    elect_leaders_request::TopicPartitions,
    list_partition_reassignments_request::ListPartitionReassignmentsTopics,
};
use serde_json::json;

use super::{Scenario, produce::A_TIME, shared};
use crate::{
    Outcome,
    context::Context,
    debug_json::to_json,
    raw::{
        Answer, Batch,
        requests::{Topic, produce},
        text, topic_name,
    },
};

pub(crate) const SCENARIOS: &[Scenario] = &[
    shared("describe_cluster/versions", describe_cluster),
    shared("describe_topic_partitions/rows", describe_topic_partitions),
    shared("describe_log_dirs/versions", describe_log_dirs),
    shared("describe_quorum/versions", describe_quorum),
    shared("elect_leaders/versions", elect_leaders),
    shared("list_partition_reassignments/rows", reassignments),
    shared("init_producer_id/versions", init_producer_id),
    shared("init_producer_id/ids-are-unique", unique_ids),
];

fn describe_cluster(context: &mut Context<'_>) -> Outcome {
    let mut connection = context.connect()?;
    for version in 0..=2 {
        for operations in [false, true] {
            let request = DescribeClusterRequest::default().with_include_cluster_authorized_operations(operations);
            context.ask(format!("v{version}:operations:{operations}"), &mut connection, version, &request)?;
        }
        if version >= 1 {
            for endpoint in [0, 2, 3] {
                let request = DescribeClusterRequest::default().with_endpoint_type(endpoint);
                context.ask(format!("v{version}:endpoint:{endpoint}"), &mut connection, version, &request)?;
            }
        }
    }
    let fenced = DescribeClusterRequest::default().with_include_fenced_brokers(true);
    context.ask("fenced", &mut connection, 2, &fenced)?;
    Ok(())
}

fn rows(names: &[&str]) -> DescribeTopicPartitionsRequest {
    let topics = names.iter().map(|name| TopicRequest::default().with_name(topic_name(name))).collect();
    DescribeTopicPartitionsRequest::default().with_topics(topics)
}

fn describe_topic_partitions(context: &mut Context<'_>) -> Outcome {
    context.create_topic("dtp-a", 3, &[])?;
    context.create_topic("dtp-b", 4, &[])?;
    context.create_topic("dtp-c", 2, &[])?;
    let mut connection = context.connect()?;
    let all = ["dtp-c", "dtp-a", "dtp-b"];
    let mut ask = |step: &str, request: DescribeTopicPartitionsRequest| {
        context.ask(step, &mut connection, 0, &request).map(|_| ())
    };
    ask("sorted-by-name", rows(&all))?;
    ask("unknown", rows(&["dtp-a", "dtp-unknown"]))?;
    ask("bad-name", rows(&["not a name", ""]))?;
    ask("one-bad-name", rows(&["dtp-a", "not a name"]))?;
    ask("twice", rows(&["dtp-a", "dtp-a"]))?;
    for limit in [-1, 0, 1, 2, 3, 4, 8, 9, 10] {
        ask(&format!("limit:{limit}"), rows(&all).with_response_partition_limit(limit))?;
    }
    let at = |name: &str, partition: i32| {
        Some(Cursor::default().with_topic_name(topic_name(name)).with_partition_index(partition))
    };
    ask("from-the-middle", rows(&all).with_cursor(at("dtp-b", 2)))?;
    ask("from-the-middle-two", rows(&all).with_cursor(at("dtp-b", 2)).with_response_partition_limit(2))?;
    ask("from-a-topic-that-is-not-asked-for", rows(&["dtp-a", "dtp-c"]).with_cursor(at("dtp-b", 0)))?;
    ask("from-behind-the-end", rows(&all).with_cursor(at("dtp-b", 40)))?;
    ask("from-a-negative-partition", rows(&all).with_cursor(at("dtp-b", -1)))?;
    ask("from-an-unknown-topic", rows(&all).with_cursor(at("zzz", 0)))?;
    Ok(())
}

fn describe_log_dirs(context: &mut Context<'_>) -> Outcome {
    let id = context.create_topic("log-dirs", 2, &[])?;
    let topic = Topic { name: "log-dirs", id };
    context.demand(9, &produce(9, 1, topic, &[(0, Batch::new(A_TIME, &["a", "b"]).encode())]))?;
    let asked = |topics: Option<Vec<(&str, Vec<i32>)>>| {
        let row = |(name, partitions)| {
            DescribableLogDirTopic::default().with_topic(topic_name(name)).with_partitions(partitions)
        };
        DescribeLogDirsRequest::default().with_topics(topics.map(|topics| topics.into_iter().map(row).collect()))
    };
    let mut connection = context.connect()?;
    for version in 1..=4 {
        let mut ask = |step: &str, request: DescribeLogDirsRequest| {
            context.ask(format!("v{version}:{step}"), &mut connection, version, &request).map(|_| ())
        };
        ask("named", asked(Some(vec![("log-dirs", vec![0, 1])])))?;
        ask("one-partition", asked(Some(vec![("log-dirs", vec![0])])))?;
        ask("unknown", asked(Some(vec![("log-dirs-unknown", vec![0]), ("log-dirs", vec![9])])))?;
        ask("empty", asked(Some(Vec::new())))?;
    }
    let all = context.demand(4, &asked(None))?;
    let names: BTreeSet<String> = all.results[0].topics.iter().map(|topic| topic.name.to_string()).collect();
    context.record("all", json!([names.contains("log-dirs"), names.contains("__cluster_metadata")]));
    // Version 5 has version 4's request and one more byte in each row of the answer.
    let answer = connection.call_like(5, 4, &asked(Some(Vec::new())));
    drop(answer);
    let mut connection = context.connect()?;
    connection.send_body(35, 5, 2, &[1, 0])?;
    let Answer::Response(frame, _) = connection.receive_frame()? else { return Err("no answer in version 5".into()) };
    context.record("v5:empty", log_dirs_v5(*frame).ok_or("no answer of version 5")?);
    Ok(())
}

/// An answer of version 5 with one row and no topics.
fn log_dirs_v5(mut frame: Bytes) -> Option<serde_json::Value> {
    if frame.len() < 15 {
        return None;
    }
    frame.advance(5);
    let throttle = frame.get_i32();
    let error = frame.get_i16();
    let rows = frame.get_u8() - 1;
    let row_error = frame.get_i16();
    let length = usize::from(frame.get_u8()).checked_sub(1)?;
    if frame.len() < length + 19 {
        return None;
    }
    let dir = String::from_utf8_lossy(&frame.split_to(length)).into_owned();
    let topics = frame.get_u8() - 1;
    let (total, usable) = (frame.get_i64(), frame.get_i64());
    let cordoned = frame.get_u8();
    Some(json!({
        "throttle": throttle, "error": error, "rows": rows, "row_error": row_error, "dir": dir, "topics": topics,
        "total_bytes": total, "usable_bytes": usable, "cordoned": cordoned, "tags and rest": format!("{frame:?}"),
    }))
}

fn describe_quorum(context: &mut Context<'_>) -> Outcome {
    let asked = |name: &str, partitions: &[i32]| {
        let partitions = partitions.iter().map(|&index| PartitionData::default().with_partition_index(index)).collect();
        let topic = TopicData::default().with_topic_name(topic_name(name)).with_partitions(partitions);
        DescribeQuorumRequest::default().with_topics(vec![topic])
    };
    let mut connection = context.connect()?;
    for version in 0..=2 {
        let mut ask = |step: &str, request: DescribeQuorumRequest| {
            context.ask(format!("v{version}:{step}"), &mut connection, version, &request).map(|_| ())
        };
        ask("metadata", asked("__cluster_metadata", &[0]))?;
        ask("another-partition", asked("__cluster_metadata", &[1]))?;
        ask("another-topic", asked("something", &[0]))?;
        ask("two-partitions", asked("__cluster_metadata", &[0, 1]))?;
        ask("none", DescribeQuorumRequest::default())?;
    }
    Ok(())
}

fn elect_leaders(context: &mut Context<'_>) -> Outcome {
    context.create_topic("elect", 2, &[])?;
    let asked = |topics: Option<&[(&str, &[i32])]>| {
        let row = |(name, partitions): &(&str, &[i32])| {
            TopicPartitions::default().with_topic(topic_name(name)).with_partitions(partitions.to_vec())
        };
        ElectLeadersRequest::default()
            .with_topic_partitions(topics.map(|topics| topics.iter().map(row).collect()))
            .with_timeout_ms(30_000)
    };
    let mut connection = context.connect()?;
    for version in 0..=2 {
        let mut ask = |step: &str, request: ElectLeadersRequest| {
            context.ask(format!("v{version}:{step}"), &mut connection, version, &request).map(|_| ())
        };
        ask("not-needed", asked(Some(&[("elect", &[0, 1])])))?;
        ask("unknown-topic", asked(Some(&[("elect-unknown", &[0])])))?;
        ask("unknown-partition", asked(Some(&[("elect", &[9])])))?;
        ask("empty", asked(Some(&[])))?;
        if version >= 1 {
            ask("unclean", asked(Some(&[("elect", &[0])])).with_election_type(1))?;
            ask("type-2", asked(Some(&[("elect", &[0])])).with_election_type(2))?;
        }
    }
    let all = context.demand(2, &asked(None))?;
    let rows = all.replica_election_results.iter().filter(|row| row.topic.0 == *"elect").map(to_json).collect();
    context.record("all", rows);
    Ok(())
}

fn reassignments(context: &mut Context<'_>) -> Outcome {
    context.create_topic("reassign", 2, &[])?;
    let asked = |name: &str, partitions: &[i32]| {
        let row = ListPartitionReassignmentsTopics::default()
            .with_name(topic_name(name))
            .with_partition_indexes(partitions.to_vec());
        ListPartitionReassignmentsRequest::default().with_topics(Some(vec![row])).with_timeout_ms(30_000)
    };
    let mut connection = context.connect()?;
    let mut ask = |step: &str, request: ListPartitionReassignmentsRequest| {
        context.ask(step, &mut connection, 0, &request).map(|_| ())
    };
    ask("all", ListPartitionReassignmentsRequest::default().with_topics(None).with_timeout_ms(30_000))?;
    ask("named", asked("reassign", &[0, 1]))?;
    ask("unknown-topic", asked("reassign-unknown", &[0]))?;
    ask("unknown-partition", asked("reassign", &[9]))?;
    ask("empty", ListPartitionReassignmentsRequest::default().with_topics(Some(Vec::new())).with_timeout_ms(30_000))?;
    ask("no-time", asked("reassign", &[0]).with_timeout_ms(0))?;
    Ok(())
}

fn asking_for_an_id() -> InitProducerIdRequest {
    InitProducerIdRequest::default()
        .with_transactional_id(None)
        .with_transaction_timeout_ms(60_000)
        .with_producer_id((-1).into())
        .with_producer_epoch(-1)
}

fn init_producer_id(context: &mut Context<'_>) -> Outcome {
    // The first block of ids may still be on its way.
    context.until("a producer id", |context| {
        Ok((context.demand(0, &asking_for_an_id())?.error_code == 0).then_some(()))
    })?;
    let mut connection = context.connect()?;
    for version in 0..=5 {
        let mut ask = |step: &str, request: InitProducerIdRequest| {
            context.ask(format!("v{version}:{step}"), &mut connection, version, &request).map(|_| ())
        };
        ask("fresh", asking_for_an_id())?;
        ask("timeout-ignored", asking_for_an_id().with_transaction_timeout_ms(-5))?;
        ask("empty-transactional-id", asking_for_an_id().with_transactional_id(Some(text("").into())))?;
        if version >= 3 {
            ask("given-id-ignored", asking_for_an_id().with_producer_id(77.into()).with_producer_epoch(3))?;
            ask("only-the-id", asking_for_an_id().with_producer_id(77.into()))?;
        }
    }
    Ok(())
}

/// Over a restart, too: see `restart/…`.
fn unique_ids(context: &mut Context<'_>) -> Outcome {
    let mut seen = BTreeSet::new();
    context.until("2500 producer ids", |context| {
        let mut connection = context.connect()?;
        for _ in 0..500 {
            let response = connection.call(4, &asking_for_an_id())?.response().ok_or("no answer")?;
            if response.error_code == 0 && !seen.insert(response.producer_id.0) {
                return Err(format!("the id {} was given twice", response.producer_id.0).into());
            }
        }
        Ok((seen.len() >= 2500).then_some(()))
    })
}
