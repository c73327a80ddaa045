//! Where the newest batches of a segment are, so that a read at the tail needs no system call to find its place.
//!
//! Bounded: the oldest goes when there are too many. It never answers wrongly, only that it does not know: whoever cuts the segment lets it forget. Kafka has no
//! such thing.

use std::collections::VecDeque;

use milena_protocol::types::Offset;

use super::BatchPosition;

const RECENT_BATCHES_MAX: usize = 64;

/// The newest batches, oldest first.
#[derive(Debug, Default)]
pub(super) struct Recent {
    /// Base offset of the oldest of them.
    pub(super) first_offset: Offset,
    batches: VecDeque<RecentBatch>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct RecentBatch {
    pub(super) last_offset: Offset,
    pub(super) position: u32,
    pub(super) size: u32,
}

/// What the newest batches say of an offset.
pub(super) enum RecentFind {
    At(BatchPosition),
    /// Behind the newest batch.
    Behind,
    /// Before the oldest of them.
    Unknown,
}

impl Recent {
    pub(super) fn push(&mut self, base_offset: Offset, batch: RecentBatch) {
        if self.batches.is_empty() {
            self.first_offset = base_offset;
        } else if self.batches.len() == RECENT_BATCHES_MAX
            && let Some(oldest) = self.batches.pop_front()
        {
            self.first_offset = oldest.last_offset + 1;
        }
        self.batches.push_back(batch);
    }

    pub(super) fn find(&self, target: Offset) -> RecentFind {
        if self.batches.is_empty() || target < self.first_offset {
            return RecentFind::Unknown;
        }
        match self.batches.get(self.batches.partition_point(|batch| batch.last_offset < target)) {
            Some(batch) => {
                RecentFind::At(BatchPosition { position: u64::from(batch.position), size: u64::from(batch.size) })
            }
            None => RecentFind::Behind,
        }
    }

    pub(super) fn forget(&mut self) {
        self.batches = VecDeque::new();
    }
}
