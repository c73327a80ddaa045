//! Whether a log dir serves. Any of its partitions may be the first to find out that it does not; with the last log dir
//! the broker ends.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

/// How many log dirs are online.
#[derive(Debug, Clone)]
pub struct Online(watch::Sender<usize>);

impl Online {
    /// All of them, at first.
    pub fn new(log_dirs: usize) -> Self {
        Self(watch::Sender::new(log_dirs))
    }

    /// Waits until none is online. Cancel-safe.
    pub async fn none(&self) {
        // The sender lives as long as we do, so waiting cannot fail.
        let _ = self.0.subscribe().wait_for(|online| *online == 0).await;
    }
}

/// The state of one log dir, shared with its partitions.
#[derive(Debug)]
pub struct Health {
    failed: AtomicBool,
    online: Online,
}

impl Health {
    /// A log dir that serves, one of those counted by `online`.
    pub fn new(online: &Online) -> Self {
        Self { failed: AtomicBool::new(false), online: online.clone() }
    }

    /// Whether its disk has failed.
    pub fn is_offline(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// Its disk has failed, and is not tried again. True for the first who says so.
    pub fn fail(&self) -> bool {
        let is_first = !self.failed.swap(true, Ordering::AcqRel);
        if is_first {
            self.online.0.send_modify(|online| *online -= 1);
        }
        is_first
    }
}
