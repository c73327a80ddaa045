//! ListOffsets (key 2), versions 1 to 11. v11 allows timestamp -6, the earliest pending upload (KIP-1023), and is v10
//! on the wire; the crate reads and writes up to v10.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{ListOffsetsRequest, ListOffsetsResponse};
use kafka_protocol::protocol::{Decodable, Encodable};

use super::{MessageError, crate_error};

/// The highest version with a wire form of its own.
const WIRE_MAX: i16 = 10;

/// Read a request's body.
///
/// # Errors
/// [`MessageError`] if the body is cut off or malformed.
pub fn decode_request(body: &mut Bytes, version: i16) -> Result<ListOffsetsRequest, MessageError> {
    ListOffsetsRequest::decode(body, version.min(WIRE_MAX)).map_err(crate_error)
}

/// Write a response's body.
///
/// # Errors
/// [`MessageError`] if the response has fields that the version does not.
pub fn encode_response(
    buffer: &mut BytesMut,
    response: &ListOffsetsResponse,
    version: i16,
) -> Result<(), MessageError> {
    response.encode(buffer, version.min(WIRE_MAX)).map_err(crate_error)
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};

    use super::*;
    use crate::test_support::golden_message;

    #[test]
    fn version_11_is_version_10_on_the_wire() {
        let row = ListOffsetsPartitionResponse::default().with_offset(5).with_leader_epoch(2);
        let topic = ListOffsetsTopicResponse::default().with_partitions(vec![row]);
        let response = ListOffsetsResponse::default().with_topics(vec![topic]);
        let [mut ten, mut eleven] = [BytesMut::new(), BytesMut::new()];
        encode_response(&mut ten, &response, 10).unwrap();
        encode_response(&mut eleven, &response, 11).unwrap();
        assert_eq!(ten, eleven);
    }

    #[test]
    fn reads_the_version_11_that_kafka_writes() {
        let mut body = Bytes::from(golden_message("list-offsets-11"));
        let request = decode_request(&mut body, 11).unwrap();
        assert!(body.is_empty());
        assert_eq!((request.isolation_level, request.timeout_ms), (1, 7));
        let partition = &request.topics[0].partitions[0];
        assert_eq!((partition.partition_index, partition.timestamp), (2, -6));
    }
}
