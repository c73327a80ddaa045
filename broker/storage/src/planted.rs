//! Bugs that a test build can be made to have, so that the tests themselves can be tested: each must be caught.
//!
//! Without the feature `planted-bugs` no bug is ever there: [`is`] is a constant `false` and [`disk`] hands back what it got. With
//! it, `MILENA_PLANTED_BUG` names the one bug of the process. `docs/planted-bugs.md` lists them with the tests that find them.

use std::sync::Arc;

use crate::disk::Disk;

#[cfg(feature = "planted-bugs")]
mod lying_disk;

/// A bug.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bug {
    /// Records are acknowledged a moment before they are written.
    AcknowledgeBeforeWrite,
    /// With `flush.messages=1` records are acknowledged without having been synced.
    AcknowledgeBeforeSync,
    /// The same for entries of the metadata log.
    AcknowledgeMetadataBeforeSync,
    /// A write of records that failed counts as one that did not.
    IgnoreWriteErrors,
    /// A sync that failed counts as one that did not.
    IgnoreSyncErrors,
    /// Checksums of what producers send are not looked at.
    SkipCrcOfProducers,
    /// Bytes that come from the device are sent unverified.
    SkipCrcOfColdReads,
    /// Opening a log forgets who wrote to it.
    ForgetProducerState,
    /// Recovery keeps what stands behind the last good batch.
    KeepTornTail,
    /// After a crash the log is believed to be as a clean stop leaves it.
    TrustStaleCheckpoint,
    /// The recovery point is the log end, synced or not.
    RecoveryPointAhead,
    /// An opened log ends one offset too early.
    ReuseOffset,
    /// Fetch serves up to the log end.
    ServeAboveHighWatermark,
}

/// Whether this process has this bug.
#[cfg(not(feature = "planted-bugs"))]
#[inline]
pub const fn is(_: Bug) -> bool {
    false
}

/// The disk to use: the given one, or one that lies.
#[cfg(not(feature = "planted-bugs"))]
#[inline]
pub fn disk(disk: Arc<dyn Disk>) -> Arc<dyn Disk> {
    disk
}

/// Whether this process has this bug.
#[cfg(feature = "planted-bugs")]
pub fn is(bug: Bug) -> bool {
    chosen() == Some(bug)
}

/// The disk to use: the given one, or one that lies.
#[cfg(feature = "planted-bugs")]
pub fn disk(disk: Arc<dyn Disk>) -> Arc<dyn Disk> {
    if chosen().is_some() { Arc::new(lying_disk::LyingDisk(disk)) } else { disk }
}

/// The bug that the environment names. A name that does not exist ends the process: a test would wait for it in vain.
#[cfg(feature = "planted-bugs")]
fn chosen() -> Option<Bug> {
    static CHOSEN: std::sync::OnceLock<Option<Bug>> = std::sync::OnceLock::new();
    *CHOSEN.get_or_init(|| {
        let name = std::env::var("MILENA_PLANTED_BUG").ok().filter(|name| !name.is_empty())?;
        let bug = BUGS.iter().find(|bug| format!("{bug:?}") == name);
        Some(*bug.unwrap_or_else(|| panic!("there is no bug {name} among {BUGS:?}")))
    })
}

#[cfg(feature = "planted-bugs")]
const BUGS: [Bug; 13] = [
    Bug::AcknowledgeBeforeWrite,
    Bug::AcknowledgeBeforeSync,
    Bug::AcknowledgeMetadataBeforeSync,
    Bug::IgnoreWriteErrors,
    Bug::IgnoreSyncErrors,
    Bug::SkipCrcOfProducers,
    Bug::SkipCrcOfColdReads,
    Bug::ForgetProducerState,
    Bug::KeepTornTail,
    Bug::TrustStaleCheckpoint,
    Bug::RecoveryPointAhead,
    Bug::ReuseOffset,
    Bug::ServeAboveHighWatermark,
];
