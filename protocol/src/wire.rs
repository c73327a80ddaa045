//! The primitive types of Kafka's protocol, for the few messages that are written by hand.
//!
//! Reading is bounded: a count is refused if the rest of the frame cannot hold so many elements.

use bytes::{Buf, BufMut, Bytes};
use kafka_protocol::protocol::StrBytes;

/// Bytes that are not the message they claim to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// A field reaches over the end of the frame.
    #[error("the message ends in the middle of a field")]
    UnexpectedEnd,
    /// More elements than the rest of the frame could hold.
    #[error("{count} elements declared where {remaining} bytes remain")]
    CountTooLarge {
        /// The declared count.
        count: usize,
        /// Bytes left in the frame.
        remaining: usize,
    },
    /// Null where the protocol allows none.
    #[error("null where a value is needed")]
    UnexpectedNull,
    /// A varint of more than five bytes.
    #[error("a varint is longer than five bytes")]
    VarintTooLong,
    /// Text that is not UTF-8.
    #[error("text is not UTF-8")]
    NotUtf8,
}

pub(crate) fn get_u8(bytes: &mut Bytes) -> Result<u8, WireError> {
    bytes.try_get_u8().map_err(|_| WireError::UnexpectedEnd)
}

pub(crate) fn get_i8(bytes: &mut Bytes) -> Result<i8, WireError> {
    bytes.try_get_i8().map_err(|_| WireError::UnexpectedEnd)
}

pub(crate) fn get_bool(bytes: &mut Bytes) -> Result<bool, WireError> {
    get_u8(bytes).map(|byte| byte != 0)
}

pub(crate) fn get_i16(bytes: &mut Bytes) -> Result<i16, WireError> {
    bytes.try_get_i16().map_err(|_| WireError::UnexpectedEnd)
}

pub(crate) fn get_i32(bytes: &mut Bytes) -> Result<i32, WireError> {
    bytes.try_get_i32().map_err(|_| WireError::UnexpectedEnd)
}

pub(crate) fn get_i64(bytes: &mut Bytes) -> Result<i64, WireError> {
    bytes.try_get_i64().map_err(|_| WireError::UnexpectedEnd)
}

pub(crate) fn get_uvarint(bytes: &mut Bytes) -> Result<u32, WireError> {
    let mut value = 0;
    for shift in [0, 7, 14, 21, 28] {
        let byte = get_u8(bytes)?;
        value |= u32::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(WireError::VarintTooLong)
}

pub(crate) fn get_slice(bytes: &mut Bytes, length: usize) -> Result<Bytes, WireError> {
    if length > bytes.remaining() {
        return Err(WireError::UnexpectedEnd);
    }
    Ok(bytes.split_to(length))
}

/// Length of a compact array whose elements take at least `element_bytes` each.
pub(crate) fn get_compact_count(bytes: &mut Bytes, element_bytes: usize) -> Result<usize, WireError> {
    let count = get_uvarint(bytes)?.checked_sub(1).ok_or(WireError::UnexpectedNull)? as usize;
    let remaining = bytes.remaining();
    if count > remaining / element_bytes.max(1) {
        return Err(WireError::CountTooLarge { count, remaining });
    }
    Ok(count)
}

pub(crate) fn get_compact_string(bytes: &mut Bytes) -> Result<StrBytes, WireError> {
    let length = get_uvarint(bytes)?.checked_sub(1).ok_or(WireError::UnexpectedNull)? as usize;
    StrBytes::from_utf8(get_slice(bytes, length)?).map_err(|_| WireError::NotUtf8)
}

/// Step over tagged fields whose tags nobody knows.
pub(crate) fn skip_tagged_fields(bytes: &mut Bytes) -> Result<(), WireError> {
    let count = get_uvarint(bytes)?;
    for _ in 0..count {
        get_uvarint(bytes)?;
        let length = get_uvarint(bytes)? as usize;
        get_slice(bytes, length)?;
    }
    Ok(())
}

pub(crate) fn put_uvarint(buffer: &mut impl BufMut, value: u32) {
    let mut left = value;
    while left >= 0x80 {
        buffer.put_u8((left & 0x7f) as u8 | 0x80);
        left >>= 7;
    }
    buffer.put_u8(left as u8);
}

pub(crate) fn uvarint_bytes(value: u32) -> usize {
    (32 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

pub(crate) fn put_compact_string(buffer: &mut impl BufMut, text: &str) {
    put_uvarint(buffer, text.len() as u32 + 1);
    buffer.put_slice(text.as_bytes());
}
