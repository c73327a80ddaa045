//! Fetch (key 1), versions 4-18: offsets, sizes, sessions, waiting, epochs.

use std::time::Duration;

use kafka_protocol::messages::{FetchRequest, FetchResponse, fetch_request::ForgottenTopic};
use uuid::Uuid;

use super::{Scenario, produce::A_TIME, shared};
use crate::{
    Outcome,
    context::Context,
    raw::{
        Batch, Connection,
        requests::{Topic, fetch, fetch_topic, from_offset, produce},
        topic_name,
    },
};

pub(crate) const SCENARIOS: &[Scenario] = &[
    shared("fetch/versions", versions),
    shared("fetch/offsets", offsets),
    shared("fetch/sizes", sizes),
    shared("fetch/errors-of-every-version", errors_of_every_version),
    shared("fetch/epochs", epochs),
    shared("fetch/isolation", isolation),
    shared("fetch/segments", segments),
    shared("fetch/sessions", sessions),
    shared("fetch/session-contents", session_contents),
    shared("fetch/waits-for-an-append", waits_for_an_append),
    shared("fetch/answers-an-error-at-once", answers_at_once),
];

/// Appends `count` batches of two records each and says where the log ends.
fn fill(context: &Context<'_>, topic: Topic<'_>, partition: i32, count: usize) -> Outcome {
    for index in 0..count {
        let values = [format!("{partition}:{index}:a"), format!("{partition}:{index}:b")];
        let batch = Batch::new(A_TIME + index as i64, &[&values[0], &values[1]]).encode();
        let response = context.demand(9, &produce(9, 1, topic, &[(partition, batch)]))?;
        let code = response.responses[0].partition_responses[0].error_code;
        if code != 0 {
            return Err(format!("produce answered {code}").into());
        }
    }
    Ok(())
}

fn versions(context: &mut Context<'_>) -> Outcome {
    let id = context.create_topic("fetch-versions", 2, &[])?;
    let topic = Topic { name: "fetch-versions", id };
    fill(context, topic, 0, 3)?;
    let mut connection = context.connect()?;
    for version in 4..=18 {
        let request = fetch(version, topic, vec![from_offset(0, 0), from_offset(1, 0)]);
        context.ask(format!("v{version}"), &mut connection, version, &request)?;
    }
    Ok(())
}

fn offsets(context: &mut Context<'_>) -> Outcome {
    let id = context.create_topic("fetch-offsets", 1, &[])?;
    let topic = Topic { name: "fetch-offsets", id };
    fill(context, topic, 0, 3)?;
    let mut connection = context.connect()?;
    for offset in [-1, 0, 1, 2, 5, 6, 7, i64::MAX] {
        let request = fetch(13, topic, vec![from_offset(0, offset)]);
        context.ask(format!("offset:{offset}"), &mut connection, 13, &request)?;
    }
    Ok(())
}

fn sizes(context: &mut Context<'_>) -> Outcome {
    let id = context.create_topic("fetch-sizes", 3, &[])?;
    let topic = Topic { name: "fetch-sizes", id };
    for partition in 0..3 {
        fill(context, topic, partition, 4)?;
    }
    let mut connection = context.connect()?;
    for (total, each) in [
        (0, 0),
        (1, 1),
        (100, 1 << 20),
        (250, 1 << 20),
        (1 << 20, 100),
        (1 << 20, 250),
        (300, 150),
        (-1, 100),
        (100, -1),
    ] {
        let partitions = (0..3).map(|partition| from_offset(partition, 2).with_partition_max_bytes(each)).collect();
        let request = fetch(11, topic, partitions).with_max_bytes(total);
        context.ask(format!("total:{total}:each:{each}"), &mut connection, 11, &request)?;
    }
    // An empty partition in front does not use up the rule of the first batch.
    let partitions =
        [(0, 8), (1, 0), (2, 0)].map(|(partition, offset)| from_offset(partition, offset).with_partition_max_bytes(1));
    context.ask("first-is-empty", &mut connection, 11, &fetch(11, topic, partitions.to_vec()).with_max_bytes(1))?;
    let twice = vec![from_offset(0, 0), from_offset(0, 6)];
    context.ask("one-partition-twice", &mut connection, 11, &fetch(11, topic, twice))?;
    Ok(())
}

fn errors_of_every_version(context: &mut Context<'_>) -> Outcome {
    let id = context.create_topic("fetch-errors", 1, &[])?;
    let topic = Topic { name: "fetch-errors", id };
    let unknown = Topic { name: "fetch-unknown", id: Uuid::from_u128(99) };
    let nil = Topic { name: "", id: Uuid::nil() };
    let mut connection = context.connect()?;
    for version in 4..=18 {
        let mut ask = |step: &str, request: FetchRequest| {
            context.ask(format!("v{version}:{step}"), &mut connection, version, &request).map(|_| ())
        };
        ask("unknown-topic", fetch(version, unknown, vec![from_offset(0, 0)]))?;
        ask("empty-name-or-zero-id", fetch(version, nil, vec![from_offset(0, 0)]))?;
        ask("unknown-partition", fetch(version, topic, vec![from_offset(7, 0), from_offset(-1, 0)]))?;
        ask("out-of-range", fetch(version, topic, vec![from_offset(0, 5)]))?;
        ask("isolation-2", fetch(version, topic, vec![from_offset(0, 0)]).with_isolation_level(2))?;
        ask("read-committed-out-of-range", fetch(version, topic, vec![from_offset(0, 5)]).with_isolation_level(1))?;
        ask("read-committed-unknown", fetch(version, unknown, vec![from_offset(0, 5)]).with_isolation_level(1))?;
        ask("no-topics", fetch(version, topic, Vec::new()).with_topics(Vec::new()))?;
        ask("no-partitions", fetch(version, topic, Vec::new()))?;
        if version < 15 {
            ask(
                "as-a-replica-that-is-none",
                fetch(version, topic, vec![from_offset(0, 0)]).with_replica_id(17.into()),
            )?;
        }
    }
    Ok(())
}

fn epochs(context: &mut Context<'_>) -> Outcome {
    let id = context.create_topic("fetch-epochs", 1, &[])?;
    let topic = Topic { name: "fetch-epochs", id };
    fill(context, topic, 0, 2)?;
    let mut connection = context.connect()?;
    for version in [9, 12, 15, 16, 17, 18] {
        for epoch in [-2, -1, 0, 1, 5] {
            let request = fetch(version, topic, vec![from_offset(0, 0).with_current_leader_epoch(epoch)]);
            context.ask(format!("v{version}:current:{epoch}"), &mut connection, version, &request)?;
        }
    }
    for version in [12, 13, 18] {
        for (epoch, offset) in [(-1, 0), (0, 2), (0, 4), (0, 9), (1, 0), (5, 4)] {
            let request = fetch(version, topic, vec![from_offset(0, offset).with_last_fetched_epoch(epoch)]);
            context.ask(format!("v{version}:last-fetched:{epoch}:at:{offset}"), &mut connection, version, &request)?;
        }
    }
    Ok(())
}

fn isolation(context: &mut Context<'_>) -> Outcome {
    let id = context.create_topic("fetch-isolation", 2, &[])?;
    let topic = Topic { name: "fetch-isolation", id };
    fill(context, topic, 0, 2)?;
    let mut connection = context.connect()?;
    for version in [4, 11, 13, 18] {
        for level in [0, 1] {
            let request = fetch(version, topic, vec![from_offset(0, 0), from_offset(1, 0)]).with_isolation_level(level);
            context.ask(format!("v{version}:level:{level}"), &mut connection, version, &request)?;
        }
    }
    Ok(())
}

/// One read stays inside one segment.
fn segments(context: &mut Context<'_>) -> Outcome {
    let id = context.create_topic("fetch-segments", 1, &[("segment.bytes", "1048576")])?;
    let topic = Topic { name: "fetch-segments", id };
    let large = "x".repeat(400_000);
    for _ in 0..6 {
        let batch = Batch::new(A_TIME, &[&large]).encode();
        context.demand(9, &produce(9, 1, topic, &[(0, batch)]))?;
    }
    let mut connection = context.connect()?;
    for offset in 0..6 {
        let request = fetch(11, topic, vec![from_offset(0, offset).with_partition_max_bytes(10 << 20)]);
        context.ask(format!("from:{offset}"), &mut connection, 11, &request)?;
    }
    Ok(())
}

/// A request of a session: (id, epoch) and what it names.
fn in_session(request: FetchRequest, session: (i32, i32)) -> FetchRequest {
    request.with_session_id(session.0).with_session_epoch(session.1)
}

/// Session ids are random: only whether there is one is compared.
fn ask(
    context: &mut Context<'_>,
    connection: &mut Connection,
    step: String,
    version: i16,
    request: &FetchRequest,
) -> Outcome<FetchResponse> {
    context.ask(step, connection, version, request)?.ok_or_else(|| "no answer inside a session".into())
}

fn sessions(context: &mut Context<'_>) -> Outcome {
    let id = context.create_topic("fetch-sessions", 2, &[])?;
    let topic = Topic { name: "fetch-sessions", id };
    fill(context, topic, 0, 2)?;
    let mut connection = context.connect()?;
    for version in [7, 12, 13, 18] {
        let named = || fetch(version, topic, vec![from_offset(0, 0), from_offset(1, 0)]);
        let nothing = || fetch(version, topic, Vec::new()).with_topics(Vec::new());
        let mut step = |name: &str, request: FetchRequest| {
            ask(context, &mut connection, format!("v{version}:{name}"), version, &request)
                .map(|response| response.session_id)
        };
        let session = step("full", in_session(named(), (0, 0)))?;
        step("unknown-id", in_session(nothing(), (session ^ 0x5555, 1)))?;
        step("no-id-with-an-epoch", in_session(nothing(), (0, 1)))?;
        step("epoch-too-high", in_session(nothing(), (session, 3)))?;
        step("epoch-1", in_session(nothing(), (session, 1)))?;
        step("epoch-1-again", in_session(nothing(), (session, 1)))?;
        step("epoch-2", in_session(nothing(), (session, 2)))?;
        let renewed = step("replaced", in_session(named(), (session, 0)))?;
        step("the-replaced-one", in_session(nothing(), (session, 3)))?;
        step("closed", in_session(nothing(), (renewed, -1)))?;
        step("after-the-end", in_session(nothing(), (renewed, 1)))?;
        step("close-an-unknown-one", in_session(nothing(), (renewed ^ 0x5555, -1)))?;
        let empty = step("empty-full", in_session(nothing(), (0, 0)))?;
        step("empty-goes-on", in_session(nothing(), (empty, 1)))?;
    }
    // Names and ids do not mix in one session.
    let by_name = fetch(12, topic, vec![from_offset(0, 0)]);
    let session =
        ask(context, &mut connection, "mixed:by-name".to_owned(), 12, &in_session(by_name, (0, 0)))?.session_id;
    let by_id = fetch(13, topic, vec![from_offset(0, 0)]);
    context.ask("mixed:by-id", &mut connection, 13, &in_session(by_id, (session, 1)))?;
    Ok(())
}

fn session_contents(context: &mut Context<'_>) -> Outcome {
    let id = context.create_topic("fetch-session-contents", 3, &[])?;
    let topic = Topic { name: "fetch-session-contents", id };
    fill(context, topic, 0, 1)?;
    let mut connection = context.connect()?;
    for version in [11, 13] {
        let nothing = || fetch(version, topic, Vec::new()).with_topics(Vec::new());
        let end = if version == 11 { 2 } else { 4 };
        let all = fetch(version, topic, (0..3).map(|partition| from_offset(partition, 0)).collect());
        let mut epoch = 0;
        let mut session = 0;
        let mut step = |context: &mut Context<'_>, name: &str, request: FetchRequest| -> Outcome {
            let request = in_session(request, (session, epoch));
            let response = ask(context, &mut connection, format!("v{version}:{name}"), version, &request)?;
            session = response.session_id;
            epoch += 1;
            Ok(())
        };
        step(context, "full", all)?;
        step(context, "offset-did-not-move", nothing())?;
        step(context, "offset-moved", fetch(version, topic, vec![from_offset(0, end)]))?;
        step(context, "nothing-new", nothing())?;
        fill(context, topic, 1, 1)?;
        step(context, "one-append", nothing())?;
        step(context, "out-of-range", fetch(version, topic, vec![from_offset(2, 50)]))?;
        step(context, "still-out-of-range", nothing())?;
        let forget = |partitions: Vec<i32>| {
            let row = ForgottenTopic::default().with_partitions(partitions);
            vec![if version >= 13 { row.with_topic_id(id) } else { row.with_topic(topic_name(topic.name)) }]
        };
        step(context, "forget-two", nothing().with_forgotten_topics_data(forget(vec![1, 2])))?;
        step(context, "add-one-again", fetch(version, topic, vec![from_offset(2, 0)]))?;
        step(context, "forget-all", nothing().with_forgotten_topics_data(forget(vec![0, 2])))?;
        fill(context, topic, 0, 1)?;
    }
    Ok(())
}

fn waits_for_an_append(context: &mut Context<'_>) -> Outcome {
    let id = context.create_topic("fetch-waits", 2, &[])?;
    let topic = Topic { name: "fetch-waits", id };
    for version in [4, 11, 18] {
        let start = if version == 4 {
            0
        } else if version == 11 {
            2
        } else {
            4
        };
        let mut waiting = context.connect()?;
        // Half an hour: only the append can end it.
        let request = fetch(version, topic, vec![from_offset(0, start), from_offset(1, 0)]).with_max_wait_ms(1_800_000);
        waiting.send(version, &request)?;
        fill(context, topic, 0, 1)?;
        let answer = waiting.receive::<FetchRequest>(version)?;
        let response = answer.response().ok_or("no answer after the append")?;
        context.record(format!("v{version}"), crate::debug_json::to_json(&response.responses));
    }
    // As many bytes as asked for: the first append is not enough.
    let mut waiting = context.connect()?;
    let request = fetch(11, topic, vec![from_offset(0, 6)]).with_max_wait_ms(1_800_000).with_min_bytes(150);
    waiting.send(11, &request)?;
    fill(context, topic, 0, 1)?;
    waiting.set_answer_timeout(Duration::from_millis(50))?;
    let early = waiting.receive_frame()?.to_json();
    context.record("too-few-bytes", early);
    waiting.set_answer_timeout(Duration::from_secs(20))?;
    fill(context, topic, 0, 1)?;
    let response = waiting.receive::<FetchRequest>(11)?.response().ok_or("no answer after the second append")?;
    context.record("enough-bytes", crate::debug_json::to_json(&response.responses));
    Ok(())
}

/// Errors and other reasons not to wait; a wait would end in silence.
fn answers_at_once(context: &mut Context<'_>) -> Outcome {
    let id = context.create_topic("fetch-at-once", 2, &[])?;
    let topic = Topic { name: "fetch-at-once", id };
    fill(context, topic, 0, 1)?;
    let long = |request: FetchRequest| request.with_max_wait_ms(1_800_000);
    let mut connection = context.connect()?;
    for version in [11, 13] {
        let unknown = Topic { name: "fetch-nowhere", id: Uuid::from_u128(5) };
        let mut ask = |step: &str, request: FetchRequest| {
            context.ask(format!("v{version}:{step}"), &mut connection, version, &long(request)).map(|_| ())
        };
        ask("out-of-range", fetch(version, topic, vec![from_offset(1, 5), from_offset(0, 2)]))?;
        ask("unknown-alone", fetch(version, unknown, vec![from_offset(0, 0)]))?;
        ask("fenced", fetch(version, topic, vec![from_offset(1, 0).with_current_leader_epoch(9)]))?;
        ask("no-partitions", fetch(version, topic, Vec::new()).with_topics(Vec::new()))?;
        ask("enough", fetch(version, topic, vec![from_offset(0, 0)]))?;
        ask("min-bytes-zero", fetch(version, topic, vec![from_offset(1, 0)]).with_min_bytes(0))?;
        ask(
            "min-bytes-above-max-bytes",
            fetch(version, topic, vec![from_offset(0, 0)]).with_min_bytes(5000).with_max_bytes(80),
        )?;
    }
    // An unknown topic beside a readable partition does not end the wait.
    let mut waiting = context.connect()?;
    let mut beside = fetch(11, topic, vec![from_offset(1, 0)]).with_max_wait_ms(1_800_000);
    beside.topics.push(fetch_topic(11, Topic { name: "fetch-nowhere", id }, vec![from_offset(0, 0)]));
    waiting.send(11, &beside)?;
    waiting.set_answer_timeout(Duration::from_millis(100))?;
    let early = waiting.receive_frame()?.to_json();
    context.record("unknown-beside-a-readable-one", early);
    fill(context, topic, 1, 1)?;
    waiting.set_answer_timeout(Duration::from_secs(20))?;
    let response = waiting.receive::<FetchRequest>(11)?.response().ok_or("no answer after the append")?;
    context.record("after-the-append", crate::debug_json::to_json(&response.responses));
    Ok(())
}
