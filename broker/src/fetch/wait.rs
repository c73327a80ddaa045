//! The long poll of a fetch: one waiter object stands in the lists of all its partitions until enough bytes arrived,
//! something else happened that the client must hear of, or the deadline passes. No polling interval.
//!
//! A partition tells its waiters how many bytes became readable; only the one whose count is reached wakes.
//! Source: `kafka.server.DelayedFetch`.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// One waiting fetch.
#[derive(Debug)]
pub struct FetchWaiter {
    missing_bytes: AtomicI64,
    woken: Notify,
}

impl FetchWaiter {
    /// A waiter that no bytes have reached yet and that misses none.
    pub fn new() -> Arc<Self> {
        Arc::new(Self { missing_bytes: AtomicI64::new(0), woken: Notify::new() })
    }

    /// The count before a read, for [`FetchWaiter::expect`] after it.
    pub fn count(&self) -> i64 {
        self.missing_bytes.load(Ordering::Acquire)
    }

    /// The read that followed `count` misses this many bytes; what arrived since counts already.
    pub fn expect(&self, count: i64, missing_bytes: i64) {
        let more = missing_bytes - count;
        if self.missing_bytes.fetch_add(more, Ordering::AcqRel) + more <= 0 {
            self.woken.notify_one();
        }
    }

    /// Waits until woken; a wake that came before is not lost. Cancel-safe.
    pub async fn woken(&self) {
        self.woken.notified().await;
    }

    fn arrived(&self, bytes: i64) {
        if self.missing_bytes.fetch_sub(bytes, Ordering::AcqRel) <= bytes {
            self.woken.notify_one();
        }
    }
}

/// The waiters of one partition.
#[derive(Debug, Default)]
pub struct FetchWaiters {
    waiting: Mutex<Vec<Weak<FetchWaiter>>>,
}

impl FetchWaiters {
    /// Adds a waiter, unless it stands here already; it leaves by being dropped.
    pub fn add(&self, waiter: &Arc<FetchWaiter>) {
        let mut waiting = self.waiting.lock();
        if waiting.iter().any(|other| std::ptr::eq(other.as_ptr(), Arc::as_ptr(waiter))) {
            return;
        }
        // Without this a partition that nobody writes to would gather the dead of every poll.
        if waiting.len() >= 8 && waiting.len() == waiting.capacity() {
            waiting.retain(|waiter| waiter.strong_count() > 0);
        }
        waiting.push(Arc::downgrade(waiter));
    }

    /// This many bytes more can be read.
    pub fn arrived(&self, bytes: i64) {
        self.waiting.lock().retain(|waiter| waiter.upgrade().inspect(|waiter| waiter.arrived(bytes)).is_some());
    }

    /// Something every reader must look at: another leader, a moved log start, a failed or deleted log.
    pub fn wake_all(&self) {
        for waiter in self.waiting.lock().drain(..).filter_map(|waiter| waiter.upgrade()) {
            waiter.woken.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_woken(waiter: &FetchWaiter) -> bool {
        use std::future::Future;
        let mut woken = std::pin::pin!(waiter.woken());
        woken.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())).is_ready()
    }

    fn missing(bytes: i64) -> Arc<FetchWaiter> {
        let waiter = FetchWaiter::new();
        waiter.expect(waiter.count(), bytes);
        waiter
    }

    /// Bytes that came while a fetch read were forgotten when it then said how many it missed: it slept to its deadline.
    #[test]
    fn what_arrives_during_a_read_counts() {
        let waiters = FetchWaiters::default();
        let waiter = FetchWaiter::new();
        waiters.add(&waiter);
        let count = waiter.count();
        waiters.arrived(100);
        is_woken(&waiter);
        waiter.expect(count, 100);
        assert!(is_woken(&waiter));
    }

    #[test]
    fn wakes_when_the_bytes_of_all_its_partitions_reach_the_minimum() {
        let (one, other) = (FetchWaiters::default(), FetchWaiters::default());
        let waiter = missing(100);
        one.add(&waiter);
        other.add(&waiter);
        one.arrived(60);
        assert!(!is_woken(&waiter));
        other.arrived(40);
        assert!(is_woken(&waiter));
    }

    #[test]
    fn the_dead_do_not_gather() {
        let waiters = FetchWaiters::default();
        for _ in 0..1000 {
            waiters.add(&missing(1));
        }
        assert!(waiters.waiting.lock().len() <= 16);
    }

    /// A fetch that wants more bytes than it allows its partition to send wakes with every append and waits again. It
    /// stood in the list once more each time, and each append counted for all of its places.
    #[test]
    fn who_waits_again_stands_here_once() {
        let waiters = FetchWaiters::default();
        let waiter = missing(100);
        for _ in 0..3 {
            waiters.add(&waiter);
        }
        waiters.arrived(99);
        assert!(!is_woken(&waiter));
        assert_eq!(waiters.waiting.lock().len(), 1);
    }

    #[test]
    fn a_wake_for_all_reaches_those_who_miss_bytes() {
        let waiters = FetchWaiters::default();
        let waiter = missing(i64::MAX);
        waiters.add(&waiter);
        waiters.wake_all();
        assert!(is_woken(&waiter));
    }
}
