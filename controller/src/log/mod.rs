//! The metadata log on disk: one ordered stream of checksummed frames, in segments, and the newest snapshot beside it.
//!
//! Vote, entries, truncations, purges and committed hints stand in one stream, so no write can overtake another, which is what Raft asks of vote and log
//! (openraft's `io_ordering`): an entry that survived a crash has the vote it was written under in front of it.
//!
//! ```text
//! milena-metadata/
//!   00000000000000000000.frames            oldest segment: a header frame (vote, committed, purged at its birth), then frames
//!   00000000000000000001.frames            the active segment
//!   reserve                                room for the day the disk is full
//!   00000000000000000412-0000000007.image  the newest snapshot: everything up to index 412, written in term 7
//! ```
//!
//! The directory's name is not of the form `topic-partition`, so a Kafka that is started on our disk refuses it with "Found directory … is not in the
//! form of topic-partition" before it renames anything to `-stray`.
//!
//! Nothing here knows openraft, tokio or what a record means.

pub(crate) mod frame;
pub(crate) mod queue;
pub(crate) mod reserve;
pub(crate) mod segments;
pub(crate) mod snapshot;

#[cfg(test)]
mod crash_test;

/// The folder of the metadata log inside the metadata log dir.
pub const METADATA_DIRECTORY: &str = "milena-metadata";
