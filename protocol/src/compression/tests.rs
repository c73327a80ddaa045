//! Round trips, levels, bounds, and streams that are none.

use proptest::prelude::*;

use super::*;
use crate::test_support::any_codec;

/// Bytes that compress well, and some that do not.
fn sample(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|index| if index % 7 == 0 { (index * index) as u8 } else { b'a' }).collect()
}

#[test]
fn every_codec_survives_many_blocks() {
    for codec in Codec::ALL {
        let input = sample(300_000);
        let compressed = compress(codec, Level::DEFAULT, &input).unwrap();
        assert_eq!(decompress(codec, &compressed, input.len()).unwrap(), input, "{codec:?}");
        assert!(codec == Codec::None || compressed.len() < input.len() / 2, "{codec:?}");
    }
}

#[test]
fn output_stops_at_the_bound() {
    for codec in Codec::ALL {
        let compressed = compress(codec, Level::DEFAULT, &vec![0; 10_000_000]).unwrap();
        let mut output = Vec::new();
        let error = decompress_into(codec, &compressed, 100_000, &mut output).unwrap_err();
        assert!(matches!(error, CompressionError::TooLarge { max_output: 100_000, .. }), "{codec:?}: {error}");
        assert!(output.capacity() < 1_000_000, "{codec:?}: {}", output.capacity());
    }
}

#[test]
fn a_scratch_buffer_is_used_again() {
    let mut scratch = Vec::with_capacity(1 << 20);
    let room = scratch.as_ptr();
    for codec in Codec::ALL {
        let input = sample(10_000);
        let compressed = compress(codec, Level::DEFAULT, &input).unwrap();
        decompress_into(codec, &compressed, 1 << 19, &mut scratch).unwrap();
        assert_eq!((scratch.as_ptr(), &scratch), (room, &input), "{codec:?}");
    }
}

#[test]
fn a_truncated_stream_is_an_error() {
    let input = sample(100_000);
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let compressed = compress(codec, Level::DEFAULT, &input).unwrap();
        for length in [1, 5, 20, compressed.len() / 2, compressed.len() - 1] {
            assert!(decompress(codec, &compressed[..length], 1 << 20).is_err(), "{codec:?} cut at {length}");
        }
    }
}

#[test]
fn no_bytes_are_an_empty_stream_for_zstd_only_as_for_java() {
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        assert_eq!(decompress(codec, &[], 10).is_ok(), codec == Codec::Zstd, "{codec:?}");
    }
}

#[test]
fn every_legal_level_works_and_others_are_refused() {
    let input = sample(5_000);
    for (codec, legal, illegal) in [
        (Codec::Gzip, &[-1, 1, 6, 9][..], &[0, 10, -2][..]),
        (Codec::Lz4, &[1, 3, 9, 12, 17], &[0, 18, -1]),
        (Codec::Zstd, &[-131_072, -1, 0, 3, 22], &[23, -131_073]),
    ] {
        for level in legal {
            let compressed = compress(codec, Level::new(*level), &input).unwrap();
            assert_eq!(decompress(codec, &compressed, 1 << 20).unwrap(), input, "{codec:?} {level}");
        }
        for level in illegal {
            let error = compress(codec, Level::new(*level), &input).unwrap_err();
            assert!(matches!(error, CompressionError::Level { .. }), "{codec:?} {level}: {error}");
        }
    }
}

#[test]
fn snappy_is_read_with_and_without_xerials_framing() {
    let input = sample(50_000);
    let framed = compress(Codec::Snappy, Level::DEFAULT, &input).unwrap();
    assert!(framed.starts_with(b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01"));
    let raw = snap::raw::Encoder::new().compress_vec(&input).unwrap();
    assert_eq!(decompress(Codec::Snappy, &raw, 1 << 20).unwrap(), input);
    let twice = [&framed[..], &framed[..]].concat();
    assert_eq!(decompress(Codec::Snappy, &twice, 1 << 20).unwrap().len(), 100_000);
}

#[test]
fn a_snappy_block_that_declares_the_impossible_is_refused_without_allocating() {
    // A raw block whose length says two gigabytes.
    let block = [0xff, 0xff, 0xff, 0xff, 0x07, 0, 0, 0];
    let mut output = Vec::new();
    let error = decompress_into(Codec::Snappy, &block, usize::MAX, &mut output).unwrap_err();
    assert!(matches!(error, CompressionError::Corrupt { .. }), "{error}");
    assert_eq!(output.capacity(), 0);
}

#[test]
fn the_densest_snappy_is_still_read() {
    let input = vec![7; 1 << 20];
    let raw = snap::raw::Encoder::new().compress_vec(&input).unwrap();
    assert_eq!(decompress(Codec::Snappy, &raw, 1 << 20).unwrap(), input);
}

#[test]
fn gzip_members_one_after_the_other_are_one_stream() {
    let mut twice = compress(Codec::Gzip, Level::DEFAULT, b"one").unwrap();
    twice.extend(compress(Codec::Gzip, Level::DEFAULT, b"two").unwrap());
    assert_eq!(decompress(Codec::Gzip, &twice, 100).unwrap(), b"onetwo");
    twice.extend(b"rest");
    assert_eq!(decompress(Codec::Gzip, &twice, 100).unwrap(), b"onetwo");
}

#[test]
fn lz4_frames_are_independent_and_others_are_refused() {
    let input = sample(200_000);
    let ours = compress(Codec::Lz4, Level::DEFAULT, &input).unwrap();
    assert_ne!(ours[4] & LZ4_BLOCKS_ARE_INDEPENDENT, 0);
    let mut linked = lz4::EncoderBuilder::new().block_mode(lz4::BlockMode::Linked).build(Vec::new()).unwrap();
    linked.write_all(&input).unwrap();
    let (linked, finished) = linked.finish();
    finished.unwrap();
    let error = decompress(Codec::Lz4, &linked, 1 << 20).unwrap_err();
    assert_eq!(error.to_string(), "undecodable lz4 data: Dependent block stream is unsupported");
}

#[test]
fn a_zstd_frame_that_declares_gigabytes_allocates_only_what_it_holds() {
    // Magic, then a header of a single segment with a content size of 2^32 bytes, then nothing.
    let frame = [0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0, 0, 0, 0, 1, 0, 0, 0];
    let mut output = Vec::new();
    assert!(decompress_into(Codec::Zstd, &frame, usize::MAX, &mut output).is_err());
    assert!(output.capacity() <= OUTPUT_STEP_BYTES);
}

#[test]
fn names_and_ids_are_kafkas() {
    for (id, name) in ["none", "gzip", "snappy", "lz4", "zstd"].into_iter().enumerate() {
        let codec = Codec::from_id(id as u8).unwrap();
        assert_eq!((codec.name(), codec.id(), Codec::from_name(name)), (name, id as u8, Some(codec)));
    }
    assert_eq!(Codec::from_id(5), None);
    assert_eq!(Codec::from_name("producer"), None);
}

proptest! {
    #[test]
    fn any_bytes_survive_every_codec(codec in any_codec(), input in prop::collection::vec(any::<u8>(), 0..5000)) {
        let compressed = compress(codec, Level::DEFAULT, &input).unwrap();
        prop_assert_eq!(decompress(codec, &compressed, 5000).unwrap(), input);
    }

    #[test]
    fn any_bytes_are_decompressed_or_refused(codec in any_codec(), bytes in prop::collection::vec(any::<u8>(), 0..500)) {
        let _ = decompress(codec, &bytes, 100_000);
    }

    #[test]
    fn damaged_streams_are_decompressed_or_refused(
        codec in any_codec(), size in 0_usize..100_000, damage: Vec<(prop::sample::Index, u8)>, bound in 0_usize..200_000,
    ) {
        let mut compressed = compress(codec, Level::DEFAULT, &sample(size)).unwrap();
        for (at, value) in damage {
            if !compressed.is_empty() {
                let at = at.index(compressed.len());
                compressed[at] = value;
            }
        }
        if let Ok(output) = decompress(codec, &compressed, bound) {
            prop_assert!(output.len() <= bound);
        }
    }
}
