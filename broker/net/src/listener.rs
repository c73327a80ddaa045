//! Listening sockets: bind, accept, and the socket options Kafka sets.
//!
//! Source: `kafka.network.SocketServer` (Acceptor, Processor). A host of `""` means every interface, IPv4 and IPv6.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

use crate::memory::{EndReceiver, Memory, Seat};
use crate::{Activity, FrameReader, Sender};

/// Options every accepted connection gets. A size of -1 leaves the operating system's default, as in Kafka.
#[derive(Debug, Clone, Copy)]
pub struct SocketOptions {
    /// `socket.send.buffer.bytes`
    pub send_buffer_bytes: i32,
    /// `socket.receive.buffer.bytes`
    pub receive_buffer_bytes: i32,
    /// `socket.listen.backlog.size`
    pub backlog: i32,
}

/// Why a listener could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ListenerError {
    /// The host name means no address.
    #[error("the host '{host}' of a listener cannot be resolved: {source}")]
    Resolve {
        /// The configured host.
        host: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// The address is taken or not ours.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
}

/// One bound socket.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

/// A connection that was accepted and not yet let in; dropping it closes it.
#[derive(Debug)]
pub struct Incoming {
    stream: TcpStream,
    /// The peer.
    pub peer: SocketAddr,
}

/// A connection that was let in, split into its two directions.
#[derive(Debug)]
pub struct Accepted {
    /// Cuts requests out of what the peer sends.
    pub frames: FrameReader,
    /// Writes answers.
    pub sender: Sender,
    /// Tells when neither has moved a byte for long.
    pub activity: Activity,
    /// Its part of the memory that all connections share.
    pub seat: Arc<Seat>,
    /// Tells when it must end for others.
    pub ended: EndReceiver,
    /// The address of ours that the peer reached: what an unset `advertised.listeners` answers with.
    pub local: SocketAddr,
}

impl Incoming {
    /// Sets the socket's options and splits it.
    pub fn open(self, memory: &Arc<Memory>) -> Accepted {
        // A peer that has gone already is noticed by the first read.
        let _ = self.stream.set_nodelay(true);
        let _ = socket2::SockRef::from(&self.stream).set_keepalive(true);
        let local = self.stream.local_addr().unwrap_or_else(|_| SocketAddr::from(([0, 0, 0, 0], 0)));
        let (reader, writer) = self.stream.into_split();
        let activity = Activity::default();
        let (seat, ended) = memory.enter(activity.clone());
        Accepted {
            frames: FrameReader::new(reader, activity.clone(), Arc::clone(&seat)),
            sender: Sender::new(writer, activity.clone()),
            activity,
            seat,
            ended,
            local: unmap(local),
        }
    }
}

impl Listener {
    /// Binds every address that `hosts` mean: one dual-stack socket for `""`, else one for each resolved address.
    ///
    /// Must be called within a tokio runtime, whose reactor the sockets join.
    pub fn bind(hosts: &[&str], port: u16, options: SocketOptions) -> Result<Vec<Self>, ListenerError> {
        let mut listeners: Vec<Self> = Vec::new();
        for address in resolve(hosts, port)? {
            let mut address = address;
            // Port 0 lets the kernel choose once; the other addresses take the same.
            if let Some(first) = listeners.first() {
                address.set_port(first.address.port());
            }
            let any = address.ip().is_unspecified() && hosts.contains(&"");
            match bind_address(address, !any, options) {
                Ok(listener) => listeners.push(listener),
                Err(ListenerError::Bind { source, .. }) if any && no_ipv6(&source) => {
                    let any_v4 = SocketAddr::from(([0, 0, 0, 0], address.port()));
                    listeners.push(bind_address(any_v4, false, options)?);
                }
                // localhost may mean ::1 on a machine that has no IPv6.
                Err(ListenerError::Bind { source, .. }) if !listeners.is_empty() && no_ipv6(&source) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(listeners)
    }

    /// The bound address, with the port the kernel chose if 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits for the next connection. Cancel-safe.
    ///
    /// # Errors
    /// What `accept` says, such as that no descriptor is left; see [`is_out_of_descriptors`].
    pub async fn accept(&self) -> io::Result<Incoming> {
        let (stream, peer) = self.socket.accept().await?;
        Ok(Incoming { stream, peer: unmap(peer) })
    }
}

/// Whether `accept` failed since this process, or the machine, has no descriptor left.
pub fn is_out_of_descriptors(error: &io::Error) -> bool {
    let codes = [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE].map(rustix::io::Errno::raw_os_error);
    error.raw_os_error().is_some_and(|code| codes.contains(&code))
}

/// All addresses of a host name, or the address that it is.
pub fn addresses_of(host: &str) -> io::Result<Vec<IpAddr>> {
    Ok((host, 0).to_socket_addrs()?.map(|address| address.ip().to_canonical()).collect())
}

fn resolve(hosts: &[&str], port: u16) -> Result<Vec<SocketAddr>, ListenerError> {
    let mut addresses = Vec::new();
    for host in hosts {
        if host.is_empty() {
            addresses.push(SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port));
            continue;
        }
        let resolved = (*host, port).to_socket_addrs();
        addresses.extend(resolved.map_err(|source| ListenerError::Resolve { host: (*host).to_owned(), source })?);
    }
    addresses.sort_unstable();
    addresses.dedup();
    Ok(addresses)
}

/// An IPv4 peer on a dual-stack socket is shown as the IPv4 address it has.
fn unmap(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn no_ipv6(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported)
        || error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
}

fn bind_address(address: SocketAddr, v6_only: bool, options: SocketOptions) -> Result<Listener, ListenerError> {
    let bind = || -> io::Result<TcpListener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        if address.is_ipv6() {
            socket.set_only_v6(v6_only)?;
        }
        socket.set_reuse_address(true)?;
        // Accepted sockets inherit the buffer sizes, and a receive buffer must be set before the window is agreed on.
        if options.receive_buffer_bytes > 0 {
            socket.set_recv_buffer_size(options.receive_buffer_bytes as usize)?;
        }
        if options.send_buffer_bytes > 0 {
            socket.set_send_buffer_size(options.send_buffer_bytes as usize)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(options.backlog)?;
        TcpListener::from_std(socket.into())
    };
    let failed = |source| ListenerError::Bind { address, source };
    let socket = bind().map_err(failed)?;
    let address = socket.local_addr().map_err(failed)?;
    Ok(Listener { socket, address })
}
