//! Crashes at every operation of the disk.
//!
//! A script of votes, appends, truncations, purges, snapshots and orderly closes runs until a chosen operation of the disk fails; then power goes and
//! takes what was not synced, or tears it, and the log is opened again. A model keeps what was acknowledged and what was only written. What comes back
//! must be the acknowledged frames and some first part of the written ones: nothing lost, nothing invented, nothing out of order.

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use milena_storage::disk::{Crash, Disk, Fault, SimDisk};
use proptest::prelude::*;
use uuid::Uuid;

use super::{
    frame::{Entry, Frame, LogId, Payload, Vote},
    segments::{MetadataLogError, Segments, View},
    snapshot::{self, Snapshot},
};
use crate::node::NodeId;

const DATA: &str = "/data";
const DIR: &str = "/data/milena-metadata";
/// Small, so that a script has many segments.
const SEGMENT_BYTES: u64 = 1200;

#[derive(Debug, Clone)]
enum Step {
    /// Several requests, one sync: what the queue does.
    Batch(Vec<Frame>),
    /// Written, not synced: committed hints and votes that only became committed.
    Written(Frame),
    DropPurged,
    Snapshot(LogId),
    Close,
    /// The process ends here and another begins.
    Reopen,
}

#[derive(Default)]
struct Model {
    acknowledged: View,
    /// Written behind them, in order; any first part of it may survive.
    written: Vec<Frame>,
    snapshot: Option<LogId>,
    /// The snapshot that was being written.
    unfinished: Option<LogId>,
}

impl Model {
    fn write(&mut self, frames: &[Frame]) {
        self.written.extend_from_slice(frames);
    }

    fn acknowledge(&mut self) {
        for frame in self.written.drain(..) {
            self.acknowledged.apply(frame).unwrap();
        }
    }

    /// Asserts that `found` may be there after a crash, and takes it as the new truth.
    fn check(&mut self, found: &View) {
        let mut possible = self.acknowledged.clone();
        let mut tried = vec![possible.clone()];
        for frame in &self.written {
            if *found == possible {
                break;
            }
            possible.apply(frame.clone()).unwrap();
            tried.push(possible.clone());
        }
        assert_eq!(*found, possible, "after the crash the log holds something else than {tried:#?}");
        self.acknowledged = possible;
        self.written.clear();
    }

    fn check_snapshot(&mut self, found: Option<&Snapshot>) {
        let last = found.map(|snapshot| snapshot.last);
        let possible = last == self.snapshot || (last.is_some() && last == self.unfinished);
        assert!(possible, "found {last:?}, acknowledged {:?}, unfinished {:?}", self.snapshot, self.unfinished);
        assert_eq!(found, last.map(snapshot_at).as_ref());
        self.snapshot = last;
        self.unfinished = None;
    }
}

fn id(term: u64, index: u64) -> LogId {
    LogId { term, index }
}

fn entry(term: u64, index: u64) -> Frame {
    let payload = match index % 5 {
        0 => Payload::Blank,
        1 => Payload::Membership(Bytes::from_static(b"{}")),
        _ => Payload::Records(Bytes::from(vec![index as u8; 150 * (index as usize % 7)])),
    };
    Frame::Entry(Entry { id: id(term, index), payload })
}

fn vote(term: u64, committed: bool) -> Frame {
    Frame::Vote(Vote { term, node: NodeId { id: 1, directory_id: Uuid::from_u128(7) }, committed })
}

fn snapshot_at(last: LogId) -> Snapshot {
    let records = (0..3).map(|chunk| Bytes::from(vec![chunk; 400])).collect();
    Snapshot {
        last,
        membership: Bytes::from_static(b"{}"),
        membership_at: Some(id(0, 0)),
        offset: 3 * last.index as i64,
        records,
    }
}

fn script() -> Vec<Step> {
    use Step::{Batch, Close, DropPurged, Reopen, Snapshot, Written};
    let mut steps =
        vec![Batch(vec![entry(0, 0)]), Batch(vec![vote(1, false)]), Written(vote(1, true)), Batch(vec![entry(1, 1)])];
    for index in (2..14).step_by(3) {
        steps.push(Batch(vec![entry(1, index), entry(1, index + 1), entry(1, index + 2)]));
        steps.push(Written(Frame::Committed(Some(id(1, index)))));
    }
    steps.extend([
        Close,
        Reopen,
        Batch(vec![vote(2, false)]),
        Batch(vec![Frame::Truncate(Some(id(1, 10)))]),
        Batch(vec![entry(2, 11), entry(2, 12)]),
        Snapshot(id(1, 8)),
        Batch(vec![Frame::Purge(id(1, 6))]),
        DropPurged,
        Written(Frame::Committed(Some(id(2, 12)))),
        Reopen,
        Batch(vec![vote(3, false), vote(3, true), entry(3, 13)]),
        Snapshot(id(3, 13)),
        // A follower that takes a leader's snapshot: the log jumps.
        Snapshot(id(3, 40)),
        Batch(vec![Frame::Purge(id(3, 40))]),
        DropPurged,
        Batch(vec![entry(3, 41), entry(3, 42)]),
        Batch(vec![Frame::Truncate(None)]),
        Close,
        Reopen,
        Batch(vec![entry(4, 41)]),
    ]);
    steps
}

fn run(disk: &Arc<dyn Disk>, steps: &[Step], model: &mut Model) -> Result<(), MetadataLogError> {
    let dir = Path::new(DIR);
    let mut log = open(disk, model)?;
    for step in steps {
        match step {
            Step::Batch(frames) => {
                model.write(frames);
                log.write(frames)?;
                log.sync()?;
                model.acknowledge();
            }
            Step::Written(frame) => {
                model.write(std::slice::from_ref(frame));
                log.write(std::slice::from_ref(frame))?;
            }
            Step::DropPurged => log.drop_purged_segments()?,
            Step::Snapshot(last) => {
                model.unfinished = Some(*last);
                snapshot::write(disk.as_ref(), dir, &snapshot_at(*last))?;
                model.snapshot = model.unfinished.take();
            }
            Step::Close => {
                log.sync()?;
                model.acknowledge();
                log.write(&[Frame::Closed])?;
                log.sync()?;
            }
            Step::Reopen => {
                drop(log);
                log = open(disk, model)?;
            }
        }
    }
    Ok(())
}

fn open(disk: &Arc<dyn Disk>, model: &mut Model) -> Result<Segments, MetadataLogError> {
    let (log, view) = Segments::open(Arc::clone(disk), Path::new(DIR), SEGMENT_BYTES)?;
    model.check(&view);
    let newest = snapshot::recover(disk.as_ref(), Path::new(DIR))?;
    let snapshot = newest.map(|last| snapshot::read(disk.as_ref(), Path::new(DIR), last)).transpose()?;
    model.check_snapshot(snapshot.as_ref());
    Ok(log)
}

/// Runs `steps` on a fresh disk that dies at `dies_at`, then recovers after a power cut with that `seed`, dying again at `dies_again` of the recovery.
fn crash(steps: &[Step], dies_at: u64, dies_again: Option<u64>, seed: u64) {
    let (disk, mut model) = stopped(steps, dies_at);
    disk.crash(Crash::Power(seed));
    if let Some(dies_again) = dies_again {
        disk.fail_after(dies_again, Fault::Stop);
        let _ = open(&as_disk(&disk), &mut model);
        disk.crash(Crash::Power(seed.wrapping_add(1)));
    }
    recovers(&disk, &mut model);
}

/// A disk on which `steps` ran until operation `dies_at`.
fn stopped(steps: &[Step], dies_at: u64) -> (SimDisk, Model) {
    let disk = SimDisk::new(dies_at);
    disk.create_dir_all(Path::new(DATA)).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    disk.fail_after(dies_at, Fault::Stop);
    let mut model = Model::default();
    let _ = run(&as_disk(&disk), steps, &mut model);
    (disk, model)
}

/// The log opens, holds what it may hold, takes more, and holds that too.
fn recovers(disk: &SimDisk, model: &mut Model) {
    let mut log = open(&as_disk(disk), model).unwrap();
    let next = model.acknowledged.last().map_or(0, |last| last.index + 1);
    let more = [vote(9, false), entry(9, next)];
    model.write(&more);
    log.write(&more).unwrap();
    log.sync().unwrap();
    model.acknowledge();
    disk.crash(Crash::Power(1));
    open(&as_disk(disk), model).unwrap();
}

fn as_disk(disk: &SimDisk) -> Arc<dyn Disk> {
    Arc::new(disk.clone())
}

fn operations_of(steps: &[Step]) -> u64 {
    let (disk, _) = stopped(steps, u64::MAX / 2);
    disk.operations()
}

fn log_on(disk: &SimDisk, segment_bytes: u64, entries: u64) -> Segments {
    let (mut log, _) = Segments::open(as_disk(disk), Path::new(DIR), segment_bytes).unwrap();
    for index in 0..entries {
        log.write(&[entry(1, index)]).unwrap();
        log.sync().unwrap();
    }
    log
}

#[test]
fn survives_a_power_cut_at_every_operation_of_the_disk() {
    let steps = script();
    let operations = operations_of(&steps);
    assert!(operations > 80, "the script does too little: {operations} operations");
    for dies_at in 0..=operations {
        for seed in 0..8 {
            crash(&steps, dies_at, None, seed);
        }
    }
}

#[test]
fn survives_a_second_power_cut_at_every_operation_of_the_recovery() {
    let steps = script();
    for dies_at in 0..=operations_of(&steps) {
        for dies_again in 0..6 {
            crash(&steps, dies_at, Some(dies_again), dies_at * 7 + dies_again);
        }
    }
}

#[test]
fn a_process_that_dies_loses_nothing_and_its_successor_makes_durable_what_it_was_shown() {
    let steps = script();
    for dies_at in 0..=operations_of(&steps) {
        let (disk, mut model) = stopped(&steps, dies_at);
        disk.crash(Crash::Process);
        open(&as_disk(&disk), &mut model).unwrap();
        disk.crash(Crash::Power(dies_at));
        recovers(&disk, &mut model);
    }
}

#[test]
fn refuses_a_log_whose_durable_middle_is_damaged() {
    let disk = SimDisk::new(0);
    log_on(&disk, 1 << 20, 4);
    let path = Path::new(DIR).join("00000000000000000000.frames");
    let bytes = disk.bytes(&path).unwrap();
    let mut last_frame = bytes::BytesMut::new();
    entry(1, 3).encode(0, 0, 0, &mut last_frame);
    for position in 0..bytes.len() - last_frame.len() {
        let mut damaged = bytes.clone();
        damaged[position] ^= 1;
        disk.set_bytes(&path, &damaged);
        let error = Segments::open(as_disk(&disk), Path::new(DIR), 1 << 20).map(|_| ()).unwrap_err();
        assert!(matches!(error, MetadataLogError::Damaged { .. }), "{error}");
    }
}

#[test]
fn refuses_a_log_that_lacks_a_segment() {
    let disk = SimDisk::new(0);
    log_on(&disk, 50, 4);
    disk.remove_file(&Path::new(DIR).join("00000000000000000001.frames")).unwrap();
    let error = Segments::open(as_disk(&disk), Path::new(DIR), 50).map(|_| ()).unwrap_err();
    assert!(matches!(error, MetadataLogError::Missing { .. }), "{error}");
}

#[test]
fn refuses_a_damaged_snapshot() {
    let disk = SimDisk::new(0);
    let dir = Path::new(DIR);
    disk.create_dir_all(dir).unwrap();
    snapshot::write(&disk, dir, &snapshot_at(id(1, 5))).unwrap();
    assert_eq!(snapshot::read(&disk, dir, id(1, 5)).unwrap(), snapshot_at(id(1, 5)));
    let (path, bytes) = disk.files().pop_last().unwrap();
    for position in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[position] ^= 1;
        disk.set_bytes(&path, &damaged);
        let error = snapshot::read(&disk, dir, id(1, 5)).unwrap_err();
        assert!(matches!(error, MetadataLogError::Damaged { .. }), "{error}");
        disk.set_bytes(&path, &bytes[..position]);
        assert!(snapshot::read(&disk, dir, id(1, 5)).is_err());
    }
}

#[test]
fn an_error_of_the_disk_is_final() {
    let disk = SimDisk::new(0);
    let mut log = log_on(&disk, 1 << 20, 1);
    log.write(&[entry(1, 1)]).unwrap();
    disk.fail_after(0, Fault::Broken);
    assert!(log.sync().is_err());
    assert!(log.sync().is_err(), "a failed sync must never be tried again");
    assert!(log.write(&[entry(1, 2)]).is_err());
}

/// A segment that was dropped held entries that its successor's header did not know as purged yet; the purge stood further back in the successor.
#[test]
fn opens_when_the_purge_stands_behind_the_entries_of_the_oldest_segment() {
    let disk = SimDisk::new(0);
    let mut log = log_on(&disk, 200, 5);
    log.write(&[Frame::Purge(id(1, 0))]).unwrap();
    for index in 5..12 {
        log.write(&[entry(1, index)]).unwrap();
    }
    log.write(&[Frame::Purge(id(1, 9))]).unwrap();
    log.sync().unwrap();
    log.drop_purged_segments().unwrap();
    let (_, view) = Segments::open(as_disk(&disk), Path::new(DIR), 200).unwrap();
    assert_eq!(view.last(), Some(id(1, 11)));
}

#[test]
fn drops_segments_once_everything_in_them_is_purged() {
    let disk = SimDisk::new(0);
    let mut log = log_on(&disk, 200, 12);
    let segments = disk.files().len();
    log.write(&[Frame::Purge(id(1, 9))]).unwrap();
    log.sync().unwrap();
    log.drop_purged_segments().unwrap();
    assert!(disk.files().len() < segments, "{:?}", disk.files().keys());
    let (_, view) = Segments::open(as_disk(&disk), Path::new(DIR), 200).unwrap();
    assert_eq!(view.entries.iter().map(|entry| entry.id.index).collect::<Vec<_>>(), [10, 11]);
    assert_eq!(view.marks.purged, Some(id(1, 9)));
}

/// A step that may follow on `view`; the numbers choose which.
fn any_step(view: &View, snapshots: &mut Option<LogId>, choice: u8, amount: u64) -> Step {
    let last = view.last();
    let next = last.map_or(0, |last| last.index + 1);
    let term = view.marks.vote.map_or(1, |vote| vote.term);
    match (choice % 10, last) {
        (0, _) => Step::Batch(vec![vote(term + 1, false)]),
        (1, _) => Step::Written(vote(term, true)),
        (2, Some(last)) => Step::Written(Frame::Committed(Some(last))),
        (3, Some(last)) => {
            let kept = last.index.saturating_sub(amount % 3).max(view.marks.purged.map_or(0, |purged| purged.index));
            Step::Batch(vec![Frame::Truncate(Some(id(term, kept)))])
        }
        (4, _) if !view.entries.is_empty() => {
            Step::Batch(vec![Frame::Purge(view.entries[amount as usize % view.entries.len()].id)])
        }
        (5, _) => Step::DropPurged,
        (6, Some(last)) if snapshots.is_none_or(|newest| newest.index < last.index) => {
            *snapshots = Some(last);
            Step::Snapshot(last)
        }
        (7, _) => Step::Close,
        (8, _) => Step::Reopen,
        _ => Step::Batch((0..=amount % 4).map(|more| entry(term, next + more)).collect()),
    }
}

proptest! {
    /// Whatever happens to the bytes: the log is refused, or it holds a first part of what was written; it never panics and never invents.
    #[test]
    fn damaged_bytes_are_refused_or_cut_and_never_believed(
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let disk = SimDisk::new(0);
        log_on(&disk, 1 << 20, 8);
        let path = Path::new(DIR).join("00000000000000000000.frames");
        let mut bytes = disk.bytes(&path).unwrap();
        for (position, byte) in &damage {
            let position = position.index(bytes.len());
            bytes[position] = *byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len() + 1));
        }
        disk.set_bytes(&path, &bytes);
        if let Ok((_, view)) = Segments::open(as_disk(&disk), Path::new(DIR), 1 << 20) {
            for (index, found) in (0..).zip(&view.entries) {
                prop_assert_eq!(Frame::Entry(found.clone()), entry(1, index));
            }
        }
    }

    #[test]
    fn survives_any_script_with_a_power_cut_anywhere(
        choices in proptest::collection::vec((any::<u8>(), any::<u64>()), 1..40),
        dies_at: prop::sample::Index,
        seed: u64,
    ) {
        let mut view = View::default();
        let (mut steps, mut newest) = (Vec::new(), None);
        for (choice, amount) in choices {
            let step = any_step(&view, &mut newest, choice, amount);
            let frames = match &step {
                Step::Batch(frames) => frames.as_slice(),
                Step::Written(frame) => std::slice::from_ref(frame),
                _ => &[],
            };
            for frame in frames {
                view.apply(frame.clone()).unwrap();
            }
            steps.push(step);
        }
        crash(&steps, dies_at.index(operations_of(&steps) as usize + 1) as u64, None, seed);
    }
}

fn disk_with_data_dir() -> SimDisk {
    let disk = SimDisk::new(0);
    disk.create_dir_all(Path::new(DATA)).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    disk
}

/// A full disk could not even be emptied: deleting a topic is a record, and the log had no room for it.
#[test]
fn a_full_disk_leaves_the_log_its_reserve_and_what_was_written_is_there() {
    let last = |log: &mut Segments, index| log.write(&[entry(1, index)]).and_then(|()| log.sync());
    for at in 0..12 {
        let disk = disk_with_data_dir();
        let mut open = log_on(&disk, 300, 3);
        let mut written = 3;
        assert!(!open.room().is_short());
        disk.fail_after(at, Fault::Full);
        let mut refused = false;
        for index in 3..9 {
            if last(&mut open, index).is_err() {
                refused = true;
                break;
            }
            written = index + 1;
        }
        // The simulated disk is full for good, whatever is removed: the reserve is gone, and what was refused is not there.
        assert!(!refused || open.room().is_short(), "full at {at}");
        disk.crash(Crash::Power(at));
        let (mut again, view) = Segments::open(as_disk(&disk), Path::new(DIR), 300).unwrap();
        assert!(view.entries.len() as u64 >= written, "full at {at}: acknowledged entries are gone");
        assert!(!again.room().is_short(), "there is room again, and it is set aside again");
        last(&mut again, view.last().unwrap().index + 1).unwrap();
    }
}

/// The write that finds no room succeeds with what the reserve gives back.
#[test]
fn a_write_that_finds_no_room_once_succeeds_on_the_reserve() {
    let disk = disk_with_data_dir();
    let mut log = log_on(&disk, 1 << 20, 3);
    disk.fail_after(0, Fault::FullOnce);
    log.write(&[entry(1, 3)]).unwrap();
    log.sync().unwrap();
    assert!(log.room().is_short());
    assert!(disk.bytes(&Path::new(DIR).join("reserve")).is_none());
    log.refill_reserve();
    assert!(!log.room().is_short());
    disk.crash(Crash::Power(1));
    let (_, view) = Segments::open(as_disk(&disk), Path::new(DIR), 1 << 20).unwrap();
    assert_eq!(view.last(), Some(id(1, 3)));
}
