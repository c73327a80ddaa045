//! The quorum as DescribeQuorum (key 55) tells it.

use milena_protocol::types::Timestamp;

use crate::node::NodeId;

/// State of the metadata quorum as this node knows it; exact on the leader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuorumStatus {
    /// Who leads, if anybody does.
    pub leader: Option<NodeId>,
    /// The Raft term.
    pub leader_epoch: i32,
    /// Offset behind the last committed entry.
    pub high_watermark: i64,
    /// Members that vote, ordered by id.
    pub voters: Vec<QuorumReplica>,
    /// Members that only follow, ordered by id.
    pub observers: Vec<QuorumReplica>,
}

/// One member of the quorum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuorumReplica {
    /// Its id and the id of its disk.
    pub node: NodeId,
    /// Offset behind the last entry that is known to be in its log; -1 if unknown.
    pub log_end_offset: i64,
    /// When it last asked for entries, -1 if unknown; of the leader itself: now.
    pub last_fetch_timestamp: Timestamp,
    /// When it was last known to have everything, -1 if unknown; of the leader itself: now.
    pub last_caught_up_timestamp: Timestamp,
}
