//! Any decoded Kafka message as JSON, by way of its derived `Debug` output.
//!
//! The message structs know no serialisation beside the wire format, but each derives `Debug`, which names every
//! field. Reading that text back compares all fields of all APIs, without a line of code per API.

use std::fmt::Debug;

use serde_json::{Map, Value};

/// `value` with all its fields. Empty `unknown_tagged_fields` are left out; bytes become `b"…"` text.
pub(crate) fn to_json(value: &impl Debug) -> Value {
    let text = format!("{value:?}");
    let mut reader = Reader { text: &text };
    reader.value().unwrap_or(Value::String(text))
}

/// The bytes behind a `b"…"` text.
pub(crate) fn bytes_of(text: &str) -> Option<Vec<u8>> {
    let mut rest = text.strip_prefix("b\"")?.strip_suffix('"')?.bytes();
    let mut bytes = Vec::new();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        bytes.push(match rest.next()? {
            b'0' => 0,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'x' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            other => other,
        });
    }
    Some(bytes)
}

struct Reader<'a> {
    text: &'a str,
}

impl<'a> Reader<'a> {
    fn value(&mut self) -> Option<Value> {
        self.skip_spaces();
        if self.text.starts_with("b\"") {
            self.text = &self.text[1..];
            return Some(Value::String(format!("b\"{}\"", self.quoted()?)));
        }
        match self.text.chars().next()? {
            '"' => Some(Value::String(unescape(self.quoted()?))),
            '[' => self.sequence('[', ']').map(Value::Array),
            '{' => self.fields().map(Value::Object),
            '(' => self.sequence('(', ')').map(Value::Array),
            _ => self.word_or_struct(),
        }
    }

    fn word_or_struct(&mut self) -> Option<Value> {
        let word = self.word();
        if word.is_empty() {
            return None;
        }
        if self.text.starts_with(" {") {
            self.text = &self.text[1..];
            return self.fields().map(Value::Object);
        }
        if self.text.starts_with('(') {
            let mut inner = self.sequence('(', ')')?;
            return Some(if inner.len() == 1 { inner.remove(0) } else { Value::Array(inner) });
        }
        Some(match word {
            "None" => Value::Null,
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            _ => word.parse::<i64>().map_or_else(|_| Value::String(word.to_owned()), Value::from),
        })
    }

    fn word(&mut self) -> &'a str {
        let end = self.text.find([',', ' ', '(', ')', '[', ']', '{', '}', ':']).unwrap_or(self.text.len());
        let (word, rest) = self.text.split_at(end);
        self.text = rest;
        word
    }

    fn sequence(&mut self, open: char, close: char) -> Option<Vec<Value>> {
        self.text = self.text.strip_prefix(open)?;
        let mut values = Vec::new();
        loop {
            self.skip_spaces();
            if let Some(rest) = self.text.strip_prefix(close) {
                self.text = rest;
                return Some(values);
            }
            values.push(self.value()?);
            self.skip_comma();
        }
    }

    fn fields(&mut self) -> Option<Map<String, Value>> {
        self.text = self.text.strip_prefix('{')?;
        let mut fields = Map::new();
        loop {
            self.skip_spaces();
            if let Some(rest) = self.text.strip_prefix('}') {
                self.text = rest;
                return Some(fields);
            }
            let name = if self.text.starts_with('"') { unescape(self.quoted()?) } else { self.word().to_owned() };
            self.text = self.text.strip_prefix(':')?;
            let value = self.value()?;
            if name != "unknown_tagged_fields" || value.as_object().is_some_and(|map| !map.is_empty()) {
                fields.insert(name, value);
            }
            self.skip_comma();
        }
    }

    /// The inside of a quoted text, escapes as they stand.
    fn quoted(&mut self) -> Option<&'a str> {
        let inside = self.text.strip_prefix('"')?;
        let mut escaped = false;
        let end = inside.char_indices().find_map(|(index, c)| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends.then_some(index)
        })?;
        self.text = &inside[end + 1..];
        Some(&inside[..end])
    }

    fn skip_spaces(&mut self) {
        self.text = self.text.trim_start();
    }

    fn skip_comma(&mut self) {
        self.skip_spaces();
        self.text = self.text.strip_prefix(',').unwrap_or(self.text);
    }
}

fn unescape(text: &str) -> String {
    text.replace("\\\"", "\"").replace("\\'", "'").replace("\\n", "\n").replace("\\\\", "\\")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn bytes_survive_the_way_through_text() {
        let bytes = bytes::Bytes::from((0..=255).collect::<Vec<u8>>());
        assert_eq!(bytes_of(to_json(&bytes).as_str().unwrap()).unwrap(), bytes);
    }

    #[test]
    fn reads_structs_options_newtypes_and_maps() {
        #[derive(Debug)]
        #[expect(dead_code, reason = "read through Debug only")]
        struct Row {
            name: Option<&'static str>,
            missing: Option<i32>,
            ids: Vec<i32>,
            unknown_tagged_fields: std::collections::BTreeMap<i32, i32>,
            id: uuid::Uuid,
            records: bytes::Bytes,
        }
        let row = Row {
            name: Some("a \"b\", {c}"),
            missing: None,
            ids: vec![1, -2],
            unknown_tagged_fields: [].into(),
            id: uuid::Uuid::nil(),
            records: bytes::Bytes::from_static(b"\0x\""),
        };
        assert_eq!(
            to_json(&vec![row]),
            json!([{
                "name": "a \"b\", {c}", "missing": null, "ids": [1, -2],
                "id": "00000000-0000-0000-0000-000000000000", "records": "b\"\\0x\\\"\""
            }])
        );
    }
}
