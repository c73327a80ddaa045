//! Request and response bodies of versions that the message structs do not know, by hand: a request is put together
//! field by field, a response is read by a layout that names its fields.
//!
//! Written here and not taken from the broker's own code: a test must not share the mistake it looks for.

use bytes::{Buf, BufMut, Bytes};
use serde_json::{Map, Value, json};

use super::message_set;

/// A request's body that grows at its end.
#[derive(Default, Clone)]
pub(crate) struct Body(pub(crate) Vec<u8>);

impl Body {
    pub(crate) fn i8(mut self, value: i8) -> Self {
        self.0.put_i8(value);
        self
    }

    pub(crate) fn i16(mut self, value: i16) -> Self {
        self.0.put_i16(value);
        self
    }

    pub(crate) fn i32(mut self, value: i32) -> Self {
        self.0.put_i32(value);
        self
    }

    pub(crate) fn i64(mut self, value: i64) -> Self {
        self.0.put_i64(value);
        self
    }

    pub(crate) fn string(self, value: &str) -> Self {
        let mut body = self.i16(value.len() as i16);
        body.0.put_slice(value.as_bytes());
        body
    }

    pub(crate) fn nullable(self, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.string(value),
            None => self.i16(-1),
        }
    }

    pub(crate) fn bytes(self, value: &[u8]) -> Self {
        let mut body = self.i32(value.len() as i32);
        body.0.put_slice(value);
        body
    }

    /// A count, then each item as `put` writes it.
    pub(crate) fn array<T>(self, items: &[T], put: impl Fn(Self, &T) -> Self) -> Self {
        items.iter().fold(self.i32(items.len() as i32), put)
    }
}

/// Reads fields by a layout like `throttle:i32 topics[name:str offsets[:i64]]`: `name:type` is one field,
/// `name[…]` an array of what stands inside, and a field without a name is the item itself. None if the bytes end too
/// early.
///
/// Types: `bool i8 i16 i32 i64 str records`.
pub(crate) fn read(layout: &str, bytes: &mut Bytes) -> Option<Value> {
    let mut fields = Map::new();
    let mut rest = layout.trim_start();
    while !rest.is_empty() {
        let end = rest.find([':', '[']).expect("a field of a layout has a type");
        let name = &rest[..end];
        let value = if rest[end..].starts_with('[') {
            let (inside, behind) = brackets(&rest[end..]);
            rest = behind.trim_start();
            array(inside, bytes)?
        } else {
            let (kind, behind) = rest[end + 1..].split_once(' ').unwrap_or((&rest[end + 1..], ""));
            rest = behind.trim_start();
            one(kind, bytes)?
        };
        if name.is_empty() {
            return Some(value);
        }
        fields.insert(name.to_owned(), value);
    }
    Some(Value::Object(fields))
}

fn array(layout: &str, bytes: &mut Bytes) -> Option<Value> {
    let count = bytes.try_get_i32().ok()?;
    if count < 0 {
        return Some(Value::Null);
    }
    (0..count).map(|_| read(layout, bytes)).collect()
}

fn one(kind: &str, bytes: &mut Bytes) -> Option<Value> {
    Some(match kind {
        "bool" => json!(bytes.try_get_i8().ok()? != 0),
        "i8" => json!(bytes.try_get_i8().ok()?),
        "i16" => json!(bytes.try_get_i16().ok()?),
        "i32" => json!(bytes.try_get_i32().ok()?),
        "i64" => json!(bytes.try_get_i64().ok()?),
        "str" => match usize::try_from(bytes.try_get_i16().ok()?) {
            Err(_) => Value::Null,
            Ok(length) => {
                let text = (bytes.len() >= length).then(|| bytes.split_to(length))?;
                json!(String::from_utf8_lossy(&text))
            }
        },
        "records" => match usize::try_from(bytes.try_get_i32().ok()?) {
            Err(_) => Value::Null,
            Ok(length) => message_set::describe(&(bytes.len() >= length).then(|| bytes.split_to(length))?),
        },
        other => unreachable!("a layout names no type {other}"),
    })
}

/// What stands inside the brackets at the start of `text`, and behind them.
fn brackets(text: &str) -> (&str, &str) {
    let mut depth = 0;
    let end = text.bytes().position(|byte| {
        depth += i32::from(byte == b'[') - i32::from(byte == b']');
        depth == 0
    });
    let end = end.expect("a layout closes its brackets");
    (&text[1..end], &text[end + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_was_put_together() {
        let body = Body::default()
            .i32(7)
            .array(&["a", "b"], |body, name| body.string(name).array(&[1_i64, -2], |body, offset| body.i64(*offset)))
            .nullable(None);
        let mut bytes = Bytes::from(body.0);
        let value = read("throttle:i32 topics[name:str offsets[:i64]] message:str", &mut bytes).unwrap();
        assert_eq!(
            value,
            json!({
                "throttle": 7, "message": null,
                "topics": [{"name": "a", "offsets": [1, -2]}, {"name": "b", "offsets": [1, -2]}],
            })
        );
        assert!(bytes.is_empty());
    }

    #[test]
    fn bytes_that_end_too_early_are_no_response() {
        assert_eq!(read("topics[name:str]", &mut Bytes::from_static(&[0, 0, 0, 1, 0, 3, b'a'])), None);
    }
}
