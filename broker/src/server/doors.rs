//! Accepting: does what `quotas` decide, for all listeners of this broker.
//!
//! Descriptors are shared with the logs: connections get a part of what the process may open, so that a flood of them
//! cannot take those that segments need. At that many connections acceptors wait as they do at `max.connections`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use milena_net::listener::{Listener, addresses_of, is_out_of_descriptors};
use milena_net::{Accepted, Activity, Ended, Memory};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::connection;
use super::log::Limited;
use super::quotas::{AddressFull, ConnectionQuotas, Limits, ListenerLimits, Windows};
use crate::config::BrokerSettings;
use crate::handlers::context::ConnectionInfo;
use crate::node::Node;

/// After `accept` failed: an immediate retry would only spin until somebody closes a descriptor.
const RETRY_ACCEPT: Duration = Duration::from_millis(50);

/// The entrance that all listeners share.
pub(super) struct Doors {
    node: Arc<Node>,
    memory: Arc<Memory>,
    quotas: Mutex<ConnectionQuotas>,
    open: Mutex<BTreeMap<u64, Activity>>,
    slot_free: Notify,
    descriptors_max: usize,
    started: Instant,
}

/// A connection that was let in; dropping it makes its slot free.
struct Slot {
    doors: Arc<Doors>,
    id: u64,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.doors.open.lock().remove(&self.id);
        self.doors.quotas.lock().leave(self.id);
        self.doors.slot_free.notify_waiters();
    }
}

impl Doors {
    /// Doors of these listeners, with at most `descriptors_max` connections whatever is configured.
    pub(super) fn new(
        node: &Arc<Node>,
        memory: &Arc<Memory>,
        listeners: &[Arc<str>],
        descriptors_max: usize,
    ) -> Arc<Self> {
        let limits = limits(&node.settings(), listeners, descriptors_max, BTreeMap::new());
        let settings = &node.config.settings;
        let windows = Windows {
            number: settings.quota_window_num.max(1) as usize,
            size: Duration::from_secs(settings.quota_window_size_seconds.max(1) as u64),
        };
        let quotas = ConnectionQuotas::new(limits, listeners, &node.config.inter_broker_listener_name, windows);
        Arc::new(Self {
            node: Arc::clone(node),
            memory: Arc::clone(memory),
            quotas: Mutex::new(quotas),
            open: Mutex::new(BTreeMap::new()),
            slot_free: Notify::new(),
            descriptors_max,
            started: Instant::now(),
        })
    }

    /// Takes over limits as they are altered. Never returns.
    pub(super) async fn follow_settings(&self, listeners: &[Arc<str>]) {
        let mut changes = self.node.live.changes();
        loop {
            let settings = Arc::clone(&self.node.settings());
            let overrides = resolved(&settings).await;
            let limits = limits(&settings, listeners, self.descriptors_max, overrides);
            self.quotas.lock().update(limits);
            self.slot_free.notify_waiters();
            self.close_excess();
            if changes.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    fn close_excess(&self) {
        let excess = {
            let open = self.open.lock();
            self.quotas.lock().excess(|id| open.get(&id).map_or(0, Activity::quiet_checks))
        };
        for id in excess {
            self.memory.end(id, Ended::MadeRoom);
        }
    }

    /// Waits until a listener may let one more connection in. Cancel-safe.
    async fn slot(&self, listener: &str) {
        static DESCRIPTORS: Limited = Limited::new();
        let mut waited = false;
        loop {
            let mut freed = std::pin::pin!(self.slot_free.notified());
            freed.as_mut().enable();
            let full_by_descriptors = {
                let quotas = self.quotas.lock();
                if quotas.has_slot(listener) {
                    return;
                }
                quotas.limits().broker == self.descriptors_max
            };
            if full_by_descriptors && !std::mem::replace(&mut waited, true) {
                DESCRIPTORS.line(|note| {
                    tracing::warn!(
                        target: "kafka.network.Acceptor",
                        "{} connections are open, and new ones wait: the process may open no more files; raise ulimit -n{note}",
                        self.descriptors_max
                    );
                });
            }
            freed.await;
        }
    }

    /// The slot of a connection, unless its address has too many.
    fn admit(self: &Arc<Self>, accepted: &Accepted, listener: &Arc<str>, address: IpAddr) -> Result<Slot, AddressFull> {
        let id = accepted.seat.id();
        self.quotas.lock().admit(id, listener, address)?;
        self.open.lock().insert(id, accepted.activity.clone());
        self.close_excess();
        Ok(Slot { doors: Arc::clone(self), id })
    }

    /// Accepts on one socket until `stop` turns true, then lets its connections finish the requests they have taken.
    pub(super) async fn accept(self: Arc<Self>, listener: Arc<str>, socket: Listener, mut stop: watch::Receiver<bool>) {
        static REJECTED: Limited = Limited::new();
        let mut connections = JoinSet::new();
        // Not begun anew when another connection ends: one that was accepted may wait in it.
        let mut next = std::pin::pin!(self.next(&listener, &socket));
        loop {
            let (accepted, info) = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                Some(_) = connections.join_next() => continue,
                accepted = &mut next => accepted,
            };
            next.set(self.next(&listener, &socket));
            match self.admit(&accepted, &listener, info.peer.ip()) {
                Ok(slot) => {
                    let (node, stop) = (Arc::clone(&self.node), stop.clone());
                    connections.spawn(async move {
                        let _slot = slot;
                        connection::run(node, info, accepted, stop).await;
                    });
                }
                Err(AddressFull { max }) => REJECTED.line(|note| {
                    tracing::info!(
                        target: "kafka.network.DataPlaneAcceptor",
                        "Rejected connection from /{}, address already has the configured maximum of {max} connections.{note}",
                        info.peer.ip()
                    );
                }),
            }
        }
        while connections.join_next().await.is_some() {}
    }

    /// The next connection for which there is a slot, when its rate allows it. Not cancel-safe: a dropped call closes the
    /// connection that waits in it.
    async fn next(&self, listener: &Arc<str>, socket: &Listener) -> (Accepted, ConnectionInfo) {
        static FAILED: Limited = Limited::new();
        loop {
            self.slot(listener).await;
            match socket.accept().await {
                Ok(incoming) => {
                    let delay = self.quotas.lock().record(listener, self.started.elapsed());
                    if !delay.is_zero() {
                        tokio::time::sleep(delay).await;
                    }
                    // Another socket of this broker may have taken the last one.
                    self.slot(listener).await;
                    let peer = incoming.peer;
                    let accepted = incoming.open(&self.memory);
                    let (listener, seat) = (Arc::clone(listener), Some(Arc::clone(&accepted.seat)));
                    let info = ConnectionInfo { listener, peer, local: accepted.local, seat };
                    return (accepted, info);
                }
                Err(error) if is_out_of_descriptors(&error) => {
                    FAILED.line(|note| {
                        tracing::error!(
                            target: "kafka.network.Acceptor",
                            "Error while accepting connection: {error}; new connections wait{note}"
                        );
                    });
                    tokio::time::sleep(RETRY_ACCEPT).await;
                }
                // The peer has gone before it was accepted.
                Err(error) => {
                    tracing::debug!(target: "kafka.network.Acceptor", "Error while accepting connection: {error}");
                }
            }
        }
    }
}

/// What the settings say, and no more connections than there are descriptors for. A listener's own keys replace the
/// broker's for it.
fn limits(
    settings: &BrokerSettings,
    listeners: &[Arc<str>],
    descriptors_max: usize,
    per_ip_overrides: BTreeMap<IpAddr, usize>,
) -> Limits {
    let count = |value: i32| value.max(0) as usize;
    let of_listener = |name: &Arc<str>| {
        let own = settings.listener_limits.get(&**name).copied().unwrap_or_default();
        let limits = ListenerLimits {
            connections: count(own.max_connections.unwrap_or(settings.max_connections)),
            rate: own.max_connection_creation_rate.unwrap_or(settings.max_connection_creation_rate).max(0) as u32,
        };
        (Arc::clone(name), limits)
    };
    Limits {
        broker: count(settings.max_connections).min(descriptors_max),
        broker_rate: settings.max_connection_creation_rate.max(0) as u32,
        listeners: listeners.iter().map(of_listener).collect(),
        per_ip: count(settings.max_connections_per_ip),
        per_ip_overrides,
    }
}

/// `max.connections.per.ip.overrides` by address. A name that cannot be resolved limits nobody.
async fn resolved(settings: &BrokerSettings) -> BTreeMap<IpAddr, usize> {
    let hosts = settings.max_connections_per_ip_overrides.clone();
    if hosts.is_empty() {
        return BTreeMap::new();
    }
    let resolving = tokio::task::spawn_blocking(move || {
        let mut addresses = BTreeMap::new();
        for (host, max) in hosts {
            match addresses_of(&host) {
                Ok(found) => addresses.extend(found.into_iter().map(|address| (address, max.max(0) as usize))),
                Err(error) => tracing::error!(
                    target: "kafka.network.SocketServer",
                    "max.connections.per.ip.overrides: the host '{host}' cannot be resolved: {error}"
                ),
            }
        }
        addresses
    });
    resolving.await.unwrap_or_default()
}
