//! Directories that Apache Kafka 4.3.1 wrote (`fixtures/kafka-4.3.1/README.md`): they open, serve the same records, and what we write from the same
//! batches is byte for byte the same.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests read their fixtures and fail by panicking")]

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use milena_protocol::compression::decompress;
use milena_protocol::record_batch::batches;
use milena_protocol::records::records;
use milena_protocol::types::{Offset, TopicPartition};
use milena_storage::log_dir::{LoadLog, OffsetCheckpoint};
use milena_storage::{AppendOrigin, Descriptors, Disk, Log, LogConfig, LogDir, RecoveryReport, SimDisk};
use support::*;

fn config() -> LogConfig {
    LogConfig { segment_bytes: 3000, index_interval_bytes: 200, retention_ms: -1, ..LogConfig::default() }
}

/// A fixture as the disk of a broker.
fn disk_of(fixture: &str) -> SimDisk {
    let disk = SimDisk::new(1);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/kafka-4.3.1").join(fixture);
    let mut open = vec![(root, PathBuf::from("/data"))];
    while let Some((from, to)) = open.pop() {
        disk.create_dir_all(&to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let target = to.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                open.push((entry.path(), target));
                continue;
            }
            let mut bytes = std::fs::read(entry.path()).unwrap();
            let extension = target.extension().and_then(|extension| extension.to_str());
            match extension {
                Some("index") if bytes.len() % 8 != 0 || is_active_of_killed(fixture, &target) => {
                    bytes.resize(10_485_760, 0);
                }
                Some("timeindex") if is_active_of_killed(fixture, &target) => bytes.resize(10_485_756, 0),
                _ => {}
            }
            disk.set_bytes(&target, &bytes);
        }
    }
    disk
}

fn is_active_of_killed(fixture: &str, path: &Path) -> bool {
    let actives = ["empty-0/00000000000000000000", "plain-0/00000000000000000032", "txn-0/00000000000000000037"];
    fixture == "killed" && actives.iter().any(|active| path.with_extension("").ends_with(active))
}

fn open(disk: &SimDisk, topic: &str) -> (LogDir, Log, RecoveryReport) {
    let dir = LogDir::open(Arc::new(disk.clone()), Descriptors::new(10, 1 << 20), Path::new("/data")).unwrap();
    let partition = TopicPartition::new(topic, 0);
    let listed = dir.partitions().unwrap();
    let found = listed.iter().find(|found| found.topic_partition == partition).unwrap();
    assert!(found.topic_id.is_some());
    let load = LoadLog {
        topic_partition: partition,
        topic_id: found.topic_id,
        config: Arc::new(config()),
        now: NOW,
        producer_id_expiration_ms: i64::MAX,
    };
    let (log, report) = dir.load_one(load).unwrap();
    (dir, log, report)
}

fn all_values(log: &Log) -> Vec<(Offset, String)> {
    let bytes = read_bytes(&log.reader(), log.log_start_offset());
    let mut found = Vec::new();
    for batch in batches(&bytes).map(Result::unwrap).filter(|batch| !batch.header().attributes.is_control()) {
        assert!(batch.crc_is_valid());
        let plain = decompress(batch.header().attributes.codec().unwrap(), batch.record_bytes(), 1 << 20).unwrap();
        for record in records(&plain, batch.header().records_count) {
            let record = record.unwrap();
            let value = String::from_utf8_lossy(record.value.unwrap()).into_owned();
            found.push((batch.header().base_offset + i64::from(record.offset_delta), value));
        }
    }
    found
}

fn plain_values(from: Offset) -> Vec<(Offset, String)> {
    (from..40).map(|offset| (offset, format!("value-{offset}"))).collect()
}

#[test]
fn a_cleanly_closed_directory_opens_without_reading_the_log_and_is_left_as_it_was() {
    let disk = disk_of("clean");
    let before = disk.files();
    for topic in ["plain", "txn", "empty"] {
        let (dir, mut log, report) = open(&disk, topic);
        assert!(dir.was_clean_shutdown());
        assert_eq!(
            log.log_end_offset(),
            if topic == "plain" {
                40
            } else if topic == "txn" {
                49
            } else {
                0
            }
        );
        assert_eq!(dir.previous_broker_epoch(), Some(12));
        assert_eq!(dir.meta_properties().unwrap().node_id, Some(1));
        assert_eq!(report, RecoveryReport::default(), "{topic}");
        let other = TopicPartition::new("__transaction_state", 0);
        assert_eq!(dir.checkpointed(OffsetCheckpoint::RecoveryPoint, &other), Some(40));
        log.close(NOW).unwrap();
        dir.release().unwrap();
    }
    let after = disk.files();
    let changed: Vec<_> = after.iter().filter(|&(path, bytes)| before.get(path) != Some(bytes)).collect();
    assert!(changed.is_empty(), "{changed:?}");
    assert_eq!(before.len(), after.len());
}

#[test]
fn its_records_and_transactions_are_served() {
    let disk = disk_of("clean");
    let (dir, log, _) = open(&disk, "plain");
    assert_eq!(all_values(&log), plain_values(0));
    for offset in 0..40 {
        let timestamp = 1_700_000_000_000 + offset * 1000;
        let found = log.reader().offset_for_timestamp(timestamp - 1, 40).unwrap().unwrap();
        assert_eq!((found.offset, found.timestamp), (offset, timestamp));
    }
    dir.release().unwrap();
    let (_dir, mut log, _) = open(&disk, "txn");
    check_transactions(&mut log);
}

fn check_transactions(log: &mut Log) {
    let found = all_values(log);
    assert_eq!(found.len(), 37);
    assert_eq!(found.last().unwrap(), &(48, "open".to_owned()));
    log.on_high_watermark(49);
    assert_eq!(log.reader().last_stable_offset(49), 48);
    let aborted = log.reader().aborted_transactions(0, 49).unwrap();
    assert_eq!(aborted.len(), 6);
    for entry in &aborted {
        let (_, value) = found.iter().find(|(offset, _)| *offset == entry.first_offset).unwrap();
        assert!(value.starts_with("abort-"), "{value}");
    }
    let open: Vec<_> =
        log.active_producers().into_iter().filter_map(|producer| producer.current_transaction_first_offset).collect();
    assert_eq!(open, [48]);
}

#[test]
fn a_killed_directory_is_recovered() {
    let disk = disk_of("killed");
    let (dir, log, report) = open(&disk, "plain");
    assert!(!dir.was_clean_shutdown());
    assert_eq!((report.recovered_segments, report.truncated_bytes), (1, 0));
    assert_eq!(all_values(&log), plain_values(32));
    let listing = dir.disk().read_dir(Path::new("/data/plain-0")).unwrap();
    assert!(listing.iter().all(|entry| !entry.name.ends_with(".deleted") && entry.len < 10_000), "{listing:?}");
    dir.release().unwrap();
    let (dir, mut log, report) = open(&disk, "txn");
    assert_eq!((report.recovered_segments, report.truncated_bytes), (2, 0));
    check_transactions(&mut log);
    dir.release().unwrap();
    let (_dir, log, _) = open(&disk, "empty");
    assert_eq!(log.log_end_offset(), 0);
}

#[test]
fn a_recovery_makes_the_transaction_indexes_that_kafka_made() {
    let disk = disk_of("clean");
    let before = disk.files();
    disk.remove_file(Path::new("/data/.kafka_cleanshutdown")).unwrap();
    disk.set_bytes(Path::new("/data/recovery-point-offset-checkpoint"), b"");
    let (_dir, mut log, report) = open(&disk, "txn");
    assert_eq!(report.recovered_segments, 2);
    check_transactions(&mut log);
    let after = disk.files();
    for name in ["00000000000000000000.txnindex", "00000000000000000037.txnindex", "00000000000000000037.log"] {
        let path = Path::new("/data/txn-0").join(name);
        assert_eq!(after.get(&path), before.get(&path), "{name}");
    }
}

/// The same batches, appended one by one as Kafka did, make the same files.
#[test]
fn the_same_batches_make_the_same_bytes() {
    for topic in ["plain", "txn"] {
        let kafka = disk_of("clean");
        let (dir, log, _) = open(&kafka, topic);
        let topic_id = log.topic_id();
        let all = read_bytes(&log.reader(), 0);
        drop((dir, log));
        let ours = SimDisk::new(2);
        let dir = LogDir::open(Arc::new(ours.clone()), Descriptors::new(10, 1 << 20), Path::new("/data")).unwrap();
        let load = LoadLog {
            topic_partition: TopicPartition::new(topic, 0),
            topic_id,
            config: Arc::new(config()),
            now: NOW,
            producer_id_expiration_ms: i64::MAX,
        };
        let (mut log, _) = dir.create_one(load).unwrap();
        for batch in batches(&all) {
            log.append_as_follower(batch.unwrap().bytes(), NOW).unwrap();
        }
        log.close(NOW).unwrap();
        let in_topic = |disk: &SimDisk| -> BTreeMap<PathBuf, Vec<u8>> {
            let prefix = PathBuf::from(format!("/data/{topic}-0"));
            disk.files().into_iter().filter(|(path, _)| path.starts_with(&prefix)).collect()
        };
        let (expected, written) = (in_topic(&kafka), in_topic(&ours));
        assert_eq!(written.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
        for (path, bytes) in &expected {
            if path.extension().is_some_and(|extension| extension == "snapshot") {
                // Kafka lists producers in the order of a hash map.
                assert_eq!(sorted_entries(&written[path]), sorted_entries(bytes), "{}", path.display());
            } else {
                assert_eq!(&written[path], bytes, "{}", path.display());
            }
        }
    }
}

fn sorted_entries(snapshot: &[u8]) -> Vec<&[u8]> {
    let mut entries: Vec<&[u8]> = snapshot[10..].chunks(46).collect();
    entries.sort();
    entries
}

/// What a client of the broker appends to a directory that Kafka wrote goes on where Kafka stopped.
#[test]
fn appends_go_on_in_a_directory_of_kafka() {
    let disk = disk_of("clean");
    let (dir, mut log, _) = open(&disk, "plain");
    let info = log.append_as_leader(batch(NOW, &["value-40"]), 5, AppendOrigin::Client, NOW).unwrap();
    assert_eq!(info.first_offset, 40);
    dir.begin().unwrap();
    drop((dir, log));
    let (_dir, log, report) = open(&disk, "plain");
    assert_eq!(report.recovered_segments, 1);
    assert_eq!(all_values(&log).last().unwrap(), &(40, "value-40".to_owned()));
    assert_eq!(log.reader().latest_epoch(), Some(5));
}
