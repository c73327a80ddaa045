//! The process's clocks, threads and seed: the one place where the broker reads a clock and the one door to threads.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use milena_protocol::Timestamp;
use milena_storage::env::{Clock, DiskJob, DiskThreads, Env};
use tokio::runtime::Handle;

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as Timestamp)
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }
}

/// Disk jobs on the runtime's blocking threads, which are started when needed and end when idle.
#[derive(Debug)]
pub struct BlockingThreads {
    runtime: Handle,
}

impl DiskThreads for BlockingThreads {
    fn run(&self, _log_dir: usize, job: DiskJob) {
        // Nobody waits for the handle: a job reports by its own callback.
        drop(self.runtime.spawn_blocking(job));
    }
}

/// The environment of a real process; must be called within the runtime that lends its threads.
pub fn system() -> Env {
    Env {
        clock: Arc::new(SystemClock { started: Instant::now() }),
        disk_threads: Arc::new(BlockingThreads { runtime: Handle::current() }),
        seed: rand::random(),
    }
}
