//! Every decoder of a file or of records, driven by seeded bytes: random ones, and valid ones with bits flipped, cut,
//! spliced or with a length changed. None panics; what one accepts it writes and reads again.
//!
//! `MILENA_SEED` tries another seed; the one that is used is printed.

#![allow(clippy::unwrap_used, reason = "a failure is the test's answer")]

mod support;

use std::collections::BTreeMap;

use bytes::BytesMut;
use milena_protocol::TopicPartition;
use milena_protocol::compression::{Codec, Level, decompress};
use milena_protocol::legacy::{Magic, MessageSetBuilder, MessageView, down_convert, messages};
use milena_protocol::record_batch::{BATCH_HEADER_BYTES, BatchView, batches, recompute_crc, size_at_start};
use milena_protocol::records::{BatchBuilder, records};
use milena_storage::leader_epochs::{EpochStart, LeaderEpochs};
use milena_storage::producer_state::ProducerState;
use milena_storage::validate::{ValidateConfig, check_first_batch, check_replicated, prepare};
use milena_storage::{AppendOrigin, LogConfig, checkpoint, offset_index, snapshot, time_index, transaction_index};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use support::NOW;

const ROUNDS: usize = 4_000;
const DECOMPRESSED_BYTES_MAX: usize = 1 << 20;

#[expect(clippy::print_stderr, reason = "the seed of a failed test is what repeats it")]
fn random() -> SmallRng {
    let seed = std::env::var("MILENA_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(20_260_711);
    eprintln!("MILENA_SEED={seed}");
    SmallRng::seed_from_u64(seed)
}

/// One of `valid`, changed in one to four places; now and then nothing but random bytes.
fn mutated(random: &mut SmallRng, valid: &[Vec<u8>]) -> Vec<u8> {
    if random.random_bool(0.1) {
        let length = random.random_range(0..200);
        return (0..length).map(|_| random.random()).collect();
    }
    let mut bytes = valid[random.random_range(0..valid.len())].clone();
    for _ in 0..random.random_range(1..5) {
        if bytes.is_empty() {
            break;
        }
        let at = random.random_range(0..bytes.len());
        match random.random_range(0..6) {
            0 => bytes[at] ^= 1 << random.random_range(0..8),
            1 => bytes[at] = random.random(),
            2 => bytes.truncate(at),
            3 => {
                let other = &valid[random.random_range(0..valid.len())];
                let from = random.random_range(0..=other.len());
                bytes.splice(at.., other[from..].iter().copied());
            }
            4 => {
                let lie: i32 = [0, -1, -2, i32::MAX, i32::MIN, bytes.len() as i32][random.random_range(0..6)];
                let end = bytes.len().min(at + 4);
                bytes[at..end].copy_from_slice(&lie.to_be_bytes()[..end - at]);
            }
            _ => {
                let copy = bytes[at..].to_vec();
                bytes.extend(copy);
            }
        }
    }
    bytes
}

#[test]
fn checkpoints_epochs_and_metadata_of_arbitrary_bytes_are_read_or_refused() {
    let mut random = random();
    let offsets = BTreeMap::from([(TopicPartition::new("topic", 0), 7), (TopicPartition::new("a-b", 12), 1 << 40)]);
    let epochs = LeaderEpochs::from_entries([
        EpochStart { leader_epoch: 1, start_offset: 0 },
        EpochStart { leader_epoch: 5, start_offset: 9 },
    ]);
    let valid = [
        checkpoint::encode_offsets(&offsets),
        checkpoint::encode_epochs(&epochs),
        checkpoint::encode_partition_metadata(uuid::Uuid::from_u128(7)),
    ];
    for _ in 0..ROUNDS {
        let bytes = mutated(&mut random, &valid);
        if let Ok(read) = checkpoint::decode_offsets(&bytes) {
            assert_eq!(checkpoint::decode_offsets(&checkpoint::encode_offsets(&read)).as_ref(), Ok(&read));
        }
        if let Ok(read) = checkpoint::decode_epochs(&bytes) {
            let again = checkpoint::decode_epochs(&checkpoint::encode_epochs(&read)).unwrap();
            assert_eq!(again.entries(), read.entries());
        }
        if let Ok(read) = checkpoint::decode_partition_metadata(&bytes) {
            assert_eq!(checkpoint::decode_partition_metadata(&checkpoint::encode_partition_metadata(read)), Ok(read));
        }
    }
}

#[test]
fn indexes_and_snapshots_of_arbitrary_bytes_are_read_or_refused() {
    let mut random = random();
    let entry = |number: u32| offset_index::OffsetIndexEntry { relative_offset: number * 3, position: number * 100 };
    let time = |number: u32| time_index::TimeIndexEntry { timestamp: NOW + i64::from(number), relative_offset: number };
    let aborted = transaction_index::AbortedTransaction {
        producer_id: 5,
        first_offset: 1,
        last_offset: 9,
        last_stable_offset: 4,
    };
    let valid = [
        (0..20).flat_map(|number| entry(number).encode()).collect::<Vec<u8>>(),
        (0..20).flat_map(|number| time(number).encode()).collect(),
        aborted.encode().repeat(3),
        snapshot::encode(&ProducerState::default()),
    ];
    for _ in 0..ROUNDS {
        let bytes = mutated(&mut random, &valid);
        let wanted: i64 = random.random();
        assert!(offset_index::valid_entries(&bytes) * offset_index::ENTRY_BYTES <= bytes.len());
        _ = offset_index::lookup(&bytes, wanted as u32);
        assert!(time_index::valid_entries(&bytes) * time_index::ENTRY_BYTES <= bytes.len());
        _ = time_index::lookup(&bytes, wanted);
        let mut found = Vec::new();
        transaction_index::collect(&bytes, wanted, i64::MAX, &mut found);
        assert!(found.len() <= bytes.len() / transaction_index::ENTRY_BYTES);
        if let Ok(entries) = snapshot::decode(&bytes) {
            _ = ProducerState::from_snapshot(entries, NOW, 86_400_000);
        }
    }
}

fn sets() -> Vec<Vec<u8>> {
    let mut sets = Vec::new();
    for codec in Codec::ALL {
        let mut builder = BatchBuilder::new().compression(codec, Level::DEFAULT).producer(5, 0, 3);
        for number in 0..4 {
            builder.append(NOW + number, Some(b"key"), Some(&[b'v'; 50]), []);
        }
        sets.push(builder.build().unwrap().to_vec());
        for magic in [Magic::V0, Magic::V1] {
            if codec != Codec::Zstd {
                let mut set = MessageSetBuilder::new(magic).compression(codec);
                for number in 0..4 {
                    set.append(number, NOW + number, Some(b"key"), Some(&[b'v'; 50]));
                }
                sets.push(set.build().unwrap());
            }
        }
    }
    sets
}

/// So that what was changed is looked at, and not only its checksum.
fn fix_checksums(mut bytes: &mut [u8]) {
    loop {
        let size = if let Ok(message) = MessageView::parse(bytes) {
            let (size, crc) = (message.bytes().len(), message.computed_crc());
            bytes[12..16].copy_from_slice(&crc.to_be_bytes());
            size
        } else {
            let Ok(size) = size_at_start(bytes) else { return };
            match bytes.get_mut(..size) {
                Some(batch) if size >= BATCH_HEADER_BYTES => recompute_crc(batch),
                _ => return,
            }
            size
        };
        bytes = bytes.split_at_mut(size).1;
    }
}

#[test]
fn records_of_arbitrary_bytes_are_appended_whole_or_refused() {
    let mut random = random();
    let valid = sets();
    let partition = TopicPartition::new("topic", 0);
    let mut config = ValidateConfig::new(&partition, &LogConfig::default());
    config.decompressed_bytes_max = DECOMPRESSED_BYTES_MAX;
    let mut accepted = 0;
    for _ in 0..ROUNDS {
        let mut bytes = mutated(&mut random, &valid);
        if random.random_bool(0.8) {
            fix_checksums(&mut bytes);
        }
        _ = check_replicated(&bytes);
        _ = batches(&bytes).map_while(Result::ok).count();
        _ = messages(&bytes).map_while(Result::ok).filter(|message| message.check_crc().is_ok()).count();
        for magic in [Magic::V0, Magic::V1] {
            if let Ok(converted) = down_convert(&bytes, magic, 0, DECOMPRESSED_BYTES_MAX) {
                assert!(messages(&converted.message_set).all(|message| message.is_ok()));
            }
        }
        for origin in [AppendOrigin::Client, AppendOrigin::OldClient] {
            let mut records_ = BytesMut::from(&bytes[..]);
            if check_first_batch(&bytes).is_err() || prepare(&mut records_, &config, origin, NOW).is_err() {
                continue;
            }
            accepted += 1;
            let batch = BatchView::parse(&records_).unwrap();
            assert!(batch.crc_is_valid());
            let codec = batch.header().attributes.codec().unwrap();
            let plain = decompress(codec, batch.record_bytes(), 2 * DECOMPRESSED_BYTES_MAX).unwrap();
            let read: Vec<_> = records(&plain, batch.header().records_count).map(Result::unwrap).collect();
            assert_eq!(read.len() as i32, batch.header().last_offset_delta + 1);
        }
    }
    assert!(accepted > 10, "{accepted} accepted: the mutations are too wild to show anything");
}
