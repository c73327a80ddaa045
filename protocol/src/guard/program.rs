//! One version of one message as a flat list of steps.
//!
//! Neighbouring fields of fixed size are one step, arrays of them are another, so a Produce request of one partition is
//! about ten steps. A step that encloses others (an array, a nullable struct, the tagged fields) is followed by them and
//! knows where they end.

use std::ops::Range;

use crate::schema::{Field, Message, Type};

/// Sizes of kafka-protocol's fields in memory. Its `StrBytes` and `Bytes` are four words, null or not.
const SLICE_BYTES: u32 = 32;
const VEC_BYTES: u32 = 24;
/// Every struct keeps its unknown tagged fields in a `BTreeMap`.
const MAP_BYTES: u32 = 24;
/// See [`element_memory`]; below 8, so that honest frames keep room for the rest of the request.
const NUMBER_FACTOR: u32 = 6;

/// One step of a walk.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// Fields of fixed size.
    Skip(u32),
    /// A string with a length of two bytes.
    String(Null),
    /// A string with a varint for its length plus one.
    CompactString(Null),
    /// Bytes or records with a length of four bytes.
    Bytes(Null),
    /// Bytes or records with a varint for their length plus one.
    CompactBytes(Null),
    /// An array. Its element's steps follow.
    Array(Array),
    /// A nullable struct whose steps follow, up to `end`.
    NullableStruct { end: u32 },
    /// Tagged fields. The steps of the known ones follow, up to `end`.
    Tags { known_from: u32, known_to: u32, end: u32 },
}

/// An array's step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Array {
    pub(super) null: Null,
    pub(super) compact: bool,
    /// Whether all elements take `element_wire` bytes and need no look.
    pub(super) fixed: bool,
    /// The least that an element takes on the wire.
    pub(super) element_wire: u32,
    /// What an element takes in memory.
    pub(super) element_memory: u32,
    /// Where its element's steps end.
    pub(super) end: u32,
}

/// Whether a length may say null.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Null {
    Allowed,
    Refused,
}

/// A tag that some version of a struct has.
#[derive(Clone, Debug)]
pub(super) struct KnownTag {
    pub(super) tag: u32,
    /// The value's steps; `None` if this version does not have the tag.
    pub(super) steps: Option<Range<usize>>,
}

/// A version's steps.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) steps: Box<[Step]>,
    pub(super) known_tags: Box<[KnownTag]>,
}

impl Program {
    /// Compiles one version of a message.
    pub(super) fn compile(message: &Message, version: i16) -> Self {
        let mut compiler = Compiler {
            version,
            flexible: message.is_flexible(version),
            fence: 0,
            steps: Vec::new(),
            known_tags: Vec::new(),
        };
        compiler.fields(message.fields());
        Self { steps: compiler.steps.into_boxed_slice(), known_tags: compiler.known_tags.into_boxed_slice() }
    }
}

struct Compiler {
    version: i16,
    flexible: bool,
    /// Steps before this one are not added to any more.
    fence: usize,
    steps: Vec<Step>,
    known_tags: Vec<KnownTag>,
}

impl Compiler {
    /// A message's or a struct's fields; returns the least that they take on the wire.
    fn fields(&mut self, fields: &[Field]) -> u32 {
        let mut wire = 0;
        for field in fields {
            if field.versions.contains(self.version) && field.tag_in(self.version).is_none() {
                wire += self.field(field);
            }
        }
        if self.flexible {
            wire += self.tags(fields);
        }
        wire
    }

    fn tags(&mut self, fields: &[Field]) -> u32 {
        let place = self.open();
        let mut known = Vec::new();
        for field in fields {
            let Some((tag, _)) = field.tag else { continue };
            let steps = field.tag_in(self.version).map(|_| {
                let from = self.fence();
                self.field(field);
                from..self.fence()
            });
            known.push(KnownTag { tag, steps });
        }
        let known_from = self.known_tags.len() as u32;
        self.known_tags.extend(known);
        let known_to = self.known_tags.len() as u32;
        self.steps[place] = Step::Tags { known_from, known_to, end: self.fence() as u32 };
        1
    }

    /// One field; returns the least that it takes on the wire.
    fn field(&mut self, field: &Field) -> u32 {
        let null = if field.is_nullable(self.version) { Null::Allowed } else { Null::Refused };
        let compact = self.flexible && !field.inflexible;
        if field.is_array {
            return self.array(field, null, compact);
        }
        match (field.kind, compact) {
            (Type::String, false) => self.push(Step::String(null), 2),
            (Type::String, true) => self.push(Step::CompactString(null), 1),
            (Type::Bytes | Type::Records, false) => self.push(Step::Bytes(null), 4),
            (Type::Bytes | Type::Records, true) => self.push(Step::CompactBytes(null), 1),
            (Type::Struct, _) if null == Null::Allowed => {
                let place = self.open();
                self.fields(&field.fields);
                self.steps[place] = Step::NullableStruct { end: self.fence() as u32 };
                1
            }
            (Type::Struct, _) => self.fields(&field.fields),
            (fixed, _) => self.skip(fixed.fixed_bytes().unwrap_or_default()),
        }
    }

    fn array(&mut self, field: &Field, null: Null, compact: bool) -> u32 {
        let place = self.open();
        let wire = match (field.kind, compact) {
            (Type::Struct, _) => self.fields(&field.fields),
            (Type::String, false) => self.push(Step::String(Null::Refused), 2),
            (Type::String, true) => self.push(Step::CompactString(Null::Refused), 1),
            (Type::Bytes | Type::Records, false) => self.push(Step::Bytes(Null::Refused), 4),
            (Type::Bytes | Type::Records, true) => self.push(Step::CompactBytes(Null::Refused), 1),
            (fixed, _) => self.skip(fixed.fixed_bytes().unwrap_or_default()),
        };
        debug_assert!(wire > 0, "elements of no bytes would make a count of any size honest: {}", field.name);
        self.steps[place] = Step::Array(Array {
            null,
            compact,
            fixed: matches!(self.steps[place + 1..], [Step::Skip(_)]),
            element_wire: wire,
            element_memory: element_memory(field),
            end: self.fence() as u32,
        });
        if compact { 1 } else { 4 }
    }

    /// Keeps a place for a step that encloses those that follow.
    fn open(&mut self) -> usize {
        self.steps.push(Step::Skip(0));
        self.fence() - 1
    }

    fn fence(&mut self) -> usize {
        self.fence = self.steps.len();
        self.fence
    }

    fn push(&mut self, step: Step, wire: u32) -> u32 {
        self.steps.push(step);
        wire
    }

    /// Joins neighbouring fixed fields, unless a part that is walked on its own begins or ends between them.
    fn skip(&mut self, bytes: u32) -> u32 {
        let steps = self.steps.len();
        match self.steps.last_mut() {
            Some(Step::Skip(before)) if self.fence < steps => *before += bytes,
            _ => self.steps.push(Step::Skip(bytes)),
        }
        bytes
    }
}

/// Memory of an element in a decoded array. Eight million partition numbers would decode to no more than their bytes, but
/// an answer has a row for each: numbers count as a good part of such a row, the most that leaves a frame full of them
/// within the limit.
fn element_memory(field: &Field) -> u32 {
    match field.kind {
        Type::Struct => struct_memory(&field.fields),
        Type::String | Type::Bytes | Type::Records => value_memory(field),
        fixed => NUMBER_FACTOR * fixed.fixed_bytes().unwrap_or_default(),
    }
}

/// The crate's structs have the fields of all versions at once, whatever version is decoded.
fn struct_memory(fields: &[Field]) -> u32 {
    let fields: u32 = fields.iter().map(|field| if field.is_array { VEC_BYTES } else { value_memory(field) }).sum();
    (MAP_BYTES + fields).next_multiple_of(8)
}

fn value_memory(field: &Field) -> u32 {
    match field.kind {
        Type::String | Type::Bytes | Type::Records => SLICE_BYTES,
        // A nullable struct may need a word to say that it is there.
        Type::Struct => struct_memory(&field.fields) + if field.nullable.is_some() { 8 } else { 0 },
        fixed => fixed.fixed_bytes().unwrap_or_default(),
    }
}
