//! The walk of a program over bytes. It allocates nothing and recurses no deeper than the message's structs are nested.

use super::program::{Array, KnownTag, Null, Program, Step};
use super::{GuardError, Measured};

/// What the decoder may allocate once, besides structs: the shared counter of the frame's buffer.
const DECODER_BYTES: usize = 64;
/// A `BTreeMap<i32, Bytes>` allocates a node for eleven with its first entry, and every node is at least about half full.
const FIRST_TAG_BYTES: usize = 416;
const NEXT_TAG_BYTES: usize = 100;
/// Kafka's readers refuse longer strings, also where the length is a varint.
const STRING_BYTES_MAX: usize = i16::MAX as usize;
/// A tagged field has a tag and a size.
const TAGGED_FIELD_BYTES_MIN: usize = 2;

/// Walks a program over `bytes`, letting the decoder allocate up to `limit`.
pub(super) fn measure(program: &Program, bytes: &[u8], limit: usize) -> Result<Measured, GuardError> {
    let mut walk = Walk { program, bytes, at: 0, decoded: DECODER_BYTES, limit };
    walk.steps(0, program.steps.len())?;
    Ok(Measured { body_bytes: walk.at, decoded_bytes: walk.decoded })
}

struct Walk<'a> {
    program: &'a Program,
    bytes: &'a [u8],
    /// Never beyond the end of `bytes`.
    at: usize,
    decoded: usize,
    limit: usize,
}

impl<'a> Walk<'a> {
    fn steps(&mut self, from: usize, to: usize) -> Result<(), GuardError> {
        let program = self.program;
        let mut next = from;
        while next < to {
            let step = program.steps[next];
            next += 1;
            match step {
                Step::Skip(bytes) => self.skip(bytes as usize)?,
                Step::String(null) => {
                    let at = self.at;
                    let length = i16::from_be_bytes(self.fixed()?);
                    if let Some(length) = signed(at, i32::from(length), null)? {
                        self.string(at, length)?;
                    }
                }
                Step::CompactString(null) => {
                    let at = self.at;
                    if let Some(length) = self.compact(null)? {
                        self.string(at, length)?;
                    }
                }
                Step::Bytes(null) => {
                    let at = self.at;
                    let length = i32::from_be_bytes(self.fixed()?);
                    if let Some(length) = signed(at, length, null)? {
                        self.skip(length)?;
                    }
                }
                Step::CompactBytes(null) => {
                    if let Some(length) = self.compact(null)? {
                        self.skip(length)?;
                    }
                }
                Step::Array(array) => {
                    self.array(array, next)?;
                    next = array.end as usize;
                }
                Step::NullableStruct { end } => {
                    let at = self.at;
                    match i8::from_be_bytes(self.fixed()?) {
                        1 => {}
                        -1 => next = end as usize,
                        byte => return Err(GuardError::InvalidPresence { at, byte }),
                    }
                }
                Step::Tags { known_from, known_to, end } => {
                    self.tags(&program.known_tags[known_from as usize..known_to as usize])?;
                    next = end as usize;
                }
            }
        }
        Ok(())
    }

    fn array(&mut self, array: Array, element: usize) -> Result<(), GuardError> {
        let at = self.at;
        let count = if array.compact {
            self.compact(array.null)?
        } else {
            let count = i32::from_be_bytes(self.fixed()?);
            signed(at, count, array.null)?
        };
        let Some(count) = count else { return Ok(()) };
        // Counts are below 2^32 and elements small: no product here overflows 64 bits.
        let wire = count as u64 * u64::from(array.element_wire);
        if wire > self.left() as u64 {
            return Err(GuardError::TooManyElements { at, count, left: self.left() });
        }
        self.charge(count.saturating_mul(array.element_memory as usize))?;
        if array.fixed {
            return self.skip(wire as usize);
        }
        for _ in 0..count {
            self.steps(element, array.end as usize)?;
        }
        Ok(())
    }

    fn tags(&mut self, known: &'a [KnownTag]) -> Result<(), GuardError> {
        let at = self.at;
        let count = self.varint()? as usize;
        if count == 0 {
            return Ok(());
        }
        if count > self.left() / TAGGED_FIELD_BYTES_MIN {
            return Err(GuardError::TooManyElements { at, count, left: self.left() });
        }
        let mut unknown_before = false;
        for _ in 0..count {
            let at = self.at;
            let tag = self.varint()?;
            let size = self.varint()? as usize;
            match known.iter().find(|known| known.tag == tag) {
                // The size counts nothing here: Kafka and the crate read the value as its type says.
                Some(KnownTag { steps: Some(steps), .. }) => self.steps(steps.start, steps.end)?,
                Some(KnownTag { steps: None, .. }) => return Err(GuardError::TagNotValid { at, tag }),
                None => {
                    self.charge(if unknown_before { NEXT_TAG_BYTES } else { FIRST_TAG_BYTES })?;
                    unknown_before = true;
                    self.skip(size)?;
                }
            }
        }
        Ok(())
    }

    fn string(&mut self, at: usize, length: usize) -> Result<(), GuardError> {
        if length > STRING_BYTES_MAX {
            return Err(GuardError::StringTooLong { at, length });
        }
        match std::str::from_utf8(self.take(length)?) {
            Ok(_) => Ok(()),
            Err(_) => Err(GuardError::InvalidUtf8 { at }),
        }
    }

    fn charge(&mut self, memory: usize) -> Result<(), GuardError> {
        self.decoded = self.decoded.saturating_add(memory);
        if self.decoded > self.limit {
            return Err(GuardError::DecodedTooLarge { decoded: self.decoded, limit: self.limit });
        }
        Ok(())
    }

    /// A varint that holds a length plus one, zero being null.
    #[inline]
    fn compact(&mut self, null: Null) -> Result<Option<usize>, GuardError> {
        let at = self.at;
        match (self.varint()?, null) {
            (0, Null::Allowed) => Ok(None),
            (0, Null::Refused) => Err(GuardError::NullNotAllowed { at }),
            (plus_one, _) => Ok(Some(plus_one as usize - 1)),
        }
    }

    #[inline]
    fn varint(&mut self) -> Result<u32, GuardError> {
        match self.bytes.get(self.at) {
            Some(&byte) if byte < 0x80 => {
                self.at += 1;
                Ok(u32::from(byte))
            }
            _ => self.long_varint(),
        }
    }

    /// Bits beyond the 32nd are dropped, as Kafka and the crate do.
    fn long_varint(&mut self) -> Result<u32, GuardError> {
        let at = self.at;
        let mut value = 0;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.fixed()?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(GuardError::VarintTooLong { at })
    }

    #[inline]
    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], GuardError> {
        match self.bytes.get(self.at..).and_then(<[u8]>::first_chunk) {
            Some(bytes) => {
                self.at += N;
                Ok(*bytes)
            }
            None => Err(self.truncated(N)),
        }
    }

    #[inline]
    fn take(&mut self, length: usize) -> Result<&'a [u8], GuardError> {
        match self.bytes.get(self.at..).and_then(|left| left.get(..length)) {
            Some(bytes) => {
                self.at += length;
                Ok(bytes)
            }
            None => Err(self.truncated(length)),
        }
    }

    #[inline]
    fn skip(&mut self, length: usize) -> Result<(), GuardError> {
        self.take(length).map(|_| ())
    }

    fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    #[cold]
    fn truncated(&self, needed: usize) -> GuardError {
        GuardError::Truncated { at: self.at, needed, left: self.left() }
    }
}

/// A signed length, -1 being null.
#[inline]
fn signed(at: usize, length: i32, null: Null) -> Result<Option<usize>, GuardError> {
    match usize::try_from(length) {
        Ok(length) => Ok(Some(length)),
        Err(_) if length != -1 => Err(GuardError::NegativeLength { at, length }),
        Err(_) if null == Null::Refused => Err(GuardError::NullNotAllowed { at }),
        Err(_) => Ok(None),
    }
}
