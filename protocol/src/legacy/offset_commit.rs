//! OffsetCommit v1 (key 8): it alone says of each offset when it was committed. A coordinator counts the offset's
//! retention from then on, so the time must not be lost on the way to v2. v0 and v1 are read here, v0 without times.
//!
//! Source: `OffsetCommitRequest.json` and `GroupCoordinatorAdapter` of Kafka 3.9.

use kafka_protocol::messages::OffsetCommitRequest;
use kafka_protocol::protocol::Decodable;

use super::raise;
use super::transcode::Collected;
use crate::messages::{MessageError, crate_error};
use crate::types::Timestamp;

/// Its number.
const OFFSET_COMMIT: i16 = 8;
/// The lowest version that the crate reads.
const FLOOR: i16 = 2;

/// Read a request's body of v0 or v1: the request as of v2, and when each of its offsets was committed, in the order of
/// topics and partitions; -1 is now. No times are there in v0.
///
/// # Errors
/// [`MessageError`] if the body is cut off, malformed or refused by the guard.
pub fn decode_request(body: &[u8], version: i16) -> Result<(OffsetCommitRequest, Vec<Timestamp>), MessageError> {
    let mut times = Collected { field: "CommitTimestamp", values: Vec::new() };
    let mut raised = raise(OFFSET_COMMIT, version, body, Some(&mut times))?;
    let request = OffsetCommitRequest::decode(&mut raised, FLOOR).map_err(crate_error)?;
    Ok((request, times.values))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::sample;
    use crate::test_support::old_golden;

    #[test]
    fn the_times_that_kafka_wrote_are_kept() {
        let body = old_golden("commit-times-OffsetCommitRequest-1");
        let (request, times) = decode_request(&body, 1).unwrap();
        assert_eq!((request.generation_id_or_member_epoch, request.member_id.as_str()), (4, "m"));
        assert_eq!(request.topics[0].partitions[0].committed_offset, 55);
        assert_eq!(times, [123_456_789]);
    }

    #[test]
    fn every_sample_has_a_time_for_each_offset_in_v1_and_none_in_v0() {
        for seed in 0..200 {
            for version in [0, 1] {
                let (request, times) = decode_request(&sample::request(OFFSET_COMMIT, version, seed), version).unwrap();
                let offsets: usize = request.topics.iter().map(|topic| topic.partitions.len()).sum();
                assert_eq!(times.len(), if version == 1 { offsets } else { 0 }, "v{version} seed {seed}");
            }
        }
    }

    #[test]
    fn every_truncation_is_refused() {
        let whole = old_golden("commit-times-OffsetCommitRequest-1");
        for length in 0..whole.len() {
            assert!(decode_request(&whole[..length], 1).is_err(), "cut at {length}");
        }
    }
}
