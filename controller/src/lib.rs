//! The controller: the metadata quorum (Raft) and the single writer that decides changes of the metadata.
//!
//! [`Controller`] is a cheap handle that works from any runtime. Behind it a thread named `controller` runs a runtime of its own: a busy data path or a
//! stalled disk never causes an election. Changes are decided purely (`milena_metadata::decide`), written as Kafka's metadata records, applied on every
//! node from the log, and published as an immutable [`MetadataImage`].
//!
//! Absent: sockets, Kafka requests, and anything about partitions' data.

mod changes;
mod config;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod handle;
mod log;
mod node;
mod quorum;
mod raft;
mod raft_log;
mod raft_network;
mod raft_state_machine;
mod writer;

pub use changes::{Change, Changes};
pub use config::ControllerConfig;
pub use handle::{Controller, ControllerFailure, StartError};
pub use log::{METADATA_DIRECTORY, segments::MetadataLogError};
pub use milena_metadata::{MetadataDelta, MetadataImage, Operation, Response};
pub use node::NodeId;
pub use quorum::{QuorumReplica, QuorumStatus};
pub use writer::{SubmitError, Submitted};
