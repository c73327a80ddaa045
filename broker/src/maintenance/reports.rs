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

use crate::node::Node;

/// How long one report may take, and how long to wait after one that failed.
const TIMEOUT: Duration = Duration::from_secs(30);
const BACKOFF: Duration = Duration::from_secs(1);
/// Replicas in one assignment (`AssignmentsManager.MAX_ASSIGNMENTS_PER_REQUEST` is 2250).
const ASSIGNMENTS_MAX: usize = 2000;

/// Reports until `stop` turns true. Owned by `Broker`.
pub(crate) async fn report(node: Arc<Node>, mut stop: watch::Receiver<bool>) {
    let replicas = &node.replicas;
    let mut failures = replicas.directories().failures();
    let mut reported = Vec::new();
    loop {
        let failed = replicas.fail_what_lies_offline();
        let told = told_where_all_lie(&node).await && {
            let is_news = failed.iter().any(|id| !reported.contains(id));
            !is_news || told_of_failures(&node, failed.clone()).await
        };
        if told {
            reported = failed;
        }
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = failures.next() => {}
            () = replicas.placed().notified() => {}
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

/// Whether the controller knows by now where every replica of this broker lies.
async fn told_where_all_lie(node: &Node) -> bool {
    let mut misplaced = node.replicas.misplaced();
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
