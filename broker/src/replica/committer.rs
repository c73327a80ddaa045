//! Group commit: one thread per log dir syncs what partitions asked for, together.
//!
//! It collects while the sync before runs: under load many producers and partitions share one wait, alone a producer
//! waits for one fdatasync. An error from a sync is never tried again: the log dir goes offline.

use std::sync::{Arc, Weak};
use std::thread::JoinHandle;

use milena_protocol::Timestamp;
use milena_storage::env::Clock;
use parking_lot::{Condvar, Mutex};

use super::parallel::in_parallel;

/// A log that can be synced by a thread that may wait for the disk.
pub trait Commit: Send + Sync + std::fmt::Debug {
    /// Syncs what the log has and tells those who wait.
    fn commit(&self, now: Timestamp);
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<Weak<dyn Commit>>,
    stopped: bool,
}

/// The committer of one log dir.
#[derive(Debug)]
pub struct Committer {
    queue: Mutex<Queue>,
    filled: Condvar,
    clock: Arc<dyn Clock>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Committer {
    /// Starts the thread; [`Committer::stop`] ends it.
    pub fn start(log_dir: usize, clock: Arc<dyn Clock>) -> std::io::Result<Arc<Self>> {
        let committer =
            Arc::new(Self { queue: Mutex::default(), filled: Condvar::new(), clock, thread: Mutex::new(None) });
        let running = Arc::clone(&committer);
        let thread = std::thread::Builder::new().name(format!("commit-{log_dir}")).spawn(move || running.run())?;
        *committer.thread.lock() = Some(thread);
        Ok(committer)
    }

    /// Asks for a sync of everything this log has when its turn comes. Its owner asks once until then.
    pub fn request(&self, log: Weak<dyn Commit>) {
        self.queue.lock().waiting.push(log);
        self.filled.notify_one();
    }

    /// Syncs what is still asked for and ends the thread.
    pub fn stop(&self) {
        self.queue.lock().stopped = true;
        self.filled.notify_one();
        let thread = self.thread.lock().take();
        if let Some(thread) = thread {
            // A panic there has been printed by its own thread; there is nothing more to save here.
            let _ = thread.join();
        }
    }

    fn run(&self) {
        loop {
            let batch = {
                let mut queue = self.queue.lock();
                while queue.waiting.is_empty() && !queue.stopped {
                    self.filled.wait(&mut queue);
                }
                if queue.waiting.is_empty() {
                    return;
                }
                std::mem::take(&mut queue.waiting)
            };
            let logs: Vec<Arc<dyn Commit>> = batch.iter().filter_map(Weak::upgrade).collect();
            let now = self.clock.now();
            in_parallel(&logs, |log| log.commit(now));
        }
    }
}
