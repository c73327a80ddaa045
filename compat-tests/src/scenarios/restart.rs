//! What is still true after a clean stop, and after a kill.

use kafka_protocol::messages::{
    DeleteRecordsRequest, DeleteTopicsRequest, DescribeConfigsRequest, InitProducerIdRequest,
    delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic},
    delete_topics_request::DeleteTopicState,
    describe_configs_request::DescribeConfigsResource,
};
use serde_json::json;

use super::{Scenario, alone, produce::run_time};
use crate::{
    Outcome,
    context::Context,
    raw::{
        Batch,
        requests::{Topic, fetch, from_offset, list_offsets, metadata, produce},
        text, topic_name,
    },
};

pub(crate) const SCENARIOS: &[Scenario] = &[
    alone("restart/after-a-clean-stop", &[], |context| restart(context, false)),
    alone("restart/after-a-kill", &[], |context| restart(context, true)),
];

fn fresh_id(context: &Context<'_>) -> Outcome<i64> {
    let request = InitProducerIdRequest::default()
        .with_transactional_id(None)
        .with_transaction_timeout_ms(60_000)
        .with_producer_id((-1).into())
        .with_producer_epoch(-1);
    context.until("a producer id", |context| {
        let response = context.demand(4, &request)?;
        Ok((response.error_code == 0).then_some(response.producer_id.0))
    })
}

fn restart(context: &mut Context<'_>, killed: bool) -> Outcome {
    let id = context.create_topic("kept", 2, &[("retention.ms", "777000000")])?;
    let topic = Topic { name: "kept", id };
    context.create_topic("deleted", 1, &[])?;
    let row = DeleteTopicState::default().with_name(Some(topic_name("deleted")));
    context.demand(6, &DeleteTopicsRequest::default().with_topics(vec![row]).with_timeout_ms(30_000))?;
    let before = fresh_id(context)?;
    let now = run_time();
    // Eight batches: more than a producer's last five.
    for index in 0..8 {
        let batch = Batch::new(now, &["a", "b"]).by_producer(before, 0, index * 2).encode();
        context.demand(9, &produce(9, -1, topic, &[(0, batch)]))?;
    }
    context.demand(9, &produce(9, 1, topic, &[(1, Batch::new(now, &["x", "y", "z"]).encode())]))?;
    let row = DeleteRecordsPartition::default().with_partition_index(1).with_offset(1);
    let row = DeleteRecordsTopic::default().with_name(topic_name("kept")).with_partitions(vec![row]);
    context.demand(2, &DeleteRecordsRequest::default().with_topics(vec![row]).with_timeout_ms(30_000))?;

    if killed {
        context.cluster.kill()?;
    } else {
        let code = context.cluster.stop()?;
        context.record("exit-code", json!(code));
    }
    context.cluster.start()?;
    context.until_ready("kept", 2)?;

    let mut connection = context.connect()?;
    context.ask("metadata", &mut connection, 12, &metadata(&["kept"]))?;
    context.ask("deleted-stays-away", &mut connection, 12, &metadata(&["deleted"]))?;
    let row = DescribeConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(text("kept"))
        .with_configuration_keys(None);
    context.ask("configs", &mut connection, 4, &DescribeConfigsRequest::default().with_resources(vec![row]))?;
    for (step, at) in [("start", -2), ("end", -1)] {
        // Kafka writes log start offsets once a minute: a kill may bring one back.
        if !(killed && at == -2) {
            context.ask(step, &mut connection, 1, &list_offsets("kept", &[(0, at), (1, at)]))?;
        }
    }
    let values = |context: &Context<'_>, from: i64| -> Outcome<Vec<String>> {
        let response = context.demand(12, &fetch(12, topic, vec![from_offset(0, from)]))?;
        let records = response.responses[0].partitions[0].records.clone().unwrap_or_default();
        let found = crate::raw::records::values(&records);
        Ok(found
            .into_iter()
            .map(|(offset, _, value)| format!("{offset}: {}", String::from_utf8_lossy(&value)))
            .collect())
    };
    let read = values(context, 0)?;
    context.record("records", json!(read));
    // The last batch again, an earlier one of the last five, the next.
    for (step, sequence) in [("last-again", 14), ("fourth-last-again", 8), ("next", 16), ("gap", 40)] {
        let batch = Batch::new(now, &["a", "b"]).by_producer(before, 0, sequence).encode();
        let response = context.demand(9, &produce(9, -1, topic, &[(0, batch)]))?;
        let row = &response.responses[0].partition_responses[0];
        context.record(format!("produce:{step}"), json!([row.error_code, row.base_offset]));
    }
    let after = fresh_id(context)?;
    context.record("a-new-producer-id-is-higher", json!(after > before));
    let row = fetch(12, topic, vec![from_offset(1, 1)]);
    context.ask("fetch-above-the-log-start", &mut connection, 12, &row)?;
    Ok(())
}
