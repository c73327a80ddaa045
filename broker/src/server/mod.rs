//! Accepting and serving connections: the only module that imports handlers.

mod connection;
mod log;
mod memory_limit;
mod weight;

use std::net::SocketAddr;
use std::sync::Arc;

use milena_net::Memory;
use milena_net::listener::{Listener, ListenerError, SocketOptions};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::handlers::context::ConnectionInfo;
use crate::node::Node;

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
///
/// Owned by `Broker`; every task it starts ends with it.
pub async fn serve(node: Arc<Node>, listeners: Vec<BoundListener>, stop: watch::Receiver<bool>) {
    let memory = Memory::new(memory_limit::room(&node.config));
    let mut acceptors = JoinSet::new();
    for listener in listeners {
        for socket in listener.sockets {
            acceptors.spawn(accept(
                Arc::clone(&node),
                Arc::clone(&memory),
                Arc::clone(&listener.name),
                socket,
                stop.clone(),
            ));
        }
    }
    tokio::select! {
        () = async { while acceptors.join_next().await.is_some() {} } => {}
        () = memory.watch() => {}
    }
}

async fn accept(
    node: Arc<Node>,
    memory: Arc<Memory>,
    listener: Arc<str>,
    socket: Listener,
    mut stop: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            Some(_) = connections.join_next() => continue,
            accepted = socket.accept() => accepted,
        };
        match accepted {
            Ok(incoming) => {
                let peer = incoming.peer;
                let accepted = incoming.open(&memory);
                let info = ConnectionInfo { listener: Arc::clone(&listener), peer, local: accepted.local };
                connections.spawn(connection::run(Arc::clone(&node), info, accepted, stop.clone()));
            }
            Err(error) => {
                tracing::error!(target: "kafka.network.Acceptor", "Error while accepting connection: {error}");
                // Out of descriptors: an immediate retry would only spin until somebody closes one.
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        }
    }
    while connections.join_next().await.is_some() {}
}
