//! The bytes of `.index`: from offsets to positions in the .log.
//!
//! Entry: `last offset of a batch - base offset` u32, `position of that batch's first byte` u32, big-endian. Both grow strictly. One entry is written when
//! more than `index.interval.bytes` were appended since the last one; a segment's first batch never has one. A file that Kafka left preallocated
//! ends in zeros, which are not entries. Reading never fails: what is not a growing sequence is cut off. Source: `OffsetIndex`.

/// Bytes of an entry.
pub const ENTRY_BYTES: usize = 8;

/// Last offset of a batch, and where that batch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetIndexEntry {
    /// Last offset of the batch minus the segment's base offset.
    pub relative_offset: u32,
    /// First byte of the batch.
    pub position: u32,
}

impl OffsetIndexEntry {
    /// As on disk.
    pub fn encode(self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        bytes[..4].copy_from_slice(&self.relative_offset.to_be_bytes());
        bytes[4..].copy_from_slice(&self.position.to_be_bytes());
        bytes
    }

    fn decode(bytes: [u8; ENTRY_BYTES]) -> OffsetIndexEntry {
        let both = u64::from_be_bytes(bytes);
        OffsetIndexEntry { relative_offset: (both >> 32) as u32, position: both as u32 }
    }
}

/// Entry number `index` of a file's bytes.
pub fn entry(bytes: &[u8], index: usize) -> Option<OffsetIndexEntry> {
    bytes.as_chunks().0.get(index).copied().map(OffsetIndexEntry::decode)
}

/// Number of entries at the start of `bytes` that grow strictly.
pub fn valid_entries(bytes: &[u8]) -> usize {
    let mut last: Option<OffsetIndexEntry> = None;
    let grows = |chunk: &&[u8; ENTRY_BYTES]| {
        let entry = OffsetIndexEntry::decode(**chunk);
        let grows = last
            .is_none_or(|last| entry.relative_offset > last.relative_offset && entry.position > last.position)
            && entry.position > 0;
        last = Some(entry);
        grows
    };
    bytes.as_chunks().0.iter().take_while(grows).count()
}

/// Where to begin looking for `relative_offset`: the position of the last entry that is not above it, or 0.
pub fn lookup(bytes: &[u8], relative_offset: u32) -> u32 {
    let (entries, _) = bytes.as_chunks();
    let above = entries.partition_point(|chunk| OffsetIndexEntry::decode(*chunk).relative_offset <= relative_offset);
    above.checked_sub(1).and_then(|index| entry(bytes, index)).map_or(0, |entry| entry.position)
}

/// The same in entries that wait in memory; `None` if all are above.
pub(crate) fn lookup_pending(entries: &[OffsetIndexEntry], relative_offset: u32) -> Option<u32> {
    let above = entries.partition_point(|entry| entry.relative_offset <= relative_offset);
    above.checked_sub(1).and_then(|index| entries.get(index)).map(|entry| entry.position)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(entries: &[(u32, u32)]) -> Vec<u8> {
        entries
            .iter()
            .flat_map(|&(relative_offset, position)| OffsetIndexEntry { relative_offset, position }.encode())
            .collect()
    }

    #[test]
    fn finds_the_last_entry_not_above_the_offset() {
        let bytes = encoded(&[(9, 100), (19, 200), (29, 300)]);
        let check = |offset, position| assert_eq!(lookup(&bytes, offset), position, "offset {offset}");
        check(0, 0);
        check(8, 0);
        check(9, 100);
        check(28, 200);
        check(u32::MAX, 300);
        assert_eq!(lookup(&[], 5), 0);
    }

    #[test]
    fn zeros_behind_the_entries_are_not_entries() {
        let mut bytes = encoded(&[(9, 100), (19, 200)]);
        bytes.extend([0; 80]);
        assert_eq!(valid_entries(&bytes), 2);
        assert_eq!(valid_entries(&[0; 80]), 0);
        assert_eq!(valid_entries(&bytes[..13]), 1);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>, offset: u32) {
            let valid = valid_entries(&bytes);
            prop_assert!(valid * ENTRY_BYTES <= bytes.len());
            lookup(&bytes, offset);
        }
    }
}
