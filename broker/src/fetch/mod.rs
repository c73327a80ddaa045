//! What a fetch needs besides its partitions: the session that turns a request into a full list, the long
//! poll, cold reads, and the old formats.

pub mod convert;
pub mod session;
pub mod wait;
pub mod warm;
