//! Large requests as real clients send them: all pass.

use bytes::BytesMut;
use kafka_protocol::messages::create_topics_request::{CreatableReplicaAssignment, CreatableTopic};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{MetadataResponsePartition, MetadataResponseTopic};
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    BrokerId, CreateTopicsRequest, FetchRequest, ListOffsetsRequest, MetadataRequest, MetadataResponse,
    OffsetCommitRequest, ProduceRequest, TopicName,
};
use kafka_protocol::protocol::{Encodable, Message, Request, StrBytes};
use milena_protocol::guard;

fn passes<T: Request + Encodable>(versions: impl IntoIterator<Item = i16>, request: impl Fn(i16) -> T) {
    for version in versions {
        let mut body = BytesMut::new();
        request(version).encode(&mut body, version).expect("an honest request can be encoded");
        if let Err(error) = guard::check(T::KEY, version, &body) {
            panic!("key {} v{version}, {} bytes: {error}", T::KEY, body.len());
        }
    }
}

fn all<T: Message>() -> impl Iterator<Item = i16> {
    T::VERSIONS.min..=T::VERSIONS.max
}

fn name(number: i32) -> TopicName {
    TopicName(StrBytes::from_string(format!("orders-{number}")))
}

#[test]
fn metadata_of_20_000_topics() {
    passes(all::<MetadataRequest>(), |_| {
        let topics = (0..20_000).map(|number| MetadataRequestTopic::default().with_name(Some(name(number))));
        MetadataRequest::default().with_topics(Some(topics.collect()))
    });
}

#[test]
fn fetch_of_10_000_partitions_in_one_topic_and_in_as_many_topics() {
    let topic = |version, partitions: std::ops::Range<i32>| {
        let start = partitions.start;
        let partitions = partitions.map(|partition| FetchPartition::default().with_partition(partition));
        let topic = FetchTopic::default().with_partitions(partitions.collect());
        if version < 13 { topic.with_topic(name(start)) } else { topic.with_topic_id(uuid::Uuid::from_u128(7)) }
    };
    passes(all::<FetchRequest>(), |version| FetchRequest::default().with_topics(vec![topic(version, 0..10_000)]));
    passes(all::<FetchRequest>(), |version| {
        FetchRequest::default().with_topics((0..10_000).map(|number| topic(version, number..number + 1)).collect())
    });
}

#[test]
fn create_topics_with_9_999_assigned_partitions() {
    for replicas in [1, 3] {
        passes(all::<CreateTopicsRequest>(), |_| {
            let brokers: Vec<_> = (0..replicas).map(BrokerId).collect();
            let assignments = (0..9_999).map(|partition| {
                CreatableReplicaAssignment::default().with_partition_index(partition).with_broker_ids(brokers.clone())
            });
            let topic = CreatableTopic::default()
                .with_name(name(0))
                .with_num_partitions(-1)
                .with_replication_factor(-1)
                .with_assignments(assignments.collect());
            CreateTopicsRequest::default().with_topics(vec![topic])
        });
    }
}

#[test]
fn produce_list_offsets_and_offset_commit_of_5_000_topics() {
    passes(all::<ProduceRequest>(), |version| {
        let topic = |number| {
            let data = PartitionProduceData::default().with_records(Some(vec![0; 70].into()));
            let topic = TopicProduceData::default().with_partition_data(vec![data]);
            if version < 13 { topic.with_name(name(number)) } else { topic.with_topic_id(uuid::Uuid::from_u128(7)) }
        };
        ProduceRequest::default().with_topic_data((0..5_000).map(topic).collect())
    });
    passes(all::<ListOffsetsRequest>(), |_| {
        let topic = |number| {
            ListOffsetsTopic::default().with_name(name(number)).with_partitions(vec![ListOffsetsPartition::default()])
        };
        ListOffsetsRequest::default().with_topics((0..5_000).map(topic).collect())
    });
    passes(all::<OffsetCommitRequest>(), |version| {
        let topic = |number| {
            let topic = OffsetCommitRequestTopic::default().with_partitions(vec![
                OffsetCommitRequestPartition::default().with_committed_metadata(Some("".into())),
            ]);
            if version < 10 { topic.with_name(name(number)) } else { topic.with_topic_id(uuid::Uuid::from_u128(7)) }
        };
        OffsetCommitRequest::default().with_topics((0..5_000).map(topic).collect())
    });
}

#[test]
fn an_answer_with_20_000_topics() {
    for version in all::<MetadataResponse>() {
        let brokers = vec![BrokerId(1), BrokerId(2), BrokerId(3)];
        let topic = |number| {
            let partition = MetadataResponsePartition::default()
                .with_replica_nodes(brokers.clone())
                .with_isr_nodes(brokers.clone());
            MetadataResponseTopic::default().with_name(Some(name(number))).with_partitions(vec![partition])
        };
        let answer = MetadataResponse::default().with_topics((0..20_000).map(topic).collect());
        let mut body = BytesMut::new();
        answer.encode(&mut body, version).unwrap();
        guard::check_response(3, version, &body).unwrap_or_else(|error| panic!("v{version}: {error}"));
    }
}
