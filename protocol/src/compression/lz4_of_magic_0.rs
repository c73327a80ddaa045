//! lz4 as message sets of magic 0 have it: the frame header's checksum also covers the frame's magic number.
//!
//! The first Kafka clients computed it so, and readers of magic 0 have to take it as it is ever since: such frames are
//! read whatever checksum they carry and written with the wrong one. From magic 1 on the checksum is lz4's own.
//! Source: `Lz4BlockOutputStream.writeHeader`, `Lz4BlockInputStream.readHeader`, KAFKA-3160.

use super::{CompressionError, LZ4_MAGIC, read_lz4_frame};

/// Flags and block descriptor stand behind the magic number.
const FLAGS_AT: usize = 4;
const CONTENT_SIZE_AT: usize = 6;
const CONTENT_SIZE_BYTES: usize = 8;
const FLAG_CONTENT_SIZE: u8 = 1 << 3;
/// Magic number, flags, block descriptor, content size, checksum.
const HEADER_BYTES_MAX: usize = CONTENT_SIZE_AT + CONTENT_SIZE_BYTES + 1;

/// Decompress a frame without regard to its header's checksum.
pub(super) fn unlz4(input: &[u8], max_output: usize, output: &mut Vec<u8>) -> Result<(), CompressionError> {
    let has_content_size = input.get(FLAGS_AT).is_some_and(|flags| flags & FLAG_CONTENT_SIZE != 0);
    let checksum_at = if has_content_size { CONTENT_SIZE_AT + CONTENT_SIZE_BYTES } else { CONTENT_SIZE_AT };
    let mut header = [0; HEADER_BYTES_MAX];
    let (Some(declared), Some(header), Some(blocks)) =
        (input.get(..checksum_at), header.get_mut(..=checksum_at), input.get(checksum_at + 1..))
    else {
        return read_lz4_frame(input, &[], max_output, output);
    };
    let (copy, checksum) = header.split_at_mut(checksum_at);
    copy.copy_from_slice(declared);
    checksum[0] = header_checksum(copy.get(FLAGS_AT..).unwrap_or_default());
    read_lz4_frame(header, blocks, max_output, output)
}

/// Give the header of `frame`, which has no content size, the checksum that readers of magic 0 expect.
pub(super) fn break_header_checksum(frame: &mut [u8]) {
    debug_assert!(frame.starts_with(&LZ4_MAGIC));
    if let Some((header, [checksum, ..])) = frame.split_at_mut_checked(CONTENT_SIZE_AT) {
        *checksum = header_checksum(header);
    }
}

/// The second byte of the hash of a frame's descriptor.
fn header_checksum(descriptor: &[u8]) -> u8 {
    (xxh32_of_less_than_16_bytes(descriptor) >> 8) as u8
}

/// XXH32 with seed 0 as its specification gives it for inputs without a full stripe.
fn xxh32_of_less_than_16_bytes(input: &[u8]) -> u32 {
    const PRIMES: [u32; 5] = [0x9e37_79b1, 0x85eb_ca77, 0xc2b2_ae3d, 0x27d4_eb2f, 0x1656_67b1];
    debug_assert!(input.len() < 16);
    let mut hash = PRIMES[4].wrapping_add(input.len() as u32);
    let (words, bytes) = input.as_chunks::<4>();
    for word in words {
        let lane = u32::from_le_bytes(*word).wrapping_mul(PRIMES[2]);
        hash = hash.wrapping_add(lane).rotate_left(17).wrapping_mul(PRIMES[3]);
    }
    for byte in bytes {
        hash = hash.wrapping_add(u32::from(*byte).wrapping_mul(PRIMES[4])).rotate_left(11).wrapping_mul(PRIMES[0]);
    }
    hash = (hash ^ (hash >> 15)).wrapping_mul(PRIMES[1]);
    hash = (hash ^ (hash >> 13)).wrapping_mul(PRIMES[2]);
    hash ^ (hash >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compression::{Codec, Level, compress, compress_for_magic_0, decompress, decompress_of_magic_0_into};

    #[test]
    fn short_hashes_are_those_of_the_specification() {
        for (input, hash) in
            [("", 0x02cc_5d05), ("a", 0x550d_7456), ("abc", 0x32d1_53ff), ("message digest", 0x7c94_8494)]
        {
            assert_eq!(xxh32_of_less_than_16_bytes(input.as_bytes()), hash, "{input}");
        }
    }

    #[test]
    fn only_readers_of_magic_0_take_the_old_header_checksum() {
        let right = compress(Codec::Lz4, Level::DEFAULT, b"a value").unwrap();
        let old = compress_for_magic_0(Codec::Lz4, b"a value").unwrap();
        let differing = right.iter().zip(&old).enumerate().filter(|(_, (right, old))| right != old);
        assert_eq!(differing.map(|(at, _)| at).collect::<Vec<_>>(), [CONTENT_SIZE_AT]);
        let mut output = Vec::new();
        for frame in [&right, &old] {
            decompress_of_magic_0_into(Codec::Lz4, frame, 100, &mut output).unwrap();
            assert_eq!(output, b"a value");
        }
        decompress(Codec::Lz4, &right, 100).unwrap();
        decompress(Codec::Lz4, &old, 100).unwrap_err();
    }

    #[test]
    fn a_header_with_a_content_size_is_read_whatever_its_checksum() {
        let mut frame = LZ4_MAGIC.to_vec();
        frame.extend_from_slice(&[0x68, 0x40]);
        frame.extend_from_slice(&3_u64.to_le_bytes());
        frame.push(0xff);
        frame.extend_from_slice(&(3 | 1_u32 << 31).to_le_bytes());
        frame.extend_from_slice(b"abc\0\0\0\0");
        let mut output = Vec::new();
        decompress_of_magic_0_into(Codec::Lz4, &frame, 100, &mut output).unwrap();
        assert_eq!(output, b"abc");
    }

    #[test]
    fn cut_off_headers_are_errors() {
        let frame = compress_for_magic_0(Codec::Lz4, b"a value").unwrap();
        for end in 0..frame.len() {
            decompress_of_magic_0_into(Codec::Lz4, &frame[..end], 100, &mut Vec::new()).unwrap_err();
        }
    }
}
