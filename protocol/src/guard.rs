//! The guard before the decoder: no frame, whatever it declares, makes us allocate much more than it weighs.
//!
//! kafka-protocol's decoder allocates what the wire's counts say before it looks at what follows; a Metadata request of
//! four bytes asks for 154 GB and ends the process. So the schema's table is walked over every body first, without
//! allocating: each length and count must fit into the bytes that follow, and the memory that the crate's structs will
//! take is added up and bounded by [`decoded_limit`]: 8 times the frame, at most 32 MiB. Small frames may always take
//! 256 KiB.
//!
//! The crate's structs are fat: a topic in a Metadata request takes 72 bytes. A request is refused although honest only
//! if it names more than 227 topics of less than seven letters on average in a version without topic ids. Strings, bytes
//! and records count nothing, because the decoder slices them out of the frame, provided that it reads from
//! [`bytes::Bytes`] or `BytesMut`: never hand it a `&[u8]`.
//!
//! What is refused is what Kafka's own generated readers refuse (`MessageDataGenerator`): missing bytes, null where it
//! is not allowed, varints of more than five bytes, strings above 32767 bytes, a known tag in a version that does not
//! have it. Invalid UTF-8, lengths below -1 and odd presence bytes are refused too, because the crate refuses them
//! where Kafka replaces the characters or reads null. Like Kafka we accept duplicate and unordered tags, any unknown
//! tag, sizes of known tags that are wrong, and bytes after a complete body.
//!
//! Each version of each message is compiled to a short flat program when first seen (`program`).
//!
//! Absent on purpose: decoding, and any judgement about values. Records are checked by whoever reads them.

mod program;
mod walk;

use std::sync::OnceLock;

use crate::schema::{self, Message};
use program::Program;

/// A frame may decode to this many times its size.
const DECODED_PER_BYTE: usize = 8;
/// A small frame may decode to this many bytes, however small it is.
const DECODED_AT_LEAST: usize = 256 * 1024;
/// No frame may decode to more than this.
const DECODED_AT_MOST: usize = 32 * 1024 * 1024;

/// Why bytes are not handed to the decoder. Kafka closes the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GuardError {
    /// No such message, or none in this version.
    #[error("no schema for key {key} in version {version}")]
    UnknownVersion {
        /// The API key, or -1 for messages without one.
        key: i16,
        /// The version asked for.
        version: i16,
    },
    /// A value or a declared length reaches beyond the end.
    #[error("{needed} bytes needed at byte {at}, {left} left")]
    Truncated {
        /// Offset in the body.
        at: usize,
        /// Bytes that the value takes.
        needed: usize,
        /// Bytes that are there.
        left: usize,
    },
    /// More elements declared than the rest of the body can hold.
    #[error("{count} elements declared at byte {at}, {left} bytes left")]
    TooManyElements {
        /// Offset in the body.
        at: usize,
        /// The declared count.
        count: usize,
        /// Bytes that are there.
        left: usize,
    },
    /// A length or count below -1.
    #[error("negative length {length} at byte {at}")]
    NegativeLength {
        /// Offset in the body.
        at: usize,
        /// The declared length.
        length: i32,
    },
    /// Null where the version does not allow it.
    #[error("null at byte {at} in a field that is not nullable")]
    NullNotAllowed {
        /// Offset in the body.
        at: usize,
    },
    /// The byte before a nullable struct is neither 1 nor -1.
    #[error("presence byte {byte} at byte {at}")]
    InvalidPresence {
        /// Offset in the body.
        at: usize,
        /// The byte.
        byte: i8,
    },
    /// A string of more than 32767 bytes.
    #[error("string of {length} bytes at byte {at}")]
    StringTooLong {
        /// Offset in the body.
        at: usize,
        /// The declared length.
        length: usize,
    },
    /// A string that is not UTF-8.
    #[error("invalid UTF-8 in the string at byte {at}")]
    InvalidUtf8 {
        /// Offset in the body.
        at: usize,
    },
    /// A varint of more than five bytes.
    #[error("varint of more than five bytes at byte {at}")]
    VarintTooLong {
        /// Offset in the body.
        at: usize,
    },
    /// A tag that other versions of the message have.
    #[error("tag {tag} at byte {at} is not valid for this version")]
    TagNotValid {
        /// Offset in the body.
        at: usize,
        /// The tag.
        tag: u32,
    },
    /// Decoding would take too much memory.
    #[error("decoding would take {decoded} bytes, {limit} allowed")]
    DecodedTooLarge {
        /// What had been added up when the limit was passed.
        decoded: usize,
        /// See [`decoded_limit`].
        limit: usize,
    },
}

/// What a body was found to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measured {
    /// Bytes that belong to the message; what follows is ignored, as in Kafka.
    pub body_bytes: usize,
    /// Upper estimate of the heap that decoding takes, besides the frame itself.
    pub decoded_bytes: usize,
}

/// The memory that a body of `body_bytes` may take when decoded, besides strings and bytes, which stay in the frame.
pub const fn decoded_limit(body_bytes: usize) -> usize {
    let scaled = body_bytes.saturating_mul(DECODED_PER_BYTE);
    if scaled < DECODED_AT_LEAST {
        DECODED_AT_LEAST
    } else if scaled > DECODED_AT_MOST {
        DECODED_AT_MOST
    } else {
        scaled
    }
}

/// Checks a request's body, what follows its header, before it is decoded.
pub fn check(api_key: i16, api_version: i16, body: &[u8]) -> Result<(), GuardError> {
    measure(api_key, api_version, body).map(|_| ())
}

/// Like [`check`], and says what was found.
pub fn measure(api_key: i16, api_version: i16, body: &[u8]) -> Result<Measured, GuardError> {
    measure_message(schema::request(api_key), api_key, api_version, body)
}

/// Checks a response's body, what follows its header: the answers of other brokers.
pub fn check_response(api_key: i16, api_version: i16, body: &[u8]) -> Result<(), GuardError> {
    measure_message(schema::response(api_key), api_key, api_version, body).map(|_| ())
}

/// Checks the header at the start of a request and returns its length, where the body begins.
///
/// See [`schema::request_header_version`].
pub fn check_header(header_version: i16, request: &[u8]) -> Result<usize, GuardError> {
    static HEADER: OnceLock<Option<&'static Message>> = OnceLock::new();
    let header = *HEADER.get_or_init(|| schema::named("RequestHeader"));
    measure_message(header, NO_KEY, header_version, request).map(|measured| measured.body_bytes)
}

/// Checks the header at the start of a response and returns its length.
///
/// See [`schema::response_header_version`].
pub fn check_response_header(header_version: i16, response: &[u8]) -> Result<usize, GuardError> {
    static HEADER: OnceLock<Option<&'static Message>> = OnceLock::new();
    let header = *HEADER.get_or_init(|| schema::named("ResponseHeader"));
    measure_message(header, NO_KEY, header_version, response).map(|measured| measured.body_bytes)
}

/// Checks any other message by its name: `ConsumerProtocolSubscription` and its like, which clients send as bytes.
pub fn check_named(name: &str, version: i16, bytes: &[u8]) -> Result<(), GuardError> {
    measure_message(schema::named(name), NO_KEY, version, bytes).map(|_| ())
}

const NO_KEY: i16 = -1;

fn measure_message(
    message: Option<&'static Message>,
    key: i16,
    version: i16,
    bytes: &[u8],
) -> Result<Measured, GuardError> {
    match message.and_then(|message| compiled(message, version)) {
        Some(program) => walk::measure(program, bytes, decoded_limit(bytes.len())),
        None => Err(GuardError::UnknownVersion { key, version }),
    }
}

/// The program of a message's version, compiled at its first use.
fn compiled(message: &'static Message, version: i16) -> Option<&'static Program> {
    /// A message's programs, the first for its first version.
    type Versions = Box<[OnceLock<Program>]>;
    static PROGRAMS: OnceLock<Box<[Versions]>> = OnceLock::new();
    if !message.versions.contains(version) {
        return None;
    }
    let programs = PROGRAMS.get_or_init(|| {
        let slots = |message: &Message| message.versions.iter().map(|_| OnceLock::new()).collect();
        schema::messages().iter().map(slots).collect()
    });
    let place = usize::try_from(version - message.versions.first).ok()?;
    let program = programs.get(message.index)?.get(place)?;
    Some(program.get_or_init(|| Program::compile(message, version)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_eight_times_the_frame_between_its_floor_and_its_ceiling() {
        assert_eq!(decoded_limit(0), 256 * 1024);
        assert_eq!(decoded_limit(100_000), 800_000);
        assert_eq!(decoded_limit(100 * 1024 * 1024), 32 * 1024 * 1024);
        assert_eq!(decoded_limit(usize::MAX), 32 * 1024 * 1024);
    }

    #[test]
    fn four_bytes_cannot_ask_for_all_memory() {
        let error = check(3, 0, &i32::MAX.to_be_bytes()).unwrap_err();
        assert_eq!(error, GuardError::TooManyElements { at: 0, count: i32::MAX as usize, left: 0 });
    }

    #[test]
    fn unknown_versions_have_no_schema() {
        assert_eq!(check(3, 99, &[]), Err(GuardError::UnknownVersion { key: 3, version: 99 }));
        assert_eq!(check(-7, 0, &[]), Err(GuardError::UnknownVersion { key: -7, version: 0 }));
    }

    #[test]
    fn the_header_ends_where_its_tagged_fields_end() {
        let header = [0, 18, 0, 4, 0, 0, 0, 1, 0, 1, b'x', 1, 9, 2, 0xaa, 0xbb];
        let with_body = [&header[..], &[1, 2, 3]].concat();
        assert_eq!(check_header(2, &with_body), Ok(header.len()));
        assert_eq!(check_header(1, &with_body), Ok(11));
        assert!(check_header(2, &header[..15]).is_err());
        assert_eq!(check_response_header(1, &[0, 0, 0, 1, 0, 7]), Ok(5));
        assert_eq!(check_response_header(0, &[0, 0, 0, 1, 0, 7]), Ok(4));
    }

    #[test]
    fn duplicate_and_unknown_tags_pass_and_misplaced_ones_do_not() {
        // ConsumerGroupDescribe v0: no groups, no authorized operations, then tagged fields.
        check(69, 0, &[1, 0, 3, 9, 1, 0, 9, 0, 5, 1, 0]).unwrap();
        // Fetch v12 knows tag 0; tag 1 (the replica's state) belongs to v15 and later.
        let mut fetch = vec![0; 4 + 4 + 4 + 4 + 1 + 4 + 4];
        fetch.extend([1, 1, 1]);
        let tagged = |tags: &[u8]| [&fetch, tags].concat();
        check(1, 12, &tagged(&[1, 0, 2, 2, b'c'])).unwrap();
        let error = check(1, 12, &tagged(&[1, 1, 1, 0])).unwrap_err();
        assert_eq!(error, GuardError::TagNotValid { at: fetch.len() + 1, tag: 1 });
    }

    #[test]
    fn a_subscription_inside_a_join_group_is_checked_by_name() {
        assert!(check_named("ConsumerProtocolSubscription", 0, &[0x7f, 0xff, 0xff, 0xff]).is_err());
        check_named("ConsumerProtocolSubscription", 0, &[0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]).unwrap();
    }
}
