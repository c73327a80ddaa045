//! The bytes of requests and answers under way on all connections, bounded: `budget` with tasks that wait.
//!
//! Requests of up to 16 KiB and answers as small never come here, so they pay no lock.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use crate::Activity;
use crate::budget::{Budget, FREE_BYTES, Room, SeatId};

/// How often it is looked for peers that stand still, while somebody waits.
const CHECK_EVERY: Duration = Duration::from_secs(1);

/// What all connections of a process share.
#[derive(Debug)]
pub struct Memory {
    shared: Mutex<Shared>,
    answers_full: AtomicBool,
    short: Notify,
    answers_have_room: Notify,
}

#[derive(Debug)]
struct Shared {
    budget: Budget,
    waiting: BTreeMap<SeatId, Waker>,
    ends: BTreeMap<SeatId, oneshot::Sender<Ended>>,
}

/// Why a connection is ended from outside of its task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It held memory that others waited for, and its peer stood still.
    Stalled,
    /// It makes room for a connection of a more important listener.
    MadeRoom,
}

/// One connection's part of the memory. Gives everything back when it is dropped.
#[derive(Debug)]
pub struct Seat {
    id: SeatId,
    memory: Arc<Memory>,
}

/// Tells a connection that it must end.
pub type EndReceiver = oneshot::Receiver<Ended>;

impl Memory {
    /// Memory with this much room.
    pub fn new(room: Room) -> Arc<Self> {
        let shared = Shared { budget: Budget::new(room), waiting: BTreeMap::new(), ends: BTreeMap::new() };
        Arc::new(Self {
            shared: Mutex::new(shared),
            answers_full: AtomicBool::new(false),
            short: Notify::new(),
            answers_have_room: Notify::new(),
        })
    }

    /// A seat for a new connection, and how it learns that it must end.
    pub(crate) fn enter(self: &Arc<Self>, activity: Activity) -> (Arc<Seat>, EndReceiver) {
        let (end, ended) = oneshot::channel();
        let mut shared = self.shared.lock();
        let id = shared.budget.enter(activity);
        shared.ends.insert(id, end);
        drop(shared);
        (Arc::new(Seat { id, memory: Arc::clone(self) }), ended)
    }

    /// Ends a connection by its [`Seat::id`].
    pub fn end(&self, id: u64, why: Ended) {
        let end = self.shared.lock().ends.remove(&id);
        if let Some(end) = end {
            // It may be ending by itself already.
            let _ = end.send(why);
        }
    }

    /// Ends connections whose peers stand still while others wait for the memory they hold. Never returns.
    pub async fn watch(&self) {
        let started = Instant::now();
        loop {
            self.short.notified().await;
            loop {
                tokio::time::sleep(CHECK_EVERY).await;
                self.expire(started.elapsed());
                if !self.is_short() {
                    break;
                }
            }
        }
    }

    pub(crate) fn expire(&self, now: Duration) {
        let stalled = self.shared.lock().budget.expire(now);
        for id in stalled {
            self.end(id, Ended::Stalled);
        }
    }

    /// Whether somebody waits for room.
    pub(crate) fn is_short(&self) -> bool {
        self.shared.lock().budget.is_short()
    }

    fn change(&self, change: impl FnOnce(&mut Budget) -> Vec<SeatId>) {
        let mut shared = self.shared.lock();
        let served = change(&mut shared.budget);
        let wakers: Vec<Waker> = served.into_iter().filter_map(|id| shared.waiting.remove(&id)).collect();
        let full = shared.budget.answers_are_full();
        let was_full = self.answers_full.swap(full, Ordering::Relaxed);
        drop(shared);
        wakers.into_iter().for_each(Waker::wake);
        if was_full && !full {
            self.answers_have_room.notify_waiters();
        }
    }
}

impl Seat {
    /// What [`Memory::end`] calls this connection.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Waits for room for a request that still needs `remaining` bytes; returns how many of them may be received now.
    ///
    /// Cancel-safe: the place in the queue stays, and room that came meanwhile is handed out by the next call.
    pub(crate) async fn take(&self, remaining: usize) -> usize {
        poll_fn(|task| self.poll_take(task, remaining)).await
    }

    fn poll_take(&self, task: &Context<'_>, remaining: usize) -> Poll<usize> {
        let mut shared = self.memory.shared.lock();
        if let Some(bytes) = shared.budget.take(self.id, remaining) {
            shared.waiting.remove(&self.id);
            return Poll::Ready(bytes);
        }
        shared.waiting.insert(self.id, task.waker().clone());
        drop(shared);
        self.memory.short.notify_one();
        Poll::Pending
    }

    pub(crate) fn keep_buffer(&self, bytes: usize) -> bool {
        self.memory.shared.lock().budget.keep_buffer(self.id, bytes)
    }

    /// Counts an answer of `bytes` until the value is dropped; small ones are free.
    pub fn answering(self: &Arc<Self>, bytes: usize) -> Option<Answering> {
        if bytes <= FREE_BYTES {
            return None;
        }
        self.memory.change(|budget| {
            budget.answering(self.id, bytes);
            Vec::new()
        });
        Some(Answering { seat: Arc::clone(self), bytes })
    }

    /// Whether the answers that clients have not taken leave room for another.
    pub fn has_room_for_an_answer(&self) -> bool {
        !self.memory.answers_full.load(Ordering::Relaxed)
    }

    /// Waits until the answers that clients have not taken leave room for another. Cancel-safe.
    pub async fn room_for_an_answer(&self) {
        if self.has_room_for_an_answer() {
            return;
        }
        let _waiting = Unanswered::new(&self.memory);
        self.memory.short.notify_one();
        loop {
            let mut notified = std::pin::pin!(self.memory.answers_have_room.notified());
            notified.as_mut().enable();
            if self.has_room_for_an_answer() {
                return;
            }
            notified.await;
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.memory.change(|budget| budget.leave(self.id));
        let mut shared = self.memory.shared.lock();
        shared.waiting.remove(&self.id);
        shared.ends.remove(&self.id);
    }
}

/// The room of one received request.
#[derive(Debug)]
pub struct Held {
    seat: Arc<Seat>,
}

impl Held {
    pub(crate) fn new(seat: &Arc<Seat>) -> Self {
        Self { seat: Arc::clone(seat) }
    }

    /// The request is at work: that it takes long is not its peer's doing, so it is never ended for standing still.
    pub fn at_work(&self) {
        self.seat.memory.shared.lock().budget.at_work(self.seat.id);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.seat.memory.change(|budget| budget.release(self.seat.id));
    }
}

/// An answer that its client has not taken yet.
#[derive(Debug)]
pub struct Answering {
    seat: Arc<Seat>,
    bytes: usize,
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.seat.memory.change(|budget| {
            budget.answered(self.seat.id, self.bytes);
            Vec::new()
        });
    }
}

struct Unanswered<'a>(&'a Memory);

impl<'a> Unanswered<'a> {
    fn new(memory: &'a Memory) -> Self {
        memory.shared.lock().budget.wait_to_be_answered();
        Self(memory)
    }
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        self.0.shared.lock().budget.may_be_answered();
    }
}
