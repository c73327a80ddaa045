//! The bytes of `.snapshot`: producer state up to the offset in the file's name, exclusive.
//!
//! Big-endian: version i16 = 1, CRC-32C u32 of everything behind it, count i32, then per producer: id i64, epoch i16, last sequence i32, last offset i64,
//! offset delta i32, timestamp i64, coordinator epoch i32, first offset of the open transaction i64 (-1 if none). Only the last batch of a
//! producer is kept; the log gives the older ones back. Source: `ProducerSnapshot.json`, `ProducerStateManager.{read,write}Snapshot`.

use milena_protocol::types::{NO_SEQUENCE, ProducerId};

use crate::producer_state::{BatchMetadata, ProducerState, ProducerStateEntry};

const VERSION: i16 = 1;
const HEADER_BYTES: usize = 10;
const ENTRY_BYTES: usize = 46;
const CRC_END: usize = 6;

/// The file's bytes.
pub fn encode(state: &ProducerState) -> Vec<u8> {
    let producers = state.producers();
    let mut bytes = Vec::with_capacity(HEADER_BYTES + producers.len() * ENTRY_BYTES);
    bytes.extend(VERSION.to_be_bytes());
    bytes.extend([0; 4]);
    bytes.extend((producers.len() as i32).to_be_bytes());
    for (producer_id, entry) in producers {
        let unknown = BatchMetadata { last_sequence: NO_SEQUENCE, last_offset: -1, offset_delta: 0, timestamp: -1 };
        let last = entry.batches().last().copied().unwrap_or(unknown);
        bytes.extend(producer_id.to_be_bytes());
        bytes.extend(entry.producer_epoch.to_be_bytes());
        bytes.extend(last.last_sequence.to_be_bytes());
        bytes.extend(last.last_offset.to_be_bytes());
        bytes.extend(last.offset_delta.to_be_bytes());
        bytes.extend(entry.last_timestamp.to_be_bytes());
        bytes.extend(entry.coordinator_epoch.to_be_bytes());
        bytes.extend(entry.current_txn_first_offset.unwrap_or(-1).to_be_bytes());
    }
    let crc = crc32c::crc32c(&bytes[CRC_END..]);
    bytes[2..CRC_END].copy_from_slice(&crc.to_be_bytes());
    bytes
}

/// The producers of a file, or why it cannot be used.
pub fn decode(bytes: &[u8]) -> Result<Vec<(ProducerId, ProducerStateEntry)>, &'static str> {
    let mut fields = Fields(bytes);
    let version = fields.i16().ok_or("shorter than its header")?;
    if version != VERSION {
        return Err("unknown version");
    }
    let crc = fields.i32().ok_or("shorter than its header")? as u32;
    if crc != crc32c::crc32c(fields.0) {
        return Err("wrong checksum");
    }
    let count = usize::try_from(fields.i32().ok_or("shorter than its header")?).map_err(|_| "negative count")?;
    if fields.0.len() != count.saturating_mul(ENTRY_BYTES) {
        return Err("length and count differ");
    }
    (0..count).map(|_| fields.entry().ok_or("shorter than its count")).collect()
}

struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*head)
    }

    fn i16(&mut self) -> Option<i16> {
        self.take().map(i16::from_be_bytes)
    }

    fn i32(&mut self) -> Option<i32> {
        self.take().map(i32::from_be_bytes)
    }

    fn i64(&mut self) -> Option<i64> {
        self.take().map(i64::from_be_bytes)
    }

    fn entry(&mut self) -> Option<(ProducerId, ProducerStateEntry)> {
        let producer_id = self.i64()?;
        let mut entry = ProducerStateEntry::default();
        entry.producer_epoch = self.i16()?;
        let (last_sequence, last_offset, offset_delta) = (self.i32()?, self.i64()?, self.i32()?);
        entry.last_timestamp = self.i64()?;
        entry.coordinator_epoch = self.i32()?;
        entry.current_txn_first_offset = Some(self.i64()?).filter(|&offset| offset >= 0);
        if last_offset >= 0 {
            entry.push(BatchMetadata { last_sequence, last_offset, offset_delta, timestamp: entry.last_timestamp });
        }
        Some((producer_id, entry))
    }
}

#[cfg(test)]
mod tests {
    use milena_protocol::record_batch::{Attributes, BatchHeader};
    use proptest::prelude::*;

    use super::*;

    fn state() -> ProducerState {
        let mut state = ProducerState::default();
        for producer_id in 0..3 {
            state.apply_data(&BatchHeader {
                base_offset: producer_id * 10,
                batch_length: 49,
                leader_epoch: 0,
                crc: 0,
                attributes: Attributes::default().with_transactional(producer_id == 1),
                last_offset_delta: 4,
                base_timestamp: 5,
                max_timestamp: 9,
                producer_id,
                producer_epoch: 2,
                base_sequence: 7,
                records_count: 5,
            });
        }
        state
    }

    #[test]
    fn what_was_written_is_read_again() {
        let bytes = encode(&state());
        assert_eq!(bytes.len(), 10 + 3 * 46);
        let read = ProducerState::from_snapshot(decode(&bytes).unwrap(), 10, 1000);
        assert_eq!(read.producers(), state().producers());
        assert_eq!(read.first_unstable_offset(), Some(10));
    }

    #[test]
    fn an_empty_state_takes_ten_bytes() {
        assert_eq!(encode(&ProducerState::default()), [0, 1, 0x48, 0x67, 0x4b, 0xc7, 0, 0, 0, 0]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_without_panic(bytes: Vec<u8>) {
            prop_assert!(decode(&bytes).is_err());
        }

        #[test]
        fn a_flipped_bit_is_noticed(bit in 0usize..(10 + 3 * 46) * 8) {
            let mut bytes = encode(&state());
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(decode(&bytes).is_err());
        }
    }
}
