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
    reserve::Room,
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
    room_left: Arc<Room>,
    room: Arc<Semaphore>,
    threads: Arc<dyn DiskThreads>,
    log_dir: usize,
}

impl LogQueue {
    pub(crate) fn new(segments: Segments, threads: Arc<dyn DiskThreads>, log_dir: usize) -> Self {
        let room_left = segments.room();
        let shared = Shared { waiting: Mutex::default(), segments: Mutex::new(segments) };
        Self { room_left, shared: Arc::new(shared), room: Arc::new(Semaphore::new(REQUESTS_MAX)), threads, log_dir }
    }

    /// Whether the log lives on its reserve. Asking is an occasion to take the reserve back, for the next who asks.
    pub(crate) async fn is_short_of_room(&self) -> bool {
        if !self.room_left.is_short() {
            return false;
        }
        self.push(Vec::new(), Durability::Written, Box::new(|_| {})).await;
        true
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
    if batch.iter().all(|request| request.frames.is_empty()) {
        segments.refill_reserve();
    }
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use milena_storage::{
        disk::{Disk, Fault, SimDisk},
        env::DiskJob,
    };

    use super::*;
    use crate::log::frame::{Entry, LogId, Payload};

    /// Holds jobs until they are let go: a disk that is busy for as long as the test wants.
    #[derive(Debug, Default)]
    struct Held(Mutex<Vec<HeldJob>>);

    struct HeldJob(DiskJob);

    impl std::fmt::Debug for HeldJob {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("job")
        }
    }

    impl Held {
        fn let_go(&self) {
            let jobs = std::mem::take(&mut *self.0.lock().unwrap());
            for job in jobs {
                (job.0)();
            }
        }
    }

    impl DiskThreads for Held {
        fn run(&self, _log_dir: usize, job: DiskJob) {
            self.0.lock().unwrap().push(HeldJob(job));
        }
    }

    type Outcomes = Arc<Mutex<Vec<(u64, bool)>>>;

    async fn push(queue: &LogQueue, index: u64, outcomes: &Outcomes) {
        let outcomes = Arc::clone(outcomes);
        let entry = Entry { id: LogId { term: 1, index }, payload: Payload::Blank };
        let callback = Box::new(move |result: io::Result<()>| outcomes.lock().unwrap().push((index, result.is_ok())));
        queue.push(vec![Frame::Entry(entry)], Durability::Synced, callback).await;
    }

    fn queue_on(disk: &SimDisk) -> (LogQueue, Arc<Held>) {
        let (segments, _) =
            Segments::open(Arc::new(disk.clone()) as Arc<dyn Disk>, Path::new("/log"), 1 << 20).unwrap();
        let held = Arc::new(Held::default());
        (LogQueue::new(segments, Arc::clone(&held) as _, 0), held)
    }

    #[tokio::test]
    async fn what_waits_while_the_disk_is_busy_shares_one_sync() {
        let disk = SimDisk::new(0);
        let (queue, held) = queue_on(&disk);
        let outcomes = Outcomes::default();
        for index in 0..10 {
            push(&queue, index, &outcomes).await;
        }
        assert_eq!(held.0.lock().unwrap().len(), 1, "one drain at a time keeps the order");
        assert_eq!(*outcomes.lock().unwrap(), []);
        let before = disk.operations();
        held.let_go();
        assert_eq!(disk.operations() - before, 10 + 1, "ten writes and one sync");
        assert_eq!(*outcomes.lock().unwrap(), (0..10).map(|index| (index, true)).collect::<Vec<_>>());

        push(&queue, 10, &outcomes).await;
        held.let_go();
        assert_eq!(outcomes.lock().unwrap().last(), Some(&(10, true)));
    }

    #[tokio::test]
    async fn a_failed_sync_fails_all_that_waited_for_it_and_all_that_come_later() {
        let disk = SimDisk::new(0);
        let (queue, held) = queue_on(&disk);
        let outcomes = Outcomes::default();
        push(&queue, 0, &outcomes).await;
        push(&queue, 1, &outcomes).await;
        disk.fail_after(2, Fault::Broken);
        held.let_go();
        push(&queue, 2, &outcomes).await;
        held.let_go();
        assert_eq!(*outcomes.lock().unwrap(), [(0, false), (1, false), (2, false)]);
    }

    #[tokio::test]
    async fn a_full_queue_makes_the_asker_wait() {
        let disk = SimDisk::new(0);
        let (queue, held) = queue_on(&disk);
        let outcomes = Outcomes::default();
        for index in 0..REQUESTS_MAX as u64 {
            push(&queue, index, &outcomes).await;
        }
        let mut one_more = Box::pin(push(&queue, REQUESTS_MAX as u64, &outcomes));
        assert!(futures_util::poll!(&mut one_more).is_pending());
        held.let_go();
        one_more.await;
        held.let_go();
        assert_eq!(outcomes.lock().unwrap().len(), REQUESTS_MAX + 1);
    }
}
