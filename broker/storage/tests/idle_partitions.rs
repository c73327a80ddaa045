//! Idle partitions cost next to nothing: no descriptor, well under 2 KiB of memory. On the real disk.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "the test looks at its own process")]

mod support;

use std::path::Path;
use std::sync::Arc;

use milena_protocol::types::TopicPartition;
use milena_storage::log_dir::LoadLog;
use milena_storage::{Descriptors, Log, LogConfig, LogDir, OsDisk};
use support::*;

const OPEN_FILES_MAX: usize = 64;

fn partitions() -> usize {
    std::env::var("MILENA_IDLE_PARTITIONS").map_or(5000, |text| text.parse().unwrap())
}

fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn load_all(dir: &LogDir, config: &Arc<LogConfig>) -> Vec<Log> {
    let load = |index| {
        let load = LoadLog {
            topic_partition: TopicPartition::new("an-average-topic-name", index as i32),
            topic_id: Some(uuid::Uuid::from_u128(7)),
            config: Arc::clone(config),
            now: NOW,
            producer_id_expiration_ms: 86_400_000,
        };
        dir.load_one(load).unwrap().0
    };
    (0..partitions()).map(load).collect()
}

/// Runs in a process of its own, so that its memory is not there to be used again when the other half is measured.
fn create(path: &Path, config: &Arc<LogConfig>) {
    let dir = open(path);
    let mut logs = load_all(&dir, config);
    for log in &mut logs {
        log.start_leader_epoch(0).unwrap();
        append(log, &["one record"]);
    }
    assert!(open_descriptors() < OPEN_FILES_MAX + 50);
    drop(logs);
    drop(dir);
    // Recovery writes indexes and snapshots as a clean stop does; the marker can then be left without thousands of syncs.
    let dir = open(path);
    drop(load_all(&dir, config));
    dir.close(1).unwrap();
}

fn open(path: &Path) -> LogDir {
    LogDir::open(Arc::new(OsDisk), Descriptors::new(OPEN_FILES_MAX, 1 << 20), path).unwrap()
}

#[test]
fn idle_partitions_hold_no_descriptor_and_little_memory() {
    let config = Arc::new(LogConfig::default());
    if let Some(path) = std::env::var_os("MILENA_IDLE_CREATE") {
        return create(Path::new(&path), &config);
    }
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("data");
    let created = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "idle_partitions_hold_no_descriptor_and_little_memory"])
        .env("MILENA_IDLE_CREATE", &path)
        .status();
    assert!(created.unwrap().success());
    let dir = open(&path);
    assert!(dir.was_clean_shutdown());
    let (memory_before, descriptors_before) = (resident_bytes(), open_descriptors());
    let logs = load_all(&dir, &config);
    let memory = resident_bytes().saturating_sub(memory_before);
    let descriptors = open_descriptors() - descriptors_before;
    println!("{} partitions: {memory} bytes, {descriptors} descriptors", logs.len());
    assert!(descriptors <= OPEN_FILES_MAX, "{descriptors} descriptors");
    assert!(memory < logs.len() * 2048 + (4 << 20), "{memory} bytes");
    assert!(logs.iter().all(|log| log.log_end_offset() == 1));
    assert_eq!(values(&logs[logs.len() / 2]), [(0, "one record".to_owned())]);
}
