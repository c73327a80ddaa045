//! Whether bytes still move on a connection: what `connections.max.idle.ms` is about.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// A connection's reads and writes are noticed this often within its idle time.
const CHECKS: u32 = 8;
/// And at least this often, so that an idle connection soon gives its memory back.
const CHECK_EVERY_MAX: Duration = Duration::from_secs(15);

/// Counts the bytes of one connection; shared by its two directions and its watchers.
#[derive(Debug, Clone, Default)]
pub struct Activity(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    moved_bytes: AtomicU64,
    quiet_checks: AtomicU32,
}

impl Activity {
    pub(crate) fn note(&self, bytes: usize) {
        self.0.moved_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Bytes read and written since the connection was accepted.
    pub fn moved_bytes(&self) -> u64 {
        self.0.moved_bytes.load(Ordering::Relaxed)
    }

    /// At how many checks in a row nothing had moved: a coarse age of the last byte.
    pub fn quiet_checks(&self) -> u32 {
        self.0.quiet_checks.load(Ordering::Relaxed)
    }

    /// Waits until nothing has moved in either direction for `max_idle`. Cancel-safe.
    pub async fn ceased(&self, max_idle: Duration) {
        let check_every = (max_idle / CHECKS).clamp(Duration::from_millis(1), CHECK_EVERY_MAX);
        let (mut before, mut quiet) = (self.moved_bytes(), Duration::ZERO);
        while quiet < max_idle {
            tokio::time::sleep(check_every).await;
            let now = self.moved_bytes();
            if now == before {
                quiet += check_every;
                self.0.quiet_checks.fetch_add(1, Ordering::Relaxed);
            } else {
                quiet = Duration::ZERO;
                self.0.quiet_checks.store(0, Ordering::Relaxed);
            }
            before = now;
        }
    }
}
