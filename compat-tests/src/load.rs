//! Producers in threads of their own, readers beside them, and the history that they leave for the [`Checker`].
//!
//! Raw frames and batches built here: several batches ahead of their acknowledgements, idempotent producers send again
//! what was not acknowledged, with the same sequences. Whoever starts a load decides what happens to the broker meanwhile.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use bytes::Bytes;
use kafka_protocol::messages::{InitProducerIdRequest, ProduceRequest};
use rand::{Rng, SeedableRng, rngs::SmallRng};
use uuid::Uuid;

use crate::{
    Outcome,
    checker::{Checker, Read, Record, Sender},
    raw::{
        Answer, Batch, Connection, records,
        requests::{Topic, fetch, from_offset, produce},
    },
    scenarios::produce::now_ms,
};

/// How many batches a producer sends ahead of their acknowledgements.
const IN_FLIGHT: usize = 4;
/// What was done to a broker stops its producers within this time.
const PATIENCE: Duration = Duration::from_secs(30);
/// A reader that looks again this often sees what stands at the end of the log only for a moment.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// Ends the message of an error that means: bytes came that nobody had sent.
pub(crate) const SERVED: &str = "was served, and is damaged";

/// Why a producer stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ended {
    /// It was asked to; nothing is in flight.
    Asked,
    /// The broker is gone.
    Closed,
    /// A batch was answered with this error.
    Refused(i16),
    /// A batch was not answered within the client's patience.
    Unanswered,
}

/// What a load's producers do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    pub(crate) acks: i16,
    pub(crate) idempotent: bool,
}

/// The usual mixture.
pub(crate) const KINDS: [Kind; 6] = [
    Kind { acks: -1, idempotent: true },
    Kind { acks: -1, idempotent: false },
    Kind { acks: 1, idempotent: false },
    Kind { acks: -1, idempotent: true },
    Kind { acks: 1, idempotent: false },
    Kind { acks: -1, idempotent: false },
];

/// The producers of one topic, and what is known of it.
pub(crate) struct Load {
    topic: String,
    partitions: i32,
    producers: Vec<Producer>,
    pub(crate) checker: Checker,
    /// Largest record value beside its name and number.
    padding_max: usize,
}

impl Load {
    /// One producer of each kind, spread over the partitions.
    pub(crate) fn new(topic: &str, partitions: i32, kinds: &[Kind], padding_max: usize, random: &mut SmallRng) -> Self {
        let mut load = Self {
            topic: topic.to_owned(),
            partitions,
            producers: Vec::new(),
            checker: Checker::default(),
            padding_max,
        };
        load.replace_producers(kinds, random);
        load
    }

    /// New producers in the place of the old ones, which are forgotten with what they have in flight.
    pub(crate) fn replace_producers(&mut self, kinds: &[Kind], random: &mut SmallRng) {
        self.producers.clear();
        for (partition, kind) in (0..self.partitions).cycle().zip(kinds) {
            let name = self.checker.producer(Sender { partition, idempotent: kind.idempotent });
            self.producers.push(Producer {
                name,
                topic: self.topic.clone(),
                partition,
                kind: *kind,
                padding_max: self.padding_max,
                random: SmallRng::from_rng(random),
                id: -1,
                sequence: 0,
                next: 0,
                in_flight: VecDeque::new(),
                acknowledged: Vec::new(),
                last: None,
            });
        }
    }

    /// How many producers there are.
    pub(crate) fn producers(&self) -> usize {
        self.producers.len()
    }

    /// Starts all producers, and a reader for each partition.
    pub(crate) fn start(&mut self, bootstrap: &str) -> Outcome<Running> {
        for producer in self.producers.iter_mut().filter(|producer| producer.kind.idempotent && producer.id < 0) {
            producer.id = fresh_producer_id(bootstrap)?;
        }
        let stop = Arc::new(AtomicBool::new(false));
        let producers = std::mem::take(&mut self.producers).into_iter().map(|mut producer| {
            let (bootstrap, stop) = (bootstrap.to_owned(), Arc::clone(&stop));
            thread::spawn(move || {
                let outcome = producer.produce(&bootstrap, &stop);
                (producer, outcome)
            })
        });
        let producers = producers.collect();
        let readers = (0..self.partitions).map(|partition| {
            let (bootstrap, topic, stop) = (bootstrap.to_owned(), self.topic.clone(), Arc::clone(&stop));
            let from = self.checker.read_up_to(partition);
            thread::spawn(move || follow(&bootstrap, &topic, partition, from, &stop))
        });
        let readers = readers.collect();
        Ok(Running { stop, producers, readers })
    }

    /// Waits until all producers have stopped; says why each did.
    pub(crate) fn finish(&mut self, running: Running, how: Finish) -> Outcome<Vec<Ended>> {
        if how == Finish::Ask {
            running.stop.store(true, Ordering::Release);
        }
        let mut ends = Vec::new();
        let give_up = Instant::now() + PATIENCE;
        for producer in running.producers {
            while !producer.is_finished() && Instant::now() < give_up {
                thread::sleep(LOOK_AGAIN);
            }
            // One that nothing stops is asked, and says so.
            running.stop.store(running.stop.load(Ordering::Acquire) || !producer.is_finished(), Ordering::Release);
            let (producer, ended) = producer.join().map_err(|_| "a producer panicked")?;
            self.producers.push(producer);
            ends.push(ended?);
        }
        running.stop.store(true, Ordering::Release);
        self.report();
        for reader in running.readers {
            let (partition, seen) = reader.join().map_err(|_| "a reader panicked")??;
            for read in seen {
                self.checker.observed(partition, &read)?;
            }
        }
        Ok(ends)
    }

    /// Idempotent producers send what was not acknowledged again, until it is; the others forget it.
    pub(crate) fn send_again(&mut self, bootstrap: &str) -> Outcome {
        for producer in &mut self.producers {
            producer.send_again(bootstrap)?;
        }
        self.report();
        Ok(())
    }

    /// Reads every partition, from its start or from a little before where the last reading ended, and checks it.
    pub(crate) fn check(&mut self, bootstrap: &str, from: From) -> Outcome {
        for partition in 0..self.partitions {
            let start = match from {
                From::TheStart => 0,
                From::ALittleBefore => self.checker.read_up_to(partition).saturating_sub(500).max(0),
            };
            let read = read_to_end(bootstrap, &self.topic, partition, start)?;
            // Nobody asked for retention here.
            if read.log_start > 0 {
                return Err(format!("partition {partition}: the log starts at {}", read.log_start).into());
            }
            self.checker.read(partition, &read)?;
        }
        Ok(())
    }

    /// As [`check`](Self::check) after a power cut that was allowed to cost the end of each partition.
    pub(crate) fn check_what_is_left(&mut self, bootstrap: &str) -> Outcome {
        for partition in 0..self.partitions {
            let read = read_to_end(bootstrap, &self.topic, partition, 0)?;
            self.checker.lost_power(partition, read.high_watermark);
            self.checker.read(partition, &read)?;
        }
        Ok(())
    }

    /// Tells the checker what the producers have learned.
    fn report(&mut self) {
        for producer in &mut self.producers {
            self.checker.sent(producer.name, producer.next);
            for (offset, first, count) in producer.acknowledged.drain(..) {
                self.checker.acknowledged(producer.name, offset, first, count);
            }
        }
    }
}

/// Where a reading begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum From {
    TheStart,
    ALittleBefore,
}

/// What makes running producers stop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Finish {
    /// They are asked to.
    Ask,
    /// What was done to the broker.
    Wait,
}

type ReaderEnd = Outcome<(i32, Vec<Read>)>;

/// Producers and readers at work.
pub(crate) struct Running {
    stop: Arc<AtomicBool>,
    producers: Vec<JoinHandle<(Producer, Outcome<Ended>)>>,
    readers: Vec<JoinHandle<ReaderEnd>>,
}

/// A new producer id. The first ones of a broker may take a moment.
pub(crate) fn fresh_producer_id(bootstrap: &str) -> Outcome<i64> {
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

/// Reads a partition from an offset to its high watermark; every checksum is verified.
pub(crate) fn read_to_end(bootstrap: &str, topic: &str, partition: i32, from: i64) -> Outcome<Read> {
    let mut connection = Connection::open(bootstrap)?;
    let mut whole: Option<Read> = None;
    loop {
        let next = whole.as_ref().map_or(from, |read| read.from.max(read.log_start) + read.records.len() as i64);
        let Some(part) = read_once(&mut connection, topic, partition, next)? else {
            return Err(format!("partition {partition}: no answer to a Fetch at {next}").into());
        };
        let part = match part {
            Fetched::Read(read) => read,
            // Retention went past where the reading was to begin.
            Fetched::Refused(1, log_start) if whole.is_none() && log_start > next => {
                return read_to_end(bootstrap, topic, partition, log_start);
            }
            Fetched::Refused(code, _) => {
                return Err(format!("partition {partition}: Fetch at {next} answered {code}").into());
            }
        };
        let ended = part.records.is_empty();
        if ended && next < part.high_watermark {
            return Err(format!(
                "partition {partition}: nothing at {next}, below the high watermark {}",
                part.high_watermark
            )
            .into());
        }
        let read = whole.get_or_insert(Read { records: Vec::new(), from, ..part });
        (read.log_start, read.high_watermark) = (part.log_start, part.high_watermark);
        read.records.extend(part.records);
        if ended {
            return Ok(whole.unwrap_or_default());
        }
    }
}

/// Reads what comes until it is told to stop or the broker does not serve any more.
fn follow(bootstrap: &str, topic: &str, partition: i32, from: i64, stop: &AtomicBool) -> ReaderEnd {
    let mut seen: Vec<Read> = Vec::new();
    let Ok(mut connection) = Connection::open(bootstrap) else { return Ok((partition, seen)) };
    let mut next = from;
    while !stop.load(Ordering::Acquire) {
        match read_once(&mut connection, topic, partition, next)? {
            Some(Fetched::Read(read)) => {
                let idle = read.records.is_empty();
                if !idle || seen.last().is_none_or(|last| last.high_watermark != read.high_watermark) {
                    next += read.records.len() as i64;
                    seen.push(read);
                }
                if idle {
                    thread::sleep(LOOK_AGAIN);
                }
            }
            Some(Fetched::Refused(..)) | None => break,
        }
    }
    Ok((partition, seen))
}

enum Fetched {
    Read(Read),
    /// The error, and the log start that came with it.
    Refused(i16, i64),
}

fn read_once(connection: &mut Connection, topic: &str, partition: i32, from: i64) -> Outcome<Option<Fetched>> {
    let wanted = from_offset(partition, from).with_partition_max_bytes(8 << 20);
    let request = fetch(12, Topic { name: topic, id: Uuid::nil() }, vec![wanted]);
    let response = match connection.call(12, &request)? {
        Answer::Response(response, _) => response,
        Answer::Closed | Answer::Silence => return Ok(None),
        Answer::Undecodable(error) => return Err(format!("partition {partition}: Fetch at {from}: {error}").into()),
    };
    let row = &response.responses[0].partitions[0];
    if row.error_code != 0 {
        return Ok(Some(Fetched::Refused(row.error_code, row.log_start_offset)));
    }
    let bytes = row.records.clone().unwrap_or_default();
    if let Some(base) = records::bad_checksum(&bytes) {
        return Err(format!("partition {partition}: the batch at {base} {SERVED}").into());
    }
    let mut read =
        Read { log_start: row.log_start_offset, high_watermark: row.high_watermark, from, records: Vec::new() };
    for (offset, _, value) in records::values(&bytes) {
        if offset < from {
            continue;
        }
        let record = Record::parse(&value);
        let record = record.ok_or_else(|| format!("partition {partition}: what is at {offset} {SERVED}"))?;
        read.records.push((offset, record));
    }
    Ok(Some(Fetched::Read(read)))
}

/// A batch that was sent.
#[derive(Clone, Debug)]
struct Sent {
    first: u64,
    count: u64,
    sequence: i32,
    padding: usize,
}

/// One producer. Its records are numbered.
#[derive(Debug)]
struct Producer {
    name: usize,
    topic: String,
    partition: i32,
    kind: Kind,
    padding_max: usize,
    random: SmallRng,
    id: i64,
    sequence: i32,
    next: u64,
    in_flight: VecDeque<Sent>,
    /// (offset, number of the first record, count) of acknowledged batches.
    acknowledged: Vec<(i64, u64, u64)>,
    /// The batch that was acknowledged last, and its offset.
    last: Option<(Sent, i64)>,
}

impl Producer {
    fn produce(&mut self, bootstrap: &str, stop: &AtomicBool) -> Outcome<Ended> {
        // The broker may be gone before this connection is there.
        let Ok(mut connection) = Connection::open(bootstrap) else { return Ok(Ended::Closed) };
        loop {
            let asked = stop.load(Ordering::Acquire);
            while self.in_flight.len() < IN_FLIGHT && !asked {
                let sent = Sent {
                    first: self.next,
                    count: self.random.random_range(1..5),
                    sequence: self.sequence,
                    padding: self.random.random_range(0..=self.padding_max),
                };
                self.next += sent.count;
                self.sequence += sent.count as i32;
                connection.send(9, &self.request(&sent))?;
                self.in_flight.push_back(sent);
            }
            if self.in_flight.is_empty() {
                return Ok(Ended::Asked);
            }
            // Answers come in the order of the requests.
            match self.take_answer(&mut connection)? {
                Ok(()) => {}
                Err(Ended::Refused(code)) => {
                    self.drain(&mut connection)?;
                    return Ok(Ended::Refused(code));
                }
                Err(ended) => return Ok(ended),
            }
        }
    }

    /// Reads the answer to the oldest batch in flight. A refused batch stays there.
    fn take_answer(&mut self, connection: &mut Connection) -> Outcome<Result<(), Ended>> {
        let response = match connection.receive_any::<ProduceRequest>(9)? {
            Answer::Response(response, _) => response,
            Answer::Closed => return Ok(Err(Ended::Closed)),
            Answer::Silence => return Ok(Err(Ended::Unanswered)),
            Answer::Undecodable(error) => return Err(error.into()),
        };
        let row = &response.responses[0].partition_responses[0];
        if row.error_code != 0 {
            return Ok(Err(Ended::Refused(row.error_code)));
        }
        let sent = self.in_flight.pop_front().ok_or("an answer to nothing")?;
        self.note_acknowledged(sent, row.base_offset);
        Ok(Ok(()))
    }

    fn note_acknowledged(&mut self, sent: Sent, offset: i64) {
        self.acknowledged.push((offset, sent.first, sent.count));
        self.last = Some((sent, offset));
    }

    /// After a refusal: what was sent behind it may have been taken or not.
    fn drain(&mut self, connection: &mut Connection) -> Outcome {
        let mut refused: VecDeque<Sent> = self.in_flight.pop_front().into_iter().collect();
        while !self.in_flight.is_empty() {
            match self.take_answer(connection)? {
                Ok(()) => {}
                Err(Ended::Refused(_)) => refused.extend(self.in_flight.pop_front()),
                Err(_) => break,
            }
        }
        refused.append(&mut self.in_flight);
        self.in_flight = refused;
        Ok(())
    }

    /// Beginning with the last batch that was acknowledged: its acknowledgement might have been lost on its way.
    fn send_again(&mut self, bootstrap: &str) -> Outcome {
        if !self.kind.idempotent {
            self.in_flight.clear();
            return Ok(());
        }
        let mut connection = Connection::open(bootstrap)?;
        if let Some((sent, offset)) = self.last.clone() {
            let again = self.send_one_again(&mut connection, &sent)?;
            if again != offset {
                let (name, id, sequence) = (self.name, self.id, sent.sequence);
                return Err(format!(
                    "producer {name} (id {id}): sequence {sequence} was acknowledged at {offset}, and when sent again at {again}"
                )
                .into());
            }
        }
        while let Some(sent) = self.in_flight.front().cloned() {
            let offset = self.send_one_again(&mut connection, &sent)?;
            self.in_flight.pop_front();
            self.note_acknowledged(sent, offset);
        }
        Ok(())
    }

    fn send_one_again(&self, connection: &mut Connection, sent: &Sent) -> Outcome<i64> {
        let answer = connection.call(9, &self.request(sent))?;
        let response = answer.response().ok_or("no answer to a batch that was sent again")?;
        let row = &response.responses[0].partition_responses[0];
        if row.error_code == 0 {
            return Ok(row.base_offset);
        }
        let (name, id, sequence, code) = (self.name, self.id, sent.sequence, row.error_code);
        Err(format!("producer {name} (id {id}): sequence {sequence}, sent again, was answered {code}").into())
    }

    fn request(&self, sent: &Sent) -> ProduceRequest {
        let padding = "x".repeat(sent.padding);
        let values: Vec<String> =
            (sent.first..sent.first + sent.count).map(|number| format!("{}:{number}:{padding}", self.name)).collect();
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        // The state of an idempotent producer whose records are old does not survive a restart.
        let mut batch = Batch::new(now_ms(), &values);
        if self.kind.idempotent {
            batch = batch.by_producer(self.id, 0, sent.sequence);
        }
        let batches: [(i32, Bytes); 1] = [(self.partition, batch.encode())];
        produce(9, self.kind.acks, Topic { name: &self.topic, id: Uuid::nil() }, &batches)
    }
}
