//! Files that are damaged while the broker is down, and batches that arrive damaged.
//!
//! What can be made anew from the log is; a damaged log is cut where nothing was promised, and where something was, its
//! partition goes offline with an ERROR line and all others are served. Damaged bytes are never handed out.

use std::{fs, path::PathBuf, thread, time::Duration};

use rand::{Rng, RngCore};
use uuid::Uuid;

use super::{Bench, Case, Need, broker::Broker, require};
use crate::{
    Outcome,
    cluster::Cluster,
    load::{self, Ended, Finish, From, Load},
    raw::{
        Batch, Connection,
        requests::{Topic, fetch, from_offset, list_offsets, produce},
    },
    scenarios::produce::now_ms,
};

pub(crate) const CASES: &[Case] = &[
    case("wrong-checksum-is-refused", wrong_checksum),
    case("served-below-the-high-watermark", below_high_watermark),
    case("torn-tail-is-cut", torn_tail),
    case("flipped-byte-in-a-sealed-segment", flipped_byte),
    case("damaged-small-files-are-made-anew", small_files),
];

const fn case(name: &'static str, run: fn(&mut Bench<'_>) -> Outcome) -> Case {
    Case { name, need: Need::Nothing, run }
}

const TOPIC: &str = "trouble";
const PARTITIONS: i32 = 2;
const UNDER_LOAD: Duration = Duration::from_millis(100);
/// Frequent checkpoints, so that there are some before anything is damaged.
const SETTINGS: [(&str, &str); 3] = [
    ("log.flush.offset.checkpoint.interval.ms", "100"),
    ("replica.high.watermark.checkpoint.interval.ms", "100"),
    ("log.flush.start.offset.checkpoint.interval.ms", "100"),
];
/// Segments are short, and what is in them is on the disk.
const SHORT_AND_SYNCED: [(&str, &str); 3] =
    [("segment.ms", "20"), ("flush.messages", "1"), ("index.interval.bytes", "512")];
/// CORRUPT_MESSAGE and KAFKA_STORAGE_ERROR.
const CORRUPT_MESSAGE: i16 = 2;
const STORAGE_ERROR: i16 = 56;

struct Subject {
    broker: Broker,
    load: Load,
}

impl Subject {
    fn start(bench: &mut Bench<'_>, configs: &[(&str, &str)]) -> Outcome<Self> {
        let mut broker = Broker::create(bench.tools, &[], &SETTINGS)?;
        broker.start()?;
        broker.create_topic(TOPIC, PARTITIONS, configs)?;
        let load = Load::new(TOPIC, PARTITIONS, &load::KINDS, 400, &mut bench.random);
        let mut subject = Self { broker, load };
        subject.works()?;
        Ok(subject)
    }

    fn works(&mut self) -> Outcome {
        let bootstrap = self.broker.bootstrap();
        let running = self.load.start(&bootstrap)?;
        thread::sleep(UNDER_LOAD);
        let ends = self.load.finish(running, Finish::Ask)?;
        require(ends.iter().all(|ended| *ended == Ended::Asked), || format!("producers ended: {ends:?}"))?;
        self.load.check(&bootstrap, From::TheStart)
    }

    fn end(&mut self, ending: Ending) -> Outcome {
        match ending {
            Ending::Stopped => self.broker.stop().map(|_| ()),
            Ending::Killed => self.broker.kill(),
        }
    }

    fn restart(&mut self) -> Outcome {
        self.broker.start()?;
        self.broker.until_ready(TOPIC, PARTITIONS)
    }

    /// Waits until the recovery point on the disk covers a whole partition.
    fn until_checkpointed(&mut self, partition: i32) -> Outcome {
        let end = load::read_to_end(&self.broker.bootstrap(), TOPIC, partition, 0)?.high_watermark;
        let line = format!("{TOPIC} {partition} {end}");
        let file = self.broker.data_dir().join("recovery-point-offset-checkpoint");
        self.broker.until("the recovery point is written", |_| {
            let text = fs::read_to_string(&file).unwrap_or_default();
            Ok(text.lines().any(|found| found == line).then_some(()))
        })
    }
}

/// How a broker ends before its files are damaged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ending {
    Stopped,
    Killed,
}

fn wrong_checksum(bench: &mut Bench<'_>) -> Outcome {
    let mut subject = Subject::start(bench, &[])?;
    let batch = Batch::new(now_ms(), &["damaged"]).with(|batch| batch.crc_error = 1).encode();
    let request = produce(9, -1, Topic { name: TOPIC, id: Uuid::nil() }, &[(0, batch)]);
    let answer = Connection::open(&subject.broker.bootstrap())?.call(9, &request)?;
    let code = answer.response().ok_or("no answer to Produce")?.responses[0].partition_responses[0].error_code;
    require(code == CORRUPT_MESSAGE, || format!("a batch with a wrong checksum is answered {code}"))?;
    subject.works()
}

/// Readers race with syncs: what they get must be covered by the high watermark that comes with it.
fn below_high_watermark(bench: &mut Bench<'_>) -> Outcome {
    let mut subject = Subject::start(bench, &[("flush.messages", "1")])?;
    for _ in 0..bench.rounds {
        subject.works()?;
    }
    Ok(())
}

fn torn_tail(bench: &mut Bench<'_>) -> Outcome {
    let mut subject = Subject::start(bench, &[("segment.ms", "100")])?;
    for round in 0..bench.rounds {
        subject.broker.kill()?;
        for partition in 0..PARTITIONS {
            let log = subject.broker.active_log(TOPIC, partition)?;
            let mut bytes = fs::read(&log)?;
            let tail = match bench.random.random_range(0..4) {
                // What a file system makes of a length that reached the disk before the bytes.
                0 => vec![0; bench.random.random_range(1..5000)],
                1 => {
                    let mut noise = vec![0; bench.random.random_range(1..5000)];
                    bench.random.fill_bytes(&mut noise);
                    noise
                }
                // A batch that was being written, at the offset that is next.
                kind => {
                    let end = subject.load.checker.read_up_to(partition);
                    let value = "x".repeat(600);
                    let mut batch =
                        Batch::new(now_ms(), &[&value]).with(|batch| batch.base_offset = end).encode().to_vec();
                    if kind == 2 {
                        batch.truncate(bench.random.random_range(1..batch.len()));
                    } else {
                        batch[300] ^= 1;
                    }
                    batch
                }
            };
            bytes.extend_from_slice(&tail);
            fs::write(&log, bytes)?;
        }
        let again = |error| format!("round {round}: {error}");
        subject.restart().map_err(again)?;
        subject.works().map_err(again)?;
    }
    Ok(())
}

fn flipped_byte(bench: &mut Bench<'_>) -> Outcome {
    for ending in [Ending::Stopped, Ending::Killed] {
        let mut subject = Subject::start(bench, &SHORT_AND_SYNCED)?;
        while subject.broker.segments(TOPIC, 0)?.len() < 4 {
            subject.works()?;
        }
        subject.until_checkpointed(0)?;
        subject.end(ending)?;
        let segments = subject.broker.segments(TOPIC, 0)?;
        let sealed: Vec<&PathBuf> = segments[..segments.len() - 1].iter().filter(|file| has_bytes(file)).collect();
        let sealed = sealed[bench.random.random_range(0..sealed.len())];
        let mut bytes = fs::read(sealed)?;
        // Behind base offset, length, leader epoch and magic of the first batch.
        let at = bench.random.random_range(17..bytes.len());
        bytes[at] ^= 1 << bench.random.random_range(0..8);
        fs::write(sealed, bytes)?;
        is_offline(&mut subject).map_err(|error| format!("{ending:?}, byte {at} of {}: {error}", sealed.display()))?;
    }
    Ok(())
}

fn has_bytes(file: &PathBuf) -> bool {
    fs::metadata(file).is_ok_and(|file| file.len() > 100)
}

/// Partition 0 is damaged, and only it: reading it ends with an error, never with wrong bytes.
fn is_offline(subject: &mut Subject) -> Outcome {
    subject.broker.start()?;
    let bootstrap = subject.broker.bootstrap();
    match load::read_to_end(&bootstrap, TOPIC, 0, 0) {
        Ok(_) => return Err("a damaged partition is read to its end".into()),
        Err(error) if error.to_string().contains(load::SERVED) => return Err(error),
        Err(_) => {}
    }
    let answer = |partition| -> Outcome<i16> {
        let request = fetch(12, Topic { name: TOPIC, id: Uuid::nil() }, vec![from_offset(partition, 0)]);
        let response = Connection::open(&bootstrap)?.call(12, &request)?.response().ok_or("no answer to a Fetch")?;
        Ok(response.responses[0].partitions[0].error_code)
    };
    let code = answer(0)?;
    require(code == STORAGE_ERROR, || format!("Fetch of the damaged partition answers {code}"))?;
    let read = load::read_to_end(&bootstrap, TOPIC, 1, 0)?;
    subject.load.checker.read(1, &read)?;
    let name = format!("{TOPIC}-0");
    let told = subject.broker.log().lines().any(|line| line.contains(" ERROR ") && line.contains(&name));
    require(told, || "no ERROR line names the partition".to_owned())
}

/// What is done to a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Damage {
    Deleted,
    Halved,
    Emptied,
    Noise,
    /// Has the bytes of the other partition's file.
    Swapped,
    /// Has the bytes that it had a while ago.
    Stale,
}

const DAMAGES: [Damage; 6] =
    [Damage::Deleted, Damage::Halved, Damage::Emptied, Damage::Noise, Damage::Swapped, Damage::Stale];

/// The small files by the ends of their names.
const SMALL_FILES: [&str; 7] = [
    ".index",
    ".timeindex",
    ".snapshot",
    "leader-epoch-checkpoint",
    "recovery-point-offset-checkpoint",
    "replication-offset-checkpoint",
    "log-start-offset-checkpoint",
];

fn small_files(bench: &mut Bench<'_>) -> Outcome {
    let mut subject = Subject::start(bench, &SHORT_AND_SYNCED)?;
    let mut wrong = Vec::new();
    for ending in [Ending::Stopped, Ending::Killed] {
        for file in SMALL_FILES {
            for damage in DAMAGES {
                // It says nothing about whose producers it tells of: nobody could know.
                if (file, damage) == (".snapshot", Damage::Swapped) {
                    continue;
                }
                let what = format!("{ending:?}, {file} {damage:?}");
                if let Err(error) = small_file(bench, &mut subject, ending, file, damage) {
                    wrong.push(format!("{what}: {}", error.to_string().lines().next().unwrap_or_default()));
                    let _ = subject.broker.kill();
                    subject = Subject::start(bench, &SHORT_AND_SYNCED)?;
                }
            }
        }
    }
    require(wrong.is_empty(), || wrong.join("\n    "))
}

fn small_file(bench: &mut Bench<'_>, subject: &mut Subject, ending: Ending, file: &str, damage: Damage) -> Outcome {
    let files = |subject: &Subject, partition: i32| -> Outcome<Vec<PathBuf>> {
        let dir = if file.contains("offset-checkpoint") {
            subject.broker.data_dir()
        } else {
            subject.broker.partition_dir(TOPIC, partition)?
        };
        let mut files: Vec<PathBuf> =
            fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
        files.retain(|path| path.to_string_lossy().ends_with(file));
        files.sort();
        Ok(files)
    };
    let old: Vec<(PathBuf, Vec<u8>)> = files(subject, 0)?
        .into_iter()
        .map(|path| Ok((path.clone(), fs::read(path)?)))
        .collect::<std::io::Result<_>>()?;
    let bootstrap = subject.broker.bootstrap();
    let running = subject.load.start(&bootstrap)?;
    thread::sleep(Duration::from_millis(20));
    subject.load.finish(running, Finish::Ask)?;
    let times: Vec<i64> = (0..5).map(|_| now_ms() - bench.random.random_range(0..2000)).collect();
    let before = offsets_of(&bootstrap, &times)?;
    subject.end(ending)?;
    let others = files(subject, 1)?;
    for path in files(subject, 0)? {
        let mut bytes = fs::read(&path)?;
        match damage {
            Damage::Deleted => {
                fs::remove_file(&path)?;
                continue;
            }
            Damage::Halved => bytes.truncate(bytes.len() / 2),
            Damage::Emptied => bytes.clear(),
            Damage::Noise => bench.random.fill_bytes(&mut bytes),
            Damage::Swapped => match others.first() {
                Some(other) => bytes = fs::read(other)?,
                None => continue,
            },
            Damage::Stale => match old.iter().find(|(known, _)| *known == path) {
                Some((_, stale)) => bytes.clone_from(stale),
                None => continue,
            },
        }
        fs::write(&path, bytes)?;
    }
    subject.restart()?;
    let after = offsets_of(&bootstrap, &times)?;
    require(before == after, || format!("offsets by time were {before:?}, are {after:?}"))?;
    subject.load.check(&bootstrap, From::TheStart)?;
    let running = subject.load.start(&bootstrap)?;
    thread::sleep(Duration::from_millis(20));
    let ends = subject.load.finish(running, Finish::Ask)?;
    require(ends.iter().all(|ended| *ended == Ended::Asked), || format!("producers ended: {ends:?}"))?;
    subject.load.check(&bootstrap, From::TheStart)
}

/// ListOffsets of partition 0 at these times.
fn offsets_of(bootstrap: &str, times: &[i64]) -> Outcome<Vec<i64>> {
    let mut connection = Connection::open(bootstrap)?;
    let mut offsets = Vec::new();
    for time in times {
        let answer = connection.call(4, &list_offsets(TOPIC, &[(0, *time)]))?;
        let response = answer.response().ok_or("no answer to ListOffsets")?;
        let row = &response.topics[0].partitions[0];
        require(row.error_code == 0, || format!("ListOffsets answered {}", row.error_code))?;
        offsets.push(row.offset);
    }
    Ok(offsets)
}
