//! Sockets, and nothing but sockets: the only crate that names `TcpListener`, `TcpStream` and `sendfile`.
//!
//! Three parts, one idea each: [`listener`] accepts, [`frames`] cuts length-prefixed frames out of a byte stream,
//! [`send`] writes an answer made of memory and file ranges. Nothing here decides what a frame means.

pub mod frames;
pub mod listener;
pub mod send;

pub use frames::{FrameError, FrameReader};
pub use listener::{Accepted, Listener, ListenerError};
pub use send::Sender;
