//! What a log knows of its idempotent and transactional producers. Pure: no files, no clock.
//!
//! Promise: the last five batches of each producer are recognised when they come again; a gap, an older epoch or a write outside an open transaction is
//! refused; the first unstable offset is the first offset of the oldest transaction that is open, or decided above the high watermark.
//! Source: `ProducerStateManager`, `ProducerStateEntry`, `ProducerAppendInfo`. Absent: `.snapshot` files ([`crate::snapshot`]) and the verification of
//! transactions with their coordinator, which is the broker's.

use std::collections::BTreeMap;

use milena_protocol::record_batch::BatchHeader;
use milena_protocol::types::{
    NO_PRODUCER_EPOCH, NO_SEQUENCE, NO_TIMESTAMP, Offset, ProducerEpoch, ProducerId, Timestamp,
};

use crate::error::{
    InvalidProducerEpoch, InvalidTxnState, OutOfOrderSequence, ProducerStateError, TransactionCoordinatorFenced,
};
use crate::log::AppendOrigin;
use crate::transaction_index::AbortedTransaction;

/// Batches remembered per producer: a client has at most five requests in flight.
pub const BATCHES_RETAINED: usize = 5;
const NO_COORDINATOR_EPOCH: i32 = -1;

/// A batch of a producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchMetadata {
    /// Sequence of its last record.
    pub last_sequence: i32,
    /// Offset of its last record.
    pub last_offset: Offset,
    /// Last offset minus first offset.
    pub offset_delta: i32,
    /// Largest timestamp.
    pub timestamp: Timestamp,
}

impl BatchMetadata {
    /// What a header says of its batch.
    pub fn of(header: &BatchHeader) -> BatchMetadata {
        BatchMetadata {
            last_sequence: header.last_sequence(),
            last_offset: header.last_offset(),
            offset_delta: header.last_offset_delta,
            timestamp: header.max_timestamp,
        }
    }

    /// Sequence of its first record; wraps below 0.
    pub fn first_sequence(&self) -> i32 {
        if self.last_sequence < 0 {
            return NO_SEQUENCE;
        }
        let first = i64::from(self.last_sequence) - i64::from(self.offset_delta);
        (if first < 0 { first + i64::from(i32::MAX) + 1 } else { first }) as i32
    }

    /// Offset of its first record.
    pub fn first_offset(&self) -> Offset {
        self.last_offset - i64::from(self.offset_delta)
    }
}

/// One producer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerStateEntry {
    /// Epoch of its last batch or marker.
    pub producer_epoch: ProducerEpoch,
    /// Coordinator epoch of its last marker, -1 if none.
    pub coordinator_epoch: i32,
    /// Timestamp of its last batch or marker: expiry counts from here.
    pub last_timestamp: Timestamp,
    /// First offset of its open transaction.
    pub current_txn_first_offset: Option<Offset>,
    /// Its last batches of this epoch, oldest first; at most [`BATCHES_RETAINED`].
    batches: Vec<BatchMetadata>,
}

impl Default for ProducerStateEntry {
    fn default() -> ProducerStateEntry {
        ProducerStateEntry {
            producer_epoch: NO_PRODUCER_EPOCH,
            coordinator_epoch: NO_COORDINATOR_EPOCH,
            last_timestamp: NO_TIMESTAMP,
            current_txn_first_offset: None,
            batches: Vec::new(),
        }
    }
}

impl ProducerStateEntry {
    /// The last batches of this epoch, oldest first.
    pub fn batches(&self) -> &[BatchMetadata] {
        &self.batches
    }

    /// Sequence of the last record, -1 if no batch of this epoch is known.
    pub fn last_sequence(&self) -> i32 {
        self.batches.last().map_or(NO_SEQUENCE, |batch| batch.last_sequence)
    }

    pub(crate) fn push(&mut self, batch: BatchMetadata) {
        if self.batches.len() == BATCHES_RETAINED {
            self.batches.remove(0);
        }
        self.batches.push(batch);
    }

    pub(crate) fn set_batches(&mut self, batches: Vec<BatchMetadata>) {
        self.batches = batches;
    }

    fn find_duplicate(&self, header: &BatchHeader) -> Option<BatchMetadata> {
        if header.producer_epoch != self.producer_epoch {
            return None;
        }
        let (first, last) = (header.base_sequence, header.last_sequence());
        self.batches.iter().find(|batch| batch.first_sequence() == first && batch.last_sequence == last).copied()
    }
}

/// A marker that ends a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndTxn {
    /// Whether the transaction is committed; else it is aborted.
    pub committed: bool,
    /// Epoch of the coordinator that wrote it.
    pub coordinator_epoch: i32,
    /// Timestamp of the control record.
    pub timestamp: Timestamp,
}

/// A decided transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct CompletedTxn {
    producer_id: ProducerId,
    first_offset: Offset,
    last_offset: Offset,
}

/// What the check of a batch found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checked {
    /// To be appended.
    New,
    /// It is in the log already.
    Duplicate(BatchMetadata),
}

/// The producers of one log.
#[derive(Clone, Debug, Default)]
pub struct ProducerState {
    producers: BTreeMap<ProducerId, ProducerStateEntry>,
    /// Open transactions: first offset -> producer.
    ongoing: BTreeMap<Offset, ProducerId>,
    /// Decided transactions whose marker is not below the high watermark yet: first offset -> marker offset.
    unreplicated: BTreeMap<Offset, Offset>,
}

impl ProducerState {
    /// From the entries of a `.snapshot`, those expired at `now` left out.
    pub fn from_snapshot(
        entries: impl IntoIterator<Item = (ProducerId, ProducerStateEntry)>,
        now: Timestamp,
        expiration_ms: i64,
    ) -> ProducerState {
        let mut state = ProducerState::default();
        for (producer_id, entry) in entries {
            if is_expired(&entry, now, expiration_ms) {
                continue;
            }
            if let Some(first_offset) = entry.current_txn_first_offset {
                state.ongoing.insert(first_offset, producer_id);
            }
            state.producers.insert(producer_id, entry);
        }
        state
    }

    /// Whether no producer is known.
    pub fn is_empty(&self) -> bool {
        self.producers.is_empty()
    }

    /// All producers, ordered by id.
    pub fn producers(&self) -> &BTreeMap<ProducerId, ProducerStateEntry> {
        &self.producers
    }

    /// One producer.
    pub fn producer(&self, producer_id: ProducerId) -> Option<&ProducerStateEntry> {
        self.producers.get(&producer_id)
    }

    pub(crate) fn producer_mut(&mut self, producer_id: ProducerId) -> Option<&mut ProducerStateEntry> {
        self.producers.get_mut(&producer_id)
    }

    /// Whether a data batch of a producer may be appended at `header.base_offset`. Sequences are checked for clients only.
    ///
    /// # Errors
    /// [`ProducerStateError`]; nothing has changed.
    pub fn check_data(&self, header: &BatchHeader, origin: AppendOrigin) -> Result<Checked, ProducerStateError> {
        let unknown = ProducerStateEntry::default();
        let entry = self.producers.get(&header.producer_id).unwrap_or(&unknown);
        if origin.is_client()
            && let Some(duplicate) = entry.find_duplicate(header)
        {
            return Ok(Checked::Duplicate(duplicate));
        }
        check_epoch(entry, header)?;
        if origin.is_client() {
            check_sequence(entry, header)?;
        }
        if let (Some(first_offset), false) = (entry.current_txn_first_offset, header.attributes.is_transactional()) {
            return Err(
                InvalidTxnState { producer_id: header.producer_id, offset: header.base_offset, first_offset }.into()
            );
        }
        Ok(Checked::New)
    }

    /// Whether a marker may be appended.
    ///
    /// # Errors
    /// [`ProducerStateError`]; nothing has changed.
    pub fn check_marker(&self, header: &BatchHeader, marker: &EndTxn) -> Result<(), ProducerStateError> {
        let Some(entry) = self.producers.get(&header.producer_id) else { return Ok(()) };
        check_epoch(entry, header)?;
        if entry.coordinator_epoch > marker.coordinator_epoch {
            return Err(TransactionCoordinatorFenced {
                producer_id: header.producer_id,
                coordinator_epoch: marker.coordinator_epoch,
                current_epoch: entry.coordinator_epoch,
            }
            .into());
        }
        Ok(())
    }

    /// A data batch stands in the log: a fact, whatever its sequence.
    pub fn apply_data(&mut self, header: &BatchHeader) {
        let entry = self.producers.entry(header.producer_id).or_default();
        if entry.producer_epoch != header.producer_epoch {
            entry.batches.clear();
            entry.producer_epoch = header.producer_epoch;
        }
        entry.push(BatchMetadata::of(header));
        entry.last_timestamp = header.max_timestamp;
        if header.attributes.is_transactional() && entry.current_txn_first_offset.is_none() {
            entry.current_txn_first_offset = Some(header.base_offset);
            self.ongoing.insert(header.base_offset, header.producer_id);
        }
    }

    /// A marker stands in the log. Answers the entry for `.txnindex` if it aborts a transaction that has data here.
    pub fn apply_marker(&mut self, header: &BatchHeader, marker: &EndTxn) -> Option<AbortedTransaction> {
        let entry = self.producers.entry(header.producer_id).or_default();
        if entry.producer_epoch != header.producer_epoch {
            entry.batches.clear();
            entry.producer_epoch = header.producer_epoch;
        }
        entry.coordinator_epoch = marker.coordinator_epoch;
        entry.last_timestamp = marker.timestamp;
        let first_offset = entry.current_txn_first_offset.take()?;
        let completed = CompletedTxn { producer_id: header.producer_id, first_offset, last_offset: header.base_offset };
        let last_stable_offset = self.last_stable_offset_after(&completed);
        self.ongoing.remove(&first_offset);
        self.unreplicated.insert(first_offset, completed.last_offset);
        (!marker.committed).then_some(AbortedTransaction {
            producer_id: completed.producer_id,
            first_offset,
            last_offset: completed.last_offset,
            last_stable_offset,
        })
    }

    fn last_stable_offset_after(&self, completed: &CompletedTxn) -> Offset {
        let other = self.ongoing.iter().find(|&(_, &producer_id)| producer_id != completed.producer_id);
        other.map_or(completed.last_offset + 1, |(&first_offset, _)| first_offset)
    }

    /// The high watermark moved: transactions decided below it are stable.
    pub fn on_high_watermark(&mut self, high_watermark: Offset) {
        if !self.unreplicated.is_empty() {
            self.unreplicated.retain(|_, &mut marker_offset| marker_offset >= high_watermark);
        }
    }

    /// First offset of the oldest transaction that is open, or decided but not below the high watermark.
    pub fn first_unstable_offset(&self) -> Option<Offset> {
        let ongoing = self.ongoing.first_key_value().map(|(&offset, _)| offset);
        let unreplicated = self.unreplicated.first_key_value().map(|(&offset, _)| offset);
        match (ongoing, unreplicated) {
            (Some(left), Some(right)) => Some(left.min(right)),
            (left, right) => left.or(right),
        }
    }

    /// Forget producers that wrote nothing for `expiration_ms` and have no open transaction.
    pub fn expire(&mut self, now: Timestamp, expiration_ms: i64) {
        self.producers.retain(|_, entry| !is_expired(entry, now, expiration_ms));
    }
}

fn is_expired(entry: &ProducerStateEntry, now: Timestamp, expiration_ms: i64) -> bool {
    entry.current_txn_first_offset.is_none() && now.saturating_sub(entry.last_timestamp) >= expiration_ms
}

fn check_epoch(entry: &ProducerStateEntry, header: &BatchHeader) -> Result<(), InvalidProducerEpoch> {
    if header.producer_epoch < entry.producer_epoch {
        return Err(InvalidProducerEpoch {
            producer_id: header.producer_id,
            offset: header.base_offset,
            producer_epoch: header.producer_epoch,
            current_epoch: entry.producer_epoch,
        });
    }
    Ok(())
}

fn check_sequence(entry: &ProducerStateEntry, header: &BatchHeader) -> Result<(), OutOfOrderSequence> {
    if entry.producer_epoch == NO_PRODUCER_EPOCH {
        // Nothing is known of it, perhaps because retention removed its records: any sequence begins.
        return Ok(());
    }
    let last_sequence = if header.producer_epoch == entry.producer_epoch { entry.last_sequence() } else { NO_SEQUENCE };
    let follows = i64::from(header.base_sequence) == i64::from(last_sequence) + 1
        || (header.base_sequence == 0 && last_sequence == i32::MAX);
    if follows {
        return Ok(());
    }
    Err(OutOfOrderSequence {
        producer_id: header.producer_id,
        offset: header.base_offset,
        sequence: header.base_sequence,
        last_sequence,
    })
}

#[cfg(test)]
mod tests {
    use milena_protocol::record_batch::Attributes;

    use super::*;

    const PRODUCER: ProducerId = 7;

    fn batch(base_offset: Offset, producer_epoch: ProducerEpoch, base_sequence: i32, count: i32) -> BatchHeader {
        BatchHeader {
            base_offset,
            batch_length: 49,
            leader_epoch: 0,
            crc: 0,
            attributes: Attributes::default(),
            last_offset_delta: count - 1,
            base_timestamp: 100,
            max_timestamp: 100 + base_offset,
            producer_id: PRODUCER,
            producer_epoch,
            base_sequence,
            records_count: count,
        }
    }

    fn transactional(mut header: BatchHeader) -> BatchHeader {
        header.attributes = header.attributes.with_transactional(true);
        header
    }

    fn after(batches: &[BatchHeader]) -> ProducerState {
        let mut state = ProducerState::default();
        for header in batches {
            assert_eq!(state.check_data(header, AppendOrigin::Client), Ok(Checked::New));
            state.apply_data(header);
        }
        state
    }

    #[test]
    fn recognises_each_of_the_last_five_batches_and_no_sixth() {
        let batches: Vec<_> = (0..6).map(|index| batch(index * 2, 0, index as i32 * 2, 2)).collect();
        let state = after(&batches);
        for header in &batches[1..] {
            let expected = Checked::Duplicate(BatchMetadata::of(header));
            assert_eq!(state.check_data(header, AppendOrigin::Client), Ok(expected));
        }
        let oldest = state.check_data(&batches[0], AppendOrigin::Client);
        assert!(matches!(oldest, Err(ProducerStateError::OutOfOrderSequence(_))), "{oldest:?}");
    }

    #[test]
    fn rejects_a_batch_with_a_gap_in_sequence() {
        let state = after(&[batch(0, 0, 0, 3)]);
        let gap = state.check_data(&batch(3, 0, 4, 1), AppendOrigin::Client);
        assert!(matches!(gap, Err(ProducerStateError::OutOfOrderSequence(error)) if error.last_sequence == 2));
        assert_eq!(state.check_data(&batch(3, 0, 4, 1), AppendOrigin::Coordinator), Ok(Checked::New));
    }

    #[test]
    fn an_unknown_producer_may_begin_anywhere_and_a_new_epoch_at_zero() {
        let state = after(&[batch(0, 3, 17, 1)]);
        assert_eq!(state.check_data(&batch(1, 4, 0, 1), AppendOrigin::Client), Ok(Checked::New));
        let late = state.check_data(&batch(1, 4, 1, 1), AppendOrigin::Client);
        assert!(matches!(late, Err(ProducerStateError::OutOfOrderSequence(_))));
        let old = state.check_data(&batch(1, 2, 18, 1), AppendOrigin::Client);
        assert!(matches!(old, Err(ProducerStateError::InvalidProducerEpoch(_))));
    }

    #[test]
    fn sequences_wrap_also_inside_a_batch() {
        let wrapping = batch(0, 0, i32::MAX - 1, 4);
        let state = after(&[wrapping]);
        assert_eq!(state.producer(PRODUCER).unwrap().last_sequence(), 1);
        assert_eq!(state.check_data(&batch(4, 0, 2, 1), AppendOrigin::Client), Ok(Checked::New));
        let again = state.check_data(&wrapping, AppendOrigin::Client);
        assert_eq!(again, Ok(Checked::Duplicate(BatchMetadata::of(&wrapping))));
        let state = after(&[batch(0, 0, i32::MAX, 1)]);
        assert_eq!(state.check_data(&batch(1, 0, 0, 1), AppendOrigin::Client), Ok(Checked::New));
    }

    #[test]
    fn a_transaction_is_unstable_until_its_marker_is_below_the_high_watermark() {
        let mut state = after(&[transactional(batch(5, 0, 0, 2))]);
        assert_eq!(state.first_unstable_offset(), Some(5));
        let outside = state.check_data(&batch(7, 0, 2, 1), AppendOrigin::Client);
        assert!(matches!(outside, Err(ProducerStateError::InvalidTxnState(_))));
        let marker = EndTxn { committed: false, coordinator_epoch: 1, timestamp: 200 };
        let aborted = state.apply_marker(&batch(7, 0, -1, 1), &marker).unwrap();
        assert_eq!((aborted.first_offset, aborted.last_offset, aborted.last_stable_offset), (5, 7, 8));
        state.on_high_watermark(7);
        assert_eq!(state.first_unstable_offset(), Some(5));
        state.on_high_watermark(8);
        assert_eq!(state.first_unstable_offset(), None);
    }

    #[test]
    fn a_marker_of_a_replaced_coordinator_is_fenced() {
        let mut state = after(&[transactional(batch(0, 0, 0, 1))]);
        let marker = |coordinator_epoch| EndTxn { committed: true, coordinator_epoch, timestamp: 0 };
        assert_eq!(state.apply_marker(&batch(1, 0, -1, 1), &marker(4)), None);
        let zombie = state.check_marker(&batch(2, 0, -1, 1), &marker(3));
        assert!(matches!(zombie, Err(ProducerStateError::TransactionCoordinatorFenced(_))));
        assert_eq!(state.check_marker(&batch(2, 1, -1, 1), &marker(4)), Ok(()));
    }

    #[test]
    fn a_marker_with_a_new_epoch_forgets_the_batches() {
        let mut state = after(&[transactional(batch(0, 0, 0, 1))]);
        let marker = EndTxn { committed: true, coordinator_epoch: 0, timestamp: 0 };
        state.apply_marker(&batch(1, 1, -1, 1), &marker);
        let entry = state.producer(PRODUCER).unwrap();
        assert_eq!((entry.producer_epoch, entry.last_sequence()), (1, -1));
        assert_eq!(state.check_data(&batch(2, 1, 0, 1), AppendOrigin::Client), Ok(Checked::New));
    }

    #[test]
    fn producers_expire_after_their_last_timestamp_unless_a_transaction_is_open() {
        let mut state = after(&[batch(0, 0, 0, 1)]);
        state.expire(199, 100);
        assert!(!state.is_empty());
        state.expire(200, 100);
        assert!(state.is_empty());
        let mut state = after(&[transactional(batch(0, 0, 0, 1))]);
        state.expire(i64::MAX, 100);
        assert!(!state.is_empty());
    }
}
