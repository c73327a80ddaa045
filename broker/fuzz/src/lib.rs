//! What the fuzz targets share: writing seeds, and frames and batches that get past the first check.
//!
//! A target starts with [`write_seeds`]: with `MILENA_FUZZ_SEEDS` set it writes its corpus there and ends.

pub mod allocations;

use std::path::Path;

use kafka_protocol::messages::ApiKey;
use milena_protocol::api;
use milena_protocol::record_batch::{BATCH_HEADER_BYTES, recompute_crc, size_at_start};

/// With `MILENA_FUZZ_SEEDS` set: write these inputs there and end the process.
pub fn write_seeds(seeds: impl FnOnce() -> Vec<(String, Vec<u8>)>) {
    let Some(dir) = std::env::var_os("MILENA_FUZZ_SEEDS") else { return };
    let dir = Path::new(&dir);
    std::fs::create_dir_all(dir).expect("the directory of the corpus can be made");
    let seeds = seeds();
    for (name, bytes) in &seeds {
        std::fs::write(dir.join(name), bytes).expect("a seed can be written");
    }
    println!("{} seeds written", seeds.len());
    std::process::exit(0);
}

/// A request's frame without the length before it.
pub fn frame(key: i16, version: i16, body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(body.len() + 16);
    frame.extend(key.to_be_bytes());
    frame.extend(version.to_be_bytes());
    frame.extend(7_i32.to_be_bytes());
    frame.extend([0, 1, b't']);
    if api::request_header_version(key, version) >= 2 {
        frame.push(0);
    }
    frame.extend(body);
    frame
}

/// Makes the checksum of every whole batch in `bytes` right, as far as they follow each other.
pub fn fix_checksums(mut bytes: &mut [u8]) {
    while let Ok(size) = size_at_start(bytes) {
        let Some((batch, rest)) = bytes.split_at_mut_checked(size) else { return };
        if batch.len() >= BATCH_HEADER_BYTES {
            recompute_crc(batch);
        }
        bytes = rest;
    }
}

/// A key by its name.
pub fn key(api: ApiKey) -> i16 {
    api as i16
}

/// SplitMix64: what a mutator's seed becomes.
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}
