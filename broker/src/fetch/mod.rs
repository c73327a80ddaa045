//! What a fetch needs besides its partitions: the session that turns a request into a full list, and the long poll.

pub mod session;
pub mod wait;
pub mod warm;
