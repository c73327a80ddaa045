//! Produce (key 0), versions 3-13: validation, acks, sizes, timestamps, idempotence.

use std::{
    sync::OnceLock,
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use kafka_protocol::messages::{ApiVersionsRequest, ProduceRequest};
use serde_json::json;
use uuid::Uuid;

use super::{Scenario, shared};
use crate::{
    Outcome,
    context::Context,
    raw::{
        Batch, Connection,
        requests::{Topic, fetch, from_offset, list_offsets, produce},
        text,
    },
};

pub(crate) const SCENARIOS: &[Scenario] = &[
    shared("produce/versions", versions),
    shared("produce/batches-that-are-refused", refused_batches),
    shared("produce/batches-that-are-accepted", accepted_batches),
    shared("produce/errors-of-every-version", errors_of_every_version),
    shared("produce/acks", acks),
    shared("produce/sizes", sizes),
    shared("produce/compacted-topic", compacted_topic),
    shared("produce/timestamps", timestamps),
    shared("produce/log-append-time", log_append_time),
    shared("produce/idempotence", idempotence),
    shared("produce/transactional", transactional),
    shared("produce/several-partitions", several_partitions),
    shared("produce/compressed", compressed),
];

/// A time that lies in the past for all tests and after any bound that the defaults set.
pub(crate) const A_TIME: i64 = 1_700_000_000_000;

/// The clock when this run began: one time for both clusters, so that equal batches are equal bytes.
pub(crate) fn run_time() -> i64 {
    static BEGAN: OnceLock<i64> = OnceLock::new();
    *BEGAN.get_or_init(now_ms)
}

pub(crate) fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

fn versions(context: &mut Context<'_>) -> Outcome {
    let id = context.create_topic("produce-versions", 1, &[])?;
    let topic = Topic { name: "produce-versions", id };
    let mut connection = context.connect()?;
    for version in 3..=13 {
        let batch = Batch::new(A_TIME, &["a", "b", "c"]).keyed("k").encode();
        context.ask(format!("v{version}"), &mut connection, version, &produce(version, -1, topic, &[(0, batch)]))?;
    }
    context.ask("read-back", &mut connection, 13, &fetch(13, topic, vec![from_offset(0, 0)]))?;
    Ok(())
}

/// Sends one batch and records the answer under the step's name.
fn one(
    context: &mut Context<'_>,
    connection: &mut Connection,
    topic: Topic<'_>,
    step: impl Into<String>,
    batch: &Bytes,
) -> Outcome {
    context.ask(step, connection, 11, &produce(11, -1, topic, &[(0, batch.clone())])).map(|_| ())
}

fn refused_batches(context: &mut Context<'_>) -> Outcome {
    let id = context.create_topic("produce-refused", 1, &[])?;
    let topic = Topic { name: "produce-refused", id };
    let mut connection = context.connect()?;
    let good = || Batch::new(A_TIME, &["a", "b"]);
    let two = [good().encode(), good().encode()].concat();
    let cut = good().encode();
    let cases: Vec<(&str, Bytes)> = vec![
        ("empty", Bytes::new()),
        ("two-batches", two.into()),
        ("cut-by-one-byte", cut.slice(..cut.len() - 1)),
        ("only-a-header", cut.slice(..61)),
        ("less-than-a-header", cut.slice(..40)),
        ("bad-crc", good().with(|batch| batch.crc_error = 1).encode()),
        ("magic-0", good().with(|batch| batch.magic = 0).encode()),
        ("magic-1", good().with(|batch| batch.magic = 1).encode()),
        ("magic-3", good().with(|batch| batch.magic = 3).encode()),
        ("magic-negative", good().with(|batch| batch.magic = -1).encode()),
        ("base-offset-5", good().with(|batch| batch.base_offset = 5).encode()),
        ("base-offset-negative", good().with(|batch| batch.base_offset = -1).encode()),
        ("count-above", good().with(|batch| batch.count = 3).encode()),
        ("count-below", good().with(|batch| batch.count = 1).encode()),
        ("count-zero", good().with(|batch| batch.count = 0).encode()),
        ("count-negative", good().with(|batch| batch.count = -1).encode()),
        ("count-huge", good().with(|batch| batch.count = i32::MAX).encode()),
        ("count-and-delta-above", good().with(|batch| (batch.count, batch.last_offset_delta) = (3, 2)).encode()),
        ("count-and-delta-below", good().with(|batch| (batch.count, batch.last_offset_delta) = (1, 0)).encode()),
        ("last-offset-delta-above", good().with(|batch| batch.last_offset_delta = 7).encode()),
        ("last-offset-delta-negative", good().with(|batch| batch.last_offset_delta = -1).encode()),
        ("bytes-after-the-last-record", good().with(|batch| batch.garbage = vec![1, 2, 3]).encode()),
        ("control-batch", good().with(|batch| batch.attributes = 0x20).encode()),
        ("sequence-negative", good().by_producer(5, 0, -1).encode()),
        ("codec-5", good().with(|batch| batch.attributes = 5).encode()),
        ("codec-7", good().with(|batch| batch.attributes = 7).encode()),
        ("gzip-of-nonsense", good().with(|batch| batch.attributes = 1).encode_around(b"this is no gzip")),
        ("snappy-of-nonsense", good().with(|batch| batch.attributes = 2).encode_around(b"this is no snappy")),
        ("lz4-of-nonsense", good().with(|batch| batch.attributes = 3).encode_around(b"this is no lz4")),
        ("zstd-of-nonsense", good().with(|batch| batch.attributes = 4).encode_around(b"this is no zstd")),
        ("records-of-nonsense", good().encode_around(&[0xff; 40])),
        ("a-negative-record-length", good().encode_around(&[1, 0, 0, 0, 0, 0, 0])),
    ];
    for (step, batch) in cases {
        one(context, &mut connection, topic, step, &batch)?;
    }
    context.ask("nothing-was-appended", &mut connection, 1, &list_offsets(topic.name, &[(0, -1)]))?;
    Ok(())
}

fn accepted_batches(context: &mut Context<'_>) -> Outcome {
    let id = context.create_topic("produce-accepted", 1, &[])?;
    let topic = Topic { name: "produce-accepted", id };
    let mut connection = context.connect()?;
    let good = || Batch::new(A_TIME, &["a", "b"]);
    let cases: Vec<(&str, Bytes)> = vec![
        ("leader-epoch-set", good().with(|batch| batch.leader_epoch = 77).encode()),
        ("offset-deltas-out-of-order", good().with(|batch| batch.records[0].offset_delta = 1).encode()),
        ("sequence-without-a-producer", good().by_producer(-1, 3, 9).encode()),
        ("record-attributes", good().with(|batch| batch.records[1].attributes = 0x55).encode()),
        ("unknown-attribute-bits", good().with(|batch| batch.attributes = 0x7f80).encode()),
        ("log-append-time-bit", good().with(|batch| batch.attributes = 8).encode()),
        ("null-value", good().with(|batch| batch.records[0].value = None).encode()),
        ("empty-key-and-value", good().keyed("").with(|batch| batch.records[0].value = Some(Vec::new())).encode()),
        ("max-timestamp-too-high", good().with(|batch| batch.max_timestamp += 1000).encode()),
        ("max-timestamp-too-low", good().with(|batch| batch.max_timestamp = 5).encode()),
        ("timestamp-none", Batch::new(-1, &["x"]).with(|batch| batch.max_timestamp = -1).encode()),
        ("timestamp-negative", Batch::new(-5000, &["x"]).encode()),
        (
            "headers",
            good()
                .with(|batch| {
                    batch.records[0].headers =
                        vec![("h".to_owned(), Some(b"1".to_vec())), ("h".to_owned(), None), (String::new(), None)];
                })
                .encode(),
        ),
        ("large", Batch::new(A_TIME, &[&"x".repeat(300_000)]).encode()),
    ];
    for (step, batch) in cases {
        one(context, &mut connection, topic, step, &batch)?;
    }
    context.ask("read-back", &mut connection, 13, &fetch(13, topic, vec![from_offset(0, 0)]))?;
    Ok(())
}

fn errors_of_every_version(context: &mut Context<'_>) -> Outcome {
    let id = context.create_topic("produce-errors", 1, &[])?;
    let topic = Topic { name: "produce-errors", id };
    let unknown = Topic { name: "produce-unknown", id: Uuid::from_u128(77) };
    let mut connection = context.connect()?;
    let good = Batch::new(A_TIME, &["a"]).encode();
    let bad = Batch::new(A_TIME, &["a"]).with(|batch| batch.count = 2).encode();
    for version in 3..=13 {
        let mut ask = |step: &str, request: ProduceRequest| {
            context.ask(format!("v{version}:{step}"), &mut connection, version, &request).map(|_| ())
        };
        ask("unknown-topic", produce(version, 1, unknown, &[(0, good.clone())]))?;
        ask("unknown-partition", produce(version, 1, topic, &[(9, good.clone())]))?;
        ask("negative-partition", produce(version, 1, topic, &[(-1, good.clone())]))?;
        ask("bad-batch", produce(version, 1, topic, &[(0, bad.clone())]))?;
        ask("acks-2", produce(version, 2, topic, &[(0, good.clone())]))?;
        ask("acks-negative", produce(version, -2, topic, &[(0, good.clone())]))?;
        ask("no-topics", produce(version, 1, topic, &[]).with_topic_data(Vec::new()))?;
        ask("no-partitions", produce(version, 1, topic, &[]))?;
        ask("zstd", produce(version, 1, topic, &[(0, zstd_batch())]))?;
        ask("timeout-zero", produce(version, -1, topic, &[(0, good.clone())]).with_timeout_ms(0))?;
    }
    let invalid = Topic { name: "not a name", id };
    context.ask("invalid-name", &mut connection, 9, &produce(9, 1, invalid, &[(0, good.clone())]))?;
    let nil = Topic { name: "", id: Uuid::nil() };
    context.ask("zero-id", &mut connection, 13, &produce(13, 1, nil, &[(0, good.clone())]))?;
    // An internal topic: made by asking for a coordinator.
    super::metadata::make_internal_topic(context)?;
    let internal = Topic { name: "__consumer_offsets", id: Uuid::nil() };
    context.ask("internal-topic", &mut connection, 9, &produce(9, 1, internal, &[(0, good)]))?;
    Ok(())
}

/// One record "z", compressed with zstd (a frame with a raw block).
fn zstd_batch() -> Bytes {
    // length 7: attributes, timestamp delta, offset delta, null key, value "z", no headers
    let records = [14, 0, 0, 0, 1, 2, b'z', 0];
    // magic number, single segment with content size 8, last raw block of 8 bytes
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x20, 8, 0x41, 0, 0];
    frame.extend_from_slice(&records);
    Batch::new(A_TIME, &["z"]).with(|batch| batch.attributes = 4).encode_around(&frame)
}

fn compressed(context: &mut Context<'_>) -> Outcome {
    let mut connection = context.connect()?;
    for codec in ["producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"] {
        let name = format!("produce-codec-{codec}");
        let id = context.create_topic(&name, 1, &[("compression.type", codec)])?;
        let topic = Topic { name: &name, id };
        one(context, &mut connection, topic, format!("{codec}:zstd"), &zstd_batch())?;
        let plain = Batch::new(A_TIME, &["a", "b"]).encode();
        one(context, &mut connection, topic, format!("{codec}:plain"), &plain)?;
        let request = fetch(11, topic, vec![from_offset(0, 0)]);
        context.ask(format!("{codec}:read-back"), &mut connection, 11, &request)?;
        // Versions of consumers that do not know zstd yet.
        if codec == "zstd" {
            for version in 4..=9 {
                let request = fetch(version, topic, vec![from_offset(0, 0)]);
                context.ask(format!("zstd:read-back-by-v{version}"), &mut connection, version, &request)?;
            }
        }
    }
    Ok(())
}

fn acks(context: &mut Context<'_>) -> Outcome {
    let id = context.create_topic("produce-acks", 1, &[])?;
    let topic = Topic { name: "produce-acks", id };
    let good = Batch::new(A_TIME, &["a"]).encode();
    let bad = Batch::new(A_TIME, &["a"]).with(|batch| batch.count = 2).encode();
    for acks in [-1, 1] {
        let mut connection = context.connect()?;
        context.ask(format!("acks:{acks}"), &mut connection, 9, &produce(9, acks, topic, &[(0, good.clone())]))?;
    }
    // Without acknowledgement the only answer is to the request behind it; an error closes the connection.
    for (step, name, partition, batch) in [
        ("good", "produce-acks", 0, &good),
        ("unknown-topic", "produce-acks-none", 0, &good),
        ("unknown-partition", "produce-acks", 5, &good),
        ("bad-batch", "produce-acks", 0, &bad),
    ] {
        let mut connection = context.connect()?;
        connection.send(9, &produce(9, 0, Topic { name, id }, &[(partition, batch.clone())]))?;
        let behind = connection.call(0, &ApiVersionsRequest::default())?.response().map(|response| response.error_code);
        context.record(format!("acks:0:{step}"), json!(behind));
    }
    let mut connection = context.connect()?;
    context.ask("end", &mut connection, 1, &list_offsets("produce-acks", &[(0, -1)]))?;
    Ok(())
}

fn sizes(context: &mut Context<'_>) -> Outcome {
    let id = context.create_topic("produce-sizes", 1, &[("max.message.bytes", "200")])?;
    let topic = Topic { name: "produce-sizes", id };
    let small_segments = context.create_topic("produce-segments", 1, &[("segment.bytes", "1048576")])?;
    let mut connection = context.connect()?;
    // 61 bytes of header and 7 to 8 around the value.
    for value in [125, 130, 131, 132, 133, 140] {
        let batch = Batch::new(A_TIME, &[&"x".repeat(value)]).encode();
        one(context, &mut connection, topic, format!("limit-200:{}", batch.len()), &batch)?;
    }
    let big = Batch::new(A_TIME, &[&"x".repeat(1_048_500)]).encode();
    let topic = Topic { name: "produce-segments", id: small_segments };
    one(context, &mut connection, topic, "as-large-as-a-segment", &big)?;
    let too_big = Batch::new(A_TIME, &[&"x".repeat(1_048_570)]).encode();
    one(context, &mut connection, topic, "larger-than-a-message-may-be", &too_big)?;
    let id = context.create_topic(
        "produce-over-segment",
        1,
        &[("segment.bytes", "1048576"), ("max.message.bytes", "5000000")],
    )?;
    let topic = Topic { name: "produce-over-segment", id };
    one(context, &mut connection, topic, "larger-than-a-segment", &too_big)?;
    Ok(())
}

fn compacted_topic(context: &mut Context<'_>) -> Outcome {
    let id = context.create_topic("produce-compacted", 1, &[("cleanup.policy", "compact")])?;
    let topic = Topic { name: "produce-compacted", id };
    let mut connection = context.connect()?;
    let keyless = |count: usize| Batch::new(A_TIME, &vec!["v"; count]);
    for version in [3, 7, 8, 9, 13] {
        let request = produce(version, -1, topic, &[(0, keyless(2).encode())]);
        context.ask(format!("v{version}"), &mut connection, version, &request)?;
    }
    one(context, &mut connection, topic, "five-without-keys", &keyless(5).encode())?;
    let mixed = keyless(3).keyed("k").with(|batch| batch.records[1].key = None).encode();
    one(context, &mut connection, topic, "one-of-three-without-key", &mixed)?;
    one(context, &mut connection, topic, "keyed", &keyless(2).keyed("k").encode())?;
    one(
        context,
        &mut connection,
        topic,
        "tombstone",
        &keyless(1).keyed("k").with(|b| b.records[0].value = None).encode(),
    )?;
    Ok(())
}

fn timestamps(context: &mut Context<'_>) -> Outcome {
    let id = context.create_topic("produce-times", 1, &[("message.timestamp.before.max.ms", "60000")])?;
    let topic = Topic { name: "produce-times", id };
    let mut connection = context.connect()?;
    let now = now_ms();
    let hour = 3_600_000;
    for (step, time) in [
        ("now", now),
        ("an-hour-ago", now - hour),
        ("in-half-an-hour", now + hour / 2),
        ("in-two-hours", now + 2 * hour),
    ] {
        one(context, &mut connection, topic, step, &Batch::new(time, &["a", "b"]).encode())?;
    }
    let mixed = Batch::new(now, &["a", "b", "c"]).with(|batch| batch.records[1].timestamp_delta = -2 * hour).encode();
    one(context, &mut connection, topic, "one-of-three-too-old", &mixed)?;
    let response = context.demand(9, &produce(9, 1, topic, &[(0, Batch::new(now - hour, &["x"]).encode())]))?;
    context.record("v9:error-codes", json!(response.responses[0].partition_responses[0].error_code));
    Ok(())
}

fn log_append_time(context: &mut Context<'_>) -> Outcome {
    let id = context.create_topic("produce-append-time", 1, &[("message.timestamp.type", "LogAppendTime")])?;
    let topic = Topic { name: "produce-append-time", id };
    let mut connection = context.connect()?;
    let before = now_ms();
    let batch = Batch::new(A_TIME, &["a", "b"]).encode();
    let response = context.demand(9, &produce(9, 1, topic, &[(0, batch)]))?;
    let time = response.responses[0].partition_responses[0].log_append_time_ms;
    context.record("the-time-of-the-append", json!(time >= before && time <= now_ms()));
    let fetched = context.demand(11, &fetch(11, topic, vec![from_offset(0, 0)]))?;
    let mut shown =
        crate::raw::records::describe(&fetched.responses[0].partitions[0].records.clone().unwrap_or_default());
    let max = shown[0]["max_timestamp"].take();
    context.record("max-timestamp-is-the-time-of-the-append", json!(max == json!(time)));
    context.record("batch", shown);
    context.ask("by-time", &mut connection, 1, &list_offsets(topic.name, &[(0, A_TIME)]))?;
    Ok(())
}

fn idempotence(context: &mut Context<'_>) -> Outcome {
    let id = context.create_topic("produce-idempotent", 1, &[])?;
    let topic = Topic { name: "produce-idempotent", id };
    let mut connection = context.connect()?;
    let batch = |producer: i64, epoch: i16, sequence: i32, count: usize| {
        Batch::new(A_TIME, &vec!["v"; count]).by_producer(producer, epoch, sequence).encode()
    };
    let steps: &[(&str, i64, i16, i32, usize)] = &[
        ("first", 5000, 0, 0, 2),
        ("next", 5000, 0, 2, 2),
        ("next-again", 5000, 0, 2, 2),
        ("first-again", 5000, 0, 0, 2),
        ("gap", 5000, 0, 9, 1),
        ("overlap", 5000, 0, 3, 2),
        ("part-of-a-batch", 5000, 0, 2, 1),
        ("third", 5000, 0, 4, 1),
        ("fourth", 5000, 0, 5, 1),
        ("fifth", 5000, 0, 6, 1),
        ("sixth", 5000, 0, 7, 1),
        ("older-than-the-five", 5000, 0, 0, 2),
        ("oldest-of-the-five", 5000, 0, 2, 2),
        ("new-epoch-not-at-zero", 5000, 1, 8, 1),
        ("new-epoch", 5000, 1, 0, 1),
        ("old-epoch", 5000, 0, 8, 1),
        ("old-epoch-duplicate", 5000, 0, 7, 1),
        ("epoch-jump", 5000, 7, 0, 1),
        ("unknown-producer-in-the-middle", 6000, 3, 44, 1),
        ("unknown-producer-goes-on", 6000, 3, 45, 1),
        ("sequence-at-the-end", 7000, 0, i32::MAX - 1, 2),
        ("sequence-wrapped", 7000, 0, 0, 1),
        ("sequence-at-the-end-inside-a-batch", 7001, 0, i32::MAX, 2),
        ("sequence-after-the-wrap", 7001, 0, 1, 1),
    ];
    for &(step, producer, epoch, sequence, count) in steps {
        one(context, &mut connection, topic, step, &batch(producer, epoch, sequence, count))?;
    }
    context.ask("read-back", &mut connection, 13, &fetch(13, topic, vec![from_offset(0, 0)]))?;
    Ok(())
}

/// Without a transaction coordinator's consent.
fn transactional(context: &mut Context<'_>) -> Outcome {
    let id = context.create_topic("produce-transactional", 1, &[])?;
    let topic = Topic { name: "produce-transactional", id };
    let mut connection = context.connect()?;
    let batch = Batch::new(A_TIME, &["t"]).by_producer(9000, 0, 0).with(|batch| batch.attributes = 0x10).encode();
    let plain = Batch::new(A_TIME, &["t"]).encode();
    for version in 3..=13 {
        let without_id = produce(version, -1, topic, &[(0, batch.clone())]);
        context.ask(format!("v{version}:no-transactional-id"), &mut connection, version, &without_id)?;
        let with_id = without_id.with_transactional_id(Some(text("some-transaction").into()));
        let response = context.demand(version, &with_id)?;
        context.record(format!("v{version}:not-added"), json!(response.responses[0].partition_responses[0].error_code));
        let plain = produce(version, -1, topic, &[(0, plain.clone())]).with_transactional_id(Some(text("t").into()));
        context.ask(format!("v{version}:plain-batch-with-an-id"), &mut connection, version, &plain)?;
    }
    Ok(())
}

fn several_partitions(context: &mut Context<'_>) -> Outcome {
    let id = context.create_topic("produce-several", 3, &[])?;
    let topic = Topic { name: "produce-several", id };
    let mut connection = context.connect()?;
    let good = |value: &str| Batch::new(A_TIME, &[value]).encode();
    let bad = Batch::new(A_TIME, &["a"]).with(|batch| batch.crc_error = 1).encode();
    let mixed = [(0, good("a")), (7, good("b")), (1, bad), (2, good("c"))];
    context.ask("good-and-bad", &mut connection, 9, &produce(9, 1, topic, &mixed))?;
    let twice = [(0, good("first")), (0, good("second"))];
    context.ask("one-partition-twice", &mut connection, 9, &produce(9, 1, topic, &twice))?;
    let partitions = (0..3).map(|partition| from_offset(partition, 0)).collect();
    context.ask("read-back", &mut connection, 12, &fetch(12, topic, partitions))?;
    Ok(())
}
