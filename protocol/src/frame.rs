//! Requests' and responses' outer form: the length before a frame and the header before a body.
//!
//! ```text
//! request:  length i32 · api_key i16 · api_version i16 · correlation_id i32 · client_id nullable string
//!           · tagged fields (header version 2) · body
//! response: length i32 · correlation_id i32 · tagged fields (header version 1) · body
//! ```
//!
//! The client id's length is an i16 in header version 2, too. Source: `org.apache.kafka.common.requests.RequestHeader`,
//! `common/message/RequestHeader.json`. The header is parsed before anything is known to be served, and by hand,
//! because the crate's decoder panics on frames of less than four bytes.

use bytes::{Buf, BufMut, Bytes};
use kafka_protocol::protocol::StrBytes;

use crate::api;
use crate::wire::{self, WireError};

/// Bytes of the length before a frame.
pub const LENGTH_BYTES: usize = 4;

/// A frame that is not a request. Kafka closes the connection without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A length of zero or less.
    #[error("Invalid receive (size = {length})")]
    LengthNotPositive {
        /// The declared length.
        length: i32,
    },
    /// A length above `socket.request.max.bytes`.
    #[error("Invalid receive (size = {length} larger than {max})")]
    LengthTooLarge {
        /// The declared length.
        length: i32,
        /// The bound.
        max: usize,
    },
    /// A header that is cut off or malformed.
    #[error("cannot read the request's header: {0}")]
    Header(#[from] WireError),
}

/// The length of the frame that follows these four bytes.
///
/// # Errors
/// [`FrameError`] if it is not within 1 to `max`.
pub fn frame_length(prefix: [u8; LENGTH_BYTES], max: usize) -> Result<usize, FrameError> {
    let length = i32::from_be_bytes(prefix);
    match usize::try_from(length) {
        Ok(0) | Err(_) => Err(FrameError::LengthNotPositive { length }),
        Ok(bytes) if bytes > max => Err(FrameError::LengthTooLarge { length, max }),
        Ok(bytes) => Ok(bytes),
    }
}

/// What a request says before its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHead {
    /// Which API; see [`api::find`].
    pub api_key: i16,
    /// Which version of it, not checked here.
    pub api_version: i16,
    /// What the answer must carry.
    pub correlation_id: i32,
    /// The client's name for itself; "" if it gave none. Borrows the frame: copy it to keep it.
    pub client_id: StrBytes,
}

impl RequestHead {
    /// Read the header of `frame`, which then begins with the body.
    ///
    /// An API that no broker's listener has is not read beyond the correlation id (its header's form is unknown), and
    /// a version of ApiVersions that nobody defined needs nothing beyond it, since its answer depends on no more.
    ///
    /// # Errors
    /// [`FrameError::Header`] if the header is cut off or malformed.
    pub fn parse(frame: &mut Bytes) -> Result<RequestHead, FrameError> {
        let api_key = wire::get_i16(frame)?;
        let api_version = wire::get_i16(frame)?;
        let correlation_id = wire::get_i32(frame)?;
        let mut head = RequestHead { api_key, api_version, correlation_id, client_id: StrBytes::new() };
        let Some(api) = api::find(api_key) else {
            frame.clear();
            return Ok(head);
        };
        match rest_of_header(frame, api::request_header_version(api_key, api_version)) {
            Ok(client_id) => head.client_id = client_id,
            Err(_) if api_key == api::API_VERSIONS && !(0..=api.max).contains(&api_version) => frame.clear(),
            Err(error) => return Err(error.into()),
        }
        Ok(head)
    }
}

fn rest_of_header(frame: &mut Bytes, header_version: i16) -> Result<StrBytes, WireError> {
    let client_id = match usize::try_from(wire::get_i16(frame)?) {
        Ok(length) => wire::get_slice(frame, length)?,
        Err(_) => Bytes::new(),
    };
    if header_version >= 2 {
        wire::skip_tagged_fields(frame)?;
    }
    // Java replaces what is not UTF-8, and so does this.
    let text = StrBytes::from_utf8(client_id.clone())
        .unwrap_or_else(|_| StrBytes::from_string(String::from_utf8_lossy(&client_id).into_owned()));
    Ok(text)
}

/// Size of a response's header.
pub fn response_header_bytes(header_version: i16) -> usize {
    if header_version >= 1 { 5 } else { 4 }
}

/// Write a response's header, without the length before it.
pub fn put_response_header(buffer: &mut impl BufMut, header_version: i16, correlation_id: i32) {
    buffer.put_i32(correlation_id);
    if header_version >= 1 {
        buffer.put_u8(0);
    }
}

/// Read a response's header of the given version and return its correlation id; for a node that asks another.
///
/// # Errors
/// [`FrameError::Header`] if it is cut off.
pub fn parse_response_header(frame: &mut Bytes, header_version: i16) -> Result<i32, FrameError> {
    let correlation_id = frame.try_get_i32().map_err(|_| WireError::UnexpectedEnd)?;
    if header_version >= 1 {
        wire::skip_tagged_fields(frame)?;
    }
    Ok(correlation_id)
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::RequestHeader;
    use kafka_protocol::protocol::Encodable;
    use proptest::prelude::*;

    use super::*;

    fn frame(header_version: i16, header: &RequestHeader, body: &[u8]) -> Bytes {
        let mut frame = bytes::BytesMut::new();
        header.encode(&mut frame, header_version).unwrap();
        frame.put_slice(body);
        frame.freeze()
    }

    #[test]
    fn a_null_client_id_is_an_empty_one() {
        let header = RequestHeader::default().with_request_api_key(3).with_request_api_version(1).with_client_id(None);
        let mut frame = frame(1, &header, b"body");
        assert_eq!(RequestHead::parse(&mut frame).unwrap().client_id.as_str(), "");
        assert_eq!(frame, b"body"[..]);
    }

    #[test]
    fn an_undefined_version_of_api_versions_needs_no_more_than_its_correlation_id() {
        for version in [-1_i16, 5, 99, i16::MAX, i16::MIN] {
            let mut bytes = vec![0, 18];
            bytes.extend_from_slice(&version.to_be_bytes());
            bytes.extend_from_slice(&[0, 0, 0, 7]);
            let head = RequestHead::parse(&mut Bytes::from(bytes)).unwrap();
            assert_eq!((head.api_version, head.correlation_id), (version, 7));
        }
    }

    #[test]
    fn a_truncated_header_of_a_known_version_is_refused() {
        for bytes in [
            &[][..],
            &[0],
            &[0, 3, 0, 1, 0, 0, 0, 1],
            &[0, 3, 0, 1, 0, 0, 0, 1, 0, 5, b'a'],
            &[0, 18, 0, 3, 0, 0, 0, 1, 0, 0],
        ] {
            assert!(RequestHead::parse(&mut Bytes::copy_from_slice(bytes)).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn an_unknown_api_is_named_though_its_header_cannot_be_read() {
        let head = RequestHead::parse(&mut Bytes::from_static(&[0, 99, 0, 1, 0, 0, 0, 1, 0xff])).unwrap();
        assert_eq!((head.api_key, head.api_version, head.correlation_id), (99, 1, 1));
    }

    #[test]
    fn a_client_id_that_is_not_text_is_kept_readable() {
        let mut frame = Bytes::from_static(&[0, 3, 0, 1, 0, 0, 0, 1, 0, 2, 0xff, b'a']);
        assert_eq!(RequestHead::parse(&mut frame).unwrap().client_id.as_str(), "\u{fffd}a");
    }

    #[test]
    fn frames_without_a_positive_length_within_the_bound_are_refused() {
        assert_eq!(frame_length(100_i32.to_be_bytes(), 100), Ok(100));
        for length in [0, -1, i32::MIN, 101, i32::MAX] {
            assert!(frame_length(length.to_be_bytes(), 100).is_err(), "{length}");
        }
    }

    proptest! {
        #[test]
        fn reads_what_kafka_protocol_writes(
            key in prop::sample::select(api::APIS.map(|api| api.key).to_vec()), version in 0_i16..20,
            correlation_id: i32, client_id: Option<String>, body: Vec<u8>,
        ) {
            prop_assume!(client_id.as_ref().is_none_or(|text| text.len() < 30_000));
            let header = RequestHeader::default()
                .with_request_api_key(key)
                .with_request_api_version(version)
                .with_correlation_id(correlation_id)
                .with_client_id(client_id.clone().map(StrBytes::from_string));
            let mut frame = frame(api::request_header_version(key, version), &header, &body);
            let head = RequestHead::parse(&mut frame).unwrap();
            prop_assert_eq!(head.api_key, key);
            prop_assert_eq!(head.api_version, version);
            prop_assert_eq!(head.correlation_id, correlation_id);
            prop_assert_eq!(head.client_id.as_str(), client_id.as_deref().unwrap_or(""));
            prop_assert_eq!(&frame[..], &body[..]);
        }

        #[test]
        fn any_bytes_are_parsed_or_refused(bytes: Vec<u8>) {
            let _ = RequestHead::parse(&mut Bytes::from(bytes.clone()));
            let _ = parse_response_header(&mut Bytes::from(bytes), 1);
        }
    }
}
