//! Creating, deleting and growing topics. The texts and the order of checks are those of a running Kafka 4.3.1.

use std::sync::Arc;

use kafka_protocol::messages::create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsTopic};
use kafka_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::{
    BrokerId, CreatePartitionsRequest, CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest,
};
use kafka_protocol::protocol::Encodable;
use milena_metadata::decide::AutoCreateTopics;
use milena_metadata::{Operation, Response};
use uuid::Uuid;

use crate::support::{Cluster, directory, text, topic_name};

pub(crate) fn new_topic(name: &str, num_partitions: i32, replication_factor: i16) -> CreatableTopic {
    CreatableTopic::default()
        .with_name(topic_name(name))
        .with_num_partitions(num_partitions)
        .with_replication_factor(replication_factor)
}

fn with_configs(topic: CreatableTopic, configs: &[(&str, Option<&str>)]) -> CreatableTopic {
    let config = |(key, value): &(&str, Option<&str>)| {
        CreatableTopicConfig::default().with_name(text(key)).with_value(value.map(text))
    };
    topic.with_configs(configs.iter().map(config).collect())
}

fn assigned(name: &str, assignments: &[(i32, &[i32])]) -> CreatableTopic {
    let assignment = |(index, brokers): &(i32, &[i32])| {
        CreatableReplicaAssignment::default()
            .with_partition_index(*index)
            .with_broker_ids(brokers.iter().map(|id| BrokerId(*id)).collect())
    };
    new_topic(name, -1, -1).with_assignments(assignments.iter().map(assignment).collect())
}

fn request(topics: Vec<CreatableTopic>) -> CreateTopicsRequest {
    CreateTopicsRequest::default().with_topics(topics).with_timeout_ms(1000)
}

pub(crate) fn create(cluster: &mut Cluster, topics: Vec<CreatableTopic>) -> CreateTopicsResponse {
    let decision = cluster.run(Operation::CreateTopics { version: 7, request: request(topics) });
    match decision.response {
        Response::CreateTopics(response) => response,
        other => panic!("{other:?}"),
    }
}

fn outcome(row: &CreatableTopicResult) -> (&str, i16, Option<&str>) {
    (row.name.as_str(), row.error_code, row.error_message.as_deref())
}

fn check_refused(topic: CreatableTopic, code: i16, message: &str) {
    let mut cluster = Cluster::with_brokers(1);
    create(&mut cluster, vec![new_topic("t", 1, 1), new_topic("b.c", 2, 1)]);
    let before = cluster.image.topics.clone();
    let name = topic.name.to_string();
    let response = create(&mut cluster, vec![topic]);
    assert_eq!(response.topics.len(), 1);
    let row = &response.topics[0];
    assert_eq!(outcome(row), (name.as_str(), code, Some(message)));
    assert_eq!((row.topic_id, row.num_partitions, row.replication_factor), (Uuid::nil(), -1, -1));
    assert_eq!(row.configs.as_deref(), Some(&[][..]));
    assert_eq!(cluster.image.topics, before);
}

#[test]
fn refuses_what_kafka_refuses_with_its_words() {
    check_refused(new_topic("", 1, 1), 17, "Topic name is invalid: the empty string is not allowed");
    check_refused(new_topic("..", 1, 1), 17, "Topic name is invalid: '..' is not allowed");
    check_refused(
        new_topic("bad name", 2, 1),
        17,
        "Topic name is invalid: 'bad name' contains one or more characters other than ASCII alphanumerics, '.', '_' \
         and '-'",
    );
    check_refused(new_topic("t", 0, 1), 36, "Topic 't' already exists.");
    check_refused(new_topic("b_c", 1, 1), 17, "Topic 'b_c' collides with existing topic: b.c");
    check_refused(
        new_topic("__cluster_metadata", 1, 1),
        42,
        "Creation of internal topic __cluster_metadata is prohibited.",
    );
    let with_config = |key, value| with_configs(new_topic("c", 0, 0), &[(key, value)]);
    check_refused(with_config("x", Some("1")), 40, "Unknown topic config name: x");
    check_refused(with_config("retention.ms", None), 40, "Null value not supported for topic configs: retention.ms");
    check_refused(
        with_config("retention.ms", Some("x")),
        40,
        "Invalid value x for configuration retention.ms: Not a number of type LONG",
    );
    check_refused(
        new_topic("c", 0, 0),
        38,
        "Replication factor must be larger than 0, or -1 to use the default value.",
    );
    check_refused(new_topic("c", 0, 1), 37, "Number of partitions was set to an invalid non-positive value.");
    check_refused(
        new_topic("c", 1, 2),
        38,
        "Unable to replicate the partition 2 time(s): The target replication factor of 2 cannot be reached because \
         only 1 broker(s) are registered or some brokers have all their log directories cordoned.",
    );
}

#[test]
fn refuses_assignments_that_kafka_refuses() {
    check_refused(
        assigned("c", &[(0, &[1])]).with_replication_factor(1).with_num_partitions(1),
        42,
        "A manual partition assignment was specified, but replication factor was not set to -1.",
    );
    check_refused(
        assigned("c", &[(0, &[1])]).with_num_partitions(1),
        42,
        "A manual partition assignment was specified, but numPartitions was not set to -1.",
    );
    let check = |assignments: &[(i32, &[i32])], message: &str| check_refused(assigned("c", assignments), 39, message);
    check(&[(0, &[2])], "The manual partition assignment includes broker 2, but no such broker is registered.");
    check(&[(1, &[1])], "partitions should be a consecutive 0-based integer sequence");
    check(&[(0, &[])], "The manual partition assignment includes an empty replica list.");
    check(&[(0, &[1, 1])], "The manual partition assignment includes the broker 1 more than once.");
    check(&[(0, &[1]), (0, &[1])], "Found multiple manual partition assignments for partition 0");
    check(&[(-1, &[1]), (0, &[1])], "partitions should be a consecutive 0-based integer sequence");
}

#[test]
fn answers_a_duplicate_once_and_last() {
    let mut cluster = Cluster::with_brokers(1);
    let response = create(&mut cluster, vec![new_topic("a", 1, 1), new_topic("a", 1, 1), new_topic("b", 1, 1)]);
    let rows: Vec<_> = response.topics.iter().map(outcome).collect();
    assert_eq!(rows, [("b", 0, None), ("a", 42, Some("Duplicate topic name."))]);
    assert!(cluster.image.topics.by_name("a").is_none());
}

#[test]
fn refuses_more_records_than_one_request_may_make() {
    let check = |topics: Vec<(i32, usize)>, expected: Option<&str>| {
        let cluster = Cluster::with_brokers(1);
        let keys = [("retention.ms", Some("1")), ("segment.ms", Some("1"))];
        let topics: Vec<_> = (0..)
            .zip(topics)
            .map(|(index, (count, configs))| with_configs(new_topic(&format!("e{index}"), count, 1), &keys[..configs]))
            .collect();
        let count = topics.len();
        let decision =
            cluster.decide(Operation::CreateTopics { version: 4, request: request(topics).with_validate_only(true) });
        let Response::CreateTopics(response) = decision.response else { panic!("not CreateTopics") };
        let code = if expected.is_some() { 44 } else { 0 };
        assert_eq!(response.topics.len(), count);
        for row in &response.topics {
            assert_eq!((row.error_code, row.error_message.as_deref()), (code, expected));
        }
        assert!(decision.records.is_empty());
    };
    let batch = Some("Unable to perform excessively large batch operation.");
    let partitions = Some("Excessively large number of partitions per request.");
    check(vec![(9999, 0)], None);
    check(vec![(9997, 2)], None);
    check(vec![(9998, 2)], batch);
    check(vec![(10_000, 0)], batch);
    check(vec![(10_001, 0)], partitions);
    check(vec![(5000, 0), (4998, 0)], None);
    check(vec![(5000, 0), (4999, 0)], batch);
    check(vec![(5000, 0), (5001, 0)], partitions);
}

#[test]
fn a_timeout_that_is_over_creates_nothing() {
    let mut cluster = Cluster::with_brokers(1);
    let request = request(vec![new_topic("a", 1, 1), new_topic("", 1, 1)]).with_timeout_ms(0);
    let decision = cluster.run(Operation::CreateTopics { version: 7, request });
    let Response::CreateTopics(response) = decision.response else { panic!("not CreateTopics") };
    let rows: Vec<_> = response.topics.iter().map(outcome).collect();
    assert_eq!(rows, [("a", 7, None), ("", 7, None)]);
    assert!(decision.records.is_empty());
}

#[test]
fn a_created_topic_is_led_and_described() {
    let mut cluster = Cluster::with_brokers(1);
    let topic = with_configs(new_topic("logs", -1, -1), &[("retention.ms", Some("x")), ("retention.ms", Some("5000"))]);
    let response = create(&mut cluster, vec![topic]);
    let row = &response.topics[0];
    assert_eq!((row.error_code, row.num_partitions, row.replication_factor), (0, 1, 1));
    let image = cluster.topic("logs");
    assert_eq!(image.id, row.topic_id);
    let partition = &image.partitions[&0];
    assert_eq!((partition.leader, partition.leader_epoch, partition.partition_epoch), (1, 0, 0));
    assert_eq!((&*partition.isr, &*partition.directories), (&[1][..], &[directory(1)][..]));
    let configs: Vec<_> = row.configs.as_ref().unwrap().iter().collect();
    assert_eq!(configs.len(), 33);
    let source = |key: &str| {
        let config = configs.iter().find(|config| config.name.as_str() == key).unwrap();
        (config.value.as_deref().unwrap().to_owned(), config.config_source)
    };
    assert_eq!(source("retention.ms"), ("5000".to_owned(), 1));
    assert_eq!(source("min.insync.replicas"), ("1".to_owned(), 3));
    assert_eq!(source("segment.bytes"), ("1073741824".to_owned(), 5));
}

#[test]
fn answers_fit_every_version() {
    for version in 2..=7 {
        let cluster = Cluster::with_brokers(1);
        let topics = vec![new_topic("a", 1, 1), new_topic("", 1, 1)];
        let decision = cluster.decide(Operation::CreateTopics { version, request: request(topics) });
        let Response::CreateTopics(response) = decision.response else { panic!("not CreateTopics") };
        response.encode(&mut bytes::BytesMut::new(), version).unwrap();
    }
    for version in 1..=6 {
        let cluster = Cluster::with_brokers(1);
        let request = DeleteTopicsRequest::default()
            .with_timeout_ms(1)
            .with_topic_names(vec![topic_name("a")])
            .with_topics(vec![DeleteTopicState::default().with_name(Some(topic_name("a")))]);
        let decision = cluster.decide(Operation::DeleteTopics { version, request });
        let Response::DeleteTopics(response) = decision.response else { panic!("not DeleteTopics") };
        assert_eq!(response.responses[0].error_code, 3);
        response.encode(&mut bytes::BytesMut::new(), version).unwrap();
    }
}

#[test]
fn the_same_seed_makes_the_same_topic() {
    let cluster = Cluster::with_brokers(3);
    let operation = || Operation::CreateTopics { version: 7, request: request(vec![new_topic("a", 12, 2)]) };
    assert_eq!(cluster.decide(operation()), cluster.decide(operation()));
}

#[test]
fn leaders_are_spread_over_all_brokers() {
    let mut cluster = Cluster::with_brokers(3);
    create(&mut cluster, vec![new_topic("a", 12, 2)]);
    for id in 1..=3 {
        let topic = cluster.topic("a");
        let led = topic.partitions.values().filter(|partition| partition.leader == id).count();
        assert_eq!(led, 4, "broker {id}");
    }
}

type Wanted<'a> = (Option<&'a str>, u128);

fn check_deleted(wanted: &[Wanted<'_>], expected: &[(Option<&str>, i16, Option<&str>)]) -> Cluster {
    let mut cluster = Cluster::with_brokers(1);
    create(&mut cluster, vec![new_topic("a", 1, 1), new_topic("b", 1, 1)]);
    let id_of_a = cluster.topic("a").id;
    let state = |(name, id): &Wanted<'_>| {
        let id = if *id == u128::MAX { id_of_a } else { Uuid::from_u128(*id) };
        DeleteTopicState::default().with_name(name.map(topic_name)).with_topic_id(id)
    };
    let request = DeleteTopicsRequest::default().with_topics(wanted.iter().map(state).collect()).with_timeout_ms(1000);
    let decision = cluster.run(Operation::DeleteTopics { version: 6, request });
    let Response::DeleteTopics(response) = decision.response else { panic!("not DeleteTopics") };
    let rows: Vec<_> = response
        .responses
        .iter()
        .map(|row| (row.name.as_ref().map(|name| name.as_str()), row.error_code, row.error_message.as_deref()))
        .collect();
    assert_eq!(rows, expected);
    cluster
}

#[test]
fn deletes_by_name_and_by_id() {
    let cluster = check_deleted(&[(None, u128::MAX), (Some("b"), 0)], &[(Some("a"), 0, None), (Some("b"), 0, None)]);
    assert!(cluster.image.topics.is_empty());
}

#[test]
fn refuses_deletions_that_kafka_refuses() {
    let unknown = Some("This server does not host this topic-partition.");
    check_deleted(&[(Some("nope"), 0)], &[(Some("nope"), 3, unknown)]);
    check_deleted(&[(Some("bad name"), 0)], &[(Some("bad name"), 3, unknown)]);
    check_deleted(&[(None, 9)], &[(None, 100, Some("This server does not host this topic ID."))]);
    check_deleted(&[(None, 0)], &[(None, 42, Some("Neither topic name nor id were specified."))]);
    let both = Some("You may not specify both topic name and topic id.");
    check_deleted(&[(Some("a"), 9)], &[(Some("a"), 42, both)]);
    check_deleted(&[(Some("a"), 0), (Some("a"), 0)], &[(Some("a"), 42, Some("Duplicate topic name."))]);
    check_deleted(&[(None, 9), (None, 9)], &[(None, 42, Some("Duplicate topic id."))]);
    let supplied = Some("The provided topic name maps to an ID that was already supplied.");
    let cluster = check_deleted(&[(Some("a"), 0), (None, u128::MAX)], &[(Some("a"), 42, supplied)]);
    assert_eq!(cluster.image.topics.len(), 2);
}

#[test]
fn deleting_can_be_switched_off() {
    for (version, code) in [(2, 42), (3, 73), (6, 73)] {
        let mut cluster = Cluster::with_brokers(1);
        cluster.static_config.insert("delete.topic.enable".to_owned(), "false".to_owned());
        let request = DeleteTopicsRequest::default()
            .with_topic_names(vec![topic_name("nope")])
            .with_topics(vec![DeleteTopicState::default().with_name(Some(topic_name("nope")))]);
        let decision = cluster.decide(Operation::DeleteTopics { version, request });
        let Response::DeleteTopics(response) = decision.response else { panic!("not DeleteTopics") };
        assert_eq!(response.responses[0].error_code, code);
    }
}

#[test]
fn a_deleted_topic_takes_its_configuration_along_and_frees_its_name() {
    let mut cluster = Cluster::with_brokers(1);
    let configured = || with_configs(new_topic("a", 1, 1), &[("retention.ms", Some("5"))]);
    create(&mut cluster, vec![configured()]);
    let first = cluster.topic("a").id;
    let request = DeleteTopicsRequest::default().with_topic_names(vec![topic_name("a")]).with_timeout_ms(1);
    cluster.run(Operation::DeleteTopics { version: 5, request });
    assert!(cluster.image.configs.topic("a").is_empty());
    create(&mut cluster, vec![new_topic("a", 1, 1)]);
    assert_ne!(cluster.topic("a").id, first);
}

fn grow(name: &str, count: i32, assignments: Option<&[&[i32]]>) -> CreatePartitionsTopic {
    let assignment = |brokers: &&[i32]| {
        CreatePartitionsAssignment::default().with_broker_ids(brokers.iter().map(|id| BrokerId(*id)).collect())
    };
    CreatePartitionsTopic::default()
        .with_name(topic_name(name))
        .with_count(count)
        .with_assignments(assignments.map(|brokers| brokers.iter().map(assignment).collect()))
}

fn check_grown(topics: Vec<CreatePartitionsTopic>, expected: &[(i16, Option<&str>)]) -> Cluster {
    let mut cluster = Cluster::with_brokers(1);
    create(&mut cluster, vec![new_topic("t", 1, 1)]);
    let request = CreatePartitionsRequest::default().with_topics(topics).with_timeout_ms(1000);
    let decision = cluster.run(Operation::CreatePartitions { version: 3, request });
    let Response::CreatePartitions(response) = decision.response else { panic!("not CreatePartitions") };
    let rows: Vec<_> = response.results.iter().map(|row| (row.error_code, row.error_message.as_deref())).collect();
    assert_eq!(rows, expected);
    cluster
}

#[test]
fn a_topic_grows_and_keeps_its_replication_factor() {
    let cluster = check_grown(vec![grow("t", 3, None)], &[(0, None)]);
    let topic = cluster.topic("t");
    assert_eq!(topic.partition_count(), 3);
    assert_eq!(topic.partitions[&2].replicas, [1]);
    check_grown(vec![grow("t", 3, Some(&[&[1], &[1]]))], &[(0, None)]);
}

#[test]
fn refuses_growth_that_kafka_refuses() {
    let check = |topic, code, message: &str| {
        check_grown(vec![topic], &[(code, Some(message))]);
    };
    check(grow("t", 1, None), 37, "Topic already has 1 partition(s).");
    check(grow("t", 0, None), 37, "The topic t currently has 1 partition(s); 0 would not be an increase.");
    let few = "Attempted to add 1 additional partition(s), but only 0 assignment(s) were specified.";
    check(grow("t", 2, Some(&[])), 39, few);
    let unknown = "The manual partition assignment includes broker 2, but no such broker is registered.";
    check(grow("t", 2, Some(&[&[2]])), 39, unknown);
    check(grow("t", 2, Some(&[&[]])), 39, "The manual partition assignment includes an empty replica list.");
    check_grown(vec![grow("nope", 2, None)], &[(3, None)]);
    check_grown(vec![grow("t", 2, None), grow("t", 3, None)], &[(42, Some("Duplicate topic name."))]);
    check_grown(vec![grow("t", 10_002, None)], &[(-1, None)]);
    check_grown(vec![grow("t", 10_001, None)], &[(0, None)]);
    let few = "Attempted to add 19999 additional partition(s), but only 0 assignment(s) were specified.";
    check(grow("t", 20_000, Some(&[])), 39, few);
    let mut cluster = Cluster::with_brokers(1);
    create(&mut cluster, vec![new_topic("t", 1, 1), new_topic("u", 1, 1)]);
    let request = CreatePartitionsRequest::default()
        .with_topics(vec![grow("t", 5000, None), grow("u", 8000, None)])
        .with_timeout_ms(1000);
    let decision = cluster.run(Operation::CreatePartitions { version: 3, request });
    let Response::CreatePartitions(response) = decision.response else { panic!("not CreatePartitions") };
    let codes: Vec<_> = response.results.iter().map(|row| row.error_code).collect();
    assert_eq!(codes, [0, -1]);
    assert_eq!(decision.records.len(), 4999);
}

fn auto_create(cluster: &mut Cluster, names: &[&str]) -> Vec<(String, i16)> {
    let names = names.iter().map(|name| Arc::from(*name)).collect();
    match cluster.run(Operation::AutoCreateTopics(AutoCreateTopics { names })).response {
        Response::AutoCreateTopics(topics) => {
            topics.into_iter().map(|topic| (topic.name.to_string(), topic.error_code)).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn topics_are_created_on_demand_with_the_brokers_defaults() {
    let mut cluster = Cluster::with_brokers(1);
    cluster.static_config.insert("num.partitions".to_owned(), "4".to_owned());
    cluster.static_config.insert("offsets.topic.replication.factor".to_owned(), "1".to_owned());
    create(&mut cluster, vec![new_topic("there", 1, 1)]);
    let outcome = auto_create(&mut cluster, &["new", "there", "bad name", "__consumer_offsets", "__transaction_state"]);
    let codes: Vec<_> = outcome.iter().map(|(_, code)| *code).collect();
    assert_eq!(codes, [0, 0, 17, 0, 38]);
    assert_eq!(cluster.topic("new").partition_count(), 4);
    assert_eq!(cluster.topic("__consumer_offsets").partition_count(), 50);
    let configs: Vec<_> =
        cluster.image.configs.topic("__consumer_offsets").iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(configs, ["cleanup.policy=compact", "compression.type=producer", "segment.bytes=104857600"]);
}
