//! Milena: a drop-in replacement for an Apache Kafka broker.
//!
//! [`Broker::start`] builds the parts in order, [`Broker::shutdown`] takes them down. Everything else is found by
//! following a request: `server` cuts frames, `handlers` decide what they mean, `replica` holds the partitions,
//! `fetch` the sessions and long polls; the metadata is the controller's.

pub mod cli;
pub mod config;
mod descriptors;
pub mod env;
pub mod fetch;
pub mod handlers;
pub mod logging;
mod maintenance;
pub mod node;
pub mod replica;
pub mod server;
mod startup;

use std::sync::Arc;

use milena_controller::Controller;
use milena_storage::disk::{Disk, OsDisk};
use milena_storage::planted;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use startup::StartError;

use config::ServerConfig;
use node::Node;

/// A running broker.
#[derive(Debug)]
pub struct Broker {
    node: Arc<Node>,
    stop: watch::Sender<bool>,
    stop_following: watch::Sender<bool>,
    server: JoinHandle<()>,
    maintenance: JoinHandle<()>,
    follower: JoinHandle<()>,
    reporter: JoinHandle<()>,
    addresses: Vec<std::net::SocketAddr>,
}

impl Broker {
    /// Binds, locks and if need be formats the log dirs, joins the metadata quorum, opens the logs and serves.
    ///
    /// Must run within a multi-threaded tokio runtime. On an error nothing of the data has been changed beyond what a
    /// next start would do anyway.
    pub async fn start(config: ServerConfig) -> Result<Self, StartError> {
        Self::start_on(config, planted::disk(Arc::new(OsDisk))).await
    }

    /// The same on another disk: one that fails when a test wants it to.
    pub async fn start_on(config: ServerConfig, disk: Arc<dyn Disk>) -> Result<Self, StartError> {
        startup::start(config, disk).await
    }

    /// The addresses that are listened on.
    pub fn addresses(&self) -> &[std::net::SocketAddr] {
        &self.addresses
    }

    /// The parts, for a caller that dispatches frames without a socket.
    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// Waits for something that a broker cannot go on after: its controller failed, or its last log dir. Cancel-safe.
    pub async fn failed(&self) -> String {
        tokio::select! {
            error = self.node.controller.failed() => error.to_string(),
            reason = self.node.replicas.directories().lost() => reason,
        }
    }

    /// Stops accepting, lets requests under way end, closes every log and marks the log dirs as cleanly shut down.
    pub async fn shutdown(self) {
        tracing::info!(target: "kafka.server.BrokerServer", "[BrokerServer id={}] shutting down", self.node.id);
        self.stop.send_replace(true);
        // A parked answer may outlive its client's patience; the logs are closed in order all the same.
        let mut server = self.server;
        if tokio::time::timeout(startup::DRAIN_TIMEOUT, &mut server).await.is_err() {
            tracing::warn!(target: "kafka.server.BrokerServer", "some connections did not end in time");
            server.abort();
        }
        let _ = self.maintenance.await;
        let _ = self.reporter.await;
        self.stop_following.send_replace(true);
        let _ = self.follower.await;
        let (node, now) = (Arc::clone(&self.node), self.node.now());
        let closed = tokio::task::spawn_blocking(move || node.replicas.close(node.broker_epoch, now));
        if closed.await.is_err() {
            tracing::error!(target: "kafka.log.LogManager", "not every log could be closed");
        }
        Controller::shutdown(&self.node.controller).await;
        tracing::info!(target: "kafka.server.BrokerServer", "[BrokerServer id={}] shut down completed", self.node.id);
    }
}
