//! Brokers come and go; what becomes of the partitions. The records of a restart are those that a running Kafka 4.3.1
//! with one node wrote into its metadata log.

use kafka_protocol::messages::elect_leaders_request::TopicPartitions;
use kafka_protocol::messages::{AllocateProducerIdsRequest, BrokerId, ElectLeadersRequest, UnregisterBrokerRequest};
use kafka_protocol::protocol::Encodable;
use milena_metadata::record::{NO_LEADER, PartitionChangeRecord};
use milena_metadata::{Operation, Record, Response};

use crate::support::{Cluster, topic_name};
use crate::topics::{create, new_topic};

fn with_topic(brokers: i32, replication_factor: i16) -> Cluster {
    let mut cluster = Cluster::with_brokers(brokers);
    create(&mut cluster, vec![new_topic("t", 1, replication_factor)]);
    cluster
}

fn changes(records: &[Record]) -> Vec<PartitionChangeRecord> {
    records
        .iter()
        .filter_map(|record| match record {
            Record::PartitionChange(change) => Some(change.clone()),
            _ => None,
        })
        .collect()
}

#[test]
fn a_clean_restart_keeps_the_broker_eligible_and_raises_the_epoch_twice() {
    let mut cluster = with_topic(1, 1);
    let topic_id = cluster.topic("t").id;
    let epoch = cluster.image.brokers.get(1).unwrap().epoch;
    let stopped = cluster.stop_broker(1);
    let none = PartitionChangeRecord::new(topic_id, 0);
    let leaderless = PartitionChangeRecord {
        isr: Some(vec![]),
        leader: NO_LEADER,
        eligible_leader_replicas: Some(vec![1]),
        last_known_elr: Some(vec![1]),
        ..none.clone()
    };
    assert_eq!(changes(&stopped), [leaderless]);
    assert!(cluster.image.brokers.get(1).unwrap().fenced);
    let led_again = PartitionChangeRecord {
        isr: Some(vec![1]),
        leader: 1,
        eligible_leader_replicas: Some(vec![]),
        last_known_elr: Some(vec![]),
        ..none
    };
    assert_eq!(changes(&cluster.start_broker(1, 99, epoch)), [led_again]);
    let partition = &cluster.topic("t").partitions[&0];
    assert_eq!((partition.leader, partition.leader_epoch, partition.leader_recovery_state), (1, 2, 0));
}

#[test]
fn a_killed_broker_leads_again_as_the_last_known_leader() {
    let mut cluster = with_topic(1, 1);
    let topic_id = cluster.topic("t").id;
    let none = PartitionChangeRecord::new(topic_id, 0);
    let epoch = cluster.image.brokers.get(1).unwrap().epoch;
    let fenced = cluster.run(Operation::FenceBroker { broker_id: 1, broker_epoch: epoch });
    assert_eq!(changes(&fenced.records).len(), 1);
    let restarted = changes(&cluster.start_broker(1, 99, -1));
    let not_eligible = PartitionChangeRecord { eligible_leader_replicas: Some(vec![]), ..none.clone() };
    let led_again = PartitionChangeRecord {
        isr: Some(vec![1]),
        leader: 1,
        leader_recovery_state: 1,
        last_known_elr: Some(vec![]),
        ..none
    };
    assert_eq!(restarted, [not_eligible, led_again]);
    assert_eq!(cluster.topic("t").partitions[&0].leader_epoch, 2);
}

#[test]
fn a_killed_broker_that_is_back_before_its_session_ends_raises_the_epoch_twice() {
    let mut cluster = with_topic(1, 1);
    let before = cluster.image.brokers.get(1).unwrap().epoch;
    cluster.start_broker(1, 99, -1);
    let partition = &cluster.topic("t").partitions[&0];
    assert_eq!((partition.leader, partition.leader_epoch, &*partition.isr), (1, 2, &[1][..]));
    assert!(cluster.image.brokers.get(1).unwrap().epoch > before);
}

#[test]
fn the_same_incarnation_registering_again_changes_nothing() {
    let mut cluster = with_topic(1, 1);
    let before = cluster.image.clone();
    let request = Cluster::registration(1, 1, -1);
    let decision = cluster.run(Operation::RegisterBroker { version: 4, request });
    let Response::RegisterBroker(response) = decision.response else { panic!("not RegisterBroker") };
    assert_eq!(response.broker_epoch, before.brokers.get(1).unwrap().epoch);
    assert_eq!(cluster.image.brokers, before.brokers);
    assert_eq!(cluster.image.topics, before.topics);
}

#[test]
fn another_replica_leads_when_the_leader_is_fenced() {
    let mut cluster = with_topic(3, 3);
    let leader = cluster.topic("t").partitions[&0].leader;
    let epoch = cluster.image.brokers.get(leader).unwrap().epoch;
    cluster.run(Operation::FenceBroker { broker_id: leader, broker_epoch: epoch });
    let topic = cluster.topic("t");
    let partition = &topic.partitions[&0];
    assert!(partition.leader != leader && partition.isr.contains(&partition.leader));
    assert!(!partition.isr.contains(&leader) && partition.elr.is_empty());
    assert_eq!(partition.leader_epoch, 1);
}

#[test]
fn registrations_that_kafka_refuses_are_refused() {
    let cluster = with_topic(2, 1);
    let check = |change: &dyn Fn(&mut kafka_protocol::messages::BrokerRegistrationRequest), code: i16| {
        let mut request = Cluster::registration(3, 3, -1);
        change(&mut request);
        let decision = cluster.decide(Operation::RegisterBroker { version: 4, request });
        let Response::RegisterBroker(response) = decision.response else { panic!("not RegisterBroker") };
        assert_eq!(response.error_code, code);
        assert_eq!(decision.records.is_empty(), code != 0);
    };
    check(&|_| {}, 0);
    check(&|request| request.log_dirs.clear(), 119);
    check(&|request| request.log_dirs = vec![milena_metadata::LOST_DIRECTORY], 119);
    check(&|request| request.log_dirs = vec![crate::support::directory(1)], 119);
    check(&|request| request.log_dirs.push(crate::support::directory(3)), 119);
    check(&|request| request.features.clear(), 35);
}

#[test]
fn a_heartbeat_of_an_earlier_epoch_is_stale() {
    let mut cluster = with_topic(1, 1);
    let epoch = cluster.image.brokers.get(1).unwrap().epoch;
    cluster.start_broker(1, 99, epoch);
    let request = kafka_protocol::messages::BrokerHeartbeatRequest::default()
        .with_broker_id(BrokerId(1))
        .with_broker_epoch(epoch);
    let decision = cluster.decide(Operation::BrokerHeartbeat { version: 1, request });
    assert!(matches!(&decision.response, Response::BrokerHeartbeat(response) if response.error_code == 77));
    let fenced = cluster.decide(Operation::FenceBroker { broker_id: 1, broker_epoch: epoch });
    assert!(fenced.records.is_empty());
}

#[test]
fn an_unregistered_broker_is_gone() {
    let mut cluster = with_topic(2, 2);
    let unregister = |id| Operation::UnregisterBroker {
        version: 0,
        request: UnregisterBrokerRequest::default().with_broker_id(BrokerId(id)),
    };
    cluster.run(unregister(2));
    assert!(cluster.image.brokers.get(2).is_none());
    assert_eq!(cluster.topic("t").partitions[&0].isr, [1]);
    let decision = cluster.run(unregister(5));
    let Response::UnregisterBroker(response) = decision.response else { panic!("not UnregisterBroker") };
    assert_eq!(response.error_code, 102);
    assert_eq!(response.error_message.as_deref(), Some("Broker ID 5 is not currently registered"));
}

#[test]
fn producer_ids_come_in_blocks_that_never_overlap() {
    let mut cluster = Cluster::with_brokers(1);
    let allocate = |cluster: &mut Cluster, epoch| {
        let request = AllocateProducerIdsRequest::default().with_broker_id(BrokerId(1)).with_broker_epoch(epoch);
        match cluster.run(Operation::AllocateProducerIds { version: 0, request }).response {
            Response::AllocateProducerIds(block) => {
                (block.error_code, block.producer_id_start.0, block.producer_id_len)
            }
            other => panic!("{other:?}"),
        }
    };
    let epoch = cluster.image.brokers.get(1).unwrap().epoch;
    assert_eq!(allocate(&mut cluster, epoch), (0, 0, 1000));
    assert_eq!(allocate(&mut cluster, epoch), (0, 1000, 1000));
    assert_eq!(allocate(&mut cluster, epoch + 1).0, 77);
}

fn elect(cluster: &mut Cluster, kind: i8, wanted: Option<&[(&str, &[i32])]>) -> (i16, Vec<(i32, i16, Option<String>)>) {
    let topics = wanted.map(|topics| {
        topics
            .iter()
            .map(|(name, partitions)| {
                TopicPartitions::default().with_topic(topic_name(name)).with_partitions(partitions.to_vec())
            })
            .collect()
    });
    let request =
        ElectLeadersRequest::default().with_election_type(kind).with_topic_partitions(topics).with_timeout_ms(1000);
    let Response::ElectLeaders(response) = cluster.run(Operation::ElectLeaders { version: 2, request }).response else {
        panic!("not ElectLeaders")
    };
    let rows = response
        .replica_election_results
        .iter()
        .flat_map(|topic| &topic.partition_result)
        .map(|row| (row.partition_id, row.error_code, row.error_message.as_ref().map(ToString::to_string)))
        .collect();
    (response.error_code, rows)
}

#[test]
fn elections_answer_as_kafka_answers() {
    let mut cluster = with_topic(1, 1);
    let not_needed = |id| (id, 84, Some("Leader election not needed for topic partition.".to_owned()));
    let wanted: &[(&str, &[i32])] = &[("t", &[0, 9]), ("nope", &[0])];
    assert_eq!(
        elect(&mut cluster, 0, Some(wanted)),
        (
            0,
            vec![
                not_needed(0),
                (9, 3, Some("No such partition as t-9".to_owned())),
                (0, 3, Some("No such topic as nope".to_owned())),
            ]
        )
    );
    assert_eq!(elect(&mut cluster, 1, Some(&[("t", &[0])])), (0, vec![not_needed(0)]));
    assert_eq!(elect(&mut cluster, 0, None), (0, vec![]));
    assert_eq!(elect(&mut cluster, 2, None), (42, vec![]));
    let unknown = (0, 42, Some("Unknown election type 2".to_owned()));
    assert_eq!(elect(&mut cluster, 2, Some(&[("t", &[0])])), (42, vec![unknown]));
}

#[test]
fn the_preferred_leader_is_elected_when_it_is_back_in_sync() {
    let mut cluster = with_topic(2, 2);
    let topic = cluster.topic("t");
    let preferred = topic.partitions[&0].preferred_replica();
    let other = 3 - preferred;
    let mut change = PartitionChangeRecord::new(topic.id, 0);
    change.leader = other;
    change.isr = Some(vec![other]);
    cluster.apply(&[Record::PartitionChange(change)]);
    let unavailable = (0, 80, Some("The preferred leader was not available.".to_owned()));
    assert_eq!(elect(&mut cluster, 0, Some(&[("t", &[0])])), (0, vec![unavailable]));
    let mut change = PartitionChangeRecord::new(topic.id, 0);
    change.isr = Some(vec![other, preferred]);
    cluster.apply(&[Record::PartitionChange(change)]);
    assert_eq!(elect(&mut cluster, 0, None), (0, vec![(0, 0, None)]));
    assert_eq!(cluster.topic("t").partitions[&0].leader, preferred);
}

#[test]
fn an_election_without_time_is_answered_in_every_version() {
    for version in 0..=2 {
        let cluster = with_topic(1, 1);
        let topic = TopicPartitions::default().with_topic(topic_name("t")).with_partitions(vec![0]);
        let request = ElectLeadersRequest::default().with_topic_partitions(Some(vec![topic])).with_timeout_ms(0);
        let decision = cluster.decide(Operation::ElectLeaders { version, request });
        let Response::ElectLeaders(response) = decision.response else { panic!("not ElectLeaders") };
        assert_eq!(response.error_code, if version == 0 { 0 } else { 7 });
        assert_eq!(response.replica_election_results[0].partition_result[0].error_code, 7);
        response.encode(&mut bytes::BytesMut::new(), version).unwrap();
    }
}
