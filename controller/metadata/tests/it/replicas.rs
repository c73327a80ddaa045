//! Several replicas: placement, and who is in sync, eligible and leading as brokers come and go.

use kafka_protocol::messages::create_topics_request::CreatableTopicConfig;
use milena_metadata::placement::{PlacementError, place};
use milena_metadata::record::{NO_LEADER, RegisterBrokerRecord};
use milena_metadata::{MetadataImage, Operation, Record};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use uuid::Uuid;

use crate::support::{Cluster, directory, text};
use crate::topics::{create, new_topic};

fn brokers(brokers: &[(i32, Option<&str>, bool)]) -> MetadataImage {
    let registration = |(id, rack, fenced): &(i32, Option<&str>, bool)| {
        Record::RegisterBroker(RegisterBrokerRecord {
            broker_id: *id,
            is_migrating_zk_broker: false,
            incarnation_id: Uuid::from_u128(1),
            broker_epoch: 1,
            end_points: vec![],
            features: vec![],
            rack: rack.map(Into::into),
            fenced: *fenced,
            in_controlled_shutdown: false,
            log_dirs: vec![directory(*id)],
            cordoned_log_dirs: None,
        })
    };
    let records: Vec<_> = brokers.iter().map(registration).collect();
    MetadataImage::from_records(&records, 0, 0)
}

fn placed(image: &MetadataImage, count: i32, factor: i16) -> Result<Vec<Vec<i32>>, PlacementError> {
    place(&image.brokers, count, factor, &mut SmallRng::seed_from_u64(3))
}

#[test]
fn replicas_of_a_partition_stand_on_different_racks() {
    let racks = [(1, Some("a"), false), (2, Some("a"), false), (3, Some("b"), false), (4, Some("b"), false)];
    for replicas in placed(&brokers(&racks), 20, 2).unwrap() {
        let on_a = replicas.iter().filter(|id| **id <= 2).count();
        assert_eq!((on_a, replicas.len()), (1, 2), "{replicas:?}");
    }
}

#[test]
fn every_replica_is_another_broker() {
    let image = brokers(&[(1, Some("a"), false), (2, Some("a"), false), (3, Some("b"), false), (4, None, false)]);
    for factor in 1..=4 {
        for mut replicas in placed(&image, 50, factor).unwrap() {
            replicas.sort_unstable();
            replicas.dedup();
            assert_eq!(replicas.len(), factor as usize);
        }
    }
}

#[test]
fn a_fenced_broker_is_taken_only_in_need_and_never_first() {
    let image = brokers(&[(1, None, false), (2, None, true), (3, None, false)]);
    for replicas in placed(&image, 20, 2).unwrap() {
        assert!(!replicas.contains(&2), "{replicas:?}");
    }
    for replicas in placed(&image, 20, 3).unwrap() {
        assert_eq!(replicas.last(), Some(&2), "{replicas:?}");
    }
}

#[test]
fn placement_that_cannot_be_is_refused() {
    let image = brokers(&[(1, None, false), (2, None, true)]);
    assert_eq!(placed(&image, 1, 0), Err(PlacementError::NotPositive(0)));
    let too_few = PlacementError::TooFewBrokers { replication_factor: 3, registered: 2 };
    assert_eq!(placed(&image, 1, 3), Err(too_few));
    assert_eq!(placed(&brokers(&[(2, None, true)]), 1, 1), Err(PlacementError::AllFenced));
    assert_eq!(placed(&brokers(&[]), 1, 1), Err(PlacementError::AllFenced));
}

/// One partition on brokers 1, 2 and 3 with min.insync.replicas 2.
struct Three {
    cluster: Cluster,
}

impl Three {
    fn new() -> Self {
        let mut cluster = Cluster::with_brokers(3);
        let config = CreatableTopicConfig::default().with_name(text("min.insync.replicas")).with_value(Some(text("2")));
        create(&mut cluster, vec![new_topic("t", 1, 3).with_configs(vec![config])]);
        Three { cluster }
    }

    /// The replicas in their order: [0] is the preferred leader.
    fn replicas(&self) -> Vec<i32> {
        self.cluster.topic("t").partitions[&0].replicas.clone()
    }

    fn fence(&mut self, id: i32) {
        let broker_epoch = self.cluster.image.brokers.get(id).unwrap().epoch;
        self.cluster.run(Operation::FenceBroker { broker_id: id, broker_epoch });
    }

    fn check(&self, leader: i32, isr: &[i32], elr: &[i32]) {
        let topic = self.cluster.topic("t");
        let partition = &topic.partitions[&0];
        let mut expected = elr.to_vec();
        expected.sort_unstable();
        assert_eq!((partition.leader, &*partition.isr, &*partition.elr), (leader, isr, &*expected));
    }
}

#[test]
fn who_was_in_sync_below_the_minimum_stays_eligible() {
    let mut three = Three::new();
    let [a, b, c] = three.replicas()[..] else { panic!("three replicas") };
    three.check(a, &[a, b, c], &[]);
    three.fence(a);
    three.check(b, &[b, c], &[]);
    three.fence(b);
    three.check(c, &[c], &[b]);
    three.fence(c);
    three.check(NO_LEADER, &[], &[b, c]);
    // Not eligible: it left while there were enough without it.
    three.cluster.heartbeat(a, false, false);
    three.check(NO_LEADER, &[], &[b, c]);
    three.cluster.heartbeat(b, false, false);
    three.check(b, &[b], &[c]);
    assert_eq!(three.cluster.topic("t").partitions[&0].leader_recovery_state, 0);
}

#[test]
fn an_unclean_stop_ends_eligibility_and_the_last_leader_is_taken_as_a_loss() {
    let mut three = Three::new();
    let [a, b, c] = three.replicas()[..] else { panic!("three replicas") };
    for id in [a, b, c] {
        three.fence(id);
    }
    three.cluster.start_broker(b, 99, -1);
    three.check(NO_LEADER, &[], &[c]);
    three.cluster.start_broker(c, 98, -1);
    three.check(c, &[c], &[]);
    assert_eq!(three.cluster.topic("t").partitions[&0].leader_recovery_state, 1);
}

#[test]
fn an_unclean_election_takes_whoever_is_there() {
    let mut three = Three::new();
    let [a, b, c] = three.replicas()[..] else { panic!("three replicas") };
    for id in [a, b, c] {
        three.fence(id);
    }
    three.cluster.heartbeat(a, false, false);
    three.check(NO_LEADER, &[], &[b, c]);
    let topic = kafka_protocol::messages::elect_leaders_request::TopicPartitions::default()
        .with_topic(crate::support::topic_name("t"))
        .with_partitions(vec![0]);
    let request = kafka_protocol::messages::ElectLeadersRequest::default()
        .with_election_type(1)
        .with_topic_partitions(Some(vec![topic]))
        .with_timeout_ms(1);
    three.cluster.run(Operation::ElectLeaders { version: 2, request });
    three.check(a, &[a], &[]);
    assert_eq!(three.cluster.topic("t").partitions[&0].leader_recovery_state, 1);
}
