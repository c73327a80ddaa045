//! Produce 0-2: message sets of magic 0 and 1, and the record batches that they become.

use bytes::Bytes;
use kafka_protocol::messages::ApiVersionsRequest;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    Scenario, before_4,
    old_fetch::all_messages,
    produce::{A_TIME, now_ms},
};
use crate::{
    Outcome,
    context::Context,
    raw::{
        Batch, Connection,
        fields::Body,
        message_set::{Codec, Message, encode, messages, wrap, wrap_bytes},
        requests::{Topic, fetch, from_offset, list_offsets},
    },
};

pub(crate) const SCENARIOS: &[Scenario] = &[
    before_4("old_produce/plain", plain),
    before_4("old_produce/compressed", compressed),
    before_4("old_produce/sets-that-are-refused", refused),
    before_4("old_produce/sets-that-are-accepted", accepted),
    before_4("old_produce/wrappers", wrappers),
    before_4("old_produce/errors", errors),
    before_4("old_produce/acks", acks),
    before_4("old_produce/compacted-topic", compacted_topic),
    before_4("old_produce/sizes", sizes),
    before_4("old_produce/timestamps", timestamps),
    before_4("old_produce/log-append-time", log_append_time),
    before_4("old_produce/codec-of-the-topic", codec_of_the_topic),
    before_4("old_produce/batches-of-today", batches_of_today),
];

const VERSIONS: std::ops::RangeInclusive<i16> = 0..=2;

/// Produce to one topic: (partition, records) each; null records if there are none.
pub(crate) fn produce(acks: i16, topic: &str, rows: &[(i32, Option<Bytes>)]) -> Body {
    Body::default().i16(acks).i32(30_000).array(&[topic], |body, topic| {
        body.string(topic).array(rows, |body, (partition, records)| match records {
            Some(records) => body.i32(*partition).bytes(records),
            None => body.i32(*partition).i32(-1),
        })
    })
}

pub(crate) fn response(version: i16) -> &'static str {
    match version {
        0 => "topics[name:str partitions[index:i32 error:i16 base_offset:i64]]",
        1 => "topics[name:str partitions[index:i32 error:i16 base_offset:i64]] throttle:i32",
        _ => "topics[name:str partitions[index:i32 error:i16 base_offset:i64 log_append_time:i64]] throttle:i32",
    }
}

/// Sends one set and records the answer under the step's name.
pub(crate) fn one(
    context: &mut Context<'_>,
    connection: &mut Connection,
    version: i16,
    topic: &str,
    step: impl Into<String>,
    set: &Bytes,
) -> Outcome<Value> {
    let body = produce(-1, topic, &[(0, Some(set.clone()))]);
    context.ask_by_hand(step, connection, (0, version), body, response(version))
}

/// Everything in partition 0, as a client of today reads it.
fn read_back(context: &mut Context<'_>, connection: &mut Connection, topic: &str) -> Outcome {
    let topic = Topic { name: topic, id: Uuid::nil() };
    context.ask("read-back", connection, 11, &fetch(11, topic, vec![from_offset(0, 0)])).map(|_| ())
}

fn plain(context: &mut Context<'_>) -> Outcome {
    context.create_topic("old-plain", 1, &[])?;
    let mut connection = context.connect()?;
    for version in VERSIONS {
        for magic in [0, 1] {
            let step = format!("v{version}:magic-{magic}");
            let set = encode(&messages(magic, A_TIME, &["a", "b", "c"]));
            one(context, &mut connection, version, "old-plain", &step, &set)?;
            let keyed = encode(&[Message::new(magic, A_TIME, "v").keyed("k")]);
            one(context, &mut connection, version, "old-plain", format!("{step}:keyed"), &keyed)?;
            let mixed = [messages(magic, A_TIME, &["x"]), messages(1 - magic, A_TIME, &["y"])].concat();
            one(context, &mut connection, version, "old-plain", format!("{step}:then-the-other"), &encode(&mixed))?;
        }
    }
    read_back(context, &mut connection, "old-plain")
}

fn compressed(context: &mut Context<'_>) -> Outcome {
    let mut connection = context.connect()?;
    for (name, codec) in Codec::ALL {
        let topic = format!("old-{name}");
        context.create_topic(&topic, 1, &[])?;
        for version in VERSIONS {
            for magic in [0, 1] {
                let step = format!("{name}:v{version}:magic-{magic}");
                let set = encode(&[wrap(magic, codec, &messages(magic, A_TIME, &["a", "b", "c"]))]);
                one(context, &mut connection, version, &topic, &step, &set)?;
            }
        }
        let request = fetch(11, Topic { name: &topic, id: Uuid::nil() }, vec![from_offset(0, 0)]);
        context.ask(format!("{name}:read-back"), &mut connection, 11, &request)?;
        // What is inside, as plain messages.
        all_messages(context, &mut connection, format!("{name}:as-messages"), 2, (&topic, 0))?;
    }
    Ok(())
}

fn refused(context: &mut Context<'_>) -> Outcome {
    context.create_topic("old-refused", 1, &[])?;
    let mut connection = context.connect()?;
    for magic in [0_i8, 1] {
        let good = || Message::new(magic, A_TIME, "a");
        let set = encode(&messages(magic, A_TIME, &["a", "b"]));
        let inner = |inner: &[Message]| encode(&[wrap(magic, Codec::Gzip, inner)]);
        let gzip = |bytes: &[u8]| encode(&[wrap_bytes(magic, 1, &Codec::Gzip.compress(bytes))]);
        let cases: Vec<(&str, Bytes)> = vec![
            ("empty", Bytes::new()),
            ("cut-by-one-byte", set.slice(..set.len() - 1)),
            ("cut-in-the-first", set.slice(..20)),
            ("less-than-an-offset-and-a-size", set.slice(..10)),
            ("bad-crc", encode(&[good().with(|message| message.crc_error = 1)])),
            ("bad-crc-in-the-second", encode(&[good(), good().with(|message| message.crc_error = 1)])),
            ("size-zero", encode(&[good().with(|message| message.size_error = -i32::from(good().encode()[11]))])),
            ("size-negative", encode(&[good().with(|message| message.size_error = -1000)])),
            ("size-one-too-small", encode(&[good().with(|message| message.size_error = -1)])),
            ("size-one-too-large", encode(&[good().with(|message| message.size_error = 1)])),
            ("size-huge", encode(&[good().with(|message| message.size_error = i32::MAX - 1000)])),
            ("magic-3", encode(&[good().with(|message| message.magic = 3)])),
            ("magic-negative", encode(&[good().with(|message| message.magic = -1)])),
            ("codec-5", encode(&[good().with(|message| message.attributes = 5)])),
            ("codec-7", encode(&[good().with(|message| message.attributes = 7)])),
            ("zstd", encode(&[wrap_bytes(magic, 4, b"whatever")])),
            ("gzip-of-nonsense", encode(&[wrap_bytes(magic, 1, b"this is no gzip")])),
            ("snappy-of-nonsense", encode(&[wrap_bytes(magic, 2, b"this is no snappy")])),
            ("lz4-of-nonsense", encode(&[wrap_bytes(magic, 3, b"this is no lz4")])),
            ("wrapper-without-a-value", encode(&[wrap_bytes(magic, 1, b"").with(|wrapper| wrapper.value = None)])),
            ("wrapper-around-nothing", inner(&[])),
            ("wrapper-around-a-cut-message", gzip(&good().encode()[..20])),
            ("wrapper-around-less-than-a-size", gzip(&[0; 5])),
            ("wrapper-around-a-bad-crc", inner(&[good().with(|message| message.crc_error = 1)])),
            ("wrapper-in-a-wrapper", inner(&[wrap(magic, Codec::Gzip, &[good()])])),
            ("wrapper-around-the-other-magic", inner(&[good().with(|message| message.magic = 1 - magic)])),
            ("wrapper-around-a-batch", gzip(&Batch::new(A_TIME, &["x"]).encode())),
            ("message-of-a-wrapper-behind-a-plain-one", { encode(&[good(), wrap(magic, Codec::Gzip, &[good()])]) }),
            ("two-wrappers", encode(&[wrap(magic, Codec::Gzip, &[good()]), wrap(magic, Codec::Gzip, &[good()])])),
            ("nonsense", Bytes::from(vec![0xff; 60])),
            ("zeros", Bytes::from(vec![0; 60])),
        ];
        for (step, set) in cases {
            one(context, &mut connection, 2, "old-refused", format!("magic-{magic}:{step}"), &set)?;
        }
    }
    context.ask("end", &mut connection, 1, &list_offsets("old-refused", &[(0, -1)]))?;
    read_back(context, &mut connection, "old-refused")
}

fn accepted(context: &mut Context<'_>) -> Outcome {
    context.create_topic("old-accepted", 1, &[])?;
    let mut connection = context.connect()?;
    for magic in [0_i8, 1] {
        let good = || Message::new(magic, A_TIME, "a");
        let offsets = |offsets: &[i64]| {
            let numbered = offsets.iter().map(|&offset| good().with(|message| message.offset = offset));
            encode(&numbered.collect::<Vec<_>>())
        };
        let cases: Vec<(&str, Bytes)> = vec![
            ("offsets-all-zero", offsets(&[0, 0, 0])),
            ("offsets-backwards", offsets(&[5, 3, 9])),
            ("offsets-negative", offsets(&[-1, -7])),
            ("null-value", encode(&[good().with(|message| message.value = None)])),
            ("null-value-with-key", encode(&[good().keyed("k").with(|message| message.value = None)])),
            ("empty-key-and-value", encode(&[Message::new(magic, A_TIME, "").keyed("")])),
            ("log-append-time-bit", encode(&[good().with(|message| message.attributes = 8)])),
            ("unknown-attribute-bits", encode(&[good().with(|message| message.attributes = 0x70)])),
            ("timestamp-none", encode(&[good().with(|message| message.timestamp = -1)])),
            ("timestamps-backwards", encode(&[good(), good().with(|message| message.timestamp = A_TIME - 500)])),
            ("large", encode(&[Message::new(magic, A_TIME, &"x".repeat(300_000))])),
        ];
        for (step, set) in cases {
            one(context, &mut connection, 2, "old-accepted", format!("magic-{magic}:{step}"), &set)?;
        }
    }
    read_back(context, &mut connection, "old-accepted")
}

/// What stands in a wrapper message beside its messages.
fn wrappers(context: &mut Context<'_>) -> Outcome {
    context.create_topic("old-wrappers", 1, &[])?;
    let mut connection = context.connect()?;
    for magic in [0_i8, 1] {
        let inner = || messages(magic, A_TIME, &["a", "b", "c"]);
        let renumbered = |offsets: &[i64]| {
            let mut inner = inner();
            for (message, offset) in inner.iter_mut().zip(offsets) {
                message.offset = *offset;
            }
            wrap(magic, Codec::Gzip, &inner)
        };
        let good = || wrap(magic, Codec::Gzip, &inner());
        let cases: Vec<(&str, Message)> = vec![
            ("outer-offset-zero", good().with(|wrapper| wrapper.offset = 0)),
            ("outer-offset-large", good().with(|wrapper| wrapper.offset = 1000)),
            ("outer-offset-negative", good().with(|wrapper| wrapper.offset = -1)),
            ("inner-offsets-all-zero", renumbered(&[0, 0, 0])),
            ("inner-offsets-from-5", renumbered(&[5, 6, 7])),
            ("inner-offsets-with-gaps", renumbered(&[0, 2, 4]).with(|wrapper| wrapper.offset = 4)),
            ("inner-offsets-backwards", renumbered(&[2, 1, 0])),
            ("keyed", good().keyed("k")),
            ("timestamp-none", good().with(|wrapper| wrapper.timestamp = -1)),
            ("timestamp-too-high", good().with(|wrapper| wrapper.timestamp = A_TIME + 5000)),
            ("log-append-time-bit", good().with(|wrapper| wrapper.attributes |= 8)),
            ("inner-log-append-time-bit", {
                let mut inner = inner();
                inner[1].attributes = 8;
                wrap(magic, Codec::Gzip, &inner)
            }),
        ];
        for (step, wrapper) in cases {
            one(context, &mut connection, 2, "old-wrappers", format!("magic-{magic}:{step}"), &encode(&[wrapper]))?;
        }
    }
    read_back(context, &mut connection, "old-wrappers")?;
    all_messages(context, &mut connection, "as-messages", 3, ("old-wrappers", 0))
}

fn errors(context: &mut Context<'_>) -> Outcome {
    context.create_topic("old-errors", 2, &[])?;
    let mut connection = context.connect()?;
    let good = encode(&messages(1, A_TIME, &["a"]));
    let bad = encode(&[Message::new(1, A_TIME, "a").with(|message| message.crc_error = 1)]);
    for version in VERSIONS {
        let mut ask = |step: &str, body: Body| {
            let step = format!("v{version}:{step}");
            context.ask_by_hand(step, &mut connection, (0, version), body, response(version)).map(|_| ())
        };
        let row = |partition| [(partition, Some(good.clone()))];
        ask("unknown-topic", produce(1, "old-unknown", &row(0)))?;
        ask("invalid-name", produce(1, "not a name", &row(0)))?;
        ask("unknown-partition", produce(1, "old-errors", &row(9)))?;
        ask("negative-partition", produce(1, "old-errors", &row(-1)))?;
        ask("acks-2", produce(2, "old-errors", &row(0)))?;
        ask("acks-negative", produce(-2, "old-errors", &row(0)))?;
        ask("no-topics", Body::default().i16(1).i32(1000).i32(0))?;
        ask("no-partitions", produce(1, "old-errors", &[]))?;
        ask("good-and-bad", produce(1, "old-errors", &[(0, Some(good.clone())), (1, Some(bad.clone()))]))?;
    }
    Ok(())
}

fn acks(context: &mut Context<'_>) -> Outcome {
    context.create_topic("old-acks", 1, &[])?;
    let good = encode(&messages(1, A_TIME, &["a"]));
    let bad = encode(&[Message::new(1, A_TIME, "a").with(|message| message.crc_error = 1)]);
    for version in VERSIONS {
        let mut connection = context.connect()?;
        for acks in [-1, 1] {
            let body = produce(acks, "old-acks", &[(0, Some(good.clone()))]);
            context.ask_by_hand(
                format!("v{version}:{acks}"),
                &mut connection,
                (0, version),
                body,
                response(version),
            )?;
        }
        // Without acknowledgement the only answer is to the request behind it; an error closes the connection.
        for (step, topic, set) in
            [("good", "old-acks", &good), ("unknown-topic", "old-none", &good), ("bad-set", "old-acks", &bad)]
        {
            let mut connection = context.connect()?;
            connection.send_body(0, version, 1, &produce(0, topic, &[(0, Some(set.clone()))]).0)?;
            let behind =
                connection.call(0, &ApiVersionsRequest::default())?.response().map(|response| response.error_code);
            context.record(format!("v{version}:0:{step}"), json!(behind));
        }
    }
    let mut connection = context.connect()?;
    context.ask("end", &mut connection, 1, &list_offsets("old-acks", &[(0, -1)]))?;
    Ok(())
}

fn compacted_topic(context: &mut Context<'_>) -> Outcome {
    context.create_topic("old-compacted", 1, &[("cleanup.policy", "compact")])?;
    let mut connection = context.connect()?;
    for magic in [0, 1] {
        let keyed = |value: &str| Message::new(magic, A_TIME, value).keyed("k");
        let keyless = |value: &str| Message::new(magic, A_TIME, value);
        for version in VERSIONS {
            let mut ask = |step: &str, set: &[Message]| {
                let step = format!("magic-{magic}:v{version}:{step}");
                one(context, &mut connection, version, "old-compacted", step, &encode(set)).map(|_| ())
            };
            ask("without-key", &[keyless("v")])?;
            ask("one-of-two-without-key", &[keyed("v"), keyless("w")])?;
            ask("keyed", &[keyed("v")])?;
            ask("inner-without-key", &[wrap(magic, Codec::Gzip, &[keyed("v"), keyless("w")])])?;
            ask("inner-keyed", &[wrap(magic, Codec::Gzip, &[keyed("v"), keyed("w")])])?;
        }
    }
    read_back(context, &mut connection, "old-compacted")
}

fn sizes(context: &mut Context<'_>) -> Outcome {
    context.create_topic("old-sizes", 1, &[("max.message.bytes", "200")])?;
    let mut connection = context.connect()?;
    for magic in [0, 1] {
        // 26 or 34 bytes around the value as a message; 61 and 7 to 8 as a batch.
        for length in [100, 120, 130, 131, 132, 133, 150, 165, 166, 167, 174, 175, 190] {
            let set = encode(&[Message::new(magic, A_TIME, &"x".repeat(length))]);
            one(context, &mut connection, 2, "old-sizes", format!("magic-{magic}:value-of-{length}"), &set)?;
        }
        // Together they are one batch.
        let two = encode(&messages(magic, A_TIME, &[&"x".repeat(60), &"y".repeat(60), &"z".repeat(60)]));
        one(
            context,
            &mut connection,
            2,
            "old-sizes",
            format!("magic-{magic}:three-that-are-too-large-together"),
            &two,
        )?;
        // Small on the wire, large inside: only what is stored counts.
        let repeated = wrap(magic, Codec::Gzip, &[Message::new(magic, A_TIME, &"x".repeat(5000))]);
        one(context, &mut connection, 2, "old-sizes", format!("magic-{magic}:compressed"), &encode(&[repeated]))?;
    }
    read_back(context, &mut connection, "old-sizes")
}

fn timestamps(context: &mut Context<'_>) -> Outcome {
    let bounds = [("message.timestamp.before.max.ms", "60000"), ("message.timestamp.after.max.ms", "3600000")];
    context.create_topic("old-times", 1, &bounds)?;
    let mut connection = context.connect()?;
    let (now, hour) = (now_ms(), 3_600_000);
    for (step, time) in [("now", now), ("an-hour-ago", now - hour), ("in-two-hours", now + 2 * hour), ("none", -1)] {
        for magic in [0, 1] {
            let set = messages(magic, time, &["a", "b"]);
            let step = format!("{step}:magic-{magic}");
            one(context, &mut connection, 2, "old-times", &step, &encode(&set))?;
            let wrapped = encode(&[wrap(magic, Codec::Gzip, &set)]);
            one(context, &mut connection, 2, "old-times", format!("{step}:wrapped"), &wrapped)?;
        }
    }
    Ok(())
}

fn log_append_time(context: &mut Context<'_>) -> Outcome {
    context.create_topic("old-append-time", 1, &[("message.timestamp.type", "LogAppendTime")])?;
    let mut connection = context.connect()?;
    for magic in [0, 1] {
        let set = messages(magic, A_TIME, &["a", "b"]);
        for version in VERSIONS {
            let step = format!("magic-{magic}:v{version}");
            one(context, &mut connection, version, "old-append-time", &step, &encode(&set))?;
            let wrapped = encode(&[wrap(magic, Codec::Gzip, &set)]);
            one(context, &mut connection, version, "old-append-time", format!("{step}:wrapped"), &wrapped)?;
        }
    }
    read_back(context, &mut connection, "old-append-time")?;
    for version in [1, 3] {
        let step = format!("as-messages-of-v{version}");
        all_messages(context, &mut connection, step, version, ("old-append-time", 0))?;
    }
    Ok(())
}

/// A topic with a codec of its own, where every set is compressed anew.
fn codec_of_the_topic(context: &mut Context<'_>) -> Outcome {
    let mut connection = context.connect()?;
    for codec in ["uncompressed", "gzip", "snappy", "lz4", "zstd"] {
        let topic = format!("old-topic-{codec}");
        context.create_topic(&topic, 1, &[("compression.type", codec)])?;
        for magic in [0, 1] {
            let set = messages(magic, A_TIME, &["a", "b"]);
            let step = format!("{codec}:magic-{magic}");
            one(context, &mut connection, 2, &topic, &step, &encode(&set))?;
            let wrapped = encode(&[wrap(magic, Codec::Lz4, &set)]);
            one(context, &mut connection, 2, &topic, format!("{step}:wrapped"), &wrapped)?;
        }
        let request = fetch(11, Topic { name: &topic, id: Uuid::nil() }, vec![from_offset(0, 0)]);
        context.ask(format!("{codec}:read-back"), &mut connection, 11, &request)?;
        for version in [0, 2] {
            let step = format!("{codec}:as-messages-of-v{version}");
            all_messages(context, &mut connection, step, version, (&topic, 0))?;
        }
    }
    Ok(())
}

/// A record batch in an old request, and a message set in a request of today.
fn batches_of_today(context: &mut Context<'_>) -> Outcome {
    let id = context.create_topic("old-and-new", 1, &[])?;
    let mut connection = context.connect()?;
    let batch = Batch::new(A_TIME, &["a", "b"]);
    let mixed = [encode(&messages(1, A_TIME, &["a"])), batch.encode()].concat().into();
    let idempotent = batch.clone().by_producer(4000, 0, 0).encode();
    let transactional = batch.clone().by_producer(4001, 0, 0).with(|batch| batch.attributes = 0x10).encode();
    let two = [batch.encode(), batch.encode()].concat().into();
    for version in VERSIONS {
        let mut ask = |step: &str, set: &Bytes| {
            one(context, &mut connection, version, "old-and-new", format!("v{version}:{step}"), set).map(|_| ())
        };
        ask("batch", &batch.encode())?;
        ask("two-batches", &two)?;
        ask("message-and-batch", &mixed)?;
        ask("batch-of-an-idempotent-producer", &idempotent)?;
        ask("batch-of-a-transaction", &transactional)?;
        ask("zstd-batch", &batch.clone().with(|batch| batch.attributes = 4).encode_around(b"whatever"))?;
        let headers = batch.clone().with(|batch| batch.records[0].headers = vec![("h".to_owned(), None)]);
        ask("batch-with-headers", &headers.encode())?;
    }
    let topic = Topic { name: "old-and-new", id };
    for version in [3, 7, 9, 11] {
        for magic in [0, 1] {
            let set = encode(&messages(magic, A_TIME, &["a"]));
            let request = crate::raw::requests::produce(version, 1, topic, &[(0, set)]);
            context.ask(format!("v{version}:magic-{magic}"), &mut connection, version, &request)?;
        }
    }
    read_back(context, &mut connection, "old-and-new")
}
