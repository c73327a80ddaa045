//! ListOffsets v0 (key 2): a list of offsets at which segments begin, up to a number that the client names.
//!
//! v1 replaced both the number and the list, so v0 is no floor with fields missing. Source: `ListOffsetsRequest.json`
//! and `ListOffsetsResponse.json` of Kafka 3.9.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::protocol::StrBytes;

use crate::messages::MessageError;
use crate::types::{Offset, Timestamp};
use crate::wire::{self, WireError};

/// Bytes of a partition in a request.
const ASKED_BYTES: usize = 16;
/// Bytes of a topic with the shortest name and no partition.
const TOPIC_BYTES_MIN: usize = 6;

/// A request of v0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Who asks: a follower's id, -1 for a consumer, -2 for a debugging one.
    pub replica_id: i32,
    /// Topics in the request's order.
    pub topics: Vec<AskedTopic>,
}

/// One topic's partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskedTopic {
    /// The topic's name; borrows the frame.
    pub name: StrBytes,
    /// Partitions in the request's order.
    pub partitions: Vec<AskedPartition>,
}

/// What is asked about a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AskedPartition {
    /// The partition's index.
    pub index: i32,
    /// Segments last changed up to then; -1 for all of them and the log's end, -2 for the first.
    pub timestamp: Timestamp,
    /// The most offsets to answer.
    pub max_num_offsets: i32,
}

/// One topic's rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnsweredTopic {
    /// The topic's name.
    pub name: StrBytes,
    /// Rows in the request's order.
    pub partitions: Vec<AnsweredPartition>,
}

/// A partition's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnsweredPartition {
    /// The partition's index.
    pub index: i32,
    /// The error, 0 if none.
    pub error_code: i16,
    /// The offsets, largest first.
    pub old_style_offsets: Vec<Offset>,
}

/// Read a request's body.
///
/// # Errors
/// [`MessageError`] if the body is cut off or malformed.
pub fn decode_request(body: &mut Bytes) -> Result<Request, MessageError> {
    let replica_id = wire::get_i32(body)?;
    let topics = get_array(body, TOPIC_BYTES_MIN, |body| {
        let name = get_string(body)?;
        let partitions = get_array(body, ASKED_BYTES, |body| {
            let (index, timestamp) = (wire::get_i32(body)?, wire::get_i64(body)?);
            Ok(AskedPartition { index, timestamp, max_num_offsets: wire::get_i32(body)? })
        })?;
        Ok(AskedTopic { name, partitions })
    })?;
    Ok(Request { replica_id, topics })
}

/// Write a response's body.
pub fn encode_response(buffer: &mut BytesMut, topics: &[AnsweredTopic]) {
    buffer.put_i32(topics.len() as i32);
    for topic in topics {
        buffer.put_i16(topic.name.len() as i16);
        buffer.put_slice(topic.name.as_bytes());
        buffer.put_i32(topic.partitions.len() as i32);
        for row in &topic.partitions {
            buffer.put_i32(row.index);
            buffer.put_i16(row.error_code);
            buffer.put_i32(row.old_style_offsets.len() as i32);
            row.old_style_offsets.iter().for_each(|offset| buffer.put_i64(*offset));
        }
    }
}

fn get_string(body: &mut Bytes) -> Result<StrBytes, WireError> {
    let length = usize::try_from(wire::get_i16(body)?).map_err(|_| WireError::UnexpectedNull)?;
    StrBytes::from_utf8(wire::get_slice(body, length)?).map_err(|_| WireError::NotUtf8)
}

/// Reads an array whose elements take at least `element_bytes` each.
fn get_array<T>(
    body: &mut Bytes,
    element_bytes: usize,
    mut element: impl FnMut(&mut Bytes) -> Result<T, WireError>,
) -> Result<Vec<T>, WireError> {
    let count = usize::try_from(wire::get_i32(body)?).map_err(|_| WireError::UnexpectedNull)?;
    let remaining = body.remaining();
    if count > remaining / element_bytes {
        return Err(WireError::CountTooLarge { count, remaining });
    }
    (0..count).map(|_| element(body)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::guard;
    use crate::schema::sample;
    use crate::test_support::old_golden;

    #[test]
    fn reads_the_request_that_kafka_writes() {
        let mut body = Bytes::from(old_golden("list-offsets-ListOffsetsRequest-0"));
        let request = decode_request(&mut body).unwrap();
        assert!(body.is_empty());
        let asked = AskedPartition { index: 2, timestamp: -1, max_num_offsets: 10 };
        let topic = AskedTopic { name: StrBytes::from_static_str("t"), partitions: vec![asked] };
        assert_eq!(request, Request { replica_id: -1, topics: vec![topic] });
    }

    #[test]
    fn writes_the_response_that_kafka_writes() {
        let rows = vec![
            AnsweredPartition { index: 2, error_code: 0, old_style_offsets: vec![77, 5, 0] },
            AnsweredPartition { index: 3, error_code: 6, old_style_offsets: Vec::new() },
        ];
        let mut body = BytesMut::new();
        encode_response(&mut body, &[AnsweredTopic { name: StrBytes::from_static_str("t"), partitions: rows }]);
        assert_eq!(body, old_golden("list-offsets-ListOffsetsResponse-0"));
    }

    #[test]
    fn reads_every_request_that_the_schema_samples() {
        for seed in 0..200 {
            let mut body = Bytes::from(sample::request(2, 0, seed));
            decode_request(&mut body).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            assert!(body.is_empty(), "seed {seed}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_or_refused(bytes: Vec<u8>) {
            let _ = decode_request(&mut Bytes::from(bytes));
        }

        #[test]
        fn the_schema_walks_every_answer_to_its_end(
            topics in prop::collection::vec(
                ("[a-z]{0,9}", prop::collection::vec(
                    (any::<i32>(), any::<i16>(), prop::collection::vec(any::<i64>(), 0..4)), 0..4)), 0..4),
        ) {
            let topics: Vec<AnsweredTopic> = topics
                .into_iter()
                .map(|(name, rows)| AnsweredTopic {
                    name: StrBytes::from_string(name),
                    partitions: rows
                        .into_iter()
                        .map(|(index, error_code, old_style_offsets)| AnsweredPartition {
                            index, error_code, old_style_offsets,
                        })
                        .collect(),
                })
                .collect();
            let mut body = BytesMut::new();
            encode_response(&mut body, &topics);
            prop_assert_eq!(guard::check_response(2, 0, &body), Ok(()));
            prop_assert!(body.is_empty() || guard::check_response(2, 0, &body[..body.len() - 1]).is_err());
        }
    }
}
