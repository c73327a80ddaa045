//! Message sets (magic 0 and 1), as producers wrote them before Kafka 0.11 and as old consumers read them: built
//! field by field, so that a scenario can get any field wrong, and described.
//!
//! Written here and not taken from the broker's own code: a test must not share the mistake it looks for.

use std::io::{Read, Write};

use bytes::{Buf, BufMut, Bytes};
use flate2::{Compression, Crc, read::GzDecoder, write::GzEncoder};
use serde_json::{Value, json};

use super::records;

/// How the value of a wrapper message is compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Codec {
    Gzip,
    /// As librdkafka and sarama write it.
    SnappyRaw,
    /// In blocks with xerial's header, as Java writes it.
    SnappyXerial,
    Lz4,
    /// With the header checksum over the magic number too, as every client before 0.10 wrote it.
    Lz4OldChecksum,
}

impl Codec {
    pub(crate) const ALL: [(&'static str, Self); 5] = [
        ("gzip", Self::Gzip),
        ("snappy-raw", Self::SnappyRaw),
        ("snappy-xerial", Self::SnappyXerial),
        ("lz4", Self::Lz4),
        ("lz4-old-checksum", Self::Lz4OldChecksum),
    ];

    fn attribute(self) -> i8 {
        match self {
            Self::Gzip => 1,
            Self::SnappyRaw | Self::SnappyXerial => 2,
            Self::Lz4 | Self::Lz4OldChecksum => 3,
        }
    }

    pub(crate) fn compress(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
                encoder.write_all(bytes).expect("memory takes all");
                encoder.finish().expect("memory takes all")
            }
            Self::SnappyRaw => snap::raw::Encoder::new().compress_vec(bytes).expect("small enough for snappy"),
            Self::SnappyXerial => {
                let mut framed = XERIAL.to_vec();
                for block in bytes.chunks(32 << 10) {
                    let block = Self::SnappyRaw.compress(block);
                    framed.put_i32(block.len() as i32);
                    framed.put_slice(&block);
                }
                framed
            }
            Self::Lz4 => lz4_frame(bytes, 4),
            Self::Lz4OldChecksum => lz4_frame(bytes, 0),
        }
    }
}

/// xerial's magic, version 1, compatible with version 1.
const XERIAL: &[u8] = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01";
const LZ4_MAGIC: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];

/// One message to be. `new` makes a valid one; fields may be set to anything afterwards.
#[derive(Clone)]
pub(crate) struct Message {
    pub(crate) offset: i64,
    pub(crate) magic: i8,
    pub(crate) attributes: i8,
    /// Magic 1 only.
    pub(crate) timestamp: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    /// Added to the right checksum.
    pub(crate) crc_error: u32,
    /// Added to the right size.
    pub(crate) size_error: i32,
}

impl Message {
    pub(crate) fn new(magic: i8, timestamp: i64, value: &str) -> Self {
        Self {
            offset: 0,
            magic,
            attributes: 0,
            timestamp,
            key: None,
            value: Some(value.as_bytes().to_vec()),
            crc_error: 0,
            size_error: 0,
        }
    }

    pub(crate) fn keyed(mut self, key: &str) -> Self {
        self.key = Some(key.as_bytes().to_vec());
        self
    }

    /// The same message, changed.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut checked = Vec::new();
        checked.put_i8(self.magic);
        checked.put_i8(self.attributes);
        if self.magic > 0 {
            checked.put_i64(self.timestamp);
        }
        for field in [&self.key, &self.value] {
            checked.put_i32(field.as_ref().map_or(-1, |bytes| bytes.len() as i32));
            checked.put_slice(field.as_deref().unwrap_or_default());
        }
        let mut message = Vec::new();
        message.put_i64(self.offset);
        message.put_i32(checked.len() as i32 + 4 + self.size_error);
        message.put_u32(crc32(&checked).wrapping_add(self.crc_error));
        message.put_slice(&checked);
        message
    }
}

/// Valid messages with these values, a millisecond apart, at offsets from 0 on.
pub(crate) fn messages(magic: i8, timestamp: i64, values: &[&str]) -> Vec<Message> {
    let number = |(index, value): (usize, &&str)| {
        Message::new(magic, timestamp + index as i64, value).with(|message| message.offset = index as i64)
    };
    values.iter().enumerate().map(number).collect()
}

/// The bytes of a set.
pub(crate) fn encode(messages: &[Message]) -> Bytes {
    messages.iter().flat_map(Message::encode).collect()
}

/// A message around `inner`. A producer numbers the inner ones from 0 and, from magic 1 on, the outer one like the last;
/// its time is the latest of them.
pub(crate) fn wrap(magic: i8, codec: Codec, inner: &[Message]) -> Message {
    wrap_bytes(magic, codec.attribute(), &codec.compress(&encode(inner))).with(|wrapper| {
        wrapper.offset = if magic > 0 { inner.len() as i64 - 1 } else { 0 };
        wrapper.timestamp = inner.iter().map(|message| message.timestamp).max().unwrap_or(-1);
    })
}

/// A message of this codec around any bytes.
pub(crate) fn wrap_bytes(magic: i8, codec: i8, value: &[u8]) -> Message {
    Message::new(magic, -1, "").with(|message| {
        message.attributes = codec;
        message.value = Some(value.to_vec());
    })
}

/// What stands in the records of an old answer: messages or batches, and how many bytes stand behind the last whole one.
pub(crate) fn describe(bytes: &Bytes) -> Value {
    let mut rest = bytes.clone();
    let mut messages = Vec::new();
    while let Some(message) = describe_one(&mut rest) {
        messages.push(message);
    }
    json!({"messages": messages, "rest_bytes": rest.len()})
}

fn describe_one(rest: &mut Bytes) -> Option<Value> {
    if *rest.get(16)? > 1 {
        return records::describe_batch(rest);
    }
    let size = usize::try_from(rest.slice(8..12).get_i32()).ok()?;
    let mut message = (rest.len() >= 12 + size).then(|| rest.split_to(12 + size))?;
    let offset = message.get_i64();
    message.advance(4);
    let crc = message.get_u32();
    let crc_is_right = crc == crc32(&message);
    let magic = message.get_i8();
    let attributes = message.get_i8();
    let timestamp = if magic > 0 { message.try_get_i64().ok()? } else { -1 };
    let key = field(&mut message)?;
    let value = field(&mut message)?;
    let mut described = json!({
        "offset": offset, "magic": magic, "attributes": attributes, "crc_is_right": crc_is_right,
        "timestamp": timestamp, "key": records::lossy(key.as_deref()),
    });
    let codec = attributes & 7;
    if codec == 0 {
        described["value"] = records::lossy(value.as_deref());
    } else {
        // Two implementations of one codec need not make the same bytes.
        let value = value.unwrap_or_default();
        described["inner"] = match decompress(codec, &value) {
            Ok(inner) => describe(&inner.into()),
            Err(reason) => json!(reason),
        };
        if codec == 3 {
            described["lz4 header checksum"] = json!(lz4_checksum(&value));
        }
    }
    if !message.is_empty() {
        described["bytes behind the value"] = json!(message.len());
    }
    Some(described)
}

/// Bytes or null.
type Field = Option<Bytes>;

fn field(bytes: &mut Bytes) -> Option<Field> {
    let length = bytes.try_get_i32().ok()?;
    match usize::try_from(length) {
        Err(_) => Some(None),
        Ok(length) => (bytes.len() >= length).then(|| Some(bytes.split_to(length))),
    }
}

fn decompress(codec: i8, bytes: &[u8]) -> Result<Vec<u8>, String> {
    match codec {
        1 => {
            let mut inner = Vec::new();
            GzDecoder::new(bytes).read_to_end(&mut inner).map_err(|error| error.to_string())?;
            Ok(inner)
        }
        2 => {
            let mut blocks = bytes.strip_prefix(XERIAL).ok_or("no xerial header")?;
            let mut inner = Vec::new();
            while !blocks.is_empty() {
                let length = blocks.try_get_i32().map_err(|error| error.to_string())? as usize;
                let block = blocks.get(..length).ok_or("a block is cut")?;
                inner.extend(snap::raw::Decoder::new().decompress_vec(block).map_err(|error| error.to_string())?);
                blocks.advance(length);
            }
            Ok(inner)
        }
        3 => lz4_inside(bytes),
        other => Err(format!("codec {other}")),
    }
}

/// One block in a frame; the header checksum covers what stands from `checksum_from` on (4: behind the magic number).
fn lz4_frame(bytes: &[u8], checksum_from: usize) -> Vec<u8> {
    let mut frame = LZ4_MAGIC.to_vec();
    // Version 1, independent blocks; blocks of 64 KiB.
    frame.put_slice(&[0x60, 0x40]);
    let checksum = (xxh32(&frame[checksum_from..]) >> 8) as u8;
    frame.put_u8(checksum);
    for block in bytes.chunks(64 << 10) {
        let block = lz4::block::compress(block, None, false).expect("memory takes all");
        frame.put_u32_le(block.len() as u32);
        frame.put_slice(&block);
    }
    frame.put_u32_le(0);
    frame
}

fn lz4_inside(frame: &[u8]) -> Result<Vec<u8>, String> {
    let mut rest = frame.strip_prefix(&LZ4_MAGIC).ok_or("no lz4 frame")?;
    let [flags, _, _, ..] = *rest else { return Err("a cut header".to_owned()) };
    if flags & 0b1_1101 != 0 {
        return Err(format!("flags {flags:#x} that this reader does not know"));
    }
    rest.advance(3);
    let mut inner = Vec::new();
    loop {
        let word = rest.try_get_u32_le().map_err(|error| error.to_string())?;
        if word == 0 {
            break;
        }
        let length = (word & 0x7fff_ffff) as usize;
        let block = rest.get(..length).ok_or("a block is cut")?;
        if word >> 31 == 1 {
            inner.extend_from_slice(block);
        } else {
            inner.extend(lz4::block::decompress(block, Some(4 << 20)).map_err(|error| error.to_string())?);
        }
        rest.advance(length);
    }
    Ok(inner)
}

fn lz4_checksum(frame: &[u8]) -> &'static str {
    let Some((header, &[checksum])) = frame.get(..7).map(|start| start.split_at(6)) else { return "cut" };
    let sum = |bytes: &[u8]| (xxh32(bytes) >> 8) as u8;
    match checksum {
        right if right == sum(&header[4..]) => "right",
        old if old == sum(header) => "over the magic number, too",
        _ => "wrong",
    }
}

/// xxHash of fewer than 16 bytes, which is all that a frame's header has.
fn xxh32(bytes: &[u8]) -> u32 {
    const PRIMES: [u32; 5] = [2_654_435_761, 2_246_822_519, 3_266_489_917, 668_265_263, 374_761_393];
    let mut hash = PRIMES[4].wrapping_add(bytes.len() as u32);
    let mut words = bytes.chunks_exact(4);
    for mut word in &mut words {
        hash = hash.wrapping_add(word.get_u32_le().wrapping_mul(PRIMES[2]));
        hash = hash.rotate_left(17).wrapping_mul(PRIMES[3]);
    }
    for &byte in words.remainder() {
        hash = hash.wrapping_add(u32::from(byte).wrapping_mul(PRIMES[4]));
        hash = hash.rotate_left(11).wrapping_mul(PRIMES[0]);
    }
    hash = (hash ^ (hash >> 15)).wrapping_mul(PRIMES[1]);
    hash = (hash ^ (hash >> 13)).wrapping_mul(PRIMES[2]);
    hash ^ (hash >> 16)
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_a_header_as_the_lz4_format_says() {
        // The header of a frame that `lz4` writes: version 1, independent blocks, content checksum, 4 MiB blocks.
        assert_eq!((xxh32(&[0x64, 0x70]) >> 8) as u8, 0xb9);
        assert_eq!(xxh32(b""), 0x02cc_5d05);
    }

    #[test]
    fn describes_a_set_within_a_message_of_every_codec() {
        for (name, codec) in Codec::ALL {
            let inner = messages(1, 1000, &["a", "b"]);
            let described = describe(&wrap(1, codec, &inner).encode().into());
            assert_eq!(described["rest_bytes"], 0, "{name}");
            let wrapper = &described["messages"][0];
            assert_eq!((&wrapper["offset"], &wrapper["timestamp"]), (&json!(1), &json!(1001)), "{name}");
            if codec == Codec::SnappyRaw {
                assert_eq!(wrapper["inner"], "no xerial header");
            } else {
                assert_eq!(wrapper["inner"]["messages"][1]["value"], "b", "{name}: {wrapper}");
            }
        }
    }

    #[test]
    fn names_what_is_left_of_a_cut_set() {
        let set = encode(&messages(0, 0, &["a", "b"]));
        let described = describe(&set.slice(..set.len() - 1));
        assert_eq!(described["messages"].as_array().unwrap().len(), 1);
        assert_eq!(described["rest_bytes"], set.len() / 2 - 1);
    }
}
