//! Sockets, and nothing but sockets: the only crate that names `TcpListener`, `TcpStream` and `sendfile`.
//!
//! Four parts, one idea each: [`listener`] accepts, [`frames`] cuts length-prefixed frames out of a byte stream,
//! [`send`] writes an answer made of memory and file ranges, [`activity`] tells when a connection is idle. Nothing here
//! decides what a frame means.

pub mod activity;
pub mod frames;
pub mod listener;
pub mod send;

pub use activity::Activity;
pub use frames::{FrameError, FrameReader};
pub use listener::{Accepted, Listener, ListenerError};
pub use send::Sender;
