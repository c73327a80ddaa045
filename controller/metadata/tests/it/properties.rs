//! Whatever is asked of it, in whatever order, the metadata stays sound.

use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::elect_leaders_request::TopicPartitions;
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::{
    AllocateProducerIdsRequest, BrokerId, CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest,
    ElectLeadersRequest, IncrementalAlterConfigsRequest, UnregisterBrokerRequest,
};
use milena_metadata::record::{NO_LEADER, decode_all, encode_all};
use milena_metadata::{MetadataDelta, MetadataImage, Operation};
use proptest::prelude::*;

use crate::support::{Cluster, text, topic_name};
use crate::topics::new_topic;

#[derive(Debug, Clone)]
enum Step {
    Create { topic: u8, partitions: i32, replication_factor: i16 },
    Delete { topic: u8 },
    Grow { topic: u8, count: i32 },
    Configure { topic: u8, min_isr: u8, unclean: bool },
    Elect { topic: u8, unclean: bool },
    Start { broker: i32, incarnation: u8, clean: bool },
    Heartbeat { broker: i32, want_fence: bool, want_shut_down: bool },
    Fence { broker: i32 },
    Unregister { broker: i32 },
    ProducerIds { broker: i32 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let topic = 0_u8..4;
    let broker = 1_i32..5;
    let step = prop_oneof![
        4 => (topic.clone(), -1_i32..4, -1_i16..4).prop_map(|(topic, partitions, replication_factor)| {
            Step::Create { topic, partitions, replication_factor }
        }),
        1 => topic.clone().prop_map(|topic| Step::Delete { topic }),
        1 => (topic.clone(), 0_i32..6).prop_map(|(topic, count)| Step::Grow { topic, count }),
        2 => (topic.clone(), 0_u8..4, any::<bool>()).prop_map(|(topic, min_isr, unclean)| {
            Step::Configure { topic, min_isr, unclean }
        }),
        2 => (topic, any::<bool>()).prop_map(|(topic, unclean)| Step::Elect { topic, unclean }),
        4 => (broker.clone(), any::<u8>(), any::<bool>()).prop_map(|(broker, incarnation, clean)| {
            Step::Start { broker, incarnation, clean }
        }),
        3 => (broker.clone(), any::<bool>(), any::<bool>()).prop_map(|(broker, want_fence, want_shut_down)| {
            Step::Heartbeat { broker, want_fence, want_shut_down }
        }),
        2 => broker.clone().prop_map(|broker| Step::Fence { broker }),
        1 => broker.clone().prop_map(|broker| Step::Unregister { broker }),
        1 => broker.prop_map(|broker| Step::ProducerIds { broker }),
    ];
    prop::collection::vec(step, 1..60)
}

fn name(topic: u8) -> String {
    format!("topic-{topic}")
}

fn epoch(image: &MetadataImage, broker: i32) -> i64 {
    image.brokers.get(broker).map_or(-1, |broker| broker.epoch)
}

fn operation(image: &MetadataImage, step: &Step) -> Operation {
    match step {
        Step::Create { topic, partitions, replication_factor } => Operation::CreateTopics {
            version: 7,
            request: CreateTopicsRequest::default().with_timeout_ms(1).with_topics(vec![new_topic(
                &name(*topic),
                *partitions,
                *replication_factor,
            )]),
        },
        Step::Delete { topic } => Operation::DeleteTopics {
            version: 5,
            request: DeleteTopicsRequest::default()
                .with_timeout_ms(1)
                .with_topic_names(vec![topic_name(&name(*topic))]),
        },
        Step::Grow { topic, count } => Operation::CreatePartitions {
            version: 3,
            request: CreatePartitionsRequest::default().with_timeout_ms(1).with_topics(vec![
                CreatePartitionsTopic::default()
                    .with_name(topic_name(&name(*topic)))
                    .with_count(*count)
                    .with_assignments(None),
            ]),
        },
        Step::Configure { topic, min_isr, unclean } => {
            let config = |key: &str, value: String| {
                AlterableConfig::default().with_name(text(key)).with_value(Some(text(&value)))
            };
            let resource = AlterConfigsResource::default()
                .with_resource_type(2)
                .with_resource_name(text(&name(*topic)))
                .with_configs(vec![
                    config("min.insync.replicas", min_isr.to_string()),
                    config("unclean.leader.election.enable", unclean.to_string()),
                ]);
            let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
            Operation::IncrementalAlterConfigs { version: 1, request }
        }
        Step::Elect { topic, unclean } => {
            let topics = TopicPartitions::default().with_topic(topic_name(&name(*topic))).with_partitions(vec![0, 1]);
            let request = ElectLeadersRequest::default()
                .with_timeout_ms(1)
                .with_election_type(i8::from(*unclean))
                .with_topic_partitions(Some(vec![topics]));
            Operation::ElectLeaders { version: 2, request }
        }
        Step::Start { broker, incarnation, clean } => {
            let previous = if *clean { epoch(image, *broker) } else { -1 };
            let request = Cluster::registration(*broker, u128::from(*incarnation) + 1, previous);
            Operation::RegisterBroker { version: 4, request }
        }
        Step::Heartbeat { broker, want_fence, want_shut_down } => {
            let request = kafka_protocol::messages::BrokerHeartbeatRequest::default()
                .with_broker_id(BrokerId(*broker))
                .with_broker_epoch(epoch(image, *broker))
                .with_current_metadata_offset(image.offset)
                .with_want_fence(*want_fence)
                .with_want_shut_down(*want_shut_down);
            Operation::BrokerHeartbeat { version: 1, request }
        }
        Step::Fence { broker } => Operation::FenceBroker { broker_id: *broker, broker_epoch: epoch(image, *broker) },
        Step::Unregister { broker } => Operation::UnregisterBroker {
            version: 0,
            request: UnregisterBrokerRequest::default().with_broker_id(BrokerId(*broker)),
        },
        Step::ProducerIds { broker } => Operation::AllocateProducerIds {
            version: 0,
            request: AllocateProducerIdsRequest::default()
                .with_broker_id(BrokerId(*broker))
                .with_broker_epoch(epoch(image, *broker)),
        },
    }
}

fn check_sound(image: &MetadataImage) {
    let mut count = 0;
    for topic in image.topics.iter() {
        count += 1;
        assert_eq!(image.topics.by_id(topic.id), Some(topic), "both maps hold the same topic");
        assert!(topic.partitions.keys().copied().eq(0..topic.partition_count()), "partitions have no gap");
        for (id, partition) in &topic.partitions {
            let at = format!("{}-{id}: {partition:?}", topic.name);
            assert!(!partition.replicas.is_empty(), "{at}");
            assert_eq!(partition.replicas.len(), partition.directories.len(), "{at}");
            assert!(partition.isr.iter().all(|replica| partition.replicas.contains(replica)), "{at}");
            assert!(partition.elr.iter().all(|replica| partition.replicas.contains(replica)), "{at}");
            assert!(partition.elr.iter().all(|replica| !partition.isr.contains(replica)), "{at}");
            assert!(partition.leader == NO_LEADER || partition.isr.contains(&partition.leader), "{at}");
            assert!(partition.leader == NO_LEADER || image.brokers.is_active(partition.leader), "{at}");
        }
    }
    assert_eq!(count, image.topics.len());
}

fn check_no_step_back(before: &MetadataImage, after: &MetadataImage) {
    assert!(after.offset >= before.offset);
    assert!(after.producer_ids.next_producer_id >= before.producer_ids.next_producer_id);
    for topic in before.topics.iter() {
        let Some(now) = after.topics.by_id(topic.id) else { continue };
        for (id, partition) in &topic.partitions {
            let partition_now = &now.partitions[id];
            assert!(partition_now.leader_epoch >= partition.leader_epoch);
            assert!(partition_now.partition_epoch >= partition.partition_epoch);
            if partition_now.leader != partition.leader {
                assert!(partition_now.leader_epoch > partition.leader_epoch);
            }
            // Clearing the eligible replicas alone moves no epoch, as in Kafka.
            let same_elr =
                (&partition_now.elr, &partition_now.last_known_elr) == (&partition.elr, &partition.last_known_elr);
            if partition_now != partition && same_elr {
                assert!(partition_now.partition_epoch > partition.partition_epoch);
            }
        }
    }
    for broker in before.brokers.iter() {
        assert!(after.brokers.get(broker.id).is_none_or(|now| now.epoch >= broker.epoch));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_operations_keeps_the_metadata_sound(steps in steps()) {
        let mut cluster = Cluster::with_brokers(2);
        for step in &steps {
            let operation = operation(&cluster.image, step);
            let before = cluster.image.clone();
            let decision = cluster.decide(operation);
            prop_assert_eq!(&decode_all(&encode_all(&decision.records)), &Ok(decision.records.clone()));
            let delta = cluster.apply(&decision.records);
            check_sound(&cluster.image);
            check_no_step_back(&before, &cluster.image);
            let image = &cluster.image;
            let rebuilt = MetadataImage::from_records(&image.records(), image.offset, image.epoch);
            prop_assert_eq!(&rebuilt, image);
            prop_assert_eq!(MetadataDelta::between(&before, &rebuilt), delta);
        }
    }
}
