//! Bytes of records, against those that Kafka's own classes write (`tests/golden/RecordBytes.java`).

use std::sync::Arc;

use milena_metadata::record::{
    BrokerEndpoint, BrokerFeature, BrokerRegistrationChangeRecord, ClearElrRecord, ConfigRecord, FeatureLevelRecord,
    FenceBrokerRecord, NO_LEADER, PartitionChangeRecord, PartitionRecord, ProducerIdsRecord, RegisterBrokerRecord,
    RemoveTopicRecord, TopicRecord, UnfenceBrokerRecord, UnregisterBrokerRecord, decode_all, encode_all,
};
use milena_metadata::{Record, RecordError, UNASSIGNED_DIRECTORY};
use proptest::prelude::*;
use uuid::Uuid;

const TOPIC: Uuid = Uuid::from_u128(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10);
const DIRECTORY: Uuid = Uuid::from_u128(0x1112_1314_1516_1718_191a_1b1c_1d1e_1f20);

fn golden(name: &str) -> Vec<u8> {
    let line = include_str!("../golden/records.txt")
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
        .unwrap_or_else(|| panic!("no golden bytes for {name}"));
    (0..line.len()).step_by(2).map(|at| u8::from_str_radix(&line[at..at + 2], 16).unwrap()).collect()
}

fn partition() -> PartitionRecord {
    PartitionRecord {
        partition_id: 3,
        topic_id: TOPIC,
        replicas: vec![1, 2],
        isr: vec![1],
        removing_replicas: vec![],
        adding_replicas: vec![],
        leader: 1,
        leader_recovery_state: 0,
        leader_epoch: 4,
        partition_epoch: 5,
        directories: vec![DIRECTORY, UNASSIGNED_DIRECTORY],
        eligible_leader_replicas: None,
        last_known_elr: None,
    }
}

fn old_partition(directories: Vec<Uuid>) -> PartitionRecord {
    PartitionRecord {
        partition_id: 0,
        replicas: vec![1],
        leader_epoch: 0,
        partition_epoch: 0,
        directories,
        ..partition()
    }
}

fn registration() -> RegisterBrokerRecord {
    RegisterBrokerRecord {
        broker_id: 1,
        is_migrating_zk_broker: false,
        incarnation_id: TOPIC,
        broker_epoch: 11,
        end_points: vec![BrokerEndpoint {
            name: "PLAINTEXT".into(),
            host: "localhost".into(),
            port: 9092,
            security_protocol: 0,
        }],
        features: vec![BrokerFeature {
            name: "metadata.version".into(),
            min_supported_version: 7,
            max_supported_version: 30,
        }],
        rack: None,
        fenced: true,
        in_controlled_shutdown: false,
        log_dirs: vec![DIRECTORY],
        cordoned_log_dirs: None,
    }
}

fn config(resource_type: i8, resource_name: &str, name: &str, value: Option<&str>) -> Record {
    Record::Config(ConfigRecord {
        resource_type,
        resource_name: resource_name.into(),
        name: name.into(),
        value: value.map(Arc::from),
    })
}

fn registration_change(set: impl FnOnce(&mut BrokerRegistrationChangeRecord)) -> Record {
    let mut record = BrokerRegistrationChangeRecord::new(1, 11);
    set(&mut record);
    Record::BrokerRegistrationChange(record)
}

fn examples() -> Vec<(&'static str, Record)> {
    let change = PartitionChangeRecord::new(TOPIC, 3);
    vec![
        ("topic", Record::Topic(TopicRecord { name: "logs".into(), topic_id: TOPIC })),
        ("remove_topic", Record::RemoveTopic(RemoveTopicRecord { topic_id: TOPIC })),
        ("partition", Record::Partition(partition())),
        (
            "partition_full",
            Record::Partition(PartitionRecord {
                replicas: vec![1, 2, 3],
                removing_replicas: vec![2],
                adding_replicas: vec![3],
                leader_recovery_state: 1,
                directories: vec![DIRECTORY; 3],
                eligible_leader_replicas: Some(vec![2]),
                last_known_elr: Some(vec![3]),
                ..partition()
            }),
        ),
        (
            "partition_change",
            Record::PartitionChange(PartitionChangeRecord { isr: Some(vec![1, 2]), leader: 2, ..change.clone() }),
        ),
        (
            "partition_change_full",
            Record::PartitionChange(PartitionChangeRecord {
                isr: Some(vec![]),
                leader: NO_LEADER,
                replicas: Some(vec![2]),
                removing_replicas: Some(vec![]),
                adding_replicas: Some(vec![3]),
                leader_recovery_state: 1,
                eligible_leader_replicas: Some(vec![1]),
                last_known_elr: Some(vec![2]),
                directories: Some(vec![DIRECTORY]),
                ..change.clone()
            }),
        ),
        ("partition_change_empty", Record::PartitionChange(change)),
        ("config", config(2, "logs", "retention.ms", Some("1000"))),
        ("config_removed", config(4, "", "k", None)),
        (
            "feature_level",
            Record::FeatureLevel(FeatureLevelRecord { name: "metadata.version".into(), feature_level: 30 }),
        ),
        (
            "producer_ids",
            Record::ProducerIds(ProducerIdsRecord { broker_id: 1, broker_epoch: 7, next_producer_id: 1000 }),
        ),
        ("no_op", Record::NoOp),
        ("clear_elr", Record::ClearElr(ClearElrRecord { topic_name: "logs".into() })),
        ("fence", Record::FenceBroker(FenceBrokerRecord { id: 1, epoch: 7 })),
        ("unfence", Record::UnfenceBroker(UnfenceBrokerRecord { id: 1, epoch: 7 })),
        ("unregister", Record::UnregisterBroker(UnregisterBrokerRecord { broker_id: 1, broker_epoch: 7 })),
        ("register", Record::RegisterBroker(registration())),
        (
            "register_full",
            Record::RegisterBroker(RegisterBrokerRecord {
                rack: Some("r1".into()),
                fenced: false,
                in_controlled_shutdown: true,
                cordoned_log_dirs: Some(vec![]),
                ..registration()
            }),
        ),
        ("change_unfenced", registration_change(|record| record.fenced = -1)),
        ("change_shutdown", registration_change(|record| record.in_controlled_shutdown = 1)),
        ("change_log_dirs", registration_change(|record| record.log_dirs = vec![DIRECTORY])),
        ("change_cordoned", registration_change(|record| record.cordoned_log_dirs = Some(vec![DIRECTORY]))),
    ]
}

#[test]
fn records_have_the_bytes_that_kafka_writes() {
    for (name, record) in examples() {
        assert_eq!(record.encode(), golden(name), "{name}");
        assert_eq!(Record::decode(&golden(name)), Ok(record), "{name}");
    }
}

#[test]
fn records_of_older_versions_are_read() {
    let check = |name: &str, expected: Record| assert_eq!(Record::decode(&golden(name)), Ok(expected), "{name}");
    check("partition_v1", Record::Partition(old_partition(vec![DIRECTORY])));
    check("partition_v0", Record::Partition(old_partition(vec![])));
    check("register_v0", Record::RegisterBroker(RegisterBrokerRecord { log_dirs: vec![], ..registration() }));
}

#[test]
fn what_is_not_understood_is_an_error() {
    let check = |bytes: &[u8], expected: RecordError| assert_eq!(Record::decode(bytes), Err(expected));
    check(&[], RecordError::Truncated);
    check(&[2, 20, 0, 0], RecordError::UnknownFrameVersion(2));
    check(&[1, 99, 0, 0], RecordError::UnknownRecord(99));
    check(&[1, 20, 1, 0], RecordError::UnsupportedVersion { api_key: 20, version: 1, highest: 0 });
    check(&[1, 20, 0, 0, 7], RecordError::TrailingBytes(1));
    check(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x01], RecordError::VarintTooLong);
}

#[test]
fn unknown_tagged_fields_are_skipped() {
    let mut bytes = golden("no_op");
    bytes.pop();
    bytes.extend([1, 42, 2, 0xaa, 0xbb]);
    assert_eq!(Record::decode(&bytes), Ok(Record::NoOp));
}

#[test]
fn no_prefix_of_a_record_is_a_record() {
    for (name, record) in examples() {
        let bytes = record.encode();
        for len in 0..bytes.len() {
            assert!(Record::decode(&bytes[..len]).is_err(), "{name} cut at {len}");
        }
    }
}

#[test]
fn a_batch_of_records_is_read_as_it_was_written() {
    let records: Vec<_> = examples().into_iter().map(|(_, record)| record).collect();
    assert_eq!(decode_all(&encode_all(&records)), Ok(records));
}

proptest! {
    #[test]
    fn hostile_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..64), key in 0_u8..30) {
        let mut framed = vec![1, key, 0];
        framed.extend(&bytes);
        let _ = Record::decode(&framed);
        let _ = decode_all(&bytes);
    }
}
