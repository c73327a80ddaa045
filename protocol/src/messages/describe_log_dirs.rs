//! DescribeLogDirs (key 35), versions 0 to 5. v5 adds `is_cordoned` to each directory (KIP-1066), which the crate does
//! not know; requests of v5 are those of v4. v0, which the crate does not know either, is v1 on the wire.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::describe_log_dirs_response::DescribeLogDirsResult;
use kafka_protocol::messages::{DescribeLogDirsRequest, DescribeLogDirsResponse};
use kafka_protocol::protocol::{Decodable, Encodable};

use super::{MessageError, crate_error};
use crate::wire::{put_compact_string, put_uvarint};

/// The lowest version that the crate knows.
const CRATE_MIN: i16 = 1;
/// The highest version that the crate knows.
const CRATE_MAX: i16 = 4;

/// One directory of the answer.
#[derive(Clone, Debug, PartialEq)]
pub struct LogDir {
    /// The fields up to v4.
    pub result: DescribeLogDirsResult,
    /// Whether no new partition is placed here (v5).
    pub is_cordoned: bool,
}

/// Read a request's body.
///
/// # Errors
/// [`MessageError`] if the body is cut off or malformed.
pub fn decode_request(body: &mut Bytes, version: i16) -> Result<DescribeLogDirsRequest, MessageError> {
    DescribeLogDirsRequest::decode(body, version.clamp(CRATE_MIN, CRATE_MAX)).map_err(crate_error)
}

/// Write a response's body.
///
/// # Errors
/// [`MessageError`] if the rows have fields that the version does not.
pub fn encode_response(
    buffer: &mut BytesMut,
    throttle_time_ms: i32,
    error_code: i16,
    log_dirs: Vec<LogDir>,
    version: i16,
) -> Result<(), MessageError> {
    if version <= CRATE_MAX {
        let results = log_dirs.into_iter().map(|dir| dir.result).collect();
        return DescribeLogDirsResponse::default()
            .with_throttle_time_ms(throttle_time_ms)
            .with_error_code(error_code)
            .with_results(results)
            .encode(buffer, version.max(CRATE_MIN))
            .map_err(crate_error);
    }
    buffer.put_i32(throttle_time_ms);
    buffer.put_i16(error_code);
    put_uvarint(buffer, log_dirs.len() as u32 + 1);
    for LogDir { result, is_cordoned } in log_dirs {
        buffer.put_i16(result.error_code);
        put_compact_string(buffer, &result.log_dir);
        put_uvarint(buffer, result.topics.len() as u32 + 1);
        for topic in &result.topics {
            topic.encode(buffer, CRATE_MAX).map_err(crate_error)?;
        }
        buffer.put_i64(result.total_bytes);
        buffer.put_i64(result.usable_bytes);
        buffer.put_u8(u8::from(is_cordoned));
        buffer.put_u8(0);
    }
    buffer.put_u8(0);
    Ok(())
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::describe_log_dirs_response::{DescribeLogDirsPartition, DescribeLogDirsTopic};
    use kafka_protocol::protocol::StrBytes;

    use super::*;
    use crate::test_support::{golden_message, old_golden};

    fn dir(is_cordoned: bool) -> LogDir {
        let partition = DescribeLogDirsPartition::default().with_partition_size(77);
        let topic = DescribeLogDirsTopic::default()
            .with_name(StrBytes::from_static_str("t").into())
            .with_partitions(vec![partition]);
        let result = DescribeLogDirsResult::default()
            .with_log_dir(StrBytes::from_static_str("/data"))
            .with_topics(vec![topic])
            .with_total_bytes(10)
            .with_usable_bytes(5);
        LogDir { result, is_cordoned }
    }

    fn encoded(version: i16, is_cordoned: bool) -> BytesMut {
        let mut buffer = BytesMut::new();
        encode_response(&mut buffer, 1, 0, vec![dir(is_cordoned)], version).unwrap();
        buffer
    }

    #[test]
    fn version_5_is_version_4_with_one_byte_more_in_each_row() {
        let four = encoded(4, true);
        for is_cordoned in [false, true] {
            let five = encoded(5, is_cordoned);
            let row_end = four.len() - 2;
            assert_eq!(five[..row_end], four[..row_end]);
            assert_eq!(five[row_end..], [u8::from(is_cordoned), 0, 0]);
        }
    }

    #[test]
    fn version_5_is_what_kafka_writes() {
        let partition = DescribeLogDirsPartition::default()
            .with_partition_index(3)
            .with_partition_size(77)
            .with_offset_lag(2)
            .with_is_future_key(true);
        let topic = DescribeLogDirsTopic::default()
            .with_name(StrBytes::from_static_str("t").into())
            .with_partitions(vec![partition]);
        let mut data = dir(true);
        data.result.topics = vec![topic];
        let lost =
            DescribeLogDirsResult::default().with_error_code(56).with_log_dir(StrBytes::from_static_str("/lost"));
        let mut body = BytesMut::new();
        let log_dirs = vec![data, LogDir { result: lost, is_cordoned: false }];
        encode_response(&mut body, 1, 31, log_dirs, 5).unwrap();
        assert_eq!(body, golden_message("describe-log-dirs-5"));
    }

    #[test]
    fn version_0_is_what_kafka_wrote() {
        for name in ["DescribeLogDirsRequest", "DescribeLogDirsResponse"] {
            assert_eq!(old_golden(&format!("{name}-0")), old_golden(&format!("{name}-1")));
        }
        assert_eq!(encoded(0, false), encoded(1, false));
        let body = old_golden("DescribeLogDirsRequest-0");
        let request = decode_request(&mut Bytes::from(body), 0).unwrap();
        assert_eq!(request.topics.unwrap()[0].partitions, [1, 2]);
    }

    #[test]
    fn requests_of_version_5_are_those_of_version_4() {
        let mut body = BytesMut::new();
        DescribeLogDirsRequest::default().with_topics(None).encode(&mut body, 4).unwrap();
        assert_eq!(decode_request(&mut body.freeze(), 5).unwrap().topics, None);
    }
}
