//! What a process lends to the parts below it: clocks, a seed, disk threads.
//!
//! The broker builds these once and passes them down; the simulation builds others. Nothing here reads a clock, draws randomness or knows tokio.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use milena_protocol::types::Timestamp;

/// The two clocks. Leases and timeouts use the monotonic one only.
pub trait Clock: Send + Sync + Debug {
    /// Wall clock, milliseconds since the epoch.
    fn now(&self) -> Timestamp;
    /// Time since some fixed moment; never goes back.
    fn monotonic(&self) -> Duration;
}

/// A job for a disk thread.
pub type DiskJob = Box<dyn FnOnce() + Send>;

/// The one door to threads: work that may wait for a disk. A job tells its owner that it is done by a callback of its own.
pub trait DiskThreads: Send + Sync + Debug {
    /// Run `job` on a thread of log dir number `log_dir`. Jobs may run in parallel and in any order.
    fn run(&self, log_dir: usize, job: DiskJob);
}

/// Runs every job at once, on the caller's thread: for tests and simulation.
#[derive(Clone, Copy, Debug, Default)]
pub struct InlineThreads;

impl DiskThreads for InlineThreads {
    fn run(&self, _log_dir: usize, job: DiskJob) {
        job();
    }
}

/// A clock that moves when told to.
#[derive(Debug, Default)]
pub struct ManualClock {
    now_ms: AtomicI64,
}

impl ManualClock {
    /// A clock that stands at `now`.
    pub fn new(now: Timestamp) -> ManualClock {
        ManualClock { now_ms: AtomicI64::new(now) }
    }

    /// Move both clocks forward.
    pub fn advance(&self, by: Duration) {
        self.now_ms.fetch_add(by.as_millis() as i64, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.now_ms.load(Ordering::SeqCst)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.now().unsigned_abs())
    }
}

/// Everything above together.
#[derive(Clone, Debug)]
pub struct Env {
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// The threads that may wait for a disk.
    pub disk_threads: Arc<dyn DiskThreads>,
    /// Where all randomness of this process comes from.
    pub seed: u64,
}
