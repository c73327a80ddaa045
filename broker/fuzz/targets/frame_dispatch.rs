#![no_main]
//! A frame into a whole broker: header, guard, decoder, handler, storage, controller.
//!
//! An input is one byte of flags and a frame without its length. The broker is real and lives on: topics `a` to `h`,
//! `0` and `1` exist (the one-letter names that sampled requests are full of), a topic's id may be written as 16 times
//! 0x42. With the first flag the checksums of the batches in a Produce request are made right. What must hold: no
//! panic anywhere in the process, bounded memory, and every answer is one that the schema's table reads.

use std::collections::VecDeque;
use std::io::Write as _;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    ApiKey, CreatePartitionsRequest, CreateTopicsRequest, FetchRequest, ListOffsetsRequest, MetadataRequest,
    ProduceRequest, TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use milena::Broker;
use milena::config::ServerConfig;
use milena::handlers::context::ConnectionInfo;
use milena::handlers::{APIS, Reply, dispatch};
use milena_fuzz::{Random, fix_checksums, frame, key, write_seeds};
use milena_protocol::api;
use milena_protocol::compression::{Codec, Level};
use milena_protocol::file_range::Chunk;
use milena_protocol::guard;
use milena_protocol::records::BatchBuilder;
use milena_protocol::schema::{self, sample};
use tokio::runtime::Runtime;

const FIX_CHECKSUMS: u8 = 1;
const TOPICS: [&str; 10] = ["a", "b", "c", "d", "e", "f", "g", "h", "0", "1"];
/// Stands for the id of topic `a`.
const TOPIC_ID: [u8; 16] = [0x42; 16];
/// More would only test the machine's disk.
const PARTITIONS_MAX: i64 = 16;
/// A broker is stopped, and one with empty directories started, after so many frames or so many topics.
const FRAMES_EACH: u64 = 50_000;
const TOPICS_MAX: usize = 200;
/// The frames that led to a panic are kept: the broker remembers what came before the last one.
const HISTORY: usize = 64;

struct Running {
    broker: Broker,
    topic_id: [u8; 16],
    frames: u64,
    dir: tempfile::TempDir,
}

struct Fuzzed {
    runtime: Runtime,
    running: Option<Running>,
}

static FUZZED: OnceLock<Mutex<Fuzzed>> = OnceLock::new();
static SENT: Mutex<VecDeque<Vec<u8>>> = Mutex::new(VecDeque::new());

fuzz_target!(
    init: {
        write_seeds(seeds);
        let tell = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            write_history();
            // libFuzzer's own hook prints the panic and aborts.
            tell(info);
        }));
    },
    |data: &[u8]| {
        let Some((&flags, input)) = data.split_first() else { return };
        let mut fuzzed = FUZZED.get_or_init(|| Mutex::new(Fuzzed::new())).lock().expect("a panic ends the process");
        fuzzed.one(flags, input);
    }
);

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let mut random = Random(u64::from(seed));
    match random.below(8) {
        // Anew from the schema, valid or lying.
        choice @ 0..3 => {
            let api = APIS[random.below(APIS.len())];
            let version = api.min + random.below((api.max - api.min + 1) as usize) as i16;
            let Some(message) = schema::request(api.key) else { return fuzzer_mutate(data, size, max_size) };
            let sampled = sample::message(message, version, random.next());
            let mut body = sampled.bytes.clone();
            if choice > 0 {
                let mutations = sample::mutations(&sampled);
                if !mutations.is_empty() {
                    body.clone_from(&mutations[random.below(mutations.len())].bytes);
                }
            }
            let input = [&[random.next() as u8][..], &frame(api.key, version, &body)].concat();
            if input.len() > max_size {
                return fuzzer_mutate(data, size, max_size);
            }
            data[..input.len()].copy_from_slice(&input);
            input.len()
        }
        // The same body in a neighbouring version.
        3 if size > 5 => {
            data[4] = data[4].wrapping_add(if random.below(2) == 0 { 1 } else { 0xff });
            size
        }
        _ => fuzzer_mutate(data, size, max_size),
    }
});

impl Fuzzed {
    fn new() -> Fuzzed {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        Fuzzed { runtime: runtime.expect("a runtime"), running: None }
    }

    fn one(&mut self, flags: u8, input: &[u8]) {
        if self.running.as_ref().is_some_and(Running::is_worn) {
            let Running { broker, dir, .. } = self.running.take().expect("it was there");
            self.runtime.block_on(broker.shutdown());
            drop(dir);
        }
        let runtime = &self.runtime;
        let running = self.running.get_or_insert_with(|| runtime.block_on(Running::start()));
        running.frames += 1;
        let mut frame = input.to_vec();
        running.put_topic_ids(&mut frame);
        let Some((key, version, body_at)) = head(&frame) else {
            runtime.block_on(running.send(&frame));
            return;
        };
        if makes_too_many_partitions(key, version, &frame[body_at..]) {
            return;
        }
        if key == ApiKey::Produce as i16 && flags & FIX_CHECKSUMS != 0 {
            fix_batches(version, &mut frame, body_at);
        }
        let answer = runtime.block_on(running.send(&frame));
        if let Some(answer) = answer {
            check_answer(key, version, &answer);
        }
    }
}

impl Running {
    async fn start() -> Running {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let config = ServerConfig::from_properties([
            ("node.id", "1"),
            ("listeners", "PLAINTEXT://127.0.0.1:0"),
            ("log.dirs", dir.path().to_str().expect("a path of ASCII")),
            ("offsets.topic.replication.factor", "1"),
            ("offsets.topic.num.partitions", "2"),
            ("transaction.state.log.num.partitions", "2"),
        ]);
        let broker = Broker::start(config.expect("a valid configuration")).await.expect("the broker starts");
        let running = Running { broker, topic_id: TOPIC_ID, frames: 0, dir };
        let topics = TOPICS.map(|name| {
            CreatableTopic::default().with_name(topic(name)).with_num_partitions(2).with_replication_factor(1)
        });
        let create = CreateTopicsRequest::default().with_topics(topics.to_vec()).with_timeout_ms(10_000);
        running
            .send(&frame(key(ApiKey::CreateTopics), 7, &encoded(&create, 7).expect("the crate writes it")))
            .await
            .expect("topics are created");
        let image = running.broker.node().image();
        let id = image.topics.by_name("a").expect("it was created").id;
        Running { topic_id: id.into_bytes(), ..running }
    }

    fn is_worn(&self) -> bool {
        self.frames > FRAMES_EACH || self.broker.node().image().topics.len() > TOPICS_MAX
    }

    fn put_topic_ids(&self, frame: &mut [u8]) {
        for at in 0..frame.len().saturating_sub(TOPIC_ID.len() - 1) {
            if frame[at..at + TOPIC_ID.len()] == TOPIC_ID {
                frame[at..at + TOPIC_ID.len()].copy_from_slice(&self.topic_id);
            }
        }
    }

    /// What came back, unless the connection would be closed or the answer takes longer than a fuzzer waits.
    async fn send(&self, frame: &[u8]) -> Option<Vec<u8>> {
        remember(frame);
        let local = self.broker.addresses()[0];
        let connection = ConnectionInfo { listener: Arc::from("PLAINTEXT"), peer: local, local, seat: None };
        let is_fetch = frame.starts_with(&(ApiKey::Fetch as i16).to_be_bytes());
        let patience = Duration::from_millis(if is_fetch { 2 } else { 2_000 });
        tokio::time::timeout(patience, async {
            let mut reply = dispatch(self.broker.node(), &connection, BytesMut::from(frame)).await;
            loop {
                match reply {
                    Reply::Later(later) => reply = later.await,
                    Reply::Answer(bytes) => return Some(bytes.to_vec()),
                    Reply::Chunks(chunks) => return Some(join(chunks)),
                    Reply::Nothing | Reply::Close(_) => return None,
                }
            }
        })
        .await
        .ok()
        .flatten()
    }
}

fn join(chunks: Vec<Chunk>) -> Vec<u8> {
    let mut all = Vec::new();
    for chunk in chunks {
        match chunk {
            Chunk::Bytes(bytes) => all.extend_from_slice(&bytes),
            Chunk::File(range) => {
                let start = all.len();
                all.resize(start + range.len, 0);
                range.source.read_exact_at(&mut all[start..], range.position).expect("what was planned is there");
            }
        }
    }
    all
}

/// Key, version and where the body begins, if the frame has a header of a version that is served.
fn head(frame: &[u8]) -> Option<(i16, i16, usize)> {
    let key = i16::from_be_bytes(*frame.first_chunk()?);
    let version = i16::from_be_bytes(*frame.get(2..)?.first_chunk()?);
    APIS.iter().find(|api| api.key == key && (api.min..=api.max).contains(&version))?;
    let at = guard::check_header(api::request_header_version(key, version), frame).ok()?;
    Some((key, version, at))
}

fn makes_too_many_partitions(key: i16, version: i16, body: &[u8]) -> bool {
    if guard::check(key, version, body).is_err() {
        return false;
    }
    let mut body = Bytes::copy_from_slice(body);
    let too_many = |counts: &mut dyn Iterator<Item = i32>| {
        counts.map(i64::from).filter(|count| *count <= 10_000).sum::<i64>() > PARTITIONS_MAX
    };
    if key == ApiKey::CreateTopics as i16 {
        return CreateTopicsRequest::decode(&mut body, version)
            .is_ok_and(|request| too_many(&mut request.topics.iter().map(|topic| topic.num_partitions)));
    }
    if key == ApiKey::CreatePartitions as i16 {
        return CreatePartitionsRequest::decode(&mut body, version)
            .is_ok_and(|request| too_many(&mut request.topics.iter().map(|topic| topic.count)));
    }
    false
}

fn fix_batches(version: i16, frame: &mut Vec<u8>, body_at: usize) {
    let body = &frame[body_at..];
    if guard::check(key(ApiKey::Produce), version, body).is_err() {
        return;
    }
    let Ok(mut request) = ProduceRequest::decode(&mut Bytes::copy_from_slice(body), version) else { return };
    for records in request.topic_data.iter_mut().flat_map(|topic| &mut topic.partition_data) {
        if let Some(bytes) = &records.records {
            let mut bytes = bytes.to_vec();
            fix_checksums(&mut bytes);
            records.records = Some(bytes.into());
        }
    }
    frame.truncate(body_at);
    frame.extend(encoded(&request, version).expect("the crate writes it"));
}

/// An answer is a frame whose length is true, whose header repeats the correlation id, and whose body the table reads.
fn check_answer(key: i16, version: i16, answer: &[u8]) {
    let (length, frame) = answer.split_first_chunk().expect("an answer has a length");
    assert_eq!(u32::from_be_bytes(*length) as usize, frame.len(), "the answer's length");
    let header = guard::check_response_header(api::response_header_version(key, version), frame).expect("a header");
    if let Err(error) = guard::check_response(key, version, &frame[header..]) {
        // The bound on what an answer decodes to is for answers of strangers.
        assert!(matches!(error, guard::GuardError::DecodedTooLarge { .. }), "key {key} v{version}: {error}");
    }
}

fn remember(frame: &[u8]) {
    if let Ok(mut sent) = SENT.lock() {
        if sent.len() == HISTORY {
            sent.pop_front();
        }
        sent.push_back(frame.to_vec());
    }
}

fn write_history() {
    let (Ok(sent), Some(path)) = (SENT.lock(), std::env::var_os("MILENA_FUZZ_HISTORY")) else { return };
    if let Ok(mut file) = std::fs::File::create(path) {
        for frame in &*sent {
            _ = writeln!(file, "{}", frame.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
        }
    }
}

fn topic(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

/// Nothing for a version that the crate cannot write.
fn encoded(message: &impl Encodable, version: i16) -> Option<Vec<u8>> {
    let mut body = BytesMut::new();
    message.encode(&mut body, version).ok().map(|()| body.to_vec())
}

fn seeds() -> Vec<(String, Vec<u8>)> {
    let mut seeds = Vec::new();
    let mut add = |name: String, key: i16, version: i16, body: &[u8]| {
        seeds.push((name, [&[FIX_CHECKSUMS][..], &frame(key, version, body)].concat()));
    };
    for api in APIS {
        let Some(message) = schema::request(api.key) else { continue };
        for version in api.min..=api.max {
            for seed in 0..4 {
                let body = sample::message(message, version, seed).bytes;
                add(format!("{}-{version}-{seed}", api.name), api.key, version, &body);
            }
            if let Some(body) = about_topic_a(api.key, version) {
                add(format!("{}-{version}-a", api.name), api.key, version, &body);
            }
        }
    }
    for codec in Codec::ALL {
        for version in [3, 9, 12] {
            let body = encoded(&produce(version, codec), version).expect("the crate writes these versions");
            add(format!("Produce-{version}-{}", codec.name()), key(ApiKey::Produce), version, &body);
        }
    }
    seeds
}

/// Requests that reach the storage: about topic `a`, which exists.
fn about_topic_a(api_key: i16, version: i16) -> Option<Vec<u8>> {
    let id = uuid::Uuid::from_bytes(TOPIC_ID);
    let versions = schema::request(api_key)?.current_versions;
    if !versions.contains(version) {
        return None;
    }
    match ApiKey::try_from(api_key).ok()? {
        ApiKey::Produce => encoded(&produce(version, Codec::None), version),
        ApiKey::Fetch => {
            let partition = FetchPartition::default().with_partition_max_bytes(1 << 20);
            let topic_ = FetchTopic::default().with_partitions(vec![partition]);
            let topic_ = if version < 13 { topic_.with_topic(topic("a")) } else { topic_.with_topic_id(id) };
            encoded(&FetchRequest::default().with_max_bytes(1 << 20).with_topics(vec![topic_]), version)
        }
        ApiKey::ListOffsets => {
            let partition = ListOffsetsPartition::default().with_timestamp(1);
            let topic_ = ListOffsetsTopic::default().with_name(topic("a")).with_partitions(vec![partition]);
            encoded(&ListOffsetsRequest::default().with_topics(vec![topic_]), version)
        }
        ApiKey::Metadata => {
            let named = MetadataRequestTopic::default().with_name(Some(topic("a")));
            encoded(&MetadataRequest::default().with_topics(Some(vec![named])), version)
        }
        _ => None,
    }
}

fn produce(version: i16, codec: Codec) -> ProduceRequest {
    let mut batch = BatchBuilder::new().compression(codec, Level::DEFAULT);
    for number in 0..3_i64 {
        batch.append(1_700_000_000_000 + number, Some(b"key"), Some(&[b'v'; 40]), []);
    }
    let records = batch.build().expect("a batch").freeze();
    let data = PartitionProduceData::default().with_records(Some(records));
    let topic_ = TopicProduceData::default().with_partition_data(vec![data]);
    let id = uuid::Uuid::from_bytes(TOPIC_ID);
    let topic_ = if version < 13 { topic_.with_name(topic("a")) } else { topic_.with_topic_id(id) };
    ProduceRequest::default().with_acks(1).with_timeout_ms(1000).with_topic_data(vec![topic_])
}
