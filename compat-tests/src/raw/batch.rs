//! Record batches (magic 2) built field by field, so that a scenario can get any field wrong.
//!
//! Written here and not taken from the broker's own code: a test must not share the mistake it looks for.

use bytes::{BufMut, Bytes, BytesMut};

/// One record of a batch to be.
#[derive(Clone)]
pub(crate) struct Record {
    pub(crate) attributes: i8,
    pub(crate) timestamp_delta: i64,
    pub(crate) offset_delta: i32,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
}

/// One batch to be. `new` makes a valid one; fields may be set to anything afterwards.
#[derive(Clone)]
pub(crate) struct Batch {
    pub(crate) base_offset: i64,
    pub(crate) leader_epoch: i32,
    pub(crate) magic: i8,
    pub(crate) attributes: i16,
    pub(crate) last_offset_delta: i32,
    pub(crate) base_timestamp: i64,
    pub(crate) max_timestamp: i64,
    pub(crate) producer_id: i64,
    pub(crate) producer_epoch: i16,
    pub(crate) base_sequence: i32,
    pub(crate) count: i32,
    pub(crate) records: Vec<Record>,
    /// Stands behind the last record, inside the batch.
    pub(crate) garbage: Vec<u8>,
    /// Added to the right checksum.
    pub(crate) crc_error: u32,
}

impl Batch {
    /// A valid batch with these values, null keys, and timestamps from `timestamp` on, one millisecond apart.
    pub(crate) fn new(timestamp: i64, values: &[&str]) -> Self {
        let records: Vec<Record> = values
            .iter()
            .enumerate()
            .map(|(index, value)| Record {
                attributes: 0,
                timestamp_delta: index as i64,
                offset_delta: index as i32,
                key: None,
                value: Some(value.as_bytes().to_vec()),
                headers: Vec::new(),
            })
            .collect();
        let last = values.len().saturating_sub(1);
        Self {
            base_offset: 0,
            leader_epoch: -1,
            magic: 2,
            attributes: 0,
            last_offset_delta: last as i32,
            base_timestamp: timestamp,
            max_timestamp: timestamp + last as i64,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            count: values.len() as i32,
            records,
            garbage: Vec::new(),
            crc_error: 0,
        }
    }

    /// The same batch, keyed.
    pub(crate) fn keyed(mut self, key: &str) -> Self {
        for record in &mut self.records {
            record.key = Some(key.as_bytes().to_vec());
        }
        self
    }

    /// The same batch of an idempotent producer.
    pub(crate) fn by_producer(mut self, id: i64, epoch: i16, sequence: i32) -> Self {
        (self.producer_id, self.producer_epoch, self.base_sequence) = (id, epoch, sequence);
        self
    }

    /// The same batch, changed.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// The bytes.
    pub(crate) fn encode(&self) -> Bytes {
        let mut records = BytesMut::new();
        for record in &self.records {
            let mut body = BytesMut::new();
            body.put_i8(record.attributes);
            put_varint(&mut body, record.timestamp_delta);
            put_varint(&mut body, i64::from(record.offset_delta));
            put_bytes(&mut body, record.key.as_deref());
            put_bytes(&mut body, record.value.as_deref());
            put_varint(&mut body, record.headers.len() as i64);
            for (key, value) in &record.headers {
                put_bytes(&mut body, Some(key.as_bytes()));
                put_bytes(&mut body, value.as_deref());
            }
            put_varint(&mut records, body.len() as i64);
            records.put_slice(&body);
        }
        records.put_slice(&self.garbage);
        self.encode_around(&records)
    }

    /// The bytes with this in the place of the records (compressed by the caller, or nonsense).
    pub(crate) fn encode_around(&self, records: &[u8]) -> Bytes {
        let mut checked = BytesMut::new();
        checked.put_i16(self.attributes);
        checked.put_i32(self.last_offset_delta);
        checked.put_i64(self.base_timestamp);
        checked.put_i64(self.max_timestamp);
        checked.put_i64(self.producer_id);
        checked.put_i16(self.producer_epoch);
        checked.put_i32(self.base_sequence);
        checked.put_i32(self.count);
        checked.put_slice(records);
        let mut batch = BytesMut::new();
        batch.put_i64(self.base_offset);
        batch.put_i32(checked.len() as i32 + 9);
        batch.put_i32(self.leader_epoch);
        batch.put_i8(self.magic);
        batch.put_u32(crc32c::crc32c(&checked).wrapping_add(self.crc_error));
        batch.put_slice(&checked);
        batch.freeze()
    }
}

fn put_varint(buffer: &mut BytesMut, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        buffer.put_u8(rest as u8 | 0x80);
        rest >>= 7;
    }
    buffer.put_u8(rest as u8);
}

fn put_bytes(buffer: &mut BytesMut, bytes: Option<&[u8]>) {
    match bytes {
        None => put_varint(buffer, -1),
        Some(bytes) => {
            put_varint(buffer, bytes.len() as i64);
            buffer.put_slice(bytes);
        }
    }
}
