//! Configuration: what is valid, what is in force, what changes. Texts and values are those of a running Kafka 4.3.1.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_protocol::messages::alter_configs_request;
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::{AlterConfigsRequest, IncrementalAlterConfigsRequest};
use milena_metadata::image::ConfigMap;
use milena_metadata::topic_config::{self, ConfigSource, Layers, TOPIC_CONFIGS, TopicConfigs};
use milena_metadata::{Operation, Record, Response};

use crate::support::{Cluster, text};
use crate::topics::{create, new_topic};

fn map(pairs: &[(&str, &str)]) -> ConfigMap {
    pairs.iter().map(|(key, value)| (Arc::<str>::from(*key), Arc::<str>::from(*value))).collect()
}

fn check_valid(key: &str, value: &str, shown: &str) {
    let topic = map(&[(key, value)]);
    assert_eq!(topic_config::validate(&topic), Ok(()), "{key}={value}");
    let def = topic_config::definition(key).unwrap();
    assert_eq!(def.parse(value).unwrap().to_string(), shown, "{key}={value}");
}

fn check_invalid(pairs: &[(&str, &str)], message: &str) {
    let error = topic_config::validate(&map(pairs)).unwrap_err();
    assert_eq!(error.to_string(), message);
}

#[test]
fn values_are_parsed_as_kafka_parses_them() {
    check_valid("retention.ms", " 5 ", "5");
    check_valid("retention.ms", "+5", "5");
    check_valid("retention.ms", "-1", "-1");
    check_valid("cleanup.policy", "", "");
    check_valid("cleanup.policy", "delete,delete", "delete");
    check_valid("cleanup.policy", " compact , delete ", "compact,delete");
    check_valid("compression.type", " gzip ", "gzip");
    check_valid("min.cleanable.dirty.ratio", "NaN", "NaN");
    check_valid("min.cleanable.dirty.ratio", "0.3f", "0.3");
    check_valid("min.cleanable.dirty.ratio", "1e-5", "1.0E-5");
    check_valid("min.cleanable.dirty.ratio", ".5", "0.5");
    check_valid("min.cleanable.dirty.ratio", "1", "1.0");
    check_valid("preallocate", "TRUE", "true");
    check_valid("leader.replication.throttled.replicas", "*", "*");
    check_valid("leader.replication.throttled.replicas", "0:1,0:1", "0:1,0:1");
    check_valid("leader.replication.throttled.replicas", "", "");
    check_valid("internal.segment.bytes", "3", "3");
    check_valid("local.retention.ms", "5", "5");
    check_valid("remote.log.copy.disable", "true", "true");
}

#[test]
fn values_are_refused_in_kafkas_words() {
    let check = |key: &str, value: &str, message: &str| {
        check_invalid(&[(key, value)], &format!("Invalid value {value} for configuration {key}: {message}"));
    };
    check("retention.ms", "x", "Not a number of type LONG");
    check("retention.ms", "", "Not a number of type LONG");
    check("retention.ms", "99999999999999999999", "Not a number of type LONG");
    check("retention.ms", "-2", "Value must be at least -1");
    check("segment.bytes", "5.0", "Not a number of type INT");
    check("segment.bytes", "1", "Value must be at least 1048576");
    check("cleanup.policy", "foo", "String must be one of: compact, delete");
    check("compression.type", "foo", "String must be one of: uncompressed, zstd, lz4, snappy, gzip, producer");
    check("compression.gzip.level", "0", "Value must be between 1 and 9 or equal to -1");
    check("compression.lz4.level", "18", "Value must be no more than 17");
    check("compression.zstd.level", "-131073", "Value must be at least -131072");
    check("min.cleanable.dirty.ratio", "x", "Not a number of type DOUBLE");
    check("preallocate", "yes", "Expected value to be either true or false");
    check("message.timestamp.type", "x", "String must be one of: CreateTime, LogAppendTime");
    let ratio = "Invalid value 2.0 for configuration min.cleanable.dirty.ratio: Value must be no more than 1";
    check_invalid(&[("min.cleanable.dirty.ratio", "2")], ratio);
    check_invalid(&[("cleanup.policy", "delete,")], "Configuration 'cleanup.policy' values must not be empty.");
    for value in ["x", "*, 0:1", "0:a", "1:2:3", "-1:2"] {
        let key = "leader.replication.throttled.replicas";
        let message = format!(
            "Invalid value [{value}] for configuration {key}: {key} must be the literal '*' or a list of replicas in \
             the following format: [partitionId]:[brokerId],[partitionId]:[brokerId],..."
        );
        check_invalid(&[(key, value)], &message);
    }
}

#[test]
fn names_are_checked_first_then_values_then_what_they_say_together() {
    check_invalid(&[("retention.ms", "x"), ("unknown", "y")], "Unknown topic config name: unknown");
    check_invalid(
        &[("retention.ms", "-5"), ("segment.bytes", "y")],
        "Invalid value y for configuration segment.bytes: Not a number of type INT",
    );
    check_invalid(
        &[("min.compaction.lag.ms", "10"), ("max.compaction.lag.ms", "5")],
        "conflict topic config setting min.compaction.lag.ms (10) > max.compaction.lag.ms (5)",
    );
    check_invalid(
        &[("remote.storage.enable", "true")],
        "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage.",
    );
}

#[test]
fn definitions_are_sorted_and_their_defaults_are_valid() {
    assert_eq!(TOPIC_CONFIGS.len(), 33);
    assert!(TOPIC_CONFIGS.is_sorted_by_key(|def| def.name));
    for def in TOPIC_CONFIGS {
        assert_eq!(def.parse(def.default.unwrap()).unwrap().to_string(), def.default.unwrap(), "{}", def.name);
    }
}

struct Inherited {
    broker: ConfigMap,
    default: ConfigMap,
    file: BTreeMap<String, String>,
}

impl Inherited {
    fn new(broker: &[(&str, &str)], default: &[(&str, &str)], file: &[(&str, &str)]) -> Self {
        let file = file.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Inherited { broker: map(broker), default: map(default), file }
    }

    fn layers(&self) -> Layers<'_> {
        Layers { dynamic_broker: &self.broker, dynamic_default: &self.default, static_config: &self.file }
    }

    fn check(
        &self,
        topic: &[(&str, &str)],
        key: &str,
        value: &str,
        source: ConfigSource,
        synonyms: &[(&str, &str, i8)],
    ) {
        let topic = map(topic);
        let described = topic_config::describe(&topic, &self.layers());
        let config = described.iter().find(|config| config.definition.name == key).unwrap();
        assert_eq!((config.value.as_str(), config.source), (value, source), "{key}");
        let found: Vec<_> =
            config.synonyms.iter().map(|(name, value, source)| (&**name, &**value, source.id())).collect();
        assert_eq!(found, synonyms, "{key}");
        assert_eq!(TopicConfigs::new(&topic, &self.layers()).get(key).unwrap().to_string(), value);
    }
}

#[test]
fn a_topic_inherits_in_kafkas_order() {
    let factory = Inherited::new(&[], &[("min.insync.replicas", "1")], &[]);
    let default = ConfigSource::DefaultConfig;
    factory.check(&[], "retention.ms", "604800000", default, &[]);
    factory.check(&[], "segment.ms", "604800000", default, &[]);
    factory.check(&[], "flush.ms", "9223372036854775807", default, &[]);
    factory.check(&[], "cleanup.policy", "delete", default, &[("log.cleanup.policy", "delete", 5)]);
    factory.check(
        &[],
        "min.insync.replicas",
        "1",
        ConfigSource::DynamicDefaultBrokerConfig,
        &[("min.insync.replicas", "1", 3), ("min.insync.replicas", "1", 5)],
    );
    let layered =
        Inherited::new(&[("log.retention.ms", "8000")], &[("log.retention.ms", " 7000 ")], &[("num.partitions", "3")]);
    let synonyms = [
        ("retention.ms", "7", 1),
        ("log.retention.ms", "8000", 2),
        ("log.retention.ms", " 7000 ", 3),
        ("log.retention.hours", "168", 5),
    ];
    layered.check(&[("retention.ms", " 7 ")], "retention.ms", "7", ConfigSource::DynamicTopicConfig, &synonyms);
    layered.check(&[], "retention.ms", "8000", ConfigSource::DynamicBrokerConfig, &synonyms[1..]);
    let by_hours = Inherited::new(&[], &[], &[("log.retention.hours", "2"), ("log.retention.minutes", "90")]);
    by_hours.check(&[], "retention.ms", "5400000", default, &[]);
}

#[test]
fn creation_answers_the_source_of_converted_values() {
    let inherited = Inherited::new(&[], &[], &[("log.retention.hours", "2")]);
    let resolved = topic_config::resolve(&map(&[]), &inherited.layers());
    let retention = resolved.iter().find(|config| config.name == "retention.ms").unwrap();
    assert_eq!((retention.value.as_str(), retention.source), ("7200000", ConfigSource::StaticBrokerConfig));
    assert_eq!(resolved.len(), 33);
}

#[test]
fn an_internal_key_is_described_only_when_it_is_set() {
    let inherited = Inherited::new(&[], &[], &[]);
    assert_eq!(topic_config::describe(&map(&[]), &inherited.layers()).len(), 33);
    let described = topic_config::describe(&map(&[("internal.segment.bytes", "5")]), &inherited.layers());
    assert_eq!(described.len(), 34);
}

type Change<'a> = (&'a str, i8, Option<&'a str>);

fn resource(kind: i8, name: &str, changes: &[Change<'_>]) -> AlterConfigsResource {
    let config = |(key, operation, value): &Change<'_>| {
        AlterableConfig::default().with_name(text(key)).with_config_operation(*operation).with_value(value.map(text))
    };
    AlterConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(name))
        .with_configs(changes.iter().map(config).collect())
}

fn alter(cluster: &mut Cluster, resources: Vec<AlterConfigsResource>) -> Vec<(i16, Option<String>)> {
    let request = IncrementalAlterConfigsRequest::default().with_resources(resources);
    match cluster.run(Operation::IncrementalAlterConfigs { version: 1, request }).response {
        Response::IncrementalAlterConfigs(response) => response
            .responses
            .into_iter()
            .map(|row| (row.error_code, row.error_message.map(|message| message.to_string())))
            .collect(),
        other => panic!("{other:?}"),
    }
}

fn cluster() -> Cluster {
    let mut cluster = Cluster::with_brokers(1);
    create(&mut cluster, vec![new_topic("t", 1, 1)]);
    cluster
}

fn check_refused(resource: AlterConfigsResource, code: i16, message: Option<&str>) {
    let mut cluster = cluster();
    let before = cluster.image.configs.clone();
    assert_eq!(alter(&mut cluster, vec![resource]), [(code, message.map(str::to_owned))]);
    assert_eq!(cluster.image.configs, before);
}

#[test]
fn refuses_changes_that_kafka_refuses() {
    let check = |changes: &[Change<'_>], code, message| check_refused(resource(2, "t", changes), code, message);
    let bad = Some("Invalid value x for configuration retention.ms: Not a number of type LONG");
    check(&[("segment.ms", 0, Some("5")), ("retention.ms", 0, Some("x"))], 40, bad);
    check(&[("unk", 0, Some("x"))], 40, Some("Unknown topic config name: unk"));
    check(&[("unk", 1, None)], 0, None);
    check(&[("unk", 2, Some("x"))], 40, Some("Can't APPEND to key unk because its type is not LIST."));
    let subtract = Some("Can't SUBTRACT to key retention.ms because its type is not LIST.");
    check(&[("retention.ms", 3, Some("5"))], 40, subtract);
    check(&[("x", 0, None), ("y", 0, None)], 42, Some("Null value not supported for : x, y"));
    check(&[("retention.ms", 4, Some("5"))], -1, None);
    let twice = [("retention.ms", 0, Some("5")), ("retention.ms", 0, Some("5"))];
    check(&twice, 42, Some("Error due to duplicate config keys"));
    check_refused(resource(2, "nope", &[]), 3, Some("The topic 'nope' does not exist."));
    check_refused(resource(2, "nope", &[("x", 0, Some("1"))]), 40, Some("Unknown topic config name: x"));
    check_refused(resource(2, "", &[]), 42, Some("Default topic resources are not allowed."));
    check_refused(resource(99, "x", &[]), 42, Some("Unknown resource type 99"));
    check_refused(resource(32, "", &[]), 42, Some("Default group resources are not allowed."));
    let broker_level = Some("Broker-level min.insync.replicas cannot be altered while ELR is enabled.");
    check_refused(resource(4, "1", &[("min.insync.replicas", 0, Some("1"))]), 40, broker_level);
    check_refused(resource(4, "1", &[("min.insync.replicas", 1, None)]), 40, broker_level);
    let cluster_level = Some("Cluster-level min.insync.replicas cannot be removed while ELR is enabled.");
    check_refused(resource(4, "", &[("min.insync.replicas", 1, None)]), 40, cluster_level);
}

#[test]
fn refuses_a_resource_that_comes_twice_in_each_of_its_rows() {
    let mut cluster = cluster();
    let twice = (42, Some("Each resource must appear at most once.".to_owned()));
    let rows = alter(&mut cluster, vec![resource(2, "t", &[]), resource(2, "t", &[]), resource(4, "", &[])]);
    assert_eq!(rows, [twice.clone(), twice, (0, None)]);
}

#[test]
fn lists_are_extended_and_shortened_from_the_default() {
    let mut cluster = cluster();
    let steps = [
        (2, "compact", "delete,compact"),
        (2, "compact,compact", "delete,compact"),
        (3, "delete", "compact"),
        (3, "compact", ""),
    ];
    for (operation, given, expected) in steps {
        let rows = alter(&mut cluster, vec![resource(2, "t", &[("cleanup.policy", operation, Some(given))])]);
        assert_eq!(rows, [(0, None)]);
        assert_eq!(&*cluster.image.configs.topic("t")["cleanup.policy"], expected);
    }
    alter(&mut cluster, vec![resource(2, "t", &[("cleanup.policy", 2, Some(" compact , delete"))])]);
    let image = &cluster.image;
    let layers = Layers {
        dynamic_broker: image.configs.broker(1),
        dynamic_default: image.configs.default_broker(),
        static_config: &cluster.static_config,
    };
    let configs = TopicConfigs::new(image.configs.topic("t"), &layers);
    assert_eq!(configs.list("cleanup.policy"), ["compact", "delete"]);
    alter(&mut cluster, vec![resource(4, "", &[("log.cleanup.policy", 2, Some("compact"))])]);
    assert_eq!(&*cluster.image.configs.default_broker()["log.cleanup.policy"], "delete,compact");
}

#[test]
fn a_topics_unchanged_value_makes_no_record_and_a_brokers_does() {
    let mut cluster = cluster();
    let set = |kind, name: &str, key: &str| {
        let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource(
            kind,
            name,
            &[(key, 0, Some("5"))],
        )]);
        Operation::IncrementalAlterConfigs { version: 1, request }
    };
    assert_eq!(cluster.run(set(2, "t", "retention.ms")).records.len(), 1);
    assert_eq!(cluster.run(set(2, "t", "retention.ms")).records.len(), 0);
    assert_eq!(cluster.run(set(4, "1", "log.retention.ms")).records.len(), 1);
    assert_eq!(cluster.run(set(4, "1", "log.retention.ms")).records.len(), 1);
}

#[test]
fn a_new_min_insync_replicas_clears_who_was_eligible() {
    let mut cluster = cluster();
    cluster.stop_broker(1);
    assert_eq!(cluster.topic("t").partitions[&0].elr, [1]);
    let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource(
        4,
        "",
        &[("min.insync.replicas", 0, Some("2"))],
    )]);
    let decision = cluster.run(Operation::IncrementalAlterConfigs { version: 1, request });
    assert!(matches!(decision.records.last(), Some(Record::ClearElr(record)) if record.topic_name.is_empty()));
    assert!(cluster.topic("t").partitions[&0].elr.is_empty());
}

#[test]
fn the_older_request_replaces_everything() {
    let mut cluster = cluster();
    let replace = |cluster: &mut Cluster, kind: i8, name: &str, configs: &[(&str, Option<&str>)]| {
        let config = |(key, value): &(&str, Option<&str>)| {
            alter_configs_request::AlterableConfig::default().with_name(text(key)).with_value(value.map(text))
        };
        let request = AlterConfigsRequest::default().with_resources(vec![
            alter_configs_request::AlterConfigsResource::default()
                .with_resource_type(kind)
                .with_resource_name(text(name))
                .with_configs(configs.iter().map(config).collect()),
        ]);
        match cluster.run(Operation::AlterConfigs { version: 2, request }).response {
            Response::AlterConfigs(response) => response.responses[0].error_code,
            other => panic!("{other:?}"),
        }
    };
    alter(&mut cluster, vec![resource(2, "t", &[("retention.ms", 0, Some("5")), ("segment.ms", 0, Some("5"))])]);
    assert_eq!(replace(&mut cluster, 2, "t", &[("retention.ms", Some("9"))]), 0);
    let left: Vec<_> = cluster.image.configs.topic("t").iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(left, ["retention.ms=9"]);
    assert_eq!(replace(&mut cluster, 2, "t", &[("retention.ms", None)]), 42);
    assert_eq!(replace(&mut cluster, 2, "t", &[("unk", Some("x"))]), 40);
    assert_eq!(replace(&mut cluster, 2, "nope", &[]), 3);
    assert_eq!(replace(&mut cluster, 4, "", &[]), 40);
    assert_eq!(replace(&mut cluster, 4, "", &[("min.insync.replicas", Some("1"))]), 0);
    assert_eq!(replace(&mut cluster, 2, "t", &[]), 0);
    assert!(cluster.image.configs.topic("t").is_empty());
}
