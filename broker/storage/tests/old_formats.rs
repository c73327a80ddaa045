//! Segments of message formats 0 and 1, made by Kafka's own classes (`fixtures/kafka-3.9.1/README.md`): they open, are recovered, searched and served as
//! they are, and what old clients send today is stored in format 2.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests read their fixtures and fail by panicking")]

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::BytesMut;
use milena_protocol::legacy::{Magic, MessageSetBuilder, MessageView};
use milena_protocol::record_batch::{BatchHeader, BatchView};
use milena_protocol::types::{Offset, Timestamp};
use milena_storage::{AppendError, AppendOrigin, Disk, Log, LogConfig, SimDisk, StorageError};
use support::*;

const DIR: &str = "/data/topic-0";
const SEGMENTS: [Offset; 3] = [0, 20, 40];

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/kafka-3.9.1").join(name)).unwrap()
}

fn log_of(base: Offset) -> Vec<u8> {
    fixture(&format!("topic-0/{base:020}.log"))
}

/// The fixture's partition on a disk; `keeps` says which files.
fn disk_with(keeps: impl Fn(&str) -> bool) -> SimDisk {
    let disk = SimDisk::new(1);
    disk.create_dir_all(Path::new(DIR)).unwrap();
    let mut names = vec!["leader-epoch-checkpoint".to_owned()];
    for base in SEGMENTS {
        names.extend(["log", "index", "timeindex"].map(|suffix| format!("{base:020}.{suffix}")));
    }
    for name in names.into_iter().filter(|name| keeps(name)) {
        disk.set_bytes(&Path::new(DIR).join(&name), &fixture(&format!("topic-0/{name}")));
    }
    disk
}

fn is_log(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == "log")
}

fn opener(disk: &SimDisk) -> Opener {
    let config = LogConfig { index_interval_bytes: 200, retention_ms: -1, ..LogConfig::default() };
    Opener { config, ..Opener::sim(disk) }
}

/// First and last offset of every batch or message of the fixture, its size and what it holds.
fn batches_of_the_fixture() -> Vec<(Offset, Offset, Vec<u8>)> {
    let mut found = Vec::new();
    for base in SEGMENTS {
        let bytes = log_of(base);
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (first, last, size) = if let Ok(batch) = BatchView::parse(rest) {
                (batch.header().base_offset, batch.header().last_offset(), batch.bytes().len())
            } else {
                let message = MessageView::parse(rest).unwrap();
                let mut scratch = Vec::new();
                let first = message.records(1 << 20, &mut scratch).unwrap().next().unwrap().unwrap().offset;
                (first, message.offset(), message.bytes().len())
            };
            found.push((first, last, rest[..size].to_vec()));
            rest = &rest[size..];
        }
    }
    found
}

/// Everything from `start` on, as the files have it.
fn served(log: &Log, start: Offset) -> Vec<u8> {
    let reader = log.reader();
    let (mut all, mut next) = (Vec::new(), start);
    while next < reader.log_end_offset() {
        let range = reader.read(next, usize::MAX, Offset::MAX, true).unwrap().range.unwrap();
        let mut bytes = vec![0; range.len];
        range.source.read_exact_at(&mut bytes, range.position).unwrap();
        all.extend(bytes);
        let following = SEGMENTS.into_iter().find(|base| *base > next);
        next = following.unwrap_or(Offset::MAX);
    }
    all
}

fn check_everything_is_served(log: &Log) {
    let batches = batches_of_the_fixture();
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (0, 50));
    for offset in 0..50 {
        let expected: Vec<u8> =
            batches.iter().filter(|(_, last, _)| *last >= offset).flat_map(|(_, _, bytes)| bytes.clone()).collect();
        assert_eq!(served(log, offset), expected, "{offset}");
    }
    let producers = log.active_producers();
    assert_eq!(producers.iter().map(|producer| producer.producer_id).collect::<Vec<_>>(), [4711]);
    let reader = log.reader();
    let epochs: Vec<_> = (43..46).map(|offset| reader.epoch_for_offset(offset)).collect();
    assert_eq!((epochs, reader.latest_epoch()), (vec![None, Some(5), Some(5)], Some(5)));
    assert_eq!(reader.end_offset_for_epoch(4).map(|end| end.end_offset), Some(44));
}

#[test]
fn a_cleanly_closed_log_opens_without_being_read_and_is_served_as_it_is() {
    let disk = disk_with(|_| true);
    let before = disk.files();
    let (mut log, report) = Opener { clean_shutdown: true, ..opener(&disk) }.try_open().unwrap();
    assert_eq!((report.recovered_segments, report.rebuilt_indexes), (0, 0));
    check_everything_is_served(&log);
    log.close(NOW).unwrap();
    let after = disk.files();
    let changed: Vec<_> = before.iter().filter(|&(path, bytes)| after.get(path) != Some(bytes)).collect();
    assert!(changed.is_empty(), "{changed:?}");
}

fn assert_indexes_are_those_of_kafkas_recovery(disk: &SimDisk, bases: &[Offset]) {
    let files: BTreeMap<PathBuf, Vec<u8>> = disk.files().into_iter().collect();
    for base in bases {
        for suffix in ["index", "timeindex"] {
            let name = format!("{base:020}.{suffix}");
            let ours = files.get(&Path::new(DIR).join(&name)).unwrap();
            assert_eq!(*ours, fixture(&format!("recovered/{name}")), "{name}");
        }
    }
}

#[test]
fn recovery_makes_the_indexes_that_kafkas_recovery_makes() {
    for keeps_indexes in [true, false] {
        let disk = disk_with(|name| keeps_indexes || is_log(name));
        let (log, report) = opener(&disk).try_open().unwrap();
        assert_eq!((report.recovered_segments, report.truncated_bytes), (3, 0));
        check_everything_is_served(&log);
        assert_indexes_are_those_of_kafkas_recovery(&disk, &SEGMENTS);
    }
}

#[test]
fn lost_indexes_of_flushed_segments_are_made_anew() {
    let disk = disk_with(is_log);
    let (log, report) = Opener { clean_shutdown: true, ..opener(&disk) }.try_open().unwrap();
    assert_eq!(report.rebuilt_indexes, 3);
    check_everything_is_served(&log);
    assert_indexes_are_those_of_kafkas_recovery(&disk, &SEGMENTS);
}

#[test]
fn a_torn_tail_is_cut_behind_the_last_whole_message() {
    for base in [0, 20] {
        let disk = disk_with(|name| name.starts_with(&format!("{base:020}")));
        let bytes = log_of(base);
        let path = Path::new(DIR).join(format!("{base:020}.log"));
        let mut ends = vec![(0, base)];
        for (_, last, batch) in batches_of_the_fixture().iter().filter(|(first, ..)| (base..base + 20).contains(first))
        {
            ends.push((ends.last().unwrap().0 + batch.len(), last + 1));
        }
        for cut in 0..=bytes.len() {
            disk.set_bytes(&path, &bytes[..cut]);
            let log = Opener { log_start_offset: base, ..opener(&disk) }.open();
            let expected = ends.iter().rfind(|(end, _)| *end <= cut).unwrap();
            assert_eq!(log.log_end_offset(), expected.1, "{base} cut at {cut}");
            assert_eq!(disk.files().iter().find(|(name, _)| **name == path).unwrap().1.len(), expected.0);
        }
    }
}

#[test]
fn a_harmed_message_is_cut_away_or_keeps_the_log_closed() {
    for (base, first_of_the_last_wrapper) in [(0, 10), (20, 29)] {
        let mut bytes = log_of(base);
        let before: usize = batches_of_the_fixture()
            .iter()
            .filter(|(first, ..)| (base..first_of_the_last_wrapper).contains(first))
            .map(|(.., batch)| batch.len())
            .sum();
        bytes[before + 40] ^= 1;
        for flushed in [false, true] {
            let disk = disk_with(|name| name.starts_with(&format!("{base:020}")));
            disk.set_bytes(&Path::new(DIR).join(format!("{base:020}.log")), &bytes);
            let recovery_point = if flushed { base + 20 } else { 0 };
            match (Opener { recovery_point, log_start_offset: base, ..opener(&disk) }.try_open(), flushed) {
                (Ok((log, _)), false) => assert_eq!(log.log_end_offset(), first_of_the_last_wrapper),
                (Err(StorageError::Corrupt(error)), true) => assert_eq!(error.position, before as u64),
                (other, _) => panic!("{base}, flushed: {flushed}: {other:?}"),
            }
        }
    }
}

#[test]
fn finds_by_timestamp_what_kafka_finds() {
    let disk = disk_with(|_| true);
    let log = Opener { clean_shutdown: true, ..opener(&disk) }.open();
    let reader = log.reader();
    let lookups = String::from_utf8(fixture("lookups.txt")).unwrap();
    let mut cases = 0;
    for line in lookups.lines() {
        let mut fields = line.split(' ');
        let wanted: Timestamp = fields.next().unwrap().parse().unwrap();
        let expected: Vec<i64> = fields.filter_map(|field| field.parse().ok()).collect();
        let found = reader.offset_for_timestamp(wanted, 50).unwrap();
        let found: Vec<i64> = found.iter().flat_map(|found| [found.offset, found.timestamp]).collect();
        assert_eq!(found, expected, "{wanted}");
        cases += 1;
    }
    assert_eq!(cases, 124);
    let newest = reader.max_timestamp_offset().unwrap().unwrap();
    assert_eq!((newest.offset, newest.timestamp, newest.leader_epoch), (49, 1_600_000_049_000, 5));
}

#[test]
fn a_timestamp_in_a_wrapper_is_the_records_own_unless_the_broker_set_it() {
    let disk = disk_with(|name| name.starts_with(&format!("{:020}", 20)));
    let log = Opener { log_start_offset: 20, ..opener(&disk) }.open();
    let reader = log.reader();
    let found = |offset: Offset| {
        let found = reader.offset_for_timestamp(1_600_000_000_000 + offset * 1000, 40).unwrap().unwrap();
        (found.offset, found.timestamp - 1_600_000_000_000, found.leader_epoch)
    };
    assert_eq!(found(24), (24, 24_000, -1));
    // 26 to 28 were appended half a second after the last of them was made.
    assert_eq!((found(26), found(28)), ((26, 28_500, -1), (26, 28_500, -1)));
    let newest = reader.max_timestamp_offset().unwrap().unwrap();
    assert_eq!((newest.offset, newest.timestamp), (39, 1_600_000_039_000));
}

#[test]
fn writing_goes_on_behind_old_segments() {
    for clean_shutdown in [true, false] {
        let disk = disk_with(|_| true);
        let mut log = Opener { clean_shutdown, ..opener(&disk) }.open();
        let info = log.append_as_leader(batch(NOW, &["new"]), 6, AppendOrigin::Client, NOW).unwrap();
        assert_eq!((info.first_offset, log.log_end_offset()), (50, 51));
        log.close(NOW).unwrap();
        let log = Opener { clean_shutdown, ..opener(&disk) }.open();
        assert_eq!(log.log_end_offset(), 51);
        assert_eq!(log.reader().epoch_for_offset(50), Some(6));
    }
}

#[test]
fn cutting_inside_a_wrapper_takes_all_of_it() {
    let batches = batches_of_the_fixture();
    for offset in 1..50 {
        let disk = disk_with(|_| true);
        let mut log = Opener { clean_shutdown: true, recovery_point: 50, ..opener(&disk) }.open();
        log.prepare_truncation(offset).unwrap();
        let expected = batches.iter().find(|(_, last, _)| *last >= offset).unwrap().0;
        assert!(log.recovery_point() <= expected, "{offset}");
        assert!(log.truncate_to(offset, NOW).unwrap());
        assert_eq!(log.log_end_offset(), expected, "{offset}");
        drop(log);
        // As after a crash.
        assert_eq!(opener(&disk).open().log_end_offset(), expected, "{offset}");
    }
}

#[test]
fn a_follower_takes_old_messages_as_its_leader_has_them() {
    let disk = SimDisk::new(1);
    let mut log = opener(&disk).open();
    for base in SEGMENTS {
        let info = log.append_as_follower(&log_of(base), NOW).unwrap();
        assert_eq!(info.last_offset + 1, if base == 40 { 50 } else { base + 20 });
        let mut harmed = log_of(base);
        harmed[30] ^= 1;
        assert!(matches!(log.append_as_follower(&harmed, NOW), Err(AppendError::Validation(_))));
    }
    let all: Vec<u8> = SEGMENTS.into_iter().flat_map(log_of).collect();
    let range = log.reader().read(0, usize::MAX, 50, true).unwrap().range.unwrap();
    let mut bytes = vec![0; range.len];
    range.source.read_exact_at(&mut bytes, range.position).unwrap();
    assert_eq!(bytes, all);
    assert_eq!(opener(&disk).open().log_end_offset(), 50);
}

#[test]
fn an_old_clients_message_set_is_stored_as_one_batch() {
    let disk = SimDisk::new(1);
    let mut log = opener(&disk).open();
    append(&mut log, &["before"]);
    let mut builder = MessageSetBuilder::new(Magic::V1);
    for offset in 0..3 {
        builder.append(offset, NOW + offset, None, Some(b"value"));
    }
    let set = builder.build().unwrap();
    let info = log.append_as_leader(BytesMut::from(&set[..]), 0, AppendOrigin::OldClient, NOW).unwrap();
    assert_eq!((info.first_offset, info.last_offset, info.records), (1, 3, 3));
    assert_eq!((info.max_timestamp, info.log_append_time), (NOW + 2, -1));
    let bytes = read_bytes(&log.reader(), 1);
    assert_eq!(bytes.len(), info.bytes);
    assert_eq!(BatchHeader::parse(&bytes).unwrap().records_count, 3);
    assert_eq!(values(&log).len(), 4);
    let refused = log.append_as_leader(BytesMut::from(&set[..]), 0, AppendOrigin::Client, NOW);
    assert!(matches!(refused, Err(AppendError::Validation(_))));
}

#[test]
fn no_whole_message_of_an_old_client_is_nothing_to_append() {
    let disk = SimDisk::new(1);
    let mut log = opener(&disk).open();
    append(&mut log, &["before"]);
    let mut builder = MessageSetBuilder::new(Magic::V0);
    builder.append(0, NOW, None, Some(b"value"));
    let set = builder.build().unwrap();
    for part in [&[][..], &set[..5], &set[..set.len() - 1]] {
        let info = log.append_as_leader(BytesMut::from(part), 0, AppendOrigin::OldClient, NOW).unwrap();
        assert_eq!((info.first_offset, info.records, info.bytes, log.log_end_offset()), (-1, 0, 0, 1));
        let refused = log.append_as_leader(BytesMut::from(part), 0, AppendOrigin::Client, NOW);
        assert!(matches!(refused, Err(AppendError::Validation(_))));
    }
}
