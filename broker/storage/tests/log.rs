//! A log through its public API: what is appended is read, survives reopening, rolls, is deleted and cut.

#![allow(clippy::unwrap_used, reason = "a failure is the test's answer")]

mod support;

use std::path::Path;
use std::sync::Arc;

use bytes::BytesMut;
use milena_protocol::control_record::{EndTransactionMarker, TransactionResult};
use milena_protocol::records::BatchBuilder;
use milena_protocol::types::{Offset, Timestamp};
use milena_storage::disk::{Crash, Fault};
use milena_storage::error::{OffsetOutOfRange, ProducerStateError};
use milena_storage::{
    AppendError, AppendOrigin, CleanupPolicy, Disk, Log, LogConfig, ReadError, RecoveryReport, SimDisk, StorageError,
};
use support::*;

fn owned(expected: &[(Offset, &str)]) -> Vec<(Offset, String)> {
    expected.iter().map(|&(offset, value)| (offset, value.to_owned())).collect()
}

/// A log of segments that hold two of the batches `["x…"]`.
fn small_segments(disk: &SimDisk) -> Opener {
    let mut opener = Opener::sim(disk);
    opener.config = LogConfig { segment_bytes: 150, index_interval_bytes: 0, ..LogConfig::default() };
    opener
}

fn names(disk: &SimDisk) -> Vec<String> {
    let listing = disk.read_dir(Path::new("/data/topic-0")).unwrap();
    listing.into_iter().map(|entry| entry.name).collect()
}

#[test]
fn what_is_appended_is_read_and_survives_a_clean_stop() {
    let disk = SimDisk::new(1);
    let mut opener = Opener::sim(&disk);
    let mut log = opener.open();
    assert_eq!(append(&mut log, &["a", "b"]).first_offset, 0);
    assert_eq!(append(&mut log, &["c"]).first_offset, 2);
    let expected = owned(&[(0, "a"), (1, "b"), (2, "c")]);
    assert_eq!(values(&log), expected);
    log.close(NOW).unwrap();
    assert!(matches!(append_batch(&mut log, batch(NOW, &["late"])), Err(AppendError::Offline)));
    opener.clean_shutdown = true;
    let (log, report) = opener.try_open().unwrap();
    assert_eq!(report, RecoveryReport::default());
    assert_eq!(values(&log), expected);
    assert_eq!(log.recovery_point(), 3);
}

#[test]
fn an_append_is_one_write_and_nothing_else() {
    let disk = SimDisk::new(1);
    let mut log = Opener::sim(&disk).open();
    append(&mut log, &["first"]);
    let before = disk.operations();
    for _ in 0..50 {
        append(&mut log, &["next"]);
    }
    assert_eq!(disk.operations(), before + 50);
}

#[test]
fn an_empty_log_has_kafkas_files() {
    let disk = SimDisk::new(1);
    let mut log = Opener::sim(&disk).open();
    log.start_leader_epoch(0).unwrap();
    let expected = [
        "00000000000000000000.index",
        "00000000000000000000.log",
        "00000000000000000000.timeindex",
        "leader-epoch-checkpoint",
        "partition.metadata",
    ];
    assert_eq!(names(&disk), expected);
    assert_eq!(disk.bytes(Path::new("/data/topic-0/leader-epoch-checkpoint")).unwrap(), b"0\n1\n0 0\n");
}

#[test]
fn segments_roll_by_size_and_a_read_stays_inside_one() {
    let disk = SimDisk::new(1);
    let mut log = small_segments(&disk).open();
    for value in ["x0", "x1", "x2", "x3", "x4"] {
        append(&mut log, &[value]);
    }
    assert_eq!(log.segments(), 3);
    let plan = log.reader().read(0, usize::MAX, 5, false).unwrap();
    assert_eq!(plan.len(), 2 * 70);
    assert_eq!(values(&log), owned(&[(0, "x0"), (1, "x1"), (2, "x2"), (3, "x3"), (4, "x4")]));
    let listed = names(&disk);
    for name in ["00000000000000000002.log", "00000000000000000002.snapshot", "00000000000000000004.snapshot"] {
        assert!(listed.iter().any(|listed| listed == name), "{name} in {listed:?}");
    }
    assert_eq!(disk.bytes(Path::new("/data/topic-0/00000000000000000000.index")).unwrap(), [0, 0, 0, 1, 0, 0, 0, 70]);
    assert_eq!(disk.bytes(Path::new("/data/topic-0/00000000000000000000.timeindex")).unwrap().len(), 12);
}

#[test]
fn segments_roll_by_the_time_of_records() {
    let disk = SimDisk::new(1);
    let mut opener = Opener::sim(&disk);
    opener.config.segment_ms = 1000;
    let mut log = opener.open();
    let mut at = |timestamp: Timestamp| append_batch(&mut log, batch(timestamp, &["x"])).unwrap().segment_rolled;
    assert_eq!([NOW, NOW + 1000, NOW + 1001, NOW + 1500].map(&mut at), [false, false, true, false]);
}

#[test]
fn segments_roll_when_an_index_is_full() {
    let disk = SimDisk::new(1);
    let mut opener = Opener::sim(&disk);
    opener.config = LogConfig { segment_index_bytes: 3 * 8, index_interval_bytes: 0, ..LogConfig::default() };
    let mut log = opener.open();
    for step in 0..6 {
        append_batch(&mut log, batch(NOW + step, &["x"])).unwrap();
    }
    // Two entries of the time index is one too many for 24 bytes.
    assert_eq!(log.segments(), 3);
    assert_eq!(values(&log).len(), 6);
}

#[test]
fn reads_are_cut_exactly_and_bounded() {
    let disk = SimDisk::new(1);
    let mut log = Opener::sim(&disk).open();
    append(&mut log, &["a", "b"]);
    append(&mut log, &["c"]);
    append(&mut log, &["d"]);
    let reader = log.reader();
    let sizes: Vec<usize> = headers(&read_bytes(&reader, 0))
        .iter()
        .map(milena_protocol::record_batch::BatchHeader::size_in_bytes)
        .collect();
    let check = |start, max_bytes, bound, min_one_batch, position: u64, len: usize| {
        let plan = reader.read(start, max_bytes, bound, min_one_batch).unwrap();
        assert_eq!(plan.len(), len);
        assert!(plan.range.is_none_or(|range| range.position == position));
    };
    check(0, usize::MAX, 4, false, 0, sizes[0] + sizes[1] + sizes[2]);
    check(1, usize::MAX, 4, false, 0, sizes[0] + sizes[1] + sizes[2]);
    check(2, usize::MAX, 4, false, sizes[0] as u64, sizes[1] + sizes[2]);
    check(0, usize::MAX, 3, false, 0, sizes[0] + sizes[1]);
    check(0, sizes[0] + 5, 4, false, 0, sizes[0] + 5);
    check(0, 5, 4, true, 0, sizes[0]);
    check(0, 5, 4, false, 0, 5);
    check(0, 0, 4, false, 0, 0);
    check(4, 100, 4, true, 0, 0);
    check(3, 100, 2, true, 0, 0);
    let out_of_range = OffsetOutOfRange { offset: 5, log_start_offset: 0, log_end_offset: 4 };
    assert!(matches!(reader.read(5, 1, 9, true), Err(ReadError::OffsetOutOfRange(error)) if error == out_of_range));
    assert!(matches!(reader.read(-1, 1, 9, true), Err(ReadError::OffsetOutOfRange(_))));
    assert_eq!(reader.bytes_between(0, 4).unwrap(), sizes.iter().sum::<usize>() as u64);
    assert_eq!(reader.bytes_between(2, 3).unwrap(), sizes[1] as u64);
    assert_eq!(reader.bytes_between(4, 4).unwrap(), 0);
}

#[test]
fn positions_are_found_without_what_is_kept_in_memory() {
    let disk = SimDisk::new(1);
    let mut opener = Opener::sim(&disk);
    opener.config = LogConfig { segment_bytes: 3000, index_interval_bytes: 300, ..LogConfig::default() };
    let mut log = opener.open();
    for offset in 0..200 {
        append(&mut log, &[&format!("value {offset}")]);
    }
    let expected = values(&log);
    log.close(NOW).unwrap();
    opener.clean_shutdown = true;
    let log = opener.open();
    let reader = log.reader();
    for start in 0..200 {
        let plan = reader.read(start, 1, 200, true).unwrap();
        let range = plan.range.unwrap();
        let mut bytes = vec![0; range.len];
        range.source.read_exact_at(&mut bytes, range.position).unwrap();
        assert_eq!(values_in(&bytes), [expected[start as usize].clone()]);
    }
    let total: u64 = (0..200).map(|start| reader.bytes_between(start, start + 1).unwrap()).sum();
    assert_eq!(total, reader.bytes_between(0, 200).unwrap());
    assert_eq!(total, reader.size_in_bytes());
    assert!(opener.descriptors.open_files() <= 10);
}

#[test]
fn a_full_disk_cuts_the_partial_batch_and_takes_bytes_again_when_there_is_room() {
    let disk = SimDisk::new(3);
    let mut log = small_segments(&disk).open();
    append(&mut log, &["a"]);
    for values in [["long value number one"], ["long value number two"]] {
        disk.fail_after(0, Fault::Full);
        let refused = append_batch(&mut log, batch(NOW, &values));
        assert!(matches!(refused, Err(AppendError::DiskFull(_))), "{refused:?}");
        assert_eq!(disk.bytes(Path::new("/data/topic-0/00000000000000000000.log")).unwrap().len(), 69);
    }
    disk.heal();
    assert!(!log.is_offline());
    assert_eq!(append(&mut log, &["b"]).first_offset, 1);
    disk.fail_after(0, Fault::Full);
    assert!(
        matches!(append_batch(&mut log, batch(NOW, &["c"])), Err(AppendError::DiskFull(_))),
        "the roll finds no room"
    );
    disk.heal();
    assert_eq!(append(&mut log, &["c"]).first_offset, 2);
    assert_eq!(values(&log), owned(&[(0, "a"), (1, "b"), (2, "c")]));
    drop(log);
    assert_eq!(values(&small_segments(&disk).open()), owned(&[(0, "a"), (1, "b"), (2, "c")]));
}

#[test]
fn a_broken_disk_takes_the_log_offline_and_acknowledges_nothing() {
    let disk = SimDisk::new(3);
    let mut log = Opener::sim(&disk).open();
    append(&mut log, &["a"]);
    disk.fail_after(0, Fault::Broken);
    assert!(matches!(append_batch(&mut log, batch(NOW, &["b"])), Err(AppendError::Disk(_))));
    assert!(matches!(append_batch(&mut log, batch(NOW, &["b"])), Err(AppendError::Offline)));
    assert_eq!(log.reader().log_end_offset(), 1);
    assert_eq!(values(&log), owned(&[(0, "a")]));
}

#[test]
fn a_failed_sync_is_final() {
    let disk = SimDisk::new(3);
    let mut log = Opener::sim(&disk).open();
    append(&mut log, &["a"]);
    disk.fail_after(0, Fault::Broken);
    assert!(log.flush(NOW).is_err());
    assert!(matches!(log.flush(NOW), Err(StorageError::Offline)));
    assert_eq!(log.recovery_point(), 0);
}

#[test]
fn a_sync_covers_what_was_there_when_its_handle_was_taken() {
    let disk = SimDisk::new(3);
    let mut log = Opener::sim(&disk).open();
    append(&mut log, &["a"]);
    let handle = log.sync_handle();
    append(&mut log, &["b"]);
    log.roll(NOW).unwrap();
    append(&mut log, &["c"]);
    let synced = handle.sync().unwrap();
    log.on_synced(&synced, NOW + 5);
    assert_eq!((log.recovery_point(), log.unflushed_records(), log.last_flush_time()), (1, 2, NOW + 5));
    log.on_synced(&log.sync_handle().sync().unwrap(), NOW);
    assert!(log.sync_handle().is_empty());
    let late = {
        append(&mut log, &["d"]);
        log.sync_handle()
    };
    let late = late.sync().unwrap();
    log.truncate_to(2, NOW).unwrap();
    append(&mut log, &["other c", "other d"]);
    log.on_synced(&late, NOW);
    assert_eq!(log.recovery_point(), 2, "a sync from before the cut proves nothing about what came after it");
}

#[test]
fn delete_records_moves_the_start_inside_a_batch() {
    let disk = SimDisk::new(1);
    let mut log = small_segments(&disk).open();
    append(&mut log, &["a", "b", "c"]);
    append(&mut log, &["d"]);
    assert!(matches!(log.delete_records(5, 4), Err(StorageError::OffsetOutOfRange(_))));
    assert!(matches!(log.delete_records(-2, 4), Err(StorageError::OffsetOutOfRange(_))));
    assert_eq!(log.delete_records(1, 4).unwrap(), 1);
    assert_eq!(values(&log), owned(&[(1, "b"), (2, "c"), (3, "d")]));
    assert!(matches!(log.reader().read(0, 1, 4, true), Err(ReadError::OffsetOutOfRange(_))));
    assert_eq!(log.delete_records(0, 4).unwrap(), 1, "it never goes back");
    assert_eq!(log.delete_records(-1, 4).unwrap(), 4);
    assert_eq!(values(&log), []);
    assert_eq!(append(&mut log, &["e"]).log_start_offset, 4);
}

#[test]
fn retention_renames_reports_and_keeps_readers_working() {
    let disk = SimDisk::new(1);
    let mut opener = small_segments(&disk);
    opener.config.retention_ms = 1000;
    let mut log = opener.open();
    for value in ["x0", "x1", "x2", "x3", "x4"] {
        append(&mut log, &[value]);
    }
    let held = log.reader().read(0, 100, 5, true).unwrap().range.unwrap();
    assert_eq!(log.run_retention(NOW + 1000, 5).unwrap(), None);
    assert_eq!(log.run_retention(NOW + 2000, 1).unwrap(), None, "nothing above the high watermark");
    let deletion = log.run_retention(NOW + 2000, 4).unwrap().unwrap();
    assert_eq!(deletion.at, NOW + 2000 + 60_000);
    assert_eq!((log.log_start_offset(), log.reader().log_start_offset()), (4, 4));
    assert!(names(&disk).contains(&"00000000000000000000.log.deleted".to_owned()));
    deletion.execute(&disk).unwrap();
    deletion.execute(&disk).unwrap();
    assert!(!names(&disk).iter().any(|name| name.contains("deleted") || name.starts_with("00000000000000000002")));
    let mut bytes = vec![0; held.len];
    held.source.read_exact_at(&mut bytes, held.position).unwrap();
    let deletion = log.run_retention(NOW + 2000, 5).unwrap().unwrap();
    deletion.execute(&disk).unwrap();
    assert_eq!((log.log_start_offset(), log.log_end_offset(), log.segments()), (5, 5, 1));
    assert_eq!(append(&mut log, &["x5"]).first_offset, 5);
    drop(log);
    let log = opener.open();
    assert_eq!((log.log_start_offset(), values(&log)), (5, owned(&[(5, "x5")])));
}

#[test]
fn an_empty_cleanup_policy_keeps_everything() {
    let disk = SimDisk::new(1);
    let mut opener = small_segments(&disk);
    opener.config.retention_ms = 0;
    opener.config.cleanup_policy = CleanupPolicy { delete: false, compact: false };
    let mut log = opener.open();
    for value in ["x0", "x1", "x2"] {
        append(&mut log, &[value]);
    }
    assert_eq!(log.run_retention(NOW * 2, 3).unwrap(), None);
}

#[test]
fn truncation_cuts_segments_indexes_epochs_and_producers() {
    let disk = SimDisk::new(1);
    let mut log = small_segments(&disk).open();
    log.start_leader_epoch(1).unwrap();
    for sequence in 0..5 {
        log.append_as_leader(idempotent(9, 0, sequence, &["x"]), 1, AppendOrigin::Client, NOW).unwrap();
    }
    log.start_leader_epoch(3).unwrap();
    log.append_as_leader(idempotent(9, 0, 5, &["x"]), 3, AppendOrigin::Client, NOW).unwrap();
    assert!(!log.truncate_to(6, NOW).unwrap());
    assert!(log.truncate_to(3, NOW).unwrap());
    assert_eq!((log.log_end_offset(), log.reader().latest_epoch()), (3, Some(1)));
    assert_eq!(values(&log).len(), 3);
    let refused = log.append_as_leader(idempotent(9, 0, 4, &["x"]), 1, AppendOrigin::Client, NOW);
    assert!(matches!(refused, Err(AppendError::Producer(ProducerStateError::OutOfOrderSequence(_)))), "{refused:?}");
    let info = log.append_as_leader(idempotent(9, 0, 3, &["y"]), 4, AppendOrigin::Client, NOW).unwrap();
    assert_eq!(info.first_offset, 3);
    let before = values(&log);
    drop(log);
    let log = small_segments(&disk).open();
    assert_eq!(values(&log), before);
    assert_eq!(log.reader().end_offset_for_epoch(1).unwrap().end_offset, 3);
    assert_eq!(log.reader().epoch_for_offset(3), Some(4));
}

#[test]
fn a_log_can_start_anew_elsewhere() {
    let disk = SimDisk::new(1);
    let mut log = small_segments(&disk).open();
    for value in ["x0", "x1", "x2"] {
        append(&mut log, &[value]);
    }
    log.truncate_fully_and_start_at(100, NOW).unwrap();
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (100, 100));
    assert_eq!(append(&mut log, &["y"]).first_offset, 100);
    drop(log);
    assert_eq!(values(&small_segments(&disk).open()), owned(&[(100, "y")]));
}

/// A `.snapshot` keeps one batch of a producer; a retry of any of the last five must still be recognised after a restart.
#[test]
fn the_last_five_batches_of_a_producer_are_known_after_any_restart() {
    for is_clean in [true, false] {
        let disk = SimDisk::new(1);
        let mut opener = small_segments(&disk);
        opener.config.segment_bytes = 400;
        let mut log = opener.open();
        for sequence in 0..9 {
            append_batch(&mut log, idempotent(9, 2, sequence, &["x"])).unwrap();
        }
        if is_clean {
            log.close(NOW).unwrap();
        }
        drop(log);
        opener.clean_shutdown = is_clean;
        let mut log = opener.open();
        for sequence in 4..9 {
            let info = append_batch(&mut log, idempotent(9, 2, sequence, &["x"])).unwrap();
            assert_eq!((info.duplicate, info.first_offset), (true, Offset::from(sequence)), "clean: {is_clean}");
            assert_eq!(info.log_append_time, NOW);
        }
        let old = append_batch(&mut log, idempotent(9, 2, 3, &["x"]));
        assert!(matches!(old, Err(AppendError::Producer(ProducerStateError::OutOfOrderSequence(_)))), "{old:?}");
        assert_eq!(append_batch(&mut log, idempotent(9, 2, 9, &["x"])).unwrap().first_offset, 9);
    }
}

fn transactional(producer_id: i64, sequence: i32, value: &str) -> BytesMut {
    let mut builder = BatchBuilder::new().producer(producer_id, 0, sequence).transactional(true);
    builder.append(NOW, None, Some(value.as_bytes()), []);
    builder.build().unwrap()
}

fn end_transaction(log: &mut Log, producer_id: i64, result: TransactionResult) -> Offset {
    let marker = EndTransactionMarker { result, coordinator_epoch: 1 }.batch(producer_id, 0, NOW);
    log.append_as_leader(marker, 0, AppendOrigin::Coordinator, NOW).unwrap().first_offset
}

fn aborted(log: &Log) -> Vec<(i64, Offset, Offset, Offset)> {
    let listed = log.reader().aborted_transactions(0, 100).unwrap();
    listed
        .iter()
        .map(|entry| (entry.producer_id, entry.first_offset, entry.last_offset, entry.last_stable_offset))
        .collect()
}

#[test]
fn transactions_hold_the_last_stable_offset_and_aborted_ones_are_listed() {
    let disk = SimDisk::new(1);
    let mut opener = Opener::sim(&disk);
    opener.config = LogConfig { segment_bytes: 300, ..LogConfig::default() };
    let mut log = opener.open();
    append_batch(&mut log, transactional(1, 0, "aborted")).unwrap();
    append_batch(&mut log, transactional(2, 0, "open")).unwrap();
    append_batch(&mut log, transactional(3, 0, "committed")).unwrap();
    assert_eq!(log.reader().last_stable_offset(3), 0);
    assert_eq!(end_transaction(&mut log, 1, TransactionResult::Abort), 3);
    assert_eq!(end_transaction(&mut log, 3, TransactionResult::Commit), 4);
    log.on_high_watermark(4);
    assert_eq!(log.reader().last_stable_offset(5), 1);
    assert!(log.has_ongoing_transaction(2, 0) && !log.has_ongoing_transaction(1, 0));
    let expected = [(1, 0, 3, 1)];
    assert_eq!(aborted(&log), expected);
    for is_clean in [false, true] {
        if is_clean {
            log.close(NOW).unwrap();
        }
        drop(log);
        opener.clean_shutdown = is_clean;
        log = opener.open();
        assert_eq!(aborted(&log), expected);
        assert_eq!(log.reader().first_unstable_offset(), Some(i64::from(is_clean)));
        log.on_high_watermark(5);
        assert_eq!(log.reader().first_unstable_offset(), Some(1));
    }
    end_transaction(&mut log, 2, TransactionResult::Abort);
    log.on_high_watermark(6);
    assert_eq!(log.reader().first_unstable_offset(), None);
    assert_eq!(aborted(&log), [(1, 0, 3, 1), (2, 1, 5, 6)]);
}

#[test]
fn a_full_disk_at_an_abort_marker_leaves_no_trace() {
    for after in 0..3 {
        let disk = SimDisk::new(5);
        let mut log = Opener::sim(&disk).open();
        append_batch(&mut log, transactional(1, 0, "aborted")).unwrap();
        disk.fail_after(after, Fault::Full);
        let marker = EndTransactionMarker { result: TransactionResult::Abort, coordinator_epoch: 1 }.batch(1, 0, NOW);
        let result = log.append_as_leader(marker, 0, AppendOrigin::Coordinator, NOW);
        assert!(matches!(result, Err(AppendError::DiskFull(_))), "{after}: {result:?}");
        assert_eq!(aborted(&log), []);
        assert!(log.has_ongoing_transaction(1, 0));
        disk.heal();
        end_transaction(&mut log, 1, TransactionResult::Abort);
        assert_eq!(aborted(&log), [(1, 0, 1, 2)]);
    }
}

#[test]
fn records_are_found_by_their_timestamps() {
    let disk = SimDisk::new(1);
    let mut log = small_segments(&disk).open();
    let mut builder = BatchBuilder::new();
    builder.append(1000, None, Some(b"a"), []).append(3000, None, Some(b"b"), []).append(2000, None, Some(b"c"), []);
    append_batch(&mut log, builder.build().unwrap()).unwrap();
    append_batch(&mut log, batch(2500, &["d"])).unwrap();
    append_batch(&mut log, batch(4000, &["e", "f"])).unwrap();
    append_batch(&mut log, batch(3500, &["g"])).unwrap();
    let check = |log: &Log, timestamp, bound, expected: Option<(Timestamp, Offset)>| {
        let found = log.reader().offset_for_timestamp(timestamp, bound).unwrap();
        assert_eq!(found.map(|found| (found.timestamp, found.offset)), expected, "{timestamp} below {bound}");
    };
    for round in 0..2 {
        check(&log, 0, 100, Some((1000, 0)));
        check(&log, 1001, 100, Some((3000, 1)));
        check(&log, 3001, 100, Some((4000, 4)));
        check(&log, 4001, 100, None);
        check(&log, 3001, 4, None);
        let newest = log.reader().max_timestamp_offset().unwrap().unwrap();
        assert_eq!((newest.timestamp, newest.offset), (4000, 4), "round {round}");
        drop(log);
        log = small_segments(&disk).open();
    }
    log.delete_records(2, 7).unwrap();
    check(&log, 0, 100, Some((2000, 2)));
    assert_eq!(
        Opener::on(Arc::new(SimDisk::new(1)), Path::new("/d/t-0")).open().reader().max_timestamp_offset().unwrap(),
        None
    );
}

#[test]
fn a_follower_appends_batches_as_they_are() {
    let disk = SimDisk::new(1);
    let mut leader = Opener::sim(&disk).open();
    append_batch(&mut leader, transactional(1, 0, "aborted")).unwrap();
    end_transaction(&mut leader, 1, TransactionResult::Abort);
    leader.append_as_leader(batch(NOW, &["x", "y"]), 3, AppendOrigin::Client, NOW).unwrap();
    let bytes = read_bytes(&leader.reader(), 0);
    let mut follower = Opener::on(Arc::new(SimDisk::new(2)), Path::new("/data/topic-0")).open();
    let info = follower.append_as_follower(&bytes[..bytes.len() - 1], NOW).unwrap();
    assert_eq!((info.first_offset, info.last_offset, follower.log_end_offset()), (0, 1, 2));
    assert!(matches!(follower.append_as_follower(&bytes, NOW), Err(AppendError::UnexpectedAppendOffset(_))));
    let rest = read_bytes(&leader.reader(), 2);
    follower.append_as_follower(&rest, NOW).unwrap();
    assert_eq!(read_bytes(&follower.reader(), 0), bytes);
    assert_eq!(aborted(&follower), aborted(&leader));
    assert_eq!(follower.reader().end_offset_for_epoch(0).unwrap().end_offset, 2);
    let mut flipped = rest.clone();
    *flipped.last_mut().unwrap() ^= 1;
    assert!(matches!(follower.append_as_follower(&flipped, NOW), Err(AppendError::Validation(_))));
}

#[test]
fn another_topics_directory_is_refused() {
    let disk = SimDisk::new(1);
    drop(Opener::sim(&disk).open());
    disk.set_bytes(Path::new("/data/topic-0/partition.metadata"), b"version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAACQ");
    assert!(matches!(Opener::sim(&disk).try_open(), Err(StorageError::InconsistentTopicId(_))));
}

#[test]
fn a_deleted_topics_directory_is_renamed_and_removed_later() {
    let disk = SimDisk::new(1);
    let mut log = Opener::sim(&disk).open();
    append(&mut log, &["a"]);
    let deletion = log.delete(uuid::Uuid::from_u128(0xabc), NOW).unwrap();
    let expected = Path::new("/data/topic-0.00000000000000000000000000000abc-delete");
    assert_eq!((deletion.at, &*deletion.paths), (NOW + 60_000, &[expected.to_owned()][..]));
    assert_eq!(log.dir(), expected);
    assert_eq!(values(&log), owned(&[(0, "a")]), "who reads goes on reading");
    assert!(append_batch(&mut log, batch(NOW, &["b"])).is_err());
    drop(Opener::sim(&disk).open());
    deletion.execute(&disk).unwrap();
    assert!(disk.metadata(expected).is_err());
}

/// On a full disk a directory that cannot be renamed is removed at once. What a process left that died in the middle of that, without the topic's id, was taken for
/// the log of a new topic of that name.
#[test]
fn what_is_left_of_a_deletion_on_a_full_disk_is_no_log_of_a_new_topic() {
    for stop_after in 1.. {
        let disk = SimDisk::new(1);
        let mut opener = Opener::sim(&disk);
        let mut log = opener.open();
        append(&mut log, &["a"]);
        disk.fail_after(0, Fault::FullOnce);
        disk.also_fail_after(stop_after, Fault::Stop);
        let is_done = log.delete(uuid::Uuid::from_u128(0xabc), NOW).is_ok();
        disk.crash(Crash::Process);
        opener.topic_id = uuid::Uuid::from_u128(8);
        match opener.try_open() {
            Ok((log, _)) => assert_eq!(log.log_end_offset(), 0, "stopped at {stop_after}"),
            Err(error) => assert!(matches!(error, StorageError::InconsistentTopicId(_)), "{error}"),
        }
        if is_done {
            break;
        }
    }
}

#[test]
fn a_configuration_acts_from_the_next_append_on() {
    let disk = SimDisk::new(1);
    let mut log = Opener::sim(&disk).open();
    append(&mut log, &["a"]);
    log.set_config(Arc::new(LogConfig { max_message_bytes: 70, segment_bytes: 100, ..LogConfig::default() }));
    assert!(append(&mut log, &["b"]).segment_rolled);
    assert!(matches!(append_batch(&mut log, batch(NOW, &["ccc"])), Err(AppendError::Validation(_))));
}

#[test]
fn readers_see_a_growing_log_without_holes_while_it_is_appended_to() {
    let disk = SimDisk::new(1);
    let mut opener = Opener::sim(&disk);
    opener.config =
        LogConfig { segment_bytes: 1000, index_interval_bytes: 100, retention_bytes: 4000, ..LogConfig::default() };
    let mut log = opener.open();
    let reader = log.reader();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut next = 0;
                while next < 2000 {
                    let plan = match reader.read(next, 300, Offset::MAX, true) {
                        Ok(plan) => plan,
                        Err(ReadError::OffsetOutOfRange(error)) => {
                            next = error.log_start_offset;
                            continue;
                        }
                        Err(error) => panic!("at {next}: {error}"),
                    };
                    let Some(range) = plan.range else { continue };
                    let mut bytes = vec![0; plan.first_batch_bytes];
                    range.source.read_exact_at(&mut bytes, range.position).unwrap();
                    let found = values_in(&bytes);
                    assert_eq!(found, [(next, format!("value {next}"))]);
                    next += 1;
                }
            });
        }
        for offset in 0..2000 {
            append(&mut log, &[&format!("value {offset}")]);
            if offset % 100 == 0
                && let Some(deletion) = log.run_retention(NOW, offset).unwrap()
            {
                deletion.execute(&disk).unwrap();
            }
        }
    });
}
