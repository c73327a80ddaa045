//! `kill -9` under load, again and again, on one data directory: what was acknowledged must be there afterwards.
//!
//! Producers with `acks=1` and `acks=all`, idempotent and not, keep several batches in flight. After each kill the
//! broker starts again on the same files and everything is read back. What must hold:
//!
//! - offsets have no gap, and what was read before is still there, unchanged;
//! - an acknowledged batch stands at the offset that its acknowledgement named;
//! - an idempotent producer sends what was not acknowledged again, with the same sequences: all of its records are
//!   there once, in order;
//! - of another producer nothing is there twice, and what is there is in order;
//! - no producer id is given twice, and a topic whose creation was acknowledged exists.

use std::{
    collections::{BTreeSet, VecDeque},
    thread,
    time::Duration,
};

use kafka_protocol::messages::{InitProducerIdRequest, MetadataRequest, ProduceRequest};
use rand::{Rng, SeedableRng, rngs::SmallRng};
use uuid::Uuid;

use crate::{
    Outcome,
    cluster::{Cluster, Kind, Tools},
    context::Context,
    print_line,
    raw::{
        Batch, Connection, records,
        requests::{Topic, fetch, from_offset, produce},
    },
    scenarios::produce::now_ms,
};

const PARTITIONS: i32 = 3;
const TOPIC: &str = "crash";
/// How many batches a producer sends ahead of their acknowledgements.
const IN_FLIGHT: usize = 4;
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
        let checked = world.check(&*cluster, round == plan.rounds);
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

/// A record as its value names it, and a checksum of the value.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Record {
    producer: usize,
    number: u64,
    checksum: u32,
}

impl Record {
    fn parse(value: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(value).ok()?;
        let mut parts = text.splitn(3, ':').map(str::parse::<u64>);
        let (producer, number) = (parts.next()?.ok()?, parts.next()?.ok()?);
        Some(Self { producer: producer as usize, number, checksum: crc32c::crc32c(value) })
    }
}

/// What the outside knows about the log.
struct World {
    producers: Vec<Producer>,
    /// Per partition, all records that were read, by offset from 0.
    seen: Vec<Vec<Record>>,
    producer_ids: BTreeSet<i64>,
    topics: BTreeSet<String>,
}

impl World {
    fn new(random: &mut SmallRng) -> Self {
        let kinds = [(-1, true), (-1, false), (1, false), (-1, true), (1, false), (-1, false)];
        let producers = kinds.into_iter().enumerate().map(|(index, (acks, idempotent))| Producer {
            name: index,
            partition: index as i32 % PARTITIONS,
            acks,
            idempotent,
            random: SmallRng::from_rng(random),
            id: -1,
            sequence: 0,
            next: 0,
            in_flight: VecDeque::new(),
            acknowledged: Vec::new(),
            acknowledged_in_all: 0,
            checked: 0,
            last: None,
        });
        Self {
            producers: producers.collect(),
            seen: vec![Vec::new(); PARTITIONS as usize],
            producer_ids: BTreeSet::new(),
            topics: BTreeSet::new(),
        }
    }

    fn acknowledged(&self) -> usize {
        self.producers.iter().map(|producer| producer.acknowledged_in_all).sum()
    }

    fn load_and_kill(&mut self, cluster: &mut dyn Cluster, tools: &Tools, random: &mut SmallRng) -> Outcome {
        let bootstrap = cluster.bootstrap();
        for producer in &mut self.producers {
            let id = fresh_producer_id(&bootstrap)?;
            if !self.producer_ids.insert(id) {
                return Err(format!("the producer id {id} was given twice").into());
            }
            if producer.idempotent && producer.id < 0 {
                producer.id = id;
            }
        }
        let topic = format!("crash-topic-{}", self.topics.len());
        Context::new(cluster, tools, &mut None).create_topic(&topic, 1, &[])?;
        self.topics.insert(topic);
        let load = Duration::from_millis(random.random_range(5..LOAD_MS));
        let producers = std::mem::take(&mut self.producers);
        let running: Vec<_> = producers
            .into_iter()
            .map(|mut producer| {
                let bootstrap = bootstrap.clone();
                thread::spawn(move || {
                    let outcome = producer.produce(&bootstrap);
                    (producer, outcome)
                })
            })
            .collect();
        thread::sleep(load);
        cluster.kill()?;
        for producer in running {
            let (producer, outcome) = producer.join().map_err(|_| "a producer panicked")?;
            outcome?;
            self.producers.push(producer);
        }
        Ok(())
    }

    /// Reads what is new (everything, if `from_the_start`) and checks all promises.
    fn check(&mut self, cluster: &dyn Cluster, from_the_start: bool) -> Outcome {
        let bootstrap = cluster.bootstrap();
        for producer in &mut self.producers {
            producer.send_again(&bootstrap)?;
        }
        for partition in 0..PARTITIONS {
            let seen = &mut self.seen[partition as usize];
            // Some of what was seen before is read again: it must not have changed.
            let start = if from_the_start { 0 } else { seen.len().saturating_sub(500) };
            let read = read_from(&bootstrap, partition, start)?;
            if start + read.len() < seen.len() {
                let (was, is) = (seen.len(), start + read.len());
                return Err(format!("partition {partition}: the log ended at {was}, ends at {is}").into());
            }
            for (offset, record) in (start..).zip(read) {
                match seen.get(offset) {
                    Some(known) if *known != record => {
                        return Err(
                            format!("partition {partition}: offset {offset} was {known:?}, is {record:?}").into()
                        );
                    }
                    Some(_) => {}
                    None => seen.push(record),
                }
            }
        }
        for producer in &mut self.producers {
            producer.check(&self.seen[producer.partition as usize])?;
        }
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

fn fresh_producer_id(bootstrap: &str) -> Outcome<i64> {
    let request = InitProducerIdRequest::default()
        .with_transactional_id(None)
        .with_transaction_timeout_ms(60_000)
        .with_producer_id((-1).into())
        .with_producer_epoch(-1);
    let mut connection = Connection::open(bootstrap)?;
    for _ in 0..1000 {
        let response = connection.call(4, &request)?.response().ok_or("no producer id")?;
        match response.error_code {
            0 => return Ok(response.producer_id.0),
            // The block of ids is on its way.
            14 | 15 => thread::sleep(Duration::from_millis(10)),
            code => return Err(format!("InitProducerId answered {code}").into()),
        }
    }
    Err("no producer id within 10 s".into())
}

/// All values from an offset to the end; offsets without gap.
fn read_from(bootstrap: &str, partition: i32, start: usize) -> Outcome<Vec<Record>> {
    let mut connection = Connection::open(bootstrap)?;
    let mut values = Vec::new();
    loop {
        let next = (start + values.len()) as i64;
        let wanted = from_offset(partition, next).with_partition_max_bytes(8 << 20);
        let request = fetch(12, Topic { name: TOPIC, id: Uuid::nil() }, vec![wanted]);
        let response = connection.call(12, &request)?.response().ok_or("no answer to a Fetch")?;
        let row = &response.responses[0].partitions[0];
        if row.error_code != 0 {
            return Err(format!("partition {partition}: Fetch at {next} answered {}", row.error_code).into());
        }
        let before = values.len();
        for (offset, _, value) in records::values(row.records.as_ref().unwrap_or(&bytes::Bytes::new())) {
            let expected = (start + values.len()) as i64;
            if offset < expected {
                continue;
            }
            if offset > expected {
                return Err(format!("partition {partition}: offset {expected} is missing, the next is {offset}").into());
            }
            let record = Record::parse(&value);
            values.push(record.ok_or_else(|| format!("partition {partition}: nobody sent what is at {offset}"))?);
        }
        if values.len() == before {
            return if next == row.high_watermark {
                Ok(values)
            } else {
                Err(format!("nothing at {next}, below the high watermark {}", row.high_watermark).into())
            };
        }
    }
}

/// A batch that was sent.
struct Sent {
    first: u64,
    count: usize,
    sequence: i32,
    padding: usize,
}

/// One producer, over all rounds. Its records are numbered.
struct Producer {
    name: usize,
    partition: i32,
    acks: i16,
    idempotent: bool,
    random: SmallRng,
    id: i64,
    sequence: i32,
    next: u64,
    in_flight: VecDeque<Sent>,
    /// (offset, number of the first record, count) of every acknowledged batch that was not found in the log yet.
    acknowledged: Vec<(i64, u64, usize)>,
    acknowledged_in_all: usize,
    /// The offset up to which its records were looked at, and the number of the last of them.
    checked: usize,
    last: Option<u64>,
}

impl Producer {
    /// Sends until the connection breaks; an answer with an error is a failure.
    fn produce(&mut self, bootstrap: &str) -> Outcome {
        // The kill may come before this connection.
        let Ok(mut connection) = Connection::open(bootstrap) else { return Ok(()) };
        loop {
            while self.in_flight.len() < IN_FLIGHT {
                let sent = Sent {
                    first: self.next,
                    count: self.random.random_range(1..5),
                    sequence: self.sequence,
                    padding: self.random.random_range(0..400),
                };
                self.next += sent.count as u64;
                self.sequence += sent.count as i32;
                connection.send(9, &self.request(&sent))?;
                self.in_flight.push_back(sent);
            }
            // Answers come in the order of the requests.
            let Some(response) = connection.receive_any::<ProduceRequest>(9)?.response() else { return Ok(()) };
            let row = &response.responses[0].partition_responses[0];
            let sent = self.in_flight.pop_front().ok_or("an answer to nothing")?;
            self.note(row.error_code, row.base_offset, &sent)?;
        }
    }

    /// After the broker's restart: what was not acknowledged is sent again, if its duplicates are recognised.
    fn send_again(&mut self, bootstrap: &str) -> Outcome {
        let mut connection = Connection::open(bootstrap)?;
        while let Some(sent) = self.in_flight.pop_front() {
            if self.idempotent {
                let answer = connection.call(9, &self.request(&sent))?;
                let response = answer.response().ok_or("no answer to a batch that was sent again")?;
                let row = &response.responses[0].partition_responses[0];
                self.note(row.error_code, row.base_offset, &sent)?;
            }
        }
        Ok(())
    }

    fn note(&mut self, code: i16, offset: i64, sent: &Sent) -> Outcome {
        if code != 0 {
            let what = format!("producer {} (id {}), sequence {}", self.name, self.id, sent.sequence);
            return Err(format!("{what}: Produce answered {code}").into());
        }
        self.acknowledged.push((offset, sent.first, sent.count));
        self.acknowledged_in_all += 1;
        Ok(())
    }

    fn request(&self, sent: &Sent) -> ProduceRequest {
        let padding = "x".repeat(sent.padding);
        let values: Vec<String> = (sent.first..sent.first + sent.count as u64)
            .map(|number| format!("{}:{number}:{padding}", self.name))
            .collect();
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        // The state of an idempotent producer whose records are old does not survive a restart.
        let mut batch = Batch::new(now_ms(), &values);
        if self.idempotent {
            batch = batch.by_producer(self.id, 0, sent.sequence);
        }
        produce(9, self.acks, Topic { name: TOPIC, id: Uuid::nil() }, &[(self.partition, batch.encode())])
    }

    fn check(&mut self, log: &[Record]) -> Outcome {
        let who = format!("producer {} (acks {}, idempotent {})", self.name, self.acks, self.idempotent);
        for (offset, record) in
            log.iter().enumerate().skip(self.checked).filter(|(_, record)| record.producer == self.name)
        {
            let (number, last) = (record.number, self.last);
            // A number that does not rise is there twice, or out of order.
            if last.is_some_and(|last| number <= last) {
                return Err(format!("{who}: record {number} at {offset} stands behind {last:?}").into());
            }
            if self.idempotent && number != last.map_or(0, |last| last + 1) {
                return Err(format!("{who}: record {number} at {offset} follows {last:?}").into());
            }
            self.last = Some(number);
        }
        self.checked = log.len();
        for (base, first, count) in self.acknowledged.drain(..) {
            for index in 0..count {
                let (offset, number) = (base as usize + index, first + index as u64);
                let found = log.get(offset);
                if !found.is_some_and(|record| record.producer == self.name && record.number == number) {
                    return Err(
                        format!("{who}: record {number} was acknowledged at {offset}, there is {found:?}").into()
                    );
                }
            }
        }
        Ok(())
    }
}
