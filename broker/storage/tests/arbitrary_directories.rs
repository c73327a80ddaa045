//! Partition directories that no log ever wrote, opened: what fuzzing found stays found.

#![allow(clippy::unwrap_used, reason = "a failure is the test's answer")]

mod support;

use std::path::Path;

use bytes::BytesMut;
use milena_protocol::record_batch::set_base_offset;
use milena_protocol::records::BatchBuilder;
use milena_storage::{Disk, SimDisk};
use support::*;

const DIR: &str = "/data/topic-0";

fn disk_with(files: &[(&str, &[u8])]) -> SimDisk {
    let disk = SimDisk::new(1);
    disk.create_dir_all(Path::new(DIR)).unwrap();
    for (name, bytes) in files {
        disk.set_bytes(&Path::new(DIR).join(name), bytes);
    }
    disk
}

fn batch_at(offset: i64, values: &[&str]) -> Vec<u8> {
    let mut batch = batch(NOW, values).to_vec();
    set_base_offset(&mut batch, offset);
    batch
}

fn keyed(value: &str) -> BytesMut {
    let mut builder = BatchBuilder::new();
    builder.append(NOW, Some(b"key"), Some(value.as_bytes()), []);
    builder.build().unwrap()
}

/// A segment was restored beside a later state of the one before it. Recovery read both and believed the second about where the log ends: the next append
/// was given an offset that a record in the first segment had.
#[test]
fn a_segment_that_begins_below_the_end_of_the_one_before_it_is_removed() {
    let whole = [batch_at(0, &["0", "1"]), batch_at(2, &["2", "3"])].concat();
    let stale = batch_at(2, &["old"]);
    let disk = disk_with(&[("00000000000000000000.log", &whole), ("00000000000000000002.log", &stale)]);
    let mut opener = Opener::sim(&disk);
    for compact in [false, true] {
        opener.config.cleanup_policy.compact = compact;
        let mut log = opener.open();
        assert_eq!(values(&log).len(), 4);
        assert_eq!(log.log_end_offset(), 4);
        let next = append_batch(&mut log, keyed("4")).unwrap();
        assert_eq!(next.first_offset, 4);
        drop(log);
        disk.set_bytes(&Path::new(DIR).join("00000000000000000000.log"), &whole);
        disk.set_bytes(&Path::new(DIR).join("00000000000000000002.log"), &stale);
    }
}

/// The snapshot at the beginning of the only segment was lost; an older one said who had written below it. The first recovery took that state and removed
/// the file as a stray one, so that the second recovery had forgotten the producers, and their retries would have been written twice.
#[test]
fn producers_known_from_an_old_snapshot_survive_a_second_recovery() {
    let written = SimDisk::new(1);
    let mut log = Opener::sim(&written).open();
    append_batch(&mut log, idempotent(5, 0, 0, &["a", "b"])).unwrap();
    log.close(NOW).unwrap();
    let snapshot = written.bytes(&Path::new(DIR).join("00000000000000000002.snapshot")).unwrap();

    let disk = disk_with(&[
        ("00000000000000000013.log", &batch_at(13, &["later"])),
        ("00000000000000000002.snapshot", &snapshot),
    ]);
    for opening in ["first", "second", "third"] {
        let log = Opener::sim(&disk).open();
        let known: Vec<i64> = log.active_producers().iter().map(|producer| producer.producer_id).collect();
        assert_eq!(known, [5], "{opening} opening");
    }
}
