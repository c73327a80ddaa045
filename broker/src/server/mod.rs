//! Accepting and serving connections: the only module that imports handlers.

mod connection;
mod doors;
mod log;
mod memory_limit;
mod quotas;
mod rate;
mod weight;

use std::net::SocketAddr;
use std::sync::Arc;

use milena_net::Memory;
use milena_net::listener::{Listener, ListenerError, SocketOptions};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::node::Node;
use doors::Doors;

/// One configured listener, bound: a name and one or more sockets.
#[derive(Debug)]
pub struct BoundListener {
    /// The listener's name, such as `PLAINTEXT`.
    pub name: Arc<str>,
    sockets: Vec<Listener>,
}

impl BoundListener {
    /// Binds every address the hosts mean. A port of 0 lets the kernel choose one for all of them.
    pub fn bind(name: &str, hosts: &[&str], port: u16, options: SocketOptions) -> Result<Self, ListenerError> {
        Ok(Self { name: name.into(), sockets: Listener::bind(hosts, port, options)? })
    }

    /// The addresses that are listened on.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.sockets.iter().map(Listener::address)
    }

    /// The port, as chosen by the kernel if 0 was configured.
    pub fn port(&self) -> u16 {
        self.addresses().next().map_or(0, |address| address.port())
    }
}

/// Accepts on every listener until `stop` turns true, then lets connections finish the requests they have taken.
/// `connections_max` is what there are descriptors for.
///
/// Owned by `Broker`; every task it starts ends with it.
pub async fn serve(
    node: Arc<Node>,
    listeners: Vec<BoundListener>,
    connections_max: usize,
    stop: watch::Receiver<bool>,
) {
    let memory = Memory::new(memory_limit::room(&node.config));
    let names: Vec<Arc<str>> = listeners.iter().map(|listener| Arc::clone(&listener.name)).collect();
    let doors = Doors::new(&node, &memory, &names, connections_max);
    let mut acceptors = JoinSet::new();
    for listener in listeners {
        for socket in listener.sockets {
            acceptors.spawn(Arc::clone(&doors).accept(Arc::clone(&listener.name), socket, stop.clone()));
        }
    }
    tokio::select! {
        () = async { while acceptors.join_next().await.is_some() {} } => {}
        () = memory.watch() => {}
        () = doors.follow_settings(&names) => {}
    }
}
