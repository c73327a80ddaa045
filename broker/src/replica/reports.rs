//! What the controller is told of this broker's log dirs: which of them holds what, and which have failed (KIP-858).
//!
//! A failed log dir takes the partitions in it offline at once; the heartbeat that names it lets the controller give their
//! leadership to others, or to nobody, which is what clients see in the metadata. Source: `AssignmentsManager`,
//! `BrokerLifecycleManager.propagateDirectoryFailure`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::messages::assign_replicas_to_dirs_request::{DirectoryData, PartitionData, TopicData};
use kafka_protocol::messages::{AssignReplicasToDirsRequest, BrokerHeartbeatRequest, BrokerId};
use milena_metadata::decide::Operation;
use tokio::sync::watch;
use uuid::Uuid;

use super::Replicas;
use crate::node::Node;

/// How long one report may take, and how long to wait after one that failed.
const TIMEOUT: Duration = Duration::from_secs(30);
const BACKOFF: Duration = Duration::from_secs(1);
/// Replicas in one assignment (`AssignmentsManager.MAX_ASSIGNMENTS_PER_REQUEST` is 2250).
const ASSIGNMENTS_MAX: usize = 2000;

/// Reports until `stop` turns true. Owned by `Broker`.
pub async fn report(node: Arc<Node>, mut stop: watch::Receiver<bool>) {
    let replicas = &node.replicas;
    let mut failures = replicas.directories.failures();
    let mut reported = Vec::new();
    loop {
        let failed = replicas.fail_what_lies_offline();
        let told = replicas.told_where_all_lie(&node).await && {
            let is_news = failed.iter().any(|id| !reported.contains(id));
            !is_news || told_of_failures(&node, failed.clone()).await
        };
        if told {
            reported = failed;
        }
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = failures.next() => {}
            () = replicas.placed.notified() => {}
            () = tokio::time::sleep(BACKOFF), if !told => {}
        }
    }
}

async fn told_of_failures(node: &Node, failed: Vec<Uuid>) -> bool {
    let request = BrokerHeartbeatRequest::default()
        .with_broker_id(BrokerId(node.id))
        .with_broker_epoch(node.broker_epoch)
        .with_current_metadata_offset(node.image().offset)
        .with_offline_log_dirs(failed);
    node.submit(Operation::BrokerHeartbeat { version: 1, request }, TIMEOUT).await.is_ok()
}

impl Replicas {
    /// The partitions of failed log dirs go offline: whoever waits for them is told. Answers the ids of these log dirs.
    fn fail_what_lies_offline(&self) -> Vec<Uuid> {
        let directories = &self.directories;
        if !directories.any_offline() {
            return Vec::new();
        }
        for partition in self.all().iter().filter(|partition| partition.is_offline()) {
            partition.fail();
        }
        let offline = directories.iter().filter(|directory| directory.health.is_offline() && !directory.id.is_nil());
        offline.map(|directory| directory.id).collect()
    }

    /// Whether the controller knows by now where every replica of this broker lies.
    async fn told_where_all_lie(&self, node: &Node) -> bool {
        let mut misplaced = self.misplaced();
        while !misplaced.is_empty() {
            let later = misplaced.split_off(misplaced.len().min(ASSIGNMENTS_MAX));
            let request = AssignReplicasToDirsRequest::default()
                .with_broker_id(BrokerId(node.id))
                .with_broker_epoch(node.broker_epoch)
                .with_directories(by_directory(misplaced));
            if node.submit(Operation::AssignReplicasToDirs { version: 0, request }, TIMEOUT).await.is_err() {
                return false;
            }
            misplaced = later;
        }
        true
    }

    /// Log dir, topic and index of the partitions that the metadata has in another log dir, or in none.
    fn misplaced(&self) -> Vec<(Uuid, Uuid, i32)> {
        let image = self.image();
        let misplaced = self.all().into_iter().filter_map(|partition| {
            let actual = self.directories.get(partition.log_dir).id;
            let index = partition.topic_partition.partition;
            let assigned = image.topics.partition_by_id(partition.topic_id, index)?.directory(self.local)?;
            (assigned != actual).then_some((actual, partition.topic_id, index))
        });
        misplaced.collect()
    }
}

fn by_directory(misplaced: Vec<(Uuid, Uuid, i32)>) -> Vec<DirectoryData> {
    let mut directories: BTreeMap<Uuid, BTreeMap<Uuid, Vec<PartitionData>>> = BTreeMap::new();
    for (directory, topic, index) in misplaced {
        let row = PartitionData::default().with_partition_index(index);
        directories.entry(directory).or_default().entry(topic).or_default().push(row);
    }
    let topics = |topics: BTreeMap<Uuid, Vec<PartitionData>>| {
        topics.into_iter().map(|(id, rows)| TopicData::default().with_topic_id(id).with_partitions(rows)).collect()
    };
    directories.into_iter().map(|(id, rows)| DirectoryData::default().with_id(id).with_topics(topics(rows))).collect()
}
