//! Fetch 0-3: what is stored as record batches, converted down to message sets of magic 0 (v0-1) and 1 (v2-3).

use std::fs;

use kafka_protocol::messages::FetchRequest;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Scenario, alone_before_4, before_4, old_produce::one, produce::A_TIME};
use crate::{
    Outcome,
    context::Context,
    raw::{
        Answer, Batch, Connection,
        fields::{self, Body},
        message_set::{Codec, describe, encode, messages, wrap},
        requests::{self, Topic, from_offset},
    },
};

pub(crate) const SCENARIOS: &[Scenario] = &[
    before_4("old_fetch/records-of-today", records_of_today),
    before_4("old_fetch/codecs", codecs),
    before_4("old_fetch/zstd", zstd),
    before_4("old_fetch/offsets-inside-a-batch", offsets_inside_a_batch),
    before_4("old_fetch/offsets-out-of-range", offsets_out_of_range),
    before_4("old_fetch/size-limits", size_limits),
    before_4("old_fetch/many-batches", many_batches),
    before_4("old_fetch/several-partitions", several_partitions),
    before_4("old_fetch/errors", errors),
    before_4("old_fetch/long-poll", long_poll),
    before_4("old_fetch/timestamps", timestamps),
    before_4("old_fetch/message-sets-of-old", message_sets_of_old),
    alone_before_4("old_fetch/transactions", transactions),
    alone_before_4("old_fetch/segments-of-old", segments_of_old),
];

const VERSIONS: std::ops::RangeInclusive<i16> = 0..=3;
/// A limit that nothing here reaches.
const ENOUGH: i32 = 1 << 20;

/// Fetch from one topic, with an answer at once: (partition, offset, limit) each.
pub(crate) fn fetch(version: i16, topic: &str, rows: &[(i32, i64, i32)]) -> Body {
    limited(version, (0, 1, ENOUGH), &[(topic, rows)])
}

/// (partition, offset, limit) each.
type Rows<'a> = &'a [(i32, i64, i32)];

/// Fetch with (longest wait, fewest bytes, limit of the answer); the last is sent from version 3 on.
fn limited(version: i16, (wait, least, limit): (i32, i32, i32), topics: &[(&str, Rows<'_>)]) -> Body {
    let body = Body::default().i32(-1).i32(wait).i32(least);
    let body = if version >= 3 { body.i32(limit) } else { body };
    body.array(topics, |body, (topic, rows)| {
        body.string(topic).array(rows, |body, (partition, offset, limit)| body.i32(*partition).i64(*offset).i32(*limit))
    })
}

pub(crate) fn response(version: i16) -> &'static str {
    match version {
        0 => "topics[name:str partitions[index:i32 error:i16 high_watermark:i64 records:records]]",
        _ => "throttle:i32 topics[name:str partitions[index:i32 error:i16 high_watermark:i64 records:records]]",
    }
}

fn ask(
    context: &mut Context<'_>,
    connection: &mut Connection,
    step: impl Into<String>,
    version: i16,
    body: Body,
) -> Outcome<Value> {
    context.ask_by_hand(step, connection, (1, version), body, response(version))
}

/// Records what a consumer gets from an offset to the end, by as many requests as it takes: how much one answer holds
/// is free. A message that comes twice counts once.
pub(crate) fn all_messages(
    context: &mut Context<'_>,
    connection: &mut Connection,
    step: impl Into<String>,
    version: i16,
    (topic, from): (&str, i64),
) -> Outcome {
    let (mut next, mut messages) = (from, Vec::new());
    let end = loop {
        connection.send_body(1, version, 1, &fetch(version, topic, &[(0, next, ENOUGH)]).0)?;
        let answer = match connection.receive_frame()? {
            Answer::Response(frame, _) => {
                fields::read(response(version), &mut frame.slice(4..)).ok_or("an answer of another version")?
            }
            other => {
                *connection = context.connect()?;
                break other.to_json();
            }
        };
        let row = &answer["topics"][0]["partitions"][0];
        let before = next;
        for message in row["records"]["messages"].as_array().unwrap_or(&Vec::new()) {
            let offset = message["offset"].as_i64().unwrap_or(-1);
            if offset >= next {
                next = offset + 1;
                messages.push(message.clone());
            }
        }
        if next == before {
            break json!({"error": row["error"], "high_watermark": row["high_watermark"], "at": next});
        }
    };
    context.record(step, json!({"messages": messages, "end": end}));
    Ok(())
}

/// A batch as a producer of today writes it.
fn store(context: &Context<'_>, topic: &str, batch: &Batch) -> Outcome {
    store_bytes(context, topic, 0, batch.encode())
}

fn store_bytes(context: &Context<'_>, topic: &str, partition: i32, batch: bytes::Bytes) -> Outcome {
    let topic = Topic { name: topic, id: Uuid::nil() };
    let response = context.demand(9, &requests::produce(9, -1, topic, &[(partition, batch)]))?;
    match response.responses[0].partition_responses[0].error_code {
        0 => Ok(()),
        error => Err(format!("a batch for {} was refused with {error}", topic.name).into()),
    }
}

/// A batch compressed by a topic that compresses what it is given.
fn codec_topic(context: &Context<'_>, codec: &str, batch: &Batch) -> Outcome<String> {
    let topic = format!("old-fetch-{codec}");
    context.create_topic(&topic, 1, &[("compression.type", codec)])?;
    store(context, &topic, batch)?;
    Ok(topic)
}

fn with_headers(values: &[&str]) -> Batch {
    Batch::new(A_TIME, values).keyed("k").with(|batch| {
        batch.records[0].headers = vec![("h".to_owned(), Some(b"1".to_vec())), ("none".to_owned(), None)];
    })
}

fn records_of_today(context: &mut Context<'_>) -> Outcome {
    context.create_topic("old-fetch-today", 1, &[])?;
    let good = || Batch::new(A_TIME, &["a", "b", "c"]);
    store(context, "old-fetch-today", &good())?;
    store(context, "old-fetch-today", &with_headers(&["d", "e"]))?;
    store(context, "old-fetch-today", &good().with(|batch| batch.records[1].value = None))?;
    store(context, "old-fetch-today", &good().with(|batch| batch.records[1].value = Some(Vec::new())).keyed(""))?;
    store(context, "old-fetch-today", &good().by_producer(3000, 0, 0))?;
    store(context, "old-fetch-today", &good().with(|batch| batch.records[2].timestamp_delta = -700))?;
    store(context, "old-fetch-today", &good().with(|batch| batch.records[0].attributes = 0x55))?;
    let mut connection = context.connect()?;
    for version in VERSIONS {
        all_messages(context, &mut connection, format!("v{version}"), version, ("old-fetch-today", 0))?;
    }
    Ok(())
}

fn codecs(context: &mut Context<'_>) -> Outcome {
    let mut connection = context.connect()?;
    for codec in ["gzip", "snappy", "lz4"] {
        let topic = codec_topic(context, codec, &with_headers(&["a", "b", "c"]))?;
        store(context, &topic, &Batch::new(A_TIME, &["d"]))?;
        for version in VERSIONS {
            all_messages(context, &mut connection, format!("{codec}:v{version}"), version, (&topic, 0))?;
            all_messages(context, &mut connection, format!("{codec}:v{version}:from-2"), version, (&topic, 2))?;
        }
    }
    Ok(())
}

fn zstd(context: &mut Context<'_>) -> Outcome {
    let topic = codec_topic(context, "zstd", &Batch::new(A_TIME, &["a", "b"]))?;
    let mut connection = context.connect()?;
    for version in VERSIONS {
        let body = fetch(version, &topic, &[(0, 0, ENOUGH)]);
        ask(context, &mut connection, format!("v{version}"), version, body)?;
        let body = fetch(version, &topic, &[(0, 2, ENOUGH)]);
        ask(context, &mut connection, format!("v{version}:at-the-end"), version, body)?;
    }
    // Batches that can be read, in front of one that cannot.
    context.create_topic("old-fetch-mixed", 1, &[])?;
    store(context, "old-fetch-mixed", &Batch::new(A_TIME, &["plain", "plain"]))?;
    let frame = [&[0x28, 0xb5, 0x2f, 0xfd, 0x20, 8, 0x41, 0, 0][..], &[14, 0, 0, 0, 1, 2, b'z', 0]].concat();
    let compressed = Batch::new(A_TIME, &["z"]).with(|batch| batch.attributes = 4).encode_around(&frame);
    store_bytes(context, "old-fetch-mixed", 0, compressed)?;
    store(context, "old-fetch-mixed", &Batch::new(A_TIME, &["behind"]))?;
    for version in VERSIONS {
        for offset in 0..=4 {
            let step = format!("v{version}:mixed-from-{offset}");
            all_messages(context, &mut connection, step, version, ("old-fetch-mixed", offset))?;
        }
    }
    Ok(())
}

fn offsets_inside_a_batch(context: &mut Context<'_>) -> Outcome {
    context.create_topic("old-fetch-inside", 1, &[])?;
    store(context, "old-fetch-inside", &Batch::new(A_TIME, &["0", "1", "2", "3", "4"]))?;
    store(context, "old-fetch-inside", &Batch::new(A_TIME, &["5", "6", "7"]))?;
    let mut connection = context.connect()?;
    for version in VERSIONS {
        for offset in 0..=8 {
            let step = format!("v{version}:from-{offset}");
            all_messages(context, &mut connection, step, version, ("old-fetch-inside", offset))?;
        }
    }
    Ok(())
}

fn offsets_out_of_range(context: &mut Context<'_>) -> Outcome {
    context.create_topic("old-fetch-range", 2, &[])?;
    store(context, "old-fetch-range", &Batch::new(A_TIME, &["a"]))?;
    let mut connection = context.connect()?;
    for version in VERSIONS {
        for (step, partition, offset) in
            [("the-end", 0, 1), ("above", 0, 2), ("negative", 0, -1), ("empty", 1, 0), ("above-empty", 1, 1)]
        {
            let body = fetch(version, "old-fetch-range", &[(partition, offset, ENOUGH)]);
            ask(context, &mut connection, format!("v{version}:{step}"), version, body)?;
        }
    }
    Ok(())
}

/// Before version 3 a limit is a limit, and a batch may come cut; from 3 on the first one comes whole.
fn size_limits(context: &mut Context<'_>) -> Outcome {
    context.create_topic("old-fetch-limits", 2, &[])?;
    for partition in [0, 1] {
        let large = |letter: &str| Batch::new(A_TIME, &[&letter.repeat(1000), &letter.repeat(1000)]).encode();
        for letter in ["a", "b", "c"] {
            store_bytes(context, "old-fetch-limits", partition, large(letter))?;
        }
    }
    let mut connection = context.connect()?;
    for version in VERSIONS {
        for limit in [0, 1, 60, 61, 100, 1000, 2000, 2082, 2090, 2100, 2150, 4300, 6600] {
            let body = fetch(version, "old-fetch-limits", &[(0, 0, limit)]);
            ask(context, &mut connection, format!("v{version}:{limit}"), version, body)?;
        }
        let body = fetch(version, "old-fetch-limits", &[(0, 0, 100), (1, 0, 100)]);
        ask(context, &mut connection, format!("v{version}:two-partitions-of-100"), version, body)?;
    }
    for limit in [0, 1, 100, 2090, 2300, 4400] {
        let rows = [(0, 0, ENOUGH), (1, 0, ENOUGH)];
        let body = limited(3, (0, 1, limit), &[("old-fetch-limits", &rows)]);
        ask(context, &mut connection, format!("v3:answer-of-{limit}"), 3, body)?;
    }
    Ok(())
}

/// Every record comes, in order, by as many requests as it takes.
fn many_batches(context: &mut Context<'_>) -> Outcome {
    const RECORDS: i64 = 3000;
    context.create_topic("old-fetch-many", 1, &[("segment.ms", "200")])?;
    for number in 0..RECORDS / 3 {
        let values: Vec<String> = (0..3).map(|index| format!("{}-{}", number * 3 + index, "x".repeat(50))).collect();
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        store(context, "old-fetch-many", &Batch::new(A_TIME + number, &values))?;
    }
    let mut connection = context.connect()?;
    for version in VERSIONS {
        let (mut offset, mut seen, mut lost) = (0, 0, Vec::new());
        while offset < RECORDS {
            connection.send_body(1, version, 1, &fetch(version, "old-fetch-many", &[(0, offset, 10_000)]).0)?;
            let frame = match connection.receive_frame()? {
                Answer::Response(frame, _) => *frame,
                other => return Err(format!("at offset {offset}: {}", other.to_json()).into()),
            };
            let answer = fields::read(response(version), &mut frame.slice(4..)).ok_or("undecodable")?;
            let row = &answer["topics"][0]["partitions"][0];
            let messages = row["records"]["messages"].as_array().ok_or("no records")?;
            let wanted =
                messages.iter().filter(|message| message["offset"].as_i64().is_some_and(|found| found >= offset));
            let before = seen;
            for message in wanted.collect::<Vec<_>>() {
                let text = message["value"].as_str().unwrap_or_default();
                if message["offset"] != offset || !text.starts_with(&format!("{offset}-")) {
                    lost.push(offset);
                }
                offset += 1;
                seen += 1;
            }
            if seen == before {
                return Err(format!("nothing at offset {offset}: {row}").into());
            }
        }
        context.record(format!("v{version}"), json!({"seen": seen, "lost": lost}));
    }
    Ok(())
}

fn several_partitions(context: &mut Context<'_>) -> Outcome {
    context.create_topic("old-fetch-several", 3, &[])?;
    context.create_topic("old-fetch-other", 1, &[])?;
    for partition in [0, 2] {
        let batch = Batch::new(A_TIME, &[&format!("in {partition}")]).encode();
        store_bytes(context, "old-fetch-several", partition, batch)?;
    }
    store(context, "old-fetch-other", &Batch::new(A_TIME, &["other"]))?;
    let mut connection = context.connect()?;
    for version in VERSIONS {
        let several = [(2, 0, ENOUGH), (0, 0, ENOUGH), (1, 0, ENOUGH), (7, 0, ENOUGH)];
        let topics: &[(&str, Rows<'_>)] = &[
            ("old-fetch-several", &several),
            ("old-fetch-other", &[(0, 0, ENOUGH)]),
            ("old-fetch-unknown", &[(0, 0, ENOUGH)]),
        ];
        let body = limited(version, (0, 1, ENOUGH), topics);
        connection.send_body(1, version, 1, &body.0)?;
        let Answer::Response(frame, _) = connection.receive_frame()? else { return Err("no answer".into()) };
        let answer = fields::read(response(version), &mut frame.slice(4..)).ok_or("an answer of another version")?;
        // The order of rows is free, and so is what stands in one topic's group.
        let mut rows = serde_json::Map::new();
        for topic in answer["topics"].as_array().unwrap_or(&Vec::new()) {
            for row in topic["partitions"].as_array().unwrap_or(&Vec::new()) {
                let name = format!("{}-{}", topic["name"].as_str().unwrap_or_default(), row["index"]);
                rows.insert(name, row.clone());
            }
        }
        context.record(format!("v{version}"), rows.into());
    }
    Ok(())
}

fn errors(context: &mut Context<'_>) -> Outcome {
    context.create_topic("old-fetch-errors", 1, &[])?;
    store(context, "old-fetch-errors", &Batch::new(A_TIME, &["a"]))?;
    let mut connection = context.connect()?;
    for version in VERSIONS {
        let mut try_it = |step: &str, body: Body| {
            ask(context, &mut connection, format!("v{version}:{step}"), version, body).map(|_| ())
        };
        try_it("unknown-topic", fetch(version, "old-fetch-none", &[(0, 0, ENOUGH)]))?;
        try_it("invalid-name", fetch(version, "not a name", &[(0, 0, ENOUGH)]))?;
        try_it("unknown-partition", fetch(version, "old-fetch-errors", &[(1, 0, ENOUGH)]))?;
        try_it("negative-partition", fetch(version, "old-fetch-errors", &[(-1, 0, ENOUGH)]))?;
        try_it("no-topics", limited(version, (0, 1, ENOUGH), &[]))?;
        try_it("no-partitions", fetch(version, "old-fetch-errors", &[]))?;
        try_it("a-negative-limit", fetch(version, "old-fetch-errors", &[(0, 0, -5)]))?;
    }
    Ok(())
}

/// A request that waits is woken by a record, and gets it converted.
fn long_poll(context: &mut Context<'_>) -> Outcome {
    context.create_topic("old-fetch-poll", 1, &[])?;
    for (number, version) in VERSIONS.enumerate() {
        let mut connection = context.connect()?;
        let rows = [(0, number as i64, ENOUGH)];
        let body = limited(version, (15_000, 1, ENOUGH), &[("old-fetch-poll", &rows)]);
        connection.send_body(1, version, 1, &body.0)?;
        store(context, "old-fetch-poll", &with_headers(&["woken"]))?;
        let seen = match connection.receive_frame()? {
            Answer::Response(frame, _) => {
                fields::read(response(version), &mut frame.slice(4..)).ok_or("undecodable")?
            }
            other => other.to_json(),
        };
        context.record(format!("v{version}"), seen);
    }
    Ok(())
}

/// A log as a transactional producer left it: control batches are left out; what was aborted is there.
fn transactions(context: &mut Context<'_>) -> Outcome {
    let data = |offset: i64, producer: i64, values: &[&str]| {
        Batch::new(A_TIME, values).by_producer(producer, 0, 0).with(|batch| {
            batch.base_offset = offset;
            batch.leader_epoch = 0;
            batch.attributes = 0x10;
        })
    };
    let marker = |offset: i64, producer: i64, commit: bool| {
        data(offset, producer, &["\0\0\0\0\0\0"]).with(|batch| {
            batch.attributes = 0x30;
            batch.base_sequence = -1;
            batch.records[0].key = Some(vec![0, 0, 0, commit.into()]);
        })
    };
    let batches = [
        data(0, -1, &["before"])
            .with(|batch| (batch.attributes, batch.producer_epoch, batch.base_sequence) = (0, -1, -1)),
        data(1, 1000, &["committed", "committed, too"]),
        marker(3, 1000, true),
        data(4, 1001, &["aborted", "aborted, too"]),
        marker(6, 1001, false),
        data(7, 1002, &["still open"]),
    ];
    let log: Vec<u8> = batches.iter().flat_map(Batch::encode).collect();
    place_log(context, "old-fetch-transactions", &log)?;
    let mut connection = context.connect()?;
    for version in VERSIONS {
        for offset in 0..=8 {
            let step = format!("v{version}:from-{offset}");
            all_messages(context, &mut connection, step, version, ("old-fetch-transactions", offset))?;
        }
        // Room for the marker only.
        let body = fetch(version, "old-fetch-transactions", &[(0, 3, 78)]);
        ask(context, &mut connection, format!("v{version}:only-a-marker"), version, body)?;
    }
    Ok(())
}

/// Makes a topic whose log is this, as a broker finds it that was killed.
fn place_log(context: &mut Context<'_>, topic: &str, log: &[u8]) -> Outcome {
    context.create_topic(topic, 1, &[])?;
    context.cluster.kill()?;
    let dir = context.cluster.data_dir().join(format!("{topic}-0"));
    for entry in fs::read_dir(&dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|kind| kind != "log" && kind != "metadata") {
            fs::remove_file(path)?;
        }
    }
    fs::write(dir.join("00000000000000000000.log"), log)?;
    context.cluster.start()?;
    context.until_ready(topic, 1)
}

/// A log that a broker of 2015 wrote and its successors went on with.
fn segments_of_old(context: &mut Context<'_>) -> Outcome {
    const TOPIC: &str = "old-segments";
    let mut log = Vec::new();
    let mut next = 0;
    for magic in [0, 1] {
        for message in messages(magic, A_TIME + next, &["a", "b", "c"]) {
            log.extend(message.with(|message| message.offset = next).encode());
            next += 1;
        }
        for (_, codec) in Codec::ALL {
            if magic == 1 && codec == Codec::Lz4OldChecksum {
                continue;
            }
            // Magic 0 counts inside as outside; magic 1 counts from the wrapper's first.
            let mut inner = messages(magic, A_TIME + next, &["d", "e", "f"]);
            for (index, message) in inner.iter_mut().enumerate() {
                message.offset = if magic == 0 { next + index as i64 } else { index as i64 };
            }
            log.extend(wrap(magic, codec, &inner).with(|wrapper| wrapper.offset = next + 2).encode());
            next += 3;
        }
        // What compaction left of a set: a gap inside and at the end.
        let mut inner = messages(magic, A_TIME + next, &["g", "h"]);
        let first = if magic == 0 { next } else { 0 };
        (inner[0].offset, inner[1].offset) = (first + 1, first + 3);
        log.extend(wrap(magic, Codec::Gzip, &inner).with(|wrapper| wrapper.offset = next + 3).encode());
        next += 10;
        log.extend(messages(magic, A_TIME + next, &["i"])[0].clone().keyed("k").with(|m| m.offset = next).encode());
        next += 1;
    }
    let batch = with_headers(&["j", "k"]).with(|batch| (batch.base_offset, batch.leader_epoch) = (next, 0));
    log.extend(batch.encode());
    place_log(context, TOPIC, &log)?;
    let mut connection = context.connect()?;
    for version in VERSIONS {
        for offset in [0, 1, 4, 5, 20, 21, 22, 25, 29, 30, 33, 40, 44, 46, 52, 53] {
            all_messages(context, &mut connection, format!("v{version}:from-{offset}"), version, (TOPIC, offset))?;
        }
    }
    let topic = Topic { name: TOPIC, id: Uuid::nil() };
    for version in [4, 9, 10, 12] {
        for offset in [0, 5, 22, 30, 33, 53] {
            connection.send(version, &requests::fetch(version, topic, vec![from_offset(0, offset)]))?;
            let answer = connection.receive::<FetchRequest>(version)?.response().ok_or("no answer")?;
            let row = &answer.responses[0].partitions[0];
            let records = describe(&row.records.clone().unwrap_or_default());
            let seen = json!({"error": row.error_code, "high watermark": row.high_watermark, "records": records});
            context.record(format!("v{version}:from-{offset}"), seen);
        }
    }
    context.ask("metadata", &mut connection, 7, &requests::metadata(&[TOPIC]))?;
    for time in [-1, -2, -3, 0, A_TIME, A_TIME + 2, A_TIME + 25, A_TIME + 33, A_TIME + 36, A_TIME + 60] {
        let version = if time == -3 { 7 } else { 4 };
        context.ask(format!("time:{time}"), &mut connection, version, &requests::list_offsets(TOPIC, &[(0, time)]))?;
    }
    // It goes on.
    store(context, TOPIC, &Batch::new(A_TIME, &["behind all"]))?;
    let body = fetch(1, TOPIC, &[(0, next + 2, ENOUGH)]);
    ask(context, &mut connection, "behind-all", 1, body)?;
    Ok(())
}

fn timestamps(context: &mut Context<'_>) -> Outcome {
    context.create_topic("old-fetch-times", 1, &[])?;
    store(context, "old-fetch-times", &Batch::new(-1, &["none"]).with(|batch| batch.max_timestamp = -1))?;
    store(context, "old-fetch-times", &Batch::new(0, &["zero"]))?;
    context.create_topic("old-fetch-negative", 1, &[])?;
    store(context, "old-fetch-negative", &Batch::new(-5000, &["negative"]))?;
    context.create_topic("old-fetch-appended", 1, &[("message.timestamp.type", "LogAppendTime")])?;
    store(context, "old-fetch-appended", &Batch::new(A_TIME, &["a", "b"]))?;
    let mut connection = context.connect()?;
    for version in VERSIONS {
        all_messages(context, &mut connection, format!("v{version}:create-time"), version, ("old-fetch-times", 0))?;
        all_messages(context, &mut connection, format!("v{version}:negative"), version, ("old-fetch-negative", 0))?;
        all_messages(context, &mut connection, format!("v{version}:append-time"), version, ("old-fetch-appended", 0))?;
    }
    Ok(())
}

/// What came as message sets goes back as such.
fn message_sets_of_old(context: &mut Context<'_>) -> Outcome {
    context.create_topic("old-fetch-sets", 1, &[])?;
    let mut connection = context.connect()?;
    for magic in [0, 1] {
        let set = messages(magic, A_TIME, &["a", "b", "c"]);
        one(context, &mut connection, 2, "old-fetch-sets", format!("produce:{magic}"), &encode(&set))?;
        for (name, codec) in Codec::ALL {
            let set = encode(&[wrap(magic, codec, &set)]);
            one(context, &mut connection, 2, "old-fetch-sets", format!("produce:{magic}:{name}"), &set)?;
        }
    }
    for version in VERSIONS {
        all_messages(context, &mut connection, format!("v{version}"), version, ("old-fetch-sets", 0))?;
    }
    let topic = Topic { name: "old-fetch-sets", id: Uuid::nil() };
    for version in [4, 11] {
        let request: FetchRequest = requests::fetch(version, topic, vec![from_offset(0, 0)]);
        context.ask(format!("v{version}"), &mut connection, version, &request)?;
    }
    Ok(())
}
