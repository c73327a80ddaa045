//! The Raft node: types, start, leadership, proposals. With `raft_log`, `raft_state_machine` and `raft_network` the only files that name openraft.
//!
//! A quorum of one runs the same code as a larger one: it initialises itself when its log is empty and it is the only configured voter, and it stands for
//! election at once, because nobody else can.

use std::{
    collections::BTreeMap,
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use milena_metadata::MetadataImage;
use milena_protocol::types::Timestamp;
use milena_storage::{disk::Disk, env::Env};
use openraft::{
    BasicNode, Config, Instant, Raft, RaftMetrics, SnapshotPolicy,
    async_runtime::watch::WatchReceiver,
    errors::{ClientWriteError, Fatal},
    impls::{ProgressResponder, leader_id_std},
    metrics::RaftServerMetrics,
    type_config::alias::WatchReceiverOf,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{
    changes::Published,
    config::ControllerConfig,
    log::{
        METADATA_DIRECTORY,
        frame::LogId,
        queue::LogQueue,
        segments::{MetadataLogError, Segments},
    },
    node::NodeId,
    quorum::{QuorumReplica, QuorumStatus},
    raft_log::{RaftLog, from_raft_id},
    raft_network::Network,
    raft_state_machine::{SnapshotStore, StateMachine},
};

/// Encoded metadata records: one batch, one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MetadataBatch(pub(crate) Bytes);

impl fmt::Display for MetadataBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes of metadata records", self.0.len())
    }
}

// openraft asks for these; our own formats are what reaches the disk.
impl Serialize for MetadataBatch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for MetadataBatch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::<u8>::deserialize(deserializer).map(|bytes| Self(bytes.into()))
    }
}

openraft::declare_raft_types!(
    /// One leader per term, so that the term is Kafka's leader epoch.
    pub(crate) TypeConfig:
        D = MetadataBatch,
        R = (),
        NodeId = NodeId,
        Node = BasicNode,
        LeaderId = leader_id_std::LeaderId<u64, NodeId>,
);

/// Why a proposal did not become metadata.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProposeError {
    /// Nothing was written.
    #[error("this node does not lead the quorum in term {term}")]
    NotLeader { term: u64 },
    /// Written, then replaced or lost from sight: it may become true or not.
    #[error("the outcome of the entry is unknown")]
    Unknown,
    /// Raft has stopped.
    #[error("{0}")]
    Stopped(String),
}

/// A running Raft node. Cheap to clone.
#[derive(Clone)]
pub(crate) struct RaftNode {
    raft: Raft<TypeConfig, StateMachine>,
    log: RaftLog,
    member: NodeId,
    published: Arc<Published>,
}

impl RaftNode {
    /// Recovers log and state. The node takes part in the quorum after [`RaftNode::run`].
    pub(crate) async fn open(
        config: &ControllerConfig,
        disk: Arc<dyn Disk>,
        env: &Env,
        published: Arc<Published>,
    ) -> Result<Self, OpenError> {
        let dir = config.dir.join(METADATA_DIRECTORY);
        refuse_kafka(disk.as_ref(), &config.dir)?;
        let (segments, view) = Segments::open(Arc::clone(&disk), &dir, config.segment_bytes)?;
        let queue = LogQueue::new(segments, Arc::clone(&env.disk_threads), config.log_dir);
        let log = RaftLog::new(view, queue);
        let store = SnapshotStore::open(disk, dir, Arc::clone(&env.disk_threads), config.log_dir)?;
        let state_machine = StateMachine::new(Arc::clone(&published), store);

        let raft_config = raft_config(config).validate().map_err(|error| OpenError::Raft(error.to_string()))?;
        let raft = Raft::build(config.member(), Arc::new(raft_config), Network, log.clone(), state_machine)
            .await
            .map_err(|error| OpenError::Raft(error.to_string()))?;
        Ok(Self { raft, log, member: config.member(), published })
    }

    /// Whether the metadata log lives on its reserve.
    pub(crate) async fn is_short_of_room(&self) -> bool {
        self.log.is_short_of_room().await
    }

    /// Takes part. An empty log is initialised with this node as the only voter; a node that is the only voter stands for election.
    pub(crate) async fn run(&self, address: &str) -> Result<(), OpenError> {
        let stopped = |error: Fatal<TypeConfig>| OpenError::Raft(error.to_string());
        self.raft.run();
        if !self.raft.is_initialized().await.map_err(stopped)? {
            let voters = BTreeMap::from([(self.member, BasicNode::new(address))]);
            self.raft.initialize(voters).await.map_err(|error| OpenError::Raft(error.to_string()))?;
        }
        let (members, voters) = self
            .raft
            .with_raft_state(|state| {
                let membership = state.membership_state.effective().membership();
                let members: Vec<NodeId> = membership.nodes().map(|(node, _)| *node).collect();
                (members, membership.voter_ids().collect::<Vec<NodeId>>())
            })
            .await
            .map_err(stopped)?;
        if !members.contains(&self.member) {
            return Err(OpenError::NotAMember { member: self.member, members });
        }
        if voters == [self.member] {
            // Without this it would wait for an election timeout to pass.
            self.raft.trigger().elect(false).await.map_err(stopped)?;
        }
        Ok(())
    }

    /// Waits until this node leads and has applied the first entry of its term, so that its image is complete, and returns the term.
    /// Cancel-safe.
    pub(crate) async fn leadership(&self) -> Result<u64, NoLeadership> {
        let mut watch = self.watch();
        let mut applied = self.published.applied();
        loop {
            match watch.leader() {
                Some(leader) if leader != self.member => return Err(NoLeadership::OtherLeader(leader)),
                _ => {}
            }
            if let Some(term) = watch.led_term()
                && applied.borrow_and_update().is_some_and(|applied| applied.term >= term)
            {
                return Ok(term);
            }
            tokio::select! {
                changed = watch.changed() => if !changed { return Err(NoLeadership::Stopped) },
                _ = applied.changed() => {}
            }
        }
    }

    /// Lets Raft's clock tick only while there is somebody to send heartbeats to or to hear them from: a lone idle node is not woken 25 times a second.
    /// Runs until it is dropped.
    pub(crate) async fn tick_in_company(&self) {
        let mut metrics = self.raft.server_metrics();
        loop {
            let company =
                metrics.borrow_watched().membership_config.membership().nodes().any(|(node, _)| *node != self.member);
            self.raft.runtime_config().tick(company);
            if metrics.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    /// Who leads, as this node hears of it.
    pub(crate) fn watch(&self) -> LeaderWatch {
        LeaderWatch { metrics: self.raft.server_metrics(), member: self.member }
    }

    /// Writes records as one entry of `term` and waits until this node has applied them.
    pub(crate) async fn propose(&self, term: u64, records: Bytes) -> Result<(), ProposeError> {
        let (responder, answer) = ProgressResponder::complete_only();
        let write = self.raft.write(MetadataBatch(records)).with_leader(term).responder(responder);
        write.await.map_err(|error| ProposeError::Stopped(error.to_string()))?;
        match answer.await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(ClientWriteError::ForwardToLeader(_))) => Err(ProposeError::NotLeader { term }),
            Ok(Err(_)) | Err(_) => Err(ProposeError::Unknown),
        }
    }

    /// State of the quorum; `now` stands for the leader's own timestamps.
    pub(crate) fn quorum(&self, now: Timestamp) -> QuorumStatus {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        quorum_status(&metrics, self.member, &self.published.image(), now)
    }

    /// Why Raft stopped by itself; never returns while it runs or after an orderly stop.
    pub(crate) async fn failed(&self) -> String {
        let mut metrics = self.raft.metrics();
        loop {
            if let Err(fatal) = &metrics.borrow_watched().running_state
                && !matches!(fatal, Fatal::Stopped)
            {
                return fatal.to_string();
            }
            if metrics.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Stops Raft and closes the log in order.
    pub(crate) async fn shutdown(&self) -> io::Result<()> {
        if let Err(error) = self.raft.shutdown().await {
            tracing::error!("Raft did not stop in order: {error}");
        }
        self.log.close().await
    }
}

/// Why this node does not decide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NoLeadership {
    OtherLeader(NodeId),
    Stopped,
}

/// Who leads the quorum, and when that changes.
pub(crate) struct LeaderWatch {
    metrics: WatchReceiverOf<TypeConfig, RaftServerMetrics<TypeConfig>>,
    member: NodeId,
}

impl LeaderWatch {
    pub(crate) fn leader(&self) -> Option<NodeId> {
        self.metrics.borrow_watched().current_leader
    }

    /// The term in which this node leads, if it does.
    fn led_term(&self) -> Option<u64> {
        let metrics = self.metrics.borrow_watched();
        let leads = metrics.vote.committed && metrics.vote.leader_id.voted_for == self.member;
        (leads && metrics.current_leader == Some(self.member)).then_some(metrics.vote.leader_id.term)
    }

    pub(crate) fn leads_in(&self, term: u64) -> bool {
        self.led_term() == Some(term)
    }

    /// Waits for a change; `false` once Raft has stopped. Cancel-safe.
    pub(crate) async fn changed(&mut self) -> bool {
        self.metrics.changed().await.is_ok()
    }
}

/// Why the controller cannot start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error(transparent)]
    Log(#[from] MetadataLogError),
    #[error("{}/__cluster_metadata-0 was written by Apache Kafka; this broker cannot adopt it and will not touch it", .0.display())]
    KafkaMetadata(PathBuf),
    #[error("{member} is not a member of the metadata quorum {members:?}")]
    NotAMember { member: NodeId, members: Vec<NodeId> },
    #[error("the metadata quorum cannot start: {0}")]
    Raft(String),
}

/// A directory with Kafka's own metadata log is another cluster's memory.
fn refuse_kafka(disk: &dyn Disk, dir: &Path) -> Result<(), OpenError> {
    if disk.metadata(&dir.join("__cluster_metadata-0")).is_ok() {
        Err(OpenError::KafkaMetadata(dir.to_owned()))
    } else {
        Ok(())
    }
}

fn raft_config(config: &ControllerConfig) -> Config {
    Config {
        cluster_name: config.cluster_id.clone(),
        heartbeat_interval: 200,
        election_timeout_min: 1000,
        election_timeout_max: 2000,
        enable_pre_vote: Some(true),
        // A leader that restarts stands for election like everybody: its term is a new one, and what its log holds is committed anew before it serves.
        enable_leader_restore: Some(false),
        install_snapshot_timeout: 120_000,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(config.snapshot_entries),
        max_in_snapshot_log_to_keep: config.snapshot_entries / 2,
        purge_batch_size: (config.snapshot_entries / 4).max(1),
        replication_lag_threshold: config.snapshot_entries.saturating_mul(2),
        ..Config::default()
    }
}

fn quorum_status(
    metrics: &RaftMetrics<TypeConfig>,
    member: NodeId,
    image: &MetadataImage,
    now: Timestamp,
) -> QuorumStatus {
    let high_watermark = image.offset + 1;
    let applied = metrics.last_applied.map(from_raft_id).map_or(-1, |id: LogId| id.index as i64);
    // Raft counts entries, offsets count records: exact while nothing is under way, else too few records per entry are assumed.
    let end_offset = |index: Option<u64>| high_watermark + index.map_or(-1, |index| index as i64) - applied;
    let leads = metrics.current_leader == Some(member);
    let replica = |node: NodeId| {
        if node == member {
            let seen = if leads { now } else { -1 };
            return QuorumReplica {
                node,
                log_end_offset: end_offset(metrics.last_log_index),
                last_fetch_timestamp: seen,
                last_caught_up_timestamp: seen,
            };
        }
        let matched = metrics.replication.as_ref().and_then(|nodes| nodes.get(&node).copied().flatten());
        let heard = metrics
            .heartbeat
            .as_ref()
            .and_then(|nodes| nodes.get(&node)?.as_ref().map(|at| at.elapsed().as_millis() as i64));
        let heard_at = heard.map_or(-1, |ago| now - ago);
        let caught_up = matched.is_some_and(|id| Some(id.index) >= metrics.last_applied.map(|id| id.index));
        QuorumReplica {
            node,
            log_end_offset: matched.map_or(-1, |id| end_offset(Some(id.index))),
            last_fetch_timestamp: heard_at,
            last_caught_up_timestamp: if caught_up { heard_at } else { -1 },
        }
    };
    let membership = metrics.membership_config.membership();
    QuorumStatus {
        leader: metrics.current_leader,
        leader_epoch: metrics.current_term as i32,
        high_watermark,
        voters: membership.voter_ids().map(replica).collect(),
        observers: membership.learner_ids().map(replica).collect(),
    }
}
