//! Whether bytes still move on a connection: what `connections.max.idle.ms` is about.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A connection's reads and writes are noticed this often within its idle time.
const CHECKS: u32 = 8;

/// Counts reads and writes of one connection; shared by its two directions and its watcher.
#[derive(Debug, Clone, Default)]
pub struct Activity(Arc<AtomicU64>);

impl Activity {
    pub(crate) fn note(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits until nothing has moved in either direction for `max_idle`. Cancel-safe.
    pub async fn ceased(&self, max_idle: Duration) {
        let (mut before, mut quiet) = (self.0.load(Ordering::Relaxed), 0);
        while quiet < CHECKS {
            tokio::time::sleep(max_idle / CHECKS).await;
            let now = self.0.load(Ordering::Relaxed);
            quiet = if now == before { quiet + 1 } else { 0 };
            before = now;
        }
    }
}
