//! Java properties, as `java.util.Properties.load(InputStream)` reads them.
//!
//! Bytes are ISO-8859-1; `\uXXXX` reaches the rest, surrogate pairs included. A natural line ends at CR, LF or CRLF,
//! a comment starts with `#` or `!`, an odd number of backslashes continues a line, the first unescaped `=`, `:` or
//! blank ends the key. The last of two equal keys wins.
//!
//! The crate `java-properties` was looked at: it reads Windows-1252 and refuses surrogate pairs.

use std::collections::BTreeMap;

/// A `\u` escape without four hexadecimal digits: the one thing that Java refuses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed \\uxxxx encoding in line {line}")]
pub struct PropertiesError {
    /// The natural line, counted from 1, where the key starts.
    pub line: usize,
}

/// Keys and values of a properties file.
pub fn parse(bytes: &[u8]) -> Result<BTreeMap<String, String>, PropertiesError> {
    let mut properties = BTreeMap::new();
    let mut natural = NaturalLines { rest: bytes, number: 0 };
    while let Some(first) = natural.next() {
        let first = skip_blanks(first);
        if matches!(first.first(), None | Some(b'#' | b'!')) {
            continue;
        }
        let line = natural.number;
        let mut logical = first.to_vec();
        while ends_in_continuation(&logical) {
            logical.pop();
            match natural.next() {
                Some(next) => logical.extend_from_slice(skip_blanks(next)),
                None => break,
            }
        }
        let (key, value) = split(&logical);
        properties
            .insert(unescape(key).ok_or(PropertiesError { line })?, unescape(value).ok_or(PropertiesError { line })?);
    }
    Ok(properties)
}

struct NaturalLines<'a> {
    rest: &'a [u8],
    number: usize,
}

impl<'a> NaturalLines<'a> {
    fn next(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        self.number += 1;
        let end = self.rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')).unwrap_or(self.rest.len());
        let (line, rest) = self.rest.split_at(end);
        self.rest = rest.strip_prefix(b"\r\n").or_else(|| rest.get(1..)).unwrap_or_default();
        Some(line)
    }
}

const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | 0x0c)
}

fn skip_blanks(bytes: &[u8]) -> &[u8] {
    let start = bytes.iter().position(|byte| !is_blank(*byte)).unwrap_or(bytes.len());
    &bytes[start..]
}

fn ends_in_continuation(line: &[u8]) -> bool {
    line.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}

/// The key up to the first unescaped separator, and the value behind it.
fn split(line: &[u8]) -> (&[u8], &[u8]) {
    let mut escaped = false;
    let end = line.iter().position(|byte| {
        let ends = !escaped && (is_blank(*byte) || matches!(byte, b'=' | b':'));
        escaped = !escaped && *byte == b'\\';
        ends
    });
    let (key, rest) = line.split_at(end.unwrap_or(line.len()));
    let rest = skip_blanks(rest);
    match rest.first() {
        Some(b'=' | b':') => (key, skip_blanks(&rest[1..])),
        _ => (key, rest),
    }
}

/// Latin-1 with escapes; `None` for a malformed `\u`. A lone surrogate becomes U+FFFD.
fn unescape(bytes: &[u8]) -> Option<String> {
    let mut units: Vec<u16> = Vec::with_capacity(bytes.len());
    let mut rest = bytes.iter().copied();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            units.push(u16::from(byte));
            continue;
        }
        match rest.next() {
            Some(b'u') => {
                let mut unit = 0;
                for _ in 0..4 {
                    let digit = char::from(rest.next()?).to_digit(16)?;
                    unit = unit << 4 | digit as u16;
                }
                units.push(unit);
            }
            Some(b't') => units.push(u16::from(b'\t')),
            Some(b'n') => units.push(u16::from(b'\n')),
            Some(b'r') => units.push(u16::from(b'\r')),
            Some(b'f') => units.push(0x0c),
            Some(other) => units.push(u16::from(other)),
            None => {}
        }
    }
    Some(String::from_utf16_lossy(&units))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Pairs = &'static [(&'static str, &'static str)];

    /// What `java.util.Properties.load` of Java 17 made of these bytes.
    const JAVA: &[(&[u8], Pairs)] = &[
        (b"a=b", &[("a", "b")]),
        (b"a:b", &[("a", "b")]),
        (b"a b", &[("a", "b")]),
        (b"a = b ", &[("a", "b ")]),
        (b"  a\t:\x0c= b", &[("a", "= b")]),
        (b"a", &[("a", "")]),
        (b"=b", &[("", "b")]),
        (b"a\\=b=c", &[("a=b", "c")]),
        (b"a\\ b c", &[("a b", "c")]),
        (b"a=b\\\n   c", &[("a", "bc")]),
        (b"a=b\\\\\nc=d", &[("a", "b\\"), ("c", "d")]),
        (b"#c\na=1", &[("a", "1")]),
        (b" !c\\\na=1", &[("a", "1")]),
        (b"a=1\r\nb=2\rc=3", &[("a", "1"), ("b", "2"), ("c", "3")]),
        (b"a=1\na=2", &[("a", "2")]),
        (b"a=\\u00e9\\uD83D\\uDE00", &[("a", "\u{e9}\u{1f600}")]),
        (b"a=\\t\\n\\r\\f\\q", &[("a", "\t\n\r\x0cq")]),
        (b"a=b\\", &[("a", "b")]),
        (b"a\\\n#b=c", &[("a#b", "c")]),
        (b"a=b\\\n\n c=d", &[("a", "b"), ("c", "d")]),
        (b"\\u0061=x", &[("a", "x")]),
        (b"k=\xe9", &[("k", "\u{e9}")]),
        (b"a==b", &[("a", "=b")]),
        (b"a=:b", &[("a", ":b")]),
        (b"a= \\ b", &[("a", " b")]),
        (b"\\\na=1", &[("a", "1")]),
        (b"a=1\\\n  \\\n  2", &[("a", "12")]),
    ];

    #[test]
    fn reads_as_java_does() {
        for (bytes, expected) in JAVA {
            let expected = expected.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            assert_eq!(parse(bytes), Ok(expected), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn refuses_a_malformed_escape_by_its_line() {
        assert_eq!(parse(b"a=1\n#\nb=\\u12g4"), Err(PropertiesError { line: 3 }));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = parse(&bytes);
        }
    }
}
