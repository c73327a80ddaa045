//! What stands in the records of a Fetch response, as JSON: every batch header, and the records of plain batches.

use bytes::{Buf, Bytes};
use serde_json::{Value, json};

/// All batches of `bytes`; a partial one at the end is named as such.
pub(crate) fn describe(bytes: &Bytes) -> Value {
    let mut rest = bytes.clone();
    let mut batches = Vec::new();
    while !rest.is_empty() {
        if let Some(batch) = describe_batch(&mut rest) {
            batches.push(batch);
        } else {
            batches.push(json!({"partial batch": rest.len()}));
            break;
        }
    }
    Value::Array(batches)
}

/// The records of plain batches, as (offset, producer id, value).
pub(crate) fn values(bytes: &Bytes) -> Vec<(i64, i64, Vec<u8>)> {
    let mut rest = bytes.clone();
    let mut found = Vec::new();
    while rest.len() >= 61 {
        let base = rest.slice(..8).get_i64();
        let end = 12 + rest.slice(8..12).get_i32() as usize;
        if rest.len() < end {
            break;
        }
        let batch = rest.split_to(end);
        let producer = batch.slice(43..51).get_i64();
        let count = batch.slice(57..61).get_i32();
        let mut records = batch.slice(61..);
        for _ in 0..count {
            let Some(record) = read_record(&mut records) else { break };
            found.push((base + record.offset_delta, producer, record.value.unwrap_or_default()));
        }
    }
    found
}

/// The base offset of the first whole batch whose checksum is wrong, or that is none.
pub(crate) fn bad_checksum(bytes: &Bytes) -> Option<i64> {
    let mut rest = bytes.clone();
    while rest.len() >= 61 {
        let Ok(length) = usize::try_from(rest.slice(8..12).get_i32()) else {
            return Some(rest.slice(..8).get_i64());
        };
        let end = 12 + length;
        if end < 61 {
            return Some(rest.slice(..8).get_i64());
        }
        if rest.len() < end {
            break;
        }
        let batch = rest.split_to(end);
        if batch.slice(17..21).get_u32() != crc32c::crc32c(&batch[21..]) {
            return Some(batch.slice(..8).get_i64());
        }
    }
    None
}

/// The batch at the start; none if it is cut.
pub(crate) fn describe_batch(rest: &mut Bytes) -> Option<Value> {
    if rest.len() < 61 {
        return None;
    }
    let length = rest.slice(8..12).get_i32();
    let end = 12 + usize::try_from(length).ok()?;
    if rest.len() < end {
        return None;
    }
    let whole = rest.split_to(end);
    let mut batch = whole.clone();
    let base_offset = batch.get_i64();
    batch.advance(4);
    let leader_epoch = batch.get_i32();
    let magic = batch.get_i8();
    let crc = batch.get_u32();
    let crc_is_right = crc == crc32c::crc32c(&batch);
    let attributes = batch.get_i16();
    let last_offset_delta = batch.get_i32();
    let base_timestamp = batch.get_i64();
    let max_timestamp = batch.get_i64();
    let producer_id = batch.get_i64();
    let producer_epoch = batch.get_i16();
    let base_sequence = batch.get_i32();
    let count = batch.get_i32();
    let is_plain = attributes % 8 == 0;
    let records: Value = if is_plain {
        (0..count).map_while(|_| read_record(&mut batch)).map(|record| record.to_json()).collect()
    } else {
        // Two implementations of one codec need not make the same bytes.
        json!("compressed")
    };
    Some(json!({
        "base_offset": base_offset, "batch_length": if is_plain { length } else { 0 },
        "partition_leader_epoch": leader_epoch, "magic": magic, "crc_is_right": crc_is_right, "attributes": attributes,
        "last_offset_delta": last_offset_delta, "base_timestamp": base_timestamp, "max_timestamp": max_timestamp,
        "producer_id": producer_id, "producer_epoch": producer_epoch, "base_sequence": base_sequence, "count": count,
        "records": records, "bytes after the last record": if is_plain { batch.len() } else { 0 },
    }))
}

/// Bytes or null.
type Field = Option<Vec<u8>>;

struct Record {
    attributes: i8,
    timestamp_delta: i64,
    offset_delta: i64,
    key: Field,
    value: Field,
    headers: Vec<(Field, Field)>,
}

impl Record {
    fn to_json(&self) -> Value {
        let headers: Vec<Value> =
            self.headers.iter().map(|(key, value)| json!([lossy(key.as_deref()), lossy(value.as_deref())])).collect();
        json!({
            "attributes": self.attributes, "timestamp_delta": self.timestamp_delta, "offset_delta": self.offset_delta,
            "key": lossy(self.key.as_deref()), "value": lossy(self.value.as_deref()), "headers": headers,
        })
    }
}

/// Bytes as text, long ones by their checksum.
pub(crate) fn lossy(bytes: Option<&[u8]>) -> Value {
    match bytes {
        None => Value::Null,
        Some(bytes) if bytes.len() > 80 => json!(format!("{} bytes, crc {:x}", bytes.len(), crc32c::crc32c(bytes))),
        Some(bytes) => json!(String::from_utf8_lossy(bytes)),
    }
}

fn read_record(bytes: &mut Bytes) -> Option<Record> {
    let length = usize::try_from(varint(bytes)?).ok()?;
    if bytes.len() < length || length == 0 {
        return None;
    }
    let mut record = bytes.split_to(length);
    let attributes = record.get_i8();
    let timestamp_delta = varint(&mut record)?;
    let offset_delta = varint(&mut record)?;
    let key = read_bytes(&mut record)?;
    let value = read_bytes(&mut record)?;
    let mut headers = Vec::new();
    for _ in 0..varint(&mut record)? {
        headers.push((read_bytes(&mut record)?, read_bytes(&mut record)?));
    }
    Some(Record { attributes, timestamp_delta, offset_delta, key, value, headers })
}

fn read_bytes(bytes: &mut Bytes) -> Option<Field> {
    let length = varint(bytes)?;
    if length < 0 {
        return Some(None);
    }
    let length = length as usize;
    (bytes.len() >= length).then(|| Some(bytes.split_to(length).to_vec()))
}

fn varint(bytes: &mut Bytes) -> Option<i64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        if bytes.is_empty() {
            return None;
        }
        let byte = bytes.get_u8();
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raw::Batch;

    #[test]
    fn describes_the_batch_that_was_built() {
        let batch = Batch::new(1000, &["a", "b"]).keyed("k").by_producer(7, 1, 3).encode();
        let described = describe(&batch);
        assert_eq!(described[0]["crc_is_right"], true);
        assert_eq!(described[0]["records"][1]["value"], "b");
        assert_eq!(described[0]["base_sequence"], 3);
        assert_eq!(values(&batch), [(0, 7, b"a".to_vec()), (1, 7, b"b".to_vec())]);
    }

    #[test]
    fn finds_the_batch_whose_checksum_is_wrong() {
        let good = Batch::new(1000, &["a"]).encode();
        let bad = Batch::new(1000, &["b"]).with(|batch| (batch.base_offset, batch.crc_error) = (7, 1)).encode();
        assert_eq!(bad_checksum(&good), None);
        assert_eq!(bad_checksum(&[good, bad].concat().into()), Some(7));
        assert_eq!(bad_checksum(&vec![0; 100].into()), Some(0));
        assert_eq!(bad_checksum(&vec![0xff; 100].into()), Some(-1));
    }

    #[test]
    fn names_a_partial_batch_at_the_end() {
        let batch = Batch::new(1000, &["a"]).encode();
        let described = describe(&batch.slice(..batch.len() - 1));
        assert_eq!(described, serde_json::json!([{"partial batch": batch.len() - 1}]));
    }
}
