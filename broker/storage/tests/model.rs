//! Random histories of one log against a model that keeps everything in memory; and any bytes in any file.

#![allow(clippy::unwrap_used, reason = "a failure is the test's answer")]

mod support;

use std::path::{Path, PathBuf};

use milena_protocol::types::Offset;
use milena_storage::disk::Crash;
use milena_storage::{Disk, Log, LogConfig, SimDisk};
use proptest::prelude::*;
use support::*;

#[derive(Clone, Debug)]
enum Step {
    Append { records: usize, value_bytes: usize },
    Roll,
    Flush,
    TruncateTo { permille: u64 },
    DeleteRecords { permille: u64 },
    Retention { bytes: i64 },
    Restart { is_clean: bool },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1usize..4, 0usize..60).prop_map(|(records, value_bytes)| Step::Append { records, value_bytes }),
        1 => Just(Step::Roll),
        1 => Just(Step::Flush),
        1 => (0u64..1100).prop_map(|permille| Step::TruncateTo { permille }),
        1 => (0u64..1000).prop_map(|permille| Step::DeleteRecords { permille }),
        1 => (0i64..2000).prop_map(|bytes| Step::Retention { bytes }),
        1 => any::<bool>().prop_map(|is_clean| Step::Restart { is_clean }),
    ]
}

/// What the log must hold: batches of values, each with its first offset.
#[derive(Default)]
struct Model {
    batches: Vec<(Offset, Vec<String>)>,
    start: Offset,
    end: Offset,
}

impl Model {
    fn values(&self) -> Vec<(Offset, String)> {
        let all = self.batches.iter().flat_map(|(first, values)| {
            values.iter().enumerate().map(move |(index, value)| (first + index as Offset, value.clone()))
        });
        all.filter(|(offset, _)| *offset >= self.start).collect()
    }
}

fn between(start: Offset, end: Offset, permille: u64) -> Offset {
    start + (end - start) * permille as Offset / 1000
}

fn check(log: &Log, model: &Model, read_at: u64) {
    let reader = log.reader();
    assert_eq!((reader.log_start_offset(), reader.log_end_offset()), (model.start, model.end));
    assert_eq!(values(log), model.values());
    let at = between(model.start, model.end, read_at % 1000);
    let bound = between(at, model.end, read_at / 1000 % 1001);
    let bytes = read_bytes_below(log, at, bound);
    let expected: Vec<Offset> = model
        .batches
        .iter()
        .filter(|(first, values)| first + values.len() as Offset > at && first + (values.len() as Offset) <= bound)
        .map(|(first, _)| *first)
        .collect();
    let found: Vec<Offset> = headers(&bytes).iter().map(|header| header.base_offset).collect();
    assert_eq!(found, expected, "from {at} below {bound}");
    assert_eq!(reader.bytes_between(at, bound).unwrap(), bytes.len() as u64);
}

/// All whole batches from the one that holds `start` up to `bound`, through as many reads as that takes.
fn read_bytes_below(log: &Log, start: Offset, bound: Offset) -> Vec<u8> {
    let (reader, mut next, mut all) = (log.reader(), start, Vec::new());
    while next < bound {
        let Some(range) = reader.read(next, usize::MAX, bound, true).unwrap().range else { break };
        let mut bytes = vec![0; range.len];
        range.source.read_exact_at(&mut bytes, range.position).unwrap();
        next = headers(&bytes).last().unwrap().next_offset();
        all.extend(bytes);
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_log_is_what_its_history_says(steps in proptest::collection::vec((step(), any::<u64>()), 1..40)) {
        let disk = SimDisk::new(1);
        // As `LogDir::open` does it.
        disk.create_dir_all(Path::new("/data")).unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        let mut opener = Opener::sim(&disk);
        opener.config = LogConfig { segment_bytes: 500, index_interval_bytes: 100, retention_ms: -1, ..LogConfig::default() };
        let mut log = opener.open();
        let mut model = Model::default();
        for (number, (step, read_at)) in steps.into_iter().enumerate() {
            match step {
                Step::Append { records, value_bytes } => {
                    let values: Vec<String> = (0..records).map(|index| format!("{number}.{index}.{}", "v".repeat(value_bytes))).collect();
                    let texts: Vec<&str> = values.iter().map(String::as_str).collect();
                    let info = append(&mut log, &texts);
                    prop_assert_eq!(info.first_offset, model.end);
                    model.batches.push((model.end, values));
                    model.end += records as Offset;
                }
                Step::Roll => log.roll(NOW).unwrap(),
                Step::Flush => {
                    log.flush(NOW).unwrap();
                    prop_assert_eq!(log.recovery_point(), model.end);
                }
                Step::TruncateTo { permille } => {
                    let offset = between(model.start, model.end, permille);
                    log.truncate_to(offset, NOW).unwrap();
                    if offset < model.end {
                        model.batches.retain(|(first, values)| first + values.len() as Offset <= offset);
                        model.end = log.log_end_offset();
                        let last = model.batches.last();
                        prop_assert!(last.is_none_or(|(first, values)| model.end >= first + values.len() as Offset));
                        prop_assert!(model.end <= offset);
                        model.start = model.start.min(model.end);
                    }
                    prop_assert!(log.recovery_point() <= model.end);
                }
                Step::DeleteRecords { permille } => {
                    let offset = between(model.start, model.end, permille);
                    model.start = log.delete_records(offset, model.end).unwrap();
                    prop_assert_eq!(model.start, offset);
                }
                Step::Retention { bytes } => {
                    let config = LogConfig { retention_bytes: bytes, ..opener.config.clone() };
                    log.set_config(std::sync::Arc::new(config));
                    let before = log.reader().size_in_bytes();
                    if let Some(deletion) = log.run_retention(NOW, model.end).unwrap() {
                        prop_assert!(log.reader().size_in_bytes() < before);
                        deletion.execute(&disk).unwrap();
                    }
                    model.start = log.log_start_offset();
                }
                Step::Restart { is_clean } => {
                    opener.recovery_point = log.recovery_point();
                    opener.log_start_offset = model.start;
                    opener.clean_shutdown = is_clean;
                    if is_clean {
                        log.close(NOW).unwrap();
                    }
                    drop(log);
                    disk.crash(if is_clean { Crash::Power(read_at) } else { Crash::Process });
                    log = opener.open();
                }
            }
            check(&log, &model, read_at);
        }
    }

    /// Whatever stands in the files of a partition: opening it and reading it answers or fails, and never panics.
    #[test]
    fn any_bytes_in_any_file_never_panic(
        which in any::<prop::sample::Index>(),
        content in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..300).prop_map(Damage::Replace),
            (any::<prop::sample::Index>(), any::<u8>()).prop_map(|(at, byte)| Damage::Flip(at, byte)),
            any::<prop::sample::Index>().prop_map(Damage::Cut),
        ],
        is_clean: bool,
        recovery_point in 0i64..20,
    ) {
        let disk = SimDisk::new(1);
        let mut opener = Opener::sim(&disk);
        opener.config = LogConfig { segment_bytes: 400, index_interval_bytes: 50, ..LogConfig::default() };
        let mut log = opener.open();
        log.start_leader_epoch(1).unwrap();
        for sequence in 0..12 {
            append_batch(&mut log, idempotent(5, 0, sequence, &["value"])).unwrap();
        }
        log.close(NOW).unwrap();
        drop(log);
        let files: Vec<(PathBuf, Vec<u8>)> = disk.files().into_iter().collect();
        let (path, bytes) = which.get(&files);
        disk.set_bytes(path, &content.damaged(bytes));
        opener.clean_shutdown = is_clean;
        opener.recovery_point = recovery_point;
        let Ok((mut log, _)) = opener.try_open() else { return Ok(()) };
        let reader = log.reader();
        for start in -1..14 {
            _ = reader.read(start, 100, 12, true);
            _ = reader.bytes_between(start, 12);
            _ = reader.offset_for_timestamp(NOW + start, 12);
            _ = reader.aborted_transactions(start, 12);
        }
        _ = reader.max_timestamp_offset();
        for sequence in [11, 9, 12] {
            _ = append_batch(&mut log, idempotent(5, 0, sequence, &["value"]));
        }
        _ = log.truncate_to(5, NOW);
        _ = log.run_retention(NOW, 5);
        _ = log.close(NOW);
    }
}

#[derive(Clone, Debug)]
enum Damage {
    Replace(Vec<u8>),
    Flip(prop::sample::Index, u8),
    Cut(prop::sample::Index),
}

impl Damage {
    fn damaged(&self, bytes: &[u8]) -> Vec<u8> {
        let mut damaged = bytes.to_vec();
        match self {
            Damage::Replace(content) => damaged.clone_from(content),
            Damage::Flip(at, byte) if !damaged.is_empty() => {
                let index = at.index(damaged.len());
                damaged[index] ^= byte;
            }
            Damage::Flip(..) => {}
            Damage::Cut(at) => damaged.truncate(at.index(bytes.len() + 1)),
        }
        damaged
    }
}

/// Bytes that were promised to be safe are never cut silently.
#[test]
fn a_bad_batch_below_the_recovery_point_is_an_error() {
    let disk = SimDisk::new(1);
    let mut opener = Opener::sim(&disk);
    let mut log = opener.open();
    for value in ["a", "b", "c"] {
        append(&mut log, &[value]);
    }
    log.close(NOW).unwrap();
    drop(log);
    let path = Path::new("/data/topic-0/00000000000000000000.log");
    let mut bytes = disk.read(path).unwrap();
    bytes[100] ^= 1;
    disk.set_bytes(path, &bytes);
    opener.recovery_point = 3;
    assert!(opener.try_open().is_err());
    opener.recovery_point = 1;
    let (log, report) = opener.try_open().unwrap();
    assert_eq!(values(&log), [(0, "a".to_owned())]);
    assert_eq!(report.truncated_bytes, 2 * 69);
}
