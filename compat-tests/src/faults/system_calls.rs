//! System calls that fail under load: writes, syncs, reads, renames, opens, and a death in the middle of any of them.

use std::{path::PathBuf, thread, time::Duration};

use rand::Rng;

use super::{
    Bench, Case, Need,
    broker::Broker,
    require,
    strace::{self, Injection},
};
use crate::{
    Outcome,
    cluster::Cluster,
    load::{self, Ended, Finish, From, Load},
};

pub(crate) const CASES: &[Case] = &[
    case("write-error-takes-the-log-dir-offline", write_error),
    case("sync-error-is-never-acknowledged", sync_error),
    case("no-room-is-refused-and-resumes-by-itself", no_room),
    case("no-room-for-a-new-segment-resumes-by-itself", no_room_for_a_segment),
    case("error-at-a-new-segment-takes-the-log-dir-offline", segment_error),
    case("error-at-a-checkpoint-takes-the-log-dir-offline", checkpoint_error),
    case("no-room-for-a-checkpoint-takes-nothing-offline", no_room_for_a_checkpoint),
    case("read-error-serves-nothing-wrong", read_error),
    case("send-error-serves-nothing-wrong", send_error),
    case("metadata-log-error-ends-the-broker", metadata_error),
    case("killed-inside-system-calls", killed_inside),
    case("killed-inside-recovery", killed_inside_recovery),
];

const fn case(name: &'static str, run: fn(&mut Bench<'_>) -> Outcome) -> Case {
    Case { name, need: Need::Strace, run }
}

/// KAFKA_STORAGE_ERROR.
const STORAGE_ERROR: i16 = 56;
const TOPIC: &str = "trouble";
const PARTITIONS: i32 = 4;
const UNDER_LOAD: Duration = Duration::from_millis(100);

/// Two log dirs, the metadata log elsewhere, and a topic whose partitions lie on both dirs.
struct TwoDirs {
    broker: Broker,
    load: Load,
    /// Holds the directories.
    _dir: tempfile::TempDir,
}

impl TwoDirs {
    fn start(bench: &mut Bench<'_>, settings: &[(&str, &str)], configs: &[(&str, &str)]) -> Outcome<Self> {
        let dir = tempfile::Builder::new().prefix("milena-dirs-").tempdir()?;
        let log_dirs = [dir.path().join("a"), dir.path().join("b")];
        let metadata = dir.path().join("metadata");
        for path in log_dirs.iter().chain([&metadata]) {
            std::fs::create_dir(path)?;
        }
        let metadata = metadata.display().to_string();
        let mut all = vec![("metadata.log.dir", metadata.as_str())];
        all.extend_from_slice(settings);
        let mut broker = Broker::create(bench.tools, &log_dirs, &all)?;
        broker.start()?;
        broker.create_topic(TOPIC, PARTITIONS, configs)?;
        let mut load = Load::new(TOPIC, PARTITIONS, &load::KINDS, 400, &mut bench.random);
        // Everything exists and has worked once before anything fails.
        let running = load.start(&broker.bootstrap())?;
        thread::sleep(UNDER_LOAD);
        let ends = load.finish(running, Finish::Ask)?;
        require(ends.iter().all(|ended| *ended == Ended::Asked), || format!("before any trouble: {ends:?}"))?;
        Ok(Self { broker, load, _dir: dir })
    }

    /// The newest `.log` of every partition in one log dir.
    fn logs_of(&self, log_dir: usize) -> Outcome<Vec<PathBuf>> {
        let mut logs = Vec::new();
        for partition in 0..PARTITIONS {
            if self.broker.log_dir_of(TOPIC, partition)? == log_dir {
                logs.push(self.broker.active_log(TOPIC, partition)?);
            }
        }
        Ok(logs)
    }

    fn all_logs(&self) -> Outcome<Vec<PathBuf>> {
        (0..PARTITIONS).map(|partition| self.broker.active_log(TOPIC, partition)).collect()
    }

    /// Under load, `what` happens to `paths` until the log dir is offline; the other one goes on. A restart heals it.
    fn loses_its_first_dir(&mut self, what: &str, paths: &[PathBuf]) -> Outcome {
        let bootstrap = self.broker.bootstrap();
        let scratch = self.broker.scratch_dir().to_path_buf();
        let injection = Injection::attach(self.broker.pid()?, what, paths, &scratch)?;
        let running = self.load.start(&bootstrap)?;
        injection.until_failed(1)?;
        self.until_offline(0)?;
        drop(injection);
        let ends = self.load.finish(running, Finish::Ask)?;
        self.only_the_first_dir_refused(&ends)?;
        // Not tried again: nothing but a restart brings it back.
        for partition in 0..PARTITIONS {
            if self.broker.log_dir_of(TOPIC, partition)? == 0 {
                let code = self.broker.connected().produce(TOPIC, partition, "probe")?;
                require(code == STORAGE_ERROR, || format!("a failed log dir answers {code} to a Produce"))?;
            }
        }
        self.offline_is(&[true, false])?;
        require(self.broker.log().contains(" ERROR "), || "no ERROR line tells of it".to_owned())?;
        self.broker.kill()?;
        self.broker.start()?;
        self.broker.until_ready(TOPIC, PARTITIONS)?;
        self.offline_is(&[false, false])?;
        self.load.send_again(&bootstrap)?;
        self.load.check(&bootstrap, From::TheStart)
    }

    fn only_the_first_dir_refused(&self, ends: &[Ended]) -> Outcome {
        let mut refused = 0;
        for (ended, partition) in ends.iter().zip((0..PARTITIONS).cycle()) {
            match (ended, self.broker.log_dir_of(TOPIC, partition)?) {
                (Ended::Asked, _) => {}
                (Ended::Refused(STORAGE_ERROR), 0) => refused += 1,
                (ended, log_dir) => {
                    return Err(format!("a producer of log dir {log_dir} ended with {ended:?}").into());
                }
            }
        }
        require(refused > 0, || "no producer was refused".to_owned())
    }

    fn until_offline(&mut self, log_dir: usize) -> Outcome {
        let path = self.broker.log_dirs()[log_dir].clone();
        self.broker.until("the log dir is offline", |broker| {
            let errors = broker.log_dir_errors()?;
            Ok(errors.iter().any(|(dir, code)| *dir == path && *code == STORAGE_ERROR).then_some(()))
        })
    }

    fn offline_is(&self, expected: &[bool]) -> Outcome {
        let errors = self.broker.connected().log_dir_errors()?;
        for (dir, expected) in self.broker.log_dirs().iter().zip(expected) {
            let code = errors.iter().find(|(path, _)| path == dir).map(|(_, code)| *code);
            let expected = if *expected { STORAGE_ERROR } else { 0 };
            require(code == Some(expected), || format!("DescribeLogDirs says {code:?} of {}", dir.display()))?;
        }
        Ok(())
    }

    /// Under load, `what` happens to `paths` until producers were refused; then it heals and all go on.
    fn survives(&mut self, what: &str, paths: &[PathBuf]) -> Outcome {
        let bootstrap = self.broker.bootstrap();
        {
            let scratch = self.broker.scratch_dir().to_path_buf();
            let injection = Injection::attach(self.broker.pid()?, what, paths, &scratch)?;
            let running = self.load.start(&bootstrap)?;
            // Every producer ends: its partition takes nothing more.
            let ends = self.load.finish(running, Finish::Wait)?;
            require(ends.iter().all(|ended| *ended == Ended::Refused(STORAGE_ERROR)), || format!("refused: {ends:?}"))?;
            injection.until_failed(1)?;
            // Who reads does not notice.
            for partition in 0..PARTITIONS {
                let read = load::read_to_end(&bootstrap, TOPIC, partition, 0)?;
                self.load.checker.observed(partition, &read)?;
            }
            self.offline_is(&[false, false])?;
        }
        self.load.send_again(&bootstrap)?;
        self.works()?;
        self.broker.kill()?;
        self.broker.start()?;
        self.broker.until_ready(TOPIC, PARTITIONS)?;
        self.load.check(&bootstrap, From::TheStart)
    }

    /// A little load, and everything is as it should be.
    fn works(&mut self) -> Outcome {
        let bootstrap = self.broker.bootstrap();
        let running = self.load.start(&bootstrap)?;
        thread::sleep(UNDER_LOAD);
        let ends = self.load.finish(running, Finish::Ask)?;
        require(ends.iter().all(|ended| *ended == Ended::Asked), || format!("after the trouble: {ends:?}"))?;
        self.load.check(&bootstrap, From::TheStart)
    }
}

fn write_error(bench: &mut Bench<'_>) -> Outcome {
    let mut two = TwoDirs::start(bench, &[], &[])?;
    let one = two.logs_of(0)?.into_iter().take(1).collect::<Vec<_>>();
    let from = bench.random.random_range(1..30);
    two.loses_its_first_dir(&format!("pwrite64:error=EIO:when={from}"), &one)
}

fn sync_error(bench: &mut Bench<'_>) -> Outcome {
    let mut two = TwoDirs::start(bench, &[], &[("flush.messages", "1")])?;
    let one = two.logs_of(0)?.into_iter().take(1).collect::<Vec<_>>();
    let from = bench.random.random_range(1..10);
    two.loses_its_first_dir(&format!("fdatasync:error=EIO:when={from}"), &one)
}

fn no_room(bench: &mut Bench<'_>) -> Outcome {
    let mut two = TwoDirs::start(bench, &[], &[])?;
    let logs = two.all_logs()?;
    two.survives("pwrite64:error=ENOSPC:when=3+", &logs)
}

/// By the next append a segment is too old: these are the files of the one that follows, in some log dirs.
fn next_segments(two: &TwoDirs, bench: &mut Bench<'_>, log_dirs: &[usize]) -> Outcome<Vec<PathBuf>> {
    let suffix = ["log", "index", "timeindex", "snapshot"][bench.random.random_range(0..4)];
    let mut files = Vec::new();
    for partition in 0..PARTITIONS {
        if log_dirs.contains(&two.broker.log_dir_of(TOPIC, partition)?) {
            let end = load::read_to_end(&two.broker.bootstrap(), TOPIC, partition, 0)?.high_watermark;
            files.push(two.broker.partition_dir(TOPIC, partition)?.join(format!("{end:020}.{suffix}")));
        }
    }
    Ok(files)
}

const SHORT_SEGMENTS: [(&str, &str); 1] = [("segment.ms", "20")];

fn no_room_for_a_segment(bench: &mut Bench<'_>) -> Outcome {
    let mut two = TwoDirs::start(bench, &[], &SHORT_SEGMENTS)?;
    let files = next_segments(&two, bench, &[0, 1])?;
    two.survives("openat:error=ENOSPC", &files)
}

fn segment_error(bench: &mut Bench<'_>) -> Outcome {
    let mut two = TwoDirs::start(bench, &[], &SHORT_SEGMENTS)?;
    let files = next_segments(&two, bench, &[0])?;
    two.loses_its_first_dir("openat:error=EIO", &files)
}

fn checkpoint_error(bench: &mut Bench<'_>) -> Outcome {
    let settings = [("replica.high.watermark.checkpoint.interval.ms", "100")];
    let mut two = TwoDirs::start(bench, &settings, &[])?;
    let checkpoint = two.broker.log_dirs()[0].join("replication-offset-checkpoint");
    let temporary = checkpoint.with_extension("tmp");
    two.loses_its_first_dir("rename,renameat,renameat2:error=EIO", &[checkpoint, temporary])
}

fn no_room_for_a_checkpoint(bench: &mut Bench<'_>) -> Outcome {
    let settings = [("replica.high.watermark.checkpoint.interval.ms", "100")];
    let mut two = TwoDirs::start(bench, &settings, &[])?;
    let temporary: Vec<PathBuf> =
        two.broker.log_dirs().iter().map(|dir| dir.join("replication-offset-checkpoint.tmp")).collect();
    let running = two.load.start(&two.broker.bootstrap())?;
    {
        let scratch = two.broker.scratch_dir().to_path_buf();
        let injection = Injection::attach(two.broker.pid()?, "pwrite64,openat:error=ENOSPC", &temporary, &scratch)?;
        // Both dirs' checkpoints are written one after the other, and then not for a while.
        injection.until_failed(2)?;
    }
    let ends = two.load.finish(running, Finish::Ask)?;
    require(ends.iter().all(|ended| *ended == Ended::Asked), || format!("{ends:?}"))?;
    two.offline_is(&[false, false])?;
    two.works()
}

/// The pages look as if they had left memory, and the device cannot read them any more.
fn read_error(bench: &mut Bench<'_>) -> Outcome {
    wrong_read(bench, &["preadv2:error=EAGAIN", "pread64:error=EIO"])
}

fn send_error(bench: &mut Bench<'_>) -> Outcome {
    wrong_read(bench, &["sendfile:error=EIO"])
}

/// Reading under these injections gives an error, or records as they were written; after a restart all are there.
fn wrong_read(bench: &mut Bench<'_>, what: &[&str]) -> Outcome {
    let mut two = TwoDirs::start(bench, &[], &[])?;
    two.load.check(&two.broker.bootstrap(), From::TheStart)?;
    let bootstrap = two.broker.bootstrap();
    {
        let scratch = two.broker.scratch_dir().to_path_buf();
        // Of one log dir: without any a broker ends.
        let logs = two.logs_of(0)?;
        let injection = Injection::attach_all(two.broker.pid()?, what, &logs, &scratch)?;
        for partition in 0..PARTITIONS {
            // An error is what is expected; records, if any, must be the right ones.
            if let Ok(read) = load::read_to_end(&bootstrap, TOPIC, partition, 0) {
                two.load.checker.observed(partition, &read)?;
            }
        }
        injection.until_failed(1)?;
    }
    two.broker.connected().topics()?;
    two.broker.kill()?;
    two.broker.start()?;
    two.broker.until_ready(TOPIC, PARTITIONS)?;
    two.works()
}

/// The metadata log is the broker's memory: without it, it ends, and knows afterwards what it had acknowledged.
fn metadata_error(bench: &mut Bench<'_>) -> Outcome {
    let mut two = TwoDirs::start(bench, &[], &[])?;
    let metadata = two.broker.log_dirs()[0].with_file_name("metadata").join("milena-metadata");
    let frames: Vec<PathBuf> = std::fs::read_dir(metadata)?.map(|entry| Ok(entry?.path())).collect::<Outcome<_>>()?;
    let scratch = two.broker.scratch_dir().to_path_buf();
    let mut created = vec![TOPIC.to_owned()];
    let running = two.load.start(&two.broker.bootstrap())?;
    let from = bench.random.random_range(2..5);
    let injection =
        Injection::attach(two.broker.pid()?, &format!("fdatasync:error=EIO:when={from}"), &frames, &scratch)?;
    for number in 0..10 {
        let name = format!("created-{number}");
        if two.broker.create_topic(&name, 1, &[]).is_err() {
            break;
        }
        created.push(name);
    }
    injection.until_failed(1)?;
    let code = two.broker.wait()?;
    drop(injection);
    require(code != 0, || "a broker without its metadata log ended as if all were well".to_owned())?;
    two.load.finish(running, Finish::Wait)?;
    two.broker.start()?;
    two.broker.until_ready(TOPIC, PARTITIONS)?;
    let topics = two.broker.connected().topics()?;
    let lost = created.iter().find(|name| !topics.contains(name));
    require(lost.is_none(), || format!("the topic {lost:?} is gone"))?;
    two.load.send_again(&two.broker.bootstrap())?;
    two.works()
}

/// What a broker may be doing when it dies.
const CALLS: [&str; 6] = ["pwrite64", "fdatasync", "rename", "openat", "sendfile", "ftruncate"];

fn killed_inside(bench: &mut Bench<'_>) -> Outcome {
    let settings =
        [("replica.high.watermark.checkpoint.interval.ms", "50"), ("log.flush.offset.checkpoint.interval.ms", "50")];
    let configs = [("segment.bytes", "1048576"), ("segment.ms", "50"), ("flush.messages", "10")];
    let mut two = TwoDirs::start(bench, &settings, &configs)?;
    let bootstrap = two.broker.bootstrap();
    for round in 0..bench.rounds {
        let running = two.load.start(&bootstrap)?;
        let call = CALLS[bench.random.random_range(0..CALLS.len())];
        let nth = bench.random.random_range(1..20);
        let scratch = two.broker.scratch_dir().to_path_buf();
        let injection = Injection::attach(two.broker.pid()?, &format!("{call}:signal=KILL:when={nth}"), &[], &scratch)?;
        thread::sleep(UNDER_LOAD);
        drop(injection);
        // Not every call comes that often in the time.
        let _ = two.broker.kill();
        two.load.finish(running, Finish::Wait)?;
        two.restarted().map_err(|error| format!("round {round}, inside {call} number {nth}: {error}"))?;
    }
    Ok(())
}

fn killed_inside_recovery(bench: &mut Bench<'_>) -> Outcome {
    let configs = [("segment.bytes", "1048576"), ("segment.ms", "20")];
    let mut two = TwoDirs::start(bench, &[], &configs)?;
    let bootstrap = two.broker.bootstrap();
    for round in 0..bench.rounds {
        let running = two.load.start(&bootstrap)?;
        thread::sleep(UNDER_LOAD);
        two.broker.kill()?;
        two.load.finish(running, Finish::Wait)?;
        let call =
            ["pwrite64", "ftruncate", "fdatasync", "rename", "openat", "unlink"][bench.random.random_range(0..6)];
        let nth = bench.random.random_range(1..30);
        two.broker.start_under = strace::start_under(&format!("{call}:signal=KILL:when={nth}"), &[]);
        if two.broker.start().is_ok() {
            two.broker.kill()?;
        }
        two.broker.start_under = Vec::new();
        two.restarted().map_err(|error| format!("round {round}, inside {call} number {nth}: {error}"))?;
    }
    Ok(())
}

impl TwoDirs {
    fn restarted(&mut self) -> Outcome {
        let bootstrap = self.broker.bootstrap();
        self.broker.start()?;
        self.broker.until_ready(TOPIC, PARTITIONS)?;
        self.load.send_again(&bootstrap)?;
        self.load.check(&bootstrap, From::TheStart)
    }
}
