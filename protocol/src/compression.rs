//! The codecs of record batches: gzip, snappy, lz4 and zstd, with bounded output.
//!
//! Decompression never trusts a declared size: memory grows with what is really produced and stops at the caller's
//! bound. Compression writes what Kafka writes: snappy in xerial's framing with blocks of 32 KiB, lz4 as a frame of
//! independent 64 KiB blocks without checksums (Java refuses dependent ones, so they are refused here, too).
//! Source: `org.apache.kafka.common.compress.*`, `org.xerial.snappy.Snappy{Input,Output}Stream`.

mod lz4_of_magic_0;

use std::io::{self, Read, Write};

use crate::bytes_at::i32_at;

const XERIAL_MAGIC: &[u8] = b"\x82SNAPPY\0";
/// Magic, version and lowest compatible version.
const XERIAL_HEADER_BYTES: usize = 16;
const XERIAL_BLOCK_BYTES: usize = 32 * 1024;
/// The densest snappy element makes 64 bytes out of 3; no honest block declares more.
const SNAPPY_RATIO_MAX: usize = 22;
const LZ4_MAGIC: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];
const LZ4_BLOCKS_ARE_INDEPENDENT: u8 = 1 << 5;
const LZ4_FAST: u32 = 0;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
/// zstd's own default limit, which Java's decoder has too: a window of 128 MiB.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;
/// How much output room is made at least before the next read.
const OUTPUT_STEP_BYTES: usize = 16 * 1024;

/// How the records of a batch are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Codec {
    /// Not at all.
    #[default]
    None,
    /// gzip.
    Gzip,
    /// snappy, in xerial's framing.
    Snappy,
    /// The lz4 frame format.
    Lz4,
    /// Zstandard.
    Zstd,
}

impl Codec {
    /// Every codec, in the order of their ids.
    pub const ALL: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

    /// The codec with this id in the attributes of a batch.
    pub fn from_id(id: u8) -> Option<Codec> {
        Codec::ALL.get(usize::from(id)).copied()
    }

    /// The codec that `compression.type` names so; `None` for unknown names and for `producer` and `uncompressed`,
    /// which name a policy.
    pub fn from_name(name: &str) -> Option<Codec> {
        Codec::ALL.into_iter().find(|codec| codec.name() == name)
    }

    /// The id in the attributes of a batch.
    pub fn id(self) -> u8 {
        self as u8
    }

    /// Kafka's name.
    pub fn name(self) -> &'static str {
        match self {
            Codec::None => "none",
            Codec::Gzip => "gzip",
            Codec::Snappy => "snappy",
            Codec::Lz4 => "lz4",
            Codec::Zstd => "zstd",
        }
    }
}

/// A compression level, as the `compression.<codec>.level` configs give it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Level(Option<i32>);

impl Level {
    /// Kafka's default: gzip -1 (zlib's 6), lz4 9 (the fast compressor, not the ninth of the slow ones), zstd 3.
    pub const DEFAULT: Level = Level(None);

    /// The level with this number in the codec's own counting.
    pub fn new(level: i32) -> Level {
        Level(Some(level))
    }

    /// Whether `codec` has such a level: gzip -1 and 1 to 9, lz4 1 to 17, zstd -131072 to 22; the others ignore it.
    pub fn is_valid_for(self, codec: Codec) -> bool {
        match (codec, self.0) {
            (Codec::None | Codec::Snappy, _) | (_, None) => true,
            (Codec::Gzip, Some(level)) => level == -1 || (1..=9).contains(&level),
            (Codec::Lz4, Some(level)) => (1..=17).contains(&level),
            (Codec::Zstd, Some(level)) => (-131_072..=22).contains(&level),
        }
    }
}

impl Default for Level {
    fn default() -> Level {
        Level::DEFAULT
    }
}

/// Why bytes could not be compressed or decompressed.
#[derive(Debug, thiserror::Error)]
pub enum CompressionError {
    /// The stream is broken, truncated or not of this codec.
    #[error("undecodable {} data: {reason}", codec.name())]
    Corrupt {
        /// The codec that was asked.
        codec: Codec,
        /// What it said.
        reason: String,
    },
    /// The stream holds more than the caller wants.
    #[error("{} data holds more than {max_output} bytes", codec.name())]
    TooLarge {
        /// The codec that was asked.
        codec: Codec,
        /// The caller's bound.
        max_output: usize,
    },
    /// The codec has no such level.
    #[error("{} has no compression level {level}", codec.name())]
    Level {
        /// The codec that was asked.
        codec: Codec,
        /// The level.
        level: i32,
    },
    /// The encoder failed; with memory as its output only for lack of memory.
    #[error("cannot compress with {}: {reason}", codec.name())]
    Encoder {
        /// The codec that was asked.
        codec: Codec,
        /// What it said.
        reason: String,
    },
}

/// Decompress `input` into a new buffer.
///
/// # Errors
/// [`CompressionError`]: `TooLarge` beyond `max_output` bytes, else the stream is broken.
pub fn decompress(codec: Codec, input: &[u8], max_output: usize) -> Result<Vec<u8>, CompressionError> {
    let mut output = Vec::new();
    decompress_into(codec, input, max_output, &mut output)?;
    Ok(output)
}

/// Decompress `input` into `output`, whose old content is dropped and whose room is used again. After an error
/// `output` holds what came before it.
///
/// # Errors
/// [`CompressionError`]: `TooLarge` beyond `max_output` bytes, else the stream is broken.
pub fn decompress_into(
    codec: Codec,
    input: &[u8],
    max_output: usize,
    output: &mut Vec<u8>,
) -> Result<(), CompressionError> {
    output.clear();
    match codec {
        Codec::None => {
            if input.len() > max_output {
                return Err(CompressionError::TooLarge { codec, max_output });
            }
            output.extend_from_slice(input);
            Ok(())
        }
        Codec::Gzip => gunzip(input, max_output, output),
        Codec::Snappy => unsnappy(input, max_output, output),
        Codec::Lz4 => unlz4(input, max_output, output),
        Codec::Zstd => unzstd(input, max_output, output),
    }
}

/// As [`decompress_into`] for the inside of a message set of magic 0, whose lz4 frames mostly carry a wrong header
/// checksum.
///
/// # Errors
/// [`CompressionError`], as there.
pub fn decompress_of_magic_0_into(
    codec: Codec,
    input: &[u8],
    max_output: usize,
    output: &mut Vec<u8>,
) -> Result<(), CompressionError> {
    if codec != Codec::Lz4 {
        return decompress_into(codec, input, max_output, output);
    }
    output.clear();
    lz4_of_magic_0::unlz4(input, max_output, output)
}

/// As [`compress`] at the default level for the inside of a message set of magic 0: lz4 frames get the header checksum
/// that the old clients expect.
///
/// # Errors
/// `Encoder` if the encoder fails.
pub fn compress_for_magic_0(codec: Codec, input: &[u8]) -> Result<Vec<u8>, CompressionError> {
    let mut output = compress(codec, Level::DEFAULT, input)?;
    if codec == Codec::Lz4 {
        lz4_of_magic_0::break_header_checksum(&mut output);
    }
    Ok(output)
}

/// Compress `input`.
///
/// # Errors
/// `Level` if the codec has no such level, `Encoder` if it fails.
pub fn compress(codec: Codec, level: Level, input: &[u8]) -> Result<Vec<u8>, CompressionError> {
    if let Level(Some(level)) = level
        && !Level::new(level).is_valid_for(codec)
    {
        return Err(CompressionError::Level { codec, level });
    }
    let encoder = |error: io::Error| CompressionError::Encoder { codec, reason: error.to_string() };
    match codec {
        Codec::None => Ok(input.to_vec()),
        Codec::Gzip => {
            let level = match level.0 {
                None | Some(-1) => flate2::Compression::default(),
                Some(level) => flate2::Compression::new(level as u32),
            };
            let mut gzip = flate2::write::GzEncoder::new(Vec::with_capacity(input.len() / 2), level);
            gzip.write_all(input).map_err(encoder)?;
            gzip.finish().map_err(encoder)
        }
        Codec::Snappy => snappy(input),
        Codec::Lz4 => {
            let level = match level.0 {
                // Kafka takes its own default of 9 for "the fast compressor".
                None | Some(9) => LZ4_FAST,
                Some(level) => level as u32,
            };
            let mut lz4 = lz4::EncoderBuilder::new()
                .level(level)
                .block_size(lz4::BlockSize::Max64KB)
                .block_mode(lz4::BlockMode::Independent)
                .checksum(lz4::ContentChecksum::NoChecksum)
                .block_checksum(lz4::liblz4::BlockChecksum::NoBlockChecksum)
                .build(Vec::with_capacity(input.len() / 2))
                .map_err(encoder)?;
            lz4.write_all(input).map_err(encoder)?;
            let (output, finished) = lz4.finish();
            finished.map_err(encoder)?;
            Ok(output)
        }
        Codec::Zstd => zstd::bulk::compress(input, level.0.unwrap_or(zstd::DEFAULT_COMPRESSION_LEVEL)).map_err(encoder),
    }
}

/// Read `source` to its end; the room grows with what comes, never with what is promised, and doubles at most.
fn read_bounded(
    codec: Codec,
    mut source: impl Read,
    max_output: usize,
    output: &mut Vec<u8>,
) -> Result<(), CompressionError> {
    let mut filled = output.len();
    let result = loop {
        if filled == output.len() {
            // One byte above the bound tells "exactly full" from "too large".
            let room = filled + OUTPUT_STEP_BYTES.max(filled);
            output.resize(room.min(max_output.saturating_add(1)), 0);
        }
        match source.read(output.get_mut(filled..).unwrap_or_default()) {
            Ok(0) => break Ok(()),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => break Err(corrupt(codec, &error)),
        }
        if filled > max_output {
            filled = max_output;
            break Err(CompressionError::TooLarge { codec, max_output });
        }
    };
    output.truncate(filled);
    result
}

fn corrupt(codec: Codec, error: &io::Error) -> CompressionError {
    CompressionError::Corrupt { codec, reason: error.to_string() }
}

/// Members one after the other are one stream, and what follows the last is ignored, as `GZIPInputStream` does.
fn gunzip(mut input: &[u8], max_output: usize, output: &mut Vec<u8>) -> Result<(), CompressionError> {
    loop {
        let mut member = flate2::bufread::GzDecoder::new(input);
        read_bounded(Codec::Gzip, &mut member, max_output, output)?;
        input = member.into_inner();
        if !input.starts_with(&GZIP_MAGIC) {
            return Ok(());
        }
    }
}

fn unlz4(input: &[u8], max_output: usize, output: &mut Vec<u8>) -> Result<(), CompressionError> {
    read_lz4_frame(input, &[], max_output, output)
}

/// Decompress a frame that comes in two pieces, the first of which holds its header.
fn read_lz4_frame(header: &[u8], rest: &[u8], max_output: usize, output: &mut Vec<u8>) -> Result<(), CompressionError> {
    let codec = Codec::Lz4;
    let broken = |reason: &str| CompressionError::Corrupt { codec, reason: reason.to_owned() };
    if !header.starts_with(&LZ4_MAGIC) {
        return Err(broken("no lz4 frame"));
    }
    let flags = header.get(4).copied().unwrap_or_default();
    if flags & LZ4_BLOCKS_ARE_INDEPENDENT == 0 {
        return Err(broken("Dependent block stream is unsupported"));
    }
    let mut frame = lz4::Decoder::new(header.chain(rest)).map_err(|error| corrupt(codec, &error))?;
    read_bounded(codec, &mut frame, max_output, output)?;
    frame.finish().1.map_err(|_| broken("the frame has no end"))
}

/// No frame at all is an empty stream, as for `ZstdInputStream`. zstd reserves the window that a frame declares, at
/// most [`ZSTD_WINDOW_LOG_MAX`], but touches only as much of it as it produces.
fn unzstd(input: &[u8], max_output: usize, output: &mut Vec<u8>) -> Result<(), CompressionError> {
    if input.is_empty() {
        return Ok(());
    }
    let mut frames = zstd::stream::read::Decoder::with_buffer(input).map_err(|error| corrupt(Codec::Zstd, &error))?;
    frames.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(|error| corrupt(Codec::Zstd, &error))?;
    read_bounded(Codec::Zstd, &mut frames, max_output, output)
}

fn snappy(input: &[u8]) -> Result<Vec<u8>, CompressionError> {
    let mut encoder = snap::raw::Encoder::new();
    let mut output = Vec::with_capacity(XERIAL_HEADER_BYTES + input.len() / 2);
    output.extend_from_slice(XERIAL_MAGIC);
    output.extend_from_slice(&1_i32.to_be_bytes());
    output.extend_from_slice(&1_i32.to_be_bytes());
    for block in input.chunks(XERIAL_BLOCK_BYTES) {
        let length_at = output.len();
        output.resize(length_at + 4 + snap::raw::max_compress_len(block.len()), 0);
        let (_, room) = output.split_at_mut(length_at + 4);
        let length = encoder
            .compress(block, room)
            .map_err(|error| CompressionError::Encoder { codec: Codec::Snappy, reason: error.to_string() })?;
        output[length_at..length_at + 4].copy_from_slice(&(length as i32).to_be_bytes());
        output.truncate(length_at + 4 + length);
    }
    Ok(output)
}

fn unsnappy(mut input: &[u8], max_output: usize, output: &mut Vec<u8>) -> Result<(), CompressionError> {
    if !input.starts_with(XERIAL_MAGIC) {
        return unsnappy_block(input, max_output, output);
    }
    let broken = |reason: &str| CompressionError::Corrupt { codec: Codec::Snappy, reason: reason.to_owned() };
    while !input.is_empty() {
        // A stream may be several streams one after the other, each with a header.
        if input.starts_with(XERIAL_MAGIC) {
            input = input.get(XERIAL_HEADER_BYTES..).ok_or_else(|| broken("the stream's header is cut off"))?;
            continue;
        }
        // Fewer bytes than a length end the stream, as in `SnappyInputStream.hasNextChunk`.
        let Some(length) = i32_at(input, 0) else { return Ok(()) };
        let length = usize::try_from(length).map_err(|_| broken("a block's length is negative"))?;
        let rest = input.get(4..).unwrap_or_default();
        let (block, rest) = rest.split_at_checked(length).ok_or_else(|| broken("a block is cut off"))?;
        unsnappy_block(block, max_output, output)?;
        input = rest;
    }
    Ok(())
}

fn unsnappy_block(block: &[u8], max_output: usize, output: &mut Vec<u8>) -> Result<(), CompressionError> {
    let codec = Codec::Snappy;
    let broken = |error: snap::Error| CompressionError::Corrupt { codec, reason: error.to_string() };
    let length = snap::raw::decompress_len(block).map_err(broken)?;
    let filled = output.len();
    if length > block.len().saturating_mul(SNAPPY_RATIO_MAX) {
        let reason = format!("a block of {} bytes declares {length}", block.len());
        return Err(CompressionError::Corrupt { codec, reason });
    }
    if length > max_output.saturating_sub(filled) {
        return Err(CompressionError::TooLarge { codec, max_output });
    }
    output.resize(filled + length, 0);
    let decompressed = snap::raw::Decoder::new().decompress(block, output.get_mut(filled..).unwrap_or_default());
    match decompressed {
        Ok(count) => {
            output.truncate(filled + count);
            Ok(())
        }
        Err(error) => {
            output.truncate(filled);
            Err(broken(error))
        }
    }
}

#[cfg(test)]
mod tests;
