//! DescribeLogDirs (key 35): where the partitions of this broker lie and how large they are.
//!
//! Versions 0-5: v2 flexible, v4 total and usable bytes (KIP-827), v5 cordoned dirs (KIP-1066; none is here). Topics
//! null means all, an empty list none; what is unknown is left out. Source: `ReplicaManager.describeLogDirs`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::BytesMut;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::DescribeLogDirsRequest;
use kafka_protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use milena_protocol::messages::describe_log_dirs::{self, LogDir};

use super::common::{text, topic_name};
use super::context::Context;
use super::{Reply, encode_with};
use crate::replica::partition::Partition;

/// First version that tells the size of the disk.
const SPACE: i16 = 4;

pub(super) fn handle(context: &Context<'_>, body: BytesMut) -> Reply {
    let request = match describe_log_dirs::decode_request(&mut body.freeze(), context.version) {
        Ok(request) => request,
        Err(error) => return Reply::Close(error.to_string()),
    };
    let replicas = &context.node.replicas;
    let wanted = wanted(&request);
    let partitions: Vec<Arc<Partition>> = replicas
        .all()
        .into_iter()
        .filter(|partition| {
            let name = &partition.topic_partition;
            let of_topic = |wanted: &BTreeMap<&str, BTreeSet<i32>>| {
                wanted.get(&*name.topic).is_some_and(|partitions| partitions.contains(&name.partition))
            };
            wanted.as_ref().is_none_or(of_topic)
        })
        .collect();
    let mut log_dirs = Vec::new();
    for (index, directory) in replicas.directories().iter().enumerate() {
        let mut result = DescribeLogDirsResult::default().with_log_dir(text(&directory.path.to_string_lossy()));
        if directory.health.is_offline() {
            result.error_code = ResponseError::KafkaStorageError.code();
        } else {
            result.topics = topics(index, &partitions);
            if let Some(space) = replicas.directories().space(index).filter(|_| context.version >= SPACE) {
                result.total_bytes = space.total_bytes as i64;
                result.usable_bytes = space.usable_bytes as i64;
            }
        }
        log_dirs.push(LogDir { result, is_cordoned: false });
    }
    encode_with(context.head(), 256, |frame| describe_log_dirs::encode_response(frame, 0, 0, log_dirs, context.version))
}

/// By topic: a name is kept once, however many partitions it has.
fn wanted(request: &DescribeLogDirsRequest) -> Option<BTreeMap<&str, BTreeSet<i32>>> {
    let mut wanted: BTreeMap<&str, BTreeSet<i32>> = BTreeMap::new();
    for topic in request.topics.as_ref()? {
        wanted.entry(topic.topic.as_str()).or_default().extend(&topic.partitions);
    }
    Some(wanted)
}

fn topics(log_dir: usize, partitions: &[Arc<Partition>]) -> Vec<DescribeLogDirsTopic> {
    let mut topics: BTreeMap<Arc<str>, Vec<DescribeLogDirsPartition>> = BTreeMap::new();
    for partition in partitions.iter().filter(|partition| partition.log_dir == log_dir) {
        let reader = partition.reader();
        let row = DescribeLogDirsPartition::default()
            .with_partition_index(partition.topic_partition.partition)
            .with_partition_size(reader.size_in_bytes() as i64)
            .with_offset_lag((partition.high_watermark() - reader.log_end_offset()).max(0));
        topics.entry(Arc::clone(&partition.topic_partition.topic)).or_default().push(row);
    }
    topics
        .into_iter()
        .map(|(name, rows)| DescribeLogDirsTopic::default().with_name(topic_name(&name)).with_partitions(rows))
        .collect()
}
