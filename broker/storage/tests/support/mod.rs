//! What the tests of logs share: opening a log in a directory, building batches, reading everything back.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a failure is the test's answer")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::BytesMut;
use milena_protocol::record_batch::{BatchHeader, batches};
use milena_protocol::records::{BatchBuilder, records};
use milena_protocol::types::{Offset, ProducerEpoch, ProducerId, Timestamp, TopicPartition};
use milena_storage::{
    AppendError, AppendInfo, AppendOrigin, Descriptors, Disk, Log, LogConfig, LogReader, OpenLog, RecoveryReport,
    SimDisk, StorageError,
};

pub(crate) const NOW: Timestamp = 1_700_000_000_000;

/// How the tests open their log; fields are changed before `open`.
#[derive(Clone)]
pub(crate) struct Opener {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) descriptors: Arc<Descriptors>,
    pub(crate) dir: PathBuf,
    pub(crate) topic_id: uuid::Uuid,
    pub(crate) config: LogConfig,
    pub(crate) recovery_point: Offset,
    pub(crate) log_start_offset: Offset,
    pub(crate) clean_shutdown: bool,
}

impl Opener {
    pub(crate) fn sim(disk: &SimDisk) -> Opener {
        Opener::on(Arc::new(disk.clone()), Path::new("/data/topic-0"))
    }

    pub(crate) fn on(disk: Arc<dyn Disk>, dir: &Path) -> Opener {
        Opener {
            disk,
            descriptors: Descriptors::new(10, 1 << 20),
            dir: dir.to_owned(),
            topic_id: uuid::Uuid::from_u128(7),
            config: LogConfig::default(),
            recovery_point: 0,
            log_start_offset: 0,
            clean_shutdown: false,
        }
    }

    pub(crate) fn try_open(&self) -> Result<(Log, RecoveryReport), StorageError> {
        Log::open(OpenLog {
            disk: Arc::clone(&self.disk),
            descriptors: Arc::clone(&self.descriptors),
            dir: self.dir.clone(),
            topic_partition: TopicPartition::new("topic", 0),
            topic_id: Some(self.topic_id),
            config: Arc::new(self.config.clone()),
            recovery_point: self.recovery_point,
            log_start_offset: self.log_start_offset,
            was_compacted: false,
            clean_shutdown: self.clean_shutdown,
            now: NOW,
            producer_id_expiration_ms: 86_400_000,
        })
    }

    pub(crate) fn open(&self) -> Log {
        self.try_open().unwrap().0
    }
}

pub(crate) fn batch(timestamp: Timestamp, values: &[&str]) -> BytesMut {
    let mut builder = BatchBuilder::new();
    for value in values {
        builder.append(timestamp, None, Some(value.as_bytes()), []);
    }
    builder.build().unwrap()
}

pub(crate) fn idempotent(producer_id: ProducerId, epoch: ProducerEpoch, sequence: i32, values: &[&str]) -> BytesMut {
    let mut builder = BatchBuilder::new().producer(producer_id, epoch, sequence);
    for value in values {
        builder.append(NOW, None, Some(value.as_bytes()), []);
    }
    builder.build().unwrap()
}

pub(crate) fn append(log: &mut Log, values: &[&str]) -> AppendInfo {
    append_batch(log, batch(NOW, values)).unwrap()
}

pub(crate) fn append_batch(log: &mut Log, batch: BytesMut) -> Result<AppendInfo, AppendError> {
    log.append_as_leader(batch, 0, AppendOrigin::Client, NOW)
}

/// All bytes of a log from `start` to its end.
pub(crate) fn read_bytes(reader: &LogReader, start: Offset) -> Vec<u8> {
    let mut all = Vec::new();
    let mut next = start;
    while next < reader.log_end_offset() {
        let plan = reader.read(next, usize::MAX, Offset::MAX, true).unwrap();
        let Some(range) = plan.range else { break };
        let mut bytes = vec![0; range.len];
        range.source.read_exact_at(&mut bytes, range.position).unwrap();
        next = headers(&bytes).last().unwrap().next_offset();
        all.extend(bytes);
    }
    all
}

pub(crate) fn headers(bytes: &[u8]) -> Vec<BatchHeader> {
    batches(bytes).map(|batch| *batch.unwrap().header()).collect()
}

/// Offsets and values of all records of uncompressed batches.
pub(crate) fn values_in(bytes: &[u8]) -> Vec<(Offset, String)> {
    let mut found = Vec::new();
    for batch in batches(bytes) {
        let batch = batch.unwrap();
        assert!(batch.crc_is_valid());
        for record in records(batch.record_bytes(), batch.header().records_count) {
            let record = record.unwrap();
            let value = String::from_utf8_lossy(record.value.unwrap_or_default()).into_owned();
            found.push((batch.header().base_offset + i64::from(record.offset_delta), value));
        }
    }
    found
}

/// Offsets and values of all records of a log.
pub(crate) fn values(log: &Log) -> Vec<(Offset, String)> {
    let reader = log.reader();
    let mut all = values_in(&read_bytes(&reader, reader.log_start_offset()));
    all.retain(|(offset, _)| *offset >= reader.log_start_offset());
    all
}
