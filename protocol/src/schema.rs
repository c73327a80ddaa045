//! What Kafka's messages look like, version by version: the table that `cargo xtask schema` makes from Kafka's jars.
//!
//! The table (`schema/table.txt`) holds every request, response, header, metadata record and coordinator record of
//! Apache Kafka 4.3.1, and of the clients' messages also the versions that 4.0 removed (from 3.9.1). It is text, read
//! lazily: the heads of all messages at the first question, a message's fields when that message is first used.
//!
//! ```text
//! ProduceRequest request key=0 versions=0-13 current=3-13 flexible=9+    name, kind, then attributes
//!   TransactionalId string 3+ nullable=3+ default=null                   name, type, versions, attributes
//!   TopicData []TopicProduceData 0+                                      a struct's fields follow, deeper by two
//!     Name string 0-12 entity=topicName ignorable
//! ```
//!
//! `versions` are all that this table knows, `current` those that 4.3.1 itself serves, where they differ. A range is
//! `3`, `3-5` or `3+` (to the newest). `tag=0@12+` is a tagged field. A default is only written where it is not the
//! zero of its type. `inflexible` keeps the old encoding in flexible versions.
//!
//! Absent on purpose: encoding and decoding. The table's users walk it: [`crate::guard`], samples for tests.

use std::sync::OnceLock;

#[cfg(feature = "sample")]
pub mod sample;

const TABLE: &str = include_str!("schema/table.txt");

/// First and last version, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    /// The first version.
    pub first: i16,
    /// The last version.
    pub last: i16,
}

impl Versions {
    /// Whether a version lies within.
    pub const fn contains(self, version: i16) -> bool {
        self.first <= version && version <= self.last
    }

    /// Every version, in order.
    pub fn iter(self) -> impl Iterator<Item = i16> {
        self.first..=self.last
    }

    /// Parses `3`, `3-5` and `3+`, the last of which ends at `newest`.
    fn parse(text: &str, newest: i16) -> Self {
        let number = |digits: &str| digits.parse().unwrap_or_else(|_| panic!("schema table: versions {text:?}"));
        if let Some(first) = text.strip_suffix('+') {
            Self { first: number(first), last: newest }
        } else if let Some((first, last)) = text.split_once('-') {
            Self { first: number(first), last: number(last) }
        } else {
            Self { first: number(text), last: number(text) }
        }
    }
}

/// What a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A request's body.
    Request,
    /// A response's body.
    Response,
    /// The header before one of them.
    Header,
    /// Bytes inside other messages, files or control records: subscriptions, assignments, snapshots' headers.
    Data,
    /// A record of the metadata log.
    Metadata,
    /// The key of a record in `__consumer_offsets`, `__transaction_state` or `__share_group_state`.
    CoordinatorKey,
    /// The value of such a record.
    CoordinatorValue,
}

/// One message in all its versions.
#[derive(Debug)]
pub struct Message {
    /// Kafka's name: `ProduceRequest`, `PartitionRecord`, `OffsetCommitValue`.
    pub name: &'static str,
    /// What it is for.
    pub kind: Kind,
    /// The API key, or a record's type; `None` for headers and data.
    pub key: Option<i16>,
    /// All versions in the table.
    pub versions: Versions,
    /// Those that Kafka 4.3.1 serves.
    pub current_versions: Versions,
    /// Those with compact lengths and tagged fields.
    pub flexible: Option<Versions>,
    /// Whether the newest version is not yet final.
    pub latest_unstable: bool,
    /// Place in [`messages`].
    pub(crate) index: usize,
    text: &'static str,
    fields: OnceLock<Box<[Field]>>,
}

impl Message {
    /// The fields of all versions, in wire order.
    pub fn fields(&self) -> &[Field] {
        self.fields.get_or_init(|| parse_fields(&mut self.text.lines().peekable(), 2, self.versions.last))
    }

    /// Whether a version has compact lengths and tagged fields.
    pub fn is_flexible(&self, version: i16) -> bool {
        self.flexible.is_some_and(|flexible| flexible.contains(version))
    }
}

/// The type of a field, or of the elements of an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// One byte, false if zero.
    Bool,
    /// A signed byte.
    Int8,
    /// Two bytes.
    Int16,
    /// Two bytes without a sign.
    Uint16,
    /// Four bytes.
    Int32,
    /// Four bytes without a sign.
    Uint32,
    /// Eight bytes.
    Int64,
    /// Eight bytes, IEEE 754.
    Float64,
    /// Sixteen bytes.
    Uuid,
    /// A length and UTF-8.
    String,
    /// A length and bytes.
    Bytes,
    /// Like bytes, holding record batches.
    Records,
    /// Fields of its own, see [`Field::fields`].
    Struct,
}

impl Type {
    /// How many bytes a value takes on the wire, if that is the same for all values.
    pub const fn fixed_bytes(self) -> Option<u32> {
        match self {
            Self::Bool | Self::Int8 => Some(1),
            Self::Int16 | Self::Uint16 => Some(2),
            Self::Int32 | Self::Uint32 => Some(4),
            Self::Int64 | Self::Float64 => Some(8),
            Self::Uuid => Some(16),
            Self::String | Self::Bytes | Self::Records | Self::Struct => None,
        }
    }
}

/// One field of a message or of a struct inside it.
#[derive(Debug)]
pub struct Field {
    /// Kafka's name: `TopicData`.
    pub name: &'static str,
    /// The type of the value, or of an array's elements.
    pub kind: Type,
    /// Whether it is an array.
    pub is_array: bool,
    /// The struct's name, for [`Type::Struct`].
    pub struct_name: Option<&'static str>,
    /// The versions that have the field.
    pub versions: Versions,
    /// The versions in which it may be null.
    pub nullable: Option<Versions>,
    /// Its tag, and the versions in which it is a tagged field.
    pub tag: Option<(u32, Versions)>,
    /// The default, where it is not the zero of the type.
    pub default: Option<&'static str>,
    /// What the value means: `topicName`, `brokerId`.
    pub entity: Option<&'static str>,
    /// Whether a set value may be dropped when a version has no place for it.
    pub ignorable: bool,
    /// Whether flexible versions keep the old encoding.
    pub inflexible: bool,
    /// The struct's fields, for [`Type::Struct`].
    pub fields: Box<[Field]>,
}

impl Field {
    /// Whether null is a legal value in a version.
    pub fn is_nullable(&self, version: i16) -> bool {
        self.nullable.is_some_and(|versions| versions.contains(version))
    }

    /// The tag, if the field is a tagged one in this version.
    pub fn tag_in(&self, version: i16) -> Option<u32> {
        self.tag.filter(|(_, versions)| versions.contains(version)).map(|(tag, _)| tag)
    }
}

/// All messages, in the table's order.
pub fn messages() -> &'static [Message] {
    &index().messages
}

/// The request with an API key.
pub fn request(api_key: i16) -> Option<&'static Message> {
    let index = index();
    by_key(index, &index.requests, api_key)
}

/// The response with an API key.
pub fn response(api_key: i16) -> Option<&'static Message> {
    let index = index();
    by_key(index, &index.responses, api_key)
}

/// A message by name; a search through the heads of all.
pub fn named(name: &str) -> Option<&'static Message> {
    messages().iter().find(|message| message.name == name)
}

/// The version of the header before a request: 2 with tagged fields, 1 without.
pub fn request_header_version(api_key: i16, version: i16) -> Option<i16> {
    Some(if request(api_key)?.is_flexible(version) { 2 } else { 1 })
}

/// The version of the header before a response: 1 with tagged fields, 0 without. ApiVersions is always 0, because its
/// reader does not know yet what the other side speaks.
pub fn response_header_version(api_key: i16, version: i16) -> Option<i16> {
    const API_VERSIONS: i16 = 18;
    Some(i16::from(api_key != API_VERSIONS && response(api_key)?.is_flexible(version)))
}

struct Index {
    messages: Box<[Message]>,
    /// By API key, the place in `messages`.
    requests: Box<[Option<usize>]>,
    responses: Box<[Option<usize>]>,
}

fn by_key(index: &'static Index, places: &[Option<usize>], api_key: i16) -> Option<&'static Message> {
    let place = (*places.get(usize::try_from(api_key).ok()?)?)?;
    index.messages.get(place)
}

fn index() -> &'static Index {
    static INDEX: OnceLock<Index> = OnceLock::new();
    INDEX.get_or_init(|| {
        let messages: Box<[Message]> = TABLE
            .split("\n\n")
            .skip(1) // the table's own comment
            .enumerate()
            .map(|(index, text)| parse_message(text, index))
            .collect();
        let places = |kind: Kind| -> Box<[Option<usize>]> {
            let of_kind = || messages.iter().filter(|message| message.kind == kind);
            let keys = of_kind().filter_map(|message| message.key).max().map_or(0, |key| key + 1);
            (0..keys).map(|key| of_kind().find(|message| message.key == Some(key)).map(|found| found.index)).collect()
        };
        Index { requests: places(Kind::Request), responses: places(Kind::Response), messages }
    })
}

fn parse_message(text: &'static str, index: usize) -> Message {
    let (head, fields) = text.split_once('\n').unwrap_or((text, ""));
    let mut words = head.split(' ');
    let name = words.next().unwrap_or_default();
    let kind = match words.next() {
        Some("request") => Kind::Request,
        Some("response") => Kind::Response,
        Some("header") => Kind::Header,
        Some("data") => Kind::Data,
        Some("metadata") => Kind::Metadata,
        Some("coordinator-key") => Kind::CoordinatorKey,
        Some("coordinator-value") => Kind::CoordinatorValue,
        other => panic!("schema table: {name} has the kind {other:?}"),
    };
    let mut attributes = Attributes::default();
    for word in words {
        attributes.read(word);
    }
    let versions = Versions::parse(attributes.versions.expect("schema table: a message has versions"), i16::MAX);
    Message {
        name,
        kind,
        key: attributes.key.map(|key| key.parse().expect("schema table: a key is a number")),
        versions,
        current_versions: attributes.current.map_or(versions, |range| Versions::parse(range, versions.last)),
        flexible: attributes.flexible.map(|range| Versions::parse(range, versions.last)),
        latest_unstable: attributes.unstable,
        index,
        text: fields,
        fields: OnceLock::new(),
    }
}

/// The words after a head's or a field's fixed ones.
#[derive(Default)]
struct Attributes {
    key: Option<&'static str>,
    versions: Option<&'static str>,
    current: Option<&'static str>,
    flexible: Option<&'static str>,
    nullable: Option<&'static str>,
    tag: Option<&'static str>,
    default: Option<&'static str>,
    entity: Option<&'static str>,
    unstable: bool,
    ignorable: bool,
    inflexible: bool,
}

impl Attributes {
    fn read(&mut self, word: &'static str) {
        match word.split_once('=') {
            Some(("key", value)) => self.key = Some(value),
            Some(("versions", value)) => self.versions = Some(value),
            Some(("current", value)) => self.current = Some(value),
            Some(("flexible", value)) => self.flexible = Some(value),
            Some(("nullable", value)) => self.nullable = Some(value),
            Some(("tag", value)) => self.tag = Some(value),
            Some(("default", value)) => self.default = Some(value),
            Some(("entity", value)) => self.entity = Some(value),
            None if word == "unstable" => self.unstable = true,
            None if word == "ignorable" => self.ignorable = true,
            None if word == "inflexible" => self.inflexible = true,
            _ => panic!("schema table: unknown attribute {word:?}"),
        }
    }
}

type Lines = std::iter::Peekable<std::str::Lines<'static>>;

/// Reads lines for as long as they are indented by `indent` or more.
fn parse_fields(lines: &mut Lines, indent: usize, newest: i16) -> Box<[Field]> {
    let mut fields = Vec::new();
    while let Some(line) = lines.next_if(|line| line.len() - line.trim_start().len() >= indent) {
        let children = parse_fields(lines, indent + 2, newest);
        fields.push(parse_field(line.trim_start(), children, newest));
    }
    fields.into_boxed_slice()
}

fn parse_field(line: &'static str, fields: Box<[Field]>, newest: i16) -> Field {
    let mut words = line.split(' ');
    let name = words.next().unwrap_or_default();
    let type_name = words.next().unwrap_or_default();
    let versions = words.next().unwrap_or_default();
    let (is_array, element) = match type_name.strip_prefix("[]") {
        Some(element) => (true, element),
        None => (false, type_name),
    };
    let mut attributes = Attributes::default();
    for word in words {
        attributes.read(word);
    }
    let kind = match element {
        "bool" => Type::Bool,
        "int8" => Type::Int8,
        "int16" => Type::Int16,
        "uint16" => Type::Uint16,
        "int32" => Type::Int32,
        "uint32" => Type::Uint32,
        "int64" => Type::Int64,
        "float64" => Type::Float64,
        "uuid" => Type::Uuid,
        "string" => Type::String,
        "bytes" => Type::Bytes,
        "records" => Type::Records,
        _ => Type::Struct,
    };
    assert!(kind == Type::Struct || fields.is_empty(), "schema table: {name} is no struct but has fields");
    let tag = attributes.tag.map(|text| {
        let (tag, range) = text.split_once('@').expect("schema table: a tag has versions");
        (tag.parse().expect("schema table: a tag is a number"), Versions::parse(range, newest))
    });
    Field {
        name,
        kind,
        is_array,
        struct_name: (kind == Type::Struct).then_some(element),
        versions: Versions::parse(versions, newest),
        nullable: attributes.nullable.map(|range| Versions::parse(range, newest)),
        tag,
        default: attributes.default,
        entity: attributes.entity,
        ignorable: attributes.ignorable,
        inflexible: attributes.inflexible,
        fields,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_table_parses_and_every_line_is_in_it() {
        fn count(fields: &[Field]) -> usize {
            fields.iter().map(|field| 1 + count(&field.fields)).sum()
        }
        let parsed: usize = messages().iter().map(|message| 1 + count(message.fields())).sum();
        let lines = TABLE.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).count();
        assert_eq!(parsed, lines);
    }

    #[test]
    fn requests_and_responses_have_the_same_versions() {
        for request in messages().iter().filter(|message| message.kind == Kind::Request) {
            let response = response(request.key.unwrap()).unwrap();
            assert_eq!(request.versions, response.versions, "{}", request.name);
        }
    }

    #[test]
    fn old_versions_lie_below_the_current_ones() {
        let produce = request(0).unwrap();
        assert_eq!(produce.versions, Versions { first: 0, last: 13 });
        assert_eq!(produce.current_versions, Versions { first: 3, last: 13 });
        assert!(request(4).is_none(), "LeaderAndIsr went with ZooKeeper");
        assert!(request(-1).is_none());
        assert!(request(i16::MAX).is_none());
    }

    #[test]
    fn header_versions_follow_flexibility_except_for_api_versions() {
        assert_eq!(request_header_version(0, 8), Some(1));
        assert_eq!(request_header_version(0, 9), Some(2));
        assert_eq!(response_header_version(0, 9), Some(1));
        assert_eq!(request_header_version(18, 3), Some(2));
        assert_eq!(response_header_version(18, 3), Some(0));
    }

    #[test]
    fn coordinator_and_metadata_records_are_there() {
        assert_eq!(named("OffsetCommitValue").unwrap().kind, Kind::CoordinatorValue);
        assert_eq!(named("PartitionRecord").unwrap().key, Some(3));
        assert_eq!(named("ProducerSnapshot").unwrap().kind, Kind::Data);
        assert_eq!(named("TransactionLogValue").unwrap().versions.last, 1);
    }
}
