//! What a handler knows of the request it serves.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use milena_net::Seat;
use milena_protocol::api;
use milena_protocol::frame::put_response_header;

use super::APIS;
use crate::node::Node;

/// What a connection is to its requests.
#[derive(Debug)]
pub struct ConnectionInfo {
    /// The listener it came in on.
    pub listener: Arc<str>,
    /// The peer's address.
    pub peer: SocketAddr,
    /// The address of ours that the peer reached.
    pub local: SocketAddr,
    /// Its part of the memory that all connections share; a test may have none.
    pub seat: Option<Arc<Seat>>,
}

/// One request's surroundings.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The broker's parts.
    pub node: &'a Arc<Node>,
    /// Where the request came in.
    pub connection: &'a ConnectionInfo,
    /// The API key.
    pub key: i16,
    /// The API version.
    pub version: i16,
    /// Goes back with the answer.
    pub correlation_id: i32,
    /// The client's name for itself, empty if it gave none.
    pub client_id: &'a str,
}

impl Context<'_> {
    /// The API's name, for log lines.
    pub fn api_name(&self) -> &'static str {
        self.head().api_name()
    }

    /// What an answer must carry, kept by those that answer later.
    pub fn head(&self) -> Head {
        Head { key: self.key, version: self.version, correlation_id: self.correlation_id }
    }
}

/// What an answer needs to know of its request.
#[derive(Debug, Clone, Copy)]
pub struct Head {
    /// The API key.
    pub key: i16,
    /// The API version.
    pub version: i16,
    /// Goes back with the answer.
    pub correlation_id: i32,
}

impl Head {
    /// The API's name, for log lines.
    pub fn api_name(self) -> &'static str {
        APIS.iter().find(|api| api.key == self.key).map_or("unknown", |api| api.name)
    }

    /// Room for the frame's length, then the response header.
    pub fn put(self, frame: &mut BytesMut) {
        frame.put_u32(0);
        put_response_header(frame, api::response_header_version(self.key, self.version), self.correlation_id);
    }
}
