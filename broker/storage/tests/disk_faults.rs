//! A disk that is full or fails at any one operation: what is acknowledged is there, what is refused is not, and a full disk heals.
//!
//! A scenario of appends, rolls, syncs, deletions and new leader epochs runs once for every operation of the disk (or every read), which fails. A full
//! disk refuses and goes on by itself when there is room; EIO takes the log offline for good, and a sync that failed acknowledges nothing.

#![allow(clippy::unwrap_used, reason = "a failure is the test's answer")]

mod support;

use std::path::Path;

use milena_protocol::types::Offset;
use milena_storage::disk::{Crash, Fault};
use milena_storage::error::DiskError;
use milena_storage::{
    AppendError, AppendOrigin, CleanupPolicy, Disk, Log, LogConfig, ReadError, SimDisk, StorageError, TimestampOffset,
};
use support::*;

const PRODUCER: i64 = 5;
const STEPS: usize = 60;

/// A log and what the outside knows of it.
struct Scenario {
    log: Log,
    disk: SimDisk,
    acknowledged: Vec<String>,
    synced: Offset,
    /// The oldest offset that no deletion was asked for.
    kept_from: Offset,
    sequence: i32,
    epoch: i32,
}

/// What became of a step.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Done,
    Full,
    Broken,
}

fn opener(disk: &SimDisk) -> Opener {
    let mut opener = Opener::sim(disk);
    opener.config = LogConfig {
        segment_bytes: 700,
        index_interval_bytes: 120,
        retention_bytes: 1500,
        retention_ms: -1,
        cleanup_policy: CleanupPolicy { delete: true, compact: false },
        ..LogConfig::default()
    };
    opener
}

fn of_disk(error: &DiskError) -> Outcome {
    if error.is_full() { Outcome::Full } else { Outcome::Broken }
}

fn of_change<T>(result: Result<T, StorageError>) -> Outcome {
    match result {
        Ok(_) => Outcome::Done,
        Err(StorageError::Disk(error)) => of_disk(&error),
        Err(StorageError::Offline) => Outcome::Broken,
        Err(other) => panic!("{other}"),
    }
}

impl Scenario {
    fn start(disk: &SimDisk) -> Scenario {
        // As a log dir does when it is opened.
        disk.create_dir_all(Path::new("/data")).unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        let log = opener(disk).open();
        let disk = disk.clone();
        Scenario { log, disk, acknowledged: Vec::new(), synced: 0, kept_from: 0, sequence: 0, epoch: 0 }
    }

    fn step(&mut self, step: usize) -> Outcome {
        match step % 10 {
            0..=4 => self.append(step),
            5 | 6 => {
                let outcome = of_change(self.log.flush(NOW));
                if outcome == Outcome::Done {
                    self.synced = self.log.log_end_offset();
                }
                outcome
            }
            7 => of_change(self.log.roll(NOW)),
            8 if step % 20 == 8 => {
                self.epoch += 1;
                of_change(self.log.start_leader_epoch(self.epoch))
            }
            8 => {
                let (start, end) = (self.log.log_start_offset(), self.log.log_end_offset());
                let up_to = start + (end - start) / 3;
                self.kept_from = self.kept_from.max(up_to);
                of_change(self.log.delete_records(up_to, end))
            }
            _ => {
                let end = self.log.log_end_offset();
                let removed = self.log.run_retention(NOW, end);
                self.kept_from = self.kept_from.max(self.log.log_start_offset());
                if let Ok(Some(deletion)) = &removed
                    && let Err(error) = deletion.execute(&self.disk)
                {
                    return of_disk(&error);
                }
                of_change(removed)
            }
        }
    }

    fn append(&mut self, step: usize) -> Outcome {
        let values = [format!("{step}.0"), format!("{step}.1")];
        let texts = values.each_ref().map(String::as_str);
        let is_idempotent = step.is_multiple_of(2);
        let batch = if is_idempotent {
            idempotent(PRODUCER, 0, self.sequence, &texts)
        } else {
            batch(NOW + step as i64, &texts)
        };
        match self.log.append_as_leader(batch, self.epoch, AppendOrigin::Client, NOW) {
            Ok(info) => {
                assert_eq!(info.first_offset, self.acknowledged.len() as Offset);
                self.acknowledged.extend(values);
                self.sequence += if is_idempotent { 2 } else { 0 };
                Outcome::Done
            }
            Err(AppendError::DiskFull(error)) => of_disk(&error),
            Err(AppendError::Disk(error)) => {
                assert!(self.log.is_offline(), "{error}");
                Outcome::Broken
            }
            Err(AppendError::Offline) => Outcome::Broken,
            Err(other) => panic!("{other}"),
        }
    }

    /// What the log holds is what was acknowledged, from its start on.
    fn check(&self, context: &str) {
        let start = self.log.log_start_offset();
        assert_eq!(values(&self.log), self.expected(start, self.acknowledged.len() as Offset), "{context}");
    }

    fn expected(&self, start: Offset, end: Offset) -> Vec<(Offset, String)> {
        (start..end).map(|offset| (offset, self.acknowledged[offset as usize].clone())).collect()
    }

    /// After a crash and a start on a sound disk: everything kept is there (`synced`: what a finished sync covered), and a retry is no second record.
    fn check_after(&self, crash: Crash, context: &str) {
        self.disk.heal();
        self.disk.crash(crash);
        // The recovery point's checkpoint may be as old as it likes: the offset of the last sync is the newest it can say.
        for recovery_point in [0, self.synced] {
            let disk = self.disk.fork();
            let opener = Opener { recovery_point, log_start_offset: 0, ..opener(&disk) };
            let mut log = opener.try_open().unwrap_or_else(|error| panic!("{context}: {error}")).0;
            let (start, end) = (log.log_start_offset(), log.log_end_offset());
            let least = if crash == Crash::Process { self.acknowledged.len() as Offset } else { self.synced };
            assert!(end >= least, "{context}: acknowledged records are gone: {end} < {least}");
            // A power cut before the first sync may take the names of the first segments, which were never made durable.
            let least_start = if crash == Crash::Process { self.kept_from } else { self.kept_from.max(self.synced) };
            assert!(start <= least_start, "{context}: records below {start} are gone");
            let known = end.min(self.acknowledged.len() as Offset);
            let mut found = values(&log);
            found.retain(|(offset, _)| *offset < known);
            assert_eq!(found, self.expected(start, known), "{context}");
            assert_eq!(append(&mut log, &["after"]).first_offset, end, "{context}");
        }
    }
}

fn operations() -> u64 {
    let disk = SimDisk::new(0);
    let mut scenario = Scenario::start(&disk);
    let before = disk.operations();
    for step in 0..STEPS {
        assert_eq!(scenario.step(step), Outcome::Done);
        scenario.check("no fault");
    }
    assert!(scenario.log.log_start_offset() > 0 && scenario.log.segments() > 1, "the scenario does too little");
    disk.operations() - before
}

/// The disk is full from one operation on, for a while.
#[test]
fn a_full_disk_refuses_without_harm_and_goes_on_when_there_is_room() {
    let operations = operations();
    for at in 0..operations {
        let disk = SimDisk::new(at);
        let mut scenario = Scenario::start(&disk);
        disk.fail_after(at, Fault::Full);
        let (mut refused, mut room_at) = (0, None);
        for step in 0..STEPS + 20 {
            if refused > 0 && room_at.is_none_or(|room_at| step < room_at) {
                room_at.get_or_insert(step + 12);
            }
            if room_at == Some(step) {
                disk.heal();
            }
            let context = format!("full at {at}, step {step}, room at {room_at:?}");
            let outcome = scenario.step(step);
            assert!(!scenario.log.is_offline(), "{context}: a full disk is not a broken one");
            match outcome {
                Outcome::Done => {}
                Outcome::Full if room_at.is_none_or(|room_at| step < room_at) => refused += 1,
                other => panic!("{context}: {other:?}"),
            }
            scenario.check(&context);
        }
        let context = format!("full at {at}");
        scenario.check_after(if at % 2 == 0 { Crash::Process } else { Crash::Power(at) }, &context);
    }
}

/// As above, but the machine stops while the disk is full.
#[test]
fn a_crash_while_the_disk_is_full_loses_nothing() {
    for at in 0..operations() {
        for crash in [Crash::Process, Crash::Power(at)] {
            let disk = SimDisk::new(at);
            let mut scenario = Scenario::start(&disk);
            disk.fail_after(at, Fault::Full);
            let mut refused = 0;
            for step in 0..STEPS {
                refused += usize::from(scenario.step(step) == Outcome::Full);
                if refused > 4 {
                    break;
                }
            }
            scenario.check_after(crash, &format!("full at {at}, then {crash:?}"));
        }
    }
}

/// One operation fails with EIO, or a sync with ENOSPC (a file system that looks for room only when it writes back).
#[test]
fn an_error_of_the_disk_ends_the_log_and_loses_nothing_that_was_acknowledged() {
    for (fault, at) in
        [Fault::Broken, Fault::FullOnce].into_iter().flat_map(|fault| (0..operations()).map(move |at| (fault, at)))
    {
        for crash in [Crash::Process, Crash::Power(at)] {
            let disk = SimDisk::new(at);
            let mut scenario = Scenario::start(&disk);
            disk.fail_after(at, fault);
            let context = format!("{fault:?} at {at}, then {crash:?}");
            for step in 0..STEPS {
                let was_offline = scenario.log.is_offline();
                let outcome = scenario.step(step);
                // Retention removes files of segments that are no longer read: what fails there is only tried again.
                let is_deletion = step % 10 == 9;
                assert!(!was_offline || outcome != Outcome::Done || is_deletion, "{context}: step {step} goes on");
                assert!(
                    outcome != Outcome::Broken || scenario.log.is_offline() || is_deletion,
                    "{context}: step {step}"
                );
            }
            if fault == Fault::Broken && scenario.log.is_offline() {
                assert!(matches!(
                    scenario.log.append_as_leader(batch(NOW, &["late"]), 9, AppendOrigin::Client, NOW),
                    Err(AppendError::Offline)
                ));
            }
            scenario.check_after(crash, &context);
        }
    }
}

/// Any one read fails with EIO: it is an error, never an answer, and the next one is right.
#[test]
fn a_read_that_fails_is_an_error_and_never_an_answer() {
    let run = |fail_at: Option<u64>| {
        let disk = SimDisk::new(7);
        let mut scenario = Scenario::start(&disk);
        for step in 0..STEPS {
            assert_eq!(scenario.step(step), Outcome::Done);
        }
        scenario.log.close(NOW).unwrap();
        // Nothing is in memory: everything is read again.
        let mut opener = Opener { clean_shutdown: true, ..opener(&disk) };
        opener.log_start_offset = scenario.log.log_start_offset();
        let log = opener.open();
        let before = disk.reads();
        if let Some(at) = fail_at {
            disk.fail_read_after(at);
        }
        let reader = log.reader();
        let mut failures = 0;
        let mut note = |error: ReadError| match error {
            ReadError::Disk(error) => {
                assert_eq!(error.source.raw_os_error(), Some(5));
                failures += 1;
            }
            other => panic!("{other}"),
        };
        for (offset, value) in scenario.expected(log.log_start_offset(), log.log_end_offset()) {
            match reader.read(offset, 1, Offset::MAX, true) {
                Ok(plan) => {
                    let range = plan.range.unwrap();
                    let mut bytes = vec![0; range.len];
                    match range.source.read_exact_at(&mut bytes, range.position) {
                        Ok(()) => assert!(values_in(&bytes).contains(&(offset, value))),
                        Err(error) => note(ReadError::Disk(DiskError::new("read", &log.dir())(error))),
                    }
                }
                Err(error) => note(error),
            }
        }
        let mut times: Vec<Option<Option<TimestampOffset>>> = Vec::new();
        for timestamp in NOW..NOW + STEPS as i64 {
            times.push(reader.offset_for_timestamp(timestamp, Offset::MAX).map_err(&mut note).ok());
        }
        (disk.reads() - before, failures, times)
    };
    let (reads, failures, sound) = run(None);
    assert!(reads > 50 && failures == 0);
    let mut noticed = 0;
    for at in 0..reads {
        let (_, failures, times) = run(Some(at));
        // What only a hint was read for is found without it.
        assert!(failures <= 1, "read {at}");
        noticed += failures;
        let differs = |(found, sound): (&Option<Option<TimestampOffset>>, &Option<Option<TimestampOffset>>)| {
            found.is_some() && found != sound
        };
        assert!(!times.iter().zip(&sound).any(differs), "read {at} failed and somebody was told something else");
    }
    assert!(noticed > reads as usize / 2, "{noticed} of {reads} failed reads were noticed");
}
