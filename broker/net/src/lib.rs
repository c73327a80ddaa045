//! Sockets, and nothing but sockets: the only crate that names `TcpListener`, `TcpStream` and `sendfile`.
//!
//! One idea each: [`listener`] accepts, [`frames`] cuts length-prefixed frames out of a byte stream, [`send`] writes an
//! answer made of memory and file ranges, [`activity`] tells when a connection is idle, [`memory`] bounds the bytes
//! under way by the rules of `budget`. Nothing here decides what a frame means.

pub mod activity;
mod budget;
pub mod frames;
pub mod listener;
pub mod memory;
pub mod send;

pub use activity::Activity;
pub use budget::{RequestRoom, Room};
pub use frames::{Frame, FrameError, FrameReader};
pub use listener::{Accepted, Incoming, Listener, ListenerError};
pub use memory::{Ended, Memory, Seat};
pub use send::Sender;
