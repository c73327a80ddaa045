//! Group commit: one thread per log dir syncs what partitions asked for, together.
//!
//! It collects while the sync before runs: under load many producers and partitions share one wait, alone a producer
//! waits for one fdatasync. An error from a sync is never tried again: the log dir goes offline.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;

use milena_storage::env::Clock;
use parking_lot::{Condvar, Mutex};

use super::partition::Partition;

/// Files synced at once: a disk has a queue, and one thread cannot fill it.
const PARALLEL_SYNCS: usize = 16;

#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<Weak<Partition>>,
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

    /// Asks for a sync of everything this partition has now.
    pub fn request(&self, partition: &Arc<Partition>) {
        if partition.commit_requested.swap(true, Ordering::AcqRel) {
            return;
        }
        self.queue.lock().waiting.push(Arc::downgrade(partition));
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
            let partitions: Vec<Arc<Partition>> = batch.iter().filter_map(Weak::upgrade).collect();
            if let [partition] = &partitions[..] {
                self.commit(partition);
                continue;
            }
            let share = partitions.len().div_ceil(PARALLEL_SYNCS).max(1);
            std::thread::scope(|scope| {
                for part in partitions.chunks(share) {
                    scope.spawn(|| part.iter().for_each(|partition| self.commit(partition)));
                }
            });
        }
    }

    fn commit(&self, partition: &Arc<Partition>) {
        // Cleared before the handle is taken: an append after this asks again.
        partition.commit_requested.store(false, Ordering::Release);
        let handle = partition.with_log_blocking(|log| log.sync_handle());
        let synced = handle.sync();
        partition.with_log_blocking(|log| match synced {
            Ok(synced) => {
                let up_to = synced.up_to();
                log.on_synced(&synced, self.clock.now());
                partition.on_flushed(log, up_to);
            }
            Err(error) => {
                tracing::error!(target: "kafka.log.LogManager", "sync of {} failed: {error}", partition.topic_partition);
                log.on_sync_failed();
            }
        });
    }
}
