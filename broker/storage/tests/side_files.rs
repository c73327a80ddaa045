//! Files beside the log that are gone, cut or hold something else: they are made anew from the log or ignored, never trusted against it.

#![allow(clippy::unwrap_used, reason = "a failure is the test's answer")]

mod support;

use std::path::Path;

use bytes::BytesMut;
use milena_protocol::records::BatchBuilder;
use milena_protocol::types::{Offset, Timestamp};
use milena_storage::disk::Crash;
use milena_storage::{AppendOrigin, Disk, LogConfig, SimDisk};
use support::*;

const DIR: &str = "/data/topic-0";
const PRODUCER: i64 = 5;
const BATCHES: i32 = 40;

#[derive(Clone, Copy, Debug)]
enum Damage {
    Deleted,
    Emptied,
    CutInHalf,
    CutInsideAnEntry,
    Garbage,
    /// What another file of its kind holds.
    Swapped,
}

const ALL: [Damage; 6] =
    [Damage::Deleted, Damage::Emptied, Damage::CutInHalf, Damage::CutInsideAnEntry, Damage::Garbage, Damage::Swapped];

fn config() -> LogConfig {
    LogConfig { segment_bytes: 1500, index_interval_bytes: 150, ..LogConfig::default() }
}

/// A log of several segments in two leader epochs, written by one idempotent producer whose timestamps grow.
fn written(is_clean: bool) -> SimDisk {
    let disk = SimDisk::new(3);
    let mut opener = Opener::sim(&disk);
    opener.config = config();
    let mut log = opener.open();
    for sequence in 0..BATCHES {
        let epoch = i32::from(sequence >= BATCHES / 2);
        let batch = produced(sequence);
        log.append_as_leader(batch, epoch, AppendOrigin::Client, NOW).unwrap();
    }
    if is_clean {
        log.close(NOW).unwrap();
    } else {
        log.flush(NOW).unwrap();
        disk.crash(Crash::Process);
    }
    disk
}

/// One record, ten milliseconds after the one before.
fn produced(sequence: i32) -> BytesMut {
    let mut builder = BatchBuilder::new().producer(PRODUCER, 0, sequence);
    builder.append(timestamp(sequence), None, Some(value(sequence).as_bytes()), []);
    builder.build().unwrap()
}

fn timestamp(sequence: i32) -> Timestamp {
    NOW + 10 * i64::from(sequence)
}

fn value(sequence: i32) -> String {
    format!("{sequence:060}")
}

fn damage(disk: &SimDisk, path: &Path, damage: Damage, other: &[u8]) {
    let mut bytes = disk.bytes(path).unwrap();
    match damage {
        Damage::Deleted => return disk.remove_file(path).unwrap(),
        Damage::Emptied => bytes.clear(),
        Damage::CutInHalf => bytes.truncate(bytes.len() / 2),
        Damage::CutInsideAnEntry => bytes.truncate(bytes.len().saturating_sub(3)),
        Damage::Garbage => bytes.iter_mut().for_each(|byte| *byte = byte.wrapping_mul(31).wrapping_add(7)),
        Damage::Swapped => bytes = other.to_vec(),
    }
    disk.set_bytes(path, &bytes);
}

fn check(disk: &SimDisk, is_clean: bool, context: &str) {
    let mut opener = Opener::sim(disk);
    opener.config = config();
    opener.clean_shutdown = is_clean;
    let mut log = opener.try_open().unwrap_or_else(|error| panic!("{context}: {error}")).0;
    let expected: Vec<(Offset, String)> = (0..BATCHES).map(|sequence| (i64::from(sequence), value(sequence))).collect();
    assert_eq!(values(&log), expected, "{context}");
    let reader = log.reader();
    for (offset, value) in &expected {
        let range = reader.read(*offset, 1, Offset::MAX, true).unwrap().range.unwrap();
        let mut bytes = vec![0; range.len];
        range.source.read_exact_at(&mut bytes, range.position).unwrap();
        assert_eq!(values_in(&bytes), [(*offset, value.clone())], "{context}");
    }
    for sequence in 0..BATCHES {
        let found = reader.offset_for_timestamp(timestamp(sequence) - 5, Offset::MAX).unwrap();
        assert_eq!(found.map(|found| found.offset), Some(i64::from(sequence)), "{context}");
    }
    let latest = reader.max_timestamp_offset().unwrap();
    assert_eq!(latest.map(|found| found.offset), Some(i64::from(BATCHES) - 1), "{context}");
    assert_eq!(reader.offset_for_timestamp(timestamp(BATCHES), Offset::MAX).unwrap(), None, "{context}");
    let ends = [0, 1].map(|epoch| reader.end_offset_for_epoch(epoch).map(|end| end.end_offset));
    assert_eq!(ends, [Some(i64::from(BATCHES / 2)), Some(i64::from(BATCHES))], "{context}");
    // The last batch again is a duplicate, and the next one follows.
    let last = produced(BATCHES - 1);
    let again = log.append_as_leader(last, 1, AppendOrigin::Client, NOW).unwrap();
    assert_eq!((again.duplicate, again.first_offset), (true, i64::from(BATCHES) - 1), "{context}");
    let next = log.append_as_leader(produced(BATCHES), 1, AppendOrigin::Client, NOW);
    assert_eq!(next.unwrap().first_offset, i64::from(BATCHES), "{context}");
}

fn every_file(suffix: &str, damages: &[Damage]) {
    for is_clean in [true, false] {
        let original = written(is_clean);
        let files: Vec<_> =
            original.files().into_iter().filter(|(path, _)| path.to_string_lossy().ends_with(suffix)).collect();
        assert!(!files.is_empty(), "no {suffix}");
        for (index, (path, _)) in files.iter().enumerate() {
            for kind in damages {
                let disk = original.fork();
                let other = &files[(index + 1) % files.len()].1;
                damage(&disk, path, *kind, other);
                let context = format!("{} {kind:?}, clean stop: {is_clean}", path.display());
                check(&disk, is_clean, &context);
            }
        }
    }
}

#[test]
fn the_log_is_whole_without_any_damage() {
    for is_clean in [true, false] {
        check(&written(is_clean), is_clean, "no damage");
    }
    assert!(written(true).files().keys().filter(|path| path.starts_with(DIR)).count() > 12);
}

#[test]
fn offset_indexes_are_only_hints() {
    every_file(".index", &ALL);
}

/// The last entry of a time index was believed: one that was emptied, swapped or older hid whole segments from a search by
/// timestamp, and from `max_timestamp_offset`.
#[test]
fn time_indexes_do_not_decide_what_is_there() {
    every_file(".timeindex", &ALL);
}

#[test]
fn leader_epochs_are_read_from_the_log_where_their_file_cannot_be_read_or_is_of_another_log() {
    every_file("leader-epoch-checkpoint", &[Damage::Deleted, Damage::Emptied, Damage::Garbage]);
    let half = (BATCHES / 2).to_string();
    let written = |entries: &str| format!("0\n{}\n{entries}", entries.lines().count());
    let others =
        ["0 0\n", "1 0\n", "0 0\n1 7\n", "0 0\n1 39\n", "0 0\n7 30\n", "0 0\n1 20\n2 30\n", "0 5\n1 10\n3 15\n"];
    for is_clean in [true, false] {
        for other in others {
            let disk = self::written(is_clean);
            let other = written(other);
            assert!(!other.ends_with(&format!("1 {half}\n")));
            disk.set_bytes(&Path::new(DIR).join("leader-epoch-checkpoint"), other.as_bytes());
            check(&disk, is_clean, &format!("{other:?}, clean stop: {is_clean}"));
        }
    }
}

#[test]
fn producers_are_known_without_their_snapshots() {
    every_file(".snapshot", &ALL);
}
