#![no_main]
//! Compressed bytes of every codec into the decompressors, with a bound on what may come out.
//!
//! An input is a codec, the logarithm of the bound, and bytes. What must hold: no panic; the output stays within the
//! bound; memory grows with what comes out, never with what the stream declares; what was decompressed is the same
//! when it is compressed and decompressed again.

use libfuzzer_sys::fuzz_target;
use milena_fuzz::allocations::allocated_by;
use milena_fuzz::write_seeds;
use milena_protocol::compression::{Codec, Level, compress, decompress, decompress_into, decompress_of_magic_0_into};

/// Tables and windows of the decoders in Rust; those in C are counted by the limit on the process.
const DECODER_BYTES: usize = 512 * 1024;

fuzz_target!(
    init: write_seeds(seeds),
    |data: &[u8]| {
        let Some((&[codec, bound], input)) = data.split_first_chunk() else { return };
        let old = codec & 0x80 != 0;
        let Some(codec) = Codec::from_id(codec & 7) else { return };
        let bound = 1_usize << (bound % 21);
        let mut output = Vec::new();
        let (result, allocated) = allocated_by(|| {
            if old { decompress_of_magic_0_into(codec, input, bound, &mut output) } else { decompress_into(codec, input, bound, &mut output) }
        });
        assert!(output.len() <= bound, "{} bytes, {bound} allowed", output.len());
        // A buffer that doubles is counted twice over.
        let most = 4 * output.len() + 4 * input.len() + DECODER_BYTES;
        assert!(allocated <= most, "{allocated} bytes allocated for {} of output and {} of input", output.len(), input.len());
        if result.is_ok() {
            let again = compress(codec, Level::DEFAULT, &output).expect("memory is enough");
            assert_eq!(decompress(codec, &again, output.len().max(1)).expect("what was compressed here"), output);
        }
    }
);

fn seeds() -> Vec<(String, Vec<u8>)> {
    let mut seeds = Vec::new();
    let text: Vec<u8> = (0..3000_u32).map(|number| (number % 7 * number % 251) as u8).collect();
    for codec in Codec::ALL {
        for (name, plain) in [("text", &text[..]), ("zeros", &[0; 300_000]), ("nothing", &[])] {
            let compressed = compress(codec, Level::DEFAULT, plain).expect("memory is enough");
            for old in [0, 0x80] {
                seeds.push((
                    format!("{}-{name}-{old}", codec.name()),
                    [&[codec.id() | old, 20][..], &compressed].concat(),
                ));
            }
        }
        if codec == Codec::Snappy {
            let raw = compress(codec, Level::DEFAULT, &text).expect("memory is enough");
            // Without the framing: the block behind the magic, the versions and the block's length.
            seeds.push(("snappy-raw".to_owned(), [&[codec.id(), 20][..], &raw[20..]].concat()));
        }
    }
    seeds
}
