//! The way from the Raft runtime to the disk: requests in order, one sync for all that wait.
//!
//! A stalled disk must not stop heartbeats, so nothing here waits on the runtime's thread: a request is queued, a disk thread drains the queue, writes
//! all it found, syncs once and calls back in order. There is never more than one drain at a time, which is what keeps the order. The bound of the
//! queue is a semaphore: whoever finds it full waits asynchronously.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Mutex, PoisonError},
};

use milena_storage::env::DiskThreads;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    frame::Frame,
    segments::{MetadataLogError, Segments},
};

/// Requests that may wait for the disk.
const REQUESTS_MAX: usize = 256;

/// When a request counts as done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// Once its frames are durable.
    Synced,
    /// Once its frames are written; a later sync makes them durable, in order.
    Written,
}

/// Told the outcome once.
pub(crate) type Callback = Box<dyn FnOnce(io::Result<()>) + Send>;

struct Request {
    frames: Vec<Frame>,
    durability: Durability,
    callback: Callback,
    _permit: OwnedSemaphorePermit,
}

#[derive(Default)]
struct Waiting {
    requests: VecDeque<Request>,
    draining: bool,
}

struct Shared {
    waiting: Mutex<Waiting>,
    /// Only the one drain that runs locks it.
    segments: Mutex<Segments>,
}

/// Queue in front of the segments. Cheap to clone.
#[derive(Clone)]
pub(crate) struct LogQueue {
    shared: Arc<Shared>,
    room: Arc<Semaphore>,
    threads: Arc<dyn DiskThreads>,
    log_dir: usize,
}

impl LogQueue {
    pub(crate) fn new(segments: Segments, threads: Arc<dyn DiskThreads>, log_dir: usize) -> Self {
        let shared = Shared { waiting: Mutex::default(), segments: Mutex::new(segments) };
        Self { shared: Arc::new(shared), room: Arc::new(Semaphore::new(REQUESTS_MAX)), threads, log_dir }
    }

    /// Queues frames behind all that were queued before. Waits only while the queue is full; the callback tells the rest.
    pub(crate) async fn push(&self, frames: Vec<Frame>, durability: Durability, callback: Callback) {
        let permit = Arc::clone(&self.room).acquire_owned().await.expect("the semaphore is never closed");
        let start = {
            let mut waiting = self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.requests.push_back(Request { frames, durability, callback, _permit: permit });
            !std::mem::replace(&mut waiting.draining, true)
        };
        if start {
            let shared = Arc::clone(&self.shared);
            self.threads.run(self.log_dir, Box::new(move || shared.drain()));
        }
    }

    /// Queues frames and waits for their outcome.
    pub(crate) async fn push_and_wait(&self, frames: Vec<Frame>, durability: Durability) -> io::Result<()> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let callback = Box::new(move |result| {
            // A receiver that is gone no longer wants to know.
            let _ = sender.send(result);
        });
        self.push(frames, durability, callback).await;
        receiver.await.map_err(|_| io::Error::other("the disk thread died"))?
    }
}

impl Shared {
    fn drain(&self) {
        let mut segments = self.segments.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let mut batch = {
                let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                if waiting.requests.is_empty() {
                    waiting.draining = false;
                    return;
                }
                std::mem::take(&mut waiting.requests)
            };
            let result = write_batch(&mut segments, batch.make_contiguous());
            if let Err(error) = &result {
                tracing::error!("Metadata log failed: {error}");
            }
            for request in batch {
                (request.callback)(result.as_ref().map_err(|error| io::Error::other(error.to_string())).copied());
            }
        }
    }
}

/// Writes the requests in order; one sync covers all of them.
fn write_batch(segments: &mut Segments, batch: &[Request]) -> Result<(), MetadataLogError> {
    for request in batch {
        segments.write(&request.frames)?;
    }
    if batch.iter().any(|request| request.durability == Durability::Synced) {
        segments.sync()?;
        if batch.iter().flat_map(|request| &request.frames).any(|frame| matches!(frame, Frame::Purge(_))) {
            segments.drop_purged_segments()?;
        }
    }
    Ok(())
}
