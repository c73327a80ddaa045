//! What a stranger on the port may do: each test is one kind of hostility. Whatever it is, no task of the broker panics,
//! memory stays bounded, and a well-behaved client is served meanwhile and afterwards.
//!
//! The tests of this program run one after the other, because each looks at the memory of the whole process.

#![allow(clippy::unwrap_used, reason = "a failure is the test's answer")]

mod bombs;
mod connections;
mod cves;
mod frames;
mod harness;
