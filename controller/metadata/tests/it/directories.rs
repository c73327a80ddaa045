//! Log directories of a broker: where its replicas lie, and what becomes of those in one that failed (KIP-858).

use kafka_protocol::ResponseError;
use kafka_protocol::messages::assign_replicas_to_dirs_request::{DirectoryData, PartitionData, TopicData};
use kafka_protocol::messages::{
    AssignReplicasToDirsRequest, AssignReplicasToDirsResponse, BrokerHeartbeatRequest, BrokerId,
};
use milena_metadata::record::NO_LEADER;
use milena_metadata::{Operation, Response, UNASSIGNED_DIRECTORY};
use uuid::Uuid;

use crate::support::{Cluster, directory};
use crate::topics::{create, new_topic};

const SECOND: Uuid = Uuid::from_u128(0x2000);

fn start(cluster: &mut Cluster, incarnation: u128, log_dirs: Vec<Uuid>) {
    let request = Cluster::registration(1, incarnation, -1).with_log_dirs(log_dirs);
    cluster.run(Operation::RegisterBroker { version: 4, request });
    cluster.heartbeat(1, false, false);
}

fn assign(cluster: &mut Cluster, epoch: i64, index: i32, to: Uuid) -> (AssignReplicasToDirsResponse, usize) {
    let partition = PartitionData::default().with_partition_index(index);
    let topic_id = cluster.topic("t").id;
    let topic = TopicData::default().with_topic_id(topic_id).with_partitions(vec![partition]);
    let request = AssignReplicasToDirsRequest::default()
        .with_broker_id(BrokerId(1))
        .with_broker_epoch(epoch)
        .with_directories(vec![DirectoryData::default().with_id(to).with_topics(vec![topic])]);
    let decision = cluster.run(Operation::AssignReplicasToDirs { version: 0, request });
    let Response::AssignReplicasToDirs(response) = decision.response else { panic!("another answer") };
    (response, decision.records.len())
}

fn row_code(response: &AssignReplicasToDirsResponse) -> i16 {
    response.directories[0].topics[0].partitions[0].error_code
}

#[test]
fn what_lies_in_a_failed_directory_has_no_leader_until_the_directory_is_back() {
    let mut cluster = Cluster::with_brokers(1);
    start(&mut cluster, 50, vec![directory(1), SECOND]);
    create(&mut cluster, vec![new_topic("t", 2, 1)]);
    let epoch = cluster.image.brokers.get(1).unwrap().epoch;
    assert_eq!(cluster.topic("t").partitions[&0].directories, [UNASSIGNED_DIRECTORY]);
    for (index, to) in [(0, directory(1)), (1, SECOND)] {
        let before = cluster.topic("t").partitions[&index].leader_epoch;
        assert_eq!(row_code(&assign(&mut cluster, epoch, index, to).0), 0);
        let after = &cluster.topic("t").partitions[&index];
        assert_eq!((&*after.directories, after.leader_epoch), (&[to][..], before), "an assignment elects nobody");
        assert_eq!(assign(&mut cluster, epoch, index, to).1, 0, "what is assigned already makes no record");
    }

    let failed = BrokerHeartbeatRequest::default()
        .with_broker_id(BrokerId(1))
        .with_broker_epoch(epoch)
        .with_current_metadata_offset(cluster.image.offset)
        .with_offline_log_dirs(vec![SECOND]);
    cluster.run(Operation::BrokerHeartbeat { version: 1, request: failed });
    let leaders = |cluster: &Cluster| [0, 1].map(|index| cluster.topic("t").partitions[&index].leader);
    assert_eq!(leaders(&cluster), [1, NO_LEADER]);
    assert_eq!(cluster.image.brokers.get(1).unwrap().log_dirs, [directory(1)]);

    start(&mut cluster, 51, vec![directory(1)]);
    assert_eq!(leaders(&cluster), [1, NO_LEADER], "a restart without the directory brings nothing back");
    start(&mut cluster, 52, vec![directory(1), SECOND]);
    assert_eq!(leaders(&cluster), [1, 1]);
}

#[test]
fn assignments_of_strangers_and_of_what_is_not_there_are_refused() {
    let mut cluster = Cluster::with_brokers(1);
    create(&mut cluster, vec![new_topic("t", 1, 1)]);
    let epoch = cluster.image.brokers.get(1).unwrap().epoch;
    assert_eq!(assign(&mut cluster, epoch + 9, 0, SECOND).0.error_code, ResponseError::StaleBrokerEpoch.code());
    let (response, records) = assign(&mut cluster, epoch, 7, SECOND);
    assert_eq!((row_code(&response), records), (ResponseError::UnknownTopicOrPartition.code(), 0));
}
