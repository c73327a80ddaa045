//! The image and what a batch of records changed in it.

use milena_metadata::decide::bootstrap_records;
use milena_metadata::record::{ConfigRecord, RemoveTopicRecord, TopicRecord};
use milena_metadata::{ConfigResource, MetadataDelta, MetadataImage, Record};
use uuid::Uuid;

use crate::support::Cluster;
use crate::topics::{create, new_topic};

#[test]
fn a_fresh_cluster_begins_as_kafkas_does() {
    let image = Cluster::empty().image;
    assert_eq!(image.features.metadata_version(), 30);
    assert!(image.features.elr_enabled());
    assert_eq!(&*image.configs.default_broker()["min.insync.replicas"], "1");
    let names: Vec<_> = bootstrap_records(&Default::default()).iter().map(Record::api_key).collect();
    assert_eq!(names, [12, 12, 4]);
}

#[test]
fn records_rebuild_the_image() {
    let mut cluster = Cluster::with_brokers(3);
    create(&mut cluster, vec![new_topic("a", 3, 2), new_topic("b", 1, 3)]);
    cluster.stop_broker(1);
    cluster.stop_broker(2);
    let image = &cluster.image;
    assert_eq!(&MetadataImage::from_records(&image.records(), image.offset, image.epoch), image);
}

#[test]
fn a_delta_names_what_differs_and_nothing_else() {
    let mut cluster = Cluster::with_brokers(2);
    create(&mut cluster, vec![new_topic("a", 3, 1), new_topic("b", 1, 1)]);
    let before = cluster.image.clone();
    let (a, b) = (cluster.topic("a"), cluster.topic("b"));
    let leader = a.partitions[&0].leader;
    let epoch = before.brokers.get(leader).unwrap().epoch;
    let fence = cluster.decide(milena_metadata::Operation::FenceBroker { broker_id: leader, broker_epoch: epoch });
    let mut records = fence.records;
    records.push(Record::RemoveTopic(RemoveTopicRecord { topic_id: b.id }));
    records.push(Record::Topic(TopicRecord { name: "c".into(), topic_id: Uuid::from_u128(77) }));
    records.push(Record::Topic(TopicRecord { name: "d".into(), topic_id: Uuid::from_u128(78) }));
    records.push(Record::RemoveTopic(RemoveTopicRecord { topic_id: Uuid::from_u128(78) }));
    let config = |value: Option<&str>| {
        Record::Config(ConfigRecord {
            resource_type: 2,
            resource_name: "a".into(),
            name: "retention.ms".into(),
            value: value.map(Into::into),
        })
    };
    records.push(config(Some("5")));
    let delta = cluster.apply(&records);
    assert_eq!(delta.topics.created.keys().copied().collect::<Vec<_>>(), [Uuid::from_u128(77)]);
    assert_eq!(delta.topics.deleted.keys().copied().collect::<Vec<_>>(), [b.id]);
    let change = &delta.topics.changed[&a.id];
    let led: Vec<i32> = a.partitions.iter().filter(|(_, one)| one.leader == leader).map(|(id, _)| *id).collect();
    assert_eq!(change.partitions.iter().copied().collect::<Vec<_>>(), led);
    assert_eq!(delta.configs.iter().cloned().collect::<Vec<_>>(), [ConfigResource::topic("a")]);
    assert_eq!(delta.brokers.iter().copied().collect::<Vec<_>>(), [leader]);
    assert_eq!(delta, MetadataDelta::between(&before, &cluster.image));
    assert!(cluster.apply(&[config(Some("5")), Record::NoOp]).is_empty());
}
