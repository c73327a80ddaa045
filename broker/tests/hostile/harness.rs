//! A broker in this process, a client that behaves, and what both cost.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{ApiKey, CreateTopicsRequest, ProduceRequest, ProduceResponse, TopicName};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use milena::Broker;
use milena::config::ServerConfig;
use milena_protocol::api;
use milena_protocol::records::BatchBuilder;
use tokio::runtime::Runtime;

/// How long an answer or the end of a connection may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) const TOPIC: &str = "well-behaved";
pub(crate) const MIB: usize = 1 << 20;

static PANICS: AtomicUsize = AtomicUsize::new(0);
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A broker with one topic, alone in this process.
pub(crate) struct Target {
    runtime: Runtime,
    broker: Option<Broker>,
    pub(crate) address: SocketAddr,
    panics_before: usize,
    _dir: tempfile::TempDir,
    _alone: MutexGuard<'static, ()>,
}

impl Target {
    pub(crate) fn start() -> Target {
        Self::start_with(&[])
    }

    pub(crate) fn start_with(properties: &[(&str, &str)]) -> Target {
        static COUNT_PANICS: Once = Once::new();
        let alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        COUNT_PANICS.call_once(|| {
            let print = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                PANICS.fetch_add(1, Ordering::SeqCst);
                print(info);
            }));
        });
        let dir = tempfile::tempdir().unwrap();
        let mut all = vec![
            ("node.id", "1"),
            ("listeners", "PLAINTEXT://127.0.0.1:0"),
            ("log.dirs", dir.path().to_str().expect("a path of ASCII")),
            ("offsets.topic.replication.factor", "1"),
            ("offsets.topic.num.partitions", "2"),
        ];
        all.extend(properties);
        let config = ServerConfig::from_properties(all).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let broker = runtime.block_on(Broker::start(config)).unwrap();
        let address = broker.addresses()[0];
        let panics_before = PANICS.load(Ordering::SeqCst);
        let target = Target { runtime, broker: Some(broker), address, panics_before, _dir: dir, _alone: alone };
        let topic = CreatableTopic::default().with_name(name(TOPIC)).with_num_partitions(1).with_replication_factor(1);
        let create = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(30_000);
        target.ask(ApiKey::CreateTopics, 7, &create).expect("an answer");
        target
    }

    /// One request on a connection of its own; `None` if the broker closes it instead.
    pub(crate) fn ask(&self, api: ApiKey, version: i16, request: &impl Encodable) -> Option<Bytes> {
        self.ask_with(api as i16, version, &encoded(request, version))
    }

    /// As [`Target::ask`] with any body; the answer is without its header.
    pub(crate) fn ask_with(&self, key: i16, version: i16, body: &[u8]) -> Option<Bytes> {
        let mut socket = self.connect();
        send(&mut socket, &frame(key, version, body));
        let mut answer = receive(&mut socket)?;
        let header = if api::response_header_version(key, version) >= 1 { 5 } else { 4 };
        Some(answer.split_off(header))
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let socket = TcpStream::connect(self.address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_nodelay(true).unwrap();
        socket
    }

    /// A record is written and acknowledged: whoever else is connected, this client is served.
    pub(crate) fn assert_serves(&self) {
        let mut builder = BatchBuilder::new();
        builder.append(1_700_000_000_000, None, Some(b"honest"), []);
        let response = self.produce(builder.build().unwrap().freeze()).expect("a well-behaved client gets an answer");
        assert_eq!(response, 0, "a well-behaved client's record is taken");
        assert_eq!(PANICS.load(Ordering::SeqCst), self.panics_before, "no task panics");
    }

    /// Writes records to the topic with acks=1; the partition's error code.
    pub(crate) fn produce(&self, records: Bytes) -> Option<i16> {
        let data = PartitionProduceData::default().with_records(Some(records));
        let topic = TopicProduceData::default().with_name(name(TOPIC)).with_partition_data(vec![data]);
        let request = ProduceRequest::default().with_acks(1).with_timeout_ms(30_000).with_topic_data(vec![topic]);
        let mut answer = self.ask(ApiKey::Produce, 9, &request)?;
        let answer = ProduceResponse::decode(&mut answer, 9).unwrap();
        Some(answer.responses[0].partition_responses[0].error_code)
    }

    /// Whether the broker ends the connection after these bytes, without an answer.
    pub(crate) fn closes_after(&self, bytes: &[u8]) -> bool {
        let mut socket = self.connect();
        send(&mut socket, bytes);
        receive(&mut socket).is_none()
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Some(broker) = self.broker.take() {
            self.runtime.block_on(broker.shutdown());
        }
        if !std::thread::panicking() {
            assert_eq!(PANICS.load(Ordering::SeqCst), self.panics_before, "no task panics");
        }
    }
}

/// What memory the process took at most during `work`, above what it had before.
pub(crate) fn memory_of<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let status = |field: &str| -> usize {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
    };
    // Resets the peak to what there is now.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = status("VmRSS");
    let result = work();
    (result, status("VmHWM").saturating_sub(before))
}

pub(crate) fn name(text: &str) -> TopicName {
    TopicName(StrBytes::from_string(text.to_owned()))
}

pub(crate) fn encoded(request: &impl Encodable, version: i16) -> Bytes {
    let mut body = BytesMut::new();
    request.encode(&mut body, version).unwrap();
    body.freeze()
}

/// A request's frame with its length.
pub(crate) fn frame(key: i16, version: i16, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; 4];
    frame.extend(key.to_be_bytes());
    frame.extend(version.to_be_bytes());
    frame.extend(7i32.to_be_bytes());
    frame.extend([0, 1, b't']);
    if api::request_header_version(key, version) >= 2 {
        frame.push(0);
    }
    frame.extend(body);
    let length = frame.len() as u32 - 4;
    frame[..4].copy_from_slice(&length.to_be_bytes());
    frame
}

/// Sends; the broker may close before it has read everything.
pub(crate) fn send(socket: &mut TcpStream, bytes: &[u8]) {
    if let Err(error) = socket.write_all(bytes) {
        assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{error}");
    }
}

/// The next answer, correlation id first; `None` at the end of the connection. Neither in time is a failure.
pub(crate) fn receive(socket: &mut TcpStream) -> Option<Bytes> {
    let mut length = [0; 4];
    if !filled(socket.read_exact(&mut length)) {
        return None;
    }
    let mut answer = vec![0; u32::from_be_bytes(length) as usize];
    filled(socket.read_exact(&mut answer)).then(|| answer.into())
}

fn filled(result: std::io::Result<()>) -> bool {
    match result {
        Ok(()) => true,
        Err(error) => {
            let ended = [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
            assert!(ended.contains(&error.kind()), "neither an answer nor the end: {error}");
            false
        }
    }
}

pub(crate) fn uvarint(mut value: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// SplitMix64. The seed is `MILENA_SEED`, or the test's own; it is printed.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new() -> Random {
        let seed = std::env::var("MILENA_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(20_260_711);
        eprintln_seed(seed);
        Random(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[expect(clippy::print_stderr, reason = "the seed of a failed test is what repeats it")]
fn eprintln_seed(seed: u64) {
    eprintln!("MILENA_SEED={seed}");
}
