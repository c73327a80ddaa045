//! librdkafka by the `rdkafka` crate: acknowledgements, codecs, idempotence; consuming with assign.

use std::time::Duration;

use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    message::{Header, Headers, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext},
};
use serde_json::{Value, json};

use super::{Scenario, produce::A_TIME, shared};
use crate::{Outcome, context::Context};

pub(crate) const SCENARIOS: &[Scenario] =
    &[shared("rdkafka/produce-and-consume", produce_and_consume), shared("rdkafka/queries", queries)];

const RECORDS: usize = 40;

/// Counts the acknowledgements and keeps the offsets that came with them.
#[derive(Default, Clone)]
struct Acknowledged(std::sync::Arc<std::sync::Mutex<Vec<i64>>>);

impl rdkafka::ClientContext for Acknowledged {}

impl ProducerContext for Acknowledged {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): Self::DeliveryOpaque) {
        let offset = match result {
            Ok(message) => message.offset(),
            Err((error, _)) => -i64::from(error.rdkafka_error_code().map_or(1, |code| code as i32).unsigned_abs()),
        };
        self.0.lock().expect("nobody panics with this lock").push(offset);
    }
}

fn produce_and_consume(context: &mut Context<'_>) -> Outcome {
    for codec in ["none", "gzip", "snappy", "lz4"] {
        for (acks, idempotent) in [("0", false), ("1", false), ("all", false), ("all", true)] {
            let step = format!("{codec}:acks-{acks}:idempotent-{idempotent}");
            let topic = format!("rdkafka-{codec}-{acks}-{idempotent}");
            context.create_topic(&topic, 1, &[])?;
            let offsets = produce(&context.cluster.bootstrap(), &topic, codec, acks, idempotent)?;
            // Without acknowledgement there is no offset.
            context.record(
                format!("{step}:acknowledged"),
                if acks == "0" { json!(offsets.len()) } else { json!(offsets) },
            );
            let seen = consume(&context.cluster.bootstrap(), &topic, RECORDS)?;
            context.record(format!("{step}:read-back"), seen);
        }
    }
    Ok(())
}

/// Some records with keys, headers and times; the offsets that were acknowledged.
pub(crate) fn produce(bootstrap: &str, topic: &str, codec: &str, acks: &str, idempotent: bool) -> Outcome<Vec<i64>> {
    let acknowledged = Acknowledged::default();
    let producer: BaseProducer<Acknowledged> = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("compression.codec", codec)
        .set("acks", acks)
        .set("enable.idempotence", idempotent.to_string())
        .set("linger.ms", "20")
        .create_with_context(acknowledged.clone())?;
    for number in 0..RECORDS {
        let key = format!("key {number}");
        let value = format!("value {number} of a record that can be compressed, compressed, compressed");
        let headers = OwnedHeaders::new()
            .insert(Header { key: "number", value: Some(&number.to_string()) })
            .insert(Header { key: "none", value: None::<&str> });
        let record = BaseRecord::to(topic).key(&key).payload(&value).headers(headers).timestamp(A_TIME + number as i64);
        producer.send(record).map_err(|(error, _)| error)?;
    }
    producer.flush(Duration::from_secs(30))?;
    let offsets = acknowledged.0.lock().expect("nobody panics with this lock").clone();
    Ok(offsets)
}

/// The first `count` records of partition 0.
pub(crate) fn consume(bootstrap: &str, topic: &str, count: usize) -> Outcome<Value> {
    let consumer = assigned(bootstrap, topic)?;
    let mut seen = Vec::new();
    let mut silent = 0;
    while seen.len() < count && silent < 30 {
        let Some(message) = consumer.poll(Duration::from_secs(1)) else {
            silent += 1;
            continue;
        };
        let message = message?;
        let headers: Vec<Value> = message.headers().map_or_else(Vec::new, |headers| {
            let text = |header: Header<'_, &[u8]>| json!([header.key, header.value.map(String::from_utf8_lossy)]);
            headers.iter().map(text).collect()
        });
        seen.push(json!({
            "offset": message.offset(), "timestamp": format!("{:?}", message.timestamp()), "headers": headers,
            "key": message.key().map(String::from_utf8_lossy), "value": message.payload().map(String::from_utf8_lossy),
        }));
    }
    Ok(Value::Array(seen))
}

fn assigned(bootstrap: &str, topic: &str) -> Outcome<BaseConsumer> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "never-joined")
        .set("enable.auto.commit", "false")
        .create()?;
    let mut partitions = TopicPartitionList::new();
    partitions.add_partition_offset(topic, 0, Offset::Beginning)?;
    consumer.assign(&partitions)?;
    Ok(consumer)
}

fn queries(context: &mut Context<'_>) -> Outcome {
    context.create_topic("rdkafka-queries", 1, &[])?;
    let bootstrap = context.cluster.bootstrap();
    produce(&bootstrap, "rdkafka-queries", "none", "all", true)?;
    let consumer = assigned(&bootstrap, "rdkafka-queries")?;
    let timeout = Duration::from_secs(30);
    let (low, high) = consumer.fetch_watermarks("rdkafka-queries", 0, timeout)?;
    context.record("watermarks", json!([low, high]));
    let mut times = TopicPartitionList::new();
    times.add_partition_offset("rdkafka-queries", 0, Offset::Offset(A_TIME + 7))?;
    let found = consumer.offsets_for_times(times, timeout)?;
    let found: Vec<String> = found.elements().iter().map(|element| format!("{:?}", element.offset())).collect();
    context.record("offsets-for-times", json!(found));
    let metadata = consumer.fetch_metadata(Some("rdkafka-queries"), timeout)?;
    let topics: Vec<Value> = metadata
        .topics()
        .iter()
        .map(|topic| {
            json!([
                topic.name(),
                topic.partitions().iter().map(rdkafka::metadata::MetadataPartition::leader).collect::<Vec<_>>()
            ])
        })
        .collect();
    context.record("metadata", json!(topics));
    Ok(())
}
