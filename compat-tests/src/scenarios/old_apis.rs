//! The other versions that Kafka 4 removed: ListOffsets 0, CreateTopics 0-1, DeleteTopics 0, OffsetForLeaderEpoch 0-1,
//! DescribeConfigs 0, DescribeLogDirs 0, and those of the ACLs.

use kafka_protocol::messages::ApiVersionsRequest;
use serde_json::json;
use uuid::Uuid;

use super::{Scenario, before_4, produce::A_TIME};
use crate::{
    Outcome,
    context::Context,
    raw::{
        Batch,
        fields::Body,
        requests::{self, Topic, list_offsets},
    },
};

pub(crate) const SCENARIOS: &[Scenario] = &[
    before_4("old_apis/api-versions", api_versions),
    before_4("old_apis/list-offsets", list_offsets_0),
    before_4("old_apis/create-topics", create_topics),
    before_4("old_apis/delete-topics", delete_topics),
    before_4("old_apis/offset-for-leader-epoch", offset_for_leader_epoch),
    before_4("old_apis/describe-configs", describe_configs),
    before_4("old_apis/describe-log-dirs", describe_log_dirs),
    before_4("old_apis/acls", acls),
];

/// The lowest version of every API that clients had before 2.1 and that is served.
fn api_versions(context: &mut Context<'_>) -> Outcome {
    const SERVED: [i16; 17] = [0, 1, 2, 3, 10, 18, 19, 20, 21, 22, 23, 29, 30, 31, 32, 33, 35];
    let response = context.demand(0, &ApiVersionsRequest::default())?;
    let served = response.api_keys.iter().filter(|row| SERVED.contains(&row.api_key));
    let lowest: serde_json::Map<_, _> = served.map(|row| (row.api_key.to_string(), json!(row.min_version))).collect();
    context.record("lowest-versions", lowest.into());
    Ok(())
}

fn store(context: &Context<'_>, topic: &str, batch: &Batch) -> Outcome {
    let topic = Topic { name: topic, id: Uuid::nil() };
    context.demand(9, &requests::produce(9, -1, topic, &[(0, batch.encode())])).map(|_| ())
}

fn list_offsets_0(context: &mut Context<'_>) -> Outcome {
    // Three batches, a second apart, make a segment.
    context.create_topic("old-offsets", 2, &[("segment.ms", "2500")])?;
    for number in 0..10 {
        store(context, "old-offsets", &Batch::new(A_TIME + number * 1000, &["x", "y"]))?;
    }
    let mut connection = context.connect()?;
    // What a segment's time is, is the time of its file: every bound below lies far from it.
    for time in [-1, -2, -3, -4, -5, 0, A_TIME, i64::MAX] {
        for most in [0, 1, 2, 3, 4, 100, -1] {
            let body = ask_offsets("old-offsets", &[(0, time, most)]);
            context.ask_by_hand(format!("time:{time}:most:{most}"), &mut connection, (2, 0), body, OFFSETS)?;
        }
    }
    for (step, topic, rows) in [
        ("empty", "old-offsets", &[(1, -1, 5)][..]),
        ("empty-earliest", "old-offsets", &[(1, -2, 5)]),
        ("unknown-partition", "old-offsets", &[(9, -1, 5)]),
        ("unknown-topic", "old-offsets-none", &[(0, -1, 5)]),
        ("invalid-name", "not a name", &[(0, -1, 5)]),
        ("no-partitions", "old-offsets", &[]),
        ("twice", "old-offsets", &[(0, -1, 5), (0, -2, 5)]),
    ] {
        context.ask_by_hand(step, &mut connection, (2, 0), ask_offsets(topic, rows), OFFSETS)?;
    }
    context.ask("end", &mut connection, 1, &list_offsets("old-offsets", &[(0, -1)]))?;
    Ok(())
}

const OFFSETS: &str = "topics[name:str partitions[index:i32 error:i16 offsets[:i64]]]";

/// (partition, time, how many) each.
fn ask_offsets(topic: &str, rows: &[(i32, i64, i32)]) -> Body {
    Body::default().i32(-1).array(&[topic], |body, topic| {
        body.string(topic).array(rows, |body, (partition, time, most)| body.i32(*partition).i64(*time).i32(*most))
    })
}

/// One topic of CreateTopics.
#[derive(Default, Clone)]
struct NewTopic<'a> {
    name: &'a str,
    partitions: i32,
    replication_factor: i16,
    assignments: &'a [(i32, &'a [i32])],
    configs: &'a [(&'a str, Option<&'a str>)],
}

fn create(version: i16, topics: &[NewTopic<'_>], validate_only: bool) -> Body {
    let body = Body::default().array(topics, |body, topic| {
        body.string(topic.name)
            .i32(topic.partitions)
            .i16(topic.replication_factor)
            .array(topic.assignments, |body, (partition, brokers)| {
                body.i32(*partition).array(brokers, |body, broker| body.i32(*broker))
            })
            .array(topic.configs, |body, (name, value)| body.string(name).nullable(*value))
    });
    let body = body.i32(30_000);
    if version >= 1 { body.i8(validate_only.into()) } else { body }
}

fn create_topics(context: &mut Context<'_>) -> Outcome {
    let mut connection = context.connect()?;
    for version in [0, 1] {
        let layout = if version == 0 { "topics[name:str error:i16]" } else { "topics[name:str error:i16 message:str]" };
        let name = |what: &str| format!("old-create-{version}-{what}");
        let plain = |name| NewTopic { name, partitions: 2, replication_factor: 1, ..NewTopic::default() };
        let names = ["plain", "assigned", "configs", "bad-config", "zero", "too-many", "default"].map(name);
        let [plain_name, assigned, configs, bad_config, zero, too_many, default] = names.each_ref().map(String::as_str);
        let cases = [
            ("plain", vec![plain(plain_name)]),
            ("again", vec![plain(plain_name)]),
            ("twice-in-one", vec![plain(zero), plain(zero)]),
            ("invalid-name", vec![plain("not a name")]),
            ("empty-name", vec![plain("")]),
            (
                "assigned",
                vec![NewTopic {
                    name: assigned,
                    partitions: -1,
                    replication_factor: -1,
                    assignments: &[(0, &[1]), (1, &[1])],
                    ..NewTopic::default()
                }],
            ),
            ("assigned-and-counted", vec![NewTopic { assignments: &[(0, &[1])], ..plain(zero) }]),
            (
                "unknown-broker",
                vec![NewTopic { assignments: &[(0, &[7])], partitions: -1, replication_factor: -1, ..plain(zero) }],
            ),
            ("configs", vec![NewTopic { configs: &[("retention.ms", Some("777000"))], ..plain(configs) }]),
            ("bad-config", vec![NewTopic { configs: &[("retention.ms", Some("soon"))], ..plain(bad_config) }]),
            ("null-config", vec![NewTopic { configs: &[("retention.ms", None)], ..plain(bad_config) }]),
            ("unknown-config", vec![NewTopic { configs: &[("no.such", Some("1"))], ..plain(bad_config) }]),
            ("no-partitions", vec![NewTopic { partitions: 0, ..plain(zero) }]),
            ("negative-partitions", vec![NewTopic { partitions: -3, ..plain(zero) }]),
            ("two-replicas", vec![NewTopic { replication_factor: 2, ..plain(too_many) }]),
            ("defaults", vec![NewTopic { partitions: -1, replication_factor: -1, ..plain(default) }]),
            ("no-topics", vec![]),
        ];
        for (step, topics) in cases {
            let body = create(version, &topics, false);
            context.ask_by_hand(format!("v{version}:{step}"), &mut connection, (19, version), body, layout)?;
        }
        if version == 1 {
            let only = create(1, &[plain("old-create-only-checked")], true);
            context.ask_by_hand("v1:only-checked", &mut connection, (19, 1), only, layout)?;
            let again = create(1, &[plain(plain_name)], true);
            context.ask_by_hand("v1:only-checked-again", &mut connection, (19, 1), again, layout)?;
        }
    }
    let names = ["old-create-0-plain", "old-create-1-assigned", "old-create-0-configs", "old-create-only-checked"];
    for name in &names[..3] {
        context.until_ready(name, 2)?;
    }
    context.ask("metadata", &mut connection, 4, &requests::metadata(&names))?;
    Ok(())
}

fn delete_topics(context: &mut Context<'_>) -> Outcome {
    context.create_topic("old-delete-a", 1, &[])?;
    context.create_topic("old-delete-b", 1, &[])?;
    let mut connection = context.connect()?;
    for (step, names) in [
        ("one", &["old-delete-a"][..]),
        ("again", &["old-delete-a"]),
        ("invalid-name", &["not a name"]),
        ("empty-name", &[""]),
        ("good-and-unknown", &["old-delete-b", "old-delete-none"]),
        ("none", &[]),
    ] {
        let body = Body::default().array(names, |body, name| body.string(name)).i32(30_000);
        context.ask_by_hand(step, &mut connection, (20, 0), body, "topics[name:str error:i16]")?;
    }
    Ok(())
}

fn offset_for_leader_epoch(context: &mut Context<'_>) -> Outcome {
    context.create_topic("old-epochs", 2, &[])?;
    store(context, "old-epochs", &Batch::new(A_TIME, &["a", "b"]))?;
    let mut connection = context.connect()?;
    for version in [0, 1] {
        let layout = if version == 0 {
            "topics[name:str partitions[error:i16 index:i32 end_offset:i64]]"
        } else {
            "topics[name:str partitions[error:i16 index:i32 leader_epoch:i32 end_offset:i64]]"
        };
        for (step, topic, rows) in [
            ("epochs", "old-epochs", &[(0, 0)][..]),
            ("newer", "old-epochs", &[(0, 5)]),
            ("negative", "old-epochs", &[(0, -1)]),
            ("empty-partition", "old-epochs", &[(1, 0)]),
            ("unknown-partition", "old-epochs", &[(9, 0)]),
            ("unknown-topic", "old-epochs-none", &[(0, 0)]),
            ("no-partitions", "old-epochs", &[]),
        ] {
            let body = Body::default().array(&[topic], |body, topic| {
                body.string(topic).array(rows, |body, (partition, epoch)| body.i32(*partition).i32(*epoch))
            });
            context.ask_by_hand(format!("v{version}:{step}"), &mut connection, (23, version), body, layout)?;
        }
    }
    Ok(())
}

fn describe_configs(context: &mut Context<'_>) -> Outcome {
    const LAYOUT: &str = "throttle:i32 results[error:i16 message:str type:i8 resource:str configs[name:str value:str \
                          read_only:bool is_default:bool is_sensitive:bool]]";
    context.create_topic("old-configs", 1, &[("retention.ms", "777000"), ("cleanup.policy", "compact")])?;
    let mut connection = context.connect()?;
    let ask = |kind: i8, name: &str, keys: Option<&[&str]>| {
        Body::default().array(&[()], |body, ()| {
            let body = body.i8(kind).string(name);
            match keys {
                Some(keys) => body.array(keys, |body, key| body.string(key)),
                None => body.i32(-1),
            }
        })
    };
    let some_topic_keys = ["retention.ms", "cleanup.policy", "segment.bytes", "max.message.bytes", "no.such"];
    let some_broker_keys =
        ["log.retention.ms", "num.io.threads", "node.id", "ssl.keystore.password", "log.segment.bytes", "no.such"];
    for (step, body) in [
        ("topic", ask(2, "old-configs", Some(&some_topic_keys))),
        ("broker", ask(4, "1", Some(&some_broker_keys))),
        ("other-broker", ask(4, "2", Some(&some_broker_keys))),
        ("cluster-default", ask(4, "", Some(&some_broker_keys))),
        ("unknown-topic", ask(2, "old-configs-none", None)),
        ("invalid-name", ask(2, "not a name", None)),
        ("unknown-type", ask(77, "x", None)),
        ("nothing", Body::default().i32(0)),
    ] {
        context.ask_by_hand(step, &mut connection, (32, 0), body, LAYOUT)?;
    }
    Ok(())
}

fn describe_log_dirs(context: &mut Context<'_>) -> Outcome {
    const LAYOUT: &str = "throttle:i32 results[error:i16 dir:str topics[name:str partitions[index:i32 size:i64 \
                          lag:i64 is_future:bool]]]";
    context.create_topic("old-dirs", 2, &[])?;
    store(context, "old-dirs", &Batch::new(A_TIME, &["a", "b"]))?;
    let mut connection = context.connect()?;
    let ask = |topics: &[(&str, &[i32])]| {
        Body::default().array(topics, |body, (topic, partitions)| {
            body.string(topic).array(partitions, |body, partition| body.i32(*partition))
        })
    };
    for (step, body) in [
        ("one", ask(&[("old-dirs", &[0])])),
        ("two", ask(&[("old-dirs", &[0, 1])])),
        ("unknown", ask(&[("old-dirs", &[0, 9]), ("old-dirs-none", &[0])])),
        ("nothing", ask(&[])),
    ] {
        context.ask_by_hand(step, &mut connection, (35, 0), body, LAYOUT)?;
    }
    Ok(())
}

fn acls(context: &mut Context<'_>) -> Outcome {
    let mut connection = context.connect()?;
    let filter = |body: Body| body.i8(2).nullable(Some("t")).nullable(Some("User:x")).nullable(None).i8(1).i8(1);
    let any = |body: Body| body.i8(1).nullable(None).nullable(None).nullable(None).i8(1).i8(1);
    let described = "throttle:i32 error:i16 message:str resources[type:i8 name:str acls[principal:str host:str operation:i8 permission:i8]]";
    context.ask_by_hand("describe", &mut connection, (29, 0), filter(Body::default()), described)?;
    context.ask_by_hand("describe-any", &mut connection, (29, 0), any(Body::default()), described)?;
    let acl = |body: Body, (): &()| body.i8(2).string("t").string("User:x").string("*").i8(3).i8(3);
    let created = "throttle:i32 results[error:i16 message:str]";
    context.ask_by_hand("create", &mut connection, (30, 0), Body::default().array(&[(), ()], acl), created)?;
    context.ask_by_hand("create-none", &mut connection, (30, 0), Body::default().i32(0), created)?;
    let deleted = "throttle:i32 results[error:i16 message:str matching[error:i16 message:str type:i8 name:str \
                   principal:str host:str operation:i8 permission:i8]]";
    let filters = Body::default().array(&[()], |body, ()| filter(body));
    context.ask_by_hand("delete", &mut connection, (31, 0), filters, deleted)?;
    context.ask_by_hand("delete-none", &mut connection, (31, 0), Body::default().i32(0), deleted)?;
    Ok(())
}
