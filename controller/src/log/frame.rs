//! One frame of the metadata log, as bytes.
//!
//! ```text
//! magic u8 · kind u8 · body length u32 · synced u64 · crc32c u32 · body          (big endian)
//! ```
//!
//! The checksum covers the number of the file and the position of the frame too: a frame is valid at the place it was written for, nowhere else.
//! `synced` says how many bytes of this file were durable before this frame was written. So recovery can tell a torn tail from a broken middle: if a valid
//! frame behind a broken one says that the broken place had been durable, acknowledged bytes are lost, and that is never cut away in silence.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use uuid::Uuid;

use crate::node::NodeId;

const MAGIC: u8 = 0xD7;
/// Bytes of a frame in front of its body.
pub(crate) const FRAME_HEADER_BYTES: usize = 18;
/// No body is larger; a larger length is a sign of damage. Entries are bounded far below by the writer.
pub(crate) const FRAME_BODY_BYTES_MAX: usize = 64 << 20;
/// Version of the files, in the first frame of each.
const FORMAT_VERSION: u16 = 1;

/// Position of an entry in the history of the quorum; ordered by term, then index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LogId {
    pub(crate) term: u64,
    pub(crate) index: u64,
}

/// The highest vote a node gave; committed once a quorum granted it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Vote {
    pub(crate) term: u64,
    pub(crate) node: NodeId,
    pub(crate) committed: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Payload {
    /// The first entry of a leader's term.
    Blank,
    /// Encoded metadata records.
    Records(Bytes),
    /// An encoded membership of the quorum.
    Membership(Bytes),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) id: LogId,
    pub(crate) payload: Payload,
}

/// What the log knows besides its entries; repeated at the head of every segment, so that older segments can go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Marks {
    pub(crate) vote: Option<Vote>,
    /// A hint: everything up to here is committed. Written after the fact and not synced for its own sake.
    pub(crate) committed: Option<LogId>,
    /// Everything up to here, inclusive, is in a snapshot and gone from the log.
    pub(crate) purged: Option<LogId>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Frame {
    /// First frame of a segment.
    Segment(Marks),
    Vote(Vote),
    Entry(Entry),
    /// Every entry behind this one is withdrawn; `None` withdraws all.
    Truncate(Option<LogId>),
    /// Every entry up to this one, inclusive, is dropped.
    Purge(LogId),
    Committed(Option<LogId>),
    /// The log was closed in order.
    Closed,
    /// First frame of a snapshot: the last entry in it, the membership as of then and its place, the offset of the image.
    SnapshotHead {
        last: LogId,
        membership: Bytes,
        membership_at: Option<LogId>,
        offset: i64,
    },
    SnapshotRecords(Bytes),
    /// Last frame of a snapshot, with the number of frames before it.
    SnapshotEnd(u64),
}

impl Frame {
    fn kind(&self) -> u8 {
        match self {
            Self::Segment(_) => 1,
            Self::Vote(_) => 2,
            Self::Entry(Entry { payload: Payload::Blank, .. }) => 3,
            Self::Entry(Entry { payload: Payload::Records(_), .. }) => 4,
            Self::Entry(Entry { payload: Payload::Membership(_), .. }) => 5,
            Self::Truncate(_) => 6,
            Self::Purge(_) => 7,
            Self::Committed(_) => 8,
            Self::Closed => 9,
            Self::SnapshotHead { .. } => 32,
            Self::SnapshotRecords(_) => 33,
            Self::SnapshotEnd(_) => 34,
        }
    }

    /// Appends this frame to `buffer`, whose first byte will stand at `base` of file number `file`.
    pub(crate) fn encode(&self, file: u64, base: u64, synced: u64, buffer: &mut BytesMut) {
        let start = buffer.len();
        buffer.put_u8(MAGIC);
        buffer.put_u8(self.kind());
        buffer.put_u32(0);
        buffer.put_u64(synced);
        buffer.put_u32(0);
        self.encode_body(buffer);
        let body_len = buffer.len() - start - FRAME_HEADER_BYTES;
        assert!(body_len <= FRAME_BODY_BYTES_MAX, "a frame of {body_len} bytes cannot be read back");
        buffer[start + 2..start + 6].copy_from_slice(&(body_len as u32).to_be_bytes());
        let crc =
            checksum(file, base + start as u64, &buffer[start..start + 14], &buffer[start + FRAME_HEADER_BYTES..]);
        buffer[start + 14..start + FRAME_HEADER_BYTES].copy_from_slice(&crc.to_be_bytes());
    }

    fn encode_body(&self, buffer: &mut BytesMut) {
        match self {
            Self::Segment(marks) => {
                buffer.put_u16(FORMAT_VERSION);
                put_option(buffer, marks.vote.as_ref(), put_vote);
                put_option(buffer, marks.committed.as_ref(), put_id);
                put_option(buffer, marks.purged.as_ref(), put_id);
            }
            Self::Vote(vote) => put_vote(buffer, vote),
            Self::Entry(entry) => {
                put_id(buffer, &entry.id);
                match &entry.payload {
                    Payload::Blank => {}
                    Payload::Records(bytes) | Payload::Membership(bytes) => buffer.put_slice(bytes),
                }
            }
            Self::Truncate(id) | Self::Committed(id) => put_option(buffer, id.as_ref(), put_id),
            Self::Purge(id) => put_id(buffer, id),
            Self::Closed => {}
            Self::SnapshotHead { last, membership, membership_at, offset } => {
                buffer.put_u16(FORMAT_VERSION);
                put_id(buffer, last);
                buffer.put_i64(*offset);
                put_option(buffer, membership_at.as_ref(), put_id);
                buffer.put_slice(membership);
            }
            Self::SnapshotRecords(bytes) => buffer.put_slice(bytes),
            Self::SnapshotEnd(frames) => buffer.put_u64(*frames),
        }
    }

    fn decode_body(kind: u8, mut body: Bytes) -> Option<Self> {
        let body = &mut body;
        let frame = match kind {
            1 => {
                if body.try_get_u16().ok()? != FORMAT_VERSION {
                    return None;
                }
                Self::Segment(Marks {
                    vote: get_option(body, get_vote)?,
                    committed: get_option(body, get_id)?,
                    purged: get_option(body, get_id)?,
                })
            }
            2 => Self::Vote(get_vote(body)?),
            3 => Self::Entry(Entry { id: get_id(body)?, payload: Payload::Blank }),
            4 => Self::Entry(Entry { id: get_id(body)?, payload: Payload::Records(rest(body)) }),
            5 => Self::Entry(Entry { id: get_id(body)?, payload: Payload::Membership(rest(body)) }),
            6 => Self::Truncate(get_option(body, get_id)?),
            7 => Self::Purge(get_id(body)?),
            8 => Self::Committed(get_option(body, get_id)?),
            9 => Self::Closed,
            32 => {
                if body.try_get_u16().ok()? != FORMAT_VERSION {
                    return None;
                }
                let last = get_id(body)?;
                let offset = body.try_get_i64().ok()?;
                let membership_at = get_option(body, get_id)?;
                Self::SnapshotHead { last, membership: rest(body), membership_at, offset }
            }
            33 => Self::SnapshotRecords(rest(body)),
            34 => Self::SnapshotEnd(body.try_get_u64().ok()?),
            _ => return None,
        };
        body.is_empty().then_some(frame)
    }
}

/// A valid frame found in a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) frame: Frame,
    /// Bytes of this file that were durable before this frame was written.
    pub(crate) synced: u64,
    /// Position behind the frame.
    pub(crate) end: usize,
}

/// The frame at `position` of file number `file`, if a whole and undamaged one stands there.
pub(crate) fn decode(file: u64, bytes: &Bytes, position: usize) -> Option<Found> {
    let header = bytes.get(position..position.checked_add(FRAME_HEADER_BYTES)?)?;
    let (mut fields, body_start) = (header, position + FRAME_HEADER_BYTES);
    if fields.get_u8() != MAGIC {
        return None;
    }
    let kind = fields.get_u8();
    let body_len = fields.get_u32() as usize;
    let synced = fields.get_u64();
    let crc = fields.get_u32();
    if body_len > FRAME_BODY_BYTES_MAX {
        return None;
    }
    let end = body_start + body_len;
    let body = bytes.get(body_start..end)?;
    if checksum(file, position as u64, &header[..14], body) != crc {
        return None;
    }
    Some(Found { frame: Frame::decode_body(kind, bytes.slice(body_start..end))?, synced, end })
}

/// Whether a frame behind `position` proves that the byte at `position` had been durable.
pub(crate) fn was_durable(file: u64, bytes: &Bytes, position: usize) -> bool {
    let candidates = bytes.iter().enumerate().skip(position + 1).filter(|(_, byte)| **byte == MAGIC);
    candidates.filter_map(|(at, _)| decode(file, bytes, at)).any(|found| found.synced > position as u64)
}

fn checksum(file: u64, position: u64, header: &[u8], body: &[u8]) -> u32 {
    let crc = crc32c::crc32c(&file.to_be_bytes());
    let crc = crc32c::crc32c_append(crc, &position.to_be_bytes());
    crc32c::crc32c_append(crc32c::crc32c_append(crc, header), body)
}

/// Makes the checksums of the frames in a file right, as far as they follow each other.
#[cfg(feature = "fuzzing")]
pub(crate) fn fix_checksums(file: u64, bytes: &mut [u8]) {
    let mut position = 0;
    while let Some(header) = bytes.get(position..).and_then(|rest| rest.first_chunk::<FRAME_HEADER_BYTES>()) {
        let header = *header;
        let body_len = u32::from_be_bytes([header[2], header[3], header[4], header[5]]) as usize;
        let body_start = position + FRAME_HEADER_BYTES;
        let Some(body) = bytes.get(body_start..body_start.saturating_add(body_len)) else { return };
        let crc = checksum(file, position as u64, &header[..14], body);
        bytes[position + 14..body_start].copy_from_slice(&crc.to_be_bytes());
        position = body_start + body_len;
    }
}

fn put_option<T>(buffer: &mut BytesMut, value: Option<&T>, put: fn(&mut BytesMut, &T)) {
    buffer.put_u8(u8::from(value.is_some()));
    if let Some(value) = value {
        put(buffer, value);
    }
}

fn put_id(buffer: &mut BytesMut, id: &LogId) {
    buffer.put_u64(id.term);
    buffer.put_u64(id.index);
}

fn put_vote(buffer: &mut BytesMut, vote: &Vote) {
    buffer.put_u64(vote.term);
    buffer.put_i32(vote.node.id);
    buffer.put_slice(vote.node.directory_id.as_bytes());
    buffer.put_u8(u8::from(vote.committed));
}

#[expect(clippy::option_option, reason = "the outer one says whether the bytes can be read at all")]
fn get_option<T>(body: &mut Bytes, get: fn(&mut Bytes) -> Option<T>) -> Option<Option<T>> {
    match body.try_get_u8().ok()? {
        0 => Some(None),
        1 => get(body).map(Some),
        _ => None,
    }
}

fn get_id(body: &mut Bytes) -> Option<LogId> {
    Some(LogId { term: body.try_get_u64().ok()?, index: body.try_get_u64().ok()? })
}

fn get_vote(body: &mut Bytes) -> Option<Vote> {
    let term = body.try_get_u64().ok()?;
    let id = body.try_get_i32().ok()?;
    let mut directory_id = [0; 16];
    body.try_copy_to_slice(&mut directory_id).ok()?;
    let committed = match body.try_get_u8().ok()? {
        0 => false,
        1 => true,
        _ => return None,
    };
    Some(Vote { term, node: NodeId { id, directory_id: Uuid::from_bytes(directory_id) }, committed })
}

fn rest(body: &mut Bytes) -> Bytes {
    body.split_to(body.len())
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes() -> impl Strategy<Value = Bytes> {
        proptest::collection::vec(any::<u8>(), 0..200).prop_map(Bytes::from)
    }

    fn id() -> impl Strategy<Value = LogId> {
        (0..9_u64, 0..99_u64).prop_map(|(term, index)| LogId { term, index })
    }

    fn vote() -> impl Strategy<Value = Vote> {
        (any::<u64>(), any::<i32>(), any::<u128>(), any::<bool>()).prop_map(|(term, id, directory, committed)| Vote {
            term,
            node: NodeId { id, directory_id: Uuid::from_u128(directory) },
            committed,
        })
    }

    fn marks() -> impl Strategy<Value = Marks> {
        use proptest::option::of;
        (of(vote()), of(id()), of(id())).prop_map(|(vote, committed, purged)| Marks { vote, committed, purged })
    }

    fn frame() -> impl Strategy<Value = Frame> {
        let payload = prop_oneof![
            Just(Payload::Blank),
            bytes().prop_map(Payload::Records),
            bytes().prop_map(Payload::Membership)
        ];
        prop_oneof![
            marks().prop_map(Frame::Segment),
            vote().prop_map(Frame::Vote),
            (id(), payload).prop_map(|(id, payload)| Frame::Entry(Entry { id, payload })),
            proptest::option::of(id()).prop_map(Frame::Truncate),
            id().prop_map(Frame::Purge),
            proptest::option::of(id()).prop_map(Frame::Committed),
            Just(Frame::Closed),
            (id(), bytes(), proptest::option::of(id()), any::<i64>()).prop_map(
                |(last, membership, membership_at, offset)| Frame::SnapshotHead {
                    last,
                    membership,
                    membership_at,
                    offset
                }
            ),
            bytes().prop_map(Frame::SnapshotRecords),
            any::<u64>().prop_map(Frame::SnapshotEnd),
        ]
    }

    proptest! {
        #[test]
        fn a_frame_reads_back_what_was_written(frame in frame(), file: u64, base in 0..1000_usize, synced: u64) {
            let mut buffer = BytesMut::zeroed(base);
            frame.encode(file, 0, synced, &mut buffer);
            let bytes = buffer.freeze();
            let end = bytes.len();
            prop_assert_eq!(decode(file, &bytes, base), Some(Found { frame, synced, end }));
        }

        #[test]
        fn a_damaged_or_moved_frame_is_not_a_frame(frame in frame(), file: u64, flipped: prop::sample::Index, bit in 0..8_u8) {
            let mut buffer = BytesMut::new();
            frame.encode(file, 0, 0, &mut buffer);
            let mut damaged = buffer.clone();
            let at = flipped.index(damaged.len());
            damaged[at] ^= 1 << bit;
            prop_assert_eq!(decode(file, &damaged.freeze(), 0), None);
            let whole = buffer.freeze();
            prop_assert_eq!(decode(file.wrapping_add(1), &whole, 0), None);
            let moved: Bytes = [&[0_u8][..], &whole].concat().into();
            prop_assert_eq!(decode(file, &moved, 1), None);
            prop_assert_eq!(decode(file, &whole.slice(..whole.len() - 1), 0), None);
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), position in 0..500_usize) {
            let mut bytes = bytes;
            if let Some(first) = bytes.get_mut(position) {
                *first = MAGIC;
            }
            let bytes = Bytes::from(bytes);
            let _ = decode(0, &bytes, position);
            let _ = was_durable(0, &bytes, position);
        }
    }
}
