//! The lines of a start and a stop that people and tools wait for, in Kafka's words and under Kafka's loggers.
//!
//! The order of a start: [`registered_signal_handlers`], [`starting`], [`registered`], [`caught_up`], [`unfenced`],
//! [`started`]. Testcontainers waits for "Transitioning from RECOVERY to RUNNING" or "Kafka Server started", older
//! tools for `[KafkaServer id=1] started`.

use std::{net::SocketAddr, time::SystemTime};

use tracing::info;

/// The version whose behaviour is served.
pub const KAFKA_VERSION: &str = "4.3.1";

/// Signals are caught from here on.
pub fn registered_signal_handlers() {
    info!(target: "org.apache.kafka.common.utils.LoggingSignalHandler", "Registered signal handlers for TERM, INT, HUP");
}

/// The parts are about to be built.
pub fn starting(node_id: i32) {
    info!(target: "kafka.server.ControllerServer", "[ControllerServer id={node_id}] Starting controller");
    info!(target: "kafka.server.BrokerServer", "[BrokerServer id={node_id}] Transition from SHUTDOWN to STARTING");
    info!(target: "kafka.server.BrokerServer", "[BrokerServer id={node_id}] Starting broker");
}

/// The controller has accepted this broker.
pub fn registered(node_id: i32, broker_epoch: i64) {
    info!(
        target: "kafka.server.BrokerLifecycleManager",
        "[BrokerLifecycleManager id={node_id}] Successfully registered broker {node_id} with broker epoch {broker_epoch}"
    );
}

/// The image has reached the registration; the logs are opened.
pub fn caught_up(node_id: i32) {
    info!(
        target: "kafka.server.BrokerLifecycleManager",
        "[BrokerLifecycleManager id={node_id}] The broker has caught up. Transitioning from STARTING to RECOVERY."
    );
}

/// The broker may lead partitions.
pub fn unfenced(node_id: i32) {
    info!(
        target: "kafka.server.BrokerLifecycleManager",
        "[BrokerLifecycleManager id={node_id}] The broker has been unfenced. Transitioning from RECOVERY to RUNNING."
    );
}

/// Every listener accepts; the last lines of a start, and what a person may type next.
pub fn started(node_id: i32, addresses: &[SocketAddr]) {
    for address in addresses {
        info!(target: "kafka.network.DataPlaneAcceptor", "Awaiting socket connections on {address}.");
    }
    info!(target: "kafka.server.BrokerServer", "[BrokerServer id={node_id}] Transition from STARTING to STARTED");
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    info!(target: "org.apache.kafka.common.utils.AppInfoParser", "Kafka version: {KAFKA_VERSION}");
    info!(target: "org.apache.kafka.common.utils.AppInfoParser", "Milena version: {}", env!("CARGO_PKG_VERSION"));
    info!(target: "org.apache.kafka.common.utils.AppInfoParser", "Kafka startTimeMs: {}", since_epoch.as_millis());
    info!(target: "kafka.server.KafkaRaftServer", "[KafkaRaftServer nodeId={node_id}] Kafka Server started");
    info!(target: "kafka.server.KafkaServer", "[KafkaServer id={node_id}] started");
    let at = addresses.iter().find(|address| address.is_ipv4()).or(addresses.first());
    if let Some(at) = at {
        let host = if at.ip().is_unspecified() || at.ip().is_loopback() {
            "localhost".to_owned()
        } else {
            SocketAddr::new(at.ip(), 0).to_string().trim_end_matches(":0").to_owned()
        };
        info!(
            target: "milena",
            "Ready. Next: kcat -b {host}:{port} -L, or kafka-topics.sh --bootstrap-server {host}:{port} --create --topic first",
            port = at.port()
        );
    }
}

/// A signal ends the process; shutting down begins.
pub fn terminating(node_id: i32, signal: &str) {
    info!(
        target: "org.apache.kafka.common.utils.LoggingSignalHandler",
        "Terminating process due to signal {signal}"
    );
    info!(target: "kafka.server.BrokerServer", "[BrokerServer id={node_id}] Transition from STARTED to SHUTTING_DOWN");
}

/// Everything is closed.
pub fn shut_down(node_id: i32) {
    info!(target: "kafka.server.BrokerServer", "[BrokerServer id={node_id}] Transition from SHUTTING_DOWN to SHUTDOWN");
    info!(target: "org.apache.kafka.common.utils.AppInfoParser", "App info kafka.server for {node_id} unregistered");
}
