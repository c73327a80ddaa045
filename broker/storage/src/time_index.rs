//! The bytes of `.timeindex`: from timestamps to offsets.
//!
//! Entry: largest timestamp so far i64, `last offset of the batch that holds it - base offset` u32, big-endian; timestamps grow strictly. One is
//! written with an entry of `.index` if the timestamp grew, and one more at roll and stop. Source: `TimeIndex`.

use milena_protocol::types::Timestamp;

/// Bytes of an entry.
pub const ENTRY_BYTES: usize = 12;

/// The largest timestamp so far and the batch that holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeIndexEntry {
    /// Largest timestamp of the segment up to and including that batch.
    pub timestamp: Timestamp,
    /// Last offset of the batch minus the segment's base offset.
    pub relative_offset: u32,
}

impl TimeIndexEntry {
    /// As on disk.
    pub fn encode(self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        bytes[..8].copy_from_slice(&self.timestamp.to_be_bytes());
        bytes[8..].copy_from_slice(&self.relative_offset.to_be_bytes());
        bytes
    }

    fn decode(bytes: &[u8; ENTRY_BYTES]) -> TimeIndexEntry {
        let mut timestamp = [0; 8];
        let mut relative_offset = [0; 4];
        timestamp.copy_from_slice(&bytes[..8]);
        relative_offset.copy_from_slice(&bytes[8..]);
        TimeIndexEntry {
            timestamp: i64::from_be_bytes(timestamp),
            relative_offset: u32::from_be_bytes(relative_offset),
        }
    }
}

/// Entry number `index` of a file's bytes.
pub fn entry(bytes: &[u8], index: usize) -> Option<TimeIndexEntry> {
    bytes.as_chunks().0.get(index).map(TimeIndexEntry::decode)
}

/// Number of entries at the start of `bytes` whose timestamps grow strictly and whose offsets do not shrink.
pub fn valid_entries(bytes: &[u8]) -> usize {
    let mut last: Option<TimeIndexEntry> = None;
    let grows = |chunk: &&[u8; ENTRY_BYTES]| {
        let entry = TimeIndexEntry::decode(chunk);
        let grows = entry.timestamp >= 0
            && last.map_or(entry != TimeIndexEntry { timestamp: 0, relative_offset: 0 }, |last| {
                entry.timestamp > last.timestamp && entry.relative_offset >= last.relative_offset
            });
        last = Some(entry);
        grows
    };
    bytes.as_chunks().0.iter().take_while(grows).count()
}

/// The last entry whose timestamp is not above `timestamp`: records at or above it lie at its offset or later.
pub fn lookup(bytes: &[u8], timestamp: Timestamp) -> Option<TimeIndexEntry> {
    let (entries, _) = bytes.as_chunks();
    let above = entries.partition_point(|chunk| TimeIndexEntry::decode(chunk).timestamp <= timestamp);
    above.checked_sub(1).and_then(|index| entry(bytes, index))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(entries: &[(Timestamp, u32)]) -> Vec<u8> {
        entries
            .iter()
            .flat_map(|&(timestamp, relative_offset)| TimeIndexEntry { timestamp, relative_offset }.encode())
            .collect()
    }

    #[test]
    fn finds_the_last_entry_not_above_the_timestamp() {
        let bytes = encoded(&[(100, 9), (200, 19)]);
        let check = |timestamp, expected: Option<u32>| {
            assert_eq!(lookup(&bytes, timestamp).map(|entry| entry.relative_offset), expected, "{timestamp}");
        };
        check(99, None);
        check(100, Some(9));
        check(199, Some(9));
        check(i64::MAX, Some(19));
    }

    #[test]
    fn zeros_behind_the_entries_are_not_entries() {
        let mut bytes = encoded(&[(100, 9), (200, 19)]);
        bytes.extend([0; 120]);
        assert_eq!(valid_entries(&bytes), 2);
        assert_eq!(valid_entries(&[0; 120]), 0);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>, timestamp: i64) {
            let valid = valid_entries(&bytes);
            prop_assert!(valid * ENTRY_BYTES <= bytes.len());
            lookup(&bytes, timestamp);
        }
    }
}
