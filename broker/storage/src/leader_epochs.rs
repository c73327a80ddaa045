//! Leader epochs of a log (KIP-101): which epoch began at which offset. Pure.
//!
//! Epochs and start offsets both grow strictly; an epoch that got no record is replaced by the next one at the same offset (`LeaderEpochFileCache`).
//! The text form is that of `leader-epoch-checkpoint`; writing it to a file is [`crate::checkpoint`]'s work.

use milena_protocol::types::{LeaderEpoch, NO_LEADER_EPOCH, Offset};

/// Where a leader epoch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochStart {
    /// The epoch.
    pub leader_epoch: LeaderEpoch,
    /// Offset of its first record.
    pub start_offset: Offset,
}

/// A leader epoch and where it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEndOffset {
    /// The epoch.
    pub leader_epoch: LeaderEpoch,
    /// Where the next one begins; the log end for the latest.
    pub end_offset: Offset,
}

/// The epochs of one log, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaderEpochs {
    entries: Vec<EpochStart>,
}

impl LeaderEpochs {
    /// From entries as read from a file; an entry that does not grow in both numbers replaces those before it, as in Kafka.
    pub fn from_entries(entries: impl IntoIterator<Item = EpochStart>) -> LeaderEpochs {
        let mut epochs = LeaderEpochs::default();
        for entry in entries {
            epochs.assign(entry.leader_epoch, entry.start_offset);
        }
        epochs.entries.shrink_to_fit();
        epochs
    }

    /// The entries, oldest first.
    pub fn entries(&self) -> &[EpochStart] {
        &self.entries
    }

    /// The newest epoch.
    pub fn latest(&self) -> Option<LeaderEpoch> {
        self.entries.last().map(|entry| entry.leader_epoch)
    }

    /// Epoch `leader_epoch` begins at `start_offset`. Answers whether anything changed.
    pub fn assign(&mut self, leader_epoch: LeaderEpoch, start_offset: Offset) -> bool {
        if leader_epoch < 0 || start_offset < 0 {
            return false;
        }
        if let Some(last) = self.entries.last()
            && leader_epoch <= last.leader_epoch
            && start_offset >= last.start_offset
        {
            return false;
        }
        while let Some(last) = self.entries.last()
            && (last.leader_epoch >= leader_epoch || last.start_offset >= start_offset)
        {
            self.entries.pop();
        }
        self.entries.push(EpochStart { leader_epoch, start_offset });
        true
    }

    /// Where the largest epoch not above `leader_epoch` ends; `None` for an epoch this log has not heard of yet.
    pub fn end_offset_for(&self, leader_epoch: LeaderEpoch, log_end_offset: Offset) -> Option<EpochEndOffset> {
        if leader_epoch == NO_LEADER_EPOCH {
            return None;
        }
        if self.latest() == Some(leader_epoch) {
            return Some(EpochEndOffset { leader_epoch, end_offset: log_end_offset });
        }
        let higher = self.entries.partition_point(|entry| entry.leader_epoch <= leader_epoch);
        let end_offset = self.entries.get(higher)?.start_offset;
        let floor = higher.checked_sub(1).and_then(|index| self.entries.get(index));
        let leader_epoch = floor.map_or(leader_epoch, |entry| entry.leader_epoch);
        Some(EpochEndOffset { leader_epoch, end_offset })
    }

    /// The epoch in which the record at `offset` was written.
    pub fn epoch_for_offset(&self, offset: Offset) -> Option<LeaderEpoch> {
        let after = self.entries.partition_point(|entry| entry.start_offset <= offset);
        after.checked_sub(1).and_then(|index| self.entries.get(index)).map(|entry| entry.leader_epoch)
    }

    /// The log now ends at `end_offset`: forget epochs that begin there or later. Answers whether anything changed.
    pub fn truncate_from_end(&mut self, end_offset: Offset) -> bool {
        let before = self.entries.len();
        self.entries.retain(|entry| entry.start_offset < end_offset);
        self.entries.len() != before
    }

    /// The log now starts at `start_offset`: forget epochs that ended below it and let the one that covers it begin there.
    /// Answers whether anything changed.
    pub fn truncate_from_start(&mut self, start_offset: Offset) -> bool {
        let covered = self.entries.partition_point(|entry| entry.start_offset <= start_offset);
        let Some(first_kept) = covered.checked_sub(1) else { return false };
        if first_kept == 0 && self.entries.first().is_some_and(|entry| entry.start_offset == start_offset) {
            return false;
        }
        self.entries.drain(..first_kept);
        if let Some(first) = self.entries.first_mut() {
            first.start_offset = start_offset;
        }
        true
    }

    /// Forget everything.
    pub fn clear(&mut self) -> bool {
        let changed = !self.entries.is_empty();
        self.entries.clear();
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epochs(entries: &[(LeaderEpoch, Offset)]) -> LeaderEpochs {
        LeaderEpochs::from_entries(
            entries.iter().map(|&(leader_epoch, start_offset)| EpochStart { leader_epoch, start_offset }),
        )
    }

    fn listed(epochs: &LeaderEpochs) -> Vec<(LeaderEpoch, Offset)> {
        epochs.entries().iter().map(|entry| (entry.leader_epoch, entry.start_offset)).collect()
    }

    #[test]
    fn an_epoch_without_records_is_replaced_by_the_next() {
        let mut epochs = epochs(&[(0, 0), (3, 10)]);
        assert!(epochs.assign(4, 10));
        assert_eq!(listed(&epochs), [(0, 0), (4, 10)]);
        assert!(!epochs.assign(4, 12), "the epoch is known already");
        assert!(!epochs.assign(2, 12), "an older epoch does not return");
    }

    #[test]
    fn an_entry_below_the_end_replaces_what_contradicts_it() {
        let mut epochs = epochs(&[(0, 0), (3, 10), (5, 20)]);
        assert!(epochs.assign(4, 8));
        assert_eq!(listed(&epochs), [(0, 0), (4, 8)]);
    }

    #[test]
    fn answers_epoch_ends_as_kip_101_says() {
        let epochs = epochs(&[(2, 5), (4, 10), (7, 30)]);
        let check = |asked, expected: Option<(LeaderEpoch, Offset)>| {
            let answer = epochs.end_offset_for(asked, 40).map(|end| (end.leader_epoch, end.end_offset));
            assert_eq!(answer, expected, "epoch {asked}");
        };
        check(-1, None);
        check(1, Some((1, 5)));
        check(2, Some((2, 10)));
        check(3, Some((2, 10)));
        check(4, Some((4, 30)));
        check(7, Some((7, 40)));
        check(8, None);
        assert_eq!(LeaderEpochs::default().end_offset_for(0, 0), None);
    }

    #[test]
    fn truncation_keeps_the_epoch_that_covers_the_start() {
        let mut kept = epochs(&[(2, 5), (4, 10), (7, 30)]);
        assert!(kept.truncate_from_start(12));
        assert_eq!(listed(&kept), [(4, 12), (7, 30)]);
        assert!(!kept.truncate_from_start(12));
        assert!(kept.truncate_from_start(30));
        assert_eq!(listed(&kept), [(7, 30)]);
        assert!(!kept.truncate_from_start(3));
        assert!(kept.truncate_from_end(30));
        assert_eq!(listed(&kept), []);
    }

    #[test]
    fn finds_the_epoch_of_an_offset() {
        let epochs = epochs(&[(2, 5), (4, 10)]);
        assert_eq!(
            [4, 5, 9, 10, 99].map(|offset| epochs.epoch_for_offset(offset)),
            [None, Some(2), Some(2), Some(4), Some(4)]
        );
    }
}
