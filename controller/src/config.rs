//! What a node must know to take part in the metadata quorum.

use std::{collections::BTreeMap, path::PathBuf};

use uuid::Uuid;

use crate::node::NodeId;

/// Configuration of a controller. Start from [`ControllerConfig::new`] and set what differs.
#[derive(Debug, Clone)]
pub struct ControllerConfig {
    /// `node.id`
    pub node_id: i32,
    /// `directory.id` of the metadata log dir.
    pub directory_id: Uuid,
    /// `cluster.id`, for the log and for the peers that will ask.
    pub cluster_id: String,
    /// The metadata log dir (`metadata.log.dir`, else the first of `log.dirs`); the log lives in [`METADATA_DIRECTORY`](crate::METADATA_DIRECTORY) inside it.
    pub dir: PathBuf,
    /// Number of that log dir, as the disk threads count.
    pub log_dir: usize,
    /// Where peers will reach this node's controller, `host:port`; empty while nobody can.
    pub address: String,
    /// Keys set in `server.properties`; decisions describe configs with their true source.
    pub static_config: BTreeMap<String, String>,
    /// `metadata.log.segment.bytes`: a segment is closed once it is larger.
    pub segment_bytes: u64,
    /// A snapshot is made after so many entries of the log; half of them stay in the log for slow followers.
    pub snapshot_entries: u64,
}

impl ControllerConfig {
    /// A quorum of one with this node in it.
    pub fn new(node_id: i32, directory_id: Uuid, cluster_id: impl Into<String>, dir: impl Into<PathBuf>) -> Self {
        Self {
            node_id,
            directory_id,
            cluster_id: cluster_id.into(),
            dir: dir.into(),
            log_dir: 0,
            address: String::new(),
            static_config: BTreeMap::new(),
            segment_bytes: 16 << 20,
            snapshot_entries: 4096,
        }
    }

    /// This node as a member of the quorum.
    pub fn member(&self) -> NodeId {
        NodeId { id: self.node_id, directory_id: self.directory_id }
    }
}
