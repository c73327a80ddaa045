//! Bounds what the logs of a process hold open: .log files, and index files read into memory.
//!
//! Each segment has slots that are empty until somebody reads or writes; a pool empties those that were not used lately (second chance) when it holds more
//! than its bound. Who still uses a file that left its slot keeps it alive through its own `Arc`, so the bound is on idle files. Index files are
//! never kept open: they are read whole, or written at roll and stop.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::disk::{Disk, DiskFile};

/// Bounds the open files and the cached index files of all logs of a process.
#[derive(Debug)]
pub struct Descriptors {
    files: Pool<Arc<dyn DiskFile>>,
    indexes: Pool<Arc<[u8]>>,
}

impl Descriptors {
    /// At most `open_files_max` idle files stay open and `index_bytes_max` bytes of index files in memory.
    pub fn new(open_files_max: usize, index_bytes_max: usize) -> Arc<Descriptors> {
        Arc::new(Descriptors { files: Pool::new(open_files_max), indexes: Pool::new(index_bytes_max) })
    }

    /// Files held open at the moment.
    pub fn open_files(&self) -> usize {
        self.files.held.lock().weight
    }

    pub(crate) fn files(&self) -> &Pool<Arc<dyn DiskFile>> {
        &self.files
    }

    pub(crate) fn indexes(&self) -> &Pool<Arc<[u8]>> {
        &self.indexes
    }
}

/// Where a value is kept between two uses.
#[derive(Debug)]
pub(crate) struct Slot<T> {
    value: Mutex<Option<T>>,
    used: AtomicBool,
}

impl<T> Default for Slot<T> {
    fn default() -> Slot<T> {
        Slot { value: Mutex::new(None), used: AtomicBool::new(false) }
    }
}

impl<T> Slot<T> {
    /// Forget the value: it is no longer what is on disk.
    pub(crate) fn clear(&self) {
        *self.value.lock() = None;
    }
}

/// Keeps the values of many slots within one bound.
#[derive(Debug)]
pub(crate) struct Pool<T> {
    weight_max: usize,
    held: Mutex<Held<T>>,
}

#[derive(Debug)]
struct Held<T> {
    weight: usize,
    queue: VecDeque<(Weak<Slot<T>>, usize)>,
}

impl<T: Clone> Pool<T> {
    fn new(weight_max: usize) -> Pool<T> {
        Pool { weight_max, held: Mutex::new(Held { weight: 0, queue: VecDeque::new() }) }
    }

    /// The value in `slot`, or the one that `load` makes together with its weight.
    pub(crate) fn get<E>(&self, slot: &Arc<Slot<T>>, load: impl FnOnce() -> Result<(T, usize), E>) -> Result<T, E> {
        let mut guard = slot.value.lock();
        if let Some(value) = guard.as_ref() {
            slot.used.store(true, Ordering::Relaxed);
            return Ok(value.clone());
        }
        let (value, weight) = load()?;
        *guard = Some(value.clone());
        drop(guard);
        self.hold(slot, weight);
        Ok(value)
    }

    fn hold(&self, slot: &Arc<Slot<T>>, weight: usize) {
        let mut dropped = Vec::new();
        let mut held = self.held.lock();
        held.weight += weight;
        held.queue.push_back((Arc::downgrade(slot), weight));
        // Each entry is looked at no more than twice: once for its second chance, once to empty it.
        let mut looks = held.queue.len() * 2;
        while held.weight > self.weight_max && looks > 0 {
            looks -= 1;
            let Some((candidate, weight)) = held.queue.pop_front() else { break };
            let Some(live) = candidate.upgrade() else {
                held.weight -= weight;
                continue;
            };
            let in_use = live.used.swap(false, Ordering::Relaxed);
            match live.value.try_lock() {
                Some(mut value) if !in_use || value.is_none() => {
                    dropped.push(value.take());
                    held.weight -= weight;
                }
                _ => held.queue.push_back((candidate, weight)),
            }
        }
        drop(held);
        // Closing files may take time: not under the lock.
        drop(dropped);
    }
}

/// A disk together with the bounds of what is held of it.
#[derive(Clone, Debug)]
pub(crate) struct BoundedDisk {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) descriptors: Arc<Descriptors>,
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn get(pool: &Pool<u32>, slot: &Arc<Slot<u32>>, value: u32) -> u32 {
        pool.get(slot, || Ok::<_, Infallible>((value, 1))).unwrap()
    }

    #[test]
    fn never_holds_more_than_its_bound_and_reloads_what_was_dropped() {
        let pool = Pool::new(3);
        let slots: Vec<_> = (0..10).map(|_| Arc::new(Slot::default())).collect();
        for round in 0..3 {
            for slot in &slots {
                get(&pool, slot, round);
                assert!(pool.held.lock().weight <= 3);
                assert!(slots.iter().filter(|slot| slot.value.lock().is_some()).count() <= 3);
            }
        }
    }

    #[test]
    fn what_is_used_between_two_evictions_stays() {
        let pool = Pool::new(2);
        let (hot, slots): (Arc<Slot<u32>>, Vec<_>) =
            (Arc::new(Slot::default()), (0..5).map(|_| Arc::new(Slot::default())).collect());
        get(&pool, &hot, 1);
        for slot in &slots {
            get(&pool, slot, 2);
            assert_eq!(get(&pool, &hot, 99), 1);
        }
    }

    #[test]
    fn the_weight_of_dropped_slots_is_given_back() {
        let pool = Pool::new(2);
        for _ in 0..10 {
            get(&pool, &Arc::new(Slot::default()), 1);
        }
        let kept = Arc::new(Slot::default());
        get(&pool, &kept, 5);
        assert!(pool.held.lock().weight <= 2);
        assert_eq!(get(&pool, &kept, 6), 5);
    }
}
