//! One version of a message rewritten as another, field by field as the schema's table says.
//!
//! A field of both versions is copied, one that only the target has gets its default, one that only the source has is
//! dropped: silently if the table calls it ignorable or it holds its default, else with an error, unless the caller
//! collects its values. Lengths follow each
//! side's encoding. Elements of an array are rewritten one by one, so a hostile count costs nothing.
//!
//! Absent: tagged fields and nullable structs, which no version below a floor and no floor has (a test looks).
//! Those of a source are skipped.

use bytes::{Buf, BufMut, BytesMut};

use super::LegacyError;
use crate::schema::{Field, Message, Type};
use crate::wire::put_uvarint;

/// A field that only the source has and whose values are wanted.
pub(super) struct Collected {
    /// Its name; a number.
    pub(super) field: &'static str,
    /// Its values, in the order of the body.
    pub(super) values: Vec<i64>,
}

/// Writes `body`, which is `message` in version `from`, as version `to`; refused if that takes more than `most` bytes.
pub(super) fn rewrite(
    message: &Message,
    from: i16,
    to: i16,
    body: &[u8],
    target: &mut BytesMut,
    most: usize,
    collected: Option<&mut Collected>,
) -> Result<(), LegacyError> {
    for version in [from, to] {
        if !message.versions.contains(version) {
            return Err(LegacyError::UnknownVersion { api_key: message.key.unwrap_or(-1), version });
        }
    }
    let begin = target.len();
    let mut rewrite = Rewrite {
        from: Side { version: from, flexible: message.is_flexible(from) },
        to: Side { version: to, flexible: message.is_flexible(to) },
        rest: body,
        most: begin.saturating_add(most),
        target,
        collected,
    };
    rewrite.fields(message.fields())
}

#[derive(Clone, Copy)]
struct Side {
    version: i16,
    flexible: bool,
}

impl Side {
    fn has(self, field: &Field) -> bool {
        field.versions.contains(self.version) && field.tag_in(self.version).is_none()
    }

    fn is_compact(self, field: &Field) -> bool {
        self.flexible && !field.inflexible
    }
}

struct Rewrite<'a> {
    from: Side,
    to: Side,
    rest: &'a [u8],
    target: &'a mut BytesMut,
    /// The length that the target may reach.
    most: usize,
    collected: Option<&'a mut Collected>,
}

impl<'a> Rewrite<'a> {
    fn fields(&mut self, fields: &[Field]) -> Result<(), LegacyError> {
        for field in fields {
            match (self.from.has(field), self.to.has(field)) {
                (true, true) => self.copy(field)?,
                (true, false) => {
                    if !self.skip(field)? && !field.ignorable {
                        return Err(LegacyError::Lost { field: field.name });
                    }
                }
                (false, true) => self.put_default(field)?,
                (false, false) => {}
            }
            if self.target.len() > self.most {
                return Err(LegacyError::TooLarge { limit: self.most });
            }
        }
        if self.from.flexible {
            self.skip_tags()?;
        }
        if self.to.flexible {
            self.target.put_u8(0);
        }
        Ok(())
    }

    fn copy(&mut self, field: &Field) -> Result<(), LegacyError> {
        if !field.is_array {
            return self.copy_value(field);
        }
        let count = self.length(field, 4)?;
        self.put_length(field, count, 4)?;
        for _ in 0..count.unwrap_or(0) {
            self.copy_value(field)?;
        }
        Ok(())
    }

    fn copy_value(&mut self, field: &Field) -> Result<(), LegacyError> {
        match field.kind {
            Type::Struct => self.fields(&field.fields),
            Type::String | Type::Bytes | Type::Records => {
                let width = length_width(field.kind);
                let length = self.length(field, width)?;
                self.put_length(field, length, width)?;
                let value = self.take(field, length.unwrap_or(0))?;
                self.put(value)
            }
            fixed => {
                let value = self.take(field, fixed.fixed_bytes().unwrap_or_default() as usize)?;
                self.put(value)
            }
        }
    }

    /// Steps over a field of the source; whether it held its default.
    fn skip(&mut self, field: &Field) -> Result<bool, LegacyError> {
        if !field.is_array {
            return self.skip_value(field);
        }
        let count = self.length(field, 4)?;
        for _ in 0..count.unwrap_or(0) {
            self.skip_value(field)?;
        }
        Ok(is_default_length(field, count))
    }

    fn skip_value(&mut self, field: &Field) -> Result<bool, LegacyError> {
        match field.kind {
            Type::Struct => {
                let (mut all_default, from) = (true, self.from);
                for inner in field.fields.iter().filter(|inner| from.has(inner)) {
                    all_default &= self.skip(inner)?;
                }
                if self.from.flexible {
                    self.skip_tags()?;
                }
                Ok(all_default)
            }
            Type::String | Type::Bytes | Type::Records => {
                let length = self.length(field, length_width(field.kind))?;
                self.take(field, length.unwrap_or(0))?;
                Ok(is_default_length(field, length))
            }
            fixed => {
                let width = fixed.fixed_bytes().unwrap_or_default() as usize;
                let value = self.take(field, width)?;
                if let Some(collected) = self.collected.as_deref_mut().filter(|wanted| wanted.field == field.name) {
                    collected.values.push(value.iter().fold(0, |number, byte| number << 8 | i64::from(*byte)));
                    return Ok(true);
                }
                Ok(default_number(field).ends_with(value))
            }
        }
    }

    fn put_default(&mut self, field: &Field) -> Result<(), LegacyError> {
        if field.is_array {
            return self.put_length(field, default_length(field), 4);
        }
        match field.kind {
            Type::Struct => {
                let to = self.to;
                for inner in field.fields.iter().filter(|inner| to.has(inner)) {
                    self.put_default(inner)?;
                }
                if self.to.flexible {
                    self.target.put_u8(0);
                }
                Ok(())
            }
            Type::String | Type::Bytes | Type::Records => {
                self.put_length(field, default_length(field), length_width(field.kind))
            }
            fixed => {
                let width = fixed.fixed_bytes().unwrap_or_default() as usize;
                self.put(&default_number(field)[16 - width..])
            }
        }
    }

    fn put(&mut self, value: &[u8]) -> Result<(), LegacyError> {
        if self.target.len() + value.len() > self.most {
            return Err(LegacyError::TooLarge { limit: self.most });
        }
        self.target.put_slice(value);
        Ok(())
    }

    /// A length or count of the source, `None` for null; `width` is that of the old encoding.
    fn length(&mut self, field: &Field, width: usize) -> Result<Option<usize>, LegacyError> {
        if self.from.is_compact(field) {
            return Ok((self.uvarint(field)? as usize).checked_sub(1));
        }
        let bytes = self.take(field, width)?;
        let length = match *bytes {
            [high, low] => i32::from(i16::from_be_bytes([high, low])),
            [a, b, c, d] => i32::from_be_bytes([a, b, c, d]),
            _ => unreachable!("lengths take two or four bytes"),
        };
        match length {
            -1 => Ok(None),
            _ => usize::try_from(length).map(Some).map_err(|_| LegacyError::UnexpectedEnd { field: field.name }),
        }
    }

    fn put_length(&mut self, field: &Field, length: Option<usize>, width: usize) -> Result<(), LegacyError> {
        if length.is_none() && !field.is_nullable(self.to.version) {
            return Err(LegacyError::UnexpectedNull { field: field.name });
        }
        if self.to.is_compact(field) {
            put_uvarint(self.target, length.map_or(0, |length| length as u32 + 1));
        } else if width == 2 {
            self.target.put_i16(length.map_or(-1, |length| length as i16));
        } else {
            self.target.put_i32(length.map_or(-1, |length| length as i32));
        }
        Ok(())
    }

    fn skip_tags(&mut self) -> Result<(), LegacyError> {
        const FIELD: &str = "tagged fields";
        let end = |()| LegacyError::UnexpectedEnd { field: FIELD };
        let count = read_uvarint(&mut self.rest).map_err(end)?;
        for _ in 0..count {
            read_uvarint(&mut self.rest).map_err(end)?;
            let size = read_uvarint(&mut self.rest).map_err(end)? as usize;
            self.rest = self.rest.get(size..).ok_or(LegacyError::UnexpectedEnd { field: FIELD })?;
        }
        Ok(())
    }

    fn uvarint(&mut self, field: &Field) -> Result<u32, LegacyError> {
        read_uvarint(&mut self.rest).map_err(|()| LegacyError::UnexpectedEnd { field: field.name })
    }

    fn take(&mut self, field: &Field, length: usize) -> Result<&'a [u8], LegacyError> {
        let (value, rest) =
            self.rest.split_at_checked(length).ok_or(LegacyError::UnexpectedEnd { field: field.name })?;
        self.rest = rest;
        Ok(value)
    }
}

fn read_uvarint(rest: &mut &[u8]) -> Result<u32, ()> {
    let mut value = 0;
    for shift in [0, 7, 14, 21, 28] {
        let byte = rest.try_get_u8().map_err(|_| ())?;
        value |= u32::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(())
}

/// Bytes of a length in the old encoding.
fn length_width(kind: Type) -> usize {
    if kind == Type::String { 2 } else { 4 }
}

/// No string, bytes or array in the table has another default than empty and null.
fn default_length(field: &Field) -> Option<usize> {
    if field.default == Some("null") { None } else { Some(0) }
}

fn is_default_length(field: &Field, length: Option<usize>) -> bool {
    length == default_length(field)
}

/// The default of a type with a fixed size, in as many of the last bytes as the type takes.
fn default_number(field: &Field) -> [u8; 16] {
    let number: i128 = match field.default {
        None | Some("false") => 0,
        Some("true") => 1,
        Some(number) => number.parse().unwrap_or_default(),
    };
    number.to_be_bytes()
}
