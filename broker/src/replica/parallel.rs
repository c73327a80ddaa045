//! Many things that wait for a disk, at once: a disk has a queue, and one thread cannot fill it.

use std::thread;

/// Threads at most.
const THREADS: usize = 16;

/// Does the work for every item and returns when all is done. Blocks; a single item is worked on right here, and so is a
/// share for which the system refuses a thread.
pub(super) fn in_parallel<T: Sync>(items: &[T], work: impl Fn(&T) + Sync) {
    if let [only] = items {
        return work(only);
    }
    thread::scope(|scope| {
        for share in items.chunks(items.len().div_ceil(THREADS).max(1)) {
            let work = &work;
            if thread::Builder::new().spawn_scoped(scope, move || share.iter().for_each(work)).is_err() {
                share.iter().for_each(work);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn every_item_is_worked_on_once() {
        for count in [0, 1, 2, 15, 16, 17, 1000] {
            let items: Vec<AtomicU64> = (0..count).map(|_| AtomicU64::new(0)).collect();
            in_parallel(&items, |item| {
                item.fetch_add(1, Ordering::SeqCst);
            });
            assert!(items.iter().all(|item| item.load(Ordering::SeqCst) == 1), "{count} items");
        }
    }
}
