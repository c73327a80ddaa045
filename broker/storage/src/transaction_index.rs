//! The bytes of `.txnindex`: aborted transactions, in the order of their markers.
//!
//! Entry, big-endian: version i16 = 0, producer id i64, first offset i64, offset of the marker i64, last stable offset at that time i64. The file exists
//! only where a transaction was aborted. Source: `AbortedTxn`, `TransactionIndex`.

use milena_protocol::types::{Offset, ProducerId};

/// Bytes of an entry.
pub const ENTRY_BYTES: usize = 34;
const VERSION: i16 = 0;

/// An aborted transaction, as `.txnindex` and the Fetch answer list it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortedTransaction {
    /// The producer.
    pub producer_id: ProducerId,
    /// First offset of the transaction.
    pub first_offset: Offset,
    /// Offset of its abort marker.
    pub last_offset: Offset,
    /// Last stable offset when the marker was written.
    pub last_stable_offset: Offset,
}

impl AbortedTransaction {
    /// As on disk.
    pub fn encode(&self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        bytes[..2].copy_from_slice(&VERSION.to_be_bytes());
        let fields = [self.producer_id, self.first_offset, self.last_offset, self.last_stable_offset];
        for (target, field) in bytes[2..].as_chunks_mut().0.iter_mut().zip(fields) {
            *target = i64::to_be_bytes(field);
        }
        bytes
    }

    fn decode(bytes: &[u8; ENTRY_BYTES]) -> Option<AbortedTransaction> {
        let (version, fields) = bytes.split_first_chunk()?;
        let (fields, _) = fields.as_chunks();
        let field = |index: usize| fields.get(index).map(|field| i64::from_be_bytes(*field));
        // A later version may only add fields behind these.
        (i16::from_be_bytes(*version) >= VERSION).then_some(AbortedTransaction {
            producer_id: field(0)?,
            first_offset: field(1)?,
            last_offset: field(2)?,
            last_stable_offset: field(3)?,
        })
    }
}

/// The entries of a file's bytes up to the first that is not one, or whose marker does not come after the last one's.
pub fn entries(bytes: &[u8]) -> impl Iterator<Item = AbortedTransaction> + '_ {
    let mut last_marker = -1;
    let decoded = bytes.as_chunks().0.iter().map_while(AbortedTransaction::decode);
    decoded.take_while(move |entry| {
        let grows = entry.last_offset > last_marker && entry.first_offset <= entry.last_offset;
        last_marker = entry.last_offset;
        grows
    })
}

/// Adds to `found` the transactions of one segment that concern `start..upper_bound`. Answers whether later segments have none.
pub fn collect(bytes: &[u8], start: Offset, upper_bound: Offset, found: &mut Vec<AbortedTransaction>) -> bool {
    for entry in entries(bytes) {
        if entry.last_offset >= start && entry.first_offset < upper_bound {
            found.push(entry);
        }
        if entry.last_stable_offset >= upper_bound {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn aborted(first_offset: Offset, last_offset: Offset, last_stable_offset: Offset) -> AbortedTransaction {
        AbortedTransaction { producer_id: 1, first_offset, last_offset, last_stable_offset }
    }

    #[test]
    fn lists_what_overlaps_in_marker_order() {
        let all = [aborted(0, 5, 2), aborted(2, 8, 9), aborted(20, 30, 31)];
        let bytes: Vec<u8> = all.iter().flat_map(AbortedTransaction::encode).collect();
        let check = |start, upper_bound, expected: &[AbortedTransaction], complete| {
            let mut found = Vec::new();
            assert_eq!(collect(&bytes, start, upper_bound, &mut found), complete);
            assert_eq!(found, expected);
        };
        check(0, 100, &all, false);
        check(6, 100, &all[1..], false);
        check(0, 9, &all[..2], true);
        check(0, 2, &all[..1], true);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>, start: i64, upper_bound: i64) {
            collect(&bytes, start, upper_bound, &mut Vec::new());
        }
    }
}
