//! A file system that is really full: producers are refused, everything else goes on, and writing resumes by itself when
//! a deletion or retention has made room. The metadata log lies on it, too.

use std::{thread, time::Duration};

use super::{Bench, Case, Need, broker::Broker, loop_disk::LoopDisk, require};
use crate::{
    Outcome,
    cluster::Cluster,
    load::{self, Ended, Finish, From, Load},
};

pub(crate) const CASES: &[Case] = &[
    case("full-disk-resumes-after-a-topic-is-deleted", |bench| {
        let mut full = Full::fill(bench)?;
        full.broker.connected().delete_topic(BULK)?;
        full.resumes()
    }),
    case("full-disk-resumes-after-retention", |bench| {
        let mut full = Full::fill(bench)?;
        full.broker.connected().set_topic_config(BULK, "retention.bytes", "1048576")?;
        full.resumes()
    }),
    case("full-disk-starts-after-a-clean-stop", |bench| {
        let mut full = Full::fill(bench)?;
        full.broker.stop()?;
        full.starts()
    }),
    case("full-disk-starts-after-a-kill", |bench| {
        let mut full = Full::fill(bench)?;
        full.broker.kill()?;
        full.starts()
    }),
];

const fn case(name: &'static str, run: fn(&mut Bench<'_>) -> Outcome) -> Case {
    Case { name, need: Need::Mount, run }
}

const UNDER_LOAD: Duration = Duration::from_millis(100);
const DISK_MIB: u64 = 64;
const PARTITIONS: i32 = 2;
const TOPIC: &str = "trouble";
/// What fills the disk.
const BULK: &str = "bulk";
/// KAFKA_STORAGE_ERROR.
const STORAGE_ERROR: i16 = 56;

struct Full {
    // In this order: no file of the broker may be open when its disk goes.
    broker: Broker,
    _disk: LoopDisk,
    load: Load,
}

impl Full {
    /// Fills the disk, the last of it with the load's own records. Readers notice nothing.
    fn fill(bench: &mut Bench<'_>) -> Outcome<Self> {
        let disk = LoopDisk::create(DISK_MIB)?;
        let settings = [
            ("log.retention.check.interval.ms", "1000"),
            ("log.initial.task.delay.ms", "1000"),
            ("log.segment.delete.delay.ms", "100"),
        ];
        let mut broker = Broker::create(bench.tools, &[disk.log_dir()?], &settings)?;
        broker.start()?;
        broker.create_topic(TOPIC, PARTITIONS, &[("segment.bytes", "1048576")])?;
        broker.create_topic(BULK, 1, &[("segment.bytes", "1048576"), ("file.delete.delay.ms", "100")])?;
        let mut load = Load::new(TOPIC, PARTITIONS, &load::KINDS, 4000, &mut bench.random);
        // A producer that nobody knows may begin with any sequence, also with its second batch after a refused first one.
        let running = load.start(&broker.bootstrap())?;
        thread::sleep(UNDER_LOAD);
        load.finish(running, Finish::Ask)?;
        let large = "x".repeat(900_000);
        while broker.connected().produce(BULK, 0, &large)? == 0 {}
        let running = load.start(&broker.bootstrap())?;
        let ends = load.finish(running, Finish::Wait)?;
        require(ends.iter().all(|ended| *ended == Ended::Refused(STORAGE_ERROR)), || format!("full: {ends:?}"))?;
        let mut full = Self { broker, _disk: disk, load };
        full.is_online()?;
        full.is_read()?;
        Ok(full)
    }

    fn is_online(&self) -> Outcome {
        let errors = self.broker.connected().log_dir_errors()?;
        require(errors.iter().all(|(_, code)| *code == 0), || format!("a full disk is no broken one: {errors:?}"))
    }

    fn is_read(&mut self) -> Outcome {
        for partition in 0..PARTITIONS {
            let read = load::read_to_end(&self.broker.bootstrap(), TOPIC, partition, 0)?;
            self.load.checker.observed(partition, &read)?;
        }
        Ok(())
    }

    /// There is room, or will be in a moment.
    fn resumes(&mut self) -> Outcome {
        let load = &mut self.load;
        let bootstrap = self.broker.bootstrap();
        let mut refused = String::new();
        // The first that becomes free may be little.
        let resumed = self.broker.until("writing resumes", |_| {
            if let Err(error) = load.send_again(&bootstrap) {
                refused = error.to_string();
                return Ok(None);
            }
            let running = load.start(&bootstrap)?;
            thread::sleep(UNDER_LOAD);
            let ends = load.finish(running, Finish::Ask)?;
            refused = format!("{ends:?}");
            Ok(ends.iter().all(|ended| *ended == Ended::Asked).then_some(()))
        });
        resumed.map_err(|error| format!("{error}: {refused}"))?;
        self.load.check(&bootstrap, From::TheStart)?;
        self.is_online()?;
        self.broker.kill()?;
        self.broker.start()?;
        self.broker.until_ready(TOPIC, PARTITIONS)?;
        self.load.check(&bootstrap, From::TheStart)
    }

    /// On a disk that is still full.
    fn starts(&mut self) -> Outcome {
        self.broker.start()?;
        self.broker.until_ready(TOPIC, PARTITIONS)?;
        self.is_online()?;
        self.is_read()?;
        self.broker.connected().delete_topic(BULK)?;
        self.resumes()
    }
}
