//! The flexible encoding that Kafka's generated messages use: big-endian integers, unsigned varints, compact strings
//! and arrays (length plus one, zero for null) and tagged fields in ascending order.
//!
//! Source: `org.apache.kafka.common.protocol.{ByteBufferAccessor, types.RawTaggedFieldWriter}`. Reading never panics:
//! every length is checked against the bytes that are left before anything is allocated.

use std::sync::Arc;

use uuid::Uuid;

use super::RecordError;

/// Appends values in the flexible encoding.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    pub(crate) fn unsigned_varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.bytes.push((value as u8 & 0x7f) | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(crate) fn boolean(&mut self, value: bool) {
        self.bytes.push(u8::from(value));
    }

    pub(crate) fn int8(&mut self, value: i8) {
        self.bytes.push(value as u8);
    }

    pub(crate) fn int16(&mut self, value: i16) {
        self.raw(&value.to_be_bytes());
    }

    pub(crate) fn uint16(&mut self, value: u16) {
        self.raw(&value.to_be_bytes());
    }

    pub(crate) fn int32(&mut self, value: i32) {
        self.raw(&value.to_be_bytes());
    }

    pub(crate) fn int64(&mut self, value: i64) {
        self.raw(&value.to_be_bytes());
    }

    pub(crate) fn uuid(&mut self, value: Uuid) {
        self.raw(value.as_bytes());
    }

    pub(crate) fn string(&mut self, value: &str) {
        self.unsigned_varint(value.len() as u32 + 1);
        self.raw(value.as_bytes());
    }

    pub(crate) fn nullable_string(&mut self, value: Option<&str>) {
        match value {
            Some(value) => self.string(value),
            None => self.unsigned_varint(0),
        }
    }

    pub(crate) fn array<T>(&mut self, values: &[T], mut write: impl FnMut(&mut Writer, &T)) {
        self.unsigned_varint(values.len() as u32 + 1);
        for value in values {
            write(self, value);
        }
    }

    pub(crate) fn int32s(&mut self, values: &[i32]) {
        self.array(values, |writer, value| writer.int32(*value));
    }

    pub(crate) fn uuids(&mut self, values: &[Uuid]) {
        self.array(values, |writer, value| writer.uuid(*value));
    }

    /// The tagged fields that are set, already in ascending order of their tags.
    pub(crate) fn tagged_fields(&mut self, fields: Tagged) {
        self.unsigned_varint(fields.fields.len() as u32);
        for (tag, bytes) in fields.fields {
            self.unsigned_varint(tag);
            self.unsigned_varint(bytes.len() as u32);
            self.raw(&bytes);
        }
    }

    pub(crate) fn no_tagged_fields(&mut self) {
        self.unsigned_varint(0);
    }
}

/// Tagged fields being collected for one struct.
#[derive(Debug, Default)]
pub(crate) struct Tagged {
    fields: Vec<(u32, Vec<u8>)>,
}

impl Tagged {
    /// Adds the field when `set`; callers go through the tags in ascending order.
    pub(crate) fn field_if(&mut self, set: bool, tag: u32, write: impl FnOnce(&mut Writer)) {
        if set {
            let mut writer = Writer::default();
            write(&mut writer);
            debug_assert!(self.fields.last().is_none_or(|(last, _)| *last < tag));
            self.fields.push((tag, writer.into_bytes()));
        }
    }
}

/// Takes values of the flexible encoding off the front of a slice.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Reader { bytes }
    }

    pub(crate) fn remaining(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], RecordError> {
        let (taken, rest) = self.bytes.split_at_checked(len).ok_or(RecordError::Truncated)?;
        self.bytes = rest;
        Ok(taken)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        let (taken, rest) = self.bytes.split_first_chunk::<N>().ok_or(RecordError::Truncated)?;
        self.bytes = rest;
        Ok(*taken)
    }

    pub(crate) fn unsigned_varint(&mut self) -> Result<u32, RecordError> {
        let mut value = 0u32;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.fixed::<1>()?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(RecordError::VarintTooLong)
    }

    pub(crate) fn boolean(&mut self) -> Result<bool, RecordError> {
        Ok(self.fixed::<1>()? != [0])
    }

    pub(crate) fn int8(&mut self) -> Result<i8, RecordError> {
        Ok(i8::from_be_bytes(self.fixed()?))
    }

    pub(crate) fn int16(&mut self) -> Result<i16, RecordError> {
        Ok(i16::from_be_bytes(self.fixed()?))
    }

    pub(crate) fn uint16(&mut self) -> Result<u16, RecordError> {
        Ok(u16::from_be_bytes(self.fixed()?))
    }

    pub(crate) fn int32(&mut self) -> Result<i32, RecordError> {
        Ok(i32::from_be_bytes(self.fixed()?))
    }

    pub(crate) fn int64(&mut self) -> Result<i64, RecordError> {
        Ok(i64::from_be_bytes(self.fixed()?))
    }

    pub(crate) fn uuid(&mut self) -> Result<Uuid, RecordError> {
        Ok(Uuid::from_bytes(self.fixed()?))
    }

    pub(crate) fn nullable_string(&mut self) -> Result<Option<Arc<str>>, RecordError> {
        let len = self.unsigned_varint()?;
        if len == 0 {
            return Ok(None);
        }
        let bytes = self.take(len as usize - 1)?;
        let text = std::str::from_utf8(bytes).map_err(|_| RecordError::NotUtf8)?;
        Ok(Some(Arc::from(text)))
    }

    pub(crate) fn string(&mut self) -> Result<Arc<str>, RecordError> {
        self.nullable_string()?.ok_or(RecordError::UnexpectedNull)
    }

    /// Elements take at least `min_element_len` bytes each, which bounds what a wrong count can allocate.
    pub(crate) fn nullable_array<T>(
        &mut self,
        min_element_len: usize,
        mut read: impl FnMut(&mut Self) -> Result<T, RecordError>,
    ) -> Result<Option<Vec<T>>, RecordError> {
        let len = self.unsigned_varint()?;
        if len == 0 {
            return Ok(None);
        }
        let count = len as usize - 1;
        if count.saturating_mul(min_element_len) > self.remaining() {
            return Err(RecordError::Truncated);
        }
        let mut values = Vec::with_capacity(count);
        for _ in 0..count {
            values.push(read(self)?);
        }
        Ok(Some(values))
    }

    pub(crate) fn array<T>(
        &mut self,
        min_element_len: usize,
        read: impl FnMut(&mut Self) -> Result<T, RecordError>,
    ) -> Result<Vec<T>, RecordError> {
        self.nullable_array(min_element_len, read)?.ok_or(RecordError::UnexpectedNull)
    }

    pub(crate) fn int32s(&mut self) -> Result<Vec<i32>, RecordError> {
        self.array(4, Reader::int32)
    }

    pub(crate) fn nullable_int32s(&mut self) -> Result<Option<Vec<i32>>, RecordError> {
        self.nullable_array(4, Reader::int32)
    }

    pub(crate) fn uuids(&mut self) -> Result<Vec<Uuid>, RecordError> {
        self.array(16, Reader::uuid)
    }

    pub(crate) fn nullable_uuids(&mut self) -> Result<Option<Vec<Uuid>>, RecordError> {
        self.nullable_array(16, Reader::uuid)
    }

    /// Hands every tagged field to `read`; what it leaves unread is skipped, so an unknown tag is `Ok(())`.
    pub(crate) fn tagged_fields(
        &mut self,
        mut read: impl FnMut(u32, &mut Reader<'a>) -> Result<(), RecordError>,
    ) -> Result<(), RecordError> {
        let count = self.unsigned_varint()?;
        for _ in 0..count {
            let tag = self.unsigned_varint()?;
            let len = self.unsigned_varint()?;
            let mut field = Reader::new(self.take(len as usize)?);
            read(tag, &mut field)?;
        }
        Ok(())
    }

    pub(crate) fn skip_tagged_fields(&mut self) -> Result<(), RecordError> {
        self.tagged_fields(|_, _| Ok(()))
    }
}
