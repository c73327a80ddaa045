#![no_main]
//! A partition directory of arbitrary files, opened.
//!
//! An input is a byte of flags, a recovery point, a log start, and files: a kind, a number that places it, a length and
//! bytes. What must hold: opening never panics and reads no more memory than the files have; the only errors are those
//! that say what is damaged; what is read is, segment by segment, a beginning of the bytes that were there, in whole
//! batches that follow each other; opening again finds the same and changes nothing; and the log can be appended to.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::BytesMut;
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use milena_fuzz::{Random, fix_checksums, write_seeds};
use milena_protocol::compression::{Codec, Level};
use milena_protocol::control_record::{EndTransactionMarker, TransactionResult};
use milena_protocol::record_batch::{BatchView, batches};
use milena_protocol::records::BatchBuilder;
use milena_protocol::types::{Offset, TopicPartition};
use milena_storage::disk::Crash;
use milena_storage::{
    ActiveProducer, AppendOrigin, CleanupPolicy, Descriptors, Disk, Log, LogConfig, OpenLog, SimDisk, StorageError,
};

const DIR: &str = "/data/topic-0";
const NOW: i64 = 1_700_000_000_000;
const FIX_CHECKSUMS: u8 = 1;
const CLEAN: u8 = 2;
const COMPACTED: u8 = 4;
const OFFSET_MAX: Offset = Offset::MAX - (1 << 32);
/// Kinds of files, by the number in an input.
const SUFFIXES: [&str; 6] = [".log", ".index", ".timeindex", ".txnindex", ".snapshot", ".log.deleted"];
const NAMES: [&str; 3] = ["leader-epoch-checkpoint", "partition.metadata", "leader-epoch-checkpoint.tmp"];

/// A directory and how it is opened.
#[derive(Clone, Default)]
struct Case {
    flags: u8,
    recovery_point: Offset,
    log_start_offset: Offset,
    files: Vec<(u8, u64, Vec<u8>)>,
}

impl Case {
    fn parse(data: &[u8]) -> Option<Case> {
        let (&flags, data) = data.split_first()?;
        let (recovery_point, data) = data.split_first_chunk()?;
        let (log_start, mut data) = data.split_first_chunk()?;
        let mut case = Case {
            flags,
            // Both come from checkpoints that never held a negative offset, nor the last ones there are.
            recovery_point: i64::from_be_bytes(*recovery_point).clamp(0, OFFSET_MAX),
            log_start_offset: i64::from_be_bytes(*log_start).clamp(0, OFFSET_MAX),
            files: Vec::new(),
        };
        while let Some((head, rest)) = data.split_first_chunk::<11>() {
            // A name beyond the largest offset is no segment's.
            let base = u64::from_be_bytes(head[1..9].try_into().expect("eight bytes")) & i64::MAX as u64;
            let base = base.min(OFFSET_MAX as u64);
            let length = usize::from(u16::from_be_bytes([head[9], head[10]])).min(rest.len());
            let (bytes, rest) = rest.split_at(length);
            case.files.push((head[0], base, bytes.to_vec()));
            data = rest;
        }
        Some(case)
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![self.flags];
        bytes.extend(self.recovery_point.to_be_bytes());
        bytes.extend(self.log_start_offset.to_be_bytes());
        for (kind, base, content) in &self.files {
            let content = &content[..content.len().min(usize::from(u16::MAX))];
            bytes.push(*kind);
            bytes.extend(base.to_be_bytes());
            bytes.extend((content.len() as u16).to_be_bytes());
            bytes.extend(content);
        }
        bytes
    }

    fn disk(&self) -> SimDisk {
        let disk = SimDisk::new(1);
        disk.create_dir_all(Path::new(DIR)).expect("a directory in memory");
        for (kind, base, content) in &self.files {
            let mut content = content.clone();
            let path = path(*kind, *base);
            if self.flags & FIX_CHECKSUMS != 0 && path.extension().is_some_and(|suffix| suffix == "log") {
                fix_checksums(&mut content);
            }
            disk.set_bytes(&path, &content);
        }
        disk
    }

    fn open(&self, disk: &SimDisk) -> Result<Log, StorageError> {
        let open = OpenLog {
            disk: Arc::new(disk.clone()),
            descriptors: Descriptors::new(4, 4096),
            dir: PathBuf::from(DIR),
            topic_partition: TopicPartition::new("topic", 0),
            topic_id: Some(uuid::Uuid::from_u128(7)),
            config: Arc::new(self.config()),
            recovery_point: self.recovery_point,
            log_start_offset: self.log_start_offset,
            was_compacted: false,
            clean_shutdown: self.flags & CLEAN != 0,
            now: NOW,
            producer_id_expiration_ms: 86_400_000,
        };
        Log::open(open).map(|(log, _)| log)
    }

    fn config(&self) -> LogConfig {
        let compact = self.flags & COMPACTED != 0;
        LogConfig {
            segment_bytes: 700,
            index_interval_bytes: 120,
            cleanup_policy: CleanupPolicy { delete: !compact, compact },
            ..LogConfig::default()
        }
    }
}

fn path(kind: u8, base: u64) -> PathBuf {
    let kind = usize::from(kind) % (SUFFIXES.len() + NAMES.len());
    let name = match SUFFIXES.get(kind) {
        Some(suffix) => format!("{base:020}{suffix}"),
        None => NAMES[kind - SUFFIXES.len()].to_owned(),
    };
    Path::new(DIR).join(name)
}

fuzz_target!(
    init: write_seeds(seeds),
    |data: &[u8]| {
        if let Some(case) = Case::parse(data) {
            check(&case);
        }
    }
);

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let mut random = Random(u64::from(seed));
    let Some(mut case) = Case::parse(&data[..size]) else { return fuzzer_mutate(data, size, max_size) };
    if case.files.is_empty() || random.below(4) == 0 {
        return fuzzer_mutate(data, size, max_size);
    }
    // Libfuzzer does not know that lengths count what follows them.
    let place = random.below(case.files.len());
    match random.below(8) {
        0 => drop(case.files.remove(place)),
        1 => case.files[place].0 = random.next() as u8,
        2 => case.files[place].1 = [0, 1, 2, 5, 10, u64::MAX >> 1, random.next() >> 1][random.below(7)],
        3 => {
            let length = random.below(case.files[place].2.len() + 1);
            case.files[place].2.truncate(length);
        }
        4 => {
            let copy = case.files[place].clone();
            let other = random.below(case.files.len());
            case.files[other].2.extend(copy.2);
        }
        5 => case.recovery_point = random.below(12) as i64,
        6 => case.log_start_offset = [0, 1, 3, OFFSET_MAX, random.next() as i64 >> 1][random.below(5)],
        _ => {
            let content = &mut case.files[place].2;
            let before = content.len();
            content.resize(before + 32, 0);
            let most = content.len();
            let after = fuzzer_mutate(content, before, most);
            content.truncate(after);
        }
    }
    let bytes = case.bytes();
    if bytes.len() > max_size {
        return fuzzer_mutate(data, size, max_size);
    }
    data[..bytes.len()].copy_from_slice(&bytes);
    bytes.len()
});

fn check(case: &Case) {
    let disk = case.disk();
    let before = disk.files();
    let mut log = match case.open(&disk) {
        Ok(log) => log,
        Err(StorageError::Disk(error)) => panic!("the disk did not fail: {error}"),
        Err(_) => {
            // What is refused once is refused again.
            assert!(case.open(&disk).is_err());
            return;
        }
    };
    let (start, end) = (log.log_start_offset(), log.log_end_offset());
    assert!(start <= end, "{start} > {end}");
    let read = read(&log);
    let verified = case.flags & CLEAN == 0 && case.recovery_point == 0;
    if verified {
        // Every byte was checked: what is left of each segment is a beginning of it, and nothing in it is bad.
        let mut next = 0;
        for (path, bytes) in disk.files().iter().filter(|(path, _)| path.extension().is_some_and(|is| is == "log")) {
            match before.get(path) {
                Some(was) => assert!(was.starts_with(bytes), "{} is no beginning of what it was", path.display()),
                None => assert!(bytes.is_empty(), "{} was made from nothing", path.display()),
            }
            for batch in batches(bytes) {
                let batch = batch.expect("a whole batch");
                assert!(batch.crc_is_valid());
                assert!(batch.header().base_offset >= next, "batches overlap in {}", path.display());
                next = batch.header().next_offset();
            }
        }
        assert!(next <= end, "batches up to {next}, the log ends at {end}");
        read.as_ref().expect("what was verified can be read");
    }
    let known = producers(&mut log);
    // The first opening may begin a segment where there was none, which the second then finds.
    let mut files = None;
    for opening in ["second", "third"] {
        drop(log);
        disk.crash(Crash::Process);
        log = case.open(&disk).expect("what opened once opens again");
        assert_eq!((log.log_start_offset(), log.log_end_offset()), (start, end), "{opening} opening");
        if verified {
            assert_eq!(read.as_ref().ok(), self::read(&log).as_ref().ok(), "{opening} opening");
            assert_eq!(known, producers(&mut log), "{opening} opening");
            let now = disk.files();
            let before = files.replace(now.clone()).unwrap_or_else(|| now.clone());
            for path in now.keys().chain(before.keys()) {
                assert_eq!(now.get(path), before.get(path), "{opening} opening changed {}", path.display());
            }
        }
    }
    append(&mut log, end, verified);
}

/// All bytes from the log start to the end, in the pieces that a consumer would read; `None` once a read fails.
fn read(log: &Log) -> Result<Vec<u8>, String> {
    let reader = log.reader();
    let mut all = Vec::new();
    let mut next = reader.log_start_offset();
    _ = reader.max_timestamp_offset();
    _ = reader.offset_for_timestamp(NOW, Offset::MAX);
    _ = reader.aborted_transactions(next, Offset::MAX);
    _ = reader.bytes_between(next, reader.log_end_offset());
    _ = log.active_producers();
    while next < reader.log_end_offset() {
        let plan = reader.read(next, 400, Offset::MAX, true).map_err(|error| error.to_string())?;
        let Some(range) = plan.range else { break };
        let mut bytes = vec![0; range.len];
        range.source.read_exact_at(&mut bytes, range.position).map_err(|error| error.to_string())?;
        let last = batches(&bytes).map_while(Result::ok).last().ok_or("no batch")?;
        let after = last.header().next_offset();
        if after <= next {
            return Err("no progress".to_owned());
        }
        next = after;
        all.extend(bytes);
    }
    Ok(all)
}

/// A snapshot drops the expired ones, reading batches does not.
fn producers(log: &mut Log) -> Vec<ActiveProducer> {
    log.expire_producers(NOW);
    log.active_producers()
}

fn append(log: &mut Log, end: Offset, verified: bool) {
    let mut builder = BatchBuilder::new();
    builder.append(NOW, Some(b"k"), Some(b"after"), []);
    let batch = builder.build().expect("a batch");
    // The last offsets there are leave no room.
    let appended = log.append_as_leader(batch, 0, AppendOrigin::Client, NOW);
    if verified && end <= OFFSET_MAX {
        let info = appended.expect("a verified log can be appended to");
        assert_eq!(info.first_offset, end);
    }
}

fn seeds() -> Vec<(String, Vec<u8>)> {
    let mut seeds = vec![("empty".to_owned(), Case::default().bytes())];
    for (number, codec) in Codec::ALL.into_iter().enumerate() {
        for flags in [FIX_CHECKSUMS, CLEAN, FIX_CHECKSUMS | COMPACTED, FIX_CHECKSUMS | CLEAN] {
            for batches in [1, 12] {
                let case = Case { flags, ..logged(codec, batches) };
                let torn = Case { recovery_point: 2, ..tear(case.clone()) };
                seeds.push((format!("{}-{flags}-{batches}", codec.name()), case.bytes()));
                seeds.push((format!("{}-{flags}-{batches}-torn-{number}", codec.name()), torn.bytes()));
            }
        }
    }
    seeds
}

fn tear(mut case: Case) -> Case {
    for (_, _, bytes) in &mut case.files {
        let left = bytes.len() * 2 / 3;
        bytes.truncate(left);
    }
    case
}

/// The files of a real log with plain, idempotent and transactional batches.
fn logged(codec: Codec, count: i64) -> Case {
    let empty = Case::default();
    let disk = empty.disk();
    let mut log = empty.open(&disk).expect("an empty directory");
    log.start_leader_epoch(1).expect("no fault");
    for number in 0..count {
        let mut builder = BatchBuilder::new().compression(codec, Level::DEFAULT);
        if number % 3 > 0 {
            builder = builder.producer(5, 0, (number * 2) as i32).transactional(number % 3 == 2);
        }
        for value in ["one", "another"] {
            builder.append(NOW + number, Some(b"k"), Some(value.as_bytes()), []);
        }
        let batch: BytesMut = builder.build().expect("a batch");
        _ = log.append_as_leader(batch, 1, AppendOrigin::Client, NOW);
        if number % 3 == 2 {
            let marker = EndTransactionMarker { result: TransactionResult::Abort, coordinator_epoch: 3 };
            _ = log.append_as_leader(marker.batch(5, 0, NOW), 1, AppendOrigin::Coordinator, NOW);
        }
    }
    log.close(NOW).expect("no fault");
    let mut case = Case::default();
    for (path, bytes) in disk.files() {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let kind = SUFFIXES.iter().position(|suffix| name.ends_with(suffix));
        let named = NAMES.iter().position(|known| *known == name);
        let kind = kind.or(named.map(|place| SUFFIXES.len() + place));
        let base = name.get(..20).and_then(|digits| digits.parse().ok()).unwrap_or(0);
        if let Some(kind) = kind {
            case.files.push((kind as u8, base, bytes));
        }
    }
    debug_assert!(case.files.iter().all(|(_, _, bytes)| BatchView::parse(bytes).is_ok() || bytes.len() < 60_000));
    case
}
