//! What makes a log longer: one batch of a client or coordinator, or batches as their leader stored them.
//!
//! An append checks, gives the batch its offset and writes it with one call; nothing else touches the disk unless a segment is full. What fails appends nothing:
//! a full disk's partial batch is cut again, a broken disk takes the log offline. The batch itself is checked by `validate`, outside the append lock where the
//! caller likes. Source: `UnifiedLog.append`, `analyzeAndValidateProducerState`, `maybeRoll`.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::BytesMut;
use milena_protocol::record_batch::{BatchHeader, BatchView, batches};
use milena_protocol::types::{LeaderEpoch, NO_TIMESTAMP, Offset, ProducerId, Timestamp};

use super::Log;
use crate::error::{AppendError, DiskError, ProducerStateError, ReadError, UnexpectedAppendOffset};
use crate::producer_state::{BATCHES_RETAINED, BatchMetadata, Checked, EndTxn};
use crate::replay::{self, end_txn_of};
use crate::transaction_index::AbortedTransaction;
use crate::validate::{self, ValidateConfig, Validated, ValidationError};

/// Who appends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendOrigin {
    /// A client's Produce: everything is checked, one batch, never a control batch.
    Client,
    /// A client's Produce of v0-2: as `Client`, but message sets of magic 0 and 1 are taken, too, and made one batch;
    /// and no whole message is nothing to append, not an error.
    OldClient,
    /// A coordinator of this broker, or a transaction marker: sequences are not checked.
    Coordinator,
    /// Records from the leader: offsets are kept.
    Replication,
}

impl AppendOrigin {
    /// Whether a client sent the records.
    pub(crate) fn is_client(self) -> bool {
        matches!(self, AppendOrigin::Client | AppendOrigin::OldClient)
    }
}

/// What an append did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppendInfo {
    /// Offset of the first record (of the original batch if `duplicate`); -1 if an old client sent no whole message.
    pub first_offset: Offset,
    /// Offset of the last record.
    pub last_offset: Offset,
    /// Largest timestamp of the batch.
    pub max_timestamp: Timestamp,
    /// The broker's time with `LogAppendTime`, or of the original batch if `duplicate`; else -1.
    pub log_append_time: Timestamp,
    /// First offset of the log.
    pub log_start_offset: Offset,
    /// End of the log after the append, exclusive.
    pub log_end_offset: Offset,
    /// The batch was in the log already; nothing was written.
    pub duplicate: bool,
    /// Records appended.
    pub records: i64,
    /// Bytes appended.
    pub bytes: usize,
    /// A segment was closed: sync soon ([`Log::sync_handle`]), and the recovery point then follows.
    pub segment_rolled: bool,
}

impl Log {
    /// Check a batch, give it the next offset and append it. Exactly one batch, or what [`AppendOrigin::OldClient`] allows.
    ///
    /// # Errors
    /// [`AppendError`]; nothing was appended.
    pub fn append_as_leader(
        &mut self,
        mut records: BytesMut,
        leader_epoch: LeaderEpoch,
        origin: AppendOrigin,
        now: Timestamp,
    ) -> Result<AppendInfo, AppendError> {
        let config = ValidateConfig::new(&self.topic_partition, &self.config);
        let validated = match validate::prepare(&mut records, &config, origin, now) {
            Err(ValidationError::NoBatch) if origin == AppendOrigin::OldClient => {
                return Ok(AppendInfo { first_offset: -1, ..self.nothing_appended() });
            }
            validated => validated?,
        };
        self.append_prepared(records, validated, leader_epoch, origin, now)
    }

    /// Append a batch that [`validate::prepare`] has checked, outside the append lock or inside.
    ///
    /// # Errors
    /// [`AppendError`]; nothing was appended.
    pub fn append_prepared(
        &mut self,
        mut records: BytesMut,
        mut validated: Validated,
        leader_epoch: LeaderEpoch,
        origin: AppendOrigin,
        now: Timestamp,
    ) -> Result<AppendInfo, AppendError> {
        if self.is_offline {
            return Err(AppendError::Offline);
        }
        validate::place(&mut records, &mut validated, self.log_end_offset, leader_epoch);
        let header = validated.header;
        let marker = BatchView::parse(&records).ok().and_then(|batch| end_txn_of(&batch));
        if let Checked::Duplicate(batch) = self.check_producer(&header, marker, origin)? {
            return Ok(AppendInfo {
                first_offset: batch.first_offset(),
                last_offset: batch.last_offset,
                max_timestamp: batch.timestamp,
                log_append_time: batch.timestamp,
                log_start_offset: self.log_start_offset,
                log_end_offset: self.log_end_offset,
                duplicate: true,
                records: 0,
                bytes: 0,
                segment_rolled: false,
            });
        }
        let segment_rolled = self.roll_if_needed(records.len(), header.max_timestamp, header.last_offset(), now)?;
        self.write(&records)?;
        self.note_appended(leader_epoch, header.base_offset, header.next_offset());
        Ok(AppendInfo {
            first_offset: header.base_offset,
            last_offset: header.last_offset(),
            max_timestamp: header.max_timestamp,
            log_append_time: validated.log_append_time,
            log_start_offset: self.log_start_offset,
            log_end_offset: self.log_end_offset,
            duplicate: false,
            records: i64::from(header.records_count),
            bytes: records.len(),
            segment_rolled,
        })
    }

    /// Append batches as their leader stored them; a trailing partial batch is left out. Appends nothing if there is no whole batch.
    ///
    /// # Errors
    /// [`AppendError`]; nothing was appended.
    pub fn append_as_follower(&mut self, records: &[u8], now: Timestamp) -> Result<AppendInfo, AppendError> {
        if self.is_offline {
            return Err(AppendError::Offline);
        }
        let (headers, whole_bytes) = validate::check_replicated(records)?;
        let records = records.get(..whole_bytes).unwrap_or_default();
        let (Some(first), Some(last)) = (headers.first(), headers.last()) else {
            return Ok(self.nothing_appended());
        };
        if first.base_offset < self.log_end_offset {
            let (first_offset, log_end_offset) = (first.base_offset, self.log_end_offset);
            return Err(UnexpectedAppendOffset { first_offset, log_end_offset }.into());
        }
        let max_timestamp = headers.iter().map(|header| header.max_timestamp).max().unwrap_or(NO_TIMESTAMP);
        let segment_rolled = self.roll_if_needed(records.len(), max_timestamp, last.last_offset(), now)?;
        self.write(records)?;
        for header in &headers {
            self.note_appended(header.leader_epoch, header.base_offset, header.next_offset());
        }
        Ok(AppendInfo {
            first_offset: first.base_offset,
            last_offset: last.last_offset(),
            max_timestamp,
            records: headers.iter().map(|header| i64::from(header.records_count)).sum(),
            bytes: records.len(),
            segment_rolled,
            ..self.nothing_appended()
        })
    }

    fn nothing_appended(&self) -> AppendInfo {
        AppendInfo {
            first_offset: self.log_end_offset,
            last_offset: self.log_end_offset - 1,
            max_timestamp: NO_TIMESTAMP,
            log_append_time: NO_TIMESTAMP,
            log_start_offset: self.log_start_offset,
            log_end_offset: self.log_end_offset,
            duplicate: false,
            records: 0,
            bytes: 0,
            segment_rolled: false,
        }
    }

    fn check_producer(
        &mut self,
        header: &BatchHeader,
        marker: Option<EndTxn>,
        origin: AppendOrigin,
    ) -> Result<Checked, AppendError> {
        if !header.has_producer_id() {
            return Ok(Checked::New);
        }
        if let Some(marker) = marker {
            self.producers.check_marker(header, &marker)?;
            return Ok(Checked::New);
        }
        if header.attributes.is_control() {
            return Ok(Checked::New);
        }
        match self.producers.check_data(header, origin) {
            Err(ProducerStateError::OutOfOrderSequence(_)) if !self.is_history_complete => {
                self.complete_history().map_err(|error| match error {
                    ReadError::Disk(error) => self.refused(error),
                    ReadError::Corrupt(error) | ReadError::Undecodable(error) => AppendError::Corrupt(error),
                    ReadError::OffsetOutOfRange(_) => AppendError::Offline,
                })?;
                Ok(self.producers.check_data(header, origin)?)
            }
            checked => Ok(checked?),
        }
    }

    /// A `.snapshot` keeps one batch of a producer: the headers of the last two segments give the others back. Done once, when a sequence does not fit.
    fn complete_history(&mut self) -> Result<(), ReadError> {
        let from = self.segments.len().saturating_sub(2);
        let last_two = self.segments.get(from..).unwrap_or_default();
        let first = last_two.first().map_or(self.log_end_offset, |segment| segment.base_offset());
        let mut histories: BTreeMap<ProducerId, Vec<BatchMetadata>> = BTreeMap::new();
        let producers = &self.producers;
        replay::replay(last_two, first.max(self.log_start_offset), self.log_end_offset, |header, _| {
            let known = producers.producer(header.producer_id);
            if header.attributes.is_control() || known.is_none_or(|entry| entry.producer_epoch != header.producer_epoch)
            {
                return;
            }
            let history = histories.entry(header.producer_id).or_default();
            if history.len() == BATCHES_RETAINED {
                history.remove(0);
            }
            history.push(BatchMetadata::of(header));
        })?;
        for (producer_id, history) in histories {
            if let Some(entry) = self.producers.producer_mut(producer_id)
                && history.last().map(|batch| batch.last_offset)
                    == entry.batches().last().map(|batch| batch.last_offset)
            {
                entry.set_batches(history);
            }
        }
        self.is_history_complete = true;
        Ok(())
    }

    /// One write. The `.txnindex` entries of markers among the batches go first, so that none is ever missing.
    fn write(&mut self, records: &[u8]) -> Result<(), AppendError> {
        let active = Arc::clone(self.active());
        let has_markers = batches(records).flatten().any(|batch| batch.header().attributes.is_control());
        if !has_markers {
            active.append(records, self.config.index_interval_bytes).map_err(|error| {
                // There is nothing to cut, and no descriptor to cut it with.
                if error.is_out_of_descriptors() { self.refused(error) } else { self.failed_append(error) }
            })?;
            for batch in batches(records).flatten() {
                replay::apply(&mut self.producers, batch.header(), None);
            }
            return Ok(());
        }
        let mut producers = self.producers.clone();
        let aborted: Vec<AbortedTransaction> = batches(records)
            .flatten()
            .filter_map(|batch| replay::apply(&mut producers, batch.header(), end_txn_of(&batch)))
            .collect();
        let had_transaction_index = active.has_transaction_index();
        let written = active.append_aborted_transactions(&aborted).and_then(|before| {
            active.append(records, self.config.index_interval_bytes).inspect_err(|_| {
                // Nothing to add if that fails, too: the error above takes care of the log.
                _ = active.cut_transaction_index(before);
            })
        });
        written.map_err(|error| self.failed_append(error))?;
        if !had_transaction_index && active.has_transaction_index() {
            self.unsynced.add_name();
        }
        self.producers = producers;
        Ok(())
    }

    /// What a failed write left behind is cut; where that is impossible, or the disk is not just full, the log goes offline.
    fn failed_append(&mut self, error: DiskError) -> AppendError {
        let is_cut = self.active().cut_partial_append().is_ok();
        if error.is_full() && is_cut {
            return AppendError::DiskFull(error);
        }
        self.is_offline = true;
        AppendError::Disk(error)
    }

    fn note_appended(&mut self, leader_epoch: LeaderEpoch, base_offset: Offset, next_offset: Offset) {
        if self.leader_epochs.latest() != Some(leader_epoch) {
            self.leader_epochs_unwritten |= Arc::make_mut(&mut self.leader_epochs).assign(leader_epoch, base_offset);
        }
        self.log_end_offset = next_offset;
        self.publish();
        // The records are written; what follows is only convenience and is tried again while the disk is full.
        let epochs = if self.leader_epochs_unwritten { self.write_leader_epochs() } else { Ok(()) };
        let indexes = self.active().write_indexes_if_many();
        self.is_offline |= [epochs, indexes].iter().any(|result| matches!(result, Err(error) if !error.is_full()));
    }

    fn roll_if_needed(
        &mut self,
        bytes: usize,
        max_timestamp: Timestamp,
        last_offset: Offset,
        now: Timestamp,
    ) -> Result<bool, AppendError> {
        let segment_ms = self.config.segment_ms.saturating_sub(self.roll_jitter_ms());
        let active = self.active();
        let rolls = active.should_roll(&self.config, segment_ms, bytes, max_timestamp, last_offset, now);
        if !rolls.map_err(|error| self.refused(error))? {
            return Ok(false);
        }
        self.roll_active(now).map_err(|error| self.refused(error))?;
        Ok(true)
    }

    /// Nothing was written yet: where room or descriptors lack a later append may succeed, a disk that fails is not asked again.
    fn refused(&mut self, error: DiskError) -> AppendError {
        if error.is_full() { AppendError::DiskFull(error) } else { self.broken(error).into() }
    }

    /// Where in `segment.jitter.ms` this segment is rolled: fixed for the segment, different between partitions.
    fn roll_jitter_ms(&self) -> i64 {
        let jitter_ms = self.config.segment_jitter_ms.min(self.config.segment_ms);
        if jitter_ms <= 0 {
            return 0;
        }
        let name = format!("{}/{}", self.topic_partition, self.active().base_offset());
        i64::from(crc32c::crc32c(name.as_bytes())) % jitter_ms
    }
}
