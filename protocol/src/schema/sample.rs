//! Sampled messages of any version in the table, and hostile variants of them: for tests, behind the feature `sample`.
//!
//! A sample is valid and canonical: what a decoder reads from it, an encoder writes back byte for byte. So tagged
//! fields are in order and never hold their default. Everything follows from the seed.

use std::ops::Range;

use super::{Field, Message, Type, request as request_message};

/// A sampled body, and the places in it that a hostile sender would touch.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The body.
    pub bytes: Vec<u8>,
    /// Where its fields begin and its lengths are, in order.
    pub sites: Vec<Site>,
}

/// A place in a sample.
#[derive(Clone, Debug)]
pub struct Site {
    /// The bytes of the length or text; empty for the start of a field.
    pub range: Range<usize>,
    /// What is there.
    pub kind: SiteKind,
}

/// What is at a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SiteKind {
    /// A field begins.
    Field,
    /// An array's count.
    Count {
        /// As a varint.
        compact: bool,
    },
    /// A string's length.
    StringLength {
        /// As a varint.
        compact: bool,
    },
    /// The length of bytes or records.
    BytesLength {
        /// As a varint.
        compact: bool,
    },
    /// A string's text, not empty.
    Text,
    /// The number of tagged fields.
    TagCount,
}

/// A hostile variant of a sample.
#[derive(Clone, Debug)]
pub struct Mutation {
    /// What was done, for the message of a failed test.
    pub what: String,
    /// The body.
    pub bytes: Vec<u8>,
}

/// A valid request body.
///
/// # Panics
/// If the table has no such request in this version.
pub fn request(api_key: i16, version: i16, seed: u64) -> Vec<u8> {
    let message = request_message(api_key).unwrap_or_else(|| panic!("no request has the key {api_key}"));
    self::message(message, version, seed).bytes
}

/// A valid body of any message.
///
/// # Panics
/// If the message does not have this version.
pub fn message(message: &Message, version: i16, seed: u64) -> Sample {
    generate(message, version, Style::Mixed, seed)
}

/// A body that decodes to as much memory per byte as possible: `count` least elements in each outermost array, each of
/// whose own arrays has `inner` elements.
///
/// # Panics
/// If the message does not have this version.
pub fn dense(message: &Message, version: i16, count: usize, inner: usize) -> Sample {
    generate(message, version, Style::Dense { count, inner, letters: 0 }, 0)
}

/// A body with one element in each outermost array, whose strings have `letters` letters and whose own arrays have
/// `inner` least elements: what a server copies for each of these costs it `letters` times as much as the sender.
///
/// # Panics
/// If the message does not have this version.
pub fn shared_text(message: &Message, version: i16, letters: usize, inner: usize) -> Sample {
    generate(message, version, Style::Dense { count: 1, inner, letters }, 0)
}

/// Every hostile variant of a sample: lengths and counts that are too large or negative, null where there was a value,
/// text that is not UTF-8, tags that are duplicate, unknown or many, and a cut at each field.
pub fn mutations(sample: &Sample) -> Vec<Mutation> {
    let mut mutations = Vec::new();
    for site in &sample.sites {
        let left = sample.bytes.len() - site.range.end;
        let at = site.range.start;
        if site.kind == SiteKind::Field {
            mutations.push(Mutation { what: format!("cut at {at}"), bytes: sample.bytes[..at].to_vec() });
            continue;
        }
        let mut replace = |what: &str, with: &[u8]| {
            let mut bytes = sample.bytes[..site.range.start].to_vec();
            bytes.extend_from_slice(with);
            bytes.extend_from_slice(&sample.bytes[site.range.end..]);
            mutations.push(Mutation { what: format!("{:?} at {at}: {what}", site.kind), bytes });
        };
        match site.kind {
            SiteKind::Field => {}
            SiteKind::Count { compact: false } | SiteKind::BytesLength { compact: false } => {
                let left = i32::try_from(left).unwrap_or(i32::MAX - 1);
                for value in [i32::MAX, i32::MIN, -2, -1, 0, left, left + 1, 1 << 24] {
                    replace(&value.to_string(), &value.to_be_bytes());
                }
            }
            SiteKind::StringLength { compact: false } => {
                let left = i16::try_from(left).unwrap_or(i16::MAX - 1);
                for value in [i16::MAX, i16::MIN, -2, -1, 0, left, left + 1] {
                    replace(&value.to_string(), &value.to_be_bytes());
                }
            }
            SiteKind::Count { .. }
            | SiteKind::BytesLength { .. }
            | SiteKind::StringLength { .. }
            | SiteKind::TagCount => {
                let left = u32::try_from(left).unwrap_or(u32::MAX - 2);
                for value in [u32::MAX, 1 << 31, (1 << 31) - 1, 1 << 24, 32769, 0, left, left + 1, left + 2] {
                    replace(&value.to_string(), &varint(value));
                }
                replace("an endless varint", &[0xff; 9]);
            }
            SiteKind::Text => {
                let mut text = sample.bytes[site.range.clone()].to_vec();
                text[0] = 0xff;
                replace("invalid UTF-8", &text);
            }
        }
        if site.kind == SiteKind::TagCount {
            let count = u32::from(sample.bytes[at]);
            let mut insert = |what: &str, tags: &[(u32, u8)]| {
                let mut with = varint(count + tags.len() as u32);
                for &(tag, size) in tags {
                    with.extend(varint(tag));
                    with.push(size);
                    with.extend((0..size).map(|byte| byte ^ 0xa5));
                }
                replace(what, &with);
            };
            insert("a duplicate unknown tag", &[(9000, 1), (9000, 0)]);
            insert("unordered unknown tags", &[(9001, 0), (9000, 3), (u32::MAX, 2)]);
            insert("2000 unknown tags", &(10_000..12_000).map(|tag| (tag, 0)).collect::<Vec<_>>());
            for tag in 0..3 {
                insert("a known tag with nothing in it", &[(tag, 0)]);
                insert("a known tag twice", &[(tag, 1), (tag, 1)]);
            }
        }
    }
    mutations
}

#[derive(Clone, Copy)]
enum Style {
    Mixed,
    Dense { count: usize, inner: usize, letters: usize },
}

fn generate(message: &Message, version: i16, style: Style, seed: u64) -> Sample {
    assert!(message.versions.contains(version), "{} has no version {version}", message.name);
    let mut generator = Generator {
        version,
        flexible: message.is_flexible(version),
        style,
        random: Random(seed),
        sample: Sample { bytes: Vec::new(), sites: Vec::new() },
    };
    generator.fields(message.fields(), 0);
    generator.sample
}

struct Generator {
    version: i16,
    flexible: bool,
    style: Style,
    random: Random,
    sample: Sample,
}

impl Generator {
    /// `depth` counts the arrays around.
    fn fields(&mut self, fields: &[Field], depth: usize) {
        for field in fields {
            if field.versions.contains(self.version) && field.tag_in(self.version).is_none() {
                self.field(field, depth, false);
            }
        }
        if self.flexible {
            self.tags(fields, depth);
        }
    }

    fn tags(&mut self, fields: &[Field], depth: usize) {
        let mut tagged: Vec<(u32, Option<&Field>)> = Vec::new();
        if matches!(self.style, Style::Mixed) {
            for field in fields {
                if let Some(tag) = field.tag_in(self.version)
                    && self.random.below(2) == 0
                {
                    tagged.push((tag, Some(field)));
                }
            }
            if self.random.below(4) == 0 {
                tagged.push((1000 + self.random.below(100_000) as u32, None));
            }
        }
        tagged.sort_by_key(|(tag, _)| *tag);
        self.length(SiteKind::TagCount, &varint(tagged.len() as u32));
        for (tag, field) in tagged {
            self.sample.bytes.extend(varint(tag));
            // The value is made apart, because its size comes first.
            let before = std::mem::replace(&mut self.sample, Sample { bytes: Vec::new(), sites: Vec::new() });
            match field {
                Some(field) => self.field(field, depth, true),
                None => self.content(5),
            }
            let value = std::mem::replace(&mut self.sample, before);
            self.sample.bytes.extend(varint(value.bytes.len() as u32));
            let start = self.sample.bytes.len();
            self.sample.bytes.extend(value.bytes);
            let moved = |site: Site| Site { range: site.range.start + start..site.range.end + start, ..site };
            self.sample.sites.extend(value.sites.into_iter().map(moved));
        }
    }

    /// A tagged field must differ from its default, or a decoder would leave it out when it writes it again.
    fn field(&mut self, field: &Field, depth: usize, tagged: bool) {
        let here = self.sample.bytes.len();
        self.sample.sites.push(Site { range: here..here, kind: SiteKind::Field });
        let compact = self.flexible && !field.inflexible;
        let dense = matches!(self.style, Style::Dense { .. });
        let null = field.is_nullable(self.version) && !tagged && !dense && self.random.below(5) == 0;
        if field.is_array {
            if null {
                return self.null_length(SiteKind::Count { compact }, compact, 4);
            }
            let count = match (self.style, depth) {
                (Style::Dense { count, .. }, 0) => count,
                (Style::Dense { inner, .. }, 1) => inner,
                (Style::Dense { .. }, _) => 0,
                (Style::Mixed, _) => self.random.below(4) + usize::from(tagged),
            };
            self.value_length(SiteKind::Count { compact }, compact, count, 4);
            for _ in 0..count {
                match field.kind {
                    Type::Struct => self.fields(&field.fields, depth + 1),
                    _ => self.value(field, compact, false, depth + 1),
                }
            }
        } else if field.kind == Type::Struct {
            if field.is_nullable(self.version) {
                self.sample.bytes.push(if null { 0xff } else { 1 });
            }
            if !null {
                self.fields(&field.fields, depth);
            }
        } else if null {
            let (kind, width) = match field.kind {
                Type::String => (SiteKind::StringLength { compact }, 2),
                _ => (SiteKind::BytesLength { compact }, 4),
            };
            self.null_length(kind, compact, width);
        } else {
            self.value(field, compact, tagged, depth);
        }
    }

    fn value(&mut self, field: &Field, compact: bool, tagged: bool, depth: usize) {
        let dense = matches!(self.style, Style::Dense { .. });
        match field.kind {
            Type::String => {
                let letters = match self.style {
                    Style::Dense { letters, .. } if depth <= 1 => letters,
                    Style::Dense { .. } => 0,
                    Style::Mixed => self.random.below(12) + usize::from(tagged),
                };
                let text: String = (0..letters).map(|_| self.random.letter()).collect();
                self.value_length(SiteKind::StringLength { compact }, compact, text.len(), 2);
                let start = self.sample.bytes.len();
                self.sample.bytes.extend(text.as_bytes());
                if !text.is_empty() {
                    self.sample.sites.push(Site { range: start..start + text.len(), kind: SiteKind::Text });
                }
            }
            Type::Bytes | Type::Records => {
                let bytes = if dense { 0 } else { self.random.below(24) + usize::from(tagged) };
                self.value_length(SiteKind::BytesLength { compact }, compact, bytes, 4);
                self.content(bytes);
            }
            Type::Bool => {
                let default = field.default == Some("true");
                let value = if tagged { !default } else { self.random.below(2) == 1 };
                self.sample.bytes.push(u8::from(value));
            }
            fixed => {
                let width = fixed.fixed_bytes().unwrap_or_default() as usize;
                let start = self.sample.bytes.len();
                if dense {
                    self.sample.bytes.resize(start + width, 0);
                    return;
                }
                self.content(width);
                // No default begins with this byte.
                if tagged {
                    self.sample.bytes[start] = 0x2a;
                }
            }
        }
    }

    fn content(&mut self, length: usize) {
        for _ in 0..length {
            let byte = self.random.next() as u8;
            self.sample.bytes.push(byte);
        }
    }

    fn null_length(&mut self, kind: SiteKind, compact: bool, width: usize) {
        self.length(kind, &if compact { vec![0] } else { vec![0xff; width] });
    }

    fn value_length(&mut self, kind: SiteKind, compact: bool, length: usize, width: usize) {
        let length = length as u32;
        let bytes = if compact { varint(length + 1) } else { length.to_be_bytes()[4 - width..].to_vec() };
        self.length(kind, &bytes);
    }

    fn length(&mut self, kind: SiteKind, bytes: &[u8]) {
        let start = self.sample.bytes.len();
        self.sample.bytes.extend_from_slice(bytes);
        self.sample.sites.push(Site { range: start..start + bytes.len(), kind });
    }
}

fn varint(mut value: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn letter(&mut self) -> char {
        const LETTERS: [char; 16] =
            ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', '0', '1', '-', '_', '.', 'ß', '€', '\u{1F980}'];
        LETTERS[self.below(LETTERS.len())]
    }
}
