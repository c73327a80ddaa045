//! Crashes at every disk operation: what was acknowledged is there once and in order, whatever stopped when.
//!
//! A scenario runs on a simulated disk until operation number `n` stops the machine, for every `n`. After a process's death everything written must be
//! there; after a power cut everything that was synced, and of the rest a beginning. Recovery itself is stopped, too, and must end the same.

#![allow(clippy::unwrap_used, reason = "a failure is the test's answer")]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use milena_protocol::types::{Offset, TopicPartition};
use milena_storage::disk::{Crash, Fault};
use milena_storage::log_dir::{LoadLog, OffsetCheckpoint};
use milena_storage::{AppendOrigin, CleanupPolicy, Descriptors, Log, LogConfig, LogDir, SimDisk};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use support::*;

const PRODUCER: i64 = 5;

/// What the outside knows: what was acknowledged, and what is promised to survive a power cut.
#[derive(Clone, Default, Debug)]
struct Model {
    /// One value an offset, from offset 0 on.
    acknowledged: Vec<String>,
    /// The batch whose append was interrupted: it may be there.
    interrupted: Vec<String>,
    synced: Offset,
    log_start: Offset,
    /// Log starts that may or may not have been written when the machine stopped.
    log_start_max: Offset,
    next_sequence: i32,
    last_idempotent: Option<(i32, Vec<String>, Offset)>,
}

fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 700,
        index_interval_bytes: 120,
        cleanup_policy: CleanupPolicy { delete: false, compact: false },
        ..LogConfig::default()
    }
}

fn partition() -> TopicPartition {
    TopicPartition::new("topic", 0)
}

type Failed = String;

fn open(disk: &SimDisk) -> Result<(LogDir, Log), Failed> {
    let disk = Arc::new(disk.clone());
    let dir = LogDir::open(disk, Descriptors::new(2, 500), Path::new("/data")).map_err(|error| error.to_string())?;
    dir.begin().map_err(|error| error.to_string())?;
    let load = LoadLog {
        topic_partition: partition(),
        topic_id: Some(uuid::Uuid::from_u128(7)),
        config: Arc::new(config()),
        now: NOW,
        producer_id_expiration_ms: 86_400_000,
    };
    let (log, _) = dir.load_one(load).map_err(|error| error.to_string())?;
    Ok((dir, log))
}

fn checkpoint(dir: &LogDir, which: OffsetCheckpoint, offset: Offset) -> Result<(), Failed> {
    dir.write_checkpoint(which, &BTreeMap::from([(partition(), offset)])).map_err(|error| error.to_string())
}

/// Run until the first failure or the end.
fn run(disk: &SimDisk, seed: u64, model: &mut Model) -> Result<(), Failed> {
    let mut random = SmallRng::seed_from_u64(seed);
    let (mut dir, mut log) = open(disk)?;
    log.start_leader_epoch(1).map_err(|error| error.to_string())?;
    for step in 0..40 {
        match random.random_range(0..20) {
            0..10 => {
                let count = random.random_range(1..4);
                let values: Vec<String> = (0..count).map(|index| format!("{step}.{index}")).collect();
                let texts: Vec<&str> = values.iter().map(String::as_str).collect();
                let idempotent_batch = random.random_bool(0.5);
                let batch = if idempotent_batch {
                    idempotent(PRODUCER, 0, model.next_sequence, &texts)
                } else {
                    batch(NOW + step, &texts)
                };
                model.interrupted.clone_from(&values);
                let info =
                    log.append_as_leader(batch, 1, AppendOrigin::Client, NOW).map_err(|error| error.to_string())?;
                model.interrupted.clear();
                assert_eq!(info.first_offset, model.acknowledged.len() as Offset);
                if idempotent_batch {
                    model.last_idempotent = Some((model.next_sequence, values.clone(), info.first_offset));
                    model.next_sequence += count;
                }
                model.acknowledged.extend(values);
            }
            10..14 => {
                log.flush(NOW).map_err(|error| error.to_string())?;
                model.synced = log.recovery_point();
                checkpoint(&dir, OffsetCheckpoint::RecoveryPoint, log.recovery_point())?;
            }
            14..16 => log.roll(NOW).map_err(|error| error.to_string())?,
            16 => {
                let end = log.log_end_offset();
                let up_to = random.random_range(log.log_start_offset()..=end);
                model.log_start_max = model.log_start_max.max(up_to);
                log.delete_records(up_to, end).map_err(|error| error.to_string())?;
                checkpoint(&dir, OffsetCheckpoint::LogStartOffset, up_to)?;
                model.log_start = model.log_start.max(up_to);
            }
            17 => {
                let end = log.log_end_offset();
                if let Some(deletion) = log.run_retention(NOW, end).map_err(|error| error.to_string())? {
                    deletion.execute(&disk.clone()).map_err(|error| error.to_string())?;
                }
            }
            18 => {
                let epoch = log.reader().latest_epoch().unwrap_or(0) + 1;
                log.start_leader_epoch(epoch).map_err(|error| error.to_string())?;
            }
            _ => {
                log.close(NOW).map_err(|error| error.to_string())?;
                model.synced = log.log_end_offset();
                checkpoint(&dir, OffsetCheckpoint::RecoveryPoint, log.recovery_point())?;
                dir.close(1).map_err(|error| error.to_string())?;
                (dir, log) = open(disk)?;
            }
        }
    }
    Ok(())
}

fn check(log: &Log, model: &Model, crash: Crash, context: &str) {
    let end = log.log_end_offset();
    let mut all = model.acknowledged.clone();
    all.extend(model.interrupted.iter().cloned());
    match crash {
        Crash::Process => assert!(end >= model.acknowledged.len() as Offset, "{context}: written records are gone"),
        Crash::Power(_) => assert!(end >= model.synced, "{context}: synced records are gone: {end} < {}", model.synced),
    }
    let start = log.log_start_offset();
    assert!(start >= model.log_start, "{context}: deleted records came back: {start} < {}", model.log_start);
    // A power cut may take the name of a first segment that was never synced; what was synced is still there.
    let kept_from = if crash == Crash::Process { start } else { start.min(model.synced) };
    assert!(kept_from <= model.log_start_max.max(model.log_start), "{context}: records below {start} are gone");
    let expected: Vec<(Offset, String)> =
        all.iter().enumerate().map(|(offset, value)| (offset as Offset, value.clone())).collect();
    let expected = expected.get(start as usize..end as usize);
    assert_eq!(Some(&*values(log)), expected, "{context}: records differ");
}

/// After recovery the log works: a retry is a duplicate if its batch is there, and appends go on at the end.
fn check_goes_on(mut log: Log, model: &Model, context: &str) {
    let end = log.log_end_offset();
    if let Some((sequence, values, offset)) = &model.last_idempotent
        && *offset + (values.len() as Offset) <= end
        && *offset >= log.log_start_offset()
        && model.interrupted.is_empty()
    {
        let texts: Vec<&str> = values.iter().map(String::as_str).collect();
        let info = append_batch(&mut log, idempotent(PRODUCER, 0, *sequence, &texts));
        let info = info.unwrap_or_else(|error| panic!("{context}: the retry is refused: {error}"));
        assert_eq!((info.duplicate, info.first_offset), (true, *offset), "{context}");
    }
    assert_eq!(append(&mut log, &["after"]).first_offset, end, "{context}");
    log.flush(NOW).unwrap();
}

fn crash_everywhere(seed: u64, crash_of: impl Fn(u64) -> Crash) {
    let disk = SimDisk::new(seed);
    run(&disk, seed, &mut Model::default()).unwrap();
    let operations = disk.operations();
    for stop_at in 0..operations {
        let disk = SimDisk::new(seed);
        let mut model = Model::default();
        disk.fail_after(stop_at, Fault::Stop);
        let result = run(&disk, seed, &mut model);
        assert!(result.is_err(), "seed {seed}: nothing stopped at {stop_at} of {operations}");
        let crash = crash_of(stop_at);
        disk.crash(crash);
        let context = format!("seed {seed}, stopped at {stop_at}, {crash:?}");
        // Recovery is interrupted at each of a few of its own operations.
        for recovery_stop in [0, 1, 2, 3, 5, 8, 13] {
            let again = disk.fork();
            again.fail_after(recovery_stop, Fault::Stop);
            _ = open(&again);
            let second = match crash {
                Crash::Process => Crash::Process,
                Crash::Power(power) => Crash::Power(power ^ recovery_stop),
            };
            again.crash(second);
            let (_dir, log) = open(&again).unwrap_or_else(|error| panic!("{context}, {recovery_stop}: {error}"));
            check(&log, &model, crash, &format!("{context}, recovery stopped at {recovery_stop}"));
        }
        let (dir, log) = open(&disk).unwrap_or_else(|error| panic!("{context}: {error}"));
        check(&log, &model, crash, &context);
        drop((dir, log));
        // The first opening may have been a clean one, which keeps index entries that a recovery puts elsewhere.
        drop(open(&disk).unwrap());
        let files = disk.files();
        let (dir, log) = open(&disk).unwrap_or_else(|error| panic!("{context}, again: {error}"));
        check(&log, &model, crash, &format!("{context}, opened again"));
        let after = disk.files();
        let changed: Vec<_> =
            after.iter().filter(|&(path, bytes)| files.get(path) != Some(bytes)).map(|(path, _)| path).collect();
        assert!(changed.is_empty() && files.len() == after.len(), "{context}: opening again changed {changed:?}");
        check_goes_on(log, &model, &context);
        drop(dir);
    }
}

#[test]
fn after_a_process_died_everything_written_is_there() {
    for seed in seeds() {
        crash_everywhere(seed, |_| Crash::Process);
    }
}

#[test]
fn after_a_power_cut_everything_synced_is_there() {
    for seed in seeds() {
        crash_everywhere(seed, |stop_at| Crash::Power(seed << 32 | stop_at));
    }
}

/// `MILENA_CRASH_SEEDS=100..200` tries others.
fn seeds() -> std::ops::Range<u64> {
    let Ok(text) = std::env::var("MILENA_CRASH_SEEDS") else { return 0..8 };
    let (first, end) = text.split_once("..").unwrap();
    first.parse().unwrap()..end.parse().unwrap()
}

/// A follower that is cut back while the machine stops: it holds what it held before the cut, or what the cut left, or a beginning of it that the next cut
/// finds; never anything else, and never a record behind the cut once the cut was answered.
#[test]
fn a_cut_that_is_interrupted_leaves_a_log_that_can_be_cut_again() {
    for (seed, power) in seeds().flat_map(|seed| [(seed, false), (seed, true)]) {
        let script = |disk: &SimDisk| -> Result<Vec<(Offset, String)>, (bool, Failed)> {
            let mut random = SmallRng::seed_from_u64(seed);
            let fail = |is_cut: bool| move |error: String| (is_cut, error);
            let (dir, mut log) = open(disk).map_err(fail(false))?;
            for step in 0..20 {
                append_batch(&mut log, batch(NOW, &[&format!("{step}.0"), &format!("{step}.1")]))
                    .map_err(|error| (false, error.to_string()))?;
                if step == 8 {
                    log.flush(NOW).map_err(|error| (false, error.to_string()))?;
                    checkpoint(&dir, OffsetCheckpoint::RecoveryPoint, log.recovery_point()).map_err(fail(false))?;
                }
            }
            let offset = random.random_range(1..40);
            log.prepare_truncation(offset).map_err(|error| (false, error.to_string()))?;
            checkpoint(&dir, OffsetCheckpoint::RecoveryPoint, log.recovery_point()).map_err(fail(false))?;
            log.truncate_to(offset, NOW).map_err(|error| (false, error.to_string()))?;
            let left = values(&log);
            append_batch(&mut log, batch(NOW, &["new"])).map_err(|error| (true, error.to_string()))?;
            Ok(left)
        };
        let whole: Vec<(Offset, String)> =
            (0..40).map(|offset| (offset, format!("{}.{}", offset / 2, offset % 2))).collect();
        let disk = SimDisk::new(seed);
        let left = script(&disk).unwrap();
        assert!(whole.starts_with(&left));
        for stop_at in 0..disk.operations() {
            let disk = SimDisk::new(seed);
            disk.fail_after(stop_at, Fault::Stop);
            // The last operation may be one whose failure only the next append would tell.
            let is_cut = script(&disk).map_or_else(|(is_cut, _)| is_cut, |_| true);
            disk.crash(if power { Crash::Power(stop_at) } else { Crash::Process });
            let context = format!("seed {seed}, stopped at {stop_at}, power {power}");
            let (_dir, log) = open(&disk).unwrap_or_else(|error| panic!("{context}: {error}"));
            let found = values(&log);
            let known: Vec<_> = found.iter().filter(|(_, value)| value != "new").cloned().collect();
            // A power cut before the first sync may take the name of the first segment.
            let start = log.log_start_offset() as usize;
            assert!(start == 0 || (power && log.recovery_point() == 0), "{context}: the log starts at {start}");
            let end = start + known.len();
            assert_eq!(whole.get(start..end), Some(&*known), "{context}");
            assert!(!is_cut || end <= left.len(), "{context}: what was cut came back");
            assert!(!is_cut || power || end == left.len(), "{context}: more than the cut is gone");
        }
    }
}
