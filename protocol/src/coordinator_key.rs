//! Which partition of an internal topic keeps a group or a transactional id.
//!
//! Java's `String.hashCode` over UTF-16 units, its absolute value (that of `Integer.MIN_VALUE` is 0), modulo the number
//! of partitions. Clients never compute this, but every broker of a cluster must come to the same answer, and a data
//! directory of Kafka holds its groups where this says. Source: `Utils.abs`, `GroupCoordinatorService.partitionFor`.

/// The partition for a key; `partitions` must be positive.
pub fn partition_for(key: &str, partitions: i32) -> i32 {
    debug_assert!(partitions > 0, "a topic has partitions");
    let hash = key.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    hash.checked_abs().unwrap_or(0) % partitions.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_java() {
        // "polygenelubricants" is the word whose hash code is Integer.MIN_VALUE; the others are from jshell.
        for (key, partition) in [("", 0), ("a", 47), ("some-group", 22), ("polygenelubricants", 0), ("ü😀", 21)] {
            assert_eq!(partition_for(key, 50), partition, "{key}");
        }
    }
}
