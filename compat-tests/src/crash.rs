//! `kill -9` under load, again and again, on one data directory: what was acknowledged must be there afterwards.
//!
//! Producers with `acks=1` and `acks=all`, idempotent and not, keep several batches in flight. After each kill the
//! broker starts again on the same files and everything is read back. What must hold of the records is `checker`'s; and no
//! producer id is given twice, and a topic whose creation was acknowledged exists.

use std::{collections::BTreeSet, thread, time::Duration};

use kafka_protocol::messages::MetadataRequest;
use rand::{Rng, SeedableRng, rngs::SmallRng};

use crate::{
    Outcome,
    cluster::{Cluster, Kind, Tools},
    context::Context,
    load::{self, Ended, Finish, From, Load},
    print_line,
    raw::Connection,
};

const PARTITIONS: i32 = 3;
const TOPIC: &str = "crash";
/// The longest time under load before the kill.
const LOAD_MS: u64 = 150;

/// What to do.
pub(crate) struct Plan {
    pub(crate) rounds: u32,
    pub(crate) seed: u64,
    pub(crate) kind: Kind,
    /// Print what each round did.
    pub(crate) verbose: bool,
}

/// Runs all rounds; true if nothing was lost. Each round counts as a test.
pub(crate) fn run(plan: &Plan, tools: &Tools) -> bool {
    print_line(&format!("\nrunning {} tests\ncrash: seed {}", plan.rounds, plan.seed));
    let mut passed = 0;
    let outcome = rounds(plan, tools, &mut passed);
    if let Err(error) = &outcome {
        print_line(&format!("test crash round {} ... FAILED\n    seed {}: {error}", passed + 1, plan.seed));
    }
    let (verdict, failed) = if outcome.is_ok() { ("ok", 0) } else { ("FAILED", 1) };
    print_line(&format!("\ntest result: {verdict}. {passed} passed; {failed} failed; 0 ignored"));
    outcome.is_ok()
}

fn rounds(plan: &Plan, tools: &Tools, passed: &mut u32) -> Outcome {
    let mut random = SmallRng::seed_from_u64(plan.seed);
    let mut cluster = plan.kind.create(tools, &[])?;
    cluster.start()?;
    let mut nothing = None;
    Context::new(&mut *cluster, tools, &mut nothing).create_topic(
        TOPIC,
        PARTITIONS,
        &[("segment.bytes", "1048576")],
    )?;
    let mut world = World::new(&mut random);
    for round in 1..=plan.rounds {
        let before = world.acknowledged();
        world.load_and_kill(&mut *cluster, tools, &mut random)?;
        cluster.start()?;
        Context::new(&mut *cluster, tools, &mut nothing).until_ready(TOPIC, PARTITIONS)?;
        let from = if round == plan.rounds { From::TheStart } else { From::ALittleBefore };
        let checked = world.check(&*cluster, from);
        checked.map_err(|error| format!("{error}\n    in {}", cluster.data_dir().display()))?;
        *passed += 1;
        if plan.verbose || round % 10 == 0 || round == plan.rounds {
            let all = world.acknowledged();
            print_line(&format!("crash: round {round}: {} batches acknowledged in it, {all} in all", all - before));
        }
    }
    // A broker that answers nothing would lose nothing.
    if world.acknowledged() == 0 {
        return Err("no batch was ever acknowledged".into());
    }
    Ok(())
}

/// What the outside knows of the broker.
struct World {
    load: Load,
    producer_ids: BTreeSet<i64>,
    topics: BTreeSet<String>,
}

impl World {
    fn new(random: &mut SmallRng) -> Self {
        let load = Load::new(TOPIC, PARTITIONS, &load::KINDS, 400, random);
        Self { load, producer_ids: BTreeSet::new(), topics: BTreeSet::new() }
    }

    fn acknowledged(&self) -> usize {
        self.load.checker.batches_acknowledged()
    }

    fn load_and_kill(&mut self, cluster: &mut dyn Cluster, tools: &Tools, random: &mut SmallRng) -> Outcome {
        let bootstrap = cluster.bootstrap();
        for _ in 0..self.load.producers() {
            let id = load::fresh_producer_id(&bootstrap)?;
            if !self.producer_ids.insert(id) {
                return Err(format!("the producer id {id} was given twice").into());
            }
        }
        let topic = format!("crash-topic-{}", self.topics.len());
        Context::new(cluster, tools, &mut None).create_topic(&topic, 1, &[])?;
        self.topics.insert(topic);
        let under_load = Duration::from_millis(random.random_range(5..LOAD_MS));
        let running = self.load.start(&bootstrap)?;
        thread::sleep(under_load);
        cluster.kill()?;
        let ends = self.load.finish(running, Finish::Wait)?;
        match ends.iter().find(|ended| **ended != Ended::Closed) {
            Some(ended) => Err(format!("a producer stopped before the kill: {ended:?}").into()),
            None => Ok(()),
        }
    }

    /// Reads what is new (everything, the last time) and checks all promises.
    fn check(&mut self, cluster: &dyn Cluster, from: From) -> Outcome {
        let bootstrap = cluster.bootstrap();
        self.load.send_again(&bootstrap)?;
        self.load.check(&bootstrap, from)?;
        let request = MetadataRequest::default().with_topics(None);
        let response = Connection::open(&bootstrap)?.call(9, &request)?.response().ok_or("no Metadata")?;
        let present: BTreeSet<String> =
            response.topics.iter().filter_map(|topic| topic.name.as_ref()).map(|name| name.to_string()).collect();
        match self.topics.difference(&present).next() {
            Some(lost) => Err(format!("the topic {lost} is gone").into()),
            None => Ok(()),
        }
    }
}
