#![no_main]
//! Records as clients send them: batches of format 2 and message sets of formats 0 and 1.
//!
//! An input is a byte of flags and records. What must hold: nothing panics; no more is decompressed than the bound;
//! what a leader accepts can be read again, record by record, as often as its header says; and what can be read is
//! converted for old consumers within the bound, or refused.

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use milena_fuzz::{fix_checksums, write_seeds};
use milena_protocol::compression::{Codec, Level, decompress};
use milena_protocol::control_record::{EndTransactionMarker, TransactionResult};
use milena_protocol::legacy::{Magic, MessageSetBuilder, MessageView, down_convert, messages};
use milena_protocol::record_batch::{BatchView, batches};
use milena_protocol::records::{BatchBuilder, Header, records};
use milena_protocol::types::TopicPartition;
use milena_storage::validate::{ValidateConfig, check_first_batch, check_produce, check_replicated, prepare};
use milena_storage::{AppendOrigin, LogConfig};

const FIX_CHECKSUMS: u8 = 1;
const COMPACTED: u8 = 2;
const DECOMPRESSED_BYTES_MAX: usize = 1 << 20;
const NOW: i64 = 1_700_000_000_000;

fuzz_target!(
    init: write_seeds(seeds),
    |data: &[u8]| {
        let Some((&flags, bytes)) = data.split_first() else { return };
        let mut bytes = bytes.to_vec();
        if flags & FIX_CHECKSUMS != 0 {
            fix_checksums(&mut bytes);
            fix_message_checksums(&mut bytes);
        }
        read(&bytes);
        for origin in [AppendOrigin::Client, AppendOrigin::OldClient, AppendOrigin::Coordinator] {
            append(flags, &bytes, origin);
        }
        _ = check_replicated(&bytes);
        for magic in [Magic::V0, Magic::V1] {
            if let Ok(converted) = down_convert(&bytes, magic, 0, DECOMPRESSED_BYTES_MAX) {
                assert!(converted.message_set.len() <= DECOMPRESSED_BYTES_MAX.max(bytes.len()));
                let count = messages(&converted.message_set).map(|message| message.expect("what was made can be read")).count();
                assert!(count > 0 || converted.message_set.is_empty());
            }
        }
    }
);

fn fix_message_checksums(mut bytes: &mut [u8]) {
    while let Ok(message) = MessageView::parse(bytes) {
        let (size, crc) = (message.bytes().len(), message.computed_crc());
        bytes[12..16].copy_from_slice(&crc.to_be_bytes());
        bytes = bytes.split_at_mut(size).1;
    }
}

fn read(bytes: &[u8]) {
    for batch in batches(bytes).map_while(Result::ok) {
        let Ok(codec) = batch.header().attributes.codec() else { continue };
        let Ok(plain) = decompress(codec, batch.record_bytes(), DECOMPRESSED_BYTES_MAX) else { continue };
        assert!(plain.len() <= DECOMPRESSED_BYTES_MAX);
        for record in records(&plain, batch.header().records_count).map_while(Result::ok) {
            assert!(record.headers.count() * 2 <= plain.len(), "a header takes at least two bytes");
        }
    }
    let mut scratch = Vec::new();
    for message in messages(bytes).map_while(Result::ok) {
        _ = message.check_crc();
        if let Ok(inner) = message.records(DECOMPRESSED_BYTES_MAX, &mut scratch) {
            for record in inner.map_while(Result::ok) {
                _ = (record.message.key(), record.message.value());
            }
        }
        assert!(scratch.len() <= DECOMPRESSED_BYTES_MAX);
    }
}

fn append(flags: u8, bytes: &[u8], origin: AppendOrigin) {
    for version in [0, 2, 3, 9] {
        _ = check_produce(bytes, version);
    }
    if check_first_batch(bytes).is_err() {
        return;
    }
    let partition = TopicPartition::new("topic", 0);
    let mut config = ValidateConfig::new(&partition, &LogConfig::default());
    config.compacted = flags & COMPACTED != 0;
    config.decompressed_bytes_max = DECOMPRESSED_BYTES_MAX;
    let mut accepted = BytesMut::from(bytes);
    let Ok(validated) = prepare(&mut accepted, &config, origin, NOW) else { return };
    let batch = BatchView::parse(&accepted).expect("what is accepted is a batch");
    assert!(batch.crc_is_valid());
    assert_eq!(batch.header(), &validated.header);
    let codec = batch.header().attributes.codec().expect("a known codec");
    let plain = decompress(codec, batch.record_bytes(), DECOMPRESSED_BYTES_MAX * 2).expect("it was decompressed once");
    let mut count = 0;
    for (number, record) in records(&plain, batch.header().records_count).enumerate() {
        let record = record.expect("what is accepted can be read");
        assert_eq!(i64::from(record.offset_delta), number as i64);
        count += 1;
    }
    // A coordinator's counts are its own affair.
    if origin != AppendOrigin::Coordinator {
        assert_eq!(count, batch.header().records_count);
        assert_eq!(count, batch.header().last_offset_delta + 1);
    }
}

fn seeds() -> Vec<(String, Vec<u8>)> {
    let mut seeds = Vec::new();
    let mut add = |name: String, bytes: &[u8]| seeds.push((name, [&[FIX_CHECKSUMS][..], bytes].concat()));
    for codec in Codec::ALL {
        let mut builder = BatchBuilder::new().compression(codec, Level::DEFAULT).producer(5, 0, 3);
        for number in 0..4 {
            let headers = [Header { key: b"trace", value: Some(b"x") }, Header { key: b"", value: None }];
            builder.append(NOW + number, Some(b"key"), Some(&[b'v'; 50]), headers);
        }
        builder.append(NOW, None, None, []);
        add(format!("batch-{}", codec.name()), &builder.build().expect("a batch"));
        for (name, magic) in [("0", Magic::V0), ("1", Magic::V1)] {
            if codec == Codec::Zstd {
                continue;
            }
            let mut set = MessageSetBuilder::new(magic).compression(codec);
            for number in 0..4 {
                set.append(number, NOW + number, Some(b"key"), Some(&[b'v'; 50]));
            }
            add(format!("messages-{name}-{}", codec.name()), &set.build().expect("a message set"));
        }
    }
    let marker = EndTransactionMarker { result: TransactionResult::Commit, coordinator_epoch: 3 };
    add("marker".to_owned(), &marker.batch(5, 0, NOW));
    seeds
}
