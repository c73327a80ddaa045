//! Power cuts under load, on a file system that forgets what was not synced.
//!
//! Afterwards every acknowledged record of a topic with `flush.messages=1` is there, every acknowledged topic and setting,
//! and of other topics a beginning. One cut may come while the broker recovers from the one before.

use std::{thread, time::Duration};

use rand::Rng;

use super::{Bench, Case, Need, broker::Broker, loop_disk::LoopDisk, require};
use crate::{
    Outcome,
    cluster::Cluster,
    load::{self, Finish, From, Load},
};

pub(crate) const CASES: &[Case] = &[
    Case { name: "power-cut-under-load", need: Need::Mount, run: under_load },
    Case { name: "power-cut-during-recovery", need: Need::Mount, run: during_recovery },
];

const DISK_MIB: u64 = 256;
const PARTITIONS: i32 = 3;
/// With this every acknowledged record is on stable storage.
const SYNCED: (&str, &str) = ("flush.messages", "1");
const SETTING: &str = "retention.ms";

struct World {
    // In this order: no file of the broker may be open when its disk goes.
    broker: Broker,
    disk: LoopDisk,
    synced: Load,
    plain: Load,
    topics: Vec<String>,
    /// The value of `SETTING` that was acknowledged last, and the one that was asked for last.
    setting: (u32, u32),
}

impl World {
    fn start(bench: &mut Bench<'_>) -> Outcome<Self> {
        let disk = LoopDisk::create(DISK_MIB)?;
        let settings = [
            ("log.flush.offset.checkpoint.interval.ms", "100"),
            ("replica.high.watermark.checkpoint.interval.ms", "100"),
            ("log.flush.start.offset.checkpoint.interval.ms", "100"),
        ];
        let mut broker = Broker::create(bench.tools, &[disk.log_dir()?], &settings)?;
        broker.start()?;
        let short = [("segment.bytes", "1048576"), ("segment.ms", "200")];
        broker.create_topic("plain", PARTITIONS, &short)?;
        broker.create_topic("synced", PARTITIONS, &[short[0], short[1], SYNCED])?;
        let synced = Load::new("synced", PARTITIONS, &load::KINDS, 400, &mut bench.random);
        let plain = Load::new("plain", PARTITIONS, &load::KINDS, 400, &mut bench.random);
        let topics = vec!["plain".to_owned(), "synced".to_owned()];
        Ok(Self { broker, disk, synced, plain, topics, setting: (0, 0) })
    }

    /// Producers and an administrator work until the power fails.
    fn load_and_cut(&mut self, bench: &mut Bench<'_>) -> Outcome {
        let bootstrap = self.broker.bootstrap();
        let (synced, plain) = (self.synced.start(&bootstrap)?, self.plain.start(&bootstrap)?);
        let steps = bench.random.random_range(1..12);
        for _ in 0..steps {
            thread::sleep(Duration::from_millis(bench.random.random_range(1..100)));
            let topic = format!("created-{}", self.topics.len());
            self.broker.create_topic(&topic, 1, &[SYNCED])?;
            self.topics.push(topic);
            self.setting.1 += 1;
            self.broker.connected().set_topic_config("synced", SETTING, &retention_ms(self.setting.1))?;
            self.setting.0 = self.setting.1;
        }
        self.disk.cut_power()?;
        // It may have ended by itself: its only disk is gone.
        let _ = self.broker.kill();
        self.synced.finish(synced, Finish::Wait)?;
        self.plain.finish(plain, Finish::Wait)?;
        Ok(())
    }

    fn recover(&mut self) -> Outcome {
        self.disk.power_on()?;
        self.broker.start()?;
        self.check()
    }

    fn check(&mut self) -> Outcome {
        let bootstrap = self.broker.bootstrap();
        self.broker.until_ready("synced", PARTITIONS)?;
        self.broker.until_ready("plain", PARTITIONS)?;
        self.synced.send_again(&bootstrap)?;
        self.synced.check(&bootstrap, From::TheStart).map_err(|error| format!("flush.messages=1: {error}"))?;
        self.plain.check_what_is_left(&bootstrap).map_err(|error| format!("without syncs: {error}"))?;
        let present = self.broker.connected().topics()?;
        let lost = self.topics.iter().find(|topic| !present.contains(topic));
        require(lost.is_none(), || format!("the topic {lost:?} is gone"))?;
        let topics = self.topics.clone();
        for topic in topics.iter().filter(|topic| topic.starts_with("created")) {
            self.broker.until_ready(topic, 1)?;
        }
        if self.setting.0 > 0 {
            let value = self.broker.connected().topic_config("synced", SETTING)?;
            let may_be = [retention_ms(self.setting.0), retention_ms(self.setting.1)];
            require(may_be.contains(&value), || format!("{SETTING} is {value}, {may_be:?} was acknowledged"))?;
        }
        Ok(())
    }
}

fn retention_ms(number: u32) -> String {
    (1_000_000_000 + u64::from(number)).to_string()
}

fn under_load(bench: &mut Bench<'_>) -> Outcome {
    let mut world = World::start(bench)?;
    for round in 0..bench.rounds {
        world.load_and_cut(bench)?;
        world.recover().map_err(|error| format!("round {round}: {error}"))?;
        world.plain.replace_producers(&load::KINDS, &mut bench.random);
    }
    require(world.synced.checker.batches_acknowledged() > 0, || "nothing was ever acknowledged".to_owned())
}

fn during_recovery(bench: &mut Bench<'_>) -> Outcome {
    let mut world = World::start(bench)?;
    for round in 0..bench.rounds {
        world.load_and_cut(bench)?;
        world.disk.power_on()?;
        let delay = Duration::from_millis(bench.random.random_range(0..100));
        let disk = &world.disk;
        let broker = &mut world.broker;
        thread::scope(|scope| {
            let cut = scope.spawn(move || {
                thread::sleep(delay);
                disk.cut_power()
            });
            // Either it was up in time, or it ends.
            let _ = broker.start();
            cut.join().map_err(|_| "the cut panicked")?
        })?;
        let _ = world.broker.kill();
        world.recover().map_err(|error| format!("round {round}, cut again after {delay:?}: {error}"))?;
        world.plain.replace_producers(&load::KINDS, &mut bench.random);
    }
    Ok(())
}
