//! WriteTxnMarkers (key 27), versions 1 and 2. v2 adds the transaction version to each marker (KIP-1228), which the
//! crate does not know; responses of v2 are those of v1.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::WriteTxnMarkersResponse;
use kafka_protocol::messages::write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};
use kafka_protocol::protocol::Encodable;

use super::{MessageError, crate_error};
use crate::wire;

/// The highest version that the crate knows.
const CRATE_MAX: i16 = 1;
const FIRST_WITH_TRANSACTION_VERSION: i16 = 2;
/// An empty marker: ids, result, no topics, coordinator epoch, no tagged fields.
const MARKER_BYTES_MIN: usize = 17;
const TOPIC_BYTES_MIN: usize = 3;
const PARTITION_BYTES: usize = 4;

/// One marker of a request.
#[derive(Clone, Debug, PartialEq)]
pub struct TxnMarker {
    /// The fields of v1.
    pub marker: WritableTxnMarker,
    /// Which transaction protocol wrote it: 0 or 1 the old one, 2 KIP-890's (v2; 0 before).
    pub transaction_version: i8,
}

/// Read a request's body.
///
/// # Errors
/// [`MessageError`] if the body is cut off or malformed.
pub fn decode_request(body: &mut Bytes, version: i16) -> Result<Vec<TxnMarker>, MessageError> {
    let count = wire::get_compact_count(body, MARKER_BYTES_MIN)?;
    let mut markers = Vec::with_capacity(count);
    for _ in 0..count {
        markers.push(decode_marker(body, version)?);
    }
    wire::skip_tagged_fields(body)?;
    Ok(markers)
}

fn decode_marker(body: &mut Bytes, version: i16) -> Result<TxnMarker, MessageError> {
    let producer_id = wire::get_i64(body)?;
    let producer_epoch = wire::get_i16(body)?;
    let transaction_result = wire::get_bool(body)?;
    let count = wire::get_compact_count(body, TOPIC_BYTES_MIN)?;
    let mut topics = Vec::with_capacity(count);
    for _ in 0..count {
        topics.push(decode_topic(body)?);
    }
    let coordinator_epoch = wire::get_i32(body)?;
    let transaction_version = if version >= FIRST_WITH_TRANSACTION_VERSION { wire::get_i8(body)? } else { 0 };
    wire::skip_tagged_fields(body)?;
    let marker = WritableTxnMarker::default()
        .with_producer_id(producer_id.into())
        .with_producer_epoch(producer_epoch)
        .with_transaction_result(transaction_result)
        .with_topics(topics)
        .with_coordinator_epoch(coordinator_epoch);
    Ok(TxnMarker { marker, transaction_version })
}

fn decode_topic(body: &mut Bytes) -> Result<WritableTxnMarkerTopic, MessageError> {
    let name = wire::get_compact_string(body)?;
    let count = wire::get_compact_count(body, PARTITION_BYTES)?;
    let mut partitions = Vec::with_capacity(count);
    for _ in 0..count {
        partitions.push(wire::get_i32(body)?);
    }
    wire::skip_tagged_fields(body)?;
    Ok(WritableTxnMarkerTopic::default().with_name(name.into()).with_partition_indexes(partitions))
}

/// Write a request's body; for a coordinator that asks another broker.
pub fn encode_request(buffer: &mut BytesMut, markers: &[TxnMarker], version: i16) {
    wire::put_uvarint(buffer, markers.len() as u32 + 1);
    for TxnMarker { marker, transaction_version } in markers {
        buffer.put_i64(marker.producer_id.0);
        buffer.put_i16(marker.producer_epoch);
        buffer.put_u8(u8::from(marker.transaction_result));
        wire::put_uvarint(buffer, marker.topics.len() as u32 + 1);
        for topic in &marker.topics {
            wire::put_compact_string(buffer, &topic.name);
            wire::put_uvarint(buffer, topic.partition_indexes.len() as u32 + 1);
            for partition in &topic.partition_indexes {
                buffer.put_i32(*partition);
            }
            buffer.put_u8(0);
        }
        buffer.put_i32(marker.coordinator_epoch);
        if version >= FIRST_WITH_TRANSACTION_VERSION {
            buffer.put_i8(*transaction_version);
        }
        buffer.put_u8(0);
    }
    buffer.put_u8(0);
}

/// Write a response's body.
///
/// # Errors
/// [`MessageError`] if the crate refuses it.
pub fn encode_response(
    buffer: &mut BytesMut,
    response: &WriteTxnMarkersResponse,
    version: i16,
) -> Result<(), MessageError> {
    response.encode(buffer, version.min(CRATE_MAX)).map_err(crate_error)
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::WriteTxnMarkersRequest;
    use kafka_protocol::protocol::StrBytes;
    use proptest::prelude::*;

    use super::*;
    use crate::test_support::golden_message;

    fn marker() -> impl Strategy<Value = TxnMarker> {
        let topic = ("[a-z]{0,200}", prop::collection::vec(any::<i32>(), 0..5)).prop_map(|(name, partitions)| {
            WritableTxnMarkerTopic::default()
                .with_name(StrBytes::from_string(name).into())
                .with_partition_indexes(partitions)
        });
        let topics = prop::collection::vec(topic, 0..4);
        (any::<i64>(), any::<i16>(), any::<bool>(), topics, any::<i32>(), any::<i8>()).prop_map(
            |(id, epoch, result, topics, coordinator_epoch, transaction_version)| TxnMarker {
                marker: WritableTxnMarker::default()
                    .with_producer_id(id.into())
                    .with_producer_epoch(epoch)
                    .with_transaction_result(result)
                    .with_topics(topics)
                    .with_coordinator_epoch(coordinator_epoch),
                transaction_version,
            },
        )
    }

    #[test]
    fn version_2_is_what_kafka_writes() {
        let golden = golden_message("write-txn-markers-2");
        let markers = decode_request(&mut Bytes::from(golden.clone()), 2).unwrap();
        let topic = WritableTxnMarkerTopic::default()
            .with_name(StrBytes::from_static_str("t").into())
            .with_partition_indexes(vec![0, 5]);
        let marker = WritableTxnMarker::default()
            .with_producer_id(4711.into())
            .with_producer_epoch(3)
            .with_transaction_result(true)
            .with_coordinator_epoch(9)
            .with_topics(vec![topic]);
        assert_eq!(markers, [TxnMarker { marker, transaction_version: 2 }]);
        let mut body = BytesMut::new();
        encode_request(&mut body, &markers, 2);
        assert_eq!(body, golden);
    }

    proptest! {
        #[test]
        fn version_1_is_what_kafka_protocol_writes(markers in prop::collection::vec(marker(), 0..4)) {
            let mut ours = BytesMut::new();
            encode_request(&mut ours, &markers, 1);
            let theirs = WriteTxnMarkersRequest::default()
                .with_markers(markers.iter().map(|marker| marker.marker.clone()).collect());
            let mut expected = BytesMut::new();
            theirs.encode(&mut expected, 1).unwrap();
            prop_assert_eq!(&ours, &expected);
        }

        #[test]
        fn version_2_survives_the_round_trip(markers in prop::collection::vec(marker(), 0..4)) {
            let mut body = BytesMut::new();
            encode_request(&mut body, &markers, 2);
            let mut body = body.freeze();
            prop_assert_eq!(decode_request(&mut body, 2).unwrap(), markers);
            prop_assert!(body.is_empty());
        }

        #[test]
        fn any_bytes_are_parsed_or_refused(bytes: Vec<u8>, version in 1_i16..=2) {
            let _ = decode_request(&mut Bytes::from(bytes), version);
        }
    }
}
